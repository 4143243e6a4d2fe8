/* tokenizer.c: the tokenizer itself: made from a file, text to ids, ids to text. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "text_impl.h"

/* What every token says, once for all. */
static bal_status decode_tokens(bal_tokenizer *tokenizer)
{
    bal_status status = BAL_OK;
    bal_bytes  text   = {0};
    for (int64_t id = 0; id < tokenizer->n_tokens && status == BAL_OK; ++id) {
        bal_token *token = &tokenizer->tokens[id];
        if (token->special || token->n_bytes == 0) continue;
        text.n      = 0;
        token->text = tokenizer->texts.n;
        status      = bal_bytes_add(&text, token->bytes, token->n_bytes);
        if (status == BAL_OK) status = bal_steps_apply(&tokenizer->decoder, &text);
        if (status == BAL_OK) status = bal_bytes_add(&tokenizer->texts, text.data, text.n);
        token->n_text = text.n;
    }
    free(text.data);
    return status;
}

bal_status bal_tokenizer_create(bal_tokenizer_kind kind, const void *bytes, size_t n_bytes,
                                int64_t n_vocab, const char *origin, bal_tokenizer **tokenizer)
{
    assert(origin != NULL && tokenizer != NULL);
    if (n_vocab < 1 || n_vocab > INT32_MAX)
        return bal_fail(BAL_ERR_INPUT, "%s: the model has %lld tokens; expected 1 to 2^31 - 1",
                        origin, (long long)n_vocab);
    bal_status     status = BAL_ERR_MEMORY;
    bal_tokenizer *t      = bal_alloc(1, sizeof *t);
    if (t == NULL) goto done;
    t->kind   = kind;
    t->n_ids  = n_vocab;
    t->source = bal_alloc(n_bytes, 1);
    if (t->source == NULL) goto done;
    t->n_source = n_bytes;
    if (n_bytes > 0) memcpy(t->source, bytes, n_bytes);
    t->unknown = t->bos = t->eos = -1;
    for (int byte = 0; byte < 256; ++byte) t->byte_ids[byte] = -1;
    status = kind == BAL_TOKENIZER_LLAMA2C ? bal_llama2c_read(t, origin) : bal_hf_read(t, origin);
    if (status == BAL_OK) status = decode_tokens(t);
    if (status != BAL_OK) goto done;
    *tokenizer = t;
    t          = NULL;
done:
    bal_tokenizer_destroy(&t);
    if (status == BAL_ERR_MEMORY)
        return bal_fail(status, "%s: not enough memory for this tokenizer", origin);
    return status;
}

bal_status bal_tokenizer_open(const char *path, int64_t n_vocab, bal_tokenizer **tokenizer)
{
    bal_file file;
    BAL_TRY(bal_file_open(path, &file));
    size_t             n = strlen(path);
    bal_tokenizer_kind kind =
        n >= 5 && strcmp(path + n - 5, ".json") == 0 ? BAL_TOKENIZER_HF : BAL_TOKENIZER_LLAMA2C;
    bal_status status =
        bal_tokenizer_create(kind, file.data, file.n_bytes, n_vocab, path, tokenizer);
    bal_file_close(&file);
    return status;
}

void bal_tokenizer_destroy(bal_tokenizer **tokenizer)
{
    bal_tokenizer *t = *tokenizer;
    *tokenizer       = NULL;
    if (t == NULL) return;
    for (int64_t i = 0; i < t->n_added; ++i) free(t->added[i].pattern.data);
    free(t->added);
    free(t->merges);
    free(t->ids);
    free(t->texts.data);
    free(t->tokens);
    free(t->strings);
    free(t->source);
    free(t);
}

bal_tokenizer_kind bal_tokenizer_source(const bal_tokenizer *tokenizer, const void **bytes,
                                        size_t *n_bytes)
{
    *bytes   = tokenizer->source;
    *n_bytes = tokenizer->n_source;
    return tokenizer->kind;
}

int64_t bal_tokenizer_n_vocab(const bal_tokenizer *tokenizer) { return tokenizer->n_tokens; }
int32_t bal_tokenizer_bos(const bal_tokenizer *tokenizer) { return tokenizer->bos; }
int32_t bal_tokenizer_eos(const bal_tokenizer *tokenizer) { return tokenizer->eos; }

bal_status bal_ids_reserve(bal_ids *ids, int64_t n)
{
    if (n <= ids->room - ids->n) return BAL_OK;
    int64_t  room = ids->n + n + ids->room / 2;
    int32_t *data = realloc(ids->data, (size_t)room * sizeof *data);
    if (data == NULL) return BAL_ERR_MEMORY;
    ids->data = data;
    ids->room = room;
    return BAL_OK;
}

