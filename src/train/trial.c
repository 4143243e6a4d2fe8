/* trial.c: travel = auto. Every now and then the line from the base model over the model of now and
 * beyond is searched for the lowest loss, on training examples that no slot has. The result goes
 * into the journal. The model stays as it is. */
#include <stdlib.h>
#include <string.h>

#include "train_impl.h"

#define SEARCHED 200        /* a model on the line is tried on one of so many passes so far */
#define DRAWS_MIN 16        /* mini-batches of it, at least, where that is at most a sixteenth */
#define DRAWS_MAX (1 << 18) /* and at most */

#define LOSS_MAX ((int64_t)1 << 44)       /* of a mini-batch */
#define DIFFERENCE_MAX ((int64_t)1 << 22) /* of two losses, in units of: */
#define DIFFERENCE_UNIT 256

_Static_assert(DRAWS_MAX <= INT64_MAX / LOSS_MAX, "the sum of losses fits");
_Static_assert(DRAWS_MAX <= INT64_MAX / DIFFERENCE_MAX / DIFFERENCE_MAX, "and that of squares");

/* A tensor as it stands in a copy of the model, and the carries of its codes. */
typedef struct weights {
    bal_tensor tensor;
    const int8_t *carry;
} weights;

static weights in_copy(const bal_run *run, const bal_tensor *tensor, const bal_shared *kept)
{
    const char *model = bal_shared_memory(run->replica.shared), *memory = bal_shared_memory(kept);
    const char *carry = (const char *)bal_state_of(&run->replica.states.at[0], tensor);
    weights w = {.tensor = *tensor, .carry = (const int8_t *)(memory + (carry - model))};
    w.tensor.codes = (char *)bal_shared_memory(kept) + ((char *)tensor->codes - model);
    return w;
}

/* The code at scale / 256 of the way between two weights, which are codes times 256 plus carries.
 */
static inline int mix(int base, int now, int scale, int low, int high)
{
    int64_t way = ((int64_t)(now - base) * scale + 128) >> 8;
    int code = (int)((base + way + 128) >> 8);
    return code > high ? high : code < low ? low : code;
}

/* The same of the codes of a block as they are stored, code - zero in a byte. */
static void mix_bytes(const uint8_t *base, const int8_t *base_carry, const uint8_t *now,
                      const int8_t *carry, int scale, const bal_tensor *tensor, uint8_t *codes)
{
    int low = tensor->low + 128, high = tensor->high + 128;
    for (int i = 0; i < BAL_BLOCK_CODES; ++i)
        codes[i] =
            (uint8_t)mix(base[i] * 256 + base_carry[i], now[i] * 256 + carry[i], scale, low, high);
}

/* A block of the model, between that of the base and that of now. */
static void mix_block(bal_tensor *tensor, const weights *base, const weights *now, int64_t block,
                      int scale)
{
    enum { N = BAL_BLOCK_CODES };
    int64_t first = block * N;
    const int8_t *base_carry = base->carry + first, *carry = now->carry + first;
    if (tensor->format == BAL_I8) {
        mix_bytes((const uint8_t *)base->tensor.codes + first, base_carry,
                  (const uint8_t *)now->tensor.codes + first, carry, scale, tensor,
                  (uint8_t *)tensor->codes + first);
    } else if (bal_format_is_nibbles(tensor->format)) {
        uint8_t from[N], to[N], codes[N];
        bal_tensor_spread(&base->tensor, block, 1, from);
        bal_tensor_spread(&now->tensor, block, 1, to);
        mix_bytes(from, base_carry, to, carry, scale, tensor, codes);
        bal_tensor_gather(tensor, block, 1, codes);
    } else {
        for (int64_t i = 0; i < N; ++i) {
            int from = bal_tensor_code(&base->tensor, first + i) * 256 + base_carry[i];
            int to = bal_tensor_code(&now->tensor, first + i) * 256 + carry[i];
            bal_tensor_put(tensor, first + i, mix(from, to, scale, tensor->low, tensor->high));
        }
    }
}

