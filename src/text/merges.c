/* merges.c: byte-pair merging (BPE): a word starts as characters, and the best pair of neighbours
 * is merged until no pair is left. The best pair has the lowest rank in a table of merges or, in
 * SentencePiece, the highest score of what the pair spells. O(n log n). */
#include <stdlib.h>
#include <string.h>

#include "text_impl.h"

/* Words recur, so the tokens of short words are cached by their hash. */
#define WORDS 4096
#define WORD_BYTES_MAX 24
#define WORD_TOKENS_MAX 8
struct bal_word {
    uint8_t n_bytes, n_tokens; /* n_bytes 0: none */
    char bytes[WORD_BYTES_MAX];
    int32_t tokens[WORD_TOKENS_MAX];
};

static void queue_push(bal_work *work, bal_candidate new)
{
    bal_candidate *queue = work->queue;
    size_t i = work->n_queue++;
    for (; i > 0 && queue[(i - 1) / 2].order > new.order; i = (i - 1) / 2)
        queue[i] = queue[(i - 1) / 2];
    queue[i] = new;
}

static bal_candidate queue_pop(bal_work *work)
{
    bal_candidate *queue = work->queue, first = queue[0], last = queue[--work->n_queue];
    size_t i = 0, n = work->n_queue;
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && queue[child + 1].order < queue[child].order) ++child;
        if (queue[child].order >= last.order) break;
        queue[i] = queue[child];
    }
    queue[i] = last;
    return first;
}

uint32_t bal_score_priority(float score)
{
    uint32_t bits;
    score += 0.0f;
    memcpy(&bits, &score, sizeof bits);
    return bits >> 31 ? bits : 0x7fffffffu - bits;
}

/* What a symbol and the next one merge to; -1: nothing. */
static int32_t merged(const bal_work *work, const char *text, const bal_symbol *left,
                      uint32_t *priority)
{
    const bal_tokenizer *tokenizer = work->tokenizer;
    if (left->next < 0) return -1;
    const bal_symbol *right = &work->symbols[left->next];
    if (tokenizer->subword.kind == BAL_SUBWORD_BPE) {
        const bal_merge *merge = bal_merges_find(tokenizer, left->id, right->id);
        *priority = merge->priority;
        return merge->left >= 0 ? merge->merged : -1;
    }
    size_t n = (size_t)left->n_bytes + (size_t)right->n_bytes;
    if (left->whole || right->whole || n > tokenizer->vocab.longest) return -1;
    int32_t id = bal_tokens_find(tokenizer, text + left->start, n);
    if (id >= 0) *priority = bal_score_priority(tokenizer->vocab.tokens[id].score);
    return id;
}

static void queue_pair(bal_work *work, const char *text, int32_t position)
{
    uint32_t priority;
    int32_t id = merged(work, text, &work->symbols[position], &priority);
    if (id >= 0)
        queue_push(work, (bal_candidate){(uint64_t)priority << 32 | (uint32_t)position, id});
}

/* Bytes of the character at text + at. llama2.c takes up to three continuation bytes after any byte
 * except the space that it adds before the text; for valid UTF-8 that makes no difference. */
static size_t step_bytes(const bal_tokenizer *tokenizer, const char *text, size_t n_bytes,
                         size_t at)
{
    int32_t c;
    if (tokenizer->kind != BAL_TOKENIZER_LLAMA2C) return bal_character(text + at, n_bytes - at, &c);
    size_t n = 1, most = at == 0 ? 1 : 4;
    while (n < most && at + n < n_bytes && ((unsigned char)text[at + n] & 0xc0) == 0x80) ++n;
    return n;
}

