/* kernels.c: every level that this processor has gives the bits of ref, and writes nothing else. */
#include <sys/mman.h>
#include <unistd.h>

#include "inputs.h"

#define N_SHAPES 300

void bal_walsh_sums_bw(int64_t n_pieces, const int16_t *table, const uint8_t *bytes,
                       const uint8_t *signs, int16_t *sums); /* of src/kernels/votes_impl.h */

static const bal_kernels *ref;

/* 1 .. 150, often next to a multiple of what some level takes at once. */
static int64_t some_size(void)
{
    static const int64_t edges[] = {1,  3,  4,  7,  8,  9,  15,  16,  17,
                                    31, 32, 33, 63, 64, 65, 127, 128, 129};
    return pick(0, 1) == 0 ? pick(1, 150) : edges[pick(0, sizeof edges / sizeof *edges - 1)];
}

/* Run a test once for each level above ref. */
static void at_each_level(void (*test)(const bal_kernels *level))
{
    ref = bal_kernels_at(BAL_ISA_REF);
    for (int isa = BAL_ISA_AVX2; isa <= (int)bal_isa_best(); ++isa) {
        state = SEED;
        test(bal_kernels_at((bal_isa)isa));
    }
}

static bool same(const void *a, const void *b, int64_t n_bytes)
{
    return memcmp(a, b, (size_t)n_bytes) == 0;
}

static void philox(const bal_kernels *level)
{
    for (int i = 0; i < N_SHAPES; ++i) {
        int64_t n_lines = pick(1, 9), n = n_lines * BAL_LINE_BYTES;
        int64_t first = pick(0, 2) == 0 ? ((int64_t)1 << 28) - n_lines : pick(0, 1 << 28);
        uint64_t key = bal_test_random(&state);
        uint32_t c[3];
        for (int k = 0; k < 3; ++k)
            c[k] = pick(0, 3) == 0 ? UINT32_MAX : (uint32_t)pick(0, 1 << 30);
        uint8_t *a = blank(n + 1), *b = blank(n + 1); /* one further: written, and unaligned */
        ref->philox(key, c[0], c[1], c[2], first, n_lines, a + 1);
        level->philox(key, c[0], c[1], c[2], first, n_lines, b + 1);
        check(same(a, b, n + 1), "%s philox: key %llx, line %lld, %lld lines", level->name,
              (unsigned long long)key, (long long)first, (long long)n_lines);
        RELEASE(a, b);
    }
}
static void test_random_streams_are_the_same(void) { at_each_level(philox); }

static void signs(const bal_kernels *level)
{
    for (int i = 0; i < N_SHAPES; ++i) {
        int64_t n = 64 * pick(1, 40);
        uint8_t *bits = bytes(n / 8, true);
        int8_t *a = blank(n), *b = blank(n);
        ref->signs(n, bits, a);
        level->signs(n, bits, b);
        check(same(a, b, n), "%s signs: %lld codes", level->name, (long long)n);
        RELEASE(bits, a, b);
    }
}
static void walsh(const bal_kernels *level)
{
    for (int i = 0; i < N_SHAPES; ++i) {
        int64_t n_pieces = pick(1, 5), n = n_pieces * BAL_LINE_BYTES;
        uint8_t slot = (uint8_t)i, *b = bytes(n_pieces * BAL_PIECE_BYTES, true);
        uint8_t *here = bytes(n, true), *there = blank(n);
        memcpy(there, here, (size_t)n);
        ref->walsh(n_pieces, slot, b, here);
        level->walsh(n_pieces, slot, b, there);
        check(same(here, there, n), "%s walsh: %lld pieces, slot %d", level->name,
              (long long)n_pieces, slot);
        RELEASE(b, here, there);
    }
}
static void test_directions_are_the_same(void)
{
    at_each_level(signs);
    at_each_level(walsh);
}

