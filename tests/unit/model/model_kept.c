/* model_kept.c: what is kept of texts gives the bits that computing it gives; a base that reads
 * prompts is a model of its own. */
#include "branches.h"

#define N_FOUND (N_PROMPTS * N_ANSWERS)
#define STORE_BYTES (1 << 20)

/* Losses of a batch by a forward pass, at both signs of a direction or at the code itself. */
static void lose(bal_forward *forward, const bal_batch *batch, const bal_direction *direction,
                 int64_t found[2][N_FOUND])
{
    bal_losses losses[2] = {{.answers = found[0]}, {.answers = found[1]}};
    memset(found, 0, 2 * sizeof *found);
    CU_ASSERT_EQUAL(bal_forward_losses(forward, batch, direction, losses), BAL_OK);
}

static bal_forward *forward_of(const bal_model *model, int isa, const bal_keep *keep)
{
    bal_forward *forward = NULL;
    CU_ASSERT_EQUAL_FATAL(bal_forward_create(model, bal_kernels_at((bal_isa)isa), 6 * TOY_CONTEXT,
                                             TOY_CONTEXT, &forward),
                          BAL_OK);
    bal_forward_keep(forward, keep);
    return forward;
}

static bal_store *new_store(size_t n_bytes)
{
    void *memory = aligned_alloc(64, n_bytes);
    CU_ASSERT_PTR_NOT_NULL_FATAL(memory);
    memset(memory, 0xAA, n_bytes);
    return bal_store_empty(memory, n_bytes);
}

static bal_direction direction_of(const bool *on_ballot, uint32_t slot)
{
    bal_measure measure = {.kernels = bal_kernels_at(bal_isa_best()),
                           .options = {.noise = 1, .density = 1.0},
                           .seed = SEED,
                           .on_ballot = on_ballot};
    return (bal_direction){.measure = measure, .slot = slot};
}

static bool is_encoder(const bal_model *model)
{
    return (bal_model_shape(model)->features & BAL_ENCODER) != 0;
}

/* The last layer and what follows, or everything. */
static void put_on_ballot(const bal_model *model, bool all, bool on_ballot[64])
{
    const bal_tensors *tensors = bal_model_tensors(model);
    for (int i = 0; i < tensors->n; ++i)
        on_ballot[i] = all || strstr(tensors->at[i].name, "layers.1.") != NULL ||
                       strncmp(tensors->at[i].name, "model.norm", 10) == 0;
}

static bal_model *next_kind(int *kind)
{
    bal_model *model = NULL;
    while (++*kind < N_TOY_KINDS) {
        model = toy_kind(*kind);
        if (!is_encoder(model)) return model;
        bal_model_destroy(&model);
    }
    return NULL;
}

/* Move the codes on the ballot, as votes would. */
static void tune(bal_model *model, const bool *on_ballot, int by)
{
    bal_tensors *tensors = bal_model_tensors(model);
    uint64_t state = SEED + (uint64_t)by;
    for (int index = 0; index < tensors->n; ++index) {
        bal_tensor *t = &tensors->at[index];
        for (int64_t i = 0; i < t->n_blocks * BAL_BLOCK_CODES && on_ballot[index]; ++i) {
            int code = bal_tensor_code(t, i) + (int)(bal_test_random(&state) % 3) - 1;
            if (code >= t->low && code <= t->high) bal_tensor_put(t, i, code);
        }
    }
}

static void test_a_base_with_the_same_codes_changes_nothing(void)
{
    bal_batch tree = branched(false), whole = written_out();
    bool on_ballot[64];
    int kind = -1;
    for (bal_model *model; (model = next_kind(&kind)) != NULL; bal_model_destroy(&model))
        for (int run = 0; run < 2 * ((int)bal_isa_best() + 1); ++run) {
            int64_t alone[2][N_FOUND], based[2][N_FOUND], again[2][N_FOUND];
            put_on_ballot(model, run % 2 == 0, on_ballot);
            bal_forward *plain = forward_of(model, run / 2, &(bal_keep){0});
            bal_forward *kept = forward_of(model, run / 2, &(bal_keep){on_ballot, model, NULL});
            lose(plain, &tree, NULL, alone);
            lose(kept, &tree, NULL, based);
            CU_ASSERT_EQUAL(memcmp(alone, based, sizeof alone), 0);
            lose(kept, &whole, NULL, again);
            CU_ASSERT_EQUAL(memcmp(based, again, sizeof again), 0);
            bal_forward_destroy(&plain);
            bal_forward_destroy(&kept);
        }
    bal_batch_clear(&tree);
    bal_batch_clear(&whole);
}

