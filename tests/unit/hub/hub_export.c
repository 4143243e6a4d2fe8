/* hub_export.c: an exported folder is the same model, and never replaces anything. */
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "../../../src/hub/export.h"
#include "exports.h"

/* value as a stored half would give it back: the nearest one, the even one of two. */
static float as_stored(bal_export_dtype dtype, float value)
{
    if (dtype == BAL_EXPORT_F32) return value;
    int exponent;
    frexpf(value, &exponent);
    float unit = dtype == BAL_EXPORT_BF16 ? ldexpf(1.0f, exponent - 8)
                                          : ldexpf(1.0f, exponent > -13 ? exponent - 11 : -24);
    return value == 0.0f ? value : rintf(value / unit) * unit;
}

/* b holds, as floats, the weights of a after they went through dtype. */
static int64_t n_different(const bal_model *a, const bal_model *b, bal_export_dtype dtype)
{
    int64_t n_bad = 0;
    for (int i = 0; i < bal_model_tensors(b)->n; ++i) {
        const bal_tensor *tensor = &bal_model_tensors(b)->at[i];
        const float *found = tensor->codes;
        float *values = values_of(a, tensor->name);
        for (int64_t k = 0; k < bal_tensor_n(tensor); ++k) {
            float expected = as_stored(dtype, values[k]);
            n_bad += memcmp(&expected, &found[k], sizeof expected) != 0;
        }
        free(values);
    }
    return n_bad;
}

static void expect_same_files(const bal_bundle *a, const bal_bundle *b)
{
    CU_ASSERT_EQUAL_FATAL(a->files.n, b->files.n);
    for (int i = 0; i < a->files.n; ++i) {
        const bal_named_bytes *x = &a->files.at[i], *y = bal_files_find(&b->files, x->name);
        CU_ASSERT_PTR_NOT_NULL_FATAL(y);
        if (strcmp(x->name, "config.json") == 0) continue;
        CU_ASSERT_EQUAL_FATAL(x->n_bytes, y->n_bytes);
        CU_ASSERT_EQUAL(memcmp(x->bytes, y->bytes, x->n_bytes), 0);
    }
}

static void test_every_family_and_format_comes_back_as_it_was(void)
{
    static const bal_format formats[] = {BAL_F32, BAL_I8, BAL_I4, BAL_NF4};
    for (size_t i = 0; i < N_FOLDERS; ++i)
        for (int f = 0; f < 4; ++f) {
            bal_bundle bundle = load_bundle(family_path(folders[i]), formats[f], 32);
            test_dir top = new_dir("families");
            turn_gains(bundle.model);
            for (int dtype = BAL_EXPORT_F32; dtype <= (int)BAL_EXPORT_F16; ++dtype) {
                const char *path = in_dir(&top, (const char *[]){"f32", "bf16", "f16"}[dtype]);
                must_export(&bundle, (bal_export_dtype)dtype, NULL, path);
                bal_bundle again = load_bundle(path, BAL_F32, 0);
                CU_ASSERT_EQUAL(n_different(bundle.model, again.model, (bal_export_dtype)dtype), 0);
                expect_same_files(&bundle, &again);
                bal_bundle_clear(&again);
            }
            bal_bundle_clear(&bundle);
        }
}

