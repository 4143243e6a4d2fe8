/* lanes_swiglu.h: the gate of a feed-forward layer. */
#include "lanes.h"

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
