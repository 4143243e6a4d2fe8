/* fixture.h: writes small and large model folders, right or wrong on purpose. */
#ifndef BALLOT_TEST_HUB_FIXTURE_H
#define BALLOT_TEST_HUB_FIXTURE_H

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ballot/hub.h"
#include "suite.h"

/* A folder of bal_test_dir that keeps its name. */
typedef struct test_dir {
    char path[PATH_MAX - 64];
} test_dir;

static inline test_dir new_dir(const char *name)
{
    test_dir dir;
    snprintf(dir.path, sizeof dir.path, "%s", bal_test_dir(name));
    return dir;
}

static inline const char *in_dir(const test_dir *dir, const char *name)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", dir->path, name);
    return path;
}

static inline void write_file(const test_dir *dir, const char *name, const void *bytes,
                              size_t n_bytes)
{
    CU_ASSERT_EQUAL_FATAL(bal_publish(dir->path, name, bytes, n_bytes), BAL_OK);
}

static inline void copy_file(const char *from, const test_dir *dir, const char *name)
{
    bal_mapping file;
    CU_ASSERT_EQUAL_FATAL(bal_mapping_open(from, &file), BAL_OK);
    write_file(dir, name, file.data, file.n_bytes);
    bal_mapping_close(&file);
}

#define STORIES_FILE "stories260k/stories260K.bin"
#define TOKENIZER_FILE "stories260k/tok512.bin"

/* The sample model; the first sentence of a failure shows why. */
static inline bal_model *load(const char *path, bal_format format)
{
    bal_bundle bundle;
    bal_formats formats = {.matrices = format};
    bal_status status = bal_hub_load(path, &formats, &bundle);
    if (status != BAL_OK) fprintf(stderr, "%s\n", bal_failure());
    CU_ASSERT_EQUAL_FATAL(status, BAL_OK);
    CU_ASSERT_EQUAL(bal_tokenizer_n_vocab(bundle.tokenizer), 512);
    bal_model *model = bundle.model;
    bundle.model = NULL;
    bal_bundle_clear(&bundle);
    return model;
}

static inline const float *floats(const bal_model *model, const char *name)
{
    int index = bal_tensors_find(bal_model_tensors(model), name);
    CU_ASSERT_FATAL(index >= 0);
    return bal_model_tensors(model)->at[index].codes;
}

/* Both models, of floats, have the same tensors, bit for bit. */
static inline void expect_same_floats(const bal_model *a, const bal_model *b)
{
    CU_ASSERT_EQUAL_FATAL(bal_model_tensors(a)->n, bal_model_tensors(b)->n);
    for (int i = 0; i < bal_model_tensors(a)->n; ++i) {
        const bal_tensor *x = &bal_model_tensors(a)->at[i], *y = &bal_model_tensors(b)->at[i];
        CU_ASSERT_STRING_EQUAL(x->name, y->name);
        CU_ASSERT_EQUAL_FATAL(bal_tensor_n(x), bal_tensor_n(y));
        CU_ASSERT_EQUAL(memcmp(x->codes, y->codes, (size_t)bal_tensor_n(x) * sizeof(float)), 0);
    }
}

/* bal_hub_load refuses path, with a sentence that has both words in it. */
static inline void expect_refusal(const char *path, const char *file, const char *words)
{
    bal_bundle bundle;
    bal_status status = bal_hub_load(path, &(bal_formats){.matrices = BAL_I8}, &bundle);
    bool good =
        status == BAL_ERR_INPUT && strstr(bal_failure(), file) && strstr(bal_failure(), words);
    if (!good)
        fprintf(stderr, "status %d, \"%s\"; expected \"%s\" and \"%s\"\n", (int)status,
                bal_failure(), file, words);
    CU_ASSERT_TRUE(good);
    CU_ASSERT_PTR_NULL(bundle.model);
    CU_ASSERT_PTR_NULL(bundle.tokenizer);
    bal_bundle_clear(&bundle);
}

/* One tensor of a safetensors header, as text: what is written need not be true. */
typedef struct header_line {
    char name[BAL_NAME_BYTES], dtype[16], shape[64];
    long long begin, end;
} header_line;

typedef struct safetensors {
    int n_lines;
    header_line lines[64];
    size_t n_data;
    uint8_t *data;           /* malloc */
    long long header_length; /* -1: the true one */
    char extra[128];         /* more header text, before the closing brace */
} safetensors;

