/* evaluate.c: the code that evaluates a text evaluates a data set of one's own, on any ranks. */
#include "ballot/evaluate.h"
#include "../unit/model/toy.h"
#include "ranks.h"

#define N_EXAMPLES 13

/* Example index is index % 5 + 2 tokens of the toy vocabulary, counted on from it. */
static void take(const void *self, int64_t index, bal_batch *batch)
{
    const int32_t *vocab = self;
    for (int64_t i = 0; i < index % 5 + 2; ++i)
        bal_batch_add(batch, (int32_t)(7 * index + i) % *vocab,
                      i == 0 ? -1 : (int32_t)(7 * index + 3 * i) % *vocab);
    bal_batch_end(batch);
}

static void draw(const void *self, uint64_t random, bal_batch *batch)
{
    take(self, (int64_t)(random % N_EXAMPLES), batch);
}

static const int32_t toy_vocab = TOY_VOCAB;
static const bal_dataset data = {
    .n_examples = N_EXAMPLES, .self = (void *)&toy_vocab, .take = take, .draw = draw};

/* What one pass over every example says. */
static bal_score expected_of(bal_forward *forward, int64_t n_examples, bal_batch *batch)
{
    bal_score sum = {0};
    for (int64_t i = 0; i < n_examples; ++i) {
        bal_losses losses = {0};
        bal_batch_empty(batch);
        take(&toy_vocab, i, batch);
        CU_ASSERT_EQUAL_FATAL(bal_forward_losses(forward, batch, NULL, &losses), BAL_OK);
        sum.loss += losses.loss;
        sum.n_right += losses.n_right;
        sum.n_tokens += i % 5 + 1;
    }
    return sum;
}

static void test_a_data_set_of_ones_own_is_evaluated_like_a_text(void)
{
    bal_model *model = toy_model(true);
    bal_forward *forward = NULL;
    bal_batch batch;
    CU_ASSERT_EQUAL_FATAL(bal_batch_init(&batch, bal_batch_text(4, TOY_CONTEXT)), BAL_OK);
    CU_ASSERT_EQUAL_FATAL(bal_forward_create(model, bal_kernels_at(bal_isa_best()), 4 * TOY_CONTEXT,
                                             TOY_CONTEXT, &forward),
                          BAL_OK);
    for (int64_t n_per_batch = 1; n_per_batch <= 4; ++n_per_batch)
        for (int64_t n_examples = 0; n_examples <= N_EXAMPLES; n_examples += 5) { /* 0: all */
            bal_score score,
                expected = expected_of(forward, n_examples > 0 ? n_examples : N_EXAMPLES, &batch);
            CU_ASSERT_EQUAL(bal_evaluate(test_comm, forward, &data, n_examples, n_per_batch, &batch,
                                         &score, NULL),
                            BAL_OK);
            CU_ASSERT_EQUAL(score.loss, expected.loss);
            CU_ASSERT_EQUAL(score.n_right, expected.n_right);
            CU_ASSERT_EQUAL(score.n_tokens, expected.n_tokens);
        }
    bal_forward_destroy(&forward);
    bal_batch_clear(&batch);
    bal_model_destroy(&model);
}

/* Example index is a question with 2 .. 4 answers of one or two words. All begin with two tokens;
 * self counts how often these are read. */
static void take_question(const void *self, int64_t index, bal_batch *batch)
{
    const int32_t common[] = {2, 71};
    if (!batch->continues && batch->n_sequences == 0) {
        bal_batch_sequence(batch, -1, common, 2);
        ++*(int *)self;
    }
    const int32_t prompt[] = {(int32_t)index, 5, 80}, words[] = {7, 9, 11, 13, 15};
    int32_t n = (int32_t)(2 + index % 3);
    int64_t sequence = bal_batch_sequence(batch, batch->continues ? -1 : 0, prompt, 3);
    bal_batch_ask(batch, sequence, n, (int32_t)index % n, false);
    for (int32_t i = 0; i < n; ++i) bal_batch_answer(batch, sequence, words + i, 1 + i % 2);
}

static void test_what_became_of_each_question_is_known_to_all(void)
{
    int n_begun = 0;
    const bal_dataset questions = {.n_examples = N_EXAMPLES,
                                   .example = {3, 6, 4},
                                   .common = {1, 2, 0},
                                   .self = &n_begun,
                                   .aim = {.objective = BAL_OBJECTIVE_CANDIDATES},
                                   .take = take_question};
    bal_model *model = toy_model(true);
    bal_forward *forward = NULL;
    bal_batch batch;
    bal_score score;
    bal_outcomes all = {0};
    CU_ASSERT_EQUAL_FATAL(bal_batch_init(&batch, bal_dataset_room(&questions, 3)), BAL_OK);
    CU_ASSERT_EQUAL_FATAL(bal_forward_create(model, bal_kernels_at(bal_isa_best()),
                                             batch.room.tokens, TOY_CONTEXT, &forward),
                          BAL_OK);
    CU_ASSERT_EQUAL_FATAL(bal_evaluate(test_comm, forward, &questions, 0, 3, &batch, &score, &all),
                          BAL_OK);
    CU_ASSERT_EQUAL(n_begun, 1); /* however many batches there were */
    CU_ASSERT(all.n == N_EXAMPLES && all.width == 4 && score.n_tokens == N_EXAMPLES);
    for (int64_t i = 0; i < N_EXAMPLES; ++i) {
        int64_t answers[4], loss;
        bal_losses losses = {.answers = answers};
        bal_dataset_take(&questions, i, 1, &batch);
        CU_ASSERT_EQUAL_FATAL(bal_forward_losses(forward, &batch, NULL, &losses), BAL_OK);
        bal_batch_losses(&batch, answers, &loss);
        const bal_outcome *found = &all.examples[i];
        CU_ASSERT(found->loss == loss && found->n == 2 + i % 3 && found->right == i % found->n);
        CU_ASSERT_EQUAL(found->chosen, bal_batch_choice(&batch, answers, &batch.questions[0]));
        CU_ASSERT_EQUAL(memcmp(answers, all.scores + 4 * i, (size_t)found->n * sizeof *answers), 0);
        score.loss -= loss;
        score.n_right -= found->chosen == found->right;
    }
    CU_ASSERT(score.loss == 0 && score.n_right == 0);
    bal_outcomes_clear(&all);
    bal_forward_destroy(&forward);
    bal_batch_clear(&batch);
    bal_model_destroy(&model);
}

const char bal_suite_name[] = "evaluate";
const bal_test bal_suite_tests[] = {
    {"a data set of one's own is evaluated like a text",
     test_a_data_set_of_ones_own_is_evaluated_like_a_text},
    {"what became of each question is known to all",
     test_what_became_of_each_question_is_known_to_all},
    {NULL, NULL},
};
