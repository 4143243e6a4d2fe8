/* forward.c: from tokens to what the head reads. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "forward_impl.h"

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* Angle per position of pair i. Source: Su et al. 2021; scaling as in transformers,
 * modeling_rope_utils: a pair that turns more than rope_high times within rope_original tokens
 * stays as it is, one that turns less than rope_low times is slowed down by rope_factor. */
static double rotary_frequency(const bal_model_config *c, int64_t i)
{
    const double two_pi = 6.283185307179586;
    double share = (double)i / (double)(c->head_dim / 2);
    double plain = bal_math_exp(-share * bal_math_log(c->rope.base));
    if (c->rope.kind == BAL_ROPE_PLAIN) return plain;
    if (c->rope.kind == BAL_ROPE_LINEAR) return plain / c->rope.factor;
    double turns = c->rope.original * plain / two_pi;
    if (turns > c->rope.high) return plain;
    if (turns < c->rope.low) return plain / c->rope.factor;
    double smooth = (turns - c->rope.low) / (c->rope.high - c->rope.low);
    return (1.0 - smooth) * plain / c->rope.factor + smooth * plain;
}

static void fill_rotary_tables(bal_forward *f)
{
    const bal_model_config *c = &f->model->config;
    int64_t dim = c->head_dim, half = dim / 2;
    bool halves = c->rope.pairs == BAL_ROPE_HALVES;
    for (int64_t i = 0; i < half; ++i) {
        double frequency = rotary_frequency(c, i);
        int64_t first = halves ? i : 2 * i, second = halves ? i + half : 2 * i + 1;
        for (int64_t position = 0; position < f->capacity.max_length; ++position) {
            double sine, cosine;
            bal_math_sincos((double)position * frequency, &sine, &cosine);
            f->angles.cosines[position * dim + first] = (float)cosine;
            f->angles.cosines[position * dim + second] = (float)cosine;
            f->angles.sines[position * dim + first] = (float)-sine;
            f->angles.sines[position * dim + second] = (float)sine;
        }
    }
}

/* Every buffer of the work space, and its size. */
typedef struct buffer {
    void *place;
    int64_t count;
    size_t bytes;
} buffer;
#define N_BUFFERS 39

static void list_buffers(bal_forward *f, buffer buffers[N_BUFFERS])
{
    const bal_model_config *c = &f->model->config;
    bool integer = bal_model_is_integer(f->model);
    int64_t q_width = c->n_heads * c->head_dim, kv_width = c->n_kv_heads * c->head_dim;
    int64_t embed_dim = bal_embed_dim(c), wide = larger(larger(c->dim, q_width), embed_dim);
    int64_t widest = larger(wide, c->hidden),
            rows = (integer ? N_SIGNS_MAX : 1) * f->capacity.max_tokens;
    int64_t vector = larger(larger(c->dim, c->head_dim), BAL_BLOCK_CODES);
    int64_t panel_bytes = (widest + 63) / 64 * 16 * BAL_BLOCK_CODES;
    int64_t strip_bytes = larger(panel_bytes, BAL_STRIP_BYTES) + 15 * BAL_BLOCK_CODES;
    int64_t rotary = c->embed.n_positions > 0 ? 1 : f->capacity.max_length * c->head_dim;
    f->input.stride = bal_row_stride(widest);
    const buffer all[N_BUFFERS] = {
        {&f->x, rows * c->dim, 4},
        {&f->h, rows * wide, 4},
        {&f->q, rows * larger(q_width, embed_dim), 4},
        {&f->k, rows * kv_width, 4},
        {&f->v, rows * kv_width, 4},
        {&f->gate, rows * c->hidden, 4},
        {&f->up, rows * (integer ? BAL_BLOCK_CODES : c->hidden), 4},
        {&f->out.logits, rows * PIECE, 4},
        {&f->out.target, rows, 4},
        {&f->out.sums, rows, sizeof *f->out.sums},
        {&f->input.ids, f->capacity.max_tokens, 4},
        {&f->out.row, f->capacity.max_tokens, 4},
        {&f->input.codes, rows * f->input.stride, 1},
        {&f->input.scale, rows, 4},
        {&f->input.sum, rows, 4},
        {&f->moved.z, larger(panel_bytes, (vector + 255) / 256 * 256), 1},
        {&f->moved.negative, N_SIGNS_MAX * panel_bytes / 8, 1},
        {&f->moved.moves, panel_bytes / 8, 1},
        {&f->moved.strip[0], strip_bytes, 1},
        {&f->moved.strip[1], strip_bytes, 1},
        {&f->moved.row_scale[0], BAL_BLOCK_CODES, 4},
        {&f->moved.row_scale[1], BAL_BLOCK_CODES, 4},
        {&f->moved.vector[0][0], vector, 4},
        {&f->moved.vector[0][1], vector, 4},
        {&f->moved.vector[1][0], vector, 4},
        {&f->moved.vector[1][1], vector, 4},
        {&f->angles.scores, BAL_SCORES(f->capacity.max_length), 4},
        {&f->angles.cosines, rotary, 4},
        {&f->angles.sines, rotary, 4},
        {&f->angles.keys, f->capacity.max_length * kv_width, 4},
        {&f->angles.values, f->capacity.max_length * kv_width, 4},
        {&f->kept.stretches, f->capacity.max_tokens, sizeof *f->kept.stretches},
        {&f->kept.last, f->capacity.max_tokens, sizeof *f->kept.last},
        {&f->kept.chain, f->capacity.max_length, 4},
        {&f->kept.tokens, f->capacity.max_tokens, 4},
        {&f->kept.start, f->capacity.max_tokens + 1, sizeof *f->kept.start},
        {&f->kept.parent, f->capacity.max_tokens, sizeof *f->kept.parent},
        {&f->kept.place, f->capacity.max_tokens, sizeof *f->kept.place},
        {&f->kept.after, f->capacity.max_tokens, sizeof *f->kept.after},
    };
    memcpy(buffers, all, sizeof all);
}

