/* gguf_vocab.c: the tokenizer of a GGUF file, by its kind: "gpt2", "llama" or "bert"; and what the
 * files beside a tokenizer say: special tokens, what begins and ends a text, chat templates.
 * Source: github.com/ggml-org/llama.cpp, src/llama-vocab.cpp. */
#include <string.h>

#include "gguf.h"

/* Types are small numbers; an array that a file may lack has one for each token. */
static bal_status read_arrays(const bal_gguf *file, bal_gguf_vocab *v)
{
    static const char types[] = "tokenizer.ggml.token_type", scores[] = "tokenizer.ggml.scores";
    const bal_gguf_value *tokens;
    BAL_TRY(bal_gguf_get_list(file, "tokenizer.ggml.tokens", BAL_GGUF_STRING, -1, &tokens));
    v->n = (int64_t)tokens->n;
    v->tokens = tokens->data;
    if (bal_gguf_find(file, scores) != NULL)
        BAL_TRY(bal_gguf_get_list(file, scores, BAL_GGUF_FLOAT32, v->n, &v->scores));
    if (bal_gguf_find(file, types) == NULL) return BAL_OK;
    BAL_TRY(bal_gguf_get_list(file, types, BAL_GGUF_INT32, v->n, &v->types));
    for (int64_t id = 0; id < v->n; ++id) {
        const uint8_t *type = v->types->data + 4 * id;
        if (type[0] < BAL_TOKEN_NORMAL || type[0] > BAL_TOKEN_BYTE || type[1] + type[2] + type[3])
            return bal_fail(BAL_ERR_INPUT, "%s: %s of token %lld is unknown; expected 1 to 6",
                            file->origin, types, (long long)id);
    }
    return BAL_OK;
}

/* The string of a token; NULL: there is none, or it is no UTF-8. */
static json_t *token_text(const bal_gguf_vocab *v, int64_t wanted)
{
    const uint8_t *at = v->tokens;
    const char *text = NULL;
    size_t n = 0;
    for (int64_t id = 0; id <= wanted; ++id) text = bal_gguf_next(&at, &n);
    return json_stringn(text, n);
}

/* The id of a token that a setting names; -1: the file lacks it. */
static bal_status get_id(const bal_gguf_vocab *v, const char *key, int64_t *id)
{
    char expected[64];
    const bal_gguf_value *value = bal_gguf_find(v->file, key);
    *id = -1;
    if (value == NULL) return BAL_OK;
    if (bal_gguf_integer(value, id) && *id >= 0 && *id < v->n) return BAL_OK;
    snprintf(expected, sizeof expected, "an id below %lld", (long long)v->n);
    return bal_gguf_refuse(v->file, key, expected);
}

/* Special tokens by name; those of texts with their ids in config too. */
static bal_status put_named(const bal_gguf_vocab *v, json_t *side, json_t *config)
{
    static const struct {
        const char *key, *name, *id;
    } tokens[] = {{"tokenizer.ggml.bos_token_id", "bos_token", "bos_token_id"},
                  {"tokenizer.ggml.eos_token_id", "eos_token", "eos_token_id"},
                  {"tokenizer.ggml.unknown_token_id", "unk_token", NULL},
                  {"tokenizer.ggml.padding_token_id", "pad_token", "pad_token_id"},
                  {"tokenizer.ggml.mask_token_id", "mask_token", NULL},
                  {"tokenizer.ggml.cls_token_id", "cls_token", NULL},
                  {"tokenizer.ggml.seperator_token_id", "sep_token", NULL}};
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; ++i) {
        int64_t id;
        BAL_TRY(get_id(v, tokens[i].key, &id));
        if (id < 0) continue;
        if (json_object_set_new(side, tokens[i].name, token_text(v, id)) != 0)
            return bal_fail(BAL_ERR_INPUT, "%s: token %lld, of %s, is no UTF-8 text",
                            v->file->origin, (long long)id, tokens[i].key);
        if (tokens[i].id != NULL) json_object_set_new(config, tokens[i].id, json_integer(id));
    }
    return BAL_OK;
}

/* More tokens that end a text: eos_token_id becomes a list. */
static bal_status put_ends(const bal_gguf_vocab *v, json_t *config)
{
    static const char *const keys[] = {"tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    json_t *eos = json_object_get(config, "eos_token_id");
    for (int i = 0; i < 2; ++i) {
        int64_t id;
        BAL_TRY(get_id(v, keys[i], &id));
        if (id < 0 || eos == NULL) continue;
        if (json_is_integer(eos)) {
            eos = json_pack("[O]", eos);
            json_object_set_new(config, "eos_token_id", eos);
        }
        json_array_append_new(eos, json_integer(id));
    }
    return BAL_OK;
}

/* tokenizer_config.json. */
static bal_status add_side(const bal_gguf_vocab *v, json_t *config, bal_files *files)
{
    bool bos, eos;
    json_t *chat = NULL, *side = json_pack("{s:s}", "tokenizer_class", "PreTrainedTokenizerFast");
    bal_status status = bal_gguf_get_flag(v->file, "tokenizer.ggml.add_bos_token", v->bos, &bos);
    if (status == BAL_OK)
        status = bal_gguf_get_flag(v->file, "tokenizer.ggml.add_eos_token", false, &eos);
    if (status == BAL_OK) status = put_named(v, side, config);
    if (status == BAL_OK) status = put_ends(v, config);
    if (status == BAL_OK) status = bal_gguf_read_chat(v->file, &chat);
    if (status == BAL_OK) {
        json_object_set_new(side, "add_bos_token", json_boolean(bos));
        json_object_set_new(side, "add_eos_token", json_boolean(eos));
        if (chat != NULL) json_object_set(side, "chat_template", chat);
        status = bal_gguf_add_json("tokenizer_config.json", json_incref(side), files);
    }
    json_decref(chat);
    json_decref(side);
    return status;
}

bal_status bal_gguf_add_tokenizer(const bal_gguf *file, json_t *config, bal_files *files)
{
    static const char key[] = "tokenizer.ggml.model";
    char model[BAL_GGUF_KEY_BYTES];
    BAL_TRY(bal_gguf_get_text(file, key, NULL, model));
    bool words = strcmp(model, "gpt2") == 0, pieces = strcmp(model, "llama") == 0;
    if (!words && !pieces && strcmp(model, "bert") != 0)
        return bal_gguf_refuse(file, key, "\"gpt2\", \"llama\" or \"bert\"");
    bal_gguf_vocab v = {.file = file, .bos = pieces};
    BAL_TRY(bal_gguf_get_flag(file, "tokenizer.ggml.add_space_prefix", pieces, &v.prefix));
    BAL_TRY(read_arrays(file, &v));
    BAL_TRY(words    ? bal_gguf_add_words(&v, files)
            : pieces ? bal_gguf_add_pieces(&v, files)
                     : bal_gguf_add_lines(&v, files));
    return add_side(&v, config, files);
}
