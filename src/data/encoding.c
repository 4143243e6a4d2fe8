/* encoding.c: what is no text in UTF-8, and what it looks like instead. */
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

/* No text has a byte 0; every other one is 0 in UTF-16 where letters are Latin. */
static bal_status refuse_zeros(const char *path, const char *bytes, size_t n_bytes, size_t first)
{
    size_t n = n_bytes < 4096 ? n_bytes : 4096, zeros[2] = {0};
    for (size_t i = 0; i < n; ++i) zeros[i % 2] += bytes[i] == 0;
    if (zeros[1] > n / 4 && zeros[0] < zeros[1] / 8)
        return refuse(path, "text in UTF-16", "iconv -f UTF-16LE -t UTF-8");
    if (zeros[0] > n / 4 && zeros[1] < zeros[0] / 8)
        return refuse(path, "text in UTF-16", "iconv -f UTF-16BE -t UTF-8");
    return bal_fail(BAL_ERR_INPUT,
                    "%s: looks like binary data, for byte %zu is 0; expected text in UTF-8. If it "
                    "is text with a few such bytes, drop them: tr -d '\\000' < %s > text.txt",
                    path, first, path);
}

/* Text in an encoding of a byte per character still says something, by its ASCII. */
static void warn_of_bytes(const char *path, const char *bytes, size_t n_bytes)
{
    size_t n_wrong = 0, n_right = 0; /* bytes and characters beyond ASCII */
    for (size_t i = 0, n; i < n_bytes; i += n) {
        int32_t character;
        n = bal_character(bytes + i, n_bytes - i, &character);
        n_wrong += character == BAL_NO_CHARACTER;
        n_right += character >= 0x80;
    }
    if (n_wrong > n_right)
        bal_log(BAL_LOG_WARN,
                "%s: %zu bytes are no UTF-8; if it is text in Latin-1 or Windows-1252, convert it: "
                "iconv -f WINDOWS-1252 -t UTF-8 %s > text.txt",
                path, n_wrong, path);
}

bal_status bal_text_check(const char *path, const char *bytes, size_t n_bytes)
{
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; ++i) {
        const struct beginning *b = &beginnings[i];
        if (n_bytes >= b->n && memcmp(bytes, b->bytes, b->n) == 0)
            return refuse(path, b->what, b->remedy);
    }
    if (n_bytes == 0) return BAL_OK;
    const char *zero = memchr(bytes, 0, n_bytes);
    if (zero != NULL) return refuse_zeros(path, bytes, n_bytes, (size_t)(zero - bytes));
    warn_of_bytes(path, bytes, n_bytes);
    return BAL_OK;
}
