/* fault_commands.c: a command whose n-th allocation fails ends with exit code 4 and a sentence, or
 * does without it and ends well; it never crashes, leaks or leaves half a file, and a run goes on.
 * BALLOT_FAULT_FIRST: of each command the first so many allocations fail, one in each attempt;
 * BALLOT_FAULT_SAMPLE: so many of those behind, chosen by BALLOT_TEST_SEED. 0: all. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "child.h"
#include "cli/cli_impl.h"
#include "comm/comm_impl.h"
#include "suite.h"

enum { WORDS_MAX = 32 };

static char    base[256], model[1024], text[300];
static char    said[300]; /* file of the standard output */
static report *told;

/* A command as it is typed; OUT stands for a name in a fresh folder. */
typedef struct line {
    const char *words; /* without "ballot", cut at blanks */
    const char *out;   /* what it writes, checked when the command ended well; NULL: nothing */
    bool        times; /* prints durations, so never the same twice */
} line;

static const char *const job_words =
    "-s vote.slots=2 -s data.context=8 -s data.batch=1 -s run.steps=3 -s run.eval_every=2 "
    "-s run.checkpoint_every=2 -s run.check_every=1 -s data.dev_examples=1 -s run.share=rank";

static const line lines[] = {
    {"config JOB", NULL, false},
    {"config JOB --json", NULL, false},
    {"inspect MODEL", NULL, false},
    {"inspect RUN/ballots.journal --verify", NULL, false},
    {"inspect RUN/step-000003.h5 --json", NULL, false},
    {"eval MODEL --job JOB SET --json", NULL, false},
    {"eval RUN/step-000003.h5 --job JOB SET", NULL, false},
    {"generate MODEL the -n 3", NULL, false},
    {"quantize MODEL -o OUT/q.h5", "q.h5", false},
    {"replay MODEL RUN/ballots.journal -o OUT/r.h5", "r.h5", false},
    {"export RUN/step-000003.h5 OUT/folder", "folder", false},
    {"doctor JOB SET --run OUT/run --json", NULL, true},
    {"estimate JOB SET --json", NULL, true},
    {"bench --product=4,32,64 --json", NULL, true},
    {"train JOB SET --run OUT/run", NULL, true},
};

static bool substitute(const char *word, const char *out, char *to, size_t n)
{
    const char *const names[] = {"JOB", "MODEL", "RUN", "OUT"};
    char              job[300], run[300];
    snprintf(job, sizeof job, "%s/job.ini", base);
    snprintf(run, sizeof run, "%s/run", base);
    const char *values[] = {job, model, run, out};
    for (int i = 0; i < 4; ++i) {
        size_t m = strlen(names[i]);
        if (strncmp(word, names[i], m) == 0 && (word[m] == 0 || word[m] == '/'))
            return snprintf(to, n, "%s%s", values[i], word + m) < (int)n;
    }
    return snprintf(to, n, "%s", word) < (int)n;
}

/* One rank, which allocates nothing. */
static bal_status reduce(bal_comm *comm, const bal_reduction *how, uint64_t *words)
{
    (void)comm, (void)how, (void)words;
    return BAL_OK;
}

static bal_status gather(bal_comm *comm, const uint64_t *mine, int n, uint64_t *all)
{
    (void)comm;
    memcpy(all, mine, (size_t)n * 8);
    return BAL_OK;
}

static bal_status broadcast(bal_comm *comm, int root, void *bytes, size_t n_bytes)
{
    (void)comm, (void)root, (void)bytes, (void)n_bytes;
    return BAL_OK;
}

static const char *host(bal_comm *comm, int rank)
{
    (void)comm, (void)rank;
    return "here";
}

static void destroy(bal_comm *comm) { (void)comm; }

static const bal_transport alone = {reduce, gather, broadcast, host, destroy};

typedef struct call {
    int                   argc;
    char                 *argv[WORDS_MAX * 2];
    const bal_fault_plan *plan;
} call;

