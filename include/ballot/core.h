/* include/ballot/core.h: what every room uses: status codes, the message that explains a failure,
 * memory, files, hashing, log. Knows nothing of models, ranks or votes. */
#ifndef BALLOT_CORE_H
#define BALLOT_CORE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "ballot/version.h"

/* Around the declarations of every public header: to C++ they are C. */
#ifdef __cplusplus
#define BAL_C_BEGIN extern "C" {
#define BAL_C_END }
#else
#define BAL_C_BEGIN
#define BAL_C_END
#endif

BAL_C_BEGIN

/* X(name, exit code of the program, words) */
#define BAL_STATUS_LIST(X)                                         \
    X(OK, 0, "done")                                               \
    X(ERR_FAILED, 1, "failure")                                    \
    X(ERR_IO, 1, "reading or writing failed")                      \
    X(ERR_STATE, 1, "not possible in this state")                  \
    X(ERR_MPI, 1, "message passing failed")                        \
    X(ERR_ARG, 2, "wrong argument")                                \
    X(ERR_CONFIG, 2, "wrong option or job file")                   \
    X(ERR_INPUT, 3, "input is missing or damaged")                 \
    X(ERR_MEMORY, 4, "out of memory")                              \
    X(ERR_NUMERIC, 5, "numerical failure")                         \
    X(STOPPED, 75, "stopped with a good checkpoint; run it again") \
    X(LOST, 75, "ranks do not answer; run it again")

typedef enum bal_status {
#define BAL_STATUS_ENUM(name, code, words) BAL_##name,
    BAL_STATUS_LIST(BAL_STATUS_ENUM)
#undef BAL_STATUS_ENUM
} bal_status;

/** Return a failure to the caller. Only where nothing has to be released. */
#define BAL_TRY(call)                                  \
    do {                                               \
        bal_status try_status_ = (call);               \
        if (try_status_ != BAL_OK) return try_status_; \
    } while (0)

/** The exit code that the program ends with on this status: second column above. Local. */
int bal_status_exit_code(bal_status status);
/** A few words for this status. Local; static storage. */
const char *bal_status_words(bal_status status);

/**
 * Keep the message that explains a failure, and return its status:
 * `return bal_fail(BAL_ERR_INPUT, "%s: ...", path)`. A message names the file, the place, what was
 * found and what was expected. It has no final full stop. Control characters, newlines too, become
 * "?"; bytes after the first 1023 are dropped. Local.
 */
