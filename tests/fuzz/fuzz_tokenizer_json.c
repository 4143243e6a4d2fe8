/* fuzz_tokenizer_json.c: any bytes as a tokenizer.json, and as the text that it splits. */
#include "fuzz_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    fuzz_tokenizer_file("tokenizer.json", 1000, bytes, n_bytes);
    return 0;
}
