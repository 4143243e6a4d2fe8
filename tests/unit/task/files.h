/* files.h: small files, and tasks of them. */
#ifndef BALLOT_TEST_FILES_H
#define BALLOT_TEST_FILES_H

#include <stdio.h>
#include <string.h>

#include "ballot/task.h"
#include "suite.h"

/** Write a file into a fresh folder; its path is borrowed until 64 more are written. */
static inline const char *bal_test_write(const char *name, const char *text, size_t n)
{
    static char paths[64][512];
    static int n_written;
    char *path = paths[n_written++ % 64];
    snprintf(path, sizeof paths[0], "%s/%s", bal_test_dir("task"), name);
    FILE *file = fopen(path, "wb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL_FATAL(fwrite(text, 1, n, file), n);
    fclose(file);
    return path;
}

/** Open a task file of this text, with rows of that text as train, dev and test. */
static inline bal_status bal_test_task(const char *ini, const char *rows, bal_task_options options,
                                       bal_task **task)
{
    const char *path = bal_test_write("task.ini", ini, strlen(ini));
    const char *rows_path = bal_test_write("rows", rows, strlen(rows));
    for (int i = 0; i < BAL_N_SPLITS; ++i) options.rows[i] = rows_path;
    return bal_task_open(path, &options, task);
}

/** Is the message of the last failure this one, after the folders of a path? */
static inline bool bal_test_said(const char *sentence)
{
    const char *slash = strrchr(bal_failure(), '/'),
               *said = slash == NULL ? bal_failure() : slash + 1;
    if (strstr(bal_failure(), sentence) != NULL) return true;
    fprintf(stderr, "said: %s\nexpected: %s\n", said, sentence);
    return false;
}

#endif
