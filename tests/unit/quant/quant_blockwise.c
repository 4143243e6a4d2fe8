/* quant_blockwise.c: real numbers in 8 bits. The published values are those of Dettmers et al.
 * 2022, arXiv 2110.02861, as in bitsandbytes 0.44. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "ballot/blockwise.h"
#include "suite.h"

#define N_VALUES (1 << 20)
#define N_CODES BAL_BOOK_CODES

static bal_book books[2]; /* [is it signed] */
static float values[N_VALUES], back[N_VALUES], before[N_VALUES];
static uint8_t codes[N_VALUES];

int bal_suite_begin(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    for (int is_signed = 0; is_signed < 2; ++is_signed) bal_book_init(&books[is_signed], is_signed);
    return 0;
}

/* Above 0 and below 1. */
static double uniform(uint64_t *random)
{
    return ldexp((double)(bal_test_random(random) >> 11) + 0.5, -53);
}

static double normal(uint64_t *random)
{
    double size = sqrt(-2.0 * log(uniform(random)));
    return size * cos(2.0 * 3.14159265358979323846 * uniform(random));
}

static void draw_normals(int n)
{
    uint64_t random = 20240603u;
    for (int i = 0; i < n; ++i) values[i] = (float)normal(&random);
}

/* From values by codes to back. */
static void round_trip(const bal_book *book, int block)
{
    for (int at = 0; at < N_VALUES; at += block) {
        float scale = bal_blockwise_encode(book, block, values + at, codes + at);
        bal_blockwise_decode(book, block, codes + at, scale, back + at);
    }
}

/* The mean over all values; relative: of each error as a part of its value. */
static double mean_error(bool is_relative)
{
    double sum = 0.0;
    for (int i = 0; i < N_VALUES; ++i) {
        double error = fabs((double)back[i] - values[i]);
        sum += is_relative ? error / fabsf(values[i]) : error;
    }
    return sum / N_VALUES;
}

static void test_entries_are_the_published_ones(void)
{
    static const int indices[] = {0,   1,   2,   63,  64,  126, 127, 128,
                                  129, 130, 131, 191, 192, 254, 255};
    static const double published[2][15] = {
        {0.0, 3.25e-7, 7.75e-7, 0.010703125, 0.012109375, 0.099296875, 0.103515625, 0.110546875,
         0.117578125, 0.124609375, 0.131640625, 0.553515625, 0.560546875, 0.996484375, 1.0},
        {-0.99296875, -0.97890625, -0.96484375, -0.10703125, -0.09859375, -5.5e-7, 0.0, 5.5e-7,
         3.25e-6, 7.75e-6, 2.125e-5, 0.10703125, 0.12109375, 0.99296875, 1.0}};
    static const double sums[] = {75.105263, 1.0};
    for (int is_signed = 0; is_signed < 2; ++is_signed) {
        const float *entries = books[is_signed].entries;
        for (int i = 0; i < 15; ++i) {
            double entry = published[is_signed][i];
            CU_ASSERT_DOUBLE_EQUAL(entries[indices[i]], entry, 1.2e-7 * fabs(entry));
        }
        double sum = entries[0];
        for (int i = 1; i < N_CODES; ++i) sum += entries[i];
        CU_ASSERT_DOUBLE_EQUAL(sum, sums[is_signed], 1e-6);
    }
}

static void test_entries_ascend_and_none_is_minus_one(void)
{
    for (const bal_book *book = books; book < books + 2; ++book) {
        for (int i = 1; i < N_CODES; ++i) CU_ASSERT(book->entries[i] > book->entries[i - 1]);
        CU_ASSERT(book->entries[0] > -1.0f && book->entries[book->zero] == 0.0f);
    }
}

static void test_codes_stay_wherever_the_maximum_is(void)
{
    static const float scales[] = {1.0f, 0.37f, 7e-30f, 3e38f};
    for (int part = 0; part < 2 * 4 * N_CODES; ++part) {
        const bal_book *book = &books[part % 2];
        float scale = scales[part / 2 % 4];
        uint8_t rotated[N_CODES];
        for (int i = 0; i < N_CODES; ++i) rotated[i] = (uint8_t)(i + part / 8);
        bal_blockwise_decode(book, N_CODES, rotated, scale, values);
        CU_ASSERT_EQUAL(bal_blockwise_encode(book, N_CODES, values, codes), scale);
        CU_ASSERT_EQUAL(memcmp(codes, rotated, sizeof rotated), 0);
    }
}

/* The nearest entry by definition; counts its ties with a lower one. */
static int nearest(const bal_book *book, float value, int *n_ties)
{
    int index = 0;
    double least = INFINITY;
    for (int i = 0; i < N_CODES; ++i) {
        double distance = fabs((double)book->entries[i] - value);
        *n_ties += distance == least;
        if (distance < least) index = i, least = distance;
    }
    return index;
}

