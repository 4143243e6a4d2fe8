/* match.c: finding the tensors of a model in the files of its family, where they may have other
 * names, be transposed, or be parts of one tensor, and one tensor may have two names. */
#include <stdlib.h>
#include <string.h>

#include "hub_impl.h"

/* By the family's name for it, with or without the prefix of its base model. */
static bal_hub_entry *find(const bal_hub_table *table, const bal_family *family, const char *name)
{
    bal_hub_entry *entry = bal_hub_table_find(table, name);
    const char *without = bal_family_short_name(family, name);
    if (entry == NULL && without != NULL) entry = bal_hub_table_find(table, without);
    return entry;
}

/* The only entry whose name is a prefix, a dot and this name; NULL: none, or several. */
static bal_hub_entry *find_wrapped(const bal_hub_table *table, const char *name)
{
    bal_hub_entry *found = NULL;
    size_t n = strlen(name);
    for (int64_t i = 0; i < table->n_entries; ++i) {
        bal_hub_entry *entry = &table->entries[i];
        size_t all = strlen(entry->name);
        if (all < n + 2 || entry->name[all - n - 1] != '.') continue;
        if (strcmp(entry->name + all - n, name) != 0) continue;
        if (found != NULL) return NULL;
        found = entry;
    }
    return found;
}

void bal_hub_match_unwrap(bal_hub_table *table, const bal_family *family)
{
    bal_family_place place;
    bal_family_place_of(family, "model.embed_tokens.weight", &place);
    if (find(table, family, place.name) != NULL) return;
    const char *name = place.name, *without = bal_family_short_name(family, name);
    const bal_hub_entry *one = find_wrapped(table, name);
    if (one == NULL && without != NULL) one = find_wrapped(table, name = without);
    if (one == NULL) return;
    char prefix[BAL_NAME_BYTES];
    size_t n = strlen(one->name) - strlen(name);
    snprintf(prefix, sizeof prefix, "%.*s", (int)n, one->name);
    for (int64_t i = 0; i < table->n_entries; ++i)
        if (strncmp(table->entries[i].name, prefix, n) != 0 || table->entries[i].name[n] == 0)
            return; /* not the prefix of all */
    for (int64_t i = 0; i < table->n_entries; ++i) {
        char *at = table->entries[i].name;
        memmove(at, at + n, strlen(at + n) + 1);
    }
}

/* A tied model may store its one matrix under either name. */
static bal_hub_entry *find_head(const bal_hub_table *table, const bal_family *family)
{
    bal_family_place place;
    bal_family_place_of(family, "lm_head.weight", &place);
    return find(table, family, place.name);
}

bal_hub_entry *bal_hub_match_find(const bal_hub_table *table, const bal_family *family,
                                  const bal_model *model, const char *ours)
{
    bal_family_place place;
    bal_family_place_of(family, ours, &place);
    bal_hub_entry *entry = find(table, family, place.name);
    if (entry == NULL && bal_model_shape(model)->tied_head &&
        strcmp(ours, "model.embed_tokens.weight") == 0)
        entry = find_head(table, family);
    return entry;
}

static const char *shape_text(int n_dims, const int64_t *shape, char text[192])
{
    size_t length = (size_t)snprintf(text, 192, "[");
    for (int i = 0; i < n_dims; ++i)
        length += (size_t)snprintf(text + length, 192 - length, "%s%lld", i == 0 ? "" : ", ",
                                   (long long)shape[i]);
    snprintf(text + length, 192 - length, "]");
    return text;
}

/* What else in the files may be meant. */
static bal_status refuse_missing(const bal_hub_table *table, const bal_family *family,
                                 const char *ours, const char *name)
{
    const bal_hub_entry *wrapped = find_wrapped(table, name);
    const char *without = bal_family_short_name(family, name);
    if (wrapped == NULL && without != NULL) wrapped = find_wrapped(table, without);
    if (wrapped != NULL)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: tensor %s is missing, but there is %s; expected all names with one "
                        "prefix, or none",
                        table->origin, name, wrapped->name);
    if (strcmp(ours, "lm_head.weight") == 0)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: tensor %s is missing; if the embedding is the head too, config.json "
                        "must have \"tie_word_embeddings\": true",
                        table->origin, name);
    return bal_fail(BAL_ERR_INPUT, "%s: tensor %s is missing", table->origin, name);
}

