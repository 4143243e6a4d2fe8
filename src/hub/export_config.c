/* export_config.c: the config.json of an exported model. */
#include <stdlib.h>
#include <string.h>

#include "export.h"

static json_t *token_id(const bal_tokenizer *tokenizer, bal_special kind)
{
    int32_t id = bal_tokenizer_special(tokenizer, kind);
    return id < 0 ? json_null() : json_integer(id);
}

/* A config.json for a model without one: that of a LLaMA. */
static json_t *make_config(const bal_bundle *bundle, const char *dtype)
{
    const bal_model_config *c = bal_model_shape(bundle->model);
    json_t *config = bal_hub_config_json(c, bal_family_of_type("llama")), *rest;
    rest = json_pack("{s:s, s:f, s:f, s:i, s:b, s:o, s:o}", "torch_dtype", dtype,
                     "attention_dropout", 0.0, "initializer_range", 0.02, "pretraining_tp", 1,
                     "use_cache", 1, "bos_token_id", token_id(bundle->tokenizer, BAL_SPECIAL_BOS),
                     "eos_token_id", token_id(bundle->tokenizer, BAL_SPECIAL_EOS));
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
    *text = dtype != NULL || quantized ? bal_hub_config_print(config)
                                       : strdup((const char *)file->bytes);
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
        *text = bal_hub_config_print(config);
        json_decref(config);
    }
    return *text != NULL ? BAL_OK : bal_fail(BAL_ERR_MEMORY, "config.json: no memory for its text");
}
