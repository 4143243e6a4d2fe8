/* rebuild.c: the model of a step from what is on disk: a checkpoint or the base, then the ballots
 * of the journal. A run begins so, and so does a replica that drifted go on. */
#include <stdlib.h>
#include <string.h>

#include "train_impl.h"

bal_status bal_checkpoint_find(const bal_run *run, int64_t *step)
{
    int64_t *steps = NULL, n = 0;
    bal_status status = BAL_OK;
    BAL_TRY(bal_checkpoint_list(run, &steps, &n));
    *step = -1;
    for (int64_t i = 0; i < n && *step < 0 && status == BAL_OK; ++i) {
        char name[64], path[BAL_PATH_BYTES];
        bal_checkpoint_name(steps[i], name);
        bal_run_path(run, name, path);
        bal_status whole = bal_checkpoint_verify(path);
        if (whole == BAL_OK)
            *step = steps[i];
        else if (whole == BAL_ERR_MEMORY)
            status = whole;
        else
            bal_log(BAL_LOG_WARN, "%s; the one before it is used", bal_failure());
    }
    free(steps);
    return status;
}

/* A checkpoint instead of the base, in the same memory. For the ranks that fill a copy; rank 0 is
 * one of them. */
static bal_status read_checkpoint(bal_run *run, int64_t step)
{
    char name[64], path[BAL_PATH_BYTES];
    bal_snapshot snapshot;
    bal_checkpoint_name(step, name);
    bal_run_path(run, name, path);
    BAL_TRY(bal_checkpoint_outline(path, true, &snapshot));
    bal_status status = bal_run_compare_id(run, &snapshot.id);
    if (status == BAL_OK && snapshot.step != step)
        status = bal_fail(BAL_ERR_INPUT, "%s: is of step %lld", path, (long long)snapshot.step);
    if (status == BAL_OK && snapshot.metrics.n > step)
        status = bal_fail(BAL_ERR_INPUT, "%s: %lld rows of metrics; expected at most %lld", path,
                          (long long)snapshot.metrics.n, (long long)step);
    while (status == BAL_OK && snapshot.metrics.n < step) { /* one of ballot replay has none */
        int64_t row = bal_metrics_add(&snapshot.metrics);
        if (row < 0)
            status = bal_fail(BAL_ERR_MEMORY, "no memory for metrics");
        else
            snapshot.metrics.n_passes[row] = (row + 1) * 2 * run->job->vote.slots;
    }
    if (status == BAL_OK) status = bal_checkpoint_fill(path, bal_model_tensors(run->model));
    if (status == BAL_OK && run->writes) {
        bal_metrics_clear(&run->metrics);
        run->metrics = snapshot.metrics;
        snapshot.metrics = (bal_metrics){0};
    }
    bal_snapshot_clear(&snapshot);
    return status;
}

bal_status bal_run_fill(bal_run *run, int64_t checkpoint)
{
    bal_status status = BAL_OK;
    if (bal_shared_part(run->shared) == 0) { /* one rank of each copy reads */
        bal_tensors_zero(bal_model_tensors(run->model));
        status = checkpoint < 0 ? bal_source_fill(run->job->model.path, run->model)
                                : read_checkpoint(run, checkpoint);
    }
    run->step = checkpoint < 0 ? 0 : checkpoint;
    BAL_TRY(bal_comm_agree(run->comm, status));
    return bal_comm_agree(run->comm, bal_shared_sync(run->shared));
}

bal_status bal_run_replay(bal_run *run, int64_t n_entries)
{
    if (run->step < n_entries && run->writes)
        bal_log(BAL_LOG_SAY, "replaying steps %lld to %lld from the journal", (long long)run->step,
                (long long)n_entries);
    while (run->step < n_entries) {
        bal_journal_entry entry = {0};
        bal_status status = bal_run_pending(run);
        if (run->writes) {
            if (status == BAL_OK) status = bal_journal_read(run->journal, run->step, &entry);
            if (status == BAL_OK)
                memcpy(run->bits, entry.bits,
                       (size_t)bal_ballot_words(bal_job_ballot(run->job)) * sizeof *run->bits);
        }
        BAL_TRY(bal_comm_agree(run->comm, status));
        BAL_TRY(bal_comm_broadcast(run->comm, &entry, sizeof entry));
        BAL_TRY(bal_comm_broadcast(
            run->comm, run->bits,
            (size_t)bal_ballot_words(bal_job_ballot(run->job)) * sizeof *run->bits));
        entry.bits = run->bits;
        bal_run_postpone(run, bal_run_apply(run, &entry));
    }
    return BAL_OK;
}

/* From the newest checkpoint or the base to the step that the run is at. */
static bal_status rebuild(bal_run *run)
{
    int64_t step = run->step, checkpoint = -1;
    bal_status status = run->writes ? bal_checkpoint_find(run, &checkpoint) : BAL_OK;
    BAL_TRY(bal_comm_agree(run->comm, status));
    BAL_TRY(bal_comm_broadcast(run->comm, &checkpoint, sizeof checkpoint));
    BAL_TRY(bal_run_fill(run, checkpoint));
    return bal_run_replay(run, step);
}

bal_status bal_run_repair(bal_run *run, uint64_t *fingerprint)
{
    char drift[1024]; /* who and what, as the comparison has put it */
    uint64_t before;
    snprintf(drift, sizeof drift, "%s", bal_failure());
    if (run->repaired_step == run->step)
        return bal_fail(
            BAL_ERR_NUMERIC,
            "%s; that was rebuilt from checkpoint and journal in this step already: take "
            "its machine out, then run the same command again",
            drift);
    run->repaired_step = run->step;
    bal_log(BAL_LOG_WARN, "%s; the model is rebuilt from checkpoint and journal", drift);
    BAL_TRY(bal_comm_agree(
        run->comm, bal_replica_fingerprint(run->shared, bal_model_tensors(run->model), &before)));

    bal_metrics kept = run->metrics; /* with the seconds that a replayed step has not */
    run->metrics = (bal_metrics){0};
    bal_status status =
        run->writes ? bal_metrics_init(&run->metrics, bal_model_tensors(run->model)->n) : BAL_OK;
    status = bal_comm_agree(run->comm, status);
    if (status == BAL_OK) status = rebuild(run);
    bal_metrics_clear(&run->metrics);
    run->metrics = kept;
    BAL_TRY(status);

    status =
        bal_replicas_compare(run->comm, run->shared, bal_model_tensors(run->model), fingerprint);
    if (status == BAL_ERR_STATE) return bal_run_repair(run, fingerprint); /* who says so */
    BAL_TRY(status);
    int64_t n_right = before == *fingerprint;
    BAL_TRY(bal_comm_sum(run->comm, &n_right, 1));
    if (n_right == 0)
        return bal_fail(BAL_ERR_NUMERIC,
                        "%s; and no rank has the model that checkpoint and journal give: check the "
                        "machines' memory, then run the same command again",
                        drift);
    return BAL_OK;
}
