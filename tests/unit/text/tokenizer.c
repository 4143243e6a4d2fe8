/* tokenizer.c: both kinds of tokenizer against other programs' tokens, damage and size. */
#include "ballot/text.h"

#include <CUnit/CUnit.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"

static const char *golden(const char *name)
{
    static char path[PATH_MAX];
    const char *tests = getenv("BALLOT_TESTS");
    snprintf(path, sizeof path, "%s/golden/tokens/%s", tests != NULL ? tests : "tests", name);
    return path;
}

/* The name that a file would have in a model's folder. */
static const char *name_of(const char *path)
{
    return strstr(path, ".json") != NULL ? "tokenizer.json" : "tokenizer.bin";
}

/* A tokenizer from exactly these bytes, so that a read beyond them is seen by the sanitizer. */
static bal_status create(const char *name, const void *bytes, size_t n_bytes, int64_t n_vocab,
                         bal_tokenizer **tokenizer)
{
    bal_named_bytes file = {.bytes = malloc(n_bytes > 0 ? n_bytes : 1), .n_bytes = n_bytes};
    bal_files files = {1, &file};
    CU_ASSERT_PTR_NOT_NULL_FATAL(file.bytes);
    snprintf(file.name, sizeof file.name, "%s", name);
    memcpy(file.bytes, bytes, n_bytes);
    bal_status status = bal_tokenizer_create(&files, n_vocab, "DIR", tokenizer);
    free(file.bytes);
    return status;
}

static bal_status open_file(const char *path, int64_t n_vocab, bal_tokenizer **tokenizer)
{
    bal_mapping file;
    CU_ASSERT_EQUAL_FATAL(bal_mapping_open(path, &file), BAL_OK);
    bal_status status = create(name_of(path), file.data, file.n_bytes, n_vocab, tokenizer);
    bal_mapping_close(&file);
    return status;
}

static bal_tokenizer *open_good(const char *path, int64_t n_vocab)
{
    bal_tokenizer *tokenizer = NULL;
    bal_status status = open_file(path, n_vocab, &tokenizer);
    if (status != BAL_OK) fprintf(stderr, "%s\n", bal_failure());
    CU_ASSERT_EQUAL_FATAL(status, BAL_OK);
    return tokenizer;
}
static bal_tokenizer *open_tok512(void)
{
    return open_good(bal_test_data("stories260k/tok512.bin"), 512);
}
static bal_tokenizer *open_bytes400(void) { return open_good(golden("bytes400.json"), 662); }

static bool encodes_to(const bal_tokenizer *tokenizer, const char *text, size_t n_bytes,
                       const int32_t *expected, int64_t n_expected)
{
    int32_t *tokens;
    int64_t n_tokens;
    if (bal_tokenizer_encode(tokenizer, text, n_bytes, &tokens, &n_tokens) != BAL_OK) return false;
    bool same = n_tokens == n_expected;
    for (int64_t i = 0; same && i < n_tokens; ++i) same = tokens[i] == expected[i];
    free(tokens);
    return same;
}

static bool decodes_to(const bal_tokenizer *tokenizer, const int32_t *tokens, int64_t n_tokens,
                       const char *expected, size_t n_expected)
{
    char *text;
    size_t n_bytes;
    if (bal_tokenizer_decode(tokenizer, tokens, n_tokens, &text, &n_bytes) != BAL_OK) return false;
    bool same = n_bytes == n_expected && memcmp(text, expected, n_bytes) == 0 && text[n_bytes] == 0;
    free(text);
    return same;
}

static bool round_trips(const bal_tokenizer *tokenizer, const char *text, size_t n_bytes)
{
    int32_t *tokens;
    int64_t n_tokens;
    if (bal_tokenizer_encode(tokenizer, text, n_bytes, &tokens, &n_tokens) != BAL_OK) return false;
    bool same = decodes_to(tokenizer, tokens, n_tokens, text, n_bytes);
    free(tokens);
    return same;
}

