/* pattern.c: regular expressions of tokenizer files, matched by PCRE2. The files are written for
 * Oniguruma's Ruby syntax. What differs is translated to PCRE2's syntax here, and what cannot be
 * translated is refused. Source: Oniguruma, doc/RE; pcre2pattern(3). */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "text_impl.h"

#define PATTERN_BYTES_MAX 8192
#define GROUPS_DEEP_MAX 64
#define STEPS_MAX 1000000u /* of one match, and ... */
#define STEPS_PER_BYTE 8u  /* ... for every byte of the text */
#define HEAP_KIB_MAX 65536u
#define JIT_STACK_MAX (1u << 20)
#define INVALID_BYTE '\x01' /* what patterns see instead of a byte that is not UTF-8 */

struct bal_pattern {
    pcre2_code *code;
    char *words; /* of the file, for messages */
    char *origin;
};

struct bal_matcher {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
    bal_bytes valid; /* a copy of a text with invalid bytes */
};

#define SPACE "\\p{Z}\\t-\\r\\x{85}" /* the \s of PCRE2 has U+180E too */
#define HEX "0-9a-fA-F"
#define WORD                                                                                   \
    "\\p{L}\\p{Nl}\\p{M}\\p{Nd}\\p{Pc}\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}\\x{24B6}-\\x{24E9}" \
    "\\x{1F130}-\\x{1F149}\\x{1F150}-\\x{1F169}\\x{1F170}-\\x{1F189}"
#define BOUNDARY "(?<=[" WORD "])(?![" WORD "])|(?<![" WORD "])(?=[" WORD "])"

/* The translation of a letter after a backslash; NULL: unknown in this place. */
static const struct escape {
    char letter;
    const char *outside, *inside; /* within a bracketed class */
} escapes[] = {
    {'s', "[" SPACE "]", SPACE},
    {'S', "[^" SPACE "]", "\\S\\x{180E}"},
    {'w', "[" WORD "]", WORD},
    {'W', "[^" WORD "]", NULL},
    {'d', "\\p{Nd}", "\\p{Nd}"},
    {'D', "\\P{Nd}", "\\P{Nd}"},
    {'h', "[" HEX "]", HEX},
    {'H', "[^" HEX "]", NULL},
    {'b', "(?:" BOUNDARY ")", "\\b"},
    {'B', "(?!" BOUNDARY ")", NULL},
    {'v', "\\x0b", "\\x0b"},
    {'t', "\\t", "\\t"},
    {'n', "\\n", "\\n"},
    {'r', "\\r", "\\r"},
    {'f', "\\f", "\\f"},
    {'a', "\\a", "\\a"},
    {'e', "\\e", "\\e"},
    {'R', "\\R", NULL},
    {'A', "\\A", NULL},
    {'z', "\\z", NULL},
    {'Z', "\\Z", NULL},
};

typedef struct translation {
    const char *origin, *part, *at, *end, *start;
    bal_bytes out;
} translation;

static bal_status unknown_words(const translation *t, size_t n, const char *words)
{
    size_t left = (size_t)(t->end - t->at);
    return bal_fail(BAL_ERR_INPUT,
                    "%s: the pattern of %s has \"%.*s\" at byte %td, %s; expected a pattern whose "
                    "meaning is the same in PCRE2",
                    t->origin, t->part, (int)(n < left ? n : left), t->at, t->at - t->start, words);
}

static bal_status put(translation *t, const char *words)
{
    return bal_bytes_add(&t->out, words, strlen(words));
}

static bal_status copy(translation *t, size_t n)
{
    BAL_TRY(bal_bytes_add(&t->out, t->at, n));
    t->at += n;
    return BAL_OK;
}