static void walsh_sums_of(const bal_kernels *level, const int8_t *votes, const char *what)
{
    int64_t n_pieces = pick(1, 5), n = n_pieces * BAL_PIECE_CODES * 2;
    uint8_t *b = bytes(n_pieces * BAL_PIECE_BYTES, true);
    uint8_t *s = bytes(n_pieces * BAL_LINE_BYTES, true);
    int16_t table[256], *here = blank(n), *there = blank(n);
    walsh_transform(votes, table);
    int room = 32767;
    for (int slot = 0; slot < 256; ++slot) room -= abs(votes[slot]);
    for (int64_t i = 0; i < n / 2; ++i) here[i] = there[i] = (int16_t)pick(-room, room);
    for (int i = 0; i < 64; i += 8) b[i] = (uint8_t)(i / 8 == 0 ? 255 : 1 << i / 8);
    ref->walsh_sums(n_pieces, table, b, s, here);
    level->walsh_sums(n_pieces, table, b, s, there);
    check(same(here, there, n), "%s walsh_sums: %lld pieces, %s", level->name, (long long)n_pieces,
          what);
    RELEASE(b, s, here, there);
}
static void walsh_sums(const bal_kernels *level)
{
    int8_t votes[256] = {0};
    walsh_sums_of(level, votes, "no votes");
    for (int largest = 1; largest <= 127; ++largest)
        for (int i = 0; i < 6; ++i) { /* any number, odd and even, with and without ties */
            int64_t n_slots = i < 2 ? 256 : pick(1, 256);
            for (int64_t slot = 0; slot < 256; ++slot)
                votes[slot] = (int8_t)(slot >= n_slots ? 0
                                       : i % 2 == 0    ? largest * (2 * pick(0, 1) - 1)
                                                       : pick(-largest, largest));
            walsh_sums_of(level, votes, "random votes");
        }
    static const int sizes[] = {1, 2, 7, 127, -1, -2, -7, -127};
    for (int byte = 0; byte < 256; ++byte) /* the transform has one value, as large as can be */
        for (int i = 0; i < 2; ++i) {
            int size = sizes[(byte / 2 + 4 * i) % 8];
            for (int slot = 0; slot < 256; ++slot)
                votes[slot] = (int8_t)(__builtin_parity((unsigned)(slot & byte)) ? -size : size);
            walsh_sums_of(level, votes, "votes that are a Walsh function");
            votes[pick(0, 255)] = 0; /* and what lies next to the ends of a byte's range */
            votes[pick(0, 255)] = 0;
            walsh_sums_of(level, votes, "nearly a Walsh function");
        }
}
/* All sizes of tables, of any values that sums can take. */
static void walsh_wide_sums(const bal_kernels *level)
{
    for (int i = 0; i < N_SHAPES; ++i) {
        int n_high = 1 << i % 9, most = i % 3 == 0 ? 32767 : 1 << pick(0, 14);
        int64_t n_pieces = i < 9 ? 64 : pick(1, 5), n = n_pieces * BAL_PIECE_CODES;
        uint8_t *low = bytes(n_pieces * BAL_PIECE_BYTES, true);
        uint8_t *high = bytes(n_pieces * BAL_PIECE_BYTES, true);
        uint8_t *s = bytes(n_pieces * BAL_LINE_BYTES, true);
        int16_t *table = blank((256 * n_high + 1) * 2), *here = blank(2 * n), *there = blank(2 * n);
        for (int at = 0; at < 256 * n_high; ++at)
            table[at] =
                (int16_t)(pick(0, 3) == 0 ? most * (2 * pick(0, 1) - 1) : pick(-most, most));
        table[256 * n_high] = 12345; /* is not used */
        for (int64_t at = 0; at < n; ++at)
            here[at] = there[at] = (int16_t)pick(most - 32767, 32767 - most);
        for (int at = 0; i < 9 && at < n_pieces * BAL_PIECE_BYTES; ++at) /* the edges of bytes */
            low[at] = (uint8_t)(16 * at), high[at] = (uint8_t)(at / 16);
        ref->walsh_wide_sums(n_pieces, n_high, table, low, high, s, here);
        level->walsh_wide_sums(n_pieces, n_high, table, low, high, s, there);
        check(same(here, there, 2 * n),
              "%s walsh_wide_sums: %lld pieces, %d high bytes, values to %d", level->name,
              (long long)n_pieces, n_high, most);
        RELEASE(low, high, s, table, here, there);
    }
}
static void bit_sums(const bal_kernels *level)
{
    for (int i = 0; i < N_SHAPES; ++i) {
        int64_t n_rows = i < 30 ? i : pick(1, 255), n = BAL_PIECE_CODES * 2;
        int64_t stride = BAL_LINE_BYTES + (i % 2 == 0 ? 0 : pick(0, 300));
        uint8_t *rows = bytes(n_rows * stride, true);
        int16_t *here = blank(n), *there = blank(n);
        int8_t votes[255];
        static const int sizes[] = {1, 7, 1, 127, 1, 64};
        for (int r = 0; r < 255; ++r) {
            int64_t largest = sizes[i % 6], size = i % 4 == 0 ? largest : pick(1, largest);
            votes[r] = (int8_t)(i % 5 == 0 ? -size : size * (2 * pick(0, 1) - 1));
        }
        if (i % 7 == 0) memset(rows, i % 2 == 0 ? 0 : 255, (size_t)(n_rows * stride));
        for (int64_t at = 0; at < BAL_PIECE_CODES; ++at)
            here[at] = there[at] = (int16_t)pick(-380, 380);
        ref->bit_sums(n_rows, stride, votes, rows, here);
        level->bit_sums(n_rows, stride, votes, rows, there);
        check(same(here, there, n), "%s bit_sums: %lld rows, stride %lld", level->name,
              (long long)n_rows, (long long)stride);
        RELEASE(rows, here, there);
    }
}
static void test_tallies_are_the_same(void)
{
    at_each_level(walsh_sums);
    at_each_level(walsh_wide_sums);
#ifdef __x86_64__
    if (bal_isa_best() >= BAL_ISA_AVX512) {
        bal_kernels without_vbmi = *bal_kernels_at(BAL_ISA_AVX512);
        without_vbmi.name = "avx512 without VBMI";
        without_vbmi.walsh_sums = bal_walsh_sums_bw;
        walsh_sums(&without_vbmi);
    }
#endif
    at_each_level(bit_sums);
}