/* Loss of an answer to a prompt, in loss units: one model reads the prompt up to its last token,
 * word by word the other goes on. */
static double by_two_models(const bal_model *base, const bal_model *model, int prompt, int answer)
{
    bal_forward *reads = forward_of(base, BAL_ISA_REF, &(bal_keep){0}),
                *answers_it = forward_of(model, BAL_ISA_REF, &(bal_keep){0});
    bal_cache *cache = NULL;
    float logits[TOY_VOCAB];
    double units = 0.0;
    CU_ASSERT_EQUAL_FATAL(bal_cache_create(base, TOY_CONTEXT, &cache), BAL_OK);
    CU_ASSERT_EQUAL(bal_forward_extend(reads, cache, common, 3, NULL), BAL_OK);
    CU_ASSERT_EQUAL(bal_forward_extend(reads, cache, prompts[prompt], 3, NULL), BAL_OK);
    const int32_t *next = &prompts[prompt][3];
    for (int i = 0; i < lengths[answer]; ++i) {
        double sum = 0.0;
        CU_ASSERT_EQUAL(bal_forward_extend(answers_it, cache, next, 1, logits), BAL_OK);
        next = &answers[answer][i];
        for (int w = 0; w < TOY_VOCAB; ++w) sum += exp((double)logits[w]);
        units += (log(sum) - (double)logits[*next]) * BAL_LOSS_UNITS_PER_NAT;
    }
    bal_cache_destroy(&cache);
    bal_forward_destroy(&reads);
    bal_forward_destroy(&answers_it);
    return units;
}

static void test_moved_codes_answer_what_the_base_has_read(void)
{
    bal_batch tree = branched(false);
    bool on_ballot[64];
    int kind = -1, n_moved = 0;
    for (bal_model *base; (base = next_kind(&kind)) != NULL; bal_model_destroy(&base))
        for (int run = 0; run < 2; ++run) {
            bal_model *model = copy_of(base);
            int64_t plain[2][N_FOUND], based[2][N_FOUND];
            put_on_ballot(model, run == 0, on_ballot);
            tune(model, on_ballot, 1);
            bal_forward *kept =
                forward_of(model, bal_isa_best(), &(bal_keep){on_ballot, base, NULL});
            bal_forward *alone = forward_of(model, bal_isa_best(), &(bal_keep){0});
            lose(kept, &tree, NULL, based);
            lose(alone, &tree, NULL, plain);
            n_moved += memcmp(plain, based, sizeof plain) != 0;
            for (int i = 0; i < N_FOUND; ++i) {
                double units = by_two_models(base, model, i / N_ANSWERS, i % N_ANSWERS);
                CU_ASSERT(fabs((double)based[0][i] - units) <= 4.0 + 2e-6 * units);
            }
            bal_forward_destroy(&kept);
            bal_forward_destroy(&alone);
            bal_model_destroy(&model);
        }
    CU_ASSERT_EQUAL(n_moved, 2 * (N_TOY_KINDS - 1)); /* the base makes a difference */
    bal_batch_clear(&tree);
}

/* Move the codes by a direction where they may move. */
static void move_by(bal_model *model, const bal_direction *direction)
{
    bal_tensors *tensors = bal_model_tensors(model);
    for (int index = 0; index < tensors->n; ++index) {
        bal_tensor *t = &tensors->at[index];
        int64_t n = t->n_blocks * BAL_BLOCK_CODES;
        int8_t *z = bal_alloc((size_t)n, 1);
        CU_ASSERT_PTR_NOT_NULL_FATAL(z);
        bal_direction_fill(direction, index, 0, t->n_blocks, z);
        for (int64_t i = 0; i < n; ++i) {
            int code = bal_tensor_code(t, i);
            if (code - abs(z[i]) >= t->low && code + abs(z[i]) <= t->high) code += z[i];
            bal_tensor_put(t, i, code);
        }
        free(z);
    }
}

