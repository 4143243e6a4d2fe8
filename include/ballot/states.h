/* include/ballot/states.h: what is remembered of each code between steps, beside the codes: a byte
 * for each, under a name. Knows tensors; knows nothing of who remembers it, or why. */
#ifndef BALLOT_STATES_H
#define BALLOT_STATES_H

#include "ballot/tensors.h"

BAL_C_BEGIN

#define BAL_STATES_MAX 4
#define BAL_STATE_NAME_BYTES 32

/** A byte for each code of some tensors, tensor after tensor, each in the order of its codes. */
typedef struct bal_state {
    char name[BAL_STATE_NAME_BYTES]; /* /optimizer/<name>/<tensor> in checkpoints */
    bool from_rounding; /* starts as what rounding left over, in 1/256 of a step; else as 0 */
    int8_t *bytes;      /* [n_blocks * 256] of all tensors, aligned to 64 bytes; NULL: not yet */
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

/** Where the bytes of a tensor begin. Local. */
static inline int8_t *bal_state_of(const bal_state *state, const bal_tensor *tensor)
{
    return state->bytes + tensor->first_block * BAL_BLOCK_CODES;
}
/** The bytes that start as what rounding this tensor leaves over, for bal_tensor_quantize; NULL: no
 *  state does, or states is NULL. Local. */
int8_t *bal_states_leftover(const bal_states *states, const bal_tensor *tensor);

/** A summand of bal_states_fingerprint, of one tensor and the blocks that part of n_parts has: for
 *  each of them the sum of XXH3(its bytes), seeded with index, block and number of the state.
 *  Local. */
uint64_t bal_states_fingerprint_of(const bal_states *states, const bal_tensor *tensor, int index,
                                   int part, int n_parts);
/** Fingerprint of tensors and what is remembered of them: that of the tensors plus the sum of these
 *  over all tensors, modulo 2^64. Local. */
uint64_t bal_states_fingerprint(const bal_states *states, const bal_tensors *tensors);
/** A summand of it. Local. */
uint64_t bal_states_fingerprint_part(const bal_states *states, const bal_tensors *tensors, int part,
                                     int n_parts);

BAL_C_END

#endif
