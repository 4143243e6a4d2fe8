/* lines.h: commands as they are typed, each in a child process, on one rank without MPI. A folder
 * of the test has what their words stand for: JOB, MODEL, and RUN, which one whole run of the job
 * made. */
#ifndef BALLOT_TEST_LINES_H
#define BALLOT_TEST_LINES_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "child.h"
#include "cli/cli_impl.h"
#include "comm/comm_impl.h"
#include "suite.h"

enum { WORDS_MAX = 32, STEPS = 5 };

static char base[256];
static char said[300]; /* file of the standard output */
static report *told;

/* JOB, MODEL and RUN lie in base; OUT is the folder given. */
static inline bool substitute(const char *word, const char *out, char *to, size_t n)
{
    static const char *const names[] = {"JOB", "MODEL", "RUN", "OUT"};
    static const char *const places[] = {"/job.ini", "/model", "/run", ""};
    for (int i = 0; i < 4; ++i) {
        size_t m = strlen(names[i]);
        if (strncmp(word, names[i], m) == 0 && (word[m] == 0 || word[m] == '/'))
            return snprintf(to, n, "%s%s%s", i < 3 ? base : out, places[i], word + m) < (int)n;
    }
    return snprintf(to, n, "%s", word) < (int)n;
}

/* One rank, which allocates nothing. */
static inline bal_status reduce(bal_comm *comm, const bal_reduction *how, uint64_t *words)
{
    (void)comm, (void)how, (void)words;
    return BAL_OK;
}

static inline bal_status gather(bal_comm *comm, const uint64_t *mine, int n, uint64_t *all)
{
    (void)comm;
    memcpy(all, mine, (size_t)n * 8);
    return BAL_OK;
}

static inline bal_status broadcast(bal_comm *comm, int root, void *bytes, size_t n_bytes)
{
    (void)comm, (void)root, (void)bytes, (void)n_bytes;
    return BAL_OK;
}

static inline const char *host(bal_comm *comm, int rank)
{
    (void)comm, (void)rank;
    return "here";
}

static inline void destroy(bal_comm *comm) { (void)comm; }

static const bal_transport alone = {reduce, gather, broadcast, host, destroy};

/* The command in this process; does not return. */
static inline _Noreturn void be_the_command(const char *line, const char *out,
                                            const bal_fault_plan *plan)
{
    static char words[WORDS_MAX][PATH_MAX];
    char *argv[WORDS_MAX + 1] = {NULL}, copy[256], *rest = NULL;
    int argc = 0;
    bal_comm comm = {.transport = &alone, .size = 1};
    bal_context context = {.comm = &comm, .prints = true};
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok_r(copy, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        if (argc == WORDS_MAX || !substitute(word, out, words[argc], PATH_MAX)) _exit(121);
        argv[argc] = words[argc];
        ++argc;
    }
    const bal_command *command = bal_commands;
    while (strcmp(command->name, argv[0]) != 0) ++command;
    FILE *nowhere = fopen("/dev/null", "we");
    if (nowhere == NULL || freopen(said, "w", stdout) == NULL) _exit(121);
    stderr = nowhere; /* progress; a sanitizer still has file 2 */
    bal_fault_begin(plan);
    told->status = command->run(&context, argc, argv);
    told->n_calls = bal_fault_end();
    snprintf(told->sentence, sizeof told->sentence, "%s", bal_failure());
    exit(bal_status_exit_code(told->status));
}

/** A command, cut at blanks, without "ballot". Returns its exit code, below 0: by that signal. */
static inline int run_line(const char *line, const char *out, const bal_fault_plan *plan)
{
    int code;
    *told = (report){0};
    fflush(NULL);
    pid_t child = fork();
    CU_ASSERT_FATAL(child >= 0);
    if (child == 0) {
        alarm(120);
        be_the_command(line, out, plan);
    }
    CU_ASSERT_EQUAL_FATAL(waitpid(child, &code, 0), child);
    return WIFEXITED(code) ? WEXITSTATUS(code) : -WTERMSIG(code);
}

static inline void shell(const char *format, const char *a, const char *b)
{
    char command[2 * PATH_MAX];
    snprintf(command, sizeof command, format, a, b);
    CU_ASSERT_EQUAL_FATAL(system(command), 0);
}

static inline void remove_all(const char *path) { shell("rm -rf '%s'", path, ""); }

/** Of all bytes of a file; 0: there is none. */
static inline uint64_t hash_file(const char *path)
{
    bal_mapping file;
    if (bal_mapping_open(path, &file) != BAL_OK) return 0;
    uint64_t hash = bal_hash(file.data, file.n_bytes, 0);
    bal_mapping_close(&file);
    return hash;
}

static inline void write_text(const char *path, const char *content)
{
    FILE *stream = fopen(path, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
    CU_ASSERT(fputs(content, stream) >= 0 && fclose(stream) == 0);
}

/** Make JOB, MODEL and RUN in a folder of that name. */
static inline void prepare(const char *name)
{
    const char *tests = getenv("BALLOT_TESTS");
    char text[300], job[300], all[2000] = "", words[2000];
    CU_ASSERT_PTR_NOT_NULL_FATAL(tests);
    bal_log_enable(false);
    told = make_report();
    snprintf(base, sizeof base, "%s", bal_test_dir(name));
    snprintf(said, sizeof said, "%s/said", base);
    snprintf(text, sizeof text, "%s/text", base);
    snprintf(job, sizeof job, "%s/job.ini", base);
    shell("cp -r '%s/golden/logits/tiny-llama' '%s/model'", tests, base);
    for (int i = 0; i < 40; ++i)
        snprintf(all + strlen(all), 48, "the %d ranks cast %d votes. ", i, 7 * i);
    write_text(text, all);
    snprintf(words, sizeof words,
             "[model]\npath = %s/model\n[data]\ntrain = %s\ndev = %s\ncontext = 8\nbatch = 1\n"
             "dev_examples = 1\n[vote]\nslots = 2\n[run]\nsteps = %d\neval_every = 2\n"
             "checkpoint_every = 2\ncheck_every = 1\nshare = rank\n",
             base, text, text, STEPS);
    write_text(job, words);
    int code = run_line("train JOB --run RUN", base, &(bal_fault_plan){0});
    if (code != 0) printf("\n    exit code %d, %s", code, told->sentence);
    CU_ASSERT_EQUAL_FATAL(code, 0);
}

#endif
