/* load.c: from a path to a model and its tokenizer: finds the files, then reads tensor by
 * tensor. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
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

/* True for a dangling link too: it is named when it is read. */
static bool has(const char *dir, const char *name)
{
    char path[PATH_MAX];
    struct stat info;
    return snprintf(path, sizeof path, "%s/%s", dir, name) < PATH_MAX && lstat(path, &info) == 0;
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

/* The only file of dir that the filter accepts. */
static bal_status find_only(const char *dir, int (*filter)(const struct dirent *), const char *what,
                            char path[PATH_MAX])
{
    struct dirent **items;
    int n = scandir(dir, &items, filter, alphasort);
    if (n < 0) return bal_fail(BAL_ERR_INPUT, "%s: cannot be read: %s", dir, strerror(errno));
    char names[512] = "";
    size_t length = 0;
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

/* Whether the filter accepts any file of dir. */
static bool holds(const char *dir, int (*filter)(const struct dirent *))
{
    struct dirent **items;
    int n = scandir(dir, &items, filter, NULL);
    for (int i = 0; i < n; ++i) free(items[i]);
    if (n >= 0) free(items);
    return n > 0;
}

static bool is_hugging_face(const char *dir)
{
    return has(dir, "config.json") || has(dir, WEIGHTS) || has(dir, WEIGHTS ".index.json") ||
           has(dir, "pytorch_model.bin") || has(dir, "pytorch_model.bin.index.json");
}

#define NO_LLAMA2C INT64_MIN

/* The layout of a llama2.c file; NO_LLAMA2C if it cannot be one. */
static int64_t peek_version(const char *path)
{
    struct stat info;
    uint8_t first[8] = {0};
    FILE *stream = stat(path, &info) == 0 && S_ISREG(info.st_mode) ? fopen(path, "rbe") : NULL;
    if (stream == NULL) return NO_LLAMA2C;
    size_t n = fread(first, 1, sizeof first, stream);
    fclose(stream);
    int64_t version = bal_hub_llama2c_version(first, n);
    if (version != 0) return version;
    return ends_with(path, ".bin") && memcmp(first, "\x89HDF", 4) != 0 ? 0 : NO_LLAMA2C;
}

/* Where the weights of a path are: folder, file and layout. */
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
        if (!is_hugging_face(path) && !holds(path, is_model_bin))
            return bal_fail(
                BAL_ERR_INPUT,
                "%s: no model in this folder; expected config.json and weights (Hugging "
                "Face), a *.bin of llama2.c, or the directory of a run",
                path);
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
        slash[slash == p->dir] = '\0'; /* keep "/" */
    if (ends_with(path, ".safetensors") || ends_with(path, ".json"))
        return bal_fail(BAL_ERR_INPUT, "%s: part of a Hugging Face model; expected its folder, %s",
                        path, p->dir);
    const char *name = slash == NULL ? path : path + (slash - p->dir) + 1;
    if (strncmp(name, "pytorch_model", 13) == 0)
        return bal_fail(BAL_ERR_INPUT, "%s: part of a Hugging Face model; expected its folder, %s",
                        path, p->dir);
    if (access(path, F_OK) == 0 && peek_version(path) == NO_LLAMA2C)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: not a model file; expected a model folder, a llama2.c file (*.bin) or "
                        "a ballot checkpoint",
                        path);
    return BAL_OK;
}

#define SMALL_FILE_MAX 268435456 /* largest file that is held in memory */

static bal_status add_small_file(const char *path, const char *name, bal_files *files)
{
    bal_mapping file;
    BAL_TRY(bal_mapping_open(path, &file));
    bal_status status = file.n_bytes > SMALL_FILE_MAX
                            ? bal_fail(BAL_ERR_INPUT, "%s: %zu bytes; expected at most %d", path,
                                       file.n_bytes, SMALL_FILE_MAX)
                            : bal_files_add(files, name, file.data, file.n_bytes);
    bal_mapping_close(&file);
    return status;
}

