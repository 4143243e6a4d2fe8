/* rows.c: the rows of a file, as lists of texts. */
#include <stdlib.h>
#include <string.h>

#include "task_impl.h"

bal_status bal_rows_begin(bal_rows *rows, int64_t line)
{
    if (rows->n_lists == 0) { /* the first list begins at text 0 */
        BAL_TRY(bal_task_grow(&rows->first, &rows->lists_capacity, 1, sizeof *rows->first));
        rows->first[0] = 0;
    }
    BAL_TRY(bal_task_grow(&rows->line, &rows->capacity, rows->n + 1, sizeof *rows->line));
    rows->line[rows->n++] = line;
    return BAL_OK;
}

bal_status bal_rows_add(bal_rows *rows, const char *text, size_t n_bytes)
{
    BAL_TRY(bal_task_grow(&rows->end, &rows->texts_capacity, rows->n_texts + 1, sizeof *rows->end));
    BAL_TRY(bal_buffer_add(&rows->bytes, text, n_bytes));
    rows->end[rows->n_texts++] = (int64_t)rows->bytes.n;
    return BAL_OK;
}

bal_status bal_rows_end(bal_rows *rows)
{
    BAL_TRY(
        bal_task_grow(&rows->first, &rows->lists_capacity, rows->n_lists + 2, sizeof *rows->first));
    rows->first[++rows->n_lists] = rows->n_texts;
    return BAL_OK;
}

int64_t bal_rows_count(const bal_rows *rows, int64_t row, int field)
{
    const int64_t *first = rows->first + row * rows->form->n_fields + field;
    return first[1] - first[0];
}

bal_span bal_rows_text(const bal_rows *rows, int64_t row, int field, int64_t k)
{
    int64_t text = rows->first[row * rows->form->n_fields + field] + k;
    int64_t from = text > 0 ? rows->end[text - 1] : 0;
    return (bal_span){.at = rows->bytes.bytes + from, .n = (size_t)(rows->end[text] - from)};
}

bal_status bal_rows_fail(const bal_rows *rows, int64_t row, const char *format, ...)
{
    char sentence[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    bool by_row = rows->form->format == BAL_ROWS_JSON;
    return bal_fail(BAL_ERR_INPUT, "%s:%s%lld: %s", rows->path, by_row ? " row " : "",
                    (long long)rows->line[row], sentence);
}

void bal_rows_clear(bal_rows *rows)
{
    free(rows->line);
    free(rows->first);
    free(rows->end);
    free(rows->bytes.bytes);
    *rows = (bal_rows){0};
}
