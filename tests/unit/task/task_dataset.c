/* task_dataset.c: rows as tokens: what an example reads and scores, what it shares with others, and
 * which are drawn. */
#include <stdlib.h>

#include "files.h"
#include "tokenizer.h"

static bal_tokenizer *tokenizer;

int bal_suite_begin(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    const char *path = bal_test_data("stories260k/tok512.bin");
    return bal_test_tokenizer(path, "tokenizer.bin", 512, &tokenizer) != BAL_OK;
}

int bal_suite_end(void)
{
    bal_tokenizer_destroy(&tokenizer);
    return 0;
}

#define BEGIN \
    "[rows]\nformat = tsv\n[answer]\nlabels = 0, 1\n[splits]\ntrain = 9\ndev = 1\ntest = 1\n"
#define ROWS "text\tlabel\nOnce upon a time\t0\nLily was sad\t1\nThe sun\t1\n"

static bal_status open_data(const char *ini, const char *rows, bal_task_options options,
                            int64_t context, bool balanced, bal_task **task, bal_dataset *data)
{
    bal_example_options how = {.context = context, .balanced = balanced};
    BAL_TRY(bal_test_task(ini, rows, options, task));
    how.objective = bal_task_about(*task).writes ? BAL_OBJECTIVE_LABEL : BAL_OBJECTIVE_CANDIDATES;
    return bal_task_dataset(*task, tokenizer, BAL_SPLIT_TRAIN, &how, data);
}

static bal_batch batch_of(const bal_dataset *data, int64_t n)
{
    bal_batch batch;
    CU_ASSERT_EQUAL_FATAL(bal_batch_init(&batch, bal_dataset_room(data, n)), BAL_OK);
    return batch;
}

/* The tokens that are read up to the one at which the first word of an answer is scored, and the
 * words of the answer, as text. */
static char *text_of(const bal_batch *batch, int64_t answer)
{
    int32_t tokens[512];
    int64_t n = 0, first = 0;
    while (batch->scored[first].answer != answer) ++first;
    int64_t chain[16], depth = 0, sequence = 0;
    while (batch->start[sequence + 1] <= batch->scored[first].token) ++sequence;
    CU_ASSERT_EQUAL(batch->start[sequence + 1] - 1, batch->scored[first].token);
    for (; sequence >= 0; sequence = batch->parent[sequence]) chain[depth++] = sequence;
    while (depth > 0) {
        sequence = chain[--depth];
        for (int64_t t = batch->start[sequence]; t < batch->start[sequence + 1]; ++t)
            tokens[n++] = batch->tokens[t];
    }
    int64_t n_words = 0;
    for (int64_t i = 0; i < batch->n_scored; ++i)
        if (batch->scored[i].answer == answer) tokens[n++] = batch->scored[i].word, ++n_words;
    CU_ASSERT_EQUAL(n_words, batch->n_words[answer]);
    CU_ASSERT_EQUAL(tokens[0], 1); /* <s> */
    char *text;
    size_t n_bytes;
    CU_ASSERT_EQUAL_FATAL(bal_tokenizer_decode(tokenizer, tokens + 1, n - 1, &text, &n_bytes),
                          BAL_OK);
    return text;
}

static void check_text(const bal_batch *batch, int64_t answer, const char *expected)
{
    char *text = text_of(batch, answer);
    CU_ASSERT_STRING_EQUAL(text, expected);
    if (strcmp(text, expected) != 0) fprintf(stderr, "<%s>, expected <%s>\n", text, expected);
    free(text);
}

static void test_a_prompt_is_read_once_for_all_answers(void)
{
    bal_task *task = NULL;
    bal_dataset data = {0};
    CU_ASSERT_EQUAL_FATAL(open_data(BEGIN "[template]\nprompt = \"{text}. It was \"\n"
                                          "candidates = terrible, great\n",
                                    ROWS, (bal_task_options){0}, 64, false, &task, &data),
                          BAL_OK);
    CU_ASSERT_EQUAL(data.n_examples, 3);
    CU_ASSERT_EQUAL(data.common.sequences, 0);
    CU_ASSERT_STRING_EQUAL(data.labels[1], "1");
    bal_batch batch = batch_of(&data, 3);
    bal_dataset_take(&data, 0, 3, &batch);
    CU_ASSERT_EQUAL(batch.n_questions, 3);
    CU_ASSERT_EQUAL(batch.n_answers, 6);
    CU_ASSERT(batch.n_sequences <= 9 && batch.n_tokens <= batch.room.tokens);
    check_text(&batch, 0, "Once upon a time. It was terrible");
    check_text(&batch, 1, "Once upon a time. It was great");
    check_text(&batch, 5, "The sun. It was great");
    for (int q = 0; q < 3; ++q) {
        CU_ASSERT_EQUAL(batch.questions[q].n_answers, 2);
        CU_ASSERT_EQUAL(batch.questions[q].right, q > 0);
        CU_ASSERT_EQUAL(batch.parent[batch.questions[q].prompt], -1);
    }
    bal_batch_clear(&batch);
    bal_dataset_clear(&data);
    bal_task_close(&task);
}

