/* include/ballot/kernels.h: arithmetic on codes, activations and random streams, one table of
 * functions per instruction set. Every level gives the bits of "ref": integer work is exact, float
 * work has one fixed order. Knows layouts; knows nothing of models or runs. */
#ifndef BALLOT_KERNELS_H
#define BALLOT_KERNELS_H

#include "ballot/quant.h"

typedef enum bal_isa { BAL_ISA_REF, BAL_ISA_AVX2, BAL_ISA_AVX512 } bal_isa;

#define BAL_LINE_BYTES 256 /* Philox output of 16 counters; word w of lane l is u32 number 16 w + l */
#define BAL_PIECE_CODES 2048 /* 32 runs of 64 codes, which share 64 random bytes */
#define BAL_PIECE_BYTES 64
#define BAL_COLS_MAX 65536 /* columns of a product: 255 * 128 * 65536 stays below 2^31 */
#define BAL_HEAD_DIM_MAX 256

/** Queries, keys and values of one sequence. Rows are tokens. */
typedef struct bal_attention {
    int64_t      n_tokens, n_heads, n_kv_heads, head_dim;
    const float *q; /* [n_tokens][n_heads * head_dim] */
    const float *k; /* [n_tokens][n_kv_heads * head_dim] */
    const float *v; /* the same */
    float       *y; /* as q: softmax(q k / sqrt(head_dim)) v over tokens up to the query's own */
    float       *scores; /* work space, [16 * (n_tokens + 3)] */
} bal_attention;

