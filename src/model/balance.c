/* balance.c: statistics of the rows that matrices read, and the scales that follow from them. */
#include "ballot/balance.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "forward_impl.h"

#define READERS_MAX 3
#define SMALLEST 1e-8 /* of a mean square, relative to the mean of all columns */

/* Rows that one matrix or several read. A norm, or the rows of a matrix before, may make their
 * columns. */
typedef struct site {
    int maker; /* its index; -1: none */
    int64_t n_cols, n_rows_read;
    double *squares; /* [n_cols] summed over the rows read */
    float *columns;  /* [n_cols] scales s */
    float *weights;  /* [n_cols] */
} site;

struct bal_balance {
    int n_tensors, n_sites;
    site *sites;
    const site **reads, **makes; /* [n_tensors] the site a tensor reads, or makes; NULL: none */
    double **squares;            /* [n_tensors] of the first reader of each site, for forward */
};

static bal_status add_site(bal_balance *b, const bal_model *model, const bal_part *first,
                           const bal_part *second, const bal_part *third, bal_norm maker)
{
    const bal_part *parts[READERS_MAX] = {first, second, third};
    int64_t n_cols = model->tensors.at[first->weight].n_cols;
    site *s = &b->sites[b->n_sites++];
    *s = (site){.maker = maker.weight, .n_cols = n_cols};
    s->squares = bal_alloc((size_t)n_cols, sizeof *s->squares);
    s->columns = bal_alloc((size_t)n_cols, sizeof *s->columns);
    s->weights = bal_alloc((size_t)n_cols, sizeof *s->weights);
    if (s->squares == NULL || s->columns == NULL || s->weights == NULL) return BAL_ERR_MEMORY;
    for (int64_t col = 0; col < n_cols; ++col) s->columns[col] = 1.0f;
    for (int i = 0; i < READERS_MAX; ++i)
        if (parts[i] != NULL) b->reads[parts[i]->weight] = s;
    if (maker.weight >= 0) b->makes[maker.weight] = s;
    if (maker.bias >= 0) b->makes[maker.bias] = s;
    b->squares[first->weight] = s->squares;
    return BAL_OK;
}

static bal_status add_sites(bal_balance *b, const bal_model *m)
{
    const bal_norm none = {-1, -1};
    for (int64_t i = 0; i < m->config.n_layers; ++i) {
        const bal_layer *l = &m->layers[i];
        bool gated = l->gate.weight >= 0; /* else an activation stands between up and down */
        BAL_TRY(add_site(b, m, &l->q, &l->k, &l->v, l->q.before));
        BAL_TRY(add_site(b, m, &l->o, NULL, NULL, none));
        BAL_TRY(gated ? add_site(b, m, &l->gate, &l->up, NULL, l->gate.before)
                      : add_site(b, m, &l->up, NULL, NULL, l->up.before));
        BAL_TRY(add_site(b, m, &l->down, NULL, NULL,
                         gated ? (bal_norm){l->up.weight, l->up.bias} : none));
    }
    bool tied = m->head.weight == m->embedding.weight; /* its columns are those of another part */
    return add_site(b, m, &m->head, NULL, NULL, tied ? none : m->head.before);
}

bal_status bal_balance_create(const bal_model *model, bal_balance **balance)
{
    assert(bal_model_is_integer(model));
    size_t n = (size_t)model->tensors.n, n_sites = 4 * (size_t)model->config.n_layers + 1;
    bal_status status = BAL_ERR_MEMORY;
    bal_balance *b = bal_alloc(1, sizeof *b);
    if (b == NULL) goto done;
    b->n_tensors = model->tensors.n;
    b->sites = bal_alloc(n_sites, sizeof *b->sites);
    b->reads = bal_alloc(n, sizeof *b->reads);
    b->makes = bal_alloc(n, sizeof *b->makes);
    b->squares = bal_alloc(n, sizeof *b->squares);
    if (b->sites == NULL || b->reads == NULL || b->makes == NULL || b->squares == NULL) goto done;
    status = add_sites(b, model);
    if (status != BAL_OK) goto done;
    *balance = b;
    b = NULL;
done:
    bal_balance_destroy(&b);
    return status == BAL_OK ? BAL_OK : bal_fail(status, "no memory for the columns of a model");
}

