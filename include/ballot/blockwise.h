/* include/ballot/blockwise.h: real numbers in 8 bits: a block of them shares a scale, and each is
 * an entry of a code book that has small values as finely as large ones. Knows floats and bytes;
 * knows nothing of tensors or rules. Source: block-wise dynamic quantization, Dettmers et al. 2022,
 * arXiv 2110.02861. */
#ifndef BALLOT_BLOCKWISE_H
#define BALLOT_BLOCKWISE_H

#include "ballot/core.h"

BAL_C_BEGIN

#define BAL_BOOK_CODES 256
#define BAL_BOOK_CELLS 2945 /* 128 for each power of two from 2^-23 to 1, and 1 itself */

/**
 * A code book of dynamic quantization. Its entries are 0, 1, and in each decade from 10^(i-7) to
 * 10^(i-6), i = 0 .. 6, the middles of equal bins. The signed book has 2^i bins and the negatives
 * of their middles too; the unsigned book has 2^(i+1) bins. -1 is in neither. A code is the index
 * of its entry less that of 0, modulo 256. So a byte of 0 is the value 0 in both.
 */
typedef struct bal_book {
    float entries[BAL_BOOK_CODES];    /* ascending */
    float bounds[BAL_BOOK_CODES];     /* a value above bounds[i] is nearer to entries[i + 1] */
    int zero;                         /* entries[zero] is 0: 127 in the signed book, else 0 */
    uint8_t first[2][BAL_BOOK_CELLS]; /* [above, below 0]: index for the least value of each cell */
} bal_book;

/** Local. */
void bal_book_init(bal_book *book, bool is_signed);
/** The index of the entry that is nearest to a value, the lower one of two. Local.
 *  @param value  in -1 .. 1 */
int bal_book_nearest(const bal_book *book, float value);

/**
 * Round a block of values to codes: the absolute maximum is the scale, and value / scale goes to
 * the nearest entry. But a value below 0 goes to an entry below 0, however small it is, and with
 * the unsigned book a value above 0 to an entry above 0. With the signed book a small one may
 * become 0. What is not finite counts as 0. Local.
 * @param values  [n]; with the unsigned book none is below 0
 * @param codes   [n]
 * @return the scale, 0 if all values are
 */
float bal_blockwise_encode(const bal_book *book, int64_t n, const float *values, uint8_t *codes);
/** values[i] = the entry of codes[i], times the scale. Local. */
void bal_blockwise_decode(const bal_book *book, int64_t n, const uint8_t *codes, float scale,
                          float *values);

BAL_C_END

#endif
