/* objects.c: rows of JSON: a document, or a line each. A path is keys with dots between; [] stands
 * for each element of a list, or each value of an object, and [2] for the third. */
#include <stdlib.h>
#include <string.h>

#include "ballot/json.h"
#include "task_impl.h"

#define BOUND_MAX 8 /* [] of each */

/* A [] of `each`, and the element that a row has of it. */
typedef struct bound {
    size_t n; /* characters of `each`, [] included */
    json_t *element;
} bound;

typedef struct reader {
    bal_rows *rows;
    int64_t line;
    const char *each;
    int n_bound;
    bound bound[BOUND_MAX];
    const bal_field *field; /* that is being read; NULL: a row is being looked for */
} reader;

static bal_status follow(reader *r, json_t *at, const char *path);

/* A failure of what stands in a row, by the field that it is about. */
static bal_status fail(const reader *r, const char *what)
{
    const char *path = r->field == NULL ? r->each : r->field->path;
    bool by_row = r->rows->form->format == BAL_ROWS_JSON;
    return bal_fail(BAL_ERR_INPUT, "%s:%s%lld: %s%s%s %s", r->rows->path, by_row ? " row " : "",
                    (long long)r->line, r->field == NULL ? "" : r->field->name,
                    r->field == NULL || strcmp(r->field->name, path) == 0 ? "" : ", ",
                    r->field != NULL && strcmp(r->field->name, path) == 0 ? "" : path, what);
}

/* Add a value as text. */
static bal_status add_value(reader *r, json_t *value)
{
    char number[64];
    switch (json_typeof(value)) {
        case JSON_STRING:
            return bal_rows_add(r->rows, json_string_value(value), json_string_length(value));
        case JSON_TRUE:
            return bal_rows_add(r->rows, "true", 4);
        case JSON_FALSE:
            return bal_rows_add(r->rows, "false", 5);
        case JSON_INTEGER:
            snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
            return bal_rows_add(r->rows, number, strlen(number));
        case JSON_REAL:
            snprintf(number, sizeof number, "%.17g", json_real_value(value));
            return bal_rows_add(r->rows, number, strlen(number));
        case JSON_NULL:
            return fail(r, "is null; expected a text");
        default:
            return fail(r, "is a list or an object; expected a text");
    }
}

/* Read the fields of a row whose place is bound. */
static bal_status read_row(reader *r, json_t *root)
{
    const bal_row_form *form = r->rows->form;
    BAL_TRY(bal_rows_begin(r->rows, r->line));
    for (int i = 0; i < form->n_fields; ++i) {
        const char *path = form->fields[i].path;
        json_t *at = root;
        size_t n = 0; /* characters of path that are bound */
        for (int b = 0; b < r->n_bound; ++b)
            if (strncmp(path, r->each, r->bound[b].n) == 0)
                n = r->bound[b].n, at = r->bound[b].element;
        r->field = &form->fields[i];
        BAL_TRY(follow(r, at, path + n));
        BAL_TRY(bal_rows_end(r->rows));
    }
    r->field = NULL;
    return BAL_OK;
}

/* Every element of a list, or value of an object. */
static bal_status follow_all(reader *r, json_t *at, const char *rest)
{
    bool binds = r->field == NULL;
    int depth = r->n_bound;
    const char *key;
    json_t *element;
    bal_status status = BAL_OK;
    if (!json_is_array(at) && !json_is_object(at)) return fail(r, "is no list");
    if (binds) r->bound[r->n_bound++].n = (size_t)(rest - r->each);
    size_t n = json_is_array(at) ? json_array_size(at) : 0;
    for (size_t i = 0; i < n && status == BAL_OK; ++i) {
        if (binds) r->bound[depth].element = json_array_get(at, i);
        status = follow(r, json_array_get(at, i), rest);
    }
    json_object_foreach(at, key, element)
    {
        if (status != BAL_OK) break;
        if (binds) r->bound[depth].element = element;
        status = follow(r, element, rest);
    }
    r->n_bound = depth;
    return status;
}

/* Go along a path, and do what is done at its end: add a text, or read a row. */
static bal_status follow(reader *r, json_t *at, const char *path)
{
    char key[256];
    if (*path == '.') ++path;
    if (*path == 0 && r->field != NULL) return add_value(r, at);
    if (*path == 0) {
        r->line += r->rows->form->format == BAL_ROWS_JSON;
        return read_row(r, r->bound[BOUND_MAX - 1].element);
    }
    if (strncmp(path, "[]", 2) == 0) return follow_all(r, at, path + 2);
    if (*path == '[') {
        char *end;
        size_t index = strtoul(path + 1, &end, 10);
        json_t *element = json_array_get(at, index);
        return element == NULL ? fail(r, "is no list as long as that")
                               : follow(r, element, end + 1);
    }
    size_t n = strcspn(path, ".[");
    memcpy(key, path, n);
    key[n] = 0;
    json_t *value = json_object_get(at, key);
    return value == NULL ? fail(r, "is missing") : follow(r, value, path + n);
}

/* Text that jansson does not take. */
static bal_status refuse(const reader *r, const json_error_t *error)
{
    enum json_error_code code = json_error_code(error);
    bool document = r->rows->form->format == BAL_ROWS_JSON;
    bool zero = code == json_error_null_character || code == json_error_null_byte_in_key;
    if (code == json_error_out_of_memory)
        return bal_fail(BAL_ERR_MEMORY, "no memory for %s", r->rows->path);
    return bal_fail(
        BAL_ERR_INPUT, "%s:%lld: %s%s", r->rows->path,
        document ? (long long)error->line : (long long)r->line, zero ? "" : "no JSON: ",
        zero ? "a string has \\u0000, which no text may have; take it out" : error->text);
}

/* Read the rows of a document. The last bound is never one of `each`: it keeps the root. */
static bal_status read_document(reader *r, const char *text, size_t n_bytes)
{
    json_error_t error;
    json_t *root = bal_json_load(text, n_bytes, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL) return refuse(r, &error);
    r->bound[BOUND_MAX - 1].element = root;
    bal_status status = follow(r, root, r->each);
    json_decref(root);
    return status;
}

bal_status bal_rows_read_objects(const char *text, size_t n_bytes, bal_rows *rows)
{
    reader r = {.rows = rows, .each = rows->form->each};
    if (rows->form->format == BAL_ROWS_JSON) return read_document(&r, text, n_bytes);
    for (size_t at = 0, n; at < n_bytes; at += n + 1) {
        const char *end = memchr(text + at, '\n', n_bytes - at);
        n = end == NULL ? n_bytes - at : (size_t)(end - text) - at;
        ++r.line;
        size_t blanks = 0;
        while (blanks < n && strchr(" \t\r", text[at + blanks]) != NULL) ++blanks;
        if (blanks < n) BAL_TRY(read_document(&r, text + at, n));
    }
    return BAL_OK;
}
