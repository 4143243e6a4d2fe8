/* model_impl.h: where in its list the tensors of a model stand. */
#ifndef BALLOT_MODEL_IMPL_H
#define BALLOT_MODEL_IMPL_H

#include "ballot/model.h"

/* Indices of the tensors of a part; -1: it has none. The gain of an integer matrix follows it. */
typedef struct bal_part {
    int weight, bias;
} bal_part;

typedef struct bal_layer {
    bal_part attention_norm, q, k, v, q_norm, k_norm, o, mlp_norm, gate, up, down;
} bal_layer;

struct bal_model {
    bal_model_config config;
    bal_formats formats;
    bal_tensors tensors;
    bal_part embedding, positions, types, embed_norm, project_in, final_norm, project_out,
        head_dense, head_norm, head; /* head.weight is embedding.weight where tied */
    bal_layer *layers;
};

static inline bool bal_has(const bal_model *model, bal_feature feature)
{
    return (model->config.features & feature) != 0;
}

/* Width of embedding and head. */
static inline int64_t bal_embed_dim(const bal_model_config *config)
{
    return config->embed.dim > 0 ? config->embed.dim : config->dim;
}

/* Keys and values of the tokens so far: [n_layers][max_length][n_kv_heads * head_dim] each. */
struct bal_cache {
    const bal_model *model;
    int64_t n_tokens, max_length;
    float *k, *v;
};

#endif
