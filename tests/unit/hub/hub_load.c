/* hub_load.c: every supported layout gives the values that were stored. */
#include <math.h>
#include <unistd.h>

#include "fixture.h"

static void test_v0_gives_the_known_values(void)
{
    bal_model *model = load(bal_test_data(STORIES_FILE), BAL_F32);
    const bal_model_config *c = bal_model_shape(model);
    CU_ASSERT(c->dim == 64 && c->hidden == 172 && c->n_layers == 5 && c->n_heads == 8);
    CU_ASSERT(c->n_kv_heads == 4 && c->head_dim == 8 && c->n_vocab == 512 && c->max_tokens == 512);
    CU_ASSERT(c->tied_head && c->rope.pairs == BAL_ROPE_ADJACENT);
    CU_ASSERT(c->norm_eps == 1e-5 && c->rope.base == 10000.0);
    static const struct {
        const char *first_name, *last_name;
        int64_t last;
        float first_value, last_value;
    } known[] = {
        /* first value of the first layer, last of the last, printed from the file by hand */
        {"model.embed_tokens", "model.embed_tokens", 512 * 64, -0.294748783f, -0.424032599f},
        {"model.layers.0.input_layernorm", "model.layers.4.input_layernorm", 64, 0.972242951f,
         1.06495595f},
        {"model.layers.0.self_attn.q_proj", "model.layers.4.self_attn.q_proj", 64 * 64,
         0.0443927869f, -0.189013824f},
        {"model.layers.0.self_attn.k_proj", "model.layers.4.self_attn.k_proj", 32 * 64,
         0.216130108f, -0.265130162f},
        {"model.layers.0.self_attn.v_proj", "model.layers.4.self_attn.v_proj", 32 * 64,
         0.0911254361f, 0.0883691236f},
        {"model.layers.0.self_attn.o_proj", "model.layers.4.self_attn.o_proj", 64 * 64,
         0.017344147f, 0.00620359136f},
        {"model.layers.0.post_attention_layernorm", "model.layers.4.post_attention_layernorm", 64,
         0.736777067f, 1.23426116f},
        {"model.layers.0.mlp.gate_proj", "model.layers.4.mlp.gate_proj", 172 * 64, 0.21368666f,
         -0.143598109f},
        {"model.layers.0.mlp.down_proj", "model.layers.4.mlp.down_proj", 172 * 64, 0.134984195f,
         -0.00350687164f},
        {"model.layers.0.mlp.up_proj", "model.layers.4.mlp.up_proj", 172 * 64, 0.0703711882f,
         0.106031939f},
        {"model.norm", "model.norm", 64, 2.45830894f, 1.7077769f},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; ++i) {
        char name[BAL_NAME_BYTES];
        snprintf(name, sizeof name, "%s.weight", known[i].first_name);
        CU_ASSERT_EQUAL(floats(model, name)[0], known[i].first_value);
        snprintf(name, sizeof name, "%s.weight", known[i].last_name);
        CU_ASSERT_EQUAL(floats(model, name)[known[i].last - 1], known[i].last_value);
    }
    bal_model_destroy(&model);
}

/* Write a model of floats as a llama2.c file: names in the order of the file, all layers of one,
 * then the next. The opposite of the reader, from the description of the format. */
