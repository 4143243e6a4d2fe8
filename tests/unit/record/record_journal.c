/* record_journal.c: a journal gives back what was appended, and nothing else. */
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ballot/record.h"
#include "files.h"
#include "suite.h"

#define HEADER_BYTES 128

static bool has_merit; /* of journals that are made: version 3 */

static bal_run_id make_id(int n_slots)
{
    return (bal_run_id){.seed = 0x8000000000000001u,
                        .stream_version = 1,
                        .n_slots = n_slots,
                        .n_steps = 1000,
                        .job_hash = 11,
                        .base_hash = 22,
                        .data_hash = UINT64_MAX,
                        .task_hash = has_merit ? 33 : 0};
}

static const bal_journal_form signs = {.n_bits = BAL_SIGN_BITS, .n_points = 2};
static bal_journal_form form = {.n_bits = BAL_SIGN_BITS,
                                .n_points = 2}; /* of those that are made */

static size_t bits_words(int n_slots)
{
    return (size_t)bal_ballot_words((bal_ballot_shape){.n_slots = n_slots, .n_bits = form.n_bits});
}
static size_t record_bytes(int n_slots) { return (12 + bits_words(n_slots)) * 8; }

/* An entry that is a function of the step; bits [bits_words(n_slots)]. */
static bal_journal_entry make_entry(int64_t step, int n_slots, uint64_t *bits)
{
    uint64_t state = 1000 + (uint64_t)step;
    int64_t n_words = (int64_t)bits_words(n_slots) / form.n_bits;
    memset(bits, 0, bits_words(n_slots) * sizeof *bits);
    for (int slot = 0; slot < n_slots; ++slot) {
        uint64_t vote = bal_test_random(&state); /* any, tied, abstained */
        for (int map = 0; map < form.n_bits; ++map)
            if (vote >> map & 1) bits[map * n_words + slot / 64] |= (uint64_t)1 << slot % 64;
    }
    const struct {
        int n_ranks, accused;
    } ranks[] = {{2, 1}, {0, -1}, {INT_MAX, -1}, {INT_MAX, INT_MAX - 1}, {1, -1}};
    bal_journal_entry entry = {
        .step = step,
        .dev_loss = step % 4 == 0 ? (int64_t)(bal_test_random(&state) >> 1) : -1,
        .dev_tokens = step % 4 == 0 ? 77 : 0,
        .n_ranks = ranks[step % 5].n_ranks,
        .accused = ranks[step % 5].accused,
        .bits = bits};
    uint64_t words[9];
    for (int i = 0; i < 9; ++i) words[i] = bal_test_random(&state);
    memcpy(&entry.totals, words, sizeof words);
    entry.totals.n_cast = step % (n_slots + 1);
    entry.totals.spread = 5 * step;
    for (int i = 0; i < 8; ++i) words[i] = bal_test_random(&state) >> 20;
    memcpy(&entry.course, words, sizeof entry.course);
    if (form.n_bits == BAL_SIGN_BITS && form.n_points == 2 && !form.has_course) {
        entry.totals.spread = entry.totals.common = 0;
        entry.course = (bal_course){0};
    }
    return entry;
}

static void append_entries(bal_journal *journal, int64_t until, int n_slots)
{
    uint64_t *bits = calloc(bits_words(n_slots), sizeof *bits);
    for (int64_t step = bal_journal_n(journal); step < until; ++step) {
        bal_journal_entry entry = make_entry(step, n_slots, bits);
        entry.dev_merit = form.has_merit ? 7 * step - 1 : -1;
        CU_ASSERT_EQUAL_FATAL(bal_journal_append(journal, &entry), BAL_OK);
    }
    free(bits);
}

static bool entries_are_right(bal_journal *journal, int n_slots)
{
    size_t n_bytes = bits_words(n_slots) * 8;
    uint64_t *bits = malloc(n_bytes);
    bool right = true;
    for (int64_t step = bal_journal_n(journal) - 1; right && step >= 0; --step) {
        bal_journal_entry found, expected = make_entry(step, n_slots, bits);
        right = bal_journal_read(journal, step, &found) == BAL_OK && found.step == step &&
                found.dev_loss == expected.dev_loss && found.dev_tokens == expected.dev_tokens &&
                found.dev_merit == (form.has_merit ? 7 * step - 1 : -1) &&
                found.n_ranks == expected.n_ranks && found.accused == expected.accused &&
                memcmp(&found.totals, &expected.totals, sizeof found.totals) == 0 &&
                memcmp(&found.course, &expected.course, sizeof found.course) == 0 &&
                memcmp(found.bits, bits, n_bytes) == 0;
    }
    free(bits);
    return right;
}

