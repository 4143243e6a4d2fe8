/* perturb_impl.h: the random streams of this room. */
#ifndef BALLOT_PERTURB_IMPL_H
#define BALLOT_PERTURB_IMPL_H

#include "ballot/perturb.h"

/* Work goes in pieces of 8 blocks, aligned: one line of bits covers them. */
#define PIECE_BLOCKS 8
#define PIECE_CODES  (PIECE_BLOCKS * BAL_BLOCK_CODES)

/* Second counter word: stream << 24 | tensor. A change here is a new BAL_STREAM_VERSION. */
enum {
    STREAM_WALSH_BYTES, /* third word: group; a line per block */
    STREAM_WALSH_SIGNS, /* group; a line per 8 blocks */
    STREAM_BITS,        /* slot; a line per 8 blocks */
    STREAM_UNIFORM,     /* slot; two lines per block, a 16-bit word per code */
    STREAM_MASK,        /* 0; a line per 16 blocks, a 32-bit word per 64 codes */
    STREAM_DRAW,        /* slot; examples of a mini-batch */
};

/** Lines of a stream of the measure's step. */
void bal_stream(const bal_measure *measure, int stream, int tensor, uint32_t third, int64_t line,
                int64_t n_lines, uint8_t *out);
/** open[i]: 64-code group i of n_blocks blocks is in the measure. */
void bal_measure_mask(const bal_measure *measure, int tensor, int64_t first_block, int64_t n_blocks,
                      bool *open);

#endif