static void write_llama2c(const bal_model *model, int version, bool tied, const test_dir *dir)
{
    static const char *const orders[2][13] = {
        {"model.embed_tokens", "layers.input_layernorm", "layers.self_attn.q_proj",
         "layers.self_attn.k_proj", "layers.self_attn.v_proj", "layers.self_attn.o_proj",
         "layers.post_attention_layernorm", "layers.mlp.gate_proj", "layers.mlp.down_proj",
         "layers.mlp.up_proj", "model.norm", "rotary", "lm_head"},
        {"layers.input_layernorm", "layers.post_attention_layernorm", "model.norm",
         "model.embed_tokens", "layers.self_attn.q_proj", "layers.self_attn.k_proj",
         "layers.self_attn.v_proj", "layers.self_attn.o_proj", "layers.mlp.gate_proj",
         "layers.mlp.down_proj", "layers.mlp.up_proj", "lm_head"}};
    const bal_model_config *c = bal_model_shape(model);
    size_t capacity = 4u << 20, n = version == 0 ? 28 : 256;
    char *bytes = calloc(1, capacity);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    int32_t header[9] = {0x616b3432,
                         version,
                         (int32_t)c->dim,
                         (int32_t)c->hidden,
                         (int32_t)c->n_layers,
                         (int32_t)c->n_heads,
                         (int32_t)c->n_kv_heads,
                         (int32_t)(version == 0 && !tied ? -c->n_vocab : c->n_vocab),
                         (int32_t)c->max_tokens};
    if (version == 0)
        memcpy(bytes, header + 2, 28);
    else
        memcpy(bytes, header, 36), bytes[36] = tied;
    for (int i = 0; i < 13 && orders[version][i] != NULL; ++i) {
        const char *part = orders[version][i];
        if (strcmp(part, "rotary") == 0) {
            memset(bytes + n, 0x7f, (size_t)(c->max_tokens * c->head_dim) * 4); /* not read */
            n += (size_t)(c->max_tokens * c->head_dim) * 4;
            continue;
        }
        if (strcmp(part, "lm_head") == 0) {
            if (tied) continue;
            part = "model.embed_tokens"; /* any values of that shape */
        }
        bool per_layer = strncmp(part, "layers.", 7) == 0;
        for (int layer = 0; layer < (per_layer ? c->n_layers : 1); ++layer) {
            char name[BAL_NAME_BYTES];
            if (per_layer)
                snprintf(name, sizeof name, "model.layers.%d.%s.weight", layer, part + 7);
            else
                snprintf(name, sizeof name, "%s.weight", part);
            int index = bal_tensors_find(bal_model_tensors(model), name);
            size_t n_bytes = 4 * (size_t)bal_tensor_n(&bal_model_tensors(model)->at[index]);
            CU_ASSERT_FATAL(n + n_bytes <= capacity);
            memcpy(bytes + n, floats(model, name), n_bytes);
            n += n_bytes;
        }
    }
    write_file(dir, "model.bin", bytes, n);
    free(bytes);
}

static void test_llama2c_files_of_both_versions_tied_or_not_hold_the_same(void)
{
    bal_model *model = load(bal_test_data(STORIES_FILE), BAL_F32);
    for (int version = 0; version < 2; ++version)
        for (int tied = 0; tied < 2; ++tied) {
            test_dir dir = new_dir("llama2c");
            copy_file(bal_test_data(TOKENIZER_FILE), &dir, "tok512.bin");
            write_llama2c(model, version, tied, &dir);
            if (version == 0 && tied) { /* the sample itself, but for rotary tables */
                bal_mapping a, b;
                CU_ASSERT_EQUAL_FATAL(bal_mapping_open(bal_test_data(STORIES_FILE), &a), BAL_OK);
                CU_ASSERT_EQUAL_FATAL(bal_mapping_open(in_dir(&dir, "model.bin"), &b), BAL_OK);
                CU_ASSERT_EQUAL_FATAL(a.n_bytes, b.n_bytes);
                CU_ASSERT_EQUAL(memcmp(a.data, b.data, a.n_bytes - 512 * 8 * 4), 0);
                bal_mapping_close(&a);
                bal_mapping_close(&b);
            }
            CU_ASSERT_STRING_EQUAL(bal_hub_kind(dir.path),
                                   version == 0 ? "llama2.c v0" : "llama2.c v1");
            bal_model *again = load(dir.path, BAL_F32);
            CU_ASSERT_EQUAL(bal_model_shape(again)->tied_head, tied != 0);
            if (tied) expect_same_floats(model, again);
            if (!tied)
                CU_ASSERT_EQUAL(memcmp(floats(again, "lm_head.weight"),
                                       floats(model, "model.embed_tokens.weight"), 512 * 64 * 4),
                                0);
            CU_ASSERT_EQUAL(memcmp(floats(again, "model.norm.weight"),
                                   floats(model, "model.norm.weight"), 64 * 4),
                            0);
            bal_model_destroy(&again);
        }
    bal_model_destroy(&model);
}

