/* shared.c: memory that the ranks of a node share, as an MPI-3 window. Where there is none, each
 * rank has memory of its own. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "comm_impl.h"

struct bal_shared {
    bal_mpi *node;  /* borrowed; NULL: another transport, where nothing is shared */
    MPI_Win window; /* MPI_WIN_NULL: the memory is this rank's own */
    void *memory, *owned;
    int part, n_parts;
    char refusal[1024];
};

/* Where Open MPI keeps the files of shared windows: a parameter of its own, read by name. */
static void find_backing(char dir[BAL_BACKING_BYTES])
{
    int provided, index, count;
    MPI_T_cvar_handle handle;
    snprintf(dir, BAL_BACKING_BYTES, "/dev/shm");
    if (MPI_T_init_thread(MPI_THREAD_SINGLE, &provided) != MPI_SUCCESS) return;
    if (MPI_T_cvar_get_index("osc_sm_backing_directory", &index) == MPI_SUCCESS &&
        MPI_T_cvar_handle_alloc(index, NULL, &handle, &count) == MPI_SUCCESS) {
        if (count > 1 && count <= BAL_BACKING_BYTES) MPI_T_cvar_read(handle, dir);
        MPI_T_cvar_handle_free(&handle);
    }
    MPI_T_finalize();
}

bal_status bal_shared_room(char dir[BAL_BACKING_BYTES], double *free_bytes)
{
    struct statvfs info;
    struct rlimit limit;
    char host[BAL_HOST_BYTES];
    bal_host_name(host);
    find_backing(dir);
    if (access(dir, W_OK) != 0 || statvfs(dir, &info) != 0)
        return bal_fail(BAL_ERR_MEMORY, "%s on %s cannot be used for shared memory: %s", dir, host,
                        strerror(errno));
    *free_bytes = (double)info.f_bavail * (double)info.f_frsize;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && (double)limit.rlim_cur < *free_bytes)
        *free_bytes = (double)limit.rlim_cur;
    return BAL_OK;
}

/* Open MPI wants 5 % more than the window. */
double bal_shared_needs(size_t n_bytes) { return 1.0625 * (double)n_bytes + 0x1p20; }

/* Is there room for a window? If Open MPI itself finds too little, only one rank learns of it and
 * the others wait for ever. So look first. */
static bal_status check_room(size_t n_bytes)
{
    char dir[BAL_BACKING_BYTES], host[BAL_HOST_BYTES];
    double free_bytes, needed = bal_shared_needs(n_bytes);
    bal_host_name(host);
    BAL_TRY(bal_shared_room(dir, &free_bytes));
    if (free_bytes < needed)
        return bal_fail(BAL_ERR_MEMORY,
                        "%s on %s has room for %.0f MiB; what its ranks would share takes %.0f MiB "
                        "(containers: --shm-size)",
                        dir, host, free_bytes / 0x1p20, needed / 0x1p20 + 0.5);
    return BAL_OK;
}

/* Allocate every page of the window now: memory that is missing later is a SIGBUS. */
static bal_status populate(void *memory, size_t n_bytes)
{
#ifdef MADV_POPULATE_WRITE
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = (uintptr_t)memory / page * page;
    if (madvise((void *)first, (uintptr_t)memory + n_bytes - first, MADV_POPULATE_WRITE) != 0 &&
        errno != EINVAL) /* Linux before 5.14 */
        return bal_fail(BAL_ERR_MEMORY,
                        "not enough memory to share %.0f MiB among the ranks of a node",
                        (double)n_bytes / 0x1p20 + 0.5);
#else
    (void)memory, (void)n_bytes;
#endif
    return BAL_OK;
}

static void free_window(bal_shared *s)
{
    if (s->window == MPI_WIN_NULL || bal_watch_status(s->node->world->watch) != BAL_OK) return;
    bal_watch_guard(s->node, true);
    MPI_Win_unlock_all(s->window);
    MPI_Win_free(&s->window);
    bal_watch_guard(s->node, false);
}

