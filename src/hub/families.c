/* families.c: the table of families. Sources: the configuration and modeling files of transformers
 * (github.com/huggingface/transformers, src/transformers/models/FAMILY). */
#include <ctype.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "family.h"

#define BIASES (BAL_BIAS_QKV | BAL_BIAS_O | BAL_BIAS_MLP)

/* A tensor under another name, whole and as we have it. */
#define NAME(ours, theirs)        \
    {                             \
        ours, theirs, false, 0, 0 \
    }

static const char *const llama_ignored[] = {"*.rotary_emb.inv_freq", NULL};

static const bal_family_switch llama_switches[] = {
    {"attention_bias", false, true, BAL_BIAS_QKV | BAL_BIAS_O, 0},
    {"mlp_bias", false, true, BAL_BIAS_MLP, 0},
    {0}};

static const bal_family_switch qwen3_switches[] = {
    {"attention_bias", false, true, BAL_BIAS_QKV | BAL_BIAS_O, 0},
    {"use_sliding_window", false, true, 0, 0},
    {0}};

static const bal_family_switch qwen2_switches[] = {{"use_sliding_window", false, true, 0, 0}, {0}};

static const bal_family_switch opt_switches[] = {
    {"do_layer_norm_before", true, false, BAL_POST_NORM | BAL_NO_FINAL_NORM, 0},
    {"_remove_final_layer_norm", false, true, BAL_NO_FINAL_NORM, 0},
    {"enable_bias", true, false, 0, BIASES},
    {"layer_norm_elementwise_affine", true, false, 0, 0},
    {0}};
static const bal_family_name opt_names[] = {
    NAME("model.embed_tokens", "model.decoder.embed_tokens"),
    NAME("model.embed_positions", "model.decoder.embed_positions"),
    NAME("model.project_in", "model.decoder.project_in"),
    NAME("model.project_out", "model.decoder.project_out"),
    NAME("model.norm", "model.decoder.final_layer_norm"),
    NAME("model.layers.#.input_layernorm", "model.decoder.layers.#.self_attn_layer_norm"),
    NAME("model.layers.#.self_attn.q_proj", "model.decoder.layers.#.self_attn.q_proj"),
    NAME("model.layers.#.self_attn.k_proj", "model.decoder.layers.#.self_attn.k_proj"),
    NAME("model.layers.#.self_attn.v_proj", "model.decoder.layers.#.self_attn.v_proj"),
    NAME("model.layers.#.self_attn.o_proj", "model.decoder.layers.#.self_attn.out_proj"),
    NAME("model.layers.#.post_attention_layernorm", "model.decoder.layers.#.final_layer_norm"),
    NAME("model.layers.#.mlp.up_proj", "model.decoder.layers.#.fc1"),
    NAME("model.layers.#.mlp.down_proj", "model.decoder.layers.#.fc2"),
    {0}};
static const char *const opt_ignored[] = {"*.version", NULL};

static const bal_family_switch gpt2_switches[] = {
    {"scale_attn_weights", true, false, 0, 0},
    {"scale_attn_by_inverse_layer_idx", false, true, BAL_SCALE_BY_LAYER, 0},
    {"add_cross_attention", false, true, 0, 0},
    {0}};
static const bal_family_name gpt2_names[] = {
    NAME("model.embed_tokens", "transformer.wte"),
    NAME("model.embed_positions", "transformer.wpe"),
    NAME("model.norm", "transformer.ln_f"),
    NAME("model.layers.#.input_layernorm", "transformer.h.#.ln_1"),
    {"model.layers.#.self_attn.q_proj", "transformer.h.#.attn.c_attn", true, 0, 3},
    {"model.layers.#.self_attn.k_proj", "transformer.h.#.attn.c_attn", true, 1, 3},
    {"model.layers.#.self_attn.v_proj", "transformer.h.#.attn.c_attn", true, 2, 3},
    {"model.layers.#.self_attn.o_proj", "transformer.h.#.attn.c_proj", true, 0, 1},
    NAME("model.layers.#.post_attention_layernorm", "transformer.h.#.ln_2"),
    {"model.layers.#.mlp.up_proj", "transformer.h.#.mlp.c_fc", true, 0, 1},
    {"model.layers.#.mlp.down_proj", "transformer.h.#.mlp.c_proj", true, 0, 1},
    {0}};
static const char *const gpt2_ignored[] = {"*h.*.attn.bias", "*h.*.attn.masked_bias", NULL};

