/* ztest.c: rule ztest, by which a code takes a step where its tally is significant. */
#include "optim_impl.h"

/* code += sign(-gradient) where |gradient| exceeds z standard deviations of pure noise. The carry
 * stays what rounding left over. */
static void change(const bal_rule_step *step, int64_t n, float *const values[],
                   const float *descent, float *change)
{
    const float z = (float)step->options->rule.z;
    (void)values;
    for (int64_t i = 0; i < n; ++i)
        change[i] = descent[i] > z ? 1.0f : descent[i] < -z ? -1.0f : 0.0f;
}

const bal_rule bal_rule_ztest = {
    .check = bal_rule_check_signs,
    .states = {.n = 1, .at = {{.name = "carry", .from_rounding = true}}},
    .change = change,
};
