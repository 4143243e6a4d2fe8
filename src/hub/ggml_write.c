/* ggml_write.c: elements as Q8_0 and Q4_0, with the bits of the reference code of ggml. Source:
 * github.com/ggml-org/ggml, src/ggml-quants.c, quantize_row_q8_0_ref and quantize_row_q4_0_ref. */
#include <math.h>

#include "export.h"
#include "ggml.h"

#define BLOCK 32

static bool put_scale(float scale, uint8_t *to)
{
    uint16_t half = bal_hub_f16_of(scale);
    to[0] = (uint8_t)half;
    to[1] = (uint8_t)(half >> 8);
    return (half & 0x7FFF) < 0x7C00;
}

/* The largest magnitude becomes code 127. */
static bool quantize_q8(const float *x, uint8_t *to)
{
    float largest = 0.0f;
    for (int i = 0; i < BLOCK; ++i) largest = fmaxf(largest, fabsf(x[i]));
    float scale = largest / 127.0f, inverse = scale != 0.0f ? 1.0f / scale : 0.0f;
    for (int i = 0; i < BLOCK; ++i) to[2 + i] = (uint8_t)(int8_t)roundf(x[i] * inverse);
    return put_scale(scale, to);
}

/* The value of largest magnitude becomes code -8, stored as 0, whatever its sign. */
static int q4_of(float x)
{
    int code = (int)(x + 8.5f);
    return code < 15 ? code : 15;
}

static bool quantize_q4(const float *x, uint8_t *to)
{
    float largest = 0.0f;
    for (int i = 0; i < BLOCK; ++i)
        if (fabsf(x[i]) > fabsf(largest)) largest = x[i];
    float scale = largest / -8.0f, inverse = scale != 0.0f ? 1.0f / scale : 0.0f;
    for (int i = 0; i < BLOCK / 2; ++i)
        to[2 + i] = (uint8_t)(q4_of(x[i] * inverse) | q4_of(x[i + BLOCK / 2] * inverse) << 4);
    return put_scale(scale, to);
}

bool bal_ggml_quantize(bal_ggml_type type, const float *values, int64_t n, uint8_t *bytes)
{
    size_t n_block_bytes = bal_ggml_bytes(type, BLOCK);
    for (int64_t i = 0; i < n; i += BLOCK, bytes += n_block_bytes)
        if (!(type == BAL_GGML_Q8_0 ? quantize_q8 : quantize_q4)(values + i, bytes)) return false;
    return true;
}
