/* hdf5_write.c: parts of an HDF5 file. Two writes of the same give the same bytes: objects carry no
 * times, and text has a fixed length instead of lying in a heap. After a failure nothing more is
 * written; the caller asks once, at the end. */
#include <string.h>

#include "hdf5_impl.h"

#define CHUNK_BYTES 1048576

hid_t bal_hdf5_rows(hid_t dataset, int64_t first, int64_t n, hid_t *memory)
{
    hsize_t dims[2] = {0}, from[2] = {(hsize_t)first, 0};
    hid_t space = H5Dget_space(dataset);
    int rank = H5Sget_simple_extent_dims(space, dims, NULL);
    dims[0] = (hsize_t)n;
    H5Sselect_hyperslab(space, H5S_SELECT_SET, from, NULL, dims, NULL);
    *memory = H5Screate_simple(rank, dims, NULL);
    return space;
}

void bal_hdf5_write_attribute(hid_t object, const char *name, hid_t type, int rank,
                              const hsize_t *dims, const void *values)
{
    if (bal_hdf5_failed()) return;
    BAL_HANDLE space = rank == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(rank, dims, NULL);
    BAL_HANDLE attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    H5Awrite(attribute, type, values);
}

hid_t bal_hdf5_text_type(size_t n_bytes)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, n_bytes == 0 ? 1 : n_bytes);
    H5Tset_strpad(type, H5T_STR_NULLPAD);
    H5Tset_cset(type, H5T_CSET_UTF8);
    return type;
}

void bal_hdf5_write_text(hid_t object, const char *name, const char *text)
{
    BAL_HANDLE type = bal_hdf5_text_type(strlen(text));
    bal_hdf5_write_attribute(object, name, type, 0, NULL, text);
}

/* Chunks of at most about 1 MiB. @return the number of elements. */
static hsize_t cut(int rank, const hsize_t *dims, size_t element_bytes, hsize_t *chunk)
{
    hsize_t n = 1, room = CHUNK_BYTES / element_bytes;
    for (int d = rank - 1; d >= 0; --d) {
        n *= dims[d];
        chunk[d] = dims[d] < room ? dims[d] : room;
        room = chunk[d] == 0 || room / chunk[d] == 0 ? 1 : room / chunk[d];
    }
    return n;
}

/* Without elements or without a rank there is nothing to cut into chunks. */
hid_t bal_hdf5_make_dataset(hid_t group, const char *name, hid_t type, int rank,
                            const hsize_t *dims, const hsize_t *chunk)
{
    if (bal_hdf5_failed()) return H5I_INVALID_HID;
    hsize_t n = 1;
    for (int d = 0; d < rank; ++d) n *= dims[d];
    BAL_HANDLE space = rank == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(rank, dims, NULL);
    BAL_HANDLE how = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_obj_track_times(how, false);
    if (rank > 0 && n > 0) {
        H5Pset_chunk(how, rank, chunk);
        H5Pset_fletcher32(how);
    }
    return H5Dcreate2(group, name, type, space, H5P_DEFAULT, how, H5P_DEFAULT);
}

void bal_hdf5_write_dataset(hid_t group, const char *name, hid_t type, int rank,
                            const hsize_t *dims, const void *values, hid_t *dataset)
{
    if (bal_hdf5_failed()) return;
    hsize_t chunk[2], n = cut(rank, dims, H5Tget_size(type), chunk);
    hid_t set = bal_hdf5_make_dataset(group, name, type, rank, dims, chunk);
    if (n > 0) H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
    if (dataset != NULL)
        *dataset = set;
    else
        bal_hdf5_close(&set);
}

void bal_hdf5_write_rows(hid_t dataset, hid_t type, int64_t first, int64_t n, const void *values)
{
    if (bal_hdf5_failed()) return;
    BAL_HANDLE memory = H5I_INVALID_HID, space = bal_hdf5_rows(dataset, first, n, &memory);
    H5Dwrite(dataset, type, memory, space, H5P_DEFAULT, values);
}

hid_t bal_hdf5_make_group(hid_t above, const char *name)
{
    if (bal_hdf5_failed()) return H5I_INVALID_HID;
    BAL_HANDLE how = H5Pcreate(H5P_GROUP_CREATE);
    H5Pset_obj_track_times(how, false);
    return H5Gcreate2(above, name, H5P_DEFAULT, how, H5P_DEFAULT);
}

/* Whole chunks with their checksums, a node of the tree that finds 32 to 64 of them, and what HDF5
 * keeps of its name and its few attributes. */
int64_t bal_hdf5_chunked_bytes(int rank, const hsize_t *dims, const hsize_t *chunk,
                               size_t element_bytes)
{
    enum { HEADER_BYTES = 368, NODE_CHUNKS = 48 };
    hsize_t n_chunks = 1, chunk_bytes = element_bytes;
    for (int d = 0; d < rank; ++d) {
        if (dims[d] == 0) return HEADER_BYTES;
        n_chunks *= (dims[d] + chunk[d] - 1) / chunk[d];
        chunk_bytes *= chunk[d];
    }
    hsize_t node_bytes = 24 + 65 * (16 + 8 * (hsize_t)rank) + 64 * 8;
    return (int64_t)(n_chunks * (chunk_bytes + 4) +
                     (n_chunks + NODE_CHUNKS - 1) / NODE_CHUNKS * node_bytes + HEADER_BYTES);
}

int64_t bal_hdf5_dataset_bytes(int rank, int64_t n_rows, int64_t n_cols, size_t element_bytes)
{
    hsize_t dims[2] = {(hsize_t)n_rows, (hsize_t)n_cols}, chunk[2];
    cut(rank, dims + 2 - rank, element_bytes, chunk);
    return bal_hdf5_chunked_bytes(rank, dims + 2 - rank, chunk, element_bytes);
}
