/* core_failure.c: what a failure means outside the program: exit codes and sentences. */
#include <string.h>

#include "ballot/core.h"
#include "suite.h"

static void test_exit_codes_are_those_users_script_against(void)
{
    static const struct {
        bal_status status;
        int code;
    } expected[] = {
        {BAL_OK, 0},         {BAL_ERR_FAILED, 1},  {BAL_ERR_IO, 1},     {BAL_ERR_STATE, 1},
        {BAL_ERR_MPI, 1},    {BAL_ERR_ARG, 2},     {BAL_ERR_CONFIG, 2}, {BAL_ERR_INPUT, 3},
        {BAL_ERR_MEMORY, 4}, {BAL_ERR_NUMERIC, 5}, {BAL_STOPPED, 75},   {BAL_LOST, 75},
    };
    int n_statuses = 0;
#define COUNT(name, code, words) ++n_statuses;
    BAL_STATUS_LIST(COUNT)
#undef COUNT
    CU_ASSERT_EQUAL(n_statuses, (int)(sizeof expected / sizeof *expected));
    for (size_t i = 0; i < sizeof expected / sizeof *expected; ++i)
        CU_ASSERT_EQUAL(bal_status_exit_code(expected[i].status), expected[i].code);
}

static void test_every_status_has_words_of_its_own(void)
{
    for (int a = BAL_OK; a <= BAL_LOST; ++a) {
        CU_ASSERT(strlen(bal_status_words((bal_status)a)) > 3);
        for (int b = BAL_OK; b < a; ++b)
            CU_ASSERT_STRING_NOT_EQUAL(bal_status_words((bal_status)a),
                                       bal_status_words((bal_status)b));
    }
}

static void test_the_last_failure_keeps_its_sentence(void)
{
    CU_ASSERT_EQUAL(bal_fail(BAL_ERR_INPUT, "%s: byte %d", "a.bin", 7), BAL_ERR_INPUT);
    CU_ASSERT_STRING_EQUAL(bal_failure(), "a.bin: byte 7");
    bal_fail(BAL_ERR_IO, "while saving: %s", bal_failure()); /* its own text as an argument */
    CU_ASSERT_STRING_EQUAL(bal_failure(), "while saving: a.bin: byte 7");
}

static void test_a_long_sentence_is_cut_at_1023_bytes(void)
{
    char text[3000];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    bal_fail(BAL_ERR_INPUT, "%s", text);
    CU_ASSERT_EQUAL(strlen(bal_failure()), 1023);
}

static bal_status pass_up(bal_status status, bool *went_on)
{
    BAL_TRY(status);
    *went_on = true;
    return BAL_OK;
}

static void test_try_passes_a_failure_up_and_goes_on_otherwise(void)
{
    bool went_on = false;
    CU_ASSERT_EQUAL(pass_up(BAL_ERR_MEMORY, &went_on), BAL_ERR_MEMORY);
    CU_ASSERT_FALSE(went_on);
    CU_ASSERT_EQUAL(pass_up(BAL_OK, &went_on), BAL_OK);
    CU_ASSERT_TRUE(went_on);
}

const char bal_suite_name[] = "core_failure";
const bal_test bal_suite_tests[] = {
    {"exit codes are those users script against", test_exit_codes_are_those_users_script_against},
    {"every status has words of its own", test_every_status_has_words_of_its_own},
    {"the last failure keeps its sentence", test_the_last_failure_keeps_its_sentence},
    {"a long sentence is cut at 1023 bytes", test_a_long_sentence_is_cut_at_1023_bytes},
    {"BAL_TRY passes a failure up and goes on otherwise",
     test_try_passes_a_failure_up_and_goes_on_otherwise},
    {NULL, NULL},
};