static const bal_family_switch roberta_switches[] = {
    {"is_decoder", false, true, 0, 0}, {"add_cross_attention", false, true, 0, 0}, {0}};
static const bal_family_name roberta_names[] = {
    NAME("model.embed_tokens", "roberta.embeddings.word_embeddings"),
    NAME("model.embed_positions", "roberta.embeddings.position_embeddings"),
    NAME("model.embed_types", "roberta.embeddings.token_type_embeddings"),
    NAME("model.embed_norm", "roberta.embeddings.LayerNorm"),
    NAME("model.layers.#.self_attn.q_proj", "roberta.encoder.layer.#.attention.self.query"),
    NAME("model.layers.#.self_attn.k_proj", "roberta.encoder.layer.#.attention.self.key"),
    NAME("model.layers.#.self_attn.v_proj", "roberta.encoder.layer.#.attention.self.value"),
    NAME("model.layers.#.self_attn.o_proj", "roberta.encoder.layer.#.attention.output.dense"),
    NAME("model.layers.#.input_layernorm", "roberta.encoder.layer.#.attention.output.LayerNorm"),
    NAME("model.layers.#.mlp.up_proj", "roberta.encoder.layer.#.intermediate.dense"),
    NAME("model.layers.#.mlp.down_proj", "roberta.encoder.layer.#.output.dense"),
    NAME("model.layers.#.post_attention_layernorm", "roberta.encoder.layer.#.output.LayerNorm"),
    NAME("lm_head.norm", "lm_head.layer_norm"),
    NAME("lm_head.weight", "lm_head.decoder.weight"),
    {0}};
static const char *const roberta_ignored[] = {"*embeddings.position_ids",
                                              "*embeddings.token_type_ids", "*pooler.dense.*",
                                              "lm_head.decoder.bias", NULL};

static const bal_family_keys llama_keys = {.dim = "hidden_size",
                                           .hidden = "intermediate_size",
                                           .n_layers = "num_hidden_layers",
                                           .n_heads = "num_attention_heads",
                                           .n_kv_heads = "num_key_value_heads",
                                           .max_tokens = "max_position_embeddings",
                                           .norm_eps = "rms_norm_eps",
                                           .activation = "hidden_act"};

static const bal_family_keys opt_keys = {.dim = "hidden_size",
                                         .hidden = "ffn_dim",
                                         .n_layers = "num_hidden_layers",
                                         .n_heads = "num_attention_heads",
                                         .max_tokens = "max_position_embeddings",
                                         .activation = "activation_function",
                                         .embed_dim = "word_embed_proj_dim"};

static const bal_family_keys gpt2_keys = {.dim = "n_embd",
                                          .hidden = "n_inner",
                                          .hidden_is_4_dim = true,
                                          .n_layers = "n_layer",
                                          .n_heads = "n_head",
                                          .max_tokens = "n_positions",
                                          .norm_eps = "layer_norm_epsilon",
                                          .activation = "activation_function"};

static const bal_family_keys roberta_keys = {.dim = "hidden_size",
                                             .hidden = "intermediate_size",
                                             .n_layers = "num_hidden_layers",
                                             .n_heads = "num_attention_heads",
                                             .max_tokens = "max_position_embeddings",
                                             .norm_eps = "layer_norm_eps",
                                             .activation = "hidden_act",
                                             .n_types = "type_vocab_size"};

/* What the relatives of LLaMA have in common. */
#define LIKE_LLAMA                                                                      \
    .base = "model.", .rotary = true, .gate = "silu", .keys = &llama_keys, .eps = 1e-6, \
    .ignored = llama_ignored