static void test_the_nearest_entry_is_found_in_all_decades(void)
{
    static const float ends[] = {-1.0f, -FLT_TRUE_MIN, -0.0f, 0.0f, FLT_TRUE_MIN, 1.0f};
    uint64_t random = 20240604u;
    int n_ties = 0, n_wrong = 0;
    for (int i = 0; i < 1000000; ++i) {
        float value = ldexpf((float)(1.0 + uniform(&random)), -1 - i / 2 % 30);
        if (bal_test_random(&random) % 2 == 0) value = -value;
        if (i < 12) value = ends[i / 2];
        n_wrong += bal_book_nearest(&books[i % 2], value) != nearest(&books[i % 2], value, &n_ties);
    }
    CU_ASSERT_EQUAL(n_wrong, 0);
}

static void test_of_two_nearest_the_lower_is_found(void)
{
    int n_ties = 0;
    for (int i = 0; i < 2 * (N_CODES - 1); ++i) {
        const bal_book *book = &books[i % 2];
        double sum = (double)book->entries[i / 2] + book->entries[i / 2 + 1];
        float middle = (float)(0.5 * sum);
        float near[] = {nextafterf(middle, -1.0f), middle, nextafterf(middle, 1.0f)};
        for (int k = 0; k < 3; ++k)
            CU_ASSERT_EQUAL(bal_book_nearest(book, near[k]), nearest(book, near[k], &n_ties));
    }
    CU_ASSERT(n_ties > 100);
}

/* The largest error of a block, as a part of its scale. */
static double worst_error(const bal_book *book, int n)
{
    double worst = 0.0;
    float scale = bal_blockwise_encode(book, n, values, codes);
    bal_blockwise_decode(book, n, codes, scale, back);
    for (int i = 0; i < n; ++i) worst = fmax(worst, fabs((double)back[i] - values[i]) / scale);
    return worst;
}

static void test_no_error_exceeds_half_the_widest_gap(void)
{
    static const double half_gaps[] = {0.003515625, 0.00703125};
    static const float scales[] = {1.0f, 0.3f, 1e-30f, FLT_MAX};
    uint64_t random = 20240605u;
    int n_moved = 0;
    for (int part = 0; part < 2 * 4 * 300; ++part) {
        bool is_signed = part % 2;
        const bal_book *book = &books[is_signed];
        float scale = scales[part / 2 % 4];
        int n = 1 + part / 8;
        for (int i = 0; i < n; ++i) {
            double value = normal(&random) / 8.0;
            values[i] = scale * (float)(is_signed ? value : fabs(value));
        }
        CU_ASSERT(worst_error(book, n) <= half_gaps[is_signed] + FLT_EPSILON);
        for (int i = 0; i < N_CODES; ++i) values[i] = scale * fminf(book->bounds[i], 1.0f);
        CU_ASSERT_DOUBLE_EQUAL(worst_error(book, N_CODES), half_gaps[is_signed], FLT_EPSILON);
        for (int i = 1; i < N_CODES; ++i) { /* values * (1 / scale) would differ at times */
            int index = (codes[i] + book->zero) % N_CODES;
            n_moved += index != bal_book_nearest(book, values[i] / scale);
        }
    }
    CU_ASSERT_EQUAL(n_moved, 0);
    values[0] = -3.0f; /* -1 is no entry */
    CU_ASSERT_DOUBLE_EQUAL(worst_error(&books[true], 1), 0.00703125, 1e-7);
}

static void test_normal_values_have_the_published_error(void)
{
    static const int blocks[] = {256, 2048};
    static const double errors[] = {0.0085, 0.0098}, relative[] = {0.0154, 0.0167};
    draw_normals(N_VALUES);
    for (int i = 0; i < 2; ++i) {
        round_trip(&books[true], blocks[i]);
        CU_ASSERT_DOUBLE_EQUAL(mean_error(false), errors[i], 0.03 * errors[i]);
        CU_ASSERT_DOUBLE_EQUAL(mean_error(true), relative[i], 0.05 * relative[i]);
    }
}

static void test_an_outlier_spoils_its_own_block_alone(void)
{
    int at = 777777, n_spoilt = 0;
    draw_normals(N_VALUES);
    round_trip(&books[true], 256);
    memcpy(before, back, sizeof before);
    values[at] = 1000.0f;
    round_trip(&books[true], 256);
    double by_block = mean_error(false);
    CU_ASSERT_EQUAL(back[at], 1000.0f);
    for (int i = 0; i < N_VALUES; ++i) n_spoilt += back[i] != before[i] && i / 256 != at / 256;
    CU_ASSERT_EQUAL(n_spoilt, 0);
    round_trip(&books[true], N_VALUES);
    CU_ASSERT(mean_error(false) > 5.0 * by_block);
}

