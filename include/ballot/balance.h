/* include/ballot/balance.h: what a text makes the matrices of a model read, and how to round them
 * for it. Knows columns; knows nothing of files or formats.
 *
 * A matrix W reads rows x; m_c is the mean of x_c^2 over the text. Where a norm, or the rows of a
 * matrix before, make x_c, their part c is divided by s_c, and column c of W is multiplied by it:
 * the product is the same, but the columns of x are more alike, and their int8 codes finer. With
 * s_c = m_c^(1/4) half of the difference stays in x, half goes to W. Sources: Xiao et al. 2022,
 * SmoothQuant, arXiv 2211.10438; Lin et al. 2023, AWQ, arXiv 2306.00978.
 *
 * An error in column c of W then counts m_c / s_c^2. */
#ifndef BALLOT_BALANCE_H
#define BALLOT_BALANCE_H

#include "ballot/batch.h"
#include "ballot/model.h"

BAL_C_BEGIN

typedef struct bal_balance bal_balance; /* of the tensors of a model of integers, by index */

/** Make one that knows no text: nothing is scaled. The model may be outlined alone; it is not
 *  needed later. Other models of its shape have the same tensors. Local.
 *  @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_balance_create(const bal_model *model, bal_balance **balance);
/** Free it and set the pointer to NULL; NULL is fine. Local. */
void bal_balance_destroy(bal_balance **balance);

/** Add what matrices read when a model reads a batch. The same bits at every instruction set; sums
 *  run in the order of batches. Local. @param forward  of a model of integers of that shape
 *  @return BAL_OK; errors of bal_forward_losses. */
bal_status bal_balance_read(bal_balance *balance, bal_forward *forward, const bal_batch *batch);
/** True if it has read a text. Local. */
bool bal_balance_is_set(const bal_balance *balance);

/* A model is rounded piece by piece, in order: scale the values, round them, settle. */

/** Scale the values of a piece, row-major. Local.
 *  @param rows  the piece as a tensor (bal_tensor_rows) */
void bal_balance_scale(const bal_balance *balance, const bal_piece *piece, const bal_tensor *rows,
                       float *values);
/** What a squared error in each column counts, [n_cols]; NULL: all alike. Local. */
const float *bal_balance_weights(const bal_balance *balance, int index);
/** Let the matrices after a norm make up for what rounding changed in it: their columns are
 *  multiplied by what is left exactly. A weight that became 0 gets code 1 or -1 instead. Does
 *  nothing for other tensors. Local.
 *  @param values    as scaled
 *  @param leftover  of the tensor, or NULL */
void bal_balance_settle(bal_balance *balance, int index, bal_tensor *tensor, const float *values,
                        int8_t *leftover);

BAL_C_END

#endif
