/* hf.c: reads tokenizer.json of Hugging Face tokenizers where it describes byte-pair merging of
 * whole texts. Parts that would change the tokens and are not known here are refused by name. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "text_impl.h"

#define GROWTH_MAX 8 /* of a text in all replacements of its steps together */

/* Keep a string of the file; all of them together are no longer than the file. */
static const char *keep(bal_tokenizer *tokenizer, const char *string, size_t n_bytes)
{
    char *kept = tokenizer->strings + tokenizer->n_strings;
    memcpy(kept, string, n_bytes);
    tokenizer->n_strings += n_bytes;
    return kept;
}

static const char *type_of(const json_t *part)
{
    const char *type = json_string_value(json_object_get(part, "type"));
    return type != NULL ? type : "";
}

static bool is_type(const json_t *part, const char *type)
{
    return strcmp(type_of(part), type) == 0;
}

static bal_status refuse(const char *origin, const char *part, const json_t *found,
                         const char *expected)
{
    if (found == NULL || json_is_null(found))
        return bal_fail(BAL_ERR_INPUT, "%s: %s is %s; expected %s", origin, part,
                        found == NULL ? "missing" : "null", expected);
    if (type_of(found)[0] != 0)
        return bal_fail(BAL_ERR_INPUT, "%s: %s of type \"%.40s\" is not supported; expected %s",
                        origin, part, type_of(found), expected);
    char *text = json_dumps(found, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII);
    bal_fail(BAL_ERR_INPUT, "%s: %s is %.60s%s; expected %s", origin, part,
             text != NULL ? text : "?", text != NULL && strlen(text) > 60 ? "..." : "", expected);
    free(text);
    return BAL_ERR_INPUT;
}

/* A string of 1 .. BAL_STEP_BYTES_MAX bytes, or of none where empty is allowed. */
static bal_status read_step_string(bal_tokenizer *tokenizer, const char *origin, const char *part,
                                   const json_t *value, bool may_be_empty, const char **string,
                                   size_t *n_bytes)
{
    size_t n = json_string_length(value);
    if (!json_is_string(value) || n > BAL_STEP_BYTES_MAX || (n == 0 && !may_be_empty))
        return refuse(origin, part, value,
                      may_be_empty ? "a string of 0 to 16 bytes" : "a string of 1 to 16 bytes");
    *string  = keep(tokenizer, json_string_value(value), n);
    *n_bytes = n;
    return BAL_OK;
}

static bal_status read_replace(bal_tokenizer *tokenizer, const char *origin, const char *part,
                               const json_t *json, bal_step *step, size_t *growth)
{
    const json_t *pattern = json_object_get(json, "pattern");
    const json_t *string  = json_object_get(pattern, "String");
    if (string == NULL)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: %s of type \"Replace\" has a pattern that is not supported; expected "
                        "{\"String\": ...}",
                        origin, part);
    step->kind = BAL_STEP_REPLACE;
    BAL_TRY(read_step_string(tokenizer, origin, "the pattern of a Replace", string, false,
                             &step->pattern, &step->n_pattern));
    BAL_TRY(read_step_string(tokenizer, origin, "the content of a Replace",
                             json_object_get(json, "content"), true, &step->content,
                             &step->n_content));
    if (step->n_content > step->n_pattern)
        *growth *= (step->n_content + step->n_pattern - 1) / step->n_pattern;
    if (*growth > GROWTH_MAX)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: the replacements of %s make a text %zu times longer; expected at most "
                        "%d times",
                        origin, part, *growth, GROWTH_MAX);
    return BAL_OK;
}

static bal_status read_strip(bal_tokenizer *tokenizer, const char *origin, const json_t *json,
                             bal_step *step)
{
    const json_t *start = json_object_get(json, "start"), *stop = json_object_get(json, "stop");
    step->kind = BAL_STEP_STRIP;
    BAL_TRY(read_step_string(tokenizer, origin, "the content of a Strip",
                             json_object_get(json, "content"), false, &step->content,
                             &step->n_content));
    step->n_front = json_integer_value(start);
    step->n_back  = json_integer_value(stop);
    if (!json_is_integer(start) || !json_is_integer(stop) || step->n_front < 0 || step->n_back < 0)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: a Strip of the decoder has no start and stop; expected counts from 0",
                        origin);
    return BAL_OK;
}

