/* checkpoint_write.c: a snapshot as HDF5. Two writes of one snapshot give the same bytes: objects
 * carry no times, and text has a fixed length instead of lying in a heap. */
#include <assert.h>
#include <errno.h>
#include <hdf5.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "record_impl.h"

#define CHUNK_BYTES 1048576

static _Thread_local char reason[256];

/* Called by HDF5 from the inner-most failure outwards; the first says most. */
static herr_t keep_first(unsigned depth, const H5E_error2_t *error, void *unused)
{
    (void)depth;
    (void)unused;
    if (reason[0] != '\0' || error->desc == NULL) return 0;
    snprintf(reason, sizeof reason, "%s", error->desc);
    return 0;
}

static herr_t on_failure(hid_t stack, void *unused)
{
    (void)unused;
    return H5Ewalk2(stack, H5E_WALK_UPWARD, keep_first, NULL);
}

void bal_hdf5_listen(void)
{
    reason[0] = '\0';
    H5Eset_auto2(H5E_DEFAULT, on_failure, NULL);
}

const char *bal_hdf5_reason(void) { return reason[0] != '\0' ? reason : "HDF5 gave no reason"; }

hid_t bal_hdf5_type(bal_field_type type)
{
    switch (type) {
        case BAL_FIELD_I32:
            return H5T_STD_I32LE;
        case BAL_FIELD_U32:
            return H5T_STD_U32LE;
        case BAL_FIELD_I64:
            return H5T_STD_I64LE;
        case BAL_FIELD_U64:
            return H5T_STD_U64LE;
        default:
            return H5T_IEEE_F64LE;
    }
}

/* rank 0: a scalar. */
static bool write_attribute(hid_t object, const char *name, hid_t type, int rank,
                            const hsize_t *dims, const void *values)
{
    hid_t space = rank == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(rank, dims, NULL);
    hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    bool good = attribute >= 0 && H5Awrite(attribute, type, values) >= 0;
    if (attribute >= 0) good = H5Aclose(attribute) >= 0 && good;
    if (space >= 0) H5Sclose(space);
    return good;
}

/* A type for a text of that length, ended or filled by zeros. */
static hid_t text_type(size_t n_bytes)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    if (type >= 0 &&
        (H5Tset_size(type, n_bytes == 0 ? 1 : n_bytes) < 0 ||
         H5Tset_strpad(type, H5T_STR_NULLPAD) < 0 || H5Tset_cset(type, H5T_CSET_UTF8) < 0)) {
        H5Tclose(type);
        return H5I_INVALID_HID;
    }
    return type;
}

static bool write_text(hid_t object, const char *name, const char *text)
{
    hid_t type = text_type(strlen(text));
    bool good = write_attribute(object, name, type, 0, NULL, text);
    if (type >= 0) H5Tclose(type);
    return good;
}

