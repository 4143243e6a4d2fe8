/* pieces.c: pieces of SentencePiece: the units that a text is first cut into, what replaces a unit
 * that has no id, and the CHAR kind, in which every unit is a piece. Source: google/sentencepiece,
 * src/model_interface.cc, src/char_model.cc, src/sentencepiece_processor.cc. */
#include "text_impl.h"

bal_status bal_refuse_byte(char byte)
{
    return bal_fail(BAL_ERR_INPUT,
                    "byte 0x%02X of the text has no token, and the tokenizer has no unknown token; "
                    "expected a text of its characters",
                    (unsigned)(unsigned char)byte);
}

size_t bal_unit_bytes(const bal_tokenizer *tokenizer, const char *text, size_t n_bytes, bool *whole)
{
    const bal_added *found = bal_added_at(&tokenizer->added[BAL_ADDED_PIECES], text, n_bytes);
    int32_t c;
    *whole = found != NULL;
    return found != NULL ? found->pattern.n : bal_character(text, n_bytes, &c);
}

bal_status bal_piece_put(bal_work *work, const char *text, size_t n_bytes, int32_t id,
                         bool *unknown)
{
    const bal_tokenizer *tokenizer = work->tokenizer;
    bool before = *unknown;
    *unknown = false;
    if (id >= 0) return bal_ids_add(&work->ids, id);
    if (tokenizer->subword.byte_ids[0] >= 0) {
        for (size_t i = 0; i < n_bytes; ++i)
            BAL_TRY(bal_ids_add(&work->ids, tokenizer->subword.byte_ids[(unsigned char)text[i]]));
        return BAL_OK;
    }
    if (tokenizer->subword.unknown < 0) return bal_refuse_byte(text[0]);
    *unknown = true;
    return before ? BAL_OK : bal_ids_add(&work->ids, tokenizer->subword.unknown);
}

bal_status bal_characters_encode(bal_work *work, const char *text, size_t n_bytes)
{
    bool unknown = false, whole;
    for (size_t at = 0, n; at < n_bytes; at += n) {
        n = bal_unit_bytes(work->tokenizer, text + at, n_bytes - at, &whole);
        int32_t id = bal_tokens_find(work->tokenizer, text + at, n);
        BAL_TRY(bal_piece_put(work, text + at, n, id, &unknown));
    }
    return BAL_OK;
}
