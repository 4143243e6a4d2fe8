/* model_probe.c: the two losses of a probe are those of two models whose codes were moved. */
#include "toy.h"

#define N_SEQUENCES 5

/* Loss of each sequence and in all, at + and - of a direction, or at the codes themselves. */
typedef struct found {
    bal_losses losses[2];
    int64_t per_sequence[2][N_SEQUENCES];
} found;

static void lose(const bal_model *model, bal_isa isa, const bal_batch *batch,
                 const bal_direction *direction, found *result)
{
    bal_forward *forward = NULL;
    CU_ASSERT_EQUAL_FATAL(
        bal_forward_create(model, bal_kernels_at(isa), batch->n_tokens, TOY_CONTEXT, &forward),
        BAL_OK);
    memset(result, 0xAA, sizeof *result); /* nothing of what was there before counts */
    for (int sign = 0; sign < 2; ++sign) result->losses[sign].answers = result->per_sequence[sign];
    CU_ASSERT_EQUAL(bal_forward_losses(forward, batch, direction, result->losses), BAL_OK);
    bal_forward_destroy(&forward);
}

static bool same(const found *a, int sign_a, const found *b, int sign_b)
{
    return a->losses[sign_a].loss == b->losses[sign_b].loss &&
           a->losses[sign_a].n_right == b->losses[sign_b].n_right &&
           memcmp(a->per_sequence[sign_a], b->per_sequence[sign_b], sizeof *a->per_sequence) == 0;
}

/* Move every code that may move by sign * z, one at a time, by the rule of the gate. */
static void move_by_hand(bal_model *model, const bal_direction *direction, int sign)
{
    for (int index = 0; index < bal_model_tensors(model)->n; ++index) {
        bal_tensor *tensor = &bal_model_tensors(model)->at[index];
        int64_t n = tensor->n_blocks * BAL_BLOCK_CODES;
        int8_t *z = bal_alloc((size_t)n, 1);
        CU_ASSERT_PTR_NOT_NULL_FATAL(z);
        bal_direction_fill(direction, index, 0, tensor->n_blocks, z);
        for (int64_t i = 0; i < n; ++i) {
            int code = bal_tensor_code(tensor, i);
            if (code - abs(z[i]) >= tensor->low && code + abs(z[i]) <= tensor->high)
                code += sign * z[i];
            bal_tensor_put(tensor, i, code);
        }
        free(z);
    }
}

/* Is it in the second layer, or after the layers? */
static bool is_above(const char *name, bool or_after)
{
    return strstr(name, "layers.1.") != NULL ||
           (or_after && (strncmp(name, "model.norm", 10) == 0 || strncmp(name, "lm_head", 7) == 0));
}

/* Two slots in one pass cost what each costs alone, and that is what it costs at + of both sides.
 */
static void check_slots(const bal_model *model, const bal_batch *batch, bal_direction direction)
{
    for (int isa = BAL_ISA_REF; isa <= (int)bal_isa_best(); ++isa) {
        found together, alone, sides;
        direction.measure.kernels = bal_kernels_at((bal_isa)isa);
        direction.n_one_sided = 2;
        lose(model, (bal_isa)isa, batch, &direction, &together);
        for (uint32_t i = 0; i < 2; ++i) {
            bal_direction own = direction;
            own.slot += i;
            own.n_one_sided = 1;
            lose(model, (bal_isa)isa, batch, &own, &alone);
            own.n_one_sided = 0;
            lose(model, (bal_isa)isa, batch, &own, &sides);
            CU_ASSERT(same(&together, (int)i, &alone, 0));
            CU_ASSERT(same(&together, (int)i, &sides, 0));
        }
    }
}

