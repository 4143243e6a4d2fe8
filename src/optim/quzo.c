/* quzo.c: rule quzo, by which codes follow the gradient in whole steps, rounded by chance. */
#include <math.h>

#include "ballot/perturb.h"
#include "optim_impl.h"

enum { RATE };

static void begin(bal_rule_step *step) { step->constants[RATE] = bal_rule_rate(step); }

/* code += floor(-rate gradient + u), u uniform in [0, 1): on average the step itself. Source: the
 * stochastic rounding of QuZO, Zhou et al. 2025, arXiv 2502.12346. */
static void change(const bal_rule_step *step, int64_t n, float *const values[],
                   const float *descent, float *change)
{
    const float rate = (float)step->constants[RATE], unit = 1.0f / 16777216.0f;
    bal_measure measure = step->options->measure;
    measure.step = (uint32_t)step->step;
    (void)values;
    for (int64_t i = 0; i < n; i += BAL_BLOCK_CODES) {
        uint32_t words[BAL_BLOCK_CODES];
        bal_chance_words(&measure, step->tensor, (step->first + i) / BAL_BLOCK_CODES, words);
        for (int64_t j = 0; j < BAL_BLOCK_CODES; ++j)
            change[i + j] = floorf(rate * descent[i + j] + (float)(words[j] >> 8) * unit);
    }
}

const bal_rule bal_rule_quzo = {
    .check = bal_rule_check_signs,
    .begin = begin,
    .takes_rate = true,
    .states = {.n = 1, .at = {{.name = "carry", .from_rounding = true}}},
    .change = change,
};
