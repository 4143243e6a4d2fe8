/* hub_weights.c: folders of weights in every layout hold the values that were saved, and an index
 * and its files that disagree are refused by name. */
#include <sys/stat.h>

#include "weights.h"

/* What tests/golden/weights/make_weights.py saves, in its order. */
static const struct {
    const char *name;
    bal_hub_dtype dtype;
    int n_dims;
    int64_t shape[3];
} tensors[] = {
    {"a.weight", BAL_HUB_F32, 2, {3, 4}},       {"b.weight", BAL_HUB_F16, 1, {5}},
    {"c.weight", BAL_HUB_BF16, 3, {2, 3, 2}},   {"embed.weight", BAL_HUB_F32, 2, {4, 3}},
    {"head.weight", BAL_HUB_F32, 2, {4, 3}},    {"part.weight", BAL_HUB_F32, 2, {2, 3}},
    {"position_ids", BAL_HUB_OTHER, 2, {1, 6}}, {"scale", BAL_HUB_F32, 0, {0}},
};
enum { N_TENSORS = sizeof tensors / sizeof *tensors };

static float saved(int64_t tensor, int64_t element)
{
    if (tensor == 4) tensor = 3; /* tied */
    return (float)((7 * element + 3 * tensor) % 61 - 30) / 8.0f;
}

static void expect_saved(const bal_hub_table *table)
{
    CU_ASSERT_EQUAL_FATAL(table->n_entries, N_TENSORS);
    for (int64_t t = 0; t < N_TENSORS; ++t) {
        const bal_hub_entry *entry = bal_hub_table_find(table, tensors[t].name);
        CU_ASSERT_PTR_NOT_NULL_FATAL(entry);
        CU_ASSERT_PTR_EQUAL(entry, &table->entries[t]); /* sorted */
        CU_ASSERT_EQUAL(entry->dtype, tensors[t].dtype);
        CU_ASSERT_EQUAL_FATAL(entry->n_dims, tensors[t].n_dims);
        for (int i = 0; i < BAL_HUB_DIMS_MAX; ++i)
            CU_ASSERT_EQUAL(entry->shape[i], i < entry->n_dims ? tensors[t].shape[i] : 1);
        int64_t n = bal_hub_entry_n(entry);
        float values[12];
        CU_ASSERT_FATAL(n <= 12);
        bal_status status = bal_hub_table_read(table, entry, values);
        if (entry->dtype == BAL_HUB_OTHER) {
            expect_sentence(status, bal_hub_entry_origin(table, entry), "64; expected F32");
            continue;
        }
        CU_ASSERT_EQUAL_FATAL(status, BAL_OK);
        for (int64_t k = 0; k < n; ++k) CU_ASSERT_EQUAL(values[k], saved(t, k));
    }
}

static void open_weights(const char *dir, bal_hub_table *table)
{
    bal_status status = bal_hub_weights_open(dir, table);
    if (status != BAL_OK) fprintf(stderr, "%s\n", bal_failure());
    CU_ASSERT_EQUAL_FATAL(status, BAL_OK);
}

static void expect_folder_refused(const char *dir, const char *file, const char *words)
{
    bal_hub_table table;
    bal_status status = bal_hub_weights_open(dir, &table);
    expect_sentence(status, file, words);
    CU_ASSERT(status != BAL_OK && table.n_files == 0 && table.entries == NULL);
}

static void test_every_layout_gives_the_saved_values(void)
{
    static const char *const folders[] = {"safetensors", "safetensors-sharded", "pickle",
                                          "pickle-4", "pickle-sharded"};
    for (int i = 0; i < 5; ++i) {
        bal_hub_table table;
        open_weights(golden(folders[i]), &table);
        CU_ASSERT_EQUAL(table.n_files, strstr(folders[i], "sharded") != NULL ? 3 : 1);
        CU_ASSERT_PTR_EQUAL(table.origin, table.files[0].path);
        expect_saved(&table);
        expect_saved(&table); /* pages that were let go come back */
        bal_hub_table_clear(&table);
    }
}

static void test_tied_tensors_are_the_same(void)
{
    bal_hub_table table;
    open_weights(golden("pickle"), &table);
    CU_ASSERT_PTR_EQUAL(bal_hub_table_find(&table, "embed.weight")->data,
                        bal_hub_table_find(&table, "head.weight")->data);
    bal_hub_table_clear(&table);
    open_weights(golden("safetensors"), &table); /* which holds them twice */
    const bal_hub_entry *embed = bal_hub_table_find(&table, "embed.weight");
    CU_ASSERT(bal_hub_table_same(&table, embed, bal_hub_table_find(&table, "head.weight")));
    CU_ASSERT(!bal_hub_table_same(&table, embed, bal_hub_table_find(&table, "a.weight")));
    CU_ASSERT(!bal_hub_table_same(&table, embed, bal_hub_table_find(&table, "part.weight")));
    bal_hub_table_clear(&table);
}

