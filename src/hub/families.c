/* families.c: the table of families. Sources: the configuration and modeling files of transformers
 * (github.com/huggingface/transformers, src/transformers/models/FAMILY). */
#include <ctype.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "family.h"

#define BIASES (BAL_BIAS_QKV | BAL_BIAS_O | BAL_BIAS_MLP)

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
    {.ours = "model.embed_tokens", .theirs = "model.decoder.embed_tokens"},
    {.ours = "model.embed_positions", .theirs = "model.decoder.embed_positions"},
    {.ours = "model.project_in", .theirs = "model.decoder.project_in"},
    {.ours = "model.project_out", .theirs = "model.decoder.project_out"},
    {.ours = "model.norm", .theirs = "model.decoder.final_layer_norm"},
    {.ours = "model.layers.#.input_layernorm",
     .theirs = "model.decoder.layers.#.self_attn_layer_norm"},
    {.ours = "model.layers.#.self_attn.q_proj",
     .theirs = "model.decoder.layers.#.self_attn.q_proj"},
    {.ours = "model.layers.#.self_attn.k_proj",
     .theirs = "model.decoder.layers.#.self_attn.k_proj"},
    {.ours = "model.layers.#.self_attn.v_proj",
     .theirs = "model.decoder.layers.#.self_attn.v_proj"},
    {.ours = "model.layers.#.self_attn.o_proj",
     .theirs = "model.decoder.layers.#.self_attn.out_proj"},
    {.ours = "model.layers.#.post_attention_layernorm",
     .theirs = "model.decoder.layers.#.final_layer_norm"},
    {.ours = "model.layers.#.mlp.up_proj", .theirs = "model.decoder.layers.#.fc1"},
    {.ours = "model.layers.#.mlp.down_proj", .theirs = "model.decoder.layers.#.fc2"},
    {0}};
static const char *const opt_ignored[] = {"*.version", NULL};

static const bal_family_switch gpt2_switches[] = {
    {"scale_attn_weights", true, false, 0, 0},
    {"scale_attn_by_inverse_layer_idx", false, true, BAL_SCALE_BY_LAYER, 0},
    {"add_cross_attention", false, true, 0, 0},
    {0}};
static const bal_family_name gpt2_names[] = {
    {.ours = "model.embed_tokens", .theirs = "transformer.wte"},
    {.ours = "model.embed_positions", .theirs = "transformer.wpe"},
    {.ours = "model.norm", .theirs = "transformer.ln_f"},
    {.ours = "model.layers.#.input_layernorm", .theirs = "transformer.h.#.ln_1"},
    {"model.layers.#.self_attn.q_proj", "transformer.h.#.attn.c_attn", true, 0, 3},
    {"model.layers.#.self_attn.k_proj", "transformer.h.#.attn.c_attn", true, 1, 3},
    {"model.layers.#.self_attn.v_proj", "transformer.h.#.attn.c_attn", true, 2, 3},
    {"model.layers.#.self_attn.o_proj", "transformer.h.#.attn.c_proj", true, 0, 1},
    {.ours = "model.layers.#.post_attention_layernorm", .theirs = "transformer.h.#.ln_2"},
    {"model.layers.#.mlp.up_proj", "transformer.h.#.mlp.c_fc", true, 0, 1},
    {"model.layers.#.mlp.down_proj", "transformer.h.#.mlp.c_proj", true, 0, 1},
    {0}};
static const char *const gpt2_ignored[] = {"*h.*.attn.bias", "*h.*.attn.masked_bias", NULL};

static const bal_family_switch roberta_switches[] = {
    {"is_decoder", false, true, 0, 0}, {"add_cross_attention", false, true, 0, 0}, {0}};
static const bal_family_name roberta_names[] = {
    {.ours = "model.embed_tokens", .theirs = "roberta.embeddings.word_embeddings"},
    {.ours = "model.embed_positions", .theirs = "roberta.embeddings.position_embeddings"},
    {.ours = "model.embed_types", .theirs = "roberta.embeddings.token_type_embeddings"},
    {.ours = "model.embed_norm", .theirs = "roberta.embeddings.LayerNorm"},
    {.ours = "model.layers.#.self_attn.q_proj",
     .theirs = "roberta.encoder.layer.#.attention.self.query"},
    {.ours = "model.layers.#.self_attn.k_proj",
     .theirs = "roberta.encoder.layer.#.attention.self.key"},
    {.ours = "model.layers.#.self_attn.v_proj",
     .theirs = "roberta.encoder.layer.#.attention.self.value"},
    {.ours = "model.layers.#.self_attn.o_proj",
     .theirs = "roberta.encoder.layer.#.attention.output.dense"},
    {.ours = "model.layers.#.input_layernorm",
     .theirs = "roberta.encoder.layer.#.attention.output.LayerNorm"},
    {.ours = "model.layers.#.mlp.up_proj", .theirs = "roberta.encoder.layer.#.intermediate.dense"},
    {.ours = "model.layers.#.mlp.down_proj", .theirs = "roberta.encoder.layer.#.output.dense"},
    {.ours = "model.layers.#.post_attention_layernorm",
     .theirs = "roberta.encoder.layer.#.output.LayerNorm"},
    {.ours = "lm_head.norm", .theirs = "lm_head.layer_norm"},
    {.ours = "lm_head.weight", .theirs = "lm_head.decoder.weight"},
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

static const bal_family families[] = {
    {.type = "llama",
     .class = "LlamaForCausalLM",
     .base = "model.",
     .rotary = true,
     .gate = "silu",
     .keys = &llama_keys,
     .eps = 1e-6,
     .switches = llama_switches,
     .ignored = llama_ignored},
    {.type = "mistral",
     .class = "MistralForCausalLM",
     .base = "model.",
     .rotary = true,
     .gate = "silu",
     .keys = &llama_keys,
     .eps = 1e-6,
     .window = {"sliding_window", 4096},
     .ignored = llama_ignored},
    {.type = "qwen2",
     .class = "Qwen2ForCausalLM",
     .base = "model.",
     .features = BAL_BIAS_QKV,
     .rotary = true,
     .gate = "silu",
     .keys = &llama_keys,
     .eps = 1e-6,
     .switches = qwen2_switches,
     .ignored = llama_ignored},
    {.type = "qwen3",
     .class = "Qwen3ForCausalLM",
     .base = "model.",
     .features = BAL_QK_NORM,
     .rotary = true,
     .gate = "silu",
     .keys = &llama_keys,
     .eps = 1e-6,
     .switches = qwen3_switches,
     .ignored = llama_ignored},
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
