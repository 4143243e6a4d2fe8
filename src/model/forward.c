/* forward.c: the forward pass at code + z and code - z side by side, or at the code itself. Rows of
 * every activation are the tokens of the batch, at + first, then, if there is a direction, at -. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model_impl.h"

#define PIECE       256 /* words of the vocabulary whose logits are held at once, for all tokens */
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
    float        *x, *h, *q, *k, *v, *gate, *up, *logits, *target;
    bal_exp_sums *sums;
    /* quantized activations of the product under way */
    int8_t  *xq;
    float   *x_scale;
    int32_t *x_sum;
    int64_t  xq_stride;
    /* weights of the product under way */
    int8_t  *z;
    uint8_t *negative, *moves, *strip[N_SIGNS_MAX];
    float   *row_scale[N_SIGNS_MAX], *vector[N_SIGNS_MAX];
    float   *scores;
    float   *cosines, *sines; /* [max_length][head_dim], see bal_kernels.rotate */
};

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

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
    int64_t widest      = larger(larger(c->dim, c->hidden), q_width);
    int64_t signs       = model->format == BAL_F32 ? 1 : N_SIGNS_MAX;
    int64_t rows        = signs * max_tokens;
    f->xq_stride        = bal_row_stride(widest);
    int64_t panel_bytes = (widest + 63) / 64 * 16 * BAL_BLOCK_CODES;
    int64_t strip_bytes = larger(panel_bytes, BAL_STRIP_BYTES) + 15 * BAL_BLOCK_CODES;
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
        {&f->gate, rows * c->hidden, 4},
        {&f->up, rows * (model->format == BAL_F32 ? c->hidden : BAL_BLOCK_CODES), 4},
        {&f->logits, rows * PIECE, 4},
        {&f->target, rows, 4},
        {&f->sums, rows, sizeof *f->sums},
        {&f->xq, rows * f->xq_stride, 1},
        {&f->x_scale, rows, 4},
        {&f->x_sum, rows, 4},
        {&f->z, panel_bytes, 1},
        {&f->negative, panel_bytes / 8, 1},
        {&f->moves, panel_bytes / 8, 1},
        {&f->strip[0], strip_bytes, 1},
        {&f->strip[1], strip_bytes, 1},
        {&f->row_scale[0], BAL_BLOCK_CODES, 4},
        {&f->row_scale[1], BAL_BLOCK_CODES, 4},
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
                             f->target,
                             f->sums,
                             f->xq,
                             f->x_scale,
                             f->x_sum,
                             f->z,
                             f->negative,
                             f->moves,
                             f->strip[0],
                             f->strip[1],
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

/* f->row_scale: per sign and row of a strip, its scale times its gain. A strip is n_rows rows from
 * row on, whole panels, that share a block of gains. */
static void fill_row_scales(bal_forward *f, int index, int64_t row, int64_t n_rows)
{
    const bal_tensor *matrix = bal_model_tensor(f->model, index);
    const bal_tensor *gain   = bal_model_tensor(f->model, index + 1);
    int64_t           block  = row / BAL_BLOCK_CODES;
    const int8_t     *z      = f->z + row % BAL_BLOCK_CODES;
    fill_z(f, index + 1, block, 1);
    for (int sign = 0; sign < f->n_signs; ++sign)
        for (int64_t r = 0; r < n_rows; ++r)
            f->row_scale[sign][r] =
                matrix->scale[row + r] *
                bal_gain_factor(moved(bal_tensor_code(gain, row + r), z[r], gain->limit, sign));
}

