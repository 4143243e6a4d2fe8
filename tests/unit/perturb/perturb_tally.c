/* perturb_tally.c: the tally is the sum over slots of vote * direction, however it is made. */
#include "measure.h"

#define N_BLOCKS 141 /* more than a span of 128, and an odd end */
#define N (N_BLOCKS * BAL_BLOCK_CODES)

/* The definition. */
static int16_t kept(int32_t sum)
{
    return (int16_t)(sum > 32767 ? 32767 : sum < -32767 ? -32767 : sum);
}
static void add_up(const bal_measure *measure, int n_slots, const int8_t *votes, int tensor,
                   int16_t *sums)
{
    static int8_t z[N];
    static int32_t total[N];
    memset(total, 0, sizeof total);
    for (int slot = 0; slot < n_slots; ++slot) {
        bal_direction direction = {.measure = *measure, .slot = (uint32_t)slot};
        bal_direction_fill(&direction, tensor, 0, N_BLOCKS, z);
        for (int i = 0; i < N; ++i) total[i] += votes[slot] * z[i];
    }
    for (int i = 0; i < N; ++i) sums[i] = kept(total[i]);
}

static void test_a_tally_is_the_sum_of_vote_times_direction(void)
{
    static int16_t want[N], sums[N];
    static const int n_slots[5] = {1, 7, 64, 256, 300};
    uint64_t state = SEED;
    for (size_t k = 0; k < N_KINDS; ++k)
        for (size_t i = 0; i < 2 * 5; ++i) {
            bal_measure measure = measure_at(k);
            int largest = i < 5 ? 1 : i % 2 == 0 ? 7 : 127;
            int8_t votes[300];
            for (int slot = 0; slot < 300; ++slot)
                votes[slot] =
                    (int8_t)((int)(bal_test_random(&state) % (2 * (unsigned)largest + 1)) -
                             largest);
            votes[0] = 1;
            add_up(&measure, n_slots[i % 5], votes, 2, want);
            for (int method = BAL_TALLY_TABLE; method <= BAL_TALLY_SLOTS; ++method) {
                bal_tally *tally = NULL;
                CU_ASSERT_EQUAL_FATAL(
                    bal_tally_create(n_slots[i % 5], (bal_tally_method)method, &tally), BAL_OK);
                bal_tally_load(tally, &measure, votes, 0);
                memset(sums, 0xAA, sizeof sums);
                bal_tally_fill(tally, 2, 0, N_BLOCKS, sums);
                bool same = memcmp(sums, want, sizeof sums) == 0;
                for (int64_t first = 1, n = 1; first + n <= N_BLOCKS; first += n, n += 2) {
                    memset(sums, 0xAA, sizeof sums); /* and in odd pieces */
                    bal_tally_fill(tally, 2, first, n, sums);
                    same &= memcmp(sums, want + first * 256, (size_t)n * 256 * sizeof *sums) == 0;
                }
                CU_ASSERT(same);
                if (!same)
                    printf("\n    kind %zu, %d slots, votes to %d, method %d, seed %u", k,
                           n_slots[i % 5], largest, method, SEED);
                bal_tally_destroy(&tally);
            }
        }
}

