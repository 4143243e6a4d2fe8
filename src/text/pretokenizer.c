/* pretokenizer.c: cutting a text into words before the model sees it: reading "pre_tokenizer" of
 * tokenizer.json, and the steps. Source: huggingface/tokenizers, src/pre_tokenizers. */
#include <stdlib.h>
#include <string.h>

#include "read_impl.h"

/* Source: openai/gpt-2, encoder.py */
static const char gpt2_words[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static bal_step *next(bal_tokenizer *tokenizer, bal_step_kind kind)
{
    bal_step *step = bal_steps_next(&tokenizer->splits, tokenizer->origin, "pre_tokenizer");
    if (step != NULL) step->kind = kind;
    return step;
}

static bal_status split_at(bal_tokenizer *tokenizer, bool (*is)(int32_t), bal_behavior behavior)
{
    bal_step *step = next(tokenizer, BAL_STEP_SPLIT);
    if (step == NULL) return BAL_ERR_INPUT;
    step->is = is;
    step->behavior = behavior;
    return BAL_OK;
}

static bal_status read_byte_level(bal_tokenizer *tokenizer, const json_t *json)
{
    bool prefix, words;
    BAL_TRY(bal_json_bool(tokenizer, "a ByteLevel", json, "add_prefix_space", true, &prefix));
    BAL_TRY(bal_json_bool(tokenizer, "a ByteLevel", json, "use_regex", true, &words));
    if (prefix && next(tokenizer, BAL_STEP_PREFIX_SPACE) == NULL) return BAL_ERR_INPUT;
    if (words) {
        BAL_TRY(split_at(tokenizer, NULL, BAL_SPLIT_ISOLATED));
        BAL_TRY(bal_pattern_create(tokenizer->origin, "a ByteLevel", gpt2_words,
                                   sizeof gpt2_words - 1,
                                   &tokenizer->splits.step[tokenizer->splits.n - 1].pattern));
    }
    if (next(tokenizer, BAL_STEP_LETTERS) == NULL) return BAL_ERR_INPUT;
    return bal_letters_check(tokenizer);
}

static bal_status read_behavior(bal_tokenizer *tokenizer, const json_t *json,
                                bal_behavior *behavior)
{
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous"};
    const json_t *name = json_object_get(json, "behavior");
    for (int i = 0; i < 5; ++i)
        if (json_is_string(name) && strcmp(json_string_value(name), names[i]) == 0) {
            *behavior = (bal_behavior)i;
            return BAL_OK;
        }
    return bal_json_refuse(tokenizer->origin, "behavior of a Split", name,
                           "Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
}

static bal_status read_split(bal_tokenizer *tokenizer, const json_t *json)
{
    BAL_TRY(split_at(tokenizer, NULL, BAL_SPLIT_ISOLATED));
    bal_step *step = &tokenizer->splits.step[tokenizer->splits.n - 1];
    BAL_TRY(bal_json_pattern(tokenizer, "a Split", json_object_get(json, "pattern"), step));
    BAL_TRY(bal_json_bool(tokenizer, "a Split", json, "invert", false, &step->invert));
    return read_behavior(tokenizer, json, &step->behavior);
}

bal_status bal_replacement_read(bal_tokenizer *tokenizer, const json_t *json, bal_step *step)
{
    static const char part[] = "the replacement of a Metaspace";
    const json_t *value = json_object_get(json, "replacement");
    int32_t c;
    BAL_TRY(bal_json_string(tokenizer, part, value, false, &step->content, &step->n_content));
    return bal_character(step->content, step->n_content, &c) == step->n_content
               ? BAL_OK
               : bal_json_refuse(tokenizer->origin, part, value, "one character");
}

static bal_status read_metaspace(bal_tokenizer *tokenizer, const json_t *json)
{
    static const char *const names[] = {"always", "first", "never"};
    const json_t *scheme = json_object_get(json, "prepend_scheme");
    bal_step *step = next(tokenizer, BAL_STEP_METASPACE);
    bool prefix;
    if (step == NULL) return BAL_ERR_INPUT;
    BAL_TRY(bal_replacement_read(tokenizer, json, step));
    BAL_TRY(bal_json_bool(tokenizer, "a Metaspace", json, "split", true, &step->back));
    BAL_TRY(bal_json_bool(tokenizer, "a Metaspace", json, "add_prefix_space", true, &prefix));
    int found = 0;
    while (scheme != NULL && found < 3 &&
           !(json_is_string(scheme) && strcmp(json_string_value(scheme), names[found]) == 0))
        ++found;
    if (found == 3 || (scheme != NULL && !prefix && found != BAL_PREPEND_NEVER))
        return bal_json_refuse(tokenizer->origin, "prepend_scheme of a Metaspace", scheme,
                               "always, first or never, as add_prefix_space says");
    step->prepend = prefix ? (bal_prepend)found : BAL_PREPEND_NEVER;
    return BAL_OK;
}

static bal_status read_whitespace(bal_tokenizer *tokenizer)
{
    /* words, and what is neither word nor space */
    static const char words[] =
        "[\\p{L}\\p{Nl}\\p{M}\\p{Nd}\\p{Pc}\\x{24B6}-\\x{24E9}\\x{1F130}-\\x{1F149}"
        "\\x{1F150}-\\x{1F169}\\x{1F170}-\\x{1F189}\\x{200C}\\x{200D}]+|"
        "[^\\p{L}\\p{Nl}\\p{M}\\p{Nd}\\p{Pc}\\x{24B6}-\\x{24E9}\\x{1F130}-\\x{1F149}"
        "\\x{1F150}-\\x{1F169}\\x{1F170}-\\x{1F189}\\x{200C}\\x{200D}\\s]+";
    BAL_TRY(split_at(tokenizer, NULL, BAL_SPLIT_REMOVED));
    bal_step *step = &tokenizer->splits.step[tokenizer->splits.n - 1];
    step->invert = true;
    return bal_pattern_create(tokenizer->origin, "a Whitespace", words, sizeof words - 1,
                              &step->pattern);
}

static bal_status read_step(bal_tokenizer *tokenizer, const json_t *json)
{
    bool apart;
    bal_behavior behavior = BAL_SPLIT_ISOLATED;
    if (bal_json_is_type(json, "ByteLevel")) return read_byte_level(tokenizer, json);
    if (bal_json_is_type(json, "Split")) return read_split(tokenizer, json);
    if (bal_json_is_type(json, "Metaspace")) return read_metaspace(tokenizer, json);
    if (bal_json_is_type(json, "Whitespace")) return read_whitespace(tokenizer);
    if (bal_json_is_type(json, "WhitespaceSplit"))
        return split_at(tokenizer, bal_is_space, BAL_SPLIT_REMOVED);
    if (bal_json_is_type(json, "BertPreTokenizer")) {
        BAL_TRY(split_at(tokenizer, bal_is_space, BAL_SPLIT_REMOVED));
        return split_at(tokenizer, bal_is_punctuation, BAL_SPLIT_ISOLATED);
    }
    if (bal_json_is_type(json, "Punctuation")) {
        if (json_object_get(json, "behavior") != NULL)
            BAL_TRY(read_behavior(tokenizer, json, &behavior));
        return split_at(tokenizer, bal_is_punctuation, behavior);
    }
    if (bal_json_is_type(json, "Digits")) {
        BAL_TRY(bal_json_bool(tokenizer, "a Digits", json, "individual_digits", false, &apart));
        return split_at(tokenizer, bal_is_numeric,
                        apart ? BAL_SPLIT_ISOLATED : BAL_SPLIT_CONTIGUOUS);
    }
    return bal_json_refuse(tokenizer->origin, "pre_tokenizer", json,
                           "null, or Sequence, ByteLevel, Split, Metaspace, Whitespace, "
                           "WhitespaceSplit, BertPreTokenizer, Digits or Punctuation");
}

bal_status bal_splits_read(bal_tokenizer *tokenizer, const json_t *part)
{
    if (part == NULL || json_is_null(part)) return BAL_OK;
    return bal_json_sequence(tokenizer, "pre_tokenizer", part, "pretokenizers", 0, read_step);
}

/* Join spans according to the behavior; the spans that stay separate are kept in order. */
static void join_spans(bal_text_spans *spans, bal_behavior behavior)
{
    bool backwards = behavior == BAL_SPLIT_MERGED_WITH_NEXT, previous = false;
    size_t n = 0;
    if (behavior == BAL_SPLIT_REMOVED || behavior == BAL_SPLIT_ISOLATED) return;
    for (size_t i = 0; i < spans->n; ++i) {
        bal_text_span span = spans->at[backwards ? spans->n - 1 - i : i];
        bool joins =
            behavior == BAL_SPLIT_CONTIGUOUS ? span.match == previous : span.match && !previous;
        previous = span.match;
        if (joins && n > 0 && backwards)
            spans->at[spans->n - n].start = span.start;
        else if (joins && n > 0)
            spans->at[n - 1].end = span.end;
        else
            spans->at[backwards ? spans->n - ++n : n++] = span;
    }
    if (backwards) memmove(spans->at, spans->at + spans->n - n, n * sizeof *spans->at);
    spans->n = n;
}

/* The parts of one piece, as new pieces. */
static bal_status split(bal_work *work, const bal_step *step, const char *text, size_t n_bytes,
                        bal_pieces *out)
{
    bal_text_spans *spans = &work->spans;
    BAL_TRY(step->pattern != NULL
                ? bal_pattern_find(step->pattern, &work->matcher, text, n_bytes, spans)
            : step->is != NULL
                ? bal_class_find(step->is, text, n_bytes, spans)
                : bal_string_find(step->string, step->n_string, text, n_bytes, spans));
    for (size_t i = 0; step->invert && i < spans->n; ++i) spans->at[i].match = !spans->at[i].match;
    join_spans(spans, step->behavior);
    for (size_t i = 0; i < spans->n; ++i) {
        const bal_text_span *span = &spans->at[i];
        bool gone = step->behavior == BAL_SPLIT_REMOVED && span->match;
        if (gone && out->n == 0 && span->end > span->start) out->at_start = false;
        if (!gone) BAL_TRY(bal_pieces_add(out, text + span->start, span->end - span->start));
    }
    return BAL_OK;
}

/* Every space becomes the replacement, which also starts a piece if split is set. */
static bal_status metaspace(const bal_step *step, const char *text, size_t n_bytes, bool first,
                            bal_pieces *out)
{
    size_t n = step->n_content, start = out->text.n;
    bool starts = text[0] == ' ' || (n_bytes >= n && memcmp(text, step->content, n) == 0);
    if (!starts &&
        (step->prepend == BAL_PREPEND_ALWAYS || (step->prepend == BAL_PREPEND_FIRST && first)))
        BAL_TRY(bal_bytes_add(&out->text, step->content, n));
    for (size_t at = 0, bytes; at < n_bytes; at += bytes) {
        bool space = text[at] == ' ';
        bool marked = space || (n_bytes - at >= n && memcmp(text + at, step->content, n) == 0);
        bytes = marked && !space ? n : 1;
        if (marked && step->back && out->text.n > start) BAL_TRY(bal_pieces_end(out));
        if (marked) start = out->text.n;
        BAL_TRY(marked ? bal_bytes_add(&out->text, step->content, n)
                       : bal_bytes_add(&out->text, text + at, 1));
    }
    return bal_pieces_end(out);
}

static bal_status apply(bal_work *work, const bal_step *step, const char *text, size_t n_bytes,
                        bool first, bal_pieces *out)
{
    switch (step->kind) {
        case BAL_STEP_SPLIT:
            return split(work, step, text, n_bytes, out);
        case BAL_STEP_METASPACE:
            return metaspace(step, text, n_bytes, first, out);
        case BAL_STEP_LETTERS:
            BAL_TRY(bal_letters_add(text, n_bytes, &out->text));
            return bal_pieces_end(out);
        default: /* BAL_STEP_PREFIX_SPACE */
            if (text[0] != ' ') BAL_TRY(bal_bytes_add(&out->text, " ", 1));
            BAL_TRY(bal_bytes_add(&out->text, text, n_bytes));
            return bal_pieces_end(out);
    }
}

bal_status bal_split(bal_work *work)
{
    const bal_steps *steps = &work->tokenizer->splits;
    for (int i = 0; i < steps->n; ++i) {
        bal_pieces *from = &work->pieces, *out = &work->spare_pieces;
        bal_pieces_empty(out);
        out->at_start = from->at_start;
        for (size_t j = 0; j < from->n; ++j) {
            size_t n_bytes;
            const char *text = bal_pieces_at(from, j, &n_bytes);
            BAL_TRY(apply(work, &steps->step[i], text, n_bytes, j == 0 && from->at_start, out));
        }
        bal_pieces swap = *from;
        *from = *out;
        *out = swap;
    }
    return BAL_OK;
}
