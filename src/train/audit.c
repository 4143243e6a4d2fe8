/* audit.c: one ballot in so many is voted on again by others, before it counts.
 *
 * Losses are integers and the same on every rank, so a rank that computes or reports something else
 * is wrong, by bad memory or by intent. Which ballot is checked is drawn from the ballot itself,
 * when its votes are in and cannot be changed any more. Then every rank probes the slots of
 * another. A replica that drifted may explain a difference: it is repaired. Otherwise nobody knows
 * yet who is wrong, so all ranks probe that team: the answer of more than half of them is right.
 *
 * The sums that travel with the votes are checked too. Nobody can say whose part of them is wrong,
 * so the step is done again.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train_impl.h"

/* Slots that are probed, and so checked, together. */
typedef struct team {
    int first, n;
    int owner; /* rank that they were dealt to */
    int n_losses;
} team;

static team team_at(const bal_run *run, int first)
{
    const bal_way *way = &run->poll.prober.way;
    int n = bal_way_slots(way, first, (int)run->job->vote.slots);
    return (team){.first = first,
                  .n = n,
                  .owner = bal_slot_rank(first, way->team, bal_comm_size(run->comm)),
                  .n_losses = n * way->n_points};
}

static bool equal(const team *t, const int64_t *a, const int64_t *b)
{
    return memcmp(a, b, (size_t)t->n_losses * sizeof *a) == 0;
}

static uint64_t hash(const team *t, const int64_t *losses)
{
    return bal_hash(losses, (size_t)t->n_losses * sizeof *losses, 0);
}

/* Are the votes that were counted those that the losses say? These into votes. */
static bool counted(const bal_run *run, const team *t, const int64_t *losses, int8_t *votes)
{
    bool same = true;
    bal_probe_votes(&run->poll.prober, t->n, losses, votes);
    for (int i = 0; i < t->n; ++i)
        same &= bal_ballot_vote(bal_job_ballot(run->job), run->poll.bits, t->first + i) == votes[i];
    return same;
}

static bal_status probe(bal_run *run, const bal_measure *measure, const team *t, int64_t *losses)
{
    return bal_probe(&run->poll.prober, measure, t->first, t->n, losses);
}

/* A number that nobody knew before the votes were in. */
static uint64_t draw(const bal_run *run)
{
    size_t n_bytes = (size_t)bal_ballot_words(bal_job_ballot(run->job)) * sizeof *run->poll.bits;
    return bal_hash(run->poll.bits, n_bytes, run->id.seed + (uint64_t)run->step);
}

/* One step in every 1/share is due, all with the same probability. */
static bool is_due(bal_run *run, uint64_t drawn)
{
    int64_t window = llround(fmin(1.0 / run->job->vote.audit, 1e18)); /* 1 or more: share <= 1 */
    int64_t at = run->step % window;
    if (at == 0) run->audit.audited = false;
    if (run->audit.audited) return false;
    run->audit.audited = drawn % (uint64_t)(window - at) == 0;
    return run->audit.audited;
}

/* The rank that checks the slots of another; their own rank if no other may vote. */
static int auditor_of(const bal_run *run, int rank, uint64_t drawn)
{
    int size = bal_comm_size(run->comm);
    if (size == 1) return 0;
    int auditor = (rank + 1 + (int)((drawn >> 32) % (uint64_t)(size - 1))) % size;
    while (auditor != rank && run->audit.excluded[auditor]) auditor = (auditor + 1) % size;
    return auditor;
}

/* What a rank said of a team, and what it says now that all are asked. */
typedef struct answer {
    int64_t said[2 * BAL_WAY_TEAM_MAX], says[2 * BAL_WAY_TEAM_MAX];
    uint64_t asked; /* 0: it is excluded */
} answer;

/* A rank with the answer of more than half of those asked; -1: there is no such answer. */
static int majority(const team *t, const answer *all, int size)
{
    int best = 0, first = -1, n_asked = 0;
    for (int a = 0; a < size; ++a) {
        int same = 0;
        for (int b = 0; b < size; ++b)
            same += all[a].asked && all[b].asked && equal(t, all[a].says, all[b].says);
        n_asked += all[a].asked != 0;
        if (same > best) best = same, first = a;
    }
    return 2 * best > n_asked ? first : -1;
}

