/* limits.c: what limits a run, from its journal. */
#include <math.h>

#include "train_impl.h"

/* How one half of the mini-batch agrees with the other, over the last quarter of the run. */
static bal_status read_share(const bal_job *job, bal_journal *journal, bal_signs *signs)
{
    const double half_pi = 1.5707963267948966; /* mean square over squared mean of normal numbers */
    int64_t n = bal_journal_n(journal), half = job->data.batch / 2;
    double slots = 0.0, spread = 0.0, common = 0.0;
    for (int64_t i = n - (n + 3) / 4; i < n; ++i) {
        bal_journal_entry entry;
        BAL_TRY(bal_journal_read(journal, i, &entry));
        slots += (double)entry.totals.n_cast;
        spread += (double)entry.totals.spread;
        common += (double)entry.totals.common;
    }
    if (common == 0.0 || spread <= 0.0) return BAL_OK;
    double whole = (double)(job->data.batch * job->data.batch);
    double product = common * 1024.0 / slots * whole / (double)(half * (job->data.batch - half));
    signs->share = product / (half_pi * spread / slots * spread / slots);
    signs->share_error = 1.0 / sqrt(slots);
    return BAL_OK;
}

static double train_loss(const bal_journal_entry *entry, int n_points)
{
    return (double)entry->totals.loss / n_points / (double)entry->totals.n_tokens /
           BAL_LOSS_UNITS_PER_NAT;
}

/* What evaluations and searches have found. The training loss is that of the steps around them. */
static bal_status read_course(const bal_job *job, bal_journal *journal, bal_signs *signs)
{
    int n_points = bal_job_way(job).n_points;
    double best = INFINITY, loss = NAN, loss_then = NAN;
    for (int64_t i = 0; i < bal_journal_n(journal); ++i) {
        bal_journal_entry entry;
        BAL_TRY(bal_journal_read(journal, i, &entry));
        if (entry.totals.n_tokens > 0) {
            double now = train_loss(&entry, n_points);
            loss = isnan(loss) ? now : loss + 0.1 * (now - loss);
        }
        if (entry.course.scale > 0) {
            signs->scale = log((double)entry.course.scale / BAL_RATE_ONE);
            signs->scale_error = (double)entry.course.noise / BAL_RATE_ONE;
        }
        if (entry.dev_loss < 0) continue;
        bal_score score = bal_entry_score(&entry);
        double dev = bal_score_nats(&score);
        if (dev < best) best = dev, loss_then = loss, signs->n_worse = -1;
        ++signs->n_worse;
        signs->rise = dev - best;
        signs->fall = loss_then - loss;
    }
    return BAL_OK;
}

bal_status bal_signs_read(const bal_job *job, bal_journal *journal, bal_signs *signs)
{
    *signs = (bal_signs){.share = NAN,
                         .share_error = NAN,
                         .scale = NAN,
                         .scale_error = NAN,
                         .rise = NAN,
                         .fall = NAN};
    BAL_TRY(read_share(job, journal, signs));
    return read_course(job, journal, signs);
}

bal_limit bal_limit_of(const bal_signs *signs)
{
    double sure = 2.0 * signs->scale_error; /* comparisons with NaN are false */
    if (signs->n_worse >= 3 && signs->rise > 0.0 && signs->fall > 0.0) return BAL_LIMIT_DATA;
    if (signs->scale + sure < -0.1) return BAL_LIMIT_LONG_STEPS;
    if (signs->scale - sure > 0.35) return BAL_LIMIT_SHORT_STEPS;
    if (signs->share + 2.0 * signs->share_error < 0.05) return BAL_LIMIT_SMALL_BATCH;
    if (signs->share - 2.0 * signs->share_error > 0.6) return BAL_LIMIT_LARGE_BATCH;
    return BAL_LIMIT_SLOTS;
}

static const struct {
    const char *sentence, *advice;
} limits[BAL_N_LIMITS] = {
    [BAL_LIMIT_DATA] = {"the training data are exhausted: the dev loss rises while the training "
                        "loss falls",
                        "take best.h5; use more data, or fewer steps"},
    [BAL_LIMIT_LONG_STEPS] = {"the steps are too long: a model nearer to the base has a lower loss",
                              "set a smaller rule.travel, or leave it at auto"},
    [BAL_LIMIT_SHORT_STEPS] = {"the steps are too short: a model farther from the base has a lower "
                               "loss",
                               "set a larger rule.travel, or leave it at auto; use more steps"},
    [BAL_LIMIT_SMALL_BATCH] = {"the mini-batch is too small: its halves agree on next to nothing",
                               "set a larger data.batch"},
    [BAL_LIMIT_LARGE_BATCH] = {"the mini-batch is larger than it need be: its halves say the same",
                               "set a smaller data.batch, and more steps or slots instead"},
    [BAL_LIMIT_SLOTS] = {"there are too few slots and steps: what moves the codes is mostly the "
                         "noise of random directions",
                         "set more run.steps or vote.slots"},
};
const char *bal_limit_sentence(bal_limit limit) { return limits[limit].sentence; }
const char *bal_limit_advice(bal_limit limit) { return limits[limit].advice; }
