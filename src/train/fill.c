/* fill.c: a checkpoint or the base is read into the memory of the model. */
#include <math.h>

#include "train_impl.h"

/* The rows of metrics of a checkpoint. One that ballot replay made has none. */
static bal_status read_metrics(const bal_run *run, const char *path, int64_t step)
{
    bal_metrics *metrics = run->record.metrics;
    BAL_TRY(bal_checkpoint_read_metrics(path, metrics));
    if (bal_metrics_n(metrics) > step)
        return bal_fail(BAL_ERR_INPUT, "%s: %lld rows of metrics; expected at most %lld", path,
                        (long long)bal_metrics_n(metrics), (long long)step);
    int64_t passes = bal_job_way(run->job).n_points * run->job->vote.slots;
    for (int64_t i = bal_metrics_n(metrics); i < step; ++i) {
        bal_metrics_row row = {.step = i,
                               .dev_loss_nats = (double)NAN,
                               .dev_metric = (double)NAN,
                               .slope = (double)NAN,
                               .share = (double)NAN,
                               .rise = (double)NAN,
                               .n_passes = (i + 1) * passes};
        BAL_TRY(bal_metrics_put(metrics, &row));
    }
    return BAL_OK;
}

/* Read a checkpoint into the memory of the model. For the ranks that fill a copy, rank 0 among
 * them. */
static bal_status read_checkpoint(bal_run *run, int64_t step)
{
    char path[BAL_PATH_BYTES];
    bal_snapshot snapshot;
    bal_checkpoint_path(run->dir, step, path);
    BAL_TRY(bal_checkpoint_outline(path, &snapshot));
    bal_status status = bal_run_compare_id(run, &snapshot.id);
    if (status == BAL_OK && snapshot.step != step)
        status = bal_fail(BAL_ERR_INPUT, "%s: is of step %lld", path, (long long)snapshot.step);
    if (status == BAL_OK && run->record.metrics != NULL) status = read_metrics(run, path, step);
    if (status == BAL_OK)
        status = bal_checkpoint_fill(path, run->replica.tensors, &run->replica.states);
    bal_snapshot_clear(&snapshot);
    return status;
}

bal_status bal_run_fill(bal_run *run, int64_t checkpoint)
{
    bal_status status = BAL_OK;
    if (bal_shared_part(run->replica.shared) == 0) { /* one rank of each copy reads */
        status = checkpoint < 0 ? bal_source_fill(run->job->model.path, run->replica.model,
                                                  &run->replica.states)
                                : read_checkpoint(run, checkpoint);
    }
    run->step = checkpoint < 0 ? 0 : checkpoint;
    BAL_TRY(bal_comm_agree(run->comm, status));
    return bal_comm_agree(run->comm, bal_shared_sync(run->replica.shared));
}
