/* vote_ballot.c: what one rank can do with a ballot, and what it cannot; see tests/mpi for many. */
#include <stdlib.h>

#include "../../mpi/ranks.h"
#include "ballot/vote.h"

static const int sizes[] = {1, 2, 63, 64, 65, 128, 129, 32768, BAL_SLOTS_MAX};
#define N_SIZES ((int)(sizeof sizes / sizeof *sizes))

static bal_ballot_shape signs(int n_slots)
{
    return (bal_ballot_shape){.n_slots = n_slots, .n_bits = BAL_SIGN_BITS};
}

static void test_a_ballot_is_a_few_bits_per_slot_and_a_few_integers(void)
{
    for (int i = 0; i < N_SIZES; ++i)
        for (int n_bits = BAL_SIGN_BITS; n_bits <= BAL_VOTE_BITS_MAX; ++n_bits) {
            bal_ballot_shape shape = {.n_slots = sizes[i], .n_bits = n_bits};
            int64_t words = n_bits * (((int64_t)sizes[i] + 63) / 64);
            CU_ASSERT_EQUAL(bal_ballot_words(shape), words);
            CU_ASSERT(bal_ballot_bytes(shape) <= 8 * words + 80);
            CU_ASSERT(bal_ballot_bytes(shape) > 8 * words);
        }
}

static void test_every_vote_counts_and_ties_are_votes(void)
{
    static const int cast[] = {1, -1, 0, 1, -1, -1, 0, 1};
    enum { N = sizeof cast / sizeof *cast };
    bal_ballot *ballot = NULL;
    CU_ASSERT_EQUAL_FATAL(bal_ballot_create(test_comm, signs(N), &ballot), BAL_OK);
    for (int slot = 0; slot < N; ++slot)
        CU_ASSERT_EQUAL(bal_ballot_cast(ballot, slot, cast[slot]), BAL_OK);
    uint64_t bits[2];
    bal_totals totals;
    int8_t votes[N];
    CU_ASSERT_EQUAL(bal_ballot_count(ballot, bits, &totals), BAL_OK);
    bal_ballot_votes(signs(N), bits, votes);
    for (int slot = 0; slot < N; ++slot) CU_ASSERT_EQUAL(votes[slot], cast[slot]);
    CU_ASSERT_EQUAL(totals.n_cast, N); /* ties too */
    CU_ASSERT_EQUAL(bal_ballot_n_decided(signs(N), bits), 6);
    for (int slot = 0; slot < N; ++slot) CU_ASSERT(bal_ballot_has(signs(N), bits, slot));
    bal_ballot_destroy(&ballot);
    CU_ASSERT_PTR_NULL(ballot);
    bal_ballot_destroy(&ballot);
}

static void test_the_maps_of_signs_are_for_and_against(void)
{
    uint64_t bits[4] = {0};
    bal_ballot_put(signs(66), bits, 0, 1);
    bal_ballot_put(signs(66), bits, 1, -1);
    bal_ballot_put(signs(66), bits, 2, 0);
    bal_ballot_put(signs(66), bits, 65, -1);
    CU_ASSERT(bits[0] == 5 && bits[1] == 0); /* as journals have them */
    CU_ASSERT(bits[2] == 6 && bits[3] == 2);
}

static void test_the_bits_of_a_vote_are_ones_complement(void)
{
    static const struct {
        int n_bits, vote;
        unsigned bits;
    } known[] = {{4, 5, 5},  {4, -5, 10},  {4, 7, 7},      {4, -7, 8},     {4, 0, 15},
                 {8, 1, 1},  {8, -1, 254}, {8, 127, 127},  {8, -127, 128}, {8, 0, 255},
                 {3, -2, 5}, {5, 15, 15},  {6, -31, 0x20}, {7, -63, 0x40}};
    for (size_t i = 0; i < sizeof known / sizeof *known; ++i) {
        uint64_t maps[BAL_VOTE_BITS_MAX] = {0};
        bal_ballot_shape shape = {.n_slots = 9, .n_bits = known[i].n_bits};
        bal_ballot_put(shape, maps, 8, known[i].vote);
        for (int bit = 0; bit < BAL_VOTE_BITS_MAX; ++bit)
            CU_ASSERT_EQUAL(maps[bit], (uint64_t)(known[i].bits >> bit & 1) << 8);
    }
}

