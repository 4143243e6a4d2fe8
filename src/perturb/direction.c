/* direction.c: random streams, the measure, directions. */
#include <assert.h>
#include <string.h>

#include "perturb_impl.h"

bal_perturb_options bal_perturb_options_default(void)
{
    return (bal_perturb_options){.kind = BAL_DIRECTIONS_WALSH, .noise = 1, .density = 1.0};
}

void bal_stream(const bal_measure *measure, int stream, int tensor, uint32_t third, int64_t line,
                int64_t n_lines, uint8_t *out)
{
    assert(tensor >= 0 && tensor < 1 << 24);
    measure->kernels->philox(measure->seed, (uint32_t)stream << 24 | (uint32_t)tensor, third,
                             measure->step, line, n_lines, out);
}

void bal_measure_mask(const bal_measure *measure, int tensor, int64_t first_block, int64_t n_blocks,
                      bool *open)
{
    uint64_t bound = (uint64_t)(measure->options.density * 4294967296.0);
    uint32_t words[64];
    for (int64_t i = 0; i < 4 * n_blocks; ++i) {
        int64_t group = 4 * first_block + i;
        if (i == 0 || group % 64 == 0)
            bal_stream(measure, STREAM_MASK, tensor, 0, group / 64, 1, (uint8_t *)words);
        open[i] = words[group % 64] < bound;
    }
}

static void fill_uniform(const bal_direction *direction, int tensor, int64_t first_block,
                         int64_t n_blocks, int8_t *z)
{
    uint32_t n_values = 2 * (uint32_t)direction->measure.options.noise + 1;
    for (int64_t block = 0; block < n_blocks; ++block, z += BAL_BLOCK_CODES) {
        uint16_t words[BAL_BLOCK_CODES];
        bal_stream(&direction->measure, STREAM_UNIFORM, tensor, direction->slot,
                   2 * (first_block + block), 2, (uint8_t *)words);
        for (int i = 0; i < BAL_BLOCK_CODES; ++i)
            z[i] =
                (int8_t)((int32_t)(words[i] * n_values >> 16) - (int32_t)direction->measure.options.noise);
    }
}

/* At most PIECE_BLOCKS blocks within one aligned piece. */
static void fill_piece(const bal_direction *direction, int tensor, int64_t first_block,
                       int64_t n_blocks, int8_t *z)
{
    const bal_measure *measure = &direction->measure;
    int64_t            n = n_blocks * BAL_BLOCK_CODES, line = first_block / PIECE_BLOCKS;
    uint8_t            bits[BAL_LINE_BYTES], bytes[PIECE_CODES];
    const uint8_t     *first_bits = bits + first_block % PIECE_BLOCKS * (BAL_BLOCK_CODES / 8);
    uint32_t           group      = direction->slot / BAL_WALSH_SLOTS;
    switch (measure->options.kind) {
        case BAL_DIRECTIONS_WALSH:
            bal_stream(measure, STREAM_WALSH_SIGNS, tensor, group, line, 1, bits);
            bal_stream(measure, STREAM_WALSH_BYTES, tensor, group, first_block, n_blocks, bytes);
            measure->kernels->walsh(n, (uint8_t)(direction->slot % BAL_WALSH_SLOTS), bytes,
                                    first_bits, z);
            break;
        case BAL_DIRECTIONS_INDEPENDENT:
            bal_stream(measure, STREAM_BITS, tensor, direction->slot, line, 1, bits);
            measure->kernels->signs(n, first_bits, z);
            break;
        case BAL_DIRECTIONS_UNIFORM:
            fill_uniform(direction, tensor, first_block, n_blocks, z);
            break;
    }
    if (measure->options.density < 1.0) {
        bool open[4 * PIECE_BLOCKS];
        bal_measure_mask(measure, tensor, first_block, n_blocks, open);
        for (int64_t i = 0; i < 4 * n_blocks; ++i)
            if (!open[i]) memset(z + 64 * i, 0, 64);
    }
}

void bal_direction_fill(const bal_direction *direction, int tensor, int64_t first_block,
                        int64_t n_blocks, int8_t *z)
{
    if (!direction->measure.on_ballot[tensor]) {
        memset(z, 0, (size_t)(n_blocks * BAL_BLOCK_CODES));
        return;
    }
    for (int64_t n; n_blocks > 0; first_block += n, n_blocks -= n, z += n * BAL_BLOCK_CODES) {
        n = PIECE_BLOCKS - first_block % PIECE_BLOCKS;
        if (n > n_blocks) n = n_blocks;
        fill_piece(direction, tensor, first_block, n, z);
    }
}

void bal_direction_bits(const bal_direction *direction, int tensor, int64_t first_block,
                        int64_t n_blocks, uint8_t *negative, uint8_t *moves)
{
    for (int64_t block = 0; block < n_blocks; ++block) {
        int8_t z[BAL_BLOCK_CODES];
        bal_direction_fill(direction, tensor, first_block + block, 1, z);
        memset(negative + 32 * block, 0, 32);
        memset(moves + 32 * block, 0, 32);
        for (int i = 0; i < BAL_BLOCK_CODES; ++i) {
            negative[32 * block + i / 8] |= (uint8_t)((z[i] < 0) << i % 8);
            moves[32 * block + i / 8] |= (uint8_t)((z[i] != 0) << i % 8);
        }
    }
}

void bal_draw_words(const bal_kernels *kernels, uint64_t seed, uint32_t step, uint32_t slot,
                    uint32_t *words_256)
{
    kernels->philox(seed, (uint32_t)STREAM_DRAW << 24, slot, step, 0, 4, (uint8_t *)words_256);
}
