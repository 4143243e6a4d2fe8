/* ask.c: a row as a prompt and answers. */
#include <stdlib.h>
#include <string.h>

#include "task_impl.h"

void bal_asked_clear(bal_asked *asked)
{
    for (int i = 0; i < asked->n_answers; ++i) free(asked->answers[i]);
    free(asked->answers);
    free(asked->prompt);
    *asked = (bal_asked){0};
}

bal_status bal_row_label(const bal_task_file *file, const bal_rows *rows, int64_t row, int *label)
{
    bal_buffer text = {0};
    bal_status status = bal_template_fill(&file->label, rows, row, 0, &text);
    if (status == BAL_OK) status = bal_buffer_add(&text, "", 1);
    for (*label = 0; status == BAL_OK && *label < file->n_labels; ++*label)
        if (strcmp(file->labels[*label], text.bytes) == 0) break;
    if (status == BAL_OK && *label == file->n_labels) {
        char labels[256] = "";
        for (int i = 0; i < file->n_labels; ++i)
            snprintf(labels + strlen(labels), sizeof labels - strlen(labels), "%s%s",
                     i > 0 ? ", " : "", file->labels[i]);
        status = bal_rows_fail(rows, row, "the label is \"%.80s\"; expected one of %s", text.bytes,
                               labels);
    }
    free(text.bytes);
    return status;
}

/* A text of its own, without spaces at its end, and with n_spaces in front. */
static bal_status finish(bal_buffer *text, size_t n_spaces, char **own)
{
    while (text->n > 0 && text->bytes[text->n - 1] == ' ') --text->n;
    *own = malloc(n_spaces + text->n + 1);
    if (*own == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for an answer");
    memset(*own, ' ', n_spaces);
    if (text->n > 0) memcpy(*own + n_spaces, text->bytes, text->n);
    (*own)[n_spaces + text->n] = 0;
    return BAL_OK;
}

static bool is_blank(const bal_buffer *text)
{
    size_t i = 0;
    while (i < text->n && strchr(" \t\r\n", text->bytes[i]) != NULL && text->bytes[i] != 0) ++i;
    return i == text->n;
}

static void trim_front(bal_buffer *text)
{
    size_t n = 0;
    while (n < text->n && text->bytes[n] == ' ') ++n;
    memmove(text->bytes, text->bytes + n, text->n - n);
    text->n -= n;
}

/* The texts of a template as answers. Of those that are right, blank ones are left out: where an
 * answer may be a number, a date or words, the others are empty. */
static bal_status add_answers(const bal_template *made, const bal_rows *rows, int64_t row,
                              size_t n_spaces, bool skip_blank, bal_asked *asked)
{
    int64_t n = bal_template_count(made, rows, row);
    if (n == 0 && skip_blank) return BAL_OK;
    if (n == 0) return bal_rows_fail(rows, row, "a list of candidates is empty");
    if (n > INT16_MAX - asked->n_answers)
        return bal_rows_fail(rows, row, "%lld answers are too many", (long long)n);
    char **more = reallocarray(asked->answers, (size_t)(asked->n_answers + n), sizeof *more);
    if (more == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for answers");
    asked->answers = more;
    bal_buffer text = {0};
    bal_status status = BAL_OK;
    for (int64_t k = 0; k < n && status == BAL_OK; ++k) {
        text.n = 0;
        status = bal_template_fill(made, rows, row, k, &text);
        if (status != BAL_OK || (skip_blank && is_blank(&text))) continue;
        if (skip_blank) trim_front(&text);
        status = finish(&text, n_spaces, &asked->answers[asked->n_answers]);
        asked->n_answers += status == BAL_OK;
    }
    free(text.bytes);
    return status;
}

/* The prompt without spaces around it. */
static bal_status ask_prompt(const bal_template *prompt, const bal_rows *rows, int64_t row,
                             size_t *n_spaces, bal_asked *asked)
{
    bal_buffer text = {0};
    bal_status status = bal_template_fill(prompt, rows, row, 0, &text);
    size_t from = 0, end = text.n;
    while (from < text.n && text.bytes[from] == ' ') ++from;
    while (end > from && text.bytes[end - 1] == ' ') --end;
    *n_spaces = text.n - end;
    if (status == BAL_OK && bal_template_count(prompt, rows, row) != 1)
        status = bal_rows_fail(rows, row, "a field of the prompt has several texts; expected one");
    if (status == BAL_OK && (asked->prompt = calloc(end - from + 1, 1)) == NULL)
        status = bal_fail(BAL_ERR_MEMORY, "no memory for a prompt");
    if (status == BAL_OK && end > from) memcpy(asked->prompt, text.bytes + from, end - from);
    free(text.bytes);
    return status;
}

bal_status bal_row_ask(const bal_task_file *file, const bal_rows *rows, int64_t row,
                       const bal_template *prompt, bal_asked *asked)
{
    const bal_wording *w = &file->wording;
    size_t n_spaces;
    *asked = (bal_asked){.path = rows->path, .line = rows->line[row]};
    BAL_TRY(ask_prompt(prompt, rows, row, &n_spaces, asked));
    for (int i = 0; i < w->n_candidates; ++i)
        BAL_TRY(add_answers(&w->candidates[i], rows, row, n_spaces, false, asked));
    for (int i = 0; i < w->n_answers; ++i)
        BAL_TRY(add_answers(&w->answers[i], rows, row, n_spaces, true, asked));
    if (asked->n_answers == 0) return bal_rows_fail(rows, row, "there is no answer");
    if (w->n_answers == 0) BAL_TRY(bal_row_label(file, rows, row, &asked->right));
    if (asked->right < asked->n_answers) return BAL_OK;
    return bal_rows_fail(rows, row, "the label says answer %d of %d", asked->right + 1,
                         asked->n_answers);
}