/* The token of a character, with the marks of continued words and of ends of words, if any. */
static int32_t find_character(bal_work *work, const char *text, size_t n_bytes, bool first,
                              bool last)
{
    const bal_tokenizer *tokenizer = work->tokenizer;
    bal_bytes *word = &work->spare;
    if ((first || tokenizer->subword.n_prefix == 0) && (!last || tokenizer->subword.n_suffix == 0))
        return bal_tokens_find(tokenizer, text, n_bytes);
    word->n = 0;
    bal_status status = BAL_OK;
    if (!first)
        status = bal_bytes_add(word, tokenizer->subword.prefix, tokenizer->subword.n_prefix);
    if (status == BAL_OK) status = bal_bytes_add(word, text, n_bytes);
    if (status == BAL_OK && last)
        status = bal_bytes_add(word, tokenizer->subword.suffix, tokenizer->subword.n_suffix);
    return status == BAL_OK ? bal_tokens_find(tokenizer, word->data, word->n) : -2;
}

static void put_symbol(bal_work *work, int32_t *n, int32_t id, size_t start, size_t n_bytes)
{
    work->symbols[(*n)++] =
        (bal_symbol){.id = id, .start = (int32_t)start, .n_bytes = (int32_t)n_bytes};
}

/* The first byte of a character, as it was before letters stood for bytes. */
static char text_byte(const bal_tokenizer *tokenizer, const char *text, size_t n_bytes)
{
    int32_t c;
    bal_character(text, n_bytes, &c);
    int byte = bal_letters_count(tokenizer) > 0 ? bal_byte_of_letter(c) : -1;
    return byte >= 0 ? (char)byte : text[0];
}

/* Characters to symbols: a token, byte tokens, or the unknown token, which is held back until the
 * next known token, as in tokenizers. There is room for n_bytes symbols. */
static bal_status cut_characters(bal_work *work, const char *text, size_t n_bytes, int32_t *n)
{
    const bal_tokenizer *tokenizer = work->tokenizer;
    int32_t unknown = tokenizer->subword.unknown;
    bool pending = false;
    for (size_t at = 0, step; at < n_bytes; at += step) {
        step = step_bytes(tokenizer, text, n_bytes, at);
        int32_t id = find_character(work, text + at, step, at == 0, at + step == n_bytes);
        if (id == -2) return BAL_ERR_MEMORY;
        bool in_bytes = id < 0;
        for (size_t i = 0; i < step && in_bytes; ++i)
            in_bytes = tokenizer->subword.byte_ids[(unsigned char)text[at + i]] >= 0;
        if (id >= 0) {
            if (pending) put_symbol(work, n, unknown, at, 1);
            pending = false;
            put_symbol(work, n, id, at, step);
        } else if (in_bytes) {
            for (size_t i = 0; i < step; ++i)
                put_symbol(work, n, tokenizer->subword.byte_ids[(unsigned char)text[at + i]],
                           at + i, 1);
        } else if (unknown >= 0) {
            if (pending && !tokenizer->subword.fuse_unknown) put_symbol(work, n, unknown, at, 1);
            pending = true;
        } else {
            return bal_refuse_byte(text_byte(tokenizer, text + at, step));
        }
    }
    if (pending) put_symbol(work, n, unknown, n_bytes - 1, 1);
    return BAL_OK;
}

static bal_status cut_units(bal_work *work, const char *text, size_t n_bytes, int32_t *n)
{
    for (size_t at = 0, step; at < n_bytes; at += step) {
        bool whole;
        step = bal_unit_bytes(work->tokenizer, text + at, n_bytes - at, &whole);
        put_symbol(work, n, bal_tokens_find(work->tokenizer, text + at, step), at, step);
        work->symbols[*n - 1].whole = whole;
    }
    return BAL_OK;
}

static bal_status make_room(bal_work *work, size_t n)
{
    if (n <= work->n_symbols) return BAL_OK;
    n += n / 2;
    free(work->symbols);
    free(work->queue);
    work->n_symbols = 0;
    work->symbols = malloc(n * sizeof *work->symbols);
    /* A merge removes one candidate and adds at most two; there are fewer than n merges. */
    work->queue = malloc(2 * n * sizeof *work->queue);
    if (work->symbols == NULL || work->queue == NULL) return BAL_ERR_MEMORY;
    work->n_symbols = n;
    return BAL_OK;
}