/* The bundle of a family's folder with a wider model of random floats, which F16 holds too. */
static bal_bundle widened(const char *folder, const char *const *keys, const int64_t *sizes)
{
    bal_bundle bundle = load_bundle(family_path(folder), BAL_F32, 0);
    const bal_named_bytes *file = bal_files_find(&bundle.files, "config.json");
    json_t *json = json_loadb((const char *)file->bytes, file->n_bytes, 0, NULL);
    for (int i = 0; keys[i] != NULL; ++i)
        CU_ASSERT_EQUAL(json_object_set_new(json, keys[i], json_integer(sizes[i])), 0);
    char *text = json_dumps(json, 0);
    bal_model_config config;
    const bal_family *family;
    bal_status status = bal_hub_config_parse(text, strlen(text), "wide", &config, &family);
    CU_ASSERT_EQUAL_FATAL(status, BAL_OK);
    bal_model_destroy(&bundle.model);
    status = bal_model_create(&config, &(bal_formats){.matrices = BAL_F32}, &bundle.model);
    CU_ASSERT_EQUAL_FATAL(status, BAL_OK);
    uint64_t state = 1;
    for (int i = 0; i < bal_model_tensors(bundle.model)->n; ++i) {
        bal_tensor *tensor = &bal_model_tensors(bundle.model)->at[i];
        for (int64_t k = 0; k < bal_tensor_n(tensor); ++k)
            ((float *)tensor->codes)[k] = (float)(bal_test_random(&state) % 2049) / 1024.0f - 1.0f;
    }
    bal_files files = {0};
    for (int i = 0; i < bundle.files.n; ++i) {
        const bal_named_bytes *one = &bundle.files.at[i];
        bool is_config = strcmp(one->name, "config.json") == 0;
        const void *bytes = is_config ? (const void *)text : one->bytes;
        CU_ASSERT_EQUAL(
            bal_files_add(&files, one->name, bytes, is_config ? strlen(text) : one->n_bytes),
            BAL_OK);
    }
    bal_files_clear(&bundle.files);
    bundle.files = files;
    json_decref(json);
    free(text);
    return bundle;
}

/* Transposed matrices with parts, and rows in another order, of which one piece has a part. */
static void test_matrices_of_several_pieces_come_back(void)
{
    static const char *const gpt2[] = {"n_embd", "n_head", NULL};
    static const char *const llama[] = {"hidden_size", "num_attention_heads", "num_key_value_heads",
                                        NULL};
    test_dir top = new_dir("wide");
    bal_bundle bundle = widened("gpt2-old", gpt2, (const int64_t[]){516, 6});
    must_export(&bundle, BAL_EXPORT_F32, NULL, in_dir(&top, "gpt2"));
    bal_bundle again = load_bundle(in_dir(&top, "gpt2"), BAL_F32, 0);
    CU_ASSERT_EQUAL(n_different(bundle.model, again.model, BAL_EXPORT_F32), 0);
    bal_bundle_clear(&bundle);
    bal_bundle_clear(&again);
    bundle = widened("llama-tied", llama, (const int64_t[]){516, 6, 6});
    CU_ASSERT_EQUAL(bal_hub_export_gguf(&bundle, BAL_EXPORT_GGUF_F16, in_dir(&top, "llama.gguf")),
                    BAL_OK);
    again = load_bundle(in_dir(&top, "llama.gguf"), BAL_F32, 0);
    bal_piece piece = {0};
    int n_of_parts = 0;
    while (bal_tensors_next(bal_model_tensors(again.model), &piece))
        n_of_parts += piece.first > 0 && piece.n_rows < 516;
    CU_ASSERT(n_of_parts > 0);
    CU_ASSERT_EQUAL(n_different(bundle.model, again.model, BAL_EXPORT_F32), 0);
    bal_bundle_clear(&bundle);
    bal_bundle_clear(&again);
}

static void test_an_int8_model_is_rounded_to_the_same_codes_again(void)
{
    for (size_t i = 0; i < N_FOLDERS; ++i) {
        bal_bundle bundle = load_bundle(family_path(folders[i]), BAL_I8, 0);
        test_dir top = new_dir("again");
        must_export(&bundle, BAL_EXPORT_F32, NULL, in_dir(&top, "made"));
        bal_bundle again = load_bundle(in_dir(&top, "made"), BAL_I8, 0);
        for (int k = 0; k < bal_model_tensors(bundle.model)->n; ++k) {
            const bal_tensor *x = &bal_model_tensors(bundle.model)->at[k];
            const bal_tensor *y = &bal_model_tensors(again.model)->at[k];
            size_t n = (size_t)x->n_blocks * BAL_BLOCK_CODES;
            if (x->format == BAL_I16) n *= sizeof(int16_t);
            CU_ASSERT_EQUAL(memcmp(x->codes, y->codes, n), 0);
            for (int64_t row = 0; row < x->n_rows; ++row) /* 120 * scale / 120 rounds twice */
                CU_ASSERT(fabsf(x->scale[row] - y->scale[row]) <= 1.2e-7f * x->scale[row]);
        }
        bal_bundle_clear(&again);
        bal_bundle_clear(&bundle);
    }
}

