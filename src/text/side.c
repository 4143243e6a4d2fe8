/* side.c: the small files beside a tokenizer: which tokens are special, which are added to its
 * vocabulary, and which are put around a text. Source: huggingface/transformers 5,
 * tokenization_utils_tokenizers.py. */
#include <stdlib.h>
#include <string.h>

#include "read_impl.h"

const char *const bal_token_names[BAL_NAMED_TOKENS] = {[BAL_SPECIAL_BOS] = "bos_token",
                                                       [BAL_SPECIAL_EOS] = "eos_token",
                                                       [BAL_SPECIAL_UNKNOWN] = "unk_token",
                                                       [BAL_SPECIAL_PAD] = "pad_token",
                                                       [BAL_SPECIAL_MASK] = "mask_token",
                                                       "cls_token",
                                                       "sep_token"};

static bal_status read_one(const bal_files *files, const char *origin, const char *name,
                           json_t **root)
{
    const bal_named_bytes *file = bal_files_find(files, name);
    if (file == NULL) return BAL_OK;
    char place[512];
    snprintf(place, sizeof place, "%.400s/%s", origin, name);
    BAL_TRY(bal_json_parse(place, file->bytes, file->n_bytes, root));
    return json_is_object(*root) ? BAL_OK : bal_json_refuse(place, "the file", *root, "an object");
}

/* Check that a member, unless absent or null, is as expected. */
static bal_status check(const char *origin, const char *file, const char *member,
                        const json_t *value, bool good, const char *expected)
{
    char part[160];
    if (good || value == NULL || json_is_null(value)) return BAL_OK;
    snprintf(part, sizeof part, "%.100s of %s", member, file);
    return bal_json_refuse(origin, part, value, expected);
}

static bool is_id(const json_t *value)
{
    bool good = json_is_integer(value) || json_is_array(value);
    for (size_t i = 0; i < json_array_size(value); ++i)
        good = good && json_is_integer(json_array_get(value, i));
    return good;
}

static bal_status check_named(const char *origin, const bal_side *side)
{
    static const char token[] = "null, a string or an object with content";
    static const char id[] = "null, an id or a list of ids";
    for (int i = 0; i < BAL_NAMED_TOKENS; ++i) {
        const char *name = bal_token_names[i];
        char key[32];
        snprintf(key, sizeof key, "%s_id", name);
        const json_t *said = json_object_get(side->tokenizer_config, name);
        const json_t *mapped = json_object_get(side->special_tokens_map, name);
        const json_t *ids[] = {json_object_get(side->generation_config, key),
                               json_object_get(side->config, key)};
        BAL_TRY(check(origin, "tokenizer_config.json", name, said, bal_token_content(said) != NULL,
                      token));
        BAL_TRY(check(origin, "special_tokens_map.json", name, mapped,
                      bal_token_content(mapped) != NULL, token));
        BAL_TRY(check(origin, "generation_config.json", key, ids[0], is_id(ids[0]), id));
        BAL_TRY(check(origin, "config.json", key, ids[1], is_id(ids[1]), id));
    }
    return BAL_OK;
}

/* {"482": {"content": "<two>"}} and {"<two>": 482} */
static bal_status check_added(const char *origin, const bal_side *side)
{
    const char *key;
    json_t *value, *decoder = json_object_get(side->tokenizer_config, "added_tokens_decoder");
    BAL_TRY(check(origin, "tokenizer_config.json", "added_tokens_decoder", decoder,
                  json_is_object(decoder), "an object"));
    json_object_foreach(decoder, key, value)
    {
        char *end;
        bool good = bal_token_content(value) != NULL && strtoll(key, &end, 10) >= 0 && *end == 0;
        if (!good)
            return bal_fail(BAL_ERR_INPUT,
                            "%s: added_tokens_decoder of tokenizer_config.json has \"%.40s\" in an "
                            "unknown form; expected an id, and an object with content",
                            origin, key);
    }
    json_object_foreach(side->added_tokens, key, value)
    {
        if (!json_is_integer(value))
            return bal_fail(BAL_ERR_INPUT, "%s: added_tokens.json has no id for \"%.40s\"", origin,
                            key);
    }
    return BAL_OK;
}

bal_status bal_side_read(const bal_files *files, const char *origin, bal_side *side)
{
    BAL_TRY(read_one(files, origin, "tokenizer_config.json", &side->tokenizer_config));
    BAL_TRY(read_one(files, origin, "special_tokens_map.json", &side->special_tokens_map));
    BAL_TRY(read_one(files, origin, "added_tokens.json", &side->added_tokens));
    BAL_TRY(read_one(files, origin, "generation_config.json", &side->generation_config));
    BAL_TRY(read_one(files, origin, "config.json", &side->config));
    BAL_TRY(check_named(origin, side));
    return check_added(origin, side);
}