/* \x41, \x{1F600} and \u0041. */
static bal_status translate_code(translation *t)
{
    const char *from = t->at + 2;
    bool braces = t->at[1] == 'x' && from < t->end && *from == '{';
    size_t most = t->at[1] == 'u' ? 4 : braces ? 8 : 2;
    from += braces;
    size_t n = strspn(from, "0123456789ABCDEFabcdef"); /* the pattern ends with a 0 */
    if (n > most) n = most;
    char digits[9];
    snprintf(digits, sizeof digits, "%.*s", (int)n, from);
    long code = strtol(digits, NULL, 16);
    bool closed = !braces || (from + n < t->end && from[n] == '}');
    bool whole = n > 0 && closed && (t->at[1] != 'u' || n == 4) &&
                 (t->at[1] == 'u' || braces || code < 0x80);
    if (!whole || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return unknown_words(t, 6, "which is no character");
    char word[16];
    snprintf(word, sizeof word, "\\x{%X}", (unsigned)code);
    t->at = from + n + braces;
    return put(t, word);
}

static bal_status translate_property(translation *t)
{
    const char *close = memchr(t->at, '}', (size_t)(t->end - t->at));
    if (t->end - t->at < 4 || t->at[2] != '{' || close == NULL)
        return unknown_words(t, 4, "which is no property in braces");
    return copy(t, (size_t)(close - t->at) + 1);
}

static bal_status translate_escape(translation *t, bool in_class)
{
    if (t->end - t->at < 2) return unknown_words(t, 1, "which ends it");
    char c = t->at[1];
    if (c == 'x' || c == 'u') return translate_code(t);
    if (c == 'p' || c == 'P') return translate_property(t);
    bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    bool is_digit = c >= '0' && c <= '9';
    if (!is_letter && !is_digit) { /* the character itself */
        int32_t character;
        return copy(t, 1 + bal_character(t->at + 1, (size_t)(t->end - t->at) - 1, &character));
    }
    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; ++i) {
        const char *words = in_class ? escapes[i].inside : escapes[i].outside;
        if (escapes[i].letter != c || words == NULL) continue;
        t->at += 2;
        return put(t, words);
    }
    return unknown_words(t, 2, "which is not supported here");
}

static bal_status translate_class(translation *t)
{
    BAL_TRY(copy(t, 1));
    if (t->at < t->end && *t->at == '^') BAL_TRY(copy(t, 1));
    if (t->at < t->end && *t->at == ']') BAL_TRY(copy(t, 1));
    while (t->at < t->end && *t->at != ']') {
        if (*t->at == '[') return unknown_words(t, 8, "a class in a class");
        if (*t->at == '&' && t->at + 1 < t->end && t->at[1] == '&')
            return unknown_words(t, 2, "what two classes share");
        BAL_TRY(*t->at == '\\' ? translate_escape(t, true) : copy(t, 1));
    }
    if (t->at == t->end) return unknown_words(t, 0, "a class that does not end");
    return copy(t, 1);
}

