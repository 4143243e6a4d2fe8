/* evaluate.c: the loss of a model over a data set. */
#include "ballot/evaluate.h"

#include <stdlib.h>

double bal_score_nats(const bal_score *score)
{
    return (double)score->loss / (double)score->n_tokens / BAL_LOSS_UNITS_PER_NAT;
}

/* Questions of which the right answer has the best score. */
static int64_t count_right(const bal_batch *batch, const int64_t *answers)
{
    int64_t n = 0;
    for (int64_t i = 0; i < batch->n_questions; ++i)
        n += bal_batch_choice(batch, answers, &batch->questions[i]) == batch->questions[i].right;
    return n;
}

bal_status bal_evaluate(bal_comm *comm, bal_forward *forward, const bal_dataset *data,
                        int64_t n_examples, int64_t n_per_batch, bal_batch *batch, bal_score *score)
{
    int64_t n = data->n_examples;
    int64_t sum[3] = {0}, room = batch->room.answers;
    int64_t *answers = bal_alloc(2, (size_t)room * sizeof *answers);
    bal_status status =
        answers != NULL ? BAL_OK : bal_fail(BAL_ERR_MEMORY, "no memory for an evaluation");
    if (n_examples > 0 && n_examples < n) n = n_examples;
    int64_t stride = n_per_batch * bal_comm_size(comm);
    for (int64_t first = n_per_batch * bal_comm_rank(comm); first < n && status == BAL_OK;
         first += stride) {
        bal_losses losses = {.answers = answers};
        bal_dataset_take(data, first, n - first < n_per_batch ? n - first : n_per_batch, batch);
        status = bal_forward_losses(forward, batch, NULL, &losses);
        if (status != BAL_OK) break;
        sum[0] += bal_batch_losses(batch, answers, answers + room);
        sum[1] += bal_batch_weight(batch);
        sum[2] += data->example.answers > 1 ? count_right(batch, answers) : losses.n_right;
    }
    free(answers);
    BAL_TRY(bal_comm_agree(comm, status));
    BAL_TRY(bal_comm_sum(comm, sum, 3));
    if (sum[1] == 0)
        return bal_fail(BAL_ERR_INPUT, "the text has no token that another one predicts");
    *score = (bal_score){sum[0], sum[1], sum[2]};
    return BAL_OK;
}
