/* hub_hostile.c: damaged and dishonest files get a sentence that names them, and little memory. */
#include <sys/resource.h>
#include <sys/stat.h>

#include "../../../src/hub/hub_impl.h"
#include "fixture.h"

/* Refuse what change makes of a folder that is fine without it. */
static void expect_safetensors_refused(void (*change)(safetensors *file), const char *words)
{
    safetensors file = small_safetensors();
    change(&file);
    test_dir dir = small_dir("hostile", &file);
    expect_refusal(dir.path, "model.safetensors", words);
    free(file.data);
}

static void test_the_small_folder_itself_is_fine(void)
{
    safetensors file = small_safetensors();
    test_dir dir = small_dir("fine", &file);
    bal_model *model = load(dir.path, BAL_I8);
    bal_model_destroy(&model);
    free(file.data);
}

static void long_header(safetensors *f) { f->header_length = 1ll << 60; }
static void longer_header(safetensors *f) { f->header_length = INT64_MAX; }
static void short_header(safetensors *f) { f->header_length = 100; }
static void no_header(safetensors *f) { f->header_length = 0; }
static void overlap(safetensors *f) { f->lines[3].begin -= 16, f->lines[3].end -= 16; }
static void same_place(safetensors *f)
{
    f->lines[8].begin = f->lines[7].begin, f->lines[8].end = f->lines[7].end;
}
static void gap(safetensors *f) { f->lines[11].begin += 4, f->lines[11].end += 4; }
static void gap_inside(safetensors *f)
{
    uint8_t *data = realloc(f->data, f->n_data + 4);
    CU_ASSERT_PTR_NOT_NULL_FATAL(data);
    memset(data + f->n_data, 0, 4);
    f->data = data;
    f->n_data += 4;
    gap(f);
}
static void rest(safetensors *f) { gap_inside(f), f->lines[11].begin -= 4, f->lines[11].end -= 4; }
static void past_end(safetensors *f) { f->lines[11].end = 1ll << 62; }
static void backwards(safetensors *f) { f->lines[2].begin = f->lines[2].end + 64; }
static void negative_place(safetensors *f) { f->lines[0].begin = -8; }
static void negative_shape(safetensors *f) { strcpy(f->lines[2].shape, "[-4,-4]"); }
static void overflow(safetensors *f) { strcpy(f->lines[2].shape, "[4611686018427387904,4]"); }
static void overflow_twice(safetensors *f)
{
    strcpy(f->lines[2].shape, "[9223372036854775807,9223372036854775807]");
}
static void past_int64(safetensors *f) { strcpy(f->lines[2].shape, "[92233720368547758080,4]"); }
static void real_shape(safetensors *f) { strcpy(f->lines[2].shape, "[4.0,4]"); }
static void deep_shape(safetensors *f) { strcpy(f->lines[2].shape, "[4,2,2]"); }
static void no_shape(safetensors *f) { strcpy(f->lines[2].shape, "[]"); }
static void text_shape(safetensors *f) { strcpy(f->lines[2].shape, "\"4\""); }
static void wrong_shape(safetensors *f) { strcpy(f->lines[2].shape, "[2,8]"); }
static void flat_shape(safetensors *f) { strcpy(f->lines[2].shape, "[16]"); }
static void wrong_size(safetensors *f) { strcpy(f->lines[2].shape, "[4,5]"); }
static void nine_sizes(safetensors *f) { strcpy(f->lines[2].shape, "[4,4,1,1,1,1,1,1,1]"); }
static void half_bytes(safetensors *f)
{
    strcpy(f->lines[2].dtype, "F4"), strcpy(f->lines[2].shape, "[127]");
}
static void unknown_dtype(safetensors *f) { strcpy(f->lines[2].dtype, "F128"); }
static void unprintable_dtype(safetensors *f) { strcpy(f->lines[2].dtype, "\\u001b[2J"); }
static void other_dtype(safetensors *f) { strcpy(f->lines[2].dtype, "I32"); }
static void smaller_dtype(safetensors *f) { strcpy(f->lines[2].dtype, "F8_E4M3"); }
static void duplicate(safetensors *f) { strcpy(f->lines[4].name, f->lines[3].name); }
static void duplicate_key(safetensors *f) { strcpy(f->lines[4].shape, "[2,4],\"shape\":[2,4]"); }
static void missing(safetensors *f) { strcpy(f->lines[4].name, "model.layers.0.other.weight"); }
static void unprintable(safetensors *f) { strcpy(f->lines[4].name, "\\u001b[2J"); }
static void extra(safetensors *f)
{
    add_line(f, "model.layers.1.mlp.up_proj.weight", "F32", (int64_t[]){1}, 1, "\0\0\0\0", 4);
}
static void no_tensor(safetensors *f) { strcpy(f->extra, ",\"x\":7"); }
static void not_json(safetensors *f) { strcpy(f->extra, ",\033[31m"); }
static void nan_inside(safetensors *f) { memset(f->data + f->lines[9].begin + 8, 0xff, 4); }
static void infinity_inside(safetensors *f)
{
    memcpy(f->data + f->lines[1].begin, "\0\0\x80\x7f", 4);
}

