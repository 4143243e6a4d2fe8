/* dataset.c: the rows of a split as a data set. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "task_impl.h"

typedef struct examples {
    bal_encoded encoded;
    bal_example_options options;
    int n_labels;
    int64_t *first;      /* [n_labels + 1] of by_label */
    int64_t *by_label;   /* [encoded.n] examples, those of label 0 first */
    bal_written written; /* where answers are written */
    bal_writing writing;
} examples;

/* What all prompts begin with, once in a batch. Returns its sequence, -1: it has none. */
static int64_t begin(const bal_encoded *e, int64_t index, bal_batch *batch)
{
    int64_t n_tokens;
    if (e->n_common == 0 || batch->continues) return -1;
    if (batch->n_sequences == 0)
        bal_batch_sequence(batch, -1, bal_encoded_part(e, index, 0, &n_tokens), e->n_common);
    return 0;
}

/* The neutral prompt of a batch's first question, if it has these tokens; else -1. */
static int64_t find_neutral(const bal_batch *batch, const int32_t *tokens, int64_t n)
{
    const bal_question *first = batch->questions;
    int64_t answer = first->answer + first->n_answers, scored = 0, sequence = 0;
    if (batch->n_questions == 1) return -1;
    while (batch->scored[scored].answer != answer) ++scored;
    while (batch->start[sequence + 1] <= batch->scored[scored].token) ++sequence;
    int64_t from = batch->start[sequence];
    bool same = batch->start[sequence + 1] - from == n &&
                memcmp(batch->tokens + from, tokens, (size_t)n * sizeof *tokens) == 0;
    return same ? sequence : -1;
}

/* Append a prompt and its answers: parts first .. first + n - 1 of an example. */
static void add_asked(const examples *x, int64_t example, int64_t first, int64_t n, bool neutral,
                      bal_batch *batch)
{
    const bal_encoded *e = &x->encoded;
    int64_t n_tokens, parent = begin(e, example, batch);
    const int32_t *tokens = bal_encoded_part(e, example, first, &n_tokens) + e->n_common;
    n_tokens -= e->n_common;
    int64_t prompt = neutral ? find_neutral(batch, tokens, n_tokens) : -1;
    if (prompt < 0) prompt = bal_batch_sequence(batch, parent, tokens, n_tokens);
    if (!neutral) {
        bal_batch_ask(batch, prompt, (int32_t)(n - 1), e->right[example], e->calibrated);
        batch->questions[batch->n_questions - 1].example = example;
    }
    for (int64_t part = first + 1; part < first + n; ++part) {
        tokens = bal_encoded_part(e, example, part, &n_tokens);
        bal_batch_answer(batch, prompt, tokens, n_tokens);
    }
}

static void take(const void *self, int64_t index, bal_batch *batch)
{
    const examples *x = self;
    const bal_encoded *e = &x->encoded;
    int64_t n = e->first_part[index + 1] - e->first_part[index];
    int64_t half = e->calibrated ? n / 2 : n;
    add_asked(x, index, 0, half, false, batch);
    if (e->calibrated) add_asked(x, index, half, half, true, batch);
}

/* An example of the n-th label, of those that have some, and random within it. */
static int64_t pick_of_label(const examples *x, int64_t n, uint64_t random)
{
    int label = 0;
    for (;; ++label)
        if (x->first[label + 1] > x->first[label] && n-- == 0) break;
    uint64_t n_examples = (uint64_t)(x->first[label + 1] - x->first[label]);
    return x->by_label[x->first[label] + (int64_t)((unsigned __int128)random * n_examples >> 64)];
}

/* The labels of a batch take turns, from that of its first example on, which is random. */
static int64_t pick_balanced(const examples *x, uint64_t random, const bal_batch *batch)
{
    int64_t n_labels = 0, turn = 0;
    bool turns = batch->n_questions > 0 && x->options.objective != BAL_OBJECTIVE_LABEL;
    int first = turns ? batch->questions[0].right : -1;
    for (int label = 0; label < x->n_labels; ++label) {
        if (label == first) turn = n_labels + batch->n_questions;
        n_labels += x->first[label + 1] > x->first[label];
    }
    if (first >= 0) return pick_of_label(x, turn % n_labels, random);
    unsigned __int128 scaled = (unsigned __int128)random * (uint64_t)n_labels;
    return pick_of_label(x, (int64_t)(scaled >> 64), (uint64_t)scaled);
}

/* Append an example whose only answer is the right one. */
static void take_right(const examples *x, int64_t index, bal_batch *batch)
{
    const bal_encoded *e = &x->encoded;
    int64_t n_tokens, parent = begin(e, index, batch);
    const int32_t *tokens = bal_encoded_part(e, index, 0, &n_tokens);
    int64_t prompt =
        bal_batch_sequence(batch, parent, tokens + e->n_common, n_tokens - e->n_common);
    bal_batch_ask(batch, prompt, 1, 0, false);
    tokens = bal_encoded_part(e, index, 1 + e->right[index], &n_tokens);
    bal_batch_answer(batch, prompt, tokens, n_tokens);
}