/* The first added token at or after from, longest first; NULL, and *start at the end: none. */
static const bal_added *find_added(const bal_tokenizer *tokenizer, bool normalized,
                                   const char *text, size_t n_bytes, size_t from, size_t *start)
{
    const bool *may_start = tokenizer->added_start[normalized];
    for (size_t at = from; at < n_bytes && tokenizer->n_added > 0; ++at) {
        if (!may_start[(unsigned char)text[at]]) continue;
        for (const bal_added *a = tokenizer->added; a < tokenizer->added + tokenizer->n_added; ++a)
            if (a->normalized == normalized && a->pattern.n <= n_bytes - at &&
                memcmp(a->pattern.data, text + at, a->pattern.n) == 0) {
                *start = at;
                return a;
            }
    }
    *start = n_bytes;
    return NULL;
}

/* As the tokenizers library: added tokens that do not care for the normalizer are cut out first,
 * every piece between them is normalized on its own, and the other added tokens are cut out. */
static bal_status encode_pieces(const bal_tokenizer *tokenizer, bool normalized, const char *text,
                                size_t n_bytes, bal_ids *ids)
{
    for (size_t from = 0, start; from < n_bytes;) {
        const bal_added *added = find_added(tokenizer, normalized, text, n_bytes, from, &start);
        if (normalized) {
            BAL_TRY(bal_bpe_encode(tokenizer, text + from, start - from, ids));
        } else if (start > from) {
            bal_bytes  piece  = {0};
            bal_status status = bal_bytes_add(&piece, text + from, start - from);
            if (status == BAL_OK) status = bal_steps_apply(&tokenizer->normalizer, &piece);
            if (status == BAL_OK) status = encode_pieces(tokenizer, true, piece.data, piece.n, ids);
            free(piece.data);
            BAL_TRY(status);
        }
        if (added == NULL) break;
        BAL_TRY(bal_ids_reserve(ids, 1));
        ids->data[ids->n++] = added->id;
        from                = start + added->pattern.n;
    }
    return BAL_OK;
}

bal_status bal_tokenizer_encode(const bal_tokenizer *tokenizer, const char *text, size_t n_bytes,
                                int32_t **tokens, int64_t *n_tokens)
{
    bal_ids    ids    = {0};
    bal_status status = bal_ids_reserve(&ids, 1); /* never NULL */
    if (status == BAL_OK) status = encode_pieces(tokenizer, false, text, n_bytes, &ids);
    if (status != BAL_OK) {
        free(ids.data);
        if (status == BAL_ERR_MEMORY)
            return bal_fail(status, "not enough memory to split %zu bytes into tokens", n_bytes);
        return status;
    }
    *tokens   = ids.data;
    *n_tokens = ids.n;
    return BAL_OK;
}

/* Append a part, whose tokens are all there, to the text, and empty it. */
static bal_status finish_part(const bal_tokenizer *tokenizer, bal_bytes *part, bal_bytes *text)
{
    BAL_TRY(bal_steps_apply(&tokenizer->decoder_fused, part));
    BAL_TRY(bal_bytes_add(text, part->data, part->n));
    part->n = 0;
    return BAL_OK;
}

static bal_status decode(const bal_tokenizer *tokenizer, const int32_t *tokens, int64_t n_tokens,
                         bal_bytes *part, bal_bytes *text)
{
    for (int64_t i = 0; i < n_tokens; ++i) {
        int32_t id = tokens[i];
        if (id < 0 || id >= tokenizer->n_ids)
            return bal_fail(BAL_ERR_ARG, "token %lld is %d; expected 0 to %lld", (long long)i, id,
                            (long long)tokenizer->n_ids - 1);
        /* run.c strips a space after every start token, not only after the first */
        if (tokenizer->kind == BAL_TOKENIZER_LLAMA2C && id == tokenizer->bos)
            BAL_TRY(finish_part(tokenizer, part, text));
        if (id >= tokenizer->n_tokens) continue; /* the model may have more, without a meaning */
        const bal_token *token = &tokenizer->tokens[id];
        if (token->n_text > 0)
            BAL_TRY(bal_bytes_add(part, tokenizer->texts.data + token->text, token->n_text));
    }
    BAL_TRY(finish_part(tokenizer, part, text));
    return bal_bytes_add(text, "", 1);
}

bal_status bal_tokenizer_decode(const bal_tokenizer *tokenizer, const int32_t *tokens,
                                int64_t n_tokens, char **text, size_t *n_bytes)
{
    bal_bytes  part = {0}, all = {0};
    bal_status status = decode(tokenizer, tokens, n_tokens, &part, &all);
    free(part.data);
    if (status != BAL_OK) {
        free(all.data);
        if (status == BAL_ERR_MEMORY)
            return bal_fail(status, "not enough memory for the text of %lld tokens",
                            (long long)n_tokens);
        return status;
    }
    *text    = all.data;
    *n_bytes = all.n - 1;
    return BAL_OK;
}
