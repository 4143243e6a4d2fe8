/* reference.c: ref itself is right: published vectors, and naive code in integers or doubles. */
#include "inputs.h"

#define N_SHAPES 60

static const bal_kernels *ref;

/* |found - wanted| is at most tolerance (1 + |wanted|). */
static bool near(double found, double wanted, double tolerance)
{
    return fabs(found - wanted) <= tolerance * (1.0 + fabs(wanted));
}

static void test_philox_gives_the_published_vectors(void)
{
    /* kat_vectors of Random123: philox4x32 10 */
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX},
         {UINT32_MAX, UINT32_MAX},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (int isa = BAL_ISA_REF; isa <= (int)bal_isa_best(); ++isa)
        for (size_t i = 0; i < sizeof known / sizeof *known; ++i) {
            const uint32_t *c = known[i].counter;
            uint64_t key = (uint64_t)known[i].key[1] << 32 | known[i].key[0];
            uint32_t lane = c[0] % 16, out[BAL_LINE_BYTES / 4];
            bal_kernels_at((bal_isa)isa)
                ->philox(key, c[1], c[2], c[3], c[0] / 16, 1, (uint8_t *)out);
            for (uint32_t word = 0; word < 4; ++word)
                CU_ASSERT_EQUAL(out[16 * word + lane], known[i].out[word]);
        }
}

static void test_lines_follow_one_another(void)
{
    uint8_t together[5 * BAL_LINE_BYTES], apart[5 * BAL_LINE_BYTES];
    ref->philox(1, 2, 3, 4, 1000, 5, together);
    for (int line = 0; line < 5; ++line)
        ref->philox(1, 2, 3, 4, 1000 + line, 1, apart + line * BAL_LINE_BYTES);
    CU_ASSERT_EQUAL(memcmp(together, apart, sizeof apart), 0);
    CU_ASSERT_NOT_EQUAL(memcmp(apart, apart + BAL_LINE_BYTES, BAL_LINE_BYTES), 0);
}

static void test_walsh_signs_are_parities_of_bytes_multiplied_in_a_field(void)
{
    state = SEED;
    for (int slot = 0; slot < 256; ++slot) {
        uint8_t *b = bytes(2 * BAL_PIECE_BYTES, true), *s = bytes(2 * BAL_LINE_BYTES, true);
        uint8_t negative[2 * BAL_LINE_BYTES];
        int n_bad = 0;
        memcpy(negative, s, sizeof negative);
        ref->walsh(2, (uint8_t)slot, b, negative);
        for (int i = 0; i < 2 * BAL_PIECE_CODES; ++i) {
            uint8_t byte =
                gf_shifted(b[i / BAL_PIECE_CODES * 64 + i % 64], i % BAL_PIECE_CODES / 64);
            int bits = negative[i / 8] >> i % 8 & 1;
            for (int k = 0; k < 8; ++k) bits += (slot & byte) >> k & 1;
            n_bad += bits % 2 != (s[i / 8] >> i % 8 & 1);
        }
        check(n_bad == 0, "slot %d: %d codes", slot, n_bad);
        RELEASE(b, s);
    }
}

static void test_tallies_are_sums_over_slots(void)
{
    state = SEED;
    static const int sizes[] = {1, 1, 2, 3, 7, 7, 15, 31, 63};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
        uint8_t *b = bytes(BAL_PIECE_BYTES, true), *s = bytes(BAL_LINE_BYTES, true);
        uint8_t *rows = bytes(255 * BAL_LINE_BYTES, true);
        int8_t votes[256];
        int16_t table[256], sums[BAL_PIECE_CODES], want[BAL_PIECE_CODES] = {0};
        for (int slot = 0; slot < 256; ++slot) votes[slot] = (int8_t)pick(-sizes[i], sizes[i]);
        for (int code = 0; code < BAL_PIECE_CODES; ++code) {
            sums[code] = (int16_t)code;
            want[code] = (int16_t)code;
        }
        for (int slot = 0; slot < 256; ++slot) {
            uint8_t negative[BAL_LINE_BYTES];
            int8_t z[BAL_PIECE_CODES];
            memcpy(negative, s, sizeof negative);
            ref->walsh(1, (uint8_t)slot, b, negative);
            ref->signs(BAL_PIECE_CODES, negative, z);
            for (int code = 0; code < BAL_PIECE_CODES; ++code)
                want[code] = (int16_t)(want[code] + votes[slot] * z[code]);
        }
        walsh_transform(votes, table);
        ref->walsh_sums(1, table, b, s, sums);
        check(memcmp(sums, want, sizeof sums) == 0, "walsh_sums, votes of %d", sizes[i]);
        for (int row = 0; row < 255; ++row) {
            if (votes[row] == 0) votes[row] = 1;
            for (int code = 0; code < BAL_PIECE_CODES; ++code) {
                int minus = rows[row * BAL_LINE_BYTES + code / 8] >> code % 8 & 1;
                want[code] = (int16_t)(want[code] + (minus ? -votes[row] : votes[row]));
            }
        }
        ref->bit_sums(255, BAL_LINE_BYTES, votes, rows, sums);
        check(memcmp(sums, want, sizeof sums) == 0, "bit_sums, votes of %d", sizes[i]);
        RELEASE(b, s, rows);
    }
}