static void carry(const bal_kernels *level)
{
    static const int lows[] = {-1, -7, -120, -127, 0, -128, -128, 126};
    static const int highs[] = {1, 7, 120, 127, 15, 127, -127, 127};
    for (int i = 0; i < 4 * N_SHAPES; ++i) {
        int64_t n = 64 * pick(1, 40);
        int low = lows[i % 8], high = highs[i % 8];
        int shift = (int)pick(0, 13), top = ((1 << 14) - 1) >> shift;
        int multiplier = (int)(i % 5 == 0 ? 32767 : i % 5 == 1 ? 1 : 2 * pick(0, 16383) + 1);
        uint8_t *codes = blank(2 * n);
        int8_t *carries = blank(2 * n);
        int16_t *tally = blank(2 * n);
        for (int64_t at = 0; at < n; ++at) { /* the ends of every range are frequent, and padding */
            int64_t code = at % 3 == 0   ? high - pick(0, 2)
                           : at % 3 == 1 ? low - 1 + pick(0, 3)
                                         : pick(low, high);
            codes[at] = (uint8_t)(at % 7 == 0 ? pick(0, 255) : 128 + code);
            carries[at] = (int8_t)(at % 5 == 0 ? 127 : at % 5 == 1 ? -128 : pick(-128, 127));
            tally[at] = (int16_t)(at % 4 == 0 ? top : at % 4 == 1 ? -top : pick(-top, top));
        }
        memcpy(codes + n, codes, (size_t)n);
        memcpy(carries + n, carries, (size_t)n);
        uint32_t here = ref->carry(n, low, high, multiplier, shift, tally, codes, carries);
        uint32_t there =
            level->carry(n, low, high, multiplier, shift, tally, codes + n, carries + n);
        check(here == there && same(codes, codes + n, n) && same(carries, carries + n, n),
              "%s carry: %lld codes of %d .. %d, multiplier %d, shift %d", level->name,
              (long long)n, low, high, multiplier, shift);
        RELEASE(codes, carries, tally);
    }
}
static void test_updates_are_the_same(void) { at_each_level(carry); }

static void panels(const bal_kernels *level)
{
    for (int i = 0; i < 3 * N_SHAPES; ++i) {
        int64_t n_blocks = pick(1, 70), n = n_blocks * BAL_BLOCK_CODES;
        bal_panel panel =
            random_panel((bal_panel_format)(i % 3), n_blocks, 8 << i / 3 % 3, i % 2 == 0);
        uint8_t *moved[5];
        uint8_t *other = i % 4 == 0 ? random_entries(n_blocks) : NULL;
        panel.other = other;
        if (i % 7 == 0) {
            int8_t *z = blank(n);
            for (int64_t at = 0; at < n; ++at) z[at] = (int8_t)pick(-63, 63);
            panel.z = z;
        }
        for (int k = 0; k < 5; ++k) moved[k] = blank(n);
        ref->move_panel(&panel, moved[0], moved[1]);
        level->move_panel(&panel, moved[2], moved[3]);
        check(same(moved[0], moved[2], n) && same(moved[1], moved[3], n),
              "%s move_panel: format %d, %lld blocks", level->name, i % 3, (long long)n_blocks);
        level->move_panel(&panel, moved[4], NULL);
        check(same(moved[0], moved[4], n), "%s move_panel, one side: format %d, %lld blocks",
              level->name, i % 3, (long long)n_blocks);
        bal_panel still = panel;
        still.negative = still.moves = still.other = NULL;
        still.z = NULL;
        ref->move_panel(&still, moved[0], NULL);
        level->move_panel(&still, moved[4], NULL);
        check(same(moved[0], moved[4], n), "%s move_panel, no move: format %d, %lld blocks",
              level->name, i % 3, (long long)n_blocks);
        if (other != NULL && panel.z == NULL) { /* what a panel of that z alone makes */
            bal_panel alone = panel;
            alone.negative = other;
            alone.other = NULL;
            ref->move_panel(&alone, moved[4], NULL);
            check(same(moved[3], moved[4], n), "%s move_panel, the other: format %d, %lld blocks",
                  level->name, i % 3, (long long)n_blocks);
        }
        RELEASE(moved[0], moved[1], moved[2], moved[3], moved[4], other);
        release_panel(&panel);
    }
}
static void test_moved_panels_are_the_same(void) { at_each_level(panels); }

