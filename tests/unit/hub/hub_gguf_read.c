/* hub_gguf_read.c: what is exported as GGUF is read back: the same weights but for their rounding,
 * the same settings, the same tokens. What is damaged or unknown gets a sentence that names it. */
#include <math.h>

#include "../../../src/hub/gguf.h"
#include "exports.h"

static const char *const kinds[] = {[BAL_EXPORT_GGUF_Q8_0] = "q8_0",
                                    [BAL_EXPORT_GGUF_Q4_0] = "q4_0",
                                    [BAL_EXPORT_GGUF_F16] = "f16"};

static bool is_supported(const char *folder)
{
    return strncmp(folder, "opt", 3) != 0 && strncmp(folder, "roberta", 7) != 0 &&
           strcmp(folder, "gpt2-inner") != 0;
}

static void export_as(const bal_bundle *bundle, int kind, const char *path)
{
    bal_status status = bal_hub_export_gguf(bundle, (bal_export_gguf)kind, path);
    if (status != BAL_OK) fprintf(stderr, "%s: %s\n", path, bal_failure());
    CU_ASSERT_EQUAL_FATAL(status, BAL_OK);
}

/* Rounding moves a weight by less than its share of the largest of its block. */
static void expect_close(const bal_model *made, const bal_model *read, int kind)
{
    static const float shares[] = {[BAL_EXPORT_GGUF_Q8_0] = 1 / 220.0f,
                                   [BAL_EXPORT_GGUF_Q4_0] = 1 / 7.5f,
                                   [BAL_EXPORT_GGUF_F16] = 1 / 2048.0f};
    const bal_tensors *a = bal_model_tensors(made), *b = bal_model_tensors(read);
    CU_ASSERT_EQUAL_FATAL(a->n, b->n);
    for (int i = 0; i < a->n; ++i) {
        CU_ASSERT_STRING_EQUAL_FATAL(a->at[i].name, b->at[i].name);
        CU_ASSERT_EQUAL_FATAL(bal_tensor_n(&a->at[i]), bal_tensor_n(&b->at[i]));
        const float *x = a->at[i].codes, *y = b->at[i].codes;
        int64_t n = bal_tensor_n(&a->at[i]), n_far = 0;
        for (int64_t start = 0; start < n; start += 32) {
            int64_t end = start + 32 < n ? start + 32 : n;
            float largest = 1e-7f;
            for (int64_t k = start - start % 32; k < end; ++k)
                largest = fmaxf(largest, fabsf(x[k]));
            for (int64_t k = start; k < end; ++k)
                n_far += fabsf(x[k] - y[k]) > shares[kind] * largest;
        }
        if (n_far > 0) fprintf(stderr, "%s: %lld far\n", a->at[i].name, (long long)n_far);
        CU_ASSERT_EQUAL(n_far, 0);
    }
}

/* No text begins with a space: pieces of SentencePiece get one in front all the same. */
static void expect_same_tokens(const bal_tokenizer *a, const bal_tokenizer *b)
{
    static const char *const texts[] = {
        "Once upon a time, there was a little girl named Lily.",
        "It's 1234567 o'clock;\n\n  we'll see \t tabs,   spaces  ",
        "Za\xc5\xbc\xc3\xb3\xc5\x82\xc4\x87 \xe6\xbc\xa2\xe5\xad\x97 \xf0\x9f\x99\x82 \xff\xfe!",
        "<|begin_of_text|>x<|eot_id|> <|im_start|>user\nhi<|im_end|><|endoftext|>"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; ++i) {
        int32_t *x, *y;
        int64_t n, m;
        CU_ASSERT_EQUAL_FATAL(bal_tokenizer_encode(a, texts[i], strlen(texts[i]), &x, &n), BAL_OK);
        CU_ASSERT_EQUAL_FATAL(bal_tokenizer_encode(b, texts[i], strlen(texts[i]), &y, &m), BAL_OK);
        CU_ASSERT_EQUAL(n, m);
        CU_ASSERT(n == m && memcmp(x, y, (size_t)n * sizeof *x) == 0);
        free(x);
        free(y);
    }
    int64_t n, m;
    const int32_t *x = bal_tokenizer_prefix(a, &n), *y = bal_tokenizer_prefix(b, &m);
    CU_ASSERT(n == m && memcmp(x, y, (size_t)n * sizeof *x) == 0);
    x = bal_tokenizer_suffix(a, &n), y = bal_tokenizer_suffix(b, &m);
    CU_ASSERT(n == m && memcmp(x, y, (size_t)n * sizeof *x) == 0);
    for (int kind = 0; kind <= BAL_SPECIAL_PAD; ++kind)
        CU_ASSERT_EQUAL(bal_tokenizer_special(a, (bal_special)kind),
                        bal_tokenizer_special(b, (bal_special)kind));
}

