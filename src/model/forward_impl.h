/* forward_impl.h: work space of a forward pass at code + z and code - z side by side, or at the
 * code itself. Rows of every activation are the tokens of the batch, at + first, then, if there is
 * a direction, at -. With two slots, + stands for the first and - for code + z of the second. */
#ifndef BALLOT_FORWARD_IMPL_H
#define BALLOT_FORWARD_IMPL_H

#include "model_impl.h"
#include "store.h"

#define PIECE BAL_BLOCK_CODES /* words whose logits are held at once, for all tokens */
#define N_SIGNS_MAX 2

/* What there is memory for. */
typedef struct bal_capacity {
    int64_t max_tokens; /* of a pass */
    int64_t max_length; /* tokens of a sequence */
} bal_capacity;

/* The pass under way. */
typedef struct bal_pass {
    const bal_direction *direction; /* NULL: at the code itself */
    bal_cache *const *caches; /* [n_signs][sequences], or one for all if is_shared, of the texts
                                 that they continue; NULL, or one that is NULL: of none */
    bool is_shared;
    int n_signs;      /* 2 with a direction of both sides or of two slots, else 1 */
    int64_t n_tokens; /* of the batch; at the head, those it reads; rows are n_signs * n_tokens */
} bal_pass;

/* Rows that parts read: of an embedding; floats, and quantized for a model of integers. */
typedef struct bal_input {
    int32_t *ids; /* [max_tokens] */
    const float *floats;
    int8_t *codes;
    float *scale;
    int32_t *sum;
    int64_t stride;   /* of codes */
    double **squares; /* [n_tensors] NULL, or sums to which squares of the rows that the matrix
                         reads are added, by column; or no such list */
} bal_input;

/* Weights of the part or norm under way, moved by the direction. */
typedef struct bal_moved {
    int8_t *z;
    uint8_t *negative, *moves, *strip[N_SIGNS_MAX];
    float *row_scale[N_SIGNS_MAX];
    float *vector[2][N_SIGNS_MAX];
    const uint8_t *next; /* codes of the strip that is read next, to prefetch */
    int64_t next_bytes;
} bal_moved;

/* What attention needs: scores of a query; of positions [max_length][head_dim] each, see
 * bal_lanes.rotate; keys and values of a sequence that continues another, end to end. */
typedef struct bal_angles {
    float *scores, *cosines, *sines, *keys, *values;
} bal_angles;

/* What becomes of a row at the head: [rows][PIECE] logits, sums of exponentials; and of each scored
 * word: its logit, [n_signs][n_scored]. */
typedef struct bal_outputs {
    int32_t *row; /* [max_tokens] of a token at the head; below 0: not read there */
    float *logits, *target;
    bal_exp_sums *sums;
} bal_outputs;

/* Tokens of a sequence of a batch that are computed alike, see kept.c. */
typedef struct bal_stretch {
    int64_t token, n;  /* in the batch: the first, and how many */
    int64_t position;  /* of the first in its text */
    int64_t parent;    /* an earlier stretch, which it continues; -1: none */
    bool by_base;      /* the base reads it; its keys and values are kept, of each layer that passes
                          compute: [n_layers - first][2][n][n_kv_heads * head_dim] */
    const float *kept; /* if not by_base: [n][dim], what goes into the first layer of a pass */
    float *room;       /* the same where it is missing in the store, and computed; else NULL */
} bal_stretch;

/* What is kept of the texts that passes read. */
typedef struct bal_kept {
    bal_keep how;
    bool is_held; /* see bal_forward_hold */
    int64_t
        first; /* layer of the pass that comes next; -1: what is kept is not that of its batch */
    int64_t n; /* stretches of the batch */
    bal_stretch *stretches; /* [max_tokens] */
    int64_t *last;          /* [max_tokens] of each sequence: its last stretch */
    int32_t *chain;         /* [max_length] tokens of a text */
    float *values;          /* of stretches that are missing */
    int64_t capacity;
    /* sequences of a pass, [max_tokens] each */
    int32_t *tokens;
    int64_t *start, *parent, *place; /* place: of each stretch: its sequence; -1: not in the pass */
    const bal_stretch **after;
} bal_kept;

