/* added_read.c: reads "added_tokens" of tokenizer.json. Source: huggingface/tokenizers,
 * src/tokenizer/added_vocabulary.rs. */
#include "read_impl.h"

/* Of a token that is found after the normalizer, the normalized form is found and decoded. */
static bal_status put_normalized(bal_tokenizer *tokenizer, const char *content, size_t n_bytes,
                                 bal_added flags)
{
    bal_work work = {.tokenizer = tokenizer};
    bal_bytes *pattern = &work.normal;
    bal_token *token = &tokenizer->vocab.tokens[flags.id];
    bool start = true;
    bal_status status = bal_bytes_add(pattern, content, n_bytes);
    if (status == BAL_OK) status = bal_normalize(&work, &tokenizer->normalizer, pattern, &start);
    if (status == BAL_OK && pattern->n > 0) { /* else nothing is left to be found */
        status = bal_added_put(tokenizer, BAL_ADDED_NORMALIZED, pattern->data, pattern->n, flags);
        token->shown = bal_keep(tokenizer, pattern->data, pattern->n);
        token->n_shown = (uint32_t)pattern->n;
        if (token->shown == NULL) status = BAL_ERR_MEMORY;
    }
    bal_work_clear(&work);
    return status;
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
    tokenizer->vocab.tokens[id].special = special;
    if (n_bytes == 0) return BAL_OK;
    return normalized ? put_normalized(tokenizer, content, n_bytes, flags)
                      : bal_added_put(tokenizer, BAL_ADDED_RAW, content, n_bytes, flags);
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
