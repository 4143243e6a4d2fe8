/* zip.c: the entries of an uncompressed zip file, as torch.save writes it (PKWARE APPNOTE.TXT 6.3,
 * with ZIP64). What two readers could understand differently is refused. Checksums are not checked:
 * that would read the whole file before its first tensor is needed. */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "pickle_impl.h"

#define N_CENTRAL 46 /* fixed part of an entry in the directory */
#define N_LOCAL 30   /* fixed part of the header before an entry's data */
#define N_END 22
#define N_END64 56
#define N_LOCATOR 20
#define NAME_BYTES_MAX 255
#define FULL32 UINT32_MAX     /* "see the ZIP64 field" */
#define FLAG_SIZES 0x0008     /* sizes come after the data; the directory has them too */
#define FLAGS_HARMLESS 0x080e /* that, UTF-8 names, and options of the compressor */

typedef struct archive {
    const uint8_t *data;
    size_t n_bytes;
    const char *origin;
} archive;

typedef struct directory {
    uint64_t start, n_bytes, n_entries;
} directory;

static uint64_t number(const uint8_t *from, int n_bytes)
{
    uint64_t value = 0;
    memcpy(&value, from, (size_t)n_bytes);
    return le64toh(value);
}

static bool has_signature(const uint8_t *from, const char *last)
{
    return from[0] == 'P' && from[1] == 'K' && memcmp(from + 2, last, 2) == 0;
}

static bal_status damaged(const archive *a, const char *what, size_t at)
{
    return bal_fail(BAL_ERR_INPUT,
                    "%s: zip file: %s at byte %zu; expected it as torch.save writes it", a->origin,
                    what, at);
}

/* A 32-bit field agrees with the 64-bit one if it is equal to it or refers to it. */
static bool agree(uint64_t field, uint64_t full, uint64_t wide)
{
    return field == wide || field == full;
}

/* The end record must be the last bytes of the file, so that there is only one place for it. */
static bal_status find_directory(const archive *a, directory *d)
{
    if (a->n_bytes < N_END || !has_signature(a->data + a->n_bytes - N_END, "\5\6"))
        return bal_fail(
            BAL_ERR_INPUT,
            "%s: not a zip file, or cut short: %zu bytes; expected an end record in the last 22",
            a->origin, a->n_bytes);
    size_t at = a->n_bytes - N_END;
    const uint8_t *end = a->data + at;
    *d = (directory){number(end + 16, 4), number(end + 12, 4), number(end + 10, 2)};
    if (number(end + 4, 4) != 0 || number(end + 8, 2) != d->n_entries || number(end + 20, 2) != 0)
        return damaged(a, "an end record of several volumes or with a comment", at);
    size_t start = at; /* of the end records */
    if (at >= N_LOCATOR + N_END64 && has_signature(end - N_LOCATOR, "\6\7")) {
        const uint8_t *end64 = end - N_LOCATOR - N_END64;
        start = at - N_LOCATOR - N_END64;
        directory wide = {number(end64 + 48, 8), number(end64 + 40, 8), number(end64 + 32, 8)};
        if (number(end - 16, 4) != 0 || number(end - 12, 8) != start || number(end - 4, 4) > 1 ||
            !has_signature(end64, "\6\6") || number(end64 + 4, 8) != N_END64 - 12 ||
            number(end64 + 16, 8) != 0 || number(end64 + 24, 8) != wide.n_entries ||
            !agree(d->start, FULL32, wide.start) || !agree(d->n_bytes, FULL32, wide.n_bytes) ||
            !agree(d->n_entries, UINT16_MAX, wide.n_entries))
            return damaged(a, "a ZIP64 end record that contradicts itself", start);
        *d = wide;
    }
    if (d->start > start || d->n_bytes != start - d->start || d->n_entries > d->n_bytes / N_CENTRAL)
        return damaged(a, "a directory that does not end where its end record starts", start);
    return BAL_OK;
}

/* Values that do not fit 32 bits are in extra field 1, in this order. */
static bool widen(const uint8_t *extra, size_t n_extra, uint64_t *const values[], int n_values)
{
    while (n_extra >= 4 && number(extra, 2) != 1) {
        size_t n = 4 + number(extra + 2, 2);
        if (n > n_extra) return false;
        extra += n;
        n_extra -= n;
    }
    size_t n_left = n_extra >= 4 ? number(extra + 2, 2) : 0;
    if (n_left > 0 && n_left > n_extra - 4) return false;
    const uint8_t *at = n_left > 0 ? extra + 4 : extra;
    for (int i = 0; i < n_values; ++i) {
        if (*values[i] != FULL32) continue;
        if (n_left < 8) return false;
        *values[i] = number(at, 8);
        at += 8;
        n_left -= 8;
    }
    return true;
}

/* The header before the data must agree with the directory, or leave the sizes to it. */
static bal_status check_local(const archive *a, uint64_t flags, bal_hub_zip_entry *entry,
                              size_t end)
{
    size_t at = entry->start;
    if (at > end || end - at < N_LOCAL || !has_signature(a->data + at, "\3\4"))
        return damaged(a, "no local header", at);
    const uint8_t *from = a->data + at;
    size_t n_name = number(from + 26, 2), n_extra = number(from + 28, 2);
    if (end - at - N_LOCAL < n_name + n_extra || n_name != entry->n_name ||
        memcmp(from + N_LOCAL, entry->name, n_name) != 0 || number(from + 6, 2) != flags ||
        number(from + 8, 2) != 0)
        return damaged(a, "a local header that the directory contradicts", at);
    uint64_t packed = number(from + 18, 4), plain = number(from + 22, 4);
    bool wide = widen(from + N_LOCAL + n_name, n_extra, (uint64_t *[]){&plain, &packed}, 2);
    bool later = (flags & FLAG_SIZES) != 0 && packed == 0 && plain == 0;
    if (!wide || (!later && (packed != entry->n_bytes || plain != entry->n_bytes)))
        return damaged(a, "a local header with another size than in the directory", at);
    size_t start = at + N_LOCAL + n_name + n_extra;
    if (entry->n_bytes > end - start)
        return damaged(a, "an entry that is longer than the file", at);
    entry->data = a->data + start;
    return BAL_OK;
}