/* Check that a tensor has an entry of the right shape. */
static bal_status match_tensor(bal_hub_table *table, const bal_family *family,
                               const bal_model *model, const bal_tensor *tensor)
{
    bal_family_place place;
    bal_family_place_of(family, tensor->name, &place);
    bal_hub_entry *entry = bal_hub_match_find(table, family, model, tensor->name);
    if (entry == NULL) return refuse_missing(table, family, tensor->name, place.name);
    bool vector = tensor->role == BAL_VECTOR;
    int64_t n_rows = (vector ? tensor->n_cols : tensor->n_rows) * place.n_parts;
    int64_t need[2] = {n_rows, tensor->n_cols};
    if (place.transposed) need[0] = tensor->n_cols, need[1] = n_rows;
    int n_dims = vector ? 1 : 2;
    char found[192], expected[192];
    if (entry->n_dims != n_dims || entry->shape[0] != need[0] ||
        (n_dims == 2 && entry->shape[1] != need[1]))
        return bal_fail(BAL_ERR_INPUT, "%s: tensor %s has shape %s; expected %s",
                        bal_hub_entry_origin(table, entry), entry->name,
                        shape_text(entry->n_dims, entry->shape, found),
                        shape_text(n_dims, need, expected));
    entry->wanted = true;
    return BAL_OK;
}

/* If a tied model stores both embedding and head, their bytes must be equal. */
static bal_status match_tied_head(bal_hub_table *table, const bal_family *family,
                                  const bal_model *model)
{
    bal_hub_entry *head = find_head(table, family);
    bal_hub_entry *embedding =
        bal_hub_match_find(table, family, model, "model.embed_tokens.weight");
    if (head == NULL || head == embedding) return BAL_OK;
    if (!bal_hub_table_same(table, head, embedding))
        return bal_fail(BAL_ERR_INPUT,
                        "%s: %s and %s differ; expected one matrix, since config.json has "
                        "tie_word_embeddings true",
                        table->origin, head->name, embedding->name);
    head->wanted = true;
    return BAL_OK;
}

/* Tensors of a pickle may share bytes, so a small file could ask for any amount of memory. */
static bool fits_its_files(const bal_hub_table *table, const bal_hub_entry *twin)
{
    size_t files = 0, tensors = 0;
    for (int i = 0; i < table->n_files; ++i) files += table->files[i].file.n_bytes;
    for (int64_t i = 0; i < table->n_entries; ++i)
        if (table->entries[i].wanted && &table->entries[i] != twin)
            tensors += table->entries[i].n_bytes;
    return table->n_files == 0 || tensors <= files;
}

/* A bias that is stored twice must be the same both times. */
static bal_status match_twin(const bal_hub_table *table, const bal_family *family)
{
    if (family->head_bias_twin == NULL) return BAL_OK;
    const bal_hub_entry *bias = bal_hub_table_find(table, "lm_head.bias");
    const bal_hub_entry *twin = bal_hub_table_find(table, family->head_bias_twin);
    if (bias == NULL || twin == NULL || bal_hub_table_same(table, bias, twin)) return BAL_OK;
    return bal_fail(BAL_ERR_INPUT, "%s: %s and %s differ; expected one bias", table->origin,
                    bias->name, twin->name);
}

