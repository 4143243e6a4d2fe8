/* tally.c: what a step's votes say about each code: the sum over slots of vote * z. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "perturb_impl.h"

#define ROWS_MAX 255 /* independent directions that are counted together */
#define SUM_MAX 32767

/* What adds a part of the slots to the sums of whole pieces. */
typedef struct adder {
    int n_slots; /* of a part: few enough for sums of 16 bits */
    void (*add)(const bal_tally *tally, int tensor, const bal_span *span, int part, int16_t *sums);
} adder;

struct bal_tally {
    int n_slots, n_sets;
    bal_tally_method method;
    bal_measure measure;
    adder adder;
    int shift;          /* wide sets: units of 2^shift votes */
    int8_t *votes;      /* [n_slots] */
    int32_t *reach;     /* [n_slots], one per part: the largest possible |sum| */
    int16_t *transform; /* [n_sets][256] Walsh-Hadamard transform of a set's votes; or wide */
    int32_t *sums;      /* [n_wide] work space */
    int n_wide;         /* slots of a wide transform: a power of 2, at least 256 */
    uint8_t *rows;      /* [ROWS_MAX][LINE_PIECES] lines of bits of independent directions */
};

static int n_wide_sets(const bal_tally *tally)
{
    return (tally->n_slots + BAL_WALSH_SLOTS_WIDE - 1) / BAL_WALSH_SLOTS_WIDE;
}

bal_status bal_tally_create(int n_slots, bal_tally_method method, bal_tally **tally)
{
    bal_tally *t = bal_alloc(1, sizeof *t);
    if (t != NULL) {
        t->n_slots = n_slots;
        t->n_sets = (n_slots + BAL_WALSH_SLOTS - 1) / BAL_WALSH_SLOTS;
        t->method = method;
        for (t->n_wide = BAL_WALSH_SLOTS; t->n_wide < n_slots && t->n_wide < BAL_WALSH_SLOTS_WIDE;)
            t->n_wide *= 2;
        t->votes = bal_alloc((size_t)n_slots, 1);
        t->reach = bal_alloc((size_t)n_slots, sizeof *t->reach);
        t->transform = /* not less than narrow ones take; and the value that kernels may read */
            bal_alloc((size_t)n_wide_sets(t) * (size_t)t->n_wide + 1, sizeof *t->transform);
        t->sums = bal_alloc((size_t)t->n_wide, sizeof *t->sums);
        t->rows = bal_alloc(ROWS_MAX * LINE_PIECES, BAL_LINE_BYTES);
    }
    if (t == NULL || t->votes == NULL || t->reach == NULL || t->transform == NULL ||
        t->sums == NULL || t->rows == NULL) {
        bal_tally_destroy(&t);
        return bal_fail(BAL_ERR_MEMORY, "no memory for a tally of %d votes", n_slots);
    }
    *tally = t;
    return BAL_OK;
}

void bal_tally_destroy(bal_tally **tally)
{
    if (*tally == NULL) return;
    free((*tally)->votes);
    free((*tally)->reach);
    free((*tally)->transform);
    free((*tally)->sums);
    free((*tally)->rows);
    free(*tally);
    *tally = NULL;
}

static void add_set(const bal_tally *tally, int tensor, const bal_span *span, int set,
                    int16_t *sums)
{
    _Alignas(64) uint8_t lines[SPAN_PIECES / LINE_PIECES * BAL_LINE_BYTES];
    _Alignas(64) uint8_t signs[SPAN_PIECES * BAL_LINE_BYTES];
    const uint8_t *bytes =
        bal_walsh_bytes(&tally->measure, STREAM_WALSH_BYTES, tensor, (uint32_t)set, span, lines);
    bal_stream(&tally->measure, STREAM_WALSH_SIGNS, tensor, (uint32_t)set, span->first_piece,
               span->n_pieces, signs);
    tally->measure.kernels->walsh_sums(span->n_pieces, tally->transform + set * BAL_WALSH_SLOTS,
                                       bytes, signs, sums);
}

static void add_rows(const bal_tally *tally, int tensor, const bal_span *span, int part,
                     int16_t *sums)
{
    const bal_measure *measure = &tally->measure;
    int first = part * ROWS_MAX;
    int end = tally->n_slots - first < ROWS_MAX ? tally->n_slots : first + ROWS_MAX;
    for (int64_t n, piece = 0; piece < span->n_pieces; piece += n) {
        int8_t votes[ROWS_MAX];
        int64_t n_rows = 0, stride = LINE_PIECES * BAL_LINE_BYTES;
        n = span->n_pieces - piece < LINE_PIECES ? span->n_pieces - piece : LINE_PIECES;
        for (int slot = first; slot < end; ++slot) {
            if (tally->votes[slot] == 0) continue;
            bal_stream(measure, STREAM_BITS, tensor, (uint32_t)slot, span->first_piece + piece, n,
                       tally->rows + n_rows * stride);
            votes[n_rows++] = tally->votes[slot];
        }
        for (int64_t i = 0; i < n; ++i)
            measure->kernels->bit_sums(n_rows, stride, votes, tally->rows + i * BAL_LINE_BYTES,
                                       sums + (piece + i) * BAL_PIECE_CODES);
    }
}

