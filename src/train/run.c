/* run.c: the step and the loop. */
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "train_impl.h"

static atomic_uint wished; /* lock-free, so signal handlers may touch it */

void bal_train_wish(bal_wish wish) { atomic_fetch_or(&wished, wish); }

/* A step under way. */
typedef struct step {
    bal_journal_entry entry;
    bal_measure measure;
    bool is_checked;      /* its ranks compare fingerprints */
    uint64_t fingerprint; /* if so: of the model before it */
    bal_status probed;    /* how my probes ended */
    bool again;           /* replicas had drifted, or a fault passed: it is to be done again */
} step;

static step begin(bal_run *run)
{
    bal_comm_set_step(run->comm, run->step);
    memset(run->clock.step_seconds, 0, sizeof run->clock.step_seconds);
    run->clock.lap = bal_seconds();
    return (step){.entry = {.step = run->step,
                            .dev_loss = -1,
                            .dev_merit = -1,
                            .accused = -1,
                            .bits = run->poll.bits},
                  .measure = bal_measure_at(run->update.measure, run->step)};
}

/* Dev loss of the steps so far; the best one's model is kept as best.h5. Collective. */
static bal_status evaluate_now(bal_run *run)
{
    const bal_job *job = run->job;
    bal_record *record = &run->record;
    uint64_t print;
    bool repaired;
    bal_status status;
    do {
        status =
            bal_evaluate(run->comm, run->replica.forward, &run->inputs.dev, job->data.dev_examples,
                         job->data.batch, &run->replica.batch, &record->dev_score, NULL);
        BAL_TRY(bal_run_compare(run, status, &print, &repaired));
    } while (repaired); /* some ranks have evaluated another model */
    bool best = bal_record_score(record, run->step, run->job->run.best);
    if (run->writes && best) status = bal_run_save_best(run, print);
    bal_progress(run, true);
    bal_clock_charge(&run->clock, BAL_PHASE_EVAL);
    return bal_comm_agree(run->comm, status);
}

/* The dev loss before the step, if it is due. Collective. */
static bal_status evaluate(bal_run *run, step *s)
{
    int64_t every = run->job->run.eval_every;
    bool due = every > 0 ? run->step % every == 0 : run->step == 0;
    if (run->inputs.dev.n_examples == 0 || !due) return BAL_OK;
    BAL_TRY(evaluate_now(run));
    s->entry.dev_loss = run->record.dev_score.loss;
    s->entry.dev_tokens = run->record.dev_score.n_tokens;
    s->entry.dev_merit = run->record.dev_score.merit;
    return BAL_OK;
}

/* Vote on the slots of a team, whose rows are all written. */
static bal_status cast(bal_run *run, const bal_turn *turn)
{
    bal_poll *poll = &run->poll;
    int64_t n_points = poll->prober.way.n_points, n_questions = n_points * poll->prober.n_examples;
    int64_t *losses = poll->losses + turn->first * n_points;
    int8_t votes[BAL_WAY_TEAM_MAX];
    for (int i = 0; i < turn->n; ++i) {
        const int64_t *row = bal_deal_row(poll->deal, turn, i);
        memcpy(losses + i * n_points, row, (size_t)n_points * sizeof *row);
        memcpy(poll->prober.questions + i * n_questions, row + n_points,
               (size_t)n_questions * sizeof *row);
    }
    bal_probe_votes(&poll->prober, turn->n, losses, votes);
    bal_probe_count(&poll->prober, turn->n, losses, votes, bal_ballot_totals(poll->ballot));
    for (int i = 0; i < turn->n; ++i)
        BAL_TRY(bal_ballot_cast(poll->ballot, turn->first + i, votes[i]));
    return BAL_OK;
}

