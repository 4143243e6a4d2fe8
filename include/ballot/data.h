/* include/ballot/data.h: text files to examples, (step, slot) to a mini-batch. Knows tokens; knows
 * nothing of models, ranks or losses. */
#ifndef BALLOT_DATA_H
#define BALLOT_DATA_H

#include "ballot/kernels.h"
#include "ballot/text.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BAL_BATCH_MAX 128 /* sequences of a mini-batch */

/** Sequences end to end. What the model says at token p of a sequence is compared with targets[p].
 */
typedef struct bal_batch {
    int64_t n_sequences;
    int64_t n_tokens; /* sum of the lengths */
    int64_t n_scored; /* targets that are not below 0 */
    int64_t *start;   /* [n_sequences + 1]; start[n_sequences] is n_tokens */
    int32_t *tokens;  /* [n_tokens] */
    int32_t *targets; /* [n_tokens]; below 0: not scored */
} bal_batch;
/** Room for n_sequences of context tokens. Local. @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_batch_init(bal_batch *batch, int64_t n_sequences, int64_t context);
void bal_batch_clear(bal_batch *batch);

/** What is learned of a text. */
typedef enum bal_task {
    BAL_TASK_LM,  /* the next token */
    BAL_TASK_MLM, /* tokens that are masked or replaced, from those before and after them */
} bal_task;

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
 *
 * BAL_TASK_MLM: every example stands between what the tokenizer puts before and after a text. Of
 * its tokens 15 % are scored, at least one; of these 80 % are read as the mask token, 10 % as any
 * token, 10 % as they are (Devlin et al. 2019, arXiv 1810.04805).
 */
typedef struct bal_corpus bal_corpus;

/** What to make of a text. */
typedef struct bal_corpus_options {
    bal_task task;
    bal_examples examples;
    int64_t context; /* most tokens of an example, 2 .. 2^20 */
} bal_corpus_options;

/** Read and tokenize a file. Local.
 *  @return BAL_OK; BAL_ERR_INPUT: missing, empty, or shorter than one example; BAL_ERR_CONFIG: a
 *          vocabulary without a mask token, or a context without room for a token; BAL_ERR_MEMORY.
 */
bal_status bal_corpus_open(const char *path, const bal_tokenizer *tokenizer,
                           const bal_corpus_options *options, bal_corpus **corpus);
void bal_corpus_close(bal_corpus **corpus);
int64_t bal_corpus_n_tokens(const bal_corpus *corpus);
/** Bytes of memory that it takes, its tokens and where they are cut. Local. */
size_t bal_corpus_bytes(const bal_corpus *corpus);
/** Bytes of text in the corpus, blank lines between documents left out. */
int64_t bal_corpus_n_bytes(const bal_corpus *corpus);
/** XXH3-64 of the tokens and of how they are cut. */
uint64_t bal_corpus_hash(const bal_corpus *corpus);

/** Number of consecutive examples: what an evaluation runs over. Each token is in one of them, and
 *  scored once in BAL_TASK_LM. */
int64_t bal_corpus_n_examples(const bal_corpus *corpus);
/** Consecutive examples first .. first + n - 1 as a batch with room for them; always masked alike.
 *  Local. */
void bal_corpus_take(const bal_corpus *corpus, int64_t first, int64_t n, bal_batch *batch);
/** The mini-batch of a slot: n examples, at most BAL_BATCH_MAX, drawn with replacement; windows
 *  start at any token. A pure function of (seed, step, slot). Local. */
void bal_corpus_draw(const bal_corpus *corpus, const bal_kernels *kernels, uint64_t seed,
                     uint32_t step, uint32_t slot, int64_t n, bal_batch *batch);

#ifdef __cplusplus
}
#endif

#endif
