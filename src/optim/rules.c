/* rules.c: the table of rules. Each turns the gated tally of a block into moves of whole code
 * steps. Adding a rule is adding a row. */
#include <math.h>

#include "optim_impl.h"

static bal_status check_carry(const bal_optim_options *options)
{
    if (options->perturb.kind == BAL_DIRECTIONS_UNIFORM)
        return bal_fail(BAL_ERR_CONFIG,
                        "rule carry counts votes along +-1: set [vote] directions "
                        "to walsh or independent");
    return BAL_OK;
}

/* carry += round(256 rate tally / sqrt(n_slots)), saturating; whole steps move the code, the
 * remainder, in [-1/2, 1/2), stays. It is a 16-bit weight of which the model reads the top byte. */
static void move_carry(const bal_rule_step *step, const bal_update *u)
{
    for (int i = 0; i < BAL_BLOCK_CODES; ++i) {
        int32_t fraction = u->carry[i] + step->increments[u->tally[i] + step->n_slots];
        u->moves[i]      = (fraction + 128) >> 8;
        u->carry[i]      = (int8_t)(fraction - 256 * u->moves[i]);
    }
}

static bal_status check_zoqo(const bal_optim_options *options)
{
    if (options->perturb.kind != BAL_DIRECTIONS_UNIFORM || options->n_slots != 1)
        return bal_fail(BAL_ERR_CONFIG,
                        "rule zoqo takes one direction of uniform noise: set "
                        "[vote] directions = uniform and slots = 1");
    return BAL_OK;
}

/* code -= max(floor(eta / scale), 1) sign(gradient), the sign being -vote * sign(z).
 * Source: ZOQO, Bar & Giryes 2025, arXiv 2501.06736. */
static void move_zoqo(const bal_rule_step *step, const bal_update *u)
{
    for (int i = 0; i < BAL_BLOCK_CODES; ++i) {
        double  quotient = floor(step->options->eta / (double)u->scale[i]);
        int32_t size     = quotient >= 32767.0 ? 32767 : quotient > 1.0 ? (int32_t)quotient : 1;
        u->moves[i]      = size * ((u->tally[i] > 0) - (u->tally[i] < 0));
    }
}

const bal_rule bal_rules[] = {
    [BAL_RULE_CARRY] = {.needs_increments = true, .check = check_carry, .move = move_carry},
    [BAL_RULE_ZOQO]  = {.needs_increments = false, .check = check_zoqo, .move = move_zoqo},
};
