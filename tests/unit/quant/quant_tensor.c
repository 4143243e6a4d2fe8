/* quant_tensor.c: rounding to the lattice, file order and memory order, fingerprints. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ballot/quant.h"
#include "suite.h"

#define SEED 20240601u

static const int64_t shapes[][2] = {{1, 1},  {1, 5},   {3, 4},   {63, 7},  {64, 64},
                                    {65, 3}, {70, 10}, {129, 6}, {200, 33}};
#define N_SHAPES (sizeof shapes / sizeof *shapes)

/* A tensor of zeros in memory of its own, full of other bytes before; to be dropped. */
static bal_tensor tensor_of(const char *name, bal_role role, bal_format format, int64_t n_rows,
                            int64_t n_cols)
{
    bal_tensor tensor;
    CU_ASSERT_EQUAL_FATAL(bal_tensor_init(&tensor, name, role, format, n_rows, n_cols), BAL_OK);
    size_t n_bytes = bal_tensor_bytes(&tensor);
    void *memory = bal_alloc(n_bytes, 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(memory);
    memset(memory, 0xA5, n_bytes);
    bal_tensor_attach(&tensor, memory);
    bal_tensor_zero(&tensor);
    return tensor;
}
static void drop(bal_tensor *tensor) { free(tensor->codes); }

/* What rounding leaves over, [n_blocks * 256]; to be freed. */
static int8_t *quantize(bal_tensor *tensor, const float *values)
{
    int8_t *leftover = bal_alloc((size_t)tensor->n_blocks, BAL_BLOCK_CODES);
    CU_ASSERT_PTR_NOT_NULL_FATAL(leftover);
    CU_ASSERT_EQUAL(bal_tensor_quantize(tensor, values, leftover), BAL_OK);
    return leftover;
}
/* The same in the order of files. */
static void quantize_to(bal_tensor *tensor, const float *values, int8_t *row_major)
{
    int8_t *leftover = quantize(tensor, values);
    bal_tensor_get_bytes(tensor, leftover, row_major);
    free(leftover);
}

static bal_tensor matrix(int64_t n_rows, int64_t n_cols)
{
    return tensor_of("m.weight", BAL_MATRIX, BAL_I8, n_rows, n_cols);
}

static bal_tensor vector(bal_role role, int64_t n_cols)
{
    return tensor_of("v.weight", role, BAL_I16, 1, n_cols);
}

static float *random_values(int64_t n, uint64_t *state)
{
    float *values = malloc((size_t)n * sizeof *values);
    CU_ASSERT_PTR_NOT_NULL_FATAL(values);
    for (int64_t i = 0; i < n; ++i)
        values[i] = (float)((double)(bal_test_random(state) >> 11) * 0x1p-52 - 1.0);
    return values;
}

/* Weights are rounded to codes, scales and what is left over by the definition; top is the code of
 * the maximum. */
static void check_rounding(bal_tensor *t, const float *values, int top)
{
    int64_t n = bal_tensor_n(t);
    int16_t *codes = malloc((size_t)n * sizeof *codes);
    int8_t *over = malloc((size_t)n);
    float *back = malloc((size_t)n * sizeof *back);
    CU_ASSERT_FATAL(codes != NULL && over != NULL && back != NULL);
    quantize_to(t, values, over);
    bal_tensor_get_codes(t, codes);
    if (t->format == BAL_I8) /* widen in place, last first */
        for (int64_t i = n - 1; i >= 0; --i) codes[i] = ((int8_t *)codes)[i];
    bal_tensor_dequantize(t, back);
    int n_bad = 0;
    for (int64_t row = 0; row < t->n_rows; ++row) {
        double scale = (double)t->scale[row];
        int absmax = 0;
        for (int64_t i = row * t->n_cols; i < (row + 1) * t->n_cols; ++i) {
            double left = (double)values[i] / scale - codes[i]; /* code steps */
            double want = fmin(rint(256 * left), 127);
            n_bad += !(fabs(left) <= 0.5 + 1e-4);
            n_bad += !(fabs(over[i] - want) <= 1); /* 1: a tie, rounded in single precision */
            n_bad += back[i] != t->scale[row] * codes[i];
            if (abs(codes[i]) > absmax) absmax = abs(codes[i]);
        }
        n_bad += absmax != top;
    }
    CU_ASSERT_EQUAL(n_bad, 0);
    if (n_bad > 0)
        printf("%d wrong in %lld x %lld, seed %u\n", n_bad, (long long)t->n_rows,
               (long long)t->n_cols, SEED);
    free(codes);
    free(over);
    free(back);
}

static void test_the_absmax_of_a_matrix_row_is_code_120(void)
{
    uint64_t state = SEED;
    for (size_t i = 0; i < N_SHAPES; ++i) {
        bal_tensor tensor = matrix(shapes[i][0], shapes[i][1]);
        float *values = random_values(bal_tensor_n(&tensor), &state);
        for (int64_t row = 0; row < shapes[i][0]; ++row) /* rows of very different size */
            for (int64_t col = 0; col < shapes[i][1]; ++col)
                values[row * shapes[i][1] + col] *= powf(10.0f, (float)(row % 9 - 4) * 4);
        check_rounding(&tensor, values, 120);
        free(values);
        drop(&tensor);
    }
}

static void test_the_absmax_of_a_vector_is_code_250(void)
{
    uint64_t state = SEED;
    for (int64_t n = 1; n < 600; n += 83) {
        bal_tensor tensor = vector(BAL_VECTOR, n);
        float *values = random_values(n, &state);
        check_rounding(&tensor, values, 250);
        free(values);
        drop(&tensor);
    }
}

static void test_what_rounding_leaves_over_is_told(void)
{
    /* absmax 120 makes the scale 1, so that a weight is code + over / 256 */
    static const struct {
        float value;
        int code, over;
    } known[] = {{120.0f, 120, 0},   {0.25f, 0, 64},    {-0.25f, 0, -64}, {3.5f, 4, -128},
                 {2.5f, 2, 127},     {-2.5f, -2, -128}, {-3.5f, -4, 127}, {7.375f, 7, 96},
                 {-7.375f, -7, -96}, {0.001f, 0, 0},    {0.498f, 0, 127}, {-0.0f, 0, 0},
                 {1.00390625f, 1, 1}};
    enum { N = sizeof known / sizeof *known };
    float values[N];
    int8_t codes[N], over[N];
    for (int i = 0; i < N; ++i) values[i] = known[i].value;
    bal_tensor tensor = matrix(1, N);
    quantize_to(&tensor, values, over);
    CU_ASSERT_EQUAL(tensor.scale[0], 1.0f);
    bal_tensor_get_codes(&tensor, codes);
    for (int i = 0; i < N; ++i) {
        CU_ASSERT_EQUAL(codes[i], known[i].code);
        CU_ASSERT_EQUAL(over[i], known[i].over);
    }
    drop(&tensor);
}

static void test_rows_of_zeros_and_of_next_to_nothing_stay_finite(void)
{
    static const float rows[5][3] = {{0.0f, -0.0f, 0.0f},
                                     {1e-42f, -1e-45f, 0.0f},
                                     {1e-29f, 1e-30f, 0.0f},
                                     {3e38f, -3e38f, 1.0f},
                                     {1.0f, 2.0f, 3.0f}};
    bal_tensor tensor = matrix(5, 3);
    float back[15];
    CU_ASSERT_EQUAL(bal_tensor_quantize(&tensor, rows[0], NULL), BAL_OK);
    bal_tensor_dequantize(&tensor, back);
    /* next to nothing is nothing, and takes the mean scale of the other rows */
    for (int row = 0; row < 3; ++row)
        CU_ASSERT_EQUAL(tensor.scale[row], (tensor.scale[3] + tensor.scale[4]) / 2);
    for (int row = 0; row < 5; ++row) {
        CU_ASSERT(isfinite(tensor.scale[row]) && tensor.scale[row] > 0.0f);
        for (int col = 0; col < 3; ++col)
            CU_ASSERT(fabsf(back[3 * row + col] - rows[row][col]) <= 0.501f * tensor.scale[row]);
    }
    drop(&tensor);
}

static void test_rows_that_are_rounded_in_pieces_are_those_of_the_whole(void)
{
    static const bal_format formats[] = {BAL_F32, BAL_I8, BAL_I4, BAL_NF4};
    enum { N_ROWS = 200, N_COLS = 66 };
    uint64_t state = SEED;
    float *values = random_values(N_ROWS * N_COLS, &state);
    memset(values + 3 * N_COLS, 0, N_COLS * sizeof *values); /* takes a scale from all pieces */
    memset(values + 199 * N_COLS, 0, N_COLS * sizeof *values);
    for (size_t f = 0; f < 4; ++f) {
        bal_tensor whole = tensor_of("m", BAL_MATRIX, formats[f], N_ROWS, N_COLS);
        size_t n_left = (size_t)whole.n_blocks * BAL_BLOCK_CODES + 1;
        int8_t *left[2] = {bal_alloc(n_left, 1), bal_alloc(n_left, 1)};
        bal_tensor pieces = tensor_of("m", BAL_MATRIX, formats[f], N_ROWS, N_COLS);
        CU_ASSERT_FATAL(left[0] != NULL && left[1] != NULL);
        CU_ASSERT_EQUAL(bal_tensor_quantize(&whole, values, left[0]), BAL_OK);
        for (int64_t first = 0, n; first < N_ROWS; first += n) {
            n = first == 0 ? 128 : first == 128 ? 64 : 8;
            bal_tensor rows = bal_tensor_rows(&pieces, first, n);
            int8_t *here = left[1] + rows.first_block * BAL_BLOCK_CODES;
            CU_ASSERT_EQUAL(bal_tensor_quantize(&rows, values + first * N_COLS, here), BAL_OK);
        }
        bal_tensor_level(&pieces);
        CU_ASSERT_EQUAL(memcmp(left[0], left[1], n_left), 0);
        size_t n_bytes = bal_tensor_bytes(&whole);
        CU_ASSERT_EQUAL(memcmp(whole.codes, pieces.codes, n_bytes), 0);
        free(left[0]);
        free(left[1]);
        drop(&whole);
        drop(&pieces);
    }
    free(values);
}

/* A tensor of four bits with groups. */
static bal_tensor nibbles(bal_format format, int group, int64_t n_rows, int64_t n_cols)
{
    bal_tensor tensor;
    CU_ASSERT_EQUAL_FATAL(bal_tensor_init(&tensor, "m.weight", BAL_MATRIX, format, n_rows, n_cols),
                          BAL_OK);
    tensor.group = group;
    void *memory = bal_alloc(bal_tensor_bytes(&tensor), 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(memory);
    bal_tensor_attach(&tensor, memory);
    bal_tensor_zero(&tensor);
    return tensor;
}

/* The weight of a code of a group, in units of its row's scale. */
static int entry_of(bal_format format, int code, int factor)
{
    return format == BAL_I4 ? code * factor : (bal_nf4_book[code] * factor + 64) >> 7;
}

/* Of all codes none is nearer, and no other factor next to it leaves less. */
static void check_group(const bal_tensor *t, const float *values, const int8_t *codes, int64_t n,
                        float scale, int factor)
{
    double sums[3] = {0};
    for (int64_t i = 0; i < n; ++i) {
        double x = (double)(values[i] / scale), nearest[3];
        for (int step = -1; step <= 1; ++step) {
            nearest[step + 1] = INFINITY;
            for (int code = t->low; code <= t->high; ++code)
                nearest[step + 1] =
                    fmin(nearest[step + 1], fabs(x - entry_of(t->format, code, factor + step)));
            sums[step + 1] += nearest[step + 1] * nearest[step + 1];
        }
        double found = fabs(x - entry_of(t->format, codes[i], factor));
        CU_ASSERT(found <= nearest[1] + 1e-3);
    }
    float absmax = 0.0f; /* the factor is one of the two next to absmax / 126 of the largest */
    for (int64_t i = 0; i < n; ++i) absmax = fmaxf(absmax, fabsf(values[i]));
    double exact = (double)(absmax / scale) * (t->format == BAL_I4 ? 18 : 127) / 126;
    CU_ASSERT(fabs(exact - factor) < 1.0 + 1e-3 || factor == 1);
    if (factor > exact + 1e-3 && factor > 1) CU_ASSERT(sums[1] <= sums[0] * (1 + 1e-6) + 1e-6);
}

static void test_four_bits_are_rounded_to_the_nearest_weight(void)
{
    uint64_t state = SEED;
    for (int run = 0; run < 12; ++run) {
        bal_format format = run % 2 == 0 ? BAL_I4 : BAL_NF4;
        int group = 32 << run / 2 % 3;
        int64_t n_rows = run < 6 ? 3 : 70, n_cols = run < 6 ? 300 : 45;
        bal_tensor t = nibbles(format, group, n_rows, n_cols);
        float *values = random_values(n_rows * n_cols, &state);
        for (int64_t i = 0; i < n_rows * n_cols; ++i) /* groups of different size */
            values[i] *= (float)(1 + i % n_cols / group * 5) * (float)(1 + i / n_cols);
        CU_ASSERT_EQUAL(bal_tensor_quantize(&t, values, NULL), BAL_OK);
        int64_t n_groups = bal_tensor_n_groups(&t);
        int8_t *codes = malloc((size_t)(n_rows * n_cols));
        uint8_t *factors = malloc((size_t)(n_rows * n_groups));
        float *back = malloc((size_t)(n_rows * n_cols) * sizeof *back);
        CU_ASSERT_FATAL(codes != NULL && factors != NULL && back != NULL);
        bal_tensor_get_codes(&t, codes);
        bal_tensor_get_factors(&t, factors);
        bal_tensor_dequantize(&t, back);
        int n_bad = 0;
        for (int64_t row = 0; row < n_rows; ++row)
            for (int64_t g = 0; g < n_groups; ++g) {
                int64_t at = row * n_cols + g * group;
                int64_t n = n_cols - g * group < group ? n_cols - g * group : group;
                int factor = factors[row * n_groups + g];
                check_group(&t, values + at, codes + at, n, t.scale[row], factor);
                for (int64_t i = at; i < at + n; ++i)
                    n_bad += back[i] != t.scale[row] * (float)entry_of(format, codes[i], factor);
            }
        CU_ASSERT_EQUAL(n_bad, 0);
        free(codes);
        free(factors);
        free(back);
        free(values);
        drop(&t);
    }
}

/* Code plus what is left over is the weight, between the weights of two codes. */
static void test_what_four_bits_leave_over_says_how_far_the_next_weight_is(void)
{
    static const float values[] = {126, 9, 27, -9.5f, -126, 54, 0, 4.5f}; /* scale 1, factor 18 */
    static const int codes[] = {7, 0, 2, -1, -7, 3, 0, 0},
                     over[] = {0, 127, -128, 121, 0, 0, 0, 64};
    bal_tensor t = nibbles(BAL_I4, 32, 1, 8);
    int8_t found[8], left[8];
    quantize_to(&t, values, left);
    CU_ASSERT_EQUAL(t.scale[0], 1.0f);
    CU_ASSERT_EQUAL(t.factors[0], 18);
    bal_tensor_get_codes(&t, found);
    for (int i = 0; i < 8; ++i) {
        CU_ASSERT_EQUAL(found[i], codes[i]);
        CU_ASSERT_EQUAL(left[i], over[i]);
    }
    drop(&t);
    bal_tensor n = nibbles(BAL_NF4, 32, 1, 4);
    const int e6 = entry_of(BAL_NF4, 6, 127), e5 = entry_of(BAL_NF4, 5, 127);
    const float three = (float)(3 * e6 + e5) / 4; /* a quarter of the way from 6 down to 5 */
    const float four[] = {126, three, (float)entry_of(BAL_NF4, 9, 127), 200};
    const float used[] = {four[0], four[1], four[2], -126};
    quantize_to(&n, used, left);
    bal_tensor_get_codes(&n, found);
    CU_ASSERT(found[0] == 15 && found[1] == 6 && found[2] == 9 && found[3] == 0);
    CU_ASSERT(left[0] == 0 && left[1] == -64 && left[2] == 0 && left[3] == 0);
    drop(&n);
}

static void test_nibbles_come_back_from_bytes_and_from_files(void)
{
    for (int format = BAL_I4; format <= BAL_NF4; ++format) {
        bal_tensor t = nibbles((bal_format)format, 64, 67, 133),
                   u = nibbles((bal_format)format, 64, 67, 133);
        uint64_t state = SEED;
        int8_t codes[67 * 133], back[67 * 133];
        uint8_t bytes[2 * 256];
        for (size_t i = 0; i < sizeof codes; ++i)
            codes[i] =
                (int8_t)(t.low + (int)(bal_test_random(&state) % (unsigned)(t.high - t.low + 1)));
        CU_ASSERT_EQUAL(bal_tensor_set_codes(&t, codes), BAL_OK);
        bal_tensor_get_codes(&t, back);
        CU_ASSERT_EQUAL(memcmp(codes, back, sizeof codes), 0);
        for (int64_t block = 0; block + 2 <= t.n_blocks; block += 2) {
            bal_tensor_spread(&t, block, 2, bytes);
            for (int i = 0; i < 512; ++i)
                CU_ASSERT_EQUAL(bytes[i] - 128, bal_tensor_code(&t, block * 256 + i));
            bal_tensor_gather(&u, block, 2, bytes);
        }
        CU_ASSERT_EQUAL(memcmp(t.codes, u.codes, (size_t)t.n_blocks * 128), 0);
        CU_ASSERT_EQUAL(bal_tensor_fingerprint(&t, 3), bal_tensor_fingerprint(&u, 3));
        u.factors[5] ^= 3; /* fingerprints see factors */
        CU_ASSERT_NOT_EQUAL(bal_tensor_fingerprint(&t, 3), bal_tensor_fingerprint(&u, 3));
        codes[5] = (int8_t)(t.high + 1);
        CU_ASSERT_EQUAL(bal_tensor_set_codes(&t, codes), BAL_ERR_INPUT);
        uint8_t factors[67 * 3];
        memset(factors, 1, sizeof factors);
        CU_ASSERT_EQUAL(bal_tensor_set_factors(&t, factors), BAL_OK);
        factors[7] = 0;
        CU_ASSERT_EQUAL(bal_tensor_set_factors(&t, factors), BAL_ERR_INPUT);
        factors[7] = 128;
        CU_ASSERT_EQUAL(bal_tensor_set_factors(&t, factors), BAL_ERR_INPUT);
        drop(&t);
        drop(&u);
    }
}

static void test_values_that_are_not_finite_are_refused(void)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int format = 0; format < 3; ++format)
        for (int i = 0; i < 3; ++i) {
            float values[6] = {1, 2, 3, 4, bad[i], 6};
            bal_tensor tensor = tensor_of("some.weight", format == 1 ? BAL_VECTOR : BAL_MATRIX,
                                          format == 0   ? BAL_I8
                                          : format == 1 ? BAL_I16
                                                        : BAL_F32,
                                          1, 6);
            CU_ASSERT_EQUAL(bal_tensor_quantize(&tensor, values, NULL), BAL_ERR_INPUT);
            CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "some.weight: element 4"));
            drop(&tensor);
        }
}

