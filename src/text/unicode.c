/* unicode.c: characters, their classes, cases and normal forms. A byte that is not part of valid
 * UTF-8 is a character of no class, and nothing changes it. Versions: see ballot/text.h. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "text_impl.h"

size_t bal_last_character(const char *text, size_t n_bytes, int32_t *character)
{
    for (size_t n = 1; n <= 4 && n <= n_bytes; ++n) /* from the back: the first whole character */
        if (bal_character(text + n_bytes - n, n, character) == n && *character >= 0) return n;
    *character = BAL_NO_CHARACTER;
    return 1;
}

size_t bal_put_character(char *to, int32_t character)
{
    if (character < 0x80) {
        to[0] = (char)character;
        return 1;
    }
    size_t n = character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
    for (size_t i = n; --i > 0; character >>= 6) to[i] = (char)(0x80 | (character & 0x3f));
    to[0] = (char)((0xf00 >> n & 0xff) | character);
    return n;
}

static utf8proc_category_t category(int32_t character)
{
    return character < 0 ? UTF8PROC_CATEGORY_CN : utf8proc_category(character);
}

static bool is_between(int32_t character, utf8proc_category_t first, utf8proc_category_t last)
{
    utf8proc_category_t found = category(character);
    return found >= first && found <= last;
}

bool bal_is_space(int32_t c)
{
    if (c < 0x80) return c == ' ' || (c >= '\t' && c <= '\r');
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/* Alphabetic, marks, decimal digits, connectors and joiners. Source: Unicode Technical Standard 18,
 * annex C. Besides letters, letter-like numbers and marks, only circled letters are Alphabetic. */
bool bal_is_word(int32_t c)
{
    utf8proc_category_t found = category(c);
    return (found >= UTF8PROC_CATEGORY_LU && found <= UTF8PROC_CATEGORY_LO) ||
           (found >= UTF8PROC_CATEGORY_MN && found <= UTF8PROC_CATEGORY_ME) ||
           found == UTF8PROC_CATEGORY_ND || found == UTF8PROC_CATEGORY_NL ||
           found == UTF8PROC_CATEGORY_PC || (c >= 0x24b6 && c <= 0x24e9) ||
           (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) ||
           (c >= 0x1f170 && c <= 0x1f189) || c == 0x200c || c == 0x200d;
}

bool bal_is_numeric(int32_t c) { return is_between(c, UTF8PROC_CATEGORY_ND, UTF8PROC_CATEGORY_NO); }

bool bal_is_punctuation(int32_t c)
{
    if (c >= 0 && c < 0x80)
        return (c > ' ' && c < '0') || (c > '9' && c < 'A') || (c > 'Z' && c < 'a') ||
               (c > 'z' && c < 0x7f);
    return is_between(c, UTF8PROC_CATEGORY_PC, UTF8PROC_CATEGORY_PO);
}

bool bal_is_mark(int32_t c) { return is_between(c, UTF8PROC_CATEGORY_MN, UTF8PROC_CATEGORY_ME); }

bool bal_is_nonspacing(int32_t c) { return category(c) == UTF8PROC_CATEGORY_MN; }

bool bal_is_control(int32_t c)
{
    utf8proc_category_t found = category(c);
    return found == UTF8PROC_CATEGORY_CC || found == UTF8PROC_CATEGORY_CF ||
           found == UTF8PROC_CATEGORY_CO;
}

bool bal_is_chinese(int32_t c)
{
    return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) ||
           (c >= 0x20000 && c <= 0x2a6df) || (c >= 0x2a700 && c <= 0x2b81f) ||
           (c >= 0x2b920 && c <= 0x2ceaf) || (c >= 0xf900 && c <= 0xfaff) ||
           (c >= 0x2f800 && c <= 0x2fa1f);
}

int bal_lower(int32_t c, int32_t lower[2])
{
    lower[0] = c;
    if (c == 0x130) { /* the only character whose lower case is two characters */
        lower[0] = 'i';
        lower[1] = 0x307;
        return 2;
    }
    if (c >= 0) lower[0] = utf8proc_tolower(c);
    return 1;
}

