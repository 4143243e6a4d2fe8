/* cmd_doctor.c: ballot doctor: every rank says what it knows of itself, rank 0 what is wrong. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "ballot/source.h"
#include "cli_impl.h"
#include "doctor.h"

#define N_ROUNDS 8
#define RECORD_BYTES 200 /* of a journal of some 512 slots, where no job says how many */

typedef struct arguments {
    bal_common common;
    const char *run;
} arguments;

static const struct argp_option options[] = {
    {"run", 'r', "DIR", 0, "run directory to try; it need not exist", 0}, {0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    arguments *a = state->input;
    switch (key) {
        case 'r':
            if (arg[0] == 0) argp_error(state, "--run: a directory is missing");
            a->run = arg;
            return 0;
        case ARGP_KEY_ARG:
            return bal_take_once(state, "job file", arg, &a->common.job);
        case ARGP_KEY_END:
            if (a->common.job == NULL && a->common.n_overrides > 0)
                argp_error(state, "-s is of a job: give JOB.ini as well");
            return 0;
        default:
            return ARGP_ERR_UNKNOWN;
    }
}

static int64_t limit(int resource)
{
    struct rlimit limit;
    return getrlimit((__rlimit_resource_t)resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY
               ? -1
               : (int64_t)limit.rlim_cur;
}

/* A number from the environment; otherwise where there is none. */
static int64_t number_of(const char *name, int64_t otherwise)
{
    const char *text = getenv(name);
    char *end = NULL;
    long long n = text == NULL ? 0 : strtoll(text, &end, 10);
    return text == NULL || end == text ? otherwise : n;
}

static bool folder_has_entries(const char *path)
{
    DIR *dir = opendir(path);
    int n = 0;
    while (dir != NULL && readdir(dir) != NULL) ++n;
    if (dir != NULL) closedir(dir);
    return n > 2;
}

static double wall_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static bal_status know_myself(bal_comm *comm, const bal_job *job, bal_facts *me)
{
    int fd;
    int64_t rss, n_bytes;
    char dir[BAL_BACKING_BYTES];
    *me = (bal_facts){
        .node = bal_comm_node(comm),
        .job = job == NULL ? 0 : bal_hash(job->text, strlen(job->text), 0),
        .limits = {limit(RLIMIT_MEMLOCK), limit(RLIMIT_FSIZE), limit(RLIMIT_AS)},
        .has_infiniband = folder_has_entries("/sys/class/infiniband"),
        .slurm_rank = number_of("SLURM_STEP_ID", -1) < 0 ? -1 : number_of("SLURM_PROCID", -1),
        .slurm_tasks = number_of("SLURM_STEP_NUM_TASKS", -1)};
    bal_host_read(&me->host);
    bal_comm_describe(me->mpi, sizeof me->mpi);
    snprintf(me->kernels, sizeof me->kernels, "%s", bal_kernels_at(bal_isa_best())->name);
    me->n_threads = number_of("OPENBLAS_NUM_THREADS",
                              number_of("OMP_NUM_THREADS", bal_cores_count(me->host.cores, NULL)));
    if (bal_shared_room(dir, &me->shared_free) != BAL_OK) me->shared_free = -1.0;
    bal_memory_resident(&rss, &me->program_bytes);
    BAL_TRY(bal_open_to_read("/proc/self/exe", &fd, &n_bytes));
    bal_status status = bal_file_hash(fd, 0, "/proc/self/exe", &me->program, &n_bytes);
    close(fd);
    return status;
}

/* Whether all that the job reads is there, and what it takes, from the model's outline alone. */
static bal_status open_job(const bal_job *job, bal_estimate *needs)
{
    bal_inputs inputs;
    BAL_TRY(bal_inputs_open(job, &inputs));
    bal_status status = bal_estimate_work(job, &inputs, needs);
    bal_estimate_files(job, inputs.bundle.model, &inputs.bundle.files, needs);
    bal_inputs_clear(&inputs);
    return status;
}

/* Clocks against rank 0's. A rank reads its own between two gatherings: after rank 0 began the
 * first and before rank 0 has the second, which bounds the difference; the closest of some bounds
 * counts. Collective; ranks in *all. */
static bal_status compare_clocks(bal_comm *comm, bal_facts *me, bal_facts *all, double *offsets,
                                 double *errors)
{
    double before = wall_seconds();
    for (int round = 0; round <= N_ROUNDS; ++round) {
        double began = wall_seconds();
        me->clock = began;
        BAL_TRY(bal_comm_gather(comm, (const uint64_t *)(const void *)me, sizeof *me / 8,
                                (uint64_t *)(void *)all));
        double error = (wall_seconds() - before) / 2, middle = before + error;
        for (int rank = 0; rank < bal_comm_size(comm) && round > 0; ++rank)
            if (round == 1 || error < errors[rank]) {
                errors[rank] = error;
                offsets[rank] = all[rank].clock - middle;
            }
        before = began;
    }
    offsets[0] = 0.0;
    return BAL_OK;
}

/* Rank 0: the lines, or the object; the worst of them in *worst. */
static bal_status report(const bal_context *context, const bal_findings *findings, bool as_json,
                         bal_verdict *worst)
{
    bal_check *checks = bal_alloc(BAL_CHECKS_MAX, sizeof *checks);
    if (checks == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for the checks");
    int n = bal_doctor_check(findings, checks);
    json_t *list = json_array();
    *worst = BAL_GOOD;
    for (int i = 0; i < n; ++i) {
        const bal_check *c = &checks[i];
        if (c->verdict > *worst) *worst = c->verdict;
        if (!as_json) printf("%-5s %-8s %s\n", bal_verdict_names[c->verdict], c->name, c->text);
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:o}", "check", c->name, "result",
                            bal_verdict_names[c->verdict], "text", bal_json_text(c->text)));
    }
    free(checks);
    json_t *object = json_pack("{s:i, s:s, s:o}", "ranks", findings->size, "result",
                               bal_verdict_names[*worst], "checks", list);
    if (as_json) return bal_print_json(context, object);
    json_decref(object);
    return BAL_OK;
}

