/* step.c: what live steps and replays share: a failure kept for the next agreement, and a ballot
 * applied. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train_impl.h"

void bal_run_postpone(bal_run *run, bal_status status)
{
    if (status == BAL_OK || run->pending.status != BAL_OK) return;
    run->pending.status = status;
    snprintf(run->pending.reason, sizeof run->pending.reason, "%s", bal_failure());
}

bal_status bal_run_pending(const bal_run *run)
{
    return run->pending.status == BAL_OK ? BAL_OK
                                         : bal_fail(run->pending.status, "%s", run->pending.reason);
}

bal_status bal_update_init(bal_update *update, const bal_job *job, uint32_t streams,
                           const bal_machine *machine, bal_tensors *tensors,
                           const bal_states *states)
{
    size_t n = (size_t)tensors->n;
    update->on_ballot = bal_alloc(n, sizeof *update->on_ballot);
    update->flips = bal_alloc(n, sizeof *update->flips);
    update->flip_sums = bal_alloc(n, sizeof *update->flip_sums);
    if (update->on_ballot == NULL || update->flips == NULL || update->flip_sums == NULL)
        return bal_fail(BAL_ERR_MEMORY, "no memory for the updates of %d tensors", tensors->n);
    BAL_TRY(bal_job_tensors(job, tensors, update->on_ballot));
    update->factor = 1.0;
    update->measure = bal_job_measure(job, streams, machine, tensors, update->on_ballot);
    if (job->vote.turns != BAL_TURNS_NONE) {
        BAL_TRY(bal_job_rota(job, tensors, update->on_ballot, &update->rota));
        update->measure.rota = &update->rota;
    }
    return bal_job_optim(job, machine, tensors, states, &update->measure, &update->optim);
}

void bal_update_clear(bal_update *update)
{
    bal_optim_destroy(&update->optim);
    bal_rota_clear(&update->rota);
    free(update->on_ballot);
    free(update->flips);
    free(update->flip_sums);
}

/* Move the codes of my part of the copy; then all of its ranks see them all, and what changed. */
static bal_status update_codes(bal_run *run, const bal_journal_entry *entry)
{
    bal_update *update = &run->update;
    bal_shared *shared = run->replica.shared;
    int n = run->replica.tensors->n;
    /* No rank is in a forward pass: all have sent their votes, or wait in a replay. And none begins
     * the next one before every part is written. */
    bal_optim_set_rate(update->optim, (double)entry->course.rate / BAL_RATE_ONE, update->factor);
    bal_optim_set_slope(update->optim, bal_entry_signs(run->job, entry).slope);
    bal_optim_apply(update->optim, entry->step, entry->bits, bal_shared_part(shared),
                    bal_shared_n_parts(shared), update->flips);
    BAL_TRY(bal_shared_sync(shared));
    for (int i = 0; i < n; ++i) update->flip_sums[i] = update->flips[i];
    BAL_TRY(bal_shared_sum(shared, update->flip_sums, n));
    for (int i = 0; i < n; ++i) update->flips[i] = (uint32_t)update->flip_sums[i];
    return BAL_OK;
}

bool bal_record_score(bal_record *record, int64_t step, bal_best by)
{
    bool best = bal_score_better(&record->dev_score, &record->best_score, by);
    record->n_worse = best ? 0 : record->n_worse + 1;
    if (!best) return false;
    record->best_score = record->dev_score;
    record->best_step = step;
    return true;
}

static bal_status add_metrics(bal_run *run, const bal_journal_entry *entry)
{
    bal_metrics *m = run->record.metrics;
    const bal_totals *totals = &entry->totals;
    int n_points = bal_job_way(run->job).n_points;
    bal_metrics_row before = {0};
    if (entry->step > 0) BAL_TRY(bal_metrics_get(m, entry->step - 1, &before));
    double sequences = (double)bal_ballot_n_decided(bal_job_ballot(run->job), entry->bits) *
                       (double)run->job->data.batch;
    bal_score dev = bal_entry_score(entry);
    bal_signs signs = bal_entry_signs(run->job, entry);
    bal_metrics_row row = {
        .step = entry->step,
        .loss_nats = bal_entry_loss(run->job, entry),
        .dev_loss_nats = entry->dev_loss >= 0 ? bal_score_nats(&dev) : (double)NAN,
        .dev_metric = entry->dev_merit >= 0 ? bal_merit(entry->dev_merit) : (double)NAN,
        .agreement = sequences > 0 ? (double)totals->n_agree / sequences : 0.0,
        .slope = signs.slope,
        .share = signs.share,
        .rise = signs.rise,
        .n_passes = before.n_passes + n_points * totals->n_cast + entry->course.n_passes,
        .flips = run->update.flips};
    return bal_metrics_put(m, &row);
}

bal_status bal_run_apply(bal_run *run, const bal_journal_entry *entry)
{
    BAL_TRY(update_codes(run, entry));
    run->step = entry->step + 1;
    return run->record.metrics != NULL ? add_metrics(run, entry) : BAL_OK;
}
