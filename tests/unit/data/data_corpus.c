/* data_corpus.c: every token is scored once; mini-batches are pure functions of (step, slot). */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ballot/data.h"
#include "suite.h"
#include "tokenizer.h"

#define N_VOCAB 512
#define STORY "Once upon a time, there was a big dog. It had a red ball.\n"

static bal_tokenizer *tokenizer;

/* A file that holds text; its path is borrowed until the next call. */
static const char *file_of(const char *text)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/text.txt", bal_test_dir("corpus"));
    FILE *file = fopen(path, "wb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL(fputs(text, file) < 0, 0);
    fclose(file);
    return path;
}

static bal_dataset corpus_of(const char *path, bal_examples examples, int64_t context)
{
    bal_dataset corpus = {0};
    CU_ASSERT_EQUAL_FATAL(
        bal_corpus_open(path, tokenizer,
                        &(bal_corpus_options){.examples = examples, .context = context}, &corpus),
        BAL_OK);
    return corpus;
}

static int32_t *tokens_of(const char *text, int64_t *n)
{
    int32_t *tokens = NULL;
    CU_ASSERT_EQUAL_FATAL(bal_tokenizer_encode(tokenizer, text, strlen(text), &tokens, n), BAL_OK);
    return tokens;
}

static bal_batch batch_of(int64_t n_sequences, int64_t context)
{
    bal_batch batch;
    CU_ASSERT_EQUAL_FATAL(bal_batch_init(&batch, bal_batch_text(n_sequences, context)), BAL_OK);
    return batch;
}

/* What is scored at a token; -1: nothing. */
static int32_t target_at(const bal_batch *batch, int64_t token)
{
    for (int64_t i = 0; i < batch->n_scored; ++i)
        if (batch->scored[i].token == token) return batch->scored[i].word;
    return -1;
}

/* Starts are 0 .. n_tokens in order, and no sequence is longer than context. */
static void check_shape(const bal_batch *batch, int64_t n_sequences, int64_t context)
{
    CU_ASSERT_EQUAL(batch->n_sequences, n_sequences);
    CU_ASSERT_EQUAL(batch->start[0], 0);
    CU_ASSERT_EQUAL(batch->start[n_sequences], batch->n_tokens);
    for (int64_t i = 0; i < n_sequences; ++i) {
        int64_t length = batch->start[i + 1] - batch->start[i];
        CU_ASSERT(length >= 0 && length <= context);
    }
}

static bool same(const bal_batch *a, const bal_batch *b)
{
    return a->n_sequences == b->n_sequences && a->n_tokens == b->n_tokens &&
           memcmp(a->start, b->start, (size_t)(a->n_sequences + 1) * sizeof *a->start) == 0 &&
           memcmp(a->tokens, b->tokens, (size_t)a->n_tokens * sizeof *a->tokens) == 0 &&
           a->n_scored == b->n_scored &&
           memcmp(a->scored, b->scored, (size_t)a->n_scored * sizeof *a->scored) == 0;
}

static void test_windows_score_every_token_but_the_first_once(void)
{
    const char *text = STORY STORY STORY;
    int64_t n;
    int32_t *tokens = tokens_of(text, &n);
    for (int64_t context = 2; context < n; context += 3) {
        bal_dataset corpus = corpus_of(file_of(text), BAL_EXAMPLES_WINDOWS, context);
        int64_t n_examples = corpus.n_examples;
        CU_ASSERT_EQUAL(n_examples, (n - 1 + context - 1) / context);
        for (int64_t per_batch = 1; per_batch <= 4; per_batch += 3) { /* however they are batched */
            bal_batch batch = batch_of(per_batch, context);
            int64_t at = 1;
            for (int64_t first = 0; first < n_examples; first += per_batch) {
                int64_t n_here = n_examples - first < per_batch ? n_examples - first : per_batch;
                bal_dataset_take(&corpus, first, n_here, &batch);
                check_shape(&batch, n_here, context);
                for (int64_t i = 0; i < batch.n_tokens; ++i, ++at)
                    CU_ASSERT(batch.tokens[i] == tokens[at - 1] &&
                              target_at(&batch, i) == tokens[at]);
            }
            CU_ASSERT_EQUAL(at, n);
            bal_batch_clear(&batch);
        }
        bal_dataset_clear(&corpus);
    }
    free(tokens);
}

