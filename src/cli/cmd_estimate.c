/* cmd_estimate.c: ballot estimate */
#include <stdlib.h>
#include <string.h>

#include "ballot/estimate.h"
#include "cli_impl.h"
#include "host.h"

enum { KEY_PER_NODE = 256, KEY_MEMORY };

#define GIB 1073741824.0
#define MIB 1048576.0

typedef struct arguments {
    bal_common common;
    int64_t ranks, per_node; /* 0: not said */
    double memory;           /* GiB of a node; 0: this one's */
} arguments;

static const struct argp_option options[] = {
    {"ranks", 'n', "N", 0, "ranks of the run (default: those of this command)", 0},
    {"ranks-per-node", KEY_PER_NODE, "M", 0, "ranks on a node (default: one per core of this one)",
     0},
    {"memory", KEY_MEMORY, "GIB", 0, "memory of a node (default: that of this one)", 0},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    arguments *a = state->input;
    switch (key) {
        case 'n':
            a->ranks = bal_take_int(state, "ranks", arg, 1, 16777216);
            return 0;
        case KEY_PER_NODE:
            a->per_node = bal_take_int(state, "ranks-per-node", arg, 1, 16777216);
            return 0;
        case KEY_MEMORY:
            a->memory = bal_real_of(arg);
            if (!(a->memory > 0.0 && a->memory < 1e9))
                argp_error(state, "--memory=%s: expected GiB, a number above 0", arg);
            return 0;
        case ARGP_KEY_ARG:
            return bal_take_once(state, "job file", arg, &a->common.job);
        case ARGP_KEY_END:
            if (a->common.job == NULL) argp_error(state, "a job file is missing");
            return 0;
        default:
            return ARGP_ERR_UNKNOWN;
    }
}

/* What follows from the estimate for the ranks that were asked for. */
typedef struct plan {
    int64_t ranks, per_node, n_copies, rank_bytes, node_bytes, memory;
    double seconds;      /* of the run */
    double shared_lacks; /* bytes that shared memory here has too few for one model; 0: none */
    bool fits;
} plan;

static plan make_plan(const arguments *a, const bal_job *job, const bal_host *host,
                      const bal_estimate *e)
{
    plan p = {.ranks = a->ranks, .per_node = a->per_node};
    char dir[BAL_BACKING_BYTES];
    double room = 0;
    if (p.per_node == 0) p.per_node = bal_host_n_cores(host);
    if (p.per_node > p.ranks) p.per_node = p.ranks;
    bool shares = job->run.share == BAL_SHARE_NODE && p.per_node > 1;
    if (shares && a->memory == 0 && bal_shared_room(dir, &room) != BAL_OK) room = 0;
    if (shares && a->memory == 0 && room < bal_shared_needs((size_t)e->copy.bytes))
        p.shared_lacks = bal_shared_needs((size_t)e->copy.bytes) - room;
    p.n_copies = shares && p.shared_lacks == 0 ? 1 : p.per_node;
    p.node_bytes = bal_estimate_node(e, p.per_node, p.n_copies);
    p.rank_bytes = p.node_bytes / p.per_node;
    p.memory = a->memory > 0 ? (int64_t)(a->memory * GIB) : host->memory;
    p.fits = p.node_bytes <= p.memory;
    p.seconds = bal_estimate_seconds(e, job, p.ranks, p.per_node, p.n_copies);
    return p;
}

static void judge(const plan *p, const char **result, char *text, size_t n_bytes)
{
    double needs = (double)p->node_bytes / GIB, has = (double)p->memory / GIB;
    *result = !p->fits ? "fail" : needs > 0.9 * has || p->shared_lacks > 0 ? "warn" : "ok";
    if (!p->fits || needs > 0.9 * has)
        snprintf(text, n_bytes,
                 "a node needs %.2f GiB and has %.2f: take fewer ranks per node, a smaller "
                 "data.batch or data.context, model.codes = i4, or nodes with more memory",
                 needs, has);
    else if (p->shared_lacks > 0)
        snprintf(
            text, n_bytes,
            "shared memory here lacks %.0f MiB for one model per node, so that each rank holds "
            "its own: make /dev/shm larger (containers: --shm-size)",
            p->shared_lacks / MIB);
    else
        snprintf(text, n_bytes, "a node needs %.2f GiB and has %.2f", needs, has);
}