/* Who learns the right answer's tokens alone reads no other. */
static void test_the_objective_decides_what_is_read(void)
{
    bal_task *task = NULL;
    bal_dataset data = {0};
    bal_example_options how = {.context = 64, .objective = BAL_OBJECTIVE_LABEL};
    CU_ASSERT_EQUAL_FATAL(bal_test_task(BEGIN "[template]\nprompt = \"{text}. It was \"\n"
                                              "candidates = terrible, great\n",
                                        ROWS, (bal_task_options){0}, &task),
                          BAL_OK);
    CU_ASSERT_EQUAL_FATAL(bal_task_dataset(task, tokenizer, BAL_SPLIT_TRAIN, &how, &data), BAL_OK);
    bal_batch batch = batch_of(&data, 1);
    bal_dataset_take(&data, 1, 1, &batch);
    char *right = text_of(&batch, batch.questions[0].right);
    bal_batch_empty(&batch);
    data.draw(data.self, UINT64_MAX / 2, &batch); /* the second of three */
    CU_ASSERT(batch.n_questions == 1 && batch.n_answers == 1 && batch.questions[0].right == 0);
    check_text(&batch, 0, right);
    CU_ASSERT_FALSE(data.aim.relative);
    free(right);
    bal_batch_clear(&batch);
    bal_dataset_clear(&data);
    how.objective = BAL_OBJECTIVE_CANDIDATES; /* of more than a token each */
    CU_ASSERT_EQUAL_FATAL(bal_task_dataset(task, tokenizer, BAL_SPLIT_TRAIN, &how, &data), BAL_OK);
    CU_ASSERT_FALSE(data.aim.relative);
    bal_dataset_clear(&data);
    bal_task_close(&task);
    CU_ASSERT_EQUAL_FATAL(bal_test_task(BEGIN "[template]\nprompt = \"{text}\"\n"
                                              "candidates = a, b\n",
                                        ROWS, (bal_task_options){0}, &task),
                          BAL_OK);
    CU_ASSERT_EQUAL_FATAL(bal_task_dataset(task, tokenizer, BAL_SPLIT_TRAIN, &how, &data), BAL_OK);
    CU_ASSERT_TRUE(data.aim.relative);
    bal_dataset_clear(&data);
    bal_task_close(&task);
}

/* With answers that are tokens together with the end of the prompt, the prompt ends earlier. */
static void test_answers_may_change_the_end_of_a_prompt(void)
{
    bal_task *task = NULL;
    bal_dataset data = {0};
    CU_ASSERT_EQUAL_FATAL(
        open_data(BEGIN "[template]\nprompt = \"{text} an\"\ncandidates = d, ts\n", ROWS,
                  (bal_task_options){0}, 64, false, &task, &data),
        BAL_OK);
    bal_batch batch = batch_of(&data, 1);
    bal_dataset_take(&data, 0, 1, &batch);
    check_text(&batch, 0, "Once upon a time and");
    check_text(&batch, 1, "Once upon a time ants");
    int32_t *whole;
    int64_t n;
    CU_ASSERT_EQUAL_FATAL(bal_tokenizer_encode(tokenizer, "Once upon a time and", 20, &whole, &n),
                          BAL_OK);
    CU_ASSERT_EQUAL(batch.start[1] - batch.start[0], n); /* <s>, and all but " and" */
    CU_ASSERT_EQUAL(batch.n_words[0], 1);
    CU_ASSERT_EQUAL(batch.scored[0].word, whole[n - 1]);
    free(whole);
    bal_batch_clear(&batch);
    bal_dataset_clear(&data);
    bal_task_close(&task);
}

