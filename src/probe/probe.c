/* probe.c: the passes of a team of slots, and what they add to a ballot. */
#include <stdlib.h>

#include "ballot/core.h"
#include "ballot/probe.h"

bal_status bal_prober_init(bal_prober *prober)
{
    const bal_dataset *data = prober->data;
    size_t n = (size_t)(prober->way.team * prober->way.n_points);
    prober->questions = bal_alloc(n, (size_t)prober->n_examples * sizeof *prober->questions);
    prober->answers = bal_alloc(2, (size_t)prober->batch->room.answers * sizeof *prober->answers);
    prober->grades = bal_alloc(2, (size_t)prober->n_examples * sizeof *prober->grades);
    if (prober->questions == NULL || prober->answers == NULL || prober->grades == NULL)
        return bal_fail(BAL_ERR_MEMORY, "no memory to probe %lld examples",
                        (long long)prober->n_examples);
    bool writes = data->writing != NULL && data->aim.objective == BAL_OBJECTIVE_F1;
    return writes ? bal_answerer_create(prober->forward, &prober->answerer) : BAL_OK;
}

void bal_prober_clear(bal_prober *prober)
{
    free(prober->questions);
    free(prober->answers);
    free(prober->grades);
    bal_answerer_destroy(&prober->answerer);
    prober->questions = prober->answers = NULL;
    prober->grades = NULL;
}

/* Losses of each question of the batch at a point of a slot of the team. */
static int64_t *questions_of(const bal_prober *prober, int slot, int point)
{
    return prober->questions + (slot * prober->way.n_points + point) * prober->n_examples;
}

/* Number of a point of a pass among those of its slots: - stands before +. */
static int point_of(const bal_prober *prober, int sign)
{
    return prober->way.n_points == 2 ? 1 - sign : sign;
}

/* Losses of the batch and of its questions at the points of a pass, from slot number i of the team
 * on, by what the model says about answers. */
static bal_status read_answers(bal_prober *prober, const bal_direction *direction, int i,
                               int64_t *losses)
{
    bal_losses found[2] = {{.answers = prober->answers},
                           {.answers = prober->answers + prober->batch->room.answers}};
    BAL_TRY(bal_forward_losses(prober->forward, prober->batch, direction, found));
    for (int sign = 0; sign < bal_direction_points(direction); ++sign) {
        int point = point_of(prober, sign);
        losses[point] =
            bal_batch_losses(prober->batch, found[sign].answers, questions_of(prober, i, point));
    }
    return BAL_OK;
}

/* The same by the answers that it writes. */
static bal_status write_answers(bal_prober *prober, const bal_direction *direction, int i,
                                int64_t *losses)
{
    int64_t n = prober->batch->n_questions;
    BAL_TRY(bal_answerer_answer(prober->answerer, prober->data, prober->batch, NULL, direction,
                                prober->grades, NULL));
    for (int sign = 0; sign < bal_direction_points(direction); ++sign) {
        int point = point_of(prober, sign);
        int64_t *questions = questions_of(prober, i, point);
        losses[point] = 0;
        for (int64_t q = 0; q < n; ++q)
            losses[point] += questions[q] = prober->grades[sign * n + q].missed;
    }
    return BAL_OK;
}

void bal_probe_begin(bal_prober *prober, const bal_measure *measure, int first)
{
    bal_dataset_draw(prober->data, measure->kernels, measure->seed, measure->step, (uint32_t)first,
                     prober->n_examples, prober->batch);
    bal_forward_hold(prober->forward, true);
    prober->pairs = bal_forward_n_computed(prober->forward, prober->batch) <= BAL_PAIR_TOKENS_MAX;
}

void bal_probe_end(bal_prober *prober) { bal_forward_hold(prober->forward, false); }

bal_status bal_probe_slots(bal_prober *prober, const bal_measure *measure, int first, int i, int n,
                           int64_t *losses)
{
    bool one_sided = prober->way.n_points == 1;
    int at_once = prober->pairs ? n : 1;
    for (int end = i + n; i < end; i += at_once, losses += at_once) {
        bal_direction direction = {.measure = *measure,
                                   .slot = (uint32_t)(first + i),
                                   .n_one_sided = one_sided ? at_once : 0};
        BAL_TRY((prober->answerer != NULL ? write_answers : read_answers)(prober, &direction, i,
                                                                          losses));
    }
    return BAL_OK;
}

