/* gguf_config.c: the keys of a GGUF file to the config of a model, by the table of settings. Keys
 * of the architecture that are unknown would change the model, so they are refused by name. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gguf.h"

/* Whole models alone, in one file, of an architecture of ours. */
static bal_status find_arch(bal_gguf *file, const bal_gguf_arch **arch)
{
    char text[BAL_GGUF_KEY_BYTES], known[64], expected[96];
    int64_t n_files;
    BAL_TRY(bal_gguf_get_text(file, "general.type", "model", text));
    if (strcmp(text, "model") != 0) return bal_gguf_refuse(file, "general.type", "\"model\"");
    BAL_TRY(bal_gguf_get_size(file, "split.count", 65536, 1, &n_files));
    if (n_files > 1)
        return bal_gguf_refuse(file, "split.count",
                               "a model in one file: llama-gguf-split --merge makes one");
    BAL_TRY(bal_gguf_get_text(file, "general.architecture", NULL, text));
    *arch = bal_gguf_arch_of_name(text);
    bal_gguf_arch_list(known, sizeof known);
    snprintf(expected, sizeof expected, "one of %s", known);
    if (*arch == NULL) return bal_gguf_refuse(file, "general.architecture", expected);
    file->arch = (*arch)->name;
    return BAL_OK;
}

static bool has_tensor(const bal_hub_table *table, const bal_gguf_arch *arch, const char *ours)
{
    bal_family_place place;
    bal_family_place_of(&arch->names, ours, &place);
    return bal_hub_table_find(table, place.name) != NULL;
}

/* Biases that some models of an architecture have show in the tensors of the first layer. */
static unsigned find_features(const bal_hub_table *table, const bal_gguf_arch *arch)
{
    static const struct {
        unsigned feature;
        const char *ours;
    } biases[] = {{BAL_BIAS_QKV, "model.layers.0.self_attn.q_proj.bias"},
                  {BAL_BIAS_O, "model.layers.0.self_attn.o_proj.bias"},
                  {BAL_BIAS_MLP, "model.layers.0.mlp.up_proj.bias"}};
    unsigned found = arch->features;
    for (int i = 0; i < 3; ++i)
        if ((arch->may_have & biases[i].feature) != 0 && has_tensor(table, arch, biases[i].ours))
            found |= biases[i].feature;
    return found;
}

/* How rotary positions are scaled: as a key says, or by a tensor of factors. */
static bal_status find_scaling(const bal_gguf *file, const bal_hub_table *table,
                               const bal_gguf_arch *arch, bal_rope_kind *kind)
{
    static const char key[] = ".rope.scaling.type";
    char type[BAL_GGUF_KEY_BYTES];
    bool has_factor = bal_gguf_find(file, ".rope.scaling.factor") != NULL;
    BAL_TRY(bal_gguf_get_text(file, key, has_factor ? "linear" : "none", type));
    bool linear = strcmp(type, "linear") == 0;
    bool factors = bal_hub_table_find(table, BAL_GGUF_ROPE_FACTORS) != NULL;
    *kind = factors ? BAL_ROPE_LLAMA3 : linear ? BAL_ROPE_LINEAR : BAL_ROPE_PLAIN;
    if (!linear && strcmp(type, "none") != 0)
        return bal_gguf_refuse(file, key, "\"none\" or \"linear\"");
    if (factors && (linear || !arch->llama3))
        return bal_fail(BAL_ERR_INPUT,
                        "%s: tensor " BAL_GGUF_ROPE_FACTORS " scales a model of %s%s", file->origin,
                        arch->name, linear ? " that is scaled already" : "; expected none");
    return BAL_OK;
}

static bal_status read_setting(const bal_gguf *file, const bal_gguf_setting *setting,
                               bal_model_config *config)
{
    void *member = (char *)config + setting->offset;
    const bal_gguf_value *value = bal_gguf_find(file, setting->key);
    if (setting->type == BAL_GGUF_STRING || (value == NULL && setting->optional)) return BAL_OK;
    if (setting->real) return bal_gguf_get_real(file, setting->key, setting->highest, 0.0, member);
    int64_t size, before = *(int64_t *)member;
    char expected[64];
    BAL_TRY(bal_gguf_get_size(file, setting->key, (int64_t)setting->highest, 0, &size));
    snprintf(expected, sizeof expected, "%lld, as other keys say", (long long)before);
    if (before > 0 && size != before) return bal_gguf_refuse(file, setting->key, expected);
    *(int64_t *)member = size;
    return BAL_OK;
}

static bal_status read_settings(const bal_gguf *file, bal_model_config *config)
{
    for (int i = 0; i < BAL_GGUF_N_SETTINGS; ++i) {
        const bal_gguf_setting *setting = &bal_gguf_settings[i];
        bool window = setting->when == BAL_GGUF_WINDOW && strcmp(file->arch, "llama") == 0;
        if (bal_gguf_has(setting, config) || window) BAL_TRY(read_setting(file, setting, config));
    }
    return BAL_OK;
}

static bool is_setting(const char *key, size_t n_bytes, const char *arch)
{
    for (int i = 0; i < BAL_GGUF_N_SETTINGS; ++i) {
        const bal_gguf_setting *setting = &bal_gguf_settings[i];
        if (strlen(setting->key) == n_bytes && memcmp(setting->key, key, n_bytes) == 0)
            return setting->when != BAL_GGUF_WINDOW || strcmp(arch, "llama") == 0;
    }
    return false;
}