/* A journal of n entries in a new folder; path [PATH_MAX]. */
static void make_journal(const char *name, int n_slots, int64_t n, char *path)
{
    bal_journal *journal = NULL;
    bal_run_id id = make_id(n_slots);
    snprintf(path, PATH_MAX, "%s/ballots.journal", bal_test_dir(name));
    CU_ASSERT_EQUAL_FATAL(bal_journal_create(path, &id, form, &journal), BAL_OK);
    append_entries(journal, n, n_slots);
    bal_journal_close(&journal);
    CU_ASSERT_PTR_NULL(journal);
}

static void test_a_journal_has_the_size_that_was_said(void)
{
    const int slots[] = {1, 64, 65, 1000};
    for (size_t i = 0; i < sizeof slots / sizeof *slots; ++i)
        for (int64_t n = 0; n < 4; n += 3) {
            char path[PATH_MAX];
            struct stat info;
            make_journal("size", slots[i], n, path);
            CU_ASSERT_EQUAL_FATAL(stat(path, &info), 0);
            CU_ASSERT_EQUAL(info.st_size, bal_journal_bytes(slots[i], form, n));
        }
}

static void test_entries_come_back(void)
{
    const int slots[] = {1, 63, 64, 65, 256, BAL_SLOTS_MAX};
    for (size_t i = 0; i < sizeof slots / sizeof *slots; ++i) {
        char path[PATH_MAX];
        bal_journal *journal = NULL;
        bal_run_id id = make_id(slots[i]);
        make_journal("entries", slots[i], 5, path);
        CU_ASSERT_EQUAL_FATAL(bal_journal_open(path, true, &journal), BAL_OK);
        CU_ASSERT_EQUAL(memcmp(bal_journal_id(journal), &id, sizeof id), 0);
        CU_ASSERT_EQUAL(bal_journal_n(journal), 5);
        CU_ASSERT_EQUAL(bal_journal_tail(journal), 0);
        CU_ASSERT(entries_are_right(journal, slots[i]));
        append_entries(journal, 7, slots[i]);
        CU_ASSERT(entries_are_right(journal, slots[i]));
        bal_journal_close(&journal);
        CU_ASSERT_EQUAL_FATAL(bal_journal_open(path, false, &journal), BAL_OK);
        CU_ASSERT_EQUAL(bal_journal_n(journal), 7);
        CU_ASSERT(entries_are_right(journal, slots[i]));
        bal_journal_close(&journal);
    }
}

static void check_form(bal_journal_form other)
{
    form = other;
    test_a_journal_has_the_size_that_was_said();
    test_entries_come_back();
    form = signs;
}

static void test_a_journal_may_keep_merits(void)
{
    check_form((bal_journal_form){.n_bits = BAL_SIGN_BITS, .n_points = 2, .has_merit = true});
}

static void test_a_journal_may_keep_values(void)
{
    for (int n_points = 1; n_points <= 2; ++n_points)
        for (int n_bits = BAL_SIGN_BITS + n_points - 1; n_bits <= BAL_VOTE_BITS_MAX; n_bits += 3)
            check_form(
                (bal_journal_form){.n_bits = n_bits, .n_points = n_points, .has_merit = true});
    check_form((bal_journal_form){.n_bits = BAL_SIGN_BITS, .n_points = 1, .has_merit = true});
    check_form((bal_journal_form){
        .n_bits = BAL_SIGN_BITS, .n_points = 2, .has_merit = true, .has_course = true});
}

