/* hub_impl.h: what the readers of this room share: a table of where tensors lie in mapped files,
 * the same for every layout, and which of them make a model. */
#ifndef BALLOT_HUB_IMPL_H
#define BALLOT_HUB_IMPL_H

#include "ballot/hub.h"
#include "ballot/json.h"
#include "ballot/quant.h"
#include "family.h"
#include "ggml.h"

#define BAL_HUB_SIZE_MAX 65536     /* widths, heads, layers: products of two fit 63 bits */
#define BAL_HUB_TOKENS_MAX 1048576 /* positions: a small file could ask for large tables */

#define BAL_HUB_DIMS_MAX 8

/** How elements are stored. BLOCKS are those of ggml. OTHER may occur in a file (buffers such as
 *  position_ids or attn.bias) but cannot be read as weights. */
typedef enum bal_hub_dtype {
    BAL_HUB_F32,
    BAL_HUB_F16,
    BAL_HUB_BF16,
    BAL_HUB_BLOCKS,
    BAL_HUB_OTHER
} bal_hub_dtype;

/** The order of the rows of each head of q and k, as files have them and a model needs them. */
typedef enum bal_hub_rows {
    BAL_HUB_ROWS_KEPT,
    BAL_HUB_ROWS_HALVES,  /* rows of adjacent pairs, in half-pair order */
    BAL_HUB_ROWS_ADJACENT /* the other way round */
} bal_hub_rows;

/** One tensor of a file. */
typedef struct bal_hub_entry {
    char name[BAL_NAME_BYTES]; /* as in Hugging Face files */
    bal_hub_dtype dtype;
    const char *dtype_name;          /* as the format calls it, for messages; static */
    const bal_ggml_layout *blocks;   /* of BLOCKS */
    int n_dims;                      /* 0 (a scalar) to 8 */
    int64_t shape[BAL_HUB_DIMS_MAX]; /* 1 beyond n_dims */
    const uint8_t *data;             /* in the mapped file, of any alignment; borrowed */
    size_t n_bytes;
    int file;    /* of the table's files */
    bool wanted; /* the config needs it, or it repeats a tensor that is needed */
} bal_hub_entry;

typedef struct bal_hub_file {
    char *path;
    bal_mapping file;
} bal_hub_file;

/** From name to place, dtype and shape. A table that was opened owns its mapped files; a table that
 *  was parsed from memory has none. {0}: empty. */
typedef struct bal_hub_table {
    const char *origin; /* what was opened, for messages: the weights or their index; borrowed,
                           or path of files[0] */
    int n_files;
    bal_hub_file *files;
    int64_t n_entries;
    bal_hub_entry *entries; /* sorted by name; owned */
    bal_hub_rows rows;      /* how rows that were read are put */
} bal_hub_table;

/** True if all n characters are visible ASCII, as names appear in messages and on terminals. */
bool bal_hub_is_plain(const char *text, size_t n);
/** Name the entry. @return BAL_OK; BAL_ERR_INPUT: too long, or not visible ASCII. */
bal_status bal_hub_entry_name(bal_hub_entry *entry, const char *name, size_t n, const char *origin);
/** Set n_bytes from the shape. @return false: that is not a size, or overflows. */
bool bal_hub_entry_measure(bal_hub_entry *entry, size_t element_bits);
int64_t bal_hub_entry_n(const bal_hub_entry *entry);
/** Path of the file that has the entry, for messages. */
const char *bal_hub_entry_origin(const bal_hub_table *table, const bal_hub_entry *entry);

/** Open the first of model.safetensors, model.safetensors.index.json, pytorch_model.bin and
 *  pytorch_model.bin.index.json that is in dir. Files stay mapped until bal_hub_table_clear;
 * tensors are not read. @return BAL_OK; BAL_ERR_INPUT; BAL_ERR_MEMORY. */
bal_status bal_hub_weights_open(const char *dir, bal_hub_table *table);
/** Map path as another file of the table. */
bal_status bal_hub_table_map(bal_hub_table *table, const char *path);
/** Move the entries of part into the table, as entries of its last file. After the last part, the
 *  caller sorts them. */
bal_status bal_hub_table_append(bal_hub_table *table, bal_hub_table *part);
void bal_hub_table_sort(bal_hub_table *table);
/** The same, where a file may have a name twice. @return BAL_OK; BAL_ERR_INPUT: it has. */
bal_status bal_hub_table_sort_once(bal_hub_table *table);
void bal_hub_table_clear(bal_hub_table *table);
/** The entry of that name, or NULL. */
bal_hub_entry *bal_hub_table_find(const bal_hub_table *table, const char *name);
/** Read all elements in order, values [bal_hub_entry_n]. @return BAL_OK; BAL_ERR_INPUT: a value is
 *  not finite, or the dtype is OTHER. */
bal_status bal_hub_table_read(const bal_hub_table *table, const bal_hub_entry *entry,
                              float *values);
/** The same for n of them, from first on: of BLOCKS whole blocks. */
bal_status bal_hub_table_read_some(const bal_hub_table *table, const bal_hub_entry *entry,
                                   int64_t first, int64_t n, float *values);
