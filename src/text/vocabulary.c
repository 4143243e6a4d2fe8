/* vocabulary.c: tokens and merges as hash tables, and reading "vocab" of JSON files. */
#include <stdlib.h>
#include <string.h>

#include "read_impl.h"

/* The size of a table for n entries: a power of two, at most half full. */
static size_t table_places(size_t n)
{
    size_t places = 2;
    while (places / 2 <= n) places *= 2;
    return places;
}

bal_status bal_tokens_index(bal_tokenizer *tokenizer)
{
    size_t places = table_places((size_t)tokenizer->vocab.n_tokens);
    tokenizer->vocab.ids = bal_alloc(places, sizeof *tokenizer->vocab.ids);
    if (tokenizer->vocab.ids == NULL) return BAL_ERR_MEMORY;
    memset(tokenizer->vocab.ids, 0xff, places * sizeof *tokenizer->vocab.ids);
    tokenizer->vocab.ids_mask = places - 1;
    for (int32_t id = 0; id < tokenizer->vocab.n_tokens; ++id) {
        const bal_token *token = &tokenizer->vocab.tokens[id];
        if (token->n_bytes == 0 || token->hidden ||
            bal_tokens_find(tokenizer, token->bytes, token->n_bytes) >= 0)
            continue;
        size_t place = bal_hash(token->bytes, token->n_bytes, 0) & tokenizer->vocab.ids_mask;
        while (tokenizer->vocab.ids[place] >= 0) place = (place + 1) & tokenizer->vocab.ids_mask;
        tokenizer->vocab.ids[place] = id;
        if (token->n_bytes > tokenizer->vocab.longest) tokenizer->vocab.longest = token->n_bytes;
    }
    return BAL_OK;
}

int32_t bal_tokens_find(const bal_tokenizer *tokenizer, const char *bytes, size_t n_bytes)
{
    size_t place = bal_hash(bytes, n_bytes, 0) & tokenizer->vocab.ids_mask;
    int32_t id;
    while ((id = tokenizer->vocab.ids[place]) >= 0) {
        const bal_token *token = &tokenizer->vocab.tokens[id];
        if (token->n_bytes == n_bytes && memcmp(token->bytes, bytes, n_bytes) == 0) return id;
        place = (place + 1) & tokenizer->vocab.ids_mask;
    }
    return -1;
}

bal_status bal_tokens_put(bal_tokenizer *tokenizer, int32_t id, const char *bytes, size_t n_bytes)
{
    bal_token *token = &tokenizer->vocab.tokens[id];
    if (token->bytes != NULL)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: id %d is both \"%.*s\" and \"%.40s\"; expected one token per id",
                        tokenizer->origin, id, (int)(token->n_bytes < 40 ? token->n_bytes : 40),
                        token->bytes, bytes);
    if (n_bytes > INT32_MAX)
        return bal_fail(BAL_ERR_INPUT, "%s: token %d has %zu bytes; expected less than 2^31",
                        tokenizer->origin, id, n_bytes);
    token->bytes = bal_keep(tokenizer, bytes, n_bytes);
    token->n_bytes = (uint32_t)n_bytes;
    return token->bytes != NULL ? BAL_OK : BAL_ERR_MEMORY;
}

bal_status bal_vocab_read(bal_tokenizer *tokenizer, const json_t *vocab, const json_t *added)
{
    const char *content;
    const json_t *value;
    size_t i;
    int32_t id, highest = -1;
    json_t *entries = (json_t *)(uintptr_t)vocab; /* jansson's loop only reads */
    json_object_foreach(entries, content, value)
    {
        id = bal_json_id(tokenizer, content, value);
        if (id < 0) return BAL_ERR_INPUT;
        if (id > highest) highest = id;
    }
    json_array_foreach(added, i, value)
    {
        content = json_string_value(json_object_get(value, "content"));
        if (content == NULL)
            return bal_fail(BAL_ERR_INPUT,
                            "%s: added_tokens[%zu] has no content; expected a string",
                            tokenizer->origin, i);
        id = bal_json_id(tokenizer, content, json_object_get(value, "id"));
        if (id < 0) return BAL_ERR_INPUT;
        if (id > highest) highest = id;
    }
    if (highest < 0) return bal_json_refuse(tokenizer->origin, "model.vocab", vocab, "tokens");
    tokenizer->vocab.n_tokens = highest + 1;
    tokenizer->vocab.tokens = bal_alloc((size_t)highest + 1, sizeof *tokenizer->vocab.tokens);
    if (tokenizer->vocab.tokens == NULL) return BAL_ERR_MEMORY;
    json_object_foreach(entries, content, value)
    {
        id = (int32_t)json_integer_value(value);
        BAL_TRY(bal_tokens_put(tokenizer, id, content, strlen(content)));
    }
    return bal_tokens_index(tokenizer);
}

bal_status bal_merges_create(bal_tokenizer *tokenizer, size_t n_merges)
{
    size_t places = table_places(n_merges);
    tokenizer->vocab.merges = bal_alloc(places, sizeof *tokenizer->vocab.merges);
    if (tokenizer->vocab.merges == NULL) return BAL_ERR_MEMORY;
    memset(tokenizer->vocab.merges, 0xff, places * sizeof *tokenizer->vocab.merges);
    tokenizer->vocab.merges_mask = places - 1;
    return BAL_OK;
}

bal_merge *bal_merges_find(const bal_tokenizer *tokenizer, int32_t left, int32_t right)
{
    uint64_t hash = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u;
    size_t place = (hash ^ hash >> 32) & tokenizer->vocab.merges_mask;
    for (;; place = (place + 1) & tokenizer->vocab.merges_mask) {
        bal_merge *merge = &tokenizer->vocab.merges[place];
        if (merge->left < 0 || (merge->left == left && merge->right == right)) return merge;
    }
}

/* The union of a pair: the left part, then the right without the prefix that continues words. */
bal_status bal_merges_put(bal_tokenizer *tokenizer, const char *place, size_t rank,
                          const char *left, size_t n_left, const char *right, size_t n_right)
{
    size_t skip = tokenizer->subword.n_prefix;
    bal_bytes whole = {0};
    bal_merge merge = {.left = bal_tokens_find(tokenizer, left, n_left),
                       .right = bal_tokens_find(tokenizer, right, n_right),
                       .merged = -1,
                       .priority = (uint32_t)rank};
    bal_status status = bal_bytes_add(&whole, left, n_left);
    if (status == BAL_OK && n_right >= skip) {
        status = bal_bytes_add(&whole, right + skip, n_right - skip);
        if (status == BAL_OK) merge.merged = bal_tokens_find(tokenizer, whole.data, whole.n);
    }
    free(whole.data);
    BAL_TRY(status);
    if (merge.left < 0 || merge.right < 0 || merge.merged < 0)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: %s %zu joins \"%.*s\" and \"%.*s\"; expected both and their union in "
                        "the vocabulary",
                        tokenizer->origin, place, rank, (int)(n_left < 40 ? n_left : 40), left,
                        (int)(n_right < 40 ? n_right : 40), right);
    *bal_merges_find(tokenizer, merge.left, merge.right) = merge;
    return BAL_OK;
}
