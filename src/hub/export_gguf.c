/* export_gguf.c: a model as a GGUF file: its architecture in llama.cpp, the names of its tensors
 * there, and its settings. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "ballot/kernels.h"
#include "gguf.h"

static const bal_family_name llama_names[] = {
    {.ours = "model.embed_tokens", .theirs = "token_embd"},
    {.ours = "model.norm", .theirs = "output_norm"},
    {.ours = "lm_head", .theirs = "output"},
    {.ours = "model.layers.#.input_layernorm", .theirs = "blk.#.attn_norm"},
    {.ours = "model.layers.#.self_attn.q_proj", .theirs = "blk.#.attn_q"},
    {.ours = "model.layers.#.self_attn.k_proj", .theirs = "blk.#.attn_k"},
    {.ours = "model.layers.#.self_attn.v_proj", .theirs = "blk.#.attn_v"},
    {.ours = "model.layers.#.self_attn.q_norm", .theirs = "blk.#.attn_q_norm"},
    {.ours = "model.layers.#.self_attn.k_norm", .theirs = "blk.#.attn_k_norm"},
    {.ours = "model.layers.#.self_attn.o_proj", .theirs = "blk.#.attn_output"},
    {.ours = "model.layers.#.post_attention_layernorm", .theirs = "blk.#.ffn_norm"},
    {.ours = "model.layers.#.mlp.gate_proj", .theirs = "blk.#.ffn_gate"},
    {.ours = "model.layers.#.mlp.up_proj", .theirs = "blk.#.ffn_up"},
    {.ours = "model.layers.#.mlp.down_proj", .theirs = "blk.#.ffn_down"},
    {0}};
static const bal_family_name gpt2_names[] = {
    {.ours = "model.embed_tokens", .theirs = "token_embd"},
    {.ours = "model.embed_positions", .theirs = "position_embd"},
    {.ours = "model.norm", .theirs = "output_norm"},
    {.ours = "lm_head", .theirs = "output"},
    {.ours = "model.layers.#.input_layernorm", .theirs = "blk.#.attn_norm"},
    {"model.layers.#.self_attn.q_proj", "blk.#.attn_qkv", false, 0, 3},
    {"model.layers.#.self_attn.k_proj", "blk.#.attn_qkv", false, 1, 3},
    {"model.layers.#.self_attn.v_proj", "blk.#.attn_qkv", false, 2, 3},
    {.ours = "model.layers.#.self_attn.o_proj", .theirs = "blk.#.attn_output"},
    {.ours = "model.layers.#.post_attention_layernorm", .theirs = "blk.#.ffn_norm"},
    {.ours = "model.layers.#.mlp.up_proj", .theirs = "blk.#.ffn_up"},
    {.ours = "model.layers.#.mlp.down_proj", .theirs = "blk.#.ffn_down"},
    {0}};

/* What llama.cpp calls a family, and supports of it. */
typedef struct arch {
    const char *family, *name;
    bal_family names;
    unsigned features, may_have;
    bool adjacent; /* rotary pairs */
    bool llama3;   /* supports that scaling of rotary positions */
    bool window;   /* the family may have one, which llama.cpp does not support */
} arch;

#define LLAMA_MAY_HAVE (BAL_BIAS_QKV | BAL_BIAS_O | BAL_BIAS_MLP)
#define GPT2_HAS (BAL_LAYER_NORM | BAL_NO_GATE | BAL_BIAS_QKV | BAL_BIAS_O | BAL_BIAS_MLP)

static const arch archs[] = {
    {"llama", "llama", {.names = llama_names}, 0, LLAMA_MAY_HAVE, true, true, false},
    {"mistral", "llama", {.names = llama_names}, 0, 0, true, true, true},
    {"qwen2", "qwen2", {.names = llama_names}, BAL_BIAS_QKV, 0, false, false, false},
    {"qwen3", "qwen3", {.names = llama_names}, BAL_QK_NORM, 0, false, false, false},
    {"gpt2", "gpt2", {.names = gpt2_names}, GPT2_HAS, 0, false, false, false}};

static bal_status refuse(const arch *a, const char *what)
{
    return bal_fail(BAL_ERR_CONFIG, "the model has %s, which a GGUF file of %s cannot express",
                    what, a->name);
}

