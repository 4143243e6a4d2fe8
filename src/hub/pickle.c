/* pickle.c: pytorch_model.bin as torch.save writes it since version 1.6: a zip file of
 * ARCHIVE/data.pkl, which names tensors, and ARCHIVE/data/KEY, their storages
 * (github.com/pytorch/pytorch, torch/serialization.py and torch/_utils.py). */
#include <stdlib.h>
#include <string.h>

#include "pickle_impl.h"

#define PICKLE_BYTES_MAX 16777216 /* about 100,000 tensors */

static const struct {
    const char *name;
    size_t n_bytes;
    bal_hub_dtype dtype;
} storages[BAL_HUB_N_GLOBALS] = {
    [BAL_HUB_FLOAT_STORAGE] = {"torch.float32", 4, BAL_HUB_F32},
    [BAL_HUB_HALF_STORAGE] = {"torch.float16", 2, BAL_HUB_F16},
    [BAL_HUB_BFLOAT16_STORAGE] = {"torch.bfloat16", 2, BAL_HUB_BF16},
    [BAL_HUB_DOUBLE_STORAGE] = {"torch.float64", 8, BAL_HUB_OTHER},
    [BAL_HUB_LONG_STORAGE] = {"torch.int64", 8, BAL_HUB_OTHER},
    [BAL_HUB_INT_STORAGE] = {"torch.int32", 4, BAL_HUB_OTHER},
    [BAL_HUB_SHORT_STORAGE] = {"torch.int16", 2, BAL_HUB_OTHER},
    [BAL_HUB_CHAR_STORAGE] = {"torch.int8", 1, BAL_HUB_OTHER},
    [BAL_HUB_BYTE_STORAGE] = {"torch.uint8", 1, BAL_HUB_OTHER},
    [BAL_HUB_BOOL_STORAGE] = {"torch.bool", 1, BAL_HUB_OTHER},
};

/* What the tensors are read from. */
typedef struct source {
    const bal_hub_pickle *pickle;
    const bal_hub_zip *zip;
    const char *archive;
} source;

static bal_status refuse(const source *s, const bal_hub_entry *entry, const char *found,
                         const char *expected)
{
    return bal_fail(BAL_ERR_INPUT, "%s: tensor %s: %s; expected %s", s->zip->origin, entry->name,
                    found, expected);
}

static const bal_hub_value *items_of(const source *s, bal_hub_value value)
{
    return (const bal_hub_value *)s->pickle->items.at + value.at;
}

/* The arguments of a call of function; NULL if value is not such a call with n of them. */
static const bal_hub_value *arguments_of(const source *s, bal_hub_value value,
                                         bal_hub_global function, uint32_t n)
{
    if (value.kind != BAL_HUB_CALL) return NULL;
    const bal_hub_value *call = items_of(s, value);
    return call[0].at == (int64_t)function && call[1].n == n ? items_of(s, call[1]) : NULL;
}

/* Row-major: a stride is the product of the sizes after it; that of a size of 1 may be any. */
static bool is_row_major(const bal_hub_entry *entry, const bal_hub_value *strides)
{
    int64_t expected = 1;
    if (entry->n_bytes == 0) return true;
    for (int i = entry->n_dims; i-- > 0; expected *= entry->shape[i])
        if (entry->shape[i] != 1 && strides[i].at != expected) return false;
    return true;
}

static bal_status read_shape(const source *s, const bal_hub_value *sizes,
                             const bal_hub_value *strides, size_t n_element_bytes,
                             bal_hub_entry *entry)
{
    if (sizes->kind != BAL_HUB_TUPLE || strides->kind != BAL_HUB_TUPLE || sizes->n != strides->n ||
        sizes->n > BAL_HUB_DIMS_MAX)
        return refuse(s, entry, "its sizes or strides are none", "as many of both, at most 8");
    entry->n_dims = (int)sizes->n;
    for (int i = 0; i < BAL_HUB_DIMS_MAX; ++i) entry->shape[i] = 1;
    for (int i = 0; i < entry->n_dims; ++i) {
        const bal_hub_value *size = items_of(s, *sizes) + i, *stride = items_of(s, *strides) + i;
        if (size->kind != BAL_HUB_INTEGER || stride->kind != BAL_HUB_INTEGER)
            return refuse(s, entry, "a size or stride is none", "an integer");
        entry->shape[i] = size->at;
    }
    if (!bal_hub_entry_measure(entry, 8 * n_element_bytes))
        return refuse(s, entry, "shape is not a size in elements", "a positive one");
    if (!is_row_major(entry, items_of(s, *strides)))
        return refuse(s, entry, "its elements do not lie in row-major order",
                      "a tensor saved after .contiguous()");
    return BAL_OK;
}

