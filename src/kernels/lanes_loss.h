/* lanes_loss.h: the loss of rows of logits that arrive in pieces. */
#include "lanes.h"

#define N_SUMS (16 / LANES) /* registers of bal_exp_sums.sum, a quarter of a block */

/* Number i of a piece goes to lane i % 16. A lane has its own maximum so far, and its sum is
 * relative to that. */
static void exp_sums(int64_t n_rows, int64_t n_cols, const float *x, int64_t x_stride, bool first,
                     bal_exp_sums *sums)
{
    for (int64_t row = 0; row < n_rows; ++row, x += x_stride, ++sums) {
        vf tops[N_SUMS], sum[N_SUMS], xs[N_PARTS];
        for (int at = 0; at < N_SUMS; ++at) {
            tops[at] = first ? splat(-INFINITY) : load(sums->top + at * LANES);
            sum[at] = first ? splat(0.0f) : load(sums->sum + at * LANES);
        }
        for (int64_t i = 0; i < n_cols; i += BLOCK) {
            load_block(x + i, n_cols - i, -INFINITY, xs);
            for (int at = 0; at < N_SUMS; ++at) {
                vf top = tops[at];
                for (int p = at; p < N_PARTS; p += N_SUMS) top = greater(xs[p], top);
                sum[at] *= power_of_two((tops[at] - top) * LOG2_E);
                vf parts[4]; /* added up before they join a sum that may be far larger */
                for (int p = 0; p < 4; ++p)
                    parts[p] = power_of_two((xs[at + p * N_SUMS] - top) * LOG2_E);
                sum[at] += (parts[0] + parts[2]) + (parts[1] + parts[3]);
                tops[at] = top;
            }
        }
        for (int at = 0; at < N_SUMS; ++at) {
            store(sums->top + at * LANES, tops[at]);
            store(sums->sum + at * LANES, sum[at]);
        }
    }
}

static float cross_entropy(const bal_exp_sums *sums, float target, bool *is_top)
{
    vf top[N_PARTS], sum[N_PARTS] = {0};
    for (int p = 0; p < N_PARTS; ++p) top[p] = load(sums->top + p % N_SUMS * LANES);
    float max = fold_max(top);
    for (int at = 0; at < N_SUMS; ++at)
        sum[at] = load(sums->sum + at * LANES) *
                  power_of_two((load(sums->top + at * LANES) - max) * LOG2_E);
    *is_top = target >= max;
    return (float)(bal_math_log((double)fold_sum(sum)) + (double)(max - target));
}