/* Lines of a golden file: bytes in hexadecimal, or -, then the tokens. */
static int check_golden(const char *name, bal_tokenizer *tokenizer)
{
    FILE *file = fopen(golden(name), "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    char *line = NULL;
    size_t room = 0;
    int n_lines = 0;
    while (getline(&line, &room, file) > 0) {
        char *at = line;
        size_t n_bytes = 0;
        int64_t n = 0;
        for (unsigned byte; sscanf(at, "%2x", &byte) == 1 && *at != ' '; at += 2)
            line[n_bytes++] = (char)byte; /* shorter than its hexadecimal */
        if (*at == '-') ++at;
        int32_t *expected = calloc(strlen(at) + 1, sizeof *expected);
        CU_ASSERT_PTR_NOT_NULL_FATAL(expected);
        for (char *end; *at == ' '; at = end) expected[n++] = (int32_t)strtol(at, &end, 10);
        bool same = encodes_to(tokenizer, line, n_bytes, expected, n);
        if (!same) fprintf(stderr, "%s, line %d: other tokens\n", name, n_lines + 1);
        CU_ASSERT_TRUE(same);
        free(expected);
        ++n_lines;
    }
    free(line);
    fclose(file);
    bal_tokenizer_destroy(&tokenizer);
    return n_lines;
}

static void test_tokens_are_those_of_other_programs(void)
{
    CU_ASSERT_EQUAL(check_golden("tok512.txt", open_tok512()), 60);
    CU_ASSERT_EQUAL(check_golden("bytes400.txt", open_bytes400()), 200);
    CU_ASSERT_EQUAL(check_golden("unknown150.txt", open_good(golden("unknown150.json"), 152)), 110);
}

static void test_llama2c_tokens_of_a_known_sentence(void)
{
    static const char text[] = "Once upon a time";
    static const int32_t tokens[] = {403, 407, 261, 378};
    bal_tokenizer *tok512 = open_tok512();
    CU_ASSERT_TRUE(encodes_to(tok512, text, strlen(text), tokens, 4));
    CU_ASSERT_TRUE(decodes_to(tok512, tokens, 4, text, strlen(text)));
    CU_ASSERT_EQUAL(bal_tokenizer_n_vocab(tok512), 512);
    CU_ASSERT_EQUAL(bal_tokenizer_special(tok512, BAL_SPECIAL_BOS), 1);
    CU_ASSERT_EQUAL(bal_tokenizer_special(tok512, BAL_SPECIAL_EOS), 2);
    bal_tokenizer_destroy(&tok512);
}

static size_t put_utf8(char *to, uint32_t c)
{
    if (c < 0x80) return to[0] = (char)c, 1;
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n; --i > 0; c >>= 6) to[i] = (char)(0x80 | (c & 0x3f));
    to[0] = (char)((0xf00 >> n & 0xff) | c);
    return n;
}

static void check_round_trips(bal_tokenizer *tokenizer, bool valid)
{
    uint64_t state = 20240601;
    for (int i = 0; i < 2000; ++i) {
        uint64_t seed = state;
        char text[400];
        size_t n_bytes = 0;
        for (uint64_t n = bal_test_random(&state) % 100; n > 0; --n) {
            uint64_t r = bal_test_random(&state), pick = r >> 32;
            uint32_t c = (uint32_t)(r % 4 == 0   ? ' '
                                    : r % 4 == 1 ? pick % 128
                                    : r % 4 == 2 ? pick % 0x800
                                                 : pick % 0x110000);
            if (!valid)
                text[n_bytes++] = (char)pick;
            else if ((c < 0xd800 || c > 0xdfff) && c != 0x2581) /* surrogates; U+2581 is a space */
                n_bytes += put_utf8(text + n_bytes, c);
        }
        bool same = round_trips(tokenizer, text, n_bytes);
        if (!same) fprintf(stderr, "no round trip: seed %llu\n", (unsigned long long)seed);
        CU_ASSERT_TRUE(same);
    }
    bal_tokenizer_destroy(&tokenizer);
}

static void test_random_unicode_survives_a_round_trip(void)
{
    check_round_trips(open_tok512(), true);
    check_round_trips(open_bytes400(), true);
}

