/* clock.c: processor time, the clock rate of the core and its peak rate. */
#include <time.h>

#include "bench_impl.h"

double bal_cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double bal_bench_clock(void)
{
    enum { N = 1 << 20 };
    double cycles[N_REPEATS];
    for (int repeat = 0; repeat < N_REPEATS; ++repeat) {
        uint64_t x = 3;
        double start = bal_cpu_seconds();
        for (int i = 0; i < N; ++i) {
#ifdef __x86_64__
            __asm__ volatile("imul %0, %0" : "+r"(x)); /* so that it becomes no addition or shift */
#else
            x *= x;
            __asm__ volatile("" : "+r"(x));
#endif
        }
        cycles[repeat] = 3.0 * N / (bal_cpu_seconds() - start);
    }
    return bal_median(cycles, N_REPEATS);
}

double bal_bench_peak(const bal_kernels *kernels)
{
    double rates[N_REPEATS];
    for (int repeat = 0; repeat < N_REPEATS; ++repeat) {
        int64_t n = 64, n_done = 0;
        double start = bal_cpu_seconds(), seconds = 0.0;
        for (; seconds < 2e-3; n *= 2) {
            n_done += kernels->dots(n);
            seconds = bal_cpu_seconds() - start;
        }
        rates[repeat] = (double)n_done / seconds;
    }
    return bal_median(rates, N_REPEATS);
}
