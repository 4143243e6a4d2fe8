/* odd_host.c: preloaded into a rank, makes its host look as another one would: a clock that is
 * ahead (ODD_CLOCK seconds), a disk that is slow (ODD_SYNC milliseconds), locks that others do not
 * see (ODD_LOCKS). */
#include <stdlib.h>
#include <sys/file.h>
#include <sys/syscall.h>
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
