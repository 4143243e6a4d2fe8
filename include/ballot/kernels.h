#ifndef BALLOT_KERNELS_H
#define BALLOT_KERNELS_H
#include "ballot/quant.h"
typedef struct bal_kernels bal_kernels;
#endif
