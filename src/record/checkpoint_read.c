/* checkpoint_read.c: HDF5 back to a snapshot. The checksums say that the file is what its writer
 * wrote, not who wrote it: so types, shapes, links and storage are checked against what
 * checkpoint_write.c makes, and sizes against the size of the file, before memory is taken. */
#include <hdf5.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "record_impl.h"

#define TEXT_BYTES 64 /* longest short text, such as a role, with its end */

typedef struct reader {
    const char *path;
    int64_t file_bytes;
    int32_t version;
    hid_t file, model, scale, factor, metrics, ballots, job, files;
    bal_states states; /* that the file has */
    hid_t state[BAL_STATES_MAX];
} reader;

/* Where an attribute or dataset stands: group is "" for the root, object "" for the group itself.
 */
typedef struct place {
    const char *group, *object;
} place;

static bal_status damaged(const reader *r, place at, const char *name, const char *what)
{
    return bal_fail(BAL_ERR_INPUT, "%s: %s%s%s%s%s: %s", r->path, at.group,
                    at.object[0] != '\0' ? "/" : "", at.object, name[0] != '\0' ? "/" : "", name,
                    what);
}

/* Open an attribute of exactly that type with n values (0: a scalar), and read it. */
static bal_status read_attribute(const reader *r, hid_t object, place at, const char *name,
                                 hid_t type, hsize_t n, void *values)
{
    hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
    if (attribute < 0) return damaged(r, at, name, "this attribute is missing");
    hid_t found = H5Aget_type(attribute), space = H5Aget_space(attribute);
    hsize_t dims[H5S_MAX_RANK] = {0};
    bool fits = H5Tequal(found, type) > 0 &&
                H5Sget_simple_extent_type(space) == (n == 0 ? H5S_SCALAR : H5S_SIMPLE);
    if (fits && n > 0) fits = H5Sget_simple_extent_dims(space, dims, NULL) == 1 && dims[0] == n;
    bal_status status = BAL_OK;
    if (!fits)
        status = damaged(r, at, name, "found an attribute of another type or shape than expected");
    else if (H5Aread(attribute, type, values) < 0)
        status = damaged(r, at, name, bal_hdf5_reason());
    if (found >= 0) H5Tclose(found);
    if (space >= 0) H5Sclose(space);
    H5Aclose(attribute);
    return status;
}

/* A text attribute of fewer than n_bytes bytes, with its end. */
static bal_status read_text(const reader *r, hid_t object, place at, const char *name, char *text,
                            size_t n_bytes)
{
    bal_status status = BAL_OK;
    hid_t type = H5I_INVALID_HID;
    hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
    if (attribute < 0) return damaged(r, at, name, "this attribute is missing");
    type = H5Aget_type(attribute);
    size_t size = type < 0 ? 0 : H5Tget_size(type);
    if (type < 0 || H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) != 0 ||
        size >= n_bytes) {
        status = damaged(r, at, name, "expected a text of fixed length, and not a longer one");
    } else {
        memset(text, 0, n_bytes);
        status = read_attribute(r, object, at, name, type, 0, text);
    }
    if (type >= 0) H5Tclose(type);
    H5Aclose(attribute);
    return status;
}

/* Compare a text attribute with what it must be. */
static bal_status expect_text(const reader *r, hid_t object, place at, const char *name,
                              const char *expected)
{
    size_t n_bytes = strlen(expected) + TEXT_BYTES;
    char *text = malloc(n_bytes);
    if (text == NULL) return bal_fail(BAL_ERR_MEMORY, "%s: no memory for a text", r->path);
    bal_status status = read_text(r, object, at, name, text, n_bytes);
    if (status == BAL_OK && strcmp(text, expected) != 0) {
        char sentence[256];
        snprintf(sentence, sizeof sentence, "found \"%.100s\"; expected \"%.100s\"", text,
                 expected);
        status = damaged(r, at, name, sentence);
    }
    free(text);
    return status;
}

static bal_status read_fields(const reader *r, hid_t object, place at, const bal_field *fields,
                              void *structure)
{
    for (; fields->name != NULL; ++fields)
        BAL_TRY(read_attribute(r, object, at, fields->name, bal_hdf5_type(fields->type), 0,
                               (char *)structure + fields->offset));
    return BAL_OK;
}

