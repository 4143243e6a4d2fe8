/* perturb_impl.h: the random streams of this room. */
#ifndef BALLOT_PERTURB_IMPL_H
#define BALLOT_PERTURB_IMPL_H

#include "ballot/perturb.h"

#define PIECE_BLOCKS (BAL_PIECE_CODES / BAL_BLOCK_CODES)
#define BLOCK_BYTES (BAL_BLOCK_CODES / 8) /* of a block's bits */

/* Work is done in spans of 16 pieces, aligned so that 4 lines of Walsh bytes cover a span. */
#define LINE_PIECES 4 /* pieces whose Walsh bytes fill one line */
#define SPAN_PIECES (4 * LINE_PIECES)
#define SPAN_BLOCKS (SPAN_PIECES * PIECE_BLOCKS)
#define SPAN_CODES (SPAN_PIECES * BAL_PIECE_CODES)

/* The second counter word is stream << 24 | tensor, and the third is noted here. A change needs a
 * new BAL_STREAM_VERSION. */
enum {
    STREAM_WALSH_BYTES, /* set; a line per 4 pieces */
    STREAM_WALSH_SIGNS, /* set; a line per piece */
    STREAM_BITS,        /* slot; a line per piece */
    STREAM_UNIFORM,     /* slot; two lines per block, a 16-bit word per code */
    STREAM_MASK,        /* 0; a line per 16 blocks, a 32-bit word per 64 codes */
    STREAM_DRAW,        /* slot; examples of a mini-batch */
    STREAM_WALSH_HIGHS, /* set; second bytes of wide sets, a line per 4 pieces */
    STREAM_CHANCE,      /* 0; four lines per block, a 32-bit word per code */
    STREAM_TURN,        /* 0; one line, of which the first word draws a turn */
};

/** Lines of a random stream, at the measure's step. */
void bal_stream(const bal_measure *measure, int stream, int tensor, uint32_t third, int64_t line,
                int64_t n_lines, uint8_t *out);
/** open[i]: whether quarter i (64 codes) of n_blocks blocks is in the measure. */
void bal_measure_mask(const bal_measure *measure, int tensor, int64_t first_block, int64_t n_blocks,
                      bool *open);

/** Blocks of a tensor that are processed together: n of them, from first on, within a span. */
typedef struct bal_span {
    int64_t first, n;
    int64_t first_piece, n_pieces; /* pieces that hold these blocks */
    bool is_whole;                 /* the pieces hold no other blocks */
} bal_span;
/** The first span of these n_blocks blocks. */
bal_span bal_span_next(int64_t first_block, int64_t n_blocks);
/** The Walsh bytes of a span's pieces, 64 each, from one of their streams; the result points into
 *  lines. */
const uint8_t *bal_walsh_bytes(const bal_measure *measure, int stream, int tensor, uint32_t set,
                               const bal_span *span,
                               uint8_t lines[SPAN_PIECES / LINE_PIECES * BAL_LINE_BYTES]);

#endif
