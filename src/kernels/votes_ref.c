/* votes_ref.c: random streams, directions, tallies and the update, in plain C. */
#include "votes_impl.h"

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

/* The bytes of the next run: times x in GF(2^8). */
static void next_run(uint8_t bytes[BAL_PIECE_BYTES])
{
    for (int j = 0; j < BAL_PIECE_BYTES; ++j)
        bytes[j] = (uint8_t)(bytes[j] << 1 ^ (bytes[j] >> 7) * 0x1B);
}

static void walsh(int64_t n_pieces, uint8_t slot, const uint8_t *bytes, uint8_t *negative)
{
    for (int64_t i = 0; i < n_pieces; ++i, bytes += BAL_PIECE_BYTES) {
        uint8_t run[BAL_PIECE_BYTES];
        memcpy(run, bytes, sizeof run);
        for (int k = 0; k < BAL_PIECE_CODES / 64; ++k, negative += 8, next_run(run))
            for (int j = 0; j < 64; ++j)
                negative[j / 8] ^= (uint8_t)(__builtin_parity((unsigned)(slot & run[j])) << j % 8);
    }
}

static void walsh_sums(int64_t n_pieces, const int16_t *table, const uint8_t *bytes,
                       const uint8_t *signs, int16_t *sums)
{
    int16_t values[2][256]; /* plus, minus */
    for (int b = 0; b < 256; ++b) values[0][b] = table[b], values[1][b] = (int16_t)-table[b];
    for (int64_t i = 0; i < n_pieces; ++i, bytes += BAL_PIECE_BYTES) {
        uint8_t run[BAL_PIECE_BYTES];
        memcpy(run, bytes, sizeof run);
        for (int k = 0; k < BAL_PIECE_CODES / 64; ++k, signs += 8, sums += 64, next_run(run))
            for (int j = 0; j < 64; ++j) {
                int minus = signs[j / 8] >> j % 8 & 1;
                sums[j] = (int16_t)(sums[j] + values[minus][run[j]]);
            }
    }
}

static void walsh_wide_sums(int64_t n_pieces, int n_high, const int16_t *table, const uint8_t *low,
                            const uint8_t *high, const uint8_t *signs, int16_t *sums)
{
    for (int64_t i = 0; i < n_pieces; ++i, low += BAL_PIECE_BYTES, high += BAL_PIECE_BYTES) {
        uint8_t lows[BAL_PIECE_BYTES], highs[BAL_PIECE_BYTES];
        memcpy(lows, low, sizeof lows);
        memcpy(highs, high, sizeof highs);
        for (int k = 0; k < BAL_PIECE_CODES / 64; ++k, signs += 8, sums += 64) {
            for (int j = 0; j < 64; ++j) {
                int minus = -(signs[j / 8] >> j % 8 & 1);
                int value = table[lows[j] + 256 * (highs[j] & (n_high - 1))];
                sums[j] = (int16_t)(sums[j] + ((value ^ minus) - minus));
            }
            next_run(lows);
            next_run(highs);
        }
    }
}

static void signs(int64_t n, const uint8_t *bits, int8_t *z)
{
    for (int64_t i = 0; i < n; ++i) z[i] = (int8_t)(1 - 2 * (bits[i / 8] >> i % 8 & 1));
}

static uint32_t carry(int64_t n, int low, int high, int multiplier, int shift, const int16_t *tally,
                      uint8_t *codes, int8_t *carries)
{
    uint32_t n_flips = 0;
    for (int64_t i = 0; i < n; ++i) {
        int old = codes[i] - 128;
        if (old - 1 < low || old + 1 > high) continue; /* the gate, which also stops padding */
        int code = old + bal_carry_moves(tally[i], multiplier, shift, &carries[i]);
        code = code > high ? high : code < low ? low : code;
        codes[i] = (uint8_t)(code + 128);
        n_flips += code != old;
    }
    return n_flips;
}

void bal_votes_add_ref(bal_kernels *kernels)
{
    kernels->philox = philox;
    kernels->walsh = walsh;
    kernels->walsh_sums = walsh_sums;
    kernels->walsh_wide_sums = walsh_wide_sums;
    kernels->signs = signs;
    kernels->carry = carry;
}
