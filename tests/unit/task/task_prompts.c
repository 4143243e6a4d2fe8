/* task_prompts.c: the prompts and answers of the tasks in data/tasks, on rows in the form of each
 * data set, compared with texts written by hand from the published templates. */
#include "files.h"

#define ANSWERS_MAX 6

/* A row in the form of a data set, and what it becomes. */
typedef struct expected {
    const char *task, *wording;
    const char *rows;
    int64_t index;
    const char *prompt;
    const char *answers[ANSWERS_MAX];
    int right;
} expected;

static void check(const expected *e)
{
    char name[64];
    snprintf(name, sizeof name, "tasks/%s.ini", e->task);
    bal_task_options options = {.wording = e->wording, .unused = {true, true, false}};
    if (e->rows != NULL)
        options.rows[BAL_SPLIT_TEST] = bal_test_write("rows", e->rows, strlen(e->rows));
    bal_task *task = NULL;
    bal_status status = bal_task_open(bal_test_data(name), &options, &task);
    if (status != BAL_OK) fprintf(stderr, "%s: %s\n", e->task, bal_failure());
    CU_ASSERT_EQUAL_FATAL(status, BAL_OK);
    CU_ASSERT_FATAL(e->index < bal_task_n(task, BAL_SPLIT_TEST));
    bal_asked asked;
    status = bal_task_ask(task, BAL_SPLIT_TEST, e->index, &asked);
    if (status != BAL_OK) fprintf(stderr, "%s: %s\n", e->task, bal_failure());
    CU_ASSERT_EQUAL_FATAL(status, BAL_OK);
    int n = 0;
    while (n < ANSWERS_MAX && e->answers[n] != NULL) ++n;
    bool same =
        strcmp(asked.prompt, e->prompt) == 0 && asked.n_answers == n && asked.right == e->right;
    for (int i = 0; i < n && same; ++i) same = strcmp(asked.answers[i], e->answers[i]) == 0;
    CU_ASSERT(same);
    if (!same) {
        fprintf(stderr, "%s: <%s> right %d of", e->task, asked.prompt, asked.right);
        for (int i = 0; i < asked.n_answers; ++i) fprintf(stderr, " <%s>", asked.answers[i]);
        fprintf(stderr, "\n");
    }
    bal_asked_clear(&asked);
    bal_task_close(&task);
}

static const expected carried[] = {
    {"sst2",
     NULL,
     NULL,
     0,
     "it 's a charming and often affecting journey . It was",
     {" terrible", " great"},
     1},
    {"sst2", NULL, NULL, 1, "unflinchingly bleak and desperate It was", {" terrible", " great"}, 0},
    {"sst2", "plain", NULL, 1, "unflinchingly bleak and desperate", {" terrible", " great"}, 0},
};

#define YES_NO      \
    {               \
        "Yes", "No" \
    }
#define NO_YES      \
    {               \
        "No", "Yes" \
    }
#define RTE_ROWS                                                         \
    "index\tsentence1\tsentence2\tlabel\n"                               \
    "0\tRain fell on \"all\" of Rome.\tIt rained in Rome.\tentailment\n" \
    "1\tThe sun shone.\tIt rained.\tnot_entailment\r\n"
#define CB_ROWS                                                                         \
    "{\"premise\": \"B: I think it rains.\", \"hypothesis\": \"it rains\", \"label\": " \
    "\"neutral\"}\n"
#define BOOLQ_ROWS                                                                        \
    "{\"question\": \"is rome in italy\", \"passage\": \"Rome -- Rome is the capital of " \
    "Italy.\", "                                                                          \
    "\"idx\": 1, \"label\": true}\n"                                                      \
    "{\"question\": \"Is it old?\", \"passage\": \"It is new.\", \"label\": false}\n"
#define WSC_ROWS                                                                                 \
    "{\"text\": \"Tim saw Tom. He smiled.\", \"target\": {\"span2_index\": 3, \"span1_index\": " \
    "0, "                                                                                        \
    "\"span1_text\": \"Tim\", \"span2_text\": \"He\"}, \"idx\": 5, \"label\": true}\n"
