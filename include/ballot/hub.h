/* include/ballot/hub.h: reads and writes the model files of others: Hugging Face folders, llama2.c
 * files, GGUF files. Knows file layouts and the names that families use; knows nothing of training.
 */
#ifndef BALLOT_HUB_H
#define BALLOT_HUB_H

#include "ballot/balance.h"
#include "ballot/core.h"
#include "ballot/model.h"
#include "ballot/states.h"
#include "ballot/text.h"

BAL_C_BEGIN

/** All that a model folder holds. {0}: nothing. */
typedef struct bal_bundle {
    bal_model *model;
    bal_tokenizer *tokenizer;
    bal_files files; /* beside the weights: config.json and the tokenizer's files */
    bal_base_id base_id;
    bal_model *base; /* if it has one and the model is ready for use */
} bal_bundle;
void bal_bundle_clear(bal_bundle *bundle);

/**
 * Read a model and its tokenizer, piece by piece from mapped files, quantizing as it goes: at no
 * time is a tensor whole in floats (bal_piece). Local.
 * @param path  a Hugging Face folder (config.json of a family of ours, weights in safetensors or
 *              pytorch_model.bin, whole or in several files with their index, in F32, F16 or BF16,
 *              and tokenizer files); a GGUF file, or a folder with one (an architecture of ours
 *              in F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K to Q6_K or IQ4_NL; its
 *              tokenizer comes from its own metadata); a llama2.c folder (one *.bin model beside
 *              tok*.bin); or a llama2.c file, v0 or v1 (tokenizer: tokenizer.bin or the only
 *              tok*.bin beside it)
 * @param formats  of the model made
 * @param bundle   made; for bal_bundle_clear
 * @return BAL_OK; BAL_ERR_INPUT: missing, short, damaged or unsupported, or parts do not fit
 *         together (the message names file and place, what was found and what was expected);
 *         BAL_ERR_CONFIG: formats do not fit the model; BAL_ERR_MEMORY.
 */
bal_status bal_hub_load(const char *path, const bal_formats *formats, bal_bundle *bundle);
/** The first half of bal_hub_load: the tokenizer, and the outlined model (bal_model_outline).
 *  Checks that the weights are there, in their shapes, but does not read them. Local. Errors as
 *  above. */
bal_status bal_hub_outline(const char *path, const bal_formats *formats, bal_bundle *bundle);
/** What rounding changed in a tensor. */
typedef struct bal_rounding {
    double rms;      /* root mean square of the weights */
    double error;    /* root mean square of the changes */
    double greatest; /* the largest change */
} bal_rounding;
/** What bal_hub_fill is to take and to give beside the weights. {0}: nothing. */
typedef struct bal_fill {
    bal_states *states;   /* of the model's tensors, in memory: 0, or what rounding left over, as
                             each says; or NULL */
    bal_balance *balance; /* of a text that weights are rounded for, settled afterwards; or NULL */
    bal_rounding *rounding; /* [n_tensors] of 0, set but for gains; or NULL */
} bal_fill;
/** Round a piece of a model as bal_model_formats says; pieces come in order (bal_tensors_next).
 *  Local. @param values  of the piece, row-major; scaled by the balance, if there is one
 *  @return errors of bal_tensor_fit; BAL_ERR_MEMORY. */
bal_status bal_hub_round(bal_model *model, const bal_piece *piece, float *values,
                         const bal_fill *fill);
/** The second half: read the weights into the model, once it is attached to memory. Local. Errors
 *  as above, and BAL_ERR_INPUT: the files have another shape than the model. */
bal_status bal_hub_fill(const char *path, bal_model *model, const bal_fill *fill);
/** The kind of a model folder or file, in words: "llama2.c v0", "llama2.c v1", "Hugging Face".
 *  Local. */
const char *bal_hub_kind(const char *path);

/** How the weights of an exported folder are stored. */
typedef enum bal_export_dtype { BAL_EXPORT_F32, BAL_EXPORT_BF16, BAL_EXPORT_F16 } bal_export_dtype;

typedef struct bal_export_options {
    bal_export_dtype dtype;
    const char *base; /* folder that the model was made from; NULL: unknown */
} bal_export_options;

/**
 * Write a bundle as a Hugging Face folder of its family. model.safetensors has the dequantized
 * weights, gains applied. config.json is the bundle's own, with the new dtype and without
 * quantization_config. The other files are copied. A llama2.c model has no config.json and becomes
 * a LlamaForCausalLM; its query and key rows are reordered for half-pair rotary positions. Floats
 * are written as they are to F32, and rounded to nearest, ties to even, to BF16 and F16.
 *
 * With a base, the file has the base's tensors under the base's names. A tensor counts as unchanged
 * if quantizing the base gives its codes, scales and factors now, and its gains are 0. Unchanged
 * tensors, and those that are not part of the model, keep the base's bytes and dtype. A model that
 * was rounded for a text has no base, as the balance went into its tensors.
 *
 * An F32 folder, read back as floats, has exactly the dequantized weights. If a model was only
 * rounded, rounding its folder to int8 again gives the same codes, and scales equal to the last bit
 * or one off. In four bits some rows move, because their largest weight need not be the format's
 * largest entry (1 % of the rows of small random models for i4, 9 % for nf4). Gains and trained
 * codes move scales in any case.
 *
 * The folder is made if it does not exist. No file in it is overwritten, and either all files
 * appear or none. Takes at most two tensors of the file as floats. Local.
 * @return BAL_OK; BAL_ERR_IO; BAL_ERR_STATE: dir already has a file of such a folder;
 *         BAL_ERR_INPUT: the base is damaged, or the base or config.json does not fit the model;
 *         BAL_ERR_NUMERIC: a value is too large for the dtype; BAL_ERR_MEMORY.
 */
bal_status bal_hub_export(const bal_bundle *bundle, const bal_export_options *options,
                          const char *dir);

/** How matrices are stored in a GGUF file: F16, or blocks of 32 with a scale. */
typedef enum bal_export_gguf {
    BAL_EXPORT_GGUF_Q8_0,
    BAL_EXPORT_GGUF_Q4_0,
    BAL_EXPORT_GGUF_F16
} bal_export_gguf;

/**
 * Write a bundle, weights and tokenizer, as a GGUF file of version 3 for llama.cpp. The
 * architecture is llama for LLaMA, Vicuna, Mistral and llama2.c models, else qwen2, qwen3 or gpt2.
 * Matrices are dequantized with gains and rounded exactly as ggml does. Vectors and learned
 * positions are F32; rows whose length is no multiple of 32 are F16. llama.cpp ignores a sliding
 * window: for texts within the window its results are those of the model. No file is overwritten,
 * and the file appears when it is complete. Takes at most two tensors as floats. Local.
 * @return BAL_OK; BAL_ERR_CONFIG: llama.cpp does not have the family or one of its settings;
 *         BAL_ERR_INPUT: it does not have the tokenizer; BAL_ERR_IO; BAL_ERR_STATE: the file is
 *         there; BAL_ERR_NUMERIC: a value is too large for F16; BAL_ERR_MEMORY.
 */
bal_status bal_hub_export_gguf(const bal_bundle *bundle, bal_export_gguf kind, const char *path);

BAL_C_END

#endif
