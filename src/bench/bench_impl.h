/* bench_impl.h: medians. */
#ifndef BALLOT_BENCH_IMPL_H
#define BALLOT_BENCH_IMPL_H

#include "ballot/bench.h"

#define N_REPEATS 9

/** Seconds that this thread has had a core: time that others took does not count. */
double bal_cpu_seconds(void);
/** The middle one of N_REPEATS values, which are sorted. */
double bal_median(double values[N_REPEATS]);

#endif
