/* lanes.h: the float kernels, written once and built once per instruction set with LANES floats in
 * a register. The bits do not depend on LANES: what is element-wise rounds alike everywhere, and
 * every sum over elements runs in 64 virtual lanes (element i in lane i % 64) that are folded
 * 32, 16, 8, 4, 2, 1 apart. Multiply-adds are fused where fused() says so and nowhere else
 * (-ffp-contract=off): rounding once is IEEE arithmetic too, the same in hardware and in libm. */
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#if LANES > 4
#include <immintrin.h>
#endif
#if LANES == 16
#define NUMBERS    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
#define WIDE(name) _mm512_##name /* the intrinsic on vectors of LANES floats, and their types */
typedef __m512  wide;
typedef __m512d wide_d;
typedef __m512i wide_i;
#elif LANES == 8
#define NUMBERS    0, 1, 2, 3, 4, 5, 6, 7
#define WIDE(name) _mm256_##name
typedef __m256  wide;
typedef __m256d wide_d;
typedef __m256i wide_i;
#else
#define NUMBERS 0, 1, 2, 3
#endif

#include "kernels_impl.h"

#define BLOCK   64              /* virtual lanes; rows are read in blocks of as many elements */
#define N_PARTS (BLOCK / LANES) /* registers that hold them */

typedef float    vf __attribute__((vector_size(4 * LANES)));
typedef int32_t  vi __attribute__((vector_size(4 * LANES)));
typedef uint32_t vu __attribute__((vector_size(4 * LANES)));
typedef int8_t   vq __attribute__((vector_size(4 * LANES)));

#define INLINE static inline __attribute__((always_inline))

INLINE vf load(const float *from)
{
    vf x;
    memcpy(&x, from, sizeof x);
    return x;
}
INLINE void store(float *to, vf x) { memcpy(to, &x, sizeof x); }
INLINE vf   splat(float x) { return x - (vf){0}; } /* not (vf){0} + x: that turns -0 to 0 */

INLINE vi lane_numbers(void) { return (vi){NUMBERS}; }
INLINE vf pick(vi mask, vf yes, vf no) { return (vf)((mask & (vi)yes) | (~mask & (vi)no)); }
/* The first n of the floats at from, rest fill; n may exceed LANES or be below 1. */
INLINE vf load_some(const float *from, int64_t n, float fill)
{
    if (n >= LANES) return load(from);
#if LANES > 4
    vi there = lane_numbers() < (int32_t)(n > 0 ? n : 0);
#endif
#if LANES == 16
    return (vf)_mm512_mask_loadu_ps((wide)splat(fill), _mm512_movepi32_mask((wide_i)there), from);
#elif LANES == 8
    return pick(there, (vf)_mm256_maskload_ps(from, (wide_i)there), splat(fill));
#else
    float x[LANES];
    for (int lane = 0; lane < LANES; ++lane) x[lane] = lane < n ? from[lane] : fill;
    return load(x);
#endif
}
INLINE void store_some(float *to, int64_t n, vf x)
{
    if (n >= LANES) {
        store(to, x);
        return;
    }
#if LANES > 4
    vi there = lane_numbers() < (int32_t)(n > 0 ? n : 0);
#endif
#if LANES == 16
    _mm512_mask_storeu_ps(to, _mm512_movepi32_mask((wide_i)there), (wide)x);
#elif LANES == 8
    _mm256_maskstore_ps(to, (wide_i)there, (wide)x);
#else
    if (n > 0) memcpy(to, &x, (size_t)n * sizeof *to);
#endif
}

/* x * y + z, rounded once. */
INLINE vf fused(vf x, vf y, vf z)
{
#if LANES > 4
    return (vf)WIDE(fmadd_ps)((wide)x, (wide)y, (wide)z);
#else
    for (int lane = 0; lane < LANES; ++lane) z[lane] = fmaf(x[lane], y[lane], z[lane]);
    return z;
#endif
}

