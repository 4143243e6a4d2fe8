/* losses.c: what a pass is for: losses of a batch, logits of a text, the next word of a text. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "forward_impl.h"

/* The logits of the words that are scored, from those of n_words words from word on. */
static void pick_targets(bal_forward *f, const bal_batch *batch, int64_t word, int64_t n_words)
{
    for (int64_t i = 0; i < batch->n_scored; ++i) {
        const bal_scored *scored = &batch->scored[i];
        int64_t at = scored->word - word;
        if (at < 0 || at >= n_words) continue;
        for (int sign = 0; sign < f->pass.n_signs; ++sign) {
            int64_t row = sign * f->pass.n_tokens + f->out.row[scored->token];
            f->out.target[sign * batch->n_scored + i] = f->out.logits[row * n_words + at];
        }
    }
}

/* Sums of exponentials and the scored words' logits, piece by piece of the words. */
static void sum_pieces(bal_forward *f, const bal_batch *batch)
{
    int64_t n_vocab = f->model->config.n_vocab;
    for (int64_t word = 0; word < n_vocab; word += PIECE) {
        int64_t n_words = n_vocab - word < PIECE ? n_vocab - word : PIECE;
        bal_forward_fill_logits(f, word, n_words);
        f->kernels->lanes.exp_sums(f->pass.n_signs * f->pass.n_tokens, n_words, f->out.logits,
                                   n_words, word == 0, f->out.sums);
        pick_targets(f, batch, word, n_words);
    }
}

/* The scored words' logits alone, panel by panel. */
static void find_targets(bal_forward *f, const bal_batch *batch)
{
    int64_t n_vocab = f->model->config.n_vocab, done = 0;
    for (int64_t end = 0; done < batch->n_scored;) {
        int64_t word = n_vocab; /* the lowest of those that are left */
        for (int64_t i = 0; i < batch->n_scored; ++i)
            if (batch->scored[i].word >= end && batch->scored[i].word < word)
                word = batch->scored[i].word;
        word -= word % BAL_PANEL_ROWS;
        end = word + BAL_PANEL_ROWS < n_vocab ? word + BAL_PANEL_ROWS : n_vocab;
        bal_forward_fill_logits(f, word, end - word);
        pick_targets(f, batch, word, end - word);
        for (int64_t i = 0; i < batch->n_scored; ++i)
            done += batch->scored[i].word >= word && batch->scored[i].word < end;
    }
}

/* Loss of scored word number i at a sign, in nats. */
static float word_loss(const bal_forward *f, const bal_batch *batch, int sign, int64_t i,
                       bool *is_top)
{
    float target = f->out.target[sign * batch->n_scored + i];
    *is_top = false;
    if (batch->aim.relative) return -target;
    int64_t row = sign * f->pass.n_tokens + f->out.row[batch->scored[i].token];
    return f->kernels->lanes.cross_entropy(&f->out.sums[row], target, is_top);
}

static bal_status not_finite(const bal_batch *batch, int64_t token, float nats)
{
    int64_t sequence = 0;
    while (token >= batch->start[sequence + 1]) ++sequence;
    return bal_fail(BAL_ERR_NUMERIC,
                    "the loss of token %lld of sequence %lld is %g; the weights or scales of the "
                    "model are out of range",
                    (long long)(token - batch->start[sequence]), (long long)sequence, (double)nats);
}

bal_status bal_forward_losses(bal_forward *f, const bal_batch *batch,
                              const bal_direction *direction, bal_losses *losses)
{
    bal_forward_mark_scored(f, batch);
    if (bal_kept_serves(f, direction))
        BAL_TRY(bal_kept_run(f, direction, batch));
    else
        bal_forward_run(f, direction,
                        &(bal_sequences){.tokens = batch->tokens,
                                         .n_tokens = batch->n_tokens,
                                         .n = batch->n_sequences,
                                         .start = batch->start,
                                         .parent = batch->parent});
    (batch->aim.relative ? find_targets : sum_pieces)(f, batch);
    for (int sign = 0; sign < f->pass.n_signs; ++sign) {
        bal_losses *at = &losses[sign];
        at->loss = at->n_right = 0;
        if (at->answers != NULL)
            memset(at->answers, 0, (size_t)batch->n_answers * sizeof *at->answers);
        for (int64_t i = 0; i < batch->n_scored; ++i) {
            bool right;
            float nats = word_loss(f, batch, sign, i, &right);
            if (!isfinite(nats)) return not_finite(batch, batch->scored[i].token, nats);
            int64_t units = (int64_t)rint((double)nats * BAL_LOSS_UNITS_PER_NAT);
            at->loss += units;
            at->n_right += right;
            if (at->answers != NULL) at->answers[batch->scored[i].answer] += units;
        }
    }
    return BAL_OK;
}

bal_status bal_forward_all_logits(bal_forward *f, float *logits)
{
    int64_t n_vocab = f->model->config.n_vocab, n = f->pass.n_signs * f->pass.n_tokens;
    for (int64_t word = 0; word < n_vocab; word += PIECE) {
        int64_t n_words = n_vocab - word < PIECE ? n_vocab - word : PIECE;
        bal_forward_fill_logits(f, word, n_words);
        for (int64_t row = 0; row < n; ++row)
            memcpy(logits + row * n_vocab + word, f->out.logits + row * n_words,
                   (size_t)n_words * sizeof *logits);
    }
    for (int64_t i = 0; i < n * n_vocab; ++i)
        if (!isfinite(logits[i]))
            return bal_fail(
                BAL_ERR_NUMERIC,
                "a logit is not finite; the weights or scales of the model are out of range");
    return BAL_OK;
}

