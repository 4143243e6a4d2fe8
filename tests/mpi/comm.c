/* comm.c: ranks agree, and combine integers exactly. */
#include <stdlib.h>

#include "ranks.h"

static void test_ranks_are_numbered(void)
{
    int world_rank = -1, world_size = -1;
    MPI_Comm_rank(MPI_COMM_WORLD, &world_rank);
    MPI_Comm_size(MPI_COMM_WORLD, &world_size);
    CU_ASSERT_EQUAL(rank, world_rank);
    CU_ASSERT_EQUAL(size, world_size);
}

static void test_all_is_well_where_all_ranks_are(void)
{
    bal_fail(BAL_ERR_IO, "an earlier failure of rank %d", rank);
    CU_ASSERT_EQUAL(bal_comm_agree(test_comm, BAL_OK), BAL_OK);
}

static void test_one_failure_reaches_every_rank_with_its_sentence(void)
{
    for (int bad = 0; bad < size; ++bad) {
        char sentence[64];
        snprintf(sentence, sizeof sentence, "rank %d: no file", bad);
        bal_fail(BAL_ERR_STATE, "a stale sentence of rank %d", rank);
        bal_status mine = rank == bad ? bal_fail(BAL_ERR_INPUT, "%s", sentence) : BAL_OK;
        CU_ASSERT_EQUAL(bal_comm_agree(test_comm, mine), BAL_ERR_INPUT);
        CU_ASSERT_STRING_EQUAL(bal_failure(), sentence);
    }
}

static void test_of_several_failures_the_worst_of_the_lowest_rank_counts(void)
{
    /* rank 0 has the lesser failure; all others, if any, the greater one */
    bal_status mine = rank == 0 ? bal_fail(BAL_ERR_IO, "lesser, rank 0")
                                : bal_fail(BAL_ERR_NUMERIC, "greater, rank %d", rank);
    CU_ASSERT_EQUAL(bal_comm_agree(test_comm, mine), size == 1 ? BAL_ERR_IO : BAL_ERR_NUMERIC);
    CU_ASSERT_STRING_EQUAL(bal_failure(), size == 1 ? "lesser, rank 0" : "greater, rank 1");
    bal_fail(BAL_ERR_MEMORY, "all of us, rank %d", rank);
    CU_ASSERT_EQUAL(bal_comm_agree(test_comm, BAL_ERR_MEMORY), BAL_ERR_MEMORY);
    CU_ASSERT_STRING_EQUAL(bal_failure(), "all of us, rank 0");
}

static void test_a_broadcast_is_what_rank_0_has(void)
{
    static const size_t sizes[] = {0, 1, 7, 4096, 1000003};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
        uint8_t *bytes = malloc(sizes[i] + 1);
        CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
        for (size_t at = 0; at <= sizes[i]; ++at) bytes[at] = (uint8_t)(rank == 0 ? at * 7 : 255);
        CU_ASSERT_EQUAL(bal_comm_broadcast(test_comm, bytes, sizes[i]), BAL_OK);
        int n_bad = bytes[sizes[i]] != (uint8_t)(rank == 0 ? sizes[i] * 7 : 255); /* one further */
        for (size_t at = 0; at < sizes[i]; ++at) n_bad += bytes[at] != (uint8_t)(at * 7);
        CU_ASSERT_EQUAL(n_bad, 0);
        free(bytes);
    }
}

static void test_gathered_words_lie_in_rank_order(void)
{
    uint64_t mine[3], *all = calloc((size_t)size, sizeof mine);
    CU_ASSERT_PTR_NOT_NULL_FATAL(all);
    for (int i = 0; i < 3; ++i) mine[i] = ((uint64_t)rank << 60) + (uint64_t)i;
    CU_ASSERT_EQUAL(bal_comm_gather(test_comm, mine, 3, all), BAL_OK);
    for (int r = 0; r < size; ++r)
        for (int i = 0; i < 3; ++i)
            CU_ASSERT_EQUAL(all[3 * r + i], ((uint64_t)r << 60) + (uint64_t)i);
    free(all);
}

