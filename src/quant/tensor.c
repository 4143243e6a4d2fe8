/* tensor.c: where a tensor's codes and scales stand in memory, and their fingerprint. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "quant_impl.h"

#define GAIN_STEP 0.02f /* relative; what zoqo divides its learning rate by */
#define N_ELEMENTS_MAX ((int64_t)1 << 31)
#define READ_PAST 4096 /* bytes after a matrix that a kernel may read */

const int8_t bal_nf4_book[16] = {-127, -88, -67, -50, -36, -23, -12, 0,
                                 10,   20,  31,  43,  56,  71,  92,  127};

static const struct {
    const char *name;
    int low, high;
} formats[BAL_N_FORMATS] = {[BAL_F32] = {"f32", 0, 0},
                            [BAL_I8] = {"i8", -127, 127},
                            [BAL_I16] = {"i16", -32767, 32767},
                            [BAL_I4] = {"i4", -7, 7},
                            [BAL_NF4] = {"nf4", 0, 15}};

const char *bal_format_name(bal_format format) { return formats[format].name; }

bool bal_format_parse(const char *name, bal_format *format)
{
    for (int i = 0; i < BAL_N_FORMATS; ++i)
        if (strcmp(name, formats[i].name) == 0) {
            *format = (bal_format)i;
            return true;
        }
    return false;
}

bal_status bal_tensor_init(bal_tensor *tensor, const char *name, bal_role role, bal_format format,
                           int64_t n_rows, int64_t n_cols)
{
    assert(format == BAL_F32 || (format == BAL_I16) == (role != BAL_MATRIX));
    *tensor = (bal_tensor){.role = role, .format = format, .n_rows = n_rows, .n_cols = n_cols};
    if (n_rows < 1 || n_cols < 1 || n_rows > N_ELEMENTS_MAX / n_cols)
        return bal_fail(BAL_ERR_ARG, "%s: %lld x %lld elements; expected 1 to 2^31", name,
                        (long long)n_rows, (long long)n_cols);
    snprintf(tensor->name, sizeof tensor->name, "%s", name);
    if (format == BAL_F32) return BAL_OK;
    tensor->low = role == BAL_GAIN ? -127 : formats[format].low;
    tensor->high = role == BAL_GAIN ? 127 : formats[format].high;
    tensor->group = bal_factor_max(format) > 0 ? BAL_GROUP_DEFAULT : 0;
    tensor->n_blocks = role == BAL_MATRIX
                           ? (n_rows + BAL_PANEL_ROWS - 1) / BAL_PANEL_ROWS * ((n_cols + 3) / 4)
                           : (n_cols + BAL_BLOCK_CODES - 1) / BAL_BLOCK_CODES;
    return BAL_OK;
}

int64_t bal_tensor_n(const bal_tensor *tensor) { return tensor->n_rows * tensor->n_cols; }

static size_t round_up(size_t n_bytes) { return (n_bytes + 63) / 64 * 64; }

/* Bytes of each part, so that the next one is aligned. */
static size_t codes_bytes(const bal_tensor *t)
{
    size_t n_codes = (size_t)t->n_blocks * BAL_BLOCK_CODES;
    if (t->format == BAL_F32) return round_up((size_t)bal_tensor_n(t) * sizeof(float));
    if (t->format == BAL_I16) return n_codes * sizeof(int16_t);
    return (bal_format_is_nibbles(t->format) ? n_codes / 2 : n_codes) + READ_PAST;
}
static size_t scale_bytes(const bal_tensor *t)
{
    return t->format == BAL_F32 ? 0 : round_up((size_t)t->n_rows * sizeof *t->scale);
}
static size_t factor_bytes(const bal_tensor *t)
{
    size_t n_panels = (size_t)(t->n_rows + BAL_PANEL_ROWS - 1) / BAL_PANEL_ROWS;
    return n_panels * (size_t)bal_tensor_n_groups(t) * BAL_PANEL_ROWS;
}

size_t bal_tensor_scale_bytes(const bal_tensor *tensor)
{
    return scale_bytes(tensor) + factor_bytes(tensor);
}

size_t bal_tensor_bytes(const bal_tensor *tensor)
{
    return codes_bytes(tensor) + scale_bytes(tensor) + factor_bytes(tensor);
}

void bal_tensor_attach(bal_tensor *tensor, void *memory)
{
    assert((uintptr_t)memory % 64 == 0);
    char *at = memory;
    tensor->codes = at;
    at += codes_bytes(tensor);
    tensor->scale = tensor->format == BAL_F32 ? NULL : (float *)(void *)at;
    at += scale_bytes(tensor);
    tensor->factors = tensor->group > 0 ? (uint8_t *)at : NULL;
}

