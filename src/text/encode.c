/* encode.c: text to ids, and ids to text, through all parts of a tokenizer. */
#include <stdlib.h>

#include "text_impl.h"

#define REMEMBER_BYTES 16384 /* of a text in which words recur often enough to cache them */

void bal_work_clear(bal_work *work)
{
    free(work->ids.data);
    free(work->normal.data);
    free(work->spare.data);
    bal_pieces_clear(&work->pieces);
    bal_pieces_clear(&work->spare_pieces);
    free(work->spans.at);
    bal_matcher_destroy(&work->matcher);
    free(work->words);
    free(work->symbols);
    free(work->queue);
    free(work->paths);
}

static bal_status encode_word(bal_work *work, const char *text, size_t n_bytes)
{
    if (n_bytes > INT32_MAX)
        return bal_fail(BAL_ERR_INPUT, "a normalized text of %zu bytes; expected less than 2^31",
                        n_bytes);
    switch (work->tokenizer->subword.kind) {
        case BAL_SUBWORD_WORDPIECE:
            return bal_wordpiece_encode(work, text, n_bytes);
        case BAL_SUBWORD_SP_UNIGRAM:
            return bal_unigram_encode(work, text, n_bytes);
        case BAL_SUBWORD_SP_CHAR:
            return bal_characters_encode(work, text, n_bytes);
        default:
            return bal_merges_encode(work, text, n_bytes);
    }
}

/* A normalized part of a text without added tokens: cut it into words, then to ids. */
static bal_status encode_words(bal_work *work, const char *text, size_t n_bytes, bool at_start)
{
    bal_pieces_empty(&work->pieces);
    work->pieces.at_start = at_start;
    BAL_TRY(bal_pieces_add(&work->pieces, text, n_bytes));
    BAL_TRY(bal_split(work));
    for (size_t i = 0; i < work->pieces.n; ++i) {
        size_t n;
        const char *piece = bal_pieces_at(&work->pieces, i, &n);
        BAL_TRY(encode_word(work, piece, n));
    }
    return BAL_OK;
}

static bal_status encode_part(bal_work *work, bal_added_kind kind, const char *text, size_t n_bytes,
                              bool at_start);

/* The text between added tokens is normalized. Added tokens found after that are cut out, and the
 * rest becomes words. */
static bal_status encode_between(bal_work *work, bal_added_kind kind, const char *text,
                                 size_t n_bytes, bool at_start)
{
    if (kind == BAL_ADDED_NORMALIZED) return encode_words(work, text, n_bytes, at_start);
    bal_bytes normal = work->normal; /* in use until the words are ids */
    work->normal = (bal_bytes){0};
    normal.n = 0;
    bal_status status = bal_bytes_add(&normal, text, n_bytes);
    if (status == BAL_OK)
        status = bal_normalize(work, &work->tokenizer->normalizer, &normal, &at_start);
    if (status == BAL_OK)
        status = encode_part(work, BAL_ADDED_NORMALIZED, normal.data, normal.n, at_start);
    free(work->normal.data);
    work->normal = normal;
    return status;
}

static bool is_single_word(const char *text, size_t n_bytes, size_t start, size_t end)
{
    int32_t before = BAL_NO_CHARACTER, after = BAL_NO_CHARACTER;
    if (start > 0) bal_last_character(text, start, &before);
    if (end < n_bytes) bal_character(text + end, n_bytes - end, &after);
    return !bal_is_word(before) && !bal_is_word(after);
}

/* An added token may take the white space beside it, except what the token before has taken. */
static void take_spaces(const bal_added *added, const char *text, size_t n_bytes, size_t from,
                        size_t *start, size_t *end)
{
    int32_t c;
    size_t n, first = *start;
    while (added->lstrip && first > from) {
        n = bal_last_character(text, first, &c);
        if (!bal_is_space(c)) break;
        first -= n;
    }
    if (added->lstrip) *start = first > from ? first : from;
    if (added->rstrip && *end < from) *end = from; /* spaces that the token before took */
    while (added->rstrip && *end < n_bytes) {
        n = bal_character(text + *end, n_bytes - *end, &c);
        if (!bal_is_space(c)) break;
        *end += n;
    }
}

