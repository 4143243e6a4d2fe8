/* lanes.h: the float kernels, written once and built once per instruction set with LANES floats in
 * a register. The bits do not depend on LANES: what is element-wise rounds alike everywhere, and
 * every sum over elements runs in 16 virtual lanes (element i in lane i % 16) that are folded
 * 8, 4, 2, 1 apart. No fused multiply-add, no reassociation (-ffp-contract=off). */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernels_impl.h"

#define N_PARTS (16 / LANES) /* registers that hold the 16 virtual lanes */

typedef float   vf __attribute__((vector_size(4 * LANES)));
typedef int32_t vi __attribute__((vector_size(4 * LANES)));
typedef uint8_t vb __attribute__((vector_size(LANES)));

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

INLINE vf pick(vi mask, vf yes, vf no) { return (vf)((mask & (vi)yes) | (~mask & (vi)no)); }
INLINE vf greater(vf x, vf y) { return pick(x > y, x, y); }
INLINE vf magnitude(vf x) { return (vf)((vi)x & 0x7FFFFFFF); }

/* exp(x) for x <= 88: 2^n times a polynomial in the remainder of x / ln 2; 0 below -87. Relative
 * error below 2e-7. Adding 1.5 * 2^23 rounds to an integer, ties to even. Coefficients: Taylor. */
INLINE vf exponential(vf x)
{
    const float shifter = 12582912.0f;
    vf          shifted = x * 1.44269504f + shifter;
    vf          n       = shifted - shifter;
    vf          r       = x - n * 0.693359375f;
    r                   = r - n * -2.12194440e-4f;
    vf sum              = r * (1.0f / 5040) + 1.0f / 720;
    sum                 = sum * r + 1.0f / 120;
    sum                 = sum * r + 1.0f / 24;
    sum                 = sum * r + 1.0f / 6;
    sum                 = sum * r + 0.5f;
    sum                 = sum * r + 1.0f;
    sum                 = sum * r + 1.0f;
    vi power            = ((vi)shifted - 0x4B400000 + 127) << 23;
    return (vf)((vi)(sum * (vf)power) & (x >= -87.0f));
}

/* Fold the 16 virtual lanes to one sum or maximum. */
INLINE float fold_sum(const vf parts[N_PARTS])
{
    float x[16];
    memcpy(x, parts, sizeof x);
    for (int apart = 8; apart > 0; apart /= 2)
        for (int lane = 0; lane < apart; ++lane) x[lane] = x[lane] + x[lane + apart];
    return x[0];
}
INLINE float fold_max(const vf parts[N_PARTS])
{
    float x[16];
    memcpy(x, parts, sizeof x);
    for (int lane = 1; lane < 16; ++lane) x[0] = x[lane] > x[0] ? x[lane] : x[0];
    return x[0];
}

static void quantize(int64_t n_rows, int64_t n_cols, const float *x, uint8_t *q, int64_t q_stride,
                     float *scale)
{
    const float shifter = 12582912.0f;
    for (int64_t row = 0; row < n_rows; ++row, x += n_cols, q += q_stride) {
        vf top[N_PARTS] = {0};
        for (int64_t i = 0; i < n_cols; i += 16)
            for (int p = 0; p < N_PARTS; ++p) {
                int64_t at = i + p * LANES;
                top[p]     = greater(magnitude(load_some(x + at, n_cols - at, 0.0f)), top[p]);
            }
        float absmax  = fold_max(top);
        float inverse = absmax > 0.0f ? 127.0f / absmax : 0.0f;
        scale[row]    = absmax / 127.0f;
        for (int64_t i = 0; i < n_cols; i += LANES) {
            vf      shifted = load_some(x + i, n_cols - i, 0.0f) * inverse + shifter;
            vb      bytes   = __builtin_convertvector((vi)shifted - (0x4B400000 - 128), vb);
            int64_t n       = n_cols - i; /* a padded row ends at a multiple of 4 */
            memcpy(q + i, &bytes, n >= LANES ? (size_t)LANES : (size_t)(n + 3) / 4 * 4);
        }
    }
}

