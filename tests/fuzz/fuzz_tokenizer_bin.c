/* fuzz_tokenizer_bin.c: any bytes as a tokenizer.bin, and as the text that it splits. */
#include <stdlib.h>

#include "ballot/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

/* The first byte is the model's vocabulary, so that short files can be whole. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    if (n_bytes < 1) return 0;
    bal_tokenizer *tokenizer = NULL;
    if (bal_tokenizer_create(BAL_TOKENIZER_LLAMA2C, bytes + 1, n_bytes - 1, 1 + bytes[0], "FILE",
                             &tokenizer) != BAL_OK)
        return 0;
    int32_t *tokens;
    int64_t  n_tokens;
    if (bal_tokenizer_encode(tokenizer, (const char *)bytes, n_bytes, &tokens, &n_tokens) ==
        BAL_OK) {
        char  *text;
        size_t n_text;
        if (bal_tokenizer_decode(tokenizer, tokens, n_tokens, &text, &n_text) != BAL_OK) abort();
        free(text);
        free(tokens);
    }
    bal_tokenizer_destroy(&tokenizer);
    return 0;
}