/* Ask all ranks about a team. *accused is the first that is wrong; -1: the difference is gone. */
static bal_status judge(bal_run *run, const bal_measure *measure, const team *t,
                        const int64_t *mine, answer *all, int *accused)
{
    int rank = bal_comm_rank(run->comm), size = bal_comm_size(run->comm);
    answer own = {.asked = !run->audit.excluded[rank]};
    bal_status status = own.asked ? probe(run, measure, t, own.says) : BAL_OK;
    memcpy(own.said, mine != NULL ? mine : own.says, (size_t)t->n_losses * sizeof *own.said);
    BAL_TRY(bal_comm_agree(run->comm, status));
    BAL_TRY(bal_comm_gather(run->comm, (const uint64_t *)&own, sizeof own / 8, (uint64_t *)all));
    int right = majority(t, all, size);
    if (right < 0)
        return bal_fail(BAL_ERR_NUMERIC,
                        "step %lld: the ranks compute different losses for slot %d, and no answer "
                        "is that of more than half of them; check the memory of %s, the host of "
                        "rank %d, and of the others, then run the same command again",
                        (long long)run->step, t->first, bal_comm_host(run->comm, t->owner),
                        t->owner);
    int8_t votes[BAL_WAY_TEAM_MAX];
    *accused = -1;
    for (int r = 0; r < size && *accused < 0; ++r)
        if (all[r].asked &&
            (!equal(t, all[r].says, all[right].says) || !equal(t, all[r].said, all[right].says) ||
             (r == t->owner && !counted(run, t, all[right].says, votes))))
            *accused = r;
    return BAL_OK;
}

static void accuse(bal_run *run, bal_journal_entry *entry, int slot, int accused)
{
    static const char *const what[] = {
        [BAL_AUDIT_STOP] = "the run stops",
        [BAL_AUDIT_EXCLUDE] = "it votes no more until the run is started again",
        [BAL_AUDIT_WARN] = "its votes count all the same"};
    if (accused < 0) {
        bal_log(BAL_LOG_WARN,
                "step %lld: the audit of slot %d found a difference that was gone when all ranks "
                "were asked: a fault of memory that passed, or a rank that lies",
                (long long)run->step, slot);
    } else if (!run->audit.accused[accused]) {
        snprintf(run->audit.accusation, sizeof run->audit.accusation,
                 "step %lld: rank %d on %s cast a wrong vote on slot %d, or checked one wrongly: "
                 "its losses are not those of the other ranks; check the memory of its machine",
                 (long long)run->step, accused, bal_comm_host(run->comm, accused), slot);
        bal_log(BAL_LOG_WARN, "%s (%s)", run->audit.accusation, what[run->job->vote.audit_action]);
        run->audit.accused[accused] = true;
        ++run->audit.n_accused;
        if (entry->accused < 0) entry->accused = accused;
    }
}

/* Ranks that were found to be wrong in this step vote no more. */
static bal_status exclude(bal_run *run)
{
    int size = bal_comm_size(run->comm), n_left = 0;
    for (int rank = 0; rank < size; ++rank) {
        if (run->audit.accused[rank] && run->job->vote.audit_action != BAL_AUDIT_WARN) {
            run->audit.excluded[rank] = true;
            bal_ballot_strike(bal_job_ballot(run->job), run->poll.bits, run->poll.prober.way.team,
                              rank, size);
        }
        n_left += !run->audit.excluded[rank];
    }
    return n_left > 0 ? BAL_OK : bal_fail(BAL_ERR_NUMERIC, "%s", run->audit.accusation);
}

/* A check of all teams. */
typedef struct check {
    uint64_t drawn;        /* see draw */
    uint64_t *differences; /* [n_slots] at a team's first slot: 0 if voter and auditor agree */
    int64_t *losses;       /* [n_slots][n_points] of the teams that I checked */
    bal_totals totals;     /* of these */
} check;

/* Probe the teams whose auditor I am. Where they agree, the hash of the voter's losses less that
 * of the auditor's is 0. Local. */
static bal_status check_mine(bal_run *run, const bal_measure *measure, check *c)
{
    const bal_poll *poll = &run->poll;
    const bal_way *way = &poll->prober.way;
    int rank = bal_comm_rank(run->comm);
    int8_t votes[BAL_WAY_TEAM_MAX];
    for (int first = 0; first < run->job->vote.slots; first += way->team) {
        team t = team_at(run, first);
        uint64_t *difference = &c->differences[first];
        int64_t *losses = &c->losses[first * way->n_points];
        if (!bal_ballot_has(bal_job_ballot(run->job), poll->bits, first)) continue;
        if (rank == t.owner) *difference += hash(&t, &poll->losses[first * way->n_points]);
        if (rank != auditor_of(run, t.owner, c->drawn)) continue;
        BAL_TRY(probe(run, measure, &t, losses));
        *difference -= hash(&t, losses);
        if (!counted(run, &t, losses, votes)) ++*difference;
        bal_probe_count(&poll->prober, t.n, losses, votes, &c->totals);
    }
    return BAL_OK;
}

