/* comm.c: what works with every transport: agreement on failure, sums. */
#include <string.h>

#include "comm_impl.h"

bal_comm *bal_comm_alone(void)
{
    static bal_comm comm = {.size = 1};
    return &comm;
}

void bal_comm_destroy(bal_comm **comm)
{
    if (*comm != NULL && (*comm)->transport != NULL) (*comm)->transport->destroy(*comm);
    *comm = NULL;
}

int bal_comm_rank(const bal_comm *comm) { return comm->rank; }
int bal_comm_size(const bal_comm *comm) { return comm->size; }

const char *bal_comm_host(bal_comm *comm, int rank)
{
    static char name[BAL_HOST_BYTES];
    if (comm->transport != NULL) return comm->transport->host(comm, rank);
    bal_host_name(name);
    return name;
}

void bal_comm_set_limit(bal_comm *comm, double seconds) { comm->limit = seconds; }
void bal_comm_set_step(bal_comm *comm, int64_t step) { comm->step = step; }

static bal_status broadcast(bal_comm *comm, int root, void *bytes, size_t n_bytes)
{
    return comm->transport == NULL ? BAL_OK
                                   : comm->transport->broadcast(comm, root, bytes, n_bytes);
}

bal_status bal_comm_agree(bal_comm *comm, bal_status status)
{
    char text[1024] = "";
    if (status != BAL_OK) snprintf(text, sizeof text, "%s", bal_failure());
    uint64_t worst = (uint64_t)status << 32 | (uint32_t)(comm->size - comm->rank);
    BAL_TRY(bal_comm_reduce(comm, &(bal_reduction){.n_max = 1}, &worst));
    status = (bal_status)(worst >> 32);
    if (status == BAL_OK) return BAL_OK;
    int root = comm->size - (int)(uint32_t)worst;
    BAL_TRY(broadcast(comm, root, text, sizeof text));
    return bal_fail(status, "%s", text);
}

bal_status bal_comm_broadcast(bal_comm *comm, void *bytes, size_t n_bytes)
{
    return broadcast(comm, 0, bytes, n_bytes);
}

bal_status bal_comm_gather(bal_comm *comm, const uint64_t *mine, int n, uint64_t *all)
{
    if (comm->transport != NULL) return comm->transport->gather(comm, mine, n, all);
    memcpy(all, mine, (size_t)n * sizeof *all);
    return BAL_OK;
}

bal_status bal_comm_sum(bal_comm *comm, int64_t *values, int n)
{
    return bal_comm_reduce(comm, &(bal_reduction){.n_sum = n}, (uint64_t *)values);
}

bal_status bal_comm_reduce(bal_comm *comm, const bal_reduction *how, uint64_t *words)
{
    return comm->transport == NULL ? BAL_OK : comm->transport->reduce(comm, how, words);
}

bal_status bal_comm_slowest(bal_comm *comm, double *seconds)
{
    uint64_t word = (uint64_t)(*seconds * 1e9);
    BAL_TRY(bal_comm_reduce(comm, &(bal_reduction){.n_max = 1}, &word));
    *seconds = (double)word * 1e-9;
    return BAL_OK;
}

void bal_reduction_combine(const bal_reduction *how, uint64_t *out, const uint64_t *in)
{
    for (int i = 0; i < how->n_or; ++i) *out++ |= *in++;
    for (int i = 0; i < how->n_sum; ++i) *out++ += *in++;
    for (int i = 0; i < how->n_min; ++i, ++in, ++out) *out = *in < *out ? *in : *out;
    for (int i = 0; i < how->n_max; ++i, ++in, ++out) *out = *in > *out ? *in : *out;
}
