/* include/ballot/batch.h: what a model reads, a batch of token sequences, and the data sets that
 * batches are taken from. Knows tokens; knows nothing of files, text, models or ranks. */
#ifndef BALLOT_BATCH_H
#define BALLOT_BATCH_H

#include "ballot/core.h"
#include "ballot/kernels.h"

BAL_C_BEGIN

#define BAL_BATCH_MAX 128              /* examples of a mini-batch */
#define BAL_LOSS_UNITS_PER_NAT 1048576 /* one loss unit is 2^-20 nats per word */

/** How much of each there is room for, or in use. */
typedef struct bal_batch_size {
    int64_t sequences, tokens, answers; /* at most as many words are scored as there are tokens */
} bal_batch_size;

/** What the model says, at a token, about the word that comes next: it adds to the loss of an
 *  answer. */
typedef struct bal_scored {
    int32_t token, word, answer;
} bal_scored;

/** What is learned of a question. */
typedef enum bal_objective {
    BAL_OBJECTIVE_LABEL,      /* cross-entropy of the words of the right answer, summed */
    BAL_OBJECTIVE_CANDIDATES, /* cross-entropy of the right answer in the softmax of the scores */
    BAL_OBJECTIVE_ACCURACY,   /* one nat if another answer has the best score, else 0 */
    BAL_OBJECTIVE_F1, /* of answers that are written: the mean of 1 - F1 of their words; else: 1 -
                         macro-F1 of the answers with the best scores, which is no sum over the
                         questions: nats times their number */
    BAL_OBJECTIVE_CENTRED, /* cross-entropy as above, but of scores less the mean of their label
                              over the batch, and 1 / BAL_CENTRED_SHARE of what the means add to it;
                              of questions with the same answers, BAL_CENTRED_LABELS_MAX at most */
} bal_objective;

#define BAL_CENTRED_SHARE 16
#define BAL_CENTRED_LABELS_MAX 256

/** How the score of an answer is taken. */
typedef enum bal_scoring {
    BAL_SCORING_SUM,  /* of the log probabilities of its words */
    BAL_SCORING_MEAN, /* of the same */
} bal_scoring;

/** What batches are for. All zeros: to learn a text. */
typedef struct bal_aim {
    bal_objective objective;
    bal_scoring scoring;
    bool relative; /* losses only matter beside those of the same question, which scores one word
                      per answer at one token: they lack the sum over the vocabulary, which they
                      would share */
} bal_aim;

/** Answers of which one is right. A text asks a question per sequence, with one answer: the words
 *  that follow. */
typedef struct bal_question {
    int64_t prompt;            /* the sequence that is answered; -1: of a text */
    int32_t answer, n_answers; /* the first one, and how many: they follow each other */
    int32_t right;             /* 0 .. n_answers - 1 */
    bool calibrated;           /* as many answers again follow, to a neutral prompt */
    int64_t example;           /* if answers are written: its number in the data set */
} bal_question;

/**
 * Sequences end to end, and what is asked of them. A sequence may continue an earlier one, its
 * parent: its tokens then come after those of the parent, which is read once, however many continue
 * it. So demonstrations are the parent of prompts, and a prompt is the parent of its candidates.
 */
typedef struct bal_batch {
    bal_batch_size room;
    int64_t n_sequences, n_tokens, n_scored, n_answers, n_questions;
    int64_t *start;          /* [n_sequences + 1]; start[n_sequences] is n_tokens */
    int64_t *parent;         /* [n_sequences] an earlier sequence; -1: none */
    int32_t *tokens;         /* [n_tokens] */
    bal_scored *scored;      /* [n_scored] in any order */
    int32_t *n_words;        /* [n_answers] that are scored of an answer */
    bal_question *questions; /* [n_questions] */
    bal_aim aim;
    bool continues; /* what all examples begin with is read already, and no part of it: sequences
                       without a parent come after that */
} bal_batch;
/** Room for n sequences of a text, of at most context tokens. Local. */
bal_batch_size bal_batch_text(int64_t n, int64_t context);
/** Room for a batch of either size. Local. */
bal_batch_size bal_batch_either(bal_batch_size a, bal_batch_size b);
/** An empty batch. Local. @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_batch_init(bal_batch *batch, bal_batch_size room);
void bal_batch_clear(bal_batch *batch);
/** Take every sequence out; the room stays. Local. */
void bal_batch_empty(bal_batch *batch);

/* Writing a sequence of a text. */

/** Append a token to the sequence that is being written. Local.
 *  @param target  the word that comes next; below 0: not scored */
void bal_batch_add(bal_batch *batch, int32_t token, int32_t target);
/** End the sequence that is being written, and its question. Local. */
void bal_batch_end(bal_batch *batch);

/* Writing a question about a prompt. */

/** A sequence of n tokens. Local. @return its number, to be the parent of others */
int64_t bal_batch_sequence(bal_batch *batch, int64_t parent, const int32_t *tokens, int64_t n);
/** Ask a question about a prompt; its answers are added next. Local. */
void bal_batch_ask(bal_batch *batch, int64_t prompt, int32_t n_answers, int32_t right,
                   bool calibrated);
