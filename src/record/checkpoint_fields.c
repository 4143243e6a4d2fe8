/* checkpoint_fields.c: what the writer and the reader of a checkpoint list alike. */
#include <stdlib.h>

#include "record_impl.h"

const char *const bal_role_names[] = {"matrix", "vector", "gain", NULL};

const bal_field bal_run_id_fields[] = {
    {"seed", BAL_FIELD_U64, offsetof(bal_run_id, seed)},
    {"stream_version", BAL_FIELD_U32, offsetof(bal_run_id, stream_version)},
    {"n_slots", BAL_FIELD_I32, offsetof(bal_run_id, n_slots)},
    {"n_steps", BAL_FIELD_I64, offsetof(bal_run_id, n_steps)},
    {"job_hash", BAL_FIELD_U64, offsetof(bal_run_id, job_hash)},
    {"base_hash", BAL_FIELD_U64, offsetof(bal_run_id, base_hash)},
    {"data_hash", BAL_FIELD_U64, offsetof(bal_run_id, data_hash)},
    {NULL, BAL_FIELD_I32, 0},
};

char *bal_phase_names(void)
{
    char *names = NULL;
    size_t n_bytes;
    FILE *out = open_memstream(&names, &n_bytes);
    if (out == NULL) return NULL;
    for (int phase = 0; phase < BAL_N_PHASES; ++phase)
        fprintf(out, "%s%s", phase == 0 ? "" : ",", bal_phase_name((bal_phase)phase));
    return fclose(out) == 0 ? names : NULL;
}

char *bal_tensor_names(const bal_tensors *tensors)
{
    char *names = NULL;
    size_t n_bytes;
    FILE *out = open_memstream(&names, &n_bytes);
    if (out == NULL) return NULL;
    for (int i = 0; i < tensors->n; ++i)
        fprintf(out, "%s%s", i == 0 ? "" : ",", tensors->at[i].name);
    return fclose(out) == 0 ? names : NULL;
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

void bal_snapshot_clear(bal_snapshot *snapshot)
{
    bal_model_destroy(&snapshot->model);
    bal_states_clear(&snapshot->states);
    bal_tokenizer_destroy(&snapshot->tokenizer);
    bal_files_clear(&snapshot->files);
    bal_metrics_clear(&snapshot->metrics);
    free(snapshot->job_text);
    free(snapshot->isa);
    free(snapshot->journal);
    *snapshot = (bal_snapshot){0};
}
