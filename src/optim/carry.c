/* carry.c: rule carry, which remembers a fraction of a step for each code: first what rounding left
 * over, then what votes have added up to without moving the code yet. */
#include <assert.h>
#include <math.h>

#include "optim_impl.h"

#define SHIFT_MAX 13

/* 1/256 steps per vote are MULTIPLIER * 2^(SHIFT - 15). */
enum { MULTIPLIER, SHIFT };

/* A vote moves a carry by 256 rate / (sqrt(n_slots) rms) = multiplier * 2^(shift - 15), rounded to
 * the nearest odd multiplier. */
static void begin(bal_rule_step *step)
{
    const bal_optim_options *options = step->options;
    double multiplier =
        32768.0 * (256.0 * bal_rule_rate(step) / sqrt((double)options->ballot.n_slots) /
                   bal_ballot_vote_rms(options->ballot));
    multiplier *= step->tally_unit;
    int shift = 0;
    for (; multiplier >= 32768.0 && shift < SHIFT_MAX; ++shift) multiplier /= 2.0;
    step->constants[MULTIPLIER] = (multiplier < 32767.0 ? (int)multiplier : 32767) | 1;
    step->constants[SHIFT] = shift;
}

/* The codes of a matrix, by a kernel that reads them as bytes. */
static uint32_t update_matrix(const bal_rule_step *step, bal_tensor *tensor, int64_t first,
                              int64_t n, int8_t *carry, const int16_t *tally)
{
    uint8_t spread[BAL_SPAN_BLOCKS * BAL_BLOCK_CODES];
    bool nibbles = bal_format_is_nibbles(tensor->format);
    uint8_t *codes = nibbles ? spread : (uint8_t *)tensor->codes + first;
    int64_t block = first / BAL_BLOCK_CODES, n_blocks = n / BAL_BLOCK_CODES;
    assert(n_blocks <= BAL_SPAN_BLOCKS);
    if (nibbles) bal_tensor_spread(tensor, block, n_blocks, spread);
    uint32_t n_flips = step->options->measure.kernels->carry(
        n, tensor->low, tensor->high, (int)step->constants[MULTIPLIER], (int)step->constants[SHIFT],
        tally, codes, carry);
    if (nibbles) bal_tensor_gather(tensor, block, n_blocks, spread);
    return n_flips;
}

/* In words of 16 bits alone, so that a compiler takes many at once. */
static void keep_within(int16_t bound, int64_t n, int16_t *tally)
{
    int16_t least = (int16_t)-bound;
    for (int64_t i = 0; i < n; ++i) {
        int16_t kept = tally[i] < bound ? tally[i] : bound;
        tally[i] = kept > least ? kept : least;
    }
}

/* carry += round(256 rate tally / sqrt(n_slots)); whole steps move the code, the remainder, in
 * [-1/2, 1/2), stays. It is a 16-bit weight of which the model reads the top byte. A tally counts
 * up to where its increment is 32 to 64 code steps. */
static uint32_t update(const bal_rule_step *step, bal_tensor *tensor, int64_t first, int64_t n,
                       int8_t *const remembered[], int16_t *tally)
{
    int8_t *carry = remembered[0];
    int multiplier = (int)step->constants[MULTIPLIER], shift = (int)step->constants[SHIFT];
    int bound = ((1 << 14) - 1) >> shift;
    bal_ballot_shape ballot = step->options->ballot;
    bool may_exceed = ballot.n_slots * bal_ballot_vote_max(ballot) > bound;
    if (may_exceed) keep_within((int16_t)bound, n, tally);
    if (tensor->role == BAL_MATRIX) return update_matrix(step, tensor, first, n, carry, tally);
    uint32_t n_flips = 0;
    for (int64_t i = 0; i < n; ++i) {
        int old = bal_tensor_code(tensor, first + i);
        if (old - 1 < tensor->low || old + 1 > tensor->high) continue;
        int moves = bal_carry_moves(tally[i], multiplier, shift, &carry[i]);
        n_flips += bal_rule_put(tensor, first + i, old, old + moves);
    }
    return n_flips;
}

const bal_rule bal_rule_carry = {
    .check = bal_rule_check_signs,
    .begin = begin,
    .takes_rate = true,
    .states = {.n = 1, .at = {{.name = "carry", .from_rounding = true}}},
    .update = update,
};
