/* comm.c: an owned communicator; exact reductions; agreement on failure. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "comm_impl.h"

static int layout_key = MPI_KEYVAL_INVALID; /* an operation is handed its data type alone */

bal_status bal_mpi_check(int code, const char *what)
{
    if (code == MPI_SUCCESS) return BAL_OK;
    char text[MPI_MAX_ERROR_STRING] = "";
    int  length                     = 0;
    MPI_Error_string(code, text, &length);
    return bal_fail(BAL_ERR_MPI, "%s failed: %s", what, text);
}

static void combine(void *in_bytes, void *inout_bytes, int *count, MPI_Datatype *type)
{
    bal_reduction *how   = NULL;
    int            found = 0;
    MPI_Type_get_attr(*type, layout_key, &how, &found);
    const uint64_t *in  = in_bytes;
    uint64_t       *out = inout_bytes;
    for (int element = 0; element < *count; ++element) {
        for (int i = 0; i < how->n_or; ++i) *out++ |= *in++;
        for (int i = 0; i < how->n_sum; ++i) *out++ += *in++;
        for (int i = 0; i < how->n_min; ++i, ++in, ++out) *out = *in < *out ? *in : *out;
        for (int i = 0; i < how->n_max; ++i, ++in, ++out) *out = *in > *out ? *in : *out;
    }
}

bal_status bal_comm_create(MPI_Comm world, bal_comm **comm)
{
    return bal_comm_create_on(world, -1, comm);
}

