/* doctor_checks.c: what ballot doctor makes of what the ranks found: one function per check. */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli_impl.h"
#include "doctor.h"

#define MIB 1048576.0
#define GIB 1073741824.0

#define SLOW_SYNC_SECONDS 5e-3
#define FAR_CLOCK_SECONDS 1.0

const char *const bal_verdict_names[] = {"ok", "warn", "fail"};

__attribute__((format(printf, 3, 4))) static void say(bal_check *check, bal_verdict verdict,
                                                      const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(check->text, sizeof check->text, format, arguments);
    va_end(arguments);
    check->verdict = verdict;
}

/* ---- nodes: ranks come in any order, a node is named by its lowest rank ---- */

static bool is_first(const bal_findings *f, int rank) { return f->ranks[rank].node == rank; }

static int count_on(const bal_findings *f, int64_t node)
{
    int n = 0;
    for (int rank = 0; rank < f->size; ++rank) n += f->ranks[rank].node == node;
    return n;
}

static int count_nodes(const bal_findings *f)
{
    int n = 0;
    for (int rank = 0; rank < f->size; ++rank) n += is_first(f, rank);
    return n;
}

static const char *host_of(const bal_findings *f, int rank) { return f->ranks[rank].host.name; }

/* ---- the checks ---- */

static void check_mpi(const bal_findings *f, bal_check *c)
{
    const char *said = NULL; /* by who started this process, of a number of ranks */
    for (int rank = 1; rank < f->size; ++rank)
        if (strcmp(f->ranks[rank].mpi, f->ranks[0].mpi) != 0) {
            say(c, BAL_BAD, "%s on %s, but %s on %s (rank %d): install one version on every host",
                f->ranks[0].mpi, host_of(f, 0), f->ranks[rank].mpi, host_of(f, rank), rank);
            return;
        }
    static const char *const sizes[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && f->size == 1; ++i)
        if (getenv(sizes[i]) != NULL && atoi(getenv(sizes[i])) > 1) said = sizes[i];
    if (said != NULL)
        say(c, BAL_BAD,
            "%s says %s, but this is 1 rank: the launcher is not of this MPI; use the mpirun of "
            "the Open MPI above, or srun --mpi=pmix (%s)",
            said, getenv(said), f->ranks[0].mpi);
    else
        say(c, BAL_GOOD, "%s; %d %s on %d %s", f->ranks[0].mpi, f->size,
            f->size == 1 ? "rank" : "ranks", count_nodes(f),
            count_nodes(f) == 1 ? "node" : "nodes");
}

static void check_same(const bal_findings *f, bal_check *c, bool is_job)
{
    int n_others = 0, other = 0;
    for (int rank = f->size - 1; rank > 0; --rank) {
        const bal_facts *a = &f->ranks[rank], *b = &f->ranks[0];
        if (is_job ? a->job == b->job : a->program == b->program) continue;
        ++n_others;
        other = rank;
    }
    uint64_t hash = is_job ? f->ranks[0].job : f->ranks[0].program;
    char hex[17], theirs[17];
    if (n_others > 0)
        say(c, BAL_BAD,
            "%d of %d ranks have another %s than rank 0 (%s on %s), the first is rank %d (%s on "
            "%s): give every host the same file and every rank the same options",
            n_others, f->size, is_job ? "job" : "program", bal_hex(hash, hex), host_of(f, 0), other,
            bal_hex(is_job ? f->ranks[other].job : f->ranks[other].program, theirs),
            host_of(f, other));
    else if (is_job && hash == 0)
        say(c, BAL_GOOD, "none was given; with JOB.ini its memory and files are checked too");
    else
        say(c, BAL_GOOD, "%s%s on all ranks", is_job ? "" : "ballot " BALLOT_VERSION ", ",
            bal_hex(hash, hex));
}

static void check_program(const bal_findings *f, bal_check *c) { check_same(f, c, false); }
static void check_job(const bal_findings *f, bal_check *c) { check_same(f, c, true); }

