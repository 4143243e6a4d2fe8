/* sample.h: from logits to the next token. */
#ifndef BALLOT_SAMPLE_H
#define BALLOT_SAMPLE_H

#include "ballot/core.h"

/** From which tokens one is drawn, and how. */
typedef struct bal_sampling {
    double temperature; /* logits are divided by it; 0: the likeliest token */
    int64_t top_k;      /* the k likeliest; 0: all */
    double top_p;       /* of these the likeliest that have this probability together, at least one
                           (Holtzman et al. 2020, arXiv 1904.09751); 1: all */
} bal_sampling;

typedef struct bal_sampler bal_sampler;
/** @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_sampler_create(const bal_sampling *sampling, int64_t n_vocab, bal_sampler **sampler);
void bal_sampler_destroy(bal_sampler **sampler);
/** A token of logits [n_vocab], which are finite. Of equal logits the lower token is the likelier
 *  one. A pure function of its arguments. */
int32_t bal_sampler_choose(bal_sampler *sampler, const float *logits, uint32_t random);

#endif
