/* panel_amx.c: the product with AMX tiles of 16 rows by 64 bytes. A panel's layout is that of a
 * tile as it stands: 16 groups of 4 columns, 256 bytes apart, 16 rows in each. */
#include <immintrin.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernels_impl.h"
#include "scaled_avx512.h"

/* Tiles 0 to 3: sums of two blocks of tokens by two of rows; 4, 5: tokens; 6, 7: rows. */
typedef struct tile_shapes {
    uint8_t  palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t  n_rows[16];
} tile_shapes;

/* n_first tokens in the first block, n_second in the second, each up to 16. */
static void configure(int64_t n_first, int64_t n_second)
{
    tile_shapes s = {.palette = 1};
    for (int tile = 0; tile < 8; ++tile) {
        bool second       = tile == 2 || tile == 3 || tile == 5;
        s.n_rows[tile]    = (uint8_t)(tile >= 6 ? 16 : second ? n_second : n_first);
        s.row_bytes[tile] = s.n_rows[tile] > 0 ? 64 : 0;
    }
    __asm__ volatile("" ::"r"(&s) : "memory"); /* gcc 12 thinks that 8 bytes of it are read */
    _tile_loadconfig(&s);
}

/* Sums of up to 32 tokens, from first on, by 32 rows, from row on, that are not in y yet. */
typedef struct block {
    int32_t sums[4][16][16] __attribute__((aligned(64))); /* [tile][token][row] */
    int64_t first, row, n, n_done;
} block;

/* What all blocks of a product have in common. */
typedef struct task {
    const bal_weights_u8 *w;
    const bal_rows_i8    *x;
    bool                  adds;
    float                *y;
    int64_t               y_stride;
    const uint8_t        *next;   /* lines to fetch, */
    int64_t               n_left; /* so many */
} task;

/* Tokens of a block up to end to y, by n_rows <= 32 rows. */
static inline __attribute__((always_inline)) void finish_rows(const task *t, block *b, int64_t end,
                                                              int64_t n_rows, bool adds)
{
    const float *row_scale = t->w->scale + b->row;
    for (; b->n_done < end; ++b->n_done) {
        int64_t i = b->n_done, token = b->first + i;
        int32_t(*of)[16][16] = b->sums + i / 16 * 2;
        __m512i excess       = _mm512_set1_epi32(128 * t->x->sum[token]);
        __m512  scale        = _mm512_set1_ps(t->x->scale[token]);
        float  *to           = t->y + token * t->y_stride + b->row;
        bal_store_scaled(to, n_rows, _mm512_load_si512(of[0][i % 16]), excess, scale, row_scale,
                         adds);
        bal_store_scaled(to + 16, n_rows - 16, _mm512_load_si512(of[1][i % 16]), excess, scale,
                         row_scale + 16, adds);
    }
}

static void finish(const task *t, block *b, int64_t end)
{
    int64_t n_rows = t->w->n_rows - b->row;
    if (n_rows >= 32 && t->adds) /* constants, so that no mask or branch is left inside */
        finish_rows(t, b, end, 32, true);
    else if (n_rows >= 32)
        finish_rows(t, b, end, 32, false);
    else
        finish_rows(t, b, end, n_rows, t->adds);
}

/* The sums of a block; those of the block before go to y meanwhile: tiles and vectors are worked on
 * by different units. */
static void multiply(task *t, block *b, block *before)
{
    int64_t        stride = t->x->stride, n_groups = t->w->n_groups;
    const int8_t  *q       = t->x->q + b->first * stride;
    const uint8_t *entries = t->w->entries + 4 * b->row;
    bool           second  = b->n > 16;
    _tile_zero(0);
    _tile_zero(1);
    if (second) _tile_zero(2);
    if (second) _tile_zero(3);
    for (int64_t at = 0; at < n_groups; at += 16) {
        const uint8_t *from = entries + at * BAL_BLOCK_CODES;
        _tile_loadd(6, from, BAL_BLOCK_CODES);
        _tile_loadd(4, q + 4 * at, stride);
        _tile_dpbsud(0, 4, 6);
        _tile_loadd(7, from + 64, BAL_BLOCK_CODES);
        _tile_dpbsud(1, 4, 7);
        if (second) {
            _tile_loadd(5, q + 16 * stride + 4 * at, stride);
            _tile_dpbsud(2, 5, 6);
            _tile_dpbsud(3, 5, 7);
        }
        for (int line = 0; line < 8 && t->n_left > 0; ++line, --t->n_left, t->next += 64)
            __builtin_prefetch(t->next, 0, 2);
        int64_t end = before->n * (at + 16) / n_groups;
        finish(t, before, end < before->n ? end : before->n);
    }
    _tile_stored(0, b->sums[0], 64);
    _tile_stored(1, b->sums[1], 64);
    if (second) _tile_stored(2, b->sums[2], 64);
    if (second) _tile_stored(3, b->sums[3], 64);
}

static void product_i8(const bal_weights_u8 *w, const bal_rows_i8 *x, bool adds, float *y,
                       int64_t y_stride)
{
    if (x->n_rows < 8) { /* tiles would be nearly empty */
        bal_product_i8_avx512(w, x, adds, y, y_stride);
        return;
    }
    task    t = {w, x, adds, y, y_stride, w->next, w->next != NULL ? 4 * w->n_groups : 0};
    block   blocks[2];
    int     now        = 0;
    int64_t configured = 0;
    blocks[1].n = blocks[1].n_done = 0;
    for (int64_t first = 0; first < x->n_rows; first += 32)
        for (int64_t row = 0; row < w->n_rows; row += 32, now = 1 - now) {
            int64_t n = x->n_rows - first < 32 ? x->n_rows - first : 32;
            block  *b = &blocks[now];
            b->first = first, b->row = row, b->n = n, b->n_done = 0;
            if (n != configured) configure(n < 16 ? n : 16, n > 16 ? n - 16 : 0);
            configured = n;
            multiply(&t, b, &blocks[1 - now]);
        }
    _tile_release();
    finish(&t, &blocks[1 - now], blocks[1 - now].n);
}

static int64_t dots(int64_t n)
{
    configure(16, 16);
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
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 }; /* of arch_prctl; Linux 5.16 and later */
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

void bal_panel_add_amx(bal_kernels *kernels)
{
    (void)
        bal_amx_allowed(); /* the caller knows that it is; asking is what lets the tiles be used */
    kernels->product_i8 = product_i8;
    kernels->dots       = dots;
}
