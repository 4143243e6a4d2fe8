/* include/ballot/data.h: text files to data sets. Knows tokens; knows nothing of models, ranks or
 * losses. */
#ifndef BALLOT_DATA_H
#define BALLOT_DATA_H

#include "ballot/batch.h"
#include "ballot/core.h"
#include "ballot/text.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What is learned of a text. */
typedef enum bal_text_task {
    BAL_TASK_LM,  /* the next token */
    BAL_TASK_MLM, /* tokens that are masked or replaced, from those before and after them */
} bal_text_task;

/** How a text becomes examples. */
typedef enum bal_examples {
    BAL_EXAMPLES_WINDOWS,   /* one stream, cut anywhere into context tokens */
    BAL_EXAMPLES_DOCUMENTS, /* documents between blank lines, cut every context tokens; each piece
                               comes after the start token */
} bal_examples;

/** What to make of a text. */
typedef struct bal_corpus_options {
    bal_text_task task;
    bal_examples examples;
    int64_t context; /* most tokens of an example, 2 .. 2^20 */
    bool as_0_1;     /* documents end at empty lines alone, as in version 0.1 */
} bal_corpus_options;

/**
 * Read and tokenize a file: a corpus. A window of its stream is t0, t1, ... and its targets t1, t2,
 * ... A document comes after the start token of the vocabulary, where it has one: start, t0, t1,
 * ... and targets t0, t1, t2, ...; without one its first token is not scored. Numbered examples
 * follow each other: each token is in one of them, and scored once in BAL_TASK_LM. Drawn windows
 * start at any token.
 *
 * A blank line holds only spaces, tabs and CRs. Lines of documents end with LF: a CR before it is
 * dropped, so that a text gives the same examples however its lines end. A stream keeps its bytes.
 * n_bytes is that of the documents. Local.
 *
 * BAL_TASK_MLM: every example stands between what the tokenizer puts before and after a text. Of
 * its tokens 15 % are scored, at least one; of these 80 % are read as the mask token, 10 % as any
 * token, 10 % as they are (Devlin et al. 2019, arXiv 1810.04805).
 * @return BAL_OK; BAL_ERR_INPUT: missing, no text in UTF-8, or shorter than one example, as it is
 *         if empty; BAL_ERR_CONFIG: a vocabulary without a mask token, or a context without room
 * for a token; BAL_ERR_MEMORY.
 */
bal_status bal_corpus_open(const char *path, const bal_tokenizer *tokenizer,
                           const bal_corpus_options *options, bal_dataset *dataset);

#ifdef __cplusplus
}
#endif

#endif
