/* job_begun.c: the options that a run was begun with. One that the user does not set keeps, when
 * the run goes on, the value that it has in the run, also where its default is another one by now.
 */
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ballot/ini.h"
#include "cli_impl.h"

/* Has a run taken a step, or a checkpoint of one? */
static bool has_begun(const char *dir)
{
    char path[BAL_PATH_BYTES];
    struct stat info;
    int64_t *steps = NULL, n = 0;
    bal_journal_form any = {.n_bits = BAL_SIGN_BITS, .n_points = 2};
    bal_run_path(dir, "ballots.journal", path);
    if (stat(path, &info) == 0 && info.st_size > bal_journal_bytes(1, any, 0)) return true;
    bool found = bal_is_dir(dir) && bal_checkpoint_list(dir, &steps, &n) == BAL_OK && n > 0;
    free(steps);
    return found;
}

/* The folder that a file lies in. */
static void folder_of(const char *path, char dir[BAL_PATH_BYTES])
{
    char copy[BAL_PATH_BYTES];
    snprintf(copy, sizeof copy, "%s", path);
    snprintf(dir, BAL_PATH_BYTES, "%s", dirname(copy));
}

/* RUN/job.ini, or else the job of the newest whole checkpoint; "": there is neither. */
static char *read_text(const char *dir)
{
    char path[BAL_PATH_BYTES];
    bal_snapshot snapshot;
    int64_t step = -1;
    char *text = bal_run_read_job(dir);
    if (text == NULL || text[0] != 0) return text;
    if (bal_checkpoint_find(dir, &step) != BAL_OK || step < 0) return text;
    bal_checkpoint_path(dir, step, path);
    if (bal_checkpoint_outline(path, &snapshot) != BAL_OK) return text;
    free(text);
    text = strdup(snapshot.job_text);
    bal_snapshot_clear(&snapshot);
    return text;
}

/* Of rank 0. *text stays NULL where no run has begun. */
static bal_status find_text(const char *path, const char *record, char **text)
{
    char dir[BAL_PATH_BYTES] = "";
    struct stat info;
    if (record != NULL && bal_is_dir(record))
        snprintf(dir, sizeof dir, "%s", record);
    else if (record != NULL && stat(record, &info) == 0)
        folder_of(record, dir); /* of a journal; a run that is still to come has begun nowhere */
    bool found = dir[0] != 0 && has_begun(dir);
    if (!found && path != NULL) {
        folder_of(path, dir);
        const char *slash = strrchr(path, '/');
        found = strcmp(slash == NULL ? path : slash + 1, "job.ini") == 0 && has_begun(dir);
    }
    if (!found) return BAL_OK;
    *text = read_text(dir);
    return *text == NULL ? bal_fail(BAL_ERR_MEMORY, "no memory for the job of %s", dir) : BAL_OK;
}

bal_status bal_job_begun(bal_comm *comm, const char *path, const char *record, char **text)
{
    bool looks = bal_comm_rank(comm) == 0;
    *text = NULL;
    bal_status status = looks ? find_text(path, record, text) : BAL_OK;
    int64_t n = *text == NULL ? -1 : (int64_t)strlen(*text);
    BAL_TRY(bal_comm_agree(comm, status));
    BAL_TRY(bal_comm_broadcast(comm, &n, sizeof n));
    if (n < 0) return BAL_OK;
    if (!looks) *text = bal_alloc((size_t)n + 1, 1);
    status = *text == NULL ? bal_fail(BAL_ERR_MEMORY, "no memory for the job of a run") : BAL_OK;
    BAL_TRY(bal_comm_agree(comm, status));
    return bal_comm_broadcast(comm, *text, (size_t)n);
}

static bal_status on_pair(void *job, const char *section, const char *key, const char *value,
                          int line)
{
    (void)line;
    return bal_option_set(job, section, key, value, "");
}

bal_status bal_job_keep(bal_job_source *job, const char *text)
{
    bal_job_source then;
    BAL_TRY(bal_job_source_init(&then));
    bal_options_as_they_came(&then.job);
    /* What cannot be read there is found to differ later, by its hash. */
    (void)bal_ini_read("job.ini", "job file", text, strlen(text), BAL_ERR_CONFIG, on_pair, &then);
    bal_status status = BAL_OK;
    for (int i = 0; i < bal_n_options && status == BAL_OK; ++i) {
        const bal_option *o = &bal_options[i];
        char value[BAL_TEXT_BYTES];
        if (strcmp(job->source[i], BAL_FROM_DEFAULT) != 0 || !o->decides ||
            !bal_option_applies(&then.job, o))
            continue;
        bal_option_print(&then.job, o, value);
        status = bal_option_set(job, o->section, o->key, value, BAL_FROM_RUN);
    }
    bal_job_source_clear(&then);
    return status;
}
