/* core_file.c: input files are mapped or refused with their name; what is published is whole. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ballot/core.h"
#include "suite.h"

#define BIG_BYTES 300000

/* A publication: first byte says which, all others repeat it. */
static uint8_t big[BIG_BYTES];

static int n_files(const char *dir)
{
    DIR *stream = opendir(dir);
    int n = 0;
    while (stream != NULL && readdir(stream) != NULL) ++n;
    if (stream != NULL) closedir(stream);
    return n - 2; /* . and .. */
}

/** The file holds n_bytes of which. */
static bool holds(const char dir[256], const char *name, uint8_t which, size_t n_bytes)
{
    char path[PATH_MAX];
    bal_mapping file;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (bal_mapping_open(path, &file) != BAL_OK) return false;
    bool same = file.n_bytes == n_bytes;
    for (size_t i = 0; same && i < n_bytes; ++i) same = file.data[i] == which;
    bal_mapping_close(&file);
    return same;
}

static void test_a_mapped_file_has_the_bytes_on_disk(void)
{
    char dir[256], path[PATH_MAX];
    snprintf(dir, sizeof dir, "%s", bal_test_dir("mapped"));
    snprintf(path, sizeof path, "%s/x", dir);
    int fd = open(path, O_WRONLY | O_CREAT, 0666);
    CU_ASSERT_FATAL(fd >= 0);
    memset(big, 3, sizeof big);
    CU_ASSERT_EQUAL(bal_write_all(fd, big, sizeof big, path), BAL_OK);
    close(fd);
    CU_ASSERT(holds(dir, "x", 3, sizeof big));
    CU_ASSERT_EQUAL_FATAL(truncate(path, 0), 0);
    bal_mapping file = {.n_bytes = 1};
    CU_ASSERT_EQUAL(bal_mapping_open(path, &file), BAL_OK);
    CU_ASSERT(file.data == NULL && file.n_bytes == 0);
    bal_mapping_close(&file);
    bal_mapping_close(&file);
}

static void test_a_file_that_cannot_be_read_is_named(void)
{
    char dir[256], missing[PATH_MAX];
    const char *bad[] = {dir, missing};
    snprintf(dir, sizeof dir, "%s", bal_test_dir("unreadable"));
    snprintf(missing, sizeof missing, "%s/none", dir);
    for (int i = 0; i < 2; ++i) {
        bal_mapping file = {.n_bytes = 1};
        CU_ASSERT_EQUAL(bal_mapping_open(bad[i], &file), BAL_ERR_INPUT);
        CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), bad[i]));
        CU_ASSERT(file.data == NULL && file.n_bytes == 0);
    }
}

static void test_failed_writes_name_the_file(void)
{
    int fd = open("/dev/full", O_WRONLY);
    CU_ASSERT_EQUAL(bal_write_all(fd, "abc", 3, "out.h5"), BAL_ERR_IO);
    CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "out.h5"));
    close(fd);
}

static void test_publishing_replaces_the_whole_file(void)
{
    char dir[256];
    snprintf(dir, sizeof dir, "%s", bal_test_dir("publish"));
    memset(big, 1, sizeof big);
    CU_ASSERT_EQUAL(bal_publish(dir, "x", big, sizeof big), BAL_OK);
    CU_ASSERT(holds(dir, "x", 1, sizeof big));
    memset(big, 2, sizeof big);
    CU_ASSERT_EQUAL(bal_publish(dir, "x", big, 10), BAL_OK);
    CU_ASSERT(holds(dir, "x", 2, 10));
    CU_ASSERT_EQUAL(n_files(dir), 1);
}

static void test_a_failed_publication_leaves_the_old_file_alone(void)
{
    char dir[256], taken[PATH_MAX];
    snprintf(dir, sizeof dir, "%s", bal_test_dir("failed"));
    CU_ASSERT_EQUAL(bal_publish(dir, "x", "\1\1\1", 3), BAL_OK);
    struct rlimit old, small; /* a disk that fills up half way through the new file */
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = BIG_BYTES / 2;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    bal_status status = bal_publish(dir, "x", big, sizeof big);
    setrlimit(RLIMIT_FSIZE, &old);
    CU_ASSERT_EQUAL(status, BAL_ERR_IO);
    CU_ASSERT(holds(dir, "x", 1, 3));
    CU_ASSERT_EQUAL(n_files(dir), 1); /* and no remains of the new one */

    snprintf(taken, sizeof taken, "%s/taken", dir);
    CU_ASSERT_EQUAL_FATAL(mkdir(taken, 0777), 0);
    CU_ASSERT_EQUAL(bal_publish(dir, "taken", big, 3), BAL_ERR_IO);
    CU_ASSERT_EQUAL(n_files(dir), 2);
    CU_ASSERT_EQUAL(bal_publish("no/such/folder", "x", big, 3), BAL_ERR_IO);
    CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "no/such/folder"));
}

