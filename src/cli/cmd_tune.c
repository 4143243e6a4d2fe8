/* cmd_tune.c: ballot tune: would another travel have been better for a run? Its votes are replayed
 * at a grid of them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ballot/evaluate.h"
#include "ballot/train.h"
#include "cli_impl.h"

typedef struct arguments {
    bal_common common;
    const char *run, *out;
} arguments;

static const struct argp_option options[] = {
    {"output", 'o', "OUT.h5", 0, "write the best model as a checkpoint; it must not exist", 0},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    arguments *a = state->input;
    switch (key) {
        case 'o':
            a->out = arg;
            return 0;
        case ARGP_KEY_ARG:
            return bal_take_once(state, "run directory", arg, &a->run);
        case ARGP_KEY_END:
            if (a->run == NULL) argp_error(state, "a run directory is missing");
            return 0;
        default:
            return ARGP_ERR_UNKNOWN;
    }
}

static const double factors[] = {0.5, 0.71, 0.84, 1.0, 1.19, 1.41, 2.0};
enum { N_FACTORS = sizeof factors / sizeof *factors, OWN = 3 }; /* OWN: that of the run */

typedef struct tuning {
    arguments a;
    bal_job_source source;
    bal_journal *journal;
    bal_bundle bundle; /* the model that votes move */
    bal_states states;
    char *base;                  /* its memory before any vote: tensors, then states */
    double travel;               /* of the run */
    bal_score scores[N_FACTORS]; /* on the dev examples */
    int best;
} tuning;

/* The root of density times the sum of all squared rates, or what the job says. */
static bal_status find_travel(tuning *t)
{
    const bal_job *job = &t->source.job;
    double sum = 0.0;
    t->travel = job->rule.travel;
    if (t->travel != BAL_TRAVEL_AUTO) return BAL_OK;
    for (int64_t i = 0; i < bal_journal_n(t->journal); ++i) {
        bal_journal_entry entry;
        BAL_TRY(bal_journal_read(t->journal, i, &entry));
        double rate = (double)entry.course.rate / BAL_RATE_ONE;
        sum += rate * rate;
    }
    t->travel = sqrt(sum * bal_job_density(job, bal_model_tensors(t->bundle.model)));
    return BAL_OK;
}

/* Open the base model, and copy its memory. */
static bal_status open_base(tuning *t)
{
    const bal_job *job = &t->source.job;
    t->states = bal_job_states(job);
    BAL_TRY(bal_open_start(job, job->model.path, &t->states, &t->bundle));
    const bal_tensors *tensors = bal_model_tensors(t->bundle.model);
    size_t n = bal_tensors_bytes(tensors), n_states = bal_states_bytes(&t->states, tensors);
    t->base = bal_alloc(n + n_states, 1);
    if (t->base == NULL)
        return bal_fail(BAL_ERR_MEMORY, "no memory for a copy of %s", job->model.path);
    memcpy(t->base, tensors->owned, n);
    memcpy(t->base + n, t->states.owned, n_states);
    return BAL_OK;
}

/* Let the model be what the votes make of the base at travel times factor. */
static bal_status rebuild(tuning *t, double factor, bool says)
{
    bal_tensors *tensors = bal_model_tensors(t->bundle.model);
    size_t n = bal_tensors_bytes(tensors);
    memcpy(tensors->owned, t->base, n);
    memcpy(t->states.owned, t->base + n, bal_states_bytes(&t->states, tensors));
    return bal_replay(&t->source.job, &t->a.common.machine, t->journal, bal_journal_n(t->journal),
                      factor, says, tensors, &t->states);
}

static bal_status evaluate(const tuning *t, bal_score *score)
{
    const bal_job *job = &t->source.job;
    const bal_bundle *bundle = &t->bundle;
    const bool used[BAL_N_SPLITS] = {[BAL_SPLIT_DEV] = true};
    bal_task *task = NULL;
    bal_dataset dev = {0};
    bal_batch batch = {0};
    bal_forward *forward = NULL;
    bal_status status = bal_job_open_task(job, used, &task);
    if (status == BAL_OK) status = bal_job_open_data(job, task, BAL_SPLIT_DEV, false, bundle, &dev);
    if (status == BAL_OK && dev.n_examples == 0)
        status = bal_fail(BAL_ERR_CONFIG, "%s: its job has no [data] dev to compare models on",
                          t->a.run);
    if (status == BAL_OK) status = bal_batch_init(&batch, bal_dataset_room(&dev, job->data.batch));
    if (status == BAL_OK)
        status = bal_forward_create(bundle->model, t->a.common.machine.kernels, batch.room.tokens,
                                    job->data.context, &forward);
    if (status == BAL_OK) bal_forward_keep(forward, &(bal_keep){.base = bundle->base});
    if (status == BAL_OK)
        status = bal_evaluate(bal_comm_alone(), forward, &dev, job->data.dev_examples,
                              job->data.batch, &batch, score, NULL);
    bal_forward_destroy(&forward);
    bal_batch_clear(&batch);
    bal_dataset_clear(&dev);
    bal_task_close(&task);
    return status;
}

/* Only what a rate has moved can be tried at other rates. */
static bal_status check_run(const tuning *t)
{
    if (!bal_rule_of(t->source.job.rule.name)->takes_rate)
        return bal_fail(BAL_ERR_CONFIG,
                        "%s: its rule has no travel; tune a run of one that has, as carry",
                        t->a.run);
    if (bal_journal_n(t->journal) == 0)
        return bal_fail(BAL_ERR_CONFIG, "%s: the run has not taken a step yet", t->a.run);
    return BAL_OK;
}

