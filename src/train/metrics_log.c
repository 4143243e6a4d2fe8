/* metrics_log.c: RUN/metrics.jsonl, one JSON object per line, for programs that watch a run. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ballot/json.h"
#include "train_impl.h"

static bal_status write_line(bal_metrics_log *log, json_t *object)
{
    char *text = bal_json_dump(object, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(object);
    if (text == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for a line of metrics");
    bool good = fprintf(log->file, "%s\n", text) > 0 && fflush(log->file) == 0;
    free(text);
    if (good) return BAL_OK;
    return bal_fail(BAL_ERR_IO, "%s: writing failed: %s", log->path, strerror(errno));
}

static bal_status write_header(bal_metrics_log *log, const bal_run *run)
{
    json_t *tensors = json_object();
    for (int i = 0; i < run->replica.tensors->n; ++i) {
        const bal_tensor *tensor = &run->replica.tensors->at[i];
        json_object_set_new(tensors, tensor->name, json_integer(bal_tensor_n(tensor)));
    }
    return write_line(
        log, json_pack("{s:s, s:o, s:o, s:I, s:I, s:o}", "ballot", BALLOT_VERSION, "job",
                       bal_json_text(run->dir), "model", bal_json_text(run->job->model.path),
                       "batch", (json_int_t)run->job->data.batch, "steps",
                       (json_int_t)run->job->run.steps, "tensors", tensors));
}

bal_status bal_metrics_log_open(bal_metrics_log *log, const bal_run *run, int64_t n_steps)
{
    bal_run_path(run->dir, "metrics.jsonl", log->path);
    log->n_steps = 0;
    log->file = fopen(log->path, "a+e");
    if (log->file == NULL)
        return bal_fail(BAL_ERR_IO, "%s: cannot be opened: %s", log->path, strerror(errno));
    char *line = NULL;
    size_t room = 0;
    ssize_t length = 0;
    off_t good = 0; /* bytes of lines to keep */
    rewind(log->file);
    while ((length = getline(&line, &room, log->file)) > 0 && line[length - 1] == '\n') {
        long long step;
        if (sscanf(line, "{\"step\":%lld", &step) == 1) {
            if (step != log->n_steps || step >= n_steps) break;
            ++log->n_steps;
        } else if (good > 0) {
            break; /* only the header and the final line have no step in front */
        }
        good += length;
    }
    free(line);
    if (length < 0 && !feof(log->file)) /* no memory for a line: the rest is unread */
        return bal_fail(BAL_ERR_IO, "%s: reading failed: %s", log->path, strerror(errno));
    if (ftruncate(fileno(log->file), good) != 0)
        return bal_fail(BAL_ERR_IO, "%s: cutting it failed: %s", log->path, strerror(errno));
    fseek(log->file, 0, SEEK_END);
    return good == 0 ? write_header(log, run) : BAL_OK;
}

/* The rank that a slot of a step was dealt to, on as many ranks as now or on others. */
static int rank_of(const bal_run *run, const bal_journal_entry *entry, int slot)
{
    if (entry->n_ranks == bal_comm_size(run->comm)) return bal_deal_rank(run->poll.deal, slot);
    return bal_slot_rank(slot, bal_job_way(run->job).team, entry->n_ranks);
}

/* {"rank": slots it abstained from} of a step, and the rank that it accuses; NULL: neither. */
static json_t *log_ranks(const bal_run *run, int64_t step, int *accused)
{
    bal_journal_entry entry;
    *accused = -1;
    if (bal_journal_read(run->record.journal, step, &entry) != BAL_OK || entry.n_ranks == 0)
        return NULL;
    bal_ballot_shape ballot = bal_journal_ballot(run->record.journal);
    json_t *ranks = json_object();
    *accused = entry.accused;
    for (int slot = 0; slot < ballot.n_slots; ++slot) {
        char rank[16];
        if (bal_ballot_has(ballot, entry.bits, slot)) continue;
        snprintf(rank, sizeof rank, "%d", rank_of(run, &entry, slot));
        json_int_t so_far = json_integer_value(json_object_get(ranks, rank));
        json_object_set_new(ranks, rank, json_integer(so_far + 1));
    }
    return ranks;
}

/* A number that is not always known. */
static void log_number(json_t *object, const char *key, double value)
{
    if (object != NULL && !isnan(value)) json_object_set_new(object, key, json_real(value));
}