/** An answer of n words to a prompt, a sequence: the first is scored at the last token of the
 *  prompt; those before the last become a sequence that continues it. Local. */
void bal_batch_answer(bal_batch *batch, int64_t prompt, const int32_t *words, int64_t n);

/* From the losses of a batch's answers to those of its questions. */

/** The score of an answer, in loss units; the lower the better. Local.
 *  @param answers  [n_answers] their losses, loss units */
int64_t bal_batch_score(const bal_batch *batch, const int64_t *answers,
                        const bal_question *question, int32_t answer);
/** Which answer to a question has the lowest score; of equal ones the first. Local. */
int32_t bal_batch_choice(const bal_batch *batch, const int64_t *answers,
                         const bal_question *question);
/** Macro-F1 of n choices, in 1 / BAL_LOSS_UNITS_PER_NAT: the mean of 2 tp / (2 tp + fp + fn) over
 *  the labels that are right or chosen at least once, each rounded to the nearest; 0: n is 0.
 * Local.
 *  @param right, chosen  [n] labels, 0 .. n_labels - 1 */
int64_t bal_macro_f1(int64_t n, int n_labels, const int64_t *right, const int64_t *chosen);
/** The loss of a batch as the aim says, the same on every machine. Local.
 *  @param questions  set to [n_questions] losses, loss units, each of a question by itself
 *  @return their sum; of BAL_OBJECTIVE_F1, with at most BAL_BATCH_MAX questions, that of all
 *          together */
int64_t bal_batch_losses(const bal_batch *batch, const int64_t *answers, int64_t *questions);
/** What that loss is divided by for a mean: words that are learned, or questions. Local. */
int64_t bal_batch_weight(const bal_batch *batch);

/** What says how good the answers to a data set's questions are. */
typedef enum bal_metric {
    BAL_METRIC_ACCURACY,
    BAL_METRIC_MACRO_F1,    /* the mean of F1 over the labels; see bal_macro_f1 */
    BAL_METRIC_EXACT_MATCH, /* of answers that are written: how many are right */
    BAL_METRIC_TOKEN_F1,    /* of the same: the mean F1 of their words */
} bal_metric;

/** How good an answer is that a model wrote. */
typedef struct bal_grade {
    bool exact;     /* it is one of the right ones */
    int64_t missed; /* 1 - F1 of its words, in units of 1 / BAL_LOSS_UNITS_PER_NAT */
} bal_grade;

/** How answers are written, where none are given to choose from. Prompts continue what all begin
 *  with, if there is such a beginning, or nothing. */
typedef struct bal_writing {
    int64_t max_words; /* tokens of an answer, at most */
    /** Does this token end an answer? */
    bool (*ends)(const void *self, int32_t token);
    /** Grade an answer to example index, n tokens. @return BAL_OK; BAL_ERR_MEMORY. */
    bal_status (*grade)(const void *self, int64_t index, const int32_t *tokens, int64_t n,
                        bal_grade *grade);
} bal_writing;

/**
 * A data set: numbered examples for evaluating, drawn ones for learning. Whoever makes one fills
 * the members in; whoever reads one calls the functions below. All zeros: no data set.
 */
typedef struct bal_dataset {
    int64_t n_examples;             /* that have a number */
    int64_t n_bytes;                /* of the text that the examples are made of; 0: of no text */
    size_t memory_bytes;            /* that the data set takes */
    uint64_t hash;                  /* of everything that decides an example */
    bal_batch_size example, common; /* of an example at most; of what all of a batch begin with */
    bal_aim aim;
    bal_metric metric;          /* of a text it means nothing */
    const char *const *labels;  /* names of the answers to choose from, if those of every example
                                   are the same; NULL: each has its own */
    const bal_writing *writing; /* NULL: answers are given */
    void *self;                 /* what the functions are given */
    /** Append example number index, in [0, n_examples): always the same. Into an empty batch goes
     *  what all begin with before it, unless the batch continues. */
    void (*take)(const void *self, int64_t index, bal_batch *batch);
    /** Append an example that random alone decides, or random and what the batch has; every value
     *  of random is as likely. */
    void (*draw)(const void *self, uint64_t random, bal_batch *batch);
    /** Free self; NULL: nothing to free. */
    void (*destroy)(void *self);
} bal_dataset;

/** Free what a data set owns and make it none; none is fine. Local. */
void bal_dataset_clear(bal_dataset *dataset);
/** Room for n examples of a data set. Local. */
bal_batch_size bal_dataset_room(const bal_dataset *dataset, int64_t n);
/** Examples first .. first + n - 1 as a batch, which has room for them. Local. */
void bal_dataset_take(const bal_dataset *dataset, int64_t first, int64_t n, bal_batch *batch);
/** The same without what all begin with: a batch that continues. Local. */
void bal_dataset_continue(const bal_dataset *dataset, int64_t first, int64_t n, bal_batch *batch);
/** The mini-batch of a slot: n examples, at most BAL_BATCH_MAX, drawn with replacement. A pure
 *  function of (seed, step, slot). Local. */
void bal_dataset_draw(const bal_dataset *dataset, const bal_kernels *kernels, uint64_t seed,
                      uint32_t step, uint32_t slot, int64_t n, bal_batch *batch);

BAL_C_END

#endif
