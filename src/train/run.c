/* run.c: the step and the loop. */
#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "train_impl.h"

static atomic_uint wished; /* lock-free, so signal handlers may touch it */

void bal_train_wish(bal_wish wish) { atomic_fetch_or(&wished, wish); }

/* Seconds since *clock go to a phase; the clock starts anew. */
static void charge(bal_run *run, bal_phase phase, double *clock)
{
    double now = bal_seconds();
    run->step_seconds[phase] += now - *clock;
    run->seconds[phase] += now - *clock;
    *clock = now;
}

void bal_run_postpone(bal_run *run, bal_status status)
{
    if (status == BAL_OK || run->pending != BAL_OK) return;
    run->pending = status;
    snprintf(run->reason, sizeof run->reason, "%s", bal_failure());
}

bal_status bal_run_pending(const bal_run *run)
{
    return run->pending == BAL_OK ? BAL_OK : bal_fail(run->pending, "%s", run->reason);
}

/* The journal as it lies on disk, of every step so far: a checkpoint keeps no damaged copy. */
static bal_status open_journal(const bal_run *run, bal_mapping *file)
{
    char path[BAL_PATH_BYTES];
    bal_journal *journal = NULL;
    bal_run_path(run, "ballots.journal", path);
    BAL_TRY(bal_journal_open(path, false, &journal));
    int64_t n = bal_journal_n(journal), tail = bal_journal_tail(journal);
    bal_journal_close(&journal);
    if (n == run->step && tail == 0) return bal_mapping_open(path, file);
    return bal_fail(BAL_ERR_IO,
                    "%s: damaged on disk behind step %lld of %lld since it was written; check the "
                    "disk, then run the same command again: it goes on from what is whole",
                    path, (long long)n, (long long)run->step);
}

/* Rank 0: publish the state as RUN/name. */
static bal_status save_as(bal_run *run, const char *name, uint64_t fingerprint)
{
    bal_mapping journal;
    BAL_TRY(bal_run_pending(run)); /* a row of metrics may be missing */
    BAL_TRY(bal_lock_check(run->lock));
    BAL_TRY(open_journal(run, &journal));
    bal_snapshot snapshot = {.step = run->step,
                             .fingerprint = fingerprint,
                             .id = run->id,
                             .model = run->model,
                             .files = run->bundle.files,
                             .job_text = run->job->text,
                             .isa = (char *)(uintptr_t)run->machine->kernels->name,
                             .metrics = run->metrics,
                             .journal = (uint8_t *)(uintptr_t)journal.data,
                             .journal_bytes = journal.n_bytes,
                             .dev_loss_nats = run->dev_score.n_tokens > 0
                                                  ? bal_score_nats(&run->dev_score)
                                                  : (double)NAN};
    bal_status status = bal_checkpoint_write(run->dir, name, &snapshot);
    bal_mapping_close(&journal);
    return status;
}

/* Delete all checkpoints but the newest few up to the one just written, which is safely there;
 * later ones are damaged, or this run would have gone on from them. */
static bal_status drop_others(const bal_run *run)
{
    int64_t *steps = NULL, n = 0;
    BAL_TRY(bal_checkpoint_list(run, &steps, &n));
    int64_t kept = 0;
    for (int64_t i = 0; i < n; ++i) {
        if (steps[i] <= run->step && ++kept <= run->job->run.keep) continue;
        char name[64], path[BAL_PATH_BYTES];
        bal_checkpoint_name(steps[i], name);
        bal_run_path(run, name, path);
        unlink(path);
    }
    free(steps);
    return BAL_OK;
}

bal_status bal_run_compare(bal_run *run, bal_status status, uint64_t *print, bool *repaired)
{
    *repaired = false;
    if (status != BAL_OK && status != BAL_ERR_NUMERIC) return status;
    bal_status compared =
        bal_replicas_compare(run->comm, run->shared, bal_model_tensors(run->model), print);
    *repaired = compared == BAL_ERR_STATE;
    if (*repaired) return bal_run_repair(run, print);
    return compared == BAL_OK ? status : compared;
}

