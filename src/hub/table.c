/* table.c: the tensors that a config needs, where a file has them, and reading one as floats. */
#include <endian.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hub_impl.h"

int64_t bal_hub_part_count(const bal_model_config *config, bal_hub_part part)
{
    if (part >= BAL_HUB_ATT_NORM && part <= BAL_HUB_DOWN) return config->n_layers;
    return part != BAL_HUB_HEAD || !config->tied_head;
}

void bal_hub_part_entry(const bal_model_config *config, bal_hub_part part, int64_t layer,
                        bal_hub_entry *entry)
{
    int64_t dim = config->dim, hidden = config->hidden, n_vocab = config->n_vocab;
    int64_t n_query = config->n_heads * config->head_dim;
    int64_t n_key   = config->n_kv_heads * config->head_dim;
    const struct {
        const char *name;
        int64_t     n_rows, n_cols; /* n_cols 0: a vector */
    } parts[BAL_HUB_N_PARTS] = {
        [BAL_HUB_EMBEDDING]  = {"model.embed_tokens", n_vocab, dim},
        [BAL_HUB_ATT_NORM]   = {"input_layernorm", dim, 0},
        [BAL_HUB_Q]          = {"self_attn.q_proj", n_query, dim},
        [BAL_HUB_K]          = {"self_attn.k_proj", n_key, dim},
        [BAL_HUB_V]          = {"self_attn.v_proj", n_key, dim},
        [BAL_HUB_O]          = {"self_attn.o_proj", dim, n_query},
        [BAL_HUB_MLP_NORM]   = {"post_attention_layernorm", dim, 0},
        [BAL_HUB_GATE]       = {"mlp.gate_proj", hidden, dim},
        [BAL_HUB_UP]         = {"mlp.up_proj", hidden, dim},
        [BAL_HUB_DOWN]       = {"mlp.down_proj", dim, hidden},
        [BAL_HUB_FINAL_NORM] = {"model.norm", dim, 0},
        [BAL_HUB_HEAD]       = {"lm_head", n_vocab, dim},
    };
    bool vector = parts[part].n_cols == 0;
    *entry      = (bal_hub_entry){.n_dims = vector ? 1 : 2,
                                  .shape  = {parts[part].n_rows, vector ? 1 : parts[part].n_cols}};
    if (part >= BAL_HUB_ATT_NORM && part <= BAL_HUB_DOWN)
        snprintf(entry->name, sizeof entry->name, "model.layers.%lld.%s.weight", (long long)layer,
                 parts[part].name);
    else
        snprintf(entry->name, sizeof entry->name, "%s.weight", parts[part].name);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const bal_hub_entry *)a)->name, ((const bal_hub_entry *)b)->name);
}

void bal_hub_table_sort(bal_hub_table *table)
{
    qsort(table->entries, (size_t)table->n_entries, sizeof *table->entries, compare_names);
}

void bal_hub_table_clear(bal_hub_table *table)
{
    free(table->entries);
    *table = (bal_hub_table){0};
}

bal_hub_entry *bal_hub_table_find(const bal_hub_table *table, const char *name)
{
    bal_hub_entry key;
    snprintf(key.name, sizeof key.name, "%s", name);
    return bsearch(&key, table->entries, (size_t)table->n_entries, sizeof key, compare_names);
}

/* A tied model may store its one matrix under either name, or, the same bytes, under both. */
static bal_status match_tied_head(bal_hub_table *table)
{
    bal_hub_entry *embedding = bal_hub_table_find(table, "model.embed_tokens.weight");
    bal_hub_entry *head      = bal_hub_table_find(table, "lm_head.weight");
    if (head == NULL) return BAL_OK;
    if (embedding == NULL) {
        strcpy(head->name, "model.embed_tokens.weight");
        bal_hub_table_sort(table);
        return BAL_OK;
    }
    if (head->dtype != embedding->dtype || head->n_bytes != embedding->n_bytes ||
        memcmp(table->data + head->start, table->data + embedding->start, head->n_bytes) != 0)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: lm_head.weight and model.embed_tokens.weight differ; expected one "
                        "matrix, since config.json has tie_word_embeddings true",
                        table->origin);
    head->wanted = true;
    return BAL_OK;
}

