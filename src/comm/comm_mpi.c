/* comm_mpi.c: the transport over MPI. Every collective is nonblocking and waited for with a limit
 * (watch.c), so that a lost rank cannot block the others for ever. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "comm_impl.h"

static int layout_key = MPI_KEYVAL_INVALID; /* an MPI operation is given only the data type */

static void combine(void *in_bytes, void *inout_bytes, int *count, MPI_Datatype *type)
{
    bal_reduction *how = NULL;
    int found = 0;
    MPI_Type_get_attr(*type, layout_key, &how, &found);
    int words = how->n_or + how->n_sum + how->n_min + how->n_max;
    for (int element = 0; element < *count; ++element)
        bal_reduction_combine(how, (uint64_t *)inout_bytes + element * words,
                              (const uint64_t *)in_bytes + element * words);
}

static bal_status set_layout(bal_mpi *m, const bal_reduction *how)
{
    if (m->type != MPI_DATATYPE_NULL && memcmp(&m->layout, how, sizeof *how) == 0) return BAL_OK;
    if (m->type != MPI_DATATYPE_NULL) MPI_Type_free(&m->type);
    m->layout = *how;
    BAL_TRY(bal_mpi_check(MPI_Type_contiguous(how->n_or + how->n_sum + how->n_min + how->n_max,
                                              MPI_UINT64_T, &m->type),
                          "MPI_Type_contiguous"));
    BAL_TRY(bal_mpi_check(MPI_Type_set_attr(m->type, layout_key, &m->layout), "MPI_Type_set_attr"));
    return bal_mpi_check(MPI_Type_commit(&m->type), "MPI_Type_commit");
}

static bal_status reduce(bal_comm *comm, const bal_reduction *how, uint64_t *words)
{
    bal_mpi *m = (bal_mpi *)comm;
    int n = how->n_or + how->n_sum + how->n_min + how->n_max, code;
    BAL_TRY(bal_watch_status(m->world->watch));
    MPI_Request request;
    if (how->n_sum == n || how->n_max == n) { /* only one kind: MPI has an operation for it */
        code = MPI_Iallreduce(MPI_IN_PLACE, words, n, MPI_UINT64_T,
                              how->n_sum == n ? MPI_SUM : MPI_MAX, m->mpi, &request);
    } else {
        BAL_TRY(set_layout(m, how));
        code = MPI_Iallreduce(MPI_IN_PLACE, words, 1, m->type, m->op, m->mpi, &request);
    }
    return bal_watch_wait(m, code, &request, "MPI_Iallreduce");
}

static bal_status gather(bal_comm *comm, const uint64_t *mine, int n, uint64_t *all)
{
    bal_mpi *m = (bal_mpi *)comm;
    MPI_Request request;
    BAL_TRY(bal_watch_status(m->world->watch));
    int code = MPI_Iallgather(mine, n, MPI_UINT64_T, all, n, MPI_UINT64_T, m->mpi, &request);
    return bal_watch_wait(m, code, &request, "MPI_Iallgather");
}

static bal_status broadcast(bal_comm *comm, int root, void *bytes, size_t n_bytes)
{
    bal_mpi *m = (bal_mpi *)comm;
    for (size_t done = 0, n; done < n_bytes; done += n) {
        MPI_Request request;
        BAL_TRY(bal_watch_status(m->world->watch));
        n = n_bytes - done < INT_MAX ? n_bytes - done : INT_MAX;
        int code = MPI_Ibcast((char *)bytes + done, (int)n, MPI_BYTE, root, m->mpi, &request);
        BAL_TRY(bal_watch_wait(m, code, &request, "MPI_Ibcast"));
    }
    return BAL_OK;
}

static void destroy(bal_comm *comm)
{
    bal_mpi *m = (bal_mpi *)comm;
    if (m->node != NULL) destroy(&m->node->base);
    if (m->world->watch == NULL || bal_watch_status(m->world->watch) == BAL_OK) {
        bal_watch_guard(m, true);
        if (m->type != MPI_DATATYPE_NULL) MPI_Type_free(&m->type);
        if (m->op != MPI_OP_NULL) MPI_Op_free(&m->op);
        if (m->mpi != MPI_COMM_NULL) MPI_Comm_free(&m->mpi);
        bal_watch_guard(m, false);
    }
    bal_watch_destroy(&m->watch);
    free(m);
}

