/* checkpoint_block.c: the user block of a checkpoint, and the checksums in it.
 *
 * The first 512 bytes are an HDF5 user block with four lines of text, filled up with newlines:
 *   ballot checkpoint 3
 *   bytes <size of the file>
 *   xxh3 <XXH3-64 of bytes 512 to the end, 16 hex digits>
 *   self <XXH3-64 of the user block with these 16 digits as zeros>
 * So every bit of the file is under a checksum, gaps and metadata of HDF5 included, and a damaged
 * file never reaches the HDF5 library, whose own fletcher32 covers raw data alone. */
#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "record_impl.h"

#define BLOCK_BYTES BAL_CHECKPOINT_USER_BLOCK
#define MAGIC "ballot checkpoint "

static void make_user_block(char block[BLOCK_BYTES], int version, uint64_t n_bytes, uint64_t hash)
{
    memset(block, '\n', BLOCK_BYTES);
    int n = snprintf(block, BLOCK_BYTES,
                     MAGIC "%d\nbytes %" PRIu64 "\nxxh3 %016" PRIx64 "\nself %016d\n", version,
                     n_bytes, hash, 0);
    block[n] = '\n';
    char digits[17];
    snprintf(digits, sizeof digits, "%016" PRIx64, bal_hash(block, BLOCK_BYTES, 0));
    memcpy(block + n - 17, digits, 16);
}

bool bal_checkpoint_recognizes(const char *path)
{
    char first[sizeof MAGIC - 1];
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t got = pread(fd, first, sizeof first, 0);
    close(fd);
    return got == (ssize_t)sizeof first && memcmp(first, MAGIC, sizeof first) == 0;
}

static bal_status verify(const char *path, int fd)
{
    char found[BLOCK_BYTES + 1] = "", expected[BLOCK_BYTES];
    int version = 0;
    uint64_t n_expected, hash, actual;
    int64_t n_bytes;
    ssize_t got = bal_read_at(fd, found, BLOCK_BYTES, 0, path);
    if (got < 0) return BAL_ERR_IO;
    if (got < BLOCK_BYTES)
        return bal_fail(BAL_ERR_INPUT, "%s: %zd bytes; expected a checkpoint of more than %d", path,
                        got, BLOCK_BYTES);
    if (memcmp(found, MAGIC, sizeof MAGIC - 1) != 0)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: expected a ballot checkpoint, starting with \"" MAGIC "\"", path);
    /* Widths keep the numbers in range; the comparison below does the checking. */
    int n_fields = sscanf(found, MAGIC "%9d\nbytes %18" SCNu64 "\nxxh3 %16" SCNx64 "\nself ",
                          &version, &n_expected, &hash);
    if (n_fields >= 1 && (version < BAL_CHECKPOINT_OLDEST || version > BAL_CHECKPOINT_VERSION))
        return bal_fail(BAL_ERR_INPUT, "%s: checkpoint version %d; expected %d to %d", path,
                        version, BAL_CHECKPOINT_OLDEST, BAL_CHECKPOINT_VERSION);
    if (n_fields == 3) make_user_block(expected, version, n_expected, hash);
    if (n_fields != 3 || memcmp(found, expected, BLOCK_BYTES) != 0)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: the user block (bytes 0 to 511) does not match its checksum", path);
    BAL_TRY(bal_file_hash(fd, BLOCK_BYTES, path, &actual, &n_bytes));
    if (n_expected != (uint64_t)n_bytes)
        return bal_fail(BAL_ERR_INPUT, "%s: %" PRId64 " bytes; expected %" PRIu64, path, n_bytes,
                        n_expected);
    if (actual != hash)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: bytes 512 to the end have checksum %016" PRIx64
                        "; expected %016" PRIx64,
                        path, actual, hash);
    return BAL_OK;
}

bal_status bal_checkpoint_verify(const char *path)
{
    int fd;
    int64_t n_bytes;
    BAL_TRY(bal_open_to_read(path, &fd, &n_bytes));
    bal_status status = verify(path, fd);
    close(fd);
    return status;
}

bal_status bal_checkpoint_stamp(int fd, const char *name)
{
    char block[BLOCK_BYTES];
    uint64_t hash;
    int64_t n_bytes;
    BAL_TRY(bal_file_hash(fd, BLOCK_BYTES, name, &hash, &n_bytes));
    assert(n_bytes > BLOCK_BYTES);
    make_user_block(block, BAL_CHECKPOINT_VERSION, (uint64_t)n_bytes, hash);
    BAL_TRY(bal_write_all(fd, block, BLOCK_BYTES, name));
    return verify(name, fd);
}
