/* job.c: a job's defaults, and what its options mean for a model. */
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ballot/job.h"

bal_job bal_job_default(void)
{
    return (bal_job){
#define SECTION(name)
#define END(name)
#define TEXT(section, key, value, ...) .section.key = value,
#define INT(section, key, value, ...) .section.key = value,
#define REAL(section, key, value, ...) .section.key = value,
#define CHOICE(type, section, key, value, ...) .section.key = value,
#define LISTED(section, key, value, ...) .section.key = value,
#define FLAGS(section, key, value, ...) .section.key = value,
#define FORMER(section, key, value)
#include "ballot/job_options.def"
    };
}

bal_formats bal_job_formats(const bal_job *job)
{
    bal_formats formats = {
        .matrices = job->model.codes, .group = job->model.group, .rounding = job->model.rounding};
    const char *embedding = job->model.embedding;
    snprintf(formats.patterns, sizeof formats.patterns, "%s%s%.32s", job->model.formats,
             embedding[0] == 0            ? ""
             : job->model.formats[0] == 0 ? "embedding="
                                          : " embedding=",
             embedding);
    return formats;
}

bal_way bal_job_way(const bal_job *job)
{
    bal_way way = bal_ways[job->vote.probe];
    if (way.n_points == 1) way.team = (int)job->vote.team;
    way.n_bits = (int)job->vote.bits;
    return way;
}

bool bal_job_finds_travel(const bal_job *job)
{
    return job->rule.travel == BAL_TRAVEL_AUTO && bal_rule_of(job->rule.name)->takes_rate;
}

bal_journal_form bal_job_journal(const bal_job *job)
{
    bal_way way = bal_job_way(job);
    return (bal_journal_form){
        .n_bits = way.n_bits,
        .n_points = way.n_points,
        .has_merit = bal_job_has_task(job),
        .has_course = bal_job_finds_travel(job) || bal_rule_of(job->rule.name)->takes_slope};
}

bal_ballot_shape bal_job_ballot(const bal_job *job)
{
    return (bal_ballot_shape){.n_slots = (int)job->vote.slots, .n_bits = (int)job->vote.bits};
}

/* The layer that a tensor is of; -1: of none. */
static int layer_of(const bal_tensor *tensor)
{
    const char *number = strstr(tensor->name, "layers.");
    return number == NULL ? -1 : atoi(number + strlen("layers."));
}

/* Is a tensor in the upper half of the layers, or after them all? */
static bool is_upper(const bal_tensors *tensors, int index)
{
    int last = tensors->n - 1; /* of the last layer */
    while (last > 0 && layer_of(&tensors->at[last]) < 0) --last;
    int n_layers = layer_of(&tensors->at[last]) + 1;
    return index > last || layer_of(&tensors->at[index]) >= n_layers / 2;
}

/* Is it of the layers that layers.FIRST-LAST names? */
static bool is_between(const char *pattern, const bal_tensor *tensor)
{
    int first, last, end, layer = layer_of(tensor);
    return sscanf(pattern, "layers.%4d-%4d%n", &first, &last, &end) == 2 && pattern[end] == 0 &&
           first >= 0 && layer >= first && layer <= last;
}

static bool matches(const char *patterns, const bal_tensors *tensors, int index)
{
    const bal_tensor *tensor = &tensors->at[index];
    char copy[BAL_TEXT_BYTES], *rest = NULL;
    snprintf(copy, sizeof copy, "%s", patterns);
    for (char *pattern = strtok_r(copy, " ", &rest); pattern != NULL;
         pattern = strtok_r(NULL, " ", &rest))
        if (strcmp(pattern, "upper") == 0
                ? is_upper(tensors, index)
                : is_between(pattern, tensor) || fnmatch(pattern, tensor->name, 0) == 0)
            return true;
    return false;
}

static bool is_voted_on(const bal_job *job, const bal_tensors *tensors, int index)
{
    unsigned kind = tensors->at[index].role == BAL_GAIN ? BAL_TRAIN_GAINS : BAL_TRAIN_CODES;
    return (job->vote.train & kind) != 0 && matches(job->vote.tensors, tensors, index);
}

