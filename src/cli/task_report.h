/* task_report.h: what an evaluation of a task found, for people and programs. */
#ifndef BALLOT_TASK_REPORT_H
#define BALLOT_TASK_REPORT_H

#include "ballot/evaluate.h"
#include "ballot/json.h"
#include "ballot/task.h"

#define BAL_LABELS_SHOWN 64 /* classes that are told apart, at most */

/* Rows whose right answer is a label: how many, and how many of them, and in all, it was chosen. */
typedef struct bal_class_result {
    const char *label;
    int64_t n, n_right, n_chosen;
} bal_class_result;

/** Plain; labels are borrowed. */
typedef struct bal_task_result {
    bal_metric metric;
    bal_interval value; /* of the metric */
    double nats;        /* loss per question, or per token of a written answer */
    int64_t n_rows, n_right;
    int64_t n_centred; /* right ones once each label's mean score over the rows is taken from its
                          scores; -1: labels have no scores of their own */
    int n_classes;     /* 0: none are told apart */
    bal_class_result classes[BAL_LABELS_SHOWN];
} bal_task_result;

/** Local. @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_task_result_of(const bal_task *task, const bal_dataset *data, const bal_score *score,
                              const bal_outcomes *outcomes, bal_task_result *result);
/** A new object; NULL: no memory. */
json_t *bal_task_result_json(const bal_task_result *result);
void bal_task_result_print(const bal_task_result *result);
/** A line of JSON per row, see docs/json.md. Local.
 *  @param tokenizer  of the model
 *  @return BAL_OK; BAL_ERR_IO; BAL_ERR_MEMORY; errors of bal_task_ask. */
bal_status bal_task_write_predictions(const char *path, const bal_task *task, bal_split split,
                                      const bal_tokenizer *tokenizer, const bal_outcomes *outcomes);

#endif
