/* session.c: starting and ending MPI. */
#include "comm_impl.h"

bal_status bal_comm_start(bal_comm **comm)
{
    char host[BAL_HOST_BYTES];
    bal_host_name(host);
    *comm = NULL;
    bal_guard(BAL_START_LIMIT,
              "ballot: %s has no connection to all other ranks after %g s: they were not started, "
              "or a firewall or a second network is in the way (Open MPI: --mca btl_tcp_if_include "
              "and oob_tcp_if_include); see to it, then run the same command again\n",
              host, BAL_START_LIMIT);
    bal_status status = bal_mpi_check(MPI_Init(NULL, NULL), "MPI_Init");
    if (status == BAL_OK) status = bal_comm_create(MPI_COMM_WORLD, comm);
    bal_unguard();
    return status;
}

void bal_comm_end(bal_comm **comm)
{
    char host[BAL_HOST_BYTES];
    double limit = *comm == NULL ? BAL_START_LIMIT : (*comm)->limit;
    int started = 0, ended = 0;
    bal_host_name(host);
    bal_comm_destroy(comm);
    if (MPI_Initialized(&started) != MPI_SUCCESS || !started) return;
    if (MPI_Finalized(&ended) != MPI_SUCCESS || ended) return;
    bal_guard(limit,
              "ballot: %s is done, but not all other ranks are after %g s more; run the same "
              "command again\n",
              host, limit);
    MPI_Finalize();
    bal_unguard();
}