/* extreme: entries and activations all at one end. */
static void product_of(const bal_kernels *level, int64_t n_blocks, int64_t n_rows, int64_t n_tokens,
                       int64_t x_pad, int64_t y_pad, int extreme)
{
    int64_t y_stride = n_rows + y_pad, n_y = n_tokens * y_stride;
    uint8_t *panel = random_entries(n_blocks);
    bal_rows_i8 x = random_rows(n_tokens, 4 * n_blocks - pick(0, 3), x_pad, extreme);
    bool adds = pick(0, 1) == 1;
    if (extreme != 0) memset(panel, pick(0, 1) ? 255 : 0, (size_t)n_blocks * BAL_BLOCK_CODES);
    float *row_scale = scales(n_rows), *a = floats(n_y, 0.0f), *b = blank(4 * n_y);
    memcpy(b, a, (size_t)n_y * 4);
    bal_weights_u8 w = {n_blocks, n_rows, panel, row_scale, panel, pick(0, 1) * n_blocks * 256};
    ref->product_i8(&w, &x, adds, a, y_stride);
    level->product_i8(&w, &x, adds, b, y_stride);
    check(same(a, b, 4 * n_y),
          "%s product_i8: %lld blocks, %lld rows, %lld tokens, strides %lld, %lld, adds %d",
          level->name, (long long)n_blocks, (long long)n_rows, (long long)n_tokens,
          (long long)x.stride, (long long)y_stride, adds);
    RELEASE(panel, row_scale, a, b);
    release_rows(&x);
}
static void products(const bal_kernels *level)
{
    for (int i = 0; i < N_SHAPES; ++i)
        product_of(level, pick(1, 70), pick(1, 64), pick(0, 70), pick(0, 3), pick(0, 70),
                   i % 7 - 4);
    for (int extreme = 1; extreme <= 2; ++extreme) /* as long as a row can be */
        product_of(level, BAL_COLS_MAX / 4, 64, 19, 1, 0, extreme);
}
static void test_integer_products_are_the_same(void) { at_each_level(products); }

/* n bytes that end where a page begins that may not be read: tiles, which sanitizers do not see,
 * may not go further than the header says. Release with munmap of *mapping, *n_mapped. */
static void *before_a_wall(int64_t n, void **mapping, size_t *n_mapped)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), n_pages = ((size_t)n + page - 1) / page;
    *n_mapped = (n_pages + 1) * page;
    uint8_t *from =
        mmap(NULL, *n_mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (from == MAP_FAILED || mprotect(from + n_pages * page, page, PROT_NONE) != 0) abort();
    *mapping = from;
    return from + n_pages * page - n;
}

static void walled_products(const bal_kernels *level)
{
    for (int i = 0; i < 60; ++i) {
        int64_t n_blocks = pick(1, 70), n_rows = pick(1, 200), n_tokens = pick(1, 70);
        int64_t n_panels = (n_rows + 63) / 64, n_wide = (n_blocks + 15) / 16 * 16;
        int64_t n_entries = ((n_panels - 1) * n_blocks + n_wide) * BAL_BLOCK_CODES;
        bal_rows_i8 x = random_rows(n_tokens, 4 * n_blocks, 0, 0), walled = x;
        void *mappings[2];
        size_t sizes[2];
        uint8_t *entries = before_a_wall(n_entries, &mappings[0], &sizes[0]);
        int8_t *q = before_a_wall(n_tokens * x.stride, &mappings[1], &sizes[1]);
        for (int64_t at = 0; at < n_entries; ++at) entries[at] = (uint8_t)pick(0, 255);
        memcpy(q, x.q, (size_t)(n_tokens * x.stride));
        walled.q = q;
        float *scale = scales(n_rows), *a = blank(4 * n_tokens * n_rows),
              *b = blank(4 * n_tokens * n_rows);
        bal_weights_u8 w = {n_blocks, n_rows, entries, scale, NULL, 0};
        ref->product_i8(&w, &walled, false, a, n_rows);
        level->product_i8(&w, &walled, false, b, n_rows);
        check(same(a, b, 4 * n_tokens * n_rows),
              "%s product_i8: %lld blocks, %lld rows, %lld tokens", level->name,
              (long long)n_blocks, (long long)n_rows, (long long)n_tokens);
        RELEASE(scale, a, b);
        release_rows(&x);
        munmap(mappings[0], sizes[0]);
        munmap(mappings[1], sizes[1]);
    }
}
static void test_strips_are_multiplied_without_a_step_too_far(void)
{
    at_each_level(walled_products);
}

static void normed(const bal_kernels *level)
{
    for (int i = 0; i < N_SHAPES; ++i) {
        int64_t n_rows = pick(1, 5), n_cols = some_size(), n = n_rows * n_cols * 4;
        float *x = floats(n_rows * n_cols, 1e17f), *weight = floats(n_cols, 100.0f);
        float *a = blank(n), *b = blank(n);
        ref->lanes.rms_norm(n_rows, n_cols, x, weight, 1e-5f, a);
        level->lanes.rms_norm(n_rows, n_cols, x, weight, 1e-5f, b);
        check(same(a, b, n), "%s rms_norm: %lld x %lld", level->name, (long long)n_rows,
              (long long)n_cols);
        float *bias = floats(n_cols, 1e5f);
        ref->lanes.layer_norm(n_rows, n_cols, x, weight, bias, 1e-5f, a);
        level->lanes.layer_norm(n_rows, n_cols, x, weight, bias, 1e-5f, b);
        check(same(a, b, n), "%s layer_norm: %lld x %lld", level->name, (long long)n_rows,
              (long long)n_cols);
        RELEASE(x, weight, bias, a, b);
    }
}
static void test_norms_are_the_same(void) { at_each_level(normed); }

