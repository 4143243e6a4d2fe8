/* ggml.h: how ggml stores the elements of a tensor: blocks of one or several elements, each with
 * the scales of its own. Source: github.com/ggml-org/ggml, include/ggml.h and src/ggml-quants.c;
 * the values are those of the gguf package, gguf/quants.py. */
#ifndef BALLOT_GGML_H
#define BALLOT_GGML_H

#include "ballot/core.h"

typedef enum bal_ggml_type {
    BAL_GGML_F32 = 0,
    BAL_GGML_F16 = 1,
    BAL_GGML_Q4_0 = 2,
    BAL_GGML_Q4_1 = 3,
    BAL_GGML_Q5_0 = 6,
    BAL_GGML_Q5_1 = 7,
    BAL_GGML_Q8_0 = 8,
    BAL_GGML_Q2_K = 10,
    BAL_GGML_Q3_K = 11,
    BAL_GGML_Q4_K = 12,
    BAL_GGML_Q5_K = 13,
    BAL_GGML_Q6_K = 14,
    BAL_GGML_IQ4_NL = 20,
    BAL_GGML_BF16 = 30
} bal_ggml_type;

/** One of them. */
typedef struct bal_ggml_layout {
    const char *name;
    bal_ggml_type type;
    int n, n_bytes; /* elements and bytes of a block */
    /* The elements of n_blocks blocks; from may have any alignment. */
    void (*read)(const uint8_t *from, int64_t n_blocks, float *values);
} bal_ggml_layout;

/** NULL: a number that has no layout here. */
const bal_ggml_layout *bal_ggml_layout_of(uint32_t type);
/** "F32, F16, ... or BF16": all of them, for messages. */
void bal_ggml_list(char *text, size_t n_bytes);
/** Bytes of n elements, which are whole blocks. */
size_t bal_ggml_bytes(bal_ggml_type type, int64_t n);

/* The readers of the table. */
void bal_ggml_read_f32(const uint8_t *from, int64_t n_blocks, float *values);
void bal_ggml_read_f16(const uint8_t *from, int64_t n_blocks, float *values);
void bal_ggml_read_bf16(const uint8_t *from, int64_t n_blocks, float *values);
void bal_ggml_read_q4_0(const uint8_t *from, int64_t n_blocks, float *values);
void bal_ggml_read_q4_1(const uint8_t *from, int64_t n_blocks, float *values);
void bal_ggml_read_q5_0(const uint8_t *from, int64_t n_blocks, float *values);
void bal_ggml_read_q5_1(const uint8_t *from, int64_t n_blocks, float *values);
void bal_ggml_read_q8_0(const uint8_t *from, int64_t n_blocks, float *values);
void bal_ggml_read_iq4_nl(const uint8_t *from, int64_t n_blocks, float *values);
void bal_ggml_read_q2_k(const uint8_t *from, int64_t n_blocks, float *values);
void bal_ggml_read_q3_k(const uint8_t *from, int64_t n_blocks, float *values);
void bal_ggml_read_q4_k(const uint8_t *from, int64_t n_blocks, float *values);
void bal_ggml_read_q5_k(const uint8_t *from, int64_t n_blocks, float *values);
void bal_ggml_read_q6_k(const uint8_t *from, int64_t n_blocks, float *values);

/** The float of an F16 at from. */
float bal_ggml_half(const uint8_t *from);

/** Write elements as blocks of BAL_GGML_Q8_0 or BAL_GGML_Q4_0, all of them full; bytes
 *  [bal_ggml_bytes]. @return false: a scale is too large for F16. */
bool bal_ggml_quantize(bal_ggml_type type, const float *values, int64_t n, uint8_t *bytes);

#endif