/* A new last step, NULL if there are too many. */
static bal_step *next_step(const char *origin, const char *part, bal_steps *steps)
{
    if (steps->n < BAL_STEPS_MAX) return &steps->step[steps->n++];
    bal_fail(BAL_ERR_INPUT, "%s: %s has more than %d steps", origin, part, BAL_STEPS_MAX);
    return NULL;
}

/* A part is one step, or a Sequence that lists its steps under name. @return the step of that
 * index, NULL after the last. */
static const json_t *sequence_at(const json_t *part, const char *name, size_t index)
{
    if (is_type(part, "Sequence")) return json_array_get(json_object_get(part, name), index);
    return index == 0 ? part : NULL;
}

static bal_status read_normalizer(bal_tokenizer *tokenizer, const char *origin, const json_t *part)
{
    static const char expected[] =
        "null, or Prepend and Replace, alone or in one Sequence \"normalizers\"";
    if (part == NULL || json_is_null(part)) return BAL_OK;
    if (is_type(part, "Sequence") && !json_is_array(json_object_get(part, "normalizers")))
        return refuse(origin, "normalizer", part, expected);
    size_t        growth = 1;
    const json_t *json;
    for (size_t i = 0; (json = sequence_at(part, "normalizers", i)) != NULL; ++i) {
        bal_step *step = next_step(origin, "normalizer", &tokenizer->normalizer);
        if (step == NULL) return BAL_ERR_INPUT;
        if (is_type(json, "Prepend")) {
            step->kind = BAL_STEP_PREPEND;
            BAL_TRY(read_step_string(tokenizer, origin, "the text of a Prepend",
                                     json_object_get(json, "prepend"), true, &step->content,
                                     &step->n_content));
        } else if (is_type(json, "Replace")) {
            BAL_TRY(read_replace(tokenizer, origin, "normalizer", json, step, &growth));
        } else {
            return refuse(origin, "normalizer", json, expected);
        }
    }
    return BAL_OK;
}

/* Steps before Fuse work on single tokens, those after it on the whole text. */
static bal_status read_decoder(bal_tokenizer *tokenizer, const char *origin, const json_t *part)
{
    static const char expected[] =
        "Replace, ByteFallback, Fuse and Strip, alone or in one Sequence \"decoders\"";
    if (part == NULL || json_is_null(part) ||
        (is_type(part, "Sequence") && !json_is_array(json_object_get(part, "decoders"))))
        return refuse(origin, "decoder", part, expected);
    bal_steps    *steps  = &tokenizer->decoder;
    size_t        growth = 1;
    bool          bytes  = false;
    const json_t *json;
    for (size_t i = 0; (json = sequence_at(part, "decoders", i)) != NULL; ++i) {
        if (is_type(json, "Fuse")) {
            steps = &tokenizer->decoder_fused;
            continue;
        }
        /* Bytes are joined to characters by ByteFallback: a step between it and Fuse would see
         * several tokens at once. */
        if (bytes && steps == &tokenizer->decoder)
            return refuse(origin, "decoder step after ByteFallback", json, "Fuse");
        bal_step *step = next_step(origin, "decoder", steps);
        if (step == NULL) return BAL_ERR_INPUT;
        if (is_type(json, "Replace")) {
            BAL_TRY(read_replace(tokenizer, origin, "decoder", json, step, &growth));
        } else if (is_type(json, "Strip")) {
            BAL_TRY(read_strip(tokenizer, origin, json, step));
        } else if (is_type(json, "ByteFallback") && steps == &tokenizer->decoder) {
            step->kind = BAL_STEP_BYTE;
            bytes      = true;
        } else {
            return refuse(origin, "decoder", json, expected);
        }
    }
    return BAL_OK;
}

/* Options of the model that would change its tokens. */
static bal_status read_model_options(bal_tokenizer *tokenizer, const char *origin,
                                     const json_t *model)
{
    static const char *const off[] = {"dropout", "continuing_subword_prefix", "end_of_word_suffix",
                                      "ignore_merges"};
    for (size_t i = 0; i < sizeof off / sizeof *off; ++i) {
        const json_t *value  = json_object_get(model, off[i]);
        bool          is_off = value == NULL || json_is_null(value) || json_is_false(value) ||
                      (json_is_string(value) && json_string_length(value) == 0) ||
                      (json_is_number(value) && !(json_number_value(value) != 0));
        if (!is_off) {
            char part[64];
            snprintf(part, sizeof part, "model.%s", off[i]);
            return refuse(origin, part, value, "null, false or nothing");
        }
    }
    tokenizer->fuse_unknown = json_is_true(json_object_get(model, "fuse_unk"));
    return BAL_OK;
}

