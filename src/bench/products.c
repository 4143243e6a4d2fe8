/* products.c: the rate of products by shape and format, and what moving the codes adds. */
#include <stdlib.h>

#include "ballot/perturb.h"
#include "bench_impl.h"

enum { N_FORMATS = 3, FACTOR_BLOCKS = 16 /* of 64 columns */ };

typedef struct work {
    const bal_kernels *kernels;
    int64_t n, n_blocks;
    bal_direction direction;
    bal_rows_i8 x;
    uint8_t *codes[N_FORMATS], *factors[N_FORMATS], *negative, *moves, *plus, *minus;
    float *row_scale, *y;
} work;

/* One pass over the codes as they are, or a pair: one at + and one at -. */
static void pass(const work *w, bal_panel_format format, bool moved)
{
    bool bytes = format == BAL_PANEL_I8;
    int64_t factors = ((w->n_blocks - 1) / FACTOR_BLOCKS + 1) * BAL_PANEL_ROWS;
    int64_t panel_bytes = w->n_blocks * BAL_BLOCK_CODES;
    for (int64_t row = 0, n_rows; row < w->n; row += n_rows) {
        n_rows = bal_strip_rows(w->n, w->n_blocks, row);
        const uint8_t *codes =
            w->codes[format] + row / BAL_PANEL_ROWS * panel_bytes / (bytes ? 1 : 2);
        for (int64_t at = 0; at < n_rows && (moved || !bytes); at += BAL_PANEL_ROWS) {
            int64_t p = (row + at) / BAL_PANEL_ROWS, to = at / BAL_PANEL_ROWS * panel_bytes;
            bal_panel panel = {.format = format,
                               .n_blocks = w->n_blocks,
                               .codes = codes + to / (bytes ? 1 : 2),
                               .factors = w->factors[format] + p * factors,
                               .factor_blocks = FACTOR_BLOCKS};
            if (moved) {
                bal_direction_bits(&w->direction, 0, p * w->n_blocks, w->n_blocks, w->negative,
                                   w->moves);
                panel.negative = w->negative;
                panel.moves = w->moves;
            }
            w->kernels->move_panel(&panel, w->plus + to, moved ? w->minus + to : NULL);
        }
        const uint8_t *sides[] = {bytes && !moved ? codes : w->plus, w->minus};
        for (int side = 0; side < (moved ? 2 : 1); ++side) {
            bool last = side == (moved ? 1 : 0);
            int64_t n_bytes = n_rows * 4 * w->n_blocks / (bytes ? 1 : 2);
            bal_weights_u8 weights = {w->n_blocks,        n_rows,          sides[side],
                                      w->row_scale + row, codes + n_bytes, last ? n_bytes : 0};
            w->kernels->product_i8(&weights, &w->x, false, w->y + row, w->n);
        }
    }
}

/* Seconds of a pass, from as many passes as take a few milliseconds. */
static double time_pass(const work *w, bal_panel_format format, bool moved)
{
    int n = 0;
    double start = bal_cpu_seconds(), seconds;
    do {
        pass(w, format, moved);
        ++n;
        seconds = bal_cpu_seconds() - start;
    } while (seconds < 4e-3);
    return seconds / n;
}

