/* journal.c: the append-only record of every ballot.
 *
 * The file, little-endian, no padding:
 *   header, 128 bytes
 *     0  magic "BALLOTJ1"        40  u64 job_hash
 *     8  u32 version, 2 to 4     48  u64 base_hash
 *    12  u32 0x01020304          56  u64 data_hash
 *    16  u64 seed                64  u64 task_hash, 0 in version 2
 *    24  u32 stream_version      72  u8 n_bits, u8 n_points; 0 before version 4
 *    28  i32 n_slots            120  u64 XXH3-64 of the bytes before
 *    32  i64 n_steps
 *   records, each (4 + T + C + n_bits * W + M + 1) * 8 bytes, W = ceil(n_slots / 64)
 *     i64 step, i64 dev_loss, i64 dev_tokens
 *     i32 n_ranks or 0, i32 accused rank + 1 or 0
 *     T words of bal_totals, in its order: 9, or 7 before version 4, without spread and common
 *     of version 4 (C = 8): the words of bal_course
 *     n_bits maps of W words, see bal_ballot_shape; before version 4, n_bits is 2: votes for and
 *         votes against; slot s is bit s % 64 of word s / 64 of each
 *     of version 3 and 4 (M = 1): i64 dev_merit
 *     u64 XXH3-64 of the words before, seeded with the hash of the record before (the first: of the
 *         header), so that a record that was changed, removed or moved ends the valid prefix
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ballot/record.h"

#define MAGIC "BALLOTJ1"
#define VERSION_OF_SIGNS 2
#define VERSION_OF_MERIT 3
#define VERSION_OF_VALUES 4
#define ENDIAN_MARK 0x01020304u

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "structs are written as they lie");

typedef struct header {
    char magic[8];
    uint32_t version, endian_mark;
    bal_run_id id;
    uint8_t n_bits, n_points; /* 0 before version 4 */
    uint8_t reserved[46];
    uint64_t hash;
} header;
_Static_assert(offsetof(bal_run_id, n_slots) == 12 && offsetof(bal_run_id, task_hash) == 48 &&
                   offsetof(header, hash) == 120 && sizeof(header) == 128,
               "the header has the layout described above");
_Static_assert(offsetof(bal_totals, spread) == 40 && sizeof(bal_totals) == 72 &&
                   sizeof(bal_course) == 64,
               "totals have the layout described above");

#define RANKS_AT 3  /* words before n_ranks and accused of a record */
#define TOTALS_AT 4 /* words before its totals */
#define CAST_AT (TOTALS_AT + offsetof(bal_totals, n_cast) / 8)
#define SPREAD_AT (TOTALS_AT + offsetof(bal_totals, spread) / 8)
#define COURSE_AT (TOTALS_AT + sizeof(bal_totals) / 8)
#define RATE_MAX ((uint64_t)1 << 52)
#define N_COURSE (sizeof(bal_course) / 8)

struct bal_journal {
    char *path;
    int fd;
    bool for_append;
    bal_run_id id;
    bal_journal_form form;
    int64_t n, tail;
    int64_t n_words;    /* of a record */
    uint64_t last_hash; /* of record n - 1, or of the header */
    uint64_t *window;   /* [1 + n_words]: the hash before a record, and the record */
};

static uint32_t version_of(bal_journal_form form)
{
    if (form.n_bits != BAL_SIGN_BITS || form.n_points != 2 || form.has_course)
        return VERSION_OF_VALUES;
    return form.has_merit ? VERSION_OF_MERIT : VERSION_OF_SIGNS;
}

bool bal_journal_has_values(bal_journal_form form) { return version_of(form) == VERSION_OF_VALUES; }
static bool has_merit(bal_journal_form form) { return version_of(form) != VERSION_OF_SIGNS; }

/* Words of a record before its bits. */
static int64_t bits_at(bal_journal_form form)
{
    return bal_journal_has_values(form) ? COURSE_AT + N_COURSE : SPREAD_AT + 2;
}

static bal_ballot_shape shape_of(int n_slots, bal_journal_form form)
{
    return (bal_ballot_shape){.n_slots = n_slots, .n_bits = form.n_bits};
}

static int64_t record_words(int n_slots, bal_journal_form form)
{
    return bits_at(form) + bal_ballot_words(shape_of(n_slots, form)) + has_merit(form) + 1;
}

int64_t bal_journal_bytes(int n_slots, bal_journal_form form, int64_t n_steps)
{
    return (int64_t)sizeof(header) + n_steps * record_words(n_slots, form) * 8;
}

static off_t record_offset(const bal_journal *j, int64_t index)
{
    return (off_t)sizeof(header) + index * j->n_words * 8;
}

