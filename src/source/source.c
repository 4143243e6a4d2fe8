/* source.c: which reader a path is for, and the formats of what was read. */
#include <stdlib.h>
#include <string.h>

#include "ballot/json.h"
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
    return bal_fail(
        BAL_ERR_CONFIG,
        "%s: a checkpoint with [model] codes = %s, group = %d, formats = %s; asked for are codes = "
        "%s, group = %d, formats = %s: ask for what it has, or start from a float model",
        path, bal_format_name(has->matrices), has->group, has->patterns,
        bal_format_name(asked->matrices), asked->group, asked->patterns);
}

static bal_status outline_checkpoint(const char *path, const bal_source_options *options,
                                     bal_bundle *bundle)
{
    bal_snapshot snapshot;
    BAL_TRY(bal_checkpoint_outline(path, &snapshot));
    bal_status status = BAL_OK;
    if (!options->keep_formats && options->formats.matrices != BAL_F32)
        status = compare_formats(path, &options->formats, snapshot.model);
    if (options->states != NULL && options->keep_states) *options->states = snapshot.states;
    if (status == BAL_OK) {
        *bundle = (bal_bundle){.model = snapshot.model,
                               .tokenizer = snapshot.tokenizer,
                               .files = snapshot.files,
                               .base_id = snapshot.base};
        snapshot.model = NULL;
        snapshot.tokenizer = NULL;
        snapshot.files = (bal_files){0};
    }
    bal_snapshot_clear(&snapshot);
    return status;
}

/* The base that a folder names, if it does. */
static bal_status find_base(const char *folder, bal_base_id *id)
{
    char path[BAL_SOURCE_PATH_BYTES];
    bal_mapping file;
    if (!bal_is_dir(folder) || !bal_has_file(folder, BAL_BASE_FILE)) return BAL_OK;
    BAL_TRY(bal_path_in(folder, BAL_BASE_FILE, path));
    BAL_TRY(bal_mapping_open(path, &file));
    json_error_t error;
    json_t *object = bal_json_load(file.data, file.n_bytes, 0, &error);
    const char *base = json_string_value(json_object_get(object, "base"));
    bool good = base != NULL && base[0] != 0;
    int n = good ? snprintf(id->path, sizeof id->path, "%s/%s", folder, base) : 0;
    json_decref(object);
    bal_mapping_close(&file);
    if (good && n < (int)sizeof id->path) return BAL_OK;
    return bal_fail(BAL_ERR_INPUT, "%s: expected {\"base\": \"PATH\"}, a folder in %s%s", path,
                    folder, good ? "; the path is too long" : "");
}

bal_status bal_source_outline(const char *path, const bal_source_options *options,
                              bal_bundle *bundle)
{
    char found[BAL_SOURCE_PATH_BYTES];
    BAL_TRY(bal_source_resolve(path, found));
    if (strcmp(found, path) != 0) bal_log(BAL_LOG_SAY, "the model is %s", found);
    if (bal_checkpoint_recognizes(found)) return outline_checkpoint(found, options, bundle);
    BAL_TRY(bal_hub_outline(found, &options->formats, bundle));
    bal_status status = find_base(found, &bundle->base_id);
    if (status != BAL_OK) bal_bundle_clear(bundle);
    return status;
}

bal_status bal_source_fill(const char *path, bal_model *model, bal_states *states)
{
    char found[BAL_SOURCE_PATH_BYTES];
    BAL_TRY(bal_source_resolve(path, found));
    if (states != NULL) bal_states_zero(states, bal_model_tensors(model));
    if (!bal_checkpoint_recognizes(found))
        return bal_hub_fill(found, model, &(bal_fill){.states = states});
    bal_states bytes = {0};
    for (int i = 0; states != NULL && i < states->n; ++i)
        if (states->at[i].kind == BAL_STATE_BYTES) bytes.at[bytes.n++] = states->at[i];
    return bal_checkpoint_fill(found, bal_model_tensors(model), &bytes);
}

/* A float model with the dequantized weights of an integer one, in its place. */
static bal_status dequantize(bal_model **model)
{
    bal_model *from = *model, *to = NULL;
    BAL_TRY(bal_model_create(bal_model_shape(from), &(bal_formats){.matrices = BAL_F32}, &to));
    const bal_tensors *codes = bal_model_tensors(from), *floats = bal_model_tensors(to);
    for (int i = 0; i < floats->n; ++i)
        bal_tensors_dequantize(codes, bal_tensors_find(codes, floats->at[i].name),
                               floats->at[i].codes);
    bal_model_destroy(model);
    *model = to;
    return BAL_OK;
}

/* With the states of its file, or with those of a run that starts. */
static bal_status fill(const char *path, const bal_source_options *options, bal_model *model)
{
    char found[BAL_SOURCE_PATH_BYTES];
    BAL_TRY(bal_source_resolve(path, found));
    return options->keep_states && bal_checkpoint_recognizes(found)
               ? bal_checkpoint_fill(found, bal_model_tensors(model), options->states)
               : bal_source_fill(path, model, options->states);
}

/* Read a model, in the formats of its file if floats are asked for, and no base. */
static bal_status open_alone(const char *path, const bal_source_options *options,
                             bal_bundle *bundle)
{
    BAL_TRY(bal_source_outline(path, options, bundle));
    bal_status status = bal_tensors_allocate(bal_model_tensors(bundle->model));
    if (status == BAL_OK && options->states != NULL)
        status = bal_states_allocate(options->states, bal_model_tensors(bundle->model));
    if (status == BAL_OK) status = fill(path, options, bundle->model);
    if (status == BAL_OK) return BAL_OK;
    bal_bundle_clear(bundle);
    if (options->states != NULL) bal_states_clear(options->states);
    return status;
}

