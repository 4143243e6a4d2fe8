/* kernels_ref.c: what is right, in plain C. */
#include <stdlib.h>
#include <string.h>

#include "kernels_impl.h"

static void philox(uint64_t key, uint32_t c1, uint32_t c2, uint32_t c3, int64_t first,
                   int64_t n_lines, uint8_t *out)
{
    for (int64_t lane = 0; lane < 16 * n_lines; ++lane) {
        uint32_t x[4] = {(uint32_t)(16 * first + lane), c1, c2, c3};
        uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
        for (int round = 0; round < 10; ++round, k0 += PHILOX_W0, k1 += PHILOX_W1) {
            uint64_t a = (uint64_t)PHILOX_M0 * x[0], b = (uint64_t)PHILOX_M1 * x[2];
            uint32_t y0 = (uint32_t)(b >> 32) ^ x[1] ^ k0, y2 = (uint32_t)(a >> 32) ^ x[3] ^ k1;
            x[0] = y0, x[1] = (uint32_t)b, x[2] = y2, x[3] = (uint32_t)a;
        }
        uint8_t *line = out + lane / 16 * BAL_LINE_BYTES;
        for (int word = 0; word < 4; ++word)
            memcpy(line + 4 * (16 * word + lane % 16), &x[word], 4);
    }
}

static void walsh(int64_t n, uint8_t slot, const uint8_t *bytes, const uint8_t *signs, int8_t *z)
{
    for (int64_t i = 0; i < n; ++i) {
        int negative = (signs[i / 8] >> i % 8 & 1) ^ __builtin_parity((unsigned)(slot & bytes[i]));
        z[i]         = (int8_t)(1 - 2 * negative);
    }
}

static void signs(int64_t n, const uint8_t *bits, int8_t *z)
{
    for (int64_t i = 0; i < n; ++i) z[i] = (int8_t)(1 - 2 * (bits[i / 8] >> i % 8 & 1));
}

void bal_kernels_add_ref(bal_kernels *kernels)
{
    kernels->philox        = philox;
    kernels->walsh         = walsh;
    kernels->signs         = signs;
}
