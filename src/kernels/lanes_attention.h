/* lanes_attention.h: attention with one lane per query, so that a query meets its keys in order
 * whatever LANES is. A block is QUERIES queries in N_VECTORS vectors; its work space is
 * [key][QUERIES]. Queries that fit one vector take one. A few queries are done one at a time, with
 * the same terms in the same order. A key that a query does not see has weight 0, which changes no
 * sum. So no result depends on the block. */
#include "lanes_turn.h"

#define N_KEYS (LANES == 16 ? 8 : 4) /* scores at a time: with q and k, they fill the registers */
#define N_DIMS N_KEYS                /* outputs at a time */
#define N_SINGLE (QUERIES / 5)       /* so few queries are faster one at a time */

/* What the queries of a block have in common, for one head. */
struct task {
    const float *q, *k, *v; /* the first query, and the first key that it sees */
    float *y;
    int64_t n_queries, n_keys; /* keys, from the first on, that any query sees */
    int64_t position, window;  /* of the first query among those keys; after all: no mask */
    float factor;              /* of q, so that scores are exponents of 2 */
};

INLINE struct task task_at(const bal_attention *a, int64_t head, int64_t query, int64_t n)
{
    int64_t hd = a->head_dim, kv = head / (a->n_heads / a->n_kv_heads) * hd;
    int64_t own = a->first + query, end = a->causal ? own + n : a->n_keys;
    bool slides = a->causal && a->window > 0;
    int64_t start = slides && own >= a->window ? own - a->window + 1 : 0;
    int64_t at_q = query * a->n_heads * hd + head * hd, at_kv = start * a->n_kv_heads * hd + kv;
    return (struct task){.q = a->q + at_q,
                         .k = a->k + at_kv,
                         .v = a->v + at_kv,
                         .y = a->y + at_q,
                         .n_queries = n,
                         .n_keys = end - start,
                         .position = a->causal ? own - start : a->n_keys,
                         .window = slides ? a->window : a->n_keys + QUERIES,
                         .factor = LOG2_E / sqrtf((float)hd)};
}

/* Scores of keys j .. j + N_KEYS - 1 for vectors from .. end - 1 of queries. */
INLINE void score(const bal_attention *a, const struct task *t, const float *q, int64_t j, int from,
                  int end, vf top[N_VECTORS])
{
    int64_t width = a->n_kv_heads * a->head_dim;
    const float *key[N_KEYS];
    vf s[N_VECTORS][N_KEYS] = {0};
    for (int i = 0; i < N_KEYS; ++i) key[i] = t->k + smaller(j + i, t->n_keys - 1) * width;
#pragma GCC unroll 4
    for (int64_t d = 0; d < a->head_dim; ++d)
        for (int i = 0; i < N_KEYS; ++i)
            for (int v = from; v < end; ++v)
                s[v][i] = fused(load(q + d * QUERIES + v * LANES), splat(key[i][d]), s[v][i]);
    for (int v = from; v < end; ++v) {
        int64_t position = t->position + v * LANES - j; /* of its first query, counted from j */
        vi query = lane_numbers() + (int32_t)position;
        if (position < N_KEYS - 1) /* a query sees no later key */
            for (int i = 0; i < N_KEYS; ++i) s[v][i] = pick(query >= i, s[v][i], splat(-INFINITY));
        if (position + LANES > t->window) /* nor one before its window */
            for (int i = 0; i < N_KEYS; ++i)
                s[v][i] = pick(query - (int32_t)t->window < i, s[v][i], splat(-INFINITY));
        for (int i = 0; i < N_KEYS; ++i) {
            top[v] = greater(s[v][i], top[v]);
            store(a->scores + (j + i) * QUERIES + v * LANES, s[v][i]);
        }
    }
}

/* y[d][query] for n_dims elements at v: sums over keys, up to the last that the vector sees. */
INLINE void weigh(const bal_attention *a, const float *v, int n_dims, int n_vectors,
                  const int64_t n_keys[], const vf inverse[], float *y)
{
    int64_t width = a->n_kv_heads * a->head_dim, j = 0;
    const float *p = a->scores;
    vf sum[N_VECTORS][N_DIMS] = {0};
#pragma GCC unroll 4
    for (; j < n_keys[0]; ++j, v += width, p += QUERIES)
        for (int i = 0; i < n_dims; ++i)
            for (int at = 0; at < n_vectors; ++at)
                sum[at][i] = fused(load(p + at * LANES), splat(v[i]), sum[at][i]);
    for (; n_vectors > 1 && j < n_keys[1]; ++j, v += width, p += QUERIES)
        for (int i = 0; i < n_dims; ++i) sum[1][i] = fused(load(p + LANES), splat(v[i]), sum[1][i]);
    for (int i = 0; i < n_dims; ++i) /* + 0 turns the -0 of masked keys into 0 */
        for (int at = 0; at < n_vectors; ++at)
            store(y + i * QUERIES + at * LANES, sum[at][i] * inverse[at] + 0.0f);
}