/* The same file once more, now made from what was read. */
static void expect_same_file(const bal_bundle *read, int kind, const test_dir *first,
                             const char *name)
{
    test_dir top = new_dir("again");
    bal_mapping a, b;
    export_as(read, kind, in_dir(&top, name));
    CU_ASSERT_EQUAL_FATAL(bal_mapping_open(in_dir(&top, name), &b), BAL_OK);
    CU_ASSERT_EQUAL_FATAL(bal_mapping_open(in_dir(first, name), &a), BAL_OK);
    CU_ASSERT_EQUAL(a.n_bytes, b.n_bytes);
    CU_ASSERT(a.n_bytes == b.n_bytes && memcmp(a.data, b.data, a.n_bytes) == 0);
    bal_mapping_close(&a);
    bal_mapping_close(&b);
}

static void test_what_is_exported_is_read_back(void)
{
    for (size_t i = 0; i < N_FOLDERS; ++i) {
        if (!is_supported(folders[i])) continue;
        bal_bundle made = load_bundle(family_path(folders[i]), BAL_F32, 0);
        for (int kind = 0; kind < 3; ++kind) {
            char name[64];
            test_dir top = new_dir("read");
            snprintf(name, sizeof name, "%s-%s.gguf", folders[i], kinds[kind]);
            export_as(&made, kind, in_dir(&top, name));
            bal_bundle read = load_bundle(in_dir(&top, name), BAL_F32, 0);
            const bal_model_config *a = bal_model_shape(made.model);
            if (!bal_model_config_same(a, bal_model_shape(read.model)))
                fprintf(stderr, "%s: another config\n", name);
            CU_ASSERT(bal_model_config_same(a, bal_model_shape(read.model)));
            expect_close(made.model, read.model, kind);
            expect_same_tokens(made.tokenizer, read.tokenizer);
            expect_same_file(&read, kind, &top, name);
            bal_bundle_clear(&read);
        }
        bal_bundle_clear(&made);
    }
}

/* A file of tests/golden/gguf, whose README says who made it. */
static void open_golden(const char *name, bal_mapping *mapping, bal_gguf *file,
                        bal_hub_table *table)
{
    char path[PATH_MAX];
    const char *tests = getenv("BALLOT_TESTS");
    snprintf(path, sizeof path, "%s/golden/gguf/%s", tests != NULL ? tests : "tests", name);
    CU_ASSERT_EQUAL_FATAL(bal_mapping_open(path, mapping), BAL_OK);
    bal_status status = bal_gguf_parse(mapping->data, mapping->n_bytes, name, file, table);
    if (status != BAL_OK) fprintf(stderr, "%s\n", bal_failure());
    CU_ASSERT_EQUAL_FATAL(status, BAL_OK);
}

#define N_TYPE_VALUES 768 /* of a tensor of types.gguf */

/* The same bits: a 0 has its sign too. */
static void expect_same_values(const char *name, const float *values, const float *expected)
{
    for (int i = 0; i < N_TYPE_VALUES; ++i) {
        if (memcmp(&values[i], &expected[i], sizeof *values) == 0) continue;
        fprintf(stderr, "%s: element %d is %.9g; expected %.9g\n", name, i, (double)values[i],
                (double)expected[i]);
        CU_FAIL_FATAL("another value");
    }
}

static void test_every_type_has_the_values_of_the_gguf_package(void)
{
    bal_mapping mapping;
    bal_gguf file;
    bal_hub_table table;
    int n_types = 0;
    open_golden("types.gguf", &mapping, &file, &table);
    for (int64_t i = 0; i < table.n_entries; ++i) {
        const bal_hub_entry *entry = &table.entries[i];
        char name[BAL_NAME_BYTES];
        float values[N_TYPE_VALUES], expected[N_TYPE_VALUES];
        if (strstr(entry->name, ".values") != NULL) continue;
        snprintf(name, sizeof name, "%.32s.values", entry->name);
        const bal_hub_entry *twin = bal_hub_table_find(&table, name);
        CU_ASSERT_PTR_NOT_NULL_FATAL(twin);
        CU_ASSERT_STRING_EQUAL(entry->dtype_name, entry->name);
        CU_ASSERT_EQUAL_FATAL(bal_hub_entry_n(entry), N_TYPE_VALUES);
        CU_ASSERT_EQUAL(bal_hub_table_read(&table, entry, values), BAL_OK);
        CU_ASSERT_EQUAL(bal_hub_table_read(&table, twin, expected), BAL_OK);
        expect_same_values(entry->name, values, expected);
        ++n_types;
    }
    CU_ASSERT_EQUAL(n_types, 14);
    bal_gguf_clear(&file);
    bal_hub_table_clear(&table);
    bal_mapping_close(&mapping);
}

const char bal_suite_name[] = "hub_gguf_read";
const bal_test bal_suite_tests[] = {
    {"what is exported is read back", test_what_is_exported_is_read_back},
    {"every type has the values of the gguf package",
     test_every_type_has_the_values_of_the_gguf_package},
    {NULL, NULL},
};
