/* vocab_files.c: reads older forms: vocab.json with merges.txt of GPT-2 and RoBERTa, and vocab.txt
 * of BERT. A tokenizer.json can describe the same tokenizers, so its parts are made here. Source:
 * huggingface/transformers 5, models gpt2, roberta and bert. */
#include <string.h>

#include "read_impl.h"

/* Read a part that was made here, and release it. */
static bal_status use(bal_tokenizer *tokenizer, json_t *part,
                      bal_status (*read)(bal_tokenizer *, const json_t *))
{
    bal_status status = part != NULL ? read(tokenizer, part) : BAL_ERR_MEMORY;
    json_decref(part);
    return status;
}

/* A flag of tokenizer_config.json. */
static bal_status read_flag(const bal_tokenizer *tokenizer, const bal_side *side, const char *name,
                            bool otherwise, bool *flag)
{
    return bal_json_bool(tokenizer, "tokenizer_config.json", side->tokenizer_config, name,
                         otherwise, flag);
}

static bool is_roberta(const bal_side *side)
{
    const char *words[] = {
        json_string_value(json_object_get(side->tokenizer_config, "tokenizer_class")),
        json_string_value(json_object_get(side->config, "model_type"))};
    const char *word = words[0] != NULL ? words[0] : words[1];
    return word != NULL && strcasestr(word, "roberta") != NULL;
}

/* Lines "left right"; "#version" is a comment. */
static bal_status read_merges(bal_tokenizer *tokenizer, const bal_named_bytes *file)
{
    const char *at = (const char *)file->bytes, *end = at + file->n_bytes, *line_end;
    size_t n = 0, rank = 0;
    for (const char *c = at; c < end; ++c) n += *c == '\n';
    BAL_TRY(bal_merges_create(tokenizer, n + 1));
    for (size_t line = 1; at < end; at = line_end + 1, ++line) {
        line_end = memchr(at, '\n', (size_t)(end - at));
        if (line_end == NULL) line_end = end;
        size_t n_bytes = (size_t)(line_end - at);
        if (n_bytes > 0 && at[n_bytes - 1] == '\r') --n_bytes;
        if (n_bytes == 0 || (n_bytes >= 8 && memcmp(at, "#version", 8) == 0)) continue;
        const char *space = memchr(at, ' ', n_bytes);
        size_t n_left = space != NULL ? (size_t)(space - at) : n_bytes;
        size_t n_right = space != NULL ? n_bytes - n_left - 1 : 0;
        if (n_left == 0 || n_right == 0 || memchr(space + 1, ' ', n_right) != NULL)
            return bal_fail(BAL_ERR_INPUT,
                            "%s: line %zu of merges.txt is not a pair; expected \"left right\"",
                            tokenizer->origin, line);
        BAL_TRY(
            bal_merges_put(tokenizer, "merges.txt: merge", rank++, at, n_left, space + 1, n_right));
    }
    return BAL_OK;
}

/* The vocabulary, the added tokens, and the special tokens, by their usual names. */
static bal_status read_tokens(bal_tokenizer *tokenizer, const json_t *vocab, const bal_side *side,
                              const char *const names[BAL_NAMED_TOKENS], json_t **added)
{
    if (!json_is_object(vocab))
        return bal_json_refuse(tokenizer->origin, "the vocabulary", vocab, "an object");
    BAL_TRY(bal_side_added(side, vocab, names, 0, added));
    BAL_TRY(bal_vocab_read(tokenizer, vocab, *added));
    for (int kind = 0; kind <= BAL_SPECIAL_MASK; ++kind)
        if (names[kind] != NULL)
            tokenizer->specials.ids[kind] = bal_side_find(tokenizer, names[kind]);
    return BAL_OK;
}

/* What starts and ends every text, by name. */
static void put_around(bal_tokenizer *tokenizer, const bal_side *side,
                       const char *const names[BAL_NAMED_TOKENS])
{
    int32_t ids[2];
    for (int i = 0; i < 2; ++i) { /* cls_token, sep_token */
        const char *said =
            bal_token_content(bal_side_token(side, bal_token_names[BAL_NAMED_TOKENS - 2 + i]));
        ids[i] = bal_side_find(tokenizer, said != NULL ? said : names[BAL_NAMED_TOKENS - 2 + i]);
    }
    tokenizer->specials.fixed_affixes = true;
    tokenizer->specials.before[0] = ids[0];
    tokenizer->specials.n_before = ids[0] >= 0;
    tokenizer->specials.after[0] = ids[1];
    tokenizer->specials.n_after = ids[1] >= 0;
}

