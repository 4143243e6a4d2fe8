/* include/ballot/model.h: a Llama-style language model: its tensors, its forward pass, its loss at
 * code + z and code - z. Knows nothing of files, ranks, votes or rules. */
#ifndef BALLOT_MODEL_H
#define BALLOT_MODEL_H

#include "ballot/core.h"
#include "ballot/data.h"
#include "ballot/kernels.h"
#include "ballot/perturb.h"
#include "ballot/quant.h"

#define BAL_LOSS_UNITS_PER_NAT 1048576 /* one loss unit is 2^-20 nats per token */

typedef enum bal_rope_pairs {
    BAL_ROPE_ADJACENT, /* (0,1), (2,3), ...: llama2.c */
    BAL_ROPE_HALVES,   /* (i, i + head_dim / 2): Hugging Face */
} bal_rope_pairs;

/** The shape of a decoder: RMSNorm, rotary positions, grouped-query attention, SwiGLU. */
typedef struct bal_model_config {
    int64_t        dim;    /* width of the residual stream */
    int64_t        hidden; /* width inside the feed-forward block */
    int64_t        n_layers;
    int64_t        n_heads;    /* query heads */
    int64_t        n_kv_heads; /* divides n_heads */
    int64_t        head_dim;   /* even */
    int64_t        n_vocab;
    int64_t        max_tokens; /* longest sequence */
    bool           tied_head;  /* the head is the embedding */
    bal_rope_pairs rope_pairs;
    double         rope_base;
    double         norm_eps;
} bal_model_config;

/** @return BAL_OK; BAL_ERR_INPUT with a sentence that starts with origin: a size is out of range
 *  (1 .. 2^31 - 1 codes per matrix, row length at most 65536) or they do not fit together. Local.
 */
bal_status bal_model_config_check(const bal_model_config *config, const char *origin);

typedef struct bal_model bal_model;

/**
 * Make a model with tensors of zeros. Tensors carry Hugging Face names; order is fixed by config:
 * model.embed_tokens.weight, per layer input_layernorm, self_attn.{q,k,v,o}_proj,
 * post_attention_layernorm, mlp.{gate,up,down}_proj, then model.norm.weight and, untied,
 * lm_head.weight. Matrices are [outputs, inputs]. In BAL_I8 each matrix NAME.weight is followed by
 * its gain NAME.gain. Local.
 * @param format  BAL_F32: all float; BAL_I8: int8 matrices, int16 vectors and gains
 * @param with_carry  carries as well (BAL_I8 only)
 * @return BAL_OK; BAL_ERR_INPUT as bal_model_config_check; BAL_ERR_MEMORY.
 */
bal_status bal_model_create(const bal_model_config *config, bal_format format, bool with_carry,
                            bal_model **model);
/** Free it and set the pointer to NULL; NULL is fine. Memory that it was given stays. Local. */
void bal_model_destroy(bal_model **model);

/* A model in memory of the caller, as that of a node's ranks: outlined, attached, filled. */

/** The same model without memory for its tensors: only sizes and names may be asked for before it
 *  is attached. Local. @return as bal_model_create. */
bal_status bal_model_outline(const bal_model_config *config, bal_format format, bool with_carry,
                             bal_model **model);
/** Bytes that its tensors take. Local. */
size_t bal_model_bytes(const bal_model *model);
/** Let the tensors stand in memory, which may hold them already: nothing is written. Local.
 *  @param memory  [bal_model_bytes], aligned to 64 bytes; borrowed, must outlive the model */
void bal_model_attach(bal_model *model, void *memory);
/** Attach it to memory of its own, of which it is the owner. Local. @return BAL_OK; BAL_ERR_MEMORY.
 */
bal_status bal_model_allocate(bal_model *model);
/** Make all tensors zeros, as those of bal_model_create. Local. */
void bal_model_zero(bal_model *model);

const bal_model_config *bal_model_shape(const bal_model *model);
bal_format              bal_model_format(const bal_model *model);
int                     bal_model_n_tensors(const bal_model *model);
/** Tensor index in [0, n_tensors); the model owns it. */
bal_tensor *bal_model_tensor(const bal_model *model, int index);
/** Index of the tensor of that name, -1 if there is none. */
int bal_model_find(const bal_model *model, const char *name);
/** Float weights of a matrix or vector with its gain applied, row-major [n_rows * n_cols]. Local.
 */
void bal_model_dequantize(const bal_model *model, int index, float *values);
/** Sum of bal_tensor_fingerprint over all tensors, modulo 2^64. Local. */
uint64_t bal_model_fingerprint(const bal_model *model);
/** A summand of it: bal_tensor_fingerprint_part of all tensors. Local. */
uint64_t bal_model_fingerprint_part(const bal_model *model, int part, int n_parts);
/** Factor of a gain code, 1.02^code, code in -127 .. 127; the same bits everywhere. Local. */
float bal_gain_factor(int code);

/** What a batch costs a model at one point. */
typedef struct bal_losses {
    int64_t  loss;         /* summed cross-entropy, loss units */
    int64_t  n_right;      /* tokens whose target has the highest logit */
    int64_t *per_sequence; /* [n_sequences] summed cross-entropy, loss units; NULL: not wanted */
} bal_losses;

typedef struct bal_forward bal_forward; /* work space of forward passes; one per thread */

/** Make work space for batches of at most max_tokens tokens in all and max_length in a sequence.
 *  Borrows model and kernels. Local. @return BAL_OK; BAL_ERR_ARG: max_length exceeds the model's
 *  max_tokens; BAL_ERR_MEMORY. */
bal_status bal_forward_create(const bal_model *model, const bal_kernels *kernels,
                              int64_t max_tokens, int64_t max_length, bal_forward **forward);
void       bal_forward_destroy(bal_forward **forward);

/**
 * Losses of a batch at code + z and code - z, or at code itself when direction is NULL. Weights
 * are never written. The same bits at every instruction set for BAL_I8. Local.
 * @param direction  a direction over the model's codes; BAL_I8 only; or NULL
 * @param losses     [2]: at + and at -; [1] when direction is NULL
 * @return BAL_OK; BAL_ERR_NUMERIC: a loss is not finite.
 */
bal_status bal_forward_losses(bal_forward *forward, const bal_batch *batch,
                              const bal_direction *direction, bal_losses *losses);
/** Logits after each token of one sequence, [n_tokens * n_vocab]. Local. Errors as above. */
bal_status bal_forward_logits(bal_forward *forward, const int32_t *tokens, int64_t n_tokens,
                              float *logits);
/** Logits after the last token of one sequence alone, [n_vocab]. Local. Errors as above. */
bal_status bal_forward_next(bal_forward *forward, const int32_t *tokens, int64_t n_tokens,
                            float *logits);

#endif
