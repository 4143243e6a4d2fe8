/* tokenizer.h: a tokenizer from a file on disk, and lines of text to try it on. */
#ifndef BALLOT_TEST_TOKENIZER_H
#define BALLOT_TEST_TOKENIZER_H

#include <stdio.h>

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

/** The bytes of a line in which \\, \n, \r and \xHH stand for what it cannot show; to may be line.
 */
static inline size_t bal_test_unescape(const char *line, size_t n_bytes, char *to)
{
    size_t n = 0;
    for (size_t i = 0; i < n_bytes; ++i) {
        char c = line[i];
        unsigned byte;
        if (c == '\\' && line[++i] == 'x' && sscanf(line + i + 1, "%2x", &byte) == 1) {
            c = (char)byte;
            i += 2;
        } else if (c == '\\') {
            c = line[i] == 'n' ? '\n' : line[i] == 'r' ? '\r' : line[i];
        }
        to[n++] = c;
    }
    return n;
}

#endif
