/* lanes_avx2.c: the float kernels with 8 lanes in a register. */
#define LANES 8
#define LANES_ADD bal_lanes_add_avx2
#include "lanes_add.h"