static json_t *to_json(const bal_job *job, const bal_context *context, const bal_estimate *e,
                       const plan *p, const char *result, const char *text)
{
    json_t *memory =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "kept",
                  (json_int_t)e->copy.kept, "codes", (json_int_t)e->copy.codes, "gains",
                  (json_int_t)e->copy.gains, "carries", (json_int_t)e->copy.carries, "scales",
                  (json_int_t)e->copy.scales, "program", (json_int_t)e->rank.program, "text",
                  (json_int_t)e->rank.text, "work", (json_int_t)e->rank.work, "reading",
                  (json_int_t)e->rank.reading, "loading", (json_int_t)e->copy.loading, "metrics",
                  (json_int_t)e->rank.metrics, "saving", (json_int_t)e->rank.saving);
    json_t *object = json_pack(
        "{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s}", "bytes",
        memory, "planned_ranks", (json_int_t)p->ranks, "planned_ranks_per_node",
        (json_int_t)p->per_node, "models_per_node", (json_int_t)p->n_copies, "rank_bytes",
        (json_int_t)p->rank_bytes, "node_bytes", (json_int_t)p->node_bytes, "memory_bytes",
        (json_int_t)p->memory, "step_bytes", (json_int_t)e->rank.sent, "checkpoint_bytes",
        (json_int_t)e->files.checkpoint, "journal_bytes", (json_int_t)e->files.journal, "log_bytes",
        (json_int_t)e->files.log, "rows_bytes", (json_int_t)e->files.rows, "disk_bytes",
        (json_int_t)e->files.disk, "steps", (json_int_t)job->run.steps, "result", result, "text",
        text);
    /* and what analysis/scale.py reads of a step; null where nothing was measured */
    int64_t per_set =
        bal_job_streams(job) == BAL_STREAM_VERSION_WIDE ? BAL_WALSH_SLOTS_WIDE : BAL_WALSH_SLOTS;
    int64_t sets = (job->vote.slots + per_set - 1) / per_set;
    json_t *step =
        !e->times.measured
            ? json_pack("{s:n, s:n, s:n, s:n, s:n}", "seconds_per_probe", "update_seconds",
                        "seconds_per_evaluation", "seconds_per_step", "hours")
            : json_pack("{s:f, s:f, s:f, s:f, s:f}", "seconds_per_probe", e->times.probe,
                        "update_seconds",
                        e->times.update / (double)sets / (double)bal_comm_size(context->comm),
                        "seconds_per_evaluation", e->times.eval * (double)e->n_eval_batches,
                        "seconds_per_step", p->seconds / (double)job->run.steps, "hours",
                        p->seconds / 3600);
    json_object_update(object, step);
    json_decref(step);
    json_object_set_new(object, "shape", bal_json_text(job->model.path));
    json_object_set_new(object, "ranks", json_integer(bal_comm_size(context->comm)));
    json_object_set_new(object, "codes", json_integer(e->n_codes));
    json_object_set_new(object, "tokens", json_integer(job->data.batch * job->data.context));
    json_object_set_new(object, "sequences", json_integer(job->data.batch));
    return object;
}

