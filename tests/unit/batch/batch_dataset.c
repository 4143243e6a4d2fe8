/* batch_dataset.c: a data set of one's own gives batches, numbered and drawn. */
#include <string.h>

#include "ballot/batch.h"
#include "suite.h"

#define N_EXAMPLES 5
#define CONTEXT 4

static int n_destroyed;

/* Example i is i + 1 tokens, 10 i, 10 i + 1, ..., but the last at most CONTEXT; the first of each
 * is not scored. */
static void take(const void *self, int64_t index, bal_batch *batch)
{
    CU_ASSERT_STRING_EQUAL((const char *)self, "mine");
    int32_t n = index + 1 < CONTEXT ? (int32_t)index + 1 : CONTEXT;
    for (int32_t i = 0; i < n; ++i) bal_batch_add(batch, 10 * (int32_t)index + i, i == 0 ? -1 : i);
    bal_batch_end(batch);
}

static void draw(const void *self, uint64_t random, bal_batch *batch)
{
    take(self, (int64_t)(random % N_EXAMPLES), batch);
}

static void destroy(void *self)
{
    CU_ASSERT_STRING_EQUAL((char *)self, "mine");
    ++n_destroyed;
}

static bal_dataset mine(void)
{
    static char self[] = "mine";
    return (bal_dataset){
        .n_examples = N_EXAMPLES, .self = self, .take = take, .draw = draw, .destroy = destroy};
}

static bal_batch batch_of(int64_t n_examples)
{
    bal_batch batch;
    CU_ASSERT_EQUAL_FATAL(bal_batch_init(&batch, bal_batch_text(n_examples, CONTEXT)), BAL_OK);
    return batch;
}

static bool same(const bal_batch *a, const bal_batch *b)
{
    return a->n_sequences == b->n_sequences && a->n_tokens == b->n_tokens &&
           memcmp(a->start, b->start, (size_t)(a->n_sequences + 1) * sizeof *a->start) == 0 &&
           memcmp(a->tokens, b->tokens, (size_t)a->n_tokens * sizeof *a->tokens) == 0;
}

static void test_numbered_examples_stand_end_to_end(void)
{
    bal_dataset data = mine();
    bal_batch batch = batch_of(3);
    for (int round = 0; round < 2; ++round) { /* a batch is emptied before it is filled */
        bal_dataset_take(&data, 1, 3, &batch);
        CU_ASSERT_EQUAL(batch.n_sequences, 3);
        CU_ASSERT_EQUAL(batch.n_tokens, 2 + 3 + 4);
        CU_ASSERT_EQUAL(batch.n_scored, 1 + 2 + 3);
        const int64_t start[] = {0, 2, 5, 9};
        const int32_t tokens[] = {10, 11, 20, 21, 22, 30, 31, 32, 33};
        const bal_scored scored[] = {{1, 1, 0}, {3, 1, 1}, {4, 2, 1},
                                     {6, 1, 2}, {7, 2, 2}, {8, 3, 2}};
        CU_ASSERT_EQUAL(memcmp(batch.start, start, sizeof start), 0);
        CU_ASSERT_EQUAL(memcmp(batch.tokens, tokens, sizeof tokens), 0);
        CU_ASSERT_EQUAL(memcmp(batch.scored, scored, sizeof scored), 0);
    }
    bal_batch_clear(&batch);
}

static void test_a_draw_depends_on_seed_step_and_slot_alone(void)
{
    bal_dataset data = mine();
    const bal_kernels *best = bal_kernels_at(bal_isa_best()), *ref = bal_kernels_at(BAL_ISA_REF);
    bal_batch first = batch_of(BAL_BATCH_MAX), again = batch_of(BAL_BATCH_MAX);
    bal_dataset_draw(&data, best, 1, 2, 3, BAL_BATCH_MAX, &first);
    bal_dataset_draw(&data, best, 9, 9, 9, 7, &again); /* nothing is remembered */
    bal_dataset_draw(&data, ref, 1, 2, 3, BAL_BATCH_MAX, &again);
    CU_ASSERT(same(&first, &again));
    const uint32_t others[][3] = {{2, 2, 3}, {1, 3, 3}, {1, 2, 4}};
    for (int i = 0; i < 3; ++i) {
        const uint32_t *of = others[i];
        bal_dataset_draw(&data, ref, of[0], of[1], of[2], BAL_BATCH_MAX, &again);
        CU_ASSERT(!same(&first, &again));
    }
    bal_batch_clear(&first);
    bal_batch_clear(&again);
}

static void test_a_shorter_draw_is_the_beginning_of_a_longer_one(void)
{
    bal_dataset data = mine();
    const bal_kernels *kernels = bal_kernels_at(bal_isa_best());
    bal_batch all = batch_of(BAL_BATCH_MAX), few = batch_of(5);
    bal_dataset_draw(&data, kernels, 1, 2, 3, BAL_BATCH_MAX, &all);
    bal_dataset_draw(&data, kernels, 1, 2, 3, 5, &few);
    CU_ASSERT_EQUAL(few.n_tokens, all.start[5]);
    CU_ASSERT_EQUAL(memcmp(few.start, all.start, 6 * sizeof *few.start), 0);
    CU_ASSERT_EQUAL(memcmp(few.tokens, all.tokens, (size_t)few.n_tokens * sizeof *few.tokens), 0);
    bal_batch_clear(&all);
    bal_batch_clear(&few);
}

static void test_clearing_destroys_once(void)
{
    bal_dataset data = mine(), none = {0}, static_data = mine();
    n_destroyed = 0;
    bal_dataset_clear(&data);
    CU_ASSERT_EQUAL(n_destroyed, 1);
    CU_ASSERT_EQUAL(data.n_examples, 0);
    bal_dataset_clear(&data);
    bal_dataset_clear(&none);
    static_data.destroy = NULL;
    bal_dataset_clear(&static_data);
    CU_ASSERT_EQUAL(n_destroyed, 1);
}

const char bal_suite_name[] = "batch_dataset";
const bal_test bal_suite_tests[] = {
    {"numbered examples stand end to end", test_numbered_examples_stand_end_to_end},
    {"a draw depends on seed, step and slot alone",
     test_a_draw_depends_on_seed_step_and_slot_alone},
    {"a shorter draw is the beginning of a longer one",
     test_a_shorter_draw_is_the_beginning_of_a_longer_one},
    {"clearing destroys once", test_clearing_destroys_once},
    {NULL, NULL},
};