/* Rank 0: the checkpoint just written is the last one. */
static bal_status name_latest(const bal_run *run)
{
    char name[64], line[72];
    bal_checkpoint_name(run->step, name);
    snprintf(line, sizeof line, "%s\n", name);
    BAL_TRY(bal_publish(run->dir, "LATEST", line, strlen(line)));
    return drop_others(run);
}

/* A checkpoint of the steps so far. Collective. */
static bal_status save(bal_run *run)
{
    uint64_t print;
    bool repaired;
    BAL_TRY(bal_run_compare(run, BAL_OK, &print, &repaired));
    bal_status status = BAL_OK;
    if (run->writes) { /* a drifted rank 0 publishes nothing */
        char name[64];
        bal_checkpoint_name(run->step, name);
        status = save_as(run, name, print);
        if (status == BAL_OK) status = name_latest(run);
    }
    return bal_comm_agree(run->comm, status);
}

/* Dev loss of the steps so far; the best one's model is kept as best.h5. Collective. */
static bal_status evaluate(bal_run *run)
{
    const bal_job *job = run->job;
    uint64_t print;
    bool repaired;
    bal_status status;
    do {
        status = bal_evaluate(run->comm, run->forward, &run->dev, job->data.dev_examples,
                              job->data.batch, &run->batch, &run->dev_score);
        BAL_TRY(bal_run_compare(run, status, &print, &repaired));
    } while (repaired); /* some have evaluated another model */
    if (run->writes && bal_score_nats(&run->dev_score) < run->best_nats) {
        run->best_nats = bal_score_nats(&run->dev_score);
        run->best_step = run->step;
        status = save_as(run, "best.h5", print);
    }
    bal_progress(run, true);
    return bal_comm_agree(run->comm, status);
}

bal_status bal_run_apply(bal_run *run, const bal_journal_entry *entry)
{
    /* No rank is still in a forward pass: all have sent their votes, or wait for this step of a
     * replay. Nor does one begin the next before every part is written. */
    int n = bal_model_tensors(run->model)->n;
    bal_optim_apply(run->optim, entry->step, entry->bits, bal_shared_part(run->shared),
                    bal_shared_n_parts(run->shared), run->flips);
    BAL_TRY(bal_shared_sync(run->shared));
    for (int i = 0; i < n; ++i) run->flip_sums[i] = run->flips[i];
    BAL_TRY(bal_shared_sum(run->shared, run->flip_sums, n));
    for (int i = 0; i < n; ++i) run->flips[i] = (uint32_t)run->flip_sums[i];
    run->step = entry->step + 1;
    if (run->writes) {
        int64_t row = bal_metrics_add(&run->metrics);
        if (row < 0) return bal_fail(BAL_ERR_MEMORY, "no memory for metrics");
        const bal_totals *totals = &entry->totals;
        bal_metrics *m = &run->metrics;
        double sequences = (double)bal_ballot_n_decided(bal_job_ballot(run->job), entry->bits) *
                           (double)run->job->data.batch;
        m->loss_nats[row] =
            totals->n_tokens > 0
                ? (double)totals->loss / 2.0 / (double)totals->n_tokens / BAL_LOSS_UNITS_PER_NAT
                : (double)NAN; /* all have abstained */
        m->agreement[row] = sequences > 0 ? (double)totals->n_agree / sequences : 0.0;
        m->n_passes[row] = (row > 0 ? m->n_passes[row - 1] : 0) + 2 * totals->n_cast;
        if (entry->dev_loss >= 0)
            m->dev_loss_nats[row] = bal_score_nats(
                &(bal_score){.loss = entry->dev_loss, .n_tokens = entry->dev_tokens});
        memcpy(m->flips + row * m->n_tensors, run->flips,
               (size_t)m->n_tensors * sizeof *run->flips);
    }
    return BAL_OK;
}

bal_status bal_run_probe(bal_run *run, const bal_measure *measure, int slot, bal_pair *pair)
{
    bal_dataset_draw(&run->train, run->machine->kernels, run->id.seed, (uint32_t)run->step,
                     (uint32_t)slot, run->job->data.batch, &run->batch);
    bal_losses losses[2] = {{.per_sequence = run->sequences[0]},
                            {.per_sequence = run->sequences[1]}};
    bal_direction direction = {.measure = *measure, .slot = (uint32_t)slot};
    BAL_TRY(bal_forward_losses(run->forward, &run->batch, &direction, losses));
    *pair = (bal_pair){.minus = losses[1].loss, .plus = losses[0].loss};
    return BAL_OK;
}

