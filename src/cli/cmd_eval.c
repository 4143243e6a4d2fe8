/* cmd_eval.c: ballot eval */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ballot/batch.h"
#include "ballot/evaluate.h"
#include "ballot/source.h"
#include "cli_impl.h"
#include "task_report.h"

#define TEST_FILE "test.json"

typedef struct arguments {
    bal_common common;
    const char *model, *predictions;
    bal_split split;
    bool keeps;               /* the model is a run, which keeps the result */
    char job[BAL_PATH_BYTES]; /* of a run, where the command names no text and no task */
} arguments;

static const struct argp_option options[] = {
    {"split", 'p', "dev|test|train", 0, "which text or rows (default: dev)", 0},
    {"predictions", 'P', "FILE", 0, "write what became of each row of a task there, as JSON lines",
     0},
    {0}};

static const char *const splits[BAL_N_SPLITS] = {"train", "dev", "test"};

/* A run has its own job, which serves where the command does not say what to evaluate on. */
static void find_job(arguments *a)
{
    static const char *const said[] = {"data.task=", "data.train=", "data.dev=", "data.test="};
    for (int i = 0; i < a->common.n_overrides; ++i)
        for (size_t k = 0; k < sizeof said / sizeof *said; ++k)
            if (strncmp(a->common.overrides[i], said[k], strlen(said[k])) == 0) return;
    bal_run_path(a->model, "job.ini", a->job);
    if (access(a->job, R_OK) == 0) a->common.job = a->job;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    arguments *a = state->input;
    int split = 0;
    switch (key) {
        case 'p':
            while (split < BAL_N_SPLITS && strcmp(arg, splits[split]) != 0) ++split;
            if (split == BAL_N_SPLITS)
                argp_error(state, "--split=%s: expected dev, test or train", arg);
            a->split = (bal_split)split;
            return 0;
        case 'P':
            a->predictions = arg;
            return 0;
        case ARGP_KEY_ARG:
            return bal_take_once(state, "model", arg, &a->model);
        case ARGP_KEY_END:
            if (a->model == NULL) argp_error(state, "a model is missing");
            if (a->common.job == NULL) find_job(a);
            if (a->common.job == NULL && a->common.n_overrides == 0)
                argp_error(state,
                           "--job JOB.ini is missing: it names the text or the task, as "
                           "-s data.task=data/tasks/sst2.ini does");
            return 0;
        default:
            return ARGP_ERR_UNKNOWN;
    }
}

/* All that an evaluation needs and finds. */
typedef struct evaluation {
    arguments a;
    bal_job_source source;
    bal_bundle bundle;
    bal_states states; /* for the fingerprint */
    bal_task *task;    /* NULL: of a text */
    bal_dataset dataset;
    bal_batch batch;
    bal_forward *forward;
    bal_score score;
    bal_outcomes outcomes; /* of a task */
} evaluation;

/* The line of a text. */
static bal_status print_text(bal_context *context, const evaluation *e, const char *format,
                             const char *hex)
{
    const bal_job *job = &e->source.job;
    const char *split = splits[e->a.split];
    double nats = bal_score_nats(&e->score),
           accuracy = (double)e->score.n_right / (double)e->score.n_tokens;
    bool masked = strcmp(job->data.task, "mlm") == 0;
    bool all = !masked && (e->a.split != BAL_SPLIT_DEV || job->data.dev_examples == 0 ||
                           job->data.dev_examples >= e->dataset.n_examples);
    double bits = (double)e->score.loss / BAL_LOSS_UNITS_PER_NAT / log(2.0) /
                  (double)e->dataset.n_bytes; /* of a whole text only */
    if (e->a.common.json)
        return bal_print_json(
            context, json_pack("{s:o, s:s, s:s, s:s, s:I, s:f, s:o, s:o, s:f, s:s}", "model",
                               bal_json_text(e->a.model), "split", split, "format", format,
                               "kernels", e->a.common.machine.kernels->name, "tokens",
                               (json_int_t)e->score.n_tokens, "loss_nats", nats, "perplexity",
                               isfinite(exp(nats)) ? json_real(exp(nats)) : json_null(),
                               "bits_per_byte", all ? json_real(bits) : json_null(), "accuracy",
                               accuracy, "fingerprint", hex));
    if (!context->prints) return BAL_OK;
    printf("loss           %.4f nats per token, over %lld tokens (%s, %s)\n", nats,
           (long long)e->score.n_tokens, split, format);
    printf("perplexity     %.4f\n", exp(nats));
    if (all) printf("bits per byte  %.4f\n", bits);
    printf("accuracy       %.2f %% of %s tokens\nfingerprint    %s\n", 100.0 * accuracy,
           masked ? "masked" : "next", hex);
    return BAL_OK;
}

/* What a program reads of a task. NULL: no memory. */
static json_t *json_of(const evaluation *e, const bal_task_result *result, const char *format,
                       const char *hex)
{
    json_t *object = bal_task_result_json(result);
    if (object == NULL) return NULL;
    json_object_set_new(object, "model", bal_json_text(e->a.model));
    json_object_set_new(object, "task", bal_json_text(e->source.job.data.task));
    json_object_set_new(object, "split", json_string(splits[e->a.split]));
    json_object_set_new(object, "format", json_string(format));
    json_object_set_new(object, "kernels", json_string(e->a.common.machine.kernels->name));
    json_object_set_new(object, "fingerprint", json_string(hex));
    return object;
}