static void test_carries_round_alike_both_ways_and_lose_nothing(void)
{
    /* every shift and many multipliers, each with every tally that they take */
    state = SEED;
    for (int shift = 0; shift <= 13; ++shift)
        for (int i = 0; i < 12; ++i) {
            int multiplier = i == 0   ? 1
                             : i == 1 ? 16385
                             : i == 2 ? 32767
                                      : 2 * (int)pick(0, 16383) + 1;
            int top = ((1 << 14) - 1) >> shift, n_bad = 0;
            for (int size = 0; size <= top; ++size) {
                int16_t tally[64];
                uint8_t codes[64];
                int8_t carries[64], before[64];
                for (int k = 0; k < 64; ++k) {
                    tally[k] = (int16_t)(k % 2 == 0 ? size : -size);
                    codes[k] = 128;
                    carries[k] = before[k] = (int8_t)(k < 2 ? 0 : pick(-128, 127));
                }
                double want = rint(ldexp((double)size * multiplier, shift - 15));
                uint32_t n = ref->carry(64, -127, 127, multiplier, shift, tally, codes, carries);
                for (int k = 0; k < 64; ++k) {
                    int moved = (codes[k] - 128) * 256 + carries[k] - before[k];
                    n_bad += moved != (int)(k % 2 == 0 ? want : -want);
                    n -= codes[k] != 128;
                }
                n_bad += n != 0;
            }
            check(n_bad == 0, "multiplier %d, shift %d: %d wrong", multiplier, shift, n_bad);
        }
}

static void check_gate(int low, int high)
{
    uint8_t codes[256]; /* every byte, moved by 64 as far as it may */
    int8_t carries[256];
    int16_t tally[256];
    for (int i = 0; i < 256; ++i) {
        codes[i] = (uint8_t)i;
        carries[i] = 100;
        tally[i] = i % 3 == 0 ? -16383 : 16383;
    }
    uint32_t n_flips = ref->carry(256, low, high, 32767, 0, tally, codes, carries);
    int n_bad = 0;
    for (int i = 0; i < 256; ++i) {
        int want = i - 128 + (tally[i] > 0 ? 64 : -64);
        want = want > high ? high : want < low ? low : want;
        n_bad += i - 128 > low && i - 128 < high ? codes[i] != 128 + want || carries[i] == 100
                                                 : codes[i] != i || carries[i] != 100;
    }
    check(n_bad == 0 && n_flips == (uint32_t)(high - low - 1), "%d .. %d: %d wrong, %u flips", low,
          high, n_bad, n_flips);
}
static void test_padding_and_codes_at_the_gate_neither_move_nor_count(void)
{
    for (int limit = 1; limit <= 127; ++limit) check_gate(-limit, limit);
    check_gate(0, 15); /* NF4 */
    check_gate(-128, 127);
    check_gate(-128, -127);
    check_gate(126, 127);
}

/* What the header says of entries and gates, for every code of every format with every z. */
static void test_the_gate_keeps_both_sides_or_neither(void)
{
    static const double nf4[] = {-1.0,        -0.69619280, -0.52507305, -0.39491749,
                                 -0.28444138, -0.18477343, -0.09105004, 0.0,
                                 0.07958030,  0.16093020,  0.24611230,  0.33791524,
                                 0.44070983,  0.56261700,  0.72295684,  1.0}; /* QLoRA */
    for (int format = BAL_PANEL_I8; format <= BAL_PANEL_NF4; ++format)
        for (int reach = -63; reach <= 63; ++reach) {
            uint8_t codes[256], factors[64], plus[256], minus[256];
            int8_t z[256];
            int n_bad = 0;
            for (int i = 0; i < 256; ++i) codes[i] = (uint8_t)i, z[i] = (int8_t)reach;
            for (int i = 0; i < 64; ++i)
                factors[i] = (uint8_t)(format == BAL_PANEL_I4 ? i % 19 : 2 * i);
            bal_panel panel = {.format = (bal_panel_format)format,
                               .n_blocks = 1,
                               .codes = codes,
                               .factors = factors,
                               .factor_blocks = 8,
                               .z = z};
            ref->move_panel(&panel, plus, minus);
            for (int i = 0; i < 256; ++i) {
                int four = i < 128 ? i % 16 : i % 128 / 16, factor = factors[i / 4];
                int code = format == BAL_PANEL_I8   ? i - 128
                           : format == BAL_PANEL_I4 ? four - 8
                                                    : four;
                int low = format == BAL_PANEL_I8 ? -127 : format == BAL_PANEL_I4 ? -7 : 0;
                int high = format == BAL_PANEL_I8 ? 127 : format == BAL_PANEL_I4 ? 7 : 15;
                int step = code - abs(reach) < low || code + abs(reach) > high ? 0 : reach;
                int want[2] = {code + step, code - step};
                for (int sign = 0; sign < 2; ++sign) {
                    if (format == BAL_PANEL_I4) want[sign] *= factor;
                    if (format == BAL_PANEL_NF4)
                        want[sign] =
                            (int)floor(rint(127.0 * nf4[want[sign]]) * factor / 128.0 + 0.5);
                    want[sign] = (uint8_t)(want[sign] + 128); /* an unused code may wrap */
                }
                n_bad += plus[i] != want[0] || minus[i] != want[1];
            }
            check(n_bad == 0, "format %d, z = %d: %d wrong", format, reach, n_bad);
        }
}

