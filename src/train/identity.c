/* identity.c: whether a record in the run directory is of this run, and what differs if not. */
#include <string.h>

#include "train_impl.h"

/* Fail with the first option that decides the result and differs from the job in the directory. */
static bal_status compare_job(const bal_run *run)
{
    char path[BAL_PATH_BYTES];
    bal_mapping file;
    bal_run_path(run->dir, "job.ini", path);
    if (bal_mapping_open(path, &file) != BAL_OK) file = (bal_mapping){0};
    const char *mine = run->job->text, *theirs = (const char *)file.data;
    const char *end = theirs + file.n_bytes, *section = "";
    bal_status status = bal_fail(
        BAL_ERR_CONFIG,
        "%s: the run directory belongs to another job; choose another one with --run", path);
    while (theirs < end && *mine != 0) { /* both list all options in the same order */
        int n_mine = (int)strcspn(mine, "\n"), n_theirs = 0;
        char name[256];
        while (theirs + n_theirs < end && theirs[n_theirs] != '\n') ++n_theirs;
        if (*mine == '[') section = mine + 1;
        snprintf(name, sizeof name, "%.*s.%.*s=", (int)strcspn(section, "]"), section,
                 (int)strcspn(mine, " \n"), mine);
        if ((n_mine != n_theirs || memcmp(mine, theirs, (size_t)n_mine) != 0) &&
            strstr(run->job->identity, name) != NULL) {
            status = bal_fail(BAL_ERR_CONFIG,
                              "%s: the run directory belongs to another job: \"%.*s\" there, "
                              "\"%.*s\" now; choose another one with --run",
                              path, n_theirs, theirs, n_mine, mine);
            break;
        }
        mine += n_mine + (mine[n_mine] == '\n');
        theirs += n_theirs + 1;
    }
    bal_mapping_close(&file);
    return status;
}

bal_status bal_run_compare_id(const bal_run *run, const bal_run_id *theirs)
{
    if (theirs->job_hash != run->id.job_hash || theirs->seed != run->id.seed ||
        theirs->n_slots != run->id.n_slots || theirs->n_steps != run->id.n_steps)
        return compare_job(run);
    if (theirs->stream_version != run->id.stream_version)
        return bal_fail(BAL_ERR_CONFIG,
                        "%s: the run was started with random streams of version %u; "
                        "this program has version %u: continue it with the older one",
                        run->dir, theirs->stream_version, run->id.stream_version);
    if (theirs->base_hash != run->id.base_hash)
        return bal_fail(BAL_ERR_CONFIG, "%s: the run was started from another model than %s is now",
                        run->dir, run->job->model.path);
    if (theirs->data_hash != run->id.data_hash)
        return bal_fail(BAL_ERR_CONFIG,
                        "%s: the run was started on other data than %s and %s hold now", run->dir,
                        run->job->data.train, run->job->data.dev);
    return BAL_OK;
}