/* All votes agree on the first code, whose sum leaves 16 bits. */
static void add_many(bal_direction_kind kind, int n_slots, int vote)
{
    enum { N_SLOTS_MAX = 33000, N_BLOCKS_HERE = 2, N_HERE = 256 * N_BLOCKS_HERE };
    static int8_t votes[N_SLOTS_MAX], z[N_HERE];
    static int32_t want[N_HERE];
    static int16_t sums[N_HERE];
    bal_measure measure = measure_of(kind, 1, 1.0);
    memset(want, 0, sizeof want);
    for (int slot = 0; slot < n_slots; ++slot) {
        bal_direction direction = {.measure = measure, .slot = (uint32_t)slot};
        bal_direction_fill(&direction, 0, 0, N_BLOCKS_HERE, z);
        votes[slot] = (int8_t)(vote * z[0]);
        for (int i = 0; i < N_HERE; ++i) want[i] += votes[slot] * z[i];
    }
    CU_ASSERT_EQUAL(want[0], vote * n_slots);
    CU_ASSERT(abs(want[0]) > 32767);
    for (int method = BAL_TALLY_TABLE; method <= BAL_TALLY_SLOTS; ++method) {
        bal_tally *tally = NULL;
        int n_bad = 0;
        CU_ASSERT_EQUAL_FATAL(bal_tally_create(n_slots, (bal_tally_method)method, &tally), BAL_OK);
        bal_tally_load(tally, &measure, votes, 0);
        bal_tally_fill(tally, 0, 0, N_BLOCKS_HERE, sums);
        for (int i = 0; i < N_HERE; ++i) n_bad += sums[i] != kept(want[i]);
        CU_ASSERT_EQUAL(n_bad, 0);
        bal_tally_destroy(&tally);
    }
}

static void test_many_votes_are_added_exactly_and_kept_within_16_bits(void)
{
    for (int kind = BAL_DIRECTIONS_WALSH; kind <= BAL_DIRECTIONS_INDEPENDENT; ++kind)
        for (int sign = -1; sign <= 1; sign += 2) {
            add_many((bal_direction_kind)kind, 33000, sign);
            add_many((bal_direction_kind)kind, 4700, 7 * sign);
            add_many((bal_direction_kind)kind, 600, 127 * sign);
        }
}

/* A set's sum is rounded to units, halves away from 0, and clamped; and then sets are added. */
static int32_t in_units(int32_t sum, int shift, int n_sets)
{
    double unit = ldexp(1.0, shift), most = 32767 / n_sets;
    return (int32_t)fmax(-most, fmin(most, round(sum / unit)));
}
static void add_wide(int n_slots, int largest, bool agree, int shift)
{
    enum { N_SLOTS_MAX = 131500, N_HERE = 256 };
    static int8_t votes[N_SLOTS_MAX], z[N_HERE];
    static int32_t set[N_HERE], want[N_HERE];
    int16_t sums[N_HERE];
    uint64_t state = SEED;
    int n_sets = (n_slots + 65535) / 65536, n_clamped = 0;
    bal_measure measure = measure_of(BAL_DIRECTIONS_WALSH_WIDE, 1, 1.0);
    memset(want, 0, sizeof want);
    memset(set, 0, sizeof set);
    for (int slot = 0; slot < n_slots; ++slot) {
        bal_direction direction = {.measure = measure, .slot = (uint32_t)slot};
        bal_direction_fill(&direction, 0, 0, 1, z);
        votes[slot] =
            (int8_t)(agree
                         ? largest * z[5]
                         : (int)(bal_test_random(&state) % (2 * (unsigned)largest + 1)) - largest);
        for (int i = 0; i < N_HERE; ++i) set[i] += votes[slot] * z[i];
        if ((slot + 1) % 65536 != 0 && slot + 1 != n_slots) continue;
        for (int i = 0; i < N_HERE; ++i) {
            int32_t units = in_units(set[i], shift, n_sets);
            want[i] += units;
            n_clamped += abs(units) == 32767 / n_sets;
            set[i] = 0;
        }
    }
    for (int method = BAL_TALLY_TABLE; method <= BAL_TALLY_SLOTS; ++method)
        for (int isa = BAL_ISA_REF; isa <= (int)bal_isa_best(); ++isa) {
            bal_tally *tally = NULL;
            int n_bad = 0;
            measure.kernels = bal_kernels_at((bal_isa)isa);
            if (method == BAL_TALLY_SLOTS && (isa != BAL_ISA_REF || n_slots > 66000)) continue;
            CU_ASSERT_EQUAL_FATAL(bal_tally_create(n_slots, (bal_tally_method)method, &tally),
                                  BAL_OK);
            bal_tally_load(tally, &measure, votes, shift);
            bal_tally_fill(tally, 0, 0, 1, sums);
            for (int i = 0; i < N_HERE; ++i) n_bad += sums[i] != want[i];
            CU_ASSERT_EQUAL(n_bad, 0);
            bal_tally_destroy(&tally);
        }
    if (agree && shift < 15) CU_ASSERT(n_clamped > 0);
}