static void test_damaged_safetensors_are_refused(void)
{
    static const struct {
        void (*change)(safetensors *file);
        const char *words;
    } cases[] = {
        {long_header, "header length is 1152921504606846976"},
        {longer_header, "header length"},
        {short_header, "JSON"},
        {no_header, "no JSON"},
        {overlap, "overlapping"},
        {same_place, "overlapping"},
        {gap, "data_offsets"},
        {gap_inside, "after a gap"},
        {rest, "the end of the file"},
        {past_end, "data_offsets"},
        {backwards, "data_offsets"},
        {negative_place, "data_offsets -8"},
        {negative_shape, "q_proj.weight: shape"},
        {overflow, "q_proj.weight: shape"},
        {overflow_twice, "q_proj.weight: shape"},
        {past_int64, "not a size in elements"},
        {real_shape, "q_proj.weight: shape"},
        {deep_shape, "q_proj.weight has shape [4, 2, 2]; expected [4, 4]"},
        {no_shape, "span 64 bytes; expected 4"},
        {nine_sizes, "9 sizes; expected an array of at most 8"},
        {half_bytes, "q_proj.weight: shape"},
        {text_shape, "0 sizes"},
        {wrong_shape, "q_proj.weight has shape [2, 8]; expected [4, 4]"},
        {flat_shape, "q_proj.weight has shape [16]; expected [4, 4]"},
        {wrong_size, "expected 80"},
        {unknown_dtype, "q_proj.weight: dtype F128; expected"},
        {unprintable_dtype, "q_proj.weight: dtype is not plain ASCII"},
        {other_dtype, "q_proj.weight has dtype I32; expected F32, F16 or BF16"},
        {smaller_dtype, "span 64 bytes; expected 16"},
        {duplicate, "duplicate"},
        {duplicate_key, "duplicate"},
        {missing, "v_proj.weight is missing"},
        {unprintable, "plain ASCII"},
        {extra, "model.layers.1.mlp.up_proj.weight does not belong to a "},
        {no_tensor, "tensor x"},
        {not_json, "near '?'"},
        {nan_inside, "down_proj.weight: element 2 is NaN"},
        {infinity_inside, "input_layernorm.weight: element 0 is infinite"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i)
        expect_safetensors_refused(cases[i].change, cases[i].words);
}

static void test_absurd_configs_are_refused(void)
{
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"", "no JSON"},
        {"[]", "expected an object"},
        {"{\"vocab_size\": 1, \"vocab_size\": 2}", "duplicate"},
        {"{\"a\": 1", "line 1"},
        {"{}", "model_type is missing"},
        {"{\"architectures\": [\"BloomForCausalLM\"]}", "BloomForCausalLM"},
        {"{\"architectures\": \"LlamaForCausalLM\"}", "architectures"},
        {"{\"model_type\": \"bloom\"}", "model_type is \"bloom\"; expected one of llama, mistral"},
        {"{\"model_type\": \"gpt2\", \"architectures\": [\"GPT2Model\"]}", "GPT2LMHeadModel"},
        {"{\"model_type\": \"gpt2\", \"activation_function\": \"tanh\"}", "is \"tanh\""},
        {"{\"model_type\": \"qwen2\", \"use_sliding_window\": true}", "use_sliding_window is true"},
        {"{\"model_type\": \"roberta\", \"is_decoder\": true}", "is_decoder is true"},
        {"{\"model_type\": \"opt\", \"enable_bias\": 0}", "enable_bias is 0"},
        {"{\"model_type\": \"llama\"}", "hidden_size is missing"},
        {"{\"model_type\": \"llama\", \"hidden_act\": \"gelu\"}", "hidden_act is \"gelu\""},
        {"{\"model_type\": \"llama\", \"mlp_bias\": 1}", "mlp_bias is 1"},
        {"{\"model_type\": \"llama\", \"rope_scaling\": {\"factor\": 8}}",
         "rope_scaling is {\"fac"},
        {"{\"model_type\": \"llama\", \"hidden_size\": 0}", "hidden_size is 0"},
        {"{\"model_type\": \"llama\", \"hidden_size\": -64}", "hidden_size is -64"},
        {"{\"model_type\": \"llama\", \"hidden_size\": 64.5}", "hidden_size is 64.5"},
        {"{\"model_type\": \"llama\", \"hidden_size\": \"\\u001b\"}", "hidden_size is \"\\u001B\""},
        {"{\"model_type\": \"llama\", \"hidden_size\": 9223372036854775807}", "1 to 65536"},
        {"{\"model_type\": \"llama\", \"hidden_size\": 1e999}", "line 1"},
    };
    safetensors file = small_safetensors();
    test_dir dir = small_dir("configs", &file);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        write_file(&dir, "config.json", cases[i].text, strlen(cases[i].text));
        expect_refusal(dir.path, "config.json", cases[i].words);
    }
    static const char *const more[][2] = {
        {", \"rope_theta\": 0", "rope_theta is 0"},
        {", \"rope_theta\": \"x\"", "rope_theta is \"x\""},
        {", \"rope_parameters\": {\"rope_type\": \"yarn\"}", "rope_parameters"},
        {", \"rope_parameters\": []", "rope_parameters is []"},
        {", \"rope_parameters\": {\"full_attention\": {}}", "one scaling for all"},
        {", \"rope_scaling\": {\"rope_type\": \"linear\"}", "factor is missing"},
        {", \"partial_rotary_factor\": 0.5", "partial_rotary_factor is 0.5"},
        {", \"head_dim\": 3", "head_dim is 3"},
        {", \"head_dim\": true", "head_dim is true"},
    };
    for (size_t i = 0; i < sizeof more / sizeof *more; ++i) {
        write_config(&dir, &small_config, more[i][0]);
        expect_refusal(dir.path, "config.json", more[i][1]);
    }
    /* sizes that are each allowed, but that no file justifies */
    bal_model_config deep = small_config;
    deep.n_layers = 4096;
    write_config(&dir, &deep, "");
    expect_refusal(dir.path, "model.safetensors", "4096 layers");
    bal_model_config wide = small_config;
    wide.dim = 65536;
    wide.n_vocab = 32768;
    wide.hidden = 32767;
    wide.n_heads = 1024;
    wide.n_kv_heads = 1024;
    write_config(&dir, &wide, "");
    expect_refusal(dir.path, "config.json", "65536 x 65536 is too large");
    wide.dim = 32768;
    wide.n_heads = wide.n_kv_heads = 256;
    write_config(&dir, &wide, "");
    expect_refusal(dir.path, "model.safetensors", "shape");
    wide.n_vocab = 1ll << 40;
    write_config(&dir, &wide, "");
    expect_refusal(dir.path, "config.json", "vocab_size");
    wide.n_vocab = 512;
    wide.max_tokens = INT32_MAX;
    write_config(&dir, &wide, "");
    expect_refusal(dir.path, "config.json", "max_position_embeddings");
    free(file.data);
}

