/* ggml_read.c: elements of ggml's layouts of plain floats and of blocks of 32: a scale in F16, in
 * some a least value, and 4, 5 or 8 bits for each element. Sums and products are rounded one by
 * one, in the order of gguf/quants.py. */
#include <endian.h>
#include <string.h>

#include "ggml.h"

#define BLOCK 32

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t u16_at(const uint8_t *from) { return (uint32_t)from[0] | (uint32_t)from[1] << 8; }
static uint32_t u32_at(const uint8_t *from) { return u16_at(from) | u16_at(from + 2) << 16; }

float bal_ggml_half(const uint8_t *from)
{
    uint32_t half = u16_at(from), sign = (half & 0x8000u) << 16;
    uint32_t exponent = half >> 10 & 31u, fraction = half & 1023u;
    if (exponent == 0) /* zero and subnormals: the product is exact */
        return (sign != 0 ? -0x1p-24f : 0x1p-24f) * (float)fraction;
    exponent = exponent == 31 ? 255 : exponent + 112;
    return float_of(sign | exponent << 23 | fraction << 13);
}

void bal_ggml_read_f32(const uint8_t *from, int64_t n_blocks, float *values)
{
    for (int64_t i = 0; i < n_blocks; ++i) values[i] = float_of(u32_at(from + 4 * i));
}

void bal_ggml_read_f16(const uint8_t *from, int64_t n_blocks, float *values)
{
    for (int64_t i = 0; i < n_blocks; ++i) values[i] = bal_ggml_half(from + 2 * i);
}

void bal_ggml_read_bf16(const uint8_t *from, int64_t n_blocks, float *values)
{
    for (int64_t i = 0; i < n_blocks; ++i) values[i] = float_of(u16_at(from + 2 * i) << 16);
}

/* Low nibbles are the first half of a block, high ones the second. */
static int nibble(const uint8_t *bytes, int i)
{
    return i < BLOCK / 2 ? bytes[i] & 15 : bytes[i - BLOCK / 2] >> 4;
}

void bal_ggml_read_q4_0(const uint8_t *from, int64_t n_blocks, float *values)
{
    for (int64_t block = 0; block < n_blocks; ++block, from += 18, values += BLOCK) {
        float scale = bal_ggml_half(from);
        for (int i = 0; i < BLOCK; ++i) values[i] = scale * (float)(nibble(from + 2, i) - 8);
    }
}

void bal_ggml_read_q4_1(const uint8_t *from, int64_t n_blocks, float *values)
{
    for (int64_t block = 0; block < n_blocks; ++block, from += 20, values += BLOCK) {
        float scale = bal_ggml_half(from), least = bal_ggml_half(from + 2);
        for (int i = 0; i < BLOCK; ++i) values[i] = scale * (float)nibble(from + 4, i) + least;
    }
}

/* The fifth bits stand before the nibbles. */
static int five_bits(const uint8_t *bytes, int i)
{
    return nibble(bytes + 4, i) | (int)(u32_at(bytes) >> i & 1u) << 4;
}

void bal_ggml_read_q5_0(const uint8_t *from, int64_t n_blocks, float *values)
{
    for (int64_t block = 0; block < n_blocks; ++block, from += 22, values += BLOCK) {
        float scale = bal_ggml_half(from);
        for (int i = 0; i < BLOCK; ++i) values[i] = scale * (float)(five_bits(from + 2, i) - 16);
    }
}

void bal_ggml_read_q5_1(const uint8_t *from, int64_t n_blocks, float *values)
{
    for (int64_t block = 0; block < n_blocks; ++block, from += 24, values += BLOCK) {
        float scale = bal_ggml_half(from), least = bal_ggml_half(from + 2);
        for (int i = 0; i < BLOCK; ++i) values[i] = scale * (float)five_bits(from + 4, i) + least;
    }
}

void bal_ggml_read_q8_0(const uint8_t *from, int64_t n_blocks, float *values)
{
    for (int64_t block = 0; block < n_blocks; ++block, from += 34, values += BLOCK) {
        float scale = bal_ggml_half(from);
        for (int i = 0; i < BLOCK; ++i) values[i] = scale * (float)(int8_t)from[2 + i];
    }
}

void bal_ggml_read_iq4_nl(const uint8_t *from, int64_t n_blocks, float *values)
{
    static const int8_t book[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                    1,    13,   25,  38,  53,  69,  89,  113};
    for (int64_t block = 0; block < n_blocks; ++block, from += 18, values += BLOCK) {
        float scale = bal_ggml_half(from);
        for (int i = 0; i < BLOCK; ++i) values[i] = scale * (float)book[nibble(from + 2, i)];
    }
}
