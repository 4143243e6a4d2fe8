/* wordpiece.c: how BERT cuts a word: always the longest token that fits. Source:
 * huggingface/tokenizers, src/models/wordpiece. */
#include <string.h>

#include "text_impl.h"

static int64_t count_characters(const char *text, size_t n_bytes, int64_t most)
{
    int64_t n = 0;
    int32_t c;
    for (size_t at = 0; at < n_bytes && n <= most; ++n)
        at += bal_character(text + at, n_bytes - at, &c);
    return n;
}

/* The longest token at the start of text, after the prefix of n_prefix bytes. */
static int32_t longest(const bal_tokenizer *tokenizer, const char *text, size_t n_prefix,
                       size_t *n_bytes)
{
    size_t n = *n_bytes;
    int32_t c;
    while (n > n_prefix) {
        int32_t id = n <= tokenizer->vocab.longest ? bal_tokens_find(tokenizer, text, n) : -1;
        if (id >= 0) {
            *n_bytes = n;
            return id;
        }
        n -= bal_last_character(text + n_prefix, n - n_prefix, &c);
    }
    return -1;
}

bal_status bal_wordpiece_encode(bal_work *work, const char *text, size_t n_bytes)
{
    const bal_tokenizer *tokenizer = work->tokenizer;
    int64_t before = work->ids.n;
    bool known =
        count_characters(text, n_bytes, tokenizer->subword.word_max) <= tokenizer->subword.word_max;
    for (size_t at = 0; at < n_bytes && known;) {
        size_t n_prefix = at > 0 ? tokenizer->subword.n_prefix : 0, n = n_prefix + n_bytes - at;
        work->spare.n = 0;
        BAL_TRY(bal_bytes_add(&work->spare, tokenizer->subword.prefix, n_prefix));
        BAL_TRY(bal_bytes_add(&work->spare, text + at, n_bytes - at));
        int32_t id = longest(tokenizer, work->spare.data, n_prefix, &n);
        known = id >= 0;
        if (known) BAL_TRY(bal_ids_add(&work->ids, id));
        at += n - n_prefix;
    }
    if (known) return BAL_OK;
    work->ids.n = before; /* one unknown token for the whole word */
    int32_t unknown = tokenizer->subword.unknown;
    return unknown >= 0 ? bal_ids_add(&work->ids, unknown) : bal_refuse_byte(text[0]);
}
