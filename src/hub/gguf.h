/* gguf.h: the parts of a GGUF file. Source: github.com/ggml-org/ggml, docs/gguf.md; for what
 * programs expect of the keys, github.com/ggml-org/llama.cpp, gguf-py and convert_hf_to_gguf.py. */
#ifndef BALLOT_GGUF_H
#define BALLOT_GGUF_H

#include "export.h"
#include "ggml.h"

typedef enum bal_gguf_type {
    BAL_GGUF_UINT8 = 0,
    BAL_GGUF_INT8 = 1,
    BAL_GGUF_UINT16 = 2,
    BAL_GGUF_INT16 = 3,
    BAL_GGUF_UINT32 = 4,
    BAL_GGUF_INT32 = 5,
    BAL_GGUF_FLOAT32 = 6,
    BAL_GGUF_BOOL = 7,
    BAL_GGUF_STRING = 8,
    BAL_GGUF_ARRAY = 9,
    BAL_GGUF_UINT64 = 10,
    BAL_GGUF_INT64 = 11,
    BAL_GGUF_FLOAT64 = 12
} bal_gguf_type;

#define BAL_GGUF_KEY_BYTES 192

/* gguf_file.c: a file that is read */

/** A key and its value. */
typedef struct bal_gguf_value {
    const char *key; /* [n_key], visible ASCII; borrowed */
    uint64_t n_key;
    bal_gguf_type type, element; /* element: of an array */
    uint64_t n;                  /* elements of an array, bytes of anything else */
    const uint8_t *data;         /* borrowed */
} bal_gguf_value;

/** What comes before the tensors. {0}: nothing. */
typedef struct bal_gguf {
    const char *origin; /* for messages; borrowed */
    int64_t n_values;
    bal_gguf_value *values; /* owned */
    const char *arch;       /* set by whoever knows it; before that keys must not begin with '.' */
} bal_gguf;

/** Do the bytes begin like a GGUF file? */
bool bal_gguf_recognizes(const uint8_t *data, size_t n_bytes);
/** Parse a file of version 2 or 3 in memory; data must outlive both. The table has the names of the
 *  file. @return BAL_OK; BAL_ERR_INPUT; BAL_ERR_MEMORY. */
bal_status bal_gguf_parse(const uint8_t *data, size_t n_bytes, const char *origin, bal_gguf *file,
                          bal_hub_table *table);
void bal_gguf_clear(bal_gguf *file);

/* gguf_value.c. A key that begins with '.' is one of the architecture's. Each get returns BAL_OK;
 * or BAL_ERR_INPUT with a message that names the key. */

/** The whole key. */
void bal_gguf_key(const bal_gguf *file, const char *key, char text[BAL_GGUF_KEY_BYTES]);
/** NULL: there is no such key. */
const bal_gguf_value *bal_gguf_find(const bal_gguf *file, const char *key);
/** The message for a value that is missing or not as expected. @return BAL_ERR_INPUT. */
bal_status bal_gguf_refuse(const bal_gguf *file, const char *key, const char *expected);
/** @return false: it is no integer of 63 bits, or no number. A float is the shortest decimal number
 *  that rounds to it. */
bool bal_gguf_integer(const bal_gguf_value *value, int64_t *integer);
bool bal_gguf_real(const bal_gguf_value *value, double *real);
float bal_gguf_float_at(const uint8_t *at);
/** From 1, or above 0, to highest. fallback 0: the key is required. */
bal_status bal_gguf_get_size(const bal_gguf *file, const char *key, int64_t highest,
                             int64_t fallback, int64_t *size);
bal_status bal_gguf_get_real(const bal_gguf *file, const char *key, double highest, double fallback,
                             double *real);
bal_status bal_gguf_get_flag(const bal_gguf *file, const char *key, bool fallback, bool *flag);
/** A word. fallback NULL: the key is required. */
bal_status bal_gguf_get_text(const bal_gguf *file, const char *key, const char *fallback,
                             char text[BAL_GGUF_KEY_BYTES]);
/** An array that must be there. @param n  its length; -1: any */
bal_status bal_gguf_get_list(const bal_gguf *file, const char *key, bal_gguf_type element,
                             int64_t n, const bal_gguf_value **list);
/** The string at *at, an element of an array of strings; *at moves past it. */
const char *bal_gguf_next(const uint8_t **at, size_t *n_bytes);

/* gguf_arch.c: what both directions know of architectures */

