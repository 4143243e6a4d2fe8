/* encode.c: prompts and answers as tokens. */
#include <stdlib.h>
#include <string.h>

#include "task_impl.h"

/* A prompt and its answers, being encoded. */
typedef struct reader {
    const bal_task *task;
    const bal_tokenizer *tokenizer;
    bal_encoded *to;
    int64_t context;
    bal_buffer text;
    const bal_asked *asked;
    int64_t n_prompt; /* tokens of the prompt that is being encoded */
    int32_t *common;  /* [n_demonstrations] tokens of the demonstrations alone */
    int64_t n_demonstrations;
    const int32_t *before; /* [n_before], what the tokenizer puts before a text */
    int64_t n_before;
} reader;

static bal_status fail(const reader *r, const char *what)
{
    bool by_row = r->task->file.form.format == BAL_ROWS_JSON;
    return bal_fail(BAL_ERR_INPUT, "%s:%s%lld: %s", r->asked->path, by_row ? " row " : "",
                    (long long)r->asked->line, what);
}

static bal_status add_part(bal_encoded *e, const int32_t *before, int64_t n_before,
                           const int32_t *tokens, int64_t n)
{
    BAL_TRY(bal_task_grow(&e->tokens, &e->tokens_capacity, e->n_tokens + n_before + n,
                          sizeof *e->tokens));
    BAL_TRY(bal_task_grow(&e->end, &e->parts_capacity, e->n_parts + 1, sizeof *e->end));
    if (n_before > 0) memcpy(e->tokens + e->n_tokens, before, (size_t)n_before * sizeof *tokens);
    if (n > 0) memcpy(e->tokens + e->n_tokens + n_before, tokens, (size_t)n * sizeof *tokens);
    e->n_tokens += n_before + n;
    e->end[e->n_parts++] = e->n_tokens;
    return BAL_OK;
}

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t shared(const int32_t *a, int64_t n_a, const int32_t *b, int64_t n_b)
{
    int64_t n = 0;
    while (n < n_a && n < n_b && a[n] == b[n]) ++n;
    return n;
}

/* The tokens of the demonstrations, a prompt and an answer together. */
static bal_status encode_text(reader *r, const char *prompt, const char *answer, int32_t **tokens,
                              int64_t *n)
{
    const char *texts[] = {bal_task_demonstrations(r->task), prompt, answer};
    r->text.n = 0;
    for (int i = 0; i < 3; ++i) BAL_TRY(bal_buffer_add(&r->text, texts[i], strlen(texts[i])));
    *tokens = NULL;
    return bal_tokenizer_encode(r->tokenizer, r->text.bytes == NULL ? "" : r->text.bytes, r->text.n,
                                tokens, n);
}

/* What an answer adds to the prompt: it is not empty, not too long, and no other's. */
static bal_status check_answer(const reader *r, int64_t first_part)
{
    const bal_encoded *e = r->to;
    char what[160];
    const int64_t *end = e->end + e->n_parts - 1; /* of this answer */
    int64_t n = end[0] - end[-1];
    if (n == 0) return fail(r, "an answer is empty");
    if (r->n_prompt + n > r->context) {
        snprintf(what, sizeof what,
                 "prompt and answer are %lld tokens; the context has %lld; set data.context "
                 "higher%s",
                 (long long)(r->n_prompt + n), (long long)r->context,
                 r->task->shots > 0 ? ", or data.shots lower" : "");
        return fail(r, what);
    }
    for (int64_t part = first_part; part < e->n_parts - 1; ++part) {
        int64_t from = e->end[part - 1];
        if (e->end[part] - from != n ||
            memcmp(e->tokens + from, e->tokens + end[-1], (size_t)n * sizeof *e->tokens) != 0)
            continue;
        snprintf(what, sizeof what, "answers %lld and %lld have the same tokens",
                 (long long)(part - first_part + 1), (long long)(e->n_parts - first_part));
        return fail(r, what);
    }
    return BAL_OK;
}

/* Add a prompt and its answers as parts. @param whole  tokens [n_answers] of prompt and answer
 * together, n[i] of them; whole[n_answers] of the prompt alone */
static bal_status add_parts(reader *r, int32_t **whole, const int64_t *n, int n_answers)
{
    const int32_t *own = whole[n_answers];
    int64_t n_shared = n[n_answers];
    for (int i = 0; i < n_answers; ++i)
        n_shared = smaller(n_shared, shared(own, n_shared, whole[i], n[i]));
    r->to->n_common = smaller(r->to->n_common,
                              r->n_before + shared(r->common, r->n_demonstrations, own, n_shared));
    r->n_prompt = r->n_before + n_shared;
    if (r->n_prompt == 0) return fail(r, "the prompt is empty, and the tokenizer starts no text");
    BAL_TRY(add_part(r->to, r->before, r->n_before, own, n_shared));
    int64_t first_part = r->to->n_parts;
    for (int i = 0; i < n_answers; ++i) {
        BAL_TRY(add_part(r->to, NULL, 0, whole[i] + n_shared, n[i] - n_shared));
        BAL_TRY(check_answer(r, first_part));
    }
    return BAL_OK;
}