/* What of the dev score makes the best one: none of these models is a later one. */
static bal_best best_by(const tuning *t)
{
    bool has_metric = t->scores[OWN].merit >= 0;
    return has_metric && t->source.job.run.best == BAL_BEST_METRIC ? BAL_BEST_METRIC
                                                                   : BAL_BEST_LOSS;
}

/* Of equal scores the run's own is the best one. */
static bal_status try_factors(tuning *t)
{
    for (int i = 0; i < N_FACTORS; ++i) {
        BAL_TRY(rebuild(t, factors[i], i == 0));
        BAL_TRY(evaluate(t, &t->scores[i]));
    }
    t->best = OWN;
    for (int i = 0; i < N_FACTORS; ++i)
        if (bal_score_better(&t->scores[i], &t->scores[t->best], best_by(t))) t->best = i;
    return BAL_OK;
}

static bal_status write_best(tuning *t)
{
    uint64_t fingerprint;
    if (t->a.out == NULL) return BAL_OK;
    BAL_TRY(rebuild(t, factors[t->best], false));
    return bal_write_checkpoint(t->a.out, bal_journal_n(t->journal), &t->bundle, &t->states,
                                bal_journal_id(t->journal), &t->source.job, &t->a.common.machine,
                                &fingerprint);
}

/* Is no travel better than another? */
static bool all_equal(const tuning *t)
{
    for (int i = 0; i < N_FACTORS; ++i)
        if (t->scores[i].loss != t->scores[OWN].loss || t->scores[i].merit != t->scores[OWN].merit)
            return false;
    return true;
}

static const char *advice(const tuning *t)
{
    double factor = factors[t->best];
    if (all_equal(t))
        return "nothing can be told: all of these travels give the same dev score; the votes have "
               "hardly moved the model";
    if (factor > 1.0) return "the run moved too little: start the next one with more travel";
    if (factor < 1.0) return "the run moved too far: start the next one with less travel";
    return "its travel was right";
}

static const char *decides(const tuning *t)
{
    return best_by(t) == BAL_BEST_METRIC ? "metric" : "loss";
}

static json_t *tried_to_json(const tuning *t)
{
    json_t *tried = json_array();
    for (int i = 0; i < N_FACTORS; ++i) {
        const bal_score *score = &t->scores[i];
        json_t *metric = score->merit >= 0 ? json_real(bal_merit(score->merit)) : json_null();
        json_array_append_new(tried, json_pack("{s:f, s:f, s:f, s:o}", "factor", factors[i],
                                               "travel", t->travel * factors[i], "dev_loss_nats",
                                               bal_score_nats(score), "dev_metric", metric));
    }
    return tried;
}

static void print_table(const tuning *t)
{
    bool has_metric = t->scores[OWN].merit >= 0;
    printf("factor  travel    dev loss%s\n", has_metric ? "  dev metric" : "");
    for (int i = 0; i < N_FACTORS; ++i) {
        printf("%6.2f  %-8.4g  %-8.4f", factors[i], t->travel * factors[i],
               bal_score_nats(&t->scores[i]));
        if (has_metric) printf("  %8.2f %%", 100.0 * bal_merit(t->scores[i].merit));
        if (i == t->best && !all_equal(t)) printf("  best, by the %s", decides(t));
        printf("\n");
    }
}

static bal_status print(const bal_context *context, const tuning *t)
{
    if (t->a.common.json)
        return bal_print_json(
            context, json_pack("{s:o, s:f, s:s, s:s}", "tried", tried_to_json(t), "best_factor",
                               factors[t->best], "best_by", decides(t), "advice", advice(t)));
    print_table(t);
    printf("%s: %s\n", t->a.run, advice(t));
    if (t->a.out != NULL) printf("%s: the best of these models\n", t->a.out);
    return BAL_OK;
}

bal_status bal_command_tune(bal_context *context, int argc, char **argv)
{
    const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "RUN",
        .doc =
            "Replay the votes of a run at other travels, from 0.5 to 2 times its own, and "
            "compare the models on the dev text or rows: updates and evaluations only.\v"
            "Votes depend on where they were taken, so the best factor says on which side the "
            "right travel lies; it lies farther than that."};
    tuning t = {.a.common = BAL_COMMON_DEFAULT};
    bal_parse(context, &argp, "itJ", argc, argv, &t.a.common);
    if (bal_leaves_to_rank_0(context)) return BAL_OK;
    char job[BAL_PATH_BYTES], journal[BAL_PATH_BYTES];
    bal_run_path(t.a.run, "job.ini", job);
    bal_run_path(t.a.run, "ballots.journal", journal);
    bal_status status = bal_isa_check(&t.a.common);
    if (status == BAL_OK && t.a.out != NULL) status = bal_check_output(t.a.out);
    if (status == BAL_OK) status = bal_journal_open(journal, false, &t.journal);
    if (status == BAL_OK) status = bal_job_read(bal_comm_alone(), job, NULL, 0, t.a.run, &t.source);
    if (status == BAL_OK) status = check_run(&t);
    if (status == BAL_OK) status = open_base(&t);
    if (status == BAL_OK) status = find_travel(&t);
    if (status == BAL_OK) status = try_factors(&t);
    if (status == BAL_OK) status = write_best(&t);
    if (status == BAL_OK) status = print(context, &t);
    bal_bundle_clear(&t.bundle);
    bal_states_clear(&t.states);
    free(t.base);
    bal_journal_close(&t.journal);
    bal_job_source_clear(&t.source);
    return status;
}
