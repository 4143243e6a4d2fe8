/* weights.h: the readers of weights, asked directly. */
#ifndef BALLOT_TEST_HUB_WEIGHTS_H
#define BALLOT_TEST_HUB_WEIGHTS_H

#include "../../../src/hub/hub_impl.h"
#include "fixture.h"

typedef bal_status (*parser)(const uint8_t *data, size_t n_bytes, const char *origin,
                             bal_hub_table *table);

/* A folder or file of tests/golden/weights. */
static inline const char *golden(const char *name)
{
    static char path[PATH_MAX];
    const char *tests = getenv("BALLOT_TESTS");
    snprintf(path, sizeof path, "%s/golden/weights/%s", tests != NULL ? tests : "tests", name);
    return path;
}

/* A copy of exactly n bytes, so that a sanitizer sees a byte read past them; free it. */
static inline uint8_t *exact_copy(const void *bytes, size_t n_bytes)
{
    uint8_t *copy = malloc(n_bytes + (n_bytes == 0));
    CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
    if (n_bytes > 0) memcpy(copy, bytes, n_bytes);
    return copy;
}

/* The last sentence, one line of plain ASCII, has both words in it. */
static inline void expect_sentence(bal_status status, const char *file, const char *words)
{
    const char *text = bal_failure();
    bool good = status == BAL_ERR_INPUT && strstr(text, file) && strstr(text, words);
    for (const char *c = text; *c != '\0'; ++c) good = good && *c >= ' ' && *c <= '~';
    if (!good)
        fprintf(stderr, "status %d, \"%s\"; expected \"%s\" and \"%s\"\n", (int)status, text, file,
                words);
    CU_ASSERT_TRUE(good);
}

/* Parse bytes that must be refused. */
static inline void expect_bytes_refused(parser parse, const void *bytes, size_t n_bytes,
                                        const char *words)
{
    bal_hub_table table;
    uint8_t *copy = exact_copy(bytes, n_bytes);
    bal_status status = parse(copy, n_bytes, "the-file", &table);
    expect_sentence(status, "the-file", words);
    if (status == BAL_OK) bal_hub_table_clear(&table);
    free(copy);
}

/* Every tensor lies in data and can be read, or is refused with a sentence. */
static inline void read_all(const bal_hub_table *table)
{
    for (int64_t i = 0; i < table->n_entries; ++i) {
        const bal_hub_entry *entry = &table->entries[i];
        float *values = malloc((size_t)bal_hub_entry_n(entry) * sizeof *values + 1);
        CU_ASSERT_PTR_NOT_NULL_FATAL(values);
        bal_status status = bal_hub_table_read(table, entry, values);
        if (status != BAL_OK) expect_sentence(status, entry->name, "expected");
        free(values);
    }
}

/* Whatever single bit of a good file is turned, there is a table or a sentence. */
static inline void turn_every_bit(parser parse, const void *bytes, size_t n_bytes)
{
    uint8_t *copy = exact_copy(bytes, n_bytes);
    int n_good = 0;
    for (size_t i = 0; i < 8 * n_bytes; ++i) {
        bal_hub_table table;
        copy[i / 8] ^= (uint8_t)(1 << i % 8);
        bal_status status = parse(copy, n_bytes, "the-file", &table);
        copy[i / 8] ^= (uint8_t)(1 << i % 8);
        if (status != BAL_OK) {
            expect_sentence(status, "the-file", "");
            continue;
        }
        ++n_good;
        read_all(&table);
        bal_hub_table_clear(&table);
    }
    CU_ASSERT(n_good > 0); /* in the data no bit can be told from another */
    free(copy);
}

/* A good file is refused when it is cut, wherever. */
static inline void cut_everywhere(parser parse, const void *bytes, size_t n_bytes)
{
    while (n_bytes-- > 0) expect_bytes_refused(parse, bytes, n_bytes, "");
}

#endif
