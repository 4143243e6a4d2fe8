/* model.c: a model's shape and tensors. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "formats.h"
#include "model_impl.h"

#define NO_PART ((bal_part){-1, -1, -1, {-1, -1}, {-1, -1}})

/* Tensors of a model that is being outlined. */
typedef struct outline {
    bal_model *model;
    bal_format_list formats;
} outline;

static bal_status add_tensor(outline *o, bal_role role, int64_t n_rows, int64_t n_cols,
                             const char *name, const char *tail)
{
    bal_tensors *tensors = &o->model->tensors;
    bal_format format = bal_model_is_integer(o->model) ? BAL_I16 : BAL_F32;
    int group = 0;
    char full[BAL_NAME_BYTES];
    snprintf(full, sizeof full, "%s.%s", name, tail);
    if (role == BAL_MATRIX) bal_format_list_find(&o->formats, full, &format, &group);
    BAL_TRY(bal_tensors_add(tensors, full, role, format, n_rows, n_cols));
    bal_tensor *tensor = &tensors->at[tensors->n - 1];
    if (tensor->group > 0 && group > 0) tensor->group = group;
    return BAL_OK;
}

static int n_tensors(const outline *o) { return o->model->tensors.n; }

/* A matrix, its gain, and its bias if it has one. */
static bal_status add_matrix(outline *o, bal_part *part, int64_t n_rows, int64_t n_cols, bool bias,
                             const char *name)
{
    part->weight = n_tensors(o);
    BAL_TRY(add_tensor(o, BAL_MATRIX, n_rows, n_cols, name, "weight"));
    if (bal_model_is_integer(o->model)) {
        part->gain = n_tensors(o);
        BAL_TRY(add_tensor(o, BAL_GAIN, 1, n_rows, name, "gain"));
    }
    if (!bias) return BAL_OK;
    part->bias = n_tensors(o);
    return add_tensor(o, BAL_VECTOR, 1, n_rows, name, "bias");
}

static bal_status add_norm(outline *o, bal_norm *norm, int64_t n, bool bias, const char *name)
{
    norm->weight = n_tensors(o);
    BAL_TRY(add_tensor(o, BAL_VECTOR, 1, n, name, "weight"));
    if (!bias) return BAL_OK;
    norm->bias = n_tensors(o);
    return add_tensor(o, BAL_VECTOR, 1, n, name, "bias");
}

static bal_status add_layer(outline *o, int64_t index, bal_layer *l)
{
    const bal_model *m = o->model;
    const bal_model_config *c = &m->config;
    int64_t q_width = c->n_heads * c->head_dim, kv_width = c->n_kv_heads * c->head_dim;
    bool layer_norm = bal_has(m, BAL_LAYER_NORM), qk_norm = bal_has(m, BAL_QK_NORM);
    bool qkv = bal_has(m, BAL_BIAS_QKV), mlp = bal_has(m, BAL_BIAS_MLP);
    bool gated = !bal_has(m, BAL_NO_GATE), post = bal_has(m, BAL_POST_NORM);
    bal_norm *attention_norm = post ? &l->o.after : &l->q.before;
    bal_norm *mlp_norm = post ? &l->down.after : gated ? &l->gate.before : &l->up.before;
    const struct {
        bal_part *part; /* a matrix, */
        bal_norm *norm; /* or a norm */
        const char *name;
        int64_t n_rows, n_cols;
        bool bias, there;
    } all[] = {
        {NULL, attention_norm, "input_layernorm", c->dim, 0, layer_norm, true},
        {&l->q, NULL, "self_attn.q_proj", q_width, c->dim, qkv, true},
        {&l->k, NULL, "self_attn.k_proj", kv_width, c->dim, qkv, true},
        {&l->v, NULL, "self_attn.v_proj", kv_width, c->dim, qkv, true},
        {NULL, &l->q.after, "self_attn.q_norm", c->head_dim, 0, false, qk_norm},
        {NULL, &l->k.after, "self_attn.k_norm", c->head_dim, 0, false, qk_norm},
        {&l->o, NULL, "self_attn.o_proj", c->dim, q_width, bal_has(m, BAL_BIAS_O), true},
        {NULL, mlp_norm, "post_attention_layernorm", c->dim, 0, layer_norm, true},
        {&l->gate, NULL, "mlp.gate_proj", c->hidden, c->dim, mlp, gated},
        {&l->up, NULL, "mlp.up_proj", c->hidden, c->dim, mlp, true},
        {&l->down, NULL, "mlp.down_proj", c->dim, c->hidden, mlp, true},
    };
    *l = (bal_layer){NO_PART, NO_PART, NO_PART, NO_PART, NO_PART, NO_PART, NO_PART};
    for (size_t i = 0; i < sizeof all / sizeof *all; ++i) {
        char name[BAL_NAME_BYTES - 16];
        if (!all[i].there) continue;
        snprintf(name, sizeof name, "model.layers.%d.%s", (int)index, all[i].name);
        BAL_TRY(all[i].norm != NULL
                    ? add_norm(o, all[i].norm, all[i].n_rows, all[i].bias, name)
                    : add_matrix(o, all[i].part, all[i].n_rows, all[i].n_cols, all[i].bias, name));
    }
    return BAL_OK;
}

