/* export_safetensors.c: a model as one model.safetensors, made anew or from the file that it was
 * quantized from. Tensors that have not changed since are copied from there. */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "export.h"

static const struct {
    const char *name, *config_name;
} dtypes[] = {[BAL_HUB_F32] = {"F32", "float32"},
              [BAL_HUB_F16] = {"F16", "float16"},
              [BAL_HUB_BF16] = {"BF16", "bfloat16"}};

/* A dtype that is not one of our floats, as safetensors calls it. */
static const char *other_name(const char *name)
{
    static const char *const names[][2] = {{"torch.float64", "F64"}, {"torch.int64", "I64"},
                                           {"torch.int32", "I32"},   {"torch.int16", "I16"},
                                           {"torch.int8", "I8"},     {"torch.uint8", "U8"},
                                           {"torch.bool", "BOOL"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i)
        if (strcmp(name, names[i][0]) == 0) return names[i][1];
    return name;
}

static bal_hub_dtype dtype_of(const bal_hub_weights *w, const bal_hub_item *item)
{
    return item->copied ? item->entry->dtype : w->dtype;
}

static size_t bytes_of(const bal_hub_weights *w, const bal_hub_item *item)
{
    if (item->copied) return item->entry->n_bytes;
    return (size_t)bal_hub_theirs_n(item->theirs) * (w->dtype == BAL_HUB_F32 ? 4 : 2);
}

/* Two of our tensors are equal if codes, scales and factors are; the padding after the last code is
 * the same in both. */
static bool is_same(const bal_tensor *a, const bal_tensor *b)
{
    if (a->format == BAL_F32)
        return memcmp(a->codes, b->codes, (size_t)bal_tensor_n(a) * sizeof(float)) == 0;
    size_t n_panels = (size_t)(a->n_rows + BAL_PANEL_ROWS - 1) / BAL_PANEL_ROWS;
    size_t n_bytes = (size_t)a->n_blocks * BAL_BLOCK_CODES;
    if (a->format == BAL_I16) n_bytes *= sizeof(int16_t);
    if (bal_format_is_nibbles(a->format)) n_bytes /= 2;
    return memcmp(a->codes, b->codes, n_bytes) == 0 &&
           memcmp(a->scale, b->scale, (size_t)a->n_rows * sizeof *a->scale) == 0 &&
           (a->factors == NULL ||
            memcmp(a->factors, b->factors,
                   n_panels * BAL_PANEL_ROWS * (size_t)bal_tensor_n_groups(a)) == 0);
}

static bool has_gain(const bal_model *model, int index)
{
    const bal_tensor *tensor = &bal_model_tensors(model)->at[index];
    if (tensor->role != BAL_MATRIX || tensor->format == BAL_F32) return false;
    const bal_tensor *gain = &bal_model_tensors(model)->at[index + 1];
    for (int64_t i = 0; i < gain->n_cols; ++i)
        if (bal_tensor_code(gain, i) != 0) return true;
    return false;
}

/* Does quantizing the base give this tensor of ours? */
static bal_status compare(const bal_hub_weights *w, int index, bool *same)
{
    const bal_tensors *tensors = bal_model_tensors(w->theirs.model);
    bool least_squares = bal_model_formats(w->theirs.model)->rounding == BAL_ROUND_LEAST_SQUARES;
    bal_tensor again = tensors->at[index];
    void *memory = bal_alloc(bal_tensor_bytes(&again), 1);
    if (memory == NULL)
        return bal_fail(BAL_ERR_MEMORY, "%s: no memory to quantize it again", again.name);
    bal_tensor_attach(&again, memory);
    bal_tensor_zero(&again);
    bal_status status = BAL_OK;
    bal_piece piece = {.index = index};
    while (status == BAL_OK && bal_tensors_next(tensors, &piece) && piece.index == index) {
        bal_tensor rows = bal_tensor_rows(&again, piece.first, piece.n_rows);
        status = bal_hub_match_read(&w->base, w->family, w->theirs.model, &piece, w->ours);
        if (status == BAL_OK)
            status = least_squares ? bal_tensor_fit(&rows, w->ours, NULL, NULL)
                                   : bal_tensor_quantize(&rows, w->ours, NULL);
    }
    bal_tensor_level(&again);
    *same = status == BAL_OK && is_same(&tensors->at[index], &again);
    free(memory);
    return status;
}

/* Copy the entry of the base unless one of its parts has changed. */
static bal_status decide(const bal_hub_weights *w, bal_hub_item *item)
{
    item->copied = true;
    if (item->theirs == NULL) return BAL_OK;
    for (int part = 0; part < item->theirs->n_parts && item->copied; ++part) {
        int index = item->theirs->parts[part];
        BAL_TRY(compare(w, index, &item->copied));
        if (has_gain(w->theirs.model, index)) item->copied = false;
    }
    return BAL_OK;
}

/* The base's entries that have the tensor of this name. */
static void claim(const bal_hub_weights *w, const char *name, const bal_hub_theirs *theirs)
{
    const char *names[2] = {name, bal_family_short_name(w->family, name)};
    for (int i = 0; i < 2 && names[i] != NULL; ++i) {
        const bal_hub_entry *entry = bal_hub_table_find(&w->base, names[i]);
        if (entry != NULL && entry->dtype != BAL_HUB_OTHER && entry->n_dims == theirs->n_dims &&
            memcmp(entry->shape, theirs->shape, sizeof theirs->shape) == 0)
            w->items[entry - w->base.entries].theirs = theirs;
    }
}

static void claim_all(const bal_hub_weights *w)
{
    for (int i = 0; i < w->theirs.n; ++i) {
        const bal_hub_theirs *theirs = &w->theirs.at[i];
        const char *ours = bal_model_tensors(w->theirs.model)->at[theirs->parts[0]].name;
        bal_family_place head;
        claim(w, theirs->name, theirs);
        if (strcmp(ours, "lm_head.bias") == 0 && w->family->head_bias_twin != NULL)
            claim(w, w->family->head_bias_twin, theirs);
        if (strcmp(ours, "model.embed_tokens.weight") != 0 ||
            !bal_model_shape(w->theirs.model)->tied_head)
            continue;
        bal_family_place_of(w->family, "lm_head.weight", &head);
        claim(w, head.name, theirs);
    }
}

/* Larger elements first, so that each is aligned; then by name. */
static int compare_items(const void *a, const void *b)
{
    const bal_hub_entry *x = ((const bal_hub_item *)a)->entry,
                        *y = ((const bal_hub_item *)b)->entry;
    int64_t n_x = bal_hub_entry_n(x), n_y = bal_hub_entry_n(y);
    size_t x_bytes = n_x > 0 ? x->n_bytes / (size_t)n_x : 0;
    size_t y_bytes = n_y > 0 ? y->n_bytes / (size_t)n_y : 0;
    if (x_bytes != y_bytes) return x_bytes > y_bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

static bal_status plan_from_base(const bal_bundle *bundle, const char *base, bal_hub_weights *w)
{
    if (bal_files_find(&bundle->files, "config.json") == NULL)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: cannot be the base of a llama2.c model, whose rows are reordered; "
                        "leave out --base",
                        base);
    if (bal_model_formats(bundle->model)->rounding == BAL_ROUND_FOR_TEXT)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: cannot be the base of a model that was rounded for a text, which "
                        "scales columns: none of its tensors is the base's; leave out --base",
                        base);
    BAL_TRY(bal_hub_weights_open(base, &w->base));
    bal_hub_match_unwrap(&w->base, w->family);
    BAL_TRY(bal_hub_match(&w->base, w->family, bundle->model));
    w->items = bal_alloc((size_t)w->base.n_entries + 1, sizeof *w->items);
    if (w->items == NULL) return bal_fail(BAL_ERR_MEMORY, "%s: no memory for names", base);
    w->n_items = w->base.n_entries;
    claim_all(w);
    for (int64_t i = 0; i < w->n_items; ++i) {
        w->items[i].entry = &w->base.entries[i];
        w->items[i].name = w->items[i].entry->name;
        BAL_TRY(decide(w, &w->items[i]));
    }
    qsort(w->items, (size_t)w->n_items, sizeof *w->items, compare_items);
    return BAL_OK;
}

