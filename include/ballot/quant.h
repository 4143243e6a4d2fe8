/* include/ballot/quant.h: one tensor on its lattice: codes, scales, carry, and their order in
 * memory. Knows nothing of models, ranks or arithmetic. */
#ifndef BALLOT_QUANT_H
#define BALLOT_QUANT_H

#include "ballot/core.h"

#define BAL_BLOCK_CODES 256 /* codes of a block: 64 rows by 4 columns, or 256 of a vector */
#define BAL_PANEL_ROWS  64
#define BAL_NAME_BYTES  128

/** The 16 values of NF4, times 127 and rounded, in order; a code of NF4 is an index into them.
 *  Source: quantiles of a normal distribution, Dettmers et al. 2023 (QLoRA, arXiv 2305.14314). */
extern const int8_t bal_nf4_book[16];

typedef enum bal_format {
    BAL_F32, /* float values, row-major: the plain reference, never on a ballot */
    BAL_I8,  /* matrix: int8 codes in -127..127, one scale per row */
    BAL_I16, /* vector or gain: int16 codes in -32767..32767 (gain: -127..127), one scale */
} bal_format;

typedef enum bal_role {
    BAL_MATRIX, /* [n_rows, n_cols] */
    BAL_VECTOR, /* [n_cols], n_rows is 1 */
    BAL_GAIN,   /* [n_cols], one code per row of a matrix: 0 is x1, one step is 2 % */
} bal_role;

/**
 * A tensor. Integer codes lie in blocks of 256. A matrix is cut into panels of 64 rows; block b of
 * a panel holds its columns 4b .. 4b+3 as [64 rows][4 columns], so that code (row, col) stands at
 * ((row / 64) * ceil(n_cols / 4) + col / 4) * 256 + (row % 64) * 4 + col % 4. Vectors lie in order.
 * Padding holds -limit - 1, which no probe or move can touch, with carry 0.
 */
typedef struct bal_tensor {
    char       name[BAL_NAME_BYTES]; /* as in Hugging Face files; a gain ends in ".gain" */
    bal_role   role;
    bal_format format;
    int64_t    n_rows, n_cols;
    int64_t    n_blocks; /* 0 for BAL_F32 */
    int        limit;    /* codes lie in -limit .. limit */
    /* parts of memory that the caller owns, each aligned to 64 bytes */
    void *codes; /* uint8_t, code + 128, or int16_t [n_blocks * 256], or float [n_rows * n_cols] */
    int8_t *carry; /* [n_blocks * 256], 1/256 of a code step; NULL where nothing trains */
    float  *scale; /* [n_rows]; weight = scale * code; NULL for BAL_F32 */
} bal_tensor;

/** Describe a tensor that has no memory yet. Local.
 *  @param format  BAL_F32 for any role, BAL_I8 for a matrix, BAL_I16 for a vector or gain
 *  @return BAL_OK; BAL_ERR_ARG: a size below 1 or above 2^31. */
bal_status bal_tensor_init(bal_tensor *tensor, const char *name, bal_role role, bal_format format,
                           int64_t n_rows, int64_t n_cols);
/** Bytes of memory that it takes, a multiple of 64. At least 4096 of them lie behind the codes of
 *  an integer matrix: kernels read whole tiles. Local. */
size_t bal_tensor_bytes(const bal_tensor *tensor, bool with_carry);
/** Let it stand in memory, codes first. Not a byte is read or written: the tensor may be there
 *  already. Local. @param memory  [bal_tensor_bytes], aligned to 64 bytes; borrowed */
void bal_tensor_attach(bal_tensor *tensor, bool with_carry, void *memory);
/** Zeros (weights) with scale 1, carries of 0, and the padding. Local. */
void bal_tensor_zero(bal_tensor *tensor);

/** The code that stands at a place of the tensor's own order; not for BAL_F32. Local. */
static inline int bal_tensor_code(const bal_tensor *tensor, int64_t at)
{
    return tensor->format == BAL_I8 ? ((const uint8_t *)tensor->codes)[at] - 128
                                    : ((const int16_t *)tensor->codes)[at];
}
/** Put a code there. Local. */
static inline void bal_tensor_put(bal_tensor *tensor, int64_t at, int code)
{
    if (tensor->format == BAL_I8)
        ((uint8_t *)tensor->codes)[at] = (uint8_t)(code + 128);
    else
        ((int16_t *)tensor->codes)[at] = (int16_t)code;
}

/** Number of real elements: n_rows * n_cols. Local. */
int64_t bal_tensor_n(const bal_tensor *tensor);

/**
 * Round float values to the lattice: the absolute maximum of a matrix row is code 120, that of a
 * vector code 250 (so that one probe step is 0.4 % of it); a row of zeros gets scale 1. The carry,
 * if there is one, becomes what rounding left over. BAL_F32 copies. Not for gains. Local.
 * @param values  [n_rows * n_cols], row-major
 * @return BAL_OK; BAL_ERR_INPUT: a value is not finite.
 */
bal_status bal_tensor_quantize(bal_tensor *tensor, const float *values);
/** values[i] = scale * code (or the float itself), row-major; gains not applied. Local. */
void bal_tensor_dequantize(const bal_tensor *tensor, float *values);

/** Copy codes to and from row-major order: int8_t or int16_t [n_rows * n_cols]. Local.
 *  @return for the second: BAL_OK; BAL_ERR_INPUT: a code is outside -limit .. limit. */
void       bal_tensor_get_codes(const bal_tensor *tensor, void *row_major);
bal_status bal_tensor_set_codes(bal_tensor *tensor, const void *row_major);
/** The same for carries, int8_t [n_rows * n_cols]; the tensor has a carry. Local. */
void bal_tensor_get_carry(const bal_tensor *tensor, int8_t *row_major);
void bal_tensor_set_carry(bal_tensor *tensor, const int8_t *row_major);

/** The blocks [first, end) that part of n_parts has to write or hash. Local. */
static inline void bal_tensor_slice(const bal_tensor *tensor, int part, int n_parts, int64_t *first,
                                    int64_t *end)
{
    *first = tensor->n_blocks * part / n_parts;
    *end   = tensor->n_blocks * (part + 1) / n_parts;
}

/** Sum over blocks of XXH3(codes) and XXH3(carry), seeded with index and block, modulo 2^64; and
 *  of the scales. Local. */
uint64_t bal_tensor_fingerprint(const bal_tensor *tensor, int index);
/** A summand of it: what the blocks of a part add, part 0 with the scales. Local. */
uint64_t bal_tensor_fingerprint_part(const bal_tensor *tensor, int index, int part, int n_parts);

#endif