/* x > y ? x : y and x < y ? x : y, in lanes: y where either is not a number. */
#if LANES > 4
INLINE vf greater(vf x, vf y) { return (vf)WIDE(max_ps)((wide)x, (wide)y); }
INLINE vf lesser(vf x, vf y) { return (vf)WIDE(min_ps)((wide)x, (wide)y); }
INLINE vi larger(vi x, vi y) { return (vi)WIDE(max_epi32)((wide_i)x, (wide_i)y); }
#else
INLINE vf greater(vf x, vf y) { return pick(x > y, x, y); }
INLINE vf lesser(vf x, vf y) { return pick(x < y, x, y); }
INLINE vi larger(vi x, vi y) { return ((x > y) & x) | (~(x > y) & y); }
#endif
/* Bits of magnitudes compare like them, and those of NaN are above all. */
INLINE vi magnitude_bits(vf x) { return (vi)x & 0x7FFFFFFF; }

#define SHIFTER     12582912.0f /* 1.5 * 2^23: adding it rounds to an integer n, ties to even, ... */
#define SHIFTED     0x4B400000  /* ... and leaves the bits of this + n */
#define LOG2_E      1.44269504f
#define LOG2_E_REST 1.92596299e-8f

/* 2^(n + r): n as the bits of n + SHIFTER, -127 <= n <= 126, |r| <= 1/2. 1 at r = 0, so 0 at
 * n = -127, r = 0. Minimax polynomial of degree 5 through 1: relative error 9.2e-8, 1.7e-7 with
 * rounding. */
INLINE vf power(vf shifted, vf r)
{
    vf sum = fused(r, splat(1.3264727e-3f), splat(9.6715127e-3f));
    sum    = fused(sum, r, splat(5.5507337e-2f));
    sum    = fused(sum, r, splat(2.4022242e-1f));
    sum    = fused(sum, r, splat(6.9314698e-1f));
    sum    = fused(sum, r, splat(1.0f));
    return (vf)((vu)sum + ((vu)shifted << 23)); /* the bits of SHIFTER leave at the top */
}
/* 2^x for x <= 126: to 1.7e-7 from -126 on, some number below 2^-126 down to -127, then exactly 0,
 * as of NaN. */
INLINE vf power_of_two(vf x)
{
    vf low     = greater(x, splat(-127.0f));
    vf shifted = low + SHIFTER;
    return power(shifted, low - (shifted - SHIFTER));
}
/* exp(-x) for |x| <= 87, to 1.9e-7. */
INLINE vf exponential_of_minus(vf x)
{
    vf shifted = fused(x, splat(-LOG2_E), splat(SHIFTER));
    vf r       = fused(x, splat(-LOG2_E), SHIFTER - shifted);
    return power(shifted, fused(x, splat(-LOG2_E_REST), r));
}

/* Lanes of x as numbered by from, 0 .. LANES - 1. */
INLINE vf permute(vf x, vi from)
{
#if LANES == 16
    return (vf)_mm512_permutexvar_ps((wide_i)from, (wide)x);
#elif LANES == 8
    return (vf)_mm256_permutevar8x32_ps((wide)x, (wide_i)from);
#else
    vf y;
    for (int lane = 0; lane < LANES; ++lane) y[lane] = x[from[lane]];
    return y;
#endif
}

/* Each lane's partner, the given power of two apart. */
INLINE vf partner(vf x, int apart) { return permute(x, lane_numbers() ^ apart); }

/* n floats at from, or the block's 64 if there are more; rest fill. */
INLINE void load_block(const float *from, int64_t n, float fill, vf x[N_PARTS])
{
    if (n >= BLOCK)
        for (int p = 0; p < N_PARTS; ++p) x[p] = load(from + p * LANES);
    else
        for (int p = 0; p < N_PARTS; ++p) x[p] = load_some(from + p * LANES, n - p * LANES, fill);
}

