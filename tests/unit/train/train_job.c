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

static void test_layers_are_named_by_the_first_and_the_last(void)
{
    static const struct {
        const char *patterns;
        int n; /* tensors on the ballot; 0: refused */
    } cases[] = {{"layers.0-0", 2},        {"layers.0-1", 3}, {"layers.1-7", 1},
                 {"layers.0-0 *norm*", 3}, {"layers.2-9", 0}, {"layers.1-0", 0},
                 {"layers.0-1x", 0},       {"layers.0", 0},   {"layers.-1-9", 0}};
    const bal_tensors tensors = {.n = sizeof list / sizeof *list, .at = list};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        bool on_ballot[sizeof list / sizeof *list];
        bal_job job = bal_job_default();
        snprintf(job.vote.tensors, sizeof job.vote.tensors, "%s", cases[i].patterns);
        bal_status status = bal_job_tensors(&job, &tensors, on_ballot);
        CU_ASSERT_EQUAL(status, cases[i].n > 0 ? BAL_OK : BAL_ERR_CONFIG);
        int n = 0;
        for (int t = 0; t < tensors.n; ++t) n += on_ballot[t];
        CU_ASSERT_EQUAL(n, cases[i].n);
    }
}

static void test_blocks_are_layers_that_follow_each_other(void)
{
    static bal_tensor net[] = {
        {.name = "model.embed_tokens.weight"},
        {.name = "model.layers.0.up.weight"},
        {.name = "model.layers.1.up.weight"},
        {.name = "model.layers.1.down.weight"},
        {.name = "model.layers.2.up.weight"},
        {.name = "model.layers.3.up.weight"},
        {.name = "model.layers.4.up.weight"},
        {.name = "model.norm.weight"},
        {.name = "lm_head.weight"},
    };
    enum { N = sizeof net / sizeof *net };
    static const struct {
        int64_t blocks;
        const char *turns; /* of each tensor; -: it does not vote */
        const char *votes;
    } cases[] = {
        {2, "000001111", "yyyyyyyyy"}, {5, "001123444", "yyyyyyyyy"}, {2, "--0001111", "--yyyyyyy"},
        {3, "----012--", "----yyy--"}, {4, NULL, "----yyyyy"},        {2, NULL, "y------yy"},
        {2, "-0----11-", "-y----yy-"},
    };
    const bal_tensors tensors = {.n = N, .at = net};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        bool on_ballot[N];
        bal_rota rota;
        bal_job job = bal_job_default();
        job.vote.blocks = cases[i].blocks;
        for (int k = 0; k < N; ++k) on_ballot[k] = cases[i].votes[k] == 'y';
        bal_status status = bal_job_rota(&job, &tensors, on_ballot, &rota);
        CU_ASSERT_EQUAL(status, cases[i].turns == NULL ? BAL_ERR_CONFIG : BAL_OK);
        for (int turn = 0; status == BAL_OK && turn < (int)cases[i].blocks; ++turn)
            for (int k = 0; k < N; ++k)
                CU_ASSERT_EQUAL(rota.turn[turn * N + k], cases[i].turns[k] == '0' + turn);
        bal_rota_clear(&rota);
    }
}

const char bal_suite_name[] = "train_job";
const bal_test bal_suite_tests[] = {
    {"density follows the codes that vote", test_density_follows_the_codes_that_vote},
    {"a density that is set stays", test_a_density_that_is_set_stays},
    {"layers are named by the first and the last", test_layers_are_named_by_the_first_and_the_last},
    {"blocks are layers that follow each other", test_blocks_are_layers_that_follow_each_other},
    {NULL, NULL},
};
