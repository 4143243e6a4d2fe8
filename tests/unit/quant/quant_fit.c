/* quant_fit.c: scales by the least squared error. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ballot/quant.h"
#include "suite.h"

#define SEED 20240602u
#define N_ROWS 67
#define N_COLS 150

static const struct {
    bal_format format;
    int group;
} formats[] = {{BAL_I8, 0},   {BAL_I4, 32},  {BAL_I4, 64},
               {BAL_I4, 128}, {BAL_NF4, 32}, {BAL_NF4, 128}};
#define N_FORMATS (sizeof formats / sizeof *formats)

static bal_tensor tensor_of(size_t which)
{
    bal_tensor tensor;
    bal_format format = formats[which].format;
    CU_ASSERT_EQUAL_FATAL(bal_tensor_init(&tensor, "m.weight", BAL_MATRIX, format, N_ROWS, N_COLS),
                          BAL_OK);
    tensor.group = formats[which].group;
    void *memory = bal_alloc(bal_tensor_bytes(&tensor), 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(memory);
    bal_tensor_attach(&tensor, memory);
    bal_tensor_zero(&tensor);
    return tensor;
}

/* Sums of uniform numbers; of heavy tails, one in twenty is many times as large. */
static void fill(float *values, bool heavy, uint64_t *state)
{
    for (int i = 0; i < N_ROWS * N_COLS; ++i) {
        int sum = 0;
        for (int j = 0; j < 6; ++j) sum += (int)(bal_test_random(state) % 2001) - 1000;
        float tail = heavy && bal_test_random(state) % 20 == 0 ? 8.0f : 1.0f;
        values[i] = 1e-3f * tail * (float)sum;
    }
}

/* What some columns count more than others. */
static void fill_weights(float *weights, uint64_t *state)
{
    for (int col = 0; col < N_COLS; ++col)
        weights[col] = powf(10.0f, (float)(bal_test_random(state) % 5) - 2.0f);
}

/* Squared error of a row; weights NULL: all alike. */
static double error_of(const bal_tensor *tensor, int64_t row, const float *values,
                       const float *weights)
{
    float back[N_COLS];
    double sum = 0.0;
    bal_tensor_dequantize_row(tensor, row, back);
    for (int64_t col = 0; col < N_COLS; ++col) {
        double error = (double)back[col] - (double)values[row * N_COLS + col];
        sum += error * error * (weights != NULL ? (double)weights[col] : 1.0);
    }
    return sum;
}

static void test_no_row_has_a_greater_error_than_rounding_by_its_largest_weight(void)
{
    uint64_t state = SEED;
    static float values[N_ROWS * N_COLS], weights[N_COLS];
    for (size_t i = 0; i < 4 * N_FORMATS; ++i) {
        bal_tensor by_absmax = tensor_of(i % N_FORMATS), fitted = tensor_of(i % N_FORMATS);
        bool heavy = i / N_FORMATS % 2 == 1;
        const float *counts = i / N_FORMATS < 2 ? NULL : weights;
        double before = 0.0, after = 0.0;
        fill(values, heavy, &state);
        fill_weights(weights, &state);
        CU_ASSERT_EQUAL_FATAL(bal_tensor_quantize(&by_absmax, values, NULL), BAL_OK);
        CU_ASSERT_EQUAL_FATAL(bal_tensor_fit(&fitted, values, counts, NULL), BAL_OK);
        for (int64_t row = 0; row < N_ROWS; ++row) {
            double most = error_of(&by_absmax, row, values, counts);
            double here = error_of(&fitted, row, values, counts);
            CU_ASSERT(here <= most * 1.0001);
            before += most, after += here;
        }
        CU_ASSERT(after < before * 0.99);
        free(by_absmax.codes);
        free(fitted.codes);
    }
}

static void test_columns_that_count_more_have_smaller_errors(void)
{
    uint64_t state = SEED;
    static float values[N_ROWS * N_COLS], weights[N_COLS];
    for (size_t i = 0; i < N_FORMATS; ++i) {
        bal_tensor alike = tensor_of(i), weighted = tensor_of(i);
        double without = 0.0, with = 0.0;
        fill(values, true, &state);
        fill_weights(weights, &state);
        CU_ASSERT_EQUAL_FATAL(bal_tensor_fit(&alike, values, NULL, NULL), BAL_OK);
        CU_ASSERT_EQUAL_FATAL(bal_tensor_fit(&weighted, values, weights, NULL), BAL_OK);
        for (int64_t row = 0; row < N_ROWS; ++row) {
            without += error_of(&alike, row, values, weights);
            with += error_of(&weighted, row, values, weights);
        }
        CU_ASSERT(with < without);
        free(alike.codes);
        free(weighted.codes);
    }
}

