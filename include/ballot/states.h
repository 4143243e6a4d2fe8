/* include/ballot/states.h: what is remembered of each code between steps, beside the codes and
 * under a name: a byte, or a real number. Knows tensors; knows nothing of who remembers it, or why.
 */
#ifndef BALLOT_STATES_H
#define BALLOT_STATES_H

#include "ballot/blockwise.h"
#include "ballot/tensors.h"

BAL_C_BEGIN

#define BAL_STATES_MAX 4
#define BAL_STATE_NAME_BYTES 32
#define BAL_STATE_N_MIN 4096 /* elements of a tensor whose real numbers may have 8 bits */

typedef enum bal_state_kind {
    BAL_STATE_BYTES,  /* int8_t */
    BAL_STATE_REAL,   /* a real number */
    BAL_STATE_SQUARE, /* a real number that is 0 or more */
} bal_state_kind;

/**
 * A byte or a real number for each code of some tensors, tensor after tensor, each in the order of
 * its codes. Real numbers are floats, or, in groups, bytes by bal_blockwise_encode, after which the
 * scales of a tensor stand. Those of a small tensor (BAL_STATE_N_MIN) and of one that is looked up
 * (bal_tensor.looked_up) are floats always: the rule of stable embeddings, Dettmers et al. 2022,
 * arXiv 2110.02861.
 */
typedef struct bal_state {
    char name[BAL_STATE_NAME_BYTES]; /* /optimizer/<name>/<tensor> in checkpoints */
    bal_state_kind kind;
    bool from_rounding; /* bytes start as what rounding left over, in 1/256 of a step; else as 0 */
    int group;          /* real numbers that share a scale, a multiple of 256; 0: floats */
    char *memory;       /* of all tensors, aligned to 64 bytes; NULL: not yet */
} bal_state;

/** Several of them, in the order of their names. Plain; {0}: none. */
typedef struct bal_states {
    int n;
    bal_state at[BAL_STATES_MAX];
    void *owned; /* their memory where bal_states_allocate made it, else NULL */
} bal_states;

/** Bytes that they take, a multiple of 64. Local. */
size_t bal_states_bytes(const bal_states *states, const bal_tensors *tensors);
/** Let them stand in memory, which may hold them already: nothing is written. Local.
 *  @param memory  [bal_states_bytes], aligned to 64 bytes; borrowed */
void bal_states_attach(bal_states *states, const bal_tensors *tensors, void *memory);
/** Attach them to memory of their own, all 0. Local. @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_states_allocate(bal_states *states, const bal_tensors *tensors);
/** Make all bytes 0. Local. */
void bal_states_zero(bal_states *states, const bal_tensors *tensors);
/** Release memory of their own, and forget all. Local. */
void bal_states_clear(bal_states *states);

/** Where the bytes of a tensor begin, of a state of bytes. Local. */
static inline int8_t *bal_state_of(const bal_state *state, const bal_tensor *tensor)
{
    return (int8_t *)state->memory + tensor->first_block * BAL_BLOCK_CODES;
}

/** Bytes of each value of a tensor: 1 or 4; and how many scales it has, 0 for floats. Local. */
size_t bal_state_width(const bal_state *state, const bal_tensor *tensor);
int64_t bal_state_n_scales(const bal_state *state, const bal_tensor *tensor);

/** What a state of real numbers has of a tensor: floats, or codes and scales. */
typedef struct bal_reals {
    float *floats;    /* [n_blocks * 256]; NULL: codes */
    uint8_t *codes;   /* [n_blocks * 256] */
    float *scales;    /* [n_scales] */
    int64_t n_scales; /* n_blocks * 256 / group, rounded up */
    int group;        /* values of a scale */
} bal_reals;
/** Let the real numbers of all states have 8 bits, in groups; 0: they are floats. Before the states
 *  have memory. Local. */
void bal_states_set_group(bal_states *states, int group);
/** Those of a tensor. Local. */
bal_reals bal_state_reals(const bal_state *state, const bal_tensors *tensors, int index);
/** Copy n of them from first on to floats, and back. They are whole groups, but for the end of a
 *  tensor. Local. @param book  signed for BAL_STATE_REAL, unsigned for BAL_STATE_SQUARE */
void bal_reals_load(const bal_reals *reals, const bal_book *book, int64_t first, int64_t n,
                    float *values);
void bal_reals_store(const bal_reals *reals, const bal_book *book, int64_t first, int64_t n,
                     const float *values);

/** The bytes that start as what rounding this tensor leaves over, for bal_tensor_quantize; NULL: no
 *  state does, or states is NULL. Local. */
int8_t *bal_states_leftover(const bal_states *states, const bal_tensor *tensor);

/** A summand of bal_states_fingerprint, of one tensor and the blocks that part of n_parts has: for
 *  each of them the sum of XXH3(its bytes), and of XXH3(its scale) where one begins, seeded with
 *  index, block and number of the state. Local. */
uint64_t bal_states_fingerprint_of(const bal_states *states, const bal_tensors *tensors, int index,
                                   int part, int n_parts);
/** Fingerprint of tensors and what is remembered of them: that of the tensors plus the sum of these
 *  over all tensors, modulo 2^64. Local. */
uint64_t bal_states_fingerprint(const bal_states *states, const bal_tensors *tensors);
/** A summand of it. Local. */
uint64_t bal_states_fingerprint_part(const bal_states *states, const bal_tensors *tensors, int part,
                                     int n_parts);

BAL_C_END

#endif
