/* batch.c: sequences end to end, written token by token, and what is asked of them. */
#include "ballot/batch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

bal_batch_size bal_batch_text(int64_t n, int64_t context)
{
    return (bal_batch_size){.sequences = n, .tokens = n * context, .answers = n};
}

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

bal_batch_size bal_batch_either(bal_batch_size a, bal_batch_size b)
{
    return (bal_batch_size){.sequences = larger(a.sequences, b.sequences),
                            .tokens = larger(a.tokens, b.tokens),
                            .answers = larger(a.answers, b.answers)};
}

bal_status bal_batch_init(bal_batch *batch, bal_batch_size room)
{
    *batch = (bal_batch){.room = room};
    batch->start = bal_alloc((size_t)room.sequences + 1, sizeof *batch->start);
    batch->parent = bal_alloc((size_t)room.sequences, sizeof *batch->parent);
    batch->tokens = bal_alloc((size_t)room.tokens, sizeof *batch->tokens);
    batch->scored = bal_alloc((size_t)room.tokens, sizeof *batch->scored);
    batch->n_words = bal_alloc((size_t)room.answers, sizeof *batch->n_words);
    batch->questions = bal_alloc((size_t)room.answers, sizeof *batch->questions);
    if (batch->start != NULL && batch->parent != NULL && batch->tokens != NULL &&
        batch->scored != NULL && batch->n_words != NULL && batch->questions != NULL) {
        bal_batch_empty(batch);
        return BAL_OK;
    }
    bal_batch_clear(batch);
    return bal_fail(BAL_ERR_MEMORY, "no memory for a batch of %lld tokens", (long long)room.tokens);
}

void bal_batch_clear(bal_batch *batch)
{
    free(batch->start);
    free(batch->parent);
    free(batch->tokens);
    free(batch->scored);
    free(batch->n_words);
    free(batch->questions);
    *batch = (bal_batch){0};
}

void bal_batch_empty(bal_batch *batch)
{
    batch->n_sequences = batch->n_tokens = batch->n_scored = 0;
    batch->n_answers = batch->n_questions = batch->start[0] = 0;
}

static void add_token(bal_batch *batch, int32_t token)
{
    assert(batch->n_tokens < batch->room.tokens);
    batch->tokens[batch->n_tokens++] = token;
}

static int64_t end_sequence(bal_batch *batch, int64_t parent)
{
    assert(batch->n_sequences < batch->room.sequences);
    batch->parent[batch->n_sequences] = parent;
    batch->start[++batch->n_sequences] = batch->n_tokens;
    return batch->n_sequences - 1;
}

static void score(bal_batch *batch, int64_t token, int32_t word)
{
    assert(batch->n_scored < batch->room.tokens);
    batch->scored[batch->n_scored++] =
        (bal_scored){(int32_t)token, word, (int32_t)batch->n_answers};
}

/* n_words of the answer whose words were scored last, and the next answer begins. */
static void end_answer(bal_batch *batch, int64_t n_words)
{
    assert(batch->n_answers < batch->room.answers);
    batch->n_words[batch->n_answers++] = (int32_t)n_words;
}

void bal_batch_add(bal_batch *batch, int32_t token, int32_t target)
{
    if (target >= 0) score(batch, batch->n_tokens, target);
    add_token(batch, token);
}

void bal_batch_end(bal_batch *batch)
{
    int64_t n_words = 0;
    while (n_words < batch->n_scored &&
           batch->scored[batch->n_scored - 1 - n_words].answer == batch->n_answers)
        ++n_words;
    bal_batch_ask(batch, -1, 1, 0, false);
    end_answer(batch, n_words);
    end_sequence(batch, -1);
}

int64_t bal_batch_sequence(bal_batch *batch, int64_t parent, const int32_t *tokens, int64_t n)
{
    for (int64_t i = 0; i < n; ++i) add_token(batch, tokens[i]);
    return end_sequence(batch, parent);
}

void bal_batch_ask(bal_batch *batch, int64_t prompt, int32_t n_answers, int32_t right,
                   bool calibrated)
{
    assert(batch->n_questions < batch->room.answers && right >= 0 && right < n_answers);
    batch->questions[batch->n_questions++] =
        (bal_question){prompt, (int32_t)batch->n_answers, n_answers, right, calibrated, 0};
}

void bal_batch_answer(bal_batch *batch, int64_t prompt, const int32_t *words, int64_t n)
{
    assert(n >= 1);
    score(batch, batch->start[prompt + 1] - 1, words[0]);
    for (int64_t i = 1; i < n; ++i) bal_batch_add(batch, words[i - 1], words[i]);
    if (n > 1) end_sequence(batch, prompt);
    end_answer(batch, n);
}
