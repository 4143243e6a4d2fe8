/* bench_impl.h: medians, and the updates that are measured. */
#ifndef BALLOT_BENCH_IMPL_H
#define BALLOT_BENCH_IMPL_H

#include "ballot/bench.h"
#include "ballot/optim.h"
#include "ballot/quant.h"

#define N_REPEATS 9
#define N_SLOTS 256

/** Processor seconds of this thread: time that other processes take does not count. */
double bal_cpu_seconds(void);

extern const bal_ballot_shape bal_bench_signs; /* N_SLOTS of them */
/** Rule carry, Walsh directions, N_SLOTS slots; borrows on_ballot. */
bal_optim_options bal_bench_options(const bal_kernels *kernels, const bool *on_ballot);
/** A vote for every slot, for or against its direction. */
void bal_bench_votes(bal_ballot_shape shape, uint64_t *bits);

#endif