static void check_kernels(const bal_findings *f, bal_check *c)
{
    size_t used = 0;
    int n_levels = 0;
    for (int rank = 0; rank < f->size && used < sizeof c->text; ++rank) {
        int n = 0, earlier = 0;
        for (int other = 0; other < f->size; ++other)
            if (strcmp(f->ranks[other].kernels, f->ranks[rank].kernels) == 0) {
                ++n;
                earlier += other < rank;
            }
        if (earlier > 0) continue;
        used += (size_t)snprintf(c->text + used, sizeof c->text - used, "%s%s on %d of %d ranks",
                                 n_levels++ > 0 ? ", " : "", f->ranks[rank].kernels, n, f->size);
    }
    if (n_levels > 1 && used < sizeof c->text)
        snprintf(c->text + used, sizeof c->text - used,
                 ": the result is the same, but the slowest decides how long a step takes");
}

static void check_cores(const bal_findings *f, bal_check *c)
{
    for (int rank = 0; rank < f->size; ++rank) {
        const bal_host *host = &f->ranks[rank].host;
        int n = count_on(f, rank);
        if (!is_first(f, rank) || n <= bal_host_n_cores(host)) continue;
        char quota[64] = "";
        if (host->quota > 0)
            snprintf(quota, sizeof quota, ", of which its cgroup may use %.2f", host->quota);
        say(c, BAL_WARN,
            "%d ranks on %s, which has %lld cores%s: more ranks than cores are slower, take %lld "
            "there",
            n, host->name, (long long)host->n_cores, quota, (long long)bal_host_n_cores(host));
        return;
    }
    say(c, BAL_GOOD, "no node has more ranks than cores; %s has %lld, and %d of %d ranks",
        host_of(f, 0), (long long)bal_host_n_cores(&f->ranks[0].host), count_on(f, 0), f->size);
}

/* Hall's theorem: ranks have a core each if no set of them is bound to fewer cores than they are.
 * The sets that matter are those of ranks bound within the cores of one. */
static void check_binding(const bal_findings *f, bal_check *c)
{
    bool bound = true;
    for (int rank = 0; rank < f->size; ++rank) {
        const bal_facts *me = &f->ranks[rank];
        int n_cores = bal_cores_count(me->host.cores, NULL), n = 0;
        if (n_cores == 0 || n_cores >= me->host.n_cores) {
            bound = bound && me->host.n_cores == 1;
            continue; /* free to run anywhere: too many of them are what "cores" is about */
        }
        for (int other = 0; other < f->size; ++other) {
            const bal_facts *them = &f->ranks[other];
            n += them->node == me->node && bal_cores_count(them->host.cores, me->host.cores) ==
                                               bal_cores_count(them->host.cores, NULL);
        }
        if (n <= n_cores) continue;
        int core = 0;
        while (!(me->host.cores[core / 64] >> core % 64 & 1)) ++core;
        say(c, BAL_WARN,
            "%d ranks on %s, rank %d among them, are bound to the same %d of its %lld cores (from "
            "core %d on) and wait for each other: mpirun --bind-to core --map-by core, or srun "
            "--cpu-bind=cores with one task per core",
            n, host_of(f, rank), rank, n_cores, (long long)me->host.n_cores, core);
        return;
    }
    say(c, BAL_GOOD, "%s",
        bound ? "each rank has a core of its own"
              : "ranks may move between the cores of their node");
}

static void check_threads(const bal_findings *f, bal_check *c)
{
    for (int rank = 0; rank < f->size; ++rank) {
        const bal_facts *me = &f->ranks[rank];
        int n = count_on(f, me->node);
        if (n == 1 || me->n_threads == 1 || n * me->n_threads <= bal_host_n_cores(&me->host))
            continue;
        say(c, BAL_WARN,
            "OpenBLAS would run %lld threads in each of %d ranks on %s, which has %lld cores, "
            "where a model of floats is evaluated: export OPENBLAS_NUM_THREADS=1",
            (long long)me->n_threads, n, me->host.name, (long long)bal_host_n_cores(&me->host));
        return;
    }
    say(c, BAL_GOOD, "%lld per rank for OpenBLAS, which serves models of floats alone",
        (long long)f->ranks[0].n_threads);
}

/* Copies of the model on a node of n ranks. */
static int n_copies(const bal_findings *f, int first)
{
    int n = count_on(f, first);
    return f->job->run.share == BAL_SHARE_NODE &&
                   f->ranks[first].shared_free >= bal_shared_needs((size_t)f->needs.copy.bytes)
               ? 1
               : n;
}

