/* toy.h: small integer models of awkward shapes with random codes, and batches for them. */
#ifndef BALLOT_TEST_TOY_H
#define BALLOT_TEST_TOY_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ballot/model.h"
#include "suite.h"

#define SEED 4711u
#define TOY_CONTEXT 11
#define TOY_VOCAB 83

static inline bal_model_config toy_config(bool tied)
{
    return (bal_model_config){.dim = 20,
                              .hidden = 70,
                              .n_layers = 2,
                              .n_heads = 4,
                              .n_kv_heads = 2,
                              .head_dim = 6,
                              .n_vocab = TOY_VOCAB,
                              .max_tokens = TOY_CONTEXT,
                              .tied_head = tied,
                              .rope.pairs = tied ? BAL_ROPE_ADJACENT : BAL_ROPE_HALVES,
                              .rope.base = 1e4,
                              .norm_eps = 1e-5};
}

/** Codes up to the ends of their range, so that some cannot be probed; gains of all sizes. */
static inline bal_model *toy_model_of(const bal_model_config *config, const bal_formats *formats)
{
    bal_model *model = NULL;
    uint64_t state = SEED;
    bal_status status = bal_model_create(config, formats, &model);
    if (status != BAL_OK) printf("\n    %s", bal_failure());
    CU_ASSERT_EQUAL_FATAL(status, BAL_OK);
    for (int index = 0; index < bal_model_tensors(model)->n; ++index) {
        bal_tensor *tensor = &bal_model_tensors(model)->at[index];
        int64_t n = bal_tensor_n(tensor);
        int16_t *codes = bal_alloc((size_t)n, sizeof *codes);
        CU_ASSERT_PTR_NOT_NULL_FATAL(codes);
        for (int64_t i = 0; i < n; ++i) {
            int random = (int)(bal_test_random(&state) % 255) - 127, code = random;
            if (bal_format_is_nibbles(tensor->format))
                code = tensor->low + (random + 127) % (tensor->high - tensor->low + 1);
            if (tensor->role == BAL_GAIN) code = i % 9 == 0 ? random : random / 12;
            if (tensor->role == BAL_VECTOR) code = i % 7 == 0 ? 32767 : 16000 + random;
            if (tensor->format != BAL_I16)
                ((int8_t *)codes)[i] = (int8_t)code;
            else
                codes[i] = (int16_t)code;
        }
        CU_ASSERT_EQUAL_FATAL(bal_tensor_set_codes(tensor, codes), BAL_OK);
        for (int64_t row = 0; row < tensor->n_rows; ++row)
            if (tensor->role != BAL_GAIN)
                tensor->scale[row] = tensor->role == BAL_MATRIX ? 0.004f : 1.0f / 16384;
        int64_t n_factors = tensor->n_rows * bal_tensor_n_groups(tensor);
        uint8_t *factors = (uint8_t *)codes;
        for (int64_t i = 0; i < n_factors; ++i)
            factors[i] = (uint8_t)(1 + bal_test_random(&state) % 18);
        if (n_factors > 0) CU_ASSERT_EQUAL(bal_tensor_set_factors(tensor, factors), BAL_OK);
        free(codes);
    }
    return model;
}

static inline bal_model *toy_model(bool tied)
{
    bal_model_config config = toy_config(tied);
    return toy_model_of(&config, &(bal_formats){.matrices = BAL_I8});
}

