/* gguf_pieces.c: tokens of the kind "llama", pieces that are merged by score, as the
 * tokenizer.model that SentencePiece would have, a protocol buffer. Source: google/sentencepiece,
 * src/sentencepiece_model.proto. */
#include <stdlib.h>
#include <string.h>

#include "gguf.h"

enum { NUMBER = 0, BYTES = 2, FOUR_BYTES = 5 }; /* how a field is stored */

static void put_number(bal_gguf_bytes *to, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        bal_gguf_bytes_put(to, &(uint8_t){(uint8_t)(value | 0x80)}, 1);
    bal_gguf_bytes_put(to, &(uint8_t){(uint8_t)value}, 1);
}

static void put_field(bal_gguf_bytes *to, unsigned field, uint64_t value)
{
    put_number(to, field << 3 | NUMBER);
    put_number(to, value);
}

static void put_bytes(bal_gguf_bytes *to, unsigned field, const void *bytes, size_t n)
{
    put_number(to, field << 3 | BYTES);
    put_number(to, n);
    bal_gguf_bytes_put(to, bytes, n);
}

/* A message, which is emptied for the next one. */
static void put_message(bal_gguf_bytes *to, unsigned field, bal_gguf_bytes *message)
{
    put_bytes(to, field, message->at, message->n);
    to->failed = to->failed || message->failed;
    message->n = 0;
}

/* SentencePiece has no ids that nothing uses: those within the others become control tokens, which
 * no text has either. */
static void put_pieces(const bal_gguf_vocab *v, bal_gguf_bytes *to, bal_gguf_bytes *piece)
{
    const uint8_t *at = v->tokens;
    int64_t n = v->n;
    while (n > 0 && bal_gguf_kind_of(v, n - 1) == BAL_TOKEN_UNUSED) --n;
    for (int64_t id = 0; id < n; ++id) {
        size_t n_bytes;
        const char *text = bal_gguf_next(&at, &n_bytes);
        bal_token_kind kind = bal_gguf_kind_of(v, id);
        put_bytes(piece, 1, text, n_bytes);
        put_number(piece, 2 << 3 | FOUR_BYTES);
        bal_gguf_bytes_put(piece, v->scores->data + 4 * id, 4);
        put_field(piece, 3, (uint64_t)(kind == BAL_TOKEN_UNUSED ? BAL_TOKEN_CONTROL : kind));
        put_message(to, 1, piece);
    }
}

static bool has_bytes(const bal_gguf_vocab *v)
{
    for (int64_t id = 0; id < v->n; ++id)
        if (bal_gguf_kind_of(v, id) == BAL_TOKEN_BYTE) return true;
    return false;
}

/* Settings of training, of which the kind and the ids of tokens matter. */
static bal_status put_trainer(const bal_gguf_vocab *v, bal_gguf_bytes *part)
{
    static const struct {
        const char *key;
        unsigned field;
    } ids[] = {{"tokenizer.ggml.unknown_token_id", 40},
               {"tokenizer.ggml.bos_token_id", 41},
               {"tokenizer.ggml.eos_token_id", 42},
               {"tokenizer.ggml.padding_token_id", 43}};
    put_field(part, 3, 2); /* BPE */
    put_field(part, 35, has_bytes(v));
    for (size_t i = 0; i < sizeof ids / sizeof *ids; ++i) {
        const bal_gguf_value *value = bal_gguf_find(v->file, ids[i].key);
        int64_t id;
        if (value == NULL) continue;
        if (!bal_gguf_integer(value, &id)) return bal_gguf_refuse(v->file, ids[i].key, "an id");
        put_field(part, ids[i].field, (uint64_t)id);
    }
    return BAL_OK;
}

bal_status bal_gguf_add_pieces(const bal_gguf_vocab *v, bal_files *files)
{
    static const char extra[] = "tokenizer.ggml.remove_extra_whitespaces";
    bool cleanup;
    BAL_TRY(bal_gguf_get_flag(v->file, extra, false, &cleanup));
    if (v->scores == NULL || v->types == NULL)
        return bal_gguf_refuse(
            v->file, v->scores == NULL ? "tokenizer.ggml.scores" : "tokenizer.ggml.token_type",
            "one for each token");
    bal_gguf_bytes model = {0}, part = {0};
    put_pieces(v, &model, &part);
    bal_status status = put_trainer(v, &part);
    put_message(&model, 2, &part);
    put_field(&part, 3, v->prefix);
    put_field(&part, 4, cleanup);
    put_field(&part, 5, 1); /* a space is a letter */
    put_message(&model, 3, &part);
    if (status == BAL_OK && model.failed)
        status = bal_fail(BAL_ERR_MEMORY, "%s: no memory for its tokens", v->file->origin);
    if (status == BAL_OK) status = bal_files_add(files, "tokenizer.model", model.at, model.n);
    free(part.at);
    free(model.at);
    return status;
}