/* A link of another kind, or storage outside the file, could make us read someone else's file. */
static bool is_hard_link(hid_t group, const char *name)
{
    H5L_info_t info;
    return H5Lget_info(group, name, &info, H5P_DEFAULT) >= 0 && info.type == H5L_TYPE_HARD;
}

static bool storage_is_ours(hid_t dataset, int rank, int64_t n)
{
    hid_t how = H5Dget_create_plist(dataset);
    if (how < 0) return false;
    bool good;
    unsigned flags, config;
    size_t n_values = 0;
    H5D_layout_t layout = H5Pget_layout(how);
    if (rank > 0 && n > 0)
        good = layout == H5D_CHUNKED && H5Pget_nfilters(how) == 1 &&
               H5Pget_filter2(how, 0, &flags, &n_values, NULL, 0, NULL, &config) ==
                   H5Z_FILTER_FLETCHER32;
    else
        good = layout == H5D_CONTIGUOUS && H5Pget_external_count(how) == 0;
    H5Pclose(how);
    return good;
}

/**
 * Open a dataset of that type and rank. dims [rank] holds what is expected, -1 where the file
 * decides, and comes back as found. The dataset has no more bytes than the file.
 */
static bal_status open_dataset(const reader *r, hid_t group, place at, hid_t type, int rank,
                               int64_t *dims, hid_t *dataset)
{
    char sentence[200];
    *dataset = H5I_INVALID_HID;
    if (!is_hard_link(group, at.object)) return damaged(r, at, "", "this dataset is missing");
    *dataset = H5Dopen2(group, at.object, H5P_DEFAULT);
    if (*dataset < 0) return damaged(r, at, "", bal_hdf5_reason());
    hid_t found = H5Dget_type(*dataset), space = H5Dget_space(*dataset);
    hsize_t sizes[H5S_MAX_RANK] = {0};
    bal_status status = BAL_OK;
    int64_t n = 1;
    int found_rank = space < 0 ? -1 : H5Sget_simple_extent_dims(space, sizes, NULL);
    if (H5Tequal(found, type) <= 0)
        status = damaged(r, at, "", "found elements of another type than expected");
    else if (found_rank != rank ||
             H5Sget_simple_extent_type(space) != (rank == 0 ? H5S_SCALAR : H5S_SIMPLE)) {
        snprintf(sentence, sizeof sentence, "found %d dimensions; expected %d", found_rank, rank);
        status = damaged(r, at, "", sentence);
    }
    for (int d = 0; status == BAL_OK && d < rank; ++d) {
        if (dims[d] >= 0 && sizes[d] != (hsize_t)dims[d]) {
            snprintf(sentence, sizeof sentence, "dimension %d is %llu; expected %" PRId64, d,
                     (unsigned long long)sizes[d], dims[d]);
            status = damaged(r, at, "", sentence);
        } else if (sizes[d] > (hsize_t)r->file_bytes ||
                   __builtin_mul_overflow(n, (int64_t)sizes[d], &n)) {
            status = damaged(r, at, "", "found more elements than the file has bytes");
        } else {
            dims[d] = (int64_t)sizes[d];
        }
    }
    if (status == BAL_OK && n > r->file_bytes / (int64_t)H5Tget_size(type))
        status = damaged(r, at, "", "found more elements than the file has bytes");
    if (status == BAL_OK && !storage_is_ours(*dataset, rank, n))
        status = damaged(r, at, "", "found another storage than checksummed chunks in this file");
    if (found >= 0) H5Tclose(found);
    if (space >= 0) H5Sclose(space);
    if (status != BAL_OK) {
        H5Dclose(*dataset);
        *dataset = H5I_INVALID_HID;
    }
    return status;
}

/* Read all of an open dataset and close it. */
static bal_status finish_dataset(const reader *r, place at, hid_t dataset, hid_t type, void *values)
{
    bal_status status = BAL_OK;
    if (H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0)
        status = damaged(r, at, "", bal_hdf5_reason());
    H5Dclose(dataset);
    return status;
}

