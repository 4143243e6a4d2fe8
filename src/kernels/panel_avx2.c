/* panel_avx2.c: a panel's codes as the product reads them, and the product, with AVX2. */
#include <immintrin.h>
#include <string.h>

#include "kernels_impl.h"

static inline __m256i load(const void *from) { return _mm256_loadu_si256((const __m256i *)from); }
static inline void    store(void *to, __m256i x) { _mm256_storeu_si256((__m256i *)to, x); }

/* Byte i is 0xFF where bit i of the 32 bits at from is set. */
static inline __m256i spread_bits(const uint8_t *from)
{
    int bits;
    memcpy(&bits, from, sizeof bits);
    const __m256i which = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2,
                                           2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i bit   = _mm256_set1_epi64x((long long)0x8040201008040201u);
    __m256i       x     = _mm256_shuffle_epi8(_mm256_set1_epi32(bits), which);
    return _mm256_cmpeq_epi8(_mm256_and_si256(x, bit), bit);
}

/* z * size of 32 codes: 0 where a code does not move or stands outside low .. high. */
static inline __m256i step(const bal_panel *panel, int64_t at, __m256i code, int low, int high,
                           __m256i size)
{
    const __m256i lowest = _mm256_set1_epi8((char)low), highest = _mm256_set1_epi8((char)high);
    __m256i       inside = _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_max_epu8(code, lowest), code),
                                            _mm256_cmpeq_epi8(_mm256_min_epu8(code, highest), code));
    __m256i       open   = _mm256_and_si256(inside, spread_bits(panel->moves + at / 8));
    __m256i       minus  = spread_bits(panel->negative + at / 8); /* 0 or -1 */
    return _mm256_and_si256(_mm256_sub_epi8(_mm256_xor_si256(size, minus), minus), open);
}

static inline void move_both(__m256i x, __m256i z, uint8_t *plus, uint8_t *minus)
{
    store(plus, _mm256_add_epi8(x, z));
    store(minus, _mm256_sub_epi8(x, z));
}

/* Factors of 8 rows, each for the four columns of a row. */
static inline __m256i spread_factors(const uint8_t *factors)
{
    __m256i words = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)factors));
    return _mm256_mullo_epi32(words, _mm256_set1_epi32(0x01010101));
}

/* Bytes (x * factor + rounding) >> shift. */
static inline __m256i times(__m256i x, __m256i factor, int rounding, int shift)
{
    const __m256i low = _mm256_set1_epi16(255), half = _mm256_set1_epi16((short)rounding);
    __m256i       even = _mm256_maddubs_epi16(_mm256_and_si256(factor, low), x);
    __m256i       odd  = _mm256_maddubs_epi16(_mm256_andnot_si256(low, factor), x);
    even               = _mm256_srai_epi16(_mm256_add_epi16(even, half), shift);
    odd                = _mm256_slli_epi16(_mm256_add_epi16(odd, half), 8 - shift);
    return _mm256_blendv_epi8(odd, even, low);
}

/* 32 codes, 8 rows, of a block of nibbles. */
static inline __m256i load_nibbles(const uint8_t *block, int part)
{
    __m256i bytes = load(block + part % 4 * 32);
    if (part >= 4) bytes = _mm256_srli_epi16(bytes, 4);
    return _mm256_and_si256(bytes, _mm256_set1_epi8(15));
}

static inline void move_nibbles(const bal_panel *panel, int64_t group, int part, __m256i factor,
                                uint8_t *plus, uint8_t *minus)
{
    const __m256i sign = _mm256_set1_epi8((char)128);
    int64_t       at   = group * BAL_BLOCK_CODES + part * 32;
    __m256i       four = load_nibbles(panel->codes + group * 128, part);
    if (panel->format == BAL_PANEL_I4) {
        __m256i value = times(_mm256_sub_epi8(four, _mm256_set1_epi8(8)), factor, 0, 0);
        value         = _mm256_xor_si256(value, sign);
        if (minus != NULL)
            move_both(value, step(panel, at, four, 2, 14, factor), plus + at, minus + at);
        else
            store(plus + at, value);
        return;
    }
    const __m256i book =
        _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)bal_nf4_book));
    __m256i z = _mm256_setzero_si256();
    if (minus != NULL) {
        z             = step(panel, at, four, 1, 14, _mm256_set1_epi8(1));
        __m256i value = times(_mm256_shuffle_epi8(book, _mm256_sub_epi8(four, z)), factor, 64, 7);
        store(minus + at, _mm256_xor_si256(value, sign));
    }
    __m256i value = times(_mm256_shuffle_epi8(book, _mm256_add_epi8(four, z)), factor, 64, 7);
    store(plus + at, _mm256_xor_si256(value, sign));
}

