/* include/ballot/hub.h: other people's model files, read and written: Hugging Face folders and
 * llama2.c files. Knows file layouts and what families call things; knows nothing of training. */
#ifndef BALLOT_HUB_H
#define BALLOT_HUB_H

#include "ballot/model.h"
#include "ballot/text.h"

/** Everything that a model folder holds. {0}: nothing. */
typedef struct bal_bundle {
    bal_model     *model;
    bal_tokenizer *tokenizer;
    bal_files      files; /* beside the weights: config.json and all that a tokenizer reads */
} bal_bundle;
void bal_bundle_clear(bal_bundle *bundle);

/**
 * Read a model and its tokenizer, tensor by tensor from mapped files, quantizing as it goes. Local.
 * @param path  a Hugging Face folder (config.json of a family of ours, weights in safetensors or
 *              pytorch_model.bin, whole or in several files with their index, in F32, F16 or BF16,
 *              and tokenizer files); a llama2.c folder (one *.bin model beside tok*.bin); or a
 *              llama2.c file, v0 or v1 (tokenizer: tokenizer.bin or the only tok*.bin beside it)
 * @param formats     of the model made
 * @param with_carry  make carries, holding what rounding left over
 * @param bundle      made; for bal_bundle_clear
 * @return BAL_OK; BAL_ERR_INPUT: missing, short, damaged, unsupported, or parts that do not fit
 *         together; the sentence names file, place, what was found and expected; BAL_ERR_CONFIG:
 *         formats do not fit the model; BAL_ERR_MEMORY.
 */
bal_status bal_hub_load(const char *path, const bal_formats *formats, bool with_carry,
                        bal_bundle *bundle);
/** The first half of bal_hub_load: the tokenizer, and the model outlined (bal_model_outline). The
 *  weights are known to be there, in their shapes, but not read. Local. Errors as above. */
bal_status bal_hub_outline(const char *path, const bal_formats *formats, bool with_carry,
                           bal_bundle *bundle);
/** What rounding changed in a tensor. */
typedef struct bal_rounding {
    double rms;      /* root mean square of the weights */
    double error;    /* root mean square of what they were changed by */
    double greatest; /* the largest change */
} bal_rounding;
/** The second half: read the weights into the model, once it is attached to memory. Local. Errors
 *  as above, and BAL_ERR_INPUT: the files have another shape than the model.
 *  @param rounding  [n_tensors], set but for gains; or NULL */
bal_status bal_hub_fill(const char *path, bal_model *model, bal_rounding *rounding);
/** True if path is a folder or file that bal_hub_load would try to read (by name and first bytes),
 *  not a ballot checkpoint. Local. */
bool bal_hub_recognizes(const char *path);

/** What a model folder or file is called by users: "llama2.c v0", "llama2.c v1", "Hugging Face". */
const char *bal_hub_kind(const char *path);

/**
 * Write the model as a Hugging Face folder of LlamaForCausalLM: config.json, model.safetensors
 * (F32, dequantized with gains), and the tokenizer's own file (tokenizer.json or tokenizer.bin).
 * Query and key rows of adjacent-pair models are reordered for half-pair rotary positions. The
 * folder is made if it does not exist; files in it are never overwritten. Local.
 * @return BAL_OK; BAL_ERR_IO; BAL_ERR_STATE: a file is already there; BAL_ERR_MEMORY.
 */
bal_status bal_hub_export(const bal_model *model, const bal_tokenizer *tokenizer, const char *dir);

#endif