/* All ranks of the node, or none. */
static bal_status make_window(bal_shared *s, size_t n_bytes)
{
    bal_comm *node = &s->node->base;
    bool first = s->part == 0;
    int *model = NULL, found = 0, unit;
    MPI_Aint size;
    void *memory = NULL;
    BAL_TRY(bal_comm_agree(node, first ? check_room(n_bytes) : BAL_OK));
    bal_watch_guard(s->node, true);
    bal_status status =
        bal_mpi_check(MPI_Win_allocate_shared(first ? (MPI_Aint)n_bytes + 64 : 0, 1, MPI_INFO_NULL,
                                              s->node->mpi, &memory, &s->window),
                      "MPI_Win_allocate_shared");
    bal_watch_guard(s->node, false);
    status = bal_comm_agree(node, status);
    if (status != BAL_OK) {
        s->window = MPI_WIN_NULL; /* leaks if this rank has one: freeing takes all ranks */
        return status;
    }
    MPI_Win_set_errhandler(s->window, MPI_ERRORS_RETURN);
    status = bal_mpi_check(MPI_Win_lock_all(MPI_MODE_NOCHECK, s->window), "MPI_Win_lock_all");
    if (status == BAL_OK)
        status = bal_mpi_check(MPI_Win_shared_query(s->window, 0, &size, &unit, &memory),
                               "MPI_Win_shared_query");
    if (status == BAL_OK)
        status = bal_mpi_check(MPI_Win_get_attr(s->window, MPI_WIN_MODEL, &model, &found),
                               "MPI_Win_get_attr");
    if (status == BAL_OK && (!found || *model != MPI_WIN_UNIFIED))
        status = bal_fail(BAL_ERR_MEMORY, "windows of this MPI are not one memory for all ranks");
    /* pages have the same offset on every rank, so this is the same byte */
    s->memory = (void *)(((uintptr_t)memory + 63) / 64 * 64);
    if (status == BAL_OK && first) status = populate(s->memory, n_bytes);
    status = bal_comm_agree(node, status);
    if (status != BAL_OK) free_window(s);
    return status;
}

bal_status bal_shared_create(bal_comm *comm, size_t n_bytes, bool share, bal_shared **shared)
{
    bal_shared *s = bal_alloc(1, sizeof *s);
    bal_status status = s == NULL ? bal_fail(BAL_ERR_MEMORY, "no memory to share") : BAL_OK;
    if (s != NULL) s->window = MPI_WIN_NULL; /* not a zero value */
    status = bal_comm_agree(comm, status);
    if (status != BAL_OK) goto done;
    s->node = bal_comm_mpi(comm) == NULL ? NULL : bal_comm_mpi(comm)->node;
    s->part = s->node == NULL ? 0 : s->node->base.rank;
    s->n_parts = s->node == NULL ? 1 : s->node->base.size;
    /* nodes may differ, but all ranks learn of one that cannot share */
    bal_status refused = share && s->n_parts > 1 ? make_window(s, n_bytes) : BAL_OK;
    refused = bal_comm_agree(comm, refused);
    if (refused != BAL_OK) snprintf(s->refusal, sizeof s->refusal, "%s", bal_failure());
    if (s->window == MPI_WIN_NULL) {
        s->part = 0;
        s->n_parts = 1;
        s->memory = s->owned = bal_alloc(n_bytes, 1);
        if (s->owned == NULL)
            status = bal_fail(BAL_ERR_MEMORY,
                              "rank %d has too little memory for its own copy of %.0f MiB",
                              comm->rank, (double)n_bytes / 0x1p20 + 0.5);
    }
    status = bal_comm_agree(comm, status);
    if (status != BAL_OK) goto done;
    *shared = s;
    s = NULL;
done:
    bal_shared_destroy(&s);
    return status;
}

void bal_shared_destroy(bal_shared **shared)
{
    bal_shared *s = *shared;
    if (s == NULL) return;
    free_window(s);
    free(s->owned);
    free(s);
    *shared = NULL;
}

void *bal_shared_memory(const bal_shared *shared) { return shared->memory; }
int bal_shared_part(const bal_shared *shared) { return shared->part; }
int bal_shared_n_parts(const bal_shared *shared) { return shared->n_parts; }

const char *bal_shared_refusal(const bal_shared *shared)
{
    return shared->refusal[0] == 0 ? NULL : shared->refusal;
}

bal_status bal_shared_sync(bal_shared *s)
{
    int64_t nothing = 0;
    if (s->window == MPI_WIN_NULL) return BAL_OK;
    BAL_TRY(bal_mpi_check(MPI_Win_sync(s->window), "MPI_Win_sync")); /* publish what I wrote */
    BAL_TRY(bal_comm_sum(&s->node->base, &nothing, 1));              /* all are here */
    return bal_mpi_check(MPI_Win_sync(s->window), "MPI_Win_sync");   /* see what others wrote */
}

void bal_shared_slice(const bal_shared *s, size_t n_bytes, size_t *first, size_t *end)
{
    size_t part = (size_t)bal_shared_part(s), n_parts = (size_t)bal_shared_n_parts(s);
    *first = n_bytes / n_parts * part;
    *end = part + 1 == n_parts ? n_bytes : n_bytes / n_parts * (part + 1);
}

bal_status bal_shared_copy(const bal_shared *from, size_t n_bytes, bal_shared *to)
{
    size_t first, end;
    bal_shared_slice(to, n_bytes, &first, &end);
    memcpy((char *)bal_shared_memory(to) + first, (const char *)bal_shared_memory(from) + first,
           end - first);
    return bal_shared_sync(to);
}

bal_status bal_shared_sum(bal_shared *s, uint64_t *values, int n)
{
    if (s->window == MPI_WIN_NULL) return BAL_OK;
    return bal_comm_sum(&s->node->base, (int64_t *)values, n);
}
