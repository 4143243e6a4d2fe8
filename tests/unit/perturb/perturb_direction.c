/* perturb_direction.c: directions are pure functions of their coordinates, fair and uncorrelated.
 */
#include "measure.h"

#define N_BLOCKS 151 /* more than a span of 128, and an odd end */
#define N (N_BLOCKS * BAL_BLOCK_CODES)
#define MANY (256 * BAL_BLOCK_CODES) /* codes: 2^16 */

static void fill(const bal_measure *measure, uint32_t slot, int tensor, int64_t n_blocks, int8_t *z)
{
    bal_direction direction = {.measure = *measure, .slot = slot};
    bal_direction_fill(&direction, tensor, 0, n_blocks, z);
}

static void test_pieces_do_not_matter(void)
{
    static int8_t whole[N], piece[N];
    uint64_t state = SEED;
    for (size_t k = 0; k < N_KINDS; ++k) {
        bal_direction direction = {.measure = measure_at(k), .slot = 300};
        bal_direction_fill(&direction, 2, 0, N_BLOCKS, whole);
        for (int64_t block = 0; block < N_BLOCKS; ++block) { /* one by one */
            bal_direction_fill(&direction, 2, block, 1, piece);
            CU_ASSERT_EQUAL(memcmp(piece, whole + block * 256, 256), 0);
        }
        for (int i = 0; i < 200; ++i) { /* from odd first blocks, of odd lengths */
            int64_t first = (int64_t)(bal_test_random(&state) % N_BLOCKS);
            int64_t n = 1 + (int64_t)(bal_test_random(&state) % (uint64_t)(N_BLOCKS - first));
            bal_direction_fill(&direction, 2, first, n, piece);
            CU_ASSERT_EQUAL(memcmp(piece, whole + first * 256, (size_t)n * 256), 0);
        }
    }
}

static void test_bits_are_the_signs_and_the_measure(void)
{
    static int8_t z[N];
    static uint8_t negative[N / 8], moves[N / 8];
    uint64_t state = SEED;
    for (size_t k = 0; k < N_KINDS; ++k) {
        if (kinds[k].kind == BAL_DIRECTIONS_UNIFORM) continue;
        for (int i = 0; i < 60; ++i) { /* any blocks, of tensors on the ballot and off it */
            bal_direction direction = {.measure = measure_at(k),
                                       .slot = (uint32_t)(bal_test_random(&state) % 600)};
            int64_t first = (int64_t)(bal_test_random(&state) % N_BLOCKS), n_bad = 0;
            int64_t n = 1 + (int64_t)(bal_test_random(&state) % (uint64_t)(N_BLOCKS - first));
            if (i % 3 == 0)
                first = first / 8 * 8,
                n = (n + 7) / 8 * 8 <= N_BLOCKS - first ? (n + 7) / 8 * 8 : n;
            bal_direction_fill(&direction, i % 3, first, n, z);
            memset(negative, 0xAA, sizeof negative);
            memset(moves, 0xAA, sizeof moves);
            bal_direction_bits(&direction, i % 3, first, n, negative, moves);
            for (int64_t at = 0; at < n * 256; ++at)
                n_bad += (negative[at / 8] >> at % 8 & 1) != (z[at] < 0) ||
                         (moves[at / 8] >> at % 8 & 1) != (z[at] != 0);
            n_bad += n < N_BLOCKS && (negative[n * 32] != 0xAA || moves[n * 32] != 0xAA);
            CU_ASSERT_EQUAL(n_bad, 0);
        }
    }
}

static void test_bits_of_two_slots_are_those_of_each(void)
{
    static uint8_t both[2 * N / 8], one[N / 8], moves[2][N / 8];
    const uint32_t slots[] = {0, 7, 254, 255, 256, 511, 65534, 65535, 65536};
    uint64_t state = SEED;
    for (size_t k = 0; k < N_KINDS; ++k)
        for (size_t i = 0; i < sizeof slots / sizeof *slots; ++i) {
            if (kinds[k].kind == BAL_DIRECTIONS_UNIFORM) continue;
            int64_t first = (int64_t)(bal_test_random(&state) % N_BLOCKS);
            int64_t n = 1 + (int64_t)(bal_test_random(&state) % (uint64_t)(N_BLOCKS - first));
            bal_direction pair = {.measure = measure_at(k), .slot = slots[i], .n_one_sided = 2};
            CU_ASSERT_EQUAL(bal_direction_points(&pair), 2);
            bal_direction_bits(&pair, 2, first, n, both, moves[0]);
            for (uint32_t j = 0; j < 2; ++j) {
                bal_direction alone = {
                    .measure = measure_at(k), .slot = slots[i] + j, .n_one_sided = 1};
                bal_direction_bits(&alone, 2, first, n, one, moves[1]);
                CU_ASSERT_EQUAL(memcmp(one, both + j * n * 32, (size_t)n * 32), 0);
                CU_ASSERT_EQUAL(memcmp(moves[0], moves[1], (size_t)n * 32), 0);
            }
        }
}

