/* nf4.c: the values of NF4. */
#include "ballot/quant.h"

const int8_t bal_nf4_book[16] = {-127, -88, -67, -50, -36, -23, -12, 0,
                                 10,   20,  31,  43,  56,  71,  92,  127};
