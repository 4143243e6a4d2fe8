/* rounding.c: values to a tensor of a model, and what that changed. */
#include <math.h>

#include "ballot/hub.h"

bal_status bal_hub_round(bal_model *model, int index, float *values, bal_balance *balance,
                         const bal_states *states)
{
    bal_tensor *tensor = &bal_model_tensors(model)->at[index];
    int8_t *leftover = bal_states_leftover(states, tensor);
    if (balance != NULL) bal_balance_scale(balance, index, tensor, values);
    BAL_TRY(bal_model_formats(model)->least_squares
                ? bal_tensor_fit(tensor, values,
                                 balance != NULL ? bal_balance_weights(balance, index) : NULL,
                                 leftover)
                : bal_tensor_quantize(tensor, values, leftover));
    if (balance != NULL) bal_balance_settle(balance, index, tensor, values, leftover);
    return BAL_OK;
}

bal_rounding bal_rounding_of(const bal_tensor *tensor, const float *values, float *row)
{
    bal_rounding r = {0};
    int64_t n = bal_tensor_n(tensor);
    for (int64_t i = 0; i < tensor->n_rows; ++i, values += tensor->n_cols) {
        bal_tensor_dequantize_row(tensor, i, row);
        for (int64_t col = 0; col < tensor->n_cols; ++col) {
            double error = (double)row[col] - (double)values[col];
            r.rms += (double)values[col] * (double)values[col];
            r.error += error * error;
            r.greatest = fmax(r.greatest, fabs(error));
        }
    }
    r.rms = sqrt(r.rms / (double)n);
    r.error = sqrt(r.error / (double)n);
    return r;
}