static void test_levels_make_the_same_directions(void)
{
    static int8_t first[N], other[N];
    for (size_t k = 0; k < N_KINDS; ++k)
        for (uint32_t slot = 0; slot < 600; slot += 85) {
            bal_measure measure = measure_at(k);
            for (int isa = BAL_ISA_REF; isa <= (int)bal_isa_best(); ++isa) {
                measure.kernels = bal_kernels_at((bal_isa)isa);
                fill(&measure, slot, 0, N_BLOCKS, isa == BAL_ISA_REF ? first : other);
                if (isa != BAL_ISA_REF) CU_ASSERT_EQUAL(memcmp(first, other, N), 0);
            }
        }
}

static void test_a_stream_of_this_version_never_changes(void)
{
    /* XXH3-64 of 37 blocks of slot 300, as versions 2 and 3 gave them. Where they change, journals
     * written before cannot be replayed, and BAL_STREAM_VERSION must rise. */
    static const uint64_t known[N_KINDS] = {
        0x2665df6267ddd8c5u, 0x461c75befc9a20fbu, 0x5d835c78eea358fdu, 0x0e54f08d91a4a1c7u,
        0xc743c4f484a35e3au, 0x65ad4573e1da7bd5u, 0x34983fbee4635a24u, 0x297758355aedd738u};
    static int8_t z[37 * BAL_BLOCK_CODES];
    CU_ASSERT_EQUAL(BAL_STREAM_VERSION, 2);
    CU_ASSERT_EQUAL(BAL_STREAM_VERSION_WIDE, 3);
    for (size_t k = 0; k < N_KINDS; ++k) {
        bal_measure measure = measure_at(k);
        fill(&measure, 300, 2, 37, z);
        uint64_t hash = bal_hash(z, 37 * BAL_BLOCK_CODES, 0);
        CU_ASSERT_EQUAL(hash, known[k]);
        if (hash != known[k]) printf("\n    kind %zu: 0x%016llxu", k, (unsigned long long)hash);
    }
}

static void test_every_coordinate_gives_another_stream(void)
{
    static int8_t z[5][MANY];
    for (size_t k = 0; k < N_KINDS; ++k) {
        if (kinds[k].density < 1.0) continue;
        bal_measure measure = measure_at(k), other_seed = measure, other_step = measure;
        other_seed.seed = SEED + 1;
        other_step.step = 6;
        fill(&measure, 3, 0, 256, z[0]);
        fill(&other_seed, 3, 0, 256, z[1]);
        fill(&other_step, 3, 0, 256, z[2]);
        fill(&measure, 4, 0, 256, z[3]);
        fill(&measure, 3, 2, 256, z[4]);
        double variance =
            kinds[k].noise == 1 ? 1.0 : (double)(kinds[k].noise * (kinds[k].noise + 1)) / 3;
        for (int a = 0; a < 5; ++a)
            for (int b = 0; b < a; ++b) {
                double dot = 0.0;
                for (int i = 0; i < MANY; ++i) dot += z[a][i] * z[b][i];
                CU_ASSERT(fabs(dot / MANY / variance) < 5.0 / 256); /* 5 standard deviations */
            }
    }
}

static void test_signs_are_balanced(void)
{
    static int8_t z[MANY];
    for (int kind = BAL_DIRECTIONS_WALSH; kind <= BAL_DIRECTIONS_INDEPENDENT; ++kind)
        for (uint32_t slot = 0; slot < 300; slot += 13) {
            bal_measure measure = measure_of((bal_direction_kind)kind, 1, 1.0);
            fill(&measure, slot, 0, 256, z);
            int sum = 0, n_others = 0, repeats = 0;
            for (int i = 0; i < MANY; ++i) {
                sum += z[i];
                n_others += z[i] != 1 && z[i] != -1;
                repeats += i > 0 && z[i] == z[i - 1];
            }
            CU_ASSERT_EQUAL(n_others, 0);
            CU_ASSERT(abs(sum) < 5 * 256);
            CU_ASSERT(abs(repeats - MANY / 2) < 5 * 128);
        }
}

