/* model_answers.c: what a model writes at both sides of a direction is the likeliest word each
 * time, as the losses of all words say; many texts side by side are written like each by itself. */
#include "ballot/answer.h"
#include "toy.h"

#define N_QUESTIONS 11 /* more than are answered side by side */
#define N_COMMON 2
#define WORDS_MAX 6

static const int32_t common[N_COMMON] = {5, 80};

/* Prompt number index: 1 .. 4 tokens. */
static int64_t prompt_of(int64_t index, int32_t tokens[4])
{
    for (int32_t i = 0; i < 4; ++i) tokens[i] = (int32_t)(13 * index + 29 * i + 3) % TOY_VOCAB;
    return 1 + index % 4;
}

static void take(const void *self, int64_t index, bal_batch *batch)
{
    int32_t tokens[4];
    int64_t n = prompt_of(index, tokens), parent = batch->continues ? -1 : 0;
    (void)self;
    if (!batch->continues && batch->n_sequences == 0)
        bal_batch_sequence(batch, -1, common, N_COMMON);
    int64_t prompt = bal_batch_sequence(batch, parent, tokens, n);
    bal_batch_ask(batch, prompt, 1, 0, false);
    batch->questions[batch->n_questions - 1].example = index;
    bal_batch_answer(batch, prompt, (const int32_t[]){1, 2, 3}, 3); /* the right one is not read */
}

static bool ends(const void *self, int32_t token)
{
    (void)self;
    return token % 6 == 0;
}

/* A grade that says what was written. */
static bal_status grade(const void *self, int64_t index, const int32_t *tokens, int64_t n,
                        bal_grade *given)
{
    (void)self;
    given->exact = n == WORDS_MAX;
    given->missed = (int64_t)bal_hash(tokens, (size_t)n * sizeof *tokens, (uint64_t)index);
    return BAL_OK;
}

static const bal_writing writing = {.max_words = WORDS_MAX, .ends = ends, .grade = grade};
static const bal_dataset data = {.n_examples = N_QUESTIONS,
                                 .example = {2, 7, 1},
                                 .common = {1, N_COMMON, 0},
                                 .writing = &writing,
                                 .take = take};

/* The likeliest word after a text at a sign: all words are answers to it. */
static int32_t likeliest(bal_forward *forward, bal_batch *batch, const bal_direction *direction,
                         int sign, const int32_t *tokens, int64_t n)
{
    int64_t found[2][TOY_VOCAB];
    bal_losses losses[2] = {{.answers = found[0]}, {.answers = found[1]}};
    int32_t best = 0;
    bal_batch_empty(batch);
    int64_t text = bal_batch_sequence(batch, -1, tokens, n);
    bal_batch_ask(batch, text, TOY_VOCAB, 0, false);
    for (int32_t word = 0; word < TOY_VOCAB; ++word) bal_batch_answer(batch, text, &word, 1);
    CU_ASSERT_EQUAL(bal_forward_losses(forward, batch, direction, losses), BAL_OK);
    for (int32_t word = 1; word < TOY_VOCAB; ++word)
        if (found[sign][word] < found[sign][best]) best = word;
    return best;
}

/* The grade of the answer to a question, word by word. */
static bal_grade expected_of(bal_forward *forward, bal_batch *batch, const bal_direction *direction,
                             int sign, int64_t index)
{
    int32_t tokens[TOY_CONTEXT + 1];
    bal_grade given;
    memcpy(tokens, common, sizeof common);
    int64_t begin = N_COMMON + prompt_of(index, tokens + N_COMMON), n = begin;
    while (n < begin + WORDS_MAX && n < TOY_CONTEXT) {
        tokens[n] = likeliest(forward, batch, direction, sign, tokens, n);
        if (ends(NULL, tokens[n])) break;
        ++n;
    }
    grade(NULL, index, tokens + begin, n - begin, &given);
    return given;
}

