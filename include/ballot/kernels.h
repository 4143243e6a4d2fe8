/* include/ballot/kernels.h: arithmetic on codes, activations and random streams: a table of
 * functions for each instruction set. Every level gives the same bits as "ref": integer work is
 * exact, and float work has one fixed order. Knows layouts; knows nothing of models or runs. */
#ifndef BALLOT_KERNELS_H
#define BALLOT_KERNELS_H

#include "ballot/quant.h"

BAL_C_BEGIN

/** Levels. AVX512 needs F, BW, DQ, VL and VNNI; AMX needs these, int8 tiles, and leave of the
 *  system to use tiles. */
typedef enum bal_isa { BAL_ISA_REF, BAL_ISA_AVX2, BAL_ISA_AVX512, BAL_ISA_AMX } bal_isa;

#define BAL_LINE_BYTES 256   /* output of 16 Philox counters: word w of lane l is u32 16 w + l */
#define BAL_PIECE_CODES 2048 /* 32 runs of 64 codes, which share 64 random bytes */
#define BAL_PIECE_BYTES 64   /* these bytes */
#define BAL_COLS_MAX 65536   /* columns of a product: 255 * 127 * 65536 stays below 2^31 */
#define BAL_HEAD_DIM_MAX 256 /* width of an attention head */
#define BAL_SCORES(n_keys) (32 * ((n_keys) + 7)) /* floats, 32 queries by all keys, 8 at once */

/** Queries of consecutive tokens of a sequence, and keys and values of its tokens. A row is a
 *  token; all numbers are finite. A query's result does not depend on the other queries here. */
typedef struct bal_attention {
    int64_t n_queries, n_keys;
    int64_t first;  /* position of query 0 among the keys; first + n_queries <= n_keys */
    bool causal;    /* a query sees the keys up to its own, and no later one is read; else all */
    int64_t window; /* if causal, it sees the last `window` of these, its own included; 0: all.
                       Source: sliding windows, Jiang et al. 2023 (Mistral 7B, arXiv 2310.06825) */
    int64_t n_heads, n_kv_heads, head_dim;
    const float *q; /* [n_queries][n_heads * head_dim] */
    const float *k; /* [n_keys][n_kv_heads * head_dim] */
    const float *v; /* the same */
    float *y;       /* as q: softmax(q k / sqrt(head_dim)) v over the keys that a query sees */
    float *scores;  /* work space, [BAL_SCORES(n_keys)] */
} bal_attention;

/** The element-wise function between the two products of a feed-forward layer. */
typedef enum bal_activation {
    BAL_ACT_RELU,      /* max(x, 0) */
    BAL_ACT_GELU,      /* x Phi(x), Phi(x) = (1 + erf(x / sqrt(2))) / 2: Hendrycks & Gimpel 2016,
                          arXiv 1606.08415; Phi to 2e-7 */
    BAL_ACT_GELU_TANH, /* x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2: the same paper */
    BAL_ACT_SILU,      /* x / (1 + exp(-x)): the same paper */
} bal_activation;

/** How the codes of a panel are stored. Products read one form only, the unsigned byte entry + 128,
 *  so all that a format costs is its unpacking. */
typedef enum bal_panel_format {
    BAL_PANEL_I8,  /* a byte, code + 128, code in -127 .. 127; the entry is the code */
    BAL_PANEL_I4,  /* a nibble, code + 8, code in -7 .. 7; the entry is code * factor, factor in
                      0 .. 18; nibbles of 0 pad, and their entries are any */
    BAL_PANEL_NF4, /* a nibble, an index into bal_nf4_book; the entry is (value * factor + 64) >> 7,
                      factor in 0 .. 127 */
} bal_panel_format;

/** A panel: 64 rows of a matrix, in blocks of [64 rows][4 columns], and a move of its codes.
 *  Nibbles j and j + 128 of a block share byte j, the first in the low half. */