bal_status bal_job_tensors(const bal_job *job, const bal_tensors *tensors, bool *on_ballot)
{
    bool any = false;
    for (int i = 0; i < tensors->n; ++i) {
        bool is = is_voted_on(job, tensors, i);
        if (on_ballot != NULL) on_ballot[i] = is;
        any |= is;
    }
    if (!any)
        return bal_fail(BAL_ERR_CONFIG,
                        "[vote] tensors = %s: no tensor of the model matches; "
                        "see their names with: ballot inspect %s",
                        job->vote.tensors, job->model.path);
    return BAL_OK;
}

/* Number the layers that vote, from 0; a tensor of no such layer has the number of the last before
 * it, or 0. @return how many there are */
static int number_layers(const bal_tensors *tensors, const bool *on_ballot, int *number)
{
    int n = 0, last = -1;
    for (int i = 0; i < tensors->n; ++i) {
        int layer = layer_of(&tensors->at[i]);
        if (layer >= 0 && on_ballot[i] && layer != last) {
            last = layer;
            ++n;
        }
        number[i] = n > 0 ? n - 1 : 0;
    }
    return n;
}

bal_status bal_job_rota(const bal_job *job, const bal_tensors *tensors, const bool *on_ballot,
                        bal_rota *rota)
{
    int n = (int)job->vote.blocks;
    bool *turn = bal_alloc((size_t)n * (size_t)tensors->n, sizeof *turn);
    *rota = (bal_rota){.n = n,
                       .by_chance = job->vote.turns == BAL_TURNS_RANDOM,
                       .n_tensors = tensors->n,
                       .turn = turn};
    int *number = bal_alloc((size_t)tensors->n, sizeof *number);
    if (number == NULL || turn == NULL) {
        free(number);
        return bal_fail(BAL_ERR_MEMORY, "no memory for the turns of %d blocks", n);
    }
    int n_layers = number_layers(tensors, on_ballot, number);
    for (int i = 0; i < tensors->n && n <= n_layers; ++i)
        if (on_ballot[i]) turn[number[i] * n / n_layers * tensors->n + i] = true;
    free(number);
    if (n <= n_layers) return BAL_OK;
    return bal_fail(BAL_ERR_CONFIG,
                    "[vote] blocks = %d: %d layers vote, and each block needs one; set it lower", n,
                    n_layers);
}

void bal_rota_clear(bal_rota *rota)
{
    free((void *)rota->turn);
    *rota = (bal_rota){0};
}

uint32_t bal_job_streams(const bal_job *job)
{
    return job->vote.directions == BAL_DIRECTIONS_WALSH && job->vote.slots > BAL_WALSH_SLOTS
               ? BAL_STREAM_VERSION_WIDE
               : BAL_STREAM_VERSION;
}

bool bal_job_has_streams(const bal_job *job, uint32_t version)
{
    return version == BAL_STREAM_VERSION || version == bal_job_streams(job);
}

/* A step of a four-bit code is about 17 times as large in weight as one of int8. If all of them
 * moved at once, the loss would say next to nothing about a direction. */
double bal_job_density(const bal_job *job, const bal_tensors *tensors)
{
    if (job->vote.density != BAL_DENSITY_AUTO) return job->vote.density;
    for (int i = 0; i < tensors->n; ++i)
        if (is_voted_on(job, tensors, i) && bal_format_is_nibbles(tensors->at[i].format))
            return 0.02;
    return 1.0;
}

bal_measure bal_job_measure(const bal_job *job, uint32_t streams, const bal_machine *machine,
                            const bal_tensors *tensors, const bool *on_ballot)
{
    return (bal_measure){
        .kernels = machine->kernels,
        .options = {.kind = streams == BAL_STREAM_VERSION_WIDE ? BAL_DIRECTIONS_WALSH_WIDE
                                                               : job->vote.directions,
                    .noise = job->vote.noise,
                    .density = bal_job_density(job, tensors)},
        .seed = (uint64_t)job->run.seed,
        .on_ballot = on_ballot};
}

bal_rule_options bal_job_rule(const bal_job *job)
{
    return (bal_rule_options){.kind = bal_rule_of(job->rule.name),
                              .travel = job->rule.travel,
                              .schedule = job->rule.schedule,
                              .warmup = job->rule.warmup,
                              .eta = job->rule.eta,
                              .beta1 = job->rule.beta1,
                              .beta2 = job->rule.beta2,
                              .lr = job->rule.lr,
                              .z = job->rule.z_score,
                              .state_group = job->rule.states};
}