/* Rows of the matrices of b that are further from those of a than rounding of floats explains, and
 * by which share of their largest weight at most. */
typedef struct movement {
    int64_t n, n_rows;
    double most;
} movement;

static void count_moved(const bal_model *a, const bal_model *b, movement *m)
{
    for (int i = 0; i < bal_model_tensors(a)->n; ++i) {
        const bal_tensor *tensor = &bal_model_tensors(a)->at[i];
        if (tensor->role != BAL_MATRIX) continue;
        float *x = values_of(a, tensor->name), *y = values_of(b, tensor->name);
        for (int64_t row = 0; row < tensor->n_rows; ++row) {
            double top = 0.0, apart = 0.0;
            for (int64_t at = row * tensor->n_cols; at < (row + 1) * tensor->n_cols; ++at) {
                top = fmax(top, fabs((double)x[at]));
                apart = fmax(apart, fabs((double)x[at] - (double)y[at]));
            }
            m->n += apart > 1e-6 * top;
            m->most = fmax(m->most, apart / top);
        }
        m->n_rows += tensor->n_rows;
        free(x);
        free(y);
    }
}

/* The scale of a row comes from its largest weight, which in four bits need not be the largest
 * entry of the format: such a row moves a little when it is rounded once more. */
static void test_few_rows_of_four_bits_move_when_they_are_rounded_again(void)
{
    static const struct {
        bal_format format;
        double rows, most;
    } cases[] = {{BAL_I4, 0.01, 0.05}, {BAL_NF4, 0.09, 1.001 / 126}};
    for (int f = 0; f < 2; ++f) {
        movement m = {0};
        for (size_t i = 0; i < N_FOLDERS; ++i) {
            bal_bundle bundle = load_bundle(family_path(folders[i]), cases[f].format, 32);
            test_dir top = new_dir("again");
            must_export(&bundle, BAL_EXPORT_F32, NULL, in_dir(&top, "made"));
            bal_bundle again = load_bundle(in_dir(&top, "made"), cases[f].format, 32);
            count_moved(bundle.model, again.model, &m);
            bal_bundle_clear(&again);
            bal_bundle_clear(&bundle);
        }
        printf("\n    %s: %lld of %lld rows, by at most %.4f of the largest weight",
               bal_format_name(cases[f].format), (long long)m.n, (long long)m.n_rows, m.most);
        CU_ASSERT((double)m.n < cases[f].rows * (double)m.n_rows);
        CU_ASSERT(m.most < cases[f].most);
    }
}

static bool is_rotary(const char *name)
{
    return strstr(name, "q_proj") != NULL || strstr(name, "k_proj") != NULL;
}

/* Both models have the same floats, b with the rows of every head of q and k in half-pair order:
 * rows (2k, 2k + 1) of a are rows (k, k + head_dim / 2) of b. */
static void expect_reordered(const bal_model *a, const bal_model *b)
{
    int64_t half = bal_model_shape(a)->head_dim / 2;
    for (int i = 0; i < bal_model_tensors(b)->n; ++i) {
        const bal_tensor *to = &bal_model_tensors(b)->at[i];
        float *values = values_of(a, to->name);
        const float *found = to->codes;
        int64_t n_bad = 0;
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
    static float logits[2][N_TOKENS * N_VOCAB];
    const bal_model *models[2] = {a, b};
    int32_t tokens[N_TOKENS];
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
        worst = fmaxf(worst, fabsf(logits[0][i] - logits[1][i]));
        largest = fmaxf(largest, fabsf(logits[0][i]));
    }
    CU_ASSERT(largest > 1.0f && worst < 1e-3f);
}

