/* simulated_runs.c: whatever the network does to its ranks, a run ends in the bits of one that was
 * left alone. BALLOT_SIMULATIONS says how many seeds, half of them for each job,
 * BALLOT_TEST_SEED with which to begin. */
#include "cli/cli_impl.h"
#include "simulation.h"
#include "suite.h"
#include "train/train_impl.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_STEPS = 6, RANKS_MAX = 8 };

static bal_job_source source;
static int n_steps;

static const bal_ballot_shape six_signs = {.n_slots = 6, .n_bits = BAL_SIGN_BITS};

/* A job that does all that a large one does, in a few milliseconds; with more settings, between
 * spaces. */
static void make_job(int steps, const char *more)
{
    static char settings[24][4200] = {
        "vote.slots=6",        "data.context=8", "data.batch=1",           "run.check_every=1",
        "run.eval_every=3",    "run.keep=2",     "run.checkpoint_every=2", "run.share=rank",
        "data.dev_examples=2", "rule.travel=40"};
    char *overrides[sizeof settings / sizeof *settings];
    int n = 10;
    char text_path[256];
    bal_job_source_clear(&source);
    bal_log_enable(false);
    n_steps = steps;
    snprintf(text_path, sizeof text_path, "%s/text", bal_test_dir("text"));
    FILE *text = fopen(text_path, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    for (int i = 0; i < 40; ++i) fprintf(text, "the %d ranks cast %d votes. ", i, 7 * i);
    fclose(text);
    snprintf(settings[n++], sizeof *settings, "model.path=%s/golden/logits/tiny-llama",
             getenv("BALLOT_TESTS") == NULL ? "." : getenv("BALLOT_TESTS"));
    snprintf(settings[n++], sizeof *settings, "data.train=%s", text_path);
    snprintf(settings[n++], sizeof *settings, "data.dev=%s", text_path);
    snprintf(settings[n++], sizeof *settings, "run.steps=%d", steps);
    char copy[600], *rest = NULL;
    snprintf(copy, sizeof copy, "%s", more);
    for (char *one = strtok_r(copy, " ", &rest); one != NULL; one = strtok_r(NULL, " ", &rest)) {
        CU_ASSERT_FATAL(n < 24);
        snprintf(settings[n++], sizeof *settings, "%s", one);
    }
    for (int i = 0; i < n; ++i) overrides[i] = settings[i];
    CU_ASSERT_EQUAL_FATAL(bal_job_read(bal_comm_alone(), NULL, overrides, n, NULL, &source),
                          BAL_OK);
}

static _Thread_local int my_rank; /* each rank is a thread */

static bal_status train(bal_comm *comm, void *run)
{
    my_rank = bal_comm_rank(comm);
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
    bal_mapping journal;
} outcome;

static outcome outcome_of(const char *run)
{
    char path[512];
    outcome o = {0};
    bal_snapshot snapshot;
    snprintf(path, sizeof path, "%s/step-%06d.h5", run, n_steps);
    CU_ASSERT_EQUAL_FATAL(bal_checkpoint_outline(path, &snapshot), BAL_OK);
    o.fingerprint = snapshot.fingerprint;
    bal_snapshot_clear(&snapshot);
    snprintf(path, sizeof path, "%s/ballots.journal", run);
    CU_ASSERT_EQUAL_FATAL(bal_mapping_open(path, &o.journal), BAL_OK);
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

/* Whatever happens to runs of the job, they end in the bits of one that was left alone. */
static void run_on_bad_networks(const char *base)
{
    char run[300];
    snprintf(run, sizeof run, "%s/whole", base);
    CU_ASSERT_EQUAL_FATAL(run_once(run, 1, &(bal_network){.seed = 1}), BAL_OK);
    outcome whole = outcome_of(run);
    long n = setting("BALLOT_SIMULATIONS", 100) / 2, first = setting("BALLOT_TEST_SEED", 1);
    long n_lost = 0, n_bad = 0;
    for (long seed = first; seed < first + n; ++seed) {
        uint64_t random = (uint64_t)seed;
        bal_status status = BAL_LOST;
        snprintf(run, sizeof run, "%s/%ld", base, seed);
        for (int attempt = 0; status == BAL_LOST; ++attempt) {
            /* every start has other ranks and another network; the later, the better it is */
            bal_network network = {.seed = bal_test_random(&random),
                                   .late = 4,
                                   .twice = 10,
                                   .again = 10,
                                   .lost = attempt < 6 ? 200 << attempt : 0,
                                   .death = attempt < 6 ? 150 << attempt : 0};
            status = run_once(run, 1 + (int)(bal_test_random(&random) % 5), &network);
            n_lost += status == BAL_LOST;
        }
        outcome o = {0};
        bool ok = status == BAL_OK;
        if (ok) o = outcome_of(run);
        if (!ok || !same(&o, &whole)) {
            printf("\n    seed %ld: status %d, %s", seed, status, bal_failure());
            ++n_bad;
        }
        bal_mapping_close(&o.journal);
        remove_run(run);
    }
    printf("\n    %ld seeds, %ld starts that lost ranks, %ld divergences ... ", n, n_lost, n_bad);
    CU_ASSERT_EQUAL(n_bad, 0);
    CU_ASSERT(n < 50 || n_lost > n / 4); /* the network is bad enough to prove something */
    bal_mapping_close(&whole.journal);
}

static void test_a_bad_network_changes_nothing(void)
{
    make_job(N_STEPS, "");
    run_on_bad_networks(bal_test_dir("runs"));
}

static void test_a_bad_network_changes_no_votes_of_8_bits(void)
{
    make_job(N_STEPS, "vote.probe=one-sided vote.team=3 vote.bits=8");
    run_on_bad_networks(bal_test_dir("teams"));
}

/* A task in a folder: which letter comes first. */
static void write_task(const char *dir)
{
    char path[512];
    snprintf(path, sizeof path, "%s/rows.tsv", dir);
    FILE *rows = fopen(path, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(rows);
    fprintf(rows, "text\tlabel\n");
    for (int i = 0; i < 24; ++i) fprintf(rows, "%c %d\t%d\n", "ab"[i / 3 % 2], i, i / 3 % 2);
    fclose(rows);
    snprintf(path, sizeof path, "%s/ask.ini", dir);
    FILE *task = fopen(path, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(task);
    fprintf(task,
            "[rows]\nformat = tsv\ntrain = rows.tsv\n[answer]\nlabels = 0, 1\n[splits]\n"
            "train = 12\ndev = 4\ntest = 4\n[template]\nprompt = \"{text} \"\n"
            "candidates = a, both\n");
    fclose(task);
}

static void test_a_bad_network_changes_no_answers_after_a_base(void)
{
    char more[600];
    const char *dir = bal_test_dir("task");
    write_task(dir);
    snprintf(more, sizeof more,
             "data.task=%s/ask.ini data.train= data.dev= data.context=16 data.batch=3 data.cache=1 "
             "vote.positions=answer vote.tensors=upper",
             dir);
    make_job(N_STEPS, more);
    run_on_bad_networks(bal_test_dir("answers"));
}

/* ---- faults that no network has ---- */

static const bal_network good = {.seed = 1, .late = 4};

/* Does the journal give the model that the run has kept? */
static bool is_replayed(const char *run)
{
    char path[512];
    bal_bundle base;
    bal_journal *journal = NULL;
    bal_machine machine = {.kernels = bal_kernels_at(bal_isa_best())};
    outcome o = outcome_of(run);
    bal_mapping_close(&o.journal);
    snprintf(path, sizeof path, "%s/ballots.journal", run);
    CU_ASSERT_EQUAL_FATAL(bal_journal_open(path, false, &journal), BAL_OK);
    bal_states states = bal_rule_of(source.job.rule.name)->states;
    bal_source_options how = {.formats = bal_job_formats(&source.job), .states = &states};
    CU_ASSERT_EQUAL_FATAL(bal_source_open(source.job.model.path, &how, &base), BAL_OK);
    CU_ASSERT_EQUAL(bal_replay(&source.job, &machine, journal, n_steps, 1.0, true,
                               bal_model_tensors(base.model), &states),
                    BAL_OK);
    bool right = bal_states_fingerprint(&states, bal_model_tensors(base.model)) == o.fingerprint;
    bal_bundle_clear(&base);
    bal_states_clear(&states);
    bal_journal_close(&journal);
    return right;
}

/* Step at which the journal's last record accuses a rank, -1: none does, or there is no journal,
 * for no step was taken; *who: the only one that any record accuses, -2: several. */
static int64_t accusations(const char *run, int *who)
{
    char path[512];
    bal_journal *journal = NULL;
    bal_journal_entry entry;
    int64_t step = -1;
    *who = -1;
    snprintf(path, sizeof path, "%s/ballots.journal", run);
    if (access(path, F_OK) != 0) return -1;
    CU_ASSERT_EQUAL_FATAL(bal_journal_open(path, false, &journal), BAL_OK);
    for (int64_t i = 0; i < bal_journal_n(journal); ++i) {
        CU_ASSERT_EQUAL(bal_journal_read(journal, i, &entry), BAL_OK);
        if (entry.accused < 0) continue;
        *who = *who == -1 || *who == entry.accused ? entry.accused : -2;
        step = i;
    }
    bal_journal_close(&journal);
    return step;
}

/* Memory of the ranks' models, or of their bases, noted when it is made. */
enum { MODEL = 1, BASE = 2 };
static int noted = MODEL;
static _Thread_local int n_made; /* by this rank: the model is first, then the base */
static struct {
    uint8_t *bytes;
    size_t n_bytes;
} memory[RANKS_MAX];
bal_status __real_bal_shared_create(bal_comm *comm, size_t n_bytes, bool share,
                                    bal_shared **shared);
bal_status __wrap_bal_shared_create(bal_comm *comm, size_t n_bytes, bool share,
                                    bal_shared **shared);
bal_status __wrap_bal_shared_create(bal_comm *comm, size_t n_bytes, bool share, bal_shared **shared)
{
    bal_status status = __real_bal_shared_create(comm, n_bytes, share, shared);
    if (status != BAL_OK || ++n_made != noted) return status;
    memory[bal_comm_rank(comm)].bytes = bal_shared_memory(*shared);
    memory[bal_comm_rank(comm)].n_bytes = n_bytes;
    return status;
}

static int n_repairs;
bal_status __real_bal_run_rebuild(bal_run *run);
bal_status __wrap_bal_run_rebuild(bal_run *run);
bal_status __wrap_bal_run_rebuild(bal_run *run)
{
    if (bal_comm_rank(run->comm) == 0) ++n_repairs;
    return __real_bal_run_rebuild(run);
}

/* A bit of one rank's model flips before its nth ballot. */
static struct {
    int rank, in_ballots;
    uint64_t bit;
} flip;

static bool is_ballot(const bal_reduction *how) { return how->n_or > 1; }

static void flip_a_bit(int n_ranks, const bal_reduction *how, uint64_t **brought, int rank,
                       uint64_t *words)
{
    (void)n_ranks, (void)brought, (void)words;
    if (rank != -1 || !is_ballot(how) || flip.in_ballots-- != 0) return;
    uint64_t bit = flip.bit % (8 * memory[flip.rank].n_bytes);
    memory[flip.rank].bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
}

/* n runs, each with a bit flipped somewhere: all end, with the model that their journal gives, and
 * accuse nobody. */
static void flip_bits(const char *base, int n)
{
    char run[300];
    int n_bad = 0, accused;
    uint64_t random = (uint64_t)setting("BALLOT_TEST_SEED", 1);
    n_repairs = 0;
    for (int i = 0; i < n; ++i) {
        int n_ranks = 2 + (int)(bal_test_random(&random) % 4);
        flip.rank = (int)(bal_test_random(&random) % (unsigned)n_ranks);
        flip.in_ballots = (int)(bal_test_random(&random) % N_STEPS);
        flip.bit = bal_test_random(&random);
        int at = flip.in_ballots;
        snprintf(run, sizeof run, "%s/%d", base, i);
        bal_simulation_tamper = flip_a_bit;
        bal_status status = run_once(run, n_ranks, &good);
        bal_simulation_tamper = NULL;
        if (status != BAL_OK || !is_replayed(run) || accusations(run, &accused) >= 0) {
            printf("\n    %d: rank %d of %d, ballot %d, bit %llu: status %d, %s", i, flip.rank,
                   n_ranks, at, (unsigned long long)flip.bit, status, bal_failure());
            ++n_bad;
        }
        remove_run(run);
    }
    printf("\n    %d bits, %d of them found, %d runs gone wrong ... ", n, n_repairs, n_bad);
    CU_ASSERT_EQUAL(n_bad, 0);
    CU_ASSERT(n_repairs > n / 4); /* the others hit what pads the small tensors */
}

static void test_a_model_that_a_flipped_bit_has_changed_is_put_right(void)
{
    make_job(N_STEPS, "");
    flip_bits(bal_test_dir("flips"), (int)setting("BALLOT_SIMULATIONS", 100));
}

static void test_an_audit_takes_no_flipped_bit_for_a_lie(void)
{
    make_job(N_STEPS, "run.check_every=0 vote.audit=1");
    flip_bits(bal_test_dir("audited-flips"), 50);
}

/* Of a base too, from which trials go or which reads prompts, also where a node has but one. */
static void test_a_base_that_a_flipped_bit_has_changed_is_put_right(void)
{
    char more[2][700], run[300];
    const char *base = bal_test_dir("bases"), *dir = bal_test_dir("base-task");
    uint64_t random = (uint64_t)setting("BALLOT_TEST_SEED", 1);
    int n = 24;
    write_task(dir);
    snprintf(more[0], sizeof *more, "rule.travel=auto run.check_every=0 run.eval_every=0");
    snprintf(more[1], sizeof *more,
             "data.task=%s/ask.ini data.train= data.dev= data.context=16 data.batch=3 "
             "vote.positions=answer",
             dir);
    for (int job = 0; job < 2; ++job) {
        outcome whole = {0};
        make_job(N_STEPS, more[job]);
        n_repairs = 0;
        noted = BASE;
        for (int i = 0; i <= n; ++i) {
            int n_ranks = 1 + (int)(bal_test_random(&random) % 3);
            flip.rank = (int)(bal_test_random(&random) % (unsigned)n_ranks);
            flip.bit = bal_test_random(&random);
            flip.in_ballots = i == 0 ? -1 : 0;
            snprintf(run, sizeof run, "%s/%d-%d", base, job, i);
            bal_simulation_tamper = flip_a_bit;
            CU_ASSERT_EQUAL_FATAL(run_once(run, n_ranks, &good), BAL_OK);
            bal_simulation_tamper = NULL;
            outcome o = outcome_of(run);
            if (i == 0) whole = o;
            CU_ASSERT(same(&o, &whole));
            if (i > 0) bal_mapping_close(&o.journal);
        }
        noted = MODEL;
        bal_mapping_close(&whole.journal);
        CU_ASSERT_EQUAL(n_repairs, n);
    }
}

/* From its nth ballot on, one rank's memory does not hold a bit, whatever is written there. */
static void keep_a_bit_flipped(int n_ranks, const bal_reduction *how, uint64_t **brought, int rank,
                               uint64_t *words)
{
    (void)brought, (void)words;
    if (rank != -1) return;
    flip.in_ballots -= is_ballot(how);
    if (flip.in_ballots >= 0) return;
    uint64_t bit = flip.bit % (8 * memory[flip.rank].n_bytes);
    uint8_t right = memory[(flip.rank + 1) % n_ranks].bytes[bit / 8];
    memory[flip.rank].bytes[bit / 8] = right ^ (uint8_t)(1u << bit % 8);
}

static void test_a_memory_that_cannot_be_put_right_stops_the_run(void)
{
    make_job(N_STEPS, "");
    const char *base = bal_test_dir("stuck");
    char run[300];
    uint64_t random = (uint64_t)setting("BALLOT_TEST_SEED", 1);
    int n = 20, n_stopped = 0;
    for (int i = 0; i < n; ++i) {
        int n_ranks = 2 + (int)(bal_test_random(&random) % 4);
        flip.rank = (int)(bal_test_random(&random) % (unsigned)n_ranks);
        flip.bit = bal_test_random(&random);
        flip.in_ballots = (int)(bal_test_random(&random) % N_STEPS);
        n_repairs = 0;
        snprintf(run, sizeof run, "%s/%d", base, i);
        bal_simulation_tamper = keep_a_bit_flipped;
        bal_status status = run_once(run, n_ranks, &good);
        bal_simulation_tamper = NULL;
        CU_ASSERT_EQUAL(status, n_repairs > 0 ? BAL_ERR_NUMERIC : BAL_OK);
        if (n_repairs > 0) CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "out its machine"));
        n_stopped += n_repairs > 0;
        CU_ASSERT_EQUAL(run_once(run, n_ranks, &good), BAL_OK);
        CU_ASSERT(is_replayed(run));
        remove_run(run);
    }
    printf("\n    %d of %d runs stopped ... ", n_stopped, n);
    CU_ASSERT(n_stopped > n / 4); /* the others hit what pads the small tensors */
}

/* A rank that says the contrary in all its votes. */
static int liar;

static void lie(int n_ranks, const bal_reduction *how, uint64_t **brought, int rank,
                uint64_t *words)
{
    (void)n_ranks, (void)words;
    if (rank != -1 || !is_ballot(how)) return;
    int half = how->n_or / 2;
    for (int i = 0; i < half; ++i) {
        uint64_t in_favour = brought[liar][i];
        brought[liar][i] = brought[liar][half + i];
        brought[liar][half + i] = in_favour;
    }
}

static void test_a_rank_that_lies_is_named_within_100_steps(void)
{
    const char *base = bal_test_dir("liars");
    uint64_t random = (uint64_t)setting("BALLOT_TEST_SEED", 1);
    int n_bad = 0;
    int64_t sum = 0;
    char run[300], name[32];
    make_job(101, "vote.audit=0.02 vote.slots=16");
    for (int i = 0; i < 20; ++i) {
        int accused;
        liar = (int)(bal_test_random(&random) % 8);
        snprintf(run, sizeof run, "%s/%d", base, i);
        snprintf(name, sizeof name, "rank %d on nowhere", liar);
        source.job.run.seed = (int64_t)(bal_test_random(&random) >> 12);
        bal_simulation_tamper = lie;
        bal_status status = run_once(run, 8, &good);
        bal_simulation_tamper = NULL;
        bool named = status == BAL_ERR_NUMERIC && strstr(bal_failure(), name) != NULL;
        int64_t step = accusations(run, &accused);
        sum += step;
        if (!named || accused != liar || step >= 100) {
            printf("\n    run %d, liar %d: %s", i, liar, bal_failure());
            ++n_bad;
        }
        remove_run(run);
    }
    printf("\n    20 liars, named after %.0f steps on average ... ", (double)sum / 20.0);
    CU_ASSERT_EQUAL(n_bad, 0);
}

/* A rank whose votes all say a little more, or less, than its losses. */
static const bal_ballot_shape bytes = {.n_slots = 16, .n_bits = 8};

static void exaggerate(int n_ranks, const bal_reduction *how, uint64_t **brought, int rank,
                       uint64_t *words)
{
    (void)n_ranks, (void)words;
    if (rank != -1 || !is_ballot(how)) return;
    uint64_t said[16];
    memset(said, 0, sizeof said);
    CU_ASSERT_EQUAL_FATAL(bal_ballot_words(bytes), 8);
    for (int slot = 0; slot < bytes.n_slots; ++slot) {
        if (!bal_ballot_has(bytes, brought[liar], slot)) continue;
        int vote = bal_ballot_vote(bytes, brought[liar], slot);
        bal_ballot_put(bytes, said, slot, vote < 127 ? vote + 1 : vote - 1);
    }
    memcpy(brought[liar], said, (size_t)bal_ballot_words(bytes) * sizeof *said);
}

static void test_a_vote_that_is_wrong_by_one_unit_is_found(void)
{
    const char *base = bal_test_dir("units");
    char run[300];
    make_job(N_STEPS, "vote.probe=one-sided vote.team=2 vote.slots=16 vote.bits=8 vote.audit=1");
    for (liar = 0; liar < 4; ++liar) {
        int accused;
        snprintf(run, sizeof run, "%s/%d", base, liar);
        bal_simulation_tamper = exaggerate;
        CU_ASSERT_EQUAL(run_once(run, 4, &good), BAL_ERR_NUMERIC);
        bal_simulation_tamper = NULL;
        CU_ASSERT_EQUAL(accusations(run, &accused), 0);
        CU_ASSERT_EQUAL(accused, liar);
    }
    snprintf(run, sizeof run, "%s/honest", base);
    CU_ASSERT_EQUAL(run_once(run, 4, &good), BAL_OK);
    CU_ASSERT(is_replayed(run));
}

/* A rank that adds one to a sum of its ballot, once or always. */
static struct {
    int sum, n;
} miscount;

static void count_wrongly(int n_ranks, const bal_reduction *how, uint64_t **brought, int rank,
                          uint64_t *words)
{
    (void)n_ranks, (void)words;
    if (rank == -1 && is_ballot(how) && miscount.n-- > 0) ++brought[liar][how->n_or + miscount.sum];
}

static void test_a_sum_that_is_wrong_by_one_unit_is_found(void)
{
    enum { LOSS = 0, N_TOKENS = 1, N_AGREE = 2, SPREAD = 4, COMMON = 5, ALWAYS = 1 << 20 };
    static const int sums[] = {LOSS, N_TOKENS, N_AGREE, SPREAD, COMMON};
    const char *base = bal_test_dir("sums");
    char run[300];
    make_job(N_STEPS,
             "vote.probe=one-sided vote.team=2 vote.slots=16 vote.bits=8 vote.audit=1 "
             "data.batch=2");
    snprintf(run, sizeof run, "%s/honest", base);
    CU_ASSERT_EQUAL_FATAL(run_once(run, 1, &good), BAL_OK);
    outcome honest = outcome_of(run);
    for (int i = 0; i < 10; ++i) {
        bool once = i < 5;
        liar = i % 4;
        miscount.sum = sums[i % 5], miscount.n = once ? 1 : ALWAYS;
        snprintf(run, sizeof run, "%s/%d", base, i);
        bal_simulation_tamper = count_wrongly;
        CU_ASSERT_EQUAL(run_once(run, 4, &good), once ? BAL_OK : BAL_ERR_NUMERIC);
        bal_simulation_tamper = NULL;
        if (!once) CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "wrong for the second time"));
        if (!once) continue;
        outcome o = outcome_of(run);
        CU_ASSERT(same(&o, &honest));
        bal_mapping_close(&o.journal);
    }
    bal_mapping_close(&honest.journal);
}

