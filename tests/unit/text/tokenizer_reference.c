/* tokenizer_reference.c: every kind of tokenizer against the program it comes from, on all of
 * lines.txt; see tests/golden/tokens/README.md. */
#include <CUnit/CUnit.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "ballot/text.h"
#include "suite.h"
#include "tokenizer.h"

#define BLOCK 50 /* lines a hash */

static const char *const names[] = {"gpt2",
                                    "opt",
                                    "roberta",
                                    "llama3",
                                    "qwen2",
                                    "cl100k",
                                    "llama2",
                                    "llama2-metaspace",
                                    "bert",
                                    "bert-cased",
                                    "metaspace-words",
                                    "odd-bytes",
                                    "odd-suffix",
                                    "odd-prefix",
                                    "vocab-gpt2",
                                    "vocab-roberta",
                                    "vocab-bert",
                                    "sp-bpe",
                                    "sp-bpe-unknown",
                                    "sp-unigram",
                                    "sp-unigram-unknown",
                                    "sp-rules",
                                    "sp-char"};
#define N_NAMES (sizeof names / sizeof *names)

static const char *golden(const char *folder, const char *name)
{
    static char path[PATH_MAX];
    const char *tests = getenv("BALLOT_TESTS");
    snprintf(path, sizeof path, "%s/golden/tokens/%s%s", tests != NULL ? tests : "tests", folder,
             name);
    return path;
}

static bal_tokenizer *open_folder(const char *name, int64_t n_vocab)
{
    static const char *const parts[] = {
        "/tokenizer.json", "/tokenizer.model",       "/vocab.json", "/merges.txt",
        "/vocab.txt",      "/tokenizer_config.json", "/config.json"};
    bal_files files = {0};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; ++i) {
        bal_mapping file;
        if (bal_mapping_open(golden(name, parts[i]), &file) != BAL_OK) continue;
        CU_ASSERT_EQUAL_FATAL(bal_files_add(&files, parts[i] + 1, file.data, file.n_bytes), BAL_OK);
        bal_mapping_close(&file);
    }
    bal_tokenizer *tokenizer = NULL;
    bal_status status = bal_tokenizer_create(&files, n_vocab, name, &tokenizer);
    bal_files_clear(&files);
    if (status != BAL_OK) fprintf(stderr, "%s\n", bal_failure());
    CU_ASSERT_EQUAL_FATAL(status, BAL_OK);
    return tokenizer;
}

/* The next line of a file without its end, NULL after the last. Borrowed until the next call. */
static char *next_line(FILE *file, size_t *n_bytes)
{
    static char *line;
    static size_t room;
    ssize_t n = getline(&line, &room, file);
    if (n <= 0) {
        free(line);
        line = NULL;
        room = 0;
        return NULL;
    }
    *n_bytes = (size_t)n - (line[n - 1] == '\n');
    line[*n_bytes] = 0;
    return line;
}

static uint64_t fnv(uint64_t state, const void *bytes, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; ++i)
        state = (state ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3u;
    return state;
}

/* What a line becomes and comes back as, added to a hash. @return whether it is the same. */
static bool hash_line(const bal_tokenizer *tokenizer, const char *text, size_t n_bytes,
                      uint64_t *state)
{
    int32_t *ids;
    int64_t n;
    char *back;
    size_t n_back;
    CU_ASSERT_EQUAL_FATAL(bal_tokenizer_encode(tokenizer, text, n_bytes, &ids, &n), BAL_OK);
    CU_ASSERT_EQUAL_FATAL(bal_tokenizer_decode(tokenizer, ids, n, &back, &n_back), BAL_OK);
    int32_t n_ids = (int32_t)n, n_text = (int32_t)n_back;
    *state = fnv(*state, &n_ids, sizeof n_ids);
    *state = fnv(*state, ids, (size_t)n * sizeof *ids);
    *state = fnv(*state, &n_text, sizeof n_text);
    *state = fnv(*state, back, n_back);
    bool same = n_back == n_bytes && memcmp(back, text, n_bytes) == 0;
    free(back);
    free(ids);
    return same;
}

