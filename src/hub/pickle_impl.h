/* pickle_impl.h: the steps from pytorch_model.bin to tensors: the zip file, the pickle in it, taken
 * apart, and what the parts say about tensors. */
#ifndef BALLOT_HUB_PICKLE_IMPL_H
#define BALLOT_HUB_PICKLE_IMPL_H

#include "hub_impl.h"

/** An entry of a zip file: a named range of its bytes. */
typedef struct bal_hub_zip_entry {
    const char *name; /* visible ASCII and spaces, no final 0; borrowed */
    size_t n_name;
    size_t start; /* where its local header is in the file */
    const uint8_t *data;
    size_t n_bytes;
} bal_hub_zip_entry;

typedef struct bal_hub_zip {
    const char *origin; /* borrowed */
    int64_t n_entries;
    bal_hub_zip_entry *entries; /* sorted by name; owned */
} bal_hub_zip;

/** Read the directory of a zip file with stored (uncompressed) entries that do not overlap. @return
 * BAL_OK; BAL_ERR_INPUT; BAL_ERR_MEMORY. */
bal_status bal_hub_zip_parse(const uint8_t *data, size_t n_bytes, const char *origin,
                             bal_hub_zip *zip);
void bal_hub_zip_clear(bal_hub_zip *zip);
/** The entry of that name, or NULL. */
const bal_hub_zip_entry *bal_hub_zip_find(const bal_hub_zip *zip, const char *name);

/** The only names that a pickle may ask for. */
typedef enum bal_hub_global {
    BAL_HUB_ORDERED_DICT,
    BAL_HUB_REBUILD_TENSOR,
    BAL_HUB_REBUILD_PARAMETER,
    BAL_HUB_FLOAT_STORAGE, /* storages from here on */
    BAL_HUB_HALF_STORAGE,
    BAL_HUB_BFLOAT16_STORAGE,
    BAL_HUB_DOUBLE_STORAGE,
    BAL_HUB_LONG_STORAGE,
    BAL_HUB_INT_STORAGE,
    BAL_HUB_SHORT_STORAGE,
    BAL_HUB_CHAR_STORAGE,
    BAL_HUB_BYTE_STORAGE,
    BAL_HUB_BOOL_STORAGE,
    BAL_HUB_N_GLOBALS
} bal_hub_global;

typedef enum bal_hub_value_kind {
    BAL_HUB_MARK, /* only on the stack */
    BAL_HUB_NONE,
    BAL_HUB_FLAG,
    BAL_HUB_INTEGER,
    BAL_HUB_TEXT,
    BAL_HUB_TUPLE,
    BAL_HUB_DICT,
    BAL_HUB_GLOBAL,
    BAL_HUB_CALL,
    BAL_HUB_STORAGE
} bal_hub_value_kind;

/** What a pickle is made of. Parts are referred to by number, so no value owns another. */
typedef struct bal_hub_value {
    bal_hub_value_kind kind;
    uint32_t n; /* TEXT: bytes; TUPLE, CALL (function and arguments), STORAGE: items */
    int64_t at; /* FLAG, INTEGER, GLOBAL: itself; TEXT: where in the pickle; TUPLE, CALL,
                   STORAGE: first of items; DICT: its number */
} bal_hub_value;

typedef struct bal_hub_pair {
    int64_t dict;
    bal_hub_value key, value;
} bal_hub_pair;

/** Elements in one block that grows. */
typedef struct bal_hub_pool {
    void *at; /* owned */
    size_t n, capacity;
} bal_hub_pool;

/** A pickle that has been taken apart. Nothing in it was called. */
typedef struct bal_hub_pickle {
    const char *origin; /* borrowed, as are the bytes */
    const uint8_t *bytes;
    size_t n_bytes;
    bal_hub_value root;
    bal_hub_pool items; /* of bal_hub_value */
    bal_hub_pool pairs; /* of bal_hub_pair: those of all dicts, in the order they were set */
    int64_t n_dicts;
} bal_hub_pickle;

/** Run the pickle machine; memory is proportional to n_bytes. Clear the pickle whatever it returns.
 *  @return BAL_OK; BAL_ERR_INPUT: damaged, or it asks for more than a dict of tensors needs. */
bal_status bal_hub_unpickle(const uint8_t *bytes, size_t n_bytes, const char *origin,
                            bal_hub_pickle *pickle);
void bal_hub_pickle_clear(bal_hub_pickle *pickle);
/** The tensors of a state dict whose storages are archive/data/KEY of the zip. */
bal_status bal_hub_pickle_tensors(const bal_hub_pickle *pickle, const bal_hub_zip *zip,
                                  const char *archive, bal_hub_table *table);

#endif
