/* options.c: the table of job options, from job_options.def: reading, range checks and help. */
#include <errno.h>
#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ballot/ini.h"
#include "ballot/optim.h"
#include "ballot/perturb.h"
#include "ballot/vote.h"
#include "cli_impl.h"

#define AT(section, key) #section, #key, offsetof(bal_job, section.key)
#define SECTION(name)
#define END(name)
#define DECIDES true
#define FREE false
#define ALWAYS NULL
#define WHEN(...) __VA_ARGS__, NULL
#define LIST(...) \
    (const char *const[]) { __VA_ARGS__ }
#define TEXT(section, key, value, use, when, help) \
    {AT(section, key), BAL_OPT_TEXT, 0, BAL_TEXT_BYTES, {}, NULL, use, LIST(when), help},
#define INT(section, key, value, min, max, use, when, help) \
    {AT(section, key), BAL_OPT_INT, min, max, {}, NULL, use, LIST(when), help},
#define REAL(section, key, value, bound, max, use, when, help, ...) \
    {AT(section, key), BAL_OPT_REAL, bound, max, {__VA_ARGS__}, NULL, use, LIST(when), help},
#define CHOICE(type, section, key, value, use, when, help, ...) \
    {AT(section, key), BAL_OPT_CHOICE, 0, 0, {__VA_ARGS__}, NULL, use, LIST(when), help},
#define LISTED(section, key, value, use, when, help, list) \
    {AT(section, key), BAL_OPT_CHOICE, 0, 0, {}, list, use, LIST(when), help},
#define FLAGS(section, key, value, use, when, help, ...) \
    {AT(section, key), BAL_OPT_FLAGS, 0, 0, {__VA_ARGS__}, NULL, use, LIST(when), help},
#define FORMER(section, key, value)
const bal_option bal_options[] = {
#include "ballot/job_options.def"
};
const int bal_n_options = sizeof bal_options / sizeof *bal_options;

static const bal_choice *names_of(const bal_option *option)
{
    return option->listed != NULL ? option->listed : option->own;
}

static const void *field(const bal_job *job, const bal_option *option)
{
    return (const char *)job + option->offset;
}

/* Add a word to a list of them. */
static void add_word(char text[BAL_TEXT_BYTES], const char *between, const char *word)
{
    size_t n = strlen(text);
    snprintf(text + n, BAL_TEXT_BYTES - n, "%s%s", n > 0 ? between : "", word);
}

static void print_real(const bal_option *option, double value, char text[BAL_TEXT_BYTES])
{
    for (const bal_choice *name = names_of(option); name->name != NULL; ++name)
        if (name->value == value) {
            strcpy(text, name->name);
            return;
        }
    snprintf(text, BAL_TEXT_BYTES, "%.9g", value);
    if (strtod(text, NULL) != value) snprintf(text, BAL_TEXT_BYTES, "%.17g", value);
}

void bal_option_print(const bal_job *job, const bal_option *option, char text[BAL_TEXT_BYTES])
{
    const void *at = field(job, option);
    unsigned value;
    text[0] = 0;
    switch (option->type) {
        case BAL_OPT_INT:
            snprintf(text, BAL_TEXT_BYTES, "%lld", (long long)*(const int64_t *)at);
            break;
        case BAL_OPT_REAL:
            print_real(option, *(const double *)at, text);
            break;
        case BAL_OPT_TEXT:
            snprintf(text, BAL_TEXT_BYTES, "%s", (const char *)at);
            break;
        case BAL_OPT_CHOICE:
        case BAL_OPT_FLAGS:
            memcpy(&value, at, sizeof value);
            for (const bal_choice *name = names_of(option); name->name != NULL; ++name) {
                unsigned its = (unsigned)name->value;
                if (option->type == BAL_OPT_CHOICE ? its == value : (its & value) != 0)
                    add_word(text, " ", name->name);
            }
            break;
    }
}

static bool is_as_in(const bal_job *job, const bal_job *other, const bal_option *option)
{
    char value[BAL_TEXT_BYTES], otherwise[BAL_TEXT_BYTES];
    bal_option_print(job, option, value);
    bal_option_print(other, option, otherwise);
    return strcmp(value, otherwise) == 0;
}