/* Hash of the ids of all lines as one text, in which words come again and again. */
static uint64_t hash_whole(const bal_tokenizer *tokenizer)
{
    FILE *lines = fopen(golden("", "lines.txt"), "r");
    char *text = malloc(1 << 20), *line;
    size_t n_bytes = 0, n = 0;
    int32_t *ids;
    int64_t n_ids;
    CU_ASSERT_FATAL(lines != NULL && text != NULL);
    while ((line = next_line(lines, &n)) != NULL && n_bytes + n < 1 << 20) {
        if (n_bytes > 0 || ftell(lines) > (long)n + 1) text[n_bytes++] = '\n';
        n = bal_test_unescape(line, n, line);
        memcpy(text + n_bytes, line, n);
        n_bytes += n;
    }
    CU_ASSERT_EQUAL_FATAL(bal_tokenizer_encode(tokenizer, text, n_bytes, &ids, &n_ids), BAL_OK);
    uint64_t hash = fnv(0xcbf29ce484222325u, ids, (size_t)n_ids * sizeof *ids);
    free(ids);
    free(text);
    fclose(lines);
    return hash;
}

/* The ids of a text that starts a list of them. */
static bool starts_with_ids(const bal_tokenizer *tokenizer, const char *text, size_t n_bytes,
                            const char *expected)
{
    int32_t *ids;
    int64_t n;
    CU_ASSERT_EQUAL_FATAL(bal_tokenizer_encode(tokenizer, text, n_bytes, &ids, &n), BAL_OK);
    char *end = (char *)(uintptr_t)expected;
    bool same = true;
    for (int64_t i = 0; i < n && same; ++i) same = strtol(end, &end, 10) == ids[i];
    free(ids);
    return same && *end == 0;
}

