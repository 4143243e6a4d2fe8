/* export.c: a model as a Hugging Face folder. Three files are written under temporary names, and
 * only when all of them are whole are they given their own, which must be free. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hub_impl.h"

/* Row of an adjacent-pair head that is row i of a half-pair head: pair k is rows (2k, 2k + 1) of
 * the one and (k, k + head_dim / 2) of the other, and both turn it by the same angle. */
static int64_t adjacent_row(int64_t i, int64_t head_dim)
{
    return i < head_dim / 2 ? 2 * i : 2 * (i - head_dim / 2) + 1;
}

static bool has_rotary_rows(const bal_model *model, const bal_tensor *tensor)
{
    return bal_model_shape(model)->rope_pairs == BAL_ROPE_ADJACENT &&
           (strstr(tensor->name, ".self_attn.q_proj.") != NULL ||
            strstr(tensor->name, ".self_attn.k_proj.") != NULL);
}

/* Header text with its length in front, padded so that the data starts at a multiple of 8. */
static char *make_header(const bal_model *model, size_t *n_bytes)
{
    json_t *header = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
    int64_t at     = 0;
    for (int i = 0; i < bal_model_n_tensors(model); ++i) {
        const bal_tensor *tensor = bal_model_tensor(model, i);
        if (tensor->role == BAL_GAIN) continue;
        int64_t end   = at + 4 * bal_tensor_n(tensor);
        json_t *shape = tensor->role == BAL_VECTOR ? json_pack("[I]", (json_int_t)tensor->n_cols)
                                                   : json_pack("[II]", (json_int_t)tensor->n_rows,
                                                               (json_int_t)tensor->n_cols);
        json_object_set_new(header, tensor->name,
                            json_pack("{s:s, s:o, s:[II]}", "dtype", "F32", "shape", shape,
                                      "data_offsets", (json_int_t)at, (json_int_t)end));
        at = end;
    }
    char *text = json_dumps(header, JSON_COMPACT), *bytes = NULL;
    json_decref(header);
    if (text != NULL) {
        size_t length = strlen(text), padded = (length + 7) / 8 * 8;
        *n_bytes = 8 + padded;
        bytes    = malloc(*n_bytes);
        if (bytes != NULL) {
            uint64_t stored = htole64(padded);
            memcpy(bytes, &stored, sizeof stored);
            memcpy(bytes + 8, text, length);
            memset(bytes + 8 + length, ' ', padded - length);
        }
    }
    free(text);
    return bytes;
}

static bal_status write_tensors(int fd, const bal_model *model, const char *path)
{
    int64_t n_largest = 0, head_dim = bal_model_shape(model)->head_dim;
    for (int i = 0; i < bal_model_n_tensors(model); ++i) {
        int64_t n = bal_tensor_n(bal_model_tensor(model, i));
        if (n > n_largest) n_largest = n;
    }
    float *values = bal_alloc((size_t)n_largest, sizeof *values);
    if (values == NULL)
        return bal_fail(BAL_ERR_MEMORY, "%s: no memory for the largest tensor", path);
    bal_status status = BAL_OK;
    for (int i = 0; i < bal_model_n_tensors(model) && status == BAL_OK; ++i) {
        const bal_tensor *tensor = bal_model_tensor(model, i);
        if (tensor->role == BAL_GAIN) continue; /* in the weights of its matrix */
        bal_model_dequantize(model, i, values);
        for (int64_t k = 0; k < bal_tensor_n(tensor); ++k) {
            uint32_t bits;
            memcpy(&bits, &values[k], sizeof bits);
            bits = htole32(bits);
            memcpy(&values[k], &bits, sizeof bits);
        }
        size_t n_row_bytes = (size_t)tensor->n_cols * sizeof *values;
        if (!has_rotary_rows(model, tensor))
            status = bal_write_all(fd, values, (size_t)tensor->n_rows * n_row_bytes, path);
        else
            for (int64_t row = 0; row < tensor->n_rows && status == BAL_OK; ++row) {
                int64_t i_head = row % head_dim;
                int64_t from   = row - i_head + adjacent_row(i_head, head_dim);
                status = bal_write_all(fd, values + from * tensor->n_cols, n_row_bytes, path);
            }
    }
    free(values);
    return status;
}

static bal_status write_weights(int fd, const bal_model *model, const char *path)
{
    size_t n_bytes = 0;
    char  *header  = make_header(model, &n_bytes);
    if (header == NULL) return bal_fail(BAL_ERR_MEMORY, "%s: no memory for its header", path);
    bal_status status = bal_write_all(fd, header, n_bytes, path);
    free(header);
    return status == BAL_OK ? write_tensors(fd, model, path) : status;
}

static json_t *token_id(int32_t id) { return id < 0 ? json_null() : json_integer(id); }

/* 15 digits print 1e-05 as a person writes it; 17 are exact for every double. */
static size_t digits_for(double value)
{
    char text[32];
    snprintf(text, sizeof text, "%.15g", value);
    return strtod(text, NULL) == value ? 15 : 17;
}

