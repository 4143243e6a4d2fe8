/* include/ballot/comm_mpi.h: MPI's start and end, and the one place where its communicators come
 * in. */
#ifndef BALLOT_COMM_MPI_H
#define BALLOT_COMM_MPI_H

#ifndef OMPI_SKIP_MPICXX
#define OMPI_SKIP_MPICXX 1 /* no C++ bindings: gone since MPI-3, they want another library */
#endif
#include <mpi.h>

#include "ballot/comm.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BAL_START_LIMIT 300.0 /* s that the ranks may take to find each other */

/** Start MPI, and make a communicator of all ranks. The process ends by itself, with the exit code
 *  of BAL_LOST and a sentence, if that takes longer than BAL_START_LIMIT. Collective.
 *  @return BAL_OK; BAL_ERR_MPI; BAL_ERR_MEMORY. */
bal_status bal_comm_start(bal_comm **comm);
/** Destroy the communicator (NULL is fine) and end MPI, if it was started. Waits for the others as
 *  long as the communicator's limit says, then ends the process like that. Collective; not after
 *  BAL_LOST. */
void bal_comm_end(bal_comm **comm);

/** Duplicate world and own the copy, with errors returned. Collective. @return BAL_OK;
 *  BAL_ERR_MPI; BAL_ERR_MEMORY. */
bal_status bal_comm_create(MPI_Comm world, bal_comm **comm);
/** The same where the caller knows which ranks share memory: those of one number. A node may so be
 *  cut into several. Collective. @param node  0 or more; or -1: ask MPI */
bal_status bal_comm_create_on(MPI_Comm world, int node, bal_comm **comm);

#ifdef __cplusplus
}
#endif

#endif