static void normed_in_place(const bal_kernels *level)
{
    for (int i = 0; i < N_SHAPES; ++i) {
        int64_t n_rows = pick(1, 12), n_cols = some_size(), n = n_rows * n_cols * 4;
        float *x = floats(n_rows * n_cols, 100.0f), *y = blank(n), *in_place = blank(n);
        float *weight = floats(n_cols, 3.0f), *bias = floats(n_cols, 3.0f);
        for (int k = 0; k < 2; ++k) {
            memcpy(in_place, x, (size_t)n);
            if (k == 0) {
                level->lanes.rms_norm(n_rows, n_cols, x, weight, 1e-6f, y);
                level->lanes.rms_norm(n_rows, n_cols, in_place, weight, 1e-6f, in_place);
            } else {
                level->lanes.layer_norm(n_rows, n_cols, x, weight, bias, 1e-6f, y);
                level->lanes.layer_norm(n_rows, n_cols, in_place, weight, bias, 1e-6f, in_place);
            }
            check(same(y, in_place, n), "%s %s: %lld x %lld", level->name,
                  k == 0 ? "rms_norm" : "layer_norm", (long long)n_rows, (long long)n_cols);
        }
        RELEASE(x, y, in_place, weight, bias);
    }
}
static void test_norms_may_be_taken_in_place(void)
{
    state = SEED;
    normed_in_place(bal_kernels_at(BAL_ISA_REF));
    at_each_level(normed_in_place);
}

/* quantize, and rms_norm_i8, of rows that may be zero, tiny, huge or not finite. */
static void quantized(const bal_kernels *level)
{
    const float odd[] = {INFINITY, -INFINITY, NAN, FLT_MAX, -FLT_MAX, 1e-45f, 0x1p-100f, -0.0f};
    for (int i = 0; i < 2 * N_SHAPES; ++i) {
        int64_t n_rows = pick(1, 9), n_cols = some_size();
        int64_t stride = (n_cols + 63) / 64 * 64 + 64 * pick(0, 1), n = n_rows * stride;
        float *x = floats(n_rows * n_cols, i % 2 == 0 ? 0.0f : 1e3f);
        float *weight = floats(n_cols, 100.0f);
        for (int64_t at = 0; i % 5 == 0 && at < n_cols; ++at) x[at] *= i % 10 == 0 ? 0.0f : 1e-31f;
        if (i % 7 == 0) x[pick(0, n_rows * n_cols - 1)] = odd[i / 7 % 8];
        int8_t *a = blank(n), *b = blank(n);
        float *a_scale = blank(n_rows * 4), *b_scale = blank(n_rows * 4);
        int32_t *a_sum = blank(n_rows * 4), *b_sum = blank(n_rows * 4);
        for (int normed_too = 0; normed_too < 2; ++normed_too) {
            if (normed_too) {
                ref->lanes.rms_norm_i8(n_rows, n_cols, x, weight, 1e-5f, a, stride, a_scale, a_sum);
                level->lanes.rms_norm_i8(n_rows, n_cols, x, weight, 1e-5f, b, stride, b_scale,
                                         b_sum);
            } else {
                ref->lanes.quantize(n_rows, n_cols, x, a, stride, a_scale, a_sum);
                level->lanes.quantize(n_rows, n_cols, x, b, stride, b_scale, b_sum);
            }
            check(same(a, b, n) && same(a_scale, b_scale, n_rows * 4) &&
                      same(a_sum, b_sum, n_rows * 4),
                  "%s %s: shape %d, %lld x %lld, stride %lld", level->name,
                  normed_too ? "rms_norm_i8" : "quantize", i, (long long)n_rows, (long long)n_cols,
                  (long long)stride);
        }
        RELEASE(x, weight, a, b, a_scale, b_scale, a_sum, b_sum);
    }
}
static void test_quantized_activations_are_the_same(void) { at_each_level(quantized); }

static void rotated(const bal_kernels *level)
{
    for (int i = 0; i < 2 * N_SHAPES; ++i) {
        int64_t n_heads = pick(1, 9), head_dim = i % 3 == 0 ? 1 << pick(1, 8) : 2 * pick(1, 40);
        int64_t n_rows = pick(1, 4), n = n_heads * head_dim;
        bool halves = i % 2 == 0;
        float *x = floats(n_rows * n, 1e30f);
        float *cosines = floats(n_rows * head_dim, 0.0f), *sines = floats(n_rows * head_dim, 0.0f);
        float *a = blank(4 * n_rows * n), *b = blank(4 * n_rows * n);
        memcpy(a, x, (size_t)(n_rows * n) * 4);
        memcpy(b, x, (size_t)(n_rows * n) * 4);
        for (int64_t row = 0; row < n_rows; ++row) /* one token at a time, against all at once */
            ref->lanes.rotate(1, n_heads, head_dim, halves, cosines + row * head_dim,
                              sines + row * head_dim, a + row * n);
        level->lanes.rotate(n_rows, n_heads, head_dim, halves, cosines, sines, b);
        check(same(a, b, 4 * n_rows * n), "%s rotate: %lld tokens, %lld heads of %lld, halves %d",
              level->name, (long long)n_rows, (long long)n_heads, (long long)head_dim, halves);
        RELEASE(x, cosines, sines, a, b);
    }
}
static void test_rotary_positions_are_the_same(void) { at_each_level(rotated); }

