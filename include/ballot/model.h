/* include/ballot/model.h: a transformer language model: its tensors, its forward pass, its loss at
 * code + z and code - z. One pass serves every family: a config says what their blocks have. Knows
 * nothing of files, ranks, votes or rules. */
#ifndef BALLOT_MODEL_H
#define BALLOT_MODEL_H

#include "ballot/batch.h"
#include "ballot/core.h"
#include "ballot/kernels.h"
#include "ballot/perturb.h"
#include "ballot/tensors.h"

BAL_C_BEGIN

typedef enum bal_rope_pairs {
    BAL_ROPE_ADJACENT, /* (0,1), (2,3), ...: llama2.c */
    BAL_ROPE_HALVES,   /* (i, i + head_dim / 2): Hugging Face */
} bal_rope_pairs;

/** How rotary angles grow with the position. Source: transformers, modeling_rope_utils. */
typedef enum bal_rope_kind {
    BAL_ROPE_PLAIN,
    BAL_ROPE_LINEAR, /* every angle divided by rope_factor */
    BAL_ROPE_LLAMA3, /* slow ones divided, those between rope_low and rope_high turns in
                        rope_original tokens partly */
} bal_rope_kind;

/* X(NAME, bit, word): what a model has otherwise than a LLaMA, which has none of these: RMS norms
 * before attention and feed-forward and after the last layer, rotary positions, a gate with SiLU,
 * no biases. LAYER_NORM: means are subtracted and biases added. POST_NORM: a norm follows each sum,
 * not before its block. EMBED_NORM: a norm of the sum of embeddings. QK_NORM: RMS norms of every
 * head of q and k. NO_GATE: down(act(up x)), not down(silu(gate x) * up x). ENCODER: tokens see
 * those after them. HEAD_DENSE: head(norm(gelu(dense x))), and a bias for each word. */
#define BAL_FEATURE_LIST(X)              \
    X(LAYER_NORM, 0, "layer_norm")       \
    X(POST_NORM, 1, "post_norm")         \
    X(EMBED_NORM, 2, "embed_norm")       \
    X(NO_FINAL_NORM, 3, "no_final_norm") \
    X(QK_NORM, 4, "qk_norm")             \
    X(NO_GATE, 5, "no_gate")             \
    X(BIAS_QKV, 6, "bias_qkv")           \
    X(BIAS_O, 7, "bias_o")               \
    X(BIAS_MLP, 8, "bias_mlp")           \
    X(ENCODER, 9, "encoder")             \
    X(HEAD_DENSE, 10, "head_dense")      \
    X(SCALE_BY_LAYER, 11, "scale_by_layer")

typedef enum bal_feature {
#define BAL_FEATURE_ENUM(name, bit, word) BAL_##name = 1 << bit,
    BAL_FEATURE_LIST(BAL_FEATURE_ENUM)
#undef BAL_FEATURE_ENUM
} bal_feature;
/** Words of the features in a set, in their order, with spaces between. Local.
 *  @param text  of n_bytes, enough for all: 160 */
void bal_features_print(unsigned features, char *text, size_t n_bytes);

/** What a model adds up for a token before its first layer. */
typedef struct bal_embed_shape {
    int64_t dim;             /* width of embedding and head, projected to dim and back; 0: dim */
    int64_t n_positions;     /* rows of learned positions; 0: rotary ones */
    int64_t position_offset; /* row of a sequence's first token */
    int64_t n_types;         /* rows of token types, of which the first is added to every token */
} bal_embed_shape;

/** Rotary positions. */
typedef struct bal_rope {
    bal_rope_pairs pairs;
    bal_rope_kind kind;
    double base;
    double factor, low, high, original; /* of its kind, see there */
} bal_rope;

/** The shape of a model. Each member has a row in BAL_CONFIG_LIST. */
typedef struct bal_model_config {
    int64_t dim;    /* width of the residual stream */
    int64_t hidden; /* width inside the feed-forward block */
    int64_t n_layers;
    int64_t n_heads;    /* query heads */
    int64_t n_kv_heads; /* divides n_heads */
    int64_t head_dim;   /* even where positions are rotary */
    int64_t n_vocab;
    int64_t max_tokens; /* longest sequence */
    int64_t window;     /* tokens that one sees, its own the last of them; 0: all before it */
    bal_embed_shape embed;
    bal_rope rope;
    double norm_eps;
    unsigned features;         /* of bal_feature */
    bal_activation activation; /* of NO_GATE */
    bool tied_head;            /* the head is the embedding */
} bal_model_config;

