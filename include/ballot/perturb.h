/* include/ballot/perturb.h: (run seed, step, slot, tensor) to directions, and votes to tallies; the
 * measure. Knows random streams; knows nothing of losses, ranks or rules. */
#ifndef BALLOT_PERTURB_H
#define BALLOT_PERTURB_H

#include "ballot/kernels.h"

#define BAL_STREAM_VERSION 1 /* of every random number below; stands in every file */
#define BAL_WALSH_SLOTS 256  /* slots of a Walsh group */
#define BAL_NOISE_MAX 63

typedef enum bal_direction_kind {
    BAL_DIRECTIONS_WALSH,       /* +-1; groups of 256 slots share 9 random bits per code */
    BAL_DIRECTIONS_INDEPENDENT, /* +-1; a random bit per code and slot */
    BAL_DIRECTIONS_UNIFORM,     /* -noise .. noise, uniform: the noise of ZOQO */
} bal_direction_kind;

/** What a direction of a run looks like; the same for all its steps. */
typedef struct bal_perturb_options {
    bal_direction_kind kind;
    int64_t            noise;   /* largest probe in code steps; 1 unless kind is UNIFORM */
    double             density; /* share of 64-code blocks that a step votes on, in (0, 1] */
} bal_perturb_options;
bal_perturb_options bal_perturb_options_default(void);

/** Which codes a step votes on, and the random streams of the run. Plain; borrowed pointers. */
typedef struct bal_measure {
    const bal_kernels  *kernels;
    bal_perturb_options options;
    uint64_t            seed; /* run seed: the key of Philox4x32-10 */
    uint32_t            step;
    int                 n_tensors;
    const bool         *on_ballot; /* [n_tensors] */
} bal_measure;

/** One direction: the measure's codes, the slot's signs. Plain. */
typedef struct bal_direction {
    bal_measure measure;
    uint32_t    slot;
} bal_direction;

/**
 * z of n_blocks blocks of 256 codes of a tensor, in the tensor's own order, before the gate. Codes
 * outside the measure get 0. A pure function of (seed, step, slot, tensor, block). Local.
 * @param z  [n_blocks * 256]
 * Source: Philox4x32-10 (Salmon et al. 2011), counter (line, stream and tensor, slot, step); Walsh
 * functions: z = s * (-1)^popcount(slot % 256 & b), b a random byte and s a random sign per code.
 */
void bal_direction_fill(const bal_direction *direction, int tensor, int64_t first_block,
                        int64_t n_blocks, int8_t *z);

/**
 * The same for directions of -1, 0 and +1, as bits [n_blocks * 32] each: z is -1; z is not 0. Not
 * for BAL_DIRECTIONS_UNIFORM. Local.
 */
void bal_direction_bits(const bal_direction *direction, int tensor, int64_t first_block,
                        int64_t n_blocks, uint8_t *negative, uint8_t *moves);

/** The tally of one step: per code the sum over slots of vote * z. */
typedef struct bal_tally bal_tally;

/** How sums are made. Both give the same integers. */
typedef enum bal_tally_method {
    BAL_TALLY_TABLE, /* Walsh groups: a look-up in the transform of their votes */
    BAL_TALLY_SLOTS, /* one direction after the other: the reference */
} bal_tally_method;

/** Make an empty tally of n_slots votes. Local. @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_tally_create(int n_slots, bal_tally_method method, bal_tally **tally);
void       bal_tally_destroy(bal_tally **tally);
/** Take a step's votes, [n_slots] of -1, 0, +1; borrows the measure's pointers. Local. */
void bal_tally_load(bal_tally *tally, const bal_measure *measure, const int8_t *votes);
/** sums[n_blocks * 256] of a tensor's blocks, in the tensor's own order, before the gate. Local. */
void bal_tally_fill(const bal_tally *tally, int tensor, int64_t first_block, int64_t n_blocks,
                    int32_t *sums);

/** Random integers for drawing examples: word i of (seed, step, slot), i in [0, 256). Local. */
void bal_draw_words(const bal_kernels *kernels, uint64_t seed, uint32_t step, uint32_t slot,
                    uint32_t *words_256);

#endif
