/* fit.c: scales and factors of matrix rows that leave the least squared error, where an error in
 * one column may count more than in another. Sums run in lanes: one order on every machine. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant_impl.h"

#define GAIN 0.99999 /* sums of floats are not exact: an error is lower below this share */

/* Columns of a row, and what a squared error in each counts. Where nothing says which values
 * matter, the largest do: they are not clipped. */
typedef struct span {
    const float *values, *weights;
    int64_t n;
    bool clips;
} span;

/* Over a span, weighted: (x - e)^2, x e and e^2, where e is the entry of x. */
typedef struct sums {
    double error, cross, square;
} sums;

/* The entries nearest to x, of codes times a factor, at most high. */
static lanes nearest_code(lanes x, float factor, float high)
{
    return round_lanes(clip(x * (1.0f / factor), -high, high)) * factor;
}

/* The same of NF4: the lowest entry, and a gap more for each middle between two that x reaches. */
typedef struct ladder {
    float lowest, middle[15], gap[15];
} ladder;

static ladder ladder_of(int factor)
{
    ladder l = {.lowest = (float)bal_code_entry(BAL_NF4, 0, factor)};
    for (int code = 0; code < 15; ++code) {
        float entry = (float)bal_code_entry(BAL_NF4, code, factor);
        l.gap[code] = (float)bal_code_entry(BAL_NF4, code + 1, factor) - entry;
        l.middle[code] = entry + 0.5f * l.gap[code];
    }
    return l;
}

static lanes nearest_rung(lanes x, const ladder *l)
{
    lanes entry = all_lanes(l->lowest);
    for (int code = 0; code < 15; ++code)
        entry += (lanes)((masks)all_lanes(l->gap[code]) & (x >= l->middle[code]));
    return entry;
}

/* Sums of a span in units of the scale of its row. */
static sums sums_of(const span *s, bal_format format, int factor, float scale)
{
    lanes error = {0}, cross = {0}, square = {0};
    float high = format == BAL_I4 ? 7.0f : 127.0f;
    ladder rungs = ladder_of(factor);
    for (int64_t i = 0; i < s->n; i += LANES) {
        lanes x = load_lanes(s->values + i, s->n - i) * (1.0f / scale);
        lanes w = load_lanes(s->weights + i, s->n - i);
        lanes e =
            format == BAL_NF4 ? nearest_rung(x, &rungs) : nearest_code(x, (float)factor, high);
        error += w * (x - e) * (x - e);
        cross += w * x * e;
        square += w * e * e;
    }
    sums total = {0};
    for (int i = 0; i < LANES; ++i) {
        total.error += (double)error[i];
        total.cross += (double)cross[i];
        total.square += (double)square[i];
    }
    return total;
}

/* Error and other sums of a group of columns, with the factor of the least error: those tried are
 * from what reaches the largest value down to 0.6 of that if it may be clipped, and the one that is
 * set. */
static sums best_factor(const span *s, bal_format format, float scale, uint8_t *factor)
{
    int max = bal_factor_max(format);
    float exact = bal_absmax(s->values, s->n) / scale * ((float)max / BAL_TOP_ENTRY);
    int high = exact >= (float)max ? max : (int)exact + 1,
        low = (int)(s->clips ? 0.6f * exact : ceilf(exact));
    int step = 1 + (high - low) / 7;
    sums best = sums_of(s, format, *factor, scale);
    for (int f = high; f >= 1 && f >= low; f -= step) {
        sums here = sums_of(s, format, f, scale);
        if (here.error < GAIN * best.error) best = here, *factor = (uint8_t)f;
    }
    return best;
}

/* Sums of a row with a scale, and its error in squared values. Factors of its groups are found,
 * beginning with those that are there. */
static sums fit_groups(const bal_tensor *tensor, const span *row, float scale, uint8_t *factors)
{
    sums total = {0};
    if (tensor->group == 0) total = sums_of(row, tensor->format, 1, scale);
    for (int64_t first = 0; tensor->group > 0 && first < row->n; first += tensor->group) {
        int64_t n = row->n - first < tensor->group ? row->n - first : tensor->group;
        span group = {row->values + first, row->weights + first, n, row->clips};
        sums here = best_factor(&group, tensor->format, scale, factors + first / tensor->group);
        total.error += here.error;
        total.cross += here.cross;
        total.square += here.square;
    }
    total.error *= (double)scale * (double)scale;
    return total;
}

/* Try a scale for a row, and keep it with its factors if it leaves a smaller error. */
static void try_scale(bal_tensor *tensor, int64_t row, const span *s, float scale, uint8_t *factors,
                      sums *best)
{
    for (int64_t group = 0; group < bal_tensor_n_groups(tensor); ++group)
        factors[group] = tensor->factors[bal_tensor_factor_at(tensor, row, group)];
    sums here = fit_groups(tensor, s, scale, factors);
    if (here.error >= GAIN * best->error) return;
    *best = here;
    tensor->scale[row] = scale;
    for (int64_t group = 0; group < bal_tensor_n_groups(tensor); ++group)
        tensor->factors[bal_tensor_factor_at(tensor, row, group)] = factors[group];
}

/* A row that is rounded by its absolute maximum already. Factors of NF4 are so fine that its scale
 * need not change, and int8 has codes beyond that of the maximum; at last the codes say which scale
 * would be best for them. */
static void fit_row(bal_tensor *tensor, int64_t row, const span *s, uint8_t *factors)
{
    static const float clipped[] = {1.0f, 0.93f, 0.87f, 0.8f}, whole[] = {1.0f, 0.97f, 0.945f};
    const float *shares = s->clips ? clipped : whole;
    int n_shares = tensor->format == BAL_NF4 ? 1 : s->clips ? 4 : tensor->format == BAL_I8 ? 3 : 1;
    float start = tensor->scale[row];
    sums best = {.error = INFINITY};
    for (int i = 0; i < n_shares; ++i) try_scale(tensor, row, s, start * shares[i], factors, &best);
    float polished = (float)(best.cross / best.square) * tensor->scale[row];
    if (best.square > 0.0 && polished > 0.0f && isfinite(polished))
        try_scale(tensor, row, s, polished, factors, &best);
}

static void fit_rows(bal_tensor *tensor, const float *values, const float *weights, bool clips,
                     uint8_t *factors)
{
    for (int64_t row = 0; row < tensor->n_rows; ++row, values += tensor->n_cols)
        fit_row(tensor, row, &(span){values, weights, tensor->n_cols, clips}, factors);
}

bal_status bal_tensor_fit(bal_tensor *tensor, const float *values, const float *weights,
                          int8_t *leftover)
{
    if (tensor->format == BAL_F32 || tensor->role != BAL_MATRIX)
        return bal_tensor_quantize(tensor, values, leftover);
    BAL_TRY(bal_round_check(tensor, values));
    size_t n_cols = (size_t)tensor->n_cols;
    float *ones = bal_alloc(n_cols, sizeof *ones);
    uint8_t *factors = bal_alloc((size_t)bal_tensor_n_groups(tensor) + 1, 1);
    bal_status status = ones != NULL && factors != NULL
                            ? BAL_OK
                            : bal_fail(BAL_ERR_MEMORY, "%s: no memory to round it", tensor->name);
    if (status == BAL_OK) {
        for (size_t i = 0; i < n_cols; ++i) ones[i] = 1.0f;
        bal_round_scales(tensor, values);
        fit_rows(tensor, values, weights != NULL ? weights : ones, weights != NULL, factors);
        bal_round_pack(tensor, values, leftover);
        bal_tensor_level(tensor);
    }
    free(ones);
    free(factors);
    return status;
}