/* Read a dataset whose shape is known. */
static bal_status read_dataset(const reader *r, hid_t group, place at, hid_t type, int rank,
                               const int64_t *shape, void *values)
{
    int64_t dims[2] = {0};
    hid_t dataset;
    for (int d = 0; d < rank; ++d) dims[d] = shape[d];
    BAL_TRY(open_dataset(r, group, at, type, rank, dims, &dataset));
    return finish_dataset(r, at, dataset, type, values);
}

/* A member of a config that is written in words. */
static bal_status read_words(const reader *r, const bal_config_row *row, bal_model_config *config)
{
    place at = {"/model", ""};
    char words[BAL_CONFIG_WORDS_BYTES], choices[BAL_CONFIG_WORDS_BYTES];
    char sentence[2 * BAL_CONFIG_WORDS_BYTES + 64];
    BAL_TRY(read_text(r, r->model, at, row->name, words, sizeof words));
    if (bal_config_parse(row, words, config)) return BAL_OK;
    bal_config_choices(row, choices);
    snprintf(sentence, sizeof sentence, "found \"%s\"; expected of: %s", words, choices);
    return damaged(r, at, row->name, sentence);
}

static bal_status read_member(const reader *r, const bal_config_row *row, bal_model_config *config)
{
    place at = {"/model", ""};
    void *member = (char *)config + row->offset;
    int32_t flag;
    switch (row->kind) {
        case BAL_CONFIG_SIZE:
            return read_attribute(r, r->model, at, row->name, H5T_STD_I64LE, 0, member);
        case BAL_CONFIG_REAL:
            return read_attribute(r, r->model, at, row->name, H5T_IEEE_F64LE, 0, member);
        case BAL_CONFIG_FLAG:
            BAL_TRY(read_attribute(r, r->model, at, row->name, H5T_STD_I32LE, 0, &flag));
            if (flag != 0 && flag != 1) return damaged(r, at, row->name, "expected 0 or 1");
            *(bool *)member = flag != 0;
            return BAL_OK;
        default:
            return read_words(r, row, config);
    }
}

static bal_status read_config(const reader *r, bal_model_config *config)
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
        return damaged(r, (place){"/model", ""}, "n_layers",
                       "found more layers than the file has room for");
    return BAL_OK;
}

static bal_status read_formats(const reader *r, bal_formats *formats)
{
    place at = {"/model", ""};
    int32_t group;
    char codes[TEXT_BYTES];
    *formats = (bal_formats){0};
    BAL_TRY(read_text(r, r->model, at, "codes", codes, sizeof codes));
    if (!bal_format_parse(codes, &formats->matrices) || formats->matrices == BAL_F32 ||
        formats->matrices == BAL_I16)
        return damaged(r, at, "codes", "found a format that is none of matrices");
    BAL_TRY(read_attribute(r, r->model, at, "group", H5T_STD_I32LE, 0, &group));
    if (group != 0 && group != 32 && group != 64 && group != 128)
        return damaged(r, at, "group", "expected 0, 32, 64 or 128");
    formats->group = group;
    return read_text(r, r->model, at, "formats", formats->patterns, sizeof formats->patterns);
}

/* The model without its memory, and that no larger than the file, which has a byte for each code.
 */
static bal_status outline_model(const reader *r, bal_model **model)
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
    return damaged(r, (place){"/model", ""}, "",
                   "its sizes make a model that is larger than this file");
}

