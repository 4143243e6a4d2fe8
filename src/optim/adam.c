/* adam.c: rule adam, by which codes follow the mean gradient over its root mean square. */
#include <math.h>

#include "optim_impl.h"

#define EPSILON 1e-8f

enum { BETA1, BETA2, MEAN, SQUARE }; /* the last two: what the means are multiplied by */

/* The same on every machine. */
static double power(double base, int64_t n)
{
    double result = 1.0;
    for (; n > 0; n >>= 1, base *= base)
        if (n & 1) result *= base;
    return result;
}

/* Means that start at 0 are too small at first. Where tensors vote by turns, a code has been voted
 * on in one of so many steps. The square of noise is the density on average, and noise is to carry
 * a code as far as by any rule. */
static void begin(bal_rule_step *step)
{
    const bal_optim_options *options = step->options;
    double beta1 = options->rule.beta1, beta2 = options->rule.beta2;
    double rate = bal_rule_rate(step) * sqrt(options->measure.options.density);
    step->constants[BETA1] = beta1;
    step->constants[BETA2] = beta2;
    int64_t n_votes = step->step / bal_measure_turns(&options->measure) + 1;
    step->constants[MEAN] = rate / (1.0 - power(beta1, n_votes));
    step->constants[SQUARE] = 1.0 / (1.0 - power(beta2, n_votes));
}

/* Source: Kingma & Ba 2015, arXiv 1412.6980, algorithm 1. */
static void change(const bal_rule_step *step, int64_t n, float *const values[],
                   const float *descent, float *change)
{
    const float beta1 = (float)step->constants[BETA1], beta2 = (float)step->constants[BETA2];
    const float mean = (float)step->constants[MEAN], square = (float)step->constants[SQUARE];
    float *m = values[0], *v = values[1];
    for (int64_t i = 0; i < n; ++i) {
        m[i] = beta1 * m[i] + (1.0f - beta1) * descent[i];
        v[i] = beta2 * v[i] + (1.0f - beta2) * descent[i] * descent[i];
        change[i] = mean * m[i] / (sqrtf(square * v[i]) + EPSILON);
    }
}

const bal_rule bal_rule_adam = {
    .check = bal_rule_check_signs,
    .begin = begin,
    .takes_rate = true,
    .states = {.n = 3,
               .at = {{.name = "carry", .from_rounding = true},
                      {.name = "exp_avg", .kind = BAL_STATE_REAL},
                      {.name = "exp_avg_sq", .kind = BAL_STATE_SQUARE}}},
    .change = change,
};
