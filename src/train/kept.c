/* kept.c: what a run keeps beside its model: the base, which reads prompts and from which trials
 * go, and texts as they were read where no code moves. */
#include <stdlib.h>
#include <string.h>

#include "train_impl.h"

#define MIB 1048576

size_t bal_model_bytes(const bal_run *run)
{
    const bal_replica *r = &run->replica;
    return bal_tensors_bytes(r->tensors) + bal_states_bytes(&r->states, r->tensors);
}

/* Bytes of the base that a run keeps. */
static size_t base_bytes(const bal_run *run)
{
    if (bal_job_finds_travel(run->job)) return bal_model_bytes(run);
    return run->job->vote.positions == BAL_POSITIONS_ANSWER
               ? bal_tensors_bytes(run->replica.tensors)
               : 0;
}

static uint64_t hash_part(const bal_run *run)
{
    const bal_shared *base = run->replica.base_shared;
    size_t first, end;
    bal_shared_slice(base, base_bytes(run), &first, &end);
    return bal_hash((const char *)bal_shared_memory(base) + first, end - first, 0);
}

/* The base is the model of now. Collective. */
static bal_status copy_base(bal_run *run)
{
    bal_replica *r = &run->replica;
    BAL_TRY(bal_comm_agree(run->comm, bal_shared_copy(r->shared, base_bytes(run), r->base_shared)));
    r->base_hash = hash_part(run);
    return BAL_OK;
}

bal_status bal_run_keep_base(bal_run *run)
{
    bal_replica *r = &run->replica;
    if (base_bytes(run) == 0) return BAL_OK;
    BAL_TRY(bal_shared_create(run->comm, base_bytes(run), run->job->run.share == BAL_SHARE_NODE,
                              &r->base_shared));
    BAL_TRY(copy_base(run));
    if (run->job->vote.positions != BAL_POSITIONS_ANSWER) return BAL_OK;
    BAL_TRY(bal_comm_agree(run->comm, bal_model_outline(bal_model_shape(r->model),
                                                        bal_model_formats(r->model), &r->base)));
    bal_tensors_attach(bal_model_tensors(r->base), bal_shared_memory(r->base_shared));
    snprintf(r->base_id.path, sizeof r->base_id.path, "%s", run->job->model.path);
    r->base_id.fingerprint = bal_tensors_fingerprint(r->tensors);
    return BAL_OK;
}

bal_status bal_run_check_base(const bal_run *run)
{
    if (run->replica.base_shared == NULL || hash_part(run) == run->replica.base_hash) return BAL_OK;
    int rank = bal_comm_rank(run->comm);
    return bal_fail(BAL_ERR_NUMERIC,
                    "the base model that rank %d keeps has changed; check the memory of its "
                    "machine, %s",
                    rank, bal_comm_host(run->comm, rank));
}

bal_status bal_run_restore_base(bal_run *run)
{
    const bal_replica *r = &run->replica;
    int64_t n_changed = bal_run_check_base(run) != BAL_OK;
    uint64_t print;
    BAL_TRY(bal_comm_sum(run->comm, &n_changed, 1));
    if (n_changed == 0) return BAL_OK;
    BAL_TRY(bal_run_fill(run, -1));
    bal_status status = bal_replica_fingerprint(r->shared, r->tensors, &r->states, &print);
    if (status == BAL_OK && print != run->id.base_hash)
        status = bal_fail(BAL_ERR_INPUT, "%s: is no longer the model that the run began with",
                          run->job->model.path);
    BAL_TRY(bal_comm_agree(run->comm, status));
    return copy_base(run);
}

/* Add what the examples of a data set take in a store. */
static void add_examples(const bal_dataset *data, bal_forward *forward, bal_batch *batch,
                         bal_kept_bytes *bytes)
{
    for (int64_t i = 0; i < data->n_examples; ++i) {
        bal_dataset_take(data, i, 1, batch);
        size_t n = bal_forward_keep_bytes(forward, batch);
        bytes->all += n;
        if (n > bytes->most) bytes->most = n;
    }
}

/* The same of training and dev rows, by a work space that has room for one. */
static bal_status add_rows(const bal_job *job, const bal_inputs *inputs, const bool *on_ballot,
                           bal_kept_bytes *bytes)
{
    const bal_model *model = inputs->bundle.model;
    bool answer = job->vote.positions == BAL_POSITIONS_ANSWER;
    bal_forward *forward = NULL;
    bal_batch batch;
    BAL_TRY(bal_batch_init(&batch, bal_batch_either(bal_dataset_room(&inputs->train, 1),
                                                    bal_dataset_room(&inputs->dev, 1))));
    bal_status status = bal_forward_create(model, bal_kernels_at(BAL_ISA_REF), batch.room.tokens,
                                           job->data.context, &forward);
    if (status == BAL_OK) {
        bal_forward_keep(forward,
                         &(bal_keep){.on_ballot = on_ballot, .base = answer ? model : NULL});
        add_examples(&inputs->train, forward, &batch, bytes);
        add_examples(&inputs->dev, forward, &batch, bytes);
    }
    bal_forward_destroy(&forward);
    bal_batch_clear(&batch);
    return status;
}

/* Does a run keep what rows give? Where blocks vote by turns, what lies below the block of the step
 * is computed once for a team instead. */
static bool keeps_rows(const bal_job *job)
{
    return bal_job_has_task(job) &&
           (job->vote.turns == BAL_TURNS_NONE || job->vote.positions == BAL_POSITIONS_ANSWER);
}

/* Bytes of a store of rows that take so many, with its tables. */
static size_t room_for(size_t all) { return all > 0 ? all + all / 32 + MIB : 0; }

bal_status bal_kept_size(const bal_job *job, const bal_inputs *inputs, bal_kept_bytes *bytes)
{
    const bal_tensors *tensors = bal_model_tensors(inputs->bundle.model);
    *bytes = (bal_kept_bytes){0};
    if (!keeps_rows(job)) return BAL_OK;
    bool *on_ballot = bal_alloc((size_t)tensors->n, sizeof *on_ballot);
    if (on_ballot == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for %d flags", tensors->n);
    bal_status status = bal_job_tensors(job, tensors, on_ballot);
    if (status == BAL_OK) status = add_rows(job, inputs, on_ballot, bytes);
    free(on_ballot);
    size_t room = (size_t)job->data.cache * MIB, wanted = room_for(bytes->all);
    bytes->store = wanted < room ? wanted : room;
    return status;
}

bal_status bal_run_keep(bal_run *run)
{
    bal_replica *r = &run->replica;
    bal_keep keep = {.on_ballot = run->update.on_ballot, .base = r->base};
    bal_kept_bytes bytes;
    if (!keeps_rows(run->job)) return BAL_OK;
    bal_forward_keep(r->forward, &keep);
    BAL_TRY(bal_comm_agree(run->comm, bal_kept_size(run->job, &run->inputs, &bytes)));
    if (run->writes && bytes.store < room_for(bytes.all))
        bal_log(
            BAL_LOG_SAY,
            "rows as the codes that never move read them take %zu MiB; data.cache = %lld holds a "
            "part, and steps compute the others again: set it higher where there is memory",
            room_for(bytes.all) / MIB, (long long)run->job->data.cache);
    if (bytes.store == 0) return BAL_OK;
    BAL_TRY(bal_shared_create(run->comm, bytes.store, run->job->run.share == BAL_SHARE_NODE,
                              &r->store_shared));
    r->store_bytes = bytes.store;
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