static void test_bits_of_z_are_steps_of_one(void)
{
    state = SEED;
    for (int i = 0; i < N_SHAPES; ++i) {
        int64_t n_blocks = pick(1, 20), n = n_blocks * BAL_BLOCK_CODES;
        bal_panel panel = random_panel((bal_panel_format)(i % 3), n_blocks, 8, false);
        uint8_t *moved[4];
        int8_t *z = blank(n);
        for (int k = 0; k < 4; ++k) moved[k] = blank(n);
        for (int64_t at = 0; at < n; ++at)
            z[at] = (panel.moves[at / 8] >> at % 8 & 1) == 0      ? 0
                    : (panel.negative[at / 8] >> at % 8 & 1) != 0 ? -1
                                                                  : 1;
        ref->move_panel(&panel, moved[0], moved[1]);
        panel.z = z;
        ref->move_panel(&panel, moved[2], moved[3]);
        check(memcmp(moved[0], moved[2], (size_t)n) == 0 &&
                  memcmp(moved[1], moved[3], (size_t)n) == 0,
              "format %d, %lld blocks", i % 3, (long long)n_blocks);
        RELEASE(moved[0], moved[1], moved[2], moved[3]);
        release_panel(&panel);
    }
}

static void test_integer_products_are_exact(void)
{
    state = SEED;
    for (int i = 0; i < N_SHAPES; ++i) {
        int64_t n_blocks = i == 0 ? BAL_COLS_MAX / 4 : pick(1, 70), n_rows = pick(1, 64);
        int64_t n_tokens = pick(1, 9);
        uint8_t *panel = random_entries(n_blocks);
        bal_rows_i8 x = random_rows(n_tokens, 4 * n_blocks, pick(0, 2), i == 0);
        bool adds = i % 2 == 1;
        if (i == 0) memset(panel, 255, (size_t)n_blocks * BAL_BLOCK_CODES);
        float *row_scale = scales(64), *old = floats(n_tokens * n_rows, 0.0f);
        float *y = blank(4 * n_tokens * n_rows);
        int n_bad = 0;
        memcpy(y, old, (size_t)(n_tokens * n_rows) * 4);
        bal_weights_u8 w = {n_blocks, n_rows, panel, row_scale, NULL, 0};
        ref->product_i8(&w, &x, adds, y, n_rows);
        for (int64_t t = 0; t < n_tokens; ++t)
            for (int64_t row = 0; row < n_rows; ++row) {
                int64_t exact = 0;
                for (int64_t c = 0; c < 4 * n_blocks; ++c)
                    exact += x.q[t * x.stride + c] *
                             (int64_t)(panel[c / 4 * BAL_BLOCK_CODES + row * 4 + c % 4] - 128);
                float want = (float)exact * (x.scale[t] * row_scale[row]);
                if (adds) want = old[t * n_rows + row] + want;
                n_bad += y[t * n_rows + row] != want;
            }
        check(n_bad == 0, "%lld blocks, %lld rows, %lld tokens: %d wrong", (long long)n_blocks,
              (long long)n_rows, (long long)n_tokens, n_bad);
        RELEASE(panel, row_scale, old, y);
        release_rows(&x);
    }
}

static void test_the_norm_is_the_root_mean_square(void)
{
    state = SEED;
    for (int i = 0; i < N_SHAPES; ++i) {
        int64_t n_rows = pick(1, 5), n_cols = pick(1, 200);
        float *x = floats(n_rows * n_cols, 30.0f), *weight = floats(n_cols, 3.0f);
        float *y = blank(4 * n_rows * n_cols);
        int n_bad = 0;
        ref->lanes.rms_norm(n_rows, n_cols, x, weight, 1e-5f, y);
        for (int64_t row = 0; row < n_rows; ++row) {
            double sum = 0.0;
            for (int64_t c = row * n_cols; c < (row + 1) * n_cols; ++c)
                sum += (double)x[c] * (double)x[c];
            double inverse = 1.0 / sqrt(sum / (double)n_cols + (double)1e-5f);
            for (int64_t c = 0; c < n_cols; ++c)
                n_bad += !near((double)y[row * n_cols + c],
                               (double)x[row * n_cols + c] * inverse * (double)weight[c], 1e-6);
        }
        check(n_bad == 0, "%lld x %lld: %d wrong", (long long)n_rows, (long long)n_cols, n_bad);
        RELEASE(x, weight, y);
    }
}

