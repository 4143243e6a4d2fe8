/* task_report.c: what an evaluation of a task found, for people and programs. */
#include "task_report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEED 0 /* of intervals by resampling: the same every time */

static const char *const metric_names[] = {[BAL_METRIC_ACCURACY] = "accuracy",
                                           [BAL_METRIC_MACRO_F1] = "macro_f1",
                                           [BAL_METRIC_EXACT_MATCH] = "exact_match",
                                           [BAL_METRIC_TOKEN_F1] = "token_f1"};

static double nats_of(int64_t units) { return (double)units / BAL_LOSS_UNITS_PER_NAT; }

/* Rows that are right once each label's mean score over the rows is taken from its scores.
 * Integers: n times the scores less their sum. */
static bal_status count_centred(const bal_outcomes *outcomes, int64_t *n_centred)
{
    int64_t n = outcomes->n, width = outcomes->width;
    int64_t *sums = bal_alloc((size_t)width, sizeof *sums);
    if (sums == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for the result");
    for (int64_t i = 0; i < n * width; ++i) sums[i % width] += outcomes->scores[i];
    *n_centred = 0;
    for (int64_t i = 0; i < n; ++i) {
        const int64_t *scores = outcomes->scores + i * width;
        int64_t best = 0;
        for (int64_t a = 1; a < outcomes->examples[i].n; ++a)
            if (n * scores[a] - sums[a] < n * scores[best] - sums[best]) best = a;
        *n_centred += best == outcomes->examples[i].right;
    }
    free(sums);
    return BAL_OK;
}

static void count_classes(const bal_dataset *data, int n_labels, const bal_outcomes *outcomes,
                          bal_task_result *result)
{
    if (data->labels == NULL || n_labels > BAL_LABELS_SHOWN) return;
    result->n_classes = n_labels;
    for (int i = 0; i < result->n_classes; ++i) result->classes[i].label = data->labels[i];
    for (int64_t i = 0; i < outcomes->n; ++i) {
        const bal_outcome *row = &outcomes->examples[i];
        ++result->classes[row->right].n;
        ++result->classes[row->chosen].n_chosen;
        result->classes[row->right].n_right += row->chosen == row->right;
    }
}

/* The metric that is no share of the rows. */
static bal_status find_f1(const bal_outcomes *outcomes, bal_task_result *result)
{
    int64_t n = outcomes->n;
    int64_t *a = bal_alloc((size_t)n, sizeof *a), *b = bal_alloc((size_t)n, sizeof *b);
    bal_status status = BAL_OK;
    if (a == NULL || b == NULL) status = bal_fail(BAL_ERR_MEMORY, "no memory for the result");
    bool token = result->metric == BAL_METRIC_TOKEN_F1;
    for (int64_t i = 0; i < n && status == BAL_OK; ++i) {
        a[i] = token ? outcomes->examples[i].f1 : outcomes->examples[i].right;
        b[i] = outcomes->examples[i].chosen;
    }
    if (status == BAL_OK && token) result->value = bal_interval_mean(a, n, SEED);
    if (status == BAL_OK && !token)
        status = bal_interval_macro_f1(a, b, n, (int)outcomes->width, SEED, &result->value);
    free(a);
    free(b);
    return status;
}

bal_status bal_task_result_of(const bal_task *task, const bal_dataset *data, const bal_score *score,
                              const bal_outcomes *outcomes, bal_task_result *result)
{
    *result = (bal_task_result){.metric = bal_task_about(task).metric,
                                .nats = bal_score_nats(score),
                                .n_rows = outcomes->n,
                                .n_right = score->n_right,
                                .n_centred = -1};
    count_classes(data, bal_task_about(task).n_labels, outcomes, result);
    if (data->labels != NULL) BAL_TRY(count_centred(outcomes, &result->n_centred));
    if (result->metric == BAL_METRIC_MACRO_F1 || result->metric == BAL_METRIC_TOKEN_F1)
        return find_f1(outcomes, result);
    result->value = bal_interval_share(score->n_right, outcomes->n);
    return BAL_OK;
}

static double share(int64_t part, int64_t all) { return all > 0 ? (double)part / (double)all : 0; }

json_t *bal_task_result_json(const bal_task_result *result)
{
    json_t *classes = json_array();
    for (int i = 0; i < result->n_classes; ++i) {
        const bal_class_result *c = &result->classes[i];
        json_array_append_new(
            classes, json_pack("{s:o, s:I, s:I, s:I}", "label", bal_json_text(c->label), "rows",
                               (json_int_t)c->n, "right", (json_int_t)c->n_right, "chosen",
                               (json_int_t)c->n_chosen));
    }
    return json_pack(
        "{s:s, s:f, s:f, s:f, s:I, s:I, s:f, s:o, s:f, s:o}", "metric",
        metric_names[result->metric], "value", result->value.value, "low", result->value.low,
        "high", result->value.high, "rows", (json_int_t)result->n_rows, "right",
        (json_int_t)result->n_right, "accuracy", share(result->n_right, result->n_rows), "centred",
        result->n_centred < 0 ? json_null() : json_real(share(result->n_centred, result->n_rows)),
        "loss_nats", result->nats, "classes", classes);
}

void bal_task_result_print(const bal_task_result *result)
{
    printf("%-14s %.2f %% (95 %% interval %.2f to %.2f), over %lld rows\n",
           metric_names[result->metric], 100 * result->value.value, 100 * result->value.low,
           100 * result->value.high, (long long)result->n_rows);
    if (result->metric != BAL_METRIC_ACCURACY)
        printf("right          %.2f %%\n", 100 * share(result->n_right, result->n_rows));
    if (result->n_centred >= 0)
        printf("centred        %.2f %%, without the preference for a label\n",
               100 * share(result->n_centred, result->n_rows));
    printf("loss           %.4f nats\n", result->nats);
    for (int i = 0; i < result->n_classes; ++i) {
        const bal_class_result *c = &result->classes[i];
        printf("  label %-8s %.2f %% right of %lld rows; chosen %lld times\n", c->label,
               100 * share(c->n_right, c->n), (long long)c->n, (long long)c->n_chosen);
    }
}

/* The answer that was written to a row, as text. NULL: no memory. */
static json_t *answer_of(const bal_task *task, const bal_tokenizer *tokenizer, int64_t index,
                         const bal_outcomes *outcomes)
{
    const int64_t *words = outcomes->words + index * outcomes->max_words;
    int32_t *tokens = bal_alloc((size_t)outcomes->max_words, sizeof *tokens);
    char *text = NULL;
    int64_t n = 0;
    for (; tokens != NULL && n < outcomes->max_words && words[n] > 0; ++n)
        tokens[n] = (int32_t)(words[n] - 1);
    if (tokens != NULL) bal_task_answer(task, tokenizer, tokens, n, &text);
    json_t *answer = text == NULL ? NULL : bal_json_text(text);
    free(text);
    free(tokens);
    return answer;
}

/* What became of a row. NULL: no memory. */
static json_t *row_of(const bal_task *task, const bal_tokenizer *tokenizer, int64_t index,
                      int64_t line, const bal_outcomes *outcomes)
{
    const bal_outcome *row = &outcomes->examples[index];
    const int64_t *units = outcomes->scores + index * outcomes->width;
    json_t *scores = json_array();
    for (int64_t a = 0; a < row->n; ++a)
        json_array_append_new(scores, json_real(-nats_of(units[a])));
    json_t *object =
        json_pack("{s:I, s:I, s:I, s:I, s:f, s:o}", "row", (json_int_t)index, "line",
                  (json_int_t)line, "right", (json_int_t)row->right, "chosen",
                  (json_int_t)row->chosen, "loss_nats", nats_of(row->loss), "scores", scores);
    if (object == NULL || !bal_task_about(task).writes) return object;
    json_object_set_new(object, "f1", json_real(nats_of(row->f1)));
    if (json_object_set_new(object, "answer", answer_of(task, tokenizer, index, outcomes)) == 0)
        return object;
    json_decref(object);
    return NULL;
}

/* The line of a row. */
static bal_status print_row(FILE *file, const bal_task *task, bal_split split,
                            const bal_tokenizer *tokenizer, int64_t index,
                            const bal_outcomes *outcomes)
{
    bal_asked asked;
    bal_status status = bal_task_ask(task, split, index, &asked);
    json_t *row = status == BAL_OK ? row_of(task, tokenizer, index, asked.line, outcomes) : NULL;
    bal_asked_clear(&asked);
    BAL_TRY(status);
    if (row == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for predictions");
    if (json_dumpf(row, file, JSON_COMPACT) != 0 || fputc('\n', file) == EOF)
        status = bal_fail(BAL_ERR_IO, "cannot write predictions: %s", strerror(errno));
    json_decref(row);
    return status;
}

bal_status bal_task_write_predictions(const char *path, const bal_task *task, bal_split split,
                                      const bal_tokenizer *tokenizer, const bal_outcomes *outcomes)
{
    FILE *file = fopen(path, "we");
    if (file == NULL) return bal_fail(BAL_ERR_IO, "%s: %s", path, strerror(errno));
    bal_status status = BAL_OK;
    for (int64_t i = 0; i < outcomes->n && status == BAL_OK; ++i)
        status = print_row(file, task, split, tokenizer, i, outcomes);
    bool written = ferror(file) == 0;
    if ((fclose(file) != 0 || !written) && status == BAL_OK)
        status = bal_fail(BAL_ERR_IO, "%s: %s", path, strerror(errno));
    return status;
}
