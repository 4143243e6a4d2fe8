/* load.c: from a path to a model and its tokenizer: opens the files by their layout, then reads
 * piece by piece. */
#include <stdlib.h>
#include <string.h>

#include "place.h"

static bal_status read_config(const char *dir, const bal_files *files, bal_model_config *config,
                              const bal_family **family)
{
    char path[PATH_MAX];
    const bal_named_bytes *file = bal_files_find(files, "config.json");
    BAL_TRY(bal_path_in(dir, "config.json", path));
    if (file == NULL) return bal_fail(BAL_ERR_INPUT, "%s: is missing", path);
    return bal_hub_config_parse(file->bytes, file->n_bytes, path, config, family);
}

static bal_status read_tensors(const bal_hub_table *table, const bal_family *family,
                               bal_model *model, const bal_fill *fill)
{
    const bal_tensors *tensors = bal_model_tensors(model);
    float *values = bal_alloc((size_t)bal_tensors_piece_n(tensors), sizeof *values);
    bal_status status = values != NULL
                            ? BAL_OK
                            : bal_fail(BAL_ERR_MEMORY, "%s: no memory to read it", table->origin);
    for (bal_piece piece = {0}; status == BAL_OK && bal_tensors_next(tensors, &piece);) {
        status = bal_hub_match_read(table, family, model, &piece, values);
        if (status == BAL_OK) status = bal_hub_round(model, &piece, values, fill);
    }
    free(values);
    return status;
}

/* The files of a model, mapped and parsed. */
typedef struct source {
    bal_hub_place place;
    bal_hub_table table;
    bal_files files;
    bal_model_config config;
    const bal_family *names; /* where the table has our tensors */
} source;

static void close_source(source *s)
{
    bal_hub_table_clear(&s->table);
    bal_files_clear(&s->files);
}

static bal_status open_hugging_face(source *s)
{
    BAL_TRY(bal_hub_place_files(&s->place, &s->files));
    BAL_TRY(read_config(s->place.dir, &s->files, &s->config, &s->names));
    return bal_hub_weights_open(s->place.dir, &s->table);
}

static bal_status open_llama2c(source *s)
{
    s->names = bal_family_of_type("llama");
    BAL_TRY(bal_hub_llama2c_open(s->place.weights, &s->config, &s->table));
    return bal_hub_place_files(&s->place, &s->files);
}

static bal_status open_gguf(source *s)
{
    strcpy(s->place.dir, s->place.weights); /* where its tokenizer is, too */
    return bal_hub_gguf_open(s->place.weights, &s->config, &s->names, &s->files, &s->table);
}

static bal_status (*const openers[BAL_HUB_N_LAYOUTS])(source *) = {
    [BAL_HUB_HUGGING_FACE] = open_hugging_face,
    [BAL_HUB_LLAMA2C] = open_llama2c,
    [BAL_HUB_GGUF] = open_gguf};

static bal_status open_source(const char *path, source *s)
{
    *s = (source){0};
    BAL_TRY(bal_hub_place_find(path, &s->place));
    bal_status status = openers[s->place.layout](s);
    if (status == BAL_OK) bal_hub_match_unwrap(&s->table, s->names);
    /* before a model is made: its size must come from files, not only from a header */
    if (status == BAL_OK && s->config.n_layers > s->table.n_entries)
        status =
            bal_fail(BAL_ERR_INPUT, "%s: %lld tensors; expected those of %lld layers",
                     s->table.origin, (long long)s->table.n_entries, (long long)s->config.n_layers);
    if (status != BAL_OK) close_source(s);
    return status;
}

void bal_bundle_clear(bal_bundle *bundle)
{
    bal_model_destroy(&bundle->model);
    bal_model_destroy(&bundle->base);
    bal_tokenizer_destroy(&bundle->tokenizer);
    bal_files_clear(&bundle->files);
}

bal_status bal_hub_outline(const char *path, const bal_formats *formats, bal_bundle *bundle)
{
    source s;
    *bundle = (bal_bundle){0};
    BAL_TRY(open_source(path, &s));
    bal_status status = bal_model_outline(&s.config, formats, &bundle->model);
    if (status == BAL_OK) status = bal_hub_match(&s.table, s.names, bundle->model);
    if (status == BAL_OK)
        status = bal_tokenizer_create(&s.files, s.config.n_vocab, s.place.dir, &bundle->tokenizer);
    bundle->files = s.files;
    s.files = (bal_files){0};
    if (status != BAL_OK) bal_bundle_clear(bundle);
    close_source(&s);
    return status;
}

bal_status bal_hub_fill(const char *path, bal_model *model, const bal_fill *fill)
{
    source s;
    BAL_TRY(open_source(path, &s));
    bal_status status = bal_hub_match(&s.table, s.names, model);
    if (status == BAL_OK) bal_tensors_zero(bal_model_tensors(model));
    if (status == BAL_OK && fill->states != NULL)
        bal_states_zero(fill->states, bal_model_tensors(model));
    if (status == BAL_OK) status = read_tensors(&s.table, s.names, model, fill);
    close_source(&s);
    return status;
}

bal_status bal_hub_load(const char *path, const bal_formats *formats, bal_bundle *bundle)
{
    BAL_TRY(bal_hub_outline(path, formats, bundle));
    bal_status status = bal_tensors_allocate(bal_model_tensors(bundle->model));
    if (status == BAL_OK) status = bal_hub_fill(path, bundle->model, &(bal_fill){0});
    if (status != BAL_OK) bal_bundle_clear(bundle);
    return status;
}
