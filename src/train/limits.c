/* limits.c: what the journal says of steps, and of what limits a run. */
#include <math.h>

#include "train_impl.h"

/* What the slots of some steps have found. */
typedef struct findings {
    double slots, tokens, spread, common;
} findings;

static void add_findings(const bal_totals *totals, findings *found)
{
    found->slots += (double)totals->n_cast;
    found->tokens += (double)totals->n_tokens;
    found->spread += (double)totals->spread;
    found->common += (double)totals->common;
}

static double slope_of(const bal_job *job, const findings *found)
{
    bal_way way = bal_job_way(job);
    if (found->spread <= 0.0) return NAN;
    return bal_way_slope(&way, found->spread / found->tokens) / BAL_LOSS_UNITS_PER_NAT;
}

/* How one half of the mini-batch agrees with the other. If both are noise, with the shares f and
 * 1 - f of its variance, their product has a standard deviation of sqrt(f (1 - f)) times that
 * variance. What the n slots of a team find adds up to 0, so n - 1 of them are independent. */
static void find_share(const bal_job *job, const findings *found, bal_signs *signs)
{
    const double half_pi = 1.5707963267948966; /* mean square over squared mean of normal numbers */
    bal_way way = bal_job_way(job);
    double half = (double)(job->data.batch / 2) / (double)job->data.batch;
    double whole = half * (1.0 - half), mean = found->spread / found->slots;
    double n_free = way.n_points == 2 ? found->slots : found->slots * (way.team - 1) / way.team;
    signs->share = signs->share_error = NAN;
    if (found->common == 0.0 || found->spread <= 0.0) return;
    signs->share = found->common * 1024.0 / found->slots / whole / (half_pi * mean * mean);
    signs->share_error = 1.0 / sqrt(whole * n_free);
}

bal_score bal_entry_score(const bal_journal_entry *entry)
{
    return (bal_score){
        .loss = entry->dev_loss, .n_tokens = entry->dev_tokens, .merit = entry->dev_merit};
}

double bal_entry_loss(const bal_job *job, const bal_journal_entry *entry)
{
    if (entry->totals.n_tokens <= 0) return NAN;
    return (double)entry->totals.loss / bal_job_way(job).n_points / (double)entry->totals.n_tokens /
           BAL_LOSS_UNITS_PER_NAT;
}

/* Loss of the model itself in the search before a step; NaN: there was none. */
static double loss_of_search(const bal_course *course)
{
    if (course->scale <= 0) return NAN;
    return (double)course->loss / (double)course->n_tokens / BAL_LOSS_UNITS_PER_NAT;
}

bal_signs bal_entry_signs(const bal_job *job, const bal_journal_entry *entry)
{
    bal_signs signs = {.slope = NAN, .share = NAN, .share_error = NAN, .rise = NAN};
    findings found = {0};
    if (!bal_journal_has_values(bal_job_journal(job))) return signs;
    add_findings(&entry->totals, &found);
    signs.slope = slope_of(job, &found);
    find_share(job, &found, &signs);
    signs.rise = bal_entry_loss(job, entry) - loss_of_search(&entry->course);
    return signs;
}

/* Losses on the way. */
typedef struct way {
    int64_t n_steps;
    double loss, variance; /* of training: running mean, and variance of steps around it */
    double best;           /* lowest dev loss so far */
    double loss_then;      /* the training loss at that time */
} way;

/* The weight of the step in the running mean that it was added to last. */
static double weight_of(const way *w) { return w->n_steps < 10 ? 1.0 / (double)w->n_steps : 0.1; }

static void add_loss(double loss, way *w)
{
    if (isnan(loss)) return;
    ++w->n_steps;
    double off = loss - w->loss;
    w->loss += weight_of(w) * off;
    if (w->n_steps > 1) w->variance += weight_of(w) * (off * off - w->variance);
}

/* What the search before a step has found. The losses of its mini-batches vary as those of steps
 * do, which are means over the mini-batches of all teams. */
static void add_search(const bal_job *job, const bal_journal_entry *entry, const way *w,
                       bal_signs *signs)
{
    const bal_course *course = &entry->course;
    const bal_totals *totals = &entry->totals;
    if (course->scale <= 0) return;
    signs->scale = log((double)course->scale / BAL_RATE_ONE);
    signs->scale_error = (double)course->noise / BAL_RATE_ONE;
    signs->rise = w->loss - loss_of_search(course);
    double n = (double)totals->n_cast / bal_job_way(job).team; /* mini-batches of the step */
    double n_searched =
        (double)course->n_tokens * (double)totals->n_cast / (double)totals->n_tokens;
    signs->rise_error = sqrt(w->variance * (weight_of(w) + n / n_searched));
}

