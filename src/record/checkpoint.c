/* checkpoint.c: a checkpoint is published whole, or not at all. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "record_impl.h"

/* Complete a file whose HDF5 part is written, verify the whole, and fsync it. name is what it will
 * be called. */
static bal_status seal(const char *path, const char *name, int64_t step)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return bal_fail(BAL_ERR_IO, "%s: cannot be opened: %s", name, strerror(errno));
    bal_status status = bal_checkpoint_stamp(fd, name);
    if (status == BAL_OK) status = bal_checkpoint_reopen(path, name, step);
    if (status == BAL_OK && TEMP_FAILURE_RETRY(fsync(fd)) != 0)
        status = bal_fail(BAL_ERR_IO, "%s: fsync failed: %s", name, strerror(errno));
    close(fd);
    /* Our own file that cannot be read back is a failing disk, not damaged input. */
    return status == BAL_ERR_INPUT ? BAL_ERR_IO : status;
}

bal_status bal_checkpoint_write(const char *dir, const char *name, const bal_snapshot *snapshot)
{
    char path[PATH_MAX], temporary[PATH_MAX], hidden[PATH_MAX];
    snprintf(hidden, sizeof hidden, ".%s.new", name);
    BAL_TRY(bal_path_join(dir, name, path, sizeof path));
    BAL_TRY(bal_path_join(dir, hidden, temporary, sizeof temporary));
    bal_status status = bal_checkpoint_write_hdf5(temporary, path, snapshot);
    if (status == BAL_OK) status = seal(temporary, path, snapshot->step);
    if (status == BAL_OK && rename(temporary, path) != 0)
        status = bal_fail(BAL_ERR_IO, "%s: renaming failed: %s", path, strerror(errno));
    if (status != BAL_OK) {
        unlink(temporary);
        return status;
    }
    return bal_sync_dir(dir);
}
