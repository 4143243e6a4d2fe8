/* include/ballot/comm_mpi.h: the one place where a communicator of MPI comes in. */
#ifndef BALLOT_COMM_MPI_H
#define BALLOT_COMM_MPI_H

#include <mpi.h>

#include "ballot/comm.h"

/** Duplicate world and own the copy, with errors returned. Collective. @return BAL_OK;
 *  BAL_ERR_MPI; BAL_ERR_MEMORY. */
bal_status bal_comm_create(MPI_Comm world, bal_comm **comm);

#endif
