/* limits.c: what limits a run, from its journal. */
#include <math.h>

#include "train_impl.h"

/* What the slots of some steps have found. */
typedef struct findings {
    double slots, spread, common;
} findings;

static void add_findings(const bal_journal_entry *entry, findings *found)
{
    found->slots += (double)entry->totals.n_cast;
    found->spread += (double)entry->totals.spread;
    found->common += (double)entry->totals.common;
}

/* How one half of the mini-batch agrees with the other. */
static void find_share(const bal_job *job, const findings *found, bal_signs *signs)
{
    const double half_pi = 1.5707963267948966; /* mean square over squared mean of normal numbers */
    int64_t half = job->data.batch / 2;
    double mean = found->spread / found->slots;
    if (found->common == 0.0 || found->spread <= 0.0) return;
    double whole = (double)(job->data.batch * job->data.batch);
    double product =
        found->common * 1024.0 / found->slots * whole / (double)(half * (job->data.batch - half));
    signs->share = product / (half_pi * mean * mean);
    signs->share_error = 1.0 / sqrt(found->slots);
}

static double train_loss(const bal_journal_entry *entry, int n_points)
{
    return (double)entry->totals.loss / n_points / (double)entry->totals.n_tokens /
           BAL_LOSS_UNITS_PER_NAT;
}

/* Losses on the way. */
typedef struct way {
    double loss;      /* of training, a running mean */
    double best;      /* lowest dev loss so far */
    double loss_then; /* the training loss at that time */
} way;

/* What evaluations and searches have found, up to a step. */
static void follow(const bal_journal_entry *entry, int n_points, way *w, bal_signs *signs)
{
    if (entry->totals.n_tokens > 0) {
        double now = train_loss(entry, n_points);
        w->loss = isnan(w->loss) ? now : w->loss + 0.1 * (now - w->loss);
    }
    if (entry->course.scale > 0) {
        signs->scale = log((double)entry->course.scale / BAL_RATE_ONE);
        signs->scale_error = (double)entry->course.noise / BAL_RATE_ONE;
    }
    if (entry->dev_loss < 0) return;
    bal_score score = bal_entry_score(entry);
    double dev = bal_score_nats(&score);
    if (dev < w->best) w->best = dev, w->loss_then = w->loss, signs->n_worse = -1;
    ++signs->n_worse;
    signs->rise = dev - w->best;
    signs->fall = w->loss_then - w->loss;
}

bal_status bal_signs_read(const bal_job *job, bal_journal *journal, bal_signs *signs)
{
    *signs = (bal_signs){.share = NAN,
                         .share_error = NAN,
                         .scale = NAN,
                         .scale_error = NAN,
                         .rise = NAN,
                         .fall = NAN};
    int64_t n = bal_journal_n(journal);
    way w = {.loss = NAN, .loss_then = NAN, .best = INFINITY};
    findings found = {0}; /* of the last quarter */
    for (int64_t i = 0; i < n; ++i) {
        bal_journal_entry entry;
        BAL_TRY(bal_journal_read(journal, i, &entry));
        if (i >= n - (n + 3) / 4) add_findings(&entry, &found);
        follow(&entry, bal_job_way(job).n_points, &w, signs);
    }
    find_share(job, &found, signs);
    return BAL_OK;
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