static void test_random_bytes_survive_a_round_trip(void)
{
    check_round_trips(open_tok512(), false);
    check_round_trips(open_bytes400(), false);
}

static void test_decoding_drops_special_tokens_and_one_space_after_the_start(void)
{
    bal_tokenizer *tok512 = open_tok512();
    const int32_t twice[] = {1, 403, 407, 1, 403, 2, 0x0a + 3, 0}; /* " Once" " upon" */
    CU_ASSERT_TRUE(decodes_to(tok512, twice, 8, "Once uponOnce\n", 14));
    CU_ASSERT_TRUE(decodes_to(tok512, NULL, 0, "", 0));
    char *text;
    size_t n_bytes;
    int32_t wrong[] = {5, 512, -1};
    CU_ASSERT_EQUAL(bal_tokenizer_decode(tok512, wrong, 2, &text, &n_bytes), BAL_ERR_ARG);
    CU_ASSERT_STRING_EQUAL(bal_failure(), "token 1 is 512; expected 0 to 511");
    CU_ASSERT_EQUAL(bal_tokenizer_decode(tok512, wrong + 2, 1, &text, &n_bytes), BAL_ERR_ARG);
    bal_tokenizer_destroy(&tok512);

    bal_tokenizer *padded = open_good(golden("bytes400.json"), 700); /* the model has more ids */
    const int32_t mixed[] = {1, 0x41 + 3, 699, 2, 661};              /* 661 is Godot, not special */
    CU_ASSERT_TRUE(decodes_to(padded, mixed, 5, "AGodot", 6));
    CU_ASSERT_EQUAL(bal_tokenizer_n_vocab(padded), 662);
    CU_ASSERT_EQUAL(bal_tokenizer_special(padded, BAL_SPECIAL_BOS), 1);
    CU_ASSERT_EQUAL(bal_tokenizer_special(padded, BAL_SPECIAL_EOS), 2);
    bal_tokenizer_destroy(&padded);
}

static void test_another_vocabulary_size_is_refused(void)
{
    bal_tokenizer *none = NULL;
    const char *path = bal_test_data("stories260k/tok512.bin");
    CU_ASSERT_EQUAL(open_file(path, 511, &none), BAL_ERR_INPUT);
    CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "expected the model's 511 tokens"));
    CU_ASSERT_EQUAL(open_file(path, 513, &none), BAL_ERR_INPUT);
    CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "expected the model's 513 tokens"));
    CU_ASSERT_EQUAL(open_file(path, INT32_MAX, &none), BAL_ERR_INPUT);
    CU_ASSERT_EQUAL(open_file(golden("bytes400.json"), 661, &none), BAL_ERR_INPUT);
    CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "has id 661; expected 0 to 660"));
    CU_ASSERT_PTR_NULL(none);
}

static void test_a_file_cut_anywhere_is_refused(void)
{
    bal_mapping file;
    bal_tokenizer *none = NULL;
    CU_ASSERT_EQUAL_FATAL(bal_mapping_open(bal_test_data("stories260k/tok512.bin"), &file), BAL_OK);
    for (size_t n = 0; n < file.n_bytes; ++n)
        CU_ASSERT_EQUAL(create("tokenizer.bin", file.data, n, 512, &none), BAL_ERR_INPUT);
    bal_mapping_close(&file);
    CU_ASSERT_EQUAL_FATAL(bal_mapping_open(golden("bytes400.json"), &file), BAL_OK);
    for (size_t n = 0; n + 1 < file.n_bytes; n += 7) /* the last byte is a newline */
        CU_ASSERT_EQUAL(create("tokenizer.json", file.data, n, 662, &none), BAL_ERR_INPUT);
    bal_mapping_close(&file);
}

