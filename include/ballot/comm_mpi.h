/* include/ballot/comm_mpi.h: starting and ending MPI, and the only place where MPI communicators
 * are accepted. */
#ifndef BALLOT_COMM_MPI_H
#define BALLOT_COMM_MPI_H

#ifndef OMPI_SKIP_MPICXX
#define OMPI_SKIP_MPICXX 1 /* MPI-3 dropped the C++ bindings, which need another library */
#endif
#include <mpi.h>

#include "ballot/comm.h"

BAL_C_BEGIN

#define BAL_START_LIMIT 300.0 /* s within which the ranks must find each other */

/** Start MPI and make a communicator of all ranks. If that takes longer than BAL_START_LIMIT, the
 *  process ends with a message and the exit code of BAL_LOST. Collective.
 *  @return BAL_OK; BAL_ERR_MPI; BAL_ERR_MEMORY. */
bal_status bal_comm_start(bal_comm **comm);
/** Destroy the communicator (NULL is fine) and end MPI, if it was started. If the other ranks do
 *  not come within the communicator's limit, the process ends as above. Collective; not after
 *  BAL_LOST. */
void bal_comm_end(bal_comm **comm);

/** Duplicate world and own the copy, with errors returned. Collective. @return BAL_OK;
 *  BAL_ERR_MPI; BAL_ERR_MEMORY. */
bal_status bal_comm_create(MPI_Comm world, bal_comm **comm);
/** The same for a caller that knows which ranks share memory: those with the same node number. So
 *  a machine can be treated as several nodes. Collective. @param node  0 or more; -1: ask MPI */
bal_status bal_comm_create_on(MPI_Comm world, int node, bal_comm **comm);

BAL_C_END

#endif
