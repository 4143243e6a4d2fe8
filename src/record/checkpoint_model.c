/* checkpoint_model.c: the network of a checkpoint: its config and formats as attributes of /model.
 * The other files know tensors alone. */
#include <string.h>

#include "hdf5_impl.h"

static void write_member(hid_t model, const bal_config_row *row, const bal_model_config *config)
{
    const void *member = (const char *)config + row->offset;
    char words[BAL_CONFIG_WORDS_BYTES];
    int32_t flag;
    switch (row->kind) {
        case BAL_CONFIG_SIZE:
            bal_hdf5_write_attribute(model, row->name, H5T_STD_I64LE, 0, NULL, member);
            break;
        case BAL_CONFIG_REAL:
            bal_hdf5_write_attribute(model, row->name, H5T_IEEE_F64LE, 0, NULL, member);
            break;
        case BAL_CONFIG_FLAG:
            flag = *(const bool *)member;
            bal_hdf5_write_attribute(model, row->name, H5T_STD_I32LE, 0, NULL, &flag);
            break;
        default:
            bal_config_print(row, config, words);
            bal_hdf5_write_text(model, row->name, words);
    }
}

static const char *const rounding_words[] = {[BAL_ROUND_NEAREST] = "nearest",
                                             [BAL_ROUND_LEAST_SQUARES] = "least-squares",
                                             [BAL_ROUND_FOR_TEXT] = "for a text"};

void bal_write_model(hid_t group, const bal_model *model)
{
    const bal_formats *formats = bal_model_formats(model);
    int32_t columns = formats->group;
    for (int i = 0; i < BAL_N_CONFIG_ROWS; ++i)
        write_member(group, &bal_config_rows[i], bal_model_shape(model));
    bal_hdf5_write_text(group, "codes", bal_format_name(formats->matrices));
    bal_hdf5_write_attribute(group, "group", H5T_STD_I32LE, 0, NULL, &columns);
    bal_hdf5_write_text(group, "formats", formats->patterns);
    if (formats->rounding != BAL_ROUND_NEAREST)
        bal_hdf5_write_text(group, "rounding", rounding_words[formats->rounding]);
}

static bal_status read_words(const bal_reader *r, const bal_config_row *row,
                             bal_model_config *config)
{
    bal_place at = {"/model", ""};
    char words[BAL_CONFIG_WORDS_BYTES], choices[BAL_CONFIG_WORDS_BYTES];
    char sentence[2 * BAL_CONFIG_WORDS_BYTES + 64];
    BAL_TRY(bal_hdf5_read_text(r, r->model, at, row->name, words, sizeof words));
    if (bal_config_parse(row, words, config)) return BAL_OK;
    bal_config_choices(row, choices);
    snprintf(sentence, sizeof sentence, "found \"%s\"; expected of: %s", words, choices);
    return bal_hdf5_damaged(r, at, row->name, sentence);
}

static bal_status read_member(const bal_reader *r, const bal_config_row *row,
                              bal_model_config *config)
{
    bal_place at = {"/model", ""};
    void *member = (char *)config + row->offset;
    int32_t flag;
    switch (row->kind) {
        case BAL_CONFIG_SIZE:
            return bal_hdf5_read_attribute(r, r->model, at, row->name, H5T_STD_I64LE, 0, member);
        case BAL_CONFIG_REAL:
            return bal_hdf5_read_attribute(r, r->model, at, row->name, H5T_IEEE_F64LE, 0, member);
        case BAL_CONFIG_FLAG:
            BAL_TRY(bal_hdf5_read_attribute(r, r->model, at, row->name, H5T_STD_I32LE, 0, &flag));
            if (flag != 0 && flag != 1)
                return bal_hdf5_damaged(r, at, row->name, "expected 0 or 1");
            *(bool *)member = flag != 0;
            return BAL_OK;
        default:
            return read_words(r, row, config);
    }
}

static bal_status read_config(const bal_reader *r, bal_model_config *config)
{
    *config = (bal_model_config){0};
    for (int i = 0; i < BAL_N_CONFIG_ROWS; ++i)
        BAL_TRY(read_member(r, &bal_config_rows[i], config));
    char origin[512];
    snprintf(origin, sizeof origin, "%.480s: /model", r->path);
    BAL_TRY(bal_model_config_check(config, origin));
    /* Every tensor is three objects of HDF5, of more than 256 bytes together: take no memory for
     * layers that the file cannot hold. */
    if (config->n_layers > r->file_bytes / (8 * 256))
        return bal_hdf5_damaged(r, (bal_place){"/model", ""}, "n_layers",
                                "found more layers than the file has room for");
    return BAL_OK;
}

/* Without the attribute, as in older checkpoints, it is to the nearest. */
static bal_status read_rounding(const bal_reader *r, bal_rounding_way *way)
{
    bal_place at = {"/model", ""};
    char word[BAL_HDF5_TEXT_BYTES];
    *way = BAL_ROUND_NEAREST;
    if (H5Aexists(r->model, "rounding") <= 0) return BAL_OK;
    BAL_TRY(bal_hdf5_read_text(r, r->model, at, "rounding", word, sizeof word));
    while (strcmp(word, rounding_words[*way]) != 0)
        if (++*way > BAL_ROUND_FOR_TEXT)
            return bal_hdf5_damaged(r, at, "rounding", "found a way that is not known");
    return BAL_OK;
}

static bal_status read_formats(const bal_reader *r, bal_formats *formats)
{
    bal_place at = {"/model", ""};
    int32_t group;
    char codes[BAL_HDF5_TEXT_BYTES];
    *formats = (bal_formats){0};
    BAL_TRY(bal_hdf5_read_text(r, r->model, at, "codes", codes, sizeof codes));
    if (!bal_format_parse(codes, &formats->matrices) || formats->matrices == BAL_F32 ||
        formats->matrices == BAL_I16)
        return bal_hdf5_damaged(r, at, "codes", "found a format that is none of matrices");
    BAL_TRY(bal_hdf5_read_attribute(r, r->model, at, "group", H5T_STD_I32LE, 0, &group));
    if (group != 0 && group != 32 && group != 64 && group != 128)
        return bal_hdf5_damaged(r, at, "group", "expected 0, 32, 64 or 128");
    formats->group = group;
    BAL_TRY(bal_hdf5_read_text(r, r->model, at, "formats", formats->patterns,
                               sizeof formats->patterns));
    return read_rounding(r, &formats->rounding);
}

bal_status bal_read_model(const bal_reader *r, bal_model **model)
{
    bal_model_config config;
    bal_formats formats;
    BAL_TRY(read_config(r, &config));
    BAL_TRY(read_formats(r, &formats));
    bal_status status = bal_model_outline(&config, &formats, model);
    if (status == BAL_ERR_CONFIG)
        return bal_fail(BAL_ERR_INPUT, "%s: /model: %s", r->path, bal_failure());
    if (status != BAL_OK) return status;
    if (bal_tensors_n(bal_model_tensors(*model)) <= r->file_bytes) return BAL_OK;
    bal_model_destroy(model);
    return bal_hdf5_damaged(r, (bal_place){"/model", ""}, "",
                            "its sizes make a model that is larger than this file");
}
