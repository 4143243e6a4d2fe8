/* panel_avx2.c: unpacking and moving a panel's codes, and the product, with AVX2. */
#include <immintrin.h>
#include <string.h>

#include "bits_avx2.h"
#include "kernels_impl.h"

static inline __m256i load(const void *from) { return _mm256_loadu_si256((const __m256i *)from); }
static inline void store(void *to, __m256i x) { _mm256_storeu_si256((__m256i *)to, x); }

/* z * size of 32 codes: 0 where a code does not move or lies outside low .. high. */
static inline __m256i step(const bal_panel *panel, int64_t at, __m256i code, int low, int high,
                           __m256i size)
{
    const __m256i lowest = _mm256_set1_epi8((char)low), highest = _mm256_set1_epi8((char)high);
    __m256i inside = _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_max_epu8(code, lowest), code),
                                      _mm256_cmpeq_epi8(_mm256_min_epu8(code, highest), code));
    __m256i open = _mm256_and_si256(inside, spread_bits(panel->moves + at / 8));
    __m256i minus = spread_bits(panel->negative + at / 8); /* 0 or -1 */
    return _mm256_and_si256(_mm256_sub_epi8(_mm256_xor_si256(size, minus), minus), open);
}

static inline void move_both(__m256i x, __m256i z, uint8_t *plus, uint8_t *minus)
{
    store(plus, _mm256_add_epi8(x, z));
    if (minus != NULL) store(minus, _mm256_sub_epi8(x, z));
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
    __m256i even = _mm256_maddubs_epi16(_mm256_and_si256(factor, low), x);
    __m256i odd = _mm256_maddubs_epi16(_mm256_andnot_si256(low, factor), x);
    even = _mm256_srai_epi16(_mm256_add_epi16(even, half), shift);
    odd = _mm256_slli_epi16(_mm256_add_epi16(odd, half), 8 - shift);
    return _mm256_blendv_epi8(odd, even, low);
}

/* 32 codes, 8 rows, of a block of nibbles. */
static inline __m256i load_nibbles(const uint8_t *block, int part)
{
    __m256i bytes = load(block + part % 4 * 32);
    if (part >= 4) bytes = _mm256_srli_epi16(bytes, 4);
    return _mm256_and_si256(bytes, _mm256_set1_epi8(15));
}

static inline void move_nibbles(const bal_panel *panel, int64_t block, int part, __m256i factor,
                                uint8_t *plus, uint8_t *minus)
{
    const __m256i sign = _mm256_set1_epi8((char)128);
    int64_t at = block * BAL_BLOCK_CODES + part * 32;
    __m256i four = load_nibbles(panel->codes + block * 128, part);
    if (panel->format == BAL_PANEL_I4) {
        __m256i value = times(_mm256_sub_epi8(four, _mm256_set1_epi8(8)), factor, 0, 0);
        value = _mm256_xor_si256(value, sign);
        if (panel->moves != NULL)
            move_both(value, step(panel, at, four, 2, 14, factor), plus + at,
                      minus != NULL ? minus + at : NULL);
        else
            store(plus + at, value);
        return;
    }
    const __m256i book =
        _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)bal_nf4_book));
    __m256i z = _mm256_setzero_si256();
    if (panel->moves != NULL) z = step(panel, at, four, 1, 14, _mm256_set1_epi8(1));
    if (minus != NULL) {
        __m256i value = times(_mm256_shuffle_epi8(book, _mm256_sub_epi8(four, z)), factor, 64, 7);
        store(minus + at, _mm256_xor_si256(value, sign));
    }
    __m256i value = times(_mm256_shuffle_epi8(book, _mm256_add_epi8(four, z)), factor, 64, 7);
    store(plus + at, _mm256_xor_si256(value, sign));
}

static void move_panel(const bal_panel *panel, uint8_t *plus, uint8_t *minus)
{
    int64_t n = panel->n_blocks * BAL_BLOCK_CODES;
    if (panel->other != NULL && minus != NULL) {
        bal_panel one = *panel;
        one.other = NULL;
        move_panel(&one, plus, NULL);
        one.negative = panel->other;
        move_panel(&one, minus, NULL);
    } else if (panel->z != NULL) {
        bal_move_panel_ref(panel, plus, minus);
    } else if (panel->format == BAL_PANEL_I8 && panel->moves == NULL) {
        memcpy(plus, panel->codes, (size_t)n);
    } else if (panel->format == BAL_PANEL_I8) {
        for (int64_t at = 0; at < n; at += 32) {
            __m256i code = load(panel->codes + at);
            __m256i z = step(panel, at, code, 2, 254, _mm256_set1_epi8(1));
            move_both(code, z, plus + at, minus != NULL ? minus + at : NULL);
        }
    } else {
        for (int64_t block = 0; block < panel->n_blocks; ++block) {
            const uint8_t *factors = panel->factors + block / panel->factor_blocks * BAL_PANEL_ROWS;
            for (int part = 0; part < 8; ++part)
                move_nibbles(panel, block, part, spread_factors(factors + 8 * part), plus, minus);
        }
    }
}

