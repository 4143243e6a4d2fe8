/* model_branches.c: what continues an earlier sequence costs what the whole costs. */
#include "branches.h"

static void lose(const bal_model *model, bal_isa isa, const bal_batch *batch,
                 const bal_direction *direction, int64_t found[2][N_PROMPTS * N_ANSWERS])
{
    bal_forward *forward = NULL;
    bal_losses losses[2] = {{.answers = found[0]}, {.answers = found[1]}};
    memset(found, 0xAA, 2 * sizeof *found);
    CU_ASSERT_EQUAL_FATAL(
        bal_forward_create(model, bal_kernels_at(isa), batch->n_tokens, TOY_CONTEXT, &forward),
        BAL_OK);
    CU_ASSERT_EQUAL(bal_forward_losses(forward, batch, direction, losses), BAL_OK);
    bal_forward_destroy(&forward);
}

static bal_direction direction_of(const bool *on_ballot)
{
    bal_measure measure = {.kernels = bal_kernels_at(bal_isa_best()),
                           .options = {.noise = 1, .density = 1.0},
                           .seed = SEED,
                           .on_ballot = on_ballot};
    return (bal_direction){.measure = measure, .slot = 3};
}

static void test_branches_cost_what_whole_sequences_cost(void)
{
    bal_batch tree = branched(false), whole = written_out();
    bool all[64];
    memset(all, true, sizeof all);
    bal_direction direction = direction_of(all);
    CU_ASSERT(tree.n_tokens < whole.n_tokens / 2);
    for (int kind = 0; kind < N_TOY_KINDS; ++kind) {
        bal_model *model = toy_kind(kind);
        bool encoder = (bal_model_shape(model)->features & BAL_ENCODER) != 0;
        for (int isa = BAL_ISA_REF; isa <= (int)bal_isa_best() && !encoder; ++isa) {
            int64_t a[2][N_PROMPTS * N_ANSWERS], b[2][N_PROMPTS * N_ANSWERS];
            lose(model, (bal_isa)isa, &tree, &direction, a);
            lose(model, (bal_isa)isa, &whole, &direction, b);
            CU_ASSERT_EQUAL(memcmp(a, b, sizeof a), 0);
            CU_ASSERT_NOT_EQUAL(a[0][0], a[1][0]);
        }
        bal_model_destroy(&model);
    }
    bal_batch_clear(&tree);
    bal_batch_clear(&whole);
}

/* A batch that continues the text of a cache, twice, after as much of another text is forgotten. */
static void test_a_beginning_is_read_once_for_many_batches(void)
{
    bal_batch tree = branched(false), rest = branched(true);
    CU_ASSERT_EQUAL(rest.n_tokens, tree.n_tokens - 3);
    for (int kind = 0; kind < N_TOY_KINDS; ++kind) {
        bal_model *model = toy_kind(kind);
        bool encoder = (bal_model_shape(model)->features & BAL_ENCODER) != 0;
        for (int isa = BAL_ISA_REF; isa <= (int)bal_isa_best() && !encoder; ++isa) {
            bal_forward *forward = NULL;
            bal_cache *cache = NULL;
            int64_t a[2][N_PROMPTS * N_ANSWERS], b[N_PROMPTS * N_ANSWERS];
            bal_losses losses = {.answers = b};
            lose(model, (bal_isa)isa, &tree, NULL, a);
            CU_ASSERT_EQUAL_FATAL(bal_forward_create(model, bal_kernels_at((bal_isa)isa),
                                                     rest.n_tokens, TOY_CONTEXT, &forward),
                                  BAL_OK);
            CU_ASSERT_EQUAL_FATAL(bal_cache_create(model, TOY_CONTEXT, &cache), BAL_OK);
            CU_ASSERT_EQUAL(bal_forward_extend(forward, cache, prompts[0], 4, NULL), BAL_OK);
            for (int round = 0; round < 2; ++round) {
                if (round == 0) bal_cache_keep(cache, 0);
                if (round == 0)
                    CU_ASSERT_EQUAL(bal_forward_extend(forward, cache, common, 3, NULL), BAL_OK);
                memset(b, 0xAA, sizeof b);
                CU_ASSERT_EQUAL(bal_forward_losses_after(forward, cache, &rest, &losses), BAL_OK);
                CU_ASSERT_EQUAL(memcmp(a[0], b, sizeof b), 0);
                CU_ASSERT_EQUAL(bal_cache_n(cache), 3);
            }
            bal_cache_destroy(&cache);
            bal_forward_destroy(&forward);
        }
        bal_model_destroy(&model);
    }
    bal_batch_clear(&tree);
    bal_batch_clear(&rest);
}

/* Words of one token each: all that they share cancels. */
static void test_relative_losses_differ_as_whole_ones_do(void)
{
    bal_model *model = toy_kind(0);
    bal_batch batch = empty();
    int64_t prompt = bal_batch_sequence(&batch, -1, prompts[0], 4);
    const int32_t words[] = {0,  82, 64,
                             63, 7,  82}; /* first and last of panels, one of them twice */
    bal_batch_ask(&batch, prompt, 6, 0, false);
    for (int i = 0; i < 6; ++i) bal_batch_answer(&batch, prompt, &words[i], 1);
    CU_ASSERT_EQUAL(batch.n_sequences, 1); /* no answer is read */
    int64_t whole[2][N_PROMPTS * N_ANSWERS], relative[2][N_PROMPTS * N_ANSWERS];
    bool all[64];
    memset(all, true, sizeof all);
    bal_direction direction = direction_of(all);
    lose(model, bal_isa_best(), &batch, &direction, whole);
    batch.aim.relative = true;
    lose(model, bal_isa_best(), &batch, &direction, relative);
    for (int sign = 0; sign < 2; ++sign)
        for (int i = 1; i < 6; ++i) {
            int64_t a = whole[sign][i] - whole[sign][0], b = relative[sign][i] - relative[sign][0];
            CU_ASSERT(llabs(a - b) <= 8); /* logits of about 1 are rounded to 2^-23 of that */
        }
    bal_batch_clear(&batch);
    bal_model_destroy(&model);
}

const char bal_suite_name[] = "model_branches";
const bal_test bal_suite_tests[] = {
    {"branches cost what whole sequences cost", test_branches_cost_what_whole_sequences_cost},
    {"a beginning is read once for many batches", test_a_beginning_is_read_once_for_many_batches},
    {"relative losses differ as whole ones do", test_relative_losses_differ_as_whole_ones_do},
    {NULL, NULL},
};
