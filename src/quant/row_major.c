/* row_major.c: weights, codes, factors and bytes beside codes, in the row-major order of files. */
#include "quant_impl.h"

void bal_tensor_dequantize_row(const bal_tensor *tensor, int64_t row, float *values)
{
    const float *floats = tensor->codes;
    for (int64_t col = 0; col < tensor->n_cols; ++col) {
        if (tensor->format == BAL_F32) {
            values[col] = floats[row * tensor->n_cols + col];
            continue;
        }
        int factor = tensor->group == 0
                         ? 1
                         : tensor->factors[bal_tensor_factor_at(tensor, row, col / tensor->group)];
        int code = bal_tensor_code(tensor, bal_code_index(tensor, row, col));
        values[col] = tensor->scale[row] * (float)bal_code_entry(tensor->format, code, factor);
    }
}

void bal_tensor_dequantize(const bal_tensor *tensor, float *values)
{
    for (int64_t row = 0; row < tensor->n_rows; ++row)
        bal_tensor_dequantize_row(tensor, row, values + row * tensor->n_cols);
}

void bal_tensor_get_codes(const bal_tensor *tensor, void *row_major)
{
    for (int64_t row = 0; row < tensor->n_rows; ++row)
        for (int64_t col = 0; col < tensor->n_cols; ++col) {
            int64_t i = row * tensor->n_cols + col;
            int code = bal_tensor_code(tensor, bal_code_index(tensor, row, col));
            if (tensor->format == BAL_I16)
                ((int16_t *)row_major)[i] = (int16_t)code;
            else
                ((int8_t *)row_major)[i] = (int8_t)code;
        }
}

bal_status bal_tensor_set_codes(bal_tensor *tensor, const void *row_major)
{
    for (int64_t row = 0; row < tensor->n_rows; ++row)
        for (int64_t col = 0; col < tensor->n_cols; ++col) {
            int64_t i = row * tensor->n_cols + col;
            int code = tensor->format == BAL_I16 ? ((const int16_t *)row_major)[i]
                                                 : ((const int8_t *)row_major)[i];
            if (code < tensor->low || code > tensor->high)
                return bal_fail(BAL_ERR_INPUT, "%s: code %lld is %d; expected %d to %d",
                                tensor->name, (long long)i, code, tensor->low, tensor->high);
            bal_tensor_put(tensor, bal_code_index(tensor, row, col), code);
        }
    return BAL_OK;
}

void bal_tensor_get_factors(const bal_tensor *tensor, uint8_t *row_major)
{
    int64_t n_groups = bal_tensor_n_groups(tensor);
    for (int64_t row = 0; row < tensor->n_rows; ++row)
        for (int64_t group = 0; group < n_groups; ++group)
            row_major[row * n_groups + group] =
                tensor->factors[bal_tensor_factor_at(tensor, row, group)];
}

bal_status bal_tensor_set_factors(bal_tensor *tensor, const uint8_t *row_major)
{
    int64_t n_groups = bal_tensor_n_groups(tensor);
    int max = bal_factor_max(tensor->format);
    for (int64_t row = 0; row < tensor->n_rows; ++row)
        for (int64_t group = 0; group < n_groups; ++group) {
            int factor = row_major[row * n_groups + group];
            if (factor < 1 || factor > max)
                return bal_fail(BAL_ERR_INPUT,
                                "%s: the factor of group %lld of row %lld is %d; expected 1 to %d",
                                tensor->name, (long long)group, (long long)row, factor, max);
            tensor->factors[bal_tensor_factor_at(tensor, row, group)] = (uint8_t)factor;
        }
    return BAL_OK;
}

void bal_tensor_get_bytes(const bal_tensor *tensor, const int8_t *bytes, int8_t *row_major)
{
    for (int64_t row = 0; row < tensor->n_rows; ++row)
        for (int64_t col = 0; col < tensor->n_cols; ++col)
            row_major[row * tensor->n_cols + col] = bytes[bal_code_index(tensor, row, col)];
}

void bal_tensor_set_bytes(const bal_tensor *tensor, const int8_t *row_major, int8_t *bytes)
{
    for (int64_t row = 0; row < tensor->n_rows; ++row)
        for (int64_t col = 0; col < tensor->n_cols; ++col)
            bytes[bal_code_index(tensor, row, col)] = row_major[row * tensor->n_cols + col];
}

void bal_tensor_get_floats(const bal_tensor *tensor, const float *floats, float *row_major)
{
    for (int64_t row = 0; row < tensor->n_rows; ++row)
        for (int64_t col = 0; col < tensor->n_cols; ++col)
            row_major[row * tensor->n_cols + col] = floats[bal_code_index(tensor, row, col)];
}

void bal_tensor_set_floats(const bal_tensor *tensor, const float *row_major, float *floats)
{
    for (int64_t row = 0; row < tensor->n_rows; ++row)
        for (int64_t col = 0; col < tensor->n_cols; ++col)
            floats[bal_code_index(tensor, row, col)] = row_major[row * tensor->n_cols + col];
}