/* From values to back by 127 even steps from 0 to the maximum of each block. */
static void round_evenly(int block)
{
    for (int at = 0; at < N_VALUES; at += block) {
        float step = 0.0f;
        for (int i = at; i < at + block; ++i) step = fmaxf(step, values[i] / 127.0f);
        for (int i = at; i < at + block; ++i) back[i] = step * rintf(values[i] / step);
    }
}

static int count_zeros(void)
{
    int n_zeros = 0;
    for (int i = 0; i < N_VALUES; ++i) n_zeros += back[i] == 0.0f;
    return n_zeros;
}

static void test_small_values_survive_unlike_in_even_steps(void)
{
    uint64_t random = 20240606u;
    for (int i = 0; i < N_VALUES; ++i) values[i] = (float)exp(2.0 * normal(&random));
    round_trip(&books[false], 256);
    CU_ASSERT(mean_error(true) < 0.05);
    CU_ASSERT_EQUAL(count_zeros(), 0);
    round_evenly(256);
    CU_ASSERT(mean_error(true) > 0.3);
    CU_ASSERT(count_zeros() > N_VALUES / 5);
}

static void test_zeros_are_bytes_of_zero(void)
{
    for (int i = 0; i < 4; ++i) {
        const bal_book *book = &books[i % 2];
        float block[] = {0.0f, -0.0f, i < 2 ? 0.0f : 5.0f};
        memset(codes, 1, 3);
        CU_ASSERT_EQUAL(bal_blockwise_encode(book, 3, block, codes), block[2]);
        CU_ASSERT(codes[0] == 0 && codes[1] == 0 && (codes[2] == 0) == (i < 2));
        block[0] = block[1] = NAN;
        bal_blockwise_decode(book, 2, codes, 7.0f * block[2], block);
        CU_ASSERT(block[0] == 0.0f && block[1] == 0.0f);
    }
}

static void test_what_is_not_finite_counts_as_zero(void)
{
    static const float odd[] = {NAN, -NAN, INFINITY, -INFINITY};
    for (int is_signed = 0; is_signed < 2; ++is_signed) {
        uint8_t expected[256];
        draw_normals(256);
        for (int i = 0; i < 256 && !is_signed; ++i) values[i] = fabsf(values[i]);
        for (int i = 0; i < 256; i += 5) values[i] = 0.0f;
        float scale = bal_blockwise_encode(&books[is_signed], 256, values, expected);
        for (int i = 0; i < 256; i += 5) values[i] = odd[i % 4];
        CU_ASSERT_EQUAL(bal_blockwise_encode(&books[is_signed], 256, values, codes), scale);
        CU_ASSERT_EQUAL(memcmp(codes, expected, sizeof expected), 0);
        CU_ASSERT_EQUAL(bal_blockwise_encode(&books[is_signed], 4, odd, codes), 0.0f);
        CU_ASSERT(codes[0] == 0 && codes[1] == 0 && codes[2] == 0 && codes[3] == 0);
    }
}

static void test_small_values_keep_their_side_of_zero(void)
{
    for (float small = FLT_MAX / 8e6f; small > 0.0f; small /= 9.0f) {
        float block[] = {FLT_MAX, small, -small};
        bal_blockwise_encode(&books[true], 3, block, codes);
        CU_ASSERT(codes[1] == 0 && codes[2] == 255);
        bal_blockwise_encode(&books[false], 2, block, codes);
        CU_ASSERT_EQUAL(codes[1], 1);
    }
}

const char bal_suite_name[] = "quant_blockwise";
const bal_test bal_suite_tests[] = {
    {"entries are the published ones", test_entries_are_the_published_ones},
    {"entries ascend, and none is -1", test_entries_ascend_and_none_is_minus_one},
    {"codes stay, wherever the maximum is", test_codes_stay_wherever_the_maximum_is},
    {"the nearest entry is found in all decades", test_the_nearest_entry_is_found_in_all_decades},
    {"of two nearest the lower is found", test_of_two_nearest_the_lower_is_found},
    {"no error exceeds half the widest gap", test_no_error_exceeds_half_the_widest_gap},
    {"normal values have the published error", test_normal_values_have_the_published_error},
    {"an outlier spoils its own block alone", test_an_outlier_spoils_its_own_block_alone},
    {"small values survive, unlike in even steps", test_small_values_survive_unlike_in_even_steps},
    {"zeros are bytes of 0", test_zeros_are_bytes_of_zero},
    {"what is not finite counts as zero", test_what_is_not_finite_counts_as_zero},
    {"small values keep their side of zero", test_small_values_keep_their_side_of_zero},
    {NULL, NULL},
};
