/* normalizer.c: changes to a text before it is cut into words: reading "normalizer" of
 * tokenizer.json, and the steps. Source: huggingface/tokenizers, src/normalizers. */
#include <stdlib.h>
#include <string.h>

#include "read_impl.h"

#define LETTERS_MAX 2
#define GROWTH_MAX 256 /* of a text, in all replacements of all steps */

bal_step *bal_steps_next(bal_steps *steps, const char *origin, const char *part)
{
    if (steps->n < BAL_STEPS_MAX) return &steps->step[steps->n++];
    bal_fail(BAL_ERR_INPUT, "%s: %s has more than %d steps", origin, part, BAL_STEPS_MAX);
    return NULL;
}

static bal_step *next(bal_tokenizer *tokenizer, bal_step_kind kind)
{
    bal_step *step = bal_steps_next(&tokenizer->normalizer, tokenizer->origin, "normalizer");
    if (step != NULL) step->kind = kind;
    return step;
}

bal_status bal_replace_read(bal_tokenizer *tokenizer, const bal_steps *steps, const json_t *json,
                            bal_step *step)
{
    BAL_TRY(bal_json_pattern(tokenizer, "a Replace", json_object_get(json, "pattern"), step));
    BAL_TRY(bal_json_string(tokenizer, "the content of a Replace", json_object_get(json, "content"),
                            true, &step->content, &step->n_content));
    size_t growth = 1; /* a regular expression may match at and between all characters */
    for (int i = 0; i < steps->n && growth <= GROWTH_MAX; ++i) {
        const bal_step *each = &steps->step[i];
        if (each->kind != BAL_STEP_REPLACE) continue;
        if (each->pattern != NULL)
            growth *= 1 + each->n_content;
        else if (each->n_content > each->n_string)
            growth *= (each->n_content + each->n_string - 1) / each->n_string;
    }
    if (growth > GROWTH_MAX)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: replacements make a text %zu times longer; expected at most %d times",
                        tokenizer->origin, growth, GROWTH_MAX);
    return BAL_OK;
}

int bal_letters_count(const bal_tokenizer *tokenizer)
{
    int n = 0;
    for (int i = 0; i < tokenizer->normalizer.n; ++i)
        n += tokenizer->normalizer.step[i].kind == BAL_STEP_LETTERS;
    for (int i = 0; i < tokenizer->splits.n; ++i)
        n += tokenizer->splits.step[i].kind == BAL_STEP_LETTERS;
    return n;
}

/* Steps that each may double what is not ASCII. */
bal_status bal_letters_check(const bal_tokenizer *tokenizer)
{
    if (bal_letters_count(tokenizer) <= LETTERS_MAX) return BAL_OK;
    return bal_fail(BAL_ERR_INPUT, "%s: ByteLevel is used more than %d times", tokenizer->origin,
                    LETTERS_MAX);
}

static bal_status read_bert(bal_tokenizer *tokenizer, const json_t *json)
{
    static const char part[] = "a BertNormalizer";
    bool clean, chinese, lower, accents;
    BAL_TRY(bal_json_bool(tokenizer, part, json, "clean_text", true, &clean));
    BAL_TRY(bal_json_bool(tokenizer, part, json, "handle_chinese_chars", true, &chinese));
    BAL_TRY(bal_json_bool(tokenizer, part, json, "lowercase", true, &lower));
    BAL_TRY(bal_json_bool(tokenizer, part, json, "strip_accents", lower, &accents));
    if (clean && next(tokenizer, BAL_STEP_CLEAN) == NULL) return BAL_ERR_INPUT;
    if (chinese && next(tokenizer, BAL_STEP_CHINESE) == NULL) return BAL_ERR_INPUT;
    if (accents) {
        bal_step *step = next(tokenizer, BAL_STEP_FORM);
        if (step == NULL || next(tokenizer, BAL_STEP_NONSPACING) == NULL) return BAL_ERR_INPUT;
        step->form = BAL_NFD;
    }
    if (lower && next(tokenizer, BAL_STEP_LOWER) == NULL) return BAL_ERR_INPUT;
    return BAL_OK;
}

static bal_status read_step(bal_tokenizer *tokenizer, const json_t *json)
{
    static const struct {
        const char *type;
        bal_step_kind kind;
        bal_form form;
    } plain[] = {
        {"Prepend", BAL_STEP_PREPEND, 0},   {"Replace", BAL_STEP_REPLACE, 0},
        {"NFC", BAL_STEP_FORM, BAL_NFC},    {"NFD", BAL_STEP_FORM, BAL_NFD},
        {"NFKC", BAL_STEP_FORM, BAL_NFKC},  {"NFKD", BAL_STEP_FORM, BAL_NFKD},
        {"Lowercase", BAL_STEP_LOWER, 0},   {"Strip", BAL_STEP_STRIP, 0},
        {"ByteLevel", BAL_STEP_LETTERS, 0}, {"StripAccents", BAL_STEP_STRIP_ACCENTS, 0},
    };
    if (bal_json_is_type(json, "BertNormalizer")) return read_bert(tokenizer, json);
    size_t i = 0, n = sizeof plain / sizeof *plain;
    while (i < n && !bal_json_is_type(json, plain[i].type)) ++i;
    if (i == n)
        return bal_json_refuse(tokenizer->origin, "normalizer", json,
                               "null, or Sequence, Prepend, Replace, NFC, NFD, NFKC, NFKD, "
                               "Lowercase, Strip, StripAccents, BertNormalizer or ByteLevel");
    bal_step *step = next(tokenizer, plain[i].kind);
    if (step == NULL) return BAL_ERR_INPUT;
    step->form = plain[i].form;
    if (step->kind == BAL_STEP_LETTERS) BAL_TRY(bal_letters_check(tokenizer));
    if (step->kind == BAL_STEP_REPLACE)
        return bal_replace_read(tokenizer, &tokenizer->normalizer, json, step);
    if (step->kind == BAL_STEP_PREPEND)
        return bal_json_string(tokenizer, "the text of a Prepend", json_object_get(json, "prepend"),
                               true, &step->content, &step->n_content);
    BAL_TRY(bal_json_bool(tokenizer, "a Strip", json, "strip_left", true, &step->front));
    return bal_json_bool(tokenizer, "a Strip", json, "strip_right", true, &step->back);
}

