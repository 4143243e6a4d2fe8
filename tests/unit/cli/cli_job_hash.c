/* cli_job_hash.c: the hashes of a job stay what they were, also once options are added. Built
 * twice: with the options of today, and with one more, vote.later, see CMakeLists.txt. */
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
    CU_ASSERT_EQUAL_FATAL(bal_job_read(NULL, words, n, NULL, &job), BAL_OK);
    return job;
}

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
    CU_ASSERT_EQUAL(hash_of(""), 0x4686ceb665e0d579);
    CU_ASSERT_EQUAL(hash_of(GAINS), 0xceabfdea3289a04b);
    CU_ASSERT_EQUAL(hash_of("rule.name=zoqo rule.eta=0.02 vote.directions=uniform vote.noise=2"),
                    0x939a34cb0a0d1fb4);
}

/* That of mlm in tests/golden/version-0.1, and one that the program of version 0.1 gave. */
static void test_the_hash_of_version_0_1_stays(void)
{
    CU_ASSERT_EQUAL(older_hash_of("data.context=64"), 0x14faf64c1f7706f5);
    CU_ASSERT_EQUAL(older_hash_of(GAINS), 0xbed0eb6e2a2a9369);
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

const char bal_suite_name[] = "cli_job_hash";
const bal_test bal_suite_tests[] = {
    {"the hash of a job stays", test_the_hash_of_a_job_stays},
    {"the hash of version 0.1 stays", test_the_hash_of_version_0_1_stays},
    {"what decides no code is no part of the hash",
     test_what_decides_no_code_is_no_part_of_the_hash},
    {"an option of a later version counts where it is not the default",
     test_an_option_of_a_later_version_counts_where_it_is_not_the_default},
    {NULL, NULL},
};