/* Write what a test found into the run, where it stays. */
static bal_status keep(const char *run, json_t *object)
{
    char *text = json_dumps(object, JSON_INDENT(2));
    json_decref(object);
    if (text == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for JSON");
    bal_status status = bal_publish(run, TEST_FILE, text, strlen(text));
    free(text);
    return status;
}

static bal_status print_task(bal_context *context, const evaluation *e, const char *format,
                             const char *hex)
{
    bal_task_result result;
    BAL_TRY(bal_task_result_of(e->task, &e->dataset, &e->score, &e->outcomes, &result));
    if (e->a.predictions != NULL && context->prints)
        BAL_TRY(bal_task_write_predictions(e->a.predictions, e->task, e->a.split,
                                           e->bundle.tokenizer, &e->outcomes));
    if (e->a.common.json) return bal_print_json(context, json_of(e, &result, format, hex));
    if (!context->prints) return BAL_OK;
    if (e->a.keeps) BAL_TRY(keep(e->a.model, json_of(e, &result, format, hex)));
    printf("task           %s (%s, %s)\n", e->source.job.data.task, splits[e->a.split], format);
    bal_task_result_print(&result);
    printf("fingerprint    %s\n", hex);
    return BAL_OK;
}

static bal_status open_all(evaluation *e)
{
    const bal_job *job = &e->source.job;
    bool used[BAL_N_SPLITS] = {0};
    BAL_TRY(bal_job_read(bal_comm_alone(), e->a.common.job, e->a.common.overrides,
                         e->a.common.n_overrides, NULL, &e->source));
    BAL_TRY(bal_isa_check(&e->a.common));
    bal_source_options how = bal_common_source(&e->a.common, job);
    how.keep_states = true;
    if (how.formats.matrices != BAL_F32) {
        e->states = bal_job_states(job);
        how.states = &e->states;
    }
    used[e->a.split] = true;
    BAL_TRY(bal_job_open_task(job, used, &e->task));
    if (e->a.predictions != NULL && e->task == NULL)
        return bal_fail(BAL_ERR_CONFIG, "--predictions: the job has no task; set [data] task");
    BAL_TRY(bal_source_open(e->a.model, &how, &e->bundle));
    BAL_TRY(bal_job_open_data(job, e->task, e->a.split, false, &e->bundle, &e->dataset));
    if (e->dataset.n_examples == 0)
        return bal_fail(BAL_ERR_CONFIG, "%s: [data] %s is not set; name the file there, or with -s",
                        e->a.common.job != NULL ? e->a.common.job : "-s", splits[e->a.split]);
    if (e->a.predictions != NULL) e->dataset.aim.relative = false; /* log probabilities */
    BAL_TRY(bal_batch_init(&e->batch, bal_dataset_room(&e->dataset, job->data.batch)));
    BAL_TRY(bal_forward_create(e->bundle.model, e->a.common.machine.kernels, e->batch.room.tokens,
                               job->data.context, &e->forward));
    bal_forward_keep(e->forward, &(bal_keep){.base = e->bundle.base});
    return BAL_OK;
}

static bal_status evaluate(bal_context *context, evaluation *e)
{
    const bal_job *job = &e->source.job;
    char format[BAL_TEXT_BYTES], hex[17];
    BAL_TRY(bal_evaluate(context->comm, e->forward, &e->dataset,
                         e->a.split == BAL_SPLIT_DEV ? job->data.dev_examples : 0, job->data.batch,
                         &e->batch, &e->score, e->task != NULL ? &e->outcomes : NULL));
    bal_formats_print(bal_model_formats(e->bundle.model), format, sizeof format);
    bal_hex(bal_states_fingerprint(&e->states, bal_model_tensors(e->bundle.model)), hex);
    return (e->task != NULL ? print_task : print_text)(context, e, format, hex);
}

static void clear(evaluation *e)
{
    bal_outcomes_clear(&e->outcomes);
    bal_forward_destroy(&e->forward);
    bal_batch_clear(&e->batch);
    bal_dataset_clear(&e->dataset);
    bal_task_close(&e->task);
    bal_bundle_clear(&e->bundle);
    bal_states_clear(&e->states);
    bal_job_source_clear(&e->source);
}

bal_status bal_test_run(bal_context *context, const bal_common *common, const char *run)
{
    char job[BAL_PATH_BYTES], result[BAL_PATH_BYTES];
    int64_t tested = 0;
    bal_run_path(run, "job.ini", job);
    bal_run_path(run, TEST_FILE, result);
    if (context->prints) tested = access(result, F_OK) == 0;
    BAL_TRY(bal_comm_broadcast(context->comm, &tested, sizeof tested));
    if (tested) return BAL_OK;
    evaluation e = {
        .a = {.common = BAL_COMMON_DEFAULT, .model = run, .split = BAL_SPLIT_TEST, .keeps = true}};
    e.a.common.isa = common->isa;
    e.a.common.machine = common->machine;
    e.a.common.job = job;
    bal_status status = bal_comm_agree(context->comm, open_all(&e));
    if (status == BAL_OK) status = evaluate(context, &e);
    clear(&e);
    return status;
}

bal_status bal_command_eval(bal_context *context, int argc, char **argv)
{
    const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "MODEL",
        .doc = "Evaluate a model on a text or a task of a job. MODEL is " BAL_MODEL_WORDS
               ".\v"
               "The job of a run directory is its own unless --job or -s names a text or a task. "
               "On several "
               "ranks the examples are shared out; the result is the same.",
    };
    evaluation e = {.a = {.common = BAL_COMMON_DEFAULT, .split = BAL_SPLIT_DEV}};
    bal_parse(context, &argp, "jsiJfB", argc, argv, &e.a.common);
    bal_status status = bal_comm_agree(context->comm, open_all(&e));
    if (status == BAL_OK) status = evaluate(context, &e);
    clear(&e);
    return status;
}
