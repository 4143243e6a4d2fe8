/* ggml_read_k.c: elements of ggml's blocks of 256: one scale in F16, and 16 or 8 small ones that it
 * is multiplied with. Sums and products are rounded one by one, in the order of gguf/quants.py. */
#include "ggml.h"

#define BLOCK 256

void bal_ggml_read_q2_k(const uint8_t *from, int64_t n_blocks, float *values)
{
    for (int64_t block = 0; block < n_blocks; ++block, from += 84, values += BLOCK) {
        const uint8_t *scales = from, *bits = from + 16;
        float scale = bal_ggml_half(from + 80), least = bal_ggml_half(from + 82);
        for (int i = 0; i < BLOCK; ++i) {
            float d = scale * (float)(scales[i / 16] & 15),
                  m = least * (float)(scales[i / 16] >> 4);
            int code = bits[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
            values[i] = d * (float)code - m;
        }
    }
}

/* Scale i of 16 with 6 bits: 4 low bits in 8 bytes, 2 high ones in the next 4. */
static int scale_q3(const uint8_t *scales, int i)
{
    int low = scales[i % 8] >> (i / 8 * 4) & 15, high = scales[8 + i % 4] >> (i / 4 * 2) & 3;
    return (low | high << 4) - 32;
}

void bal_ggml_read_q3_k(const uint8_t *from, int64_t n_blocks, float *values)
{
    for (int64_t block = 0; block < n_blocks; ++block, from += 110, values += BLOCK) {
        const uint8_t *masks = from, *bits = from + 32, *scales = from + 96;
        float scale = bal_ggml_half(from + 108);
        for (int i = 0; i < BLOCK; ++i) {
            int low = bits[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
            int high = masks[i % 32] >> (i / 32) & 1; /* 1: nothing is subtracted */
            values[i] = scale * (float)scale_q3(scales, i / 16) * (float)(low - (high ? 0 : 4));
        }
    }
}

/* The scale and least value i of 8, with 6 bits each, in 12 bytes. */
static void pair_of(const uint8_t *bytes, int i, int *scale, int *least)
{
    int k = i % 4;
    *scale = i < 4 ? bytes[k] & 63 : (bytes[8 + k] & 15) | (bytes[k] >> 2 & 0x30);
    *least = i < 4 ? bytes[4 + k] & 63 : bytes[8 + k] >> 4 | (bytes[4 + k] >> 2 & 0x30);
}

/* Blocks of 8 times 32 nibbles, with fifth bits if high is not NULL. */
static void read_eights(const uint8_t *head, const uint8_t *high, const uint8_t *nibbles,
                        float *values)
{
    float all_scale = bal_ggml_half(head), all_least = bal_ggml_half(head + 2);
    for (int part = 0; part < 8; ++part, values += 32) {
        int scale, least;
        pair_of(head + 4, part, &scale, &least);
        float d = all_scale * (float)scale, m = all_least * (float)least;
        for (int i = 0; i < 32; ++i) {
            int code = nibbles[part / 2 * 32 + i] >> (part % 2 * 4) & 15;
            if (high != NULL) code |= (high[i] >> part & 1) << 4;
            values[i] = d * (float)code - m;
        }
    }
}

void bal_ggml_read_q4_k(const uint8_t *from, int64_t n_blocks, float *values)
{
    for (int64_t block = 0; block < n_blocks; ++block, from += 144, values += BLOCK)
        read_eights(from, NULL, from + 16, values);
}

void bal_ggml_read_q5_k(const uint8_t *from, int64_t n_blocks, float *values)
{
    for (int64_t block = 0; block < n_blocks; ++block, from += 176, values += BLOCK)
        read_eights(from, from + 16, from + 48, values);
}

void bal_ggml_read_q6_k(const uint8_t *from, int64_t n_blocks, float *values)
{
    for (int64_t block = 0; block < n_blocks; ++block, from += 210, values += BLOCK) {
        const uint8_t *low = from, *high = from + 128, *scales = from + 192;
        float scale = bal_ggml_half(from + 208);
        for (int i = 0; i < BLOCK; ++i) {
            int nibble = low[i / 128 * 64 + i % 64] >> (i / 64 % 2 * 4) & 15;
            int top = high[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
            float d = scale * (float)(int8_t)scales[i / 16];
            values[i] = d * (float)((nibble | top << 4) - 32);
        }
    }
}