/* My vote on a slot of mine. */
static bal_status cast(bal_run *run, const bal_measure *measure, int slot)
{
    bal_pair losses;
    BAL_TRY(bal_run_probe(run, measure, slot, &losses));
    int vote = bal_pair_vote(losses);
    BAL_TRY(bal_ballot_cast(run->ballot, slot, vote));
    run->losses[slot] = losses;
    bal_totals *totals = bal_ballot_totals(run->ballot);
    totals->loss += losses.plus + losses.minus;
    totals->n_tokens += run->batch.n_scored;
    for (int64_t i = 0; i < run->batch.n_sequences; ++i) {
        bal_pair own = {.minus = run->sequences[1][i], .plus = run->sequences[0][i]};
        totals->n_agree += vote != 0 && bal_pair_vote(own) == vote;
    }
    return BAL_OK;
}

/* Seconds that I may probe in this step; by itself as much as twice what the fastest rank of the
 * step before would take for as many slots. */
static double deadline_of(const bal_run *run, int64_t n_mine)
{
    double seconds = run->job->vote.deadline;
    if (seconds == BAL_DEADLINE_AUTO && bal_ballot_pace(run->ballot) != UINT64_MAX)
        return 2e-6 * (double)bal_ballot_pace(run->ballot) * (double)n_mine;
    return seconds > 0.0 ? seconds : (double)INFINITY;
}

/* Vote on slots of mine until the deadline, on one of them in any case. */
static bal_status vote_on_mine(bal_run *run, const bal_measure *measure)
{
    int rank = bal_comm_rank(run->comm), size = bal_comm_size(run->comm);
    int64_t n_slots = run->job->vote.slots, n_done = 0;
    double began = bal_seconds(), limit = deadline_of(run, (n_slots - rank + size - 1) / size);
    bal_deal_begin(run->deal);
    if (run->excluded[rank]) return BAL_OK;
    while (n_done == 0 || bal_seconds() - began < limit) {
        int slot = bal_deal_next(run->deal);
        if (slot < 0) break;
        BAL_TRY(cast(run, measure, slot));
        ++n_done;
        bal_progress(run, false);
    }
    if (n_done > 0)
        bal_ballot_set_pace(run->ballot,
                            (uint64_t)(1e6 * (bal_seconds() - began) / (double)n_done));
    return BAL_OK;
}

/* Where a slot has no vote or a rank was accused, the record says to whom slots were dealt. */
static void note_ranks(bal_run *run, bal_journal_entry *entry)
{
    int size = bal_comm_size(run->comm), n_slots = (int)run->job->vote.slots;
    if (entry->totals.n_cast == n_slots && entry->accused < 0) return;
    for (int slot = 0; slot < n_slots; ++slot)
        if (!bal_ballot_has(bal_job_ballot(run->job), run->bits, slot))
            ++run->abstained[bal_slot_rank(slot, size)];
    entry->n_ranks = size;
}