/* Bits of a value with n_dropped of its low bits cut off: how this test rounds. */
static float cut(float value, int n_dropped)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits &= ~((1u << n_dropped) - 1);
    memcpy(&value, &bits, sizeof bits);
    return value;
}

static void test_folders_of_every_dtype_hold_the_same_but_for_rounding(void)
{
    bal_model *model = load(bal_test_data(STORIES_FILE), BAL_F32);
    static const char *const dtypes[] = {"F32", "F16", "BF16"};
    for (int type = 0; type < 3; ++type) {
        safetensors file = {.header_length = -1};
        float smallest = type == 1 ? 0x1p-14f : 0.0f; /* smaller ones have a test of their own */
        for (int i = 0; i < bal_model_tensors(model)->n; ++i) {
            bal_tensor *tensor = &bal_model_tensors(model)->at[i];
            float *values = tensor->codes;
            int64_t n = bal_tensor_n(tensor);
            uint16_t *halves = malloc((size_t)n * 2);
            CU_ASSERT_PTR_NOT_NULL_FATAL(halves);
            for (int64_t k = 0; k < n; ++k) {
                float value = fabsf(values[k]) < smallest ? smallest : values[k];
                if (type > 0) value = cut(value, type == 1 ? 13 : 16);
                uint32_t bits;
                memcpy(&bits, &value, sizeof bits);
                halves[k] = (uint16_t)(type == 2 ? bits >> 16
                                                 : (bits >> 16 & 0x8000) |
                                                       ((bits >> 13 & 0x3ffff) - (112u << 10)));
                values[k] = value;
            }
            int64_t shape[2] = {tensor->n_rows, tensor->n_cols};
            bool vector = tensor->role == BAL_VECTOR;
            add_line(&file, tensor->name, dtypes[type], vector ? &shape[1] : shape, vector ? 1 : 2,
                     type == 0 ? (void *)values : halves, (size_t)n * (type == 0 ? 4 : 2));
            free(halves);
        }
        test_dir dir = new_dir(dtypes[type]);
        copy_file(bal_test_data(TOKENIZER_FILE), &dir, "tok512.bin");
        write_config(&dir, bal_model_shape(model), "");
        write_safetensors(&file, &dir);
        CU_ASSERT_STRING_EQUAL(bal_hub_kind(dir.path), "Hugging Face");
        bal_model *again = load(dir.path, BAL_F32);
        CU_ASSERT_EQUAL(bal_model_shape(again)->rope.pairs, BAL_ROPE_HALVES);
        CU_ASSERT_EQUAL(bal_model_shape(again)->norm_eps, 1e-5);
        CU_ASSERT_EQUAL(bal_model_shape(again)->rope.base, 10000.0);
        expect_same_floats(model, again);
        bal_model_destroy(&again);
        free(file.data);
    }
    bal_model_destroy(&model);
}

/* A small folder with other bytes as its embedding [512, 4] of 2-byte elements. */
static bal_model *load_with_embedding(const char *dtype, const uint16_t *halves)
{
    safetensors all = small_safetensors(), file = {.header_length = -1};
    add_line(&file, all.lines[0].name, dtype, (int64_t[]){512, 4}, 2, halves, 4096);
    for (int i = 1; i < all.n_lines; ++i) {
        const header_line *line = &all.lines[i];
        header_line *added = &file.lines[file.n_lines];
        add_line(&file, line->name, "F32", (int64_t[]){0}, 1, all.data + line->begin,
                 (size_t)(line->end - line->begin));
        memcpy(added->shape, line->shape, sizeof added->shape);
    }
    test_dir dir = small_dir("halves", &file);
    bal_model *model = load(dir.path, BAL_F32);
    free(file.data);
    free(all.data);
    return model;
}

