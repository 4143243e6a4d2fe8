/* lanes.h: the float kernels, written once and built once per instruction set with LANES floats in
 * a register. The bits do not depend on LANES: what is element-wise rounds alike everywhere, and
 * every sum over elements runs in 16 virtual lanes (element i in lane i % 16) that are folded
 * 8, 4, 2, 1 apart. Multiply-adds are fused where fused() says so and nowhere else
 * (-ffp-contract=off): rounding once is IEEE arithmetic too, the same in hardware and in libm. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#if LANES > 4
#include <immintrin.h>
#endif

#include "kernels_impl.h"

#define N_PARTS (16 / LANES) /* registers that hold the 16 virtual lanes */

typedef float    vf __attribute__((vector_size(4 * LANES)));
typedef int32_t  vi __attribute__((vector_size(4 * LANES)));
typedef uint32_t vu __attribute__((vector_size(4 * LANES)));
typedef int8_t   vb __attribute__((vector_size(LANES)));

#define INLINE static inline __attribute__((always_inline))

INLINE vf load(const float *from)
{
    vf x;
    memcpy(&x, from, sizeof x);
    return x;
}
INLINE void store(float *to, vf x) { memcpy(to, &x, sizeof x); }
INLINE vf   splat(float x) { return x - (vf){0}; } /* not (vf){0} + x: that turns -0 to 0 */

/* The first n of the floats at from, rest fill; n may exceed LANES or be below 1. */
INLINE vf load_some(const float *from, int64_t n, float fill)
{
    if (n >= LANES) return load(from);
    float x[LANES];
    for (int lane = 0; lane < LANES; ++lane) x[lane] = lane < n ? from[lane] : fill;
    return load(x);
}
INLINE void store_some(float *to, int64_t n, vf x)
{
    if (n >= LANES)
        store(to, x);
    else if (n > 0)
        memcpy(to, &x, (size_t)n * sizeof *to);
}

/* x * y + z, rounded once. */
INLINE vf fused(vf x, vf y, vf z)
{
#if LANES == 16
    return (vf)_mm512_fmadd_ps((__m512)x, (__m512)y, (__m512)z);
#elif LANES == 8
    return (vf)_mm256_fmadd_ps((__m256)x, (__m256)y, (__m256)z);
#else
    for (int lane = 0; lane < LANES; ++lane) z[lane] = fmaf(x[lane], y[lane], z[lane]);
    return z;
#endif
}

INLINE vf pick(vi mask, vf yes, vf no) { return (vf)((mask & (vi)yes) | (~mask & (vi)no)); }
INLINE vf greater(vf x, vf y) { return pick(x > y, x, y); }
INLINE vi magnitude_bits(vf x) { return (vi)x & 0x7FFFFFFF; }
INLINE vi larger(vi x, vi y) { return ((x > y) & x) | (~(x > y) & y); }

/* exp(x) for x <= 88: 2^n times a polynomial in the remainder of x / ln 2; 0 below -87. Relative
 * error below 2e-7. Adding 1.5 * 2^23 rounds to an integer, ties to even. Coefficients: Taylor. */
INLINE vf exponential(vf x)
{
    const float shifter = 12582912.0f;
    vf          n       = fused(x, splat(1.44269504f), splat(shifter)) - shifter;
    vf          r       = fused(n, splat(-0.693359375f), x);
    r                   = fused(n, splat(2.12194440e-4f), r);
    vf sum              = fused(r, splat(1.0f / 5040), splat(1.0f / 720));
    sum                 = fused(sum, r, splat(1.0f / 120));
    sum                 = fused(sum, r, splat(1.0f / 24));
    sum                 = fused(sum, r, splat(1.0f / 6));
    sum                 = fused(sum, r, splat(0.5f));
    sum                 = fused(sum, r, splat(1.0f));
    sum                 = fused(sum, r, splat(1.0f));
    vu power            = ((vu)(n + shifter) - 0x4B400000u + 127u) << 23; /* far below -87: wraps */
    return (vf)((vi)(sum * (vf)power) & (x >= -87.0f));
}