/** Models with everything that a config and formats can ask for. */
#define N_TOY_KINDS 6
static inline bal_model *toy_kind(int kind)
{
    bal_model_config c = toy_config(kind != 1 && kind != 5);
    if (kind < 2) return toy_model(kind == 0);
    c.rope.pairs = BAL_ROPE_HALVES;
    if (kind == 2) {
        c.features = BAL_LAYER_NORM | BAL_POST_NORM | BAL_NO_FINAL_NORM | BAL_NO_GATE |
                     BAL_BIAS_QKV | BAL_BIAS_O | BAL_BIAS_MLP | BAL_SCALE_BY_LAYER;
        c.activation = BAL_ACT_RELU;
        c.embed.dim = 13;
        c.embed.n_positions = TOY_CONTEXT + 2, c.embed.position_offset = 2;
        c.head_dim = 5;
        return toy_model_of(&c, &(bal_formats){.matrices = BAL_I4, .group = 32});
    }
    if (kind == 3) {
        c.features = BAL_LAYER_NORM | BAL_POST_NORM | BAL_EMBED_NORM | BAL_NO_FINAL_NORM |
                     BAL_NO_GATE | BAL_ENCODER | BAL_HEAD_DENSE | BAL_BIAS_QKV | BAL_BIAS_O |
                     BAL_BIAS_MLP;
        c.activation = BAL_ACT_GELU;
        c.embed.n_positions = TOY_CONTEXT, c.embed.n_types = 2;
        return toy_model_of(&c, &(bal_formats){.matrices = BAL_NF4, .group = 32});
    }
    if (kind == 5) { /* as gpt2, with a head of its own */
        c.features = BAL_LAYER_NORM | BAL_NO_GATE | BAL_BIAS_QKV | BAL_BIAS_O | BAL_BIAS_MLP;
        c.activation = BAL_ACT_GELU_TANH;
        c.embed.n_positions = TOY_CONTEXT;
        return toy_model_of(&c, &(bal_formats){.matrices = BAL_I8});
    }
    c.features = BAL_QK_NORM | BAL_BIAS_QKV;
    c.window = 4;
    c.rope.kind = BAL_ROPE_LLAMA3;
    c.rope.factor = 8, c.rope.low = 1, c.rope.high = 4, c.rope.original = 8;
    return toy_model_of(
        &c, &(bal_formats){.matrices = BAL_I8, .patterns = "*.mlp.*=i4:128 *embed*=nf4"});
}

/** The same codes and scales in a model of its own. */
static inline bal_model *copy_of(const bal_model *model)
{
    bal_model *copy = NULL;
    CU_ASSERT_EQUAL_FATAL(bal_model_create(bal_model_shape(model), bal_model_formats(model), &copy),
                          BAL_OK);
    for (int index = 0; index < bal_model_tensors(model)->n; ++index) {
        const bal_tensor *from = &bal_model_tensors(model)->at[index];
        bal_tensor *to = &bal_model_tensors(copy)->at[index];
        size_t n = (size_t)from->n_blocks * BAL_BLOCK_CODES;
        size_t halves = from->format == BAL_I16 ? 4 : from->format == BAL_I8 ? 2 : 1;
        memcpy(to->codes, from->codes, n * halves / 2);
        memcpy(to->scale, from->scale, (size_t)from->n_rows * sizeof *to->scale);
        if (from->factors != NULL)
            memcpy(to->factors, from->factors,
                   (size_t)((from->n_rows + 63) / 64 * 64 * bal_tensor_n_groups(from)));
    }
    return copy;
}

/** n_sequences of random tokens, 1 .. TOY_CONTEXT long. */
static inline bal_batch toy_batch(int64_t n_sequences, int64_t n_vocab)
{
    bal_batch batch;
    uint64_t state = SEED;
    CU_ASSERT_EQUAL_FATAL(bal_batch_init(&batch, bal_batch_text(n_sequences, TOY_CONTEXT)), BAL_OK);
    for (int64_t s = 0; s < n_sequences; ++s) {
        int64_t length =
            s == 0 ? TOY_CONTEXT : 1 + (int64_t)(bal_test_random(&state) % TOY_CONTEXT);
        for (int64_t i = 0; i < length; ++i) {
            int32_t token = (int32_t)(bal_test_random(&state) % (uint64_t)n_vocab);
            bal_batch_add(&batch, token, (int32_t)(bal_test_random(&state) % (uint64_t)n_vocab));
        }
        bal_batch_end(&batch);
    }
    return batch;
}

#endif
