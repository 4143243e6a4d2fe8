/* ballot.c: votes are counted alike on every rank. */
#include "ballot/vote.h"

#include "ranks.h"

static bal_ballot_shape signs(int n_slots)
{
    return (bal_ballot_shape){.n_slots = n_slots, .n_bits = BAL_SIGN_BITS};
}
static bal_ballot *new_ballot(bal_ballot_shape shape)
{
    bal_ballot *ballot = NULL;
    CU_ASSERT_EQUAL_FATAL(bal_ballot_create(test_comm, shape, &ballot), BAL_OK);
    return ballot;
}

static int largest(bal_ballot_shape shape) { return (1 << (shape.n_bits - 1)) - 1; }

static void test_votes_do_not_depend_on_who_casts_them(void)
{
    for (int n_bits = BAL_SIGN_BITS; n_bits <= BAL_VOTE_BITS_MAX; n_bits *= 2) {
        enum { N = 131 }; /* slots 65 and 130 lie in words of their own */
        bal_ballot_shape shape = {.n_slots = N, .n_bits = n_bits};
        int top = largest(shape);
        bal_ballot *ballot = new_ballot(shape);
        for (int shift = 0; shift < 7; ++shift) {
            int8_t want[N], votes[N];
            uint64_t bits[3 * BAL_VOTE_BITS_MAX];
            bal_totals totals;
            for (int slot = 0; slot < N; ++slot) { /* dealt differently each time */
                want[slot] = (int8_t)(slot < 65 - top ? -top : slot > 65 + top ? top : slot - 65);
                if ((slot + shift) % size == rank)
                    CU_ASSERT_EQUAL(bal_ballot_cast(ballot, slot, want[slot]), BAL_OK);
            }
            CU_ASSERT_EQUAL(bal_ballot_words(shape), 3 * n_bits);
            CU_ASSERT_EQUAL(bal_ballot_count(ballot, bits, &totals), BAL_OK);
            bal_ballot_votes(shape, bits, votes);
            CU_ASSERT_EQUAL(memcmp(votes, want, sizeof want), 0);
            CU_ASSERT_EQUAL(totals.n_cast, N);
            CU_ASSERT_EQUAL(bal_ballot_n_decided(shape, bits), N - 1);
        }
        bal_ballot_destroy(&ballot);
    }
}

static void test_a_double_vote_is_found_on_all_ranks(void)
{
    if (size == 1) return; /* it takes two */
    for (int n_bits = BAL_SIGN_BITS; n_bits <= BAL_VOTE_BITS_MAX; n_bits *= 2)
        for (int same = 0; same < 2; ++same) {
            bal_ballot_shape shape = {.n_slots = 70, .n_bits = n_bits};
            bal_ballot *ballot = new_ballot(shape);
            uint64_t bits[2 * BAL_VOTE_BITS_MAX];
            bal_totals totals;
            int vote = largest(shape);
            if (rank == 0) bal_ballot_cast(ballot, 66, vote);
            if (rank == size - 1) bal_ballot_cast(ballot, 66, same ? vote : -1);
            CU_ASSERT_EQUAL(bal_ballot_count(ballot, bits, &totals), BAL_ERR_STATE);
            CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "two votes"));
            if (rank == 0) bal_ballot_cast(ballot, 66, vote); /* the next step starts clean */
            CU_ASSERT_EQUAL(bal_ballot_count(ballot, bits, &totals), BAL_OK);
            for (int i = 0; i < n_bits; ++i)
                CU_ASSERT(bits[2 * i] == 0 && bits[2 * i + 1] == (i < n_bits - 1 ? 4 : 0));
            bal_ballot_destroy(&ballot);
        }
}

static void test_slots_nobody_voted_on_abstain(void)
{
    bal_ballot *ballot = new_ballot(signs(100));
    uint64_t bits[4];
    bal_totals totals;
    int8_t votes[100];
    for (int slot = rank; slot < 100; slot += size)
        if (slot % 3 == 0) bal_ballot_cast(ballot, slot, -1);
    CU_ASSERT_EQUAL(bal_ballot_count(ballot, bits, &totals), BAL_OK);
    bal_ballot_votes(signs(100), bits, votes);
    for (int slot = 0; slot < 100; ++slot) CU_ASSERT_EQUAL(votes[slot], slot % 3 == 0 ? -1 : 0);
    CU_ASSERT_EQUAL(totals.n_cast, 34);
    for (int slot = 0; slot < 100; ++slot)
        CU_ASSERT_EQUAL(bal_ballot_has(signs(100), bits, slot), slot % 3 == 0);
    CU_ASSERT_EQUAL(bal_ballot_count(ballot, bits, &totals), BAL_OK); /* nothing stays behind */
    CU_ASSERT(bits[0] == 0 && bits[1] == 0 && bits[2] == 0 && bits[3] == 0);
    CU_ASSERT_EQUAL(totals.n_cast, 0);
    bal_ballot_destroy(&ballot);
}

