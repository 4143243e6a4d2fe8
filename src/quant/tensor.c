/* tensor.c: a tensor's codes, scales and carries; rounding to the lattice; file order. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ballot/quant.h"

#define MATRIX_ABSMAX_CODE 120   /* of 127: codes have room to move before the gate shuts */
#define VECTOR_ABSMAX_CODE 250   /* one probe step is 0.4 % of the absolute maximum */
#define GAIN_STEP          0.02f /* relative; what zoqo divides its learning rate by */
#define N_ELEMENTS_MAX     ((int64_t)1 << 31)
#define READ_BEHIND        4096 /* bytes behind a matrix that a kernel may read */

static int64_t code_index(const bal_tensor *tensor, int64_t row, int64_t col)
{
    if (tensor->role != BAL_MATRIX) return col;
    int64_t n_groups = (tensor->n_cols + 3) / 4;
    return (row / BAL_PANEL_ROWS * n_groups + col / 4) * BAL_BLOCK_CODES +
           row % BAL_PANEL_ROWS * 4 + col % 4;
}

bal_status bal_tensor_init(bal_tensor *tensor, const char *name, bal_role role, bal_format format,
                           int64_t n_rows, int64_t n_cols)
{
    assert(format == BAL_F32 || (format == BAL_I8) == (role == BAL_MATRIX));
    *tensor = (bal_tensor){.role = role, .format = format, .n_rows = n_rows, .n_cols = n_cols};
    if (n_rows < 1 || n_cols < 1 || n_rows > N_ELEMENTS_MAX / n_cols)
        return bal_fail(BAL_ERR_ARG, "%s: %lld x %lld elements; expected 1 to 2^31", name,
                        (long long)n_rows, (long long)n_cols);
    snprintf(tensor->name, sizeof tensor->name, "%s", name);
    if (format == BAL_F32) return BAL_OK;
    tensor->limit    = format == BAL_I8 || role == BAL_GAIN ? 127 : 32767;
    tensor->n_blocks = role == BAL_MATRIX
                           ? (n_rows + BAL_PANEL_ROWS - 1) / BAL_PANEL_ROWS * ((n_cols + 3) / 4)
                           : (n_cols + BAL_BLOCK_CODES - 1) / BAL_BLOCK_CODES;
    return BAL_OK;
}

/* Bytes of each part, so that the next one is aligned. */
static size_t codes_bytes(const bal_tensor *t)
{
    size_t n_codes = (size_t)t->n_blocks * BAL_BLOCK_CODES;
    if (t->format == BAL_F32) return ((size_t)bal_tensor_n(t) * sizeof(float) + 63) / 64 * 64;
    return t->format == BAL_I8 ? n_codes + READ_BEHIND : n_codes * sizeof(int16_t);
}
static size_t carry_bytes(const bal_tensor *t) { return (size_t)t->n_blocks * BAL_BLOCK_CODES; }
static size_t scale_bytes(const bal_tensor *t)
{
    return t->format == BAL_F32 ? 0 : ((size_t)t->n_rows * sizeof *t->scale + 63) / 64 * 64;
}

size_t bal_tensor_bytes(const bal_tensor *tensor, bool with_carry)
{
    return codes_bytes(tensor) + scale_bytes(tensor) + (with_carry ? carry_bytes(tensor) : 0);
}

void bal_tensor_attach(bal_tensor *tensor, bool with_carry, void *memory)
{
    assert((uintptr_t)memory % 64 == 0 && (tensor->format != BAL_F32 || !with_carry));
    char *at      = memory;
    tensor->codes = at;
    at += codes_bytes(tensor);
    tensor->scale = tensor->format == BAL_F32 ? NULL : (float *)(void *)at;
    at += scale_bytes(tensor);
    tensor->carry = with_carry ? (int8_t *)at : NULL;
}

void bal_tensor_zero(bal_tensor *tensor)
{
    int64_t n_rows = tensor->n_rows, n_cols = tensor->n_cols;
    int64_t n_codes = tensor->n_blocks * BAL_BLOCK_CODES;
    if (tensor->format == BAL_F32) {
        memset(tensor->codes, 0, (size_t)(n_rows * n_cols) * sizeof(float));
        return;
    }
    if (tensor->carry != NULL) memset(tensor->carry, 0, (size_t)n_codes);
    for (int64_t at = 0; at < n_codes; ++at) bal_tensor_put(tensor, at, -tensor->limit - 1);
    for (int64_t row = 0; row < n_rows; ++row) {
        tensor->scale[row] = tensor->role == BAL_GAIN ? GAIN_STEP : 1.0f;
        for (int64_t col = 0; col < n_cols; ++col)
            bal_tensor_put(tensor, code_index(tensor, row, col), 0);
    }
}

int64_t bal_tensor_n(const bal_tensor *tensor) { return tensor->n_rows * tensor->n_cols; }