/* Probe slots. The last of a team cast its votes. */
static bal_status probe_slots(bal_run *run, const bal_measure *measure, const bal_turn *turn)
{
    bal_prober *prober = &run->poll.prober;
    int64_t n_points = prober->way.n_points, n_questions = n_points * prober->n_examples;
    int64_t losses[2];
    BAL_TRY(bal_probe_slots(prober, measure, turn->first, turn->i, turn->end - turn->i, losses));
    for (int i = turn->i; i < turn->end; ++i) {
        int64_t *row = bal_deal_row(run->poll.deal, turn, i);
        memcpy(row, losses + (i - turn->i) * n_points, (size_t)n_points * sizeof *row);
        memcpy(row + n_points, prober->questions + i * n_questions,
               (size_t)n_questions * sizeof *row);
    }
    return bal_deal_done(run->poll.deal, turn) ? cast(run, turn) : BAL_OK;
}

/* Seconds that this rank may probe in this step. BAL_DEADLINE_AUTO: twice what the fastest rank of
 * the last step would need for as many slots. */
static double deadline_of(const bal_run *run)
{
    double seconds = run->job->vote.deadline;
    if (seconds == BAL_DEADLINE_AUTO && bal_ballot_pace(run->poll.ballot) != UINT64_MAX)
        return 2e-6 * (double)bal_ballot_pace(run->poll.ballot) *
               (double)bal_deal_n_mine(run->poll.deal);
    return seconds > 0.0 ? seconds : (double)INFINITY;
}

/* Probe until the deadline, and then what is left of my team; one team at least. */
static bal_status vote_on_mine(bal_run *run, const bal_measure *measure)
{
    bal_poll *poll = &run->poll;
    bal_status status = BAL_OK;
    bal_turn turn;
    int64_t n_done = 0;
    int team = -1; /* at which I am, by its first slot */
    double began = bal_seconds(), limit = deadline_of(run);
    bal_deal_begin(poll->deal);
    if (run->audit.excluded[bal_comm_rank(run->comm)]) return BAL_OK;
    while (status == BAL_OK &&
           bal_deal_next(poll->deal, n_done == 0 || bal_seconds() - began < limit, &turn)) {
        if (turn.first != team) bal_probe_begin(&poll->prober, measure, team = turn.first);
        status = probe_slots(run, measure, &turn);
        n_done += turn.end - turn.i;
        bal_progress(run, false);
    }
    bal_probe_end(&poll->prober);
    if (n_done > 0)
        bal_ballot_set_pace(poll->ballot,
                            (uint64_t)(1e6 * (bal_seconds() - began) / (double)n_done));
    return status;
}

/* If a slot has no vote or a rank was accused, the journal says how many ranks were dealt to. */
static void note_ranks(bal_run *run, bal_journal_entry *entry)
{
    int n_slots = (int)run->job->vote.slots;
    if (entry->totals.n_cast == n_slots && entry->accused < 0) return;
    for (int slot = 0; slot < n_slots; ++slot)
        if (!bal_ballot_has(bal_job_ballot(run->job), run->poll.bits, slot))
            ++run->clock.abstained[bal_deal_rank(run->poll.deal, slot)];
    entry->n_ranks = bal_comm_size(run->comm);
}

/* Vote on my slots. A failure travels with the ballot, as a wish. Local but for the fingerprint. */
static void probe(bal_run *run, step *s)
{
    bal_totals *mine = bal_ballot_totals(run->poll.ballot);
    int64_t every = run->job->run.check_every;
    s->is_checked = every > 0 && run->step % every == 0;
    if (s->is_checked)
        s->probed = bal_replica_fingerprint(run->replica.shared, run->replica.tensors,
                                            &run->replica.states, &s->fingerprint);
    mine->fingerprint_min = mine->fingerprint_max = s->fingerprint;
    if (s->is_checked && s->probed == BAL_OK) s->probed = bal_run_check_base(run);
    bal_clock_charge(&run->clock, BAL_PHASE_VOTE);
    if (s->probed == BAL_OK) s->probed = vote_on_mine(run, &s->measure);
    double hours = (bal_seconds() - run->clock.began) / 3600.0;
    if (run->machine->max_hours > 0.0 && hours >= run->machine->max_hours)
        bal_train_wish(BAL_WISH_STOP);
    mine->wishes = atomic_load(&wished) | (s->probed != BAL_OK ? BAL_WISH_FAIL : 0u);
    bal_clock_charge(&run->clock, BAL_PHASE_PROBE);
}

