/* task_splits.c: splits and demonstrations are functions of the seed, and never overlap. */
#include <stdlib.h>

#include "files.h"

enum { N_ROWS = 60 };

#define INI                                                                                \
    "[rows]\nformat = tsv\n[answer]\nlabels = a, b, c\n[template]\nprompt = \"{text} \"\n" \
    "candidates = x, y, z\n[splits]\ntrain = 20\ndev = 9\ntest = 11\n"

/* Rows 0 .. 59; the label is c for every sixth, else a or b. */
static const char *rows_text(void)
{
    static char text[N_ROWS * 16 + 32];
    strcpy(text, "text\tlabel\n");
    for (int i = 0; i < N_ROWS; ++i)
        sprintf(text + strlen(text), "row%d\t%s\n", i, i % 6 == 5 ? "c" : i % 2 ? "b" : "a");
    return text;
}

static bal_task *open_task(const char *train, const char *dev, const char *test,
                           bal_task_options options)
{
    bal_task *task = NULL;
    const char *ini = bal_test_write("task.ini", INI, strlen(INI));
    options.rows[BAL_SPLIT_TRAIN] = train;
    options.rows[BAL_SPLIT_DEV] = dev;
    options.rows[BAL_SPLIT_TEST] = test;
    if (bal_task_open(ini, &options, &task) != BAL_OK) fprintf(stderr, "%s\n", bal_failure());
    CU_ASSERT_PTR_NOT_NULL_FATAL(task);
    return task;
}

/* Count the rows of a split in seen[60]. */
static void see(const bal_task *task, bal_split split, int *seen)
{
    int last = -1;
    for (int64_t i = 0; i < bal_task_n(task, split); ++i) {
        bal_asked asked;
        CU_ASSERT_EQUAL_FATAL(bal_task_ask(task, split, i, &asked), BAL_OK);
        int row = atoi(asked.prompt + 3);
        CU_ASSERT(row > last); /* in the order of the file */
        last = row;
        ++seen[row];
        bal_asked_clear(&asked);
    }
}

/* Count the rows of the demonstrations, and their labels. */
static int see_shots(const bal_task *task, int *seen, int *labels)
{
    int n = 0;
    for (const char *at = bal_task_demonstrations(task); *at != 0; ++n) {
        int row = atoi(at + 3);
        CU_ASSERT_EQUAL(strncmp(at, "row", 3), 0);
        at = strchr(at, ' ');
        int label = at[1] - 'x';
        CU_ASSERT_EQUAL(label, row % 6 == 5 ? 2 : row % 2);
        ++labels[label];
        ++seen[row];
        CU_ASSERT_EQUAL_FATAL(strncmp(at + 2, "\n\n", 2), 0);
        at += 4;
    }
    return n;
}

static void test_no_row_is_in_two_parts(void)
{
    const char *rows = bal_test_write("rows", rows_text(), strlen(rows_text()));
    for (uint64_t seed = 0; seed < 20; ++seed) {
        int seen[N_ROWS] = {0}, labels[3] = {0};
        bal_task *task = open_task(rows, NULL, NULL, (bal_task_options){.seed = seed, .shots = 7});
        CU_ASSERT_EQUAL(bal_task_n(task, BAL_SPLIT_TRAIN), 20);
        CU_ASSERT_EQUAL(bal_task_n(task, BAL_SPLIT_DEV), 9);
        CU_ASSERT_EQUAL(bal_task_n(task, BAL_SPLIT_TEST), 11);
        for (int split = 0; split < BAL_N_SPLITS; ++split) see(task, (bal_split)split, seen);
        CU_ASSERT_EQUAL(see_shots(task, seen, labels), 7);
        CU_ASSERT(labels[0] == 3 && labels[1] == 2 && labels[2] == 2);
        for (int row = 0; row < N_ROWS; ++row) CU_ASSERT(seen[row] <= 1);
        bal_task_close(&task);
    }
}

