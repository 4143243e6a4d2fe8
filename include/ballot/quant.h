/* include/ballot/quant.h: a quantized tensor: its codes, its scales, and their order in memory.
 * Knows nothing of models, ranks or arithmetic. */
#ifndef BALLOT_QUANT_H
#define BALLOT_QUANT_H

#include "ballot/core.h"

BAL_C_BEGIN

#define BAL_BLOCK_CODES 256 /* codes of a block: 64 rows by 4 columns, or 256 of a vector */
#define BAL_PANEL_ROWS 64   /* rows of a matrix that lie together */
#define BAL_NAME_BYTES 128  /* of a tensor's name, with its 0 */

typedef enum bal_format {
    BAL_F32, /* floats, row-major: the plain reference, never on a ballot */
    BAL_I8,  /* matrix: codes in -127 .. 127, one scale per row */
    BAL_I16, /* vector or gain: codes in -32767 .. 32767 (gain: -127 .. 127), one scale */
    BAL_I4, /* matrix: codes in -7 .. 7, one scale per row, a factor in 1 .. 18 per row and group of
               columns; entry = code * factor */
    BAL_NF4, /* matrix: indices 0 .. 15 into bal_nf4_book, one scale per row, a factor in 1 .. 127
                per row and group; entry = (book value * factor + 64) >> 7 */
    BAL_N_FORMATS
} bal_format;

/** The name of a format: "f32", "i8", "i16", "i4" or "nf4". Local. */
const char *bal_format_name(bal_format format);
/** The format of a name; false: there is none of that name. Local. */
bool bal_format_parse(const char *name, bal_format *format);

/** The 16 values of NF4, quantiles of a normal distribution, times 127 and rounded. Source:
 *  Dettmers et al. 2023, QLoRA, arXiv 2305.14314. */
extern const int8_t bal_nf4_book[16];

#define BAL_GROUP_DEFAULT 64 /* columns of a group, which share a factor; or 32 or 128 */

typedef enum bal_role {
    BAL_MATRIX, /* [n_rows, n_cols] */
    BAL_VECTOR, /* [n_cols], n_rows is 1 */
    BAL_GAIN,   /* [n_cols], one code per row of a matrix: 0 multiplies it by 1, a step by 1.02 */
} bal_role;

/**
 * A tensor. Integer codes lie in blocks of 256. A matrix is cut into panels of 64 rows. Block b of
 * a panel holds its columns 4b .. 4b+3 as [64 rows][4 columns], so code (row, col) is at index
 * ((row / 64) * ceil(n_cols / 4) + col / 4) * 256 + (row % 64) * 4 + col % 4. Vectors lie in order.
 * Four-bit codes are nibbles: codes j and j + 128 of a block share byte j of its 128, the first in
 * the low half. Weight = scale * code, or scale * entry if the format has entries. Padding holds
 * low - 1, or index 0 of NF4: no probe or move touches a code that cannot go both ways.
 */
typedef struct bal_tensor {
    char name[BAL_NAME_BYTES]; /* as in Hugging Face files; a gain ends in ".gain" */
    bal_role role;
    bal_format format;
    int64_t n_rows, n_cols;
    int64_t n_blocks;    /* 0 for BAL_F32 */
    int64_t first_block; /* blocks of the tensors before it in a list, see bal_tensors_add */
    int low, high;       /* codes lie in low .. high */
    int group;           /* columns that share a factor; 0: the format has no factors */
    bool looked_up;      /* its rows are read by number, as those of an embedding */
    /* memory of the caller, each part aligned to 64 bytes */
    void *codes;  /* BAL_I8: uint8_t [n_blocks * 256], code + 128; BAL_I4 and BAL_NF4: two nibbles,
                     code + 8 or index, in each of [n_blocks * 128]; int16_t [n_blocks * 256]; or
                     float [n_rows * n_cols] */
    float *scale; /* [n_rows]; NULL for BAL_F32 */
    uint8_t *factors; /* [n_rows / 64, rounded up][n_cols / group, rounded up][64 rows], or NULL */
} bal_tensor;

/** Describe a tensor that has no memory yet. Local.
 *  @param format  BAL_F32 for any role; BAL_I8, BAL_I4 or BAL_NF4 for a matrix; BAL_I16 for a
 *                 vector or gain. If it has factors, tensor->group becomes BAL_GROUP_DEFAULT. The
 *                 caller may set it to 32 or 128 before any other call.
 *  @return BAL_OK; BAL_ERR_ARG: a size below 1 or above 2^31. */