/* The votes of all ranks. Replicas that turn out to differ are repaired. Collective. */
static bal_status count(bal_run *run, step *s)
{
    const bal_totals *totals = &s->entry.totals;
    uint64_t print;
    bool repaired;
    bal_status status = bal_ballot_count(run->poll.ballot, run->poll.bits, &s->entry.totals);
    bal_clock_charge(&run->clock, BAL_PHASE_WAIT);
    BAL_TRY(status);
    s->again =
        (totals->wishes & BAL_WISH_FAIL) != 0 || totals->fingerprint_min != totals->fingerprint_max;
    if (s->again)
        return bal_run_compare(run, bal_comm_agree(run->comm, s->probed), &print, &repaired);
    bal_clock_charge(&run->clock, BAL_PHASE_VOTE);
    return BAL_OK;
}

/* Other ranks check the votes, if it is this step's turn. Collective. */
static bal_status audit(bal_run *run, step *s)
{
    BAL_TRY(bal_run_audit(run, &s->measure, &s->entry, &s->again));
    bal_clock_charge(&run->clock, BAL_PHASE_PROBE);
    return BAL_OK;
}

/* Write the ballot down: it is durable before any rank applies it. Collective. */
static bal_status commit(bal_run *run, step *s)
{
    note_ranks(run, &s->entry);
    bal_status status = bal_run_pending(run); /* of the step before, after its last agreement */
    if (run->writes && status == BAL_OK) status = bal_lock_check(run->record.lock);
    if (run->writes && status == BAL_OK)
        status = bal_journal_append(run->record.journal, &s->entry);
    BAL_TRY(bal_comm_agree(run->comm, status));
    bal_clock_charge(&run->clock, BAL_PHASE_JOURNAL);
    return BAL_OK;
}

/* Move the codes. Collective on the copy of the model. */
static void apply(bal_run *run, step *s)
{
    bal_run_postpone(run, bal_run_apply(run, &s->entry));
    bal_run_follow(run, &s->entry);
    run->poll.prober.unit = bal_way_unit(&run->poll.prober.way, &s->entry.totals);
    run->clock.n_probes += s->entry.totals.n_cast;
    run->clock.n_tokens += s->entry.totals.n_tokens;
    bal_clock_charge(&run->clock, BAL_PHASE_UPDATE);
}

/* The step's seconds into its row of metrics, and the row into the log. */
static bal_status log_step(bal_run *run, const step *s)
{
    bal_metrics_row row;
    BAL_TRY(bal_metrics_get(run->record.metrics, s->entry.step, &row));
    memcpy(row.seconds, run->clock.step_seconds, sizeof row.seconds);
    BAL_TRY(bal_metrics_put(run->record.metrics, &row));
    return bal_metrics_log_step(&run->record.log, run, s->entry.step,
                                s->is_checked ? &s->fingerprint : NULL);
}

/* A checkpoint, if one is due or wished for; metrics and progress. Collective. */
static bal_status publish(bal_run *run, const step *s)
{
    uint64_t wishes = s->entry.totals.wishes;
    int64_t every = run->job->run.checkpoint_every;
    bool due =
        (every > 0 && run->step % every == 0) || (wishes & (BAL_WISH_SAVE | BAL_WISH_STOP)) != 0;
    atomic_fetch_and(&wished, ~(unsigned)(wishes & BAL_WISH_SAVE)); /* done once */
    if (due && run->step < run->job->run.steps) BAL_TRY(bal_run_save(run));
    bal_clock_charge(&run->clock, BAL_PHASE_CHECKPOINT);
    if (run->writes && run->pending.status == BAL_OK) bal_run_postpone(run, log_step(run, s));
    bal_progress(run, false);
    return BAL_OK;
}

