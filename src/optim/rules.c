/* rules.c: the table of rules, and rule zoqo. A new rule is a name in RULES, its struct and its
 * functions, here or, if it remembers something, in a file of its own. */
#include <math.h>
#include <stdlib.h>

#include "optim_impl.h"

static bal_status check_zoqo(const bal_optim_options *options)
{
    if (options->measure.options.kind != BAL_DIRECTIONS_UNIFORM || options->ballot.n_slots != 1 ||
        options->ballot.n_bits != BAL_SIGN_BITS)
        return bal_fail(BAL_ERR_CONFIG,
                        "rule zoqo needs one slot and uniform noise: set [vote] slots = 1 and "
                        "directions = uniform");
    return BAL_OK;
}

/* Weight of a code step: for NF4, whose steps differ, a fifteenth of the range. */
static float code_scale(const bal_tensor *tensor, int64_t at)
{
    if (tensor->role != BAL_MATRIX) return tensor->scale[0];
    int64_t block = at / BAL_BLOCK_CODES, n_blocks = (tensor->n_cols + 3) / 4;
    int64_t row = block / n_blocks * BAL_PANEL_ROWS + at % BAL_BLOCK_CODES / 4;
    if (row >= tensor->n_rows) return 1.0f;
    if (tensor->factors == NULL) return tensor->scale[row];
    int64_t group = block % n_blocks * 4 / tensor->group;
    float factor = tensor->factors[bal_tensor_factor_at(tensor, row, group)];
    return tensor->scale[row] * (tensor->format == BAL_NF4 ? factor * (2.0f / 15.0f) : factor);
}

/* code -= max(floor(eta / scale), 1) sign(gradient), the sign being -vote * sign(z). There is one
 * slot, so that |tally| is |z|, or 0 without a vote.
 * Source: ZOQO, Bar & Giryes 2025, arXiv 2501.06736. */
static uint32_t update_zoqo(const bal_rule_step *step, bal_tensor *tensor, int64_t first, int64_t n,
                            int8_t *const remembered[], int16_t *tally)
{
    (void)remembered;
    uint32_t n_flips = 0;
    for (int64_t i = 0; i < n; ++i) {
        int old = bal_tensor_code(tensor, first + i);
        if (tally[i] == 0 || old - abs(tally[i]) < tensor->low ||
            old + abs(tally[i]) > tensor->high)
            continue;
        double quotient = floor(step->options->rule.eta / (double)code_scale(tensor, first + i));
        int size = quotient >= 32767.0 ? 32767 : quotient > 1.0 ? (int)quotient : 1;
        n_flips += bal_rule_put(tensor, first + i, old, old + (tally[i] > 0 ? size : -size));
    }
    return n_flips;
}

/* Version 0.1 kept carries for every rule, and they are part of its fingerprints. So zoqo has them
 * too, and leaves them as rounding left them. */
static const bal_rule bal_rule_zoqo = {
    .check = check_zoqo,
    .states = {.n = 1, .at = {{.name = "carry", .from_rounding = true}}},
    .update = update_zoqo,
};

/* The names in job files, in the order of the help. The first is the default. */
#define RULES(X) X(carry) X(zoqo) X(sgd) X(sign) X(momentum) X(adam) X(ztest) X(quzo) X(feedsign)

#define NUMBER(word) RULE_##word,
#define ROW(word) &bal_rule_##word,
#define WORD(word) {#word, RULE_##word},
enum { RULES(NUMBER) };
static const bal_rule *const rules[] = {RULES(ROW)};
const bal_choice bal_rule_choices[] = {RULES(WORD){NULL, 0}};

const bal_rule *bal_rule_of(unsigned value) { return rules[value]; }

bal_states bal_rule_states(const bal_rule_options *options)
{
    bal_states states = options->kind->states;
    bal_states_set_group(&states, options->state_group);
    return states;
}