/* What follows "(?": known openings, and options; the m of Ruby is the s of PCRE2. */
static bal_status translate_group(translation *t)
{
    static const char *const known[] = {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!"};
    size_t left = (size_t)(t->end - t->at);
    if (left < 2 || t->at[1] != '?') return copy(t, 1);
    for (size_t i = 0; i < sizeof known / sizeof *known; ++i) {
        size_t n = strlen(known[i]);
        if (left >= n && memcmp(t->at, known[i], n) == 0) return copy(t, n);
    }
    size_t n = 2;
    while (n < left && t->at[n] != 0 && strchr("imx-", t->at[n]) != NULL) ++n;
    bool whole_pattern = t->at == t->start;
    if (n == 2 || n == left || (t->at[n] != ':' && !(t->at[n] == ')' && whole_pattern)))
        return unknown_words(t, n + 1, "which is not supported");
    for (size_t i = 0; i < n; ++i)
        BAL_TRY(bal_bytes_add(&t->out, t->at[i] == 'm' ? "s" : t->at + i, 1));
    t->at += n;
    return copy(t, 1);
}

/* {n,m}: in Ruby {,m} starts at 0, and a + after it does not make it possessive. */
static bal_status translate_brace(translation *t)
{
    const char *at = t->at + 1, *comma = NULL;
    for (; at < t->end && ((*at >= '0' && *at <= '9') || *at == ','); ++at)
        if (*at == ',') comma = comma != NULL ? t->at : at;
    size_t n = (size_t)(at - t->at) + 1;
    bool is_count = at < t->end && *at == '}' && n > 2 && comma != t->at && !(comma && n == 3);
    if (!is_count) return put(t, "\\{") == BAL_OK ? (++t->at, BAL_OK) : BAL_ERR_MEMORY;
    char after = at + 1 < t->end ? at[1] : 0;
    if (after == '+' || (after == '?' && comma == NULL))
        return unknown_words(t, n + 1, "which PCRE2 understands otherwise");
    BAL_TRY(copy(t, 1));
    if (comma == t->at) BAL_TRY(put(t, "0"));
    return copy(t, n - 1);
}

static bal_status translate(translation *t)
{
    while (t->at < t->end) {
        switch (*t->at) {
            case '\\':
                BAL_TRY(translate_escape(t, false));
                break;
            case '[':
                BAL_TRY(translate_class(t));
                break;
            case '(':
                BAL_TRY(translate_group(t));
                break;
            case '{':
                BAL_TRY(translate_brace(t));
                break;
            case '^': /* ^ and $ match at lines, always */
            case '$':
                BAL_TRY(put(t, *t->at == '^' ? "(?m:^)" : "(?m:$)"));
                ++t->at;
                break;
            default:
                BAL_TRY(copy(t, 1));
        }
    }
    return BAL_OK;
}

static bal_status compile(const translation *t, pcre2_code **code)
{
    int error;
    size_t offset;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (context == NULL) return BAL_ERR_MEMORY;
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    pcre2_set_bsr(context, PCRE2_BSR_UNICODE);
    pcre2_set_parens_nest_limit(context, GROUPS_DEEP_MAX);
    *code =
        pcre2_compile((PCRE2_SPTR)t->out.data, t->out.n,
                      PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, context);
    pcre2_compile_context_free(context);
    if (*code != NULL) {
        pcre2_jit_compile(*code, PCRE2_JIT_COMPLETE); /* without it, matching is only slower */
        return BAL_OK;
    }
    if (error == PCRE2_ERROR_HEAP_FAILED) return BAL_ERR_MEMORY;
    char words[128];
    pcre2_get_error_message(error, (PCRE2_UCHAR *)words, sizeof words);
    return bal_fail(BAL_ERR_INPUT, "%s: the pattern of %s is not valid: %s (\"%.80s\")", t->origin,
                    t->part, words, t->start);
}

bal_status bal_pattern_create(const char *origin, const char *part, const char *pattern,
                              size_t n_bytes, bal_pattern **compiled)
{
    if (n_bytes == 0 || n_bytes > PATTERN_BYTES_MAX)
        return bal_fail(BAL_ERR_INPUT, "%s: the pattern of %s has %zu bytes; expected 1 to %d",
                        origin, part, n_bytes, PATTERN_BYTES_MAX);
    bal_status status = BAL_ERR_MEMORY;
    bal_pattern *p = bal_alloc(1, sizeof *p);
    translation t = {.origin = origin, .part = part};
    if (p == NULL) return BAL_ERR_MEMORY;
    p->words = strndup(pattern, n_bytes);
    p->origin = strdup(origin);
    if (p->words == NULL || p->origin == NULL) goto done;
    t.start = t.at = p->words;
    t.end = p->words + strlen(p->words);
    status = translate(&t);
    if (status == BAL_OK) status = compile(&t, &p->code);
    if (status != BAL_OK) goto done;
    *compiled = p;
    p = NULL;
done:
    free(t.out.data);
    bal_pattern_destroy(&p);
    return status;
}

void bal_pattern_destroy(bal_pattern **pattern)
{
    bal_pattern *p = *pattern;
    *pattern = NULL;
    if (p == NULL) return;
    pcre2_code_free(p->code);
    free(p->words);
    free(p->origin);
    free(p);
}

static bal_status create_matcher(bal_matcher **matcher)
{
    bal_matcher *m = bal_alloc(1, sizeof *m);
    if (m == NULL) return BAL_ERR_MEMORY;
    m->data = pcre2_match_data_create(1, NULL);
    m->context = pcre2_match_context_create(NULL);
    m->stack = pcre2_jit_stack_create(32 * 1024, JIT_STACK_MAX, NULL);
    if (m->data == NULL || m->context == NULL) {
        bal_matcher_destroy(&m);
        return BAL_ERR_MEMORY;
    }
    pcre2_set_heap_limit(m->context, HEAP_KIB_MAX);
    if (m->stack != NULL) pcre2_jit_stack_assign(m->context, NULL, m->stack);
    *matcher = m;
    return BAL_OK;
}

void bal_matcher_destroy(bal_matcher **matcher)
{
    bal_matcher *m = *matcher;
    *matcher = NULL;
    if (m == NULL) return;
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->context);
    pcre2_jit_stack_free(m->stack);
    free(m->valid.data);
    free(m);
}

static bal_status add_span(bal_text_spans *spans, size_t start, size_t end, bool match)
{
    if (!bal_grow(&spans->at, &spans->room, spans->n + 1, sizeof *spans->at)) return BAL_ERR_MEMORY;
    spans->at[spans->n++] = (bal_text_span){start, end, match};
    return BAL_OK;
}

