/* panel_avx512.c: unpacking and moving a panel's codes, and the product, with AVX-512 BW and
 * VNNI. */
#include <immintrin.h>
#include <string.h>

#include "kernels_impl.h"
#include "scaled_avx512.h"

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 4")

INLINE uint64_t load_mask(const uint8_t *from)
{
    uint64_t mask;
    memcpy(&mask, from, sizeof mask);
    return mask;
}

/* A mask of the bytes of x in low .. high. */
INLINE __mmask64 within(__m512i x, int low, int high)
{
    return _mm512_cmple_epu8_mask(_mm512_sub_epi8(x, _mm512_set1_epi8((char)low)),
                                  _mm512_set1_epi8((char)(high - low)));
}

INLINE __m512i signed_size(__m512i size, const uint8_t *negative)
{
    return _mm512_mask_sub_epi8(size, load_mask(negative), _mm512_setzero_si512(), size);
}

/* x + z, and what minus gets at down unless it is NULL: z is of this size where a code moves, which
 * is where the gate is open and the measure has it. */
INLINE __m512i moved(__m512i x, __m512i size, __mmask64 open, const bal_panel *panel, int64_t at,
                     __m512i *down)
{
    open &= load_mask(panel->moves + at / 8);
    __m512i z = signed_size(size, panel->negative + at / 8);
    if (down != NULL && panel->other != NULL)
        *down = _mm512_mask_add_epi8(x, open, x, signed_size(size, panel->other + at / 8));
    else if (down != NULL)
        *down = _mm512_mask_sub_epi8(x, open, x, z);
    return _mm512_mask_add_epi8(x, open, x, z);
}

/* 64 codes of an int8 panel. A byte is code + 128; the gate is open from 2 to 254. */
INLINE void move_i8(const bal_panel *panel, int64_t at, uint8_t *plus, uint8_t *minus)
{
    __m512i code = _mm512_loadu_si512(panel->codes + at), down;
    __m512i up = moved(code, _mm512_set1_epi8(1), within(code, 2, 254), panel, at,
                       minus != NULL ? &down : NULL);
    _mm512_storeu_si512(plus + at, up);
    if (minus != NULL) _mm512_storeu_si512(minus + at, down);
}

/* Factors of 16 rows: one word for every two of a row's four columns. */
INLINE __m512i spread_factors(const uint8_t *factors)
{
    __m512i words = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)factors));
    return _mm512_mullo_epi32(words, _mm512_set1_epi32(0x00010001));
}

/* A part (16 rows) of a block of nibbles. */
INLINE __m512i load_nibbles(const uint8_t *block, int part)
{
    __m512i bytes = _mm512_loadu_si512(block + part % 2 * 64);
    if (part >= 2) bytes = _mm512_srli_epi16(bytes, 4);
    return _mm512_and_si512(bytes, _mm512_set1_epi8(15));
}

/* Entries x factor + (128 - 8 factor) of int4 nibbles x, two in a word. The lower one is in 0 ..
 * 255, so that nothing is carried from it to the upper one. */
INLINE void move_i4(bool moves, const bal_panel *panel, int64_t block, int part, __m512i factor,
                    uint8_t *plus, uint8_t *minus)
{
    const __m512i twice = _mm512_set1_epi16(257);
    int64_t at = block * BAL_BLOCK_CODES + part * 64;
    __m512i from = _mm512_sub_epi16(_mm512_set1_epi16(128), _mm512_slli_epi16(factor, 3));
    __m512i four = load_nibbles(panel->codes + block * 128, part), down;
    __m512i value =
        _mm512_add_epi16(_mm512_mullo_epi16(four, factor), _mm512_mullo_epi16(from, twice));
    if (moves)
        value = moved(value, _mm512_mullo_epi16(factor, twice), within(four, 2, 14), panel, at,
                      minus != NULL ? &down : NULL);
    if (minus != NULL) _mm512_storeu_si512(minus + at, down);
    _mm512_storeu_si512(plus + at, value);
}

/* Entries of NF4 indices: 128 + (value factor + 64 >> 7), which is the upper half of the product
 * 2 * 256 value * factor, rounded. */
INLINE __m512i entries_nf4(__m512i indices, __m512i factor)
{
    const __m512i book = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)bal_nf4_book));
    const __m512i upper = _mm512_set1_epi16((short)0xFF00);
    __m512i value = _mm512_shuffle_epi8(book, indices);
    __m512i even = _mm512_mulhrs_epi16(_mm512_slli_epi16(value, 8), factor);
    __m512i odd = _mm512_mulhrs_epi16(_mm512_and_si512(value, upper), factor);
    value = _mm512_mask_mov_epi8(even, 0xAAAAAAAAAAAAAAAA, _mm512_slli_epi16(odd, 8));
    return _mm512_xor_si512(value, _mm512_set1_epi8((char)128));
}

