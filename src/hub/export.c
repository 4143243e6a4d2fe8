/* export.c: a model as a Hugging Face folder: its weights, its config.json, and its other files
 * unchanged. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "export.h"

/* Would a reader of the folder read a file of that name? */
static bool is_read(const char *name)
{
    return strncmp(name, "model.safetensors", 17) == 0 ||
           strncmp(name, "pytorch_model.bin", 17) == 0 || strcmp(name, "config.json") == 0 ||
           bal_tokenizer_reads(name);
}

static int is_read_item(const struct dirent *item) { return is_read(item->d_name); }

/* A file that is there already would be read instead of ours, or with them. */
static bal_status check_free(const char *dir)
{
    struct dirent **items;
    bal_status status = BAL_OK;
    int n = scandir(dir, &items, is_read_item, alphasort);
    if (n < 0 && errno == ENOENT) return BAL_OK; /* it will be made */
    if (n < 0) return bal_fail(BAL_ERR_IO, "%s: cannot be read: %s", dir, strerror(errno));
    if (n > 0)
        status = bal_fail(BAL_ERR_STATE, "%s/%s: is there already; choose another folder", dir,
                          items[0]->d_name);
    for (int i = 0; i < n; ++i) free(items[i]);
    free(items);
    return status;
}

/* The files of the folder; config.json is last, as without it there is no model. */
static bal_status list_files(const bal_bundle *bundle, const bal_hub_weights *weights,
                             const bal_named_bytes *config, bal_hub_output *files, int *n)
{
    *n = 0;
    files[(*n)++] = (bal_hub_output){"model.safetensors", bal_hub_weights_write, weights};
    for (int i = 0; i < bundle->files.n; ++i) {
        const bal_named_bytes *file = &bundle->files.at[i];
        if (strcmp(file->name, "config.json") == 0) continue;
        if (!bal_tokenizer_reads(file->name))
            return bal_fail(BAL_ERR_INPUT,
                            "the model has a file whose name is not one of a model folder: %.60s",
                            bal_hub_is_plain(file->name, strlen(file->name)) ? file->name
                                                                             : "(not plain ASCII)");
        files[(*n)++] = (bal_hub_output){file->name, bal_write_named, file};
    }
    files[(*n)++] = (bal_hub_output){"config.json", bal_write_named, config};
    return BAL_OK;
}

static bal_status write_folder(const bal_bundle *bundle, const bal_hub_weights *weights,
                               const char *dir)
{
    char *text = NULL;
    int n;
    bal_hub_output *files = bal_alloc((size_t)bundle->files.n + 2, sizeof *files);
    if (files == NULL) return bal_fail(BAL_ERR_MEMORY, "%s: no memory for names of files", dir);
    bal_status status = bal_hub_export_config(bundle, bal_hub_weights_dtype(weights), &text);
    bal_named_bytes config = {.bytes = (uint8_t *)text};
    if (status == BAL_OK) config.n_bytes = strlen(text);
    if (status == BAL_OK) status = list_files(bundle, weights, &config, files, &n);
    if (status == BAL_OK) status = bal_hub_publish(dir, true, files, n);
    free(text);
    free(files);
    return status;
}

bal_status bal_hub_export(const bal_bundle *bundle, const bal_export_options *options,
                          const char *dir)
{
    bal_hub_weights weights = {0};
    BAL_TRY(check_free(dir));
    bal_status status = bal_hub_weights_init(bundle, options, &weights);
    if (status == BAL_OK) status = write_folder(bundle, &weights, dir);
    bal_hub_weights_clear(&weights);
    return status;
}