static void test_a_llama2c_model_becomes_a_llama(void)
{
    for (int integer = 0; integer < 2; ++integer) {
        bal_bundle bundle = stories(integer ? BAL_I8 : BAL_F32);
        test_dir top = new_dir("export"), dir;
        if (integer) turn_gains(bundle.model);
        snprintf(dir.path, sizeof dir.path, "%.200s/made", top.path);
        must_export(&bundle, BAL_EXPORT_F32, NULL, dir.path);
        CU_ASSERT_EQUAL(n_files(dir.path), 3);
        CU_ASSERT_STRING_EQUAL(bal_hub_kind(dir.path), "Hugging Face");

        bal_bundle again = load_bundle(dir.path, BAL_F32, 0);
        bal_model_config expected = *bal_model_shape(bundle.model);
        const bal_model_config *c = bal_model_shape(again.model);
        CU_ASSERT(c->dim == expected.dim && c->hidden == expected.hidden &&
                  c->n_layers == expected.n_layers && c->n_heads == expected.n_heads &&
                  c->n_kv_heads == expected.n_kv_heads && c->head_dim == expected.head_dim &&
                  c->n_vocab == expected.n_vocab && c->max_tokens == expected.max_tokens &&
                  c->tied_head == expected.tied_head && c->rope.pairs == BAL_ROPE_HALVES &&
                  c->rope.base == expected.rope.base && c->norm_eps == expected.norm_eps);
        expect_reordered(bundle.model, again.model);
        if (!integer) expect_close_logits(bundle.model, again.model);

        /* of a half-pair model nothing is reordered */
        snprintf(dir.path, sizeof dir.path, "%.200s/made-again", top.path);
        must_export(&again, BAL_EXPORT_F32, NULL, dir.path);
        bal_bundle third = load_bundle(dir.path, BAL_F32, 0);
        expect_same_floats(again.model, third.model);
        bal_bundle_clear(&bundle);
        bal_bundle_clear(&again);
        bal_bundle_clear(&third);
    }
}

