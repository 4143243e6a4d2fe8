/* data_impl.h: what stands in a text file, before it is tokens. */
#ifndef BALLOT_DATA_IMPL_H
#define BALLOT_DATA_IMPL_H

#include "ballot/data.h"

/* encoding.c */

/** Refuse a file that is plainly not text in UTF-8. A text with bytes that are 0, or with many that
 *  are no UTF-8, passes with a warning. @return BAL_OK; BAL_ERR_INPUT: says what it looks like. */
bal_status bal_text_check(const char *path, const char *bytes, size_t n_bytes);
/** Warn if most lines end with CR LF. */
void bal_text_tell_returns(const char *path, const char *bytes, size_t n_bytes);

/* documents.c */

/** The documents of a text, one after the other. */
typedef struct bal_documents {
    const char *at, *end; /* what is left of it */
    bool as_0_1;          /* see bal_corpus_options */
    char *copy;           /* of a document, where its lines end otherwise */
    size_t capacity;
    const char *text; /* the document, borrowed until the next one */
    size_t n_bytes;
} bal_documents;

bal_documents bal_documents_of(const char *text, size_t n_bytes, bool as_0_1);
/** Go to the next document. @param n_bytes  of it; 0: there is none. @return BAL_OK;
 *  BAL_ERR_MEMORY. */
bal_status bal_documents_next(bal_documents *documents);
void bal_documents_clear(bal_documents *documents);

#endif
