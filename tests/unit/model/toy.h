/* toy.h: small integer models of awkward shapes with random codes, and batches for them. */
#ifndef BALLOT_TEST_TOY_H
#define BALLOT_TEST_TOY_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ballot/model.h"
#include "suite.h"

#define SEED        4711u
#define TOY_CONTEXT 11
#define TOY_VOCAB   83

static inline bal_model_config toy_config(bool tied)
{
    return (bal_model_config){.dim        = 20,
                              .hidden     = 70,
                              .n_layers   = 2,
                              .n_heads    = 4,
                              .n_kv_heads = 2,
                              .head_dim   = 6,
                              .n_vocab    = TOY_VOCAB,
                              .max_tokens = TOY_CONTEXT,
                              .tied_head  = tied,
                              .rope_pairs = tied ? BAL_ROPE_ADJACENT : BAL_ROPE_HALVES,
                              .rope_base  = 1e4,
                              .norm_eps   = 1e-5};
}

/** Codes up to the ends of their range, so that some cannot be probed; gains of all sizes. */
static inline bal_model *toy_model(bool tied)
{
    bal_model_config config = toy_config(tied);
    bal_model       *model  = NULL;
    uint64_t         state  = SEED;
    CU_ASSERT_EQUAL_FATAL(
        bal_model_create(&config, &(bal_formats){.matrices = BAL_I8}, true, &model), BAL_OK);
    for (int index = 0; index < bal_model_n_tensors(model); ++index) {
        bal_tensor *tensor = bal_model_tensor(model, index);
        int64_t     n      = bal_tensor_n(tensor);
        int16_t    *codes  = bal_alloc((size_t)n, sizeof *codes);
        CU_ASSERT_PTR_NOT_NULL_FATAL(codes);
        for (int64_t i = 0; i < n; ++i) {
            int random = (int)(bal_test_random(&state) % 255) - 127, code = random;
            if (tensor->role == BAL_GAIN) code = i % 9 == 0 ? random : random / 12;
            if (tensor->role == BAL_VECTOR) code = i % 7 == 0 ? 32767 : 16000 + random;
            if (tensor->format == BAL_I8)
                ((int8_t *)codes)[i] = (int8_t)code;
            else
                codes[i] = (int16_t)code;
        }
        CU_ASSERT_EQUAL_FATAL(bal_tensor_set_codes(tensor, codes), BAL_OK);
        for (int64_t row = 0; row < tensor->n_rows; ++row)
            if (tensor->role != BAL_GAIN)
                tensor->scale[row] = tensor->role == BAL_MATRIX ? 0.004f : 1.0f / 16384;
        free(codes);
    }
    return model;
}

/** The same codes and scales in a model of its own. */
static inline bal_model *copy_of(const bal_model *model)
{
    bal_model *copy = NULL;
    CU_ASSERT_EQUAL_FATAL(
        bal_model_create(bal_model_shape(model), bal_model_formats(model), true, &copy), BAL_OK);
    for (int index = 0; index < bal_model_n_tensors(model); ++index) {
        const bal_tensor *from = bal_model_tensor(model, index);
        bal_tensor       *to   = bal_model_tensor(copy, index);
        size_t            n    = (size_t)from->n_blocks * BAL_BLOCK_CODES;
        memcpy(to->codes, from->codes, n * (from->format == BAL_I8 ? 1 : 2));
        memcpy(to->carry, from->carry, n);
        memcpy(to->scale, from->scale, (size_t)from->n_rows * sizeof *to->scale);
    }
    return copy;
}

/** n_sequences of random tokens, 1 .. TOY_CONTEXT long. */
static inline bal_batch toy_batch(int64_t n_sequences, int64_t n_vocab)
{
    bal_batch batch;
    uint64_t  state = SEED;
    CU_ASSERT_EQUAL_FATAL(bal_batch_init(&batch, n_sequences, TOY_CONTEXT), BAL_OK);
    batch.n_sequences = n_sequences;
    for (int64_t s = 0; s < n_sequences; ++s) {
        int64_t length =
            s == 0 ? TOY_CONTEXT : 1 + (int64_t)(bal_test_random(&state) % TOY_CONTEXT);
        batch.start[s + 1] = batch.n_tokens += length;
    }
    for (int64_t i = 0; i < batch.n_tokens; ++i) {
        batch.tokens[i]  = (int32_t)(bal_test_random(&state) % (uint64_t)n_vocab);
        batch.targets[i] = (int32_t)(bal_test_random(&state) % (uint64_t)n_vocab);
    }
    return batch;
}

#endif
