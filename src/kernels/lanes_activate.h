/* lanes_activate.h: activations, element by element, and the gate of a feed-forward layer. x is
 * kept from going so far below 0 that its exponential would no longer be a normal number. */
#include "lanes.h"

/* x / (1 + exp(-x)). */
INLINE vf silu(vf x)
{
    x = greater(splat(-87.0f), x);
    return x / (1.0f + exponential_of_minus(lesser(splat(87.0f), x)));
}

/* x Phi(x). With t = 1 / (1 + 39/128 |x|), Phi(-|x|) is exp(-x^2 / 2) times a minimax polynomial of
 * degree 8 in t through 0, for |x| <= 12.5: relative error 1.1e-7 before rounding. */
INLINE vf gelu(vf x)
{
    x = greater(splat(-12.5f), x);
    vf size = lesser((vf)magnitude_bits(x), splat(12.5f));
    vf t = 1.0f / fused(size, splat(0.3046875f), splat(1.0f));
    vf below = fused(t, splat(0.0367497467f), splat(-0.153710067f));
    below = fused(below, t, splat(0.187727407f));
    below = fused(below, t, splat(-0.03956661f));
    below = fused(below, t, splat(0.121798731f));
    below = fused(below, t, splat(0.103114322f));
    below = fused(below, t, splat(0.122373283f));
    below = fused(below, t, splat(0.121513233f));
    below = below * t * exponential_of_minus(size * size * 0.5f);
    return x * pick(x < 0.0f, below, 1.0f - below);
}

/* x / (1 + exp(-2 u)), u = sqrt(2 / pi) (x + 0.044715 x^3). */
INLINE vf gelu_tanh(vf x)
{
    x = greater(splat(-9.9f), x);
    vf twice_u = x * fused(x * x, splat(0.071354816f), splat(1.5957691f));
    return x / (1.0f + exponential_of_minus(lesser(splat(87.0f), twice_u)));
}

INLINE vf activated(bal_activation kind, vf x)
{
    switch (kind) {
        case BAL_ACT_RELU:
            return greater(splat(0.0f), x);
        case BAL_ACT_GELU:
            return gelu(x);
        case BAL_ACT_GELU_TANH:
            return gelu_tanh(x);
        default:
            return silu(x);
    }
}

INLINE void activate_rows(bal_activation kind, int64_t n_rows, int64_t n_cols, float *x,
                          int64_t x_stride)
{
    for (int64_t row = 0; row < n_rows; ++row, x += x_stride) {
        int64_t i = 0;
        for (; i + LANES <= n_cols; i += LANES) store(x + i, activated(kind, load(x + i)));
        if (i == n_cols) continue;
        store_some(x + i, n_cols - i, activated(kind, load_some(x + i, n_cols - i, 0.0f)));
    }
}

/* One loop for each kind. */
static void activate(bal_activation kind, int64_t n_rows, int64_t n_cols, float *x,
                     int64_t x_stride)
{
    switch (kind) {
        case BAL_ACT_RELU:
            activate_rows(BAL_ACT_RELU, n_rows, n_cols, x, x_stride);
            break;
        case BAL_ACT_GELU:
            activate_rows(BAL_ACT_GELU, n_rows, n_cols, x, x_stride);
            break;
        case BAL_ACT_GELU_TANH:
            activate_rows(BAL_ACT_GELU_TANH, n_rows, n_cols, x, x_stride);
            break;
        case BAL_ACT_SILU:
            activate_rows(BAL_ACT_SILU, n_rows, n_cols, x, x_stride);
            break;
    }
}

static void swiglu(int64_t n_rows, int64_t n_cols, float *gate, int64_t gate_stride,
                   const float *up, int64_t up_stride)
{
    for (int64_t row = 0; row < n_rows; ++row, gate += gate_stride, up += up_stride) {
        int64_t i = 0;
        for (; i + LANES <= n_cols; i += LANES)
            store(gate + i, silu(load(gate + i)) * load(up + i));
        if (i == n_cols) continue;
        vf y = silu(load_some(gate + i, n_cols - i, 0.0f)) * load_some(up + i, n_cols - i, 0.0f);
        store_some(gate + i, n_cols - i, y);
    }
}
