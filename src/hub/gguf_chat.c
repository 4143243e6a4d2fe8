/* gguf_chat.c: the chat templates of a GGUF file: one template, or a list of named ones, of which
 * "default" is the usual one. Sources: github.com/ggml-org/llama.cpp, gguf-py/gguf,
 * vocab.py and gguf_writer.py. */
#include <ctype.h>
#include <string.h>

#include "gguf.h"

#define KEY "tokenizer.chat_template"
#define NAME_BYTES 64

static bal_status refuse(const char *file, const char *found)
{
    return bal_fail(BAL_ERR_INPUT,
                    "%s: chat_template %s; expected a string, or a list of {\"name\": ..., "
                    "\"template\": ...} of different names below %d bytes",
                    file, found, NAME_BYTES);
}

/* The name as a part of a key. @return false: it cannot be one. */
static bool read_name(const json_t *item, char name[NAME_BYTES])
{
    const char *given = json_string_value(json_object_get(item, "name"));
    size_t n = given != NULL ? strlen(given) : 0;
    for (size_t i = 0; i < n && n < NAME_BYTES; ++i) name[i] = given[i];
    if (n == 0 || n >= NAME_BYTES) return false;
    name[n] = 0;
    for (char *c = name; *c != 0; ++c)
        if (!isalnum((unsigned char)*c)) *c = '_';
    return true;
}

/* Add templates under their names, and a list of the names except the usual one. */
static bal_status put_named(bal_gguf_head *head, const char *file, const json_t *list,
                            json_t *names)
{
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item)
    {
        char name[NAME_BYTES], key[sizeof KEY + NAME_BYTES];
        const json_t *text = json_object_get(item, "template");
        if (!json_is_string(text) || !read_name(item, name))
            return refuse(file, "has an entry without name or template");
        bool usual = strcmp(name, "default") == 0;
        if (json_object_get(names, name) != NULL) return refuse(file, "has a name twice");
        if (json_object_set_new(names, name, json_boolean(usual)) != 0)
            return bal_fail(BAL_ERR_MEMORY, "%s: no memory for its chat templates", file);
        snprintf(key, sizeof key, usual ? KEY : KEY ".%s", name);
        bal_gguf_put_text(head, key, json_string_value(text), json_string_length(text));
    }
    return BAL_OK;
}

static bal_status put_list(bal_gguf_head *head, const char *file, const json_t *list)
{
    json_t *names = json_object(), *usual;
    const char *name;
    bal_status status = put_named(head, file, list, names);
    int64_t n = (int64_t)json_object_size(names) - (json_object_get(names, "default") != NULL);
    if (status == BAL_OK && n > 0) {
        bal_gguf_put_array(head, KEY "s", BAL_GGUF_STRING, n);
        json_object_foreach(names, name, usual)
        {
            if (!json_is_true(usual)) bal_gguf_add_text(head, name, strlen(name));
        }
    }
    json_decref(names);
    return status;
}

/* @param found  whether the file has a template */
static bal_status put_json(bal_gguf_head *head, const bal_named_bytes *file, bool *found)
{
    json_error_t error;
    json_t *root = bal_json_load(file->bytes, file->n_bytes, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL && json_error_code(&error) == json_error_out_of_memory)
        return bal_fail(BAL_ERR_MEMORY, "%s: no memory to read it", file->name);
    if (!json_is_object(root)) {
        json_decref(root);
        return bal_fail(BAL_ERR_INPUT, "%s:%d: %s; expected a JSON object", file->name, error.line,
                        root == NULL ? error.text : "something else");
    }
    const json_t *chat = json_object_get(root, "chat_template");
    bal_status status = BAL_OK;
    *found = chat != NULL && !json_is_null(chat);
    if (json_is_string(chat))
        bal_gguf_put_text(head, KEY, json_string_value(chat), json_string_length(chat));
    else if (json_is_array(chat))
        status = put_list(head, file->name, chat);
    else if (*found)
        status = refuse(file->name, "is neither");
    json_decref(root);
    return status;
}

bal_status bal_gguf_put_chat(bal_gguf_head *head, const bal_files *files)
{
    static const char *const names[] = {"tokenizer_config.json", "chat_template.json"};
    const bal_named_bytes *jinja = bal_files_find(files, "chat_template.jinja");
    bool found = jinja != NULL;
    if (found) bal_gguf_put_text(head, KEY, (const char *)jinja->bytes, jinja->n_bytes);
    for (int i = 0; i < 2 && !found; ++i) {
        const bal_named_bytes *file = bal_files_find(files, names[i]);
        if (file != NULL) BAL_TRY(put_json(head, file, &found));
    }
    return BAL_OK;
}

/* A list of named templates, "default" first. */
static bal_status read_named(const bal_gguf *file, const bal_gguf_value *names, json_t *list)
{
    const uint8_t *at = names->data;
    for (uint64_t i = 0; i < names->n; ++i) {
        size_t n;
        const char *name = bal_gguf_next(&at, &n);
        char key[sizeof KEY + NAME_BYTES];
        snprintf(key, sizeof key, KEY ".%.*s", (int)(n < NAME_BYTES ? n : NAME_BYTES), name);
        const bal_gguf_value *value = bal_gguf_find(file, key);
        json_t *text = value != NULL && value->type == BAL_GGUF_STRING
                           ? json_stringn((const char *)value->data, (size_t)value->n)
                           : NULL;
        if (text == NULL) return bal_gguf_refuse(file, key, "a chat template");
        json_t *item = json_pack("{s:s%, s:o}", "name", name, n, "template", text);
        if (json_array_append_new(list, item) != 0)
            return bal_fail(BAL_ERR_MEMORY, "%s: no memory for its chat templates", file->origin);
    }
    return BAL_OK;
}

bal_status bal_gguf_read_chat(const bal_gguf *file, json_t **chat)
{
    const bal_gguf_value *usual = bal_gguf_find(file, KEY), *names = bal_gguf_find(file, KEY "s");
    if (usual != NULL && usual->type == BAL_GGUF_STRING)
        *chat = json_stringn((const char *)usual->data, (size_t)usual->n);
    if (usual != NULL && *chat == NULL) return bal_gguf_refuse(file, KEY, "text in UTF-8");
    if (names == NULL) return BAL_OK;
    BAL_TRY(bal_gguf_get_list(file, KEY "s", BAL_GGUF_STRING, -1, &names));
    json_t *list = json_array();
    if (*chat != NULL)
        json_array_append_new(list, json_pack("{s:s, s:o}", "name", "default", "template", *chat));
    *chat = list;
    return read_named(file, names, list);
}
