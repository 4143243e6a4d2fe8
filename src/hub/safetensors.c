/* safetensors.c: the header of a .safetensors file: 8 bytes of length, then JSON. Tensor data
 * covers the rest of the file without gap or overlap (github.com/huggingface/safetensors,
 * "Format"). */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "hub_impl.h"

#define HEADER_BYTES_MAX 100000000 /* the limit of the reference reader */

static const struct {
    const char *name;
    size_t n_bits; /* bytes of an element */
    bal_hub_dtype dtype;
} dtypes[] = {
    {"F32", 32, BAL_HUB_F32},      {"F16", 16, BAL_HUB_F16},      {"BF16", 16, BAL_HUB_BF16},
    {"F64", 64, BAL_HUB_OTHER},    {"I64", 64, BAL_HUB_OTHER},    {"I32", 32, BAL_HUB_OTHER},
    {"I16", 16, BAL_HUB_OTHER},    {"I8", 8, BAL_HUB_OTHER},      {"U64", 64, BAL_HUB_OTHER},
    {"U32", 32, BAL_HUB_OTHER},    {"U16", 16, BAL_HUB_OTHER},    {"U8", 8, BAL_HUB_OTHER},
    {"BOOL", 8, BAL_HUB_OTHER},    {"C64", 64, BAL_HUB_OTHER},    {"F8_E4M3", 8, BAL_HUB_OTHER},
    {"F8_E5M2", 8, BAL_HUB_OTHER}, {"F8_E8M0", 8, BAL_HUB_OTHER}, {"F6_E2M3", 6, BAL_HUB_OTHER},
    {"F6_E3M2", 6, BAL_HUB_OTHER}, {"F4", 4, BAL_HUB_OTHER},
};
enum { N_DTYPES = sizeof dtypes / sizeof *dtypes };

static bal_status parse_dtype(const char *dtype, const char *origin, bal_hub_entry *entry,
                              size_t *n_bits)
{
    for (int i = 0; i < N_DTYPES; ++i)
        if (strcmp(dtype, dtypes[i].name) == 0) {
            entry->dtype = dtypes[i].dtype;
            entry->dtype_name = dtypes[i].name;
            *n_bits = dtypes[i].n_bits;
            return BAL_OK;
        }
    bool plain = bal_hub_is_plain(dtype, strlen(dtype));
    return bal_fail(BAL_ERR_INPUT,
                    "%s: tensor %s: dtype %.20s; expected one of the format, such as F32", origin,
                    entry->name, plain ? dtype : "is not plain ASCII");
}

static bal_status parse_shape(const json_t *shape, const char *origin, bal_hub_entry *entry)
{
    size_t n_dims = json_array_size(shape);
    if (!json_is_array(shape) || n_dims > BAL_HUB_DIMS_MAX)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: tensor %s: shape has %zu sizes; expected an array of at most %d",
                        origin, entry->name, n_dims, BAL_HUB_DIMS_MAX);
    entry->n_dims = (int)n_dims;
    for (size_t i = 0; i < BAL_HUB_DIMS_MAX; ++i) {
        const json_t *size = i < n_dims ? json_array_get(shape, i) : NULL;
        entry->shape[i] = i >= n_dims ? 1 : json_is_integer(size) ? json_integer_value(size) : -1;
    }
    return BAL_OK;
}