static void test_an_excluded_rank_votes_no_more(void)
{
    int accused;
    make_job(30, "vote.audit=0.1 vote.audit_action=exclude");
    const char *run = bal_test_dir("excluded");
    liar = 2;
    bal_simulation_tamper = lie;
    CU_ASSERT_EQUAL(run_once(run, 5, &good), BAL_OK);
    bal_simulation_tamper = NULL;
    int64_t step = accusations(run, &accused);
    CU_ASSERT_EQUAL(accused, 2);
    CU_ASSERT(step >= 0 && step < 10);
    char path[512];
    bal_journal *journal = NULL;
    bal_journal_entry entry;
    snprintf(path, sizeof path, "%s/ballots.journal", run);
    CU_ASSERT_EQUAL_FATAL(bal_journal_open(path, false, &journal), BAL_OK);
    for (int64_t i = 0; i < 30; ++i) { /* slot 2 is that of rank 2 of 5 */
        CU_ASSERT_EQUAL(bal_journal_read(journal, i, &entry), BAL_OK);
        CU_ASSERT_EQUAL(entry.n_ranks, i < step ? 0 : 5);
        for (int slot = 0; slot < 6; ++slot)
            CU_ASSERT_EQUAL(bal_ballot_has(six_signs, entry.bits, slot), i < step || slot != 2);
    }
    bal_journal_close(&journal);
    CU_ASSERT(is_replayed(run));
}

