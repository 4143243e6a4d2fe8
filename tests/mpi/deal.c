/* deal.c: each slot is probed once, by its rank or by whoever of the node is free. */
#include "../../src/train/train_impl.h"
#include "ballot/vote.h"
#include "ranks.h"

enum { N_SLOTS = 41, N_ROUNDS = 6 };

static bal_deal *dealt(bal_comm *comm, bool by_node)
{
    bal_deal *deal = NULL;
    CU_ASSERT_EQUAL_FATAL(bal_deal_create(comm, N_SLOTS, 1, by_node, &deal), BAL_OK);
    return deal;
}

/* Take what is left of the round; counts [N_SLOTS]. @return slots taken */
static int take_all(bal_deal *deal, int64_t *counts)
{
    int n = 0;
    for (int slot; (slot = bal_deal_next(deal)) >= 0 && slot < N_SLOTS; ++n) ++counts[slot];
    return n;
}

/* All ranks have taken these: each slot once. */
static void check_once(int64_t *counts)
{
    int n_bad = 0;
    CU_ASSERT_EQUAL(bal_comm_sum(test_comm, counts, N_SLOTS), BAL_OK);
    for (int slot = 0; slot < N_SLOTS; ++slot) n_bad += counts[slot] != 1;
    CU_ASSERT_EQUAL(n_bad, 0);
}

static void test_by_rank_each_takes_its_own_and_no_others(void)
{
    bal_deal *deal = dealt(test_comm, false);
    for (int round = 0; round < N_ROUNDS; ++round) {
        int64_t counts[N_SLOTS] = {0};
        bal_deal_begin(deal);
        for (int slot = rank; slot < N_SLOTS; slot += size) {
            CU_ASSERT_EQUAL(bal_slot_rank(slot, 1, size), rank);
            CU_ASSERT_EQUAL(bal_deal_next(deal), slot);
            ++counts[slot];
        }
        CU_ASSERT_EQUAL(bal_deal_next(deal), -1);
        check_once(counts);
    }
    bal_deal_destroy(&deal);
    CU_ASSERT_PTR_NULL(deal);
    bal_deal_destroy(&deal);
}

static void test_by_node_all_take_at_once_and_each_slot_once(void)
{
    bal_deal *deal = dealt(test_comm, true);
    for (int round = 0; round < 50 * N_ROUNDS; ++round) {
        int64_t counts[N_SLOTS] = {0};
        bal_deal_begin(deal);
        take_all(deal, counts);
        check_once(counts);
    }
    bal_deal_destroy(&deal);
}

static void test_by_node_the_others_take_what_a_late_rank_does_not(void)
{
    bal_deal *deal = dealt(test_comm, true);
    for (int round = 0; round < N_ROUNDS; ++round) {
        int64_t counts[N_SLOTS] = {0}, nothing = 0;
        int late = round % size, first = -1, n = 0;
        bal_deal_begin(deal);
        if (rank == late && (first = bal_deal_next(deal)) >= 0) ++counts[first]; /* a long probe */
        CU_ASSERT_EQUAL(bal_comm_sum(test_comm, &nothing, 1), BAL_OK);
        if (rank != late) take_all(deal, counts);
        CU_ASSERT_EQUAL(bal_comm_sum(test_comm, &nothing, 1), BAL_OK);
        if (rank == late) n = take_all(deal, counts);
        CU_ASSERT(rank != late || (first >= 0 && n == (size == 1 ? N_SLOTS - 1 : 0)));
        check_once(counts);
    }
    bal_deal_destroy(&deal);
}

static void test_nodes_do_not_take_from_each_other(void)
{
    bal_comm *nodes = NULL;
    CU_ASSERT_EQUAL_FATAL(bal_comm_create_on(MPI_COMM_WORLD, rank / 2, &nodes), BAL_OK);
    bal_deal *deal = dealt(nodes, true);
    for (int round = 0; round < N_ROUNDS; ++round) {
        int64_t counts[N_SLOTS] = {0};
        int n_bad = 0;
        bal_deal_begin(deal);
        take_all(deal, counts);
        for (int slot = 0; slot < N_SLOTS; ++slot)
            n_bad += counts[slot] > 0 && bal_slot_rank(slot, 1, size) / 2 != rank / 2;
        CU_ASSERT_EQUAL(n_bad, 0);
        check_once(counts);
    }
    bal_deal_destroy(&deal);
    bal_comm_destroy(&nodes);
}

/* Teams of three, the last of fewer, go to one rank each. */
static void test_teams_are_dealt_whole(void)
{
    enum { TEAM = 3 };
    bal_deal *deal = NULL;
    int64_t counts[N_SLOTS] = {0};
    int n_mine = 0;
    CU_ASSERT_EQUAL_FATAL(bal_deal_create(test_comm, N_SLOTS, TEAM, false, &deal), BAL_OK);
    bal_deal_begin(deal);
    for (int first; (first = bal_deal_next(deal)) >= 0;) {
        CU_ASSERT_EQUAL(first % TEAM, 0);
        for (int slot = first; slot < first + TEAM && slot < N_SLOTS; ++slot) {
            CU_ASSERT_EQUAL(bal_slot_rank(slot, TEAM, size), rank);
            ++counts[slot];
            ++n_mine;
        }
    }
    CU_ASSERT_EQUAL(bal_deal_n_mine(deal), n_mine);
    check_once(counts);
    bal_deal_destroy(&deal);
}

const char bal_suite_name[] = "deal";
const bal_test bal_suite_tests[] = {
    {"by rank each takes its own and no others", test_by_rank_each_takes_its_own_and_no_others},
    {"by node all take at once and each slot once",
     test_by_node_all_take_at_once_and_each_slot_once},
    {"by node the others take what a late rank does not",
     test_by_node_the_others_take_what_a_late_rank_does_not},
    {"nodes do not take from each other", test_nodes_do_not_take_from_each_other},
    {"teams are dealt whole", test_teams_are_dealt_whole},
    {NULL, NULL},
};