static void check_memory(const bal_findings *f, bal_check *c)
{
    for (int rank = 0; rank < f->size; ++rank) {
        const bal_host *host = &f->ranks[rank].host;
        bal_estimate needs = f->needs;
        if (!is_first(f, rank)) continue;
        needs.rank.program = f->ranks[rank].program_bytes;
        double bytes = f->job == NULL ? 0.0
                                      : (double)bal_estimate_node(&needs, count_on(f, rank),
                                                                  n_copies(f, rank));
        double has = (double)host->memory;
        if (bytes > has)
            say(c, BAL_BAD,
                "%s has %.2f GiB; the job takes %.2f there, and its texts: take fewer ranks per "
                "node or a smaller batch (ballot estimate says what takes how much)",
                host->name, has / GIB, bytes / GIB);
        else if (bytes > (double)host->free_now || (double)host->free_now < 0.1 * has)
            say(c, BAL_WARN,
                "%s has %.2f GiB, of which %.2f are free now%s: something else runs there",
                host->name, has / GIB, (double)host->free_now / GIB,
                bytes > (double)host->free_now ? ", too few for the job" : "");
        else
            continue;
        if (c->verdict == BAL_BAD) return;
    }
    if (c->text[0] != 0) return;
    const bal_host *host = &f->ranks[0].host;
    say(c, BAL_GOOD, "%.2f GiB on %s, %.2f free now", (double)host->memory / GIB, host->name,
        (double)host->free_now / GIB);
}

static void check_limits(const bal_findings *f, bal_check *c)
{
    for (int rank = 0; rank < f->size; ++rank) {
        const bal_facts *me = &f->ranks[rank];
        double memory =
            (double)f->needs.copy.bytes + (double)f->needs.rank.work + (double)me->program_bytes;
        double largest = (double)f->needs.files.checkpoint;
        if (me->limits.file_size >= 0 && largest > (double)me->limits.file_size && rank == 0)
            say(c, BAL_BAD,
                "ulimit -f allows files of %.1f MiB on %s; a checkpoint of the job has %.1f: raise "
                "it",
                (double)me->limits.file_size / MIB, me->host.name, largest / MIB);
        else if (me->limits.memory >= 0 && f->job != NULL && memory > (double)me->limits.memory)
            say(c, BAL_BAD, "ulimit -v allows rank %d on %s %.1f MiB; the job takes %.1f: raise it",
                rank, me->host.name, (double)me->limits.memory / MIB, memory / MIB);
        else if (me->limits.memory >= 0 || me->limits.file_size >= 0)
            say(c, BAL_WARN, "ulimit -%s is set on %s (rank %d): raise it if the run fails",
                me->limits.memory >= 0 ? "v (memory)" : "f (size of files)", me->host.name, rank);
        else if (me->limits.locked >= 0 && me->has_infiniband && count_nodes(f) > 1)
            say(c, BAL_WARN,
                "ulimit -l allows %.1f MiB of locked memory on %s, which InfiniBand wants without "
                "limit: set memlock in /etc/security/limits.conf, and for slurmd",
                (double)me->limits.locked / MIB, me->host.name);
        else
            continue;
        if (c->verdict == BAL_BAD) return;
    }
    if (c->text[0] == 0) say(c, BAL_GOOD, "none on memory or the size of files");
}

static void check_shared(const bal_findings *f, bal_check *c)
{
    double needed = f->job == NULL || f->job->run.share != BAL_SHARE_NODE
                        ? 0.0
                        : bal_shared_needs((size_t)f->needs.copy.bytes);
    bool used = false;
    for (int rank = 0; rank < f->size; ++rank) {
        double room = f->ranks[rank].shared_free;
        int n = count_on(f, rank);
        if (!is_first(f, rank) || n == 1) continue;
        used = true;
        if (room >= needed && room >= 0) continue;
        say(c, BAL_WARN,
            "%s on %s has %.1f MiB free, one model for a node needs %.1f: each of %d ranks there "
            "holds a model of its own; make it larger (containers: --shm-size), or give Open MPI "
            "another folder (--mca osc_sm_backing_directory DIR)",
            "shared memory", host_of(f, rank), room < 0 ? 0 : room / MIB, needed / MIB, n);
        return;
    }
    if (!used)
        say(c, BAL_GOOD, "not needed by one rank per node");
    else
        say(c, BAL_GOOD, "%.1f MiB free on %s%s", f->ranks[0].shared_free / MIB, host_of(f, 0),
            needed > 0 ? ", enough for one model per node" : "");
}

