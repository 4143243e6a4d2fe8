/* states.c: bytes beside the codes of a list of tensors. */
#include "ballot/states.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of one state. */
static size_t bytes_of_one(const bal_tensors *tensors)
{
    size_t n_blocks = 0;
    for (int i = 0; i < tensors->n; ++i) n_blocks += (size_t)tensors->at[i].n_blocks;
    return n_blocks * BAL_BLOCK_CODES;
}

size_t bal_states_bytes(const bal_states *states, const bal_tensors *tensors)
{
    return (size_t)states->n * bytes_of_one(tensors);
}

void bal_states_attach(bal_states *states, const bal_tensors *tensors, void *memory)
{
    assert((uintptr_t)memory % 64 == 0);
    for (int i = 0; i < states->n; ++i)
        states->at[i].bytes = (int8_t *)memory + (size_t)i * bytes_of_one(tensors);
}

bal_status bal_states_allocate(bal_states *states, const bal_tensors *tensors)
{
    size_t n_bytes = bal_states_bytes(states, tensors);
    states->owned = bal_alloc(n_bytes, 1);
    if (states->owned == NULL)
        return bal_fail(BAL_ERR_MEMORY, "no memory for %zu MiB beside the codes of a model",
                        n_bytes >> 20);
    bal_states_attach(states, tensors, states->owned);
    return BAL_OK;
}

void bal_states_zero(bal_states *states, const bal_tensors *tensors)
{
    for (int i = 0; i < states->n; ++i) memset(states->at[i].bytes, 0, bytes_of_one(tensors));
}

void bal_states_clear(bal_states *states)
{
    free(states->owned);
    *states = (bal_states){0};
}

int8_t *bal_states_leftover(const bal_states *states, const bal_tensor *tensor)
{
    for (int i = 0; states != NULL && i < states->n; ++i)
        if (states->at[i].from_rounding) return bal_state_of(&states->at[i], tensor);
    return NULL;
}

uint64_t bal_states_fingerprint_of(const bal_states *states, const bal_tensor *tensor, int index,
                                   int part, int n_parts)
{
    uint64_t sum = 0;
    int64_t first, end;
    bal_tensor_slice(tensor, part, n_parts, &first, &end);
    for (int i = 0; i < states->n; ++i)
        for (int64_t block = first; block < end; ++block) { /* codes have the even seeds */
            uint64_t seed = ((uint64_t)index << 40) + ((uint64_t)i << 36) + 2 * (uint64_t)block + 1;
            sum += bal_hash(bal_state_of(&states->at[i], tensor) + block * BAL_BLOCK_CODES,
                            BAL_BLOCK_CODES, seed);
        }
    return sum;
}

uint64_t bal_states_fingerprint(const bal_states *states, const bal_tensors *tensors)
{
    return bal_states_fingerprint_part(states, tensors, 0, 1);
}

uint64_t bal_states_fingerprint_part(const bal_states *states, const bal_tensors *tensors, int part,
                                     int n_parts)
{
    uint64_t sum = bal_tensors_fingerprint_part(tensors, part, n_parts);
    for (int i = 0; i < tensors->n; ++i)
        sum += bal_states_fingerprint_of(states, &tensors->at[i], i, part, n_parts);
    return sum;
}