/* Let the replica be the model at a point of the line. Collective on the copy of the model. */
static bal_status go_to(bal_run *run, const bal_shared *kept, int point)
{
    bal_replica *r = &run->replica;
    int scale = (int)bal_line_scale(point);
    for (int i = 0; i < r->tensors->n; ++i) {
        bal_tensor *tensor = &r->tensors->at[i];
        if (!run->update.on_ballot[i]) continue;
        weights base = in_copy(run, tensor, run->replica.base_shared),
                now = in_copy(run, tensor, kept);
        int64_t block, end;
        bal_tensor_slice(tensor, bal_shared_part(r->shared), bal_shared_n_parts(r->shared), &block,
                         &end);
        for (; block < end; ++block) mix_block(tensor, &base, &now, block, scale);
    }
    return bal_shared_sync(r->shared);
}

int64_t bal_job_draws(const bal_job *job, int64_t step)
{
    if (!bal_job_finds_travel(job) || !bal_travel_is_due(step, job->run.steps)) return 0;
    int64_t so_far = step * job->vote.slots * bal_job_way(job).n_points;
    int64_t n = so_far / SEARCHED, least = so_far / 16 < DRAWS_MIN ? so_far / 16 : DRAWS_MIN;
    if (n < least) n = least;
    return n < 1 ? 1 : n > DRAWS_MAX ? DRAWS_MAX : n;
}

size_t bal_draws_bytes(int64_t n) { return (size_t)n * BAL_LINE_POINTS * sizeof(int64_t); }

/* The mini-batches of a search. They are dealt in turn to the ranks that may vote. */
typedef struct draw_losses {
    int64_t n;            /* of all ranks */
    int64_t first, every; /* mine: numbers first, first + every, ... */
    int64_t n_mine;
    int64_t *losses; /* [BAL_LINE_POINTS][n_mine] */
} draw_losses;

static draw_losses deal(const bal_run *run)
{
    const bool *excluded = run->audit.excluded;
    int rank = bal_comm_rank(run->comm), size = bal_comm_size(run->comm);
    draw_losses draws = {.n = bal_job_draws(run->job, run->step)};
    for (int r = 0; r < size; ++r) {
        draws.first += r < rank && !excluded[r];
        draws.every += !excluded[r];
    }
    if (!excluded[rank] && draws.first < draws.n)
        draws.n_mine = (draws.n - draws.first - 1) / draws.every + 1;
    return draws;
}

static int64_t *losses_at(const draw_losses *draws, int point)
{
    return draws->losses + (point + BAL_LINE_POINTS / 2) * draws->n_mine;
}

/* Losses of the replica, at a point, and their sum and that of tokens. A loss that is not finite
 * counts as very large. Collective. */
static bal_status find_losses(bal_run *run, const bal_measure *measure, const draw_losses *draws,
                              int point, int64_t sums[2])
{
    const int64_t worst = (int64_t)1 << 42;
    bal_prober *prober = &run->poll.prober;
    int64_t *losses = losses_at(draws, point);
    bal_status status = BAL_OK;
    sums[0] = sums[1] = 0;
    for (int64_t i = 0; i < draws->n_mine && status == BAL_OK; ++i) {
        uint32_t draw = (uint32_t)(draws->first + i * draws->every);
        status = bal_probe_here(prober, measure, draw, &losses[i]);
        if (status == BAL_ERR_NUMERIC) status = BAL_OK, losses[i] = worst;
        if (losses[i] > LOSS_MAX) losses[i] = LOSS_MAX;
        sums[0] += losses[i];
        sums[1] += bal_batch_weight(prober->batch);
    }
    BAL_TRY(bal_comm_agree(run->comm, status));
    return bal_comm_sum(run->comm, sums, 2);
}