/* Damaged bytes make a tokenizer or a sentence; a tokenizer made of them can be used. */
static void check_mutations(const char *path, int64_t n_vocab, int n)
{
    static const char text[] = "First, \xc3\xa9 <0x41> <s> the\nGodot <|sep|>2 \xff";
    bal_mapping file;
    CU_ASSERT_EQUAL_FATAL(bal_mapping_open(path, &file), BAL_OK);
    uint8_t *bytes = malloc(file.n_bytes);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    uint64_t state = 7;
    for (int i = 0; i < n; ++i) {
        memcpy(bytes, file.data, file.n_bytes);
        for (uint64_t left = 1 + bal_test_random(&state) % 4; left > 0; --left) {
            uint64_t r = bal_test_random(&state);
            size_t a = (size_t)(r >> 8) % file.n_bytes, b = (size_t)(r >> 32) % file.n_bytes;
            bytes[a] = r & 1 ? (uint8_t)(r >> 1) : file.data[b]; /* any, or one of the file's */
        }
        bal_tokenizer *tokenizer = NULL;
        bal_status status = create(name_of(path), bytes, file.n_bytes, n_vocab, &tokenizer);
        CU_ASSERT_TRUE(status == BAL_OK || (status == BAL_ERR_INPUT && tokenizer == NULL));
        if (status != BAL_OK) continue;
        int32_t *tokens;
        int64_t n_tokens;
        status = bal_tokenizer_encode(tokenizer, text, sizeof text - 1, &tokens, &n_tokens);
        CU_ASSERT_TRUE(status == BAL_OK || status == BAL_ERR_INPUT);
        if (status == BAL_OK) {
            char *decoded;
            size_t n_bytes;
            CU_ASSERT_EQUAL_FATAL(
                bal_tokenizer_decode(tokenizer, tokens, n_tokens, &decoded, &n_bytes), BAL_OK);
            free(decoded);
            free(tokens);
        }
        bal_tokenizer_destroy(&tokenizer);
    }
    free(bytes);
    bal_mapping_close(&file);
}

static void test_damaged_files_never_crash(void)
{
    check_mutations(bal_test_data("stories260k/tok512.bin"), 512, 3000);
    check_mutations(golden("bytes400.json"), 662, 3000);
    check_mutations(golden("unknown150.json"), 152, 3000);
}

/* Append one token of a tokenizer.bin. */
static void put_token(char *file, size_t *n, float score, int32_t n_bytes, const char *bytes)
{
    memcpy(file + *n, &score, 4);
    memcpy(file + *n + 4, &n_bytes, 4);
    memcpy(file + *n + 8, bytes, strlen(bytes));
    *n += 8 + strlen(bytes);
}

static void test_llama2c_merges_by_score_then_from_the_left(void)
{
    static const struct {
        float score;
        const char *bytes;
    } vocab[] = {{0, "<unk>"},
                 {0, "<s>"},
                 {0, "</s>"},
                 {0, " "},
                 {0, "a"},
                 {0, "a"},
                 {0, ""},
                 {0, ""},
                 {0, "b"},
                 {-0.0f, "aa"},
                 {0, "ab"},
                 {5, " b"},
                 {__builtin_nanf(""), "ba"},
                 {-1e10f, "bb"}};
    char file[400] = {9};
    size_t n = 4;
    bal_tokenizer *tokenizer = NULL;
    for (size_t i = 0; i < 14; ++i)
        put_token(file, &n, vocab[i].score, (int32_t)strlen(vocab[i].bytes), vocab[i].bytes);
    CU_ASSERT_EQUAL_FATAL(create("tokenizer.bin", file, n, 14, &tokenizer), BAL_OK);
    CU_ASSERT_TRUE(encodes_to(tokenizer, "aab", 3, (int32_t[]){3, 9, 8}, 3)); /* -0 equals 0 */
    CU_ASSERT_TRUE(encodes_to(tokenizer, "baab", 4, (int32_t[]){11, 9, 8}, 3));
    CU_ASSERT_TRUE(
        encodes_to(tokenizer, "abba", 4, (int32_t[]){3, 10, 8, 4}, 4)); /* not a number */
    CU_ASSERT_TRUE(encodes_to(tokenizer, "abbb", 4, (int32_t[]){3, 10, 8, 8}, 4));  /* too low */
    CU_ASSERT_TRUE(encodes_to(tokenizer, "\xc3\xa9x", 3, (int32_t[]){3, 0, 0}, 3)); /* unknown */
    CU_ASSERT_TRUE(encodes_to(tokenizer, "", 0, NULL, 0));
    bal_tokenizer_destroy(&tokenizer);

    static const int32_t wrong[] = {-1, 10, INT32_MAX, INT32_MIN};
    for (int i = 0; i < 4; ++i) {
        n = 4;
        for (int token = 0; token < 3; ++token) put_token(file, &n, 0, 1, "x");
        memcpy(file + n - 5, &wrong[i], 4);
        CU_ASSERT_EQUAL(create("tokenizer.bin", file, n, 3, &tokenizer), BAL_ERR_INPUT);
        CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "DIR/tokenizer.bin: token 2 has "));
    }
}

