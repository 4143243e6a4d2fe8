/* llama2c.c: the files of github.com/karpathy/llama2.c, float layouts v0 and v1. All tensors of
 * one kind follow each other, layer by layer, without names: the header alone says where. */
#include <endian.h>
#include <string.h>

#include "hub_impl.h"

#define MAGIC     0x616b3432 /* "ak42", from v1 on */
#define N_FIELDS  7
#define V0_HEADER 28
#define V1_HEADER 256

/* Order in the file. w1 is the gate, w2 the down projection, w3 the up projection. */
static const bal_hub_part order[2][BAL_HUB_N_PARTS] = {
    {BAL_HUB_EMBEDDING, BAL_HUB_ATT_NORM, BAL_HUB_Q, BAL_HUB_K, BAL_HUB_V, BAL_HUB_O,
     BAL_HUB_MLP_NORM, BAL_HUB_GATE, BAL_HUB_DOWN, BAL_HUB_UP, BAL_HUB_FINAL_NORM, BAL_HUB_HEAD},
    {BAL_HUB_ATT_NORM, BAL_HUB_MLP_NORM, BAL_HUB_FINAL_NORM, BAL_HUB_EMBEDDING, BAL_HUB_Q,
     BAL_HUB_K, BAL_HUB_V, BAL_HUB_O, BAL_HUB_GATE, BAL_HUB_DOWN, BAL_HUB_UP, BAL_HUB_HEAD},
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
        int64_t     highest;
    } fields[N_FIELDS] = {{"dim", BAL_HUB_SIZE_MAX},        {"hidden_dim", BAL_HUB_SIZE_MAX},
                          {"n_layers", BAL_HUB_SIZE_MAX},   {"n_heads", BAL_HUB_SIZE_MAX},
                          {"n_kv_heads", BAL_HUB_SIZE_MAX}, {"vocab_size", INT32_MAX},
                          {"seq_len", BAL_HUB_TOKENS_MAX}};
    int64_t value[N_FIELDS];
    bool    tied = version == 0 || data[8 + 4 * N_FIELDS] == 1;
    if (!tied && data[8 + 4 * N_FIELDS] != 0)
        return bal_fail(BAL_ERR_INPUT, "%s: header: shared classifier is %d; expected 0 or 1",
                        origin, data[8 + 4 * N_FIELDS]);
    for (int i = 0; i < N_FIELDS; ++i) {
        value[i] = read_i32(data + (version == 0 ? 0 : 8) + 4 * i);
        if (version == 0 && i == 5 && value[i] < 0) { /* v0's way to say: untied head */
            value[i] = -value[i];
            tied     = false;
        }
        if (value[i] < 1 || value[i] > fields[i].highest)
            return bal_fail(BAL_ERR_INPUT, "%s: header: %s is %lld; expected 1 to %lld", origin,
                            fields[i].name, (long long)value[i], (long long)fields[i].highest);
    }
    if (value[0] % value[3] != 0)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: header: dim is %lld; expected a multiple of n_heads, %lld", origin,
                        (long long)value[0], (long long)value[3]);
    *config = (bal_model_config){.dim        = value[0],
                                 .hidden     = value[1],
                                 .n_layers   = value[2],
                                 .n_heads    = value[3],
                                 .n_kv_heads = value[4],
                                 .head_dim   = value[0] / value[3],
                                 .n_vocab    = value[5],
                                 .max_tokens = value[6],
                                 .tied_head  = tied,
                                 .rope_pairs = BAL_ROPE_ADJACENT,
                                 .rope_base  = 10000.0,
                                 .norm_eps   = 1e-5};
    return bal_model_config_check(config, origin);
}

bal_status bal_hub_llama2c_parse(const uint8_t *data, size_t n_bytes, const char *origin,
                                 bal_model_config *config, bal_hub_table *table)
{
    *table          = (bal_hub_table){.origin = origin};
    int64_t version = bal_hub_llama2c_version(data, n_bytes);
    if (version != 0 && version != 1)
        return bal_fail(
            BAL_ERR_INPUT, "%s: llama2.c version %lld%s; expected a float file, version 0 or 1",
            origin, (long long)version, version == 2 ? ", which is quantized already" : "");
    BAL_TRY(parse_header(data, n_bytes, origin, version, config));

    /* v0 has two tables of rotary positions, [seq_len, head_dim / 2] each, before the head */
    size_t n_rotary =
        version == 0 ? (size_t)(4 * config->max_tokens * (config->head_dim / 2) * 2) : 0;
    size_t n_expected = (version == 0 ? V0_HEADER : V1_HEADER) + n_rotary;
    size_t n_entries  = 0;
    for (bal_hub_part part = 0; part < BAL_HUB_N_PARTS; ++part) {
        bal_hub_entry entry;
        bal_hub_part_entry(config, part, 0, &entry);
        size_t count = (size_t)bal_hub_part_count(config, part);
        n_expected += 4 * count * (size_t)(entry.shape[0] * entry.shape[1]);
        n_entries += count;
    }
    if (n_bytes != n_expected)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: %zu bytes; expected %zu, as its llama2.c v%lld header "
                        "says",
                        origin, n_bytes, n_expected, (long long)version);

    table->entries = bal_alloc(n_entries, sizeof *table->entries);
    if (table->entries == NULL)
        return bal_fail(BAL_ERR_MEMORY, "%s: no memory for %zu names", origin, n_entries);
    size_t at = version == 0 ? V0_HEADER : V1_HEADER;
    for (int i = 0; i < BAL_HUB_N_PARTS; ++i) {
        bal_hub_part part = order[version][i];
        if (part == BAL_HUB_HEAD) at += n_rotary;
        for (int64_t layer = 0; layer < bal_hub_part_count(config, part); ++layer) {
            bal_hub_entry *entry = &table->entries[table->n_entries++];
            bal_hub_part_entry(config, part, layer, entry);
            entry->data    = data + at;
            entry->n_bytes = 4 * (size_t)(entry->shape[0] * entry->shape[1]);
            at += entry->n_bytes;
        }
    }
    bal_hub_table_sort(table);
    return BAL_OK;
}

bal_status bal_hub_llama2c_open(const char *path, bal_model_config *config, bal_hub_table *table)
{
    bal_hub_table part;
    *table = (bal_hub_table){0};
    BAL_TRY(bal_hub_table_map(table, path));
    const bal_file *file   = &table->files[0].file;
    bal_status      status = bal_hub_llama2c_parse(file->data, file->n_bytes, path, config, &part);
    if (status == BAL_OK) status = bal_hub_table_append(table, &part);
    bal_hub_table_clear(&part);
    if (status != BAL_OK) bal_hub_table_clear(table);
    return status;
}
