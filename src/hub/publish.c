/* publish.c: files that appear together. Each is written under a temporary name; once all are
 * whole, they get their own names. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "export.h"

typedef struct paths {
    char final[PATH_MAX], temporary[PATH_MAX];
    bool written, published;
} paths;

static bal_status publish(paths *p)
{
    int failed = renameat2(AT_FDCWD, p->temporary, AT_FDCWD, p->final, RENAME_NOREPLACE);
    if (failed && (errno == EINVAL || errno == ENOSYS)) /* the file system lacks the flag */
        failed =
            access(p->final, F_OK) == 0 ? (errno = EEXIST, -1) : rename(p->temporary, p->final);
    if (failed && errno == EEXIST)
        return bal_fail(BAL_ERR_STATE, "%s: is there already; choose another name", p->final);
    if (failed) return bal_fail(BAL_ERR_IO, "%s: renaming failed: %s", p->final, strerror(errno));
    p->published = true;
    return BAL_OK;
}

static bal_status name_files(const char *dir, const bal_hub_output *files, int n, paths *p)
{
    for (int i = 0; i < n; ++i) {
        char hidden[PATH_MAX];
        snprintf(hidden, sizeof hidden, ".%s.new", files[i].name);
        BAL_TRY(bal_path_join(dir, files[i].name, p[i].final, PATH_MAX));
        BAL_TRY(bal_path_join(dir, hidden, p[i].temporary, PATH_MAX));
        if (access(p[i].final, F_OK) == 0)
            return bal_fail(BAL_ERR_STATE, "%s: is there already; choose another name", p[i].final);
    }
    return BAL_OK;
}

static bal_status write_all(const char *dir, const bal_hub_output *files, int n, paths *p)
{
    for (int i = 0; i < n; ++i) {
        BAL_TRY(bal_create(p[i].temporary, p[i].final, files[i].write, files[i].what));
        p[i].written = true;
    }
    for (int i = 0; i < n; ++i) BAL_TRY(publish(&p[i]));
    return bal_sync_dir(dir);
}

bal_status bal_hub_publish(const char *dir, bool may_make, const bal_hub_output *files, int n)
{
    paths *p = bal_alloc((size_t)n, sizeof *p);
    if (p == NULL) return bal_fail(BAL_ERR_MEMORY, "%s: no memory for names", dir);
    bal_status status = name_files(dir, files, n, p);
    bool made = status == BAL_OK && may_make && mkdir(dir, 0777) == 0;
    if (status == BAL_OK && may_make && !made && errno != EEXIST)
        status = bal_fail(BAL_ERR_IO, "%s: cannot be created: %s", dir, strerror(errno));
    if (status == BAL_OK) status = write_all(dir, files, n, p);
    for (int i = 0; i < n && status != BAL_OK; ++i)
        if (p[i].published)
            unlink(p[i].final);
        else if (p[i].written)
            unlink(p[i].temporary);
    if (made && status != BAL_OK) rmdir(dir);
    free(p);
    return status;
}
