/* job.c: a job's defaults, and what its options mean for a model. */
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "train_impl.h"

bal_job bal_job_default(void)
{
    return (bal_job){
        .model = {.formats = {.matrices = BAL_I8, .group = BAL_GROUP_DEFAULT}},
        .data = {.task = BAL_TASK_LM, .examples = BAL_EXAMPLES_WINDOWS, .context = 128, .batch = 8},
        .vote = {.slots = 64,
                 .perturb = bal_perturb_options_default(),
                 .train = BAL_TRAIN_CODES | BAL_TRAIN_GAINS,
                 .tensors = "*"},
        .rule = bal_rule_options_default(),
        .run = {.steps = 400,
                .seed = 1,
                .eval_every = 20,
                .checkpoint_every = 100,
                .check_every = 10,
                .keep = 2},
    };
}

static bool matches(const char *patterns, const char *name)
{
    char copy[BAL_TEXT_BYTES], *rest = NULL;
    snprintf(copy, sizeof copy, "%s", patterns);
    for (char *pattern = strtok_r(copy, " ", &rest); pattern != NULL;
         pattern = strtok_r(NULL, " ", &rest))
        if (fnmatch(pattern, name, 0) == 0) return true;
    return false;
}

bal_status bal_job_tensors(const bal_job *job, const bal_tensors *tensors, bool *on_ballot)
{
    bool any = false;
    for (int i = 0; i < tensors->n; ++i) {
        const bal_tensor *tensor = &tensors->at[i];
        unsigned kind = tensor->role == BAL_GAIN ? BAL_TRAIN_GAINS : BAL_TRAIN_CODES;
        on_ballot[i] = (job->vote.train & kind) != 0 && matches(job->vote.tensors, tensor->name);
        any |= on_ballot[i];
    }
    if (!any)
        return bal_fail(BAL_ERR_CONFIG,
                        "[vote] tensors = %s: no tensor of the model matches; "
                        "see their names with: ballot inspect %s",
                        job->vote.tensors, job->model.path);
    return BAL_OK;
}

bal_status bal_job_optim(const bal_job *job, const bal_machine *machine, bal_tensors *tensors,
                         const bool *on_ballot, bal_optim **optim)
{
    bal_optim_options options = {.rule = job->rule,
                                 .perturb = job->vote.perturb,
                                 .ballot = bal_job_ballot(job),
                                 .n_steps = job->run.steps,
                                 .seed = (uint64_t)job->run.seed,
                                 .on_ballot = on_ballot,
                                 .tally = machine->tally};
    return bal_optim_create(tensors, machine->kernels, &options, optim);
}

bal_status bal_job_check_task(const bal_job *job, const bal_model *model)
{
    bool encoder = (bal_model_shape(model)->features & BAL_ENCODER) != 0;
    if (encoder == (job->data.task == BAL_TASK_MLM)) return BAL_OK;
    return encoder ? bal_fail(BAL_ERR_CONFIG,
                              "[data] task = lm: the model is an encoder, in which "
                              "every token sees the next one; set task = mlm")
                   : bal_fail(BAL_ERR_CONFIG,
                              "[data] task = mlm: the model is a decoder, in which "
                              "no token sees those after it; set task = lm");
}

bal_status bal_job_open_data(const bal_job *job, const char *path, const bal_tokenizer *tokenizer,
                             bal_dataset *dataset)
{
    bal_corpus_options options = {
        .task = job->data.task, .examples = job->data.examples, .context = job->data.context};
    return bal_corpus_open(path, tokenizer, &options, dataset);
}

int64_t bal_step_bytes(const bal_job *job) { return bal_ballot_bytes(bal_job_ballot(job)) + 8; }
