/* start.c: start a run, or continue it from its directory: the newest whole checkpoint, then the
 * ballots of the journal after it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "train_impl.h"

static uint64_t data_hash(const bal_inputs *inputs)
{
    return inputs->train.hash ^ inputs->dev.hash * 0x9E3779B97F4A7C15u;
}

/* A run that version 0.1 began on documents goes on with those of version 0.1, which differ where
 * lines end with CR LF or a blank line has spaces. */
static bal_status load_as_begun(bal_run *run, uint64_t begun)
{
    bal_job job = *run->job;
    bal_inputs old;
    job.as_0_1 = true;
    BAL_TRY(bal_inputs_open(&job, &old));
    bal_inputs *unused = data_hash(&old) == begun ? &run->inputs : &old;
    bal_inputs_clear(unused);
    if (unused == &run->inputs) run->inputs = old;
    return BAL_OK;
}

bal_status bal_run_load(bal_run *run, const bal_run_id *begun)
{
    uint64_t data = begun->data_hash;
    BAL_TRY(bal_inputs_open(run->job, &run->inputs));
    if (data != 0 && data_hash(&run->inputs) != data &&
        run->job->data.examples == BAL_EXAMPLES_DOCUMENTS)
        BAL_TRY(load_as_begun(run, data));
    run->id.stream_version = bal_job_has_streams(run->job, begun->stream_version)
                                 ? begun->stream_version
                                 : bal_job_streams(run->job);
    run->replica.model = run->inputs.bundle.model;
    run->replica.tensors = bal_model_tensors(run->replica.model);
    run->replica.states = bal_job_states(run->job);
    return BAL_OK;
}

bal_status bal_run_load_weights(bal_run *run)
{
    bal_replica *r = &run->replica;
    size_t n_bytes = bal_tensors_bytes(r->tensors);
    BAL_TRY(bal_shared_create(run->comm, n_bytes + bal_states_bytes(&r->states, r->tensors),
                              run->job->run.share == BAL_SHARE_NODE, &r->shared));
    if (bal_shared_refusal(r->shared) != NULL)
        bal_log(BAL_LOG_WARN, "%s; each rank there holds a model of its own",
                bal_shared_refusal(r->shared));
    bal_tensors_attach(r->tensors, bal_shared_memory(r->shared));
    bal_states_attach(&r->states, r->tensors, (char *)bal_shared_memory(r->shared) + n_bytes);
    BAL_TRY(bal_run_fill(run, -1));
    BAL_TRY(bal_run_keep_base(run));
    run->id = (bal_run_id){.seed = (uint64_t)run->job->run.seed,
                           .stream_version = run->id.stream_version,
                           .n_slots = (int32_t)run->job->vote.slots,
                           .n_steps = run->job->run.steps,
                           .job_hash = run->job->hash,
                           .data_hash = data_hash(&run->inputs)};
    if (run->inputs.task != NULL) run->id.task_hash = bal_task_about(run->inputs.task).hash;
    return bal_comm_agree(run->comm,
                          bal_replica_fingerprint(run->replica.shared, run->replica.tensors,
                                                  &run->replica.states, &run->id.base_hash));
}

/* Have all ranks read the same base, data and job? Collective. */
static bal_status compare_inputs(bal_run *run)
{
    uint64_t words[8] = {run->id.base_hash, run->id.data_hash, run->id.task_hash,
                         bal_hash(run->job->text, strlen(run->job->text), 0)};
    memcpy(words + 4, words, 4 * sizeof *words);
    BAL_TRY(bal_comm_reduce(run->comm, &(bal_reduction){.n_min = 4, .n_max = 4}, words));
    static const char *const names[] = {"the base model", "the data", "the task file", "the job"};
    for (int i = 0; i < 4; ++i)
        if (words[i] != words[i + 4])
            return bal_fail(BAL_ERR_INPUT,
                            "%s differs between ranks; give every host the same files", names[i]);
    return BAL_OK;
}

/* Put back a checkpoint's copy of the journal, which is missing, damaged, or shorter than the
 * checkpoint. is_whole: the journal can be read, and is of this run. */