static void draw(const void *self, uint64_t random, bal_batch *batch)
{
    const examples *x = self;
    int64_t index = (int64_t)((unsigned __int128)random * (uint64_t)x->encoded.n >> 64);
    if (x->options.balanced) index = pick_balanced(x, random, batch);
    if (x->options.objective == BAL_OBJECTIVE_LABEL)
        take_right(x, index, batch);
    else
        take(self, index, batch);
}

static bool ends(const void *self, int32_t token)
{
    return bal_written_ends(&((const examples *)self)->written, token);
}

static bal_status grade(const void *self, int64_t index, const int32_t *tokens, int64_t n,
                        bal_grade *given)
{
    return bal_written_grade(&((const examples *)self)->written, index, tokens, n, given);
}

static void destroy(void *self)
{
    examples *x = self;
    if (x == NULL) return;
    bal_encoded_clear(&x->encoded);
    bal_written_clear(&x->written);
    free(x->first);
    free(x->by_label);
    free(x);
}

/* Examples in the order of their labels. */
static bal_status sort_by_label(const bal_task *task, bal_split split, examples *x)
{
    const int32_t *label = task->label[task->from[split]];
    x->n_labels = task->file.n_labels > 0 ? task->file.n_labels : 1;
    x->first = calloc((size_t)x->n_labels + 1, sizeof *x->first);
    x->by_label = calloc((size_t)x->encoded.n, sizeof *x->by_label);
    if (x->first == NULL || x->by_label == NULL)
        return bal_fail(BAL_ERR_MEMORY, "no memory for examples");
    for (int l = 0, at = 0; l < x->n_labels; ++l) {
        for (int64_t i = 0; i < x->encoded.n; ++i)
            if (label[task->index[split][i]] == l) x->by_label[at++] = i;
        x->first[l + 1] = at;
    }
    return BAL_OK;
}

static uint64_t hash_of(const examples *x)
{
    const bal_encoded *e = &x->encoded;
    uint64_t hash = bal_hash(e->tokens, (size_t)e->n_tokens * sizeof *e->tokens,
                             (uint64_t)e->calibrated << 1 | x->options.balanced);
    hash = bal_hash(e->end, (size_t)e->n_parts * sizeof *e->end, hash);
    hash = bal_hash(e->right, (size_t)e->n * sizeof *e->right, hash);
    return bal_hash(e->first_part, (size_t)(e->n + 1) * sizeof *e->first_part, hash);
}

/* No answer has words that are read. */
static bool are_single_words(const bal_encoded *e)
{
    return e->room.sequences == 1 + (e->calibrated ? 1 : 0);
}

static bal_dataset dataset_of(const bal_task *task, examples *x)
{
    const bal_encoded *e = &x->encoded;
    bal_batch_size common = {.sequences = e->n_common > 0, .tokens = e->n_common};
    return (bal_dataset){
        .n_examples = e->n,
        .n_bytes = e->n_bytes,
        .memory_bytes = (size_t)e->tokens_capacity * sizeof *e->tokens +
                        (size_t)e->parts_capacity * sizeof *e->end,
        .hash = hash_of(x),
        .example = e->room,
        .common = common,
        .aim = {.objective = x->options.objective,
                .scoring = task->score == BAL_TASK_SCORE_SUM ? BAL_SCORING_SUM : BAL_SCORING_MEAN,
                .relative = x->options.objective != BAL_OBJECTIVE_LABEL && are_single_words(e)},
        .metric = task->file.metric,
        .labels = task->file.same_answers ? task->file.labels : NULL,
        .writing = task->file.wording.n_answers > 0 ? &x->writing : NULL,
        .self = x,
        .take = take,
        .draw = draw,
        .destroy = destroy};
}

bal_status bal_task_dataset(const bal_task *task, const bal_tokenizer *tokenizer, bal_split split,
                            const bal_example_options *options, bal_dataset *data)
{
    assert(task->n[split] > 0);
    examples *x = calloc(1, sizeof *x);
    if (x == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for examples");
    x->options = *options;
    x->writing = (bal_writing){.max_words = task->file.n_new, .ends = ends, .grade = grade};
    bal_status status = bal_encode(task, tokenizer, split, options->context, &x->encoded);
    if (status == BAL_OK) status = sort_by_label(task, split, x);
    if (status == BAL_OK && task->file.wording.n_answers > 0)
        status = bal_written_init(&x->written, task, tokenizer, split);
    if (status == BAL_OK) {
        *data = dataset_of(task, x);
        x = NULL;
    }
    destroy(x);
    return status;
}