/* The same folder, its file name cut to n bytes. */
static void expect_cut_refused(const char *path, const test_dir *dir, const char *name, size_t n)
{
    CU_ASSERT_EQUAL_FATAL(truncate(in_dir(dir, name), (off_t)n), 0);
    expect_refusal(path, name, "");
}

static void test_cut_files_are_refused_at_every_length(void)
{
    safetensors file = small_safetensors();
    test_dir dir = small_dir("cut", &file);
    struct stat info;
    CU_ASSERT_EQUAL_FATAL(stat(in_dir(&dir, "model.safetensors"), &info), 0);
    size_t n = (size_t)info.st_size;
    while (n > 0) {
        n -= n > 2000 ? 97 : 1;
        expect_cut_refused(dir.path, &dir, "model.safetensors", n);
    }
    write_safetensors(&file, &dir);
    CU_ASSERT_EQUAL_FATAL(stat(in_dir(&dir, "config.json"), &info), 0);
    for (n = (size_t)info.st_size; n-- > 0;) expect_cut_refused(dir.path, &dir, "config.json", n);
    free(file.data);

    test_dir stories = new_dir("cut-llama2c");
    copy_file(bal_test_data(STORIES_FILE), &stories, "stories.bin");
    copy_file(bal_test_data(TOKENIZER_FILE), &stories, "tok512.bin");
    for (n = 1056540; n > 0;) {
        n -= n > 10007 ? 10007 : 1;
        if (n < 5000 && n > 300) n = 300;
        expect_cut_refused(stories.path, &stories, "stories.bin", n);
    }
}

