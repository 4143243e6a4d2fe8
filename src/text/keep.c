/* keep.c: strings that live as long as their tokenizer, stored in large blocks. */
#include <stdlib.h>
#include <string.h>

#include "text_impl.h"

#define BLOCK_BYTES 65536

struct bal_block {
    struct bal_block *next;
    size_t n, room;
    char bytes[];
};

const char *bal_keep(bal_tokenizer *tokenizer, const char *string, size_t n_bytes)
{
    struct bal_block *block = tokenizer->blocks;
    if (block == NULL || block->room - block->n < n_bytes) {
        size_t room = n_bytes > BLOCK_BYTES ? n_bytes : BLOCK_BYTES;
        block = malloc(sizeof *block + room);
        if (block == NULL) return NULL;
        *block = (struct bal_block){.next = tokenizer->blocks, .room = room};
        tokenizer->blocks = block;
    }
    char *kept = block->bytes + block->n;
    if (n_bytes > 0) memcpy(kept, string, n_bytes);
    block->n += n_bytes;
    return kept;
}

void bal_blocks_free(struct bal_block *block)
{
    while (block != NULL) {
        struct bal_block *next = block->next;
        free(block);
        block = next;
    }
}
