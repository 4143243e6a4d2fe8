/* include/ballot/comm_mpi.h: the one place where a communicator of MPI comes in. */
#ifndef BALLOT_COMM_MPI_H
#define BALLOT_COMM_MPI_H

#include <mpi.h>

#include "ballot/comm.h"

/** Duplicate world and own the copy, with errors returned. Collective. @return BAL_OK;
 *  BAL_ERR_MPI; BAL_ERR_MEMORY. */
bal_status bal_comm_create(MPI_Comm world, bal_comm **comm);
/** The same where the caller knows which ranks share memory: those of one number. A node may so be
 *  cut into several. Collective. @param node  0 or more; or -1: ask MPI */
bal_status bal_comm_create_on(MPI_Comm world, int node, bal_comm **comm);

#endif
