/* metrics.c: the growing table of what each step did, kept for plots. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "record_impl.h"

static const char *const phase_names[BAL_N_PHASES] = {
    [BAL_PHASE_PROBE] = "probe",
    [BAL_PHASE_VOTE] = "vote",
    [BAL_PHASE_UPDATE] = "update",
    [BAL_PHASE_JOURNAL] = "journal",
    [BAL_PHASE_CHECKPOINT] = "checkpoint",
    [BAL_PHASE_WAIT] = "wait",
    [BAL_PHASE_EVAL] = "eval",
};

const char *bal_phase_name(bal_phase phase) { return phase_names[phase]; }

void bal_metrics_init(bal_metrics *metrics, int n_tensors)
{
    *metrics = (bal_metrics){.n_tensors = n_tensors};
}

void bal_metrics_clear(bal_metrics *metrics)
{
    free(metrics->loss_nats);
    free(metrics->dev_loss_nats);
    free(metrics->dev_metric);
    free(metrics->agreement);
    free(metrics->n_passes);
    free(metrics->seconds);
    free(metrics->flips);
    *metrics = (bal_metrics){0};
}

/* Room for capacity rows of row_bytes at *array, which stays as it is on failure. */
static bool grow(void *array, int64_t capacity, size_t row_bytes)
{
    void *old, *larger;
    memcpy(&old, array, sizeof old);
    larger = reallocarray(old, (size_t)capacity, row_bytes == 0 ? 1 : row_bytes);
    if (larger == NULL) return false;
    memcpy(array, &larger, sizeof larger);
    return true;
}

int64_t bal_metrics_bytes(int n_tensors, int64_t n)
{
    bal_metrics m; /* for the sizes of what it points to */
    size_t row = sizeof *m.loss_nats + sizeof *m.dev_loss_nats + sizeof *m.dev_metric +
                 sizeof *m.agreement + sizeof *m.n_passes + BAL_N_PHASES * sizeof *m.seconds +
                 (size_t)n_tensors * sizeof *m.flips;
    return n * (int64_t)row;
}

bool bal_metrics_reserve(bal_metrics *metrics, int64_t capacity)
{
    if (capacity <= metrics->capacity) return true;
    if (!grow(&metrics->loss_nats, capacity, sizeof *metrics->loss_nats) ||
        !grow(&metrics->dev_loss_nats, capacity, sizeof *metrics->dev_loss_nats) ||
        !grow(&metrics->dev_metric, capacity, sizeof *metrics->dev_metric) ||
        !grow(&metrics->agreement, capacity, sizeof *metrics->agreement) ||
        !grow(&metrics->n_passes, capacity, sizeof *metrics->n_passes) ||
        !grow(&metrics->seconds, capacity, BAL_N_PHASES * sizeof *metrics->seconds) ||
        !grow(&metrics->flips, capacity, (size_t)metrics->n_tensors * sizeof *metrics->flips))
        return false;
    metrics->capacity = capacity;
    return true;
}

int64_t bal_metrics_add(bal_metrics *metrics)
{
    if (metrics->n == metrics->capacity &&
        !bal_metrics_reserve(metrics, metrics->n == 0 ? 64 : 2 * metrics->n)) {
        bal_fail(BAL_ERR_MEMORY, "no memory for the metrics of step %lld", (long long)metrics->n);
        return -1;
    }
    int64_t row = metrics->n++;
    size_t n_tensors = (size_t)metrics->n_tensors;
    metrics->loss_nats[row] = 0.0;
    metrics->dev_loss_nats[row] = metrics->dev_metric[row] = NAN;
    metrics->agreement[row] = 0.0;
    metrics->n_passes[row] = 0;
    memset(metrics->seconds + row * BAL_N_PHASES, 0, BAL_N_PHASES * sizeof *metrics->seconds);
    memset(metrics->flips + (size_t)row * n_tensors, 0, n_tensors * sizeof *metrics->flips);
    return row;
}
