/* llama2c.c: the files of github.com/karpathy/llama2.c, float layouts v0 and v1. Tensors have no
 * names: those of one kind follow each other, layer by layer, and the header gives the sizes. */
#include <endian.h>
#include <string.h>

#include "hub_impl.h"

#define MAGIC 0x616b3432 /* "ak42", since v1 */
#define N_FIELDS 7
#define V0_HEADER 28
#define V1_HEADER 256

/* The order in the file; # is each layer in turn. w1 is the gate, w2 the down projection, w3 the up
 * projection. */
#define N_PARTS 12
static const char *const order[2][N_PARTS] = {
    {"model.embed_tokens", "model.layers.#.input_layernorm", "model.layers.#.self_attn.q_proj",
     "model.layers.#.self_attn.k_proj", "model.layers.#.self_attn.v_proj",
     "model.layers.#.self_attn.o_proj", "model.layers.#.post_attention_layernorm",
     "model.layers.#.mlp.gate_proj", "model.layers.#.mlp.down_proj", "model.layers.#.mlp.up_proj",
     "model.norm", "lm_head"},
    {"model.layers.#.input_layernorm", "model.layers.#.post_attention_layernorm", "model.norm",
     "model.embed_tokens", "model.layers.#.self_attn.q_proj", "model.layers.#.self_attn.k_proj",
     "model.layers.#.self_attn.v_proj", "model.layers.#.self_attn.o_proj",
     "model.layers.#.mlp.gate_proj", "model.layers.#.mlp.down_proj", "model.layers.#.mlp.up_proj",
     "lm_head"},
};

static int64_t read_i32(const uint8_t *from)
{
    uint32_t bits;
    memcpy(&bits, from, sizeof bits);
    return (int32_t)le32toh(bits);
}

int64_t bal_hub_llama2c_version(const uint8_t *data, size_t n_bytes)
{
    return n_bytes >= 8 && read_i32(data) == MAGIC ? read_i32(data + 4) : 0;
}

static bal_status parse_header(const uint8_t *data, size_t n_bytes, const char *origin,
                               int64_t version, bal_model_config *config)
{
    size_t n_header = version == 0 ? V0_HEADER : V1_HEADER;
    if (n_bytes < n_header)
        return bal_fail(BAL_ERR_INPUT, "%s: %zu bytes; expected a llama2.c v%lld header of %zu",
                        origin, n_bytes, (long long)version, n_header);
    static const struct {
        const char *name;
        int64_t highest;
    } fields[N_FIELDS] = {{"dim", BAL_HUB_SIZE_MAX},        {"hidden_dim", BAL_HUB_SIZE_MAX},
                          {"n_layers", BAL_HUB_SIZE_MAX},   {"n_heads", BAL_HUB_SIZE_MAX},
                          {"n_kv_heads", BAL_HUB_SIZE_MAX}, {"vocab_size", INT32_MAX},
                          {"seq_len", BAL_HUB_TOKENS_MAX}};
    int64_t value[N_FIELDS];
    bool tied = version == 0 || data[8 + 4 * N_FIELDS] == 1;
    if (!tied && data[8 + 4 * N_FIELDS] != 0)
        return bal_fail(BAL_ERR_INPUT, "%s: header: shared classifier is %d; expected 0 or 1",
                        origin, data[8 + 4 * N_FIELDS]);
    for (int i = 0; i < N_FIELDS; ++i) {
        value[i] = read_i32(data + (version == 0 ? 0 : 8) + 4 * i);
        if (version == 0 && i == 5 && value[i] < 0) { /* how v0 marks an untied head */
            value[i] = -value[i];
            tied = false;
        }
        if (value[i] < 1 || value[i] > fields[i].highest)
            return bal_fail(BAL_ERR_INPUT, "%s: header: %s is %lld; expected 1 to %lld", origin,
                            fields[i].name, (long long)value[i], (long long)fields[i].highest);
    }
    if (value[0] % value[3] != 0)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: header: dim is %lld; expected a multiple of n_heads, %lld", origin,
                        (long long)value[0], (long long)value[3]);
    *config = (bal_model_config){.dim = value[0],
                                 .hidden = value[1],
                                 .n_layers = value[2],
                                 .n_heads = value[3],
                                 .n_kv_heads = value[4],
                                 .head_dim = value[0] / value[3],
                                 .n_vocab = value[5],
                                 .max_tokens = value[6],
                                 .tied_head = tied,
                                 .rope.pairs = BAL_ROPE_ADJACENT,
                                 .rope.base = 10000.0,
                                 .norm_eps = 1e-5};
    return bal_model_config_check(config, origin);
}

