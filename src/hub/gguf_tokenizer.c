/* gguf_tokenizer.c: the tokenizer of a GGUF file. Two kinds of llama.cpp matter here: "gpt2", byte
 * letters merged by rank after one of the splits that it knows by name; and "llama", pieces of
 * SentencePiece merged by score. Source: github.com/ggml-org/llama.cpp, src/llama-vocab.cpp and
 * convert_hf_to_gguf.py. */
#include <stdlib.h>
#include <string.h>

#include "gguf.h"

#define SPACE "\xe2\x96\x81" /* a space within a piece */

/* How texts are split, according to the tokenizer's file. */
typedef struct style {
    const char *split; /* the split of "gpt2", as llama.cpp calls it; NULL: "llama" */
    bool plain_spaces; /* the spelling of llama2.c */
} style;

static bal_status refuse(const char *what)
{
    return bal_fail(
        BAL_ERR_INPUT,
        "the tokenizer has %s; a GGUF file can hold byte-level BPE split as GPT-2, "
        "Llama 3, Qwen 2 or SmolLM do, BPE with byte fallback, or SentencePiece of type BPE",
        what);
}

static const char *type_of(const json_t *part)
{
    const char *type = json_string_value(json_object_get(part, "type"));
    return type != NULL ? type : "";
}

/* Step i of a part, which is a step or a Sequence of steps; NULL: there is none. */
static const json_t *step_of(const json_t *part, const char *list, size_t i)
{
    if (strcmp(type_of(part), "Sequence") == 0)
        return json_array_get(json_object_get(part, list), i);
    return i == 0 && !json_is_null(part) ? part : NULL;
}

static const json_t *find_step(const json_t *part, const char *list, const char *type)
{
    const json_t *step;
    for (size_t i = 0; (step = step_of(part, list, i)) != NULL; ++i)
        if (strcmp(type_of(step), type) == 0) return step;
    return NULL;
}

/* Are all steps of one of two types? */
static bool only_has(const json_t *part, const char *list, const char *type, const char *other)
{
    const json_t *step;
    for (size_t i = 0; (step = step_of(part, list, i)) != NULL; ++i)
        if (strcmp(type_of(step), type) != 0 && strcmp(type_of(step), other) != 0) return false;
    return true;
}

static bal_status read_split(const json_t *root, style *s)
{
    const json_t *part = json_object_get(root, "pre_tokenizer");
    if (find_step(part, "pretokenizers", "ByteLevel") == NULL)
        return refuse("a pre_tokenizer without ByteLevel");
    if (!only_has(json_object_get(root, "normalizer"), "normalizers", "NFC", "NFC"))
        return refuse("a normalizer before its byte-level BPE");
    const bal_gguf_split *split = bal_gguf_split_of_json(part);
    if (split == NULL) return refuse("a pre_tokenizer that cuts words in its own way");
    s->split = split->name;
    return BAL_OK;
}

/* BPE with byte fallback: spaces become a letter, and one may be added in front. */
static bal_status check_spaces(const json_t *root)
{
    if (!only_has(json_object_get(root, "normalizer"), "normalizers", "Prepend", "Replace"))
        return refuse("a normalizer that does more than replace spaces");
    if (!only_has(json_object_get(root, "pre_tokenizer"), "pretokenizers", "Metaspace",
                  "Metaspace"))
        return refuse("another pre_tokenizer than Metaspace");
    return BAL_OK;
}

static bal_status read_json(const bal_named_bytes *file, style *s)
{
    json_error_t error;
    json_t *root = bal_json_load(file->bytes, file->n_bytes, JSON_ALLOW_NUL, &error);
    if (root == NULL) /* it has been read before */
        return bal_fail(BAL_ERR_MEMORY, "tokenizer.json: no memory to read it a second time");
    bool fallback = json_is_true(json_object_get(json_object_get(root, "model"), "byte_fallback"));
    bal_status status = fallback ? check_spaces(root) : read_split(root, s);
    json_decref(root);
    return status;
}

