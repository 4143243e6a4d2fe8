/* include/ballot/evaluate.h: the loss of a model over a data set, shared out to the ranks. Knows
 * examples and losses; knows nothing of jobs or runs. */
#ifndef BALLOT_EVALUATE_H
#define BALLOT_EVALUATE_H

#include "ballot/batch.h"
#include "ballot/comm.h"
#include "ballot/model.h"

BAL_C_BEGIN

/** What an evaluation found. */
typedef struct bal_score {
    int64_t loss, n_tokens, n_right; /* loss units, summed */
} bal_score;
/** Loss per token in nats. Local. */
double bal_score_nats(const bal_score *score);

/**
 * Evaluate consecutive examples, dealt to the ranks. Sums are integers, so the result does not
 * depend on the number of ranks. Collective.
 * @param n_examples  at most so many; 0: all
 * @param batch       work space for n_per_batch examples
 */
bal_status bal_evaluate(bal_comm *comm, bal_forward *forward, const bal_dataset *data,
                        int64_t n_examples, int64_t n_per_batch, bal_batch *batch,
                        bal_score *score);

BAL_C_END

#endif