bal_status bal_hub_match(bal_hub_table *table, const bal_family *family, const bal_model *model)
{
    for (int i = 0; i < bal_model_tensors(model)->n; ++i) {
        const bal_tensor *tensor = &bal_model_tensors(model)->at[i];
        if (tensor->role != BAL_GAIN) BAL_TRY(match_tensor(table, family, model, tensor));
    }
    BAL_TRY(match_twin(table, family));
    const bal_hub_entry *twin = NULL;
    if (bal_model_shape(model)->tied_head) {
        BAL_TRY(match_tied_head(table, family, model));
        twin = find_head(table, family);
        if (twin == bal_hub_match_find(table, family, model, "model.embed_tokens.weight"))
            twin = NULL;
    }
    if (!fits_its_files(table, twin))
        return bal_fail(BAL_ERR_INPUT,
                        "%s: its tensors share bytes; expected each to have bytes of its own",
                        table->origin);
    for (int64_t i = 0; i < table->n_entries; ++i) {
        const bal_hub_entry *entry = &table->entries[i];
        if (entry->wanted || bal_family_ignores(family, entry->name)) continue;
        const char *origin = bal_hub_entry_origin(table, entry);
        return family->class != NULL
                   ? bal_fail(BAL_ERR_INPUT,
                              "%s: tensor %s does not belong to a %s with this config.json", origin,
                              entry->name, family->class)
                   : bal_fail(BAL_ERR_INPUT,
                              "%s: tensor %s does not belong to a model with these settings",
                              origin, entry->name);
    }
    return BAL_OK;
}

/* Where the elements of one of our tensors lie: rows of theirs, or columns if that is transposed.
 */
typedef struct span {
    const bal_hub_table *table;
    const bal_hub_entry *entry;
    const char *ours;
    int64_t head_dim, first, n_rows, n_cols; /* rows first .. first + n_rows - 1 in the entry */
} span;

static int64_t source_row(const span *s, int64_t row)
{
    return bal_hub_source_row(s->table->rows, s->head_dim, s->ours, s->first + row);
}

static bal_status read_transposed(const span *s, float *values)
{
    float part[BAL_PANEL_ROWS];
    for (int64_t col = 0; col < s->n_cols; ++col)
        for (int64_t row = 0, n; row < s->n_rows; row += n) {
            n = s->n_rows - row < BAL_PANEL_ROWS ? s->n_rows - row : BAL_PANEL_ROWS;
            int64_t at = col * s->entry->shape[1] + s->first + row;
            BAL_TRY(bal_hub_table_read_some(s->table, s->entry, at, n, part));
            for (int64_t i = 0; i < n; ++i) values[(row + i) * s->n_cols + col] = part[i];
        }
    return BAL_OK;
}

static bal_status read_rows(const span *s, float *values)
{
    if (!bal_hub_rows_move(s->table->rows, s->ours))
        return bal_hub_table_read_some(s->table, s->entry, s->first * s->n_cols,
                                       s->n_rows * s->n_cols, values);
    for (int64_t row = 0; row < s->n_rows; ++row)
        BAL_TRY(bal_hub_table_read_some(s->table, s->entry, source_row(s, row) * s->n_cols,
                                        s->n_cols, values + row * s->n_cols));
    return BAL_OK;
}

/* Its parts and heads need not be whole blocks of the entry. */
static bal_status read_vector(const span *s, float *values)
{
    float *all = bal_alloc((size_t)bal_hub_entry_n(s->entry), sizeof *all);
    if (all == NULL) return bal_fail(BAL_ERR_MEMORY, "%s: no memory to read it", s->entry->name);
    bal_status status = bal_hub_table_read(s->table, s->entry, all);
    for (int64_t row = 0; row < s->n_rows && status == BAL_OK; ++row)
        values[row] = all[source_row(s, row)];
    free(all);
    return status;
}

bal_status bal_hub_match_read(const bal_hub_table *table, const bal_family *family,
                              const bal_model *model, const bal_piece *piece, float *values)
{
    const bal_tensor *tensor = &bal_model_tensors(model)->at[piece->index];
    bool vector = tensor->role == BAL_VECTOR; /* of which each element is a row */
    bal_family_place place;
    bal_family_place_of(family, tensor->name, &place);
    span s = {.table = table,
              .entry = bal_hub_match_find(table, family, model, tensor->name),
              .ours = tensor->name,
              .head_dim = bal_model_shape(model)->head_dim,
              .first = place.part * (vector ? tensor->n_cols : tensor->n_rows) + piece->first,
              .n_rows = vector ? tensor->n_cols : piece->n_rows,
              .n_cols = vector ? 1 : tensor->n_cols};
    bal_status status = vector             ? read_vector(&s, values)
                        : place.transposed ? read_transposed(&s, values)
                                           : read_rows(&s, values);
    bal_hub_table_release(table, s.entry);
    return status;
}