static void test_demonstrations_are_read_once_for_a_batch(void)
{
    bal_task *task = NULL;
    bal_dataset data = {0};
    CU_ASSERT_EQUAL_FATAL(open_data(BEGIN "[template]\nprompt = \"{text}. It was \"\n"
                                          "candidates = terrible, great\n",
                                    ROWS, (bal_task_options){.shots = 1}, 64, false, &task, &data),
                          BAL_OK);
    const char *shots = bal_task_demonstrations(task);
    CU_ASSERT_PTR_NOT_NULL_FATAL(strstr(shots, "\n\n"));
    CU_ASSERT_EQUAL(data.n_examples, 2);
    CU_ASSERT_EQUAL(data.common.sequences, 1);
    CU_ASSERT(data.common.tokens > 8);
    bal_batch batch = batch_of(&data, 2);
    bal_dataset_take(&data, 0, 2, &batch);
    CU_ASSERT_EQUAL(batch.start[1], data.common.tokens);
    int64_t n_tokens = batch.n_tokens;
    bal_dataset_continue(&data, 0, 2, &batch); /* what was read before is left out */
    CU_ASSERT_EQUAL(batch.n_tokens, n_tokens - data.common.tokens);
    for (int q = 0; q < 2; ++q) CU_ASSERT_EQUAL(batch.parent[batch.questions[q].prompt], -1);
    bal_dataset_draw(&data, bal_kernels_at(BAL_ISA_REF), 1, 2, 3, 2, &batch);
    CU_ASSERT_EQUAL(batch.start[1], data.common.tokens);
    for (int64_t s = 0; s < batch.n_sequences; ++s) CU_ASSERT((batch.parent[s] < 0) == (s == 0));
    bal_dataset_take(&data, 0, 2, &batch);
    for (int q = 0; q < 2; ++q) CU_ASSERT_EQUAL(batch.parent[batch.questions[q].prompt], 0);
    for (int q = 0; q < 2; ++q) {
        bal_asked asked;
        char expected[512];
        CU_ASSERT_EQUAL_FATAL(bal_task_ask(task, BAL_SPLIT_TRAIN, q, &asked), BAL_OK);
        snprintf(expected, sizeof expected, "%s%s%s", shots, asked.prompt, asked.answers[1]);
        check_text(&batch, batch.questions[q].answer + 1, expected);
        bal_asked_clear(&asked);
    }
    bal_batch_clear(&batch);
    bal_dataset_clear(&data);
    bal_task_close(&task);
}

static int32_t *tokens_of(const char *text, int64_t *n)
{
    int32_t *tokens = NULL;
    CU_ASSERT_EQUAL_FATAL(bal_tokenizer_encode(tokenizer, text, strlen(text), &tokens, n), BAL_OK);
    return tokens;
}

static void test_a_neutral_prompt_follows(void)
{
    bal_task *task = NULL;
    bal_dataset data = {0};
    bal_task_options options = {.score = BAL_TASK_SCORE_CALIBRATED};
    CU_ASSERT_EQUAL_FATAL(open_data(BEGIN "[template]\nprompt = \"{text}. It was \"\n"
                                          "candidates = sad, big\nneutral = \"It was \"\n",
                                    ROWS, options, 64, false, &task, &data),
                          BAL_OK);
    bal_batch batch = batch_of(&data, 2);
    bal_dataset_take(&data, 0, 2, &batch);
    CU_ASSERT_EQUAL(batch.n_answers, 8);
    CU_ASSERT(batch.questions[0].calibrated);
    int64_t n_neutral = 0, n; /* without <s> */
    int32_t *neutral = tokens_of("It was", &n);
    for (int64_t s = 0; s < batch.n_sequences; ++s)
        n_neutral += batch.start[s + 1] - batch.start[s] == n + 1 &&
                     memcmp(batch.tokens + batch.start[s] + 1, neutral, (size_t)n * 4) == 0;
    CU_ASSERT_EQUAL(n_neutral, 1); /* read once for both */
    free(neutral);
    check_text(&batch, 1, "Once upon a time. It was big");
    check_text(&batch, 2, "It was sad");
    check_text(&batch, 3, "It was big");
    check_text(&batch, 7, "It was big");
    bal_batch_clear(&batch);
    bal_dataset_clear(&data);
    bal_task_close(&task);
}

