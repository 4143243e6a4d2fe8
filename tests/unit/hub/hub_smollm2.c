/* hub_smollm2.c: the tokenizer of SmolLM2's GGUF file gives the ids of tokenizers on whole texts,
 * line by line, and on all lines of tests/golden/tokens; see tests/golden/smollm2. Without the
 * file, which jobs/smollm2.sh brings, there is nothing to compare. */
#include <inttypes.h>

#include "exports.h"
#include "tokenizer.h"

#define NAME "smollm2-135m/SmolLM2-135M-Instruct.Q4_1.gguf"

static const char *in_repository(const char *name)
{
    static char path[PATH_MAX];
    const char *tests = getenv("BALLOT_TESTS");
    snprintf(path, sizeof path, "%s/../%s", tests != NULL ? tests : "tests", name);
    return path;
}

/* What ids.txt says of a file. */
typedef struct summary {
    long n_texts, n_tokens;
    uint64_t hash;
} summary;

static void add_text(const bal_tokenizer *tokenizer, const char *text, size_t n_bytes, summary *s)
{
    int32_t *ids, c, n_bad = 0;
    int64_t n;
    for (size_t at = 0; at < n_bytes && n_bad == 0;) {
        at += bal_character(text + at, n_bytes - at, &c);
        n_bad += c == BAL_NO_CHARACTER;
    }
    if (n_bad > 0) return; /* tokenizers takes UTF-8 alone */
    bal_status status = bal_tokenizer_encode(tokenizer, text, n_bytes, &ids, &n);
    if (status != BAL_OK) { /* tokenizers would lose a byte */
        CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "of the text has no token"));
        return;
    }
    for (size_t i = 0; i < (size_t)n * sizeof *ids; ++i)
        s->hash = (s->hash ^ ((const uint8_t *)ids)[i]) * 0x100000001b3u;
    ++s->n_texts;
    s->n_tokens += n;
    free(ids);
}

static summary summary_of(const bal_tokenizer *tokenizer, const char *name)
{
    summary s = {.hash = 0xcbf29ce484222325u};
    bool escaped = strstr(name, "lines.txt") != NULL;
    bal_mapping file;
    CU_ASSERT_EQUAL_FATAL(bal_mapping_open(in_repository(name), &file), BAL_OK);
    const char *text = (const char *)file.data, *end = text + file.n_bytes, *line_end;
    char *line = malloc(file.n_bytes + 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(line);
    if (!escaped) add_text(tokenizer, text, file.n_bytes, &s);
    for (; text <= end; text = line_end + 1) {
        line_end = memchr(text, '\n', (size_t)(end - text));
        if (line_end == NULL) line_end = end;
        size_t n = (size_t)(line_end - text);
        if (escaped)
            n = bal_test_unescape(text, n, line);
        else
            memcpy(line, text, n);
        add_text(tokenizer, line, n, &s);
    }
    free(line);
    bal_mapping_close(&file);
    return s;
}

/* @return whether the model is there. */
static bool open_model(bal_bundle *bundle)
{
    if (access(bal_test_data(NAME), F_OK) != 0) {
        fprintf(stderr, "skipped: no data/" NAME "; jobs/smollm2.sh brings it\n");
        return false;
    }
    CU_ASSERT_EQUAL_FATAL(
        bal_hub_outline(bal_test_data(NAME), &(bal_formats){.matrices = BAL_I8}, bundle), BAL_OK);
    return true;
}

static void test_ids_are_those_of_tokenizers(void)
{
    char name[256];
    summary expected;
    bal_bundle bundle;
    if (!open_model(&bundle)) return;
    FILE *list = fopen(in_repository("tests/golden/smollm2/ids.txt"), "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(list);
    int n_files = 0;
    for (; fscanf(list, "%ld %ld %" SCNx64 " %255s", &expected.n_texts, &expected.n_tokens,
                  &expected.hash, name) == 4;
         ++n_files) {
        summary found = summary_of(bundle.tokenizer, name);
        if (found.hash != expected.hash)
            fprintf(stderr, "%s: %ld texts, %ld tokens\n", name, found.n_texts, found.n_tokens);
        CU_ASSERT_EQUAL(found.n_texts, expected.n_texts);
        CU_ASSERT_EQUAL(found.n_tokens, expected.n_tokens);
        CU_ASSERT_EQUAL(found.hash, expected.hash);
    }
    CU_ASSERT_EQUAL(n_files, 4);
    fclose(list);
    bal_bundle_clear(&bundle);
}

static void test_a_byte_without_a_token_is_named(void)
{
    int32_t *ids;
    int64_t n;
    bal_bundle bundle;
    if (!open_model(&bundle)) return;
    CU_ASSERT_EQUAL(bal_tokenizer_encode(bundle.tokenizer, "a\x04", 2, &ids, &n), BAL_ERR_INPUT);
    CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "byte 0x04 of the text has no token"));
    CU_ASSERT_EQUAL(bal_tokenizer_encode(bundle.tokenizer, "\xfc", 1, &ids, &n), BAL_ERR_INPUT);
    CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "byte 0xFC of the text has no token"));
    bal_bundle_clear(&bundle);
}

const char bal_suite_name[] = "hub_smollm2";
const bal_test bal_suite_tests[] = {
    {"ids are those of tokenizers", test_ids_are_those_of_tokenizers},
    {"a byte without a token is named", test_a_byte_without_a_token_is_named},
    {NULL, NULL},
};