typedef struct bal_kernels {
    const char *name; /* "ref", "avx2" or "avx512"; kept in the run record */

    /** Philox4x32-10, n_lines lines from line number first: counter words (16 line + lane, c1, c2,
     *  c3). out [n_lines * 256] bytes. Source: Salmon et al., SC 2011. */
    void (*philox)(uint64_t key, uint32_t c1, uint32_t c2, uint32_t c3, int64_t first,
                   int64_t n_lines, uint8_t *out);
    /**
     * Signs of a Walsh direction, for n_pieces pieces of 2048 codes. Code j of run k of a piece has
     * the byte x^k b[j] in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1, b the piece's 64 of bytes; bit
     * 64 k + j of the piece's 256 bytes of negative is flipped where slot & that byte is odd.
     */
    void (*walsh)(int64_t n_pieces, uint8_t slot, const uint8_t *bytes, uint8_t *negative);
    /** Tally of a Walsh group, of the same pieces and bytes: sums[i] += s_i * table[byte of
     *  code i], s_i = -1 where bit i of signs is set. table [256]: the Walsh-Hadamard transform of
     *  256 votes of -1, 0, 1. */
    void (*walsh_sums)(int64_t n_pieces, const int16_t *table, const uint8_t *bytes,
                       const uint8_t *signs, int16_t *sums);
    /** Tally of n_rows <= 255 independent directions of a piece: sums[i] += votes[r] * z_ri over
     *  rows r, z_ri = -1 where bit i of row r is set. Rows of 256 bytes are row_stride bytes apart;
     *  votes -1 or 1. */
    void (*bit_sums)(int64_t n_rows, int64_t row_stride, const int8_t *votes, const uint8_t *rows,
                     int16_t *sums);
    /** z[i] = -1 where bit i is set, else +1. n a multiple of 64. */
    void (*signs)(int64_t n, const uint8_t *bits, int8_t *z);
    /**
     * Rule carry. Where |code| + 1 <= limit <= 127: fraction = carry + round(tally * multiplier *
     * 2^(shift - 15)), the code moves by round(fraction / 256), kept within the limit, and carry
     * becomes what is left over, in -128 .. 127. codes stand 128 too high. multiplier is odd, in
     * 1 .. 32767, and |tally| << shift below 2^14: then no product is halfway between two integers,
     * so +tally and -tally round alike and nothing drifts, and 16 bits hold every fraction. n a
     * multiple of 64.
     * @return codes that changed
     */
    uint32_t (*carry)(int64_t n, int limit, int multiplier, int shift, const int16_t *tally,
                      uint8_t *codes, int8_t *carry);

    /** Codes of a panel moved both ways where they may: plus = code + z, minus = code - z where
     *  |code| + |z| <= 127, else both are the code. n_groups blocks of [64 rows][4 columns]; sums
     *  [64]: per row the sum over its columns. */
    void (*perturb_panel)(int64_t n_groups, const int8_t *codes, const int8_t *z, int8_t *plus,
                          int8_t *minus, int32_t *plus_sums, int32_t *minus_sums);
    /** sums[64]: per row of a panel the sum over its columns. */
    void (*panel_sums)(int64_t n_groups, const int8_t *codes, int32_t *sums);
    /**
     * y[t][r] = (sum_c (x[t][c] - 128) * panel[r][c]) * (x_scale[t] * row_scale[r]) for r < n_rows
     * <= 64: the sum exact in int32, then one rounding to float and two products.
     * x [n_tokens] rows of x_stride bytes, 4 * n_groups <= 65536 of them used, 128 stands for 0;
     * y rows are y_stride floats apart; sums from one of the two above.
     */
    void (*product_i8)(int64_t n_groups, const int8_t *panel, const int32_t *sums,
                       const float *row_scale, int64_t n_rows, int64_t n_tokens, const uint8_t *x,
                       int64_t x_stride, const float *x_scale, float *y, int64_t y_stride);

    /** Per row: scale = max |x| / 127, q = round(x / scale) + 128; q is padded with 128 to
     *  a multiple of 4 columns. A row of zeros gets scale 0. */
    void (*quantize)(int64_t n_rows, int64_t n_cols, const float *x, uint8_t *q, int64_t q_stride,
                     float *scale);
    /** y = x / sqrt(mean(x^2) + eps) * weight per row. Squares are summed in 16 lanes. */
    void (*rms_norm)(int64_t n_rows, int64_t n_cols, const float *x, const float *weight, float eps,
                     float *y);
    /** Rotary positions: turn the pairs of n_heads heads of one token, (i, i + head_dim / 2) if
     *  halves, else (2 i, 2 i + 1). cosines, signed_sines [head_dim]: of the pair of each element,
     *  the sine negated for the first of the pair. Source: Su et al. 2021. */
    void (*rotate)(int64_t n_heads, int64_t head_dim, bool halves, const float *cosines,
                   const float *signed_sines, float *x);
    /** Causal attention of one sequence; sums run over tokens in order. */
    void (*attention)(const bal_attention *attention);
    /** gate[i] = gate[i] / (1 + exp(-gate[i])) * up[i]. */
    void (*swiglu)(int64_t n, float *gate, const float *up);
    /** x[i] += y[i]. */
    void (*add)(int64_t n, float *x, const float *y);
    /** log(sum exp(x)) - x[target], the sum in 16 lanes; *is_top: x[target] is the maximum. */
    float (*cross_entropy)(int64_t n, const float *x, int64_t target, bool *is_top);
} bal_kernels;

/** The best level that this processor has. Local. */
bal_isa bal_isa_best(void);
/** The table of a level, which the processor must have. Local. */
const bal_kernels *bal_kernels_at(bal_isa isa);
/** Level of a name, or false. Local. */
bool bal_isa_parse(const char *name, bal_isa *isa);

/** y = x w^T: x [n, n_in], w [n_out, n_in], y [n, n_out] float, by BLAS: for BAL_F32 models, where
 *  the last bits may differ between machines. Local. */
void bal_product_f32(int64_t n, int64_t n_in, int64_t n_out, const float *x, const float *w,
                     float *y);

/** Exponential, natural logarithm (x > 0), sine and cosine of the C library may differ in the last
 *  bits between machines; these do not. Relative error below 1e-12 (sine and cosine: absolute, for
 *  |x| < 1e6). Local. */
double bal_math_exp(double x);
double bal_math_log(double x);
void   bal_math_sincos(double x, double *sine, double *cosine);

#endif
