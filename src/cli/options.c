/* options.c: the options of a job file, each once. Help, reading, range checks, the table of
 * docs/job-file.md and the run record come from these rows. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli_impl.h"

static const bal_option_name codes_names[] = {
    {"i8", BAL_I8}, {"i4", BAL_I4}, {"nf4", BAL_NF4}, {NULL, 0}};
static const bal_option_name group_names[] = {{"32", 32}, {"64", 64}, {"128", 128}, {NULL, 0}};
static const bal_option_name task_names[] = {{"lm", BAL_TASK_LM}, {"mlm", BAL_TASK_MLM}, {NULL, 0}};
static const bal_option_name examples_names[] = {
    {"windows", BAL_EXAMPLES_WINDOWS}, {"documents", BAL_EXAMPLES_DOCUMENTS}, {NULL, 0}};
static const bal_option_name train_names[] = {
    {"codes", BAL_TRAIN_CODES}, {"gains", BAL_TRAIN_GAINS}, {NULL, 0}};
static const bal_option_name rule_names[] = {
    {"carry", BAL_RULE_CARRY}, {"zoqo", BAL_RULE_ZOQO}, {NULL, 0}};
static const bal_option_name direction_names[] = {{"walsh", BAL_DIRECTIONS_WALSH},
                                                  {"independent", BAL_DIRECTIONS_INDEPENDENT},
                                                  {"uniform", BAL_DIRECTIONS_UNIFORM},
                                                  {NULL, 0}};
static const bal_option_name share_names[] = {
    {"node", BAL_SHARE_NODE}, {"rank", BAL_SHARE_RANK}, {NULL, 0}};

static const bal_option_name dealing_names[] = {
    {"fixed", BAL_DEALING_FIXED}, {"node", BAL_DEALING_NODE}, {NULL, 0}};
static const bal_option_name deadline_names[] = {{"off", 0}, {"auto", 1}, {NULL, 0}};
static const bal_option_name audit_names[] = {{"off", 0}, {NULL, 0}};
static const bal_option_name action_names[] = {
    {"stop", BAL_AUDIT_STOP}, {"exclude", BAL_AUDIT_EXCLUDE}, {"warn", BAL_AUDIT_WARN}, {NULL, 0}};

#define AT(field) offsetof(bal_job, field)
#define TEXT(field) BAL_OPT_TEXT, AT(field), 0, sizeof(((bal_job *)0)->field), NULL
#define INT(field, min, max) BAL_OPT_INT, AT(field), min, max, NULL
#define REAL(field, min, max) BAL_OPT_REAL, AT(field), min, max, NULL
#define REAL_OR(field, min, max, names) BAL_OPT_REAL, AT(field), min, max, names
#define CHOICE(field, names) BAL_OPT_CHOICE, AT(field), 0, 0, names
#define FLAGS(field, names) BAL_OPT_FLAGS, AT(field), 0, 0, names

const bal_option bal_options[] = {
    {"model", "path", TEXT(model.path), false,
     "model folder or file, or checkpoint, to start from"},
    {"model", "codes", CHOICE(model.formats.matrices, codes_names), true,
     "integer format of its matrices"},
    {"model", "group", CHOICE(model.formats.group, group_names), true,
     "i4, nf4: columns that share a factor"},
    {"model", "formats", TEXT(model.formats.patterns), true,
     "other formats by pattern of matrix names, as lm_head*=i8 *.mlp.*=nf4:32"},
    {"data", "task", CHOICE(data.task, task_names), true,
     "what is learned: lm, the next token, or mlm, masked ones (encoders)"},
    {"data", "train", TEXT(data.train), false, "text to learn from"},
    {"data", "dev", TEXT(data.dev), false,
     "text to evaluate on while training; none: no evaluation"},
    {"data", "test", TEXT(data.test), false, "text for ballot eval --split test"},
    {"data", "examples", CHOICE(data.examples, examples_names), true,
     "cut texts into windows of one stream, or documents between blank lines"},
    {"data", "context", INT(data.context, 2, 1048576), true, "tokens per example"},
    {"data", "batch", INT(data.batch, 1, BAL_BATCH_MAX), true, "examples per probe"},
    {"data", "dev_examples", INT(data.dev_examples, 0, 1e9), true,
     "dev examples per evaluation at most; 0: all"},
    {"vote", "slots", INT(vote.slots, 1, BAL_SLOTS_MAX), true,
     "directions probed per step, over all ranks"},
    {"vote", "density", REAL(vote.perturb.density, 0, 1), true,
     "share of 64-code blocks voted on in a step, drawn anew each step"},
    {"vote", "train", FLAGS(vote.train, train_names), true,
     "what is on the ballot: codes (weights), gains (a factor per matrix row), or both"},
    {"vote", "tensors", TEXT(vote.tensors), true,
     "patterns of tensor names on the ballot, as *.mlp.*"},
    {"vote", "directions", CHOICE(vote.perturb.kind, direction_names), true,
     "how directions are made"},
    {"vote", "noise", INT(vote.perturb.noise, 1, BAL_NOISE_MAX), true,
     "largest probe in code steps; above 1 with uniform directions only"},
    {"vote", "dealing", CHOICE(vote.dealing, dealing_names), false,
     "who probes a slot: the rank that it falls to, or whichever of that one's node is free"},
    {"vote", "deadline", REAL_OR(vote.deadline, 0, 1e6, deadline_names), false,
     "seconds a rank may probe in a step before it abstains from its other slots; auto: twice what "
     "the "
     "fastest would take"},
    {"vote", "audit", REAL_OR(vote.audit, 0, 1, audit_names), false,
     "share of ballots that other ranks check, probe by probe, before they count"},
    {"vote", "audit_action", CHOICE(vote.audit_action, action_names), false,
     "what is done with a rank whose losses are wrong: stop the run, exclude its votes, or warn"},
    {"rule", "name", CHOICE(rule.kind, rule_names), true, "how a tally moves codes"},
    {"rule", "travel", REAL(rule.travel, 0, 10000), true,
     "carry: RMS code steps that pure noise would carry a code over the run"},
    {"rule", "eta", REAL(rule.eta, 0, 1000), true, "zoqo: learning rate in units of the weights"},
    {"run", "steps", INT(run.steps, 1, 2147483647.0), true, "steps of the run"},
    {"run", "seed", INT(run.seed, 0, 9007199254740992.0), true,
     "seed of directions and mini-batches"},
    {"run", "eval_every", INT(run.eval_every, 0, 1e9), true,
     "steps between evaluations; 0: first and last"},
    {"run", "checkpoint_every", INT(run.checkpoint_every, 0, 1e9), false,
     "steps between checkpoints; 0: at the end or when stopped"},
    {"run", "check_every", INT(run.check_every, 0, 1e9), false,
     "steps between comparisons of the ranks' fingerprints; 0: never"},
    {"run", "keep", INT(run.keep, 1, 1e5), false, "newest checkpoints kept"},
    {"run", "share", CHOICE(run.share, share_names), false,
     "who shares a model in memory: the ranks of a node, or none, with one in each rank"},
};
const int bal_n_options = sizeof bal_options / sizeof *bal_options;

static const void *field(const bal_job *job, const bal_option *option)
{
    return (const char *)job + option->offset;
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
            if (option->names != NULL && *(const double *)at <= option->min) {
                const bal_option_name *name = option->names;
                while (-(double)name->value != *(const double *)at) ++name;
                snprintf(text, BAL_TEXT_BYTES, "%s", name->name);
                break;
            }
            snprintf(text, BAL_TEXT_BYTES, "%.9g", *(const double *)at);
            if (strtod(text, NULL) != *(const double *)at)
                snprintf(text, BAL_TEXT_BYTES, "%.17g", *(const double *)at);
            break;
        case BAL_OPT_TEXT:
            snprintf(text, BAL_TEXT_BYTES, "%s", (const char *)at);
            break;
        case BAL_OPT_CHOICE:
        case BAL_OPT_FLAGS:
            memcpy(&value, at, sizeof value);
            for (const bal_option_name *name = option->names; name->name != NULL; ++name)
                if (option->type == BAL_OPT_CHOICE ? name->value == value
                                                   : (name->value & value) != 0)
                    snprintf(text + strlen(text), BAL_TEXT_BYTES - strlen(text), "%s%s",
                             text[0] ? " " : "", name->name);
            break;
    }
}

void bal_option_range(const bal_option *option, char text[BAL_TEXT_BYTES])
{
    text[0] = 0;
    switch (option->type) {
        case BAL_OPT_INT:
            snprintf(text, BAL_TEXT_BYTES, "%.0f to %.0f", option->min, option->max);
            break;
        case BAL_OPT_REAL:
            snprintf(text, BAL_TEXT_BYTES, "above %g, up to %g", option->min, option->max);
            for (const bal_option_name *name = option->names; name != NULL && name->name; ++name)
                snprintf(text + strlen(text), BAL_TEXT_BYTES - strlen(text), ", or %s", name->name);
            break;
        case BAL_OPT_TEXT:
            snprintf(text, BAL_TEXT_BYTES, "text without ;");
            break;
        case BAL_OPT_CHOICE:
        case BAL_OPT_FLAGS:
            for (const bal_option_name *name = option->names; name->name != NULL; ++name)
                snprintf(text + strlen(text), BAL_TEXT_BYTES - strlen(text), "%s%s",
                         text[0] == 0                     ? ""
                         : option->type == BAL_OPT_CHOICE ? " or "
                                                          : ", ",
                         name->name);
            break;
    }
}

/* Edits that turn one word into the other (Levenshtein), for "did you mean". */
static size_t distance(const char *a, const char *b)
{
    size_t row[64], n = strlen(b);
    if (n >= 63) return 64;
    for (size_t j = 0; j <= n; ++j) row[j] = j;
    for (size_t i = 1; a[i - 1] != 0; ++i) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; ++j) {
            size_t least = corner + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < least) least = row[j] + 1;
            if (row[j - 1] + 1 < least) least = row[j - 1] + 1;
            corner = row[j];
            row[j] = least;
        }
    }
    return row[n];
}

