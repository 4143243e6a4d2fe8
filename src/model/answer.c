/* answer.c: answers that a model writes, word by word, several side by side: reading the weights
 * costs about as much for many texts as for one. */
#include "ballot/answer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "forward_impl.h"

#define GROUP_MAX 8 /* questions that are answered side by side; their keys take memory */

/* An answer that is being written. */
typedef struct text {
    bal_cache *cache; /* of what was read: the prompt, and the answer but for its last word */
    int32_t *words;   /* [max_length] */
    int64_t n, room;  /* words so far, and at most */
    bool done;
} text;

/* What the next pass reads: sequences, of which the last n_texts continue a text each. */
typedef struct layout {
    int32_t *tokens;             /* [n_signs][stride], or the same at both signs if stride is 0 */
    int64_t stride, n_tokens, n; /* n sequences */
    int64_t start[GROUP_MAX + 2], parent[GROUP_MAX + 1];
    int n_texts, texts[GROUP_MAX]; /* their numbers */
} layout;

struct bal_answerer {
    bal_forward *forward;
    text texts[N_SIGNS_MAX][GROUP_MAX];
    layout next;
    float *logits; /* [n_signs][n_texts][n_vocab] after each text */
};

bal_status bal_answerer_create(bal_forward *forward, bal_answerer **answerer)
{
    size_t n_vocab = (size_t)forward->model->config.n_vocab;
    int64_t n_tokens = forward->capacity.max_tokens + N_SIGNS_MAX * GROUP_MAX;
    bal_status status = BAL_ERR_MEMORY;
    bal_answerer *a = bal_alloc(1, sizeof *a);
    if (a != NULL) {
        a->forward = forward;
        a->next.tokens = bal_alloc((size_t)n_tokens, sizeof *a->next.tokens);
        a->logits = bal_alloc(N_SIGNS_MAX * GROUP_MAX, n_vocab * sizeof *a->logits);
    }
    if (a == NULL || a->next.tokens == NULL || a->logits == NULL)
        bal_fail(status, "no memory for answers that are written");
    else
        status =
            bal_cache_create(forward->model, forward->capacity.max_length, &a->texts[0][0].cache);
    if (status != BAL_OK) bal_answerer_destroy(&a);
    *answerer = a;
    return status;
}

void bal_answerer_destroy(bal_answerer **answerer)
{
    bal_answerer *a = *answerer;
    if (a == NULL) return;
    for (int sign = 0; sign < N_SIGNS_MAX; ++sign)
        for (int i = 0; i < GROUP_MAX; ++i) {
            bal_cache_destroy(&a->texts[sign][i].cache);
            free(a->texts[sign][i].words);
        }
    free(a->next.tokens);
    free(a->logits);
    free(a);
    *answerer = NULL;
}

size_t bal_answerer_bytes(const bal_model *model, int64_t max_length, int n_signs)
{
    size_t n_texts = (size_t)n_signs * GROUP_MAX, n_words = (size_t)max_length,
           n_logits = N_SIGNS_MAX * GROUP_MAX * (size_t)model->config.n_vocab;
    return sizeof(bal_answerer) + n_logits * sizeof(float) +
           n_texts * (bal_cache_bytes(model, max_length) + n_words * sizeof(int32_t));
}

