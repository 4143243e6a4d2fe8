/* checkpoint_fields.c: what the writer and the reader of a checkpoint list alike. */
#include <stdlib.h>
#include <string.h>

#include "hdf5_impl.h"

const char *const bal_role_names[] = {"matrix", "vector", "gain", NULL};

void bal_run_id_fields(bal_field fields[BAL_N_RUN_ID_FIELDS])
{
    const bal_field all[BAL_N_RUN_ID_FIELDS] = {
        {"seed", H5T_STD_U64LE, offsetof(bal_run_id, seed)},
        {"stream_version", H5T_STD_U32LE, offsetof(bal_run_id, stream_version)},
        {"n_slots", H5T_STD_I32LE, offsetof(bal_run_id, n_slots)},
        {"n_steps", H5T_STD_I64LE, offsetof(bal_run_id, n_steps)},
        {"job_hash", H5T_STD_U64LE, offsetof(bal_run_id, job_hash)},
        {"base_hash", H5T_STD_U64LE, offsetof(bal_run_id, base_hash)},
        {"data_hash", H5T_STD_U64LE, offsetof(bal_run_id, data_hash)},
        {"task_hash", H5T_STD_U64LE, offsetof(bal_run_id, task_hash)},
    };
    memcpy(fields, all, sizeof all);
}

char *bal_column_names(const bal_tensors *tensors)
{
    char *names = NULL;
    size_t n_bytes;
    FILE *out = open_memstream(&names, &n_bytes);
    if (out == NULL) return NULL;
    for (int i = 0; i < (tensors != NULL ? tensors->n : BAL_N_PHASES); ++i)
        fprintf(out, "%s%s", i == 0 ? "" : ",",
                tensors != NULL ? tensors->at[i].name : bal_phase_name((bal_phase)i));
    return fclose(out) == 0 ? names : NULL;
}

int64_t bal_largest_bytes(const bal_tensors *tensors, const bal_states *states)
{
    int64_t largest = 1;
    for (int i = 0; i < tensors->n; ++i) {
        const bal_tensor *t = &tensors->at[i];
        int64_t width = t->format == BAL_I16 ? 2 : 1;
        for (int k = 0; k < states->n; ++k) {
            int64_t n_bytes = (int64_t)bal_state_width(&states->at[k], t);
            if (n_bytes > width) width = n_bytes;
        }
        if (bal_tensor_n(t) * width > largest) largest = bal_tensor_n(t) * width;
    }
    return largest;
}

void bal_snapshot_clear(bal_snapshot *snapshot)
{
    bal_model_destroy(&snapshot->model);
    bal_states_clear(&snapshot->states);
    bal_tokenizer_destroy(&snapshot->tokenizer);
    bal_files_clear(&snapshot->files);
    bal_metrics_destroy(&snapshot->metrics);
    free(snapshot->job_text);
    free(snapshot->isa);
    free(snapshot->journal);
    *snapshot = (bal_snapshot){0};
}