static bool bits_are_valid(const uint64_t *bits, bal_ballot_shape shape)
{
    int64_t n_words = bal_ballot_words(shape) / shape.n_bits; /* of a map */
    uint64_t unused = shape.n_slots % 64 == 0 ? 0 : ~(uint64_t)0 << shape.n_slots % 64, found = 0;
    for (int i = 1; i <= shape.n_bits; ++i) found |= bits[i * n_words - 1];
    return (found & unused) == 0;
}

static bool ranks_are_valid(uint64_t word)
{
    int64_t n_ranks = (int32_t)word, accused = (int32_t)(word >> 32);
    return n_ranks >= 0 && accused >= 0 && accused <= n_ranks;
}

/* Whatever its checksum says. */
static bool contents_are_valid(const bal_journal *j, const uint64_t *record)
{
    return ranks_are_valid(record[RANKS_AT]) && record[CAST_AT] <= (uint64_t)j->id.n_slots &&
           (!bal_journal_has_values(j->form) ||
            (record[SPREAD_AT] <= INT64_MAX && record[COURSE_AT] <= RATE_MAX)) &&
           bits_are_valid(record + bits_at(j->form), bal_journal_ballot(j));
}

/* Read record index into the window, with the hash before it. *valid is false where it is short,
 * damaged or out of place. */
static bal_status read_record(bal_journal *j, int64_t index, bool *valid)
{
    size_t n_bytes = (size_t)(1 + j->n_words) * 8;
    ssize_t got = bal_read_at(j->fd, j->window, n_bytes, record_offset(j, index) - 8, j->path);
    if (got < 0) return BAL_ERR_IO;
    const uint64_t *record = j->window + 1;
    *valid = (size_t)got == n_bytes && record[0] == (uint64_t)index &&
             contents_are_valid(j, record) &&
             record[j->n_words - 1] == bal_hash(record, (size_t)(j->n_words - 1) * 8, j->window[0]);
    return BAL_OK;
}

static bal_journal_form form_of(const header *h)
{
    if (h->version == VERSION_OF_VALUES)
        return (bal_journal_form){
            .n_bits = h->n_bits, .n_points = h->n_points, .has_merit = true, .has_course = true};
    return (bal_journal_form){
        .n_bits = BAL_SIGN_BITS, .n_points = 2, .has_merit = h->version == VERSION_OF_MERIT};
}

static bal_status read_header(bal_journal *j)
{
    header h;
    ssize_t got = bal_read_at(j->fd, &h, sizeof h, 0, j->path);
    if (got < 0) return BAL_ERR_IO;
    if (got < (ssize_t)sizeof h)
        return bal_fail(BAL_ERR_INPUT, "%s: %zd bytes; expected a journal header of %zu", j->path,
                        got, sizeof h);
    if (memcmp(h.magic, MAGIC, sizeof h.magic) != 0)
        return bal_fail(BAL_ERR_INPUT, "%s: expected a ballot journal, starting with " MAGIC,
                        j->path);
    if (h.endian_mark != ENDIAN_MARK)
        return bal_fail(BAL_ERR_INPUT, "%s: byte order mark %08" PRIx32 "; expected %08x", j->path,
                        h.endian_mark, ENDIAN_MARK);
    if (h.version < VERSION_OF_SIGNS || h.version > VERSION_OF_VALUES)
        return bal_fail(BAL_ERR_INPUT, "%s: journal version %" PRIu32 "; expected %d to %d",
                        j->path, h.version, VERSION_OF_SIGNS, VERSION_OF_VALUES);
    if (h.hash != bal_hash(&h, offsetof(header, hash), 0))
        return bal_fail(BAL_ERR_INPUT,
                        "%s: the header (bytes 0 to 127) does not match its checksum", j->path);
    j->form = form_of(&h);
    bool is_known = h.id.task_hash == 0 || h.version != VERSION_OF_SIGNS;
    if (h.version < VERSION_OF_VALUES)
        is_known &= h.n_bits == 0 && h.n_points == 0;
    else
        is_known &= version_of(j->form) == VERSION_OF_VALUES && h.n_bits >= BAL_SIGN_BITS &&
                    h.n_bits <= BAL_VOTE_BITS_MAX && (h.n_points == 1 || h.n_points == 2);
    for (size_t i = 0; i < sizeof h.reserved; ++i) is_known &= h.reserved[i] == 0;
    if (!is_known)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: bytes 64 to 119 of the header are not those of a journal of version "
                        "%" PRIu32,
                        j->path, h.version);
    if (h.id.n_slots < 1 || h.id.n_slots > BAL_SLOTS_MAX || h.id.n_steps < 0)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: header with %" PRId32 " slots and %" PRId64
                        " steps; expected 1 to %d slots and 0 or more steps",
                        j->path, h.id.n_slots, h.id.n_steps, BAL_SLOTS_MAX);
    j->id = h.id;
    j->n_words = record_words(h.id.n_slots, j->form);
    j->last_hash = h.hash;
    return BAL_OK;
}

