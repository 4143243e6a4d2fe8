/* train_limits.c: which signs of a run stand for which limit. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../../src/train/train_impl.h"
#include "suite.h"

/* A run of which nothing is known. */
static bal_signs nothing(void)
{
    return (bal_signs){.share = NAN,
                       .share_error = NAN,
                       .scale = NAN,
                       .scale_error = NAN,
                       .dev_rise = NAN,
                       .train_fall = NAN};
}

static void test_each_sign_stands_for_its_limit(void)
{
    const struct {
        double share, scale, rise, fall;
        int64_t n_worse;
        bal_limit limit;
    } rows[] = {
        {NAN, NAN, NAN, NAN, 0, BAL_LIMIT_UNKNOWN},
        {NAN, NAN, 0.0, 0.1, 0, BAL_LIMIT_UNKNOWN},
        {NAN, NAN, 0.2, 0.1, 3, BAL_LIMIT_DATA},
        {NAN, 0.0, NAN, NAN, 0, BAL_LIMIT_SLOTS},
        {0.2, 0.0, 0.0, 0.1, 0, BAL_LIMIT_SLOTS},
        {0.2, -0.5, 0.0, 0.1, 0, BAL_LIMIT_LONG_STEPS},
        {0.2, 0.9, 0.0, 0.1, 0, BAL_LIMIT_SHORT_STEPS},
        {0.2, 0.3, 0.0, 0.1, 0, BAL_LIMIT_SLOTS},
        {0.01, 0.0, 0.0, 0.1, 0, BAL_LIMIT_SMALL_BATCH},
        {0.9, 0.0, 0.0, 0.1, 0, BAL_LIMIT_LARGE_BATCH},
        {0.9, -0.5, 0.2, 0.1, 3, BAL_LIMIT_DATA},
        {0.2, 0.0, 0.2, 0.1, 2, BAL_LIMIT_SLOTS},
        {0.2, 0.0, 0.2, -0.1, 5, BAL_LIMIT_SLOTS},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
        bal_signs signs = {.share = rows[i].share,
                           .share_error = 0.01,
                           .scale = rows[i].scale,
                           .scale_error = 0.02,
                           .dev_rise = rows[i].rise,
                           .train_fall = rows[i].fall,
                           .n_worse = rows[i].n_worse};
        CU_ASSERT_EQUAL(bal_limit_of(&signs), rows[i].limit);
    }
}

static void test_what_may_be_noise_is_no_sign(void)
{
    bal_signs signs = nothing();
    signs.scale = -0.5, signs.scale_error = 0.3;
    CU_ASSERT_EQUAL(bal_limit_of(&signs), BAL_LIMIT_SLOTS);
    signs = nothing();
    signs.share = 0.01, signs.share_error = 0.05;
    CU_ASSERT_EQUAL(bal_limit_of(&signs), BAL_LIMIT_SLOTS);
    signs.share = 0.9, signs.share_error = 0.2;
    CU_ASSERT_EQUAL(bal_limit_of(&signs), BAL_LIMIT_SLOTS);
}

/* A journal of 80 steps of one-sided teams of 8, in which every number is known: step i has a mean
 * loss of 4.0 + 0.1 in odd steps; a search before step 60 finds 3.5 nats. */
static bal_status write_journal(const bal_job *job, bal_journal *journal)
{
    const int64_t nat = BAL_LOSS_UNITS_PER_NAT, slots = job->vote.slots, tokens = 100;
    uint64_t bits[8] = {0};
    for (int64_t step = 0; step < 80; ++step) {
        bal_journal_entry entry = {
            .step = step, .dev_loss = -1, .dev_merit = -1, .accused = -1, .bits = bits};
        entry.totals = (bal_totals){.loss = slots * tokens * (40 + step % 2) * nat / 10,
                                    .n_tokens = slots * tokens,
                                    .n_cast = slots,
                                    .spread = slots * tokens * nat / 10,
                                    .common = slots << 20};
        entry.course.rate = 1;
        if (step == 60)
            entry.course = (bal_course){.rate = 1,
                                        .scale = (int64_t)BAL_RATE_ONE,
                                        .n_tokens = 50 * tokens,
                                        .loss = 50 * tokens * nat * 35 / 10};
        BAL_TRY(bal_journal_append(journal, &entry));
    }
    return BAL_OK;
}