/** What llama.cpp calls a family, and supports of it. */
typedef struct bal_gguf_arch {
    const char *family; /* model_type */
    const char *name;
    bal_family names;  /* where a file has our tensors */
    unsigned features; /* of bal_feature: those of all its models */
    unsigned may_have; /* those that some have */
    bool adjacent;     /* rotary pairs */
    bool llama3;       /* that scaling of rotary positions is supported */
} bal_gguf_arch;

/** NULL: there is none. Of families that share an architecture the first is found. */
const bal_gguf_arch *bal_gguf_arch_of_family(const char *type);
const bal_gguf_arch *bal_gguf_arch_of_name(const char *name);
/** "llama, qwen2, ...": names of architectures, for messages. */
void bal_gguf_arch_list(char *text, size_t n_bytes);

/** A setting of an architecture, and the member of bal_model_config that it is. */
typedef enum bal_gguf_when {
    BAL_GGUF_ALWAYS,
    BAL_GGUF_LAYER_NORM,
    BAL_GGUF_RMS_NORM,
    BAL_GGUF_ROTARY,
    BAL_GGUF_LINEAR, /* rotary positions with that scaling */
    BAL_GGUF_LLAMA3,
    BAL_GGUF_WINDOW
} bal_gguf_when;
typedef struct bal_gguf_setting {
    const char *key;
    bal_gguf_type type; /* UINT32, FLOAT32, or STRING for what only `when` decides */
    bal_gguf_when when; /* other models do not have it */
    size_t offset;      /* in bal_model_config, of an int64_t or double */
    double highest;
    bool real;        /* that of a double */
    bool optional;    /* in files that others wrote */
    const char *word; /* of a STRING */
} bal_gguf_setting;
#define BAL_GGUF_N_SETTINGS 19
extern const bal_gguf_setting bal_gguf_settings[BAL_GGUF_N_SETTINGS];
/** Does a model of this config have it? */
bool bal_gguf_has(const bal_gguf_setting *setting, const bal_model_config *config);

/** A key that changes nothing where it has this value. */
typedef struct bal_gguf_neutral {
    const char *key;
    double value; /* NAN: any */
} bal_gguf_neutral;
/** NULL: none of this name, without the architecture's. */
const bal_gguf_neutral *bal_gguf_neutral_of(const char *key, size_t n_bytes);

#define BAL_GGUF_ROPE_FACTORS "rope_freqs.weight"
/** What each rotary frequency of Llama 3 is divided by, factors [head_dim / 2]. */
void bal_gguf_rope_factors(const bal_model_config *config, float *factors);

/* gguf_config.c */

/** The config that a file describes; sets file->arch. Reads the table's tensors for what only they
 *  tell. @return BAL_OK; BAL_ERR_INPUT: a key is missing, unknown, or asks for what is not
 *  supported. */
bal_status bal_gguf_config(bal_gguf *file, const bal_hub_table *table, const bal_gguf_arch **arch,
                           bal_model_config *config, const bal_family **family);

/* gguf_splits.c: how texts are cut into words, one table for both directions */

#define BAL_GGUF_PATTERNS_MAX 4
typedef struct bal_gguf_split {
    const char *name;                            /* tokenizer.ggml.pre */
    const char *patterns[BAL_GGUF_PATTERNS_MAX]; /* each cuts out its matches, one after another */
    bool composed;                               /* texts are in normal form C first */
    bool whole_words;                            /* a word that is a token is not cut */
    bool bos;                                    /* texts begin with the start token by default */
} bal_gguf_split;
/** NULL: there is none. */
const bal_gguf_split *bal_gguf_split_of_name(const char *name);
/** That of the pre_tokenizer of a tokenizer.json; NULL: none is the same. */
const bal_gguf_split *bal_gguf_split_of_json(const json_t *pre_tokenizer);
/** The pre_tokenizer; prefix: a space goes before texts. NULL: no memory. */
json_t *bal_gguf_split_json(const bal_gguf_split *split, bool prefix);
/** Their names, for messages. */
void bal_gguf_split_list(char *text, size_t n_bytes);

/* gguf_vocab.c, and for each kind gguf_words.c, gguf_pieces.c and gguf_lines.c: the tokenizer of a
 * file as the files that a Hugging Face folder would have */

