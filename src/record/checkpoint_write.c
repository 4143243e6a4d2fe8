/* checkpoint_write.c: a snapshot as HDF5, published whole or not at all. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hdf5_impl.h"

/* Codes and factors; buffer has room for the codes. */
static void write_codes(hid_t codes, hid_t factors, const bal_tensor *t, void *buffer)
{
    hsize_t dims[2] = {(hsize_t)t->n_rows, (hsize_t)t->n_cols};
    hsize_t rank = t->role == BAL_MATRIX ? 2 : 1;
    int64_t sizes[2] = {t->n_rows, t->n_cols};
    BAL_HANDLE dataset = H5I_INVALID_HID;
    bal_tensor_get_codes(t, buffer);
    bal_hdf5_write_dataset(codes, t->name, t->format == BAL_I16 ? H5T_STD_I16LE : H5T_STD_I8LE,
                           (int)rank, dims + 2 - rank, buffer, &dataset);
    bal_hdf5_write_text(dataset, "role", bal_role_names[t->role]);
    bal_hdf5_write_text(dataset, "format", bal_format_name(t->format));
    bal_hdf5_write_attribute(dataset, "shape", H5T_STD_I64LE, 1, &rank, sizes + 2 - rank);
    if (t->group == 0) return;
    int32_t group = t->group;
    dims[1] = (hsize_t)bal_tensor_n_groups(t);
    bal_tensor_get_factors(t, buffer);
    bal_hdf5_write_attribute(dataset, "group", H5T_STD_I32LE, 0, NULL, &group);
    bal_hdf5_write_dataset(factors, t->name, H5T_STD_U8LE, 2, dims, buffer, NULL);
}

static void write_tensors(hid_t file, const bal_model *model, void *buffer)
{
    const bal_tensors *tensors = bal_model_tensors(model);
    BAL_HANDLE codes = bal_hdf5_make_group(file, "model");
    BAL_HANDLE scales = bal_hdf5_make_group(file, "scale");
    BAL_HANDLE factors = bal_hdf5_make_group(file, "factor");
    bal_write_model(codes, model);
    for (int i = 0; i < tensors->n; ++i) {
        const bal_tensor *t = &tensors->at[i];
        hsize_t n_rows = (hsize_t)t->n_rows;
        write_codes(codes, factors, t, buffer);
        bal_hdf5_write_dataset(scales, t->name, H5T_IEEE_F32LE, 1, &n_rows, t->scale, NULL);
    }
}

static void write_journal(hid_t file, const bal_snapshot *s)
{
    hsize_t n = s->journal_bytes;
    BAL_HANDLE group = bal_hdf5_make_group(file, "ballots");
    bal_hdf5_write_dataset(group, "journal", H5T_STD_U8LE, 1, &n, s->journal, NULL);
}

static void write_job(hid_t file, const bal_snapshot *s)
{
    bal_field fields[BAL_N_RUN_ID_FIELDS];
    unsigned major, minor, release;
    char hdf5[48], host[BAL_HOST_BYTES];
    H5get_libversion(&major, &minor, &release);
    snprintf(hdf5, sizeof hdf5, "%u.%u.%u", major, minor, release);
    bal_host_name(host);
    BAL_HANDLE type = bal_hdf5_text_type(strlen(s->job_text));
    BAL_HANDLE group = bal_hdf5_make_group(file, "job");
    bal_hdf5_write_dataset(group, "text", type, 0, NULL, s->job_text, NULL);
    bal_hdf5_write_text(group, "host", host);
    bal_hdf5_write_text(group, "isa", s->isa);
    bal_hdf5_write_text(group, "ballot_version", BALLOT_VERSION);
    bal_hdf5_write_text(group, "hdf5_version", hdf5);
    bal_run_id_fields(fields);
    for (int i = 0; i < BAL_N_RUN_ID_FIELDS - (s->id.task_hash == 0); ++i)
        bal_hdf5_write_attribute(group, fields[i].name, fields[i].type, 0, NULL,
                                 (const char *)&s->id + fields[i].offset);
    if (s->base.path[0] == 0) return;
    bal_hdf5_write_text(group, "base", s->base.path);
    bal_hdf5_write_attribute(group, "base_fingerprint", H5T_STD_U64LE, 0, NULL,
                             &s->base.fingerprint);
}

static void write_files(hid_t file, const bal_files *files)
{
    BAL_HANDLE group = bal_hdf5_make_group(file, "files");
    for (int i = 0; i < files->n; ++i) {
        hsize_t n = files->at[i].n_bytes;
        bal_hdf5_write_dataset(group, files->at[i].name, H5T_STD_U8LE, 1, &n, files->at[i].bytes,
                               NULL);
    }
}

static void write_root(hid_t file, const bal_snapshot *s)
{
    int32_t version = BAL_CHECKPOINT_VERSION;
    char fingerprint[17];
    snprintf(fingerprint, sizeof fingerprint, "%016" PRIx64, s->fingerprint);
    bal_hdf5_write_attribute(file, "format_version", H5T_STD_I32LE, 0, NULL, &version);
    bal_hdf5_write_attribute(file, "step", H5T_STD_I64LE, 0, NULL, &s->step);
    bal_hdf5_write_text(file, "fingerprint", fingerprint);
    bal_hdf5_write_text(file, "ballot_version", BALLOT_VERSION);
    bal_hdf5_write_attribute(file, "stream_version", H5T_STD_U32LE, 0, NULL, &s->id.stream_version);
    bal_hdf5_write_text(file, "isa", s->isa);
    bal_hdf5_write_attribute(file, "dev_loss_nats", H5T_IEEE_F64LE, 0, NULL, &s->dev_loss_nats);
}

