/* hub_pickle.c: zip files and pickles made by hand, right and wrong: what is in a tensor's bytes is
 * found, and everything else is refused with a sentence, in little time and memory. */
#include <sys/resource.h>

#include "../../../src/hub/pickle_impl.h"
#include "weights.h"

/* Pickles as text; octal escapes, since hexadecimal ones would swallow the letters that follow. */
#define START "\200\2"
#define DICT "ccollections\nOrderedDict\n)R"
#define STORAGE(type, key, n) \
    "(X\7\0\0\0storagectorch\n" type "\nX\1\0\0\0" key "X\3\0\0\0cpuK" n "tQ"
#define REBUILD(storage, rest) "ctorch._utils\n_rebuild_tensor_v2\n(" storage rest "\211" DICT "tR"
#define FLOATS STORAGE("FloatStorage", "0", "\6")
#define TENSOR(rest) REBUILD(FLOATS, rest)
#define GOOD_TENSOR TENSOR("K\0K\2K\3\206K\3K\1\206")
#define STATE(tensor) START "}X\1\0\0\0w" tensor "s."
#define GOOD STATE(GOOD_TENSOR)
#define TEXT(literal) literal, sizeof(literal) - 1

/* The 24 bytes of a/data/0. */
static const float stored[6] = {1.0f, -2.0f, 3.0f, 0.5f, 0.25f, -8.0f};

enum { STATE_PART, ORDER_PART, FLOATS_PART, OTHER_PART, LAST_PART, N_PARTS };

typedef struct zip_file {
    size_t n, local[N_PARTS], data[N_PARTS], central[N_PARTS], directory, end;
    size_t capacity;
    uint8_t bytes[];
} zip_file;

static void put(zip_file *zip, uint64_t value, int n_bytes)
{
    CU_ASSERT_FATAL(zip->n + 8 <= zip->capacity);
    for (int i = 0; i < n_bytes; ++i) zip->bytes[zip->n++] = (uint8_t)(value >> 8 * i);
}

static void put_bytes(zip_file *zip, const void *bytes, size_t n)
{
    CU_ASSERT_FATAL(zip->n + n <= zip->capacity);
    memcpy(zip->bytes + zip->n, bytes, n);
    zip->n += n;
}

static void set(zip_file *zip, size_t at, uint64_t value, int n_bytes)
{
    size_t n = zip->n;
    zip->n = at;
    put(zip, value, n_bytes);
    zip->n = n;
}

/* Fields of a local header and of the directory are the same from the version on. */
static void put_header(zip_file *zip, const char *name, size_t n_bytes, bool wide, bool central,
                       size_t start)
{
    size_t n_extra = !wide ? 0 : central ? 28 : 20;
    put(zip, central ? 0x02014b50 : 0x04034b50, 4);
    put(zip, 0, central ? 4 : 2);
    put(zip, 0, 8), put(zip, 0, 4); /* flags, method, time, checksum */
    put(zip, wide ? UINT32_MAX : n_bytes, 4);
    put(zip, wide ? UINT32_MAX : n_bytes, 4);
    put(zip, strlen(name), 2);
    put(zip, n_extra, 2);
    if (central) {
        put(zip, 0, 8), put(zip, 0, 2);
        put(zip, wide ? UINT32_MAX : start, 4);
    }
    put_bytes(zip, name, strlen(name));
    if (!wide) return;
    put(zip, 1, 2);
    put(zip, n_extra - 4, 2);
    put(zip, n_bytes, 8);
    put(zip, n_bytes, 8);
    if (central) put(zip, start, 8);
}

static void put_end(zip_file *zip, bool wide)
{
    size_t start = zip->n, n_directory = start - zip->directory;
    if (wide) {
        put(zip, 0x06064b50, 4), put(zip, 44, 8), put(zip, 0, 4), put(zip, 0, 8);
        put(zip, N_PARTS, 8), put(zip, N_PARTS, 8), put(zip, n_directory, 8);
        put(zip, zip->directory, 8);
        put(zip, 0x07064b50, 4), put(zip, 0, 4), put(zip, start, 8), put(zip, 1, 4);
    }
    zip->end = zip->n;
    put(zip, 0x06054b50, 4), put(zip, 0, 4);
    put(zip, wide ? UINT16_MAX : N_PARTS, 2), put(zip, wide ? UINT16_MAX : N_PARTS, 2);
    put(zip, wide ? UINT32_MAX : n_directory, 4), put(zip, wide ? UINT32_MAX : zip->directory, 4);
    put(zip, 0, 2);
}

