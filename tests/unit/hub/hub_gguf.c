/* hub_gguf.c: GGUF files, read by the published layout alone (ggml, docs/gguf.md): every tensor is
 * where the file says, in the blocks that ggml would make, and the files are those that were
 * checked with the gguf package, see tests/golden/families/README.md. */
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>

#include "exports.h"

enum { F32 = 0, F16 = 1, Q4_0 = 2, Q8_0 = 8 };

static const char *const kind_names[] = {[BAL_EXPORT_GGUF_Q8_0] = "q8_0",
                                         [BAL_EXPORT_GGUF_Q4_0] = "q4_0",
                                         [BAL_EXPORT_GGUF_F16] = "f16"};
#define N_KINDS 3

typedef struct gguf_tensor {
    char name[64];
    uint32_t n_dims, type;
    int64_t n_cols, n_rows;
    uint64_t offset;
    const uint8_t *data;
} gguf_tensor;

typedef struct gguf {
    bal_mapping file;
    const uint8_t *at, *end; /* what is left to read */
    uint64_t n_tensors, n_pairs;
    const uint8_t *pairs;
    gguf_tensor tensors[64];
} gguf;

static const uint8_t *take(gguf *g, uint64_t n_bytes)
{
    const uint8_t *at = g->at;
    CU_ASSERT_FATAL(n_bytes <= (uint64_t)(g->end - at));
    g->at += n_bytes;
    return at;
}

static uint64_t number(gguf *g, size_t n_bytes)
{
    const uint8_t *at = take(g, n_bytes);
    uint64_t value = 0;
    for (size_t i = n_bytes; i-- > 0;) value = value << 8 | at[i];
    return value;
}

/* A string, cut to what fits. */
static const char *text(gguf *g, char *to, size_t room)
{
    uint64_t n = number(g, 8);
    const uint8_t *at = take(g, n);
    snprintf(to, room, "%.*s", (int)n, (const char *)at);
    return to;
}

static size_t value_bytes(uint64_t type) { return type == 7 ? 1 : 4; }

static void skip_value(gguf *g, uint64_t type)
{
    char ignored[8];
    if (type == 8) {
        text(g, ignored, sizeof ignored);
    } else if (type == 9) {
        uint64_t inner = number(g, 4), n = number(g, 8);
        for (uint64_t i = 0; i < n; ++i) skip_value(g, inner);
    } else {
        CU_ASSERT_FATAL(type == 4 || type == 5 || type == 6 || type == 7);
        take(g, value_bytes(type));
    }
}

/* Go past the key of a pair; its type, 0 if there is no such key. */
static uint64_t seek(gguf *g, const char *wanted)
{
    char key[128];
    g->at = g->pairs;
    for (uint64_t i = 0; i < g->n_pairs; ++i) {
        bool found = strcmp(text(g, key, sizeof key), wanted) == 0;
        uint64_t type = number(g, 4);
        if (found) return type;
        skip_value(g, type);
    }
    return 0;
}

static int64_t get_u32(gguf *g, const char *key)
{
    return seek(g, key) == 4 ? (int64_t)number(g, 4) : -1;
}

static int64_t array_length(gguf *g, const char *key)
{
    if (seek(g, key) != 9) return -1;
    number(g, 4);
    return (int64_t)number(g, 8);
}

static uint64_t tensor_bytes(const gguf_tensor *t)
{
    uint64_t n = (uint64_t)(t->n_cols * t->n_rows);
    return t->type == F32    ? 4 * n
           : t->type == F16  ? 2 * n
           : t->type == Q8_0 ? n / 32 * 34
                             : n / 32 * 18;
}

