/* tally.c: what a step's votes say of each code: the sum over slots of vote * z. */
#include <stdlib.h>
#include <string.h>

#include "perturb_impl.h"

struct bal_tally {
    int              n_slots, n_groups;
    bal_tally_method method;
    bal_measure      measure;
    int8_t          *votes;     /* [n_slots] */
    int32_t         *transform; /* [n_groups][256] Walsh-Hadamard transform of a group's votes */
};

bal_status bal_tally_create(int n_slots, bal_tally_method method, bal_tally **tally)
{
    bal_tally *t = bal_alloc(1, sizeof *t);
    if (t != NULL) {
        t->n_slots   = n_slots;
        t->n_groups  = (n_slots + BAL_WALSH_SLOTS - 1) / BAL_WALSH_SLOTS;
        t->method    = method;
        t->votes     = bal_alloc((size_t)n_slots, 1);
        t->transform = bal_alloc((size_t)t->n_groups * BAL_WALSH_SLOTS, sizeof *t->transform);
    }
    if (t == NULL || t->votes == NULL || t->transform == NULL) {
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
    free((*tally)->transform);
    free(*tally);
    *tally = NULL;
}

void bal_tally_load(bal_tally *tally, const bal_measure *measure, const int8_t *votes)
{
    tally->measure = *measure;
    memcpy(tally->votes, votes, (size_t)tally->n_slots);
    for (int slot = 0; slot < tally->n_groups * BAL_WALSH_SLOTS; ++slot)
        tally->transform[slot] = slot < tally->n_slots ? votes[slot] : 0;
    for (int group = 0; group < tally->n_groups; ++group) {
        int32_t *x = tally->transform + group * BAL_WALSH_SLOTS;
        for (int apart = 1; apart < BAL_WALSH_SLOTS; apart *= 2)
            for (int i = 0; i < BAL_WALSH_SLOTS; ++i)
                if ((i & apart) == 0) {
                    int32_t a = x[i], b = x[i + apart];
                    x[i]         = a + b;
                    x[i + apart] = a - b;
                }
    }
}

static void add_slots(const bal_tally *tally, int tensor, int64_t first_block, int64_t n_blocks,
                      int32_t *sums)
{
    bal_direction direction = {.measure = tally->measure};
    for (int slot = 0; slot < tally->n_slots; ++slot) {
        int8_t z[PIECE_CODES];
        if (tally->votes[slot] == 0) continue;
        direction.slot = (uint32_t)slot;
        bal_direction_fill(&direction, tensor, first_block, n_blocks, z);
        for (int64_t i = 0; i < n_blocks * BAL_BLOCK_CODES; ++i)
            sums[i] += tally->votes[slot] * z[i];
    }
}

static void add_groups(const bal_tally *tally, int tensor, int64_t first_block, int64_t n_blocks,
                       int32_t *sums)
{
    for (int group = 0; group < tally->n_groups; ++group) {
        const int32_t *table = tally->transform + group * BAL_WALSH_SLOTS;
        uint8_t        bits[BAL_LINE_BYTES], bytes[PIECE_CODES];
        const uint8_t *first_bits = bits + first_block % PIECE_BLOCKS * (BAL_BLOCK_CODES / 8);
        bal_stream(&tally->measure, STREAM_WALSH_SIGNS, tensor, (uint32_t)group,
                   first_block / PIECE_BLOCKS, 1, bits);
        bal_stream(&tally->measure, STREAM_WALSH_BYTES, tensor, (uint32_t)group, first_block,
                   n_blocks, bytes);
        for (int64_t i = 0; i < n_blocks * BAL_BLOCK_CODES; ++i) {
            int32_t minus = -(first_bits[i / 8] >> i % 8 & 1); /* 0 or -1 */
            sums[i] += (table[bytes[i]] ^ minus) - minus;
        }
    }
    if (tally->measure.options.density < 1.0) {
        bool open[4 * PIECE_BLOCKS];
        bal_measure_mask(&tally->measure, tensor, first_block, n_blocks, open);
        for (int64_t i = 0; i < 4 * n_blocks; ++i)
            if (!open[i]) memset(sums + 64 * i, 0, 64 * sizeof *sums);
    }
}

void bal_tally_fill(const bal_tally *tally, int tensor, int64_t first_block, int64_t n_blocks,
                    int32_t *sums)
{
    memset(sums, 0, (size_t)(n_blocks * BAL_BLOCK_CODES) * sizeof *sums);
    if (!tally->measure.on_ballot[tensor]) return;
    bool by_table =
        tally->method == BAL_TALLY_TABLE && tally->measure.options.kind == BAL_DIRECTIONS_WALSH;
    for (int64_t n; n_blocks > 0; first_block += n, n_blocks -= n, sums += n * BAL_BLOCK_CODES) {
        n = PIECE_BLOCKS - first_block % PIECE_BLOCKS;
        if (n > n_blocks) n = n_blocks;
        (by_table ? add_groups : add_slots)(tally, tensor, first_block, n, sums);
    }
}