/* A file of torch.save's kind around a pickle; wide: every field that can be is of 64 bits. */
static zip_file *make_zip(const void *state, size_t n_state, bool wide)
{
    const struct {
        const char *name;
        const void *bytes;
        size_t n;
    } parts[N_PARTS] = {{"a/data.pkl", state, n_state},
                        {"a/byteorder", "little", 6},
                        {"a/data/0", stored, sizeof stored},
                        {"a/data/1", "12345678", 8},
                        {"a/data.old", "", 0}};
    size_t capacity = n_state + 2048;
    zip_file *zip = calloc(1, sizeof *zip + capacity);
    CU_ASSERT_PTR_NOT_NULL_FATAL(zip);
    zip->capacity = capacity;
    for (int i = 0; i < N_PARTS; ++i) {
        zip->local[i] = zip->n;
        put_header(zip, parts[i].name, parts[i].n, wide, false, 0);
        zip->data[i] = zip->n;
        put_bytes(zip, parts[i].bytes, parts[i].n);
    }
    zip->directory = zip->n;
    for (int i = 0; i < N_PARTS; ++i) {
        zip->central[i] = zip->n;
        put_header(zip, parts[i].name, parts[i].n, wide, true, zip->local[i]);
    }
    put_end(zip, wide);
    return zip;
}

static void test_zip_files_of_both_widths_give_the_stored_values(void)
{
    for (int wide = 0; wide < 2; ++wide) {
        zip_file *zip = make_zip(TEXT(GOOD), wide);
        bal_hub_table table;
        bal_status status = bal_hub_pickle_parse(zip->bytes, zip->n, "the-file", &table);
        if (status != BAL_OK) fprintf(stderr, "%s\n", bal_failure());
        CU_ASSERT_EQUAL_FATAL(status, BAL_OK);
        const bal_hub_entry *entry = bal_hub_table_find(&table, "w");
        CU_ASSERT_PTR_NOT_NULL_FATAL(entry);
        CU_ASSERT(entry->n_dims == 2 && entry->shape[0] == 2 && entry->shape[1] == 3);
        float values[6];
        CU_ASSERT_EQUAL(bal_hub_table_read(&table, entry, values), BAL_OK);
        CU_ASSERT_EQUAL(memcmp(values, stored, sizeof stored), 0);
        bal_hub_table_clear(&table);
        cut_everywhere(bal_hub_pickle_parse, zip->bytes, zip->n);
        turn_every_bit(bal_hub_pickle_parse, zip->bytes, zip->n);
        free(zip);
    }
}

static void test_a_file_of_torch_survives_cuts_and_turned_bits(void)
{
    bal_mapping file;
    CU_ASSERT_EQUAL_FATAL(bal_mapping_open(golden("pickle/pytorch_model.bin"), &file), BAL_OK);
    cut_everywhere(bal_hub_pickle_parse, file.data, file.n_bytes);
    turn_every_bit(bal_hub_pickle_parse, file.data, file.n_bytes);
    bal_mapping_close(&file);
}

static void rename_part(zip_file *zip, int part, const char *name)
{
    memcpy(zip->bytes + zip->local[part] + 30, name, strlen(name));
    memcpy(zip->bytes + zip->central[part] + 46, name, strlen(name));
}
static void set_both(zip_file *zip, int part, size_t in_local, uint64_t value, int n_bytes)
{
    set(zip, zip->local[part] + in_local, value, n_bytes);
    set(zip, zip->central[part] + in_local + 2, value, n_bytes);
}

