/* read.c: a file to rows. */
#include <string.h>

#include "task_impl.h"

bal_status bal_rows_open(const char *path, const bal_row_form *form, bal_rows *rows)
{
    *rows = (bal_rows){.path = path, .form = form};
    bal_mapping file;
    BAL_TRY(bal_mapping_open(path, &file));
    const char *text = file.n_bytes > 0 ? (const char *)file.data : "";
    const char *zero = memchr(text, 0, file.n_bytes);
    bool marked = file.n_bytes >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0; /* as UTF-8 */
    size_t from = marked ? 3 : 0, n_bytes = file.n_bytes - from;
    bal_status status = BAL_OK;
    if (zero != NULL)
        status = bal_fail(BAL_ERR_INPUT,
                          "%s: byte %zu is 0; expected rows as text in UTF-8, not compressed", path,
                          (size_t)(zero - text));
    else if (form->format == BAL_ROWS_TSV || form->format == BAL_ROWS_CSV)
        status = bal_rows_read_columns(text + from, n_bytes, rows);
    else
        status = bal_rows_read_objects(text + from, n_bytes, rows);
    if (status == BAL_OK && rows->n == 0)
        status = bal_fail(BAL_ERR_INPUT, "%s: there is no row", path);
    bal_mapping_close(&file);
    return status;
}
