/* sentencepiece.c: reads tokenizer.model of SentencePiece, a protocol buffer. Source:
 * google/sentencepiece, src/sentencepiece_model.proto. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "read_impl.h"

#define PIECE_BYTES_MAX 7999 /* the limit of SentencePiece itself */

enum {
    PIECE_NORMAL = 1,
    PIECE_UNKNOWN,
    PIECE_CONTROL,
    PIECE_USER_DEFINED,
    PIECE_UNUSED,
    PIECE_BYTE
};
enum { TYPE_UNIGRAM = 1, TYPE_BPE, TYPE_WORD, TYPE_CHAR };

/* A message of a protocol buffer, or the rest of one. */
typedef struct message {
    const uint8_t *at, *end;
} message;

typedef struct field {
    uint64_t number, value; /* value: a number, or the bits of a float */
    int type;               /* 0: number, 1: 8 bytes, 2: bytes, 5: 4 bytes */
    message bytes;
} field;

static bool read_number(message *from, uint64_t *value)
{
    *value = 0;
    for (int shift = 0; shift < 64 && from->at < from->end; shift += 7) {
        uint8_t byte = *from->at++;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return true;
    }
    return false;
}

/* @return 1: a field, 0: the end, -1: damaged. */
static int next_field(message *from, field *found)
{
    uint64_t tag, n;
    if (from->at == from->end) return 0;
    if (!read_number(from, &tag)) return -1;
    *found = (field){.number = tag >> 3, .type = (int)(tag & 7)};
    switch (found->type) {
        case 0:
            return read_number(from, &found->value) ? 1 : -1;
        case 1:
            n = 8;
            break;
        case 2:
            if (!read_number(from, &n)) return -1;
            break;
        case 5:
            n = 4;
            break;
        default:
            return -1;
    }
    if (n > (uint64_t)(from->end - from->at)) return -1;
    found->bytes = (message){from->at, from->at + n};
    if (found->type == 5) memcpy(&found->value, from->at, 4); /* little-endian, like the machine */
    from->at += n;
    return 1;
}

static bal_status refuse_damage(const bal_tokenizer *tokenizer, const char *part)
{
    return bal_fail(BAL_ERR_INPUT,
                    "%s: %s is damaged; expected a protocol buffer of a SentencePiece model",
                    tokenizer->origin, part);
}

/* What the file has besides its pieces. */
typedef struct settings {
    uint64_t type, suffix_spaces, bytes, unknown, bos, eos, pad;
    uint64_t prefix, cleanup, escape;
    message charsmap, denormalizer, unknown_text;
} settings;

/* Store the numbers and bytes of a message where its fields belong. */
typedef struct place {
    uint64_t number;
    uint64_t *value;
    message *bytes;
} place;

static bal_status read_settings(const bal_tokenizer *tokenizer, const char *part, message from,
                                const place *places, size_t n_places)
{
    field found;
    int more;
    while ((more = next_field(&from, &found)) > 0)
        for (size_t i = 0; i < n_places; ++i) {
            if (places[i].number != found.number) continue;
            if (found.type != (places[i].value != NULL ? 0 : 2))
                return refuse_damage(tokenizer, part);
            if (found.type == 0)
                *places[i].value = found.value;
            else
                *places[i].bytes = found.bytes;
        }
    return more == 0 ? BAL_OK : refuse_damage(tokenizer, part);
}

static bal_status read_message(const bal_tokenizer *tokenizer, const field *found, settings *s)
{
    const place trainer[] = {{3, &s->type, NULL},   {24, &s->suffix_spaces, NULL},
                             {35, &s->bytes, NULL}, {40, &s->unknown, NULL},
                             {41, &s->bos, NULL},   {42, &s->eos, NULL},
                             {43, &s->pad, NULL},   {44, NULL, &s->unknown_text}};
    const place normalizer[] = {{2, NULL, &s->charsmap},
                                {3, &s->prefix, NULL},
                                {4, &s->cleanup, NULL},
                                {5, &s->escape, NULL}};
    const place denormalizer[] = {{2, NULL, &s->denormalizer}};
    if (found->type != 2) return found->number > 5 ? BAL_OK : refuse_damage(tokenizer, "a part");
    if (found->number == 2)
        return read_settings(tokenizer, "trainer_spec", found->bytes, trainer, 8);
    if (found->number == 3)
        return read_settings(tokenizer, "normalizer_spec", found->bytes, normalizer, 4);
    if (found->number == 5)
        return read_settings(tokenizer, "denormalizer_spec", found->bytes, denormalizer, 1);
    return BAL_OK;
}