static void compressed(zip_file *z) { set_both(z, FLOATS_PART, 8, 8, 2); }
static void compressed_locally(zip_file *z) { set(z, z->local[FLOATS_PART] + 8, 8, 2); }
static void encrypted(zip_file *z) { set_both(z, FLOATS_PART, 6, 1, 2); }
static void other_name(zip_file *z) { z->bytes[z->local[FLOATS_PART] + 30] = 'b'; }
static void other_size(zip_file *z) { set(z, z->local[FLOATS_PART] + 22, 20, 4); }
static void packed_size(zip_file *z) { set(z, z->central[FLOATS_PART] + 20, 20, 4); }
static void overlapping(zip_file *z)
{
    set_both(z, FLOATS_PART, 18, 40, 4), set_both(z, FLOATS_PART, 22, 40, 4);
}
static void into_directory(zip_file *z)
{
    set_both(z, LAST_PART, 18, 1, 4), set_both(z, LAST_PART, 22, 1, 4);
}
static void past_end(zip_file *z) { set(z, z->central[FLOATS_PART] + 42, 0x7fffffff, 4); }
static void in_directory(zip_file *z) { set(z, z->central[FLOATS_PART] + 42, z->directory, 4); }
static void at_data(zip_file *z) { set(z, z->central[FLOATS_PART] + 42, z->data[FLOATS_PART], 4); }
static void same_place(zip_file *z)
{
    rename_part(z, OTHER_PART, "a/data/0");
    set(z, z->central[OTHER_PART] + 42, z->local[FLOATS_PART], 4);
    set(z, z->central[OTHER_PART] + 20, 24, 4), set(z, z->central[OTHER_PART] + 24, 24, 4);
}
static void same_name(zip_file *z) { rename_part(z, OTHER_PART, "a/data/0"); }
static void unprintable(zip_file *z) { rename_part(z, OTHER_PART, "a/\033[2J/1"); }
static void no_name(zip_file *z) { set(z, z->central[OTHER_PART] + 28, 0, 2); }
static void long_name(zip_file *z) { set(z, z->central[OTHER_PART] + 28, 60000, 2); }
static void volumes(zip_file *z) { set(z, z->end + 4, 1, 2); }
static void comment(zip_file *z) { set(z, z->end + 20, 1, 2); }
static void more_entries(zip_file *z) { set(z, z->end + 8, 6 | 6 << 16, 4); }
static void fewer_entries(zip_file *z) { set(z, z->end + 8, 4 | 4 << 16, 4); }
static void many_entries(zip_file *z) { set(z, z->end + 8, 0xfffefffe, 4); }
static void later_directory(zip_file *z) { set(z, z->end + 16, z->directory + 46, 4); }
static void no_state(zip_file *z) { rename_part(z, STATE_PART, "a/data.abc"); }
static void deep_state(zip_file *z) { rename_part(z, STATE_PART, "/a/b/a.pkl"); }
static void two_states(zip_file *z) { rename_part(z, LAST_PART, "b/data.pkl"); }
static void big_end(zip_file *z) { memcpy(z->bytes + z->data[ORDER_PART], "biggie", 6); }
static void no_storage(zip_file *z) { rename_part(z, FLOATS_PART, "a/data/9"); }
static void other_archive(zip_file *z) { rename_part(z, FLOATS_PART, "b/data/0"); }

/* In a wide file: the end record of 64 bits, its locator, and the extra fields. */
static size_t end64(const zip_file *z) { return z->end - 76; }
static void wide_far_locator(zip_file *z) { set(z, z->end - 12, 1ull << 60, 8); }
static void wide_near_locator(zip_file *z) { set(z, z->end - 12, 0, 8); }
static void wide_long_end(zip_file *z) { set(z, end64(z) + 4, 1ull << 60, 8); }
static void wide_other_count(zip_file *z) { set(z, end64(z) + 32, 4, 8); }
static void wide_many(zip_file *z)
{
    set(z, end64(z) + 24, 1ull << 60, 8), set(z, end64(z) + 32, 1ull << 60, 8);
}
static void wide_directory_size(zip_file *z) { set(z, end64(z) + 40, 1ull << 60, 8); }
static void wide_directory_start(zip_file *z) { set(z, end64(z) + 48, UINT64_MAX, 8); }
static void wide_contradiction(zip_file *z) { set(z, z->end + 16, 7, 4); }
static size_t extra(const zip_file *z) { return z->central[FLOATS_PART] + 46 + 8; }
static void wide_no_extra(zip_file *z) { set(z, extra(z), 2, 2); }
static void wide_short_extra(zip_file *z) { set(z, extra(z) + 2, 23, 2); }
static void wide_long_extra(zip_file *z) { set(z, extra(z) + 2, 25, 2); }
static void wide_size(zip_file *z)
{
    set(z, extra(z) + 4, 1ull << 60, 8), set(z, extra(z) + 12, 1ull << 60, 8);
    set(z, z->local[FLOATS_PART] + 30 + 8 + 4, 1ull << 60, 8);
    set(z, z->local[FLOATS_PART] + 30 + 8 + 12, 1ull << 60, 8);
}
static void wide_start(zip_file *z) { set(z, extra(z) + 20, UINT64_MAX - 8, 8); }
static void wide_local_size(zip_file *z) { set(z, z->local[FLOATS_PART] + 30 + 8 + 4, 23, 8); }

