/* tokenizer_bin.c: reads tokenizer.bin of llama2.c: int32 longest token, then per token float32
 * score, int32 length, bytes; little-endian. Source: karpathy/llama2.c, tokenizer.py and run.c. */
#include <string.h>

#include "read_impl.h"

/* All splits of a token are tried, so this bounds what a damaged file costs. */
#define TOKEN_BYTES_MAX 1024
#define FIRST_BYTE_ID 3 /* byte b is token b + 3 */

static int32_t read_i32(const char *at)
{
    int32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static bal_status read_tokens(bal_tokenizer *tokenizer, const char *at, size_t n_bytes)
{
    const char *end = at + n_bytes, *origin = tokenizer->origin;
    if (n_bytes < 4 || (size_t)tokenizer->vocab.n_ids > (n_bytes - 4) / 8 ||
        tokenizer->vocab.n_ids < 3)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: %zu bytes cannot be a llama2.c tokenizer of the model's %lld tokens; "
                        "expected at least 3 tokens, and 4 + 8 bytes per token",
                        origin, n_bytes, (long long)tokenizer->vocab.n_ids);
    int32_t longest = read_i32(at);
    at += 4;
    if (longest < 1 || longest > TOKEN_BYTES_MAX)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: the longest token should have %d bytes; expected 1 to %d", origin,
                        longest, TOKEN_BYTES_MAX);
    tokenizer->vocab.n_tokens = tokenizer->vocab.n_ids;
    tokenizer->vocab.tokens =
        bal_alloc((size_t)tokenizer->vocab.n_ids, sizeof *tokenizer->vocab.tokens);
    if (tokenizer->vocab.tokens == NULL) return BAL_ERR_MEMORY;
    for (int32_t id = 0; id < tokenizer->vocab.n_ids; ++id) {
        if (end - at < 8)
            return bal_fail(BAL_ERR_INPUT,
                            "%s: ends within token %d; expected the model's %lld tokens", origin,
                            id, (long long)tokenizer->vocab.n_ids);
        int32_t token_bytes = read_i32(at + 4);
        memcpy(&tokenizer->vocab.tokens[id].score, at, sizeof(float));
        at += 8;
        if (token_bytes < 0 || token_bytes > longest || token_bytes > end - at)
            return bal_fail(BAL_ERR_INPUT,
                            "%s: token %d has %d bytes; expected 0 to %d, and %td are left", origin,
                            id, token_bytes, longest, end - at);
        BAL_TRY(bal_tokens_put(tokenizer, id, at, (size_t)token_bytes));
        at += token_bytes;
    }
    if (at != end)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: %td bytes follow token %lld; expected the model's %lld tokens and no "
                        "more",
                        origin, end - at, (long long)tokenizer->vocab.n_ids - 1,
                        (long long)tokenizer->vocab.n_ids);
    return BAL_OK;
}

/* Every way to cut a token into two tokens is a merge. @return how many there are; they go into the
 * table if it exists. */
static size_t find_merges(bal_tokenizer *tokenizer)
{
    size_t n = 0;
    for (int32_t id = 0; id < tokenizer->vocab.n_tokens; ++id) {
        const bal_token *token = &tokenizer->vocab.tokens[id];
        if (token->n_bytes < 2 || bal_tokens_find(tokenizer, token->bytes, token->n_bytes) != id)
            continue;
        /* run.c never makes tokens of lower scores, or of a score that is NaN */
        if (!(token->score > -1e10f)) continue;
        for (size_t cut = 1; cut < token->n_bytes; ++cut) {
            int32_t left = bal_tokens_find(tokenizer, token->bytes, cut);
            if (left < 0) continue;
            int32_t right = bal_tokens_find(tokenizer, token->bytes + cut, token->n_bytes - cut);
            if (right < 0) continue;
            ++n;
            if (tokenizer->vocab.merges != NULL)
                *bal_merges_find(tokenizer, left, right) =
                    (bal_merge){left, right, id, bal_score_priority(token->score)};
        }
    }
    return n;
}

bal_status bal_llama2c_read(bal_tokenizer *tokenizer, const bal_named_bytes *file)
{
    tokenizer->kind = BAL_TOKENIZER_LLAMA2C;
    BAL_TRY(read_tokens(tokenizer, (const char *)file->bytes, file->n_bytes));
    BAL_TRY(bal_tokens_index(tokenizer));
    BAL_TRY(bal_merges_create(tokenizer, find_merges(tokenizer)));
    find_merges(tokenizer);
    tokenizer->subword.unknown = 0;
    tokenizer->specials.ids[BAL_SPECIAL_UNKNOWN] = 0;
    tokenizer->specials.ids[BAL_SPECIAL_BOS] = 1;
    tokenizer->specials.ids[BAL_SPECIAL_EOS] = 2;
    tokenizer->specials.before[tokenizer->specials.n_before++] = 1;
    for (int id = 0; id < 3; ++id) tokenizer->vocab.tokens[id].special = true;
    for (int byte = 0; byte < 256 && byte + FIRST_BYTE_ID < tokenizer->vocab.n_tokens; ++byte) {
        const bal_token *token = &tokenizer->vocab.tokens[byte + FIRST_BYTE_ID];
        if (bal_byte_token(token->bytes, token->n_bytes) == byte)
            tokenizer->subword.byte_ids[byte] = byte + FIRST_BYTE_ID;
    }
    tokenizer->normalizer.step[tokenizer->normalizer.n++] =
        (bal_step){.kind = BAL_STEP_PREPEND, .content = " ", .n_content = 1};
    tokenizer->decoder.step[tokenizer->decoder.n++] = (bal_step){.kind = BAL_STEP_DECODE_BYTES};
    tokenizer->decoder.step[tokenizer->decoder.n++] = (bal_step){.kind = BAL_STEP_DECODE_FUSE};
    tokenizer->decoder.step[tokenizer->decoder.n++] =
        (bal_step){.kind = BAL_STEP_DECODE_STRIP, .content = " ", .n_content = 1, .n_front = 1};
    return BAL_OK;
}
