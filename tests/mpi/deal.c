/* deal.c: each slot is probed once, by its rank or by whoever of the node is free. */
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "../../src/train/train_impl.h"
#include "ballot/vote.h"
#include "ranks.h"

enum { N_SLOTS = 41, N_ROUNDS = 6 };

static bal_deal *dealt(bal_comm *comm, int team, bool by_node)
{
    bal_deal *deal = NULL;
    bal_deal_plan plan = {
        .n_slots = N_SLOTS, .team = team, .at_once = 1, .n_row = 2, .by_node = by_node};
    CU_ASSERT_EQUAL_FATAL(bal_deal_create(comm, &plan, &deal), BAL_OK);
    return deal;
}

/* The next slot, probed: its row is written. -1: none is left. Teams whose last slot it is are
 * counted, and their rows checked. */
static int next_slot(bal_deal *deal, bool begins, int64_t *n_whole)
{
    bal_turn turn;
    if (!bal_deal_next(deal, begins, &turn)) return -1;
    for (int word = 0; word < 2; ++word)
        bal_deal_row(deal, &turn, turn.i)[word] = 10 * (turn.first + turn.i) + word;
    if (!bal_deal_done(deal, &turn)) return turn.first + turn.i;
    ++*n_whole;
    for (int i = 0; i < turn.n; ++i)
        for (int word = 0; word < 2; ++word)
            CU_ASSERT_EQUAL(bal_deal_row(deal, &turn, i)[word], 10 * (turn.first + i) + word);
    return turn.first + turn.i;
}

/* Take what is left of the round; counts [N_SLOTS]. @return slots taken */
static int take_all(bal_deal *deal, int64_t *counts)
{
    int n = 0;
    int64_t n_whole = 0;
    for (int slot; (slot = next_slot(deal, true, &n_whole)) >= 0 && slot < N_SLOTS; ++n)
        ++counts[slot];
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
    bal_deal *deal = dealt(test_comm, 1, false);
    for (int round = 0; round < N_ROUNDS; ++round) {
        int64_t counts[N_SLOTS] = {0}, n_whole = 0;
        bal_deal_begin(deal);
        for (int slot = rank; slot < N_SLOTS; slot += size) {
            CU_ASSERT_EQUAL(bal_slot_rank(slot, 1, size), rank);
            CU_ASSERT_EQUAL(next_slot(deal, true, &n_whole), slot);
            ++counts[slot];
        }
        CU_ASSERT_EQUAL(next_slot(deal, true, &n_whole), -1);
        check_once(counts);
    }
    bal_deal_destroy(&deal);
    CU_ASSERT_PTR_NULL(deal);
    bal_deal_destroy(&deal);
}

