/* hub_gguf_tokens.c: the tokenizers of GGUF files give the ids of those that they were made from,
 * on all lines of tests/golden/tokens. Those are the ids of the reference, see its README. */
#include <fcntl.h>

#include "../../../src/hub/gguf.h"
#include "exports.h"
#include "tokenizer.h"

static const char *golden(const char *folder, const char *name)
{
    static char path[PATH_MAX];
    const char *tests = getenv("BALLOT_TESTS");
    snprintf(path, sizeof path, "%s/golden/tokens/%s%s%s", tests != NULL ? tests : "tests", folder,
             folder[0] != 0 ? "/" : "", name);
    return path;
}

static bool add_golden(const char *folder, const char *name, bal_files *files)
{
    bal_mapping file;
    if (access(golden(folder, name), F_OK) != 0) return false;
    CU_ASSERT_EQUAL_FATAL(bal_mapping_open(golden(folder, name), &file), BAL_OK);
    CU_ASSERT_EQUAL_FATAL(bal_files_add(files, name, file.data, file.n_bytes), BAL_OK);
    bal_mapping_close(&file);
    return true;
}

static bal_tokenizer *make(const bal_files *files, int64_t n_vocab)
{
    bal_tokenizer *tokenizer = NULL;
    bal_status status = bal_tokenizer_create(files, n_vocab, "made", &tokenizer);
    if (status != BAL_OK) fprintf(stderr, "%s\n", bal_failure());
    CU_ASSERT_EQUAL_FATAL(status, BAL_OK);
    return tokenizer;
}

/* A file without tensors, and what it holds. */
typedef struct gguf_file {
    bal_gguf_head head;
    uint8_t *bytes; /* malloc */
    size_t n_bytes;
    bal_gguf file;
    bal_hub_table table;
} gguf_file;

static void parse_head(gguf_file *f)
{
    char path[] = "/tmp/bal-gguf-XXXXXX";
    int fd = mkstemp(path);
    CU_ASSERT_FATAL(fd >= 0);
    unlink(path);
    CU_ASSERT_EQUAL_FATAL(bal_gguf_head_write(&f->head, fd, path), BAL_OK);
    f->n_bytes = (size_t)lseek(fd, 0, SEEK_END);
    f->bytes = malloc(f->n_bytes);
    CU_ASSERT_PTR_NOT_NULL_FATAL(f->bytes);
    CU_ASSERT_EQUAL_FATAL(bal_read_at(fd, f->bytes, f->n_bytes, 0, path), (ssize_t)f->n_bytes);
    close(fd);
    bal_status status = bal_gguf_parse(f->bytes, f->n_bytes, "made.gguf", &f->file, &f->table);
    if (status != BAL_OK) fprintf(stderr, "%s\n", bal_failure());
    CU_ASSERT_EQUAL_FATAL(status, BAL_OK);
}

static bal_status tokenizer_of(gguf_file *f, int64_t n_vocab, bal_tokenizer **tokenizer)
{
    bal_files files = {0};
    json_t *config = json_object();
    parse_head(f);
    bal_status status = bal_gguf_add_tokenizer(&f->file, config, &files);
    if (status == BAL_OK) *tokenizer = make(&files, n_vocab);
    json_decref(config);
    bal_files_clear(&files);
    bal_gguf_clear(&f->file);
    bal_hub_table_clear(&f->table);
    bal_gguf_head_clear(&f->head);
    free(f->bytes);
    return status;
}

static bool same_ids(const bal_tokenizer *a, const bal_tokenizer *b, const char *text, size_t n)
{
    int32_t *x, *y;
    int64_t n_x, n_y;
    CU_ASSERT_EQUAL_FATAL(bal_tokenizer_encode(a, text, n, &x, &n_x), BAL_OK);
    CU_ASSERT_EQUAL_FATAL(bal_tokenizer_encode(b, text, n, &y, &n_y), BAL_OK);
    bool same = n_x == n_y && memcmp(x, y, (size_t)n_x * sizeof *x) == 0;
    free(x);
    free(y);
    return same;
}

/* @return lines with other ids. */
static int n_other_lines(const char *what, const bal_tokenizer *a, const bal_tokenizer *b)
{
    FILE *lines = fopen(golden("", "lines.txt"), "r");
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    int n_other = 0, n_lines = 0;
    CU_ASSERT_PTR_NOT_NULL_FATAL(lines);
    while ((n = getline(&line, &room, lines)) > 0) {
        size_t n_bytes = bal_test_unescape(line, (size_t)n - (line[n - 1] == '\n'), line);
        bool same = same_ids(a, b, line, n_bytes);
        ++n_lines;
        if (!same && n_other++ == 0)
            fprintf(stderr, "%s: line %d, \"%.*s\": other ids\n", what, n_lines, (int)n_bytes,
                    line);
    }
    free(line);
    fclose(lines);
    CU_ASSERT_EQUAL(n_lines, 10200);
    return n_other;
}