/* @return the id, -1 and a sentence if it is none. */
static int32_t read_id(const bal_tokenizer *tokenizer, const char *origin, const char *content,
                       const json_t *value)
{
    json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
    /* a token takes some bytes of the file: no id is larger than the file, unless damaged */
    if (id >= 0 && id < tokenizer->n_ids && (uint64_t)id < tokenizer->n_source) return (int32_t)id;
    bal_fail(BAL_ERR_INPUT,
             "%s: token \"%.40s\" has id %lld; expected 0 to %lld, as the model has %lld tokens "
             "and the file %zu bytes",
             origin, content, (long long)id, (long long)tokenizer->n_ids - 1,
             (long long)tokenizer->n_ids, tokenizer->n_source);
    return -1;
}

static bal_status put_token(bal_tokenizer *tokenizer, const char *origin, int32_t id,
                            const char *content, size_t n_bytes)
{
    bal_token *token = &tokenizer->tokens[id];
    if (token->bytes != NULL)
        return bal_fail(
            BAL_ERR_INPUT, "%s: id %d is both \"%.*s\" and \"%.40s\"; expected one token per id",
            origin, id, (int)(token->n_bytes < 40 ? token->n_bytes : 40), token->bytes, content);
    token->bytes   = keep(tokenizer, content, n_bytes);
    token->n_bytes = n_bytes;
    return BAL_OK;
}

static bal_status read_vocab(bal_tokenizer *tokenizer, const char *origin, const json_t *vocab,
                             const json_t *added)
{
    const char   *content;
    const json_t *value;
    size_t        i;
    int32_t       id, highest = -1;
    json_t       *entries = (json_t *)(uintptr_t)vocab; /* jansson's loop only reads */
    json_object_foreach(entries, content, value)
    {
        id = read_id(tokenizer, origin, content, value);
        if (id < 0) return BAL_ERR_INPUT;
        if (id > highest) highest = id;
    }
    json_array_foreach(added, i, value)
    {
        content = json_string_value(json_object_get(value, "content"));
        if (content == NULL)
            return bal_fail(BAL_ERR_INPUT,
                            "%s: added_tokens[%zu] has no content; expected a string", origin, i);
        id = read_id(tokenizer, origin, content, json_object_get(value, "id"));
        if (id < 0) return BAL_ERR_INPUT;
        if (id > highest) highest = id;
    }
    if (highest < 0) return refuse(origin, "model.vocab", vocab, "tokens");
    tokenizer->n_tokens = highest + 1;
    tokenizer->tokens   = bal_alloc((size_t)highest + 1, sizeof *tokenizer->tokens);
    if (tokenizer->tokens == NULL) return BAL_ERR_MEMORY;
    json_object_foreach(entries, content, value)
    {
        id = (int32_t)json_integer_value(value);
        BAL_TRY(put_token(tokenizer, origin, id, content, strlen(content)));
    }
    return bal_tokens_index(tokenizer);
}

/* Longest first; among equals, the lowest id first, so that the order is always the same. */
static int compare_added(const void *a, const void *b)
{
    const bal_added *left = a, *right = b;
    if (left->pattern.n != right->pattern.n) return left->pattern.n < right->pattern.n ? 1 : -1;
    return (left->id > right->id) - (left->id < right->id);
}

