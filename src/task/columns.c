/* columns.c: rows of TSV, as GLUE has them, without quotes; and of CSV (RFC 4180). */
#include <stdlib.h>
#include <string.h>

#include "task_impl.h"

#define COLUMNS_MAX 256

typedef struct reader {
    bal_rows *rows;
    const char *at, *end; /* what is left of the text */
    int64_t line;
    char separator;
    bool quotes;           /* CSV */
    bool rest;             /* the last column takes the rest of its line */
    bal_buffer cell, name; /* of CSV, without their quotes */
    int n_columns;
    bal_span names[COLUMNS_MAX], cells[COLUMNS_MAX];
    int64_t starts[COLUMNS_MAX]; /* of the cells in `cell`, if quotes */
} reader;

static bal_status fail(const reader *r, int64_t line, const char *what)
{
    return bal_fail(BAL_ERR_INPUT, "%s:%lld: %s", r->rows->path, (long long)line, what);
}

/* The cell at r->at up to a separator or the end of the line, which stays. */
static bal_span plain_cell(reader *r, bool is_last)
{
    const char *from = r->at, *line_end = memchr(from, '\n', (size_t)(r->end - from));
    if (line_end == NULL) line_end = r->end;
    const char *to =
        is_last && r->rest ? NULL : memchr(from, r->separator, (size_t)(line_end - from));
    r->at = to == NULL ? line_end : to;
    size_t n = (size_t)(r->at - from);
    if (to == NULL && n > 0 && from[n - 1] == '\r') --n;
    return (bal_span){from, n};
}

/* The rest of a cell whose opening quote was read, into r->cell. */
static bal_status quoted_cell(reader *r)
{
    int64_t line = r->line;
    for (;;) {
        const char *quote = memchr(r->at, '"', (size_t)(r->end - r->at));
        if (quote == NULL) return fail(r, line, "a quote is not closed");
        bool doubled = quote + 1 < r->end && quote[1] == '"';
        for (const char *c = r->at; c < quote; ++c) r->line += *c == '\n';
        BAL_TRY(bal_buffer_add(&r->cell, r->at, (size_t)(quote - r->at) + doubled));
        r->at = quote + 1 + doubled;
        if (!doubled) break;
    }
    bool ends = r->at == r->end || *r->at == r->separator || *r->at == '\n' ||
                (*r->at == '\r' && r->at + 1 < r->end && r->at[1] == '\n');
    if (!ends) return fail(r, r->line, "text follows a closing quote");
    if (r->at < r->end && *r->at == '\r') ++r->at;
    return BAL_OK;
}

static bal_status next_cell(reader *r, int column, int n_expected)
{
    if (column >= COLUMNS_MAX) return fail(r, r->line, "more than 256 columns");
    bool quoted = r->quotes && r->at < r->end && *r->at == '"';
    r->starts[column] = quoted ? (int64_t)r->cell.n : -1;
    if (!quoted) {
        r->cells[column] = plain_cell(r, column + 1 == n_expected);
        return BAL_OK;
    }
    ++r->at;
    BAL_TRY(quoted_cell(r));
    r->cells[column].n = r->cell.n - (size_t)r->starts[column];
    return BAL_OK;
}

/* The cells of the row at r->at. @param n_expected  columns; 0: not known */
static bal_status next_row(reader *r, int n_expected, int *n_cells)
{
    int n = 0;
    r->cell.n = 0;
    for (bool more = true; more; ++n) {
        BAL_TRY(next_cell(r, n, n_expected));
        more = r->at < r->end && *r->at == r->separator;
        if (r->at < r->end) ++r->at; /* past the separator or the newline */
    }
    for (int i = 0; i < n; ++i) /* the buffer moves no more */
        if (r->starts[i] >= 0) r->cells[i].at = r->cell.bytes + r->starts[i];
    *n_cells = n;
    return BAL_OK;
}

