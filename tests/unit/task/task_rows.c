/* task_rows.c: rows of TSV, CSV, JSONL and JSON as named texts, and what is wrong with others. */
#include "files.h"

#define ASK                                                               \
    "[answer]\nlabels = 0, 1\n[splits]\ntrain = 1\ndev = 1\n[template]\n" \
    "prompt = \"<{text}>\"\ncandidates = no, yes\n"

/* Prompts and labels of all rows, "<a>0<b>1"; NULL: the task does not open. */
static const char *read(const char *ini, const char *rows)
{
    static char all[4096];
    bal_task *task = NULL;
    bal_task_options options = {.unused = {true, true, false}};
    all[0] = 0;
    if (bal_test_task(ini, rows, options, &task) != BAL_OK) return NULL;
    for (int64_t i = 0; i < bal_task_n(task, BAL_SPLIT_TEST); ++i) {
        bal_asked asked;
        CU_ASSERT_EQUAL_FATAL(bal_task_ask(task, BAL_SPLIT_TEST, i, &asked), BAL_OK);
        sprintf(all + strlen(all), "%s%d", asked.prompt, asked.right);
        bal_asked_clear(&asked);
    }
    bal_task_close(&task);
    return all;
}

static void check(const char *ini, const char *rows, const char *expected)
{
    const char *found = read(ini, rows);
    CU_ASSERT_PTR_NOT_NULL(found);
    if (found == NULL) fprintf(stderr, "said: %s\n", bal_failure());
    if (found == NULL) return;
    CU_ASSERT_STRING_EQUAL(found, expected);
    if (strcmp(found, expected) != 0) fprintf(stderr, "found %s, expected %s\n", found, expected);
}

static void refuse(const char *ini, const char *rows, const char *sentence)
{
    CU_ASSERT_PTR_NULL(read(ini, rows));
    CU_ASSERT(bal_test_said(sentence));
}

#define TSV "[rows]\nformat = tsv\n" ASK
#define CSV "[rows]\nformat = csv\n" ASK
#define LINES "[rows]\nformat = tsv\ncolumns = label, text\nseparator = \" \"\n" ASK

static void test_columns(void)
{
    check(TSV, "text\tlabel\n\"a\" b\t1\n\t0\n", "<\"a\" b>1<>0");
    check(TSV, "label\tother\ttext\r\n1\tx\ta\r\n\r\n0\ty\tb", "<a>1<b>0");
    check(TSV, "\xEF\xBB\xBFtext\tlabel\nx\t1\n", "<x>1");
    check(LINES, "1 a b  c \n0 \n", "<a b  c >1<>0");
    check("[rows]\nformat = tsv\ncolumns = text, label\n" ASK, "a\t0\nb\t1\n", "<a>0<b>1");
    check(CSV, "text,label\n\"a, \"\"b\"\"\nc\",1\nd e,0\r\n\"\",1\n", "<a, \"b\"\nc>1<d e>0<>1");
    check(CSV, "\"text\",\"label\"\n\"a\",1\n", "<a>1");
    check(TSV, "text\tlabel\n\xFF\xFE\t1\n", "<\xFF\xFE>1"); /* bytes that are no UTF-8 stay */
}

static void test_columns_that_are_wrong(void)
{
    refuse(TSV, "", "rows: there is no row");
    refuse(TSV, "text\tlabel\n", "rows: there is no row");
    refuse(TSV, "text\tlab\na\t1\n",
           "rows: there is no column label, the field label; columns: "
           "text, lab");
    refuse(TSV, "text\tlabel\na\t1\nb\n", "rows:3: 1 columns; expected 2");
    refuse(TSV, "text\tlabel\na\tb\t1\n", "rows:2: 3 columns; expected 2");
    refuse(TSV, "text\tlabel\na\t1\n\nb\t2\n", "rows:4: the label is \"2\"; expected one of 0, 1");
    refuse(CSV, "text,label\na,1\n\"b,0\nc,1\n", "rows:3: a quote is not closed");
    refuse(CSV, "text,label\n\"a\nb\",1\n\"b\"c,0\n", "rows:4: text follows a closing quote");
    refuse(CSV, "text,label\n\"a\nb\",1\nc\n", "rows:4: 1 columns; expected 2");
    refuse(LINES, "1 a\n0\n", "rows:2: 1 columns; expected 2");
}

#define JSONL "[rows]\nformat = jsonl\n" ASK
#define FIELD(path) "[rows]\nformat = jsonl\n[fields]\ntext = " path "\n" ASK