/* A small tokenizer.json with some of its parts in other words. */
#define VOCAB "{\"u\":0,\"a\":1,\"b\":2,\"c\":3,\"ab\":4,\"abc\":5,\"bc\":6}"
static bal_status create_json(const char *before_model, const char *model, const char *vocab,
                              const char *merges, bal_tokenizer **tokenizer)
{
    char text[2000];
    snprintf(text, sizeof text,
             "{%s \"model\":{\"type\":\"BPE\",%s \"vocab\":%s,\"merges\":%s},"
             "\"decoder\":{\"type\":\"Fuse\"}}",
             before_model, model, vocab, merges);
    return create("tokenizer.json", text, strlen(text), 100, tokenizer);
}

static void test_hf_merges_by_rank_in_both_spellings(void)
{
    static const char *const merges[] = {
        "[\"b c\",\"a b\",\"ab c\",\"a bc\"]",
        "[[\"b\",\"c\"],[\"a\",\"b\"],[\"ab\",\"c\"],[\"a\",\"bc\"]]"};
    for (int i = 0; i < 2; ++i) {
        bal_tokenizer *tokenizer = NULL;
        CU_ASSERT_EQUAL_FATAL(create_json("", "", VOCAB, merges[i], &tokenizer), BAL_OK);
        CU_ASSERT_TRUE(encodes_to(tokenizer, "ababcb", 6, (int32_t[]){4, 5, 2}, 3));
        CU_ASSERT_TRUE(round_trips(tokenizer, "cabcabbca", 9));
        int32_t *tokens;
        int64_t n_tokens;
        CU_ASSERT_EQUAL(bal_tokenizer_encode(tokenizer, "ab!", 3, &tokens, &n_tokens),
                        BAL_ERR_INPUT);
        CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "byte 0x21"));
        CU_ASSERT_EQUAL(bal_tokenizer_special(tokenizer, BAL_SPECIAL_BOS), -1);
        CU_ASSERT_EQUAL(bal_tokenizer_special(tokenizer, BAL_SPECIAL_EOS), -1);
        bal_tokenizer_destroy(&tokenizer);
    }
}

static void test_hf_unknown_characters_are_fused_on_demand(void)
{
    static const char text[] = "a\xc3\xa9?b!";
    bal_tokenizer *apart = NULL, *fused = NULL;
    CU_ASSERT_EQUAL_FATAL(create_json("", "\"unk_token\":\"u\",", VOCAB, "[]", &apart), BAL_OK);
    CU_ASSERT_EQUAL_FATAL(
        create_json("", "\"unk_token\":\"u\",\"fuse_unk\":true,", VOCAB, "[]", &fused), BAL_OK);
    CU_ASSERT_TRUE(encodes_to(apart, text, 6, (int32_t[]){1, 0, 0, 2, 0}, 5));
    CU_ASSERT_TRUE(encodes_to(fused, text, 6, (int32_t[]){1, 0, 2, 0}, 4));
    bal_tokenizer_destroy(&apart);
    bal_tokenizer_destroy(&fused);
}

