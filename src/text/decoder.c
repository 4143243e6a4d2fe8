/* decoder.c: from tokens to text: reading "decoder" of tokenizer.json, and the steps, which see
 * one piece per token. Bytes that are not valid UTF-8 are kept; the library shows U+FFFD there.
 * Source: huggingface/tokenizers, src/decoders. */
#include <stdlib.h>
#include <string.h>

#include "read_impl.h"

static bal_status read_strip(bal_tokenizer *tokenizer, const json_t *json, bal_step *step)
{
    const json_t *start = json_object_get(json, "start"), *stop = json_object_get(json, "stop");
    BAL_TRY(bal_json_string(tokenizer, "the content of a Strip", json_object_get(json, "content"),
                            false, &step->content, &step->n_content));
    step->n_front = json_integer_value(start);
    step->n_back = json_integer_value(stop);
    if (!json_is_integer(start) || !json_is_integer(stop) || step->n_front < 0 || step->n_back < 0)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: a Strip of the decoder has no start and stop; expected counts from 0",
                        tokenizer->origin);
    return BAL_OK;
}

static bal_status read_metaspace(bal_tokenizer *tokenizer, const json_t *json, bal_step *step)
{
    const json_t *scheme = json_object_get(json, "prepend_scheme");
    const char *word = scheme == NULL ? "always" : json_string_value(scheme);
    bool prefix;
    BAL_TRY(bal_replacement_read(tokenizer, json, step));
    BAL_TRY(bal_json_bool(tokenizer, "a Metaspace", json, "add_prefix_space", true, &prefix));
    bool never = word != NULL && strcmp(word, "never") == 0;
    if (word == NULL || (!never && strcmp(word, "first") != 0 && strcmp(word, "always") != 0))
        return bal_json_refuse(tokenizer->origin, "prepend_scheme of a Metaspace", scheme,
                               "always, first or never");
    step->prepend = prefix && !never ? BAL_PREPEND_ALWAYS : BAL_PREPEND_NEVER;
    return BAL_OK;
}

static bal_status read_step(bal_tokenizer *tokenizer, const json_t *json)
{
    static const struct {
        const char *type;
        bal_step_kind kind;
    } kinds[] = {
        {"ByteLevel", BAL_STEP_DECODE_LETTERS},   {"ByteFallback", BAL_STEP_DECODE_BYTES},
        {"Fuse", BAL_STEP_DECODE_FUSE},           {"Strip", BAL_STEP_DECODE_STRIP},
        {"Metaspace", BAL_STEP_DECODE_METASPACE}, {"WordPiece", BAL_STEP_DECODE_WORDPIECE},
        {"BPEDecoder", BAL_STEP_DECODE_SUFFIX},   {"Replace", BAL_STEP_REPLACE},
    };
    size_t i = 0, n = sizeof kinds / sizeof *kinds;
    while (i < n && !bal_json_is_type(json, kinds[i].type)) ++i;
    if (i == n)
        return bal_json_refuse(tokenizer->origin, "decoder", json,
                               "null, or Sequence, ByteLevel, ByteFallback, Fuse, Strip, Replace, "
                               "Metaspace, WordPiece or BPEDecoder");
    bal_step *step = bal_steps_next(&tokenizer->decoder, tokenizer->origin, "decoder");
    if (step == NULL) return BAL_ERR_INPUT;
    step->kind = kinds[i].kind;
    switch (step->kind) {
        case BAL_STEP_REPLACE:
            return bal_replace_read(tokenizer, &tokenizer->decoder, json, step);
        case BAL_STEP_DECODE_STRIP:
            return read_strip(tokenizer, json, step);
        case BAL_STEP_DECODE_METASPACE:
            return read_metaspace(tokenizer, json, step);
        case BAL_STEP_DECODE_SUFFIX:
            return bal_json_string(tokenizer, "the suffix of a BPEDecoder",
                                   json_object_get(json, "suffix"), false, &step->content,
                                   &step->n_content);
        case BAL_STEP_DECODE_WORDPIECE:
            BAL_TRY(bal_json_bool(tokenizer, "a WordPiece", json, "cleanup", true, &step->cleanup));
            return bal_json_string(tokenizer, "the prefix of a WordPiece",
                                   json_object_get(json, "prefix"), true, &step->content,
                                   &step->n_content);
        default:
            return BAL_OK;
    }
}

