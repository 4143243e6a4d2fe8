/* family.h: the table of model families: what their blocks have, what their config.json calls it,
 * and what their files call the tensors. Adding a family is adding a row. */
#ifndef BALLOT_FAMILY_H
#define BALLOT_FAMILY_H

#include "ballot/model.h"

/** A key of config.json that is true or false. */
typedef struct bal_family_switch {
    const char *key;
    bool fallback;        /* where it is absent */
    bool when;            /* at this value: */
    unsigned sets, drops; /* features that are set and dropped; both 0: refused */
} bal_family_switch;

/** Where a file has a tensor; # stands for the layer. */
typedef struct bal_family_name {
    const char *ours, *theirs; /* without ".weight" or ".bias" */
    bool transposed;           /* [inputs, outputs] */
    int part, n_parts;         /* our rows are this part of theirs; n_parts 0: all of them */
} bal_family_name;

/** What config.json calls the sizes; NULL: the family has none of it. */
typedef struct bal_family_keys {
    const char *dim, *hidden, *n_layers, *n_heads, *n_kv_heads, *max_tokens, *norm_eps, *activation;
    const char *embed_dim, *n_types;
    bool hidden_is_4_dim; /* where the key is absent */
} bal_family_keys;

/** The sliding window; null in a file: it has none. */
typedef struct bal_family_window {
    const char *key;  /* NULL: the family has none */
    int64_t fallback; /* where the key is absent */
} bal_family_window;

typedef struct bal_family {
    const char *type;  /* model_type */
    const char *class; /* of transformers */
    const char *base;  /* what names of the base model start with, and may also lack */
    unsigned features; /* of bal_feature */
    bool tied_head, rotary;
    const char *gate; /* the only activation where there is a gate */
    bal_family_window window;
    double eps;             /* of norms, where the key is absent */
    int position_offset;    /* row of the first token; -1: one after pad_token_id */
    bool positions_are_all; /* max_tokens counts the rows before the offset too */
    const bal_family_keys *keys;
    const bal_family_switch *switches; /* end with a null key */
    const bal_family_name *names;      /* what differs from ours; end with a null name */
    const char *const *ignored;        /* globs of tensors that may be there; end with NULL */
    const char *head_bias_twin; /* tensor that repeats lm_head.bias where the head is not tied */
} bal_family;

/** The family of a model_type or of a class of transformers, NULL: none. */
const bal_family *bal_family_of_type(const char *type);
const bal_family *bal_family_of_class(const char *class);
/** "a, b or c": all of them, for messages. */
void bal_family_list(char *text, size_t n_bytes);

/** Where the family's files have one of our tensors. */
typedef struct bal_family_place {
    char name[BAL_NAME_BYTES]; /* with the base's prefix */
    bool transposed;
    int part, n_parts; /* n_parts at least 1 */
} bal_family_place;
void bal_family_place_of(const bal_family *family, const char *ours, bal_family_place *place);
/** The name without the base's prefix, or NULL if it does not start so. */
const char *bal_family_short_name(const bal_family *family, const char *name);
/** True for a tensor that may be in a file though it is no part of the model. */
bool bal_family_ignores(const bal_family *family, const char *name);

#endif
