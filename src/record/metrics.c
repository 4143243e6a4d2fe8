/* metrics.c: the table of what each step did, kept for plots in a file that has no name, so that
 * its rows take no memory and nothing of it is left behind. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "record_impl.h"

struct bal_metrics {
    int fd;
    int n_tensors;
    int64_t n;
    uint8_t *row;        /* the last one read, as the file has it */
    char path[PATH_MAX]; /* that the file had, for sentences */
};

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

size_t bal_metrics_row_bytes(int n_tensors)
{
    return BAL_METRICS_FIXED_BYTES + (size_t)n_tensors * sizeof(uint32_t);
}

int64_t bal_metrics_bytes(int n_tensors, int64_t n)
{
    return n * (int64_t)bal_metrics_row_bytes(n_tensors);
}

bal_status bal_metrics_create(const char *dir, int n_tensors, bal_metrics **metrics)
{
    bal_metrics *m = calloc(1, sizeof *m);
    if (m == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for the metrics of a run");
    m->n_tensors = n_tensors;
    m->fd = -1;
    m->row = calloc(1, bal_metrics_row_bytes(n_tensors));
    bal_status status = m->row == NULL ? bal_fail(BAL_ERR_MEMORY, "no memory for a row of metrics")
                                       : bal_path_join(dir, ".metrics.rows", m->path, PATH_MAX);
    if (status == BAL_OK) {
        unlink(m->path); /* of a process that was killed between the next two calls */
        m->fd = open(m->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (m->fd < 0 || unlink(m->path) != 0)
            status = bal_fail(BAL_ERR_IO, "%s: cannot be made: %s", m->path, strerror(errno));
    }
    if (status == BAL_OK)
        *metrics = m;
    else
        bal_metrics_destroy(&m);
    return status;
}

void bal_metrics_destroy(bal_metrics **metrics)
{
    bal_metrics *m = *metrics;
    if (m == NULL) return;
    if (m->fd >= 0) close(m->fd);
    free(m->row);
    free(m);
    *metrics = NULL;
}

int64_t bal_metrics_n(const bal_metrics *metrics) { return metrics == NULL ? 0 : metrics->n; }

bal_status bal_metrics_get_rows(const bal_metrics *m, int64_t first, int64_t n, void *bytes)
{
    size_t row = bal_metrics_row_bytes(m->n_tensors), n_bytes = (size_t)n * row;
    ssize_t got = bal_read_at(m->fd, bytes, n_bytes, first * (int64_t)row, m->path);
    if (got < 0) return BAL_ERR_IO;
    if ((size_t)got == n_bytes) return BAL_OK;
    return bal_fail(BAL_ERR_IO, "%s: is shorter than what was written", m->path);
}

bal_status bal_metrics_put_rows(bal_metrics *m, int64_t first, int64_t n, const void *bytes)
{
    size_t row = bal_metrics_row_bytes(m->n_tensors);
    if (lseek(m->fd, first * (off_t)row, SEEK_SET) < 0)
        return bal_fail(BAL_ERR_IO, "%s: seeking failed: %s", m->path, strerror(errno));
    BAL_TRY(bal_write_all(m->fd, bytes, (size_t)n * row, m->path));
    if (first + n > m->n) m->n = first + n;
    return BAL_OK;
}

bal_status bal_metrics_get(bal_metrics *metrics, int64_t index, bal_metrics_row *row)
{
    BAL_TRY(bal_metrics_get_rows(metrics, index, 1, metrics->row));
    memcpy(row, metrics->row, BAL_METRICS_FIXED_BYTES);
    row->flips = (uint32_t *)(void *)(metrics->row + BAL_METRICS_FIXED_BYTES);
    return BAL_OK;
}

bal_status bal_metrics_put(bal_metrics *metrics, const bal_metrics_row *row)
{
    size_t n_bytes = (size_t)metrics->n_tensors * sizeof *row->flips;
    memcpy(metrics->row, row, BAL_METRICS_FIXED_BYTES);
    if (row->flips == NULL)
        memset(metrics->row + BAL_METRICS_FIXED_BYTES, 0, n_bytes);
    else
        memmove(metrics->row + BAL_METRICS_FIXED_BYTES, row->flips, n_bytes);
    return bal_metrics_put_rows(metrics, row->step, 1, metrics->row);
}