static void test_objects(void)
{
    check(JSONL, "{\"text\": \"\\u00e9\\n\", \"label\": 1}\n \r\n{\"label\": 0, \"text\": \"\"}",
          "<\xC3\xA9\n>1<>0");
    check(JSONL, "{\"text\": 12, \"label\": \"1\"}\n{\"text\": true, \"label\": 0}\n",
          "<12>1<true>0");
    check(FIELD("a.b[1].c"), "{\"a\": {\"b\": [0, {\"c\": 1.5}]}, \"label\": 0}", "<1.5>0");
    check(FIELD("a[]"), "{\"a\": [\"x\"], \"label\": 0}", "<x>0");
    check(JSONL, "\xEF\xBB\xBF{\"text\": \"x\", \"label\": 0}", "<x>0");
}

static void test_objects_that_are_wrong(void)
{
    refuse(JSONL, "{\"text\": \"a\", \"label\": 1}\n{\"text\": \"b\"}\n",
           "rows:2: label is missing");
    refuse(JSONL, "\n{\"text\": \"a\", \"label\": 1\n", "rows:2: no JSON: '}' expected near end");
    refuse(JSONL, "{\"text\": \"a\", \"label\": 1} x\n", "rows:1: no JSON: end of file expected");
    refuse(JSONL, "{\"text\": null, \"label\": 1}\n", "rows:1: text is null; expected a text");
    refuse(JSONL, "{\"text\": [\"a\"], \"label\": 1}\n",
           "rows:1: text is a list or an object; expected a text");
    refuse(JSONL, "[1]\n", "rows:1: text is missing");
    refuse(JSONL, "{\"text\": \"a\", \"text\": \"b\", \"label\": 1}\n",
           "rows:1: no JSON: duplicate object key");
    refuse(JSONL, "\n{\"text\": \"a\\u0000\", \"label\": 1}\n",
           "rows:2: a string has \\u0000, which no text may have; take it out");
    refuse(JSONL, "{\"a\\u0000\": 1}\n", "rows:1: a string has \\u0000");
    refuse(FIELD("a.b"), "{\"a\": {\"c\": 1}, \"label\": 0}", "rows:1: text, a.b is missing");
    refuse(FIELD("a[3]"), "{\"a\": [1], \"label\": 0}", "rows:1: text, a[3] is no list as long");
    refuse(FIELD("a[]"), "{\"a\": 1, \"label\": 0}", "rows:1: text, a[] is no list");
}

#define NESTED                                                             \
    "[rows]\nformat = json\neach = [].items[]\n[fields]\ntext = [].name\n" \
    "label = [].items[].label\n" ASK

static void test_documents(void)
{
    check(NESTED,
          "{\"a\": {\"name\": \"x\", \"items\": [{\"label\": 1}, {\"label\": 0}]},\n"
          "\"b\": {\"items\": [], \"name\": \"y\"}, \"c\": {\"name\": \"z\", \"items\": "
          "[{\"label\": 1}]}}",
          "<x>1<x>0<z>1");
    check(NESTED, "[{\"name\": \"x\", \"items\": [{\"label\": 1}]}]", "<x>1");
    check(NESTED, "\xEF\xBB\xBF[{\"name\": \"x\", \"items\": [{\"label\": 1}]}]", "<x>1");
    refuse(NESTED, "[{\"name\": \"x\", \"items\": []}]", "rows: there is no row");
    refuse(NESTED, "[\n{\"name\": \"x\",\n \"items\": }]", "rows:3: no JSON");
    refuse(NESTED, "[{\"name\": \"x\"}]", "rows: row 0: [].items[] is missing");
    refuse(NESTED, "[{\"name\": \"x\", \"items\": [{\"label\": 1}, {\"lable\": 1}]}]",
           "rows: row 2: label, [].items[].label is missing");
    refuse(NESTED, "[{\"name\": \"x\", \"items\": [{\"label\": 7}]}]",
           "rows: row 1: the label is \"7\"; expected one of 0, 1");
}

static void test_files_that_are_no_text(void)
{
    const char bytes[] = "text\tlabel\n\0\t1\n";
    const char *ini = bal_test_write("task.ini", TSV, strlen(TSV));
    const char *rows = bal_test_write("rows", bytes, sizeof bytes - 1);
    bal_task *task = NULL;
    bal_task_options options = {.unused = {true, true, false}, .rows = {NULL, NULL, rows}};
    CU_ASSERT_EQUAL(bal_task_open(ini, &options, &task), BAL_ERR_INPUT);
    CU_ASSERT(bal_test_said("rows: byte 11 is 0; expected rows as text in UTF-8, not compressed"));
    options.rows[2] = "nowhere.tsv";
    CU_ASSERT_EQUAL(bal_task_open(ini, &options, &task), BAL_ERR_INPUT);
    CU_ASSERT(bal_test_said("task.ini says where its rows come from"));
}

const char bal_suite_name[] = "task_rows";
const bal_test bal_suite_tests[] = {
    {"columns", test_columns},
    {"columns that are wrong", test_columns_that_are_wrong},
    {"objects", test_objects},
    {"objects that are wrong", test_objects_that_are_wrong},
    {"documents", test_documents},
    {"files that are no text", test_files_that_are_no_text},
    {NULL, NULL},
};
