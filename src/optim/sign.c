/* sign.c: rules sign and feedsign, by which every code moves alike. */
#include "optim_impl.h"

enum { RATE };

static void begin(bal_rule_step *step) { step->constants[RATE] = bal_rule_rate(step); }

/* code += rate sign(-gradient), code by code. Source: signSGD, Bernstein et al. 2018, arXiv
 * 1802.04434. */
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

static bal_status check_shared(const bal_optim_options *options)
{
    if (options->measure.options.kind != BAL_DIRECTIONS_SHARED ||
        options->ballot.n_bits != BAL_SIGN_BITS)
        return bal_fail(BAL_ERR_CONFIG,
                        "rule feedsign needs signs on one direction: set [vote] directions = "
                        "shared, bits = 2 and probe = two-sided");
    return BAL_OK;
}

/* All slots share a direction, so that the sign of a tally is that of the majority, times z: code
 * += rate majority z. Source: FeedSign, Cai et al. 2025, arXiv 2501.17610. */
const bal_rule bal_rule_feedsign = {
    .check = check_shared,
    .begin = begin,
    .takes_rate = true,
    .states = {.n = 1, .at = {{.name = "carry", .from_rounding = true}}},
    .change = change,
};