bal_status bal_normalizer_read(bal_tokenizer *tokenizer, const json_t *part)
{
    if (part == NULL || json_is_null(part)) return BAL_OK;
    return bal_json_sequence(tokenizer, "normalizer", part, "normalizers", 0, read_step);
}

bal_status bal_replace(bal_work *work, const bal_step *step, const char *text, size_t n_bytes,
                       bal_bytes *out)
{
    bal_text_spans *spans = &work->spans;
    if (n_bytes == 0) return BAL_OK;
    BAL_TRY(step->pattern != NULL
                ? bal_pattern_find(step->pattern, &work->matcher, text, n_bytes, spans)
                : bal_string_find(step->string, step->n_string, text, n_bytes, spans));
    for (size_t i = 0; i < spans->n; ++i) {
        const bal_text_span *span = &spans->at[i];
        BAL_TRY(span->match ? bal_bytes_add(out, step->content, step->n_content)
                            : bal_bytes_add(out, text + span->start, span->end - span->start));
    }
    return BAL_OK;
}

static void strip(const bal_step *step, bal_bytes *text, bool *at_start)
{
    int32_t c;
    size_t front = 0, n;
    while (step->front && front < text->n) {
        n = bal_character(text->data + front, text->n - front, &c);
        if (!bal_is_space(c)) break;
        front += n;
    }
    if (front > 0) *at_start = false;
    memmove(text->data, text->data + front, text->n -= front);
    while (step->back && text->n > 0) {
        n = bal_last_character(text->data, text->n, &c);
        if (!bal_is_space(c)) break;
        text->n -= n;
    }
}

/* Replace a character by at most two, with a space on each side. @return the bytes written */
static size_t change(bal_step_kind kind, int32_t c, const char *bytes, size_t n_bytes, char to[16])
{
    int32_t lower[2];
    size_t n = 0;
    if (c < 0) kind = BAL_STEP_PREPEND; /* the kinds below do not change it, except letters */
    switch (kind) {
        case BAL_STEP_LOWER:
            for (int i = 0, n_lower = bal_lower(c, lower); i < n_lower; ++i)
                n += bal_put_character(to + n, lower[i]);
            return n;
        case BAL_STEP_STRIP_ACCENTS:
            if (bal_is_mark(c)) return 0;
            break;
        case BAL_STEP_NONSPACING:
            if (bal_is_nonspacing(c)) return 0;
            break;
        case BAL_STEP_CLEAN:
            if (bal_is_space(c) && (c != 0x85 && (c == '\t' || c == '\n' || c == '\r' || c >= ' ')))
                return to[0] = ' ', 1;
            if (c == 0 || c == 0xfffd || bal_is_control(c)) return 0;
            break;
        case BAL_STEP_CHINESE:
            if (!bal_is_chinese(c)) break;
            to[0] = to[n_bytes + 1] = ' ';
            memcpy(to + 1, bytes, n_bytes);
            return n_bytes + 2;
        default:
            break;
    }
    memcpy(to, bytes, n_bytes);
    return n_bytes;
}

static bal_status change_all(const bal_step *step, const bal_bytes *text, bal_bytes *out,
                             bool *at_start)
{
    for (size_t at = 0, n; at < text->n; at += n) {
        int32_t c;
        char to[16];
        n = bal_character(text->data + at, text->n - at, &c);
        size_t n_left = change(step->kind, c, text->data + at, n, to);
        if (at == 0 && n_left == 0) *at_start = false;
        BAL_TRY(bal_bytes_add(out, to, n_left));
    }
    return BAL_OK;
}

static bal_status apply(bal_work *work, const bal_step *step, bal_bytes *text, bal_bytes *out,
                        bool *at_start)
{
    switch (step->kind) {
        case BAL_STEP_PREPEND:
            BAL_TRY(bal_bytes_add(out, step->content, step->n_content));
            return bal_bytes_add(out, text->data, text->n);
        case BAL_STEP_REPLACE:
            return bal_replace(work, step, text->data, text->n, out);
        case BAL_STEP_FORM:
            return bal_unicode_normalize(step->form, text->data, text->n, out);
        case BAL_STEP_STRIP:
            strip(step, text, at_start);
            return bal_bytes_add(out, text->data, text->n);
        case BAL_STEP_LETTERS:
            return bal_letters_add(text->data, text->n, out);
        case BAL_STEP_SENTENCEPIECE:
            return bal_sentencepiece_normalize(work->tokenizer, step, text, out);
        default:
            return change_all(step, text, out, at_start);
    }
}

bal_status bal_normalize(bal_work *work, const bal_steps *steps, bal_bytes *text, bool *at_start)
{
    for (int i = 0; i < steps->n && text->n > 0; ++i) {
        work->spare.n = 0;
        BAL_TRY(apply(work, &steps->step[i], text, &work->spare, at_start));
        bal_bytes swap = *text;
        *text = work->spare;
        work->spare = swap;
    }
    return BAL_OK;
}