void bal_side_clear(bal_side *side)
{
    json_decref(side->tokenizer_config);
    json_decref(side->special_tokens_map);
    json_decref(side->added_tokens);
    json_decref(side->generation_config);
    json_decref(side->config);
    *side = (bal_side){0};
}

const json_t *bal_side_token(const bal_side *side, const char *name)
{
    const json_t *found = json_object_get(side->tokenizer_config, name);
    return found != NULL ? found : json_object_get(side->special_tokens_map, name);
}

const char *bal_token_content(const json_t *token)
{
    return json_string_value(json_is_object(token) ? json_object_get(token, "content") : token);
}

/* Tokens in the form of tokenizer.json, and sets of their ids and contents. */
typedef struct token_list {
    json_t *all, *ids, *contents;
} token_list;

/* Append a token unless it is there: with the flags of an object, or special. @return false: no
 * memory. */
static bool put(token_list *list, const char *content, json_int_t id, const json_t *flags,
                bool special)
{
    char key[24];
    snprintf(key, sizeof key, "%lld", (long long)id);
    if (json_object_get(list->ids, key) != NULL || json_object_get(list->contents, content) != NULL)
        return true;
    json_t *entry = json_is_object(flags) ? json_copy((json_t *)(uintptr_t)flags) : json_object();
    bool whole = entry != NULL && json_object_set_new(entry, "id", json_integer(id)) == 0 &&
                 json_object_set_new(entry, "content", json_string(content)) == 0 &&
                 (!special || json_object_set_new(entry, "special", json_true()) == 0) &&
                 json_object_set_new(list->ids, key, json_true()) == 0 &&
                 json_object_set_new(list->contents, content, json_true()) == 0;
    if (!whole) {
        json_decref(entry);
        return false;
    }
    return json_array_append_new(list->all, entry) == 0;
}

static bool put_all(token_list *list, const bal_side *side, const json_t *vocab,
                    const char *const names[BAL_NAMED_TOKENS], int64_t first)
{
    const char *key;
    json_t *value, *decoder = json_object_get(side->tokenizer_config, "added_tokens_decoder");
    json_object_foreach(decoder, key, value)
    {
        long long id = strtoll(key, NULL, 10);
        if (id >= first && !put(list, bal_token_content(value), id, value, false)) return false;
    }
    json_object_foreach(side->added_tokens, key, value)
    {
        json_int_t id = json_integer_value(value);
        if (id >= first && !put(list, key, id, NULL, false)) return false;
    }
    for (int i = 0; i < BAL_NAMED_TOKENS; ++i) {
        const json_t *said = bal_side_token(side, bal_token_names[i]);
        const char *content = said != NULL ? bal_token_content(said) : names[i];
        const json_t *id = content != NULL ? json_object_get(vocab, content) : NULL;
        if (json_is_integer(id) && !put(list, content, json_integer_value(id), said, true))
            return false;
    }
    return true;
}

bal_status bal_side_added(const bal_side *side, const json_t *vocab,
                          const char *const names[BAL_NAMED_TOKENS], int64_t first, json_t **added)
{
    token_list list = {json_array(), json_object(), json_object()};
    bool whole = list.all != NULL && list.ids != NULL && list.contents != NULL &&
                 put_all(&list, side, vocab, names, first);
    json_decref(list.ids);
    json_decref(list.contents);
    if (!whole) json_decref(list.all);
    *added = whole ? list.all : NULL;
    return whole ? BAL_OK : BAL_ERR_MEMORY;
}

int32_t bal_side_find(const bal_tokenizer *tokenizer, const char *bytes)
{
    size_t n = strlen(bytes);
    for (int32_t id = 0; id < tokenizer->vocab.n_tokens; ++id) {
        const bal_token *token = &tokenizer->vocab.tokens[id];
        if (token->n_bytes == n && n > 0 && memcmp(token->bytes, bytes, n) == 0) return id;
    }
    return -1;
}

