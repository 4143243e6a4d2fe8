/* checkpoint_read.c: HDF5 back to a snapshot. The checksums say that the file is what its writer
 * wrote, not who wrote it: so types, shapes, links and storage are checked against what
 * checkpoint_write.c makes, and sizes against the size of the file, before memory is taken. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "hdf5_impl.h"

/* buffer has room for the tensor's codes. */
static bal_status read_tensor(const bal_reader *r, bal_tensor *t, void *buffer)
{
    bal_place at = {"/model", t->name};
    int64_t dims[2] = {t->n_rows, t->n_cols}, sizes[2];
    int rank = t->role == BAL_MATRIX ? 2 : 1;
    int32_t group = 0;
    hid_t type = t->format == BAL_I16 ? H5T_STD_I16LE : H5T_STD_I8LE;
    int64_t *shape = dims + 2 - rank;
    BAL_HANDLE dataset = H5I_INVALID_HID;
    BAL_TRY(bal_hdf5_open_dataset(r, r->model, at, type, rank, shape, &dataset));
    BAL_TRY(bal_hdf5_expect_text(r, dataset, at, "role", bal_role_names[t->role]));
    BAL_TRY(bal_hdf5_expect_text(r, dataset, at, "format", bal_format_name(t->format)));
    BAL_TRY(bal_hdf5_read_attribute(r, dataset, at, "shape", H5T_STD_I64LE, (hsize_t)rank, sizes));
    if (memcmp(sizes, shape, (size_t)rank * sizeof *sizes) != 0)
        return bal_hdf5_damaged(r, at, "shape", "found another shape than that of the dataset");
    if (t->group > 0)
        BAL_TRY(bal_hdf5_read_attribute(r, dataset, at, "group", H5T_STD_I32LE, 0, &group));
    if (group != t->group)
        return bal_hdf5_damaged(r, at, "group", "found another group than that of its format");
    BAL_TRY(bal_hdf5_read_all(r, at, dataset, type, buffer));
    if (bal_tensor_set_codes(t, buffer) != BAL_OK)
        return bal_fail(BAL_ERR_INPUT, "%s: /model/%s", r->path, bal_failure());

    at.group = "/scale";
    BAL_TRY(bal_hdf5_read_dataset(r, r->scale, at, H5T_IEEE_F32LE, 1, &t->n_rows, t->scale));
    for (int64_t row = 0; row < t->n_rows; ++row)
        if (!isfinite(t->scale[row]) || !(t->scale[row] > 0.0f))
            return bal_fail(BAL_ERR_INPUT,
                            "%s: /scale/%s: the scale of row %" PRId64
                            " is %g; expected a finite number above 0",
                            r->path, t->name, row, (double)t->scale[row]);
    if (t->group > 0) {
        int64_t factors[] = {t->n_rows, bal_tensor_n_groups(t)};
        at.group = "/factor";
        BAL_TRY(bal_hdf5_read_dataset(r, r->factor, at, H5T_STD_U8LE, 2, factors, buffer));
        if (bal_tensor_set_factors(t, buffer) != BAL_OK)
            return bal_fail(BAL_ERR_INPUT, "%s: /factor/%s", r->path, bal_failure());
    }
    return BAL_OK;
}

/* All tensors, which are those of the file, and the states that are wanted. */
static bal_status read_tensors(const bal_reader *r, bal_tensors *tensors, bal_states *states)
{
    int64_t n_largest = bal_largest_bytes(tensors, states);
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
            status = bal_read_state(r, &states->at[k], tensors, i, buffer);
    }
    free(buffer);
    return status;
}

