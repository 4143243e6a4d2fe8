/* job_file.c: a job from its INI file and from the command line. */
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ballot/ini.h"
#include "cli_impl.h"

typedef struct reader {
    bal_job_source *job;
    const char *path;
} reader;

static bal_status on_pair(void *user, const char *section, const char *key, const char *value,
                          int line)
{
    reader *r = user;
    char source[BAL_TEXT_BYTES + 32];
    snprintf(source, sizeof source, "%.500s:%d", r->path, line);
    for (int i = 0; i < bal_n_options; ++i)
        if (strcmp(bal_options[i].section, section) == 0 && strcmp(bal_options[i].key, key) == 0 &&
            strcmp(r->job->source[i], BAL_FROM_DEFAULT) != 0)
            return bal_fail(BAL_ERR_CONFIG,
                            "%s: [%s] %s is already set at %s; remove one of the two", source,
                            section, key, r->job->source[i]);
    return bal_option_set(r->job, section, key, value, source);
}

static bal_status read_file(const char *path, bal_job_source *job)
{
    bal_mapping file;
    if (bal_mapping_open(path, &file) != BAL_OK)
        return bal_fail(BAL_ERR_CONFIG, "%s", bal_failure());
    reader r = {.job = job, .path = path};
    bal_status status =
        bal_ini_read(path, "job file", file.data, file.n_bytes, BAL_ERR_CONFIG, on_pair, &r);
    bal_mapping_close(&file);
    return status;
}

/* Without the white space around the value, as in a job file: a list of settings may have lines
 * that end with a carriage return. */
static bal_status apply_override(const char *text, bal_job_source *job)
{
    char section[64] = "", key[64] = "", source[BAL_TEXT_BYTES], value[BAL_TEXT_BYTES];
    const char *equals = strchr(text, '='), *dot = strchr(text, '.');
    snprintf(source, sizeof source, "-s %.*s", 400, text);
    if (equals == NULL || dot == NULL || dot > equals || dot - text >= 64 || equals - dot > 64)
        return bal_fail(BAL_ERR_CONFIG, "%s: expected -s section.key=value", source);
    memcpy(section, text, (size_t)(dot - text));
    memcpy(key, dot + 1, (size_t)(equals - dot - 1));
    const char *start = equals + 1 + strspn(equals + 1, " \t\r\n");
    size_t n = strlen(start);
    while (n > 0 && strchr(" \t\r\n", start[n - 1]) != NULL) --n;
    if (n >= sizeof value)
        return bal_fail(BAL_ERR_CONFIG, "%s: a value of %zu bytes; expected at most %zu", source, n,
                        sizeof value - 1);
    snprintf(value, sizeof value, "%.*s", (int)n, start);
    return bal_option_set(job, section, key, value, source);
}

/* A line "section.key=value". */
static void add_line(char *text, size_t room, const bal_option *option, const char *value)
{
    size_t used = strlen(text);
    snprintf(text + used, room - used, "%s.%s=%s\n", option->section, option->key, value);
}

/* Is it one of those that version 0.1 hashed, whether they applied or not? */
static bool was_in_0_1(const bal_option *option)
{
    static const char names[] =
        " model.codes model.group model.formats data.task data.examples data.context data.batch "
        "data.dev_examples vote.slots vote.density vote.train vote.tensors vote.directions "
        "vote.noise rule.name rule.travel rule.eta run.steps run.seed run.eval_every ";
    char name[128];
    snprintf(name, sizeof name, " %s.%s ", option->section, option->key);
    return strstr(names, name) != NULL;
}

/* Does the option name a task file? What that says is in the hash of the data, wherever it lies. */
static bool is_task(const bal_job *job, const bal_option *option)
{
    return option->offset == offsetof(bal_job, data.task) && bal_job_has_task(job);
}

/* What job.h says of text, identity and hash. An option that came after version 0.1 counts only
 * where it has not the default that it came with, so that the jobs from before it keep their
 * hashes.
 */
