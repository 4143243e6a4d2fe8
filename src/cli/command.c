/* command.c: what the commands share. */
#include <errno.h>
#include <getopt.h>
#include <libgen.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ballot/quant.h"
#include "cli_impl.h"

const char *argp_program_version = "ballot " BALLOT_VERSION;
error_t argp_err_exit_status = 2;

bool bal_leaves_to_rank_0(bal_context *context)
{
    if (!context->prints) bal_comm_set_limit(context->comm, 0.0);
    return !context->prints;
}

bal_source_options bal_common_source(const bal_common *common, const bal_job *job)
{
    bal_source_options options = {.formats = {.matrices = BAL_I8, .group = BAL_GROUP_DEFAULT}};
    options.base = common->base;
    if (job != NULL) options.formats = bal_job_formats(job);
    options.keep_formats = common->formats.matrices == BAL_N_FORMATS;
    if (options.keep_formats) return options;
    options.formats.matrices = common->formats.matrices;
    options.formats.group = common->formats.group;
    return options;
}

void bal_formats_print(const bal_formats *formats, char *text, size_t n_bytes)
{
    size_t used = (size_t)snprintf(text, n_bytes, "%s", bal_format_name(formats->matrices));
    if (bal_format_is_nibbles(formats->matrices))
        used += (size_t)snprintf(text + used, n_bytes - used, ":%d",
                                 formats->group > 0 ? formats->group : BAL_GROUP_DEFAULT);
    if (formats->patterns[0] != 0) snprintf(text + used, n_bytes - used, " %s", formats->patterns);
}

error_t bal_take_format(struct argp_state *state, const char *arg, bal_formats *formats)
{
    formats->group = BAL_GROUP_DEFAULT;
    if (!bal_format_read(arg, &formats->matrices, &formats->group) || formats->matrices == BAL_I16)
        argp_error(state,
                   "--format=%s: expected f32, i8, i4, nf4, or one of the last two with :32, :64 "
                   "or :128 after it",
                   arg);
    return 0;
}

