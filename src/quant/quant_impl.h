/* quant_impl.h: the files of this room to each other. */
#ifndef BALLOT_QUANT_IMPL_H
#define BALLOT_QUANT_IMPL_H

#include <string.h>

#include "ballot/quant.h"

/* Place of a code in the tensor's own order. */
static inline int64_t bal_code_index(const bal_tensor *tensor, int64_t row, int64_t col)
{
    if (tensor->role != BAL_MATRIX) return col;
    int64_t n_blocks = (tensor->n_cols + 3) / 4;
    return (row / BAL_PANEL_ROWS * n_blocks + col / 4) * BAL_BLOCK_CODES +
           row % BAL_PANEL_ROWS * 4 + col % 4;
}
/* The integer that times the scale is the weight of a code. */
static inline int bal_code_entry(bal_format format, int code, int factor)
{
    if (format == BAL_I4) return code * factor;
    return format == BAL_NF4 ? (bal_nf4_book[code] * factor + 64) >> 7 : code;
}

/* Largest factor of a format, 0: it has none. */
static inline int bal_factor_max(bal_format format)
{
    return format == BAL_I4 ? 18 : format == BAL_NF4 ? 127 : 0;
}

#define BAL_TOP_ENTRY 126 /* of formats with factors: 7 * 18, and the largest of NF4 */

/* round.c: the steps of bal_tensor_quantize. */

float bal_absmax(const float *values, int64_t n);
/** @return BAL_OK; BAL_ERR_INPUT: a value is not finite. */
bal_status bal_round_check(const bal_tensor *tensor, const float *values);
/** Scales by the absolute maximum of each row, and factors. */
void bal_round_scales(bal_tensor *tensor, const float *values);
/** Codes with the scales and factors that are set, and what they leave over. */
void bal_round_pack(bal_tensor *tensor, const float *values, int8_t *leftover);

/* 16 floats at once. */
#define LANES 16
typedef float lanes __attribute__((vector_size(4 * LANES)));
typedef int32_t masks __attribute__((vector_size(4 * LANES)));

static inline lanes all_lanes(float x) { return x - (lanes){0}; }

/* The first n, zeros after them. */
static inline lanes load_lanes(const float *from, int64_t n)
{
    lanes x = {0};
    memcpy(&x, from, n >= LANES ? sizeof x : (size_t)n * sizeof *from);
    return x;
}

static inline lanes choose(masks where, lanes x, lanes otherwise)
{
    return (lanes)(((masks)x & where) | ((masks)otherwise & ~where));
}

static inline lanes clip(lanes x, float low, float high)
{
    x = choose(x > high, all_lanes(high), x);
    return choose(x < low, all_lanes(low), x);
}

/* As rintf, of numbers below 2^22: 1.5 * 2^23 leaves no room for a fraction. */
static inline lanes round_lanes(lanes x) { return (x + 12582912.0f) - 12582912.0f; }

#endif
