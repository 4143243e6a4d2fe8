/* include/ballot/perturb.h: makes directions from (run seed, step, slot, tensor), and tallies from
 * votes. Knows random streams; knows nothing of losses, ranks or rules. */
#ifndef BALLOT_PERTURB_H
#define BALLOT_PERTURB_H

#include "ballot/core.h"
#include "ballot/kernels.h"

BAL_C_BEGIN

/* Of all random numbers below; journals and checkpoints carry it. Runs with wide Walsh sets have
 * the next one, so that those of version 0.1 go on with narrow sets. */
#define BAL_STREAM_VERSION 2
#define BAL_STREAM_VERSION_WIDE 3
#define BAL_WALSH_SLOTS 256        /* slots of a Walsh set */
#define BAL_WALSH_SLOTS_WIDE 65536 /* of a wide one */
#define BAL_NOISE_MAX 63           /* of bal_perturb_options.noise */

typedef enum bal_direction_kind {
    BAL_DIRECTIONS_WALSH,       /* -1 or +1; a set of 256 slots shares a byte and a sign per code */
    BAL_DIRECTIONS_INDEPENDENT, /* -1 or +1; a random bit per code and slot */
    BAL_DIRECTIONS_UNIFORM,     /* uniform in -noise .. noise, as in ZOQO */
    BAL_DIRECTIONS_WALSH_WIDE,  /* -1 or +1; a set of 65,536 shares two bytes and a sign per code */
    BAL_DIRECTIONS_SHARED,      /* -1 or +1; all slots of a step have the independent direction of
                                   slot 0, and a tally has the sign that most have voted for */
} bal_direction_kind;

/** What the directions of a run look like. */
typedef struct bal_perturb_options {
    bal_direction_kind kind;
    int64_t noise;  /* largest |z|, 1 .. BAL_NOISE_MAX code steps; 1 unless kind is UNIFORM */
    double density; /* share of the codes that a step votes on, in (0, 1]; drawn 64 at a time */
} bal_perturb_options;

/** Block-wise descent: tensors vote by turns, a turn a step. Plain. */
typedef struct bal_rota {
    int n;            /* turns */
    bool by_chance;   /* each step draws its turn; else one comes after the other */
    int n_tensors;    /* of the net */
    const bool *turn; /* [n][n_tensors] those that are voted on */
} bal_rota;

/** Which codes a step votes on, and the random streams of the run. Plain; pointers are borrowed. */
typedef struct bal_measure {
    const bal_kernels *kernels;
    bal_perturb_options options;
    uint64_t seed; /* run seed: the key of Philox4x32-10 */
    uint32_t step;
    const bool *on_ballot; /* [n_tensors] of the net: tensors that are voted on, in the run, or at a
                              step of it */
    const bal_rota *rota;  /* who of them votes when; NULL: all, in every step */
} bal_measure;
/** The measure of a step of the run; its on_ballot is that of the step's turn. Local. */
bal_measure bal_measure_at(bal_measure measure, int64_t step);
/** Turns of which a step has one; 1: there is no rota. Local. */
static inline int bal_measure_turns(const bal_measure *measure)
{
    return measure->rota == NULL ? 1 : measure->rota->n;
}

/** The direction of a slot, over the codes of a measure, and the two points at most at which a
 *  forward pass evaluates it: of a pair of slots, the pass makes random lines once. Plain. */
typedef struct bal_direction {
    bal_measure measure;
    uint32_t slot;
    int n_one_sided; /* 1: code + z; 2: that, and code + z of the next slot; 0: both sides, code + z
                        and code - z */
} bal_direction;
/** Points of a forward pass: 1 or 2; at the code itself, where direction is NULL, 1. Local. */
static inline int bal_direction_points(const bal_direction *direction)
{
    return direction == NULL || direction->n_one_sided == 1 ? 1 : 2;
}