static void test_rows_of_zeros_and_of_extremes_stay_finite(void)
{
    static float values[N_ROWS * N_COLS];
    static const float sizes[] = {0.0f, 1e-42f, 1e-29f, 1e-20f, 1.0f, 1e30f};
    for (size_t i = 0; i < N_FORMATS; ++i) {
        bal_tensor tensor = tensor_of(i);
        for (int j = 0; j < N_ROWS * N_COLS; ++j)
            values[j] = sizes[j / N_COLS % 6] * (float)(j % 7 - 3);
        CU_ASSERT_EQUAL(bal_tensor_fit(&tensor, values, NULL, NULL), BAL_OK);
        for (int64_t row = 0; row < N_ROWS; ++row) {
            double error = error_of(&tensor, row, values, NULL), size = (double)sizes[row % 6];
            CU_ASSERT(isfinite(tensor.scale[row]) && tensor.scale[row] > 0.0f);
            CU_ASSERT(error <= 0.05 * 4.0 * N_COLS * size * size + 1e-50);
        }
        values[5] = NAN;
        CU_ASSERT_EQUAL(bal_tensor_fit(&tensor, values, NULL, NULL), BAL_ERR_INPUT);
        free(tensor.codes);
    }
}

static void test_what_is_left_over_and_the_weight_are_the_value_unless_it_was_clipped(void)
{
    uint64_t state = SEED;
    static float values[N_ROWS * N_COLS];
    bal_tensor tensor = tensor_of(0);
    int8_t *leftover = bal_alloc((size_t)tensor.n_blocks, BAL_BLOCK_CODES);
    static int8_t codes[N_ROWS * N_COLS], left[N_ROWS * N_COLS];
    CU_ASSERT_PTR_NOT_NULL_FATAL(leftover);
    fill(values, true, &state);
    static float weights[N_COLS];
    for (int i = 0; i < N_COLS; ++i) weights[i] = 1.0f;
    CU_ASSERT_EQUAL(bal_tensor_fit(&tensor, values, weights, leftover), BAL_OK);
    bal_tensor_get_codes(&tensor, codes);
    bal_tensor_get_bytes(&tensor, leftover, left);
    int n_clipped = 0;
    for (int i = 0; i < N_ROWS * N_COLS; ++i) {
        float steps = values[i] / tensor.scale[i / N_COLS];
        n_clipped += fabsf(steps) > 127.5f;
        if (fabsf(steps) <= 127.5f)
            CU_ASSERT(fabsf((float)codes[i] + (float)left[i] / 256 - steps) <= 1.01f / 256);
    }
    CU_ASSERT(n_clipped > 0);
    free(leftover);
    free(tensor.codes);
}

static void test_nothing_is_clipped_where_nothing_says_what_matters(void)
{
    uint64_t state = SEED;
    static float values[N_ROWS * N_COLS], row[N_COLS];
    fill(values, true, &state);
    for (size_t i = 0; i < N_FORMATS; ++i) {
        bal_tensor tensor = tensor_of(i);
        CU_ASSERT_EQUAL_FATAL(bal_tensor_fit(&tensor, values, NULL, NULL), BAL_OK);
        for (int64_t r = 0; r < N_ROWS; ++r) {
            const float *from = values + r * N_COLS;
            float most = 0.0f, error = 0.0f;
            bal_tensor_dequantize_row(&tensor, r, row);
            for (int col = 0; col < N_COLS; ++col)
                if (fabsf(from[col]) > most)
                    most = fabsf(from[col]), error = fabsf(row[col] - from[col]);
            CU_ASSERT(error <= 0.15f * most); /* half the top step of NF4 is 0.14 */
        }
        free(tensor.codes);
    }
}

const char bal_suite_name[] = "quant_fit";
const bal_test bal_suite_tests[] = {
    {"no row has a greater error than rounding by its largest weight leaves",
     test_no_row_has_a_greater_error_than_rounding_by_its_largest_weight},
    {"columns that count more have smaller errors",
     test_columns_that_count_more_have_smaller_errors},
    {"rows of zeros and of extremes stay finite", test_rows_of_zeros_and_of_extremes_stay_finite},
    {"what is left over and the weight are the value, unless it was clipped",
     test_what_is_left_over_and_the_weight_are_the_value_unless_it_was_clipped},
    {"nothing is clipped where nothing says what matters",
     test_nothing_is_clipped_where_nothing_says_what_matters},
    {NULL, NULL}};