/* buffer has room for the tensor's codes. */
static bal_status read_tensor(const reader *r, bal_tensor *t, void *buffer)
{
    place at = {"/model", t->name};
    int64_t dims[2] = {t->n_rows, t->n_cols}, sizes[2];
    int rank = t->role == BAL_MATRIX ? 2 : 1;
    int32_t group = 0;
    hid_t type = t->format == BAL_I16 ? H5T_STD_I16LE : H5T_STD_I8LE;
    int64_t *shape = dims + 2 - rank;
    hid_t dataset;
    BAL_TRY(open_dataset(r, r->model, at, type, rank, shape, &dataset));
    bal_status status = expect_text(r, dataset, at, "role", bal_role_names[t->role]);
    if (status == BAL_OK)
        status = expect_text(r, dataset, at, "format", bal_format_name(t->format));
    if (status == BAL_OK)
        status = read_attribute(r, dataset, at, "shape", H5T_STD_I64LE, (hsize_t)rank, sizes);
    if (status == BAL_OK && memcmp(sizes, shape, (size_t)rank * sizeof *sizes) != 0)
        status = damaged(r, at, "shape", "found another shape than that of the dataset");
    if (status == BAL_OK && t->group > 0)
        status = read_attribute(r, dataset, at, "group", H5T_STD_I32LE, 0, &group);
    if (status == BAL_OK && group != t->group)
        status = damaged(r, at, "group", "found another group than that of its format");
    if (status != BAL_OK) {
        H5Dclose(dataset);
        return status;
    }
    BAL_TRY(finish_dataset(r, at, dataset, type, buffer));
    if (bal_tensor_set_codes(t, buffer) != BAL_OK)
        return bal_fail(BAL_ERR_INPUT, "%s: /model/%s", r->path, bal_failure());

    at.group = "/scale";
    BAL_TRY(read_dataset(r, r->scale, at, H5T_IEEE_F32LE, 1, &t->n_rows, t->scale));
    for (int64_t row = 0; row < t->n_rows; ++row)
        if (!isfinite(t->scale[row]) || !(t->scale[row] > 0.0f))
            return bal_fail(BAL_ERR_INPUT,
                            "%s: /scale/%s: the scale of row %" PRId64
                            " is %g; expected a finite number above 0",
                            r->path, t->name, row, (double)t->scale[row]);
    if (t->group > 0) {
        int64_t factors[] = {t->n_rows, bal_tensor_n_groups(t)};
        at.group = "/factor";
        BAL_TRY(read_dataset(r, r->factor, at, H5T_STD_U8LE, 2, factors, buffer));
        if (bal_tensor_set_factors(t, buffer) != BAL_OK)
            return bal_fail(BAL_ERR_INPUT, "%s: /factor/%s", r->path, bal_failure());
    }
    return BAL_OK;
}

/* Where the datasets of a state of the file stand. */
static const char *state_path(const reader *r, int i, char path[64])
{
    const char *above = r->version == BAL_CHECKPOINT_OLDEST ? "" : "/optimizer";
    snprintf(path, 64, "%s/%s", above, r->states.at[i].name);
    return path;
}

/* What a tensor has of a state that the rule wants; buffer as above. */
static bal_status read_state(const reader *r, const bal_state *wanted, const bal_tensor *t,
                             void *buffer)
{
    char path[64];
    int64_t dims[2] = {t->n_rows, t->n_cols};
    int rank = t->role == BAL_MATRIX ? 2 : 1, i = 0;
    while (i < r->states.n && strcmp(r->states.at[i].name, wanted->name) != 0) ++i;
    if (i == r->states.n)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: has no /optimizer/%s, which the rule of the run remembers: it was "
                        "written by a run with another rule; use that rule, or start from an "
                        "export of this checkpoint",
                        r->path, wanted->name);
    BAL_TRY(read_dataset(r, r->state[i], (place){state_path(r, i, path), t->name}, H5T_STD_I8LE,
                         rank, dims + 2 - rank, buffer));
    bal_tensor_set_bytes(t, buffer, bal_state_of(wanted, t));
    return BAL_OK;
}

/* All tensors, which are those of the file, and the states that are wanted. */
static bal_status read_tensors(const reader *r, bal_tensors *tensors, bal_states *states)
{
    int64_t n_largest = bal_largest_bytes(tensors);
    void *buffer = bal_alloc((size_t)n_largest, 1);
    if (buffer == NULL)
        return bal_fail(BAL_ERR_MEMORY, "%s: no memory to read a tensor of %" PRId64 " bytes",
                        r->path, n_largest);
    bal_status status = BAL_OK;
    bal_tensors_zero(tensors);
    bal_states_zero(states, tensors);
    for (int i = 0; status == BAL_OK && i < tensors->n; ++i) {
        status = read_tensor(r, &tensors->at[i], buffer);
        for (int k = 0; status == BAL_OK && k < states->n; ++k)
            status = read_state(r, &states->at[k], &tensors->at[i], buffer);
    }
    free(buffer);
    return status;
}

