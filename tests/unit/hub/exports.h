/* exports.h: what the tests of exported files share: the folders of tests/golden/families, and what
 * an exported folder holds. */
#ifndef BALLOT_TEST_HUB_EXPORTS_H
#define BALLOT_TEST_HUB_EXPORTS_H

#include <dirent.h>

#include "fixture.h"

static const char *const folders[] = {
    "opt-pre",      "opt-post",     "llama-tied", "llama3",         "llama3-tied",
    "llama-linear", "llama-bias",   "vicuna",     "mistral-window", "mistral-full",
    "gpt2",         "gpt2-old",     "gpt2-inner", "roberta",        "roberta-untied",
    "qwen2",        "qwen2-untied", "qwen3",      "qwen3-tied"};
#define N_FOLDERS (sizeof folders / sizeof *folders)

static inline const char *family_path(const char *folder)
{
    static char path[PATH_MAX];
    const char *tests = getenv("BALLOT_TESTS");
    snprintf(path, sizeof path, "%s/golden/families/%s", tests != NULL ? tests : "tests", folder);
    return path;
}

static inline bal_bundle load_bundle(const char *path, bal_format format, int group)
{
    bal_bundle bundle;
    bal_status status =
        bal_hub_load(path, &(bal_formats){.matrices = format, .group = group}, &bundle);
    if (status != BAL_OK) fprintf(stderr, "%s\n", bal_failure());
    CU_ASSERT_EQUAL_FATAL(status, BAL_OK);
    return bundle;
}

static inline bal_bundle stories(bal_format format)
{
    return load_bundle(bal_test_data(STORIES_FILE), format, 0);
}

/* dtype and base of an export. */
static inline bal_status export_to(const bal_bundle *bundle, bal_export_dtype dtype,
                                   const char *base, const char *path)
{
    return bal_hub_export(bundle, &(bal_export_options){dtype, base}, path);
}

static inline void must_export(const bal_bundle *bundle, bal_export_dtype dtype, const char *base,
                               const char *path)
{
    bal_status status = export_to(bundle, dtype, base, path);
    if (status != BAL_OK) fprintf(stderr, "%s: %s\n", path, bal_failure());
    CU_ASSERT_EQUAL_FATAL(status, BAL_OK);
}

static inline void expect_failure(bal_status found, bal_status expected, const char *words)
{
    if (found != expected || strstr(bal_failure(), words) == NULL)
        fprintf(stderr, "status %d, \"%s\"; expected %d, \"%s\"\n", (int)found, bal_failure(),
                (int)expected, words);
    CU_ASSERT_EQUAL(found, expected);
    CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), words));
}

static inline int n_files(const char *path)
{
    DIR *dir = opendir(path);
    int n = -2; /* "." and ".." */
    CU_ASSERT_PTR_NOT_NULL_FATAL(dir);
    while (readdir(dir) != NULL) ++n;
    closedir(dir);
    return n;
}

static inline float *values_of(const bal_model *model, const char *name)
{
    int index = bal_tensors_find(bal_model_tensors(model), name);
    CU_ASSERT_FATAL(index >= 0);
    float *values =
        bal_alloc((size_t)bal_tensor_n(&bal_model_tensors(model)->at[index]), sizeof *values);
    CU_ASSERT_PTR_NOT_NULL_FATAL(values);
    bal_tensors_dequantize(bal_model_tensors(model), index, values);
    return values;
}

/* Some rows of every matrix are louder or quieter. */
static inline void turn_gains(bal_model *model)
{
    for (int i = 0; i < bal_model_tensors(model)->n; ++i) {
        bal_tensor *tensor = &bal_model_tensors(model)->at[i];
        for (int64_t k = 0; tensor->role == BAL_GAIN && k < tensor->n_cols; k += 3)
            bal_tensor_put(tensor, k, (int)(k % 23) - 11);
    }
}

#endif