bal_status bal_comm_create_on(MPI_Comm world, int node, bal_comm **comm)
{
    bal_comm *c = bal_alloc(1, sizeof *c);
    if (c == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for a communicator");
    c->mpi = c->node  = MPI_COMM_NULL;
    c->op             = MPI_OP_NULL;
    c->type           = MPI_DATATYPE_NULL;
    bal_status status = bal_mpi_check(MPI_Comm_dup(world, &c->mpi), "MPI_Comm_dup");
    if (status == BAL_OK)
        status = bal_mpi_check(MPI_Comm_set_errhandler(c->mpi, MPI_ERRORS_RETURN),
                               "MPI_Comm_set_errhandler");
    if (status == BAL_OK)
        status = bal_mpi_check(MPI_Op_create(combine, 1, &c->op), "MPI_Op_create");
    if (status == BAL_OK && layout_key == MPI_KEYVAL_INVALID)
        status = bal_mpi_check(MPI_Type_create_keyval(MPI_TYPE_NULL_COPY_FN,
                                                      MPI_TYPE_NULL_DELETE_FN, &layout_key, NULL),
                               "MPI_Type_create_keyval");
    if (status == BAL_OK) status = bal_mpi_check(MPI_Comm_rank(c->mpi, &c->rank), "MPI_Comm_rank");
    if (status == BAL_OK) status = bal_mpi_check(MPI_Comm_size(c->mpi, &c->size), "MPI_Comm_size");
    if (status == BAL_OK && node < 0)
        status = bal_mpi_check(
            MPI_Comm_split_type(c->mpi, MPI_COMM_TYPE_SHARED, c->rank, MPI_INFO_NULL, &c->node),
            "MPI_Comm_split_type");
    else if (status == BAL_OK)
        status = bal_mpi_check(MPI_Comm_split(c->mpi, node, c->rank, &c->node), "MPI_Comm_split");
    if (status == BAL_OK)
        status = bal_mpi_check(MPI_Comm_set_errhandler(c->node, MPI_ERRORS_RETURN),
                               "MPI_Comm_set_errhandler");
    if (status == BAL_OK)
        *comm = c;
    else
        bal_comm_destroy(&c);
    return status;
}

void bal_comm_destroy(bal_comm **comm)
{
    bal_comm *c = *comm;
    if (c == NULL) return;
    if (c->type != MPI_DATATYPE_NULL) MPI_Type_free(&c->type);
    if (c->op != MPI_OP_NULL) MPI_Op_free(&c->op);
    if (c->node != MPI_COMM_NULL) MPI_Comm_free(&c->node);
    if (c->mpi != MPI_COMM_NULL) MPI_Comm_free(&c->mpi);
    free(c);
    *comm = NULL;
}

int bal_comm_rank(const bal_comm *comm) { return comm->rank; }
int bal_comm_size(const bal_comm *comm) { return comm->size; }

int bal_comm_node(const bal_comm *comm)
{
    MPI_Group all, node;
    int       zero = 0, lowest = comm->rank;
    MPI_Comm_group(comm->mpi, &all);
    MPI_Comm_group(comm->node, &node);
    MPI_Group_translate_ranks(node, 1, &zero, all, &lowest);
    MPI_Group_free(&node);
    MPI_Group_free(&all);
    return lowest;
}

void bal_comm_describe(char *text, size_t n_bytes)
{
    char version[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int  length, level = MPI_THREAD_SINGLE;
    MPI_Get_library_version(version, &length);
    MPI_Query_thread(&level);
    snprintf(text, n_bytes, "%.*s, threads: %s", (int)strcspn(version, ",\n"), version,
             level == MPI_THREAD_SINGLE       ? "single"
             : level == MPI_THREAD_FUNNELED   ? "funneled"
             : level == MPI_THREAD_SERIALIZED ? "serialized"
                                              : "multiple");
}

bal_status bal_mpi_agree(MPI_Comm mpi, bal_status status)
{
    int rank, size;
    MPI_Comm_rank(mpi, &rank);
    MPI_Comm_size(mpi, &size);
    uint64_t mine = (uint64_t)status << 32 | (uint32_t)(size - rank), worst = 0;
    BAL_TRY(bal_mpi_check(MPI_Allreduce(&mine, &worst, 1, MPI_UINT64_T, MPI_MAX, mpi),
                          "MPI_Allreduce"));
    status = (bal_status)(worst >> 32);
    if (status == BAL_OK) return BAL_OK;
    char text[1024];
    snprintf(text, sizeof text, "%s", bal_failure());
    BAL_TRY(bal_mpi_check(MPI_Bcast(text, sizeof text, MPI_CHAR, size - (int)(uint32_t)worst, mpi),
                          "MPI_Bcast"));
    return bal_fail(status, "%s", text);
}

bal_status bal_comm_agree(bal_comm *comm, bal_status status)
{
    return bal_mpi_agree(comm->mpi, status);
}

bal_status bal_comm_broadcast(bal_comm *comm, void *bytes, size_t n_bytes)
{
    for (size_t done = 0, n; done < n_bytes; done += n) {
        n = n_bytes - done < INT_MAX ? n_bytes - done : INT_MAX;
        BAL_TRY(bal_mpi_check(MPI_Bcast((char *)bytes + done, (int)n, MPI_BYTE, 0, comm->mpi),
                              "MPI_Bcast"));
    }
    return BAL_OK;
}

bal_status bal_comm_gather(bal_comm *comm, const uint64_t *mine, int n, uint64_t *all)
{
    return bal_mpi_check(MPI_Allgather(mine, n, MPI_UINT64_T, all, n, MPI_UINT64_T, comm->mpi),
                         "MPI_Allgather");
}

bal_status bal_comm_sum(bal_comm *comm, int64_t *values, int n)
{
    return bal_mpi_check(MPI_Allreduce(MPI_IN_PLACE, values, n, MPI_INT64_T, MPI_SUM, comm->mpi),
                         "MPI_Allreduce");
}

bal_status bal_comm_reduce(bal_comm *comm, const bal_reduction *how, uint64_t *words)
{
    if (comm->type == MPI_DATATYPE_NULL || memcmp(&comm->layout, how, sizeof *how) != 0) {
        if (comm->type != MPI_DATATYPE_NULL) MPI_Type_free(&comm->type);
        comm->layout = *how;
        BAL_TRY(bal_mpi_check(MPI_Type_contiguous(how->n_or + how->n_sum + how->n_min + how->n_max,
                                                  MPI_UINT64_T, &comm->type),
                              "MPI_Type_contiguous"));
        BAL_TRY(bal_mpi_check(MPI_Type_set_attr(comm->type, layout_key, &comm->layout),
                              "MPI_Type_set_attr"));
        BAL_TRY(bal_mpi_check(MPI_Type_commit(&comm->type), "MPI_Type_commit"));
    }
    return bal_mpi_check(MPI_Allreduce(MPI_IN_PLACE, words, 1, comm->type, comm->op, comm->mpi),
                         "MPI_Allreduce");
}