static bal_status restore_journal(const bal_run *run, int64_t step, bool is_whole)
{
    char path[BAL_PATH_BYTES];
    bal_snapshot snapshot;
    bal_checkpoint_path(run->dir, step, path);
    BAL_TRY(bal_checkpoint_outline(path, &snapshot));
    bal_status status = bal_run_compare_id(run, &snapshot.id);
    if (status != BAL_OK && is_whole)
        status = bal_fail(BAL_ERR_CONFIG,
                          "%s: is ahead of the journal and of another run; move it out of the run "
                          "directory, or choose another one with --run",
                          path);
    if (status == BAL_OK && snapshot.journal_bytes == 0)
        status = bal_fail(BAL_ERR_INPUT,
                          "%s: is ahead of the journal and has no copy of it; move it out of the "
                          "run directory",
                          path);
    if (status == BAL_OK)
        status = bal_publish(run->dir, "ballots.journal", snapshot.journal, snapshot.journal_bytes);
    bal_snapshot_clear(&snapshot);
    if (status == BAL_OK)
        bal_log(BAL_LOG_WARN, "the journal is put back from %s, up to step %lld", path,
                (long long)step);
    return status;
}

/* Rank 0: the newest checkpoint in the directory, its journal if that can be read, and by either
 * the run that was begun. */
static bal_status find_record(bal_run *run, int64_t *checkpoint, bal_run_id *begun)
{
    char path[BAL_PATH_BYTES];
    bal_snapshot snapshot;
    bal_run_path(run->dir, "ballots.journal", path);
    bal_run_dir_clean(run->dir);
    BAL_TRY(bal_checkpoint_find(run->dir, checkpoint));
    bool there = access(path, F_OK) == 0;
    bal_status status = there ? bal_journal_open(path, true, &run->record.journal) : BAL_ERR_INPUT;
    if (status == BAL_OK) {
        *begun = *bal_journal_id(run->record.journal);
        if (bal_journal_n(run->record.journal) == 0 && *checkpoint < 0)
            begun->stream_version = 0; /* no step holds a new run to older streams */
    } else if (status == BAL_ERR_INPUT && *checkpoint >= 0) {
        bal_checkpoint_path(run->dir, *checkpoint, path);
        BAL_TRY(bal_checkpoint_outline(path, &snapshot));
        *begun = snapshot.id;
        bal_snapshot_clear(&snapshot);
    } else if (there) {
        return status; /* damaged, and no checkpoint has a copy */
    }
    return BAL_OK;
}

static void unlink_in(const char *dir, const char *name)
{
    char path[BAL_PATH_BYTES];
    bal_run_path(dir, name, path);
    unlink(path);
}

/* What a start writes but for job.ini, which may be the user's own. */
static void delete_record(bal_run *run)
{
    static const char *const names[] = {"ballots.journal", "metrics.jsonl", "best.h5"};
    bal_metrics_log_close(&run->record.log);
    bal_journal_close(&run->record.journal);
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) unlink_in(run->dir, names[i]);
}

/* Rank 0: is the journal that was found of this run? One without a step, of a start that was
 * killed, holds no other job to its place. */
static bal_status check_journal(bal_run *run, int64_t checkpoint)
{
    const bal_journal *journal = run->record.journal;
    int64_t tail = bal_journal_tail(journal);
    if (tail > 0)
        bal_log(BAL_LOG_WARN, "%s/ballots.journal: a torn tail of %lld bytes is cut off", run->dir,
                (long long)tail);
    bal_status status = bal_run_compare_id(run, bal_journal_id(journal));
    if (status != BAL_ERR_CONFIG || bal_journal_n(journal) > 0 || tail > 0 || checkpoint >= 0)
        return status;
    bal_log(BAL_LOG_WARN,
            "%s/ballots.journal: of another job, but without a step; the run begins anew",
            run->dir);
    delete_record(run);
    return BAL_OK;
}

/* Rank 0: see that what was found is of this run. A journal that lacks steps of the checkpoint is
 * put back from there. */
static bal_status check_record(bal_run *run, int64_t checkpoint)
{
    char path[BAL_PATH_BYTES];
    bal_journal **journal = &run->record.journal;
    int64_t n = *journal == NULL ? -1 : bal_journal_n(*journal);
    bal_run_path(run->dir, "ballots.journal", path);
    if (n >= 0) BAL_TRY(check_journal(run, checkpoint));
    if (checkpoint > n) {
        bal_journal_close(journal);
        BAL_TRY(restore_journal(run, checkpoint, n >= 0));
        BAL_TRY(bal_journal_open(path, true, journal));
        BAL_TRY(bal_run_compare_id(run, bal_journal_id(*journal)));
        if (bal_journal_n(*journal) < checkpoint)
            return bal_fail(BAL_ERR_INPUT,
                            "%s: the copy of the checkpoint of step %lld ends after step %lld; "
                            "move that checkpoint out of the run directory",
                            path, (long long)checkpoint, (long long)bal_journal_n(*journal));
    }
    if (*journal != NULL)
        run->id.job_hash = bal_journal_id(*journal)->job_hash; /* that of 0.1, perhaps */
    return BAL_OK;
}

