/* lanes_ref.c: the float kernels with 4 lanes in a register. */
#define LANES 4
#define LANES_ADD bal_lanes_add_ref
#include "lanes_add.h"