/* A rank whose processor adds a little to a loss, too little for another vote: in n probes from a
 * first one on, of its own slots or of those of others that it checks. And much in searches. */
static struct {
    int n_ranks, rank, first, n;
    bool of_others, searches;
} wrong;

static _Thread_local int n_searched;
bal_status __real_bal_forward_losses(bal_forward *forward, const bal_batch *batch,
                                     const bal_direction *direction, bal_losses *losses);
bal_status __wrap_bal_forward_losses(bal_forward *forward, const bal_batch *batch,
                                     const bal_direction *direction, bal_losses *losses);
bal_status __wrap_bal_forward_losses(bal_forward *forward, const bal_batch *batch,
                                     const bal_direction *direction, bal_losses *losses)
{
    bal_status status = __real_bal_forward_losses(forward, batch, direction, losses);
    if (direction == NULL && wrong.searches && my_rank == wrong.rank)
        losses[0].answers[0] += n_searched++ % 7 * BAL_LOSS_UNITS_PER_NAT;
    if (direction == NULL || wrong.n == 0 || my_rank != wrong.rank) return status;
    bool of_others = bal_slot_rank((int)direction->slot, 1, wrong.n_ranks) != wrong.rank;
    if (of_others != wrong.of_others || wrong.first-- > 0) return status;
    --wrong.n;
    ++losses[0].answers[0];
    return status;
}