static void print(const bal_job *job, const bal_estimate *e, const plan *p)
{
    const struct {
        const char *name;
        int64_t bytes;
        const char *what;
    } kinds[] = {
        {"codes", e->copy.codes, "one model per node"},
        {"gains", e->copy.gains, ""},
        {"carries", e->copy.carries, ""},
        {"scales", e->copy.scales, ""},
        {"kept", e->copy.kept,
         "rows of a task as codes that never move read them; the base, and what searches try"},
        {"program", e->rank.program, "each rank: libraries, MPI"},
        {"text", e->rank.text, "each rank: tokens, tokenizer, what reading leaves behind"},
        {"work", e->rank.work, "each rank: activations of a probe"},
        {"reading", e->rank.reading,
         "each rank, while it reads the texts, before there is a model"},
        {"loading", e->copy.loading, "each model, while it is read, before there is work"},
        {"metrics", e->rank.metrics, "rank 0, one step's; the rows of all steps are on disk"},
        {"saving", e->rank.saving, "rank 0, while it writes a checkpoint"},
    };
    printf("%s: %lld rank%s, %lld to a node, %lld slots, %lld x %lld tokens per probe\n\n",
           job->model.path, (long long)p->ranks, p->ranks == 1 ? "" : "s", (long long)p->per_node,
           (long long)job->vote.slots, (long long)job->data.batch, (long long)job->data.context);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; ++i)
        printf("%-16s %10.2f MiB%s%s\n", kinds[i].name, (double)kinds[i].bytes / MIB,
               kinds[i].what[0] ? "  " : "",
               i == 0 && p->n_copies > 1 ? "a model per rank" : kinds[i].what);
    printf("%-16s %10.2f MiB\n%-16s %10.2f MiB\n\n", "of each rank", (double)p->rank_bytes / MIB,
           "of each node", (double)p->node_bytes / MIB);
    printf("bytes per step   %lld sent by each rank\n", (long long)e->rank.sent);
    printf("checkpoint       %.2f MiB after the last step\n", (double)e->files.checkpoint / MIB);
    printf("journal          %lld bytes after the last step\n", (long long)e->files.journal);
    printf("metrics.jsonl    %.2f MiB after the last step, at most\n", (double)e->files.log / MIB);
    printf("rows for plots   %.2f MiB after the last step, gone when the process ends\n",
           (double)e->files.rows / MIB);
    printf("on disk          %.2f MiB: these, %lld checkpoints, best.h5 and one being written\n",
           (double)e->files.disk / MIB, (long long)e->files.n_kept);
    if (!e->times.measured) {
        printf("step             not measured: the job does not fit into this machine\n");
        return;
    }
    printf("probe            %.4g s by each rank, mean of %d with the job's model and data\n",
           e->times.probe, e->times.n_probes);
    printf("update           %.4g s by one rank alone, by all %lld slots\n", e->times.update,
           (long long)job->vote.slots);
    if (e->n_evals > 0)
        printf("evaluation       %.4g s by one rank alone; %lld in the run\n",
               e->times.eval * (double)e->n_eval_batches, (long long)e->n_evals);
    printf("step             %.4g s, evaluations shared out\n",
           p->seconds / (double)job->run.steps);
    printf(
        "run              %.3g hours for %lld steps; waiting, messages, journal and checkpoints "
        "come on top\n",
        p->seconds / 3600, (long long)job->run.steps);
}

bal_status bal_command_estimate(bal_context *context, int argc, char **argv)
{
    const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "JOB.ini",
        .doc =
            "Say what a run of the job will take, before it is submitted: memory by kind, bytes "
            "per step and files. A few probes with its model and data give seconds per step and "
            "hours.\v"
            "On several ranks all of them probe at once, as in a run: mpirun -n RANKS "
            "ballot estimate JOB.ini. With --json it prints what analysis/scale.py reads to "
            "predict many nodes. Exit code 1: the job does not fit into the memory of a "
            "node.",
    };
    arguments a = {.common = BAL_COMMON_DEFAULT};
    bal_parse(context, &argp, "sitJ", argc, argv, &a.common);
    bal_job_source source;
    bal_host host;
    bal_estimate e;
    int64_t rss, program;
    bal_memory_resident(&rss, &program);
    bal_host_read(&host);
    bal_status status = bal_job_read_to_run(bal_comm_alone(), a.common.job, a.common.overrides,
                                            a.common.n_overrides, NULL, &source);
    if (status == BAL_OK) status = bal_isa_check(&a.common);
    status = bal_comm_agree(context->comm, status);
    if (a.ranks == 0) a.ranks = bal_comm_size(context->comm);
    if (status == BAL_OK)
        status = bal_estimate_job(&source.job, &a.common.machine, context->comm, host.memory,
                                  program, &e);
    if (status == BAL_OK) {
        const char *result;
        char text[512];
        plan p = make_plan(&a, &source.job, &host, &e);
        judge(&p, &result, text, sizeof text);
        if (a.common.json) {
            status = bal_print_json(context, to_json(&source.job, context, &e, &p, result, text));
        } else if (context->prints) {
            print(&source.job, &e, &p);
            printf("%-16s %s\n", result, text);
        }
        /* hosts may differ: what rank 0 has printed counts */
        if (status == BAL_OK && context->prints && !p.fits)
            status = bal_fail(BAL_ERR_FAILED, "%s", text);
        status = bal_comm_agree(context->comm, status);
    }
    bal_job_source_clear(&source);
    return status;
}
