/* checkpoint_metrics.c: the table of metrics as columns of a checkpoint, some rows at a time, so
 * that a long run needs no more memory for it than a short one. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hdf5_impl.h"

enum { N_COLUMNS = 11, BLOCK_ROWS = 512 };

/* A member of bal_metrics_row. */
typedef struct column {
    const char *name;
    hid_t type;
    size_t offset;
    size_t element_bytes;
    int64_t width;      /* elements of a row */
    const char *labels; /* attribute that names them; NULL: the column has one dimension */
} column;

static void list_columns(int n_tensors, column columns[N_COLUMNS])
{
    const column all[N_COLUMNS] = {
        {"step", H5T_STD_I64LE, offsetof(bal_metrics_row, step), 8, 1, NULL},
        {"loss_nats", H5T_IEEE_F64LE, offsetof(bal_metrics_row, loss_nats), 8, 1, NULL},
        {"dev_loss_nats", H5T_IEEE_F64LE, offsetof(bal_metrics_row, dev_loss_nats), 8, 1, NULL},
        {"dev_metric", H5T_IEEE_F64LE, offsetof(bal_metrics_row, dev_metric), 8, 1, NULL},
        {"agreement", H5T_IEEE_F64LE, offsetof(bal_metrics_row, agreement), 8, 1, NULL},
        {"slope", H5T_IEEE_F64LE, offsetof(bal_metrics_row, slope), 8, 1, NULL},
        {"share", H5T_IEEE_F64LE, offsetof(bal_metrics_row, share), 8, 1, NULL},
        {"rise", H5T_IEEE_F64LE, offsetof(bal_metrics_row, rise), 8, 1, NULL},
        {"forward_passes", H5T_STD_I64LE, offsetof(bal_metrics_row, n_passes), 8, 1, NULL},
        {"seconds", H5T_IEEE_F64LE, offsetof(bal_metrics_row, seconds), 8, BAL_N_PHASES, "phases"},
        {"flips", H5T_STD_U32LE, BAL_METRICS_FIXED_BYTES, 4, n_tensors, "tensors"},
    };
    memcpy(columns, all, sizeof all);
}

/* Rows that are copied at once, and that make a chunk. */
static int64_t block_of(int n_tensors, int64_t n)
{
    int64_t room = BAL_METRICS_BLOCK_BYTES / (int64_t)bal_metrics_row_bytes(n_tensors);
    int64_t block = room > BLOCK_ROWS ? BLOCK_ROWS : room > 0 ? room : 1;
    return n < block ? n : block;
}

/* Shape of a column, and of its chunks. */
static int shape_of(const column *c, int64_t n, int64_t block, hsize_t dims[2], hsize_t chunk[2])
{
    dims[0] = (hsize_t)n;
    chunk[0] = (hsize_t)block;
    dims[1] = chunk[1] = (hsize_t)c->width;
    return c->labels == NULL ? 1 : 2;
}

/* What a copy needs, for n rows. */
typedef struct copy {
    column columns[N_COLUMNS];
    hid_t set[N_COLUMNS];
    size_t row_bytes;
    int64_t n, block;
    uint8_t *rows, *values; /* of a block: as the table has them; of a column */
    char *labels[2];        /* of phases, of tensors */
} copy;

static bal_status copy_init(copy *c, const bal_tensors *tensors, int64_t n)
{
    *c = (copy){.row_bytes = bal_metrics_row_bytes(tensors->n),
                .n = n,
                .block = block_of(tensors->n, n),
                .labels = {bal_column_names(NULL), bal_column_names(tensors)}};
    list_columns(tensors->n, c->columns);
    for (int i = 0; i < N_COLUMNS; ++i) c->set[i] = H5I_INVALID_HID;
    c->rows = bal_alloc((size_t)c->block, c->row_bytes);
    c->values = bal_alloc((size_t)c->block, c->row_bytes);
    return c->rows && c->values && c->labels[0] && c->labels[1]
               ? BAL_OK
               : bal_fail(BAL_ERR_MEMORY, "no memory to copy metrics");
}

static void copy_clear(copy *c)
{
    for (int i = 0; i < N_COLUMNS; ++i) bal_hdf5_close(&c->set[i]);
    free(c->rows);
    free(c->values);
    free(c->labels[0]);
    free(c->labels[1]);
}

static const char *labels_of(const copy *c, int i) { return c->labels[i == N_COLUMNS - 1]; }

/* Move the values of a column out of n rows of the table, or into them. */
static void gather(const copy *c, int i, int64_t n, bool into)
{
    size_t n_bytes = (size_t)c->columns[i].width * c->columns[i].element_bytes;
    for (int64_t row = 0; row < n; ++row) {
        uint8_t *theirs = c->rows + (size_t)row * c->row_bytes + c->columns[i].offset;
        uint8_t *ours = c->values + (size_t)row * n_bytes;
        memcpy(into ? theirs : ours, into ? ours : theirs, n_bytes);
    }
}

static int64_t rows_at(const copy *c, int64_t first)
{
    return c->n - first < c->block ? c->n - first : c->block;
}

