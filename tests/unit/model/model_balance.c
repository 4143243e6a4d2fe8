/* model_balance.c: scales of columns that a text gives leave a model what it is. */
#include "ballot/balance.h"
#include "toy.h"

#define N_SEQUENCES 4

static bal_balance *read_batch(const bal_model *model, const bal_batch *batch, bal_isa isa)
{
    bal_balance *balance = NULL;
    bal_forward *forward = NULL;
    CU_ASSERT_EQUAL_FATAL(
        bal_forward_create(model, bal_kernels_at(isa), batch->n_tokens, TOY_CONTEXT, &forward),
        BAL_OK);
    CU_ASSERT_EQUAL_FATAL(bal_balance_create(model, &balance), BAL_OK);
    CU_ASSERT(!bal_balance_is_set(balance));
    CU_ASSERT_EQUAL(bal_balance_read(balance, forward, batch), BAL_OK);
    CU_ASSERT(bal_balance_is_set(balance));
    bal_forward_destroy(&forward);
    return balance;
}

static int64_t loss_of(const bal_model *model, const bal_batch *batch)
{
    bal_forward *forward = NULL;
    bal_losses losses = {0};
    CU_ASSERT_EQUAL_FATAL(bal_forward_create(model, bal_kernels_at(BAL_ISA_REF), batch->n_tokens,
                                             TOY_CONTEXT, &forward),
                          BAL_OK);
    CU_ASSERT_EQUAL(bal_forward_losses(forward, batch, NULL, &losses), BAL_OK);
    bal_forward_destroy(&forward);
    return losses.loss;
}

/* All of a tensor. */
static void scale(const bal_balance *balance, int index, const bal_tensor *tensor, float *values)
{
    bal_balance_scale(balance, &(bal_piece){.index = index, .n_rows = tensor->n_rows}, tensor,
                      values);
}

/* A model of floats with the weights of one of integers, scaled if there is a balance. *changed:
 * whether that changed any. */
static bal_model *floats_of(const bal_model *model, const bal_balance *balance, bool *changed)
{
    bal_model *floats = NULL;
    CU_ASSERT_EQUAL_FATAL(
        bal_model_create(bal_model_shape(model), &(bal_formats){.matrices = BAL_F32}, &floats),
        BAL_OK);
    const bal_tensors *from = bal_model_tensors(model);
    for (int i = 0; i < bal_model_tensors(floats)->n; ++i) {
        bal_tensor *to = &bal_model_tensors(floats)->at[i];
        int index = bal_tensors_find(from, to->name);
        size_t n = (size_t)bal_tensor_n(to);
        float *values = to->codes, *before = bal_alloc(n, sizeof *before);
        CU_ASSERT_PTR_NOT_NULL_FATAL(before);
        bal_tensors_dequantize(from, index, values);
        memcpy(before, values, n * sizeof *values);
        if (balance != NULL) scale(balance, index, to, values);
        if (memcmp(before, values, n * sizeof *values) != 0) *changed = true;
        free(before);
    }
    return floats;
}

static void test_a_scaled_model_of_floats_has_the_same_loss(void)
{
    static const bool scales[N_TOY_KINDS] = {true,  true, false,
                                             false, true, true}; /* not after norms */
    for (int kind = 0; kind < N_TOY_KINDS; ++kind) {
        bal_model *model = toy_kind(kind);
        bal_batch batch = toy_batch(N_SEQUENCES, TOY_VOCAB);
        bal_balance *balance = read_batch(model, &batch, BAL_ISA_REF);
        bool changed = false;
        bal_model *plain = floats_of(model, NULL, &changed);
        CU_ASSERT(!changed);
        bal_model *scaled = floats_of(model, balance, &changed);
        CU_ASSERT_EQUAL(changed, scales[kind]);
        int64_t a = loss_of(plain, &batch), b = loss_of(scaled, &batch);
        CU_ASSERT(llabs(a - b) < a / 10000000); /* floats are rounded otherwise */
        bal_model_destroy(&plain);
        bal_model_destroy(&scaled);
        bal_balance_destroy(&balance);
        bal_batch_clear(&batch);
        bal_model_destroy(&model);
    }
}

/* Scales of the columns of a matrix: what becomes of rows of ones. */
static void columns_of(const bal_balance *balance, int index, const bal_tensor *matrix,
                       float *columns)
{
    bal_tensor row = *matrix;
    row.n_rows = 1;
    for (int64_t col = 0; col < row.n_cols; ++col) columns[col] = 1.0f;
    scale(balance, index, &row, columns);
}

