/* cmd_config.c: ballot config */
#include <string.h>

#include "cli_impl.h"

typedef struct arguments {
    bal_common common;
    bool markdown;
} arguments;

static const struct argp_option options[] = {
    {"markdown", 'm', NULL, 0, "print the option table of docs/job-file.md", 0}, {0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    arguments *a = state->input;
    switch (key) {
        case 'm':
            a->markdown = true;
            return 0;
        case ARGP_KEY_ARG:
            return bal_take_once(state, "job file", arg, &a->common.job);
        default:
            return ARGP_ERR_UNKNOWN;
    }
}

static void print_markdown(const bal_job *job)
{
    printf("| option | default | values | meaning |\n| --- | --- | --- | --- |\n");
    for (const bal_option *o = bal_options; o < bal_options + bal_n_options; ++o) {
        char value[BAL_TEXT_BYTES], range[BAL_TEXT_BYTES];
        bal_option_print(job, o, value);
        bal_option_range(o, range);
        printf("| `%s.%s` | %s%s%s | %s | %s |\n", o->section, o->key, value[0] ? "`" : "", value,
               value[0] ? "`" : "", range, o->help);
    }
}

/* A job file; lines stay within what a job file may hold. Options that do not apply are comments.
 */
static void print_text(const bal_job_source *source)
{
    const char *section = "";
    for (int i = 0; i < bal_n_options; ++i) {
        const bal_option *o = &bal_options[i];
        char value[BAL_TEXT_BYTES], range[BAL_TEXT_BYTES];
        bal_option_print(&source->job, o, value);
        bal_option_range(o, range);
        if (strcmp(section, o->section) != 0) printf("%s[%s]\n", i > 0 ? "\n" : "", o->section);
        section = o->section;
        printf("; %s (%s)\n; from %.180s\n%s%s = %s\n", o->help, range, source->source[i],
               bal_option_applies(&source->job, o) ? "" : "; does not apply: ", o->key, value);
    }
}

static json_t *to_json(const bal_job_source *source)
{
    json_t *all = json_object();
    for (int i = 0; i < bal_n_options; ++i) {
        const bal_option *o = &bal_options[i];
        char value[BAL_TEXT_BYTES], range[BAL_TEXT_BYTES], name[128];
        bal_option_print(&source->job, o, value);
        bal_option_range(o, range);
        snprintf(name, sizeof name, "%s.%s", o->section, o->key);
        json_object_set_new(
            all, name,
            json_pack("{s:o, s:o, s:s, s:s}", "value", bal_json_text(value), "source",
                      bal_json_text(source->source[i]), "values", range, "help", o->help));
    }
    return all;
}

bal_status bal_command_config(bal_context *context, int argc, char **argv)
{
    const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "[JOB.ini]",
        .doc =
            "Print every option of a job, resolved, with its source; without a job file, "
            "the defaults. What it prints is a job file; options that do not apply are comments "
            "in it.",
    };
    arguments a = {.common = BAL_COMMON_DEFAULT};
    bal_parse(context, &argp, "sJ", argc, argv, &a.common);
    bal_job_source source;
    bal_status status = bal_job_read(bal_comm_alone(), a.common.job, a.common.overrides,
                                     a.common.n_overrides, NULL, &source);
    if (status == BAL_OK && a.common.json)
        status = bal_print_json(context, to_json(&source));
    else if (status == BAL_OK && context->prints && a.markdown)
        print_markdown(&source.job);
    else if (status == BAL_OK && context->prints)
        print_text(&source);
    bal_job_source_clear(&source);
    return status;
}
