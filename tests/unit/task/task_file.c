/* task_file.c: what a task file may say, and the sentence for what it may not. */
#include "files.h"

#define ROWS "text\tlabel\nSome Text.\ta\n"
#define BEGIN "[rows]\nformat = tsv\n"
#define LABELS "[answer]\nlabels = a, b\n"
#define TWO "candidates = no, yes\n"

static bal_status open_task(const char *ini, const char *wording, bal_task **task)
{
    bal_task_options options = {.unused = {true, true, false}, .wording = wording};
    return bal_test_task(ini, ROWS, options, task);
}

/* The prompt that a template gives. */
static void check_prompt(const char *prompt, const char *expected)
{
    char ini[1024];
    bal_task *task = NULL;
    bal_asked asked = {0};
    snprintf(ini, sizeof ini, BEGIN LABELS "[template]\nprompt = %s\n" TWO, prompt);
    bal_status status = open_task(ini, NULL, &task);
    if (status == BAL_OK) status = bal_task_ask(task, BAL_SPLIT_TEST, 0, &asked);
    CU_ASSERT_EQUAL(status, BAL_OK);
    if (status != BAL_OK) fprintf(stderr, "%s: %s\n", prompt, bal_failure());
    if (status == BAL_OK) CU_ASSERT_STRING_EQUAL(asked.prompt, expected);
    bal_asked_clear(&asked);
    bal_task_close(&task);
}

static void refuse(const char *ini, const char *wording, const char *sentence)
{
    bal_task *task = NULL;
    bal_asked asked;
    bal_status status = open_task(ini, wording, &task);
    if (status == BAL_OK) {
        status = bal_task_ask(task, BAL_SPLIT_TEST, 0, &asked);
        bal_asked_clear(&asked);
    }
    CU_ASSERT_EQUAL(status, BAL_ERR_INPUT);
    CU_ASSERT(bal_test_said(sentence));
    bal_task_close(&task);
}

static void refuse_prompt(const char *prompt, const char *sentence)
{
    char ini[1024];
    snprintf(ini, sizeof ini, BEGIN LABELS "[template]\nprompt = %s\n" TWO, prompt);
    refuse(ini, NULL, sentence);
}

static void test_texts(void)
{
    check_prompt("plain words", "plain words");
    check_prompt("\"  spaces around go  \"", "spaces around go");
    check_prompt("\"\\n\\t\\\"\\\\ \\; \\{text\\} # = [x]\"", "\n\t\"\\ ; {text} # = [x]");
    check_prompt("{text} ; a comment", "Some Text.");
    check_prompt("\"one \"\nprompt = \"{text} two\"", "one Some Text. two");
}

static void test_filters(void)
{
    check_prompt("\"{text|lower}\"", "some text.");
    check_prompt("\"{text|lower_word}\"", "some Text.");
    check_prompt("\"{text|no_end(.)|no_end(.)}\"", "Some Text");
    check_prompt("\"{text|before( )} {text|after(e)}\"", "Some  Text.");
    check_prompt("\"{text|after(Some)|trim}\"", "Text.");
    check_prompt("\"{text|after(So)|upper_first}\"", "Me Text.");
    check_prompt("\"{label|map(b=2,a=1)}\"", "1");
    check_prompt("\"{label|map(a=)}.\"", ".");
    check_prompt("\"{text|no_end(})|no_end(|)}\"", "Some Text.");
}

static void test_templates_that_are_wrong(void)
{
    refuse_prompt("\"{text\"", "task.ini:6: \"{text\": a brace is not closed");
    refuse_prompt("\"{}\"", "task.ini:6: {}: expected a field's name");
    refuse_prompt("\"{a b}\"", "task.ini:6: {a b}: expected a field's name");
    refuse_prompt("\"{text|upper}\"",
                  "task.ini:6: there is no filter \"upper\"; filters: trim, lower, ");
    refuse_prompt("\"{text|before}\"", "there is no filter \"before\"");
    refuse_prompt("\"{text|trim(x)}\"", "there is no filter \"trim(x)\"");
    refuse_prompt("\"{text|before()}\"", "there is no filter \"before()\"");
    refuse_prompt("\"{text|map(a)}\"", "map(a): expected map(word=other,word=other)");
    refuse_prompt("\"{texts}\"",
                  "rows: there is no column texts, the field texts; columns: text, "
                  "label");
    refuse_prompt("\"{text|before(_)}\"", "rows:2: text: there is no \"_\" in \"Some Text.\"");
    refuse_prompt("\"{label|map(b=1)}\"", "rows:2: label: \"a\" is not in map(b=1)");
    refuse_prompt("\"a\\x\"", "task.ini:6: \\ before another character: expected \\n");
    refuse_prompt("\"a ; b\"", "task.ini:6: a quote is not closed: expected \"...\"; within it");
    refuse_prompt("\"a\" b", "task.ini:6: text after a closing quote: expected a comma");
    refuse_prompt("\"a\", \"b\"", "task.ini:6: several texts: expected one");
}