/* So many columns at a time that the halves of four tokens stay in the first-level cache. */
#define CHUNK 512

/* Columns 0 and 2, and 1 and 3, of each block as pairs of 16-bit numbers: products of pairs are
 * added in 32 bits, so nothing saturates. */
typedef struct halves {
    int32_t even[CHUNK], odd[CHUNK];
} halves;

static void split_tokens(int64_t n_blocks, const int8_t *q, halves *to)
{
    for (int64_t g = 0; g < n_blocks; g += 8) { /* rows reach to a multiple of 64 columns */
        __m256i x = load(q + 4 * g);
        store(to->even + g, _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8));
        store(to->odd + g, _mm256_srai_epi16(x, 8));
    }
}

/* T tokens by 16 rows, added to sums. Accumulators have names, a##t##0 and a##t##1, because gcc 12
 * keeps an array of them in memory. */
#define TOKENS_1(X) X(0)
#define TOKENS_4(X) X(0) X(1) X(2) X(3)
#define START(t) __m256i a##t##0 = load(sums[t]), a##t##1 = load(sums[t] + 8);
#define STEP(t)                                                       \
    x = _mm256_set1_epi32(tokens[t].even[g]);                         \
    a##t##0 = _mm256_add_epi32(a##t##0, _mm256_madd_epi16(even0, x)); \
    a##t##1 = _mm256_add_epi32(a##t##1, _mm256_madd_epi16(even1, x)); \
    x = _mm256_set1_epi32(tokens[t].odd[g]);                          \
    a##t##0 = _mm256_add_epi32(a##t##0, _mm256_madd_epi16(odd0, x));  \
    a##t##1 = _mm256_add_epi32(a##t##1, _mm256_madd_epi16(odd1, x));
#define FINISH(t)            \
    store(sums[t], a##t##0); \
    store(sums[t] + 8, a##t##1);
#define DEFINE_TILE(T)                                                                       \
    static void tile_##T(int64_t n_blocks, const uint8_t *entries, const halves *tokens,     \
                         int32_t sums[][BAL_PANEL_ROWS])                                     \
    {                                                                                        \
        const __m256i low = _mm256_set1_epi16(255);                                          \
        TOKENS_##T(START) for (int64_t g = 0; g < n_blocks; ++g, entries += BAL_BLOCK_CODES) \
        {                                                                                    \
            __m256i w0 = load(entries), w1 = load(entries + 32), x;                          \
            __m256i even0 = _mm256_and_si256(w0, low), odd0 = _mm256_srli_epi16(w0, 8);      \
            __m256i even1 = _mm256_and_si256(w1, low), odd1 = _mm256_srli_epi16(w1, 8);      \
            TOKENS_##T(STEP)                                                                 \
        }                                                                                    \
        TOKENS_##T(FINISH)                                                                   \
    }
DEFINE_TILE(4)
DEFINE_TILE(1)

static void scale_rows(const int32_t *sums, const bal_weights_u8 *w, int32_t excess, float x_scale,
                       bool adds, float *y)
{
    for (int64_t r = 0; r < w->n_rows; ++r) {
        float value = (float)(sums[r] - excess) * (x_scale * w->scale[r]);
        y[r] = adds ? y[r] + value : value;
    }
}

static void multiply_panel(const bal_weights_u8 *w, const bal_rows_i8 *x, bool adds, float *y,
                           int64_t y_stride)
{
    for (int64_t t = 0, n; t < x->n_rows; t += n) {
        int32_t sums[4][BAL_PANEL_ROWS] = {{0}};
        halves tokens[4];
        n = x->n_rows - t >= 4 ? 4 : 1;
        for (int64_t first = 0; first < w->n_blocks; first += CHUNK) {
            int64_t n_here = w->n_blocks - first < CHUNK ? w->n_blocks - first : CHUNK;
            for (int64_t i = 0; i < n; ++i)
                split_tokens(n_here, x->q + (t + i) * x->stride + 4 * first, &tokens[i]);
            for (int row = 0; row < w->n_rows; row += 16) {
                const uint8_t *entries = w->entries + first * BAL_BLOCK_CODES + 4 * row;
                int32_t(*to)[BAL_PANEL_ROWS] = (int32_t(*)[BAL_PANEL_ROWS])(void *)(sums[0] + row);
                if (n == 4)
                    tile_4(n_here, entries, tokens, to);
                else
                    tile_1(n_here, entries, tokens, to);
            }
        }
        for (int64_t i = t; i < t + n; ++i)
            scale_rows(sums[i - t], w, 128 * x->sum[i], x->scale[i], adds, y + i * y_stride);
    }
}

static void product_i8(const bal_weights_u8 *w, const bal_rows_i8 *x, bool adds, float *y,
                       int64_t y_stride)
{
    for (int64_t row = 0; row < w->n_rows; row += BAL_PANEL_ROWS) {
        bal_weights_u8 panel = bal_panel_of(w, row);
        multiply_panel(&panel, x, adds, y + row, y_stride);
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
    kernels->dots = dots;
}
