/* lanes_norm.h: norms of rows, and rows quantized to int8. */
#include <float.h>

#include "lanes.h"

INLINE float largest_magnitude(int64_t n, const float *x)
{
    vi top = {0}; /* two are enough for integers, whose maximum takes one cycle */
    for (int64_t i = 0; i < n; i += BLOCK) {
        vf xs[N_PARTS];
        load_block(x + i, n - i, 0.0f, xs);
        for (int p = 0; p < N_PARTS; ++p) top = larger(magnitude_bits(xs[p]), top);
    }
    return fold_larger(top);
}

/* The integers of four registers, -128 .. 127, as bytes. */
INLINE vq narrow(const vi x[4])
{
#if LANES > 4
    wide_i low = WIDE(packs_epi32)((wide_i)x[0], (wide_i)x[1]);
    wide_i high = WIDE(packs_epi32)((wide_i)x[2], (wide_i)x[3]);
    vi four = (vi)WIDE(packs_epi16)(low, high); /* 16 bytes hold four of each register */
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

/* Quantize one row, x times weight, or x if weight is NULL; absmax is the largest magnitude.
 * Returns the scale: 0 if all is 0 or nearly so, infinity if x is not finite. */
INLINE float quantize_row(int64_t n, const float *x, const float *weight, float absmax, int8_t *q,
                          int32_t *sum)
{
    bool fine = absmax >= 0x1p-100f && absmax <= FLT_MAX;
    float inverse = fine ? 127.0f / absmax : 0.0f;
    vi sums = {0};
    *sum = 0;
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

/* x divided by its root mean square. */
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

/* First the mean, then squares of differences, so that no digits cancel. */
static void layer_norm(int64_t n_rows, int64_t n_cols, const float *x, const float *weight,
                       const float *bias, float eps, float *y)
{
    for (int64_t row = 0; row < n_rows; ++row, x += n_cols, y += n_cols) {
        vf xs[N_PARTS], weights[N_PARTS], biases[N_PARTS], sums[N_PARTS] = {0},
                                                           squares[N_PARTS] = {0};
        for (int64_t i = 0; i < n_cols; i += BLOCK) {
            load_block(x + i, n_cols - i, 0.0f, xs);
            for (int p = 0; p < N_PARTS; ++p) sums[p] += xs[p];
        }
        float mean = fold_sum(sums) / (float)n_cols;
        for (int64_t i = 0; i < n_cols; i += BLOCK) {
            load_block(x + i, n_cols - i, mean, xs);
            for (int p = 0; p < N_PARTS; ++p)
                squares[p] = fused(xs[p] - mean, xs[p] - mean, squares[p]);
        }
        float inverse = inverse_norm(squares, n_cols, eps);
        for (int64_t i = 0; i < n_cols; i += BLOCK) {
            load_block(x + i, n_cols - i, 0.0f, xs);
            load_block(weight + i, n_cols - i, 0.0f, weights);
            load_block(bias + i, n_cols - i, 0.0f, biases);
            for (int p = 0; p < N_PARTS; ++p)
                xs[p] = fused((xs[p] - mean) * inverse, weights[p], biases[p]);
            store_block(y + i, n_cols - i, xs);
        }
    }
}

/* The codes do not depend on the root mean square, so two passes are enough. */
static void rms_norm_i8(int64_t n_rows, int64_t n_cols, const float *x, const float *weight,
                        float eps, int8_t *q, int64_t q_stride, float *scale, int32_t *sum)
{
    for (int64_t row = 0; row < n_rows; ++row, x += n_cols, q += q_stride) {
        vf squares[N_PARTS] = {0};
        vi top = {0};
        for (int64_t i = 0; i < n_cols; i += BLOCK) {
            vf xs[N_PARTS], weights[N_PARTS];
            load_block(x + i, n_cols - i, 0.0f, xs);
            load_block(weight + i, n_cols - i, 0.0f, weights);
            for (int p = 0; p < N_PARTS; ++p) {
                squares[p] = fused(xs[p], xs[p], squares[p]);
                top = larger(magnitude_bits(xs[p] * weights[p]), top);
            }
        }
        float inverse = inverse_norm(squares, n_cols, eps);
        float step = quantize_row(n_cols, x, weight, fold_larger(top), q, sum + row);
        scale[row] = step <= FLT_MAX ? step * inverse : step;
    }
}