static bal_status resolve(bal_job *job)
{
    size_t room = (size_t)bal_n_options * (BAL_TEXT_BYTES + 64), used = 0;
    job->text = bal_alloc(room, 1);
    job->identity = bal_alloc(room, 1);
    job->older = bal_alloc(room, 1);
    if (job->text == NULL || job->identity == NULL || job->older == NULL)
        return bal_fail(BAL_ERR_MEMORY, "no memory for the job");
    const char *section = "";
    bal_job then = bal_job_default();
    bal_options_as_they_came(&then);
    for (const bal_option *o = bal_options; o < bal_options + bal_n_options; ++o) {
        char value[BAL_TEXT_BYTES];
        bal_option_print(job, o, value);
        bool old = was_in_0_1(o), applies = bal_option_applies(job, o);
        if (!applies && bal_option_is_default(job, o)) bal_option_print(&then, o, value);
        if (old) add_line(job->older, room, o, value);
        if (!applies) continue;
        if (o->decides && (old || !bal_option_is_as_it_came(job, o)))
            add_line(job->identity, room, o, is_task(job, o) ? "file" : value);
        if (strcmp(section, o->section) != 0)
            used += (size_t)snprintf(job->text + used, room - used, "[%s]\n", o->section);
        section = o->section;
        used += (size_t)snprintf(job->text + used, room - used, "%s = %s\n", o->key, value);
    }
    job->hash = bal_hash(job->identity, strlen(job->identity), 0);
    return BAL_OK;
}

/* The first option that is given but does not apply, of those whose source begins so; NULL: none.
 * One that has its default may stand there. */
static const bal_option *find_unused(const bal_job_source *job, const char *source)
{
    for (const bal_option *o = bal_options; o < bal_options + bal_n_options; ++o) {
        const char *its = job->source[o - bal_options];
        if (!bal_option_applies(&job->job, o) && !bal_option_is_default(&job->job, o) &&
            !bal_option_is_as_it_came(&job->job, o) && strcmp(its, BAL_FROM_RUN) != 0 &&
            strncmp(its, source, strlen(source)) == 0)
            return o;
    }
    return NULL;
}

static bal_status refuse(const bal_job_source *job, const bal_option *unused)
{
    char value[BAL_TEXT_BYTES], when[BAL_TEXT_BYTES] = "";
    bal_option_print(&job->job, unused, value);
    for (const char *const *each = unused->when; *each != NULL; ++each) {
        size_t n = strlen(*each);
        bool any = n > 2 && strcmp(*each + n - 2, "?*") == 0; /* whatever is given */
        snprintf(when + strlen(when), sizeof when - strlen(when), "%s%.*s%s",
                 each == unused->when ? "" : " or ", (int)(any ? n - 2 : n), *each,
                 any ? "..." : "");
    }
    return bal_fail(BAL_ERR_CONFIG, "%s: [%s] %s = %s does not apply: it is for %s; leave it out",
                    job->source[unused - bal_options], unused->section, unused->key, value, when);
}

/* The hash of the job in a record: that of its journal, else of its newest whole checkpoint. */
static bool find_hash(const char *record, uint64_t *hash)
{
    char path[BAL_PATH_BYTES];
    int64_t step;
    bal_journal *journal = NULL;
    bal_snapshot snapshot;
    bal_run_path(record, "ballots.journal", path);
    if (bal_journal_open(bal_is_dir(record) ? path : record, false, &journal) == BAL_OK) {
        *hash = bal_journal_id(journal)->job_hash;
        bal_journal_close(&journal);
        return true;
    }
    if (!bal_is_dir(record) || bal_checkpoint_find(record, &step) != BAL_OK || step < 0)
        return false;
    bal_checkpoint_path(record, step, path);
    if (bal_checkpoint_outline(path, &snapshot) != BAL_OK) return false;
    *hash = snapshot.id.job_hash;
    bal_snapshot_clear(&snapshot);
    return true;
}

/* Was a job file, with options that do not apply, written into its run directory by version 0.1?
 * This program would have left them out, which gives the hash of a record of its own. */
static bool is_from_0_1(const char *path, uint64_t hash)
{
    char copy[BAL_PATH_BYTES], lock[BAL_PATH_BYTES];
    uint64_t begun;
    if (path == NULL || snprintf(copy, sizeof copy, "%s", path) >= (int)sizeof copy) return false;
    const char *run = dirname(copy);
    bal_run_path(run, "run.lock", lock);
    return find_hash(run, &begun) ? begun != hash : access(lock, F_OK) == 0;
}