static void test_walsh_slots_are_parities_of_a_shared_byte(void)
{
    static int8_t base[MANY], bit[8][MANY], z[MANY];
    bal_measure measure = measure_of(BAL_DIRECTIONS_WALSH, 1, 1.0);
    for (uint32_t set = 0; set < 2; ++set) {
        fill(&measure, 256 * set, 0, 256, base); /* slot 0: the sign s */
        for (uint32_t k = 0; k < 8; ++k)         /* slot 2^k: s (-1)^(bit k of b) */
            fill(&measure, 256 * set + (1u << k), 0, 256, bit[k]);
        for (uint32_t slot = 0; slot < 256; slot += 3) {
            int n_bad = 0;
            fill(&measure, 256 * set + slot, 0, 256, z);
            for (int i = 0; i < MANY; ++i) {
                int want = base[i];
                for (int k = 0; k < 8; ++k)
                    if (slot >> k & 1) want *= base[i] * bit[k][i];
                n_bad += z[i] != want;
            }
            CU_ASSERT_EQUAL(n_bad, 0);
        }
    }
}

static void test_walsh_directions_of_a_set_are_uncorrelated(void)
{
    static int8_t z[16][MANY];
    bal_measure measure = measure_of(BAL_DIRECTIONS_WALSH, 1, 1.0);
    for (int slot = 0; slot < 16; ++slot) /* neighbours, far ones, and another set */
        fill(&measure, (uint32_t)(slot < 8 ? slot : 37 * slot), 0, 256, z[slot]);
    for (int a = 0; a < 16; ++a)
        for (int b = 0; b < a; ++b) {
            int dot = 0;
            for (int i = 0; i < MANY; ++i) dot += z[a][i] * z[b][i];
            CU_ASSERT(abs(dot) < 5 * 256);
        }
}

static void test_walsh_bytes_of_a_piece_are_64_and_their_products_in_a_field(void)
{
    static int8_t base[MANY], bit[8][MANY];
    bal_measure measure = measure_of(BAL_DIRECTIONS_WALSH, 1, 1.0);
    int n_bad = 0, n_equal = 0;
    fill(&measure, 256, 2, 256, base);
    for (uint32_t k = 0; k < 8; ++k) fill(&measure, 256 + (1u << k), 2, 256, bit[k]);
    for (int i = 0; i < MANY; ++i) {
        int byte = 0, first = 0; /* of the code, and of the one in the piece's first run */
        for (int k = 0; k < 8; ++k) {
            int at = i / 2048 * 2048 + i % 64;
            byte |= (base[i] != bit[k][i]) << k;
            first |= (base[at] != bit[k][at]) << k;
        }
        for (int run = 0; run < i % 2048 / 64; ++run) { /* times x, one by one */
            first *= 2;
            if (first > 255) first ^= 0x11B;
        }
        n_bad += byte != first;
        if (i >= 2048 && i % 2048 < 64) { /* another piece has other bytes */
            int before = 0;
            for (int k = 0; k < 8; ++k) before |= (base[i - 2048] != bit[k][i - 2048]) << k;
            n_equal += byte == before;
        }
    }
    CU_ASSERT_EQUAL(n_bad, 0);
    CU_ASSERT(n_equal < 30); /* 1984 / 256 = 7.75 of them by chance */
}

/* z_i z_i' of a set depends on m = i ^ i' alone: its mean over d codes, for all m. Slot 0 has the
 * signs, slot 2^k the bits of the bytes. */
