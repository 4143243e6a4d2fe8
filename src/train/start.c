/* start.c: start a run, or continue it from its directory: the newest whole checkpoint, then the
 * ballots of the journal after it. */
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "train_impl.h"

void bal_run_path(const bal_run *run, const char *name, char path[BAL_PATH_BYTES])
{
    snprintf(path, BAL_PATH_BYTES, "%s/%s", run->dir, name);
}

void bal_checkpoint_name(int64_t step, char name[64])
{
    snprintf(name, 64, "step-%06lld.h5", (long long)step);
}

static bal_status make_directory(const char *dir)
{
    char path[BAL_PATH_BYTES];
    if (snprintf(path, sizeof path, "%s", dir) >= (int)sizeof path)
        return bal_fail(BAL_ERR_IO, "%s: the path is too long", dir);
    for (char *at = path + 1;; ++at) { /* parents first */
        char here = *at;
        if (here != '/' && here != 0) continue;
        *at = 0;
        if (mkdir(path, 0777) != 0 && errno != EEXIST)
            return bal_fail(BAL_ERR_IO, "%s: the run directory cannot be made: %s", path,
                            strerror(errno));
        *at = here;
        if (here == 0) return BAL_OK;
    }
}

bal_status bal_run_load(bal_run *run)
{
    bal_inputs inputs;
    BAL_TRY(bal_inputs_open(run->job, &inputs));
    run->bundle = inputs.bundle;
    run->model = inputs.bundle.model;
    run->train = inputs.train;
    run->dev = inputs.dev;
    return BAL_OK;
}

bal_status bal_run_load_weights(bal_run *run)
{
    BAL_TRY(bal_shared_create(run->comm, bal_tensors_bytes(bal_model_tensors(run->model)),
                              run->job->run.share == BAL_SHARE_NODE, &run->shared));
    if (bal_shared_refusal(run->shared) != NULL)
        bal_log(BAL_LOG_WARN, "%s; each rank there holds a model of its own",
                bal_shared_refusal(run->shared));
    bal_tensors_attach(bal_model_tensors(run->model), bal_shared_memory(run->shared));
    BAL_TRY(bal_run_fill(run, -1));
    run->id = (bal_run_id){.seed = (uint64_t)run->job->run.seed,
                           .stream_version = BAL_STREAM_VERSION,
                           .n_slots = (int32_t)run->job->vote.slots,
                           .n_steps = run->job->run.steps,
                           .job_hash = run->job->hash,
                           .data_hash = run->train.hash ^ run->dev.hash * 0x9E3779B97F4A7C15u};
    return bal_comm_agree(
        run->comm,
        bal_replica_fingerprint(run->shared, bal_model_tensors(run->model), &run->id.base_hash));
}

/* All ranks have read the same base, data and job. */
static bal_status compare_inputs(bal_run *run)
{
    uint64_t words[6] = {run->id.base_hash, run->id.data_hash,
                         bal_hash(run->job->text, strlen(run->job->text), 0)};
    memcpy(words + 3, words, 3 * sizeof *words);
    BAL_TRY(bal_comm_reduce(run->comm, &(bal_reduction){.n_min = 3, .n_max = 3}, words));
    static const char *const names[] = {"the base model", "the data", "the job"};
    for (int i = 0; i < 3; ++i)
        if (words[i] != words[i + 3])
            return bal_fail(BAL_ERR_INPUT,
                            "%s differs between ranks; give every host the same files", names[i]);
    return BAL_OK;
}