static inline void add_line(safetensors *file, const char *name, const char *dtype,
                            const int64_t *shape, int n_dims, const void *bytes, size_t n_bytes)
{
    CU_ASSERT_FATAL(file->n_lines < 64);
    header_line *line = &file->lines[file->n_lines++];
    snprintf(line->name, sizeof line->name, "%s", name);
    snprintf(line->dtype, sizeof line->dtype, "%s", dtype);
    if (n_dims == 1)
        snprintf(line->shape, sizeof line->shape, "[%lld]", (long long)shape[0]);
    else
        snprintf(line->shape, sizeof line->shape, "[%lld,%lld]", (long long)shape[0],
                 (long long)shape[1]);
    line->begin = (long long)file->n_data;
    line->end = line->begin + (long long)n_bytes;
    file->data = realloc(file->data, file->n_data + n_bytes);
    CU_ASSERT_PTR_NOT_NULL_FATAL(file->data);
    memcpy(file->data + file->n_data, bytes, n_bytes);
    file->n_data += n_bytes;
}

static inline void write_safetensors(const safetensors *file, const test_dir *dir)
{
    size_t capacity = 16384, n = 8;
    char *bytes = malloc(capacity + file->n_data);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    for (int i = 0; i < file->n_lines; ++i) {
        const header_line *line = &file->lines[i];
        n += (size_t)snprintf(
            bytes + n, capacity - n,
            "%c\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%lld,%lld]}",
            i == 0 ? '{' : ',', line->name, line->dtype, line->shape, line->begin, line->end);
    }
    n += (size_t)snprintf(bytes + n, capacity - n, "%s}", file->extra);
    CU_ASSERT_FATAL(n < capacity);
    uint64_t length = file->header_length >= 0 ? (uint64_t)file->header_length : n - 8;
    for (int i = 0; i < 8; ++i) bytes[i] = (char)(length >> 8 * i);
    memcpy(bytes + n, file->data, file->n_data);
    write_file(dir, "model.safetensors", bytes, n + file->n_data);
    free(bytes);
}

/* config.json, from numbers of any size, with more keys if wanted (", ..."). */
static inline void write_config(const test_dir *dir, const bal_model_config *c, const char *more)
{
    char text[2048];
    int n = snprintf(text, sizeof text,
                     "{\"architectures\": [\"LlamaForCausalLM\"], \"hidden_size\": %lld, "
                     "\"intermediate_size\": %lld, \"num_hidden_layers\": %lld, "
                     "\"num_attention_heads\": %lld, \"num_key_value_heads\": %lld, "
                     "\"vocab_size\": %lld, \"max_position_embeddings\": %lld, "
                     "\"rms_norm_eps\": 1e-05, \"tie_word_embeddings\": %s%s}",
                     (long long)c->dim, (long long)c->hidden, (long long)c->n_layers,
                     (long long)c->n_heads, (long long)c->n_kv_heads, (long long)c->n_vocab,
                     (long long)c->max_tokens, c->tied_head ? "true" : "false", more);
    write_file(dir, "config.json", text, (size_t)n);
}

/* A Hugging Face folder of the smallest model that the sample tokenizer fits. */
static const bal_model_config small_config = {.dim = 4,
                                              .hidden = 6,
                                              .n_layers = 1,
                                              .n_heads = 2,
                                              .n_kv_heads = 1,
                                              .head_dim = 2,
                                              .n_vocab = 512,
                                              .max_tokens = 16,
                                              .rope.base = 10000.0,
                                              .norm_eps = 1e-5};

static inline safetensors small_safetensors(void)
{
    static const struct {
        const char *name;
        int64_t shape[2];
    } tensors[] = {
        {"model.embed_tokens.weight", {512, 4}},
        {"model.layers.0.input_layernorm.weight", {4, 0}},
        {"model.layers.0.self_attn.q_proj.weight", {4, 4}},
        {"model.layers.0.self_attn.k_proj.weight", {2, 4}},
        {"model.layers.0.self_attn.v_proj.weight", {2, 4}},
        {"model.layers.0.self_attn.o_proj.weight", {4, 4}},
        {"model.layers.0.post_attention_layernorm.weight", {4, 0}},
        {"model.layers.0.mlp.gate_proj.weight", {6, 4}},
        {"model.layers.0.mlp.up_proj.weight", {6, 4}},
        {"model.layers.0.mlp.down_proj.weight", {4, 6}},
        {"model.norm.weight", {4, 0}},
        {"lm_head.weight", {512, 4}},
    };
    safetensors file = {.header_length = -1};
    float values[2048];
    for (int k = 0; k < 2048; ++k) values[k] = 0.01f * (float)(k % 77) - 0.3f;
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; ++i) {
        bool vector = tensors[i].shape[1] == 0;
        size_t n = (size_t)(tensors[i].shape[0] * (vector ? 1 : tensors[i].shape[1]));
        add_line(&file, tensors[i].name, "F32", tensors[i].shape, vector ? 1 : 2, values,
                 n * sizeof *values);
    }
    return file;
}

static inline test_dir small_dir(const char *name, const safetensors *file)
{
    test_dir dir = new_dir(name);
    copy_file(bal_test_data(TOKENIZER_FILE), &dir, "tokenizer.bin");
    write_config(&dir, &small_config, "");
    write_safetensors(file, &dir);
    return dir;
}

#endif