static void test_a_journal_is_never_overwritten_and_steps_have_no_gaps(void)
{
    char path[PATH_MAX];
    uint64_t bits[2];
    bal_journal *journal = NULL;
    bal_run_id id = make_id(3);
    bal_journal_entry entry = make_entry(3, 3, bits);
    make_journal("gaps", 3, 2, path);
    CU_ASSERT_EQUAL(bal_journal_create(path, &id, signs, &journal), BAL_ERR_STATE);
    CU_ASSERT_PTR_NULL(journal);
    CU_ASSERT_EQUAL_FATAL(bal_journal_open(path, true, &journal), BAL_OK);
    CU_ASSERT_EQUAL(bal_journal_append(journal, &entry), BAL_ERR_ARG);
    CU_ASSERT_EQUAL(bal_journal_n(journal), 2);
    bal_journal_close(&journal);
}

static void test_a_torn_tail_is_cut_and_appending_goes_on(void)
{
    enum { SLOTS = 70, ENTRIES = 6 };
    char path[PATH_MAX];
    size_t n_bytes, size = record_bytes(SLOTS);
    make_journal("torn", SLOTS, ENTRIES, path);
    unsigned char *bytes = read_file(path, &n_bytes);
    CU_ASSERT_EQUAL_FATAL(n_bytes, HEADER_BYTES + ENTRIES * size);
    for (size_t kept = n_bytes - 2 * size; kept <= n_bytes; ++kept) {
        bal_journal *journal = NULL;
        int64_t n = (int64_t)((kept - HEADER_BYTES) / size);
        int64_t tail = (int64_t)((kept - HEADER_BYTES) % size);
        size_t n_left;
        write_file(path, bytes, kept);
        CU_ASSERT_EQUAL_FATAL(bal_journal_open(path, false, &journal), BAL_OK);
        CU_ASSERT(bal_journal_n(journal) == n && bal_journal_tail(journal) == tail);
        bal_journal_close(&journal);
        free(read_file(path, &n_left));
        CU_ASSERT_EQUAL(n_left, kept); /* read only: untouched */

        CU_ASSERT_EQUAL_FATAL(bal_journal_open(path, true, &journal), BAL_OK);
        CU_ASSERT(bal_journal_n(journal) == n && bal_journal_tail(journal) == tail);
        append_entries(journal, ENTRIES, SLOTS);
        bal_journal_close(&journal);
        unsigned char *again = read_file(path, &n_left);
        CU_ASSERT(n_left == n_bytes && memcmp(again, bytes, n_bytes) == 0);
        free(again);
    }
    for (size_t kept = 0; kept < HEADER_BYTES; ++kept) {
        bal_journal *journal = NULL;
        write_file(path, bytes, kept);
        CU_ASSERT_EQUAL(bal_journal_open(path, true, &journal), BAL_ERR_INPUT);
    }
    free(bytes);
}

static void test_no_flipped_bit_is_accepted(void)
{
    enum { SLOTS = 100, ENTRIES = 20 };
    const uint64_t seed = 20240607;
    uint64_t state = seed;
    char path[PATH_MAX];
    size_t n_bytes;
    make_journal("flips", SLOTS, ENTRIES, path);
    unsigned char *bytes = read_file(path, &n_bytes);
    for (int trial = 0; trial < 1000; ++trial) {
        bal_journal *journal = NULL;
        size_t bit = bal_test_random(&state) % (8 * n_bytes);
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        write_file(path, bytes, n_bytes);
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        bal_status status = bal_journal_open(path, false, &journal);
        bool found = status == BAL_ERR_INPUT;
        if (bit / 8 >= HEADER_BYTES)
            found = status == BAL_OK &&
                    bal_journal_n(journal) ==
                        (int64_t)((bit / 8 - HEADER_BYTES) / record_bytes(SLOTS)) &&
                    entries_are_right(journal, SLOTS);
        bal_journal_close(&journal);
        CU_ASSERT(found);
        if (!found) printf(" seed %" PRIu64 ", trial %d, bit %zu\n", seed, trial, bit);
    }
    free(bytes);
}

