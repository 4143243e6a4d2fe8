/* fuzz_tokenizer.h: what the targets of tokenizer files share. */
#ifndef BALLOT_FUZZ_TOKENIZER_H
#define BALLOT_FUZZ_TOKENIZER_H

#include <stdlib.h>
#include <string.h>

#include "ballot/text.h"

/* Bytes of exactly that size, so that a read beyond them is seen. */
static uint8_t *fuzz_copy(const uint8_t *bytes, size_t n_bytes)
{
    uint8_t *copy = malloc(n_bytes > 0 ? n_bytes : 1);
    if (copy == NULL) abort();
    if (n_bytes > 0) memcpy(copy, bytes, n_bytes);
    return copy;
}

/* Make a tokenizer, and if that is one, split a text and join it again. */
static void fuzz_tokenizer(const bal_files *files, int64_t n_vocab, const uint8_t *text,
                           size_t n_bytes)
{
    bal_tokenizer *tokenizer = NULL;
    if (bal_tokenizer_create(files, n_vocab, "DIR", &tokenizer) != BAL_OK) return;
    int32_t *tokens;
    int64_t n_tokens;
    bal_status status = bal_tokenizer_encode(tokenizer, (const char *)text,
                                             n_bytes < 4096 ? n_bytes : 4096, &tokens, &n_tokens);
    if (status == BAL_OK) {
        char *joined;
        size_t n_joined;
        for (int64_t i = 0; i < n_tokens; ++i)
            if (tokens[i] < 0 || tokens[i] >= bal_tokenizer_n_vocab(tokenizer)) abort();
        status = bal_tokenizer_decode(tokenizer, tokens, n_tokens, &joined, &n_joined);
        if (status == BAL_OK) free(joined);
        free(tokens);
    }
    if (status != BAL_OK && status != BAL_ERR_INPUT) abort();
    bal_tokenizer_destroy(&tokenizer);
}

/* The same with one file. */
__attribute__((unused)) static void fuzz_tokenizer_file(const char *name, int64_t n_vocab,
                                                        const uint8_t *bytes, size_t n_bytes)
{
    bal_named_bytes file = {.bytes = fuzz_copy(bytes, n_bytes), .n_bytes = n_bytes};
    snprintf(file.name, sizeof file.name, "%s", name);
    fuzz_tokenizer(&(bal_files){1, &file}, n_vocab, bytes, n_bytes);
    free(file.bytes);
}

#endif
