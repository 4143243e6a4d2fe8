/* hub_export_base.c: what has not changed since the base was quantized comes back with its bytes.
 */
#include <jansson.h>
#include <math.h>

#include "exports.h"

/* A tensor of a safetensors file, read by the published layout alone. */
typedef struct stored {
    char name[BAL_NAME_BYTES], dtype[16], shape[64];
    const uint8_t *bytes;
    size_t n_bytes;
} stored;

typedef struct store {
    int n, n_files;
    stored at[256];
    bal_mapping files[4];
} store;

static void add_file(store *s, const char *path)
{
    bal_mapping *file = &s->files[s->n_files++];
    CU_ASSERT_EQUAL_FATAL(bal_mapping_open(path, file), BAL_OK);
    uint64_t length;
    memcpy(&length, file->data, 8);
    json_t *header = json_loadb((const char *)file->data + 8, length, 0, NULL), *info;
    const char *name;
    CU_ASSERT_PTR_NOT_NULL_FATAL(header);
    json_object_foreach(header, name, info)
    {
        if (strcmp(name, "__metadata__") == 0) continue;
        stored *to = &s->at[s->n++];
        const char *dtype;
        json_t *shape;
        json_int_t begin, end;
        CU_ASSERT_EQUAL_FATAL(json_unpack(info, "{s:s, s:o, s:[II]}", "dtype", &dtype, "shape",
                                          &shape, "data_offsets", &begin, &end),
                              0);
        char *text = json_dumps(shape, JSON_COMPACT);
        snprintf(to->name, sizeof to->name, "%s", name);
        snprintf(to->dtype, sizeof to->dtype, "%s", dtype);
        snprintf(to->shape, sizeof to->shape, "%s", text);
        to->bytes = file->data + 8 + length + begin;
        to->n_bytes = (size_t)(end - begin);
        size_t width = strcmp(dtype, "F32") == 0 ? 4 : strcmp(dtype, "I64") == 0 ? 8 : 2;
        if (strcmp(dtype, "BOOL") != 0) /* readers map elements in place */
            CU_ASSERT_EQUAL(begin % (json_int_t)width, 0);
        free(text);
    }
    json_decref(header);
}

static int is_weights(const struct dirent *item)
{
    const char *dot = strrchr(item->d_name, '.');
    return dot != NULL && strcmp(dot, ".safetensors") == 0;
}

/* Of all files of a folder; none where its weights are pickles. */
static store *open_store(const char *dir)
{
    static store stores[2];
    static int next = 0;
    store *s = &stores[next++ % 2];
    struct dirent **items;
    int n = scandir(dir, &items, is_weights, alphasort);
    CU_ASSERT_FATAL(n >= 0 && n <= 4);
    *s = (store){0};
    for (int i = 0; i < n; ++i) {
        char path[PATH_MAX + 256];
        snprintf(path, sizeof path, "%s/%s", dir, items[i]->d_name);
        add_file(s, path);
        free(items[i]);
    }
    free(items);
    return s;
}

static void close_store(store *s)
{
    for (int i = 0; i < s->n_files; ++i) bal_mapping_close(&s->files[i]);
}

static const stored *find(const store *s, const char *name)
{
    for (int i = 0; i < s->n; ++i)
        if (strcmp(s->at[i].name, name) == 0) return &s->at[i];
    return NULL;
}

/* Tensors of a that b has otherwise; the last of their names in name. */
static int n_different(const store *a, const store *b, char *name)
{
    int n_bad = 0;
    CU_ASSERT_EQUAL(a->n, b->n);
    for (int i = 0; i < a->n; ++i) {
        const stored *x = &a->at[i], *y = find(b, x->name);
        if (y != NULL && strcmp(x->dtype, y->dtype) == 0 && strcmp(x->shape, y->shape) == 0 &&
            x->n_bytes == y->n_bytes && memcmp(x->bytes, y->bytes, x->n_bytes) == 0)
            continue;
        ++n_bad;
        if (name != NULL) strcpy(name, x->name);
    }
    return n_bad;
}

static void test_an_untrained_model_comes_back_byte_for_byte(void)
{
    static const bal_format formats[] = {BAL_F32, BAL_I8, BAL_I4, BAL_NF4};
    for (size_t i = 0; i < N_FOLDERS; ++i)
        for (int f = 0; f < 4; ++f) {
            char base[PATH_MAX];
            snprintf(base, sizeof base, "%s", family_path(folders[i]));
            bal_bundle bundle = load_bundle(base, formats[f], 64);
            test_dir top = new_dir("base");
            must_export(&bundle, BAL_EXPORT_BF16, base, in_dir(&top, "made"));
            store *theirs = open_store(base), *ours = open_store(in_dir(&top, "made"));
            if (theirs->n > 0) CU_ASSERT_EQUAL(n_different(theirs, ours, NULL), 0);
            close_store(theirs);
            close_store(ours);
            bal_bundle x = load_bundle(base, BAL_F32, 0);
            bal_bundle y = load_bundle(in_dir(&top, "made"), BAL_F32, 0);
            expect_same_floats(x.model, y.model);
            const bal_named_bytes *a = bal_files_find(&x.files, "config.json");
            const bal_named_bytes *b = bal_files_find(&y.files, "config.json");
            CU_ASSERT(a->n_bytes == b->n_bytes && memcmp(a->bytes, b->bytes, a->n_bytes) == 0);
            bal_bundle_clear(&x);
            bal_bundle_clear(&y);
            bal_bundle_clear(&bundle);
        }
}