/* One step of all ranks; what they wish for in *wishes. Collective. */
static bal_status take_step(bal_run *run, uint64_t *wishes)
{
    step s = begin(run);
    BAL_TRY(evaluate(run, &s));
    BAL_TRY(bal_run_find_course(run, &s.measure, &s.entry.course));
    bal_clock_charge(&run->clock, BAL_PHASE_EVAL);
    probe(run, &s);
    BAL_TRY(count(run, &s));
    if (!s.again) BAL_TRY(audit(run, &s));
    if (s.again) return BAL_OK;
    BAL_TRY(commit(run, &s));
    apply(run, &s);
    BAL_TRY(publish(run, &s));
    *wishes = s.entry.totals.wishes;
    if (s.entry.accused < 0 || run->job->vote.audit_action != BAL_AUDIT_STOP) return BAL_OK;
    return bal_fail(BAL_ERR_NUMERIC, "%s, then run the same command again", run->audit.accusation);
}

/* After the last step: its dev loss, its checkpoint. A finished run that is run again finds both.
 * Collective. */
static bal_status finish(bal_run *run)
{
    char path[BAL_PATH_BYTES];
    uint64_t print;
    bool repaired;
    run->clock.lap = bal_seconds();
    BAL_TRY(bal_comm_agree(run->comm, bal_run_pending(run)));
    if (run->inputs.dev.n_examples > 0) BAL_TRY(evaluate_now(run));
    bal_checkpoint_path(run->dir, run->step, path);
    int64_t saved = run->writes && bal_checkpoint_verify(path) == BAL_OK;
    BAL_TRY(bal_comm_sum(run->comm, &saved, 1));
    BAL_TRY(saved ? bal_run_compare(run, BAL_OK, &print, &repaired) : bal_run_save(run));
    bal_clock_charge(&run->clock, BAL_PHASE_CHECKPOINT);
    bal_status status = BAL_OK;
    if (run->writes && saved)
        status = bal_run_name_latest(run); /* the last process was killed before that */
    if (run->writes && run->inputs.dev.n_examples > 0 && status == BAL_OK)
        status = bal_metrics_log_final(&run->record.log, run);
    return bal_comm_agree(run->comm, status);
}

/* Have all steps been taken, or has patience run out? */
static bool is_over(const bal_run *run)
{
    int64_t patience = run->job->run.patience;
    return run->step == run->job->run.steps || (patience > 0 && run->record.n_worse >= patience);
}

bal_status bal_train(const bal_job *job, const bal_machine *machine, const char *dir,
                     bal_comm *comm)
{
    double now = bal_seconds();
    bal_run run = {.job = job,
                   .machine = machine,
                   .dir = dir,
                   .comm = comm,
                   .clock = {.began = now, .started = now}};
    bal_status status = bal_run_start(&run);
    uint64_t wishes = 0;
    if (status == BAL_OK && run.writes)
        bal_log(
            BAL_LOG_SAY, "%s %s: %d rank%s, kernels %s, %lld slots, %lld x %lld tokens per probe",
            run.step > 0 ? "continuing" : "starting", dir, bal_comm_size(comm),
            bal_comm_size(comm) == 1 ? "" : "s", machine->kernels->name, (long long)job->vote.slots,
            (long long)job->data.batch, (long long)job->data.context);
    if (status == BAL_OK && run.writes && is_over(&run))
        bal_log(BAL_LOG_SAY,
                job->vote.positions == BAL_POSITIONS_ALL
                    ? "%s is complete, and no step is left; for more steps, start a new run from "
                      "it: -s model.path=%s --run NEW"
                    : "%s is complete, and no step is left; for more steps, start a new run: "
                      "-s run.steps=N --run NEW",
                dir, dir);
    run.clock.started = bal_seconds();
    while (status == BAL_OK && !is_over(&run) && !(wishes & BAL_WISH_STOP))
        status = take_step(&run, &wishes);
    if (status == BAL_OK && is_over(&run)) {
        if (run.writes && run.step < job->run.steps)
            bal_log(BAL_LOG_SAY, "%s ends: %lld evaluations in a row were not better", dir,
                    (long long)run.record.n_worse);
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
    } else if (run.writes) {
        status = bal_run_unmake(&run, status);
    }
    bal_run_clear(&run);
    return status;
}
