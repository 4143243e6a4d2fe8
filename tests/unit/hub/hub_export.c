/* hub_export.c: an exported folder is the same model, and never replaces anything. */
#include <dirent.h>
#include <math.h>
#include <sys/stat.h>

#include "fixture.h"

static bal_status load_both(const char *path, bal_format format, bal_model **model,
                            bal_tokenizer **tokenizer)
{
    bal_status status = bal_hub_load(path, format, false, model, tokenizer);
    if (status != BAL_OK) fprintf(stderr, "%s\n", bal_failure());
    return status;
}

static int n_files(const char *path)
{
    DIR *dir = opendir(path);
    int  n   = -2; /* "." and ".." */
    CU_ASSERT_PTR_NOT_NULL_FATAL(dir);
    while (readdir(dir) != NULL) ++n;
    closedir(dir);
    return n;
}

static bool is_rotary(const char *name)
{
    return strstr(name, "q_proj") != NULL || strstr(name, "k_proj") != NULL;
}

/* Both models hold the same floats, b with the rows of every head of q and k in half-pair order:
 * rows (2k, 2k + 1) of a are rows (k, k + head_dim / 2) of b. */
static void expect_reordered(const bal_model *a, const bal_model *b)
{
    int64_t half = bal_model_shape(a)->head_dim / 2;
    for (int i = 0; i < bal_model_n_tensors(b); ++i) {
        const bal_tensor *to   = bal_model_tensor(b, i);
        int               from = bal_model_find(a, to->name);
        CU_ASSERT_FATAL(from >= 0);
        int64_t n      = bal_tensor_n(to);
        float  *values = malloc((size_t)n * sizeof *values);
        CU_ASSERT_PTR_NOT_NULL_FATAL(values);
        bal_model_dequantize(a, from, values);
        const float *found = to->codes;
        int64_t      n_bad = 0;
        for (int64_t row = 0; row < to->n_rows; ++row) {
            int64_t in_head = row % (2 * half), moved = row;
            if (is_rotary(to->name)) moved = row - in_head + in_head / 2 + in_head % 2 * half;
            n_bad += memcmp(values + row * to->n_cols, found + moved * to->n_cols,
                            (size_t)to->n_cols * sizeof *values) != 0;
        }
        CU_ASSERT_EQUAL(n_bad, 0);
        free(values);
    }
}

static void expect_close_logits(const bal_model *a, const bal_model *b)
{
    enum { N_TOKENS = 24, N_VOCAB = 512 };
    static float     logits[2][N_TOKENS * N_VOCAB];
    const bal_model *models[2] = {a, b};
    int32_t          tokens[N_TOKENS];
    for (int i = 0; i < N_TOKENS; ++i) tokens[i] = i * 37 % N_VOCAB;
    for (int k = 0; k < 2; ++k) {
        bal_forward *forward = NULL;
        CU_ASSERT_EQUAL_FATAL(bal_forward_create(models[k], bal_kernels_at(BAL_ISA_REF), N_TOKENS,
                                                 N_TOKENS, &forward),
                              BAL_OK);
        CU_ASSERT_EQUAL(bal_forward_logits(forward, tokens, N_TOKENS, logits[k]), BAL_OK);
        bal_forward_destroy(&forward);
    }
    float worst = 0.0f, largest = 0.0f;
    for (int i = 0; i < N_TOKENS * N_VOCAB; ++i) {
        worst   = fmaxf(worst, fabsf(logits[0][i] - logits[1][i]));
        largest = fmaxf(largest, fabsf(logits[0][i]));
    }
    CU_ASSERT(largest > 1.0f && worst < 1e-3f);
}

