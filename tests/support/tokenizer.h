/* tokenizer.h: a tokenizer from a file on disk. */
#ifndef BALLOT_TEST_TOKENIZER_H
#define BALLOT_TEST_TOKENIZER_H

#include "ballot/text.h"

/** The tokenizer of a file that stands under name beside a model. */
static inline bal_status bal_test_tokenizer(const char *path, const char *name, int64_t n_vocab,
                                            bal_tokenizer **tokenizer)
{
    bal_mapping file;
    bal_files files = {0};
    BAL_TRY(bal_mapping_open(path, &file));
    bal_status status = bal_files_add(&files, name, file.data, file.n_bytes);
    if (status == BAL_OK) status = bal_tokenizer_create(&files, n_vocab, path, tokenizer);
    bal_files_clear(&files);
    bal_mapping_close(&file);
    return status;
}

#endif