static void test_columns_make_up_for_the_rounding_of_the_norm_before_them(void)
{
    bal_model *model = toy_kind(0);
    bal_batch batch = toy_batch(N_SEQUENCES, TOY_VOCAB);
    bal_balance *balance = read_batch(model, &batch, BAL_ISA_REF);
    bal_tensors *tensors = bal_model_tensors(model);
    int norm = bal_tensors_find(tensors, "model.layers.1.input_layernorm.weight");
    int q = bal_tensors_find(tensors, "model.layers.1.self_attn.q_proj.weight");
    bal_tensor *vector = &tensors->at[norm];
    float values[20], before[20], back[20], columns[20];
    int8_t leftover[BAL_BLOCK_CODES] = {0};
    bool compensates = false;
    for (int i = 0; i < 20; ++i) before[i] = values[i] = 0.1f * (float)(i - 6);
    before[3] = values[3] = -1e-6f; /* would be no code at all */
    scale(balance, norm, vector, values);
    CU_ASSERT_EQUAL(bal_tensor_quantize(vector, values, leftover), BAL_OK);
    bal_tensor_dequantize(vector, back);
    columns_of(balance, q, &tensors->at[q], columns);
    for (int i = 0; i < 20; ++i) /* rounding did change something */
        compensates |= fabsf(back[i] * columns[i] - before[i]) > 1e-3f * fabsf(before[i]);
    CU_ASSERT(compensates);
    bal_balance_settle(balance, norm, vector, values, leftover);
    bal_tensor_dequantize(vector, back);
    columns_of(balance, q, &tensors->at[q], columns);
    for (int i = 0; i < 20; ++i) {
        CU_ASSERT(fabsf(back[i] * columns[i] - before[i]) <= 1e-6f * fabsf(before[i]));
        CU_ASSERT(i == 6 || back[i] != 0.0f);
        CU_ASSERT_EQUAL(leftover[i], 0);
    }
    bal_balance_destroy(&balance);
    bal_batch_clear(&batch);
    bal_model_destroy(&model);
}

static void test_weights_are_mean_squares_of_what_is_read_and_the_same_at_every_level(void)
{
    bal_model *model = toy_kind(1);
    bal_batch batch = toy_batch(N_SEQUENCES, TOY_VOCAB);
    bal_balance *ref = read_batch(model, &batch, BAL_ISA_REF);
    bal_balance *best = read_batch(model, &batch, bal_isa_best());
    const bal_tensors *tensors = bal_model_tensors(model);
    int n = 0;
    for (int i = 0; i < tensors->n; ++i) {
        const float *a = bal_balance_weights(ref, i), *b = bal_balance_weights(best, i);
        CU_ASSERT_EQUAL(a == NULL, b == NULL);
        CU_ASSERT(a == NULL || tensors->at[i].role == BAL_MATRIX);
        if (a == NULL) continue;
        ++n;
        CU_ASSERT_EQUAL(memcmp(a, b, (size_t)tensors->at[i].n_cols * sizeof *a), 0);
    }
    CU_ASSERT_EQUAL(n, 2 * 7 + 1); /* all matrices but the embedding */
    int o = bal_tensors_find(tensors, "model.layers.0.self_attn.o_proj.weight");
    const float *weights = bal_balance_weights(ref, o); /* not scaled: relative to their mean */
    double sum = 0.0;
    for (int64_t col = 0; col < tensors->at[o].n_cols; ++col) sum += (double)weights[col];
    CU_ASSERT(fabs(sum - (double)tensors->at[o].n_cols) < 1e-4);
    CU_ASSERT_NOT_EQUAL(weights[0], weights[1]);
    bal_balance_destroy(&ref);
    bal_balance_destroy(&best);
    bal_batch_clear(&batch);
    bal_model_destroy(&model);
}

const char bal_suite_name[] = "model_balance";
const bal_test bal_suite_tests[] = {
    {"a scaled model of floats has the same loss", test_a_scaled_model_of_floats_has_the_same_loss},
    {"columns make up for the rounding of the norm before them",
     test_columns_make_up_for_the_rounding_of_the_norm_before_them},
    {"weights are mean squares of what is read, the same at every level",
     test_weights_are_mean_squares_of_what_is_read_and_the_same_at_every_level},
    {NULL, NULL}};
