/* quant_states.c: lists of tensors, and what is remembered beside their codes. */
#include <stdlib.h>
#include <string.h>

#include "ballot/states.h"
#include "suite.h"

/* Three tensors of zeros, and two states of any bytes. */
static void make(bal_tensors *tensors, bal_states *states)
{
    uint64_t random = 20240601u;
    *tensors = (bal_tensors){0};
    *states = (bal_states){.n = 2, .at = {{.name = "carry", .from_rounding = true}, {.name = "m"}}};
    CU_ASSERT_EQUAL_FATAL(bal_tensors_add(tensors, "a.weight", BAL_MATRIX, BAL_I8, 65, 9), BAL_OK);
    CU_ASSERT_EQUAL_FATAL(bal_tensors_add(tensors, "a.gain", BAL_GAIN, BAL_I16, 1, 65), BAL_OK);
    CU_ASSERT_EQUAL_FATAL(bal_tensors_add(tensors, "b.weight", BAL_MATRIX, BAL_I4, 3, 130), BAL_OK);
    CU_ASSERT_EQUAL_FATAL(bal_tensors_allocate(tensors), BAL_OK);
    bal_tensors_zero(tensors);
    CU_ASSERT_EQUAL_FATAL(bal_states_allocate(states, tensors), BAL_OK);
    for (size_t i = 0; i < bal_states_bytes(states, tensors); ++i)
        states->at[0].memory[i] = (char)bal_test_random(&random);
}

static void drop(bal_tensors *tensors, bal_states *states)
{
    bal_states_clear(states);
    bal_tensors_clear(tensors);
}

static void test_each_tensor_has_its_own_bytes_of_each_state(void)
{
    bal_tensors tensors;
    bal_states states;
    make(&tensors, &states);
    int8_t *next = (int8_t *)states.at[0].memory;
    for (int k = 0; k < states.n; ++k)
        for (int i = 0; i < tensors.n; ++i) {
            int8_t *bytes = bal_state_of(&states.at[k], &tensors.at[i]);
            CU_ASSERT(bytes == next && (uintptr_t)bytes % 64 == 0);
            next += tensors.at[i].n_blocks * BAL_BLOCK_CODES;
        }
    CU_ASSERT_EQUAL((size_t)((char *)next - states.at[0].memory),
                    bal_states_bytes(&states, &tensors));
    CU_ASSERT_EQUAL(bal_tensors_find(&tensors, "b.weight"), 2);
    CU_ASSERT_EQUAL(bal_tensors_find(&tensors, "b"), -1);
    drop(&tensors, &states);
}

static void test_rounding_leaves_over_to_the_state_that_asks_for_it(void)
{
    bal_tensors tensors;
    bal_states states;
    make(&tensors, &states);
    const bal_tensor *b = &tensors.at[2];
    CU_ASSERT_PTR_EQUAL(bal_states_leftover(&states, b), bal_state_of(&states.at[0], b));
    states.at[0].from_rounding = false;
    states.at[1].from_rounding = true;
    CU_ASSERT_PTR_EQUAL(bal_states_leftover(&states, b), bal_state_of(&states.at[1], b));
    states.at[1].from_rounding = false;
    CU_ASSERT_PTR_NULL(bal_states_leftover(&states, b));
    CU_ASSERT_PTR_NULL(bal_states_leftover(NULL, b));
    drop(&tensors, &states);
}

static void test_any_bit_changes_the_fingerprint_and_its_place_counts(void)
{
    bal_tensors tensors;
    bal_states states;
    make(&tensors, &states);
    size_t n_bytes = bal_states_bytes(&states, &tensors);
    uint64_t before = bal_states_fingerprint(&states, &tensors);
    int n_missed = 0;
    for (size_t bit = 0; bit < 8 * n_bytes; bit += 13) {
        states.at[0].memory[bit / 8] ^= (char)(1 << bit % 8);
        n_missed += bal_states_fingerprint(&states, &tensors) == before;
        states.at[0].memory[bit / 8] ^= (char)(1 << bit % 8);
    }
    CU_ASSERT_EQUAL(n_missed, 0);
    char *bytes = states.at[0].memory;
    states.at[0].memory = states.at[1].memory; /* the other way round */
    states.at[1].memory = bytes;
    CU_ASSERT_NOT_EQUAL(bal_states_fingerprint(&states, &tensors), before);
    states.n = 0;
    CU_ASSERT_EQUAL(bal_states_fingerprint(&states, &tensors), bal_tensors_fingerprint(&tensors));
    drop(&tensors, &states);
}