static void test_a_probe_costs_what_models_moved_by_hand_cost(void)
{
    static const struct {
        bal_direction_kind kind;
        int64_t noise;
        double density;
    } kinds[] = {
        {BAL_DIRECTIONS_WALSH, 1, 1.0},       {BAL_DIRECTIONS_WALSH, 1, 0.3},
        {BAL_DIRECTIONS_INDEPENDENT, 1, 1.0}, {BAL_DIRECTIONS_INDEPENDENT, 1, 0.3},
        {BAL_DIRECTIONS_UNIFORM, 9, 1.0},     {BAL_DIRECTIONS_UNIFORM, 63, 0.3},
    };
    bool on_ballot[64];
    for (int run = 0; run < 7 * N_TOY_KINDS; ++run) {
        int part =
            run % 7; /* all, half; matrices, vectors, gains; upper layers, the second alone */
        bal_model *model = toy_kind(run / 7);
        bal_batch batch = toy_batch(N_SEQUENCES, TOY_VOCAB);
        found base;
        CU_ASSERT_FATAL(bal_model_tensors(model)->n <= 64);
        for (int i = 0; i < bal_model_tensors(model)->n; ++i)
            on_ballot[i] = part == 0 || (part == 1 && i % 2 == 0) ||
                           (int)bal_model_tensors(model)->at[i].role == part - 2 ||
                           (part > 4 && is_above(bal_model_tensors(model)->at[i].name, part == 5));
        lose(model, BAL_ISA_REF, &batch, NULL, &base);
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; ++k) {
            bal_direction direction = {
                .measure = {.kernels = bal_kernels_at(BAL_ISA_REF),
                            .options = {kinds[k].kind, kinds[k].noise, kinds[k].density},
                            .seed = SEED,
                            .step = 3,
                            .on_ballot = on_ballot},
                .slot = 259 + (uint32_t)k};
            bal_model *moved[2] = {copy_of(model), copy_of(model)};
            found probe, by_hand[2];
            for (int sign = 0; sign < 2; ++sign) {
                move_by_hand(moved[sign], &direction, 1 - 2 * sign);
                lose(moved[sign], BAL_ISA_REF, &batch, NULL, &by_hand[sign]);
                CU_ASSERT_FALSE(same(&base, 0, &by_hand[sign], 0));
            }
            CU_ASSERT_FALSE(same(&by_hand[0], 0, &by_hand[1], 0));
            for (int isa = BAL_ISA_REF; isa <= (int)bal_isa_best(); ++isa) {
                direction.measure.kernels = bal_kernels_at((bal_isa)isa);
                lose(model, (bal_isa)isa, &batch, &direction, &probe);
                bool right = same(&probe, 0, &by_hand[0], 0) && same(&probe, 1, &by_hand[1], 0);
                CU_ASSERT(right);
                if (!right)
                    printf(
                        "\n    seed %u, %s, kind %zu, run %d: %lld and %lld, by hand %lld and "
                        "%lld",
                        SEED, bal_kernels_at((bal_isa)isa)->name, k, run,
                        (long long)probe.losses[0].loss, (long long)probe.losses[1].loss,
                        (long long)by_hand[0].losses[0].loss, (long long)by_hand[1].losses[0].loss);
            }
            check_slots(model, &batch, direction);
            bal_model_destroy(&moved[0]);
            bal_model_destroy(&moved[1]);
        }
        bal_batch_clear(&batch);
        bal_model_destroy(&model);
    }
}

static bal_direction walsh(const bool *on_ballot)
{
    return (bal_direction){
        .measure = {.kernels = bal_kernels_at(bal_isa_best()),
                    .options = {.kind = BAL_DIRECTIONS_WALSH, .noise = 1, .density = 1.0},
                    .seed = SEED,
                    .step = 1,
                    .on_ballot = on_ballot},
        .slot = 17};
}

static void test_a_probe_leaves_the_codes_alone(void)
{
    bal_model *model = toy_model(false);
    bal_batch batch = toy_batch(N_SEQUENCES, TOY_VOCAB);
    bool all[64];
    found result;
    memset(all, true, sizeof all);
    bal_direction direction = walsh(all);
    uint64_t before = bal_tensors_fingerprint(bal_model_tensors(model));
    lose(model, bal_isa_best(), &batch, &direction, &result);
    lose(model, bal_isa_best(), &batch, NULL, &result);
    CU_ASSERT_EQUAL(bal_tensors_fingerprint(bal_model_tensors(model)), before);
    bal_batch_clear(&batch);
    bal_model_destroy(&model);
}

static void check_company(bal_model *model)
{
    bal_batch batch = toy_batch(N_SEQUENCES, TOY_VOCAB);
    bool all[64];
    found together, alone;
    memset(all, true, sizeof all);
    bal_direction direction = walsh(all);
    lose(model, bal_isa_best(), &batch, &direction, &together);
    for (int sign = 0; sign < 2; ++sign) {
        int64_t sum = 0;
        for (int s = 0; s < N_SEQUENCES; ++s) sum += together.per_sequence[sign][s];
        CU_ASSERT_EQUAL(sum, together.losses[sign].loss);
    }
    int64_t n_right = 0;
    for (int s = 0; s < N_SEQUENCES; ++s) {
        bal_batch one;
        CU_ASSERT_EQUAL_FATAL(bal_batch_init(&one, bal_batch_text(1, TOY_CONTEXT)), BAL_OK);
        for (int64_t i = batch.start[s]; i < batch.start[s + 1]; ++i)
            bal_batch_add(&one, batch.tokens[i], batch.scored[i].word); /* all are scored */
        bal_batch_end(&one);
        lose(model, bal_isa_best(), &one, &direction, &alone);
        CU_ASSERT_EQUAL(alone.losses[0].loss, together.per_sequence[0][s]);
        CU_ASSERT_EQUAL(alone.losses[1].loss, together.per_sequence[1][s]);
        n_right += alone.losses[0].n_right;
        bal_batch_clear(&one);
    }
    CU_ASSERT_EQUAL(n_right, together.losses[0].n_right);
    bal_batch_clear(&batch);
    bal_model_destroy(&model);
}