static bal_status find_style(const bal_bundle *bundle, style *s)
{
    const bal_named_bytes *file = bal_files_find(&bundle->files, "tokenizer.json");
    bal_merging merging = bal_tokenizer_merging(bundle->tokenizer);
    *s = (style){0};
    if (merging == BAL_MERGING_NONE) return refuse("no merges");
    if (file != NULL) return read_json(file, s);
    if (merging == BAL_MERGING_BY_RANK)
        s->split = "gpt-2"; /* vocab.json and merges.txt */
    else
        s->plain_spaces = bal_files_find(&bundle->files, "tokenizer.model") == NULL;
    return BAL_OK;
}

/* A token as llama.cpp spells it; text is work space. */
static void put_token(bal_gguf_head *head, const style *s, int32_t id, const bal_spelling *token,
                      bal_gguf_bytes *text)
{
    char name[32];
    if (token->bytes == NULL) {
        int n = snprintf(name, sizeof name, "[PAD%d]", (int)id);
        bal_gguf_add_text(head, name, (size_t)n);
    } else if (s->plain_spaces && id < 3) {
        static const char *const names[] = {"<unk>", "<s>", "</s>"};
        bal_gguf_add_text(head, names[id], strlen(names[id]));
    } else if (s->plain_spaces) {
        text->n = 0;
        for (size_t i = 0; i < token->n_bytes; ++i)
            if (token->bytes[i] == ' ')
                bal_gguf_bytes_put(text, SPACE, strlen(SPACE));
            else
                bal_gguf_bytes_put(text, token->bytes + i, 1);
        bal_gguf_add_text(head, (const char *)text->at, text->n);
    } else {
        bal_gguf_add_text(head, token->bytes, token->n_bytes);
    }
}

static bal_status put_tokens(bal_gguf_head *head, const bal_tokenizer *tokenizer, const style *s,
                             int64_t n)
{
    bal_gguf_bytes text = {0};
    bal_spelling token;
    bal_gguf_put_array(head, "tokenizer.ggml.tokens", BAL_GGUF_STRING, n);
    for (int32_t id = 0; id < n; ++id) {
        bal_tokenizer_spell(tokenizer, id, &token);
        put_token(head, s, id, &token, &text);
    }
    free(text.at);
    bal_gguf_put_array(head, "tokenizer.ggml.token_type", BAL_GGUF_INT32, n);
    for (int32_t id = 0; id < n; ++id) {
        bal_tokenizer_spell(tokenizer, id, &token);
        bal_gguf_add_u32(head, (uint32_t)token.kind);
    }
    return text.failed ? bal_fail(BAL_ERR_MEMORY, "no memory for a token") : BAL_OK;
}

/* A pair is written "left right": no letter that stands for a byte is a space. */
static bal_status put_merges(bal_gguf_head *head, const bal_tokenizer *tokenizer)
{
    int32_t(*merges)[3];
    int64_t n;
    BAL_TRY(bal_tokenizer_merges(tokenizer, &merges, &n));
    bal_gguf_bytes text = {0};
    bal_gguf_put_array(head, "tokenizer.ggml.merges", BAL_GGUF_STRING, n);
    for (int64_t i = 0; i < n; ++i) {
        bal_spelling left, right;
        bal_tokenizer_spell(tokenizer, merges[i][0], &left);
        bal_tokenizer_spell(tokenizer, merges[i][1], &right);
        text.n = 0;
        bal_gguf_bytes_put(&text, left.bytes, left.n_bytes);
        bal_gguf_bytes_put(&text, " ", 1);
        bal_gguf_bytes_put(&text, right.bytes, right.n_bytes);
        bal_gguf_add_text(head, (const char *)text.at, text.n);
    }
    free(text.at);
    free(merges);
    return text.failed ? bal_fail(BAL_ERR_MEMORY, "no memory for a merge") : BAL_OK;
}

