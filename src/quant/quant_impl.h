/* quant_impl.h: the files of this room to each other. */
#ifndef BALLOT_QUANT_IMPL_H
#define BALLOT_QUANT_IMPL_H

#include "ballot/quant.h"

/* Place of a code in the tensor's own order. */
static inline int64_t bal_code_index(const bal_tensor *tensor, int64_t row, int64_t col)
{
    if (tensor->role != BAL_MATRIX) return col;
    int64_t n_blocks = (tensor->n_cols + 3) / 4;
    return (row / BAL_PANEL_ROWS * n_blocks + col / 4) * BAL_BLOCK_CODES +
           row % BAL_PANEL_ROWS * 4 + col % 4;
}
/* The integer that times the scale is the weight of a code. */
static inline int bal_code_entry(bal_format format, int code, int factor)
{
    if (format == BAL_I4) return code * factor;
    return format == BAL_NF4 ? (bal_nf4_book[code] * factor + 64) >> 7 : code;
}

/* Largest factor of a format, 0: it has none. */
static inline int bal_factor_max(bal_format format)
{
    return format == BAL_I4 ? 18 : format == BAL_NF4 ? 127 : 0;
}

#endif
