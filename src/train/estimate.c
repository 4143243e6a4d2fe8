/* estimate.c: what a job takes, before it runs. Each room gives the sizes of its own things; times
 * come from real probes with the job's model and data. */
#include <string.h>

#include "ballot/estimate.h"
#include "train_impl.h"

#define PROBE_SECONDS 0.5 /* spent on probes, roughly; below, on batches of an evaluation */
#define EVAL_SECONDS 0.2
#define PASSES_MIN 3
#define N_UPDATES 5
#define LINE_POINTS 4 /* of three to seven that a search tries */
#define N_STOPS \
    8 /* times that the run is stopped: each leaves one more checkpoint, up to run.keep */

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t blocks_of(int64_t n, int64_t size) { return (n + size - 1) / size; }

void bal_estimate_files(const bal_job *job, const bal_model *model, const bal_files *files,
                        bal_estimate *e)
{
    int64_t steps = job->run.steps, every = job->run.checkpoint_every;
    e->files.journal = bal_journal_bytes((int)job->vote.slots, bal_job_journal(job), steps);
    bal_states states = bal_job_states(job);
    e->files.checkpoint =
        bal_checkpoint_bytes(bal_model_tensors(model), &states, files, e->files.journal, steps);
    e->files.log = bal_metrics_log_bytes(bal_model_tensors(model), steps);
    e->files.rows = bal_metrics_bytes(bal_model_tensors(model)->n, steps);
    e->files.n_kept = N_STOPS + (every > 0 ? blocks_of(steps, every) : 1);
    e->files.n_kept =
        smaller(e->files.n_kept, smaller(job->run.keep, steps)); /* a file for each step */
    e->files.disk = (e->files.n_kept + 2) * e->files.checkpoint + e->files.journal + e->files.log +
                    e->files.rows; /* best.h5, a new one */
}

/* Beside the model: texts, the base, and in a search the model of now and losses. */
static bal_status add_kept(const bal_job *job, const bal_inputs *inputs, bal_estimate *e)
{
    int64_t model = e->copy.bytes;
    bal_kept_bytes kept;
    BAL_TRY(bal_kept_size(job, inputs, &kept));
    e->copy.kept = (int64_t)kept.store;
    if (bal_job_finds_travel(job))
        e->copy.kept +=
            2 * model + (int64_t)bal_draws_bytes(bal_job_draws(job, job->run.steps / 2));
    else if (job->vote.positions == BAL_POSITIONS_ANSWER)
        e->copy.kept += model - e->copy.carries;
    e->copy.bytes += e->copy.kept;
    e->rank.work += (int64_t)kept.most * job->data.batch; /* before they are in the store */
    return BAL_OK;
}

bal_status bal_estimate_work(const bal_job *job, const bal_inputs *inputs, bal_estimate *e)
{
    const bal_model *model = inputs->bundle.model;
    const bal_dataset *train = &inputs->train, *dev = &inputs->dev;
    const bal_tensors *tensors = bal_model_tensors(model);
    int64_t context = job->data.context, n = job->data.batch;
    int64_t n_tokens =
        bal_batch_either(bal_dataset_room(train, n), bal_dataset_room(dev, n)).tokens;
    size_t probes = 0, evaluates = 0;
    if (train->writing != NULL && train->aim.objective == BAL_OBJECTIVE_F1)
        probes = bal_answerer_bytes(model, context, 2);
    if (dev->writing != NULL) evaluates = bal_answerer_bytes(model, context, 1);
    if (dev->common.sequences > 0) evaluates += bal_cache_bytes(model, context);
    e->rank.work = (int64_t)(bal_forward_bytes(model, n_tokens, context) + probes + evaluates);
    bal_states states = bal_job_states(job);
    e->copy.carries = (int64_t)bal_states_bytes(&states, tensors);
    e->copy.bytes = (int64_t)bal_tensors_bytes(tensors) + e->copy.carries;
    return add_kept(job, inputs, e);
}