static const char *host(bal_comm *comm, int rank)
{
    return bal_watch_host(((bal_mpi *)comm)->world->watch, rank);
}

static const bal_transport transport = {reduce, gather, broadcast, host, destroy};

bal_mpi *bal_comm_mpi(bal_comm *comm)
{
    return comm->transport == &transport ? (bal_mpi *)comm : NULL;
}

/* Take over a communicator that MPI has just made. */
static bal_status wrap(int code, const char *what, MPI_Comm mpi, bal_mpi *world, bal_mpi **made)
{
    BAL_TRY(bal_mpi_check(code, what));
    bal_mpi *m = bal_alloc(1, sizeof *m);
    if (m == NULL) {
        MPI_Comm_free(&mpi);
        return bal_fail(BAL_ERR_MEMORY, "no memory for a communicator");
    }
    *m = (bal_mpi){.base = {.transport = &transport},
                   .mpi = mpi,
                   .world = world == NULL ? m : world,
                   .op = MPI_OP_NULL,
                   .type = MPI_DATATYPE_NULL};
    *made = m;
    BAL_TRY(
        bal_mpi_check(MPI_Comm_set_errhandler(mpi, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler"));
    BAL_TRY(bal_mpi_check(MPI_Op_create(combine, 1, &m->op), "MPI_Op_create"));
    BAL_TRY(bal_mpi_check(MPI_Comm_rank(mpi, &m->base.rank), "MPI_Comm_rank"));
    return bal_mpi_check(MPI_Comm_size(mpi, &m->base.size), "MPI_Comm_size");
}

bal_status bal_comm_create(MPI_Comm world, bal_comm **comm)
{
    return bal_comm_create_on(world, -1, comm);
}

bal_status bal_comm_create_on(MPI_Comm world, int node, bal_comm **comm)
{
    bal_mpi *m = NULL;
    MPI_Comm made = MPI_COMM_NULL;
    int code = MPI_Comm_dup(world, &made);
    bal_status status = wrap(code, "MPI_Comm_dup", made, NULL, &m);
    if (status == BAL_OK && layout_key == MPI_KEYVAL_INVALID)
        status = bal_mpi_check(MPI_Type_create_keyval(MPI_TYPE_NULL_COPY_FN,
                                                      MPI_TYPE_NULL_DELETE_FN, &layout_key, NULL),
                               "MPI_Type_create_keyval");
    if (status == BAL_OK) status = bal_watch_create(m, &m->watch);
    if (status == BAL_OK) {
        code = node < 0 ? MPI_Comm_split_type(m->mpi, MPI_COMM_TYPE_SHARED, m->base.rank,
                                              MPI_INFO_NULL, &made)
                        : MPI_Comm_split(m->mpi, node, m->base.rank, &made);
        status = wrap(code, "MPI_Comm_split", made, m, &m->node);
    }
    if (status == BAL_OK)
        *comm = &m->base;
    else if (m != NULL)
        destroy(&m->base);
    return status;
}

int bal_comm_node(bal_comm *comm)
{
    bal_mpi *m = bal_comm_mpi(comm);
    MPI_Group all, node;
    int zero = 0, lowest = comm->rank;
    if (m == NULL) return lowest;
    MPI_Comm_group(m->mpi, &all);
    MPI_Comm_group(m->node->mpi, &node);
    MPI_Group_translate_ranks(node, 1, &zero, all, &lowest);
    MPI_Group_free(&node);
    MPI_Group_free(&all);
    return lowest;
}

void bal_comm_describe(char *text, size_t n_bytes)
{
    char version[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length, started = 0, level = MPI_THREAD_SINGLE;
    MPI_Get_library_version(version, &length);
    if (MPI_Initialized(&started) == MPI_SUCCESS && started) MPI_Query_thread(&level);
    snprintf(text, n_bytes, "%.*s, threads: %s", (int)strcspn(version, ",\n"), version,
             level == MPI_THREAD_SINGLE       ? "single"
             : level == MPI_THREAD_FUNNELED   ? "funneled"
             : level == MPI_THREAD_SERIALIZED ? "serialized"
                                              : "multiple");
}
