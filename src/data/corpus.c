/* corpus.c: a tokenized text, cut into examples. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "data_impl.h"

#define WRAP_MAX 8 /* tokens before and after an example */

typedef struct corpus {
    bal_corpus_options options;
    int64_t n_own; /* tokens of the text in an example, at most */
    int64_t n_tokens, n_bytes;
    int32_t *tokens;
    int64_t n_cuts;   /* consecutive examples */
    int64_t *cut;     /* [n_cuts + 1]: first token of each */
    int64_t capacity; /* of cut */
    /* of the vocabulary */
    int32_t bos, mask; /* -1: none */
    uint64_t n_vocab;
    int64_t n_before, n_after; /* around an example, if it is masked */
    int32_t before[WRAP_MAX], after[WRAP_MAX];
} corpus;

static bool is_stream(const corpus *c) { return c->options.examples == BAL_EXAMPLES_WINDOWS; }
static bool is_masked(const corpus *c) { return c->options.task == BAL_TASK_MLM; }

/* Add the tokens of a document and cut it every n_own tokens. */
static bal_status add_document(corpus *c, const bal_tokenizer *tokenizer, const char *text,
                               size_t n_bytes)
{
    int32_t *tokens = NULL;
    int64_t n = 0;
    BAL_TRY(bal_tokenizer_encode(tokenizer, text, n_bytes, &tokens, &n));
    int64_t first = is_stream(c) && !is_masked(c); /* nothing predicts token 0 */
    int64_t n_cuts = c->n_cuts + (n + c->n_own - 1) / c->n_own;
    int32_t *all = realloc(c->tokens, (size_t)(c->n_tokens + n + 1) * sizeof *all);
    if (all != NULL) c->tokens = all;
    if (n_cuts >= c->capacity) {
        int64_t capacity = 2 * n_cuts + 16;
        int64_t *cut = realloc(c->cut, (size_t)capacity * sizeof *cut);
        if (cut == NULL) all = NULL;
        if (cut != NULL) c->cut = cut, c->capacity = capacity;
    }
    if (all == NULL) {
        free(tokens);
        return bal_fail(BAL_ERR_MEMORY, "no memory for a text of %zu bytes", n_bytes);
    }
    if (n > 0) memcpy(c->tokens + c->n_tokens, tokens, (size_t)n * sizeof *tokens);
    free(tokens);
    for (int64_t from = first; from < n; from += c->n_own) c->cut[c->n_cuts++] = c->n_tokens + from;
    c->n_tokens += n;
    c->n_bytes += (int64_t)n_bytes;
    c->cut[c->n_cuts] = c->n_tokens;
    return BAL_OK;
}

/* What an example of the task needs of the vocabulary. */
static bal_status use_vocabulary(corpus *c, const bal_tokenizer *tokenizer)
{
    c->bos = bal_tokenizer_special(tokenizer, BAL_SPECIAL_BOS);
    c->mask = bal_tokenizer_special(tokenizer, BAL_SPECIAL_MASK);
    c->n_vocab = (uint64_t)bal_tokenizer_n_vocab(tokenizer);
    c->n_own = c->options.context;
    if (!is_masked(c)) return BAL_OK;
    const int32_t *before = bal_tokenizer_prefix(tokenizer, &c->n_before);
    const int32_t *after = bal_tokenizer_suffix(tokenizer, &c->n_after);
    if (c->mask < 0)
        return bal_fail(
            BAL_ERR_CONFIG,
            "[data] task = mlm: the vocabulary has no mask token; choose a model that has one");
    c->n_own -= c->n_before + c->n_after;
    if (c->n_own < 1 || c->n_before > WRAP_MAX || c->n_after > WRAP_MAX)
        return bal_fail(BAL_ERR_CONFIG,
                        "[data] context = %lld leaves no room for text: the tokenizer puts %lld "
                        "tokens around it; raise context",
                        (long long)c->options.context, (long long)(c->n_before + c->n_after));
    if (c->n_before > 0) memcpy(c->before, before, (size_t)c->n_before * sizeof *before);
    if (c->n_after > 0) memcpy(c->after, after, (size_t)c->n_after * sizeof *after);
    return BAL_OK;
}

/* Append the example of tokens from .. to - 1, masked as the key says. */
static void add_masked(const corpus *c, int64_t from, int64_t to, uint64_t key, bal_batch *batch)
{
    const uint64_t share = 644245094; /* 15 % of 2^32 */
    int64_t n = to - from, n_scored = 0;
    for (int64_t i = 0; i < c->n_before; ++i) bal_batch_add(batch, c->before[i], -1);
    for (int64_t i = 0; i < n; ++i) {
        uint64_t random = bal_hash(&i, sizeof i, key);
        bool last = i == n - 1 && n_scored == 0;
        int32_t token = c->tokens[from + i], read = token;
        uint64_t of_100 = (random & 0xFFFF) * 100 >> 16;
        if (random >> 32 >= share && !last) {
            bal_batch_add(batch, token, -1);
            continue;
        }
        if (of_100 < 80)
            read = c->mask;
        else if (of_100 < 90)
            read = (int32_t)((random >> 16 & 0xFFFF) * c->n_vocab >> 16);
        bal_batch_add(batch, read, token);
        ++n_scored;
    }
    for (int64_t i = 0; i < c->n_after; ++i) bal_batch_add(batch, c->after[i], -1);
}

