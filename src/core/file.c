/* file.c: mapped input files, complete writes, atomic publishing. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "ballot/core.h"

bal_status bal_file_open(const char *path, bal_file *file)
{
    *file  = (bal_file){0};
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* a pipe would keep us waiting */
    if (fd < 0) return bal_fail(BAL_ERR_INPUT, "%s: cannot be read: %s", path, strerror(errno));
    bal_status  status = BAL_OK;
    struct stat info;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        status = bal_fail(BAL_ERR_INPUT, "%s: expected a regular file", path);
    } else if (info.st_size > 0) {
        void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            status = bal_fail(BAL_ERR_MEMORY, "%s: cannot be mapped: %s", path, strerror(errno));
        else
            *file = (bal_file){data, (size_t)info.st_size};
    }
    close(fd);
    return status;
}

void bal_file_close(bal_file *file)
{
    if (file->data != NULL) munmap((void *)(uintptr_t)file->data, file->n_bytes);
    *file = (bal_file){0};
}

uint64_t bal_file_hash(const bal_file *file, size_t from)
{
    const size_t  piece = 1 << 22;
    XXH3_state_t *state = XXH3_createState();
    if (state == NULL) return bal_hash(file->data + from, file->n_bytes - from, 0);
    XXH3_64bits_reset(state);
    while (from < file->n_bytes) {
        size_t start = from / piece * piece, end = start + piece; /* whole pages */
        if (end > file->n_bytes) end = file->n_bytes;
        XXH3_64bits_update(state, file->data + from, end - from);
        madvise((void *)(uintptr_t)(file->data + start), end - start, MADV_DONTNEED);
        from = end;
    }
    uint64_t hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return hash;
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
        errno != EINVAL) /* EINVAL: a file system without it */
        status = bal_fail(BAL_ERR_IO, "%s: fsync failed: %s", dir, strerror(errno));
    close(fd);
    return status;
}

bal_status bal_write_named(const void *named, int fd, const char *path)
{
    const bal_named_bytes *file = named;
    return bal_write_all(fd, file->bytes, file->n_bytes, path);
}

bal_status bal_create(const char *path, bal_writer *write, const void *what)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return bal_fail(BAL_ERR_IO, "%s: cannot be created: %s", path, strerror(errno));
    bal_status status = write(what, fd, path);
    if (status == BAL_OK && TEMP_FAILURE_RETRY(fsync(fd)) != 0)
        status = bal_fail(BAL_ERR_IO, "%s: fsync failed: %s", path, strerror(errno));
    if (close(fd) != 0 && status == BAL_OK)
        status = bal_fail(BAL_ERR_IO, "%s: closing failed: %s", path, strerror(errno));
    if (status != BAL_OK) unlink(path);
    return status;
}

bal_status bal_publish(const char *dir, const char *name, const void *bytes, size_t n_bytes)
{
    char path[PATH_MAX], temporary[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path ||
        snprintf(temporary, sizeof temporary, "%s/.%s.new", dir, name) >= (int)sizeof temporary)
        return bal_fail(BAL_ERR_IO, "%s/%s: the path is too long", dir, name);
    bal_named_bytes file = {.bytes = (uint8_t *)(uintptr_t)bytes, .n_bytes = n_bytes};
    BAL_TRY(bal_create(temporary, bal_write_named, &file));
    if (rename(temporary, path) != 0) {
        bal_status status = bal_fail(BAL_ERR_IO, "%s: renaming failed: %s", path, strerror(errno));
        unlink(temporary);
        return status;
    }
    return bal_sync_dir(dir);
}
