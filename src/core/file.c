/* file.c: mapped input files, complete reads and writes, hashing, atomic publishing. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "ballot/core.h"

/* The message for a file that cannot be opened; errno says why. */
static bal_status refuse(const char *path)
{
    char target[PATH_MAX];
    int why = errno;
    ssize_t n = why == ENOENT ? readlink(path, target, sizeof target) : -1;
    if (n < 0) return bal_fail(BAL_ERR_INPUT, "%s: cannot be read: %s", path, strerror(why));
    return bal_fail(BAL_ERR_INPUT,
                    "%s: a link to %.*s, which is not there; copy or download the file again", path,
                    (int)n, target);
}

bal_status bal_open_to_read(const char *path, int *fd, int64_t *n_bytes)
{
    struct stat info;
    *fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* do not wait for a pipe's writer */
    if (*fd < 0) return refuse(path);
    if (fstat(*fd, &info) == 0 && S_ISREG(info.st_mode)) {
        *n_bytes = info.st_size;
        return BAL_OK;
    }
    close(*fd);
    return bal_fail(BAL_ERR_INPUT, "%s: expected a regular file", path);
}

bal_status bal_mapping_open(const char *path, bal_mapping *file)
{
    int fd;
    int64_t n_bytes;
    bal_status status = BAL_OK;
    *file = (bal_mapping){0};
    BAL_TRY(bal_open_to_read(path, &fd, &n_bytes));
    if (n_bytes > 0) {
        void *data = mmap(NULL, (size_t)n_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            status = bal_fail(BAL_ERR_MEMORY, "%s: cannot be mapped: %s", path, strerror(errno));
        else
            *file = (bal_mapping){data, (size_t)n_bytes};
    }
    close(fd);
    return status;
}

void bal_mapping_close(bal_mapping *file)
{
    if (file->data != NULL) munmap((void *)(uintptr_t)file->data, file->n_bytes);
    *file = (bal_mapping){0};
}

ssize_t bal_read_at(int fd, void *bytes, size_t n_bytes, int64_t offset, const char *what)
{
    size_t done = 0;
    while (done < n_bytes) {
        ssize_t got = pread(fd, (char *)bytes + done, n_bytes - done, offset + (off_t)done);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            bal_fail(BAL_ERR_IO, "%s: reading at byte %lld failed: %s", what,
                     (long long)offset + (long long)done, strerror(errno));
            return -1;
        }
        if (got == 0) break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

bal_status bal_file_hash(int fd, int64_t from, const char *what, uint64_t *hash, int64_t *n_bytes)
{
    uint8_t piece[1 << 16];
    ssize_t got = 0;
    XXH3_state_t *state = XXH3_createState();
    if (state == NULL) return bal_fail(BAL_ERR_MEMORY, "%s: no memory to hash it", what);
    XXH3_64bits_reset(state);
    *n_bytes = from;
    while ((got = bal_read_at(fd, piece, sizeof piece, *n_bytes, what)) > 0) {
        XXH3_64bits_update(state, piece, (size_t)got);
        *n_bytes += got;
    }
    *hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return got < 0 ? BAL_ERR_IO : BAL_OK;
}

bal_status bal_write_all(int fd, const void *bytes, size_t n_bytes, const char *what)
{
    const char *from = bytes;
    while (n_bytes > 0) {
        ssize_t written = write(fd, from, n_bytes);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0)
            return bal_fail(BAL_ERR_IO, "%s: writing failed: %s", what, strerror(errno));
        from += written;
        n_bytes -= (size_t)written;
    }
    return BAL_OK;
}

bal_status bal_sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return bal_fail(BAL_ERR_IO, "%s: cannot be opened: %s", dir, strerror(errno));
    bal_status status = BAL_OK;
    if (TEMP_FAILURE_RETRY(fsync(fd)) != 0 &&
        errno != EINVAL) /* EINVAL: the file system cannot fsync */
        status = bal_fail(BAL_ERR_IO, "%s: fsync failed: %s", dir, strerror(errno));
    close(fd);
    return status;
}

bal_status bal_write_named(const void *named, int fd, const char *path)
{
    const bal_named_bytes *file = named;
    return bal_write_all(fd, file->bytes, file->n_bytes, path);
}

bal_status bal_create(const char *path, const char *name, bal_writer *write, const void *what)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return bal_fail(BAL_ERR_IO, "%s: cannot be created: %s", name, strerror(errno));
    bal_status status = write(what, fd, name);
    if (status == BAL_OK && TEMP_FAILURE_RETRY(fsync(fd)) != 0)
        status = bal_fail(BAL_ERR_IO, "%s: fsync failed: %s", name, strerror(errno));
    if (close(fd) != 0 && status == BAL_OK)
        status = bal_fail(BAL_ERR_IO, "%s: closing failed: %s", name, strerror(errno));
    if (status != BAL_OK) unlink(path);
    return status;
}

bal_status bal_path_join(const char *dir, const char *name, char *path, size_t n_bytes)
{
    bool here = strcmp(dir, ".") == 0, top = strcmp(dir, "/") == 0;
    int n = snprintf(path, n_bytes, "%s%s%s", here || top ? "" : dir, here ? "" : "/", name);
    if (n >= 0 && (size_t)n < n_bytes) return BAL_OK;
    return bal_fail(BAL_ERR_IO, "%s/%s: the path is too long", dir, name);
}

bal_status bal_path_in(const char *dir, const char *name, char path[BAL_PATH_MAX])
{
    if (snprintf(path, BAL_PATH_MAX, "%s/%s", dir, name) < BAL_PATH_MAX) return BAL_OK;
    return bal_fail(BAL_ERR_INPUT, "%s/%s: the path is too long", dir, name);
}

bool bal_is_dir(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool bal_has_file(const char *dir, const char *name)
{
    char path[BAL_PATH_MAX];
    struct stat info;
    return snprintf(path, sizeof path, "%s/%s", dir, name) < BAL_PATH_MAX &&
           lstat(path, &info) == 0;
}

bal_status bal_publish(const char *dir, const char *name, const void *bytes, size_t n_bytes)
{
    char path[PATH_MAX], temporary[PATH_MAX], hidden[PATH_MAX];
    snprintf(hidden, sizeof hidden, ".%s.new", name);
    BAL_TRY(bal_path_join(dir, name, path, sizeof path));
    BAL_TRY(bal_path_join(dir, hidden, temporary, sizeof temporary));
    bal_named_bytes file = {.bytes = (uint8_t *)(uintptr_t)bytes, .n_bytes = n_bytes};
    BAL_TRY(bal_create(temporary, path, bal_write_named, &file));
    if (rename(temporary, path) != 0) {
        bal_status status = bal_fail(BAL_ERR_IO, "%s: renaming failed: %s", path, strerror(errno));
        unlink(temporary);
        return status;
    }
    return bal_sync_dir(dir);
}
