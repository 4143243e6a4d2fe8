/* direction.c: random streams, the measure, directions. */
#include <assert.h>
#include <string.h>

#include "perturb_impl.h"

void bal_stream(const bal_measure *measure, int stream, int tensor, uint32_t third, int64_t line,
                int64_t n_lines, uint8_t *out)
{
    assert(tensor >= 0 && tensor < 1 << 24);
    measure->kernels->philox(measure->seed, (uint32_t)stream << 24 | (uint32_t)tensor, third,
                             measure->step, line, n_lines, out);
}

bal_measure bal_measure_at(bal_measure measure, int64_t step)
{
    const bal_rota *rota = measure.rota;
    measure.step = (uint32_t)step;
    if (rota == NULL) return measure;
    int64_t turn = step % rota->n;
    if (rota->by_chance) {
        uint32_t words[BAL_LINE_BYTES / sizeof(uint32_t)];
        bal_stream(&measure, STREAM_TURN, 0, 0, 0, 1, (uint8_t *)words);
        turn = (int64_t)((uint64_t)words[0] * (uint64_t)rota->n >> 32);
    }
    measure.on_ballot = rota->turn + turn * rota->n_tensors;
    return measure;
}

const uint8_t *bal_walsh_bytes(const bal_measure *measure, int stream, int tensor, uint32_t set,
                               const bal_span *span,
                               uint8_t lines[SPAN_PIECES / LINE_PIECES * BAL_LINE_BYTES])
{
    int64_t first = span->first_piece / LINE_PIECES;
    int64_t last = (span->first_piece + span->n_pieces - 1) / LINE_PIECES;
    bal_stream(measure, stream, tensor, set, first, last - first + 1, lines);
    return lines + span->first_piece % LINE_PIECES * BAL_PIECE_BYTES;
}

void bal_measure_mask(const bal_measure *measure, int tensor, int64_t first_block, int64_t n_blocks,
                      bool *open)
{
    uint64_t bound = (uint64_t)(measure->options.density * 4294967296.0);
    uint32_t words[64];
    for (int64_t i = 0; i < 4 * n_blocks; ++i) {
        int64_t quarter = 4 * first_block + i;
        if (i == 0 || quarter % 64 == 0)
            bal_stream(measure, STREAM_MASK, tensor, 0, quarter / 64, 1, (uint8_t *)words);
        open[i] = words[quarter % 64] < bound;
    }
}

bal_span bal_span_next(int64_t first_block, int64_t n_blocks)
{
    bal_span span = {.first = first_block, .n = SPAN_BLOCKS - first_block % SPAN_BLOCKS};
    span.n = span.n < n_blocks ? span.n : n_blocks;
    span.first_piece = first_block / PIECE_BLOCKS;
    span.n_pieces = (first_block + span.n - 1) / PIECE_BLOCKS - span.first_piece + 1;
    span.is_whole = span.n == span.n_pieces * PIECE_BLOCKS;
    return span;
}

/* Signs of whole pieces of n slots of a Walsh set, from slot on: a line for each piece. */
static void fill_walsh(const bal_measure *measure, uint32_t slot, int n, int tensor,
                       const bal_span *span, uint8_t *const negative[])
{
    bool wide = measure->options.kind == BAL_DIRECTIONS_WALSH_WIDE;
    assert(wide || measure->options.kind == BAL_DIRECTIONS_WALSH);
    _Alignas(64) uint8_t lines[SPAN_PIECES / LINE_PIECES * BAL_LINE_BYTES];
    uint32_t set = slot / (wide ? BAL_WALSH_SLOTS_WIDE : BAL_WALSH_SLOTS);
    bal_stream(measure, STREAM_WALSH_SIGNS, tensor, set, span->first_piece, span->n_pieces,
               negative[0]);
    for (int i = 1; i < n; ++i)
        memcpy(negative[i], negative[0], (size_t)(span->n_pieces * BAL_LINE_BYTES));
    const uint8_t *bytes = bal_walsh_bytes(measure, STREAM_WALSH_BYTES, tensor, set, span, lines);
    for (uint32_t i = 0; i < (uint32_t)n; ++i)
        measure->kernels->walsh(span->n_pieces, (uint8_t)(slot + i), bytes, negative[i]);
    if (!wide || slot + (uint32_t)n - 1 < BAL_WALSH_SLOTS) return;
    bytes = bal_walsh_bytes(measure, STREAM_WALSH_HIGHS, tensor, set, span, lines);
    for (uint32_t i = 0; i < (uint32_t)n; ++i)
        measure->kernels->walsh(span->n_pieces, (uint8_t)((slot + i) >> 8), bytes, negative[i]);
}

/* The same of one slot, or of it and the next. */
static void fill_signs(const bal_direction *direction, int n, int tensor, const bal_span *span,
                       uint8_t *const negative[])
{
    const bal_measure *measure = &direction->measure;
    bool shared = measure->options.kind == BAL_DIRECTIONS_SHARED;
    bool independent = measure->options.kind == BAL_DIRECTIONS_INDEPENDENT || shared;
    bool apart = n > 1 && (direction->slot + 1) % BAL_WALSH_SLOTS == 0; /* perhaps two sets */
    if (!independent && !apart) {
        fill_walsh(measure, direction->slot, n, tensor, span, negative);
        return;
    }
    for (int i = 0; i < n; ++i)
        if (independent)
            bal_stream(measure, STREAM_BITS, tensor, shared ? 0 : direction->slot + (uint32_t)i,
                       span->first_piece, span->n_pieces, negative[i]);
        else
            fill_walsh(measure, direction->slot + (uint32_t)i, 1, tensor, span, negative + i);
}