bool bal_option_is_default(const bal_job *job, const bal_option *option)
{
    const bal_job defaults = bal_job_default();
    return is_as_in(job, &defaults, option);
}

bool bal_option_is_as_it_came(const bal_job *job, const bal_option *option)
{
    bal_job then = bal_job_default();
    bal_options_as_they_came(&then);
    return is_as_in(job, &then, option);
}

bool bal_option_applies(const bal_job *job, const bal_option *option)
{
    for (const char *const *when = option->when; *when != NULL; ++when)
        for (const bal_option *o = bal_options; o < bal_options + bal_n_options; ++o) {
            char value[BAL_TEXT_BYTES], setting[BAL_TEXT_BYTES + 128];
            bal_option_print(job, o, value);
            snprintf(setting, sizeof setting, "%s.%s=%s", o->section, o->key, value);
            if (fnmatch(*when, setting, 0) == 0) return true;
        }
    return option->when[0] == NULL;
}

void bal_option_range(const bal_option *option, char text[BAL_TEXT_BYTES])
{
    const char *between = ", ";
    text[0] = 0;
    switch (option->type) {
        case BAL_OPT_INT:
            snprintf(text, BAL_TEXT_BYTES, "%.0f to %.0f", option->min, option->max);
            break;
        case BAL_OPT_REAL:
            snprintf(text, BAL_TEXT_BYTES, "above %g, up to %g", option->min, option->max);
            between = ", or ";
            break;
        case BAL_OPT_TEXT:
            snprintf(text, BAL_TEXT_BYTES, "text without ;");
            break;
        case BAL_OPT_CHOICE:
            between = " or ";
            break;
        case BAL_OPT_FLAGS:
            break;
    }
    for (const bal_choice *name = names_of(option); name->name != NULL; ++name)
        add_word(text, between, name->name);
}

/* Letters to put in, drop, replace or swap with the next to turn one word into the other (Damerau
 * 1964; no letter is edited twice). */
static size_t distance_of(const char *a, const char *b)
{
    size_t d[64][64], n_a = strlen(a), n_b = strlen(b);
    if (n_a >= 64 || n_b >= 64) return SIZE_MAX;
    for (size_t i = 0; i <= n_a; ++i)
        for (size_t j = 0; j <= n_b; ++j) {
            d[i][j] = i + j;
            if (i == 0 || j == 0) continue;
            size_t least = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < least) least = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < least) least = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                d[i - 2][j - 2] + 1 < least)
                least = d[i - 2][j - 2] + 1;
            d[i][j] = least;
        }
    return d[n_a][n_b];
}

bool bal_is_nearer(const char *given, const char *word, size_t *distance)
{
    size_t its = distance_of(given, word);
    if (its >= *distance) return false;
    *distance = its;
    return true;
}

const bal_option *bal_option_guess(const char *given, size_t *distance)
{
    const bal_option *nearest = NULL;
    for (const bal_option *o = bal_options; o < bal_options + bal_n_options; ++o) {
        char name[128];
        snprintf(name, sizeof name, "%s.%s", o->section, o->key);
        if (bal_is_nearer(given, strchr(given, '.') != NULL ? name : o->key, distance)) nearest = o;
    }
    return nearest;
}

static bal_status unknown(const char *section, const char *key, const char *source)
{
    char name[BAL_TEXT_BYTES], guess[BAL_TEXT_BYTES] = "";
    snprintf(name, sizeof name, "%s.%s", section, key);
    size_t distance = BAL_GUESS(name);
    const bal_option *nearest = bal_option_guess(name, &distance);
    if (nearest != NULL)
        snprintf(guess, sizeof guess, "; did you mean %s in [%s]?", nearest->key, nearest->section);
    return bal_fail(BAL_ERR_CONFIG,
                    "%s: there is no option %s in section [%s]%s (ballot config prints them all)",
                    source, key, section, guess);
}

static bool set_int(const bal_option *option, const char *value, int64_t *at)
{
    char *rest = NULL;
    errno = 0;
    long long number = strtoll(value, &rest, 10);
    if (rest == value || *rest != 0 || errno != 0 || (double)number < option->min ||
        (double)number > option->max)
        return false;
    *at = number;
    return true;
}

