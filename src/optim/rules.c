/* rules.c: the table of rules. Each moves codes by their tally, past the gate: a code moves only
 * where code - |z| and code + |z| are in its range. Adding a rule is adding a row. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "optim_impl.h"

/* Put a code that moved, kept within its range. @return whether it changed. */
static uint32_t put(bal_tensor *tensor, int64_t at, int old, int code)
{
    code = code > tensor->high ? tensor->high : code < tensor->low ? tensor->low : code;
    bal_tensor_put(tensor, at, code);
    return code != old;
}

static bal_status check_carry(const bal_optim_options *options)
{
    if (options->perturb.kind == BAL_DIRECTIONS_UNIFORM)
        return bal_fail(BAL_ERR_CONFIG,
                        "rule carry counts votes along +-1: set [vote] directions "
                        "to walsh or independent");
    return BAL_OK;
}

/* carry += round(256 rate tally / sqrt(n_slots)); whole steps move the code, the remainder, in
 * [-1/2, 1/2), stays. It is a 16-bit weight of which the model reads the top byte. A tally counts
 * up to where its increment is 32 to 64 code steps. */
static uint32_t update_carry(const bal_rule_step *step, bal_tensor *tensor, int64_t first,
                             int64_t n, int16_t *tally)
{
    int bound = ((1 << 14) - 1) >> step->shift;
    bal_ballot_shape ballot = step->options->ballot;
    bool may_exceed = ballot.n_slots * bal_ballot_vote_max(ballot) > bound;
    for (int64_t i = 0; i < n && may_exceed; ++i)
        tally[i] = (int16_t)(tally[i] > bound ? bound : tally[i] < -bound ? -bound : tally[i]);
    if (tensor->role == BAL_MATRIX) {
        uint8_t spread[BAL_SPAN_BLOCKS * BAL_BLOCK_CODES];
        bool nibbles = bal_format_is_nibbles(tensor->format);
        uint8_t *codes = nibbles ? spread : (uint8_t *)tensor->codes + first;
        int64_t block = first / BAL_BLOCK_CODES, n_blocks = n / BAL_BLOCK_CODES;
        assert(n_blocks <= BAL_SPAN_BLOCKS);
        if (nibbles) bal_tensor_spread(tensor, block, n_blocks, spread);
        uint32_t n_flips = step->kernels->carry(n, tensor->low, tensor->high, step->multiplier,
                                                step->shift, tally, codes, tensor->carry + first);
        if (nibbles) bal_tensor_gather(tensor, block, n_blocks, spread);
        return n_flips;
    }
    uint32_t n_flips = 0;
    for (int64_t i = 0; i < n; ++i) {
        int old = bal_tensor_code(tensor, first + i);
        if (old - 1 < tensor->low || old + 1 > tensor->high) continue;
        int moves =
            bal_carry_moves(tally[i], step->multiplier, step->shift, &tensor->carry[first + i]);
        n_flips += put(tensor, first + i, old, old + moves);
    }
    return n_flips;
}

static bal_status check_zoqo(const bal_optim_options *options)
{
    if (options->perturb.kind != BAL_DIRECTIONS_UNIFORM || options->ballot.n_slots != 1 ||
        options->ballot.n_bits != BAL_SIGN_BITS)
        return bal_fail(BAL_ERR_CONFIG,
                        "rule zoqo takes one sign, along uniform noise: set "
                        "[vote] directions = uniform and slots = 1");
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
                            int16_t *tally)
{
    uint32_t n_flips = 0;
    for (int64_t i = 0; i < n; ++i) {
        int old = bal_tensor_code(tensor, first + i);
        if (tally[i] == 0 || old - abs(tally[i]) < tensor->low ||
            old + abs(tally[i]) > tensor->high)
            continue;
        double quotient = floor(step->options->rule.eta / (double)code_scale(tensor, first + i));
        int size = quotient >= 32767.0 ? 32767 : quotient > 1.0 ? (int)quotient : 1;
        n_flips += put(tensor, first + i, old, old + (tally[i] > 0 ? size : -size));
    }
    return n_flips;
}

const bal_rule bal_rules[] = {
    [BAL_RULE_CARRY] = {.check = check_carry, .update = update_carry},
    [BAL_RULE_ZOQO] = {.check = check_zoqo, .update = update_zoqo},
};