static void add_slot(const bal_tally *tally, int tensor, const bal_span *span, int slot,
                     int16_t *sums)
{
    bal_direction direction = {.measure = tally->measure, .slot = (uint32_t)slot};
    int8_t z[SPAN_CODES];
    if (tally->votes[slot] == 0) return;
    bal_direction_fill(&direction, tensor, span->first_piece * PIECE_BLOCKS,
                       span->n_pieces * PIECE_BLOCKS, z);
    for (int64_t i = 0; i < span->n_pieces * BAL_PIECE_CODES; ++i)
        sums[i] = (int16_t)(sums[i] + tally->votes[slot] * z[i]);
}

static adder best_adder(bal_tally_method method, bal_direction_kind kind)
{
    if (method == BAL_TALLY_TABLE && kind == BAL_DIRECTIONS_WALSH)
        return (adder){BAL_WALSH_SLOTS, add_set};
    if (method == BAL_TALLY_TABLE && kind == BAL_DIRECTIONS_INDEPENDENT)
        return (adder){ROWS_MAX, add_rows};
    return (adder){1, add_slot};
}

/* The Walsh-Hadamard transform of n numbers, a power of 2. */
static void transform(int n, int32_t *x)
{
    for (int apart = 1; apart < n; apart *= 2)
        for (int first = 0; first < n; first += 2 * apart)
            for (int i = first; i < first + apart; ++i) {
                int32_t a = x[i], b = x[i + apart];
                x[i] = a + b;
                x[i + apart] = a - b;
            }
}

/* A set's sum in the tally's units. */
static int16_t in_units(const bal_tally *tally, int32_t sum)
{
    int32_t max = SUM_MAX / n_wide_sets(tally);
    int32_t size = (abs(sum) + (1 << tally->shift >> 1)) >> tally->shift;
    size = size < max ? size : max;
    return (int16_t)(sum < 0 ? -size : size);
}

/* The transforms of all sets of n slots each. */
static void load_sets(bal_tally *tally, int n, bool wide)
{
    for (int first = 0, at = 0; first < tally->n_slots; first += n) {
        for (int i = 0; i < n; ++i)
            tally->sums[i] = first + i < tally->n_slots ? tally->votes[first + i] : 0;
        transform(n, tally->sums);
        for (int i = 0; i < n; ++i)
            tally->transform[at++] =
                wide ? in_units(tally, tally->sums[i]) : (int16_t)tally->sums[i];
    }
}

/* Of one direction that all slots share, the sign that most have voted for. */
static void elect(bal_tally *tally)
{
    int64_t sum = 0;
    for (int slot = 0; slot < tally->n_slots; ++slot) sum += tally->votes[slot];
    memset(tally->votes, 0, (size_t)tally->n_slots);
    tally->votes[0] = (int8_t)((sum > 0) - (sum < 0));
}

void bal_tally_load(bal_tally *tally, const bal_measure *measure, const int8_t *votes, int shift)
{
    bool wide = measure->options.kind == BAL_DIRECTIONS_WALSH_WIDE;
    assert(measure->options.noise >= 1 && measure->options.density > 0.0);
    assert(shift == 0 || wide);
    tally->measure = *measure;
    tally->shift = shift;
    tally->adder = best_adder(tally->method, measure->options.kind);
    memcpy(tally->votes, votes, (size_t)tally->n_slots);
    if (measure->options.kind == BAL_DIRECTIONS_SHARED) elect(tally);
    memset(tally->reach, 0, (size_t)tally->n_slots * sizeof *tally->reach);
    int64_t reach = 0;
    for (int slot = 0; slot < tally->n_slots; ++slot) {
        int largest = abs(tally->votes[slot]) * (int)measure->options.noise;
        tally->reach[slot / tally->adder.n_slots] += largest;
        reach += largest;
    }
    assert(reach <= INT32_MAX);
    if (wide || measure->options.kind == BAL_DIRECTIONS_WALSH)
        load_sets(tally, wide ? tally->n_wide : BAL_WALSH_SLOTS, wide);
}

/* Move sums to total, to which they are added unless they are the first. */
static void move_sums(int64_t n, bool first, int16_t *sums, int32_t *total)
{
    for (int64_t i = 0; i < n; ++i) total[i] = (first ? 0 : total[i]) + sums[i];
    memset(sums, 0, (size_t)n * sizeof *sums);
}

