/* tokenizer_files.c: which files make a tokenizer, what those beside it say, and what damaged or
 * hostile ones do. */
#include <CUnit/CUnit.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "ballot/json.h"
#include "ballot/text.h"
#include "suite.h"

static const char *golden(const char *name)
{
    static char path[PATH_MAX];
    const char *tests = getenv("BALLOT_TESTS");
    snprintf(path, sizeof path, "%s/golden/tokens/%s", tests != NULL ? tests : "tests", name);
    return path;
}

static void add(bal_files *files, const char *name, const void *bytes, size_t n_bytes)
{
    CU_ASSERT_EQUAL_FATAL(bal_files_add(files, name, bytes, n_bytes), BAL_OK);
}

/* Add a golden file under the last part of its name. */
static void add_golden(bal_files *files, const char *name)
{
    bal_mapping file;
    CU_ASSERT_EQUAL_FATAL(bal_mapping_open(golden(name), &file), BAL_OK);
    add(files, strrchr(name, '/') + 1, file.data, file.n_bytes);
    bal_mapping_close(&file);
}

static bal_tokenizer *create(const bal_files *files)
{
    bal_tokenizer *tokenizer = NULL;
    bal_status status = bal_tokenizer_create(files, 1000, "DIR", &tokenizer);
    if (status != BAL_OK) fprintf(stderr, "%s\n", bal_failure());
    CU_ASSERT_EQUAL_FATAL(status, BAL_OK);
    return tokenizer;
}

static void check_refused(const bal_files *files, const char *words)
{
    bal_tokenizer *none = NULL;
    CU_ASSERT_EQUAL(bal_tokenizer_create(files, 1000, "DIR", &none), BAL_ERR_INPUT);
    CU_ASSERT_PTR_NULL(none);
    bool said = strstr(bal_failure(), words) != NULL;
    if (!said) fprintf(stderr, "found \"%s\", expected \"%s\"\n", bal_failure(), words);
    CU_ASSERT_TRUE(said);
}

/* Tokens of a text. @return their number; at most 64 are kept. */
static int64_t encode(const bal_tokenizer *tokenizer, const char *text, size_t n_bytes,
                      int32_t ids[64])
{
    int32_t *tokens;
    int64_t n;
    CU_ASSERT_EQUAL_FATAL(bal_tokenizer_encode(tokenizer, text, n_bytes, &tokens, &n), BAL_OK);
    for (int64_t i = 0; i < n && i < 64; ++i) ids[i] = tokens[i];
    free(tokens);
    return n;
}

static void test_the_first_file_of_the_list_is_read(void)
{
    static const char *const order[] = {"llama2/tokenizer.json", "sp-char/tokenizer.model",
                                        "vocab-gpt2/vocab.json", "vocab-bert/vocab.txt"};
    static const int64_t n_vocab[] = {559, 90, 480, 500};
    for (int first = 0; first < 4; ++first) {
        bal_files files = {0};
        for (int i = 3; i >= first; --i) add_golden(&files, order[i]);
        if (first <= 2) add_golden(&files, "vocab-gpt2/merges.txt");
        bal_tokenizer *tokenizer = create(&files);
        CU_ASSERT_EQUAL(bal_tokenizer_n_vocab(tokenizer), n_vocab[first]);
        bal_tokenizer_destroy(&tokenizer);
        bal_files_clear(&files);
    }
    bal_files none = {0};
    check_refused(&none, "DIR: has no tokenizer; expected tokenizer.json, tokenizer.model");
    add_golden(&none, "vocab-gpt2/vocab.json");
    check_refused(&none, "DIR/vocab.json: has no merges.txt beside it");
    bal_files_clear(&none);
}

static void test_files_of_a_tokenizer_are_known_by_name(void)
{
    static const char *const ours[] = {"tokenizer.json",
                                       "tokenizer.model",
                                       "vocab.json",
                                       "merges.txt",
                                       "vocab.txt",
                                       "tokenizer.bin",
                                       "tokenizer_config.json",
                                       "special_tokens_map.json",
                                       "added_tokens.json",
                                       "chat_template.jinja",
                                       "config.json"};
    static const char *const others[] = {"model.safetensors", "configuration.json", "", "tokenizer",
                                         "README.md"};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; ++i)
        CU_ASSERT_TRUE(bal_tokenizer_reads(ours[i]));
    for (size_t i = 0; i < sizeof others / sizeof *others; ++i)
        CU_ASSERT_FALSE(bal_tokenizer_reads(others[i]));
}