/* The first option in which the job of the directory differs and that decides the result. */
static bal_status compare_job(const bal_run *run)
{
    char path[BAL_PATH_BYTES];
    bal_mapping file;
    bal_run_path(run, "job.ini", path);
    if (bal_mapping_open(path, &file) != BAL_OK) file = (bal_mapping){0};
    const char *mine = run->job->text, *theirs = (const char *)file.data;
    const char *end = theirs + file.n_bytes, *section = "";
    bal_status status = bal_fail(
        BAL_ERR_CONFIG,
        "%s: the run directory belongs to another job; choose another one with --run", path);
    while (theirs < end && *mine != 0) { /* both were written option by option in one order */
        int n_mine = (int)strcspn(mine, "\n"), n_theirs = 0;
        char name[256];
        while (theirs + n_theirs < end && theirs[n_theirs] != '\n') ++n_theirs;
        if (*mine == '[') section = mine + 1;
        snprintf(name, sizeof name, "%.*s.%.*s=", (int)strcspn(section, "]"), section,
                 (int)strcspn(mine, " \n"), mine);
        if ((n_mine != n_theirs || memcmp(mine, theirs, (size_t)n_mine) != 0) &&
            strstr(run->job->identity, name) != NULL) {
            status = bal_fail(BAL_ERR_CONFIG,
                              "%s: the run directory belongs to another job: \"%.*s\" there, "
                              "\"%.*s\" now; choose another one with --run",
                              path, n_theirs, theirs, n_mine, mine);
            break;
        }
        mine += n_mine + (mine[n_mine] == '\n');
        theirs += n_theirs + 1;
    }
    bal_mapping_close(&file);
    return status;
}

bal_status bal_run_compare_id(const bal_run *run, const bal_run_id *theirs)
{
    if (theirs->job_hash != run->id.job_hash || theirs->seed != run->id.seed ||
        theirs->n_slots != run->id.n_slots || theirs->n_steps != run->id.n_steps)
        return compare_job(run);
    if (theirs->stream_version != run->id.stream_version)
        return bal_fail(BAL_ERR_CONFIG,
                        "%s: the run was started with random streams of version %u; "
                        "this program has version %u: continue it with the older one",
                        run->dir, theirs->stream_version, run->id.stream_version);
    if (theirs->base_hash != run->id.base_hash)
        return bal_fail(BAL_ERR_CONFIG, "%s: the run was started from another model than %s is now",
                        run->dir, run->job->model.path);
    if (theirs->data_hash != run->id.data_hash)
        return bal_fail(BAL_ERR_CONFIG,
                        "%s: the run was started on other data than %s and %s hold now", run->dir,
                        run->job->data.train, run->job->data.dev);
    return BAL_OK;
}

static int newest_first(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

bal_status bal_checkpoint_list(const bal_run *run, int64_t **steps, int64_t *n)
{
    DIR *dir = opendir(run->dir);
    if (dir == NULL) return bal_fail(BAL_ERR_IO, "%s: %s", run->dir, strerror(errno));
    *steps = NULL;
    *n = 0;
    bal_status status = BAL_OK;
    for (struct dirent *entry; status == BAL_OK && (entry = readdir(dir)) != NULL;) {
        long long found;
        char name[64];
        if (sscanf(entry->d_name, "step-%lld.h5", &found) != 1) continue;
        bal_checkpoint_name(found, name);
        if (strcmp(name, entry->d_name) != 0) continue;
        int64_t *more = realloc(*steps, (size_t)(*n + 1) * sizeof *more);
        if (more == NULL) {
            status = bal_fail(BAL_ERR_MEMORY, "no memory to list %s", run->dir);
        } else {
            *steps = more;
            (*steps)[(*n)++] = found;
        }
    }
    closedir(dir);
    if (*n > 0) qsort(*steps, (size_t)*n, sizeof **steps, newest_first);
    if (status != BAL_OK) free(*steps);
    return status;
}

/* The journal is missing, damaged or, if it is whole and of this run, shorter than a checkpoint:
 * put back the checkpoint's copy. */
static bal_status restore_journal(const bal_run *run, int64_t step, bool is_whole)
{
    char name[64], path[BAL_PATH_BYTES];
    bal_snapshot snapshot;
    bal_checkpoint_name(step, name);
    bal_run_path(run, name, path);
    BAL_TRY(bal_checkpoint_outline(path, false, &snapshot));
    bal_status status = bal_run_compare_id(run, &snapshot.id);
    if (status != BAL_OK && is_whole)
        status = bal_fail(BAL_ERR_CONFIG,
                          "%s: is ahead of the journal and of another run; move it out of the run "
                          "directory, or choose another one with --run",
                          path);
    if (status == BAL_OK && snapshot.journal_bytes == 0)
        status = bal_fail(BAL_ERR_INPUT,
                          "%s: is ahead of the journal and has no copy of it; move it out of the "
                          "run directory",
                          path);
    if (status == BAL_OK)
        status = bal_publish(run->dir, "ballots.journal", snapshot.journal, snapshot.journal_bytes);
    bal_snapshot_clear(&snapshot);
    if (status == BAL_OK)
        bal_log(BAL_LOG_WARN, "the journal is put back from %s, up to step %lld", path,
                (long long)step);
    return status;
}

/* Delete what a killed writer left half-written, see bal_publish. */
static void drop_half_written(const bal_run *run)
{
    DIR *dir = opendir(run->dir);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        static const char *const ours[] = {".step-*.h5.new", ".best.h5.new", ".LATEST.new",
                                           ".job.ini.new", ".ballots.journal.new"};
        char path[BAL_PATH_BYTES];
        bool half = false;
        for (size_t i = 0; i < sizeof ours / sizeof *ours; ++i)
            half |= fnmatch(ours[i], entry->d_name, 0) == 0;
        if (!half) continue;
        bal_run_path(run, entry->d_name, path);
        unlink(path);
    }
    if (dir != NULL) closedir(dir);
}