static bool write_fields(hid_t object, const bal_field *fields, const void *structure)
{
    bool good = true;
    for (; good && fields->name != NULL; ++fields)
        good = write_attribute(object, fields->name, bal_hdf5_type(fields->type), 0, NULL,
                               (const char *)structure + fields->offset);
    return good;
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

/* Chunked under fletcher32; without elements or without a rank there is nothing to cut. *dataset
 * stays open for attributes unless it is NULL. */
static bool write_dataset(hid_t group, const char *name, hid_t type, int rank, const hsize_t *dims,
                          const void *values, hid_t *dataset)
{
    hsize_t chunk[2], n = cut(rank, dims, H5Tget_size(type), chunk);
    hid_t space = rank == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(rank, dims, NULL);
    hid_t how = H5Pcreate(H5P_DATASET_CREATE);
    bool good = space >= 0 && how >= 0 && H5Pset_obj_track_times(how, false) >= 0;
    if (good && rank > 0 && n > 0)
        good = H5Pset_chunk(how, rank, chunk) >= 0 && H5Pset_fletcher32(how) >= 0;
    hid_t set = good ? H5Dcreate2(group, name, type, space, H5P_DEFAULT, how, H5P_DEFAULT)
                     : H5I_INVALID_HID;
    good = set >= 0 && (n == 0 || H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    if (good && dataset != NULL)
        *dataset = set;
    else if (set >= 0)
        good = H5Dclose(set) >= 0 && good;
    if (how >= 0) H5Pclose(how);
    if (space >= 0) H5Sclose(space);
    return good;
}

static hid_t make_group(hid_t file, const char *name)
{
    hid_t how = H5Pcreate(H5P_GROUP_CREATE);
    hid_t group = H5I_INVALID_HID;
    if (how >= 0 && H5Pset_obj_track_times(how, false) >= 0)
        group = H5Gcreate2(file, name, H5P_DEFAULT, how, H5P_DEFAULT);
    if (how >= 0) H5Pclose(how);
    return group;
}

/* Where the parts of tensors go. */
typedef struct tensor_groups {
    hid_t model, scale, factor;
} tensor_groups;

/* buffer has room for the tensor's codes. */
static bool write_tensor(const tensor_groups *groups, const bal_tensor *t, void *buffer)
{
    hsize_t dims[2] = {(hsize_t)t->n_rows, (hsize_t)t->n_cols};
    hsize_t rank = t->role == BAL_MATRIX ? 2 : 1;
    const hsize_t *shape = dims + 2 - rank;
    int64_t sizes[2] = {t->n_rows, t->n_cols};
    hid_t dataset = H5I_INVALID_HID;
    bal_tensor_get_codes(t, buffer);
    bool good =
        write_dataset(groups->model, t->name, t->format == BAL_I16 ? H5T_STD_I16LE : H5T_STD_I8LE,
                      (int)rank, shape, buffer, &dataset) &&
        write_text(dataset, "role", bal_role_names[t->role]) &&
        write_text(dataset, "format", bal_format_name(t->format)) &&
        write_attribute(dataset, "shape", H5T_STD_I64LE, 1, &rank, sizes + 2 - rank);
    if (good && t->group > 0) {
        int32_t group = t->group;
        dims[1] = (hsize_t)bal_tensor_n_groups(t);
        bal_tensor_get_factors(t, buffer);
        good = write_attribute(dataset, "group", H5T_STD_I32LE, 0, NULL, &group) &&
               write_dataset(groups->factor, t->name, H5T_STD_U8LE, 2, dims, buffer, NULL);
        dims[1] = (hsize_t)t->n_cols;
    }
    if (dataset >= 0) good = H5Dclose(dataset) >= 0 && good;
    if (!good) return false;
    return write_dataset(groups->scale, t->name, H5T_IEEE_F32LE, 1, dims, t->scale, NULL);
}

static bool write_member(hid_t model, const bal_config_row *row, const bal_model_config *config)
{
    const void *member = (const char *)config + row->offset;
    char words[BAL_CONFIG_WORDS_BYTES];
    int32_t flag;
    switch (row->kind) {
        case BAL_CONFIG_SIZE:
            return write_attribute(model, row->name, H5T_STD_I64LE, 0, NULL, member);
        case BAL_CONFIG_REAL:
            return write_attribute(model, row->name, H5T_IEEE_F64LE, 0, NULL, member);
        case BAL_CONFIG_FLAG:
            flag = *(const bool *)member;
            return write_attribute(model, row->name, H5T_STD_I32LE, 0, NULL, &flag);
        default:
            bal_config_print(row, config, words);
            return write_text(model, row->name, words);
    }
}

static bool write_config(hid_t model, const bal_model_config *config)
{
    bool good = true;
    for (int i = 0; good && i < BAL_N_CONFIG_ROWS; ++i)
        good = write_member(model, &bal_config_rows[i], config);
    return good;
}

static bool write_model(hid_t file, const bal_model *m, void *buffer)
{
    const bal_formats *formats = bal_model_formats(m);
    int32_t group = formats->group;
    tensor_groups groups = {make_group(file, "model"), make_group(file, "scale"),
                            make_group(file, "factor")};
    hid_t all[] = {groups.model, groups.scale, groups.factor}, model = groups.model;
    bool good = true;
    for (int i = 0; i < 3; ++i) good = all[i] >= 0 && good;
    good = good && write_config(model, bal_model_shape(m)) &&
           write_text(model, "codes", bal_format_name(formats->matrices)) &&
           write_attribute(model, "group", H5T_STD_I32LE, 0, NULL, &group) &&
           write_text(model, "formats", formats->patterns);
    const bal_tensors *tensors = bal_model_tensors(m);
    for (int i = 0; good && i < tensors->n; ++i)
        good = write_tensor(&groups, &tensors->at[i], buffer);
    for (int i = 0; i < 3; ++i)
        if (all[i] >= 0) good = H5Gclose(all[i]) >= 0 && good;
    return good;
}

/* A group of tensors for each state; buffer as above. */
static bool write_states(hid_t file, const bal_tensors *tensors, const bal_states *states,
                         void *buffer)
{
    hid_t optimizer = make_group(file, "optimizer");
    bool good = optimizer >= 0;
    for (int k = 0; good && k < states->n; ++k) {
        hid_t group = make_group(optimizer, states->at[k].name);
        good = group >= 0;
        for (int i = 0; good && i < tensors->n; ++i) {
            const bal_tensor *t = &tensors->at[i];
            hsize_t dims[2] = {(hsize_t)t->n_rows, (hsize_t)t->n_cols};
            int rank = t->role == BAL_MATRIX ? 2 : 1;
            bal_tensor_get_bytes(t, bal_state_of(&states->at[k], t), buffer);
            good = write_dataset(group, t->name, H5T_STD_I8LE, rank, dims + 2 - rank, buffer, NULL);
        }
        if (group >= 0) good = H5Gclose(group) >= 0 && good;
    }
    if (optimizer >= 0) good = H5Gclose(optimizer) >= 0 && good;
    return good;
}

static bool write_table(hid_t group, const char *name, hid_t type, int64_t n_rows, int64_t n_cols,
                        const void *values, const char *columns, const char *names)
{
    hsize_t dims[2] = {(hsize_t)n_rows, (hsize_t)n_cols};
    hid_t dataset = H5I_INVALID_HID;
    bool good = write_dataset(group, name, type, 2, dims, values, &dataset) &&
                write_text(dataset, columns, names);
    if (dataset >= 0) good = H5Dclose(dataset) >= 0 && good;
    return good;
}

static bool write_metrics(hid_t file, const bal_metrics *m, const int64_t *steps,
                          const char *phases, const char *tensors)
{
    hsize_t n = (hsize_t)m->n;
    hid_t group = make_group(file, "metrics");
    bool good =
        group >= 0 && write_dataset(group, "step", H5T_STD_I64LE, 1, &n, steps, NULL) &&
        write_dataset(group, "loss_nats", H5T_IEEE_F64LE, 1, &n, m->loss_nats, NULL) &&
        write_dataset(group, "dev_loss_nats", H5T_IEEE_F64LE, 1, &n, m->dev_loss_nats, NULL) &&
        write_dataset(group, "agreement", H5T_IEEE_F64LE, 1, &n, m->agreement, NULL) &&
        write_dataset(group, "forward_passes", H5T_STD_I64LE, 1, &n, m->n_passes, NULL) &&
        write_table(group, "seconds", H5T_IEEE_F64LE, m->n, BAL_N_PHASES, m->seconds, "phases",
                    phases) &&
        write_table(group, "flips", H5T_STD_U32LE, m->n, m->n_tensors, m->flips, "tensors",
                    tensors);
    if (group >= 0) good = H5Gclose(group) >= 0 && good;
    return good;
}

static bool write_journal(hid_t file, const bal_snapshot *s)
{
    hsize_t n = s->journal_bytes;
    hid_t group = make_group(file, "ballots");
    bool good =
        group >= 0 && write_dataset(group, "journal", H5T_STD_U8LE, 1, &n, s->journal, NULL);
    if (group >= 0) good = H5Gclose(group) >= 0 && good;
    return good;
}

static bool write_job(hid_t file, const bal_snapshot *s)
{
    unsigned major, minor, release;
    char hdf5[48], host[BAL_HOST_BYTES];
    H5get_libversion(&major, &minor, &release);
    snprintf(hdf5, sizeof hdf5, "%u.%u.%u", major, minor, release);
    bal_host_name(host);
    hid_t type = text_type(strlen(s->job_text));
    hid_t group = make_group(file, "job");
    bool good =
        group >= 0 && type >= 0 && write_dataset(group, "text", type, 0, NULL, s->job_text, NULL) &&
        write_text(group, "host", host) && write_text(group, "isa", s->isa) &&
        write_text(group, "ballot_version", BALLOT_VERSION) &&
        write_text(group, "hdf5_version", hdf5) && write_fields(group, bal_run_id_fields, &s->id);
    if (type >= 0) H5Tclose(type);
    if (group >= 0) good = H5Gclose(group) >= 0 && good;
    return good;
}

static bool write_files(hid_t file, const bal_files *files)
{
    hid_t group = make_group(file, "files");
    bool good = group >= 0;
    for (int i = 0; good && i < files->n; ++i) {
        hsize_t n = files->at[i].n_bytes;
        good =
            write_dataset(group, files->at[i].name, H5T_STD_U8LE, 1, &n, files->at[i].bytes, NULL);
    }
    if (group >= 0) good = H5Gclose(group) >= 0 && good;
    return good;
}

static bool write_root(hid_t file, const bal_snapshot *s)
{
    int32_t version = BAL_CHECKPOINT_VERSION;
    char fingerprint[17];
    snprintf(fingerprint, sizeof fingerprint, "%016" PRIx64, s->fingerprint);
    return write_attribute(file, "format_version", H5T_STD_I32LE, 0, NULL, &version) &&
           write_attribute(file, "step", H5T_STD_I64LE, 0, NULL, &s->step) &&
           write_text(file, "fingerprint", fingerprint) &&
           write_text(file, "ballot_version", BALLOT_VERSION) &&
           write_attribute(file, "stream_version", H5T_STD_U32LE, 0, NULL, &s->id.stream_version) &&
           write_text(file, "isa", s->isa) &&
           write_attribute(file, "dev_loss_nats", H5T_IEEE_F64LE, 0, NULL, &s->dev_loss_nats);
}

static hid_t create_file(const char *path)
{
    hid_t file = H5I_INVALID_HID;
    hid_t create = H5Pcreate(H5P_FILE_CREATE), access = H5Pcreate(H5P_FILE_ACCESS);
    hid_t driver = bal_hdf5_driver();
    if (create >= 0 && access >= 0 && driver >= 0 &&
        H5Pset_userblock(create, BAL_CHECKPOINT_USER_BLOCK) >= 0 &&
        H5Pset_obj_track_times(create, false) >= 0 &&
        H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V18) >= 0 &&
        H5Pset_driver(access, driver, NULL) >= 0)
        file = H5Fcreate(path, H5F_ACC_TRUNC, create, access);
    if (create >= 0) H5Pclose(create);
    if (access >= 0) H5Pclose(access);
    return file;
}

int64_t bal_largest_bytes(const bal_tensors *tensors)
{
    int64_t largest = 1;
    for (int i = 0; i < tensors->n; ++i) {
        const bal_tensor *t = &tensors->at[i];
        int64_t n = bal_tensor_n(t) * (t->format == BAL_I16 ? 2 : 1);
        if (n > largest) largest = n;
    }
    return largest;
}

bal_status bal_checkpoint_write_hdf5(const char *path, const char *name, const bal_snapshot *s)
{
    assert(bal_model_is_integer(s->model));
    const bal_tensors *tensors = bal_model_tensors(s->model);
    assert(s->metrics.n_tensors == tensors->n);
    bal_status status = BAL_OK;
    hid_t file = H5I_INVALID_HID;
    bool good = false;
    void *buffer = bal_alloc((size_t)bal_largest_bytes(tensors), 1);
    int64_t *steps = bal_alloc((size_t)s->metrics.n, sizeof *steps);
    char *phases = bal_phase_names();
    char *names = bal_tensor_names(tensors);
    if (buffer == NULL || steps == NULL || phases == NULL || names == NULL) {
        status = bal_fail(BAL_ERR_MEMORY, "%s: no memory to write a checkpoint", name);
        goto done;
    }
    for (int64_t row = 0; row < s->metrics.n; ++row) steps[row] = row;
    bal_hdf5_listen();
    file = create_file(path);
    good = file >= 0 && write_root(file, s) && write_model(file, s->model, buffer) &&
           write_states(file, tensors, &s->states, buffer) &&
           write_metrics(file, &s->metrics, steps, phases, names) && write_journal(file, s) &&
           write_job(file, s) && write_files(file, &s->files);
    if (file >= 0) good = H5Fclose(file) >= 0 && good;
    if (bal_hdf5_driver_errno() != 0)
        status = bal_fail(bal_hdf5_driver_errno() == ENOMEM ? BAL_ERR_MEMORY : BAL_ERR_IO,
                          "%s: writing failed: %s", name, strerror(bal_hdf5_driver_errno()));
    else if (!good)
        status = bal_fail(BAL_ERR_IO, "%s: writing failed: %s", name, bal_hdf5_reason());
done:
    free(buffer);
    free(steps);
    free(phases);
    free(names);
    return status;
}

/* What a dataset of rank 1 or 2 takes: whole chunks with their checksums, a node of the tree that
 * finds 32 to 64 of them, and what HDF5 keeps of its name and its few attributes. */
static int64_t dataset_bytes(int rank, int64_t n_rows, int64_t n_cols, size_t element_bytes)
{
    enum { HEADER_BYTES = 368, NODE_CHUNKS = 48 };
    hsize_t dims[2] = {(hsize_t)n_rows, (hsize_t)n_cols}, chunk[2], n_chunks = 1;
    hsize_t n = cut(rank, dims + 2 - rank, element_bytes, chunk), chunk_bytes = element_bytes;
    if (n == 0) return HEADER_BYTES;
    for (int d = 0; d < rank; ++d) {
        n_chunks *= (dims[d + 2 - rank] + chunk[d] - 1) / chunk[d];
        chunk_bytes *= chunk[d];
    }
    hsize_t node_bytes = 24 + 65 * (16 + 8 * (hsize_t)rank) + 64 * 8;
    return (int64_t)(n_chunks * (chunk_bytes + 4) +
                     (n_chunks + NODE_CHUNKS - 1) / NODE_CHUNKS * node_bytes + HEADER_BYTES);
}

int64_t bal_checkpoint_bytes(const bal_tensors *tensors, const bal_states *states,
                             const bal_files *files, int n_slots, int64_t n_steps)
{
    int64_t n_bytes = BAL_CHECKPOINT_USER_BLOCK + 8192; /* groups, attributes of /model, the job */
    for (int i = 0; i < tensors->n; ++i) {
        const bal_tensor *t = &tensors->at[i];
        int rank = t->role == BAL_MATRIX ? 2 : 1;
        n_bytes += dataset_bytes(rank, t->n_rows, t->n_cols, t->format == BAL_I16 ? 2 : 1) +
                   states->n * dataset_bytes(rank, t->n_rows, t->n_cols, 1) +
                   dataset_bytes(1, 1, t->n_rows, sizeof *t->scale);
        if (t->group > 0) n_bytes += dataset_bytes(2, t->n_rows, bal_tensor_n_groups(t), 1);
        n_bytes += (int64_t)strlen(t->name); /* in the list of flips */
    }
    for (int column = 0; column < 5; ++column) n_bytes += dataset_bytes(1, 1, n_steps, 8);
    n_bytes +=
        dataset_bytes(2, n_steps, BAL_N_PHASES, 8) + dataset_bytes(2, n_steps, tensors->n, 4);
    n_bytes += dataset_bytes(1, 1, bal_journal_bytes(n_slots, n_steps), 1);
    for (int i = 0; i < files->n; ++i)
        n_bytes += dataset_bytes(1, 1, (int64_t)files->at[i].n_bytes, 1);
    return n_bytes;
}

/* A tensor in row-major order, and the blocks that HDF5 has freed and keeps: up to 16 MiB of them
 * (H5set_free_list_limits). */
int64_t bal_checkpoint_memory(const bal_tensors *tensors, int64_t n_bytes)
{
    const int64_t kept = 16 << 20;
    return bal_largest_bytes(tensors) + (n_bytes < kept ? n_bytes : kept);
}
