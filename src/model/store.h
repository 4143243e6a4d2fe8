/* store.h: what was computed of texts, found by their tokens. */
#ifndef BALLOT_STORE_H
#define BALLOT_STORE_H

#include "ballot/model.h"

/** What an entry is of: the last n_own tokens of a text of n. */
typedef struct bal_text {
    const int32_t *tokens;  /* [n] */
    int64_t n, n_own, kind; /* kind: 0 or 1, of its values */
} bal_text;

/** Bytes that an entry takes. */
uint64_t bal_store_entry_bytes(int64_t n_tokens, int64_t n_values);
/** The values of an entry, which stay there; NULL: it is not there, or not what it was. */
const float *bal_store_find(bal_store *store, const bal_text *text, int64_t n_values);
/** Add an entry, if there is room. */
void bal_store_add(bal_store *store, const bal_text *text, const float *values, int64_t n_values);

#endif