/* Three batches of one answerer, of which the second is short. */
static int check(const bal_model *model, bal_isa isa, const bal_direction *direction,
                 bool continues)
{
    bal_forward *forward = NULL;
    bal_answerer *answerer = NULL;
    bal_cache *beginning = NULL;
    bal_batch batch, words;
    int n_signs = bal_direction_points(direction), n_differ = 0;
    CU_ASSERT_EQUAL_FATAL(bal_batch_init(&batch, bal_dataset_room(&data, N_QUESTIONS)), BAL_OK);
    CU_ASSERT_EQUAL_FATAL(bal_batch_init(&words, (bal_batch_size){1, TOY_VOCAB, TOY_VOCAB}),
                          BAL_OK);
    CU_ASSERT_EQUAL_FATAL(bal_forward_create(model, bal_kernels_at(isa),
                                             batch.room.tokens + TOY_VOCAB, TOY_CONTEXT, &forward),
                          BAL_OK);
    CU_ASSERT_EQUAL_FATAL(bal_answerer_create(forward, &answerer), BAL_OK);
    CU_ASSERT_EQUAL_FATAL(bal_cache_create(model, TOY_CONTEXT, &beginning), BAL_OK);
    CU_ASSERT_EQUAL(bal_forward_extend(forward, beginning, common, N_COMMON, NULL), BAL_OK);
    for (int64_t first = 0; first < 3; ++first) {
        bal_grade grades[2 * N_QUESTIONS];
        int64_t n = first == 1 ? 1 : N_QUESTIONS - first;
        (continues ? bal_dataset_continue : bal_dataset_take)(&data, first, n, &batch);
        int32_t words_of[N_QUESTIONS][WORDS_MAX];
        CU_ASSERT_EQUAL(bal_answerer_answer(answerer, &data, &batch, continues ? beginning : NULL,
                                            direction, grades, words_of[0]),
                        BAL_OK);
        for (int64_t i = 0; i < n; ++i) {
            bal_grade given;
            int64_t n_words = 0;
            while (n_words < WORDS_MAX && words_of[i][n_words] >= 0) ++n_words;
            grade(NULL, first + i, words_of[i], n_words, &given);
            CU_ASSERT_EQUAL(given.missed, grades[i].missed);
        }
        for (int sign = 0; sign < n_signs; ++sign)
            for (int64_t i = 0; i < n; ++i) {
                bal_grade right = expected_of(forward, &words, direction, sign, first + i);
                CU_ASSERT_EQUAL(grades[sign * n + i].missed, right.missed);
                n_differ += grades[sign * n + i].missed != grades[i].missed;
            }
    }
    bal_answerer_destroy(&answerer);
    bal_cache_destroy(&beginning);
    bal_forward_destroy(&forward);
    bal_batch_clear(&batch);
    bal_batch_clear(&words);
    return n_differ;
}

static void test_the_likeliest_word_is_written_each_time(void)
{
    bool all[64];
    memset(all, true, sizeof all);
    for (int kind = 0; kind < N_TOY_KINDS; ++kind) {
        bal_model *model = toy_kind(kind);
        bool encoder = (bal_model_shape(model)->features & BAL_ENCODER) != 0;
        for (int isa = BAL_ISA_REF; isa <= (int)bal_isa_best() && !encoder; ++isa) {
            bal_measure measure = {.kernels = bal_kernels_at((bal_isa)isa),
                                   .options = {.noise = 1, .density = 1.0},
                                   .seed = SEED,
                                   .on_ballot = all};
            bal_direction both = {.measure = measure, .slot = 3}, one = both;
            one.n_one_sided = 1;
            CU_ASSERT(check(model, (bal_isa)isa, &both, false) > 0); /* both sides differ */
            check(model, (bal_isa)isa, &one, false);
            check(model, (bal_isa)isa, NULL, false);
            check(model, (bal_isa)isa, NULL, true);
        }
        bal_model_destroy(&model);
    }
}

static void test_an_encoder_writes_nothing(void)
{
    bal_model *model = toy_kind(3);
    bal_forward *forward = NULL;
    bal_answerer *answerer = NULL;
    CU_ASSERT_EQUAL_FATAL(bal_forward_create(model, bal_kernels_at(bal_isa_best()), TOY_CONTEXT,
                                             TOY_CONTEXT, &forward),
                          BAL_OK);
    CU_ASSERT_EQUAL(bal_answerer_create(forward, &answerer), BAL_ERR_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "encoder"));
    CU_ASSERT_PTR_NULL(answerer);
    bal_forward_destroy(&forward);
    bal_model_destroy(&model);
}

const char bal_suite_name[] = "model_answers";
const bal_test bal_suite_tests[] = {
    {"the likeliest word is written each time", test_the_likeliest_word_is_written_each_time},
    {"an encoder writes nothing", test_an_encoder_writes_nothing},
    {NULL, NULL},
};