#define WIC_ROWS                                                                             \
    "{\"word\": \"bank\", \"sentence1\": \"By the bank.\", \"sentence2\": \"Ask a bank.\", " \
    "\"label\": false, \"start1\": 7}\n"
#define MULTIRC_ROWS                                                                            \
    "{\"idx\": 6, \"passage\": {\"text\": \"Ann met Bob.\", \"questions\": [{\"question\": "    \
    "\"Who met?\", \"answers\": [{\"text\": \"Ann\", \"label\": 1}, {\"text\": \"Cid\", "       \
    "\"label\": 0}], \"idx\": 1}, {\"question\": \"Whom?\", \"answers\": [{\"text\": \"Bob\", " \
    "\"label\": 1}]}]}}\n"
#define COPA_ROWS                                                                               \
    "{\"premise\": \"My body cast a shadow over the grass.\", \"choice1\": \"The sun was "      \
    "rising.\", "                                                                               \
    "\"choice2\": \"The grass was cut.\", \"question\": \"cause\", \"label\": 0, \"idx\": 0}\n" \
    "{\"premise\": \"The pan was hot. \", \"choice1\": \"I cried.\", \"choice2\": \"TV was "    \
    "on.\", "                                                                                   \
    "\"question\": \"effect\", \"label\": 1}\n"
#define WINO_ROWS                                                                             \
    "{\"qID\": \"3\", \"sentence\": \"The cup did not fit in the bag as the _ was small.\", " \
    "\"option1\": \"cup\", \"option2\": \"bag\", \"answer\": \"2\"}\n"
#define TREC_ROWS "DESC:manner How did serfdom develop in Russia ?\nNUM:date When did it end ?\n"
#define SQUAD_ROWS                                                                                 \
    "{\"version\": \"1.1\", \"data\": [{\"title\": \"Rome\", \"paragraphs\": [{\"context\": "      \
    "\"Rome lies on the Tiber.\", \"qas\": [{\"id\": \"a\", \"question\": \" On which river? \", " \
    "\"answers\": [{\"text\": \"the Tiber\", \"answer_start\": 13}, {\"text\": \"Tiber\"}]}]}]}, " \
    "{\"title\": \"Bern\", \"paragraphs\": [{\"context\": \"Bern lies on the Aare.\", \"qas\": "   \
    "[{\"question\": \"Where?\", \"answers\": [{\"text\": \"on the Aare\"}]}]}]}]}"
#define DROP_ROWS                                                                                  \
    "{\"nfl_1\": {\"passage\": \"Two goals.\", \"qa_pairs\": [{\"question\": \"How many "          \
    "goals?\", "                                                                                   \
    "\"answer\": {\"number\": \"2\", \"date\": {\"day\": \"\", \"month\": \"\", \"year\": \"\"}, " \
    "\"spans\": []}}]}, \"nfl_2\": {\"passage\": \"May 1990.\", \"qa_pairs\": [{\"question\": "    \
    "\"When?\", \"answer\": {\"number\": \"\", \"date\": {\"day\": \"\", \"month\": \"May\", "     \
    "\"year\": \"1990\"}, \"spans\": []}}, {\"question\": \"Who?\", \"answer\": {\"number\": "     \
    "\"\", "                                                                                       \
    "\"date\": {\"day\": \"\", \"month\": \"\", \"year\": \"\"}, \"spans\": [\"Ann\", "            \
    "\"Bob\"]}}]}}"