/* ("storage", type, key, device, number of elements) */
static bal_status read_storage(const source *s, bal_hub_value storage, bal_hub_entry *entry,
                               const bal_hub_zip_entry **found, size_t *n_element_bytes)
{
    const bal_hub_value *id = items_of(s, storage);
    const char *bytes = (const char *)s->pickle->bytes;
    if (id[0].kind != BAL_HUB_TEXT || id[0].n != 7 || memcmp(bytes + id[0].at, "storage", 7) != 0 ||
        id[1].kind != BAL_HUB_GLOBAL || id[1].at < BAL_HUB_FLOAT_STORAGE ||
        id[2].kind != BAL_HUB_TEXT || id[4].kind != BAL_HUB_INTEGER)
        return refuse(s, entry, "a storage that is none", "type, key, device and size");
    char name[512];
    if (id[2].n > 64 || !bal_hub_is_plain(bytes + id[2].at, id[2].n) ||
        snprintf(name, sizeof name, "%s/data/%.*s", s->archive, (int)id[2].n, bytes + id[2].at) >=
            (int)sizeof name)
        return refuse(s, entry, "the key of its storage is long or not plain", "a short name");
    *found = bal_hub_zip_find(s->zip, name);
    entry->dtype = storages[id[1].at].dtype;
    entry->dtype_name = storages[id[1].at].name;
    *n_element_bytes = storages[id[1].at].n_bytes;
    if (*found == NULL)
        return bal_fail(BAL_ERR_INPUT, "%s: tensor %s: no entry %s in the zip file", s->zip->origin,
                        entry->name, name);
    if ((*found)->n_bytes % *n_element_bytes != 0 ||
        (int64_t)((*found)->n_bytes / *n_element_bytes) != id[4].at)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: tensor %s: storage %s has %zu bytes; expected %lld elements of %zu",
                        s->zip->origin, entry->name, name, (*found)->n_bytes, (long long)id[4].at,
                        *n_element_bytes);
    return BAL_OK;
}

static bal_status read_tensor(const source *s, bal_hub_value value, bal_hub_entry *entry)
{
    const bal_hub_value *parameter = arguments_of(s, value, BAL_HUB_REBUILD_PARAMETER, 3);
    if (parameter != NULL) value = parameter[0];
    /* storage, offset, sizes, strides, requires_grad, hooks */
    const bal_hub_value *tensor = arguments_of(s, value, BAL_HUB_REBUILD_TENSOR, 6);
    if (tensor == NULL)
        return refuse(s, entry, "no tensor",
                      "a state dict, whose values are tensors and nothing else");
    if (tensor[0].kind != BAL_HUB_STORAGE || tensor[1].kind != BAL_HUB_INTEGER)
        return refuse(s, entry, "no storage or no offset", "both");
    const bal_hub_zip_entry *storage;
    size_t n_element_bytes;
    BAL_TRY(read_storage(s, tensor[0], entry, &storage, &n_element_bytes));
    BAL_TRY(read_shape(s, &tensor[2], &tensor[3], n_element_bytes, entry));
    size_t start;
    if (tensor[1].at < 0 || __builtin_mul_overflow((size_t)tensor[1].at, n_element_bytes, &start) ||
        start > storage->n_bytes || entry->n_bytes > storage->n_bytes - start)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: tensor %s: %zu bytes from element %lld on; expected them within the "
                        "%zu of its storage",
                        s->zip->origin, entry->name, entry->n_bytes, (long long)tensor[1].at,
                        storage->n_bytes);
    entry->data = storage->data + start;
    return BAL_OK;
}

static bal_status read_tensors(const source *s, bal_hub_table *table)
{
    const bal_hub_pickle *p = s->pickle;
    const bal_hub_pair *pairs = p->pairs.at;
    size_t n_names = 0;
    for (size_t i = 0; i < p->pairs.n; ++i) n_names += pairs[i].dict == p->root.at;
    table->entries = bal_alloc(n_names, sizeof *table->entries);
    if (table->entries == NULL)
        return bal_fail(BAL_ERR_MEMORY, "%s: no memory for %zu names", table->origin, n_names);
    for (size_t i = 0; i < p->pairs.n; ++i) {
        if (pairs[i].dict != p->root.at) continue;
        bal_hub_entry *entry = &table->entries[table->n_entries++];
        bool text = pairs[i].key.kind == BAL_HUB_TEXT;
        BAL_TRY(bal_hub_entry_name(entry, text ? (const char *)p->bytes + pairs[i].key.at : "",
                                   text ? pairs[i].key.n : 0, table->origin));
        BAL_TRY(read_tensor(s, pairs[i].value, entry));
    }
    return bal_hub_table_sort_once(table);
}