static void test_a_sequence_costs_the_same_in_any_company(void)
{
    for (int kind = 0; kind < N_TOY_KINDS; ++kind) check_company(toy_kind(kind));
}

/* Losses of the scored targets alone. */
static void test_targets_below_0_are_not_scored(void)
{
    bal_model *model = toy_kind(3);
    bal_batch batch = toy_batch(N_SEQUENCES, TOY_VOCAB);
    found all, some, rest;
    lose(model, bal_isa_best(), &batch, NULL, &all);
    for (int half = 0; half < 2; ++half) {
        bal_batch part = toy_batch(N_SEQUENCES, TOY_VOCAB);
        part.n_scored = 0;
        for (int64_t i = half; i < part.n_tokens; i += 2)
            part.scored[part.n_scored++] = batch.scored[i];
        lose(model, bal_isa_best(), &part, NULL, half == 0 ? &some : &rest);
        bal_batch_clear(&part);
    }
    CU_ASSERT_EQUAL(some.losses[0].loss + rest.losses[0].loss, all.losses[0].loss);
    CU_ASSERT_EQUAL(some.losses[0].n_right + rest.losses[0].n_right, all.losses[0].n_right);
    CU_ASSERT(some.losses[0].loss > 0 && rest.losses[0].loss > 0);
    bal_batch_clear(&batch);
    bal_model_destroy(&model);
}

static void test_what_earlier_passes_left_behind_does_not_matter(void)
{
    bal_model *model = toy_model(false);
    bal_batch batch = toy_batch(N_SEQUENCES, TOY_VOCAB), small = toy_batch(1, TOY_VOCAB);
    bal_forward *forward = NULL;
    bal_losses first[2] = {{0}}, again[2] = {{0}};
    bool all[64];
    float *logits = bal_alloc(TOY_CONTEXT * TOY_VOCAB, sizeof *logits);
    memset(all, true, sizeof all);
    bal_direction direction = walsh(all);
    CU_ASSERT_PTR_NOT_NULL_FATAL(logits);
    CU_ASSERT_EQUAL_FATAL(bal_forward_create(model, bal_kernels_at(bal_isa_best()), batch.n_tokens,
                                             TOY_CONTEXT, &forward),
                          BAL_OK);
    CU_ASSERT_EQUAL(bal_forward_losses(forward, &small, &direction, first), BAL_OK);
    CU_ASSERT_EQUAL(bal_forward_losses(forward, &batch, &direction, again), BAL_OK);
    CU_ASSERT_EQUAL(bal_forward_logits(forward, batch.tokens, TOY_CONTEXT, logits), BAL_OK);
    CU_ASSERT_EQUAL(bal_forward_losses(forward, &small, &direction, again), BAL_OK);
    CU_ASSERT(first[0].loss == again[0].loss && first[1].loss == again[1].loss);
    free(logits);
    bal_forward_destroy(&forward);
    bal_batch_clear(&batch);
    bal_batch_clear(&small);
    bal_model_destroy(&model);
}

