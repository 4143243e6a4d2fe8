/* identity.c: whether a record in the run directory is of this run, and what differs if not. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "train_impl.h"

/* The value of section.key in the text of a job, which ballot wrote; NULL: it has none. */
static const char *find_value(const char *text, const char *name, size_t n_name, size_t *n)
{
    char here[128];
    const char *section = "";
    for (const char *line = text; *line != 0; line += strcspn(line, "\n"), line += *line == '\n') {
        size_t n_key = strcspn(line, " =\n"), n_line = strcspn(line, "\n");
        if (*line == '[') section = line + 1;
        if (*line == '[' || n_line < n_key + 3) continue;
        snprintf(here, sizeof here, "%.*s.%.*s", (int)strcspn(section, "]\n"), section, (int)n_key,
                 line);
        if (strlen(here) != n_name || strncmp(here, name, n_name) != 0) continue;
        *n = n_line - n_key - 3; /* " = " */
        return line + n_key + 3;
    }
    return NULL;
}

/* Is section.key a line of an identity? */
static bool decides(const char *identity, const char *name, size_t n_name)
{
    for (const char *line = identity; *line != 0; line += strcspn(line, "\n") + 1)
        if (strcspn(line, "=") == n_name && strncmp(line, name, n_name) == 0) return true;
    return false;
}

/* Version 0.1 hashed all of job->older. What decides nothing is taken as it was then, from text. */
static uint64_t older_hash(const bal_job *job, const char *text)
{
    size_t room = strlen(job->older) + strlen(text) + 1, used = 0;
    char *all = bal_alloc(room, 1);
    if (all == NULL) return 0;
    for (const char *line = job->older; *line != 0; line += strcspn(line, "\n") + 1) {
        size_t n_name = strcspn(line, "="), n = strcspn(line, "\n") - n_name - 1;
        const char *value = line + n_name + 1, *theirs = NULL;
        size_t n_theirs = 0;
        if (!decides(job->identity, line, n_name))
            theirs = find_value(text, line, n_name, &n_theirs);
        if (theirs != NULL) value = theirs, n = n_theirs;
        used += (size_t)snprintf(all + used, room - used, "%.*s=%.*s\n", (int)n_name, line, (int)n,
                                 value);
    }
    uint64_t hash = bal_hash(all, used, 0);
    free(all);
    return hash;
}

bool bal_job_has_hash(const bal_job *job, uint64_t hash, const char *text)
{
    return hash == job->hash || hash == older_hash(job, text);
}

/* A folder without slashes at its end, as a word, or the start of one, for a shell. */
static void quote(const char *dir, char *text, size_t room)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-+,:@%";
    size_t n = strlen(dir), used = 0;
    while (n > 1 && dir[n - 1] == '/') --n;
    const char *around = strspn(dir, plain) < n ? "'" : "";
    used += (size_t)snprintf(text, room, "%s", around);
    for (size_t i = 0; i < n && used + 6 < room; ++i)
        used += (size_t)snprintf(text + used, room - used, dir[i] == '\'' ? "'\\''" : "%c", dir[i]);
    snprintf(text + used, room - used, "%s", around);
}

/* Steps beyond those that were planned are a run of their own. */
static bal_status refuse_steps(const bal_run *run, int64_t planned)
{
    int64_t more = run->id.n_steps > planned ? run->id.n_steps - planned : run->id.n_steps;
    char path[BAL_PATH_BYTES], dir[BAL_PATH_BYTES], start[2 * BAL_PATH_BYTES] = "";
    bal_run_path(run->dir, "best.h5", path);
    quote(run->dir, dir, sizeof dir);
    bool from_it = run->job->vote.positions == BAL_POSITIONS_ALL; /* else it needs its base */
    if (!from_it) more = run->id.n_steps;
    if (from_it) snprintf(start, sizeof start, " -s model.path=%s", dir);
    return bal_fail(
        BAL_ERR_CONFIG,
        "%s: the run is planned for %lld steps, not for %lld; it goes on as planned "
        "with: ballot train %s/job.ini --run %s; a run of %lld steps from %s is: ballot "
        "train %s/job.ini --run %s-2%s -s run.steps=%lld -s run.seed=%lld",
        dir, (long long)planned, (long long)run->id.n_steps, dir, dir, (long long)more,
        !from_it                  ? "its base"
        : access(path, F_OK) == 0 ? "its best checkpoint"
                                  : "its latest checkpoint",
        dir, dir, start, (long long)more, (long long)run->id.seed + 1);
}

/* Is a line of the identity that of a task file, whose path and bytes are compared elsewhere? */
static bool is_file(const char *line) { return strncmp(line, "data.task=file\n", 15) == 0; }

