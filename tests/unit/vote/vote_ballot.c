/* vote_ballot.c: what one rank can do with a ballot, and what it cannot; see tests/mpi for many. */
#include "../../mpi/ranks.h"
#include "ballot/vote.h"

static const int sizes[] = {1, 2, 63, 64, 65, 128, 129, 32768, BAL_SLOTS_MAX};
#define N_SIZES ((int)(sizeof sizes / sizeof *sizes))

static void test_a_ballot_is_two_bits_per_slot_and_a_few_integers(void)
{
    for (int i = 0; i < N_SIZES; ++i) {
        int64_t words = 2 * (((int64_t)sizes[i] + 63) / 64);
        CU_ASSERT_EQUAL(bal_ballot_words(sizes[i]), words);
        CU_ASSERT(bal_ballot_bytes(sizes[i]) <= 8 * words + 64);
        CU_ASSERT(bal_ballot_bytes(sizes[i]) > 8 * words);
    }
}

static void test_a_vote_is_the_sign_of_loss_minus_less_loss_plus(void)
{
    static const struct {
        bal_pair losses;
        int vote;
    } known[] = {{{.minus = 5, .plus = 4}, 1},
                 {{.minus = 4, .plus = 5}, -1},
                 {{.minus = 4, .plus = 4}, 0},
                 {{.minus = INT64_MAX, .plus = 0}, 1},
                 {{.minus = INT64_MIN, .plus = INT64_MAX}, -1},
                 {{.minus = -1, .plus = 1}, -1},
                 {{.minus = 0, .plus = 0}, 0},
                 {{.minus = INT64_MAX, .plus = INT64_MIN}, 1}};
    enum { N = sizeof known / sizeof *known };
    bal_ballot *ballot = NULL;
    CU_ASSERT_EQUAL_FATAL(bal_ballot_create(test_comm, N, &ballot), BAL_OK);
    for (int slot = 0; slot < N; ++slot)
        CU_ASSERT_EQUAL(bal_ballot_cast(ballot, slot, bal_pair_vote(known[slot].losses)), BAL_OK);
    uint64_t bits[2];
    bal_totals totals;
    int8_t votes[N];
    CU_ASSERT_EQUAL(bal_ballot_count(ballot, bits, &totals), BAL_OK);
    bal_ballot_votes(bits, N, votes);
    for (int slot = 0; slot < N; ++slot) CU_ASSERT_EQUAL(votes[slot], known[slot].vote);
    CU_ASSERT_EQUAL(totals.n_cast, N); /* ties too */
    CU_ASSERT_EQUAL(bal_ballot_n_decided(bits, N), 6);
    for (int slot = 0; slot < N; ++slot) CU_ASSERT(bal_ballot_has(bits, N, slot));
    bal_ballot_destroy(&ballot);
    CU_ASSERT_PTR_NULL(ballot);
    bal_ballot_destroy(&ballot);
}

static void test_every_slot_has_its_own_bit(void)
{
    for (int i = 0; i < N_SIZES - 2; ++i)
        for (int slot = 0; slot < sizes[i]; ++slot) {
            bal_ballot *ballot = NULL;
            uint64_t bits[6];
            bal_totals totals;
            int8_t votes[129];
            CU_ASSERT_EQUAL_FATAL(bal_ballot_create(test_comm, sizes[i], &ballot), BAL_OK);
            CU_ASSERT_EQUAL(bal_ballot_cast(ballot, slot, slot % 2 == 0 ? -1 : 1), BAL_OK);
            CU_ASSERT_EQUAL(bal_ballot_count(ballot, bits, &totals), BAL_OK);
            bal_ballot_votes(bits, sizes[i], votes);
            int n_bad = 0;
            for (int s = 0; s < sizes[i]; ++s)
                n_bad += votes[s] != (s == slot ? 2 * (s % 2) - 1 : 0);
            CU_ASSERT_EQUAL(n_bad, 0);
            bal_ballot_destroy(&ballot);
        }
}