/* Not tok512.bin and the like, of which there may be several. */
static int is_tokenizer_file(const struct dirent *item)
{
    return bal_tokenizer_reads(item->d_name) &&
           (!is_tokenizer_bin(item) || strcmp(item->d_name, "tokenizer.bin") == 0);
}
static int is_small_file(const struct dirent *item)
{
    return strcmp(item->d_name, "config.json") == 0 ||
           strcmp(item->d_name, "generation_config.json") == 0 || is_tokenizer_file(item);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* The files beside the weights. If there are several tok*.bin, none is taken. */
static bal_status read_small_files(const place *p, bal_files *files)
{
    struct dirent **items;
    int n = scandir(p->dir, &items, p->hugging_face ? is_small_file : is_tokenizer_file, by_name);
    if (n < 0) return bal_fail(BAL_ERR_INPUT, "%s: cannot be read: %s", p->dir, strerror(errno));
    bal_status status = BAL_OK;
    char path[PATH_MAX];
    for (int i = 0; i < n; ++i) {
        if (status == BAL_OK) status = join(p->dir, items[i]->d_name, path);
        if (status == BAL_OK) status = add_small_file(path, items[i]->d_name, files);
        free(items[i]);
    }
    free(items);
    static const char *const known[] = {"tokenizer.json", "tokenizer.model", "tokenizer.bin",
                                        "vocab.json", "vocab.txt"};
    for (size_t i = 0; i < sizeof known / sizeof *known; ++i)
        if (bal_files_find(files, known[i]) != NULL) return status;
    if (status != BAL_OK || (p->hugging_face && !holds(p->dir, is_tokenizer_bin))) return status;
    BAL_TRY(find_only(p->dir, is_tokenizer_bin, "tokenizer (tokenizer.json or tok*.bin)", path));
    return add_small_file(path, strrchr(path, '/') + 1, files);
}

static bal_status read_config(const char *dir, const bal_files *files, bal_model_config *config,
                              const bal_family **family)
{
    char path[PATH_MAX];
    const bal_named_bytes *file = bal_files_find(files, "config.json");
    BAL_TRY(join(dir, "config.json", path));
    if (file == NULL) return bal_fail(BAL_ERR_INPUT, "%s: is missing", path);
    return bal_hub_config_parse(file->bytes, file->n_bytes, path, config, family);
}

/* Fill the model. The largest tensor is held as floats, twice where it is transposed or cut; no
 * more than that. */
static bal_status read_tensors(const bal_hub_table *table, const bal_family *family,
                               bal_model *model, const bal_fill *fill)
{
    int64_t n_largest = 1, n_whole = 1, n_row = 1;
    for (int i = 0; i < bal_model_tensors(model)->n; ++i) {
        const bal_tensor *tensor = &bal_model_tensors(model)->at[i];
        bal_family_place theirs;
        if (tensor->role == BAL_GAIN) continue;
        bal_family_place_of(family, tensor->name, &theirs);
        int64_t n = bal_tensor_n(tensor), whole = n * theirs.n_parts;
        if (n > n_largest) n_largest = n;
        if (tensor->n_cols > n_row) n_row = tensor->n_cols;
        if ((theirs.transposed || theirs.n_parts > 1) && whole > n_whole) n_whole = whole;
    }
    float *values = bal_alloc((size_t)n_largest, sizeof *values);
    float *whole = bal_alloc((size_t)n_whole, sizeof *whole);
    float *row = bal_alloc((size_t)n_row, sizeof *row);
    bal_status status =
        values != NULL && whole != NULL && row != NULL
            ? BAL_OK
            : bal_fail(BAL_ERR_MEMORY, "%s: no memory for its largest tensor", table->origin);
    for (int i = 0; i < bal_model_tensors(model)->n && status == BAL_OK; ++i) {
        bal_tensor *tensor = &bal_model_tensors(model)->at[i];
        if (tensor->role == BAL_GAIN) continue;
        status = bal_hub_match_read(table, family, model, tensor, values, whole);
        if (status == BAL_OK) status = bal_hub_round(model, i, values, fill->balance, fill->states);
        if (status == BAL_OK && fill->rounding != NULL)
            fill->rounding[i] = bal_rounding_of(tensor, values, row);
    }
    free(values);
    free(whole);
    free(row);
    return status;
}

/* The files of a model, mapped and parsed. */
typedef struct source {
    place place;
    bal_hub_table table;
    bal_files files;
    bal_model_config config;
    const bal_family *family;
} source;

static void close_source(source *s)
{
    bal_hub_table_clear(&s->table);
    bal_files_clear(&s->files);
}

static bal_status open_source(const char *path, source *s)
{
    *s = (source){.family = bal_family_of_type("llama")};
    BAL_TRY(find_place(path, &s->place));
    bool llama2c = !s->place.hugging_face;
    bal_status status =
        llama2c ? bal_hub_llama2c_open(s->place.weights, &s->config, &s->table) : BAL_OK;
    if (status == BAL_OK) status = read_small_files(&s->place, &s->files);
    if (status == BAL_OK && !llama2c)
        status = read_config(s->place.dir, &s->files, &s->config, &s->family);
    if (status == BAL_OK && !llama2c) status = bal_hub_weights_open(s->place.dir, &s->table);
    if (status == BAL_OK) bal_hub_match_unwrap(&s->table, s->family);
    /* before a model is made: its size must come from files, not only from a header */
    if (status == BAL_OK && s->config.n_layers > s->table.n_entries)
        status =
            bal_fail(BAL_ERR_INPUT, "%s: %lld tensors; expected those of %lld layers",
                     s->table.origin, (long long)s->table.n_entries, (long long)s->config.n_layers);
    if (status != BAL_OK) close_source(s);
    return status;
}

void bal_bundle_clear(bal_bundle *bundle)
{
    bal_model_destroy(&bundle->model);
    bal_tokenizer_destroy(&bundle->tokenizer);
    bal_files_clear(&bundle->files);
}

bal_status bal_hub_outline(const char *path, const bal_formats *formats, bal_bundle *bundle)
{
    source s;
    *bundle = (bal_bundle){0};
    BAL_TRY(open_source(path, &s));
    bal_status status = bal_model_outline(&s.config, formats, &bundle->model);
    if (status == BAL_OK) status = bal_hub_match(&s.table, s.family, bundle->model);
    if (status == BAL_OK)
        status = bal_tokenizer_create(&s.files, s.config.n_vocab, s.place.dir, &bundle->tokenizer);
    bundle->files = s.files;
    s.files = (bal_files){0};
    if (status != BAL_OK) bal_bundle_clear(bundle);
    close_source(&s);
    return status;
}

bal_status bal_hub_fill(const char *path, bal_model *model, const bal_fill *fill)
{
    source s;
    BAL_TRY(open_source(path, &s));
    bal_status status = bal_hub_match(&s.table, s.family, model);
    if (status == BAL_OK) bal_tensors_zero(bal_model_tensors(model));
    if (status == BAL_OK && fill->states != NULL)
        bal_states_zero(fill->states, bal_model_tensors(model));
    if (status == BAL_OK) status = read_tensors(&s.table, s.family, model, fill);
    close_source(&s);
    return status;
}

bal_status bal_hub_load(const char *path, const bal_formats *formats, bal_bundle *bundle)
{
    BAL_TRY(bal_hub_outline(path, formats, bundle));
    bal_status status = bal_tensors_allocate(bal_model_tensors(bundle->model));
    if (status == BAL_OK) status = bal_hub_fill(path, bundle->model, &(bal_fill){0});
    if (status != BAL_OK) bal_bundle_clear(bundle);
    return status;
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
