/* written.c: answers that a model wrote, beside those that are right. */
#include <stdlib.h>
#include <string.h>

#include "task_impl.h"

bal_status bal_written_init(bal_written *written, const bal_task *task,
                            const bal_tokenizer *tokenizer, bal_split split)
{
    int64_t n_vocab = bal_tokenizer_n_vocab(tokenizer);
    *written = (bal_written){.task = task, .tokenizer = tokenizer, .split = split};
    written->n_vocab = n_vocab;
    written->ends = calloc((size_t)n_vocab + 1, sizeof *written->ends);
    if (written->ends == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for a vocabulary");
    for (int32_t id = 0; id < n_vocab; ++id) {
        char *text = NULL;
        size_t n;
        BAL_TRY(bal_tokenizer_decode(tokenizer, &id, 1, &text, &n));
        bool stops = task->file.stop[0] != 0 && strstr(text, task->file.stop) != NULL;
        written->ends[id] = stops || bal_tokenizer_ends(tokenizer, id);
        free(text);
    }
    return BAL_OK;
}

void bal_written_clear(bal_written *written)
{
    free(written->ends);
    *written = (bal_written){0};
}

bool bal_written_ends(const bal_written *written, int32_t token)
{
    return token < 0 || token >= written->n_vocab || written->ends[token];
}

bal_status bal_task_answer(const bal_task *task, const bal_tokenizer *tokenizer,
                           const int32_t *tokens, int64_t n, char **text)
{
    const char *stop = task->file.stop;
    size_t n_bytes;
    *text = NULL;
    BAL_TRY(bal_tokenizer_decode(tokenizer, tokens, n, text, &n_bytes));
    char *end = stop[0] != 0 ? strstr(*text, stop) : NULL;
    if (end != NULL) *end = 0;
    return BAL_OK;
}

bal_status bal_written_grade(const bal_written *written, int64_t index, const int32_t *tokens,
                             int64_t n, bal_grade *grade)
{
    char *text = NULL;
    bal_asked asked = {0};
    *grade = (bal_grade){.missed = BAL_METRIC_ONE};
    bal_status status = bal_task_answer(written->task, written->tokenizer, tokens, n, &text);
    if (status == BAL_OK) status = bal_task_ask(written->task, written->split, index, &asked);
    for (int i = 0; i < asked.n_answers && status == BAL_OK; ++i) {
        int64_t missed = BAL_METRIC_ONE - bal_answer_f1(text, asked.answers[i]);
        if (missed < grade->missed) grade->missed = missed;
        grade->exact = grade->exact || bal_answer_exact(text, asked.answers[i]);
    }
    bal_asked_clear(&asked);
    free(text);
    return status;
}