static bal_status unknown(const char *section, const char *key, const char *source)
{
    const bal_option *nearest = bal_options;
    size_t least = SIZE_MAX;
    for (const bal_option *o = bal_options; o < bal_options + bal_n_options; ++o) {
        size_t d = distance(key, o->key) + distance(section, o->section);
        if (d < least) least = d, nearest = o;
    }
    return bal_fail(BAL_ERR_CONFIG,
                    "%s: there is no option %s in section [%s]; did you mean %s in "
                    "[%s]? (ballot config prints them all)",
                    source, key, section, nearest->key, nearest->section);
}

static bool set_names(const bal_option *option, const char *value, unsigned *result)
{
    char copy[BAL_TEXT_BYTES], *rest = NULL;
    int n_words = 0;
    *result = 0;
    snprintf(copy, sizeof copy, "%s", value);
    for (char *word = strtok_r(copy, " ,", &rest); word != NULL;
         word = strtok_r(NULL, " ,", &rest)) {
        const bal_option_name *name = option->names;
        while (name->name != NULL && strcmp(name->name, word) != 0) ++name;
        if (name->name == NULL) return false;
        *result |= name->value;
        ++n_words;
    }
    return option->type == BAL_OPT_CHOICE ? n_words == 1 : n_words > 0;
}

