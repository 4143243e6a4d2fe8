/* encoding.c: files that are not text in UTF-8, and what they look like instead. */
#include <string.h>

#include "data_impl.h"

/* What a file starts with that is something else. */
static const struct beginning {
    const char *bytes;
    size_t n;
    const char *what, *remedy;
} beginnings[] = {
    {"\xFF\xFE\0\0", 4, "text in UTF-32", "iconv -f UTF-32 -t UTF-8"},
    {"\0\0\xFE\xFF", 4, "text in UTF-32", "iconv -f UTF-32 -t UTF-8"},
    {"\xFF\xFE", 2, "text in UTF-16", "iconv -f UTF-16 -t UTF-8"},
    {"\xFE\xFF", 2, "text in UTF-16", "iconv -f UTF-16 -t UTF-8"},
    {"\x1F\x8B", 2, "a gzip file", "gunzip -c"},
    {"\x28\xB5\x2F\xFD", 4, "a Zstandard file", "zstd -dc"},
    {"\xFD"
     "7zXZ\0",
     6, "an xz file", "xz -dc"},
    {"BZh91AY&SY", 10, "a bzip2 file", "bzip2 -dc"},
    {"PK\x03\x04", 4, "a zip archive", "unzip -p"},
    {"%PDF-", 5, "a PDF document", "pdftotext -enc UTF-8"},
};

static bal_status refuse(const char *path, const char *what, const char *remedy)
{
    return bal_fail(BAL_ERR_INPUT, "%s: looks like %s; expected text in UTF-8: %s %s > text.txt",
                    path, what, remedy, path);
}

#define N_LOOKED_AT 4096 /* bytes at the beginning of a file; a multiple of 4 */

static size_t n_looked_at(size_t n_bytes)
{
    return n_bytes < N_LOOKED_AT ? n_bytes / 4 * 4 : N_LOOKED_AT;
}

/* Of every four bytes, those at which most are 0: bit i stands for place i. In UTF-32 it is always
 * the same ones. */
static unsigned places_of_zeros(const char *bytes, size_t n_bytes)
{
    size_t n = n_looked_at(n_bytes), zeros[4] = {0};
    unsigned places = 0;
    for (size_t i = 0; i < n; ++i) zeros[i % 4] += bytes[i] == 0;
    for (unsigned i = 0; i < 4; ++i) places |= (unsigned)(8 * zeros[i] > n) << i;
    return places;
}

/* In UTF-16 the high byte of a letter is below 0x20 in most alphabets: 0 in Latin, 4 in Cyrillic.
 * Tabs and line ends do not count: plain text may have many of them at one place. */
static bool is_control(char byte)
{
    return (unsigned char)byte < 0x20 && memchr("\t\n\r", byte, 3) == NULL;
}

/* The place of the high byte in pairs of bytes: mostly a control byte, which the other rarely is;
 * -1: neither. */
static int place_of_high_byte(const char *bytes, size_t n_bytes)
{
    size_t n = n_looked_at(n_bytes), controls[2] = {0};
    for (size_t i = 0; i < n; ++i) controls[i % 2] += is_control(bytes[i]);
    for (int i = 0; i < 2; ++i)
        if (4 * controls[i] > n && 8 * controls[1 - i] < n) return i;
    return -1;
}

/* Text that has no mark at its beginning. */
static bal_status refuse_wide(const char *path, const char *bytes, size_t n_bytes)
{
    switch (places_of_zeros(bytes, n_bytes)) {
        case 0xC:
        case 0xE:
            return refuse(path, "text in UTF-32", "iconv -f UTF-32LE -t UTF-8");
        case 0x3:
        case 0x7:
            return refuse(path, "text in UTF-32", "iconv -f UTF-32BE -t UTF-8");
        default:
            break;
    }
    switch (place_of_high_byte(bytes, n_bytes)) {
        case 0:
            return refuse(path, "text in UTF-16", "iconv -f UTF-16BE -t UTF-8");
        case 1:
            return refuse(path, "text in UTF-16", "iconv -f UTF-16LE -t UTF-8");
        default:
            return BAL_OK;
    }
}

/* Bytes that are no text are read as they are, and version 0.1 read them without a word. */
static bal_status check_bytes(const char *path, const char *bytes, size_t n_bytes)
{
    size_t n_zeros = 0;
    size_t n_wrong = 0, n_right = 0; /* bytes, and characters beyond ASCII */
    for (size_t i = 0, n; i < n_bytes; i += n) {
        int32_t character;
        n = bal_character(bytes + i, n_bytes - i, &character);
        n_zeros += character == 0;
        n_wrong += character == BAL_NO_CHARACTER;
        n_right += character >= 0x80;
    }
    if (n_zeros > 0 && n_wrong > n_bytes / 8)
        return bal_fail(BAL_ERR_INPUT, "%s: looks like binary data; expected text in UTF-8", path);
    if (n_zeros > 0)
        bal_log(BAL_LOG_WARN,
                "%s: %zu bytes are 0 and are read as they are; to drop them: tr -d '\\000' < %s > "
                "text.txt",
                path, n_zeros, path);
    if (n_wrong > n_right)
        bal_log(BAL_LOG_WARN,
                "%s: %zu bytes are not UTF-8; if it is text in Latin-1 or Windows-1252, convert "
                "it: iconv -f WINDOWS-1252 -t UTF-8 %s > text.txt",
                path, n_wrong, path);
    return BAL_OK;
}

bal_status bal_text_check(const char *path, const char *bytes, size_t n_bytes)
{
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; ++i) {
        const struct beginning *b = &beginnings[i];
        if (n_bytes >= b->n && memcmp(bytes, b->bytes, b->n) == 0)
            return refuse(path, b->what, b->remedy);
    }
    BAL_TRY(refuse_wide(path, bytes, n_bytes));
    return check_bytes(path, bytes, n_bytes);
}

void bal_text_tell_returns(const char *path, const char *bytes, size_t n_bytes)
{
    size_t n_lines = 0, n_cr_lf = 0;
    for (size_t i = 1; i < n_bytes; ++i) {
        n_lines += bytes[i] == '\n';
        n_cr_lf += bytes[i] == '\n' && bytes[i - 1] == '\r';
    }
    if (n_cr_lf > n_lines / 2)
        bal_log(BAL_LOG_WARN,
                "%s: lines end with CR LF, as in Windows, and the CRs are learned with the text; "
                "to drop them: tr -d '\\r' < %s > text.txt",
                path, path);
}