bal_states bal_job_states(const bal_job *job)
{
    bal_rule_options rule = bal_job_rule(job);
    return bal_rule_states(&rule);
}

bal_optim_options bal_job_optim_options(const bal_job *job, const bal_machine *machine,
                                        const bal_measure *measure)
{
    return (bal_optim_options){.rule = bal_job_rule(job),
                               .measure = *measure,
                               .ballot = bal_job_ballot(job),
                               .n_steps = job->run.steps,
                               .tally = machine->tally};
}

bal_status bal_job_optim(const bal_job *job, const bal_machine *machine, bal_tensors *tensors,
                         const bal_states *states, const bal_measure *measure, bal_optim **optim)
{
    bal_optim_options options = bal_job_optim_options(job, machine, measure);
    return bal_optim_create(tensors, states, &options, optim);
}

bal_status bal_job_check(const bal_job *job)
{
    int64_t team = bal_job_way(job).team;
    if (job->rule.warmup > job->run.steps)
        return bal_fail(BAL_ERR_CONFIG,
                        "[rule] warmup = %lld: is longer than the run, of %lld steps; set it lower",
                        (long long)job->rule.warmup, (long long)job->run.steps);
    if (job->vote.slots % team != 0)
        return bal_fail(BAL_ERR_CONFIG,
                        "[vote] slots = %lld: one-sided slots are whole teams of %lld; set it to "
                        "a multiple, or [vote] team to a divisor",
                        (long long)job->vote.slots, (long long)team);
    if (job->vote.directions == BAL_DIRECTIONS_SHARED && team > 1)
        return bal_fail(BAL_ERR_CONFIG,
                        "[vote] directions = shared: one-sided slots share a mini-batch too, and "
                        "would all find the same; set probe = two-sided");
    if (bal_rule_of(job->rule.name)->takes_slope && job->vote.audit > 0.0 &&
        job->vote.audit_action == BAL_AUDIT_EXCLUDE)
        return bal_fail(BAL_ERR_CONFIG,
                        "[vote] audit_action = exclude: the length of a step of this rule follows "
                        "from what all ranks have found; set it to stop or warn");
    if (job->run.best == BAL_BEST_LAST && job->run.patience > 0)
        return bal_fail(BAL_ERR_CONFIG,
                        "[run] patience = %lld: with best = last no evaluation is worse than the "
                        "one before; leave it out, or set best to metric or loss",
                        (long long)job->run.patience);
    return BAL_OK;
}

/* Do rule and ballots fit each other? On any machine. */
static bal_status check_rule(const bal_job *job)
{
    const bal_machine machine = {0};
    const bal_tensors none = {0}; /* the model is not read yet */
    bal_measure measure = bal_job_measure(job, bal_job_streams(job), &machine, &none, NULL);
    bal_optim_options options = bal_job_optim_options(job, &machine, &measure);
    bal_status (*check)(const bal_optim_options *) = options.rule.kind->check;
    return check == NULL ? BAL_OK : check(&options);
}

bool bal_job_has_task(const bal_job *job)
{
    size_t n = strlen(job->data.task);
    return n > 4 && strcmp(job->data.task + n - 4, ".ini") == 0;
}

static bool is_masked(const bal_job *job) { return strcmp(job->data.task, "mlm") == 0; }

static bal_status check_model(const bal_job *job, const bal_model *model)
{
    bool encoder = (bal_model_shape(model)->features & BAL_ENCODER) != 0;
    int64_t most = bal_model_shape(model)->max_tokens;
    if (encoder && !is_masked(job))
        return bal_fail(BAL_ERR_CONFIG,
                        "[data] task = %s: the model is an encoder, in which every token sees the "
                        "next one; set task = mlm",
                        job->data.task);
    if (!encoder && is_masked(job))
        return bal_fail(BAL_ERR_CONFIG,
                        "[data] task = mlm: the model is a decoder, in which no token sees those "
                        "after it; set task = lm");
    if (job->data.context > most)
        return bal_fail(BAL_ERR_CONFIG,
                        "[data] context = %lld: the model %s reads at most %lld tokens",
                        (long long)job->data.context, job->model.path, (long long)most);
    return BAL_OK;
}