/* X(name, member, kind, low, high): the members of a config, in the order of their attributes in a
 * checkpoint. Everything that goes through all of them follows from this list: the range check, the
 * comparison, the checkpoint and what inspect prints. Kinds: SIZE, an int64_t; REAL, a double;
 * FLAG, a bool; FEATURES, a set of bal_feature; and the enumerations. */
#define BAL_CONFIG_LIST(X)                                      \
    X(dim, dim, SIZE, 1, BAL_COLS_MAX)                          \
    X(hidden, hidden, SIZE, 1, BAL_COLS_MAX)                    \
    X(n_layers, n_layers, SIZE, 1, 4096)                        \
    X(n_heads, n_heads, SIZE, 1, BAL_COLS_MAX)                  \
    X(n_kv_heads, n_kv_heads, SIZE, 1, BAL_COLS_MAX)            \
    X(head_dim, head_dim, SIZE, 1, BAL_HEAD_DIM_MAX)            \
    X(n_vocab, n_vocab, SIZE, 1, 1 << 30)                       \
    X(max_tokens, max_tokens, SIZE, 1, 1 << 30)                 \
    X(embed_dim, embed.dim, SIZE, 0, BAL_COLS_MAX)              \
    X(n_positions, embed.n_positions, SIZE, 0, 1 << 30)         \
    X(position_offset, embed.position_offset, SIZE, 0, 1 << 30) \
    X(n_types, embed.n_types, SIZE, 0, BAL_COLS_MAX)            \
    X(window, window, SIZE, 0, 1 << 30)                         \
    X(rope_base, rope.base, REAL, 1, 1e12)                      \
    X(rope_factor, rope.factor, REAL, 0, 1e6)                   \
    X(rope_low, rope.low, REAL, 0, 1e6)                         \
    X(rope_high, rope.high, REAL, 0, 1e6)                       \
    X(rope_original, rope.original, REAL, 0, 1 << 30)           \
    X(norm_eps, norm_eps, REAL, 0, 1)                           \
    X(tied_head, tied_head, FLAG, 0, 1)                         \
    X(features, features, FEATURES, 0, 0)                       \
    X(activation, activation, ACTIVATION, 0, 0)                 \
    X(rope_pairs, rope.pairs, ROPE_PAIRS, 0, 0)                 \
    X(rope_kind, rope.kind, ROPE_KIND, 0, 0)

typedef enum bal_config_kind {
    BAL_CONFIG_SIZE,
    BAL_CONFIG_REAL,
    BAL_CONFIG_FLAG,
    BAL_CONFIG_FEATURES, /* this and the following have words instead of a range */
    BAL_CONFIG_ACTIVATION,
    BAL_CONFIG_ROPE_PAIRS,
    BAL_CONFIG_ROPE_KIND,
} bal_config_kind;

/** A row of the list. */
typedef struct bal_config_row {
    const char *name;
    bal_config_kind kind;
    size_t offset;    /* in bal_model_config */
    double low, high; /* a number in a config is one of these, or between them */
} bal_config_row;

#define BAL_CONFIG_COUNT(name, member, kind, low, high) +1
enum { BAL_N_CONFIG_ROWS = 0 BAL_CONFIG_LIST(BAL_CONFIG_COUNT) };
#undef BAL_CONFIG_COUNT
extern const bal_config_row bal_config_rows[BAL_N_CONFIG_ROWS];

#define BAL_CONFIG_WORDS_BYTES 256
/** The words of a member that has words, with spaces between. Local. */
void bal_config_print(const bal_config_row *row, const bal_model_config *config,
                      char text[BAL_CONFIG_WORDS_BYTES]);
/** All words that it may have. Local. */
void bal_config_choices(const bal_config_row *row, char text[BAL_CONFIG_WORDS_BYTES]);
/** Set it. Local. @return false: text is none of these words, or not one word of an enumeration. */
bool bal_config_parse(const bal_config_row *row, const char *text, bal_model_config *config);

/** @return BAL_OK; BAL_ERR_INPUT with a message that starts with origin: a member is out of its
 *  range, a matrix would have more than 2^31 codes, or members do not fit together. Local. */
bal_status bal_model_config_check(const bal_model_config *config, const char *origin);
/** Two configs of one model: every member is the same. Local. */
bool bal_model_config_same(const bal_model_config *a, const bal_model_config *b);

#define BAL_FORMATS_BYTES 576 /* those of a job file, and its embedding= */

/** How floats are rounded, or were. */
typedef enum bal_rounding_way {
    BAL_ROUND_NEAREST,       /* by bal_tensor_quantize */
    BAL_ROUND_LEAST_SQUARES, /* by bal_tensor_fit */
    BAL_ROUND_FOR_TEXT       /* so too, after a balance has scaled them (ballot/balance.h) */
} bal_rounding_way;

