/* doctor_look.c: ballot doctor tries the run directory. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "ballot/comm.h"
#include "doctor.h"

#define N_WRITES 21

/* From statfs(2), and what the kernel of Lustre and GPFS say. */
static const struct {
    unsigned type;
    bool is_remote;
    const char *name;
} kinds[] = {
    {0x6969, true, "NFS"},         {0xFF534D42, true, "CIFS"},   {0xFE534D42, true, "SMB"},
    {0x0BD00BD0, true, "Lustre"},  {0x47504653, true, "GPFS"},   {0x19830326, true, "BeeGFS"},
    {0x00C36400, true, "Ceph"},    {0x01021997, true, "9p"},     {0x65735546, true, "FUSE"},
    {0x01021994, false, "tmpfs"},  {0x858458F6, false, "ramfs"}, {0xEF53, false, "ext4"},
    {0x58465342, false, "XFS"},    {0x9123683E, false, "Btrfs"}, {0x2FC12FC1, false, "ZFS"},
    {0x794C7630, false, "overlay"}};

static bool note(bal_run_look *look, const char *what)
{
    snprintf(look->failure, sizeof look->failure, "%.700s: %s: %s", look->where, what,
             strerror(errno));
    return false;
}

/* The directory or, where it is not there yet, the nearest one above it. */
static bool find_where(const char *dir, bal_run_look *look)
{
    struct stat info;
    errno = ENAMETOOLONG;
    if (snprintf(look->where, sizeof look->where, "%s", dir) >= (int)sizeof look->where)
        return note(look, "cannot be looked at");
    look->exists = stat(dir, &info) == 0;
    while (stat(look->where, &info) != 0) {
        if (errno != ENOENT) return note(look, "cannot be looked at");
        char copy[sizeof look->where];
        strcpy(copy, look->where);
        strcpy(look->where, dirname(copy)); /* ends with "/" or ".", which are there */
    }
    if (S_ISDIR(info.st_mode)) return true;
    errno = ENOTDIR;
    return note(look, "no run directory can be there");
}

static void find_kind(int fd, bal_run_look *look)
{
    struct statfs info;
    if (fstatfs(fd, &info) != 0) return;
    look->free_bytes = (double)info.f_bavail * (double)info.f_bsize;
    snprintf(look->kind, sizeof look->kind, "type %x", (unsigned)info.f_type);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; ++i)
        if (kinds[i].type == (unsigned)info.f_type) {
            snprintf(look->kind, sizeof look->kind, "%s", kinds[i].name);
            look->is_remote = kinds[i].is_remote;
        }
}

/* Make the file, write and sync it as a journal grows, and lock it. @return it; -1: failed. */
static int try_file(const char *path, const char *record, int64_t n_bytes, bal_run_look *look)
{
    double times[N_WRITES];
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    bool good = fd >= 0 || note(look, "cannot be written to");
    for (int i = 0; i < N_WRITES && good; ++i) {
        double start = bal_seconds();
        good = bal_write_all(fd, record, (size_t)n_bytes, path) == BAL_OK;
        if (good && fdatasync(fd) != 0) good = note(look, "fdatasync failed");
        times[i] = bal_seconds() - start;
    }
    if (!good && look->failure[0] == 0)
        snprintf(look->failure, sizeof look->failure, "%s", bal_failure());
    if (good && flock(fd, LOCK_EX | LOCK_NB) != 0) good = note(look, "flock failed");
    if (good) {
        look->sync_seconds = bal_median(times, N_WRITES);
        find_kind(fd, look);
    } else if (fd >= 0) {
        unlink(path);
        close(fd);
        fd = -1;
    }
    return fd;
}

bal_status bal_doctor_look(bal_comm *comm, const char *dir, int64_t n_bytes, bal_run_look *look,
                           bal_facts *facts)
{
    char path[sizeof look->where + 128] = "", host[BAL_HOST_BYTES];
    int fd = -1;
    char *record = bal_alloc((size_t)n_bytes, 1);
    *look = (bal_run_look){0};
    bal_status status =
        record != NULL ? BAL_OK : bal_fail(BAL_ERR_MEMORY, "no memory for a record");
    if ((status = bal_comm_agree(comm, status)) != BAL_OK) {
        free(record);
        return status;
    }
    if (bal_comm_rank(comm) == 0 && dir != NULL && find_where(dir, look)) {
        bal_host_name(host);
        snprintf(path, sizeof path, "%s/.doctor-%s-%ld", look->where, host, (long)getpid());
        fd = try_file(path, record, n_bytes, look);
        if (fd < 0) path[0] = 0;
    }
    free(record);
    status = bal_comm_broadcast(comm, path, sizeof path);
    facts->sees_run = facts->was_kept_out = true;
    if (status == BAL_OK && path[0] != 0 && fd < 0) { /* another rank */
        int other = open(path, O_RDWR | O_CLOEXEC);
        facts->sees_run = other >= 0;
        if (other >= 0)
            facts->was_kept_out = flock(other, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
        if (other >= 0) close(other); /* which lets go of what lock it got */
    }
    if (status == BAL_OK) status = bal_comm_agree(comm, BAL_OK); /* all have looked */
    if (fd >= 0) {
        unlink(path);
        close(fd);
    }
    return status;
}
