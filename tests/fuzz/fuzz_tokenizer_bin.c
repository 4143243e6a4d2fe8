/* fuzz_tokenizer_bin.c: any bytes as a tokenizer.bin, and as the text that it splits. */
#include "fuzz_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

/* The model has as many tokens as the file seems to, so that files of any size can be whole. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    int64_t n_vocab = 0;
    for (size_t at = 4; at + 8 <= n_bytes; ++n_vocab) {
        int32_t n;
        memcpy(&n, bytes + at + 4, sizeof n);
        if (n < 0 || (size_t)n > n_bytes - at - 8) break;
        at += 8 + (size_t)n;
    }
    fuzz_tokenizer_file("tokenizer.bin", n_vocab > 0 ? n_vocab : 1, bytes, n_bytes);
    return 0;
}
