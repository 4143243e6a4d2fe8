/* kept.c: what is kept of the texts that passes read, so that nothing is computed twice. Layers
 * below the first whose codes may move give the same for a text in every pass. So do all layers of
 * the base, if it reads what stands before the first scored token of a text. Both are computed when
 * they are missing, for one batch, and found in the store after that.
 *
 * A sequence is cut into stretches, at most two: what the base reads, and what passes compute. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "forward_impl.h"

static int64_t kv_width(const bal_forward *f)
{
    return f->model->config.n_kv_heads * f->model->config.head_dim;
}

void bal_forward_keep(bal_forward *f, const bal_keep *keep)
{
    assert(keep->base == NULL || !bal_has(keep->base, BAL_ENCODER));
    f->kept.how = *keep;
    f->kept.first = -1;
}

const bal_model *bal_forward_base(const bal_forward *f) { return f->kept.how.base; }

void bal_forward_hold(bal_forward *f, bool holds)
{
    f->kept.is_held = holds;
    f->kept.first = -1;
}

/* The first layer that passes compute. */
static int64_t first_layer(const bal_forward *f, const bal_direction *direction)
{
    const bool *on_ballot = f->kept.how.on_ballot;
    if (on_ballot == NULL && direction != NULL) on_ballot = direction->measure.on_ballot;
    return on_ballot != NULL ? bal_forward_n_below(f->model, on_ballot) : 0;
}

bool bal_kept_serves(const bal_forward *f, const bal_direction *direction)
{
    if (f->pass.caches != NULL) return false;
    return f->kept.how.base != NULL || first_layer(f, direction) > 0;
}

static int64_t add_stretch(bal_kept *k, int64_t token, int64_t n, int64_t parent, bool by_base)
{
    const bal_stretch *before = parent >= 0 ? &k->stretches[parent] : NULL;
    k->stretches[k->n] =
        (bal_stretch){.token = token,
                      .n = n,
                      .position = before != NULL ? before->position + before->n : 0,
                      .parent = parent,
                      .by_base = by_base};
    return k->n++;
}

/* Cut the sequences of a batch. The base, if there is one, reads a text up to its first token whose
 * f->out.row is not below 0. */
static void cut(bal_forward *f, const bal_batch *batch)
{
    bal_kept *k = &f->kept;
    k->n = 0;
    for (int64_t i = 0; i < batch->n_sequences; ++i) {
        int64_t from = batch->start[i], end = batch->start[i + 1], own = from;
        int64_t before = batch->parent[i] >= 0 ? k->last[batch->parent[i]] : -1;
        bool begun = k->how.base == NULL || (before >= 0 && !k->stretches[before].by_base);
        while (!begun && own < end && f->out.row[own] < 0) ++own;
        if (own > from) before = add_stretch(k, from, own - from, before, true);
        if (end > own) before = add_stretch(k, own, end - own, before, false);
        k->last[i] = before;
    }
}

/* Values that are kept of a stretch. */
static int64_t count_values(const bal_forward *f, const bal_stretch *s)
{
    const bal_model_config *c = &f->model->config;
    if (s->by_base) return (c->n_layers - f->kept.first) * 2 * s->n * kv_width(f);
    return f->kept.first > 0 ? s->n * c->dim : 0;
}

/* The text that ends with a stretch. */
static bal_text text_of(const bal_forward *f, const bal_batch *batch, const bal_stretch *s)
{
    const bal_kept *k = &f->kept;
    bal_text text = {k->chain, s->position + s->n, s->n, s->by_base};
    while (s != NULL) {
        memcpy(k->chain + s->position, batch->tokens + s->token, (size_t)s->n * sizeof *k->chain);
        s = s->parent >= 0 ? &k->stretches[s->parent] : NULL;
    }
    return text;
}