static void merge_all(bal_work *work, const char *text, int32_t n)
{
    work->n_queue = 0;
    for (int32_t i = 0; i < n; ++i) {
        work->symbols[i].previous = i - 1;
        work->symbols[i].next = i + 1 < n ? i + 1 : -1;
    }
    for (int32_t i = 0; i < n; ++i) queue_pair(work, text, i);
    while (work->n_queue > 0) {
        bal_candidate best = queue_pop(work);
        int32_t position = (int32_t)(uint32_t)best.order;
        bal_symbol *left = &work->symbols[position];
        uint32_t priority;
        if (left->n_bytes == 0 || merged(work, text, left, &priority) != best.merged) continue;
        bal_symbol *right = &work->symbols[left->next];
        left->id = best.merged;
        left->n_bytes += right->n_bytes;
        left->next = right->next;
        right->n_bytes = 0;
        if (left->next >= 0) work->symbols[left->next].previous = position;
        if (left->previous >= 0) queue_pair(work, text, left->previous);
        queue_pair(work, text, position);
    }
}

static bal_word *remembered(bal_work *work, const char *text, size_t n_bytes)
{
    if (!work->remembers || n_bytes > WORD_BYTES_MAX) return NULL;
    if (work->words == NULL) work->words = bal_alloc(WORDS, sizeof *work->words);
    return work->words != NULL ? &work->words[bal_hash(text, n_bytes, 0) % WORDS] : NULL;
}

static bal_status encode(bal_work *work, const char *text, size_t n_bytes)
{
    int32_t n = 0;
    BAL_TRY(make_room(work, n_bytes));
    if (work->tokenizer->subword.kind == BAL_SUBWORD_BPE)
        BAL_TRY(cut_characters(work, text, n_bytes, &n));
    else
        BAL_TRY(cut_units(work, text, n_bytes, &n));
    merge_all(work, text, n);
    bool unknown = false;
    for (int32_t i = n > 0 ? 0 : -1; i >= 0; i = work->symbols[i].next) {
        const bal_symbol *symbol = &work->symbols[i];
        if (work->tokenizer->subword.kind == BAL_SUBWORD_BPE)
            BAL_TRY(bal_ids_add(&work->ids, symbol->id));
        else
            BAL_TRY(bal_piece_put(work, text + symbol->start, (size_t)symbol->n_bytes, symbol->id,
                                  &unknown));
    }
    return BAL_OK;
}

bal_status bal_merges_encode(bal_work *work, const char *text, size_t n_bytes)
{
    const bal_tokenizer *tokenizer = work->tokenizer;
    if (tokenizer->subword.ignore_merges) { /* a word that is a token needs no merges */
        int32_t id = bal_tokens_find(tokenizer, text, n_bytes);
        if (id >= 0) return bal_ids_add(&work->ids, id);
    }
    bal_word *word = remembered(work, text, n_bytes);
    if (word != NULL && word->n_bytes == n_bytes && memcmp(word->bytes, text, n_bytes) == 0) {
        BAL_TRY(bal_ids_reserve(&work->ids, word->n_tokens));
        memcpy(work->ids.data + work->ids.n, word->tokens, word->n_tokens * sizeof *word->tokens);
        work->ids.n += word->n_tokens;
        return BAL_OK;
    }
    int64_t before = work->ids.n;
    BAL_TRY(encode(work, text, n_bytes));
    int64_t n = work->ids.n - before;
    if (word == NULL || n > WORD_TOKENS_MAX) return BAL_OK;
    word->n_bytes = (uint8_t)n_bytes;
    word->n_tokens = (uint8_t)n;
    memcpy(word->bytes, text, n_bytes);
    memcpy(word->tokens, work->ids.data + before, (size_t)n * sizeof *word->tokens);
    return BAL_OK;
}
