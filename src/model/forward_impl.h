/* forward_impl.h: work space of a forward pass at code + z and code - z side by side, or at the
 * code itself. Rows of every activation are the tokens of the batch, at + first, then, if there is
 * a direction, at -. */
#ifndef BALLOT_FORWARD_IMPL_H
#define BALLOT_FORWARD_IMPL_H

#include "model_impl.h"

#define PIECE BAL_BLOCK_CODES /* words whose logits are held at once, for all tokens */
#define N_SIGNS_MAX 2

struct bal_forward {
    const bal_model *model;
    const bal_kernels *kernels;
    int64_t max_tokens, max_length;
    /* of the pass under way */
    const bal_direction *direction;
    bal_cache *cache; /* of the text that is continued, or NULL */
    int n_signs;      /* 2 with a direction, else 1 */
    int64_t n_tokens; /* of the batch; rows are n_signs * n_tokens */
    /* activations, [rows][width] */
    float *x, *h, *q, *k, *v, *gate, *up, *logits, *target;
    bal_exp_sums *sums;
    int32_t *ids; /* [max_tokens] rows of an embedding */
    /* the rows that the products under way read: floats, or quantized */
    const float *input;
    int8_t *xq;
    float *x_scale;
    int32_t *x_sum;
    int64_t xq_stride;
    /* weights of the product or norm under way */
    int8_t *z;
    uint8_t *negative, *moves, *strip[N_SIGNS_MAX];
    float *row_scale[N_SIGNS_MAX];
    float *vector[2][N_SIGNS_MAX];
    float *scores;
    float *cosines, *sines; /* [max_length][head_dim], see bal_kernels.rotate */
};

/* linear.c: products with the matrices of a part, norms, embeddings. */

/** What the next products read: x, [rows][n_cols]. */
void bal_forward_input(bal_forward *f, const float *x, int64_t n_cols);
/** The same: the norm of the residual stream; floats of it in f->h where the input is of floats or
 *  the norm subtracts means. */
void bal_forward_norm_input(bal_forward *f, const bal_part *norm);
/** y = norm of x; rows of both are dim long, and y may be x. */
void bal_forward_norm(bal_forward *f, const bal_part *norm, const float *x, float *y);
/** RMS norm of every head, in place; [rows][n_heads][head_dim]. */
void bal_forward_norm_heads(bal_forward *f, const bal_part *norm, int64_t n_heads, float *x);
/** y = x w^T + bias, or y + that; x is the input. */
void bal_forward_product(bal_forward *f, const bal_part *part, bool adds, float *y);
/** f->gate = silu(gate) * up. */
void bal_forward_gated(bal_forward *f, const bal_layer *layer);
/** f->logits of n words from word on, n at most PIECE and word a multiple of it: for n input rows
 *  of each sign from first on. */
void bal_forward_fill_logits(bal_forward *f, int64_t word, int64_t n_words, int64_t first,
                             int64_t n);
/** y = rows of a table, or y + that: row ids[t] for token t, at each sign. */
void bal_forward_embed(bal_forward *f, const bal_part *table, const int32_t *ids, bool adds,
                       float *y);

/* forward.c */

/** Sequences of a batch, end to end, as in bal_batch. */
typedef struct bal_sequences {
    const int32_t *tokens;
    int64_t n_tokens, n;
    const int64_t *start; /* [n + 1] */
} bal_sequences;
/** All layers: what the head reads is the input afterwards. */
void bal_forward_run(bal_forward *f, const bal_direction *direction, const bal_sequences *s);

#endif
