/* tensors.c: the list of a net's tensors. */
#include "ballot/tensors.h"

#include <stdlib.h>
#include <string.h>

#define ROOM_STEP 64 /* the list grows by so many */

bal_status bal_tensors_add(bal_tensors *tensors, const char *name, bal_role role, bal_format format,
                           int64_t n_rows, int64_t n_cols)
{
    if (tensors->n % ROOM_STEP == 0) {
        size_t room = (size_t)tensors->n + ROOM_STEP;
        bal_tensor *at = realloc(tensors->at, room * sizeof *at);
        if (at == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for the model");
        tensors->at = at;
    }
    bal_tensor *tensor = &tensors->at[tensors->n];
    BAL_TRY(bal_tensor_init(tensor, name, role, format, n_rows, n_cols));
    if (tensors->n > 0) tensor->first_block = tensor[-1].first_block + tensor[-1].n_blocks;
    ++tensors->n;
    return BAL_OK;
}

void bal_tensors_clear(bal_tensors *tensors)
{
    free(tensors->owned);
    free(tensors->at);
    *tensors = (bal_tensors){0};
}

size_t bal_tensors_bytes(const bal_tensors *tensors)
{
    size_t n_bytes = 0;
    for (int i = 0; i < tensors->n; ++i) n_bytes += bal_tensor_bytes(&tensors->at[i]);
    return n_bytes;
}

void bal_tensors_attach(bal_tensors *tensors, void *memory)
{
    char *at = memory;
    for (int i = 0; i < tensors->n; ++i) {
        bal_tensor_attach(&tensors->at[i], at);
        at += bal_tensor_bytes(&tensors->at[i]);
    }
}

bal_status bal_tensors_allocate(bal_tensors *tensors)
{
    size_t n_bytes = bal_tensors_bytes(tensors);
    tensors->owned = bal_alloc(n_bytes, 1);
    if (tensors->owned == NULL)
        return bal_fail(BAL_ERR_MEMORY, "no memory for a model of %zu MiB", n_bytes >> 20);
    bal_tensors_attach(tensors, tensors->owned);
    return BAL_OK;
}

void bal_tensors_zero(bal_tensors *tensors)
{
    for (int i = 0; i < tensors->n; ++i) bal_tensor_zero(&tensors->at[i]);
}

int bal_tensors_find(const bal_tensors *tensors, const char *name)
{
    for (int i = 0; i < tensors->n; ++i)
        if (strcmp(tensors->at[i].name, name) == 0) return i;
    return -1;
}

int64_t bal_tensors_n(const bal_tensors *tensors)
{
    int64_t n = 0;
    for (int i = 0; i < tensors->n; ++i) n += bal_tensor_n(&tensors->at[i]);
    return n;
}

bool bal_tensors_match(const bal_tensors *a, const bal_tensors *b)
{
    bool same = a->n == b->n;
    for (int i = 0; same && i < a->n; ++i) {
        const bal_tensor *x = &a->at[i], *y = &b->at[i];
        same = x->format == y->format && x->group == y->group && x->n_rows == y->n_rows &&
               x->n_cols == y->n_cols && strcmp(x->name, y->name) == 0;
    }
    return same;
}

void bal_tensors_dequantize(const bal_tensors *tensors, int index, float *values)
{
    const bal_tensor *tensor = &tensors->at[index];
    bal_tensor_dequantize(tensor, values);
    if (tensor->role != BAL_MATRIX || tensor->format == BAL_F32) return;
    const int16_t *gain = tensors->at[index + 1].codes;
    for (int64_t row = 0; row < tensor->n_rows; ++row)
        for (int64_t col = 0; col < tensor->n_cols; ++col)
            values[row * tensor->n_cols + col] *= bal_gain_factor(gain[row]);
}

uint64_t bal_tensors_fingerprint(const bal_tensors *tensors)
{
    return bal_tensors_fingerprint_part(tensors, 0, 1);
}

uint64_t bal_tensors_fingerprint_part(const bal_tensors *tensors, int part, int n_parts)
{
    uint64_t sum = 0;
    for (int i = 0; i < tensors->n; ++i)
        sum += bal_tensor_fingerprint_part(&tensors->at[i], i, part, n_parts);
    return sum;
}