static void test_every_half_float_is_read_exactly(void)
{
    for (uint32_t from = 0; from < 0x10000; from += 2048) {
        uint16_t halves[2048];
        for (uint32_t k = 0; k < 2048; ++k) {
            uint32_t half = from + k;
            halves[k] = (uint16_t)((half & 0x7c00) == 0x7c00 ? 0 : half); /* no inf, no NaN */
        }
        bal_model *model = load_with_embedding("F16", halves);
        const float *values = floats(model, "model.embed_tokens.weight");
        int n_bad = 0;
        for (int k = 0; k < 2048; ++k) {
            int exponent = halves[k] >> 10 & 31, fraction = halves[k] & 1023;
            double value = exponent == 0 ? ldexp(fraction, -24)
                                         : ldexp(1.0 + fraction / 1024.0, exponent - 15);
            if (halves[k] & 0x8000) value = -value;
            n_bad += (double)values[k] != value || !signbit(values[k]) != !signbit(value);
        }
        CU_ASSERT_EQUAL(n_bad, 0);
        bal_model_destroy(&model);
    }
}

static void test_a_tied_matrix_is_found_under_either_name(void)
{
    bal_model_config tied = small_config;
    tied.tied_head = true;
    safetensors file = small_safetensors();
    test_dir dir = small_dir("tied-both", &file);
    write_config(&dir, &tied, "");
    bal_model *both = load(dir.path, BAL_F32); /* both stored, the same */

    /* only lm_head.weight: drop the first tensor, shift the others */
    safetensors one = {.n_lines = file.n_lines - 1, .header_length = -1};
    one.n_data = file.n_data - (size_t)file.lines[0].end;
    one.data = file.data + file.lines[0].end;
    memcpy(one.lines, file.lines + 1, (size_t)one.n_lines * sizeof *one.lines);
    for (int i = 0; i < one.n_lines; ++i) {
        one.lines[i].begin -= file.lines[0].end;
        one.lines[i].end -= file.lines[0].end;
    }
    test_dir dir_one = small_dir("tied-head", &one);
    write_config(&dir_one, &tied, "");
    bal_model *head = load(dir_one.path, BAL_F32);
    expect_same_floats(both, head);
    bal_model_destroy(&head);

    strcpy(one.lines[one.n_lines - 1].name, "model.embed_tokens.weight");
    write_safetensors(&one, &dir_one);
    bal_model *embedding = load(dir_one.path, BAL_F32);
    expect_same_floats(both, embedding);
    bal_model_destroy(&embedding);
    bal_model_destroy(&both);

    file.data[0] ^= 1;
    write_safetensors(&file, &dir);
    expect_refusal(dir.path, "model.safetensors", "differ");
    free(file.data);
}

static void test_old_rotary_entries_and_metadata_are_ignored(void)
{
    safetensors file = small_safetensors();
    add_line(&file, "model.layers.0.self_attn.rotary_emb.inv_freq", "F32", (int64_t[]){1}, 1,
             "\0\0\x80\x3f", 4);
    strcpy(file.extra, ",\"__metadata__\":{\"format\":\"pt\"}      ");
    test_dir dir = small_dir("rotary", &file);
    bal_model *model = load(dir.path, BAL_F32);
    CU_ASSERT_EQUAL(bal_model_tensors(model)->n, 12);
    bal_model_destroy(&model);
    free(file.data);
}

