/* watch.c: ranks that do not answer are named, and no others. A rank is lost to a communicator of
 * which it does not call the collectives; those of a broadcast that would have had it from that
 * rank wait after the rest. */
#include <math.h>
#include <unistd.h>

#include "ranks.h"

#define LIMIT_S 4.0

static bal_comm *watched(void)
{
    bal_comm *comm = NULL;
    CU_ASSERT_EQUAL_FATAL(bal_comm_create(MPI_COMM_WORLD, &comm), BAL_OK);
    bal_comm_set_limit(comm, LIMIT_S);
    bal_comm_set_step(comm, 7);
    return comm;
}

/* Ranks 0 and 1 name this one alone; the others say that they heard of nobody. */
static void check_named(bal_comm *comm, bal_status status, int lost)
{
    char named[256];
    snprintf(named, sizeof named, "step 7: no answer from rank %d on %s for 4 s; last heard of ",
             lost, bal_comm_host(comm, lost));
    const char *start = rank <= 1 ? named : "step 7: rank";
    CU_ASSERT_EQUAL(status, BAL_LOST);
    CU_ASSERT_EQUAL(strncmp(bal_failure(), start, strlen(start)), 0);
    if (rank <= 1) printf("\n    rank %d: %s", rank, bal_failure());
}

/* A broadcast, then what all wait for: of a communicator where one rank does neither. Rank 0, or 1
 * where that is lost, begins to wait last, and is the first to give up all the same. */
static void lose(bal_comm *comm, int lost)
{
    uint64_t word = 1, all[64];
    double ends[64], end = INFINITY, began = bal_seconds();
    int first = lost == 0;
    if (rank == first) usleep((useconds_t)((lost == 0 ? 0.4e6 : 0.55e6) * LIMIT_S));
    if (rank != lost) {
        bal_status status = bal_comm_broadcast(comm, &word, sizeof word);
        if (status == BAL_OK) status = bal_comm_gather(comm, &word, 1, all);
        end = bal_seconds();
        check_named(comm, status, lost);
        CU_ASSERT(end - began < LIMIT_S + 15.0);
    }
    MPI_Allgather(&end, 1, MPI_DOUBLE, ends, 1, MPI_DOUBLE, MPI_COMM_WORLD);
    for (int r = 0; r < size; ++r) CU_ASSERT(r == first || ends[r] > ends[first]);
    bal_comm_destroy(&comm);
}

static void test_a_lost_rank_is_named_and_not_those_that_wait_behind_it(void)
{
    lose(watched(), 1);
}

static void test_where_rank_0_is_lost_another_names_it(void) { lose(watched(), 0); }

static void test_a_rank_that_was_waiting_once_is_not_taken_for_one_that_waits(void)
{
    bal_comm *comm = watched();
    if (rank == 0) usleep((useconds_t)(0.7e6 * LIMIT_S));
    CU_ASSERT_EQUAL(bal_comm_agree(comm, BAL_OK), BAL_OK); /* the others have said that they wait */
    lose(comm, size - 1);
}

const char bal_suite_name[] = "watch";
const bal_test bal_suite_tests[] = {
    {"a lost rank is named and not those that wait behind it",
     test_a_lost_rank_is_named_and_not_those_that_wait_behind_it},
    {"where rank 0 is lost another names it", test_where_rank_0_is_lost_another_names_it},
    {"a rank that was waiting once is not taken for one that waits",
     test_a_rank_that_was_waiting_once_is_not_taken_for_one_that_waits},
    {NULL, NULL},
};