static void check_run(const bal_findings *f, bal_check *c)
{
    if (f->run.failure[0] != 0) {
        say(c, BAL_BAD, "%.900s: choose another directory with --run, or make room",
            f->run.failure);
        return;
    }
    for (int rank = 0; rank < f->size; ++rank)
        if (!f->ranks[rank].sees_run) {
            say(c, BAL_BAD,
                "%.700s: rank %d on %s does not see, or may not open, what rank 0 on %s writes "
                "there: put the run on a file system that all hosts share",
                f->run.where, rank, host_of(f, rank), host_of(f, 0));
            return;
        }
    say(c, BAL_GOOD, "%.700s on %s: written by rank 0, seen by all%s", f->run.where, f->run.kind,
        f->run.exists ? "" : "; the run makes its directory there");
}

static void check_sync(const bal_findings *f, bal_check *c)
{
    double ms = 1e3 * f->run.sync_seconds;
    if (f->run.sync_seconds > SLOW_SYNC_SECONDS)
        say(c, BAL_WARN,
            "a record of the journal takes %.2f ms to be written and synced, and every step waits "
            "for it: put the run on a faster or a local disk",
            ms);
    else
        say(c, BAL_GOOD, "%.2f ms for a record of the journal, once in each step", ms);
}

static void check_disk(const bal_findings *f, bal_check *c)
{
    double needed = f->job == NULL ? 64 * MIB : (double)f->needs.files.disk;
    char what[200];
    if (f->job == NULL)
        snprintf(what, sizeof what, "room for at least %.0f MiB", needed / MIB);
    else
        snprintf(what, sizeof what,
                 "%.1f MiB: %lld checkpoints of %.1f, best.h5, one being written, the journal, "
                 "metrics.jsonl",
                 needed / MIB, (long long)f->needs.files.n_kept,
                 (double)f->needs.files.checkpoint / MIB);
    if (f->run.free_bytes < needed)
        say(c, f->job == NULL ? BAL_WARN : BAL_BAD,
            "%.1f MiB free; expected %s: make room, or lower run.keep", f->run.free_bytes / MIB,
            what);
    else
        say(c, BAL_GOOD, "%.1f MiB free; expected %s", f->run.free_bytes / MIB, what);
}

static void check_locks(const bal_findings *f, bal_check *c)
{
    for (int rank = 0; rank < f->size; ++rank)
        if (f->ranks[rank].sees_run && !f->ranks[rank].was_kept_out) {
            say(c, BAL_WARN,
                "%s does not carry a lock of %s to %s (rank %d): nothing keeps you from starting "
                "the run twice on two hosts, the older one then stops at its next step; mount it "
                "with locks (NFS: without nolock; Lustre: -o flock)",
                f->run.kind, host_of(f, 0), host_of(f, rank), rank);
            return;
        }
    bool tried = count_nodes(f) > 1;
    if (f->run.is_remote && !tried)
        say(c, BAL_WARN,
            "%s may not carry locks between hosts, which only ranks on several hosts can try: run "
            "ballot doctor under mpirun or srun on them",
            f->run.kind);
    else
        say(c, BAL_GOOD, "%s",
            tried         ? "rank 0's lock keeps all hosts out"
            : f->size > 1 ? "rank 0's lock keeps the others out"
                          : "rank 0 can lock its files");
}

static void check_clock(const bal_findings *f, bal_check *c)
{
    int farthest = 0;
    for (int rank = 1; rank < f->size; ++rank)
        if (fabs(f->clock_offsets[rank]) > fabs(f->clock_offsets[farthest])) farthest = rank;
    double offset = f->clock_offsets[farthest], error = f->clock_errors[farthest];
    if (fabs(offset) - error > FAR_CLOCK_SECONDS)
        say(c, BAL_WARN,
            "the clock of %s (rank %d) is %.1f s %s that of %s: logs are hard to compare; let NTP "
            "set it",
            host_of(f, farthest), farthest, fabs(offset), offset > 0 ? "ahead of" : "behind",
            host_of(f, 0));
    else if (count_nodes(f) == 1)
        say(c, BAL_GOOD, "one node, one clock");
    else
        say(c, BAL_GOOD, "all within %.3g s of rank 0's, to %.2g s", fabs(offset), error);
}

