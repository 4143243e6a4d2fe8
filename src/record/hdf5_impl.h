/* hdf5_impl.h: HDF5 for the files of this room that write and read checkpoints with it. */
#ifndef BALLOT_HDF5_IMPL_H
#define BALLOT_HDF5_IMPL_H

#include <hdf5.h>

#include "record_impl.h"

/* ---- hdf5_driver.c ---- */

/** Let HDF5 print nothing and remember the reason of the next failure instead. */
void bal_hdf5_listen(void);
/** Has HDF5 failed since then? And the reason of the first failure. */
bool bal_hdf5_failed(void);
const char *bal_hdf5_reason(void);
/** A handle of any kind that is closed at the end of its block, if it is one. */
#define BAL_HANDLE __attribute__((cleanup(bal_hdf5_close))) hid_t
void bal_hdf5_close(const hid_t *handle);
/** The driver that a checkpoint is written through, to be asked for before each file and kept;
 *  negative: HDF5 failed. One file at a time. */
hid_t bal_hdf5_driver(void);
/** Why a file written through it is incomplete; 0: it is whole. */
int bal_hdf5_driver_errno(void);

/* ---- hdf5_write.c: nothing after a failure; rank 0 is a scalar ---- */

hid_t bal_hdf5_make_group(hid_t above, const char *name);
void bal_hdf5_write_attribute(hid_t object, const char *name, hid_t type, int rank,
                              const hsize_t *dims, const void *values);
void bal_hdf5_write_text(hid_t object, const char *name, const char *text);
/** A dataset in chunks with checksums. @param dataset  set if it stays open for attributes; or NULL
 */
void bal_hdf5_write_dataset(hid_t group, const char *name, hid_t type, int rank,
                            const hsize_t *dims, const void *values, hid_t *dataset);
/** An empty dataset in chunks of that shape. */
hid_t bal_hdf5_make_dataset(hid_t group, const char *name, hid_t type, int rank,
                            const hsize_t *dims, const hsize_t *chunk);
/** Rows first to first + n - 1 of a dataset of rank 1 or 2. */
void bal_hdf5_write_rows(hid_t dataset, hid_t type, int64_t first, int64_t n, const void *values);
/** Where these rows stand in the file; in *memory, where they stand in an array of them alone. */
hid_t bal_hdf5_rows(hid_t dataset, int64_t first, int64_t n, hid_t *memory);
/** A type for a text of that length, ended or filled by zeros. */
hid_t bal_hdf5_text_type(size_t n_bytes);
/** Bytes that a dataset of rank 1 or 2 takes in a file. */
int64_t bal_hdf5_dataset_bytes(int rank, int64_t n_rows, int64_t n_cols, size_t element_bytes);
int64_t bal_hdf5_chunked_bytes(int rank, const hsize_t *dims, const hsize_t *chunk,
                               size_t element_bytes);

/* ---- hdf5_read.c: BAL_ERR_INPUT, with the place, where something else is found ---- */

#define BAL_HDF5_TEXT_BYTES 64 /* longest short text, such as a role, with its end */

/** A checkpoint that is being read. */
typedef struct bal_reader {
    const char *path;
    int64_t file_bytes;
    int32_t version;
    hid_t file, model, scale, factor, metrics, ballots, job, files;
    bal_states states; /* that the file has */
    hid_t state[BAL_STATES_MAX], scales[BAL_STATES_MAX];
} bal_reader;

/** Where an attribute or dataset stands: group "" is the root, object "" the group itself. */
typedef struct bal_place {
    const char *group, *object;
} bal_place;

/** BAL_ERR_INPUT with a sentence; name is that of an attribute, or "". */
bal_status bal_hdf5_damaged(const bal_reader *r, bal_place at, const char *name, const char *what);
/** An attribute of exactly that type with n values, 0: a scalar. */
bal_status bal_hdf5_read_attribute(const bal_reader *r, hid_t object, bal_place at,
                                   const char *name, hid_t type, hsize_t n, void *values);
/** A text attribute of fewer than n_bytes bytes, with its end. */
bal_status bal_hdf5_read_text(const bal_reader *r, hid_t object, bal_place at, const char *name,
                              char *text, size_t n_bytes);
