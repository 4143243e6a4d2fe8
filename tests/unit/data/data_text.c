/* data_text.c: documents are the same however lines end; what is no text is refused by its name. */
#include <limits.h>
#include <string.h>

#include "ballot/data.h"
#include "suite.h"
#include "tokenizer.h"

#define N_VOCAB 512
#define CONTEXT 6

static bal_tokenizer *tokenizer;

/* A file of these bytes; its path is borrowed until the next call. */
static const char *file_of(const char *bytes, size_t n_bytes)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/text.txt", bal_test_dir("texts"));
    FILE *file = fopen(path, "wb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL(fwrite(bytes, 1, n_bytes, file), n_bytes);
    fclose(file);
    return path;
}

typedef struct facts {
    uint64_t hash;
    int64_t n_examples, n_bytes;
} facts;

static facts facts_of(const char *text, bal_examples examples, bool as_0_1)
{
    bal_dataset data = {0};
    bal_corpus_options options = {.examples = examples, .context = CONTEXT, .as_0_1 = as_0_1};
    CU_ASSERT_EQUAL_FATAL(bal_corpus_open(file_of(text, strlen(text)), tokenizer, &options, &data),
                          BAL_OK);
    facts found = {data.hash, data.n_examples, data.n_bytes};
    bal_dataset_clear(&data);
    return found;
}

static bool same(facts a, facts b)
{
    return a.hash == b.hash && a.n_examples == b.n_examples && a.n_bytes == b.n_bytes;
}

/* The same text with CR LF at the end of every line. */
static const char *with_returns(const char *text)
{
    static char twin[1024];
    size_t n = 0;
    for (; *text != 0; ++text) {
        if (*text == '\n') twin[n++] = '\r';
        twin[n++] = *text;
    }
    twin[n] = 0;
    return twin;
}

/* All of LF alone, as version 0.1 read them. */
static const char *const texts[] = {
    "A cat.\n\nA dog and a cat.\nIt ran.\n\nOnce upon a time, there was a bird.",
    "\n\nA cat.\n\n\nA dog.\n\n\n\nThe end.\n",
    "\nA cat.\n\nA dog.\n\n",
    "One line.\nAnother.\n\n\n",
    "A cat and a dog.",
};
enum { N_TEXTS = sizeof texts / sizeof *texts };

static void test_documents_are_the_same_however_lines_end(void)
{
    for (int i = 0; i < N_TEXTS; ++i) {
        facts plain = facts_of(texts[i], BAL_EXAMPLES_DOCUMENTS, false);
        CU_ASSERT(same(plain, facts_of(with_returns(texts[i]), BAL_EXAMPLES_DOCUMENTS, false)));
        CU_ASSERT(same(plain, facts_of(texts[i], BAL_EXAMPLES_DOCUMENTS, true)));
    }
}

static void test_a_line_of_spaces_tabs_and_returns_is_blank(void)
{
    facts plain = facts_of("A cat.\n\nA dog.\n", BAL_EXAMPLES_DOCUMENTS, false);
    static const char *const others[] = {"A cat.\n \nA dog.\n",       "A cat.\n\t  \t\nA dog.\n",
                                         "A cat.\r\n \r\nA dog.\r\n", "A cat.\n\r\nA dog.\n",
                                         "A cat.\n\n  \n\nA dog.\n",  "A cat.\r\n\nA dog.\n"};
    for (size_t i = 0; i < sizeof others / sizeof *others; ++i)
        CU_ASSERT(same(plain, facts_of(others[i], BAL_EXAMPLES_DOCUMENTS, false)));
    CU_ASSERT(!same(plain, facts_of("A cat.\n-\nA dog.\n", BAL_EXAMPLES_DOCUMENTS, false)));
    /* a CR that ends no line is a byte like any other */
    CU_ASSERT(!same(facts_of("A cat\ron.", BAL_EXAMPLES_DOCUMENTS, false),
                    facts_of("A caton.", BAL_EXAMPLES_DOCUMENTS, false)));
}

/* Hashes that version 0.1 gave these texts: a run that it began finds its data again. */
static void test_texts_have_the_hashes_of_version_0_1(void)
{
    static const uint64_t documents[N_TEXTS + 1] = {0x5b94de6899e7d7e5, 0x2c60829ce2fddd9e,
                                                    0xdf42291c14de15fb, 0x3354d88f988fc1bf,
                                                    0xed94174c066e299a, 0xdc5771a7881d9212},
                                              windows[N_TEXTS + 1] = {
                                                  0x3b2c3d5c4cefd676, 0x115f232e346d26a4,
                                                  0xa963c3d303e70f1a, 0x5624c1dbcf6413dd,
                                                  0xe5a8a8df9be7e9fb, 0x43d88aa61bef87ee};
    for (int i = 0; i <= N_TEXTS; ++i) {
        const char *text = i < N_TEXTS ? texts[i] : with_returns(texts[0]);
        CU_ASSERT_EQUAL(facts_of(text, BAL_EXAMPLES_DOCUMENTS, true).hash, documents[i]);
        CU_ASSERT_EQUAL(facts_of(text, BAL_EXAMPLES_WINDOWS, false).hash, windows[i]);
    }
}