/* One step of all ranks; the wishes of all in *wishes. */
static bal_status take_step(bal_run *run, uint64_t *wishes)
{
    const bal_job *job = run->job;
    bal_journal_entry entry = {.step = run->step, .dev_loss = -1, .accused = -1, .bits = run->bits};
    double clock = bal_seconds();
    bal_comm_set_step(run->comm, run->step);
    memset(run->step_seconds, 0, sizeof run->step_seconds);
    if (run->dev.n_examples > 0 &&
        (job->run.eval_every > 0 ? run->step % job->run.eval_every == 0 : run->step == 0)) {
        BAL_TRY(evaluate(run));
        entry.dev_loss = run->dev_score.loss;
        entry.dev_tokens = run->dev_score.n_tokens;
        charge(run, BAL_PHASE_EVAL, &clock);
    }
    bal_totals *mine = bal_ballot_totals(run->ballot);
    bool checked = job->run.check_every > 0 && run->step % job->run.check_every == 0;
    uint64_t print = 0;
    bool repaired;
    bal_status status =
        checked ? bal_replica_fingerprint(run->shared, bal_model_tensors(run->model), &print)
                : BAL_OK;
    mine->fingerprint_min = mine->fingerprint_max = print;
    charge(run, BAL_PHASE_VOTE, &clock);

    bal_measure measure = bal_optim_measure(run->optim, run->step);
    if (status == BAL_OK) status = vote_on_mine(run, &measure);
    double hours = (bal_seconds() - run->began) / 3600.0;
    if (run->machine->max_hours > 0.0 && hours >= run->machine->max_hours)
        bal_train_wish(BAL_WISH_STOP);
    mine->wishes = atomic_load(&wished) | (status != BAL_OK ? BAL_WISH_FAIL : 0u);
    charge(run, BAL_PHASE_PROBE, &clock);

    bal_status counted = bal_ballot_count(run->ballot, run->bits, &entry.totals);
    charge(run, BAL_PHASE_WAIT, &clock);
    if (counted != BAL_OK) return counted;
    if ((entry.totals.wishes & BAL_WISH_FAIL) ||
        entry.totals.fingerprint_min != entry.totals.fingerprint_max) {
        /* then, or if the fault of memory has passed, the step is done again */
        return bal_run_compare(run, bal_comm_agree(run->comm, status), &print, &repaired);
    }
    charge(run, BAL_PHASE_VOTE, &clock);
    BAL_TRY(bal_run_audit(run, &measure, &entry, &repaired));
    if (repaired) return BAL_OK; /* the step is done again */
    *wishes = entry.totals.wishes;
    atomic_fetch_and(&wished, ~(unsigned)(*wishes & BAL_WISH_SAVE)); /* done once */
    note_ranks(run, &entry);
    run->n_probes += entry.totals.n_cast;
    run->n_tokens += entry.totals.n_tokens;
    charge(run, BAL_PHASE_PROBE, &clock);

    status = bal_run_pending(run); /* of the step before, behind its last agreement */
    if (run->writes && status == BAL_OK) status = bal_lock_check(run->lock);
    if (run->writes && status == BAL_OK) status = bal_journal_append(run->journal, &entry);
    BAL_TRY(bal_comm_agree(run->comm, status)); /* durable before any rank applies it */
    charge(run, BAL_PHASE_JOURNAL, &clock);

    bal_run_postpone(run, bal_run_apply(run, &entry));
    charge(run, BAL_PHASE_UPDATE, &clock);
    bool last = run->step == job->run.steps;
    if ((job->run.checkpoint_every > 0 && run->step % job->run.checkpoint_every == 0 && !last) ||
        (*wishes & (BAL_WISH_SAVE | BAL_WISH_STOP) && !last))
        BAL_TRY(save(run));
    charge(run, BAL_PHASE_CHECKPOINT, &clock);
    if (run->writes && run->pending == BAL_OK) {
        memcpy(run->metrics.seconds + (run->step - 1) * BAL_N_PHASES, run->step_seconds,
               sizeof run->step_seconds);
        bal_run_postpone(
            run, bal_metrics_log_step(&run->log, run, run->step - 1, checked ? &print : NULL));
    }
    bal_progress(run, false);
    if (entry.accused >= 0 && run->job->vote.audit_action == BAL_AUDIT_STOP)
        return bal_fail(BAL_ERR_NUMERIC, "%s, then run the same command again", run->accusation);
    return BAL_OK;
}