static void test_codes_and_bytes_beside_them_keep_their_place(void)
{
    uint64_t state = SEED;
    for (size_t i = 0; i < N_SHAPES; ++i) {
        bal_tensor tensor = matrix(shapes[i][0], shapes[i][1]);
        int64_t n = bal_tensor_n(&tensor), n_across = (shapes[i][1] + 3) / 4;
        int8_t *codes = malloc((size_t)n), *rows = malloc((size_t)n), *back = malloc((size_t)n);
        int8_t *bytes = bal_alloc((size_t)tensor.n_blocks, BAL_BLOCK_CODES);
        CU_ASSERT_FATAL(codes != NULL && rows != NULL && back != NULL && bytes != NULL);
        CU_ASSERT_EQUAL(tensor.n_blocks, (shapes[i][0] + 63) / 64 * n_across);
        for (int64_t at = 0; at < n; ++at) {
            codes[at] = (int8_t)((int)(bal_test_random(&state) % 255) - 127);
            rows[at] = (int8_t)bal_test_random(&state);
        }
        CU_ASSERT_EQUAL(bal_tensor_set_codes(&tensor, codes), BAL_OK);
        bal_tensor_set_bytes(&tensor, rows, bytes);
        bal_tensor_get_codes(&tensor, back);
        CU_ASSERT_EQUAL(memcmp(back, codes, (size_t)n), 0);
        bal_tensor_get_bytes(&tensor, bytes, back);
        CU_ASSERT_EQUAL(memcmp(back, rows, (size_t)n), 0);
        int n_bad = 0; /* the formula of the header, and everything else padding */
        for (int64_t row = 0; row < shapes[i][0]; ++row)
            for (int64_t col = 0; col < shapes[i][1]; ++col) {
                int64_t at = ((row / 64) * n_across + col / 4) * 256 + row % 64 * 4 + col % 4;
                n_bad += ((uint8_t *)tensor.codes)[at] - 128 != codes[row * shapes[i][1] + col];
                n_bad += bytes[at] != rows[row * shapes[i][1] + col];
                ((uint8_t *)tensor.codes)[at] = 0;
                bytes[at] = 0;
            }
        for (int64_t at = 0; at < tensor.n_blocks * 256; ++at)
            n_bad += ((uint8_t *)tensor.codes)[at] != 0 || bytes[at] != 0;
        CU_ASSERT_EQUAL(n_bad, 0);
        free(codes);
        free(rows);
        free(back);
        free(bytes);
        drop(&tensor);
    }
}