/* An empty answer after a beginning, if there is one, and a prompt that ends at a position. */
static bal_status begin_text(const bal_forward *f, const bal_cache *beginning, int64_t end,
                             int64_t max_words, text *t)
{
    int64_t length = f->capacity.max_length, left = length - end;
    if (t->cache == NULL) BAL_TRY(bal_cache_create(f->model, length, &t->cache));
    if (t->words == NULL) t->words = bal_alloc((size_t)length, sizeof *t->words);
    if (t->words == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for an answer");
    t->n = 0;
    t->room = left < max_words ? left : max_words;
    t->done = false;
    t->cache->n_tokens = 0;
    if (beginning != NULL) bal_cache_copy(t->cache, beginning);
    return BAL_OK;
}

static int64_t add_sequence(const bal_batch *batch, int64_t sequence, int64_t parent, layout *l)
{
    int64_t from = batch->start[sequence], n = batch->start[sequence + 1] - from;
    memcpy(l->tokens + l->n_tokens, batch->tokens + from, (size_t)n * sizeof *l->tokens);
    l->n_tokens += n;
    l->parent[l->n] = parent;
    l->start[++l->n] = l->n_tokens;
    return n;
}

/* Lay out the prompts of n questions, first what they begin with if it is in the batch. */
static bal_status begin_group(bal_answerer *a, const bal_batch *batch,
                              const bal_question *questions, int n, const bal_cache *beginning,
                              int n_signs, int64_t max_words)
{
    layout *l = &a->next;
    int64_t common = batch->parent[questions->prompt], position = 0;
    l->n = l->n_tokens = l->stride = l->n_texts = 0;
    if (beginning != NULL) position = beginning->n_tokens;
    if (common >= 0) position += add_sequence(batch, common, -1, l);
    for (int i = 0; i < n; ++i) {
        assert(batch->parent[questions[i].prompt] == common);
        int64_t end = position + add_sequence(batch, questions[i].prompt, common >= 0 ? 0 : -1, l);
        for (int sign = 0; sign < n_signs; ++sign)
            BAL_TRY(begin_text(a->forward, beginning, end, max_words, &a->texts[sign][i]));
        l->texts[l->n_texts++] = i;
    }
    return BAL_OK;
}

/* Read what is laid out, to logits after each text. */
static bal_status read_next(bal_answerer *a, const bal_direction *direction, int n_signs)
{
    bal_forward *f = a->forward;
    const layout *l = &a->next;
    int64_t first = l->n - l->n_texts;
    bal_cache *caches[N_SIGNS_MAX * (GROUP_MAX + 1)] = {NULL};
    memset(f->out.row, -1, (size_t)l->n_tokens * sizeof *f->out.row);
    for (int i = 0; i < l->n_texts; ++i) {
        f->out.row[l->start[first + i + 1] - 1] = 0;
        for (int sign = 0; sign < n_signs; ++sign)
            caches[sign * l->n + first + i] = a->texts[sign][l->texts[i]].cache;
    }
    f->pass.caches = caches;
    bal_forward_run(f, direction,
                    &(bal_sequences){.tokens = l->tokens,
                                     .n_tokens = l->n_tokens,
                                     .n = l->n,
                                     .start = l->start,
                                     .parent = l->parent,
                                     .stride = l->stride});
    f->pass.caches = NULL;
    return bal_forward_all_logits(f, a->logits);
}

/* Add a word to a text, or end it. */
static void add_word(text *t, const bal_dataset *data, int32_t word)
{
    t->done = t->done || t->room == 0 || data->writing->ends(data->self, word);
    if (!t->done) t->words[t->n++] = word;
    t->done = t->done || t->n == t->room;
}

/* Add the likeliest word to each text. Those that are done at every sign are left out of the next
 * pass. */
static void add_words(bal_answerer *a, const bal_dataset *data, int n_signs)
{
    layout *l = &a->next;
    int64_t n_vocab = a->forward->model->config.n_vocab, first = l->n - l->n_texts;
    int64_t n_common = first > 0 ? l->start[first] : 0;
    int n_left = 0;
    for (int i = 0; i < l->n_texts; ++i) {
        bool done = true;
        for (int sign = 0; sign < n_signs; ++sign) {
            text *t = &a->texts[sign][l->texts[i]];
            const float *logits = a->logits + (sign * l->n_texts + i) * n_vocab;
            t->cache->n_tokens += n_common + l->start[first + i + 1] - l->start[first + i];
            add_word(t, data, bal_likeliest(logits, n_vocab));
            done = done && t->done;
        }
        if (!done) l->texts[n_left++] = l->texts[i];
    }
    l->n = l->n_tokens = l->stride = n_left;
    l->n_texts = n_left;
}

/* Lay out the last word of each text. One that is done at this sign only reads some word. */
static void lay_out_words(bal_answerer *a, int n_signs)
{
    layout *l = &a->next;
    for (int i = 0; i < l->n_texts; ++i) {
        l->parent[i] = -1;
        l->start[i + 1] = i + 1;
        for (int sign = 0; sign < n_signs; ++sign) {
            const text *t = &a->texts[sign][l->texts[i]];
            l->tokens[sign * l->stride + i] = t->n > 0 ? t->words[t->n - 1] : 0;
        }
    }
}

/* Write the answers to the questions of a group, whose prompts are laid out. */
static bal_status write_group(bal_answerer *a, const bal_dataset *data,
                              const bal_direction *direction, int n_signs)
{
    while (a->next.n_texts > 0) {
        BAL_TRY(read_next(a, direction, n_signs));
        add_words(a, data, n_signs);
        lay_out_words(a, n_signs);
    }
    return BAL_OK;
}

bal_status bal_answerer_answer(bal_answerer *a, const bal_dataset *data, const bal_batch *batch,
                               const bal_cache *beginning, const bal_direction *direction,
                               bal_grade *grades, int32_t *words)
{
    const bal_writing *writing = data->writing;
    int n_signs = bal_direction_points(direction);
    for (int64_t first = 0; first < batch->n_questions; first += GROUP_MAX) {
        const bal_question *questions = batch->questions + first;
        int64_t left = batch->n_questions - first;
        int n = left < GROUP_MAX ? (int)left : GROUP_MAX;
        BAL_TRY(begin_group(a, batch, questions, n, beginning, n_signs, writing->max_words));
        BAL_TRY(write_group(a, data, direction, n_signs));
        for (int sign = 0; sign < n_signs; ++sign)
            for (int i = 0; i < n; ++i) {
                const text *t = &a->texts[sign][i];
                BAL_TRY(writing->grade(data->self, questions[i].example, t->words, t->n,
                                       &grades[sign * batch->n_questions + first + i]));
            }
        for (int i = 0; i < n && words != NULL; ++i)
            for (int64_t k = 0; k < writing->max_words; ++k)
                *words++ = k < a->texts[0][i].n ? a->texts[0][i].words[k] : -1;
    }
    return BAL_OK;
}
