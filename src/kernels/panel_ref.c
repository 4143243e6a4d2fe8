/* panel_ref.c: unpacking and moving a panel's codes, and the product, in plain C. */
#include <stdlib.h>

#include "kernels_impl.h"

/* The entry at a place of a panel, kept in its format's range, as the product reads it. */
static uint8_t entry(const bal_panel *panel, int64_t at, int code)
{
    if (panel->format == BAL_PANEL_I8) return (uint8_t)(code + 128);
    int64_t block = at / BAL_BLOCK_CODES, row = at % BAL_BLOCK_CODES / 4;
    int factor = panel->factors[block / panel->factor_blocks * BAL_PANEL_ROWS + row];
    if (panel->format == BAL_PANEL_I4) return (uint8_t)(code * factor + 128);
    return (uint8_t)((bal_nf4_book[code] * factor + 64 + (128 << 7)) >> 7);
}

/* The code at a place: nibbles j and j + 128 of a block share a byte. */
static int code_at(const bal_panel *panel, int64_t at)
{
    if (panel->format == BAL_PANEL_I8) return panel->codes[at] - 128;
    int byte = panel->codes[at / BAL_BLOCK_CODES * 128 + at % 128];
    int four = at % BAL_BLOCK_CODES < 128 ? byte & 15 : byte >> 4;
    return panel->format == BAL_PANEL_I4 ? four - 8 : four;
}

/* z at a place, before the gate; negative is that of the panel's z, or of the other one. */
static int z_at(const bal_panel *panel, const uint8_t *negative, int64_t at)
{
    if (panel->z != NULL) return panel->z[at];
    if (panel->moves == NULL || (panel->moves[at / 8] >> at % 8 & 1) == 0) return 0;
    return (negative[at / 8] >> at % 8 & 1) != 0 ? -1 : 1;
}

void bal_move_panel_ref(const bal_panel *panel, uint8_t *plus, uint8_t *minus)
{
    static const int lowest[] = {-127, -7, 0}, highest[] = {127, 7, 15}; /* by format */
    int low = lowest[panel->format], high = highest[panel->format];
    for (int64_t at = 0; at < panel->n_blocks * BAL_BLOCK_CODES; ++at) {
        int code = code_at(panel, at), z = z_at(panel, panel->negative, at);
        int down = panel->other != NULL ? z_at(panel, panel->other, at) : -z;
        if (code - abs(z) < low || code + abs(z) > high) z = down = 0; /* the gate */
        plus[at] = entry(panel, at, code + z);
        if (minus != NULL) minus[at] = entry(panel, at, code + down);
    }
}

static void multiply_panel(const bal_weights_u8 *w, const bal_rows_i8 *x, bool adds, float *y,
                           int64_t y_stride)
{
    for (int64_t t = 0; t < x->n_rows; ++t) {
        uint32_t acc[BAL_PANEL_ROWS]; /* q of a row with NaN may wrap around */
        for (int r = 0; r < BAL_PANEL_ROWS; ++r) acc[r] = (uint32_t)(-128 * x->sum[t]);
        for (int64_t g = 0; g < w->n_blocks; ++g) {
            const int8_t *xs = x->q + t * x->stride + 4 * g;
            const uint8_t *ws = w->entries + g * BAL_BLOCK_CODES;
            for (int r = 0; r < BAL_PANEL_ROWS; ++r)
                acc[r] += (uint32_t)(xs[0] * ws[4 * r] + xs[1] * ws[4 * r + 1] +
                                     xs[2] * ws[4 * r + 2] + xs[3] * ws[4 * r + 3]);
        }
        float *to = y + t * y_stride;
        for (int64_t r = 0; r < w->n_rows; ++r) {
            float value = (float)(int32_t)acc[r] * (x->scale[t] * w->scale[r]);
            to[r] = adds ? to[r] + value : value;
        }
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

static int64_t dots(int64_t n)
{
    uint8_t entries[16 * BAL_BLOCK_CODES] = {0};
    int8_t q[64] = {0};
    float scale[BAL_PANEL_ROWS] = {0}, y[BAL_PANEL_ROWS];
    bal_weights_u8 w = {16, BAL_PANEL_ROWS, entries, scale, NULL, 0};
    bal_rows_i8 row = {1, 64, q, scale, (int32_t[]){0}};
    for (int64_t i = 0; i < n; ++i) product_i8(&w, &row, false, y, BAL_PANEL_ROWS);
    return n * 2 * BAL_PANEL_ROWS * 64;
}

void bal_panel_add_ref(bal_kernels *kernels)
{
    kernels->move_panel = bal_move_panel_ref;
    kernels->product_i8 = product_i8;
    kernels->dots = dots;
}