static bal_status find_arch(const bal_bundle *bundle, const arch **found)
{
    const bal_model_config *c = bal_model_shape(bundle->model);
    const bal_family *family;
    BAL_TRY(bal_hub_bundle_family(bundle, &family));
    *found = NULL;
    for (size_t i = 0; i < sizeof archs / sizeof *archs; ++i)
        if (strcmp(archs[i].family, family->type) == 0) *found = &archs[i];
    const arch *a = *found;
    if (a == NULL)
        return bal_fail(BAL_ERR_CONFIG,
                        "the model is of family %s; a GGUF file can hold one of llama (with "
                        "Vicuna), mistral, qwen2, qwen3 or gpt2",
                        family->type);
    unsigned more = c->features & ~(a->features | a->may_have), less = a->features & ~c->features;
    char text[192];
    if (more != 0 || less != 0) {
        size_t n = (size_t)snprintf(text, sizeof text, "%s", more != 0 ? "" : "no ");
        bal_features_print(more != 0 ? more : less, text + n, sizeof text - n);
        return refuse(a, text);
    }
    if (c->rope.kind == BAL_ROPE_LLAMA3 && !a->llama3) return refuse(a, "rotary scaling of llama3");
    if ((c->features & BAL_NO_GATE) != 0 && c->activation != BAL_ACT_GELU_TANH)
        return refuse(a, "another activation than gelu_new");
    return BAL_OK;
}

/* What each rotary frequency of Llama 3 is divided by. Source: transformers, modeling_rope_utils;
 * llama.cpp, convert_hf_to_gguf.py. */
static void fill_rope_factors(const bal_model_config *c, float *factors)
{
    const double two_pi = 6.283185307179586;
    int64_t half = c->head_dim / 2;
    for (int64_t i = 0; i < half; ++i) {
        double plain = bal_math_exp(-(double)i / (double)half * bal_math_log(c->rope.base));
        double turns = c->rope.original * plain / two_pi;
        double share = (turns - c->rope.low) / (c->rope.high - c->rope.low);
        share = share < 0.0 ? 0.0 : share > 1.0 ? 1.0 : share;
        factors[i] = (float)(1.0 / ((1.0 - share) / c->rope.factor + share));
    }
}

static void put_settings(bal_gguf_head *head, const arch *a, const bal_model_config *c)
{
    bool rotary = c->embed.n_positions == 0;
    bal_gguf_put_u32(head, ".vocab_size", c->n_vocab);
    bal_gguf_put_u32(head, ".context_length", c->max_tokens);
    bal_gguf_put_u32(head, ".embedding_length", c->dim);
    bal_gguf_put_u32(head, ".block_count", c->n_layers);
    bal_gguf_put_u32(head, ".feed_forward_length", c->hidden);
    bal_gguf_put_u32(head, ".attention.head_count", c->n_heads);
    bal_gguf_put_u32(head, ".attention.head_count_kv", c->n_kv_heads);
    bal_gguf_put_f32(head,
                     (a->features & BAL_LAYER_NORM) != 0 ? ".attention.layer_norm_epsilon"
                                                         : ".attention.layer_norm_rms_epsilon",
                     c->norm_eps);
    if (!rotary) return;
    bal_gguf_put_u32(head, ".attention.key_length", c->head_dim);
    bal_gguf_put_u32(head, ".attention.value_length", c->head_dim);
    bal_gguf_put_u32(head, ".rope.dimension_count", c->head_dim);
    bal_gguf_put_f32(head, ".rope.freq_base", c->rope.base);
    if (c->rope.kind == BAL_ROPE_LINEAR) {
        bal_gguf_put_text(head, ".rope.scaling.type", "linear", 6);
        bal_gguf_put_f32(head, ".rope.scaling.factor", c->rope.factor);
    }
    if (c->window > 0) bal_gguf_put_u32(head, ".attention.sliding_window", c->window);
}

/* The file to be written. */
typedef struct file {
    bal_ggml_type type;
    bal_gguf_head head;
    bal_hub_theirs_list theirs;
    float *rope_factors; /* NULL: none; owned */
    float *whole, *ours; /* owned */
} file;

/* Vectors and positions stay floats; rows that are not whole blocks become halves. */
static bal_ggml_type type_of(const file *f, const bal_hub_theirs *theirs)
{
    if (theirs->n_dims == 1 || strcmp(theirs->name, "position_embd.weight") == 0)
        return BAL_GGML_F32;
    return f->type == BAL_GGML_F16 || theirs->shape[1] % 32 == 0 ? f->type : BAL_GGML_F16;
}

static const char rope_name[] = "rope_freqs.weight";