/* A model of that many tokens, for the writer. */
static bal_model *outline(int64_t n_vocab)
{
    bal_model_config config = small_config;
    bal_model *model = NULL;
    config.n_vocab = n_vocab;
    config.rope.pairs = BAL_ROPE_HALVES;
    CU_ASSERT_EQUAL_FATAL(bal_model_outline(&config, &(bal_formats){.matrices = BAL_F32}, &model),
                          BAL_OK);
    return model;
}

/* Through a file and back; n_other lines differ. */
static void expect_round_trip(const char *name, bal_files *files, int n_other)
{
    const int64_t n_vocab = 1000;
    bal_bundle bundle = {
        .model = outline(n_vocab), .tokenizer = make(files, n_vocab), .files = *files};
    gguf_file f = {.head.arch = "llama"};
    bal_tokenizer *read = NULL;
    bal_status status = bal_gguf_put_tokenizer(&f.head, &bundle);
    if (status == BAL_OK) status = tokenizer_of(&f, n_vocab, &read);
    if (status != BAL_OK) fprintf(stderr, "%s: %s\n", name, bal_failure());
    CU_ASSERT_EQUAL_FATAL(status, BAL_OK);
    int found = n_other_lines(name, bundle.tokenizer, read);
    if (found != n_other) fprintf(stderr, "%s: %d lines have other ids\n", name, found);
    CU_ASSERT_EQUAL(found, n_other);
    bal_tokenizer_destroy(&read);
    *files = (bal_files){0};
    bal_bundle_clear(&bundle);
}

static void test_tokens_are_those_of_the_tokenizer_that_was_written(void)
{
    static const struct {
        const char *folder;
        int n_other; /* texts with the words of special tokens, which pieces never are */
    } cases[] = {{"gpt2", 0},    {"llama3", 0}, {"qwen2", 0},
                 {"llama2", 30}, {"sp-bpe", 0}, {"vocab-gpt2", 0}};
    static const char *const names[] = {"tokenizer.json", "tokenizer.model",       "vocab.json",
                                        "merges.txt",     "tokenizer_config.json", "config.json"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        bal_files files = {0};
        for (int k = 0; k < 6; ++k) add_golden(cases[i].folder, names[k], &files);
        expect_round_trip(cases[i].folder, &files, cases[i].n_other);
    }
}

/* GPT-2's vocabulary behind another split, as the tokenizer.json of a model writes it. */
static void expect_split(const char *name, const char *pre_tokenizer)
{
    bal_files files = {0};
    json_error_t error;
    add_golden("gpt2", "tokenizer.json", &files);
    json_t *root = bal_json_load(files.at[0].bytes, files.at[0].n_bytes, 0, &error);
    json_t *part = bal_json_load(pre_tokenizer, strlen(pre_tokenizer), 0, &error);
    CU_ASSERT_FATAL(root != NULL && part != NULL);
    CU_ASSERT_STRING_EQUAL(bal_gguf_split_of_json(part)->name, name);
    json_object_set_new(root, "pre_tokenizer", part);
    CU_ASSERT_EQUAL_FATAL(bal_gguf_add_json("tokenizer.json", root, &files), BAL_OK);
    expect_round_trip(name, &files, 0);
}

static void test_splits_are_those_of_the_models_that_they_are_named_after(void)
{
    expect_split("smollm",
                 "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\","
                 "\"individual_digits\":true},{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
                 "\"trim_offsets\":true,\"use_regex\":true}]}");
    expect_split(
        "default",
        "{\"type\":\"Sequence\",\"pretokenizers\":["
        "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[\\\\p{P}\\\\$\\\\+<=>\\\\^~\\\\|]+\"},"
        "\"behavior\":\"Isolated\"},"
        "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"'s|'t|'re|'ve|'m|'ll|'d| ?\\\\p{L}+| "
        "?\\\\p{N}+| ?[^\\\\s\\\\p{L}\\\\p{N}]+|\\\\s+(?!\\\\S)|\\\\s+\"},"
        "\"behavior\":\"Isolated\"},"
        "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\p{N}+\"},"
        "\"behavior\":\"Isolated\"},"
        "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[0-9][0-9][0-9]\"},"
        "\"behavior\":\"Isolated\"},"
        "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]}");
}

/* A vocab.txt as converters write it for llama.cpp: what begins a word is marked. */
static void put_lines(bal_gguf_head *head, const bal_named_bytes *file)
{
    const char *at = (const char *)file->bytes, *end = at + file->n_bytes, *line_end;
    int64_t n = 0;
    for (const char *c = at; c < end; ++c) n += *c == '\n';
    bal_gguf_put_text(head, "tokenizer.ggml.model", "bert", 4);
    bal_gguf_put_array(head, "tokenizer.ggml.tokens", BAL_GGUF_STRING, n);
    for (; at < end; at = line_end + 1) {
        char word[512];
        line_end = memchr(at, '\n', (size_t)(end - at));
        CU_ASSERT_PTR_NOT_NULL_FATAL(line_end);
        int length = (int)(line_end - at);
        bool bare = at[0] == '[' && line_end[-1] == ']', inner = strncmp(at, "##", 2) == 0;
        const char *mark = bare || inner ? "" : "\xe2\x96\x81";
        length = snprintf(word, sizeof word, "%s%.*s", mark, length - 2 * inner, at + 2 * inner);
        bal_gguf_add_text(head, word, (size_t)length);
    }
}