static void test_every_vote_of_every_width_comes_back(void)
{
    for (int n_bits = BAL_SIGN_BITS; n_bits <= BAL_VOTE_BITS_MAX; ++n_bits) {
        enum { N = 2 * 257 + 1 }; /* each vote twice, and slots that abstain between them */
        int largest = (1 << (n_bits - 1)) - 1, n_cast = 0, n_bad = 0;
        bal_ballot_shape shape = {.n_slots = N, .n_bits = n_bits};
        uint64_t bits[BAL_VOTE_BITS_MAX * (N + 63) / 64 + BAL_VOTE_BITS_MAX];
        bal_totals totals;
        int8_t votes[N];
        bal_ballot *ballot = NULL;
        CU_ASSERT_EQUAL_FATAL(bal_ballot_create(test_comm, shape, &ballot), BAL_OK);
        for (int slot = 0; slot < N; ++slot) {
            int vote = slot / 2 - 128;
            bool fits = abs(vote) <= largest;
            if (slot % 7 == 3) continue;
            n_cast += fits;
            n_bad += bal_ballot_cast(ballot, slot, vote) != (fits ? BAL_OK : BAL_ERR_ARG);
        }
        CU_ASSERT_EQUAL(bal_ballot_count(ballot, bits, &totals), BAL_OK);
        bal_ballot_votes(shape, bits, votes);
        int n_decided = 0;
        for (int slot = 0; slot < N; ++slot) {
            int vote = slot / 2 - 128;
            bool is_cast = slot % 7 != 3 && abs(vote) <= largest;
            n_bad += votes[slot] != (is_cast ? vote : 0);
            n_bad += bal_ballot_vote(shape, bits, slot) != votes[slot];
            n_bad += bal_ballot_has(shape, bits, slot) != is_cast;
            n_decided += is_cast && vote != 0;
        }
        CU_ASSERT_EQUAL(n_bad, 0);
        CU_ASSERT_EQUAL(totals.n_cast, n_cast);
        CU_ASSERT_EQUAL(bal_ballot_n_decided(shape, bits), n_decided);
        bal_ballot_destroy(&ballot);
    }
}