static void test_the_layer_norm_takes_out_mean_and_deviation(void)
{
    state = SEED;
    for (int i = 0; i < 2 * N_SHAPES; ++i) {
        int64_t n_rows = pick(1, 5), n_cols = i == 0 ? 12288 : pick(1, 200);
        float *x = floats(n_rows * n_cols, 30.0f), *weight = floats(n_cols, 3.0f);
        float *bias = floats(n_cols, 3.0f), *y = blank(4 * n_rows * n_cols);
        int n_bad = 0;
        for (int64_t c = 0; i % 3 == 0 && c < n_rows * n_cols; ++c) x[c] += 10.0f; /* off centre */
        ref->lanes.layer_norm(n_rows, n_cols, x, weight, bias, 1e-5f, y);
        for (int64_t row = 0; row < n_rows; ++row) {
            const float *from = x + row * n_cols;
            double mean = 0.0, squares = 0.0;
            for (int64_t c = 0; c < n_cols; ++c) mean += (double)from[c] / (double)n_cols;
            for (int64_t c = 0; c < n_cols; ++c)
                squares += ((double)from[c] - mean) * ((double)from[c] - mean);
            double inverse = 1.0 / sqrt(squares / (double)n_cols + (double)1e-5f);
            for (int64_t c = 0; c < n_cols; ++c) {
                double part = ((double)from[c] - mean) * inverse * (double)weight[c];
                n_bad += !(fabs((double)y[row * n_cols + c] - (part + (double)bias[c])) <=
                           1e-6 * (1.0 + fabs(part) + fabs((double)bias[c])));
            }
        }
        check(n_bad == 0, "%lld x %lld: %d wrong", (long long)n_rows, (long long)n_cols, n_bad);
        RELEASE(x, weight, bias, y);
    }
}

/* Codes of one row are those of y, whose largest magnitude is 127 steps. */
static int n_bad_codes(int64_t n, const double *y, const int8_t *q, float scale, int32_t sum)
{
    double absmax = 0.0;
    int n_bad = 0, exact = 0;
    for (int64_t c = 0; c < n; ++c) absmax = fmax(absmax, fabs(y[c]));
    n_bad += !(fabs((double)scale * 127.0 - absmax) <= 1e-6 * absmax);
    for (int64_t c = 0; c < (n + 63) / 64 * 64; ++c) {
        double value = c < n ? y[c] : 0.0;
        n_bad += !(fabs(value - (double)scale * q[c]) <= (double)scale * 0.50001) || q[c] == -128;
        n_bad += c >= n && q[c] != 0;
        exact += q[c];
    }
    return n_bad + (sum != exact);
}

static void test_codes_are_the_nearest_of_rows_and_of_norms(void)
{
    state = SEED;
    for (int i = 0; i < N_SHAPES; ++i) {
        int64_t n_rows = pick(1, 5), n_cols = pick(1, 200), stride = (n_cols + 63) / 64 * 64 + 64;
        float *x = floats(n_rows * n_cols, i % 2 == 0 ? 1e3f : 0.0f),
              *weight = floats(n_cols, 3.0f);
        float *scale = blank(8 * n_rows);
        int8_t *q = blank(2 * n_rows * stride), *norm_q = q + n_rows * stride;
        int32_t *sum = blank(8 * n_rows);
        double y[200];
        int n_bad = 0;
        memset(x, 0, (size_t)n_cols * 4); /* the first row */
        ref->lanes.quantize(n_rows, n_cols, x, q, stride, scale, sum);
        ref->lanes.rms_norm_i8(n_rows, n_cols, x, weight, 1e-5f, norm_q, stride, scale + n_rows,
                               sum + n_rows);
        for (int64_t row = 0; row < n_rows; ++row) {
            double squares = 0.0;
            float absmax = 0.0f;
            for (int64_t c = 0; c < n_cols; ++c) {
                y[c] = (double)x[row * n_cols + c];
                absmax = fmaxf(absmax, fabsf(x[row * n_cols + c]));
                squares += y[c] * y[c];
            }
            n_bad += scale[row] != absmax / 127.0f;
            n_bad += n_bad_codes(n_cols, y, q + row * stride, scale[row], sum[row]);
            for (int64_t c = 0; c < n_cols; ++c)
                y[c] *= (double)weight[c] / sqrt(squares / (double)n_cols + (double)1e-5f);
            n_bad += n_bad_codes(n_cols, y, norm_q + row * stride, scale[n_rows + row],
                                 sum[n_rows + row]);
            for (int64_t c = stride - 64; c < stride; ++c) /* what lies after is left alone */
                n_bad += (uint8_t)q[row * stride + c] != 0xEE ||
                         (uint8_t)norm_q[row * stride + c] != 0xEE;
        }
        n_bad += scale[0] != 0.0f || scale[n_rows] != 0.0f;
        check(n_bad == 0, "%lld x %lld: %d wrong", (long long)n_rows, (long long)n_cols, n_bad);
        RELEASE(x, weight, scale, q, sum);
    }
}