/* Characters from here on are valid up to *n_valid and, if plain, ASCII. */
static size_t valid_bytes(const char *text, size_t n_bytes, bool *plain)
{
    int32_t c;
    size_t at = 0;
    *plain = true;
    for (size_t n; at < n_bytes; at += n) {
        n = bal_character(text + at, n_bytes - at, &c);
        if (c < 0) break;
        if (c >= 0x80) *plain = false;
    }
    return at;
}

/* Growing characters. */
typedef struct characters {
    int32_t *at;
    size_t n, room;
} characters;

static bal_status make_room(characters *all, size_t n)
{
    return bal_grow(&all->at, &all->room, all->n + n, sizeof *all->at) ? BAL_OK : BAL_ERR_MEMORY;
}

static int combining_class(int32_t c) { return utf8proc_get_property(c)->combining_class; }

/* Canonical ordering: sort the marks from start on by their classes, keeping the order of equal
 * ones. One pass per class; utf8proc_decompose would take time quadratic in their number. */
static bal_status order_marks(characters *all, size_t start)
{
    size_t n = all->n - start;
    if (n < 2) return BAL_OK;
    BAL_TRY(make_room(all, n));
    int32_t *marks = all->at + start, *ordered = marks + n, lowest = 255, highest = 0;
    for (size_t i = 0; i < n; ++i) {
        int class = combining_class(marks[i]);
        if (class < lowest) lowest = class;
        if (class > highest) highest = class;
    }
    size_t n_ordered = 0;
    for (int class = lowest; class <= highest && lowest < highest; ++class)
        for (size_t i = 0; i < n; ++i)
            if (combining_class(marks[i]) == class) ordered[n_ordered++] = marks[i];
    memcpy(marks, ordered, n_ordered * sizeof *marks);
    return BAL_OK;
}

static bal_status decompose(const char *text, size_t n_bytes, utf8proc_option_t options,
                            characters *all)
{
    size_t marks = 0;     /* where the marks at the end start */
    int32_t c, parts[32]; /* no character becomes more than 18 */
    for (size_t at = 0; at < n_bytes;) {
        int bound = 0;
        at += bal_character(text + at, n_bytes - at, &c);
        utf8proc_ssize_t n = utf8proc_decompose_char(c, parts, 32, options, &bound);
        for (utf8proc_ssize_t i = 0; i < n && i < 32; ++i) {
            bool starts = combining_class(parts[i]) == 0;
            if (starts) BAL_TRY(order_marks(all, marks));
            BAL_TRY(make_room(all, 1));
            all->at[all->n++] = parts[i];
            if (starts) marks = all->n;
        }
    }
    return order_marks(all, marks);
}

static bal_status put_normalized(utf8proc_option_t options, const char *text, size_t n_bytes,
                                 bal_bytes *out)
{
    characters all = {0};
    bal_status status = decompose(text, n_bytes, options, &all);
    if (status == BAL_OK && (options & UTF8PROC_COMPOSE))
        all.n = (size_t)utf8proc_normalize_utf32(all.at, (utf8proc_ssize_t)all.n, options);
    for (size_t i = 0; i < all.n && status == BAL_OK; ++i) {
        char bytes[4];
        status = bal_bytes_add(out, bytes, bal_put_character(bytes, all.at[i]));
    }
    free(all.at);
    return status;
}

bal_status bal_unicode_normalize(bal_form form, const char *text, size_t n_bytes, bal_bytes *out)
{
    static const utf8proc_option_t options[] = {
        [BAL_NFC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE,
        [BAL_NFD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE,
        [BAL_NFKC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
        [BAL_NFKD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT};
    for (size_t at = 0; at < n_bytes;) {
        bool plain;
        size_t n = valid_bytes(text + at, n_bytes - at, &plain);
        BAL_TRY(plain ? bal_bytes_add(out, text + at, n)
                      : put_normalized(options[form], text + at, n, out));
        at += n;
        if (at < n_bytes) BAL_TRY(bal_bytes_add(out, text + at++, 1)); /* an invalid byte */
    }
    return BAL_OK;
}