/* What evaluations have found, up to that before a step. */
static void add_evaluation(const bal_journal_entry *entry, way *w, bal_signs *signs)
{
    if (entry->dev_loss < 0) return;
    bal_score score = bal_entry_score(entry);
    double dev = bal_score_nats(&score);
    if (dev < w->best) w->best = dev, w->loss_then = w->loss, signs->n_worse = -1;
    ++signs->n_worse;
    signs->dev_rise = dev - w->best;
    signs->train_fall = w->loss_then - w->loss;
}

bal_status bal_signs_read(const bal_job *job, bal_journal *journal, bal_signs *signs)
{
    *signs = (bal_signs){.slope = NAN,
                         .share = NAN,
                         .share_error = NAN,
                         .rise = NAN,
                         .rise_error = NAN,
                         .scale = NAN,
                         .scale_error = NAN,
                         .dev_rise = NAN,
                         .train_fall = NAN};
    int64_t n = bal_journal_n(journal);
    way w = {.best = INFINITY};
    findings found = {0}; /* of the last quarter */
    for (int64_t i = 0; i < n; ++i) {
        bal_journal_entry entry;
        BAL_TRY(bal_journal_read(journal, i, &entry));
        if (i >= n - (n + 3) / 4) add_findings(&entry.totals, &found);
        add_loss(bal_entry_loss(job, &entry), &w);
        add_search(job, &entry, &w, signs);
        add_evaluation(&entry, &w, signs);
    }
    signs->slope = slope_of(job, &found);
    find_share(job, &found, signs);
    return BAL_OK;
}

bal_limit bal_limit_of(const bal_signs *signs)
{
    double sure = 2.0 * signs->scale_error; /* comparisons with NaN are false */
    if (signs->n_worse >= 3 && signs->dev_rise > 0.0 && signs->train_fall > 0.0)
        return BAL_LIMIT_DATA;
    if (signs->scale + sure < -0.1) return BAL_LIMIT_LONG_STEPS;
    if (signs->scale - sure > 0.35) return BAL_LIMIT_SHORT_STEPS;
    if (signs->share + 2.0 * signs->share_error < 0.05) return BAL_LIMIT_SMALL_BATCH;
    if (signs->share - 2.0 * signs->share_error > 0.6) return BAL_LIMIT_LARGE_BATCH;
    return isnan(signs->scale) && isnan(signs->share) ? BAL_LIMIT_UNKNOWN : BAL_LIMIT_SLOTS;
}

static const struct {
    const char *sentence, *advice;
} limits[BAL_N_LIMITS] = {
    [BAL_LIMIT_DATA] = {"the training data are exhausted: the dev loss rises while the training "
                        "loss falls",
                        "take best.h5; use more data, or fewer steps"},
    [BAL_LIMIT_LONG_STEPS] = {"the steps are too long: a model nearer to the base has a lower loss",
                              "in a new run, set a smaller rule.travel, or leave it at auto"},
    [BAL_LIMIT_SHORT_STEPS] =
        {"the steps are too short: a model farther from the base has a lower "
         "loss",
         "in a new run, set a larger rule.travel, or leave it at auto; use more steps"},
    [BAL_LIMIT_SMALL_BATCH] = {"the mini-batch is too small: its halves agree on next to nothing",
                               "in a new run, set a larger data.batch"},
    [BAL_LIMIT_LARGE_BATCH] =
        {"the mini-batch is larger than it need be: its halves say the same",
         "in a new run, set a smaller data.batch, and more steps or slots instead"},
    [BAL_LIMIT_SLOTS] = {"there are too few slots and steps: what moves the codes is mostly the "
                         "noise of random directions",
                         "in a new run, set more run.steps or vote.slots"},
    [BAL_LIMIT_UNKNOWN] =
        {"nothing can be told: there was no search for the travel, and no halves to compare",
         "look at the dev loss; rule.travel = auto makes searches, and mini-batches of 2 or more "
         "have halves, but for the objectives centred and f1; runs of version 0.1 have neither"},
};
const char *bal_limit_sentence(bal_limit limit) { return limits[limit].sentence; }
const char *bal_limit_advice(bal_limit limit) { return limits[limit].advice; }