static const expected glue[] = {
    {"rte", NULL, RTE_ROWS, 0,
     "Rain fell on \"all\" of Rome.\nDoes this mean that \"It rained in Rome.\" is true? Yes or "
     "No?\n",
     YES_NO, 0},
    {"rte", NULL, RTE_ROWS, 1,
     "The sun shone.\nDoes this mean that \"It rained.\" is true? Yes or No?\n", YES_NO, 1},
    {"rte", "plain", RTE_ROWS, 1, "The sun shone.\n\"It rained.\"\n", YES_NO, 1},
    {"cb",
     NULL,
     CB_ROWS,
     0,
     "Suppose B: I think it rains. Can we infer that \"it rains\"? Yes, No, or Maybe?\n",
     {"Yes", "No", "Maybe"},
     2},
    {"cb", "plain", CB_ROWS, 0, "B: I think it rains.\n\"it rains\"\n", {"Yes", "No", "Maybe"}, 2},
    {"boolq", NULL, BOOLQ_ROWS, 0, "Rome -- Rome is the capital of Italy. Is rome in italy?\n",
     YES_NO, 0},
    {"boolq", NULL, BOOLQ_ROWS, 1, "It is new. Is it old?\n", YES_NO, 1},
    {"boolq", "plain", BOOLQ_ROWS, 1, "It is new.\n", YES_NO, 1},
    {"wsc", NULL, WSC_ROWS, 0,
     "Tim saw Tom. He smiled.\nIn the previous sentence, does the pronoun \"he\" refer to Tim? Yes "
     "or No?\n",
     NO_YES, 1},
    {"wsc", "plain", WSC_ROWS, 0, "Tim saw Tom. He smiled.\n\"he\"\nTim\n", NO_YES, 1},
    {"wic", NULL, WIC_ROWS, 0,
     "Does the word \"bank\" have the same meaning in these two sentences? Yes, No?\nBy the "
     "bank.\nAsk a bank.\n",
     NO_YES, 0},
    {"wic", "plain", WIC_ROWS, 0, "\"bank\"\nBy the bank.\nAsk a bank.\n", NO_YES, 0},
    {"multirc", NULL, MULTIRC_ROWS, 1,
     "Ann met Bob.\nQuestion: Who met?\nI found this answer \"Cid\". Is that correct? Yes or No?\n",
     NO_YES, 0},
    {"multirc", NULL, MULTIRC_ROWS, 2,
     "Ann met Bob.\nQuestion: Whom?\nI found this answer \"Bob\". Is that correct? Yes or No?\n",
     NO_YES, 1},
    {"multirc", "plain", MULTIRC_ROWS, 0, "Ann met Bob.\nWho met?\n\"Ann\"\n", NO_YES, 1},
};

static const expected choices[] = {
    {"copa",
     NULL,
     COPA_ROWS,
     0,
     "My body cast a shadow over the grass because",
     {" the sun was rising.", " the grass was cut."},
     0},
    {"copa", NULL, COPA_ROWS, 1, "The pan was hot so", {" I cried.", " tv was on."}, 1},
    {"copa", "plain", COPA_ROWS, 1, "The pan was hot", {" I cried.", " tv was on."}, 1},
    {"winogrande",
     NULL,
     WINO_ROWS,
     0,
     "The cup did not fit in the bag as the",
     {" cup was small.", " bag was small."},
     1},
    {"winogrande",
     "plain",
     WINO_ROWS,
     0,
     "The cup did not fit in the bag as the _ was small.\n",
     {"cup", "bag"},
     1},
    {"trec",
     NULL,
     TREC_ROWS,
     0,
     "How did serfdom develop in Russia ? It is about a",
     {" description", " entity", " expression", " human", " location", " number"},
     0},
    {"trec",
     "plain",
     TREC_ROWS,
     1,
     "When did it end ?",
     {" description", " entity", " expression", " human", " location", " number"},
     5},
    {"cr", NULL, "0 it broke . \n1 so good !\n", 1, "so good ! It was", {" terrible", " great"}, 1},
    {"cr", "plain", "0 it broke . \n", 0, "it broke .", {" terrible", " great"}, 0},
    {"mpqa",
     NULL,
     "0 failing to support\n",
     0,
     "failing to support It was",
     {" terrible", " great"},
     0},
    {"mpqa", "plain", "1 better\n", 0, "better", {" terrible", " great"}, 1},
    {"subj",
     NULL,
     "0 smart and alert . \n1 he leaves . \n",
     1,
     "he leaves . This is",
     {" subjective", " objective"},
     1},
    {"subj",
     "plain",
     "0 smart and alert . \n",
     0,
     "smart and alert .",
     {" subjective", " objective"},
     0},
};