static void test_the_seed_decides_all_but_the_test_rows(void)
{
    const char *rows = bal_test_write("rows", rows_text(), strlen(rows_text()));
    int seen[3][BAL_N_SPLITS][N_ROWS] = {0};
    char *shots[3];
    const uint64_t seeds[3] = {5, 5, 6};
    for (int i = 0; i < 3; ++i) {
        bal_task *task =
            open_task(rows, NULL, NULL, (bal_task_options){.seed = seeds[i], .shots = 4});
        for (int split = 0; split < BAL_N_SPLITS; ++split)
            see(task, (bal_split)split, seen[i][split]);
        shots[i] = strdup(bal_task_demonstrations(task));
        bal_task_close(&task);
    }
    CU_ASSERT_EQUAL(memcmp(seen[0], seen[1], sizeof seen[0]), 0);
    CU_ASSERT_STRING_EQUAL(shots[0], shots[1]);
    CU_ASSERT_STRING_NOT_EQUAL(shots[0], shots[2]);
    for (int split = 0; split < BAL_N_SPLITS; ++split) {
        bool same = memcmp(seen[0][split], seen[2][split], sizeof seen[0][split]) == 0;
        CU_ASSERT_EQUAL(same, split == BAL_SPLIT_TEST);
    }
    for (int i = 0; i < 3; ++i) free(shots[i]);
}

/* Results of others repeat only if their rows do. */
static void test_which_rows_these_are(void)
{
    const char *rows = bal_test_write("rows", rows_text(), strlen(rows_text()));
    bal_task *task = open_task(rows, NULL, NULL, (bal_task_options){.seed = 5, .shots = 2});
    int seen[2][N_ROWS] = {0};
    char found[2][64] = {"", ""};
    for (int i = 0; i < 2; ++i) {
        see(task, i == 0 ? BAL_SPLIT_DEV : BAL_SPLIT_TEST, seen[i]);
        for (int row = 0; row < N_ROWS; ++row)
            if (seen[i][row]) sprintf(found[i] + strlen(found[i]), "%d ", row);
    }
    CU_ASSERT_STRING_EQUAL(found[0], "0 4 10 13 27 32 51 52 56 ");
    CU_ASSERT_STRING_EQUAL(found[1], "2 3 15 19 21 28 30 43 45 53 57 ");
    CU_ASSERT_STRING_EQUAL(bal_task_demonstrations(task), "row9 y\n\nrow24 x\n\n");
    bal_task_close(&task);
}

static void test_dev_does_not_depend_on_what_is_trained_on(void)
{
    const char *rows = bal_test_write("rows", rows_text(), strlen(rows_text()));
    int seen[2][N_ROWS] = {0};
    for (int i = 0; i < 2; ++i) {
        bal_task_options options = {.shots = 3 * i, .n = {i == 0 ? 0 : 5, 0, 0}};
        bal_task *task = open_task(rows, NULL, NULL, options);
        CU_ASSERT_EQUAL(bal_task_n(task, BAL_SPLIT_TRAIN), i == 0 ? 20 : 5);
        see(task, BAL_SPLIT_DEV, seen[i]);
        bal_task_close(&task);
    }
    CU_ASSERT_EQUAL(memcmp(seen[0], seen[1], sizeof seen[0]), 0);
}

static void test_what_is_trained_on_does_not_depend_on_how_much_is_tested(void)
{
    const char *rows = bal_test_write("rows", rows_text(), strlen(rows_text()));
    int seen[2][N_ROWS] = {0}, tested[2][N_ROWS] = {0};
    for (int i = 0; i < 2; ++i) {
        bal_task *task = open_task(rows, NULL, NULL, (bal_task_options){.n = {0, 0, 4 * i}});
        CU_ASSERT_EQUAL(bal_task_n(task, BAL_SPLIT_TEST), i == 0 ? 11 : 4);
        see(task, BAL_SPLIT_TRAIN, seen[i]);
        see(task, BAL_SPLIT_TEST, tested[i]);
        bal_task_close(&task);
    }
    CU_ASSERT_EQUAL(memcmp(seen[0], seen[1], sizeof seen[0]), 0);
    for (int row = 0; row < N_ROWS; ++row) CU_ASSERT(tested[1][row] <= tested[0][row]);
}