/* Find what is kept of the stretches, and make room for the rest. */
static bal_status find(bal_forward *f, const bal_batch *batch)
{
    bal_kept *k = &f->kept;
    int64_t n_values = 0;
    for (bal_stretch *s = k->stretches; s < k->stretches + k->n; ++s) {
        if (count_values(f, s) == 0) continue;
        if (k->how.store != NULL) {
            bal_text text = text_of(f, batch, s);
            s->kept = bal_store_find(k->how.store, &text, count_values(f, s));
        }
        if (s->kept == NULL) n_values += count_values(f, s);
    }
    if (n_values > k->capacity) {
        free(k->values);
        k->capacity = 0;
        k->values = bal_alloc((size_t)n_values, sizeof *k->values);
        if (k->values == NULL)
            return bal_fail(BAL_ERR_MEMORY, "no memory for what is kept of %lld tokens",
                            (long long)batch->n_tokens);
        k->capacity = n_values;
    }
    float *room = k->values;
    for (bal_stretch *s = k->stretches; s < k->stretches + k->n; ++s) {
        if (s->kept != NULL || count_values(f, s) == 0) continue;
        s->kept = s->room = room;
        room += count_values(f, s);
    }
    return BAL_OK;
}

/* The sequences of a pass: stretches whose place is not below 0, which is then their number. */
static bal_sequences choose(bal_forward *f, const bal_batch *batch)
{
    bal_kept *k = &f->kept;
    int64_t n = 0, n_tokens = 0;
    for (int64_t i = 0; i < k->n; ++i) {
        const bal_stretch *s = &k->stretches[i];
        if (k->place[i] < 0) continue;
        memcpy(k->tokens + n_tokens, batch->tokens + s->token, (size_t)s->n * sizeof *k->tokens);
        k->start[n] = n_tokens;
        n_tokens += s->n;
        k->parent[n] = s->parent >= 0 ? k->place[s->parent] : -1;
        k->after[n] = s->parent >= 0 && k->parent[n] < 0 ? &k->stretches[s->parent] : NULL;
        k->place[i] = n++;
    }
    k->start[n] = n_tokens;
    return (bal_sequences){.tokens = k->tokens,
                           .n_tokens = n_tokens,
                           .n = n,
                           .start = k->start,
                           .parent = k->parent,
                           .after = k->after};
}

/* Keep what goes into the first layer of a pass. */
static void keep_rows(bal_forward *f)
{
    const bal_kept *k = &f->kept;
    int64_t dim = f->model->config.dim;
    for (int64_t i = 0; i < k->n; ++i) {
        const bal_stretch *s = &k->stretches[i];
        if (s->room != NULL && !s->by_base)
            memcpy(s->room, f->x + k->start[k->place[i]] * dim,
                   (size_t)(s->n * dim) * sizeof *f->x);
    }
}

/* Keep keys and values of a layer. */
static void keep_keys(bal_forward *f, int64_t layer)
{
    const bal_kept *k = &f->kept;
    for (int64_t i = 0; i < k->n; ++i) {
        const bal_stretch *s = &k->stretches[i];
        if (s->room == NULL || !s->by_base) continue;
        int64_t n = s->n * kv_width(f), from = k->start[k->place[i]] * kv_width(f);
        float *to = s->room + (layer - k->first) * 2 * n;
        memcpy(to, f->k + from, (size_t)n * sizeof *to);
        memcpy(to + n, f->v + from, (size_t)n * sizeof *to);
    }
}

/* Compute what is missing, and what that continues. */
static void read_missing(bal_forward *f, const bal_batch *batch)
{
    bal_kept *k = &f->kept;
    const bal_model *model = f->model;
    bool is_missing = false, by_base = false;
    for (int64_t i = 0; i < k->n; ++i) k->place[i] = -1;
    for (int64_t i = k->n - 1; i >= 0; --i) {
        const bal_stretch *s = &k->stretches[i];
        if (s->room != NULL) k->place[i] = 0;
        if (k->place[i] == 0 && s->parent >= 0) k->place[s->parent] = 0;
        is_missing |= s->room != NULL;
        by_base |= s->room != NULL && s->by_base;
    }
    if (!is_missing) return;
    bal_sequences all = choose(f, batch);
    if (k->how.base != NULL) f->model = k->how.base;
    bal_forward_begin(f, NULL, all.n_tokens);
    bal_forward_enter(f, &all);
    for (int64_t layer = 0; layer < k->first; ++layer) {
        bal_forward_attend(f, layer, &all);
        bal_forward_feed(f, layer);
    }
    keep_rows(f);
    int64_t end = by_base ? model->config.n_layers : 0;
    for (int64_t layer = k->first; layer < end; ++layer) {
        bal_forward_attend(f, layer, &all);
        keep_keys(f, layer);
        if (layer < end - 1) bal_forward_feed(f, layer);
    }
    f->model = model;
}

