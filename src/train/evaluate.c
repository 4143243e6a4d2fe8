/* evaluate.c: the loss of a model over a data set. */
#include "ballot/evaluate.h"

double bal_score_nats(const bal_score *score)
{
    return (double)score->loss / (double)score->n_tokens / BAL_LOSS_UNITS_PER_NAT;
}

bal_status bal_evaluate(bal_comm *comm, bal_forward *forward, const bal_dataset *data,
                        int64_t n_examples, int64_t n_per_batch, bal_batch *batch, bal_score *score)
{
    int64_t n = data->n_examples;
    int64_t sum[3] = {0};
    bal_status status = BAL_OK;
    if (n_examples > 0 && n_examples < n) n = n_examples;
    int64_t stride = n_per_batch * bal_comm_size(comm);
    for (int64_t first = n_per_batch * bal_comm_rank(comm); first < n && status == BAL_OK;
         first += stride) {
        bal_losses losses = {0};
        bal_dataset_take(data, first, n - first < n_per_batch ? n - first : n_per_batch, batch);
        status = bal_forward_losses(forward, batch, NULL, &losses);
        sum[0] += losses.loss;
        sum[1] += batch->n_scored;
        sum[2] += losses.n_right;
    }
    BAL_TRY(bal_comm_agree(comm, status));
    BAL_TRY(bal_comm_sum(comm, sum, 3));
    if (sum[1] == 0)
        return bal_fail(BAL_ERR_INPUT,
                        "the text is too short to evaluate: no token follows another");
    *score = (bal_score){sum[0], sum[1], sum[2]};
    return BAL_OK;
}