static void test_hf_parts_that_are_not_supported_are_named(void)
{
    static const struct {
        const char *before_model, *model, *vocab, *merges, *words;
    } cases[] = {
        {"\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"},", "", VOCAB, "[]",
         "DIR/tokenizer.json: pre_tokenizer of type \"UnicodeScripts\" is not supported; expected"},
        {"\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a+\"},"
         "\"behavior\":\"Kept\"},",
         "", VOCAB, "[]", "behavior of a Split is \"Kept\"; expected Removed, Isolated"},
        {"\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a\"},"
         "\"behavior\":\"Isolated\"},",
         "", VOCAB, "[]", "the pattern of a Split is not valid: missing closing parenthesis"},
        {"\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[a&&b]\"},"
         "\"behavior\":\"Isolated\"},",
         "", VOCAB, "[]", "has \"&&\" at byte 2, what two classes share"},
        {"\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"_\","
         "\"prepend_scheme\":\"last\"},",
         "", VOCAB, "[]", "prepend_scheme of a Metaspace is \"last\""},
        {"\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"ab\"},", "", VOCAB, "[]",
         "the replacement of a Metaspace is \"ab\"; expected one character"},
        {"\"normalizer\":{\"type\":\"ByteLevel\"},\"pre_tokenizer\":{\"type\":\"Sequence\","
         "\"pretokenizers\":[{\"type\":\"ByteLevel\"},{\"type\":\"ByteLevel\"}]},",
         "", VOCAB, "[]", "ByteLevel is used more than 2 times"},
        {"\"normalizer\":{\"type\":\"Precompiled\"},", "", VOCAB, "[]",
         "normalizer of type \"Precompiled\""},
        {"\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Nmt\"}]},", "", VOCAB,
         "[]", "normalizer of type \"Nmt\""},
        {"\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Sequence\","
         "\"normalizers\":[{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Sequence\","
         "\"normalizers\":[{\"type\":\"Sequence\",\"normalizers\":[]}]}]}]}]},",
         "", VOCAB, "[]", "lies in more than 4 others"},
        {"\"normalizer\":{\"type\":\"Replace\",\"pattern\":\"a\",\"content\":\"\"},", "", VOCAB,
         "[]", "the pattern of a Replace is \"a\"; expected {\"String\": ...}"},
        {"\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":["
         "{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"aaaaaaaaaaaaaaaa\"},"
         "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a\"},\"content\":\"aaaaaaaaaaaaaaaa\"}]},",
         "", VOCAB, "[]", "272 times longer; expected at most 256"},
        {"\"post_processor\":{\"type\":\"Other\"},", "", VOCAB, "[]",
         "post_processor of type \"Other\""},
        {"\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[]},", "", VOCAB, "[]",
         "post_processor names the text 0 times; expected once"},
        {"\"post_processor\":{\"type\":\"RobertaProcessing\",\"cls\":[\"a\",99],"
         "\"sep\":[\"a\",1]},",
         "", VOCAB, "[]", "has no cls and sep"},
        {"\"added_tokens\":[{\"id\":7,\"content\":\"<m>\",\"lstrip\":1}],", "", VOCAB, "[]",
         "lstrip of added_tokens[0] is 1; expected true or false"},
        {"\"added_tokens\":[{\"id\":7,\"content\":\"a\"}],", "", VOCAB, "[]",
         "\"a\" has id 7 in added_tokens and 1 in model.vocab"},
        {"", "\"dropout\":0.5,", VOCAB, "[]", "model.dropout is 0.5"},
        {"", "\"byte_fallback\":true,\"end_of_word_suffix\":\"</w>\",", VOCAB, "[]",
         "model.byte_fallback together with"},
        {"", "\"unk_token\":\"?\",", VOCAB, "[]", "model.unk_token is \"?\""},
        {"", "", "[]", "[]", "model.vocab is []; expected an object"},
        {"", "", "{}", "[]", "model.vocab is {}; expected tokens"},
        {"", "", "{\"a\":1,\"b\":1}", "[]", "id 1 is both \"a\" and \"b\""},
        {"", "", "{\"a\":100}", "[]", "\"a\" has id 100; expected 0 to 99"},
        {"", "", "{\"a\":-1}", "[]", "\"a\" has id -1; expected 0 to 99"},
        {"", "", "{\"a\":1,\"a\":2}", "[]", "DIR/tokenizer.json:1: duplicate object key"},
        {"", "", VOCAB, "{}", "model.merges is {}; expected an array"},
        {"", "", VOCAB, "[\"ab\"]", "model.merges[0] is not a pair"},
        {"", "", VOCAB, "[\"a b\",[\"a\",\"b\",\"c\"]]", "model.merges[1] is not a pair"},
        {"", "", VOCAB, "[\"a c\"]", "model.merges 0 joins \"a\" and \"c\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        bal_tokenizer *none = NULL;
        CU_ASSERT_EQUAL(create_json(cases[i].before_model, cases[i].model, cases[i].vocab,
                                    cases[i].merges, &none),
                        BAL_ERR_INPUT);
        if (strstr(bal_failure(), cases[i].words) == NULL)
            fprintf(stderr, "found \"%s\", expected \"%s\"\n", bal_failure(), cases[i].words);
        CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), cases[i].words));
    }
    static const char unigram[] = "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0]]}}";
    bal_tokenizer *none = NULL;
    CU_ASSERT_EQUAL(create("tokenizer.json", unigram, strlen(unigram), 9, &none), BAL_ERR_INPUT);
    CU_ASSERT_STRING_EQUAL(bal_failure(),
                           "DIR/tokenizer.json: model of type \"Unigram\" is not supported; "
                           "expected type \"BPE\" or \"WordPiece\"");
}

