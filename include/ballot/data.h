/* include/ballot/data.h: makes data sets of text files. Knows tokens; knows nothing of models,
 * ranks or losses. */
#ifndef BALLOT_DATA_H
#define BALLOT_DATA_H

#include "ballot/batch.h"
#include "ballot/core.h"
#include "ballot/text.h"

BAL_C_BEGIN

/** What a model learns from a text. */
typedef enum bal_text_task {
    BAL_TASK_LM,  /* the next token */
    BAL_TASK_MLM, /* masked or replaced tokens, from those before and after them */
} bal_text_task;

/** How a text becomes examples. */
typedef enum bal_examples {
    BAL_EXAMPLES_WINDOWS,   /* one stream of tokens, cut into windows of the context length */
    BAL_EXAMPLES_DOCUMENTS, /* documents between blank lines, cut into pieces of at most the context
                               length, each after a start token */
} bal_examples;

/** How to make a data set of a text. */
typedef struct bal_corpus_options {
    bal_text_task task;
    bal_examples examples;
    int64_t context; /* most tokens of an example, 2 .. 2^20 */
    bool as_0_1;     /* as in version 0.1, only empty lines end documents, and CRs are kept */
} bal_corpus_options;

/**
 * Read and tokenize a text file. Local.
 *
 * A window of the stream is t0, t1, ... with targets t1, t2, ... A document follows the start
 * token, if the vocabulary has one: start, t0, t1, ... with targets t0, t1, t2, ... Without one,
 * its first token is not scored. Numbered examples follow each other. Each token is in one of them,
 * and is scored once in BAL_TASK_LM. Drawn windows start at any token.
 *
 * A blank line has only spaces, tabs and CRs. In documents a CR before LF is dropped, so a text
 * gives the same examples however its lines end. A stream keeps its bytes. n_bytes counts the bytes
 * of the stream, or of the documents.
 *
 * In BAL_TASK_MLM every example stands between what the tokenizer puts before and after a text. 15
 * % of its tokens are scored, at least one. Of these 80 % are read as the mask token, 10 % as a
 * random token and 10 % as they are (Devlin et al. 2019, arXiv 1810.04805).
 * @return BAL_OK; BAL_ERR_INPUT: missing, not text in UTF-8, or shorter than one example;
 *         BAL_ERR_CONFIG: a vocabulary without a mask token, or a context without room for a token;
 *         BAL_ERR_MEMORY.
 */
bal_status bal_corpus_open(const char *path, const bal_tokenizer *tokenizer,
                           const bal_corpus_options *options, bal_dataset *dataset);

BAL_C_END

#endif
