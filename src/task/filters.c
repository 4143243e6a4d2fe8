/* filters.c: what a template does to a field's text. Letters are those of ASCII. */
#include <string.h>

#include "task_impl.h"

typedef bal_status apply(bal_span word, bal_buffer *text, size_t from);

struct bal_filter_kind {
    const char *name;
    bool has_word;
    apply *apply;
};

static bool is_blank(char c) { return c != 0 && strchr(" \t\r\n", c) != NULL; }
static char lower_of(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

/* Keep n bytes of the text, those from `at` on. */
static void keep(bal_buffer *text, size_t from, size_t at, size_t n)
{
    memmove(text->bytes + from, text->bytes + at, n);
    text->n = from + n;
}

static bal_status trim(bal_span word, bal_buffer *text, size_t from)
{
    (void)word;
    size_t at = from, end = text->n;
    while (at < end && is_blank(text->bytes[at])) ++at;
    while (end > at && is_blank(text->bytes[end - 1])) --end;
    if (end > from) keep(text, from, at, end - at);
    return BAL_OK;
}

static bal_status lower(bal_span word, bal_buffer *text, size_t from)
{
    (void)word;
    for (size_t i = from; i < text->n; ++i) text->bytes[i] = lower_of(text->bytes[i]);
    return BAL_OK;
}

/* The first word, unless it is "I". */
static bal_status lower_word(bal_span word, bal_buffer *text, size_t from)
{
    (void)word;
    size_t end = from;
    while (end < text->n && text->bytes[end] != ' ') ++end;
    if (end - from == 1 && text->bytes[from] == 'I') return BAL_OK;
    for (size_t i = from; i < end; ++i) text->bytes[i] = lower_of(text->bytes[i]);
    return BAL_OK;
}

static bal_status upper_first(bal_span word, bal_buffer *text, size_t from)
{
    (void)word;
    char *first = text->bytes + from;
    if (text->n > from && *first >= 'a' && *first <= 'z') *first = (char)(*first - 32);
    return BAL_OK;
}

/* Without the word at its end. */
static bal_status no_end(bal_span word, bal_buffer *text, size_t from)
{
    if (text->n - from >= word.n && memcmp(text->bytes + text->n - word.n, word.at, word.n) == 0)
        text->n -= word.n;
    return BAL_OK;
}

/* Where a word that splits the text stands; the end of the text: nowhere, which is a failure. */
static size_t find(bal_span word, const bal_buffer *text, size_t from)
{
    const char *found =
        text->n == from ? NULL : memmem(text->bytes + from, text->n - from, word.at, word.n);
    if (found != NULL) return (size_t)(found - text->bytes);
    bal_fail(BAL_ERR_INPUT, "there is no \"%.*s\" in \"%.*s\"", (int)word.n, word.at,
             (int)(text->n - from < 80 ? text->n - from : 80), text->bytes + from);
    return text->n;
}

static bal_status before(bal_span word, bal_buffer *text, size_t from)
{
    size_t at = find(word, text, from);
    if (at == text->n) return BAL_ERR_INPUT;
    text->n = at;
    return BAL_OK;
}

static bal_status after(bal_span word, bal_buffer *text, size_t from)
{
    size_t at = find(word, text, from);
    if (at == text->n) return BAL_ERR_INPUT;
    keep(text, from, at + word.n, text->n - at - word.n);
    return BAL_OK;
}

/* The end of a pair of "a=b,c=d". */
static const char *pair_end(const char *at, const char *end)
{
    const char *comma = memchr(at, ',', (size_t)(end - at));
    return comma == NULL ? end : comma;
}

/* Other words for words: "cause=because,effect=so". */
static bal_status map(bal_span word, bal_buffer *text, size_t from)
{
    const char *end = word.at + word.n;
    size_t n = text->n - from;
    for (const char *at = word.at, *stop; at < end; at = stop + 1) {
        stop = pair_end(at, end);
        const char *equals = memchr(at, '=', (size_t)(stop - at));
        if ((size_t)(equals - at) != n || (n > 0 && memcmp(at, text->bytes + from, n) != 0))
            continue;
        text->n = from;
        return bal_buffer_add(text, equals + 1, (size_t)(stop - equals - 1));
    }
    return bal_fail(BAL_ERR_INPUT, "\"%.*s\" is not in map(%.*s)", (int)(n < 80 ? n : 80),
                    n > 0 ? text->bytes + from : "", (int)word.n, word.at);
}

static const struct bal_filter_kind kinds[] = {
    {"trim", false, trim},
    {"lower", false, lower},
    {"lower_word", false, lower_word},
    {"upper_first", false, upper_first},
    {"no_end", true, no_end},
    {"before", true, before},
    {"after", true, after},
    {"map", true, map},
};
#define N_KINDS (sizeof kinds / sizeof *kinds)

/* Has every pair of map's word an equals sign? */
static bool is_map(bal_span word)
{
    const char *end = word.at + word.n;
    for (const char *at = word.at, *stop; at < end; at = stop + 1) {
        stop = pair_end(at, end);
        if (memchr(at, '=', (size_t)(stop - at)) == NULL) return false;
    }
    return true;
}

static bal_status no_filter(bal_place place, bal_span words)
{
    char names[256] = "";
    for (size_t i = 0; i < N_KINDS; ++i)
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s%s", i > 0 ? ", " : "",
                 kinds[i].name, kinds[i].has_word ? "(...)" : "");
    return bal_fail(BAL_ERR_INPUT, "%s:%d: there is no filter \"%.*s\"; filters: %s", place.path,
                    place.line, (int)words.n, words.at, names);
}

bal_status bal_filter_find(bal_place place, bal_span words, bal_filter *filter)
{
    const char *bracket = words.n == 0 ? NULL : memchr(words.at, '(', words.n);
    size_t n = bracket == NULL ? words.n : (size_t)(bracket - words.at);
    for (size_t i = 0; i < N_KINDS; ++i) {
        const struct bal_filter_kind *kind = &kinds[i];
        if (strlen(kind->name) != n || memcmp(kind->name, words.at, n) != 0) continue;
        if (kind->has_word != (bracket != NULL)) break;
        filter->kind = kind;
        if (bracket == NULL) return BAL_OK;
        if (words.n < n + 3 || words.at[words.n - 1] != ')') break;
        filter->word = (bal_span){bracket + 1, words.n - n - 2};
        if (kind->apply != map || is_map(filter->word)) return BAL_OK;
        return bal_fail(BAL_ERR_INPUT, "%s:%d: %.*s: expected map(word=other,word=other)",
                        place.path, place.line, (int)words.n, words.at);
    }
    return no_filter(place, words);
}

bal_status bal_filter_apply(const bal_filter *filter, bal_buffer *text, size_t from)
{
    return filter->kind->apply(filter->word, text, from);
}
