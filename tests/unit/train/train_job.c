/* train_job.c: what a job says of a model. */
#include <stdio.h>

#include "ballot/job.h"
#include "suite.h"

/* A matrix of four-bit codes, its gain, one of int8, and a norm. */
static bal_tensor list[] = {
    {.name = "model.layers.0.up.weight", .role = BAL_MATRIX, .format = BAL_I4},
    {.name = "model.layers.0.up.gain", .role = BAL_GAIN, .format = BAL_I16},
    {.name = "model.layers.1.up.weight", .role = BAL_MATRIX, .format = BAL_I8},
    {.name = "model.norm.weight", .role = BAL_VECTOR, .format = BAL_I16},
};

static double density_of(const char *patterns, unsigned train, double density)
{
    const bal_tensors tensors = {.n = sizeof list / sizeof *list, .at = list};
    bal_job job = bal_job_default();
    snprintf(job.vote.tensors, sizeof job.vote.tensors, "%s", patterns);
    job.vote.train = train;
    if (density > 0.0) job.vote.density = density;
    return bal_job_density(&job, &tensors);
}

static void test_density_follows_the_codes_that_vote(void)
{
    const unsigned all = BAL_TRAIN_CODES | BAL_TRAIN_GAINS;
    for (int format = BAL_I4; format <= BAL_NF4; format += BAL_NF4 - BAL_I4) {
        list[0].format = (bal_format)format;
        CU_ASSERT_EQUAL(density_of("*", all, 0.0), 0.02);
        CU_ASSERT_EQUAL(density_of("*", BAL_TRAIN_CODES, 0.0), 0.02);
        CU_ASSERT_EQUAL(density_of("*.0.*", all, 0.0), 0.02);
        CU_ASSERT_EQUAL(density_of("*", BAL_TRAIN_GAINS, 0.0), 1.0);
        CU_ASSERT_EQUAL(density_of("*.1.* *norm*", all, 0.0), 1.0);
        CU_ASSERT_EQUAL(density_of("upper", all, 0.0), 1.0);
    }
}

static void test_a_density_that_is_set_stays(void)
{
    CU_ASSERT_EQUAL(density_of("*", BAL_TRAIN_CODES, 0.3), 0.3);
    CU_ASSERT_EQUAL(density_of("*.1.*", BAL_TRAIN_CODES, 0.3), 0.3);
}

const char bal_suite_name[] = "train_job";
const bal_test bal_suite_tests[] = {
    {"density follows the codes that vote", test_density_follows_the_codes_that_vote},
    {"a density that is set stays", test_a_density_that_is_set_stays},
    {NULL, NULL},
};
