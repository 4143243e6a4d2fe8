/* include/ballot/evaluate.h: the loss of a model over a data set, shared out to the ranks. Knows
 * examples and losses; knows nothing of jobs or runs. */
#ifndef BALLOT_EVALUATE_H
#define BALLOT_EVALUATE_H

#include "ballot/batch.h"
#include "ballot/comm.h"
#include "ballot/model.h"

BAL_C_BEGIN

/** What an evaluation found. Plain; but for merit, the sum of what parts of a data set found is
 * what all did. */
typedef struct bal_score {
    int64_t loss;     /* summed, loss units */
    int64_t n_tokens; /* what it is divided by, see bal_batch_weight */
    int64_t n_right;  /* of a text: words that have the highest logit; else: examples whose right
                         answer has the best score, or was written */
    int64_t f1;       /* of answers that were written: summed, in 1 / BAL_LOSS_UNITS_PER_NAT */
    int64_t merit;    /* of a task: its metric over all examples, in the same unit, which is no sum;
                         of a text: -1 */
} bal_score;
/** What makes a score the better one. */
typedef enum bal_best {
    BAL_BEST_METRIC, /* merit, and of equal ones the loss */
    BAL_BEST_LOSS,
    BAL_BEST_LAST, /* that it is the later one */
} bal_best;
/** Is a, the later one, better? Any score is better than none (n_tokens 0). Local. */
bool bal_score_better(const bal_score *a, const bal_score *b, bal_best by);
/** Loss per token or question in nats. Local. */
double bal_score_nats(const bal_score *score);
/** A merit of 0 to 1. Local. */
double bal_merit(int64_t merit);

/** What became of an example. */
typedef struct bal_outcome {
    int64_t loss;             /* loss units */
    int64_t right, chosen, n; /* answers, 0 .. n - 1; chosen is -1 if a wrong one was written */
    int64_t f1;               /* as in bal_score */
} bal_outcome;
/** What became of each. */
typedef struct bal_outcomes {
    int64_t n, width, max_words; /* examples; the most answers of one, and words of one */
    bal_outcome *examples;       /* [n] */
    int64_t *scores;             /* [n][width] of the answers, loss units, the lower the better */
    int64_t *words; /* [n][max_words] tokens of answers that were written, plus 1; then 0 */
} bal_outcomes;
void bal_outcomes_clear(bal_outcomes *outcomes);

/**
 * Evaluate consecutive examples, dealt to the ranks. Sums are integers, so the result does not
 * depend on the number of ranks. Collective.
 * @param n_examples  at most so many; 0: all
 * @param batch       work space for n_per_batch examples
 * @param outcomes    set to what became of each, on every rank, to be cleared; NULL: not wanted
 */
bal_status bal_evaluate(bal_comm *comm, bal_forward *forward, const bal_dataset *data,
                        int64_t n_examples, int64_t n_per_batch, bal_batch *batch, bal_score *score,
                        bal_outcomes *outcomes);

BAL_C_END

#endif