typedef struct bal_panel {
    bal_panel_format format;
    int64_t n_blocks;
    const uint8_t *codes;   /* [n_blocks][256] bytes, or [n_blocks][128] pairs of nibbles */
    const uint8_t *factors; /* nibbles: [ceil(n_blocks / factor_blocks)][64 rows] */
    int64_t factor_blocks;  /* 8, 16 or 32: groups of 32, 64 or 128 columns */
    /* z, which is 0 where code + z or code - z would leave the range; as bits or as bytes, the
     * others NULL; all NULL: no move */
    const uint8_t *negative, *moves; /* bits [n_blocks * 32]: z is -1; z is not 0 */
    const uint8_t *other; /* bits as negative, of another z, of the same moves; or NULL */
    const int8_t *z;      /* [n_blocks * 256] */
} bal_panel;

#define BAL_STRIP_BYTES 262144 /* most bytes of a strip of several panels */

/** Rows of the strip that starts at a row of a matrix. A strip is 4, 2 or 1 panels, or what is left
 *  of the matrix: what is best moved and multiplied at once. Both signs of a strip fit a
 *  second-level cache of 1 MiB, while activations stay in the first-level cache. No result depends
 *  on it. */
static inline int64_t bal_strip_rows(int64_t n_rows, int64_t n_blocks, int64_t row)
{
    int64_t bytes = n_blocks * BAL_BLOCK_CODES;
    int64_t n = BAL_PANEL_ROWS * (4 * bytes <= BAL_STRIP_BYTES   ? 4
                                  : 2 * bytes <= BAL_STRIP_BYTES ? 2
                                                                 : 1);
    return n_rows - row < n ? n_rows - row : n;
}

/** Bytes from one row of activations to the next: whole cache lines, but no multiple of 4096, which
 *  would put all rows into one set of the first-level cache. */
static inline int64_t bal_row_stride(int64_t n_cols)
{
    int64_t stride = (n_cols + 63) / 64 * 64;
    return stride % 4096 == 0 ? stride + 64 : stride;
}

/** How many code steps a code moves by rule carry; the remainder stays in *carry. See
 *  bal_kernels.carry. */
static inline int bal_carry_moves(int tally, int multiplier, int shift, int8_t *carry)
{
    int fraction = *carry + ((tally * (1 << shift) * multiplier + (1 << 14)) >> 15);
    int moves = (fraction + 128) >> 8;
    *carry = (int8_t)(fraction - 256 * moves);
    return moves;
}

/** Rows of weights as products read them: panels of 64 rows, one after another. */
typedef struct bal_weights_u8 {
    int64_t n_blocks, n_rows;
    const uint8_t *entries; /* [panel][n_blocks][64 rows][4 columns]; reads may go on to a multiple
                               of 16 blocks after the last panel */
    const float *scale;     /* [n_rows] */
    const uint8_t *next;    /* what the caller reads next, to prefetch */
    int64_t next_bytes;     /* 0: nothing */
} bal_weights_u8;

/** Activations as int8, one row per token. */
typedef struct bal_rows_i8 {
    int64_t n_rows, stride; /* bytes between rows */
    const int8_t *q;        /* zeros up to a multiple of 64 columns */
    const float *scale;     /* [n_rows] */
    const int32_t *sum;     /* [n_rows] of q */
} bal_rows_i8;

/** Sums of exponentials over the part of a row that was read so far. Number i of a piece belongs to
 *  lane i % 16. */
typedef struct bal_exp_sums {
    float top[16], sum[16]; /* per lane: the maximum, and the sum of exp(x - maximum) */
} bal_exp_sums;

/** Kernels that read or write floats, in rows of activations. Each has one order of summation at
 *  every level, so the bits are the same. */