static void test_a_loss_that_others_do_not_compute_is_found(void)
{
    enum { ALWAYS = 1 << 20 };
    static const struct {
        const char *action;
        int n_ranks, n;
        bool of_others;
        bal_status end;
        int last; /* step in which rank 1 is accused last; -1: nobody is */
        const char *says;
    } cases[] = {
        {"stop", 5, ALWAYS, false, BAL_ERR_NUMERIC, 2, "rank 1 on nowhere cast a wrong vote"},
        {"exclude", 5, ALWAYS, false, BAL_OK, 2, ""},
        {"warn", 5, ALWAYS, false, BAL_OK, N_STEPS - 1, ""},
        {"exclude", 5, 1, false, BAL_OK, 2, ""}, /* gone when all are asked */
        {"exclude", 5, ALWAYS, true, BAL_OK, 2, ""},
        {"exclude", 2, ALWAYS, false, BAL_ERR_NUMERIC, -1, "that of more than half of them"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        const char *base = bal_test_dir("wrong");
        char run[300], action[64];
        int accused;
        snprintf(run, sizeof run, "%s/%zu", base, i);
        snprintf(action, sizeof action, "vote.audit=1 vote.audit_action=%s", cases[i].action);
        make_job(N_STEPS, action);
        wrong.n_ranks = cases[i].n_ranks, wrong.rank = 1, wrong.first = 2;
        wrong.n = cases[i].n, wrong.of_others = cases[i].of_others;
        bal_status status = run_once(run, cases[i].n_ranks, &good);
        wrong.n = 0;
        CU_ASSERT_EQUAL(status, cases[i].end);
        CU_ASSERT_PTR_NOT_NULL(strstr(status == BAL_OK ? "" : bal_failure(), cases[i].says));
        CU_ASSERT_EQUAL(accusations(run, &accused), cases[i].last);
        CU_ASSERT_EQUAL(accused, cases[i].last < 0 ? -1 : 1);
        if (status == BAL_OK) CU_ASSERT(is_replayed(run));
    }
}

/* Scales that the searches of a run have found. */
static int searches(const char *run, int64_t *scales)
{
    char path[512];
    bal_journal *journal = NULL;
    bal_journal_entry entry;
    int n = 0;
    snprintf(path, sizeof path, "%s/ballots.journal", run);
    CU_ASSERT_EQUAL_FATAL(bal_journal_open(path, false, &journal), BAL_OK);
    for (int64_t i = 0; i < bal_journal_n(journal); ++i) {
        CU_ASSERT_EQUAL(bal_journal_read(journal, i, &entry), BAL_OK);
        if (entry.course.scale > 0) scales[n++] = entry.course.scale;
    }
    bal_journal_close(&journal);
    return n;
}

/* A rank whose slots are wrong is shut out in the first step. Whether it would search wrongly too
 * makes no difference. */
static void test_an_excluded_rank_searches_no_more(void)
{
    enum { ALWAYS = 1 << 20, STEPS = 16 };
    int64_t scales[2][STEPS];
    int accused, n = 0;
    const char *base = bal_test_dir("searches");
    char run[300];
    make_job(STEPS, "rule.travel=auto vote.audit=1 vote.audit_action=exclude data.dev=");
    for (int searches_too = 0; searches_too < 2; ++searches_too) {
        snprintf(run, sizeof run, "%s/%d", base, searches_too);
        wrong.n_ranks = 5, wrong.rank = 1, wrong.first = 0;
        wrong.n = ALWAYS, wrong.of_others = false, wrong.searches = searches_too;
        CU_ASSERT_EQUAL(run_once(run, 5, &good), BAL_OK);
        wrong.n = wrong.searches = 0;
        CU_ASSERT_EQUAL(accusations(run, &accused), 0);
        CU_ASSERT_EQUAL(accused, 1);
        CU_ASSERT(is_replayed(run));
        n = searches(run, scales[searches_too]);
        CU_ASSERT(n >= 3);
    }
    CU_ASSERT(memcmp(scales[0], scales[1], (size_t)n * sizeof **scales) == 0);
}

/* What a rank says of the losses of a slot is not what arrives. */
static int n_garbled;

static void garble(int n_ranks, const bal_reduction *how, uint64_t **brought, int rank,
                   uint64_t *words)
{
    (void)n_ranks, (void)words;
    if (rank != -1 || is_ballot(how) || how->n_sum != 6) return;
    ++brought[2][4];
    ++n_garbled;
}

static void test_a_difference_that_nobody_has_accuses_nobody(void)
{
    int accused;
    make_job(N_STEPS, "vote.audit=1 vote.audit_action=stop");
    const char *run = bal_test_dir("garbled");
    bal_simulation_tamper = garble;
    CU_ASSERT_EQUAL(run_once(run, 5, &good), BAL_OK);
    bal_simulation_tamper = NULL;
    CU_ASSERT_EQUAL(n_garbled, N_STEPS);
    CU_ASSERT_EQUAL(accusations(run, &accused), -1);
    CU_ASSERT(is_replayed(run));
}

static void test_honest_ranks_are_never_accused_and_audits_change_nothing(void)
{
    const char *base = bal_test_dir("honest");
    char run[300];
    outcome whole;
    for (int audited = 0; audited < 2; ++audited)
        for (int n_ranks = 1; n_ranks <= 5; ++n_ranks) {
            make_job(20, audited ? "vote.audit=1" : "vote.audit=off");
            snprintf(run, sizeof run, "%s/%d-%d", base, audited, n_ranks);
            CU_ASSERT_EQUAL_FATAL(run_once(run, n_ranks, &good), BAL_OK);
            outcome o = outcome_of(run);
            if (audited == 0 && n_ranks == 1)
                whole = o;
            else
                CU_ASSERT(same(&o, &whole));
            if (audited != 0 || n_ranks != 1) bal_mapping_close(&o.journal);
        }
    bal_mapping_close(&whole.journal);
}

static void test_what_is_seen_too_late_is_abstained_from_and_replayed(void)
{
    make_job(N_STEPS, "vote.deadline=1e-9");
    const char *run = bal_test_dir("late");
    CU_ASSERT_EQUAL(run_once(run, 4, &good), BAL_OK);
    char path[512];
    bal_journal *journal = NULL;
    bal_journal_entry entry;
    snprintf(path, sizeof path, "%s/ballots.journal", run);
    CU_ASSERT_EQUAL_FATAL(bal_journal_open(path, false, &journal), BAL_OK);
    for (int64_t i = 0; i < N_STEPS;
         ++i) { /* of slots 0 to 5 ranks 0 and 1 have two: one is late */
        CU_ASSERT_EQUAL(bal_journal_read(journal, i, &entry), BAL_OK);
        CU_ASSERT(entry.n_ranks == 4 && entry.accused == -1 && entry.totals.n_cast == 4);
        for (int slot = 0; slot < 6; ++slot)
            CU_ASSERT_EQUAL(bal_ballot_has(six_signs, entry.bits, slot), slot < 4);
    }
    bal_journal_close(&journal);
    CU_ASSERT(is_replayed(run));
}

/* One rank is told that a vote was another: from then on it has another model. */
static struct {
    int rank, in_ballots;
} misled;

static void mislead(int n_ranks, const bal_reduction *how, uint64_t **brought, int rank,
                    uint64_t *words)
{
    (void)n_ranks, (void)brought;
    if (!is_ballot(how) || rank != misled.rank || misled.in_ballots-- != 0) return;
    uint64_t decided = words[0] ^ words[1]; /* all of the six slots that are no ties */
    words[0] ^= decided;
    words[1] ^= decided;
}

static void test_a_rank_that_was_told_another_ballot_is_put_right(void)
{
    const char *base = bal_test_dir("misled");
    char run[300];
    make_job(N_STEPS, "");
    for (int n_ranks = 2; n_ranks <= 4; ++n_ranks)
        for (int i = 0; i < N_STEPS; ++i) {
            misled.rank = (i + 1) % n_ranks; /* rank 0, who writes the journal, too */
            misled.in_ballots = i;
            snprintf(run, sizeof run, "%s/%d-%d", base, n_ranks, i);
            bal_simulation_tamper = mislead;
            bal_status status = run_once(run, n_ranks, &good);
            bal_simulation_tamper = NULL;
            CU_ASSERT_EQUAL(status, BAL_OK);
            if (status != BAL_OK)
                printf("\n    rank %d of %d, ballot %d: %s", misled.rank, n_ranks, i,
                       bal_failure());
            else
                CU_ASSERT(is_replayed(run));
        }
}

/* The contribution of a rank is counted twice. */
static int doubled;

static void count_twice(int n_ranks, const bal_reduction *how, uint64_t **brought, int rank,
                        uint64_t *words)
{
    (void)n_ranks, (void)words;
    if (rank != -1 || !is_ballot(how)) return;
    for (int i = 0; i < how->n_sum; ++i) brought[doubled][how->n_or + i] *= 2;
}

static void test_a_contribution_that_is_counted_twice_stops_the_run(void)
{
    make_job(N_STEPS, "");
    const char *run = bal_test_dir("twice");
    doubled = 1;
    bal_simulation_tamper = count_twice;
    CU_ASSERT_EQUAL(run_once(run, 3, &good), BAL_ERR_STATE);
    CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "two votes"));
    bal_simulation_tamper = NULL;
    CU_ASSERT_EQUAL(run_once(run, 3, &good), BAL_OK);
    CU_ASSERT(is_replayed(run));
}

