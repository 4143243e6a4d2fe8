/* ini.c: inih, told the number of each line. */
#include <ini.h>
#include <stdlib.h>
#include <string.h>

#include "ballot/ini.h"

#define BYTES_MAX (1 << 20)

typedef struct reader {
    const char *path;
    const char *at; /* rest of the text */
    int line, bad_line;
    bal_status wrong, status;
    bal_ini_pair *on_pair;
    void *user;
} reader;

/* Hand inih the next line; it does not tell the number of the line that a pair stands on. Indented
 * lines are handed over without their indent, which inih would take for a continued value. */
static char *next_line(char *line, int room, void *user)
{
    reader *r = user;
    if (*r->at == 0) return NULL;
    size_t n = strcspn(r->at, "\n"), indent = strspn(r->at, " \t");
    ++r->line;
    if (n - (indent < n ? indent : n) > BAL_INI_LINE_MAX && r->status == BAL_OK) {
        r->bad_line = r->line;
        r->status = bal_fail(r->wrong, "%s:%d: a line of %zu bytes; expected at most %d", r->path,
                             r->line, n, BAL_INI_LINE_MAX);
    }
    snprintf(line, (size_t)room, "%.*s\n", indent < n ? (int)(n - indent) : 0, r->at + indent);
    r->at += n + (r->at[n] == '\n');
    return line;
}

static int take_pair(void *user, const char *section, const char *key, const char *value)
{
    reader *r = user;
    if (r->status != BAL_OK) return 0;
    r->status = r->on_pair(r->user, section, key, value, r->line);
    if (r->status != BAL_OK) r->bad_line = r->line;
    return r->status == BAL_OK;
}

bal_status bal_ini_read(const char *path, const char *what, const void *bytes, size_t n_bytes,
                        bal_status wrong, bal_ini_pair *on_pair, void *user)
{
    if (n_bytes > BYTES_MAX || (n_bytes > 0 && memchr(bytes, 0, n_bytes) != NULL))
        return bal_fail(wrong, "%s: this is no %s; expected INI text", path, what);
    char *text = bal_alloc(n_bytes + 1, 1);
    if (text == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for %s", path);
    if (n_bytes > 0) memcpy(text, bytes, n_bytes);
    reader r = {.path = path, .at = text, .wrong = wrong, .on_pair = on_pair, .user = user};
    int line = ini_parse_stream(next_line, &r, take_pair, &r);
    if (line > 0 && (r.status == BAL_OK || line < r.bad_line)) /* inih's own first complaint */
        r.status =
            bal_fail(wrong, "%s:%d: expected [section], key = value or ; comment", path, line);
    free(text);
    return r.status;
}
