/* cmd_replay.c: ballot replay */
#include <libgen.h>
#include <stdlib.h>
#include <string.h>

#include "ballot/source.h"
#include "ballot/train.h"
#include "cli_impl.h"

typedef struct arguments {
    bal_common common;
    const char *base, *journal, *out;
    int64_t step; /* -1: all */
} arguments;

static const struct argp_option options[] = {
    {"output", 'o', "OUT.h5", 0, "checkpoint to write (required); it must not exist", 0},
    {"step", 'n', "N", 0, "stop after N steps (default: all of a journal that is whole)", 0},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    arguments *a = state->input;
    switch (key) {
        case 'o':
            a->out = arg;
            return 0;
        case 'n':
            a->step = bal_take_int(state, "step", arg, 0, INT64_MAX);
            return 0;
        case ARGP_KEY_ARG:
            if (a->base == NULL)
                a->base = arg;
            else if (a->journal == NULL)
                a->journal = arg;
            else
                argp_error(state, "more than base and journal: %s", arg);
            return 0;
        case ARGP_KEY_END:
            if (a->journal == NULL) argp_error(state, "base model and journal are needed");
            if (a->out == NULL) argp_error(state, "-o OUT.h5 is missing");
            return 0;
        default:
            return ARGP_ERR_UNKNOWN;
    }
}

static bal_status write_out(bal_context *context, const arguments *a, const bal_job *job,
                            const bal_bundle *bundle, const bal_states *states,
                            const bal_run_id *id)
{
    uint64_t fingerprint;
    char hex[17];
    BAL_TRY(bal_write_checkpoint(a->out, a->step, bundle, states, id, job, &a->common.machine,
                                 &fingerprint));
    bal_hex(fingerprint, hex);
    if (a->common.json)
        return bal_print_json(context, json_pack("{s:o, s:I, s:s}", "output", bal_json_text(a->out),
                                                 "step", (json_int_t)a->step, "fingerprint", hex));
    printf("%s: step %lld, fingerprint %s\n", a->out, (long long)a->step, hex);
    return BAL_OK;
}

bal_status bal_command_replay(bal_context *context, int argc, char **argv)
{
    const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "BASE JOURNAL",
        .doc =
            "Rebuild the model of any step from the base model and the journal: updates "
            "only, no forward pass. BASE is " BAL_MODEL_WORDS
            ". JOURNAL is a run's ballots.journal, or the run directory.\v"
            "The job is job.ini beside the journal unless --job names another.",
    };
    arguments a = {.common = BAL_COMMON_DEFAULT, .step = -1};
    bal_parse(context, &argp, "jitJ", argc, argv, &a.common);
    if (bal_leaves_to_rank_0(context)) return BAL_OK;
    char beside[4096], inside[4096];
    bal_job_source source = {0};
    bal_bundle bundle = {0};
    bal_journal *journal = NULL;
    if (bal_is_dir(a.journal)) { /* of a run */
        snprintf(inside, sizeof inside, "%s/ballots.journal", a.journal);
        a.journal = inside;
    }
    if (a.common.job == NULL) {
        char folder[4000];
        snprintf(folder, sizeof folder, "%s", a.journal);
        snprintf(beside, sizeof beside, "%s/job.ini", dirname(folder));
        a.common.job = beside;
    }
    bal_status status = bal_isa_check(&a.common);
    if (status == BAL_OK) status = bal_check_output(a.out);
    if (status == BAL_OK)
        status = bal_job_read(bal_comm_alone(), a.common.job, NULL, 0, a.journal, &source);
    if (status == BAL_OK) status = bal_journal_open(a.journal, false, &journal);
    if (status == BAL_OK && bal_journal_tail(journal) > 0 && a.step < 0)
        status = bal_fail(BAL_ERR_INPUT,
                          "%s: %lld bytes after step %lld are torn or damaged; --step=%lld takes "
                          "what is good",
                          a.journal, (long long)bal_journal_tail(journal),
                          (long long)bal_journal_n(journal), (long long)bal_journal_n(journal));
    bal_states states = bal_job_states(&source.job);
    if (status == BAL_OK) status = bal_open_start(&source.job, a.base, &states, &bundle);
    if (status == BAL_OK) {
        if (a.step < 0) a.step = bal_journal_n(journal);
        status = bal_replay(&source.job, &a.common.machine, journal, a.step, 1.0, true,
                            bal_model_tensors(bundle.model), &states);
    }
    if (status == BAL_OK)
        status = write_out(context, &a, &source.job, &bundle, &states, bal_journal_id(journal));
    bal_journal_close(&journal);
    bal_bundle_clear(&bundle);
    bal_states_clear(&states);
    bal_job_source_clear(&source);
    return status;
}