static void move_panel(const bal_panel *panel, uint8_t *plus, uint8_t *minus)
{
    int64_t n = panel->n_groups * BAL_BLOCK_CODES;
    if (panel->z != NULL) {
        bal_move_panel_ref(panel, plus, minus);
    } else if (panel->format == BAL_PANEL_I8 && minus == NULL) {
        memcpy(plus, panel->codes, (size_t)n);
    } else if (panel->format == BAL_PANEL_I8) {
        for (int64_t at = 0; at < n; at += 32) {
            __m256i code = load(panel->codes + at);
            __m256i z    = step(panel, at, code, 2, 254, _mm256_set1_epi8(1));
            move_both(code, z, plus + at, minus + at);
        }
    } else {
        for (int64_t group = 0; group < panel->n_groups; ++group) {
            const uint8_t *factors = panel->factors + group / panel->factor_groups * BAL_PANEL_ROWS;
            for (int part = 0; part < 8; ++part)
                move_nibbles(panel, group, part, spread_factors(factors + 8 * part), plus, minus);
        }
    }
}

/* T tokens by 16 rows. Products of pairs of columns are added in 32 bits, so nothing saturates;
 * the two halves of a row's four columns are kept apart until the end. */
#define DEFINE_TILE(T)                                                                              \
    static inline void tile_##T(int64_t n_groups, const uint8_t *panel, const int8_t *x,            \
                                int64_t x_stride, int32_t out[T][16])                               \
    {                                                                                               \
        __m256i acc[T][4];                                                                          \
        for (int t = 0; t < T; ++t)                                                                 \
            for (int part = 0; part < 4; ++part) acc[t][part] = _mm256_setzero_si256();             \
        for (int64_t g = 0; g < n_groups; ++g) {                                                    \
            __m256i xs[T];                                                                          \
            for (int t = 0; t < T; ++t) {                                                           \
                int four;                                                                           \
                memcpy(&four, x + t * x_stride + 4 * g, 4);                                         \
                xs[t] = _mm256_cvtepi8_epi16(_mm_set1_epi32(four));                                 \
            }                                                                                       \
            for (int part = 0; part < 4; ++part) {                                                  \
                const uint8_t *from = panel + g * BAL_BLOCK_CODES + 16 * part;                      \
                __m256i        w    = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)from)); \
                for (int t = 0; t < T; ++t)                                                         \
                    acc[t][part] = _mm256_add_epi32(acc[t][part], _mm256_madd_epi16(xs[t], w));     \
            }                                                                                       \
        }                                                                                           \
        for (int t = 0; t < T; ++t)                                                                 \
            for (int pair = 0; pair < 2; ++pair) /* rows 0 1 4 5 2 3 6 7 after hadd */              \
                store(&out[t][8 * pair],                                                            \
                      _mm256_permute4x64_epi64(                                                     \
                          _mm256_hadd_epi32(acc[t][2 * pair], acc[t][2 * pair + 1]), 0xD8));        \
    }
DEFINE_TILE(3)
DEFINE_TILE(1)

static void scale_rows(const int32_t acc[16], const float *row_scale, int64_t n_rows,
                       int32_t excess, float x_scale, bool adds, float *y)
{
    for (int64_t r = 0; r < n_rows; ++r) {
        float value = (float)(acc[r] - excess) * (x_scale * row_scale[r]);
        y[r]        = adds ? y[r] + value : value;
    }
}

static void product_i8(const bal_weights_u8 *w, const bal_rows_i8 *x, bool adds, float *y,
                       int64_t y_stride)
{
    for (int64_t row = 0; row < w->n_rows; row += 16)
        for (int64_t t = 0, n; t < x->n_rows; t += n) {
            int32_t       acc[3][16];
            const int8_t *q = x->q + t * x->stride;
            n               = x->n_rows - t >= 3 ? 3 : 1;
            if (n == 3)
                tile_3(w->n_groups, w->entries + 4 * row, q, x->stride, acc);
            else
                tile_1(w->n_groups, w->entries + 4 * row, q, x->stride, acc);
            for (int64_t i = t; i < t + n; ++i)
                scale_rows(acc[i - t], w->scale + row, w->n_rows - row < 16 ? w->n_rows - row : 16,
                           128 * x->sum[i], x->scale[i], adds, y + i * y_stride + row);
        }
}

#define DOT(r) "vpmaddwd %%ymm14, %%ymm15, %%ymm13\n\tvpaddd %%ymm13, %%ymm" #r ", %%ymm" #r "\n\t"
static int64_t dots(int64_t n)
{
    for (int64_t i = 0; i < n; ++i)
        __asm__ volatile(DOT(0) DOT(1) DOT(2) DOT(3) DOT(4) DOT(5) DOT(6) DOT(7) DOT(8) DOT(9)
                             DOT(10) DOT(11)::
                                 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                                   "xmm8", "xmm9", "xmm10", "xmm11", "xmm13");
    return n * 12 * 32;
}

void bal_panel_add_avx2(bal_kernels *kernels)
{
    kernels->move_panel = move_panel;
    kernels->product_i8 = product_i8;
    kernels->dots       = dots;
}
