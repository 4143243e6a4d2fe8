/* include/ballot/comm.h: the ranks of a run: who they are, exact reductions, agreement on failure.
 * Knows MPI; knows nothing of what the numbers mean. */
#ifndef BALLOT_COMM_H
#define BALLOT_COMM_H

#include "ballot/core.h"

typedef struct bal_comm bal_comm; /* an owned communicator; made in ballot/comm_mpi.h */

/** Free the communicator and set the pointer to NULL; NULL is fine. Collective. */
void bal_comm_destroy(bal_comm **comm);
int  bal_comm_rank(const bal_comm *comm);
int  bal_comm_size(const bal_comm *comm);

/** The worst status of all ranks, and its sentence (of the lowest such rank) on all of them. Call
 *  it wherever one rank may fail alone. Collective. */
bal_status bal_comm_agree(bal_comm *comm, bal_status status);
/** Bytes of rank 0 to all ranks. Collective. @return BAL_OK; BAL_ERR_MPI. */
bal_status bal_comm_broadcast(bal_comm *comm, void *bytes, size_t n_bytes);
/** 64-bit words of every rank on every rank: all [size * n]. Collective. @return as above. */
bal_status bal_comm_gather(bal_comm *comm, const uint64_t *mine, int n, uint64_t *all);
/** Sums over the ranks, in place. Exact, so the order does not matter. Collective. */
bal_status bal_comm_sum(bal_comm *comm, int64_t *values, int n);

/** How bal_comm_reduce combines: first n_or words by or, then n_sum by addition, then n_min by
 *  the unsigned minimum, then n_max by the maximum. */
typedef struct bal_reduction {
    int n_or, n_sum, n_min, n_max;
} bal_reduction;
/** One allreduce of n_or + n_sum + n_min + n_max words, in place. Integers only, so the result
 *  does not depend on order or number of ranks. Collective. @return BAL_OK; BAL_ERR_MPI. */
bal_status bal_comm_reduce(bal_comm *comm, const bal_reduction *how, uint64_t *words);

#endif