/* Random queries and keys, of any kind of attention; release_attention. */
static bal_attention random_attention(int i)
{
    int64_t n_keys = pick(1, i % 10 == 0 ? 90 : 20), head_dim = pick(1, 64);
    int64_t n_queries = pick(0, 1) == 0 ? n_keys : pick(1, n_keys);
    int64_t n_kv_heads = pick(1, 3), n_heads = n_kv_heads * pick(1, 3);
    if (i % 4 == 0) head_dim = (int64_t[]){1, 2, 7, 8, 9, 48, 64, 128, 256}[i / 4 % 9];
    int64_t n_q = n_queries * n_heads * head_dim, n_kv = n_keys * n_kv_heads * head_dim;
    float huge = i % 3 == 0 ? 1e10f : 5.0f;
    return (bal_attention){.n_queries = n_queries,
                           .n_keys = n_keys,
                           .first = pick(0, n_keys - n_queries),
                           .causal = i % 5 != 0,
                           .window = pick(0, 1) == 0 ? 0 : pick(1, n_keys + 1),
                           .n_heads = n_heads,
                           .n_kv_heads = n_kv_heads,
                           .head_dim = head_dim,
                           .q = floats(n_q, huge),
                           .k = floats(n_kv, huge),
                           .v = floats(n_kv, huge),
                           .y = blank(4 * n_q),
                           .scores = blank(4 * BAL_SCORES(n_keys))};
}
static int64_t attention_bytes(const bal_attention *a)
{
    return 4 * a->n_queries * a->n_heads * a->head_dim;
}
static void check_attention(const bal_kernels *level, const bal_attention *a, const float *y,
                            const char *what)
{
    check(same(a->y, y, attention_bytes(a)),
          "%s attention%s: queries %lld .. of %lld, %lld keys, causal %d, window %lld, %lld / %lld "
          "heads of %lld",
          level->name, what, (long long)a->first, (long long)a->n_queries, (long long)a->n_keys,
          a->causal, (long long)a->window, (long long)a->n_heads, (long long)a->n_kv_heads,
          (long long)a->head_dim);
}
static void release_attention(bal_attention *a)
{
    RELEASE((void *)a->q, (void *)a->k, (void *)a->v, a->y, a->scores);
}

static void attended(const bal_kernels *level)
{
    for (int i = 0; i < 2 * N_SHAPES; ++i) {
        bal_attention task = random_attention(i), there = task;
        there.y = blank(attention_bytes(&task));
        ref->lanes.attention(&task);
        level->lanes.attention(&there);
        check_attention(level, &task, there.y, "");
        free(there.y);
        release_attention(&task);
    }
}
static void test_attention_is_the_same(void) { at_each_level(attended); }

/* Blocks of every size against all queries at once; keys that the last query of a block does not
 * see are not there: so a cache of keys and values gives the bits of a whole pass. */
static void attended_in_blocks(const bal_kernels *level)
{
    for (int i = 0; i < 2 * N_SHAPES; ++i) {
        bal_attention whole = random_attention(i);
        int64_t width = whole.n_heads * whole.head_dim, size = i % 2 == 0 ? 1 : pick(1, 40);
        int64_t kv_bytes = 4 * whole.n_kv_heads * whole.head_dim;
        float *y = blank(attention_bytes(&whole));
        level->lanes.attention(&whole);
        for (int64_t at = 0; at < whole.n_queries; at += size) {
            bal_attention block = whole;
            block.n_queries = whole.n_queries - at < size ? whole.n_queries - at : size;
            block.first = whole.first + at;
            if (whole.causal) block.n_keys = block.first + block.n_queries;
            float *k = bytes(block.n_keys * kv_bytes, false);
            float *v = bytes(block.n_keys * kv_bytes, false);
            block.scores = blank(4 * BAL_SCORES(block.n_keys));
            block.q = whole.q + at * width;
            block.k = memcpy(k, whole.k, (size_t)(block.n_keys * kv_bytes));
            block.v = memcpy(v, whole.v, (size_t)(block.n_keys * kv_bytes));
            block.y = y + at * width;
            level->lanes.attention(&block);
            RELEASE(k, v, block.scores);
        }
        check_attention(level, &whole, y, size == 1 ? ", one at a time" : ", in blocks");
        free(y);
        release_attention(&whole);
    }
}
static void test_attention_does_not_depend_on_the_block(void)
{
    state = SEED;
    attended_in_blocks(bal_kernels_at(BAL_ISA_REF));
    at_each_level(attended_in_blocks);
}

