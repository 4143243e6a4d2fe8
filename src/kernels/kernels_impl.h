/* kernels_impl.h: the files of this room to each other. */
#ifndef BALLOT_KERNELS_IMPL_H
#define BALLOT_KERNELS_IMPL_H

#include "ballot/kernels.h"

void bal_kernels_add_ref(bal_kernels *kernels); /* complete but for the float entries */
void bal_kernels_add_avx2(bal_kernels *kernels);
void bal_kernels_add_avx512(bal_kernels *kernels);

/* Panels and their product. */
void bal_panel_add_ref(bal_kernels *kernels);
void bal_panel_add_avx2(bal_kernels *kernels);
void bal_panel_add_avx512(bal_kernels *kernels);
void bal_panel_add_amx(bal_kernels *kernels);
bool bal_amx_allowed(void); /* asks the system to let this process use tiles */

extern const int8_t bal_nf4_book[16];
void bal_move_panel_ref(const bal_panel *panel, uint8_t *plus, uint8_t *minus);
void bal_product_i8_avx512(const bal_weights_u8 *w, const bal_rows_i8 *x, bool adds, float *y,
                           int64_t y_stride);

/* Float entries: one source, lanes.h, built once per level. */
void bal_lanes_add_ref(bal_kernels *kernels);
void bal_lanes_add_avx2(bal_kernels *kernels);
void bal_lanes_add_avx512(bal_kernels *kernels);

/* Philox4x32-10: multipliers, and what is added to the key each round. */
#define PHILOX_M0 0xD2511F53u
#define PHILOX_M1 0xCD9E8D57u
#define PHILOX_W0 0x9E3779B9u
#define PHILOX_W1 0xBB67AE85u

/* Parity of x & y for the four low bits: how a Walsh sign is looked up, nibble by nibble. */
static inline void bal_walsh_tables(uint8_t slot, uint8_t low[16], uint8_t high[16])
{
    for (int nibble = 0; nibble < 16; ++nibble) { /* 0xFF: odd */
        low[nibble]  = (uint8_t)-__builtin_parity((unsigned)(slot & nibble));
        high[nibble] = (uint8_t)-__builtin_parity((unsigned)(slot >> 4 & nibble));
    }
}

#endif