static void test_parts_of_a_fingerprint_add_up_to_it(void)
{
    bal_tensors tensors;
    bal_states states;
    make(&tensors, &states);
    for (int n_parts = 1; n_parts <= 9; ++n_parts) {
        uint64_t sum = 0, by_tensor = 0;
        for (int part = 0; part < n_parts; ++part) {
            sum += bal_states_fingerprint_part(&states, &tensors, part, n_parts);
            for (int i = 0; i < tensors.n; ++i)
                by_tensor += bal_tensor_fingerprint_part(&tensors.at[i], i, part, n_parts) +
                             bal_states_fingerprint_of(&states, &tensors, i, part, n_parts);
        }
        CU_ASSERT_EQUAL(sum, bal_states_fingerprint(&states, &tensors));
        CU_ASSERT_EQUAL(by_tensor, sum);
    }
    drop(&tensors, &states);
}

static void test_real_numbers_take_a_byte_and_a_scale_for_each_block(void)
{
    static const int groups[] = {256, 2048, 0};
    bal_tensors tensors = {0};
    CU_ASSERT_EQUAL_FATAL(bal_tensors_add(&tensors, "a", BAL_MATRIX, BAL_I8, 640, 36), BAL_OK);
    CU_ASSERT_EQUAL_FATAL(bal_tensors_add(&tensors, "table", BAL_MATRIX, BAL_I8, 128, 40), BAL_OK);
    CU_ASSERT_EQUAL_FATAL(bal_tensors_add(&tensors, "small", BAL_MATRIX, BAL_I8, 64, 60), BAL_OK);
    tensors.at[1].looked_up = true;
    for (size_t g = 0; g < sizeof groups / sizeof *groups; ++g) {
        bal_states states = {.n = 2,
                             .at = {{.name = "carry"}, {.name = "m", .kind = BAL_STATE_REAL}}};
        bal_states_set_group(&states, groups[g]);
        CU_ASSERT_EQUAL_FATAL(bal_states_allocate(&states, &tensors), BAL_OK);
        size_t n_bytes = 0;
        for (int i = 0; i < tensors.n; ++i) {
            size_t n = (size_t)tensors.at[i].n_blocks * BAL_BLOCK_CODES;
            size_t group = (size_t)groups[g],
                   n_scales = group > 0 && i == 0 ? (n + group - 1) / group : 0;
            CU_ASSERT_EQUAL(bal_state_n_scales(&states.at[1], &tensors.at[i]), (int64_t)n_scales);
            CU_ASSERT_EQUAL(bal_state_width(&states.at[1], &tensors.at[i]), n_scales > 0 ? 1 : 4);
            n_bytes += n + (n_scales > 0 ? n + (4 * n_scales + 63) / 64 * 64 : 4 * n);
            bal_reals reals = bal_state_reals(&states.at[1], &tensors, i);
            CU_ASSERT((reals.floats == NULL) == (n_scales > 0));
            CU_ASSERT((uintptr_t)(n_scales > 0 ? (void *)reals.codes : reals.floats) % 64 == 0);
        }
        CU_ASSERT_EQUAL(bal_states_bytes(&states, &tensors), n_bytes);
        bal_states_clear(&states);
    }
    bal_tensors_clear(&tensors);
}

static void test_lists_match_by_name_format_and_size(void)
{
    bal_tensors a, b;
    bal_states states;
    for (int change = 0; change < 5; ++change) {
        make(&a, &states);
        bal_states_clear(&states);
        make(&b, &states);
        if (change == 1) b.at[2].name[0] = 'c';
        if (change == 2) b.at[2].group = 32;
        if (change == 3) ++b.at[2].n_cols;
        if (change == 4) --b.n;
        CU_ASSERT_EQUAL(bal_tensors_match(&a, &b), change == 0);
        CU_ASSERT_EQUAL(bal_tensors_match(&b, &a), change == 0);
        bal_tensors_clear(&a);
        drop(&b, &states);
    }
}

const char bal_suite_name[] = "quant_states";
const bal_test bal_suite_tests[] = {
    {"each tensor has its own bytes of each state",
     test_each_tensor_has_its_own_bytes_of_each_state},
    {"rounding leaves over to the state that asks for it",
     test_rounding_leaves_over_to_the_state_that_asks_for_it},
    {"any bit changes the fingerprint, and its place counts",
     test_any_bit_changes_the_fingerprint_and_its_place_counts},
    {"parts of a fingerprint add up to it", test_parts_of_a_fingerprint_add_up_to_it},
    {"real numbers take a byte, and a scale for each block",
     test_real_numbers_take_a_byte_and_a_scale_for_each_block},
    {"lists match by name, format and size", test_lists_match_by_name_format_and_size},
    {NULL, NULL},
};