static void test_totals_are_those_of_all_ranks(void)
{
    bal_ballot *ballot = new_ballot(signs(4));
    for (int round = 0; round < 2; ++round) { /* counting empties them */
        uint64_t bits[2];
        bal_totals totals, *mine = bal_ballot_totals(ballot);
        mine->loss = -((int64_t)1 << 50) + rank;
        mine->n_tokens = 100 * (rank + 1);
        mine->n_agree = rank;
        mine->fingerprint_min = mine->fingerprint_max = UINT64_MAX - (uint64_t)(rank == size - 1);
        if (rank == 0) mine->wishes = BAL_WISH_SAVE;
        if (rank == size - 1) mine->wishes |= BAL_WISH_STOP;
        CU_ASSERT_EQUAL(bal_ballot_count(ballot, bits, &totals), BAL_OK);
        int64_t ranks = (int64_t)size * (size - 1) / 2;
        CU_ASSERT_EQUAL(totals.wishes, BAL_WISH_SAVE | BAL_WISH_STOP);
        CU_ASSERT_EQUAL(totals.loss, -((int64_t)1 << 50) * size + ranks);
        CU_ASSERT_EQUAL(totals.n_tokens, 100 * (ranks + size));
        CU_ASSERT_EQUAL(totals.n_agree, ranks);
        CU_ASSERT_EQUAL(totals.n_cast, 0);
        CU_ASSERT_EQUAL(totals.fingerprint_min, UINT64_MAX - 1);
        CU_ASSERT_EQUAL(totals.fingerprint_max, UINT64_MAX - (uint64_t)(size == 1));
    }
    bal_ballot_destroy(&ballot);
}

static void test_the_fastest_ranks_pace_reaches_all(void)
{
    bal_ballot *ballot = new_ballot(signs(4));
    uint64_t bits[2];
    bal_totals totals;
    CU_ASSERT_EQUAL(bal_ballot_pace(ballot), UINT64_MAX);
    bal_ballot_set_pace(ballot, (uint64_t)(1000 - 10 * rank));
    CU_ASSERT_EQUAL(bal_ballot_count(ballot, bits, &totals), BAL_OK);
    CU_ASSERT_EQUAL(bal_ballot_pace(ballot), (uint64_t)(1000 - 10 * (size - 1)));
    if (rank == 0) bal_ballot_set_pace(ballot, 7); /* the others say nothing */
    CU_ASSERT_EQUAL(bal_ballot_count(ballot, bits, &totals), BAL_OK);
    CU_ASSERT_EQUAL(bal_ballot_pace(ballot), 7);
    CU_ASSERT_EQUAL(bal_ballot_count(ballot, bits, &totals), BAL_OK); /* nothing stays behind */
    CU_ASSERT_EQUAL(bal_ballot_pace(ballot), UINT64_MAX);
    bal_ballot_destroy(&ballot);
}

static void test_a_full_ballot_of_many_slots_arrives_whole(void)
{
    enum { N = 1 << 18 }; /* 64 KiB of signs and more: many packets of any transport */
    static uint64_t bits[BAL_VOTE_BITS_MAX * N / 64];
    static int8_t votes[N];
    for (int n_bits = BAL_SIGN_BITS; n_bits <= BAL_VOTE_BITS_MAX; n_bits *= 2) {
        bal_ballot_shape shape = {.n_slots = N, .n_bits = n_bits};
        unsigned n_votes = 2 * (unsigned)largest(shape) + 1;
        bal_ballot *ballot = new_ballot(shape);
        bal_totals totals;
        uint64_t state = 1;
        int n_bad = 0;
        for (int slot = 0; slot < N; ++slot) {
            int vote = (int)(bal_test_random(&state) % n_votes) - largest(shape);
            if (slot / 7 % size == rank) bal_ballot_cast(ballot, slot, vote);
        }
        CU_ASSERT_EQUAL(bal_ballot_count(ballot, bits, &totals), BAL_OK);
        bal_ballot_votes(shape, bits, votes);
        state = 1;
        for (int slot = 0; slot < N; ++slot)
            n_bad += votes[slot] != (int)(bal_test_random(&state) % n_votes) - largest(shape);
        CU_ASSERT_EQUAL(n_bad, 0);
        bal_ballot_destroy(&ballot);
    }
}

const char bal_suite_name[] = "ballot";
const bal_test bal_suite_tests[] = {
    {"votes do not depend on who casts them", test_votes_do_not_depend_on_who_casts_them},
    {"a double vote is found on all ranks", test_a_double_vote_is_found_on_all_ranks},
    {"slots nobody voted on abstain", test_slots_nobody_voted_on_abstain},
    {"totals are those of all ranks", test_totals_are_those_of_all_ranks},
    {"the fastest rank's pace reaches all", test_the_fastest_ranks_pace_reaches_all},
    {"a full ballot of many slots arrives whole", test_a_full_ballot_of_many_slots_arrives_whole},
    {NULL, NULL},
};