typedef struct bal_lanes {
    /** For each row: scale = max |x| / 127, q = round(x / scale) in -127 .. 127, sum = sum of q. q
     *  is padded with 0 to a multiple of 64 columns; q_stride is a multiple of 64. If max |x| is
     *  below 2^-100, q and scale are 0. If a number is not finite, q is 0 and scale infinity. */
    void (*quantize)(int64_t n_rows, int64_t n_cols, const float *x, int8_t *q, int64_t q_stride,
                     float *scale, int32_t *sum);
    /** rms_norm, then quantize, in one pass. */
    void (*rms_norm_i8)(int64_t n_rows, int64_t n_cols, const float *x, const float *weight,
                        float eps, int8_t *q, int64_t q_stride, float *scale, int32_t *sum);
    /** For each row: y = x / sqrt(mean(x^2) + eps) * weight. Squares are summed in 64 lanes. y may
     *  be x. */
    void (*rms_norm)(int64_t n_rows, int64_t n_cols, const float *x, const float *weight, float eps,
                     float *y);
    /** For each row: y = (x - mean) / sqrt(mean((x - mean)^2) + eps) * weight + bias. Sums run in
     *  64 lanes. y may be x. Source: Ba et al. 2016, arXiv 1607.06450. */
    void (*layer_norm)(int64_t n_rows, int64_t n_cols, const float *x, const float *weight,
                       const float *bias, float eps, float *y);
    /** Rotary positions of n_rows tokens, rows of x [n_heads * head_dim]. Turns the pairs of every
     *  head: (i, i + head_dim / 2) if halves, else (2 i, 2 i + 1). Rows of cosines and signed_sines
     *  [head_dim] have the angle of each element's pair; the sine is negated for the first of a
     *  pair. Source: Su et al. 2021, arXiv 2104.09864. */
    void (*rotate)(int64_t n_rows, int64_t n_heads, int64_t head_dim, bool halves,
                   const float *cosines, const float *signed_sines, float *x);
    /** Attention of one sequence. Sums run over keys in order. */
    void (*attention)(const bal_attention *attention);
    /** Replace each x by its activation; rows are x_stride floats apart. NaN stays NaN; -infinity
     *  gives 0 or a magnitude below 1e-30. */
    void (*activate)(bal_activation kind, int64_t n_rows, int64_t n_cols, float *x,
                     int64_t x_stride);
    /** For each element: gate = gate / (1 + exp(-gate)) * up. Rows are gate_stride and up_stride
     *  floats apart. */
    void (*swiglu)(int64_t n_rows, int64_t n_cols, float *gate, int64_t gate_stride,
                   const float *up, int64_t up_stride);
    /** Sums for cross_entropy. Rows come in pieces of n_cols, so no row need be whole in memory.
     *  The first piece sets sums [n_rows]; the others add to them. Rows of x are x_stride floats
     *  apart. The bits depend on how rows are cut. */
    void (*exp_sums)(int64_t n_rows, int64_t n_cols, const float *x, int64_t x_stride, bool first,
                     bal_exp_sums *sums);
    /** log(sum exp(x)) - target, over the row that sums were made of.
     *  @param target  the row's number at the target
     *  @param is_top  set: no number of the row is larger */
    float (*cross_entropy)(const bal_exp_sums *sums, float target, bool *is_top);
} bal_lanes;

