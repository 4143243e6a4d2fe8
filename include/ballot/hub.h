/* include/ballot/hub.h: other people's model files, read and written: Hugging Face folders and
 * llama2.c files. Knows file layouts and what families call things; knows nothing of training. */
#ifndef BALLOT_HUB_H
#define BALLOT_HUB_H

#include "ballot/core.h"
#include "ballot/model.h"
#include "ballot/states.h"
#include "ballot/text.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Everything that a model folder holds. {0}: nothing. */
typedef struct bal_bundle {
    bal_model *model;
    bal_tokenizer *tokenizer;
    bal_files files; /* beside the weights: config.json and all that a tokenizer reads */
} bal_bundle;
void bal_bundle_clear(bal_bundle *bundle);

/**
 * Read a model and its tokenizer, tensor by tensor from mapped files, quantizing as it goes. Local.
 * @param path  a Hugging Face folder (config.json of a family of ours, weights in safetensors or
 *              pytorch_model.bin, whole or in several files with their index, in F32, F16 or BF16,
 *              and tokenizer files); a llama2.c folder (one *.bin model beside tok*.bin); or a
 *              llama2.c file, v0 or v1 (tokenizer: tokenizer.bin or the only tok*.bin beside it)
 * @param formats  of the model made
 * @param bundle   made; for bal_bundle_clear
 * @return BAL_OK; BAL_ERR_INPUT: missing, short, damaged, unsupported, or parts that do not fit
 *         together; the message names file, place, what was found and expected; BAL_ERR_CONFIG:
 *         formats do not fit the model; BAL_ERR_MEMORY.
 */
bal_status bal_hub_load(const char *path, const bal_formats *formats, bal_bundle *bundle);
/** The first half of bal_hub_load: the tokenizer, and the model outlined (bal_model_outline). The
 *  weights are known to be there, in their shapes, but not read. Local. Errors as above. */
bal_status bal_hub_outline(const char *path, const bal_formats *formats, bal_bundle *bundle);
/** What rounding changed in a tensor. */
typedef struct bal_rounding {
    double rms;      /* root mean square of the weights */
    double error;    /* root mean square of what they were changed by */
    double greatest; /* the largest change */
} bal_rounding;
/** What a tensor's codes are off the values that they were made of, [n_rows * n_cols] row-major;
 * row has room for n_cols. Local. */
bal_rounding bal_rounding_of(const bal_tensor *tensor, const float *values, float *row);
/** The second half: read the weights into the model, once it is attached to memory. Local. Errors
 *  as above, and BAL_ERR_INPUT: the files have another shape than the model.
 *  @param states    of the model's tensors, in memory: 0, or what rounding left over, as each says;
 *                   or NULL
 *  @param rounding  [n_tensors], set but for gains; or NULL */
bal_status bal_hub_fill(const char *path, bal_model *model, bal_states *states,
                        bal_rounding *rounding);
/** What a model folder or file is called by users: "llama2.c v0", "llama2.c v1", "Hugging Face". */
const char *bal_hub_kind(const char *path);

/** How the weights of an exported folder are stored. */
typedef enum bal_export_dtype { BAL_EXPORT_F32, BAL_EXPORT_BF16, BAL_EXPORT_F16 } bal_export_dtype;

typedef struct bal_export_options {
    bal_export_dtype dtype;
    const char *base; /* folder that the model was made from, or NULL */
} bal_export_options;

/**
 * Write a bundle as a Hugging Face folder of its family: model.safetensors, dequantized with gains;
 * config.json, its own with the new dtype and without quantization_config; and its other files as
 * they are. A model without config.json, one of llama2.c, becomes a LlamaForCausalLM, its query and
 * key rows reordered for half-pair rotary positions. Floats of F32 are written as they are; BF16
 * and F16 are rounded to nearest, ties to even.
 *
 * With a base, the file has the tensors of the base's under the base's names. Those that have not
 * changed since the base was quantized, that is, whose codes, scales and factors are what
 * quantizing the base gives now and whose gains are 0, are copied in bytes and dtype, as are
 * tensors that are no part of the model.
 *
 * Read back as floats, a folder of F32 has exactly the dequantized weights. Rounded to int8 once
 * more, those of a model that was only rounded get the same codes, and scales that differ in the
 * last bit at most; in four bits some rows move, for their largest weight need not be the largest
 * entry of the format (1 % of the rows of small random models for i4, 9 % for nf4); gains, and
 * codes that were trained, move scales anyway.
 *
 * The folder is made if it does not exist. No file in it is overwritten, and either all files
 * appear or none does. Local. Float memory: two tensors of the file at most.
 * @return BAL_OK; BAL_ERR_IO; BAL_ERR_STATE: dir has a file of such a folder already;
 * BAL_ERR_INPUT: the base does not fit the model or is damaged, or config.json does not fit it;
 *         BAL_ERR_NUMERIC: a value is too large for the dtype; BAL_ERR_MEMORY.
 */
bal_status bal_hub_export(const bal_bundle *bundle, const bal_export_options *options,
                          const char *dir);

/** How the matrices of a GGUF file are stored: F16, or blocks of 32 with a scale. */
typedef enum bal_export_gguf {
    BAL_EXPORT_GGUF_Q8_0,
    BAL_EXPORT_GGUF_Q4_0,
    BAL_EXPORT_GGUF_F16
} bal_export_gguf;

/**
 * Write a bundle as a GGUF file of version 3, weights and tokenizer, for llama.cpp: architecture
 * llama of LLaMA, Vicuna, Mistral and llama2.c models, qwen2, qwen3 or gpt2. Matrices are rounded
 * from dequantized weights with gains exactly as ggml does; vectors are F32, as are learned
 * positions; rows whose length is no multiple of 32 are F16. A sliding window is written down, but
 * llama.cpp does not look at it: its results are those of the model for texts of that length.
 * The file is not overwritten, and appears when it is whole. Local. Float memory: two tensors.
 * @return BAL_OK; BAL_ERR_CONFIG: a family, or a setting of its, that llama.cpp does not have;
 *         BAL_ERR_INPUT: the same of a tokenizer; BAL_ERR_IO; BAL_ERR_STATE: the file is there;
 *         BAL_ERR_NUMERIC: a value is too large for F16; BAL_ERR_MEMORY.
 */
bal_status bal_hub_export_gguf(const bal_bundle *bundle, bal_export_gguf kind, const char *path);

#ifdef __cplusplus
}
#endif

#endif
