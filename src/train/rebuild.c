/* rebuild.c: the model of a step from what is on disk: a checkpoint or the base, then the ballots
 * of the journal. A run starts like this, and a replica that drifted recovers
 * like this. */
#include <stdlib.h>
#include <string.h>

#include "train_impl.h"

/* What bal_run_replay does, without a word. */
static bal_status replay(bal_run *run, int64_t n_entries)
{
    while (run->step < n_entries) {
        bal_journal_entry entry = {0};
        bal_status status = bal_run_pending(run);
        if (run->writes) {
            if (status == BAL_OK) status = bal_journal_read(run->record.journal, run->step, &entry);
            if (status == BAL_OK)
                memcpy(run->poll.bits, entry.bits,
                       (size_t)bal_ballot_words(bal_job_ballot(run->job)) * sizeof *run->poll.bits);
        }
        BAL_TRY(bal_comm_agree(run->comm, status));
        BAL_TRY(bal_comm_broadcast(run->comm, &entry, sizeof entry));
        BAL_TRY(bal_comm_broadcast(
            run->comm, run->poll.bits,
            (size_t)bal_ballot_words(bal_job_ballot(run->job)) * sizeof *run->poll.bits));
        entry.bits = run->poll.bits;
        bal_run_postpone(run, bal_run_apply(run, &entry));
    }
    return BAL_OK;
}

bal_status bal_run_replay(bal_run *run, int64_t n_entries)
{
    if (run->step < n_entries && run->writes)
        bal_log(BAL_LOG_SAY, "replaying steps %lld to %lld from the journal", (long long)run->step,
                (long long)n_entries);
    return replay(run, n_entries);
}

bal_status bal_run_rebuild(bal_run *run)
{
    int64_t step = run->step, checkpoint = -1;
    bal_status status = run->writes ? bal_checkpoint_find(run->dir, &checkpoint) : BAL_OK;
    BAL_TRY(bal_comm_agree(run->comm, status));
    BAL_TRY(bal_comm_broadcast(run->comm, &checkpoint, sizeof checkpoint));
    BAL_TRY(bal_run_restore_base(run));
    BAL_TRY(bal_run_fill(run, checkpoint));
    BAL_TRY(bal_run_forget(run));
    return bal_run_replay(run, step);
}

bal_status bal_replay(const bal_job *job, const bal_machine *machine, bal_journal *journal,
                      int64_t step, double factor, bool says, bal_tensors *tensors,
                      const bal_states *states)
{
    const bal_run_id *id = bal_journal_id(journal);
    if (!bal_job_has_hash(job, id->job_hash, ""))
        return bal_fail(BAL_ERR_CONFIG,
                        "the journal belongs to another job; give its own with --job");
    if (!bal_job_has_streams(job, id->stream_version))
        return bal_fail(BAL_ERR_CONFIG, "the journal has random streams of version %u; expected %u",
                        id->stream_version, bal_job_streams(job));
    if (id->base_hash != bal_states_fingerprint(states, tensors))
        return bal_fail(BAL_ERR_CONFIG,
                        "the journal was started from another base model; give that one");
    if (step < 0 || step > bal_journal_n(journal))
        return bal_fail(BAL_ERR_CONFIG, "--step=%lld: the journal has steps up to %lld only",
                        (long long)step, (long long)bal_journal_n(journal));
    bal_run run = {.job = job,
                   .machine = machine,
                   .comm = bal_comm_alone(),
                   .writes = true,
                   .replica.tensors = tensors,
                   .record.journal = journal};
    run.poll.bits = bal_alloc((size_t)bal_ballot_words(bal_job_ballot(job)), sizeof *run.poll.bits);
    bal_status status =
        run.poll.bits == NULL ? bal_fail(BAL_ERR_MEMORY, "no memory to replay") : BAL_OK;
    if (status == BAL_OK) status = bal_shared_create(run.comm, 1, false, &run.replica.shared);
    if (status == BAL_OK)
        status = bal_update_init(&run.update, job, id->stream_version, machine, tensors, states);
    run.update.factor = factor;
    if (status == BAL_OK) status = (says ? bal_run_replay : replay)(&run, step);
    if (status == BAL_OK) status = bal_run_pending(&run);
    bal_update_clear(&run.update);
    bal_shared_destroy(&run.replica.shared);
    free(run.poll.bits);
    return status;
}
