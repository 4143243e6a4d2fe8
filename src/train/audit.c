/* audit.c: one ballot in so many is voted on again by others, before it counts.
 *
 * Losses are integers and the same on every rank, so a rank that computes or reports something else
 * is wrong, by bad memory or by intent. Which ballot is checked is drawn from the ballot itself,
 * when its votes are in and cannot be changed any more. Then every rank probes the slots of
 * another. A difference may come of a replica that drifted, which is then repaired. Else it does
 * not say who is wrong: all ranks probe that slot, and the answer of more than half of them is
 * right. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train_impl.h"

static bool equal(bal_pair a, bal_pair b) { return a.minus == b.minus && a.plus == b.plus; }

/* The vote on a slot, as it was counted. */
static int counted(const bal_run *run, int slot)
{
    return bal_ballot_vote(bal_job_ballot(run->job), run->poll.bits, slot);
}

/* A number that nobody knew before the votes were in. */
static uint64_t draw(const bal_run *run)
{
    size_t n_bytes = (size_t)bal_ballot_words(bal_job_ballot(run->job)) * sizeof *run->poll.bits;
    return bal_hash(run->poll.bits, n_bytes, run->id.seed + (uint64_t)run->step);
}

/* One step of every 1/share, each as likely as the next. */
static bool is_due(bal_run *run, uint64_t drawn)
{
    int64_t window = llround(fmin(1.0 / run->job->vote.audit, 1e18)); /* 1 or more: share <= 1 */
    int64_t at = run->step % window;
    if (at == 0) run->audit.audited = false;
    if (run->audit.audited) return false;
    run->audit.audited = drawn % (uint64_t)(window - at) == 0;
    return run->audit.audited;
}

/* Who checks the slots of a rank: another one, as long as there is another that may vote. */
static int auditor_of(const bal_run *run, int rank, uint64_t drawn)
{
    int size = bal_comm_size(run->comm);
    if (size == 1) return 0;
    int auditor = (rank + 1 + (int)((drawn >> 32) % (uint64_t)(size - 1))) % size;
    while (auditor != rank && run->audit.excluded[auditor]) auditor = (auditor + 1) % size;
    return auditor;
}

/* What a rank said of a slot, and what it says now that all are asked. */
typedef struct answer {
    bal_pair said, says;
    uint64_t asked; /* 0: it is excluded */
} answer;

