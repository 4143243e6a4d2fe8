/* model_shape.c: which tensors a model has; sizes that it refuses; gains. */
#include "toy.h"

static void test_tensors_carry_their_names_in_order(void)
{
    static const char *const first[] = {"model.embed_tokens.weight", "model.embed_tokens.gain",
                                        "model.layers.0.input_layernorm.weight",
                                        "model.layers.0.self_attn.q_proj.weight",
                                        "model.layers.0.self_attn.q_proj.gain"};
    for (int tied = 0; tied < 2; ++tied) {
        bal_model *model = toy_model(tied);
        int n = bal_model_tensors(model)->n;
        CU_ASSERT_EQUAL(n, 2 + 2 * 16 + 1 + (tied ? 0 : 2));
        for (int i = 0; i < 5; ++i)
            CU_ASSERT_STRING_EQUAL(bal_model_tensors(model)->at[i].name, first[i]);
        for (int i = 0; i < n; ++i) {
            const bal_tensor *tensor = &bal_model_tensors(model)->at[i];
            CU_ASSERT_EQUAL(bal_tensors_find(bal_model_tensors(model), tensor->name), i);
            if (tensor->role != BAL_MATRIX) continue;
            CU_ASSERT_EQUAL(bal_model_tensors(model)->at[i + 1].role, BAL_GAIN);
            CU_ASSERT_EQUAL(bal_model_tensors(model)->at[i + 1].n_cols, tensor->n_rows);
        }
        CU_ASSERT_EQUAL(bal_tensors_find(bal_model_tensors(model), "lm_head.weight") >= 0, !tied);
        CU_ASSERT_EQUAL(bal_tensors_find(bal_model_tensors(model), "lm_head"), -1);
        int q =
            bal_tensors_find(bal_model_tensors(model), "model.layers.1.self_attn.k_proj.weight");
        const bal_tensor *k_proj = &bal_model_tensors(model)->at[q];
        CU_ASSERT(k_proj->n_rows == 12 && k_proj->n_cols == 20);
        bal_model_destroy(&model);
        CU_ASSERT_PTR_NULL(model);
        bal_model_destroy(&model);
    }
}

static void refuse(bal_model_config config)
{
    bal_model *model = NULL;
    CU_ASSERT_EQUAL(bal_model_config_check(&config, "x/config.json"), BAL_ERR_INPUT);
    CU_ASSERT_EQUAL(strncmp(bal_failure(), "x/config.json: ", 15), 0);
    CU_ASSERT_EQUAL(bal_model_create(&config, &(bal_formats){.matrices = BAL_I8}, &model),
                    BAL_ERR_INPUT);
    CU_ASSERT_PTR_NULL(model);
}

static void test_impossible_sizes_are_refused_with_their_origin(void)
{
    static const size_t sizes[] = {
        offsetof(bal_model_config, dim),        offsetof(bal_model_config, hidden),
        offsetof(bal_model_config, n_layers),   offsetof(bal_model_config, n_heads),
        offsetof(bal_model_config, n_kv_heads), offsetof(bal_model_config, head_dim),
        offsetof(bal_model_config, n_vocab),    offsetof(bal_model_config, max_tokens)};
    static const int64_t never[] = {0, -1, INT64_MIN, INT64_MAX, ((int64_t)1 << 32) + 4};
    for (size_t field = 0; field < sizeof sizes / sizeof *sizes; ++field)
        for (size_t i = 0; i < sizeof never / sizeof *never; ++i) {
            bal_model_config config = toy_config(true);
            memcpy((char *)&config + sizes[field], &never[i], sizeof *never);
            refuse(config);
        }
    bal_model_config base = toy_config(true);
#define BAD(field, wrong) (base.field = wrong, refuse(base), base = toy_config(true))
    BAD(dim, BAL_COLS_MAX + 1);
    BAD(hidden, BAL_COLS_MAX + 1);
    BAD(n_heads, 3); /* not a multiple of 2 */
    BAD(n_kv_heads, 3);
    BAD(n_kv_heads, 8);
    BAD(head_dim, 7);
    BAD(head_dim, BAL_HEAD_DIM_MAX + 2);
    BAD(n_vocab, (int64_t)1 << 28); /* x 20 is above 2^31 */
    BAD(rope.base, 0.0);
    BAD(rope.base, (double)NAN);
    BAD(rope.base, (double)INFINITY);
    BAD(norm_eps, 0.0);
    BAD(norm_eps, -1e-5);
    BAD(norm_eps, 1.0);
    BAD(norm_eps, (double)NAN);
#undef BAD
    base.n_heads = base.n_kv_heads = 4096; /* together wider than a product can be */
    base.head_dim = 32;
    refuse(base);
    bal_model_config config = toy_config(true);
    CU_ASSERT_EQUAL(bal_model_config_check(&config, "x"), BAL_OK);
}

/* Every member has a row: two configs that differ in any of them are not the same; and what has
 * words is read back from them. */
