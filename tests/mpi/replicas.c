/* replicas.c: a replica that drifted is found, and named. */
#include <stdlib.h>

#include "ballot/train.h"
#include "ranks.h"

/* The same small model on every rank. */
static bal_model *replica(void)
{
    const bal_model_config config = {.dim        = 12,
                                     .hidden     = 20,
                                     .n_layers   = 2,
                                     .n_heads    = 2,
                                     .n_kv_heads = 1,
                                     .head_dim   = 6,
                                     .n_vocab    = 70,
                                     .max_tokens = 8,
                                     .rope_base  = 1e4,
                                     .norm_eps   = 1e-5};
    bal_model             *model  = NULL;
    uint64_t               state  = 1;
    CU_ASSERT_EQUAL_FATAL(bal_model_create(&config, BAL_I8, true, &model), BAL_OK);
    for (int i = 0; i < bal_model_n_tensors(model); ++i) {
        bal_tensor *tensor = bal_model_tensor(model, i);
        int8_t      carry[1024];
        CU_ASSERT_FATAL(bal_tensor_n(tensor) <= 1024);
        for (int64_t at = 0; at < bal_tensor_n(tensor); ++at)
            carry[at] = (int8_t)bal_test_random(&state);
        bal_tensor_set_carry(tensor, carry);
    }
    return model;
}

/* A copy of every rank's own. */
static bal_status compare(const bal_model *model)
{
    bal_shared *shared = NULL;
    uint64_t    print  = 0;
    CU_ASSERT_EQUAL_FATAL(bal_shared_create(test_comm, 64, false, &shared), BAL_OK);
    bal_status status = bal_replicas_compare(test_comm, shared, model, &print);
    if (status == BAL_OK) CU_ASSERT_EQUAL(print, bal_model_fingerprint(model));
    bal_shared_destroy(&shared);
    return status;
}

static void test_equal_replicas_pass(void)
{
    bal_model *model = replica();
    CU_ASSERT_EQUAL(compare(model), BAL_OK);
    bal_model_destroy(&model);
}

/* With three ranks or more the majority is right and the sentence names the one that is not; of
 * two, nobody can say which. */
static void check_named(bal_model *model, int bad, int index)
{
    char        who[32];
    const char *name = bal_model_tensor(model, index)->name;
    snprintf(who, sizeof who, "of rank %d ", bad);
    CU_ASSERT_EQUAL(compare(model), BAL_ERR_STATE);
    CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), name));
    if (size > 2) CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), who));
}

static void test_a_replica_with_one_other_code_is_named_with_its_tensor(void)
{
    if (size == 1) return;
    bal_model *model = replica();
    for (int bad = 0; bad < size; ++bad)
        for (int index = 0; index < bal_model_n_tensors(model); index += 5) {
            uint8_t *code = (uint8_t *)bal_model_tensor(model, index)->codes + 5;
            if (rank == bad) *code ^= 1;
            check_named(model, bad, index);
            if (rank == bad) *code ^= 1;
        }
    CU_ASSERT_EQUAL(compare(model), BAL_OK);
    bal_model_destroy(&model);
}

static void test_a_replica_with_one_other_carry_or_scale_is_named(void)
{
    if (size == 1) return;
    bal_model  *model  = replica();
    bal_tensor *tensor = bal_model_tensor(model, 4);
    int         bad    = size - 1;
    if (rank == bad) tensor->carry[0] ^= 64;
    check_named(model, bad, 4);
    if (rank == bad) tensor->carry[0] ^= 64, tensor->scale[0] *= 2.0f;
    check_named(model, bad, 4);
    bal_model_destroy(&model);
}

const char     bal_suite_name[]  = "replicas";
const bal_test bal_suite_tests[] = {
    {"equal replicas pass", test_equal_replicas_pass},
    {"a replica with one other code is named with its tensor",
     test_a_replica_with_one_other_code_is_named_with_its_tensor},
    {"a replica with one other carry or scale is named",
     test_a_replica_with_one_other_carry_or_scale_is_named},
    {NULL, NULL},
};