bal_status bal_journal_create(const char *path, const bal_run_id *id, bal_journal_form form,
                              bal_journal **journal)
{
    assert(id->n_slots >= 1 && id->n_slots <= BAL_SLOTS_MAX && id->n_steps >= 0);
    struct stat info;
    if (lstat(path, &info) == 0)
        return bal_fail(BAL_ERR_STATE, "%s: already exists; a journal is never overwritten", path);
    header h = {.version = version_of(form), .endian_mark = ENDIAN_MARK, .id = *id};
    if (h.version == VERSION_OF_VALUES)
        h.n_bits = (uint8_t)form.n_bits, h.n_points = (uint8_t)form.n_points;
    memcpy(h.magic, MAGIC, sizeof h.magic);
    h.hash = bal_hash(&h, offsetof(header, hash), 0);

    /* Published whole: a process killed here must not leave a journal that cannot be opened. */
    const char *slash = strrchr(path, '/');
    char dir[PATH_MAX];
    int dir_bytes = slash == NULL ? 1 : slash == path ? 1 : (int)(slash - path);
    if (snprintf(dir, sizeof dir, "%.*s", dir_bytes, slash == NULL ? "." : path) >= PATH_MAX)
        return bal_fail(BAL_ERR_IO, "%s: the path is too long", path);
    BAL_TRY(bal_publish(dir, slash == NULL ? path : slash + 1, &h, sizeof h));
    return bal_journal_open(path, true, journal);
}

static bal_status scan(bal_journal *j)
{
    struct stat info;
    if (fstat(j->fd, &info) != 0)
        return bal_fail(BAL_ERR_IO, "%s: no size: %s", j->path, strerror(errno));
    for (bool valid = true; valid;) {
        BAL_TRY(read_record(j, j->n, &valid));
        valid = valid && j->window[0] == j->last_hash;
        if (!valid) break;
        j->last_hash = j->window[j->n_words];
        j->n++;
    }
    off_t end = record_offset(j, j->n);
    j->tail = info.st_size > end ? info.st_size - end : 0;
    if (j->for_append && j->tail > 0 &&
        (TEMP_FAILURE_RETRY(ftruncate(j->fd, end)) != 0 || TEMP_FAILURE_RETRY(fsync(j->fd)) != 0))
        return bal_fail(BAL_ERR_IO, "%s: cutting an invalid tail failed: %s", j->path,
                        strerror(errno));
    return BAL_OK;
}