static void test_rows_that_are_tiny_or_not_finite_get_codes_0(void)
{
    const float odd[] = {0x1p-101f, -1e-41f, INFINITY, -INFINITY, NAN};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; ++i) {
        float x[70] = {[69] = odd[i]}, scale;
        int8_t q[128];
        int32_t sum;
        int n_bad = 0;
        ref->lanes.quantize(1, 70, x, q, 128, &scale, &sum);
        for (int c = 0; c < 128; ++c) n_bad += q[c] != 0;
        check(n_bad == 0 && sum == 0, "%g: %d codes, sum %d", (double)odd[i], n_bad, (int)sum);
        CU_ASSERT(i < 2 ? scale == 0.0f : !isfinite(scale));
    }
}

static void test_rotary_positions_turn_each_pair_by_its_angle(void)
{
    state = SEED;
    for (int i = 0; i < N_SHAPES; ++i) {
        int64_t n_heads = pick(1, 4), half = i % 3 == 0 ? 1 << pick(0, 5) : pick(1, 40);
        int64_t head_dim = 2 * half;
        bool halves = i % 2 == 0;
        float *x = floats(n_heads * head_dim, 5.0f), *y = blank(4 * n_heads * head_dim);
        float *cosines = blank(4 * head_dim), *sines = blank(4 * head_dim);
        int n_bad = 0;
        memcpy(y, x, (size_t)(n_heads * head_dim) * 4);
        for (int64_t p = 0; p < half; ++p) { /* pair p turns by 0.3 (p + 1) */
            int64_t first = halves ? p : 2 * p, second = halves ? p + half : 2 * p + 1;
            cosines[first] = cosines[second] = (float)cos(0.3 * (double)(p + 1));
            sines[second] = (float)sin(0.3 * (double)(p + 1));
            sines[first] = -sines[second];
        }
        ref->lanes.rotate(1, n_heads, head_dim, halves, cosines, sines, y);
        for (int64_t head = 0; head < n_heads; ++head)
            for (int64_t p = 0; p < half; ++p) {
                int64_t first = head * head_dim + (halves ? p : 2 * p),
                        second = first + (halves ? half : 1);
                double c = cos(0.3 * (double)(p + 1)), s = sin(0.3 * (double)(p + 1));
                double a = (double)x[first], b = (double)x[second];
                n_bad += !near((double)y[first], a * c - b * s, 1e-6);
                n_bad += !near((double)y[second], a * s + b * c, 1e-6);
            }
        check(n_bad == 0, "%lld heads of %lld, halves %d: %d wrong", (long long)n_heads,
              (long long)head_dim, halves, n_bad);
        RELEASE(x, y, cosines, sines);
    }
}

static void test_attention_is_softmax_over_the_keys_in_sight(void)
{
    state = SEED;
    for (int i = 0; i < 3 * N_SHAPES; ++i) {
        int64_t hd = i % 6 == 0 ? (int64_t[]){2, 6, 64, 128, 256}[i / 6 % 5] : 2 * pick(1, 24);
        int64_t n_kv_heads = pick(1, 3), share = pick(1, 3), n_heads = n_kv_heads * share;
        int64_t n_keys = pick(1, 70), n = i % 3 == 0 ? n_keys : pick(1, n_keys);
        int64_t first = pick(0, n_keys - n), window = i % 2 == 0 ? 0 : pick(1, n_keys);
        int64_t q_width = n_heads * hd, kv_width = n_kv_heads * hd;
        bool causal = i % 5 != 0;
        float *q = floats(n * q_width, 3.0f), *k = floats(n_keys * kv_width, 3.0f);
        float *v = floats(n_keys * kv_width, 3.0f), *y = blank(4 * n * q_width);
        float *scores = blank(4 * BAL_SCORES(n_keys));
        int n_bad = 0;
        ref->lanes.attention(&(bal_attention){n, n_keys, first, causal, window, n_heads, n_kv_heads,
                                              hd, q, k, v, y, scores});
        for (int64_t t = 0; t < n; ++t)
            for (int64_t head = 0; head < n_heads; ++head) {
                double p[70], sum = 0.0;
                for (int64_t j = 0; j < n_keys; ++j) {
                    double dot = 0.0;
                    for (int64_t d = 0; d < hd; ++d)
                        dot += (double)q[t * q_width + head * hd + d] *
                               (double)k[j * kv_width + head / share * hd + d];
                    bool seen =
                        !causal || (j <= first + t && (window == 0 || j > first + t - window));
                    sum += p[j] = seen ? exp(dot / sqrt((double)hd)) : 0.0; /* a small |dot| */
                }
                for (int64_t d = 0; d < hd; ++d) {
                    double want = 0.0;
                    for (int64_t j = 0; j < n_keys; ++j)
                        want += p[j] / sum * (double)v[j * kv_width + head / share * hd + d];
                    n_bad += !near((double)y[t * q_width + head * hd + d], want, 2e-5);
                }
            }
        check(n_bad == 0,
              "queries %lld .. of %lld, %lld keys, causal %d, window %lld, %lld / %lld heads of "
              "%lld: %d wrong",
              (long long)first, (long long)n, (long long)n_keys, causal, (long long)window,
              (long long)n_heads, (long long)n_kv_heads, (long long)hd, n_bad);
        RELEASE(q, k, v, y, scores);
    }
}

