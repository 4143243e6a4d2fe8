/* lanes_attention.h: causal attention, one lane per query, so that a query meets its keys in order
 * whatever LANES is. A block is QUERIES queries in N_VECTORS vectors; its work space holds
 * [key][QUERIES]. */
#include "lanes.h"

#define N_VECTORS 2
#define QUERIES   (N_VECTORS * LANES)
#define N_KEYS    (LANES == 16 ? 8 : 4) /* scores at a time: with q and k, all that registers hold */
#define N_DIMS    N_KEYS                /* outputs at a time */

INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* Four floats from each of every fourth row. */
INLINE vf gather(const float *const rows[], int64_t at)
{
#if LANES == 16
    __m256 x = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(rows[0] + at)),
                                    _mm_loadu_ps(rows[4] + at), 1);
    __m256 y = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(rows[8] + at)),
                                    _mm_loadu_ps(rows[12] + at), 1);
    return (vf)_mm512_insertf32x8(_mm512_castps256_ps512(x), y, 1);
#elif LANES == 8
    return (vf)_mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(rows[0] + at)),
                                    _mm_loadu_ps(rows[4] + at), 1);
#else
    return load(rows[0] + at);
#endif
}

/* Transpose the 4 x 4 floats that stand in each 16 bytes of four registers. */
INLINE void turn(vf x[4])
{
#if LANES > 4
    wide_d a = (wide_d)WIDE(unpacklo_ps)((wide)x[0], (wide)x[1]);
    wide_d b = (wide_d)WIDE(unpacklo_ps)((wide)x[2], (wide)x[3]);
    wide_d c = (wide_d)WIDE(unpackhi_ps)((wide)x[0], (wide)x[1]);
    wide_d d = (wide_d)WIDE(unpackhi_ps)((wide)x[2], (wide)x[3]);
    x[0] = (vf)WIDE(unpacklo_pd)(a, b), x[1] = (vf)WIDE(unpackhi_pd)(a, b);
    x[2] = (vf)WIDE(unpacklo_pd)(c, d), x[3] = (vf)WIDE(unpackhi_pd)(c, d);
#else
    vf a = __builtin_shufflevector(x[0], x[1], 0, 4, 1, 5);
    vf b = __builtin_shufflevector(x[2], x[3], 0, 4, 1, 5);
    vf c = __builtin_shufflevector(x[0], x[1], 2, 6, 3, 7);
    vf d = __builtin_shufflevector(x[2], x[3], 2, 6, 3, 7);
    x[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
    x[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
    x[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
    x[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
#endif
}

/* q[d][query] = factor times element d of n rows of a->q; beyond n, those of the last. */
INLINE void turn_queries(const float *from, int64_t n, int64_t width, int64_t hd, float factor,
                         float *q)
{
    for (int64_t query = 0; query < QUERIES; query += LANES, q += LANES) {
        const float *rows[LANES];
        for (int i = 0; i < LANES; ++i) rows[i] = from + smaller(query + i, n - 1) * width;
        for (int64_t d = 0; d + 4 <= hd; d += 4) {
            vf x[4];
            for (int i = 0; i < 4; ++i) x[i] = gather(rows + i, d) * factor;
            turn(x);
            for (int i = 0; i < 4; ++i) store(q + (d + i) * QUERIES, x[i]);
        }
        for (int64_t d = hd / 4 * 4; d < hd; ++d)
            for (int i = 0; i < LANES; ++i) q[d * QUERIES + i] = rows[i][d] * factor;
    }
}

/* The reverse: n rows from y[d][query]. */
INLINE void turn_back(const float *y, int64_t n, int64_t width, int64_t hd, float *to)
{
    for (int64_t query = 0; query < n; query += LANES, y += LANES, to += LANES * width) {
        int64_t n_here = smaller(n - query, LANES);
        for (int64_t d = 0; d + 4 <= hd; d += 4) {
            vf x[4];
            for (int i = 0; i < 4; ++i) x[i] = load(y + (d + i) * QUERIES);
            turn(x);
            for (int64_t row = 0; row < n_here; ++row)
                memcpy(to + row * width + d, (const float *)&x[row % 4] + row / 4 * 4, 16);
        }
        for (int64_t d = hd / 4 * 4; d < hd; ++d)
            for (int64_t row = 0; row < n_here; ++row) to[row * width + d] = y[d * QUERIES + row];
    }
}

/* Scores of the keys j .. j + N_KEYS - 1 with the vectors of queries from the given one on. */
INLINE void score(const bal_attention *a, const float *q, const float *k, int64_t first, int64_t j,
                  int from, vf top[N_VECTORS])
{
    int64_t      width = a->n_kv_heads * a->head_dim;
    const float *key[N_KEYS];
    vf           s[N_VECTORS][N_KEYS] = {0};
    for (int i = 0; i < N_KEYS; ++i) key[i] = k + smaller(j + i, a->n_tokens - 1) * width;
#pragma GCC unroll 4
    for (int64_t d = 0; d < a->head_dim; ++d)
        for (int i = 0; i < N_KEYS; ++i)
            for (int v = from; v < N_VECTORS; ++v)
                s[v][i] = fused(load(q + d * QUERIES + v * LANES), splat(key[i][d]), s[v][i]);
    for (int v = from; v < N_VECTORS; ++v) {
        if (j + N_KEYS - 1 > first + v * LANES) { /* a query sees no later key */
            vi query = lane_numbers() + ((int32_t)(first - j) + v * LANES);
            for (int i = 0; i < N_KEYS; ++i) s[v][i] = pick(query >= i, s[v][i], splat(-INFINITY));
        }
        for (int i = 0; i < N_KEYS; ++i) {
            top[v] = greater(s[v][i], top[v]);
            store(a->scores + (j + i) * QUERIES + v * LANES, s[v][i]);
        }
    }
}

/* y[d][query] of n_dims elements from v on: sums over keys, the last of them seen by one vector. */
INLINE void weigh(const bal_attention *a, const float *v, int n_dims, const int64_t n_keys[],
                  const vf inverse[], float *y)
{
    int64_t      width = a->n_kv_heads * a->head_dim, j = 0;
    const float *p                      = a->scores;
    vf           sum[N_VECTORS][N_DIMS] = {0};
#pragma GCC unroll 4
    for (; j < n_keys[0]; ++j, v += width, p += QUERIES)
        for (int i = 0; i < n_dims; ++i)
            for (int at = 0; at < N_VECTORS; ++at)
                sum[at][i] = fused(load(p + at * LANES), splat(v[i]), sum[at][i]);
    for (; j < n_keys[1]; ++j, v += width, p += QUERIES)
        for (int i = 0; i < n_dims; ++i) sum[1][i] = fused(load(p + LANES), splat(v[i]), sum[1][i]);
    for (int i = 0; i < n_dims; ++i) /* + 0 makes -0 of masked keys 0 */
        for (int at = 0; at < N_VECTORS; ++at)
            store(y + i * QUERIES + at * LANES, sum[at][i] * inverse[at] + 0.0f);
}

/* The block of queries from first on. */
static void attend(const bal_attention *a, int64_t head, int64_t first)
{
    int64_t hd = a->head_dim, width = a->n_heads * hd;
    int64_t n        = smaller(a->n_tokens - first, QUERIES),
            kv       = head / (a->n_heads / a->n_kv_heads) * hd;
    int64_t n_keys[] = {smaller(first + LANES, a->n_tokens), smaller(first + QUERIES, a->n_tokens)};
    _Alignas(64) float q[BAL_HEAD_DIM_MAX * QUERIES], y[BAL_HEAD_DIM_MAX * QUERIES];
    vf                 top[] = {splat(-INFINITY), splat(-INFINITY)}, inverse[N_VECTORS];
    int64_t            j     = 0;
    turn_queries(a->q + first * width + head * hd, n, width, hd, LOG2_E / sqrtf((float)hd), q);
    for (; j < n_keys[0]; j += N_KEYS) score(a, q, a->k + kv, first, j, 0, top);
    for (; j < n_keys[1]; j += N_KEYS) score(a, q, a->k + kv, first, j, 1, top);
    for (int at = 0; at < N_VECTORS; ++at) {
        vf     sum = {0};
        float *p   = a->scores + at * LANES;
        for (j = 0; j < n_keys[at]; ++j, p += QUERIES) {
            vf weight = power_of_two(load(p) - top[at]);
            sum += weight;
            store(p, weight);
        }
        inverse[at] = 1.0f / sum;
    }
    int64_t d = 0;
    for (; d + N_DIMS <= hd; d += N_DIMS)
        weigh(a, a->v + kv + d, N_DIMS, n_keys, inverse, y + d * QUERIES);
    for (; d < hd; d += 2) weigh(a, a->v + kv + d, 2, n_keys, inverse, y + d * QUERIES);
    turn_back(y, n, width, hd, a->y + first * width + head * hd);
}

static void attention(const bal_attention *a)
{
    for (int64_t head = 0; head < a->n_heads; ++head)
        for (int64_t first = 0; first < a->n_tokens; first += QUERIES) attend(a, head, first);
}