void bal_balance_destroy(bal_balance **balance)
{
    bal_balance *b = *balance;
    if (b == NULL) return;
    for (int i = 0; i < b->n_sites; ++i) {
        free(b->sites[i].squares);
        free(b->sites[i].columns);
        free(b->sites[i].weights);
    }
    free(b->sites);
    free(b->reads);
    free(b->makes);
    free(b->squares);
    free(b);
    *balance = NULL;
}

/* The mean square of a column, relative to the mean of all. */
static double relative(const site *s, double sum, int64_t col)
{
    double share = sum > 0.0 ? s->squares[col] * (double)s->n_cols / sum : 1.0;
    return share > SMALLEST ? share : SMALLEST;
}

static double sum_of(const site *s)
{
    double sum = 0.0;
    for (int64_t col = 0; col < s->n_cols; ++col) sum += s->squares[col];
    return sum;
}

static void set_weights(const site *s)
{
    double sum = sum_of(s);
    for (int64_t col = 0; col < s->n_cols; ++col) {
        double column = (double)s->columns[col];
        s->weights[col] = (float)(relative(s, sum, col) / (column * column));
    }
}

/* Scales of what has been read so far. */
static void set_columns(const site *s)
{
    double sum = sum_of(s);
    for (int64_t col = 0; col < s->n_cols && s->maker >= 0; ++col)
        s->columns[col] = (float)sqrt(sqrt(relative(s, sum, col)));
    set_weights(s);
}

bal_status bal_balance_read(bal_balance *balance, bal_forward *forward, const bal_batch *batch)
{
    bal_losses losses[N_SIGNS_MAX] = {{0}};
    assert(forward->model->tensors.n == balance->n_tensors);
    forward->input.squares = balance->squares;
    bal_status status = bal_forward_losses(forward, batch, NULL, losses);
    forward->input.squares = NULL;
    for (int i = 0; i < balance->n_sites; ++i) {
        balance->sites[i].n_rows_read += batch->n_tokens;
        set_columns(&balance->sites[i]);
    }
    return status;
}

bool bal_balance_is_set(const bal_balance *balance) { return balance->sites[0].n_rows_read > 0; }

void bal_balance_scale(const bal_balance *balance, const bal_piece *piece, const bal_tensor *rows,
                       float *values)
{
    const site *makes = balance->makes[piece->index], *reads = balance->reads[piece->index];
    bool by_rows = rows->role == BAL_MATRIX;
    for (int64_t row = 0; row < piece->n_rows; ++row, values += rows->n_cols) {
        for (int64_t col = 0; makes != NULL && col < rows->n_cols; ++col)
            values[col] /= makes->columns[by_rows ? piece->first + row : col];
        for (int64_t col = 0; reads != NULL && col < rows->n_cols; ++col)
            values[col] *= reads->columns[col];
    }
}

const float *bal_balance_weights(const bal_balance *balance, int index)
{
    const site *reads = balance->reads[index];
    return reads != NULL && reads->n_rows_read > 0 ? reads->weights : NULL;
}

void bal_balance_settle(bal_balance *balance, int index, bal_tensor *tensor, const float *values,
                        int8_t *leftover)
{
    const site *s = balance->makes[index];
    if (s == NULL || s->maker != index || tensor->role != BAL_VECTOR || s->n_rows_read == 0) return;
    for (int64_t col = 0; col < tensor->n_cols; ++col) {
        if (values[col] == 0.0f) continue;
        int code = bal_tensor_code(tensor, col);
        if (code == 0) code = values[col] < 0.0f ? -1 : 1;
        bal_tensor_put(tensor, col, code);
        s->columns[col] *= values[col] / (tensor->scale[0] * (float)code);
        if (leftover != NULL) leftover[col] = 0;
    }
    set_weights(s);
}
