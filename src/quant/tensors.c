/* tensors.c: the list of a net's tensors. */
#include "ballot/tensors.h"

#include <stdlib.h>
#include <string.h>

#define ROOM_STEP 64 /* the list grows by so many */
#define PIECE 262144 /* elements: 1 MiB of floats */

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

/* As many panels as PIECE elements have, and at least one. */
static int64_t rows_at_a_time(const bal_tensor *tensor)
{
    int64_t n_panels = PIECE / (BAL_PANEL_ROWS * tensor->n_cols);
    return BAL_PANEL_ROWS * (n_panels > 0 ? n_panels : 1);
}

bool bal_tensors_next(const bal_tensors *tensors, bal_piece *piece)
{
    piece->first += piece->n_rows;
    for (; piece->index < tensors->n; ++piece->index, piece->first = 0) {
        const bal_tensor *tensor = &tensors->at[piece->index];
        int64_t left = tensor->n_rows - piece->first, most = rows_at_a_time(tensor);
        if (tensor->role == BAL_GAIN || left == 0) continue;
        piece->n_rows = left < most ? left : most;
        return true;
    }
    return false;
}

int64_t bal_tensors_piece_n(const bal_tensors *tensors)
{
    int64_t largest = 1;
    for (bal_piece piece = {0}; bal_tensors_next(tensors, &piece);) {
        int64_t n = piece.n_rows * tensors->at[piece.index].n_cols;
        if (n > largest) largest = n;
    }
    return largest;
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
    bal_piece all = {.index = index, .n_rows = tensors->at[index].n_rows};
    bal_tensors_dequantize_piece(tensors, &all, values);
}

void bal_tensors_dequantize_piece(const bal_tensors *tensors, const bal_piece *piece, float *values)
{
    const bal_tensor *tensor = &tensors->at[piece->index];
    bal_tensor rows = bal_tensor_rows(tensor, piece->first, piece->n_rows);
    bal_tensor_dequantize(&rows, values);
    if (tensor->role != BAL_MATRIX || tensor->format == BAL_F32) return;
    const int16_t *gain = (const int16_t *)tensor[1].codes + piece->first;
    for (int64_t row = 0; row < rows.n_rows; ++row)
        for (int64_t col = 0; col < rows.n_cols; ++col)
            values[row * rows.n_cols + col] *= bal_gain_factor(gain[row]);
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
