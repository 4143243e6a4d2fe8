/* host.c: what a machine gives to this process: cores, their time, memory; from the scheduler,
 * sysfs and the limits of cgroups, of which a container has its own. */
#include <math.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "host.h"

enum { N_CPUS = 64 * BAL_CPU_WORDS };

/* The first numbers of a small file; how many there were. "max" and the like count as none. */
static int read_numbers(const char *folder, const char *name, double numbers[2])
{
    char path[4096 + 64];
    FILE *file = NULL;
    int n = 0;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if ((file = fopen(path, "re")) == NULL) return 0;
    n = fscanf(file, "%lf %lf", &numbers[0], &numbers[1]);
    fclose(file);
    return n < 0 ? 0 : n;
}

static void read_cores(bal_host *host)
{
    size_t bytes = CPU_ALLOC_SIZE(N_CPUS);
    cpu_set_t *mine = CPU_ALLOC(N_CPUS);
    bool known = mine != NULL && sched_getaffinity(0, bytes, mine) == 0;
    for (int cpu = 0; cpu < N_CPUS; ++cpu) {
        char folder[96];
        double first[2];
        snprintf(folder, sizeof folder, "/sys/devices/system/cpu/cpu%d/topology", cpu);
        if (read_numbers(folder, "thread_siblings_list", first) < 1) first[0] = cpu;
        int core = first[0] >= 0 && first[0] < N_CPUS ? (int)first[0] : cpu;
        if (known && CPU_ISSET_S((size_t)cpu, bytes, mine))
            host->cores[core / 64] |= (uint64_t)1 << core % 64;
        if (core == cpu && access(folder, F_OK) == 0) ++host->n_cores;
    }
    if (mine != NULL) CPU_FREE(mine);
    if (host->n_cores == 0) host->n_cores = sysconf(_SC_NPROCESSORS_ONLN);
}

static void lower(double *limit, double value)
{
    if (value > 0 && (*limit <= 0 || value < *limit)) *limit = value;
}

/* The limits of one folder of a cgroup, of version 2 or 1; what the folder has not says nothing. */
static void read_limits(const char *folder, double *quota, double *memory)
{
    double n[2], period[2];
    if (read_numbers(folder, "cpu.max", n) == 2) lower(quota, n[0] / n[1]);
    if (read_numbers(folder, "cpu.cfs_quota_us", n) > 0 &&
        read_numbers(folder, "cpu.cfs_period_us", period) > 0)
        lower(quota, n[0] / period[0]);
    if (read_numbers(folder, "memory.max", n) > 0) lower(memory, n[0]);
    if (read_numbers(folder, "memory.limit_in_bytes", n) > 0) lower(memory, n[0]);
}

/* Of every cgroup of this process, its own folder and those above it: the least counts. A container
 * may name a folder that it cannot see, but sees the one that limits it as the topmost. */
static void read_cgroups(double *quota, double *memory)
{
    FILE *file = fopen("/proc/self/cgroup", "re");
    char line[4096];
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':'), *path;
        if (controllers == NULL || (path = strchr(++controllers, ':')) == NULL) continue;
        *path++ = 0;
        char folder[2 * sizeof line];
        int root = snprintf(folder, sizeof folder, "/sys/fs/cgroup/%s", controllers);
        snprintf(folder + root, sizeof folder - (size_t)root, "%s", path);
        for (char *slash = folder + strlen(folder); slash != NULL && slash - folder >= root;
             slash = strrchr(folder, '/')) {
            *slash = 0;
            read_limits(folder, quota, memory);
        }
        folder[root] = 0;
        read_limits(folder, quota, memory);
    }
    if (file != NULL) fclose(file);
}

void bal_host_read(bal_host *host)
{
    FILE *file = fopen("/proc/meminfo", "re");
    char line[256];
    double memory = 0, limit = 0, available = 0, kib;
    *host = (bal_host){0};
    bal_host_name(host->name);
    read_cores(host);
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "MemTotal: %lf", &kib) == 1) memory = 1024 * kib;
        if (sscanf(line, "MemAvailable: %lf", &kib) == 1) available = 1024 * kib;
    }
    if (file != NULL) fclose(file);
    read_cgroups(&host->quota, &limit);
    lower(&memory, limit);
    host->memory = (int64_t)memory;
    host->free_now = (int64_t)(available < memory ? available : memory);
}

int bal_cores_count(const uint64_t a[BAL_CPU_WORDS], const uint64_t *b)
{
    int n = 0;
    for (int word = 0; word < BAL_CPU_WORDS; ++word)
        n += __builtin_popcountll(b == NULL ? a[word] : a[word] & b[word]);
    return n;
}

int64_t bal_host_n_cores(const bal_host *host)
{
    int64_t n = host->n_cores;
    if (host->quota > 0 && host->quota < (double)n) n = (int64_t)(host->quota + 0.5);
    return n < 1 ? 1 : n;
}
