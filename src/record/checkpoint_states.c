/* checkpoint_states.c: what a rule remembers, as groups of an HDF5 file. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "hdf5_impl.h"

/* Words of bal_state_kind, by value, of the attribute "kind"; bytes have none. */
static const char *const kinds[] = {"bytes", "real", "square"};

/* A byte of each value, be it all or a code. */
static const int8_t *bytes_of(const bal_state *state, const bal_tensors *tensors, int index)
{
    return state->kind == BAL_STATE_BYTES
               ? bal_state_of(state, &tensors->at[index])
               : (const int8_t *)bal_state_reals(state, tensors, index).codes;
}

static void write_state(hid_t group, hid_t scales, const bal_state *state,
                        const bal_tensors *tensors, int index, void *buffer)
{
    const bal_tensor *t = &tensors->at[index];
    hsize_t dims[2] = {(hsize_t)t->n_rows, (hsize_t)t->n_cols};
    int rank = t->role == BAL_MATRIX ? 2 : 1;
    bool floats = bal_state_width(state, t) > 1;
    if (floats)
        bal_tensor_get_floats(t, bal_state_reals(state, tensors, index).floats, buffer);
    else
        bal_tensor_get_bytes(t, bytes_of(state, tensors, index), buffer);
    bal_hdf5_write_dataset(group, t->name, floats ? H5T_IEEE_F32LE : H5T_STD_I8LE, rank,
                           dims + 2 - rank, buffer, NULL);
    hsize_t n = (hsize_t)bal_state_n_scales(state, t);
    if (n > 0)
        bal_hdf5_write_dataset(scales, t->name, H5T_IEEE_F32LE, 1, &n,
                               bal_state_reals(state, tensors, index).scales, NULL);
}

void bal_write_states(hid_t file, const bal_tensors *tensors, const bal_states *states,
                      void *buffer)
{
    BAL_HANDLE optimizer = bal_hdf5_make_group(file, "optimizer");
    for (int k = 0; k < states->n; ++k) {
        const bal_state *state = &states->at[k];
        BAL_HANDLE group = bal_hdf5_make_group(optimizer, state->name);
        BAL_HANDLE scales = H5I_INVALID_HID;
        if (state->kind != BAL_STATE_BYTES) {
            int32_t values = state->group;
            bal_hdf5_write_text(group, "kind", kinds[state->kind]);
            bal_hdf5_write_attribute(group, "group", H5T_STD_I32LE, 0, NULL, &values);
            scales = bal_hdf5_make_group(group, "scale");
        }
        for (int i = 0; i < tensors->n; ++i) write_state(group, scales, state, tensors, i, buffer);
    }
}

/* What the attributes of the group of a state say. */
static bal_status read_kind(bal_reader *r, int i)
{
    bal_state *state = &r->states.at[i];
    char path[64], kind[BAL_HDF5_TEXT_BYTES];
    snprintf(path, sizeof path, "/optimizer/%s", state->name);
    bal_place at = {path, ""};
    int32_t group;
    if (H5Aexists(r->state[i], "kind") <= 0) return BAL_OK;
    BAL_TRY(bal_hdf5_read_text(r, r->state[i], at, "kind", kind, sizeof kind));
    BAL_TRY(bal_hdf5_read_attribute(r, r->state[i], at, "group", H5T_STD_I32LE, 0, &group));
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; ++k)
        if (strcmp(kind, kinds[k]) == 0) state->kind = (bal_state_kind)k;
    if (state->kind == BAL_STATE_BYTES)
        return bal_hdf5_damaged(r, at, "kind", "found neither \"real\" nor \"square\"");
    if (group != 0 && group != BAL_BLOCK_CODES && group != BAL_SLICE_BLOCKS * BAL_BLOCK_CODES)
        return bal_hdf5_damaged(r, at, "group", "found another number than 0, 256 or 2048");
    state->group = group;
    return bal_hdf5_open_group(r, r->state[i], path, "scale", &r->scales[i]);
}

bal_status bal_open_states(bal_reader *r)
{
    if (r->version == BAL_CHECKPOINT_OLDEST) {
        r->states = (bal_states){.n = 1, .at = {{.name = "carry"}}};
        return bal_hdf5_open_group(r, r->file, "", "carry", &r->state[0]);
    }
    hid_t optimizer;
    H5G_info_t info;
    bal_place at = {"/optimizer", ""};
    BAL_TRY(bal_hdf5_open_group(r, r->file, "", "optimizer", &optimizer));
    if (H5Gget_info(optimizer, &info) < 0) return bal_hdf5_damaged(r, at, "", bal_hdf5_reason());
    if (info.nlinks > BAL_STATES_MAX) return bal_hdf5_damaged(r, at, "", "found too many groups");
    for (; r->states.n < (int)info.nlinks; ++r->states.n) {
        char *name = r->states.at[r->states.n].name;
        BAL_TRY(
            bal_hdf5_link_name(r, optimizer, at, (hsize_t)r->states.n, name, BAL_STATE_NAME_BYTES));
        BAL_TRY(bal_hdf5_open_group(r, optimizer, at.group, name, &r->state[r->states.n]));
        BAL_TRY(read_kind(r, r->states.n));
    }
    return BAL_OK;
}

