/* steps.c: a whole step of a model with random codes: probes, the products within them, the update,
 * and the memory that a step takes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ballot/batch.h"
#include "bench_impl.h"

/* Kernels that add up the time spent in them; for one benchmark at a time. */
static const bal_kernels *timed_kernels;
static double in_products, in_moves;

static void timed_product(const bal_weights_u8 *w, const bal_rows_i8 *x, bool adds, float *y,
                          int64_t y_stride)
{
    double start = bal_seconds();
    timed_kernels->product_i8(w, x, adds, y, y_stride);
    in_products += bal_seconds() - start;
}

static void timed_move(const bal_panel *panel, uint8_t *plus, uint8_t *minus)
{
    double start = bal_seconds();
    timed_kernels->move_panel(panel, plus, minus);
    in_moves += bal_seconds() - start;
}

/* This rank's part of the model: random codes, scales that keep activations near 1. */
static void fill_part(bal_model *model, const bal_kernels *kernels, int part, int n_parts)
{
    for (int index = 0; index < bal_model_tensors(model)->n; ++index) {
        bal_tensor *tensor = &bal_model_tensors(model)->at[index];
        if (index % n_parts != part) continue;
        int64_t n = bal_tensor_n(tensor) / tensor->n_rows;
        for (int64_t row = 0; row < tensor->n_rows && tensor->role == BAL_MATRIX; ++row)
            tensor->scale[row] = 1.0f / (64.0f * sqrtf((float)n));
        if (tensor->role == BAL_VECTOR) {
            tensor->scale[0] = 1.0f / 250;
            for (int64_t at = 0; at < n; ++at) bal_tensor_put(tensor, at, 250);
        }
        if (tensor->role != BAL_MATRIX) continue;
        for (int64_t block = 0; block < tensor->n_blocks; ++block) { /* padding stays what it is */
            uint8_t random[BAL_BLOCK_CODES];
            kernels->philox(1, (uint32_t)index, 0, 0, block, 1, random);
            for (int i = 0; i < BAL_BLOCK_CODES; ++i) {
                int64_t at = block * BAL_BLOCK_CODES + i;
                if (bal_tensor_code(tensor, at) >= tensor->low)
                    bal_tensor_put(tensor, at, random[i] - 128 < -127 ? 0 : random[i] - 128);
            }
        }
    }
}

static bal_status sum_memory(bal_comm *comm, bal_bench_step *result)
{
    int64_t rss, values[2];
    values[1] = !bal_memory_resident(&rss, &values[0]);
    BAL_TRY(bal_comm_sum(comm, values, 2));
    result->pss_bytes = values[1] > 0 ? -1 : values[0];
    return BAL_OK;
}

/* Operations of a probe's products: a multiplication and an addition per code, token and sign. */
static double probe_operations(const bal_model *model, int64_t n_tokens)
{
    const bal_model_config *config = bal_model_shape(model);
    int64_t n = 0; /* an embedding that is not the head is only looked up */
    for (int i = 0; i < bal_model_tensors(model)->n; ++i)
        if (bal_model_tensors(model)->at[i].role == BAL_MATRIX)
            n += bal_tensor_n(&bal_model_tensors(model)->at[i]);
    return 4.0 * (double)n_tokens *
           (double)(config->tied_head ? n : n - config->n_vocab * config->dim);
}