static const char *shape_text(const bal_hub_entry *entry, char text[64])
{
    if (entry->n_dims == 1)
        snprintf(text, 64, "[%lld]", (long long)entry->shape[0]);
    else
        snprintf(text, 64, "[%lld, %lld]", (long long)entry->shape[0], (long long)entry->shape[1]);
    return text;
}

bal_status bal_hub_table_match(bal_hub_table *table, const bal_model_config *config)
{
    if (config->tied_head) BAL_TRY(match_tied_head(table));
    for (bal_hub_part part = 0; part < BAL_HUB_N_PARTS; ++part)
        for (int64_t layer = 0; layer < bal_hub_part_count(config, part); ++layer) {
            bal_hub_entry need;
            bal_hub_part_entry(config, part, layer, &need);
            bal_hub_entry *entry = bal_hub_table_find(table, need.name);
            if (entry == NULL)
                return bal_fail(BAL_ERR_INPUT, "%s: tensor %s is missing", table->origin,
                                need.name);
            char found[64], expected[64];
            if (entry->n_dims != need.n_dims || entry->shape[0] != need.shape[0] ||
                entry->shape[1] != need.shape[1])
                return bal_fail(BAL_ERR_INPUT, "%s: tensor %s has shape %s; expected %s",
                                table->origin, need.name, shape_text(entry, found),
                                shape_text(&need, expected));
            entry->wanted = true;
        }
    for (int64_t i = 0; i < table->n_entries; ++i) {
        static const char ignored[] = ".rotary_emb.inv_freq"; /* old files: follows from config */
        const bal_hub_entry *entry  = &table->entries[i];
        size_t               length = strlen(entry->name), tail = sizeof ignored - 1;
        if (!entry->wanted && (length < tail || strcmp(entry->name + length - tail, ignored) != 0))
            return bal_fail(BAL_ERR_INPUT,
                            "%s: tensor %s is not part of a Llama model of this config.json",
                            table->origin, entry->name);
    }
    return BAL_OK;
}

static float f32_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float f16_to_f32(uint16_t half)
{
    uint32_t sign = (half & 0x8000u) << 16, exponent = half >> 10 & 31u, fraction = half & 1023u;
    if (exponent == 0) /* zero and subnormals: exact products */
        return (sign != 0 ? -0x1p-24f : 0x1p-24f) * (float)fraction;
    exponent = exponent == 31 ? 255 : exponent + 112;
    return f32_from_bits(sign | exponent << 23 | fraction << 13);
}

bal_status bal_hub_table_read(const bal_hub_table *table, const bal_hub_entry *entry, float *values)
{
    const uint8_t *from = table->data + entry->start; /* of any alignment */
    int64_t        n    = entry->shape[0] * entry->shape[1];
    for (int64_t i = 0; i < n; ++i) {
        if (entry->dtype == BAL_HUB_F32) {
            uint32_t bits;
            memcpy(&bits, from + 4 * i, sizeof bits);
            values[i] = f32_from_bits(le32toh(bits));
        } else {
            uint16_t bits;
            memcpy(&bits, from + 2 * i, sizeof bits);
            bits      = le16toh(bits);
            values[i] = entry->dtype == BAL_HUB_F16 ? f16_to_f32(bits)
                                                    : f32_from_bits((uint32_t)bits << 16);
        }
        if (!isfinite(values[i]))
            return bal_fail(BAL_ERR_INPUT, "%s: tensor %s: element %lld is %s; expected a number",
                            table->origin, entry->name, (long long)i,
                            isnan(values[i]) ? "NaN" : "infinite");
    }
    return BAL_OK;
}
