/* forward.c: the forward pass at code + z and code - z side by side, or at the code itself. Rows of
 * every activation are the tokens of the batch, at + first, then, if there is a direction, at -. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model_impl.h"

#define LOGITS_MAX  ((int64_t)1 << 24) /* floats of logits held at once: 64 MiB */
#define N_SIGNS_MAX 2

struct bal_forward {
    const bal_model   *model;
    const bal_kernels *kernels;
    int64_t            max_tokens, max_length;
    /* of the pass under way */
    const bal_direction *direction;
    int                  n_signs;  /* 2 with a direction, else 1 */
    int64_t              n_tokens; /* of the batch; rows are n_signs * n_tokens */
    /* activations, [rows][width] */
    float  *x, *h, *q, *k, *v, *gate, *up, *logits;
    int64_t logits_rows;
    /* quantized activations of the product under way */
    uint8_t *xq;
    float   *x_scale;
    int64_t  xq_stride;
    /* weights of the product under way */
    int8_t *z, *panel[N_SIGNS_MAX];
    float  *row_scale[N_SIGNS_MAX], *vector[N_SIGNS_MAX];
    float  *scores;
    float  *cosines, *sines; /* [max_length][head_dim], see bal_kernels.rotate */
};

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* Bytes of a quantized activation row: whole cache lines, and not a multiple of 4096, where all
 * rows would share one set of the L1 cache. */
static int64_t row_stride(int64_t n_cols)
{
    int64_t stride = (n_cols + 63) / 64 * 64;
    return stride % 4096 == 0 ? stride + 64 : stride;
}

static void fill_rotary_tables(bal_forward *f)
{
    int64_t dim = f->model->config.head_dim, half = dim / 2;
    bool    halves   = f->model->config.rope_pairs == BAL_ROPE_HALVES;
    double  log_base = bal_math_log(f->model->config.rope_base);
    for (int64_t i = 0; i < half; ++i) {
        double  frequency = bal_math_exp(-(double)i / (double)half * log_base);
        int64_t first = halves ? i : 2 * i, second = halves ? i + half : 2 * i + 1;
        for (int64_t position = 0; position < f->max_length; ++position) {
            double sine, cosine;
            bal_math_sincos((double)position * frequency, &sine, &cosine);
            f->cosines[position * dim + first]  = (float)cosine;
            f->cosines[position * dim + second] = (float)cosine;
            f->sines[position * dim + first]    = (float)-sine;
            f->sines[position * dim + second]   = (float)sine;
        }
    }
}