static bool set_real(const bal_option *option, const char *value, double *at)
{
    char *rest = NULL;
    for (const bal_choice *name = names_of(option); name->name != NULL; ++name)
        if (strcmp(name->name, value) == 0) {
            *at = name->value;
            return true;
        }
    double number = strtod(value, &rest);
    if (rest == value || *rest != 0 || !(number > option->min && number <= option->max))
        return false;
    *at = number;
    return true;
}

/* A text that a job file can hold. */
static bool set_text(const bal_option *option, const char *value, char *at)
{
    size_t n = strlen(value);
    if (n >= (size_t)option->max || strlen(option->key) + 3 + n > BAL_INI_LINE_MAX) return false;
    if (n > 0 && (value[0] == ' ' || value[n - 1] == ' ')) return false;
    for (const char *c = value; *c != 0; ++c)
        if (*c == ';' || (unsigned char)*c < ' ') return false;
    strcpy(at, value);
    return true;
}

static bool set_names(const bal_option *option, const char *value, unsigned *at)
{
    char copy[BAL_TEXT_BYTES], *rest = NULL;
    unsigned result = 0;
    int n_words = 0;
    snprintf(copy, sizeof copy, "%s", value);
    for (char *word = strtok_r(copy, " ,", &rest); word != NULL;
         word = strtok_r(NULL, " ,", &rest)) {
        const bal_choice *name = names_of(option);
        while (name->name != NULL && strcmp(name->name, word) != 0) ++name;
        if (name->name == NULL) return false;
        result |= (unsigned)name->value;
        ++n_words;
    }
    if (n_words == 0 || (option->type == BAL_OPT_CHOICE && n_words > 1)) return false;
    memcpy(at, &result, sizeof result);
    return true;
}

/* False: the option has no such value, and the job is unchanged. */
static bool set(const bal_option *option, const char *value, void *at)
{
    switch (option->type) {
        case BAL_OPT_INT:
            return set_int(option, value, at);
        case BAL_OPT_REAL:
            return set_real(option, value, at);
        case BAL_OPT_TEXT:
            return set_text(option, value, at);
        case BAL_OPT_CHOICE:
        case BAL_OPT_FLAGS:
            return set_names(option, value, at);
    }
    return false;
}

bal_status bal_option_set(bal_job_source *job, const char *section, const char *key,
                          const char *value, const char *source)
{
    const bal_option *option = bal_options;
    const bal_option *end = bal_options + bal_n_options;
    while (option < end && (strcmp(option->section, section) != 0 || strcmp(option->key, key) != 0))
        ++option;
    if (option == end) return unknown(section, key, source);
    if (!set(option, value, (char *)&job->job + option->offset)) {
        char range[BAL_TEXT_BYTES];
        bal_option_range(option, range);
        return bal_fail(BAL_ERR_CONFIG, "%s: [%s] %s = %s; expected %s", source, section, key,
                        value, range);
    }
    snprintf(job->source[option - bal_options], sizeof *job->source, "%s", source);
    return BAL_OK;
}

bal_status bal_job_source_init(bal_job_source *job)
{
    *job = (bal_job_source){.job = bal_job_default()};
    job->source = bal_alloc((size_t)bal_n_options, sizeof *job->source);
    if (job->source == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for the job");
    for (int i = 0; i < bal_n_options; ++i) strcpy(job->source[i], BAL_FROM_DEFAULT);
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

/* Defaults that options came with and have no longer. */
#define SECTION(name)
#define END(name)
#define TEXT(...)
#define INT(...)
#define REAL(...)
#define CHOICE(...)
#define LISTED(...)
#define FLAGS(...)
#define FORMER(section, key, value) {#section, #key, value},
static const struct former {
    const char *section, *key, *value;
} formers[] = {
#include "ballot/job_options.def"
    {NULL, NULL, NULL}};

void bal_options_as_they_came(bal_job *job)
{
    for (const bal_option *o = bal_options; o < bal_options + bal_n_options; ++o)
        for (const struct former *f = formers; f->section != NULL; ++f)
            if (strcmp(o->section, f->section) == 0 && strcmp(o->key, f->key) == 0)
                set(o, f->value, (char *)job + o->offset);
}
