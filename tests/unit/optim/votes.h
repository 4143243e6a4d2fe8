/* votes.h: hand-made models and ballots of the optim tests. */
#ifndef BALLOT_TEST_VOTES_H
#define BALLOT_TEST_VOTES_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ballot/optim.h"
#include "suite.h"

#define SEED 99u
#define N_TENSORS_MAX 32
#define N_SLOTS_MAX 512

/** What a test changes; on_ballot belongs to it. */
typedef struct setting {
    bal_optim_options options;
    bal_isa isa;
    bool on_ballot[N_TENSORS_MAX];
} setting;

/** A model of zeros: matrices of 20 and 33 columns, so that there is padding. */
static inline bal_model *new_model_in(bal_format format)
{
    const bal_model_config config = {.dim = 20,
                                     .hidden = 33,
                                     .n_layers = 1,
                                     .n_heads = 2,
                                     .n_kv_heads = 2,
                                     .head_dim = 10,
                                     .n_vocab = 300,
                                     .max_tokens = 8,
                                     .tied_head = true,
                                     .rope_base = 1e4,
                                     .norm_eps = 1e-5};
    bal_model *model = NULL;
    CU_ASSERT_EQUAL_FATAL(
        bal_model_create(&config, &(bal_formats){.matrices = format}, true, &model), BAL_OK);
    CU_ASSERT_FATAL(bal_model_n_tensors(model) <= N_TENSORS_MAX);
    return model;
}

static inline bal_model *new_model(void) { return new_model_in(BAL_I8); }

static inline int get_code(const bal_tensor *tensor, int64_t at)
{
    return bal_tensor_code(tensor, at);
}
static inline void set_code(bal_tensor *tensor, int64_t at, int code)
{
    bal_tensor_put(tensor, at, code);
}
static inline int64_t n_places(const bal_tensor *tensor)
{
    return tensor->n_blocks * BAL_BLOCK_CODES;
}
static inline bool is_padding(const bal_tensor *tensor, int64_t at)
{
    return get_code(tensor, at) == tensor->low - 1;
}

/** Any codes, many of them near an end of their range, and any carries; padding stays. */
static inline void scatter(bal_model *model)
{
    uint64_t state = SEED;
    for (int index = 0; index < bal_model_n_tensors(model); ++index) {
        bal_tensor *t = bal_model_tensor(model, index);
        for (int64_t at = 0; at < n_places(t); ++at) {
            if (is_padding(t, at)) continue;
            int code = t->low + (int)(bal_test_random(&state) % (unsigned)(t->high - t->low + 1));
            if (at % 3 == 0) code = at % 2 == 0 ? t->high - abs(code) % 3 : t->low + abs(code) % 3;
            set_code(t, at, code);
            t->carry[at] = (int8_t)bal_test_random(&state);
        }
    }
}

/** Rule carry, Walsh directions, all tensors on the ballot. */
static inline setting setting_of(int n_slots, int64_t n_steps)
{
    setting s = {.options = {.rule = bal_rule_options_default(),
                             .perturb = bal_perturb_options_default(),
                             .ballot = {.n_slots = n_slots, .n_bits = BAL_SIGN_BITS},
                             .n_steps = n_steps,
                             .seed = SEED},
                 .isa = bal_isa_best()};
    memset(s.on_ballot, true, sizeof s.on_ballot);
    return s;
}

static inline bal_optim *new_optim(bal_model *model, setting *s)
{
    bal_optim *optim = NULL;
    s->options.on_ballot = s->on_ballot;
    CU_ASSERT_EQUAL_FATAL(bal_optim_create(model, bal_kernels_at(s->isa), &s->options, &optim),
                          BAL_OK);
    return optim;
}

/** Apply votes of -1, 0, +1 to a part of each tensor. */
static inline void apply_part(bal_optim *optim, int64_t step, int n_slots, const int8_t *votes,
                              int part, int n_parts, uint32_t *flips)
{
    uint64_t bits[2 * N_SLOTS_MAX / 64] = {0};
    bal_ballot_shape shape = {.n_slots = n_slots, .n_bits = BAL_SIGN_BITS};
    for (int slot = 0; slot < n_slots; ++slot) bal_ballot_put(shape, bits, slot, votes[slot]);
    bal_optim_apply(optim, step, bits, part, n_parts, flips);
}
static inline void apply(bal_optim *optim, int64_t step, int n_slots, const int8_t *votes,
                         uint32_t *flips)
{
    apply_part(optim, step, n_slots, votes, 0, 1, flips);
}

static inline void random_votes(int n_slots, uint64_t *state, bool ties, int8_t *votes)
{
    for (int slot = 0; slot < n_slots; ++slot) {
        uint64_t random = bal_test_random(state);
        votes[slot] = (int8_t)(ties ? (int)(random % 3) - 1 : 1 - 2 * (int)(random % 2));
    }
}

/** z of a slot over a whole tensor, to be freed. */
static inline int8_t *direction_of(const bal_optim *optim, int64_t step, int slot, int index,
                                   const bal_tensor *tensor)
{
    bal_direction direction = {bal_optim_measure(optim, step), (uint32_t)slot};
    int8_t *z = bal_alloc((size_t)n_places(tensor), 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(z);
    bal_direction_fill(&direction, index, 0, tensor->n_blocks, z);
    return z;
}

#endif
