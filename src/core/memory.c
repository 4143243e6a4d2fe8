/* memory.c: aligned zeroed memory, hashing, the clock. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "ballot/core.h"

void *bal_alloc(size_t count, size_t element_bytes)
{
    size_t n_bytes;
    if (__builtin_mul_overflow(count, element_bytes, &n_bytes) || n_bytes > SIZE_MAX - 64)
        return NULL;
    n_bytes      = n_bytes == 0 ? 64 : (n_bytes + 63) / 64 * 64;
    void *memory = aligned_alloc(64, n_bytes);
    if (memory != NULL) memset(memory, 0, n_bytes);
    return memory;
}

uint64_t bal_hash(const void *bytes, size_t n_bytes, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes, n_bytes, seed);
}

double bal_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