static bal_status check_floats(const bal_reader *r, bal_place at, const float *floats, int64_t n,
                               float least)
{
    for (int64_t i = 0; i < n; ++i)
        if (!(floats[i] >= least && floats[i] < INFINITY))
            return bal_hdf5_damaged(r, at, "",
                                    least == 0.0f ? "found a number that is not finite, or below 0"
                                                  : "found a number that is not finite");
    return BAL_OK;
}

static bal_status read_reals(const bal_reader *r, int i, const bal_state *wanted,
                             const bal_tensors *tensors, int index, void *buffer)
{
    const bal_tensor *t = &tensors->at[index];
    bal_reals reals = bal_state_reals(wanted, tensors, index);
    char path[80];
    snprintf(path, sizeof path, "/optimizer/%s/scale", wanted->name);
    bal_place at = {path, t->name};
    if (reals.floats == NULL) {
        bal_tensor_set_bytes(t, buffer, (int8_t *)reals.codes);
        BAL_TRY(bal_hdf5_read_dataset(r, r->scales[i], at, H5T_IEEE_F32LE, 1, &reals.n_scales,
                                      reals.scales));
        return check_floats(r, at, reals.scales, reals.n_scales, 0.0f);
    }
    *strrchr(path, '/') = '\0';
    BAL_TRY(check_floats(r, at, buffer, bal_tensor_n(t),
                         wanted->kind == BAL_STATE_SQUARE ? 0.0f : -FLT_MAX));
    bal_tensor_set_floats(t, buffer, reals.floats);
    return BAL_OK;
}

static bal_status read_state(const bal_reader *r, int i, const bal_state *wanted,
                             const bal_tensors *tensors, int index, void *buffer)
{
    const bal_tensor *t = &tensors->at[index];
    const char *above = r->version == BAL_CHECKPOINT_OLDEST ? "" : "/optimizer";
    char path[64];
    int64_t dims[2] = {t->n_rows, t->n_cols};
    int rank = t->role == BAL_MATRIX ? 2 : 1;
    hid_t type = bal_state_width(wanted, t) > 1 ? H5T_IEEE_F32LE : H5T_STD_I8LE;
    snprintf(path, sizeof path, "%s/%s", above, wanted->name);
    BAL_TRY(bal_hdf5_read_dataset(r, r->state[i], (bal_place){path, t->name}, type, rank,
                                  dims + 2 - rank, buffer));
    if (wanted->kind != BAL_STATE_BYTES) return read_reals(r, i, wanted, tensors, index, buffer);
    bal_tensor_set_bytes(t, buffer, bal_state_of(wanted, t));
    return BAL_OK;
}

bal_status bal_read_state(const bal_reader *r, const bal_state *wanted, const bal_tensors *tensors,
                          int index, void *buffer)
{
    int i = 0;
    while (i < r->states.n && strcmp(r->states.at[i].name, wanted->name) != 0) ++i;
    if (i == r->states.n)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: has no /optimizer/%s, which the rule of the run remembers: it was "
                        "written by a run with another rule; use that rule, or start from an "
                        "export of this checkpoint",
                        r->path, wanted->name);
    const bal_state *there = &r->states.at[i];
    if (there->kind != wanted->kind || there->group != wanted->group)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: /optimizer/%s has %s; set [rule] states to what the run that wrote it "
                        "had, or start from an export of this checkpoint",
                        r->path, wanted->name,
                        there->kind == BAL_STATE_BYTES ? "fractions of code steps"
                        : there->group == 0            ? "floats (f32)"
                        : there->group == 256          ? "8 bits in blocks of 256 (8bit)"
                                                       : "8 bits in blocks of 2048 (8bit:2048)");
    return read_state(r, i, wanted, tensors, index, buffer);
}

int64_t bal_states_file_bytes(const bal_states *states, const bal_tensor *t)
{
    int64_t n_bytes = 0;
    for (int k = 0; k < states->n; ++k) {
        int64_t n = bal_state_n_scales(&states->at[k], t);
        n_bytes += bal_hdf5_dataset_bytes(t->role == BAL_MATRIX ? 2 : 1, t->n_rows, t->n_cols,
                                          bal_state_width(&states->at[k], t));
        if (n > 0) n_bytes += bal_hdf5_dataset_bytes(1, 1, n, sizeof(float));
    }
    return n_bytes;
}