INLINE void store_block(float *to, int64_t n, const vf x[N_PARTS])
{
    if (n >= BLOCK)
        for (int p = 0; p < N_PARTS; ++p) store(to + p * LANES, x[p]);
    else
        for (int p = 0; p < N_PARTS; ++p) store_some(to + p * LANES, n - p * LANES, x[p]);
}

/* Fold N_PARTS registers to one: half of them onto the other half, and so on. Written out, as
 * arrays that loops fold stay in memory. */
#if LANES == 16
#define FOLD(f, x) f(f(x[0], x[2]), f(x[1], x[3]))
#elif LANES == 8
#define FOLD(f, x) f(f(f(x[0], x[4]), f(x[2], x[6])), f(f(x[1], x[5]), f(x[3], x[7])))
#else
#define FOLD_(f, x, i) f(f(x[i], x[i + 8]), f(x[i + 4], x[i + 12]))
#define FOLD(f, x)     f(f(FOLD_(f, x, 0), FOLD_(f, x, 2)), f(FOLD_(f, x, 1), FOLD_(f, x, 3)))
#endif
/* The sum, or the largest, of all virtual lanes; the order of maxima does not matter. */
INLINE vf    plus(vf x, vf y) { return x + y; }
INLINE float fold_sum(const vf parts[N_PARTS])
{
    vf x = FOLD(plus, parts);
    for (int apart = LANES / 2; apart > 0; apart /= 2) x += partner(x, apart);
    return x[0];
}
INLINE float fold_max(const vf parts[N_PARTS])
{
    vf x = FOLD(greater, parts);
    for (int apart = LANES / 2; apart > 0; apart /= 2) x = greater(x, partner(x, apart));
    return x[0];
}
/* The same of magnitude bits, as the float they are. */
INLINE float fold_larger(vi x)
{
    for (int apart = LANES / 2; apart > 0; apart /= 2) x = larger(x, (vi)partner((vf)x, apart));
    return ((vf)x)[0];
}
INLINE int32_t fold_count(vi x)
{
    for (int apart = LANES / 2; apart > 0; apart /= 2) x += (vi)partner((vf)x, apart);
    return x[0];
}

INLINE float largest_magnitude(int64_t n, const float *x)
{
    vi top = {0}; /* integers need no more: their maximum takes one cycle */
    for (int64_t i = 0; i < n; i += BLOCK) {
        vf xs[N_PARTS];
        load_block(x + i, n - i, 0.0f, xs);
        for (int p = 0; p < N_PARTS; ++p) top = larger(magnitude_bits(xs[p]), top);
    }
    return fold_larger(top);
}

/* Bytes of the integers in four registers, -128 .. 127. */
INLINE vq narrow(const vi x[4])
{
#if LANES > 4
    wide_i low  = WIDE(packs_epi32)((wide_i)x[0], (wide_i)x[1]);
    wide_i high = WIDE(packs_epi32)((wide_i)x[2], (wide_i)x[3]);
    vi     four = (vi)WIDE(packs_epi16)(low, high); /* 16 bytes hold four of each register */
#if LANES == 16
    return (vq)__builtin_shufflevector(four, four, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11,
                                       15);
#else
    return (vq)__builtin_shufflevector(four, four, 0, 4, 1, 5, 2, 6, 3, 7);
#endif
#else
    vq bytes;
    for (int i = 0; i < 4 * LANES; ++i) bytes[i] = (int8_t)x[i / LANES][i % LANES];
    return bytes;
#endif
}

/* One row of quantize: x, times the weights unless that is NULL; absmax is the largest
 * magnitude. Returns the step: 0 where all is 0 or nearly, infinite where x is not finite. */
