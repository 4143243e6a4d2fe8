/* lock.c: run.lock, which gives a run directory one writer. flock keeps out other processes of
 * this host (and of others, where the file system carries locks); the generation in the file lets
 * a writer on a cut-off host see that it was replaced. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "ballot/record.h"

#define CONTENT_BYTES 512

struct bal_lock {
    int fd;
    char path[PATH_MAX];
    char content[CONTENT_BYTES]; /* what we wrote */
};

typedef struct holder {
    char host[65], job[65];
    long pid;
    uint64_t generation;
} holder;

/* The file as a string; false: it cannot be read. */
static bool read_content(int fd, char content[CONTENT_BYTES])
{
    ssize_t n = bal_read_at(fd, content, CONTENT_BYTES - 1, 0, "run.lock");
    content[n < 0 ? 0 : n] = '\0';
    return n >= 0;
}

/* Field widths keep the numbers in range. A damaged file has generation 0 and no pid. */
static holder parse(const char *content)
{
    holder h;
    if (sscanf(content, "host %64s pid %9ld job %64s generation %18" SCNu64, h.host, &h.pid, h.job,
               &h.generation) != 4 ||
        h.pid < 1 || h.generation >= 1000000000000000000u) /* scanf also takes a sign */
        h = (holder){0};
    return h;
}

static bal_status write_content(bal_lock *lock, uint64_t generation)
{
    char host[BAL_HOST_BYTES];
    bal_host_name(host);
    const char *job = getenv("SLURM_JOB_ID");
    if (job == NULL || job[0] == '\0' || strpbrk(job, " \t\r\n\v\f") != NULL) job = "none";
    int n = snprintf(lock->content, sizeof lock->content,
                     "host %s\npid %ld\njob %.64s\ngeneration %" PRIu64 "\n", host, (long)getpid(),
                     job, generation);
    /* Cut after writing: a process killed in between leaves a generation to be read. */
    if (lseek(lock->fd, 0, SEEK_SET) != 0)
        return bal_fail(BAL_ERR_IO, "%s: %s", lock->path, strerror(errno));
    BAL_TRY(bal_write_all(lock->fd, lock->content, (size_t)n, lock->path));
    if (TEMP_FAILURE_RETRY(ftruncate(lock->fd, n)) != 0 || TEMP_FAILURE_RETRY(fsync(lock->fd)) != 0)
        return bal_fail(BAL_ERR_IO, "%s: cannot be written: %s", lock->path, strerror(errno));
    return BAL_OK;
}

bal_status bal_lock_take(const char *dir, bal_lock **lock)
{
    char content[CONTENT_BYTES];
    bal_status status = BAL_OK;
    bal_lock *l = calloc(1, sizeof *l);
    if (l == NULL) return bal_fail(BAL_ERR_MEMORY, "%s: no memory for the lock", dir);
    l->fd = -1;
    if (snprintf(l->path, sizeof l->path, "%s/run.lock", dir) >= (int)sizeof l->path) {
        status = bal_fail(BAL_ERR_IO, "%s/run.lock: the path is too long", dir);
        goto done;
    }
    l->fd = open(l->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (l->fd < 0) {
        status = bal_fail(BAL_ERR_IO, "%s: cannot be opened: %s", l->path, strerror(errno));
        goto done;
    }
    int taken = flock(l->fd, LOCK_EX | LOCK_NB);
    int reason = errno;
    holder before = {0};
    /* Unread, its generation would start again from 1. */
    if (!read_content(l->fd, content)) {
        status = bal_fail(BAL_ERR_IO, "%s: cannot be read: %s", l->path, strerror(errno));
        goto done;
    }
    before = parse(content);
    if (taken != 0 && reason != EWOULDBLOCK)
        status = bal_fail(BAL_ERR_IO, "%s: cannot be locked: %s", l->path, strerror(reason));
    else if (taken != 0 && before.pid == 0)
        status = bal_fail(BAL_ERR_STATE, "%s: another process has this run", l->path);
    else if (taken != 0)
        status = bal_fail(BAL_ERR_STATE, "%s: process %ld on host %s (job %s) has this run",
                          l->path, before.pid, before.host, before.job);
    else if ((status = write_content(l, before.generation + 1)) != BAL_OK && before.pid == 0)
        unlink(l->path); /* it says nothing yet */
    if (status == BAL_OK) status = bal_sync_dir(dir);
    if (status != BAL_OK) goto done;
    *lock = l;
    l = NULL;
done:
    bal_lock_release(&l);
    return status;
}

bal_status bal_lock_check(const bal_lock *lock)
{
    /* By path: a file system that was cut off, or a file that was replaced, shows only so. */
    char content[CONTENT_BYTES] = "";
    int fd = open(lock->path, O_RDONLY | O_CLOEXEC);
    bool read = fd >= 0 && read_content(fd, content);
    int reason = errno;
    if (fd >= 0) close(fd);
    if (!read)
        return bal_fail(BAL_ERR_STATE, "%s: cannot be read again, so this process must stop: %s",
                        lock->path, strerror(reason));
    if (strcmp(content, lock->content) == 0) return BAL_OK;
    holder now = parse(content);
    if (now.pid == 0)
        return bal_fail(BAL_ERR_STATE, "%s: no longer names this process, which must stop",
                        lock->path);
    return bal_fail(BAL_ERR_STATE,
                    "%s: process %ld on host %s (job %s) took this run over (generation %" PRIu64
                    "); this process must stop",
                    lock->path, now.pid, now.host, now.job, now.generation);
}

void bal_lock_release(bal_lock **lock)
{
    if (*lock == NULL) return;
    if ((*lock)->fd >= 0) close((*lock)->fd);
    free(*lock);
    *lock = NULL;
}
