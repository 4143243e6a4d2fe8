/* export_config.c: the config.json of an exported model. */
#include <stdlib.h>
#include <string.h>

#include "export.h"

/* 15 digits print 1e-05 as a person writes it; 17 are exact for all doubles. */
static size_t digits_for(double value)
{
    char text[32];
    for (int digits = 15; digits < 17; ++digits) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) return (size_t)digits;
    }
    return 17;
}

/* The digits that make every number of a value exact. Recursion is bounded, as jansson bounds the
 * depth of what it parses. */
static size_t digits_of(const json_t *value)
{
    size_t most = json_is_real(value) ? digits_for(json_real_value(value)) : 15, at, here;
    json_t *part;
    const char *key;
    json_array_foreach((json_t *)(uintptr_t)value, at, part) if ((here = digits_of(part)) > most)
        most = here;
    json_object_foreach((json_t *)(uintptr_t)value, key, part) if ((here = digits_of(part)) > most)
        most = here;
    return most;
}

static char *print(json_t *config)
{
    char *text = bal_json_dump(config, JSON_INDENT(2) | JSON_REAL_PRECISION(digits_of(config))),
         *line = NULL;
    if (text != NULL && (line = realloc(text, strlen(text) + 2)) != NULL) strcat(line, "\n");
    if (line == NULL) free(text);
    return line;
}

static json_t *token_id(const bal_tokenizer *tokenizer, bal_special kind)
{
    int32_t id = bal_tokenizer_special(tokenizer, kind);
    return id < 0 ? json_null() : json_integer(id);
}

/* A config.json for a model without one: that of a LLaMA. */
static json_t *make_config(const bal_bundle *bundle, const char *dtype)
{
    const bal_model_config *c = bal_model_shape(bundle->model);
    json_t *config, *rest;
    config = json_pack(
        "{s:[s], s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "architectures",
        "LlamaForCausalLM", "model_type", "llama", "torch_dtype", dtype, "hidden_act", "silu",
        "hidden_size", (json_int_t)c->dim, "intermediate_size", (json_int_t)c->hidden,
        "num_hidden_layers", (json_int_t)c->n_layers, "num_attention_heads", (json_int_t)c->n_heads,
        "num_key_value_heads", (json_int_t)c->n_kv_heads, "head_dim", (json_int_t)c->head_dim,
        "vocab_size", (json_int_t)c->n_vocab, "max_position_embeddings", (json_int_t)c->max_tokens);
    rest = json_pack("{s:f, s:f, s:n, s:b, s:b, s:b, s:f, s:f, s:i, s:b, s:o, s:o}", "rms_norm_eps",
                     c->norm_eps, "rope_theta", c->rope.base, "rope_scaling", "tie_word_embeddings",
                     (int)c->tied_head, "attention_bias", 0, "mlp_bias", 0, "attention_dropout",
                     0.0, "initializer_range", 0.02, "pretraining_tp", 1, "use_cache", 1,
                     "bos_token_id", token_id(bundle->tokenizer, BAL_SPECIAL_BOS), "eos_token_id",
                     token_id(bundle->tokenizer, BAL_SPECIAL_EOS));
    if (json_object_update(config, rest) != 0) {
        json_decref(config);
        config = NULL;
    }
    json_decref(rest);
    return config;
}

/* transformers 5 calls torch_dtype dtype. */
static void set_dtype(json_t *config, const char *dtype)
{
    bool newer = json_object_get(config, "dtype") != NULL;
    if (newer) json_object_set_new(config, "dtype", json_string(dtype));
    if (!newer || json_object_get(config, "torch_dtype") != NULL)
        json_object_set_new(config, "torch_dtype", json_string(dtype));
}

/* The model's own text, unless something in it must change. */
static bal_status change_config(const bal_named_bytes *file, const char *dtype, char **text)
{
    json_t *config;
    BAL_TRY(bal_hub_json(file->bytes, file->n_bytes, "config.json", &config));
    bool quantized = json_object_del(config, "quantization_config") == 0;
    if (dtype != NULL) set_dtype(config, dtype);
    *text = dtype != NULL || quantized ? print(config) : strdup((const char *)file->bytes);
    json_decref(config);
    return BAL_OK;
}

bal_status bal_hub_export_config(const bal_bundle *bundle, const char *dtype, char **text)
{
    const bal_named_bytes *file = bal_files_find(&bundle->files, "config.json");
    *text = NULL;
    if (file != NULL) {
        BAL_TRY(change_config(file, dtype, text));
    } else {
        json_t *config = make_config(bundle, dtype != NULL ? dtype : "float32");
        *text = print(config);
        json_decref(config);
    }
    return *text != NULL ? BAL_OK : bal_fail(BAL_ERR_MEMORY, "config.json: no memory for its text");
}