/* All lines; golden stands after its head. @return how many came back the same. */
static int check_lines(const char *name, const bal_tokenizer *tokenizer, FILE *expected,
                       int n_lines)
{
    FILE *lines = fopen(golden("", "lines.txt"), "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(lines);
    int n_same = 0, n_wrong = 0;
    for (int line = 0; line < n_lines; line += BLOCK) {
        char *first = NULL, *text;
        size_t n_first = 0, n = 0;
        uint64_t state = 0xcbf29ce484222325u;
        for (int i = 0; i < BLOCK && line + i < n_lines; ++i) {
            text = next_line(lines, &n);
            CU_ASSERT_PTR_NOT_NULL_FATAL(text);
            n = bal_test_unescape(text, n, text);
            n_same += hash_line(tokenizer, text, n, &state);
            if (i > 0) continue;
            first = malloc(n + 1);
            CU_ASSERT_PTR_NOT_NULL_FATAL(first);
            memcpy(first, text, n_first = n);
        }
        text = next_line(expected, &n);
        CU_ASSERT_PTR_NOT_NULL_FATAL(text);
        char *end;
        bool same = strtoull(text, &end, 16) == state;
        if (!starts_with_ids(tokenizer, first, n_first, end + (*end == ' ')))
            fprintf(stderr, "%s, line %d: other tokens\n", name, line + 1);
        if (!same && n_wrong++ < 10)
            fprintf(stderr, "%s, lines %d to %d: other tokens or texts\n", name, line + 1,
                    line + BLOCK);
        CU_ASSERT_TRUE(same);
        free(first);
    }
    fclose(lines);
    return n_same;
}

/* Bytes of valid UTF-8 at the start of a text, 0: none; *wrong: bytes that could have started it.
 */
static size_t valid_bytes(const uint8_t *at, size_t n_bytes, size_t *wrong)
{
    size_t n = at[0] < 0x80   ? 1
               : at[0] < 0xc2 ? 0
               : at[0] < 0xe0 ? 2
               : at[0] < 0xf0 ? 3
               : at[0] < 0xf5 ? 4
                              : 0;
    size_t i = 1;
    for (; i < n && i < n_bytes && (at[i] & 0xc0) == 0x80; ++i) {
        bool low = (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xf0 && at[1] < 0x90);
        bool high = (at[0] == 0xed && at[1] > 0x9f) || (at[0] == 0xf4 && at[1] > 0x8f);
        if (i == 1 && (low || high)) break;
    }
    *wrong = i;
    return i == n ? n : 0;
}

/* A text as the reference shows it, with U+FFFD for what is no UTF-8: one for all bytes that could
 * have started a character in style L, one for each byte in style S. */
static char *show(const char *text, size_t n_bytes, char style, size_t *n_shown)
{
    char *shown = malloc(3 * n_bytes + 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(shown);
    *n_shown = 0;
    for (size_t at = 0, n, wrong; at < n_bytes; at += n) {
        n = valid_bytes((const uint8_t *)text + at, n_bytes - at, &wrong);
        bool valid = n > 0;
        size_t more = valid ? n : 3;
        memcpy(shown + *n_shown, valid ? text + at : "\xef\xbf\xbd", more);
        *n_shown += more;
        if (!valid) n = style == 'L' ? wrong : 1;
    }
    return shown;
}

/* Lines "ids | text in hexadecimal". @return their number. */
static int check_decoding(const char *name, const bal_tokenizer *tokenizer, FILE *expected,
                          char style)
{
    int n_lines = 0;
    size_t n = 0, n_back, n_shown;
    for (char *line; (line = next_line(expected, &n)) != NULL; ++n_lines) {
        int32_t ids[64];
        int64_t n_ids = 0;
        char *at = line, *back;
        for (; at += strspn(at, " "), *at != '|' && n_ids < 64;)
            ids[n_ids++] = (int32_t)strtol(at, &at, 10);
        at += 2;
        CU_ASSERT_EQUAL_FATAL(bal_tokenizer_decode(tokenizer, ids, n_ids, &back, &n_back), BAL_OK);
        char *shown = show(back, n_back, style, &n_shown);
        bool same = strlen(at) == 2 * n_shown;
        for (size_t i = 0; i < n_shown && same; ++i) {
            unsigned byte;
            same = sscanf(at + 2 * i, "%2x", &byte) == 1 && (char)byte == shown[i];
        }
        if (!same) fprintf(stderr, "%s: other text of tokens %s\n", name, line);
        CU_ASSERT_TRUE(same);
        free(shown);
        free(back);
    }
    return n_lines;
}

static void check_affix(const char *name, const int32_t *ids, int64_t n, const char *expected)
{
    char *end = (char *)(uintptr_t)expected;
    bool same = true;
    for (int64_t i = 0; i < n; ++i) same = same && strtol(end, &end, 10) == ids[i];
    same = same && (*end == 0 || *end == '|');
    if (!same) fprintf(stderr, "%s: other tokens around a text\n", name);
    CU_ASSERT_TRUE(same);
}

static void test_ids_and_texts_are_those_of_the_reference(void)
{
    for (size_t i = 0; i < N_NAMES; ++i) {
        FILE *expected = fopen(golden(names[i], ".txt"), "r");
        CU_ASSERT_PTR_NOT_NULL_FATAL(expected);
        int n_lines, n_vocab, n_same;
        char style;
        size_t n = 0;
        int64_t n_affix;
        uint64_t whole;
        CU_ASSERT_EQUAL_FATAL(sscanf(next_line(expected, &n), "%d %d %d %c %" SCNx64, &n_lines,
                                     &n_vocab, &n_same, &style, &whole),
                              5);
        CU_ASSERT_TRUE(n_lines >= 10000);
        bal_tokenizer *tokenizer = open_folder(names[i], n_vocab);
        char *around = next_line(expected, &n);
        const int32_t *affix = bal_tokenizer_prefix(tokenizer, &n_affix);
        check_affix(names[i], affix, n_affix, around);
        affix = bal_tokenizer_suffix(tokenizer, &n_affix);
        check_affix(names[i], affix, n_affix, strchr(around, '|') + 1);
        CU_ASSERT_EQUAL(bal_tokenizer_n_vocab(tokenizer), n_vocab);
        CU_ASSERT_EQUAL(hash_whole(tokenizer), whole);
        CU_ASSERT_EQUAL(check_lines(names[i], tokenizer, expected, n_lines), n_same);
        CU_ASSERT_EQUAL(check_decoding(names[i], tokenizer, expected, style), 120);
        fclose(expected);
        bal_tokenizer_destroy(&tokenizer);
    }
}

const char bal_suite_name[] = "tokenizer_reference";
const bal_test bal_suite_tests[] = {
    {"ids and texts are those of the reference, for every kind",
     test_ids_and_texts_are_those_of_the_reference},
    {NULL, NULL},
};