static void test_all_pairs_of_a_set_are_as_uncorrelated_as_fresh_bytes_make_them(void)
{
    enum { D = 32 * BAL_BLOCK_CODES, N_DRAWS = 2000 };
    static int8_t base[D], bit[8][D];
    double sum[256] = {0}, squares = 0.0;
    for (uint32_t draw = 0; draw < N_DRAWS; ++draw) {
        bal_measure measure = measure_of(BAL_DIRECTIONS_WALSH, 1, 1.0);
        int32_t dot[256] = {0};
        measure.step = draw;
        fill(&measure, 0, 0, 32, base);
        for (uint32_t k = 0; k < 8; ++k) fill(&measure, 1u << k, 0, 32, bit[k]);
        for (int i = 0; i < D; ++i) { /* codes by byte, then a transform: (-1)^parity(m & byte) */
            int byte = 0;
            for (int k = 0; k < 8; ++k) byte |= (base[i] != bit[k][i]) << k;
            ++dot[byte];
        }
        for (int apart = 1; apart < 256; apart *= 2)
            for (int i = 0; i < 256; ++i)
                if ((i & apart) == 0) {
                    int32_t a = dot[i], b = dot[i + apart];
                    dot[i] = a + b, dot[i + apart] = a - b;
                }
        for (int m = 1; m < 256; ++m) {
            sum[m] += dot[m];
            squares += (double)dot[m] * dot[m];
        }
    }
    for (int m = 1; m < 256; ++m) CU_ASSERT(fabs(sum[m]) < 5.0 * sqrt((double)D * N_DRAWS));
    double variance = squares / D / D / N_DRAWS / 255.0;
    CU_ASSERT(fabs(variance * D - 1.0) < 0.04);
    printf("\n    variance of a mean product times d: %.3f", variance * D);
}

/* A narrow set's slots are the first 256 of the wide set of its number; and of any wide slots i and
 * j, z_i z_j z_0 is that of slot i ^ j. */
static void test_wide_slots_are_parities_of_two_bytes(void)
{
    static int8_t base[MANY], bit[16][MANY], z[MANY], narrow[MANY];
    bal_measure measure = measure_of(BAL_DIRECTIONS_WALSH_WIDE, 1, 1.0);
    bal_measure of_narrow = measure_of(BAL_DIRECTIONS_WALSH, 1, 1.0);
    uint64_t state = SEED;
    for (uint32_t set = 0; set < 2; ++set) {
        fill(&measure, 65536 * set, 0, 256, base);
        for (uint32_t k = 0; k < 16; ++k) fill(&measure, 65536 * set + (1u << k), 0, 256, bit[k]);
        for (int i = 0; i < 60; ++i) {
            uint32_t slot = (uint32_t)(bal_test_random(&state) % (i < 10 ? 256 : 65536));
            int n_bad = 0;
            fill(&measure, 65536 * set + slot, 0, 256, z);
            for (int at = 0; at < MANY; ++at) {
                int want = base[at];
                for (int k = 0; k < 16; ++k)
                    if (slot >> k & 1) want *= base[at] * bit[k][at];
                n_bad += z[at] != want;
            }
            CU_ASSERT_EQUAL(n_bad, 0);
            fill(&of_narrow, 256 * set + slot % 256, 0, 256, narrow);
            CU_ASSERT_EQUAL(memcmp(z, narrow, MANY) == 0, slot < 256);
        }
    }
}

/* The same for pairs of bytes: z_i z_i' depends on m = i ^ i' alone, here for all 65,535 m. */
static void test_all_pairs_of_a_wide_set_are_as_uncorrelated_as_fresh_bytes_make_them(void)
{
    enum { D = 16 * BAL_BLOCK_CODES, N_DRAWS = 400, N_M = 65536 };
    static int8_t base[D], bit[16][D];
    static double sum[N_M];
    static int32_t dot[N_M];
    double squares = 0.0, worst = 0.0;
    memset(sum, 0, sizeof sum);
    for (uint32_t draw = 0; draw < N_DRAWS; ++draw) {
        bal_measure measure = measure_of(BAL_DIRECTIONS_WALSH_WIDE, 1, 1.0);
        measure.step = draw;
        memset(dot, 0, sizeof dot);
        fill(&measure, 0, 0, 16, base);
        for (uint32_t k = 0; k < 16; ++k) fill(&measure, 1u << k, 0, 16, bit[k]);
        for (int i = 0; i < D; ++i) {
            int word = 0;
            for (int k = 0; k < 16; ++k) word |= (base[i] != bit[k][i]) << k;
            ++dot[word];
        }
        for (int apart = 1; apart < N_M; apart *= 2)
            for (int i = 0; i < N_M; ++i)
                if ((i & apart) == 0) {
                    int32_t a = dot[i], b = dot[i + apart];
                    dot[i] = a + b, dot[i + apart] = a - b;
                }
        for (int m = 1; m < N_M; ++m) {
            sum[m] += dot[m];
            squares += (double)dot[m] * dot[m];
        }
    }
    for (int m = 1; m < N_M; ++m) worst = fmax(worst, fabs(sum[m]) / sqrt((double)D * N_DRAWS));
    double variance = squares / D / D / N_DRAWS / (N_M - 1.0);
    CU_ASSERT(worst < 6.0); /* of 65,535 means, in standard deviations */
    CU_ASSERT(fabs(variance * D - 1.0) < 0.04);
    printf("\n    variance of a mean product times d: %.3f; largest mean: %.1f", variance * D,
           worst);
}

