/* shared.c: one copy per node, that all its ranks see and each writes a part of. */
#include "ranks.h"

enum { N = 100003 };

static bal_shared *shared_of(bal_comm *comm, size_t n_bytes, bool share)
{
    bal_shared *shared = NULL;
    CU_ASSERT_EQUAL_FATAL(bal_shared_create(comm, n_bytes, share, &shared), BAL_OK);
    CU_ASSERT_EQUAL((uintptr_t)bal_shared_memory(shared) % 64, 0);
    return shared;
}

/* Each rank writes its part, round after round, and then sees those of all. */
static void check_all_see_all(bal_shared *shared)
{
    uint64_t *words = bal_shared_memory(shared);
    int part = bal_shared_part(shared), n_parts = bal_shared_n_parts(shared), n_bad = 0;
    for (uint64_t round = 0; round < 20; ++round) {
        for (int i = N * part / n_parts; i < N * (part + 1) / n_parts; ++i)
            words[i] = round << 32 | (uint64_t)i;
        CU_ASSERT_EQUAL(bal_shared_sync(shared), BAL_OK);
        for (int i = 0; i < N; ++i) n_bad += words[i] != (round << 32 | (uint64_t)i);
        CU_ASSERT_EQUAL(bal_shared_sync(shared), BAL_OK); /* before anyone writes again */
    }
    CU_ASSERT_EQUAL(n_bad, 0);
    uint64_t sums[2] = {1, (uint64_t)part << 62};
    uint64_t parts = (uint64_t)n_parts * (uint64_t)(n_parts - 1) / 2;
    CU_ASSERT_EQUAL(bal_shared_sum(shared, sums, 2), BAL_OK);
    CU_ASSERT_EQUAL(sums[0], (uint64_t)n_parts);
    CU_ASSERT_EQUAL(sums[1], parts << 62); /* modulo 2^64 */
}

static void test_ranks_of_a_node_see_each_others_writes(void)
{
    bal_shared *shared = shared_of(test_comm, N * sizeof(uint64_t), true);
    CU_ASSERT_PTR_NULL(bal_shared_refusal(shared));
    CU_ASSERT_EQUAL(bal_shared_n_parts(shared), size); /* the tests run on one machine */
    CU_ASSERT_EQUAL(bal_shared_part(shared), rank);
    check_all_see_all(shared);
    bal_shared_destroy(&shared);
    CU_ASSERT_PTR_NULL(shared);
    bal_shared_destroy(&shared);
}

static void test_nodes_do_not_see_each_other(void)
{
    bal_comm *nodes = NULL;
    CU_ASSERT_EQUAL_FATAL(bal_comm_create_on(MPI_COMM_WORLD, rank / 2, &nodes), BAL_OK);
    bal_shared *shared = shared_of(nodes, N * sizeof(uint64_t), true);
    CU_ASSERT_EQUAL(bal_shared_n_parts(shared), rank / 2 * 2 + 1 < size ? 2 : 1);
    CU_ASSERT_EQUAL(bal_shared_part(shared), rank % 2);
    uint64_t *words = bal_shared_memory(shared);
    words[rank % 2] = (uint64_t)rank / 2;
    CU_ASSERT_EQUAL(bal_shared_sync(shared), BAL_OK);
    CU_ASSERT_EQUAL(bal_comm_agree(test_comm, BAL_OK), BAL_OK); /* all nodes have written */
    for (int i = 0; i < bal_shared_n_parts(shared); ++i)
        CU_ASSERT_EQUAL(words[i], (uint64_t)rank / 2);
    CU_ASSERT_EQUAL(bal_shared_sync(shared), BAL_OK);
    check_all_see_all(shared);
    bal_shared_destroy(&shared);
    bal_comm_destroy(&nodes);
}

static void test_where_nothing_is_shared_each_rank_has_a_copy(void)
{
    bal_shared *shared = shared_of(test_comm, N * sizeof(uint64_t), false);
    CU_ASSERT_PTR_NULL(bal_shared_refusal(shared));
    CU_ASSERT(bal_shared_part(shared) == 0 && bal_shared_n_parts(shared) == 1);
    uint64_t *words = bal_shared_memory(shared);
    words[0] = (uint64_t)rank;
    CU_ASSERT_EQUAL(bal_comm_agree(test_comm, BAL_OK), BAL_OK);
    CU_ASSERT_EQUAL(words[0], (uint64_t)rank);
    check_all_see_all(shared);
    bal_shared_destroy(&shared);
}

static void test_more_than_there_is_is_refused_on_all_ranks(void)
{
    bal_shared *shared = NULL;
    for (int share = 0; share < 2; ++share) {
        CU_ASSERT_EQUAL(bal_shared_create(test_comm, SIZE_MAX - 1, share != 0, &shared),
                        BAL_ERR_MEMORY);
        CU_ASSERT_PTR_NULL(shared);
        CU_ASSERT_PTR_NOT_NULL(
            strstr(bal_failure(), " has too little memory for its own copy of "));
    }
}

const char bal_suite_name[] = "shared";
const bal_test bal_suite_tests[] = {
    {"ranks of a node see each other's writes", test_ranks_of_a_node_see_each_others_writes},
    {"nodes do not see each other", test_nodes_do_not_see_each_other},
    {"where nothing is shared each rank has a copy",
     test_where_nothing_is_shared_each_rank_has_a_copy},
    {"more than there is is refused on all ranks", test_more_than_there_is_is_refused_on_all_ranks},
    {NULL, NULL},
};