/* What a kind gives for x, in double. */
static double activation(bal_activation kind, double x)
{
    switch (kind) {
        case BAL_ACT_RELU:
            return x > 0.0 ? x : 0.0;
        case BAL_ACT_GELU:
            return x * erfc(-x / sqrt(2.0)) / 2.0;
        case BAL_ACT_GELU_TANH:
            return x / (1.0 + exp(-2.0 * sqrt(2.0 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
        default:
            return x / (1.0 + exp(-x));
    }
}
static void test_activations_follow_their_formulas(void)
{
    enum { N = 400001 }; /* of -100 .. 100 */
    float *x = blank(4 * N);
    for (int kind = BAL_ACT_RELU; kind <= BAL_ACT_SILU; ++kind) {
        double worst = 0.0, worst_phi = 0.0;
        for (int i = 0; i < N; ++i) x[i] = (float)(i - N / 2) * 0.0005f;
        ref->lanes.activate((bal_activation)kind, 1, N, x, N);
        for (int i = 0; i < N; ++i) {
            double from = (double)((float)(i - N / 2) * 0.0005f);
            double error = fabs((double)x[i] - activation((bal_activation)kind, from));
            worst = fmax(worst, error / (1.0 + fabs(from)));
            if (from != 0.0) worst_phi = fmax(worst_phi, error / fabs(from));
        }
        printf("\n    kind %d: error %.3g (1 + |x|), %.3g |x|", kind, worst, worst_phi);
        check(worst <= 2e-7 && worst_phi <= 2e-7, "kind %d: %g, %g", kind, worst, worst_phi);

        float ends[] = {0.0f,    -0.0f,    1e-30f,   -1e-30f,   1000.0f, -1000.0f, 1e20f,
                        FLT_MAX, -FLT_MAX, INFINITY, -INFINITY, NAN,     -NAN};
        float far[sizeof ends / sizeof *ends];
        memcpy(far, ends, sizeof far);
        ref->lanes.activate((bal_activation)kind, 1, 13, far, 13);
        for (int i = 0; i < 13; ++i) {
            double want = (double)ends[i];
            if (fabs(want) < 1.0) want *= kind == BAL_ACT_RELU ? (want > 0.0) : 0.5;
            if (want <= -1000.0) want = 0.0;
            check(isnan(want)   ? isnan(far[i])
                  : want == 0.0 ? fabsf(far[i]) < 1e-30f
                  : isinf(want) ? (double)far[i] == want
                                : fabs((double)far[i] / want - 1.0) < 3e-7,
                  "kind %d of %g: %g", kind, (double)ends[i], (double)far[i]);
        }
    }
    free(x);
}

static void test_swiglu_follows_its_formula(void)
{
    enum { N = 4001 };
    float gate[N], up[N];
    int n_bad = 0;
    for (int i = 0; i < N; ++i) gate[i] = (float)(i - N / 2) * 0.05f, up[i] = 1.0f + (float)(i % 5);
    ref->lanes.swiglu(1, N, gate, N, up, N);
    for (int i = 0; i < N; ++i) {
        double x = (double)((float)(i - N / 2) * 0.05f);
        n_bad += !near((double)gate[i], x / (1.0 + exp(-x)) * (double)up[i], 1e-6);
    }
    CU_ASSERT_EQUAL(n_bad, 0);
}

static void test_exponentials_are_right_to_their_last_bits(void)
{
    enum { N = 4000 };
    float gate[N], up[N];
    int n_bad = 0;
    for (int i = 0; i < N; ++i) gate[i] = (float)(i - N / 2) * 0.04f, up[i] = 1.0f;
    ref->lanes.swiglu(1, N, gate, N, up, N);
    for (int i = 0; i < N; ++i) {
        double x = (double)((float)(i - N / 2) * 0.04f), want = x / (1.0 + exp(-x));
        n_bad += !(fabs((double)gate[i] - want) <= 4e-7 * fabs(want));
    }
    CU_ASSERT_EQUAL(n_bad, 0);
    float ends[] = {-FLT_MAX, -1000.0f, 1000.0f, 0.0f};
    ref->lanes.swiglu(1, 4, ends, 4, up, 4);
    CU_ASSERT(fabsf(ends[0]) < 1e-35f && fabsf(ends[1]) < 1e-35f);
    CU_ASSERT(ends[2] == 1000.0f && ends[3] == 0.0f);

    /* two keys, the later one gap above: its value is 1, the other's 0 */
    for (float gap = -80.0f; gap <= 80.0f; gap += 0.37f) {
        float q[4] = {0.0f, 0.0f, sqrtf(2.0f), 0.0f}, k[4] = {0.0f, 0.0f, gap, 0.0f};
        float v[4] = {0.0f, 1.0f, 1.0f, 0.0f}, y[4], scores[BAL_SCORES(2)];
        ref->lanes.attention(&(bal_attention){2, 2, 0, true, 0, 1, 1, 2, q, k, v, y, scores});
        double below = 1.0 / (1.0 + exp((double)gap)), above = exp((double)gap) * below;
        double rounding = 3e-7 * (1.0 + fabs((double)gap)); /* of the score, and a little more */
        n_bad += !(fabs((double)y[2] - above) <= rounding * above);
        n_bad += !(fabs((double)y[3] - below) <= rounding * below);
        n_bad += y[0] != 0.0f || y[1] != 1.0f;
    }
    CU_ASSERT_EQUAL(n_bad, 0);
}

static void test_the_loss_of_a_large_vocabulary_is_right(void)
{
    enum { N = 50272 };
    state = SEED;
    float *x = blank(4 * N);
    double sum = 0.0;
    for (int i = 0; i < N; ++i) x[i] = (float)pick(-10000000, 10000000) * 1e-6f;
    for (int i = 0; i < N; ++i) sum += exp((double)x[i]);
    bal_exp_sums sums;
    bool is_top;
    ref->lanes.exp_sums(1, N, x, N, true, &sums);
    double loss = (double)ref->lanes.cross_entropy(&sums, x[N - 1], &is_top),
           want = log(sum) - (double)x[N - 1];
    check(fabs(loss - want) < 2e-6, "%d words: %.9g instead of %.9g", N, loss, want);
    free(x);
}

static void test_the_loss_is_minus_the_log_of_the_softmax(void)
{
    state = SEED;
    for (int i = 0; i < N_SHAPES; ++i) {
        int64_t n = pick(1, 600);
        float *x = floats(n, 40.0f);
        float max = -INFINITY;
        double sum = 0.0;
        for (int64_t w = 0; w < n; ++w) max = fmaxf(max, x[w]), sum += exp((double)x[w]);
        int n_bad = 0;
        bal_exp_sums sums;
        ref->lanes.exp_sums(1, n, x, n, true, &sums);
        for (int64_t target = 0; target < n; ++target) {
            bool is_top;
            float loss = ref->lanes.cross_entropy(&sums, x[target], &is_top);
            n_bad += !near((double)loss, log(sum) - (double)x[target], 2e-6);
            n_bad += is_top != (x[target] == max);
        }
        check(n_bad == 0, "%lld words: %d wrong", (long long)n, n_bad);
        free(x);
    }
}

static void test_the_loss_does_not_need_whole_rows(void)
{
    state = SEED;
    for (int i = 0; i < N_SHAPES; ++i) {
        int64_t n_rows = 3, n_cols = pick(1, 600), piece = pick(1, 200),
                target = pick(0, n_cols - 1);
        float *x = floats(n_rows * n_cols, 40.0f);
        bal_exp_sums sums[3];
        for (int64_t at = 0; at < n_cols; at += piece)
            ref->lanes.exp_sums(n_rows, at + piece < n_cols ? piece : n_cols - at, x + at, n_cols,
                                at == 0, sums);
        for (int64_t row = 0; row < n_rows; ++row) {
            const float *numbers = x + row * n_cols;
            float max = -INFINITY;
            double sum = 0.0;
            for (int64_t w = 0; w < n_cols; ++w)
                max = fmaxf(max, numbers[w]), sum += exp((double)numbers[w]);
            bool top;
            double loss = (double)ref->lanes.cross_entropy(sums + row, numbers[target], &top),
                   want = log(sum) - (double)numbers[target];
            check(near(loss, want, 2e-6) && top == (numbers[target] == max),
                  "%lld words, %lld at a time: %.9g instead of %.9g", (long long)n_cols,
                  (long long)piece, loss, want);
        }
        free(x);
    }
}

static void test_transcendentals_are_those_of_the_c_library(void)
{
    state = SEED;
    int n_bad = 0;
    for (int i = 0; i < 100000; ++i) {
        double unit = (double)(bal_test_random(&state) >> 11) * 0x1p-52 - 1.0; /* -1 .. 1 */
        double x = 700.0 * unit, y = ldexp(1.5 + unit / 2, (int)pick(-1000, 1000)), sine, cosine;
        n_bad += !(fabs(bal_math_exp(x) / exp(x) - 1.0) < 1e-12);
        n_bad += !(fabs(bal_math_exp(unit) / exp(unit) - 1.0) < 1e-12);
        n_bad += !(fabs(bal_math_log(y) - log(y)) <= 1e-12 * fabs(log(y)));
        y = 1.0 + unit * 1e-3; /* where the logarithm is small */
        n_bad += !(fabs(bal_math_log(y) - log(y)) <= 1e-12 * fabs(log(y)));
        for (double scale = 1e-6; scale < 2e6; scale *= 1e3) {
            x = unit * fmin(scale, 999999.0);
            bal_math_sincos(x, &sine, &cosine);
            n_bad += !(fabs(sine - sin(x)) < 1e-12) || !(fabs(cosine - cos(x)) < 1e-12);
        }
    }
    check(n_bad == 0, "%d values differ", n_bad);
    CU_ASSERT_EQUAL(bal_math_exp(0.0), 1.0);
    CU_ASSERT_EQUAL(bal_math_log(1.0), 0.0);
}

static void test_the_float_product_is_x_times_w_transposed(void)
{
    state = SEED;
    int64_t n = 5, n_in = 37, n_out = 11;
    float *x = floats(n * n_in, 3.0f), *w = floats(n_out * n_in, 3.0f), *y = blank(4 * n * n_out);
    int bad = 0;
    bal_product_f32(n, n_in, n_out, x, w, false, y);
    for (int64_t t = 0; t < n; ++t)
        for (int64_t row = 0; row < n_out; ++row) {
            double want = 0.0;
            for (int64_t c = 0; c < n_in; ++c)
                want += (double)x[t * n_in + c] * (double)w[row * n_in + c];
            bad += !near((double)y[t * n_out + row], want, 1e-5);
        }
    CU_ASSERT_EQUAL(bad, 0);
    RELEASE(x, w, y);
}

int bal_suite_begin(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    ref = bal_kernels_at(BAL_ISA_REF);
    return 0;
}

const char bal_suite_name[] = "reference";
const bal_test bal_suite_tests[] = {
    {"Philox gives the published vectors at every level", test_philox_gives_the_published_vectors},
    {"lines follow one another", test_lines_follow_one_another},
    {"Walsh signs are parities of bytes multiplied in a field",
     test_walsh_signs_are_parities_of_bytes_multiplied_in_a_field},
    {"tallies are sums over slots", test_tallies_are_sums_over_slots},
    {"carries round alike both ways and lose nothing",
     test_carries_round_alike_both_ways_and_lose_nothing},
    {"padding and codes at the gate neither move nor count",
     test_padding_and_codes_at_the_gate_neither_move_nor_count},
    {"the gate keeps both sides or neither", test_the_gate_keeps_both_sides_or_neither},
    {"bits of z are steps of one", test_bits_of_z_are_steps_of_one},
    {"integer products are exact", test_integer_products_are_exact},
    {"the norm is the root mean square", test_the_norm_is_the_root_mean_square},
    {"the layer norm takes out mean and deviation",
     test_the_layer_norm_takes_out_mean_and_deviation},
    {"codes are the nearest, of rows and of norms",
     test_codes_are_the_nearest_of_rows_and_of_norms},
    {"rows that are tiny or not finite get codes 0",
     test_rows_that_are_tiny_or_not_finite_get_codes_0},
    {"rotary positions turn each pair by its angle",
     test_rotary_positions_turn_each_pair_by_its_angle},
    {"attention is softmax over the keys in sight",
     test_attention_is_softmax_over_the_keys_in_sight},
    {"activations follow their formulas", test_activations_follow_their_formulas},
    {"SwiGLU follows its formula", test_swiglu_follows_its_formula},
    {"exponentials are right to their last bits", test_exponentials_are_right_to_their_last_bits},
    {"the loss of a large vocabulary is right", test_the_loss_of_a_large_vocabulary_is_right},
    {"the loss is minus the log of the softmax", test_the_loss_is_minus_the_log_of_the_softmax},
    {"the loss does not need whole rows", test_the_loss_does_not_need_whole_rows},
    {"transcendentals are those of the C library", test_transcendentals_are_those_of_the_c_library},
    {"the float product is x times w transposed", test_the_float_product_is_x_times_w_transposed},
    {NULL, NULL},
};
