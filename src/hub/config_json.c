/* config_json.c: config.json to the shape of a model, by the table of families. Settings that would
 * change the model but are unknown here are refused; all others are ignored. */
#include <string.h>

#include "family.h"
#include "hub_impl.h"

#define CONFIG_BYTES_MAX 1048576

/* Objects and arrays take far more memory than their bytes. In a file of tensors' names, each with
 * its dtype, shape and place, they begin less often than every eight bytes. */
static bool is_flat(const char *bytes, size_t n_bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < n_bytes; ++i) n += bytes[i] == '[' || bytes[i] == '{';
    return n <= n_bytes / 8 + 64;
}

bal_status bal_hub_json(const void *bytes, size_t n_bytes, const char *origin, json_t **object)
{
    json_error_t error = {.text = "no JSON in it"};
    json_t *json = NULL;
    *object = NULL;
    if (!is_flat(bytes, n_bytes))
        snprintf(error.text, sizeof error.text, "more brackets than such a file has");
    else if (n_bytes > 0)
        json = bal_json_load(bytes, n_bytes, JSON_REJECT_DUPLICATES, &error);
    if (json_is_object(json)) {
        *object = json;
        return BAL_OK;
    }
    if (json == NULL && json_error_code(&error) == json_error_out_of_memory)
        return bal_fail(BAL_ERR_MEMORY, "%s: no memory to read it", origin);
    if (json != NULL) {
        json_decref(json);
        snprintf(error.text, sizeof error.text, "not a JSON object");
    }
    for (char *c = error.text; *c != '\0'; ++c) /* the message quotes the file */
        if (*c < ' ' || *c > '~') *c = '?';
    if (error.line < 1)
        return bal_fail(BAL_ERR_INPUT, "%s: %s; expected an object", origin, error.text);
    return bal_fail(BAL_ERR_INPUT, "%s: line %d of the JSON text: %s; expected an object", origin,
                    error.line, error.text);
}

typedef struct config_file {
    const char *origin;
    json_t *json;
} config_file;

/* The value of a key; NULL if it is absent or null, which transformers treats alike. */
static json_t *get(const config_file *file, const char *key)
{
    json_t *value = json_object_get(file->json, key);
    return json_is_null(value) ? NULL : value;
}

static bal_status refuse(const config_file *file, const char *key, const char *expected)
{
    char text[80] = "missing"; /* else the value itself, escaped */
    json_t *value = json_object_get(file->json, key);
    if (value != NULL) {
        memset(text, 0, sizeof text);
        size_t n = json_dumpb(value, text, sizeof text - 1,
                              JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(6));
        if (n >= sizeof text) strcpy(text, "a long value");
    }
    return bal_fail(BAL_ERR_INPUT, "%s: %s is %s; expected %s", file->origin, key, text, expected);
}

/* Sizes are at least 1. fallback 0: the key is required. */
static bal_status get_size(const config_file *file, const char *key, int64_t highest,
                           int64_t fallback, int64_t *size)
{
    json_t *value = get(file, key);
    *size = fallback;
    if (value == NULL && fallback > 0) return BAL_OK;
    *size = json_integer_value(value); /* 0 if it is not an integer */
    if (*size >= 1 && *size <= highest) return BAL_OK;
    char expected[64];
    snprintf(expected, sizeof expected, "an integer from 1 to %lld", (long long)highest);
    return refuse(file, key, expected);
}

/* fallback 0: the key is required. */
static bal_status get_real(const config_file *file, const char *key, double highest,
                           double fallback, double *real)
{
    json_t *value = get(file, key);
    *real = value == NULL ? fallback : json_number_value(value); /* 0 if it is not a number */
    if (*real > 0.0 && *real <= highest) return BAL_OK;
    char expected[64];
    snprintf(expected, sizeof expected, "a number above 0, at most %g", highest);
    return refuse(file, key, expected);
}

static bal_status get_flag(const config_file *file, const char *key, bool fallback, bool *flag)
{
    json_t *value = get(file, key);
    *flag = value == NULL ? fallback : json_is_true(value);
    return value == NULL || json_is_boolean(value) ? BAL_OK : refuse(file, key, "true or false");
}

/* "" if the key is absent. */
static bal_status get_text(const config_file *file, const char *key, const char **text)
{
    json_t *value = get(file, key);
    *text = value == NULL ? "" : json_string_value(value);
    return *text != NULL ? BAL_OK : refuse(file, key, "a string");
}

