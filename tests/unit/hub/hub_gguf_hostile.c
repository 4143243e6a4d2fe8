/* hub_gguf_hostile.c: GGUF files that are cut, damaged or of a kind that is unknown get a sentence
 * that names what is wrong. */
#include "../../../src/hub/gguf.h"
#include "exports.h"

/* A copy of a file of tests/golden/gguf, to be changed. */
typedef struct copy {
    uint8_t *bytes; /* malloc */
    size_t n_bytes;
} copy;

static copy copy_of(const char *name)
{
    char path[PATH_MAX];
    const char *tests = getenv("BALLOT_TESTS");
    bal_mapping file;
    snprintf(path, sizeof path, "%s/golden/gguf/%s", tests != NULL ? tests : "tests", name);
    CU_ASSERT_EQUAL_FATAL(bal_mapping_open(path, &file), BAL_OK);
    copy c = {malloc(file.n_bytes), file.n_bytes};
    CU_ASSERT_PTR_NOT_NULL_FATAL(c.bytes);
    memcpy(c.bytes, file.data, file.n_bytes);
    bal_mapping_close(&file);
    return c;
}

static bal_status parse(const uint8_t *bytes, size_t n_bytes)
{
    bal_model_config config;
    const bal_family *names;
    bal_files files = {0};
    bal_hub_table table;
    bal_status status =
        bal_hub_gguf_parse(bytes, n_bytes, "made.gguf", &config, &names, &files, &table);
    bal_files_clear(&files);
    if (status == BAL_OK) bal_hub_table_clear(&table);
    return status;
}

static uint8_t *find(const copy *c, const char *text)
{
    uint8_t *at = memmem(c->bytes, c->n_bytes, text, strlen(text));
    CU_ASSERT_PTR_NOT_NULL_FATAL(at);
    return at;
}

/* Put bytes at some distance after the first occurrence of a text. */
static void expect_change_refused(const char *text, size_t after, const void *bytes, size_t n,
                                  const char *words)
{
    copy c = copy_of("small.gguf");
    memcpy(find(&c, text) + after, bytes, n);
    expect_failure(parse(c.bytes, c.n_bytes), BAL_ERR_INPUT, words);
    free(c.bytes);
}

static void expect_number_refused(const char *text, size_t after, uint32_t number,
                                  const char *words)
{
    expect_change_refused(text, after, &number, sizeof number, words);
}

static void expect_text_refused(const char *text, const char *instead, const char *words)
{
    expect_change_refused(text, 0, instead, strlen(instead), words);
}

static void test_the_small_files_themselves_are_fine(void)
{
    static const char *const names[] = {"small.gguf", "small-pieces.gguf", "small-lines.gguf"};
    for (int i = 0; i < 3; ++i) {
        copy c = copy_of(names[i]);
        bal_status status = parse(c.bytes, c.n_bytes);
        if (status != BAL_OK) fprintf(stderr, "%s\n", bal_failure());
        CU_ASSERT_EQUAL(status, BAL_OK);
        free(c.bytes);
    }
}

static void test_files_that_are_cut_are_refused_at_every_length(void)
{
    copy c = copy_of("small.gguf");
    for (size_t n = 0; n < c.n_bytes; ++n) {
        uint8_t *exact = malloc(n + 1); /* so that a read beyond it is seen */
        CU_ASSERT_PTR_NOT_NULL_FATAL(exact);
        memcpy(exact, c.bytes, n);
        bal_status status = parse(exact, n);
        if (status != BAL_ERR_INPUT) fprintf(stderr, "%zu bytes: %d\n", n, (int)status);
        CU_ASSERT_EQUAL(status, BAL_ERR_INPUT);
        free(exact);
    }
    free(c.bytes);
}