static const bal_family families[] = {
    {.type = "llama", .class = "LlamaForCausalLM", LIKE_LLAMA, .switches = llama_switches},
    {.type = "mistral",
     .class = "MistralForCausalLM",
     LIKE_LLAMA,
     .window = {"sliding_window", 4096}},
    {.type = "qwen2",
     .class = "Qwen2ForCausalLM",
     LIKE_LLAMA,
     .features = BAL_BIAS_QKV,
     .switches = qwen2_switches},
    {.type = "qwen3",
     .class = "Qwen3ForCausalLM",
     LIKE_LLAMA,
     .features = BAL_QK_NORM,
     .switches = qwen3_switches},
    {.type = "opt",
     .class = "OPTForCausalLM",
     .base = "model.",
     .features = BAL_LAYER_NORM | BAL_NO_GATE | BIASES,
     .tied_head = true,
     .position_offset = 2,
     .keys = &opt_keys,
     .eps = 1e-5,
     .switches = opt_switches,
     .names = opt_names,
     .ignored = opt_ignored},
    {.type = "gpt2",
     .class = "GPT2LMHeadModel",
     .base = "transformer.",
     .features = BAL_LAYER_NORM | BAL_NO_GATE | BIASES,
     .tied_head = true,
     .keys = &gpt2_keys,
     .eps = 1e-5,
     .switches = gpt2_switches,
     .names = gpt2_names,
     .ignored = gpt2_ignored},
    {.type = "roberta",
     .class = "RobertaForMaskedLM",
     .base = "roberta.",
     .features = BAL_LAYER_NORM | BAL_POST_NORM | BAL_EMBED_NORM | BAL_NO_FINAL_NORM | BAL_NO_GATE |
                 BAL_ENCODER | BAL_HEAD_DENSE | BIASES,
     .tied_head = true,
     .position_offset = -1,
     .positions_are_all = true,
     .keys = &roberta_keys,
     .eps = 1e-12,
     .switches = roberta_switches,
     .names = roberta_names,
     .ignored = roberta_ignored,
     .head_bias_twin = "lm_head.decoder.bias"},
};
#define N_FAMILIES (sizeof families / sizeof *families)

const bal_family *bal_family_of_type(const char *type)
{
    for (size_t i = 0; i < N_FAMILIES; ++i)
        if (strcmp(families[i].type, type) == 0) return &families[i];
    return NULL;
}

const bal_family *bal_family_of_class(const char *class)
{
    for (size_t i = 0; i < N_FAMILIES; ++i)
        if (strcmp(families[i].class, class) == 0) return &families[i];
    return NULL;
}

void bal_family_list(char *text, size_t n_bytes)
{
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; i < N_FAMILIES && used < n_bytes; ++i)
        used += (size_t)snprintf(text + used, n_bytes - used, "%s%s",
                                 i == 0               ? ""
                                 : i + 1 < N_FAMILIES ? ", "
                                                      : " or ",
                                 families[i].type);
}

/* The number that stem has where pattern has #. @return -2: they are equal; -1: no match */
static long match(const char *pattern, const char *stem)
{
    const char *hash = strchr(pattern, '#');
    if (hash == NULL) return strcmp(pattern, stem) == 0 ? -2 : -1;
    size_t n = (size_t)(hash - pattern);
    if (strncmp(pattern, stem, n) != 0 || !isdigit((unsigned char)stem[n])) return -1;
    char *end;
    long number = strtol(stem + n, &end, 10);
    return strcmp(end, hash + 1) == 0 ? number : -1;
}

void bal_family_place_of(const bal_family *family, const char *ours, bal_family_place *place)
{
    char stem[BAL_NAME_BYTES];
    const char *tail = strrchr(ours, '.');
    *place = (bal_family_place){.n_parts = 1};
    snprintf(place->name, sizeof place->name, "%s", ours);
    snprintf(stem, sizeof stem, "%.*s", (int)(tail - ours), ours);
    for (const bal_family_name *name = family->names; name != NULL && name->ours != NULL; ++name) {
        bool whole = strcmp(name->ours, ours) == 0; /* weight and bias have names of their own */
        long layer = whole ? -2 : match(name->ours, stem);
        if (layer == -1) continue;
        if (whole) tail = "";
        const char *hash = strchr(name->theirs, '#');
        if (hash == NULL)
            snprintf(place->name, sizeof place->name, "%s%s", name->theirs, tail);
        else
            snprintf(place->name, sizeof place->name, "%.*s%ld%s%s", (int)(hash - name->theirs),
                     name->theirs, layer, hash + 1, tail);
        place->transposed = name->transposed && strcmp(tail, ".weight") == 0;
        place->part = name->part;
        place->n_parts = name->n_parts > 0 ? name->n_parts : 1;
        return;
    }
}

const char *bal_family_short_name(const bal_family *family, const char *name)
{
    size_t n = strlen(family->base);
    return strncmp(name, family->base, n) == 0 ? name + n : NULL;
}

bool bal_family_ignores(const bal_family *family, const char *name)
{
    for (const char *const *glob = family->ignored; *glob != NULL; ++glob)
        if (fnmatch(*glob, name, 0) == 0) return true;
    return false;
}
