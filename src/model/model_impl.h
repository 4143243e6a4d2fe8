/* model_impl.h: where the tensors of a model stand. */
#ifndef BALLOT_MODEL_IMPL_H
#define BALLOT_MODEL_IMPL_H

#include "ballot/model.h"

/* Tensor indices of a decoder layer. The gain of matrix i is tensor i + 1 in BAL_I8. */
typedef struct bal_layer {
    int attention_norm, q, k, v, o, mlp_norm, gate, up, down;
} bal_layer;

struct bal_model {
    bal_model_config config;
    bal_format       format;
    bool             with_carry;
    int              n_tensors;
    bal_tensor      *tensors;
    int              embedding, final_norm, head; /* head is embedding where tied */
    bal_layer       *layers;
    void            *owned; /* memory of all tensors where bal_model_allocate made it, else NULL */
};

#endif
