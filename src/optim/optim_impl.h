/* optim_impl.h: what a rule is. */
#ifndef BALLOT_OPTIM_IMPL_H
#define BALLOT_OPTIM_IMPL_H

#include "ballot/optim.h"

/** A block of 256 codes on its way to new ones. */
typedef struct bal_update {
    const int32_t *tally; /* [256] gated: 0 where the code may not move */
    const float   *scale; /* [256] weight of one code step */
    int8_t        *carry; /* [256] in and out */
    int32_t       *moves; /* [256] out: whole code steps, before clamping to the range */
} bal_update;

/** What a rule knows of the step. */
typedef struct bal_rule_step {
    const bal_rule_options *options;
    int                     n_slots;
    const int32_t          *increments; /* carry: [2 n_slots + 1], by tally + n_slots */
} bal_rule_step;

typedef struct bal_rule {
    bool needs_increments;
    bal_status (*check)(const bal_optim_options *options);
    void (*move)(const bal_rule_step *step, const bal_update *update);
} bal_rule;

extern const bal_rule bal_rules[]; /* by bal_rule_kind */

#endif
