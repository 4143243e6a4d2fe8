/* sgd.c: rule sgd, by which codes follow the gradient as it is, and not over its size. */
#include "optim_impl.h"

enum { RATE };

/* A tally is its descent over bal_rule_unit, in units of tally_unit votes. */
static void begin(bal_rule_step *step)
{
    const bal_optim_options *options = step->options;
    double norm, n_steps = (double)options->n_steps;
    double shape = bal_schedule_shape(&options->rule, (double)step->step, n_steps, &norm);
    step->constants[RATE] = options->rule.lr * shape * step->factor * step->unit *
                            step->tally_unit / bal_rule_unit(step);
}

/* code += lr (mean over the votes cast of the slope along z, times z). Source: ZO-SGD, Ghadimi &
 * Lan 2013, arXiv 1309.5549; MeZO, Malladi et al. 2023, arXiv 2305.17333. */
static void change(const bal_rule_step *step, int64_t n, float *const values[],
                   const float *descent, float *change)
{
    const float rate = (float)step->constants[RATE];
    (void)values;
    for (int64_t i = 0; i < n; ++i) change[i] = rate * descent[i];
}

const bal_rule bal_rule_sgd = {
    .check = bal_rule_check_signs,
    .begin = begin,
    .takes_slope = true,
    .states = {.n = 1, .at = {{.name = "carry", .from_rounding = true}}},
    .change = change,
};
