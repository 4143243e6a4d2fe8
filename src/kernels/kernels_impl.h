/* kernels_impl.h: the files of this room to each other. */
#ifndef BALLOT_KERNELS_IMPL_H
#define BALLOT_KERNELS_IMPL_H

#include "ballot/kernels.h"

void bal_kernels_add_ref(bal_kernels *kernels); /* products */
void bal_kernels_add_avx2(bal_kernels *kernels);
void bal_kernels_add_avx512(bal_kernels *kernels);

/* Random streams, directions, tallies, updates; counting of bits is one source, planes.h. */
void bal_votes_add_ref(bal_kernels *kernels);
void bal_votes_add_avx2(bal_kernels *kernels);
void bal_votes_add_avx512(bal_kernels *kernels);
void bal_planes_add_ref(bal_kernels *kernels);
void bal_planes_add_avx2(bal_kernels *kernels);
void bal_planes_add_avx512(bal_kernels *kernels);

/* Float entries: one source, lanes.h, built once per level. */
void bal_lanes_add_ref(bal_kernels *kernels);
void bal_lanes_add_avx2(bal_kernels *kernels);
void bal_lanes_add_avx512(bal_kernels *kernels);

#endif