typedef struct bal_kernels {
    const char *name; /* "ref", "avx2", "avx512" or "amx", as checkpoints note it */

    /** Philox4x32-10: n_lines lines from line first on, with counter words (16 line + lane, c1, c2,
     *  c3). out [n_lines * 256] bytes. Source: Salmon et al., SC 2011. */
    void (*philox)(uint64_t key, uint32_t c1, uint32_t c2, uint32_t c3, int64_t first,
                   int64_t n_lines, uint8_t *out);
    /**
     * Signs of a Walsh direction, for n_pieces pieces of 2048 codes. Code j of run k of a piece has
     * the byte x^k b[j] in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1, where b is the piece's 64 bytes.
     * Flips bit 64 k + j of the piece's 256 bytes of negative if slot & that byte has odd parity.
     */
    void (*walsh)(int64_t n_pieces, uint8_t slot, const uint8_t *bytes, uint8_t *negative);
    /** Tally of a Walsh set, of the same pieces and bytes: sums[i] += s_i * table[byte of code i],
     *  where s_i is -1 if bit i of signs is set, else 1. table [256] is the Walsh-Hadamard
     *  transform of 256 votes in -127 .. 127. Fastest if its values lie in -255 .. 255. */
    void (*walsh_sums)(int64_t n_pieces, const int16_t *table, const uint8_t *bytes,
                       const uint8_t *signs, int16_t *sums);
    /** The same for a wide set, whose codes have two bytes each: table [256 * n_high + 1] is looked
     * up at low + 256 (high mod n_high); n_high is a power of 2 up to 256. A last value that does
     * not count ends the table: reads may go that far. */
    void (*walsh_wide_sums)(int64_t n_pieces, int n_high, const int16_t *table, const uint8_t *low,
                            const uint8_t *high, const uint8_t *signs, int16_t *sums);
    /** Tally of n_rows <= 255 independent directions of a piece: sums[i] += votes[r] * z_ri over
     *  all rows r, where z_ri is -1 if bit i of row r is set, else 1. Rows of 256 bytes are
     * row_stride bytes apart. votes are in -127 .. 127 and not 0; fastest for -1 and 1. Sums fit 16
     *  bits. */
    void (*bit_sums)(int64_t n_rows, int64_t row_stride, const int8_t *votes, const uint8_t *rows,
                     int16_t *sums);
    /** z[i] = -1 if bit i is set, else +1. n is a multiple of 64. */
    void (*signs)(int64_t n, const uint8_t *bits, int8_t *z);
    /**
     * Rule carry, for codes in low .. high, -128 <= low < high <= 127, stored as code + 128. Where
     * code - 1 >= low and code + 1 <= high: fraction = carry + round(tally * multiplier *
     * 2^(shift - 15)). The code moves by round(fraction / 256), clamped to low .. high, and carry
     * becomes the remainder, in -128 .. 127. multiplier is odd, in 1 .. 32767, and |tally| << shift
     * is below 2^14. Then 16 bits hold every fraction, and no product is halfway between two
     * integers, so +tally and -tally round alike and nothing drifts. n is a multiple of 64.
     * @return codes that changed
     */
    uint32_t (*carry)(int64_t n, int low, int high, int multiplier, int shift, const int16_t *tally,
                      uint8_t *codes, int8_t *carry);

    /** The entries of a panel at code + z and at code - z, or at code + the other z if there is
     * one, as products read them, [n_blocks * 256] bytes each. minus may be NULL, and is if there
     * is no move. */
    void (*move_panel)(const bal_panel *panel, uint8_t *plus, uint8_t *minus);
    /**
     * y[t][r] = (sum_c x[t][c] * (w[r][c] - 128)) * (x.scale[t] * w.scale[r]) for r < w.n_rows, or
     * y[t][r] plus that if adds. The sum is exact in int32; one rounding to float and two products
     * follow. 4 * n_blocks <= 65536. Rows of y are y_stride floats apart.
     */
    void (*product_i8)(const bal_weights_u8 *w, const bal_rows_i8 *x, bool adds, float *y,
                       int64_t y_stride);

    /** Run n rounds of this level's dot-product instruction on registers alone, enough at once to
     *  hide its latency. No product can be faster. ref: its plain loop.
     *  @return the operations done; a multiplication and an addition count as two */
    int64_t (*dots)(int64_t n);
    bal_lanes lanes;
} bal_kernels;

/** The best level that this processor has. Local. */
bal_isa bal_isa_best(void);
/** The table of a level, which the processor must have. Local. */
const bal_kernels *bal_kernels_at(bal_isa isa);
/** The level of a name; false: there is none of that name. Local. */
bool bal_isa_parse(const char *name, bal_isa *isa);

/** y = x w^T, or y plus that if adds, by BLAS: x [n, n_in], w [n_out, n_in], y [n, n_out]. For
 *  BAL_F32 models, whose last bits may differ between machines. Local. */
void bal_product_f32(int64_t n, int64_t n_in, int64_t n_out, const float *x, const float *w,
                     bool adds, float *y);

/** Exponential, natural logarithm (x > 0), sine and cosine with the same bits on every machine,
 *  which those of the C library do not promise. The relative error is below 1e-12; that of sine and
 *  cosine is absolute, for |x| < 1e6. Local. */
double bal_math_exp(double x);
double bal_math_log(double x);
void bal_math_sincos(double x, double *sine, double *cosine);

BAL_C_END

#endif