bal_status bal_job_open_task(const bal_job *job, const bool used[BAL_N_SPLITS], bal_task **task)
{
    const char *rows[BAL_N_SPLITS] = {job->data.train, job->data.dev, job->data.test};
    bal_task_options options = {
        .wording = job->data.prompt[0] != 0 ? job->data.prompt : NULL,
        .n = {job->data.train_rows, job->data.dev_examples, job->data.test_rows},
        .shots = job->data.shots,
        .seed = (uint64_t)job->data.split_seed,
        .score = job->data.score};
    *task = NULL;
    if (!bal_job_has_task(job)) return BAL_OK;
    for (int i = 0; i < BAL_N_SPLITS; ++i) {
        options.rows[i] = rows[i][0] != 0 ? rows[i] : NULL;
        options.unused[i] = !used[i];
    }
    BAL_TRY(bal_task_open(job->data.task, &options, task));
    if (job->data.score == BAL_TASK_SCORE_DEFAULT || !bal_task_about(*task).writes) return BAL_OK;
    bal_task_close(task);
    return bal_fail(BAL_ERR_CONFIG,
                    "[data] score: answers to %s are written, not chosen by a score; leave it out",
                    job->data.task);
}

/* Rows of each label in a mini-batch, on average: with fewer than 2 centring leaves nothing of a
 * row, with 8 little is lost. */
enum { CENTRED_ROWS_MIN = 2, CENTRED_ROWS = 8 };

static bool can_centre(const bal_task_facts *about)
{
    return about->same_answers && about->n_labels <= BAL_CENTRED_LABELS_MAX;
}

static bal_status check_centred(const bal_job *job, const bal_task_facts *about)
{
    if (!can_centre(about))
        return bal_fail(
            BAL_ERR_CONFIG,
            "[data] objective = centred is for tasks whose rows have the same answers, at "
            "most %d; set it to candidates",
            BAL_CENTRED_LABELS_MAX);
    int n_rows = CENTRED_ROWS_MIN * about->n_labels;
    if (job->data.batch >= n_rows) return BAL_OK;
    return bal_fail(
        BAL_ERR_CONFIG,
        "[data] objective = centred takes means over a mini-batch; set batch to at least "
        "%d, two rows for each label",
        n_rows);
}

/* What auto stands for. */
static bal_objective own_objective(const bal_job *job, const bal_task_facts *about, bool learns)
{
    if (about->writes) return BAL_OBJECTIVE_LABEL;
    bool centres = learns && can_centre(about) && job->data.batch >= CENTRED_ROWS * about->n_labels;
    return centres ? BAL_OBJECTIVE_CENTRED : BAL_OBJECTIVE_CANDIDATES;
}

static bal_status choose_objective(const bal_job *job, const bal_task_facts *about, bool learns,
                                   bal_objective *objective)
{
    bool is_given = learns && job->data.objective != BAL_OBJECTIVE_AUTO;
    *objective = is_given ? (bal_objective)job->data.objective : own_objective(job, about, learns);
    if (about->writes && *objective != BAL_OBJECTIVE_LABEL && *objective != BAL_OBJECTIVE_F1)
        return bal_fail(
            BAL_ERR_CONFIG,
            "[data] objective: answers to %s are written, not chosen; set it to label or f1",
            job->data.task);
    return *objective == BAL_OBJECTIVE_CENTRED ? check_centred(job, about) : BAL_OK;
}

static bal_status open_split(const bal_job *job, const bal_task *task, bal_split split, bool learns,
                             const bal_tokenizer *tokenizer, bal_dataset *dataset)
{
    bal_task_facts about = bal_task_about(task);
    bal_example_options options = {.context = job->data.context,
                                   .balanced = learns && job->data.balanced};
    BAL_TRY(choose_objective(job, &about, learns, &options.objective));
    return bal_task_dataset(task, tokenizer, split, &options, dataset);
}

bal_status bal_job_open_text(const bal_job *job, const char *path, const bal_bundle *bundle,
                             bal_dataset *dataset)
{
    bal_corpus_options options = {.task = is_masked(job) ? BAL_TASK_MLM : BAL_TASK_LM,
                                  .examples = job->data.examples,
                                  .context = job->data.context,
                                  .as_0_1 = job->as_0_1};
    BAL_TRY(check_model(job, bundle->model));
    return bal_corpus_open(path, bundle->tokenizer, &options, dataset);
}