static void test_vectors_and_gains_lie_in_order_before_their_padding(void)
{
    for (int role = BAL_VECTOR; role <= BAL_GAIN; ++role) {
        bal_tensor tensor = vector((bal_role)role, 300);
        int limit = role == BAL_GAIN ? 127 : 32767;
        int16_t codes[300], back[300];
        CU_ASSERT_EQUAL(tensor.high, limit);
        CU_ASSERT_EQUAL(tensor.low, -limit);
        CU_ASSERT_EQUAL_FATAL(tensor.n_blocks, 2);
        for (int i = 0; i < 300; ++i) codes[i] = (int16_t)(i % 2 == 0 ? limit - i : i - limit);
        if (role == BAL_GAIN)
            for (int i = 0; i < 300; ++i) codes[i] = (int16_t)(i % 255 - 127);
        CU_ASSERT_EQUAL(bal_tensor_set_codes(&tensor, codes), BAL_OK);
        bal_tensor_get_codes(&tensor, back);
        CU_ASSERT_EQUAL(memcmp(back, codes, sizeof codes), 0);
        CU_ASSERT_EQUAL(memcmp(tensor.codes, codes, sizeof codes), 0);
        for (int at = 300; at < 512; ++at)
            CU_ASSERT_EQUAL(((int16_t *)tensor.codes)[at], -limit - 1);
        drop(&tensor);
    }
}