/** A text attribute that must be the one expected. */
bal_status bal_hdf5_expect_text(const bal_reader *r, hid_t object, bal_place at, const char *name,
                                const char *expected);
/** Is it one of texts of fixed length? */
bool bal_hdf5_is_text(hid_t type);
/** False for a link of another kind, which could make us read someone else's file. */
bool bal_hdf5_is_hard_link(hid_t group, const char *name);
/** Open a dataset of that type and rank. dims [rank] holds what is expected, -1 where the file
 *  decides, and comes back as found. The dataset has no more bytes than the file.
 *  @param dataset  the caller's to close, also after a failure */
bal_status bal_hdf5_open_dataset(const bal_reader *r, hid_t group, bal_place at, hid_t type,
                                 int rank, int64_t *dims, hid_t *dataset);
/** Read all of an open dataset. */
bal_status bal_hdf5_read_all(const bal_reader *r, bal_place at, hid_t dataset, hid_t type,
                             void *values);
/** Read rows first to first + n - 1 of an open dataset of rank 1 or 2. */
bal_status bal_hdf5_read_rows(const bal_reader *r, bal_place at, hid_t dataset, hid_t type,
                              int64_t first, int64_t n, void *values);
/** A dataset whose shape is known. */
bal_status bal_hdf5_read_dataset(const bal_reader *r, hid_t group, bal_place at, hid_t type,
                                 int rank, const int64_t *shape, void *values);
/** A one-dimensional dataset of bytes; *bytes is for free(), NULL when there are none. */
bal_status bal_hdf5_read_bytes(const bal_reader *r, hid_t group, bal_place at, uint8_t **bytes,
                               size_t *n_bytes);
bal_status bal_hdf5_open_group(const bal_reader *r, hid_t above, const char *path, const char *name,
                               hid_t *group);
/** Name of link number index of a group, in the order of names. */
bal_status bal_hdf5_link_name(const bal_reader *r, hid_t group, bal_place at, hsize_t index,
                              char *name, size_t n_bytes);

/* ---- checkpoint_fields.c ---- */

/** A number that stands in a struct at offset and in the file as an attribute. */
typedef struct bal_field {
    const char *name;
    hid_t type;
    size_t offset;
} bal_field;
#define BAL_N_RUN_ID_FIELDS 8
/** All members of bal_run_id. Only a run of a task has the last, task_hash, in its file. */
void bal_run_id_fields(bal_field fields[BAL_N_RUN_ID_FIELDS]);

/* ---- checkpoint_metrics.c ---- */

/** Write the rows of a table, NULL: none, for a model with these tensors.
 *  @return BAL_OK, HDF5 may have failed; BAL_ERR_IO: rows cannot be read; BAL_ERR_MEMORY. */
bal_status bal_write_metrics(hid_t file, const bal_metrics *metrics, const bal_tensors *tensors);
/** Read them into an empty table. */
bal_status bal_read_metrics(const bal_reader *r, const bal_tensors *tensors, bal_metrics *metrics);
/** Bytes that n rows take in a file. */
int64_t bal_metrics_file_bytes(int n_tensors, int64_t n);

/* ---- checkpoint_states.c; buffer has bal_largest_bytes of room ---- */

/** Write what is remembered: a group of tensors for each state. */
void bal_write_states(hid_t file, const bal_tensors *tensors, const bal_states *states,
                      void *buffer);
/** The states that the file has, in the order of their names. */
bal_status bal_open_states(bal_reader *r);
/** What a tensor has of a state that is wanted. */
bal_status bal_read_state(const bal_reader *r, const bal_state *wanted, const bal_tensors *tensors,
                          int index, void *buffer);
/** Bytes of a file that the states of a tensor take. */
int64_t bal_states_file_bytes(const bal_states *states, const bal_tensor *tensor);

/* ---- checkpoint_model.c ---- */

/** Write what a network is, as attributes of a group. */
void bal_write_model(hid_t group, const bal_model *model);
/** The model without its memory, no larger than the file, which has a byte for each code. */
bal_status bal_read_model(const bal_reader *r, bal_model **model);

#endif