static void test_files_of_their_own(void)
{
    const char *rows = bal_test_write("rows", rows_text(), strlen(rows_text()));
    const char *own = bal_test_write("own", "text\tlabel\nrow3\tb\nrow8\ta\n", 25);
    bal_task *task = open_task(rows, own, own, (bal_task_options){.n = {99, 0, 0}});
    CU_ASSERT_EQUAL(bal_task_n(task, BAL_SPLIT_TRAIN), N_ROWS); /* none are set aside */
    CU_ASSERT_EQUAL(bal_task_n(task, BAL_SPLIT_DEV), 2);
    CU_ASSERT_EQUAL(bal_task_n(task, BAL_SPLIT_TEST), 2);
    int seen[N_ROWS] = {0};
    see(task, BAL_SPLIT_TEST, seen);
    CU_ASSERT(seen[3] == 1 && seen[8] == 1);
    bal_task_close(&task);
    task = open_task("nowhere", NULL, own, (bal_task_options){.unused = {true, true, false}});
    CU_ASSERT_EQUAL(bal_task_n(task, BAL_SPLIT_TEST), 2); /* what is not used is not read */
    CU_ASSERT_EQUAL(bal_task_n(task, BAL_SPLIT_TRAIN), 0);
    bal_task_close(&task);
}

static void refuse(const char *rows, bal_task_options options, const char *sentence)
{
    bal_task *task = NULL;
    const char *ini = bal_test_write("task.ini", INI, strlen(INI));
    options.rows[BAL_SPLIT_TRAIN] = rows;
    CU_ASSERT_EQUAL(bal_task_open(ini, &options, &task), BAL_ERR_INPUT);
    CU_ASSERT(bal_test_said(sentence));
    CU_ASSERT_PTR_NULL(task);
}

static void test_an_empty_split_is_an_error(void)
{
    const char *rows = bal_test_write("rows", rows_text(), strlen(rows_text()));
    refuse(rows, (bal_task_options){.n = {0, 0, 60}},
           "rows: of 60 rows, test would take 60 and leave none");
    refuse(rows, (bal_task_options){.n = {0, 49, 0}},
           "rows: of 49 rows, dev would take 49 and leave none");
    refuse(rows, (bal_task_options){.shots = 41}, "rows: 40 rows for 41 demonstrations");
    refuse(rows, (bal_task_options){.shots = 40}, "rows: no row is left for train; make [splits]");
    refuse(NULL, (bal_task_options){0}, "task.ini: [rows] train is missing");
}

static void test_where_a_label_is_short_others_stand_in(void)
{
    const char *rows = bal_test_write("rows", rows_text(), strlen(rows_text()));
    int seen[N_ROWS] = {0}, labels[3] = {0};
    bal_task *task = open_task(rows, NULL, NULL, (bal_task_options){.shots = 33});
    CU_ASSERT_EQUAL(see_shots(task, seen, labels), 33);
    CU_ASSERT(labels[2] < 11 && labels[0] + labels[1] + labels[2] == 33);
    bal_task_close(&task);
}

const char bal_suite_name[] = "task_splits";
const bal_test bal_suite_tests[] = {
    {"no row is in two parts", test_no_row_is_in_two_parts},
    {"the seed decides all but the test rows", test_the_seed_decides_all_but_the_test_rows},
    {"which rows these are", test_which_rows_these_are},
    {"dev does not depend on what is trained on", test_dev_does_not_depend_on_what_is_trained_on},
    {"what is trained on does not depend on how much is tested",
     test_what_is_trained_on_does_not_depend_on_how_much_is_tested},
    {"files of their own", test_files_of_their_own},
    {"an empty split is an error", test_an_empty_split_is_an_error},
    {"where a label is short, others stand in", test_where_a_label_is_short_others_stand_in},
    {NULL, NULL},
};