static void test_only_the_answer_is_perturbed(void)
{
    bal_batch tree = branched(false);
    bool on_ballot[64];
    int kind = -1;
    for (bal_model *base; (base = next_kind(&kind)) != NULL; bal_model_destroy(&base))
        for (int run = 0; run < 2; ++run) {
            bal_model *moved = copy_of(base);
            int64_t probed[2][N_FOUND], by_hand[2][N_FOUND];
            put_on_ballot(base, run == 0, on_ballot);
            bal_direction direction = direction_of(on_ballot, 3);
            move_by(moved, &direction);
            bal_keep keep = {on_ballot, base, NULL};
            bal_forward *probe = forward_of(base, bal_isa_best(), &keep);
            bal_forward *plain = forward_of(moved, bal_isa_best(), &keep);
            lose(probe, &tree, &direction, probed);
            lose(plain, &tree, NULL, by_hand);
            CU_ASSERT_EQUAL(memcmp(probed[0], by_hand[0], sizeof *probed), 0);
            CU_ASSERT_NOT_EQUAL(memcmp(probed[0], probed[1], sizeof *probed), 0);
            bal_forward_destroy(&probe);
            bal_forward_destroy(&plain);
            bal_model_destroy(&moved);
        }
    bal_batch_clear(&tree);
}

/* Texts from a store with room for all, for some, for none, or held: the same bits. */
static void test_texts_that_are_kept_have_the_same_bits(void)
{
    static const size_t sizes[] = {STORE_BYTES, 2 * BAL_STORE_BYTES_MIN, BAL_STORE_BYTES_MIN};
    bal_batch tree = branched(false), whole = written_out();
    const bal_batch *batches[] = {&tree, &whole, &tree};
    bool on_ballot[64];
    int kind = -1;
    for (bal_model *model; (model = next_kind(&kind)) != NULL; bal_model_destroy(&model))
        for (int run = 0; run < 4;
             ++run) { /* all codes or the upper ones, with a base or without */
            put_on_ballot(model, run < 2, on_ballot);
            bal_keep keep = {on_ballot, run % 2 == 0 ? model : NULL, NULL};
            for (size_t size = 0; size < 3; ++size) {
                bal_keep stored = keep;
                stored.store = new_store(sizes[size]);
                bal_forward *without = forward_of(model, bal_isa_best(), &keep);
                bal_forward *with = forward_of(model, bal_isa_best(), &stored);
                for (uint32_t i = 0; i < 12; ++i) {
                    int64_t a[2][N_FOUND], b[2][N_FOUND];
                    bal_direction direction = direction_of(on_ballot, i);
                    const bal_direction *d = i % 4 == 3 ? NULL : &direction;
                    if (i % 4 == 0) bal_forward_hold(with, i / 4 % 2 == 0);
                    lose(without, batches[i / 4], d, a);
                    lose(with, batches[i / 4], d, b);
                    CU_ASSERT_EQUAL(memcmp(a, b, sizeof a), 0);
                }
                bal_forward_destroy(&without);
                bal_forward_destroy(&with);
                free(stored.store);
            }
        }
    bal_batch_clear(&tree);
    bal_batch_clear(&whole);
}

/* Once a text is in the store, nobody reads it again: not even another forward pass, and not if the
 * base has other codes by then. */