/* A strip at both signs, as the product reads it, and its row scales. */
static void fill_strip(bal_forward *f, int index, int64_t row, int64_t n_rows,
                       const uint8_t *strip[N_SIGNS_MAX])
{
    const bal_tensor *matrix = bal_model_tensor(f->model, index);
    int64_t           groups = (matrix->n_cols + 3) / 4, panel_bytes = groups * BAL_BLOCK_CODES;
    const uint8_t    *codes = (const uint8_t *)matrix->codes + row / BAL_PANEL_ROWS * panel_bytes;
    fill_row_scales(f, index, row, n_rows);
    strip[0] = f->strip[0];
    strip[1] = f->strip[1];
    if (f->direction == NULL) {
        strip[0] = codes; /* which are what the product reads */
        return;
    }
    for (int64_t at = 0; at < n_rows; at += BAL_PANEL_ROWS) {
        int64_t to      = at / BAL_PANEL_ROWS * panel_bytes,
                first   = (row + at) / BAL_PANEL_ROWS * groups;
        bal_panel panel = {.format = BAL_PANEL_I8, .n_groups = groups, .codes = codes + to};
        if (f->direction->measure.options.kind == BAL_DIRECTIONS_UNIFORM) {
            fill_z(f, index, first, groups);
            panel.z = f->z;
        } else {
            bal_direction_bits(f->direction, index, first, groups, f->negative, f->moves);
            panel.negative = f->negative;
            panel.moves    = f->moves;
        }
        f->kernels->move_panel(&panel, f->strip[0] + to, f->strip[1] + to);
    }
}

/* The rows that the next products read, x [n_rows][n_cols]: as int8, once for all of them. */
static void set_input(bal_forward *f, const float *x, int64_t n_rows, int64_t n_cols)
{
    if (f->model->format != BAL_F32)
        f->kernels->quantize(n_rows, n_cols, x, f->xq, f->xq_stride, f->x_scale, f->x_sum);
}

/* The same of the residual stream, normalized with the weights of a vector; floats in f->h. */
static void set_normalized_input(bal_forward *f, int index)
{
    const bal_tensor *vector = bal_model_tensor(f->model, index);
    int64_t           dim = vector->n_cols, n = f->n_tokens;
    float             eps = (float)f->model->config.norm_eps;
    if (vector->format == BAL_F32) {
        f->kernels->rms_norm(n, dim, f->x, vector->codes, eps, f->h);
        return;
    }
    fill_z(f, index, 0, vector->n_blocks);
    for (int sign = 0; sign < f->n_signs; ++sign) {
        float  *weight = f->vector[sign];
        int64_t first  = sign * n;
        for (int64_t i = 0; i < dim; ++i)
            weight[i] = vector->scale[0] *
                        (float)moved(bal_tensor_code(vector, i), f->z[i], vector->limit, sign);
        f->kernels->rms_norm_i8(n, dim, f->x + first * dim, weight, eps,
                                f->xq + first * f->xq_stride, f->xq_stride, f->x_scale + first,
                                f->x_sum + first);
    }
}

/* y = x w^T, or y + that, of a strip: n of the input's rows of each sign, from first on, to rows of
 * y that lie y_stride apart, those of - after those of +. */
static void strip_product(bal_forward *f, int index, int64_t row, int64_t n_rows, int64_t first,
                          int64_t n, bool adds, float *y, int64_t y_stride)
{
    const bal_tensor *matrix = bal_model_tensor(f->model, index);
    int64_t           groups = (matrix->n_cols + 3) / 4;
    const uint8_t    *strip[N_SIGNS_MAX], *codes = matrix->codes;
    bal_weights_u8    w = {.n_groups = groups, .n_rows = n_rows};
    fill_strip(f, index, row, n_rows, strip);
    for (int sign = 0; sign < f->n_signs; ++sign) {
        int64_t     from = sign * f->n_tokens + first;
        bal_rows_i8 rows = {n, f->xq_stride, f->xq + from * f->xq_stride, f->x_scale + from,
                            f->x_sum + from};
        w.entries        = strip[sign];
        w.scale          = f->row_scale[sign];
        w.next           = sign == f->n_signs - 1 ? codes + (row + n_rows) * 4 * groups : NULL;
        f->kernels->product_i8(&w, &rows, adds, y + sign * n * y_stride, y_stride);
    }
}

