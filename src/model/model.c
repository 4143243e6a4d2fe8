/* model.c: a model's shape and tensors. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "model_impl.h"

#define SIZE_MAX_OF_A_MODEL (1 << 30)
#define LAYERS_MAX          4096

bal_status bal_model_config_check(const bal_model_config *c, const char *origin)
{
    const struct {
        const char *name;
        int64_t     value, max;
    } sizes[] = {
        {"dim", c->dim, BAL_COLS_MAX},
        {"hidden", c->hidden, BAL_COLS_MAX},
        {"n_layers", c->n_layers, LAYERS_MAX},
        {"n_heads", c->n_heads, BAL_COLS_MAX},
        {"n_kv_heads", c->n_kv_heads, c->n_heads},
        {"head_dim", c->head_dim, BAL_HEAD_DIM_MAX},
        {"n_vocab", c->n_vocab, SIZE_MAX_OF_A_MODEL},
        {"max_tokens", c->max_tokens, SIZE_MAX_OF_A_MODEL},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i)
        if (sizes[i].value < 1 || sizes[i].value > sizes[i].max)
            return bal_fail(BAL_ERR_INPUT, "%s: %s is %lld; expected 1 to %lld", origin,
                            sizes[i].name, (long long)sizes[i].value, (long long)sizes[i].max);
    if (c->n_heads % c->n_kv_heads != 0)
        return bal_fail(BAL_ERR_INPUT, "%s: %lld heads are no multiple of %lld key-value heads",
                        origin, (long long)c->n_heads, (long long)c->n_kv_heads);
    if (c->head_dim % 2 != 0)
        return bal_fail(BAL_ERR_INPUT, "%s: head_dim is %lld; expected an even number", origin,
                        (long long)c->head_dim);
    if (c->n_heads * c->head_dim > BAL_COLS_MAX)
        return bal_fail(BAL_ERR_INPUT, "%s: %lld heads of %lld are wider than %d", origin,
                        (long long)c->n_heads, (long long)c->head_dim, BAL_COLS_MAX);
    if (c->n_vocab > ((int64_t)1 << 31) / c->dim)
        return bal_fail(BAL_ERR_INPUT, "%s: an embedding of %lld x %lld is too large", origin,
                        (long long)c->n_vocab, (long long)c->dim);
    if (!(c->rope_base >= 1.0 && c->rope_base <= 1e12))
        return bal_fail(BAL_ERR_INPUT, "%s: rope_base is %g; expected 1 to 1e12", origin,
                        c->rope_base);
    if (!(c->norm_eps > 0.0 && c->norm_eps < 1.0))
        return bal_fail(BAL_ERR_INPUT, "%s: norm_eps is %g; expected above 0 and below 1", origin,
                        c->norm_eps);
    return BAL_OK;
}

/* Add the tensor PREFIX.NAME.weight, and its gain after an integer matrix; its index in *index. */
static bal_status add_tensor(bal_model *m, bal_role role, int64_t n_rows, int64_t n_cols,
                             const char *name, int *index)
{
    bool       integer = m->format != BAL_F32;
    bal_format format  = !integer ? BAL_F32 : role == BAL_MATRIX ? BAL_I8 : BAL_I16;
    char       full[BAL_NAME_BYTES];
    snprintf(full, sizeof full, "%s.weight", name);
    *index = m->n_tensors;
    BAL_TRY(bal_tensor_init(&m->tensors[m->n_tensors++], full, role, format, n_rows, n_cols));
    if (!integer || role != BAL_MATRIX) return BAL_OK;
    snprintf(full, sizeof full, "%s.gain", name);
    return bal_tensor_init(&m->tensors[m->n_tensors++], full, BAL_GAIN, BAL_I16, 1, n_rows);
}

static bal_status add_tensors(bal_model *m)
{
    const bal_model_config *c = &m->config;
    int64_t q_width = c->n_heads * c->head_dim, kv_width = c->n_kv_heads * c->head_dim;
    BAL_TRY(add_tensor(m, BAL_MATRIX, c->n_vocab, c->dim, "model.embed_tokens", &m->embedding));
    for (int64_t layer = 0; layer < c->n_layers; ++layer) {
        bal_layer *l = &m->layers[layer];
        const struct {
            const char *name;
            bal_role    role;
            int64_t     n_rows, n_cols;
            int        *index;
        } parts[] = {
            {"input_layernorm", BAL_VECTOR, 1, c->dim, &l->attention_norm},
            {"self_attn.q_proj", BAL_MATRIX, q_width, c->dim, &l->q},
            {"self_attn.k_proj", BAL_MATRIX, kv_width, c->dim, &l->k},
            {"self_attn.v_proj", BAL_MATRIX, kv_width, c->dim, &l->v},
            {"self_attn.o_proj", BAL_MATRIX, c->dim, q_width, &l->o},
            {"post_attention_layernorm", BAL_VECTOR, 1, c->dim, &l->mlp_norm},
            {"mlp.gate_proj", BAL_MATRIX, c->hidden, c->dim, &l->gate},
            {"mlp.up_proj", BAL_MATRIX, c->hidden, c->dim, &l->up},
            {"mlp.down_proj", BAL_MATRIX, c->dim, c->hidden, &l->down},
        };
        for (size_t i = 0; i < sizeof parts / sizeof *parts; ++i) {
            char name[BAL_NAME_BYTES - 16];
            snprintf(name, sizeof name, "model.layers.%d.%s", (int)layer, parts[i].name);
            BAL_TRY(add_tensor(m, parts[i].role, parts[i].n_rows, parts[i].n_cols, name,
                               parts[i].index));
        }
    }
    BAL_TRY(add_tensor(m, BAL_VECTOR, 1, c->dim, "model.norm", &m->final_norm));
    m->head = m->embedding;
    if (!c->tied_head) BAL_TRY(add_tensor(m, BAL_MATRIX, c->n_vocab, c->dim, "lm_head", &m->head));
    return BAL_OK;
}

