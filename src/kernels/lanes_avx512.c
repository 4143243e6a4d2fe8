/* lanes_avx512.c: the float kernels with 16 lanes in a register. */
#define LANES 16
#define LANES_ADD bal_lanes_add_avx512
#include "lanes_add.h"
