/* kernels_impl.h: what the files of this room use of each other. */
#ifndef BALLOT_KERNELS_IMPL_H
#define BALLOT_KERNELS_IMPL_H

#include "ballot/kernels.h"

/* Panels and their product. */
void bal_panel_add_ref(bal_kernels *kernels);
void bal_panel_add_avx2(bal_kernels *kernels);
void bal_panel_add_avx512(bal_kernels *kernels);
void bal_panel_add_amx(bal_kernels *kernels);
bool bal_amx_allowed(void); /* asks the system for permission to use tiles */

void bal_move_panel_ref(const bal_panel *panel, uint8_t *plus, uint8_t *minus);
/* The panel that starts at a row. */
static inline bal_weights_u8 bal_panel_of(const bal_weights_u8 *w, int64_t row)
{
    int64_t left = w->n_rows - row;
    bal_weights_u8 panel = *w;
    panel.n_rows = left < BAL_PANEL_ROWS ? left : BAL_PANEL_ROWS;
    panel.entries = w->entries + row * 4 * w->n_blocks;
    panel.scale = w->scale + row;
    return panel;
}
void bal_product_i8_avx512(const bal_weights_u8 *w, const bal_rows_i8 *x, bool adds, float *y,
                           int64_t y_stride);

/* Random streams, directions, tallies, updates; bits are counted by one source, planes.h. */
void bal_votes_add_ref(bal_kernels *kernels);
void bal_votes_add_avx2(bal_kernels *kernels);
void bal_votes_add_avx512(bal_kernels *kernels);
void bal_planes_add_ref(bal_kernels *kernels);
void bal_planes_add_avx2(bal_kernels *kernels);
void bal_planes_add_avx512(bal_kernels *kernels);

/* Float kernels: one source, lanes_add.h, built once per level. */
void bal_lanes_add_ref(bal_kernels *kernels);
void bal_lanes_add_avx2(bal_kernels *kernels);
void bal_lanes_add_avx512(bal_kernels *kernels);

#endif
