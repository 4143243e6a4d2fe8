/* spell.c: the vocabulary of a tokenizer as a list. */
#include <stdlib.h>
#include <string.h>

#include "text_impl.h"

static bool is_added(const bal_tokenizer *tokenizer, int32_t id)
{
    for (int list = 0; list < BAL_ADDED_LISTS; ++list)
        for (size_t i = 0; i < tokenizer->added[list].n; ++i)
            if (tokenizer->added[list].at[i].id == id) return true;
    return false;
}

static bal_token_kind kind_of(const bal_tokenizer *tokenizer, int32_t id)
{
    const bal_token *token = &tokenizer->vocab.tokens[id];
    int byte = bal_byte_token(token->bytes, token->n_bytes);
    if (id == tokenizer->subword.unknown) return BAL_TOKEN_UNKNOWN;
    if (byte >= 0 && tokenizer->subword.byte_ids[byte] == id) return BAL_TOKEN_BYTE;
    if (token->special) return BAL_TOKEN_CONTROL;
    return is_added(tokenizer, id) ? BAL_TOKEN_USER_DEFINED : BAL_TOKEN_NORMAL;
}

void bal_tokenizer_spell(const bal_tokenizer *tokenizer, int32_t id, bal_spelling *spelling)
{
    *spelling = (bal_spelling){.kind = BAL_TOKEN_UNUSED};
    if (id >= tokenizer->vocab.n_tokens || tokenizer->vocab.tokens[id].bytes == NULL) return;
    const bal_token *token = &tokenizer->vocab.tokens[id];
    *spelling = (bal_spelling){token->bytes, token->n_bytes, kind_of(tokenizer, id), token->score};
}

bool bal_tokenizer_adds_space(const bal_tokenizer *tokenizer)
{
    const bal_steps *both[] = {&tokenizer->normalizer, &tokenizer->splits};
    for (int k = 0; k < 2; ++k)
        for (int i = 0; i < both[k]->n; ++i) {
            const bal_step *step = &both[k]->step[i];
            if (step->kind == BAL_STEP_PREPEND || step->kind == BAL_STEP_PREFIX_SPACE ||
                (step->kind == BAL_STEP_SENTENCEPIECE && step->front) ||
                (step->kind == BAL_STEP_METASPACE && step->prepend != BAL_PREPEND_NEVER))
                return true;
        }
    return false;
}

bal_merging bal_tokenizer_merging(const bal_tokenizer *tokenizer)
{
    if (tokenizer->subword.kind == BAL_SUBWORD_SP_BPE || tokenizer->kind == BAL_TOKENIZER_LLAMA2C)
        return BAL_MERGING_BY_SCORE;
    return tokenizer->subword.kind == BAL_SUBWORD_BPE ? BAL_MERGING_BY_RANK : BAL_MERGING_NONE;
}

static int by_priority(const void *a, const void *b)
{
    const bal_merge *x = a, *y = b;
    return (x->priority > y->priority) - (x->priority < y->priority);
}

bal_status bal_tokenizer_merges(const bal_tokenizer *tokenizer, int32_t (**merges)[3],
                                int64_t *n_merges)
{
    size_t n_places = tokenizer->vocab.merges != NULL ? tokenizer->vocab.merges_mask + 1 : 0, n = 0;
    bal_merge *sorted = bal_alloc(n_places + 1, sizeof *sorted);
    *merges = bal_alloc(n_places + 1, sizeof **merges);
    if (sorted == NULL || *merges == NULL) {
        free(sorted);
        free(*merges);
        return bal_fail(BAL_ERR_MEMORY, "no memory for the merges of a tokenizer");
    }
    for (size_t i = 0; i < n_places; ++i)
        if (tokenizer->vocab.merges[i].left >= 0) sorted[n++] = tokenizer->vocab.merges[i];
    qsort(sorted, n, sizeof *sorted, by_priority);
    for (size_t i = 0; i < n; ++i) {
        (*merges)[i][0] = sorted[i].left;
        (*merges)[i][1] = sorted[i].right;
        (*merges)[i][2] = sorted[i].merged;
    }
    *n_merges = (int64_t)n;
    free(sorted);
    return BAL_OK;
}
