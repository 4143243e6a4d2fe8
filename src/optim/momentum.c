/* momentum.c: rule momentum, by which codes follow a sum of gradients that fades. */
#include "optim_impl.h"

enum { BETA, RATE };

/* Over many steps noise then carries a code as far as without a sum. */
static void begin(bal_rule_step *step)
{
    double beta = step->options->rule.beta1;
    step->constants[BETA] = beta;
    step->constants[RATE] = (1.0 - beta) * bal_rule_rate(step);
}

/* m = beta m - gradient; code += (1 - beta) rate m. Source: Polyak 1964; without dampening, as in
 * torch.optim.SGD. */
static void change(const bal_rule_step *step, int64_t n, float *const values[],
                   const float *descent, float *change)
{
    const float beta = (float)step->constants[BETA], rate = (float)step->constants[RATE];
    float *m = values[0];
    for (int64_t i = 0; i < n; ++i) {
        m[i] = beta * m[i] + descent[i];
        change[i] = rate * m[i];
    }
}

const bal_rule bal_rule_momentum = {
    .check = bal_rule_check_signs,
    .begin = begin,
    .takes_rate = true,
    .states = {.n = 2,
               .at = {{.name = "carry", .from_rounding = true},
                      {.name = "momentum_buffer", .kind = BAL_STATE_REAL}}},
    .change = change,
};