static void store_missing(bal_forward *f, const bal_batch *batch)
{
    const bal_kept *k = &f->kept;
    for (const bal_stretch *s = k->stretches; s < k->stretches + k->n && k->how.store != NULL; ++s)
        if (s->room != NULL) {
            bal_text text = text_of(f, batch, s);
            bal_store_add(k->how.store, &text, s->room, count_values(f, s));
        }
}

/* What goes into the first layer, at each sign. */
static void enter_kept(bal_forward *f, int64_t n_tokens)
{
    const bal_kept *k = &f->kept;
    int64_t dim = f->model->config.dim;
    for (int64_t i = 0; i < k->n; ++i)
        for (int sign = 0; sign < f->pass.n_signs && k->place[i] >= 0; ++sign)
            memcpy(f->x + (sign * n_tokens + k->start[k->place[i]]) * dim, k->stretches[i].kept,
                   (size_t)(k->stretches[i].n * dim) * sizeof *f->x);
}

/* From f->out.row of the tokens of the batch to those of the pass. */
static void mark_rows(bal_forward *f, const bal_sequences *s)
{
    const bal_kept *k = &f->kept;
    for (int64_t i = 0; i < k->n; ++i)
        if (k->place[i] >= 0)
            memmove(f->out.row + s->start[k->place[i]], f->out.row + k->stretches[i].token,
                    (size_t)k->stretches[i].n * sizeof *f->out.row);
}

/* And back, as numbers of the rows at the head: tokens have the same order there. */
static void number_rows(bal_forward *f, const bal_batch *batch)
{
    int32_t n = 0;
    bal_forward_mark_scored(f, batch);
    for (int64_t t = 0; t < batch->n_tokens; ++t)
        if (f->out.row[t] >= 0) f->out.row[t] = n++;
}

bal_status bal_kept_run(bal_forward *f, const bal_direction *direction, const bal_batch *batch)
{
    bal_kept *k = &f->kept;
    int64_t first = first_layer(f, direction);
    assert(batch->n_sequences <= f->capacity.max_tokens);
    if (!k->is_held || k->first != first) {
        k->first = first;
        cut(f, batch);
        bal_status status = find(f, batch);
        if (status != BAL_OK) k->first = -1;
        BAL_TRY(status);
        read_missing(f, batch);
        store_missing(f, batch);
    }
    for (int64_t i = 0; i < k->n; ++i) k->place[i] = k->stretches[i].by_base ? -1 : 0;
    bal_sequences s = choose(f, batch);
    bal_forward_begin(f, direction, s.n_tokens);
    if (first > 0)
        enter_kept(f, s.n_tokens);
    else
        bal_forward_enter(f, &s);
    mark_rows(f, &s);
    bal_forward_finish(f, first, &s);
    number_rows(f, batch);
    return BAL_OK;
}

int64_t bal_forward_n_computed(bal_forward *f, const bal_batch *batch)
{
    bal_kept *k = &f->kept;
    int64_t n = 0;
    if (k->how.base == NULL) return batch->n_tokens;
    bal_forward_mark_scored(f, batch);
    cut(f, batch);
    k->first = -1;
    for (int64_t i = 0; i < k->n; ++i) n += k->stretches[i].by_base ? 0 : k->stretches[i].n;
    return n;
}

size_t bal_forward_keep_bytes(bal_forward *f, const bal_batch *batch)
{
    bal_kept *k = &f->kept;
    uint64_t n_bytes = 0;
    bal_forward_mark_scored(f, batch);
    k->first = first_layer(f, NULL);
    cut(f, batch);
    for (const bal_stretch *s = k->stretches; s < k->stretches + k->n; ++s) {
        int64_t n = count_values(f, s);
        if (n > 0) n_bytes += bal_store_entry_bytes(s->position + s->n, n);
    }
    k->first = -1;
    return n_bytes;
}