bal_status bal_tensor_init(bal_tensor *tensor, const char *name, bal_role role, bal_format format,
                           int64_t n_rows, int64_t n_cols);
/** Bytes of memory that a tensor takes, a multiple of 64. At least 4096 of them follow the codes of
 *  an integer matrix, because kernels read whole tiles. Local. */
size_t bal_tensor_bytes(const bal_tensor *tensor);
/** Bytes of its scales and factors alone. Local. */
size_t bal_tensor_scale_bytes(const bal_tensor *tensor);
/** Place it in memory, codes first. Reads and writes nothing: the tensor may be there already.
 *  Local. @param memory  [bal_tensor_bytes], aligned to 64 bytes; borrowed */
void bal_tensor_attach(bal_tensor *tensor, void *memory);
/** Make all weights 0 and all scales 1 (of a gain: 0.02), and fill the padding. Local. */
void bal_tensor_zero(bal_tensor *tensor);

/** True where two codes share a byte. Local. */
static inline bool bal_format_is_nibbles(bal_format format)
{
    return format == BAL_I4 || format == BAL_NF4;
}

/** The code at an index of the tensor's own order; not for BAL_F32. Local. */
static inline int bal_tensor_code(const bal_tensor *tensor, int64_t at)
{
    if (tensor->format == BAL_I8) return ((const uint8_t *)tensor->codes)[at] - 128;
    if (tensor->format == BAL_I16) return ((const int16_t *)tensor->codes)[at];
    int byte = ((const uint8_t *)tensor->codes)[at / 256 * 128 + at % 128];
    int nibble = at % 256 < 128 ? byte & 15 : byte >> 4;
    return tensor->format == BAL_I4 ? nibble - 8 : nibble;
}
/** Put a code there. Local. */
static inline void bal_tensor_put(bal_tensor *tensor, int64_t at, int code)
{
    if (tensor->format == BAL_I8) {
        ((uint8_t *)tensor->codes)[at] = (uint8_t)(code + 128);
    } else if (tensor->format == BAL_I16) {
        ((int16_t *)tensor->codes)[at] = (int16_t)code;
    } else {
        uint8_t *byte = (uint8_t *)tensor->codes + at / 256 * 128 + at % 128;
        int nibble = tensor->format == BAL_I4 ? code + 8 : code;
        *byte = (uint8_t)(at % 256 < 128 ? (*byte & 0xF0) | nibble : (*byte & 15) | nibble << 4);
    }
}
/** Unpack n_blocks blocks of a matrix in nibbles, from block first on, to bytes code + 128 (NF4:
 *  index + 128); and pack them again. Local. @param bytes  [n_blocks * 256] */
void bal_tensor_spread(const bal_tensor *tensor, int64_t first, int64_t n_blocks, uint8_t *bytes);
void bal_tensor_gather(bal_tensor *tensor, int64_t first, int64_t n_blocks, const uint8_t *bytes);

/** Number of real elements: n_rows * n_cols. Local. */
int64_t bal_tensor_n(const bal_tensor *tensor);

/**
 * Round each float to the nearest weight. The absolute maximum becomes code 120 in a row of BAL_I8,
 * and code 250 in a vector, where a code step is then 0.4 % of it. In a group it becomes code 7 of
 * BAL_I4, or the last value of BAL_NF4. The group's factor is rounded up or down, whichever leaves
 * the smaller squared error. A row of values below 1e-28 is a row of zeros, see bal_tensor_level.
 * In a tensor of zeros the absolute maximum counts as 1. BAL_F32 copies. Not for gains. Local.
 * @param values    [n_rows * n_cols], row-major
 * @param leftover  [n_blocks * 256], in the order of the codes: what rounding left over, in 1/256
 *                  of a code step; padding is untouched; NULL: not wanted
 * @return BAL_OK; BAL_ERR_INPUT: a value is not finite.
 */
bal_status bal_tensor_quantize(bal_tensor *tensor, const float *values, int8_t *leftover);
/**
 * The same with scales and factors that leave the least squared error, found by search. The
 * weighted error of a matrix row is at most that of bal_tensor_quantize, but for rounding of sums.
 * Vectors and BAL_F32 are rounded as there. Local.
 * @param weights  [n_cols], at least 0 and not all 0: what a squared error in each column counts;
 *                 large values are clipped where that pays. NULL: all alike, nothing is clipped
 * @return as bal_tensor_quantize; BAL_ERR_MEMORY.
 * Source: the choice of a clipping point by squared error, Banner et al. 2019, arXiv 1810.05723.
 */
