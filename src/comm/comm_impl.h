/* comm_impl.h: what a communicator is made of. The transport below it is a table of
 * collectives; comm_mpi.c has the one of MPI, and tests have one of their own. */
#ifndef BALLOT_COMM_IMPL_H
#define BALLOT_COMM_IMPL_H

#include "ballot/comm_mpi.h"

/** A transport: collectives on the ranks of comm. Each returns BAL_OK or BAL_LOST, and once
 *  BAL_LOST for ever. */
typedef struct bal_transport {
    /** See bal_comm_reduce. */
    bal_status (*reduce)(bal_comm *comm, const bal_reduction *how, uint64_t *words);
    /** See bal_comm_gather. */
    bal_status (*gather)(bal_comm *comm, const uint64_t *mine, int n, uint64_t *all);
    /** Bytes of rank root to all. */
    bal_status (*broadcast)(bal_comm *comm, int root, void *bytes, size_t n_bytes);
    /** See bal_comm_host. */
    const char *(*host)(bal_comm *comm, int rank);
    void (*destroy)(bal_comm *comm);
} bal_transport;

/** The first member of every transport's communicator. */
struct bal_comm {
    const bal_transport *transport;
    int rank, size;
    double limit; /* seconds; 0: none */
    int64_t step;
};

/** A communicator of MPI. One that a node has to itself is of the same kind, and waits and fails
 *  with its world. */
typedef struct bal_mpi {
    bal_comm base;
    MPI_Comm mpi;
    struct bal_mpi *world; /* itself, or that of the node's ranks */
    struct bal_mpi *node;  /* NULL in a node's */
    MPI_Op op;
    bal_reduction layout;    /* of type */
    MPI_Datatype type;       /* one element is a whole reduction, so MPI cannot cut it */
    struct bal_watch *watch; /* who answers; of the world alone */
} bal_mpi;

/** The communicator's MPI; NULL: it has another transport. */
bal_mpi *bal_comm_mpi(bal_comm *comm);
/** Combine what one rank brings to a reduction with what others brought: out with in. */
void bal_reduction_combine(const bal_reduction *how, uint64_t *out, const uint64_t *in);

/* ---- guard.c: single calls of MPI ---- */

/** What an MPI call returned, as a status. */
bal_status bal_mpi_check(int code, const char *what);
/** Until bal_unguard: end the process with the exit code of BAL_LOST and this line on stderr should
 *  what comes take longer than so many seconds, 0: for ever. Not nested. */
void bal_guard(double seconds, const char *format, ...) __attribute__((format(printf, 2, 3)));
void bal_unguard(void);

/* ---- watch.c: who does not answer ---- */

bal_status bal_watch_create(bal_mpi *world, struct bal_watch **watch);
void bal_watch_destroy(struct bal_watch **watch);
/** Wait for a request of one of the world's communicators, or for its limit. */
bal_status bal_watch_wait(bal_mpi *m, int code, MPI_Request *request, const char *what);
const char *bal_watch_host(const struct bal_watch *watch, int rank);
/** Guard calls of this communicator that cannot be given up for as long as others may be waited for
 *  (on); or no longer. */
void bal_watch_guard(const bal_mpi *m, bool on);
/** BAL_LOST, with its message, once ranks are lost: then MPI is not to be called any more. */
bal_status bal_watch_status(const struct bal_watch *watch);

#endif