bal_status bal_option_set(bal_job_source *job, const char *section, const char *key,
                          const char *value, const char *source)
{
    const bal_option *option = bal_options;
    const bal_option *end = bal_options + bal_n_options;
    while (option < end && (strcmp(option->section, section) != 0 || strcmp(option->key, key) != 0))
        ++option;
    if (option == end) return unknown(section, key, source);
    void *at = (char *)&job->job + option->offset;
    bool good = false;
    char *rest = NULL;
    errno = 0;
    switch (option->type) {
        case BAL_OPT_INT: {
            long long number = strtoll(value, &rest, 10);
            good = rest != value && *rest == 0 && errno == 0 && (double)number >= option->min &&
                   (double)number <= option->max;
            if (good) *(int64_t *)at = number;
            break;
        }
        case BAL_OPT_REAL: {
            double number = strtod(value, &rest);
            good = rest != value && *rest == 0 && number > option->min && number <= option->max;
            for (const bal_option_name *name = option->names; name != NULL && name->name; ++name)
                if (strcmp(name->name, value) == 0) good = true, number = -(double)name->value;
            if (good) *(double *)at = number;
            break;
        }
        case BAL_OPT_TEXT:
            good = strlen(value) < (size_t)option->max &&
                   strlen(option->key) + 3 + strlen(value) <= BAL_JOB_LINE_MAX && value[0] != ' ' &&
                   (value[0] == 0 || value[strlen(value) - 1] != ' ');
            for (const char *c = value; *c != 0; ++c) /* what a job file could not hold */
                good = good && *c != ';' && (unsigned char)*c >= ' ';
            if (good) snprintf(at, (size_t)option->max, "%s", value);
            break;
        case BAL_OPT_CHOICE:
        case BAL_OPT_FLAGS: {
            unsigned number;
            good = set_names(option, value, &number);
            if (good) memcpy(at, &number, sizeof number);
            break;
        }
    }
    if (!good) {
        char range[BAL_TEXT_BYTES];
        bal_option_range(option, range);
        return bal_fail(BAL_ERR_CONFIG, "%s: [%s] %s = %s; expected %s", source, section, key,
                        value, range);
    }
    snprintf(job->source[option - bal_options], sizeof *job->source, "%s", source);
    return BAL_OK;
}