static bal_status write_config(int fd, const bal_model *model, const bal_tokenizer *tokenizer,
                               const char *path)
{
    const bal_model_config *c = bal_model_shape(model);
    json_t                 *config, *rest;
    config = json_pack(
        "{s:[s], s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "architectures",
        "LlamaForCausalLM", "model_type", "llama", "torch_dtype", "float32", "hidden_act", "silu",
        "hidden_size", (json_int_t)c->dim, "intermediate_size", (json_int_t)c->hidden,
        "num_hidden_layers", (json_int_t)c->n_layers, "num_attention_heads", (json_int_t)c->n_heads,
        "num_key_value_heads", (json_int_t)c->n_kv_heads, "head_dim", (json_int_t)c->head_dim,
        "vocab_size", (json_int_t)c->n_vocab, "max_position_embeddings", (json_int_t)c->max_tokens);
    rest = json_pack("{s:f, s:f, s:n, s:b, s:b, s:b, s:f, s:f, s:i, s:b, s:o, s:o}", "rms_norm_eps",
                     c->norm_eps, "rope_theta", c->rope_base, "rope_scaling", "tie_word_embeddings",
                     (int)c->tied_head, "attention_bias", 0, "mlp_bias", 0, "attention_dropout",
                     0.0, "initializer_range", 0.02, "pretraining_tp", 1, "use_cache", 1,
                     "bos_token_id", token_id(bal_tokenizer_bos(tokenizer)), "eos_token_id",
                     token_id(bal_tokenizer_eos(tokenizer)));
    size_t digits = digits_for(c->norm_eps) > 15 ? 17 : digits_for(c->rope_base);
    char  *text   = NULL;
    if (json_object_update(config, rest) == 0)
        text = json_dumps(config, JSON_INDENT(2) | JSON_REAL_PRECISION(digits));
    json_decref(config);
    json_decref(rest);
    if (text == NULL) return bal_fail(BAL_ERR_MEMORY, "%s: no memory for its text", path);
    bal_status status = bal_write_all(fd, text, strlen(text), path);
    if (status == BAL_OK) status = bal_write_all(fd, "\n", 1, path);
    free(text);
    return status;
}

enum { WEIGHTS, TOKENIZER, CONFIG, N_FILES };

typedef struct export_file {
    char path[PATH_MAX], temporary[PATH_MAX];
    bool published;
} export_file;

static bal_status write_temporary(int kind, const bal_model *model, const bal_tokenizer *tokenizer,
                                  const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return bal_fail(BAL_ERR_IO, "%s: cannot be created: %s", path, strerror(errno));
    bal_status  status;
    const void *bytes   = NULL;
    size_t      n_bytes = 0;
    switch (kind) {
        case WEIGHTS:
            status = write_weights(fd, model, path);
            break;
        case CONFIG:
            status = write_config(fd, model, tokenizer, path);
            break;
        default:
            bal_tokenizer_source(tokenizer, &bytes, &n_bytes);
            status = bal_write_all(fd, bytes, n_bytes, path);
    }
    if (status == BAL_OK && fsync(fd) != 0)
        status = bal_fail(BAL_ERR_IO, "%s: fsync failed: %s", path, strerror(errno));
    if (close(fd) != 0 && status == BAL_OK)
        status = bal_fail(BAL_ERR_IO, "%s: closing failed: %s", path, strerror(errno));
    return status;
}

static bal_status publish(export_file *file)
{
    int failed = renameat2(AT_FDCWD, file->temporary, AT_FDCWD, file->path, RENAME_NOREPLACE);
    if (failed && (errno == EINVAL || errno == ENOSYS)) /* a file system without the flag */
        failed = access(file->path, F_OK) == 0 ? (errno = EEXIST, -1)
                                               : rename(file->temporary, file->path);
    if (failed && errno == EEXIST)
        return bal_fail(BAL_ERR_STATE, "%s: is there already; expected a free name", file->path);
    if (failed) return bal_fail(BAL_ERR_IO, "%s: renaming failed: %s", file->path, strerror(errno));
    file->published = true;
    return BAL_OK;
}

bal_status bal_hub_export(const bal_model *model, const bal_tokenizer *tokenizer, const char *dir)
{
    /* all four: a tokenizer of the other kind would be read instead of ours */
    static const char *const taken[]        = {"model.safetensors", "tokenizer.json", "config.json",
                                               "tokenizer.bin"};
    const char              *names[N_FILES] = {taken[0], taken[1], taken[2]};
    const void              *bytes;
    size_t                   n_bytes;
    if (bal_tokenizer_source(tokenizer, &bytes, &n_bytes) == BAL_TOKENIZER_LLAMA2C)
        names[TOKENIZER] = taken[3];
    for (int i = 0; i < 4; ++i) {
        char path[PATH_MAX];
        if (snprintf(path, sizeof path, "%s/.%s.new", dir, taken[i]) >= PATH_MAX)
            return bal_fail(BAL_ERR_IO, "%s: the path is too long", dir);
        snprintf(path, sizeof path, "%s/%s", dir, taken[i]);
        if (access(path, F_OK) == 0)
            return bal_fail(BAL_ERR_STATE, "%s: is there already; expected a free name", path);
    }
    bool made = mkdir(dir, 0777) == 0;
    if (!made && errno != EEXIST)
        return bal_fail(BAL_ERR_IO, "%s: cannot be created: %s", dir, strerror(errno));

    export_file files[N_FILES];
    bal_status  status = BAL_OK;
    for (int i = 0; i < N_FILES; ++i) {
        files[i].published = false;
        snprintf(files[i].path, PATH_MAX, "%s/%s", dir, names[i]);
        snprintf(files[i].temporary, PATH_MAX, "%s/.%s.new", dir, names[i]);
    }
    for (int i = 0; i < N_FILES && status == BAL_OK; ++i)
        status = write_temporary(i, model, tokenizer, files[i].temporary);
    for (int i = 0; i < N_FILES && status == BAL_OK; ++i) status = publish(&files[i]);
    if (status == BAL_OK) return bal_sync_dir(dir);
    for (int i = 0; i < N_FILES; ++i)
        unlink(files[i].published ? files[i].path : files[i].temporary);
    if (made) rmdir(dir);
    return status;
}