static bal_status plan_anew(bal_hub_weights *w)
{
    w->items = bal_alloc((size_t)w->theirs.n + 1, sizeof *w->items);
    if (w->items == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for names of tensors");
    for (int i = 0; i < w->theirs.n; ++i)
        w->items[w->n_items++] =
            (bal_hub_item){.name = w->theirs.at[i].name, .theirs = &w->theirs.at[i]};
    return BAL_OK;
}

bal_status bal_hub_weights_init(const bal_bundle *bundle, const bal_export_options *options,
                                bal_hub_weights *w)
{
    static const bal_hub_dtype kinds[] = {[BAL_EXPORT_F32] = BAL_HUB_F32,
                                          [BAL_EXPORT_BF16] = BAL_HUB_BF16,
                                          [BAL_EXPORT_F16] = BAL_HUB_F16};
    *w = (bal_hub_weights){.dtype = kinds[options->dtype]};
    bool adjacent = bal_model_shape(bundle->model)->rope.pairs == BAL_ROPE_ADJACENT;
    BAL_TRY(bal_hub_bundle_family(bundle, &w->family));
    BAL_TRY(bal_hub_theirs_init(bundle->model, w->family,
                                adjacent ? BAL_HUB_ROWS_HALVES : BAL_HUB_ROWS_KEPT, &w->theirs));
    BAL_TRY(bal_hub_theirs_space(&w->theirs, &w->whole, &w->ours));
    return options->base == NULL ? plan_anew(w) : plan_from_base(bundle, options->base, w);
}

void bal_hub_weights_clear(bal_hub_weights *w)
{
    bal_hub_theirs_clear(&w->theirs);
    bal_hub_table_clear(&w->base);
    free(w->items);
    free(w->whole);
    free(w->ours);
    *w = (bal_hub_weights){0};
}

const char *bal_hub_weights_dtype(const bal_hub_weights *w)
{
    bool written = false, first = true, mixed = false;
    bal_hub_dtype dtype = w->dtype;
    for (int64_t i = 0; i < w->n_items; ++i) {
        if (w->items[i].theirs == NULL) continue;
        mixed = mixed || (!first && dtype_of(w, &w->items[i]) != dtype);
        dtype = dtype_of(w, &w->items[i]);
        first = false;
        written = written || !w->items[i].copied;
    }
    return !written ? NULL : dtypes[mixed ? BAL_HUB_F32 : dtype].config_name;
}

/* The header: its length, then its text, padded so that the data starts at a multiple of 8. */
static char *make_header(const bal_hub_weights *w, size_t *n_bytes)
{
    json_t *header = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
    size_t at = 0;
    for (int64_t i = 0; i < w->n_items; ++i) {
        const bal_hub_item *item = &w->items[i];
        size_t end = at + bytes_of(w, item);
        bool other = dtype_of(w, item) == BAL_HUB_OTHER;
        int n_dims = item->copied ? item->entry->n_dims : item->theirs->n_dims;
        const int64_t *sizes = item->copied ? item->entry->shape : item->theirs->shape;
        json_t *shape = json_array();
        for (int k = 0; k < n_dims; ++k) json_array_append_new(shape, json_integer(sizes[k]));
        json_object_set_new(
            header, item->name,
            json_pack("{s:s, s:o, s:[II]}", "dtype",
                      other ? other_name(item->entry->dtype_name) : dtypes[dtype_of(w, item)].name,
                      "shape", shape, "data_offsets", (json_int_t)at, (json_int_t)end));
        at = end;
    }
    char *text = bal_json_dump(header, JSON_COMPACT), *bytes = NULL;
    json_decref(header);
    if (text != NULL) {
        size_t length = strlen(text), padded = (length + 7) / 8 * 8;
        *n_bytes = 8 + padded;
        bytes = malloc(*n_bytes);
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

static bal_status write_item(const bal_hub_weights *w, const bal_hub_item *item, int fd,
                             const char *path)
{
    if (item->copied) return bal_hub_table_copy(&w->base, item->entry, fd, path);
    bal_hub_theirs_read(&w->theirs, item->theirs, w->whole, w->ours);
    return bal_hub_write_floats(w->dtype, w->whole, bal_hub_theirs_n(item->theirs), item->name, fd,
                                path);
}

bal_status bal_hub_weights_write(const void *what, int fd, const char *path)
{
    const bal_hub_weights *w = what;
    size_t n_bytes = 0;
    char *header = make_header(w, &n_bytes);
    if (header == NULL) return bal_fail(BAL_ERR_MEMORY, "%s: no memory for its header", path);
    bal_status status = bal_write_all(fd, header, n_bytes, path);
    free(header);
    for (int64_t i = 0; i < w->n_items && status == BAL_OK; ++i)
        status = write_item(w, &w->items[i], fd, path);
    return status;
}