static void test_signs_are_read_from_a_journal(void)
{
    char path[BAL_PATH_BYTES];
    bal_job job = bal_job_default();
    bal_journal *journal = NULL;
    bal_signs signs;
    job.vote.probe = BAL_WAY_ONE_SIDED;
    job.vote.bits = 8;
    job.data.batch = 4;
    bal_run_path(bal_test_dir("signs"), "ballots.journal", path);
    bal_run_id id = {.n_slots = (int)job.vote.slots, .n_steps = 80, .stream_version = 2};
    CU_ASSERT_EQUAL_FATAL(bal_journal_create(path, &id, bal_job_journal(&job), &journal), BAL_OK);
    CU_ASSERT_EQUAL_FATAL(write_journal(&job, journal), BAL_OK);
    CU_ASSERT_EQUAL_FATAL(bal_signs_read(&job, journal, &signs), BAL_OK);
    bal_journal_close(&journal);
    const double mean = 0.1 * 100.0; /* nats */
    CU_ASSERT_DOUBLE_EQUAL(signs.slope, sqrt(acos(-1.0) / 2.0) * 0.1 / sqrt(56.0), 1e-6);
    double product = 4.0 / 1024.0; /* of the halves, 2^20 of 2^-30 nats^2, at the whole's size */
    CU_ASSERT_DOUBLE_EQUAL(signs.share, product / (acos(-1.0) / 2.0 * mean * mean), 1e-9);
    CU_ASSERT_DOUBLE_EQUAL(signs.share_error, 2.0 / sqrt(20.0 * 56.0), 1e-9); /* 7 of a team */
    CU_ASSERT_DOUBLE_EQUAL(signs.rise, 0.55, 0.01);
    /* Steps vary by 0.05; 8 mini-batches of one that is weighted by a tenth, 50 of the search. */
    CU_ASSERT_DOUBLE_EQUAL(signs.rise_error, 0.05 * sqrt(0.1 + 8.0 / 50.0), 0.003);
    CU_ASSERT_EQUAL(signs.scale, 0.0);
}

/* A normal number: the sum of twelve uniform ones, less 6. */
static double normal(uint64_t *state)
{
    double sum = -6.0;
    for (int i = 0; i < 12; ++i) sum += (double)(bal_test_random(state) >> 11) / 9007199254740992.0;
    return sum;
}

/* Add what a team finds of which the loss of every example is noise. */
static void add_noise(const bal_job *job, uint64_t *state, bal_totals *totals)
{
    bal_way way = bal_job_way(job);
    int64_t losses[2][2 * BAL_WAY_TEAM_MAX] = {0}, values[2][BAL_WAY_TEAM_MAX]; /* of the halves */
    for (int i = 0; i < way.team * way.n_points; ++i)
        for (int64_t q = 0; q < job->data.batch; ++q)
            losses[q >= job->data.batch / 2][i] += (int64_t)(1e6 * normal(state));
    for (int half = 0; half < 2; ++half) way.find(way.team, losses[half], values[half]);
    for (int i = 0; i < way.team; ++i) {
        totals->spread += llabs(values[0][i] + values[1][i]);
        totals->common += values[0][i] * values[1][i] / 1024;
    }
    totals->n_cast += way.team;
    totals->n_tokens += way.team * job->data.batch;
}

static void test_the_error_of_a_share_is_that_of_noise(void)
{
    enum { N_STEPS = 300, N_SLOTS = 256 };
    const struct {
        int64_t team, batch;
    } settings[] = {{1, 8}, {1, 3}, {2, 8}, {8, 8}, {8, 5}, {64, 8}};
    uint64_t state = 5;
    for (size_t k = 0; k < sizeof settings / sizeof *settings; ++k) {
        bal_job job = bal_job_default();
        job.vote.bits = 8; /* of which the journal has these values */
        if (settings[k].team > 1) job.vote.probe = BAL_WAY_ONE_SIDED;
        job.vote.team = settings[k].team;
        job.data.batch = settings[k].batch;
        double sum = 0.0, squares = 0.0, error = 0.0;
        for (int step = 0; step < N_STEPS; ++step) {
            bal_journal_entry entry = {0};
            while (entry.totals.n_cast < N_SLOTS) add_noise(&job, &state, &entry.totals);
            bal_signs signs = bal_entry_signs(&job, &entry);
            sum += signs.share, squares += signs.share * signs.share;
            error = signs.share_error;
        }
        CU_ASSERT(fabs(sum / N_STEPS) < 4.0 * error / sqrt(N_STEPS));
        CU_ASSERT_DOUBLE_EQUAL(sqrt(squares / N_STEPS), error, 0.15 * error);
    }
}

static void test_every_limit_has_a_sentence_and_advice(void)
{
    for (int limit = 0; limit < BAL_N_LIMITS; ++limit) {
        CU_ASSERT(strlen(bal_limit_sentence((bal_limit)limit)) > 20);
        CU_ASSERT(strlen(bal_limit_advice((bal_limit)limit)) > 10);
    }
}

const char bal_suite_name[] = "train_limits";
const bal_test bal_suite_tests[] = {
    {"each sign stands for its limit", test_each_sign_stands_for_its_limit},
    {"what may be noise is no sign", test_what_may_be_noise_is_no_sign},
    {"signs are read from a journal", test_signs_are_read_from_a_journal},
    {"the error of a share is that of noise", test_the_error_of_a_share_is_that_of_noise},
    {"every limit has a sentence and advice", test_every_limit_has_a_sentence_and_advice},
    {NULL, NULL},
};
