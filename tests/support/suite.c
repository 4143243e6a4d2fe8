/* suite.c: main of every test program. */
#include "suite.h"

#include <CUnit/Basic.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

uint64_t bal_test_random(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

const char *bal_test_dir(const char *name)
{
    static char path[PATH_MAX];
    static int n_made;
    snprintf(path, sizeof path, "scratch-%ld-%d-%s", (long)getpid(), n_made++, name);
    if (mkdir(path, 0777) != 0) {
        perror(path);
        exit(1);
    }
    return path;
}

const char *bal_test_data(const char *name)
{
    static char path[PATH_MAX];
    const char *data = getenv("BALLOT_DATA");
    if (data == NULL) {
        fprintf(stderr, "BALLOT_DATA is not set: run the tests with ctest\n");
        exit(1);
    }
    snprintf(path, sizeof path, "%s/%s", data, name);
    return path;
}

bool bal_test_asserts(void (*act)(void))
{
    int state = 0;
#ifdef NDEBUG
    return true;
#endif
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0});
        if (freopen("/dev/null", "w", stderr) != NULL) act();
        _exit(0);
    }
    return waitpid(child, &state, 0) == child && WIFSIGNALED(state) && WTERMSIG(state) == SIGABRT;
}

int main(int argc, char **argv)
{
    if (bal_suite_begin != NULL && bal_suite_begin(&argc, &argv) != 0) return 1;
    if (CU_initialize_registry() != CUE_SUCCESS) return 1;
    CU_pSuite suite = CU_add_suite(bal_suite_name, NULL, NULL);
    for (const bal_test *test = bal_suite_tests; suite != NULL && test->property != NULL; ++test)
        if (CU_add_test(suite, test->property, test->check) == NULL) return 1;
    CU_basic_set_mode(CU_BRM_VERBOSE);
    CU_basic_run_tests();
    int failed = (int)CU_get_number_of_failures() + (CU_get_number_of_tests_run() == 0);
    CU_cleanup_registry();
    if (bal_suite_end != NULL) failed += bal_suite_end();
    return failed != 0;
}