/* Ask all ranks. The first that is wrong in *accused, -1: none that could be found again. */
static bal_status judge(bal_run *run, const bal_measure *measure, int slot, const bal_pair *mine,
                        answer *all, int *accused)
{
    int rank = bal_comm_rank(run->comm), size = bal_comm_size(run->comm), n_asked = 0;
    int owner = bal_slot_rank(slot, size), best = 0, first = -1;
    answer own = {.asked = !run->audit.excluded[rank]};
    bal_status status = own.asked ? bal_run_probe(run, measure, slot, &own.says) : BAL_OK;
    own.said = mine != NULL ? *mine : own.says;
    BAL_TRY(bal_comm_agree(run->comm, status));
    BAL_TRY(bal_comm_gather(run->comm, (const uint64_t *)&own, sizeof own / 8, (uint64_t *)all));
    for (int a = 0; a < size; ++a) {
        int same = 0;
        for (int b = 0; b < size; ++b)
            same += all[a].asked && all[b].asked && equal(all[a].says, all[b].says);
        n_asked += all[a].asked != 0;
        if (same > best) best = same, first = a;
    }
    *accused = -1;
    if (2 * best <= n_asked)
        return bal_fail(BAL_ERR_NUMERIC,
                        "step %lld: the ranks compute different losses for slot %d, and no answer "
                        "is that of more than half of them; check the memory of %s, the host of "
                        "rank %d, and of the others, then run the same command again",
                        (long long)run->step, slot, bal_comm_host(run->comm, owner), owner);
    for (int r = 0; r < size && *accused < 0; ++r)
        if (all[r].asked &&
            (!equal(all[r].says, all[first].says) || !equal(all[r].said, all[first].says) ||
             (r == owner && counted(run, slot) != bal_pair_vote(all[first].says))))
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

/* Those who were found out in this step vote no more. */
static bal_status exclude(bal_run *run)
{
    int size = bal_comm_size(run->comm), n_left = 0;
    for (int rank = 0; rank < size; ++rank) {
        if (run->audit.accused[rank] && run->job->vote.audit_action != BAL_AUDIT_WARN) {
            run->audit.excluded[rank] = true;
            bal_ballot_strike(bal_job_ballot(run->job), run->poll.bits, rank, size);
        }
        n_left += !run->audit.excluded[rank];
    }
    return n_left > 0 ? BAL_OK : bal_fail(BAL_ERR_NUMERIC, "%s", run->audit.accusation);
}

/* Whose answers differ? One slot of each rank says enough. */
static bal_status look_into(bal_run *run, const bal_measure *measure, bal_journal_entry *entry,
                            const uint64_t *differences, const bal_pair *checked, uint64_t drawn)
{
    int rank = bal_comm_rank(run->comm), size = bal_comm_size(run->comm);
    answer *all = bal_alloc((size_t)size, sizeof *all);
    bool *seen = bal_alloc((size_t)size, sizeof *seen); /* owners of slots that were looked at */
    bal_status status =
        all == NULL || seen == NULL ? bal_fail(BAL_ERR_MEMORY, "no memory for an audit") : BAL_OK;
    status = bal_comm_agree(run->comm, status);
    for (int slot = 0; slot < run->job->vote.slots && status == BAL_OK; ++slot) {
        int owner = bal_slot_rank(slot, size), auditor = auditor_of(run, owner, drawn), accused;
        if (differences[slot] == 0 || seen[owner]) continue;
        const bal_pair *mine = rank == owner     ? &run->poll.losses[slot]
                               : rank == auditor ? &checked[slot]
                                                 : NULL;
        seen[owner] = true;
        status = judge(run, measure, slot, mine, all, &accused);
        if (status == BAL_OK) accuse(run, entry, slot, accused);
    }
    free(all);
    free(seen);
    return status == BAL_OK ? exclude(run) : status;
}

bal_status bal_run_audit(bal_run *run, const bal_measure *measure, bal_journal_entry *entry,
                         bool *repaired)
{
    *repaired = false;
    if (run->job->vote.audit <= 0.0) return BAL_OK;
    uint64_t drawn = draw(run);
    if (!is_due(run, drawn)) return BAL_OK;
    int n_slots = (int)run->job->vote.slots, rank = bal_comm_rank(run->comm);
    int size = bal_comm_size(run->comm);
    const bal_pair *cast = run->poll.losses;
    /* For each slot the hash of the voter's losses less that of the auditor's: 0 if they agree. */
    uint64_t print;
    uint64_t *differences = bal_alloc((size_t)n_slots, sizeof *differences);
    bal_pair *checked = bal_alloc((size_t)n_slots, sizeof *checked);
    bal_status status = differences == NULL || checked == NULL
                            ? bal_fail(BAL_ERR_MEMORY, "no memory for an audit")
                            : BAL_OK;
    for (int slot = 0; slot < n_slots && status == BAL_OK; ++slot) {
        int owner = bal_slot_rank(slot, size);
        if (!bal_ballot_has(bal_job_ballot(run->job), run->poll.bits, slot)) continue;
        if (rank == owner) differences[slot] += bal_hash(&cast[slot], sizeof *cast, 0);
        if (rank != auditor_of(run, owner, drawn)) continue;
        status = bal_run_probe(run, measure, slot, &checked[slot]);
        differences[slot] -= bal_hash(&checked[slot], sizeof *checked, 0);
        if (counted(run, slot) != bal_pair_vote(checked[slot])) ++differences[slot];
    }
    status = bal_comm_agree(run->comm, status);
    if (status == BAL_OK) status = bal_comm_sum(run->comm, (int64_t *)differences, n_slots);
    ++run->audit.n_audits;
    memset(run->audit.accused, 0, (size_t)size * sizeof *run->audit.accused);
    bool differ = status == BAL_ERR_NUMERIC;
    for (int slot = 0; slot < n_slots && status == BAL_OK; ++slot) differ |= differences[slot] != 0;
    if (differ) status = bal_run_compare(run, status, &print, repaired); /* a drift is no lie */
    if (*repaired)
        run->audit.audited = false;
    else if (status == BAL_OK && differ)
        status = look_into(run, measure, entry, differences, checked, drawn);
    free(differences);
    free(checked);
    return status;
}
