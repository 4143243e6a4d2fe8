/* fault_flips.c: one flipped bit in a file of a run is found, or changes nothing: a command that
 * reads the file ends with a sentence, or with what it gives for the whole file. Never with
 * anything else, never by a crash; and a run that was refused goes on once the bit is right again.
 * BALLOT_FLIPS: how many bits of each file, chosen by BALLOT_TEST_SEED. */
#include <inttypes.h>

#include "lines.h"

static char out[300], stopped[300]; /* a run that was killed after its second checkpoint */

/* A file and the commands that read it, taken in turn. OUT/run is a copy of the stopped run. */
typedef struct victim {
    const char *name, *path;
    const char *lines[4];
} victim;

static const char *const go_on = "train JOB --run OUT/run";
static const char *const replay = "replay MODEL OUT/run/ballots.journal -o OUT/r.h5 --json";

#ifdef __SANITIZE_ADDRESS__
enum { FLIPS = 40 };
#else
enum { FLIPS = 200 };
#endif

#define NEWEST "OUT/run/step-000004.h5"

/* What a command gives: of a run its record and its model, else what it printed. */
static uint64_t outcome(const char *line)
{
    char path[400];
    bal_snapshot s;
    if (line != go_on) return hash_file(said);
    snprintf(path, sizeof path, "%s/run/step-%06d.h5", out, STEPS);
    if (bal_checkpoint_read(path, true, &s) != BAL_OK) return 0;
    uint64_t fingerprint = s.fingerprint;
    bal_snapshot_clear(&s);
    snprintf(path, sizeof path, "%s/run/ballots.journal", out);
    return hash_file(path) + fingerprint;
}

static void begin_anew(void)
{
    remove_all(out);
    CU_ASSERT_EQUAL_FATAL(mkdir(out, 0777), 0);
    shell("cp -r '%s' '%s/run'", stopped, out);
}

/* Kill a run at one fdatasync after the other, until it has the checkpoint and one record more.
 */
static void make_stopped_run(void)
{
    char checkpoint[400], journal[400];
    struct stat info;
    bool found = false;
    snprintf(out, sizeof out, "%s/out", base);
    snprintf(stopped, sizeof stopped, "%s/stopped", base);
    snprintf(checkpoint, sizeof checkpoint, "%s/run/step-000004.h5", out);
    snprintf(journal, sizeof journal, "%s/run/ballots.journal", out);
    for (int64_t at = 1; !found; ++at) {
        remove_all(out);
        int code = run_line(
            go_on, out,
            &(bal_fault_plan){.calls = BAL_FAULT_SYNC, .at = at, .effect = BAL_FAULT_KILL});
        CU_ASSERT_EQUAL_FATAL(code, BAL_FAULT_KILLED);
        found = stat(checkpoint, &info) == 0 && stat(journal, &info) == 0 &&
                info.st_size == bal_journal_bytes(
                                    2,
                                    (bal_journal_form){
                                        .n_bits = BAL_SIGN_BITS, .n_points = 2, .has_course = true},
                                    STEPS);
    }
    shell("mv '%s/run' '%s'", out, stopped);
}

/* Flip a bit of the file; the same call again flips it back. */
static void flip(const char *path, uint64_t bit)
{
    unsigned char byte = 0;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    CU_ASSERT_FATAL(fd >= 0 && pread(fd, &byte, 1, (off_t)(bit / 8)) == 1);
    byte ^= (unsigned char)(1 << bit % 8);
    CU_ASSERT_FATAL(pwrite(fd, &byte, 1, (off_t)(bit / 8)) == 1 && close(fd) == 0);
}

static void attack(const victim *v)
{
    char path[400];
    struct stat info;
    uint64_t right[4], state = (uint64_t)setting("BALLOT_TEST_SEED", 1);
    long n_flips = setting("BALLOT_FLIPS", FLIPS), n_refused = 0, n_same = 0, n_bad = 0;
    int n_lines = 0;
    for (; v->lines[n_lines] != NULL; ++n_lines) {
        begin_anew();
        CU_ASSERT_EQUAL(run_line(v->lines[n_lines], out, &(bal_fault_plan){0}), 0);
        right[n_lines] = outcome(v->lines[n_lines]);
        CU_ASSERT_NOT_EQUAL(right[n_lines], 0);
    }
    CU_ASSERT_FATAL(substitute(v->path, out, path, sizeof path));
    for (long trial = 0; trial < n_flips; ++trial) {
        const char *line = v->lines[trial % n_lines];
        begin_anew();
        CU_ASSERT_EQUAL_FATAL(stat(path, &info), 0);
        uint64_t bit = bal_test_random(&state) % (8 * (uint64_t)info.st_size);
        flip(path, bit);
        int code = run_line(line, out, &(bal_fault_plan){0});
        bool refused = code >= 1 && code <= 5 && told->sentence[0] != 0;
        bool same = code == 0 && outcome(line) == right[trial % n_lines];
        if (refused || strncmp(v->path, "OUT", 3) != 0) flip(path, bit);
        if (refused && line == go_on)
            refused = run_line(line, out, &(bal_fault_plan){0}) == 0 &&
                      outcome(line) == right[trial % n_lines];
        n_refused += refused, n_same += same;
        if (!refused && !same && ++n_bad <= 20)
            printf("\n    %s, bit %" PRIu64 ", %s: exit code %d \"%s\"", v->name, bit, line, code,
                   told->sentence);
    }
    printf("\n    %s: %ld bits flipped, %ld refused, %ld without effect, %ld silent", v->name,
           n_flips, n_refused, n_same, n_bad);
    fflush(stdout);
    CU_ASSERT_EQUAL(n_bad, 0);
}

static void test_no_flipped_bit_passes_in_silence(void)
{
    prepare("flips");
    make_stopped_run();
    const victim victims[] = {
        {"checkpoint",
         NEWEST,
         {go_on, "eval " NEWEST " --job JOB --json", "inspect " NEWEST " --verify --json"}},
        {"journal",
         "OUT/run/ballots.journal",
         {go_on, replay, "inspect OUT/run/ballots.journal --verify --json"}},
        {"safetensors", "MODEL/model.safetensors", {go_on, replay}},
        {"job file",
         "JOB",
         {go_on, "replay MODEL OUT/run/ballots.journal -o OUT/r.h5 --job JOB --json"}},
        {"job file of the run", "OUT/run/job.ini", {go_on, replay}},
    };
    for (size_t i = 0; i < sizeof victims / sizeof *victims; ++i) attack(&victims[i]);
    remove_all(out);
}

const char bal_suite_name[] = "fault: flipped bits";
const bal_test bal_suite_tests[] = {
    {"no flipped bit passes in silence", test_no_flipped_bit_passes_in_silence},
    {NULL, NULL},
};
