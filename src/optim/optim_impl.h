/* optim_impl.h: what a rule is. */
#ifndef BALLOT_OPTIM_IMPL_H
#define BALLOT_OPTIM_IMPL_H

#include "ballot/kernels.h"
#include "ballot/optim.h"
#include "ballot/quant.h"

#define BAL_SHIFT_MAX 13
#define BAL_SPAN_BLOCKS 32 /* at a time: codes, carries and tallies stay in the first cache */

/** What a rule knows of the step. */
typedef struct bal_rule_step {
    const bal_optim_options *options;
    const bal_kernels *kernels;
    int multiplier, shift; /* carry: 1/256 steps per vote are multiplier * 2^(shift - 15); odd */
} bal_rule_step;

typedef struct bal_rule {
    bal_status (*check)(const bal_optim_options *options);
    /** Move n codes of a tensor from first on, at most BAL_SPAN_BLOCKS blocks, by their tally,
     * which may be overwritten. @return codes that changed. */
    uint32_t (*update)(const bal_rule_step *step, bal_tensor *tensor, int64_t first, int64_t n,
                       int16_t *tally);
} bal_rule;

extern const bal_rule bal_rules[]; /* by bal_rule_kind */

#endif
