/* rows.c: the order of the rows of q and k. Pair k of a head is rows (2k, 2k + 1) in adjacent order
 * and (k, k + head_dim / 2) in half-pair order; both rotate it by the same angle. */
#include <string.h>

#include "hub_impl.h"

bool bal_hub_rows_move(bal_hub_rows rows, const char *ours)
{
    return rows != BAL_HUB_ROWS_KEPT && (strstr(ours, ".self_attn.q_proj.") != NULL ||
                                         strstr(ours, ".self_attn.k_proj.") != NULL);
}

int64_t bal_hub_source_row(bal_hub_rows rows, int64_t head_dim, const char *ours, int64_t row)
{
    if (!bal_hub_rows_move(rows, ours)) return row;
    int64_t half = head_dim / 2, i = row % head_dim;
    int64_t from = rows == BAL_HUB_ROWS_HALVES ? (i < half ? 2 * i : 2 * (i - half) + 1)
                                               : i / 2 + i % 2 * half;
    return row - i + from;
}
