/* gguf_file.c: reading a GGUF file: its pairs of keys and values, and where its tensors are. Every
 * length is checked before anything is taken, so that values may be read without further checks. */
#include <stdlib.h>
#include <string.h>

#include "gguf.h"

#define DIMS_MAX 4
#define ALIGNMENT_MAX 65536

/* What is left to read; empty once more was asked for than there is. */
typedef struct cursor {
    const uint8_t *at, *end;
    bool failed;
} cursor;

static const uint8_t *take(cursor *c, uint64_t n_bytes)
{
    const uint8_t *at = c->at;
    if (c->failed || n_bytes > (uint64_t)(c->end - at)) {
        c->failed = true;
        return NULL;
    }
    c->at += n_bytes;
    return at;
}

static uint64_t number_at(const uint8_t *at, size_t n_bytes)
{
    uint64_t value = 0;
    for (size_t i = n_bytes; i-- > 0;) value = value << 8 | at[i];
    return value;
}

static uint64_t take_number(cursor *c, size_t n_bytes)
{
    const uint8_t *at = take(c, n_bytes);
    return at != NULL ? number_at(at, n_bytes) : 0;
}

/* Bytes of a value; 0: it has a length of its own, or the type is unknown. */
static size_t value_bytes(uint64_t type)
{
    static const uint8_t sizes[] = {
        [BAL_GGUF_UINT8] = 1,  [BAL_GGUF_INT8] = 1,  [BAL_GGUF_UINT16] = 2,  [BAL_GGUF_INT16] = 2,
        [BAL_GGUF_UINT32] = 4, [BAL_GGUF_INT32] = 4, [BAL_GGUF_FLOAT32] = 4, [BAL_GGUF_BOOL] = 1,
        [BAL_GGUF_UINT64] = 8, [BAL_GGUF_INT64] = 8, [BAL_GGUF_FLOAT64] = 8};
    return type < sizeof sizes ? sizes[type] : 0;
}

static void take_array(cursor *c, bal_gguf_value *value)
{
    value->element = (bal_gguf_type)take_number(c, 4);
    value->n = take_number(c, 8);
    value->data = c->at;
    size_t size = value_bytes(value->element);
    uint64_t left = (uint64_t)(c->end - c->at);
    if (value->n > left || (size == 0 && value->element != BAL_GGUF_STRING)) c->failed = true;
    if (size > 0) take(c, c->failed ? 0 : value->n * size);
    for (uint64_t i = 0; size == 0 && i < value->n && !c->failed; ++i) take(c, take_number(c, 8));
}

static void take_value(cursor *c, bal_gguf_value *value)
{
    value->n_key = take_number(c, 8);
    value->key = (const char *)take(c, value->n_key);
    value->type = (bal_gguf_type)take_number(c, 4);
    if (value->type == BAL_GGUF_ARRAY) {
        take_array(c, value);
        return;
    }
    value->n = value->type == BAL_GGUF_STRING ? take_number(c, 8) : value_bytes(value->type);
    value->data = take(c, value->n);
    if (value->type != BAL_GGUF_STRING && value->n == 0) c->failed = true;
}

static bal_status read_pairs(cursor *c, uint64_t n, bal_gguf *file)
{
    if (n > (uint64_t)(c->end - c->at) / 13) /* a key, its type and a byte take more */
        return bal_fail(BAL_ERR_INPUT, "%s: %llu pairs do not fit into %td bytes", file->origin,
                        (unsigned long long)n, c->end - c->at);
    file->values = bal_alloc((size_t)n + 1, sizeof *file->values);
    if (file->values == NULL)
        return bal_fail(BAL_ERR_MEMORY, "%s: no memory for its keys", file->origin);
    for (uint64_t i = 0; i < n; ++i) {
        bal_gguf_value *value = &file->values[i];
        take_value(c, value);
        if (c->failed)
            return bal_fail(BAL_ERR_INPUT,
                            "%s: pair %llu of %llu is of unknown type, or goes beyond the end of "
                            "the file; expected the whole of a GGUF file",
                            file->origin, (unsigned long long)i, (unsigned long long)n);
        if (value->n_key == 0 || !bal_hub_is_plain(value->key, value->n_key))
            return bal_fail(BAL_ERR_INPUT, "%s: the key of pair %llu is not plain ASCII",
                            file->origin, (unsigned long long)i);
        file->n_values = (int64_t)i + 1;
    }
    return BAL_OK;
}

