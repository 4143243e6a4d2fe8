/* lanes_turn.h: transposing rows of a head, QUERIES at a time, and back. */
#include "lanes.h"

#define N_VECTORS 2
#define QUERIES (N_VECTORS * LANES)

INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* Four floats from every fourth row. */
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

/* Transpose the 4 x 4 floats in each 16 bytes of four registers. */
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

/* to[d][row] = factor times element d of the row, for n rows of a head; the last is repeated up to
 * the end of n_vectors vectors. */
INLINE void turn_rows(const float *from, int64_t n, int n_vectors, int64_t width, int64_t hd,
                      float factor, float *to)
{
    for (int64_t row = 0; row < n_vectors * LANES; row += LANES, to += LANES) {
        const float *rows[LANES];
        for (int i = 0; i < LANES; ++i) rows[i] = from + smaller(row + i, n - 1) * width;
        for (int64_t d = 0; d + 4 <= hd; d += 4) {
            vf x[4];
            for (int i = 0; i < 4; ++i) x[i] = gather(rows + i, d) * factor;
            turn(x);
            for (int i = 0; i < 4; ++i) store(to + (d + i) * QUERIES, x[i]);
        }
        for (int64_t d = hd / 4 * 4; d < hd; ++d)
            for (int i = 0; i < LANES; ++i) to[d * QUERIES + i] = rows[i][d] * factor;
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