/* What a change is of. */
typedef enum part { CODE, SCALE, FACTOR } part;

/* One code or float, scale or factor of one of our tensors is another. false: it has none. */
static bool change(bal_model *model, const char *name, part what)
{
    int index = bal_tensors_find(bal_model_tensors(model), name);
    bal_tensor *tensor = index >= 0 ? &bal_model_tensors(model)->at[index] : NULL;
    if (tensor == NULL || (what != CODE && tensor->format == BAL_F32) ||
        (what == FACTOR && tensor->factors == NULL) || (what == SCALE && tensor->role == BAL_GAIN))
        return false;
    if (what == FACTOR)
        tensor->factors[0] = tensor->factors[0] == 1 ? 2 : 1;
    else if (what == SCALE)
        tensor->scale[0] *= 1.01f;
    else if (tensor->format == BAL_F32)
        ((float *)tensor->codes)[1] += 1.0f;
    else
        bal_tensor_put(tensor, 1, bal_tensor_code(tensor, 1) + (tensor->low == 0 ? 1 : -1));
    return true;
}

static void test_only_what_changed_is_written_anew(void)
{
    static const struct {
        const char *folder, *ours, *theirs;
        int n;
        const char *dtype; /* in config.json */
    } cases[] = {
        {"gpt2-old", "model.layers.1.self_attn.k_proj.weight", "h.1.attn.c_attn.weight", 1,
         "float32"},
        {"gpt2-old", "model.layers.0.self_attn.v_proj.gain", "h.0.attn.c_attn.weight", 1,
         "float32"},
        {"gpt2", "model.layers.0.self_attn.q_proj.bias", "transformer.h.0.attn.c_attn.bias", 1,
         "float32"},
        {"llama3", "model.layers.1.mlp.up_proj.gain", "model.layers.1.mlp.up_proj.weight", 1,
         "bfloat16"},
        /* tied, and stored under both names */
        {"llama-tied", "model.embed_tokens.weight", "model.embed_tokens.weight", 2, "float32"},
        {"roberta", "model.embed_tokens.gain", "roberta.embeddings.word_embeddings.weight", 1,
         "float32"},
        {"roberta-untied", "lm_head.bias", "lm_head.decoder.bias", 2, "float32"},
        {"qwen3", "model.layers.0.self_attn.q_norm.weight",
         "model.layers.0.self_attn.q_norm.weight", 1, "bfloat16"},
    };
    static const bal_format formats[] = {BAL_F32, BAL_I8, BAL_I4, BAL_NF4};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i)
        for (int f = 0; f < 12; ++f) {
            char base[PATH_MAX], name[BAL_NAME_BYTES] = "";
            snprintf(base, sizeof base, "%s", family_path(cases[i].folder));
            bal_bundle bundle = load_bundle(base, formats[f % 4], 32);
            test_dir top = new_dir("changed");
            if (!change(bundle.model, cases[i].ours, (part)(f / 4))) {
                bal_bundle_clear(&bundle);
                continue;
            }
            must_export(&bundle, BAL_EXPORT_BF16, base, in_dir(&top, "made"));
            store *theirs = open_store(base), *ours = open_store(in_dir(&top, "made"));
            CU_ASSERT_EQUAL(n_different(theirs, ours, name), cases[i].n);
            const stored *x = find(theirs, cases[i].theirs), *y = find(ours, cases[i].theirs);
            CU_ASSERT_FATAL(x != NULL && y != NULL);
            CU_ASSERT_STRING_EQUAL(y->dtype, "BF16");
            CU_ASSERT_STRING_EQUAL(x->shape, y->shape);
            if (cases[i].n == 1) CU_ASSERT_STRING_EQUAL(name, cases[i].theirs);
            close_store(theirs);
            close_store(ours);
            json_t *config = json_load_file(in_dir(&top, "made/config.json"), 0, NULL);
            CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(config, "torch_dtype")),
                                   cases[i].dtype);
            json_decref(config);
            bal_bundle again = load_bundle(in_dir(&top, "made"), BAL_F32, 0); /* ties hold */
            bal_bundle_clear(&again);
            bal_bundle_clear(&bundle);
        }
}

static void test_a_base_of_another_model_is_refused(void)
{
    bal_bundle qwen = load_bundle(family_path("qwen3"), BAL_I8, 0);
    bal_bundle llama = stories(BAL_I8);
    test_dir top = new_dir("unfit");
    expect_failure(
        export_to(&qwen, BAL_EXPORT_F32, family_path("qwen3-tied"), in_dir(&top, "made")),
        BAL_ERR_INPUT, "expected [");
    expect_failure(export_to(&qwen, BAL_EXPORT_F32, family_path("gpt2"), in_dir(&top, "made")),
                   BAL_ERR_INPUT, "is missing");
    expect_failure(export_to(&qwen, BAL_EXPORT_F32, top.path, in_dir(&top, "made")), BAL_ERR_INPUT,
                   "no weights in this folder");
    expect_failure(
        export_to(&llama, BAL_EXPORT_F32, bal_test_data("stories260k"), in_dir(&top, "made")),
        BAL_ERR_INPUT, "llama2.c");
    CU_ASSERT_EQUAL(n_files(top.path), 0);
    bal_bundle_clear(&qwen);
    bal_bundle_clear(&llama);
}