static void test_damaged_heads_are_refused(void)
{
    expect_text_refused("GGUF", "GGML", "expected the head of a GGUF file");
    expect_number_refused("GGUF", 4, 1, "GGUF version 1; expected");
    expect_number_refused("GGUF", 4, 3u << 24, "so it is big-endian");
    expect_number_refused("GGUF", 12, 1, "tensors do not fit");
    expect_number_refused("GGUF", 20, 1, "pairs do not fit");
    expect_number_refused("llama.block_count", 17, 13, "is of unknown type");
    expect_text_refused("llama.block_count", "llama.block\ncount", "is not plain ASCII");
    expect_number_refused("tokenizer.ggml.tokens", 21 + 8, 1u << 30, "goes beyond the end");
    expect_number_refused("tokenizer.ggml.tokens", 21 + 4, 9, "is of unknown type");
}

static void test_tensors_that_cannot_be_are_refused(void)
{
    static const char name[] = "blk.0.attn_q.weight"; /* [32, 32], Q4_1 */
    const size_t sizes = sizeof name - 1 + 4, type = sizes + 16, place = type + 4;
    expect_number_refused(name, type, 16,
                          "tensor blk.0.attn_q.weight is of type 16 of ggml; expected F32, F16");
    expect_number_refused(name, type, 12, "rows of 32; expected whole blocks of 256, as Q4_K");
    expect_number_refused(name, sizes - 4, 5, "has 5 sizes; expected at most 4");
    expect_number_refused(name, sizes + 4, 1u << 31, "is no size in elements");
    expect_number_refused(name, sizes + 8, 1u << 28, "within the");
    expect_number_refused(name, place, 8, "expected a multiple of 32");
    expect_number_refused(name, place + 4, 1, "within the");
    expect_number_refused(name, place, 0, "share bytes");
    expect_text_refused("blk.0.attn_q.weight", "blk.0.attn_k.weight", "is there twice");
}

static void test_settings_that_are_missing_or_unknown_are_named(void)
{
    static const char heads[] = "llama.attention.head_count", end[] = "tokenizer.ggml.eot_token_id";
    expect_text_refused("llama.block_count", "xlama.block_count", "llama.block_count is missing");
    expect_text_refused("llama.block_count", "llama.logit_scale",
                        "llama.logit_scale is a setting that is unknown here");
    expect_number_refused("llama.block_count", 17 + 4, 0, "llama.block_count is 0; expected");
    expect_number_refused(heads, sizeof heads - 1 + 4, 65537, "expected an integer from 1 to");
    expect_number_refused("llama.rope.dimension_count", 26 + 4, 8,
                          "llama.rope.dimension_count is 8; expected the size of a head");
    expect_number_refused(end, sizeof end - 1 + 4, 42,
                          "tokenizer.ggml.eot_token_id is 42; expected an id below 42");
    expect_text_refused("general.architecture", "general.architectura",
                        "general.architecture is missing");
    expect_text_refused("\x05\0\0\0\0\0\0\0llama" + 8, "mamba",
                        "general.architecture is \"mamba\"; expected one of llama, qwen2");
}

/* Numbers of a file that is shorter than what they ask for take no memory. */
static void test_any_byte_may_be_another(void)
{
    copy c = copy_of("small.gguf");
    size_t n_head = (size_t)(find(&c, "blk.0.ffn_down.weight") - c.bytes) + 64;
    for (size_t i = 0; i < n_head; ++i) {
        uint8_t was = c.bytes[i];
        static const uint8_t others[] = {0, 0x7F, 0xFF};
        for (int k = 0; k < 3; ++k) {
            c.bytes[i] = others[k];
            bal_status status = parse(c.bytes, c.n_bytes);
            CU_ASSERT(status == BAL_OK || status == BAL_ERR_INPUT);
        }
        c.bytes[i] = was;
    }
    free(c.bytes);
}

const char bal_suite_name[] = "hub_gguf_hostile";
const bal_test bal_suite_tests[] = {
    {"the small files themselves are fine", test_the_small_files_themselves_are_fine},
    {"files that are cut are refused at every length",
     test_files_that_are_cut_are_refused_at_every_length},
    {"damaged heads are refused", test_damaged_heads_are_refused},
    {"tensors that cannot be are refused", test_tensors_that_cannot_be_are_refused},
    {"settings that are missing or unknown are named",
     test_settings_that_are_missing_or_unknown_are_named},
    {"any byte may be another", test_any_byte_may_be_another},
    {NULL, NULL},
};
