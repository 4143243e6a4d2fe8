/* lanes_rotate.h: rotary positions. */
#include "lanes.h"

/* One token, if a register holds several heads; the partners of a pair are apart. */
INLINE void rotate_small(int64_t n, int64_t head_dim, int apart, const float *cosines,
                         const float *signed_sines, float *x)
{
    vi element = lane_numbers() & (int32_t)(head_dim - 1);
    vf cosine = permute(load_some(cosines, head_dim, 0.0f), element);
    vf sine = permute(load_some(signed_sines, head_dim, 0.0f), element);
    for (int64_t i = 0; i < n; i += LANES) {
        vf xs = load_some(x + i, n - i, 0.0f);
        store_some(x + i, n - i, fused(xs, cosine, partner(xs, apart) * sine));
    }
}

/* One token of n numbers, pairs half of head_dim apart, in steps of LANES pairs of every head. */
INLINE void rotate_halves(int64_t n, int64_t head_dim, const float *cosines,
                          const float *signed_sines, float *x)
{
    int64_t half = head_dim / 2;
    for (int64_t i = 0; i < half; i += LANES) {
        int64_t left = half - i, to = i + half;
        vf ca = load_some(cosines + i, left, 0.0f), cb = load_some(cosines + to, left, 0.0f);
        vf sa = load_some(signed_sines + i, left, 0.0f);
        vf sb = load_some(signed_sines + to, left, 0.0f);
        for (float *head = x; head < x + n; head += head_dim) {
            vf a = load_some(head + i, left, 0.0f), b = load_some(head + to, left, 0.0f);
            store_some(head + i, left, fused(a, ca, b * sa));
            store_some(head + to, left, fused(b, cb, a * sb));
        }
    }
}

/* The same with pairs side by side. */
INLINE void rotate_neighbours(int64_t n, int64_t head_dim, const float *cosines,
                              const float *signed_sines, float *x)
{
    for (int64_t i = 0; i < head_dim; i += LANES) {
        int64_t left = head_dim - i;
        vf cosine = load_some(cosines + i, left, 0.0f);
        vf sine = load_some(signed_sines + i, left, 0.0f);
        for (float *head = x; head < x + n; head += head_dim) {
            vf xs = load_some(head + i, left, 0.0f);
            store_some(head + i, left, fused(xs, cosine, partner(xs, 1) * sine));
        }
    }
}

static void rotate(int64_t n_rows, int64_t n_heads, int64_t head_dim, bool halves,
                   const float *cosines, const float *signed_sines, float *x)
{
    int64_t n = n_heads * head_dim;
    for (; n_rows > 0; --n_rows, x += n, cosines += head_dim, signed_sines += head_dim)
        if (LANES % head_dim == 0)
            rotate_small(n, head_dim, halves ? (int)head_dim / 2 : 1, cosines, signed_sines, x);
        else if (halves)
            rotate_halves(n, head_dim, cosines, signed_sines, x);
        else
            rotate_neighbours(n, head_dim, cosines, signed_sines, x);
}