bal_status bal_forward_create(const bal_model *model, const bal_kernels *kernels,
                              int64_t max_tokens, int64_t max_length, bal_forward **forward)
{
    const bal_model_config *c = &model->config;
    assert(max_tokens >= 1 && max_length >= 1);
    if (max_length > c->max_tokens)
        return bal_fail(BAL_ERR_ARG, "a sequence of %lld tokens; the model reads at most %lld",
                        (long long)max_length, (long long)c->max_tokens);
    bal_status   status = BAL_ERR_MEMORY;
    bal_forward *f      = bal_alloc(1, sizeof *f);
    if (f == NULL) goto done;
    *f = (bal_forward){
        .model = model, .kernels = kernels, .max_tokens = max_tokens, .max_length = max_length};
    int64_t q_width = c->n_heads * c->head_dim, kv_width = c->n_kv_heads * c->head_dim;
    int64_t widest  = larger(larger(c->dim, c->hidden), q_width);
    int64_t tallest = larger(larger(c->n_vocab, c->hidden), larger(q_width, c->dim));
    tallest         = (tallest + BAL_BLOCK_CODES - 1) / BAL_BLOCK_CODES * BAL_BLOCK_CODES;
    int64_t signs   = model->format == BAL_F32 ? 1 : N_SIGNS_MAX;
    int64_t rows    = signs * max_tokens;
    f->logits_rows = larger(signs, rows < LOGITS_MAX / c->n_vocab ? rows : LOGITS_MAX / c->n_vocab);
    f->xq_stride   = row_stride(widest);
    int64_t panel_bytes = (widest + 3) / 4 * BAL_BLOCK_CODES;
    struct {
        void   *place;
        int64_t count;
        size_t  bytes;
    } buffers[] = {
        {&f->x, rows * c->dim, 4},
        {&f->h, rows * larger(c->dim, q_width), 4},
        {&f->q, rows * q_width, 4},
        {&f->k, rows * kv_width, 4},
        {&f->v, rows * kv_width, 4},
        {&f->gate, rows * larger(c->hidden, c->dim), 4},
        {&f->up, rows * c->hidden, 4},
        {&f->logits, f->logits_rows * c->n_vocab, 4},
        {&f->xq, rows * f->xq_stride, 1},
        {&f->x_scale, rows, 4},
        {&f->z, larger(panel_bytes, tallest), 1},
        {&f->panel[0], panel_bytes, 1},
        {&f->panel[1], panel_bytes, 1},
        {&f->row_scale[0], tallest, 4},
        {&f->row_scale[1], tallest, 4},
        {&f->vector[0], c->dim, 4},
        {&f->vector[1], c->dim, 4},
        {&f->scores, BAL_SCORES(max_length), 4},
        {&f->cosines, max_length * c->head_dim, 4},
        {&f->sines, max_length * c->head_dim, 4},
    };
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; ++i) {
        void *memory = bal_alloc((size_t)buffers[i].count, buffers[i].bytes);
        if (memory == NULL) goto done;
        memcpy(buffers[i].place, &memory, sizeof memory);
    }
    fill_rotary_tables(f);
    *forward = f;
    f        = NULL;
    status   = BAL_OK;
done:
    bal_forward_destroy(&f);
    if (status != BAL_OK)
        bal_fail(status, "no memory for a forward pass over %lld tokens", (long long)max_tokens);
    return status;
}

void bal_forward_destroy(bal_forward **forward)
{
    bal_forward *f = *forward;
    if (f == NULL) return;
    void *const buffers[] = {f->x,
                             f->h,
                             f->q,
                             f->k,
                             f->v,
                             f->gate,
                             f->up,
                             f->logits,
                             f->xq,
                             f->x_scale,
                             f->z,
                             f->panel[0],
                             f->panel[1],
                             f->row_scale[0],
                             f->row_scale[1],
                             f->vector[0],
                             f->vector[1],
                             f->scores,
                             f->cosines,
                             f->sines};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; ++i) free(buffers[i]);
    free(f);
    *forward = NULL;
}

/* z of blocks of a tensor in f->z, zeros at the code itself. */
static void fill_z(bal_forward *f, int index, int64_t first_block, int64_t n_blocks)
{
    if (f->direction != NULL)
        bal_direction_fill(f->direction, index, first_block, n_blocks, f->z);
    else
        memset(f->z, 0, (size_t)(n_blocks * BAL_BLOCK_CODES));
}

/* A code moved by z where it may move, at + (sign 0) and - (sign 1). */
static int moved(int code, int z, int limit, int sign)
{
    if (abs(code) + abs(z) > limit) return code; /* the gate */
    return sign == 0 ? code + z : code - z;
}

/* f->row_scale: per sign and row of a matrix, its scale times its gain. */
static void fill_row_scales(bal_forward *f, int index)
{
    const bal_tensor *matrix = bal_model_tensor(f->model, index);
    const bal_tensor *gain   = bal_model_tensor(f->model, index + 1);
    const int16_t    *codes  = gain->codes;
    fill_z(f, index + 1, 0, gain->n_blocks);
    for (int sign = 0; sign < f->n_signs; ++sign)
        for (int64_t row = 0; row < matrix->n_rows; ++row)
            f->row_scale[sign][row] =
                matrix->scale[row] *
                bal_gain_factor(moved(codes[row], f->z[row], gain->limit, sign));
}

