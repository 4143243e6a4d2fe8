/* place.c: what a path is: the folder, the file and the layout of a model's weights, and the small
 * files beside them. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "place.h"

#define WEIGHTS "model.safetensors"

static bool ends_with(const char *text, const char *tail)
{
    size_t length = strlen(text), n = strlen(tail);
    return length >= n && strcmp(text + length - n, tail) == 0;
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
        status = bal_path_in(dir, items[0]->d_name, path);
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

static int is_gguf(const struct dirent *item)
{
    return item->d_name[0] != '.' && ends_with(item->d_name, ".gguf");
}

/* Of a Hugging Face folder. */
static bool has_weights(const char *dir)
{
    return bal_has_file(dir, WEIGHTS) || bal_has_file(dir, WEIGHTS ".index.json") ||
           bal_has_file(dir, "pytorch_model.bin") ||
           bal_has_file(dir, "pytorch_model.bin.index.json");
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

/* A folder of weights in several layouts is what its first is. */
static bal_status find_in_folder(const char *path, bal_hub_place *p)
{
    bool weights = has_weights(path);
    if (!weights && holds(path, is_gguf)) {
        p->layout = BAL_HUB_GGUF;
        return find_only(path, is_gguf, "GGUF model (*.gguf)", p->weights);
    }
    if (weights || bal_has_file(path, "config.json")) {
        p->layout = BAL_HUB_HUGGING_FACE;
        return BAL_OK;
    }
    if (!holds(path, is_model_bin))
        return bal_fail(BAL_ERR_INPUT,
                        "%s: no model in this folder; expected config.json and weights (Hugging "
                        "Face), a *.gguf, a *.bin of llama2.c, or the directory of a run",
                        path);
    return find_only(path, is_model_bin, "llama2.c model (*.bin)", p->weights);
}

bal_status bal_hub_place_find(const char *path, bal_hub_place *p)
{
    p->layout = BAL_HUB_LLAMA2C;
    if (strlen(path) >= PATH_MAX) return bal_fail(BAL_ERR_INPUT, "%s: the path is too long", path);
    strcpy(p->dir, path);
    if (bal_is_dir(path)) return find_in_folder(path, p);
    strcpy(p->weights, path);
    char *slash = strrchr(p->dir, '/');
    if (slash == NULL)
        strcpy(p->dir, ".");
    else
        slash[slash == p->dir] = '\0'; /* keep "/" */
    if (bal_hub_gguf_recognizes(path)) p->layout = BAL_HUB_GGUF;
    if (p->layout == BAL_HUB_GGUF) return BAL_OK;
    const char *name = slash == NULL ? path : path + (slash - p->dir) + 1;
    if (ends_with(path, ".safetensors") || ends_with(path, ".json") ||
        strncmp(name, "pytorch_model", 13) == 0)
        return bal_fail(BAL_ERR_INPUT, "%s: part of a Hugging Face model; expected its folder, %s",
                        path, p->dir);
    if (access(path, F_OK) == 0 && peek_version(path) == NO_LLAMA2C)
        return bal_fail(
            BAL_ERR_INPUT,
            "%s: not a model file; expected a model folder, a GGUF file, a llama2.c file "
            "(*.bin) or a ballot checkpoint",
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
bal_status bal_hub_place_files(const bal_hub_place *p, bal_files *files)
{
    bool hugging_face = p->layout == BAL_HUB_HUGGING_FACE;
    struct dirent **items;
    int n = scandir(p->dir, &items, hugging_face ? is_small_file : is_tokenizer_file, by_name);
    if (n < 0) return bal_fail(BAL_ERR_INPUT, "%s: cannot be read: %s", p->dir, strerror(errno));
    bal_status status = BAL_OK;
    char path[PATH_MAX];
    for (int i = 0; i < n; ++i) {
        if (status == BAL_OK) status = bal_path_in(p->dir, items[i]->d_name, path);
        if (status == BAL_OK) status = add_small_file(path, items[i]->d_name, files);
        free(items[i]);
    }
    free(items);
    static const char *const known[] = {"tokenizer.json", "tokenizer.model", "tokenizer.bin",
                                        "vocab.json", "vocab.txt"};
    for (size_t i = 0; i < sizeof known / sizeof *known; ++i)
        if (bal_files_find(files, known[i]) != NULL) return status;
    if (status != BAL_OK || (hugging_face && !holds(p->dir, is_tokenizer_bin))) return status;
    BAL_TRY(find_only(p->dir, is_tokenizer_bin, "tokenizer (tokenizer.json or tok*.bin)", path));
    return add_small_file(path, strrchr(path, '/') + 1, files);
}

const char *bal_hub_kind(const char *path)
{
    bal_hub_place p;
    if (bal_hub_place_find(path, &p) != BAL_OK) return "unknown";
    if (p.layout == BAL_HUB_GGUF) return "GGUF";
    if (p.layout == BAL_HUB_HUGGING_FACE) return "Hugging Face";
    switch (peek_version(p.weights)) {
        case 0:
            return "llama2.c v0";
        case 1:
            return "llama2.c v1";
        default:
            return "unknown";
    }
}