#define TOKENS "\"a\":0,\"<s>\":1,\"</s>\":2,\"<pad>\":3,\"<mask>\":4,\"<unk>\":5,\"<x>\":6"
static const char plain[] =
    "{\"added_tokens\":[{\"id\":1,\"content\":\"<s>\",\"special\":true},"
    "{\"id\":2,\"content\":\"</s>\",\"special\":true}],"
    "\"decoder\":null,\"model\":{\"type\":\"BPE\",\"vocab\":{" TOKENS "},\"merges\":[]}}";

/* The special tokens that these files give a plain tokenizer, "bos eos unknown pad mask", and how
 * many stand around a text. */
static void check_special(const char *config, const char *map, const char *model,
                          const char *expected)
{
    bal_files files = {0};
    char found[100];
    add(&files, "tokenizer.json", plain, sizeof plain - 1);
    if (config != NULL) add(&files, "tokenizer_config.json", config, strlen(config));
    if (map != NULL) add(&files, "special_tokens_map.json", map, strlen(map));
    if (model != NULL) add(&files, "config.json", model, strlen(model));
    bal_tokenizer *tokenizer = create(&files);
    int32_t ids[5];
    int64_t before, after;
    for (int i = 0; i < 5; ++i) ids[i] = bal_tokenizer_special(tokenizer, (bal_special)i);
    bal_tokenizer_prefix(tokenizer, &before);
    bal_tokenizer_suffix(tokenizer, &after);
    snprintf(found, sizeof found, "%d %d %d %d %d, %d %d", ids[0], ids[1], ids[2], ids[3], ids[4],
             (int)before, (int)after);
    CU_ASSERT_STRING_EQUAL(found, expected);
    bal_tokenizer_destroy(&tokenizer);
    bal_files_clear(&files);
}

static void test_files_beside_a_tokenizer_say_which_tokens_are_special(void)
{
    check_special(NULL, NULL, NULL, "1 2 -1 -1 -1, 0 0");
    check_special(
        "{\"bos_token\":\"<x>\",\"eos_token\":{\"content\":\"<pad>\"},"
        "\"model_max_length\":1000000000000000019884624838656}",
        NULL, NULL, "6 3 -1 -1 -1, 0 0");
    check_special("{\"bos_token\":null,\"pad_token\":\"not there\"}", NULL,
                  "{\"bos_token_id\":6,\"eos_token_id\":[3,2],\"pad_token_id\":0}",
                  "-1 3 -1 -1 -1, 0 0");
    check_special("{\"mask_token\":\"<mask>\"}",
                  "{\"mask_token\":\"a\",\"unk_token\":{\"content\":\"<unk>\"}}", NULL,
                  "1 2 5 -1 4, 0 0");
    check_special("{\"add_bos_token\":true,\"add_eos_token\":true}", NULL,
                  "{\"bos_token_id\":99,\"eos_token_id\":2}", "1 2 -1 -1 -1, 1 1");
    check_special("{\"bos_token\":null,\"add_bos_token\":true}", NULL, NULL, "-1 2 -1 -1 -1, 0 0");
}

static void test_every_token_of_a_list_ends_a_text(void)
{
    static const char list[] = "{\"eos_token_id\":[3,2,99,-1]}", one[] = "{\"eos_token_id\":3}";
    static const char named[] = "{\"eos_token\":\"</s>\"}";
    for (int lists = 0; lists < 2; ++lists) {
        bal_files files = {0};
        add(&files, "tokenizer.json", plain, sizeof plain - 1);
        add(&files, "tokenizer_config.json", named, strlen(named));
        add(&files, "generation_config.json", lists ? list : one, strlen(lists ? list : one));
        bal_tokenizer *tokenizer = create(&files);
        for (int32_t id = -2; id < 7; ++id)
            CU_ASSERT_EQUAL(bal_tokenizer_ends(tokenizer, id), id == 2 || (lists && id == 3));
        bal_tokenizer_destroy(&tokenizer);
        bal_files_clear(&files);
    }
}

