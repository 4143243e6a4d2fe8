/* evaluate.c: the loss of a model over a corpus; comparing the replicas. */
#include <stdlib.h>

#include "ballot/train.h"

double bal_score_nats(const bal_score *score)
{
    return (double)score->loss / (double)score->n_tokens / BAL_LOSS_UNITS_PER_NAT;
}

bal_status bal_evaluate(bal_comm *comm, bal_forward *forward, const bal_corpus *corpus,
                        int64_t n_examples, int64_t n_per_batch, bal_batch *batch, bal_score *score)
{
    int64_t    n      = bal_corpus_n_examples(corpus);
    int64_t    sum[3] = {0};
    bal_status status = BAL_OK;
    if (n_examples > 0 && n_examples < n) n = n_examples;
    int64_t stride = n_per_batch * bal_comm_size(comm);
    for (int64_t first = n_per_batch * bal_comm_rank(comm); first < n && status == BAL_OK;
         first += stride) {
        bal_losses losses = {0};
        bal_corpus_take(corpus, first, n - first < n_per_batch ? n - first : n_per_batch, batch);
        status = bal_forward_losses(forward, batch, NULL, &losses);
        sum[0] += losses.loss;
        sum[1] += batch->n_tokens;
        sum[2] += losses.n_right;
    }
    BAL_TRY(bal_comm_agree(comm, status));
    BAL_TRY(bal_comm_sum(comm, sum, 3));
    if (sum[1] == 0)
        return bal_fail(BAL_ERR_INPUT, "the text has no token that another one predicts");
    *score = (bal_score){sum[0], sum[1], sum[2]};
    return BAL_OK;
}

/* Which rank and tensor: every tensor's fingerprint from every rank. */
static bal_status name_difference(bal_comm *comm, const bal_model *model)
{
    int        n = bal_model_n_tensors(model), size = bal_comm_size(comm);
    uint64_t  *mine   = bal_alloc((size_t)n, sizeof *mine);
    uint64_t  *all    = bal_alloc((size_t)n * (size_t)size, sizeof *all);
    bal_status status = mine == NULL || all == NULL
                            ? bal_fail(BAL_ERR_MEMORY, "no memory to compare ranks")
                            : BAL_OK;
    status            = bal_comm_agree(comm, status);
    if (status != BAL_OK) goto done;
    for (int i = 0; i < n; ++i) mine[i] = bal_tensor_fingerprint(bal_model_tensor(model, i), i);
    status = bal_comm_gather(comm, mine, n, all);
    for (int i = 0; i < n && status == BAL_OK; ++i) {
        int most = -1, best = 0,
            odd = -1; /* the replica that most ranks hold is taken to be right */
        for (int a = 0; a < size; ++a) {
            int same = 0;
            for (int b = 0; b < size; ++b) same += all[a * n + i] == all[b * n + i];
            if (same > best) best = same, most = a;
        }
        for (int a = 0; a < size && odd < 0; ++a)
            if (all[a * n + i] != all[most * n + i]) odd = a;
        if (odd >= 0)
            status = bal_fail(BAL_ERR_STATE,
                              "replicas drifted: tensor %s of rank %d differs from that of %d of "
                              "%d ranks; check the memory of that rank's machine, then run the "
                              "same command again to go on from checkpoint and journal",
                              bal_model_tensor(model, i)->name, odd, best, size);
    }
done:
    free(mine);
    free(all);
    return status;
}

bal_status bal_replicas_compare(bal_comm *comm, const bal_model *model)
{
    uint64_t words[2] = {bal_model_fingerprint(model)};
    words[1]          = words[0];
    BAL_TRY(bal_comm_reduce(comm, &(bal_reduction){.n_min = 1, .n_max = 1}, words));
    return words[0] == words[1] ? BAL_OK : name_difference(comm, model);
}