static bal_status take_sizes(const bal_run *run, bal_estimate *e)
{
    const bal_job *job = run->job;
    int n = run->replica.tensors->n;
    int64_t batch = job->data.batch, largest = 0;
    for (int i = 0; i < n; ++i) {
        const bal_tensor *t = &run->replica.tensors->at[i];
        int64_t scale = (int64_t)bal_tensor_scale_bytes(t);
        *(t->role == BAL_GAIN ? &e->copy.gains : &e->copy.codes) +=
            (int64_t)bal_tensor_bytes(t) - scale;
        e->copy.scales += scale;
        largest = larger(largest, bal_tensor_n(t));
    }
    BAL_TRY(bal_estimate_work(job, &run->inputs, e));
    e->rank.text = (int64_t)(run->inputs.train.memory_bytes + run->inputs.dev.memory_bytes);
    /* The texts are there by now, with the tokenizer and what the C library has not given back;
     * what was taken for a moment is known too. Files will be read in pieces of floats, and
     * checkpoints tensor by tensor, in codes. */
    int64_t rss, pss;
    if (bal_memory_resident(&rss, &pss)) e->rank.text = larger(e->rank.text, pss - e->rank.program);
    e->rank.reading = larger(bal_memory_peak() - e->rank.program - e->rank.text, 0);
    e->copy.loading = 4 * bal_tensors_piece_n(run->replica.tensors) + 2 * largest;
    e->rank.metrics = bal_metrics_bytes(n, 1); /* the others are on disk */
    e->rank.sent = bal_job_step_bytes(job);
    bal_estimate_files(job, run->replica.model, &run->inputs.bundle.files, e);
    e->rank.saving =
        bal_checkpoint_memory(run->replica.tensors, &run->replica.states, e->files.checkpoint);
    if (run->inputs.dev.n_examples == 0) return BAL_OK;
    int64_t n_examples = run->inputs.dev.n_examples, most = job->data.dev_examples;
    e->n_eval_batches = blocks_of(most > 0 && most < n_examples ? most : n_examples, batch);
    e->n_evals = 1 + (job->run.eval_every > 0 ? blocks_of(job->run.steps, job->run.eval_every) : 1);
    return BAL_OK;
}

/* One pass over a batch of the dev text. */
static bal_status evaluate_batch(bal_run *run)
{
    bal_losses losses = {0};
    int64_t n = run->inputs.dev.n_examples, batch = run->job->data.batch;
    bal_dataset_take(&run->inputs.dev, 0, n < batch ? n : batch, &run->replica.batch);
    return bal_forward_losses(run->replica.forward, &run->replica.batch, NULL, &losses);
}

/* Probe the team of a slot, in a step of which each rank comes to the next: blocks have turns. */
static bal_status probe(bal_run *run, int64_t slot, int64_t step)
{
    const bal_way *way = &run->poll.prober.way;
    int64_t losses[2 * BAL_WAY_TEAM_MAX], first = slot - slot % way->team;
    int n = bal_way_slots(way, (int)first, (int)run->job->vote.slots);
    bal_measure measure = bal_measure_at(run->update.measure, step);
    return bal_probe(&run->poll.prober, &measure, (int)first, n, losses);
}

/* Probe teams, or evaluate batches, for about this long. *seconds is the mean and not the best, as
 * a run, too, waits while other processes have the core. */
static bal_status time_passes(bal_run *run, bool evaluates, double about, int *n, double *seconds)
{
    bal_status status = BAL_OK;
    double start = 0.0, spent = 0.0;
    for (*n = -1; status == BAL_OK && (*n < PASSES_MIN || spent < about); ++*n) {
        int64_t slot = (*n + 1) * (int64_t)bal_comm_size(run->comm) + bal_comm_rank(run->comm);
        if (*n == 0) start = bal_seconds(); /* the first warmed caches up */
        status = evaluates ? evaluate_batch(run) : probe(run, slot % run->job->vote.slots, *n);
        if (*n >= 0) spent = bal_seconds() - start;
    }
    BAL_TRY(bal_comm_agree(run->comm, status));
    *seconds = spent / *n;
    return bal_comm_slowest(run->comm, seconds);
}

/* Time updates from a ballot on which every slot has a vote. They spoil the model, which nobody
 * uses afterwards. */