static void test_every_slot_has_its_own_bit(void)
{
    for (int i = 0; i < N_SIZES - 2; ++i)
        for (int slot = 0; slot < sizes[i]; ++slot) {
            bal_ballot *ballot = NULL;
            uint64_t bits[6];
            bal_totals totals;
            int8_t votes[129];
            CU_ASSERT_EQUAL_FATAL(bal_ballot_create(test_comm, signs(sizes[i]), &ballot), BAL_OK);
            CU_ASSERT_EQUAL(bal_ballot_cast(ballot, slot, slot % 2 == 0 ? -1 : 1), BAL_OK);
            CU_ASSERT_EQUAL(bal_ballot_count(ballot, bits, &totals), BAL_OK);
            bal_ballot_votes(signs(sizes[i]), bits, votes);
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
    CU_ASSERT_EQUAL_FATAL(bal_ballot_create(test_comm, signs(70), &ballot), BAL_OK);
    CU_ASSERT_EQUAL(bal_ballot_cast(ballot, 69, 1), BAL_OK);
    CU_ASSERT_EQUAL(bal_ballot_cast(ballot, 68, 0), BAL_OK); /* a tie is a vote too */
    CU_ASSERT_EQUAL(bal_ballot_cast(ballot, -1, 1), BAL_ERR_ARG);
    CU_ASSERT_EQUAL(bal_ballot_cast(ballot, 70, 1), BAL_ERR_ARG);
    CU_ASSERT_EQUAL(bal_ballot_cast(ballot, 67, 2), BAL_ERR_ARG);
    CU_ASSERT_EQUAL(bal_ballot_cast(ballot, 69, -1), BAL_ERR_STATE);
    CU_ASSERT_EQUAL(bal_ballot_cast(ballot, 68, -1), BAL_ERR_STATE);
    uint64_t bits[4];
    bal_totals totals;
    int8_t votes[70];
    CU_ASSERT_EQUAL(bal_ballot_count(ballot, bits, &totals), BAL_OK);
    bal_ballot_votes(signs(70), bits, votes);
    for (int slot = 0; slot < 70; ++slot) CU_ASSERT_EQUAL(votes[slot], slot == 69);
    CU_ASSERT_EQUAL(totals.n_cast, 2);
    for (int slot = 0; slot < 70; ++slot) /* a tie is not an abstention */
        CU_ASSERT_EQUAL(bal_ballot_has(signs(70), bits, slot), slot >= 68);
    CU_ASSERT_EQUAL(bal_ballot_cast(ballot, 69, -1), BAL_OK); /* counting emptied it */
    bal_ballot_destroy(&ballot);
}

static int vote_of(int slot, int largest) { return slot % (2 * largest + 1) - largest; }

static void test_votes_of_a_rank_can_be_taken_back(void)
{
    enum { N = 131 };
    for (int n_ranks = 1; n_ranks <= 5; ++n_ranks)
        for (int n_bits = BAL_SIGN_BITS; n_bits <= BAL_VOTE_BITS_MAX; n_bits *= 2) {
            bal_ballot_shape shape = {.n_slots = N, .n_bits = n_bits};
            int bad = n_ranks * n_bits / 9, largest = (1 << (n_bits - 1)) - 1, n_bad = 0;
            uint64_t bits[3 * BAL_VOTE_BITS_MAX] = {0};
            for (int slot = 0; slot < N; ++slot)
                bal_ballot_put(shape, bits, slot, vote_of(slot, largest));
            bal_ballot_strike(shape, bits, 1, bad, n_ranks);
            for (int slot = 0; slot < N; ++slot) {
                bool struck = bal_slot_rank(slot, 1, n_ranks) == bad;
                n_bad += bal_ballot_has(shape, bits, slot) == struck;
                n_bad +=
                    bal_ballot_vote(shape, bits, slot) != (struck ? 0 : vote_of(slot, largest));
            }
            CU_ASSERT_EQUAL(n_bad, 0);
        }
}

static void test_impossible_ballots_are_refused(void)
{
    static const struct {
        bal_ballot_shape shape;
        const char *says;
    } bad[] = {{{0, 2}, "0 slots; expected 1 to 1048576"},
               {{-1, 2}, "-1 slots; expected 1 to 1048576"},
               {{BAL_SLOTS_MAX + 1, 2}, "1048577 slots; expected 1 to 1048576"},
               {{64, 1}, "votes of 1 bits; expected 2 to 8"},
               {{64, 9}, "votes of 9 bits; expected 2 to 8"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i) {
        bal_ballot *ballot = NULL;
        CU_ASSERT_EQUAL(bal_ballot_create(test_comm, bad[i].shape, &ballot), BAL_ERR_ARG);
        CU_ASSERT_PTR_NULL(ballot);
        CU_ASSERT_STRING_EQUAL(bal_failure(), bad[i].says);
    }
}

const char bal_suite_name[] = "vote_ballot";
const bal_test bal_suite_tests[] = {
    {"a ballot is a few bits per slot and a few integers",
     test_a_ballot_is_a_few_bits_per_slot_and_a_few_integers},
    {"every vote counts, and ties are votes", test_every_vote_counts_and_ties_are_votes},
    {"the maps of signs are for and against", test_the_maps_of_signs_are_for_and_against},
    {"the bits of a vote are ones' complement", test_the_bits_of_a_vote_are_ones_complement},
    {"every vote of every width comes back", test_every_vote_of_every_width_comes_back},
    {"every slot has its own bit", test_every_slot_has_its_own_bit},
    {"a refused vote changes nothing", test_a_refused_vote_changes_nothing},
    {"votes of a rank can be taken back", test_votes_of_a_rank_can_be_taken_back},
    {"impossible ballots are refused", test_impossible_ballots_are_refused},
    {NULL, NULL},
};
