/* model_impl.h: where in its list the tensors of a model stand. */
#ifndef BALLOT_MODEL_IMPL_H
#define BALLOT_MODEL_IMPL_H

#include "ballot/model.h"

/* Members of a norm and of a part are indices of tensors; -1: there is none. */
typedef struct bal_norm {
    int weight, bias;
} bal_norm;

/* A part of a layer, as a chain: it reads a row, normed if there is a norm before it, multiplies it
 * by its matrix, adds its bias, and norms what comes out if there is a norm after it. Parts that
 * read the same rows leave the norm before them to the first. A factor pair, such as LoRA's down
 * and up, would be two more links of the chain; no scheme has one yet. */
typedef struct bal_part {
    int weight, gain, bias; /* a gain: of an integer matrix */
    bal_norm before, after;
} bal_part;

typedef struct bal_layer {
    bal_part q, k, v, o, gate, up, down;
} bal_layer;

struct bal_model {
    bal_model_config config;
    bal_formats formats;
    bal_tensors tensors;
    bal_part embedding, positions, types;
    bal_norm embed_norm;                                /* of their sum */
    bal_part project_in, project_out, head_dense, head; /* a tied head has the embedding's weight */
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