/* Panel p of a matrix at both signs: where its codes stand and what its rows sum to. */
static void fill_panel(bal_forward *f, int index, int64_t p, const int8_t *panel[N_SIGNS_MAX],
                       int32_t sums[N_SIGNS_MAX][BAL_PANEL_ROWS])
{
    const bal_tensor *matrix = bal_model_tensor(f->model, index);
    int64_t           groups = (matrix->n_cols + 3) / 4;
    const int8_t     *codes  = (const int8_t *)matrix->codes + p * groups * BAL_BLOCK_CODES;
    if (f->direction == NULL) {
        panel[0] = codes;
        f->kernels->panel_sums(groups, codes, sums[0]);
        return;
    }
    fill_z(f, index, p * groups, groups);
    f->kernels->perturb_panel(groups, codes, f->z, f->panel[0], f->panel[1], sums[0], sums[1]);
    panel[0] = f->panel[0];
    panel[1] = f->panel[1];
}

/* Rows of x to int8, once for all the products that read them. */
static void quantize(bal_forward *f, const float *x, int64_t n_rows, int64_t n_cols)
{
    if (f->model->format != BAL_F32)
        f->kernels->quantize(n_rows, n_cols, x, f->xq, f->xq_stride, f->x_scale);
}

/* y = x w^T, the rows from first on of each sign; x is what quantize() was given. */
static void product_rows(bal_forward *f, int index, const float *x, int64_t rows_per_sign,
                         int64_t first, int64_t n, float *y)
{
    const bal_tensor *matrix = bal_model_tensor(f->model, index);
    int64_t           n_rows = matrix->n_rows, n_cols = matrix->n_cols;
    if (matrix->format == BAL_F32) {
        bal_product_f32(n, n_cols, n_rows, x + first * n_cols, matrix->codes, y);
        return;
    }
    fill_row_scales(f, index);
    for (int64_t row = 0; row < n_rows; row += BAL_PANEL_ROWS) {
        const int8_t *panel[N_SIGNS_MAX];
        int32_t       sums[N_SIGNS_MAX][BAL_PANEL_ROWS];
        fill_panel(f, index, row / BAL_PANEL_ROWS, panel, sums);
        int64_t n_here = n_rows - row < BAL_PANEL_ROWS ? n_rows - row : BAL_PANEL_ROWS;
        for (int sign = 0; sign < f->n_signs; ++sign) {
            int64_t from = sign * rows_per_sign + first;
            f->kernels->product_i8((n_cols + 3) / 4, panel[sign], sums[sign],
                                   f->row_scale[sign] + row, n_here, n, f->xq + from * f->xq_stride,
                                   f->xq_stride, f->x_scale + from, y + sign * n * n_rows + row,
                                   n_rows);
        }
    }
}

static void product(bal_forward *f, int index, const float *x, float *y)
{
    product_rows(f, index, x, f->n_tokens, 0, f->n_tokens, y);
}

/* h = norm of x with the weights of a vector tensor, rows_per_sign rows at each sign. */
static void normalize(bal_forward *f, int index, const float *x, int64_t rows_per_sign, float *h)
{
    const bal_tensor *vector = bal_model_tensor(f->model, index);
    int64_t           dim    = vector->n_cols;
    if (vector->format != BAL_F32) fill_z(f, index, 0, vector->n_blocks);
    for (int sign = 0; sign < f->n_signs; ++sign) {
        const float *weight = f->vector[sign];
        if (vector->format == BAL_F32)
            weight = vector->codes;
        else
            for (int64_t i = 0; i < dim; ++i)
                f->vector[sign][i] =
                    vector->scale[0] *
                    (float)moved(((const int16_t *)vector->codes)[i], f->z[i], vector->limit, sign);
        f->kernels->rms_norm(rows_per_sign, dim, x + sign * rows_per_sign * dim, weight,
                             (float)f->model->config.norm_eps, h + sign * rows_per_sign * dim);
    }
}

