/* template.c: text with fields of a row in it. */
#include <string.h>

#include "task_impl.h"

static bal_status no_memory(bal_place place)
{
    return bal_fail(BAL_ERR_MEMORY, "no memory for %s", place.path);
}

bal_status bal_names_find(bal_names *names, bal_span name, int *field)
{
    bal_row_form *form = names->form;
    for (*field = 0; *field < form->n_fields; ++*field) {
        const char *known = form->fields[*field].name;
        if (strlen(known) == name.n && memcmp(known, name.at, name.n) == 0) return BAL_OK;
    }
    char *copy = bal_arena_take(names->arena, name.n + 1);
    if (copy == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for a field");
    memcpy(copy, name.at, name.n);
    BAL_TRY(
        bal_task_grow(&form->fields, &names->capacity, form->n_fields + 1, sizeof *form->fields));
    form->fields[form->n_fields++] = (bal_field){copy, copy};
    return BAL_OK;
}

/* Where a field's brace closes, one of a filter's word aside. @return NULL: nowhere. */
static const char *closing_brace(const char *at)
{
    for (bool in_word = false; *at != 0; ++at) {
        if (*at == '(') in_word = true;
        if (*at == ')') in_word = false;
        if (*at == '}' && !in_word) return at;
    }
    return NULL;
}

/* The end of what stands before a | outside brackets. */
static const char *next_bar(const char *at, const char *end)
{
    for (bool in_word = false; at < end; ++at) {
        if (*at == '(') in_word = true;
        if (*at == ')') in_word = false;
        if (*at == '|' && !in_word) break;
    }
    return at;
}

/* A piece of "name|filter|filter". */
static bal_status read_field(bal_place place, const char *at, const char *end, bal_names *names,
                             bal_piece *piece)
{
    int n_bars = 0;
    for (const char *c = at; c < end; ++c) n_bars += *c == '|';
    const char *bar = next_bar(at, end);
    if (bar == at || memchr(at, ' ', (size_t)(bar - at)) != NULL)
        return bal_fail(BAL_ERR_INPUT,
                        "%s:%d: {%.*s}: expected a field's name; for a brace as it is, write \\{",
                        place.path, place.line, (int)(end - at), at);
    BAL_TRY(bal_names_find(names, (bal_span){at, (size_t)(bar - at)}, &piece->field));
    piece->filters = bal_arena_take(names->arena, (size_t)n_bars * sizeof *piece->filters + 1);
    if (piece->filters == NULL) return no_memory(place);
    while (bar < end) {
        const char *from = bar + 1;
        bar = next_bar(from, end);
        bal_span words = {from, (size_t)(bar - from)};
        BAL_TRY(bal_filter_find(place, words, &piece->filters[piece->n_filters++]));
    }
    return BAL_OK;
}

/* Text up to a field or the end, without the backslashes before braces. */
static const char *read_text(const char *at, char *copy, size_t *n)
{
    for (; *at != 0 && *at != '{'; ++at) {
        if (*at == '\\' && (at[1] == '{' || at[1] == '}')) ++at;
        copy[(*n)++] = *at;
    }
    return at;
}

bal_status bal_template_make(bal_place place, const char *text, bal_names *names,
                             bal_template *made)
{
    size_t n_braces = 0, length = strlen(text);
    for (const char *c = text; *c != 0; ++c) n_braces += *c == '{';
    *made = (bal_template){
        .pieces = bal_arena_take(names->arena, (2 * n_braces + 1) * sizeof *made->pieces)};
    char *copy = bal_arena_take(names->arena, length + 1);
    if (made->pieces == NULL || copy == NULL) return no_memory(place);
    for (const char *at = text; *at != 0 || made->n == 0;) {
        bal_piece *piece = &made->pieces[made->n++];
        piece->field = -1;
        piece->text.at = copy;
        at = read_text(at, copy, &piece->text.n);
        copy += piece->text.n;
        if (*at != '{') continue;
        const char *end = closing_brace(at + 1);
        if (end == NULL)
            return bal_fail(BAL_ERR_INPUT, "%s:%d: \"%s\": a brace is not closed", place.path,
                            place.line, text);
        piece = &made->pieces[made->n++];
        BAL_TRY(read_field(place, at + 1, end, names, piece));
        at = end + 1;
    }
    return BAL_OK;
}

bool bal_template_varies(const bal_template *made)
{
    for (int i = 0; i < made->n; ++i)
        if (made->pieces[i].field >= 0) return true;
    return false;
}

int64_t bal_template_count(const bal_template *made, const bal_rows *rows, int64_t row)
{
    int64_t most = 1;
    for (const bal_piece *piece = made->pieces; piece < made->pieces + made->n; ++piece) {
        if (piece->field < 0) continue;
        int64_t n = bal_rows_count(rows, row, piece->field);
        if (n > most || n == 0) most = n;
        if (n == 0) break;
    }
    return most;
}

/* The number of the k-th text of a list among others that are n long. */
static bal_status pick(const bal_rows *rows, int64_t row, int field, int64_t n, int64_t *k)
{
    int64_t own = bal_rows_count(rows, row, field);
    if (own == 1) *k = 0;
    if (own == 1 || (own == n && n > 0)) return BAL_OK;
    if (own == 0)
        return bal_rows_fail(rows, row, "%s is an empty list", rows->form->fields[field].name);
    return bal_rows_fail(rows, row, "%s has %lld texts; expected %lld",
                         rows->form->fields[field].name, (long long)own, (long long)n);
}

bal_status bal_template_fill(const bal_template *made, const bal_rows *rows, int64_t row, int64_t k,
                             bal_buffer *text)
{
    int64_t n = bal_template_count(made, rows, row);
    for (const bal_piece *piece = made->pieces; piece < made->pieces + made->n; ++piece) {
        size_t from = text->n;
        int64_t which = k;
        if (piece->field < 0) {
            BAL_TRY(bal_buffer_add(text, piece->text.at, piece->text.n));
            continue;
        }
        BAL_TRY(pick(rows, row, piece->field, n, &which));
        bal_span value = bal_rows_text(rows, row, piece->field, which);
        BAL_TRY(bal_buffer_add(text, value.at, value.n));
        for (int i = 0; i < piece->n_filters; ++i) {
            bal_status status = bal_filter_apply(&piece->filters[i], text, from);
            if (status == BAL_ERR_INPUT)
                bal_rows_fail(rows, row, "%s: %s", rows->form->fields[piece->field].name,
                              bal_failure());
            if (status != BAL_OK) return status;
        }
    }
    return BAL_OK;
}