static bal_status read_table(const reader *r, const char *name, hid_t type, int64_t n_rows,
                             int64_t n_cols, void *values, const char *columns, char *names)
{
    place at = {"/metrics", name};
    int64_t dims[] = {n_rows, n_cols};
    hid_t dataset;
    if (names == NULL) return bal_fail(BAL_ERR_MEMORY, "%s: no memory for a text", r->path);
    BAL_TRY(open_dataset(r, r->metrics, at, type, 2, dims, &dataset));
    bal_status status = expect_text(r, dataset, at, columns, names);
    if (status == BAL_OK) return finish_dataset(r, at, dataset, type, values);
    H5Dclose(dataset);
    return status;
}

static bal_status read_metrics(const reader *r, const bal_tensors *tensors, bal_metrics *m)
{
    int64_t n = -1;
    hid_t dataset;
    BAL_TRY(bal_metrics_init(m, tensors->n));
    BAL_TRY(
        open_dataset(r, r->metrics, (place){"/metrics", "step"}, H5T_STD_I64LE, 1, &n, &dataset));
    int64_t row_bytes = BAL_N_PHASES * 8 + (int64_t)m->n_tensors * 4; /* seconds and flips */
    if (n > r->file_bytes / row_bytes) {
        H5Dclose(dataset);
        return damaged(r, (place){"/metrics", "step"}, "", "found more steps than the file holds");
    }
    if (!bal_metrics_reserve(m, n > 0 ? n : 1)) {
        H5Dclose(dataset);
        return bal_fail(BAL_ERR_MEMORY, "%s: no memory for the metrics of %" PRId64 " steps",
                        r->path, n);
    }
    m->n = n;
    /* n_passes is lent to the step numbers, which are not kept. */
    BAL_TRY(finish_dataset(r, (place){"/metrics", "step"}, dataset, H5T_STD_I64LE, m->n_passes));
    for (int64_t row = 0; row < n; ++row)
        if (m->n_passes[row] != row)
            return bal_fail(BAL_ERR_INPUT, "%s: /metrics/step: row %" PRId64 " is step %" PRId64,
                            r->path, row, m->n_passes[row]);
    const struct {
        const char *name;
        hid_t type;
        void *values;
    } columns[] = {{"loss_nats", H5T_IEEE_F64LE, m->loss_nats},
                   {"dev_loss_nats", H5T_IEEE_F64LE, m->dev_loss_nats},
                   {"agreement", H5T_IEEE_F64LE, m->agreement},
                   {"forward_passes", H5T_STD_I64LE, m->n_passes}};
    for (size_t i = 0; i < sizeof columns / sizeof *columns; ++i)
        BAL_TRY(read_dataset(r, r->metrics, (place){"/metrics", columns[i].name}, columns[i].type,
                             1, &n, columns[i].values));
    for (int64_t row = 0; row < n; ++row)
        if (m->n_passes[row] < 0 || m->n_passes[row] > (row + 1) * 2 * BAL_SLOTS_MAX)
            return bal_fail(BAL_ERR_INPUT,
                            "%s: /metrics/forward_passes: row %" PRId64 " is %" PRId64, r->path,
                            row, m->n_passes[row]);
    char *phases = bal_phase_names(), *names = bal_tensor_names(tensors);
    bal_status status =
        read_table(r, "seconds", H5T_IEEE_F64LE, n, BAL_N_PHASES, m->seconds, "phases", phases);
    if (status == BAL_OK)
        status = read_table(r, "flips", H5T_STD_U32LE, n, m->n_tensors, m->flips, "tensors", names);
    free(phases);
    free(names);
    return status;
}

/* Read a one-dimensional dataset of bytes. *bytes is NULL when there are none. */
static bal_status read_bytes(const reader *r, hid_t group, place at, uint8_t **bytes,
                             size_t *n_bytes)
{
    int64_t n = -1;
    hid_t dataset;
    BAL_TRY(open_dataset(r, group, at, H5T_STD_U8LE, 1, &n, &dataset));
    *n_bytes = (size_t)n;
    if (n == 0) {
        H5Dclose(dataset);
        return BAL_OK;
    }
    *bytes = malloc((size_t)n);
    if (*bytes != NULL) return finish_dataset(r, at, dataset, H5T_STD_U8LE, *bytes);
    H5Dclose(dataset);
    return bal_fail(BAL_ERR_MEMORY, "%s: no memory for %" PRId64 " bytes of %s/%s", r->path, n,
                    at.group, at.object);
}