static void test_by_node_all_take_at_once_and_each_slot_once(void)
{
    bal_deal *deal = dealt(test_comm, 1, true);
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
    bal_deal *deal = dealt(test_comm, 1, true);
    for (int round = 0; round < N_ROUNDS; ++round) {
        int64_t counts[N_SLOTS] = {0}, nothing = 0, n_whole = 0;
        int late = round % size, first = -1, n = 0;
        bal_deal_begin(deal);
        if (rank == late && (first = next_slot(deal, true, &n_whole)) >= 0)
            ++counts[first]; /* a long probe */
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
    bal_deal *deal = dealt(nodes, 1, true);
    for (int round = 0; round < N_ROUNDS; ++round) {
        int64_t counts[N_SLOTS] = {0};
        int n_bad = 0;
        bal_deal_begin(deal);
        take_all(deal, counts);
        for (int slot = 0; slot < N_SLOTS; ++slot)
            n_bad += counts[slot] > 0 && bal_deal_rank(deal, slot) / 2 != rank / 2;
        CU_ASSERT_EQUAL(n_bad, 0);
        check_once(counts);
    }
    bal_deal_destroy(&deal);
    bal_comm_destroy(&nodes);
}

/* Rank 0 has a node of its own, and the others share one. Of any number of teams each node takes
 * what is due to its ranks, up to one team: also of fewer teams than there are ranks. */
static void test_nodes_share_teams_as_their_ranks_are_many(void)
{
    enum { TEAM = 4 };
    bal_comm *nodes = NULL;
    CU_ASSERT_EQUAL_FATAL(bal_comm_create_on(MPI_COMM_WORLD, rank == 0 ? 0 : 1, &nodes), BAL_OK);
    for (int n_teams = 1; n_teams <= 2 * size + 1; ++n_teams) {
        bal_deal_plan plan = {.n_slots = n_teams * TEAM, .team = TEAM, .n_row = 1, .by_node = true};
        bal_deal *deal = NULL;
        int n = 0;
        double mine = rank == 0 ? 1.0 : size - 1, due = TEAM * n_teams * mine / size;
        CU_ASSERT_EQUAL_FATAL(bal_deal_create(nodes, &plan, &deal), BAL_OK);
        for (int slot = 0; slot < plan.n_slots; ++slot)
            n += (bal_deal_rank(deal, slot) == 0) == (rank == 0);
        CU_ASSERT(fabs(n - due) < TEAM);
        bal_deal_destroy(&deal);
    }
    bal_comm_destroy(&nodes);
}

/* Nodes of two ranks take turns, so that two teams keep both busy. */
static void test_nodes_take_turns(void)
{
    bal_comm *nodes = NULL;
    CU_ASSERT_EQUAL_FATAL(bal_comm_create_on(MPI_COMM_WORLD, rank / 2, &nodes), BAL_OK);
    bal_deal *deal = dealt(nodes, 1, true);
    for (int slot = 0; slot < size; ++slot) {
        int by_turns = size < 4 ? slot : slot % 2 * 2 + slot / 2;
        CU_ASSERT_EQUAL(bal_deal_rank(deal, slot), by_turns);
        CU_ASSERT_EQUAL(bal_deal_rank(deal, slot + size), by_turns);
    }
    bal_deal_destroy(&deal);
    bal_comm_destroy(&nodes);
}

/* Teams of three, the last of fewer, go to one rank each. */
static void test_teams_are_dealt_whole(void)
{
    enum { TEAM = 3 };
    bal_deal *deal = dealt(test_comm, TEAM, false);
    int64_t counts[N_SLOTS] = {0}, n_whole = 0;
    int n_mine = 0, n_teams = 0;
    bal_deal_begin(deal);
    for (int slot; (slot = next_slot(deal, true, &n_whole)) >= 0; ++n_mine) {
        CU_ASSERT_EQUAL(bal_slot_rank(slot, TEAM, size), rank);
        ++counts[slot];
        n_teams += slot % TEAM == 0;
    }
    CU_ASSERT_EQUAL(bal_deal_n_mine(deal), n_mine);
    CU_ASSERT_EQUAL(n_whole, n_teams);
    check_once(counts);
    bal_deal_destroy(&deal);
}

/* Rounds of turns of at most two slots: each slot once, and a whole team seen once. A single rank's
 * turns are of two, but where a team ends; where there are not two for every rank, all are of one.
 */
static void take_two_at_once(int n_slots)
{
    enum { TEAM = 3 };
    bal_deal *deal = NULL;
    bal_deal_plan plan = {
        .n_slots = n_slots, .team = TEAM, .at_once = 2, .n_row = 1, .by_node = true};
    CU_ASSERT_EQUAL_FATAL(bal_deal_create(test_comm, &plan, &deal), BAL_OK);
    for (int round = 0; round < N_ROUNDS; ++round) {
        int64_t counts[N_SLOTS] = {0}, n_whole = 0, nothing = 0;
        bal_turn turn;
        bal_deal_begin(deal);
        CU_ASSERT_EQUAL(bal_comm_sum(test_comm, &nothing, 1), BAL_OK);
        while (bal_deal_next(deal, true, &turn)) {
            int n = turn.end - turn.i;
            CU_ASSERT(n == 1 || n == 2);
            if (n_slots < 2 * size) CU_ASSERT_EQUAL(n, 1);
            if (size == 1) CU_ASSERT_EQUAL(n, turn.n - turn.i < 2 ? 1 : 2);
            for (int i = turn.i; i < turn.end; ++i) ++counts[turn.first + i];
            n_whole += bal_deal_done(deal, &turn);
        }
        for (int slot = n_slots; slot < N_SLOTS; ++slot) counts[slot] = rank == 0;
        check_once(counts);
        CU_ASSERT_EQUAL(bal_comm_sum(test_comm, &n_whole, 1), BAL_OK);
        CU_ASSERT_EQUAL(n_whole, (n_slots + TEAM - 1) / TEAM);
    }
    bal_deal_destroy(&deal);
}

static void test_slots_are_taken_two_at_once(void)
{
    take_two_at_once(N_SLOTS);
    take_two_at_once(2 * size - 1);
}

/* Rank 0 is in a long probe of its first team, and the others do the rest of that team too. So its
 * rows are of several ranks, and one of them finds the team whole. */
static void test_the_free_help_with_a_team_that_is_late(void)
{
    enum { TEAM = 7 };
    bal_deal *deal = dealt(test_comm, TEAM, true);
    for (int round = 0; round < N_ROUNDS; ++round) {
        int64_t counts[N_SLOTS] = {0}, nothing = 0, n_whole = 0;
        bal_turn late = {0};
        bal_deal_begin(deal);
        if (rank == 0) CU_ASSERT_FATAL(bal_deal_next(deal, true, &late));
        CU_ASSERT_EQUAL(bal_comm_sum(test_comm, &nothing, 1), BAL_OK);
        for (int slot; rank != 0 && (slot = next_slot(deal, true, &n_whole)) >= 0;) ++counts[slot];
        CU_ASSERT_EQUAL(bal_comm_sum(test_comm, &nothing, 1), BAL_OK);
        if (rank == 0) {
            ++counts[late.first + late.i];
            for (int word = 0; word < 2; ++word)
                bal_deal_row(deal, &late, late.i)[word] = 10 * (late.first + late.i) + word;
            bool last = bal_deal_done(deal, &late);
            CU_ASSERT_EQUAL(last, size > 1);
            n_whole += last;
            for (int slot; (slot = next_slot(deal, true, &n_whole)) >= 0;) {
                CU_ASSERT_EQUAL(size, 1);
                ++counts[slot];
            }
        }
        check_once(counts);
        CU_ASSERT_EQUAL(bal_comm_sum(test_comm, &n_whole, 1), BAL_OK);
        CU_ASSERT_EQUAL(n_whole, (N_SLOTS + TEAM - 1) / TEAM);
    }
    bal_deal_destroy(&deal);
}

/* After the deadline a rank goes on with the team that it is at, and turns to no other. */
static void test_a_rank_may_finish_its_team_and_no_other(void)
{
    enum { TEAM = 7 };
    bal_deal *deal = dealt(test_comm, TEAM, false);
    int64_t n_whole = 0;
    bal_deal_begin(deal);
    CU_ASSERT_EQUAL(next_slot(deal, false, &n_whole), -1);
    if (bal_deal_n_mine(deal) > 0) {
        CU_ASSERT_EQUAL(next_slot(deal, true, &n_whole), rank * TEAM);
        for (int i = 1; i < TEAM && rank * TEAM + i < N_SLOTS; ++i)
            CU_ASSERT_EQUAL(next_slot(deal, false, &n_whole), rank * TEAM + i);
        CU_ASSERT_EQUAL(next_slot(deal, false, &n_whole), -1);
        CU_ASSERT_EQUAL(n_whole, 1);
    }
    bal_deal_destroy(&deal);
}

/* Rank 0 takes three times as long for a probe. The step then takes what all ranks need together,
 * and at most a slow probe more, although a rank's fair share is one or two teams. */
static void test_a_slow_rank_is_hidden(void)
{
    enum { TEAM = 8, US = 20000, SLOWER = 3 };
    bal_deal *deal = dealt(test_comm, TEAM, true);
    int64_t counts[N_SLOTS] = {0}, nothing = 0, n_whole = 0;
    double best = INFINITY, probe = 1e-6 * US * (rank == 0 ? SLOWER : 1);
    double ideal = 1e-6 * US * N_SLOTS / (size - 1 + 1.0 / SLOWER), late = 1e-6 * US * SLOWER;
    for (int attempt = 0; attempt < 5 && best > ideal + 1.5 * late;
         ++attempt) { /* a busy machine */
        memset(counts, 0, sizeof counts);
        CU_ASSERT_EQUAL(bal_comm_sum(test_comm, &nothing, 1), BAL_OK);
        double began = bal_seconds(), seconds;
        bal_deal_begin(deal);
        for (int slot; (slot = next_slot(deal, true, &n_whole)) >= 0;) {
            ++counts[slot];
            usleep((useconds_t)(1e6 * probe));
        }
        seconds = bal_seconds() - began;
        CU_ASSERT_EQUAL(bal_comm_slowest(test_comm, &seconds), BAL_OK);
        best = fmin(best, seconds);
        check_once(counts);
    }
    CU_ASSERT(best <= ideal + 1.5 * late);
    if (rank == 0) printf("\n    %.3f s, ideal %.3f s", best, ideal);
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
    {"nodes share teams as their ranks are many", test_nodes_share_teams_as_their_ranks_are_many},
    {"nodes take turns", test_nodes_take_turns},
    {"teams are dealt whole", test_teams_are_dealt_whole},
    {"slots are taken two at once", test_slots_are_taken_two_at_once},
    {"the free help with a team that is late", test_the_free_help_with_a_team_that_is_late},
    {"a slow rank is hidden", test_a_slow_rank_is_hidden},
    {"a rank may finish its team and no other", test_a_rank_may_finish_its_team_and_no_other},
    {NULL, NULL},
};
