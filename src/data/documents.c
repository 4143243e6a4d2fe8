/* documents.c: a text as documents between blank lines, however its lines end. */
#include <stdlib.h>
#include <string.h>

#include "data_impl.h"

bal_documents bal_documents_of(const char *text, size_t n_bytes, bool as_0_1)
{
    return (bal_documents){.at = text, .end = text + n_bytes, .as_0_1 = as_0_1};
}

void bal_documents_clear(bal_documents *documents)
{
    free(documents->copy);
    *documents = (bal_documents){0};
}

static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\r')) ++at;
    return at;
}

/* The first newline that a blank line follows, *next what stands after that; else the end. */
static const char *find_blank_line(const bal_documents *d, const char **next)
{
    for (const char *at = d->at; (at = memchr(at, '\n', (size_t)(d->end - at))) != NULL; ++at) {
        const char *blank = d->as_0_1 ? at + 1 : skip_blanks(at + 1, d->end);
        if (blank == d->end || *blank != '\n') continue;
        *next = blank + 1;
        return at;
    }
    return *next = d->end;
}

/* Copy the document without the CR before each of its newlines. */
static bal_status drop_returns(bal_documents *d)
{
    if (d->capacity < d->n_bytes) {
        free(d->copy);
        d->capacity = 0;
        d->copy = malloc(2 * d->n_bytes);
        if (d->copy == NULL)
            return bal_fail(BAL_ERR_MEMORY, "no memory for a document of %zu bytes", d->n_bytes);
        d->capacity = 2 * d->n_bytes;
    }
    size_t n = 0;
    for (size_t i = 0; i < d->n_bytes; ++i)
        if (d->text[i] != '\r' || i + 1 == d->n_bytes || d->text[i + 1] != '\n')
            d->copy[n++] = d->text[i];
    d->text = d->copy;
    d->n_bytes = n;
    return BAL_OK;
}

bal_status bal_documents_next(bal_documents *d)
{
    d->n_bytes = 0;
    while (d->n_bytes == 0 && d->at < d->end) {
        const char *next, *end = find_blank_line(d, &next);
        bool line_ended = end < d->end;
        d->text = d->at;
        d->at = next;
        if (!d->as_0_1 && line_ended && end > d->text && end[-1] == '\r') --end;
        if (d->as_0_1 || skip_blanks(d->text, end) < end) d->n_bytes = (size_t)(end - d->text);
    }
    bool returns = !d->as_0_1 && d->n_bytes > 0 && memmem(d->text, d->n_bytes, "\r\n", 2) != NULL;
    return returns ? drop_returns(d) : BAL_OK;
}
