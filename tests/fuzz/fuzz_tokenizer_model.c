/* fuzz_tokenizer_model.c: any bytes as a tokenizer.model of SentencePiece, and as the text that it
 * splits. */
#include "fuzz_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    bal_named_bytes file = {.name = "tokenizer.model", .n_bytes = n_bytes};
    file.bytes           = fuzz_copy(bytes, n_bytes);
    fuzz_tokenizer(&(bal_files){1, &file}, 0, bytes, n_bytes);
    free(file.bytes);
    return 0;
}
