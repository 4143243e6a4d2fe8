/* theirs.c: our tensors as the files of a family have them: the reverse of match.c. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "export.h"

/* A config.json that came with the model describes the same tensors. */
static bal_status check_config(const bal_model_config *config, const bal_model *model)
{
    bal_model *other = NULL;
    BAL_TRY(bal_model_outline(config, &(bal_formats){.matrices = BAL_F32}, &other));
    int n = 0, k = 0;
    bal_status status = BAL_OK;
    for (int i = 0; i < bal_model_tensors(model)->n; ++i)
        n += bal_model_tensors(model)->at[i].role != BAL_GAIN;
    if (n != bal_model_tensors(other)->n)
        status = bal_fail(BAL_ERR_INPUT, "config.json: describes %d tensors; the model has %d",
                          bal_model_tensors(other)->n, n);
    for (int i = 0; i < bal_model_tensors(model)->n && status == BAL_OK; ++i) {
        const bal_tensor *ours = &bal_model_tensors(model)->at[i];
        if (ours->role == BAL_GAIN) continue;
        const bal_tensor *said = &bal_model_tensors(other)->at[k++];
        if (strcmp(ours->name, said->name) != 0 || ours->n_rows != said->n_rows ||
            ours->n_cols != said->n_cols)
            status =
                bal_fail(BAL_ERR_INPUT,
                         "config.json: describes %s of %lld x %lld; the model has %s of %lld x "
                         "%lld there",
                         said->name, (long long)said->n_rows, (long long)said->n_cols, ours->name,
                         (long long)ours->n_rows, (long long)ours->n_cols);
    }
    bal_model_destroy(&other);
    if (status == BAL_OK && !bal_model_config_same(config, bal_model_shape(model)))
        status = bal_fail(BAL_ERR_INPUT,
                          "config.json: describes another model of these tensors, "
                          "with other norms, positions or numbers");
    return status;
}

bal_status bal_hub_bundle_family(const bal_bundle *bundle, const bal_family **family)
{
    bal_model_config config;
    const bal_named_bytes *file = bal_files_find(&bundle->files, "config.json");
    *family = bal_family_of_type("llama");
    if (file == NULL) return BAL_OK;
    BAL_TRY(bal_hub_config_parse(file->bytes, file->n_bytes, "config.json", &config, family));
    return check_config(&config, bundle->model);
}

/* Rows and columns of one of our tensors; a vector has a row for each element. */
static int64_t rows_of(const bal_tensor *t)
{
    return t->role == BAL_VECTOR ? t->n_cols : t->n_rows;
}
static int64_t cols_of(const bal_tensor *t) { return t->role == BAL_VECTOR ? 1 : t->n_cols; }

static bal_hub_theirs *find_theirs(bal_hub_theirs_list *list, const char *name)
{
    for (int i = list->n; i-- > 0;) /* the parts of a tensor are close together */
        if (strcmp(list->at[i].name, name) == 0) return &list->at[i];
    return NULL;
}

static void add_tensor(bal_hub_theirs_list *list, const bal_family *family, int index)
{
    const bal_tensor *tensor = &bal_model_tensors(list->model)->at[index];
    bal_family_place place;
    bal_family_place_of(family, tensor->name, &place);
    bal_hub_theirs *theirs = place.n_parts > 1 ? find_theirs(list, place.name) : NULL;
    if (theirs == NULL) {
        int64_t n_rows = rows_of(tensor) * place.n_parts;
        theirs = &list->at[list->n++];
        *theirs = (bal_hub_theirs){.n_dims = tensor->role == BAL_VECTOR ? 1 : 2,
                                   .shape = {n_rows, cols_of(tensor)},
                                   .transposed = place.transposed,
                                   .n_parts = place.n_parts};
        if (place.transposed) theirs->shape[0] = cols_of(tensor), theirs->shape[1] = n_rows;
        strcpy(theirs->name, place.name);
    }
    assert(place.part < BAL_HUB_PARTS_MAX);
    theirs->parts[place.part] = index;
    assert(rows_of(tensor) == rows_of(&bal_model_tensors(list->model)->at[theirs->parts[0]]));
}

bal_status bal_hub_theirs_init(const bal_model *model, const bal_family *family, bal_hub_rows rows,
                               bal_hub_theirs_list *list)
{
    *list = (bal_hub_theirs_list){.model = model, .rows = rows};
    list->at = bal_alloc((size_t)bal_model_tensors(model)->n + 1, sizeof *list->at);
    if (list->at == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for names of tensors");
    for (int i = 0; i < bal_model_tensors(model)->n; ++i)
        if (bal_model_tensors(model)->at[i].role != BAL_GAIN) add_tensor(list, family, i);
    int bias = bal_tensors_find(bal_model_tensors(model), "lm_head.bias");
    if (family->head_bias_twin != NULL && bias >= 0 && !bal_model_shape(model)->tied_head) {
        add_tensor(list, family, bias);
        strcpy(list->at[list->n - 1].name, family->head_bias_twin);
    }
    return BAL_OK;
}

void bal_hub_theirs_clear(bal_hub_theirs_list *list)
{
    free(list->at);
    *list = (bal_hub_theirs_list){0};
}

int64_t bal_hub_theirs_n(const bal_hub_theirs *theirs)
{
    return theirs->shape[0] * theirs->shape[1];
}

bal_status bal_hub_theirs_space(const bal_hub_theirs_list *list, float **whole, float **ours)
{
    int64_t n_whole = 1, n_ours = 1;
    for (int i = 0; i < list->n; ++i) {
        int64_t n = bal_hub_theirs_n(&list->at[i]);
        if (n > n_whole) n_whole = n;
        n /= list->at[i].n_parts;
        if (n > n_ours) n_ours = n;
    }
    *whole = bal_alloc((size_t)n_whole, sizeof **whole);
    *ours = bal_alloc((size_t)n_ours, sizeof **ours);
    if (*whole != NULL && *ours != NULL) return BAL_OK;
    free(*whole);
    free(*ours);
    *whole = *ours = NULL;
    return bal_fail(BAL_ERR_MEMORY, "no memory for the largest tensor");
}

/* Where an element of a part is in theirs. */
static int64_t place_of(const bal_hub_theirs *theirs, int64_t row, int64_t col)
{
    return theirs->transposed ? col * theirs->shape[1] + row : row * theirs->shape[1] + col;
}

void bal_hub_theirs_read(const bal_hub_theirs_list *list, const bal_hub_theirs *theirs,
                         float *whole, float *ours)
{
    int64_t head_dim = bal_model_shape(list->model)->head_dim;
    for (int part = 0; part < theirs->n_parts; ++part) {
        const bal_tensor *tensor = &bal_model_tensors(list->model)->at[theirs->parts[part]];
        int64_t n_rows = rows_of(tensor), n_cols = cols_of(tensor);
        bal_tensors_dequantize(bal_model_tensors(list->model), theirs->parts[part], ours);
        for (int64_t row = 0; row < n_rows; ++row) {
            int64_t source = bal_hub_source_row(list->rows, head_dim, tensor->name, row);
            const float *from = ours + source * n_cols;
            for (int64_t col = 0; col < n_cols; ++col)
                whole[place_of(theirs, part * n_rows + row, col)] = from[col];
        }
    }
}
