/* optim_impl.h: what the rules share. */
#ifndef BALLOT_OPTIM_IMPL_H
#define BALLOT_OPTIM_IMPL_H

#include "ballot/kernels.h"
#include "ballot/optim.h"
#include "ballot/quant.h"

/** Rules with a file of their own. */
extern const bal_rule bal_rule_carry, bal_rule_sgd, bal_rule_sign, bal_rule_momentum, bal_rule_adam,
    bal_rule_ztest, bal_rule_quzo, bal_rule_feedsign;

/* ---- rate.c ---- */

/** The rate at a step of n over that at the start, and the reciprocal of its mean square. */
double bal_schedule_shape(const bal_rule_options *rule, double step, double n, double *norm);
/** Of the steps, that in which a code is voted on. */
double bal_rule_share(const bal_optim_options *options);
/** A check of rules that know directions of -1 and +1 alone. */
bal_status bal_rule_check_signs(const bal_optim_options *options);

/* ---- real.c ---- */

/** Update n codes from step->first on by a rule of real numbers: see bal_rule.change. */
uint32_t bal_real_update(const bal_rule_step *step, bal_tensor *tensor, int64_t n, int8_t *carry,
                         float *const values[], const int16_t *tally);

/** Put a code that moved, kept within its range. @return whether it changed. */
static inline uint32_t bal_rule_put(bal_tensor *tensor, int64_t at, int old, int code)
{
    code = code > tensor->high ? tensor->high : code < tensor->low ? tensor->low : code;
    bal_tensor_put(tensor, at, code);
    return code != old;
}

#endif