/* Rank 0: the record of a new run, once nothing can refuse it any more. A job.ini without a journal
 * is left over from a start that was killed. */
static bal_status begin_record(bal_run *run)
{
    char path[BAL_PATH_BYTES];
    bal_run_path(run->dir, "job.ini", path);
    bool there = access(path, F_OK) == 0;
    BAL_TRY(bal_publish(run->dir, "job.ini", run->job->text, strlen(run->job->text)));
    run->record.made_job = !there;
    run->record.begun = true;
    bal_run_path(run->dir, "ballots.journal", path);
    return bal_journal_create(path, &run->id, bal_job_journal(run->job), &run->record.journal);
}

bal_status bal_run_make_tools(bal_run *run)
{
    const bal_job *job = run->job;
    bal_poll *poll = &run->poll;
    int64_t n = job->data.batch;
    size_t size = (size_t)bal_comm_size(run->comm);
    poll->bits = bal_alloc((size_t)bal_ballot_words(bal_job_ballot(job)), sizeof *poll->bits);
    poll->prober = (bal_prober){.way = bal_job_way(job),
                                .data = &run->inputs.train,
                                .n_examples = n,
                                .batch = &run->replica.batch};
    poll->losses =
        bal_alloc((size_t)(job->vote.slots * poll->prober.way.n_points), sizeof *poll->losses);
    run->audit.excluded = bal_alloc(size, sizeof *run->audit.excluded);
    run->audit.accused = bal_alloc(size, sizeof *run->audit.accused);
    run->clock.abstained = bal_alloc(size, sizeof *run->clock.abstained);
    if (!poll->bits || !poll->losses || !run->audit.excluded || !run->audit.accused ||
        !run->clock.abstained)
        return bal_fail(BAL_ERR_MEMORY, "no memory for the run");
    BAL_TRY(bal_update_init(&run->update, job, run->id.stream_version, run->machine,
                            run->replica.tensors, &run->replica.states));
    run->trials.options = bal_job_optim_options(job, run->machine, &run->update.measure);
    if (bal_job_finds_travel(job))
        run->trials.travel = bal_travel_begin(&run->trials.options, run->replica.tensors);
    BAL_TRY(bal_ballot_create(run->comm, bal_job_ballot(job), &poll->ballot));
    bal_batch *batch = &run->replica.batch;
    BAL_TRY(bal_batch_init(batch, bal_batch_either(bal_dataset_room(&run->inputs.train, n),
                                                   bal_dataset_room(&run->inputs.dev, n))));
    BAL_TRY(bal_forward_create(run->replica.model, run->machine->kernels, batch->room.tokens,
                               job->data.context, &run->replica.forward));
    poll->prober.forward = run->replica.forward;
    return bal_prober_init(&poll->prober);
}

/* Rank 0: the dev scores of the steps so far, their travel, and what the last says of the next
 * step's votes, from the journal. */
static bal_status look_back(bal_run *run)
{
    for (int64_t i = 0; i < bal_journal_n(run->record.journal); ++i) {
        bal_journal_entry entry;
        BAL_TRY(bal_journal_read(run->record.journal, i, &entry));
        run->poll.prober.unit = bal_way_unit(&run->poll.prober.way, &entry.totals);
        bal_run_follow(run, &entry);
        if (entry.dev_loss < 0) continue;
        run->record.dev_score = bal_entry_score(&entry);
        bal_record_score(&run->record, i, run->job->run.best);
    }
    return BAL_OK;
}

/* An audit has to know who probed a slot: then each rank keeps to its own. */
static bal_deal_plan deal_plan(const bal_run *run)
{
    const bal_job *job = run->job;
    const bal_way *way = &run->poll.prober.way;
    bool by_node = job->vote.dealing == BAL_DEALING_NODE ||
                   (job->vote.dealing == BAL_DEALING_AUTO && job->vote.audit <= 0.0);
    return (bal_deal_plan){.n_slots = (int)job->vote.slots,
                           .team = way->team,
                           .at_once = bal_way_at_once(way),
                           .n_row = way->n_points * (1 + job->data.batch),
                           .by_node = by_node,
                           .warns = bal_shared_refusal(run->replica.shared) == NULL};
}

