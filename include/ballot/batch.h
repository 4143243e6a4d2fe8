/* include/ballot/batch.h: what a model reads, a batch of token sequences, and the data sets that
 * batches are taken from. Knows tokens; knows nothing of files, text, models or ranks. */
#ifndef BALLOT_BATCH_H
#define BALLOT_BATCH_H

#include "ballot/core.h"
#include "ballot/kernels.h"

BAL_C_BEGIN

#define BAL_BATCH_MAX 128 /* examples of a mini-batch */

/** Sequences end to end. What the model says at token p is compared with targets[p]. */
typedef struct bal_batch {
    int64_t max_sequences, max_tokens; /* what there is room for */
    int64_t n_sequences;
    int64_t n_tokens; /* sum of the lengths */
    int64_t n_scored; /* targets that are not below 0 */
    int64_t *start;   /* [n_sequences + 1]; start[n_sequences] is n_tokens */
    int32_t *tokens;  /* [n_tokens] */
    int32_t *targets; /* [n_tokens]; below 0: not scored */
} bal_batch;
/** An empty batch with room for n_sequences of context tokens. Local.
 *  @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_batch_init(bal_batch *batch, int64_t n_sequences, int64_t context);
void bal_batch_clear(bal_batch *batch);
/** Take every sequence out; the room stays. Local. */
void bal_batch_empty(bal_batch *batch);
/** Append a token to the sequence that is being written. Local. @param target  below 0: none */
void bal_batch_add(bal_batch *batch, int32_t token, int32_t target);
/** End the sequence that is being written. Local. */
void bal_batch_end(bal_batch *batch);

/**
 * A data set: numbered examples for evaluating, drawn ones for learning. Whoever makes one fills
 * the members in; whoever reads one calls the functions below. All zeros: no data set.
 */
typedef struct bal_dataset {
    int64_t n_examples;  /* that have a number */
    int64_t n_bytes;     /* of the text that the examples are made of; 0: of no text */
    size_t memory_bytes; /* that the data set takes */
    uint64_t hash;       /* of everything that decides an example */
    void *self;          /* what the functions are given */
    /** Append example number index, in [0, n_examples): always the same. */
    void (*take)(const void *self, int64_t index, bal_batch *batch);
    /** Append an example that random alone decides; every value of random is as likely. */
    void (*draw)(const void *self, uint64_t random, bal_batch *batch);
    /** Free self; NULL: nothing to free. */
    void (*destroy)(void *self);
} bal_dataset;

/** Free what a data set owns and make it none; none is fine. Local. */
void bal_dataset_clear(bal_dataset *dataset);
/** Examples first .. first + n - 1 as a batch, which has room for them. Local. */
void bal_dataset_take(const bal_dataset *dataset, int64_t first, int64_t n, bal_batch *batch);
/** The mini-batch of a slot: n examples, at most BAL_BATCH_MAX, drawn with replacement. A pure
 *  function of (seed, step, slot). Local. */
void bal_dataset_draw(const bal_dataset *dataset, const bal_kernels *kernels, uint64_t seed,
                      uint32_t step, uint32_t slot, int64_t n, bal_batch *batch);

BAL_C_END

#endif