bal_status bal_model_outline(const bal_model_config *config, bal_format format, bool with_carry,
                             bal_model **model)
{
    assert(format == BAL_I8 || (format == BAL_F32 && !with_carry));
    BAL_TRY(bal_model_config_check(config, "model"));
    bal_status status = BAL_ERR_MEMORY;
    bal_model *m      = bal_alloc(1, sizeof *m);
    if (m == NULL) goto done;
    m->config     = *config;
    m->format     = format;
    m->with_carry = with_carry;
    m->layers     = bal_alloc((size_t)config->n_layers, sizeof *m->layers);
    m->tensors    = bal_alloc(4 + 16 * (size_t)config->n_layers + 1, sizeof *m->tensors);
    if (m->layers == NULL || m->tensors == NULL) goto done;
    status = add_tensors(m);
    if (status != BAL_OK) goto done;
    *model = m;
    m      = NULL;
done:
    bal_model_destroy(&m);
    if (status == BAL_ERR_MEMORY) bal_fail(status, "no memory for the model");
    return status;
}

size_t bal_model_bytes(const bal_model *m)
{
    size_t n_bytes = 0;
    for (int i = 0; i < m->n_tensors; ++i)
        n_bytes += bal_tensor_bytes(&m->tensors[i], m->with_carry);
    return n_bytes;
}

void bal_model_attach(bal_model *m, void *memory)
{
    char *at = memory;
    for (int i = 0; i < m->n_tensors; ++i) {
        bal_tensor_attach(&m->tensors[i], m->with_carry, at);
        at += bal_tensor_bytes(&m->tensors[i], m->with_carry);
    }
}

void bal_model_zero(bal_model *m)
{
    for (int i = 0; i < m->n_tensors; ++i) bal_tensor_zero(&m->tensors[i]);
}

bal_status bal_model_allocate(bal_model *m)
{
    m->owned = bal_alloc(bal_model_bytes(m), 1);
    if (m->owned == NULL)
        return bal_fail(BAL_ERR_MEMORY, "no memory for a model of %zu MiB",
                        bal_model_bytes(m) >> 20);
    bal_model_attach(m, m->owned);
    return BAL_OK;
}

bal_status bal_model_create(const bal_model_config *config, bal_format format, bool with_carry,
                            bal_model **model)
{
    BAL_TRY(bal_model_outline(config, format, with_carry, model));
    bal_status status = bal_model_allocate(*model);
    if (status == BAL_OK)
        bal_model_zero(*model);
    else
        bal_model_destroy(model);
    return status;
}

void bal_model_destroy(bal_model **model)
{
    bal_model *m = *model;
    if (m == NULL) return;
    free(m->owned);
    free(m->tensors);
    free(m->layers);
    free(m);
    *model = NULL;
}

const bal_model_config *bal_model_shape(const bal_model *model) { return &model->config; }
bal_format              bal_model_format(const bal_model *model) { return model->format; }
int                     bal_model_n_tensors(const bal_model *model) { return model->n_tensors; }
bal_tensor *bal_model_tensor(const bal_model *model, int index) { return &model->tensors[index]; }

int bal_model_find(const bal_model *model, const char *name)
{
    for (int i = 0; i < model->n_tensors; ++i)
        if (strcmp(model->tensors[i].name, name) == 0) return i;
    return -1;
}

void bal_model_dequantize(const bal_model *model, int index, float *values)
{
    const bal_tensor *tensor = &model->tensors[index];
    bal_tensor_dequantize(tensor, values);
    if (tensor->format != BAL_I8) return;
    const int16_t *gain = model->tensors[index + 1].codes;
    for (int64_t row = 0; row < tensor->n_rows; ++row)
        for (int64_t col = 0; col < tensor->n_cols; ++col)
            values[row * tensor->n_cols + col] *= bal_gain_factor(gain[row]);
}

uint64_t bal_model_fingerprint(const bal_model *model)
{
    return bal_model_fingerprint_part(model, 0, 1);
}

uint64_t bal_model_fingerprint_part(const bal_model *model, int part, int n_parts)
{
    uint64_t sum = 0;
    for (int i = 0; i < model->n_tensors; ++i)
        sum += bal_tensor_fingerprint_part(&model->tensors[i], i, part, n_parts);
    return sum;
}

float bal_gain_factor(int code)
{
    static float factors[255];
    assert(code >= -127 && code <= 127);
    if (factors[127] == 0.0f) /* products of one double: no exponential of the C library */
        for (int i = 0; i < 255; ++i) {
            double factor = 1.0;
            for (int step = 0; step < abs(i - 127); ++step) factor *= 1.02;
            factors[i] = (float)(i < 127 ? 1.0 / factor : factor);
        }
    return factors[code + 127];
}