static void test_integer_models_are_the_floats_quantized(void)
{
    const char *path = bal_test_data(STORIES_FILE);
    bal_model *model = load(path, BAL_F32);
    bal_bundle bundle;
    bal_states states = {.n = 2, .at = {{.name = "left", .from_rounding = true}, {.name = "none"}}};
    CU_ASSERT_EQUAL_FATAL(bal_hub_outline(path, &(bal_formats){.matrices = BAL_I8}, &bundle),
                          BAL_OK);
    const bal_tensors *known = bal_model_tensors(model);
    bal_tensors *made = bal_model_tensors(bundle.model);
    CU_ASSERT_EQUAL_FATAL(bal_tensors_allocate(made), BAL_OK);
    CU_ASSERT_EQUAL_FATAL(bal_states_allocate(&states, made), BAL_OK);
    memset(states.at[0].memory, 0x5A, bal_states_bytes(&states, made));
    CU_ASSERT_EQUAL(bal_hub_fill(path, bundle.model, &(bal_fill){.states = &states}), BAL_OK);
    for (int i = 0; i < known->n; ++i) {
        const bal_tensor *from = &known->at[i];
        const bal_tensor *to = &made->at[bal_tensors_find(made, from->name)];
        bal_tensor expected = *to;
        size_t n_codes = (size_t)to->n_blocks * BAL_BLOCK_CODES;
        void *memory = bal_alloc(bal_tensor_bytes(&expected), 1);
        int8_t *zeros = bal_alloc(n_codes, 1), *left = bal_alloc(n_codes, 1);
        CU_ASSERT_FATAL(memory != NULL && zeros != NULL && left != NULL);
        bal_tensor_attach(&expected, memory);
        bal_tensor_zero(&expected);
        CU_ASSERT_EQUAL(bal_tensor_quantize(&expected, from->codes, left), BAL_OK);
        CU_ASSERT_EQUAL(bal_tensor_fingerprint(&expected, i), bal_tensor_fingerprint(to, i));
        CU_ASSERT_EQUAL(memcmp(bal_state_of(&states.at[0], to), left, n_codes), 0);
        CU_ASSERT_EQUAL(memcmp(bal_state_of(&states.at[1], to), zeros, n_codes), 0);
        free(memory);
        free(zeros);
        free(left);
    }
    bal_states_clear(&states);
    bal_bundle_clear(&bundle);
    bal_model_destroy(&model);
}

static void test_an_outline_is_filled_where_its_memory_is(void)
{
    const char *path = bal_test_data(STORIES_FILE);
    bal_model *whole = load(path, BAL_I8);
    bal_bundle bundle;
    CU_ASSERT_EQUAL_FATAL(bal_hub_outline(path, &(bal_formats){.matrices = BAL_I8}, &bundle),
                          BAL_OK);
    bal_model *model = bundle.model;
    CU_ASSERT_PTR_NULL(bal_model_tensors(model)->at[0].codes);
    size_t n_bytes = bal_tensors_bytes(bal_model_tensors(model));
    char *memory = bal_alloc(n_bytes + 64, 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(memory);
    memset(memory, 0xA5, n_bytes + 64);
    bal_tensors_attach(bal_model_tensors(model), memory);
    CU_ASSERT_EQUAL(bal_hub_fill(path, model, &(bal_fill){0}), BAL_OK);
    CU_ASSERT_EQUAL(bal_tensors_fingerprint(bal_model_tensors(model)),
                    bal_tensors_fingerprint(bal_model_tensors(whole)));
    for (size_t i = n_bytes; i < n_bytes + 64; ++i) CU_ASSERT_EQUAL(memory[i], (char)0xA5);
    safetensors file = small_safetensors(); /* of another shape */
    test_dir dir = small_dir("fill", &file);
    CU_ASSERT_EQUAL(bal_hub_fill(dir.path, model, &(bal_fill){0}), BAL_ERR_INPUT);
    bal_bundle_clear(&bundle);
    bal_model_destroy(&whole);
    free(memory);
    free(file.data);
}

static void test_config_defaults_follow_transformers(void)
{
    safetensors file = small_safetensors();
    test_dir dir = small_dir("defaults", &file);
    bal_model_config wide = small_config;
    write_config(&dir, &wide,
                 ", \"model_type\": \"llama\", \"hidden_act\": \"silu\", \"head_dim\": null, "
                 "\"rope_scaling\": null, \"attention_bias\": false, \"mlp_bias\": null, "
                 "\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 500000}, "
                 "\"something_new\": [1, 2]");
    bal_model *model = load(dir.path, BAL_F32);
    CU_ASSERT_EQUAL(bal_model_shape(model)->rope.base, 500000.0);
    CU_ASSERT_EQUAL(bal_model_shape(model)->head_dim, 2);
    bal_model_destroy(&model);
    free(file.data);
}

static void test_what_is_not_a_model_is_not_recognized(void)
{
    test_dir dir = new_dir("other");
    CU_ASSERT_STRING_EQUAL(bal_hub_kind(dir.path), "unknown");
    write_file(&dir, "tok512.bin", "x", 1);
    write_file(&dir, "job.ini", "[model]\n", 8);
    write_file(&dir, "step-000200.h5", "\x89HDF\r\n\x1a\n", 8);
    write_file(&dir, "checkpoint.dat", "\x89HDF\r\n\x1a\n", 8);
    CU_ASSERT_STRING_EQUAL(bal_hub_kind(bal_test_data(STORIES_FILE)), "llama2.c v0");
}

/* Put a prefix before the names of the tensors from first on. */
static test_dir wrapped_dir(const char *prefix, int first)
{
    safetensors file = small_safetensors();
    for (int i = first; i < file.n_lines; ++i) {
        char name[BAL_NAME_BYTES];
        snprintf(name, sizeof name, "%s", file.lines[i].name);
        snprintf(file.lines[i].name, BAL_NAME_BYTES, "%s%.80s", prefix, name);
    }
    test_dir dir = small_dir("wrapped", &file);
    free(file.data);
    return dir;
}

static void test_a_prefix_of_all_tensors_is_taken_off(void)
{
    static const char *const prefixes[] = {"", "_orig_mod.", "module.", "base_model.model.",
                                           "model."};
    uint64_t first = 0;
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; ++i) {
        test_dir dir = wrapped_dir(prefixes[i], 0);
        bal_model *model = load(dir.path, BAL_I8);
        uint64_t found = bal_tensors_fingerprint(bal_model_tensors(model));
        if (i == 0) first = found;
        CU_ASSERT_EQUAL(found, first);
        bal_model_destroy(&model);
    }
    test_dir some = wrapped_dir("module.", 2);
    expect_refusal(some.path, "model.safetensors",
                   "q_proj.weight is missing, but there is module.model.layers.0.self_attn.q_proj");
    test_dir others = wrapped_dir("module.", 0);
    safetensors file = small_safetensors();
    snprintf(file.lines[0].name, BAL_NAME_BYTES, "module.model.embed_tokens.weight");
    write_safetensors(&file, &others);
    free(file.data);
    expect_refusal(others.path, "model.safetensors",
                   "tensor model.embed_tokens.weight is missing, but there is module.model.embed");
}

