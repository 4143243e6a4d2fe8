/* tensor_table.c: the tensors of files, where they lie, and reading them as floats. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hub_impl.h"

#define PIECE 1048576 /* bytes compared or written before their pages are released */

bool bal_hub_is_plain(const char *text, size_t n)
{
    for (size_t i = 0; i < n; ++i)
        if (text[i] <= ' ' || text[i] > '~') return false;
    return true;
}

bal_status bal_hub_entry_name(bal_hub_entry *entry, const char *name, size_t n, const char *origin)
{
    if (n == 0 || n >= sizeof entry->name || !bal_hub_is_plain(name, n))
        return bal_fail(BAL_ERR_INPUT,
                        "%s: a tensor's name is empty, longer than %zu bytes or not plain ASCII",
                        origin, sizeof entry->name - 1);
    memcpy(entry->name, name, n);
    entry->name[n] = '\0';
    return BAL_OK;
}

bool bal_hub_entry_measure(bal_hub_entry *entry, size_t element_bits)
{
    size_t n_bits = element_bits;
    for (int i = 0; i < entry->n_dims; ++i)
        if (entry->shape[i] < 0 || __builtin_mul_overflow(n_bits, (size_t)entry->shape[i], &n_bits))
            return false;
    entry->n_bytes = n_bits / 8;
    return n_bits % 8 == 0;
}

int64_t bal_hub_entry_n(const bal_hub_entry *entry)
{
    int64_t n = 1;
    for (int i = 0; i < entry->n_dims; ++i) n *= entry->shape[i];
    return n;
}

const char *bal_hub_entry_origin(const bal_hub_table *table, const bal_hub_entry *entry)
{
    return entry->file < table->n_files ? table->files[entry->file].path : table->origin;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const bal_hub_entry *)a)->name, ((const bal_hub_entry *)b)->name);
}

void bal_hub_table_sort(bal_hub_table *table)
{
    qsort(table->entries, (size_t)table->n_entries, sizeof *table->entries, compare_names);
}

bal_status bal_hub_table_sort_once(bal_hub_table *table)
{
    bal_hub_table_sort(table);
    for (int64_t i = 1; i < table->n_entries; ++i)
        if (strcmp(table->entries[i - 1].name, table->entries[i].name) == 0)
            return bal_fail(BAL_ERR_INPUT, "%s: tensor %s is there twice", table->origin,
                            table->entries[i].name);
    return BAL_OK;
}

void bal_hub_table_clear(bal_hub_table *table)
{
    for (int i = 0; i < table->n_files; ++i) {
        bal_mapping_close(&table->files[i].file);
        free(table->files[i].path);
    }
    free(table->files);
    free(table->entries);
    *table = (bal_hub_table){0};
}

bal_status bal_hub_table_map(bal_hub_table *table, const char *path)
{
    bal_hub_file added = {0};
    BAL_TRY(bal_mapping_open(path, &added.file));
    bal_hub_file *files = realloc(table->files, ((size_t)table->n_files + 1) * sizeof *files);
    if (files != NULL) table->files = files;
    if (files != NULL) added.path = strdup(path);
    if (added.path == NULL) {
        bal_mapping_close(&added.file);
        return bal_fail(BAL_ERR_MEMORY, "%s: no memory for its name", path);
    }
    files[table->n_files++] = added;
    table->origin = files[0].path;
    return BAL_OK;
}

bal_status bal_hub_table_append(bal_hub_table *table, bal_hub_table *part)
{
    for (int64_t i = 0; i < part->n_entries; ++i) part->entries[i].file = table->n_files - 1;
    size_t n = (size_t)(table->n_entries + part->n_entries);
    bal_hub_entry *entries = part->entries; /* moved if the table is empty, else copied */
    if (table->n_entries > 0 || entries == NULL) {
        entries = realloc(table->entries, (n + 1) * sizeof *entries);
        if (entries == NULL)
            return bal_fail(BAL_ERR_MEMORY, "%s: no memory for %zu names", table->origin, n);
        for (int64_t i = 0; i < part->n_entries; ++i)
            entries[table->n_entries + i] = part->entries[i];
    } else {
        free(table->entries);
        part->entries = NULL;
    }
    table->entries = entries;
    table->n_entries = (int64_t)n;
    bal_hub_table_clear(part);
    return BAL_OK;
}

