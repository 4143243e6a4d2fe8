/* family.h: the table of model families: what their blocks have, and the names of settings and
 * tensors in their files. To add a family, add a row. */
#ifndef BALLOT_FAMILY_H
#define BALLOT_FAMILY_H

#include "ballot/model.h"

/** A key of config.json that is true or false. */
typedef struct bal_family_switch {
    const char *key;
    bool fallback;        /* its value if it is absent */
    bool when;            /* if it has this value: */
    unsigned sets, drops; /* features to set and to drop; both 0: refused */
} bal_family_switch;

/** Where a file has a tensor; # is the layer's number. */
typedef struct bal_family_name {
    const char *ours, *theirs; /* without ".weight" or ".bias" */
    bool transposed;           /* [inputs, outputs] */
    int part, n_parts;         /* our rows are this part of their rows; n_parts 0: all of them */
} bal_family_name;

/** The keys of sizes in config.json; NULL: the family has no such size. */
typedef struct bal_family_keys {
    const char *dim, *hidden, *n_layers, *n_heads, *n_kv_heads, *max_tokens, *norm_eps, *activation;
    const char *embed_dim, *n_types;
    bool hidden_is_4_dim; /* where the key is absent */
} bal_family_keys;

/** The sliding window; null in a file: no window. */
typedef struct bal_family_window {
    const char *key;  /* NULL: the family has none */
    int64_t fallback; /* where the key is absent */
} bal_family_window;

typedef struct bal_family {
    const char *type;  /* model_type */
    const char *class; /* of transformers; NULL: these are the names of another layout */
    const char *base;  /* prefix of names, which files of the base model may lack */
    unsigned features; /* of bal_feature */
    bool tied_head, rotary;
    const char *gate; /* the only activation, if there is a gate */
    bal_family_window window;
    double eps;             /* epsilon of norms, if the key is absent */
    int position_offset;    /* row of the first token; -1: one after pad_token_id */
    bool positions_are_all; /* max_tokens counts the rows before the offset too */
    const bal_family_keys *keys;
    const bal_family_switch *switches; /* ends with a null key */
    const bal_family_name *names;      /* names that differ from ours; ends with a null name */
    const char *const *ignored;        /* globs of tensors to ignore; ends with NULL */
    const char *head_bias_twin; /* a tensor that repeats lm_head.bias if the head is not tied */
} bal_family;

/** The family of a model_type or of a class of transformers; NULL: none. */
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
/** The name without the base's prefix; NULL if it does not start with that. */
const char *bal_family_short_name(const bal_family *family, const char *name);
/** True for a tensor that a file may have although it is not part of the model. */
bool bal_family_ignores(const bal_family *family, const char *name);

#endif
