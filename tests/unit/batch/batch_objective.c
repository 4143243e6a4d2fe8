/* batch_objective.c: from the losses of answers to those of questions. */
#include <math.h>

#include "ballot/batch.h"
#include "suite.h"

#define NAT BAL_LOSS_UNITS_PER_NAT

/* Two questions of answers of 1, 2 and 1 words, the second with a neutral prompt. */
static bal_batch asked(void)
{
    bal_batch batch;
    const int32_t tokens[] = {7, 8, 9};
    CU_ASSERT_EQUAL_FATAL(bal_batch_init(&batch, (bal_batch_size){8, 30, 9}), BAL_OK);
    int64_t prompt = bal_batch_sequence(&batch, -1, tokens, 3);
    for (int q = 0; q < 2; ++q) {
        bal_batch_ask(&batch, prompt, 3, 1, q == 1);
        for (int a = 0; a < 3 * (q + 1); ++a)
            bal_batch_answer(&batch, prompt, tokens, 1 + a % 3 % 2);
    }
    return batch;
}
static const int64_t answers[] = {3 * NAT, 5 * NAT, 4 * NAT,  /* first question */
                                  3 * NAT, 5 * NAT, 4 * NAT,  /* second question */
                                  1 * NAT, 4 * NAT, 3 * NAT}; /* to its neutral prompt */

static void test_scores_are_sums_means_and_calibrated(void)
{
    bal_batch b = asked();
    CU_ASSERT_EQUAL(b.n_questions, 2);
    CU_ASSERT_EQUAL(b.n_answers, 9);
    CU_ASSERT_EQUAL(bal_batch_choice(&b, answers, &b.questions[0]), 0);
    CU_ASSERT_EQUAL(bal_batch_choice(&b, answers, &b.questions[1]), 1); /* 2, 1, 1: the first */
    b.aim.scoring = BAL_SCORING_MEAN;
    CU_ASSERT_EQUAL(bal_batch_score(&b, answers, &b.questions[0], 1), 5 * NAT / 2);
    CU_ASSERT_EQUAL(bal_batch_choice(&b, answers, &b.questions[0]), 1);
    CU_ASSERT_EQUAL(bal_batch_score(&b, answers, &b.questions[1], 1), NAT / 2);
    bal_batch_clear(&b);
}

static void test_each_objective_has_its_loss_and_weight(void)
{
    bal_batch b = asked();
    int64_t losses[2];
    b.aim.objective = BAL_OBJECTIVE_LABEL;
    CU_ASSERT_EQUAL(bal_batch_losses(&b, answers, losses), 10 * NAT);
    CU_ASSERT_EQUAL(bal_batch_weight(&b), 4);
    b.aim.objective = BAL_OBJECTIVE_ACCURACY;
    CU_ASSERT_EQUAL(bal_batch_losses(&b, answers, losses), NAT);
    CU_ASSERT(losses[0] == NAT && losses[1] == 0);
    CU_ASSERT_EQUAL(bal_batch_weight(&b), 2);
    b.aim.objective = BAL_OBJECTIVE_CANDIDATES;
    CU_ASSERT_EQUAL(bal_batch_losses(&b, answers, losses), losses[0] + losses[1]);
    const double scores[2][3] = {{3, 5, 4}, {2, 1, 1}};
    for (int q = 0; q < 2; ++q) {
        double sum = 0;
        for (int a = 0; a < 3; ++a) sum += exp(-scores[q][a]);
        CU_ASSERT(fabs((double)losses[q] / NAT - (scores[q][1] + log(sum))) < 1e-6);
    }
    bal_batch_clear(&b);
}

/* A preference for a label that all questions share costs a sixteenth of what it does to
 * candidates, and the loss of what is left is the cross-entropy of scores around their means. */
static void test_centred_scores_hardly_see_a_shared_preference(void)
{
    const int32_t tokens[] = {7, 8};
    const int64_t scores[2][6] = {{2 * NAT, 5 * NAT, 3 * NAT, 2 * NAT, 7 * NAT, 2 * NAT},
                                  {2 * NAT, 1 * NAT, 3 * NAT, -2 * NAT, 7 * NAT, -2 * NAT}};
    int64_t losses[2][3], sums[2];
    bal_batch b;
    CU_ASSERT_EQUAL_FATAL(bal_batch_init(&b, (bal_batch_size){6, 40, 6}), BAL_OK);
    for (int q = 0; q < 3; ++q) {
        int64_t prompt = bal_batch_sequence(&b, -1, tokens, 2);
        bal_batch_ask(&b, prompt, 2, q == 1, false);
        for (int a = 0; a < 2; ++a) bal_batch_answer(&b, prompt, tokens, 1);
    }
    b.aim.objective = BAL_OBJECTIVE_CENTRED;
    for (int i = 0; i < 2; ++i) {
        const double means[2][2] = {{4, 3}, {4, -1}};
        sums[i] = bal_batch_losses(&b, scores[i], losses[i]);
        CU_ASSERT_EQUAL(sums[i], losses[i][0] + losses[i][1] + losses[i][2]);
        for (int q = 0; q < 3; ++q) {
            double wrong = (double)(scores[i][2 * q] - scores[i][2 * q + 1]) / NAT;
            double away = means[i][0] - means[i][1], side = q == 1 ? -1 : 1;
            double centred = log1p(exp(side * (wrong - away))), plain = log1p(exp(side * wrong));
            CU_ASSERT(fabs((double)losses[i][q] / NAT - (15 * centred + plain) / 16) < 1e-5);
        }
    }
    CU_ASSERT_NOT_EQUAL(sums[0], sums[1]);
    CU_ASSERT_EQUAL(bal_batch_weight(&b), 3);
    bal_batch_clear(&b);
}

