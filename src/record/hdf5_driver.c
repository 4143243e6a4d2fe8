/* hdf5_driver.c: what HDF5 says of failures, and the file driver that it writes a checkpoint
 * through. HDF5 1.10 does not survive a write that fails while a file is closed: it keeps the
 * file's memory, and crashes when the process exits. So this driver remembers the first failure,
 * writes no more, and lets HDF5 finish in good order; bal_hdf5_driver_errno then says what the file
 * is worth. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hdf5_impl.h"

static _Thread_local bool failed;
static _Thread_local char reason[256];

/* Called by HDF5 from the inner-most failure outwards; the first says most. */
static herr_t keep_first(unsigned depth, const H5E_error2_t *error, void *unused)
{
    (void)depth;
    (void)unused;
    if (reason[0] != '\0' || error->desc == NULL) return 0;
    snprintf(reason, sizeof reason, "%s", error->desc);
    return 0;
}

static herr_t on_failure(hid_t stack, void *unused)
{
    (void)unused;
    failed = true;
    return H5Ewalk2(stack, H5E_WALK_UPWARD, keep_first, NULL);
}

void bal_hdf5_listen(void)
{
    failed = false;
    reason[0] = '\0';
    H5Eset_auto2(H5E_DEFAULT, on_failure, NULL);
}

bool bal_hdf5_failed(void) { return failed; }

const char *bal_hdf5_reason(void) { return reason[0] != '\0' ? reason : "HDF5 gave no reason"; }

void bal_hdf5_close(const hid_t *handle)
{
    if (*handle >= 0) H5Idec_ref(*handle);
}

typedef struct output {
    H5FD_t base; /* HDF5's own, first */
    int fd;
    haddr_t space, end; /* allocated by HDF5; written or read as zeros */
} output;

static int first_errno;

static H5FD_t *open_output(const char *path, unsigned flags, hid_t access, haddr_t limit)
{
    (void)flags;
    (void)access;
    (void)limit;
    output *o = calloc(1, sizeof *o);
    if (o == NULL) {
        first_errno = ENOMEM;
        return NULL;
    }
    o->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (o->fd >= 0) return &o->base;
    first_errno = errno;
    free(o);
    return NULL;
}

static herr_t close_output(H5FD_t *file)
{
    output *o = (output *)file;
    if (close(o->fd) != 0 && first_errno == 0) first_errno = errno;
    free(o);
    return 0;
}

static herr_t query(const H5FD_t *file, unsigned long *flags)
{
    (void)file;
    *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_DATA_SIEVE |
             H5FD_FEAT_AGGREGATE_SMALLDATA;
    return 0;
}

static haddr_t get_space(const H5FD_t *file, H5FD_mem_t type)
{
    (void)type;
    return ((const output *)file)->space;
}

static herr_t set_space(H5FD_t *file, H5FD_mem_t type, haddr_t space)
{
    (void)type;
    ((output *)file)->space = space;
    return 0;
}

static haddr_t get_end(const H5FD_t *file, H5FD_mem_t type)
{
    (void)type;
    return ((const output *)file)->end;
}

static herr_t read_output(H5FD_t *file, H5FD_mem_t type, hid_t transfer, haddr_t at, size_t n_bytes,
                          void *bytes)
{
    (void)type;
    (void)transfer;
    ssize_t got = bal_read_at(((output *)file)->fd, bytes, n_bytes, (int64_t)at, "a checkpoint");
    if (got < 0) return -1;
    memset((char *)bytes + got, 0, n_bytes - (size_t)got); /* beyond the end */
    return 0;
}

static herr_t write_output(H5FD_t *file, H5FD_mem_t type, hid_t transfer, haddr_t at,
                           size_t n_bytes, const void *bytes)
{
    (void)type;
    (void)transfer;
    output *o = (output *)file;
    const char *from = bytes;
    while (first_errno == 0 && n_bytes > 0) {
        ssize_t done = pwrite(o->fd, from, n_bytes, (off_t)at);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) {
            first_errno = done < 0 ? errno : EIO;
            break;
        }
        from += done;
        at += (haddr_t)done;
        n_bytes -= (size_t)done;
    }
    if (at + n_bytes > o->end) o->end = at + n_bytes;
    return 0;
}

static herr_t truncate_output(H5FD_t *file, hid_t transfer, hbool_t closing)
{
    (void)transfer;
    (void)closing;
    output *o = (output *)file;
    if (first_errno == 0 && TEMP_FAILURE_RETRY(ftruncate(o->fd, (off_t)o->space)) != 0)
        first_errno = errno;
    o->end = o->space;
    return 0;
}

hid_t bal_hdf5_driver(void)
{
    /* Registered for good: H5FD_close reads the class after it let go of the driver. */
    static hid_t driver = H5I_INVALID_HID;
    static const H5FD_class_t class = {
        .name = "ballot",
        .maxaddr = ((haddr_t)1 << 62),
        .fc_degree = H5F_CLOSE_STRONG, /* close every object with the file, after a failure too */
        .open = open_output,
        .close = close_output,
        .query = query,
        .get_eoa = get_space,
        .set_eoa = set_space,
        .get_eof = get_end,
        .read = read_output,
        .write = write_output,
        .truncate = truncate_output,
        .fl_map = H5FD_FLMAP_DICHOTOMY,
    };
    first_errno = 0;
    if (driver < 0) driver = H5FDregister(&class);
    return driver;
}

int bal_hdf5_driver_errno(void) { return first_errno; }
