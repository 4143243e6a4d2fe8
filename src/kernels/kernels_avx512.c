/* kernels_avx512.c: integer kernels with AVX-512 F, BW, DQ, VL and VNNI. */
#include <immintrin.h>
#include <string.h>

#include "kernels_impl.h"

static void panel_sums(int64_t n_groups, const int8_t *codes, int32_t *sums)
{
    const __m512i ones   = _mm512_set1_epi8(1);
    __m512i       sum[4] = {0};
    for (int64_t g = 0; g < n_groups; ++g)
        for (int part = 0; part < 4; ++part)
            sum[part] = _mm512_dpbusd_epi32(
                sum[part], ones, _mm512_loadu_si512(codes + g * BAL_BLOCK_CODES + 64 * part));
    for (int part = 0; part < 4; ++part) _mm512_storeu_si512(sums + 16 * part, sum[part]);
}

static void perturb_panel(int64_t n_groups, const int8_t *codes, const int8_t *z, int8_t *plus,
                          int8_t *minus, int32_t *plus_sums, int32_t *minus_sums)
{
    const __m512i ones = _mm512_set1_epi8(1), limit = _mm512_set1_epi8(127);
    __m512i       sum_plus[4] = {0}, sum_minus[4] = {0};
    for (int64_t g = 0; g < n_groups; ++g)
        for (int part = 0; part < 4; ++part) {
            int64_t   at   = g * BAL_BLOCK_CODES + 64 * part;
            __m512i   code = _mm512_loadu_si512(codes + at), step = _mm512_loadu_si512(z + at);
            __m512i   reach = _mm512_adds_epu8(_mm512_abs_epi8(code), _mm512_abs_epi8(step));
            __mmask64 open  = _mm512_cmple_epu8_mask(reach, limit);
            __m512i   p     = _mm512_mask_add_epi8(code, open, code, step);
            __m512i   m     = _mm512_mask_sub_epi8(code, open, code, step);
            _mm512_storeu_si512(plus + at, p);
            _mm512_storeu_si512(minus + at, m);
            sum_plus[part]  = _mm512_dpbusd_epi32(sum_plus[part], ones, p);
            sum_minus[part] = _mm512_dpbusd_epi32(sum_minus[part], ones, m);
        }
    for (int part = 0; part < 4; ++part) {
        _mm512_storeu_si512(plus_sums + 16 * part, sum_plus[part]);
        _mm512_storeu_si512(minus_sums + 16 * part, sum_minus[part]);
    }
}

/* The dot product as an instruction that the compiler cannot reorder: gcc 12 otherwise spills the
 * accumulators of the loop below. */
#define DOT(acc, x, w) __asm__ volatile("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(x), "v"(w))

/* T tokens by 64 rows: 4 T accumulators stay in registers over all columns. They have names,
 * a##t##0 to a##t##3, because gcc 12 keeps an array of them in memory. */
#define TOKENS_1(X) X(0)
#define TOKENS_6(X) X(0) X(1) X(2) X(3) X(4) X(5)
#define START(t)    __m512i a##t##0 = start0, a##t##1 = start1, a##t##2 = start2, a##t##3 = start3;
#define STEP(t)                               \
    xs = load_four(x + t * x_stride + 4 * g); \
    DOT(a##t##0, xs, w0);                     \
    DOT(a##t##1, xs, w1);                     \
    DOT(a##t##2, xs, w2);                     \
    DOT(a##t##3, xs, w3);
#define FINISH(t)                                                                     \
    {                                                                                 \
        __m512 scale = _mm512_set1_ps(x_scale[t]);                                    \
        float *to    = y + t * y_stride;                                              \
        store_scaled(to, row_mask(n_rows), a##t##0, scale, row_scale);                \
        store_scaled(to + 16, row_mask(n_rows - 16), a##t##1, scale, row_scale + 16); \
        store_scaled(to + 32, row_mask(n_rows - 32), a##t##2, scale, row_scale + 32); \
        store_scaled(to + 48, row_mask(n_rows - 48), a##t##3, scale, row_scale + 48); \
    }
#define DEFINE_TILE(T)                                                                        \
    static void tile_##T(int64_t n_groups, const int8_t *panel, const int32_t *sums,          \
                         const float *row_scale, int64_t n_rows, const uint8_t *x,            \
                         int64_t x_stride, const float *x_scale, float *y, int64_t y_stride)  \
    {                                                                                         \
        __m512i start0 = start_of(sums), start1 = start_of(sums + 16);                        \
        __m512i start2 = start_of(sums + 32), start3 = start_of(sums + 48);                   \
        TOKENS_##T(START) for (int64_t g = 0; g < n_groups; ++g)                              \
        {                                                                                     \
            const int8_t *w  = panel + g * BAL_BLOCK_CODES;                                   \
            __m512i       w0 = _mm512_loadu_si512(w), w1 = _mm512_loadu_si512(w + 64);        \
            __m512i       w2 = _mm512_loadu_si512(w + 128), w3 = _mm512_loadu_si512(w + 192); \
            __m512i       xs;                                                                 \
            TOKENS_##T(STEP)                                                                  \
        }                                                                                     \
        TOKENS_##T(FINISH)                                                                    \
    }

/* -128 times the sums: activations are stored 128 too high. */
static inline __m512i start_of(const int32_t *sums)
{
    return _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(_mm512_loadu_si512(sums), 7));
}
static inline __m512i load_four(const uint8_t *from)
{
    int four;
    memcpy(&four, from, sizeof four);
    return _mm512_set1_epi32(four);
}
static inline __mmask16 row_mask(int64_t n_rows)
{
    unsigned mask = n_rows >= 16 ? 0xFFFFu : n_rows <= 0 ? 0u : (1u << n_rows) - 1u;
    return (__mmask16)(mask & 0xFFFFu);
}
static inline void store_scaled(float *to, __mmask16 rows, __m512i acc, __m512 x_scale,
                                const float *row_scale)
{
    __m512 scale = _mm512_mul_ps(x_scale, _mm512_maskz_loadu_ps(rows, row_scale));
    _mm512_mask_storeu_ps(to, rows, _mm512_mul_ps(_mm512_cvtepi32_ps(acc), scale));
}
DEFINE_TILE(6)
DEFINE_TILE(1)

static void product_i8(int64_t n_groups, const int8_t *panel, const int32_t *sums,
                       const float *row_scale, int64_t n_rows, int64_t n_tokens, const uint8_t *x,
                       int64_t x_stride, const float *x_scale, float *y, int64_t y_stride)
{
    int64_t t = 0;
    for (; t + 6 <= n_tokens; t += 6)
        tile_6(n_groups, panel, sums, row_scale, n_rows, x + t * x_stride, x_stride, x_scale + t,
               y + t * y_stride, y_stride);
    for (; t < n_tokens; ++t)
        tile_1(n_groups, panel, sums, row_scale, n_rows, x + t * x_stride, x_stride, x_scale + t,
               y + t * y_stride, y_stride);
}

void bal_kernels_add_avx512(bal_kernels *kernels)
{
    kernels->panel_sums    = panel_sums;
    kernels->perturb_panel = perturb_panel;
    kernels->product_i8    = product_i8;
}
