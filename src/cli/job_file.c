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
            strcmp(r->job->source[i], "default") != 0)
            return bal_fail(BAL_ERR_CONFIG, "%s: [%s] %s is set before, at %s", source, section,
                            key, r->job->source[i]);
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

/* What job.h says of text, identity and hash. */
static bal_status resolve(bal_job *job)
{
    size_t room = (size_t)bal_n_options * (BAL_TEXT_BYTES + 64), used = 0;
    job->text = bal_alloc(room, 1);
    job->identity = bal_alloc(room, 1);
    job->older = bal_alloc(room, 1);
    if (job->text == NULL || job->identity == NULL || job->older == NULL)
        return bal_fail(BAL_ERR_MEMORY, "no memory for the job");
    const char *section = "";
    for (const bal_option *o = bal_options; o < bal_options + bal_n_options; ++o) {
        char value[BAL_TEXT_BYTES];
        bal_option_print(job, o, value);
        if (o->use != BAL_USE_FREE) add_line(job->older, room, o, value);
        if (!bal_option_applies(job, o)) continue;
        if (o->use == BAL_USE_DECIDES) add_line(job->identity, room, o, value);
        if (strcmp(section, o->section) != 0)
            used += (size_t)snprintf(job->text + used, room - used, "[%s]\n", o->section);
        section = o->section;
        used += (size_t)snprintf(job->text + used, room - used, "%s = %s\n", o->key, value);
    }
    job->hash = bal_hash(job->identity, strlen(job->identity), 0);
    return BAL_OK;
}

/* An option that does not apply is left out, or has its default, as in what ballot config prints.
 */
static bal_status check_use(const bal_job_source *job)
{
    const bal_job defaults = bal_job_default();
    for (int i = 0; i < bal_n_options; ++i) {
        const bal_option *o = &bal_options[i];
        char value[BAL_TEXT_BYTES], otherwise[BAL_TEXT_BYTES], when[BAL_TEXT_BYTES] = "";
        bal_option_print(&job->job, o, value);
        bal_option_print(&defaults, o, otherwise);
        if (strcmp(value, otherwise) == 0 || bal_option_applies(&job->job, o)) continue;
        for (const char *const *each = o->when; *each != NULL; ++each)
            snprintf(when + strlen(when), sizeof when - strlen(when), "%s%s",
                     each == o->when ? "" : " or ", *each);
        return bal_fail(BAL_ERR_CONFIG,
                        "%s: [%s] %s = %s does not apply: it is for %s; leave it out",
                        job->source[i], o->section, o->key, value, when);
    }
    return BAL_OK;
}

static bool has_journal(const char *run)
{
    char path[4096];
    return run != NULL &&
           snprintf(path, sizeof path, "%s/ballots.journal", run) < (int)sizeof path &&
           access(path, F_OK) == 0;
}

/* A job file beside a journal was written by the program: version 0.1 wrote every option. */
static bool is_of_run(const char *path)
{
    char folder[4096];
    return path != NULL && snprintf(folder, sizeof folder, "%s", path) < (int)sizeof folder &&
           has_journal(dirname(folder));
}

/* Everything but whether all options apply. */
static bal_status read_all(const char *path, char *const *overrides, int n_overrides,
                           bal_job_source *job)
{
    *job = (bal_job_source){.job = bal_job_default()};
    job->source = bal_alloc((size_t)bal_n_options, sizeof *job->source);
    if (job->source == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for the job");
    for (int i = 0; i < bal_n_options; ++i) strcpy(job->source[i], "default");
    if (path != NULL) BAL_TRY(read_file(path, job));
    for (int i = 0; i < n_overrides; ++i) BAL_TRY(apply_override(overrides[i], job));
    if (job->job.vote.audit > 0.0 && job->job.vote.dealing != BAL_DEALING_FIXED)
        return bal_fail(BAL_ERR_CONFIG,
                        "[vote] audit = %g needs dealing = fixed: only then is it known who probed "
                        "a slot",
                        job->job.vote.audit);
    return resolve(&job->job);
}

bal_status bal_job_read(const char *path, char *const *overrides, int n_overrides,
                        bal_job_source *job)
{
    BAL_TRY(read_all(path, overrides, n_overrides, job));
    return is_of_run(path) ? BAL_OK : check_use(job);
}

bal_status bal_job_read_to_run(const char *path, char *const *overrides, int n_overrides,
                               const char *run, bal_job_source *job)
{
    BAL_TRY(read_all(path, overrides, n_overrides, job));
    bal_status status = is_of_run(path) ? BAL_OK : check_use(job);
    if (status != BAL_OK && !has_journal(run)) return status;
    if (status != BAL_OK) bal_log(BAL_LOG_WARN, "%s", bal_failure());
    if (job->job.model.path[0] == 0)
        return bal_fail(BAL_ERR_CONFIG, "%s: [model] path is missing", path);
    if (job->job.data.train[0] == 0)
        return bal_fail(BAL_ERR_CONFIG, "%s: [data] train is missing", path);
    return BAL_OK;
}

void bal_job_source_clear(bal_job_source *job)
{
    free(job->source);
    free(job->job.text);
    free(job->job.identity);
    free(job->job.older);
    *job = (bal_job_source){0};
}