static void test_files_beside_a_tokenizer_are_read_with_care(void)
{
    static const char *const damaged[] = {"", "[", "[]", "{\"a\":1,\"a\":2}"};
    for (size_t i = 0; i < 4; ++i) {
        bal_files files = {0};
        add(&files, "tokenizer.json", plain, sizeof plain - 1);
        add(&files, "added_tokens.json", damaged[i], strlen(damaged[i]));
        check_refused(&files, "DIR/added_tokens.json");
        bal_files_clear(&files);
    }
}

/* Nothing is passed over without a word. */
static void test_members_of_unknown_forms_are_named(void)
{
    static const char config[] = "tokenizer_config.json", map[] = "special_tokens_map.json";
    static const struct {
        const char *file, *bytes, *words;
    } cases[] = {
        {config, "{\"bos_token\":7}", "bos_token of tokenizer_config.json is 7"},
        {config, "{\"unk_token\":{}}", "unk_token of tokenizer_config.json is {}"},
        {map, "{\"pad_token\":false}", "pad_token of special_tokens_map.json is false"},
        {"config.json", "{\"pad_token_id\":1.5}", "pad_token_id of config.json is 1.5"},
        {"generation_config.json", "{\"eos_token_id\":[2,\"1\"]}", "eos_token_id of generation"},
        {config, "{\"add_bos_token\":\"yes\"}",
         "add_bos_token of tokenizer_config.json is \"yes\""},
        {config, "{\"added_tokens_decoder\":{\"six\":\"a\"}}", "has \"six\" in an unknown form"},
        {config, "{\"added_tokens_decoder\":{\"6\":6}}", "has \"6\" in an unknown form"},
        {config, "{\"added_tokens_decoder\":[]}", "added_tokens_decoder of tokenizer_config.json"},
        {"added_tokens.json", "{\"<one>\":\"6\"}", "no id for \"<one>\""},
        {"config.json", "{\"eos_token_id\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}", "more than 16"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        bal_files files = {0};
        add(&files, "tokenizer.json", plain, sizeof plain - 1);
        add(&files, cases[i].file, cases[i].bytes, strlen(cases[i].bytes));
        check_refused(&files, cases[i].words);
        bal_files_clear(&files);
    }
}

static void test_flags_of_older_forms_are_true_or_false(void)
{
    static const char config[] = "{\"add_prefix_space\":1}";
    bal_files files = {0};
    add_golden(&files, "vocab-gpt2/vocab.json");
    add_golden(&files, "vocab-gpt2/merges.txt");
    add(&files, "tokenizer_config.json", config, sizeof config - 1);
    check_refused(&files, "add_prefix_space of tokenizer_config.json is 1");
    bal_files_clear(&files);
}

/* Beyond 64 bits a real, within them exact, wherever it stands. */
static void test_integers_beyond_64_bits_are_reals(void)
{
    static const char text[] =
        "[9223372036854775807, -9223372036854775808, 9223372036854775808, -9223372036854775809,"
        " 1000000000000000019884624838656, 0.1234567890123456789012, 12345678901234567890e5,"
        " \"\\\"99999999999999999999\", 1]";
    static const double reals[] = {0x1p63, -0x1p63, 1e30, 0.1234567890123456789,
                                   1234567890123456789e6};
    json_error_t error;
    json_t *list = bal_json_load(text, sizeof text - 1, 0, &error);
    CU_ASSERT_EQUAL_FATAL(json_array_size(list), 9);
    CU_ASSERT_EQUAL(json_integer_value(json_array_get(list, 0)), INT64_MAX);
    CU_ASSERT_EQUAL(json_integer_value(json_array_get(list, 1)), INT64_MIN);
    for (size_t i = 0; i < 5; ++i)
        CU_ASSERT_DOUBLE_EQUAL(json_real_value(json_array_get(list, i + 2)), reals[i],
                               1e-12 * reals[i]);
    CU_ASSERT_STRING_EQUAL(json_string_value(json_array_get(list, 7)), "\"99999999999999999999");
    CU_ASSERT_EQUAL(json_integer_value(json_array_get(list, 8)), 1);
    json_decref(list);
    CU_ASSERT_PTR_NULL(bal_json_load("[1e999]", 7, 0, &error)); /* no number of a double */
    CU_ASSERT_EQUAL(json_error_code(&error), json_error_numeric_overflow);
}

static void test_added_tokens_of_older_forms_are_cut_out(void)
{
    static const char config[] =
        "{\"added_tokens_decoder\":{\"482\":{\"content\":\"<two>\",\"lstrip\":true}}}";
    static const char more[] = "{\"<one>\":481,\"<two>\":480}";
    bal_files files = {0};
    int32_t ids[64];
    add_golden(&files, "vocab-gpt2/vocab.json");
    add_golden(&files, "vocab-gpt2/merges.txt");
    add(&files, "tokenizer_config.json", config, sizeof config - 1);
    add(&files, "added_tokens.json", more, sizeof more - 1);
    bal_tokenizer *tokenizer = create(&files);
    CU_ASSERT_EQUAL(bal_tokenizer_n_vocab(tokenizer), 483);
    CU_ASSERT_EQUAL(encode(tokenizer, "<one>  <two>", 12, ids), 2);
    CU_ASSERT_TRUE(ids[0] == 481 && (ids[1] == 482 || ids[1] == 480));
    CU_ASSERT_EQUAL(encode(tokenizer, "<|endoftext|>", 13, ids), 1);
    CU_ASSERT_EQUAL(ids[0], bal_tokenizer_special(tokenizer, BAL_SPECIAL_EOS));
    bal_tokenizer_destroy(&tokenizer);
    bal_files_clear(&files);

    add_golden(&files, "sp-bpe/tokenizer.model");
    static const char beyond[] = "{\"<one>\":600,\"<s>\":1}"; /* <s> is SentencePiece's own */
    add(&files, "added_tokens.json", beyond, sizeof beyond - 1);
    tokenizer = create(&files);
    CU_ASSERT_EQUAL(encode(tokenizer, "<one>", 5, ids), 1);
    CU_ASSERT_EQUAL(ids[0], 600);
    CU_ASSERT_TRUE(encode(tokenizer, "<s>", 3, ids) > 1);
    bal_tokenizer_destroy(&tokenizer);
    bal_files_clear(&files);
}

static void test_bytes_that_are_no_utf8_are_kept_or_unknown(void)
{
    static const char *const keeping[] = {"gpt2/tokenizer.json", "llama3/tokenizer.json",
                                          "qwen2/tokenizer.json", "llama2/tokenizer.json",
                                          "sp-bpe/tokenizer.model"};
    uint64_t state = 11;
    for (int i = 0; i < 5; ++i) {
        bal_files files = {0};
        add_golden(&files, keeping[i]);
        bal_tokenizer *tokenizer = create(&files);
        for (int j = 0; j < 500; ++j) {
            char text[64], *back;
            size_t n = 1 + bal_test_random(&state) % 60, n_back;
            int32_t ids[64];
            /* no ASCII and no E2, so that no added token or space is spelled by chance */
            for (size_t k = 0; k < n; ++k) do
                    text[k] = (char)(0x80 | (bal_test_random(&state) >> 20));
                while ((unsigned char)text[k] == 0xe2);
            if (i == 2 && j % 2 == 0) n = 1; /* characters that NFC changes come by chance too */
            int64_t n_ids = encode(tokenizer, text, n, ids);
            if (n_ids > 64 || (i == 2 && n > 1)) continue;
            CU_ASSERT_EQUAL_FATAL(bal_tokenizer_decode(tokenizer, ids, n_ids, &back, &n_back),
                                  BAL_OK);
            CU_ASSERT_TRUE(n_back == n && memcmp(back, text, n) == 0);
            free(back);
        }
        bal_tokenizer_destroy(&tokenizer);
        bal_files_clear(&files);
    }
    bal_files files = {0};
    int32_t ids[64];
    add_golden(&files, "bert/tokenizer.json");
    bal_tokenizer *tokenizer = create(&files);
    CU_ASSERT_EQUAL(encode(tokenizer, "a \xff. \xc3", 6, ids), 4);
    CU_ASSERT_EQUAL(ids[1], 1); /* [UNK]; no mark, no space, and no letter of a word */
    CU_ASSERT_EQUAL(ids[3], 1);
    CU_ASSERT_EQUAL(encode(tokenizer, "\x02", 1, ids), 0); /* nothing is left of it */
    CU_ASSERT_EQUAL(encode(tokenizer, NULL, 0, ids), 0);
    bal_tokenizer_destroy(&tokenizer);
    bal_files_clear(&files);
}

/* A tokenizer that splits at a pattern. */
static bal_status split_by(const char *pattern, bal_tokenizer **tokenizer)
{
    char text[1000];
    snprintf(text, sizeof text,
             "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"%s\"},\"behavior\":"
             "\"Isolated\",\"invert\":false},\"decoder\":null,\"model\":{\"type\":\"BPE\","
             "\"unk_token\":\"a\",\"vocab\":{\"a\":0},\"merges\":[]}}",
             pattern);
    bal_files files = {0};
    add(&files, "tokenizer.json", text, strlen(text));
    bal_status status = bal_tokenizer_create(&files, 1000, "DIR", tokenizer);
    bal_files_clear(&files);
    return status;
}

static void test_a_pattern_that_never_ends_is_refused(void)
{
    static const char *const patterns[] = {"(a+)+$", "(a|aa)+$", "(a*)*b", "(?:a?){40}a{40}b"};
    for (int i = 0; i < 4; ++i) {
        bal_tokenizer *tokenizer = NULL;
        int32_t *ids;
        int64_t n;
        char text[80];
        memset(text, 'a', sizeof text);
        text[78] = '!';
        text[79] = 'b'; /* there, but not after an a: no shortcut */
        CU_ASSERT_EQUAL_FATAL(split_by(patterns[i], &tokenizer), BAL_OK);
        double start = bal_seconds();
        bal_status status = bal_tokenizer_encode(tokenizer, text, sizeof text, &ids, &n);
        CU_ASSERT_EQUAL(status, BAL_ERR_INPUT);
        CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "needs too many steps for a text of 80"));
        CU_ASSERT_TRUE(bal_seconds() - start < 5);
        if (status == BAL_OK) free(ids);
        bal_tokenizer_destroy(&tokenizer);
    }
}