/* Fold the 16 virtual lanes to one sum: 8, 4, 2, 1 apart. */
INLINE float fold_sum(const vf parts[N_PARTS])
{
    float x[16];
    memcpy(x, parts, sizeof x);
    for (int apart = 8; apart > 0; apart /= 2)
        for (int lane = 0; lane < apart; ++lane) x[lane] = x[lane] + x[lane + apart];
    return x[0];
}
/* The largest lane; the order does not matter. */
INLINE float fold_max(vf x)
{
    float lanes[LANES];
    memcpy(lanes, &x, sizeof lanes);
    for (int apart = LANES / 2; apart > 0; apart /= 2)
        for (int lane = 0; lane < apart; ++lane)
            lanes[lane] = lanes[lane] > lanes[lane + apart] ? lanes[lane] : lanes[lane + apart];
    return lanes[0];
}

/* The same of magnitude bits, as the float they are. */
INLINE float fold_larger(vi x)
{
    int32_t lanes[LANES];
    float   largest;
    memcpy(lanes, &x, sizeof lanes);
    for (int apart = LANES / 2; apart > 0; apart /= 2)
        for (int lane = 0; lane < apart; ++lane)
            lanes[lane] = lanes[lane] > lanes[lane + apart] ? lanes[lane] : lanes[lane + apart];
    memcpy(&largest, lanes, sizeof largest);
    return largest;
}

INLINE vb round_to_bytes(vf x, float inverse)
{
    vf shifted = x * inverse + 12582912.0f; /* 1.5 * 2^23 rounds to an integer, ties to even */
    return __builtin_convertvector((vi)shifted - 0x4B400000, vb);
}

static void quantize(int64_t n_rows, int64_t n_cols, const float *x, int8_t *q, int64_t q_stride,
                     float *scale, int32_t *sum)
{
    for (int64_t row = 0; row < n_rows; ++row, x += n_cols, q += q_stride) {
        vi top    = {0}; /* bits of magnitudes compare like them, and those of NaN are above all */
        int64_t i = 0;
        for (; i + LANES <= n_cols; i += LANES) top = larger(magnitude_bits(load(x + i)), top);
        if (i < n_cols) top = larger(magnitude_bits(load_some(x + i, n_cols - i, 0.0f)), top);
        float absmax  = fold_larger(top);
        float inverse = absmax > 0.0f ? 127.0f / absmax : 0.0f;
        scale[row]    = absmax / 127.0f;
        sum[row]      = 0;
        for (i = 0; i < n_cols; i += LANES) {
            vb bytes = round_to_bytes(load_some(x + i, n_cols - i, 0.0f), inverse);
            memcpy(q + i, &bytes, LANES);
        }
        memset(q + i, 0, (size_t)((n_cols + 63) / 64 * 64 - i));
        for (i = 0; i < n_cols; ++i) sum[row] += q[i];
    }
}

static void rms_norm(int64_t n_rows, int64_t n_cols, const float *x, const float *weight, float eps,
                     float *y)
{
    for (int64_t row = 0; row < n_rows; ++row, x += n_cols, y += n_cols) {
        vf      squares[N_PARTS] = {0};
        int64_t i                = 0;
        for (; i + 16 <= n_cols; i += 16)
            for (int p = 0; p < N_PARTS; ++p) {
                vf xs      = load(x + i + p * LANES);
                squares[p] = fused(xs, xs, squares[p]);
            }
        for (int p = 0; p < N_PARTS && i < n_cols; ++p, i += LANES) {
            vf xs      = load_some(x + i, n_cols - i, 0.0f);
            squares[p] = fused(xs, xs, squares[p]);
        }
        float inverse = 1.0f / sqrtf(fold_sum(squares) / (float)n_cols + eps);
        for (i = 0; i + LANES <= n_cols; i += LANES)
            store(y + i, load(x + i) * inverse * load(weight + i));
        if (i == n_cols) continue;
        store_some(
            y + i, n_cols - i,
            load_some(x + i, n_cols - i, 0.0f) * inverse * load_some(weight + i, n_cols - i, 0.0f));
    }
}

/* Each lane's neighbour in its pair. */
#if LANES == 16
#define SWAP_PAIRS(x) \
    __builtin_shufflevector(x, x, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14)
#elif LANES == 8
#define SWAP_PAIRS(x) __builtin_shufflevector(x, x, 1, 0, 3, 2, 5, 4, 7, 6)
#else
#define SWAP_PAIRS(x) __builtin_shufflevector(x, x, 1, 0, 3, 2)
#endif