static bal_status read_added(bal_tokenizer *tokenizer, const char *origin, const json_t *added)
{
    tokenizer->added = bal_alloc(json_array_size(added), sizeof *tokenizer->added);
    if (tokenizer->added == NULL) return BAL_ERR_MEMORY;
    const json_t *json;
    size_t        i;
    json_array_foreach(added, i, json)
    {
        static const char *const off[] = {"single_word", "lstrip", "rstrip"};
        for (size_t j = 0; j < sizeof off / sizeof *off; ++j)
            if (json_is_true(json_object_get(json, off[j])))
                return bal_fail(BAL_ERR_INPUT,
                                "%s: added_tokens[%zu] sets %s, which is not supported; expected "
                                "false",
                                origin, i, off[j]);
        const json_t *value   = json_object_get(json, "content");
        const char   *content = json_string_value(value);
        size_t        n_bytes = json_string_length(value);
        int32_t       id      = (int32_t)json_integer_value(json_object_get(json, "id"));
        int32_t       known   = bal_tokens_find(tokenizer, content, n_bytes);
        if (known >= 0 && known != id)
            return bal_fail(BAL_ERR_INPUT,
                            "%s: \"%.40s\" has id %d in added_tokens and %d in model.vocab", origin,
                            content, id, known);
        if (known < 0) BAL_TRY(put_token(tokenizer, origin, id, content, n_bytes));
        tokenizer->tokens[id].special = json_is_true(json_object_get(json, "special"));
        if (n_bytes == 0) continue;
        bal_added *new  = &tokenizer->added[tokenizer->n_added++];
        new->id         = id;
        new->normalized = json_is_true(json_object_get(json, "normalized"));
        BAL_TRY(bal_bytes_add(&new->pattern, content, n_bytes));
        if (new->normalized) BAL_TRY(bal_steps_apply(&tokenizer->normalizer, &new->pattern));
        if (new->pattern.n == 0) /* the normalizer left nothing of it: never found */
            free(tokenizer->added[--tokenizer->n_added].pattern.data);
        else
            tokenizer->added_start[new->normalized][(unsigned char)new->pattern.data[0]] = true;
    }
    qsort(tokenizer->added, (size_t)tokenizer->n_added, sizeof *tokenizer->added, compare_added);
    return BAL_OK;
}

/* One merge is "left right" or ["left", "right"]. */
static bal_status read_merge(bal_tokenizer *tokenizer, const char *origin, const json_t *json,
                             size_t rank, bal_bytes *whole)
{
    const char *left, *right;
    size_t      n_left, n_right;
    if (json_is_string(json)) {
        left                = json_string_value(json);
        size_t      n_bytes = json_string_length(json);
        const char *space   = memchr(left, ' ', n_bytes);
        n_left              = space != NULL ? (size_t)(space - left) : n_bytes;
        n_right             = space != NULL ? n_bytes - n_left - 1 : 0;
        right               = left + n_bytes - n_right;
    } else {
        const json_t *first = json_array_get(json, 0), *second = json_array_get(json, 1);
        left    = json_string_value(first);
        n_left  = json_string_length(first);
        right   = json_string_value(second);
        n_right = json_string_length(second);
    }
    if (n_left == 0 || n_right == 0 || (json_is_array(json) && json_array_size(json) != 2))
        return bal_fail(BAL_ERR_INPUT,
                        "%s: model.merges[%zu] is no pair; expected \"left right\" or "
                        "[\"left\", \"right\"]",
                        origin, rank);
    whole->n = 0;
    BAL_TRY(bal_bytes_add(whole, left, n_left));
    BAL_TRY(bal_bytes_add(whole, right, n_right));
    bal_merge merge = {.left     = bal_tokens_find(tokenizer, left, n_left),
                       .right    = bal_tokens_find(tokenizer, right, n_right),
                       .merged   = bal_tokens_find(tokenizer, whole->data, whole->n),
                       .priority = (uint32_t)rank};
    if (merge.left < 0 || merge.right < 0 || merge.merged < 0)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: model.merges[%zu] joins \"%.*s\" and \"%.*s\"; expected both and "
                        "their union in model.vocab",
                        origin, rank, (int)(n_left < 40 ? n_left : 40), left,
                        (int)(n_right < 40 ? n_right : 40), right);
    *bal_merges_find(tokenizer, merge.left, merge.right) = merge;
    return BAL_OK;
}

static bal_status read_merges(bal_tokenizer *tokenizer, const char *origin, const json_t *merges)
{
    if (!json_is_array(merges)) return refuse(origin, "model.merges", merges, "an array");
    BAL_TRY(bal_merges_create(tokenizer, json_array_size(merges)));
    bal_bytes  whole  = {0};
    bal_status status = BAL_OK;
    for (size_t i = 0; i < json_array_size(merges) && status == BAL_OK; ++i)
        status = read_merge(tokenizer, origin, json_array_get(merges, i), i, &whole);
    free(whole.data);
    return status;
}

/* Byte tokens and the unknown token. */
static bal_status read_fallback(bal_tokenizer *tokenizer, const char *origin, const json_t *model)
{
    if (json_is_true(json_object_get(model, "byte_fallback")))
        for (int byte = 0; byte < 256; ++byte) {
            char name[8];
            snprintf(name, sizeof name, "<0x%02X>", (unsigned)byte);
            tokenizer->byte_ids[byte] = bal_tokens_find(tokenizer, name, 6);
        }
    const json_t *unknown = json_object_get(model, "unk_token");
    if (unknown == NULL || json_is_null(unknown)) return BAL_OK;
    tokenizer->unknown =
        json_is_string(unknown)
            ? bal_tokens_find(tokenizer, json_string_value(unknown), json_string_length(unknown))
            : -1;
    if (tokenizer->unknown < 0)
        return refuse(origin, "model.unk_token", unknown, "null or a token of model.vocab");
    return BAL_OK;
}