static void test_pieces_of_documents_come_after_the_start_token(void)
{
    static const char *const documents[] = {STORY "The end", "A cat.", "One\nmore", "x",
                                            STORY STORY "."};
    enum { N = sizeof documents / sizeof *documents };
    char text[1000] = "\n\n\n\n"; /* blank lines first, and more of them between */
    int64_t n_bytes = 0;
    for (int i = 0; i < N; ++i) {
        strcat(strcat(text, documents[i]), i % 2 == 0 ? "\n\n" : "\n\n\n\n");
        n_bytes += (int64_t)strlen(documents[i]);
    }
    for (int64_t context = 2; context < 80; context += 7) {
        bal_dataset corpus = corpus_of(file_of(text), BAL_EXAMPLES_DOCUMENTS, context);
        bal_batch batch = batch_of(1, context);
        int64_t example = 0;
        CU_ASSERT_EQUAL(corpus.n_bytes, n_bytes);
        for (int i = 0; i < N; ++i) {
            int64_t n;
            int32_t *tokens = tokens_of(documents[i], &n);
            for (int64_t at = 0; at < n; ++example) {
                CU_ASSERT_FATAL(example < corpus.n_examples);
                bal_dataset_take(&corpus, example, 1, &batch);
                check_shape(&batch, 1, context);
                CU_ASSERT_EQUAL(batch.n_tokens, n - at < context ? n - at : context);
                for (int64_t k = 0; k < batch.n_tokens; ++k, ++at) {
                    int32_t before =
                        k == 0 ? bal_tokenizer_special(tokenizer, BAL_SPECIAL_BOS) : tokens[at - 1];
                    CU_ASSERT(batch.tokens[k] == before && target_at(&batch, k) == tokens[at]);
                }
            }
            free(tokens);
        }
        CU_ASSERT_EQUAL(example, corpus.n_examples);
        bal_batch_clear(&batch);
        bal_dataset_clear(&corpus);
    }
}

static void test_a_draw_is_a_pure_function_of_seed_step_and_slot(void)
{
    for (int examples = BAL_EXAMPLES_WINDOWS; examples <= BAL_EXAMPLES_DOCUMENTS; ++examples) {
        bal_dataset corpus =
            corpus_of(bal_test_data("tinystories/dev.txt"), (bal_examples)examples, 16);
        bal_batch first = batch_of(BAL_BATCH_MAX, 16), again = batch_of(BAL_BATCH_MAX, 16);
        for (int isa = BAL_ISA_REF; isa <= (int)bal_isa_best(); ++isa) {
            const bal_kernels *kernels = bal_kernels_at((bal_isa)isa);
            bal_dataset_draw(&corpus, kernels, 1, 2, 3, BAL_BATCH_MAX, &first);
            check_shape(&first, BAL_BATCH_MAX, 16);
            bal_dataset_draw(&corpus, kernels, 9, 9, 9, 5, &again); /* nothing is remembered */
            bal_dataset_draw(&corpus, bal_kernels_at(BAL_ISA_REF), 1, 2, 3, BAL_BATCH_MAX, &again);
            CU_ASSERT(same(&first, &again));
            bal_dataset_draw(&corpus, kernels, 2, 2, 3, BAL_BATCH_MAX, &again);
            CU_ASSERT_FALSE(same(&first, &again));
            bal_dataset_draw(&corpus, kernels, 1, 3, 3, BAL_BATCH_MAX, &again);
            CU_ASSERT_FALSE(same(&first, &again));
            bal_dataset_draw(&corpus, kernels, 1, 2, 4, BAL_BATCH_MAX, &again);
            CU_ASSERT_FALSE(same(&first, &again));
        }
        bal_batch_clear(&first);
        bal_batch_clear(&again);
        bal_dataset_clear(&corpus);
    }
}