static void test_answers_that_are_written_are_graded(void)
{
    static const char ini[] =
        "[rows]\nformat = jsonl\n[fields]\nanswer = answers[]\n[answer]\nmetric = token_f1\n"
        "tokens = 7\nstop = \"\\n\"\n[template]\nprompt = \"{text}? \"\nanswers = "
        "\"{answer}\\n\"\n";
    static const char rows[] = "{\"text\": \"Who\", \"answers\": [\"big Tom\", \"\", \"Lily\"]}\n";
    static const struct {
        const char *answer;
        bool exact;
        int64_t f1; /* in sixths */
    } written[] = {{" the Lily.", true, 6},
                   {" Lily\nand Tom", true, 6},
                   {" Tom", false, 4},
                   {" a cat", false, 0},
                   {"", false, 0}};
    bal_task *task = NULL;
    bal_dataset data = {0};
    CU_ASSERT_EQUAL_FATAL(open_data(ini, rows, (bal_task_options){0}, 64, false, &task, &data),
                          BAL_OK);
    CU_ASSERT_PTR_NOT_NULL_FATAL(data.writing);
    CU_ASSERT_EQUAL(data.aim.objective, BAL_OBJECTIVE_LABEL);
    CU_ASSERT_EQUAL(data.writing->max_words, 7);
    for (size_t i = 0; i < sizeof written / sizeof *written; ++i) {
        int64_t n;
        int32_t *tokens = tokens_of(written[i].answer, &n);
        bal_grade grade;
        CU_ASSERT_EQUAL(data.writing->grade(data.self, 0, tokens, n, &grade), BAL_OK);
        CU_ASSERT_EQUAL(grade.exact, written[i].exact);
        int64_t f1 = (written[i].f1 * BAL_METRIC_ONE + 3) / 6;
        CU_ASSERT_EQUAL(BAL_METRIC_ONE - grade.missed, f1);
        free(tokens);
    }
    int64_t n;
    int32_t *newline = tokens_of("\n", &n);
    CU_ASSERT(data.writing->ends(data.self, newline[n - 1]));
    CU_ASSERT(data.writing->ends(data.self, bal_tokenizer_special(tokenizer, BAL_SPECIAL_EOS)));
    CU_ASSERT(!data.writing->ends(data.self, 403)); /* "Once" */
    free(newline);
    bal_batch batch = batch_of(&data, 1);
    bal_dataset_take(&data, 0, 1, &batch);
    CU_ASSERT_EQUAL(batch.questions[0].n_answers, 1); /* the first is learned */
    check_text(&batch, 0, "Who? big Tom\n");
    bal_batch_clear(&batch);
    bal_dataset_clear(&data);
    bal_task_close(&task);
}

/* Examples that are drawn, by label. */
static void count_draws(const bal_dataset *data, int64_t n, int *labels)
{
    bal_batch batch = batch_of(data, 1);
    uint64_t state = 1;
    for (int64_t i = 0; i < n; ++i) {
        bal_batch_empty(&batch);
        data->draw(data->self, bal_test_random(&state), &batch);
        CU_ASSERT_EQUAL_FATAL(batch.n_questions, 1);
        ++labels[batch.questions[0].right];
    }
    bal_batch_clear(&batch);
}

static void test_draws_may_be_balanced(void)
{
    char rows[4096] = "text\tlabel\n";
    for (int i = 0; i < 100; ++i) sprintf(rows + strlen(rows), "row %d\t%d\n", i, i % 10 == 0);
    for (int balanced = 0; balanced < 2; ++balanced) {
        bal_task *task = NULL;
        bal_dataset data = {0};
        int labels[2] = {0};
        bal_task_options options = {.n = {100, 0, 0}};
        CU_ASSERT_EQUAL_FATAL(open_data(BEGIN "[template]\nprompt = \"{text} \"\n"
                                              "candidates = no, yes\n",
                                        rows, options, 64, balanced, &task, &data),
                              BAL_OK);
        count_draws(&data, 4000, labels);
        double share = labels[1] / 4000.0, expected = balanced ? 0.5 : 0.1;
        CU_ASSERT_DOUBLE_EQUAL(share, expected, 0.03); /* four standard deviations at 0.5 */
        bal_dataset_clear(&data);
        bal_task_close(&task);
    }
}

/* Labels without examples have no turn. */
static void test_labels_of_a_balanced_batch_take_turns(void)
{
    char rows[1024] = "text\tlabel\n";
    for (int i = 0; i < 30; ++i)
        sprintf(rows + strlen(rows), "row %d\t%d\n", i, i < 28 ? 3 : i % 2);
    bal_task *task = NULL;
    bal_dataset data = {0};
    bal_task_options options = {.n = {30, 0, 0}};
    CU_ASSERT_EQUAL_FATAL(
        open_data("[rows]\nformat = tsv\n[answer]\nlabels = 0, 1, 2, 3\n[template]\n"
                  "prompt = \"{text} \"\ncandidates = no, yes, so, big\n",
                  rows, options, 64, true, &task, &data),
        BAL_OK);
    bal_batch batch = batch_of(&data, 7);
    uint64_t state = 3;
    int firsts[4] = {0};
    for (int round = 0; round < 60; ++round) {
        int labels[4] = {0};
        bal_batch_empty(&batch);
        for (int i = 0; i < 7; ++i) data.draw(data.self, bal_test_random(&state), &batch);
        for (int i = 0; i < 7; ++i) ++labels[batch.questions[i].right];
        ++firsts[batch.questions[0].right];
        CU_ASSERT(labels[0] >= 2 && labels[1] >= 2 && labels[2] == 0 && labels[3] >= 2);
    }
    CU_ASSERT(firsts[0] > 8 && firsts[1] > 8 && firsts[3] > 8);
    bal_batch_clear(&batch);
    bal_dataset_clear(&data);
    bal_task_close(&task);
}