bal_tensor bal_tensor_rows(const bal_tensor *tensor, int64_t first, int64_t n_rows)
{
    bal_tensor rows = *tensor;
    if (n_rows == tensor->n_rows) return rows; /* a vector, too */
    assert(tensor->role == BAL_MATRIX && first % BAL_PANEL_ROWS == 0);
    rows.n_rows = n_rows;
    if (tensor->format == BAL_F32) {
        rows.codes = (float *)tensor->codes + first * tensor->n_cols;
        return rows;
    }
    int64_t panel_blocks = (tensor->n_cols + 3) / 4, before = first / BAL_PANEL_ROWS * panel_blocks;
    int64_t block_bytes = BAL_BLOCK_CODES / (bal_format_is_nibbles(tensor->format) ? 2 : 1);
    rows.n_blocks = (n_rows + BAL_PANEL_ROWS - 1) / BAL_PANEL_ROWS * panel_blocks;
    rows.first_block += before;
    rows.codes = (uint8_t *)tensor->codes + before * block_bytes;
    rows.scale = tensor->scale + first;
    if (tensor->group > 0) rows.factors = tensor->factors + bal_tensor_factor_at(tensor, first, 0);
    return rows;
}

void bal_tensor_zero(bal_tensor *tensor)
{
    int64_t n_rows = tensor->n_rows, n_cols = tensor->n_cols;
    int64_t n_codes = tensor->n_blocks * BAL_BLOCK_CODES;
    int padding = tensor->format == BAL_NF4 ? 0 : tensor->low - 1;
    int zero = tensor->format == BAL_NF4 ? 7 : 0;
    if (tensor->format == BAL_F32) {
        memset(tensor->codes, 0, (size_t)(n_rows * n_cols) * sizeof(float));
        return;
    }
    if (tensor->factors != NULL) memset(tensor->factors, 1, factor_bytes(tensor));
    for (int64_t at = 0; at < n_codes; ++at) bal_tensor_put(tensor, at, padding);
    for (int64_t row = 0; row < n_rows; ++row) {
        tensor->scale[row] = tensor->role == BAL_GAIN ? GAIN_STEP : 1.0f;
        for (int64_t col = 0; col < n_cols; ++col)
            bal_tensor_put(tensor, bal_code_index(tensor, row, col), zero);
    }
}

void bal_tensor_spread(const bal_tensor *tensor, int64_t first, int64_t n_blocks, uint8_t *bytes)
{
    const uint8_t *from = (const uint8_t *)tensor->codes + first * (BAL_BLOCK_CODES / 2);
    uint8_t base = tensor->format == BAL_I4 ? 128 - 8 : 128;
    for (int64_t block = 0; block < n_blocks; ++block, from += 128, bytes += 256)
        for (int i = 0; i < 128; ++i) {
            bytes[i] = (uint8_t)((from[i] & 15) + base);
            bytes[i + 128] = (uint8_t)((from[i] >> 4) + base);
        }
}

void bal_tensor_gather(bal_tensor *tensor, int64_t first, int64_t n_blocks, const uint8_t *bytes)
{
    uint8_t *to = (uint8_t *)tensor->codes + first * (BAL_BLOCK_CODES / 2);
    uint8_t base = tensor->format == BAL_I4 ? 128 - 8 : 128;
    for (int64_t block = 0; block < n_blocks; ++block, to += 128, bytes += 256)
        for (int i = 0; i < 128; ++i)
            to[i] = (uint8_t)(((bytes[i] - base) & 15) | (bytes[i + 128] - base) << 4);
}

float bal_gain_factor(int code)
{
    static float factors[255];
    if (factors[127] == 0.0f) /* products of one double: no exponential of the C library */
        for (int i = 0; i < 255; ++i) {
            double factor = 1.0;
            for (int step = 0; step < abs(i - 127); ++step) factor *= 1.02;
            factors[i] = (float)(i < 127 ? 1.0 / factor : factor);
        }
    return factors[code < -127 ? 0 : code > 127 ? 254 : code + 127];
}

/* Hash of a block of codes: as int8_t or int16_t, or its nibbles. */
static uint64_t hash_codes(const bal_tensor *tensor, int64_t block, uint64_t seed)
{
    const uint8_t *bytes = tensor->codes;
    uint8_t codes[BAL_BLOCK_CODES];
    if (tensor->format == BAL_I16)
        return bal_hash(bytes + 2 * block * BAL_BLOCK_CODES, 2 * BAL_BLOCK_CODES, seed);
    if (bal_format_is_nibbles(tensor->format))
        return bal_hash(bytes + block * BAL_BLOCK_CODES / 2, BAL_BLOCK_CODES / 2, seed);
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
    if (part == 0 && tensor->factors != NULL)
        sum += bal_hash(tensor->factors, factor_bytes(tensor), ~seed - 1);
    int64_t block, end;
    for (bal_tensor_slice(tensor, part, n_parts, &block, &end); block < end; ++block)
        sum +=
            hash_codes(tensor, block, seed + 2 * (uint64_t)block); /* states have the odd seeds */
    return sum;
}