static bal_status read_job_text(const bal_reader *r, char **text)
{
    bal_place at = {"/job", "text"};
    if (!bal_hdf5_is_hard_link(r->job, at.object))
        return bal_hdf5_damaged(r, at, "", "this dataset is missing");
    BAL_HANDLE dataset = H5Dopen2(r->job, at.object, H5P_DEFAULT);
    BAL_HANDLE type = H5Dget_type(dataset);
    size_t n_bytes = H5Tget_size(type);
    if (!bal_hdf5_is_text(type) || n_bytes > (size_t)r->file_bytes)
        return bal_hdf5_damaged(r, at, "", "expected one text of fixed length");
    *text = calloc(n_bytes + 1, 1);
    if (*text == NULL) return bal_fail(BAL_ERR_MEMORY, "%s: no memory for the job text", r->path);
    return bal_hdf5_read_dataset(r, r->job, at, type, 0, NULL, *text);
}

static bal_status read_files(const bal_reader *r, bal_snapshot *s)
{
    H5G_info_t info;
    bal_status status = BAL_OK;
    if (H5Gget_info(r->files, &info) < 0)
        return bal_hdf5_damaged(r, (bal_place){"/files", ""}, "", bal_hdf5_reason());
    for (hsize_t i = 0; status == BAL_OK && i < info.nlinks; ++i) {
        char name[sizeof s->files.at->name];
        uint8_t *bytes = NULL;
        size_t n_bytes;
        BAL_TRY(bal_hdf5_link_name(r, r->files, (bal_place){"/files", ""}, i, name, sizeof name));
        status = bal_hdf5_read_bytes(r, r->files, (bal_place){"/files", name}, &bytes, &n_bytes);
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

/* The model that reads prompts, if it is another one. */
static bal_status read_base(const bal_reader *r, bal_base_id *base)
{
    bal_place at = {"/job", ""};
    if (H5Aexists(r->job, "base") == 0) return BAL_OK;
    BAL_TRY(bal_hdf5_read_text(r, r->job, at, "base", base->path, sizeof base->path));
    return bal_hdf5_read_attribute(r, r->job, at, "base_fingerprint", H5T_STD_U64LE, 0,
                                   &base->fingerprint);
}

static bal_status read_root(const bal_reader *r, bal_snapshot *s)
{
    bal_place at = {"", ""};
    bal_field fields[BAL_N_RUN_ID_FIELDS];
    uint32_t stream_version;
    char fingerprint[BAL_HDF5_TEXT_BYTES], isa[BAL_HDF5_TEXT_BYTES];
    BAL_TRY(bal_hdf5_read_attribute(r, r->file, at, "step", H5T_STD_I64LE, 0, &s->step));
    if (s->step < 0) return bal_hdf5_damaged(r, at, "step", "expected 0 or more");
    BAL_TRY(bal_hdf5_read_text(r, r->file, at, "fingerprint", fingerprint, sizeof fingerprint));
    if (strlen(fingerprint) != 16 || strspn(fingerprint, "0123456789abcdef") != 16)
        return bal_hdf5_damaged(r, at, "fingerprint", "expected 16 hexadecimal digits");
    s->fingerprint = strtoull(fingerprint, NULL, 16);
    BAL_TRY(bal_hdf5_read_text(r, r->file, at, "isa", isa, sizeof isa));
    s->isa = strdup(isa);
    if (s->isa == NULL) return bal_fail(BAL_ERR_MEMORY, "%s: no memory for a text", r->path);
    BAL_TRY(bal_hdf5_read_attribute(r, r->file, at, "dev_loss_nats", H5T_IEEE_F64LE, 0,
                                    &s->dev_loss_nats));
    BAL_TRY(bal_hdf5_read_attribute(r, r->file, at, "stream_version", H5T_STD_U32LE, 0,
                                    &stream_version));
    bal_run_id_fields(fields);
    bool is_text = H5Aexists(r->job, "task_hash") == 0;
    for (int i = 0; i < BAL_N_RUN_ID_FIELDS - is_text; ++i)
        BAL_TRY(bal_hdf5_read_attribute(r, r->job, (bal_place){"/job", ""}, fields[i].name,
                                        fields[i].type, 0, (char *)&s->id + fields[i].offset));
    if (s->id.stream_version != stream_version)
        return bal_hdf5_damaged(r, at, "stream_version", "found another version than /job has");
    BAL_TRY(read_base(r, &s->base));
    return read_job_text(r, &s->job_text);
}

static hid_t open_file(const char *path)
{
    BAL_HANDLE access = H5Pcreate(H5P_FILE_ACCESS);
    /* No locks: a published checkpoint never changes. Strong: close leaves no object open. */
    if (H5Pset_file_locking(access, false, true) < 0 ||
        H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) < 0)
        return H5I_INVALID_HID;
    return H5Fopen(path, H5F_ACC_RDONLY, access);
}

bal_status bal_checkpoint_reopen(const char *path, const char *name, int64_t step)
{
    bal_hdf5_listen();
    int64_t found = -1;
    bal_reader r = {.path = name, .file = open_file(path)};
    if (r.file < 0)
        return bal_fail(BAL_ERR_IO, "%s: cannot be read back: %s", name, bal_hdf5_reason());
    bal_status status =
        bal_hdf5_read_attribute(&r, r.file, (bal_place){"", ""}, "step", H5T_STD_I64LE, 0, &found);
    H5Fclose(r.file);
    if (status != BAL_OK || found == step) return status;
    return bal_fail(BAL_ERR_IO, "%s: read back as step %" PRId64 "; expected %" PRId64, name, found,
                    step);
}

static bal_status read_version(bal_reader *r)
{
    BAL_TRY(bal_hdf5_read_attribute(r, r->file, (bal_place){"", ""}, "format_version",
                                    H5T_STD_I32LE, 0, &r->version));
    if (r->version >= BAL_CHECKPOINT_OLDEST && r->version <= BAL_CHECKPOINT_VERSION) return BAL_OK;
    return bal_fail(BAL_ERR_INPUT, "%s: /format_version: found %" PRId32 "; expected %d to %d",
                    r->path, r->version, BAL_CHECKPOINT_OLDEST, BAL_CHECKPOINT_VERSION);
}

/* Open the file and its groups; it has been verified. */
static bal_status open_reader(const char *path, bal_reader *r)
{
    bal_hdf5_listen();
    struct stat info;
    *r = (bal_reader){.path = path};
    if (stat(path, &info) != 0) return bal_fail(BAL_ERR_INPUT, "%s: is no longer there", path);
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
        status = bal_hdf5_open_group(r, r->file, "", groups[i].name, groups[i].group);
    if (status == BAL_OK) status = bal_open_states(r);
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
    bal_reader r;
    BAL_TRY(open_reader(path, &r));
    bal_status status = read_root(&r, snapshot);
    if (status == BAL_OK) status = bal_read_model(&r, &snapshot->model);
    if (status == BAL_OK)
        status = bal_hdf5_read_bytes(&r, r.ballots, (bal_place){"/ballots", "journal"},
                                     &snapshot->journal, &snapshot->journal_bytes);
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

static bal_status read_metrics(const char *path, bal_metrics *metrics)
{
    bal_reader r;
    bal_model *model = NULL;
    BAL_TRY(open_reader(path, &r));
    bal_status status = bal_read_model(&r, &model);
    if (status == BAL_OK) status = bal_read_metrics(&r, bal_model_tensors(model), metrics);
    H5Fclose(r.file);
    bal_model_destroy(&model);
    return status;
}

bal_status bal_checkpoint_read_metrics(const char *path, bal_metrics *metrics)
{
    return blame(path, read_metrics(path, metrics));
}

static bal_status fill(const char *path, bal_tensors *tensors, bal_states *states)
{
    bal_reader r;
    bal_snapshot s = {0};
    BAL_TRY(open_reader(path, &r));
    bal_status status = read_root(&r, &s);
    if (status == BAL_OK) status = bal_read_model(&r, &s.model);
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