static void test_uniform_noise_covers_its_range_evenly(void)
{
    static int8_t z[MANY];
    static const int64_t noises[] = {1, 2, 7, 63};
    for (int i = 0; i < 4; ++i) {
        bal_measure measure = measure_of(BAL_DIRECTIONS_UNIFORM, noises[i], 1.0);
        int64_t n_values = 2 * noises[i] + 1, n_outside = 0;
        int counts[127] = {0};
        fill(&measure, 9, 0, 256, z);
        for (int at = 0; at < MANY; ++at) {
            int64_t value = z[at] + noises[i];
            if (value < 0 || value >= n_values)
                ++n_outside;
            else
                ++counts[value];
        }
        CU_ASSERT_EQUAL(n_outside, 0);
        double mean = (double)MANY / (double)n_values;
        for (int64_t value = 0; value < n_values; ++value)
            CU_ASSERT(fabs(counts[value] - mean) < 5.0 * sqrt(mean));
    }
}

static void test_density_is_the_share_of_open_quarters(void)
{
    static int8_t z[3][MANY];
    static const double densities[] = {0.004, 0.02, 0.3, 0.9};
    for (int kind = BAL_DIRECTIONS_WALSH; kind <= BAL_DIRECTIONS_INDEPENDENT; ++kind)
        for (int d = 0; d < 4; ++d) {
            bal_measure measure = measure_of((bal_direction_kind)kind, 1, densities[d]);
            int64_t n_open = 0, n_moved = 0, n_partial = 0, n_quarters = 0;
            for (uint32_t step = 0; step < 8; ++step) {
                bal_measure dense = measure;
                dense.options.density = 1.0;
                measure.step = dense.step = step;
                fill(&measure, 1, 0, 256, z[0]);
                fill(&measure, 299, 0, 256, z[1]);
                fill(&dense, 1, 0, 256, z[2]);
                for (int at = 0; at < MANY; at += 64, ++n_quarters) {
                    int n[2] = {0};
                    for (int i = at; i < at + 64; ++i) {
                        n[0] += z[0][i] != 0, n[1] += z[1][i] != 0;
                        n_partial += z[0][i] != 0 && z[0][i] != z[2][i]; /* signs stay */
                    }
                    n_partial +=
                        (n[0] != 0 && n[0] != 64) || n[0] != n[1]; /* one mask for all slots */
                    n_open += n[0] == 64;
                }
                measure.step = step + 1; /* redrawn each step */
                fill(&measure, 1, 0, 256, z[1]);
                for (int at = 0; at < MANY; at += 64) n_moved += (z[0][at] != 0) != (z[1][at] != 0);
            }
            double share = densities[d], n = (double)n_quarters;
            CU_ASSERT_EQUAL(n_partial, 0);
            CU_ASSERT(fabs((double)n_open - n * share) < 5.0 * sqrt(n * share * (1.0 - share)));
            CU_ASSERT(fabs((double)n_moved - n * 2 * share * (1.0 - share)) <
                      7.0 * sqrt(n * 2 * share * (1.0 - share)));
        }
}

static void test_tensors_off_the_ballot_do_not_move(void)
{
    static int8_t z[N];
    for (size_t k = 0; k < N_KINDS; ++k) {
        bal_measure measure = measure_at(k);
        memset(z, 1, N);
        fill(&measure, 0, 1, N_BLOCKS, z);
        for (int i = 0; i < N; ++i)
            if (z[i] != 0) CU_FAIL_FATAL("a code of a tensor that is not on the ballot moves");
    }
}

