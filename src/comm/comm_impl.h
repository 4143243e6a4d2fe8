/* comm_impl.h: a communicator, for the files that talk to MPI. */
#ifndef BALLOT_COMM_IMPL_H
#define BALLOT_COMM_IMPL_H

#include "ballot/comm_mpi.h"

struct bal_comm {
    MPI_Comm      mpi, node; /* node: those of its ranks that share memory with this one */
    int           rank, size;
    MPI_Op        op;
    bal_reduction layout; /* of type */
    MPI_Datatype  type;   /* one element is a whole reduction, so MPI cannot cut it */
};

/** What an MPI call returned, as a status. */
bal_status bal_mpi_check(int code, const char *what);
/** bal_comm_agree on a communicator of MPI. */
bal_status bal_mpi_agree(MPI_Comm mpi, bal_status status);

#endif