static bal_status time_updates(bal_run *run, bal_estimate *e)
{
    double times[N_UPDATES];
    bal_ballot_shape ballot = bal_job_ballot(run->job);
    for (int slot = 0; slot < ballot.n_slots; ++slot)
        bal_ballot_put(ballot, run->poll.bits, slot, slot / 2 % 2 == 0 ? 1 : -1);
    int part = bal_shared_part(run->replica.shared),
        n_parts = bal_shared_n_parts(run->replica.shared);
    for (int i = 0; i < N_UPDATES; ++i) {
        BAL_TRY(bal_comm_agree(run->comm, BAL_OK)); /* all ranks start at once */
        double start = bal_seconds();
        bal_optim_apply(run->update.optim, 0, run->poll.bits, part, n_parts, run->update.flips);
        times[i] = bal_seconds() - start;
    }
    e->times.update = bal_median(times, N_UPDATES);
    BAL_TRY(bal_comm_slowest(run->comm, &e->times.update));
    e->times.update *= n_parts;
    return BAL_OK;
}

static bal_status measure(bal_run *run, bal_estimate *e)
{
    BAL_TRY(bal_run_load_weights(run));
    BAL_TRY(bal_comm_agree(run->comm, bal_run_make_tools(run)));
    BAL_TRY(bal_run_keep(run));
    for (int i = 0; i < run->replica.tensors->n; ++i)
        if (run->update.on_ballot[i]) e->n_codes += bal_tensor_n(&run->replica.tensors->at[i]);
    e->times.measured = true;
    int n_batches;
    BAL_TRY(time_passes(run, false, PROBE_SECONDS, &e->times.n_probes, &e->times.probe));
    e->times.n_probes *= run->poll.prober.way.team;
    e->times.probe /= run->poll.prober.way.team;
    if (run->inputs.dev.n_examples > 0)
        BAL_TRY(time_passes(run, true, EVAL_SECONDS, &n_batches, &e->times.eval));
    return time_updates(run, e);
}

bal_status bal_estimate_job(const bal_job *job, const bal_machine *machine, bal_comm *comm,
                            int64_t memory, int64_t program, bal_estimate *estimate)
{
    bal_run run = {.job = job, .machine = machine, .comm = comm};
    *estimate = (bal_estimate){.rank.program = program};
    bal_status status = bal_comm_agree(comm, bal_run_load(&run, &(bal_run_id){0}));
    if (status == BAL_OK) status = bal_comm_agree(comm, take_sizes(&run, estimate));
    if (status == BAL_OK) {
        /* for one rank per node, the least; bal_shared_create reports what more of them lack */
        int64_t lacks = bal_estimate_node(estimate, 1, 1) > memory;
        status = bal_comm_sum(comm, &lacks, 1);
        if (status == BAL_OK && lacks == 0) status = measure(&run, estimate);
    }
    bal_run_clear(&run);
    return status;
}

int64_t bal_estimate_node(const bal_estimate *e, int64_t per_node, int64_t n_copies)
{
    int64_t models = n_copies * e->copy.bytes, loading = n_copies * e->copy.loading;
    int64_t working =
        per_node * e->rank.work + e->rank.metrics + e->rank.saving; /* one after the other */
    return per_node * (e->rank.program + e->rank.text) +
           larger(per_node * e->rank.reading, models + larger(loading, working));
}

/* Passes of a rank in the searches of a run. */
static double search_passes(const bal_job *job, int64_t ranks)
{
    int64_t n = 0;
    for (int64_t step = job->run.steps / 2; step > 0; step /= 2)
        n += blocks_of(bal_job_draws(job, step), ranks);
    return (double)(LINE_POINTS * n);
}

double bal_estimate_seconds(const bal_estimate *e, const bal_job *job, int64_t ranks,
                            int64_t per_node, int64_t n_copies)
{
    double passes = (double)blocks_of(job->vote.slots, ranks) * (1.0 + job->vote.audit);
    double probes = e->times.probe * passes;
    double update = e->times.update * (double)n_copies / (double)per_node;
    double eval = e->times.eval * (double)blocks_of(e->n_eval_batches, ranks);
    double searches = e->times.probe / bal_job_way(job).n_points * search_passes(job, ranks);
    return (double)job->run.steps * (probes + update) + (double)e->n_evals * eval + searches;
}