static void test_draws_are_pure_and_differ(void)
{
    uint32_t words[4][256];
    for (int isa = BAL_ISA_REF; isa <= (int)bal_isa_best(); ++isa) {
        const bal_kernels *kernels = bal_kernels_at((bal_isa)isa);
        bal_draw_words(kernels, 1, 2, 3, words[isa == BAL_ISA_REF ? 0 : 1]);
        if (isa != BAL_ISA_REF) CU_ASSERT_EQUAL(memcmp(words[0], words[1], sizeof *words), 0);
    }
    const bal_kernels *kernels = bal_kernels_at(BAL_ISA_REF);
    bal_draw_words(kernels, 2, 2, 3, words[1]);
    bal_draw_words(kernels, 1, 3, 3, words[2]);
    bal_draw_words(kernels, 1, 2, 4, words[3]);
    for (int a = 0; a < 4; ++a)
        for (int b = 0; b < a; ++b)
            for (int i = 0; i < 256; ++i) CU_ASSERT_NOT_EQUAL(words[a][i], words[b][i]);
}

static void test_a_step_has_the_tensors_of_its_turn(void)
{
    enum { TURNS = 3, STEPS = 3000 };
    static const bool turns[TURNS][N_TENSORS] = {{true}, {false, true, true}, {false, false, true}};
    bal_rota rota = {.n = TURNS, .n_tensors = N_TENSORS, .turn = turns[0]};
    bal_measure measure = measure_of(BAL_DIRECTIONS_WALSH, 1, 1.0);
    CU_ASSERT_EQUAL(bal_measure_turns(&measure), 1);
    CU_ASSERT_PTR_EQUAL(bal_measure_at(measure, 8).on_ballot, on_ballot);
    measure.rota = &rota;
    CU_ASSERT_EQUAL(bal_measure_turns(&measure), TURNS);
    for (int step = 0; step < 7; ++step)
        CU_ASSERT_PTR_EQUAL(bal_measure_at(measure, step).on_ballot, turns[step % TURNS]);
    int n[TURNS] = {0}, n_again = 0;
    const bool *before = NULL;
    rota.by_chance = true;
    for (int step = 0; step < STEPS; ++step) {
        const bool *now = bal_measure_at(measure, step).on_ballot;
        CU_ASSERT_PTR_EQUAL(bal_measure_at(measure, step).on_ballot, now);
        ++n[(now - turns[0]) / N_TENSORS];
        n_again += now == before;
        before = now;
    }
    for (int turn = 0; turn < TURNS; ++turn) CU_ASSERT(abs(n[turn] - STEPS / TURNS) < 110);
    CU_ASSERT(abs(n_again - STEPS / TURNS) < 110);
}

const char bal_suite_name[] = "perturb_direction";
const bal_test bal_suite_tests[] = {
    {"pieces do not matter", test_pieces_do_not_matter},
    {"bits are the signs and the measure", test_bits_are_the_signs_and_the_measure},
    {"bits of two slots are those of each", test_bits_of_two_slots_are_those_of_each},
    {"levels make the same directions", test_levels_make_the_same_directions},
    {"a stream of this version never changes", test_a_stream_of_this_version_never_changes},
    {"every coordinate gives another stream", test_every_coordinate_gives_another_stream},
    {"signs are balanced", test_signs_are_balanced},
    {"Walsh slots are parities of a shared byte", test_walsh_slots_are_parities_of_a_shared_byte},
    {"Walsh directions of a set are uncorrelated", test_walsh_directions_of_a_set_are_uncorrelated},
    {"Walsh bytes of a piece are 64 and their products in a field",
     test_walsh_bytes_of_a_piece_are_64_and_their_products_in_a_field},
    {"all pairs of a set are as uncorrelated as fresh bytes make them",
     test_all_pairs_of_a_set_are_as_uncorrelated_as_fresh_bytes_make_them},
    {"wide slots are parities of two bytes", test_wide_slots_are_parities_of_two_bytes},
    {"all pairs of a wide set are as uncorrelated as fresh bytes make them",
     test_all_pairs_of_a_wide_set_are_as_uncorrelated_as_fresh_bytes_make_them},
    {"uniform noise covers its range evenly", test_uniform_noise_covers_its_range_evenly},
    {"density is the share of open quarters", test_density_is_the_share_of_open_quarters},
    {"tensors off the ballot do not move", test_tensors_off_the_ballot_do_not_move},
    {"a step has the tensors of its turn", test_a_step_has_the_tensors_of_its_turn},
    {"draws are pure and differ", test_draws_are_pure_and_differ},
    {NULL, NULL},
};