static void test_files_that_are_wrong(void)
{
    const char *const template = BEGIN LABELS "[template]\nprompt = x\n";
    char ini[512];
    refuse("", NULL, "task.ini: [template] has no prompt");
    refuse("nothing\n", NULL, "task.ini:1: expected [section], key = value or ; comment");
    refuse("[colour]\na = b\n", NULL, "task.ini:2: section colour: expected rows, fields, answer");
    refuse("[rows]\ncolour = b\n", NULL, "task.ini:2: rows: colour: expected format, train");
    refuse("[rows]\nformat = xml\n", NULL, "task.ini:2: xml: expected tsv csv jsonl json");
    refuse("[answer]\nmetric = f1\n", NULL, "task.ini:2: f1: expected accuracy macro_f1");
    refuse("[answer]\nlabels = a,,b\n", NULL, "task.ini:2: a word of the list is empty");
    refuse("[splits]\ndev = 0\n", NULL, "task.ini:2: 0: expected 1 to 2147483647");
    refuse("[splits]\neval = 1\n", NULL, "task.ini:2: splits: eval: expected train, dev or test");
    refuse("[answer]\ntokens = many\n", NULL, "task.ini:2: many: expected 1 to 4096");
    refuse("[answer]\ncolour = 1\n", NULL, "task.ini:2: answer: colour: expected label, labels");
    refuse("[template]\ncolour = 1\n", NULL, "task.ini:2: template: colour: expected prompt");
    refuse("[fields]\na = b\na = c\n", NULL, "task.ini:3: a: expected a field once");
    refuse("[rows]\nseparator = ab\n", NULL, "task.ini:2: separator: expected one character");
    refuse("[rows]\neach = a..b\n", NULL, "task.ini:2: a..b: expected keys with dots between");
    refuse("[rows]\neach = a[0]\n", NULL, "task.ini:2: a[0]: expected keys with dots between");
    refuse(BEGIN LABELS "[template]\nprompt = x\n" TWO, "plain",
           "task.ini: there is no [template plain]");
    refuse(BEGIN LABELS "[template plain]\nprompt = x\n[template]\nprompt = y\n" TWO, "plain",
           "task.ini:8: section template: expected it before [template NAME]");
    snprintf(ini, sizeof ini, "%s", template);
    refuse(ini, NULL, "task.ini: [template] has candidates and answers, or none of them");
    refuse(BEGIN "[template]\nprompt = x\n" TWO, NULL, "task.ini: [answer] has no labels");
    snprintf(ini, sizeof ini, "%scandidates = x, y, z\n", template);
    refuse(ini, NULL, "task.ini: [answer] labels and [template] candidates differ in number");
    snprintf(ini, sizeof ini, "%sanswers = x\n", template);
    refuse(ini, NULL, "task.ini: [answer] has labels, but [template] has answers to write");
    snprintf(ini, sizeof ini, "%s" TWO "[answer]\nmetric = token_f1\n", template);
    refuse(ini, NULL, "task.ini: [answer] metric does not fit");
    snprintf(ini, sizeof ini, "%s" TWO "[answer]\nscore = calibrated\n", template);
    refuse(ini, NULL, "task.ini: [answer] score = calibrated needs a neutral prompt");
    refuse("[rows]\nformat = jsonl\n[fields]\ntext = a.\n" LABELS
           "[template]\nprompt = {text}\n" TWO,
           NULL, "task.ini: the field text, a.: expected keys with dots between");
}

static void test_keys_that_do_nothing(void)
{
#define END LABELS "[template]\nprompt = x\n" TWO
#define WRITTEN "[template]\nprompt = x\nanswers = y\n[answer]\nmetric = token_f1\n"
    refuse("[rows]\nformat = tsv\neach = a[]\n" END, NULL,
           "task.ini:3: each does nothing here: it is for rows of jsonl and json; leave it out");
    refuse("[rows]\neach = a[]\nformat = csv\n" END, NULL, "task.ini:2: each does nothing here");
    refuse("[rows]\nformat = csv\nseparator = \"|\"\n" END, NULL,
           "task.ini:3: separator does nothing here: it is for rows of tsv; leave it out");
    refuse("[rows]\nformat = json\nseparator = \"|\"\n" END, NULL, "task.ini:3: separator does");
    refuse("[rows]\nformat = jsonl\ncolumns = text\n" END, NULL,
           "task.ini:3: columns does nothing here: it is for rows of tsv and csv; leave it out");
    refuse(BEGIN "[answer]\nstop = x\n" END, NULL,
           "task.ini:4: stop does nothing here: it is for answers to write; leave it out");
    refuse(BEGIN "[answer]\ntokens = 3\n" END, NULL, "task.ini:4: tokens does nothing here");
    refuse(
        BEGIN WRITTEN "score = calibrated\n", NULL,
        "task.ini:8: score does nothing here: it is for candidates to choose from; leave it out");
}