static void test_exported_headers_are_aligned_and_in_model_order(void)
{
    bal_bundle bundle = stories(BAL_I8);
    bal_mapping file;
    test_dir dir = new_dir("header");
    must_export(&bundle, BAL_EXPORT_F32, NULL, dir.path);
    CU_ASSERT_EQUAL_FATAL(bal_mapping_open(in_dir(&dir, "model.safetensors"), &file), BAL_OK);
    uint64_t length;
    memcpy(&length, file.data, 8);
    CU_ASSERT_EQUAL(length % 8, 0);
    CU_ASSERT_EQUAL_FATAL(file.n_bytes, 8 + length + 4 * 260032);
    char *header = calloc(1, length + 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(header);
    memcpy(header, file.data + 8, length);
    const char *at = header;
    for (int i = 0; i < bal_model_tensors(bundle.model)->n; ++i) {
        const bal_tensor *tensor = &bal_model_tensors(bundle.model)->at[i];
        if (tensor->role == BAL_GAIN) continue;
        at = strstr(at, tensor->name); /* each after the one before */
        CU_ASSERT_PTR_NOT_NULL_FATAL(at);
    }
    CU_ASSERT_PTR_NULL(strstr(header, ".gain"));
    CU_ASSERT_PTR_NULL(strstr(header, "lm_head"));
    free(header);
    bal_mapping_close(&file);

    CU_ASSERT_EQUAL_FATAL(bal_mapping_open(in_dir(&dir, "config.json"), &file), BAL_OK);
    CU_ASSERT_PTR_NOT_NULL(memmem(file.data, file.n_bytes, "\"rms_norm_eps\": 1e-5,", 21));
    CU_ASSERT_PTR_NOT_NULL(memmem(file.data, file.n_bytes, "\"bos_token_id\": 1", 17));
    bal_mapping_close(&file);
    bal_bundle_clear(&bundle);
}

/* A key goes, the dtype changes, a number needs all its digits; nothing else happens. */
static void test_config_json_keeps_everything_but_the_dtype(void)
{
    static const char *const keys[] = {"torch_dtype", "dtype", "prefix"};
    static const char *const numbers[] = {"0.12345678901234568", "0.1234567890123456", "0.1"};
    for (int k = 0; k < 3; ++k) {
        bal_bundle bundle = load_bundle(family_path("llama-tied"), BAL_I8, 0);
        test_dir dir = new_dir("config");
        char text[2048];
        snprintf(
            text, sizeof text,
            "{\"zeta\": %s, \"%s\": \"x\", \"quantization_config\": {\"a\": 1},"
            " \"alpha\": {\"long\": 9007199254740993, \"word\": \"\\u00e9\\n\"}, \"empty\": [],"
            " \"tiny\": [1e-300, 1e22, -0.0, null], \"hidden_size\": 36, \"model_type\": "
            "\"llama\","
            " \"intermediate_size\": 60, \"num_attention_heads\": 6, \"num_hidden_layers\": 2,"
            " \"vocab_size\": 341, \"max_position_embeddings\": 64, \"rms_norm_eps\": 1e-06,"
            " \"tie_word_embeddings\": true}",
            numbers[k], keys[k]);
        json_t *expected = json_loads(text, 0, NULL);
        CU_ASSERT_PTR_NOT_NULL_FATAL(expected);
        CU_ASSERT_EQUAL_FATAL(bal_files_add(&bundle.files, "config.json", text, strlen(text)),
                              BAL_OK);
        must_export(&bundle, BAL_EXPORT_BF16, NULL, dir.path);
        json_object_del(expected, "quantization_config");
        json_object_set_new(expected, k < 2 ? keys[k] : "torch_dtype", json_string("bfloat16"));
        json_t *found = json_load_file(in_dir(&dir, "config.json"), 0, NULL);
        CU_ASSERT(json_equal(expected, found));
        void *a = json_object_iter(expected), *b = json_object_iter(found);
        for (; a != NULL && b != NULL;
             a = json_object_iter_next(expected, a), b = json_object_iter_next(found, b))
            CU_ASSERT_STRING_EQUAL(json_object_iter_key(a), json_object_iter_key(b));
        json_decref(expected);
        json_decref(found);
        bal_bundle_clear(&bundle);
    }
}

static void test_a_bundle_that_does_not_fit_together_is_refused(void)
{
    bal_bundle bundle = load_bundle(family_path("llama-tied"), BAL_F32, 0);
    bal_bundle other = load_bundle(family_path("gpt2"), BAL_F32, 0);
    test_dir dir = new_dir("unfit");
    const bal_named_bytes *file = bal_files_find(&other.files, "config.json");
    static const char *const evil[] = {"../evil.json", "model.safetensors/../../evil",
                                       "model.safetensors"};
    for (int i = 0; i < 3; ++i) {
        bal_bundle more = load_bundle(family_path("llama-tied"), BAL_F32, 0);
        bal_files_add(&more.files, evil[i], "x", 1);
        expect_failure(export_to(&more, BAL_EXPORT_F32, NULL, dir.path), BAL_ERR_INPUT, evil[i]);
        bal_bundle_clear(&more);
    }
    bal_files_add(&bundle.files, "config.json", file->bytes, file->n_bytes);
    expect_failure(export_to(&bundle, BAL_EXPORT_F32, NULL, dir.path), BAL_ERR_INPUT,
                   "config.json: describes");
    bal_files_add(&bundle.files, "config.json", "{", 1);
    expect_failure(export_to(&bundle, BAL_EXPORT_F32, NULL, dir.path), BAL_ERR_INPUT,
                   "config.json");
    CU_ASSERT_EQUAL(n_files(dir.path), 0);
    bal_bundle_clear(&bundle);
    bal_bundle_clear(&other);
}

static void test_export_never_replaces_a_file(void)
{
    bal_bundle bundle = stories(BAL_F32);
    static const char *const names[] = {"model.safetensors", "model.safetensors.index.json",
                                        "pytorch_model.bin", "config.json",
                                        "tokenizer.bin",     "tokenizer.json",
                                        "tokenizer.model",   "generation_config.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
        test_dir dir = new_dir("taken");
        bal_mapping file;
        write_file(&dir, names[i], "mine", 4);
        expect_failure(export_to(&bundle, BAL_EXPORT_F32, NULL, dir.path), BAL_ERR_STATE, names[i]);
        CU_ASSERT_EQUAL(n_files(dir.path), 1);
        CU_ASSERT_EQUAL_FATAL(bal_mapping_open(in_dir(&dir, names[i]), &file), BAL_OK);
        CU_ASSERT(file.n_bytes == 4 && memcmp(file.data, "mine", 4) == 0);
        bal_mapping_close(&file);
    }
    test_dir dir = new_dir("beside"); /* what nobody reads as a part of the model may stay */
    write_file(&dir, "README.md", "mine", 4);
    must_export(&bundle, BAL_EXPORT_F32, NULL, dir.path);
    CU_ASSERT_EQUAL(n_files(dir.path), 4);
    bal_bundle_clear(&bundle);
}

static void test_a_failed_export_leaves_nothing_and_names_the_file(void)
{
    bal_bundle bundle = stories(BAL_F32);
    test_dir dir = new_dir("failed");
    /* a folder where the last of the three temporary files should go */
    CU_ASSERT_EQUAL_FATAL(mkdir(in_dir(&dir, ".config.json.new"), 0777), 0);
    expect_failure(export_to(&bundle, BAL_EXPORT_F32, NULL, dir.path), BAL_ERR_IO, "config.json");
    CU_ASSERT_EQUAL(n_files(dir.path), 1);
    expect_failure(export_to(&bundle, BAL_EXPORT_F32, NULL, in_dir(&dir, "no/such")), BAL_ERR_IO,
                   "no/such");
    write_file(&dir, "file", "x", 1);
    expect_failure(export_to(&bundle, BAL_EXPORT_F32, NULL, in_dir(&dir, "file")), BAL_ERR_IO,
                   "file");
    CU_ASSERT_EQUAL(n_files(dir.path), 2);
    bal_bundle_clear(&bundle);
}

/* The writer of a file whose name is taken while it writes. */
static bal_status write_slowly(const void *what, int fd, const char *path)
{
    int other = open(in_dir(what, "two"), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    CU_ASSERT_FATAL(other >= 0);
    CU_ASSERT_EQUAL(bal_write_all(other, "mine", 4, "two"), BAL_OK);
    close(other);
    return bal_write_all(fd, "ours", 4, path);
}

static void test_a_name_that_is_taken_meanwhile_undoes_all(void)
{
    test_dir dir = new_dir("race");
    const bal_named_bytes bytes = {.bytes = (uint8_t *)(uintptr_t) "ours", .n_bytes = 4};
    const bal_hub_output files[] = {{"one", bal_write_named, &bytes},
                                    {"two", write_slowly, &dir},
                                    {"three", bal_write_named, &bytes}};
    bal_mapping file;
    expect_failure(bal_hub_publish(dir.path, true, files, 3), BAL_ERR_STATE,
                   "two: is there already");
    CU_ASSERT_EQUAL(n_files(dir.path), 1);
    CU_ASSERT_EQUAL_FATAL(bal_mapping_open(in_dir(&dir, "two"), &file), BAL_OK);
    CU_ASSERT(file.n_bytes == 4 && memcmp(file.data, "mine", 4) == 0);
    bal_mapping_close(&file);
}

/* A disk that fills up: the limit cuts the weights short, then config.json. */
static void test_a_full_disk_leaves_nothing(void)
{
    bal_bundle bundle = stories(BAL_F32);
    struct rlimit old, small;
    test_dir dir = new_dir("full");
    signal(SIGXFSZ, SIG_IGN);
    CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_FSIZE, &old), 0);
    for (int i = 0; i < 2; ++i) {
        small = (struct rlimit){i == 0 ? 100 : 900000, old.rlim_max};
        CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_FSIZE, &small), 0);
        bal_status status = export_to(&bundle, BAL_EXPORT_F32, NULL, in_dir(&dir, "made"));
        CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_FSIZE, &old), 0);
        expect_failure(status, BAL_ERR_IO, "model.safetensors");
        CU_ASSERT_EQUAL(n_files(dir.path), 0);
    }
    must_export(&bundle, BAL_EXPORT_F32, NULL, in_dir(&dir, "made"));
    bal_bundle_clear(&bundle);
}