bal_status bal_fail(bal_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/** The message of the last bal_fail of this process; "" before the first. Local. */
const char *bal_failure(void);

/** Whom a log line is for: someone who watches (say), or someone who should act (warn). */
typedef enum bal_log_level { BAL_LOG_SAY, BAL_LOG_WARN } bal_log_level;
/** Whether this process prints log lines to stderr; main enables it on rank 0 alone. Local. */
void bal_log_enable(bool on);
/** Print one line to stderr if enabled. Warnings start with "warning: ". Local. */
void bal_log(bal_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** A word that users write for a number. */
typedef struct bal_choice {
    const char *name;
    double value;
} bal_choice;

/** count zeroed elements of element_bytes each, aligned to 64 bytes; NULL on overflow or out of
 *  memory. Release with free(). Local. */
void *bal_alloc(size_t count, size_t element_bytes);
/** Make room for n elements in an array that grows. @param array  the address of its pointer, which
 *  changes together with *room @return false: no memory, nothing changed. Local. */
bool bal_grow(void *array, size_t *room, size_t n, size_t element_bytes);

/** A file mapped read-only. data is NULL if n_bytes is 0. */
typedef struct bal_mapping {
    const uint8_t *data;
    size_t n_bytes;
} bal_mapping;
/** Map path. Local. @return BAL_OK; BAL_ERR_INPUT: it is missing, not a regular file, or not
 *  readable; BAL_ERR_MEMORY: it could not be mapped. */
bal_status bal_mapping_open(const char *path, bal_mapping *file);
/** Unmap; a cleared or zeroed file is fine. Local. */
void bal_mapping_close(bal_mapping *file);
/** A small file: its name and its bytes. */
typedef struct bal_named_bytes {
    char name[64];
    uint8_t *bytes; /* [n_bytes + 1], with a final 0 */
    size_t n_bytes;
} bal_named_bytes;
/** Small files held in memory, such as those beside a model's weights. {0}: none. */
typedef struct bal_files {
    int n;
    bal_named_bytes *at; /* [n], in the order they were added; owned */
} bal_files;
/** Add a copy of bytes under a name of at most 63 bytes; a file of that name is replaced. Local.
 *  @return BAL_OK; BAL_ERR_MEMORY, files unchanged. */
bal_status bal_files_add(bal_files *files, const char *name, const void *bytes, size_t n_bytes);
/** The file of that name, or NULL; valid until the next change. Local. */
const bal_named_bytes *bal_files_find(const bal_files *files, const char *name);
/** Free them all. Local. */
void bal_files_clear(bal_files *files);

/* A disk that cannot give back what it stored fails a read, but kills a process that has mapped the
 * file. So whatever has to be verified is read, not mapped. */

/** Open a regular file, of *n_bytes. Local. @return BAL_OK; BAL_ERR_INPUT as bal_mapping_open. */
bal_status bal_open_to_read(const char *path, int *fd, int64_t *n_bytes);
/** Read, going on after short reads and EINTR. what names the file in the message. Local.
 *  @return the bytes read, fewer than n_bytes only at the end of the file; -1: BAL_ERR_IO. */
ssize_t bal_read_at(int fd, void *bytes, size_t n_bytes, int64_t offset, const char *what);
/** XXH3-64 of a file's bytes after the first `from`: bal_hash with seed 0. Local.
 *  @param n_bytes  the size of the file, or from if it is shorter
 *  @return BAL_OK; BAL_ERR_IO; BAL_ERR_MEMORY. */
bal_status bal_file_hash(int fd, int64_t from, const char *what, uint64_t *hash, int64_t *n_bytes);
/** Write all bytes to fd, going on after short writes and EINTR. what names the file in the
 * message. Local. @return BAL_OK; BAL_ERR_IO. */
bal_status bal_write_all(int fd, const void *bytes, size_t n_bytes, const char *what);
/** A function that writes `what` to fd; path is for messages. */
typedef bal_status bal_writer(const void *what, int fd, const char *path);
/** The bal_writer of a bal_named_bytes. */
bal_status bal_write_named(const void *named, int fd, const char *path);
/** Create a file with what write writes, and fsync it; after a failure there is no file. Local.
 *  @param name  what sentences call it, such as the name that it will have
 *  @return BAL_OK; BAL_ERR_IO; errors of write. */
bal_status bal_create(const char *path, const char *name, bal_writer *write, const void *what);
/** The path of a file in a folder, as its user would write it: in "." its name alone. Local.
 *  @return BAL_OK; BAL_ERR_IO: it has more than n_bytes with its 0. */
bal_status bal_path_join(const char *dir, const char *name, char *path, size_t n_bytes);
#define BAL_PATH_MAX 4096 /* bytes of a path with its 0, as Linux has it */
/** The path dir/name of something to read. Local. @return BAL_OK; BAL_ERR_INPUT: too long. */
bal_status bal_path_in(const char *dir, const char *name, char path[BAL_PATH_MAX]);
/** Is it a folder? Local. */
bool bal_is_dir(const char *path);
/** Is there a file of that name in dir? True for a dangling link too: it is named when it is
 *  read. Local. */
bool bal_has_file(const char *dir, const char *name);
/** Publish bytes as dir/name: temporary file, fsync, rename, fsync of the directory. Whenever the
 *  machine stops, the old or the new file is there, whole. Local. @return BAL_OK; BAL_ERR_IO. */
bal_status bal_publish(const char *dir, const char *name, const void *bytes, size_t n_bytes);
/** fsync the directory itself, so that a rename in it lasts. Local. */
bal_status bal_sync_dir(const char *dir);

/** XXH3-64 of bytes with a seed. Local. Source: xxHash 0.8, XXH3_64bits_withSeed. */
uint64_t bal_hash(const void *bytes, size_t n_bytes, uint64_t seed);

#define BAL_NO_CHARACTER -1 /* a byte that is not part of valid UTF-8 */
/** The UTF-8 character at the start of text; n_bytes > 0. Local. @return its bytes, 1 .. 4. */
size_t bal_character(const char *text, size_t n_bytes, int32_t *character);

/** Resident memory of this process: all of it (RSS), and with each shared page divided by the
 * number of processes that share it (PSS), so that ranks may be added up. Local. @return false,
 * both 0: the system does not say. */
bool bal_memory_resident(int64_t *rss, int64_t *pss);
/** The peak of PSS so far, as far as it can be known: the peak of RSS less what is shared now.
 *  Local. */
int64_t bal_memory_peak(void);

#define BAL_HOST_BYTES 65 /* the longest name that Linux gives a machine, and a 0 */
/** The name of this machine; "unknown" if the system does not say. Local. */
void bal_host_name(char name[BAL_HOST_BYTES]);

/** Seconds of the monotonic clock, for durations; no result depends on it. Local. */
double bal_seconds(void);
/** The median of n > 0 values, which are sorted in place. Local. */
double bal_median(double *values, int n);

BAL_C_END

#endif