/* Open the base of a model, in its formats. */
static bal_status open_base(const char *path, const bal_source_options *options, bal_bundle *bundle)
{
    const bal_base_id *id = &bundle->base_id;
    const char *from = options->base != NULL ? options->base : id->path;
    bal_source_options how = {.formats = *bal_model_formats(bundle->model)};
    bal_bundle base;
    if (id->path[0] == 0) return BAL_OK;
    bal_status status = open_alone(from, &how, &base);
    if (status == BAL_ERR_INPUT)
        return bal_fail(status, "%s: its prompts are read by the model that it was tuned from: %s",
                        path, bal_failure());
    BAL_TRY(status);
    const bal_tensors *tensors = bal_model_tensors(base.model);
    if (base.base_id.path[0] != 0 ||
        !bal_tensors_match(tensors, bal_model_tensors(bundle->model)) ||
        (id->fingerprint != 0 && bal_tensors_fingerprint(tensors) != id->fingerprint))
        status = bal_fail(BAL_ERR_CONFIG,
                          "%s: its prompts are read by the model that it was tuned from, which %s "
                          "is no more: say where that is with --base",
                          path, from);
    if (status == BAL_OK) {
        bundle->base = base.model;
        base.model = NULL;
    }
    bal_bundle_clear(&base);
    return status;
}

bal_status bal_source_open(const char *path, const bal_source_options *options, bal_bundle *bundle)
{
    BAL_TRY(open_alone(path, options, bundle));
    bool floats = !options->keep_formats && options->formats.matrices == BAL_F32;
    bal_status status = open_base(path, options, bundle);
    if (status == BAL_OK && floats && bal_model_is_integer(bundle->model))
        status = dequantize(&bundle->model);
    if (status == BAL_OK && bundle->base != NULL && floats && bal_model_is_integer(bundle->base))
        status = dequantize(&bundle->base);
    if (status != BAL_OK) {
        bal_bundle_clear(bundle);
        if (options->states != NULL) bal_states_clear(options->states);
    }
    return status;
}

/* Round what a model of integers has as weights. */
static bal_status round_again(const bal_model *from, bal_model *to, const bal_fill *fill)
{
    const bal_tensors *tensors = bal_model_tensors(from); /* those of to, in other formats */
    float *values = bal_alloc((size_t)bal_tensors_piece_n(tensors), sizeof *values);
    if (values == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory to round the model");
    bal_status status = BAL_OK;
    for (bal_piece piece = {0}; status == BAL_OK && bal_tensors_next(tensors, &piece);) {
        bal_tensors_dequantize_piece(tensors, &piece, values);
        status = bal_hub_round(to, &piece, values, fill);
    }
    free(values);
    return status;
}

static bal_status prepare(bal_model *model, bal_fill *fill)
{
    const bal_tensors *tensors = bal_model_tensors(model);
    fill->rounding = bal_alloc((size_t)tensors->n, sizeof *fill->rounding);
    if (fill->rounding == NULL)
        return bal_fail(BAL_ERR_MEMORY, "no memory for %d errors", tensors->n);
    return bal_states_allocate(fill->states, tensors);
}

static bal_status round_checkpoint(const char *path, const bal_formats *formats, bal_bundle *bundle,
                                   bal_fill *fill)
{
    BAL_TRY(bal_source_open(path, &(bal_source_options){.keep_formats = true}, bundle));
    bal_model *from = bundle->model;
    bundle->model = NULL;
    bal_status status = bal_model_create(bal_model_shape(from), formats, &bundle->model);
    if (status == BAL_OK) status = prepare(bundle->model, fill);
    if (status == BAL_OK) status = round_again(from, bundle->model, fill);
    bal_model_destroy(&from);
    return status;
}

static bal_status round_files(const char *path, const bal_formats *formats, bal_bundle *bundle,
                              bal_fill *fill)
{
    bal_source_options options = {.formats = *formats};
    BAL_TRY(bal_source_outline(path, &options, bundle));
    BAL_TRY(bal_tensors_allocate(bal_model_tensors(bundle->model)));
    BAL_TRY(prepare(bundle->model, fill));
    return bal_hub_fill(path, bundle->model, fill);
}

bal_status bal_source_round(const char *path, const bal_formats *formats, bal_bundle *bundle,
                            bal_fill *fill)
{
    char found[BAL_SOURCE_PATH_BYTES];
    *bundle = (bal_bundle){0};
    fill->rounding = NULL;
    BAL_TRY(bal_source_resolve(path, found));
    if (strcmp(found, path) != 0) bal_log(BAL_LOG_SAY, "the model is %s", found);
    bal_status status = bal_checkpoint_recognizes(found)
                            ? round_checkpoint(found, formats, bundle, fill)
                            : round_files(found, formats, bundle, fill);
    if (status == BAL_OK && bundle->base_id.path[0] != 0)
        status = bal_fail(BAL_ERR_CONFIG,
                          "%s: was tuned with vote.positions = answer, so that another model reads "
                          "its prompts: it cannot be rounded again by itself",
                          path);
    if (status == BAL_OK) return BAL_OK;
    bal_bundle_clear(bundle);
    bal_states_clear(fill->states);
    free(fill->rounding);
    fill->rounding = NULL;
    return status;
}