static void embed(bal_forward *f, const int32_t *tokens)
{
    int               index = f->model->embedding;
    const bal_tensor *table = bal_model_tensor(f->model, index);
    int64_t           dim   = table->n_cols;
    if (table->format == BAL_F32) {
        for (int64_t t = 0; t < f->n_tokens; ++t)
            memcpy(f->x + t * dim, (const float *)table->codes + tokens[t] * dim,
                   (size_t)dim * sizeof *f->x);
        return;
    }
    fill_row_scales(f, index);
    int64_t n_panels = (table->n_rows + BAL_PANEL_ROWS - 1) / BAL_PANEL_ROWS;
    for (int64_t p = 0; p < n_panels; ++p) {
        const int8_t *panel[N_SIGNS_MAX];
        int32_t       sums[N_SIGNS_MAX][BAL_PANEL_ROWS];
        bool          filled = false;
        for (int64_t t = 0; t < f->n_tokens; ++t) {
            if (tokens[t] / BAL_PANEL_ROWS != p) continue;
            if (!filled) fill_panel(f, index, p, panel, sums);
            filled = true;
            for (int sign = 0; sign < f->n_signs; ++sign) {
                const int8_t *codes = panel[sign] + tokens[t] % BAL_PANEL_ROWS * 4;
                float         scale = f->row_scale[sign][tokens[t]];
                float        *x     = f->x + (sign * f->n_tokens + t) * dim;
                for (int64_t i = 0; i < dim; ++i)
                    x[i] = scale * (float)codes[i / 4 * BAL_BLOCK_CODES + i % 4];
            }
        }
    }
}

static void rotate(const bal_forward *f, int64_t position, int64_t n_heads, float *x)
{
    int64_t dim = f->model->config.head_dim;
    f->kernels->rotate(n_heads, dim, f->model->config.rope_pairs == BAL_ROPE_HALVES,
                       f->cosines + position * dim, f->sines + position * dim, x);
}

static void attend(bal_forward *f, const int64_t *start, int64_t n_sequences)
{
    const bal_model_config *c = &f->model->config;
    int64_t q_width = c->n_heads * c->head_dim, kv_width = c->n_kv_heads * c->head_dim;
    for (int sign = 0; sign < f->n_signs; ++sign)
        for (int64_t s = 0; s < n_sequences; ++s) {
            int64_t first = sign * f->n_tokens + start[s], n = start[s + 1] - start[s];
            for (int64_t t = 0; t < n; ++t) {
                rotate(f, t, c->n_heads, f->q + (first + t) * q_width);
                rotate(f, t, c->n_kv_heads, f->k + (first + t) * kv_width);
            }
            f->kernels->attention(&(bal_attention){.n_tokens   = n,
                                                   .n_heads    = c->n_heads,
                                                   .n_kv_heads = c->n_kv_heads,
                                                   .head_dim   = c->head_dim,
                                                   .q          = f->q + first * q_width,
                                                   .k          = f->k + first * kv_width,
                                                   .v          = f->v + first * kv_width,
                                                   .y          = f->h + first * q_width,
                                                   .scores     = f->scores});
        }
}

/* The residual stream after the last layer, in f->x. */
static void run_layers(bal_forward *f, const bal_direction *direction, const int32_t *tokens,
                       int64_t n_tokens, const int64_t *start, int64_t n_sequences)
{
    const bal_model_config *c = &f->model->config;
    assert(n_tokens <= f->max_tokens && (direction == NULL || f->model->format != BAL_F32));
    f->direction = direction;
    f->n_signs   = direction != NULL ? 2 : 1;
    f->n_tokens  = n_tokens;
    int64_t rows = f->n_signs * n_tokens;
    embed(f, tokens);
    for (int64_t i = 0; i < c->n_layers; ++i) {
        const bal_layer *layer = &f->model->layers[i];
        normalize(f, layer->attention_norm, f->x, n_tokens, f->h);
        quantize(f, f->h, rows, c->dim);
        product(f, layer->q, f->h, f->q);
        product(f, layer->k, f->h, f->k);
        product(f, layer->v, f->h, f->v);
        attend(f, start, n_sequences);
        quantize(f, f->h, rows, c->n_heads * c->head_dim);
        product(f, layer->o, f->h, f->gate);
        f->kernels->add(rows * c->dim, f->x, f->gate);
        normalize(f, layer->mlp_norm, f->x, n_tokens, f->h);
        quantize(f, f->h, rows, c->dim);
        product(f, layer->gate, f->h, f->gate);
        product(f, layer->up, f->h, f->up);
        f->kernels->swiglu(rows * c->hidden, f->gate, f->up);
        quantize(f, f->gate, rows, c->hidden);
        product(f, layer->down, f->gate, f->h);
        f->kernels->add(rows * c->dim, f->x, f->h);
    }
}

