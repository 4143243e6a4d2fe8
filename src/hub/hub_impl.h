/* hub_impl.h: what the readers of the room share: which tensors a config needs, and the table of
 * where they lie in a mapped file, the same for every layout. */
#ifndef BALLOT_HUB_IMPL_H
#define BALLOT_HUB_IMPL_H

#include <jansson.h>

#include "ballot/hub.h"

#define BAL_HUB_SIZE_MAX   65536   /* widths, heads, layers: products of two stay far from 2^63 */
#define BAL_HUB_TOKENS_MAX 1048576 /* positions have tables that no file justifies */

/** The tensors of a model. ATT_NORM .. DOWN exist once per layer, the others once. */
typedef enum bal_hub_part {
    BAL_HUB_EMBEDDING,
    BAL_HUB_ATT_NORM,
    BAL_HUB_Q,
    BAL_HUB_K,
    BAL_HUB_V,
    BAL_HUB_O,
    BAL_HUB_MLP_NORM,
    BAL_HUB_GATE,
    BAL_HUB_UP,
    BAL_HUB_DOWN,
    BAL_HUB_FINAL_NORM,
    BAL_HUB_HEAD,
    BAL_HUB_N_PARTS
} bal_hub_part;

typedef enum bal_hub_dtype { BAL_HUB_F32, BAL_HUB_F16, BAL_HUB_BF16 } bal_hub_dtype;

/** One tensor of a file. */
typedef struct bal_hub_entry {
    char          name[BAL_NAME_BYTES]; /* as in Hugging Face files */
    bal_hub_dtype dtype;
    int           n_dims;   /* 1 or 2 */
    int64_t       shape[2]; /* [1] is 1 for a vector */
    size_t        start;    /* first byte in the file */
    size_t        n_bytes;
    bool          wanted; /* the config needs it, or it repeats one that is needed */
} bal_hub_entry;

/** name -> place, dtype, shape. Every entry lies within data. */
typedef struct bal_hub_table {
    const char    *origin; /* file name for sentences; borrowed */
    const uint8_t *data;   /* the whole file; borrowed */
    int64_t        n_entries;
    bal_hub_entry *entries; /* sorted by name; owned */
} bal_hub_table;

/** How often a part exists: n_layers, 1, or 0 for the head of a tied model. */
int64_t bal_hub_part_count(const bal_model_config *config, bal_hub_part part);
/** Name and shape of a part; the rest of the entry is zero. */
void bal_hub_part_entry(const bal_model_config *config, bal_hub_part part, int64_t layer,
                        bal_hub_entry *entry);

void bal_hub_table_sort(bal_hub_table *table);
void bal_hub_table_clear(bal_hub_table *table);
/** The entry of that name, NULL if there is none. */
bal_hub_entry *bal_hub_table_find(const bal_hub_table *table, const char *name);
/** @return BAL_OK: the table has every tensor that config needs, in its shape, and no others;
 *  BAL_ERR_INPUT. */
bal_status bal_hub_table_match(bal_hub_table *table, const bal_model_config *config);
/** values [shape[0] * shape[1]]. @return BAL_OK; BAL_ERR_INPUT: a value is not finite. */
bal_status bal_hub_table_read(const bal_hub_table *table, const bal_hub_entry *entry,
                              float *values);

/** Parse JSON text; NULL, with a sentence, if it is none or repeats a key in an object. */
json_t *bal_hub_json(const void *bytes, size_t n_bytes, const char *origin);

/* Readers of whole files in memory; data must outlive the table that they make.
 * @return BAL_OK; BAL_ERR_INPUT; BAL_ERR_MEMORY. */
bal_status bal_hub_config_parse(const void *bytes, size_t n_bytes, const char *origin,
                                bal_model_config *config);
bal_status bal_hub_safetensors_parse(const uint8_t *data, size_t n_bytes, const char *origin,
                                     bal_hub_table *table);
bal_status bal_hub_llama2c_parse(const uint8_t *data, size_t n_bytes, const char *origin,
                                 bal_model_config *config, bal_hub_table *table);
/** Version of the llama2.c layout that the first bytes announce. */
int64_t bal_hub_llama2c_version(const uint8_t *data, size_t n_bytes);

#endif
