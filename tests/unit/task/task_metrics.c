/* task_metrics.c: metrics against values worked out by hand or by other programs. */
#include <math.h>

#include "ballot/task.h"
#include "suite.h"

static void test_answers_are_compared_as_words(void)
{
    static const struct {
        const char *answer, *right;
        bool exact;
        int64_t shared, n; /* F1 = 2 shared / n */
    } pairs[] = {
        {"The Denver Broncos.", "denver broncos", true, 2, 4},
        {"  a  cat", "Cat!", true, 1, 2},
        {"a an the", "the", true, 1, 2}, /* both without words */
        {"the", "cat", false, 0, 1},
        {"cat", "", false, 0, 1},
        {"U.S.", "us", true, 1, 2},
        {"well-known man", "wellknown  man", true, 2, 4},
        {"there", "the re", false, 0, 2},
        {"cat dog", "dog cat", false, 2, 4},
        {"new york city", "york", false, 1, 4},
        {"a b a b b", "b b c", false, 2, 6}, /* a is an article: b b b against b b c */
        {"x x", "x", false, 1, 3},
        {"\t\nrome , \n italy", "Rome, Italy", true, 2, 4},
        {"\xC3\xA9t\xC3\xA9", "\xC3\xA9t\xC3\xA9", true, 1, 2},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; ++i) {
        int64_t f1 = (4 * pairs[i].shared * BAL_METRIC_ONE + pairs[i].n) / (2 * pairs[i].n);
        bool right = bal_answer_exact(pairs[i].answer, pairs[i].right) == pairs[i].exact &&
                     bal_answer_f1(pairs[i].answer, pairs[i].right) == f1 &&
                     bal_answer_f1(pairs[i].right, pairs[i].answer) == f1;
        CU_ASSERT(right);
        if (!right)
            printf("%s, %s: %d %lld\n", pairs[i].answer, pairs[i].right,
                   bal_answer_exact(pairs[i].answer, pairs[i].right),
                   (long long)bal_answer_f1(pairs[i].answer, pairs[i].right));
    }
}

static void test_the_interval_of_a_share(void)
{
    /* Wilson without correction, as R gives it: prop.test(n_right, n, correct = FALSE). */
    static const struct {
        int64_t n_right, n;
        double low, high;
    } known[] = {{81, 263, 0.2553303, 0.3661820},
                 {0, 20, 0.0, 0.1611252},
                 {29, 29, 0.8830272, 1.0},
                 {15, 148, 0.0623761, 0.1604904}};
    for (size_t i = 0; i < sizeof known / sizeof *known; ++i) {
        bal_interval x = bal_interval_share(known[i].n_right, known[i].n);
        CU_ASSERT_DOUBLE_EQUAL(x.value, (double)known[i].n_right / (double)known[i].n, 1e-12);
        CU_ASSERT_DOUBLE_EQUAL(x.low, known[i].low, 1e-4);
        CU_ASSERT_DOUBLE_EQUAL(x.high, known[i].high, 1e-4);
    }
}

static void test_intervals_of_samples(void)
{
    enum { N = 400 };
    int64_t values[N], right[N], chosen[N];
    for (int64_t i = 0; i < N; ++i) {
        values[i] = i % 4 == 0 ? BAL_METRIC_ONE : 0;
        right[i] = i % 2;
        chosen[i] = i % 4 == 0 ? 1 - i % 2 : i % 2;
    }
    bal_interval mean = bal_interval_mean(values, N, 1), again = bal_interval_mean(values, N, 1);
    double half = 1.96 * sqrt(0.25 * 0.75 / N); /* of a normal distribution */
    CU_ASSERT_DOUBLE_EQUAL(mean.value, 0.25, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(mean.low, 0.25 - half, 0.006);
    CU_ASSERT_DOUBLE_EQUAL(mean.high, 0.25 + half, 0.006);
    CU_ASSERT(again.low == mean.low && again.high == mean.high);
    bal_interval f1;
    CU_ASSERT_EQUAL(bal_interval_macro_f1(right, chosen, N, 2, 1, &f1), BAL_OK);
    CU_ASSERT_DOUBLE_EQUAL(f1.value, (2.0 / 3 + 4.0 / 5) / 2, 2e-6);
    CU_ASSERT(f1.low < f1.value - 0.02 && f1.low > f1.value - 0.08);
    CU_ASSERT(f1.high > f1.value + 0.02 && f1.high < f1.value + 0.08);
}

const char bal_suite_name[] = "task_metrics";
const bal_test bal_suite_tests[] = {
    {"answers are compared as words", test_answers_are_compared_as_words},
    {"the interval of a share", test_the_interval_of_a_share},
    {"intervals of samples", test_intervals_of_samples},
    {NULL, NULL},
};
