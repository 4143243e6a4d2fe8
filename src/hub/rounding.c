/* rounding.c: values to a tensor of a model, and what that changed. */
#include <math.h>
#include <stdlib.h>

#include "ballot/hub.h"

/* Add the changes of some rows to those of a tensor: sums of squares, until it is complete. */
static bal_status compare(const bal_tensor *rows, const float *values, bal_rounding *r)
{
    float *row = bal_alloc((size_t)rows->n_cols, sizeof *row);
    if (row == NULL) return bal_fail(BAL_ERR_MEMORY, "%s: no memory to compare it", rows->name);
    for (int64_t i = 0; i < rows->n_rows; ++i, values += rows->n_cols) {
        bal_tensor_dequantize_row(rows, i, row);
        for (int64_t col = 0; col < rows->n_cols; ++col) {
            double error = (double)row[col] - (double)values[col];
            r->rms += (double)values[col] * (double)values[col];
            r->error += error * error;
            r->greatest = fmax(r->greatest, fabs(error));
        }
    }
    free(row);
    return BAL_OK;
}

bal_status bal_hub_round(bal_model *model, const bal_piece *piece, float *values,
                         const bal_fill *fill)
{
    bal_tensor *tensor = &bal_model_tensors(model)->at[piece->index];
    bal_tensor rows = bal_tensor_rows(tensor, piece->first, piece->n_rows);
    int8_t *leftover = bal_states_leftover(fill->states, &rows);
    bal_balance *balance = fill->balance;
    const float *weights = balance != NULL ? bal_balance_weights(balance, piece->index) : NULL;
    if (balance != NULL) bal_balance_scale(balance, piece, &rows, values);
    BAL_TRY(bal_model_formats(model)->rounding != BAL_ROUND_NEAREST
                ? bal_tensor_fit(&rows, values, weights, leftover)
                : bal_tensor_quantize(&rows, values, leftover));
    if (balance != NULL) bal_balance_settle(balance, piece->index, &rows, values, leftover);
    bal_rounding *rounding = fill->rounding != NULL ? &fill->rounding[piece->index] : NULL;
    if (rounding != NULL) BAL_TRY(compare(&rows, values, rounding));
    if (piece->first + piece->n_rows < tensor->n_rows) return BAL_OK;
    bal_tensor_level(tensor);
    if (rounding == NULL) return BAL_OK;
    rounding->rms = sqrt(rounding->rms / (double)bal_tensor_n(tensor));
    rounding->error = sqrt(rounding->error / (double)bal_tensor_n(tensor));
    return BAL_OK;
}
