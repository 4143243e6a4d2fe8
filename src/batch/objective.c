/* objective.c: from the losses of answers to those of questions, in integers that are the same on
 * every machine. */
#include <assert.h>
#include <math.h>

#include "ballot/batch.h"

static int64_t one_score(const bal_batch *batch, const int64_t *answers, int32_t at)
{
    int64_t n = batch->n_words[at];
    if (batch->aim.scoring == BAL_SCORING_SUM || n == 1) return answers[at];
    return (2 * answers[at] + n) / (2 * n);
}

int64_t bal_batch_score(const bal_batch *batch, const int64_t *answers,
                        const bal_question *question, int32_t answer)
{
    int32_t at = question->answer + answer;
    int64_t score = one_score(batch, answers, at);
    return question->calibrated ? score - one_score(batch, answers, at + question->n_answers)
                                : score;
}

int32_t bal_batch_choice(const bal_batch *batch, const int64_t *answers,
                         const bal_question *question)
{
    int32_t best = 0;
    for (int32_t i = 1; i < question->n_answers; ++i)
        if (bal_batch_score(batch, answers, question, i) <
            bal_batch_score(batch, answers, question, best))
            best = i;
    return best;
}

/* A score less the mean of its label; means NULL: as it is. */
static int64_t centred(const bal_batch *batch, const int64_t *answers, const bal_question *question,
                       const int64_t *means, int32_t answer)
{
    return bal_batch_score(batch, answers, question, answer) - (means == NULL ? 0 : means[answer]);
}

/* Cross-entropy of the right answer in the softmax of all scores. */
static int64_t cross_entropy(const bal_batch *batch, const int64_t *answers,
                             const bal_question *question, const int64_t *means)
{
    int64_t top = INT64_MAX;
    for (int32_t i = 0; i < question->n_answers; ++i) {
        int64_t score = centred(batch, answers, question, means, i);
        if (score < top) top = score;
    }
    double sum = 0.0;
    for (int32_t i = 0; i < question->n_answers; ++i) {
        int64_t below = centred(batch, answers, question, means, i) - top;
        sum += bal_math_exp(-(double)below / BAL_LOSS_UNITS_PER_NAT);
    }
    return centred(batch, answers, question, means, question->right) - top +
           (int64_t)rint(bal_math_log(sum) * BAL_LOSS_UNITS_PER_NAT);
}

/* The mean score of each label over the batch, rounded towards 0. */
static void find_means(const bal_batch *batch, const int64_t *answers, int64_t *means)
{
    int32_t n_labels = batch->questions[0].n_answers;
    assert(n_labels <= BAL_CENTRED_LABELS_MAX);
    for (int32_t label = 0; label < n_labels; ++label) {
        int64_t sum = 0;
        for (int64_t i = 0; i < batch->n_questions; ++i) {
            assert(batch->questions[i].n_answers == n_labels);
            sum += bal_batch_score(batch, answers, &batch->questions[i], label);
        }
        means[label] = sum / batch->n_questions;
    }
}

static int64_t question_loss(const bal_batch *batch, const int64_t *answers,
                             const bal_question *question, const int64_t *means)
{
    int64_t loss;
    switch (batch->aim.objective) {
        case BAL_OBJECTIVE_LABEL:
            return answers[question->answer + question->right];
        case BAL_OBJECTIVE_CANDIDATES:
            return cross_entropy(batch, answers, question, NULL);
        case BAL_OBJECTIVE_CENTRED:
            loss = cross_entropy(batch, answers, question, means);
            return loss +
                   (cross_entropy(batch, answers, question, NULL) - loss) / BAL_CENTRED_SHARE;
        case BAL_OBJECTIVE_ACCURACY:
        case BAL_OBJECTIVE_F1: /* of one choice: 1 or 0 */
            break;
    }
    return bal_batch_choice(batch, answers, question) == question->right ? 0
                                                                         : BAL_LOSS_UNITS_PER_NAT;
}

int64_t bal_macro_f1(int64_t n, int n_labels, const int64_t *right, const int64_t *chosen)
{
    int64_t sum = 0, n_used = 0;
    for (int label = 0; label < n_labels; ++label) {
        int64_t n_right = 0, n_rows = 0; /* tp; 2 tp + fp + fn */
        for (int64_t i = 0; i < n; ++i) {
            n_right += right[i] == label && chosen[i] == label;
            n_rows += (right[i] == label) + (chosen[i] == label);
        }
        if (n_rows == 0) continue;
        sum += (4 * n_right * BAL_LOSS_UNITS_PER_NAT + n_rows) / (2 * n_rows);
        ++n_used;
    }
    return n_used == 0 ? 0 : (2 * sum + n_used) / (2 * n_used);
}

/* 1 - macro-F1 of the choices, times their number. */
static int64_t f1_loss(const bal_batch *batch, const int64_t *answers)
{
    int64_t right[BAL_BATCH_MAX], chosen[BAL_BATCH_MAX], n = batch->n_questions;
    int n_labels = 0;
    assert(n <= BAL_BATCH_MAX);
    for (int64_t i = 0; i < n; ++i) {
        const bal_question *question = &batch->questions[i];
        right[i] = question->right;
        chosen[i] = bal_batch_choice(batch, answers, question);
        if (question->n_answers > n_labels) n_labels = question->n_answers;
    }
    return n * (BAL_LOSS_UNITS_PER_NAT - bal_macro_f1(n, n_labels, right, chosen));
}

int64_t bal_batch_losses(const bal_batch *batch, const int64_t *answers, int64_t *questions)
{
    int64_t sum = 0, means[BAL_CENTRED_LABELS_MAX];
    if (batch->aim.objective == BAL_OBJECTIVE_CENTRED) find_means(batch, answers, means);
    for (int64_t i = 0; i < batch->n_questions; ++i)
        sum += questions[i] = question_loss(batch, answers, &batch->questions[i], means);
    return batch->aim.objective == BAL_OBJECTIVE_F1 ? f1_loss(batch, answers) : sum;
}

int64_t bal_batch_weight(const bal_batch *batch)
{
    if (batch->aim.objective != BAL_OBJECTIVE_LABEL) return batch->n_questions;
    int64_t sum = 0;
    for (int64_t i = 0; i < batch->n_questions; ++i)
        sum += batch->n_words[batch->questions[i].answer + batch->questions[i].right];
    return sum;
}