static bal_status encode_part(bal_work *work, bal_added_kind kind, const char *text, size_t n_bytes,
                              bool at_start)
{
    const bal_added_list *list = &work->tokenizer->added[kind];
    const bal_added *added;
    size_t done = 0, start;
    if (n_bytes == 0) return BAL_OK; /* and text may be NULL */
    for (size_t from = 0; (added = bal_added_find(list, text, n_bytes, from, &start)) != NULL;) {
        size_t end = from = start + added->pattern.n;
        if (added->single_word && !is_single_word(text, n_bytes, start, end)) continue;
        take_spaces(added, text, n_bytes, done, &start, &end);
        if (done < start)
            BAL_TRY(encode_between(work, kind, text + done, start - done, at_start && done == 0));
        BAL_TRY(bal_ids_add(&work->ids, added->id));
        done = end;
    }
    if (done == n_bytes) return BAL_OK;
    return encode_between(work, kind, text + done, n_bytes - done, at_start && done == 0);
}

bal_status bal_tokenizer_encode(const bal_tokenizer *tokenizer, const char *text, size_t n_bytes,
                                int32_t **tokens, int64_t *n_tokens)
{
    if (n_bytes > INT32_MAX)
        return bal_fail(BAL_ERR_INPUT, "a text of %zu bytes; expected less than 2^31", n_bytes);
    bal_work work = {.tokenizer = tokenizer, .remembers = n_bytes >= REMEMBER_BYTES};
    bal_status status = bal_ids_reserve(&work.ids, 1); /* never NULL */
    if (status == BAL_OK) status = encode_part(&work, BAL_ADDED_RAW, text, n_bytes, true);
    if (status == BAL_OK) {
        *tokens = work.ids.data;
        *n_tokens = work.ids.n;
        work.ids.data = NULL;
    }
    bal_work_clear(&work);
    if (status == BAL_ERR_MEMORY)
        return bal_fail(status, "not enough memory to split %zu bytes into tokens", n_bytes);
    return status;
}

/* Append a part whose tokens are complete to the text, and empty it. */
static bal_status finish_part(bal_work *work, bal_bytes *text)
{
    BAL_TRY(bal_decode(work));
    BAL_TRY(bal_bytes_add(text, work->pieces.text.data, work->pieces.text.n));
    bal_pieces_empty(&work->pieces);
    return BAL_OK;
}

static bal_status put_token(bal_work *work, int32_t id)
{
    const bal_tokenizer *tokenizer = work->tokenizer;
    const bal_token *token = &tokenizer->vocab.tokens[id];
    bal_bytes *text = &work->pieces.text;
    if (token->special || token->bytes == NULL) return BAL_OK;
    if (tokenizer->join_with_spaces && work->pieces.n > 0) BAL_TRY(bal_bytes_add(text, " ", 1));
    if (token->shown != NULL)
        BAL_TRY(bal_bytes_add(text, token->shown, token->n_shown));
    else if (id == tokenizer->subword.unknown && tokenizer->subword.unknown_text != NULL)
        BAL_TRY(bal_bytes_add(text, tokenizer->subword.unknown_text,
                              tokenizer->subword.n_unknown_text));
    else
        BAL_TRY(bal_bytes_add(text, token->bytes, token->n_bytes));
    return bal_pieces_end(&work->pieces);
}

static bal_status decode(bal_work *work, const int32_t *tokens, int64_t n_tokens, bal_bytes *text)
{
    const bal_tokenizer *tokenizer = work->tokenizer;
    for (int64_t i = 0; i < n_tokens; ++i) {
        int32_t id = tokens[i];
        if (id < 0 || id >= tokenizer->vocab.n_ids)
            return bal_fail(BAL_ERR_ARG, "token %lld is %d; expected 0 to %lld", (long long)i, id,
                            (long long)tokenizer->vocab.n_ids - 1);
        /* run.c strips a space after every start token, not only after the first */
        if (tokenizer->kind == BAL_TOKENIZER_LLAMA2C &&
            id == tokenizer->specials.ids[BAL_SPECIAL_BOS])
            BAL_TRY(finish_part(work, text));
        /* the model may have more ids, without tokens */
        if (id < tokenizer->vocab.n_tokens) BAL_TRY(put_token(work, id));
    }
    BAL_TRY(finish_part(work, text));
    return bal_bytes_add(text, "", 1);
}

bal_status bal_tokenizer_decode(const bal_tokenizer *tokenizer, const int32_t *tokens,
                                int64_t n_tokens, char **text, size_t *n_bytes)
{
    bal_bytes all = {0};
    bal_work work = {.tokenizer = tokenizer};
    bal_status status = decode(&work, tokens, n_tokens, &all);
    bal_work_clear(&work);
    if (status != BAL_OK) {
        free(all.data);
        if (status == BAL_ERR_MEMORY)
            return bal_fail(status, "not enough memory for the text of %lld tokens",
                            (long long)n_tokens);
        return status;
    }
    *text = all.data;
    *n_bytes = all.n - 1;
    return BAL_OK;
}
