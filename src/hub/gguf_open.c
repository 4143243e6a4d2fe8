/* gguf_open.c: a GGUF file as the Hugging Face folder that it was made from: its tensors, and in
 * memory the config.json and the tokenizer's files that the folder would have. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gguf.h"

/* What a family cannot say of a config would be lost in a config.json. */
static bal_status add_config(const char *origin, json_t *json, const bal_model_config *config,
                             bal_files *files)
{
    char *text = bal_hub_config_print(json);
    if (text == NULL) return bal_fail(BAL_ERR_MEMORY, "%s: no memory for its settings", origin);
    bal_model_config again;
    const bal_family *family;
    bal_status status = bal_hub_config_parse(text, strlen(text), origin, &again, &family);
    if (status == BAL_OK && !bal_model_config_same(&again, config))
        status = bal_fail(BAL_ERR_INPUT,
                          "%s: its biases or settings are none that a config.json of %s can have",
                          origin, family->type);
    if (status == BAL_OK) status = bal_files_add(files, "config.json", text, strlen(text));
    free(text);
    return status;
}

static bal_status describe(bal_gguf *file, const bal_hub_table *table, const bal_gguf_arch **arch,
                           bal_model_config *config, bal_files *files)
{
    const bal_family *family;
    BAL_TRY(bal_gguf_config(file, table, arch, config, &family));
    json_t *json = bal_hub_config_json(config, family);
    bal_status status = bal_gguf_add_tokenizer(file, json, files);
    if (status == BAL_OK) status = add_config(file->origin, json, config, files);
    json_decref(json);
    return status;
}

bal_status bal_hub_gguf_parse(const uint8_t *data, size_t n_bytes, const char *origin,
                              bal_model_config *config, const bal_family **names, bal_files *files,
                              bal_hub_table *table)
{
    bal_gguf file;
    const bal_gguf_arch *arch = NULL;
    BAL_TRY(bal_gguf_parse(data, n_bytes, origin, &file, table));
    bal_status status = describe(&file, table, &arch, config, files);
    bal_gguf_clear(&file);
    if (status != BAL_OK) {
        bal_hub_table_clear(table);
        return status;
    }
    *names = &arch->names;
    table->rows = arch->adjacent ? BAL_HUB_ROWS_HALVES : BAL_HUB_ROWS_KEPT;
    return BAL_OK;
}

bool bal_hub_gguf_recognizes(const char *path)
{
    char first[4] = "";
    struct stat info;
    FILE *stream = stat(path, &info) == 0 && S_ISREG(info.st_mode) ? fopen(path, "rbe") : NULL;
    size_t n = stream != NULL ? fread(first, 1, sizeof first, stream) : 0;
    if (stream != NULL) fclose(stream);
    return bal_gguf_recognizes((const uint8_t *)first, n);
}

bal_status bal_hub_gguf_open(const char *path, bal_model_config *config, const bal_family **names,
                             bal_files *files, bal_hub_table *table)
{
    bal_hub_table part;
    *table = (bal_hub_table){0};
    BAL_TRY(bal_hub_table_map(table, path));
    const bal_hub_file *file = &table->files[0];
    bal_status status = bal_hub_gguf_parse(file->file.data, file->file.n_bytes, file->path, config,
                                           names, files, &part);
    if (status == BAL_OK) {
        table->rows = part.rows;
        status = bal_hub_table_append(table, &part);
        bal_hub_table_clear(&part);
    }
    if (status != BAL_OK) bal_hub_table_clear(table);
    return status;
}
