/* alone.c: the communicator of a single rank, which needs neither MPI nor a network. */
#include <string.h>

#include "comm_impl.h"

static bal_status reduce(bal_comm *comm, const bal_reduction *how, uint64_t *words)
{
    (void)comm, (void)how, (void)words;
    return BAL_OK;
}

static bal_status gather(bal_comm *comm, const uint64_t *mine, int n, uint64_t *all)
{
    (void)comm;
    memcpy(all, mine, (size_t)n * sizeof *all);
    return BAL_OK;
}

static bal_status broadcast(bal_comm *comm, int root, void *bytes, size_t n_bytes)
{
    (void)comm, (void)root, (void)bytes, (void)n_bytes;
    return BAL_OK;
}

static const char *host(bal_comm *comm, int rank)
{
    static char name[BAL_HOST_BYTES];
    (void)comm, (void)rank;
    bal_host_name(name);
    return name;
}

static void destroy(bal_comm *comm) { (void)comm; }

bal_comm *bal_comm_alone(void)
{
    static const bal_transport transport = {reduce, gather, broadcast, host, destroy};
    static bal_comm comm = {.transport = &transport, .size = 1};
    return &comm;
}