static bool is_name(const char *name, size_t n)
{
    for (size_t i = 0; i < n; ++i)
        if (name[i] < ' ' || name[i] > '~') return false;
    return n >= 1 && n <= NAME_BYTES_MAX;
}

/* The entry at *at of the directory; *at moves past it. */
static bal_status parse_entry(const archive *a, const directory *d, size_t *at,
                              bal_hub_zip_entry *entry)
{
    size_t n_left = d->start + d->n_bytes - *at;
    const uint8_t *from = a->data + *at;
    if (n_left < N_CENTRAL || !has_signature(from, "\1\2"))
        return damaged(a, "no entry of the directory", *at);
    size_t n_name = number(from + 28, 2), n_extra = number(from + 30, 2);
    size_t n_bytes = N_CENTRAL + n_name + n_extra + number(from + 32, 2);
    if (n_bytes > n_left) return damaged(a, "an entry that ends after the directory", *at);
    *entry = (bal_hub_zip_entry){.name = (const char *)from + N_CENTRAL, .n_name = n_name};
    if (!is_name(entry->name, n_name))
        return damaged(a, "a name that is too long or not plain ASCII", *at + N_CENTRAL);
    uint64_t flags = number(from + 8, 2), method = number(from + 10, 2);
    if (method != 0 || (flags & ~(uint64_t)FLAGS_HARMLESS) != 0)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: zip entry %.*s has method %llu and flags 0x%04llx; expected it stored "
                        "as it is, as torch.save does",
                        a->origin, (int)n_name, entry->name, (unsigned long long)method,
                        (unsigned long long)flags);
    uint64_t packed = number(from + 20, 4), plain = number(from + 24, 4);
    uint64_t start = number(from + 42, 4);
    if (!widen(from + N_CENTRAL + n_name, n_extra, (uint64_t *[]){&plain, &packed, &start}, 3) ||
        packed != plain || number(from + 34, 2) != 0)
        return damaged(a, "an entry that contradicts itself", *at);
    entry->start = start;
    entry->n_bytes = plain;
    *at += n_bytes;
    return check_local(a, flags, entry, d->start);
}

static int compare_starts(const void *a, const void *b)
{
    const bal_hub_zip_entry *x = a, *y = b;
    return (x->start > y->start) - (x->start < y->start);
}

static int compare_names(const void *a, const void *b)
{
    const bal_hub_zip_entry *x = a, *y = b;
    size_t n = x->n_name < y->n_name ? x->n_name : y->n_name;
    int order = memcmp(x->name, y->name, n);
    return order != 0 ? order : (x->n_name > y->n_name) - (x->n_name < y->n_name);
}

static bal_status check_apart(const archive *a, bal_hub_zip *zip)
{
    size_t n = (size_t)zip->n_entries;
    qsort(zip->entries, n, sizeof *zip->entries, compare_starts);
    for (size_t i = 1; i < n; ++i) {
        const bal_hub_zip_entry *before = &zip->entries[i - 1];
        if (zip->entries[i].start < (size_t)(before->data - a->data) + before->n_bytes)
            return damaged(a, "an entry that overlaps the one before", zip->entries[i].start);
    }
    qsort(zip->entries, n, sizeof *zip->entries, compare_names);
    for (size_t i = 1; i < n; ++i)
        if (compare_names(&zip->entries[i - 1], &zip->entries[i]) == 0)
            return bal_fail(BAL_ERR_INPUT, "%s: zip entry %.*s is there twice", a->origin,
                            (int)zip->entries[i].n_name, zip->entries[i].name);
    return BAL_OK;
}

bal_status bal_hub_zip_parse(const uint8_t *data, size_t n_bytes, const char *origin,
                             bal_hub_zip *zip)
{
    archive a = {data, n_bytes, origin};
    directory d = {0};
    *zip = (bal_hub_zip){.origin = origin};
    BAL_TRY(find_directory(&a, &d));
    zip->entries = bal_alloc(d.n_entries, sizeof *zip->entries);
    if (zip->entries == NULL)
        return bal_fail(BAL_ERR_MEMORY, "%s: no memory for its directory", origin);
    bal_status status = BAL_OK;
    size_t at = d.start;
    while (status == BAL_OK && (uint64_t)zip->n_entries < d.n_entries)
        status = parse_entry(&a, &d, &at, &zip->entries[zip->n_entries++]);
    if (status == BAL_OK && at != d.start + d.n_bytes)
        status = damaged(&a, "more in the directory than its entries", at);
    if (status == BAL_OK) status = check_apart(&a, zip);
    if (status != BAL_OK) bal_hub_zip_clear(zip);
    return status;
}

void bal_hub_zip_clear(bal_hub_zip *zip)
{
    free(zip->entries);
    *zip = (bal_hub_zip){0};
}

const bal_hub_zip_entry *bal_hub_zip_find(const bal_hub_zip *zip, const char *name)
{
    bal_hub_zip_entry key = {.name = name, .n_name = strlen(name)};
    return bsearch(&key, zip->entries, (size_t)zip->n_entries, sizeof key, compare_names);
}