static void test_patterns_of_another_meaning_in_pcre2_are_refused(void)
{
    static const char *const patterns[] = {
        "[a[b]]",           "a{2}+",   "a{2}?",          "\\\\X",   "\\\\k<a>", "(?i)a|(?i)b",
        "(?s:a)",           "(?<a>b)", "\\\\pL",         "[\\\\W]", "\\\\xE9",  "\\\\x{110000}",
        "\\\\uD800",        "a(?#b)",  "\\\\cA",         "(?~a)",   "\\\\",     "[a",
        "((ab){900}){900}", "*a",      "\\\\p{Nothing}", "(?<=a*)b"};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; ++i) {
        bal_tokenizer *none = NULL;
        bal_status status = split_by(patterns[i], &none);
        if (status != BAL_ERR_INPUT) fprintf(stderr, "pattern %s\n", patterns[i]);
        CU_ASSERT_EQUAL(status, BAL_ERR_INPUT);
        CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "DIR/tokenizer.json: the pattern of a Split"));
        bal_tokenizer_destroy(&none);
    }
}

/* Damaged bytes in one file make a tokenizer or a sentence; a tokenizer made of them can be used.
 */
static void check_mutations(const char *const *names, int which, int n)
{
    static const char text[] = "First, \xc3\xa9 <0x41> <s> the\nGodot <|sep|>2 \xff word 12";
    uint64_t state = 7;
    for (int i = 0; i < n; ++i) {
        bal_files files = {0};
        for (int j = 0; names[j] != NULL; ++j) add_golden(&files, names[j]);
        bal_named_bytes *file = &files.at[which];
        for (uint64_t left = 1 + bal_test_random(&state) % 4; left > 0; --left) {
            uint64_t r = bal_test_random(&state);
            size_t a = (size_t)(r >> 8) % file->n_bytes, b = (size_t)(r >> 32) % file->n_bytes;
            file->bytes[a] = r & 1 ? (uint8_t)(r >> 1) : file->bytes[b];
        }
        if (i % 4 == 0) file->n_bytes = bal_test_random(&state) % file->n_bytes;
        bal_tokenizer *tokenizer = NULL;
        bal_status status = bal_tokenizer_create(&files, 1000, "DIR", &tokenizer);
        CU_ASSERT_TRUE(status == BAL_OK || (status == BAL_ERR_INPUT && tokenizer == NULL));
        bal_files_clear(&files);
        if (status != BAL_OK) continue;
        int32_t *tokens;
        int64_t n_tokens;
        char *back;
        size_t n_back;
        status = bal_tokenizer_encode(tokenizer, text, sizeof text - 1, &tokens, &n_tokens);
        CU_ASSERT_TRUE(status == BAL_OK || status == BAL_ERR_INPUT);
        if (status == BAL_OK) {
            CU_ASSERT_EQUAL(bal_tokenizer_decode(tokenizer, tokens, n_tokens, &back, &n_back),
                            BAL_OK);
            free(back);
            free(tokens);
        }
        bal_tokenizer_destroy(&tokenizer);
    }
}