static void test_what_torch_saves_besides_state_dicts_is_refused(void)
{
    static const char *const cases[][2] = {
        {"refused/command", "asks for posix.system; expected tensors and nothing else: no code"},
        {"refused/old", "torch before 1.6; expected a zip file"},
        {"refused/transposed", "tensor a.weight: its elements do not lie in row-major order"},
        {"refused/nested", "tensor model: no tensor; expected a state dict"},
        {"refused/uint16", "asks for torch._utils._rebuild_tensor_v3"},
        {"refused/module", "asks for torch.nn.modules.linear.Linear"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i)
        expect_folder_refused(golden(cases[i][0]), "pytorch_model.bin", cases[i][1]);
    CU_ASSERT(access("code-was-run", F_OK) != 0);
}

static void test_the_first_layout_of_a_folder_counts(void)
{
    test_dir dir = new_dir("several");
    expect_folder_refused(dir.path, dir.path, "no weights");
    write_file(&dir, "pytorch_model.bin.index.json", "4", 1);
    expect_folder_refused(dir.path, "pytorch_model.bin.index.json", "JSON");
    write_file(&dir, "pytorch_model.bin", "3", 1);
    expect_folder_refused(dir.path, "pytorch_model.bin: not a zip file", "");
    write_file(&dir, "model.safetensors.index.json", "2", 1);
    expect_folder_refused(dir.path, "model.safetensors.index.json", "JSON");
    write_file(&dir, "model.safetensors", "1", 1);
    expect_folder_refused(dir.path, "model.safetensors: 1 bytes", "");
    static const char pointer[] = "version https://git-lfs.github.com/spec/v1\noid sha256:0\n";
    write_file(&dir, "model.safetensors", pointer, sizeof pointer - 1);
    expect_folder_refused(dir.path, "model.safetensors", "Git LFS pointer");
}

/* A folder of two shards, one.safetensors with a and two.safetensors with b and c. */
static test_dir two_shards(const char *map)
{
    static const char *const headers[] = {
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
        "{\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
        "\"c\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[4,8]}}"};
    test_dir dir = new_dir("shards");
    for (int i = 0; i < 2; ++i) {
        char bytes[256] = {0};
        size_t n = strlen(headers[i]);
        bytes[0] = (char)n;
        strcpy(bytes + 8, headers[i]);
        write_file(&dir, i == 0 ? "one.safetensors" : "two.safetensors", bytes,
                   8 + n + 4 * (size_t)(i + 1));
    }
    write_file(&dir, "model.safetensors.index.json", map, strlen(map));
    return dir;
}

#define GOOD_MAP                                                                               \
    "{\"metadata\": {}, \"weight_map\": {\"a\": \"one.safetensors\", \"b\": \"two.safetensors" \
    "\", \"c\": \"two.safetensors\"}}"

static void test_an_index_and_its_files_must_agree(void)
{
    static const struct {
        const char *map, *file, *words;
    } cases[] = {
        {"{\"weight_map\": {\"a\": \"one.safetensors\", \"b\": \"two.safetensors\"}}", "index.json",
         "tensor c in two.safetensors is not in weight_map"},
        {"{\"weight_map\": {\"a\": \"one.safetensors\"}, \"b\": 1}", NULL, NULL},
        {"{\"weight_map\": {\"a\": \"one.safetensors\", \"b\": \"one.safetensors\", \"c\": "
         "\"two.safetensors\"}}",
         "index.json", "tensor b is in two.safetensors; expected it in one.safetensors alone"},
        {"{\"weight_map\": {\"a\": \"one.safetensors\", \"d\": \"one.safetensors\"}}", "index.json",
         "tensor d is not in one.safetensors"},
        {"{\"weight_map\": {\"a\": \"one.safetensors\", \"b\": \"three.safetensors\"}}",
         "/three.safetensors", "cannot be read"},
        {"{\"weight_map\": {\"a\": \"../one.safetensors\"}}", "index.json",
         "tensor a is not a plain"},
        {"{\"weight_map\": {\"a\": \"/etc/passwd\"}}", "index.json", "tensor a is not a plain"},
        {"{\"weight_map\": {\"a\": \"..\"}}", "index.json", "tensor a is not a plain"},
        {"{\"weight_map\": {\"a\": \".\"}}", "index.json", "tensor a is not a plain"},
        {"{\"weight_map\": {\"a\": \"\"}}", "index.json", "tensor a is not a plain"},
        {"{\"weight_map\": {\"a\": \"\\u001b[2J\"}}", "index.json", "tensor a is not a plain"},
        {"{\"weight_map\": {\"a\": 1}}", "index.json", "tensor a is not a plain"},
        {"{\"weight_map\": {\"\\u001b\": \"one.safetensors\"}}", "index.json", "not plain ASCII"},
        {"{\"weight_map\": {\"\": \"one.safetensors\"}}", "index.json", "empty"},
        {"{\"weight_map\": {\"a\": \"one.safetensors\", \"a\": \"two.safetensors\"}}", "index.json",
         "duplicate"},
        {"{\"weight_map\": {\"a\": \"model.safetensors.index.json\"}}", "index.json",
         "header length"},
        {"{\"weight_map\": []}", "index.json", "0 tensors"},
        {"{\"weight_map\": {}}", "index.json", "0 tensors"},
        {"{}", "index.json", "0 tensors"},
        {"", "index.json", "no JSON"},
        {GOOD_MAP, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        test_dir dir = two_shards(cases[i].map);
        if (cases[i].file != NULL) {
            expect_folder_refused(dir.path, cases[i].file, cases[i].words);
            continue;
        }
        bal_hub_table table;
        open_weights(dir.path, &table);
        read_all(&table);
        bal_hub_table_clear(&table);
    }
}

static void test_a_tensor_in_two_files_is_refused(void)
{
    test_dir dir = two_shards(
        "{\"weight_map\": {\"a\": \"one.safetensors\", \"b\": "
        "\"two.safetensors\", \"c\": \"two.safetensors\", \"x\": "
        "\"three.safetensors\"}}");
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", in_dir(&dir, "one.safetensors"));
    copy_file(path, &dir, "three.safetensors");
    expect_folder_refused(dir.path, "index.json",
                          "tensor a is in three.safetensors; expected it in one.safetensors");
}

static void test_too_many_files_are_refused(void)
{
    char *map = malloc(5000 * 32);
    size_t n = 0;
    CU_ASSERT_PTR_NOT_NULL_FATAL(map);
    n += (size_t)sprintf(map, "{\"weight_map\": {");
    for (int i = 0; i < 4097; ++i)
        n += (size_t)sprintf(map + n, "%s\"t%d\":\"f%d\"", i ? "," : "", i, i);
    sprintf(map + n, "}}");
    test_dir dir = two_shards(map);
    expect_folder_refused(dir.path, "index.json", "4097 files; expected at most 4096");
    free(map);
}

static void test_cut_indexes_are_refused(void)
{
    test_dir dir = two_shards(GOOD_MAP);
    for (size_t n = sizeof GOOD_MAP - 1; n-- > 0;) {
        CU_ASSERT_EQUAL_FATAL(truncate(in_dir(&dir, "model.safetensors.index.json"), (off_t)n), 0);
        expect_folder_refused(dir.path, "model.safetensors.index.json", "JSON");
    }
}

static void test_a_turned_bit_in_an_index_does_no_harm(void)
{
    bal_hub_entry entries[] = {
        {.name = "a", .file = 1}, {.name = "b", .file = 2}, {.name = "c", .file = 2}};
    bal_hub_table table = {.origin = "index.json", .n_entries = 3, .entries = entries};
    char map[] = GOOD_MAP;
    int n_good = 0;
    for (size_t i = 0; i < 8 * strlen(GOOD_MAP); ++i) {
        bal_hub_index index;
        map[i / 8] ^= (char)(1 << i % 8);
        bal_status status = bal_hub_index_parse(map, sizeof map - 1, "index.json", &index);
        map[i / 8] ^= (char)(1 << i % 8);
        if (status == BAL_OK) {
            if (index.n_files == 2) {
                status = bal_hub_index_check(&index, &table);
                n_good += status == BAL_OK;
            }
            bal_hub_index_clear(&index);
        }
        if (status != BAL_OK) expect_sentence(status, "index.json", "");
    }
    CU_ASSERT(n_good > 0); /* names of files and "metadata" may be any */
}

static void test_a_damaged_shard_is_named(void)
{
    test_dir dir = two_shards(GOOD_MAP);
    CU_ASSERT_EQUAL_FATAL(truncate(in_dir(&dir, "two.safetensors"), 20), 0);
    expect_folder_refused(dir.path, "/two.safetensors", "header length");

    dir = two_shards(GOOD_MAP);
    FILE *file = fopen(in_dir(&dir, "two.safetensors"), "r+b");
    const float bad = 1.0f / 0.0f;
    CU_ASSERT_FATAL(file != NULL && fseek(file, -4, SEEK_END) == 0 &&
                    fwrite(&bad, sizeof bad, 1, file) == 1 && fclose(file) == 0);
    bal_hub_table table;
    float value;
    open_weights(dir.path, &table);
    expect_sentence(bal_hub_table_read(&table, bal_hub_table_find(&table, "c"), &value),
                    "/two.safetensors: tensor c", "element 0 is infinite");
    bal_hub_table_clear(&table);
}

static void test_small_safetensors_survive_cuts_and_turned_bits(void)
{
    bal_mapping file;
    CU_ASSERT_EQUAL_FATAL(bal_mapping_open(golden("safetensors/model.safetensors"), &file), BAL_OK);
    cut_everywhere(bal_hub_safetensors_parse, file.data, file.n_bytes);
    turn_every_bit(bal_hub_safetensors_parse, file.data, file.n_bytes);
    bal_mapping_close(&file);
}

/* Eight tensors of 32 MiB in a file without blocks: zeros that cost no disk. */
static void test_reading_keeps_little_of_a_file_in_memory(void)
{
    enum { N = 8, N_BYTES = 1 << 25 };
    test_dir dir = new_dir("streamed");
    char bytes[2048] = {0};
    size_t n = 8;
    for (int i = 0; i < N; ++i)
        n += (size_t)sprintf(bytes + n,
                             "%c\"t%d\":{\"dtype\":\"BF16\",\"shape\":[%d],\"data_offsets\":[%lld,"
                             "%lld]}",
                             i == 0 ? '{' : ',', i, N_BYTES / 2, (long long)i * N_BYTES,
                             (long long)(i + 1) * N_BYTES);
    bytes[n++] = '}';
    bytes[0] = (char)((n - 8) % 256);
    bytes[1] = (char)((n - 8) / 256);
    write_file(&dir, "model.safetensors", bytes, n);
    CU_ASSERT_EQUAL_FATAL(truncate(in_dir(&dir, "model.safetensors"), (off_t)n + N * N_BYTES), 0);
    bal_hub_table table;
    float *values = bal_alloc(N_BYTES / 2, sizeof *values);
    CU_ASSERT_PTR_NOT_NULL_FATAL(values);
    open_weights(dir.path, &table);
    int64_t before, now, rest;
    CU_ASSERT_FATAL(bal_memory_resident(&before, &rest));
    for (int i = 0; i < N; ++i) {
        CU_ASSERT_EQUAL(bal_hub_table_read(&table, &table.entries[i], values), BAL_OK);
        CU_ASSERT(bal_memory_resident(&now, &rest) && now - before < 8 << 20);
    }
    CU_ASSERT(bal_hub_table_same(&table, &table.entries[2], &table.entries[7]));
    CU_ASSERT(bal_memory_resident(&now, &rest) && now - before < 8 << 20);
    volatile uint8_t sum = 0; /* it is not that the pages do not count */
    for (size_t i = 0; i < N_BYTES; i += 4096) sum = (uint8_t)(sum + table.entries[1].data[i]);
    CU_ASSERT(bal_memory_resident(&now, &rest) && now - before > 24 << 20);
    free(values);
    bal_hub_table_clear(&table);
    CU_ASSERT_EQUAL(unlink(in_dir(&dir, "model.safetensors")), 0);
}

const char bal_suite_name[] = "hub_weights";
const bal_test bal_suite_tests[] = {
    {"every layout gives the saved values", test_every_layout_gives_the_saved_values},
    {"tied tensors are the same", test_tied_tensors_are_the_same},
    {"what torch saves besides state dicts is refused",
     test_what_torch_saves_besides_state_dicts_is_refused},
    {"the first layout of a folder counts", test_the_first_layout_of_a_folder_counts},
    {"an index and its files must agree", test_an_index_and_its_files_must_agree},
    {"a tensor in two files is refused", test_a_tensor_in_two_files_is_refused},
    {"too many files are refused", test_too_many_files_are_refused},
    {"cut indexes are refused", test_cut_indexes_are_refused},
    {"a turned bit in an index does no harm", test_a_turned_bit_in_an_index_does_no_harm},
    {"a damaged shard is named", test_a_damaged_shard_is_named},
    {"small safetensors survive cuts and turned bits",
     test_small_safetensors_survive_cuts_and_turned_bits},
    {"reading keeps little of a file in memory", test_reading_keeps_little_of_a_file_in_memory},
    {NULL, NULL},
};
