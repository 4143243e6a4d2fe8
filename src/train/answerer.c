/* answerer.c: answers that a model writes, word by word. */
#include "answerer.h"

#include <stdlib.h>
#include <string.h>

bal_status bal_answerer_init(bal_answerer *answerer, bal_forward *forward)
{
    const bal_model *model = bal_forward_model(forward);
    int64_t length = bal_forward_length(forward);
    *answerer = (bal_answerer){.forward = forward, .max_length = length};
    BAL_TRY(bal_cache_create(model, length, &answerer->cache));
    answerer->tokens = bal_alloc((size_t)length, sizeof *answerer->tokens);
    answerer->logits = bal_alloc((size_t)bal_model_shape(model)->n_vocab, sizeof *answerer->logits);
    if (answerer->tokens != NULL && answerer->logits != NULL) return BAL_OK;
    bal_answerer_clear(answerer);
    return bal_fail(BAL_ERR_MEMORY, "no memory for answers that are written");
}

void bal_answerer_clear(bal_answerer *answerer)
{
    bal_cache_destroy(&answerer->cache);
    free(answerer->tokens);
    free(answerer->logits);
    *answerer = (bal_answerer){0};
}

/* Tokens of a sequence and of those that it continues, to answerer->tokens. *n_same: how many of
 * them are in the cache, but for the last token, which is read in any case. */
static int64_t lay_out(bal_answerer *answerer, const bal_batch *batch, int64_t sequence,
                       int64_t *n_same)
{
    int64_t n = 0, known = bal_cache_n(answerer->cache);
    for (int64_t i = sequence; i >= 0; i = batch->parent[i])
        n += batch->start[i + 1] - batch->start[i];
    *n_same = known < n - 1 ? known : n - 1;
    for (int64_t i = sequence, end = n; i >= 0; i = batch->parent[i])
        for (int64_t t = batch->start[i + 1] - 1; t >= batch->start[i]; --t) {
            if (--end < *n_same && answerer->tokens[end] != batch->tokens[t]) *n_same = end;
            answerer->tokens[end] = batch->tokens[t];
        }
    return n;
}

static int32_t likeliest(const float *logits, int64_t n)
{
    int64_t top = 0;
    for (int64_t i = 1; i < n; ++i)
        if (logits[i] > logits[top]) top = i;
    return (int32_t)top;
}

bal_status bal_answerer_answer(bal_answerer *answerer, const bal_dataset *data,
                               const bal_batch *batch, int64_t at, int64_t index, bal_grade *grade)
{
    int64_t n_vocab = bal_model_shape(bal_forward_model(answerer->forward))->n_vocab, n_read;
    int64_t n_prompt = lay_out(answerer, batch, batch->questions[at].prompt, &n_read);
    int64_t n = n_prompt, most = n_prompt + data->writing->max_words;
    bal_cache_keep(answerer->cache, n_read);
    if (most > answerer->max_length) most = answerer->max_length;
    while (n < most) {
        BAL_TRY(bal_forward_extend(answerer->forward, answerer->cache, answerer->tokens + n_read,
                                   n - n_read, answerer->logits));
        n_read = n;
        int32_t word = likeliest(answerer->logits, n_vocab);
        if (data->writing->ends(data->self, word)) break;
        answerer->tokens[n++] = word;
    }
    return data->writing->grade(data->self, index, answerer->tokens + n_prompt, n - n_prompt,
                                grade);
}