static void test_a_missing_head_names_the_option_that_ties_it(void)
{
    safetensors file = small_safetensors();
    file.n_data = (size_t)file.lines[--file.n_lines].begin;
    test_dir dir = small_dir("headless", &file);
    free(file.data);
    expect_refusal(dir.path, "model.safetensors",
                   "lm_head.weight is missing; if the embedding is the head too, config.json must "
                   "have \"tie_word_embeddings\": true");
}

const char bal_suite_name[] = "hub_load";
const bal_test bal_suite_tests[] = {
    {"a prefix of all tensors is taken off", test_a_prefix_of_all_tensors_is_taken_off},
    {"a missing head names the option that ties it",
     test_a_missing_head_names_the_option_that_ties_it},
    {"v0 gives the known values", test_v0_gives_the_known_values},
    {"llama2.c files of both versions, tied or not, hold the same",
     test_llama2c_files_of_both_versions_tied_or_not_hold_the_same},
    {"folders of every dtype hold the same but for rounding",
     test_folders_of_every_dtype_hold_the_same_but_for_rounding},
    {"every half float is read exactly", test_every_half_float_is_read_exactly},
    {"a tied matrix is found under either name", test_a_tied_matrix_is_found_under_either_name},
    {"old rotary entries and metadata are ignored",
     test_old_rotary_entries_and_metadata_are_ignored},
    {"integer models are the floats quantized", test_integer_models_are_the_floats_quantized},
    {"an outline is filled where its memory is", test_an_outline_is_filled_where_its_memory_is},
    {"config defaults follow transformers", test_config_defaults_follow_transformers},
    {"what is not a model is not recognized", test_what_is_not_a_model_is_not_recognized},
    {NULL, NULL},
};