bal_status bal_hub_pickle_tensors(const bal_hub_pickle *pickle, const bal_hub_zip *zip,
                                  const char *archive, bal_hub_table *table)
{
    source s = {pickle, zip, archive};
    *table = (bal_hub_table){.origin = zip->origin};
    if (pickle->root.kind != BAL_HUB_DICT)
        return bal_fail(BAL_ERR_INPUT, "%s: pickle: not a dict; expected a dict of tensors",
                        zip->origin);
    bal_status status = read_tensors(&s, table);
    if (status != BAL_OK) bal_hub_table_clear(table);
    return status;
}

/* All entries lie in one folder, which the file's first name gave it: that of the only data.pkl. */
static bal_status find_archive(const bal_hub_zip *zip, char archive[256],
                               const bal_hub_zip_entry **pickle)
{
    static const char name[] = "/data.pkl";
    *pickle = NULL;
    for (int64_t i = 0; i < zip->n_entries; ++i) {
        const bal_hub_zip_entry *entry = &zip->entries[i];
        const char *slash = memchr(entry->name, '/', entry->n_name);
        if (slash == NULL || entry->n_name - (size_t)(slash - entry->name) != sizeof name - 1 ||
            memcmp(slash, name, sizeof name - 1) != 0)
            continue;
        if (*pickle != NULL)
            return bal_fail(BAL_ERR_INPUT, "%s: zip file: several data.pkl; expected one",
                            zip->origin);
        *pickle = entry;
        snprintf(archive, 256, "%.*s", (int)(slash - entry->name), entry->name);
    }
    if (*pickle == NULL)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: zip file: no ARCHIVE/data.pkl; expected a file of torch.save",
                        zip->origin);
    if ((*pickle)->n_bytes > PICKLE_BYTES_MAX)
        return bal_fail(BAL_ERR_INPUT, "%s: data.pkl has %zu bytes; expected at most %d",
                        zip->origin, (*pickle)->n_bytes, PICKLE_BYTES_MAX);
    return BAL_OK;
}

static bal_status check_byte_order(const bal_hub_zip *zip, const char *archive)
{
    char name[300];
    snprintf(name, sizeof name, "%s/byteorder", archive);
    const bal_hub_zip_entry *order = bal_hub_zip_find(zip, name);
    if (order == NULL || (order->n_bytes == 6 && memcmp(order->data, "little", 6) == 0))
        return BAL_OK;
    return bal_fail(BAL_ERR_INPUT,
                    "%s: its byteorder is not little; save it on a little-endian machine",
                    zip->origin);
}

/* Before torch 1.6, a file was several pickles; the first was this number. */
static bool is_old_format(const uint8_t *data, size_t n_bytes)
{
    static const uint8_t magic[] = {0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46,
                                    0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};
    return n_bytes > 0 && data[0] == 0x80 &&
           memmem(data, n_bytes < 32 ? n_bytes : 32, magic, sizeof magic) != NULL;
}

static bal_status parse_zip(const bal_hub_zip *zip, bal_hub_table *table)
{
    char archive[256];
    const bal_hub_zip_entry *state;
    BAL_TRY(find_archive(zip, archive, &state));
    BAL_TRY(check_byte_order(zip, archive));
    bal_hub_pickle pickle;
    bal_status status = bal_hub_unpickle(state->data, state->n_bytes, zip->origin, &pickle);
    if (status == BAL_OK) status = bal_hub_pickle_tensors(&pickle, zip, archive, table);
    bal_hub_pickle_clear(&pickle);
    return status;
}

bal_status bal_hub_pickle_parse(const uint8_t *data, size_t n_bytes, const char *origin,
                                bal_hub_table *table)
{
    *table = (bal_hub_table){0};
    if (is_old_format(data, n_bytes))
        return bal_fail(BAL_ERR_INPUT,
                        "%s: the format of torch before 1.6; expected a zip file: load it with "
                        "torch.load(..., weights_only=True) and save it again",
                        origin);
    bal_hub_zip zip;
    BAL_TRY(bal_hub_zip_parse(data, n_bytes, origin, &zip));
    bal_status status = parse_zip(&zip, table);
    bal_hub_zip_clear(&zip);
    return status;
}