size_t bal_forward_bytes(const bal_model *model, int64_t max_tokens, int64_t max_length)
{
    bal_forward f = {.model = model, .capacity = {max_tokens, max_length}};
    buffer buffers[N_BUFFERS];
    size_t n_bytes = sizeof f;
    list_buffers(&f, buffers);
    for (int i = 0; i < N_BUFFERS; ++i) n_bytes += (size_t)buffers[i].count * buffers[i].bytes;
    return n_bytes;
}

bal_status bal_forward_create(const bal_model *model, const bal_kernels *kernels,
                              int64_t max_tokens, int64_t max_length, bal_forward **forward)
{
    assert(max_tokens >= 1 && max_length >= 1);
    if (max_length > model->config.max_tokens)
        return bal_fail(BAL_ERR_ARG, "a sequence of %lld tokens; the model reads at most %lld",
                        (long long)max_length, (long long)model->config.max_tokens);
    bal_status status = BAL_ERR_MEMORY;
    bal_forward *f = bal_alloc(1, sizeof *f);
    buffer buffers[N_BUFFERS];
    if (f == NULL) goto done;
    *f = (bal_forward){.model = model, .kernels = kernels, .capacity = {max_tokens, max_length}};
    list_buffers(f, buffers);
    for (int i = 0; i < N_BUFFERS; ++i) {
        void *memory = bal_alloc((size_t)buffers[i].count, buffers[i].bytes);
        if (memory == NULL) goto done;
        memcpy(buffers[i].place, &memory, sizeof memory);
    }
    if (model->config.embed.n_positions == 0) fill_rotary_tables(f);
    *forward = f;
    f = NULL;
    status = BAL_OK;
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
    buffer buffers[N_BUFFERS];
    list_buffers(f, buffers);
    for (int i = 0; i < N_BUFFERS; ++i) {
        void *memory;
        memcpy(&memory, buffers[i].place, sizeof memory);
        free(memory);
    }
    free(f->kept.values);
    free(f);
    *forward = NULL;
}

static int64_t parent_of(const bal_sequences *s, int64_t i)
{
    return s->parent != NULL ? s->parent[i] : -1;
}

/* The stretch that a sequence without a parent continues, or NULL. */
static const bal_stretch *stretch_before(const bal_sequences *s, int64_t i)
{
    return s->after != NULL ? s->after[i] : NULL;
}

