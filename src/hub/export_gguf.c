/* export_gguf.c: a model as a GGUF file: its architecture in llama.cpp, the names of its tensors
 * there, and its settings. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "gguf.h"

static bal_status refuse(const bal_gguf_arch *a, const char *what)
{
    return bal_fail(BAL_ERR_CONFIG, "the model has %s, which a GGUF file of %s cannot express",
                    what, a->name);
}

static bal_status find_arch(const bal_bundle *bundle, const bal_gguf_arch **found)
{
    const bal_model_config *c = bal_model_shape(bundle->model);
    const bal_family *family;
    BAL_TRY(bal_hub_bundle_family(bundle, &family));
    *found = bal_gguf_arch_of_family(family->type);
    const bal_gguf_arch *a = *found;
    if (a == NULL)
        return bal_fail(BAL_ERR_CONFIG,
                        "the model is of family %s; a GGUF file can hold one of llama (with "
                        "Vicuna), mistral, qwen2, qwen3 or gpt2",
                        family->type);
    unsigned more = c->features & ~(a->features | a->may_have), less = a->features & ~c->features;
    char text[192];
    if (more != 0 || less != 0) {
        size_t n = (size_t)snprintf(text, sizeof text, "%s", more != 0 ? "" : "no ");
        bal_features_print(more != 0 ? more : less, text + n, sizeof text - n);
        return refuse(a, text);
    }
    if (c->rope.kind == BAL_ROPE_LLAMA3 && !a->llama3) return refuse(a, "rotary scaling of llama3");
    if ((c->features & BAL_NO_GATE) != 0 && c->activation != BAL_ACT_GELU_TANH)
        return refuse(a, "another activation than gelu_new");
    return BAL_OK;
}

static void put_settings(bal_gguf_head *head, const bal_model_config *c)
{
    for (int i = 0; i < BAL_GGUF_N_SETTINGS; ++i) {
        const bal_gguf_setting *setting = &bal_gguf_settings[i];
        const void *member = (const char *)c + setting->offset;
        if (!bal_gguf_has(setting, c)) continue;
        if (setting->type == BAL_GGUF_STRING)
            bal_gguf_put_text(head, setting->key, setting->word, strlen(setting->word));
        else if (setting->type == BAL_GGUF_FLOAT32)
            bal_gguf_put_f32(head, setting->key, *(const double *)member);
        else
            bal_gguf_put_u32(
                head, setting->key,
                setting->real ? (int64_t) * (const double *)member : *(const int64_t *)member);
    }
}

/* The file to be written. */
typedef struct file {
    bal_ggml_type type;
    bal_gguf_head head;
    bal_hub_theirs_list theirs;
    float *rope_factors; /* NULL: none; owned */
    float *whole, *ours; /* owned */
} file;

/* Vectors and positions stay floats; rows that are not whole blocks become halves. */
static bal_ggml_type type_of(const file *f, const bal_hub_theirs *theirs)
{
    if (theirs->n_dims == 1 || strcmp(theirs->name, "position_embd.weight") == 0)
        return BAL_GGML_F32;
    return f->type == BAL_GGML_F16 || theirs->shape[1] % 32 == 0 ? f->type : BAL_GGML_F16;
}

static bal_status write_file(const void *what, int fd, const char *path)
{
    const file *f = what;
    BAL_TRY(bal_gguf_head_write(&f->head, fd, path));
    if (f->rope_factors != NULL)
        BAL_TRY(bal_gguf_data_write(BAL_GGML_F32, f->rope_factors,
                                    bal_model_shape(f->theirs.model)->head_dim / 2,
                                    BAL_GGUF_ROPE_FACTORS, fd, path));
    for (int i = 0; i < f->theirs.n; ++i) {
        const bal_hub_theirs *theirs = &f->theirs.at[i];
        bal_hub_theirs_read(&f->theirs, theirs, f->whole, f->ours);
        BAL_TRY(bal_gguf_data_write(type_of(f, theirs), f->whole, bal_hub_theirs_n(theirs),
                                    theirs->name, fd, path));
    }
    return BAL_OK;
}