/* The scores of the file. Without scores, pieces rank by the first merge that makes them, and
 * pieces that no merge makes come last. */
static bal_status put_scores(bal_gguf_head *head, const bal_tokenizer *tokenizer, int64_t n)
{
    int32_t(*merges)[3] = NULL;
    int64_t n_merges = 0;
    float *scores = bal_alloc((size_t)n, sizeof *scores);
    if (scores == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for scores of tokens");
    bool ranked = bal_tokenizer_merging(tokenizer) == BAL_MERGING_BY_RANK;
    bal_status status = ranked ? bal_tokenizer_merges(tokenizer, &merges, &n_merges) : BAL_OK;
    for (int32_t id = 0; id < n && status == BAL_OK; ++id) {
        bal_spelling token;
        bal_tokenizer_spell(tokenizer, id, &token);
        scores[id] = ranked && token.bytes != NULL ? (float)-n_merges : token.score;
    }
    for (int64_t i = n_merges; i-- > 0;) scores[merges[i][2]] = (float)-i;
    if (status == BAL_OK) bal_gguf_put_array(head, "tokenizer.ggml.scores", BAL_GGUF_FLOAT32, n);
    for (int64_t id = 0; id < n && status == BAL_OK; ++id) bal_gguf_add_f32(head, scores[id]);
    free(merges);
    free(scores);
    return status;
}

static bool has(const int32_t *tokens, int64_t n, int32_t id)
{
    for (int64_t i = 0; i < n; ++i)
        if (tokens[i] == id) return true;
    return false;
}

static void put_special(bal_gguf_head *head, const bal_tokenizer *tokenizer)
{
    static const struct {
        bal_special kind;
        const char *key;
    } keys[] = {{BAL_SPECIAL_BOS, "tokenizer.ggml.bos_token_id"},
                {BAL_SPECIAL_EOS, "tokenizer.ggml.eos_token_id"},
                {BAL_SPECIAL_UNKNOWN, "tokenizer.ggml.unknown_token_id"},
                {BAL_SPECIAL_PAD, "tokenizer.ggml.padding_token_id"}};
    int64_t n_before, n_after;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; ++i) {
        int32_t id = bal_tokenizer_special(tokenizer, keys[i].kind);
        if (id >= 0) bal_gguf_put_u32(head, keys[i].key, id);
    }
    const int32_t *before = bal_tokenizer_prefix(tokenizer, &n_before);
    const int32_t *after = bal_tokenizer_suffix(tokenizer, &n_after);
    int32_t bos = bal_tokenizer_special(tokenizer, BAL_SPECIAL_BOS);
    int32_t eos = bal_tokenizer_special(tokenizer, BAL_SPECIAL_EOS);
    bal_gguf_put_bool(head, "tokenizer.ggml.add_bos_token", has(before, n_before, bos));
    bal_gguf_put_bool(head, "tokenizer.ggml.add_eos_token", has(after, n_after, eos));
}

bal_status bal_gguf_put_tokenizer(bal_gguf_head *head, const bal_bundle *bundle)
{
    style s;
    int64_t n = bal_model_shape(bundle->model)->n_vocab;
    BAL_TRY(find_style(bundle, &s));
    const char *model = s.split != NULL ? "gpt2" : "llama", *split = s.split;
    bal_gguf_put_text(head, "tokenizer.ggml.model", model, strlen(model));
    if (split == NULL) split = "default";
    bal_gguf_put_text(head, "tokenizer.ggml.pre", split, strlen(split));
    BAL_TRY(put_tokens(head, bundle->tokenizer, &s, n));
    BAL_TRY(s.split != NULL ? put_merges(head, bundle->tokenizer)
                            : put_scores(head, bundle->tokenizer, n));
    put_special(head, bundle->tokenizer);
    bal_gguf_put_bool(head, "tokenizer.ggml.add_space_prefix",
                      bal_tokenizer_adds_space(bundle->tokenizer));
    return bal_gguf_put_chat(head, &bundle->files);
}
