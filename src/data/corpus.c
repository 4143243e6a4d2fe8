/* corpus.c: a tokenized text, cut into examples. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ballot/data.h"
#include "ballot/perturb.h"

#define WRAP_MAX 8 /* tokens before and after an example */

struct bal_corpus {
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
};

bal_status bal_batch_init(bal_batch *batch, int64_t n_sequences, int64_t context)
{
    *batch = (bal_batch){0};
    size_t n = (size_t)(n_sequences * context);
    batch->start = bal_alloc((size_t)n_sequences + 1, sizeof *batch->start);
    batch->tokens = bal_alloc(n, sizeof *batch->tokens);
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

static bool is_stream(const bal_corpus *c) { return c->options.examples == BAL_EXAMPLES_WINDOWS; }
static bool is_masked(const bal_corpus *c) { return c->options.task == BAL_TASK_MLM; }

/* Add the tokens of a document and cut it every n_own tokens. */
static bal_status add_document(bal_corpus *c, const bal_tokenizer *tokenizer, const char *text,
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
static bal_status use_vocabulary(bal_corpus *c, const bal_tokenizer *tokenizer)
{
    c->bos = bal_tokenizer_special(tokenizer, BAL_SPECIAL_BOS);
    c->mask = bal_tokenizer_special(tokenizer, BAL_SPECIAL_MASK);
    c->n_vocab = (uint64_t)bal_tokenizer_n_vocab(tokenizer);
    c->n_own = c->options.context;
    if (!is_masked(c)) return BAL_OK;
    const int32_t *before = bal_tokenizer_prefix(tokenizer, &c->n_before);
    const int32_t *after = bal_tokenizer_suffix(tokenizer, &c->n_after);
    if (c->mask < 0)
        return bal_fail(BAL_ERR_CONFIG, "[data] task = mlm: the vocabulary has no mask token");
    c->n_own -= c->n_before + c->n_after;
    if (c->n_own < 1 || c->n_before > WRAP_MAX || c->n_after > WRAP_MAX)
        return bal_fail(BAL_ERR_CONFIG,
                        "[data] context = %lld: the tokenizer puts %lld tokens around a text",
                        (long long)c->options.context, (long long)(c->n_before + c->n_after));
    if (c->n_before > 0) memcpy(c->before, before, (size_t)c->n_before * sizeof *before);
    if (c->n_after > 0) memcpy(c->after, after, (size_t)c->n_after * sizeof *after);
    return BAL_OK;
}

bal_status bal_corpus_open(const char *path, const bal_tokenizer *tokenizer,
                           const bal_corpus_options *options, bal_corpus **corpus)
{
    assert(options->context >= 2);
    bal_mapping file;
    BAL_TRY(bal_mapping_open(path, &file));
    const char *text = (const char *)file.data;
    bal_status status = BAL_ERR_MEMORY;
    bal_corpus *c = bal_alloc(1, sizeof *c);
    if (c == NULL) {
        bal_fail(status, "no memory for %s", path);
        goto done;
    }
    c->options = *options;
    status = use_vocabulary(c, tokenizer);
    if (status != BAL_OK) goto done;
    for (size_t from = 0, end; from < file.n_bytes; from = end + 2) {
        const char *blank = NULL;
        if (!is_stream(c)) blank = memmem(text + from, file.n_bytes - from, "\n\n", 2);
        end = blank != NULL ? (size_t)(blank - text) : file.n_bytes;
        status = end > from ? add_document(c, tokenizer, text + from, end - from) : BAL_OK;
        if (status != BAL_OK) goto done;
    }
    int64_t least =
        is_masked(c) ? (is_stream(c) ? c->n_own : 1) : (is_stream(c) ? c->n_own + 1 : 2);
    status = BAL_OK;
    if (c->n_tokens < least)
        status = bal_fail(BAL_ERR_INPUT, "%s: %zu bytes are %lld tokens; expected at least %lld",
                          path, file.n_bytes, (long long)c->n_tokens, (long long)least);
    if (status == BAL_OK) *corpus = c, c = NULL;
done:
    bal_corpus_close(&c);
    bal_mapping_close(&file);
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

size_t bal_corpus_bytes(const bal_corpus *c)
{
    return (size_t)c->n_tokens * sizeof *c->tokens + (size_t)c->capacity * sizeof *c->cut;
}

uint64_t bal_corpus_hash(const bal_corpus *c)
{
    uint64_t hash = bal_hash(c->tokens, (size_t)c->n_tokens * sizeof *c->tokens,
                             (uint64_t)c->options.context << 1 | (uint64_t)c->options.examples |
                                 (uint64_t)c->options.task << 32);
    return bal_hash(c->cut, (size_t)(c->n_cuts + 1) * sizeof *c->cut, hash);
}

static void put(bal_batch *batch, int32_t token, int32_t target)
{
    batch->tokens[batch->n_tokens] = token;
    batch->targets[batch->n_tokens++] = target;
    batch->n_scored += target >= 0;
}

/* Append the example of tokens from .. to - 1, masked as the key says. */
static void add_masked(const bal_corpus *c, int64_t from, int64_t to, uint64_t key,
                       bal_batch *batch)
{
    const uint64_t share = 644245094; /* 15 % of 2^32 */
    int64_t n = to - from, n_scored = 0;
    for (int64_t i = 0; i < c->n_before; ++i) put(batch, c->before[i], -1);
    for (int64_t i = 0; i < n; ++i) {
        uint64_t random = bal_hash(&i, sizeof i, key);
        bool last = i == n - 1 && n_scored == 0;
        int32_t token = c->tokens[from + i], read = token;
        uint64_t of_100 = (random & 0xFFFF) * 100 >> 16;
        if (random >> 32 >= share && !last) {
            put(batch, token, -1);
            continue;
        }
        if (of_100 < 80)
            read = c->mask;
        else if (of_100 < 90)
            read = (int32_t)((random >> 16 & 0xFFFF) * c->n_vocab >> 16);
        put(batch, read, token);
        ++n_scored;
    }
    for (int64_t i = 0; i < c->n_after; ++i) put(batch, c->after[i], -1);
}

/* Append to a batch the example that predicts tokens from .. to - 1. */
static void add_example(const bal_corpus *c, int64_t from, int64_t to, uint64_t key,
                        bal_batch *batch)
{
    bool documents = !is_stream(c);
    if (is_masked(c)) {
        add_masked(c, from, to, key, batch);
        batch->start[++batch->n_sequences] = batch->n_tokens;
        return;
    }
    int64_t first = documents && c->bos < 0 ? from + 1 : from; /* nothing predicts it */
    for (int64_t i = first; i < to; ++i)
        put(batch, i == from && documents ? c->bos : c->tokens[i - 1], c->tokens[i]);
    batch->start[++batch->n_sequences] = batch->n_tokens;
}

void bal_corpus_take(const bal_corpus *c, int64_t first, int64_t n, bal_batch *batch)
{
    assert(first >= 0 && first + n <= c->n_cuts);
    batch->n_sequences = batch->n_tokens = batch->n_scored = batch->start[0] = 0;
    for (int64_t i = first; i < first + n; ++i)
        add_example(c, c->cut[i], c->cut[i + 1], (uint64_t)i, batch);
}

void bal_corpus_draw(const bal_corpus *c, const bal_kernels *kernels, uint64_t seed, uint32_t step,
                     uint32_t slot, int64_t n, bal_batch *batch)
{
    assert(n >= 1 && n <= BAL_BATCH_MAX);
    uint32_t words[2 * BAL_BATCH_MAX];
    bal_draw_words(kernels, seed, step, slot, words);
    batch->n_sequences = batch->n_tokens = batch->n_scored = batch->start[0] = 0;
    for (int64_t i = 0; i < n; ++i) {
        bool windows = is_stream(c);
        int64_t lead = !is_masked(c); /* tokens that are read and not predicted */
        uint64_t n_places = (uint64_t)(windows ? c->n_tokens - c->n_own + 1 - lead : c->n_cuts);
        uint64_t random = (uint64_t)words[2 * i] << 32 | words[2 * i + 1];
        int64_t place = (int64_t)((unsigned __int128)random * n_places >> 64);
        if (windows)
            add_example(c, place + lead, place + lead + c->n_own, random, batch);
        else
            add_example(c, c->cut[place], c->cut[place + 1], random, batch);
    }
}
