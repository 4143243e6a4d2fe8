/* probe.c: the passes of a team of slots, and what they add to a ballot. */
#include <stdlib.h>

#include "ballot/core.h"
#include "ballot/probe.h"

bal_status bal_prober_init(bal_prober *prober)
{
    size_t n = (size_t)(prober->way->team * prober->way->n_points);
    prober->sequences = bal_alloc(n, (size_t)prober->n_sequences * sizeof *prober->sequences);
    if (prober->sequences != NULL) return BAL_OK;
    return bal_fail(BAL_ERR_MEMORY, "no memory to probe %lld sequences",
                    (long long)prober->n_sequences);
}

void bal_prober_clear(bal_prober *prober)
{
    free(prober->sequences);
    prober->sequences = NULL;
}

/* Losses of each sequence of the batch at a point of a slot of the team. */
static int64_t *sequences_of(const bal_prober *prober, int slot, int point)
{
    return prober->sequences + (slot * prober->way->n_points + point) * prober->n_sequences;
}

bal_status bal_probe(bal_prober *prober, const bal_measure *measure, int first, int n,
                     int64_t *losses)
{
    int n_points = prober->way->n_points;
    bal_dataset_draw(prober->data, measure->kernels, measure->seed, measure->step, (uint32_t)first,
                     prober->n_sequences, prober->batch);
    for (int i = 0; i < n; ++i, losses += n_points) {
        bal_direction direction = {
            .measure = *measure, .slot = (uint32_t)(first + i), .one_sided = n_points == 1};
        bal_losses found[2] = {0}; /* at +, at - */
        for (int point = 0; point < n_points; ++point)
            found[n_points - 1 - point].per_sequence = sequences_of(prober, i, point);
        BAL_TRY(bal_forward_losses(prober->forward, prober->batch, &direction, found));
        for (int point = 0; point < n_points; ++point)
            losses[point] = found[n_points - 1 - point].loss;
    }
    return BAL_OK;
}

/* Votes of n slots that a sequence by itself would have with the same sign as the batch has. */
static int n_agree(const bal_prober *prober, int64_t sequence, int n, const int8_t *votes)
{
    const bal_way *way = prober->way;
    int64_t losses[2 * BAL_WAY_TEAM_MAX] = {0};
    int8_t own[BAL_WAY_TEAM_MAX];
    int n_same = 0;
    for (int i = 0; i < n; ++i)
        for (int point = 0; point < way->n_points; ++point)
            losses[i * way->n_points + point] = sequences_of(prober, i, point)[sequence];
    way->vote(n, losses, own);
    for (int i = 0; i < n; ++i)
        n_same += (own[i] > 0 && votes[i] > 0) || (own[i] < 0 && votes[i] < 0);
    return n_same;
}

void bal_probe_votes(const bal_prober *prober, int n, const int64_t *losses, int8_t *votes,
                     bal_totals *totals)
{
    prober->way->vote(n, losses, votes);
    for (int i = 0; i < n * prober->way->n_points; ++i) totals->loss += losses[i];
    totals->n_tokens += n * prober->batch->n_scored;
    for (int64_t i = 0; i < prober->batch->n_sequences; ++i)
        totals->n_agree += n_agree(prober, i, n, votes);
}
