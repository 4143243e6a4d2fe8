/* train_limits.c: which signs of a run stand for which limit. */
#include <math.h>
#include <string.h>

#include "ballot/train.h"
#include "suite.h"

/* A run of which nothing is known. */
static bal_signs nothing(void)
{
    return (bal_signs){.share = NAN,
                       .share_error = NAN,
                       .scale = NAN,
                       .scale_error = NAN,
                       .rise = NAN,
                       .fall = NAN};
}

static void test_each_sign_stands_for_its_limit(void)
{
    const struct {
        double share, scale, rise, fall;
        int64_t n_worse;
        bal_limit limit;
    } rows[] = {
        {NAN, NAN, NAN, NAN, 0, BAL_LIMIT_SLOTS},
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
                           .rise = rows[i].rise,
                           .fall = rows[i].fall,
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
    {"every limit has a sentence and advice", test_every_limit_has_a_sentence_and_advice},
    {NULL, NULL},
};
