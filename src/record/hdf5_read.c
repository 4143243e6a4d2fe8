/* hdf5_read.c: parts of an HDF5 file that are exactly what the caller expects. Its checksums say
 * that the file is what its writer wrote, not who wrote it: so types, shapes, links and storage are
 * checked, and sizes against that of the file, before memory is taken. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "hdf5_impl.h"

bal_status bal_hdf5_damaged(const bal_reader *r, bal_place at, const char *name, const char *what)
{
    return bal_fail(BAL_ERR_INPUT, "%s: %s%s%s%s%s: %s", r->path, at.group,
                    at.object[0] != '\0' ? "/" : "", at.object, name[0] != '\0' ? "/" : "", name,
                    what);
}

/* Open an attribute of exactly that type with n values (0: a scalar), and read it. */
bal_status bal_hdf5_read_attribute(const bal_reader *r, hid_t object, bal_place at,
                                   const char *name, hid_t type, hsize_t n, void *values)
{
    hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
    if (attribute < 0) return bal_hdf5_damaged(r, at, name, "this attribute is missing");
    hid_t found = H5Aget_type(attribute), space = H5Aget_space(attribute);
    hsize_t dims[H5S_MAX_RANK] = {0};
    bool fits = H5Tequal(found, type) > 0 &&
                H5Sget_simple_extent_type(space) == (n == 0 ? H5S_SCALAR : H5S_SIMPLE);
    if (fits && n > 0) fits = H5Sget_simple_extent_dims(space, dims, NULL) == 1 && dims[0] == n;
    bal_status status = BAL_OK;
    if (!fits)
        status = bal_hdf5_damaged(r, at, name,
                                  "found an attribute of another type or shape than expected");
    else if (H5Aread(attribute, type, values) < 0)
        status = bal_hdf5_damaged(r, at, name, bal_hdf5_reason());
    if (found >= 0) H5Tclose(found);
    if (space >= 0) H5Sclose(space);
    H5Aclose(attribute);
    return status;
}

/* A text attribute of fewer than n_bytes bytes, with its end. */
bal_status bal_hdf5_read_text(const bal_reader *r, hid_t object, bal_place at, const char *name,
                              char *text, size_t n_bytes)
{
    bal_status status = BAL_OK;
    hid_t type = H5I_INVALID_HID;
    hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
    if (attribute < 0) return bal_hdf5_damaged(r, at, name, "this attribute is missing");
    type = H5Aget_type(attribute);
    size_t size = type < 0 ? 0 : H5Tget_size(type);
    if (type < 0 || H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) != 0 ||
        size >= n_bytes) {
        status =
            bal_hdf5_damaged(r, at, name, "expected a text of fixed length, and not a longer one");
    } else {
        memset(text, 0, n_bytes);
        status = bal_hdf5_read_attribute(r, object, at, name, type, 0, text);
    }
    if (type >= 0) H5Tclose(type);
    H5Aclose(attribute);
    return status;
}

/* Compare a text attribute with what it must be. */
bal_status bal_hdf5_expect_text(const bal_reader *r, hid_t object, bal_place at, const char *name,
                                const char *expected)
{
    size_t n_bytes = strlen(expected) + BAL_HDF5_TEXT_BYTES;
    char *text = malloc(n_bytes);
    if (text == NULL) return bal_fail(BAL_ERR_MEMORY, "%s: no memory for a text", r->path);
    bal_status status = bal_hdf5_read_text(r, object, at, name, text, n_bytes);
    if (status == BAL_OK && strcmp(text, expected) != 0) {
        char sentence[256];
        snprintf(sentence, sizeof sentence, "found \"%.100s\"; expected \"%.100s\"", text,
                 expected);
        status = bal_hdf5_damaged(r, at, name, sentence);
    }
    free(text);
    return status;
}

bal_status bal_hdf5_read_fields(const bal_reader *r, hid_t object, bal_place at,
                                const bal_field *fields, void *structure)
{
    for (; fields->name != NULL; ++fields)
        BAL_TRY(bal_hdf5_read_attribute(r, object, at, fields->name, bal_hdf5_type(fields->type), 0,
                                        (char *)structure + fields->offset));
    return BAL_OK;
}