/* Everything is in its place: no gap, no overlap, no byte more. */
static void open_gguf(const char *path, gguf *g)
{
    *g = (gguf){0};
    CU_ASSERT_EQUAL_FATAL(bal_mapping_open(path, &g->file), BAL_OK);
    g->at = g->file.data;
    g->end = g->at + g->file.n_bytes;
    CU_ASSERT_EQUAL(memcmp(take(g, 4), "GGUF", 4), 0);
    CU_ASSERT_EQUAL(number(g, 4), 3);
    g->n_tensors = number(g, 8);
    g->n_pairs = number(g, 8);
    g->pairs = g->at;
    CU_ASSERT_FATAL(g->n_tensors <= 64);
    seek(g, ""); /* to the end */
    for (uint64_t i = 0; i < g->n_tensors; ++i) {
        gguf_tensor *t = &g->tensors[i];
        text(g, t->name, sizeof t->name);
        t->n_dims = (uint32_t)number(g, 4);
        CU_ASSERT_FATAL(t->n_dims == 1 || t->n_dims == 2);
        t->n_cols = (int64_t)number(g, 8);
        t->n_rows = t->n_dims == 2 ? (int64_t)number(g, 8) : 1;
        t->type = (uint32_t)number(g, 4);
        t->offset = number(g, 8);
    }
    uint64_t start = ((uint64_t)(g->at - g->file.data) + 31) / 32 * 32, end = 0;
    for (uint64_t i = 0; i < g->n_tensors; ++i) {
        gguf_tensor *t = &g->tensors[i];
        CU_ASSERT_EQUAL(t->offset, end);
        end = t->offset + (tensor_bytes(t) + 31) / 32 * 32;
        t->data = g->file.data + start + t->offset;
        CU_ASSERT_FATAL(start + end <= g->file.n_bytes);
    }
    CU_ASSERT_EQUAL(start + end, g->file.n_bytes);
}

static const gguf_tensor *find(const gguf *g, const char *name)
{
    for (uint64_t i = 0; i < g->n_tensors; ++i)
        if (strcmp(g->tensors[i].name, name) == 0) return &g->tensors[i];
    return NULL;
}

static float half_at(const uint8_t *at)
{
    int exponent = at[1] >> 2 & 31, fraction = (at[1] & 3) << 8 | at[0];
    CU_ASSERT(exponent < 31);
    float size = exponent == 0 ? ldexpf((float)fraction, -24)
                               : ldexpf((float)(fraction + 1024), exponent - 25);
    return at[1] >> 7 != 0 ? -size : size;
}

/* Element i, and how far it may be from what was rounded. */
static float element(const gguf_tensor *t, int64_t i, float *apart)
{
    float value;
    *apart = 0.0f;
    if (t->type == F32) {
        memcpy(&value, t->data + 4 * i, 4);
        return value;
    }
    if (t->type == F16) {
        value = half_at(t->data + 2 * i);
        *apart = fmaxf(fabsf(value) * 0x1p-11f, 0x1p-25f);
        return value;
    }
    int64_t in = i % 32;
    const uint8_t *at = t->data + i / 32 * (t->type == Q8_0 ? 34 : 18);
    float d = half_at(at);
    int q = t->type == Q8_0 ? (int8_t)at[2 + in]
                            : (in < 16 ? at[2 + in] & 15 : at[2 + in - 16] >> 4) - 8;
    /* half a step, and the rounding of d; beyond code 7 of four bits there is a whole step */
    *apart = fabsf(d) * ((t->type == Q8_0 ? 0.5f : q == 7 ? 1.0f : 0.5f) + 128 * 0x1p-11f) * 1.001f;
    return d * (float)q;
}

/* What llama.cpp calls a tensor of ours; part of n_parts for q, k and v of GPT-2. */
static void name_of(const char *ours, bool gpt2, char *name, int *part)
{
    static const char *const names[][2] = {
        {"model.embed_tokens", "token_embd"}, {"model.embed_positions", "position_embd"},
        {"model.norm", "output_norm"},        {"lm_head", "output"},
        {"input_layernorm", "attn_norm"},     {"self_attn.q_proj", "attn_q"},
        {"self_attn.k_proj", "attn_k"},       {"self_attn.v_proj", "attn_v"},
        {"self_attn.o_proj", "attn_output"},  {"self_attn.q_norm", "attn_q_norm"},
        {"self_attn.k_norm", "attn_k_norm"},  {"post_attention_layernorm", "ffn_norm"},
        {"mlp.gate_proj", "ffn_gate"},        {"mlp.up_proj", "ffn_up"},
        {"mlp.down_proj", "ffn_down"}};
    int layer = -1, skip = 0;
    sscanf(ours, "model.layers.%d.%n", &layer, &skip);
    const char *stem = ours + skip, *tail = strrchr(ours, '.');
    *part = -1;
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
        size_t n = (size_t)(tail - stem);
        if (strlen(names[i][0]) != n || strncmp(names[i][0], stem, n) != 0) continue;
        const char *theirs = names[i][1];
        if (gpt2 && strncmp(stem, "self_attn.", 10) == 0 && strstr(stem, "o_proj") == NULL) {
            *part = theirs[5] == 'q' ? 0 : theirs[5] == 'k' ? 1 : 2;
            theirs = "attn_qkv";
        }
        if (layer >= 0)
            snprintf(name, 64, "blk.%d.%s%s", layer, theirs, tail);
        else
            snprintf(name, 64, "%s%s", theirs, tail);
        return;
    }
    CU_FAIL_FATAL("a tensor without a name");
}