static void test_every_member_of_a_config_has_a_row(void)
{
    bal_model_config config = toy_config(true), other = config;
    config.features = BAL_QK_NORM | BAL_ENCODER;
    CU_ASSERT_EQUAL(BAL_N_CONFIG_ROWS, 24);
    for (int i = 0; i < BAL_N_CONFIG_ROWS; ++i) {
        const bal_config_row *row = &bal_config_rows[i];
        char words[BAL_CONFIG_WORDS_BYTES], choices[BAL_CONFIG_WORDS_BYTES];
        other = config;
        CU_ASSERT(bal_model_config_same(&config, &other));
        ((char *)&other)[row->offset] ^= 1;
        CU_ASSERT(!bal_model_config_same(&config, &other));
        if (row->kind < BAL_CONFIG_FEATURES) continue;
        bal_config_print(row, &other, words);
        bal_config_choices(row, choices);
        CU_ASSERT(bal_config_parse(row, words, &config));
        CU_ASSERT(bal_model_config_same(&config, &other));
        CU_ASSERT(!bal_config_parse(row, "unheard-of", &config));
        CU_ASSERT_EQUAL(bal_config_parse(row, choices, &config), row->kind == BAL_CONFIG_FEATURES);
        config = other;
    }
}

static void test_sequences_longer_than_the_model_reads_are_refused(void)
{
    bal_model *model = toy_model(true);
    bal_forward *forward = NULL;
    CU_ASSERT_EQUAL(
        bal_forward_create(model, bal_kernels_at(BAL_ISA_REF), 100, TOY_CONTEXT + 1, &forward),
        BAL_ERR_ARG);
    CU_ASSERT_PTR_NULL(forward);
    bal_forward_destroy(&forward);
    bal_model_destroy(&model);
}

static void test_gains_are_steps_of_two_percent(void)
{
    CU_ASSERT_EQUAL(bal_gain_factor(0), 1.0f);
    for (int code = -127; code <= 127; ++code)
        CU_ASSERT(fabs((double)bal_gain_factor(code) / pow(1.02, code) - 1.0) < 1e-6);
    CU_ASSERT_EQUAL(bal_gain_factor(2052), bal_gain_factor(127));
    CU_ASSERT_EQUAL(bal_gain_factor(-32768), bal_gain_factor(-127));
}

static void test_dequantized_weights_are_scale_times_gain_times_code(void)
{
    bal_model *model = toy_model(true);
    for (int index = 0; index < bal_model_tensors(model)->n; ++index) {
        const bal_tensor *tensor = &bal_model_tensors(model)->at[index];
        if (tensor->role == BAL_GAIN) continue;
        int64_t n = bal_tensor_n(tensor);
        float *values = bal_alloc((size_t)n, sizeof *values);
        int16_t *codes = bal_alloc((size_t)n, sizeof *codes);
        int n_bad = 0;
        CU_ASSERT_FATAL(values != NULL && codes != NULL);
        bal_tensors_dequantize(bal_model_tensors(model), index, values);
        bal_tensor_get_codes(tensor, codes);
        for (int64_t i = 0; i < n; ++i) {
            bool matrix = tensor->role == BAL_MATRIX;
            double want = (double)tensor->scale[i / tensor->n_cols] *
                          (matrix ? ((int8_t *)codes)[i] : codes[i]);
            if (matrix)
                want *= pow(
                    1.02,
                    ((int16_t *)bal_model_tensors(model)->at[index + 1].codes)[i / tensor->n_cols]);
            n_bad += !(fabs((double)values[i] - want) <= 1e-6 * fabs(want));
        }
        CU_ASSERT_EQUAL(n_bad, 0);
        free(values);
        free(codes);
    }
    bal_model_destroy(&model);
}

static void test_the_fingerprint_sees_every_tensor(void)
{
    bal_model *model = toy_model(false), *copy = copy_of(model);
    uint64_t before = bal_tensors_fingerprint(bal_model_tensors(model));
    CU_ASSERT_EQUAL(bal_tensors_fingerprint(bal_model_tensors(copy)), before);
    for (int index = 0; index < bal_model_tensors(model)->n; ++index) {
        bal_tensor *tensor = &bal_model_tensors(model)->at[index];
        *(int8_t *)tensor->codes ^= 1;
        CU_ASSERT_NOT_EQUAL(bal_tensors_fingerprint(bal_model_tensors(model)), before);
        *(int8_t *)tensor->codes ^= 1;
    }
    CU_ASSERT_EQUAL(bal_tensors_fingerprint(bal_model_tensors(model)), before);
    bal_model_destroy(&model);
    bal_model_destroy(&copy);
}

const char bal_suite_name[] = "model_shape";
const bal_test bal_suite_tests[] = {
    {"tensors carry their names in order", test_tensors_carry_their_names_in_order},
    {"impossible sizes are refused with their origin",
     test_impossible_sizes_are_refused_with_their_origin},
    {"every member of a config has a row", test_every_member_of_a_config_has_a_row},
    {"sequences longer than the model reads are refused",
     test_sequences_longer_than_the_model_reads_are_refused},
    {"gains are steps of two percent", test_gains_are_steps_of_two_percent},
    {"dequantized weights are scale times gain times code",
     test_dequantized_weights_are_scale_times_gain_times_code},
    {"the fingerprint sees every tensor", test_the_fingerprint_sees_every_tensor},
    {NULL, NULL},
};