bal_status bal_run_start(bal_run *run)
{
    run->writes = bal_comm_rank(run->comm) == 0;
    run->replica.repaired_step = run->audit.doubted_step = -1;
    bal_status status = BAL_OK;
    int64_t found[2] = {-1, 0}; /* step of the checkpoint, entries of the journal */
    bal_run_id begun = {0};     /* zeros: the run is new */
    if (run->writes) status = bal_run_dir_make(run->dir, &run->record.n_made);
    if (run->writes && status == BAL_OK) status = bal_lock_take(run->dir, &run->record.lock);
    if (run->writes && status == BAL_OK) status = find_record(run, &found[0], &begun);
    BAL_TRY(bal_comm_agree(run->comm, status));
    BAL_TRY(bal_comm_broadcast(run->comm, &begun, sizeof begun));
    BAL_TRY(bal_comm_agree(run->comm, bal_run_load(run, &begun)));
    BAL_TRY(bal_run_load_weights(run));
    BAL_TRY(compare_inputs(run));
    if (run->writes) status = check_record(run, found[0]);
    if (run->writes && status == BAL_OK)
        status = bal_metrics_create(run->dir, run->replica.tensors->n, &run->record.metrics);
    if (run->record.journal != NULL) found[1] = bal_journal_n(run->record.journal);
    BAL_TRY(bal_comm_agree(run->comm, status));
    BAL_TRY(bal_comm_broadcast(run->comm, found, sizeof found));
    if (found[0] >= 0) BAL_TRY(bal_run_fill(run, found[0]));
    BAL_TRY(bal_comm_agree(run->comm, bal_run_make_tools(run)));
    BAL_TRY(bal_run_keep(run));
    bal_deal_plan plan = deal_plan(run);
    BAL_TRY(bal_deal_create(run->comm, &plan, &run->poll.deal));
    if (run->writes && run->record.journal == NULL) status = begin_record(run);
    BAL_TRY(bal_comm_agree(run->comm, status));
    BAL_TRY(bal_run_replay(run, found[1]));
    if (run->writes) status = look_back(run);
    BAL_TRY(bal_comm_agree(run->comm, status));
    bal_record *record = &run->record;
    BAL_TRY(bal_comm_broadcast(run->comm, &record->best_score, sizeof record->best_score));
    BAL_TRY(bal_comm_broadcast(run->comm, &record->n_worse, sizeof record->n_worse));
    BAL_TRY(bal_comm_broadcast(run->comm, &run->trials.travel, sizeof run->trials.travel));
    BAL_TRY(bal_comm_broadcast(run->comm, &run->poll.prober.unit, sizeof run->poll.prober.unit));
    if (run->writes) {
        status = bal_metrics_log_open(&run->record.log, run, run->step);
        for (int64_t step = 0; step < run->step && status == BAL_OK; ++step)
            status = bal_metrics_log_step(&run->record.log, run, step, NULL);
    }
    run->clock.first_step = run->step;
    return bal_comm_agree(run->comm, status);
}

bal_status bal_run_unmake(bal_run *run, bal_status status)
{
    bal_record *record = &run->record;
    bal_run_postpone(run, status);
    if (record->journal == NULL || bal_journal_n(record->journal) == 0) {
        bool ours = record->lock != NULL && bal_lock_check(record->lock) == BAL_OK;
        if (ours && record->begun) delete_record(run);
        if (ours && record->made_job) unlink_in(run->dir, "job.ini");
        if (ours && record->n_made > 0) unlink_in(run->dir, "run.lock");
        bal_metrics_destroy(&record->metrics); /* NFS keeps what is open */
        bal_lock_release(&record->lock);
        bal_run_dir_unmake(run->dir, record->n_made);
    }
    return bal_run_pending(run);
}

void bal_run_clear(bal_run *run)
{
    bal_metrics_log_close(&run->record.log);
    bal_metrics_destroy(&run->record.metrics);
    bal_journal_close(&run->record.journal);
    bal_deal_destroy(&run->poll.deal);
    bal_ballot_destroy(&run->poll.ballot);
    free(run->poll.bits);
    free(run->poll.losses);
    bal_prober_clear(&run->poll.prober);
    bal_update_clear(&run->update);
    bal_forward_destroy(&run->replica.forward);
    bal_batch_clear(&run->replica.batch);
    bal_inputs_clear(&run->inputs);
    bal_model_destroy(&run->replica.base);
    bal_shared_destroy(&run->replica.store_shared);
    bal_shared_destroy(&run->replica.base_shared);
    bal_shared_destroy(&run->replica.shared);
    free(run->audit.excluded);
    free(run->audit.accused);
    free(run->clock.abstained);
    bal_lock_release(&run->record.lock);
}
