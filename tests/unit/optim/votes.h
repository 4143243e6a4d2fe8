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
#define N_SLOTS_MAX 1536

/** What a test changes; on_ballot belongs to it. */
typedef struct setting {
    bal_optim_options options;
    bal_isa isa;
    bool on_ballot[N_TENSORS_MAX];
} setting;

/** What a rule works on. */
typedef struct net {
    bal_tensors tensors;
    bal_states states;
} net;

static inline const bal_rule *rule_named(const char *name)
{
    const bal_choice *choice = bal_rule_choices;
    while (choice->name != NULL && strcmp(choice->name, name) != 0) ++choice;
    CU_ASSERT_PTR_NOT_NULL_FATAL(choice->name);
    return bal_rule_of((unsigned)choice->value);
}

/** Tensors of zeros, as those of a model: matrices of 20 and 33 columns, so that there is padding.
 */
static inline net *new_model_in(bal_format format)
{
#define LAYER "model.layers.0."
    static const struct {
        const char *name;
        int64_t n_rows, n_cols; /* n_rows 0: a vector */
    } parts[] = {
        {"model.embed_tokens", 300, 20},
        {LAYER "input_layernorm", 0, 20},
        {LAYER "self_attn.q_proj", 20, 20},
        {LAYER "self_attn.k_proj", 20, 20},
        {LAYER "self_attn.v_proj", 20, 20},
        {LAYER "self_attn.o_proj", 20, 20},
        {LAYER "post_attention_layernorm", 0, 20},
        {LAYER "mlp.gate_proj", 33, 20},
        {LAYER "mlp.up_proj", 33, 20},
        {LAYER "mlp.down_proj", 20, 33},
        {"model.norm", 0, 20},
    };
    net *model = bal_alloc(1, sizeof *model);
    CU_ASSERT_PTR_NOT_NULL_FATAL(model);
    bal_tensors *tensors = &model->tensors;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; ++i) {
        int64_t n_rows = parts[i].n_rows, n_cols = parts[i].n_cols;
        char name[64];
        snprintf(name, sizeof name, "%s.weight", parts[i].name);
        bal_status status = n_rows > 0
                                ? bal_tensors_add(tensors, name, BAL_MATRIX, format, n_rows, n_cols)
                                : bal_tensors_add(tensors, name, BAL_VECTOR, BAL_I16, 1, n_cols);
        snprintf(name, sizeof name, "%s.gain", parts[i].name);
        if (status == BAL_OK && n_rows > 0)
            status = bal_tensors_add(tensors, name, BAL_GAIN, BAL_I16, 1, n_rows);
        CU_ASSERT_EQUAL_FATAL(status, BAL_OK);
    }
    CU_ASSERT_FATAL(tensors->n <= N_TENSORS_MAX);
    CU_ASSERT_EQUAL_FATAL(bal_tensors_allocate(tensors), BAL_OK);
    bal_tensors_zero(tensors);
    model->states = rule_named("carry")->states;
    CU_ASSERT_EQUAL_FATAL(bal_states_allocate(&model->states, tensors), BAL_OK);
    return model;
}

static inline net *new_model(void) { return new_model_in(BAL_I8); }

static inline void drop(net **model)
{
    bal_states_clear(&(*model)->states);
    bal_tensors_clear(&(*model)->tensors);
    free(*model);
    *model = NULL;
}

static inline int8_t *carry_of(const net *model, const bal_tensor *tensor)
{
    return bal_state_of(&model->states.at[0], tensor);
}
/** Fingerprint of a tensor and its carries, and of all of them. */
static inline uint64_t print_at(const net *model, int index)
{
    const bal_tensor *tensor = &model->tensors.at[index];
    return bal_tensor_fingerprint(tensor, index) +
           bal_states_fingerprint_of(&model->states, &model->tensors, index, 0, 1);
}
static inline uint64_t print_of(const net *model)
{
    return bal_states_fingerprint(&model->states, &model->tensors);
}

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
static inline void scatter(net *model)
{
    uint64_t state = SEED;
    for (int index = 0; index < model->tensors.n; ++index) {
        bal_tensor *t = &model->tensors.at[index];
        for (int64_t at = 0; at < n_places(t); ++at) {
            if (is_padding(t, at)) continue;
            int code = t->low + (int)(bal_test_random(&state) % (unsigned)(t->high - t->low + 1));
            if (at % 3 == 0) code = at % 2 == 0 ? t->high - abs(code) % 3 : t->low + abs(code) % 3;
            set_code(t, at, code);
            carry_of(model, t)[at] = (int8_t)bal_test_random(&state);
        }
    }
}

/** Rule carry, Walsh directions, all tensors on the ballot. */
static inline setting setting_of(int n_slots, int64_t n_steps)
{
    setting s = {.options = {.rule = {.kind = rule_named("carry"), .travel = 4.0},
                             .measure = {.options = {.kind = BAL_DIRECTIONS_WALSH,
                                                     .noise = 1,
                                                     .density = 1.0},
                                         .seed = SEED},
                             .ballot = {.n_slots = n_slots, .n_bits = BAL_SIGN_BITS},
                             .n_steps = n_steps},
                 .isa = bal_isa_best()};
    memset(s.on_ballot, true, sizeof s.on_ballot);
    return s;
}

static inline bal_optim *new_optim(net *model, setting *s)
{
    bal_optim *optim = NULL;
    s->options.measure.on_ballot = s->on_ballot;
    s->options.measure.kernels = bal_kernels_at(s->isa);
    CU_ASSERT_EQUAL_FATAL(bal_optim_create(&model->tensors, &model->states, &s->options, &optim),
                          BAL_OK);
    return optim;
}

/** Apply votes to a part of each tensor. */
static inline void apply_part(bal_optim *optim, int64_t step, bal_ballot_shape shape,
                              const int8_t *votes, int part, int n_parts, uint32_t *flips)
{
    uint64_t bits[BAL_VOTE_BITS_MAX * N_SLOTS_MAX / 64] = {0};
    for (int slot = 0; slot < shape.n_slots; ++slot) bal_ballot_put(shape, bits, slot, votes[slot]);
    bal_optim_apply(optim, step, bits, part, n_parts, flips);
}
/** Apply signs. */
static inline void apply(bal_optim *optim, int64_t step, int n_slots, const int8_t *votes,
                         uint32_t *flips)
{
    bal_ballot_shape signs = {.n_slots = n_slots, .n_bits = BAL_SIGN_BITS};
    apply_part(optim, step, signs, votes, 0, 1, flips);
}

static inline void random_votes(int n_slots, uint64_t *state, bool ties, int8_t *votes)
{
    for (int slot = 0; slot < n_slots; ++slot) {
        uint64_t random = bal_test_random(state);
        votes[slot] = (int8_t)(ties ? (int)(random % 3) - 1 : 1 - 2 * (int)(random % 2));
    }
}

/** z of a slot over a whole tensor, to be freed. */
static inline int8_t *direction_of(const setting *s, int64_t step, int slot, int index,
                                   const bal_tensor *tensor)
{
    bal_direction direction = {.measure = bal_measure_at(s->options.measure, step),
                               .slot = (uint32_t)slot};
    int8_t *z = bal_alloc((size_t)n_places(tensor), 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(z);
    bal_direction_fill(&direction, index, 0, tensor->n_blocks, z);
    return z;
}

#endif