static bool is(bal_span a, const char *b)
{
    return a.n == strlen(b) && (a.n == 0 || memcmp(a.at, b, a.n) == 0);
}

/* Which column each field is. */
static bal_status find_fields(const reader *r, int *column)
{
    for (int i = 0; i < r->rows->form->n_fields; ++i) {
        const bal_field *field = &r->rows->form->fields[i];
        column[i] = 0;
        while (column[i] < r->n_columns && !is(r->names[column[i]], field->path)) ++column[i];
        if (column[i] < r->n_columns) continue;
        char names[512] = "";
        size_t used = 0;
        for (int c = 0; c < r->n_columns && used < sizeof names - 1; ++c)
            used +=
                (size_t)snprintf(names + used, sizeof names - used, "%s%.*s", c > 0 ? ", " : "",
                                 (int)(r->names[c].n < 64 ? r->names[c].n : 64), r->names[c].at);
        return bal_fail(BAL_ERR_INPUT, "%s: there is no column %s, the field %s; columns: %s",
                        r->rows->path, field->path, field->name, names);
    }
    return BAL_OK;
}

static bal_status read_rows(reader *r, int *column)
{
    BAL_TRY(find_fields(r, column));
    while (r->at < r->end) {
        int n_cells;
        int64_t line = r->line;
        bool empty = *r->at == '\n' || (*r->at == '\r' && r->at + 1 < r->end && r->at[1] == '\n');
        if (empty) {
            r->at += 1 + (*r->at == '\r');
            ++r->line;
            continue;
        }
        BAL_TRY(next_row(r, r->n_columns, &n_cells));
        ++r->line;
        if (n_cells != r->n_columns)
            return bal_fail(BAL_ERR_INPUT, "%s:%lld: %d columns; expected %d", r->rows->path,
                            (long long)line, n_cells, r->n_columns);
        BAL_TRY(bal_rows_begin(r->rows, line));
        for (int i = 0; i < r->rows->form->n_fields; ++i) {
            BAL_TRY(bal_rows_add(r->rows, r->cells[column[i]].at, r->cells[column[i]].n));
            BAL_TRY(bal_rows_end(r->rows));
        }
    }
    return BAL_OK;
}

/* The names of the columns: those of the task file, or of the first line. */
static bal_status read_names(reader *r)
{
    const bal_row_form *form = r->rows->form;
    r->n_columns = form->n_columns;
    for (int i = 0; i < form->n_columns; ++i)
        r->names[i] = (bal_span){form->columns[i], strlen(form->columns[i])};
    if (form->n_columns > 0 || r->at == r->end) return BAL_OK;
    ++r->line;
    BAL_TRY(next_row(r, 0, &r->n_columns));
    for (int i = 0; i < r->n_columns; ++i) r->names[i] = r->cells[i];
    r->name = r->cell; /* which the names stand in */
    r->cell = (bal_buffer){0};
    return BAL_OK;
}

bal_status bal_rows_read_columns(const char *text, size_t n_bytes, bal_rows *rows)
{
    const bal_row_form *form = rows->form;
    if (n_bytes == 0) return BAL_OK;
    reader *r = calloc(1, sizeof *r);
    int *column = calloc((size_t)form->n_fields + 1, sizeof *column);
    bal_status status = BAL_ERR_MEMORY;
    if (r != NULL && column != NULL) {
        *r = (reader){.rows = rows, .at = text, .end = text + n_bytes, .line = 1};
        r->quotes = form->format == BAL_ROWS_CSV;
        r->separator = r->quotes ? ',' : form->separator != 0 ? form->separator : '\t';
        r->rest = form->separator != 0;
        status = read_names(r);
        if (status == BAL_OK) status = read_rows(r, column);
        free(r->cell.bytes);
        free(r->name.bytes);
    } else {
        bal_fail(status, "no memory for %s", rows->path);
    }
    free(r);
    free(column);
    return status;
}