static void test_dishonest_llama2c_headers_are_refused(void)
{
    static const struct {
        int32_t version, header[7]; /* dim, hidden, layers, heads, kv heads, vocab, seq */
        const char *words;
    } cases[] = {
        {0, {0, 172, 5, 8, 4, 512, 512}, "dim is 0"},
        {0, {-64, 172, 5, 8, 4, 512, 512}, "dim is -64"},
        {0, {64, INT32_MAX, 5, 8, 4, 512, 512}, "hidden_dim is 2147483647"},
        {0, {64, 172, INT32_MAX, 8, 4, 512, 512}, "n_layers"},
        {0, {64, 172, 5, 0, 4, 512, 512}, "n_heads is 0"},
        {0, {64, 172, 5, 7, 4, 512, 512}, "multiple of n_heads"},
        {0, {64, 172, 5, 8, 3, 512, 512}, "heads"},
        {0, {64, 172, 5, 8, 4, INT32_MIN, 512}, "vocab_size"},
        {0, {64, 172, 5, 8, 4, INT32_MAX, 512}, "n_vocab"},
        {0, {64, 172, 5, 8, 4, 512, INT32_MAX}, "seq_len"},
        {0, {64, 172, 5, 8, 4, 512, 511}, "1056540 bytes; expected 1056508"},
        {0, {64, 172, 5, 8, 4, -512, 512}, "1056540 bytes; expected 1187612"},
        {0, {65536, 32767, 4096, 256, 256, 32768, 1048576}, "65536 x 65536 is too large"},
        {0, {32768, 32767, 4096, 256, 256, 32768, 1048576}, "1056540 bytes; expected"},
        {1, {64, 172, 5, 8, 4, -512, 512}, "vocab_size is -512"},
        {1, {64, 172, 5, 8, 4, 512, 512}, "1056540 bytes; expected 1171456"},
        {2, {64, 172, 5, 8, 4, 512, 512}, "quantized already"},
        {3, {64, 172, 5, 8, 4, 512, 512}, "version 3"},
        {-1, {64, 172, 5, 8, 4, 512, 512}, "version -1"},
    };
    bal_mapping file;
    CU_ASSERT_EQUAL_FATAL(bal_mapping_open(bal_test_data(STORIES_FILE), &file), BAL_OK);
    uint8_t *bytes = malloc(file.n_bytes);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    test_dir dir = new_dir("llama2c");
    copy_file(bal_test_data(TOKENIZER_FILE), &dir, "tok512.bin");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        int32_t start[2] = {0x616b3432, cases[i].version};
        bool v0 = cases[i].version == 0;
        memcpy(bytes, file.data, file.n_bytes);
        memcpy(bytes, start, v0 ? 0 : 8);
        memcpy(bytes + (v0 ? 0 : 8), cases[i].header, 28);
        if (!v0) bytes[36] = 0;
        write_file(&dir, "model.bin", bytes, file.n_bytes);
        expect_refusal(in_dir(&dir, "model.bin"), "model.bin", cases[i].words);
    }
    memcpy(bytes, file.data, file.n_bytes);
    memset(bytes + 28 + 4 * 1000, 0xff, 4);
    write_file(&dir, "model.bin", bytes, file.n_bytes);
    expect_refusal(dir.path, "model.bin", "model.embed_tokens.weight: element 1000 is NaN");
    free(bytes);
    bal_mapping_close(&file);
}

