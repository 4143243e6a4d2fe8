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

/* One step: 64 columns of up to 32 tokens by 32 rows. */
static inline void step(const uint8_t *entries, const int8_t *q, int64_t stride, bool second)
{
    _tile_loadd(6, entries, BAL_BLOCK_CODES);
    _tile_loadd(4, q, stride);
    _tile_dpbsud(0, 4, 6);
    _tile_loadd(7, entries + 64, BAL_BLOCK_CODES);
    _tile_dpbsud(1, 4, 7);
    if (!second) return;
    _tile_loadd(5, q + 16 * stride, stride);
    _tile_dpbsud(2, 5, 6);
    _tile_dpbsud(3, 5, 7);
}

/* From the sums of n tokens by n_rows <= 32 rows to y. */
static inline __attribute__((always_inline)) void finish(int32_t      sums[4][16][16],
                                                         const float *row_scale, int64_t n_rows,
                                                         const bal_rows_i8 *x, int64_t first,
                                                         int64_t n, bool adds, float *y,
                                                         int64_t y_stride)
{
    for (int64_t i = 0; i < n; ++i) {
        int32_t(*of)[16][16] = sums + i / 16 * 2;
        __m512i excess       = _mm512_set1_epi32(128 * x->sum[first + i]);
        __m512  scale        = _mm512_set1_ps(x->scale[first + i]);
        float  *to           = y + (first + i) * y_stride;
        bal_store_scaled(to, n_rows, _mm512_load_si512(of[0][i % 16]), excess, scale, row_scale,
                         adds);
        bal_store_scaled(to + 16, n_rows - 16, _mm512_load_si512(of[1][i % 16]), excess, scale,
                         row_scale + 16, adds);
    }
}

/* n tokens, up to 32, from first on, by the 32 rows from row on. *next: lines to fetch, 4 per
 * group, while *n_left > 0. */
static void block(const bal_weights_u8 *w, int64_t row, const bal_rows_i8 *x, int64_t first,
                  int64_t n, bool adds, float *y, int64_t y_stride, const uint8_t **next,
                  int64_t *n_left)
{
    int32_t        sums[4][16][16] __attribute__((aligned(64)));
    const int8_t  *q       = x->q + first * x->stride;
    const uint8_t *entries = w->entries + 4 * row;
    _tile_zero(0);
    _tile_zero(1);
    if (n > 16) _tile_zero(2);
    if (n > 16) _tile_zero(3);
    for (int64_t at = 0; at < w->n_groups; at += 16) {
        for (int line = 0; line < 8 && *n_left > 0; ++line, --*n_left, *next += 64)
            __builtin_prefetch(*next, 0, 2);
        step(entries + at * BAL_BLOCK_CODES, q + 4 * at, x->stride, n > 16);
    }
    _tile_stored(0, sums[0], 64);
    _tile_stored(1, sums[1], 64);
    if (n > 16) _tile_stored(2, sums[2], 64);
    if (n > 16) _tile_stored(3, sums[3], 64);
    if (w->n_rows - row >= 32 && adds) /* constants, so that no mask or branch is left inside */
        finish(sums, w->scale + row, 32, x, first, n, true, y + row, y_stride);
    else if (w->n_rows - row >= 32)
        finish(sums, w->scale + row, 32, x, first, n, false, y + row, y_stride);
    else
        finish(sums, w->scale + row, w->n_rows - row, x, first, n, adds, y + row, y_stride);
}

static void product_i8(const bal_weights_u8 *w, const bal_rows_i8 *x, bool adds, float *y,
                       int64_t y_stride)
{
    if (x->n_rows < 8) { /* tiles would be nearly empty */
        bal_product_i8_avx512(w, x, adds, y, y_stride);
        return;
    }
    const uint8_t *next       = w->next;
    int64_t        configured = 0, n_left = next != NULL ? 4 * w->n_groups : 0;
    for (int64_t row = 0; row < w->n_rows; row += 32) /* their weights stay in the first cache */
        for (int64_t first = 0; first < x->n_rows; first += 32) {
            int64_t n = x->n_rows - first < 32 ? x->n_rows - first : 32;
            if (n != configured) configure(n < 16 ? n : 16, n > 16 ? n - 16 : 0);
            configured = n;
            block(w, row, x, first, n, adds, y, y_stride, &next, &n_left);
        }
    _tile_release();
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
