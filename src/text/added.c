/* added.c: added tokens, which are found in a text and cut out before the model sees it. Source:
 * huggingface/tokenizers, src/tokenizer/added_vocabulary.rs. */
#include <stdlib.h>
#include <string.h>

#include "text_impl.h"

bal_status bal_added_put(bal_tokenizer *tokenizer, bal_added_kind kind, const char *pattern,
                         size_t n_bytes, bal_added flags)
{
    bal_added_list *list = &tokenizer->added[kind];
    bal_added *at = realloc(list->at, (list->n + 1) * sizeof *at);
    if (at == NULL) return BAL_ERR_MEMORY;
    list->at = at;
    bal_added *new = &at[list->n++];
    *new = flags;
    new->pattern = (bal_bytes){0};
    return bal_bytes_add(&new->pattern, pattern, n_bytes);
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

/* The byte at a depth of a pattern; -1 past its end. */
static int byte_at(const bal_added *added, size_t depth)
{
    return depth < added->pattern.n ? (unsigned char)added->pattern.data[depth] : -1;
}

/* The first pattern in [from, to) whose byte at depth is at least that; all agree up to depth. */
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

/* Byte by byte, fewer patterns agree with the text. */
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