bal_status bal_decoder_read(bal_tokenizer *tokenizer, const json_t *part)
{
    tokenizer->join_with_spaces = part == NULL || json_is_null(part);
    if (tokenizer->join_with_spaces) return BAL_OK;
    return bal_json_sequence(tokenizer, "decoder", part, "decoders", 0, read_step);
}

/* The piece from start on, with spaces and contractions as English writes them. */
static bal_status clean_up(bal_work *work, bal_bytes *text, size_t start)
{
    static const char *const words[][2] = {{" .", "."},     {" ?", "?"},           {" !", "!"},
                                           {" ,", ","},     {" ' ", "'"},          {" n't", "n't"},
                                           {" 'm", "'m"},   {" do not", " don't"}, {" 's", "'s"},
                                           {" 've", "'ve"}, {" 're", "'re"}};
    if (memchr(text->data + start, ' ', text->n - start) == NULL) return BAL_OK;
    for (size_t i = 0; i < sizeof words / sizeof *words; ++i) {
        work->normal.n = 0;
        bal_step replace = {.string = words[i][0],
                            .n_string = strlen(words[i][0]),
                            .content = words[i][1],
                            .n_content = strlen(words[i][1])};
        BAL_TRY(bal_replace(work, &replace, text->data + start, text->n - start, &work->normal));
        text->n = start;
        BAL_TRY(bal_bytes_add(text, work->normal.data, work->normal.n));
    }
    return BAL_OK;
}

static bal_status wordpiece(bal_work *work, const bal_step *step, size_t index, const char *text,
                            size_t n_bytes, bal_bytes *out)
{
    size_t start = out->n, n = step->n_content;
    if (index > 0 && n_bytes >= n && memcmp(text, step->content, n) == 0) {
        text += n;
        n_bytes -= n;
    } else if (index > 0) {
        BAL_TRY(bal_bytes_add(out, " ", 1));
    }
    BAL_TRY(bal_bytes_add(out, text, n_bytes));
    return step->cleanup && out->n > start ? clean_up(work, out, start) : BAL_OK;
}

static bal_status strip(const bal_step *step, const char *text, size_t n_bytes, bal_bytes *out)
{
    size_t n = step->n_content, front = 0;
    for (int64_t i = 0; i < step->n_front && n_bytes - front >= n; ++i, front += n)
        if (memcmp(text + front, step->content, n) != 0) break;
    for (int64_t i = 0; i < step->n_back && n_bytes - front >= n; ++i, n_bytes -= n)
        if (memcmp(text + n_bytes - n, step->content, n) != 0) break;
    return bal_bytes_add(out, text + front, n_bytes - front);
}

static bal_status metaspace(const bal_step *step, size_t index, const char *text, size_t n_bytes,
                            bal_bytes *out)
{
    size_t n = step->n_content;
    for (size_t at = 0; at < n_bytes;) {
        bool space = n_bytes - at >= n && memcmp(text + at, step->content, n) == 0;
        if (!space)
            BAL_TRY(bal_bytes_add(out, text + at, 1));
        else if (index > 0 || step->prepend == BAL_PREPEND_NEVER)
            BAL_TRY(bal_bytes_add(out, " ", 1));
        at += space ? n : 1;
    }
    return BAL_OK;
}

/* Letters become bytes if the whole token consists of such letters. */
static bal_status from_letters(const char *text, size_t n_bytes, bal_bytes *out)
{
    size_t start = out->n;
    for (size_t at = 0, n; at < n_bytes; at += n) {
        int32_t c;
        n = bal_character(text + at, n_bytes - at, &c);
        int byte = bal_byte_of_letter(c);
        char character = (char)byte;
        if (byte < 0) {
            out->n = start;
            return bal_bytes_add(out, text, n_bytes);
        }
        BAL_TRY(bal_bytes_add(out, &character, 1));
    }
    return BAL_OK;
}

static bal_status suffix(const bal_step *step, bool last, const char *text, size_t n_bytes,
                         bal_bytes *out)
{
    const char *from = text, *end = text + n_bytes, *hit;
    while ((hit = memmem(from, (size_t)(end - from), step->content, step->n_content)) != NULL) {
        BAL_TRY(bal_bytes_add(out, from, (size_t)(hit - from)));
        if (!last) BAL_TRY(bal_bytes_add(out, " ", 1));
        from = hit + step->n_content;
    }
    return bal_bytes_add(out, from, (size_t)(end - from));
}