/* By hand: label 0: tp 5, fp 2, fn 3; label 1: tp 1, fp 4, fn 2; label 2: tp 4, fp 0, fn 1; label 3
 * never. */
static void test_macro_f1_is_the_mean_over_labels_that_occur(void)
{
    const int counts[4][4] = {{5, 3, 0}, {2, 1, 0}, {0, 1, 4}}; /* [right][chosen] */
    int64_t right[16], chosen[16], n = 0;
    for (int c = 0; c < 16; ++c)
        for (int i = 0; i < counts[c / 4][c % 4]; ++i, ++n) right[n] = c / 4, chosen[n] = c % 4;
    CU_ASSERT_EQUAL_FATAL(n, 16);
    double macro = (10.0 / 15 + 2.0 / 8 + 8.0 / 9) / 3;
    CU_ASSERT_DOUBLE_EQUAL((double)bal_macro_f1(n, 4, right, chosen) / NAT, macro, 2e-6);
    CU_ASSERT_EQUAL(bal_macro_f1(1, 4, right, right), NAT);
    CU_ASSERT_EQUAL(bal_macro_f1(0, 4, right, right), 0);
}

/* Eight questions with three answers, of which the ones in lowest are chosen. */
static void test_f1_is_that_of_all_choices_together(void)
{
    static const int right[8] = {0, 0, 0, 0, 1, 1, 2, 2}, lowest[8] = {0, 0, 0, 1, 1, 0, 2, 1};
    const int32_t tokens[] = {7, 8};
    int64_t answers_of[24], losses[8];
    bal_batch b;
    CU_ASSERT_EQUAL_FATAL(bal_batch_init(&b, (bal_batch_size){8, 40, 24}), BAL_OK);
    for (int q = 0; q < 8; ++q) {
        int64_t prompt = bal_batch_sequence(&b, -1, tokens, 2);
        bal_batch_ask(&b, prompt, 3, right[q], false);
        for (int a = 0; a < 3; ++a) bal_batch_answer(&b, prompt, tokens, 1);
        for (int a = 0; a < 3; ++a) answers_of[3 * q + a] = (a == lowest[q] ? 1 : 2) * NAT;
    }
    b.aim.objective = BAL_OBJECTIVE_F1;
    int64_t loss = bal_batch_losses(&b, answers_of, losses);
    double f1[] = {2.0 * 3 / (2 * 3 + 1 + 1), 2.0 * 1 / (2 * 1 + 2 + 1), 2.0 * 1 / (2 * 1 + 0 + 1)};
    CU_ASSERT_DOUBLE_EQUAL((double)loss / NAT / 8, 1 - (f1[0] + f1[1] + f1[2]) / 3, 2e-6);
    CU_ASSERT_EQUAL(bal_batch_weight(&b), 8);
    for (int q = 0; q < 8; ++q) CU_ASSERT_EQUAL(losses[q], right[q] == lowest[q] ? 0 : NAT);
    bal_batch_clear(&b);
}

/* Sums of negative numbers, and of numbers far apart. */
static void test_cross_entropy_holds_at_the_ends(void)
{
    bal_batch b = asked();
    int64_t losses[2];
    const int64_t far[9] = {-100 * (int64_t)NAT, 3000 * (int64_t)NAT, 0, 0, -9 * NAT, 0, 0, 0, 0};
    b.aim.objective = BAL_OBJECTIVE_CANDIDATES;
    bal_batch_losses(&b, far, losses);
    CU_ASSERT_EQUAL(losses[0], 3100 * (int64_t)NAT);
    CU_ASSERT(fabs((double)losses[1] / NAT - log1p(2 * exp(-9))) < 1e-6);
    bal_batch_clear(&b);
}

/* A text asks a question per sequence, of which some words are scored. */
static void test_a_text_is_questions_with_one_answer(void)
{
    bal_batch b;
    int64_t losses[2];
    CU_ASSERT_EQUAL_FATAL(bal_batch_init(&b, bal_batch_text(2, 4)), BAL_OK);
    for (int s = 0; s < 2; ++s) {
        for (int i = 0; i < 3 + s; ++i) bal_batch_add(&b, i, i == 1 ? -1 : i);
        bal_batch_end(&b);
    }
    CU_ASSERT(b.n_questions == 2 && b.n_answers == 2 && b.n_sequences == 2 && b.n_scored == 5);
    CU_ASSERT(b.n_words[0] == 2 && b.n_words[1] == 3);
    CU_ASSERT_EQUAL(bal_batch_losses(&b, (int64_t[]){5, 7}, losses), 12);
    CU_ASSERT_EQUAL(bal_batch_weight(&b), 5);
    bal_batch_clear(&b);
}

const char bal_suite_name[] = "batch_objective";
const bal_test bal_suite_tests[] = {
    {"scores are sums, means and calibrated", test_scores_are_sums_means_and_calibrated},
    {"each objective has its loss and weight", test_each_objective_has_its_loss_and_weight},
    {"centred scores hardly see a shared preference",
     test_centred_scores_hardly_see_a_shared_preference},
    {"macro-F1 is the mean over labels that occur",
     test_macro_f1_is_the_mean_over_labels_that_occur},
    {"F1 is that of all choices together", test_f1_is_that_of_all_choices_together},
    {"cross-entropy holds at the ends", test_cross_entropy_holds_at_the_ends},
    {"a text is questions with one answer", test_a_text_is_questions_with_one_answer},
    {NULL, NULL},
};
