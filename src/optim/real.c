/* real.c: what rules of real numbers share: codes to words and back, the gate, the carry. */
#include <assert.h>

#include "optim_impl.h"

enum { N = BAL_SPAN_BLOCKS * BAL_BLOCK_CODES };

/* Codes in words of 16 bits, so that a compiler takes many at once. */
static void read_codes(const bal_tensor *tensor, int64_t first, int64_t n, int16_t *codes)
{
    uint8_t spread[N];
    const uint8_t *bytes = (const uint8_t *)tensor->codes + first;
    if (tensor->format == BAL_I16) {
        for (int64_t i = 0; i < n; ++i) codes[i] = ((const int16_t *)tensor->codes)[first + i];
        return;
    }
    if (bal_format_is_nibbles(tensor->format)) {
        bal_tensor_spread(tensor, first / BAL_BLOCK_CODES, n / BAL_BLOCK_CODES, spread);
        bytes = spread;
    }
    for (int64_t i = 0; i < n; ++i) codes[i] = (int16_t)(bytes[i] - 128);
}

static void write_codes(bal_tensor *tensor, int64_t first, int64_t n, const int16_t *codes)
{
    uint8_t spread[N];
    uint8_t *bytes = (uint8_t *)tensor->codes + first;
    bool nibbles = bal_format_is_nibbles(tensor->format);
    if (tensor->format == BAL_I16) {
        for (int64_t i = 0; i < n; ++i) ((int16_t *)tensor->codes)[first + i] = codes[i];
        return;
    }
    if (nibbles) bytes = spread;
    for (int64_t i = 0; i < n; ++i) bytes[i] = (uint8_t)(codes[i] + 128);
    if (nibbles) bal_tensor_gather(tensor, first / BAL_BLOCK_CODES, n / BAL_BLOCK_CODES, spread);
}

/* To the nearest integer, ties to even: beyond 2^22 a float has no room for a fraction. */
static inline int rounded(float value)
{
    const float shift = 12582912.0f;
    return (int)((value + shift) - shift);
}

/* Move a code by so many 1/256 steps, no number is none; the remainder, in [-1/2, 1/2), is the new
 * carry. */
static inline int move(int code, float way, int low, int high, int8_t *carry)
{
    const float most = 16384.0f;
    way = way > most ? most : way > -most ? way : way <= -most ? -most : 0.0f;
    int fraction = *carry + rounded(way);
    int steps = (fraction + 128) >> 8;
    *carry = (int8_t)(fraction - 256 * steps);
    code += steps;
    return code > high ? high : code < low ? low : code;
}

uint32_t bal_real_update(const bal_rule_step *step, bal_tensor *tensor, int64_t n, int8_t *carry,
                         float *const values[], const int16_t *tally)
{
    int16_t codes[N];
    float descent[N], change[N];
    const float unit = (float)bal_rule_unit(step);
    int low = tensor->low, high = tensor->high;
    uint32_t n_flips = 0;
    assert(n <= N);
    read_codes(tensor, step->first, n, codes);
    for (int64_t i = 0; i < n; ++i) {
        bool open = codes[i] > low && codes[i] < high;
        descent[i] = open ? (float)tally[i] * unit : 0.0f;
    }
    step->options->rule.kind->change(step, n, values, descent, change);
    for (int64_t i = 0; i < n; ++i) {
        int old = codes[i];
        if (old <= low || old >= high) continue;
        codes[i] = (int16_t)move(old, 256.0f * change[i], low, high, &carry[i]);
        n_flips += codes[i] != old;
    }
    write_codes(tensor, step->first, n, codes);
    return n_flips;
}
