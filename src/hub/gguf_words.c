/* gguf_words.c: tokens of the kind "gpt2", letters that stand for bytes and are merged by rank, as
 * a tokenizer.json. */
#include <string.h>

#include "gguf.h"

static bal_status no_memory(const bal_gguf_vocab *v)
{
    return bal_fail(BAL_ERR_MEMORY, "%s: no memory for its tokens", v->file->origin);
}

/* A token that is cut out of a text before all else, as the model was trained with it. */
static bool append_added(json_t *added, json_t *content, int64_t id, bool special)
{
    json_t *entry = json_pack("{s:I, s:O, s:b, s:b, s:b, s:b, s:b}", "id", (json_int_t)id,
                              "content", content, "single_word", 0, "lstrip", 0, "rstrip", 0,
                              "normalized", 0, "special", (int)special);
    return json_array_append_new(added, entry) == 0;
}

/* Token by token; ids without a token are left out. */
static bal_status read_tokens(const bal_gguf_vocab *v, json_t *vocab, json_t *added)
{
    const uint8_t *at = v->tokens;
    for (int64_t id = 0; id < v->n; ++id) {
        size_t n;
        const char *text = bal_gguf_next(&at, &n);
        bal_token_kind kind = bal_gguf_kind_of(v, id);
        if (kind == BAL_TOKEN_UNUSED) continue;
        json_t *content = memchr(text, 0, n) == NULL ? json_stringn(text, n) : NULL;
        if (content == NULL || n == 0) {
            json_decref(content);
            return bal_fail(BAL_ERR_INPUT, "%s: token %lld is no UTF-8 text", v->file->origin,
                            (long long)id);
        }
        const char *word = json_string_value(content);
        const json_t *same = json_object_get(vocab, word);
        bal_status status = BAL_OK;
        if (same != NULL)
            status = bal_fail(BAL_ERR_INPUT, "%s: tokens %lld and %lld are the same",
                              v->file->origin, (long long)json_integer_value(same), (long long)id);
        else if (json_object_set_new(vocab, word, json_integer(id)) != 0 ||
                 (kind != BAL_TOKEN_NORMAL &&
                  !append_added(added, content, id, kind != BAL_TOKEN_USER_DEFINED)))
            status = no_memory(v);
        json_decref(content);
        BAL_TRY(status);
    }
    return BAL_OK;
}

static bal_status read_merges(const bal_gguf_vocab *v, json_t *merges)
{
    static const char key[] = "tokenizer.ggml.merges";
    const bal_gguf_value *list;
    BAL_TRY(bal_gguf_get_list(v->file, key, BAL_GGUF_STRING, -1, &list));
    const uint8_t *at = list->data;
    for (uint64_t i = 0; i < list->n; ++i) {
        size_t n;
        const char *text = bal_gguf_next(&at, &n);
        json_t *pair = json_stringn(text, n);
        if (pair == NULL)
            return bal_fail(BAL_ERR_INPUT, "%s: element %llu of %s is no UTF-8 text",
                            v->file->origin, (unsigned long long)i, key);
        if (json_array_append_new(merges, pair) != 0) return no_memory(v);
    }
    return BAL_OK;
}

static json_t *make_root(const bal_gguf_vocab *v, const bal_gguf_split *split, json_t *vocab,
                         json_t *merges, json_t *added)
{
    json_t *model = json_pack(
        "{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:O, s:O}", "type", "BPE", "dropout", "unk_token",
        "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0, "byte_fallback", 0,
        "ignore_merges", (int)split->whole_words, "vocab", vocab, "merges", merges);
    json_t *letters = json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 1,
                                "trim_offsets", 0, "use_regex", 1);
    return json_pack("{s:s, s:n, s:n, s:O, s:o, s:o, s:o, s:o, s:o}", "version", "1.0",
                     "truncation", "padding", "added_tokens", added, "normalizer",
                     split->composed ? json_pack("{s:s}", "type", "NFC") : json_null(),
                     "pre_tokenizer", bal_gguf_split_json(split, v->prefix), "post_processor",
                     letters, "decoder", json_incref(letters), "model", model);
}

bal_status bal_gguf_add_words(bal_gguf_vocab *v, bal_files *files)
{
    static const char key[] = "tokenizer.ggml.pre";
    char name[BAL_GGUF_KEY_BYTES], known[96], expected[128];
    BAL_TRY(bal_gguf_get_text(v->file, key, "default", name));
    const bal_gguf_split *split = bal_gguf_split_of_name(name);
    bal_gguf_split_list(known, sizeof known);
    snprintf(expected, sizeof expected, "one of %s", known);
    if (split == NULL) return bal_gguf_refuse(v->file, key, expected);
    v->bos = split->bos;
    json_t *vocab = json_object(), *merges = json_array(), *added = json_array();
    bal_status status = read_tokens(v, vocab, added);
    if (status == BAL_OK) status = read_merges(v, merges);
    if (status == BAL_OK)
        status =
            bal_gguf_add_json("tokenizer.json", make_root(v, split, vocab, merges, added), files);
    json_decref(vocab);
    json_decref(merges);
    json_decref(added);
    return status;
}