static void test_dishonest_zip_files_are_refused(void)
{
    static const struct {
        bool wide;
        void (*change)(zip_file *zip);
        const char *words;
    } cases[] = {
        {false, compressed, "a/data/0 has method 8 and flags 0x0000; expected it stored"},
        {false, compressed_locally, "local header that the directory contradicts"},
        {false, encrypted, "a/data/0 has method 0 and flags 0x0001"},
        {false, other_name, "local header that the directory contradicts"},
        {false, other_size, "local header with another size"},
        {false, packed_size, "entry that contradicts itself"},
        {false, overlapping, "overlaps the one before"},
        {false, into_directory, "longer than the file"},
        {false, past_end, "no local header"},
        {false, in_directory, "no local header"},
        {false, at_data, "no local header"},
        {false, same_place, "overlaps the one before"},
        {false, same_name, "a/data/0 is there twice"},
        {false, unprintable, "plain ASCII"},
        {false, no_name, "plain ASCII"},
        {false, long_name, "ends after the directory"},
        {false, volumes, "several volumes or with a comment"},
        {false, comment, "several volumes or with a comment"},
        {false, more_entries, "no entry of the directory"},
        {false, fewer_entries, "more in the directory"},
        {false, many_entries, "directory that does not end"},
        {false, later_directory, "directory that does not end"},
        {false, no_state, "no ARCHIVE/data.pkl"},
        {false, deep_state, "no ARCHIVE/data.pkl"},
        {false, two_states, "several data.pkl"},
        {false, big_end, "byteorder is not little"},
        {false, no_storage, "tensor w: no entry a/data/0"},
        {false, other_archive, "tensor w: no entry a/data/0"},
        {true, wide_far_locator, "contradicts itself"},
        {true, wide_near_locator, "contradicts itself"},
        {true, wide_long_end, "contradicts itself"},
        {true, wide_other_count, "contradicts itself"},
        {true, wide_many, "directory that does not end"},
        {true, wide_directory_size, "directory that does not end"},
        {true, wide_directory_start, "directory that does not end"},
        {true, wide_contradiction, "contradicts itself"},
        {true, wide_no_extra, "entry that contradicts itself"},
        {true, wide_short_extra, "entry that contradicts itself"},
        {true, wide_long_extra, "entry that contradicts itself"},
        {true, wide_size, "longer than the file"},
        {true, wide_start, "no local header"},
        {true, wide_local_size, "local header with another size"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        zip_file *zip = make_zip(TEXT(GOOD), cases[i].wide);
        cases[i].change(zip);
        expect_bytes_refused(bal_hub_pickle_parse, zip->bytes, zip->n, cases[i].words);
        free(zip);
    }
}

static void test_every_way_to_write_a_state_dict_is_read(void)
{
    static const struct {
        const char *state;
        size_t n;
        int n_dims, n_elements;
        float first;
    } cases[] = {
        {TEXT(GOOD), 2, 6, 1.0f},
        {TEXT(START "ccollections\nOrderedDict\nq\0)Rq\1X\1\0\0\0w" GOOD_TENSOR
                    "s}X\11\0\0\0_metadatah\0)RX\0\0\0\0}X\7\0\0\0versionK\1sssb."),
         2, 6, 1.0f},
        {TEXT(START "}(X\1\0\0\0w" GOOD_TENSOR "u."), 2, 6, 1.0f},
        {TEXT(STATE("ctorch._utils\n_rebuild_parameter\n" GOOD_TENSOR "\210" DICT "\207R")), 2, 6,
         1.0f},
        {TEXT("\200\4\225\20\0\0\0\0\0\0\0}\214\1w\214\14torch._utils\224\214\22_rebuild_tensor_v2"
              "\223\224((\214\7storage\214\5torch\214\14FloatStorage\223\214\1"
              "0\214\3cpuK\6tQK\0K\2K\3\206K\3K\1\206\211\214\13"
              "collections\214\13OrderedDict\223)RtR\224s."),
         2, 6, 1.0f},
        {TEXT(STATE(TENSOR("K\3K\3\205K\1\205"))), 1, 3, 0.5f},
        {TEXT(STATE(TENSOR("K\5))"))), 0, 1, -8.0f},
        {TEXT(STATE(TENSOR("K\6K\0K\7\206K\11K\12\206"))), 2, 0, 0.0f},
        {TEXT(STATE(TENSOR("\212\1\1M\1\0J\5\0\0\0\206K\143K\1\206"))), 2, 5, -2.0f},
        {TEXT(STATE(TENSOR("\212\0(K\1K\1K\1K\1K\1K\1K\1K\6t(K\1K\1K\1K\1K\1K\1K\1K\1t"))), 8, 6,
         1.0f},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        bal_hub_table table;
        zip_file *zip = make_zip(cases[i].state, cases[i].n, false);
        bal_status status = bal_hub_pickle_parse(zip->bytes, zip->n, "the-file", &table);
        if (status != BAL_OK) fprintf(stderr, "case %zu: %s\n", i, bal_failure());
        CU_ASSERT_EQUAL_FATAL(status, BAL_OK);
        CU_ASSERT_EQUAL_FATAL(table.n_entries, 1);
        const bal_hub_entry *entry = table.entries;
        float values[6] = {0};
        CU_ASSERT_STRING_EQUAL(entry->name, "w");
        CU_ASSERT_EQUAL(entry->n_dims, cases[i].n_dims);
        CU_ASSERT_EQUAL_FATAL(bal_hub_entry_n(entry), cases[i].n_elements);
        CU_ASSERT_EQUAL(bal_hub_table_read(&table, entry, values), BAL_OK);
        CU_ASSERT_EQUAL(values[0], cases[i].first);
        bal_hub_table_clear(&table);
        free(zip);
    }
}

static void test_pickles_that_are_no_state_dict_are_refused(void)
{
    static const struct {
        const char *state;
        size_t n;
        const char *words;
    } cases[] = {
        /* what it asks for */
        {TEXT(STATE("cposix\nsystem\nX\4\0\0\0true\205R")), "asks for posix.system; expected"},
        {TEXT(STATE("cbuiltins\neval\nX\1\0\0\0001\205R")), "asks for builtins.eval"},
        {TEXT(START "X\2\0\0\0osX\6\0\0\0system\223."), "asks for os.system"},
        {TEXT(STATE("ctorch\nFloatStorage.__init__\n")), "torch.FloatStorage.__init__"},
        {TEXT(STATE("ctorch\n\nx\n")), "asks for torch.; expected"},
        {TEXT(STATE("c\33[2J\nx\n")), "not plain ASCII"},
        {TEXT(STATE("ctorch.load\n")), "the end in a name"},
        {TEXT(STATE("ctorch")), "the end in a name"},
        {TEXT(START "NN\223."), "a global without a name"},
        /* opcodes that make objects, call, or import some other way */
        {TEXT(STATE("(iposix\nsystem\n")), "opcode 0x69"},
        {TEXT(STATE("(X\1\0\0\0a"
                    "o")),
         "opcode 0x6f"},
        {TEXT(STATE(DICT ")\201")), "opcode 0x81"},
        {TEXT(STATE("\202\1")), "opcode 0x82"},
        {TEXT(STATE("Pstorage\n")), "opcode 0x50"},
        {TEXT(STATE("]")), "opcode 0x5d"},
        {TEXT(STATE("\213\0\0\0\0")), "opcode 0x8b"},
        {TEXT(STATE("\227")), "opcode 0x97"},
        {TEXT(STATE("ccollections\nOrderedDict\n}\205R")), "an OrderedDict that is not empty"},
        {TEXT(STATE("ctorch\nFloatStorage\n)R")), "a call of what is no function"},
        {TEXT(STATE("N)R")), "a call of what is no function"},
        {TEXT(STATE("ctorch._utils\n_rebuild_tensor_v2\n}R")), "a call of what is no function"},
        /* the machine */
        {TEXT(""), "the end"},
        {TEXT("\200"), "the end"},
        {TEXT("\200\1}."), "no start of protocol 2 to 5"},
        {TEXT("\200\6}."), "no start of protocol 2 to 5"},
        {TEXT("}."), "no start of protocol 2 to 5"},
        {TEXT(START "}"), "the end"},
        {TEXT(START "."), "an empty stack"},
        {TEXT(START "(."), "an empty stack"},
        {TEXT(START "}}."), "more than one value"},
        {TEXT(START "}.}."), "more than one value"},
        {TEXT(START "\200\2}."), "opcode 0x80"},
        {TEXT(START "\205"), "an empty stack"},
        {TEXT(START "(N\206"), "a mark in a tuple"},
        {TEXT(START "Nt"), "no mark"},
        {TEXT(START "}u"), "no mark"},
        {TEXT(START "(u"), "items without a dict"},
        {TEXT(START "}(Nu"), "items without a dict"},
        {TEXT(START "N(NNu"), "items without a dict"},
        {TEXT(START "((NNu"), "items without a dict"},
        {TEXT(START "s"), "items without a dict"},
        {TEXT(START "NNs"), "items without a dict"},
        {TEXT(START "NNNs"), "items without a dict"},
        {TEXT(START "}N(s"), "a mark in a dict"},
        {TEXT(START "}(Ns"), "a mark in a dict"},
        {TEXT(START "R"), "an empty stack"},
        {TEXT(START "}Nb"), "attributes of what is no dict"},
        {TEXT(START "N}b"), "attributes of what is no dict"},
        {TEXT(START "}b"), "attributes of what is no dict"},
        {TEXT(START "Q"), "an empty stack"},
        {TEXT(START ")Q"), "a storage that is none"},
        {TEXT(START "q\0"), "nothing to remember"},
        {TEXT(START "(q\0"), "nothing to remember"},
        {TEXT(START "\224"), "nothing to remember"},
        {TEXT(START "}q\1"), "a memo out of order"},
        {TEXT(START "}r\377\377\377\377"), "a memo out of order"},
        {TEXT(START "h\0"), "a memo that was never set"},
        {TEXT(START "j\377\377\377\377"), "a memo that was never set"},
        {TEXT(START "X\377\377\377\377a"), "the end"},
        {TEXT(START "\214\2a"), "the end"},
        {TEXT(START "\212\11\0\0\0\0\0\0\0\0\1"), "an integer of more than 8 bytes"},
        {TEXT(START "\225\377\377\377\377\377\377\377\177}."), "a frame longer than the rest"},
        /* what the dict holds */
        {TEXT(START "N."), "not a dict"},
        {TEXT(START ")."), "not a dict"},
        {TEXT(START GOOD_TENSOR "."), "not a dict"},
        {TEXT(START "}K\1" GOOD_TENSOR "s."), "a tensor's name is empty"},
        {TEXT(START "}X\0\0\0\0" GOOD_TENSOR "s."), "a tensor's name is empty"},
        {TEXT(START "}X\4\0\0\0\33[2J" GOOD_TENSOR "s."), "not plain ASCII"},
        {TEXT(START "}X\2\0\0\0\303\251" GOOD_TENSOR "s."), "not plain ASCII"},
        {TEXT(START "}(X\1\0\0\0w" GOOD_TENSOR "X\1\0\0\0w" GOOD_TENSOR "u."),
         "tensor w is there twice"},
        {TEXT(START "}q\0X\1\0\0\0wh\0s."), "tensor w: no tensor"}, /* itself */
        {TEXT(STATE("K\1")), "tensor w: no tensor; expected a state dict"},
        {TEXT(STATE("}X\1\0\0\0w" GOOD_TENSOR "s")), "tensor w: no tensor"},
        {TEXT(STATE("ctorch\nFloatStorage\n")), "tensor w: no tensor"},
        {TEXT(STATE(STORAGE("FloatStorage", "0", "\6"))), "tensor w: no tensor"},
        {TEXT(STATE("ctorch._utils\n_rebuild_tensor_v2\n)R")), "tensor w: no tensor"},
        {TEXT(STATE("ctorch._utils\n_rebuild_parameter\n" GOOD_TENSOR "\205R")), "no tensor"},
        {TEXT(STATE("ctorch._utils\n_rebuild_parameter\nN\211N\207R")), "tensor w: no tensor"},
        {TEXT(STATE("ctorch._utils\n_rebuild_parameter\nctorch._utils\n_rebuild_parameter\n"  //
                    GOOD_TENSOR "\211N\207R\211N\207R")),
         "tensor w: no tensor"},
        {TEXT(STATE(REBUILD("N", "K\0))"))), "no storage or no offset"},
        {TEXT(STATE(TENSOR("N))"))), "no storage or no offset"},
        {TEXT(STATE(REBUILD("(NNNNNtQ", "K\0))"))), "a storage that is none"},
        {TEXT(STATE(REBUILD("(X\7\0\0\0storageNNNNtQ", "K\0))"))), "a storage that is none"},
        {TEXT(STATE(REBUILD("(X\7\0\0\0storageccollections\nOrderedDict\nX\1\0\0\0"
                            "0NK\6tQ",
                            "K\0))"))),
         "a storage that is none"},
        {TEXT(STATE(REBUILD(STORAGE("FloatStorage", "7", "\6"), "K\0))"))), "no entry a/data/7"},
        {TEXT(STATE(REBUILD(STORAGE("FloatStorage", "\33", "\6"), "K\0))"))),
         "key of its storage is long or not plain"},
        {TEXT(STATE(REBUILD(STORAGE("FloatStorage", "0", "\5"), "K\0))"))),
         "a/data/0 has 24 bytes; expected 5 elements of 4"},
        {TEXT(STATE(REBUILD(STORAGE("HalfStorage", "0", "\6"), "K\0))"))),
         "a/data/0 has 24 bytes; expected 6 elements of 2"},
        {TEXT(STATE(TENSOR("K\0K\2K\3\206K\1K\2\206"))), "row-major"},
        {TEXT(STATE(TENSOR("K\0K\2K\3\206K\0K\1\206"))), "row-major"},
        {TEXT(STATE(TENSOR("K\0K\2\205J\377\377\377\377\205"))), "row-major"},
        {TEXT(STATE(TENSOR("K\0K\2K\3\206K\1\205"))), "sizes or strides"},
        {TEXT(STATE(TENSOR("K\0NN"))), "sizes or strides"},
        {TEXT(STATE(TENSOR("K\0N\205K\1\205"))), "a size or stride"},
        {TEXT(STATE(TENSOR("K\0K\1\205N\205"))), "a size or stride"},
        {TEXT(STATE(TENSOR("K\0(K\1K\1K\1K\1K\1K\1K\1K\1K\1t(K\1K\1K\1K\1K\1K\1K\1K\1K\1t"))),
         "at most 8"},
        {TEXT(STATE(TENSOR("K\0J\377\377\377\377\205K\1\205"))), "shape is not a size"},
        {TEXT(STATE(TENSOR("K\0\212\10\0\0\0\0\0\0\0\20\205K\1\205"))), "shape is not a size"},
        {TEXT(STATE(TENSOR("K\0\212\10\0\0\0\0\0\0\0\1\205K\1\205"))),
         "288230376151711744 bytes from element 0"},
        {TEXT(STATE(TENSOR("K\0K\7\205K\1\205"))), "28 bytes from element 0"},
        {TEXT(STATE(TENSOR("K\1K\6\205K\1\205"))), "24 bytes from element 1"},
        {TEXT(STATE(TENSOR("J\377\377\377\377K\1\205K\1\205"))), "from element -1"},
        {TEXT(STATE(TENSOR("\212\10\1\0\0\0\0\0\0\100K\1\205K\1\205"))),
         "from element 4611686018427387905"},
        {TEXT(STATE(TENSOR("K\7K\0\205K\1\205"))), "0 bytes from element 7"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        zip_file *zip = make_zip(cases[i].state, cases[i].n, false);
        expect_bytes_refused(bal_hub_pickle_parse, zip->bytes, zip->n, cases[i].words);
        free(zip);
    }
}

static void test_other_dtypes_are_known_but_not_read(void)
{
    static const struct {
        const char *state;
        size_t n;
        const char *dtype;
    } cases[] = {
        {TEXT(STATE(REBUILD(STORAGE("DoubleStorage", "0", "\3"), "K\0K\3\205K\1\205"))), "float64"},
        {TEXT(STATE(REBUILD(STORAGE("LongStorage", "0", "\3"), "K\0K\3\205K\1\205"))), "int64"},
        {TEXT(STATE(REBUILD(STORAGE("IntStorage", "0", "\6"), "K\0K\3\205K\1\205"))), "int32"},
        {TEXT(STATE(REBUILD(STORAGE("ShortStorage", "0", "\14"), "K\0K\3\205K\1\205"))), "int16"},
        {TEXT(STATE(REBUILD(STORAGE("CharStorage", "0", "\30"), "K\0K\3\205K\1\205"))), "int8"},
        {TEXT(STATE(REBUILD(STORAGE("ByteStorage", "0", "\30"), "K\0K\3\205K\1\205"))), "uint8"},
        {TEXT(STATE(REBUILD(STORAGE("BoolStorage", "0", "\30"), "K\0K\3\205K\1\205"))), "bool"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        zip_file *zip = make_zip(cases[i].state, cases[i].n, false);
        bal_hub_table table;
        float values[3];
        CU_ASSERT_EQUAL_FATAL(bal_hub_pickle_parse(zip->bytes, zip->n, "the-file", &table), BAL_OK);
        CU_ASSERT_EQUAL(table.entries[0].dtype, BAL_HUB_OTHER);
        expect_sentence(bal_hub_table_read(&table, table.entries, values), "the-file: tensor w",
                        cases[i].dtype);
        bal_hub_table_clear(&table);
        free(zip);
    }
}

/* start, n times the middle, end: run by the machine itself, within a second. */
static bal_status unpickle_many(const char *start, size_t n_start, const char *middle,
                                size_t n_middle, size_t n, const char *end, size_t n_end)
{
    uint8_t *bytes = malloc(n_start + n * n_middle + n_end), *at = bytes;
    bal_hub_pickle pickle;
    double before = bal_seconds();
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    memcpy(at, start, n_start);
    at += n_start;
    for (size_t i = 0; i < n; ++i, at += n_middle) memcpy(at, middle, n_middle);
    memcpy(at, end, n_end);
    bal_status status =
        bal_hub_unpickle(bytes, n_start + n * n_middle + n_end, "the-file", &pickle);
    CU_ASSERT(bal_seconds() - before < 1.0);
    bal_hub_pickle_clear(&pickle);
    free(bytes);
    return status;
}

static void test_repetition_takes_linear_time_and_no_recursion(void)
{
    enum { MANY = 1000000 };
    /* a million tuples, each in the next; marks; tuples closing them; one dict in itself */
    CU_ASSERT_EQUAL(unpickle_many(TEXT(START "}}X\1\0\0\0k)"), TEXT("\205"), MANY, TEXT("sb.")),
                    BAL_OK);
    expect_sentence(unpickle_many(TEXT(START), TEXT("("), MANY, TEXT(".")), "the-file",
                    "an empty stack");
    expect_sentence(unpickle_many(TEXT(START), TEXT("("), MANY, TEXT("u")), "the-file",
                    "items without a dict");
    expect_sentence(unpickle_many(TEXT(START), TEXT("N"), MANY, TEXT("u")), "the-file", "no mark");
    CU_ASSERT_EQUAL(
        unpickle_many(TEXT(START "}q\0X\1\0\0\0kq\1Ns"), TEXT("h\1h\0s"), MANY, TEXT(".")), BAL_OK);
    /* each remembered tuple holds the one before twice: 2^256 values, if they were followed */
    uint8_t twice[6 * 256];
    for (int i = 0; i < 256; ++i)
        memcpy(twice + 6 * i, (uint8_t[]){'h', (uint8_t)i, 'h', (uint8_t)i, 0x86, 0x94}, 6);
    CU_ASSERT_EQUAL(unpickle_many(TEXT(START "}}X\1\0\0\0k()\224"), (const char *)twice,
                                  sizeof twice, 1, TEXT("tsb.")),
                    BAL_OK);
}

static void test_a_pickle_too_long_for_any_model_is_not_run(void)
{
    size_t n = (1 << 24) + 1;
    char *state = malloc(n);
    CU_ASSERT_PTR_NOT_NULL_FATAL(state);
    memset(state, ')', n);
    zip_file *zip = make_zip(state, n, false);
    expect_bytes_refused(bal_hub_pickle_parse, zip->bytes, zip->n,
                         "data.pkl has 16777217 bytes; expected at most 16777216");
    free(zip);
    free(state);
}

static void test_refusing_takes_little_memory(void) /* of all the tests above */
{
    struct rusage usage;
    CU_ASSERT_EQUAL(getrusage(RUSAGE_SELF, &usage), 0);
    CU_ASSERT(usage.ru_maxrss < 1 << 20); /* KiB: 1 GiB, most of it a sanitizer's */
}

const char bal_suite_name[] = "hub_pickle";
const bal_test bal_suite_tests[] = {
    {"zip files of both widths give the stored values",
     test_zip_files_of_both_widths_give_the_stored_values},
    {"a file of torch survives cuts and turned bits",
     test_a_file_of_torch_survives_cuts_and_turned_bits},
    {"dishonest zip files are refused", test_dishonest_zip_files_are_refused},
    {"every way to write a state dict is read", test_every_way_to_write_a_state_dict_is_read},
    {"pickles that are no state dict are refused", test_pickles_that_are_no_state_dict_are_refused},
    {"other dtypes are known but not read", test_other_dtypes_are_known_but_not_read},
    {"repetition takes linear time and no recursion",
     test_repetition_takes_linear_time_and_no_recursion},
    {"a pickle too long for any model is not run", test_a_pickle_too_long_for_any_model_is_not_run},
    {"refusing takes little memory", test_refusing_takes_little_memory},
    {NULL, NULL},
};
