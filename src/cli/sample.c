/* sample.c: the likeliest token, or one drawn from the likeliest. */
#include "sample.h"

#include <stdlib.h>

#include "ballot/kernels.h"
#include "ballot/model.h"

typedef struct candidate {
    float logit;
    int32_t token;
    double weight; /* exp of it, relative to the top */
} candidate;

struct bal_sampler {
    bal_sampling sampling;
    int64_t n_vocab;
    candidate *candidates; /* [n_vocab] */
};

bal_status bal_sampler_create(const bal_sampling *sampling, int64_t n_vocab, bal_sampler **sampler)
{
    bal_sampler *s = bal_alloc(1, sizeof *s);
    if (s != NULL) {
        *s = (bal_sampler){.sampling = *sampling, .n_vocab = n_vocab};
        s->candidates = bal_alloc((size_t)n_vocab, sizeof *s->candidates);
    }
    if (s == NULL || s->candidates == NULL) {
        free(s);
        return bal_fail(BAL_ERR_MEMORY, "no memory to choose from %lld tokens", (long long)n_vocab);
    }
    *sampler = s;
    return BAL_OK;
}

void bal_sampler_destroy(bal_sampler **sampler)
{
    if (*sampler == NULL) return;
    free((*sampler)->candidates);
    free(*sampler);
    *sampler = NULL;
}

static int likeliest_first(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->logit > y->logit || x->logit < y->logit) return x->logit > y->logit ? -1 : 1;
    return (x->token > y->token) - (x->token < y->token);
}

int32_t bal_sampler_choose(bal_sampler *s, const float *logits, uint32_t random)
{
    const bal_sampling *how = &s->sampling;
    candidate *c = s->candidates;
    int64_t n = s->n_vocab;
    int32_t top = bal_likeliest(logits, n);
    if (how->temperature == 0.0) return top;
    for (int64_t i = 0; i < n; ++i) c[i] = (candidate){.logit = logits[i], .token = (int32_t)i};
    qsort(c, (size_t)n, sizeof *c, likeliest_first);
    if (how->top_k > 0 && how->top_k < n) n = how->top_k;
    double sum = 0.0, kept = 0.0;
    for (int64_t i = 0; i < n; ++i) {
        c[i].weight = bal_math_exp(((double)c[i].logit - (double)logits[top]) / how->temperature);
        sum += c[i].weight;
    }
    int64_t n_kept = 0;
    while (n_kept < n && (n_kept == 0 || kept < how->top_p * sum)) kept += c[n_kept++].weight;
    double left = kept * ((double)random + 0.5) / 4294967296.0;
    for (int64_t i = 0; i < n_kept; ++i) {
        left -= c[i].weight;
        if (left < 0.0) return c[i].token;
    }
    return c[n_kept - 1].token;
}