/* Encode a prompt and n_answers of the answers of a row. */
static bal_status encode_asked(reader *r, int n_answers)
{
    bal_status status = BAL_OK;
    int32_t **whole = calloc((size_t)n_answers + 1, sizeof *whole);
    int64_t *n = calloc((size_t)n_answers + 1, sizeof *n);
    if (whole == NULL || n == NULL) status = bal_fail(BAL_ERR_MEMORY, "no memory for answers");
    for (int i = 0; i <= n_answers && status == BAL_OK; ++i) {
        const char *answer = i < n_answers ? r->asked->answers[i] : "";
        status = encode_text(r, r->asked->prompt, answer, &whole[i], &n[i]);
        if (status == BAL_ERR_INPUT) status = fail(r, bal_failure());
        r->to->n_bytes += (int64_t)strlen(answer);
    }
    r->to->n_bytes += (int64_t)strlen(r->asked->prompt);
    if (status == BAL_OK) status = add_parts(r, whole, n, n_answers);
    for (int i = 0; i <= n_answers && whole != NULL; ++i) free(whole[i]);
    free(whole);
    free(n);
    return status;
}

/* Encode a row, with its prompt or with the neutral one. */
static bal_status encode_row(reader *r, const bal_rows *rows, int64_t row, bool neutral)
{
    const bal_wording *w = &r->task->file.wording;
    bal_asked asked;
    bal_status status =
        bal_row_ask(&r->task->file, rows, row, neutral ? &w->neutral : &w->prompt, &asked);
    r->asked = &asked;
    if (status == BAL_OK) status = encode_asked(r, w->n_answers > 0 ? 1 : asked.n_answers);
    if (status == BAL_OK && !neutral) r->to->right[r->to->n] = w->n_answers > 0 ? 0 : asked.right;
    bal_asked_clear(&asked);
    return status;
}

/* Encode all rows of a split. */
static bal_status encode_rows(reader *r, bal_split split)
{
    const bal_task *t = r->task;
    bal_encoded *e = r->to;
    for (int64_t i = 0; i < t->n[split]; ++i) {
        const bal_rows *rows = &t->rows[t->from[split]];
        BAL_TRY(bal_task_grow(&e->first_part, &e->capacity, e->n + 2, sizeof *e->first_part));
        BAL_TRY(bal_task_grow(&e->right, &e->rights_capacity, e->n + 1, sizeof *e->right));
        e->first_part[e->n] = e->n_parts;
        BAL_TRY(encode_row(r, rows, t->index[split][i], false));
        if (e->calibrated) BAL_TRY(encode_row(r, rows, t->index[split][i], true));
        e->first_part[++e->n] = e->n_parts;
    }
    return BAL_OK;
}

const int32_t *bal_encoded_part(const bal_encoded *e, int64_t example, int64_t part, int64_t *n)
{
    int64_t at = e->first_part[example] + part, from = at > 0 ? e->end[at - 1] : 0;
    *n = e->end[at] - from;
    return e->tokens + from;
}

/* A prompt keeps a token that its answers are scored at. */
static void measure(bal_encoded *e)
{
    int64_t n;
    for (int64_t i = 0; i < e->n; ++i)
        for (int64_t p = 0, half, n_parts = e->first_part[i + 1] - e->first_part[i]; p < n_parts;
             p += half) {
            half = e->calibrated ? n_parts / 2 : n_parts;
            bal_encoded_part(e, i, p, &n);
            e->n_common = smaller(e->n_common, n - 1);
        }
    for (int64_t i = 0; i < e->n; ++i) {
        int64_t n_parts = e->first_part[i + 1] - e->first_part[i], words = 0;
        int64_t half = e->calibrated ? n_parts / 2 : n_parts;
        bal_batch_size room = {.answers = n_parts - n_parts / half};
        for (int64_t p = 0; p < n_parts; ++p) {
            bal_encoded_part(e, i, p, &n);
            bool is_prompt = p % half == 0;
            room.sequences += is_prompt || n > 1;
            room.tokens += is_prompt ? n - e->n_common : n - 1;
            words += is_prompt ? 0 : n;
        }
        if (room.tokens < words) room.tokens = words; /* there is room for as many scored words */
        e->room = bal_batch_either(e->room, room);
    }
}

bal_status bal_encode(const bal_task *task, const bal_tokenizer *tokenizer, bal_split split,
                      int64_t context, bal_encoded *encoded)
{
    *encoded = (bal_encoded){.calibrated = task->score == BAL_TASK_SCORE_CALIBRATED};
    reader r = {.task = task, .tokenizer = tokenizer, .to = encoded, .context = context};
    r.before = bal_tokenizer_prefix(tokenizer, &r.n_before);
    bal_status status = encode_text(&r, "", "", &r.common, &r.n_demonstrations);
    encoded->n_common = task->shots > 0 ? r.n_before + r.n_demonstrations : 0;
    if (status == BAL_OK) status = encode_rows(&r, split);
    if (status == BAL_OK) measure(encoded);
    free(r.text.bytes);
    free(r.common);
    return status;
}

void bal_encoded_clear(bal_encoded *encoded)
{
    free(encoded->first_part);
    free(encoded->right);
    free(encoded->end);
    free(encoded->tokens);
    *encoded = (bal_encoded){0};
}