static void test_what_is_no_text_is_named(void)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *what, *remedy;
    } files[] = {
#define BYTES(text) text, sizeof text - 1
        {BYTES("\xFF\xFEO\0n\0c\0e\0"), "UTF-16", "iconv -f UTF-16 -t UTF-8"},
        {BYTES("\xFE\xFF\0O\0n\0c\0e"), "UTF-16", "iconv -f UTF-16 -t UTF-8"},
        {BYTES("O\0n\0c\0e\0 \0u\0p\0o\0n\0"), "UTF-16", "iconv -f UTF-16LE -t UTF-8"},
        {BYTES("\0O\0n\0c\0e\0 \0u\0p\0o\0n"), "UTF-16", "iconv -f UTF-16BE -t UTF-8"},
        /* Cyrillic */
        {BYTES("\x16\4\x38\4\x3B\4\x38\4 \0\x31\4K\4\n\0"), "UTF-16", "iconv -f UTF-16LE -t UTF-8"},
        {BYTES("\4\x16\4\x38\4\x3B\4\x38\0 \4\x31\4K\0\n"), "UTF-16", "iconv -f UTF-16BE -t UTF-8"},
        {BYTES("\xFF\xFE\0\0O\0\0\0n\0\0\0"), "UTF-32", "iconv -f UTF-32 -t UTF-8"},
        {BYTES("O\0\0\0n\0\0\0c\0\0\0e\0\0\0"), "UTF-32", "iconv -f UTF-32LE -t UTF-8"},
        {BYTES("\0\0\0O\0\0\0n\0\0\0c\0\0\0e"), "UTF-32", "iconv -f UTF-32BE -t UTF-8"},
        {BYTES("\x06\x20\0\0\x07\x20\0\0\x08\x20\0\0"), "UTF-32", "iconv -f UTF-32LE"},
        {BYTES("\x1F\x8B\x08\0\0\0\0\0"), "gzip", "gunzip -c"},
        {BYTES("PK\x03\x04\x14\0\0\0"), "zip", "unzip -p"},
        {BYTES("\x7F"
               "ELF\x02\x01\0\0\xBB\xDA\xB8\x80\xF4\xE0\x9D\xB3"),
         "binary data", "UTF-8"},
#undef BYTES
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; ++i)
        for (int examples = BAL_EXAMPLES_WINDOWS; examples <= BAL_EXAMPLES_DOCUMENTS; ++examples) {
            bal_dataset data = {0};
            bal_corpus_options options = {.examples = (bal_examples)examples, .context = 2};
            const char *path = file_of(files[i].bytes, files[i].n);
            CU_ASSERT_EQUAL(bal_corpus_open(path, tokenizer, &options, &data), BAL_ERR_INPUT);
            CU_ASSERT_PTR_NULL(data.self);
            CU_ASSERT_EQUAL(strncmp(bal_failure(), path, strlen(path)), 0);
            CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), files[i].what));
            CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), files[i].remedy));
        }
}

static void test_bytes_of_0_are_read_as_they_are(void)
{
    static const char text[] = "Once upon a time\0, there was\0\0\0\0\0\0\0\0\0\0";
    for (int examples = BAL_EXAMPLES_WINDOWS; examples <= BAL_EXAMPLES_DOCUMENTS; ++examples) {
        bal_dataset data = {0};
        bal_corpus_options options = {.examples = (bal_examples)examples, .context = 2};
        const char *path = file_of(text, sizeof text - 1);
        CU_ASSERT_EQUAL_FATAL(bal_corpus_open(path, tokenizer, &options, &data), BAL_OK);
        CU_ASSERT_EQUAL(data.n_bytes, sizeof text - 1);
        bal_dataset_clear(&data);
    }
}

int bal_suite_begin(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    const char *path = bal_test_data("stories260k/tok512.bin");
    return bal_test_tokenizer(path, "tokenizer.bin", N_VOCAB, &tokenizer) != BAL_OK;
}
int bal_suite_end(void)
{
    bal_tokenizer_destroy(&tokenizer);
    return 0;
}

const char bal_suite_name[] = "data_text";
const bal_test bal_suite_tests[] = {
    {"documents are the same however lines end", test_documents_are_the_same_however_lines_end},
    {"a line of spaces, tabs and returns is blank",
     test_a_line_of_spaces_tabs_and_returns_is_blank},
    {"texts have the hashes of version 0.1", test_texts_have_the_hashes_of_version_0_1},
    {"what is no text is named", test_what_is_no_text_is_named},
    {"bytes of 0 are read as they are", test_bytes_of_0_are_read_as_they_are},
    {NULL, NULL},
};