/* KEY=VALUE of scontrol show job; "" where it says nothing. */
static void ask_slurm(const char *job, const char *key, char *value, size_t n_bytes)
{
    char command[128], word[512];
    FILE *answer = NULL;
    value[0] = 0;
    if (strspn(job, "0123456789") != strlen(job) || strlen(job) > 18) return;
    snprintf(command, sizeof command, "scontrol show job --oneliner %s 2>/dev/null", job);
    answer = popen(command, "re");
    while (answer != NULL && fscanf(answer, "%511s", word) == 1)
        if (strncmp(word, key, strlen(key)) == 0 && word[strlen(key)] == '=')
            snprintf(value, n_bytes, "%s", word + strlen(key) + 1);
    if (answer != NULL) pclose(answer);
}

static void check_slurm(const bal_findings *f, bal_check *c)
{
    const char *job = getenv("SLURM_JOB_ID"), *kill = getenv("SLURM_KILL_BAD_EXIT");
    char requeue[16], end[64], restarts[16];
    if (job == NULL || job[0] == 0) {
        say(c, BAL_GOOD, "not in a Slurm job");
        return;
    }
    for (int rank = 0; rank < f->size; ++rank)
        if (f->ranks[rank].slurm_rank != rank) {
            say(c, BAL_WARN,
                "job %s: rank %d was not started by srun, and mpirun dies by the same signals as "
                "its ranks: srun --mpi=pmix --kill-on-bad-exit=1 ballot ...",
                job, rank);
            return;
        }
    if (f->ranks[0].slurm_tasks >= 0 && f->ranks[0].slurm_tasks != f->size) {
        say(c, BAL_WARN, "job %s: %lld tasks in the step, but %d ranks: srun --mpi=pmix joins them",
            job, (long long)f->ranks[0].slurm_tasks, f->size);
        return;
    }
    ask_slurm(job, "Requeue", requeue, sizeof requeue);
    ask_slurm(job, "Restarts", restarts, sizeof restarts);
    ask_slurm(job, "EndTime", end, sizeof end);
    struct tm at = {0};
    double left = strptime(end, "%Y-%m-%dT%H:%M:%S", &at) == NULL
                      ? -1.0
                      : (at.tm_isdst = -1, difftime(mktime(&at), time(NULL)) / 3600);
    char hours[160] = "no end is known";
    if (left >= 0)
        snprintf(hours, sizeof hours,
                 "it ends in %.2f hours: sbatch --signal=B:USR1@120 lets the run save before",
                 left);
    if (kill != NULL && strcmp(kill, "0") == 0)
        say(c, BAL_WARN,
            "job %s: SLURM_KILL_BAD_EXIT is 0: a dead rank leaves the others waiting; srun "
            "--kill-on-bad-exit=1",
            job);
    else if (strcmp(requeue, "0") == 0)
        say(c, BAL_WARN,
            "job %s may not be requeued, so that a run that stops with exit code 75 stays so: "
            "sbatch --requeue; %s",
            job, hours);
    else
        say(c, BAL_GOOD, "job %s, %d tasks by srun, %s, %s restarts; %s%s", job, f->size,
            requeue[0] ? "may be requeued" : "requeue not known",
            restarts[0] ? restarts : "unknown", hours,
            kill == NULL ? "; give srun --kill-on-bad-exit=1" : "");
}

int bal_doctor_check(const bal_findings *f, bal_check checks[BAL_CHECKS_MAX])
{
    static const struct {
        const char *name;
        void (*check)(const bal_findings *, bal_check *);
        bool of_run; /* of --run, and of no use where that failed */
    } all[] = {
        {"mpi", check_mpi, false},         {"program", check_program, false},
        {"job", check_job, false},         {"kernels", check_kernels, false},
        {"cores", check_cores, false},     {"binding", check_binding, false},
        {"threads", check_threads, false}, {"memory", check_memory, false},
        {"limits", check_limits, false},   {"shared", check_shared, false},
        {"clock", check_clock, false},     {"slurm", check_slurm, false},
        {"run", check_run, false},         {"sync", check_sync, true},
        {"disk", check_disk, true},        {"locks", check_locks, true},
    };
    int n = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; ++i) {
        if (all[i].check == check_run && f->run.where[0] == 0) continue;
        if (all[i].of_run && (f->run.where[0] == 0 || f->run.failure[0] != 0)) continue;
        checks[n] = (bal_check){.name = all[i].name};
        all[i].check(f, &checks[n++]);
    }
    return n;
}
