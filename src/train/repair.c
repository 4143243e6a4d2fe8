/* repair.c: replicas that drifted apart are found, and rebuilt from checkpoint and journal. */
#include "train_impl.h"

/* Compare replicas, and each rank's part of the base with what it was. BAL_ERR_STATE: something has
 * changed, as bal_failure says. */
static bal_status compare(bal_run *run, uint64_t *fingerprint)
{
    const bal_replica *r = &run->replica;
    BAL_TRY(bal_replicas_compare(run->comm, r->shared, r->tensors, &r->states, fingerprint));
    bal_status status = bal_comm_agree(run->comm, bal_run_check_base(run));
    return status == BAL_ERR_NUMERIC ? BAL_ERR_STATE : status;
}

/* Replicas differ, as bal_failure says: rebuild all of them from checkpoint and journal, which are
 * right. BAL_ERR_NUMERIC: for the second time in this step, or no replica was right. */
static bal_status repair(bal_run *run, uint64_t *fingerprint)
{
    char drift[1024]; /* rank and tensor, as the comparison named them */
    uint64_t before;
    snprintf(drift, sizeof drift, "%s", bal_failure());
    if (run->replica.repaired_step == run->step)
        return bal_fail(BAL_ERR_NUMERIC,
                        "%s; it was rebuilt from checkpoint and journal in this step before: leave "
                        "out its machine, then run the same command again",
                        drift);
    run->replica.repaired_step = run->step;
    bal_log(BAL_LOG_WARN, "%s; the model is rebuilt from checkpoint and journal", drift);
    BAL_TRY(
        bal_comm_agree(run->comm, bal_replica_fingerprint(run->replica.shared, run->replica.tensors,
                                                          &run->replica.states, &before)));

    bal_metrics *kept = run->record.metrics; /* it has seconds, which replayed steps lack */
    run->record.metrics = NULL;
    bal_status status = bal_run_rebuild(run);
    run->record.metrics = kept;
    BAL_TRY(status);

    status = compare(run, fingerprint);
    if (status == BAL_ERR_STATE) return repair(run, fingerprint); /* for the second time: fails */
    BAL_TRY(status);
    int64_t n_right = before == *fingerprint;
    BAL_TRY(bal_comm_sum(run->comm, &n_right, 1));
    if (n_right == 0)
        return bal_fail(BAL_ERR_NUMERIC,
                        "%s; and no rank has the model that checkpoint and journal give: check the "
                        "machines' memory, then run the same command again",
                        drift);
    return BAL_OK;
}

bal_status bal_run_compare(bal_run *run, bal_status status, uint64_t *fingerprint, bool *repaired)
{
    *repaired = false;
    if (status != BAL_OK && status != BAL_ERR_NUMERIC) return status;
    bal_status compared = compare(run, fingerprint);
    *repaired = compared == BAL_ERR_STATE;
    if (*repaired) return repair(run, fingerprint);
    return compared == BAL_OK ? status : compared;
}
