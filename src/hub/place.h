/* place.h: where the weights of a path are, and in which layout. */
#ifndef BALLOT_HUB_PLACE_H
#define BALLOT_HUB_PLACE_H

#include <limits.h>

#include "hub_impl.h"

typedef enum bal_hub_layout {
    BAL_HUB_HUGGING_FACE,
    BAL_HUB_LLAMA2C,
    BAL_HUB_GGUF,
    BAL_HUB_N_LAYOUTS
} bal_hub_layout;

typedef struct bal_hub_place {
    bal_hub_layout layout;
    char dir[PATH_MAX];
    char weights[PATH_MAX]; /* the file, if all is in one */
} bal_hub_place;

/** @return BAL_OK: the path is such a model, or does not exist; BAL_ERR_INPUT. */
bal_status bal_hub_place_find(const char *path, bal_hub_place *place);
/** Add the files beside the weights. If there are several tok*.bin, none is taken. @return BAL_OK;
 *  BAL_ERR_INPUT; BAL_ERR_MEMORY. */
bal_status bal_hub_place_files(const bal_hub_place *place, bal_files *files);

#endif