/* Rank 0: job.ini, journal and newest checkpoint of the directory, made or found. */
static bal_status open_record(bal_run *run, int64_t *checkpoint)
{
    char path[BAL_PATH_BYTES];
    bal_run_path(run, "ballots.journal", path);
    drop_half_written(run);
    BAL_TRY(bal_checkpoint_find(run, checkpoint));
    bool there = access(path, F_OK) == 0;
    bal_status status = there ? bal_journal_open(path, true, &run->journal) : BAL_ERR_INPUT;
    if (status != BAL_OK && status != BAL_ERR_INPUT) return status;
    int64_t n = status == BAL_OK ? bal_journal_n(run->journal) : -1;
    if (status == BAL_OK && bal_journal_tail(run->journal) > 0)
        bal_log(BAL_LOG_WARN, "%s: a torn tail of %lld bytes is cut off", path,
                (long long)bal_journal_tail(run->journal));
    if (n >= 0) BAL_TRY(bal_run_compare_id(run, bal_journal_id(run->journal)));
    if (*checkpoint > n && *checkpoint >= 0) {
        bal_journal_close(&run->journal);
        BAL_TRY(restore_journal(run, *checkpoint, n >= 0));
        BAL_TRY(bal_journal_open(path, true, &run->journal));
        BAL_TRY(bal_run_compare_id(run, bal_journal_id(run->journal)));
        if (bal_journal_n(run->journal) < *checkpoint)
            return bal_fail(BAL_ERR_INPUT,
                            "%s: the copy of the checkpoint of step %lld ends behind step %lld; "
                            "move that checkpoint out of the run directory",
                            path, (long long)*checkpoint, (long long)bal_journal_n(run->journal));
    } else if (there && status != BAL_OK) {
        return status; /* damaged, and no checkpoint has a copy */
    }
    if (run->journal != NULL) return BAL_OK;
    /* A new run. An old job.ini without a journal is of a start that got no further. */
    BAL_TRY(bal_publish(run->dir, "job.ini", run->job->text, strlen(run->job->text)));
    return bal_journal_create(path, &run->id, &run->journal);
}

bal_status bal_run_make_tools(bal_run *run)
{
    const bal_job *job = run->job;
    int64_t batch = job->data.batch, context = job->data.context;
    int n_tensors = bal_model_tensors(run->model)->n;
    run->on_ballot = bal_alloc((size_t)n_tensors, sizeof *run->on_ballot);
    run->flips = bal_alloc((size_t)n_tensors, sizeof *run->flips);
    run->flip_sums = bal_alloc((size_t)n_tensors, sizeof *run->flip_sums);
    run->bits = bal_alloc((size_t)bal_ballot_words(bal_job_ballot(job)), sizeof *run->bits);
    run->losses = bal_alloc((size_t)job->vote.slots, sizeof *run->losses);
    run->excluded = bal_alloc((size_t)bal_comm_size(run->comm), sizeof *run->excluded);
    run->accused = bal_alloc((size_t)bal_comm_size(run->comm), sizeof *run->accused);
    run->abstained = bal_alloc((size_t)bal_comm_size(run->comm), sizeof *run->abstained);
    run->sequences[0] = bal_alloc((size_t)batch, sizeof **run->sequences);
    run->sequences[1] = bal_alloc((size_t)batch, sizeof **run->sequences);
    if (!run->on_ballot || !run->flips || !run->flip_sums || !run->bits || !run->losses ||
        !run->excluded || !run->accused || !run->abstained || !run->sequences[0] ||
        !run->sequences[1])
        return bal_fail(BAL_ERR_MEMORY, "no memory for the run");
    if (run->writes && run->metrics.n_tensors == 0)
        BAL_TRY(bal_metrics_init(&run->metrics, n_tensors));
    BAL_TRY(bal_job_tensors(job, bal_model_tensors(run->model), run->on_ballot));
    BAL_TRY(bal_job_optim(job, run->machine, bal_model_tensors(run->model), run->on_ballot,
                          &run->optim));
    BAL_TRY(bal_ballot_create(run->comm, bal_job_ballot(job), &run->ballot));
    BAL_TRY(bal_batch_init(&run->batch, batch, context));
    return bal_forward_create(run->model, run->machine->kernels, batch * context, context,
                              &run->forward);
}

