/* planes.h: adding up directions bit by bit, written once and built once per instruction set with
 * vectors of PLANE_BYTES. Codes lie side by side, one bit each; plane p holds bit p of every code's
 * count, so a word of 64 codes is counted by a few logical operations. Votes other than 1 and -1
 * are counted once for each bit of their size. */
#include <string.h>

#include "kernels_impl.h"

#define N_PLANES 8                              /* counts up to 255 */
#define HALF_LANES (PLANE_BYTES >= 32 ? 16 : 8) /* 16-bit sums side by side in spread() */

typedef uint64_t plane __attribute__((vector_size(PLANE_BYTES)));
typedef uint16_t halves __attribute__((vector_size(2 * HALF_LANES)));

#define UNROLL _Pragma("GCC unroll 8") /* or gcc 12 keeps the rows in memory */
#define INLINE static inline __attribute__((always_inline))

/* Add bits a and b to plane sum. @return what is carried into the next plane */
INLINE plane add(plane *sum, plane a, plane b)
{
    plane both = *sum ^ a, carried = (*sum & a) | (both & b);
    *sum = both ^ b;
    return carried;
}

INLINE int size_of(int8_t vote) { return vote < 0 ? -vote : vote; }

/* Codes of one vector, 8 PLANE_BYTES of them, over the rows whose vote has this bit of its size, or
 * over all rows. */
INLINE void count(bool all, int bit, int64_t n_rows, int64_t row_stride, const int8_t *votes,
                  const uint8_t *rows, plane planes[N_PLANES])
{
    memset(planes, 0, N_PLANES * sizeof *planes);
    for (int64_t row = 0; row < n_rows; row += 8) {
        plane x[8];
        UNROLL for (int i = 0; i < 8; ++i)
        {
            x[i] = (plane){0};
            if (row + i >= n_rows) continue;
            if (!all && (size_of(votes[row + i]) >> bit & 1) == 0) continue;
            memcpy(&x[i], rows + (row + i) * row_stride, sizeof x[i]);
            x[i] ^= votes[row + i] < 0 ? ~(uint64_t)0 : 0;
        }
        plane twos[4], fours[2];
        for (int i = 0; i < 4; ++i) twos[i] = add(&planes[0], x[2 * i], x[2 * i + 1]);
        for (int i = 0; i < 2; ++i) fours[i] = add(&planes[1], twos[2 * i], twos[2 * i + 1]);
        plane carried = add(&planes[2], fours[0], fours[1]);
        for (int p = 3; p < N_PLANES; ++p) {
            plane both = planes[p] & carried;
            planes[p] ^= carried;
            carried = both;
        }
    }
}

/* sums[i] += 2^bit (n_rows - 2 count[i]). */
INLINE void spread(int bit, int64_t n_rows, const plane planes[N_PLANES], int16_t *sums)
{
    halves lane;
    for (int i = 0; i < HALF_LANES; ++i) lane[i] = (uint16_t)(1u << i);
    for (int at = 0; at < PLANE_BYTES; at += HALF_LANES / 8) {
        halves sum, minus_counts = {0};
        for (int p = 0; p < N_PLANES; ++p) {
            uint16_t bits = 0;
            memcpy(&bits, (const uint8_t *)&planes[p] + at, HALF_LANES / 8);
            halves is_set = (halves)((bits & lane) != 0); /* 0xFFFF: yes */
            minus_counts += is_set << p;
        }
        memcpy(&sum, sums + 8 * at, sizeof sum);
        sum += ((uint16_t)n_rows + 2 * minus_counts) << bit;
        memcpy(sums + 8 * at, &sum, sizeof sum);
    }
}

INLINE void add_bit(bool all, int bit, int64_t n_rows, int64_t row_stride, const int8_t *votes,
                    const uint8_t *rows, int16_t *sums)
{
    int64_t n_counted = all ? n_rows : 0;
    for (int64_t row = 0; row < n_rows && !all; ++row) n_counted += size_of(votes[row]) >> bit & 1;
    for (int at = 0; at < BAL_LINE_BYTES; at += PLANE_BYTES) {
        plane planes[N_PLANES];
        count(all, bit, n_rows, row_stride, votes, rows + at, planes);
        spread(bit, n_counted, planes, sums + 8 * at);
    }
}

static void bit_sums(int64_t n_rows, int64_t row_stride, const int8_t *votes, const uint8_t *rows,
                     int16_t *sums)
{
    int bits = 0; /* set in the size of any vote */
    for (int64_t row = 0; row < n_rows; ++row) bits |= size_of(votes[row]);
    if (bits == 1) { /* signs */
        add_bit(true, 0, n_rows, row_stride, votes, rows, sums);
        return;
    }
    for (int bit = 0; bits >> bit != 0; ++bit)
        if (bits >> bit & 1) add_bit(false, bit, n_rows, row_stride, votes, rows, sums);
}

void PLANES_ADD(bal_kernels *kernels) { kernels->bit_sums = bit_sums; }
