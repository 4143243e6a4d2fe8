/* panel_amx.c: the product with AMX tiles of 16 rows by 64 bytes. A panel can be loaded as tiles as
 * it is: 16 blocks of 4 columns, 256 bytes apart, with 16 rows in each. */
#include <immintrin.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernels_impl.h"
#include "scaled_avx512.h"

/* The operand of ldtilecfg: the shape of each tile. */
typedef struct tile_shapes {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t n_rows[16];
} tile_shapes;

/* A block of up to 16 tokens is wide: tiles 0 to 3 are sums by 64 rows, tile 4 holds the tokens,
 * and 5 to 7 hold rows. A block of more is tall: tiles 0 and 1 are sums of the first 16 tokens by
 * 32 rows, 2 and 3 those of the others, 4 and 5 hold the tokens, and 6 and 7 rows. Either way, four
 * sums at a time hide the latency. */
static bool is_wide(int64_t n) { return n <= 16; }

static void configure(int64_t n)
{
    tile_shapes s = {.palette = 1};
    int64_t first = is_wide(n) ? n : 16, second = is_wide(n) ? n : n - 16;
    for (int tile = 0; tile < 8; ++tile) {
        bool rows = tile >= 6 || (tile == 5 && is_wide(n));
        s.n_rows[tile] = (uint8_t)(rows ? 16 : tile < 2 || tile == 4 ? first : second);
        s.row_bytes[tile] = 64;
    }
    __asm__ volatile("" ::"r"(&s) : "memory"); /* gcc 12 takes the operand for 8 bytes */
    _tile_loadconfig(&s);
}

/* Sums of n tokens, from first on, by rows from row on, that are not yet in y. */
typedef struct block {
    int32_t sums[4][16][16] __attribute__((aligned(64))); /* [tile][token][row] */
    int64_t first, row, n, n_done;
} block;

/* What all blocks of a product have in common. */
typedef struct task {
    const bal_weights_u8 *w;
    const bal_rows_i8 *x;
    bool adds;
    float *y;
    int64_t y_stride;
    const uint8_t *next; /* cache lines to fetch */
    int64_t n_left;      /* how many */
} task;

/* Write tokens of a block, up to end, to y, by n_rows rows in n_tiles tiles each. */
static inline __attribute__((always_inline)) void finish_rows(const task *t, block *b, int64_t end,
                                                              int n_tiles, int64_t n_rows,
                                                              bool adds)
{
    for (; b->n_done < end; ++b->n_done) {
        int64_t i = b->n_done, token = b->first + i;
        __m512i excess = _mm512_set1_epi32(128 * t->x->sum[token]);
        __m512 scale = _mm512_set1_ps(t->x->scale[token]);
        float *to = t->y + token * t->y_stride + b->row;
        for (int tile = 0; tile < n_tiles; ++tile)
            bal_store_scaled(to + 16 * tile, n_rows - 16 * tile,
                             _mm512_load_si512(b->sums[i / 16 * 2 + tile][i % 16]), excess, scale,
                             t->w->scale + b->row + 16 * tile, adds);
    }
}

static void finish(const task *t, block *b, int64_t end)
{
    int n_tiles = is_wide(b->n) ? 4 : 2;
    int64_t n_rows = t->w->n_rows - b->row;
    if (n_tiles == 2 && n_rows >= 32 && t->adds) /* constants, so that all masks go */
        finish_rows(t, b, end, 2, 32, true);
    else if (n_tiles == 2 && n_rows >= 32)
        finish_rows(t, b, end, 2, 32, false);
    else
        finish_rows(t, b, end, n_tiles, n_rows, t->adds);
}

/* 64 columns of a tall block. Weights bypass the first-level cache, where the tokens stay until
 * they have met all rows. */
static inline void step_tall(const uint8_t *entries, const int8_t *q, int64_t stride)
{
    _tile_stream_loadd(6, entries, BAL_BLOCK_CODES);
    _tile_loadd(4, q, stride);
    _tile_dpbsud(0, 4, 6);
    _tile_stream_loadd(7, entries + 64, BAL_BLOCK_CODES);
    _tile_dpbsud(1, 4, 7);
    _tile_loadd(5, q + 16 * stride, stride);
    _tile_dpbsud(2, 5, 6);
    _tile_dpbsud(3, 5, 7);
}

