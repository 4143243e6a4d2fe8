/* answerer.h: answers that a model writes, word by word. */
#ifndef BALLOT_ANSWERER_H
#define BALLOT_ANSWERER_H

#include "ballot/batch.h"
#include "ballot/model.h"

/* Work space, and the keys of the prompt read last: a prompt that begins as it did is read from
 * where they part. */
typedef struct bal_answerer {
    bal_forward *forward;
    bal_cache *cache;
    int64_t max_length;
    int32_t *tokens; /* [max_length] those in the cache, then the answer */
    float *logits;   /* [n_vocab] */
} bal_answerer;

/** Local. @param forward  borrowed @return BAL_OK; BAL_ERR_CONFIG: an encoder; BAL_ERR_MEMORY. */
bal_status bal_answerer_init(bal_answerer *answerer, bal_forward *forward);
void bal_answerer_clear(bal_answerer *answerer);
/** Let the model answer question number at of a batch, example index: the likeliest word each time.
 *  Local. */
bal_status bal_answerer_answer(bal_answerer *answerer, const bal_dataset *data,
                               const bal_batch *batch, int64_t at, int64_t index, bal_grade *grade);

#endif