/* The data of a tensor is a range of the n_data bytes, as long as its shape implies. */
static bal_status parse_tensor(const char *name, json_t *info, const uint8_t *data, size_t n_data,
                               const char *origin, bal_hub_entry *entry)
{
    BAL_TRY(bal_hub_entry_name(entry, name, strlen(name), origin));
    const char *dtype;
    json_t *shape;
    json_int_t begin, end;
    json_error_t error;
    if (json_unpack_ex(info, &error, 0, "{s:s, s:o, s:[II!]}", "dtype", &dtype, "shape", &shape,
                       "data_offsets", &begin, &end) != 0) {
        if (json_error_code(&error) == json_error_out_of_memory)
            return bal_fail(BAL_ERR_MEMORY, "%s: no memory for its header", origin);
        return bal_fail(BAL_ERR_INPUT,
                        "%s: tensor %s: %s; expected dtype, shape and two data_offsets",
                        origin, name, error.text);
    }
    size_t n_bits = 0;
    BAL_TRY(parse_dtype(dtype, origin, entry, &n_bits));
    BAL_TRY(parse_shape(shape, origin, entry));
    if (!bal_hub_entry_measure(entry, n_bits))
        return bal_fail(BAL_ERR_INPUT, "%s: tensor %s: shape is not a size in elements", origin,
                        name);
    if (begin < 0 || end < begin || (size_t)end > n_data)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: tensor %s: data_offsets %lld to %lld; expected a range in the %zu "
                        "bytes of data",
                        origin, name, (long long)begin, (long long)end, n_data);
    if ((size_t)(end - begin) != entry->n_bytes)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: tensor %s: data_offsets span %lld bytes; expected %zu, as dtype and "
                        "shape say",
                        origin, name, (long long)(end - begin), entry->n_bytes);
    entry->data = data + begin;
    return BAL_OK;
}

static int compare_places(const void *a, const void *b)
{
    const bal_hub_entry *x = a, *y = b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return (x->n_bytes > y->n_bytes) - (x->n_bytes < y->n_bytes); /* empty ones first */
}

/* Check that the entries cover the n_data bytes, without gap or overlap. */
static bal_status check_cover(bal_hub_table *table, const uint8_t *data, size_t n_data)
{
    qsort(table->entries, (size_t)table->n_entries, sizeof *table->entries, compare_places);
    size_t at = 0;
    const char *previous = "the header";
    for (int64_t i = 0; i < table->n_entries; ++i) {
        const bal_hub_entry *entry = &table->entries[i];
        size_t start = (size_t)(entry->data - data);
        if (start != at)
            return bal_fail(BAL_ERR_INPUT,
                            "%s: tensor %s starts at data byte %zu, %s; expected %zu, where %s "
                            "ends",
                            table->origin, entry->name, start,
                            start < at ? "overlapping" : "after a gap", at, previous);
        at += entry->n_bytes;
        previous = entry->name;
    }
    if (at != n_data)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: tensors end at data byte %zu; expected %zu, the end of the file",
                        table->origin, at, n_data);
    return BAL_OK;
}

bal_status bal_hub_safetensors_parse(const uint8_t *data, size_t n_bytes, const char *origin,
                                     bal_hub_table *table)
{
    *table = (bal_hub_table){.origin = origin};
    if (n_bytes < 8)
        return bal_fail(BAL_ERR_INPUT, "%s: %zu bytes; expected a safetensors header", origin,
                        n_bytes);
    uint64_t n_header;
    memcpy(&n_header, data, sizeof n_header);
    n_header = le64toh(n_header);
    if (n_header > n_bytes - 8 || n_header > HEADER_BYTES_MAX)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: header length is %llu bytes; expected at most %d and the %zu after it",
                        origin, (unsigned long long)n_header, HEADER_BYTES_MAX, n_bytes - 8);
    json_t *header;
    BAL_TRY(bal_hub_json(data + 8, n_header, origin, &header));
    bal_status status = BAL_OK;
    table->entries = bal_alloc(json_object_size(header), sizeof *table->entries);
    if (table->entries == NULL)
        status = bal_fail(BAL_ERR_MEMORY, "%s: no memory for its header", origin);
    size_t n_data = n_bytes - 8 - n_header;
    const uint8_t *start = data + 8 + n_header;
    for (void *item = json_object_iter(header); item != NULL && status == BAL_OK;
         item = json_object_iter_next(header, item)) {
        const char *name = json_object_iter_key(item);
        if (strcmp(name, "__metadata__") == 0) continue; /* free text */
        status = parse_tensor(name, json_object_iter_value(item), start, n_data, origin,
                              &table->entries[table->n_entries++]);
    }
    json_decref(header);
    if (status == BAL_OK) status = check_cover(table, start, n_data);
    if (status != BAL_OK) {
        bal_hub_table_clear(table);
        return status;
    }
    bal_hub_table_sort(table);
    return BAL_OK;
}
