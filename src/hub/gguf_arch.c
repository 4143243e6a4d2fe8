/* gguf_arch.c: what GGUF files of a family have, one table for both directions: their architecture
 * in llama.cpp, the names of their tensors there, and the keys of their settings. Source:
 * github.com/ggml-org/llama.cpp, gguf-py/gguf/constants.py and src/llama-arch.cpp. */
#include <math.h>
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

static const char *const ignored[] = {BAL_GGUF_ROPE_FACTORS, NULL};

#define NAMES(list)                                   \
    {                                                 \
        .base = "", .names = list, .ignored = ignored \
    }
#define LLAMA_MAY_HAVE (BAL_BIAS_QKV | BAL_BIAS_O | BAL_BIAS_MLP)
#define GPT2_HAS (BAL_LAYER_NORM | BAL_NO_GATE | BAL_BIAS_QKV | BAL_BIAS_O | BAL_BIAS_MLP)

static const bal_gguf_arch archs[] = {
    {"llama", "llama", NAMES(llama_names), 0, LLAMA_MAY_HAVE, true, true},
    {"mistral", "llama", NAMES(llama_names), 0, 0, true, true},
    {"qwen2", "qwen2", NAMES(llama_names), BAL_BIAS_QKV, 0, false, false},
    {"qwen3", "qwen3", NAMES(llama_names), BAL_QK_NORM, 0, false, false},
    {"gpt2", "gpt2", NAMES(gpt2_names), GPT2_HAS, 0, false, false}};
enum { N_ARCHS = sizeof archs / sizeof *archs };

const bal_gguf_arch *bal_gguf_arch_of_family(const char *type)
{
    for (int i = 0; i < N_ARCHS; ++i)
        if (strcmp(archs[i].family, type) == 0) return &archs[i];
    return NULL;
}

const bal_gguf_arch *bal_gguf_arch_of_name(const char *name)
{
    for (int i = 0; i < N_ARCHS; ++i)
        if (strcmp(archs[i].name, name) == 0) return &archs[i];
    return NULL;
}

void bal_gguf_arch_list(char *text, size_t n_bytes)
{
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < N_ARCHS && used < n_bytes; ++i)
        if (bal_gguf_arch_of_name(archs[i].name) == &archs[i])
            used += (size_t)snprintf(text + used, n_bytes - used, "%s%s",
                                     i == 0            ? ""
                                     : i + 1 < N_ARCHS ? ", "
                                                       : " or ",
                                     archs[i].name);
}

#define U BAL_GGUF_UINT32
#define F BAL_GGUF_FLOAT32
#define AT(member) offsetof(bal_model_config, member)
#define SIZE BAL_HUB_SIZE_MAX

const bal_gguf_setting bal_gguf_settings[BAL_GGUF_N_SETTINGS] = {
    {".vocab_size", U, BAL_GGUF_ALWAYS, AT(n_vocab), INT32_MAX, false, true, NULL},
    {".context_length", U, BAL_GGUF_ALWAYS, AT(max_tokens), BAL_HUB_TOKENS_MAX, false, false, NULL},
    {".embedding_length", U, BAL_GGUF_ALWAYS, AT(dim), SIZE, false, false, NULL},
    {".block_count", U, BAL_GGUF_ALWAYS, AT(n_layers), SIZE, false, false, NULL},
    {".feed_forward_length", U, BAL_GGUF_ALWAYS, AT(hidden), SIZE, false, false, NULL},
    {".attention.head_count", U, BAL_GGUF_ALWAYS, AT(n_heads), SIZE, false, false, NULL},
    {".attention.head_count_kv", U, BAL_GGUF_ALWAYS, AT(n_kv_heads), SIZE, false, true, NULL},
    {".attention.layer_norm_epsilon", F, BAL_GGUF_LAYER_NORM, AT(norm_eps), 1.0, true, false, NULL},
    {".attention.layer_norm_rms_epsilon", F, BAL_GGUF_RMS_NORM, AT(norm_eps), 1.0, true, false,
     NULL},
    {".attention.key_length", U, BAL_GGUF_ROTARY, AT(head_dim), SIZE, false, true, NULL},
    {".attention.value_length", U, BAL_GGUF_ROTARY, AT(head_dim), SIZE, false, true, NULL},
    {".rope.dimension_count", U, BAL_GGUF_ROTARY, AT(head_dim), SIZE, false, true, NULL},
    {".rope.freq_base", F, BAL_GGUF_ROTARY, AT(rope.base), 1e12, true, true, NULL},
    {".rope.scaling.type", BAL_GGUF_STRING, BAL_GGUF_LINEAR, 0, 0.0, false, true, "linear"},
    {".rope.scaling.factor", F, BAL_GGUF_LINEAR, AT(rope.factor), 1e6, true, false, NULL},
    {".rope.scaling.original_context_length", U, BAL_GGUF_LLAMA3, AT(rope.original),
     BAL_HUB_TOKENS_MAX, true, true, NULL},
    {".rope.scaling.low_freq_factor", F, BAL_GGUF_LLAMA3, AT(rope.low), 1e6, true, true, NULL},
    {".rope.scaling.high_freq_factor", F, BAL_GGUF_LLAMA3, AT(rope.high), 1e6, true, true, NULL},
    {".attention.sliding_window", U, BAL_GGUF_WINDOW, AT(window), INT32_MAX, false, true, NULL},
};

bool bal_gguf_has(const bal_gguf_setting *setting, const bal_model_config *config)
{
    bool layer = (config->features & BAL_LAYER_NORM) != 0, rotary = config->embed.n_positions == 0;
    switch (setting->when) {
        case BAL_GGUF_LAYER_NORM:
            return layer;
        case BAL_GGUF_RMS_NORM:
            return !layer;
        case BAL_GGUF_ROTARY:
            return rotary;
        case BAL_GGUF_LINEAR:
            return rotary && config->rope.kind == BAL_ROPE_LINEAR;
        case BAL_GGUF_LLAMA3:
            return rotary && config->rope.kind == BAL_ROPE_LLAMA3;
        case BAL_GGUF_WINDOW:
            return config->window > 0;
        default:
            return true;
    }
}

const bal_gguf_neutral *bal_gguf_neutral_of(const char *key, size_t n_bytes)
{
    static const bal_gguf_neutral neutral[] = {{".tensor_data_layout", NAN},
                                               {".rope.scaling.finetuned", NAN},
                                               {".rope.scaling.attn_factor", 1.0},
                                               {".rope.scale_linear", 1.0},
                                               {".attention.causal", 1.0},
                                               {".use_parallel_residual", 0.0},
                                               {".expert_count", 0.0},
                                               {".expert_used_count", 0.0}};
    for (size_t i = 0; i < sizeof neutral / sizeof *neutral; ++i)
        if (strlen(neutral[i].key) == n_bytes && memcmp(neutral[i].key, key, n_bytes) == 0)
            return &neutral[i];
    return NULL;
}

/* Source: transformers, modeling_rope_utils; llama.cpp, convert_hf_to_gguf.py. */
void bal_gguf_rope_factors(const bal_model_config *c, float *factors)
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