/* Close the quarters of blocks that the measure leaves out, the same for n slots. */
static void close_quarters(const bal_measure *measure, int n, int tensor, const bal_span *span,
                           uint8_t *const negative[], uint8_t *moves)
{
    bool open[4 * SPAN_BLOCKS];
    bal_measure_mask(measure, tensor, span->first, span->n, open);
    for (int64_t i = 0; i < 4 * span->n; ++i)
        if (!open[i]) {
            for (int slot = 0; slot < n; ++slot) memset(negative[slot] + 8 * i, 0, 8);
            memset(moves + 8 * i, 0, 8);
        }
}

void bal_direction_bits(const bal_direction *direction, int tensor, int64_t first_block,
                        int64_t n_blocks, uint8_t *negative, uint8_t *moves)
{
    bool on_ballot = direction->measure.on_ballot[tensor];
    int n = direction->n_one_sided == 2 ? 2 : 1;
    int64_t n_bytes = n_blocks * BLOCK_BYTES, apart = n > 1 ? n_bytes : 0; /* slot to slot */
    memset(moves, on_ballot ? 0xFF : 0, (size_t)n_bytes);
    if (!on_ballot) memset(negative, 0, (size_t)(n * n_bytes));
    while (on_ballot && n_blocks > 0) {
        uint8_t whole[2][SPAN_PIECES * BAL_LINE_BYTES];
        bal_span span = bal_span_next(first_block, n_blocks);
        uint8_t *const parts[2] = {whole[0], whole[1]}, *const bits[2] = {negative,
                                                                          negative + apart};
        fill_signs(direction, n, tensor, &span, span.is_whole ? bits : parts);
        for (int i = 0; i < n && !span.is_whole; ++i)
            memcpy(bits[i], parts[i] + first_block % PIECE_BLOCKS * BLOCK_BYTES,
                   (size_t)(span.n * BLOCK_BYTES));
        if (direction->measure.options.density < 1.0)
            close_quarters(&direction->measure, n, tensor, &span, bits, moves);
        first_block += span.n, n_blocks -= span.n;
        negative += span.n * BLOCK_BYTES, moves += span.n * BLOCK_BYTES;
    }
}

static void fill_uniform(const bal_direction *direction, int tensor, const bal_span *span,
                         int8_t *z)
{
    uint32_t noise = (uint32_t)direction->measure.options.noise, n_values = 2 * noise + 1;
    for (int64_t block = 0; block < span->n; ++block, z += BAL_BLOCK_CODES) {
        uint16_t words[BAL_BLOCK_CODES];
        bal_stream(&direction->measure, STREAM_UNIFORM, tensor, direction->slot,
                   2 * (span->first + block), 2, (uint8_t *)words);
        for (int i = 0; i < BAL_BLOCK_CODES; ++i)
            z[i] = (int8_t)((int32_t)(words[i] * n_values >> 16) - (int32_t)noise);
    }
}

void bal_direction_fill(const bal_direction *direction, int tensor, int64_t first_block,
                        int64_t n_blocks, int8_t *z)
{
    const bal_measure *measure = &direction->measure;
    bal_direction own = {.measure = *measure, .slot = direction->slot};
    if (!measure->on_ballot[tensor]) memset(z, 0, (size_t)(n_blocks * BAL_BLOCK_CODES));
    while (measure->on_ballot[tensor] && n_blocks > 0) {
        uint8_t negative[SPAN_CODES / 8], moves[SPAN_CODES / 8];
        bal_span span = bal_span_next(first_block, n_blocks);
        int64_t n = span.n * BAL_BLOCK_CODES;
        if (measure->options.kind == BAL_DIRECTIONS_UNIFORM) {
            fill_uniform(direction, tensor, &span, z);
            memset(moves, 0xFF, sizeof moves);
            if (measure->options.density < 1.0)
                close_quarters(measure, 1, tensor, &span, (uint8_t *const[]){negative}, moves);
        } else {
            bal_direction_bits(&own, tensor, first_block, span.n, negative, moves);
            measure->kernels->signs(n, negative, z);
        }
        for (int64_t i = 0; i < n; i += 64)
            if (moves[i / 8] == 0) memset(z + i, 0, 64);
        first_block += span.n, n_blocks -= span.n, z += n;
    }
}

void bal_chance_words(const bal_measure *measure, int tensor, int64_t block, uint32_t *words_256)
{
    bal_stream(measure, STREAM_CHANCE, tensor, 0, 4 * block, 4, (uint8_t *)words_256);
}

void bal_draw_words(const bal_kernels *kernels, uint64_t seed, uint32_t step, uint32_t slot,
                    uint32_t *words_256)
{
    kernels->philox(seed, (uint32_t)STREAM_DRAW << 24, slot, step, 0, 4, (uint8_t *)words_256);
}