static bal_status check_use(const char *path, const char *record, const bal_job_source *job)
{
    const bal_option *unused = find_unused(job, "");
    uint64_t begun;
    if (unused != NULL && is_from_0_1(path, job->job.hash)) unused = find_unused(job, "-s ");
    if (unused == NULL) return BAL_OK;
    bool warn = record != NULL && find_hash(record, &begun) && begun != job->job.hash;
    bal_status status = refuse(job, unused);
    if (!warn) return status;
    bal_log(BAL_LOG_WARN, "%s", bal_failure());
    return BAL_OK;
}

/* An option that stands there and does not apply has its default, so that nothing follows from it
 * that the job's text, which leaves it out, does not say. */
static bal_status drop_unused(bal_job_source *job)
{
    const bal_job defaults = bal_job_default();
    for (int i = 0; i < bal_n_options; ++i) {
        const bal_option *o = &bal_options[i];
        char value[BAL_TEXT_BYTES], source[sizeof job->source[i]];
        if (bal_option_applies(&job->job, o)) continue;
        bal_option_print(&defaults, o, value);
        snprintf(source, sizeof source, "%s", job->source[i]);
        BAL_TRY(bal_option_set(job, o->section, o->key, value, source));
    }
    return BAL_OK;
}

static bool has_task_word(const bal_job *job)
{
    return strcmp(job->data.task, "lm") == 0 || strcmp(job->data.task, "mlm") == 0 ||
           bal_job_has_task(job);
}

/* Everything but whether all options apply.
 * @param begun  the job that the run was begun with; NULL: none was */
static bal_status read_all(const char *path, char *const *overrides, int n_overrides,
                           const char *begun, bal_job_source *job)
{
    BAL_TRY(bal_job_source_init(job));
    if (path != NULL) BAL_TRY(read_file(path, job));
    for (int i = 0; i < n_overrides; ++i) BAL_TRY(apply_override(overrides[i], job));
    if (begun != NULL) BAL_TRY(bal_job_keep(job, begun));
    if (job->job.vote.audit > 0.0 && job->job.vote.dealing == BAL_DEALING_NODE)
        return bal_fail(BAL_ERR_CONFIG,
                        "[vote] audit = %g needs dealing = fixed: only then is it known who probed "
                        "a slot",
                        job->job.vote.audit);
    if (!has_task_word(&job->job))
        return bal_fail(BAL_ERR_CONFIG, "[data] task = %s; expected lm, mlm or a task file (*.ini)",
                        job->job.data.task);
    BAL_TRY(bal_job_check(&job->job));
    return resolve(&job->job);
}

/* The job of a journal that is in no run: what is not set has its default, or that which it came
 * with, whichever the journal has. */
static bal_status read_for_journal(const char *path, char *const *overrides, int n_overrides,
                                   const char *journal, bal_job_source *job)
{
    uint64_t hash;
    if (!find_hash(journal, &hash) || hash == job->job.hash) return BAL_OK;
    bal_job_source_clear(job);
    return read_all(path, overrides, n_overrides, "", job);
}

bal_status bal_job_read(bal_comm *comm, const char *path, char *const *overrides, int n_overrides,
                        const char *record, bal_job_source *job)
{
    char *begun;
    *job = (bal_job_source){0};
    bal_status status = bal_job_begun(comm, path, record, &begun);
    if (status == BAL_OK) status = read_all(path, overrides, n_overrides, begun, job);
    if (status == BAL_OK && begun == NULL && record != NULL && !bal_is_dir(record))
        status = read_for_journal(path, overrides, n_overrides, record, job);
    free(begun);
    BAL_TRY(status);
    BAL_TRY(check_use(path, record, job));
    return drop_unused(job);
}

bal_status bal_job_read_to_run(bal_comm *comm, const char *path, char *const *overrides,
                               int n_overrides, const char *run, bal_job_source *job)
{
    BAL_TRY(bal_job_read(comm, path, overrides, n_overrides, run, job));
    if (job->job.model.path[0] == 0)
        return bal_fail(BAL_ERR_CONFIG,
                        "%s: [model] path is missing; set it to the model to start from", path);
    if (job->job.data.train[0] == 0 && !bal_job_has_task(&job->job))
        return bal_fail(BAL_ERR_CONFIG, "%s: [data] train is missing; set it to the training text",
                        path);
    return BAL_OK;
}