static void test_a_killed_publisher_leaves_the_old_or_the_new_file(void)
{
    char dir[256];
    snprintf(dir, sizeof dir, "%s", bal_test_dir("killed"));
    memset(big, 0, sizeof big);
    CU_ASSERT_EQUAL_FATAL(bal_publish(dir, "x", big, sizeof big), BAL_OK);
    for (unsigned round = 0; round < 20; ++round) {
        pid_t child = fork();
        CU_ASSERT_FATAL(child >= 0);
        if (child == 0)
            for (uint8_t which = 0;; ++which) {
                memset(big, which, sizeof big);
                bal_publish(dir, "x", big, sizeof big);
            }
        usleep(1000 + 937 * round);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        char path[PATH_MAX];
        bal_mapping file;
        snprintf(path, sizeof path, "%s/x", dir);
        CU_ASSERT_EQUAL_FATAL(bal_mapping_open(path, &file), BAL_OK);
        uint8_t which = file.n_bytes > 0 ? file.data[0] : 0;
        bal_mapping_close(&file);
        CU_ASSERT(holds(dir, "x", which, sizeof big));
    }
}

static void test_the_hash_of_a_file_is_that_of_its_bytes(void)
{
    char dir[256], path[PATH_MAX];
    snprintf(dir, sizeof dir, "%s", bal_test_dir("hash"));
    snprintf(path, sizeof path, "%s/x", dir);
    for (size_t i = 0; i < sizeof big; ++i) big[i] = (uint8_t)(i * 7 + i / 251);
    for (size_t n = 1; n <= sizeof big; n = n * 3 + 1) {
        CU_ASSERT_EQUAL_FATAL(bal_publish(dir, "x", big, n), BAL_OK);
        int fd = open(path, O_RDONLY);
        CU_ASSERT_FATAL(fd >= 0);
        for (size_t from = 0; from <= n; from += n / 3 + 1) {
            uint64_t hash;
            int64_t n_bytes;
            CU_ASSERT_EQUAL(bal_file_hash(fd, (int64_t)from, path, &hash, &n_bytes), BAL_OK);
            CU_ASSERT_EQUAL(hash, bal_hash(big + from, n - from, 0));
            CU_ASSERT_EQUAL(n_bytes, (int64_t)n);
        }
        close(fd);
    }
}

static void test_what_cannot_be_read_is_said(void)
{
    uint64_t hash;
    int64_t n_bytes;
    char byte;
    int fd = open("/", O_RDONLY | O_DIRECTORY);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(bal_read_at(fd, &byte, 1, 0, "root"), -1);
    CU_ASSERT_STRING_EQUAL(bal_failure(), "root: reading at byte 0 failed: Is a directory");
    CU_ASSERT_EQUAL(bal_file_hash(fd, 0, "root", &hash, &n_bytes), BAL_ERR_IO);
    close(fd);
}

static void test_named_files_are_kept_in_order_and_replaced(void)
{
    bal_files files = {0};
    CU_ASSERT_PTR_NULL(bal_files_find(&files, "a"));
    CU_ASSERT_EQUAL_FATAL(bal_files_add(&files, "a", "one", 3), BAL_OK);
    CU_ASSERT_EQUAL_FATAL(bal_files_add(&files, "b", NULL, 0), BAL_OK);
    CU_ASSERT_EQUAL_FATAL(bal_files_add(&files, "a", "other", 5), BAL_OK);
    CU_ASSERT_EQUAL_FATAL(files.n, 2);
    CU_ASSERT_STRING_EQUAL(files.at[0].name, "a");
    CU_ASSERT_EQUAL(files.at[0].n_bytes, 5);
    CU_ASSERT_STRING_EQUAL((const char *)bal_files_find(&files, "a")->bytes, "other");
    CU_ASSERT_EQUAL(bal_files_find(&files, "b")->n_bytes, 0);
    CU_ASSERT_PTR_NULL(bal_files_find(&files, "c"));
    bal_files_clear(&files);
    CU_ASSERT_EQUAL(files.n, 0);
}

const char bal_suite_name[] = "core_file";
const bal_test bal_suite_tests[] = {
    {"a mapped file has the bytes on disk", test_a_mapped_file_has_the_bytes_on_disk},
    {"a file that cannot be read is named", test_a_file_that_cannot_be_read_is_named},
    {"failed writes name the file", test_failed_writes_name_the_file},
    {"publishing replaces the whole file", test_publishing_replaces_the_whole_file},
    {"a failed publication leaves the old file alone",
     test_a_failed_publication_leaves_the_old_file_alone},
    {"a killed publisher leaves the old or the new file",
     test_a_killed_publisher_leaves_the_old_or_the_new_file},
    {"the hash of a file is that of its bytes", test_the_hash_of_a_file_is_that_of_its_bytes},
    {"what cannot be read is said", test_what_cannot_be_read_is_said},
    {"named files are kept in order and replaced", test_named_files_are_kept_in_order_and_replaced},
    {NULL, NULL},
};
