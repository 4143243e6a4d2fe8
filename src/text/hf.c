/* hf.c: reads tokenizer.json of Hugging Face tokenizers: the model here, the other parts where they
 * are used. Settings that would change the tokens but are unknown are refused by name. */
#include <string.h>

#include "read_impl.h"

#define WORD_CHARACTERS_MAX 10000 /* of WordPiece: limits the cost of a damaged file */

/* One merge is "left right" or ["left", "right"]. */
static bal_status read_merge(bal_tokenizer *tokenizer, const json_t *json, size_t rank)
{
    const json_t *first = json_array_get(json, 0), *second = json_array_get(json, 1);
    const char *left = json_string_value(first), *right = json_string_value(second);
    size_t n_left = json_string_length(first), n_right = json_string_length(second);
    if (json_is_string(json)) {
        left = json_string_value(json);
        size_t n = json_string_length(json);
        const char *space = memchr(left, ' ', n);
        n_left = space != NULL ? (size_t)(space - left) : n;
        n_right = space != NULL ? n - n_left - 1 : 0;
        right = left + n - n_right;
    }
    if (n_left == 0 || n_right == 0 || (json_is_array(json) && json_array_size(json) != 2))
        return bal_fail(
            BAL_ERR_INPUT,
            "%s: model.merges[%zu] is not a pair; expected \"left right\" or [\"left\", \"right\"]",
            tokenizer->origin, rank);
    return bal_merges_put(tokenizer, "model.merges", rank, left, n_left, right, n_right);
}

/* A string that may be missing, null or empty. */
static bal_status read_affix(bal_tokenizer *tokenizer, const json_t *model, const char *name,
                             const char *otherwise, const char **string, size_t *n_bytes)
{
    const json_t *value = json_object_get(model, name);
    *string = otherwise;
    *n_bytes = strlen(otherwise);
    if (value == NULL || json_is_null(value)) return BAL_OK;
    char part[64];
    snprintf(part, sizeof part, "model.%s", name);
    return bal_json_string(tokenizer, part, value, true, string, n_bytes);
}

static bal_status read_unknown(bal_tokenizer *tokenizer, const json_t *model, const char *otherwise)
{
    const json_t *value = json_object_get(model, "unk_token");
    const char *name = json_is_string(value) ? json_string_value(value) : otherwise;
    if (value != NULL && !json_is_null(value) && !json_is_string(value))
        return bal_json_refuse(tokenizer->origin, "model.unk_token", value,
                               "null or a token of model.vocab");
    if (name == NULL || name[0] == 0) return BAL_OK;
    tokenizer->subword.unknown = bal_tokens_find(tokenizer, name, strlen(name));
    return tokenizer->subword.unknown >= 0
               ? BAL_OK
               : bal_json_refuse(tokenizer->origin, "model.unk_token", value,
                                 "null or a token of model.vocab");
}

static bal_status read_bpe(bal_tokenizer *tokenizer, const json_t *model)
{
    const json_t *merges = json_object_get(model, "merges"), *dropout;
    bool bytes;
    dropout = json_object_get(model, "dropout");
    if (dropout != NULL && !json_is_null(dropout) &&
        !(json_is_number(dropout) && json_number_value(dropout) == 0))
        return bal_json_refuse(tokenizer->origin, "model.dropout", dropout, "null or 0");
    BAL_TRY(bal_json_bool(tokenizer, "model", model, "fuse_unk", false,
                          &tokenizer->subword.fuse_unknown));
    BAL_TRY(bal_json_bool(tokenizer, "model", model, "byte_fallback", false, &bytes));
    BAL_TRY(bal_json_bool(tokenizer, "model", model, "ignore_merges", false,
                          &tokenizer->subword.ignore_merges));
    BAL_TRY(read_affix(tokenizer, model, "continuing_subword_prefix", "",
                       &tokenizer->subword.prefix, &tokenizer->subword.n_prefix));
    BAL_TRY(read_affix(tokenizer, model, "end_of_word_suffix", "", &tokenizer->subword.suffix,
                       &tokenizer->subword.n_suffix));
    if (!json_is_array(merges))
        return bal_json_refuse(tokenizer->origin, "model.merges", merges, "an array");
    BAL_TRY(bal_merges_create(tokenizer, json_array_size(merges)));
    for (size_t i = 0; i < json_array_size(merges); ++i)
        BAL_TRY(read_merge(tokenizer, json_array_get(merges, i), i));
    for (int byte = 0; byte < 256 && bytes; ++byte) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)byte);
        tokenizer->subword.byte_ids[byte] = bal_tokens_find(tokenizer, name, 6);
    }
    if (bytes && (tokenizer->subword.n_prefix > 0 || tokenizer->subword.n_suffix > 0))
        return bal_fail(BAL_ERR_INPUT,
                        "%s: model.byte_fallback together with a prefix or suffix of words is not "
                        "supported",
                        tokenizer->origin);
    return read_unknown(tokenizer, model, NULL);
}

