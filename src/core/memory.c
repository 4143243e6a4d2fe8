/* memory.c: aligned zeroed memory, memory use, hashing, the machine's name, the clock, medians. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "ballot/core.h"

#define LARGE_PAGE ((size_t)1 << 21) /* so that rows far apart need few TLB entries */

void *bal_alloc(size_t count, size_t element_bytes)
{
    size_t n_bytes;
    if (__builtin_mul_overflow(count, element_bytes, &n_bytes) || n_bytes > SIZE_MAX - 64)
        return NULL;
    n_bytes = n_bytes == 0 ? 64 : (n_bytes + 63) / 64 * 64;
    void *memory = NULL;
    bool large = n_bytes >= 2 * LARGE_PAGE;
    if (posix_memalign(&memory, large ? LARGE_PAGE : 64, n_bytes) != 0) return NULL;
    if (large) madvise(memory, n_bytes, MADV_HUGEPAGE); /* only advice: failure does no harm */
    memset(memory, 0, n_bytes);
    return memory;
}

bool bal_grow(void *array, size_t *room, size_t n, size_t element_bytes)
{
    if (n <= *room) return true;
    if (n > SIZE_MAX / 4) return false;
    void *old;
    size_t n_more = n + n / 2 + 16;
    memcpy(&old, array, sizeof old); /* a pointer of any type */
    void *larger = reallocarray(old, n_more, element_bytes);
    if (larger == NULL) return false;
    memcpy(array, &larger, sizeof larger);
    *room = n_more;
    return true;
}

bool bal_memory_resident(int64_t *rss, int64_t *pss)
{
    FILE *file = fopen("/proc/self/smaps_rollup", "re");
    char line[256];
    long long kib;
    *rss = *pss = 0;
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "Rss: %lld", &kib) == 1) *rss = 1024 * (int64_t)kib;
        if (sscanf(line, "Pss: %lld", &kib) == 1) *pss = 1024 * (int64_t)kib;
    }
    if (file != NULL) fclose(file);
    return *pss > 0;
}

int64_t bal_memory_peak(void)
{
    FILE *file = fopen("/proc/self/status", "re"); /* getrusage still counts what ran before exec */
    char line[256];
    long long kib = 0;
    int64_t rss, pss;
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "VmHWM: %lld", &kib) == 1) break;
    if (file != NULL) fclose(file);
    bal_memory_resident(&rss, &pss);
    return 1024 * (int64_t)kib - rss + pss;
}

uint64_t bal_hash(const void *bytes, size_t n_bytes, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes, n_bytes, seed);
}

void bal_host_name(char name[BAL_HOST_BYTES])
{
    if (gethostname(name, BAL_HOST_BYTES) != 0 || name[0] == 0) strcpy(name, "unknown");
}

double bal_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bal_median(double *values, int n)
{
    qsort(values, (size_t)n, sizeof *values, ascending);
    return values[n / 2];
}
