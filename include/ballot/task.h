/* include/ballot/task.h: tasks: questions about the rows of a file, with answers to choose from or
 * to write. A task is a file, see docs/tasks.md. Knows rows, texts and tokens; knows nothing of
 * models, ranks or jobs. */
#ifndef BALLOT_TASK_H
#define BALLOT_TASK_H

#include "ballot/batch.h"
#include "ballot/core.h"
#include "ballot/text.h"

BAL_C_BEGIN

/** Parts of a task's rows. No row is in two of them. */
typedef enum bal_split { BAL_SPLIT_TRAIN, BAL_SPLIT_DEV, BAL_SPLIT_TEST } bal_split;
#define BAL_N_SPLITS 3

/** How a task scores an answer. */
typedef enum bal_task_score {
    BAL_TASK_SCORE_DEFAULT, /* as the task file says */
    BAL_TASK_SCORE_SUM,
    BAL_TASK_SCORE_MEAN,
    BAL_TASK_SCORE_CALIBRATED, /* the mean, less that after the neutral prompt */
} bal_task_score;

/** How a task is used. All zeros: as its file says. */
typedef struct bal_task_options {
    const char *rows[BAL_N_SPLITS]; /* files; NULL: those of the task file. With rows of your own to
                                       train on, dev and test are parts of them unless given */
    const char *wording;            /* the NAME of a section [template NAME]; NULL: [template] */
    int64_t n[BAL_N_SPLITS];        /* rows at most; 0: as many as the task file says */
    int64_t shots;                  /* demonstrations before every prompt */
    uint64_t seed;                  /* of the splits and the demonstrations; not of the test rows */
    bal_task_score score;
    bool unused[BAL_N_SPLITS]; /* splits that are not needed, whose files may be missing */
} bal_task_options;

typedef struct bal_task bal_task; /* immutable once open */

/**
 * Read a task file, and the rows that it names. Paths of a task file start in its folder; those of
 * the options in the working directory. Local.
 * @param options  its strings are not needed after the call
 * @return BAL_OK; BAL_ERR_INPUT: a file that is missing or wrong (with its line), a row that does
 *         not parse or lacks a field, a label that is not in the list, an empty split, or too few
 *         rows to train on for the demonstrations; BAL_ERR_ARG: more than 1,024 demonstrations;
 *         BAL_ERR_MEMORY.
 */
bal_status bal_task_open(const char *path, const bal_task_options *options, bal_task **task);
/** Free it and set the pointer to NULL; NULL is fine. Data sets of it are gone before. Local. */
void bal_task_close(bal_task **task);

/** What a task file says, beside its texts; borrowed. */
typedef struct bal_task_facts {
    bal_metric metric;
    bal_task_score score;
    bool writes;               /* answers are written, and there are no labels */
    int n_labels;              /* answer i is right if the label is labels[i] */
    const char *const *labels; /* [n_labels] */
    bool same_answers;         /* of every row: answer i is that of labels[i] */
    const char *stop;          /* text that ends an answer that is written */
    int64_t n_new;             /* tokens of such an answer, at most */
    uint64_t hash;             /* of the bytes of the task file */
} bal_task_facts;
bal_task_facts bal_task_about(const bal_task *task);
/** Rows of a split; 0: it is unused. Local. */
int64_t bal_task_n(const bal_task *task, bal_split split);

/** A row as texts. */
typedef struct bal_asked {
    const char *path; /* of its file; borrowed */
    int64_t line;     /* there; of a JSON document the number of the row */
    char *prompt;     /* after the demonstrations */
    int n_answers;    /* to choose from; or, where answers are written, all that are right */
    char **answers;   /* [n_answers], with the spaces that the prompt ended with in front */
    int right;        /* 0 .. n_answers - 1 */
} bal_asked;
/** Row index of a split. Local; release with bal_asked_clear, also after a failure.
 *  @return BAL_OK; BAL_ERR_INPUT, with line and field: a filter that does not apply, a list that is
 *          empty, a right answer that is none of the answers; BAL_ERR_MEMORY. */
bal_status bal_task_ask(const bal_task *task, bal_split split, int64_t index, bal_asked *asked);
void bal_asked_clear(bal_asked *asked);
/** The demonstrations, with what stands between them and a prompt; "": none. Borrowed. Local. */
const char *bal_task_demonstrations(const bal_task *task);

/** How rows become examples. */
typedef struct bal_example_options {
    int64_t context; /* tokens of the longest example, at most */
    bool balanced;   /* examples that are drawn have each label as often: those of a batch in turn,
                        but for BAL_OBJECTIVE_LABEL; else each row is as likely */
    bal_objective objective; /* BAL_OBJECTIVE_LABEL: drawn examples have the right answer alone */
} bal_example_options;

/**
 * The rows of a split as examples. The tokens of an answer are those of prompt and answer together,
 * after the longest beginning that these share with the prompt's own tokens, for every answer.
 * What the tokenizer puts before a text comes first. Local.
 * @param data  needs the task while it is there; and the tokenizer, if answers are written
 * @return BAL_OK; BAL_ERR_INPUT, with line: errors of bal_task_ask; an example that is longer than
 *         the context; answers that have the same tokens or none; BAL_ERR_MEMORY.
 */
bal_status bal_task_dataset(const bal_task *task, const bal_tokenizer *tokenizer, bal_split split,
                            const bal_example_options *options, bal_dataset *data);

/** The text of an answer that a model wrote, up to what ends it; free() it. Local.
 *  @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_task_answer(const bal_task *task, const bal_tokenizer *tokenizer,
                           const int32_t *tokens, int64_t n, char **text);

/* Metrics are integers, sums of BAL_METRIC_ONE. Intervals are for people. */

#define BAL_METRIC_ONE BAL_LOSS_UNITS_PER_NAT /* units of a metric of 1 */

/** Are two answers the same words? Words are compared in lower case, without the punctuation of
 *  ASCII and without a, an and the. Local.
 *  Source: evaluation of SQuAD 1.1 (Rajpurkar et al. 2016). */
bool bal_answer_exact(const char *answer, const char *right);
/** F1 of the words that two answers share, each as often as in both, of BAL_METRIC_ONE, rounded to
 *  the nearest. 1 if both have no words, 0 if one has none. Local. */
int64_t bal_answer_f1(const char *answer, const char *right);

/** A value and its 95 % interval, each in [0, 1]. */
typedef struct bal_interval {
    double value, low, high;
} bal_interval;
/** Of a share of n > 0 rows. Local. Source: Wilson (1927). */
bal_interval bal_interval_share(int64_t n_right, int64_t n);
/** Of the mean of values of BAL_METRIC_ONE: the 2.5 and 97.5 percentiles of the means of 1,000
 *  samples of n > 0 rows, drawn with replacement by the seed. Local. Source: Efron (1979). */
bal_interval bal_interval_mean(const int64_t *values, int64_t n, uint64_t seed);
/** Of macro-F1, likewise. @param right, chosen  [n] labels. @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_interval_macro_f1(const int64_t *right, const int64_t *chosen, int64_t n,
                                 int n_labels, uint64_t seed, bal_interval *interval);

BAL_C_END

#endif