static bal_status put_piece(bal_tokenizer *tokenizer, int32_t id, message from, bool bytes)
{
    field found;
    int more;
    message spelling = {0};
    uint64_t type = PIECE_NORMAL, score_bits = 0;
    bal_token *token = &tokenizer->vocab.tokens[id];
    static const int types[] = {[1] = 2, [2] = 5, [3] = 0};
    while ((more = next_field(&from, &found)) > 0) {
        if (found.number < 1 || found.number > 3) continue;
        if (found.type != types[found.number]) more = -1;
        if (more < 0) break;
        if (found.number == 1) spelling = found.bytes;
        if (found.number == 2) score_bits = found.value;
        if (found.number == 3) type = found.value;
    }
    size_t n_bytes = (size_t)(spelling.end - spelling.at);
    memcpy(&token->score, &score_bits, sizeof token->score);
    int byte = bal_byte_token((const char *)spelling.at, n_bytes);
    if (more < 0 || n_bytes == 0 || n_bytes > PIECE_BYTES_MAX || !isfinite(token->score) ||
        type < PIECE_NORMAL || type > PIECE_BYTE || (type == PIECE_BYTE && (byte < 0 || !bytes)))
        return bal_fail(
            BAL_ERR_INPUT,
            "%s: piece %d is damaged; expected 1 to %d bytes, a finite score and a type "
            "from 1 to 6",
            tokenizer->origin, id, PIECE_BYTES_MAX);
    if (type == PIECE_UNUSED)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: piece %d is of type UNUSED, which is not supported; expected a model "
                        "that uses all its pieces",
                        tokenizer->origin, id);
    if (type == PIECE_UNKNOWN && tokenizer->subword.unknown >= 0)
        return bal_fail(BAL_ERR_INPUT, "%s: pieces %d and %d are both of type UNKNOWN",
                        tokenizer->origin, tokenizer->subword.unknown, id);
    token->special = type == PIECE_CONTROL;
    token->hidden = type == PIECE_CONTROL || type == PIECE_UNKNOWN || type == PIECE_BYTE;
    token->whole = type == PIECE_USER_DEFINED;
    if (type == PIECE_UNKNOWN) tokenizer->subword.unknown = id;
    if (type == PIECE_BYTE) tokenizer->subword.byte_ids[byte] = id;
    if (type == PIECE_NORMAL && token->score < tokenizer->subword.lowest_score)
        tokenizer->subword.lowest_score = token->score;
    if (token->whole)
        BAL_TRY(bal_added_put(tokenizer, BAL_ADDED_PIECES, (const char *)spelling.at, n_bytes,
                              (bal_added){.id = id}));
    return bal_tokens_put(tokenizer, id, (const char *)spelling.at, n_bytes);
}

/* Tokens that other files add come after the pieces. */
static bal_status read_pieces(bal_tokenizer *tokenizer, message all, int64_t n, bool bytes,
                              const json_t *added)
{
    field found;
    int32_t id = 0;
    if (n < 1 || n > tokenizer->vocab.n_ids)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: %lld pieces; expected 1 to %lld, as the model has that many tokens",
                        tokenizer->origin, (long long)n, (long long)tokenizer->vocab.n_ids);
    tokenizer->vocab.n_tokens = n;
    tokenizer->subword.lowest_score = INFINITY;
    for (size_t i = 0; i < json_array_size(added); ++i) {
        const json_t *each = json_array_get(added, i);
        int32_t more = bal_json_id(tokenizer, bal_token_content(each), json_object_get(each, "id"));
        if (more < 0) return BAL_ERR_INPUT;
        if (more >= tokenizer->vocab.n_tokens) tokenizer->vocab.n_tokens = more + 1;
    }
    tokenizer->vocab.tokens =
        bal_alloc((size_t)tokenizer->vocab.n_tokens, sizeof *tokenizer->vocab.tokens);
    if (tokenizer->vocab.tokens == NULL) return BAL_ERR_MEMORY;
    while (next_field(&all, &found) > 0)
        if (found.number == 1 && found.type == 2)
            BAL_TRY(put_piece(tokenizer, id++, found.bytes, bytes));
    if (!isfinite(tokenizer->subword.lowest_score)) tokenizer->subword.lowest_score = 0;
    return BAL_OK;
}

/* Steps before and after the model, from the settings. */
static void put_steps(bal_tokenizer *tokenizer, const settings *s)
{
    bal_step *step = &tokenizer->normalizer.step[tokenizer->normalizer.n++];
    step->kind = BAL_STEP_SENTENCEPIECE;
    step->content = s->escape ? "\xe2\x96\x81" : " ";
    step->n_content = s->escape ? 3 : 1;
    step->front = s->prefix && !s->suffix_spaces;
    step->back = s->prefix && s->suffix_spaces;
    step->cleanup = s->cleanup;
    step = &tokenizer->decoder.step[tokenizer->decoder.n++];
    step->kind = BAL_STEP_DECODE_SENTENCEPIECE;
    step->front = s->prefix;
    step->cleanup = s->cleanup;
    step->invert = s->bytes;
}