static void test_damaged_files_never_crash(void)
{
    static const char *const sets[][4] = {
        {"odd-bytes/tokenizer.json"},
        {"odd-suffix/tokenizer.json"},
        {"bert/tokenizer.json"},
        {"llama3/tokenizer.json"},
        {"sp-bpe/tokenizer.model"},
        {"sp-unigram-unknown/tokenizer.model"},
        {"sp-char/tokenizer.model"},
        {"vocab-gpt2/vocab.json", "vocab-gpt2/merges.txt"},
        {"vocab-bert/vocab.txt", "vocab-bert/tokenizer_config.json"},
    };
    for (size_t i = 0; i < sizeof sets / sizeof *sets; ++i)
        for (int which = 0; sets[i][which] != NULL; ++which) check_mutations(sets[i], which, 400);
}

static void test_a_lying_protocol_buffer_is_refused(void)
{
    static const struct {
        const char *bytes;
        size_t n_bytes;
        const char *words;
    } cases[] = {
        {"", 0, "0 pieces; expected 1 to 1000"},
        {"\x0a", 1, "the file is damaged"},
        {"\x0a\x05xy", 4, "the file is damaged"},
        {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, "the file is damaged"},
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11, "the file is damaged"},
        {"\x0b", 1, "the file is damaged"}, /* a group */
        {"\x0a\x00", 2, "piece 0 is damaged"},
        {"\x0a\x03\x0a\x02x", 5, "piece 0 is damaged"}, /* longer than its piece */
        {"\x0a\x03\x0a\x01x", 5, "no piece is of type UNKNOWN"},
        {"\x0a\x05\x0a\x01x\x10\x05", 7, "piece 0 is damaged"}, /* a score of whole numbers */
        {"\x0a\x03\x0a\x01x\x18\x01", 7, "a part is damaged"},  /* settings that are a number */
        {"\x0a\x03\x0a\x01x\x12\x02\x1a\x00", 9, "trainer_spec is damaged"},
        {"\x0a\x03\x0a\x01x\x12\x02\x18\x03", 9, "type WORD"},
        {"\x0a\x03\x0a\x01x\x12\x02\x18\x09", 9, "type unknown"},
        {"\x0a\x05\x0a\x01x\x18\x07", 7, "piece 0 is damaged"}, /* no such type */
        {"\x0a\x05\x0a\x01x\x18\x05", 7, "piece 0 is of type UNUSED"},
        {"\x0a\x05\x0a\x01x\x18\x06", 7, "piece 0 is damaged"}, /* a byte that is none */
        {"\x0a\x08\x0a\x01x\x15\x00\x00\x80\x7f", 10, "piece 0 is damaged"}, /* infinite score */
        {"\x0a\x05\x0a\x01x\x18\x02\x0a\x05\x0a\x01y\x18\x02", 14, "pieces 0 and 1 are both"},
        {"\x0a\x03\x0a\x01x\x1a\x03\x12\x01z", 10, "precompiled_charsmap is damaged"},
        {"\x0a\x03\x0a\x01x\x12\x05\x18\x02\x98\x02\x01", 12, "byte 0x00 has no piece"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        bal_files files = {0};
        add(&files, "tokenizer.model", cases[i].bytes, cases[i].n_bytes);
        check_refused(&files, cases[i].words);
        bal_files_clear(&files);
    }
}