static void test_a_refused_vote_changes_nothing(void)
{
    bal_ballot *ballot = NULL;
    CU_ASSERT_EQUAL_FATAL(bal_ballot_create(test_comm, 70, &ballot), BAL_OK);
    CU_ASSERT_EQUAL(bal_ballot_cast(ballot, 69, 1), BAL_OK);
    CU_ASSERT_EQUAL(bal_ballot_cast(ballot, 68, 0), BAL_OK); /* a tie is a vote too */
    CU_ASSERT_EQUAL(bal_ballot_cast(ballot, -1, 1), BAL_ERR_ARG);
    CU_ASSERT_EQUAL(bal_ballot_cast(ballot, 70, 1), BAL_ERR_ARG);
    CU_ASSERT_EQUAL(bal_ballot_cast(ballot, 69, -1), BAL_ERR_STATE);
    CU_ASSERT_EQUAL(bal_ballot_cast(ballot, 68, -1), BAL_ERR_STATE);
    uint64_t bits[4];
    bal_totals totals;
    int8_t votes[70];
    CU_ASSERT_EQUAL(bal_ballot_count(ballot, bits, &totals), BAL_OK);
    bal_ballot_votes(bits, 70, votes);
    for (int slot = 0; slot < 70; ++slot) CU_ASSERT_EQUAL(votes[slot], slot == 69);
    CU_ASSERT_EQUAL(totals.n_cast, 2);
    for (int slot = 0; slot < 70; ++slot) /* a tie is not an abstention */
        CU_ASSERT_EQUAL(bal_ballot_has(bits, 70, slot), slot >= 68);
    CU_ASSERT_EQUAL(bal_ballot_cast(ballot, 69, -1), BAL_OK); /* counting emptied it */
    bal_ballot_destroy(&ballot);
}

static void test_votes_of_a_rank_can_be_taken_back(void)
{
    enum { N = 131 };
    for (int n_ranks = 1; n_ranks <= 5; ++n_ranks)
        for (int bad = 0; bad < n_ranks; ++bad) {
            bal_ballot *ballot = NULL;
            uint64_t bits[6];
            bal_totals totals;
            int8_t votes[N];
            CU_ASSERT_EQUAL_FATAL(bal_ballot_create(test_comm, N, &ballot), BAL_OK);
            for (int slot = 0; slot < N; ++slot)
                CU_ASSERT_EQUAL(bal_ballot_cast(ballot, slot, slot % 3 - 1), BAL_OK);
            CU_ASSERT_EQUAL(bal_ballot_count(ballot, bits, &totals), BAL_OK);
            bal_ballot_strike(bits, N, bad, n_ranks);
            bal_ballot_votes(bits, N, votes);
            int n_bad = 0;
            for (int slot = 0; slot < N; ++slot) {
                bool struck = bal_slot_rank(slot, n_ranks) == bad;
                n_bad += bal_ballot_has(bits, N, slot) == struck;
                n_bad += votes[slot] != (struck ? 0 : slot % 3 - 1);
            }
            CU_ASSERT_EQUAL(n_bad, 0);
            bal_ballot_destroy(&ballot);
        }
}

static void test_impossible_ballots_are_refused(void)
{
    static const int bad[] = {0, -1, BAL_SLOTS_MAX + 1};
    for (int i = 0; i < 3; ++i) {
        bal_ballot *ballot = NULL;
        CU_ASSERT_EQUAL(bal_ballot_create(test_comm, bad[i], &ballot), BAL_ERR_ARG);
        CU_ASSERT_PTR_NULL(ballot);
        CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "expected 1 to 1048576"));
    }
}

const char bal_suite_name[] = "vote_ballot";
const bal_test bal_suite_tests[] = {
    {"a ballot is two bits per slot and a few integers",
     test_a_ballot_is_two_bits_per_slot_and_a_few_integers},
    {"a vote is the sign of loss- less loss+",
     test_a_vote_is_the_sign_of_loss_minus_less_loss_plus},
    {"every slot has its own bit", test_every_slot_has_its_own_bit},
    {"a refused vote changes nothing", test_a_refused_vote_changes_nothing},
    {"votes of a rank can be taken back", test_votes_of_a_rank_can_be_taken_back},
    {"impossible ballots are refused", test_impossible_ballots_are_refused},
    {NULL, NULL},
};