static bal_status time_probes(bal_comm *comm, const bal_model *model, bal_forward *forward,
                              const bal_batch *batch, const bal_measure *measure,
                              bal_bench_step *result)
{
    double times[N_REPEATS], products[N_REPEATS], moves[N_REPEATS], shares[N_REPEATS];
    for (int repeat = -1; repeat < N_REPEATS; ++repeat) { /* the first one warms the caches */
        bal_losses losses[2] = {{0}};
        bal_direction direction = {.measure = *measure, .slot = (uint32_t)(repeat + 1)};
        double peak = bal_bench_peak(timed_kernels);
        in_products = in_moves = 0.0;
        BAL_TRY(bal_comm_agree(comm, BAL_OK)); /* all ranks begin together */
        double start = bal_seconds();
        bal_status status = bal_forward_losses(forward, batch, &direction, losses);
        double seconds = bal_seconds() - start;
        BAL_TRY(bal_comm_agree(comm, status));
        if (repeat >= 0) {
            products[repeat] = in_products / seconds;
            moves[repeat] = in_moves / seconds;
            shares[repeat] = probe_operations(model, batch->n_tokens) / seconds / peak;
        }
        BAL_TRY(bal_comm_slowest(comm, &seconds));
        if (repeat >= 0) times[repeat] = seconds;
    }
    result->probe_seconds = bal_median(times, N_REPEATS);
    result->share_products = bal_median(products, N_REPEATS);
    result->share_moves = bal_median(moves, N_REPEATS);
    result->share_of_peak = bal_median(shares, N_REPEATS);
    return BAL_OK;
}

/* What passes of a probe, and of a team, cost beside passes at the codes alone, in turn. Local. */
static bal_status compare_passes(bal_forward *forward, const bal_batch *batch,
                                 const bal_measure *measure, bal_bench_step *result)
{
    enum { PLAIN, PAIR, TEAM, N_KINDS };
    int at_once = batch->n_tokens > BAL_PAIR_TOKENS_MAX ? 1 : 2; /* slots of a team, in a pass */
    double pairs[N_REPEATS], teams[N_REPEATS];
    for (int repeat = 0; repeat < N_REPEATS; ++repeat) {
        double seconds[N_KINDS];
        for (int kind = 0; kind < N_KINDS; ++kind) {
            bal_losses losses[2] = {{0}};
            bal_direction direction = {.measure = *measure,
                                       .n_one_sided = kind == TEAM ? at_once : 0};
            direction.slot = 2 * (uint32_t)repeat;
            double start = bal_cpu_seconds();
            BAL_TRY(bal_forward_losses(forward, batch, kind == PLAIN ? NULL : &direction, losses));
            seconds[kind] = bal_cpu_seconds() - start;
        }
        pairs[repeat] = seconds[PAIR] / (2.0 * seconds[PLAIN]);
        teams[repeat] = 2.0 / at_once * seconds[TEAM] / seconds[PAIR];
    }
    result->pair_ratio = bal_median(pairs, N_REPEATS);
    result->team_ratio = bal_median(teams, N_REPEATS);
    return BAL_OK;
}

static bal_status time_updates(bal_comm *comm, bal_shared *shared, bal_optim *optim,
                               uint32_t *flips, double *seconds)
{
    double times[N_REPEATS];
    uint64_t bits[2 * N_SLOTS / 64];
    bal_bench_votes(bal_bench_signs, bits);
    for (int repeat = 0; repeat < N_REPEATS; ++repeat) {
        BAL_TRY(bal_comm_agree(comm, BAL_OK));
        double start = bal_seconds();
        bal_optim_apply(optim, repeat, bits, bal_shared_part(shared), bal_shared_n_parts(shared),
                        flips);
        BAL_TRY(bal_shared_sync(shared));
        times[repeat] = bal_seconds() - start;
        BAL_TRY(bal_comm_slowest(comm, &times[repeat]));
    }
    *seconds = bal_median(times, N_REPEATS);
    return BAL_OK;
}

typedef struct tools {
    bal_shared *shared;
    bal_model *model;
    bal_states states;
    bal_forward *forward;
    bal_optim *optim;
    bal_batch batch;
    bool *on_ballot;
    uint32_t *flips;
    bal_kernels timed;
} tools;

