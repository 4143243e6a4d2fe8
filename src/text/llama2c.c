/* llama2c.c: reads tokenizer.bin of llama2.c: int32 longest token, then per token float32 score,
 * int32 length, bytes; little-endian. Source: karpathy/llama2.c, tokenizer.py and run.c. */
#include <string.h>

#include "text_impl.h"

#define TOKEN_BYTES_MAX                                                                      \
    1024                /* all splits of a token are tried: bounds what a damaged file costs \
                         */
#define FIRST_BYTE_ID 3 /* byte b is token b + 3 */

static int32_t read_i32(const char *at)
{
    int32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static bal_status read_tokens(bal_tokenizer *tokenizer, const char *origin)
{
    const char *at = tokenizer->source, *end = at + tokenizer->n_source;
    if (tokenizer->n_source < 4 || (size_t)tokenizer->n_ids > (tokenizer->n_source - 4) / 8 ||
        tokenizer->n_ids < 3)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: %zu bytes cannot be a llama2.c tokenizer of the model's %lld tokens; "
                        "expected at least 3 tokens, and 4 + 8 bytes per token",
                        origin, tokenizer->n_source, (long long)tokenizer->n_ids);
    int32_t longest = read_i32(at);
    at += 4;
    if (longest < 1 || longest > TOKEN_BYTES_MAX)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: the longest token should have %d bytes; expected 1 to %d", origin,
                        longest, TOKEN_BYTES_MAX);
    tokenizer->tokens = bal_alloc((size_t)tokenizer->n_ids, sizeof *tokenizer->tokens);
    if (tokenizer->tokens == NULL) return BAL_ERR_MEMORY;
    for (int64_t id = 0; id < tokenizer->n_ids; ++id) {
        if (end - at < 8)
            return bal_fail(BAL_ERR_INPUT,
                            "%s: ends within token %lld; expected the model's %lld tokens", origin,
                            (long long)id, (long long)tokenizer->n_ids);
        int32_t n_bytes = read_i32(at + 4);
        at += 8; /* the score lies 8 bytes before the string */
        if (n_bytes < 0 || n_bytes > longest || n_bytes > end - at)
            return bal_fail(BAL_ERR_INPUT,
                            "%s: token %lld has %d bytes; expected 0 to %d, and %td are left",
                            origin, (long long)id, n_bytes, longest, end - at);
        tokenizer->tokens[id] = (bal_token){.bytes = at, .n_bytes = (size_t)n_bytes};
        at += n_bytes;
    }
    if (at != end)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: %td bytes follow token %lld; expected the model's %lld tokens and no "
                        "more",
                        origin, end - at, (long long)tokenizer->n_ids - 1,
                        (long long)tokenizer->n_ids);
    tokenizer->n_tokens = tokenizer->n_ids;
    return BAL_OK;
}

/* Higher scores first; -0 and 0 are equal. */
static uint32_t score_priority(float score)
{
    uint32_t bits;
    score += 0.0f;
    memcpy(&bits, &score, sizeof bits);
    return bits >> 31 ? bits : 0x7fffffffu - bits;
}

/* Every way to cut a token into two tokens is a merge. @return how many; put in the table if
 * there is one. */
static size_t find_merges(bal_tokenizer *tokenizer)
{
    size_t n = 0;
    for (int32_t id = 0; id < tokenizer->n_tokens; ++id) {
        const bal_token *token = &tokenizer->tokens[id];
        if (token->n_bytes < 2 || bal_tokens_find(tokenizer, token->bytes, token->n_bytes) != id)
            continue;
        float score;
        memcpy(&score, token->bytes - 8, sizeof score);
        if (!(score > -1e10f)) continue; /* run.c never makes these, nor those that are no number */
        for (size_t cut = 1; cut < token->n_bytes; ++cut) {
            int32_t left = bal_tokens_find(tokenizer, token->bytes, cut);
            if (left < 0) continue;
            int32_t right = bal_tokens_find(tokenizer, token->bytes + cut, token->n_bytes - cut);
            if (right < 0) continue;
            ++n;
            if (tokenizer->merges != NULL)
                *bal_merges_find(tokenizer, left, right) =
                    (bal_merge){left, right, id, score_priority(score)};
        }
    }
    return n;
}

bal_status bal_llama2c_read(bal_tokenizer *tokenizer, const char *origin)
{
    BAL_TRY(read_tokens(tokenizer, origin));
    BAL_TRY(bal_tokens_index(tokenizer));
    BAL_TRY(bal_merges_create(tokenizer, find_merges(tokenizer)));
    find_merges(tokenizer);
    tokenizer->unknown = 0;
    tokenizer->bos     = 1;
    tokenizer->eos     = 2;
    for (int id = 0; id < 3; ++id) tokenizer->tokens[id].special = true;
    for (int byte = 0; byte < 256 && byte + FIRST_BYTE_ID < tokenizer->n_tokens; ++byte) {
        const bal_token *token = &tokenizer->tokens[byte + FIRST_BYTE_ID];
        if (bal_byte_token(token->bytes, token->n_bytes) == byte)
            tokenizer->byte_ids[byte] = byte + FIRST_BYTE_ID;
    }
    tokenizer->normalizer.step[tokenizer->normalizer.n++] =
        (bal_step){.kind = BAL_STEP_PREPEND, .content = " ", .n_content = 1};
    tokenizer->decoder.step[tokenizer->decoder.n++] = (bal_step){.kind = BAL_STEP_BYTE};
    tokenizer->decoder_fused.step[tokenizer->decoder_fused.n++] =
        (bal_step){.kind = BAL_STEP_STRIP, .content = " ", .n_content = 1, .n_front = 1};
    return BAL_OK;
}