const bal_model *bal_forward_model(const bal_forward *f) { return f->model; }

int64_t bal_forward_length(const bal_forward *f) { return f->capacity.max_length; }

/* The cache that sequence i continues at a sign, or NULL. */
static bal_cache *cache_of(const bal_forward *f, const bal_sequences *s, int64_t i, int sign)
{
    if (f->pass.caches == NULL) return NULL;
    return f->pass.caches[f->pass.is_shared ? 0 : sign * s->n + i];
}

/* Position of a sequence's first token: after those in its cache, as many at each sign, and those
 * of its parents. */
static int64_t first_position(const bal_forward *f, const bal_sequences *s, int64_t i)
{
    const bal_cache *cache = cache_of(f, s, i, 0);
    int64_t position = cache != NULL ? cache->n_tokens : 0, from = i;
    for (i = parent_of(s, i); i >= 0; from = i, i = parent_of(s, i))
        position += s->start[i + 1] - s->start[i];
    const bal_stretch *after = stretch_before(s, from);
    return after != NULL ? position + after->position + after->n : position;
}

/* The residual stream before the first layer. */
void bal_forward_enter(bal_forward *f, const bal_sequences *s)
{
    const bal_model *m = f->model;
    const bal_model_config *c = &m->config;
    bool projected = m->project_in.weight >= 0;
    bal_forward_embed(f, &m->embedding, s->tokens, s->stride, false, projected ? f->h : f->x);
    if (projected) {
        bal_forward_read(f, &m->project_in, f->h);
        bal_forward_apply(f, &m->project_in, false, f->x);
    }
    if (m->positions.weight >= 0) {
        for (int64_t i = 0; i < s->n; ++i)
            for (int64_t t = s->start[i]; t < s->start[i + 1]; ++t)
                f->input.ids[t] =
                    (int32_t)(c->embed.position_offset + first_position(f, s, i) + t - s->start[i]);
        bal_forward_embed(f, &m->positions, f->input.ids, 0, true, f->x);
    }
    if (m->types.weight >= 0) {
        memset(f->input.ids, 0, (size_t)s->n_tokens * sizeof *f->input.ids);
        bal_forward_embed(f, &m->types, f->input.ids, 0, true, f->x);
    }
    if (m->embed_norm.weight >= 0) bal_forward_norm(f, &m->embed_norm, s->n_tokens, f->x, f->x);
}

/* Keys and values of a stretch and of those that it continues, end to end, up to its end. */
static void lay_out_kept(const bal_forward *f, int64_t layer, const bal_stretch *stretch,
                         float *keys, float *values)
{
    int64_t width = f->model->config.n_kv_heads * f->model->config.head_dim;
    while (stretch != NULL) {
        int64_t n = stretch->n * width, to = stretch->position * width;
        const float *from = stretch->kept + (layer - f->kept.first) * 2 * n;
        memcpy(keys + to, from, (size_t)n * sizeof *keys);
        memcpy(values + to, from + n, (size_t)n * sizeof *values);
        stretch = stretch->parent >= 0 ? &f->kept.stretches[stretch->parent] : NULL;
    }
}

/* Keys and values of sequence i at a sign and of what it continues, end to end, so that it ends at
 * position end. What is kept is the same at every sign and lies there since the first. */
static void lay_out_keys(const bal_forward *f, int64_t layer, const bal_sequences *s, int64_t i,
                         int sign, int64_t end, float *keys, float *values)
{
    int64_t width = f->model->config.n_kv_heads * f->model->config.head_dim, root = i;
    int64_t from = sign * f->pass.n_tokens;
    for (; i >= 0; root = i, i = parent_of(s, i)) {
        int64_t n = s->start[i + 1] - s->start[i], at = (from + s->start[i]) * width;
        end -= n;
        memcpy(keys + end * width, f->k + at, (size_t)(n * width) * sizeof *keys);
        memcpy(values + end * width, f->v + at, (size_t)(n * width) * sizeof *values);
    }
    if (sign == 0) lay_out_kept(f, layer, stretch_before(s, root), keys, values);
}