static bal_status read_shape(cursor *c, const bal_gguf *file, bal_hub_entry *entry)
{
    uint64_t n_dims = take_number(c, 4), n = 1;
    if (n_dims > DIMS_MAX)
        return bal_fail(BAL_ERR_INPUT, "%s: tensor %s has %llu sizes; expected at most %d",
                        file->origin, entry->name, (unsigned long long)n_dims, DIMS_MAX);
    entry->n_dims = (int)n_dims;
    for (int i = 0; i < BAL_HUB_DIMS_MAX; ++i) entry->shape[i] = 1;
    for (int i = entry->n_dims; i-- > 0;) { /* adjacent elements first */
        uint64_t size = take_number(c, 8);
        if (__builtin_mul_overflow(n, size, &n) || n > INT64_MAX / 8)
            return bal_fail(BAL_ERR_INPUT, "%s: tensor %s: shape is no size in elements",
                            file->origin, entry->name);
        entry->shape[i] = (int64_t)size;
    }
    return BAL_OK;
}

static bal_status read_layout(uint32_t type, const bal_gguf *file, bal_hub_entry *entry)
{
    const bal_ggml_layout *layout = bal_ggml_layout_of(type);
    if (layout == NULL) {
        char known[192];
        bal_ggml_list(known, sizeof known);
        return bal_fail(BAL_ERR_INPUT, "%s: tensor %s is of type %u of ggml; expected %s",
                        file->origin, entry->name, type, known);
    }
    entry->dtype = layout->type == BAL_GGML_F32    ? BAL_HUB_F32
                   : layout->type == BAL_GGML_F16  ? BAL_HUB_F16
                   : layout->type == BAL_GGML_BF16 ? BAL_HUB_BF16
                                                   : BAL_HUB_BLOCKS;
    entry->dtype_name = layout->name;
    entry->blocks = layout;
    int64_t n_row = entry->n_dims > 0 ? entry->shape[entry->n_dims - 1] : 1;
    if (n_row % layout->n != 0)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: tensor %s has rows of %lld; expected whole blocks of %d, as %s has",
                        file->origin, entry->name, (long long)n_row, layout->n, layout->name);
    int64_t n_blocks = bal_hub_entry_n(entry) / layout->n;
    return __builtin_mul_overflow((size_t)n_blocks, (size_t)layout->n_bytes, &entry->n_bytes)
               ? bal_fail(BAL_ERR_INPUT, "%s: tensor %s: shape is no size in elements",
                          file->origin, entry->name)
               : BAL_OK;
}

/* What describes a tensor; *offset is where it begins within the data. */
static bal_status read_tensor(cursor *c, const bal_gguf *file, bal_hub_entry *entry,
                              uint64_t *offset)
{
    uint64_t n_name = take_number(c, 8);
    const char *name = (const char *)take(c, n_name);
    if (name == NULL)
        return bal_fail(BAL_ERR_INPUT, "%s: ends within the names of its tensors", file->origin);
    BAL_TRY(bal_hub_entry_name(entry, name, (size_t)n_name, file->origin));
    BAL_TRY(read_shape(c, file, entry));
    uint32_t type = (uint32_t)take_number(c, 4);
    *offset = take_number(c, 8);
    if (c->failed)
        return bal_fail(BAL_ERR_INPUT, "%s: ends within what describes tensor %s", file->origin,
                        entry->name);
    return read_layout(type, file, entry);
}

static int compare_places(const void *a, const void *b)
{
    const bal_hub_entry *x = a, *y = b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return (x->n_bytes > y->n_bytes) - (x->n_bytes < y->n_bytes); /* empty ones first */
}

static bal_status check_apart(bal_hub_table *table)
{
    qsort(table->entries, (size_t)table->n_entries, sizeof *table->entries, compare_places);
    for (int64_t i = 1; i < table->n_entries; ++i) {
        const bal_hub_entry *before = &table->entries[i - 1], *entry = &table->entries[i];
        if (entry->data < before->data + before->n_bytes)
            return bal_fail(BAL_ERR_INPUT, "%s: tensors %s and %s share bytes", table->origin,
                            before->name, entry->name);
    }
    return bal_hub_table_sort_once(table);
}