static void rotate(int64_t n_heads, int64_t head_dim, bool halves, const float *cosines,
                   const float *signed_sines, float *x)
{
    int64_t n = n_heads * head_dim, half = head_dim / 2;
    if (!halves && n % LANES == 0 && (LANES % head_dim == 0 || head_dim % LANES == 0)) {
        float   c[BAL_HEAD_DIM_MAX], s[BAL_HEAD_DIM_MAX]; /* small heads: angles of several */
        int64_t period = head_dim > LANES ? head_dim : LANES;
        for (int64_t i = 0; i < period; i += head_dim)
            for (int64_t j = 0; j < head_dim; ++j)
                c[i + j] = cosines[j], s[i + j] = signed_sines[j];
        for (int64_t i = 0, at = 0; i < n; i += LANES, at = at + LANES < period ? at + LANES : 0) {
            vf xs = load(x + i);
            store(x + i, xs * load(c + at) + SWAP_PAIRS(xs) * load(s + at));
        }
        return;
    }
    int64_t apart = halves ? half : 1, stride = halves ? 1 : 2;
    for (; n > 0; n -= head_dim, x += head_dim)
        for (int64_t i = 0; i < half; ++i) {
            int64_t at = i * stride, to = at + apart;
            float   a = x[at], b = x[to];
            x[at] = a * cosines[at] + b * signed_sines[at];
            x[to] = b * cosines[to] + a * signed_sines[to];
        }
}

/* One lane per query: a query meets its keys in order, whatever LANES is. */
static void attend(const bal_attention *a, int64_t head, int64_t first)
{
    int64_t      hd = a->head_dim, q_width = a->n_heads * hd, kv_width = a->n_kv_heads * hd;
    int64_t      kv_head = head / (a->n_heads / a->n_kv_heads);
    int64_t      n       = a->n_tokens - first < LANES ? a->n_tokens - first : LANES;
    int64_t      n_keys  = first + n;
    const float *k = a->k + kv_head * hd, *v = a->v + kv_head * hd;
    float        scaling = 1.0f / sqrtf((float)hd);
    vf           q[BAL_HEAD_DIM_MAX]; /* q[d]: element d of all queries of the block */
    vi           query;               /* token of each lane */
    for (int lane = 0; lane < LANES; ++lane) query[lane] = (int32_t)first + lane;
    for (int64_t d = 0; d < hd; ++d) {
        float column[LANES] = {0};
        for (int64_t lane = 0; lane < n; ++lane)
            column[lane] = a->q[(first + lane) * q_width + head * hd + d];
        q[d] = load(column) * scaling;
    }
    vf top = splat(-INFINITY);
    for (int64_t j = 0; j < n_keys; j += 4) { /* four keys at a time hide the latency of the sums */
        int64_t      left = n_keys - j - 1;
        const float *k0 = k + j * kv_width, *k1 = k0 + (left > 0 ? kv_width : 0);
        const float *k2 = k1 + (left > 1 ? kv_width : 0), *k3 = k2 + (left > 2 ? kv_width : 0);
        vf           s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
        for (int64_t d = 0; d < hd; ++d) {
            s0 = fused(q[d], splat(k0[d]), s0);
            s1 = fused(q[d], splat(k1[d]), s1);
            s2 = fused(q[d], splat(k2[d]), s2);
            s3 = fused(q[d], splat(k3[d]), s3);
        }
        if (j + 3 > first) { /* a query sees no later key; past n_keys, none of the block does */
            s0 = pick(query >= (int32_t)j, s0, splat(-INFINITY));
            s1 = pick(query >= (int32_t)j + 1, s1, splat(-INFINITY));
            s2 = pick(query >= (int32_t)j + 2, s2, splat(-INFINITY));
            s3 = pick(query >= (int32_t)j + 3, s3, splat(-INFINITY));
        }
        top       = greater(greater(s0, s1), greater(greater(s2, s3), top));
        float *to = a->scores + j * LANES;
        store(to, s0);
        store(to + LANES, s1);
        store(to + 2 * LANES, s2);
        store(to + 3 * LANES, s3);
    }
    vf sum = {0};
    for (int64_t j = 0; j < n_keys; ++j) {
        vf p = exponential(load(a->scores + j * LANES) - top);
        sum += p;
        store(a->scores + j * LANES, p);
    }
    vf     inverse = 1.0f / sum; /* below, + 0 makes -0 of masked keys 0 */
    float *y       = a->y + first * q_width + head * hd;
    for (int64_t d = 0; d < hd; d += 8) { /* eight sums stay in registers */
        const float *vs = v + d;
        float        out[8][LANES];
        vf           y0 = {0}, y1 = {0}, y2 = {0}, y3 = {0}, y4 = {0}, y5 = {0}, y6 = {0}, y7 = {0};
        int64_t      n_d = hd - d < 8 ? hd - d : 8;
        if (n_d == 8) {
            for (int64_t j = 0; j < n_keys; ++j, vs += kv_width) {
                vf p = load(a->scores + j * LANES);
                y0 = fused(p, splat(vs[0]), y0), y1 = fused(p, splat(vs[1]), y1),
                y2 = fused(p, splat(vs[2]), y2), y3 = fused(p, splat(vs[3]), y3);
                y4 = fused(p, splat(vs[4]), y4), y5 = fused(p, splat(vs[5]), y5),
                y6 = fused(p, splat(vs[6]), y6), y7 = fused(p, splat(vs[7]), y7);
            }
        } else { /* head_dim is even */
            for (int64_t j = 0; j < n_keys; ++j, vs += kv_width) {
                vf p = load(a->scores + j * LANES);
                y0 = fused(p, splat(vs[0]), y0), y1 = fused(p, splat(vs[1]), y1);
                if (n_d > 2) y2 = fused(p, splat(vs[2]), y2), y3 = fused(p, splat(vs[3]), y3);
                if (n_d > 4) y4 = fused(p, splat(vs[4]), y4), y5 = fused(p, splat(vs[5]), y5);
            }
        }
        store(out[0], y0 * inverse + 0.0f), store(out[1], y1 * inverse + 0.0f),
            store(out[2], y2 * inverse + 0.0f);
        store(out[3], y3 * inverse + 0.0f), store(out[4], y4 * inverse + 0.0f),
            store(out[5], y5 * inverse + 0.0f);
        store(out[6], y6 * inverse + 0.0f), store(out[7], y7 * inverse + 0.0f);
        for (int64_t lane = 0; lane < n; ++lane)
            for (int64_t e = 0; e < n_d; ++e) y[lane * q_width + d + e] = out[e][lane];
    }
}