static bal_status read_job_text(const reader *r, char **text)
{
    place at = {"/job", "text"};
    bal_status status = BAL_OK;
    hid_t type = H5I_INVALID_HID, dataset = H5I_INVALID_HID;
    if (is_hard_link(r->job, at.object)) dataset = H5Dopen2(r->job, at.object, H5P_DEFAULT);
    if (dataset < 0) return damaged(r, at, "", "this dataset is missing");
    type = H5Dget_type(dataset);
    H5Dclose(dataset);
    size_t n_bytes = type < 0 ? 0 : H5Tget_size(type);
    if (type < 0 || H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) != 0 ||
        n_bytes > (size_t)r->file_bytes)
        status = damaged(r, at, "", "expected one text of fixed length");
    else if ((*text = calloc(n_bytes + 1, 1)) == NULL)
        status = bal_fail(BAL_ERR_MEMORY, "%s: no memory for the job text", r->path);
    else
        status = read_dataset(r, r->job, at, type, 0, NULL, *text);
    if (type >= 0) H5Tclose(type);
    return status;
}

/* Name of link number index of a group, in the order of names. */
static bal_status link_name(const reader *r, hid_t group, place at, hsize_t index, char *name,
                            size_t n_bytes)
{
    ssize_t n = H5Lget_name_by_idx(group, ".", H5_INDEX_NAME, H5_ITER_INC, index, name, n_bytes,
                                   H5P_DEFAULT);
    if (n <= 0 || (size_t)n >= n_bytes || strchr(name, '/') != NULL)
        return damaged(r, at, "", "found a name that does not belong here");
    return BAL_OK;
}

static bal_status read_files(const reader *r, bal_snapshot *s)
{
    H5G_info_t info;
    bal_status status = BAL_OK;
    if (H5Gget_info(r->files, &info) < 0)
        return damaged(r, (place){"/files", ""}, "", bal_hdf5_reason());
    for (hsize_t i = 0; status == BAL_OK && i < info.nlinks; ++i) {
        char name[sizeof s->files.at->name];
        uint8_t *bytes = NULL;
        size_t n_bytes;
        BAL_TRY(link_name(r, r->files, (place){"/files", ""}, i, name, sizeof name));
        status = read_bytes(r, r->files, (place){"/files", name}, &bytes, &n_bytes);
        if (status == BAL_OK) status = bal_files_add(&s->files, name, bytes, n_bytes);
        free(bytes);
    }
    char origin[512];
    snprintf(origin, sizeof origin, "%.480s: /files", r->path);
    if (status == BAL_OK)
        status = bal_tokenizer_create(&s->files, bal_model_shape(s->model)->n_vocab, origin,
                                      &s->tokenizer);
    return status;
}

static bal_status read_root(const reader *r, bal_snapshot *s)
{
    place at = {"", ""};
    uint32_t stream_version;
    char fingerprint[TEXT_BYTES], isa[TEXT_BYTES];
    BAL_TRY(read_attribute(r, r->file, at, "step", H5T_STD_I64LE, 0, &s->step));
    if (s->step < 0) return damaged(r, at, "step", "expected 0 or more");
    BAL_TRY(read_text(r, r->file, at, "fingerprint", fingerprint, sizeof fingerprint));
    if (strlen(fingerprint) != 16 || strspn(fingerprint, "0123456789abcdef") != 16)
        return damaged(r, at, "fingerprint", "expected 16 hexadecimal digits");
    s->fingerprint = strtoull(fingerprint, NULL, 16);
    BAL_TRY(read_text(r, r->file, at, "isa", isa, sizeof isa));
    s->isa = strdup(isa);
    if (s->isa == NULL) return bal_fail(BAL_ERR_MEMORY, "%s: no memory for a text", r->path);
    BAL_TRY(read_attribute(r, r->file, at, "dev_loss_nats", H5T_IEEE_F64LE, 0, &s->dev_loss_nats));
    BAL_TRY(read_attribute(r, r->file, at, "stream_version", H5T_STD_U32LE, 0, &stream_version));
    BAL_TRY(read_fields(r, r->job, (place){"/job", ""}, bal_run_id_fields, &s->id));
    if (s->id.stream_version != stream_version)
        return damaged(r, at, "stream_version", "found another version than /job has");
    return read_job_text(r, &s->job_text);
}