/* Append to a batch the example that predicts tokens from .. to - 1. */
static void add_example(const corpus *c, int64_t from, int64_t to, uint64_t key, bal_batch *batch)
{
    bool documents = !is_stream(c);
    if (is_masked(c)) {
        add_masked(c, from, to, key, batch);
        bal_batch_end(batch);
        return;
    }
    int64_t first = documents && c->bos < 0 ? from + 1 : from; /* nothing predicts it */
    for (int64_t i = first; i < to; ++i)
        bal_batch_add(batch, i == from && documents ? c->bos : c->tokens[i - 1], c->tokens[i]);
    bal_batch_end(batch);
}

static void take(const void *self, int64_t index, bal_batch *batch)
{
    const corpus *c = self;
    add_example(c, c->cut[index], c->cut[index + 1], (uint64_t)index, batch);
}

static void draw(const void *self, uint64_t random, bal_batch *batch)
{
    const corpus *c = self;
    int64_t lead = !is_masked(c); /* tokens that are read and not predicted */
    uint64_t n_places = (uint64_t)(is_stream(c) ? c->n_tokens - c->n_own + 1 - lead : c->n_cuts);
    int64_t place = (int64_t)((unsigned __int128)random * n_places >> 64);
    if (is_stream(c))
        add_example(c, place + lead, place + lead + c->n_own, random, batch);
    else
        add_example(c, c->cut[place], c->cut[place + 1], random, batch);
}

static void destroy(void *self)
{
    corpus *c = self;
    if (c == NULL) return;
    free(c->tokens);
    free(c->cut);
    free(c);
}

static uint64_t hash_of(const corpus *c)
{
    uint64_t hash = bal_hash(c->tokens, (size_t)c->n_tokens * sizeof *c->tokens,
                             (uint64_t)c->options.context << 1 | (uint64_t)c->options.examples |
                                 (uint64_t)c->options.task << 32);
    return bal_hash(c->cut, (size_t)(c->n_cuts + 1) * sizeof *c->cut, hash);
}

static bal_dataset dataset_of(corpus *c)
{
    return (bal_dataset){.n_examples = c->n_cuts,
                         .n_bytes = c->n_bytes,
                         .memory_bytes = (size_t)c->n_tokens * sizeof *c->tokens +
                                         (size_t)c->capacity * sizeof *c->cut,
                         .hash = hash_of(c),
                         .example = bal_batch_text(1, c->options.context),
                         .self = c,
                         .take = take,
                         .draw = draw,
                         .destroy = destroy};
}

/* Add all of a text. */
static bal_status add_text(corpus *c, const bal_tokenizer *tokenizer, const char *text,
                           size_t n_bytes)
{
    if (is_stream(c)) return n_bytes > 0 ? add_document(c, tokenizer, text, n_bytes) : BAL_OK;
    bal_documents documents = bal_documents_of(text, n_bytes, c->options.as_0_1);
    bal_status status = bal_documents_next(&documents);
    while (status == BAL_OK && documents.n_bytes > 0) {
        status = add_document(c, tokenizer, documents.text, documents.n_bytes);
        if (status == BAL_OK) status = bal_documents_next(&documents);
    }
    bal_documents_clear(&documents);
    return status;
}

/* Fewest tokens that are an example. */
static int64_t tokens_min(const corpus *c)
{
    int64_t lead = !is_masked(c); /* a token that is not predicted */
    return (is_stream(c) ? c->n_own : 1) + lead;
}

bal_status bal_corpus_open(const char *path, const bal_tokenizer *tokenizer,
                           const bal_corpus_options *options, bal_dataset *dataset)
{
    assert(options->context >= 2);
    bal_mapping file;
    BAL_TRY(bal_mapping_open(path, &file));
    const char *text = (const char *)file.data;
    bal_status status = BAL_ERR_MEMORY;
    corpus *c = bal_alloc(1, sizeof *c);
    if (c == NULL) {
        bal_fail(status, "no memory for %s", path);
        goto done;
    }
    c->options = *options;
    status = bal_text_check(path, text, file.n_bytes);
    if (status == BAL_OK && is_stream(c)) bal_text_tell_returns(path, text, file.n_bytes);
    if (status == BAL_OK) status = use_vocabulary(c, tokenizer);
    if (status == BAL_OK) status = add_text(c, tokenizer, text, file.n_bytes);
    if (status == BAL_OK && c->n_tokens < tokens_min(c))
        status =
            bal_fail(BAL_ERR_INPUT,
                     "%s: %zu bytes are %lld tokens; expected at least %lld: give a longer text",
                     path, file.n_bytes, (long long)c->n_tokens, (long long)tokens_min(c));
    if (status != BAL_OK) goto done;
    *dataset = dataset_of(c);
    c = NULL;
done:
    destroy(c);
    bal_mapping_close(&file);
    return status;
}
