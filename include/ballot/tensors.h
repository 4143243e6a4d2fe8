/* include/ballot/tensors.h: the tensors of a net, in order: what votes move, what checkpoints hold,
 * and what replicas compare. Knows nothing of how a net computes with them. */
#ifndef BALLOT_TENSORS_H
#define BALLOT_TENSORS_H

#include "ballot/quant.h"

BAL_C_BEGIN

/** Tensors in the order of their indices. Plain; {0}: none. In a net of integers each matrix is
 *  followed by its gain. */
typedef struct bal_tensors {
    int n;
    bal_tensor *at; /* [n] */
    void *owned;    /* memory of all of them where bal_tensors_allocate made it, else NULL */
} bal_tensors;

/** Add a tensor that has no memory yet. Pointers to those before it may change. Local.
 *  @return as bal_tensor_init; BAL_ERR_MEMORY. */
bal_status bal_tensors_add(bal_tensors *tensors, const char *name, bal_role role, bal_format format,
                           int64_t n_rows, int64_t n_cols);
/** Release them, and their memory if it is their own. Local. */
void bal_tensors_clear(bal_tensors *tensors);

/* Memory: one piece for all of them, of the caller, as that which the ranks of a node share. */

/** Bytes that they take. Local. */
size_t bal_tensors_bytes(const bal_tensors *tensors);
/** Let them stand in memory, which may hold them already: nothing is written. Local.
 *  @param memory  [bal_tensors_bytes], aligned to 64 bytes; borrowed */
void bal_tensors_attach(bal_tensors *tensors, void *memory);
/** Attach them to memory of their own. Local. @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_tensors_allocate(bal_tensors *tensors);
/** bal_tensor_zero of each. Local. */
void bal_tensors_zero(bal_tensors *tensors);

/** Some rows of a matrix, or a vector: what is held as floats at a time. {0}: none yet. */
typedef struct bal_piece {
    int index; /* of the tensor */
    int64_t first, n_rows;
} bal_piece;
/** Go to the next piece of all tensors but gains. Local. @return false: there is none. */
bool bal_tensors_next(const bal_tensors *tensors, bal_piece *piece);
/** Elements of the largest piece. Local. */
int64_t bal_tensors_piece_n(const bal_tensors *tensors);

/** Index of the tensor of that name, -1: there is none. Local. */
int bal_tensors_find(const bal_tensors *tensors, const char *name);
/** Elements of all of them. Local. */
int64_t bal_tensors_n(const bal_tensors *tensors);
/** True if names, formats, groups and sizes are the same. Local. */
bool bal_tensors_match(const bal_tensors *a, const bal_tensors *b);
/** Float weights of a matrix or vector, gain applied, row-major [n_rows * n_cols]. Local. */
void bal_tensors_dequantize(const bal_tensors *tensors, int index, float *values);
/** The same of some rows. Local. */
void bal_tensors_dequantize_piece(const bal_tensors *tensors, const bal_piece *piece,
                                  float *values);

/** Sum of bal_tensor_fingerprint over all of them, modulo 2^64. Local. */
uint64_t bal_tensors_fingerprint(const bal_tensors *tensors);
/** A summand of it: bal_tensor_fingerprint_part of each. Local. */
uint64_t bal_tensors_fingerprint_part(const bal_tensors *tensors, int part, int n_parts);

BAL_C_END

#endif
