/* include/ballot/source.h: a model from wherever a user has it: a Hugging Face folder or cache, a
 * llama2.c folder or file, a checkpoint, or a run. Knows what a path leads to; knows nothing of
 * jobs or ranks. */
#ifndef BALLOT_SOURCE_H
#define BALLOT_SOURCE_H

#include "ballot/core.h"
#include "ballot/hub.h"
#include "ballot/model.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BAL_SOURCE_PATH_BYTES 4096

/**
 * The file or folder that a path leads to. A run directory leads to its best checkpoint, else to
 * its latest; a model in the cache of huggingface_hub to its snapshot; anything else to itself. The
 * functions below resolve their paths, and the log has a line where one leads elsewhere. Local.
 * @return BAL_OK; BAL_ERR_INPUT: there is nothing yet, or nothing that is the only one.
 */
bal_status bal_source_resolve(const char *path, char found[BAL_SOURCE_PATH_BYTES]);

/** What to make of a model. */
typedef struct bal_source_options {
    bal_formats formats; /* of the model made; BAL_F32 of a checkpoint: its weights, dequantized */
    bool keep_formats;   /* a checkpoint keeps its own formats, whatever formats says */
    bal_states *states;  /* filled with the model, in memory of their own, for bal_states_clear;
                            NULL: none */
    bool keep_states;    /* of a checkpoint they are its own, whatever states says */
} bal_source_options;

/** Read a model, ready to work with. Local.
 *  @param bundle  made; for bal_bundle_clear
 *  @return BAL_OK; errors of bal_hub_load and bal_checkpoint_read; BAL_ERR_CONFIG also where a
 *          checkpoint has other formats than those asked for. */
bal_status bal_source_open(const char *path, const bal_source_options *options, bal_bundle *bundle);

/** Read a model and round it to formats; a checkpoint's weights are dequantized first. Local.
 * Errors as above.
 *  @param states    made for it, in memory of their own, for bal_states_clear
 *  @param rounding  [n_tensors] for free(): what it changed; all 0 for gains */
bal_status bal_source_round(const char *path, const bal_formats *formats, bal_bundle *bundle,
                            bal_states *states, bal_rounding **rounding);

/* The same in two halves, for a model in memory of the caller. */

/** Everything but the weights: the model is outlined (bal_model_outline), in a checkpoint's own
 *  formats if BAL_F32 is asked for; states get no memory. Local. Errors as above. */
bal_status bal_source_outline(const char *path, const bal_source_options *options,
                              bal_bundle *bundle);
/** Read the weights into the model, and what belongs to them into the states, once all have memory.
 *  Local. @param states  NULL: none @return errors as above */
bal_status bal_source_fill(const char *path, bal_model *model, bal_states *states);

#ifdef __cplusplus
}
#endif

#endif
