/* unigram.c: SentencePiece's UNIGRAM kind: the cut of a text whose pieces have the highest sum of
 * scores, added in single precision in the same order. Source: google/sentencepiece,
 * src/unigram_model.cc, EncodeOptimized. */
#include <math.h>
#include <stdlib.h>

#include "text_impl.h"

#define UNKNOWN_PENALTY 10.0f
#define SCORE_MAX 100000.0f /* of a sum; beyond that, sums start again from here */

static bal_status make_room(bal_work *work, size_t n)
{
    if (n <= work->n_paths) return BAL_OK;
    free(work->paths);
    work->n_paths = 0;
    work->paths = malloc(n * sizeof *work->paths);
    if (work->paths == NULL) return BAL_ERR_MEMORY;
    work->n_paths = n;
    return BAL_OK;
}

/* A way to end, over a piece from start. */
static void offer(bal_path *path, float score, int32_t id, size_t start)
{
    if (path->start < 0 || score > path->score) *path = (bal_path){id, (int32_t)start, score};
}

static void restart_sums(bal_path *paths, size_t from, size_t to)
{
    float offset = paths[from].score;
    for (size_t i = from; i <= to; ++i)
        if (i == from || paths[i].start >= 0) paths[i].score -= offset;
}

/* All pieces that start at a place. */
static void extend(bal_work *work, const char *text, size_t n_bytes, size_t start, size_t *farthest)
{
    const bal_tokenizer *tokenizer = work->tokenizer;
    bal_path *paths = work->paths;
    int32_t c;
    size_t first = bal_character(text + start, n_bytes - start, &c), end = start;
    bool single = false;
    while (end < n_bytes && end - start < tokenizer->vocab.longest) {
        end += bal_character(text + end, n_bytes - end, &c);
        int32_t id = bal_tokens_find(tokenizer, text + start, end - start);
        if (id < 0) continue;
        const bal_token *token = &tokenizer->vocab.tokens[id];
        float score = token->whole ? (float)(0.1 * (double)(end - start - 1)) : token->score;
        offer(&paths[end], score + paths[start].score, id, start);
        if (end > *farthest) *farthest = end;
        if (end - start == first) single = true;
    }
    if (single) return;
    offer(&paths[start + first],
          tokenizer->subword.lowest_score - UNKNOWN_PENALTY + paths[start].score, -1, start);
    if (start + first > *farthest) *farthest = start + first;
}

bal_status bal_unigram_encode(bal_work *work, const char *text, size_t n_bytes)
{
    BAL_TRY(make_room(work, n_bytes + 1));
    bal_path *paths = work->paths;
    size_t farthest = 0, n_pieces = 0;
    int32_t c;
    for (size_t i = 0; i <= n_bytes; ++i) paths[i] = (bal_path){-1, -1, 0};
    for (size_t at = 0; at < n_bytes; at += bal_character(text + at, n_bytes - at, &c)) {
        if (fabsf(paths[at].score) > SCORE_MAX) restart_sums(paths, at, farthest);
        extend(work, text, n_bytes, at, &farthest);
    }
    /* First back from the end; then forwards, with each piece's end where its start was. */
    for (size_t end = n_bytes; end > 0; ++n_pieces) end = (size_t)paths[end].start;
    bal_status status = BAL_OK;
    size_t *ends = malloc(n_pieces * sizeof *ends);
    if (ends == NULL) return BAL_ERR_MEMORY;
    for (size_t end = n_bytes, i = n_pieces; end > 0; end = (size_t)paths[end].start)
        ends[--i] = end;
    bool unknown = false;
    for (size_t i = 0, start = 0; i < n_pieces && status == BAL_OK; start = ends[i++])
        status = bal_piece_put(work, text + start, ends[i] - start, paths[ends[i]].id, &unknown);
    free(ends);
    return status;
}