static error_t parse_common(int key, char *arg, struct argp_state *state)
{
    bal_common *common = state->input;
    bal_isa isa;
    switch (key) {
        case 'j':
            common->job = arg;
            return 0;
        case 's':
            if (common->n_overrides == sizeof common->overrides / sizeof *common->overrides)
                argp_error(state, "more than %d options with -s", common->n_overrides);
            common->overrides[common->n_overrides++] = arg;
            return 0;
        case 'i':
            if (!bal_isa_parse(arg, &isa))
                argp_error(state, "--isa=%s: expected ref, avx2, avx512 or amx", arg);
            common->isa = isa;
            common->machine.kernels = bal_kernels_at(isa);
            return 0;
        case 't':
            if (strcmp(arg, "table") != 0 && strcmp(arg, "slots") != 0)
                argp_error(state, "--tally=%s: expected table or slots", arg);
            common->machine.tally = arg[0] == 't' ? BAL_TALLY_TABLE : BAL_TALLY_SLOTS;
            return 0;
        case 'f':
            return bal_take_format(state, arg, &common->formats);
        case 'B':
            common->base = arg;
            return 0;
        case 'J':
            common->json = true;
            return 0;
        default:
            return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option shared_options[] = {
    {"job", 'j', "JOB.ini", 0, "job file", 0},
    {"set", 's', "SECTION.KEY=VALUE", 0, "override an option of the job file; may be repeated", 0},
    {"isa", 'i', "LEVEL", 0,
     "kernels: ref, avx2, avx512 or amx (default: the best here); the result is the same", 0},
    {"tally", 't', "HOW", 0,
     "count votes by table (default), or slot by slot, which is slow; the result is the same", 0},
    {"format", 'f', "FORMAT", 0,
     "run a model of floats in f32, i8, i4 or nf4, the last two with :32, :64 or :128 columns that "
     "share a factor, or a checkpoint in f32 (default: that of the job, else i8)",
     0},
    {"base", 'B', "BASE", 0,
     "of a model tuned with vote.positions=answer: where the model that it was tuned from is now",
     0},
    {"json", 'J', NULL, 0, "print one JSON object", 0},
};
#define N_SHARED (sizeof shared_options / sizeof *shared_options)

typedef struct long_options {
    struct option all[64]; /* ends with zeros */
    char letters[128];     /* as getopt wants them */
} long_options;

/* What argp makes of the options of a command, and of its own such as --help. */
static void collect(const struct argp *argp, long_options *to)
{
    size_t n = 0, n_letters = strlen(to->letters);
    while (to->all[n].name != NULL) ++n;
    for (const struct argp_option *o = argp->options; o != NULL && o->name != NULL; ++o) {
        to->all[n++] = (struct option){o->name, o->arg != NULL, NULL, o->key};
        if (o->key > ' ' && o->key < 127)
            n_letters +=
                (size_t)sprintf(to->letters + n_letters, "%c%s", o->key, o->arg ? ":" : "");
    }
    for (const struct argp_child *c = argp->children; c != NULL && c->argp != NULL; ++c)
        collect(c->argp, to);
}

/* The nearest option of the command, or of the job where the command takes -s. */
static void refuse_option(struct argp_state *state, const long_options *options, const char *given)
{
    char word[64];
    snprintf(word, sizeof word, "%.*s", (int)strcspn(given, "="), given);
    const char *nearest = NULL;
    size_t distance = BAL_GUESS(word);
    for (const struct option *o = options->all; o->name != NULL; ++o) {
        if (strncmp(o->name, word, strlen(word)) == 0) return; /* short for several: argp says so */
        if (bal_is_nearer(word, o->name, &distance)) nearest = o->name;
    }
    const bal_option *of_job =
        strchr(options->letters, 's') == NULL ? NULL : bal_option_guess(word, &distance);
    state->name = state->argv[0];
    if (of_job != NULL)
        argp_error(state, "there is no option --%s; did you mean -s %s.%s=...?", word,
                   of_job->section, of_job->key);
    else if (nearest != NULL)
        argp_error(state, "there is no option --%s; did you mean --%s?", word, nearest);
}

/* getopt's own sentence about a long option that it does not know suggests nothing. */
static void check_long_options(struct argp_state *state)
{
    long_options options = {0};
    collect(state->root_argp, &options);
    optind = 0; /* glibc: start afresh, also after another use of getopt */
    opterr = 0;
    for (int key = 0; key != -1;) {
        optopt = -1; /* 0 after a long option that is unknown */
        key = getopt_long(state->argc, state->argv, options.letters, options.all, NULL);
        if (key == '?' && optopt == 0)
            refuse_option(state, &options, state->argv[optind - 1] + strlen("--"));
    }
}

static error_t hand_down(int key, char *arg, struct argp_state *state)
{
    (void)arg;
    if (key != ARGP_KEY_INIT) return ARGP_ERR_UNKNOWN;
    check_long_options(state);
    state->child_inputs[0] = state->child_inputs[1] = state->input;
    return 0;
}

void bal_parse(const bal_context *context, const struct argp *argp, const char *shared, int argc,
               char **argv, bal_common *input)
{
    struct argp_option taken[N_SHARED + 1] = {0};
    size_t n = 0;
    for (size_t i = 0; i < N_SHARED; ++i)
        if (strchr(shared, shared_options[i].key) != NULL) taken[n++] = shared_options[i];
    /* --help of argp 2.36 leaks where a list of options is empty */
    const struct argp common = {.options = n > 0 ? taken : NULL, .parser = parse_common};
    const struct argp_child children[] = {{.argp = argp}, {.argp = &common}, {0}};
    const struct argp all = {.parser = hand_down, .children = children};
    FILE *out = stdout, *err = stderr, *nowhere = NULL;
    if (!context->prints && (nowhere = fopen("/dev/null", "we")) != NULL) stdout = stderr = nowhere;
    static char name[64]; /* argv keeps it */
    snprintf(name, sizeof name, "ballot %s", argv[0]);
    argv[0] = name;
    argp_parse(&all, argc, argv, 0, NULL, input);
    stdout = out;
    stderr = err;
    if (nowhere != NULL) fclose(nowhere);
}

error_t bal_take_once(struct argp_state *state, const char *what, const char *arg,
                      const char **place)
{
    if (*place != NULL) argp_error(state, "more than one %s: %s", what, arg);
    *place = arg;
    return 0;
}

int64_t bal_take_int(struct argp_state *state, const char *option, const char *arg, int64_t min,
                     int64_t max)
{
    char *end;
    long long value = strtoll(arg, &end, 10);
    if (end == arg || *end != 0 || value < min || value > max)
        argp_error(state,
                   max == INT64_MAX ? "--%s=%s: expected a number of %lld or more"
                                    : "--%s=%s: expected a number from %lld to %lld",
                   option, arg, (long long)min, (long long)max);
    return value;
}

double bal_real_of(const char *text)
{
    char *end;
    double value = strtod(text, &end);
    return end == text || *end != 0 ? (double)NAN : value;
}

bal_status bal_check_output(const char *path)
{
    if (access(path, F_OK) == 0)
        return bal_fail(BAL_ERR_CONFIG, "%s exists; choose another name with -o", path);
    char folder[4096];
    if (strlen(path) >= sizeof folder)
        return bal_fail(BAL_ERR_IO, "%s: the path is too long", path);
    strcpy(folder, path);
    if (access(dirname(folder), W_OK) == 0) return BAL_OK;
    return bal_fail(BAL_ERR_IO, "%s: its folder cannot be written to: %s", path, strerror(errno));
}

bal_status bal_open_start(const bal_job *job, const char *path, bal_states *states,
                          bal_bundle *bundle)
{
    bal_source_options how = {.formats = bal_job_formats(job), .states = states};
    BAL_TRY(bal_source_open(path, &how, bundle));
    if (job->vote.positions == BAL_POSITIONS_ALL) return BAL_OK;
    bal_bundle base;
    how.states = NULL;
    BAL_TRY(bal_source_open(path, &how, &base));
    snprintf(bundle->base_id.path, sizeof bundle->base_id.path, "%s", job->model.path);
    bundle->base_id.fingerprint = bal_tensors_fingerprint(bal_model_tensors(base.model));
    bundle->base = base.model;
    base.model = NULL;
    bal_bundle_clear(&base);
    return BAL_OK;
}

bal_status bal_write_checkpoint(const char *path, int64_t step, const bal_bundle *bundle,
                                const bal_states *states, const bal_run_id *id, const bal_job *job,
                                const bal_machine *machine, uint64_t *fingerprint)
{
    char folder[4096], name[4096];
    if (strlen(path) >= sizeof folder)
        return bal_fail(BAL_ERR_IO, "%s: the path is too long", path);
    strcpy(folder, path);
    strcpy(name, path);
    *fingerprint = bal_states_fingerprint(states, bal_model_tensors(bundle->model));
    bal_snapshot snapshot = {.step = step,
                             .fingerprint = *fingerprint,
                             .id = *id,
                             .model = bundle->model,
                             .states = *states,
                             .files = bundle->files,
                             .job_text = job->text,
                             .isa = (char *)(uintptr_t)machine->kernels->name,
                             .dev_loss_nats = (double)NAN,
                             .base = bundle->base_id};
    return bal_checkpoint_write(dirname(folder), basename(name), &snapshot);
}

bal_status bal_print_json(const bal_context *context, json_t *object)
{
    char *text = bal_json_dump(object, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
    json_decref(object);
    if (text == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for the output");
    if (context->prints) puts(text);
    free(text);
    return BAL_OK;
}

const char *bal_hex(uint64_t hash, char text[17])
{
    snprintf(text, 17, "%016llx", (unsigned long long)hash);
    return text;
}

bal_status bal_isa_check(const bal_common *common)
{
    if (common->isa <= bal_isa_best()) return BAL_OK;
    return bal_fail(
        BAL_ERR_ARG,
        "--isa=%s: the processor of this rank has at most %s; give that, or leave out --isa",
        common->machine.kernels->name, bal_kernels_at(bal_isa_best())->name);
}
