/* kept.c: what a run keeps beside its model: the base that reads prompts, and texts as they were
 * read where no code moves. */
#include <string.h>

#include "train_impl.h"

#define MIB 1048576

bal_status bal_run_load_base(bal_run *run)
{
    bal_replica *r = &run->replica;
    size_t n_bytes = bal_tensors_bytes(r->tensors);
    if (run->job->vote.positions == BAL_POSITIONS_ALL) return BAL_OK;
    BAL_TRY(bal_comm_agree(run->comm, bal_model_outline(bal_model_shape(r->model),
                                                        bal_model_formats(r->model), &r->base)));
    BAL_TRY(bal_shared_create(run->comm, n_bytes, run->job->run.share == BAL_SHARE_NODE,
                              &r->base_shared));
    bal_tensors_attach(bal_model_tensors(r->base), bal_shared_memory(r->base_shared));
    if (bal_shared_part(r->base_shared) == 0)
        memcpy(bal_shared_memory(r->base_shared), bal_shared_memory(r->shared), n_bytes);
    snprintf(r->base_id.path, sizeof r->base_id.path, "%s", run->job->model.path);
    r->base_id.fingerprint = bal_tensors_fingerprint(r->tensors);
    return bal_comm_agree(run->comm, bal_shared_sync(r->base_shared));
}

/* Bytes that all examples of a data set take in the store. */
static size_t example_bytes(const bal_run *run, const bal_dataset *data)
{
    bal_batch *batch = &((bal_run *)(uintptr_t)run)->replica.batch;
    size_t n_bytes = 0;
    for (int64_t i = 0; i < data->n_examples; ++i) {
        bal_dataset_take(data, i, 1, batch);
        n_bytes += bal_forward_keep_bytes(run->replica.forward, batch);
    }
    return n_bytes;
}

bal_status bal_run_keep(bal_run *run)
{
    bal_replica *r = &run->replica;
    bal_keep keep = {.on_ballot = run->update.on_ballot, .base = r->base};
    if (!bal_job_has_task(run->job)) return BAL_OK;
    bal_forward_keep(r->forward, &keep);
    size_t most = (size_t)run->job->data.cache * MIB;
    size_t n_bytes = example_bytes(run, &run->inputs.train) + example_bytes(run, &run->inputs.dev);
    if (n_bytes == 0 || most == 0) return BAL_OK;
    n_bytes += n_bytes / 32 + MIB; /* for its own tables */
    if (n_bytes > most) n_bytes = most;
    BAL_TRY(bal_shared_create(run->comm, n_bytes, run->job->run.share == BAL_SHARE_NODE,
                              &r->store_shared));
    r->store_bytes = n_bytes;
    keep.store = bal_shared_memory(r->store_shared);
    BAL_TRY(bal_run_forget(run));
    bal_forward_keep(r->forward, &keep);
    return BAL_OK;
}

bal_status bal_run_forget(bal_run *run)
{
    bal_replica *r = &run->replica;
    if (r->store_shared == NULL) return BAL_OK;
    BAL_TRY(bal_shared_sync(r->store_shared));
    if (bal_shared_part(r->store_shared) == 0)
        bal_store_empty(bal_shared_memory(r->store_shared), r->store_bytes);
    return bal_comm_agree(run->comm, bal_shared_sync(r->store_shared));
}