/* Everything but the shared memory, which exists already. Local. */
static bal_status make_tools(tools *t, const bal_kernels *kernels, int64_t n_sequences,
                             int64_t context)
{
    int n_tensors = bal_model_tensors(t->model)->n;
    int64_t n_tokens = n_sequences * context;
    t->on_ballot = bal_alloc((size_t)n_tensors, sizeof *t->on_ballot);
    t->flips = bal_alloc((size_t)n_tensors, sizeof *t->flips);
    if (t->on_ballot == NULL || t->flips == NULL)
        return bal_fail(BAL_ERR_MEMORY, "no memory to measure a step");
    for (int i = 0; i < n_tensors; ++i) t->on_ballot[i] = true;
    bal_optim_options options = bal_bench_options(kernels, t->on_ballot);
    BAL_TRY(bal_optim_create(bal_model_tensors(t->model), &t->states, &options, &t->optim));
    BAL_TRY(bal_batch_init(&t->batch, bal_batch_text(n_sequences, context)));
    for (int64_t i = 0; i < n_tokens; ++i) {
        int64_t n_vocab = bal_model_shape(t->model)->n_vocab;
        bal_batch_add(&t->batch, (int32_t)(i * 7919 % n_vocab),
                      (int32_t)((i + 1) * 7919 % n_vocab));
        if ((i + 1) % context == 0) bal_batch_end(&t->batch);
    }
    timed_kernels = kernels;
    t->timed = *kernels;
    t->timed.product_i8 = timed_product;
    t->timed.move_panel = timed_move;
    return bal_forward_create(t->model, &t->timed, n_tokens, context, &t->forward);
}

bal_status bal_bench_steps(bal_comm *comm, const bal_kernels *kernels,
                           const bal_model_config *config, int64_t n_sequences, int64_t context,
                           bool share, bal_bench_step *result)
{
    tools t = {.states = bal_bench_options(kernels, NULL).rule.kind->states};
    size_t n_bytes = 0, n_state_bytes = 0;
    *result = (bal_bench_step){0};
    bal_status status = bal_comm_agree(
        comm, bal_model_outline(config, &(bal_formats){.matrices = BAL_I8}, &t.model));
    if (status == BAL_OK) {
        n_bytes = bal_tensors_bytes(bal_model_tensors(t.model));
        n_state_bytes = bal_states_bytes(&t.states, bal_model_tensors(t.model));
        status = bal_shared_create(comm, n_bytes + n_state_bytes, share, &t.shared);
    }
    if (status == BAL_OK && bal_shared_refusal(t.shared) != NULL)
        bal_log(BAL_LOG_WARN, "%s; each rank there holds a model of its own",
                bal_shared_refusal(t.shared));
    if (status == BAL_OK) {
        bal_tensors *tensors = bal_model_tensors(t.model);
        bal_tensors_attach(tensors, bal_shared_memory(t.shared));
        bal_states_attach(&t.states, tensors, (char *)bal_shared_memory(t.shared) + n_bytes);
        int part = bal_shared_part(t.shared);
        if (part == 0) bal_tensors_zero(tensors);
        if (part == 0) bal_states_zero(&t.states, tensors);
        status = bal_shared_sync(t.shared);
        fill_part(t.model, kernels, part, bal_shared_n_parts(t.shared));
        if (status == BAL_OK) status = bal_shared_sync(t.shared);
        if (status == BAL_OK) status = make_tools(&t, kernels, n_sequences, context);
        status = bal_comm_agree(comm, status);
    }
    if (status == BAL_OK) {
        bal_measure measure = bal_bench_options(kernels, t.on_ballot).measure;
        result->model_bytes = (int64_t)(n_bytes + n_state_bytes);
        result->shared = bal_shared_n_parts(t.shared) > 1;
        result->n_codes = bal_tensors_n(bal_model_tensors(t.model));
        status = time_probes(comm, t.model, t.forward, &t.batch, &measure, result);
        if (status == BAL_OK)
            status = bal_comm_agree(comm, compare_passes(t.forward, &t.batch, &measure, result));
    }
    if (status == BAL_OK)
        status = time_updates(comm, t.shared, t.optim, t.flips, &result->update_seconds);
    if (status == BAL_OK) status = sum_memory(comm, result);
    bal_forward_destroy(&t.forward);
    bal_optim_destroy(&t.optim);
    bal_batch_clear(&t.batch);
    bal_model_destroy(&t.model);
    bal_shared_destroy(&t.shared);
    free(t.on_ballot);
    free(t.flips);
    return status;
}
