/* lanes.h: vectors of LANES floats and their operations. The float kernels, lanes_*.h, are written
 * once with these and built once per instruction set. The bits do not depend on LANES. Element-wise
 * operations round alike everywhere. Sums have lanes of their own, the same at every level: 64 for
 * the squares of a norm, with element i in lane i % 64; 16 for the exponentials of a loss; both are
 * folded half onto half down to 1. Attention has one lane per query, with its terms in order.
 * Multiply-adds are fused only where fused() is called (-ffp-contract=off). Rounding once is IEEE
 * arithmetic too, the same in hardware and in libm. */
#ifndef BALLOT_LANES_H
#define BALLOT_LANES_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if LANES > 4
#include <immintrin.h>
#endif
#if LANES == 16
#define NUMBERS 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
#define WIDE(name) _mm512_##name /* the intrinsic on vectors of LANES floats, and their types */
typedef __m512 wide;
typedef __m512d wide_d;
typedef __m512i wide_i;
#elif LANES == 8
#define NUMBERS 0, 1, 2, 3, 4, 5, 6, 7
#define WIDE(name) _mm256_##name
typedef __m256 wide;
typedef __m256d wide_d;
typedef __m256i wide_i;
#else
#define NUMBERS 0, 1, 2, 3
#endif

#include "kernels_impl.h"

#define BLOCK 64                /* elements of a row that are read at a time */
#define N_PARTS (BLOCK / LANES) /* registers that hold a block */

typedef float vf __attribute__((vector_size(4 * LANES)));
typedef int32_t vi __attribute__((vector_size(4 * LANES)));
typedef uint32_t vu __attribute__((vector_size(4 * LANES)));
typedef int8_t vq __attribute__((vector_size(4 * LANES)));

#define INLINE static inline __attribute__((always_inline))

INLINE vf load(const float *from)
{
    vf x;
    memcpy(&x, from, sizeof x);
    return x;
}
INLINE void store(float *to, vf x) { memcpy(to, &x, sizeof x); }
INLINE vf splat(float x) { return x - (vf){0}; } /* not (vf){0} + x, which turns -0 into 0 */

INLINE vi lane_numbers(void) { return (vi){NUMBERS}; }
INLINE vf pick(vi mask, vf yes, vf no) { return (vf)((mask & (vi)yes) | (~mask & (vi)no)); }
/* The first n floats at from, then fill; n may exceed LANES or be below 1. */
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

/* x > y ? x : y and x < y ? x : y per lane: y where either is NaN. */
#if LANES > 4
INLINE vf greater(vf x, vf y) { return (vf)WIDE(max_ps)((wide)x, (wide)y); }
INLINE vf lesser(vf x, vf y) { return (vf)WIDE(min_ps)((wide)x, (wide)y); }
INLINE vi larger(vi x, vi y) { return (vi)WIDE(max_epi32)((wide_i)x, (wide_i)y); }
#else
INLINE vf greater(vf x, vf y) { return pick(x > y, x, y); }
INLINE vf lesser(vf x, vf y) { return pick(x < y, x, y); }
INLINE vi larger(vi x, vi y) { return ((x > y) & x) | (~(x > y) & y); }
#endif
/* Bits of magnitudes compare as the magnitudes do; those of NaN are above all others. */
INLINE vi magnitude_bits(vf x) { return (vi)x & 0x7FFFFFFF; }

#define SHIFTER 12582912.0f /* 1.5 * 2^23: adding it rounds to an integer n, ties to even ... */
#define SHIFTED 0x4B400000  /* ... and gives the bits of this number + n */
#define LOG2_E 1.44269504f
#define LOG2_E_REST 1.92596299e-8f

/* 2^(n + r), with n as the bits of n + SHIFTER, -127 <= n <= 126 and |r| <= 1/2. By a minimax
 * polynomial of degree 5 that is 1 at r = 0; so n = -127 and r = 0 give 0. The relative error is
 * 9.2e-8, or 1.7e-7 with rounding. */
INLINE vf power(vf shifted, vf r)
{
    vf sum = fused(r, splat(1.3264727e-3f), splat(9.6715127e-3f));
    sum = fused(sum, r, splat(5.5507337e-2f));
    sum = fused(sum, r, splat(2.4022242e-1f));
    sum = fused(sum, r, splat(6.9314698e-1f));
    sum = fused(sum, r, splat(1.0f));
    return (vf)((vu)sum + ((vu)shifted << 23)); /* the bits of SHIFTER are shifted out */
}
/* 2^x for x <= 126, to 1.7e-7 from -126 on. Between -127 and -126 it is some number below 2^-126;
 * below -127, and for NaN, exactly 0. */
INLINE vf power_of_two(vf x)
{
    vf low = greater(x, splat(-127.0f));
    vf shifted = low + SHIFTER;
    return power(shifted, low - (shifted - SHIFTER));
}
/* exp(-x) for |x| <= 87, to 1.9e-7. */
INLINE vf exponential_of_minus(vf x)
{
    vf shifted = fused(x, splat(-LOG2_E), splat(SHIFTER));
    vf r = fused(x, splat(-LOG2_E), SHIFTER - shifted);
    return power(shifted, fused(x, splat(-LOG2_E_REST), r));
}

/* Lane i of the result is lane from[i] of x, 0 .. LANES - 1. */
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

/* Each lane's partner: the lane that is the given power of two apart. */
INLINE vf partner(vf x, int apart) { return permute(x, lane_numbers() ^ apart); }

/* n floats at from, at most a block of 64; then fill. */
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

/* Fold N_PARTS registers to one: half of them onto the other half, and so on. Written out, as an
 * array that a loop folds would stay in memory. */
#if LANES == 16
#define FOLD(f, x) f(f(x[0], x[2]), f(x[1], x[3]))
#elif LANES == 8
#define FOLD(f, x) f(f(f(x[0], x[4]), f(x[2], x[6])), f(f(x[1], x[5]), f(x[3], x[7])))
#else
#define FOLD_(f, x, i) f(f(x[i], x[i + 8]), f(x[i + 4], x[i + 12]))
#define FOLD(f, x) f(f(FOLD_(f, x, 0), FOLD_(f, x, 2)), f(FOLD_(f, x, 1), FOLD_(f, x, 3)))
#endif
/* The sum or the maximum of a block's lanes; for a maximum, the order does not matter. */
INLINE vf plus(vf x, vf y) { return x + y; }
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
/* The maximum of magnitude bits, as a float. */
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

#endif