static bal_status find_family(const config_file *file, const bal_family **family)
{
    char expected[256] = "one of ";
    const char *type;
    BAL_TRY(get_text(file, "model_type", &type));
    json_t *classes = get(file, "architectures");
    const char *class = json_string_value(json_array_get(classes, 0));
    bal_family_list(expected + 7, sizeof expected - 7);
    *family = type[0] != 0    ? bal_family_of_type(type)
              : class != NULL ? bal_family_of_class(class)
                              : NULL;
    if (*family == NULL)
        return refuse(file, type[0] != 0 || classes == NULL ? "model_type" : "architectures",
                      expected);
    if (classes == NULL) return BAL_OK;
    char only[64];
    snprintf(only, sizeof only, "[\"%s\"]", (*family)->class);
    if (json_array_size(classes) != 1 || class == NULL || strcmp(class, (*family)->class) != 0)
        return refuse(file, "architectures", only);
    return BAL_OK;
}

static bal_status get_features(const config_file *file, const bal_family *family,
                               unsigned *features)
{
    *features = family->features;
    for (const bal_family_switch *s = family->switches; s != NULL && s->key != NULL; ++s) {
        bool value;
        BAL_TRY(get_flag(file, s->key, s->fallback, &value));
        if (value != s->when) continue;
        if (s->sets == 0 && s->drops == 0)
            return refuse(
                file, s->key,
                s->when ? "false: nothing else is supported" : "true: nothing else is supported");
        *features = (*features | s->sets) & ~s->drops;
    }
    return BAL_OK;
}

static bal_status get_activation(const config_file *file, const bal_family *family,
                                 bal_model_config *config)
{
    static const struct {
        const char *name;
        bal_activation kind;
    } known[] = {{"relu", BAL_ACT_RELU},          {"gelu", BAL_ACT_GELU},
                 {"gelu_new", BAL_ACT_GELU_TANH}, {"gelu_pytorch_tanh", BAL_ACT_GELU_TANH},
                 {"silu", BAL_ACT_SILU},          {"swish", BAL_ACT_SILU}};
    const char *name;
    BAL_TRY(get_text(file, family->keys->activation, &name));
    if (family->gate != NULL) {
        if (get(file, family->keys->activation) == NULL || strcmp(name, family->gate) == 0)
            return BAL_OK;
        char expected[32];
        snprintf(expected, sizeof expected, "\"%s\"", family->gate);
        return refuse(file, family->keys->activation, expected);
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; ++i)
        if (strcmp(name, known[i].name) == 0) {
            config->activation = known[i].kind;
            return BAL_OK;
        }
    return refuse(file, family->keys->activation,
                  "\"relu\", \"gelu\", \"gelu_new\", \"gelu_pytorch_tanh\" or \"silu\"");
}

/* rope_theta and rope_scaling; transformers 5 keeps both in rope_parameters. */
static bal_status get_rope(const config_file *file, bal_model_config *config)
{
    const char *key = get(file, "rope_parameters") != NULL ? "rope_parameters" : "rope_scaling";
    config_file rope = {file->origin, get(file, key)};
    const char *type = "default";
    const config_file *base = file;
    if (rope.json != NULL) {
        if (!json_is_object(rope.json)) return refuse(file, key, "an object");
        const char *member;
        json_t *value;
        json_object_foreach(rope.json, member, value)
        {
            if (json_is_object(value) || json_is_array(value))
                return refuse(file, key, "one scaling for all layers and frequencies");
        }
        if (get(&rope, "rope_theta") != NULL) base = &rope;
        const char *type_key = get(&rope, "rope_type") != NULL ? "rope_type" : "type";
        if (get(&rope, type_key) != NULL || strcmp(key, "rope_scaling") == 0)
            BAL_TRY(get_text(&rope, type_key, &type));
    }
    BAL_TRY(get_real(base, "rope_theta", 1e12, 10000.0, &config->rope.base));
    double part, part_of_rope = 1.0;
    BAL_TRY(get_real(file, "partial_rotary_factor", 1.0, 1.0, &part));
    if (rope.json != NULL)
        BAL_TRY(get_real(&rope, "partial_rotary_factor", 1.0, 1.0, &part_of_rope));
    if (part < 1.0 || part_of_rope < 1.0)
        return refuse(part < 1.0 ? file : &rope, "partial_rotary_factor",
                      "1: all of a head is turned");
    if (strcmp(type, "default") == 0) return BAL_OK;
    bool llama3 = strcmp(type, "llama3") == 0;
    if (!llama3 && strcmp(type, "linear") != 0)
        return refuse(file, key, "a rope_type of \"default\", \"linear\" or \"llama3\"");
    config->rope.kind = llama3 ? BAL_ROPE_LLAMA3 : BAL_ROPE_LINEAR;
    BAL_TRY(get_real(&rope, "factor", 1e6, 0.0, &config->rope.factor));
    if (!llama3) return BAL_OK;
    BAL_TRY(get_real(&rope, "low_freq_factor", 1e6, 0.0, &config->rope.low));
    BAL_TRY(get_real(&rope, "high_freq_factor", 1e6, 0.0, &config->rope.high));
    return get_real(&rope, "original_max_position_embeddings", BAL_HUB_TOKENS_MAX, 0.0,
                    &config->rope.original);
}

