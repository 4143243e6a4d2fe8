/* planes_avx512.c: counting directions with 64 bytes in a register. */
#define PLANE_BYTES 64
#define PLANES_ADD bal_planes_add_avx512
#include "planes.h"