struct bal_forward {
    const bal_model *model;
    const bal_kernels *kernels;
    bal_capacity capacity;
    bal_pass pass;
    float *x, *h, *q, *k, *v, *gate, *up; /* activations, [rows][width] */
    bal_input input;
    bal_moved moved;
    bal_angles angles;
    bal_outputs out;
    bal_kept kept;
};

/* linear.c: parts, norms and embeddings. */

/** Make x, [rows][columns of the part], the input: its norm if there is one before the part. */
void bal_forward_read(bal_forward *f, const bal_part *part, const float *x);
/** y = what a part makes of the input, or y + that; normed if there is a norm after the part. */
void bal_forward_apply(bal_forward *f, const bal_part *part, bool adds, float *y);
/** y = norm of n_rows of x at each sign; y may be x. */
void bal_forward_norm(bal_forward *f, const bal_norm *norm, int64_t n_rows, const float *x,
                      float *y);
/** f->gate = silu(gate) * up. */
void bal_forward_gated(bal_forward *f, const bal_layer *layer);
/** Logits of all rows at the head: of n_words words from word on, whole panels within PIECE. */
void bal_forward_fill_logits(bal_forward *f, int64_t word, int64_t n_words);
/** y = rows of a table, or y + that: row ids[t] for token t, at - row ids[stride + t]. */
void bal_forward_embed(bal_forward *f, const bal_part *table, const int32_t *ids, int64_t stride,
                       bool adds, float *y);

/* forward.c */

/** Sequences of a batch, end to end, as in bal_batch. */
typedef struct bal_sequences {
    const int32_t *tokens;
    int64_t n_tokens, n;
    const int64_t *start;            /* [n + 1] */
    const int64_t *parent;           /* [n]; NULL: none has one */
    int64_t stride;                  /* from the tokens at + to those at -; 0: they are the same */
    const bal_stretch *const *after; /* [n] stretches read by the base, which sequences without a
                                        parent continue; NULL: none does */
} bal_sequences;
/** Layers before the first that a direction with these tensors on the ballot moves; 0 where what
 *  they read is moved. */
int64_t bal_forward_n_below(const bal_model *model, const bool *on_ballot);
/** f->out.row: 0 for the tokens of a batch at which a word is scored, below 0 for the others. */
void bal_forward_mark_scored(bal_forward *f, const bal_batch *batch);
/** A pass of n_tokens tokens begins. */
void bal_forward_begin(bal_forward *f, const bal_direction *direction, int64_t n_tokens);
/** What goes into layer 0. */
void bal_forward_enter(bal_forward *f, const bal_sequences *s);
/** The attention of a layer, and the rest of it, or of the last layer, for tokens whose f->out.row
 *  is not below 0. */
void bal_forward_attend(bal_forward *f, int64_t layer, const bal_sequences *s);
void bal_forward_feed(bal_forward *f, int64_t layer);
/** All layers from first on, for the tokens whose f->out.row is not below 0; f->out.row is then
 *  their row, and what the head reads of them the input. */
void bal_forward_finish(bal_forward *f, int64_t first, const bal_sequences *s);
/** A whole pass. */
void bal_forward_run(bal_forward *f, const bal_direction *direction, const bal_sequences *s);

/* kept.c */

/** Is there something to keep of a batch in a pass? */
bool bal_kept_serves(const bal_forward *f, const bal_direction *direction);
/** A whole pass over a batch, with what is kept of it; f->out.row as above. @return BAL_OK;
 *  BAL_ERR_MEMORY. */
bal_status bal_kept_run(bal_forward *f, const bal_direction *direction, const bal_batch *batch);

/* losses.c */

/** Logits of all rows at the head, [rows][n_vocab]. @return BAL_OK; BAL_ERR_NUMERIC. */
bal_status bal_forward_all_logits(bal_forward *f, float *logits);

#endif