static hid_t create_file(const char *path)
{
    BAL_HANDLE create = H5Pcreate(H5P_FILE_CREATE), access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_userblock(create, BAL_CHECKPOINT_USER_BLOCK);
    H5Pset_obj_track_times(create, false);
    H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V18);
    H5Pset_driver(access, bal_hdf5_driver(), NULL);
    return bal_hdf5_failed() ? H5I_INVALID_HID : H5Fcreate(path, H5F_ACC_TRUNC, create, access);
}

/* All but the user block. name is what the file will be called. */
static bal_status write_hdf5(const char *path, const char *name, const bal_snapshot *s)
{
    assert(bal_model_is_integer(s->model));
    const bal_tensors *tensors = bal_model_tensors(s->model);
    bal_status status = BAL_OK;
    hid_t file = H5I_INVALID_HID;
    void *buffer = bal_alloc((size_t)bal_largest_bytes(tensors, &s->states), 1);
    if (buffer == NULL)
        return bal_fail(BAL_ERR_MEMORY, "%s: no memory to write a checkpoint", name);
    bal_hdf5_listen();
    file = create_file(path);
    write_root(file, s);
    write_tensors(file, s->model, buffer);
    bal_write_states(file, tensors, &s->states, buffer);
    status = bal_write_metrics(file, s->metrics, tensors);
    write_journal(file, s);
    write_job(file, s);
    write_files(file, &s->files);
    H5Fclose(file);
    if (status == BAL_OK && bal_hdf5_driver_errno() != 0)
        status = bal_fail(bal_hdf5_driver_errno() == ENOMEM ? BAL_ERR_MEMORY : BAL_ERR_IO,
                          "%s: writing failed: %s", name, strerror(bal_hdf5_driver_errno()));
    else if (status == BAL_OK && bal_hdf5_failed())
        status = bal_fail(BAL_ERR_IO, "%s: writing failed: %s", name, bal_hdf5_reason());
    free(buffer);
    return status;
}

/* Complete a file whose HDF5 part is written, verify the whole, and fsync it. name as above. */
static bal_status seal(const char *path, const char *name, int64_t step)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return bal_fail(BAL_ERR_IO, "%s: cannot be opened: %s", name, strerror(errno));
    bal_status status = bal_checkpoint_stamp(fd, name);
    if (status == BAL_OK) status = bal_checkpoint_reopen(path, name, step);
    if (status == BAL_OK && TEMP_FAILURE_RETRY(fsync(fd)) != 0)
        status = bal_fail(BAL_ERR_IO, "%s: fsync failed: %s", name, strerror(errno));
    close(fd);
    /* Our own file that cannot be read back is a failing disk, not damaged input. */
    return status == BAL_ERR_INPUT ? BAL_ERR_IO : status;
}

bal_status bal_checkpoint_write(const char *dir, const char *name, const bal_snapshot *snapshot)
{
    char path[PATH_MAX], temporary[PATH_MAX], hidden[PATH_MAX];
    snprintf(hidden, sizeof hidden, ".%s.new", name);
    BAL_TRY(bal_path_join(dir, name, path, sizeof path));
    BAL_TRY(bal_path_join(dir, hidden, temporary, sizeof temporary));
    bal_status status = write_hdf5(temporary, path, snapshot);
    if (status == BAL_OK) status = seal(temporary, path, snapshot->step);
    if (status == BAL_OK && rename(temporary, path) != 0)
        status = bal_fail(BAL_ERR_IO, "%s: renaming failed: %s", path, strerror(errno));
    if (status != BAL_OK) {
        unlink(temporary);
        return status;
    }
    return bal_sync_dir(dir);
}

int64_t bal_checkpoint_bytes(const bal_tensors *tensors, const bal_states *states,
                             const bal_files *files, int64_t journal_bytes, int64_t n_steps)
{
    int64_t n_bytes = BAL_CHECKPOINT_USER_BLOCK + 8192; /* groups, attributes of /model, the job */
    for (int i = 0; i < tensors->n; ++i) {
        const bal_tensor *t = &tensors->at[i];
        int rank = t->role == BAL_MATRIX ? 2 : 1;
        n_bytes +=
            bal_hdf5_dataset_bytes(rank, t->n_rows, t->n_cols, t->format == BAL_I16 ? 2 : 1) +
            bal_states_file_bytes(states, t) +
            bal_hdf5_dataset_bytes(1, 1, t->n_rows, sizeof *t->scale);
        if (t->group > 0)
            n_bytes += bal_hdf5_dataset_bytes(2, t->n_rows, bal_tensor_n_groups(t), 1);
        n_bytes += (int64_t)strlen(t->name); /* in the list of flips */
    }
    n_bytes += bal_metrics_file_bytes(tensors->n, n_steps);
    n_bytes += bal_hdf5_dataset_bytes(1, 1, journal_bytes, 1);
    for (int i = 0; i < files->n; ++i)
        n_bytes += bal_hdf5_dataset_bytes(1, 1, (int64_t)files->at[i].n_bytes, 1);
    return n_bytes;
}

/* A tensor in row-major order, metrics on their way, and the blocks that HDF5 has freed and keeps:
 * up to 16 MiB of them (H5set_free_list_limits). */
int64_t bal_checkpoint_memory(const bal_tensors *tensors, const bal_states *states, int64_t n_bytes)
{
    const int64_t kept = 16 << 20;
    return bal_largest_bytes(tensors, states) + 2 * BAL_METRICS_BLOCK_BYTES +
           (n_bytes < kept ? n_bytes : kept);
}
