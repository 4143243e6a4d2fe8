/* scaled_avx512.h: integer sums to floats, for every product with 512-bit registers. */
#ifndef BALLOT_SCALED_AVX512_H
#define BALLOT_SCALED_AVX512_H

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

/* y[r] = (acc[r] - excess) * (x_scale * row_scale[r]) of up to 16 rows, or y[r] + that. */
static inline void bal_store_scaled(float *y, int64_t n_rows, __m512i acc, __m512i excess,
                                    __m512 x_scale, const float *row_scale, bool adds)
{
    unsigned bits = n_rows >= 16 ? 0xFFFFu : n_rows <= 0 ? 0u : (1u << n_rows) - 1u;
    __mmask16 rows = (__mmask16)bits;
    __m512 scale = _mm512_mul_ps(x_scale, _mm512_maskz_loadu_ps(rows, row_scale));
    __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(acc, excess)), scale);
    if (adds) value = _mm512_add_ps(_mm512_maskz_loadu_ps(rows, y), value);
    _mm512_mask_storeu_ps(y, rows, value);
}

#endif