/* Numbers that change results if they are as much as read: not finite, beyond those seen. */
static void attended_within_the_window(const bal_kernels *level)
{
    for (int i = 0; i < N_SHAPES; ++i) {
        bal_attention task = random_attention(i);
        float *y = blank(attention_bytes(&task));
        int64_t kv_width = task.n_kv_heads * task.head_dim, end = task.first + task.n_queries;
        int64_t start = task.window > 0 ? task.first - task.window + 1 : 0;
        task.causal = true;
        level->lanes.attention(&task);
        for (int64_t key = 0; key < task.n_keys; ++key)
            for (int64_t d = 0; (key < start || key >= end) && d < kv_width; ++d)
                ((float *)task.k)[key * kv_width + d] = ((float *)task.v)[key * kv_width + d] = NAN;
        memcpy(y, task.y, (size_t)attention_bytes(&task));
        level->lanes.attention(&task);
        check_attention(level, &task, y, ", keys out of sight");
        free(y);
        release_attention(&task);
    }
}
static void test_keys_out_of_sight_are_not_read(void)
{
    state = SEED;
    attended_within_the_window(bal_kernels_at(BAL_ISA_REF));
    at_each_level(attended_within_the_window);
}

static void activated(const bal_kernels *level)
{
    const float odd[] = {INFINITY, -INFINITY, NAN,    -NAN,   FLT_MAX, -FLT_MAX, 1e-45f, -0.0f,
                         -12.5f,   -9.9f,     -87.0f, 12.55f, -13.0f,  1e20f,    -1e20f, 88.0f};
    for (int i = 0; i < 4 * N_SHAPES; ++i) {
        int64_t n_rows = pick(1, 4), n_cols = some_size(), stride = n_cols + pick(0, 5);
        int64_t n = (n_rows - 1) * stride + n_cols;
        float *a = floats(n, 90.0f), *b = blank(4 * n);
        for (int64_t at = 0; at < n; ++at) a[at] *= i % 3 == 0 ? 4.0f : 1.0f;
        for (int64_t at = 0; i % 2 == 0 && at < n; at += pick(1, 9)) a[at] = odd[pick(0, 15)];
        memcpy(b, a, (size_t)n * 4);
        ref->lanes.activate((bal_activation)(i % 4), n_rows, n_cols, a, stride);
        level->lanes.activate((bal_activation)(i % 4), n_rows, n_cols, b, stride);
        check(same(a, b, 4 * n), "%s activate: kind %d, %lld x %lld, stride %lld", level->name,
              i % 4, (long long)n_rows, (long long)n_cols, (long long)stride);
        RELEASE(a, b);
    }
}
static void test_activations_are_the_same(void) { at_each_level(activated); }

static void element_wise(const bal_kernels *level)
{
    for (int i = 0; i < N_SHAPES; ++i) {
        int64_t n_rows = pick(1, 4), n_cols = some_size(), n = n_rows * (n_cols + 5);
        int64_t gate_stride = n_cols + pick(0, 5), up_stride = n_cols + pick(0, 5);
        float *gate = floats(n, i % 2 == 0 ? FLT_MAX : 88.0f), *up = floats(n, 1e4f);
        float *a = blank(4 * n), *b = blank(4 * n);
        for (int64_t at = 0; at < n; ++at) gate[at] *= i % 3 == 0 ? 30.0f : 1.0f;
        for (int64_t at = 0; at < n; ++at) /* FLT_MAX * 30 */
            if (!isfinite(gate[at])) gate[at] = -FLT_MAX;
        memcpy(a, gate, (size_t)n * 4);
        memcpy(b, gate, (size_t)n * 4);
        ref->lanes.swiglu(n_rows, n_cols, a, gate_stride, up, up_stride);
        level->lanes.swiglu(n_rows, n_cols, b, gate_stride, up, up_stride);
        check(same(a, b, 4 * n), "%s swiglu: %lld x %lld, strides %lld, %lld", level->name,
              (long long)n_rows, (long long)n_cols, (long long)gate_stride, (long long)up_stride);
        ref->lanes.swiglu(1, n, a, n, up, n); /* of what that gave, as one row */
        level->lanes.swiglu(1, n, b, n, up, n);
        check(same(a, b, 4 * n), "%s swiglu: 1 x %lld", level->name, (long long)n);
        RELEASE(gate, up, a, b);
    }
}
static void test_swiglu_is_the_same(void) { at_each_level(element_wise); }

