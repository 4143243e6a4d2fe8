/* include/ballot/comm.h: the ranks (processes) of a run: who they are, exact reductions, agreement
 * on failure, memory shared on a node. Knows MPI; knows nothing of what the numbers mean. */
#ifndef BALLOT_COMM_H
#define BALLOT_COMM_H

#include "ballot/core.h"

BAL_C_BEGIN

typedef struct bal_comm bal_comm; /* an owned communicator; made in ballot/comm_mpi.h */

/** The communicator of this process alone, which needs no MPI. Local; borrowed, never freed. */
bal_comm *bal_comm_alone(void);
/** Free the communicator and set the pointer to NULL; NULL is fine. Collective. */
void bal_comm_destroy(bal_comm **comm);
int bal_comm_rank(const bal_comm *comm);
int bal_comm_size(const bal_comm *comm);
/** This rank's node, named by the lowest rank that shares memory with it. Local. */
int bal_comm_node(bal_comm *comm);
/** The message library, such as "Open MPI v4.1.4, threads: single". Local. */
void bal_comm_describe(char *text, size_t n_bytes);
/** The name of a rank's host. Local; borrowed. */
const char *bal_comm_host(bal_comm *comm, int rank);

/* A rank may die, or its host may be cut off. If a limit is set, each collective below waits no
 * longer than that for the others on rank 0. Other ranks wait up to 6 s and a sixteenth of the
 * limit longer, so that rank 0 is the first to give up. Then the call returns BAL_LOST, with a
 * message that names the missing ranks, their hosts and the step in which they were last heard of.
 * So does every later call. After that, call destroy alone, and end the process without
 * MPI_Finalize, with the exit code of BAL_LOST. */

#define BAL_WAIT_LIMIT_DEFAULT 1800.0 /* s; more than an uneven step or a large file takes */

/** Seconds that a collective may wait for other ranks; 0, the default: for ever. Local. All ranks
 * set the same, except those that only wait for the end. */
void bal_comm_set_limit(bal_comm *comm, double seconds);
/** The step that messages name. Local. */
void bal_comm_set_step(bal_comm *comm, int64_t step);

/** Give every rank the worst status of all, with the message of the lowest rank that has it. Call
 * it wherever one rank may fail alone. Collective. */
bal_status bal_comm_agree(bal_comm *comm, bal_status status);
/** Copy bytes from rank 0 to all ranks. Collective. @return BAL_OK; BAL_LOST. */
bal_status bal_comm_broadcast(bal_comm *comm, void *bytes, size_t n_bytes);
/** Give every rank the n words of every rank: all [size * n]. Collective. @return as above. */
bal_status bal_comm_gather(bal_comm *comm, const uint64_t *mine, int n, uint64_t *all);
/** Sums over the ranks, in place. Exact, so the order does not matter. Collective. */
bal_status bal_comm_sum(bal_comm *comm, int64_t *values, int n);

/** How bal_comm_reduce combines: first n_or words by or, then n_sum by addition, then n_min by
 *  the unsigned minimum, then n_max by the maximum. */
typedef struct bal_reduction {
    int n_or, n_sum, n_min, n_max;
} bal_reduction;
/** One allreduce of n_or + n_sum + n_min + n_max words, in place. All are integers, so the result
 *  does not depend on the order or number of ranks. Collective. @return BAL_OK; BAL_LOST. */
bal_status bal_comm_reduce(bal_comm *comm, const bal_reduction *how, uint64_t *words);
/** The seconds of the slowest rank, in place, to the nanosecond. Collective. @return as above. */
bal_status bal_comm_slowest(bal_comm *comm, double *seconds);

/* ---- one copy per node ---- */

/** Memory that the ranks of a node share: one copy, of which each rank writes a part. Without
 *  sharing, each rank has a copy of its own, in one part. */
typedef struct bal_shared bal_shared;

#define BAL_BACKING_BYTES 4096 /* room for a path; Open MPI 4.1 wants 2048 */
/** The directory that shared memory comes from on this machine, and the bytes free there. Local.
 *  @return BAL_OK; BAL_ERR_MEMORY: it cannot be used. */
bal_status bal_shared_room(char dir[BAL_BACKING_BYTES], double *free_bytes);
/** Bytes that must be free there to share n_bytes. Local. */
double bal_shared_needs(size_t n_bytes);

/**
 * Allocate n_bytes of shared memory, aligned to 64 bytes. On a node whose shared memory is too
 * small, each rank gets a copy instead; see bal_shared_refusal. Collective.
 * @param share  false: a copy for each rank
 * @return BAL_OK; BAL_ERR_MEMORY, BAL_ERR_MPI, BAL_LOST, on all ranks.
 */
bal_status bal_shared_create(bal_comm *comm, size_t n_bytes, bool share, bal_shared **shared);
/** Free it and set the pointer to NULL; NULL is fine. Collective; call it before the communicator
 * is destroyed. */
void bal_shared_destroy(bal_shared **shared);
void *bal_shared_memory(const bal_shared *shared);
/** This rank's part, 0 .. n_parts - 1, of its copy. The rank with part 0 fills the copy. */
int bal_shared_part(const bal_shared *shared);
int bal_shared_n_parts(const bal_shared *shared);
/** Why the ranks of some node, perhaps another one, could not share; NULL: all do, or none was
 * asked to. The same on all ranks. */
const char *bal_shared_refusal(const bal_shared *shared);
/** Wait for all ranks of the copy; after that, each sees what the others wrote. Collective on the
 *  copy.
 *  @return BAL_OK; BAL_LOST; BAL_ERR_MPI. */
bal_status bal_shared_sync(bal_shared *shared);
/** The bytes first .. end - 1 of n_bytes that are this rank's part. Local. */
void bal_shared_slice(const bal_shared *shared, size_t n_bytes, size_t *first, size_t *end);
/** Copy the first n_bytes; the ranks of the copy `to` do a part each, and wait for each other.
 *  Collective on that copy. @return as bal_shared_sync. */
bal_status bal_shared_copy(const bal_shared *from, size_t n_bytes, bal_shared *to);
/** Sums modulo 2^64 over the ranks of the copy, in place. Collective on the copy. */
bal_status bal_shared_sum(bal_shared *shared, uint64_t *values, int n);

BAL_C_END

#endif