/* The bytes that the header implies. v0 has two tables of rotary positions, [seq_len, head_dim / 2]
 * each, before the head. */
static size_t rotary_bytes(int64_t version, const bal_model_config *c)
{
    return version == 0 ? (size_t)(4 * c->max_tokens * (c->head_dim / 2) * 2) : 0;
}
static size_t file_bytes(int64_t version, const bal_model_config *c)
{
    int64_t q_width = c->n_heads * c->head_dim, kv_width = c->n_kv_heads * c->head_dim;
    int64_t layer = c->dim * (2 + 2 * q_width + 2 * kv_width + 3 * c->hidden);
    int64_t words = (c->tied_head ? 1 : 2) * c->n_vocab * c->dim;
    return (version == 0 ? V0_HEADER : V1_HEADER) + rotary_bytes(version, c) +
           4 * (size_t)(words + c->n_layers * layer + c->dim);
}

/* The entry of a tensor of the model at *at; *at moves past it. */
static void add_entry(bal_hub_table *table, const bal_model *model, const char *part, int64_t layer,
                      const uint8_t **at)
{
    bal_hub_entry *entry = &table->entries[table->n_entries++];
    const char *hash = strchr(part, '#');
    *entry = (bal_hub_entry){.dtype = BAL_HUB_F32, .dtype_name = "F32", .data = *at};
    if (hash != NULL)
        snprintf(entry->name, sizeof entry->name, "%.*s%lld%s.weight", (int)(hash - part), part,
                 (long long)layer, hash + 1);
    else
        snprintf(entry->name, sizeof entry->name, "%s.weight", part);
    const bal_tensor *tensor =
        &bal_model_tensors(model)->at[bal_tensors_find(bal_model_tensors(model), entry->name)];
    bool vector = tensor->role == BAL_VECTOR;
    for (int i = 0; i < BAL_HUB_DIMS_MAX; ++i) entry->shape[i] = 1;
    entry->n_dims = vector ? 1 : 2;
    entry->shape[0] = vector ? tensor->n_cols : tensor->n_rows;
    if (!vector) entry->shape[1] = tensor->n_cols;
    entry->n_bytes = 4 * (size_t)bal_tensor_n(tensor);
    *at += entry->n_bytes;
}

bal_status bal_hub_llama2c_parse(const uint8_t *data, size_t n_bytes, const char *origin,
                                 bal_model_config *config, bal_hub_table *table)
{
    *table = (bal_hub_table){.origin = origin};
    int64_t version = bal_hub_llama2c_version(data, n_bytes);
    if (version != 0 && version != 1)
        return bal_fail(
            BAL_ERR_INPUT, "%s: llama2.c version %lld%s; expected a float file, version 0 or 1",
            origin, (long long)version, version == 2 ? ", which is quantized already" : "");
    BAL_TRY(parse_header(data, n_bytes, origin, version, config));
    if (n_bytes != file_bytes(version, config))
        return bal_fail(BAL_ERR_INPUT,
                        "%s: %zu bytes; expected %zu, as its llama2.c v%lld header says", origin,
                        n_bytes, file_bytes(version, config), (long long)version);
    bal_model *model = NULL;
    BAL_TRY(bal_model_outline(config, &(bal_formats){.matrices = BAL_F32}, &model));
    table->entries = bal_alloc((size_t)bal_model_tensors(model)->n, sizeof *table->entries);
    const uint8_t *at = data + (version == 0 ? V0_HEADER : V1_HEADER);
    for (int i = 0; i < N_PARTS && table->entries != NULL; ++i) {
        const char *part = order[version][i];
        bool is_head = i == N_PARTS - 1;
        int64_t n_layers = strchr(part, '#') != NULL ? config->n_layers : 1;
        if (is_head) at += rotary_bytes(version, config);
        for (int64_t layer = 0; layer < n_layers && !(is_head && config->tied_head); ++layer)
            add_entry(table, model, part, layer, &at);
    }
    bal_model_destroy(&model);
    if (table->entries == NULL) return bal_fail(BAL_ERR_MEMORY, "%s: no memory for names", origin);
    bal_hub_table_sort(table);
    return BAL_OK;
}

bal_status bal_hub_llama2c_open(const char *path, bal_model_config *config, bal_hub_table *table)
{
    bal_hub_table part;
    *table = (bal_hub_table){0};
    BAL_TRY(bal_hub_table_map(table, path));
    const bal_mapping *file = &table->files[0].file;
    bal_status status = bal_hub_llama2c_parse(file->data, file->n_bytes, path, config, &part);
    if (status == BAL_OK) status = bal_hub_table_append(table, &part);
    bal_hub_table_clear(&part);
    if (status != BAL_OK) bal_hub_table_clear(table);
    return status;
}