/* Row of theirs that has a row of ours: half-pair rows (k, k + half) of a head are (2k, 2k + 1). */
static int64_t moved_row(int64_t row, int64_t head_dim, bool reordered)
{
    int64_t in = row % head_dim, half = head_dim / 2;
    return reordered ? row - in + (in < half ? 2 * in : 2 * (in - half) + 1) : row;
}

static void check_values(const bal_model *model, const gguf *g, bool gpt2, bool reorder)
{
    uint64_t n_seen = 0;
    for (int i = 0; i < bal_model_tensors(model)->n; ++i) {
        const bal_tensor *tensor = &bal_model_tensors(model)->at[i];
        char name[64];
        int part;
        if (tensor->role == BAL_GAIN) continue;
        name_of(tensor->name, gpt2, name, &part);
        const gguf_tensor *t = find(g, name);
        CU_ASSERT_PTR_NOT_NULL_FATAL(t);
        bool vector = tensor->role == BAL_VECTOR;
        int64_t n_rows = vector ? tensor->n_cols : tensor->n_rows;
        int64_t n_cols = vector ? 1 : tensor->n_cols, n_bad = 0;
        CU_ASSERT_EQUAL(t->n_dims, vector ? 1 : 2);
        CU_ASSERT_EQUAL(t->n_cols, vector ? n_rows * (part >= 0 ? 3 : 1) : n_cols);
        if (!vector) CU_ASSERT_EQUAL(t->n_rows, n_rows * (part >= 0 ? 3 : 1));
        bool qk = strstr(name, "attn_q.") != NULL || strstr(name, "attn_k.") != NULL;
        float *values = values_of(model, tensor->name), apart;
        for (int64_t row = 0; row < n_rows; ++row) {
            int64_t to = moved_row(row, bal_model_shape(model)->head_dim, reorder && qk);
            if (part > 0) to += part * n_rows;
            for (int64_t col = 0; col < n_cols; ++col) {
                float found = element(t, to * n_cols + col, &apart);
                n_bad += !(fabsf(found - values[row * n_cols + col]) <= apart);
            }
        }
        CU_ASSERT_EQUAL(n_bad, 0);
        if (n_bad > 0) printf("\n    %s: %lld elements", name, (long long)n_bad);
        free(values);
        n_seen += part <= 0;
    }
    CU_ASSERT_EQUAL(g->n_tensors - n_seen, find(g, "rope_freqs.weight") != NULL);
}

static void check_head(const bal_bundle *bundle, gguf *g, const char *arch)
{
    const bal_model_config *c = bal_model_shape(bundle->model);
    const struct {
        const char *key;
        int64_t value;
    } known[] = {{"block_count", c->n_layers},
                 {"embedding_length", c->dim},
                 {"context_length", c->max_tokens},
                 {"feed_forward_length", c->hidden},
                 {"vocab_size", c->n_vocab},
                 {"attention.head_count", c->n_heads},
                 {"attention.head_count_kv", c->n_kv_heads},
                 {"attention.key_length", c->embed.n_positions > 0 ? -1 : c->head_dim},
                 {"attention.sliding_window", c->window > 0 ? c->window : -1}};
    char key[128], word[32] = "";
    CU_ASSERT_EQUAL(seek(g, "general.architecture"), 8);
    CU_ASSERT_STRING_EQUAL(text(g, word, sizeof word), arch);
    for (size_t i = 0; i < sizeof known / sizeof *known; ++i) {
        snprintf(key, sizeof key, "%s.%s", arch, known[i].key);
        CU_ASSERT_EQUAL(get_u32(g, key), known[i].value);
    }
    CU_ASSERT_EQUAL(array_length(g, "tokenizer.ggml.tokens"), c->n_vocab);
    CU_ASSERT_EQUAL(array_length(g, "tokenizer.ggml.token_type"), c->n_vocab);
    CU_ASSERT_EQUAL(seek(g, "tokenizer.ggml.model"), 8);
    bool ranks = strcmp(text(g, word, sizeof word), "gpt2") == 0;
    CU_ASSERT_EQUAL(array_length(g, "tokenizer.ggml.scores"), ranks ? -1 : c->n_vocab);
    CU_ASSERT_EQUAL(array_length(g, "tokenizer.ggml.merges") > 0, ranks);
    CU_ASSERT_EQUAL(get_u32(g, "tokenizer.ggml.eos_token_id"),
                    bal_tokenizer_special(bundle->tokenizer, BAL_SPECIAL_EOS));
}

