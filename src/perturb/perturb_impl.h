/* perturb_impl.h: the random streams of this room. */
#ifndef BALLOT_PERTURB_IMPL_H
#define BALLOT_PERTURB_IMPL_H

#include "ballot/perturb.h"

#define PIECE_BLOCKS (BAL_PIECE_CODES / BAL_BLOCK_CODES)
#define BLOCK_BYTES (BAL_BLOCK_CODES / 8) /* of a block's bits */

/* Work goes in spans of 16 pieces, aligned: 4 lines of Walsh bytes cover them. */
#define LINE_PIECES 4 /* whose Walsh bytes are one line */
#define SPAN_PIECES (4 * LINE_PIECES)
#define SPAN_BLOCKS (SPAN_PIECES * PIECE_BLOCKS)
#define SPAN_CODES (SPAN_PIECES * BAL_PIECE_CODES)

/* Second counter word: stream << 24 | tensor. A change here is a new BAL_STREAM_VERSION. */
enum {
    STREAM_WALSH_BYTES, /* third word: set; a line per 4 pieces */
    STREAM_WALSH_SIGNS, /* set; a line per piece */
    STREAM_BITS,        /* slot; a line per piece */
    STREAM_UNIFORM,     /* slot; two lines per block, a 16-bit word per code */
    STREAM_MASK,        /* 0; a line per 16 blocks, a 32-bit word per 64 codes */
    STREAM_DRAW,        /* slot; examples of a mini-batch */
};

/** Lines of a stream of the measure's step. */
void bal_stream(const bal_measure *measure, int stream, int tensor, uint32_t third, int64_t line,
                int64_t n_lines, uint8_t *out);
/** open[i]: quarter i, 64 codes, of n_blocks blocks is in the measure. */
void bal_measure_mask(const bal_measure *measure, int tensor, int64_t first_block, int64_t n_blocks,
                      bool *open);

/** Blocks of a tensor that are worked on together: n of them from first on, within a span. */
typedef struct bal_span {
    int64_t first, n;
    int64_t first_piece, n_pieces; /* that hold these blocks */
    bool is_whole;                 /* and no others */
} bal_span;
/** The first span of n_blocks blocks. */
bal_span bal_span_next(int64_t first_block, int64_t n_blocks);
/** Walsh bytes of a span's pieces, 64 each: where they stand in lines. */
const uint8_t *bal_walsh_bytes(const bal_measure *measure, int tensor, uint32_t set,
                               const bal_span *span,
                               uint8_t lines[SPAN_PIECES / LINE_PIECES * BAL_LINE_BYTES]);

#endif