static void test_an_exported_model_is_the_same_model(void)
{
    for (int integer = 0; integer < 2; ++integer) {
        bal_model     *model = NULL, *again = NULL, *third = NULL;
        bal_tokenizer *tokenizer = NULL, *other = NULL;
        CU_ASSERT_EQUAL_FATAL(
            load_both(bal_test_data(STORIES_FILE), integer ? BAL_I8 : BAL_F32, &model, &tokenizer),
            BAL_OK);
        if (integer) { /* gains must be in what is written */
            int16_t *gain = bal_model_tensor(model, bal_model_find(model,
                                                                   "model.layers.1.self_attn."
                                                                   "q_proj.gain"))
                                ->codes;
            gain[3] = 40, gain[4] = -7;
        }
        test_dir top = new_dir("export"), dir;
        snprintf(dir.path, sizeof dir.path, "%.200s/made", top.path);
        bal_status status = bal_hub_export(model, tokenizer, dir.path);
        if (status != BAL_OK) fprintf(stderr, "%s\n", bal_failure());
        CU_ASSERT_EQUAL_FATAL(status, BAL_OK);
        CU_ASSERT_EQUAL(n_files(dir.path), 3);

        CU_ASSERT_STRING_EQUAL(bal_hub_kind(dir.path), "Hugging Face");
        CU_ASSERT_EQUAL_FATAL(load_both(dir.path, BAL_F32, &again, &other), BAL_OK);
        bal_model_config expected = *bal_model_shape(model);
        expected.rope_pairs       = BAL_ROPE_HALVES;
        const bal_model_config *c = bal_model_shape(again);
        CU_ASSERT(c->dim == expected.dim && c->hidden == expected.hidden &&
                  c->n_layers == expected.n_layers && c->n_heads == expected.n_heads &&
                  c->n_kv_heads == expected.n_kv_heads && c->head_dim == expected.head_dim &&
                  c->n_vocab == expected.n_vocab && c->max_tokens == expected.max_tokens &&
                  c->tied_head == expected.tied_head && c->rope_pairs == expected.rope_pairs &&
                  c->rope_base == expected.rope_base && c->norm_eps == expected.norm_eps);
        expect_reordered(model, again);
        if (!integer) expect_close_logits(model, again);

        /* of a half-pair model nothing is reordered */
        snprintf(dir.path, sizeof dir.path, "%.200s/made-again", top.path);
        CU_ASSERT_EQUAL_FATAL(bal_hub_export(again, other, dir.path), BAL_OK);
        bal_tokenizer_destroy(&other);
        CU_ASSERT_EQUAL_FATAL(load_both(dir.path, BAL_F32, &third, &other), BAL_OK);
        expect_same_floats(again, third);

        bal_model_destroy(&model);
        bal_model_destroy(&again);
        bal_model_destroy(&third);
        bal_tokenizer_destroy(&tokenizer);
        bal_tokenizer_destroy(&other);
    }
}