static void test_a_value_too_large_for_its_dtype_is_named(void)
{
    static const struct {
        bal_export_dtype dtype;
        float fits, too_large;
    } cases[] = {{BAL_EXPORT_F16, 65519.99f, -65520.0f},
                 {BAL_EXPORT_BF16, 0x1.fefffep127f, -0x1.ffp127f}};
    for (int i = 0; i < 2; ++i) {
        bal_bundle bundle = stories(BAL_F32);
        test_dir dir = new_dir("large");
        const bal_tensors *tensors = bal_model_tensors(bundle.model);
        float *values = tensors->at[bal_tensors_find(tensors, "model.norm.weight")].codes;
        values[7] = cases[i].too_large;
        expect_failure(export_to(&bundle, cases[i].dtype, NULL, in_dir(&dir, "made")),
                       BAL_ERR_NUMERIC, "model.norm.weight: element 7 is -");
        CU_ASSERT_EQUAL(n_files(dir.path), 0);
        values[7] = cases[i].fits;
        must_export(&bundle, cases[i].dtype, NULL, in_dir(&dir, "made"));
        bal_bundle_clear(&bundle);
    }
}

const char bal_suite_name[] = "hub_export";
const bal_test bal_suite_tests[] = {
    {"every family and format comes back as it was",
     test_every_family_and_format_comes_back_as_it_was},
    {"matrices of several pieces come back", test_matrices_of_several_pieces_come_back},
    {"an int8 model is rounded to the same codes again",
     test_an_int8_model_is_rounded_to_the_same_codes_again},
    {"few rows of four bits move when they are rounded again",
     test_few_rows_of_four_bits_move_when_they_are_rounded_again},
    {"a llama2.c model becomes a LLaMA", test_a_llama2c_model_becomes_a_llama},
    {"exported headers are aligned and in model order",
     test_exported_headers_are_aligned_and_in_model_order},
    {"config.json keeps everything but the dtype", test_config_json_keeps_everything_but_the_dtype},
    {"a bundle that does not fit together is refused",
     test_a_bundle_that_does_not_fit_together_is_refused},
    {"export never replaces a file", test_export_never_replaces_a_file},
    {"a failed export leaves nothing and names the file",
     test_a_failed_export_leaves_nothing_and_names_the_file},
    {"a name that is taken meanwhile undoes all", test_a_name_that_is_taken_meanwhile_undoes_all},
    {"a full disk leaves nothing", test_a_full_disk_leaves_nothing},
    {"a value too large for its dtype is named", test_a_value_too_large_for_its_dtype_is_named},
    {NULL, NULL},
};
