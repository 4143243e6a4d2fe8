/* include/ballot/bench.h: how fast this machine does what a run is made of. Knows every room's
 * work; knows nothing of how figures are printed. Times are medians of interleaved repetitions,
 * shares and ratios medians over repetitions, so that a noisy machine disturbs both sides alike;
 * work of one rank alone is timed by the processor time of its thread. */
#ifndef BALLOT_BENCH_H
#define BALLOT_BENCH_H

#include "ballot/comm.h"
#include "ballot/core.h"
#include "ballot/kernels.h"
#include "ballot/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Cycles per second of this core now, from a chain of multiplications of 3 cycles each, which is
 *  what they take on Intel since Nehalem and on AMD since Zen. Local. */
double bal_bench_clock(void);
/** Dot-product operations per second of this core at a level, from registers alone. Local. */
double bal_bench_peak(const bal_kernels *kernels);

/** A matrix of [n, k] codes against m tokens. */
typedef struct bal_bench_product {
    int64_t m, n, k;
    bal_panel_format format;
    double plain_seconds; /* codes as they are, unpacking of nibbles included */
    double pair_seconds;  /* at + and at -, z included: m tokens each */
    double gops;          /* 10^9 operations per second of the plain pass */
    double share;         /* of the peak */
    double pair_ratio;    /* pair against two plain passes */
    double i8_ratio;      /* pair against the pair of int8; 1 for int8 */
} bal_bench_product;
/** Measure all formats at m, n, k. Local. @param results [3], in order of bal_panel_format
 *  @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_bench_products(const bal_kernels *kernels, int64_t m, int64_t n, int64_t k,
                              bal_bench_product *results);

/** Updates of one matrix by 256 votes, rule carry. */
typedef struct bal_bench_update {
    int64_t n_codes;
    double walsh_seconds, independent_seconds;
} bal_bench_update;
/** Local. @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_bench_updates(const bal_kernels *kernels, int64_t n_codes, bal_bench_update *result);

/** Seconds of counting one ballot of n_slots over the ranks. Collective. */
bal_status bal_bench_ballot(bal_comm *comm, int n_slots, double *seconds);

/** The shape of a known model: "opt-125m", "llama-1b" or "llama-7b", or false. Where ballot has not
 *  that family yet, a decoder of the same sizes and number of weights. Local. */
bool bal_bench_shape(const char *name, bal_model_config *config);

/** One step of a model with random codes, every rank probing at once. */
typedef struct bal_bench_step {
    int64_t n_codes;       /* on the ballot: codes and gains */
    double probe_seconds;  /* both passes of a probe, on the slowest rank */
    double share_products; /* of that: in products */
    double share_moves;    /* of that: in moving panels, directions not included */
    double share_of_peak;  /* operations of its products against the peak of the same time */
    double update_seconds; /* by 256 votes, until all ranks see the new codes */
    int64_t model_bytes;   /* codes, carries and scales of one copy */
    int64_t pss_bytes;     /* proportional set size, summed over the ranks; -1: not known */
    bool shared;           /* one copy per node */
} bal_bench_step;
/** Collective. @param n_sequences of context tokens each per probe
 *  @return BAL_OK; BAL_ERR_MEMORY; BAL_ERR_MPI. */
bal_status bal_bench_steps(bal_comm *comm, const bal_kernels *kernels,
                           const bal_model_config *config, int64_t n_sequences, int64_t context,
                           bool share, bal_bench_step *result);

#ifdef __cplusplus
}
#endif

#endif