bal_status bal_write_metrics(hid_t file, const bal_metrics *metrics, const bal_tensors *tensors)
{
    copy c;
    BAL_HANDLE group = bal_hdf5_make_group(file, "metrics");
    bal_status status = copy_init(&c, tensors, bal_metrics_n(metrics));
    for (int i = 0; status == BAL_OK && i < N_COLUMNS; ++i) {
        hsize_t dims[2], chunk[2];
        int rank = shape_of(&c.columns[i], c.n, c.block, dims, chunk);
        c.set[i] =
            bal_hdf5_make_dataset(group, c.columns[i].name, c.columns[i].type, rank, dims, chunk);
        if (rank == 2) bal_hdf5_write_text(c.set[i], c.columns[i].labels, labels_of(&c, i));
    }
    for (int64_t first = 0; status == BAL_OK && first < c.n; first += c.block) {
        int64_t n = rows_at(&c, first);
        status = bal_metrics_get_rows(metrics, first, n, c.rows);
        for (int i = 0; status == BAL_OK && i < N_COLUMNS; ++i) {
            gather(&c, i, n, false);
            bal_hdf5_write_rows(c.set[i], c.columns[i].type, first, n, c.values);
        }
    }
    copy_clear(&c);
    return status;
}

static bal_place place_of(const column *c) { return (bal_place){"/metrics", c->name}; }

/* Files of version 0.1 have no metric of a task, and do not say what slots have found. */
static bool is_missing(const bal_reader *r, const column *c)
{
    static const char *const newer[] = {"dev_metric", "slope", "share", "rise"};
    bool may_miss = false;
    for (size_t i = 0; i < sizeof newer / sizeof *newer; ++i)
        may_miss |= strcmp(c->name, newer[i]) == 0;
    return may_miss && !bal_hdf5_is_hard_link(r->metrics, c->name);
}

/* Open all columns, the first of which says how many rows there are. */
static bal_status open_columns(const bal_reader *r, const bal_tensors *tensors, copy *c)
{
    int64_t n = -1;
    column columns[N_COLUMNS];
    BAL_HANDLE step = H5I_INVALID_HID;
    list_columns(tensors->n, columns);
    BAL_TRY(bal_hdf5_open_dataset(r, r->metrics, place_of(columns), columns->type, 1, &n, &step));
    BAL_TRY(copy_init(c, tensors, n));
    for (int i = 0; i < N_COLUMNS; ++i) {
        const column *of = &c->columns[i];
        int64_t dims[2] = {n, of->width};
        if (is_missing(r, of)) continue;
        BAL_TRY(bal_hdf5_open_dataset(r, r->metrics, place_of(of), of->type,
                                      of->labels == NULL ? 1 : 2, dims, &c->set[i]));
        if (of->labels != NULL)
            BAL_TRY(bal_hdf5_expect_text(r, c->set[i], place_of(of), of->labels, labels_of(c, i)));
    }
    return BAL_OK;
}

/* Rows that a run could have written? */
static bal_status check_rows(const bal_reader *r, const copy *c, int64_t first, int64_t n)
{
    for (int64_t row = first; row < first + n; ++row) {
        bal_metrics_row found;
        memcpy(&found, c->rows + (size_t)(row - first) * c->row_bytes, BAL_METRICS_FIXED_BYTES);
        if (found.step != row)
            return bal_fail(BAL_ERR_INPUT, "%s: /metrics/step: row %" PRId64 " is step %" PRId64,
                            r->path, row, found.step);
        if (found.n_passes < 0 || found.n_passes > (row + 1) * 2 * BAL_SLOTS_MAX)
            return bal_fail(BAL_ERR_INPUT,
                            "%s: /metrics/forward_passes: row %" PRId64 " is %" PRId64, r->path,
                            row, found.n_passes);
    }
    return BAL_OK;
}

/* Copy n rows into the table. */
static bal_status read_block(const bal_reader *r, copy *c, int64_t first, int64_t n,
                             bal_metrics *metrics)
{
    for (int i = 0; i < N_COLUMNS; ++i) {
        const column *of = &c->columns[i];
        if (c->set[i] >= 0)
            BAL_TRY(bal_hdf5_read_rows(r, place_of(of), c->set[i], of->type, first, n, c->values));
        for (int64_t row = 0; c->set[i] < 0 && row < n; ++row)
            memcpy(c->values + row * 8, &(double){NAN}, 8);
        gather(c, i, n, true);
    }
    BAL_TRY(check_rows(r, c, first, n));
    return bal_metrics_put_rows(metrics, first, n, c->rows);
}

bal_status bal_read_metrics(const bal_reader *r, const bal_tensors *tensors, bal_metrics *metrics)
{
    copy c = {0};
    for (int i = 0; i < N_COLUMNS; ++i) c.set[i] = H5I_INVALID_HID;
    bal_status status = open_columns(r, tensors, &c);
    for (int64_t first = 0; status == BAL_OK && first < c.n; first += c.block)
        status = read_block(r, &c, first, rows_at(&c, first), metrics);
    copy_clear(&c);
    return status;
}

int64_t bal_metrics_file_bytes(int n_tensors, int64_t n)
{
    column columns[N_COLUMNS];
    int64_t n_bytes = 0;
    list_columns(n_tensors, columns);
    for (int i = 0; i < N_COLUMNS; ++i) {
        hsize_t dims[2], chunk[2];
        int rank = shape_of(&columns[i], n, block_of(n_tensors, n), dims, chunk);
        n_bytes += bal_hdf5_chunked_bytes(rank, dims, chunk, columns[i].element_bytes);
    }
    return n_bytes;
}
