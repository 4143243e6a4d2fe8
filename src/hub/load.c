/* load.c: from a path to a model and its tokenizer: finds the files, then reads tensor by tensor.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hub_impl.h"

#define WEIGHTS "model.safetensors"

static bool ends_with(const char *text, const char *tail)
{
    size_t length = strlen(text), n = strlen(tail);
    return length >= n && strcmp(text + length - n, tail) == 0;
}

static bool is_dir(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static bal_status join(const char *dir, const char *name, char path[PATH_MAX])
{
    if (snprintf(path, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
        return bal_fail(BAL_ERR_INPUT, "%s/%s: the path is too long", dir, name);
    return BAL_OK;
}

static bool has(const char *dir, const char *name)
{
    char path[PATH_MAX];
    return snprintf(path, sizeof path, "%s/%s", dir, name) < PATH_MAX && access(path, F_OK) == 0;
}

/* The two kinds of *.bin in a llama2.c folder. */
static int is_tokenizer_bin(const struct dirent *item)
{
    return strncmp(item->d_name, "tok", 3) == 0 && ends_with(item->d_name, ".bin");
}
static int is_model_bin(const struct dirent *item)
{
    return item->d_name[0] != '.' && ends_with(item->d_name, ".bin") && !is_tokenizer_bin(item);
}

/* The only file of dir that filter lets through. */
static bal_status find_only(const char *dir, int (*filter)(const struct dirent *), const char *what,
                            char path[PATH_MAX])
{
    struct dirent **items;
    int             n = scandir(dir, &items, filter, alphasort);
    if (n < 0) return bal_fail(BAL_ERR_INPUT, "%s: cannot be read: %s", dir, strerror(errno));
    char   names[512] = "";
    size_t length     = 0;
    for (int i = 0; i < n && length < sizeof names; ++i)
        length += (size_t)snprintf(names + length, sizeof names - length, "%s%s",
                                   i == 0 ? "" : ", ", items[i]->d_name);
    bal_status status = BAL_OK;
    if (n == 0)
        status = bal_fail(BAL_ERR_INPUT, "%s: no %s in this folder", dir, what);
    else if (n > 1)
        status = bal_fail(BAL_ERR_INPUT, "%s: %d files could be its %s; expected one of: %s", dir,
                          n, what, names);
    else
        status = join(dir, items[0]->d_name, path);
    for (int i = 0; i < n; ++i) free(items[i]);
    free(items);
    return status;
}

static bool is_hugging_face(const char *dir)
{
    return has(dir, "config.json") || has(dir, WEIGHTS) || has(dir, WEIGHTS ".index.json") ||
           has(dir, "pytorch_model.bin") || has(dir, "pytorch_model.bin.index.json");
}

/* Where the weights of path are, in which folder, and in which layout. */
typedef struct place {
    bool hugging_face;
    char dir[PATH_MAX];
    char weights[PATH_MAX]; /* of a llama2.c model */
} place;

static bal_status find_place(const char *path, place *p)
{
    p->hugging_face = false;
    if (strlen(path) >= PATH_MAX) return bal_fail(BAL_ERR_INPUT, "%s: the path is too long", path);
    strcpy(p->dir, path);
    if (is_dir(path)) {
        if (!is_hugging_face(path))
            return find_only(path, is_model_bin, "llama2.c model (*.bin)", p->weights);
        p->hugging_face = true;
        return BAL_OK;
    }
    strcpy(p->weights, path);
    char *slash = strrchr(p->dir, '/');
    if (slash == NULL)
        strcpy(p->dir, ".");
    else
        slash[slash == p->dir] = '\0'; /* "/" stays */
    if (ends_with(path, ".safetensors") || ends_with(path, ".json"))
        return bal_fail(BAL_ERR_INPUT, "%s: part of a Hugging Face model; expected its folder, %s",
                        path, p->dir);
    return BAL_OK;
}

static bal_status open_tokenizer(const char *dir, int64_t n_vocab, bal_tokenizer **tokenizer)
{
    char path[PATH_MAX];
    if (has(dir, "tokenizer.json"))
        BAL_TRY(join(dir, "tokenizer.json", path));
    else if (has(dir, "tokenizer.bin"))
        BAL_TRY(join(dir, "tokenizer.bin", path));
    else
        BAL_TRY(find_only(dir, is_tokenizer_bin, "tokenizer (tokenizer.json or tok*.bin)", path));
    return bal_tokenizer_open(path, n_vocab, tokenizer);
}

static bal_status read_config(const char *dir, bal_model_config *config)
{
    char     path[PATH_MAX];
    bal_file file;
    BAL_TRY(join(dir, "config.json", path));
    BAL_TRY(bal_file_open(path, &file));
    bal_status status = bal_hub_config_parse(file.data, file.n_bytes, path, config);
    bal_file_close(&file);
    return status;
}

