/* safetensors.c: the header of a .safetensors file: 8 bytes of length, JSON, then tensor data that
 * covers the rest without gap or overlap (github.com/huggingface/safetensors, "Format"). */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "hub_impl.h"

#define HEADER_BYTES_MAX 100000000 /* the limit of the reference reader */

static const struct {
    const char *name;
    size_t      n_bytes;
} dtypes[] = {[BAL_HUB_F32] = {"F32", 4}, [BAL_HUB_F16] = {"F16", 2}, [BAL_HUB_BF16] = {"BF16", 2}};

/* Names go into sentences and onto terminals. */
static bool is_plain(const char *text)
{
    for (; *text != '\0'; ++text)
        if (*text <= ' ' || *text > '~') return false;
    return true;
}

static bal_status parse_tensor(const char *name, json_t *info, size_t n_data, const char *origin,
                               bal_hub_entry *entry)
{
    if (strlen(name) >= sizeof entry->name || !is_plain(name))
        return bal_fail(BAL_ERR_INPUT,
                        "%s: a tensor's name is longer than %zu bytes or not plain ASCII", origin,
                        sizeof entry->name - 1);
    snprintf(entry->name, sizeof entry->name, "%s", name);
    const char  *dtype;
    json_t      *shape;
    json_int_t   begin, end;
    json_error_t error;
    if (json_unpack_ex(info, &error, 0, "{s:s, s:o, s:[II!]}", "dtype", &dtype, "shape", &shape,
                       "data_offsets", &begin, &end) != 0)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: tensor %s: %s; expected dtype, shape and two "
                        "data_offsets",
                        origin, name, error.text);
    size_t type = 0;
    while (type < sizeof dtypes / sizeof *dtypes && strcmp(dtype, dtypes[type].name) != 0) ++type;
    if (type == sizeof dtypes / sizeof *dtypes)
        return bal_fail(BAL_ERR_INPUT, "%s: tensor %s: dtype %.16s; expected F32, F16 or BF16",
                        origin, name, is_plain(dtype) ? dtype : "is not plain ASCII");
    entry->dtype = (bal_hub_dtype)type;

    size_t n_dims = json_array_size(shape); /* 0 if it is no array */
    if (n_dims != 1 && n_dims != 2)
        return bal_fail(BAL_ERR_INPUT, "%s: tensor %s: shape has %zu sizes; expected 1 or 2",
                        origin, name, n_dims);
    entry->n_dims   = (int)n_dims;
    entry->shape[1] = 1;
    size_t n_bytes  = dtypes[type].n_bytes;
    for (size_t i = 0; i < n_dims; ++i) {
        json_t *size = json_array_get(shape, i);
        if (!json_is_integer(size) || json_integer_value(size) < 0 ||
            __builtin_mul_overflow(n_bytes, (size_t)json_integer_value(size), &n_bytes))
            return bal_fail(BAL_ERR_INPUT, "%s: tensor %s: shape is no size in elements", origin,
                            name);
        entry->shape[i] = json_integer_value(size);
    }
    if (begin < 0 || end < begin || (size_t)end > n_data)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: tensor %s: data_offsets %lld to %lld; expected a range in the %zu "
                        "bytes of data",
                        origin, name, (long long)begin, (long long)end, n_data);
    if ((size_t)(end - begin) != n_bytes)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: tensor %s: data_offsets span %lld bytes; expected %zu, as dtype and "
                        "shape say",
                        origin, name, (long long)(end - begin), n_bytes);
    entry->start   = (size_t)begin;
    entry->n_bytes = n_bytes;
    return BAL_OK;
}

static int compare_places(const void *a, const void *b)
{
    const bal_hub_entry *x = a, *y = b;
    if (x->start != y->start) return x->start < y->start ? -1 : 1;
    return (x->n_bytes > y->n_bytes) - (x->n_bytes < y->n_bytes); /* empty ones first */
}

/* Entries, with places relative to the data, tile its n_data bytes. */
static bal_status check_cover(bal_hub_table *table, size_t n_data)
{
    qsort(table->entries, (size_t)table->n_entries, sizeof *table->entries, compare_places);
    size_t      at       = 0;
    const char *previous = "the header";
    for (int64_t i = 0; i < table->n_entries; ++i) {
        const bal_hub_entry *entry = &table->entries[i];
        if (entry->start != at)
            return bal_fail(BAL_ERR_INPUT,
                            "%s: tensor %s starts at data byte %zu, %s; expected %zu, where %s "
                            "ends",
                            table->origin, entry->name, entry->start,
                            entry->start < at ? "overlapping" : "after a gap", at, previous);
        at += entry->n_bytes;
        previous = entry->name;
    }
    if (at != n_data)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: tensors end at data byte %zu; expected %zu, the end of "
                        "the file",
                        table->origin, at, n_data);
    return BAL_OK;
}

bal_status bal_hub_safetensors_parse(const uint8_t *data, size_t n_bytes, const char *origin,
                                     bal_hub_table *table)
{
    *table = (bal_hub_table){.origin = origin, .data = data};
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
    json_t *header = bal_hub_json(data + 8, n_header, origin);
    if (header == NULL) return BAL_ERR_INPUT;
    bal_status status = BAL_OK;
    table->entries    = bal_alloc(json_object_size(header), sizeof *table->entries);
    if (table->entries == NULL)
        status = bal_fail(BAL_ERR_MEMORY, "%s: no memory for its header", origin);
    size_t n_data = n_bytes - 8 - n_header;
    for (void *item = json_object_iter(header); item != NULL && status == BAL_OK;
         item       = json_object_iter_next(header, item)) {
        const char *name = json_object_iter_key(item);
        if (strcmp(name, "__metadata__") == 0) continue; /* free text */
        status = parse_tensor(name, json_object_iter_value(item), n_data, origin,
                              &table->entries[table->n_entries++]);
    }
    json_decref(header);
    if (status == BAL_OK) status = check_cover(table, n_data);
    if (status != BAL_OK) {
        bal_hub_table_clear(table);
        return status;
    }
    for (int64_t i = 0; i < table->n_entries; ++i) table->entries[i].start += n_bytes - n_data;
    bal_hub_table_sort(table);
    return BAL_OK;
}
