/* ranks.h: test programs that run on several ranks. To be included once. */
#ifndef BALLOT_TEST_RANKS_H
#define BALLOT_TEST_RANKS_H

#include <string.h>

#include "ballot/comm_mpi.h"
#include "suite.h"

static bal_comm *test_comm;
static int rank, size;

int bal_suite_begin(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    if (bal_comm_start(&test_comm) != BAL_OK) return 1;
    rank = bal_comm_rank(test_comm);
    size = bal_comm_size(test_comm);
    return 0;
}

int bal_suite_end(void)
{
    bal_comm_end(&test_comm);
    return 0;
}

#endif