static void test_padding_is_never_read_back(void)
{
    uint64_t state = SEED;
    bal_tensor tensor = matrix(70, 10);
    float *values = random_values(700, &state), before[700], after[700];
    CU_ASSERT_EQUAL(bal_tensor_quantize(&tensor, values, NULL), BAL_OK);
    bal_tensor_dequantize(&tensor, before);
    for (int64_t at = 0; at < tensor.n_blocks * 256; ++at)
        if (bal_tensor_code(&tensor, at) == -128) bal_tensor_put(&tensor, at, 99);
    bal_tensor_dequantize(&tensor, after);
    CU_ASSERT_EQUAL(memcmp(before, after, sizeof before), 0);
    free(values);
    drop(&tensor);
}

static void test_codes_out_of_range_are_refused(void)
{
    bal_tensor m = matrix(2, 2), g = vector(BAL_GAIN, 2), v = vector(BAL_VECTOR, 2);
    const int8_t bytes[] = {1, 127, -127, -128};
    const int16_t gains[] = {127, 128};
    const int16_t weights[] = {32767, -32768};
    CU_ASSERT_EQUAL(bal_tensor_set_codes(&m, bytes), BAL_ERR_INPUT);
    CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "code 3 is -128"));
    CU_ASSERT_EQUAL(bal_tensor_set_codes(&g, gains), BAL_ERR_INPUT);
    CU_ASSERT_EQUAL(bal_tensor_set_codes(&v, weights), BAL_ERR_INPUT);
    drop(&m);
    drop(&g);
    drop(&v);
}

