/* json_parts.c: what every reader of a JSON part needs: its type, its strings, and the message for
 * what is not as expected. Unknown parts that would change the tokens are refused by name. */
#include <stdlib.h>
#include <string.h>

#include "read_impl.h"

#define SEQUENCES_DEEP_MAX 4

bal_status bal_json_parse(const char *origin, const void *bytes, size_t n_bytes, json_t **root)
{
    json_error_t error;
    *root = bal_json_load(bytes, n_bytes, JSON_REJECT_DUPLICATES, &error);
    if (*root != NULL) return BAL_OK;
    return json_error_code(&error) == json_error_out_of_memory
               ? bal_fail(BAL_ERR_MEMORY, "%s: no memory to read it", origin)
               : bal_fail(BAL_ERR_INPUT, "%s:%d: %s; expected JSON", origin, error.line,
                          error.text);
}

const char *bal_json_type(const json_t *part)
{
    const char *type = json_string_value(json_object_get(part, "type"));
    return type != NULL ? type : "";
}

bool bal_json_is_type(const json_t *part, const char *type)
{
    return strcmp(bal_json_type(part), type) == 0;
}

bal_status bal_json_refuse(const char *origin, const char *part, const json_t *found,
                           const char *expected)
{
    if (found == NULL || json_is_null(found))
        return bal_fail(BAL_ERR_INPUT, "%s: %s is %s; expected %s", origin, part,
                        found == NULL ? "missing" : "null", expected);
    if (bal_json_type(found)[0] != 0)
        return bal_fail(BAL_ERR_INPUT, "%s: %s of type \"%.40s\" is not supported; expected %s",
                        origin, part, bal_json_type(found), expected);
    char *text = json_dumps(found, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII);
    bal_fail(BAL_ERR_INPUT, "%s: %s is %.60s%s; expected %s", origin, part,
             text != NULL ? text : "?", text != NULL && strlen(text) > 60 ? "..." : "", expected);
    free(text);
    return BAL_ERR_INPUT;
}

bal_status bal_json_string(bal_tokenizer *tokenizer, const char *part, const json_t *value,
                           bool may_be_empty, const char **string, size_t *n_bytes)
{
    size_t n = json_string_length(value);
    if (!json_is_string(value) || n > BAL_STEP_BYTES_MAX || (n == 0 && !may_be_empty))
        return bal_json_refuse(
            tokenizer->origin, part, value,
            may_be_empty ? "a string of 0 to 64 bytes" : "a string of 1 to 64 bytes");
    *string = bal_keep(tokenizer, json_string_value(value), n);
    *n_bytes = n;
    return *string != NULL ? BAL_OK : BAL_ERR_MEMORY;
}

bal_status bal_json_pattern(bal_tokenizer *tokenizer, const char *part, const json_t *value,
                            bal_step *step)
{
    const json_t *regex = json_object_get(value, "Regex");
    char words[64];
    if (json_is_string(regex))
        return bal_pattern_create(tokenizer->origin, part, json_string_value(regex),
                                  json_string_length(regex), &step->pattern);
    snprintf(words, sizeof words, "the pattern of %.40s", part);
    const json_t *string = json_object_get(value, "String");
    if (string == NULL)
        return bal_json_refuse(tokenizer->origin, words, value,
                               "{\"String\": ...} or {\"Regex\": ...}");
    return bal_json_string(tokenizer, words, string, false, &step->string, &step->n_string);
}

bal_status bal_json_bool(const bal_tokenizer *tokenizer, const char *part, const json_t *object,
                         const char *name, bool otherwise, bool *value)
{
    const json_t *found = json_object_get(object, name);
    *value = json_is_true(found) || (otherwise && !json_is_false(found));
    if (found == NULL || json_is_null(found) || json_is_boolean(found)) return BAL_OK;
    char words[96];
    snprintf(words, sizeof words, "%s of %.60s", name, part);
    return bal_json_refuse(tokenizer->origin, words, found, "true or false");
}

bal_status bal_json_sequence(bal_tokenizer *tokenizer, const char *part, const json_t *json,
                             const char *name, int depth, bal_read_step read)
{
    if (!bal_json_is_type(json, "Sequence")) return read(tokenizer, json);
    const json_t *steps = json_object_get(json, name);
    if (!json_is_array(steps) || depth == SEQUENCES_DEEP_MAX)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: a Sequence of %s has no array \"%s\", or lies in more than %d others",
                        tokenizer->origin, part, name, SEQUENCES_DEEP_MAX);
    for (size_t i = 0; i < json_array_size(steps); ++i)
        BAL_TRY(
            bal_json_sequence(tokenizer, part, json_array_get(steps, i), name, depth + 1, read));
    return BAL_OK;
}

int32_t bal_json_id(const bal_tokenizer *tokenizer, const char *content, const json_t *value)
{
    json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
    /* a token takes bytes of the file, so an id above its size is damaged */
    if (id >= 0 && id < tokenizer->vocab.n_ids && (uint64_t)id < tokenizer->n_source)
        return (int32_t)id;
    bal_fail(BAL_ERR_INPUT,
             "%s: token \"%.40s\" has id %lld; expected 0 to %lld, as the model has %lld tokens "
             "and the file %zu bytes",
             tokenizer->origin, content, (long long)id, (long long)tokenizer->vocab.n_ids - 1,
             (long long)tokenizer->vocab.n_ids, tokenizer->n_source);
    return -1;
}