static void test_records_swapped_repeated_or_left_out_end_the_prefix(void)
{
    enum { SLOTS = 5, ENTRIES = 6 };
    char path[PATH_MAX];
    size_t n_bytes, size = record_bytes(SLOTS);
    bal_journal *journal = NULL;
    make_journal("swapped", SLOTS, ENTRIES, path);
    unsigned char *bytes = read_file(path, &n_bytes), *changed = malloc(n_bytes);
    for (size_t first = 0; first < ENTRIES; ++first)
        for (size_t second = 0; second < ENTRIES; ++second) {
            if (first == second) continue;
            unsigned char *a = changed + HEADER_BYTES + first * size;
            unsigned char *b = changed + HEADER_BYTES + second * size;
            memcpy(changed, bytes, n_bytes); /* repeated: second stands at first as well */
            memcpy(a, bytes + HEADER_BYTES + second * size, size);
            write_file(path, changed, n_bytes);
            CU_ASSERT_EQUAL_FATAL(bal_journal_open(path, false, &journal), BAL_OK);
            CU_ASSERT_EQUAL(bal_journal_n(journal), (int64_t)first);
            bal_journal_close(&journal);
            memcpy(b, bytes + HEADER_BYTES + first * size, size); /* swapped */
            write_file(path, changed, n_bytes);
            CU_ASSERT_EQUAL_FATAL(bal_journal_open(path, false, &journal), BAL_OK);
            CU_ASSERT_EQUAL(bal_journal_n(journal), (int64_t)(first < second ? first : second));
            bal_journal_close(&journal);
        }
    for (size_t out = 0; out + 1 < ENTRIES; ++out) {
        unsigned char *at = changed + HEADER_BYTES + out * size;
        memcpy(changed, bytes, n_bytes);
        memmove(at, at + size, (ENTRIES - 1 - out) * size);
        write_file(path, changed, n_bytes - size);
        CU_ASSERT_EQUAL_FATAL(bal_journal_open(path, false, &journal), BAL_OK);
        CU_ASSERT_EQUAL(bal_journal_n(journal), (int64_t)out);
        bal_journal_close(&journal);
    }
    free(bytes);
    free(changed);
}

/* Put right the checksums of a journal of one record. */
static void reseal(unsigned char *bytes, size_t n_bytes)
{
    uint64_t hash = bal_hash(bytes, HEADER_BYTES - 8, 0);
    memcpy(bytes + HEADER_BYTES - 8, &hash, 8);
    hash = bal_hash(bytes + HEADER_BYTES, n_bytes - HEADER_BYTES - 8, hash);
    memcpy(bytes + n_bytes - 8, &hash, 8);
}

static void test_impossible_contents_are_refused_whatever_the_checksum(void)
{
    enum {
        SLOTS = 5,
        RANKS = HEADER_BYTES + 24,
        CAST = RANKS + 40,
        FOR = HEADER_BYTES + 88,
        AGAINST = FOR + 8
    };
    /* byte, value, and whether the header (or else the record) must be refused */
    const struct {
        size_t at;
        unsigned char value;
        bool header;
    } changes[] = {
        {0, 'b', true},
        {8, 1, true},
        {12, 1, true},
        {31, 0x80, true},
        {28, 0, true},
        {39, 0x80, true},
        {30, 0x7f, true},
        {64, 1, true}, /* a task, in version 2 */
        {72, 1, true},
        {119, 1, true},
        {HEADER_BYTES, 1, false},
        {HEADER_BYTES + 7, 0x80, false},
        {RANKS + 3, 0x80, false}, /* fewer than no ranks */
        {RANKS + 7, 0x80, false},
        {RANKS + 4, 3, false},    /* rank 2 of 2 accused */
        {CAST, SLOTS + 1, false}, /* more votes than slots */
        {CAST + 7, 0x80, false},
        {FOR, 0x20, false},
        {AGAINST + 7, 0x80, false},
    };
    char path[PATH_MAX];
    size_t n_bytes;
    bal_journal *journal = NULL;
    make_journal("impossible", SLOTS, 1, path);
    unsigned char *bytes = read_file(path, &n_bytes);
    bytes[FOR] = 0x05;
    bytes[AGAINST] = 0x0a;
    reseal(bytes, n_bytes);
    write_file(path, bytes, n_bytes);
    CU_ASSERT_EQUAL_FATAL(bal_journal_open(path, false, &journal), BAL_OK);
    CU_ASSERT_EQUAL(bal_journal_n(journal), 1);
    bal_journal_close(&journal);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; ++i) {
        unsigned char *changed = malloc(n_bytes);
        memcpy(changed, bytes, n_bytes);
        changed[changes[i].at] = changes[i].value;
        reseal(changed, n_bytes);
        write_file(path, changed, n_bytes);
        bal_status status = bal_journal_open(path, false, &journal);
        CU_ASSERT_EQUAL(status, changes[i].header ? BAL_ERR_INPUT : BAL_OK);
        if (status == BAL_OK) CU_ASSERT_EQUAL(bal_journal_n(journal), 0);
        bal_journal_close(&journal);
        free(changed);
    }
    free(bytes);
}

