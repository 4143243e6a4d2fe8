/* losses.c: what a pass is for: losses of a batch, logits of a text, the next word of a text. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "forward_impl.h"

/* Sums of exponentials and the targets' logits of all rows, piece by piece of the words. */
static void sum_pieces(bal_forward *f, const bal_batch *batch)
{
    int64_t n_vocab = f->model->config.n_vocab, n = batch->n_tokens;
    for (int64_t word = 0; word < n_vocab; word += PIECE) {
        int64_t n_words = n_vocab - word < PIECE ? n_vocab - word : PIECE;
        bal_forward_fill_logits(f, word, n_words, 0, n);
        f->kernels->lanes.exp_sums(f->pass.n_signs * n, n_words, f->out.logits, n_words, word == 0,
                                   f->out.sums);
        for (int64_t row = 0; row < f->pass.n_signs * n; ++row) {
            int64_t target = batch->targets[row % n] - word;
            if (target >= 0 && target < n_words)
                f->out.target[row] = f->out.logits[row * n_words + target];
        }
    }
}

bal_status bal_forward_losses(bal_forward *f, const bal_batch *batch,
                              const bal_direction *direction, bal_losses *losses)
{
    int64_t n = batch->n_tokens, sequence = 0;
    bal_forward_run(f, direction,
                    &(bal_sequences){batch->tokens, n, batch->n_sequences, batch->start});
    sum_pieces(f, batch);
    for (int sign = 0; sign < f->pass.n_signs; ++sign) {
        losses[sign].loss = losses[sign].n_right = 0;
        if (losses[sign].per_sequence != NULL)
            memset(losses[sign].per_sequence, 0,
                   (size_t)batch->n_sequences * sizeof *losses[sign].per_sequence);
    }
    for (int64_t t = 0; t < n; ++t) {
        while (t >= batch->start[sequence + 1]) ++sequence;
        if (batch->targets[t] < 0) continue;
        for (int sign = 0; sign < f->pass.n_signs; ++sign) {
            int64_t row = sign * n + t;
            bool right;
            float nats =
                f->kernels->lanes.cross_entropy(&f->out.sums[row], f->out.target[row], &right);
            if (!isfinite(nats))
                return bal_fail(BAL_ERR_NUMERIC,
                                "the loss of token %lld of sequence %lld is %g; the weights or "
                                "scales of the model are out of range",
                                (long long)(t - batch->start[sequence]), (long long)sequence,
                                (double)nats);
            int64_t units = (int64_t)rint((double)nats * BAL_LOSS_UNITS_PER_NAT);
            losses[sign].loss += units;
            losses[sign].n_right += right;
            if (losses[sign].per_sequence != NULL) losses[sign].per_sequence[sequence] += units;
        }
    }
    return BAL_OK;
}

/* Logits of n rows of one sequence, from first on. */
static bal_status fill_all_logits(bal_forward *f, int64_t first, int64_t n, float *logits)
{
    int64_t n_vocab = f->model->config.n_vocab;
    for (int64_t word = 0; word < n_vocab; word += PIECE) {
        int64_t n_words = n_vocab - word < PIECE ? n_vocab - word : PIECE;
        bal_forward_fill_logits(f, word, n_words, first, n);
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
    bal_forward_run(f, NULL, &(bal_sequences){tokens, n_tokens, 1, (int64_t[]){0, n_tokens}});
    return fill_all_logits(f, 0, n_tokens, logits);
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

bal_status bal_forward_extend(bal_forward *f, bal_cache *cache, const int32_t *tokens,
                              int64_t n_tokens, float *logits)
{
    assert(cache->model == f->model && n_tokens >= 1);
    assert(cache->n_tokens + n_tokens <= cache->max_length &&
           cache->max_length <= f->capacity.max_length);
    for (int64_t n; n_tokens > 0; tokens += n, n_tokens -= n) {
        n = n_tokens < f->capacity.max_tokens ? n_tokens : f->capacity.max_tokens;
        f->pass.cache = cache;
        bal_forward_run(f, NULL, &(bal_sequences){tokens, n, 1, (int64_t[]){0, n}});
        f->pass.cache = NULL;
        cache->n_tokens += n;
        if (n == n_tokens) BAL_TRY(fill_all_logits(f, n - 1, 1, logits));
    }
    return BAL_OK;
}
