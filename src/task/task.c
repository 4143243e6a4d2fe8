/* task.c: a task file and its rows, dealt to splits. */
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "task_impl.h"

#define DEMONSTRATIONS_SEED 0x64656d6f /* so that their order is not that of the rows */

static const char *const split_names[BAL_N_SPLITS] = {"train", "dev", "test"};

/* The file that a split has for itself; NULL: its rows are some of train's. */
static bal_status find_path(const bal_task *t, const bal_task_options *o, bal_split split,
                            char **path)
{
    const char *given = o->rows[split], *named = t->file.rows[split];
    *path = NULL;
    if (given == NULL && (named == NULL || o->rows[BAL_SPLIT_TRAIN] != NULL)) return BAL_OK;
    if (given != NULL || named[0] == '/') {
        *path = strdup(given != NULL ? given : named);
    } else {
        char *copy = strdup(t->path), *joined = NULL;
        if (copy != NULL && asprintf(&joined, "%s/%s", dirname(copy), named) < 0) joined = NULL;
        free(copy);
        *path = joined;
    }
    return *path == NULL ? bal_fail(BAL_ERR_MEMORY, "no memory for %s", t->path) : BAL_OK;
}

/* Read a split's file, and the label of every row. */
static bal_status read_rows(bal_task *t, bal_split split)
{
    bal_rows *rows = &t->rows[split];
    bal_status status = bal_rows_open(t->rows_path[split], &t->file.form, rows);
    if (status == BAL_ERR_INPUT && access(t->rows_path[split], F_OK) != 0)
        return bal_fail(status, "%s; %s says where its rows come from", bal_failure(), t->path);
    BAL_TRY(status);
    t->label[split] = calloc((size_t)rows->n, sizeof *t->label[split]);
    if (t->label[split] == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for %s", rows->path);
    for (int64_t i = 0; i < rows->n && t->file.label.n > 0; ++i)
        BAL_TRY(bal_row_label(&t->file, rows, i, &t->label[split][i]));
    return BAL_OK;
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Make n of these rows those of a split, in the order of the file. */
static bal_status deal(bal_task *t, bal_split split, bal_split from, const int64_t *rows, int64_t n)
{
    if (n <= 0) {
        const char *path = t->rows_path[from];
        return bal_fail(BAL_ERR_INPUT, "%s: no row is left for %s; make [splits] of %s smaller",
                        path == NULL ? t->path : path, split_names[split], t->path);
    }
    t->index[split] = malloc((size_t)n * sizeof *rows);
    if (t->index[split] == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for %s", t->path);
    memcpy(t->index[split], rows, (size_t)n * sizeof *rows);
    qsort(t->index[split], (size_t)n, sizeof *rows, ascending);
    t->n[split] = n;
    t->from[split] = from;
    return BAL_OK;
}

/* Demonstrations: rows with their right answers. */
static bal_status write_demonstrations(bal_task *t, const int64_t *rows, int64_t n)
{
    const char *between = t->file.wording.between;
    bal_buffer *text = &t->demonstrations;
    bal_status status = BAL_OK;
    for (int64_t i = 0; i < n && status == BAL_OK; ++i) {
        bal_asked asked;
        status = bal_row_ask(&t->file, &t->rows[BAL_SPLIT_TRAIN], rows[i], &t->file.wording.prompt,
                             &asked);
        if (status == BAL_OK) status = bal_buffer_add(text, asked.prompt, strlen(asked.prompt));
        const char *right = status == BAL_OK ? asked.answers[asked.right] : "";
        if (status == BAL_OK) status = bal_buffer_add(text, right, strlen(right));
        while (status == BAL_OK && text->n > 0 && strchr(" \t\r\n", text->bytes[text->n - 1]))
            --text->n;
        if (status == BAL_OK) status = bal_buffer_add(text, between, strlen(between));
        bal_asked_clear(&asked);
    }
    return status == BAL_OK && n > 0 ? bal_buffer_add(text, "", 1) : status;
}

/* Deal the rows of train's file: first the test rows, the same for every seed, then dev, the
 * demonstrations, and what is left to train on. */
static bal_status deal_train(bal_task *t, const bal_task_options *o, int64_t *order)
{
    const bal_rows *rows = &t->rows[BAL_SPLIT_TRAIN];
    int64_t n = rows->n, shots[1024];
    for (int64_t i = 0; i < n; ++i) order[i] = i;
    bal_shuffle(order, n, 0);
    for (bal_split split = BAL_SPLIT_TEST; split >= BAL_SPLIT_DEV; --split) {
        if (split == BAL_SPLIT_DEV) bal_shuffle(order, n, o->seed + 1);
        if (t->rows_path[split] != NULL) continue;
        int64_t wanted = o->n[split] > 0 ? o->n[split] : t->file.n[split];
        int64_t aside = wanted; /* for fewer rows as many, so that train keeps its own */
        if (aside < t->file.n[split]) aside = t->file.n[split];
        if (n <= aside)
            return bal_fail(BAL_ERR_INPUT,
                            "%s: of %lld rows, %s would take %lld and leave none; make [splits] of "
                            "%s smaller",
                            rows->path, (long long)n, split_names[split], (long long)aside,
                            t->path);
        n -= aside;
        if (!o->unused[split]) BAL_TRY(deal(t, split, BAL_SPLIT_TRAIN, order + n, wanted));
    }
    if (n < t->shots)
        return bal_fail(BAL_ERR_INPUT, "%s: %lld rows for %lld demonstrations", rows->path,
                        (long long)n, (long long)t->shots);
    bal_choose_balanced(order, &n, t->label[BAL_SPLIT_TRAIN],
                        t->file.n_labels > 0 ? t->file.n_labels : 1, t->shots, shots);
    bal_shuffle(shots, t->shots, o->seed + DEMONSTRATIONS_SEED);
    BAL_TRY(write_demonstrations(t, shots, t->shots));
    if (o->unused[BAL_SPLIT_TRAIN]) return BAL_OK;
    int64_t wanted = o->n[BAL_SPLIT_TRAIN] > 0 ? o->n[BAL_SPLIT_TRAIN] : t->file.n[BAL_SPLIT_TRAIN];
    return deal(t, BAL_SPLIT_TRAIN, BAL_SPLIT_TRAIN, order, n < wanted ? n : wanted);
}

/* Deal the rows of dev's or test's own file. */
static bal_status deal_own(bal_task *t, const bal_task_options *o, bal_split split)
{
    int64_t n = t->rows[split].n;
    int64_t wanted = o->n[split] > 0 ? o->n[split] : t->file.n[split];
    int64_t *order = malloc((size_t)n * sizeof *order);
    if (order == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for %s", t->path);
    for (int64_t i = 0; i < n; ++i) order[i] = i;
    bal_shuffle(order, n, split == BAL_SPLIT_TEST ? 0 : o->seed + 1);
    bal_status status = deal(t, split, split, order, n < wanted ? n : wanted);
    free(order);
    return status;
}

/* Read the files that are needed, and deal their rows. */
static bal_status deal_all(bal_task *t, const bal_task_options *o)
{
    bool needs_train = !o->unused[BAL_SPLIT_TRAIN] || t->shots > 0;
    for (bal_split split = BAL_SPLIT_TRAIN; split < BAL_N_SPLITS; ++split) {
        BAL_TRY(find_path(t, o, split, &t->rows_path[split]));
        needs_train = needs_train || (!o->unused[split] && t->rows_path[split] == NULL);
    }
    for (bal_split split = BAL_SPLIT_DEV; split < BAL_N_SPLITS; ++split) {
        if (t->rows_path[split] == NULL || o->unused[split]) continue;
        BAL_TRY(read_rows(t, split));
        BAL_TRY(deal_own(t, o, split));
    }
    if (!needs_train) return BAL_OK;
    if (t->rows_path[BAL_SPLIT_TRAIN] == NULL)
        return bal_fail(BAL_ERR_INPUT, "%s: [rows] train is missing", t->path);
    BAL_TRY(read_rows(t, BAL_SPLIT_TRAIN));
    int64_t *order = malloc((size_t)t->rows[BAL_SPLIT_TRAIN].n * sizeof *order);
    if (order == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for %s", t->path);
    bal_status status = deal_train(t, o, order);
    free(order);
    return status;
}

bal_status bal_task_open(const char *path, const bal_task_options *options, bal_task **task)
{
    bal_status status = BAL_OK;
    bal_task *t = calloc(1, sizeof *t);
    *task = NULL;
    if (t == NULL || (t->path = strdup(path)) == NULL)
        status = bal_fail(BAL_ERR_MEMORY, "no memory for %s", path);
    if (status == BAL_OK)
        status =
            bal_task_file_open(t->path, options->wording == NULL ? "" : options->wording, &t->file);
    if (status == BAL_OK && (options->shots < 0 || options->shots > 1024))
        status = bal_fail(BAL_ERR_ARG, "%lld demonstrations; expected 0 to 1024",
                          (long long)options->shots);
    if (status == BAL_OK) {
        t->shots = options->shots;
        t->score = options->score == BAL_TASK_SCORE_DEFAULT ? t->file.score : options->score;
        if (t->score == BAL_TASK_SCORE_CALIBRATED && t->file.wording.neutral_text == NULL)
            status = bal_fail(BAL_ERR_INPUT, "%s: [template] has no neutral prompt", path);
    }
    if (status == BAL_OK) status = deal_all(t, options);
    if (status == BAL_OK) {
        *task = t;
        t = NULL;
    }
    bal_task_close(&t);
    return status;
}

void bal_task_close(bal_task **task)
{
    bal_task *t = *task;
    if (t == NULL) return;
    for (int i = 0; i < BAL_N_SPLITS; ++i) {
        bal_rows_clear(&t->rows[i]);
        free(t->rows_path[i]);
        free(t->label[i]);
        free(t->index[i]);
    }
    free(t->demonstrations.bytes);
    bal_task_file_clear(&t->file);
    free(t->path);
    free(t);
    *task = NULL;
}

bal_task_facts bal_task_about(const bal_task *task)
{
    const bal_task_file *file = &task->file;
    return (bal_task_facts){.metric = file->metric,
                            .score = task->score,
                            .writes = file->wording.n_answers > 0,
                            .n_labels = file->n_labels,
                            .labels = file->labels,
                            .same_answers = file->same_answers,
                            .stop = file->stop,
                            .n_new = file->n_new,
                            .hash = file->hash};
}

int64_t bal_task_n(const bal_task *task, bal_split split) { return task->n[split]; }

const char *bal_task_demonstrations(const bal_task *task)
{
    return task->demonstrations.n > 0 ? task->demonstrations.bytes : "";
}

bal_status bal_task_ask(const bal_task *task, bal_split split, int64_t index, bal_asked *asked)
{
    return bal_row_ask(&task->file, &task->rows[task->from[split]], task->index[split][index],
                       &task->file.wording.prompt, asked);
}