static void test_the_parts_of_a_tensor_lie_apart_in_its_memory(void)
{
    static const bal_format formats[] = {
        [BAL_MATRIX] = BAL_I8, [BAL_VECTOR] = BAL_I16, [BAL_GAIN] = BAL_I16};
    for (size_t i = 0; i < N_SHAPES; ++i)
        for (int role = BAL_MATRIX; role <= BAL_GAIN; ++role) {
            int64_t n_rows = role == BAL_MATRIX ? shapes[i][0] : 1, n_cols = shapes[i][1];
            bal_format format = formats[role];
            bal_tensor t = tensor_of("t", (bal_role)role, format, n_rows, n_cols), again = t;
            size_t n = (size_t)t.n_blocks * 256, n_bytes = bal_tensor_bytes(&t);
            char *first = t.codes, *codes_end = first + n * (format == BAL_I8 ? 1 : 2);
            CU_ASSERT(n_bytes % 64 == 0 && (uintptr_t)t.scale % 64 == 0);
            CU_ASSERT(codes_end <= (char *)t.scale &&
                      (char *)(t.scale + n_rows) <= first + n_bytes);
            CU_ASSERT(role != BAL_MATRIX || codes_end + 4096 <= first + n_bytes);
            ((int8_t *)t.codes)[0] = 3; /* a second description of the same memory changes none */
            uint64_t before = bal_tensor_fingerprint(&t, 0);
            bal_tensor_attach(&again, first);
            CU_ASSERT_EQUAL(bal_tensor_fingerprint(&again, 0), before);
            drop(&t);
        }
}