static const char *arch_of(const char *folder)
{
    static const char *const archs[] = {"qwen2", "qwen3", "gpt2"};
    for (int i = 0; i < 3; ++i)
        if (strncmp(folder, archs[i], strlen(archs[i])) == 0) return archs[i];
    return "llama";
}

static bool is_supported(const char *folder)
{
    return strncmp(folder, "opt", 3) != 0 && strncmp(folder, "roberta", 7) != 0 &&
           strcmp(folder, "gpt2-inner") != 0;
}

/* Size and hash of the file that was checked, from gguf.tsv. */
static bool find_golden(const char *name, size_t *n_bytes, uint64_t *hash)
{
    char line[128], found[64];
    FILE *file = fopen(family_path("gguf.tsv"), "re");
    bool is = false;
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    while (!is && fgets(line, sizeof line, file) != NULL)
        is = sscanf(line, "%63s %zu %" SCNx64, found, n_bytes, hash) == 3 &&
             strcmp(found, name) == 0;
    fclose(file);
    return is;
}

static void test_every_family_has_its_tensors_in_their_places(void)
{
    for (size_t i = 0; i < N_FOLDERS; ++i) {
        if (!is_supported(folders[i])) continue;
        bal_bundle bundle = load_bundle(family_path(folders[i]), BAL_F32, 0);
        const char *arch = arch_of(folders[i]);
        test_dir top = new_dir("gguf");
        for (int kind = 0; kind < N_KINDS; ++kind) {
            char name[64];
            gguf g;
            size_t n_bytes = 0;
            uint64_t hash = 0;
            snprintf(name, sizeof name, "%s-%s.gguf", folders[i], kind_names[kind]);
            bal_status status =
                bal_hub_export_gguf(&bundle, (bal_export_gguf)kind, in_dir(&top, name));
            if (status != BAL_OK) fprintf(stderr, "%s: %s\n", name, bal_failure());
            CU_ASSERT_EQUAL_FATAL(status, BAL_OK);
            open_gguf(in_dir(&top, name), &g);
            check_head(&bundle, &g, arch);
            check_values(bundle.model, &g, strcmp(arch, "gpt2") == 0, strcmp(arch, "llama") == 0);
            bool known = find_golden(name, &n_bytes, &hash);
            uint64_t found = bal_hash(g.file.data, g.file.n_bytes, 0);
            if (!known || n_bytes != g.file.n_bytes || hash != found)
                fprintf(stderr, "%s\t%zu\t%016" PRIx64 "\n", name, g.file.n_bytes, found);
            CU_ASSERT(known && n_bytes == g.file.n_bytes && hash == found);
            bal_mapping_close(&g.file);
        }
        bal_bundle_clear(&bundle);
    }
}

static void test_checkpoints_and_llama2c_models_are_written_with_their_gains(void)
{
    static const bal_format formats[] = {BAL_F32, BAL_I8, BAL_I4, BAL_NF4};
    for (int f = 0; f < 4; ++f) {
        bal_bundle bundle = load_bundle(bal_test_data(STORIES_FILE), formats[f], 0);
        test_dir top = new_dir("gguf");
        gguf g;
        turn_gains(bundle.model);
        CU_ASSERT_EQUAL_FATAL(
            bal_hub_export_gguf(&bundle, BAL_EXPORT_GGUF_Q8_0, in_dir(&top, "made.gguf")), BAL_OK);
        open_gguf(in_dir(&top, "made.gguf"), &g);
        check_head(&bundle, &g, "llama");
        check_values(bundle.model, &g, false, false); /* their pairs are adjacent already */
        bal_mapping_close(&g.file);
        bal_bundle_clear(&bundle);
    }
}