/* Fill the model; one buffer, of the largest tensor, is all the float memory there is. */
static bal_status read_tensors(const bal_hub_table *table, bal_model *model)
{
    int64_t n_largest = 0;
    for (int64_t i = 0; i < table->n_entries; ++i) {
        int64_t n = bal_hub_entry_n(&table->entries[i]);
        if (table->entries[i].wanted && n > n_largest) n_largest = n;
    }
    float *values = bal_alloc((size_t)n_largest, sizeof *values);
    if (values == NULL)
        return bal_fail(BAL_ERR_MEMORY, "%s: no memory for its largest tensor", table->origin);
    bal_status status = BAL_OK;
    for (int i = 0; i < bal_model_n_tensors(model) && status == BAL_OK; ++i) {
        bal_tensor *tensor = bal_model_tensor(model, i);
        if (tensor->role == BAL_GAIN) continue;
        status = bal_hub_table_read(table, bal_hub_table_find(table, tensor->name), values);
        if (status == BAL_OK) status = bal_tensor_quantize(tensor, values);
    }
    free(values);
    return status;
}

/* The files of a model, mapped and understood. */
typedef struct source {
    place            place;
    bal_hub_table    table;
    bal_model_config config;
} source;

static bal_status open_source(const char *path, source *s)
{
    *s = (source){0};
    BAL_TRY(find_place(path, &s->place));
    if (s->place.hugging_face) BAL_TRY(read_config(s->place.dir, &s->config));
    bal_status status = s->place.hugging_face
                            ? bal_hub_weights_open(s->place.dir, &s->table)
                            : bal_hub_llama2c_open(s->place.weights, &s->config, &s->table);
    /* before a model is made: its size must be that of a file, not of a header */
    if (status == BAL_OK) status = bal_hub_table_match(&s->table, &s->config);
    if (status != BAL_OK) bal_hub_table_clear(&s->table);
    return status;
}

bal_status bal_hub_outline(const char *path, bal_format format, bool with_carry, bal_model **model,
                           bal_tokenizer **tokenizer)
{
    source s;
    *model     = NULL;
    *tokenizer = NULL;
    BAL_TRY(open_source(path, &s));
    bal_status status = open_tokenizer(s.place.dir, s.config.n_vocab, tokenizer);
    if (status == BAL_OK) status = bal_model_outline(&s.config, format, with_carry, model);
    if (status != BAL_OK) bal_tokenizer_destroy(tokenizer);
    bal_hub_table_clear(&s.table);
    return status;
}

bal_status bal_hub_fill(const char *path, bal_model *model)
{
    source s;
    BAL_TRY(open_source(path, &s));
    bal_status status = bal_hub_table_match(&s.table, bal_model_shape(model));
    bal_model_zero(model);
    if (status == BAL_OK) status = read_tensors(&s.table, model);
    bal_hub_table_clear(&s.table);
    return status;
}

bal_status bal_hub_load(const char *path, bal_format format, bool with_carry, bal_model **model,
                        bal_tokenizer **tokenizer)
{
    BAL_TRY(bal_hub_outline(path, format, with_carry, model, tokenizer));
    bal_status status = bal_model_allocate(*model);
    if (status == BAL_OK) status = bal_hub_fill(path, *model);
    if (status != BAL_OK) {
        bal_model_destroy(model);
        bal_tokenizer_destroy(tokenizer);
    }
    return status;
}

/* Layout of a llama2.c file, -1 if it cannot be one; leaves the last sentence alone. */
static int64_t peek_version(const char *path)
{
    struct stat info;
    uint8_t     first[8] = {0};
    FILE *stream = stat(path, &info) == 0 && S_ISREG(info.st_mode) ? fopen(path, "rbe") : NULL;
    if (stream == NULL) return -1;
    size_t n = fread(first, 1, sizeof first, stream);
    fclose(stream);
    int64_t version = bal_hub_llama2c_version(first, n);
    if (version != 0) return version;
    return ends_with(path, ".bin") && memcmp(first, "\x89HDF", 4) != 0 ? 0 : -1;
}

bool bal_hub_recognizes(const char *path)
{
    if (!is_dir(path)) return peek_version(path) >= 0;
    if (is_hugging_face(path)) return true;
    struct dirent **items;
    int             n = scandir(path, &items, is_model_bin, NULL);
    for (int i = 0; i < n; ++i) free(items[i]);
    if (n >= 0) free(items);
    return n > 0;
}

const char *bal_hub_kind(const char *path)
{
    place p;
    if (find_place(path, &p) != BAL_OK) return "unknown";
    if (p.hugging_face) return "Hugging Face";
    switch (peek_version(p.weights)) {
        case 0:
            return "llama2.c v0";
        case 1:
            return "llama2.c v1";
        default:
            return "unknown";
    }
}