/* A matrix whose rows are looked up. */
static bal_status add_table(outline *o, bal_part *part, int64_t n_rows, int64_t n_cols,
                            const char *name)
{
    BAL_TRY(add_matrix(o, part, n_rows, n_cols, false, name));
    o->model->tensors.at[part->weight].looked_up = true;
    return BAL_OK;
}

static bal_status add_embedding(outline *o)
{
    bal_model *m = o->model;
    const bal_model_config *c = &m->config;
    int64_t embed_dim = bal_embed_dim(c);
    BAL_TRY(add_table(o, &m->embedding, c->n_vocab, embed_dim, "model.embed_tokens"));
    if (c->embed.n_positions > 0)
        BAL_TRY(add_table(o, &m->positions, c->embed.n_positions, c->dim, "model.embed_positions"));
    if (c->embed.n_types > 0)
        BAL_TRY(add_table(o, &m->types, c->embed.n_types, c->dim, "model.embed_types"));
    if (bal_has(m, BAL_EMBED_NORM))
        BAL_TRY(
            add_norm(o, &m->embed_norm, c->dim, bal_has(m, BAL_LAYER_NORM), "model.embed_norm"));
    if (embed_dim == c->dim) return BAL_OK;
    return add_matrix(o, &m->project_in, c->dim, embed_dim, false, "model.project_in");
}

static bal_status add_head(outline *o)
{
    bal_model *m = o->model;
    const bal_model_config *c = &m->config;
    int64_t embed_dim = bal_embed_dim(c);
    bool layer_norm = bal_has(m, BAL_LAYER_NORM), dense = bal_has(m, BAL_HEAD_DENSE);
    bool projected = embed_dim != c->dim;
    bal_part *first = projected ? &m->project_out : dense ? &m->head_dense : &m->head;
    if (!bal_has(m, BAL_NO_FINAL_NORM))
        BAL_TRY(add_norm(o, &first->before, c->dim, layer_norm, "model.norm"));
    if (projected)
        BAL_TRY(add_matrix(o, &m->project_out, embed_dim, c->dim, false, "model.project_out"));
    if (dense) {
        BAL_TRY(add_matrix(o, &m->head_dense, c->dim, c->dim, true, "lm_head.dense"));
        BAL_TRY(add_norm(o, &m->head.before, c->dim, layer_norm, "lm_head.norm"));
    }
    if (!c->tied_head) return add_matrix(o, &m->head, c->n_vocab, embed_dim, dense, "lm_head");
    m->head.weight = m->embedding.weight;
    m->head.gain = m->embedding.gain;
    if (!dense) return BAL_OK;
    m->head.bias = n_tensors(o);
    return add_tensor(o, BAL_VECTOR, 1, c->n_vocab, "lm_head", "bias");
}

static bal_status add_tensors(outline *o)
{
    bal_model *m = o->model;
    m->embedding = m->positions = m->types = m->project_in = NO_PART;
    m->project_out = m->head_dense = m->head = NO_PART;
    m->embed_norm = (bal_norm){-1, -1};
    BAL_TRY(add_embedding(o));
    for (int64_t layer = 0; layer < m->config.n_layers; ++layer)
        BAL_TRY(add_layer(o, layer, &m->layers[layer]));
    return add_head(o);
}

bal_status bal_model_outline(const bal_model_config *config, const bal_formats *formats,
                             bal_model **model)
{
    BAL_TRY(bal_model_config_check(config, "model"));
    bal_status status = BAL_ERR_MEMORY;
    outline o = {.model = bal_alloc(1, sizeof *o.model)};
    bal_model *m = o.model;
    if (m == NULL) goto done;
    m->config = *config;
    m->formats = *formats;
    m->layers = bal_alloc((size_t)config->n_layers, sizeof *m->layers);
    if (m->layers == NULL) goto done;
    status = bal_format_list_init(&o.formats, &m->formats);
    if (status == BAL_OK) status = add_tensors(&o);
    if (status == BAL_OK) status = bal_format_list_check(&o.formats);
    if (status != BAL_OK) goto done;
    *model = m;
    m = NULL;
done:
    bal_model_destroy(&m);
    if (status == BAL_ERR_MEMORY) bal_fail(status, "no memory for the model");
    return status;
}

bal_status bal_model_create(const bal_model_config *config, const bal_formats *formats,
                            bal_model **model)
{
    BAL_TRY(bal_model_outline(config, formats, model));
    bal_status status = bal_tensors_allocate(&(*model)->tensors);
    if (status == BAL_OK)
        bal_tensors_zero(&(*model)->tensors);
    else
        bal_model_destroy(model);
    return status;
}

void bal_model_destroy(bal_model **model)
{
    bal_model *m = *model;
    if (m == NULL) return;
    bal_tensors_clear(&m->tensors);
    free(m->layers);
    free(m);
    *model = NULL;
}

const bal_model_config *bal_model_shape(const bal_model *model) { return &model->config; }
const bal_formats *bal_model_formats(const bal_model *model) { return &model->formats; }
bool bal_model_is_integer(const bal_model *model) { return model->formats.matrices != BAL_F32; }
bal_tensors *bal_model_tensors(const bal_model *model)
{
    return (bal_tensors *)(uintptr_t)&model->tensors; /* as the model's pointers: not const */
}
