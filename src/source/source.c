/* source.c: which reader a path is for, and the formats of what was read. */
#include <string.h>

#include "ballot/quant.h"
#include "ballot/record.h"
#include "ballot/source.h"

/* A checkpoint has the formats that were asked for. */
static bal_status compare_formats(const char *path, const bal_formats *asked,
                                  const bal_model *model)
{
    const bal_formats *has = bal_model_formats(model);
    bool same = has->matrices == asked->matrices && strcmp(has->patterns, asked->patterns) == 0 &&
                (!bal_format_is_nibbles(has->matrices) || has->group == asked->group);
    if (same) return BAL_OK;
    return bal_fail(BAL_ERR_CONFIG,
                    "%s: a checkpoint with [model] codes = %s, group = %d, formats = %s; asked for "
                    "are codes = %s, group = %d, formats = %s: say the same, or start from a model "
                    "of floats",
                    path, bal_format_name(has->matrices), has->group, has->patterns,
                    bal_format_name(asked->matrices), asked->group, asked->patterns);
}

static bal_status outline_checkpoint(const char *path, const bal_source_options *options,
                                     bal_bundle *bundle)
{
    bal_snapshot snapshot;
    BAL_TRY(bal_checkpoint_outline(path, options->with_carry, &snapshot));
    bal_status status = BAL_OK;
    if (!options->keep_formats && options->formats.matrices != BAL_F32)
        status = compare_formats(path, &options->formats, snapshot.model);
    if (status == BAL_OK) {
        *bundle = (bal_bundle){snapshot.model, snapshot.tokenizer, snapshot.files};
        snapshot.model = NULL;
        snapshot.tokenizer = NULL;
        snapshot.files = (bal_files){0};
    }
    bal_snapshot_clear(&snapshot);
    return status;
}

bal_status bal_source_outline(const char *path, const bal_source_options *options,
                              bal_bundle *bundle)
{
    return bal_checkpoint_recognizes(path)
               ? outline_checkpoint(path, options, bundle)
               : bal_hub_outline(path, &options->formats, options->with_carry, bundle);
}

bal_status bal_source_fill(const char *path, bal_model *model)
{
    return bal_checkpoint_recognizes(path) ? bal_checkpoint_fill(path, bal_model_tensors(model))
                                           : bal_hub_fill(path, model, NULL);
}

/* A float model with the dequantized weights of an integer one, in its place. */
static bal_status dequantize(bal_model **model)
{
    bal_model *from = *model, *to = NULL;
    BAL_TRY(
        bal_model_create(bal_model_shape(from), &(bal_formats){.matrices = BAL_F32}, false, &to));
    const bal_tensors *codes = bal_model_tensors(from), *floats = bal_model_tensors(to);
    for (int i = 0; i < floats->n; ++i)
        bal_tensors_dequantize(codes, bal_tensors_find(codes, floats->at[i].name),
                               floats->at[i].codes);
    bal_model_destroy(model);
    *model = to;
    return BAL_OK;
}

bal_status bal_source_open(const char *path, const bal_source_options *options, bal_bundle *bundle)
{
    BAL_TRY(bal_source_outline(path, options, bundle));
    bool floats = !options->keep_formats && options->formats.matrices == BAL_F32;
    bal_status status = bal_tensors_allocate(bal_model_tensors(bundle->model));
    if (status == BAL_OK) status = bal_source_fill(path, bundle->model);
    if (status == BAL_OK && floats && bal_model_is_integer(bundle->model))
        status = dequantize(&bundle->model);
    if (status != BAL_OK) bal_bundle_clear(bundle);
    return status;
}