static bal_status run_command(call *c)
{
    bal_comm           comm    = {.transport = &alone, .size = 1};
    bal_context        context = {.comm = &comm, .prints = true};
    const bal_command *command = bal_commands;
    while (strcmp(command->name, c->argv[0]) != 0) ++command;
    bal_fault_begin(c->plan);
    bal_status status = command->run(&context, c->argc, c->argv);
    told->n_calls     = bal_fault_end();
    return status;
}

/* The command in this process; does not return. */
static _Noreturn void be_the_command(const line *l, const char *out, const bal_fault_plan *plan)
{
    static char words[WORDS_MAX * 2][PATH_MAX];
    char        copy[1024], *rest = NULL;
    call        c = {.plan = plan};
    size_t      n = 0;
    for (const char *at = l->words; *at != 0 && n < sizeof copy - 600;)
        if (strncmp(at, "SET", 3) == 0)
            n += (size_t)snprintf(copy + n, sizeof copy - n, "%s", job_words), at += 3;
        else
            copy[n++] = *at++;
    copy[n] = 0;
    for (char *word = strtok_r(copy, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        if (!substitute(word, out, words[c.argc], PATH_MAX)) _exit(121);
        c.argv[c.argc] = words[c.argc];
        ++c.argc;
    }
    FILE *nowhere = fopen("/dev/null", "we");
    if (nowhere == NULL || freopen(said, "w", stdout) == NULL) _exit(121);
    stderr            = nowhere; /* progress; a sanitizer still has file 2 */
    bal_status status = run_command(&c);
    told->status      = status;
    snprintf(told->sentence, sizeof told->sentence, "%s", bal_failure());
    exit(bal_status_exit_code(status));
}

static int run_line(const line *l, const char *out, const bal_fault_plan *plan)
{
    int code;
    *told = (report){0};
    fflush(NULL);
    pid_t child = fork();
    CU_ASSERT_FATAL(child >= 0);
    if (child == 0) be_the_command(l, out, plan);
    CU_ASSERT_EQUAL_FATAL(waitpid(child, &code, 0), child);
    return WIFEXITED(code) ? WEXITSTATUS(code) : -WTERMSIG(code);
}

static void remove_all(const char *path)
{
    char command[PATH_MAX + 32];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    CU_ASSERT_EQUAL_FATAL(system(command), 0);
}

/* Of all that was printed. */
static uint64_t hash_said(void)
{
    bal_file file;
    CU_ASSERT_EQUAL_FATAL(bal_file_open(said, &file), BAL_OK);
    uint64_t hash = bal_hash(file.data, file.n_bytes, 0);
    bal_file_close(&file);
    return hash;
}

static void write_text(const char *path, const char *content)
{
    FILE *stream = fopen(path, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
    CU_ASSERT(fputs(content, stream) >= 0 && fclose(stream) == 0);
}

static bool prepare(void)
{
    const char *tests = getenv("BALLOT_TESTS");
    char        job[2000], path[300], all[2000] = "";
    if (tests == NULL) return false;
    bal_log_enable(false);
    told = make_report();
    snprintf(base, sizeof base, "%s", bal_test_dir("commands"));
    snprintf(model, sizeof model, "%s/golden/logits/tiny-llama", tests);
    snprintf(text, sizeof text, "%s/text", base);
    snprintf(said, sizeof said, "%s/said", base);
    for (int i = 0; i < 40; ++i)
        snprintf(all + strlen(all), 48, "the %d ranks cast %d votes. ", i, 7 * i);
    write_text(text, all);
    snprintf(job, sizeof job, "[model]\npath = %s\n[data]\ntrain = %s\ndev = %s\n", model, text,
             text);
    snprintf(path, sizeof path, "%s/job.ini", base);
    write_text(path, job);
    const line whole = {"train JOB SET --run RUN", NULL, true};
    int        code  = run_line(&whole, base, &(bal_fault_plan){0});
    if (code != 0) printf("\n    exit code %d, %s", code, told->sentence);
    return code == 0;
}

/* After a train that failed: does the same command end well, with the record of one that did not?
 */
static bool goes_on(const line *l, const char *out)
{
    char     path[400];
    bal_file file;
    uint64_t hash[2];
    int      code = run_line(l, out, &(bal_fault_plan){0});
    for (int i = 0; i < 2 && code == 0; ++i) {
        snprintf(path, sizeof path, "%s/run/ballots.journal", i == 0 ? out : base);
        CU_ASSERT_EQUAL_FATAL(bal_file_open(path, &file), BAL_OK);
        hash[i] = bal_hash(file.data, file.n_bytes, 0);
        bal_file_close(&file);
    }
    return code == 0 && hash[0] == hash[1];
}

/* Whether a file or folder is there, or something whose name begins like one being made. */
static bool is_half_written(const char *out, const char *name)
{
    DIR *stream = opendir(out);
    bool half   = false;
    if (stream == NULL) return false;
    for (const struct dirent *entry; (entry = readdir(stream)) != NULL;)
        half = half ||
               (entry->d_name[0] == '.' && entry->d_name[1] != 0 && entry->d_name[1] != '.') ||
               strcmp(entry->d_name, name) == 0;
    closedir(stream);
    return half;
}

static void test_no_allocation_is_taken_for_granted(void)
{
    CU_ASSERT_FATAL(prepare());
    uint64_t seed  = (uint64_t)setting("BALLOT_TEST_SEED", 1);
    long     first = setting("BALLOT_FAULT_FIRST", 40), more = setting("BALLOT_FAULT_SAMPLE", 10);
    const char *only = getenv("BALLOT_FAULT_COMMAND");
    char        out[300];
    snprintf(out, sizeof out, "%s/out", base);
    for (const line *l = lines; l < lines + sizeof lines / sizeof *lines; ++l) {
        if (only != NULL && strncmp(l->words, only, strlen(only)) != 0) continue;
        bal_fault_plan plan = {
            .calls = BAL_FAULT_ALLOC, .at = INT64_MAX, .effect = BAL_FAULT_ERRNO, .error = ENOMEM};
        int64_t n, n_tried = 0, n_without = 0, n_bad = 0;
        mkdir(out, 0777);
        int code = run_line(l, out, &plan);
        if (code != 0) printf("\n    %s: exit code %d, %s", l->words, code, told->sentence);
        CU_ASSERT_EQUAL(code, 0);
        remove_all(out);
        n                   = told->n_calls;
        uint64_t said_whole = hash_said();
        bool     every      = first == 0 || first + more >= n;
        for (int64_t i = 1; i <= (every ? n : first + more); ++i, ++n_tried) {
            plan.at = every || i <= first
                          ? i
                          : first + 1 + (int64_t)(bal_test_random(&seed) % (uint64_t)(n - first));
            mkdir(out, 0777);
            code      = run_line(l, out, &plan);
            bool half = code != 0 && l->out != NULL && is_half_written(out, l->out);
            bool good = (code == 4 && told->sentence[0] != 0 && !half) ||
                        (code == 0 && (l->times || hash_said() == said_whole));
            n_without += code == 0;
            if (!good && ++n_bad <= 20)
                printf("\n    %s, allocation %" PRId64 " of %" PRId64 ": exit code %d \"%s\"%s",
                       l->words, plan.at, n, code, told->sentence, half ? ", half a file" : "");
            if (good && code != 0 && strncmp(l->words, "train", 5) == 0 && !goes_on(l, out)) {
                printf("\n    train, allocation %" PRId64 ": does not go on", plan.at);
                ++n_bad;
            }
            remove_all(out);
        }
        printf("\n    %s: %" PRId64 " of %" PRId64 " allocations failed, %" PRId64
               " of no consequence, %" PRId64 " bad",
               l->words, n_tried, n, n_without, n_bad);
        fflush(stdout);
        CU_ASSERT_EQUAL(n_bad, 0);
    }
}

const char     bal_suite_name[]  = "fault: commands without memory";
const bal_test bal_suite_tests[] = {
    {"no allocation is taken for granted", test_no_allocation_is_taken_for_granted},
    {NULL, NULL},
};