static bal_status use_vocab_and_merges(bal_tokenizer *tokenizer, const json_t *vocab,
                                       const bal_named_bytes *merges, const bal_side *side,
                                       json_t **added)
{
    static const char *const gpt2[BAL_NAMED_TOKENS] = {"<|endoftext|>", "<|endoftext|>",
                                                       "<|endoftext|>", NULL};
    static const char *const roberta[BAL_NAMED_TOKENS] = {"<s>",    "</s>", "<unk>", "<pad>",
                                                          "<mask>", "<s>",  "</s>"};
    bool is = is_roberta(side);
    bool add;
    BAL_TRY(read_flag(tokenizer, side, "add_prefix_space", false, &add));
    BAL_TRY(read_tokens(tokenizer, vocab, side, is ? roberta : gpt2, added));
    BAL_TRY(read_merges(tokenizer, merges));
    BAL_TRY(use(tokenizer,
                json_pack("{s:s,s:b}", "type", "ByteLevel", "add_prefix_space", (int)add),
                bal_splits_read));
    BAL_TRY(use(tokenizer, json_pack("{s:s}", "type", "ByteLevel"), bal_decoder_read));
    BAL_TRY(bal_added_read(tokenizer, *added));
    if (is) put_around(tokenizer, side, roberta);
    return BAL_OK;
}

bal_status bal_vocab_and_merges_read(bal_tokenizer *tokenizer, const bal_named_bytes *vocab,
                                     const bal_named_bytes *merges, const bal_side *side)
{
    json_t *root, *added = NULL;
    BAL_TRY(bal_json_parse(tokenizer->origin, vocab->bytes, vocab->n_bytes, &root));
    bal_status status = use_vocab_and_merges(tokenizer, root, merges, side, &added);
    json_decref(added);
    json_decref(root);
    return status;
}

/* One token per line; its id is the number of the line. Of equal lines the last counts. */
static bal_status read_lines(bal_tokenizer *tokenizer, const bal_named_bytes *file, json_t *vocab)
{
    const char *at = (const char *)file->bytes, *end = at + file->n_bytes, *line_end;
    for (json_int_t id = 0; at < end; at = line_end + 1, ++id) {
        line_end = memchr(at, '\n', (size_t)(end - at));
        if (line_end == NULL) line_end = end;
        size_t n_bytes = (size_t)(line_end - at);
        if (n_bytes > 0 && at[n_bytes - 1] == '\r') --n_bytes;
        char line[1024];
        if (n_bytes >= sizeof line || memchr(at, 0, n_bytes) != NULL)
            return bal_fail(BAL_ERR_INPUT, "%s: line %lld has %zu bytes; expected at most %zu",
                            tokenizer->origin, (long long)id + 1, n_bytes, sizeof line - 1);
        memcpy(line, at, n_bytes);
        line[n_bytes] = 0;
        if (n_bytes > 0 && json_object_set_new(vocab, line, json_integer(id)) != 0)
            return bal_fail(BAL_ERR_INPUT, "%s: line %lld is not UTF-8", tokenizer->origin,
                            (long long)id + 1);
    }
    return BAL_OK;
}

static bal_status use_vocab_txt(bal_tokenizer *tokenizer, const json_t *vocab, const bal_side *side,
                                json_t **added)
{
    static const char *const names[BAL_NAMED_TOKENS] = {NULL,     NULL,    "[UNK]", "[PAD]",
                                                        "[MASK]", "[CLS]", "[SEP]"};
    bool lower, accents, chinese;
    BAL_TRY(read_flag(tokenizer, side, "do_lower_case", true, &lower));
    BAL_TRY(read_flag(tokenizer, side, "strip_accents", lower, &accents));
    BAL_TRY(read_flag(tokenizer, side, "tokenize_chinese_chars", true, &chinese));
    json_t *form = json_pack("{s:s,s:b,s:b,s:b}", "type", "BertNormalizer", "lowercase", (int)lower,
                             "strip_accents", (int)accents, "handle_chinese_chars", (int)chinese);
    BAL_TRY(use(tokenizer, form, bal_normalizer_read));
    BAL_TRY(read_tokens(tokenizer, vocab, side, names, added));
    BAL_TRY(use(tokenizer, json_pack("{s:s}", "type", "BertPreTokenizer"), bal_splits_read));
    BAL_TRY(use(tokenizer, json_pack("{s:s,s:s}", "type", "WordPiece", "prefix", "##"),
                bal_decoder_read));
    BAL_TRY(bal_added_read(tokenizer, *added));
    const char *unknown = bal_token_content(bal_side_token(side, "unk_token"));
    unknown = unknown != NULL ? unknown : "[UNK]";
    tokenizer->subword.unknown = bal_tokens_find(tokenizer, unknown, strlen(unknown));
    tokenizer->subword.kind = BAL_SUBWORD_WORDPIECE;
    tokenizer->subword.word_max = 100;
    tokenizer->subword.prefix = "##";
    tokenizer->subword.n_prefix = 2;
    put_around(tokenizer, side, names);
    return BAL_OK;
}

bal_status bal_vocab_txt_read(bal_tokenizer *tokenizer, const bal_named_bytes *file,
                              const bal_side *side)
{
    json_t *vocab = json_object(), *added = NULL;
    if (vocab == NULL) return BAL_ERR_MEMORY;
    bal_status status = read_lines(tokenizer, file, vocab);
    if (status == BAL_OK) status = use_vocab_txt(tokenizer, vocab, side, &added);
    json_decref(added);
    json_decref(vocab);
    return status;
}
