/* include/ballot/source.h: opens a model wherever a user has it: a Hugging Face folder or cache, a
 * GGUF file, a llama2.c folder or file, a checkpoint, or a run. Knows what a path leads to; knows
 * nothing of jobs or ranks. */
#ifndef BALLOT_SOURCE_H
#define BALLOT_SOURCE_H

#include "ballot/core.h"
#include "ballot/hub.h"
#include "ballot/model.h"

BAL_C_BEGIN

#define BAL_SOURCE_PATH_BYTES 4096

/**
 * Find the file or folder that a path leads to. A run directory leads to its best checkpoint, or
 * else to its latest. A model in the cache of huggingface_hub leads to its snapshot, and anything
 * else to itself. The functions below resolve their paths, and log it if one leads elsewhere.
 * Local.
 * @return BAL_OK; BAL_ERR_INPUT: there is no checkpoint or snapshot, or several to choose from.
 */
bal_status bal_source_resolve(const char *path, char found[BAL_SOURCE_PATH_BYTES]);

/** What to make of the model that is opened. */
typedef struct bal_source_options {
    bal_formats formats; /* of the model made; BAL_F32 dequantizes a checkpoint */
    bool keep_formats;   /* a checkpoint keeps its own formats; formats is ignored */
    bal_states *states;  /* those wanted, by name; filled, in memory of their own, for
                            bal_states_clear; NULL: none */
    bool keep_states;    /* a checkpoint's own states replace those named in states */
    const char *base;    /* path of the base, if the model has one; NULL: where it says */
} bal_source_options;

#define BAL_BASE_FILE                                                             \
    "ballot.json" /* in a folder whose model has a base: {"base": path of it}, in \
                     the folder */

/** Read a model, ready for use, and the base that reads prompts for it, if it has one. Local.
 *  @param bundle  made; for bal_bundle_clear
 *  @return BAL_OK; errors of bal_hub_load and bal_checkpoint_read; BAL_ERR_CONFIG: a checkpoint has
 *          other formats than those asked for, or its base is another model by now. */
bal_status bal_source_open(const char *path, const bal_source_options *options, bal_bundle *bundle);

/** Read a model and round it to formats. The weights of a checkpoint are dequantized first. Local.
 *  Errors as above.
 *  @param fill  states: those wanted, by name; filled, in memory of their own, for
 *               bal_states_clear. balance: see bal_fill. rounding: made, [n_tensors], for free():
 *               what rounding changed; all 0 for gains */
bal_status bal_source_round(const char *path, const bal_formats *formats, bal_bundle *bundle,
                            bal_fill *fill);

/* The same in two halves, for a model in the caller's memory. */

/** Read everything but the weights. The model is outlined (bal_model_outline), in a checkpoint's
 *  own formats if BAL_F32 is asked for. States get no memory. Local. Errors as above. */
bal_status bal_source_outline(const char *path, const bal_source_options *options,
                              bal_bundle *bundle);
/** Read the weights into the model, and the states of its codes, once both have memory. Real
 *  numbers start as 0: they belong to the run that has written them. Local. Errors as above.
 *  @param states  NULL: none */
bal_status bal_source_fill(const char *path, bal_model *model, bal_states *states);

BAL_C_END

#endif
