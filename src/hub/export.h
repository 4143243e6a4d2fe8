/* export.h: what the writers share: files that appear together, tensors under the names of a
 * family, floats in 16 bits. */
#ifndef BALLOT_HUB_EXPORT_H
#define BALLOT_HUB_EXPORT_H

#include "hub_impl.h"

/* publish.c */

/** A file to be written. */
typedef struct bal_hub_output {
    const char *name;
    bal_writer *write;
    const void *what;
} bal_hub_output;
/** Write n files into dir. Each gets its name, which must be free, once all are whole. After a
 *  failure none is left, nor dir if it was made. @param may_make  make dir if there is none
 *  @return BAL_OK; BAL_ERR_IO; BAL_ERR_STATE: a name is taken; errors of write. */
bal_status bal_hub_publish(const char *dir, bool may_make, const bal_hub_output *files, int n);

/* halves.c: floats in 16 bits: to nearest, ties to even; infinite beyond the largest number. */

uint16_t bal_hub_f16_of(float value);
uint16_t bal_hub_bf16_of(float value);
/** Write n floats, little endian, as dtype (not OTHER). name is their tensor, for messages.
 *  @return BAL_OK; BAL_ERR_IO; BAL_ERR_NUMERIC: a value is too large for the dtype. */
bal_status bal_hub_write_floats(bal_hub_dtype dtype, const float *values, int64_t n,
                                const char *name, int fd, const char *path);

/* theirs.c */

#define BAL_HUB_PARTS_MAX 3

/** A tensor as files have it: one or several of our tensors. */
typedef struct bal_hub_theirs {
    char name[BAL_NAME_BYTES];
    int n_dims;
    int64_t shape[2]; /* 1 beyond n_dims */
    bool transposed;
    int n_parts;
    int parts[BAL_HUB_PARTS_MAX]; /* indices of our tensors, in order, all of one shape */
} bal_hub_theirs;

/** All tensors of a model as files have them, in the order of the model. */
typedef struct bal_hub_theirs_list {
    const bal_model *model; /* borrowed */
    bal_hub_rows rows;
    int n;
    bal_hub_theirs *at; /* owned */
} bal_hub_theirs_list;

/** The family whose tensor names a bundle's files have; a llama2.c model becomes a LLaMA. @return
 *  BAL_OK; BAL_ERR_INPUT: config.json is damaged or of another model; BAL_ERR_MEMORY. */
bal_status bal_hub_bundle_family(const bal_bundle *bundle, const bal_family **family);
/** @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_hub_theirs_init(const bal_model *model, const bal_family *family, bal_hub_rows rows,
                               bal_hub_theirs_list *list);
void bal_hub_theirs_clear(bal_hub_theirs_list *list);
int64_t bal_hub_theirs_n(const bal_hub_theirs *theirs);
/** Work space for any tensor of a list: whole for all its elements, ours for a part. Free both.
 *  @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_hub_theirs_space(const bal_hub_theirs_list *list, float **whole, float **ours);
/** Dequantize its values into whole, with gains applied, row-major; ours is work space. */
void bal_hub_theirs_read(const bal_hub_theirs_list *list, const bal_hub_theirs *theirs,
                         float *whole, float *ours);

/* export_config.c */

/** The config.json of an exported bundle; free() it. @param dtype  the value of torch_dtype, such
 * as "float32"; NULL: unchanged @return BAL_OK; BAL_ERR_INPUT; BAL_ERR_MEMORY. */
bal_status bal_hub_export_config(const bal_bundle *bundle, const char *dtype, char **text);

/* export_safetensors.c */

/** A tensor of a model.safetensors to be written. */
typedef struct bal_hub_item {
    const char *name;             /* borrowed */
    const bal_hub_theirs *theirs; /* NULL: it is not part of the model */
    const bal_hub_entry *entry;   /* that of the base; NULL without one */
    bool copied;                  /* entry is copied unchanged */
} bal_hub_item;

typedef struct bal_hub_weights {
    bal_hub_dtype dtype; /* of items that are not copied */
    const bal_family *family;
    bal_hub_theirs_list theirs;
    bal_hub_table base;
    int64_t n_items;
    bal_hub_item *items; /* in the order of the file; owned */
    float *whole, *ours; /* owned */
} bal_hub_weights;

/** Decide what the file contains. Clear it whatever this returns. */
bal_status bal_hub_weights_init(const bal_bundle *bundle, const bal_export_options *options,
                                bal_hub_weights *weights);
void bal_hub_weights_clear(bal_hub_weights *weights);
/** The dtype of all tensors of the model, as config.json calls it, or "float32" if they have
 * several; NULL: all are copied. */
const char *bal_hub_weights_dtype(const bal_hub_weights *weights);
/** Writes the bal_hub_weights; a bal_writer. */
bal_status bal_hub_weights_write(const void *what, int fd, const char *path);

#endif
