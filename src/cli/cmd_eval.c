/* cmd_eval.c: ballot eval */
#include <math.h>
#include <string.h>

#include "ballot/batch.h"
#include "ballot/data.h"
#include "ballot/evaluate.h"
#include "ballot/source.h"
#include "cli_impl.h"

typedef struct arguments {
    bal_common common;
    const char *model, *split;
} arguments;

static const struct argp_option options[] = {
    {"split", 'p', "dev|test", 0, "which text of the job (default: dev)", 0}, {0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    arguments *a = state->input;
    switch (key) {
        case 'p':
            if (strcmp(arg, "dev") != 0 && strcmp(arg, "test") != 0)
                argp_error(state, "--split=%s: expected dev or test", arg);
            a->split = arg;
            return 0;
        case ARGP_KEY_ARG:
            return bal_take_once(state, "model", arg, &a->model);
        case ARGP_KEY_END:
            if (a->model == NULL) argp_error(state, "a model is missing");
            if (a->common.job == NULL)
                argp_error(state, "--job JOB.ini is missing: it names the text");
            return 0;
        default:
            return ARGP_ERR_UNKNOWN;
    }
}

static bal_status print(bal_context *context, const arguments *a, const bal_model *model,
                        const bal_states *states, const bal_dataset *dataset, const bal_job *job,
                        const bal_score *score)
{
    char format[BAL_TEXT_BYTES];
    bal_formats_print(bal_model_formats(model), format, sizeof format);
    double nats = bal_score_nats(score),
           accuracy = (double)score->n_right / (double)score->n_tokens;
    bool all = job->data.task == BAL_TASK_LM &&
               (strcmp(a->split, "test") == 0 || job->data.dev_examples == 0 ||
                job->data.dev_examples >= dataset->n_examples);
    double bits = (double)score->loss / BAL_LOSS_UNITS_PER_NAT / log(2.0) /
                  (double)dataset->n_bytes; /* of a whole text only */
    char hex[17];
    bal_hex(bal_states_fingerprint(states, bal_model_tensors(model)), hex);
    if (a->common.json)
        return bal_print_json(
            context, json_pack("{s:o, s:s, s:s, s:s, s:I, s:f, s:o, s:o, s:f, s:s}", "model",
                               bal_json_text(a->model), "split", a->split, "format", format,
                               "kernels", a->common.machine.kernels->name, "tokens",
                               (json_int_t)score->n_tokens, "loss_nats", nats, "perplexity",
                               isfinite(exp(nats)) ? json_real(exp(nats)) : json_null(),
                               "bits_per_byte", all ? json_real(bits) : json_null(), "accuracy",
                               accuracy, "fingerprint", hex));
    if (!context->prints) return BAL_OK;
    printf("loss           %.4f nats per token, over %lld tokens (%s, %s)\n", nats,
           (long long)score->n_tokens, a->split, format);
    printf("perplexity     %.4f\n", exp(nats));
    if (all) printf("bits per byte  %.4f\n", bits);
    printf("accuracy       %.2f %% of %s tokens\nfingerprint    %s\n", 100.0 * accuracy,
           job->data.task == BAL_TASK_LM ? "next" : "masked", hex);
    return BAL_OK;
}

bal_status bal_command_eval(bal_context *context, int argc, char **argv)
{
    const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "MODEL",
        .doc = "Evaluate a model on a text of a job. MODEL is " BAL_MODEL_WORDS
               ".\v"
               "On several ranks the text is shared out; the result is the same.",
    };
    arguments a = {.common = BAL_COMMON_DEFAULT, .split = "dev"};
    bal_parse(context, &argp, "jsiJf", argc, argv, &a.common);
    bal_job_source source = {0};
    bal_bundle bundle = {0};
    bal_dataset dataset = {0};
    bal_forward *forward = NULL;
    bal_batch batch = {0};
    bal_score score = {0};
    const bal_job *job = &source.job;
    bal_status status =
        bal_job_read(a.common.job, a.common.overrides, a.common.n_overrides, NULL, &source);
    if (status == BAL_OK) status = bal_isa_check(&a.common);
    const char *text = strcmp(a.split, "dev") == 0 ? job->data.dev : job->data.test;
    if (status == BAL_OK && text[0] == 0)
        status =
            bal_fail(BAL_ERR_CONFIG, "%s: [data] %s is not set; name the file there, or with -s",
                     a.common.job, a.split);
    bal_source_options how = bal_common_source(&a.common, &source.job);
    bal_states states = {0}; /* for the fingerprint */
    how.keep_states = true;
    if (how.formats.matrices != BAL_F32) {
        states = bal_rule_of(source.job.rule.name)->states;
        how.states = &states;
    }
    if (status == BAL_OK) status = bal_source_open(a.model, &how, &bundle);
    if (status == BAL_OK) status = bal_job_open_data(&source.job, text, &bundle, &dataset);
    if (status == BAL_OK)
        status = bal_batch_init(&batch, bal_dataset_room(&dataset, job->data.batch));
    if (status == BAL_OK)
        status = bal_forward_create(bundle.model, a.common.machine.kernels, batch.room.tokens,
                                    job->data.context, &forward);
    status = bal_comm_agree(context->comm, status);
    if (status == BAL_OK)
        status = bal_evaluate(context->comm, forward, &dataset,
                              strcmp(a.split, "dev") == 0 ? job->data.dev_examples : 0,
                              job->data.batch, &batch, &score, NULL);
    if (status == BAL_OK)
        status = print(context, &a, bundle.model, &states, &dataset, &source.job, &score);
    bal_forward_destroy(&forward);
    bal_batch_clear(&batch);
    bal_dataset_clear(&dataset);
    bal_bundle_clear(&bundle);
    bal_states_clear(&states);
    bal_job_source_clear(&source);
    return status;
}