INLINE float quantize_row(int64_t n, const float *x, const float *weight, float absmax, int8_t *q,
                          int32_t *sum)
{
    bool  fine    = absmax >= 0x1p-100f && absmax <= FLT_MAX;
    float inverse = fine ? 127.0f / absmax : 0.0f;
    vi    sums    = {0};
    *sum          = 0;
    if (!fine) memset(q, 0, (size_t)((n + BLOCK - 1) / BLOCK * BLOCK));
    for (int64_t i = 0; fine && i < n; i += BLOCK) {
        vf xs[N_PARTS], weights[N_PARTS];
        vi codes[N_PARTS];
        load_block(x + i, n - i, 0.0f, xs);
        if (weight != NULL) load_block(weight + i, n - i, 0.0f, weights);
        for (int p = 0; p < N_PARTS; ++p) {
            if (weight != NULL) xs[p] *= weights[p];
            codes[p] = (vi)fused(xs[p], splat(inverse), splat(SHIFTER)) - SHIFTED;
            sums += codes[p];
        }
        for (int p = 0; p < N_PARTS; p += 4) {
            vq bytes = narrow(codes + p);
            memcpy(q + i + p * LANES, &bytes, sizeof bytes);
        }
    }
    *sum = fold_count(sums);
    return fine ? absmax / 127.0f : absmax < 0x1p-100f ? 0.0f : INFINITY;
}

static void quantize(int64_t n_rows, int64_t n_cols, const float *x, int8_t *q, int64_t q_stride,
                     float *scale, int32_t *sum)
{
    for (int64_t row = 0; row < n_rows; ++row, x += n_cols, q += q_stride)
        scale[row] = quantize_row(n_cols, x, NULL, largest_magnitude(n_cols, x), q, sum + row);
}

/* Over the root of the mean square. */
INLINE float inverse_norm(vf squares[N_PARTS], int64_t n, float eps)
{
    return 1.0f / sqrtf(fold_sum(squares) / (float)n + eps);
}

static void rms_norm(int64_t n_rows, int64_t n_cols, const float *x, const float *weight, float eps,
                     float *y)
{
    for (int64_t row = 0; row < n_rows; ++row, x += n_cols, y += n_cols) {
        vf xs[N_PARTS], weights[N_PARTS], squares[N_PARTS] = {0};
        for (int64_t i = 0; i < n_cols; i += BLOCK) {
            load_block(x + i, n_cols - i, 0.0f, xs);
            for (int p = 0; p < N_PARTS; ++p) squares[p] = fused(xs[p], xs[p], squares[p]);
        }
        float inverse = inverse_norm(squares, n_cols, eps);
        for (int64_t i = 0; i < n_cols; i += BLOCK) {
            load_block(x + i, n_cols - i, 0.0f, xs);
            load_block(weight + i, n_cols - i, 0.0f, weights);
            for (int p = 0; p < N_PARTS; ++p) xs[p] = xs[p] * inverse * weights[p];
            store_block(y + i, n_cols - i, xs);
        }
    }
}

/* The codes do not depend on the root mean square, so that two passes do. */
static void rms_norm_i8(int64_t n_rows, int64_t n_cols, const float *x, const float *weight,
                        float eps, int8_t *q, int64_t q_stride, float *scale, int32_t *sum)
{
    for (int64_t row = 0; row < n_rows; ++row, x += n_cols, q += q_stride) {
        vf squares[N_PARTS] = {0};
        vi top              = {0};
        for (int64_t i = 0; i < n_cols; i += BLOCK) {
            vf xs[N_PARTS], weights[N_PARTS];
            load_block(x + i, n_cols - i, 0.0f, xs);
            load_block(weight + i, n_cols - i, 0.0f, weights);
            for (int p = 0; p < N_PARTS; ++p) {
                squares[p] = fused(xs[p], xs[p], squares[p]);
                top        = larger(magnitude_bits(xs[p] * weights[p]), top);
            }
        }
        float inverse = inverse_norm(squares, n_cols, eps);
        float step    = quantize_row(n_cols, x, weight, fold_larger(top), q, sum + row);
        scale[row]    = step <= FLT_MAX ? step * inverse : step;
    }
}