static int64_t strip_rows(const bal_tensor *matrix, int64_t row)
{
    return bal_strip_rows(matrix->n_rows, (matrix->n_cols + 3) / 4, row);
}

/* y = x w^T, or y + that, of all input rows; x is what set_input() was given. */
static void product(bal_forward *f, int index, const float *x, bool adds, float *y)
{
    const bal_tensor *matrix = bal_model_tensor(f->model, index);
    int64_t           n = f->n_tokens, width = matrix->n_rows;
    if (matrix->format == BAL_F32) {
        bal_product_f32(n, matrix->n_cols, width, x, matrix->codes, adds, y);
        return;
    }
    for (int64_t row = 0, n_rows; row < width; row += n_rows) {
        n_rows = strip_rows(matrix, row);
        strip_product(f, index, row, n_rows, 0, n, adds, y + row, width);
    }
}

/* f->gate = silu(gate) * up, strip by strip while it is near. */
static void gated_product(bal_forward *f, const bal_layer *layer)
{
    const bal_tensor *gate = bal_model_tensor(f->model, layer->gate);
    int64_t           n = f->n_tokens, width = gate->n_rows;
    if (gate->format == BAL_F32) {
        product(f, layer->gate, f->h, false, f->gate);
        product(f, layer->up, f->h, false, f->up);
        f->kernels->swiglu(n, width, f->gate, width, f->up, width);
        return;
    }
    for (int64_t row = 0, n_rows; row < width; row += n_rows) {
        n_rows = strip_rows(gate, row);
        strip_product(f, layer->gate, row, n_rows, 0, n, false, f->gate + row, width);
        strip_product(f, layer->up, row, n_rows, 0, n, false, f->up, n_rows);
        f->kernels->swiglu(f->n_signs * n, n_rows, f->gate + row, width, f->up, n_rows);
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
    for (int64_t first = 0; first < table->n_rows; first += BAL_PANEL_ROWS) {
        int64_t n_rows =
            table->n_rows - first < BAL_PANEL_ROWS ? table->n_rows - first : BAL_PANEL_ROWS;
        const uint8_t *panel[N_SIGNS_MAX];
        bool           filled = false;
        for (int64_t t = 0; t < f->n_tokens; ++t) {
            if (tokens[t] < first || tokens[t] >= first + n_rows) continue;
            if (!filled) fill_strip(f, index, first, n_rows, panel);
            filled = true;
            for (int sign = 0; sign < f->n_signs; ++sign) {
                int64_t        row   = tokens[t] % BAL_PANEL_ROWS;
                const uint8_t *codes = panel[sign] + 4 * row;
                float          scale = f->row_scale[sign][row];
                float         *x     = f->x + (sign * f->n_tokens + t) * dim;
                for (int64_t i = 0; i < dim; ++i)
                    x[i] = scale * (float)(codes[i / 4 * BAL_BLOCK_CODES + i % 4] - 128);
            }
        }
    }
}

static void attend(bal_forward *f, const int64_t *start, int64_t n_sequences)
{
    const bal_model_config *c = &f->model->config;
    int64_t q_width = c->n_heads * c->head_dim, kv_width = c->n_kv_heads * c->head_dim;
    bool    halves = c->rope_pairs == BAL_ROPE_HALVES;
    for (int sign = 0; sign < f->n_signs; ++sign)
        for (int64_t s = 0; s < n_sequences; ++s) {
            int64_t first = sign * f->n_tokens + start[s], n = start[s + 1] - start[s];
            f->kernels->rotate(n, c->n_heads, c->head_dim, halves, f->cosines, f->sines,
                               f->q + first * q_width);
            f->kernels->rotate(n, c->n_kv_heads, c->head_dim, halves, f->cosines, f->sines,
                               f->k + first * kv_width);
            f->kernels->attention(&(bal_attention){.n_queries  = n,
                                                   .n_keys     = n,
                                                   .causal     = true,
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
        set_normalized_input(f, layer->attention_norm);
        product(f, layer->q, f->h, false, f->q);
        product(f, layer->k, f->h, false, f->k);
        product(f, layer->v, f->h, false, f->v);
        attend(f, start, n_sequences);
        set_input(f, f->h, rows, c->n_heads * c->head_dim);
        product(f, layer->o, f->h, true, f->x);
        set_normalized_input(f, layer->mlp_norm);
        gated_product(f, layer);
        set_input(f, f->gate, rows, c->hidden);
        product(f, layer->down, f->gate, true, f->x);
    }
    set_normalized_input(f, f->model->final_norm);
}

/* Logits of n words from word on, n at most PIECE and word a multiple of it, in f->logits: for n
 * input rows of each sign from first on. */
static void fill_logits(bal_forward *f, int64_t word, int64_t n_words, int64_t first, int64_t n)
{
    int               head   = f->model->head;
    const bal_tensor *matrix = bal_model_tensor(f->model, head);
    int64_t           dim    = matrix->n_cols;
    if (matrix->format == BAL_F32) {
        bal_product_f32(n, dim, n_words, f->h + first * dim,
                        (const float *)matrix->codes + word * dim, false, f->logits);
        return;
    }
    for (int64_t end = word + n_words, row = word, n_rows; row < end; row += n_rows) {
        n_rows = strip_rows(matrix, row); /* a strip divides a piece */
        strip_product(f, head, row, n_rows, first, n, false, f->logits + row - word, n_words);
    }
}

bal_status bal_forward_losses(bal_forward *f, const bal_batch *batch,
                              const bal_direction *direction, bal_losses *losses)
{
    int64_t n_vocab = f->model->config.n_vocab, n = batch->n_tokens, sequence = 0;
    run_layers(f, direction, batch->tokens, n, batch->start, batch->n_sequences);
    for (int64_t word = 0; word < n_vocab; word += PIECE) {
        int64_t n_words = n_vocab - word < PIECE ? n_vocab - word : PIECE;
        fill_logits(f, word, n_words, 0, n);
        f->kernels->exp_sums(f->n_signs * n, n_words, f->logits, n_words, word == 0, f->sums);
        for (int64_t row = 0; row < f->n_signs * n; ++row) {
            int64_t target = batch->targets[row % n] - word;
            if (target >= 0 && target < n_words) f->target[row] = f->logits[row * n_words + target];
        }
    }
    for (int sign = 0; sign < f->n_signs; ++sign) {
        losses[sign].loss = losses[sign].n_right = 0;
        if (losses[sign].per_sequence != NULL)
            memset(losses[sign].per_sequence, 0,
                   (size_t)batch->n_sequences * sizeof *losses[sign].per_sequence);
    }
    for (int64_t t = 0; t < n; ++t) {
        while (t >= batch->start[sequence + 1]) ++sequence;
        for (int sign = 0; sign < f->n_signs; ++sign) {
            int64_t row = sign * n + t;
            bool    right;
            float   nats = f->kernels->cross_entropy(&f->sums[row], f->target[row], &right);
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
    return BAL_OK;
}

/* Logits of the rows from first on of one sequence. */
static bal_status sequence_logits(bal_forward *f, const int32_t *tokens, int64_t n_tokens,
                                  int64_t first, float *logits)
{
    int64_t n = n_tokens - first, n_vocab = f->model->config.n_vocab;
    run_layers(f, NULL, tokens, n_tokens, (int64_t[]){0, n_tokens}, 1);
    for (int64_t word = 0; word < n_vocab; word += PIECE) {
        int64_t n_words = n_vocab - word < PIECE ? n_vocab - word : PIECE;
        fill_logits(f, word, n_words, first, n);
        for (int64_t row = 0; row < n; ++row)
            memcpy(logits + row * n_vocab + word, f->logits + row * n_words,
                   (size_t)n_words * sizeof *logits);
    }
    for (int64_t i = 0; i < n * n_vocab; ++i)
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