/* Which of two biases a head has, no one can say: transformers has changed its mind. */
static void test_two_biases_of_a_head_that_differ_are_refused(void)
{
    test_dir odd = new_dir("odd");
    bal_mapping file;
    copy_file(family_path("roberta-untied/config.json"), &odd, "config.json");
    copy_file(family_path("roberta-untied/tokenizer.json"), &odd, "tokenizer.json");
    CU_ASSERT_EQUAL_FATAL(bal_mapping_open(family_path("roberta-untied/model.safetensors"), &file),
                          BAL_OK);
    char *bytes = malloc(file.n_bytes);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    memcpy(bytes, file.data, file.n_bytes);
    static const char named[] = "\"lm_head.decoder.bias\":{\"dtype\":\"F16\"";
    char *at = memmem(bytes, file.n_bytes, named, sizeof named - 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(at);
    at[sizeof named - 5] = 'I';
    write_file(&odd, "model.safetensors", bytes, file.n_bytes);
    bal_bundle bundle;
    CU_ASSERT_EQUAL(bal_hub_load(odd.path, &(bal_formats){.matrices = BAL_F32}, &bundle),
                    BAL_ERR_INPUT);
    CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "lm_head.bias and lm_head.decoder.bias differ"));
    free(bytes);
    bal_mapping_close(&file);
}

/* Without a base as well: transformers reads the one, its own older versions the other. */
static void test_the_bias_of_an_untied_head_has_both_its_names(void)
{
    bal_bundle bundle = load_bundle(family_path("roberta-untied"), BAL_I8, 0);
    test_dir top = new_dir("both");
    must_export(&bundle, BAL_EXPORT_F32, NULL, in_dir(&top, "made"));
    store *made = open_store(in_dir(&top, "made"));
    const stored *x = find(made, "lm_head.bias"), *y = find(made, "lm_head.decoder.bias");
    CU_ASSERT_FATAL(x != NULL && y != NULL && x->n_bytes == y->n_bytes);
    CU_ASSERT_EQUAL(memcmp(x->bytes, y->bytes, x->n_bytes), 0);
    close_store(made);
    bal_bundle_clear(&bundle);
}

/* A tied RoBERTa whose folder, as some do, has that bias twice. */
static void test_a_bias_that_is_stored_twice_changes_twice(void)
{
    static const char *const others[] = {"config.json", "tokenizer.json", "tokenizer_config.json"};
    test_dir base = new_dir("twice"), top = new_dir("made");
    safetensors file = {.header_length = -1};
    store *theirs = open_store(family_path("roberta"));
    for (int i = 0; i <= theirs->n; ++i) {
        const stored *from = i < theirs->n ? &theirs->at[i] : find(theirs, "lm_head.bias");
        long long shape[2] = {0};
        int n_dims = sscanf(from->shape, "[%lld,%lld", &shape[0], &shape[1]);
        add_line(&file, i < theirs->n ? from->name : "lm_head.decoder.bias", from->dtype,
                 (const int64_t[]){shape[0], shape[1]}, n_dims, from->bytes, from->n_bytes);
    }
    write_safetensors(&file, &base);
    for (int i = 0; i < 3; ++i) {
        char name[64];
        snprintf(name, sizeof name, "roberta/%s", others[i]);
        copy_file(family_path(name), &base, others[i]);
    }
    close_store(theirs);
    free(file.data);
    bal_bundle bundle = load_bundle(base.path, BAL_I8, 0);
    change(bundle.model, "lm_head.bias", CODE);
    must_export(&bundle, BAL_EXPORT_F16, base.path, in_dir(&top, "made"));
    theirs = open_store(base.path);
    store *ours = open_store(in_dir(&top, "made"));
    CU_ASSERT_EQUAL(n_different(theirs, ours, NULL), 2);
    close_store(theirs);
    close_store(ours);
    bal_bundle_clear(&bundle);
}

const char bal_suite_name[] = "hub_export_base";
const bal_test bal_suite_tests[] = {
    {"an untrained model comes back byte for byte",
     test_an_untrained_model_comes_back_byte_for_byte},
    {"only what changed is written anew", test_only_what_changed_is_written_anew},
    {"a base of another model is refused", test_a_base_of_another_model_is_refused},
    {"two biases of a head that differ are refused",
     test_two_biases_of_a_head_that_differ_are_refused},
    {"the bias of an untied head has both its names",
     test_the_bias_of_an_untied_head_has_both_its_names},
    {"a bias that is stored twice changes twice", test_a_bias_that_is_stored_twice_changes_twice},
    {NULL, NULL},
};