bal_status bal_probe(bal_prober *prober, const bal_measure *measure, int first, int n,
                     int64_t *losses)
{
    bal_probe_begin(prober, measure, first);
    bal_status status = BAL_OK;
    int most = bal_way_at_once(&prober->way);
    for (int i = 0; i < n && status == BAL_OK; i += most)
        status = bal_probe_slots(prober, measure, first, i, n - i < most ? n - i : most,
                                 losses + i * prober->way.n_points);
    bal_probe_end(prober);
    return status;
}

void bal_probe_votes(const bal_prober *prober, int n, const int64_t *losses, int8_t *votes)
{
    int64_t values[BAL_WAY_TEAM_MAX];
    prober->way.find(n, losses, values);
    for (int i = 0; i < n; ++i)
        votes[i] = (int8_t)bal_way_vote(&prober->way, prober->unit, values[i]);
}

/* Votes of n slots with the sign of what a question by itself has found. */
static int n_agree(const bal_prober *prober, int64_t question, int n, const int8_t *votes)
{
    const bal_way *way = &prober->way;
    int64_t losses[2 * BAL_WAY_TEAM_MAX] = {0}, own[BAL_WAY_TEAM_MAX];
    int n_same = 0;
    for (int i = 0; i < n; ++i)
        for (int point = 0; point < way->n_points; ++point)
            losses[i * way->n_points + point] = questions_of(prober, i, point)[question];
    way->find(n, losses, own);
    for (int i = 0; i < n; ++i)
        n_same += (own[i] > 0 && votes[i] > 0) || (own[i] < 0 && votes[i] < 0);
    return n_same;
}

/* Is the loss a sum over questions, each of which counts by itself? */
static bool is_sum(bal_objective objective)
{
    return objective != BAL_OBJECTIVE_F1 && objective != BAL_OBJECTIVE_CENTRED;
}

/* Add for each of n slots what the halves of the mini-batch have found, one times the other: their
 * noise is not the same, so on average it is what they have in common. Label means of the whole
 * mini-batch would be in both. */
static void count_common(const bal_prober *prober, int n, const int64_t *values, bal_totals *totals)
{
    const int64_t most = (int64_t)1 << 42; /* so that all slots of a step fit */
    int64_t losses[2 * BAL_WAY_TEAM_MAX] = {0}, first[BAL_WAY_TEAM_MAX];
    int64_t half = prober->batch->n_questions / 2;
    if (half == 0 || !is_sum(prober->batch->aim.objective)) return;
    for (int i = 0; i < n * prober->way.n_points; ++i)
        for (int64_t q = 0; q < half; ++q)
            losses[i] += prober->questions[i * prober->n_examples + q];
    prober->way.find(n, losses, first);
    for (int i = 0; i < n; ++i) {
        int64_t product = (int64_t)((__int128)first[i] * (values[i] - first[i]) / 1024);
        totals->common += product > most ? most : product < -most ? -most : product;
    }
}

bal_status bal_probe_here(bal_prober *prober, const bal_measure *measure, uint32_t draw,
                          int64_t *loss)
{
    bal_batch *batch = prober->batch;
    bal_losses found = {.answers = prober->answers};
    bal_dataset_draw(prober->data, measure->kernels, measure->seed, measure->step,
                     BAL_SLOTS_MAX + draw, prober->n_examples, batch);
    if (prober->answerer == NULL) {
        BAL_TRY(bal_forward_losses(prober->forward, batch, NULL, &found));
        *loss = bal_batch_losses(batch, found.answers, prober->questions);
        return BAL_OK;
    }
    BAL_TRY(bal_answerer_answer(prober->answerer, prober->data, batch, NULL, NULL, prober->grades,
                                NULL));
    *loss = 0;
    for (int64_t q = 0; q < batch->n_questions; ++q) *loss += prober->grades[q].missed;
    return BAL_OK;
}

void bal_probe_count(const bal_prober *prober, int n, const int64_t *losses, const int8_t *votes,
                     bal_totals *totals)
{
    int64_t values[BAL_WAY_TEAM_MAX];
    prober->way.find(n, losses, values);
    for (int i = 0; i < n; ++i) totals->spread += values[i] < 0 ? -values[i] : values[i];
    for (int i = 0; i < n * prober->way.n_points; ++i) totals->loss += losses[i];
    count_common(prober, n, values, totals);
    totals->n_tokens += n * bal_batch_weight(prober->batch);
    for (int64_t i = 0; i < prober->batch->n_questions; ++i)
        totals->n_agree += n_agree(prober, i, n, votes);
}
