/* fuzz_tokenizer_json.c: any bytes as a tokenizer.json, and as the text that it splits. */
#include "fuzz_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    if (n_bytes < 1) return 0;
    bal_named_bytes file = {.name = "tokenizer.json", .n_bytes = n_bytes - 1};
    file.bytes           = fuzz_copy(bytes + 1, n_bytes - 1);
    fuzz_tokenizer(&(bal_files){1, &file}, bytes[0], bytes, n_bytes);
    free(file.bytes);
    return 0;
}