/* Element id of the lists of tokens, scores and types. */
static void expect_token(gguf *g, int id, const char *bytes, float score, int64_t type)
{
    char found[32] = "";
    float stored;
    CU_ASSERT_FATAL(array_length(g, "tokenizer.ggml.tokens") > id);
    for (int i = 0; i <= id; ++i) text(g, found, sizeof found);
    CU_ASSERT_STRING_EQUAL(found, bytes);
    CU_ASSERT_FATAL(array_length(g, "tokenizer.ggml.scores") > id);
    take(g, 4 * (uint64_t)id);
    memcpy(&stored, take(g, 4), 4);
    CU_ASSERT_EQUAL(stored, score);
    CU_ASSERT_FATAL(array_length(g, "tokenizer.ggml.token_type") > id);
    take(g, 4 * (uint64_t)id);
    CU_ASSERT_EQUAL((int64_t)number(g, 4), type);
}

static void test_pieces_of_llama2c_are_those_of_sentencepiece(void)
{
    bal_bundle bundle = load_bundle(bal_test_data(STORIES_FILE), BAL_F32, 0);
    test_dir top = new_dir("pieces");
    gguf g;
    CU_ASSERT_EQUAL_FATAL(
        bal_hub_export_gguf(&bundle, BAL_EXPORT_GGUF_F16, in_dir(&top, "made.gguf")), BAL_OK);
    open_gguf(in_dir(&top, "made.gguf"), &g);
    expect_token(&g, 0, "<unk>", 0, 2);
    expect_token(&g, 1, "<s>", 0, 3);
    expect_token(&g, 2, "</s>", 0, 3);
    expect_token(&g, 3 + 0xAB, "<0xAB>", 0, 6);
    expect_token(&g, 403, "\xe2\x96\x81Once", -144, 1); /* printed from tok512.bin */
    CU_ASSERT_EQUAL(get_u32(&g, "tokenizer.ggml.bos_token_id"), 1);
    bal_mapping_close(&g.file);
    bal_bundle_clear(&bundle);
}

/* A piece of a tokenizer.model: its spelling, score and type (sentencepiece_model.proto). */
static size_t put_piece(uint8_t *to, const char *bytes, float score, uint8_t type)
{
    uint8_t n = (uint8_t)strlen(bytes);
    to[0] = 0x0A, to[1] = (uint8_t)(n + 9), to[2] = 0x0A, to[3] = n;
    memcpy(to + 4, bytes, n);
    to[4 + n] = 0x15;
    memcpy(to + 5 + n, &score, 4);
    to[9 + n] = 0x18, to[10 + n] = type;
    return 11 + (size_t)n;
}

static void test_pieces_of_sentencepiece_are_kept(void)
{
    static const uint8_t bpe[] = {0x12, 5, 0x18, 2, 0x98, 2, 1}; /* with bytes for characters */
    uint8_t bytes[8192];
    size_t n = 0;
    safetensors file = small_safetensors();
    test_dir dir = small_dir("pieces", &file);
    free(file.data);
    n += put_piece(bytes + n, "<unk>", 0, 2);
    n += put_piece(bytes + n, "<s>", 0, 3);
    n += put_piece(bytes + n, "</s>", 0, 3);
    for (unsigned byte = 0; byte < 256; ++byte) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", byte & 255u);
        n += put_piece(bytes + n, name, 0, 6);
    }
    n += put_piece(bytes + n, "<|im|>", 0, 4);
    n += put_piece(bytes + n, "\xe2\x96\x81", -1.5f, 1);
    n += put_piece(bytes + n,
                   "\xe2\x96\x81"
                   "b",
                   -0.25f, 1);
    memcpy(bytes + n, bpe, sizeof bpe);
    write_file(&dir, "tokenizer.model", bytes, n + sizeof bpe);
    bal_bundle bundle = load_bundle(dir.path, BAL_F32, 0);
    gguf g;
    CU_ASSERT_EQUAL_FATAL(
        bal_hub_export_gguf(&bundle, BAL_EXPORT_GGUF_Q8_0, in_dir(&dir, "made.gguf")), BAL_OK);
    open_gguf(in_dir(&dir, "made.gguf"), &g);
    expect_token(&g, 0, "<unk>", 0, 2);
    expect_token(&g, 2, "</s>", 0, 3);
    expect_token(&g, 3 + 0xAB, "<0xAB>", 0, 6);
    expect_token(&g, 259, "<|im|>", 0, 4);
    expect_token(&g, 261,
                 "\xe2\x96\x81"
                 "b",
                 -0.25f, 1);
    expect_token(&g, 262, "[PAD262]", 0, 5);
    CU_ASSERT_EQUAL(array_length(&g, "tokenizer.ggml.tokens"), 512);
    bal_mapping_close(&g.file);
    bal_bundle_clear(&bundle);
}

