/* postprocessor.c: which tokens are added before and after a text: reading "post_processor" of
 * tokenizer.json. Source: huggingface/tokenizers, src/processors. */
#include <string.h>

#include "read_impl.h"

/* Add tokens before those that are there, or after them. */
static bal_status put_around(bal_tokenizer *tokenizer, bool before, const int32_t *ids, int64_t n)
{
    int32_t *all = before ? tokenizer->specials.before : tokenizer->specials.after;
    int64_t *n_all = before ? &tokenizer->specials.n_before : &tokenizer->specials.n_after;
    if (*n_all + n > BAL_AFFIX_MAX)
        return bal_fail(BAL_ERR_INPUT, "%s: post_processor puts more than %d tokens %s a text",
                        tokenizer->origin, BAL_AFFIX_MAX, before ? "before" : "after");
    if (before) memmove(all + n, all, (size_t)*n_all * sizeof *all);
    memcpy(before ? all : all + *n_all, ids, (size_t)n * sizeof *ids);
    *n_all += n;
    return BAL_OK;
}

static int32_t read_id(const bal_tokenizer *tokenizer, const json_t *json)
{
    json_int_t id = json_is_integer(json) ? json_integer_value(json) : -1;
    return id >= 0 && id < tokenizer->vocab.n_tokens ? (int32_t)id : -1;
}

/* {"cls": ["<s>", 0], "sep": ["</s>", 2]} */
static bal_status read_cls_and_sep(bal_tokenizer *tokenizer, const json_t *json)
{
    int32_t cls = read_id(tokenizer, json_array_get(json_object_get(json, "cls"), 1));
    int32_t sep = read_id(tokenizer, json_array_get(json_object_get(json, "sep"), 1));
    if (cls < 0 || sep < 0)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: post_processor of type \"%.40s\" has no cls and sep; expected pairs "
                        "of a token and its id",
                        tokenizer->origin, bal_json_type(json));
    tokenizer->specials.fixed_affixes = true;
    BAL_TRY(put_around(tokenizer, true, &cls, 1));
    return put_around(tokenizer, false, &sep, 1);
}

static bal_status read_template(bal_tokenizer *tokenizer, const json_t *json)
{
    const json_t *single = json_object_get(json, "single");
    const json_t *tokens = json_object_get(json, "special_tokens");
    int32_t ids[2][BAL_AFFIX_MAX];
    int64_t n[2] = {0, 0};
    int n_text = 0;
    for (size_t i = 0; i < json_array_size(single); ++i) {
        const json_t *item = json_array_get(single, i);
        const json_t *named = json_object_get(json_object_get(item, "SpecialToken"), "id");
        bool is_text = json_object_get(item, "Sequence") != NULL;
        n_text += is_text;
        if (is_text) continue;
        const json_t *list =
            json_is_string(named)
                ? json_object_get(json_object_get(tokens, json_string_value(named)), "ids")
                : NULL;
        int side = n_text > 0;
        for (size_t j = 0; j < json_array_size(list); ++j) {
            int32_t id = read_id(tokenizer, json_array_get(list, j));
            if (id < 0 || n[side] == BAL_AFFIX_MAX)
                return bal_json_refuse(tokenizer->origin, "a special token of post_processor", list,
                                       "at most 16 ids of the vocabulary");
            ids[side][n[side]++] = id;
        }
        if (json_array_size(list) == 0)
            return bal_json_refuse(tokenizer->origin, "a special token of post_processor", list,
                                   "a list of ids");
    }
    if (n_text != 1)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: post_processor names the text %d times; expected once in \"single\"",
                        tokenizer->origin, n_text);
    BAL_TRY(put_around(tokenizer, true, ids[0], n[0]));
    return put_around(tokenizer, false, ids[1], n[1]);
}

static bal_status read_step(bal_tokenizer *tokenizer, const json_t *json)
{
    if (bal_json_is_type(json, "ByteLevel")) return BAL_OK; /* changes offsets only */
    if (bal_json_is_type(json, "TemplateProcessing")) return read_template(tokenizer, json);
    if (bal_json_is_type(json, "RobertaProcessing") || bal_json_is_type(json, "BertProcessing"))
        return read_cls_and_sep(tokenizer, json);
    return bal_json_refuse(tokenizer->origin, "post_processor", json,
                           "null, or Sequence, TemplateProcessing, ByteLevel, RobertaProcessing "
                           "or BertProcessing");
}

bal_status bal_postprocessor_read(bal_tokenizer *tokenizer, const json_t *part)
{
    if (part == NULL || json_is_null(part)) return BAL_OK;
    return bal_json_sequence(tokenizer, "post_processor", part, "processors", 0, read_step);
}
