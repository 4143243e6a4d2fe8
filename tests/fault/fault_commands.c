/* fault_commands.c: a command whose n-th allocation fails ends with exit code 4 and a sentence, or
 * does without it and ends well; it never crashes, leaks or leaves half a file, and a run goes on.
 * BALLOT_FAULT_FIRST: of each command the first so many allocations fail, one in each attempt;
 * BALLOT_FAULT_SAMPLE: so many of those after, chosen by BALLOT_TEST_SEED. 0: all. */
#include <dirent.h>
#include <inttypes.h>

#include "lines.h"

/* OUT stands for a name in a fresh folder. */
typedef struct line {
    const char *words;
    const char *out; /* what it writes, checked when the command ended well; NULL: nothing */
    bool times;      /* prints durations: only its strings are as many each time */
} line;

static const line lines[] = {
    {"config JOB", NULL, false},
    {"config JOB --json", NULL, false},
    {"inspect MODEL", NULL, false},
    {"inspect RUN/ballots.journal --verify", NULL, false},
    {"inspect RUN/step-000005.h5 --json", NULL, false},
    {"eval MODEL --job JOB --json", NULL, false},
    {"eval RUN/step-000005.h5 --job JOB", NULL, false},
    {"generate MODEL the -n 3", NULL, false},
    {"quantize MODEL -o OUT/q.h5", "q.h5", false},
    {"replay MODEL RUN/ballots.journal -o OUT/r.h5", "r.h5", false},
    {"export RUN/step-000005.h5 OUT/folder", "folder", false},
    {"doctor JOB --run OUT/run --json", NULL, true},
    {"estimate JOB --json", NULL, true},
    {"bench --product=4,32,64 --json", NULL, true},
    {"train JOB --run OUT/run", NULL, true},
};

/* After a train that failed: does the same command end well, with the record of one that did not?
 */
static bool goes_on(const line *l, const char *out)
{
    char path[2][400];
    int code = run_line(l->words, out, &(bal_fault_plan){0});
    for (int i = 0; i < 2; ++i)
        snprintf(path[i], sizeof path[i], "%s/run/ballots.journal", i == 0 ? out : base);
    return code == 0 && hash_file(path[0]) == hash_file(path[1]);
}

/* Of all that was printed, or of how many strings there are in it. */
static uint64_t hash_said(const line *l)
{
    bal_mapping file;
    uint64_t n_quotes = 0;
    CU_ASSERT_EQUAL_FATAL(bal_mapping_open(said, &file), BAL_OK);
    for (size_t i = 0; i < file.n_bytes; ++i) n_quotes += file.data[i] == '"';
    uint64_t hash = bal_hash(file.data, l->times ? 0 : file.n_bytes, n_quotes);
    bal_mapping_close(&file);
    return hash;
}

/* Whether a file or folder is there, or something whose name begins like one being made. */
static bool is_half_written(const char *out, const char *name)
{
    DIR *stream = opendir(out);
    bool half = false;
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
    prepare("commands");
    uint64_t seed = (uint64_t)setting("BALLOT_TEST_SEED", 1);
    long first = setting("BALLOT_FAULT_FIRST", 40), more = setting("BALLOT_FAULT_SAMPLE", 10);
    const char *only = getenv("BALLOT_FAULT_COMMAND");
    char out[300];
    snprintf(out, sizeof out, "%s/out", base);
    for (const line *l = lines; l < lines + sizeof lines / sizeof *lines; ++l) {
        if (only != NULL && strncmp(l->words, only, strlen(only)) != 0) continue;
        bal_fault_plan plan = {
            .calls = BAL_FAULT_ALLOC, .at = INT64_MAX, .effect = BAL_FAULT_ERRNO, .error = ENOMEM};
        int64_t n, n_tried = 0, n_without = 0, n_bad = 0;
        mkdir(out, 0777);
        int code = run_line(l->words, out, &plan);
        if (code != 0) printf("\n    %s: exit code %d, %s", l->words, code, told->sentence);
        CU_ASSERT_EQUAL(code, 0);
        remove_all(out);
        n = told->n_calls;
        uint64_t said_whole = hash_said(l);
        bool every = first == 0 || first + more >= n;
        for (int64_t i = 1; i <= (every ? n : first + more); ++i, ++n_tried) {
            plan.at = every || i <= first
                          ? i
                          : first + 1 + (int64_t)(bal_test_random(&seed) % (uint64_t)(n - first));
            mkdir(out, 0777);
            code = run_line(l->words, out, &plan);
            bool half = code != 0 && l->out != NULL && is_half_written(out, l->out);
            bool good = (code == 4 && told->sentence[0] != 0 && !half) ||
                        (code == 0 && hash_said(l) == said_whole);
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

const char bal_suite_name[] = "fault: commands without memory";
const bal_test bal_suite_tests[] = {
    {"no allocation is taken for granted", test_no_allocation_is_taken_for_granted},
    {NULL, NULL},
};