static void test_exported_headers_are_aligned_and_in_model_order(void)
{
    bal_model     *model     = NULL;
    bal_tokenizer *tokenizer = NULL;
    bal_file       file;
    CU_ASSERT_EQUAL_FATAL(load_both(bal_test_data(STORIES_FILE), BAL_I8, &model, &tokenizer),
                          BAL_OK);
    test_dir dir = new_dir("header");
    CU_ASSERT_EQUAL_FATAL(bal_hub_export(model, tokenizer, dir.path), BAL_OK);
    CU_ASSERT_EQUAL_FATAL(bal_file_open(in_dir(&dir, "model.safetensors"), &file), BAL_OK);
    uint64_t length;
    memcpy(&length, file.data, 8);
    CU_ASSERT_EQUAL(length % 8, 0);
    CU_ASSERT_EQUAL_FATAL(file.n_bytes, 8 + length + 4 * 260032);
    char *header = calloc(1, length + 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(header);
    memcpy(header, file.data + 8, length);
    const char *at = header;
    for (int i = 0; i < bal_model_n_tensors(model); ++i) {
        const bal_tensor *tensor = bal_model_tensor(model, i);
        if (tensor->role == BAL_GAIN) continue;
        at = strstr(at, tensor->name); /* each after the one before */
        CU_ASSERT_PTR_NOT_NULL_FATAL(at);
    }
    CU_ASSERT_PTR_NULL(strstr(header, ".gain"));
    CU_ASSERT_PTR_NULL(strstr(header, "lm_head"));
    free(header);
    bal_file_close(&file);

    CU_ASSERT_EQUAL_FATAL(bal_file_open(in_dir(&dir, "config.json"), &file), BAL_OK);
    CU_ASSERT_PTR_NOT_NULL(memmem(file.data, file.n_bytes, "\"rms_norm_eps\": 1e-5,", 21));
    CU_ASSERT_PTR_NOT_NULL(memmem(file.data, file.n_bytes, "\"bos_token_id\": 1", 17));
    bal_file_close(&file);
    bal_model_destroy(&model);
    bal_tokenizer_destroy(&tokenizer);
}

static void test_export_never_replaces_a_file(void)
{
    bal_model     *model     = NULL;
    bal_tokenizer *tokenizer = NULL;
    CU_ASSERT_EQUAL_FATAL(load_both(bal_test_data(STORIES_FILE), BAL_F32, &model, &tokenizer),
                          BAL_OK);
    static const char *const names[] = {"model.safetensors", "config.json", "tokenizer.bin",
                                        "tokenizer.json"};
    for (int i = 0; i < 4; ++i) {
        test_dir dir = new_dir("taken");
        write_file(&dir, names[i], "mine", 4);
        CU_ASSERT_EQUAL(bal_hub_export(model, tokenizer, dir.path), BAL_ERR_STATE);
        CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), names[i]));
        CU_ASSERT_EQUAL(n_files(dir.path), 1);
        bal_file file;
        CU_ASSERT_EQUAL_FATAL(bal_file_open(in_dir(&dir, names[i]), &file), BAL_OK);
        CU_ASSERT(file.n_bytes == 4 && memcmp(file.data, "mine", 4) == 0);
        bal_file_close(&file);
    }
    bal_model_destroy(&model);
    bal_tokenizer_destroy(&tokenizer);
}

static void test_a_failed_export_leaves_nothing_and_names_the_file(void)
{
    bal_model     *model     = NULL;
    bal_tokenizer *tokenizer = NULL;
    CU_ASSERT_EQUAL_FATAL(load_both(bal_test_data(STORIES_FILE), BAL_F32, &model, &tokenizer),
                          BAL_OK);
    test_dir dir = new_dir("failed");
    /* a folder where the last of the three temporary files should go */
    CU_ASSERT_EQUAL_FATAL(mkdir(in_dir(&dir, ".config.json.new"), 0777), 0);
    CU_ASSERT_EQUAL(bal_hub_export(model, tokenizer, dir.path), BAL_ERR_IO);
    CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "config.json"));
    CU_ASSERT_EQUAL(n_files(dir.path), 1);
    CU_ASSERT_EQUAL(bal_hub_export(model, tokenizer, in_dir(&dir, "no/such")), BAL_ERR_IO);
    CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "no/such"));
    write_file(&dir, "file", "x", 1);
    CU_ASSERT_EQUAL(bal_hub_export(model, tokenizer, in_dir(&dir, "file")), BAL_ERR_IO);
    bal_model_destroy(&model);
    bal_tokenizer_destroy(&tokenizer);
}

const char     bal_suite_name[]  = "hub_export";
const bal_test bal_suite_tests[] = {
    {"an exported model is the same model", test_an_exported_model_is_the_same_model},
    {"exported headers are aligned and in model order",
     test_exported_headers_are_aligned_and_in_model_order},
    {"export never replaces a file", test_export_never_replaces_a_file},
    {"a failed export leaves nothing and names the file",
     test_a_failed_export_leaves_nothing_and_names_the_file},
    {NULL, NULL},
};