/* The same text with a control character for every invalid byte, of the same length. */
static bal_status make_valid(bal_matcher *matcher, const char **text, size_t n_bytes)
{
    int32_t c;
    bool copied = false;
    for (size_t at = 0, n; at < n_bytes; at += n) {
        n = bal_character(*text + at, n_bytes - at, &c);
        if (c >= 0) continue;
        if (!copied) {
            matcher->valid.n = 0;
            BAL_TRY(bal_bytes_add(&matcher->valid, *text, n_bytes));
            copied = true;
        }
        matcher->valid.data[at] = INVALID_BYTE;
    }
    if (copied) *text = matcher->valid.data;
    return BAL_OK;
}

/* @return 1: found, 0: not. */
static int match(const bal_pattern *pattern, bal_matcher *matcher, const char *text, size_t n_bytes,
                 size_t from)
{
    uint64_t steps = STEPS_MAX + (uint64_t)STEPS_PER_BYTE * n_bytes;
    pcre2_set_match_limit(matcher->context, steps < UINT32_MAX ? (uint32_t)steps : UINT32_MAX);
    int found = pcre2_match(pattern->code, (PCRE2_SPTR)text, n_bytes, from, PCRE2_NO_UTF_CHECK,
                            matcher->data, matcher->context);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT)
        found = pcre2_match(pattern->code, (PCRE2_SPTR)text, n_bytes, from,
                            PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, matcher->data, matcher->context);
    return found >= 0 ? 1 : found == PCRE2_ERROR_NOMATCH ? 0 : found;
}

/* As in Oniguruma's iterator, an empty match right after the last one does not count. */
bal_status bal_pattern_find(const bal_pattern *pattern, bal_matcher **made, const char *text,
                            size_t n_bytes, bal_text_spans *spans)
{
    size_t last = 0;
    bool any = false;
    spans->n = 0;
    if (*made == NULL) BAL_TRY(create_matcher(made));
    bal_matcher *matcher = *made;
    BAL_TRY(make_valid(matcher, &text, n_bytes));
    for (size_t from = 0; from <= n_bytes;) {
        int found = match(pattern, matcher, text, n_bytes, from);
        if (found == 0) break;
        if (found == PCRE2_ERROR_NOMEMORY) return BAL_ERR_MEMORY;
        if (found < 0)
            return bal_fail(BAL_ERR_INPUT,
                            "%s: the pattern \"%.80s\" needs too many steps for a text of %zu "
                            "bytes; expected a pattern that is decided quickly",
                            pattern->origin, pattern->words, n_bytes);
        const size_t *hit = pcre2_get_ovector_pointer(matcher->data);
        size_t start = hit[0], end = hit[1];
        if (start == end && any && last == end) {
            int32_t c;
            from += from < n_bytes ? bal_character(text + from, n_bytes - from, &c) : 1;
            continue;
        }
        if (start < last || end < start) { /* \K and lookbehinds could; the text is covered once */
            return bal_fail(BAL_ERR_INPUT, "%s: the pattern \"%.80s\" matches backwards",
                            pattern->origin, pattern->words);
        }
        if (last != start) BAL_TRY(add_span(spans, last, start, false));
        BAL_TRY(add_span(spans, start, end, true));
        last = from = end;
        any = true;
    }
    if (last != n_bytes) BAL_TRY(add_span(spans, last, n_bytes, false));
    return BAL_OK;
}

bal_status bal_class_find(bool (*is)(int32_t), const char *text, size_t n_bytes,
                          bal_text_spans *spans)
{
    size_t last = 0;
    int32_t c;
    spans->n = 0;
    for (size_t at = 0, n; at < n_bytes; at += n) {
        n = bal_character(text + at, n_bytes - at, &c);
        if (!is(c)) continue;
        if (last < at) BAL_TRY(add_span(spans, last, at, false));
        BAL_TRY(add_span(spans, at, at + n, true));
        last = at + n;
    }
    if (last < n_bytes) BAL_TRY(add_span(spans, last, n_bytes, false));
    return BAL_OK;
}

bal_status bal_string_find(const char *string, size_t n_string, const char *text, size_t n_bytes,
                           bal_text_spans *spans)
{
    const char *from = text, *end = text + n_bytes, *hit;
    spans->n = 0;
    while ((hit = memmem(from, (size_t)(end - from), string, n_string)) != NULL) {
        if (hit > from)
            BAL_TRY(add_span(spans, (size_t)(from - text), (size_t)(hit - text), false));
        from = hit + n_string;
        BAL_TRY(add_span(spans, (size_t)(hit - text), (size_t)(from - text), true));
    }
    if (from < end) BAL_TRY(add_span(spans, (size_t)(from - text), n_bytes, false));
    return BAL_OK;
}