static void add_wide_set(const bal_tally *tally, int tensor, const bal_span *span, int set,
                         int16_t *sums)
{
    const bal_measure *measure = &tally->measure;
    _Alignas(64) uint8_t lines[2][SPAN_PIECES / LINE_PIECES * BAL_LINE_BYTES];
    _Alignas(64) uint8_t signs[SPAN_PIECES * BAL_LINE_BYTES];
    uint32_t third = (uint32_t)set;
    const uint8_t *low =
        bal_walsh_bytes(measure, STREAM_WALSH_BYTES, tensor, third, span, lines[0]);
    const uint8_t *high =
        bal_walsh_bytes(measure, STREAM_WALSH_HIGHS, tensor, third, span, lines[1]);
    bal_stream(measure, STREAM_WALSH_SIGNS, tensor, third, span->first_piece, span->n_pieces,
               signs);
    measure->kernels->walsh_wide_sums(span->n_pieces, tally->n_wide / BAL_WALSH_SLOTS,
                                      tally->transform + (int64_t)set * tally->n_wide, low, high,
                                      signs, sums);
}

/* The same, one direction after another. */
static void add_wide_slots(const bal_tally *tally, int tensor, const bal_span *span, int set,
                           int16_t *sums)
{
    int8_t z[SPAN_CODES];
    int32_t total[SPAN_CODES] = {0};
    int64_t n = span->n_pieces * BAL_PIECE_CODES;
    int first = set * BAL_WALSH_SLOTS_WIDE;
    for (int slot = first; slot < tally->n_slots && slot < first + BAL_WALSH_SLOTS_WIDE; ++slot) {
        bal_direction direction = {.measure = tally->measure, .slot = (uint32_t)slot};
        if (tally->votes[slot] == 0) continue;
        bal_direction_fill(&direction, tensor, span->first_piece * PIECE_BLOCKS,
                           span->n_pieces * PIECE_BLOCKS, z);
        for (int64_t i = 0; i < n; ++i) total[i] += tally->votes[slot] * z[i];
    }
    for (int64_t i = 0; i < n; ++i) sums[i] = (int16_t)(sums[i] + in_units(tally, total[i]));
}

/* Sums of whole pieces of wide sets. */
static void fill_wide(const bal_tally *tally, int tensor, const bal_span *span, int16_t *sums)
{
    memset(sums, 0, (size_t)(span->n_pieces * BAL_PIECE_CODES) * sizeof *sums);
    for (int set = 0; set < n_wide_sets(tally); ++set)
        (tally->method == BAL_TALLY_TABLE ? add_wide_set : add_wide_slots)(tally, tensor, span, set,
                                                                           sums);
}

/* Sums of whole pieces, in 16 bits as long as they fit. */
static void fill_pieces(const bal_tally *tally, int tensor, const bal_span *span, int16_t *sums)
{
    int64_t n = span->n_pieces * BAL_PIECE_CODES;
    int n_parts = (tally->n_slots + tally->adder.n_slots - 1) / tally->adder.n_slots;
    int32_t total[SPAN_CODES], reach = 0; /* the largest possible |sum| in sums */
    bool fits = true;                     /* total is not in use */
    memset(sums, 0, (size_t)n * sizeof *sums);
    for (int part = 0; part < n_parts; ++part) {
        if (reach + tally->reach[part] > SUM_MAX) {
            move_sums(n, fits, sums, total);
            fits = false;
            reach = 0;
        }
        tally->adder.add(tally, tensor, span, part, sums);
        reach += tally->reach[part];
    }
    if (fits) return;
    move_sums(n, false, sums, total);
    for (int64_t i = 0; i < n; ++i)
        sums[i] = (int16_t)(total[i] > SUM_MAX    ? SUM_MAX
                            : total[i] < -SUM_MAX ? -SUM_MAX
                                                  : total[i]);
}

void bal_tally_fill(const bal_tally *tally, int tensor, int64_t first_block, int64_t n_blocks,
                    int16_t *sums)
{
    if (!tally->measure.on_ballot[tensor]) {
        memset(sums, 0, (size_t)(n_blocks * BAL_BLOCK_CODES) * sizeof *sums);
        return;
    }
    while (n_blocks > 0) {
        int16_t whole[SPAN_CODES];
        bal_span span = bal_span_next(first_block, n_blocks);
        int64_t n = span.n * BAL_BLOCK_CODES;
        (tally->measure.options.kind == BAL_DIRECTIONS_WALSH_WIDE ? fill_wide : fill_pieces)(
            tally, tensor, &span, span.is_whole ? sums : whole);
        if (!span.is_whole)
            memcpy(sums, whole + first_block % PIECE_BLOCKS * BAL_BLOCK_CODES,
                   (size_t)n * sizeof *sums);
        if (tally->measure.options.density < 1.0) {
            bool open[4 * SPAN_BLOCKS];
            bal_measure_mask(&tally->measure, tensor, first_block, span.n, open);
            for (int64_t i = 0; i < 4 * span.n; ++i)
                if (!open[i]) memset(sums + 64 * i, 0, 64 * sizeof *sums);
        }
        first_block += span.n, n_blocks -= span.n, sums += n;
    }
}