/* Attention of sequence i at a sign, of q to h. */
static void attend_sequence(bal_forward *f, int64_t layer, const bal_sequences *s, int64_t i,
                            int sign)
{
    const bal_model_config *c = &f->model->config;
    int64_t q_width = c->n_heads * c->head_dim, kv_width = c->n_kv_heads * c->head_dim;
    int64_t from = sign * f->pass.n_tokens, first = from + s->start[i],
            n = s->start[i + 1] - s->start[i];
    int64_t position = first_position(f, s, i);
    bool halves = c->rope.pairs == BAL_ROPE_HALVES;
    float *q = f->q + first * q_width, *k = f->k + first * kv_width, *v = f->v + first * kv_width;
    if (c->embed.n_positions == 0) {
        const float *cosines = f->angles.cosines + position * c->head_dim;
        const float *sines = f->angles.sines + position * c->head_dim;
        f->kernels->lanes.rotate(n, c->n_heads, c->head_dim, halves, cosines, sines, q);
        f->kernels->lanes.rotate(n, c->n_kv_heads, c->head_dim, halves, cosines, sines, k);
    }
    const bal_cache *cache = cache_of(f, s, i, sign);
    if (cache != NULL || parent_of(s, i) >= 0 || stretch_before(s, i) != NULL) {
        int64_t at = cache != NULL ? layer * cache->max_length * kv_width : 0;
        k = cache != NULL ? cache->k + at : f->angles.keys;
        v = cache != NULL ? cache->v + at : f->angles.values;
        lay_out_keys(f, layer, s, i, sign, position + n, k, v);
    }
    f->kernels->lanes.attention(&(bal_attention){.n_queries = n,
                                                 .n_keys = position + n,
                                                 .first = position,
                                                 .causal = !bal_has(f->model, BAL_ENCODER),
                                                 .window = c->window,
                                                 .n_heads = c->n_heads,
                                                 .n_kv_heads = c->n_kv_heads,
                                                 .head_dim = c->head_dim,
                                                 .q = q,
                                                 .k = k,
                                                 .v = v,
                                                 .y = f->h + first * q_width,
                                                 .scores = f->angles.scores});
}

void bal_forward_attend(bal_forward *f, int64_t index, const bal_sequences *s)
{
    const bal_model_config *c = &f->model->config;
    const bal_layer *layer = &f->model->layers[index];
    bal_forward_read(f, &layer->q, f->x);
    bal_forward_apply(f, &layer->q, false, f->q);
    bal_forward_apply(f, &layer->k, false, f->k);
    bal_forward_apply(f, &layer->v, false, f->v);
    int64_t n_queries = f->pass.n_signs * f->pass.n_tokens * c->n_heads * c->head_dim;
    for (int64_t i = 0; i < n_queries && bal_has(f->model, BAL_SCALE_BY_LAYER); ++i)
        f->q[i] *= 1.0f / (float)(index + 1);
    for (int64_t i = 0; i < s->n; ++i)
        for (int sign = 0; sign < f->pass.n_signs; ++sign) attend_sequence(f, index, s, i, sign);
    bal_forward_read(f, &layer->o, f->h);
    bal_forward_apply(f, &layer->o, true, f->x);
}

static void feed_forward(bal_forward *f, const bal_layer *layer)
{
    const bal_model_config *c = &f->model->config;
    int64_t rows = f->pass.n_signs * f->pass.n_tokens;
    if (layer->gate.weight >= 0) {
        bal_forward_read(f, &layer->gate, f->x);
        bal_forward_gated(f, layer);
    } else {
        bal_forward_read(f, &layer->up, f->x);
        bal_forward_apply(f, &layer->up, false, f->gate);
        f->kernels->lanes.activate(c->activation, rows, c->hidden, f->gate, c->hidden);
    }
    bal_forward_read(f, &layer->down, f->gate);
    bal_forward_apply(f, &layer->down, true, f->x);
}

