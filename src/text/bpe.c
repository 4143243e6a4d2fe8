/* bpe.c: the vocabulary and its merges as hash tables, and byte-pair merging itself. */
#include <stdlib.h>
#include <string.h>

#include "text_impl.h"

/* Places for n entries: a power of two, at most half full. */
static size_t table_places(size_t n)
{
    size_t places = 2;
    while (places / 2 <= n) places *= 2;
    return places;
}

bal_status bal_tokens_index(bal_tokenizer *tokenizer)
{
    size_t places  = table_places((size_t)tokenizer->n_tokens);
    tokenizer->ids = bal_alloc(places, sizeof *tokenizer->ids);
    if (tokenizer->ids == NULL) return BAL_ERR_MEMORY;
    memset(tokenizer->ids, 0xff, places * sizeof *tokenizer->ids);
    tokenizer->ids_mask = places - 1;
    for (int32_t id = 0; id < tokenizer->n_tokens; ++id) {
        const bal_token *token = &tokenizer->tokens[id];
        if (token->n_bytes == 0 || bal_tokens_find(tokenizer, token->bytes, token->n_bytes) >= 0)
            continue;
        size_t place = bal_hash(token->bytes, token->n_bytes, 0) & tokenizer->ids_mask;
        while (tokenizer->ids[place] >= 0) place = (place + 1) & tokenizer->ids_mask;
        tokenizer->ids[place] = id;
    }
    return BAL_OK;
}

int32_t bal_tokens_find(const bal_tokenizer *tokenizer, const char *bytes, size_t n_bytes)
{
    size_t  place = bal_hash(bytes, n_bytes, 0) & tokenizer->ids_mask;
    int32_t id;
    while ((id = tokenizer->ids[place]) >= 0) {
        const bal_token *token = &tokenizer->tokens[id];
        if (token->n_bytes == n_bytes && memcmp(token->bytes, bytes, n_bytes) == 0) return id;
        place = (place + 1) & tokenizer->ids_mask;
    }
    return -1;
}

bal_status bal_merges_create(bal_tokenizer *tokenizer, size_t n_merges)
{
    size_t places     = table_places(n_merges);
    tokenizer->merges = bal_alloc(places, sizeof *tokenizer->merges);
    if (tokenizer->merges == NULL) return BAL_ERR_MEMORY;
    memset(tokenizer->merges, 0xff, places * sizeof *tokenizer->merges);
    tokenizer->merges_mask = places - 1;
    return BAL_OK;
}

bal_merge *bal_merges_find(const bal_tokenizer *tokenizer, int32_t left, int32_t right)
{
    uint64_t hash  = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u;
    size_t   place = (hash ^ hash >> 32) & tokenizer->merges_mask;
    for (;; place = (place + 1) & tokenizer->merges_mask) {
        bal_merge *merge = &tokenizer->merges[place];
        if (merge->left < 0 || (merge->left == left && merge->right == right)) return merge;
    }
}

/* The text so far: a list in the order of the text. Merging keeps the left symbol. */
typedef struct symbol {
    int32_t id; /* -1: merged into an earlier one */
    int32_t previous, next;
} symbol;

/* A merge that was possible when it was queued: it still is if left and right are still there. */
typedef struct candidate {
    uint64_t order; /* priority, then position of the left symbol */
    int32_t  left, right;
} candidate;

typedef struct candidates { /* binary heap, lowest order first */
    candidate *at;
    size_t     n;
} candidates;

static void queue_push(candidates *queue, candidate new)
{
    size_t i = queue->n++;
    for (; i > 0 && queue->at[(i - 1) / 2].order > new.order; i = (i - 1) / 2)
        queue->at[i] = queue->at[(i - 1) / 2];
    queue->at[i] = new;
}

static candidate queue_pop(candidates *queue)
{
    candidate first = queue->at[0], last = queue->at[--queue->n];
    size_t    i = 0;
    for (size_t child; (child = 2 * i + 1) < queue->n; i = child) {
        if (child + 1 < queue->n && queue->at[child + 1].order < queue->at[child].order) ++child;
        if (queue->at[child].order >= last.order) break;
        queue->at[i] = queue->at[child];
    }
    queue->at[i] = last;
    return first;
}

static void queue_pair(const bal_tokenizer *tokenizer, const symbol *symbols, int32_t position,
                       candidates *queue)
{
    int32_t next = symbols[position].next;
    if (next < 0) return;
    int32_t          left = symbols[position].id, right = symbols[next].id;
    const bal_merge *merge = bal_merges_find(tokenizer, left, right);
    if (merge->left >= 0)
        queue_push(queue,
                   (candidate){(uint64_t)merge->priority << 32 | (uint32_t)position, left, right});
}