/** Tokens of a file. */
typedef struct bal_gguf_vocab {
    const bal_gguf *file;
    int64_t n;
    const uint8_t *tokens;        /* strings, for bal_gguf_next */
    const bal_gguf_value *types;  /* of bal_token_kind; NULL: all are normal */
    const bal_gguf_value *scores; /* NULL: none */
    bool prefix;                  /* a space goes before texts */
    bool bos;                     /* texts begin with the start token by default */
} bal_gguf_vocab;
static inline bal_token_kind bal_gguf_kind_of(const bal_gguf_vocab *vocab, int64_t id)
{
    return vocab->types == NULL ? BAL_TOKEN_NORMAL : (bal_token_kind)vocab->types->data[4 * id];
}

/** Add tokenizer.json, tokenizer.model or vocab.txt, and tokenizer_config.json with the chat
 *  templates; and to config the ids of tokens that start and end texts.
 *  @return BAL_OK; BAL_ERR_INPUT: a kind that is unknown, or damaged; BAL_ERR_MEMORY. */
bal_status bal_gguf_add_tokenizer(const bal_gguf *file, json_t *config, bal_files *files);
/* Its parts. */
bal_status bal_gguf_add_words(bal_gguf_vocab *vocab, bal_files *files);
bal_status bal_gguf_add_pieces(const bal_gguf_vocab *vocab, bal_files *files);
bal_status bal_gguf_add_lines(const bal_gguf_vocab *vocab, bal_files *files);
/* json_file.c */

/** Add a JSON file, which is released. @return BAL_OK; BAL_ERR_MEMORY, also if json is NULL. */
bal_status bal_gguf_add_json(const char *name, json_t *json, bal_files *files);

/* gguf_write.c: a file that is written */

/** Growing bytes. After a failure to grow nothing more is added, so it is enough to ask at the end.
 */
typedef struct bal_gguf_bytes {
    uint8_t *at; /* owned */
    size_t n, room;
    bool failed;
} bal_gguf_bytes;

void bal_gguf_bytes_put(bal_gguf_bytes *bytes, const void *from, size_t n);

/** What comes before the data of a file that is written. {.arch = ...}: empty. */
typedef struct bal_gguf_head {
    const char *arch;
    bal_gguf_bytes pairs, tensors;
    uint64_t n_pairs, n_tensors, n_data;
} bal_gguf_head;

/* Add a pair. A key that begins with '.' is one of the architecture's. */
void bal_gguf_put_u32(bal_gguf_head *head, const char *key, int64_t value);
void bal_gguf_put_f32(bal_gguf_head *head, const char *key, double value);
void bal_gguf_put_bool(bal_gguf_head *head, const char *key, bool value);
void bal_gguf_put_text(bal_gguf_head *head, const char *key, const char *text, size_t n_bytes);
/** Add a pair whose value is an array of n elements; the caller puts the elements next: */
void bal_gguf_put_array(bal_gguf_head *head, const char *key, bal_gguf_type type, int64_t n);
void bal_gguf_add_u32(bal_gguf_head *head, uint32_t value);
void bal_gguf_add_f32(bal_gguf_head *head, float value);
void bal_gguf_add_text(bal_gguf_head *head, const char *text, size_t n_bytes);
/** Describe the next tensor of the data. */
void bal_gguf_put_tensor(bal_gguf_head *head, const char *name, int n_dims, const int64_t shape[2],
                         bal_ggml_type type);
void bal_gguf_head_clear(bal_gguf_head *head);
/** Write the head, up to the first byte of the data. @return BAL_OK; BAL_ERR_IO; BAL_ERR_MEMORY. */
bal_status bal_gguf_head_write(const bal_gguf_head *head, int fd, const char *path);
/** Write the n elements of a tensor, and zeros up to the next one. Errors as bal_hub_write_floats.
 */
bal_status bal_gguf_data_write(bal_ggml_type type, const float *values, int64_t n, const char *name,
                               int fd, const char *path);
/* gguf_tokenizer.c */

/** Describe the tokenizer: one token for each id of the model. @return BAL_OK; BAL_ERR_INPUT: a
 *  kind that llama.cpp does not support; BAL_ERR_MEMORY. */
bal_status bal_gguf_put_tokenizer(bal_gguf_head *head, const bal_bundle *bundle);

/* gguf_chat.c */

/** The value of chat_template of tokenizer_config.json. *chat stays NULL if there are no templates;
 *  else the caller's. @return BAL_OK; BAL_ERR_INPUT; BAL_ERR_MEMORY. */
bal_status bal_gguf_read_chat(const bal_gguf *file, json_t **chat);
/** Add the chat templates of a model's files, if any. @return BAL_OK; BAL_ERR_INPUT: they are
 *  malformed; BAL_ERR_MEMORY. */
bal_status bal_gguf_put_chat(bal_gguf_head *head, const bal_files *files);

#endif
