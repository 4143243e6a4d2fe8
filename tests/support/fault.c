/* fault.c: the wrapped calls, and what a file system may keep when the power goes. */
#include "fault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "suite.h"

/* The linker's names: __real_close is what __wrap_close stands in for. */
#define WRAP(type, name, ...)        \
    type __real_##name(__VA_ARGS__); \
    type __wrap_##name(__VA_ARGS__); \
    type __wrap_##name(__VA_ARGS__)

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);

enum { SECTOR = 512, N_FILES = 256, N_NAMES = 64, N_CHANGES = 256 };

static bal_fault_plan plan;
static atomic_bool armed;
static atomic_long n_calls;

/* ---- what is durable ---- */

typedef struct content {
    char *bytes;
    size_t n;
} content;

typedef struct file {
    ino_t inode; /* 0: no name leads to it any more */
    content now, durable;
} file;

typedef struct name {
    char text[NAME_MAX + 1]; /* "": unused */
    int file;
} name;

/* A name leads to a file from now on, or is gone (-1). */
typedef struct change {
    char text[NAME_MAX + 1];
    int file;
    bool with_next; /* a rename is two changes, never one alone */
} change;

static char watched[PATH_MAX];
static file files[N_FILES];
static int n_files;
static name durable_names[N_NAMES], names[N_NAMES];
static change changes[N_CHANGES];
static int n_changes;

static _Noreturn void give_up(const char *why)
{
    fprintf(stderr, "fault.c: %s\n", why);
    _exit(120);
}

static void load(content *c, const char *path)
{
    struct stat info;
    FILE *stream = fopen(path, "rbe");
    if (stream == NULL || fstat(fileno(stream), &info) != 0) give_up("a file cannot be followed");
    free(c->bytes);
    c->n = (size_t)info.st_size;
    c->bytes = malloc(c->n + 1);
    if (c->bytes == NULL || fread(c->bytes, 1, c->n, stream) != c->n) give_up("no content");
    fclose(stream);
}

static const char *watched_path(const char *text)
{
    static char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", watched, text) >= PATH_MAX) give_up("a long path");
    return path;
}

/* The name that path has in the watched folder; NULL: it lies elsewhere. */
static const char *name_of(const char *path)
{
    size_t n = strlen(watched);
    if (n == 0 || strncmp(path, watched, n) != 0 || path[n] != '/') return NULL;
    return strchr(path + n + 1, '/') == NULL ? path + n + 1 : NULL;
}

static int find(const name *in, const char *text)
{
    for (int i = 0; i < N_NAMES; ++i)
        if (strcmp(in[i].text, text) == 0) return i;
    return -1;
}

static void set(name *in, const char *text, int of)
{
    int at = find(in, text);
    if (at < 0 && of < 0) return;
    if (at < 0) at = find(in, "");
    if (at < 0) give_up("more names than there is room for");
    snprintf(in[at].text, sizeof in[at].text, "%s", of < 0 ? "" : text);
    in[at].file = of;
}

static void change_name(const char *text, int of, bool with_next)
{
    if (n_changes == N_CHANGES) give_up("more changes than there is room for");
    change *c = &changes[n_changes++];
    c->file = of;
    c->with_next = with_next;
    snprintf(c->text, sizeof c->text, "%s", text);
    set(names, text, of);
}

static int add_file(const char *path)
{
    struct stat info;
    if (n_files == N_FILES || stat(path, &info) != 0) give_up("no room for a file");
    files[n_files] = (file){.inode = info.st_ino};
    return n_files++;
}

/* The file of a name is about to lose it: keep what is in it. */
static void leave(const char *path)
{
    const char *text = name_of(path);
    int at = text == NULL ? -1 : find(names, text);
    if (at < 0) return;
    load(&files[names[at].file].now, path);
    files[names[at].file].inode = 0;
}

