/* files.h: whole small files, for tests that damage them. */
#ifndef BALLOT_TEST_RECORD_FILES_H
#define BALLOT_TEST_RECORD_FILES_H

#include <CUnit/CUnit.h>
#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static inline unsigned char *read_file(const char *path, size_t *n_bytes)
{
    FILE *file = fopen(path, "rb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fseek(file, 0, SEEK_END);
    *n_bytes = (size_t)ftell(file);
    rewind(file);
    unsigned char *bytes = malloc(*n_bytes + 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    CU_ASSERT_EQUAL_FATAL(fread(bytes, 1, *n_bytes, file), *n_bytes);
    fclose(file);
    return bytes;
}

static inline void write_file(const char *path, const void *bytes, size_t n_bytes)
{
    FILE *file = fopen(path, "wb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL_FATAL(fwrite(bytes, 1, n_bytes, file), n_bytes);
    CU_ASSERT_EQUAL_FATAL(fclose(file), 0);
}

/* A full disk: no file of this process may grow beyond n_bytes, until RLIM_INFINITY. */
static inline void limit_files(rlim_t n_bytes)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = n_bytes < limit.rlim_max ? n_bytes : limit.rlim_max;
    setrlimit(RLIMIT_FSIZE, &limit);
}

static inline int count_entries(const char *dir)
{
    int n = 0;
    DIR *stream = opendir(dir);
    CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
    while (readdir(stream) != NULL) ++n;
    closedir(stream);
    return n - 2; /* without . and .. */
}

#endif