static void test_wide_sets_are_added_in_units(void)
{
    add_wide(300, 127, false, 0);
    add_wide(1000, 127, false, 3);
    add_wide(65536, 1, false, 0);
    add_wide(65536, 1, true, 0);
    add_wide(65536, 127, true, 4);
    add_wide(65536, 127, true, 15);
    add_wide(65900, 127, false, 4);
    add_wide(131500, 127, false, 5);
    add_wide(131500, 127, true, 5);
}

static void test_a_tally_forgets_the_step_before(void)
{
    static int16_t want[N], sums[N];
    bal_measure measure = measure_of(BAL_DIRECTIONS_WALSH, 1, 1.0), next = measure;
    int8_t ones[64], votes[64] = {0};
    bal_tally *tally = NULL;
    next.step = measure.step + 1;
    votes[5] = -1;
    memset(ones, 1, sizeof ones);
    CU_ASSERT_EQUAL_FATAL(bal_tally_create(64, BAL_TALLY_TABLE, &tally), BAL_OK);
    bal_tally_load(tally, &measure, ones, 0);
    bal_tally_fill(tally, 0, 0, N_BLOCKS, sums);
    bal_tally_load(tally, &next, votes, 0);
    bal_tally_fill(tally, 0, 0, N_BLOCKS, sums);
    add_up(&next, 64, votes, 0, want);
    CU_ASSERT_EQUAL(memcmp(sums, want, sizeof sums), 0);
    bal_tally_destroy(&tally);
    CU_ASSERT_PTR_NULL(tally);
}

static void test_tensors_off_the_ballot_have_a_tally_of_zero(void)
{
    static int16_t sums[N], zeros[N];
    int8_t votes[8] = {1, 1, 1, 1, 1, 1, 1, -1};
    for (int method = BAL_TALLY_TABLE; method <= BAL_TALLY_SLOTS; ++method) {
        bal_measure measure = measure_of(BAL_DIRECTIONS_WALSH, 1, 1.0);
        bal_tally *tally = NULL;
        CU_ASSERT_EQUAL_FATAL(bal_tally_create(8, (bal_tally_method)method, &tally), BAL_OK);
        bal_tally_load(tally, &measure, votes, 0);
        memset(sums, 0xAA, sizeof sums);
        bal_tally_fill(tally, 1, 0, N_BLOCKS, sums);
        CU_ASSERT_EQUAL(memcmp(sums, zeros, sizeof sums), 0);
        bal_tally_destroy(&tally);
    }
}

static void load_without_noise(void)
{
    bal_tally *tally = NULL;
    bal_measure measure = measure_of(BAL_DIRECTIONS_WALSH, 0, 1.0);
    if (bal_tally_create(8, BAL_TALLY_TABLE, &tally) == BAL_OK)
        bal_tally_load(tally, &measure, (int8_t[8]){0}, 0);
}

static void test_a_measure_has_noise(void) { CU_ASSERT(bal_test_asserts(load_without_noise)); }

const char bal_suite_name[] = "perturb_tally";
const bal_test bal_suite_tests[] = {
    {"a tally is the sum of vote times direction", test_a_tally_is_the_sum_of_vote_times_direction},
    {"many votes are added exactly and kept within 16 bits",
     test_many_votes_are_added_exactly_and_kept_within_16_bits},
    {"wide sets are added in units", test_wide_sets_are_added_in_units},
    {"a tally forgets the step before", test_a_tally_forgets_the_step_before},
    {"tensors off the ballot have a tally of zero",
     test_tensors_off_the_ballot_have_a_tally_of_zero},
    {"a measure has noise", test_a_measure_has_noise},
    {NULL, NULL},
};