static void synced(int fd)
{
    struct stat info, folder;
    char path[64];
    if (watched[0] == '\0' || fstat(fd, &info) != 0 || stat(watched, &folder) != 0) return;
    if (info.st_ino == folder.st_ino) {
        memcpy(durable_names, names, sizeof names);
        n_changes = 0;
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    for (int i = 0; i < n_files; ++i)
        if (files[i].inode == info.st_ino) load(&files[i].durable, path);
}

/* Some of what was written since the last fsync. */
static content torn(const file *f, uint64_t *random)
{
    const content *a = &f->durable, *b = &f->now;
    size_t less = a->n < b->n ? a->n : b->n, more = a->n < b->n ? b->n : a->n;
    uint64_t size = bal_test_random(random) % 4, how = bal_test_random(random) % 4;
    content c = {NULL, size == 0 ? a->n : b->n};
    if (size == 1) c.n = less + bal_test_random(random) % (more - less + 1);
    c.bytes = calloc(c.n + 1, 1);
    if (c.bytes == NULL) give_up("no memory");
    for (size_t at = 0; at < c.n; at += SECTOR) {
        bool kept = how == 0 ? false : how == 1 ? true : bal_test_random(random) % 2;
        const content *from = kept ? b : a;
        size_t end = at + SECTOR < c.n ? at + SECTOR : c.n;
        if (end > from->n) end = from->n;
        if (end > at) memcpy(c.bytes + at, from->bytes + at, end - at);
    }
    return c;
}

static _Noreturn void lose_power(void)
{
    uint64_t random = plan.seed;
    if (watched[0] == '\0') give_up("nothing is watched");
    for (int i = 0; i < N_NAMES; ++i) {
        if (names[i].text[0] == '\0') continue;
        const char *path = watched_path(names[i].text);
        load(&files[names[i].file].now, path);
        if (unlink(path) != 0) give_up("a file cannot be removed");
    }
    int n = (int)(bal_test_random(&random) % (uint64_t)(n_changes + 1));
    while (n > 0 && n < n_changes && changes[n - 1].with_next) ++n;
    for (int i = 0; i < n; ++i) set(durable_names, changes[i].text, changes[i].file);
    for (int i = 0; i < N_NAMES; ++i) {
        if (durable_names[i].text[0] == '\0') continue;
        const char *path = watched_path(durable_names[i].text);
        content c = torn(&files[durable_names[i].file], &random);
        FILE *stream = fopen(path, "wbe");
        if (stream == NULL || fwrite(c.bytes, 1, c.n, stream) != c.n || fclose(stream) != 0)
            give_up("a file cannot be put back");
    }
    _exit(BAL_FAULT_KILLED);
}

void bal_fault_watch(const char *dir)
{
    snprintf(watched, sizeof watched, "%s", dir);
    n_files = n_changes = 0;
    memset(names, 0, sizeof names);
    DIR *stream = opendir(dir);
    if (stream == NULL) give_up("the folder cannot be read");
    for (const struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        if (entry->d_type != DT_REG) continue;
        const char *path = watched_path(entry->d_name);
        int of = add_file(path);
        load(&files[of].durable, path);
        set(names, entry->d_name, of);
    }
    closedir(stream);
    memcpy(durable_names, names, sizeof names);
}

/* ---- the plan ---- */

void bal_fault_begin(const bal_fault_plan *what)
{
    plan = *what;
    n_calls = 0;
    armed = true;
}

int64_t bal_fault_end(void)
{
    armed = false;
    return n_calls;
}

/* Count a call; what is to happen to it. */
static bal_fault_effect strike(bal_fault_calls calls, bool can_be_short)
{
    if (!armed || !(plan.calls & calls)) return BAL_FAULT_NONE;
    if (plan.effect == BAL_FAULT_SHORT && !can_be_short) return BAL_FAULT_NONE;
    int64_t n = ++n_calls;
    return n == plan.at || (plan.on && n > plan.at) ? plan.effect : BAL_FAULT_NONE;
}

static void end_process(bal_fault_effect effect)
{
    if (effect != BAL_FAULT_KILL && effect != BAL_FAULT_POWER) return;
    armed = false;
    if (effect == BAL_FAULT_POWER) lose_power();
    _exit(BAL_FAULT_KILLED);
}

/* True: the call fails. */
static bool fails(bal_fault_calls calls)
{
    bal_fault_effect effect = strike(calls, false);
    end_process(effect);
    if (effect == BAL_FAULT_ERRNO) errno = plan.error;
    return effect == BAL_FAULT_ERRNO;
}

/* What is durable matters to no other plan. */
static bool follows(void) { return armed && plan.effect == BAL_FAULT_POWER; }

/* ---- files ---- */

int __wrap_open(const char *path, int flags, ...)
{
    mode_t mode = 0;
    if (flags & O_CREAT) {
        va_list args;
        va_start(args, flags);
        mode = va_arg(args, mode_t);
        va_end(args);
    }
    if (fails(BAL_FAULT_OPEN)) return -1;
    struct stat info;
    const char *text = follows() && flags & O_CREAT ? name_of(path) : NULL;
    bool is_new = text != NULL && lstat(path, &info) != 0;
    int fd = __real_open(path, flags, mode);
    if (fd >= 0 && is_new) change_name(text, add_file(path), false);
    return fd;
}

WRAP(int, close, int fd)
{
    bool failed = fails(BAL_FAULT_CLOSE); /* closed all the same, as Linux does */
    int error = errno;
    int result = __real_close(fd);
    if (!failed) return result;
    errno = error;
    return -1;
}

/* All of it, half of it, or none. */
#define TRANSFER(calls, call, n_bytes)                             \
    bal_fault_effect effect = strike(calls, true);                 \
    if (effect == BAL_FAULT_ERRNO) {                               \
        errno = plan.error;                                        \
        return -1;                                                 \
    }                                                              \
    if (effect != BAL_FAULT_NONE && (n_bytes) > 1) (n_bytes) /= 2; \
    ssize_t done = call;                                           \
    end_process(effect);                                           \
    return done

WRAP(ssize_t, read, int fd, void *bytes, size_t n_bytes)
{
    TRANSFER(BAL_FAULT_READ, __real_read(fd, bytes, n_bytes), n_bytes);
}

WRAP(ssize_t, pread, int fd, void *bytes, size_t n_bytes, off_t at)
{
    TRANSFER(BAL_FAULT_READ, __real_pread(fd, bytes, n_bytes, at), n_bytes);
}

WRAP(ssize_t, write, int fd, const void *bytes, size_t n_bytes)
{
    TRANSFER(BAL_FAULT_WRITE, __real_write(fd, bytes, n_bytes), n_bytes);
}

WRAP(ssize_t, pwrite, int fd, const void *bytes, size_t n_bytes, off_t at)
{
    TRANSFER(BAL_FAULT_WRITE, __real_pwrite(fd, bytes, n_bytes, at), n_bytes);
}

WRAP(int, ftruncate, int fd, off_t n_bytes)
{
    return fails(BAL_FAULT_WRITE) ? -1 : __real_ftruncate(fd, n_bytes);
}

WRAP(int, fsync, int fd)
{
    if (fails(BAL_FAULT_SYNC)) return -1;
    int result = __real_fsync(fd);
    if (follows() && result == 0) synced(fd);
    return result;
}

WRAP(int, fdatasync, int fd)
{
    if (fails(BAL_FAULT_SYNC)) return -1;
    int result = __real_fdatasync(fd);
    if (follows() && result == 0) synced(fd);
    return result;
}

WRAP(int, rename, const char *from, const char *to)
{
    if (fails(BAL_FAULT_NAME)) return -1;
    const char *old = follows() ? name_of(from) : NULL, *text = follows() ? name_of(to) : NULL;
    if (text != NULL) leave(to);
    int result = __real_rename(from, to);
    if (result == 0 && old != NULL && text != NULL) {
        int of = names[find(names, old)].file;
        change_name(old, -1, true);
        change_name(text, of, false);
    }
    return result;
}

WRAP(int, unlink, const char *path)
{
    if (fails(BAL_FAULT_NAME)) return -1;
    const char *text = follows() ? name_of(path) : NULL;
    if (text != NULL) leave(path);
    int result = __real_unlink(path);
    if (result == 0 && text != NULL) change_name(text, -1, false);
    return result;
}

/* ---- memory ---- */

static bool no_memory(void) { return fails(BAL_FAULT_ALLOC); }

WRAP(void *, malloc, size_t n_bytes) { return no_memory() ? NULL : __real_malloc(n_bytes); }

WRAP(void *, calloc, size_t n, size_t n_bytes)
{
    return no_memory() ? NULL : __real_calloc(n, n_bytes);
}

WRAP(void *, realloc, void *old, size_t n_bytes)
{
    return no_memory() ? NULL : __real_realloc(old, n_bytes);
}

WRAP(void *, reallocarray, void *old, size_t n, size_t n_bytes)
{
    return no_memory() ? NULL : __real_reallocarray(old, n, n_bytes);
}

WRAP(int, posix_memalign, void **memory, size_t alignment, size_t n_bytes)
{
    return no_memory() ? ENOMEM : __real_posix_memalign(memory, alignment, n_bytes);
}

WRAP(char *, strdup, const char *text) { return no_memory() ? NULL : __real_strdup(text); }

WRAP(char *, strndup, const char *text, size_t n)
{
    return no_memory() ? NULL : __real_strndup(text, n);
}

WRAP(FILE *, open_memstream, char **text, size_t *n_bytes)
{
    return no_memory() ? NULL : __real_open_memstream(text, n_bytes);
}
