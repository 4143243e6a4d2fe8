/* inputs.h: random shapes and values of the kernel tests, and failures that say where. */
#ifndef BALLOT_TEST_INPUTS_H
#define BALLOT_TEST_INPUTS_H

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "ballot/kernels.h"
#include "suite.h"

#define SEED 0x5eed2024u

static uint64_t state; /* of bal_test_random; each test sets it, so that it can run alone */

/** Fail, and say of which shape, unless ok. */
__attribute__((format(printf, 2, 3))) static inline void check(bool ok, const char *format, ...)
{
    CU_ASSERT(ok);
    if (ok) return;
    va_list args;
    va_start(args, format);
    printf("\n    seed %#x, ", SEED);
    vprintf(format, args);
    va_end(args);
}

/** A whole number in first .. last. */
static inline int64_t pick(int64_t first, int64_t last)
{
    return first + (int64_t)(bal_test_random(&state) % (uint64_t)(last - first + 1));
}

/** n bytes of exactly that size, so that a sanitizer sees each step too far; any, or 0xEE. */
static inline void *bytes(int64_t n, bool random)
{
    uint8_t *memory = malloc(n > 0 ? (size_t)n : 1);
    if (memory == NULL) abort();
    for (int64_t i = 0; i < n; ++i) memory[i] = random ? (uint8_t)bal_test_random(&state) : 0xEE;
    return memory;
}
static inline void *blank(int64_t n_bytes) { return bytes(n_bytes, false); }

/** A random panel of a format: bytes or nibbles, any of them, and in bytes many near the ends. Its
 *  bits of z are random and, where not all_move, many of moves are 0. Exact sizes; release_panel.
 */
static inline bal_panel random_panel(bal_panel_format format, int64_t n_blocks,
                                     int64_t factor_blocks, bool all_move)
{
    int64_t n = n_blocks * BAL_BLOCK_CODES, n_factors = 64 * ((n_blocks - 1) / factor_blocks + 1);
    uint8_t *codes = bytes(format == BAL_PANEL_I8 ? n : n / 2, true), *moves = bytes(n / 8, true);
    uint8_t *factors = bytes(n_factors, true);
    if (format == BAL_PANEL_I8)
        for (int64_t i = 0; i < n; ++i)
            if (codes[i] % 3 == 0)
                codes[i] = (uint8_t)(codes[i] % 2 ? codes[i] % 8 : 255 - codes[i] % 8);
    for (int64_t i = 0; i < n / 2 && format == BAL_PANEL_I4; ++i) { /* 0 is no nibble of int4 */
        if (codes[i] % 16 == 0) ++codes[i];
        if (codes[i] < 16) codes[i] = (uint8_t)(codes[i] + 16);
    }
    for (int64_t i = 0; i < n_factors; ++i)
        factors[i] = (uint8_t)(factors[i] % (format == BAL_PANEL_I4 ? 19 : 128));
    if (all_move) memset(moves, 255, (size_t)(n / 8));
    return (bal_panel){.format = format,
                       .n_blocks = n_blocks,
                       .codes = codes,
                       .factors = factors,
                       .factor_blocks = factor_blocks,
                       .negative = bytes(n / 8, true),
                       .moves = moves};
}
static inline void release_panel(bal_panel *panel)
{
    free((void *)panel->codes);
    free((void *)panel->factors);
    free((void *)panel->negative);
    free((void *)panel->moves);
    free((void *)panel->z);
}

/** Entries of a panel of the product's format, with the 15 blocks that a product may read past it.
 */
static inline uint8_t *random_entries(int64_t n_blocks)
{
    uint8_t *entries = bytes((n_blocks + 15) * BAL_BLOCK_CODES, true);
    for (int64_t i = 0; i < n_blocks * BAL_BLOCK_CODES; ++i)
        if (entries[i] % 3 == 0)
            entries[i] = (uint8_t)(entries[i] % 2 ? entries[i] % 8 : 255 - entries[i] % 8);
    return entries;
}

/** Rows of activations; release_rows. extreme: all at one end. */
static inline bal_rows_i8 random_rows(int64_t n_rows, int64_t n_cols, int64_t pad, int extreme)
{
    int64_t width = (n_cols + 63) / 64 * 64, stride = width + 64 * pad;
    int8_t *q = bytes(n_rows == 0 ? 0 : (n_rows - 1) * stride + width, true);
    int32_t *sum = blank(n_rows * 4);
    float *scale = blank(n_rows * 4);
    for (int64_t row = 0; row < n_rows; ++row) {
        scale[row] = (float)pick(1, 10000) * 1e-6f;
        sum[row] = 0;
        for (int64_t col = 0; col < width; ++col) {
            int8_t *at = &q[row * stride + col];
            if (extreme != 0) *at = extreme == 1 ? -127 : 127;
            if (*at == -128) *at = -127;
            if (col >= n_cols) *at = 0;
            sum[row] += *at;
        }
    }
    return (bal_rows_i8){n_rows, stride, q, scale, sum};
}
static inline void release_rows(bal_rows_i8 *rows)
{
    free((void *)rows->q);
    free((void *)rows->scale);
    free((void *)rows->sum);
}

/** Floats around 1 of both signs, every sixth a zero, tiny, or as large as huge. */
static inline float *floats(int64_t n, float huge)
{
    const float odd[] = {0.0f, -0.0f, FLT_MIN, -1e-41f, huge, -huge};
    float *x = blank(n * 4);
    for (int64_t i = 0; i < n; ++i)
        x[i] = pick(0, 5) == 0 ? odd[pick(0, huge > 0.0f ? 5 : 3)]
                               : (float)pick(-4000000, 4000000) * 1e-6f;
    return x;
}

/** Positive scales between 1e-6 and 1e-2. */
static inline float *scales(int64_t n)
{
    float *x = blank(n * 4);
    for (int64_t i = 0; i < n; ++i) x[i] = (float)pick(1, 10000) * 1e-6f;
    return x;
}

/** x^k byte in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1: multiplied out, then divided. */
static inline uint8_t gf_shifted(uint8_t byte, int k)
{
    uint64_t product = (uint64_t)byte << k;
    for (int bit = 63; bit >= 8; --bit)
        if (product >> bit & 1) product ^= (uint64_t)0x11B << (bit - 8);
    return (uint8_t)product;
}

/** table[byte] = sum over slots of votes[slot] * (-1)^popcount(slot & byte), by the definition. */
static inline void walsh_transform(const int8_t votes[256], int16_t table[256])
{
    for (int byte = 0; byte < 256; ++byte) {
        table[byte] = 0;
        for (int slot = 0; slot < 256; ++slot)
            table[byte] = (int16_t)(table[byte] + (__builtin_popcount((unsigned)(slot & byte)) % 2
                                                       ? -votes[slot]
                                                       : votes[slot]));
    }
}

/** Free up to eight buffers. */
#define RELEASE(...)                                                                           \
    do {                                                                                       \
        void *buffers_[] = {__VA_ARGS__};                                                      \
        for (size_t i_ = 0; i_ < sizeof buffers_ / sizeof *buffers_; ++i_) free(buffers_[i_]); \
    } while (0)

#endif
