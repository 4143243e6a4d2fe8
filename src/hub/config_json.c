/* config_json.c: config.json of a LlamaForCausalLM. What would change the model and is not
 * understood here is refused; everything else in the file is left alone. */
#include <string.h>

#include "hub_impl.h"

#define CONFIG_BYTES_MAX 1048576

json_t *bal_hub_json(const void *bytes, size_t n_bytes, const char *origin)
{
    json_error_t error = {.text = "no JSON in it"};
    json_t      *json  = NULL;
    if (n_bytes > 0) json = json_loadb(bytes, n_bytes, JSON_REJECT_DUPLICATES, &error);
    if (json_is_object(json)) return json;
    if (json != NULL) {
        json_decref(json);
        snprintf(error.text, sizeof error.text, "not a JSON object");
    }
    for (char *c = error.text; *c != '\0'; ++c) /* it quotes the file */
        if (*c < ' ' || *c > '~') *c = '?';
    bal_fail(BAL_ERR_INPUT, "%s: line %d of the JSON text: %s; expected an object", origin,
             error.line, error.text);
    return NULL;
}

typedef struct config_file {
    const char *origin;
    json_t     *json;
} config_file;

/* The value of a key; NULL if it is absent or null, which mean the same to transformers. */
static json_t *get(const config_file *file, const char *key)
{
    json_t *value = json_object_get(file->json, key);
    return json_is_null(value) ? NULL : value;
}

static bal_status refuse(const config_file *file, const char *key, const char *expected)
{
    char    text[80] = "missing"; /* else the value itself, escaped */
    json_t *value    = json_object_get(file->json, key);
    if (value != NULL) {
        memset(text, 0, sizeof text);
        size_t n = json_dumpb(value, text, sizeof text - 1,
                              JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(6));
        if (n >= sizeof text) strcpy(text, "a long value");
    }
    return bal_fail(BAL_ERR_INPUT, "%s: %s is %s; expected %s", file->origin, key, text, expected);
}

/* Sizes are at least 1; fallback 0: the key must be there. */
static bal_status get_size(const config_file *file, const char *key, int64_t highest,
                           int64_t fallback, int64_t *size)
{
    json_t *value = get(file, key);
    *size         = fallback;
    if (value == NULL && fallback > 0) return BAL_OK;
    *size = json_integer_value(value); /* 0 if it is no integer */
    if (*size >= 1 && *size <= highest) return BAL_OK;
    char expected[64];
    snprintf(expected, sizeof expected, "an integer from 1 to %lld", (long long)highest);
    return refuse(file, key, expected);
}

static bal_status get_real(const config_file *file, const char *key, double highest,
                           double fallback, double *real)
{
    json_t *value = get(file, key);
    *real         = value == NULL ? fallback : json_number_value(value); /* 0 if it is none */
    if (*real > 0.0 && *real <= highest) return BAL_OK;
    char expected[64];
    snprintf(expected, sizeof expected, "a number above 0, at most %g", highest);
    return refuse(file, key, expected);
}

static bal_status get_flag(const config_file *file, const char *key, bool *flag)
{
    json_t *value = get(file, key);
    *flag         = json_is_true(value);
    return value == NULL || json_is_boolean(value) ? BAL_OK : refuse(file, key, "true or false");
}

static bool is_string(const json_t *value, const char *expected)
{
    return json_is_string(value) && strcmp(json_string_value(value), expected) == 0;
}

static bal_status check_kind(const config_file *file)
{
    json_t *classes = get(file, "architectures"), *type = get(file, "model_type");
    if (classes == NULL && type == NULL)
        return refuse(file, "architectures", "[\"LlamaForCausalLM\"]");
    if (classes != NULL && (json_array_size(classes) != 1 ||
                            !is_string(json_array_get(classes, 0), "LlamaForCausalLM")))
        return refuse(file, "architectures", "[\"LlamaForCausalLM\"]");
    if (type != NULL && !is_string(type, "llama")) return refuse(file, "model_type", "\"llama\"");
    if (get(file, "hidden_act") != NULL && !is_string(get(file, "hidden_act"), "silu"))
        return refuse(file, "hidden_act", "\"silu\"");
    static const char *const biases[] = {"attention_bias", "mlp_bias"};
    for (int i = 0; i < 2; ++i) {
        bool bias;
        BAL_TRY(get_flag(file, biases[i], &bias));
        if (bias) return refuse(file, biases[i], "false: biases are not supported");
    }
    if (get(file, "rope_scaling") != NULL)
        return refuse(file, "rope_scaling", "null: scaled positions are not supported");
    return BAL_OK;
}

/* transformers 5 keeps rope_theta in rope_parameters. */
static bal_status get_rope_base(const config_file *file, double *base)
{
    config_file parameters = {file->origin, get(file, "rope_parameters")};
    if (parameters.json == NULL) return get_real(file, "rope_theta", 1e12, 10000.0, base);
    if (!json_is_object(parameters.json) || (get(&parameters, "rope_type") != NULL &&
                                             !is_string(get(&parameters, "rope_type"), "default")))
        return refuse(file, "rope_parameters",
                      "rope_type \"default\": scaled positions are not supported");
    return get_real(&parameters, "rope_theta", 1e12, 10000.0, base);
}

static bal_status parse(const config_file *file, bal_model_config *config)
{
    BAL_TRY(check_kind(file));
    *config          = (bal_model_config){.rope_pairs = BAL_ROPE_HALVES};
    const int64_t up = BAL_HUB_SIZE_MAX;
    BAL_TRY(get_size(file, "hidden_size", up, 0, &config->dim));
    BAL_TRY(get_size(file, "intermediate_size", up, 0, &config->hidden));
    BAL_TRY(get_size(file, "num_hidden_layers", up, 0, &config->n_layers));
    BAL_TRY(get_size(file, "num_attention_heads", up, 0, &config->n_heads));
    BAL_TRY(get_size(file, "num_key_value_heads", up, config->n_heads, &config->n_kv_heads));
    int64_t head_dim = config->dim % config->n_heads == 0 ? config->dim / config->n_heads : 0;
    BAL_TRY(get_size(file, "head_dim", up, head_dim, &config->head_dim));
    BAL_TRY(get_size(file, "vocab_size", INT32_MAX, 0, &config->n_vocab));
    BAL_TRY(get_size(file, "max_position_embeddings", BAL_HUB_TOKENS_MAX, 0, &config->max_tokens));
    BAL_TRY(get_real(file, "rms_norm_eps", 1.0, 1e-6, &config->norm_eps));
    BAL_TRY(get_rope_base(file, &config->rope_base));
    BAL_TRY(get_flag(file, "tie_word_embeddings", &config->tied_head));
    return bal_model_config_check(config, file->origin);
}

bal_status bal_hub_config_parse(const void *bytes, size_t n_bytes, const char *origin,
                                bal_model_config *config)
{
    if (n_bytes > CONFIG_BYTES_MAX)
        return bal_fail(BAL_ERR_INPUT, "%s: %zu bytes; expected at most %d", origin, n_bytes,
                        CONFIG_BYTES_MAX);
    config_file file = {origin, bal_hub_json(bytes, n_bytes, origin)};
    if (file.json == NULL) return BAL_ERR_INPUT;
    bal_status status = parse(&file, config);
    json_decref(file.json);
    return status;
}