static void test_drawn_windows_start_at_any_token_and_stay_inside(void)
{
    enum { CONTEXT = 5, N_DRAWS = 40 };
    int64_t n;
    int32_t *tokens = tokens_of(STORY, &n);
    bal_dataset corpus = corpus_of(file_of(STORY), BAL_EXAMPLES_WINDOWS, CONTEXT);
    bal_batch batch = batch_of(BAL_BATCH_MAX, CONTEXT);
    int counts[1000] = {0}, n_lost = 0;
    CU_ASSERT_FATAL(n < 1000);
    for (uint32_t step = 0; step < N_DRAWS; ++step) {
        bal_dataset_draw(&corpus, bal_kernels_at(bal_isa_best()), 7, step, 0, BAL_BATCH_MAX,
                         &batch);
        for (int64_t i = 0; i < batch.n_sequences; ++i) {
            const int32_t *from = batch.tokens + batch.start[i];
            int32_t to[CONTEXT];
            for (int k = 0; k < CONTEXT; ++k) to[k] = target_at(&batch, batch.start[i] + k);
            CU_ASSERT_EQUAL_FATAL(batch.start[i + 1] - batch.start[i], CONTEXT);
            int64_t place = 0; /* the first that fits: a text may repeat itself */
            while (place + CONTEXT < n && (memcmp(from, tokens + place, 4 * CONTEXT) != 0 ||
                                           memcmp(to, tokens + place + 1, 4 * CONTEXT) != 0))
                ++place;
            if (place + CONTEXT < n)
                ++counts[place];
            else
                ++n_lost;
        }
    }
    CU_ASSERT_EQUAL(n_lost, 0);
    double mean = (double)(N_DRAWS * BAL_BATCH_MAX) / (double)(n - CONTEXT);
    for (int64_t place = 0; place < n - CONTEXT; ++place)
        CU_ASSERT(counts[place] > mean / 2 && counts[place] < 2 * mean);
    bal_batch_clear(&batch);
    bal_dataset_clear(&corpus);
    free(tokens);
}

static void test_drawn_documents_are_consecutive_examples_and_cover_all(void)
{
    const char *text = "A cat.\n\nA dog and a cat.\n\nOnce upon a time, there was a bird.";
    bal_dataset corpus = corpus_of(file_of(text), BAL_EXAMPLES_DOCUMENTS, 6);
    int64_t n_examples = corpus.n_examples, n_known = 0;
    bool drawn[100] = {false};
    bal_batch one = batch_of(1, 6), all = batch_of(BAL_BATCH_MAX, 6);
    CU_ASSERT_FATAL(n_examples > 3 && n_examples <= 100);
    bal_dataset_draw(&corpus, bal_kernels_at(bal_isa_best()), 7, 0, 0, BAL_BATCH_MAX, &all);
    for (int64_t i = 0; i < BAL_BATCH_MAX; ++i)
        for (int64_t example = 0; example < n_examples; ++example) {
            bal_dataset_take(&corpus, example, 1, &one);
            if (one.n_tokens != all.start[i + 1] - all.start[i]) continue;
            size_t n = (size_t)one.n_tokens * sizeof *one.tokens;
            bool known = memcmp(one.tokens, all.tokens + all.start[i], n) == 0;
            for (int64_t t = 0; t < one.n_tokens; ++t)
                known = known && target_at(&one, t) == target_at(&all, all.start[i] + t);
            if (known) {
                ++n_known;
                drawn[example] = true;
                break;
            }
        }
    CU_ASSERT_EQUAL(n_known, BAL_BATCH_MAX);
    for (int64_t example = 0; example < n_examples; ++example) CU_ASSERT(drawn[example]);
    bal_batch_clear(&one);
    bal_batch_clear(&all);
    bal_dataset_clear(&corpus);
}

static void test_the_hash_tells_texts_and_cuts_apart(void)
{
    static const struct {
        const char *text;
        bal_examples examples;
        int64_t context;
    } corpora[] = {
        {STORY STORY, BAL_EXAMPLES_WINDOWS, 8},        {STORY STORY, BAL_EXAMPLES_WINDOWS, 9},
        {STORY STORY, BAL_EXAMPLES_DOCUMENTS, 8},      {STORY "Twice", BAL_EXAMPLES_WINDOWS, 8},
        {STORY "\n" STORY, BAL_EXAMPLES_DOCUMENTS, 8},
    };
    enum { N = sizeof corpora / sizeof *corpora };
    uint64_t hashes[N];
    for (int i = 0; i < N; ++i) {
        for (int round = 0; round < 2; ++round) {
            bal_dataset corpus =
                corpus_of(file_of(corpora[i].text), corpora[i].examples, corpora[i].context);
            uint64_t hash = corpus.hash;
            if (round == 1) CU_ASSERT_EQUAL(hash, hashes[i]);
            hashes[i] = hash;
            bal_dataset_clear(&corpus);
        }
        for (int other = 0; other < i; ++other) CU_ASSERT_NOT_EQUAL(hashes[i], hashes[other]);
    }
}