/* The pairs that a file beside the model makes, read by their published layout. */
static bal_status export_with(const char *name, const char *bytes, gguf *g)
{
    bal_bundle bundle = load_bundle(bal_test_data(STORIES_FILE), BAL_F32, 0);
    static test_dir top;
    top = new_dir("chat");
    CU_ASSERT_EQUAL_FATAL(bal_files_add(&bundle.files, name, bytes, strlen(bytes)), BAL_OK);
    bal_status status =
        bal_hub_export_gguf(&bundle, BAL_EXPORT_GGUF_F16, in_dir(&top, "made.gguf"));
    bal_bundle_clear(&bundle);
    if (status == BAL_OK) open_gguf(in_dir(&top, "made.gguf"), g);
    return status;
}

static void expect_text(gguf *g, const char *key, const char *expected)
{
    char found[64];
    CU_ASSERT_EQUAL_FATAL(seek(g, key), 8);
    CU_ASSERT_STRING_EQUAL(text(g, found, sizeof found), expected);
}

static void test_chat_templates_come_along_in_every_form(void)
{
    static const char *const forms[][2] = {
        {"tokenizer_config.json",
         "{\"model_max_length\":1000000000000000019884624838656,\"chat_template\":\"{{ a }}\"}"},
        {"tokenizer_config.json",
         "{\"chat_template\":[{\"name\":\"tool-use\",\"template\":\"b\"},"
         "{\"name\":\"default\",\"template\":\"{{ a }}\"},{\"name\":\"rag\",\"template\":\"c\"}]}"},
        {"chat_template.json", "{\"chat_template\":\"{{ a }}\"}"},
        {"chat_template.jinja", "{{ a }}"},
    };
    for (size_t i = 0; i < 4; ++i) {
        gguf g;
        CU_ASSERT_EQUAL_FATAL(export_with(forms[i][0], forms[i][1], &g), BAL_OK);
        expect_text(&g, "tokenizer.chat_template", "{{ a }}");
        CU_ASSERT_EQUAL(array_length(&g, "tokenizer.chat_templates"), i == 1 ? 2 : -1);
        if (i == 1) {
            char name[16];
            CU_ASSERT_STRING_EQUAL(text(&g, name, sizeof name), "tool_use");
            expect_text(&g, "tokenizer.chat_template.tool_use", "b");
            expect_text(&g, "tokenizer.chat_template.rag", "c");
        }
        bal_mapping_close(&g.file);
    }
}

static void test_a_chat_template_of_unknown_form_is_named(void)
{
    static const char *const forms[][2] = {
        {"{\"chat_template\":5}", "chat_template is neither; expected a string"},
        {"{\"chat_template\":[{\"name\":\"a\"}]}", "an entry without name or template"},
        {"{\"chat_template\":[{\"name\":\"a\",\"template\":\"b\"},"
         "{\"name\":\"a\",\"template\":\"c\"}]}",
         "a name twice"},
        {"[]", "expected a JSON object"},
        {"{\"chat_template\":", "expected a JSON object"}};
    for (size_t i = 0; i < 5; ++i) {
        gguf g;
        expect_failure(export_with("tokenizer_config.json", forms[i][0], &g), BAL_ERR_INPUT,
                       forms[i][1]);
    }
}