static void test_sums_are_exact(void)
{
    int64_t values[3] = {rank + 1, -((int64_t)1 << 60) + rank, ((int64_t)1 << 53) + rank};
    int64_t ranks = (int64_t)size * (size - 1) / 2;
    CU_ASSERT_EQUAL(bal_comm_sum(test_comm, values, 3), BAL_OK);
    CU_ASSERT_EQUAL(values[0], ranks + size);
    CU_ASSERT_EQUAL(values[1], -((int64_t)1 << 60) * size + ranks);
    CU_ASSERT_EQUAL(values[2], ((int64_t)1 << 53) * size + ranks); /* a double would lose this */
}

/* Word i of a rank: any 64 bits. */
static uint64_t word(int of_rank, int i)
{
    uint64_t state = (uint64_t)(1000 * of_rank + i);
    return bal_test_random(&state);
}

static void test_a_reduction_combines_each_word_its_own_way(void)
{
    static const bal_reduction layouts[] = {{1, 1, 1, 1}, {3, 0, 0, 2},   {0, 5, 0, 0},
                                            {0, 0, 1, 0}, {513, 4, 1, 1}, {1, 1, 1, 1}};
    for (size_t k = 0; k < sizeof layouts / sizeof *layouts; ++k) { /* layouts change in between */
        const bal_reduction *how = &layouts[k];
        int n = how->n_or + how->n_sum + how->n_min + how->n_max;
        uint64_t words[600];
        for (int i = 0; i < n; ++i) words[i] = word(rank, i);
        CU_ASSERT_EQUAL(bal_comm_reduce(test_comm, how, words), BAL_OK);
        int n_bad = 0;
        for (int i = 0; i < n; ++i) {
            uint64_t want = word(0, i);
            for (int r = 1; r < size; ++r) {
                uint64_t next = word(r, i);
                if (i < how->n_or)
                    want |= next;
                else if (i < how->n_or + how->n_sum)
                    want += next;
                else if (i < how->n_or + how->n_sum + how->n_min)
                    want = next < want ? next : want;
                else
                    want = next > want ? next : want;
            }
            n_bad += words[i] != want;
        }
        CU_ASSERT_EQUAL(n_bad, 0);
        if (n_bad > 0) printf("\n    layout %zu: %d of %d words", k, n_bad, n);
    }
}

static void test_communicators_do_not_hear_each_other(void)
{
    bal_comm *other = NULL;
    CU_ASSERT_EQUAL_FATAL(bal_comm_create(MPI_COMM_WORLD, &other), BAL_OK);
    uint64_t a[2] = {1, 1}, b[3] = {2, 2, 2}, n = (uint64_t)size;
    CU_ASSERT_EQUAL(bal_comm_reduce(test_comm, &(bal_reduction){.n_sum = 2}, a), BAL_OK);
    CU_ASSERT_EQUAL(bal_comm_reduce(other, &(bal_reduction){.n_or = 1, .n_sum = 2}, b), BAL_OK);
    CU_ASSERT_EQUAL(bal_comm_reduce(test_comm, &(bal_reduction){.n_sum = 2}, a), BAL_OK);
    CU_ASSERT(a[0] == n * n && a[1] == n * n && b[0] == 2 && b[1] == 2 * n && b[2] == 2 * n);
    bal_comm_destroy(&other);
    CU_ASSERT_PTR_NULL(other);
    bal_comm_destroy(&other);
}

const char bal_suite_name[] = "comm";
const bal_test bal_suite_tests[] = {
    {"ranks are numbered", test_ranks_are_numbered},
    {"all is well where all ranks are", test_all_is_well_where_all_ranks_are},
    {"one failure reaches every rank with its sentence",
     test_one_failure_reaches_every_rank_with_its_sentence},
    {"of several failures the worst of the lowest rank counts",
     test_of_several_failures_the_worst_of_the_lowest_rank_counts},
    {"a broadcast is what rank 0 has", test_a_broadcast_is_what_rank_0_has},
    {"gathered words lie in rank order", test_gathered_words_lie_in_rank_order},
    {"sums are exact", test_sums_are_exact},
    {"a reduction combines each word its own way", test_a_reduction_combines_each_word_its_own_way},
    {"communicators do not hear each other", test_communicators_do_not_hear_each_other},
    {NULL, NULL},
};