/** Release the pages of an entry that were read, so that little of a large file is in memory. */
void bal_hub_table_release(const bal_hub_table *table, const bal_hub_entry *entry);
/** True if both are stored as the same bytes; releases pages as above. */
bool bal_hub_table_same(const bal_hub_table *table, const bal_hub_entry *a, const bal_hub_entry *b);

/** Write the entry's bytes to fd; pages are released once written. path names the file that is
 * written, for messages. @return BAL_OK; BAL_ERR_IO. */
bal_status bal_hub_table_copy(const bal_hub_table *table, const bal_hub_entry *entry, int fd,
                              const char *path);

/* rows.c */

/** Do the rows of one of our tensors move? Only those of q and k do. */
bool bal_hub_rows_move(bal_hub_rows rows, const char *ours);
/** The row to take for a row of one of our tensors, as the order says; head_dim of the model. */
int64_t bal_hub_source_row(bal_hub_rows rows, int64_t head_dim, const char *ours, int64_t row);

/* match.c: which entries make a model. */

/** The entry that has one of our tensors, as the whole entry or a part of it; NULL: none. */
bal_hub_entry *bal_hub_match_find(const bal_hub_table *table, const bal_family *family,
                                  const bal_model *model, const char *ours);
/** Remove a prefix that all names have although the family does not, such as "_orig_mod." or
 *  "module.", which wrappers of torch add. */
void bal_hub_match_unwrap(bal_hub_table *table, const bal_family *family);
/** @return BAL_OK: the table has every tensor of the model, in the right shape, and no tensor that
 *  the family does not know; BAL_ERR_INPUT. */
bal_status bal_hub_match(bal_hub_table *table, const bal_family *family, const bal_model *model);
/** Read a piece of our tensors, row-major, values [n_rows * n_cols]. Errors as bal_hub_table_read.
 */
bal_status bal_hub_match_read(const bal_hub_table *table, const bal_family *family,
                              const bal_model *model, const bal_piece *piece, float *values);

/** Parse JSON text, an object in which no key is repeated.
 *  @param object  the caller's; NULL after a failure
 *  @return BAL_OK; BAL_ERR_INPUT; BAL_ERR_MEMORY. */
bal_status bal_hub_json(const void *bytes, size_t n_bytes, const char *origin, json_t **object);

/* config_write.c */

/** The config.json of a decoder of the family; NULL: no memory. The caller's. */
json_t *bal_hub_config_json(const bal_model_config *config, const bal_family *family);
/** Its text, every number exact, for free(); NULL: no memory, or config is NULL. */
char *bal_hub_config_print(const json_t *config);

/* Readers of whole files in memory; data must outlive the table that they make.
 * @return BAL_OK; BAL_ERR_INPUT; BAL_ERR_MEMORY. */
bal_status bal_hub_config_parse(const void *bytes, size_t n_bytes, const char *origin,
                                bal_model_config *config, const bal_family **family);
bal_status bal_hub_safetensors_parse(const uint8_t *data, size_t n_bytes, const char *origin,
                                     bal_hub_table *table);
/** pytorch_model.bin: a zip file in which data.pkl names the tensors. */
bal_status bal_hub_pickle_parse(const uint8_t *data, size_t n_bytes, const char *origin,
                                bal_hub_table *table);
bal_status bal_hub_llama2c_parse(const uint8_t *data, size_t n_bytes, const char *origin,
                                 bal_model_config *config, bal_hub_table *table);
/** The same from a file, which the table then owns. */
bal_status bal_hub_llama2c_open(const char *path, bal_model_config *config, bal_hub_table *table);
/** The version of the llama2.c layout, by the first bytes. */
int64_t bal_hub_llama2c_version(const uint8_t *data, size_t n_bytes);

/** A GGUF file: names is where it has our tensors, files get what a Hugging Face folder of the
 * model would have beside its weights. */
bal_status bal_hub_gguf_parse(const uint8_t *data, size_t n_bytes, const char *origin,
                              bal_model_config *config, const bal_family **names, bal_files *files,
                              bal_hub_table *table);
/** The same from a file, which the table then owns. */
bal_status bal_hub_gguf_open(const char *path, bal_model_config *config, const bal_family **names,
                             bal_files *files, bal_hub_table *table);
/** Does the file begin like one? */
bool bal_hub_gguf_recognizes(const char *path);

/** The *.index.json of a model in several files. */
typedef struct bal_hub_index {
    const char *origin; /* borrowed */
    json_t *json;       /* owned */
    json_t *map;        /* name of a tensor -> name of its file; part of json */
    int n_files;
    const char **files; /* distinct, sorted; owned, the names part of json */
} bal_hub_index;
bal_status bal_hub_index_parse(const void *bytes, size_t n_bytes, const char *origin,
                               bal_hub_index *index);
/** @return BAL_OK: the index and the table have the same tensors in the same files, each once. In
 * the table's entries, file is 1 + the index in files; BAL_ERR_INPUT. */
bal_status bal_hub_index_check(const bal_hub_index *index, const bal_hub_table *table);
void bal_hub_index_clear(bal_hub_index *index);

#endif
