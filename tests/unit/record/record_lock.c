/* record_lock.c: a run directory has one writer, and a writer that was replaced notices. */
#include <limits.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ballot/record.h"
#include "files.h"
#include "suite.h"

static long generation_in(const char *path)
{
    size_t n_bytes;
    char *text = (char *)read_file(path, &n_bytes);
    text[n_bytes] = '\0';
    const char *line = strstr(text, "generation ");
    long generation = line == NULL ? -1 : atol(line + 11);
    free(text);
    return generation;
}

static void test_generations_grow_and_a_damaged_file_starts_again(void)
{
    char dir[PATH_MAX], path[PATH_MAX + 16];
    bal_lock *lock = NULL;
    snprintf(dir, sizeof dir, "%s", bal_test_dir("generations"));
    snprintf(path, sizeof path, "%s/run.lock", dir);
    for (long generation = 1; generation <= 3; ++generation) {
        CU_ASSERT_EQUAL_FATAL(bal_lock_take(dir, &lock), BAL_OK);
        CU_ASSERT_EQUAL(bal_lock_check(lock), BAL_OK);
        CU_ASSERT_EQUAL(generation_in(path), generation);
        bal_lock_release(&lock);
        CU_ASSERT_PTR_NULL(lock);
    }
    const char *damaged[] = {"", "generation 99", "host a\npid 1\njob none\ngeneration -3\nmore",
                             "\xff\xfe",
                             "host a\npid 99999999999999999999\njob none\ngeneration 3"};
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; ++i) {
        write_file(path, damaged[i], strlen(damaged[i]));
        CU_ASSERT_EQUAL_FATAL(bal_lock_take(dir, &lock), BAL_OK);
        CU_ASSERT_EQUAL(bal_lock_check(lock), BAL_OK);
        CU_ASSERT(generation_in(path) >= 1);
        bal_lock_release(&lock);
    }
}

static void test_a_second_process_is_told_who_has_the_run(void)
{
    char dir[PATH_MAX], pid[32];
    bal_lock *lock = NULL;
    int child_status;
    snprintf(dir, sizeof dir, "%s", bal_test_dir("conflict"));
    snprintf(pid, sizeof pid, "process %ld on host ", (long)getpid());
    CU_ASSERT_EQUAL_FATAL(bal_lock_take(dir, &lock), BAL_OK);
    fflush(NULL);
    pid_t child = fork();
    CU_ASSERT_FATAL(child >= 0);
    if (child == 0) {
        bal_lock *second = NULL;
        bool refused = bal_lock_take(dir, &second) == BAL_ERR_STATE && second == NULL &&
                       strstr(bal_failure(), pid) != NULL;
        _exit(refused ? 0 : 1);
    }
    CU_ASSERT_EQUAL_FATAL(waitpid(child, &child_status, 0), child);
    CU_ASSERT(WIFEXITED(child_status) && WEXITSTATUS(child_status) == 0);
    CU_ASSERT_EQUAL(bal_lock_check(lock), BAL_OK);
    bal_lock_release(&lock);
    CU_ASSERT_EQUAL(bal_lock_take(dir, &lock), BAL_OK);
    bal_lock_release(&lock);
}

static void test_a_dead_holder_is_no_obstacle(void)
{
    char dir[PATH_MAX];
    bal_lock *lock = NULL;
    snprintf(dir, sizeof dir, "%s", bal_test_dir("dead"));
    fflush(NULL);
    pid_t child = fork();
    CU_ASSERT_FATAL(child >= 0);
    if (child == 0) _exit(bal_lock_take(dir, &lock) == BAL_OK ? 0 : 1); /* never released */
    waitpid(child, NULL, 0);
    CU_ASSERT_EQUAL(bal_lock_take(dir, &lock), BAL_OK);
    bal_lock_release(&lock);
}

static void test_a_takeover_is_noticed(void)
{
    char dir[PATH_MAX], path[PATH_MAX + 16];
    bal_lock *lock = NULL;
    const char *successor = "host elsewhere\npid 4711\njob 12\ngeneration 2\n";
    snprintf(dir, sizeof dir, "%s", bal_test_dir("takeover"));
    snprintf(path, sizeof path, "%s/run.lock", dir);
    CU_ASSERT_EQUAL_FATAL(bal_lock_take(dir, &lock), BAL_OK);
    write_file(path, successor, strlen(successor));
    CU_ASSERT_EQUAL(bal_lock_check(lock), BAL_ERR_STATE);
    CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "4711 on host elsewhere"));
    unlink(path);
    CU_ASSERT_EQUAL(bal_lock_check(lock), BAL_ERR_STATE);
    bal_lock *second = NULL; /* the file was removed by hand: another process takes a new one */
    CU_ASSERT_EQUAL(bal_lock_take(dir, &second), BAL_OK);
    CU_ASSERT_EQUAL(bal_lock_check(second), BAL_OK);
    bal_lock_release(&second);
    bal_lock_release(&lock);
    CU_ASSERT_EQUAL(bal_lock_take("no such folder", &lock), BAL_ERR_IO);
}

const char bal_suite_name[] = "record: run lock";
const bal_test bal_suite_tests[] = {
    {"generations grow and a damaged file starts again",
     test_generations_grow_and_a_damaged_file_starts_again},
    {"a second process is told who has the run", test_a_second_process_is_told_who_has_the_run},
    {"a dead holder is no obstacle", test_a_dead_holder_is_no_obstacle},
    {"a takeover is noticed", test_a_takeover_is_noticed},
    {NULL, NULL},
};
