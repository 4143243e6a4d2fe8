/* batch.c: sequences end to end, written token by token. */
#include "ballot/batch.h"

#include <assert.h>
#include <stdlib.h>

bal_status bal_batch_init(bal_batch *batch, int64_t n_sequences, int64_t context)
{
    *batch = (bal_batch){.max_sequences = n_sequences, .max_tokens = n_sequences * context};
    batch->start = bal_alloc((size_t)n_sequences + 1, sizeof *batch->start);
    batch->tokens = bal_alloc((size_t)batch->max_tokens, sizeof *batch->tokens);
    batch->targets = bal_alloc((size_t)batch->max_tokens, sizeof *batch->targets);
    if (batch->start != NULL && batch->tokens != NULL && batch->targets != NULL) return BAL_OK;
    bal_batch_clear(batch);
    return bal_fail(BAL_ERR_MEMORY, "no memory for a batch of %lld x %lld tokens",
                    (long long)n_sequences, (long long)context);
}

void bal_batch_clear(bal_batch *batch)
{
    free(batch->start);
    free(batch->tokens);
    free(batch->targets);
    *batch = (bal_batch){0};
}

void bal_batch_empty(bal_batch *batch)
{
    batch->n_sequences = batch->n_tokens = batch->n_scored = batch->start[0] = 0;
}

void bal_batch_add(bal_batch *batch, int32_t token, int32_t target)
{
    assert(batch->n_tokens < batch->max_tokens);
    batch->tokens[batch->n_tokens] = token;
    batch->targets[batch->n_tokens++] = target;
    batch->n_scored += target >= 0;
}

void bal_batch_end(bal_batch *batch)
{
    assert(batch->n_sequences < batch->max_sequences);
    batch->start[++batch->n_sequences] = batch->n_tokens;
}
