/* bytes.c: growing texts, pieces and lists of ids. */
#include <stdlib.h>
#include <string.h>

#include "text_impl.h"

bal_status bal_bytes_add(bal_bytes *bytes, const void *from, size_t n)
{
    size_t needed;
    if (__builtin_add_overflow(bytes->n, n, &needed) ||
        !bal_grow(&bytes->data, &bytes->room, needed, 1))
        return BAL_ERR_MEMORY;
    if (n > 0) memcpy(bytes->data + bytes->n, from, n);
    bytes->n = needed;
    return BAL_OK;
}

bal_status bal_pieces_end(bal_pieces *pieces)
{
    if (!bal_grow(&pieces->ends, &pieces->room, pieces->n + 1, sizeof *pieces->ends))
        return BAL_ERR_MEMORY;
    pieces->ends[pieces->n++] = pieces->text.n;
    return BAL_OK;
}

bal_status bal_pieces_add(bal_pieces *pieces, const void *from, size_t n)
{
    if (n == 0) return BAL_OK;
    BAL_TRY(bal_bytes_add(&pieces->text, from, n));
    return bal_pieces_end(pieces);
}

const char *bal_pieces_at(const bal_pieces *pieces, size_t index, size_t *n_bytes)
{
    size_t start = index > 0 ? pieces->ends[index - 1] : 0;
    *n_bytes = pieces->ends[index] - start;
    return pieces->text.data != NULL ? pieces->text.data + start : "";
}

void bal_pieces_empty(bal_pieces *pieces) { pieces->n = pieces->text.n = 0; }

void bal_pieces_clear(bal_pieces *pieces)
{
    free(pieces->text.data);
    free(pieces->ends);
    *pieces = (bal_pieces){0};
}

bal_status bal_ids_reserve(bal_ids *ids, int64_t n)
{
    int64_t needed;
    bool good = !__builtin_add_overflow(ids->n, n, &needed) &&
                bal_grow(&ids->data, &ids->room, (size_t)needed, sizeof *ids->data);
    return good ? BAL_OK : BAL_ERR_MEMORY;
}

bal_status bal_ids_add(bal_ids *ids, int32_t id)
{
    BAL_TRY(bal_ids_reserve(ids, 1));
    ids->data[ids->n++] = id;
    return BAL_OK;
}
