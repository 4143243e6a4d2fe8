/* metrics.c: how often answers were right, and how sure that is. */
#include <math.h>
#include <stdlib.h>

#include "task_impl.h"

#define N_SAMPLES 1000

bal_interval bal_interval_share(int64_t n_right, int64_t n)
{
    const double z = 1.959963984540054, rows = (double)n, p = (double)n_right / rows;
    double scale = 1.0 + z * z / rows, middle = (p + z * z / (2.0 * rows)) / scale;
    double half = z / scale * sqrt(p * (1.0 - p) / rows + z * z / (4.0 * rows * rows));
    return (bal_interval){p, fmax(0.0, middle - half), fmin(1.0, middle + half)};
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* A row of a sample. */
static int64_t pick(uint64_t seed, int64_t sample, int64_t i, int64_t n)
{
    const int64_t which[] = {sample, i};
    uint64_t random = bal_hash(which, sizeof which, seed);
    return (int64_t)((unsigned __int128)random * (uint64_t)n >> 64);
}

static bal_interval interval_of(double value, int64_t *samples, double scale)
{
    qsort(samples, N_SAMPLES, sizeof *samples, ascending);
    return (bal_interval){value, (double)samples[N_SAMPLES / 40] / scale,
                          (double)samples[N_SAMPLES - 1 - N_SAMPLES / 40] / scale};
}

bal_interval bal_interval_mean(const int64_t *values, int64_t n, uint64_t seed)
{
    int64_t samples[N_SAMPLES] = {0}, sum = 0;
    const double scale = (double)n * BAL_METRIC_ONE;
    for (int64_t i = 0; i < n; ++i) sum += values[i];
    for (int64_t s = 0; s < N_SAMPLES; ++s)
        for (int64_t i = 0; i < n; ++i) samples[s] += values[pick(seed, s, i, n)];
    return interval_of((double)sum / scale, samples, scale);
}

bal_status bal_interval_macro_f1(const int64_t *right, const int64_t *chosen, int64_t n,
                                 int n_labels, uint64_t seed, bal_interval *interval)
{
    int64_t samples[N_SAMPLES], *drawn = bal_alloc(2, (size_t)n * sizeof *drawn);
    if (drawn == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for %lld rows", (long long)n);
    for (int64_t s = 0; s < N_SAMPLES; ++s) {
        for (int64_t i = 0; i < n; ++i) {
            int64_t row = pick(seed, s, i, n);
            drawn[i] = right[row];
            drawn[n + i] = chosen[row];
        }
        samples[s] = bal_macro_f1(n, n_labels, drawn, drawn + n);
    }
    double value = (double)bal_macro_f1(n, n_labels, right, chosen) / BAL_METRIC_ONE;
    *interval = interval_of(value, samples, BAL_METRIC_ONE);
    free(drawn);
    return BAL_OK;
}