static const expected written[] = {
    {"squad",
     NULL,
     SQUAD_ROWS,
     0,
     "Title: Rome\nContext: Rome lies on the Tiber.\nQuestion: On which river?\nAnswer:",
     {" the Tiber\n", " Tiber\n"},
     0},
    {"squad",
     NULL,
     SQUAD_ROWS,
     1,
     "Title: Bern\nContext: Bern lies on the Aare.\nQuestion: Where?\nAnswer:",
     {" on the Aare\n"},
     0},
    {"squad", "plain", SQUAD_ROWS, 1, "Bern lies on the Aare.\nWhere?\n", {"on the Aare\n"}, 0},
    {"drop",
     NULL,
     DROP_ROWS,
     0,
     "Passage: Two goals.\nQuestion: How many goals?\nAnswer:",
     {" 2\n"},
     0},
    {"drop",
     NULL,
     DROP_ROWS,
     1,
     "Passage: May 1990.\nQuestion: When?\nAnswer:",
     {" May 1990\n"},
     0},
    {"drop",
     NULL,
     DROP_ROWS,
     2,
     "Passage: May 1990.\nQuestion: Who?\nAnswer:",
     {" Ann\n", " Bob\n"},
     0},
    {"drop", "plain", DROP_ROWS, 0, "Two goals.\nHow many goals?\n", {"2\n"}, 0},
};

#define CHECK_ALL(list) \
    for (size_t i = 0; i < sizeof list / sizeof *list; ++i) check(&list[i])

static void test_the_rows_of_the_repository(void) { CHECK_ALL(carried); }
static void test_answers_that_are_words(void) { CHECK_ALL(glue); }
static void test_answers_of_fields_and_labels_of_lines(void) { CHECK_ALL(choices); }
static void test_answers_that_are_written(void) { CHECK_ALL(written); }

static void test_every_split_of_the_repository_opens(void)
{
    static const struct {
        const char *name;
        int64_t n[BAL_N_SPLITS];
    } tasks[] = {{"sst2", {1000, 400, 436}},  {"cb", {118, 100, 28}},
                 {"copa", {268, 100, 50}},    {"cr", {1000, 500, 755}},
                 {"mpqa", {1000, 500, 1000}}, {"subj", {1000, 500, 1000}}};
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; ++i) {
        char name[64];
        snprintf(name, sizeof name, "tasks/%s.ini", tasks[i].name);
        bal_task *task = NULL;
        bal_task_options options = {.shots = 4};
        bal_status status = bal_task_open(bal_test_data(name), &options, &task);
        if (status != BAL_OK) fprintf(stderr, "%s\n", bal_failure());
        CU_ASSERT_EQUAL_FATAL(status, BAL_OK);
        for (int split = 0; split < BAL_N_SPLITS; ++split) {
            /* where rows are short, demonstrations are taken from those to train on */
            int64_t n = bal_task_n(task, (bal_split)split), few = split == 0 ? 4 : 0;
            CU_ASSERT(n <= tasks[i].n[split] && n >= tasks[i].n[split] - few);
        }
        bal_task_close(&task);
    }
}

static void test_tasks_without_rows_say_where_these_come_from(void)
{
    static const char *const tasks[] = {"rte",  "boolq", "wsc",        "wic", "multirc",
                                        "trec", "squad", "winogrande", "drop"};
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; ++i) {
        char name[64], said[128];
        snprintf(name, sizeof name, "tasks/%s.ini", tasks[i]);
        snprintf(said, sizeof said, "tasks/%s.ini says where its rows come from", tasks[i]);
        bal_task *task = NULL;
        CU_ASSERT_EQUAL(bal_task_open(bal_test_data(name), &(bal_task_options){0}, &task),
                        BAL_ERR_INPUT);
        CU_ASSERT(bal_test_said(said));
        CU_ASSERT_PTR_NULL(task);
    }
}

const char bal_suite_name[] = "task_prompts";
const bal_test bal_suite_tests[] = {
    {"the rows of the repository", test_the_rows_of_the_repository},
    {"answers that are words", test_answers_that_are_words},
    {"answers of fields, and labels of lines", test_answers_of_fields_and_labels_of_lines},
    {"answers that are written", test_answers_that_are_written},
    {"every split of the repository opens", test_every_split_of_the_repository_opens},
    {"tasks without rows say where these come from",
     test_tasks_without_rows_say_where_these_come_from},
    {NULL, NULL},
};