static void test_ten_megabytes_without_a_space_take_seconds(void)
{
    static const char *const names[] = {"gpt2/tokenizer.json",        "llama3/tokenizer.json",
                                        "llama2/tokenizer.json",      "qwen2/tokenizer.json",
                                        "sp-unigram/tokenizer.model", "bert/tokenizer.json"};
    static const char units[][7] = {"a", " ", "e\xcc\x81\xcc\xa3", "\xe4\xb8\xad", "x\n"};
    size_t n_bytes = 10u << 20;
    char *text = malloc(n_bytes + 8);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    for (int i = 0; i < 6; ++i) {
        bal_files files = {0};
        add_golden(&files, names[i]);
        bal_tokenizer *tokenizer = create(&files);
        size_t n_unit = strlen(units[i % 5]);
        for (size_t j = 0; j < n_bytes; j += n_unit) memcpy(text + j, units[i % 5], n_unit);
        /* every unit meets every kind but once in a while; marks without a letter meet NFC */
        if (i == 3)
            for (size_t j = 0; j < n_bytes; j += 4) memcpy(text + j, "\xcc\x81\xcc\xa3", 4);
        double start = bal_seconds();
        int32_t *ids;
        int64_t n;
        CU_ASSERT_EQUAL_FATAL(bal_tokenizer_encode(tokenizer, text, n_bytes, &ids, &n), BAL_OK);
        CU_ASSERT_TRUE(bal_seconds() - start < 60); /* under sanitizers, on a busy machine */
        free(ids);
        bal_tokenizer_destroy(&tokenizer);
        bal_files_clear(&files);
    }
    free(text);
}