/* Learned positions: the rows before those of a text, and its largest length. */
static bal_status get_positions(const config_file *file, const bal_family *family,
                                bal_model_config *config)
{
    int64_t offset = family->position_offset;
    if (offset < 0) {
        json_t *pad = get(file, "pad_token_id");
        offset = pad == NULL ? 2 : json_integer_value(pad) + 1;
        if ((pad != NULL && !json_is_integer(pad)) || offset < 1 || offset > BAL_HUB_SIZE_MAX)
            return refuse(file, "pad_token_id", "a token");
    }
    config->embed.position_offset = offset;
    config->embed.n_positions = config->max_tokens + (family->positions_are_all ? 0 : offset);
    config->max_tokens = config->embed.n_positions - offset;
    if (config->max_tokens < 1)
        return refuse(file, family->keys->max_tokens,
                      "more than the rows before the first position");
    return BAL_OK;
}

static bal_status get_sizes(const config_file *file, const bal_family *family,
                            bal_model_config *config)
{
    const int64_t up = BAL_HUB_SIZE_MAX;
    BAL_TRY(get_size(file, family->keys->dim, up, 0, &config->dim));
    BAL_TRY(get_size(file, family->keys->hidden, up,
                     family->keys->hidden_is_4_dim ? 4 * config->dim : 0, &config->hidden));
    BAL_TRY(get_size(file, family->keys->n_layers, up, 0, &config->n_layers));
    BAL_TRY(get_size(file, family->keys->n_heads, up, 0, &config->n_heads));
    config->n_kv_heads = config->n_heads;
    if (family->keys->n_kv_heads != NULL)
        BAL_TRY(get_size(file, family->keys->n_kv_heads, up, config->n_heads, &config->n_kv_heads));
    int64_t head_dim = config->dim % config->n_heads == 0 ? config->dim / config->n_heads : 0;
    BAL_TRY(get_size(file, "head_dim", up, head_dim, &config->head_dim));
    BAL_TRY(get_size(file, "vocab_size", INT32_MAX, 0, &config->n_vocab));
    BAL_TRY(get_size(file, family->keys->max_tokens, BAL_HUB_TOKENS_MAX, 0, &config->max_tokens));
    if (family->keys->embed_dim != NULL)
        BAL_TRY(get_size(file, family->keys->embed_dim, up, config->dim, &config->embed.dim));
    if (config->embed.dim == config->dim) config->embed.dim = 0;
    if (family->keys->n_types != NULL)
        BAL_TRY(get_size(file, family->keys->n_types, up, 2, &config->embed.n_types));
    if (family->window.key != NULL && json_object_get(file->json, family->window.key) == NULL)
        config->window = family->window.fallback;
    if (family->window.key != NULL && get(file, family->window.key) != NULL)
        BAL_TRY(get_size(file, family->window.key, INT32_MAX, 0, &config->window));
    if (config->window >= config->max_tokens) config->window = 0;
    return BAL_OK;
}

static bal_status parse(const config_file *file, bal_model_config *config,
                        const bal_family **family)
{
    *config = (bal_model_config){.rope.pairs = BAL_ROPE_HALVES, .rope.base = 1.0};
    BAL_TRY(find_family(file, family));
    const bal_family *f = *family;
    BAL_TRY(get_features(file, f, &config->features));
    BAL_TRY(get_activation(file, f, config));
    if (f->rotary) BAL_TRY(get_rope(file, config));
    BAL_TRY(get_sizes(file, f, config));
    if (!f->rotary) BAL_TRY(get_positions(file, f, config));
    config->norm_eps = f->eps;
    if (f->keys->norm_eps != NULL)
        BAL_TRY(get_real(file, f->keys->norm_eps, 1.0, f->eps, &config->norm_eps));
    BAL_TRY(get_flag(file, "tie_word_embeddings", f->tied_head, &config->tied_head));
    const char *positions;
    BAL_TRY(get_text(file, "position_embedding_type", &positions));
    if (positions[0] != 0 && strcmp(positions, "absolute") != 0)
        return refuse(file, "position_embedding_type", "\"absolute\"");
    return bal_model_config_check(config, file->origin);
}

bal_status bal_hub_config_parse(const void *bytes, size_t n_bytes, const char *origin,
                                bal_model_config *config, const bal_family **family)
{
    if (n_bytes > CONFIG_BYTES_MAX)
        return bal_fail(BAL_ERR_INPUT, "%s: %zu bytes; expected at most %d", origin, n_bytes,
                        CONFIG_BYTES_MAX);
    config_file file = {.origin = origin};
    BAL_TRY(bal_hub_json(bytes, n_bytes, origin, &file.json));
    bal_status status = parse(&file, config, family);
    json_decref(file.json);
    return status;
}