static void attention(const bal_attention *a)
{
    for (int64_t head = 0; head < a->n_heads; ++head)
        for (int64_t first = 0; first < a->n_tokens; first += LANES) attend(a, head, first);
}

static void swiglu(int64_t n, float *gate, const float *up)
{
    for (int64_t i = 0; i < n; i += LANES) {
        vf x = load_some(gate + i, n - i, 0.0f);
        vf e = exponential(pick(x < -87.0f, splat(87.0f), -x)); /* exp(88) would still be finite */
        store_some(gate + i, n - i, x / (1.0f + e) * load_some(up + i, n - i, 0.0f));
    }
}

static float cross_entropy(int64_t n, const float *x, int64_t target, bool *is_top)
{
    vf top = splat(-INFINITY), sum[N_PARTS] = {0};
    for (int64_t i = 0; i < n; i += LANES) top = greater(load_some(x + i, n - i, -INFINITY), top);
    float   max = fold_max(top);
    int64_t i   = 0;
    for (; i + 16 <= n; i += 16)
        for (int p = 0; p < N_PARTS; ++p) sum[p] += exponential(load(x + i + p * LANES) - max);
    for (int p = 0; p < N_PARTS && i < n; ++p, i += LANES)
        sum[p] += exponential(load_some(x + i, n - i, -INFINITY) - max);
    *is_top = x[target] >= max;
    return (float)(bal_math_log((double)fold_sum(sum)) + (double)(max - x[target]));
}

void LANES_ADD(bal_kernels *kernels)
{
    kernels->quantize      = quantize;
    kernels->rms_norm      = rms_norm;
    kernels->rotate        = rotate;
    kernels->attention     = attention;
    kernels->swiglu        = swiglu;
    kernels->cross_entropy = cross_entropy;
}