bal_status bal_tensor_fit(bal_tensor *tensor, const float *values, const float *weights,
                          int8_t *leftover);
/** Rows first .. first + n_rows - 1 of a matrix, or all of a vector, as a tensor in the same
 * memory. Local. @param first  a multiple of BAL_PANEL_ROWS */
bal_tensor bal_tensor_rows(const bal_tensor *tensor, int64_t first, int64_t n_rows);
/** Let rows of zeros take the mean scale of the other rows, so that a probe moves them as it moves
 *  those. Rounding does so; it is needed once more when all rows were rounded in pieces. Local. */
void bal_tensor_level(bal_tensor *tensor);
/** values[i] = weight (or the float itself), row-major, without gains. Local. */
void bal_tensor_dequantize(const bal_tensor *tensor, float *values);
/** The same for one row, [n_cols]. Local. */
void bal_tensor_dequantize_row(const bal_tensor *tensor, int64_t row, float *values);
/** What a gain code multiplies by: 1.02^code for codes in -127 .. 127, with the same bits on every
 *  machine. Other codes, which only a memory fault makes, count as the nearest. Local. */
float bal_gain_factor(int code);

/** Copy codes to row-major order, and from it: int16_t [n_rows * n_cols] for BAL_I16, else int8_t.
 *  Local. @return (set) BAL_OK; BAL_ERR_INPUT: a code is outside low .. high. */
void bal_tensor_get_codes(const bal_tensor *tensor, void *row_major);
bal_status bal_tensor_set_codes(bal_tensor *tensor, const void *row_major);
/** The same for bytes beside the codes, int8_t [n_blocks * 256] in their order. Set leaves padding
 *  as it is. Local. */
void bal_tensor_get_bytes(const bal_tensor *tensor, const int8_t *bytes, int8_t *row_major);
void bal_tensor_set_bytes(const bal_tensor *tensor, const int8_t *row_major, int8_t *bytes);
/** The same for floats. Local. */
void bal_tensor_get_floats(const bal_tensor *tensor, const float *floats, float *row_major);
void bal_tensor_set_floats(const bal_tensor *tensor, const float *row_major, float *floats);

/** The same for factors, uint8_t [n_rows][n_cols / group, rounded up]; the tensor must have them.
 *  Local. @return (set) BAL_OK; BAL_ERR_INPUT: a factor is outside 1 .. 18 or 1 .. 127. */
void bal_tensor_get_factors(const bal_tensor *tensor, uint8_t *row_major);
bal_status bal_tensor_set_factors(bal_tensor *tensor, const uint8_t *row_major);
/** Groups of columns in a row; 0 without factors. Local. */
static inline int64_t bal_tensor_n_groups(const bal_tensor *tensor)
{
    return tensor->group > 0 ? (tensor->n_cols + tensor->group - 1) / tensor->group : 0;
}
/** Index of the factor of a row and a group of columns. Local. */
static inline int64_t bal_tensor_factor_at(const bal_tensor *tensor, int64_t row, int64_t group)
{
    return (row / BAL_PANEL_ROWS * bal_tensor_n_groups(tensor) + group) * BAL_PANEL_ROWS +
           row % BAL_PANEL_ROWS;
}

/* Slices begin at multiples of so many blocks. */
#define BAL_SLICE_BLOCKS 8

/** The blocks [first, end) that belong to part of n_parts, to write or to hash. They begin at a
 *  multiple of BAL_SLICE_BLOCKS. Local. */
static inline void bal_tensor_slice(const bal_tensor *tensor, int part, int n_parts, int64_t *first,
                                    int64_t *end)
{
    int64_t n = (tensor->n_blocks + BAL_SLICE_BLOCKS - 1) / BAL_SLICE_BLOCKS;
    *first = n * part / n_parts * BAL_SLICE_BLOCKS;
    *end = n * (part + 1) / n_parts * BAL_SLICE_BLOCKS;
    if (*end > tensor->n_blocks) *end = tensor->n_blocks;
}

/** A hash of codes, scales and factors: the sum, modulo 2^64, of the XXH3 of each block, seeded by
 *  index and block, and of those of scales and factors. Local. */
uint64_t bal_tensor_fingerprint(const bal_tensor *tensor, int index);
/** A summand of it: what the blocks of a part add; part 0 has the scales and factors. Local. */
uint64_t bal_tensor_fingerprint_part(const bal_tensor *tensor, int index, int part, int n_parts);

BAL_C_END

#endif