static inline void step_wide(const uint8_t *entries, const int8_t *q, int64_t stride)
{
    _tile_loadd(4, q, stride);
    _tile_stream_loadd(5, entries, BAL_BLOCK_CODES);
    _tile_dpbsud(0, 4, 5);
    _tile_stream_loadd(6, entries + 64, BAL_BLOCK_CODES);
    _tile_dpbsud(1, 4, 6);
    _tile_stream_loadd(7, entries + 128, BAL_BLOCK_CODES);
    _tile_dpbsud(2, 4, 7);
    _tile_stream_loadd(5, entries + 192, BAL_BLOCK_CODES);
    _tile_dpbsud(3, 4, 5);
}

/* The sums of a block. Meanwhile those of the block before are written to y: tiles and vectors use
 * different units. */
static void multiply(task *t, block *b, block *before)
{
    int64_t stride = t->x->stride, n_blocks = t->w->n_blocks;
    const int8_t *q = t->x->q + b->first * stride;
    const uint8_t *entries = t->w->entries + 4 * (b->row % BAL_PANEL_ROWS) +
                             b->row / BAL_PANEL_ROWS * n_blocks * BAL_BLOCK_CODES;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t at = 0; at < n_blocks; at += 16) {
        if (is_wide(b->n))
            step_wide(entries + at * BAL_BLOCK_CODES, q + 4 * at, stride);
        else
            step_tall(entries + at * BAL_BLOCK_CODES, q + 4 * at, stride);
        for (int line = 0; line < 8 && t->n_left > 0; ++line, --t->n_left, t->next += 64)
            __builtin_prefetch(t->next, 0, 2);
        int64_t end = before->n * (at + 16) / n_blocks;
        finish(t, before, end < before->n ? end : before->n);
    }
    _tile_stored(0, b->sums[0], 64);
    _tile_stored(1, b->sums[1], 64);
    _tile_stored(2, b->sums[2], 64);
    _tile_stored(3, b->sums[3], 64);
}

static void product_i8(const bal_weights_u8 *w, const bal_rows_i8 *x, bool adds, float *y,
                       int64_t y_stride)
{
    if (x->n_rows < 8) { /* the tiles would be nearly empty */
        bal_product_i8_avx512(w, x, adds, y, y_stride);
        return;
    }
    task t = {w, x, adds, y, y_stride, w->next, w->next_bytes > 0 ? 4 * w->n_blocks : 0};
    block blocks[2];
    int now = 0;
    int64_t configured = 0;
    blocks[1].n = blocks[1].n_done = 0;
    for (int64_t first = 0, n; first < x->n_rows; first += n) {
        n = x->n_rows - first < 32 ? x->n_rows - first : 32;
        if (n != configured) configure(n);
        configured = n;
        for (int64_t row = 0; row < w->n_rows; row += is_wide(n) ? 64 : 32, now = 1 - now) {
            block *b = &blocks[now];
            b->first = first, b->row = row, b->n = n, b->n_done = 0;
            multiply(&t, b, &blocks[1 - now]);
        }
    }
    _tile_release();
    finish(&t, &blocks[1 - now], blocks[1 - now].n);
}

static int64_t dots(int64_t n)
{
    configure(32);
    for (int64_t i = 0; i < n; ++i) {
        _tile_dpbsud(0, 4, 6);
        _tile_dpbsud(1, 4, 7);
        _tile_dpbsud(2, 5, 6);
        _tile_dpbsud(3, 5, 7);
    }
    _tile_release();
    return n * 4 * 2 * 16 * 16 * 64;
}

bool bal_amx_allowed(void)
{
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 }; /* for arch_prctl; Linux 5.16 and later */
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

void bal_panel_add_amx(bal_kernels *kernels)
{
    (void)bal_amx_allowed(); /* the caller knows that they are; the request itself enables them */
    kernels->product_i8 = product_i8;
    kernels->dots = dots;
}