static hid_t open_file(const char *path)
{
    hid_t file = H5I_INVALID_HID, access = H5Pcreate(H5P_FILE_ACCESS);
    /* No locks: a published checkpoint never changes. Strong: close leaves no object open. */
    if (access >= 0 && H5Pset_file_locking(access, false, true) >= 0 &&
        H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) >= 0)
        file = H5Fopen(path, H5F_ACC_RDONLY, access);
    if (access >= 0) H5Pclose(access);
    return file;
}

bal_status bal_checkpoint_reopen(const char *path, const char *name, int64_t step)
{
    bal_hdf5_listen();
    int64_t found = -1;
    reader r = {.path = name, .file = open_file(path)};
    if (r.file < 0)
        return bal_fail(BAL_ERR_IO, "%s: cannot be read back: %s", name, bal_hdf5_reason());
    bal_status status =
        read_attribute(&r, r.file, (place){"", ""}, "step", H5T_STD_I64LE, 0, &found);
    H5Fclose(r.file);
    if (status != BAL_OK || found == step) return status;
    return bal_fail(BAL_ERR_IO, "%s: read back as step %" PRId64 "; expected %" PRId64, name, found,
                    step);
}

static bal_status open_group(const reader *r, hid_t above, const char *path, const char *name,
                             hid_t *group)
{
    *group = is_hard_link(above, name) ? H5Gopen2(above, name, H5P_DEFAULT) : H5I_INVALID_HID;
    if (*group >= 0) return BAL_OK;
    return bal_fail(BAL_ERR_INPUT, "%s: %s/%s: this group is missing", r->path, path, name);
}

static bal_status read_version(reader *r)
{
    BAL_TRY(read_attribute(r, r->file, (place){"", ""}, "format_version", H5T_STD_I32LE, 0,
                           &r->version));
    if (r->version >= BAL_CHECKPOINT_OLDEST && r->version <= BAL_CHECKPOINT_VERSION) return BAL_OK;
    return bal_fail(BAL_ERR_INPUT, "%s: /format_version: found %" PRId32 "; expected %d to %d",
                    r->path, r->version, BAL_CHECKPOINT_OLDEST, BAL_CHECKPOINT_VERSION);
}

/* The states that the file has, in the order of their names. */
static bal_status open_states(reader *r)
{
    if (r->version == BAL_CHECKPOINT_OLDEST) {
        r->states = (bal_states){.n = 1, .at = {{.name = "carry"}}};
        return open_group(r, r->file, "", "carry", &r->state[0]);
    }
    hid_t optimizer;
    H5G_info_t info;
    place at = {"/optimizer", ""};
    BAL_TRY(open_group(r, r->file, "", "optimizer", &optimizer));
    if (H5Gget_info(optimizer, &info) < 0) return damaged(r, at, "", bal_hdf5_reason());
    if (info.nlinks > BAL_STATES_MAX) return damaged(r, at, "", "found too many groups");
    for (; r->states.n < (int)info.nlinks; ++r->states.n) {
        char *name = r->states.at[r->states.n].name;
        BAL_TRY(link_name(r, optimizer, at, (hsize_t)r->states.n, name, BAL_STATE_NAME_BYTES));
        BAL_TRY(open_group(r, optimizer, at.group, name, &r->state[r->states.n]));
    }
    return BAL_OK;
}