static bal_status read_wordpiece(bal_tokenizer *tokenizer, const json_t *model)
{
    const json_t *most = json_object_get(model, "max_input_chars_per_word");
    tokenizer->subword.kind = BAL_SUBWORD_WORDPIECE;
    tokenizer->subword.word_max = most != NULL ? json_integer_value(most) : 100;
    if (most != NULL && (!json_is_integer(most) || tokenizer->subword.word_max < 0 ||
                         tokenizer->subword.word_max > WORD_CHARACTERS_MAX))
        return bal_json_refuse(tokenizer->origin, "model.max_input_chars_per_word", most,
                               "0 to 10000");
    BAL_TRY(read_affix(tokenizer, model, "continuing_subword_prefix", "##",
                       &tokenizer->subword.prefix, &tokenizer->subword.n_prefix));
    return read_unknown(tokenizer, model, "[UNK]");
}

static bal_status read_parts(bal_tokenizer *tokenizer, const json_t *root)
{
    const char *origin = tokenizer->origin;
    const json_t *model = json_object_get(root, "model");
    const json_t *vocab = json_object_get(model, "vocab");
    const json_t *added = json_object_get(root, "added_tokens");
    bool typed = bal_json_type(model)[0] != 0; /* older files lack it */
    bool bpe =
        bal_json_is_type(model, "BPE") || (!typed && json_object_get(model, "merges") != NULL);
    bool wordpiece = bal_json_is_type(model, "WordPiece") ||
                     (!typed && json_object_get(model, "max_input_chars_per_word") != NULL);
    if (!bpe && !wordpiece)
        return bal_json_refuse(origin, "model", model, "type \"BPE\" or \"WordPiece\"");
    if (!json_is_object(vocab)) return bal_json_refuse(origin, "model.vocab", vocab, "an object");
    if (added != NULL && !json_is_null(added) && !json_is_array(added))
        return bal_json_refuse(origin, "added_tokens", added, "an array");
    BAL_TRY(bal_normalizer_read(tokenizer, json_object_get(root, "normalizer")));
    BAL_TRY(bal_splits_read(tokenizer, json_object_get(root, "pre_tokenizer")));
    BAL_TRY(bal_decoder_read(tokenizer, json_object_get(root, "decoder")));
    BAL_TRY(bal_vocab_read(tokenizer, vocab, added));
    BAL_TRY(bpe ? read_bpe(tokenizer, model) : read_wordpiece(tokenizer, model));
    BAL_TRY(bal_added_read(tokenizer, added));
    return bal_postprocessor_read(tokenizer, json_object_get(root, "post_processor"));
}

bal_status bal_hf_read(bal_tokenizer *tokenizer, const bal_named_bytes *file)
{
    json_t *root;
    BAL_TRY(bal_json_parse(tokenizer->origin, file->bytes, file->n_bytes, &root));
    bal_status status = read_parts(tokenizer, root);
    json_decref(root);
    return status;
}