/* Offsets count from the first multiple of the alignment after what describes the tensors. */
static bal_status place_tensors(const cursor *c, const uint8_t *data, uint64_t alignment,
                                const uint64_t *offsets, bal_hub_table *table)
{
    uint64_t start = ((uint64_t)(c->at - data) + alignment - 1) / alignment * alignment;
    uint64_t n_bytes = (uint64_t)(c->end - data), n_data = start < n_bytes ? n_bytes - start : 0;
    for (int64_t i = 0; i < table->n_entries; ++i) {
        bal_hub_entry *entry = &table->entries[i];
        if (offsets[i] % alignment != 0 || offsets[i] > n_data ||
            entry->n_bytes > n_data - offsets[i])
            return bal_fail(BAL_ERR_INPUT,
                            "%s: tensor %s: %zu bytes from data byte %llu on; expected a multiple "
                            "of %llu, within the %llu bytes of data",
                            table->origin, entry->name, entry->n_bytes,
                            (unsigned long long)offsets[i], (unsigned long long)alignment,
                            (unsigned long long)n_data);
        entry->data = n_data > 0 ? data + start + offsets[i] : c->end;
    }
    return check_apart(table);
}

static bal_status read_tensors(cursor *c, const uint8_t *data, uint64_t n, const bal_gguf *file,
                               bal_hub_table *table)
{
    int64_t alignment;
    BAL_TRY(bal_gguf_get_size(file, "general.alignment", ALIGNMENT_MAX, 32, &alignment));
    if (n > (uint64_t)(c->end - c->at) / 24) /* lengths, type and place take as much */
        return bal_fail(BAL_ERR_INPUT, "%s: %llu tensors do not fit into %td bytes", file->origin,
                        (unsigned long long)n, c->end - c->at);
    table->entries = bal_alloc((size_t)n + 1, sizeof *table->entries);
    uint64_t *offsets = bal_alloc((size_t)n + 1, sizeof *offsets);
    bal_status status =
        table->entries != NULL && offsets != NULL
            ? BAL_OK
            : bal_fail(BAL_ERR_MEMORY, "%s: no memory for names of tensors", file->origin);
    for (uint64_t i = 0; i < n && status == BAL_OK; ++i) {
        table->n_entries = (int64_t)i + 1;
        status = read_tensor(c, file, &table->entries[i], &offsets[i]);
    }
    if (status == BAL_OK) status = place_tensors(c, data, (uint64_t)alignment, offsets, table);
    free(offsets);
    return status;
}

bool bal_gguf_recognizes(const uint8_t *data, size_t n_bytes)
{
    return n_bytes >= 4 && memcmp(data, "GGUF", 4) == 0;
}

bal_status bal_gguf_parse(const uint8_t *data, size_t n_bytes, const char *origin, bal_gguf *file,
                          bal_hub_table *table)
{
    *file = (bal_gguf){.origin = origin};
    *table = (bal_hub_table){.origin = origin};
    cursor c = {data, data + n_bytes, false};
    take(&c, 4);
    uint64_t version = take_number(&c, 4);
    uint64_t n_tensors = take_number(&c, 8), n_pairs = take_number(&c, 8);
    if (c.failed || !bal_gguf_recognizes(data, n_bytes))
        return bal_fail(BAL_ERR_INPUT, "%s: %zu bytes; expected the head of a GGUF file", origin,
                        n_bytes);
    if (version != 2 && version != 3)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: GGUF version %llu%s; expected a little-endian file of version 2 or 3",
                        origin, (unsigned long long)version,
                        version != 0 && version % 65536 == 0 ? ", so it is big-endian" : "");
    bal_status status = read_pairs(&c, n_pairs, file);
    if (status == BAL_OK) status = read_tensors(&c, data, n_tensors, file, table);
    if (status == BAL_OK) return BAL_OK;
    bal_gguf_clear(file);
    bal_hub_table_clear(table);
    return status;
}

void bal_gguf_clear(bal_gguf *file)
{
    free(file->values);
    *file = (bal_gguf){0};
}
