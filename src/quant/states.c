/* states.c: bytes and real numbers beside the codes of a list of tensors. */
#include "ballot/states.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static bool has_codes(const bal_state *state, const bal_tensor *tensor)
{
    return state->kind != BAL_STATE_BYTES && state->group > 0 && !tensor->looked_up &&
           bal_tensor_n(tensor) >= BAL_STATE_N_MIN;
}

int64_t bal_state_n_scales(const bal_state *state, const bal_tensor *tensor)
{
    if (!has_codes(state, tensor)) return 0;
    return (tensor->n_blocks * BAL_BLOCK_CODES + state->group - 1) / state->group;
}

size_t bal_state_width(const bal_state *state, const bal_tensor *tensor)
{
    return state->kind == BAL_STATE_BYTES || has_codes(state, tensor) ? 1 : sizeof(float);
}

/* Bytes of the first n tensors. */
static size_t bytes_of(const bal_state *state, const bal_tensors *tensors, int n)
{
    size_t n_bytes = 0;
    for (int i = 0; i < n; ++i) {
        const bal_tensor *t = &tensors->at[i];
        size_t scales = (size_t)bal_state_n_scales(state, t) * sizeof(float);
        n_bytes += (size_t)t->n_blocks * BAL_BLOCK_CODES * bal_state_width(state, t) +
                   (scales + 63) / 64 * 64;
    }
    return n_bytes;
}

size_t bal_states_bytes(const bal_states *states, const bal_tensors *tensors)
{
    size_t n_bytes = 0;
    for (int i = 0; i < states->n; ++i) n_bytes += bytes_of(&states->at[i], tensors, tensors->n);
    return n_bytes;
}

void bal_states_attach(bal_states *states, const bal_tensors *tensors, void *memory)
{
    char *at = memory;
    assert((uintptr_t)memory % 64 == 0);
    for (int i = 0; i < states->n; ++i) {
        states->at[i].memory = at;
        at += bytes_of(&states->at[i], tensors, tensors->n);
    }
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
    for (int i = 0; i < states->n; ++i)
        memset(states->at[i].memory, 0, bytes_of(&states->at[i], tensors, tensors->n));
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

void bal_states_set_group(bal_states *states, int group)
{
    for (int i = 0; i < states->n; ++i)
        states->at[i].group = states->at[i].kind == BAL_STATE_BYTES ? 0 : group;
}

bal_reals bal_state_reals(const bal_state *state, const bal_tensors *tensors, int index)
{
    const bal_tensor *tensor = &tensors->at[index];
    char *at = state->memory + bytes_of(state, tensors, index);
    assert(state->kind != BAL_STATE_BYTES);
    if (!has_codes(state, tensor)) return (bal_reals){.floats = (float *)at};
    return (bal_reals){.codes = (uint8_t *)at,
                       .scales = (float *)(at + tensor->n_blocks * BAL_BLOCK_CODES),
                       .n_scales = bal_state_n_scales(state, tensor),
                       .group = state->group};
}

void bal_reals_load(const bal_reals *reals, const bal_book *book, int64_t first, int64_t n,
                    float *values)
{
    if (reals->floats != NULL) {
        memcpy(values, reals->floats + first, (size_t)n * sizeof *values);
        return;
    }
    for (int64_t i = 0, size = reals->group; i < n; i += size)
        bal_blockwise_decode(book, i + size < n ? size : n - i, reals->codes + first + i,
                             reals->scales[(first + i) / size], values + i);
}

void bal_reals_store(const bal_reals *reals, const bal_book *book, int64_t first, int64_t n,
                     const float *values)
{
    if (reals->floats != NULL) {
        memcpy(reals->floats + first, values, (size_t)n * sizeof *values);
        return;
    }
    for (int64_t i = 0, size = reals->group; i < n; i += size)
        reals->scales[(first + i) / size] = bal_blockwise_encode(
            book, i + size < n ? size : n - i, values + i, reals->codes + first + i);
}

/* Codes have the even seeds. */
static uint64_t hash_state(const bal_state *state, const bal_tensors *tensors, int index,
                           int64_t first, int64_t end, uint64_t seed)
{
    const bal_tensor *tensor = &tensors->at[index];
    size_t n_bytes = BAL_BLOCK_CODES * bal_state_width(state, tensor);
    const char *bytes = state->memory + bytes_of(state, tensors, index);
    uint64_t sum = 0;
    for (int64_t block = first; block < end; ++block)
        sum += bal_hash(bytes + (size_t)block * n_bytes, n_bytes, seed + 2 * (uint64_t)block + 1);
    if (!has_codes(state, tensor)) return sum;
    bal_reals reals = bal_state_reals(state, tensors, index);
    for (int64_t block = first, size = reals.group / BAL_BLOCK_CODES; block < end; ++block)
        if (block % size == 0)
            sum +=
                bal_hash(&reals.scales[block / size], sizeof(float), ~(seed + 2 * (uint64_t)block));
    return sum;
}

uint64_t bal_states_fingerprint_of(const bal_states *states, const bal_tensors *tensors, int index,
                                   int part, int n_parts)
{
    uint64_t sum = 0;
    int64_t first, end;
    bal_tensor_slice(&tensors->at[index], part, n_parts, &first, &end);
    for (int i = 0; i < states->n; ++i)
        sum += hash_state(&states->at[i], tensors, index, first, end,
                          ((uint64_t)index << 40) + ((uint64_t)i << 36));
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
        sum += bal_states_fingerprint_of(states, tensors, i, part, n_parts);
    return sum;
}