/* Of a run that finds its travel: the rate of a step, and what a search before it has found. */
static void log_course(const bal_run *run, int64_t step, json_t *object)
{
    bal_journal_entry entry;
    if (object == NULL || bal_journal_read(run->record.journal, step, &entry) != BAL_OK) return;
    const bal_course *course = &entry.course;
    if (course->rate > 0)
        json_object_set_new(object, "rate", json_real((double)course->rate / BAL_RATE_ONE));
    if (course->scale <= 0) return;
    double tokens = (double)course->n_tokens * BAL_LOSS_UNITS_PER_NAT;
    json_object_set_new(
        object, "search",
        json_pack("{s:f, s:f, s:f, s:f, s:f}", "travel", (double)course->goal / BAL_RATE_ONE,
                  "scale", (double)course->scale / BAL_RATE_ONE, "error",
                  (double)course->noise / BAL_RATE_ONE, "loss_nats", (double)course->loss / tokens,
                  "best_loss_nats", (double)course->best_loss / tokens));
}

bal_status bal_metrics_log_step(bal_metrics_log *log, const bal_run *run, int64_t step,
                                const uint64_t *fingerprint)
{
    if (step < log->n_steps) return BAL_OK;
    bal_metrics_row row;
    BAL_TRY(bal_metrics_get(run->record.metrics, step, &row));
    json_t *seconds = json_object(), *flips = json_object();
    for (int phase = 0; phase < BAL_N_PHASES; ++phase)
        json_object_set_new(seconds, bal_phase_name((bal_phase)phase),
                            json_real(row.seconds[phase]));
    for (int i = 0; i < run->replica.tensors->n; ++i)
        if (row.flips[i] > 0)
            json_object_set_new(flips, run->replica.tensors->at[i].name,
                                json_integer(row.flips[i]));
    double dev = row.dev_loss_nats, loss = row.loss_nats;
    json_t *object =
        json_pack("{s:I, s:o, s:o, s:f, s:I, s:o, s:o}", "step", (json_int_t)step, "loss_nats",
                  isnan(loss) ? json_null() : json_real(loss), "dev_loss_nats",
                  isnan(dev) ? json_null() : json_real(dev), "agreement", row.agreement,
                  "forward_passes", (json_int_t)row.n_passes, "seconds", seconds, "flips", flips);
    log_number(object, "dev_metric", row.dev_metric);
    log_number(object, "slope", row.slope);
    log_number(object, "share", row.share);
    log_number(object, "rise", row.rise);
    if (object != NULL && fingerprint != NULL) { /* of the model before the step */
        char hex[17];
        snprintf(hex, sizeof hex, "%016llx", (unsigned long long)*fingerprint);
        json_object_set_new(object, "fingerprint", json_string(hex));
    }
    log_course(run, step, object);
    int accused;
    json_t *abstained = log_ranks(run, step, &accused);
    if (object != NULL && abstained != NULL && json_object_size(abstained) > 0)
        json_object_set(object, "abstained", abstained);
    if (object != NULL && accused >= 0)
        json_object_set_new(object, "accused", json_integer(accused));
    json_decref(abstained);
    ++log->n_steps;
    return write_line(log, object);
}

bal_status bal_metrics_log_final(bal_metrics_log *log, const bal_run *run)
{
    const bal_score *dev = &run->record.dev_score;
    bal_metrics_row last;
    bal_signs signs;
    BAL_TRY(bal_metrics_get(run->record.metrics, run->step - 1, &last));
    BAL_TRY(bal_signs_read(run->job, run->record.journal, &signs));
    json_t *object = json_pack("{s:b, s:I, s:f, s:I}", "final", 1, "step", (json_int_t)run->step,
                               "dev_loss_nats", bal_score_nats(dev), "forward_passes",
                               (json_int_t)last.n_passes);
    if (object != NULL)
        json_object_set_new(object, "limit", json_string(bal_limit_sentence(bal_limit_of(&signs))));
    if (object != NULL && dev->merit >= 0)
        json_object_set_new(object, "dev_metric", json_real(bal_merit(dev->merit)));
    return write_line(log, object);
}

int64_t bal_metrics_log_bytes(const bal_tensors *tensors, int64_t n_steps)
{
    int64_t line = 520; /* what every line has, its numbers at their longest */
    for (int i = 0; i < tensors->n; ++i) {
        const bal_tensor *tensor = &tensors->at[i];
        line += snprintf(NULL, 0, "\"%s\":%lld,", tensor->name, (long long)bal_tensor_n(tensor));
    }
    return (n_steps + 2) * line + 6 * 200; /* one before them and one after; searches */
}

void bal_metrics_log_close(bal_metrics_log *log)
{
    if (log->file != NULL) fclose(log->file);
    log->file = NULL;
}
