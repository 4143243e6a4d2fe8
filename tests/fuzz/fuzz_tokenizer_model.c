/* fuzz_tokenizer_model.c: any bytes as a tokenizer.model of SentencePiece, and as the text that it
 * splits. */
#include "fuzz_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    fuzz_tokenizer_file("tokenizer.model", 1000, bytes, n_bytes);
    return 0;
}
