/* include/ballot/data.h: text files to examples, (step, slot) to a mini-batch. Knows tokens; knows
 * nothing of models, ranks or losses. */
#ifndef BALLOT_DATA_H
#define BALLOT_DATA_H

#include "ballot/kernels.h"
#include "ballot/text.h"

#define BAL_BATCH_MAX 128 /* sequences of a mini-batch */

/** Sequences end to end. Token p of a sequence predicts targets[p]. */
typedef struct bal_batch {
    int64_t  n_sequences;
    int64_t  n_tokens; /* sum of the lengths */
    int64_t *start;    /* [n_sequences + 1]; start[n_sequences] is n_tokens */
    int32_t *tokens;   /* [n_tokens] */
    int32_t *targets;  /* [n_tokens] */
} bal_batch;
/** Room for n_sequences of context tokens. Local. @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_batch_init(bal_batch *batch, int64_t n_sequences, int64_t context);
void       bal_batch_clear(bal_batch *batch);

/** How a text becomes examples. */
typedef enum bal_examples {
    BAL_EXAMPLES_WINDOWS,   /* one stream, cut anywhere into context tokens */
    BAL_EXAMPLES_DOCUMENTS, /* documents between blank lines, cut every context tokens; each piece
                               comes after the start token */
} bal_examples;

/**
 * A tokenized text. A window of a stream is t0, t1, ... and its targets t1, t2, ... A document
 * comes after the start token of the vocabulary, where it has one: start, t0, t1, ... and targets
 * t0, t1, t2, ...; without one its first token is not scored.
 */
typedef struct bal_corpus bal_corpus;

/** Read and tokenize a file. context, 2 .. 2^20: most tokens of an example. Local.
 *  @return BAL_OK; BAL_ERR_INPUT: missing, empty, or shorter than one example; BAL_ERR_MEMORY. */
bal_status bal_corpus_open(const char *path, const bal_tokenizer *tokenizer, bal_examples examples,
                           int64_t context, bal_corpus **corpus);
void       bal_corpus_close(bal_corpus **corpus);
int64_t    bal_corpus_n_tokens(const bal_corpus *corpus);
/** Bytes of text in the corpus, blank lines between documents left out. */
int64_t bal_corpus_n_bytes(const bal_corpus *corpus);
/** XXH3-64 of the tokens and of how they are cut. */
uint64_t bal_corpus_hash(const bal_corpus *corpus);

/** Number of consecutive examples, each token scored once: what an evaluation runs over. */
int64_t bal_corpus_n_examples(const bal_corpus *corpus);
/** Consecutive examples first .. first + n - 1 as a batch with room for them. Local. */
void bal_corpus_take(const bal_corpus *corpus, int64_t first, int64_t n, bal_batch *batch);
/** The mini-batch of a slot: n examples, at most BAL_BATCH_MAX, drawn with replacement; windows
 *  start at any token. A pure function of (seed, step, slot). Local. */
void bal_corpus_draw(const bal_corpus *corpus, const bal_kernels *kernels, uint64_t seed,
                     uint32_t step, uint32_t slot, int64_t n, bal_batch *batch);

#endif
