/* kernels_ref.c: what is right, in plain C. */
#include <stdlib.h>
#include <string.h>

#include "kernels_impl.h"

static void panel_sums(int64_t n_groups, const int8_t *codes, int32_t *sums)
{
    memset(sums, 0, BAL_PANEL_ROWS * sizeof *sums);
    for (int64_t i = 0; i < n_groups * BAL_BLOCK_CODES; ++i)
        sums[i % BAL_BLOCK_CODES / 4] += codes[i];
}

static void perturb_panel(int64_t n_groups, const int8_t *codes, const int8_t *z, int8_t *plus,
                          int8_t *minus, int32_t *plus_sums, int32_t *minus_sums)
{
    for (int64_t i = 0; i < n_groups * BAL_BLOCK_CODES; ++i) {
        int step = abs(codes[i]) + abs(z[i]) <= 127 ? z[i] : 0; /* the gate */
        plus[i]  = (int8_t)(codes[i] + step);
        minus[i] = (int8_t)(codes[i] - step);
    }
    panel_sums(n_groups, plus, plus_sums);
    panel_sums(n_groups, minus, minus_sums);
}

static void product_i8(int64_t n_groups, const int8_t *panel, const int32_t *sums,
                       const float *row_scale, int64_t n_rows, int64_t n_tokens, const uint8_t *x,
                       int64_t x_stride, const float *x_scale, float *y, int64_t y_stride)
{
    for (int64_t t = 0; t < n_tokens; ++t) {
        int32_t acc[BAL_PANEL_ROWS];
        for (int r = 0; r < BAL_PANEL_ROWS; ++r) acc[r] = -128 * sums[r];
        for (int64_t g = 0; g < n_groups; ++g) {
            const uint8_t *xs = x + t * x_stride + 4 * g;
            const int8_t  *ws = panel + g * BAL_BLOCK_CODES;
            for (int r = 0; r < BAL_PANEL_ROWS; ++r)
                acc[r] += xs[0] * ws[4 * r] + xs[1] * ws[4 * r + 1] + xs[2] * ws[4 * r + 2] +
                          xs[3] * ws[4 * r + 3];
        }
        for (int64_t r = 0; r < n_rows; ++r)
            y[t * y_stride + r] = (float)acc[r] * (x_scale[t] * row_scale[r]);
    }
}

void bal_kernels_add_ref(bal_kernels *kernels)
{
    kernels->panel_sums    = panel_sums;
    kernels->perturb_panel = perturb_panel;
    kernels->product_i8    = product_i8;
}