/* "bos_token_id" of the configurations: a number, or a list of which the first counts. */
static int32_t configured(const bal_tokenizer *tokenizer, const bal_side *side, const char *name)
{
    const json_t *roots[] = {side->generation_config, side->config};
    char key[32];
    snprintf(key, sizeof key, "%s_id", name);
    for (int i = 0; i < 2; ++i) {
        const json_t *value = json_object_get(roots[i], key);
        if (json_is_array(value)) value = json_array_get(value, 0);
        json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
        if (id >= 0 && id < tokenizer->vocab.n_tokens) return (int32_t)id;
    }
    return -1;
}

/* All of a list of end tokens, which chat models have. */
static bal_status read_ends(bal_tokenizer *tokenizer, const bal_side *side)
{
    const json_t *roots[] = {side->generation_config, side->config};
    for (int i = 0; i < 2 && tokenizer->specials.n_ends == 0; ++i) {
        const json_t *list = json_object_get(roots[i], "eos_token_id"), *value;
        size_t at;
        json_array_foreach(list, at, value)
        {
            json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
            if (id < 0 || id >= tokenizer->vocab.n_ids) continue;
            if (tokenizer->specials.n_ends == BAL_ENDS_MAX)
                return bal_fail(BAL_ERR_INPUT, "%s: eos_token_id lists more than %d tokens",
                                tokenizer->origin, BAL_ENDS_MAX);
            tokenizer->specials.ends[tokenizer->specials.n_ends++] = (int32_t)id;
        }
    }
    return BAL_OK;
}

/* Find it by its usual names, if no file names it; it must be marked as special. */
static int32_t guessed(const bal_tokenizer *tokenizer, int kind)
{
    static const char *const names[][6] = {
        [BAL_SPECIAL_BOS] = {"<s>", "<|start_story|>"},
        [BAL_SPECIAL_EOS] = {"<|end_story|>", "</s>", "<|endoftext|>", "<|end_of_text|>"},
        [BAL_SPECIAL_UNKNOWN] = {"<unk>", "[UNK]"},
        [BAL_SPECIAL_PAD] = {"<pad>", "[PAD]"},
        [BAL_SPECIAL_MASK] = {"<mask>", "[MASK]"}};
    /* without an end token, what comes before a text is its start token */
    if (kind == BAL_SPECIAL_BOS && tokenizer->specials.n_before > 0 &&
        tokenizer->specials.n_after == 0)
        return tokenizer->specials.before[0];
    if (kind == BAL_SPECIAL_UNKNOWN && tokenizer->subword.unknown >= 0)
        return tokenizer->subword.unknown;
    for (int i = 0; i < 6 && names[kind][i] != NULL; ++i) {
        int32_t id = bal_side_find(tokenizer, names[kind][i]);
        if (id >= 0 && tokenizer->vocab.tokens[id].special) return id;
    }
    return -1;
}

/* add_bos_token and add_eos_token, if present, each decide for one side of a text. */
static bal_status set_affix(const bal_tokenizer *tokenizer, const bal_side *side, const char *name,
                            int32_t id, int32_t *ids, int64_t *n)
{
    const json_t *flag = json_object_get(side->tokenizer_config, name);
    bool is;
    BAL_TRY(bal_json_bool(tokenizer, "tokenizer_config.json", side->tokenizer_config, name, false,
                          &is));
    if (!json_is_boolean(flag)) return BAL_OK;
    *n = is && id >= 0;
    ids[0] = id;
    return BAL_OK;
}

bal_status bal_side_apply(bal_tokenizer *tokenizer, const bal_side *side)
{
    for (int kind = 0; kind <= BAL_SPECIAL_MASK; ++kind) {
        const char *name = bal_token_names[kind];
        const json_t *said = bal_side_token(side, name);
        const char *content = bal_token_content(said);
        int32_t *id = &tokenizer->specials.ids[kind];
        if (tokenizer->kind == BAL_TOKENIZER_LLAMA2C) continue;
        if (said != NULL) {
            *id = content != NULL ? bal_side_find(tokenizer, content) : -1;
        } else {
            int32_t other = configured(tokenizer, side, name);
            if (other >= 0)
                *id = other;
            else if (*id < 0)
                *id = guessed(tokenizer, kind);
        }
    }
    BAL_TRY(read_ends(tokenizer, side));
    if (tokenizer->specials.fixed_affixes) return BAL_OK;
    BAL_TRY(set_affix(tokenizer, side, "add_bos_token", tokenizer->specials.ids[BAL_SPECIAL_BOS],
                      tokenizer->specials.before, &tokenizer->specials.n_before));
    return set_affix(tokenizer, side, "add_eos_token", tokenizer->specials.ids[BAL_SPECIAL_EOS],
                     tokenizer->specials.after, &tokenizer->specials.n_after);
}
