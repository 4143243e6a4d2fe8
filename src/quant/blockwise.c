/* blockwise.c: real numbers in 8 bits, by the code books of dynamic quantization. */
#include "ballot/blockwise.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define N_DECADES 7
#define CELL_BITS 16                         /* of a float's 32 that lie below a cell's */
#define FIRST_CELL (0x34000000 >> CELL_BITS) /* where 2^-23 lies */
#define MAGNITUDE 0x7FFFFFFF                 /* all bits but the sign; they ascend with it */
#define NOT_FINITE 0x7F800000                /* the first such bits of what is not finite */

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The float at or below the middle of two: no float lies between it and the middle. */
static float middle(float below, float above)
{
    double exact = 0.5 * ((double)below + (double)above);
    float rounded = (float)exact;
    return (double)rounded > exact ? nextafterf(rounded, below) : rounded;
}

static int32_t bits_of(float value)
{
    int32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(int32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The least magnitude of a cell: 0 in cell 0, and 1 in the last. */
static float cell_start(int cell)
{
    return cell == 0 ? 0.0f : float_of((FIRST_CELL + cell) << CELL_BITS);
}

static int cell_of(float value)
{
    int cell = ((bits_of(value) & MAGNITUDE) >> CELL_BITS) - FIRST_CELL;
    return cell < 0 ? 0 : cell;
}

/* By definition, from the lowest entry on. */
static int search(const bal_book *book, float value)
{
    int index = 0;
    while (value > book->bounds[index]) ++index;
    return index;
}

void bal_book_init(bal_book *book, bool is_signed)
{
    int n = 0;
    double decade = 1e-6;
    for (int i = 0; i < N_DECADES; ++i, decade *= 10.0) {
        int n_bins = is_signed ? 1 << i : 2 << i;
        for (int bin = 0; bin < n_bins; ++bin) {
            double entry = decade * (0.1 + 0.9 * (bin + 0.5) / n_bins);
            book->entries[n++] = (float)entry;
            if (is_signed) book->entries[n++] = (float)-entry;
        }
    }
    book->entries[n++] = 0.0f;
    book->entries[n] = 1.0f;
    qsort(book->entries, BAL_BOOK_CODES, sizeof *book->entries, by_value);
    book->zero = is_signed ? 127 : 0;
    for (int i = 0; i + 1 < BAL_BOOK_CODES; ++i)
        book->bounds[i] = middle(book->entries[i], book->entries[i + 1]);
    book->bounds[BAL_BOOK_CODES - 1] = INFINITY;
    for (int cell = 0; cell < BAL_BOOK_CELLS; ++cell) {
        book->first[0][cell] = (uint8_t)search(book, cell_start(cell));
        book->first[1][cell] = (uint8_t)search(book, -cell_start(cell + 1));
    }
}

/* A cell holds one bound at most. */
static inline int nearest(const bal_book *book, float value)
{
    int index = book->first[bits_of(value) < 0][cell_of(value)];
    return index + (value > book->bounds[index]);
}

int bal_book_nearest(const bal_book *book, float value)
{
    assert(fabsf(value) <= 1.0f);
    return nearest(book, value);
}

/* Of finite values. In integers, which the compiler compares several at a time. */
static float largest_magnitude(int64_t n, const float *values)
{
    int32_t largest = 0;
    for (int64_t i = 0; i < n; ++i) {
        int32_t size = bits_of(values[i]) & MAGNITUDE;
        size = size < NOT_FINITE ? size : 0;
        largest = size > largest ? size : largest;
    }
    return float_of(largest);
}

float bal_blockwise_encode(const bal_book *book, int64_t n, const float *values, uint8_t *codes)
{
    const int zero = book->zero;
    float scale = largest_magnitude(n, values);
    if (scale == 0.0f) {
        memset(codes, 0, (size_t)n);
        return scale;
    }
    for (int64_t i = 0; i < n; ++i) {
        float value = fabsf(values[i]) <= scale ? values[i] : 0.0f;
        int index = nearest(book, value / scale);
        if (index == zero && value < 0.0f) --index;
        if (index == zero && value > 0.0f && zero == 0) ++index;
        codes[i] = (uint8_t)(index - zero);
    }
    return scale;
}

void bal_blockwise_decode(const bal_book *book, int64_t n, const uint8_t *codes, float scale,
                          float *values)
{
    for (int64_t i = 0; i < n; ++i)
        values[i] = book->entries[(uint8_t)(codes[i] + book->zero)] * scale;
}
