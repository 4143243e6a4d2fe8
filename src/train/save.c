/* save.c: the state of a run as a checkpoint in its directory. */
#include <math.h>
#include <string.h>

#include "train_impl.h"

/* Map the journal on disk, after a check that it is whole: a checkpoint keeps no damaged copy. */
static bal_status open_journal(const bal_run *run, bal_mapping *file)
{
    char path[BAL_PATH_BYTES];
    bal_journal *journal = NULL;
    bal_run_path(run->dir, "ballots.journal", path);
    BAL_TRY(bal_journal_open(path, false, &journal));
    int64_t n = bal_journal_n(journal), tail = bal_journal_tail(journal);
    bal_journal_close(&journal);
    if (n == run->step && tail == 0) return bal_mapping_open(path, file);
    return bal_fail(BAL_ERR_IO,
                    "%s: damaged on disk after step %lld of %lld since it was written; check the "
                    "disk, then run the same command again: it goes on from what is whole",
                    path, (long long)n, (long long)run->step);
}

/* Rank 0: publish the state as RUN/name. */
static bal_status save_as(bal_run *run, const char *name, uint64_t fingerprint)
{
    bal_mapping journal;
    BAL_TRY(bal_run_pending(run)); /* which may have lost a row of metrics */
    BAL_TRY(bal_lock_check(run->record.lock));
    BAL_TRY(open_journal(run, &journal));
    bal_snapshot snapshot = {.step = run->step,
                             .fingerprint = fingerprint,
                             .id = run->id,
                             .model = run->replica.model,
                             .states = run->replica.states,
                             .files = run->inputs.bundle.files,
                             .job_text = run->job->text,
                             .isa = (char *)(uintptr_t)run->machine->kernels->name,
                             .metrics = run->record.metrics,
                             .journal = (uint8_t *)(uintptr_t)journal.data,
                             .journal_bytes = journal.n_bytes,
                             .base = run->replica.base_id,
                             .dev_loss_nats = run->record.dev_score.n_tokens > 0
                                                  ? bal_score_nats(&run->record.dev_score)
                                                  : (double)NAN};
    bal_status status = bal_checkpoint_write(run->dir, name, &snapshot);
    bal_mapping_close(&journal);
    return status;
}

bal_status bal_run_save_best(bal_run *run, uint64_t fingerprint)
{
    return save_as(run, "best.h5", fingerprint);
}

bal_status bal_run_name_latest(const bal_run *run)
{
    char name[64], line[72];
    bal_checkpoint_name(run->step, name);
    snprintf(line, sizeof line, "%s\n", name);
    BAL_TRY(bal_publish(run->dir, "LATEST", line, strlen(line)));
    return bal_checkpoint_drop(run->dir, run->step, run->job->run.keep);
}

bal_status bal_run_save(bal_run *run)
{
    uint64_t fingerprint;
    bool repaired;
    BAL_TRY(bal_run_compare(run, BAL_OK, &fingerprint, &repaired));
    bal_status status = BAL_OK;
    if (run->writes) { /* after the comparison: a rank 0 that drifted publishes nothing */
        char name[64];
        bal_checkpoint_name(run->step, name);
        status = save_as(run, name, fingerprint);
        if (status == BAL_OK) status = bal_run_name_latest(run);
    }
    return bal_comm_agree(run->comm, status);
}
