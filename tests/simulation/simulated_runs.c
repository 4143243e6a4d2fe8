/* simulated_runs.c: whatever the network does to its ranks, a run ends in the bits of one that was
 * left alone. BALLOT_SIMULATIONS says how many seeds, BALLOT_TEST_SEED with which to begin. */
#include "cli/cli_impl.h"
#include "simulation.h"
#include "suite.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_STEPS = 6, RANKS_MAX = 5 };

static char           text_path[256], model_path[4096];
static bal_job_source source;

/* A job that does all that a large one does, in a few milliseconds. */
static void make_job(void)
{
    if (source.job.text != NULL) return;
    bal_log_enable(false);
    char        model[4200], data[300], steps[32], *overrides[32];
    int         n         = 0;
    static char all[][48] = {"vote.slots=6",      "data.context=8",   "data.batch=1",
                             "run.check_every=1", "run.eval_every=3", "run.checkpoint_every=2",
                             "run.keep=2",        "run.share=rank",   "data.dev_examples=2",
                             "rule.travel=40"};
    for (size_t i = 0; i < sizeof all / sizeof *all; ++i) overrides[n++] = all[i];
    snprintf(model_path, sizeof model_path, "%s/golden/logits/tiny-llama",
             getenv("BALLOT_TESTS") == NULL ? "." : getenv("BALLOT_TESTS"));
    snprintf(model, sizeof model, "model.path=%s", model_path);
    snprintf(text_path, sizeof text_path, "%s/text", bal_test_dir("text"));
    FILE *text = fopen(text_path, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    for (int i = 0; i < 40; ++i) fprintf(text, "the %d ranks cast %d votes. ", i, 7 * i);
    fclose(text);
    snprintf(data, sizeof data, "data.train=%s", text_path);
    char dev[300];
    snprintf(dev, sizeof dev, "data.dev=%s", text_path);
    snprintf(steps, sizeof steps, "run.steps=%d", N_STEPS);
    overrides[n++] = model;
    overrides[n++] = data;
    overrides[n++] = dev;
    overrides[n++] = steps;
    CU_ASSERT_EQUAL_FATAL(bal_job_read(NULL, overrides, n, &source), BAL_OK);
}

static bal_status train(bal_comm *comm, void *run)
{
    bal_machine machine = {.kernels = bal_kernels_at(bal_isa_best())};
    return bal_train(&source.job, &machine, run, comm);
}

/* A run on ranks of a simulated network, its table left unprinted. BAL_OK: on all ranks. */
static bal_status run_once(const char *run, int n_ranks, const bal_network *network)
{
    bal_status statuses[RANKS_MAX], worst = BAL_OK;
    fflush(stdout);
    int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO);
    if (freopen("/dev/null", "w", stdout) == NULL || freopen("/dev/null", "w", stderr) == NULL)
        abort();
    bal_simulate(n_ranks, network, train, (void *)(uintptr_t)run, statuses);
    fflush(stdout);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    close(out);
    close(err);
    for (int r = 0; r < n_ranks; ++r)
        if (statuses[r] > worst) worst = statuses[r];
    return worst;
}

/* What a finished run leaves: the fingerprint of its last checkpoint and its journal. */
typedef struct outcome {
    uint64_t fingerprint;
    bal_file journal;
} outcome;

static outcome outcome_of(const char *run)
{
    char         path[512];
    outcome      o = {0};
    bal_snapshot snapshot;
    snprintf(path, sizeof path, "%s/step-%06d.h5", run, N_STEPS);
    CU_ASSERT_EQUAL_FATAL(bal_checkpoint_outline(path, false, &snapshot), BAL_OK);
    o.fingerprint = snapshot.fingerprint;
    bal_snapshot_clear(&snapshot);
    snprintf(path, sizeof path, "%s/ballots.journal", run);
    CU_ASSERT_EQUAL_FATAL(bal_file_open(path, &o.journal), BAL_OK);
    return o;
}

static bool same(const outcome *a, const outcome *b)
{
    return a->fingerprint == b->fingerprint && a->journal.n_bytes == b->journal.n_bytes &&
           memcmp(a->journal.data, b->journal.data, a->journal.n_bytes) == 0;
}

static void remove_run(const char *run)
{
    char command[600];
    snprintf(command, sizeof command, "rm -rf '%s'", run);
    if (system(command) != 0) abort();
}

static long setting(const char *name, long otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtol(text, NULL, 10);
}

static void test_a_bad_network_changes_nothing(void)
{
    make_job();
    const char *base = bal_test_dir("runs");
    char        run[300];
    snprintf(run, sizeof run, "%s/whole", base);
    CU_ASSERT_EQUAL_FATAL(run_once(run, 1, &(bal_network){.seed = 1}), BAL_OK);
    outcome whole = outcome_of(run);
    long    n = setting("BALLOT_SIMULATIONS", 100), first = setting("BALLOT_TEST_SEED", 1);
    long    n_lost = 0, n_bad = 0;
    for (long seed = first; seed < first + n; ++seed) {
        uint64_t   random = (uint64_t)seed;
        bal_status status = BAL_LOST;
        snprintf(run, sizeof run, "%s/%ld", base, seed);
        for (int attempt = 0; status == BAL_LOST; ++attempt) {
            /* every start has other ranks and another network; the later, the better it is */
            bal_network network = {.seed  = bal_test_random(&random),
                                   .late  = 4,
                                   .twice = 10,
                                   .again = 10,
                                   .lost  = attempt < 6 ? 200 << attempt : 0,
                                   .death = attempt < 6 ? 150 << attempt : 0};
            status = run_once(run, 1 + (int)(bal_test_random(&random) % RANKS_MAX), &network);
            n_lost += status == BAL_LOST;
        }
        outcome o  = {0};
        bool    ok = status == BAL_OK;
        if (ok) o = outcome_of(run);
        if (!ok || !same(&o, &whole)) {
            printf("\n    seed %ld: status %d, %s", seed, status, bal_failure());
            ++n_bad;
        }
        bal_file_close(&o.journal);
        remove_run(run);
    }
    printf("\n    %ld seeds, %ld starts that lost ranks, %ld divergences ... ", n, n_lost, n_bad);
    CU_ASSERT_EQUAL(n_bad, 0);
    CU_ASSERT(n < 50 || n_lost > n / 4); /* the network is bad enough to prove something */
    bal_file_close(&whole.journal);
}

int bal_suite_end(void)
{
    bal_job_source_clear(&source);
    return 0;
}

const char     bal_suite_name[]  = "simulated_runs";
const bal_test bal_suite_tests[] = {
    {"a bad network changes nothing", test_a_bad_network_changes_nothing},
    {NULL, NULL},
};
