/* corpus.c: a tokenized text, cut into examples. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ballot/data.h"
#include "ballot/perturb.h"

struct bal_corpus {
    bal_examples examples;
    int64_t      context, n_tokens, n_bytes;
    int32_t     *tokens;
    int32_t      bos;      /* -1: none */
    int64_t      n_cuts;   /* consecutive examples */
    int64_t     *cut;      /* [n_cuts + 1]: first token of each */
    int64_t      capacity; /* of cut */
};

bal_status bal_batch_init(bal_batch *batch, int64_t n_sequences, int64_t context)
{
    *batch         = (bal_batch){0};
    size_t n       = (size_t)(n_sequences * context);
    batch->start   = bal_alloc((size_t)n_sequences + 1, sizeof *batch->start);
    batch->tokens  = bal_alloc(n, sizeof *batch->tokens);
    batch->targets = bal_alloc(n, sizeof *batch->targets);
    if (batch->start != NULL && batch->tokens != NULL && batch->targets != NULL) return BAL_OK;
    bal_batch_clear(batch);
    return bal_fail(BAL_ERR_MEMORY, "no memory for a batch of %lld x %lld tokens",
                    (long long)n_sequences, (long long)context);
}

void bal_batch_clear(bal_batch *batch)
{
    free(batch->start);
    free(batch->tokens);
    free(batch->targets);
    *batch = (bal_batch){0};
}

/* Add the tokens of a document and cut it every context tokens. */
static bal_status add_document(bal_corpus *c, const bal_tokenizer *tokenizer, const char *text,
                               size_t n_bytes)
{
    int32_t *tokens = NULL;
    int64_t  n      = 0;
    BAL_TRY(bal_tokenizer_encode(tokenizer, text, n_bytes, &tokens, &n));
    int64_t  first  = c->examples == BAL_EXAMPLES_WINDOWS; /* nothing predicts token 0 */
    int64_t  n_cuts = c->n_cuts + (n + c->context - 1) / c->context;
    int32_t *all    = realloc(c->tokens, (size_t)(c->n_tokens + n + 1) * sizeof *all);
    if (all != NULL) c->tokens = all;
    if (n_cuts >= c->capacity) {
        int64_t  capacity = 2 * n_cuts + 16;
        int64_t *cut      = realloc(c->cut, (size_t)capacity * sizeof *cut);
        if (cut == NULL) all = NULL;
        if (cut != NULL) c->cut = cut, c->capacity = capacity;
    }
    if (all == NULL) {
        free(tokens);
        return bal_fail(BAL_ERR_MEMORY, "no memory for a text of %zu bytes", n_bytes);
    }
    if (n > 0) memcpy(c->tokens + c->n_tokens, tokens, (size_t)n * sizeof *tokens);
    free(tokens);
    for (int64_t from = first; from < n; from += c->context)
        c->cut[c->n_cuts++] = c->n_tokens + from;
    c->n_tokens += n;
    c->n_bytes += (int64_t)n_bytes;
    c->cut[c->n_cuts] = c->n_tokens;
    return BAL_OK;
}

bal_status bal_corpus_open(const char *path, const bal_tokenizer *tokenizer, bal_examples examples,
                           int64_t context, bal_corpus **corpus)
{
    assert(context >= 2);
    bal_file file;
    BAL_TRY(bal_file_open(path, &file));
    const char *text   = (const char *)file.data;
    bal_status  status = BAL_ERR_MEMORY;
    bal_corpus *c      = bal_alloc(1, sizeof *c);
    if (c == NULL) {
        bal_fail(status, "no memory for %s", path);
        goto done;
    }
    c->examples = examples;
    c->context  = context;
    c->bos      = bal_tokenizer_bos(tokenizer);
    for (size_t from = 0, end; from < file.n_bytes; from = end + 2) {
        const char *blank = NULL;
        if (examples == BAL_EXAMPLES_DOCUMENTS)
            blank = memmem(text + from, file.n_bytes - from, "\n\n", 2);
        end    = blank != NULL ? (size_t)(blank - text) : file.n_bytes;
        status = end > from ? add_document(c, tokenizer, text + from, end - from) : BAL_OK;
        if (status != BAL_OK) goto done;
    }
    int64_t least = examples == BAL_EXAMPLES_WINDOWS ? context + 1 : 2;
    status        = BAL_OK;
    if (c->n_tokens < least)
        status = bal_fail(BAL_ERR_INPUT, "%s: %zu bytes are %lld tokens; expected at least %lld",
                          path, file.n_bytes, (long long)c->n_tokens, (long long)least);
    if (status == BAL_OK) *corpus = c, c = NULL;
done:
    bal_corpus_close(&c);
    bal_file_close(&file);
    return status;
}

