/* real.c: what rules of real numbers share: codes to words and back, the gate, the carry. */
#include <assert.h>
#include <string.h>

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

/* Changes in 1/256 steps, to the nearest integer, ties to even: beyond 2^22 a float has no room for
 * a fraction. No number is 0, and 64 code steps are the most. By the bits of floats, whose
 * magnitudes compare as integers, so that a compiler takes many codes at once. */
static void in_256ths(int64_t n, const float *change, int32_t *ways)
{
    const float shift = 12582912.0f;
    const int32_t magnitude = 0x7FFFFFFF, most = 0x46800000,
                  infinity = 0x7F800000; /* most: 16384 */
    for (int64_t i = 0; i < n; ++i) {
        float way = 256.0f * change[i];
        int32_t bits, size;
        memcpy(&bits, &way, sizeof bits);
        size = bits & magnitude;
        size = size > infinity ? 0 : size;
        size = size > most ? most : size;
        bits = (bits & ~magnitude) | size;
        memcpy(&way, &bits, sizeof way);
        ways[i] = (int32_t)((way + shift) - shift);
    }
}

/* Codes move by that and their carries; the remainder, in [-1/2, 1/2), is the new carry. @return
 * codes that changed */
static uint32_t move(int64_t n, int low, int high, const int32_t *ways, int16_t *codes,
                     int8_t *carry)
{
    uint32_t n_flips = 0;
    for (int64_t i = 0; i < n; ++i) {
        int32_t old = codes[i], kept = carry[i], fraction = kept + ways[i];
        int32_t steps = (fraction + 128) >> 8, code = old + steps;
        int32_t open = -((old > low) & (old < high)); /* all bits, or none */
        code = code < low ? low : code;
        code = code > high ? high : code;
        code = (code & open) | (old & ~open);
        carry[i] = (int8_t)(((fraction - 256 * steps) & open) | (kept & ~open));
        codes[i] = (int16_t)code;
        n_flips += (uint32_t)(code != old);
    }
    return n_flips;
}

uint32_t bal_real_update(const bal_rule_step *step, bal_tensor *tensor, int64_t n, int8_t *carry,
                         float *const values[], const int16_t *tally)
{
    int16_t codes[N];
    int32_t ways[N];
    float descent[N], change[N];
    const float unit = (float)bal_rule_unit(step);
    const int low = tensor->low, high = tensor->high;
    assert(n <= N);
    read_codes(tensor, step->first, n, codes);
    for (int64_t i = 0; i < n; ++i) {
        float open = (float)((codes[i] > low) & (codes[i] < high));
        descent[i] = open * (float)tally[i] * unit;
    }
    step->options->rule.kind->change(step, n, values, descent, change);
    in_256ths(n, change, ways);
    uint32_t n_flips = move(n, low, high, ways, codes, carry);
    write_codes(tensor, step->first, n, codes);
    return n_flips;
}