/* Open the file and its groups; it has been verified. */
static bal_status open_reader(const char *path, reader *r)
{
    bal_hdf5_listen();
    struct stat info;
    *r = (reader){.path = path};
    if (stat(path, &info) != 0) return bal_fail(BAL_ERR_INPUT, "%s: has gone", path);
    r->file_bytes = info.st_size;
    r->file = open_file(path);
    if (r->file < 0) return bal_fail(BAL_ERR_INPUT, "%s: not HDF5: %s", path, bal_hdf5_reason());
    struct {
        const char *name;
        hid_t *group;
    } groups[] = {{"model", &r->model},     {"scale", &r->scale},     {"factor", &r->factor},
                  {"metrics", &r->metrics}, {"ballots", &r->ballots}, {"job", &r->job},
                  {"files", &r->files}};
    bal_status status = read_version(r);
    for (size_t i = 0; status == BAL_OK && i < sizeof groups / sizeof *groups; ++i)
        status = open_group(r, r->file, "", groups[i].name, groups[i].group);
    if (status == BAL_OK) status = open_states(r);
    if (status != BAL_OK) H5Fclose(r->file); /* and its groups */
    return status;
}

/* HDF5 does not say whether what it met is wrong or could not be read; reading it again does. */
static bal_status blame(const char *path, bal_status status)
{
    return status == BAL_ERR_INPUT && bal_checkpoint_verify(path) == BAL_ERR_IO ? BAL_ERR_IO
                                                                                : status;
}

static bal_status outline(const char *path, bal_snapshot *snapshot)
{
    reader r;
    BAL_TRY(open_reader(path, &r));
    bal_status status = read_root(&r, snapshot);
    if (status == BAL_OK) status = outline_model(&r, &snapshot->model);
    if (status == BAL_OK)
        status = read_metrics(&r, bal_model_tensors(snapshot->model), &snapshot->metrics);
    if (status == BAL_OK)
        status = read_bytes(&r, r.ballots, (place){"/ballots", "journal"}, &snapshot->journal,
                            &snapshot->journal_bytes);
    if (status == BAL_OK) status = read_files(&r, snapshot);
    snapshot->states = r.states;
    H5Fclose(r.file);
    if (status != BAL_OK) bal_snapshot_clear(snapshot);
    return status;
}

bal_status bal_checkpoint_outline(const char *path, bal_snapshot *snapshot)
{
    *snapshot = (bal_snapshot){0};
    BAL_TRY(bal_checkpoint_verify(path));
    return blame(path, outline(path, snapshot));
}

static bal_status fill(const char *path, bal_tensors *tensors, bal_states *states)
{
    reader r;
    bal_snapshot s = {0};
    BAL_TRY(open_reader(path, &r));
    bal_status status = read_root(&r, &s);
    if (status == BAL_OK) status = outline_model(&r, &s.model);
    if (status == BAL_OK && !bal_tensors_match(tensors, bal_model_tensors(s.model)))
        status = bal_fail(BAL_ERR_INPUT, "%s: its model has another shape than expected", path);
    if (status == BAL_OK) status = read_tensors(&r, tensors, states);
    H5Fclose(r.file);
    uint64_t expected = s.fingerprint;
    bal_snapshot_clear(&s);
    if (status != BAL_OK || states->n < r.states.n) return status;
    uint64_t actual = bal_states_fingerprint(states, tensors);
    if (actual != expected)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: the model has fingerprint %016" PRIx64 "; expected %016" PRIx64, path,
                        actual, expected);
    return BAL_OK;
}

bal_status bal_checkpoint_fill(const char *path, bal_tensors *tensors, bal_states *states)
{
    bal_states none = {0};
    return blame(path, fill(path, tensors, states != NULL ? states : &none));
}

bal_status bal_checkpoint_read(const char *path, bool with_states, bal_snapshot *snapshot)
{
    BAL_TRY(bal_checkpoint_outline(path, snapshot));
    bal_tensors *tensors = bal_model_tensors(snapshot->model);
    if (!with_states) bal_states_clear(&snapshot->states);
    bal_status status = bal_tensors_allocate(tensors);
    if (status == BAL_OK) status = bal_states_allocate(&snapshot->states, tensors);
    if (status == BAL_OK) status = bal_checkpoint_fill(path, tensors, &snapshot->states);
    if (status != BAL_OK) bal_snapshot_clear(snapshot);
    return status;
}
