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

bal_status bal_hdf5_read_attribute(const bal_reader *r, hid_t object, bal_place at,
                                   const char *name, hid_t type, hsize_t n, void *values)
{
    BAL_HANDLE attribute = H5Aopen(object, name, H5P_DEFAULT);
    if (attribute < 0) return bal_hdf5_damaged(r, at, name, "this attribute is missing");
    BAL_HANDLE found = H5Aget_type(attribute), space = H5Aget_space(attribute);
    hsize_t dims[H5S_MAX_RANK] = {0};
    bool fits = H5Tequal(found, type) > 0 &&
                H5Sget_simple_extent_type(space) == (n == 0 ? H5S_SCALAR : H5S_SIMPLE);
    if (fits && n > 0) fits = H5Sget_simple_extent_dims(space, dims, NULL) == 1 && dims[0] == n;
    if (!fits)
        return bal_hdf5_damaged(r, at, name,
                                "found an attribute of another type or shape than expected");
    return H5Aread(attribute, type, values) >= 0 ? BAL_OK
                                                 : bal_hdf5_damaged(r, at, name, bal_hdf5_reason());
}

bal_status bal_hdf5_read_text(const bal_reader *r, hid_t object, bal_place at, const char *name,
                              char *text, size_t n_bytes)
{
    BAL_HANDLE attribute = H5Aopen(object, name, H5P_DEFAULT);
    if (attribute < 0) return bal_hdf5_damaged(r, at, name, "this attribute is missing");
    BAL_HANDLE type = H5Aget_type(attribute);
    if (!bal_hdf5_is_text(type) || H5Tget_size(type) >= n_bytes)
        return bal_hdf5_damaged(r, at, name,
                                "expected a text of fixed length, and not a longer one");
    memset(text, 0, n_bytes);
    return bal_hdf5_read_attribute(r, object, at, name, type, 0, text);
}

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

bool bal_hdf5_is_text(hid_t type)
{
    return H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0;
}

bool bal_hdf5_is_hard_link(hid_t group, const char *name)
{
    H5L_info_t info;
    return H5Lget_info(group, name, &info, H5P_DEFAULT) >= 0 && info.type == H5L_TYPE_HARD;
}

/* Storage outside the file could make us read someone else's. */
static bool storage_is_ours(hid_t dataset, int rank, int64_t n)
{
    BAL_HANDLE how = H5Dget_create_plist(dataset);
    unsigned flags, config;
    size_t n_values = 0;
    H5D_layout_t layout = H5Pget_layout(how);
    if (rank == 0 || n == 0) return layout == H5D_CONTIGUOUS && H5Pget_external_count(how) == 0;
    return layout == H5D_CHUNKED && H5Pget_nfilters(how) == 1 &&
           H5Pget_filter2(how, 0, &flags, &n_values, NULL, 0, NULL, &config) ==
               H5Z_FILTER_FLETCHER32;
}

bal_status bal_hdf5_open_dataset(const bal_reader *r, hid_t group, bal_place at, hid_t type,
                                 int rank, int64_t *dims, hid_t *dataset)
{
    char sentence[200];
    if (!bal_hdf5_is_hard_link(group, at.object))
        return bal_hdf5_damaged(r, at, "", "this dataset is missing");
    *dataset = H5Dopen2(group, at.object, H5P_DEFAULT);
    if (*dataset < 0) return bal_hdf5_damaged(r, at, "", bal_hdf5_reason());
    BAL_HANDLE found = H5Dget_type(*dataset), space = H5Dget_space(*dataset);
    hsize_t sizes[H5S_MAX_RANK] = {0};
    int64_t n = 1;
    int found_rank = space < 0 ? -1 : H5Sget_simple_extent_dims(space, sizes, NULL);
    if (H5Tequal(found, type) <= 0)
        return bal_hdf5_damaged(r, at, "", "found elements of another type than expected");
    if (found_rank != rank ||
        H5Sget_simple_extent_type(space) != (rank == 0 ? H5S_SCALAR : H5S_SIMPLE)) {
        snprintf(sentence, sizeof sentence, "found %d dimensions; expected %d", found_rank, rank);
        return bal_hdf5_damaged(r, at, "", sentence);
    }
    bool fits = true;
    for (int d = 0; fits && d < rank; ++d) {
        if (dims[d] >= 0 && sizes[d] != (hsize_t)dims[d]) {
            snprintf(sentence, sizeof sentence, "dimension %d is %llu; expected %" PRId64, d,
                     (unsigned long long)sizes[d], dims[d]);
            return bal_hdf5_damaged(r, at, "", sentence);
        }
        fits =
            sizes[d] <= (hsize_t)r->file_bytes && !__builtin_mul_overflow(n, (int64_t)sizes[d], &n);
        dims[d] = (int64_t)sizes[d];
    }
    if (!fits || n > r->file_bytes / (int64_t)H5Tget_size(type))
        return bal_hdf5_damaged(r, at, "", "found more elements than the file has bytes");
    if (storage_is_ours(*dataset, rank, n)) return BAL_OK;
    return bal_hdf5_damaged(r, at, "",
                            "found another storage than checksummed chunks in this file");
}

bal_status bal_hdf5_read_all(const bal_reader *r, bal_place at, hid_t dataset, hid_t type,
                             void *values)
{
    if (H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0) return BAL_OK;
    return bal_hdf5_damaged(r, at, "", bal_hdf5_reason());
}

bal_status bal_hdf5_read_rows(const bal_reader *r, bal_place at, hid_t dataset, hid_t type,
                              int64_t first, int64_t n, void *values)
{
    BAL_HANDLE memory = H5I_INVALID_HID, space = bal_hdf5_rows(dataset, first, n, &memory);
    if (H5Dread(dataset, type, memory, space, H5P_DEFAULT, values) >= 0) return BAL_OK;
    return bal_hdf5_damaged(r, at, "", bal_hdf5_reason());
}

bal_status bal_hdf5_read_dataset(const bal_reader *r, hid_t group, bal_place at, hid_t type,
                                 int rank, const int64_t *shape, void *values)
{
    int64_t dims[2] = {0};
    BAL_HANDLE dataset = H5I_INVALID_HID;
    for (int d = 0; d < rank; ++d) dims[d] = shape[d];
    BAL_TRY(bal_hdf5_open_dataset(r, group, at, type, rank, dims, &dataset));
    return bal_hdf5_read_all(r, at, dataset, type, values);
}

bal_status bal_hdf5_read_bytes(const bal_reader *r, hid_t group, bal_place at, uint8_t **bytes,
                               size_t *n_bytes)
{
    int64_t n = -1;
    BAL_HANDLE dataset = H5I_INVALID_HID;
    BAL_TRY(bal_hdf5_open_dataset(r, group, at, H5T_STD_U8LE, 1, &n, &dataset));
    *n_bytes = (size_t)n;
    if (n == 0) return BAL_OK;
    *bytes = malloc((size_t)n);
    if (*bytes != NULL) return bal_hdf5_read_all(r, at, dataset, H5T_STD_U8LE, *bytes);
    return bal_fail(BAL_ERR_MEMORY, "%s: no memory for %" PRId64 " bytes of %s/%s", r->path, n,
                    at.group, at.object);
}

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
