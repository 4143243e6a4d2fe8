/* evaluate.c: the loss of a model over a data set. */
#include "ballot/evaluate.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>

#include "ballot/answer.h"

double bal_score_nats(const bal_score *score)
{
    return (double)score->loss / (double)score->n_tokens / BAL_LOSS_UNITS_PER_NAT;
}

double bal_merit(int64_t merit) { return (double)merit / BAL_LOSS_UNITS_PER_NAT; }

bool bal_score_better(const bal_score *a, const bal_score *b, bal_best by)
{
    if (a->n_tokens == 0 || b->n_tokens == 0) return a->n_tokens > 0;
    if (by == BAL_BEST_LAST) return true;
    if (by == BAL_BEST_METRIC && a->merit != b->merit) return a->merit > b->merit;
    return bal_score_nats(a) < bal_score_nats(b);
}

void bal_outcomes_clear(bal_outcomes *outcomes)
{
    free(outcomes->examples);
    free(outcomes->scores);
    free(outcomes->words);
    *outcomes = (bal_outcomes){0};
}

/* All zeros, to be filled in by the ranks and summed. */
static bal_status make_outcomes(bal_outcomes *outcomes, int64_t n, const bal_dataset *data)
{
    int64_t width = data->example.answers;
    *outcomes = (bal_outcomes){.n = n, .width = width};
    if (data->writing != NULL) outcomes->max_words = data->writing->max_words;
    outcomes->examples = bal_alloc((size_t)n, sizeof *outcomes->examples);
    outcomes->scores = bal_alloc((size_t)n, (size_t)width * sizeof *outcomes->scores);
    outcomes->words = bal_alloc((size_t)n, (size_t)outcomes->max_words * sizeof *outcomes->words);
    if (outcomes->examples != NULL && outcomes->scores != NULL && outcomes->words != NULL)
        return BAL_OK;
    return bal_fail(BAL_ERR_MEMORY, "no memory for what %lld examples come to", (long long)n);
}

/* What a rank evaluates with. */
typedef struct evaluator {
    bal_forward *forward;
    const bal_dataset *data;
    bal_batch *batch;
    int64_t *answers, *questions; /* losses of a batch */
    bal_answerer *answerer;       /* if answers are written */
    bal_grade *grades;            /* if so: of a batch */
    int32_t *words;               /* if so, [examples][max_words] of a batch */
    bal_cache *beginning;         /* what all examples begin with; NULL: each batch has its own */
    bal_score score;
    bal_outcomes *outcomes; /* NULL: not wanted */
} evaluator;

/* Read once what all examples begin with. */
static bal_status read_beginning(evaluator *e)
{
    if (e->data->common.sequences == 0 || bal_forward_base(e->forward) != NULL) return BAL_OK;
    const bal_model *model = bal_forward_model(e->forward);
    BAL_TRY(bal_cache_create(model, bal_forward_length(e->forward), &e->beginning));
    bal_dataset_take(e->data, 0, 1, e->batch);
    return bal_forward_extend(e->forward, e->beginning, e->batch->tokens, e->batch->start[1], NULL);
}

