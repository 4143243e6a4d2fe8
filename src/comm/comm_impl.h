/* comm_impl.h: what a communicator is made of. Below it is a transport, a table of collectives:
 * comm_mpi.c has that of MPI, and tests have their own. */
#ifndef BALLOT_COMM_IMPL_H
#define BALLOT_COMM_IMPL_H

#include "ballot/comm_mpi.h"

/** A transport: collectives on the ranks of comm. Each returns BAL_OK or BAL_LOST; after the first
 *  BAL_LOST, all do. */
typedef struct bal_transport {
    /** See bal_comm_reduce. */
    bal_status (*reduce)(bal_comm *comm, const bal_reduction *how, uint64_t *words);
    /** See bal_comm_gather. */
    bal_status (*gather)(bal_comm *comm, const uint64_t *mine, int n, uint64_t *all);
    /** Copy bytes from rank root to all ranks. */
    bal_status (*broadcast)(bal_comm *comm, int root, void *bytes, size_t n_bytes);
    /** See bal_comm_host. */
    const char *(*host)(bal_comm *comm, int rank);
    void (*destroy)(bal_comm *comm);
} bal_transport;

/** The first member of every transport's communicator. */
struct bal_comm {
    const bal_transport *transport; /* NULL: one rank, with nobody to talk to */
    int rank, size;
    double limit; /* seconds; 0: none */
    int64_t step;
};

/** An MPI communicator. A node's own communicator has the same type; its limit and its failure are
 *  those of its world. */
typedef struct bal_mpi {
    bal_comm base;
    MPI_Comm mpi;
    struct bal_mpi *world; /* itself; of a node's communicator, the world */
    struct bal_mpi *node;  /* NULL in a node's communicator */
    MPI_Op op;
    bal_reduction layout;    /* of type */
    MPI_Datatype type;       /* one element is a whole reduction, so MPI cannot split it */
    struct bal_watch *watch; /* who answers; the world has one */
} bal_mpi;

/** The communicator as one of MPI; NULL: it has another transport. */
bal_mpi *bal_comm_mpi(bal_comm *comm);
/** One step of a reduction: out = out combined with in. */
void bal_reduction_combine(const bal_reduction *how, uint64_t *out, const uint64_t *in);

/* ---- guard.c: single calls of MPI ---- */

/** The status for what an MPI call returned. */
bal_status bal_mpi_check(int code, const char *what);
/** If the calls up to bal_unguard take longer than so many seconds, end the process with the exit
 *  code of BAL_LOST and this line on stderr. 0 seconds: no limit. Not nested. */
void bal_guard(double seconds, const char *format, ...) __attribute__((format(printf, 2, 3)));
void bal_unguard(void);

/* ---- watch.c: who does not answer ---- */

bal_status bal_watch_create(bal_mpi *world, struct bal_watch **watch);
void bal_watch_destroy(struct bal_watch **watch);
/** Wait for a request of the world or of a node, at most as long as the limit says. */
bal_status bal_watch_wait(bal_mpi *m, int code, MPI_Request *request, const char *what);
const char *bal_watch_host(const struct bal_watch *watch, int rank);
/** Begin (on) or end to guard MPI calls of this communicator that cannot be interrupted, with its
 *  limit. */
void bal_watch_guard(const bal_mpi *m, bool on);
/** BAL_LOST, with its message, once ranks are lost; MPI must not be called after that. */
bal_status bal_watch_status(const struct bal_watch *watch);

#endif