/* What the head reads, from the residual stream after the last layer. */
static void finish(bal_forward *f)
{
    const bal_model *m = f->model;
    const float *x = f->x;
    if (m->project_out.weight >= 0) {
        bal_forward_read(f, &m->project_out, x);
        bal_forward_apply(f, &m->project_out, false, f->q);
        x = f->q;
    }
    if (m->head_dense.weight >= 0) {
        int64_t dim = m->config.dim;
        bal_forward_read(f, &m->head_dense, x);
        bal_forward_apply(f, &m->head_dense, false, f->q);
        f->kernels->lanes.activate(BAL_ACT_GELU, f->pass.n_signs * f->pass.n_tokens, dim, f->q,
                                   dim);
        x = f->q;
    }
    bal_forward_read(f, &m->head, x);
}

/* Keep the rows of tokens whose f->out.row is not below 0, and number them. */
static void keep_rows(bal_forward *f)
{
    int64_t dim = f->model->config.dim, n_tokens = f->pass.n_tokens, n = 0;
    for (int64_t t = 0; t < n_tokens; ++t)
        if (f->out.row[t] >= 0) f->out.row[t] = (int32_t)n++;
    for (int sign = 0; sign < f->pass.n_signs && n < n_tokens; ++sign)
        for (int64_t t = 0; t < n_tokens; ++t)
            if (f->out.row[t] >= 0)
                memmove(f->x + (sign * n + f->out.row[t]) * dim, f->x + (sign * n_tokens + t) * dim,
                        (size_t)dim * sizeof *f->x);
    f->pass.n_tokens = n;
}

static bool moves(const bool *on_ballot, int index) { return index >= 0 && on_ballot[index]; }

static bool moves_norm(const bool *on_ballot, const bal_norm *norm)
{
    return moves(on_ballot, norm->weight) || moves(on_ballot, norm->bias);
}

static bool moves_part(const bool *on_ballot, const bal_part *part)
{
    return moves(on_ballot, part->weight) || moves(on_ballot, part->gain) ||
           moves(on_ballot, part->bias) || moves_norm(on_ballot, &part->before) ||
           moves_norm(on_ballot, &part->after);
}

static bool moves_layer(const bool *on_ballot, const bal_layer *layer)
{
    const bal_part *parts[] = {&layer->q,    &layer->k,  &layer->v,   &layer->o,
                               &layer->gate, &layer->up, &layer->down};
    bool any = false;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; ++i)
        any |= moves_part(on_ballot, parts[i]);
    return any;
}

int64_t bal_forward_n_below(const bal_model *m, const bool *on_ballot)
{
    if (moves_part(on_ballot, &m->embedding) || moves_part(on_ballot, &m->positions) ||
        moves_part(on_ballot, &m->types) || moves_norm(on_ballot, &m->embed_norm) ||
        moves_part(on_ballot, &m->project_in))
        return 0;
    int64_t n = 0;
    while (n < m->config.n_layers - 1 && !moves_layer(on_ballot, &m->layers[n])) ++n;
    return n; /* the last layer leaves rows out */
}

void bal_forward_feed(bal_forward *f, int64_t index)
{
    if (index == f->model->config.n_layers - 1) keep_rows(f);
    feed_forward(f, &f->model->layers[index]);
}

void bal_forward_mark_scored(bal_forward *f, const bal_batch *batch)
{
    memset(f->out.row, -1, (size_t)batch->n_tokens * sizeof *f->out.row);
    for (int64_t i = 0; i < batch->n_scored; ++i) f->out.row[batch->scored[i].token] = 0;
}

void bal_forward_begin(bal_forward *f, const bal_direction *direction, int64_t n_tokens)
{
    assert(n_tokens <= f->capacity.max_tokens &&
           (direction == NULL || bal_model_is_integer(f->model)));
    f->pass.direction = direction;
    f->pass.n_signs = bal_direction_points(direction);
    f->pass.n_tokens = n_tokens;
}

void bal_forward_finish(bal_forward *f, int64_t first, const bal_sequences *s)
{
    for (int64_t i = first; i < f->model->config.n_layers; ++i) {
        bal_forward_attend(f, i, s);
        bal_forward_feed(f, i);
    }
    finish(f);
}

void bal_forward_run(bal_forward *f, const bal_direction *direction, const bal_sequences *s)
{
    bal_forward_begin(f, direction, s->n_tokens);
    bal_forward_enter(f, s);
    bal_forward_finish(f, 0, s);
}