const char bal_suite_name[] = "tokenizer_files";
const bal_test bal_suite_tests[] = {
    {"the first file of the list is read", test_the_first_file_of_the_list_is_read},
    {"files of a tokenizer are known by name", test_files_of_a_tokenizer_are_known_by_name},
    {"files beside a tokenizer say which tokens are special",
     test_files_beside_a_tokenizer_say_which_tokens_are_special},
    {"every token of a list ends a text", test_every_token_of_a_list_ends_a_text},
    {"files beside a tokenizer are read with care",
     test_files_beside_a_tokenizer_are_read_with_care},
    {"members of unknown forms are named", test_members_of_unknown_forms_are_named},
    {"flags of older forms are true or false", test_flags_of_older_forms_are_true_or_false},
    {"integers beyond 64 bits are reals", test_integers_beyond_64_bits_are_reals},
    {"added tokens of older forms are cut out", test_added_tokens_of_older_forms_are_cut_out},
    {"bytes that are no UTF-8 are kept or unknown",
     test_bytes_that_are_no_utf8_are_kept_or_unknown},
    {"a pattern that never ends is refused", test_a_pattern_that_never_ends_is_refused},
    {"patterns of another meaning in PCRE2 are refused",
     test_patterns_of_another_meaning_in_pcre2_are_refused},
    {"damaged files never crash", test_damaged_files_never_crash},
    {"a lying protocol buffer is refused", test_a_lying_protocol_buffer_is_refused},
    {"ten megabytes without a space take seconds", test_ten_megabytes_without_a_space_take_seconds},
    {NULL, NULL},
};
