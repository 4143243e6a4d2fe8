/* index.c: finds and opens the weights of a folder: one file, or the files that an index names. The
 * index, "weight_map": {tensor: file}, and the files must agree on every tensor. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "hub_impl.h"

#define INDEX_BYTES_MAX 100000000 /* the limit of a safetensors header */
#define FILES_MAX 4096
#define NAME_BYTES_MAX 255

typedef bal_status (*parser)(const uint8_t *data, size_t n_bytes, const char *origin,
                             bal_hub_table *table);

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Whether it is the name of a file in the folder itself. */
static bool is_file_name(const char *name)
{
    size_t n = strlen(name);
    return n >= 1 && n <= NAME_BYTES_MAX && name[0] != '.' && strchr(name, '/') == NULL &&
           bal_hub_is_plain(name, n);
}

/* Check each pair of the map and list its files, as often as they are named. */
static bal_status list_files(bal_hub_index *index)
{
    const char *name;
    json_t *file;
    json_object_foreach(index->map, name, file)
    {
        bal_hub_entry entry;
        BAL_TRY(bal_hub_entry_name(&entry, name, strlen(name), index->origin));
        if (!json_is_string(file) || !is_file_name(json_string_value(file)))
            return bal_fail(BAL_ERR_INPUT,
                            "%s: weight_map: the file of tensor %s is not a plain name; expected a "
                            "file in the same folder",
                            index->origin, name);
        index->files[index->n_files++] = json_string_value(file);
    }
    return BAL_OK;
}

static bal_status parse_map(bal_hub_index *index)
{
    index->map = json_object_get(index->json, "weight_map");
    size_t n = json_object_size(index->map); /* 0 if it is not an object */
    if (n == 0 || n > INT_MAX)
        return bal_fail(BAL_ERR_INPUT, "%s: weight_map has %zu tensors; expected an object of them",
                        index->origin, n);
    index->files = bal_alloc(n, sizeof *index->files);
    if (index->files == NULL)
        return bal_fail(BAL_ERR_MEMORY, "%s: no memory for %zu names", index->origin, n);
    BAL_TRY(list_files(index));
    qsort(index->files, n, sizeof *index->files, compare_texts);
    int n_distinct = 0;
    for (size_t i = 0; i < n; ++i)
        if (i == 0 || strcmp(index->files[i], index->files[i - 1]) != 0)
            index->files[n_distinct++] = index->files[i];
    index->n_files = n_distinct;
    if (n_distinct > FILES_MAX)
        return bal_fail(BAL_ERR_INPUT, "%s: weight_map has %d files; expected at most %d",
                        index->origin, n_distinct, FILES_MAX);
    return BAL_OK;
}

bal_status bal_hub_index_parse(const void *bytes, size_t n_bytes, const char *origin,
                               bal_hub_index *index)
{
    *index = (bal_hub_index){.origin = origin};
    if (n_bytes > INDEX_BYTES_MAX)
        return bal_fail(BAL_ERR_INPUT, "%s: %zu bytes; expected at most %d", origin, n_bytes,
                        INDEX_BYTES_MAX);
    BAL_TRY(bal_hub_json(bytes, n_bytes, origin, &index->json));
    bal_status status = parse_map(index);
    if (status != BAL_OK) bal_hub_index_clear(index);
    return status;
}

void bal_hub_index_clear(bal_hub_index *index)
{
    json_decref(index->json);
    free(index->files);
    *index = (bal_hub_index){0};
}

bal_status bal_hub_index_check(const bal_hub_index *index, const bal_hub_table *table)
{
    for (int64_t i = 0; i < table->n_entries; ++i) {
        const bal_hub_entry *entry = &table->entries[i];
        const char *file = index->files[entry->file - 1];
        const char *named = json_string_value(json_object_get(index->map, entry->name));
        if (named == NULL)
            return bal_fail(BAL_ERR_INPUT, "%s: tensor %s in %s is not in weight_map",
                            index->origin, entry->name, file);
        if (strcmp(named, file) != 0)
            return bal_fail(BAL_ERR_INPUT,
                            "%s: tensor %s is in %s; expected it in %s alone, as weight_map says",
                            index->origin, entry->name, file, named);
    }
    const char *name;
    json_t *file;
    json_object_foreach(index->map, name, file)
    {
        if (bal_hub_table_find(table, name) != NULL) continue;
        return bal_fail(BAL_ERR_INPUT,
                        "%s: tensor %s is not in %s; expected it there, as weight_map says",
                        index->origin, name, json_string_value(file));
    }
    return BAL_OK;
}

/* Map dir/name and add the tensors that parse finds in it. */
static bal_status add_file(bal_hub_table *table, const char *dir, const char *name, parser parse)
{
    static const char pointer[] = "version https://git-lfs.github.com/spec/";
    char path[PATH_MAX];
    BAL_TRY(bal_path_in(dir, name, path));
    BAL_TRY(bal_hub_table_map(table, path));
    if (parse == NULL) return BAL_OK;
    const bal_hub_file *last = &table->files[table->n_files - 1];
    if (last->file.n_bytes >= sizeof pointer &&
        memcmp(last->file.data, pointer, sizeof pointer - 1) == 0)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: a Git LFS pointer; expected the file that it stands "
                        "for: git lfs pull fetches it",
                        path);
    bal_hub_table part;
    BAL_TRY(parse(last->file.data, last->file.n_bytes, last->path, &part));
    bal_status status = bal_hub_table_append(table, &part);
    bal_hub_table_clear(&part);
    return status;
}

static bal_status add_files(bal_hub_table *table, const char *dir, const char *name, parser parse)
{
    BAL_TRY(add_file(table, dir, name, NULL));
    bal_hub_index index;
    const bal_mapping *file = &table->files[0].file;
    BAL_TRY(bal_hub_index_parse(file->data, file->n_bytes, table->files[0].path, &index));
    bal_status status = BAL_OK;
    for (int i = 0; i < index.n_files && status == BAL_OK; ++i)
        status = add_file(table, dir, index.files[i], parse);
    if (status == BAL_OK) {
        bal_hub_table_sort(table);
        status = bal_hub_index_check(&index, table);
    }
    bal_hub_index_clear(&index);
    return status;
}

bal_status bal_hub_weights_open(const char *dir, bal_hub_table *table)
{
    static const struct {
        const char *name;
        parser parse;
        bool is_index;
    } layouts[] = {
        {"model.safetensors", bal_hub_safetensors_parse, false},
        {"model.safetensors.index.json", bal_hub_safetensors_parse, true},
        {"pytorch_model.bin", bal_hub_pickle_parse, false},
        {"pytorch_model.bin.index.json", bal_hub_pickle_parse, true},
    };
    *table = (bal_hub_table){0};
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; ++i) {
        if (!bal_has_file(dir, layouts[i].name)) continue;
        bal_status status = (layouts[i].is_index ? add_files : add_file)(
            table, dir, layouts[i].name, layouts[i].parse);
        if (status != BAL_OK) bal_hub_table_clear(table);
        return status;
    }
    return bal_fail(BAL_ERR_INPUT,
                    "%s: no weights in this folder; expected model.safetensors or "
                    "pytorch_model.bin, or one of them with .index.json",
                    dir);
}