/* SentencePiece: its symbol for a space becomes a space. At the start, a space that was added in
 * front of the text is removed. Source: google/sentencepiece, src/sentencepiece_processor.cc,
 * Decode. front: one is removed; cleanup: all are; invert: "<0xAB>" stands for a byte. */
static bal_status sentencepiece(const bal_step *step, bool at_start, bool *seen, const char *text,
                                size_t n_bytes, bal_bytes *out)
{
    static const char symbol[] = "\xe2\x96\x81";
    bool starts = n_bytes >= 3 && memcmp(text, symbol, 3) == 0;
    *seen = false;
    if (at_start && starts && (step->front || step->cleanup)) {
        text += 3;
        n_bytes -= 3;
        *seen = !step->cleanup;
    }
    for (size_t at = 0; at < n_bytes;) {
        bool space = n_bytes - at >= 3 && memcmp(text + at, symbol, 3) == 0;
        BAL_TRY(bal_bytes_add(out, space ? " " : text + at, 1));
        at += space ? 3 : 1;
    }
    return BAL_OK;
}

static bal_status apply(bal_work *work, const bal_step *step, const bal_pieces *from,
                        bal_pieces *out)
{
    bal_bytes *text = &out->text;
    bool at_start = true, seen = false, in_bytes = false;
    bool joins = step->kind == BAL_STEP_DECODE_LETTERS || step->kind == BAL_STEP_DECODE_FUSE;
    for (size_t i = 0; i < from->n; ++i) {
        size_t n;
        const char *piece = bal_pieces_at(from, i, &n);
        int byte = bal_byte_token(piece, n);
        char is_byte = (char)byte;
        switch (step->kind) {
            case BAL_STEP_REPLACE:
                BAL_TRY(bal_replace(work, step, piece, n, text));
                break;
            case BAL_STEP_DECODE_STRIP:
                BAL_TRY(strip(step, piece, n, text));
                break;
            case BAL_STEP_DECODE_METASPACE:
                BAL_TRY(metaspace(step, i, piece, n, text));
                break;
            case BAL_STEP_DECODE_WORDPIECE:
                BAL_TRY(wordpiece(work, step, i, piece, n, text));
                break;
            case BAL_STEP_DECODE_SUFFIX:
                BAL_TRY(suffix(step, i + 1 == from->n, piece, n, text));
                break;
            case BAL_STEP_DECODE_LETTERS:
                BAL_TRY(from_letters(piece, n, text));
                break;
            case BAL_STEP_DECODE_SENTENCEPIECE:
                if (byte < 0 || !step->invert) {
                    if (seen || text->n > 0) at_start = false;
                    BAL_TRY(sentencepiece(step, at_start, &seen, piece, n, text));
                } else {
                    BAL_TRY(bal_bytes_add(text, &is_byte, 1));
                }
                break;
            case BAL_STEP_DECODE_BYTES: /* consecutive bytes are one piece */
                if (in_bytes && byte < 0) BAL_TRY(bal_pieces_end(out));
                in_bytes = byte >= 0;
                BAL_TRY(in_bytes ? bal_bytes_add(text, &is_byte, 1)
                                 : bal_bytes_add(text, piece, n));
                break;
            default: /* BAL_STEP_DECODE_FUSE */
                BAL_TRY(bal_bytes_add(text, piece, n));
        }
        if (!in_bytes && !joins) BAL_TRY(bal_pieces_end(out));
    }
    return in_bytes || joins ? bal_pieces_end(out) : BAL_OK;
}

bal_status bal_decode(bal_work *work)
{
    const bal_steps *steps = &work->tokenizer->decoder;
    for (int i = 0; i < steps->n; ++i) {
        bal_pieces_empty(&work->spare_pieces);
        BAL_TRY(apply(work, &steps->step[i], &work->pieces, &work->spare_pieces));
        bal_pieces swap = work->pieces;
        work->pieces = work->spare_pieces;
        work->spare_pieces = swap;
    }
    return BAL_OK;
}