bal_status bal_forward_logits(bal_forward *f, const int32_t *tokens, int64_t n_tokens,
                              float *logits)
{
    memset(f->out.row, 0, (size_t)n_tokens * sizeof *f->out.row);
    bal_forward_run(
        f, NULL,
        &(bal_sequences){
            .tokens = tokens, .n_tokens = n_tokens, .n = 1, .start = (int64_t[]){0, n_tokens}});
    return bal_forward_all_logits(f, logits);
}

bal_status bal_cache_create(const bal_model *model, int64_t max_length, bal_cache **cache)
{
    const bal_model_config *c = &model->config;
    assert(max_length >= 1 && max_length <= c->max_tokens);
    if (bal_has(model, BAL_ENCODER))
        return bal_fail(BAL_ERR_CONFIG,
                        "the model is an encoder: it fills gaps in a text and cannot continue one");
    size_t n = (size_t)(c->n_layers * c->n_kv_heads * c->head_dim);
    bal_cache *new = bal_alloc(1, sizeof *new);
    if (new != NULL) {
        *new = (bal_cache){.model = model, .max_length = max_length};
        new->k = bal_alloc(n, (size_t)max_length * sizeof *new->k);
        new->v = bal_alloc(n, (size_t)max_length * sizeof *new->v);
    }
    if (new == NULL || new->k == NULL || new->v == NULL) {
        bal_cache_destroy(&new);
        return bal_fail(BAL_ERR_MEMORY, "no memory for keys and values of %lld tokens",
                        (long long)max_length);
    }
    *cache = new;
    return BAL_OK;
}

void bal_cache_destroy(bal_cache **cache)
{
    if (*cache == NULL) return;
    free((*cache)->k);
    free((*cache)->v);
    free(*cache);
    *cache = NULL;
}

size_t bal_cache_bytes(const bal_model *model, int64_t max_length)
{
    const bal_model_config *c = &model->config;
    return sizeof(bal_cache) +
           2 * (size_t)(c->n_layers * c->n_kv_heads * c->head_dim * max_length) * sizeof(float);
}

void bal_cache_copy(bal_cache *to, const bal_cache *from)
{
    const bal_model_config *c = &from->model->config;
    int64_t width = c->n_kv_heads * c->head_dim;
    size_t n_bytes = (size_t)(from->n_tokens * width) * sizeof *to->k;
    assert(from->n_tokens <= to->max_length && to->model == from->model);
    for (int64_t layer = 0; layer < c->n_layers; ++layer) {
        memcpy(to->k + layer * to->max_length * width, from->k + layer * from->max_length * width,
               n_bytes);
        memcpy(to->v + layer * to->max_length * width, from->v + layer * from->max_length * width,
               n_bytes);
    }
    to->n_tokens = from->n_tokens;
}

int64_t bal_cache_n(const bal_cache *cache) { return cache->n_tokens; }

void bal_cache_keep(bal_cache *cache, int64_t n)
{
    assert(n >= 0 && n <= cache->n_tokens);
    cache->n_tokens = n;
}

bal_status bal_forward_extend(bal_forward *f, bal_cache *cache, const int32_t *tokens,
                              int64_t n_tokens, float *logits)
{
    assert(bal_model_config_same(&cache->model->config, &f->model->config) && n_tokens >= 1);
    assert(cache->n_tokens + n_tokens <= cache->max_length &&
           cache->max_length <= f->capacity.max_length);
    for (int64_t n; n_tokens > 0; tokens += n, n_tokens -= n) {
        n = n_tokens < f->capacity.max_tokens ? n_tokens : f->capacity.max_tokens;
        memset(f->out.row, -1, (size_t)n * sizeof *f->out.row);
        f->out.row[n - 1] = 0;
        f->pass.caches = &cache;
        bal_forward_run(
            f, NULL,
            &(bal_sequences){.tokens = tokens, .n_tokens = n, .n = 1, .start = (int64_t[]){0, n}});
        f->pass.caches = NULL;
        cache->n_tokens += n;
        if (n == n_tokens && logits != NULL) BAL_TRY(bal_forward_all_logits(f, logits));
    }
    return BAL_OK;
}

bal_status bal_forward_losses_after(bal_forward *f, bal_cache *cache, const bal_batch *batch,
                                    bal_losses *losses)
{
    assert(cache->model == f->model && cache->max_length <= f->capacity.max_length);
    f->pass.caches = &cache;
    f->pass.is_shared = true;
    bal_status status = bal_forward_losses(f, batch, NULL, losses);
    f->pass.caches = NULL;
    f->pass.is_shared = false;
    return status;
}

int32_t bal_likeliest(const float *logits, int64_t n)
{
    int64_t top = 0;
    for (int64_t i = 1; i < n; ++i)
        if (logits[i] > logits[top]) top = i;
    return (int32_t)top;
}
