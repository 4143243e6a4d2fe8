/* votes_impl.h: what the levels of votes_*.c share. */
#ifndef BALLOT_VOTES_IMPL_H
#define BALLOT_VOTES_IMPL_H

#include <string.h>

#include "kernels_impl.h"

/* That of the avx512 level if the processor lacks VBMI; not static, so that a test reaches it on
 * every processor. */
void bal_walsh_sums_bw(int64_t n_pieces, const int16_t *table, const uint8_t *bytes,
                       const uint8_t *signs, int16_t *sums);

/* Philox4x32-10: its multipliers, and what each round adds to the key. */
#define PHILOX_M0 0xD2511F53u
#define PHILOX_M1 0xCD9E8D57u
#define PHILOX_W0 0x9E3779B9u
#define PHILOX_W1 0xBB67AE85u

/* What all counters of a call have in common. They differ only in word 0, so all have the same
 * product of word 2 in round 0, and of word 0 in round 1. */
typedef struct philox_plan {
    uint32_t key[10][2];
    uint32_t start2, start3;      /* round 0: words 2, 3 to be mixed with the product of word 0 */
    uint32_t next0, next2, next3; /* round 1: words 0, 2 to be mixed likewise; word 3 itself */
} philox_plan;

static inline void philox_prepare(uint64_t key, uint32_t c1, uint32_t c2, uint32_t c3,
                                  philox_plan *plan)
{
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; ++round, k0 += PHILOX_W0, k1 += PHILOX_W1)
        plan->key[round][0] = k0, plan->key[round][1] = k1;
    k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    uint64_t b = (uint64_t)PHILOX_M1 * c2;
    uint64_t a = (uint64_t)PHILOX_M0 * ((uint32_t)(b >> 32) ^ c1 ^ k0);
    plan->start2 = c3 ^ k1;
    plan->next0 = (uint32_t)b ^ (k0 + PHILOX_W0);
    plan->next2 = (uint32_t)(a >> 32) ^ (k1 + PHILOX_W1);
    plan->next3 = (uint32_t)a;
}

/* parity(slot & x^k b) = parity(w_k & b): w_0 is the slot, and as x b = b << 1 ^ (0x1B if bit 7 of
 * b is set), w_(k+1) is w_k >> 1 with parity(w_k & 0x1B) above. So the w_k are windows of 8 bits of
 * one sequence, w_k its bits k .. k + 7. */
static inline uint64_t walsh_windows(uint8_t slot)
{
    uint64_t bits = slot;
    for (int k = 0; k < 32; k += 4) /* four at a time: bit k + 8 needs bits k .. k + 4 */
        bits |= ((bits ^ bits >> 1 ^ bits >> 3 ^ bits >> 4) >> k & 15) << (k + 8);
    return bits;
}

/* Tables for eight runs, from one on: bit r of low[b & 15] ^ high[b >> 4] is the parity of b and
 * window run + r. So entry 1 << i holds bits run + i .. run + i + 7 of the sequence, and every
 * entry is the xor of such entries. Here are 16 entries as two words; at is run for low and run + 4
 * for high. */
static inline void walsh_table(uint64_t windows, int at, uint64_t entries[2])
{
    windows >>= at;
    entries[0] = (windows & 0xFF) * 0x0100010001000100 ^
                 (windows >> 1 & 0xFF) * 0x0101000001010000 ^
                 (windows >> 2 & 0xFF) * 0x0101010100000000;
    entries[1] = entries[0] ^ (windows >> 3 & 0xFF) * 0x0101010101010101;
}

#endif