/* Sum over the mini-batches of the squared difference between two points. Collective. */
static bal_status find_squares(bal_run *run, const draw_losses *draws, int before, int after,
                               double *squares)
{
    const int64_t unit = DIFFERENCE_UNIT, most = DIFFERENCE_MAX * unit;
    const int64_t *a = losses_at(draws, before), *b = losses_at(draws, after);
    int64_t sum = 0;
    for (int64_t i = 0; i < draws->n_mine; ++i) {
        int64_t d = a[i] - b[i];
        d = (d > most ? most : d < -most ? -most : d) / unit;
        sum += d * d;
    }
    BAL_TRY(bal_comm_sum(run->comm, &sum, 1));
    *squares = (double)sum * (double)(unit * unit);
    return BAL_OK;
}

/* Search the line. The replica is left at some point of it. Collective. */
static bal_status search(bal_run *run, const bal_measure *measure, const bal_shared *kept,
                         const draw_losses *draws, bal_course *course)
{
    bal_line line = bal_line_begin();
    int64_t sums[2];
    int before, after;
    double squares;
    for (int point; bal_line_next(&line, &point);) {
        BAL_TRY(bal_comm_agree(run->comm, point == 0 ? BAL_OK : go_to(run, kept, point)));
        BAL_TRY(find_losses(run, measure, draws, point, sums));
        bal_line_put(&line, point, sums[0]);
        course->n_passes += draws->n;
        course->n_tokens = sums[1];
    }
    bal_line_pair(&line, &before, &after);
    BAL_TRY(find_squares(run, draws, before, after, &squares));
    bal_line_end end = bal_line_finish(&line, draws->n, squares);
    course->scale = end.scale;
    course->noise = end.noise;
    course->loss = end.loss;
    course->best_loss = end.best_loss;
    return BAL_OK;
}

/* Search it, and put the model back. Collective. */
static bal_status try_line(bal_run *run, const bal_measure *measure, bal_course *course)
{
    bal_shared *model = run->replica.shared, *kept = NULL;
    size_t n_bytes = bal_model_bytes(run);
    draw_losses draws = deal(run);
    draws.losses = bal_alloc(1, bal_draws_bytes(draws.n_mine));
    bal_status status = draws.losses == NULL
                            ? bal_fail(BAL_ERR_MEMORY, "no memory to try %lld mini-batches",
                                       (long long)draws.n_mine)
                            : BAL_OK;
    status = bal_comm_agree(run->comm, status);
    if (status == BAL_OK)
        status =
            bal_shared_create(run->comm, n_bytes, run->job->run.share == BAL_SHARE_NODE, &kept);
    if (status == BAL_OK) status = bal_comm_agree(run->comm, bal_shared_copy(model, n_bytes, kept));
    if (status == BAL_OK) status = search(run, measure, kept, &draws, course);
    if (status == BAL_OK) status = bal_comm_agree(run->comm, bal_shared_copy(kept, n_bytes, model));
    bal_shared_destroy(&kept);
    free(draws.losses);
    return status;
}

bal_status bal_run_find_course(bal_run *run, const bal_measure *measure, bal_course *course)
{
    const bal_optim_options *options = &run->trials.options;
    bal_travel travel = run->trials.travel;
    if (!bal_job_finds_travel(run->job)) return BAL_OK;
    if (bal_travel_is_due(run->step, run->job->run.steps)) {
        uint64_t print;
        bool repaired;
        do {
            *course = (bal_course){0};
            BAL_TRY(try_line(run, measure, course));
            BAL_TRY(bal_run_compare(run, BAL_OK, &print, &repaired));
        } while (repaired); /* some ranks have searched another line */
        bal_travel_correct(&travel, options, run->step, course->scale, course->noise);
    }
    course->goal = travel.goal;
    course->rate = bal_travel_rate(&travel, options, run->step);
    return BAL_OK;
}

void bal_run_follow(bal_run *run, const bal_journal_entry *entry)
{
    bal_trials *trials = &run->trials;
    if (!bal_job_finds_travel(run->job)) return;
    if (entry->course.scale > 0)
        bal_travel_correct(&trials->travel, &trials->options, entry->step, entry->course.scale,
                           entry->course.noise);
    bal_travel_spend(&trials->travel, &trials->options, entry->course.rate);
}
