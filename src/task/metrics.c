/* metrics.c: how often answers were right, and how sure that is. */
#include <math.h>
#include <stdlib.h>

#include "task_impl.h"

#define N_SAMPLES 1000

static int64_t at(const bal_confusion *confusion, int right, int chosen)
{
    return confusion->counts[right * confusion->n_labels + chosen];
}

int64_t bal_confusion_right(const bal_confusion *confusion, int64_t *n_rows)
{
    int64_t n_right = 0;
    *n_rows = 0;
    for (int right = 0; right < confusion->n_labels; ++right)
        for (int chosen = 0; chosen < confusion->n_labels; ++chosen) {
            n_right += right == chosen ? at(confusion, right, chosen) : 0;
            *n_rows += at(confusion, right, chosen);
        }
    return n_right;
}

/* 2 tp + fp + fn: rows with this label, and rows that were given it. */
static int64_t rows_of(const bal_confusion *confusion, int label)
{
    int64_t n = 0;
    for (int other = 0; other < confusion->n_labels; ++other)
        n += at(confusion, label, other) + at(confusion, other, label);
    return n;
}

int64_t bal_confusion_f1(const bal_confusion *confusion, int label)
{
    int64_t n = rows_of(confusion, label);
    return n == 0 ? 0 : (4 * at(confusion, label, label) * BAL_METRIC_ONE + n) / (2 * n);
}

int64_t bal_confusion_macro_f1(const bal_confusion *confusion)
{
    int64_t sum = 0, n = 0;
    for (int label = 0; label < confusion->n_labels; ++label) {
        sum += bal_confusion_f1(confusion, label);
        n += rows_of(confusion, label) > 0;
    }
    return n == 0 ? 0 : (2 * sum + n) / (2 * n);
}

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
    int64_t samples[N_SAMPLES];
    size_t n_counts = (size_t)n_labels * (size_t)n_labels;
    int64_t *counts = calloc(n_counts, sizeof *counts);
    if (counts == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for %d labels", n_labels);
    const bal_confusion confusion = {n_labels, counts};
    for (int64_t s = -1; s < N_SAMPLES; ++s) { /* -1: all rows */
        for (size_t c = 0; c < n_counts; ++c) counts[c] = 0;
        for (int64_t i = 0; i < n; ++i) {
            int64_t row = s < 0 ? i : pick(seed, s, i, n);
            ++counts[right[row] * n_labels + chosen[row]];
        }
        int64_t f1 = bal_confusion_macro_f1(&confusion);
        if (s < 0)
            interval->value = (double)f1 / BAL_METRIC_ONE;
        else
            samples[s] = f1;
    }
    *interval = interval_of(interval->value, samples, BAL_METRIC_ONE);
    free(counts);
    return BAL_OK;
}