static bal_status write_file(const void *what, int fd, const char *path)
{
    const file *f = what;
    BAL_TRY(bal_gguf_head_write(&f->head, fd, path));
    if (f->rope_factors != NULL)
        BAL_TRY(bal_gguf_data_write(BAL_GGML_F32, f->rope_factors,
                                    bal_model_shape(f->theirs.model)->head_dim / 2, rope_name, fd,
                                    path));
    for (int i = 0; i < f->theirs.n; ++i) {
        const bal_hub_theirs *theirs = &f->theirs.at[i];
        bal_hub_theirs_read(&f->theirs, theirs, f->whole, f->ours);
        BAL_TRY(bal_gguf_data_write(type_of(f, theirs), f->whole, bal_hub_theirs_n(theirs),
                                    theirs->name, fd, path));
    }
    return BAL_OK;
}

static bal_status describe(const bal_bundle *bundle, const arch *a, const char *name, file *f)
{
    static const struct {
        bal_ggml_type type;
        int number; /* of such a file */
    } kinds[] = {{BAL_GGML_F16, 1}, {BAL_GGML_Q4_0, 2}, {BAL_GGML_Q8_0, 7}};
    const bal_model_config *c = bal_model_shape(bundle->model);
    bal_gguf_head *h = &f->head;
    int64_t half[2] = {c->head_dim / 2, 1};
    h->arch = a->name;
    bal_gguf_put_text(h, "general.architecture", a->name, strlen(a->name));
    bal_gguf_put_text(h, "general.type", "model", 5);
    bal_gguf_put_text(h, "general.name", name, strlen(name));
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; ++i)
        if (kinds[i].type == f->type) bal_gguf_put_u32(h, "general.file_type", kinds[i].number);
    if (f->type != BAL_GGML_F16) bal_gguf_put_u32(h, "general.quantization_version", 2);
    put_settings(h, a, c);
    BAL_TRY(bal_gguf_put_tokenizer(h, bundle));
    if (c->rope.kind == BAL_ROPE_LLAMA3) {
        f->rope_factors = bal_alloc((size_t)half[0], sizeof *f->rope_factors);
        if (f->rope_factors == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for %s", rope_name);
        fill_rope_factors(c, f->rope_factors);
        bal_gguf_put_tensor(h, rope_name, 1, half, BAL_GGML_F32);
    }
    for (int i = 0; i < f->theirs.n; ++i) {
        const bal_hub_theirs *theirs = &f->theirs.at[i];
        bal_gguf_put_tensor(h, theirs->name, theirs->n_dims, theirs->shape, type_of(f, theirs));
    }
    return BAL_OK;
}

static bal_status export_as(const bal_bundle *bundle, const arch *a, const char *dir,
                            const char *name, file *f)
{
    char stem[NAME_MAX + 1];
    bool halves = bal_model_shape(bundle->model)->rope.pairs == BAL_ROPE_HALVES;
    bal_hub_rows rows = a->adjacent && halves ? BAL_HUB_ROWS_ADJACENT : BAL_HUB_ROWS_KEPT;
    snprintf(stem, sizeof stem, "%s", name);
    if (strrchr(stem, '.') != NULL) *strrchr(stem, '.') = '\0';
    BAL_TRY(bal_hub_theirs_init(bundle->model, &a->names, rows, &f->theirs));
    BAL_TRY(bal_hub_theirs_space(&f->theirs, &f->whole, &f->ours));
    BAL_TRY(describe(bundle, a, stem, f));
    return bal_hub_publish(dir, false, &(bal_hub_output){name, write_file, f}, 1);
}

bal_status bal_hub_export_gguf(const bal_bundle *bundle, bal_export_gguf kind, const char *path)
{
    static const bal_ggml_type types[] = {[BAL_EXPORT_GGUF_F16] = BAL_GGML_F16,
                                          [BAL_EXPORT_GGUF_Q8_0] = BAL_GGML_Q8_0,
                                          [BAL_EXPORT_GGUF_Q4_0] = BAL_GGML_Q4_0};
    const arch *a;
    file f = {.type = types[kind]};
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    char dir[PATH_MAX];
    int n_dir = slash == NULL || slash == path ? 1 : (int)(slash - path);
    if (snprintf(dir, sizeof dir, "%.*s", n_dir, slash != NULL ? path : ".") >= (int)sizeof dir ||
        strlen(name) > NAME_MAX)
        return bal_fail(BAL_ERR_IO, "%s: the path is too long", path);
    BAL_TRY(find_arch(bundle, &a));
    bal_status status = export_as(bundle, a, dir, name, &f);
    bal_gguf_head_clear(&f.head);
    bal_hub_theirs_clear(&f.theirs);
    free(f.rope_factors);
    free(f.whole);
    free(f.ours);
    return status;
}