INLINE void move_nf4(bool moves, const bal_panel *panel, int64_t block, int part, __m512i factor,
                     uint8_t *plus, uint8_t *minus)
{
    int64_t at = block * BAL_BLOCK_CODES + part * 64;
    __m512i up = load_nibbles(panel->codes + block * 128, part), down;
    if (moves)
        up = moved(up, _mm512_set1_epi8(1), within(up, 1, 14), panel, at,
                   minus != NULL ? &down : NULL);
    if (minus != NULL) _mm512_storeu_si512(minus + at, entries_nf4(down, factor));
    _mm512_storeu_si512(plus + at, entries_nf4(up, factor));
}

/* One loop for each format and number of sides. The panel is a copy, whose members stay in
 * registers: stores of bytes might change those of the caller's. */
INLINE void move_nibbles(bool is_i4, bool moves, bal_panel panel, uint8_t *plus, uint8_t *minus)
{
    for (int64_t first = 0; first < panel.n_blocks; first += panel.factor_blocks) {
        const uint8_t *factors = panel.factors + first / panel.factor_blocks * BAL_PANEL_ROWS;
        int64_t left = panel.n_blocks - first, n = panel.factor_blocks;
        __m512i factor[4];
        UNROLL for (int part = 0; part < 4; ++part) factor[part] =
            spread_factors(factors + 16 * part);
        for (int64_t block = first; block < first + (left < n ? left : n); ++block)
            UNROLL for (int part = 0; part < 4; ++part)(is_i4 ? move_i4 : move_nf4)(
                moves, &panel, block, part, factor[part], plus, minus);
    }
}

INLINE void move_bytes(bal_panel panel, uint8_t *plus, uint8_t *minus)
{
    for (int64_t at = 0; at < panel.n_blocks * BAL_BLOCK_CODES; at += 64)
        move_i8(&panel, at, plus, minus);
}

INLINE void move_format(bal_panel_format format, bool moves, const bal_panel *panel, uint8_t *plus,
                        uint8_t *minus)
{
    if (format != BAL_PANEL_I8)
        move_nibbles(format == BAL_PANEL_I4, moves, *panel, plus, minus);
    else if (moves)
        move_bytes(*panel, plus, minus);
    else
        memcpy(plus, panel->codes, (size_t)(panel->n_blocks * BAL_BLOCK_CODES));
}

INLINE void move_sides(bal_panel_format format, const bal_panel *panel, uint8_t *plus,
                       uint8_t *minus)
{
    if (panel->moves == NULL)
        move_format(format, false, panel, plus, NULL);
    else if (minus == NULL)
        move_format(format, true, panel, plus, NULL);
    else
        move_format(format, true, panel, plus, minus);
}

static void move_panel(const bal_panel *panel, uint8_t *plus, uint8_t *minus)
{
    if (panel->z != NULL)
        bal_move_panel_ref(panel, plus, minus);
    else if (panel->format == BAL_PANEL_I8)
        move_sides(BAL_PANEL_I8, panel, plus, minus);
    else if (panel->format == BAL_PANEL_I4)
        move_sides(BAL_PANEL_I4, panel, plus, minus);
    else
        move_sides(BAL_PANEL_NF4, panel, plus, minus);
}

/* As one asm statement, so that the compiler may move the instruction but not merge or spill it. */
#define DOT(acc, w, x) __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(w), "v"(x))

/* T tokens by 64 rows: 4 T accumulators stay in registers over all columns. They have names,
 * a##t##0 to a##t##3, because gcc 12 keeps an array of them in memory. Weights are prefetched 8
 * blocks ahead, as a panel larger than the first-level cache comes from the second once per tile.
 * Of what is read next, n_fetched lines are prefetched per block.
 */