/** In which formats a model's tensors are. */
typedef struct bal_formats {
    bal_format matrices; /* BAL_F32: vectors too; else they are BAL_I16 */
    int group;           /* columns that share a factor: 32, 64 or 128; 0: BAL_GROUP_DEFAULT */
    char patterns[BAL_FORMATS_BYTES]; /* exceptions, words GLOB=FORMAT or GLOB=FORMAT:GROUP,
                                         of which the first that matches a matrix counts; the word
                                         embedding stands for embeddings and head */
    bal_rounding_way rounding;        /* of floats */
} bal_formats;

/** Read FORMAT, or FORMAT:GROUP with 32, 64 or 128 where it has groups, else *group stays. Local.
 *  @return false: it is none. */
bool bal_format_read(const char *text, bal_format *format, int *group);

typedef struct bal_model bal_model;

/**
 * Make a model with tensors of zeros. Tensors have the names of a LLaMA in Hugging Face files, in
 * every family; order is fixed by config: model.embed_tokens, embed_positions, embed_types,
 * embed_norm, project_in, per layer input_layernorm, self_attn.{q,k,v,o}_proj and {q,k}_norm,
 * post_attention_layernorm, mlp.{gate,up,down}_proj, then model.norm, model.project_out,
 * lm_head.dense, lm_head.norm, lm_head, each NAME.weight as far as the model has it. Matrices are
 * [outputs, inputs]. In an integer model each is followed by its gain NAME.gain; then comes
 * NAME.bias, where there is one. Local.
 * @return BAL_OK; BAL_ERR_INPUT as bal_model_config_check; BAL_ERR_CONFIG: formats->patterns is no
 *         list of patterns, or one of them matches no matrix; BAL_ERR_MEMORY.
 */
bal_status bal_model_create(const bal_model_config *config, const bal_formats *formats,
                            bal_model **model);
/** Free it and set the pointer to NULL; NULL is fine. Memory that its tensors were given stays.
 *  Local. */
void bal_model_destroy(bal_model **model);

/** The same model without memory for its tensors: only names and sizes may be asked for until
 *  bal_tensors_attach or bal_tensors_allocate gives them some. Local. @return as bal_model_create.
 */
bal_status bal_model_outline(const bal_model_config *config, const bal_formats *formats,
                             bal_model **model);

const bal_model_config *bal_model_shape(const bal_model *model);
const bal_formats *bal_model_formats(const bal_model *model);
/** False for a model of floats. Local. */
bool bal_model_is_integer(const bal_model *model);
/** Its tensors, which the model owns. Local. */
bal_tensors *bal_model_tensors(const bal_model *model);

/** What a batch costs a model at one point. */
typedef struct bal_losses {
    int64_t loss;     /* summed cross-entropy of all scored words, loss units */
    int64_t n_right;  /* scored words that have the highest logit at their token; 0 of a batch that
                         is relative */
    int64_t *answers; /* [n_answers] the same of each, loss units; NULL: not wanted */
} bal_losses;

typedef struct bal_forward bal_forward; /* work space of forward passes; one per thread */

/** Make work space for batches of at most max_tokens tokens in all and max_length in a sequence.
 *  Borrows model and kernels. Local. @return BAL_OK; BAL_ERR_ARG: max_length exceeds the model's
 *  max_tokens; BAL_ERR_MEMORY. */
bal_status bal_forward_create(const bal_model *model, const bal_kernels *kernels,
                              int64_t max_tokens, int64_t max_length, bal_forward **forward);
void bal_forward_destroy(bal_forward **forward);
/** The model that it is for, and the longest sequence. Local. */
const bal_model *bal_forward_model(const bal_forward *forward);
int64_t bal_forward_length(const bal_forward *forward);
/** Bytes of that work space; the model need only be outlined. Local. */
size_t bal_forward_bytes(const bal_model *model, int64_t max_tokens, int64_t max_length);

/** Tokens that a pass computes up to which one over two slots is faster than one over each. With
 *  more, codes and random bits are a small part, and activations of twice the size the larger one.
 */
#define BAL_PAIR_TOKENS_MAX 128

/**
 * Losses of a batch at code + z and code - z, or at code itself when direction is NULL. Weights
 * are never written. The same bits at every instruction set for integer models. Local.
 * @param batch      of an encoder no sequence has a parent; a relative one leaves out what it says
 * @param direction  a direction over the model's codes, if it is an integer model; or NULL
 * @param losses     [bal_direction_points(direction)]: at + and at -; or at + of each slot; or at
 * the code itself
 * @return BAL_OK; BAL_ERR_NUMERIC: a loss is not finite.
 */