static void test_words_of_bert_are_cut_as_bert_cuts_them(void)
{
    bal_files files = {0};
    gguf_file f = {.head.arch = "llama"};
    bal_tokenizer *read = NULL;
    CU_ASSERT_TRUE_FATAL(add_golden("vocab-bert", "vocab.txt", &files)); /* in lower case */
    bal_tokenizer *made = make(&files, 500);
    put_lines(&f.head, &files.at[0]);
    CU_ASSERT_EQUAL_FATAL(tokenizer_of(&f, 500, &read), BAL_OK);
    CU_ASSERT_EQUAL(n_other_lines("bert", made, read), 0);
    int64_t n, m;
    const int32_t *before = bal_tokenizer_prefix(read, &n), *after = bal_tokenizer_suffix(read, &m);
    CU_ASSERT(n == 1 && m == 1 && before[0] == bal_tokenizer_prefix(made, &n)[0] &&
              after[0] == bal_tokenizer_suffix(made, &m)[0]);
    bal_tokenizer_destroy(&made);
    bal_tokenizer_destroy(&read);
    bal_files_clear(&files);
}

/* A small tokenizer, of which one key may be another. */
static void put_small(bal_gguf_head *head, const char *model, const char *pre, bool with_merges)
{
    static const char *const tokens[] = {"a", "b", "ab", "<|end|>"};
    static const uint32_t types[] = {1, 1, 1, 3};
    bal_gguf_put_text(head, "tokenizer.ggml.model", model, strlen(model));
    if (pre != NULL) bal_gguf_put_text(head, "tokenizer.ggml.pre", pre, strlen(pre));
    bal_gguf_put_array(head, "tokenizer.ggml.tokens", BAL_GGUF_STRING, 4);
    for (int i = 0; i < 4; ++i) bal_gguf_add_text(head, tokens[i], strlen(tokens[i]));
    bal_gguf_put_array(head, "tokenizer.ggml.token_type", BAL_GGUF_INT32, 4);
    for (int i = 0; i < 4; ++i) bal_gguf_add_u32(head, types[i]);
    if (!with_merges) return;
    bal_gguf_put_array(head, "tokenizer.ggml.merges", BAL_GGUF_STRING, 1);
    bal_gguf_add_text(head, "a b", 3);
}

static void test_unknown_kinds_get_a_sentence(void)
{
    static const struct {
        const char *model, *pre;
        bool with_merges;
        const char *key;
        int64_t value;
        const char *words;
    } cases[] = {{"gpt2", NULL, true, NULL, 0, NULL},
                 {"gpt2", "falcon", true, NULL, 0,
                  "tokenizer.ggml.pre is \"falcon\"; expected one of gpt-2, llama-bpe"},
                 {"t5", NULL, true, NULL, 0,
                  "tokenizer.ggml.model is \"t5\"; expected \"gpt2\", \"llama\" or \"bert\""},
                 {"gpt2", NULL, false, NULL, 0, "tokenizer.ggml.merges is missing"},
                 {"llama", NULL, false, NULL, 0, "tokenizer.ggml.scores is missing"},
                 {"gpt2", NULL, true, "tokenizer.ggml.bos_token_id", 4,
                  "tokenizer.ggml.bos_token_id is 4; expected an id below 4"},
                 {"gpt2", NULL, true, "tokenizer.ggml.add_bos_token", 1,
                  "tokenizer.ggml.add_bos_token is 1; expected true or false"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        gguf_file f = {.head.arch = "llama"};
        bal_tokenizer *read = NULL;
        put_small(&f.head, cases[i].model, cases[i].pre, cases[i].with_merges);
        if (cases[i].key != NULL) bal_gguf_put_u32(&f.head, cases[i].key, cases[i].value);
        bal_status status = tokenizer_of(&f, 4, &read);
        if (cases[i].words == NULL)
            CU_ASSERT_EQUAL(status, BAL_OK)
        else
            expect_failure(status, BAL_ERR_INPUT, cases[i].words);
        bal_tokenizer_destroy(&read);
    }
}

const char bal_suite_name[] = "hub_gguf_tokens";
const bal_test bal_suite_tests[] = {
    {"tokens are those of the tokenizer that was written",
     test_tokens_are_those_of_the_tokenizer_that_was_written},
    {"splits are those of the models that they are named after",
     test_splits_are_those_of_the_models_that_they_are_named_after},
    {"words of BERT are cut as BERT cuts them", test_words_of_bert_are_cut_as_bert_cuts_them},
    {"unknown kinds get a sentence", test_unknown_kinds_get_a_sentence},
    {NULL, NULL},
};