bal_hub_entry *bal_hub_table_find(const bal_hub_table *table, const char *name)
{
    bal_hub_entry key;
    snprintf(key.name, sizeof key.name, "%s", name);
    return bsearch(&key, table->entries, (size_t)table->n_entries, sizeof key, compare_names);
}

/* Only for mapped files: other memory would lose its bytes. */
static void drop(const bal_hub_table *table, const uint8_t *from, size_t n_bytes)
{
    if (table->n_files == 0 || n_bytes == 0) return;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t start = (uintptr_t)from / page * page;
    madvise((void *)start, (uintptr_t)from + n_bytes - start, MADV_DONTNEED); /* advice */
}

bool bal_hub_table_same(const bal_hub_table *table, const bal_hub_entry *a, const bal_hub_entry *b)
{
    if (a->dtype != b->dtype || a->n_bytes != b->n_bytes) return false;
    if (a->data == b->data) return true;
    bool same = true;
    for (size_t start = 0, n = PIECE; start < a->n_bytes && same; start += n) {
        if (n > a->n_bytes - start) n = a->n_bytes - start;
        same = memcmp(a->data + start, b->data + start, n) == 0;
        drop(table, a->data + start, n);
        drop(table, b->data + start, n);
    }
    return same;
}

static const bal_ggml_layout *layout_of(const bal_hub_entry *entry)
{
    static const bal_ggml_type plain[] = {
        [BAL_HUB_F32] = BAL_GGML_F32, [BAL_HUB_F16] = BAL_GGML_F16, [BAL_HUB_BF16] = BAL_GGML_BF16};
    return entry->dtype == BAL_HUB_BLOCKS ? entry->blocks : bal_ggml_layout_of(plain[entry->dtype]);
}

bal_status bal_hub_table_read(const bal_hub_table *table, const bal_hub_entry *entry, float *values)
{
    bal_status status = bal_hub_table_read_some(table, entry, 0, bal_hub_entry_n(entry), values);
    bal_hub_table_release(table, entry);
    return status;
}

bal_status bal_hub_table_read_some(const bal_hub_table *table, const bal_hub_entry *entry,
                                   int64_t first, int64_t n, float *values)
{
    const char *origin = bal_hub_entry_origin(table, entry);
    if (entry->dtype == BAL_HUB_OTHER)
        return bal_fail(BAL_ERR_INPUT, "%s: tensor %s has dtype %s; expected F32, F16 or BF16",
                        origin, entry->name, entry->dtype_name);
    const bal_ggml_layout *layout = layout_of(entry);
    layout->read(entry->data + bal_ggml_bytes(layout->type, first), n / layout->n, values);
    for (int64_t i = 0; i < n; ++i)
        if (!isfinite(values[i]))
            return bal_fail(BAL_ERR_INPUT, "%s: tensor %s: element %lld is %s; expected a number",
                            origin, entry->name, (long long)(first + i),
                            isnan(values[i]) ? "NaN" : "infinite");
    return BAL_OK;
}

void bal_hub_table_release(const bal_hub_table *table, const bal_hub_entry *entry)
{
    drop(table, entry->data, entry->n_bytes);
}

bal_status bal_hub_table_copy(const bal_hub_table *table, const bal_hub_entry *entry, int fd,
                              const char *path)
{
    for (size_t start = 0, n; start < entry->n_bytes; start += n) {
        n = entry->n_bytes - start < PIECE ? entry->n_bytes - start : PIECE;
        BAL_TRY(bal_write_all(fd, entry->data + start, n, path));
        drop(table, entry->data + start, n);
    }
    return BAL_OK;
}