static bal_status check_keys(const bal_gguf *file)
{
    size_t n = strlen(file->arch);
    for (int64_t i = 0; i < file->n_values; ++i) {
        const bal_gguf_value *value = &file->values[i];
        if (value->n_key <= n || memcmp(value->key, file->arch, n) != 0 || value->key[n] != '.')
            continue;
        const char *key = value->key + n;
        size_t n_bytes = (size_t)value->n_key - n;
        const bal_gguf_neutral *neutral = bal_gguf_neutral_of(key, n_bytes);
        double real;
        if (is_setting(key, n_bytes, file->arch)) continue;
        if (neutral == NULL)
            return bal_fail(BAL_ERR_INPUT,
                            "%s: %.*s is a setting that is unknown here; expected a model without "
                            "it",
                            file->origin, (int)(value->n_key < 160 ? value->n_key : 160),
                            value->key);
        if (isnan(neutral->value)) continue;
        if (bal_gguf_real(value, &real) && real == neutral->value) continue;
        char expected[48];
        snprintf(expected, sizeof expected, "%g: nothing else is supported", neutral->value);
        return bal_gguf_refuse(file, neutral->key, expected);
    }
    return BAL_OK;
}

/* The factors of Llama 3 follow from four numbers, of which a file may say three. */
static bal_status check_factors(const bal_gguf *file, const bal_hub_table *table,
                                bal_model_config *config)
{
    const bal_hub_entry *entry = bal_hub_table_find(table, BAL_GGUF_ROPE_FACTORS);
    int64_t n = config->head_dim / 2;
    if (entry->n_dims != 1 || entry->shape[0] != n)
        return bal_fail(BAL_ERR_INPUT, "%s: tensor %s has another shape than [%lld]", file->origin,
                        entry->name, (long long)n);
    float *found = bal_alloc((size_t)n, sizeof *found), *made = bal_alloc((size_t)n, sizeof *made);
    bal_status status =
        found != NULL && made != NULL
            ? bal_hub_table_read(table, entry, found)
            : bal_fail(BAL_ERR_MEMORY, "%s: no memory for %s", file->origin, entry->name);
    config->rope.factor = 0.0;
    for (int64_t i = 0; i < n && status == BAL_OK; ++i)
        config->rope.factor = fmax(config->rope.factor, (double)found[i]);
    if (status == BAL_OK) bal_gguf_rope_factors(config, made);
    for (int64_t i = 0; i < n && status == BAL_OK; ++i)
        if (!(fabsf(found[i] - made[i]) <= 1e-4f * found[i]))
            status =
                bal_fail(BAL_ERR_INPUT,
                         "%s: tensor %s: element %lld is %g; expected %g, as Llama 3 scales "
                         "from %g tokens on, between %g and %g turns",
                         file->origin, entry->name, (long long)i, (double)found[i], (double)made[i],
                         config->rope.original, config->rope.low, config->rope.high);
    free(found);
    free(made);
    return status;
}

/* What a file need not say. */
static bal_status complete(const bal_gguf *file, bal_model_config *c)
{
    const bal_gguf_value *tokens;
    BAL_TRY(bal_gguf_get_list(file, "tokenizer.ggml.tokens", BAL_GGUF_STRING, -1, &tokens));
    if (tokens->n > INT32_MAX)
        return bal_gguf_refuse(file, "tokenizer.ggml.tokens", "fewer tokens");
    if (c->n_vocab == 0) c->n_vocab = (int64_t)tokens->n;
    if (c->n_kv_heads == 0) c->n_kv_heads = c->n_heads;
    int64_t usual = c->dim % c->n_heads == 0 ? c->dim / c->n_heads : 0;
    if (c->head_dim == 0) c->head_dim = usual;
    if (c->head_dim == 0)
        return bal_gguf_refuse(file, ".attention.key_length", "the size of a head");
    if (c->head_dim != usual && bal_gguf_find(file, ".attention.key_length") == NULL)
        return bal_gguf_refuse(file, ".rope.dimension_count",
                               "the size of a head: all of it turns");
    if (c->window >= c->max_tokens) c->window = 0;
    if (c->embed.n_positions > 0) c->embed.n_positions = c->max_tokens;
    return BAL_OK;
}

/* The embedding is the head if there is no other, or the same once more. */
static bool is_tied(const bal_hub_table *table)
{
    const bal_hub_entry *head = bal_hub_table_find(table, "output.weight");
    const bal_hub_entry *embedding = bal_hub_table_find(table, "token_embd.weight");
    return head == NULL || (embedding != NULL && bal_hub_table_same(table, head, embedding));
}

bal_status bal_gguf_config(bal_gguf *file, const bal_hub_table *table, const bal_gguf_arch **arch,
                           bal_model_config *config, const bal_family **family)
{
    BAL_TRY(find_arch(file, arch));
    *family = bal_family_of_type((*arch)->family);
    bool rotary = (*family)->rotary;
    *config =
        (bal_model_config){.features = find_features(table, *arch),
                           .embed.n_positions = rotary ? 0 : 1,
                           .rope = {.pairs = BAL_ROPE_HALVES, .base = rotary ? 10000.0 : 1.0}};
    if ((config->features & BAL_NO_GATE) != 0) config->activation = BAL_ACT_GELU_TANH;
    if (rotary) BAL_TRY(find_scaling(file, table, *arch, &config->rope.kind));
    if (config->rope.kind == BAL_ROPE_LLAMA3) /* what Llama 3.1 to 3.3 have */
        config->rope.original = 8192.0, config->rope.low = 1.0, config->rope.high = 4.0;
    BAL_TRY(check_keys(file));
    BAL_TRY(read_settings(file, config));
    BAL_TRY(complete(file, config));
    if (config->rope.kind == BAL_ROPE_LLAMA3) BAL_TRY(check_factors(file, table, config));
    config->tied_head = is_tied(table);
    if (config->window > 0) *family = bal_family_of_type("mistral");
    return bal_model_config_check(config, file->origin);
}