/* A vocabulary with a mask token and with tokens around a text. */
static bal_tokenizer *masking_tokenizer(void)
{
    bal_tokenizer *roberta = NULL;
    char path[PATH_MAX];
    const char *tests = getenv("BALLOT_TESTS");
    snprintf(path, sizeof path, "%s/golden/families/roberta/tokenizer.json",
             tests != NULL ? tests : "tests");
    CU_ASSERT_EQUAL_FATAL(bal_test_tokenizer(path, "tokenizer.json", 301, &roberta), BAL_OK);
    return roberta;
}

/* Every example is wrapped, and its targets are the text's tokens where it is scored. */
static void check_masked(const bal_batch *batch, const bal_tokenizer *roberta, int64_t context,
                         const int32_t *all, int64_t *at, int64_t counts[4])
{
    int64_t n_before, n_after, n_scored = 0;
    const int32_t *before = bal_tokenizer_prefix(roberta, &n_before);
    const int32_t *after = bal_tokenizer_suffix(roberta, &n_after);
    int32_t mask = bal_tokenizer_special(roberta, BAL_SPECIAL_MASK);
    check_shape(batch, batch->n_sequences, context);
    CU_ASSERT_FATAL(n_before == 1 && n_after == 1 && mask >= 0);
    for (int64_t s = 0; s < batch->n_sequences; ++s) {
        int64_t first = batch->start[s], last = batch->start[s + 1] - 1, scored = 0;
        CU_ASSERT(batch->tokens[first] == before[0] && target_at(batch, first) == -1);
        CU_ASSERT(batch->tokens[last] == after[0] && target_at(batch, last) == -1);
        for (int64_t i = first + 1; i < last; ++i) {
            int32_t own = all != NULL ? all[(*at)++] : target_at(batch, i);
            CU_ASSERT(target_at(batch, i) == own || target_at(batch, i) == -1);
            if (target_at(batch, i) == -1) {
                if (all != NULL) CU_ASSERT_EQUAL(batch->tokens[i], own);
                ++counts[0];
                continue;
            }
            ++counts[batch->tokens[i] == mask ? 1 : batch->tokens[i] == own ? 2 : 3];
            ++scored;
        }
        CU_ASSERT(scored >= 1);
        n_scored += scored;
    }
    CU_ASSERT_EQUAL(batch->n_scored, n_scored);
}

static void test_masked_examples_hide_15_percent(void)
{
    bal_tokenizer *roberta = masking_tokenizer();
    bal_dataset corpus = {0};
    bal_corpus_options options = {.task = BAL_TASK_MLM, .context = 40};
    const char *path = bal_test_data("tinystories/dev.txt");
    bal_mapping file;
    int32_t *all;
    int64_t n_all, at = 0, counts[4] = {0}, drawn[4] = {0};
    CU_ASSERT_EQUAL_FATAL(bal_mapping_open(path, &file), BAL_OK);
    CU_ASSERT_EQUAL_FATAL(
        bal_tokenizer_encode(roberta, (const char *)file.data, file.n_bytes, &all, &n_all), BAL_OK);
    CU_ASSERT_EQUAL_FATAL(bal_corpus_open(path, roberta, &options, &corpus), BAL_OK);
    bal_batch batch = batch_of(16, 40), again = batch_of(16, 40);
    int64_t n = corpus.n_examples;
    CU_ASSERT_EQUAL(n, (n_all + 37) / 38);
    for (int64_t first = 0; first < n; first += 16) { /* every token is in one example */
        int64_t here = n - first < 16 ? n - first : 16;
        bal_dataset_take(&corpus, first, here, &batch);
        check_masked(&batch, roberta, 40, all, &at, counts);
        bal_dataset_take(&corpus, first, here, &again);
        CU_ASSERT(same(&batch, &again));
    }
    CU_ASSERT_EQUAL(at, n_all);
    double total = (double)n_all, scored = (double)(counts[1] + counts[2] + counts[3]);
    CU_ASSERT(fabs(scored / total - 0.15) < 0.01);
    CU_ASSERT(fabs((double)counts[1] / scored - 0.80) < 0.03);
    CU_ASSERT(fabs((double)counts[2] / scored - 0.10) < 0.03);
    const bal_kernels *ref = bal_kernels_at(BAL_ISA_REF);
    for (uint32_t slot = 0; slot < 200; ++slot) {
        bal_dataset_draw(&corpus, ref, 3, 7, slot, 16, &batch);
        check_masked(&batch, roberta, 40, NULL, NULL, drawn);
        bal_dataset_draw(&corpus, ref, 3, 7, slot, 16, &again);
        CU_ASSERT(same(&batch, &again));
        bal_dataset_draw(&corpus, ref, 3, 8, slot, 16, &again);
        CU_ASSERT(!same(&batch, &again));
    }
    bal_batch_clear(&batch);
    bal_batch_clear(&again);
    bal_dataset_clear(&corpus);
    options.context = 2; /* no room for a token */
    CU_ASSERT_EQUAL(bal_corpus_open(path, roberta, &options, &corpus), BAL_ERR_CONFIG);
    options.context = 40; /* no mask */
    CU_ASSERT_EQUAL(bal_corpus_open(path, tokenizer, &options, &corpus), BAL_ERR_CONFIG);
    free(all);
    bal_mapping_close(&file);
    bal_tokenizer_destroy(&roberta);
}