/* Bytes of the code point at text + at, as each kind's own program cuts it. llama2.c takes up to
 * three continuation bytes after any byte but the space it puts before the text; for valid UTF-8
 * the two are the same. */
static size_t code_point_bytes(const bal_tokenizer *tokenizer, const char *text, size_t n_bytes,
                               size_t at)
{
    unsigned char lead = (unsigned char)text[at];
    size_t        most = lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (tokenizer->kind == BAL_TOKENIZER_LLAMA2C) most = at == 0 ? 1 : 4;
    size_t n = 1;
    while (n < most && at + n < n_bytes && ((unsigned char)text[at + n] & 0xc0) == 0x80) ++n;
    return n;
}

/* Code points to symbols: a token, or byte tokens, or the unknown token. symbols has n_bytes
 * places. @return their number, -1: a code point cannot be expressed. */
static int32_t split(const bal_tokenizer *tokenizer, const char *text, size_t n_bytes,
                     symbol *symbols)
{
    int32_t n       = 0;
    bool    pending = false; /* an unknown token; as in tokenizers, it waits for a known token */
    for (size_t at = 0, step; at < n_bytes; at += step) {
        step             = code_point_bytes(tokenizer, text, n_bytes, at);
        int32_t id       = bal_tokens_find(tokenizer, text + at, step);
        bool    in_bytes = id < 0;
        for (size_t i = 0; i < step && in_bytes; ++i)
            in_bytes = tokenizer->byte_ids[(unsigned char)text[at + i]] >= 0;
        if (id >= 0) {
            if (pending) symbols[n++].id = tokenizer->unknown;
            pending         = false;
            symbols[n++].id = id;
        } else if (in_bytes) {
            for (size_t i = 0; i < step; ++i)
                symbols[n++].id = tokenizer->byte_ids[(unsigned char)text[at + i]];
        } else if (tokenizer->unknown >= 0) {
            if (pending && !tokenizer->fuse_unknown) symbols[n++].id = tokenizer->unknown;
            pending = true;
        } else {
            bal_fail(BAL_ERR_INPUT,
                     "byte 0x%02X of the text has no token, and the tokenizer has no unknown "
                     "token; expected a text of its characters",
                     (unsigned)(unsigned char)text[at]);
            return -1;
        }
    }
    if (pending) symbols[n++].id = tokenizer->unknown;
    for (int32_t i = 0; i < n; ++i) {
        symbols[i].previous = i - 1;
        symbols[i].next     = i + 1 < n ? i + 1 : -1;
    }
    return n;
}

bal_status bal_bpe_encode(const bal_tokenizer *tokenizer, const char *text, size_t n_bytes,
                          bal_ids *ids)
{
    if (n_bytes == 0) return BAL_OK;
    if (n_bytes > INT32_MAX)
        return bal_fail(BAL_ERR_INPUT, "a text of %zu bytes; expected less than 2^31", n_bytes);
    bal_status status  = BAL_ERR_MEMORY;
    symbol    *symbols = malloc(n_bytes * sizeof *symbols);
    candidates queue   = {0};
    if (symbols == NULL) goto done;
    int32_t n = split(tokenizer, text, n_bytes, symbols);
    if (n < 0) {
        status = BAL_ERR_INPUT;
        goto done;
    }
    /* A merge takes one candidate out and puts at most two in; there are fewer than n merges. */
    queue.at = malloc(2 * (size_t)n * sizeof *queue.at);
    if (queue.at == NULL) goto done;
    for (int32_t i = 0; i < n; ++i) queue_pair(tokenizer, symbols, i, &queue);
    while (queue.n > 0) {
        candidate best     = queue_pop(&queue);
        int32_t   position = (int32_t)(uint32_t)best.order;
        symbol   *left     = &symbols[position];
        if (left->id != best.left || left->next < 0 || symbols[left->next].id != best.right)
            continue;
        symbol *right = &symbols[left->next];
        left->id      = bal_merges_find(tokenizer, best.left, best.right)->merged;
        left->next    = right->next;
        right->id     = -1;
        if (left->next >= 0) symbols[left->next].previous = position;
        queue_pair(tokenizer, symbols, position, &queue);
        if (left->previous >= 0) queue_pair(tokenizer, symbols, left->previous, &queue);
    }
    status = bal_ids_reserve(ids, n);
    if (status != BAL_OK) goto done;
    for (int32_t i = 0; i >= 0; i = symbols[i].next) ids->data[ids->n++] = symbols[i].id;
done:
    free(queue.at);
    free(symbols);
    return status;
}