bal_status bal_journal_open(const char *path, bool for_append, bal_journal **journal)
{
    bal_status status = BAL_ERR_MEMORY;
    struct stat info;
    bal_journal *j = calloc(1, sizeof *j);
    if (j == NULL) goto done;
    j->for_append = for_append;
    j->fd = open(path, (for_append ? O_RDWR : O_RDONLY) | O_NONBLOCK | O_CLOEXEC);
    if (j->fd < 0) {
        bool missing = !for_append || errno == ENOENT || errno == ENOTDIR;
        status = bal_fail(missing ? BAL_ERR_INPUT : BAL_ERR_IO, "%s: cannot be opened: %s", path,
                          strerror(errno));
        goto done;
    }
    if (fstat(j->fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        status = bal_fail(BAL_ERR_INPUT, "%s: expected a regular file", path);
        goto done;
    }
    j->path = strdup(path);
    if (j->path == NULL) goto done;
    status = read_header(j);
    if (status != BAL_OK) goto done;
    status = BAL_ERR_MEMORY;
    j->window = bal_alloc((size_t)(1 + j->n_words), sizeof *j->window);
    if (j->window == NULL) goto done;
    status = scan(j);
    if (status != BAL_OK) goto done;
    *journal = j;
    j = NULL;
done:
    if (status == BAL_ERR_MEMORY) bal_fail(status, "%s: no memory for the journal", path);
    bal_journal_close(&j);
    return status;
}

void bal_journal_close(bal_journal **journal)
{
    bal_journal *j = *journal;
    if (j == NULL) return;
    if (j->fd >= 0) close(j->fd);
    free(j->path);
    free(j->window);
    free(j);
    *journal = NULL;
}

const bal_run_id *bal_journal_id(const bal_journal *journal) { return &journal->id; }

bal_ballot_shape bal_journal_ballot(const bal_journal *journal)
{
    return shape_of(journal->id.n_slots, journal->form);
}

bal_journal_form bal_journal_form_of(const bal_journal *journal) { return journal->form; }

int64_t bal_journal_n(const bal_journal *journal) { return journal->n; }

int64_t bal_journal_tail(const bal_journal *journal) { return journal->tail; }

/* Where the words of totals and course stand in a record. Those that it lacks are read as 0. */
static void put_totals(const bal_journal_entry *entry, bal_journal_form form, uint64_t *record)
{
    const bal_totals *totals = &entry->totals;
    memcpy(record + TOTALS_AT, totals,
           bal_journal_has_values(form) ? sizeof *totals : offsetof(bal_totals, spread));
    if (bal_journal_has_values(form))
        memcpy(record + COURSE_AT, &entry->course, sizeof entry->course);
    else
        memcpy(record + SPREAD_AT, &totals->fingerprint_min, 16);
}
static void read_totals(const uint64_t *record, bal_journal_form form, bal_journal_entry *entry)
{
    bal_totals *totals = &entry->totals;
    memcpy(totals, record + TOTALS_AT, sizeof *totals);
    entry->course = (bal_course){0};
    if (bal_journal_has_values(form)) {
        memcpy(&entry->course, record + COURSE_AT, sizeof entry->course);
    } else {
        totals->spread = totals->common = 0;
        memcpy(&totals->fingerprint_min, record + SPREAD_AT, 16);
    }
}

bal_status bal_journal_read(bal_journal *journal, int64_t index, bal_journal_entry *entry)
{
    assert(index >= 0 && index < journal->n);
    bool valid = false;
    BAL_TRY(read_record(journal, index, &valid));
    if (!valid)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: the record of step %" PRId64
                        " was valid when the journal was opened and is not now",
                        journal->path, index);
    const uint64_t *record = journal->window + 1;
    entry->step = (int64_t)record[0];
    entry->dev_loss = (int64_t)record[1];
    entry->dev_tokens = (int64_t)record[2];
    entry->n_ranks = (int)(uint32_t)record[RANKS_AT];
    entry->accused = (int)(record[RANKS_AT] >> 32) - 1;
    read_totals(record, journal->form, entry);
    entry->bits = record + bits_at(journal->form);
    entry->dev_merit = has_merit(journal->form) ? (int64_t)record[journal->n_words - 2] : -1;
    return BAL_OK;
}

bal_status bal_journal_append(bal_journal *journal, const bal_journal_entry *entry)
{
    assert(journal->for_append);
    if (entry->step != journal->n)
        return bal_fail(BAL_ERR_ARG, "%s: step %" PRId64 " cannot follow %" PRId64 " records",
                        journal->path, entry->step, journal->n);
    uint64_t *record = journal->window + 1;
    size_t n_bytes = (size_t)journal->n_words * 8;
    /* The bits may lie in the window: an entry read from here and appended again. */
    int64_t n_bits = bal_ballot_words(bal_journal_ballot(journal)), at = bits_at(journal->form);
    memmove(record + at, entry->bits, (size_t)n_bits * 8);
    if (has_merit(journal->form)) record[at + n_bits] = (uint64_t)entry->dev_merit;
    record[0] = (uint64_t)entry->step;
    record[1] = (uint64_t)entry->dev_loss;
    record[2] = (uint64_t)entry->dev_tokens;
    record[RANKS_AT] = (uint64_t)((int64_t)entry->accused + 1) << 32 | (uint32_t)entry->n_ranks;
    put_totals(entry, journal->form, record);
    assert(contents_are_valid(journal, record));
    uint64_t hash = bal_hash(record, n_bytes - 8, journal->last_hash);
    record[journal->n_words - 1] = hash;

    off_t end = record_offset(journal, journal->n);
    bal_status status;
    if (lseek(journal->fd, end, SEEK_SET) != end)
        return bal_fail(BAL_ERR_IO, "%s: seeking failed: %s", journal->path, strerror(errno));
    status = bal_write_all(journal->fd, record, n_bytes, journal->path);
    if (status == BAL_OK && TEMP_FAILURE_RETRY(fdatasync(journal->fd)) != 0)
        status = bal_fail(BAL_ERR_IO, "%s: fdatasync failed: %s", journal->path, strerror(errno));
    if (status != BAL_OK) {
        /* Should this fail too, the next append or open still takes these bytes for no record. */
        (void)TEMP_FAILURE_RETRY(ftruncate(journal->fd, end));
        return status;
    }
    journal->last_hash = hash;
    journal->n++;
    return BAL_OK;
}