/* The first of names that is a special token. */
static int32_t find_special(const bal_tokenizer *tokenizer, const char *const *names)
{
    for (; *names != NULL; ++names)
        for (int32_t id = 0; id < tokenizer->n_tokens; ++id) {
            const bal_token *token = &tokenizer->tokens[id];
            if (token->special && token->n_bytes == strlen(*names) &&
                memcmp(token->bytes, *names, token->n_bytes) == 0)
                return id;
        }
    return -1;
}

static bal_status read_start_and_end(bal_tokenizer *tokenizer, const char *origin,
                                     const json_t *post)
{
    static const char *const starts[] = {"<s>", "<|start_story|>", NULL};
    static const char *const ends[] = {"<|end_story|>", "</s>", "<|endoftext|>", "<|end_of_text|>",
                                       NULL};
    tokenizer->bos                  = find_special(tokenizer, starts);
    tokenizer->eos                  = find_special(tokenizer, ends);
    if (post == NULL || json_is_null(post)) return BAL_OK;
    if (!is_type(post, "TemplateProcessing"))
        return refuse(origin, "post_processor", post, "null or TemplateProcessing");
    /* a special token after the text's own place ends it */
    const json_t *first = json_array_get(json_object_get(post, "single"), 0);
    const json_t *named = json_object_get(json_object_get(first, "SpecialToken"), "id");
    if (named == NULL) return BAL_OK;
    const json_t *special = json_object_get(post, "special_tokens");
    const json_t *ids =
        json_is_string(named)
            ? json_object_get(json_object_get(special, json_string_value(named)), "ids")
            : NULL;
    json_int_t id = json_integer_value(json_array_get(ids, 0));
    if (json_array_size(ids) != 1 || id < 0 || id >= tokenizer->n_tokens)
        return refuse(origin, "the id of post_processor's first special token", ids,
                      "a list of one id of the vocabulary");
    tokenizer->bos = (int32_t)id;
    return BAL_OK;
}

static bal_status read_parts(bal_tokenizer *tokenizer, const char *origin, const json_t *root)
{
    const json_t *model = json_object_get(root, "model");
    const json_t *vocab = json_object_get(model, "vocab");
    const json_t *added = json_object_get(root, "added_tokens");
    const json_t *pre   = json_object_get(root, "pre_tokenizer");
    if (!is_type(model, "BPE")) return refuse(origin, "model", model, "type \"BPE\"");
    if (pre != NULL && !json_is_null(pre)) return refuse(origin, "pre_tokenizer", pre, "null");
    if (!json_is_object(vocab)) return refuse(origin, "model.vocab", vocab, "an object");
    if (added != NULL && !json_is_null(added) && !json_is_array(added))
        return refuse(origin, "added_tokens", added, "an array");
    BAL_TRY(read_normalizer(tokenizer, origin, json_object_get(root, "normalizer")));
    BAL_TRY(read_decoder(tokenizer, origin, json_object_get(root, "decoder")));
    BAL_TRY(read_model_options(tokenizer, origin, model));
    BAL_TRY(read_vocab(tokenizer, origin, vocab, added));
    BAL_TRY(read_merges(tokenizer, origin, json_object_get(model, "merges")));
    BAL_TRY(read_fallback(tokenizer, origin, model));
    BAL_TRY(read_added(tokenizer, origin, added));
    return read_start_and_end(tokenizer, origin, json_object_get(root, "post_processor"));
}

bal_status bal_hf_read(bal_tokenizer *tokenizer, const char *origin)
{
    tokenizer->strings = bal_alloc(tokenizer->n_source, 1);
    if (tokenizer->strings == NULL) return BAL_ERR_MEMORY;
    json_error_t error;
    json_t      *root =
        json_loadb(tokenizer->source, tokenizer->n_source, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL)
        return json_error_code(&error) == json_error_out_of_memory
                   ? BAL_ERR_MEMORY
                   : bal_fail(BAL_ERR_INPUT, "%s:%d: %s; expected a tokenizer in JSON", origin,
                              error.line, error.text);
    bal_status status = read_parts(tokenizer, origin, root);
    json_decref(root);
    return status;
}