static bal_status make_evaluator(evaluator *e)
{
    int64_t room = e->batch->room.answers;
    e->answers = bal_alloc(2, (size_t)room * sizeof *e->answers);
    if (e->answers == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for an evaluation");
    e->questions = e->answers + room;
    if (e->data->writing != NULL) {
        BAL_TRY(bal_answerer_create(e->forward, &e->answerer));
        size_t max_words = (size_t)e->data->writing->max_words;
        e->grades = bal_alloc((size_t)room, sizeof *e->grades);
        e->words = bal_alloc((size_t)room, max_words * sizeof *e->words);
        if (e->grades == NULL || e->words == NULL)
            return bal_fail(BAL_ERR_MEMORY, "no memory for an evaluation");
    }
    return read_beginning(e);
}

static void clear_evaluator(evaluator *e)
{
    free(e->answers);
    free(e->grades);
    free(e->words);
    bal_answerer_destroy(&e->answerer);
    bal_cache_destroy(&e->beginning);
}

/* What became of a question of the batch, example index. */
static void find_outcome(evaluator *e, int64_t index, int64_t at, bal_outcome *outcome)
{
    const bal_question *question = &e->batch->questions[at];
    *outcome = (bal_outcome){.loss = e->questions[at],
                             .right = question->right,
                             .chosen = bal_batch_choice(e->batch, e->answers, question),
                             .n = question->n_answers};
    if (e->data->writing != NULL) {
        outcome->chosen = e->grades[at].exact ? question->right : -1;
        outcome->f1 = BAL_LOSS_UNITS_PER_NAT - e->grades[at].missed;
    }
    if (e->outcomes == NULL) return;
    e->outcomes->examples[index] = *outcome;
    for (int32_t a = 0; a < question->n_answers; ++a)
        e->outcomes->scores[index * e->outcomes->width + a] =
            bal_batch_score(e->batch, e->answers, question, a);
    for (int64_t k = 0; k < e->outcomes->max_words; ++k)
        e->outcomes->words[index * e->outcomes->max_words + k] =
            1 + e->words[at * e->outcomes->max_words + k];
}

/* Are there no answers to choose from or to write? Then words are counted, not questions. */
static bool is_text(const bal_dataset *data)
{
    return data->example.answers <= 1 && data->writing == NULL;
}

/* Losses of n examples from first on. */
static bal_status read_examples(evaluator *e, int64_t first, int64_t n, bal_losses *losses)
{
    if (e->beginning == NULL) {
        bal_dataset_take(e->data, first, n, e->batch);
        return bal_forward_losses(e->forward, e->batch, NULL, losses);
    }
    bal_dataset_continue(e->data, first, n, e->batch);
    return bal_forward_losses_after(e->forward, e->beginning, e->batch, losses);
}

/* Add n examples from first on to the score. */
static bal_status add_examples(evaluator *e, int64_t first, int64_t n)
{
    bal_losses losses = {.answers = e->answers};
    BAL_TRY(read_examples(e, first, n, &losses));
    e->score.loss += bal_batch_losses(e->batch, e->answers, e->questions);
    e->score.n_tokens += bal_batch_weight(e->batch);
    if (is_text(e->data)) {
        e->score.n_right += losses.n_right;
        return BAL_OK;
    }
    if (e->data->writing != NULL)
        BAL_TRY(bal_answerer_answer(e->answerer, e->data, e->batch, e->beginning, NULL, e->grades,
                                    e->words));
    for (int64_t i = 0; i < e->batch->n_questions; ++i) {
        bal_outcome outcome;
        find_outcome(e, first + i, i, &outcome);
        e->score.n_right += outcome.chosen == outcome.right;
        e->score.f1 += outcome.f1;
    }
    return BAL_OK;
}

/* From what each rank found to what all did. */
static bal_status sum_ranks(bal_comm *comm, evaluator *e)
{
    const int n = (int)(sizeof e->score / sizeof(int64_t));
    const int n_members = (int)(sizeof(bal_outcome) / sizeof(int64_t));
    BAL_TRY(bal_comm_sum(comm, (int64_t *)&e->score, n));
    if (e->outcomes == NULL) return BAL_OK;
    assert(e->outcomes->n * (e->outcomes->width + n_members + e->outcomes->max_words) < INT_MAX);
    BAL_TRY(bal_comm_sum(comm, (int64_t *)e->outcomes->examples, (int)e->outcomes->n * n_members));
    BAL_TRY(bal_comm_sum(comm, e->outcomes->scores, (int)(e->outcomes->n * e->outcomes->width)));
    return bal_comm_sum(comm, e->outcomes->words, (int)(e->outcomes->n * e->outcomes->max_words));
}

static bal_status macro_f1(const bal_outcomes *outcomes, int64_t *f1)
{
    int64_t n = outcomes->n, *labels = bal_alloc(2, (size_t)n * sizeof *labels);
    if (labels == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for a metric");
    for (int64_t i = 0; i < n; ++i) {
        labels[i] = outcomes->examples[i].right;
        labels[n + i] = outcomes->examples[i].chosen;
    }
    *f1 = bal_macro_f1(n, (int)outcomes->width, labels, labels + n);
    free(labels);
    return BAL_OK;
}

/* The metric over n examples, from what all ranks found. */
static bal_status find_merit(evaluator *e, int64_t n)
{
    e->score.merit = -1;
    if (is_text(e->data)) return BAL_OK;
    if (e->data->metric == BAL_METRIC_MACRO_F1) return macro_f1(e->outcomes, &e->score.merit);
    bool by_words = e->data->metric == BAL_METRIC_TOKEN_F1;
    e->score.merit = (by_words ? e->score.f1 : e->score.n_right * BAL_LOSS_UNITS_PER_NAT) / n;
    return BAL_OK;
}

/* Evaluate n examples. Collective. */
static bal_status evaluate(bal_comm *comm, evaluator *e, int64_t n, int64_t n_per_batch)
{
    int64_t stride = n_per_batch * bal_comm_size(comm);
    bal_status status = make_evaluator(e);
    if (e->outcomes != NULL && status == BAL_OK) status = make_outcomes(e->outcomes, n, e->data);
    for (int64_t first = n_per_batch * bal_comm_rank(comm); first < n && status == BAL_OK;
         first += stride)
        status = add_examples(e, first, n - first < n_per_batch ? n - first : n_per_batch);
    clear_evaluator(e);
    BAL_TRY(bal_comm_agree(comm, status));
    BAL_TRY(sum_ranks(comm, e));
    if (e->score.n_tokens == 0)
        return bal_fail(BAL_ERR_INPUT,
                        "the text is too short to evaluate: no token follows another");
    return bal_comm_agree(comm, find_merit(e, n));
}

bal_status bal_evaluate(bal_comm *comm, bal_forward *forward, const bal_dataset *data,
                        int64_t n_examples, int64_t n_per_batch, bal_batch *batch, bal_score *score,
                        bal_outcomes *outcomes)
{
    bal_outcomes own = {0}; /* where the metric needs them and nobody else does */
    evaluator e = {.forward = forward, .data = data, .batch = batch, .outcomes = outcomes};
    int64_t n = data->n_examples;
    if (n_examples > 0 && n_examples < n) n = n_examples;
    if (outcomes == NULL && data->metric == BAL_METRIC_MACRO_F1) e.outcomes = &own;
    bal_status status = evaluate(comm, &e, n, n_per_batch);
    bal_outcomes_clear(&own);
    if (status == BAL_OK) *score = e.score;
    return status;
}
