/* files.c: small files held in memory under their names. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ballot/core.h"

bal_status bal_files_add(bal_files *files, const char *name, const void *bytes, size_t n_bytes)
{
    assert(strlen(name) < sizeof files->at->name);
    bal_named_bytes *at = NULL;
    for (int i = 0; i < files->n && at == NULL; ++i)
        if (strcmp(files->at[i].name, name) == 0) at = &files->at[i];
    uint8_t *copy = bal_alloc(n_bytes + 1, 1); /* so that text ends with 0 */
    if (copy == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for %s", name);
    if (n_bytes > 0) memcpy(copy, bytes, n_bytes);
    if (at == NULL) {
        at = realloc(files->at, ((size_t)files->n + 1) * sizeof *at);
        if (at == NULL) {
            free(copy);
            return bal_fail(BAL_ERR_MEMORY, "no memory for %s", name);
        }
        files->at = at;
        at += files->n++;
        *at = (bal_named_bytes){0};
        strcpy(at->name, name);
    }
    free(at->bytes);
    at->bytes = copy;
    at->n_bytes = n_bytes;
    return BAL_OK;
}

const bal_named_bytes *bal_files_find(const bal_files *files, const char *name)
{
    for (int i = 0; i < files->n; ++i)
        if (strcmp(files->at[i].name, name) == 0) return &files->at[i];
    return NULL;
}

void bal_files_clear(bal_files *files)
{
    for (int i = 0; i < files->n; ++i) free(files->at[i].bytes);
    free(files->at);
    *files = (bal_files){0};
}
