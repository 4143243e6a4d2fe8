/* directory.c: a run directory: the paths of its files, and which checkpoints are in it. */
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ballot/record.h"

void bal_run_path(const char *dir, const char *name, char path[BAL_PATH_BYTES])
{
    snprintf(path, BAL_PATH_BYTES, "%s/%s", dir, name);
}

char *bal_run_read_job(const char *dir)
{
    char path[BAL_PATH_BYTES];
    bal_mapping file;
    bal_run_path(dir, "job.ini", path);
    if (bal_mapping_open(path, &file) != BAL_OK) file = (bal_mapping){0};
    char *text = bal_alloc(file.n_bytes + 1, 1);
    if (text != NULL && file.n_bytes > 0) memcpy(text, file.data, file.n_bytes);
    bal_mapping_close(&file);
    return text;
}

void bal_checkpoint_name(int64_t step, char name[64])
{
    snprintf(name, 64, "step-%06lld.h5", (long long)step);
}

void bal_checkpoint_path(const char *dir, int64_t step, char path[BAL_PATH_BYTES])
{
    char name[64];
    bal_checkpoint_name(step, name);
    bal_run_path(dir, name, path);
}

/* The directory that a path is in; "": none is named. */
static void cut_last(char *path)
{
    size_t n = strlen(path);
    while (n > 0 && path[n - 1] == '/') --n;
    while (n > 0 && path[n - 1] != '/') --n;
    path[n] = 0;
}

void bal_run_dir_unmake(const char *dir, int n_made)
{
    char path[BAL_PATH_BYTES];
    snprintf(path, sizeof path, "%s", dir);
    for (; n_made > 0 && rmdir(path) == 0; --n_made) cut_last(path);
}

/* Does a directory hold files, but none of a run? Then its path is a slip of the pen. */
static bool is_strange(const char *dir)
{
    static const char *const ours[] = {"job.ini",   "run.lock", "ballots.journal", "LATEST",
                                       "step-*.h5", "best.h5",  "restarts.*",      "slurm-*",
                                       "*.log",     ".*"};
    DIR *stream = opendir(dir);
    bool strange = false, run = false;
    for (struct dirent *entry; stream != NULL && (entry = readdir(stream)) != NULL;) {
        bool own = false;
        for (size_t i = 0; i < sizeof ours / sizeof *ours; ++i)
            own |= fnmatch(ours[i], entry->d_name, 0) == 0;
        run |= own && entry->d_name[0] != '.';
        strange |= !own;
    }
    if (stream != NULL) closedir(stream);
    return strange && !run;
}

bal_status bal_run_dir_make(const char *dir, int *n_made)
{
    char path[BAL_PATH_BYTES];
    *n_made = 0;
    if (snprintf(path, sizeof path, "%s", dir) >= (int)sizeof path)
        return bal_fail(BAL_ERR_IO, "%s: the path is too long", dir);
    for (char *at = path + 1;; ++at) { /* parents first */
        char here = *at;
        if (here != '/' && here != 0) continue;
        *at = 0;
        if (mkdir(path, 0777) == 0)
            ++*n_made;
        else if (errno != EEXIST)
            break;
        *at = here;
        if (here != 0) continue;
        if (*n_made > 0 || !is_strange(path)) return BAL_OK;
        return bal_fail(BAL_ERR_CONFIG,
                        "%s: holds files, but no run; name a new or an empty directory with --run",
                        path);
    }
    bal_fail(BAL_ERR_IO, "%s: the run directory cannot be made: %s", path, strerror(errno));
    cut_last(path);
    bal_run_dir_unmake(path, *n_made);
    *n_made = 0;
    return BAL_ERR_IO;
}

void bal_run_dir_clean(const char *dir)
{
    DIR *stream = opendir(dir);
    for (struct dirent *entry; stream != NULL && (entry = readdir(stream)) != NULL;) {
        static const char *const ours[] = {".step-*.h5.new", ".best.h5.new", ".LATEST.new",
                                           ".job.ini.new", ".ballots.journal.new"};
        char path[BAL_PATH_BYTES];
        bool half = false;
        for (size_t i = 0; i < sizeof ours / sizeof *ours; ++i)
            half |= fnmatch(ours[i], entry->d_name, 0) == 0;
        if (!half) continue;
        bal_run_path(dir, entry->d_name, path);
        unlink(path);
    }
    if (stream != NULL) closedir(stream);
}

static int newest_first(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

bal_status bal_checkpoint_list(const char *dir, int64_t **steps, int64_t *n)
{
    DIR *stream = opendir(dir);
    if (stream == NULL) return bal_fail(BAL_ERR_IO, "%s: %s", dir, strerror(errno));
    *steps = NULL;
    *n = 0;
    bal_status status = BAL_OK;
    for (struct dirent *entry; status == BAL_OK && (entry = readdir(stream)) != NULL;) {
        long long found;
        char name[64];
        if (sscanf(entry->d_name, "step-%lld.h5", &found) != 1) continue;
        bal_checkpoint_name(found, name);
        if (strcmp(name, entry->d_name) != 0) continue;
        int64_t *more = realloc(*steps, (size_t)(*n + 1) * sizeof *more);
        if (more == NULL) {
            status = bal_fail(BAL_ERR_MEMORY, "no memory to list %s", dir);
        } else {
            *steps = more;
            (*steps)[(*n)++] = found;
        }
    }
    closedir(stream);
    if (*n > 0) qsort(*steps, (size_t)*n, sizeof **steps, newest_first);
    if (status != BAL_OK) free(*steps);
    return status;
}

bal_status bal_checkpoint_find(const char *dir, int64_t *step)
{
    int64_t *steps = NULL, n = 0;
    bal_status status = BAL_OK;
    BAL_TRY(bal_checkpoint_list(dir, &steps, &n));
    *step = -1;
    for (int64_t i = 0; i < n && *step < 0 && status == BAL_OK; ++i) {
        char path[BAL_PATH_BYTES];
        bal_checkpoint_path(dir, steps[i], path);
        bal_status whole = bal_checkpoint_verify(path);
        if (whole == BAL_OK)
            *step = steps[i];
        else if (whole == BAL_ERR_MEMORY)
            status = whole;
        else
            bal_log(BAL_LOG_WARN, "%s; the one before it is used", bal_failure());
    }
    free(steps);
    return status;
}

bal_status bal_checkpoint_drop(const char *dir, int64_t step, int64_t keep)
{
    int64_t *steps = NULL, n = 0, kept = 0;
    BAL_TRY(bal_checkpoint_list(dir, &steps, &n));
    for (int64_t i = 0; i < n; ++i) {
        if (steps[i] <= step && ++kept <= keep) continue;
        char path[BAL_PATH_BYTES];
        bal_checkpoint_path(dir, steps[i], path);
        unlink(path);
    }
    free(steps);
    return BAL_OK;
}