static int32_t setting_id(const bal_tokenizer *tokenizer, uint64_t value)
{
    bool known =
        value < (uint64_t)tokenizer->vocab.n_tokens && tokenizer->vocab.tokens[value].special;
    return known ? (int32_t)value : -1;
}

static bal_status use_settings(bal_tokenizer *tokenizer, const settings *s)
{
    static const bal_subword_kind models[] = {[TYPE_UNIGRAM] = BAL_SUBWORD_SP_UNIGRAM,
                                              [TYPE_BPE] = BAL_SUBWORD_SP_BPE,
                                              [TYPE_CHAR] = BAL_SUBWORD_SP_CHAR};
    if (s->type != TYPE_UNIGRAM && s->type != TYPE_BPE && s->type != TYPE_CHAR)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: a model of type %s is not supported; expected UNIGRAM, BPE or CHAR",
                        tokenizer->origin, s->type == TYPE_WORD ? "WORD" : "unknown");
    if (s->denormalizer.at != s->denormalizer.end)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: a denormalizer is not supported; expected a model without one",
                        tokenizer->origin);
    if (s->charsmap.at != s->charsmap.end)
        BAL_TRY(bal_charsmap_read(tokenizer, s->charsmap.at,
                                  (size_t)(s->charsmap.end - s->charsmap.at)));
    tokenizer->subword.kind = models[s->type];
    for (int byte = 0; byte < 256 && s->bytes; ++byte)
        if (tokenizer->subword.byte_ids[byte] < 0)
            return bal_fail(BAL_ERR_INPUT,
                            "%s: byte_fallback is set, but byte 0x%02X has no piece; expected 256",
                            tokenizer->origin, (unsigned)byte);
    if (tokenizer->subword.unknown < 0 && !s->bytes)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: no piece is of type UNKNOWN; expected one, or byte_fallback",
                        tokenizer->origin);
    tokenizer->specials.ids[BAL_SPECIAL_UNKNOWN] = tokenizer->subword.unknown;
    tokenizer->specials.ids[BAL_SPECIAL_BOS] = setting_id(tokenizer, s->bos);
    tokenizer->specials.ids[BAL_SPECIAL_EOS] = setting_id(tokenizer, s->eos);
    tokenizer->specials.ids[BAL_SPECIAL_PAD] = setting_id(tokenizer, s->pad);
    /* models with such a file are of the LLaMA family, whose texts begin with a start token */
    if (tokenizer->specials.ids[BAL_SPECIAL_BOS] >= 0)
        tokenizer->specials.before[tokenizer->specials.n_before++] =
            tokenizer->specials.ids[BAL_SPECIAL_BOS];
    size_t n = (size_t)(s->unknown_text.end - s->unknown_text.at);
    tokenizer->subword.unknown_text = bal_keep(tokenizer, (const char *)s->unknown_text.at, n);
    tokenizer->subword.n_unknown_text = n;
    if (tokenizer->subword.unknown_text == NULL) return BAL_ERR_MEMORY;
    put_steps(tokenizer, s);
    return BAL_OK;
}

bal_status bal_sentencepiece_read(bal_tokenizer *tokenizer, const bal_named_bytes *file,
                                  const bal_side *side)
{
    static const uint8_t no_text[] = " \xe2\x81\x87 ";
    settings s = {.type = TYPE_UNIGRAM,
                  .bos = 1,
                  .eos = 2,
                  .pad = UINT64_MAX,
                  .prefix = 1,
                  .cleanup = 1,
                  .escape = 1,
                  .unknown_text = {no_text, no_text + 5}};
    message all = {file->bytes, file->bytes + file->n_bytes};
    field found;
    int more;
    int64_t n = 0;
    tokenizer->kind = BAL_TOKENIZER_SENTENCEPIECE;
    for (message rest = all; (more = next_field(&rest, &found)) != 0;) {
        if (more < 0) return refuse_damage(tokenizer, "the file");
        if (found.number == 1 && found.type == 2)
            ++n;
        else
            BAL_TRY(read_message(tokenizer, &found, &s));
    }
    static const char *const names[BAL_NAMED_TOKENS] = {NULL};
    json_t *added;
    BAL_TRY(bal_side_added(side, NULL, names, n, &added));
    bal_status status = read_pieces(tokenizer, all, n, s.bytes != 0, added);
    if (status == BAL_OK) status = bal_tokens_index(tokenizer);
    if (status == BAL_OK) status = use_settings(tokenizer, &s);
    if (status == BAL_OK) status = bal_added_read(tokenizer, added);
    json_decref(added);
    return status;
}
