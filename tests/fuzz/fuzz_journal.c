/* fuzz_journal.c: any bytes are a journal with a valid prefix, or a sentence. The first byte of the
 * input says whether checksums are put right first, so that what lies after them is reached too.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ballot/record.h"

#define HEADER_BYTES 128

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void reseal(uint8_t *bytes, size_t n_bytes)
{
    static const uint8_t start[16] = {'B', 'A', 'L', 'L', 'O', 'T', 'J', '1',
                                      2,   0,   0,   0,   4,   3,   2,   1};
    int32_t n_slots;
    uint64_t hash;
    if (n_bytes < HEADER_BYTES) return;
    uint8_t version = (uint8_t)(2 + bytes[8] % 3);
    memcpy(bytes, start, sizeof start);
    bytes[8] = version;
    memcpy(&n_slots, bytes + 28, sizeof n_slots);
    hash = bal_hash(bytes, HEADER_BYTES - 8, 0);
    memcpy(bytes + HEADER_BYTES - 8, &hash, sizeof hash);
    if (n_slots < 1 || n_slots > BAL_SLOTS_MAX) return;
    int n_bits = version == 4 ? bytes[64] : BAL_SIGN_BITS;
    if (n_bits < BAL_SIGN_BITS || n_bits > BAL_VOTE_BITS_MAX) return;
    bal_journal_form form = {
        .n_bits = n_bits, .n_points = version == 4 ? 1 : 2, .has_merit = version > 2};
    size_t record_bytes =
        (size_t)(bal_journal_bytes(n_slots, form, 1) - bal_journal_bytes(n_slots, form, 0));
    for (size_t at = HEADER_BYTES; n_bytes - at >= record_bytes; at += record_bytes) {
        hash = bal_hash(bytes + at, record_bytes - 8, hash);
        memcpy(bytes + at + record_bytes - 8, &hash, sizeof hash);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    char path[64];
    bal_journal *journal = NULL;
    if (n_bytes == 0) return 0;
    int fd = memfd_create("journal", 0);
    size_t n = n_bytes - 1;
    uint8_t *bytes = malloc(n + 1);
    if (fd < 0 || bytes == NULL) abort();
    memcpy(bytes, data + 1, n);
    if ((data[0] & 1) != 0) reseal(bytes, n);
    if (bal_write_all(fd, bytes, n, "journal") != BAL_OK) abort();
    free(bytes);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (bal_journal_open(path, true, &journal) == BAL_OK) {
        int64_t n_entries = bal_journal_n(journal);
        bal_journal_entry entry;
        for (int64_t step = 0; step < n_entries; ++step)
            if (bal_journal_read(journal, step, &entry) != BAL_OK || entry.step != step) abort();
        if (n_entries > 0) { /* what could be read can be appended */
            entry.step = n_entries;
            if (bal_journal_append(journal, &entry) != BAL_OK) abort();
        }
        bal_journal_close(&journal);
        if (bal_journal_open(path, false, &journal) != BAL_OK) abort();
        if (bal_journal_n(journal) != n_entries + (n_entries > 0)) abort();
        if (bal_journal_tail(journal) != 0) abort();
        bal_journal_close(&journal);
    }
    close(fd);
    return 0;
}
