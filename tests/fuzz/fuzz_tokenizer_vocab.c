/* fuzz_tokenizer_vocab.c: any bytes as vocab.json, merges.txt and tokenizer_config.json, cut at
 * bytes 0xFF, or, where there is none, as vocab.txt; and as the text that they split. */
#include "fuzz_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    static const char *const names[] = {"vocab.json", "merges.txt", "tokenizer_config.json"};
    bal_named_bytes at[3] = {0};
    bal_files files = {0, at};
    const uint8_t *from = bytes, *end = bytes + n_bytes, *cut = NULL;
    do {
        cut = files.n < 2 && from < end ? memchr(from, 0xff, (size_t)(end - from)) : NULL;
        bal_named_bytes *file = &at[files.n];
        file->n_bytes = (size_t)((cut != NULL ? cut : end) - from);
        file->bytes = fuzz_copy(from, file->n_bytes);
        snprintf(file->name, sizeof file->name, "%s", names[files.n++]);
        if (cut != NULL) from = cut + 1;
    } while (cut != NULL);
    if (files.n == 1) snprintf(at[0].name, sizeof at[0].name, "vocab.txt");
    fuzz_tokenizer(&files, 1000, bytes, n_bytes);
    for (int i = 0; i < files.n; ++i) free(at[i].bytes);
    return 0;
}