/* One token of which a register holds several heads; partners are apart. */
INLINE void rotate_small(int64_t n, int64_t head_dim, int apart, const float *cosines,
                         const float *signed_sines, float *x)
{
    vi element = lane_numbers() & (int32_t)(head_dim - 1);
    vf cosine  = permute(load_some(cosines, head_dim, 0.0f), element);
    vf sine    = permute(load_some(signed_sines, head_dim, 0.0f), element);
    for (int64_t i = 0; i < n; i += LANES) {
        vf xs = load_some(x + i, n - i, 0.0f);
        store_some(x + i, n - i, fused(xs, cosine, partner(xs, apart) * sine));
    }
}

/* One token of n numbers, pairs half of head_dim apart: LANES pairs of every head, and the next. */
INLINE void rotate_halves(int64_t n, int64_t head_dim, const float *cosines,
                          const float *signed_sines, float *x)
{
    int64_t half = head_dim / 2;
    for (int64_t i = 0; i < half; i += LANES) {
        int64_t left = half - i, to = i + half;
        vf      ca = load_some(cosines + i, left, 0.0f), cb = load_some(cosines + to, left, 0.0f);
        vf      sa = load_some(signed_sines + i, left, 0.0f);
        vf      sb = load_some(signed_sines + to, left, 0.0f);
        for (float *head = x; head < x + n; head += head_dim) {
            vf a = load_some(head + i, left, 0.0f), b = load_some(head + to, left, 0.0f);
            store_some(head + i, left, fused(a, ca, b * sa));
            store_some(head + to, left, fused(b, cb, a * sb));
        }
    }
}

/* The same, the pairs side by side. */
INLINE void rotate_neighbours(int64_t n, int64_t head_dim, const float *cosines,
                              const float *signed_sines, float *x)
{
    for (int64_t i = 0; i < head_dim; i += LANES) {
        int64_t left   = head_dim - i;
        vf      cosine = load_some(cosines + i, left, 0.0f);
        vf      sine   = load_some(signed_sines + i, left, 0.0f);
        for (float *head = x; head < x + n; head += head_dim) {
            vf xs = load_some(head + i, left, 0.0f);
            store_some(head + i, left, fused(xs, cosine, partner(xs, 1) * sine));
        }
    }
}

static void rotate(int64_t n_rows, int64_t n_heads, int64_t head_dim, bool halves,
                   const float *cosines, const float *signed_sines, float *x)
{
    int64_t n = n_heads * head_dim;
    for (; n_rows > 0; --n_rows, x += n, cosines += head_dim, signed_sines += head_dim)
        if (LANES % head_dim == 0)
            rotate_small(n, head_dim, halves ? (int)head_dim / 2 : 1, cosines, signed_sines, x);
        else if (halves)
            rotate_halves(n, head_dim, cosines, signed_sines, x);
        else
            rotate_neighbours(n, head_dim, cosines, signed_sines, x);
}

/* Causal attention: one lane per query, so that a query meets its keys in order whatever LANES is.
 * A block is QUERIES queries in N_VECTORS vectors; its work space holds [key][QUERIES]. */
#define N_VECTORS 2
#define QUERIES   (N_VECTORS * LANES)
#define N_KEYS    (LANES == 16 ? 8 : 4) /* scores at a time: with q and k, all that registers hold */
#define N_DIMS    N_KEYS                /* outputs at a time */

INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* Four floats from each of every fourth row. */
INLINE vf gather(const float *const rows[], int64_t at)
{
#if LANES == 16
    __m256 x = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(rows[0] + at)),
                                    _mm_loadu_ps(rows[4] + at), 1);
    __m256 y = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(rows[8] + at)),
                                    _mm_loadu_ps(rows[12] + at), 1);
    return (vf)_mm512_insertf32x8(_mm512_castps256_ps512(x), y, 1);
