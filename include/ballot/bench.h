/* include/ballot/bench.h: measures how fast this machine does the parts of a run. Knows every
 * room's work; knows nothing of how figures are printed. Times, shares and ratios are medians over
 * interleaved repetitions, so that a noisy machine disturbs both sides alike. Work of a single rank
 * is timed by the processor time of its thread. */
#ifndef BALLOT_BENCH_H
#define BALLOT_BENCH_H

#include "ballot/comm.h"
#include "ballot/core.h"
#include "ballot/kernels.h"
#include "ballot/model.h"

BAL_C_BEGIN

/** Cycles per second of this core now, from a chain of multiplications. Each takes 3 cycles on
 *  Intel since Nehalem and on AMD since Zen. Local. */
double bal_bench_clock(void);
/** Peak of this core at a level: dot-product operations per second on registers alone. Local. */
double bal_bench_peak(const bal_kernels *kernels);

/** The product of a matrix of [n, k] codes with m tokens. */
typedef struct bal_bench_product {
    int64_t m, n, k;
    bal_panel_format format;
    double plain_seconds; /* one pass with the codes as they are, unpacking included */
    double pair_seconds;  /* two passes, at code + z and at code - z, making of z included */
    double gops;          /* 10^9 operations per second of the plain pass */
    double share;         /* of the peak */
    double pair_ratio;    /* a pair's time / that of two plain passes */
    double i8_ratio;      /* a pair's time / that of an int8 pair; 1 for int8 */
} bal_bench_product;
/** Measure all formats at m, n, k. Local. @param results  [3], in the order of bal_panel_format
 *  @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_bench_products(const bal_kernels *kernels, int64_t m, int64_t n, int64_t k,
                              bal_bench_product *results);

/** Seconds to update a matrix of n_codes, rule carry. */
typedef struct bal_bench_update {
    int64_t n_codes;
    double walsh_seconds, independent_seconds; /* by 256 votes */
    double wide_seconds, weighted_seconds;     /* by 65,536 votes of a wide set: signs, 8 bits */
} bal_bench_update;
/** Measure all kinds of directions. Local. @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_bench_updates(const bal_kernels *kernels, int64_t n_codes, bal_bench_update *result);

/** Seconds to count a ballot of n_slots over all ranks. Collective. */
bal_status bal_bench_ballot(bal_comm *comm, int n_slots, double *seconds);

/** The shape of a known model, "opt-125m", "llama-1b" or "llama-7b": a decoder of its sizes and its
 *  number of weights. Local. @return false: there is no shape of that name */
bool bal_bench_shape(const char *name, bal_model_config *config);

/** One step of a model with random codes, with all ranks probing at once. */
typedef struct bal_bench_step {
    int64_t n_codes;       /* on the ballot: codes and gains */
    double probe_seconds;  /* both passes of a probe, on the slowest rank */
    double share_products; /* share of that time in products */
    double share_moves;    /* share of that time in moving panels, without making directions */
    double share_of_peak;  /* operations of its products / what the peak does in that time */
    double pair_ratio;     /* processor time of a probe / that of two passes at the codes alone */
    double team_ratio;     /* that of 8 one-sided passes, a team's / that of 4 probes */
    double update_seconds; /* by 256 votes, until all ranks see the new codes */
    int64_t model_bytes;   /* codes, carries and scales of one copy */
    int64_t pss_bytes;     /* proportional set size, summed over the ranks; -1: unknown */
    bool shared;           /* the ranks of a node have one copy */
} bal_bench_step;
/** Measure a step. Collective. @param n_sequences  of context tokens each, in a probe
 *  @return BAL_OK; BAL_ERR_MEMORY; BAL_ERR_MPI. */
bal_status bal_bench_steps(bal_comm *comm, const bal_kernels *kernels,
                           const bal_model_config *config, int64_t n_sequences, int64_t context,
                           bool share, bal_bench_step *result);

BAL_C_END

#endif