int bal_suite_end(void)
{
    bal_job_source_clear(&source);
    return 0;
}

const char bal_suite_name[] = "simulated_runs";
const bal_test bal_suite_tests[] = {
    {"a bad network changes nothing", test_a_bad_network_changes_nothing},
    {"a bad network changes no votes of 8 bits", test_a_bad_network_changes_no_votes_of_8_bits},
    {"a bad network changes no answers after a base",
     test_a_bad_network_changes_no_answers_after_a_base},
    {"a model that a flipped bit has changed is put right",
     test_a_model_that_a_flipped_bit_has_changed_is_put_right},
    {"a base that a flipped bit has changed is put right",
     test_a_base_that_a_flipped_bit_has_changed_is_put_right},
    {"an audit takes no flipped bit for a lie", test_an_audit_takes_no_flipped_bit_for_a_lie},
    {"a memory that cannot be put right stops the run",
     test_a_memory_that_cannot_be_put_right_stops_the_run},
    {"a rank that was told another ballot is put right",
     test_a_rank_that_was_told_another_ballot_is_put_right},
    {"a contribution that is counted twice stops the run",
     test_a_contribution_that_is_counted_twice_stops_the_run},
    {"a rank that lies is named within 100 steps", test_a_rank_that_lies_is_named_within_100_steps},
    {"a vote that is wrong by one unit is found", test_a_vote_that_is_wrong_by_one_unit_is_found},
    {"a sum that is wrong by one unit is found", test_a_sum_that_is_wrong_by_one_unit_is_found},
    {"an excluded rank votes no more", test_an_excluded_rank_votes_no_more},
    {"an excluded rank searches no more", test_an_excluded_rank_searches_no_more},
    {"a loss that others do not compute is found", test_a_loss_that_others_do_not_compute_is_found},
    {"a difference that nobody has accuses nobody",
     test_a_difference_that_nobody_has_accuses_nobody},
    {"honest ranks are never accused, and audits change nothing",
     test_honest_ranks_are_never_accused_and_audits_change_nothing},
    {"what is seen too late is abstained from, and replayed",
     test_what_is_seen_too_late_is_abstained_from_and_replayed},
    {NULL, NULL},
};