static bal_status init(work *w, int64_t m, int64_t n, int64_t k)
{
    int64_t n_panels = (n + BAL_PANEL_ROWS - 1) / BAL_PANEL_ROWS, width = (k + 63) / 64 * 64;
    int64_t n_codes = n_panels * w->n_blocks * BAL_BLOCK_CODES, panel = width / 4 * BAL_BLOCK_CODES;
    int64_t factors = ((w->n_blocks - 1) / FACTOR_BLOCKS + 1) * BAL_PANEL_ROWS * n_panels;
    int64_t stride = bal_row_stride(k);
    float *x = bal_alloc((size_t)k, sizeof *x), *scale = bal_alloc((size_t)m, sizeof *scale);
    int8_t *q = bal_alloc((size_t)(m * stride), 1);
    int32_t *sum = bal_alloc((size_t)m, sizeof *sum);
    w->x = (bal_rows_i8){m, stride, q, scale, sum};
    for (int format = 0; format < N_FORMATS; ++format) {
        w->codes[format] = bal_alloc((size_t)n_codes + 4096, 1);
        w->factors[format] = bal_alloc((size_t)factors, 1);
        if (w->codes[format] == NULL || w->factors[format] == NULL) goto no_memory;
    }
    w->negative = bal_alloc((size_t)panel / 8, 1);
    w->moves = bal_alloc((size_t)panel / 8, 1);
    w->plus = bal_alloc((size_t)(4 * panel), 1); /* and what is read past their end */
    w->minus = bal_alloc((size_t)(4 * panel), 1);
    w->row_scale = bal_alloc((size_t)(n_panels * BAL_PANEL_ROWS), sizeof *w->row_scale);
    w->y = bal_alloc((size_t)(m * n), sizeof *w->y);
    if (!x || !scale || !q || !sum || !w->negative || !w->moves || !w->plus || !w->minus ||
        !w->row_scale || !w->y)
        goto no_memory;
    for (int format = 0; format < N_FORMATS; ++format) {
        w->kernels->philox((uint64_t)format, 0, 0, 0, 0, n_codes / BAL_LINE_BYTES,
                           w->codes[format]);
        for (int64_t i = 0; i < factors; ++i)
            w->factors[format][i] = (uint8_t)(format == BAL_PANEL_I4 ? i % 19 : i % 128);
    }
    for (int64_t row = 0; row < n; ++row) w->row_scale[row] = 1e-3f;
    for (int64_t t = 0; t < m; ++t) {
        for (int64_t i = 0; i < k; ++i) x[i] = (float)((i * 37 + t * 101) % 255 - 127);
        w->kernels->lanes.quantize(1, k, x, q + t * stride, stride, scale + t, sum + t);
    }
    free(x);
    return BAL_OK;
no_memory:
    free(x);
    return bal_fail(BAL_ERR_MEMORY, "no memory for a product of %lld x %lld x %lld", (long long)m,
                    (long long)n, (long long)k);
}

static void clear(work *w)
{
    for (int format = 0; format < N_FORMATS; ++format) {
        free(w->codes[format]);
        free(w->factors[format]);
    }
    void *const buffers[] = {w->negative,    w->moves,           w->plus,
                             w->minus,       w->row_scale,       w->y,
                             (void *)w->x.q, (void *)w->x.scale, (void *)w->x.sum};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; ++i) free(buffers[i]);
}

bal_status bal_bench_products(const bal_kernels *kernels, int64_t m, int64_t n, int64_t k,
                              bal_bench_product *results)
{
    static const bool on_ballot[] = {true};
    bal_measure measure = {.kernels = kernels,
                           .options = {.kind = BAL_DIRECTIONS_WALSH, .noise = 1, .density = 1.0},
                           .seed = 1,
                           .on_ballot = on_ballot};
    work w = {.kernels = kernels,
              .n = n,
              .n_blocks = (k + 3) / 4,
              .direction = {.measure = measure, .slot = 5}};
    bal_status status = init(&w, m, n, k);
    double plain[N_FORMATS][N_REPEATS], pair[N_FORMATS][N_REPEATS];
    double share[N_FORMATS][N_REPEATS], pair_ratio[N_FORMATS][N_REPEATS],
        i8_ratio[N_FORMATS][N_REPEATS];
    double operations = 2.0 * (double)m * (double)n * (double)k;
    for (int repeat = 0; repeat < N_REPEATS && status == BAL_OK; ++repeat) {
        double peak = bal_bench_peak(kernels);
        for (int f = 0; f < N_FORMATS; ++f) {
            plain[f][repeat] = time_pass(&w, (bal_panel_format)f, false);
            pair[f][repeat] = time_pass(&w, (bal_panel_format)f, true);
            share[f][repeat] = operations / plain[f][repeat] / peak;
            pair_ratio[f][repeat] = pair[f][repeat] / (2.0 * plain[f][repeat]);
            i8_ratio[f][repeat] = pair[f][repeat] / pair[BAL_PANEL_I8][repeat];
        }
    }
    for (int f = 0; f < N_FORMATS && status == BAL_OK; ++f) {
        double seconds = bal_median(plain[f], N_REPEATS);
        results[f] = (bal_bench_product){.m = m,
                                         .n = n,
                                         .k = k,
                                         .format = (bal_panel_format)f,
                                         .plain_seconds = seconds,
                                         .pair_seconds = bal_median(pair[f], N_REPEATS),
                                         .gops = operations / seconds * 1e-9,
                                         .share = bal_median(share[f], N_REPEATS),
                                         .pair_ratio = bal_median(pair_ratio[f], N_REPEATS),
                                         .i8_ratio = bal_median(i8_ratio[f], N_REPEATS)};
    }
    clear(&w);
    return status;
}