static bal_status describe(const bal_bundle *bundle, const bal_gguf_arch *a, const char *name,
                           file *f)
{
    static const struct {
        bal_ggml_type type;
        int number; /* of such a file */
    } kinds[] = {{BAL_GGML_F16, 1}, {BAL_GGML_Q4_0, 2}, {BAL_GGML_Q8_0, 7}};
    const bal_model_config *c = bal_model_shape(bundle->model);
    bal_gguf_head *h = &f->head;
    int64_t half[2] = {c->head_dim / 2, 1};
    h->arch = a->name;
    bal_gguf_put_text(h, "general.architecture", a->name, strlen(a->name));
    bal_gguf_put_text(h, "general.type", "model", 5);
    bal_gguf_put_text(h, "general.name", name, strlen(name));
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; ++i)
        if (kinds[i].type == f->type) bal_gguf_put_u32(h, "general.file_type", kinds[i].number);
    if (f->type != BAL_GGML_F16) bal_gguf_put_u32(h, "general.quantization_version", 2);
    put_settings(h, c);
    BAL_TRY(bal_gguf_put_tokenizer(h, bundle));
    if (c->rope.kind == BAL_ROPE_LLAMA3) {
        f->rope_factors = bal_alloc((size_t)half[0], sizeof *f->rope_factors);
        if (f->rope_factors == NULL)
            return bal_fail(BAL_ERR_MEMORY, "no memory for %s", BAL_GGUF_ROPE_FACTORS);
        bal_gguf_rope_factors(c, f->rope_factors);
        bal_gguf_put_tensor(h, BAL_GGUF_ROPE_FACTORS, 1, half, BAL_GGML_F32);
    }
    for (int i = 0; i < f->theirs.n; ++i) {
        const bal_hub_theirs *theirs = &f->theirs.at[i];
        bal_gguf_put_tensor(h, theirs->name, theirs->n_dims, theirs->shape, type_of(f, theirs));
    }
    return BAL_OK;
}

static bal_status export_as(const bal_bundle *bundle, const bal_gguf_arch *a, const char *dir,
                            const char *name, file *f)
{
    char stem[NAME_MAX + 1];
    bool halves = bal_model_shape(bundle->model)->rope.pairs == BAL_ROPE_HALVES;
    bal_hub_rows rows = a->adjacent && halves ? BAL_HUB_ROWS_ADJACENT : BAL_HUB_ROWS_KEPT;
    snprintf(stem, sizeof stem, "%s", name);
    if (strrchr(stem, '.') != NULL) *strrchr(stem, '.') = '\0';
    BAL_TRY(bal_hub_theirs_init(bundle->model, &a->names, rows, &f->theirs));
    BAL_TRY(bal_hub_theirs_space(&f->theirs, &f->whole, &f->ours));
    BAL_TRY(describe(bundle, a, stem, f));
    return bal_hub_publish(dir, false, &(bal_hub_output){name, write_file, f}, 1);
}

bal_status bal_hub_export_gguf(const bal_bundle *bundle, bal_export_gguf kind, const char *path)
{
    static const bal_ggml_type types[] = {[BAL_EXPORT_GGUF_F16] = BAL_GGML_F16,
                                          [BAL_EXPORT_GGUF_Q8_0] = BAL_GGML_Q8_0,
                                          [BAL_EXPORT_GGUF_Q4_0] = BAL_GGML_Q4_0};
    const bal_gguf_arch *a;
    file f = {.type = types[kind]};
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    char dir[PATH_MAX];
    int n_dir = slash == NULL || slash == path ? 1 : (int)(slash - path);
    if (snprintf(dir, sizeof dir, "%.*s", n_dir, slash != NULL ? path : ".") >= (int)sizeof dir ||
        strlen(name) > NAME_MAX)
        return bal_fail(BAL_ERR_IO, "%s: the path is too long", path);
    BAL_TRY(find_arch(bundle, &a));
    bal_status status = export_as(bundle, a, dir, name, &f);
    bal_gguf_head_clear(&f.head);
    bal_hub_theirs_clear(&f.theirs);
    free(f.rope_factors);
    free(f.whole);
    free(f.ours);
    return status;
}