bal_status bal_forward_losses(bal_forward *forward, const bal_batch *batch,
                              const bal_direction *direction, bal_losses *losses);
/** Hold: passes from now on are over one batch and at the same codes, but for their directions. So
 *  layers below the first that directions move are computed once for all of them. Let go before the
 *  batch or a code changes. Local. */
void bal_forward_hold(bal_forward *forward, bool holds);

#define BAL_BASE_PATH_BYTES 512
/** The model that reads prompts for another one that was tuned so, see bal_keep.base. */
typedef struct bal_base_id {
    char path[BAL_BASE_PATH_BYTES]; /* ""; there is none: the model reads them itself */
    uint64_t fingerprint;           /* of its tensors, rounded as the model; 0: unknown */
} bal_base_id;

/** What the losses of batches keep of texts beyond a batch. {0}: nothing. */
typedef struct bal_keep {
    const bool *on_ballot; /* [n_tensors] codes that may ever move: layers below the first that has
                              some are computed once per text. NULL: as bal_forward_hold says */
    const bal_model *base; /* reads each text up to the first token at which a word is scored: the
                              model itself reads the rest, attending to the base's keys and values.
                              Of the same shape and formats; no encoder. NULL: the model reads all.
                              Source: Activated LoRA, Greenewald et al. 2025, arXiv 2504.12397 */
    struct bal_store *store; /* where texts are kept; NULL: those of a batch at a time are */
} bal_keep;
/** Let the losses of batches keep texts from now on. Borrows what keep points to. What is computed
 *  again has the same bits. Local. */
void bal_forward_keep(bal_forward *forward, const bal_keep *keep);
/** Tokens of a batch that a pass computes: all but those that the base reads. Local. */
int64_t bal_forward_n_computed(bal_forward *forward, const bal_batch *batch);
/** The base that it was told of; NULL: none. Local. */
const bal_model *bal_forward_base(const bal_forward *forward);

/** Texts that are kept, in memory that processes may share. */
typedef struct bal_store bal_store;
#define BAL_STORE_BYTES_MIN 4096
/** Make memory of n_bytes, aligned to 64, a store without texts; nobody uses it meanwhile. A store
 *  is of one base, and of one set of codes that move. Local. */
bal_store *bal_store_empty(void *memory, size_t n_bytes);
/** Bytes in the store for all texts of a batch that the forward pass would keep. Local. */
size_t bal_forward_keep_bytes(bal_forward *forward, const bal_batch *batch);
/** Logits after each token of one sequence, [n_tokens * n_vocab]. Local. Errors as above. */
bal_status bal_forward_logits(bal_forward *forward, const int32_t *tokens, int64_t n_tokens,
                              float *logits);

/** The word with the highest of n logits, the first of equals. Local. */
int32_t bal_likeliest(const float *logits, int64_t n);

/** Keys and values of the tokens of one text so far, for a model that continues it. */
typedef struct bal_cache bal_cache;
/** Make an empty cache for max_length tokens. Borrows model. Local. @return BAL_OK; BAL_ERR_CONFIG:
 *  the model is an encoder, in which a token changes those before it; BAL_ERR_MEMORY. */
bal_status bal_cache_create(const bal_model *model, int64_t max_length, bal_cache **cache);
void bal_cache_destroy(bal_cache **cache);
/** Bytes of such a cache; the model need only be outlined. Local. */
size_t bal_cache_bytes(const bal_model *model, int64_t max_length);
/** Tokens in it. Local. */
int64_t bal_cache_n(const bal_cache *cache);
/** Forget those after the first n. Local. */
void bal_cache_keep(bal_cache *cache, int64_t n);
/** Make the text of a cache that of another of the same model, which it has room for. Local. */
void bal_cache_copy(bal_cache *to, const bal_cache *from);
/** Read n_tokens more tokens of the text of a cache, in which there is room for them, and which a
 *  model of the same shape may have begun; logits after the last of them, [n_vocab], of integer
 * models the bits of bal_forward_logits of the whole text; NULL: not wanted. Local.
 *  @return BAL_OK; BAL_ERR_NUMERIC. */
bal_status bal_forward_extend(bal_forward *forward, bal_cache *cache, const int32_t *tokens,
                              int64_t n_tokens, float *logits);
/** Losses, at the code itself, of a batch whose sequences without a parent continue the text of a
 *  cache: of integer models the bits of bal_forward_losses of a batch that has that text. The cache
 *  has room for the longest of them, and keeps its text. Local.
 *  @param losses  [1] @return as bal_forward_losses. */
bal_status bal_forward_losses_after(bal_forward *forward, bal_cache *cache, const bal_batch *batch,
                                    bal_losses *losses);

BAL_C_END

#endif