/* Blocks made by hand: rounding of halves, the largest value of either sign, nothing at all. */
static void test_blocks_are_rounded_as_ggml_rounds_them(void)
{
    static const float q8[32] = {127, -127, 0.5f, 1.5f, -0.5f, -1.5f, 2.4f, -2.6f};
    static const uint8_t q8_made[8] = {127, 129, 1, 2, 255, 254, 2, 253};
    static const float q4[32] = {-8, 7, 7.5f, 0.5f, -0.5f, 0.4f, [16] = 1, 2, 3, -4, 5, -6};
    static const uint8_t q4_made[8] = {0x90, 0xAF, 0xBF, 0x49, 0xD8, 0x28, 0x88, 0x88};
    bal_bundle bundle = load_bundle(bal_test_data(STORIES_FILE), BAL_F32, 0);
    test_dir top = new_dir("blocks");
    float *values = bal_model_tensors(bundle.model)->at[0].codes;
    for (int kind = 0; kind < 2; ++kind) {
        gguf g;
        const char *path = in_dir(&top, kind_names[kind]);
        bool four = kind == BAL_EXPORT_GGUF_Q4_0;
        memcpy(values, four ? q4 : q8, sizeof q8);
        memset(values + 32, 0, 32 * sizeof *values);
        for (int i = 0; i < 32; ++i) values[64 + i] = -(four ? q4 : q8)[i];
        CU_ASSERT_EQUAL_FATAL(bal_hub_export_gguf(&bundle, (bal_export_gguf)kind, path), BAL_OK);
        open_gguf(path, &g);
        const uint8_t *at = find(&g, "token_embd.weight")->data;
        const size_t n = four ? 18 : 34;
        CU_ASSERT(at[0] == 0 && at[1] == 0x3C); /* 1 */
        CU_ASSERT_EQUAL(memcmp(at + 2, four ? q4_made : q8_made, 8), 0);
        CU_ASSERT(at[n] == 0 && at[n + 1] % 128 == 0);
        for (size_t i = 2; i < n; ++i) CU_ASSERT_EQUAL(at[n + i], four ? 0x88 : 0);
        /* the other way round: 8 is code -8 of scale -1; 127 is 127 whatever its sign */
        CU_ASSERT(at[2 * n] == 0 && at[2 * n + 1] == (four ? 0xBC : 0x3C));
        for (size_t i = 0; i < 8; ++i)
            CU_ASSERT_EQUAL(at[2 * n + 2 + i], four ? q4_made[i] : (uint8_t)-q8_made[i]);
        bal_mapping_close(&g.file);
    }
    bal_bundle_clear(&bundle);
}

/* The folder of a family whose config.json has more in it. */
static bal_bundle load_changed(const char *folder, const char *more)
{
    static const char *const names[] = {"model.safetensors", "tokenizer.json", "config.json"};
    test_dir dir = new_dir("changed");
    for (int i = 0; i < 3; ++i) {
        char path[64], text[4096];
        bal_mapping file;
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        copy_file(family_path(path), &dir, names[i]);
        if (i < 2) continue;
        CU_ASSERT_EQUAL_FATAL(bal_mapping_open(family_path(path), &file), BAL_OK);
        int n = snprintf(text, sizeof text, "{%s,%.*s", more, (int)file.n_bytes - 1,
                         (const char *)file.data + 1);
        write_file(&dir, names[i], text, (size_t)n);
        bal_mapping_close(&file);
    }
    return load_bundle(dir.path, BAL_I8, 0);
}

