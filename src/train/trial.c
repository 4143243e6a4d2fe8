/* trial.c: travel = auto. Every now and then the line from the base model over the model of now and
 * beyond is searched for the lowest loss, on training examples that no slot has. The result goes
 * into the journal. The model stays as it is. */
#include <stdlib.h>
#include <string.h>

#include "train_impl.h"

#define SEARCHED 200 /* a model on the line is tried on one of so many passes of the run so far */
#define DRAWS_MIN 16 /* mini-batches of it, at least, where that is no more than a sixteenth */

static size_t model_bytes(const bal_run *run)
{
    const bal_replica *r = &run->replica;
    return bal_tensors_bytes(r->tensors) + bal_states_bytes(&r->states, r->tensors);
}

/* Copy the memory of a model; the ranks that share the copy do a part each. Collective. */
static bal_status copy(const void *from, size_t n_bytes, bal_shared *to)
{
    size_t n_parts = (size_t)bal_shared_n_parts(to), part = (size_t)bal_shared_part(to);
    size_t first = n_bytes / n_parts * part;
    size_t end = part + 1 == n_parts ? n_bytes : n_bytes / n_parts * (part + 1);
    memcpy((char *)bal_shared_memory(to) + first, (const char *)from + first, end - first);
    return bal_shared_sync(to);
}

/* Make a copy of the model as it is, which ranks share as they share the model. Collective. */
static bal_status keep(bal_run *run, bal_shared **kept)
{
    size_t n = model_bytes(run);
    BAL_TRY(bal_shared_create(run->comm, n, run->job->run.share == BAL_SHARE_NODE, kept));
    return bal_comm_agree(run->comm, copy(bal_shared_memory(run->replica.shared), n, *kept));
}

bal_status bal_run_keep_base(bal_run *run)
{
    return bal_job_finds_travel(run->job) ? keep(run, &run->trials.base) : BAL_OK;
}

void bal_trials_clear(bal_trials *trials) { bal_shared_destroy(&trials->base); }

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
        weights base = in_copy(run, tensor, run->trials.base), now = in_copy(run, tensor, kept);
        int64_t block, end;
        bal_tensor_slice(tensor, bal_shared_part(r->shared), bal_shared_n_parts(r->shared), &block,
                         &end);
        for (; block < end; ++block) mix_block(tensor, &base, &now, block, scale);
    }
    return bal_shared_sync(r->shared);
}

/* Mini-batches of a search. */
static int64_t draws_of(const bal_run *run)
{
    int64_t so_far = run->step * run->job->vote.slots * bal_job_way(run->job).n_points;
    int64_t n = so_far / SEARCHED, least = so_far / 16 < DRAWS_MIN ? so_far / 16 : DRAWS_MIN;
    return n > least ? n : least > 0 ? least : 1;
}

/* The mini-batches of a search. */
typedef struct draw_losses {
    int64_t n;
    int64_t *losses; /* [BAL_LINE_POINTS][n]; where they are another rank's: 0 */
} draw_losses;

static int64_t *losses_at(const draw_losses *draws, int point)
{
    return draws->losses + (point + BAL_LINE_POINTS / 2) * draws->n;
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
    for (int64_t draw = bal_comm_rank(run->comm); draw < draws->n && status == BAL_OK;
         draw += bal_comm_size(run->comm)) {
        status = bal_probe_here(prober, measure, (uint32_t)draw, &losses[draw]);
        if (status == BAL_ERR_NUMERIC) status = BAL_OK, losses[draw] = worst;
        sums[0] += losses[draw];
        sums[1] += bal_batch_weight(prober->batch);
    }
    BAL_TRY(bal_comm_agree(run->comm, status));
    return bal_comm_sum(run->comm, sums, 2);
}

/* Sum over the mini-batches of the squared difference between two points. Collective. */
static bal_status find_squares(bal_run *run, const draw_losses *draws, int before, int after,
                               double *squares)
{
    const int64_t unit = 256, most = (int64_t)1 << 30; /* so that the sum fits */
    const int64_t *a = losses_at(draws, before), *b = losses_at(draws, after);
    int64_t sum = 0;
    for (int64_t draw = 0; draw < draws->n; ++draw) {
        int64_t d = a[draw] - b[draw];
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
    bal_shared *kept = NULL;
    draw_losses draws = {.n = draws_of(run)};
    draws.losses = bal_alloc((size_t)draws.n, BAL_LINE_POINTS * sizeof *draws.losses);
    bal_status status =
        draws.losses == NULL
            ? bal_fail(BAL_ERR_MEMORY, "no memory to try %lld mini-batches", (long long)draws.n)
            : BAL_OK;
    status = bal_comm_agree(run->comm, status);
    if (status == BAL_OK) status = keep(run, &kept);
    if (status == BAL_OK) status = search(run, measure, kept, &draws, course);
    if (status == BAL_OK)
        status = bal_comm_agree(
            run->comm, copy(bal_shared_memory(kept), model_bytes(run), run->replica.shared));
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
        BAL_TRY(try_line(run, measure, course));
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