static void test_a_text_in_the_store_is_not_read_again(void)
{
    bal_batch tree = branched(false);
    bool on_ballot[64];
    bal_model *model = toy_kind(1), *base = copy_of(model);
    put_on_ballot(model, true, on_ballot);
    bal_keep keep = {on_ballot, base, new_store(STORE_BYTES)};
    int64_t before[2][N_FOUND], after[2][N_FOUND];
    bal_forward *first = forward_of(model, bal_isa_best(), &keep);
    lose(first, &tree, NULL, before);
    tune(base, on_ballot, 2);
    bal_forward *second = forward_of(model, bal_isa_best(), &keep);
    lose(second, &tree, NULL, after);
    CU_ASSERT_EQUAL(memcmp(before, after, sizeof before), 0);
    bal_store_empty(keep.store, STORE_BYTES);
    lose(second, &tree, NULL, after);
    CU_ASSERT_NOT_EQUAL(memcmp(before, after, sizeof before), 0);
    CU_ASSERT(bal_forward_keep_bytes(first, &tree) > 0);
    bal_forward_destroy(&first);
    bal_forward_destroy(&second);
    free(keep.store);
    bal_batch_clear(&tree);
    bal_model_destroy(&model);
    bal_model_destroy(&base);
}

/* Values in the store change their signs. After some passes losses are again what they were. */
static void test_a_text_that_a_fault_has_changed_is_read_again(void)
{
    bal_batch tree = branched(false);
    bool on_ballot[64];
    bal_model *model = toy_kind(1);
    put_on_ballot(model, true, on_ballot);
    bal_keep keep = {on_ballot, model, new_store(STORE_BYTES)};
    const size_t header = STORE_BYTES / 512 * sizeof(uint64_t) + 64; /* the slots */
    char *memory = (char *)keep.store;
    int64_t before[2][N_FOUND], after[2][N_FOUND];
    bal_forward *forward = forward_of(model, bal_isa_best(), &keep);
    lose(forward, &tree, NULL, before);
    int n_changed = 0;
    for (size_t round = 0; round < 3; ++round) {
        for (size_t i = 7 * round; i < 4000; i += 101) memory[header + 4 * i + 3] ^= (char)0x80;
        lose(forward, &tree, NULL, after);
        n_changed += memcmp(before, after, sizeof before) != 0;
        for (int i = 0; i < 20; ++i) lose(forward, &tree, NULL, after);
        CU_ASSERT_EQUAL(memcmp(before, after, sizeof before), 0);
    }
    CU_ASSERT(n_changed > 0);
    bal_forward_destroy(&forward);
    free(keep.store);
    bal_batch_clear(&tree);
    bal_model_destroy(&model);
}

static void test_a_pass_computes_what_the_base_does_not_read(void)
{
    bal_batch tree = branched(false), whole = written_out();
    bal_model *model = toy_kind(1);
    bal_forward *alone = forward_of(model, bal_isa_best(), &(bal_keep){.base = NULL});
    bal_forward *based = forward_of(model, bal_isa_best(), &(bal_keep){.base = model});
    CU_ASSERT_EQUAL(bal_forward_n_computed(alone, &tree), tree.n_tokens);
    /* the last token of a prompt, and an answer but for its last word */
    CU_ASSERT_EQUAL(bal_forward_n_computed(based, &tree), N_PROMPTS * (1 + 0 + 1 + 3));
    CU_ASSERT_EQUAL(bal_forward_n_computed(based, &whole), N_PROMPTS * (1 + 2 + 4));
    bal_forward_destroy(&alone);
    bal_forward_destroy(&based);
    bal_batch_clear(&tree);
    bal_batch_clear(&whole);
    bal_model_destroy(&model);
}

const char bal_suite_name[] = "model_kept";
const bal_test bal_suite_tests[] = {
    {"a base with the same codes changes nothing", test_a_base_with_the_same_codes_changes_nothing},
    {"moved codes answer what the base has read", test_moved_codes_answer_what_the_base_has_read},
    {"only the answer is perturbed", test_only_the_answer_is_perturbed},
    {"texts that are kept have the same bits", test_texts_that_are_kept_have_the_same_bits},
    {"a text in the store is not read again", test_a_text_in_the_store_is_not_read_again},
    {"a text that a fault has changed is read again",
     test_a_text_that_a_fault_has_changed_is_read_again},
    {"a pass computes what the base does not read",
     test_a_pass_computes_what_the_base_does_not_read},
    {NULL, NULL},
};
