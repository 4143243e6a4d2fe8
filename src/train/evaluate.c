/* evaluate.c: the loss of a model over a data set. */
#include "ballot/evaluate.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>

double bal_score_nats(const bal_score *score)
{
    return (double)score->loss / (double)score->n_tokens / BAL_LOSS_UNITS_PER_NAT;
}

void bal_outcomes_clear(bal_outcomes *outcomes)
{
    free(outcomes->examples);
    free(outcomes->scores);
    *outcomes = (bal_outcomes){0};
}

/* All zeros, to be filled in by the ranks and summed. */
static bal_status make_outcomes(bal_outcomes *outcomes, int64_t n, int64_t width)
{
    *outcomes = (bal_outcomes){.n = n, .width = width};
    outcomes->examples = bal_alloc((size_t)n, sizeof *outcomes->examples);
    outcomes->scores = bal_alloc((size_t)n, (size_t)width * sizeof *outcomes->scores);
    if (outcomes->examples != NULL && outcomes->scores != NULL) return BAL_OK;
    return bal_fail(BAL_ERR_MEMORY, "no memory for what %lld examples come to", (long long)n);
}

/* Losses of the answers and questions of a batch. */
typedef struct work {
    int64_t *answers, *questions;
} work;

static void note_outcomes(const bal_batch *batch, const work *w, int64_t first,
                          bal_outcomes *outcomes)
{
    for (int64_t i = 0; i < batch->n_questions; ++i) {
        const bal_question *question = &batch->questions[i];
        outcomes->examples[first + i] =
            (bal_outcome){.loss = w->questions[i],
                          .right = question->right,
                          .chosen = bal_batch_choice(batch, w->answers, question),
                          .n = question->n_answers};
        for (int32_t a = 0; a < question->n_answers; ++a)
            outcomes->scores[(first + i) * outcomes->width + a] =
                bal_batch_score(batch, w->answers, question, a);
    }
}

/* Questions of which the right answer has the best score. */
static int64_t count_right(const bal_batch *batch, const int64_t *answers)
{
    int64_t n = 0;
    for (int64_t i = 0; i < batch->n_questions; ++i)
        n += bal_batch_choice(batch, answers, &batch->questions[i]) == batch->questions[i].right;
    return n;
}

/* Add n examples from first on to sums of losses, weights and right ones. */
static bal_status add_examples(bal_forward *forward, const bal_dataset *data, int64_t first,
                               int64_t n, bal_batch *batch, const work *w, int64_t sum[3],
                               bal_outcomes *outcomes)
{
    bal_losses losses = {.answers = w->answers};
    bal_dataset_take(data, first, n, batch);
    BAL_TRY(bal_forward_losses(forward, batch, NULL, &losses));
    sum[0] += bal_batch_losses(batch, w->answers, w->questions);
    sum[1] += bal_batch_weight(batch);
    sum[2] += data->example.answers > 1 ? count_right(batch, w->answers) : losses.n_right;
    if (outcomes != NULL) note_outcomes(batch, w, first, outcomes);
    return BAL_OK;
}

/* From those of each rank to those of all. */
static bal_status sum_outcomes(bal_comm *comm, bal_outcomes *outcomes)
{
    assert(outcomes->n * (outcomes->width + 4) < INT_MAX);
    int n_members = (int)(sizeof *outcomes->examples / sizeof(int64_t));
    BAL_TRY(bal_comm_sum(comm, (int64_t *)outcomes->examples, (int)outcomes->n * n_members));
    return bal_comm_sum(comm, outcomes->scores, (int)(outcomes->n * outcomes->width));
}

bal_status bal_evaluate(bal_comm *comm, bal_forward *forward, const bal_dataset *data,
                        int64_t n_examples, int64_t n_per_batch, bal_batch *batch, bal_score *score,
                        bal_outcomes *outcomes)
{
    int64_t n = data->n_examples, sum[3] = {0};
    bal_status status = BAL_OK;
    work w = {.answers = bal_alloc(2, (size_t)batch->room.answers * sizeof *w.answers)};
    if (w.answers != NULL)
        w.questions = w.answers + batch->room.answers;
    else
        status = bal_fail(BAL_ERR_MEMORY, "no memory for an evaluation");
    if (n_examples > 0 && n_examples < n) n = n_examples;
    if (outcomes != NULL && status == BAL_OK)
        status = make_outcomes(outcomes, n, data->example.answers);
    int64_t stride = n_per_batch * bal_comm_size(comm);
    for (int64_t first = n_per_batch * bal_comm_rank(comm); first < n && status == BAL_OK;
         first += stride)
        status =
            add_examples(forward, data, first, n - first < n_per_batch ? n - first : n_per_batch,
                         batch, &w, sum, outcomes);
    free(w.answers);
    BAL_TRY(bal_comm_agree(comm, status));
    BAL_TRY(bal_comm_sum(comm, sum, 3));
    if (outcomes != NULL) BAL_TRY(sum_outcomes(comm, outcomes));
    if (sum[1] == 0)
        return bal_fail(BAL_ERR_INPUT, "the text has no token that another one predicts");
    *score = (bal_score){sum[0], sum[1], sum[2]};
    return BAL_OK;
}