static void test_folders_that_do_not_fit_get_a_sentence(void)
{
    test_dir dir = new_dir("folder");
    expect_refusal(in_dir(&dir, "nowhere"), "nowhere", "cannot be read");
    expect_refusal(dir.path, dir.path, "no model in this folder");
    write_file(&dir, "b.bin", "x", 1);
    expect_refusal(dir.path, "b.bin", "1 bytes");
    write_file(&dir, "a.bin", "x", 1);
    expect_refusal(dir.path, dir.path, "a.bin, b.bin");
    expect_refusal(in_dir(&dir, "model.safetensors"), "model.safetensors", "expected its folder");

    test_dir one = new_dir("tokenizers");
    copy_file(bal_test_data(STORIES_FILE), &one, "stories.bin");
    expect_refusal(one.path, one.path, "no tokenizer");
    write_file(&one, "tok1.bin", "", 0);
    expect_refusal(one.path, "tok1.bin", "");
    copy_file(bal_test_data(TOKENIZER_FILE), &one, "tok2.bin");
    expect_refusal(one.path, one.path, "tok1.bin, tok2.bin");

    test_dir empty = new_dir("empty");
    write_config(&empty, &small_config, "");
    expect_refusal(empty.path, empty.path, "no weights in this folder; expected model.safetensors");
    write_file(&empty, "pytorch_model.bin.index.json", "{}", 2);
    expect_refusal(empty.path, "pytorch_model.bin.index.json", "weight_map has 0 tensors");
    write_file(&empty, "pytorch_model.bin", "PK", 2);
    expect_refusal(empty.path, "pytorch_model.bin", "not a zip file");
    write_file(&empty, "model.safetensors.index.json", "[]", 2);
    expect_refusal(empty.path, "model.safetensors.index.json", "expected an object");
    CU_ASSERT_EQUAL_FATAL(mkdir(in_dir(&empty, "model.safetensors"), 0777), 0);
    expect_refusal(empty.path, "model.safetensors", "regular file");
}

static void test_refusing_takes_little_memory(void) /* of all the tests above */
{
    struct rusage usage;
    CU_ASSERT_EQUAL(getrusage(RUSAGE_SELF, &usage), 0);
    CU_ASSERT(usage.ru_maxrss < 1 << 20); /* KiB: 1 GiB, most of it a sanitizer's */
}

/* As those of a pickle can: then a small file would ask for any amount of memory. */
static void test_tensors_that_share_their_bytes_are_refused(void)
{
    safetensors file = small_safetensors();
    test_dir dir = small_dir("share", &file);
    bal_hub_table table;
    bal_model *model = NULL;
    const bal_family *llama = bal_family_of_type("llama");
    bal_model_config config = small_config;
    CU_ASSERT_EQUAL_FATAL(bal_model_outline(&config, &(bal_formats){.matrices = BAL_F32}, &model),
                          BAL_OK);
    CU_ASSERT_EQUAL_FATAL(bal_hub_weights_open(dir.path, &table), BAL_OK);
    CU_ASSERT_EQUAL(bal_hub_match(&table, llama, model), BAL_OK);
    size_t n_bytes = table.files[0].file.n_bytes;
    table.files[0].file.n_bytes = 1000; /* of which the tensors have more */
    CU_ASSERT_EQUAL(bal_hub_match(&table, llama, model), BAL_ERR_INPUT);
    CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "share bytes"));
    table.files[0].file.n_bytes = n_bytes;
    bal_hub_table_clear(&table);
    bal_model_destroy(&model);
    free(file.data);
}

const char bal_suite_name[] = "hub_hostile";
const bal_test bal_suite_tests[] = {
    {"the small folder itself is fine", test_the_small_folder_itself_is_fine},
    {"damaged safetensors are refused", test_damaged_safetensors_are_refused},
    {"absurd configs are refused", test_absurd_configs_are_refused},
    {"cut files are refused at every length", test_cut_files_are_refused_at_every_length},
    {"dishonest llama2.c headers are refused", test_dishonest_llama2c_headers_are_refused},
    {"folders that do not fit get a sentence", test_folders_that_do_not_fit_get_a_sentence},
    {"tensors that share their bytes are refused", test_tensors_that_share_their_bytes_are_refused},
    {"refusing takes little memory", test_refusing_takes_little_memory},
    {NULL, NULL},
};
