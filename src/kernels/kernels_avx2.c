/* kernels_avx2.c: integer kernels with AVX2. */
#include <immintrin.h>
#include <string.h>

#include "kernels_impl.h"

static inline __m256i load(const void *from) { return _mm256_loadu_si256((const __m256i *)from); }
static inline void    store(void *to, __m256i x) { _mm256_storeu_si256((__m256i *)to, x); }

/* Sums of the 4 columns of each of 8 rows. */
static inline __m256i row_sums(__m256i codes)
{
    return _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), codes),
                             _mm256_set1_epi16(1));
}

static void panel_sums(int64_t n_groups, const int8_t *codes, int32_t *sums)
{
    for (int part = 0; part < 8; ++part) {
        __m256i sum = _mm256_setzero_si256();
        for (int64_t g = 0; g < n_groups; ++g)
            sum = _mm256_add_epi32(sum, row_sums(load(codes + g * BAL_BLOCK_CODES + 32 * part)));
        store(sums + 8 * part, sum);
    }
}

static void perturb_panel(int64_t n_groups, const int8_t *codes, const int8_t *z, int8_t *plus,
                          int8_t *minus, int32_t *plus_sums, int32_t *minus_sums)
{
    const __m256i limit = _mm256_set1_epi8(127);
    for (int64_t i = 0; i < n_groups * BAL_BLOCK_CODES; i += 32) {
        __m256i code = load(codes + i), step = load(z + i);
        __m256i reach = _mm256_adds_epu8(_mm256_abs_epi8(code), _mm256_abs_epi8(step));
        __m256i open  = _mm256_cmpeq_epi8(_mm256_min_epu8(reach, limit), reach);
        step          = _mm256_and_si256(step, open);
        store(plus + i, _mm256_add_epi8(code, step));
        store(minus + i, _mm256_sub_epi8(code, step));
    }
    panel_sums(n_groups, plus, plus_sums);
    panel_sums(n_groups, minus, minus_sums);
}

/* T tokens by 16 rows. Products of pairs of columns are added in 32 bits, so nothing saturates;
 * the two halves of a row's four columns are kept apart until the end. */
#define DEFINE_TILE(T)                                                                             \
    static inline void tile_##T(int64_t n_groups, const int8_t *panel, const uint8_t *x,           \
                                int64_t x_stride, int32_t out[T][16])                              \
    {                                                                                              \
        __m256i acc[T][4];                                                                         \
        for (int t = 0; t < T; ++t)                                                                \
            for (int part = 0; part < 4; ++part) acc[t][part] = _mm256_setzero_si256();            \
        for (int64_t g = 0; g < n_groups; ++g) {                                                   \
            __m256i xs[T];                                                                         \
            for (int t = 0; t < T; ++t) {                                                          \
                int four;                                                                          \
                memcpy(&four, x + t * x_stride + 4 * g, 4);                                        \
                xs[t] = _mm256_unpacklo_epi8(_mm256_set1_epi32(four), _mm256_setzero_si256());     \
            }                                                                                      \
            for (int part = 0; part < 4; ++part) {                                                 \
                const int8_t *from = panel + g * BAL_BLOCK_CODES + 16 * part;                      \
                __m256i       w    = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)from)); \
                for (int t = 0; t < T; ++t)                                                        \
                    acc[t][part] = _mm256_add_epi32(acc[t][part], _mm256_madd_epi16(xs[t], w));    \
            }                                                                                      \
        }                                                                                          \
        for (int t = 0; t < T; ++t)                                                                \
            for (int pair = 0; pair < 2; ++pair) /* rows 0 1 4 5 2 3 6 7 after hadd */             \
                store(&out[t][8 * pair],                                                           \
                      _mm256_permute4x64_epi64(                                                    \
                          _mm256_hadd_epi32(acc[t][2 * pair], acc[t][2 * pair + 1]), 0xD8));       \
    }
DEFINE_TILE(3)
DEFINE_TILE(1)

static void scale_rows(const int32_t acc[16], const int32_t *sums, const float *row_scale,
                       int64_t n_rows, float x_scale, float *y)
{
    for (int64_t r = 0; r < n_rows; ++r)
        y[r] = (float)(acc[r] - 128 * sums[r]) * (x_scale * row_scale[r]);
}

static void product_i8(int64_t n_groups, const int8_t *panel, const int32_t *sums,
                       const float *row_scale, int64_t n_rows, int64_t n_tokens, const uint8_t *x,
                       int64_t x_stride, const float *x_scale, float *y, int64_t y_stride)
{
    for (int64_t row = 0; row < n_rows; row += 16) {
        int64_t       n_here = n_rows - row < 16 ? n_rows - row : 16;
        const int8_t *w      = panel + 4 * row;
        int32_t       acc[3][16];
        int64_t       t = 0;
        for (; t + 3 <= n_tokens; t += 3) {
            tile_3(n_groups, w, x + t * x_stride, x_stride, acc);
            for (int i = 0; i < 3; ++i)
                scale_rows(acc[i], sums + row, row_scale + row, n_here, x_scale[t + i],
                           y + (t + i) * y_stride + row);
        }
        for (; t < n_tokens; ++t) {
            tile_1(n_groups, w, x + t * x_stride, x_stride, acc);
            scale_rows(acc[0], sums + row, row_scale + row, n_here, x_scale[t],
                       y + t * y_stride + row);
        }
    }
}

void bal_kernels_add_avx2(bal_kernels *kernels)
{
    kernels->panel_sums    = panel_sums;
    kernels->perturb_panel = perturb_panel;
    kernels->product_i8    = product_i8;
}
