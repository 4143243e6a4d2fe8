/* cli_job_hash.c: the hashes of a job stay what they were, also once options are added. Built
 * twice: with the options of today, and with two more, vote.later and vote.moved, see
 * CMakeLists.txt. */
#include <string.h>

#include "cli/cli_impl.h"
#include "suite.h"

static bal_job_source read_settings(const char *settings)
{
    bal_job_source job;
    char text[1024], *words[32], *rest = NULL;
    int n = 0;
    snprintf(text, sizeof text, "%s", settings);
    for (char *word = strtok_r(text, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest))
        words[n++] = word;
    CU_ASSERT_EQUAL_FATAL(bal_job_read(bal_comm_alone(), NULL, words, n, NULL, &job), BAL_OK);
    return job;
}

/* What the settings leave out, as it came. */
#ifdef BAL_LATER
#define AS_BEFORE " vote.density=1 rule.travel=4 rule.schedule=linear vote.moved=5"
#else
#define AS_BEFORE " vote.density=1 rule.travel=4 rule.schedule=linear"
#endif

static uint64_t hash_of(const char *settings)
{
    bal_job_source job = read_settings(settings);
    uint64_t hash = job.job.hash;
    bal_job_source_clear(&job);
    return hash;
}

/* As version 0.1 made it. */
static uint64_t older_hash_of(const char *settings)
{
    bal_job_source job = read_settings(settings);
    uint64_t hash = bal_hash(job.job.older, strlen(job.job.older), 0);
    bal_job_source_clear(&job);
    return hash;
}

#define GAINS                                                                         \
    "run.steps=20 run.eval_every=5 data.context=16 data.batch=1 data.dev_examples=4 " \
    "data.task=mlm vote.slots=8 vote.train=gains"

static void test_the_hash_of_a_job_stays(void)
{
    CU_ASSERT_EQUAL(hash_of(AS_BEFORE), 0x4686ceb665e0d579);
    CU_ASSERT_EQUAL(hash_of(GAINS AS_BEFORE), 0xceabfdea3289a04b);
    CU_ASSERT_EQUAL(
        hash_of("rule.name=zoqo rule.eta=0.02 vote.directions=uniform vote.noise=2" AS_BEFORE),
        0x939a34cb0a0d1fb4);
}

/* That of mlm in tests/golden/version-0.1, and one that the program of version 0.1 gave. */
static void test_the_hash_of_version_0_1_stays(void)
{
    CU_ASSERT_EQUAL(older_hash_of("data.context=64" AS_BEFORE), 0x14faf64c1f7706f5);
    CU_ASSERT_EQUAL(older_hash_of(GAINS AS_BEFORE), 0xbed0eb6e2a2a9369);
}

static void test_what_decides_no_code_is_no_part_of_the_hash(void)
{
    static const char *const free[] = {"data.dev_examples=3", "run.eval_every=3", "run.keep=9",
                                       "vote.audit=0.5 vote.audit_action=warn", "data.dev=x"};
    for (size_t i = 0; i < sizeof free / sizeof *free; ++i)
        CU_ASSERT_EQUAL(hash_of(free[i]), hash_of(""));
    CU_ASSERT_NOT_EQUAL(hash_of("data.batch=3"), hash_of(""));
}

static void test_an_option_of_a_later_version_counts_where_it_is_not_the_default(void)
{
#ifdef BAL_LATER
    CU_ASSERT_EQUAL(hash_of("vote.later=7"), hash_of(""));
    CU_ASSERT_NOT_EQUAL(hash_of("vote.later=8"), hash_of(""));
    CU_ASSERT_EQUAL(older_hash_of("vote.later=8"), older_hash_of(""));
#endif
}

/* A run that was begun with settings, or with defaults of its time, goes on with them. */
static void test_what_is_not_set_stays_as_the_run_was_begun(void)
{
    bal_job_source then = read_settings("data.batch=3 vote.slots=12 run.keep=7" AS_BEFORE), now;
    CU_ASSERT_EQUAL_FATAL(bal_job_source_init(&now), BAL_OK);
    CU_ASSERT_EQUAL(bal_option_set(&now, "vote", "slots", "16", "-s"), BAL_OK);
    CU_ASSERT_EQUAL(bal_job_keep(&now, "[data]\nbatch = 3\n[vote]\nslots = 12\n[run]\nkeep = 7\n"),
                    BAL_OK);
    CU_ASSERT_EQUAL(now.job.data.batch, then.job.data.batch);
    CU_ASSERT_EQUAL(now.job.vote.slots, 16);
    CU_ASSERT_EQUAL(now.job.run.keep, 2); /* decides nothing */
#ifdef BAL_LATER
    CU_ASSERT_EQUAL(now.job.vote.later, 7);
    CU_ASSERT_EQUAL(now.job.vote.moved, 5);
#endif
    bal_job_source_clear(&now);
    bal_job_source_clear(&then);
}

static void test_a_default_that_moved_is_left_out_of_the_hash_as_it_came(void)
{
#ifdef BAL_LATER
    CU_ASSERT_NOT_EQUAL(hash_of("vote.moved=7"), hash_of("vote.moved=5"));
    CU_ASSERT_EQUAL(hash_of("vote.moved=7"), hash_of(""));
#endif
}

const char bal_suite_name[] = "cli_job_hash";
const bal_test bal_suite_tests[] = {
    {"the hash of a job stays", test_the_hash_of_a_job_stays},
    {"the hash of version 0.1 stays", test_the_hash_of_version_0_1_stays},
    {"what decides no code is no part of the hash",
     test_what_decides_no_code_is_no_part_of_the_hash},
    {"an option of a later version counts where it is not the default",
     test_an_option_of_a_later_version_counts_where_it_is_not_the_default},
    {"what is not set stays as the run was begun", test_what_is_not_set_stays_as_the_run_was_begun},
    {"a default that moved is left out of the hash as it came",
     test_a_default_that_moved_is_left_out_of_the_hash_as_it_came},
    {NULL, NULL},
};
