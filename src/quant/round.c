/* round.c: float values to the nearest weights of a lattice, and what rounding leaves over. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "quant_impl.h"

#define MATRIX_ABSMAX_CODE 120 /* of 127: codes have room to move before the gate shuts */
#define VECTOR_ABSMAX_CODE 250 /* one probe step is 0.4 % of the absolute maximum */

#define NOTHING 1e-28f /* rows of smaller values are rows of zeros */

float bal_absmax(const float *values, int64_t n)
{
    float absmax = 0.0f;
    for (int64_t i = 0; i < n; ++i) absmax = fmaxf(absmax, fabsf(values[i]));
    return absmax;
}

static void fill_scales(bal_tensor *tensor, const float *values)
{
    float top = tensor->role != BAL_MATRIX ? VECTOR_ABSMAX_CODE
                : tensor->format == BAL_I8 ? MATRIX_ABSMAX_CODE
                                           : BAL_TOP_ENTRY;
    for (int64_t row = 0; row < tensor->n_rows; ++row) {
        float absmax = bal_absmax(values + row * tensor->n_cols, tensor->n_cols);
        tensor->scale[row] = (absmax >= NOTHING ? absmax : 1.0f) / top;
    }
}

/* The largest value of any other row has a code. */
static bool is_zero(const bal_tensor *tensor, int64_t row)
{
    int zero = tensor->format == BAL_NF4 ? 7 : 0;
    for (int64_t col = 0; col < tensor->n_cols; ++col)
        if (bal_tensor_code(tensor, bal_code_index(tensor, row, col)) != zero) return false;
    return true;
}

void bal_tensor_level(bal_tensor *tensor)
{
    double sum = 0.0;
    int64_t n = 0;
    if (tensor->role != BAL_MATRIX || tensor->format == BAL_F32) return;
    for (int64_t row = 0; row < tensor->n_rows; ++row)
        if (!is_zero(tensor, row)) sum += (double)tensor->scale[row], ++n;
    if (n == tensor->n_rows || n == 0) return;
    for (int64_t row = 0; row < tensor->n_rows; ++row)
        if (is_zero(tensor, row)) tensor->scale[row] = (float)(sum / (double)n);
}

/* So many code steps in 1/256; 1/2 is not in the range of a byte: 127/256 stands for it. */
static int8_t leftover_of(float steps)
{
    return (int8_t)fmaxf(fminf(rintf(256.0f * steps), 127.0f), -128.0f);
}

/* The code nearest to x, which is in units of entries, and what is left. */
static int round_value(bal_format format, int factor, const float entries[16], float x,
                       int8_t *left)
{
    if (format != BAL_NF4) {
        float steps = format == BAL_I4 ? x / (float)factor : x, code = rintf(steps);
        if (format == BAL_I4) code = fmaxf(fminf(code, 7.0f), -7.0f);
        *left = leftover_of(steps - code);
        return (int)code;
    }
    int low = 0; /* the entry at x or below, and the share of the way to the next one */
    for (int code = 1; code < 15; ++code) low += entries[code] <= x;
    float apart = entries[low + 1] - entries[low];
    float share = apart > 0.0f ? (x - entries[low]) / apart : 0.0f;
    share = fmaxf(fminf(share, 1.0f), 0.0f);
    int code = low + (share >= 0.5f);
    *left = leftover_of(share - (float)(code - low));
    return code;
}

static void fill_entries(bal_format format, int factor, float entries[16])
{
    for (int code = 0; code < 16; ++code) /* only NF4 looks them up */
        entries[code] = (float)bal_code_entry(format, code, factor);
}

/* Squared error of a group with a factor, in units of entries. */
static double group_error(bal_format format, int factor, const float *values, int64_t n,
                          float scale)
{
    float entries[16];
    double sum = 0.0;
    fill_entries(format, factor, entries);
    for (int64_t i = 0; i < n; ++i) {
        int8_t left;
        float x = values[i] / scale;
        int code = round_value(format, factor, entries, x, &left);
        double error = (double)x - bal_code_entry(format, code, factor);
        sum += error * error;
    }
    return sum;
}

static int best_factor(bal_format format, const float *values, int64_t n, float scale)
{
    int max = bal_factor_max(format);
    float exact = bal_absmax(values, n) / scale * ((float)max / BAL_TOP_ENTRY);
    int low = exact < 1.0f ? 1 : exact < (float)max ? (int)exact : max;
    int high = low < max && (float)low < exact ? low + 1 : low;
    if (high == low) return low;
    return group_error(format, high, values, n, scale) < group_error(format, low, values, n, scale)
               ? high
               : low;
}