static void test_keys_that_are_given_twice(void)
{
    refuse("[rows]\nformat = tsv\nformat = csv\n" END, NULL,
           "task.ini:3: format is given twice, on line 2 too; keep one");
    refuse(BEGIN END "[rows]\ntest = x\ntest = y\n", NULL, "task.ini:10: test is given twice");
    refuse(BEGIN END "[answer]\nlabels = a, b\n", NULL,
           "task.ini:9: labels is given twice, on line 4");
    refuse(BEGIN "[splits]\ndev = 1\ndev = 1\n" END, NULL, "task.ini:5: dev is given twice");
    refuse(BEGIN END TWO, NULL, "task.ini:8: candidates is given twice, on line 7 too");
    refuse(BEGIN END "[template plain]\n" TWO TWO, NULL, "task.ini:10: candidates is given twice");
}

static void test_a_second_template_changes_what_it_says(void)
{
    static const char ini[] = BEGIN LABELS
        "[template]\nprompt = \"first \"\nprompt = \"{text}\"\n" TWO
        "[template plain]\nprompt = \"{text}\"\n[template loud]\ncandidates = NO, YES\n";
    static const struct {
        const char *wording, *prompt, *answer;
    } expected[] = {{NULL, "first Some Text.", "no"},
                    {"plain", "Some Text.", "no"},
                    {"loud", "first Some Text.", "NO"}};
    for (int i = 0; i < 3; ++i) {
        bal_task *task = NULL;
        bal_asked asked;
        CU_ASSERT_EQUAL_FATAL(open_task(ini, expected[i].wording, &task), BAL_OK);
        CU_ASSERT_EQUAL_FATAL(bal_task_ask(task, BAL_SPLIT_TEST, 0, &asked), BAL_OK);
        CU_ASSERT_STRING_EQUAL(asked.prompt, expected[i].prompt);
        CU_ASSERT_STRING_EQUAL(asked.answers[0], expected[i].answer);
        bal_asked_clear(&asked);
        bal_task_close(&task);
    }
}

/* Lists of a field as candidates, and as answers that are all right. */
static void test_lists(void)
{
    const char *rows =
        "{\"text\": \"x\", \"ends\": [\"p\", \"q\", \"r\"], \"label\": 2}\n"
        "{\"text\": \"y\", \"ends\": [\"p\"], \"label\": 1}\n"
        "{\"text\": \"z\", \"ends\": [], \"label\": 0}\n";
    const char *begin = "[rows]\nformat = jsonl\n[fields]\nend = ends[]\n[template]\n";
    char ini[512];
    bal_task *task = NULL;
    bal_asked asked;
    bal_task_options options = {.unused = {true, true, false}};
    snprintf(ini, sizeof ini,
             "%sprompt = \"{text} \"\ncandidates = \"{text}-{end}\"\n[answer]\n"
             "labels = 0, 1, 2\n",
             begin);
    CU_ASSERT_EQUAL_FATAL(bal_test_task(ini, rows, options, &task), BAL_OK);
    CU_ASSERT_EQUAL_FATAL(bal_task_ask(task, BAL_SPLIT_TEST, 0, &asked), BAL_OK);
    CU_ASSERT_EQUAL(asked.n_answers, 3);
    CU_ASSERT_STRING_EQUAL(asked.answers[2], " x-r");
    CU_ASSERT_EQUAL(asked.right, 2);
    bal_asked_clear(&asked);
    CU_ASSERT_EQUAL(bal_task_ask(task, BAL_SPLIT_TEST, 1, &asked), BAL_ERR_INPUT);
    CU_ASSERT(bal_test_said("rows:2: the label says answer 2 of 1"));
    bal_asked_clear(&asked);
    CU_ASSERT_EQUAL(bal_task_ask(task, BAL_SPLIT_TEST, 2, &asked), BAL_ERR_INPUT);
    CU_ASSERT(bal_test_said("rows:3: a list of candidates is empty"));
    bal_asked_clear(&asked);
    bal_task_close(&task);
    snprintf(ini, sizeof ini,
             "%sprompt = \"{end}\"\nanswers = \"{end}\"\n[answer]\n"
             "metric = exact_match\n",
             begin);
    CU_ASSERT_EQUAL_FATAL(bal_test_task(ini, rows, options, &task), BAL_OK);
    CU_ASSERT_EQUAL(bal_task_ask(task, BAL_SPLIT_TEST, 0, &asked), BAL_ERR_INPUT);
    CU_ASSERT(bal_test_said("rows:1: a field of the prompt has several texts; expected one"));
    bal_asked_clear(&asked);
    CU_ASSERT_EQUAL(bal_task_ask(task, BAL_SPLIT_TEST, 2, &asked), BAL_ERR_INPUT);
    CU_ASSERT(bal_test_said("rows:3: end is an empty list"));
    bal_asked_clear(&asked);
    bal_task_close(&task);
}

const char bal_suite_name[] = "task_file";
const bal_test bal_suite_tests[] = {
    {"texts", test_texts},
    {"filters", test_filters},
    {"templates that are wrong", test_templates_that_are_wrong},
    {"files that are wrong", test_files_that_are_wrong},
    {"keys that do nothing", test_keys_that_do_nothing},
    {"keys that are given twice", test_keys_that_are_given_twice},
    {"a second template changes what it says", test_a_second_template_changes_what_it_says},
    {"lists", test_lists},
    {NULL, NULL},
};