#elif LANES == 8
    return (vf)_mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(rows[0] + at)),
                                    _mm_loadu_ps(rows[4] + at), 1);
#else
    return load(rows[0] + at);
#endif
}

/* Transpose the 4 x 4 floats that stand in each 16 bytes of four registers. */
INLINE void turn(vf x[4])
{
#if LANES > 4
    wide_d a = (wide_d)WIDE(unpacklo_ps)((wide)x[0], (wide)x[1]);
    wide_d b = (wide_d)WIDE(unpacklo_ps)((wide)x[2], (wide)x[3]);
    wide_d c = (wide_d)WIDE(unpackhi_ps)((wide)x[0], (wide)x[1]);
    wide_d d = (wide_d)WIDE(unpackhi_ps)((wide)x[2], (wide)x[3]);
    x[0] = (vf)WIDE(unpacklo_pd)(a, b), x[1] = (vf)WIDE(unpackhi_pd)(a, b);
    x[2] = (vf)WIDE(unpacklo_pd)(c, d), x[3] = (vf)WIDE(unpackhi_pd)(c, d);
#else
    vf a = __builtin_shufflevector(x[0], x[1], 0, 4, 1, 5);
    vf b = __builtin_shufflevector(x[2], x[3], 0, 4, 1, 5);
    vf c = __builtin_shufflevector(x[0], x[1], 2, 6, 3, 7);
    vf d = __builtin_shufflevector(x[2], x[3], 2, 6, 3, 7);
    x[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
    x[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
    x[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
    x[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
#endif
}

/* q[d][query] = factor times element d of n rows of a->q; beyond n, those of the last. */
INLINE void turn_queries(const float *from, int64_t n, int64_t width, int64_t hd, float factor,
                         float *q)
{
    for (int64_t query = 0; query < QUERIES; query += LANES, q += LANES) {
        const float *rows[LANES];
        for (int i = 0; i < LANES; ++i) rows[i] = from + smaller(query + i, n - 1) * width;
        for (int64_t d = 0; d + 4 <= hd; d += 4) {
            vf x[4];
            for (int i = 0; i < 4; ++i) x[i] = gather(rows + i, d) * factor;
            turn(x);
            for (int i = 0; i < 4; ++i) store(q + (d + i) * QUERIES, x[i]);
        }
        for (int64_t d = hd / 4 * 4; d < hd; ++d)
            for (int i = 0; i < LANES; ++i) q[d * QUERIES + i] = rows[i][d] * factor;
    }
}

/* The reverse: n rows from y[d][query]. */
INLINE void turn_back(const float *y, int64_t n, int64_t width, int64_t hd, float *to)
{
    for (int64_t query = 0; query < n; query += LANES, y += LANES, to += LANES * width) {
        int64_t n_here = smaller(n - query, LANES);
        for (int64_t d = 0; d + 4 <= hd; d += 4) {
            vf x[4];
            for (int i = 0; i < 4; ++i) x[i] = load(y + (d + i) * QUERIES);
            turn(x);
            for (int64_t row = 0; row < n_here; ++row)
                memcpy(to + row * width + d, (const float *)&x[row % 4] + row / 4 * 4, 16);
        }
        for (int64_t d = hd / 4 * 4; d < hd; ++d)
            for (int64_t row = 0; row < n_here; ++row) to[row * width + d] = y[d * QUERIES + row];
    }
}

/* Scores of the keys j .. j + N_KEYS - 1 with the vectors of queries from the given one on. */
INLINE void score(const bal_attention *a, const float *q, const float *k, int64_t first, int64_t j,
                  int from, vf top[N_VECTORS])
{
    int64_t      width = a->n_kv_heads * a->head_dim;
    const float *key[N_KEYS];
    vf           s[N_VECTORS][N_KEYS] = {0};
    for (int i = 0; i < N_KEYS; ++i) key[i] = k + smaller(j + i, a->n_tokens - 1) * width;
#pragma GCC unroll 4
    for (int64_t d = 0; d < a->head_dim; ++d)
        for (int i = 0; i < N_KEYS; ++i)
            for (int v = from; v < N_VECTORS; ++v)
                s[v][i] = fused(load(q + d * QUERIES + v * LANES), splat(key[i][d]), s[v][i]);
    for (int v = from; v < N_VECTORS; ++v) {
        if (j + N_KEYS - 1 > first + v * LANES) { /* a query sees no later key */
            vi query = lane_numbers() + ((int32_t)(first - j) + v * LANES);
            for (int i = 0; i < N_KEYS; ++i) s[v][i] = pick(query >= i, s[v][i], splat(-INFINITY));
        }
        for (int i = 0; i < N_KEYS; ++i) {
            top[v] = greater(s[v][i], top[v]);
            store(a->scores + (j + i) * QUERIES + v * LANES, s[v][i]);
        }
    }
}

/* y[d][query] of n_dims elements from v on: sums over keys, the last of them seen by one vector. */
INLINE void weigh(const bal_attention *a, const float *v, int n_dims, const int64_t n_keys[],
                  const vf inverse[], float *y)
{
    int64_t      width = a->n_kv_heads * a->head_dim, j = 0;
    const float *p                      = a->scores;
    vf           sum[N_VECTORS][N_DIMS] = {0};
#pragma GCC unroll 4
    for (; j < n_keys[0]; ++j, v += width, p += QUERIES)
        for (int i = 0; i < n_dims; ++i)
            for (int at = 0; at < N_VECTORS; ++at)
                sum[at][i] = fused(load(p + at * LANES), splat(v[i]), sum[at][i]);
    for (; j < n_keys[1]; ++j, v += width, p += QUERIES)
        for (int i = 0; i < n_dims; ++i) sum[1][i] = fused(load(p + LANES), splat(v[i]), sum[1][i]);
    for (int i = 0; i < n_dims; ++i) /* + 0 makes -0 of masked keys 0 */
        for (int at = 0; at < N_VECTORS; ++at)
            store(y + i * QUERIES + at * LANES, sum[at][i] * inverse[at] + 0.0f);
}

/* The block of queries from first on. */
static void attend(const bal_attention *a, int64_t head, int64_t first)
{
    int64_t hd = a->head_dim, width = a->n_heads * hd;
    int64_t n        = smaller(a->n_tokens - first, QUERIES),
            kv       = head / (a->n_heads / a->n_kv_heads) * hd;
    int64_t n_keys[] = {smaller(first + LANES, a->n_tokens), smaller(first + QUERIES, a->n_tokens)};
    _Alignas(64) float q[BAL_HEAD_DIM_MAX * QUERIES], y[BAL_HEAD_DIM_MAX * QUERIES];
    vf                 top[] = {splat(-INFINITY), splat(-INFINITY)}, inverse[N_VECTORS];
    int64_t            j     = 0;
    turn_queries(a->q + first * width + head * hd, n, width, hd, LOG2_E / sqrtf((float)hd), q);
    for (; j < n_keys[0]; j += N_KEYS) score(a, q, a->k + kv, first, j, 0, top);
    for (; j < n_keys[1]; j += N_KEYS) score(a, q, a->k + kv, first, j, 1, top);
    for (int at = 0; at < N_VECTORS; ++at) {
        vf     sum = {0};
        float *p   = a->scores + at * LANES;
        for (j = 0; j < n_keys[at]; ++j, p += QUERIES) {
            vf weight = power_of_two(load(p) - top[at]);
            sum += weight;
            store(p, weight);
        }
        inverse[at] = 1.0f / sum;
    }
    int64_t d = 0;
    for (; d + N_DIMS <= hd; d += N_DIMS)
        weigh(a, a->v + kv + d, N_DIMS, n_keys, inverse, y + d * QUERIES);
    for (; d < hd; d += 2) weigh(a, a->v + kv + d, 2, n_keys, inverse, y + d * QUERIES);
    turn_back(y, n, width, hd, a->y + first * width + head * hd);
}

static void attention(const bal_attention *a)
{
    for (int64_t head = 0; head < a->n_heads; ++head)
        for (int64_t first = 0; first < a->n_tokens; first += QUERIES) attend(a, head, first);
}

/* One register of SwiGLU. Below -87 all is as at -87, where nothing is left. */
INLINE vf gated(vf gate, vf up)
{
    vf x = greater(splat(-87.0f), gate);
    return x / (1.0f + exponential_of_minus(lesser(splat(87.0f), x))) * up;
}

static void swiglu(int64_t n_rows, int64_t n_cols, float *gate, int64_t gate_stride,
                   const float *up, int64_t up_stride)
{
    for (int64_t row = 0; row < n_rows; ++row, gate += gate_stride, up += up_stride) {
        int64_t i = 0;
        for (; i + LANES <= n_cols; i += LANES)
            store(gate + i, gated(load(gate + i), load(up + i)));
        if (i == n_cols) continue;
        vf y = gated(load_some(gate + i, n_cols - i, 0.0f), load_some(up + i, n_cols - i, 0.0f));
        store_some(gate + i, n_cols - i, y);
    }
}

#define N_SUMS (16 / LANES) /* registers of bal_exp_sums.sum */

/* Each of 16 lanes has its own maximum so far, to which its sum is relative. */
static void exp_sums(int64_t n_rows, int64_t n_cols, const float *x, int64_t x_stride, bool first,
                     bal_exp_sums *sums)
{
    for (int64_t row = 0; row < n_rows; ++row, x += x_stride, ++sums) {
        vf tops[N_SUMS], sum[N_SUMS], xs[N_PARTS];
        for (int at = 0; at < N_SUMS; ++at) {
            tops[at] = first ? splat(-INFINITY) : load(sums->top + at * LANES);
            sum[at]  = first ? splat(0.0f) : load(sums->sum + at * LANES);
        }
        for (int64_t i = 0; i < n_cols; i += BLOCK) {
            load_block(x + i, n_cols - i, -INFINITY, xs);
            for (int at = 0; at < N_SUMS; ++at) {
                vf top = tops[at];
                for (int p = at; p < N_PARTS; p += N_SUMS) top = greater(xs[p], top);
                sum[at] *= power_of_two((tops[at] - top) * LOG2_E);
                for (int p = at; p < N_PARTS; p += N_SUMS)
                    sum[at] += power_of_two((xs[p] - top) * LOG2_E);
                tops[at] = top;
            }
        }
        for (int at = 0; at < N_SUMS; ++at) {
            store(sums->top + at * LANES, tops[at]);
            store(sums->sum + at * LANES, sum[at]);
        }
    }
}

static float cross_entropy(const bal_exp_sums *sums, float target, bool *is_top)
{
    vf top[N_PARTS], sum[N_PARTS] = {0};
    for (int p = 0; p < N_PARTS; ++p) top[p] = load(sums->top + p % N_SUMS * LANES);
    float max = fold_max(top);
    for (int at = 0; at < N_SUMS; ++at)
        sum[at] = load(sums->sum + at * LANES) *
                  power_of_two((load(sums->top + at * LANES) - max) * LOG2_E);
    *is_top = target >= max;
    return (float)(bal_math_log((double)fold_sum(sum)) + (double)(max - target));
}

void LANES_ADD(bal_kernels *kernels)
{
    kernels->quantize      = quantize;
    kernels->rms_norm_i8   = rms_norm_i8;
    kernels->rms_norm      = rms_norm;
    kernels->rotate        = rotate;
    kernels->attention     = attention;
    kernels->swiglu        = swiglu;
    kernels->exp_sums      = exp_sums;
    kernels->cross_entropy = cross_entropy;
}
