/* include/ballot/answer.h: answers that a model writes, at its code and at both sides of a
 * direction. Knows prompts and grades; knows nothing of texts, votes or ranks. */
#ifndef BALLOT_ANSWER_H
#define BALLOT_ANSWER_H

#include "ballot/batch.h"
#include "ballot/model.h"
#include "ballot/perturb.h"

BAL_C_BEGIN

typedef struct bal_answerer bal_answerer; /* work space; not for two threads at once */

/** Make one for the model of a forward pass, which it borrows. Local. @return BAL_OK;
 *  BAL_ERR_CONFIG: an encoder, which cannot continue a text; BAL_ERR_MEMORY. */
bal_status bal_answerer_create(bal_forward *forward, bal_answerer **answerer);
/** Free it and set the pointer to NULL; NULL is fine. Local. */
void bal_answerer_destroy(bal_answerer **answerer);

/** Bytes that one takes at n_signs, 1 or 2, of texts of max_length tokens; the model need only be
 *  outlined. Local. */
size_t bal_answerer_bytes(const bal_model *model, int64_t max_length, int n_signs);

/**
 * Let the model answer the questions of a batch, which comes from a data set with bal_writing: the
 * likeliest word each time, of equal ones the first, until the data set says that one ends the
 * answer. Prompts are read once. Several questions, at both sides of a direction, are answered at
 * once; of integer models what is written depends on its prompt and the codes alone. Local.
 * @param batch      its prompts have the same parent, or none
 * @param beginning  what the batch continues, see bal_batch.continues; else NULL
 * @param direction  a direction over the model's codes, if it is an integer model; or NULL
 * @param grades     set to [2][n_questions], or [1], at the points of bal_forward_losses
 * @param words      set to [n_questions][max_words]: the answers, at + if there is a direction;
 *                   -1 after their ends; NULL: not wanted
 * @return BAL_OK; BAL_ERR_NUMERIC: a logit is not finite; BAL_ERR_MEMORY.
 */
bal_status bal_answerer_answer(bal_answerer *answerer, const bal_dataset *data,
                               const bal_batch *batch, const bal_cache *beginning,
                               const bal_direction *direction, bal_grade *grades, int32_t *words);

BAL_C_END

#endif