static void test_a_megabyte_is_encoded_in_seconds(void)
{
    bal_tokenizer *tokenizers[] = {open_tok512(), open_bytes400()};
    size_t n_bytes = 1u << 20;
    char *text = malloc(n_bytes);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    bal_mapping file;
    CU_ASSERT_EQUAL_FATAL(bal_mapping_open(bal_test_data("shakespeare/train.txt"), &file), BAL_OK);
    for (size_t i = 0; i < n_bytes; ++i) text[i] = (char)file.data[i % file.n_bytes];
    bal_mapping_close(&file);
    for (int i = 0; i < 4; ++i) {
        if (i == 2) memset(text, 'o', n_bytes); /* one character: every place is a candidate */
        double start = bal_seconds();
        CU_ASSERT_TRUE(round_trips(tokenizers[i % 2], text, n_bytes));
        CU_ASSERT_TRUE(bal_seconds() - start < 10);
    }
    free(text);
    bal_tokenizer_destroy(&tokenizers[0]);
    bal_tokenizer_destroy(&tokenizers[1]);
}

const char bal_suite_name[] = "tokenizer";
const bal_test bal_suite_tests[] = {
    {"tokens are those of other programs", test_tokens_are_those_of_other_programs},
    {"llama2.c tokens of a known sentence", test_llama2c_tokens_of_a_known_sentence},
    {"random Unicode survives a round trip", test_random_unicode_survives_a_round_trip},
    {"random bytes survive a round trip", test_random_bytes_survive_a_round_trip},
    {"decoding drops special tokens and one space after the start",
     test_decoding_drops_special_tokens_and_one_space_after_the_start},
    {"another vocabulary size is refused", test_another_vocabulary_size_is_refused},
    {"a file cut anywhere is refused", test_a_file_cut_anywhere_is_refused},
    {"damaged files never crash", test_damaged_files_never_crash},
    {"llama2.c merges by score, then from the left",
     test_llama2c_merges_by_score_then_from_the_left},
    {"Hugging Face merges by rank, in both spellings", test_hf_merges_by_rank_in_both_spellings},
    {"Hugging Face unknown characters are fused on demand",
     test_hf_unknown_characters_are_fused_on_demand},
    {"Hugging Face parts that are not supported are named",
     test_hf_parts_that_are_not_supported_are_named},
    {"a megabyte is encoded in seconds", test_a_megabyte_is_encoded_in_seconds},
    {NULL, NULL},
};