static void test_impossible_sizes_are_refused(void)
{
    static const int64_t bad[][2] = {{0, 1},
                                     {1, 0},
                                     {-1, 4},
                                     {4, -1},
                                     {INT64_MAX, 2},
                                     {INT64_MAX, INT64_MAX},
                                     {1 << 16, 1 << 16},
                                     {((int64_t)1 << 31) + 1, 1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i) {
        bal_tensor tensor;
        CU_ASSERT_EQUAL(bal_tensor_init(&tensor, "m", BAL_MATRIX, BAL_I8, bad[i][0], bad[i][1]),
                        BAL_ERR_ARG);
    }
}

static void test_any_bit_of_codes_and_scales_changes_the_fingerprint(void)
{
    bal_tensor tensors[] = {matrix(65, 5), vector(BAL_VECTOR, 257), vector(BAL_GAIN, 3)};
    for (int k = 0; k < 3; ++k) {
        bal_tensor *t = &tensors[k];
        size_t n = (size_t)t->n_blocks * 256;
        uint64_t before = bal_tensor_fingerprint(t, 4);
        int n_missed = 0;
        uint8_t *parts[] = {t->codes, (uint8_t *)t->scale};
        size_t n_bytes[] = {n * (t->format == BAL_I8 ? 1 : 2), 4 * (size_t)t->n_rows};
        for (int part = 0; part < 2; ++part)
            for (size_t bit = 0; bit < 8 * n_bytes[part]; ++bit) {
                parts[part][bit / 8] ^= (uint8_t)(1 << bit % 8);
                n_missed += bal_tensor_fingerprint(t, 4) == before;
                parts[part][bit / 8] ^= (uint8_t)(1 << bit % 8);
            }
        CU_ASSERT_EQUAL(n_missed, 0);
        CU_ASSERT_EQUAL(bal_tensor_fingerprint(t, 4), before);
        CU_ASSERT_NOT_EQUAL(bal_tensor_fingerprint(t, 5), before); /* its place counts */
        drop(t);
    }
}

static void test_the_fingerprint_depends_on_nothing_else(void)
{
    uint64_t state = SEED;
    bal_tensor a = matrix(70, 9), b = matrix(70, 9);
    float *values = random_values(630, &state);
    int8_t codes[630];
    CU_ASSERT_EQUAL(bal_tensor_quantize(&a, values, NULL), BAL_OK);
    bal_tensor_get_codes(&a, codes); /* the other tensor gets there by another way */
    CU_ASSERT_EQUAL(bal_tensor_set_codes(&b, codes), BAL_OK);
    memcpy(b.scale, a.scale, 70 * sizeof *b.scale);
    snprintf(b.name, sizeof b.name, "another name");
    CU_ASSERT_EQUAL(bal_tensor_fingerprint(&a, 0), bal_tensor_fingerprint(&b, 0));
    int8_t *block = b.codes, other[256]; /* the same blocks in another order are another tensor */
    memcpy(other, block, 256);
    memcpy(block, block + 256, 256);
    memcpy(block + 256, other, 256);
    CU_ASSERT_NOT_EQUAL(bal_tensor_fingerprint(&a, 0), bal_tensor_fingerprint(&b, 0));
    free(values);
    drop(&a);
    drop(&b);
}

static void test_parts_of_a_fingerprint_add_up_to_it(void)
{
    uint64_t state = SEED;
    bal_tensor tensors[] = {matrix(70, 9), matrix(1, 1), vector(BAL_VECTOR, 900),
                            tensor_of("f", BAL_MATRIX, BAL_F32, 3, 50)};
    for (int k = 0; k < 4; ++k) {
        bal_tensor *t = &tensors[k];
        float *values = random_values(bal_tensor_n(t), &state);
        CU_ASSERT_EQUAL(bal_tensor_quantize(t, values, NULL), BAL_OK);
        for (int n_parts = 1; n_parts <= 9; ++n_parts) { /* more parts than blocks, too */
            uint64_t sum = 0;
            for (int part = 0; part < n_parts; ++part)
                sum += bal_tensor_fingerprint_part(t, 7, part, n_parts);
            CU_ASSERT_EQUAL(sum, bal_tensor_fingerprint(t, 7));
        }
        free(values);
        drop(t);
    }
}

const char bal_suite_name[] = "quant_tensor";
const bal_test bal_suite_tests[] = {
    {"the absmax of a matrix row is code 120", test_the_absmax_of_a_matrix_row_is_code_120},
    {"the absmax of a vector is code 250", test_the_absmax_of_a_vector_is_code_250},
    {"what rounding leaves over is told", test_what_rounding_leaves_over_is_told},
    {"rows of zeros and of next to nothing stay finite",
     test_rows_of_zeros_and_of_next_to_nothing_stay_finite},
    {"rows that are rounded in pieces are those of the whole",
     test_rows_that_are_rounded_in_pieces_are_those_of_the_whole},
    {"four bits are rounded to the nearest weight",
     test_four_bits_are_rounded_to_the_nearest_weight},
    {"what four bits leave over says how far the next weight is",
     test_what_four_bits_leave_over_says_how_far_the_next_weight_is},
    {"nibbles come back from bytes and from files",
     test_nibbles_come_back_from_bytes_and_from_files},
    {"values that are not finite are refused", test_values_that_are_not_finite_are_refused},
    {"codes and bytes beside them keep their place",
     test_codes_and_bytes_beside_them_keep_their_place},
    {"vectors and gains lie in order before their padding",
     test_vectors_and_gains_lie_in_order_before_their_padding},
    {"padding is never read back", test_padding_is_never_read_back},
    {"codes out of range are refused", test_codes_out_of_range_are_refused},
    {"the parts of a tensor lie apart in its memory",
     test_the_parts_of_a_tensor_lie_apart_in_its_memory},
    {"impossible sizes are refused", test_impossible_sizes_are_refused},
    {"any bit of codes and scales changes the fingerprint",
     test_any_bit_of_codes_and_scales_changes_the_fingerprint},
    {"the fingerprint depends on nothing else", test_the_fingerprint_depends_on_nothing_else},
    {"parts of a fingerprint add up to it", test_parts_of_a_fingerprint_add_up_to_it},
    {NULL, NULL},
};