/* Rank 0: the dev losses of the steps so far, from the journal. */
static bal_status find_best(bal_run *run)
{
    for (int64_t i = 0; i < bal_journal_n(run->journal); ++i) {
        bal_journal_entry entry;
        BAL_TRY(bal_journal_read(run->journal, i, &entry));
        if (entry.dev_loss < 0) continue;
        run->dev_score = (bal_score){.loss = entry.dev_loss, .n_tokens = entry.dev_tokens};
        if (bal_score_nats(&run->dev_score) < run->best_nats) {
            run->best_nats = bal_score_nats(&run->dev_score);
            run->best_step = i;
        }
    }
    return BAL_OK;
}

bal_status bal_run_start(bal_run *run)
{
    run->writes = bal_comm_rank(run->comm) == 0;
    run->best_nats = INFINITY;
    run->repaired_step = -1;
    bal_status status = BAL_OK;
    if (run->writes) status = make_directory(run->dir);
    if (run->writes && status == BAL_OK) status = bal_lock_take(run->dir, &run->lock);
    BAL_TRY(bal_comm_agree(run->comm, status));
    BAL_TRY(bal_comm_agree(run->comm, bal_run_load(run)));
    BAL_TRY(bal_run_load_weights(run));
    BAL_TRY(compare_inputs(run));
    int64_t found[2] = {-1, 0}; /* step of the checkpoint, entries of the journal */
    if (run->writes) {
        status = open_record(run, &found[0]);
        found[1] = status == BAL_OK ? bal_journal_n(run->journal) : 0;
    }
    BAL_TRY(bal_comm_agree(run->comm, status));
    BAL_TRY(bal_comm_broadcast(run->comm, found, sizeof found));
    if (found[0] >= 0) BAL_TRY(bal_run_fill(run, found[0]));
    BAL_TRY(bal_comm_agree(run->comm, bal_run_make_tools(run)));
    BAL_TRY(bal_deal_create(run->comm, (int)run->job->vote.slots,
                            run->job->vote.dealing == BAL_DEALING_NODE, &run->deal));
    BAL_TRY(bal_run_replay(run, found[1]));
    if (run->writes) {
        status = find_best(run);
        if (status == BAL_OK) status = bal_metrics_log_open(&run->log, run, run->step);
        for (int64_t step = 0; step < run->step && status == BAL_OK; ++step)
            status = bal_metrics_log_step(&run->log, run, step, NULL);
    }
    run->first_step = run->step;
    return bal_comm_agree(run->comm, status);
}

void bal_run_clear(bal_run *run)
{
    bal_metrics_log_close(&run->log);
    bal_metrics_clear(&run->metrics);
    bal_journal_close(&run->journal);
    bal_forward_destroy(&run->forward);
    bal_deal_destroy(&run->deal);
    bal_ballot_destroy(&run->ballot);
    bal_optim_destroy(&run->optim);
    bal_batch_clear(&run->batch);
    bal_dataset_clear(&run->train);
    bal_dataset_clear(&run->dev);
    bal_bundle_clear(&run->bundle);
    bal_shared_destroy(&run->shared);
    free(run->on_ballot);
    free(run->bits);
    free(run->losses);
    free(run->excluded);
    free(run->accused);
    free(run->abstained);
    free(run->flips);
    free(run->flip_sums);
    free(run->sequences[0]);
    free(run->sequences[1]);
    bal_lock_release(&run->lock);
}