bal_status bal_forward_losses(bal_forward *f, const bal_batch *batch,
                              const bal_direction *direction, bal_losses *losses)
{
    int64_t dim = f->model->config.dim, n_vocab = f->model->config.n_vocab, n = batch->n_tokens;
    run_layers(f, direction, batch->tokens, n, batch->start, batch->n_sequences);
    normalize(f, f->model->final_norm, f->x, n, f->h);
    quantize(f, f->h, f->n_signs * n, dim);
    for (int sign = 0; sign < f->n_signs; ++sign) {
        losses[sign].loss = losses[sign].n_right = 0;
        if (losses[sign].per_sequence != NULL)
            memset(losses[sign].per_sequence, 0,
                   (size_t)batch->n_sequences * sizeof *losses[sign].per_sequence);
    }
    int64_t block = larger(1, f->logits_rows / f->n_signs), sequence = 0;
    for (int64_t first = 0; first < n; first += block) { /* logits are held for a block at once */
        int64_t n_here = n - first < block ? n - first : block;
        product_rows(f, f->model->head, f->h, n, first, n_here, f->logits);
        for (int64_t t = first; t < first + n_here; ++t) {
            while (t >= batch->start[sequence + 1]) ++sequence;
            for (int sign = 0; sign < f->n_signs; ++sign) {
                const float *logits = f->logits + (sign * n_here + t - first) * n_vocab;
                bool         right;
                float nats = f->kernels->cross_entropy(n_vocab, logits, batch->targets[t], &right);
                if (!isfinite(nats))
                    return bal_fail(BAL_ERR_NUMERIC,
                                    "the loss of token %lld of sequence %lld is %g; the weights or "
                                    "scales of the model are out of range",
                                    (long long)(t - batch->start[sequence]), (long long)sequence,
                                    (double)nats);
                int64_t units = (int64_t)rint((double)nats * BAL_LOSS_UNITS_PER_NAT);
                losses[sign].loss += units;
                losses[sign].n_right += right;
                if (losses[sign].per_sequence != NULL) losses[sign].per_sequence[sequence] += units;
            }
        }
    }
    return BAL_OK;
}

/* Logits of the rows from first on of one sequence. */
static bal_status sequence_logits(bal_forward *f, const int32_t *tokens, int64_t n_tokens,
                                  int64_t first, float *logits)
{
    int64_t dim = f->model->config.dim, n = n_tokens - first;
    run_layers(f, NULL, tokens, n_tokens, (int64_t[]){0, n_tokens}, 1);
    normalize(f, f->model->final_norm, f->x, n_tokens, f->h);
    quantize(f, f->h, n_tokens, dim);
    product_rows(f, f->model->head, f->h, n_tokens, first, n, logits);
    for (int64_t i = 0; i < n * f->model->config.n_vocab; ++i)
        if (!isfinite(logits[i])) return bal_fail(BAL_ERR_NUMERIC, "a logit is not finite");
    return BAL_OK;
}

bal_status bal_forward_logits(bal_forward *f, const int32_t *tokens, int64_t n_tokens,
                              float *logits)
{
    return sequence_logits(f, tokens, n_tokens, 0, logits);
}

bal_status bal_forward_next(bal_forward *f, const int32_t *tokens, int64_t n_tokens, float *logits)
{
    return sequence_logits(f, tokens, n_tokens, n_tokens - 1, logits);
}
