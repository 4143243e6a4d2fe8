/* memory.c: bytes and arrays that grow, and pieces that are freed together. */
#include <stdlib.h>
#include <string.h>

#include "task_impl.h"

bal_status bal_task_grow(void *array, int64_t *capacity, int64_t n, size_t element_bytes)
{
    size_t room = (size_t)*capacity;
    if (!bal_grow(array, &room, (size_t)n, element_bytes))
        return bal_fail(BAL_ERR_MEMORY, "no memory for %lld rows", (long long)n);
    *capacity = (int64_t)room;
    return BAL_OK;
}

bal_status bal_buffer_add(bal_buffer *buffer, const void *bytes, size_t n)
{
    /* One byte more, so that an empty text has bytes too. */
    if (!bal_grow(&buffer->bytes, &buffer->capacity, buffer->n + n + 1, 1))
        return bal_fail(BAL_ERR_MEMORY, "no memory for a text of %zu bytes", buffer->n + n);
    if (n > 0) memcpy(buffer->bytes + buffer->n, bytes, n);
    buffer->n += n;
    return BAL_OK;
}

struct bal_arena_piece {
    struct bal_arena_piece *before;
    max_align_t bytes[];
};

void *bal_arena_take(bal_arena *arena, size_t n_bytes)
{
    struct bal_arena_piece *piece = calloc(1, sizeof *piece + n_bytes);
    if (piece == NULL) return NULL;
    piece->before = arena->last;
    arena->last = piece;
    return piece->bytes;
}

void bal_arena_clear(bal_arena *arena)
{
    for (struct bal_arena_piece *piece = arena->last, *before; piece != NULL; piece = before) {
        before = piece->before;
        free(piece);
    }
    arena->last = NULL;
}