/* Columns first .. first + n - 1 of a row. */
static void round_group(bal_tensor *tensor, const float *values, int8_t *leftover, int64_t row,
                        int64_t first, int64_t n, int factor)
{
    float entries[16];
    fill_entries(tensor->format, factor, entries);
    for (int64_t i = 0; i < n; ++i) {
        int8_t left;
        int64_t at = bal_code_index(tensor, row, first + i);
        int code =
            round_value(tensor->format, factor, entries, values[i] / tensor->scale[row], &left);
        bal_tensor_put(tensor, at, code);
        if (leftover != NULL) leftover[at] = left;
    }
}

/* A row of int8, 16 columns at a time: 4 blocks, in each of which it has 4 codes. */
static void round_row_i8(bal_tensor *tensor, const float *values, int8_t *leftover, int64_t row)
{
    uint8_t *codes = tensor->codes;
    for (int64_t first = 0; first < tensor->n_cols; first += LANES) {
        int64_t n = tensor->n_cols - first < LANES ? tensor->n_cols - first : LANES;
        lanes steps = load_lanes(values + first, n) / tensor->scale[row];
        lanes code = clip(round_lanes(clip(steps, -256.0f, 256.0f)), -127.0f, 127.0f);
        lanes left =
            clip(round_lanes(clip(256.0f * (steps - code), -256.0f, 256.0f)), -128.0f, 127.0f);
        for (int64_t i = 0; i < n; ++i) {
            int64_t at = bal_code_index(tensor, row, first + i);
            codes[at] = (uint8_t)((int)code[i] + 128);
            if (leftover != NULL) leftover[at] = (int8_t)left[i];
        }
    }
}

static void fill_factors(bal_tensor *tensor, const float *values)
{
    int64_t n_cols = tensor->n_cols, group = tensor->group;
    for (int64_t row = 0; row < tensor->n_rows; ++row, values += n_cols)
        for (int64_t first = 0; first < n_cols; first += group) {
            int64_t n = n_cols - first < group ? n_cols - first : group;
            int factor = best_factor(tensor->format, values + first, n, tensor->scale[row]);
            tensor->factors[bal_tensor_factor_at(tensor, row, first / group)] = (uint8_t)factor;
        }
}

void bal_round_scales(bal_tensor *tensor, const float *values)
{
    fill_scales(tensor, values);
    if (tensor->group > 0) fill_factors(tensor, values);
}

void bal_round_pack(bal_tensor *tensor, const float *values, int8_t *leftover)
{
    int64_t n_cols = tensor->n_cols, step = tensor->group > 0 ? tensor->group : n_cols;
    for (int64_t row = 0; row < tensor->n_rows && tensor->format == BAL_I8; ++row)
        round_row_i8(tensor, values + row * n_cols, leftover, row);
    for (int64_t row = 0; row < tensor->n_rows && tensor->format != BAL_I8; ++row)
        for (int64_t first = 0; first < n_cols; first += step) {
            int64_t here = n_cols - first < step ? n_cols - first : step;
            int factor = tensor->group > 0
                             ? tensor->factors[bal_tensor_factor_at(tensor, row, first / step)]
                             : 1;
            round_group(tensor, values + row * n_cols + first, leftover, row, first, here, factor);
        }
}

bal_status bal_round_check(const bal_tensor *tensor, const float *values)
{
    int64_t n = bal_tensor_n(tensor);
    for (int64_t i = 0; i < n; ++i)
        if (!isfinite(values[i]))
            return bal_fail(BAL_ERR_INPUT, "%s: element %lld is %g; expected a finite number",
                            tensor->name, (long long)i, (double)values[i]);
    return BAL_OK;
}

bal_status bal_tensor_quantize(bal_tensor *tensor, const float *values, int8_t *leftover)
{
    assert(tensor->role != BAL_GAIN);
    BAL_TRY(bal_round_check(tensor, values));
    if (tensor->format == BAL_F32) {
        memcpy(tensor->codes, values, (size_t)bal_tensor_n(tensor) * sizeof *values);
        return BAL_OK;
    }
    bal_round_scales(tensor, values);
    bal_round_pack(tensor, values, leftover);
    bal_tensor_level(tensor);
    return BAL_OK;
}