static void rms_norm(int64_t n_rows, int64_t n_cols, const float *x, const float *weight, float eps,
                     float *y)
{
    for (int64_t row = 0; row < n_rows; ++row, x += n_cols, y += n_cols) {
        vf squares[N_PARTS] = {0};
        for (int64_t i = 0; i < n_cols; i += 16)
            for (int p = 0; p < N_PARTS; ++p) {
                int64_t at = i + p * LANES;
                vf      xs = load_some(x + at, n_cols - at, 0.0f);
                squares[p] += xs * xs;
            }
        float inverse = 1.0f / sqrtf(fold_sum(squares) / (float)n_cols + eps);
        for (int64_t i = 0; i < n_cols; i += LANES) {
            vf xs = load_some(x + i, n_cols - i, 0.0f) * inverse;
            store_some(y + i, n_cols - i, xs * load_some(weight + i, n_cols - i, 0.0f));
        }
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
        int64_t      m  = n_keys - j < 4 ? n_keys - j : 4;
        const float *k0 = k + j * kv_width, *k1 = k0 + (m > 1 ? kv_width : 0);
        const float *k2 = k1 + (m > 2 ? kv_width : 0), *k3 = k2 + (m > 3 ? kv_width : 0);
        vf           s[4] = {{0}};
        for (int64_t d = 0; d < hd; ++d) {
            s[0] += q[d] * k0[d];
            s[1] += q[d] * k1[d];
            s[2] += q[d] * k2[d];
            s[3] += q[d] * k3[d];
        }
        for (int64_t i = 0; i < m; ++i) {
            vf score = pick(query >= (int32_t)(j + i), s[i], splat(-INFINITY));
            top      = greater(score, top);
            store(a->scores + (j + i) * LANES, score);
        }
    }
    vf sum = {0};
    for (int64_t j = 0; j < n_keys; ++j) {
        vf p = exponential(load(a->scores + j * LANES) - top);
        sum += p;
        store(a->scores + j * LANES, p);
    }
    vf      inverse = 1.0f / sum;
    float  *y       = a->y + first * q_width + head * hd;
    int64_t d       = 0;
    for (; d + 8 <= hd; d += 8) { /* eight sums stay in registers */
        vf acc[8] = {{0}};
        for (int64_t j = 0; j < n_keys; ++j) {
            vf           p  = load(a->scores + j * LANES);
            const float *vs = v + j * kv_width + d;
            for (int e = 0; e < 8; ++e) acc[e] += p * vs[e];
        }
        for (int e = 0; e < 8; ++e) {
            acc[e] *= inverse;
            for (int64_t lane = 0; lane < n; ++lane) y[lane * q_width + d + e] = acc[e][lane];
        }
    }
    for (; d < hd; ++d) {
        vf acc = {0};
        for (int64_t j = 0; j < n_keys; ++j)
            acc += load(a->scores + j * LANES) * v[j * kv_width + d];
        acc *= inverse;
        for (int64_t lane = 0; lane < n; ++lane) y[lane * q_width + d] = acc[lane];
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

static void add(int64_t n, float *x, const float *y)
{
    for (int64_t i = 0; i < n; i += LANES)
        store_some(x + i, n - i, load_some(x + i, n - i, 0.0f) + load_some(y + i, n - i, 0.0f));
}

static float cross_entropy(int64_t n, const float *x, int64_t target, bool *is_top)
{
    vf top[N_PARTS], sum[N_PARTS] = {0};
    for (int p = 0; p < N_PARTS; ++p) top[p] = splat(-INFINITY);
    for (int64_t i = 0; i < n; i += 16)
        for (int p = 0; p < N_PARTS; ++p) {
            int64_t at = i + p * LANES;
            top[p]     = greater(load_some(x + at, n - at, -INFINITY), top[p]);
        }
    float max = fold_max(top);
    for (int64_t i = 0; i < n; i += 16)
        for (int p = 0; p < N_PARTS; ++p) {
            int64_t at = i + p * LANES;
            sum[p] += exponential(load_some(x + at, n - at, -INFINITY) - max);
        }
    *is_top = x[target] >= max;
    return (float)(bal_math_log((double)fold_sum(sum)) + (double)(max - x[target]));
}

void LANES_ADD(bal_kernels *kernels)
{
    kernels->quantize      = quantize;
    kernels->rms_norm      = rms_norm;
    kernels->attention     = attention;
    kernels->swiglu        = swiglu;
    kernels->add           = add;
    kernels->cross_entropy = cross_entropy;
}