/* All ranks have read the job, if there is one. Collective. */
static bal_status examine(bal_context *context, const arguments *a, const bal_job *job,
                          const bal_estimate *needs)
{
    bal_comm *comm = context->comm;
    size_t size = (size_t)bal_comm_size(comm);
    bal_facts me, *all = bal_alloc(size, sizeof *all);
    double *offsets = bal_alloc(size, sizeof *offsets), *errors = bal_alloc(size, sizeof *errors);
    bal_findings findings = {.size = (int)size,
                             .ranks = all,
                             .clock_offsets = offsets,
                             .clock_errors = errors,
                             .job = job,
                             .needs = *needs};
    bal_verdict worst = BAL_GOOD;
    int64_t record = job == NULL
                         ? RECORD_BYTES
                         : bal_journal_bytes((int)job->vote.slots, bal_job_journal(job), 1) -
                               bal_journal_bytes((int)job->vote.slots, bal_job_journal(job), 0);
    bal_status status = know_myself(comm, job, &me);
    if (all == NULL || offsets == NULL || errors == NULL)
        status = bal_fail(BAL_ERR_MEMORY, "no memory for what %zu ranks say", size);
    status = bal_comm_agree(comm, status);
    if (status == BAL_OK) status = bal_doctor_look(comm, a->run, record, &findings.run, &me);
    if (status == BAL_OK) status = compare_clocks(comm, &me, all, offsets, errors);
    if (status == BAL_OK && context->prints)
        status = report(context, &findings, a->common.json, &worst);
    if (status == BAL_OK && worst == BAL_BAD)
        status = bal_fail(BAL_ERR_FAILED, "a run would fail here; see the failures above");
    status = bal_comm_agree(comm, status);
    free(all);
    free(offsets);
    free(errors);
    return status;
}

bal_status bal_command_doctor(bal_context *context, int argc, char **argv)
{
    const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "[JOB.ini]\nRUN",
        .doc =
            "Check whether this machine or cluster is fit for a run. Prints a line for each check: "
            "ok, warn or fail, what was found and what to do.\v"
            "Of a run directory it says what limits the run, and what to do about it. "
            "Start it as the run will be started: mpirun -n RANKS ballot doctor JOB.ini --run DIR, "
            "or with srun. Nothing is left in the run directory. Exit code 1: a check failed.",
    };
    arguments a = {.common = BAL_COMMON_DEFAULT};
    bal_parse(context, &argp, "sJ", argc, argv, &a.common);
    if (a.common.job != NULL && bal_is_dir(a.common.job))
        return bal_leaves_to_rank_0(context) ? BAL_OK
                                             : bal_doctor_run(context, a.common.job, a.common.json);
    bal_job_source source = {0};
    bal_estimate needs = {0};
    int64_t n_jobs = a.common.job != NULL; /* a rank may have been given none, by mistake */
    BAL_TRY(bal_comm_sum(context->comm, &n_jobs, 1));
    bal_comm *readers = n_jobs == bal_comm_size(context->comm) ? context->comm : bal_comm_alone();
    bal_status status = BAL_OK;
    if (a.common.job != NULL)
        status = bal_job_read_to_run(readers, a.common.job, a.common.overrides,
                                     a.common.n_overrides, a.run, &source);
    if (status == BAL_OK && a.common.job != NULL) status = open_job(&source.job, &needs);
    status = bal_comm_agree(context->comm, status);
    if (status == BAL_OK)
        status = examine(context, &a, a.common.job == NULL ? NULL : &source.job, &needs);
    bal_job_source_clear(&source);
    return status;
}
