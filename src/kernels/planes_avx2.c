/* planes_avx2.c: counting directions with 32 bytes in a register. */
#define PLANE_BYTES 32
#define PLANES_ADD bal_planes_add_avx2
#include "planes.h"