/* Whose answers differ? One team of each rank says enough. Collective. */
static bal_status look_into(bal_run *run, const bal_measure *measure, bal_journal_entry *entry,
                            const check *c)
{
    const bal_way *way = &run->poll.prober.way;
    int rank = bal_comm_rank(run->comm), size = bal_comm_size(run->comm);
    answer *all = bal_alloc((size_t)size, sizeof *all);
    bool *seen = bal_alloc((size_t)size, sizeof *seen); /* owners of teams that were looked at */
    bal_status status =
        all == NULL || seen == NULL ? bal_fail(BAL_ERR_MEMORY, "no memory for an audit") : BAL_OK;
    status = bal_comm_agree(run->comm, status);
    for (int first = 0; first < run->job->vote.slots && status == BAL_OK; first += way->team) {
        team t = team_at(run, first);
        int auditor = auditor_of(run, t.owner, c->drawn), accused;
        if (c->differences[first] == 0 || seen[t.owner]) continue;
        const int64_t *mine = rank == t.owner   ? &run->poll.losses[first * way->n_points]
                              : rank == auditor ? &c->losses[first * way->n_points]
                                                : NULL;
        seen[t.owner] = true;
        status = judge(run, measure, &t, mine, all, &accused);
        if (status == BAL_OK) accuse(run, entry, first, accused);
    }
    free(all);
    free(seen);
    return status == BAL_OK ? exclude(run) : status;
}

/* Are the sums of the ballot those of its teams? If not, the step is to be done again. Collective.
 */
static bal_status check_totals(bal_run *run, const bal_totals *said, const bal_totals *mine,
                               bool *again)
{
    int64_t sums[] = {mine->loss, mine->n_tokens, mine->n_agree, mine->spread, mine->common};
    const int64_t as_said[] = {said->loss, said->n_tokens, said->n_agree, said->spread,
                               said->common};
    BAL_TRY(bal_comm_sum(run->comm, sums, sizeof sums / sizeof *sums));
    if (memcmp(sums, as_said, sizeof sums) == 0) return BAL_OK;
    if (run->audit.doubted_step == run->step)
        return bal_fail(BAL_ERR_NUMERIC,
                        "step %lld: the sums of the ballot are wrong for the second time, and "
                        "nobody can say by which rank; check the memory of all machines, then run "
                        "the same command again",
                        (long long)run->step);
    bal_log(BAL_LOG_WARN,
            "step %lld: the audit found that the sums of the ballot are not those of its votes; "
            "the step is done again",
            (long long)run->step);
    run->audit.doubted_step = run->step;
    *again = true;
    return BAL_OK;
}

/* Check the ballot, and look into differences. Collective. */
static bal_status check_ballot(bal_run *run, const bal_measure *measure, bal_journal_entry *entry,
                               check *c, bool *again)
{
    int n_slots = (int)run->job->vote.slots;
    uint64_t fingerprint;
    bal_status status = c->differences == NULL || c->losses == NULL
                            ? bal_fail(BAL_ERR_MEMORY, "no memory for an audit")
                            : check_mine(run, measure, c);
    status = bal_comm_agree(run->comm, status);
    if (status == BAL_OK) status = bal_comm_sum(run->comm, (int64_t *)c->differences, n_slots);
    bool differ = status == BAL_ERR_NUMERIC;
    for (int slot = 0; slot < n_slots && status == BAL_OK; ++slot)
        differ |= c->differences[slot] != 0;
    if (differ)
        status = bal_run_compare(run, status, &fingerprint, again); /* a drift is not a lie */
    if (*again || status != BAL_OK) return status;
    if (!differ) return check_totals(run, &entry->totals, &c->totals, again);
    return look_into(run, measure, entry, c);
}

bal_status bal_run_audit(bal_run *run, const bal_measure *measure, bal_journal_entry *entry,
                         bool *again)
{
    bal_audit *audit = &run->audit;
    size_t n_slots = (size_t)run->job->vote.slots;
    *again = false;
    if (run->job->vote.audit <= 0.0) return BAL_OK;
    check c = {.drawn = draw(run)};
    if (!is_due(run, c.drawn)) return BAL_OK;
    ++audit->n_audits;
    memset(audit->accused, 0, (size_t)bal_comm_size(run->comm) * sizeof *audit->accused);
    c.differences = bal_alloc(n_slots, sizeof *c.differences);
    c.losses = bal_alloc(n_slots * (size_t)run->poll.prober.way.n_points, sizeof *c.losses);
    bal_status status = check_ballot(run, measure, entry, &c, again);
    if (*again) audit->audited = false;
    free(c.differences);
    free(c.losses);
    return status;
}