/**
 * Fill z for n_blocks blocks of a tensor, in the order of its codes, before the gate. Codes outside
 * the measure get 0. A pure function of (seed, step, slot, tensor, block). Local.
 * @param z  [n_blocks * 256]
 * Source: Philox4x32-10 (Salmon et al. 2011), counter (line, stream and tensor, slot, step).
 *
 * Walsh directions: z = s * (-1)^popcount(slot % 256 & byte), where s is a random sign per code. A
 * piece of 2048 codes draws 64 random bytes b. Code j of run k of the piece has the byte x^k b[j]
 * in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1. Let M_k be multiplication by x^k as a matrix over
 * GF(2), and m = i ^ i' for two slots of a set. Then z_ij z_i'j = (-1)^parity(m & byte), and this
 * parity is that of M_k^T m & b.
 *  - M_k is invertible. So every byte is uniform, and that product has mean 0 for m != 0.
 *  - Two codes with different b are independent. Two codes of the same b, in runs k != l, have the
 *    product (-1)^parity((M_k + M_l)^T m & b). M_k + M_l is multiplication by x^k + x^l. That is
 * not 0, since x has order 51 and there are 32 runs. So it is invertible, and this mean is 0 too.
 * The dot product of two slots' directions thus has mean 0 and variance d over d codes, as with a
 * fresh byte for each code. Every code has its own sign, so the same holds for a slot's product
 * with any fixed vector, and tallies of different codes are uncorrelated. Dot products of different
 * m are not independent of each other: M_k^T m takes 51 values, which the m of an orbit share. A
 * code takes 1.25 random bits.
 *
 * Wide Walsh directions: z = s * (-1)^(popcount(i % 256 & low) + popcount(i / 256 & high)), where i
 * is slot % 65536. A piece draws 64 bytes b for low and 64 bytes c for high, which are independent,
 * and both go from run to run as above. So z_ij z_i'j = (-1)^parity((m & low) with (n & high)),
 * where m and n are the low and the high byte of i ^ i'. This parity is that of (M_k^T m & b) and
 * of (M_k^T n & c), added. At least one of m and n is not 0; say m.
 *  - M_k^T m is not 0, so the first of the two is a fair bit, independent of c. So is the sum, and
 *    the product has mean 0.
 *  - Two codes with different b and c are independent. Two codes of the same b and c, in runs k !=
 *    l, have the product (-1)^(parity((M_k + M_l)^T m & b) + parity((M_k + M_l)^T n & c)). The
 *    first is a fair bit, independent of the second, for (M_k + M_l)^T m is not 0. So this mean is
 *    0 too.
 * What follows from it is the same. A code takes 1.5 random bits. The first 256 slots of a wide set
 * are those of the narrow set of its number.
 */
void bal_direction_fill(const bal_direction *direction, int tensor, int64_t first_block,
                        int64_t n_blocks, int8_t *z);

/**
 * The same as bits, for directions of -1 and +1. Bit i of negative is set where z is -1, and bit i
 * of moves where z is not 0. Fastest if first_block and n_blocks are multiples of 8. Local.
 * @param negative  [n_blocks * 32]; [2][n_blocks * 32], of both slots, if n_one_sided is 2
 * @param moves     [n_blocks * 32]
 */
void bal_direction_bits(const bal_direction *direction, int tensor, int64_t first_block,
                        int64_t n_blocks, uint8_t *negative, uint8_t *moves);

/** The tally of a step: for each code, the sum over slots of vote * z. */
typedef struct bal_tally bal_tally;

/** How a tally is computed. Both methods give the same integers. */
typedef enum bal_tally_method {
    BAL_TALLY_TABLE, /* Walsh sets: looked up in the transform of their votes; independent
                        directions: counted bit by bit; others: as below */
    BAL_TALLY_SLOTS, /* one direction after another: the reference */
} bal_tally_method;

/** Make an empty tally of n_slots votes. Local. @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_tally_create(int n_slots, bal_tally_method method, bal_tally **tally);
void bal_tally_destroy(bal_tally **tally);
/** Load the votes of a step. Borrows the measure's pointers. Local.
 *  @param votes  [n_slots] in -127 .. 127; the sum of |vote| * noise must be below 2^31
 *  @param shift  sums are in units of 2^shift votes, 0 .. 15; 0 unless directions are wide */
void bal_tally_load(bal_tally *tally, const bal_measure *measure, const int8_t *votes, int shift);
/** Fill the sums of n_blocks blocks of a tensor, in the order of its codes, before the gate.
 *  Fastest if first_block and n_blocks are multiples of 32. Local.
 *  @param sums  [n_blocks * 256], clamped to -32767 .. 32767. Wide directions: the sum of each of k
 *               sets is rounded to units, halves away from 0, and clamped to +-(32767 / k) */
void bal_tally_fill(const bal_tally *tally, int tensor, int64_t first_block, int64_t n_blocks,
                    int16_t *sums);

/** 256 random words for a block of a tensor, one per code, for rounding by chance. Local. */
void bal_chance_words(const bal_measure *measure, int tensor, int64_t block, uint32_t *words_256);
/** The 256 random words of (seed, step, slot), for drawing examples. Local. */
void bal_draw_words(const bal_kernels *kernels, uint64_t seed, uint32_t step, uint32_t slot,
                    uint32_t *words_256);

BAL_C_END

#endif