static void test_what_llama_cpp_does_not_have_is_refused_by_name(void)
{
    static const struct {
        const char *folder, *words;
    } cases[] = {{"opt-pre", "family opt; a GGUF file can hold one of llama"},
                 {"roberta", "family roberta"},
                 {"gpt2-inner", "scale_by_layer"}};
    test_dir top = new_dir("refused");
    for (int i = 0; i < 3; ++i) {
        bal_bundle bundle = load_bundle(family_path(cases[i].folder), BAL_I8, 0);
        expect_failure(
            bal_hub_export_gguf(&bundle, BAL_EXPORT_GGUF_Q8_0, in_dir(&top, "made.gguf")),
            BAL_ERR_CONFIG, cases[i].words);
        bal_bundle_clear(&bundle);
    }
    bal_bundle scaled =
        load_changed("qwen2",
                     "\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0, "
                     "\"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, "
                     "\"original_max_position_embeddings\": 32}");
    expect_failure(bal_hub_export_gguf(&scaled, BAL_EXPORT_GGUF_Q8_0, in_dir(&top, "made.gguf")),
                   BAL_ERR_CONFIG, "rotary scaling of llama3");
    bal_bundle_clear(&scaled);
    static const char *const changed[][3] = {{"qwen2", "p{N}|", "in its own way"},
                                             {"llama3", "\"use_regex\": false", "in its own way"},
                                             {"gpt2-old", "\"ByteLevel\"", "without ByteLevel"},
                                             {"qwen3", "\"NFC\"", "a normalizer"},
                                             {"vicuna", "\"Prepend\"", "replace spaces"},
                                             {"mistral-full", "\"Metaspace\"", "Metaspace"}};
    for (int i = 0; i < 6; ++i) { /* a letter of its tokenizer.json is another */
        bal_bundle bundle = load_bundle(family_path(changed[i][0]), BAL_I8, 0);
        const bal_named_bytes *file = bal_files_find(&bundle.files, "tokenizer.json");
        char *at = strstr((char *)file->bytes, changed[i][1]);
        CU_ASSERT_PTR_NOT_NULL_FATAL(at);
        at[2] = 'L';
        expect_failure(
            bal_hub_export_gguf(&bundle, BAL_EXPORT_GGUF_Q8_0, in_dir(&top, "made.gguf")),
            BAL_ERR_INPUT, changed[i][2]);
        bal_bundle_clear(&bundle);
    }
    CU_ASSERT_EQUAL(n_files(top.path), 0);
}

static void test_a_failed_file_leaves_nothing(void)
{
    bal_bundle bundle = load_bundle(bal_test_data(STORIES_FILE), BAL_F32, 0);
    test_dir top = new_dir("failed");
    struct rlimit old, small;
    expect_failure(bal_hub_export_gguf(&bundle, BAL_EXPORT_GGUF_F16, in_dir(&top, "no/such.gguf")),
                   BAL_ERR_IO, "no/");
    signal(SIGXFSZ, SIG_IGN);
    CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){200000, old.rlim_max};
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_FSIZE, &small), 0);
    bal_status status = bal_hub_export_gguf(&bundle, BAL_EXPORT_GGUF_F16, in_dir(&top, "a.gguf"));
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_FSIZE, &old), 0);
    expect_failure(status, BAL_ERR_IO, "a.gguf");
    float *values = bal_model_tensors(bundle.model)->at[0].codes;
    values[3] = 1e7f;
    expect_failure(bal_hub_export_gguf(&bundle, BAL_EXPORT_GGUF_F16, in_dir(&top, "a.gguf")),
                   BAL_ERR_NUMERIC, "token_embd.weight: element 3 is 10000000");
    expect_failure(bal_hub_export_gguf(&bundle, BAL_EXPORT_GGUF_Q8_0, in_dir(&top, "a.gguf")),
                   BAL_ERR_NUMERIC, "token_embd.weight");
    CU_ASSERT_EQUAL(n_files(top.path), 0);
    write_file(&top, "a.gguf", "mine", 4);
    expect_failure(bal_hub_export_gguf(&bundle, BAL_EXPORT_GGUF_Q8_0, in_dir(&top, "a.gguf")),
                   BAL_ERR_STATE, "a.gguf: is there already");
    CU_ASSERT_EQUAL(n_files(top.path), 1);
    bal_bundle_clear(&bundle);
}

const char bal_suite_name[] = "hub_gguf";
const bal_test bal_suite_tests[] = {
    {"every family has its tensors in their places",
     test_every_family_has_its_tensors_in_their_places},
    {"checkpoints and llama2.c models are written with their gains",
     test_checkpoints_and_llama2c_models_are_written_with_their_gains},
    {"pieces of llama2.c are those of SentencePiece",
     test_pieces_of_llama2c_are_those_of_sentencepiece},
    {"pieces of SentencePiece are kept", test_pieces_of_sentencepiece_are_kept},
    {"chat templates come along in every form", test_chat_templates_come_along_in_every_form},
    {"a chat template of unknown form is named", test_a_chat_template_of_unknown_form_is_named},
    {"blocks are rounded as ggml rounds them", test_blocks_are_rounded_as_ggml_rounds_them},
    {"what llama.cpp does not have is refused by name",
     test_what_llama_cpp_does_not_have_is_refused_by_name},
    {"a failed file leaves nothing", test_a_failed_file_leaves_nothing},
    {NULL, NULL},
};
