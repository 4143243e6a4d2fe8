#ifndef BALLOT_PERTURB_H
#define BALLOT_PERTURB_H
#include "ballot/kernels.h"
typedef struct bal_direction bal_direction;
#endif