void bal_corpus_close(bal_corpus **corpus)
{
    if (*corpus == NULL) return;
    free((*corpus)->tokens);
    free((*corpus)->cut);
    free(*corpus);
    *corpus = NULL;
}

int64_t bal_corpus_n_tokens(const bal_corpus *corpus) { return corpus->n_tokens; }
int64_t bal_corpus_n_bytes(const bal_corpus *corpus) { return corpus->n_bytes; }
int64_t bal_corpus_n_examples(const bal_corpus *corpus) { return corpus->n_cuts; }

uint64_t bal_corpus_hash(const bal_corpus *c)
{
    uint64_t hash = bal_hash(c->tokens, (size_t)c->n_tokens * sizeof *c->tokens,
                             (uint64_t)c->context << 1 | (uint64_t)c->examples);
    return bal_hash(c->cut, (size_t)(c->n_cuts + 1) * sizeof *c->cut, hash);
}

/* Append to a batch the example that predicts tokens from .. to - 1. */
static void add_example(const bal_corpus *c, int64_t from, int64_t to, bal_batch *batch)
{
    bool    documents = c->examples == BAL_EXAMPLES_DOCUMENTS;
    int64_t at        = batch->n_tokens;
    int64_t first     = documents && c->bos < 0 ? from + 1 : from; /* nothing predicts it */
    for (int64_t i = first; i < to; ++i, ++at) {
        batch->tokens[at]  = i == from && documents ? c->bos : c->tokens[i - 1];
        batch->targets[at] = c->tokens[i];
    }
    batch->n_tokens                    = at;
    batch->start[++batch->n_sequences] = at;
}

void bal_corpus_take(const bal_corpus *c, int64_t first, int64_t n, bal_batch *batch)
{
    assert(first >= 0 && first + n <= c->n_cuts);
    batch->n_sequences = batch->n_tokens = batch->start[0] = 0;
    for (int64_t i = first; i < first + n; ++i) add_example(c, c->cut[i], c->cut[i + 1], batch);
}

void bal_corpus_draw(const bal_corpus *c, const bal_kernels *kernels, uint64_t seed, uint32_t step,
                     uint32_t slot, int64_t n, bal_batch *batch)
{
    assert(n >= 1 && n <= BAL_BATCH_MAX);
    uint32_t words[2 * BAL_BATCH_MAX];
    bal_draw_words(kernels, seed, step, slot, words);
    batch->n_sequences = batch->n_tokens = batch->start[0] = 0;
    for (int64_t i = 0; i < n; ++i) {
        bool     windows  = c->examples == BAL_EXAMPLES_WINDOWS;
        uint64_t n_places = (uint64_t)(windows ? c->n_tokens - c->context : c->n_cuts);
        uint64_t random   = (uint64_t)words[2 * i] << 32 | words[2 * i + 1];
        int64_t  place    = (int64_t)((unsigned __int128)random * n_places >> 64);
        if (windows)
            add_example(c, place + 1, place + 1 + c->context, batch);
        else
            add_example(c, c->cut[place], c->cut[place + 1], batch);
    }
}