/* A link of another kind, or storage outside the file, could make us read someone else's file. */
bool bal_hdf5_is_hard_link(hid_t group, const char *name)
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
bal_status bal_hdf5_open_dataset(const bal_reader *r, hid_t group, bal_place at, hid_t type,
                                 int rank, int64_t *dims, hid_t *dataset)
{
    char sentence[200];
    *dataset = H5I_INVALID_HID;
    if (!bal_hdf5_is_hard_link(group, at.object))
        return bal_hdf5_damaged(r, at, "", "this dataset is missing");
    *dataset = H5Dopen2(group, at.object, H5P_DEFAULT);
    if (*dataset < 0) return bal_hdf5_damaged(r, at, "", bal_hdf5_reason());
    hid_t found = H5Dget_type(*dataset), space = H5Dget_space(*dataset);
    hsize_t sizes[H5S_MAX_RANK] = {0};
    bal_status status = BAL_OK;
    int64_t n = 1;
    int found_rank = space < 0 ? -1 : H5Sget_simple_extent_dims(space, sizes, NULL);
    if (H5Tequal(found, type) <= 0)
        status = bal_hdf5_damaged(r, at, "", "found elements of another type than expected");
    else if (found_rank != rank ||
             H5Sget_simple_extent_type(space) != (rank == 0 ? H5S_SCALAR : H5S_SIMPLE)) {
        snprintf(sentence, sizeof sentence, "found %d dimensions; expected %d", found_rank, rank);
        status = bal_hdf5_damaged(r, at, "", sentence);
    }
    for (int d = 0; status == BAL_OK && d < rank; ++d) {
        if (dims[d] >= 0 && sizes[d] != (hsize_t)dims[d]) {
            snprintf(sentence, sizeof sentence, "dimension %d is %llu; expected %" PRId64, d,
                     (unsigned long long)sizes[d], dims[d]);
            status = bal_hdf5_damaged(r, at, "", sentence);
        } else if (sizes[d] > (hsize_t)r->file_bytes ||
                   __builtin_mul_overflow(n, (int64_t)sizes[d], &n)) {
            status = bal_hdf5_damaged(r, at, "", "found more elements than the file has bytes");
        } else {
            dims[d] = (int64_t)sizes[d];
        }
    }
    if (status == BAL_OK && n > r->file_bytes / (int64_t)H5Tget_size(type))
        status = bal_hdf5_damaged(r, at, "", "found more elements than the file has bytes");
    if (status == BAL_OK && !storage_is_ours(*dataset, rank, n))
        status = bal_hdf5_damaged(r, at, "",
                                  "found another storage than checksummed chunks in this file");
    if (found >= 0) H5Tclose(found);
    if (space >= 0) H5Sclose(space);
    if (status != BAL_OK) {
        H5Dclose(*dataset);
        *dataset = H5I_INVALID_HID;
    }
    return status;
}

/* Read all of an open dataset and close it. */
bal_status bal_hdf5_finish_dataset(const bal_reader *r, bal_place at, hid_t dataset, hid_t type,
                                   void *values)
{
    bal_status status = BAL_OK;
    if (H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0)
        status = bal_hdf5_damaged(r, at, "", bal_hdf5_reason());
    H5Dclose(dataset);
    return status;
}

/* Read a dataset whose shape is known. */
bal_status bal_hdf5_read_dataset(const bal_reader *r, hid_t group, bal_place at, hid_t type,
                                 int rank, const int64_t *shape, void *values)
{
    int64_t dims[2] = {0};
    hid_t dataset;
    for (int d = 0; d < rank; ++d) dims[d] = shape[d];
    BAL_TRY(bal_hdf5_open_dataset(r, group, at, type, rank, dims, &dataset));
    return bal_hdf5_finish_dataset(r, at, dataset, type, values);
}

/* A member of a config that is written in words. */
/* Read a one-dimensional dataset of bytes. *bytes is NULL when there are none. */
bal_status bal_hdf5_read_bytes(const bal_reader *r, hid_t group, bal_place at, uint8_t **bytes,
                               size_t *n_bytes)
{
    int64_t n = -1;
    hid_t dataset;
    BAL_TRY(bal_hdf5_open_dataset(r, group, at, H5T_STD_U8LE, 1, &n, &dataset));
    *n_bytes = (size_t)n;
    if (n == 0) {
        H5Dclose(dataset);
        return BAL_OK;
    }
    *bytes = malloc((size_t)n);
    if (*bytes != NULL) return bal_hdf5_finish_dataset(r, at, dataset, H5T_STD_U8LE, *bytes);
    H5Dclose(dataset);
    return bal_fail(BAL_ERR_MEMORY, "%s: no memory for %" PRId64 " bytes of %s/%s", r->path, n,
                    at.group, at.object);
}

/* Name of link number index of a group, in the order of names. */
bal_status bal_hdf5_link_name(const bal_reader *r, hid_t group, bal_place at, hsize_t index,
                              char *name, size_t n_bytes)
{
    ssize_t n = H5Lget_name_by_idx(group, ".", H5_INDEX_NAME, H5_ITER_INC, index, name, n_bytes,
                                   H5P_DEFAULT);
    if (n <= 0 || (size_t)n >= n_bytes || strchr(name, '/') != NULL)
        return bal_hdf5_damaged(r, at, "", "found a name that does not belong here");
    return BAL_OK;
}

bal_status bal_hdf5_open_group(const bal_reader *r, hid_t above, const char *path, const char *name,
                               hid_t *group)
{
    *group =
        bal_hdf5_is_hard_link(above, name) ? H5Gopen2(above, name, H5P_DEFAULT) : H5I_INVALID_HID;
    if (*group >= 0) return BAL_OK;
    return bal_fail(BAL_ERR_INPUT, "%s: %s/%s: this group is missing", r->path, path, name);
}