/* After the last step: its dev loss, its checkpoint. Run again on a finished run it finds both. */
static bal_status finish(bal_run *run)
{
    char name[64], path[BAL_PATH_BYTES];
    double clock = bal_seconds();
    BAL_TRY(bal_comm_agree(run->comm, bal_run_pending(run)));
    bal_checkpoint_name(run->step, name);
    bal_run_path(run, name, path);
    if (run->dev.n_examples > 0) BAL_TRY(evaluate(run));
    charge(run, BAL_PHASE_EVAL, &clock);
    int64_t saved = run->writes && bal_checkpoint_verify(path) == BAL_OK;
    BAL_TRY(bal_comm_sum(run->comm, &saved, 1));
    uint64_t print;
    bool repaired;
    BAL_TRY(saved ? bal_run_compare(run, BAL_OK, &print, &repaired) : save(run));
    charge(run, BAL_PHASE_CHECKPOINT, &clock);
    bal_status status = run->writes && saved ? name_latest(run) : BAL_OK; /* killed before that */
    if (run->writes && run->dev.n_examples > 0 && status == BAL_OK)
        status = bal_metrics_log_final(&run->log, run);
    return bal_comm_agree(run->comm, status);
}

bal_status bal_train(const bal_job *job, const bal_machine *machine, const char *dir,
                     bal_comm *comm)
{
    double now = bal_seconds();
    bal_run run = {
        .job = job, .machine = machine, .dir = dir, .comm = comm, .began = now, .started = now};
    bal_status status = bal_run_start(&run);
    uint64_t wishes = 0;
    if (status == BAL_OK && run.writes)
        bal_log(BAL_LOG_SAY,
                "%s %s: %d ranks, kernels %s, %lld slots, %lld x %lld tokens per probe",
                run.step > 0 ? "continuing" : "starting", dir, bal_comm_size(comm),
                machine->kernels->name, (long long)job->vote.slots, (long long)job->data.batch,
                (long long)job->data.context);
    run.started = bal_seconds();
    while (status == BAL_OK && run.step < job->run.steps && !(wishes & BAL_WISH_STOP))
        status = take_step(&run, &wishes);
    if (status == BAL_OK && run.step == job->run.steps) {
        status = finish(&run);
    } else if (status == BAL_OK &&
               (status = bal_comm_agree(comm, bal_run_pending(&run))) == BAL_OK) {
        status = bal_fail(BAL_STOPPED,
                          "stopped after step %lld of %lld with a good checkpoint; the "
                          "same command continues",
                          (long long)run.step, (long long)job->run.steps);
    }
    if (status == BAL_OK || status == BAL_STOPPED) {
        bal_status printed = bal_progress_table(&run);
        if (printed != BAL_OK) status = printed;
    }
    bal_run_clear(&run);
    return status;
}

bal_status bal_replay(const bal_job *job, const bal_machine *machine, bal_journal *journal,
                      int64_t step, bal_tensors *tensors)
{
    const bal_run_id *id = bal_journal_id(journal);
    if (id->job_hash != job->hash)
        return bal_fail(BAL_ERR_CONFIG, "the journal is of another job; give its own with --job");
    if (id->stream_version != BAL_STREAM_VERSION)
        return bal_fail(BAL_ERR_CONFIG, "the journal has random streams of version %u; expected %d",
                        id->stream_version, BAL_STREAM_VERSION);
    if (id->base_hash != bal_tensors_fingerprint(tensors))
        return bal_fail(BAL_ERR_CONFIG, "the journal was started from another base model");
    if (step < 0 || step > bal_journal_n(journal))
        return bal_fail(BAL_ERR_CONFIG, "step %lld; the journal has steps up to %lld",
                        (long long)step, (long long)bal_journal_n(journal));
    int n = tensors->n;
    bool *on_ballot = bal_alloc((size_t)n, sizeof *on_ballot);
    uint32_t *flips = bal_alloc((size_t)n, sizeof *flips);
    bal_optim *optim = NULL;
    bal_status status = on_ballot == NULL || flips == NULL
                            ? bal_fail(BAL_ERR_MEMORY, "no memory to replay")
                            : bal_job_tensors(job, tensors, on_ballot);
    if (status == BAL_OK) status = bal_job_optim(job, machine, tensors, on_ballot, &optim);
    for (int64_t i = 0; i < step && status == BAL_OK; ++i) {
        bal_journal_entry entry;
        status = bal_journal_read(journal, i, &entry);
        if (status == BAL_OK) bal_optim_apply(optim, i, entry.bits, 0, 1, flips);
    }
    bal_optim_destroy(&optim);
    free(on_ballot);
    free(flips);
    return status;
}