static void test_losses_are_those_of_the_logits(void)
{
    bal_model *model = toy_model(true);
    bal_batch batch = toy_batch(N_SEQUENCES, TOY_VOCAB);
    bal_forward *forward = NULL;
    found result;
    int64_t n_right = 0;
    lose(model, BAL_ISA_REF, &batch, NULL, &result);
    CU_ASSERT_EQUAL_FATAL(
        bal_forward_create(model, bal_kernels_at(BAL_ISA_REF), TOY_CONTEXT, TOY_CONTEXT, &forward),
        BAL_OK);
    for (int s = 0; s < N_SEQUENCES; ++s) {
        float logits[TOY_CONTEXT][TOY_VOCAB];
        const int32_t *tokens = batch.tokens + batch.start[s];
        int64_t length = batch.start[s + 1] - batch.start[s];
        double nats = 0.0;
        CU_ASSERT_EQUAL(bal_forward_logits(forward, tokens, length, logits[0]), BAL_OK);
        for (int64_t t = 0; t < length; ++t) {
            int target = batch.scored[batch.start[s] + t].word, top = 0;
            double sum = 0.0;
            for (int w = 0; w < TOY_VOCAB; ++w) {
                sum += exp((double)logits[t][w]);
                if (logits[t][w] > logits[t][top]) top = w;
            }
            nats += log(sum) - (double)logits[t][target];
            n_right += top == target;
        }
        double units = nats * BAL_LOSS_UNITS_PER_NAT; /* each token rounds to a unit */
        CU_ASSERT(fabs((double)result.per_sequence[0][s] - units) <= (double)length + 2e-6 * units);
    }
    CU_ASSERT_EQUAL(n_right, result.losses[0].n_right);
    bal_forward_destroy(&forward);
    bal_batch_clear(&batch);
    bal_model_destroy(&model);
}

static void test_later_tokens_do_not_change_earlier_logits(void)
{
    bal_model *model = toy_model(false);
    bal_forward *forward = NULL;
    float full[TOY_CONTEXT][TOY_VOCAB], part[TOY_CONTEXT][TOY_VOCAB];
    bal_batch batch = toy_batch(1, TOY_VOCAB);
    CU_ASSERT_EQUAL_FATAL(bal_forward_create(model, bal_kernels_at(bal_isa_best()), TOY_CONTEXT,
                                             TOY_CONTEXT, &forward),
                          BAL_OK);
    CU_ASSERT_EQUAL(bal_forward_logits(forward, batch.tokens, TOY_CONTEXT, full[0]), BAL_OK);
    for (int64_t n = 1; n < TOY_CONTEXT; ++n) {
        CU_ASSERT_EQUAL(bal_forward_logits(forward, batch.tokens, n, part[0]), BAL_OK);
        CU_ASSERT_EQUAL(memcmp(full, part, (size_t)n * sizeof *full), 0);
    }
    bal_forward_destroy(&forward);
    bal_batch_clear(&batch);
    bal_model_destroy(&model);
}

static void test_a_loss_that_is_not_finite_is_an_error(void)
{
    static const float bad[] = {INFINITY, NAN, 3e38f};
    bal_batch batch = toy_batch(1, TOY_VOCAB);
    for (int i = 0; i < 3; ++i)
        for (int last = 0; last < 2; ++last) { /* from inside the model, or at its head alone */
            bal_model *model = toy_model(false);
            const char *name = last ? "lm_head.weight" : "model.layers.0.mlp.down_proj.weight";
            bal_forward *forward = NULL;
            bal_losses losses = {0};
            bal_tensor *tensor =
                &bal_model_tensors(model)->at[bal_tensors_find(bal_model_tensors(model), name)];
            for (int64_t row = 0; row < tensor->n_rows; ++row) tensor->scale[row] = bad[i];
            CU_ASSERT_EQUAL_FATAL(bal_forward_create(model, bal_kernels_at(bal_isa_best()),
                                                     TOY_CONTEXT, TOY_CONTEXT, &forward),
                                  BAL_OK);
            bal_status status = bal_forward_losses(forward, &batch, NULL, &losses);
            CU_ASSERT_EQUAL(status, BAL_ERR_NUMERIC);
            if (status != BAL_ERR_NUMERIC)
                printf("\n    scale %g in %s: loss %lld units", (double)bad[i], name,
                       (long long)losses.loss);
            bal_forward_destroy(&forward);
            bal_model_destroy(&model);
        }
    bal_batch_clear(&batch);
}

const char bal_suite_name[] = "model_probe";
const bal_test bal_suite_tests[] = {
    {"a probe costs what models moved by hand cost",
     test_a_probe_costs_what_models_moved_by_hand_cost},
    {"a probe leaves the codes alone", test_a_probe_leaves_the_codes_alone},
    {"a sequence costs the same in any company", test_a_sequence_costs_the_same_in_any_company},
    {"targets below 0 are not scored", test_targets_below_0_are_not_scored},
    {"what earlier passes left behind does not matter",
     test_what_earlier_passes_left_behind_does_not_matter},
    {"losses are those of the logits", test_losses_are_those_of_the_logits},
    {"later tokens do not change earlier logits", test_later_tokens_do_not_change_earlier_logits},
    {"a loss that is not finite is an error", test_a_loss_that_is_not_finite_is_an_error},
    {NULL, NULL},
};
