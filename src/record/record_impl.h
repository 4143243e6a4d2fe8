/* record_impl.h: what the files of this room share: the attributes of a checkpoint, listed once for
 * the writer and the reader. docs/formats/checkpoint.md describes the file to other programs. */
#ifndef BALLOT_RECORD_IMPL_H
#define BALLOT_RECORD_IMPL_H

#include <limits.h>
#include <stddef.h>

#include "ballot/quant.h"
#include "ballot/record.h"

#define BAL_CHECKPOINT_VERSION 3
#define BAL_CHECKPOINT_OLDEST 2 /* that is read: its /carry is /optimizer/carry */
#define BAL_CHECKPOINT_USER_BLOCK 512

/** The names of tensors, or of all phases if it is NULL, with commas between; for free(). NULL: no
 *  memory. */
char *bal_column_names(const bal_tensors *tensors);
/** Words of bal_role, by value, ended by NULL. */
extern const char *const bal_role_names[];

/** Bytes of the largest dataset of a tensor: its codes, or what a state has of them. */
int64_t bal_largest_bytes(const bal_tensors *tensors, const bal_states *states);

/* What a row of metrics has before its flips, which follow it on disk: numbers of 8 bytes. */
#define BAL_METRICS_FIXED_BYTES offsetof(bal_metrics_row, flips)
#define BAL_METRICS_BLOCK_BYTES ((int64_t)1 << 20) /* of those that are copied at once, at most */
/** Bytes of a row on disk. */
size_t bal_metrics_row_bytes(int n_tensors);
/** Copy n rows as the file has them. @return BAL_OK; BAL_ERR_IO. */
bal_status bal_metrics_get_rows(const bal_metrics *metrics, int64_t first, int64_t n, void *bytes);
bal_status bal_metrics_put_rows(bal_metrics *metrics, int64_t first, int64_t n, const void *bytes);

/** Write the user block of a file whose HDF5 part is complete, and verify the whole; name is what
 *  sentences call it. @return BAL_OK; BAL_ERR_IO; BAL_ERR_INPUT: it is not what was written. */
bal_status bal_checkpoint_stamp(int fd, const char *name);
/** Open path as HDF5 and compare its step; name as above. @return BAL_OK; BAL_ERR_IO. */
bal_status bal_checkpoint_reopen(const char *path, const char *name, int64_t step);

#endif
