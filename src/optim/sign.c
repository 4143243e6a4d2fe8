/* sign.c: rule sign, by which every code moves alike. */
#include "optim_impl.h"

enum { RATE };

static void begin(bal_rule_step *step) { step->constants[RATE] = bal_rule_rate(step); }

/* code += rate sign(-gradient), code by code. Source: signSGD, Bernstein et al. 2018, arXiv
 * 1802.04434; ZO-signSGD, Liu et al. 2019. */
static void change(const bal_rule_step *step, int64_t n, float *const values[],
                   const float *descent, float *change)
{
    const float rate = (float)step->constants[RATE];
    (void)values;
    for (int64_t i = 0; i < n; ++i)
        change[i] = descent[i] > 0.0f ? rate : descent[i] < 0.0f ? -rate : 0.0f;
}

const bal_rule bal_rule_sign = {
    .check = bal_rule_check_signs,
    .begin = begin,
    .takes_rate = true,
    .states = {.n = 1, .at = {{.name = "carry", .from_rounding = true}}},
    .change = change,
};