bal_status bal_job_open_data(const bal_job *job, const bal_task *task, bal_split split, bool learns,
                             const bal_bundle *bundle, bal_dataset *dataset)
{
    static const char *const names[BAL_N_SPLITS] = {"train", "dev", "test"};
    const char *texts[BAL_N_SPLITS] = {job->data.train, job->data.dev, job->data.test};
    *dataset = (bal_dataset){0};
    if (task == NULL && texts[split][0] != 0 && access(texts[split], R_OK) != 0)
        return bal_fail(
            BAL_ERR_INPUT,
            "[data] %s = %s: cannot be read: %s; paths start in the folder that ballot is "
            "started in",
            names[split], texts[split], strerror(errno));
    if (task == NULL && texts[split][0] != 0)
        return bal_job_open_text(job, texts[split], bundle, dataset);
    BAL_TRY(check_model(job, bundle->model));
    return task != NULL && bal_task_n(task, split) > 0
               ? open_split(job, task, split, learns, bundle->tokenizer, dataset)
               : BAL_OK;
}

void bal_inputs_clear(bal_inputs *inputs)
{
    bal_dataset_clear(&inputs->train);
    bal_dataset_clear(&inputs->dev);
    bal_task_close(&inputs->task);
    bal_bundle_clear(&inputs->bundle);
}

/* Prompts are read by one base, which is the model that the run starts from. */
static bal_status check_positions(const bal_job *job, const bal_inputs *inputs)
{
    bool answer = job->vote.positions == BAL_POSITIONS_ANSWER;
    if (inputs->bundle.base_id.path[0] != 0)
        return bal_fail(BAL_ERR_CONFIG,
                        "[model] path = %s: was tuned with positions = answer, so that its prompts "
                        "are read by %s: start from that, or from another model that reads them "
                        "itself",
                        job->model.path, inputs->bundle.base_id.path);
    if (answer && inputs->task != NULL && bal_task_about(inputs->task).writes)
        return bal_fail(BAL_ERR_CONFIG,
                        "[vote] positions = answer: answers to %s are written, not chosen; leave "
                        "it out",
                        job->data.task);
    return BAL_OK;
}

/* The test rows of a task are read when training is over: what is wrong with them is said now. */
static bal_status check_test(const bal_job *job, const bal_inputs *inputs)
{
    bal_dataset test;
    if (inputs->task == NULL) return BAL_OK;
    BAL_TRY(bal_job_open_data(job, inputs->task, BAL_SPLIT_TEST, false, &inputs->bundle, &test));
    bal_dataset_clear(&test);
    return BAL_OK;
}

bal_status bal_inputs_open(const bal_job *job, bal_inputs *inputs)
{
    bal_source_options base = {.formats = bal_job_formats(job)};
    const bool used[BAL_N_SPLITS] = {true, true, true};
    *inputs = (bal_inputs){0};
    const bal_bundle *bundle = &inputs->bundle;
    bal_status status = bal_job_check(job);
    if (status == BAL_OK) status = check_rule(job);
    if (status == BAL_OK) status = bal_source_outline(job->model.path, &base, &inputs->bundle);
    if (status == BAL_OK) status = bal_job_open_task(job, used, &inputs->task);
    if (status == BAL_OK)
        status =
            bal_job_open_data(job, inputs->task, BAL_SPLIT_TRAIN, true, bundle, &inputs->train);
    if (status == BAL_OK)
        status = bal_job_open_data(job, inputs->task, BAL_SPLIT_DEV, false, bundle, &inputs->dev);
    if (status == BAL_OK) status = check_positions(job, inputs);
    if (status == BAL_OK) status = check_test(job, inputs);
    if (status == BAL_OK)
        status = bal_job_tensors(job, bal_model_tensors(inputs->bundle.model), NULL);
    if (status != BAL_OK) bal_inputs_clear(inputs);
    return status;
}

int64_t bal_job_step_bytes(const bal_job *job) { return bal_ballot_bytes(bal_job_ballot(job)) + 8; }