bal_status bal_tensor_quantize(bal_tensor *tensor, const float *values)
{
    assert(tensor->role != BAL_GAIN);
    int64_t n = bal_tensor_n(tensor);
    for (int64_t i = 0; i < n; ++i)
        if (!isfinite(values[i]))
            return bal_fail(BAL_ERR_INPUT, "%s: element %lld is %g; expected a finite number",
                            tensor->name, (long long)i, (double)values[i]);
    if (tensor->format == BAL_F32) {
        memcpy(tensor->codes, values, (size_t)n * sizeof *values);
        return BAL_OK;
    }
    float top = tensor->role == BAL_MATRIX ? MATRIX_ABSMAX_CODE : VECTOR_ABSMAX_CODE;
    for (int64_t row = 0; row < tensor->n_rows; ++row) {
        const float *from   = values + row * tensor->n_cols;
        float        absmax = 0.0f;
        for (int64_t col = 0; col < tensor->n_cols; ++col) absmax = fmaxf(absmax, fabsf(from[col]));
        float scale = absmax / top;
        if (!(scale >= 1e-30f)) scale = absmax > 0.0f ? 1e-30f : 1.0f; /* subnormal rows are zero */
        tensor->scale[row] = scale;
        for (int64_t col = 0; col < tensor->n_cols; ++col) {
            float   steps = from[col] / scale;
            float   code  = rintf(steps);
            int64_t at    = code_index(tensor, row, col);
            bal_tensor_put(tensor, at, (int)code);
            if (tensor->carry !=
                NULL) /* 1/2 is not in the range of a carry: 127/256 stands for it */
                tensor->carry[at] = (int8_t)fminf(rintf(256.0f * (steps - code)), 127.0f);
        }
    }
    return BAL_OK;
}

void bal_tensor_dequantize(const bal_tensor *tensor, float *values)
{
    for (int64_t row = 0; row < tensor->n_rows; ++row)
        for (int64_t col = 0; col < tensor->n_cols; ++col) {
            int64_t i = row * tensor->n_cols + col;
            values[i] = tensor->format == BAL_F32
                            ? ((const float *)tensor->codes)[i]
                            : tensor->scale[row] *
                                  (float)bal_tensor_code(tensor, code_index(tensor, row, col));
        }
}

void bal_tensor_get_codes(const bal_tensor *tensor, void *row_major)
{
    for (int64_t row = 0; row < tensor->n_rows; ++row)
        for (int64_t col = 0; col < tensor->n_cols; ++col) {
            int64_t i    = row * tensor->n_cols + col;
            int     code = bal_tensor_code(tensor, code_index(tensor, row, col));
            if (tensor->format == BAL_I8)
                ((int8_t *)row_major)[i] = (int8_t)code;
            else
                ((int16_t *)row_major)[i] = (int16_t)code;
        }
}

bal_status bal_tensor_set_codes(bal_tensor *tensor, const void *row_major)
{
    for (int64_t row = 0; row < tensor->n_rows; ++row)
        for (int64_t col = 0; col < tensor->n_cols; ++col) {
            int64_t i    = row * tensor->n_cols + col;
            int     code = tensor->format == BAL_I8 ? ((const int8_t *)row_major)[i]
                                                    : ((const int16_t *)row_major)[i];
            if (abs(code) > tensor->limit)
                return bal_fail(BAL_ERR_INPUT, "%s: code %lld is %d; expected -%d to %d",
                                tensor->name, (long long)i, code, tensor->limit, tensor->limit);
            bal_tensor_put(tensor, code_index(tensor, row, col), code);
        }
    return BAL_OK;
}

void bal_tensor_get_carry(const bal_tensor *tensor, int8_t *row_major)
{
    for (int64_t row = 0; row < tensor->n_rows; ++row)
        for (int64_t col = 0; col < tensor->n_cols; ++col)
            row_major[row * tensor->n_cols + col] = tensor->carry[code_index(tensor, row, col)];
}

void bal_tensor_set_carry(bal_tensor *tensor, const int8_t *row_major)
{
    for (int64_t row = 0; row < tensor->n_rows; ++row)
        for (int64_t col = 0; col < tensor->n_cols; ++col)
            tensor->carry[code_index(tensor, row, col)] = row_major[row * tensor->n_cols + col];
}

/* Hash of a block of codes as int8_t or int16_t. */
static uint64_t hash_codes(const bal_tensor *tensor, int64_t block, uint64_t seed)
{
    const uint8_t *bytes = tensor->codes;
    uint8_t        codes[BAL_BLOCK_CODES];
    if (tensor->format == BAL_I16)
        return bal_hash(bytes + 2 * block * BAL_BLOCK_CODES, 2 * BAL_BLOCK_CODES, seed);
    for (int i = 0; i < BAL_BLOCK_CODES; ++i) codes[i] = bytes[block * BAL_BLOCK_CODES + i] ^ 128;
    return bal_hash(codes, BAL_BLOCK_CODES, seed);
}

uint64_t bal_tensor_fingerprint(const bal_tensor *tensor, int index)
{
    return bal_tensor_fingerprint_part(tensor, index, 0, 1);
}

uint64_t bal_tensor_fingerprint_part(const bal_tensor *tensor, int index, int part, int n_parts)
{
    uint64_t seed = (uint64_t)index << 40, sum = 0;
    if (part == 0 && tensor->format == BAL_F32)
        sum = bal_hash(tensor->codes, (size_t)bal_tensor_n(tensor) * sizeof(float), seed);
    else if (part == 0)
        sum = bal_hash(tensor->scale, (size_t)tensor->n_rows * sizeof *tensor->scale, ~seed);
    int64_t block, end;
    for (bal_tensor_slice(tensor, part, n_parts, &block, &end); block < end; ++block) {
        uint64_t place = seed + 2 * (uint64_t)block;
        sum += hash_codes(tensor, block, place);
        if (tensor->carry != NULL)
            sum += bal_hash(tensor->carry + block * BAL_BLOCK_CODES, BAL_BLOCK_CODES, place + 1);
    }
    return sum;
}
