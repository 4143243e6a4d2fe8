/* open_mpi_leaks.c: part of sanitized programs only. Open MPI keeps what it allocates at its start
 * and in its threads until the process ends. The search for leaks passes over that: to learn from
 * call stacks whose it is takes longer than a short command. lsan.supp names the rest. */
#include <dlfcn.h>
#include <mpi.h>
#include <sanitizer/lsan_interface.h>

struct event_base;
int event_base_loop(struct event_base *base, int flags); /* of libevent: where its threads live */
int dlclose(void *handle);

/* Modules stay loaded, so that a leak report can name them. */
int dlclose(void *handle)
{
    (void)handle;
    return 0;
}

#define UNSEARCHED(call) \
    __lsan_disable();    \
    int code = call;     \
    __lsan_enable();     \
    return code

int MPI_Init(int *argc, char ***argv) { UNSEARCHED(PMPI_Init(argc, argv)); }

int MPI_Type_create_keyval(MPI_Type_copy_attr_function *copy, MPI_Type_delete_attr_function *drop,
                           int *key, void *extra)
{
    UNSEARCHED(PMPI_Type_create_keyval(copy, drop, key, extra));
}

int event_base_loop(struct event_base *base, int flags)
{
    static int (*libevent)(struct event_base * base, int flags);
    if (libevent == NULL) *(void **)&libevent = dlsym(RTLD_NEXT, "event_base_loop");
    UNSEARCHED(libevent(base, flags));
}