static void test_texts_that_are_missing_empty_or_too_short_are_named(void)
{
    static const char *const texts[] = {NULL, "", "\n\n", "Once upon"};
    for (int examples = BAL_EXAMPLES_WINDOWS; examples <= BAL_EXAMPLES_DOCUMENTS; ++examples)
        for (int i = 0; i < 4; ++i) {
            if (examples == BAL_EXAMPLES_DOCUMENTS && i == 3) continue; /* long enough */
            const char *path = i == 0 ? "none/such.txt" : file_of(texts[i]);
            bal_dataset corpus = {0};
            bal_corpus_options options = {.examples = (bal_examples)examples, .context = 64};
            CU_ASSERT_EQUAL(bal_corpus_open(path, tokenizer, &options, &corpus), BAL_ERR_INPUT);
            CU_ASSERT_PTR_NULL(corpus.self);
            CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), path));
        }
    bal_dataset corpus = {0};
    bal_dataset_clear(&corpus);
}

static void test_the_shortest_text_is_one_window(void)
{
    int64_t n;
    int32_t *tokens = tokens_of(STORY, &n);
    bal_dataset corpus = corpus_of(file_of(STORY), BAL_EXAMPLES_WINDOWS, n - 1);
    bal_batch a = batch_of(1, n - 1), b = batch_of(1, n - 1);
    CU_ASSERT_EQUAL(corpus.n_examples, 1);
    bal_dataset_take(&corpus, 0, 1, &a);
    bal_dataset_draw(&corpus, bal_kernels_at(BAL_ISA_REF), 1, 1, 1, 1, &b);
    CU_ASSERT(same(&a, &b));
    bal_batch_clear(&a);
    bal_batch_clear(&b);
    bal_dataset_clear(&corpus);
    bal_corpus_options options = {.context = n};
    CU_ASSERT_EQUAL(bal_corpus_open(file_of(STORY), tokenizer, &options, &corpus), BAL_ERR_INPUT);
    free(tokens);
}

int bal_suite_begin(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    const char *path = bal_test_data("stories260k/tok512.bin");
    return bal_test_tokenizer(path, "tokenizer.bin", N_VOCAB, &tokenizer) != BAL_OK;
}
int bal_suite_end(void)
{
    bal_tokenizer_destroy(&tokenizer);
    return 0;
}

const char bal_suite_name[] = "data_corpus";
const bal_test bal_suite_tests[] = {
    {"windows score every token but the first once",
     test_windows_score_every_token_but_the_first_once},
    {"pieces of documents come after the start token and score every token once",
     test_pieces_of_documents_come_after_the_start_token},
    {"a draw is a pure function of seed, step and slot",
     test_a_draw_is_a_pure_function_of_seed_step_and_slot},
    {"drawn windows start at any token and stay inside",
     test_drawn_windows_start_at_any_token_and_stay_inside},
    {"drawn documents are consecutive examples and cover all",
     test_drawn_documents_are_consecutive_examples_and_cover_all},
    {"the hash tells texts and cuts apart", test_the_hash_tells_texts_and_cuts_apart},
    {"masked examples hide 15 percent", test_masked_examples_hide_15_percent},
    {"texts that are missing, empty or too short are named",
     test_texts_that_are_missing_empty_or_too_short_are_named},
    {"the shortest text is one window", test_the_shortest_text_is_one_window},
    {NULL, NULL},
};