#define TOKENS_1(X) X(0)
#define TOKENS_2(X) TOKENS_1(X) X(1)
#define TOKENS_3(X) TOKENS_2(X) X(2)
#define TOKENS_4(X) TOKENS_3(X) X(3)
#define TOKENS_5(X) TOKENS_4(X) X(4)
#define TOKENS_6(X) TOKENS_5(X) X(5)
#define START(t) __m512i a##t##0 = zero, a##t##1 = zero, a##t##2 = zero, a##t##3 = zero;
#define STEP(t)                             \
    xs = load_four(q + t * stride + 4 * g); \
    DOT(a##t##0, w0, xs);                   \
    DOT(a##t##1, w1, xs);                   \
    DOT(a##t##2, w2, xs);                   \
    DOT(a##t##3, w3, xs);
#define FINISH(t)                                                                       \
    {                                                                                   \
        __m512i excess = _mm512_set1_epi32(128 * x->sum[first + t]);                    \
        __m512 scale = _mm512_set1_ps(x->scale[first + t]);                             \
        float *to = y + (first + t) * y_stride;                                         \
        bal_store_scaled(to, n, a##t##0, excess, scale, w->scale, adds);                \
        bal_store_scaled(to + 16, n - 16, a##t##1, excess, scale, w->scale + 16, adds); \
        bal_store_scaled(to + 32, n - 32, a##t##2, excess, scale, w->scale + 32, adds); \
        bal_store_scaled(to + 48, n - 48, a##t##3, excess, scale, w->scale + 48, adds); \
    }
#define FETCH(from, level) __builtin_prefetch(from, 0, level)
#define DEFINE_TILE(T)                                                                    \
    static void tile_##T(const bal_weights_u8 *w, const bal_rows_i8 *x, int64_t first,    \
                         const uint8_t *next, int n_fetched, bool adds, float *y,         \
                         int64_t y_stride)                                                \
    {                                                                                     \
        const __m512i zero = _mm512_setzero_si512();                                      \
        const int8_t *q = x->q + first * x->stride;                                       \
        int64_t stride = x->stride, n = w->n_rows;                                        \
        TOKENS_##T(START) for (int64_t g = 0; g < w->n_blocks; ++g)                       \
        {                                                                                 \
            const uint8_t *at = w->entries + g * BAL_BLOCK_CODES;                         \
            FETCH(at + 2048, 3);                                                          \
            FETCH(at + 2112, 3);                                                          \
            FETCH(at + 2176, 3);                                                          \
            FETCH(at + 2240, 3);                                                          \
            for (int line = 0; line < n_fetched; ++line, next += 64) FETCH(next, 2);      \
            __m512i w0 = _mm512_loadu_si512(at), w1 = _mm512_loadu_si512(at + 64);        \
            __m512i w2 = _mm512_loadu_si512(at + 128), w3 = _mm512_loadu_si512(at + 192); \
            __m512i xs;                                                                   \
            TOKENS_##T(STEP)                                                              \
        }                                                                                 \
        TOKENS_##T(FINISH)                                                                \
    }

static inline __m512i load_four(const int8_t *from)
{
    int four;
    memcpy(&four, from, sizeof four);
    return _mm512_set1_epi32(four);
}
DEFINE_TILE(1)
DEFINE_TILE(2)
DEFINE_TILE(3)
DEFINE_TILE(4)
DEFINE_TILE(5)
DEFINE_TILE(6)

/* A tile of tokens meets all panels while it is cached; a panel of more than a few columns comes
 * from the second-level cache either way. */
void bal_product_i8_avx512(const bal_weights_u8 *w, const bal_rows_i8 *x, bool adds, float *y,
                           int64_t y_stride)
{
    static void (*const tiles[])(const bal_weights_u8 *, const bal_rows_i8 *, int64_t,
                                 const uint8_t *, int, bool, float *,
                                 int64_t) = {NULL, tile_1, tile_2, tile_3, tile_4, tile_5, tile_6};
    int64_t n_tiles = (x->n_rows + 5) / 6, n_panels = (w->n_rows + 63) / BAL_PANEL_ROWS;
    int64_t left = w->next_bytes / 64;
    int per_block = left > n_tiles * n_panels * w->n_blocks ? 2 : 1;
    const uint8_t *next = w->next;
    for (int64_t tile = 0; tile < n_tiles; ++tile) { /* nearly equal: 16 is 5 + 5 + 6 */
        int64_t first = x->n_rows * tile / n_tiles, end = x->n_rows * (tile + 1) / n_tiles;
        for (int64_t row = 0; row < w->n_rows; row += BAL_PANEL_ROWS) {
            bal_weights_u8 panel = bal_panel_of(w, row);
            int n_fetched = left > 0 ? per_block : 0;
            tiles[end - first](&panel, x, first, next, n_fetched, adds, y + row, y_stride);
            if (n_fetched > 0) next += n_fetched * 64 * w->n_blocks;
            left -= n_fetched * w->n_blocks;
        }
    }
}

#define LOOSE_DOT(r) "vpdpbusd %%zmm31, %%zmm30, %%zmm" #r "\n\t"
static int64_t dots(int64_t n)
{
    for (int64_t i = 0; i < n; ++i)
        __asm__ volatile(LOOSE_DOT(0) LOOSE_DOT(1) LOOSE_DOT(2) LOOSE_DOT(3) LOOSE_DOT(4)
                             LOOSE_DOT(5) LOOSE_DOT(6) LOOSE_DOT(7) LOOSE_DOT(8) LOOSE_DOT(9)
                                 LOOSE_DOT(10) LOOSE_DOT(11)::
                                     : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
                                       "xmm7", "xmm8", "xmm9", "xmm10", "xmm11");
    return n * 12 * 128;
}

void bal_panel_add_avx512(bal_kernels *kernels)
{
    kernels->move_panel = move_panel;
    kernels->product_i8 = bal_product_i8_avx512;
    kernels->dots = dots;
}
