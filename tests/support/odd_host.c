/* odd_host.c: preloaded into a rank, makes its host look as another one would: a clock that is
 * ahead (ODD_CLOCK seconds), a disk that is slow (ODD_SYNC milliseconds), locks that others do not
 * see (ODD_LOCKS), a file that the disk does not give back (ODD_UNREADABLE, the end of its path)
 * after ODD_READS reads of it, an MPI that takes ODD_START or ODD_END seconds to start or end; or
 * lets an alarm of ODD_ALARM seconds come after two. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long setting(const char *name)
{
    const char *text = getenv(name);
    return text == NULL ? 0 : atol(text);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_REALTIME) now->tv_sec += setting("ODD_CLOCK");
    return result;
}

int fdatasync(int fd)
{
    (void)fd;
    return usleep((useconds_t)(1000 * setting("ODD_SYNC")));
}

int flock(int fd, int how) { return setting("ODD_LOCKS") ? 0 : (int)syscall(SYS_flock, fd, how); }

ssize_t pread(int fd, void *bytes, size_t n_bytes, off_t offset)
{
    const char *lost = getenv("ODD_UNREADABLE");
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = lost == NULL ? -1 : readlink(link, path, sizeof path);
    size_t end = lost == NULL ? 0 : strlen(lost);
    static long n_reads;
    if (n >= (ssize_t)end && n > 0 && memcmp(path + n - end, lost, end) == 0 &&
        n_reads++ >= setting("ODD_READS")) {
        errno = EIO;
        return -1;
    }
    return (ssize_t)syscall(SYS_pread64, fd, bytes, n_bytes, offset);
}

unsigned alarm(unsigned seconds)
{
    if (seconds > 0 && seconds == setting("ODD_ALARM")) seconds = 2;
    struct itimerval timer = {.it_value = {(time_t)seconds, 0}};
    return (unsigned)setitimer(ITIMER_REAL, &timer, NULL);
}

int PMPI_Init(int *argc, char ***argv);
int MPI_Init(int *argc, char ***argv)
{
    sleep((unsigned)setting("ODD_START"));
    return PMPI_Init(argc, argv);
}

int PMPI_Finalize(void);
int MPI_Finalize(void)
{
    sleep((unsigned)setting("ODD_END"));
    return PMPI_Finalize();
}
