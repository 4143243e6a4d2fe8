/* added.c: tokens that are cut out of a text before its model sees it: reading "added_tokens" of
 * tokenizer.json, and finding them. Source: huggingface/tokenizers,
 * src/tokenizer/added_vocabulary.rs. */
#include <stdlib.h>
#include <string.h>

#include "read_impl.h"

bal_status bal_added_put(bal_tokenizer *tokenizer, bal_added_kind kind, const char *content,
                         size_t n_bytes, bal_added flags)
{
    bal_added_list *list = &tokenizer->added[kind];
    bal_added *at = realloc(list->at, (list->n + 1) * sizeof *at);
    bool start = true;
    if (at == NULL) return BAL_ERR_MEMORY;
    list->at = at;
    bal_added *new = &at[list->n++];
    *new = flags;
    new->pattern = (bal_bytes){0};
    bal_status status = bal_bytes_add(&new->pattern, content, n_bytes);
    if (status != BAL_OK || kind != BAL_ADDED_NORMALIZED) return status;
    bal_work work = {.tokenizer = tokenizer};
    status = bal_normalize(&work, &tokenizer->normalizer, &new->pattern, &start);
    free(work.spare.data);
    free(work.spans.at);
    bal_matcher_destroy(&work.matcher);
    if (status == BAL_OK && new->pattern.n == 0) /* nothing is left of it: never found */
        free(list->at[--list->n].pattern.data);
    return status;
}

static int compare(const void *a, const void *b)
{
    const bal_added *left = a, *right = b;
    size_t n = left->pattern.n < right->pattern.n ? left->pattern.n : right->pattern.n;
    int order = memcmp(left->pattern.data, right->pattern.data, n);
    if (order != 0) return order;
    if (left->pattern.n != right->pattern.n) return left->pattern.n < right->pattern.n ? -1 : 1;
    return (left->id > right->id) - (left->id < right->id);
}

void bal_added_sort(bal_tokenizer *tokenizer)
{
    for (int i = 0; i < BAL_ADDED_LISTS; ++i) {
        bal_added_list *list = &tokenizer->added[i];
        if (list->n == 0) continue;
        qsort(list->at, list->n, sizeof *list->at, compare);
        for (size_t j = 0; j < list->n; ++j)
            list->may_start[(unsigned char)list->at[j].pattern.data[0]] = true;
    }
}

/* Byte at a depth of a pattern, -1 behind its end. */
static int byte_at(const bal_added *added, size_t depth)
{
    return depth < added->pattern.n ? (unsigned char)added->pattern.data[depth] : -1;
}

/* First pattern of [from, to), which agree up to depth, whose byte there is at least that. */
static size_t lower_bound(const bal_added_list *list, size_t from, size_t to, size_t depth,
                          int byte)
{
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (byte_at(&list->at[middle], depth) < byte)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* Those that agree so far get fewer byte by byte. */
const bal_added *bal_added_at(const bal_added_list *list, const char *text, size_t n_bytes)
{
    const bal_added *found = NULL;
    size_t from = 0, to = list->n;
    if (n_bytes == 0 || !list->may_start[(unsigned char)text[0]]) return NULL;
    for (size_t depth = 0; from < to; ++depth) {
        if (list->at[from].pattern.n == depth) found = &list->at[from];
        if (depth == n_bytes) break;
        int byte = (unsigned char)text[depth];
        from = lower_bound(list, from, to, depth, byte);
        to = lower_bound(list, from, to, depth, byte + 1);
    }
    return found;
}

const bal_added *bal_added_find(const bal_added_list *list, const char *text, size_t n_bytes,
                                size_t from, size_t *start)
{
    for (size_t at = from; at < n_bytes && list->n > 0; ++at) {
        const bal_added *found = bal_added_at(list, text + at, n_bytes - at);
        if (found == NULL) continue;
        *start = at;
        return found;
    }
    return NULL;
}

static bal_status read_one(bal_tokenizer *tokenizer, const char *part, const json_t *json)
{
    const char *content = json_string_value(json_object_get(json, "content"));
    size_t n_bytes = json_string_length(json_object_get(json, "content"));
    int32_t id = (int32_t)json_integer_value(json_object_get(json, "id"));
    int32_t known = bal_tokens_find(tokenizer, content, n_bytes);
    bal_added flags = {.id = id};
    bool normalized, special;
    if (known >= 0 && known != id)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: \"%.40s\" has id %d in added_tokens and %d in model.vocab",
                        tokenizer->origin, content, id, known);
    BAL_TRY(bal_json_bool(tokenizer, part, json, "special", false, &special));
    BAL_TRY(bal_json_bool(tokenizer, part, json, "normalized", false, &normalized));
    BAL_TRY(bal_json_bool(tokenizer, part, json, "single_word", false, &flags.single_word));
    BAL_TRY(bal_json_bool(tokenizer, part, json, "lstrip", false, &flags.lstrip));
    BAL_TRY(bal_json_bool(tokenizer, part, json, "rstrip", false, &flags.rstrip));
    if (known < 0) BAL_TRY(bal_tokens_put(tokenizer, id, content, n_bytes));
    tokenizer->tokens[id].special = special;
    if (n_bytes == 0) return BAL_OK;
    bal_added_list *list = &tokenizer->added[BAL_ADDED_NORMALIZED];
    size_t before = list->n;
    BAL_TRY(bal_added_put(tokenizer, normalized ? BAL_ADDED_NORMALIZED : BAL_ADDED_RAW, content,
                          n_bytes, flags));
    if (list->n == before) return BAL_OK;
    /* what it decodes from is what the normalizer makes of it */
    const bal_bytes *pattern = &list->at[before].pattern;
    bal_token *token = &tokenizer->tokens[id];
    token->shown = bal_keep(tokenizer, pattern->data, pattern->n);
    token->n_shown = (uint32_t)pattern->n;
    return token->shown != NULL ? BAL_OK : BAL_ERR_MEMORY;
}

bal_status bal_added_read(bal_tokenizer *tokenizer, const json_t *added)
{
    for (size_t i = 0; i < json_array_size(added); ++i) {
        char part[48];
        snprintf(part, sizeof part, "added_tokens[%zu]", i);
        BAL_TRY(read_one(tokenizer, part, json_array_get(added, i)));
    }
    bal_added_sort(tokenizer);
    return BAL_OK;
}
