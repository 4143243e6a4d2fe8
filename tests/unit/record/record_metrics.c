/* record_metrics.c: the rows of a run's table come back, and take neither memory nor a name. */
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "ballot/record.h"
#include "files.h"
#include "suite.h"

enum { N_TENSORS = 81 };

/* The row of a step; its flips are in flips. */
static bal_metrics_row make_row(int64_t step, uint32_t flips[N_TENSORS])
{
    for (int i = 0; i < N_TENSORS; ++i) flips[i] = (uint32_t)(1000 * step + i);
    return (bal_metrics_row){
        .step = step, .loss_nats = 0.5 * (double)step, .n_passes = 16 * step, .flips = flips};
}

static void add_rows(bal_metrics *metrics, int64_t n)
{
    uint32_t flips[N_TENSORS];
    for (int64_t step = bal_metrics_n(metrics); step < n; ++step) {
        bal_metrics_row row = make_row(step, flips);
        CU_ASSERT_EQUAL_FATAL(bal_metrics_put(metrics, &row), BAL_OK);
    }
}

static void test_rows_come_back_also_those_that_were_written_again(void)
{
    bal_metrics *metrics = NULL;
    bal_metrics_row row;
    uint32_t flips[N_TENSORS];
    CU_ASSERT_EQUAL_FATAL(bal_metrics_create(bal_test_dir("rows"), N_TENSORS, &metrics), BAL_OK);
    CU_ASSERT_EQUAL(bal_metrics_n(metrics), 0);
    add_rows(metrics, 100);
    CU_ASSERT_EQUAL_FATAL(bal_metrics_get(metrics, 40, &row), BAL_OK);
    row.seconds[BAL_PHASE_PROBE] = 2.5; /* and its borrowed flips */
    CU_ASSERT_EQUAL_FATAL(bal_metrics_put(metrics, &row), BAL_OK);
    CU_ASSERT_EQUAL(bal_metrics_n(metrics), 100);
    for (int64_t step = 0; step < 100; ++step) {
        bal_metrics_row expected = make_row(step, flips);
        CU_ASSERT_EQUAL_FATAL(bal_metrics_get(metrics, step, &row), BAL_OK);
        CU_ASSERT(row.step == step && row.loss_nats == expected.loss_nats &&
                  row.n_passes == expected.n_passes);
        CU_ASSERT_EQUAL(row.seconds[BAL_PHASE_PROBE], step == 40 ? 2.5 : 0.0);
        CU_ASSERT_EQUAL(memcmp(row.flips, flips, sizeof flips), 0);
    }
    bal_metrics_destroy(&metrics);
    CU_ASSERT_PTR_NULL(metrics);
}

static void test_rows_take_no_memory_and_leave_no_file(void)
{
    const char *dir = bal_test_dir("flat");
    bal_metrics *metrics = NULL;
    CU_ASSERT_EQUAL_FATAL(bal_metrics_create(dir, N_TENSORS, &metrics), BAL_OK);
    CU_ASSERT_EQUAL(count_entries(dir), 0);
    add_rows(metrics, 1000);
    struct mallinfo2 before = mallinfo2();
    add_rows(metrics, 20000);
    struct mallinfo2 after = mallinfo2();
    CU_ASSERT_EQUAL(bal_metrics_n(metrics), 20000);
    CU_ASSERT(after.uordblks + after.hblkhd <= before.uordblks + before.hblkhd);
    bal_metrics_destroy(&metrics);
}

static void test_a_full_disk_is_an_error_and_keeps_the_rows_before(void)
{
    bal_metrics *metrics = NULL;
    bal_metrics_row row;
    uint32_t flips[N_TENSORS];
    CU_ASSERT_EQUAL_FATAL(bal_metrics_create(bal_test_dir("full"), N_TENSORS, &metrics), BAL_OK);
    add_rows(metrics, 10);
    limit_files((size_t)bal_metrics_bytes(N_TENSORS, 10) + 100);
    row = make_row(10, flips);
    CU_ASSERT_EQUAL(bal_metrics_put(metrics, &row), BAL_ERR_IO);
    limit_files(RLIM_INFINITY);
    CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "File too large"));
    CU_ASSERT_EQUAL(bal_metrics_n(metrics), 10);
    CU_ASSERT_EQUAL(bal_metrics_get(metrics, 9, &row), BAL_OK);
    CU_ASSERT_EQUAL(row.n_passes, 144);
    add_rows(metrics, 12); /* there is room again */
    CU_ASSERT_EQUAL(bal_metrics_get(metrics, 11, &row), BAL_OK);
    CU_ASSERT_EQUAL(row.n_passes, 176);
    bal_metrics_destroy(&metrics);
    CU_ASSERT_EQUAL(bal_metrics_create("no such folder", N_TENSORS, &metrics), BAL_ERR_IO);
    CU_ASSERT_PTR_NULL(metrics);
}

const char bal_suite_name[] = "record_metrics";
const bal_test bal_suite_tests[] = {
    {"rows come back, also those that were written again",
     test_rows_come_back_also_those_that_were_written_again},
    {"rows take no memory and leave no file", test_rows_take_no_memory_and_leave_no_file},
    {"a full disk is an error, and keeps the rows before",
     test_a_full_disk_is_an_error_and_keeps_the_rows_before},
    {NULL, NULL},
};
