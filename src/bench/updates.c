/* updates.c: the time of the update, and of counting a ballot. */
#include <stdlib.h>
#include <string.h>

#include "ballot/vote.h"
#include "bench_impl.h"

const bal_ballot_shape bal_bench_signs = {.n_slots = N_SLOTS, .n_bits = BAL_SIGN_BITS};

bal_optim_options bal_bench_options(const bal_kernels *kernels, const bool *on_ballot)
{
    return (bal_optim_options){
        .rule = {.kind = bal_rule_of(0), .travel = 4.0},
        .measure = {.kernels = kernels,
                    .options = {.kind = BAL_DIRECTIONS_WALSH, .noise = 1, .density = 1.0},
                    .seed = 1,
                    .on_ballot = on_ballot},
        .ballot = bal_bench_signs,
        .n_steps = 1000,
        .tally = BAL_TALLY_TABLE};
}

void bal_bench_votes(bal_ballot_shape shape, uint64_t *bits)
{
    memset(bits, 0, (size_t)bal_ballot_words(shape) * sizeof *bits);
    for (int slot = 0; slot < shape.n_slots; ++slot) {
        uint64_t random = 0x9E3779B97F4A7C15u * (uint64_t)(slot / 64 + 1);
        bal_ballot_put(shape, bits, slot, random >> slot % 64 & 1 ? 1 : -1);
    }
}

/* Median seconds for applying the votes of a step. */
static bal_status time_updates(const bal_optim_options *options, bal_tensors *tensors,
                               const bal_states *states, uint32_t *flips, double *seconds)
{
    bal_optim *optim = NULL;
    double times[N_REPEATS];
    size_t n_words = (size_t)bal_ballot_words(options->ballot);
    uint64_t *bits = bal_alloc(n_words, sizeof *bits);
    bal_status status = bits != NULL ? bal_optim_create(tensors, states, options, &optim)
                                     : bal_fail(BAL_ERR_MEMORY, "no memory to measure updates");
    if (status == BAL_OK) bal_bench_votes(options->ballot, bits);
    for (int repeat = 0; repeat < N_REPEATS && status == BAL_OK; ++repeat) {
        double start = bal_cpu_seconds();
        bal_optim_apply(optim, repeat, bits, 0, 1, flips);
        times[repeat] = bal_cpu_seconds() - start;
    }
    if (status == BAL_OK) *seconds = bal_median(times, N_REPEATS);
    bal_optim_destroy(&optim);
    free(bits);
    return status;
}

/* All kinds of updates. */
static bal_status time_kinds(const bal_kernels *kernels, bal_tensors *tensors,
                             const bal_states *states, const bool *on_ballot, uint32_t *flips,
                             bal_bench_update *result)
{
    bal_optim_options options = bal_bench_options(kernels, on_ballot);
    BAL_TRY(time_updates(&options, tensors, states, flips, &result->walsh_seconds));
    options.measure.options.kind = BAL_DIRECTIONS_INDEPENDENT;
    BAL_TRY(time_updates(&options, tensors, states, flips, &result->independent_seconds));
    options.measure.options.kind = BAL_DIRECTIONS_WALSH_WIDE;
    options.ballot.n_slots = BAL_WALSH_SLOTS_WIDE;
    BAL_TRY(time_updates(&options, tensors, states, flips, &result->wide_seconds));
    options.ballot.n_bits = BAL_VOTE_BITS_MAX;
    return time_updates(&options, tensors, states, flips, &result->weighted_seconds);
}

bal_status bal_bench_updates(const bal_kernels *kernels, int64_t n_codes, bal_bench_update *result)
{
    bal_model_config config = {.dim = 256,
                               .hidden = 1024,
                               .n_heads = 4,
                               .n_kv_heads = 4,
                               .head_dim = 64,
                               .n_vocab = 64,
                               .max_tokens = 64,
                               .tied_head = true,
                               .rope.base = 1e4,
                               .norm_eps = 1e-5};
    bal_model *model = NULL;
    config.n_layers = n_codes / (4 * 256 * 256 + 3 * 256 * 1024) + 1;
    BAL_TRY(bal_model_create(&config, &(bal_formats){.matrices = BAL_I8}, &model));
    bal_tensors *tensors = bal_model_tensors(model);
    bal_states states = bal_bench_options(kernels, NULL).rule.kind->states;
    int n_tensors = tensors->n;
    bool *on_ballot = bal_alloc((size_t)n_tensors, sizeof *on_ballot);
    uint32_t *flips = bal_alloc((size_t)n_tensors, sizeof *flips);
    bal_status status = on_ballot != NULL && flips != NULL
                            ? bal_states_allocate(&states, tensors)
                            : bal_fail(BAL_ERR_MEMORY, "no memory to measure updates");
    result->n_codes = 0;
    for (int i = 0; i < n_tensors && status == BAL_OK; ++i) {
        on_ballot[i] = true;
        result->n_codes += bal_tensor_n(&tensors->at[i]);
    }
    if (status == BAL_OK) status = time_kinds(kernels, tensors, &states, on_ballot, flips, result);
    free(on_ballot);
    free(flips);
    bal_states_clear(&states);
    bal_model_destroy(&model);
    return status;
}

bal_status bal_bench_ballot(bal_comm *comm, int n_slots, double *seconds)
{
    enum { N_COUNTS = 20 };
    bal_ballot_shape shape = {.n_slots = n_slots, .n_bits = BAL_SIGN_BITS};
    bal_ballot *ballot = NULL;
    uint64_t *bits = bal_alloc((size_t)bal_ballot_words(shape), sizeof *bits);
    bal_status status = bits != NULL ? bal_ballot_create(comm, shape, &ballot)
                                     : bal_fail(BAL_ERR_MEMORY, "no memory for a ballot");
    double times[N_REPEATS];
    status = bal_comm_agree(comm, status);
    for (int repeat = 0; repeat < N_REPEATS && status == BAL_OK; ++repeat) {
        double start = bal_seconds();
        for (int i = 0; i < N_COUNTS && status == BAL_OK; ++i) {
            bal_totals totals;
            status = bal_ballot_count(ballot, bits, &totals);
        }
        times[repeat] = (bal_seconds() - start) / N_COUNTS;
    }
    if (status == BAL_OK) *seconds = bal_median(times, N_REPEATS);
    bal_ballot_destroy(&ballot);
    free(bits);
    return status;
}