/* The first option that decides and in which the job of the directory, text, differs. */
static bal_status refuse_job(const bal_run *run, const char *text)
{
    for (const char *line = run->job->identity; *line != 0; line += strcspn(line, "\n") + 1) {
        size_t n_name = strcspn(line, "="), n = strcspn(line, "\n") - n_name - 1, n_theirs;
        const char *mine = line + n_name + 1, *theirs = find_value(text, line, n_name, &n_theirs);
        if (theirs == NULL || (n == n_theirs && memcmp(mine, theirs, n) == 0)) continue;
        if (is_file(line) && n_theirs > 4 && memcmp(theirs + n_theirs - 4, ".ini", 4) == 0)
            continue;
        if (strncmp(line, "run.steps=", 10) == 0) return refuse_steps(run, atoll(theirs));
        if (is_file(line)) mine = run->job->data.task, n = strlen(mine);
        const char *key = memchr(line, '.', n_name) + 1;
        return bal_fail(BAL_ERR_CONFIG,
                        "%s/job.ini: the run directory belongs to another job: \"%.*s = %.*s\" "
                        "there, \"%.*s = %.*s\" now; choose another one with --run",
                        run->dir, (int)(line + n_name - key), key, (int)n_theirs, theirs,
                        (int)(line + n_name - key), key, (int)n, mine);
    }
    return bal_fail(BAL_ERR_CONFIG,
                    "%s: the run directory belongs to another job; choose another one with --run",
                    run->dir);
}

/* The first file of the tokenizer that is not as in the newest checkpoint; NULL: none.
 * @param known  whether there is such a checkpoint */
static const char *find_changed(const bal_run *run, bal_snapshot *snapshot, bool *known)
{
    char path[BAL_PATH_BYTES];
    int64_t step;
    *known = bal_checkpoint_find(run->dir, &step) == BAL_OK && step >= 0;
    if (*known) bal_checkpoint_path(run->dir, step, path);
    *known = *known && bal_checkpoint_outline(path, snapshot) == BAL_OK;
    for (int i = 0; *known && i < snapshot->files.n; ++i) {
        const bal_named_bytes *then = &snapshot->files.at[i];
        const bal_named_bytes *now = bal_files_find(&run->inputs.bundle.files, then->name);
        if (now == NULL || now->n_bytes != then->n_bytes ||
            memcmp(now->bytes, then->bytes, then->n_bytes) != 0)
            return then->name;
    }
    return NULL;
}

/* Tokens differ where a text does, or what makes tokens of it. */
static bal_status refuse_data(const bal_run *run)
{
    bool known;
    bal_snapshot snapshot = {0};
    const char *file = find_changed(run, &snapshot, &known);
    bal_status status = BAL_ERR_CONFIG;
    if (file != NULL)
        bal_fail(status,
                 "%s: the run was started with another tokenizer: %s of %s has changed since; put "
                 "it back, or choose another directory with --run",
                 run->dir, file, run->job->model.path);
    else if (bal_job_has_task(run->job))
        bal_fail(status,
                 "%s: the run was started on other rows of %s than there are now, or with another "
                 "data.dev_examples%s",
                 run->dir, run->job->data.task, known ? "" : " or tokenizer");
    else
        bal_fail(status, "%s: the run was started on other data than %s and %s hold now%s",
                 run->dir, run->job->data.train, run->job->data.dev,
                 known ? "" : ", or with another tokenizer");
    bal_snapshot_clear(&snapshot);
    return status;
}

static bal_status compare_job(const bal_run *run, const bal_run_id *theirs)
{
    char *text = bal_run_read_job(run->dir);
    if (text == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for the job of %s", run->dir);
    bool same = bal_job_has_hash(run->job, theirs->job_hash, text) &&
                theirs->seed == run->id.seed && theirs->n_slots == run->id.n_slots &&
                theirs->n_steps == run->id.n_steps;
    bal_status status = same ? BAL_OK : refuse_job(run, text);
    free(text);
    return status;
}

bal_status bal_run_compare_id(const bal_run *run, const bal_run_id *theirs)
{
    BAL_TRY(compare_job(run, theirs));
    if (theirs->stream_version != run->id.stream_version)
        return bal_fail(BAL_ERR_CONFIG,
                        "%s: the run was started with random streams of version %u; "
                        "this program has version %u: continue it with the older one",
                        run->dir, theirs->stream_version, run->id.stream_version);
    if (theirs->base_hash != run->id.base_hash)
        return bal_fail(BAL_ERR_CONFIG,
                        "%s: the run was started from another model than %s is now; put that back, "
                        "or choose another directory with --run",
                        run->dir, run->job->model.path);
    if (theirs->task_hash != run->id.task_hash)
        return bal_fail(
            BAL_ERR_CONFIG,
            "%s: the run was started with another %s: this task file has changed since; "
            "put it back, or choose another directory with --run",
            run->dir, run->job->data.task);
    return theirs->data_hash == run->id.data_hash ? BAL_OK : refuse_data(run);
}