static void losses(const bal_kernels *level)
{
    for (int i = 0; i < 2 * N_SHAPES; ++i) {
        int64_t n = i + 1, target = pick(0, n - 1);
        float *x = floats(n, i % 3 == 0 ? 1e30f : 10.0f);
        bal_exp_sums a, b;
        bool a_top, b_top;
        ref->lanes.exp_sums(1, n, x, n, true, &a);
        level->lanes.exp_sums(1, n, x, n, true, &b);
        float from_a = ref->lanes.cross_entropy(&a, x[target], &a_top);
        float from_b = level->lanes.cross_entropy(&b, x[target], &b_top);
        check(same(&a, &b, sizeof a) && same(&from_a, &from_b, 4) && a_top == b_top,
              "%s cross_entropy: %lld words, target %lld", level->name, (long long)n,
              (long long)target);
        free(x);
    }
}
static void test_losses_are_the_same(void) { at_each_level(losses); }

/* Rows that come in pieces, x [n_rows][stride] each. */
static void losses_in_pieces(const bal_kernels *level)
{
    for (int i = 0; i < N_SHAPES; ++i) {
        int64_t n_rows = pick(1, 5), n_pieces = pick(1, 4);
        bal_exp_sums *a = blank(n_rows * (int64_t)sizeof *a),
                     *b = blank(n_rows * (int64_t)sizeof *b);
        for (int64_t piece = 0; piece < n_pieces; ++piece) {
            int64_t n_cols = some_size(), stride = n_cols + pick(0, 5);
            float *x = floats((n_rows - 1) * stride + n_cols, i % 3 == 0 ? 1e30f : 10.0f);
            ref->lanes.exp_sums(n_rows, n_cols, x, stride, piece == 0, a);
            level->lanes.exp_sums(n_rows, n_cols, x, stride, piece == 0, b);
            check(same(a, b, n_rows * (int64_t)sizeof *a), "%s exp_sums: shape %d, %lld x %lld",
                  level->name, i, (long long)n_rows, (long long)n_cols);
            free(x);
        }
        for (int64_t row = 0; row < n_rows; ++row) {
            float target = (float)pick(-3, 3);
            bool a_top, b_top;
            float from_a = ref->lanes.cross_entropy(a + row, target, &a_top);
            float from_b = level->lanes.cross_entropy(b + row, target, &b_top);
            check(same(&from_a, &from_b, 4) && a_top == b_top, "%s cross_entropy: shape %d",
                  level->name, i);
        }
        RELEASE(a, b);
    }
}
static void test_losses_in_pieces_are_the_same(void) { at_each_level(losses_in_pieces); }

static void test_levels_are_complete_and_known_by_their_names(void)
{
    for (int isa = BAL_ISA_REF; isa <= (int)bal_isa_best(); ++isa) {
        const bal_kernels *k = bal_kernels_at((bal_isa)isa);
        bal_isa parsed;
        CU_ASSERT_FATAL(bal_isa_parse(k->name, &parsed));
        CU_ASSERT_EQUAL((int)parsed, isa);
        CU_ASSERT(k->philox && k->walsh && k->walsh_sums && k->bit_sums && k->signs && k->carry);
        CU_ASSERT(k->move_panel && k->product_i8 && k->dots);
        CU_ASSERT(k->lanes.quantize && k->lanes.rms_norm_i8 && k->lanes.rms_norm &&
                  k->lanes.layer_norm && k->lanes.rotate);
        CU_ASSERT(k->lanes.attention && k->lanes.activate && k->lanes.swiglu && k->lanes.exp_sums &&
                  k->lanes.cross_entropy);
        CU_ASSERT_PTR_EQUAL(k, bal_kernels_at((bal_isa)isa));
    }
    bal_isa isa = BAL_ISA_REF;
    CU_ASSERT_FALSE(bal_isa_parse("avx", &isa));
    CU_ASSERT_FALSE(bal_isa_parse("", &isa));
    printf("\n    best level of this processor: %s", bal_kernels_at(bal_isa_best())->name);
}

const char bal_suite_name[] = "kernels";
const bal_test bal_suite_tests[] = {
    {"levels are complete and known by their names",
     test_levels_are_complete_and_known_by_their_names},
    {"random streams are the same", test_random_streams_are_the_same},
    {"directions are the same", test_directions_are_the_same},
    {"tallies are the same", test_tallies_are_the_same},
    {"updates are the same", test_updates_are_the_same},
    {"moved panels are the same", test_moved_panels_are_the_same},
    {"integer products are the same", test_integer_products_are_the_same},
    {"strips are multiplied without a step too far",
     test_strips_are_multiplied_without_a_step_too_far},
    {"norms are the same", test_norms_are_the_same},
    {"norms may be taken in place", test_norms_may_be_taken_in_place},
    {"quantized activations are the same", test_quantized_activations_are_the_same},
    {"rotary positions are the same", test_rotary_positions_are_the_same},
    {"attention is the same", test_attention_is_the_same},
    {"attention does not depend on the block", test_attention_does_not_depend_on_the_block},
    {"keys out of sight are not read", test_keys_out_of_sight_are_not_read},
    {"activations are the same", test_activations_are_the_same},
    {"SwiGLU is the same", test_swiglu_is_the_same},
    {"losses are the same", test_losses_are_the_same},
    {"losses in pieces are the same", test_losses_in_pieces_are_the_same},
    {NULL, NULL},
};