static void refuse(const char *ini, const char *rows, int64_t context, const char *sentence)
{
    bal_task *task = NULL;
    bal_dataset data = {0};
    CU_ASSERT_EQUAL(open_data(ini, rows, (bal_task_options){0}, context, false, &task, &data),
                    BAL_ERR_INPUT);
    CU_ASSERT(bal_test_said(sentence));
    bal_task_close(&task);
}

static void test_examples_that_cannot_be(void)
{
    refuse(BEGIN "[template]\nprompt = \"{text} \"\ncandidates = \"so\", \"so \"\n", ROWS, 64,
           "rows:2: answers 1 and 2 have the same tokens");
    refuse(BEGIN "[template]\nprompt = \"{text}\"\ncandidates = yes, \"\"\n", ROWS, 64,
           "rows:2: an answer is empty");
    refuse(BEGIN "[template]\nprompt = \"{text} \"\ncandidates = no, yes\n",
           "text\tlabel\nOnce\t0\nOnce upon a time, there was a little girl named Lily.\t1\n", 12,
           "rows:3: prompt and answer are ");
    CU_ASSERT_PTR_NOT_NULL(
        strstr(bal_failure(), " tokens; the context has 12; set data.context higher"));
    CU_ASSERT_PTR_NULL(strstr(bal_failure(), "shots"));
    bal_task *task = NULL;
    bal_dataset data = {0};
    bal_status status = open_data(BEGIN "[template]\nprompt = \"{text} \"\ncandidates = no, yes\n",
                                  ROWS, (bal_task_options){.shots = 1}, 12, false, &task, &data);
    CU_ASSERT_EQUAL(status, BAL_ERR_INPUT);
    CU_ASSERT(bal_test_said("; set data.context higher, or data.shots lower"));
    bal_task_close(&task);
    refuse(BEGIN "[template]\nprompt = \"{text|before(_)} \"\ncandidates = no, yes\n", ROWS, 64,
           "rows:2: text: there is no \"_\" in \"Once upon a time\"");
}

static void test_the_hash_is_that_of_every_token(void)
{
    static const char *const templates[] = {
        BEGIN "[template]\nprompt = \"{text} \"\ncandidates = no, yes\n",
        BEGIN "[template]\nprompt = \"{text} \"\ncandidates = yes, no\n",
        BEGIN "[template]\nprompt = \"{text}. \"\ncandidates = no, yes\n"};
    uint64_t hash[4] = {0};
    for (int i = 0; i < 4; ++i) {
        bal_task *task = NULL;
        bal_dataset data = {0};
        CU_ASSERT_EQUAL_FATAL(
            open_data(templates[i % 3], ROWS, (bal_task_options){0}, 64, false, &task, &data),
            BAL_OK);
        hash[i] = data.hash;
        bal_dataset_clear(&data);
        bal_task_close(&task);
    }
    CU_ASSERT_EQUAL(hash[0], hash[3]);
    CU_ASSERT(hash[0] != hash[1] && hash[0] != hash[2] && hash[1] != hash[2]);
}

const char bal_suite_name[] = "task_dataset";
const bal_test bal_suite_tests[] = {
    {"a prompt is read once for all answers", test_a_prompt_is_read_once_for_all_answers},
    {"the objective decides what is read", test_the_objective_decides_what_is_read},
    {"answers may change the end of a prompt", test_answers_may_change_the_end_of_a_prompt},
    {"demonstrations are read once for a batch", test_demonstrations_are_read_once_for_a_batch},
    {"a neutral prompt follows", test_a_neutral_prompt_follows},
    {"answers that are written are graded", test_answers_that_are_written_are_graded},
    {"draws may be balanced", test_draws_may_be_balanced},
    {"labels of a balanced batch take turns", test_labels_of_a_balanced_batch_take_turns},
    {"examples that cannot be", test_examples_that_cannot_be},
    {"the hash is that of every token", test_the_hash_is_that_of_every_token},
    {NULL, NULL},
};