static void test_a_full_disk_leaves_the_journal_as_it_was(void)
{
    enum { SLOTS = 64 };
    char path[PATH_MAX];
    uint64_t bits[2];
    size_t n_bytes, n_left;
    bal_journal *journal = NULL;
    make_journal("full", SLOTS, 3, path);
    unsigned char *bytes = read_file(path, &n_bytes), *left;
    bal_journal_entry entry = make_entry(3, SLOTS, bits);
    CU_ASSERT_EQUAL_FATAL(bal_journal_open(path, true, &journal), BAL_OK);
    for (size_t room = 0; room < record_bytes(SLOTS); ++room) {
        limit_files(n_bytes + room);
        bal_status status = bal_journal_append(journal, &entry);
        limit_files(RLIM_INFINITY);
        CU_ASSERT_EQUAL(status, BAL_ERR_IO);
        CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), path));
        CU_ASSERT_EQUAL(bal_journal_n(journal), 3);
        left = read_file(path, &n_left);
        CU_ASSERT(n_left == n_bytes && memcmp(left, bytes, n_bytes) == 0);
        free(left);
    }
    append_entries(journal, 5, SLOTS);
    CU_ASSERT(entries_are_right(journal, SLOTS));
    bal_journal_close(&journal);
    free(bytes);

    char other[PATH_MAX];
    bal_run_id id = make_id(SLOTS);
    snprintf(other, sizeof other, "%s/ballots.journal", bal_test_dir("full-new"));
    limit_files(100);
    bal_status status = bal_journal_create(other, &id, signs, &journal);
    limit_files(RLIM_INFINITY);
    CU_ASSERT_EQUAL(status, BAL_ERR_IO);
    /* nothing was left */
    CU_ASSERT_EQUAL(bal_journal_create(other, &id, signs, &journal), BAL_OK);
    bal_journal_close(&journal);
}

static void test_what_is_no_journal_is_refused(void)
{
    bal_journal *journal = NULL;
    CU_ASSERT_EQUAL(bal_journal_open("no such file", false, &journal), BAL_ERR_INPUT);
    CU_ASSERT_EQUAL(bal_journal_open("no such file", true, &journal), BAL_ERR_INPUT);
    CU_ASSERT_EQUAL(bal_journal_open("/dev/full", true, &journal), BAL_ERR_INPUT);
    CU_ASSERT_EQUAL(bal_journal_open(".", false, &journal), BAL_ERR_INPUT);
    bal_run_id id = make_id(1);
    CU_ASSERT_EQUAL(bal_journal_create("no such folder/journal", &id, signs, &journal), BAL_ERR_IO);
    CU_ASSERT_PTR_NULL(journal);
}

const char bal_suite_name[] = "record: journal";
const bal_test bal_suite_tests[] = {
    {"a journal has the size that was said", test_a_journal_has_the_size_that_was_said},
    {"entries come back", test_entries_come_back},
    {"a journal may keep merits", test_a_journal_may_keep_merits},
    {"a journal may keep values", test_a_journal_may_keep_values},
    {"a journal is never overwritten and steps have no gaps",
     test_a_journal_is_never_overwritten_and_steps_have_no_gaps},
    {"a torn tail is cut and appending goes on", test_a_torn_tail_is_cut_and_appending_goes_on},
    {"no flipped bit is accepted", test_no_flipped_bit_is_accepted},
    {"records swapped, repeated or left out end the prefix",
     test_records_swapped_repeated_or_left_out_end_the_prefix},
    {"impossible contents are refused whatever the checksum",
     test_impossible_contents_are_refused_whatever_the_checksum},
    {"a full disk leaves the journal as it was", test_a_full_disk_leaves_the_journal_as_it_was},
    {"what is no journal is refused", test_what_is_no_journal_is_refused},
    {NULL, NULL},
};
