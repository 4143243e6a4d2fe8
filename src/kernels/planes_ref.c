/* planes_ref.c: counting directions with 16 bytes in a register. */
#define PLANE_BYTES 16
#define PLANES_ADD bal_planes_add_ref
#include "planes.h"