/* A block of queries, in so many vectors. */
INLINE void attend(const bal_attention *a, const struct task *t, int n_vectors)
{
    int64_t hd = a->head_dim, width = a->n_heads * hd;
    int64_t n_keys[] = {smaller(t->position + LANES, t->n_keys), t->n_keys};
    _Alignas(64) float q[BAL_HEAD_DIM_MAX * QUERIES], y[BAL_HEAD_DIM_MAX * QUERIES];
    vf top[] = {splat(-INFINITY), splat(-INFINITY)}, inverse[N_VECTORS];
    int64_t j = 0;
    turn_rows(t->q, t->n_queries, n_vectors, width, hd, t->factor, q);
    for (; j < n_keys[0]; j += N_KEYS) score(a, t, q, j, 0, n_vectors, top);
    for (; n_vectors > 1 && j < n_keys[1]; j += N_KEYS) score(a, t, q, j, 1, n_vectors, top);
    for (int at = 0; at < n_vectors; ++at) {
        vf sum = {0};
        float *p = a->scores + at * LANES;
        for (j = 0; j < n_keys[at]; ++j, p += QUERIES) {
            vf weight = power_of_two(load(p) - top[at]);
            sum += weight;
            store(p, weight);
        }
        inverse[at] = 1.0f / sum;
    }
    int64_t d = 0;
    for (; d + N_DIMS <= hd; d += N_DIMS)
        weigh(a, t->v + d, N_DIMS, n_vectors, n_keys, inverse, y + d * QUERIES);
    for (; d + 2 <= hd; d += 2) weigh(a, t->v + d, 2, n_vectors, n_keys, inverse, y + d * QUERIES);
    if (d < hd) weigh(a, t->v + d, 1, n_vectors, n_keys, inverse, y + d * QUERIES);
    turn_back(y, t->n_queries, width, hd, t->y);
}

static void attend_half(const bal_attention *a, const struct task *t) { attend(a, t, 1); }
static void attend_whole(const bal_attention *a, const struct task *t) { attend(a, t, N_VECTORS); }

/* Keys of a task from j on, in lanes; lanes after the last key repeat it. */
INLINE void turn_keys(const bal_attention *a, const struct task *t, int64_t j, float *keys)
{
    int64_t width = a->n_kv_heads * a->head_dim;
    turn_rows(t->k + j * width, smaller(t->n_keys - j, QUERIES), N_VECTORS, width, a->head_dim,
              1.0f, keys);
}

/* Weights of the keys of one query. keys: [head_dim][QUERIES], turned already where there are no
 * more than QUERIES. */
INLINE void weights_of_one(const bal_attention *a, const struct task *t, float *keys)
{
    int64_t hd = a->head_dim;
    vf top = splat(-INFINITY);
    for (int64_t j = 0; j < t->n_keys; j += QUERIES) {
        vf s[N_VECTORS] = {0};
        if (t->n_keys > QUERIES) turn_keys(a, t, j, keys);
        for (int64_t d = 0; d < hd; ++d)
            for (int v = 0; v < N_VECTORS; ++v)
                s[v] =
                    fused(load(keys + d * QUERIES + v * LANES), splat(t->q[d] * t->factor), s[v]);
        for (int v = 0; v < N_VECTORS; ++v) {
            top = greater(s[v], top);
            store(a->scores + j + v * LANES, s[v]);
        }
    }
    for (int apart = LANES / 2; apart > 0; apart /= 2) top = greater(top, partner(top, apart));
    for (int64_t j = 0; j < t->n_keys; j += LANES)
        store(a->scores + j, power_of_two(load(a->scores + j) - top));
}

/* One query, with its elements in lanes. */
static void attend_one(const bal_attention *a, const struct task *t, float *keys)
{
    int64_t hd = a->head_dim, width = a->n_kv_heads * hd;
    weights_of_one(a, t, keys);
    for (int64_t d = 0; d < hd; d += BLOCK) {
        vf parts[N_PARTS] = {0}, values[N_PARTS];
        float sum = 0.0f;
        const float *from = t->v + d;
        for (int64_t j = 0; j < t->n_keys; ++j, from += width) {
            float weight = a->scores[j];
            load_block(from, hd - d, 0.0f, values);
            sum += weight;
            for (int p = 0; p < N_PARTS; ++p) parts[p] = fused(values[p], splat(weight), parts[p]);
        }
        float inverse = 1.0f / sum;
        for (int p = 0; p < N_PARTS; ++p) parts[p] = parts[p] * inverse + 0.0f;
        store_block(t->y + d, hd - d, parts);
    }
}

/* One query of each head: heads that share keys turn them once, if they are few. */
static void attend_heads(const bal_attention *a, int64_t query)
{
    _Alignas(64) float keys[BAL_HEAD_DIM_MAX * QUERIES];
    int64_t n_sharing = a->n_heads / a->n_kv_heads;
    for (int64_t head = 0; head < a->n_heads; ++head) {
        struct task t = task_at(a, head, query, 1);
        if (t.n_keys <= QUERIES && head % n_sharing == 0) turn_keys(a, &t, 0, keys);
        attend_one(a, &t, keys);
    }
}

static void attention(const bal_attention *a)
{
    int64_t rest = a->n_queries % QUERIES,
            n_in_blocks = a->n_queries - (rest <= N_SINGLE ? rest : 0);
    for (int64_t head = 0; head < a->n_heads; ++head)
        for (int64_t query = 0, n; query < n_in_blocks; query += n) {
            n = smaller(n_in_blocks - query, QUERIES);
            struct task t = task_at(a, head, query, n);
            (n <= LANES ? attend_half : attend_whole)(a, &t);
        }
    for (int64_t query = n_in_blocks; query < a->n_queries; ++query) attend_heads(a, query);
}
