/* replicas.c: a replica that drifted is found, and named. */
#include <stdlib.h>

#include "ballot/model.h"
#include "ballot/optim.h"
#include "ballot/replicas.h"
#include "ranks.h"

/* The same small model on every rank of comm, one copy for each of its nodes or ranks. */
static bal_model *replica_on(bal_comm *comm, bool share, bal_shared **shared)
{
    const bal_model_config config = {.dim = 12,
                                     .hidden = 20,
                                     .n_layers = 2,
                                     .n_heads = 2,
                                     .n_kv_heads = 1,
                                     .head_dim = 6,
                                     .n_vocab = 70,
                                     .max_tokens = 8,
                                     .rope.base = 1e4,
                                     .norm_eps = 1e-5};
    bal_model *model = NULL;
    uint64_t state = 1;
    CU_ASSERT_EQUAL_FATAL(
        bal_model_outline(&config, &(bal_formats){.matrices = BAL_I8}, true, &model), BAL_OK);
    CU_ASSERT_EQUAL_FATAL(
        bal_shared_create(comm, bal_tensors_bytes(bal_model_tensors(model)), share, shared),
        BAL_OK);
    bal_tensors_attach(bal_model_tensors(model), bal_shared_memory(*shared));
    if (bal_shared_part(*shared) == 0) {
        bal_tensors_zero(bal_model_tensors(model));
        for (int i = 0; i < bal_model_tensors(model)->n; ++i) {
            bal_tensor *tensor = &bal_model_tensors(model)->at[i];
            int8_t carry[1024];
            CU_ASSERT_FATAL(bal_tensor_n(tensor) <= 1024);
            for (int64_t at = 0; at < bal_tensor_n(tensor); ++at)
                carry[at] = (int8_t)bal_test_random(&state);
            bal_tensor_set_carry(tensor, carry);
        }
    }
    CU_ASSERT_EQUAL(bal_shared_sync(*shared), BAL_OK);
    return model;
}

static bal_shared *own; /* of the model that each rank has for itself */
static bal_model *replica(void) { return replica_on(test_comm, false, &own); }
static void drop(bal_model **model)
{
    bal_model_destroy(model);
    bal_shared_destroy(&own);
}

static bal_status compare(const bal_model *model)
{
    uint64_t print = 0;
    bal_status status = bal_replicas_compare(test_comm, own, bal_model_tensors(model), &print);
    if (status == BAL_OK) CU_ASSERT_EQUAL(print, bal_tensors_fingerprint(bal_model_tensors(model)));
    return status;
}

static void test_equal_replicas_pass(void)
{
    bal_model *model = replica();
    CU_ASSERT_EQUAL(compare(model), BAL_OK);
    drop(&model);
}

/* With three ranks or more the majority is right and the sentence names the one that is not; of
 * two, nobody can say which. */
static void check_named(bal_model *model, int bad, int index)
{
    char who[32];
    const char *name = bal_model_tensors(model)->at[index].name;
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
        for (int index = 0; index < bal_model_tensors(model)->n; index += 5) {
            uint8_t *code = (uint8_t *)bal_model_tensors(model)->at[index].codes + 5;
            if (rank == bad) *code ^= 1;
            check_named(model, bad, index);
            if (rank == bad) *code ^= 1;
        }
    CU_ASSERT_EQUAL(compare(model), BAL_OK);
    drop(&model);
}

static void test_a_replica_with_one_other_carry_or_scale_is_named(void)
{
    if (size == 1) return;
    bal_model *model = replica();
    bal_tensor *tensor = &bal_model_tensors(model)->at[4];
    int bad = size - 1;
    if (rank == bad) tensor->carry[0] ^= 64;
    check_named(model, bad, 4);
    if (rank == bad) tensor->carry[0] ^= 64, tensor->scale[0] *= 2.0f;
    check_named(model, bad, 4);
    drop(&model);
}

static void test_a_node_with_one_other_code_is_named_by_its_first_rank(void)
{
    bal_comm *nodes = NULL;
    bal_shared *shared = NULL;
    uint64_t print = 0;
    /* the first node has one rank, the second all but two, the third the last */
    int node = rank == 0          ? 0
               : rank == size - 1 ? 2
                                  : 1,
        first = node == 0   ? 0
                : node == 1 ? 1
                            : rank;
    int n_nodes = size < 3 ? size : 3;
    CU_ASSERT_EQUAL_FATAL(bal_comm_create_on(MPI_COMM_WORLD, node, &nodes), BAL_OK);
    bal_model *model = replica_on(nodes, true, &shared);
    for (int index = 0; index < bal_model_tensors(model)->n; index += 7)
        for (int bad = 0; bad < size && n_nodes > 1; bad += bad == 1 && size > 3 ? size - 2 : 1) {
            int8_t *code = (int8_t *)bal_model_tensors(model)->at[index].codes + 5;
            char who[64];
            snprintf(who, sizeof who, "of rank %d differs from that of %d of %d copies", bad,
                     n_nodes - 1, n_nodes);
            if (first == bad && bal_shared_part(shared) == 0) *code ^= 1;
            CU_ASSERT_EQUAL(bal_shared_sync(shared), BAL_OK);
            CU_ASSERT_EQUAL(bal_replicas_compare(nodes, shared, bal_model_tensors(model), &print),
                            BAL_ERR_STATE);
            CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), bal_model_tensors(model)->at[index].name));
            if (n_nodes > 2) CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), who));
            if (first == bad && bal_shared_part(shared) == 0) *code ^= 1;
            CU_ASSERT_EQUAL(bal_shared_sync(shared), BAL_OK);
        }
    CU_ASSERT_EQUAL(bal_replicas_compare(nodes, shared, bal_model_tensors(model), &print), BAL_OK);
    CU_ASSERT_EQUAL(print, bal_tensors_fingerprint(bal_model_tensors(model)));
    CU_ASSERT_EQUAL(bal_shared_sync(shared), BAL_OK);
    bal_model_destroy(&model);
    bal_shared_destroy(&shared);
    bal_comm_destroy(&nodes);
}

static void test_ranks_that_share_a_copy_make_the_update_together(void)
{
    enum { N_SLOTS = 64 };
    bool on_ballot[64];
    memset(on_ballot, true, sizeof on_ballot);
    bal_optim_options options = {
        .rule = {.kind = BAL_RULE_CARRY, .travel = 4.0},
        .perturb = {.kind = BAL_DIRECTIONS_WALSH, .noise = 1, .density = 1.0},
        .ballot = {.n_slots = N_SLOTS, .n_bits = BAL_SIGN_BITS},
        .n_steps = 5,
        .seed = 7,
        .on_ballot = on_ballot};
    bal_shared *shared = NULL;
    bal_model *models[2] = {replica(), replica_on(test_comm, true, &shared)};
    bal_optim *optims[2] = {NULL, NULL};
    uint64_t state = 3;
    int n = bal_model_tensors(models[0])->n;
    CU_ASSERT_FATAL(n <= 64);
    options.rule.travel = 20.0;
    for (int i = 0; i < 2; ++i)
        CU_ASSERT_EQUAL_FATAL(
            bal_optim_create(bal_model_tensors(models[i]), bal_kernels_at(bal_isa_best()), &options,
                             &optims[i]),
            BAL_OK);
    uint64_t before = bal_tensors_fingerprint(bal_model_tensors(models[0]));
    for (int step = 0; step < 5; ++step) {
        uint32_t whole[64], part[64];
        uint64_t bits[2] = {bal_test_random(&state)}, sums[64], print;
        bits[1] = ~bits[0];
        bal_optim_apply(optims[0], step, bits, 0, 1, whole);
        bal_optim_apply(optims[1], step, bits, bal_shared_part(shared), bal_shared_n_parts(shared),
                        part);
        CU_ASSERT_EQUAL(bal_shared_sync(shared), BAL_OK);
        for (int i = 0; i < n; ++i) sums[i] = part[i];
        CU_ASSERT_EQUAL(bal_shared_sum(shared, sums, n), BAL_OK);
        for (int i = 0; i < n; ++i) CU_ASSERT_EQUAL(sums[i], whole[i]);
        CU_ASSERT_EQUAL(bal_replica_fingerprint(shared, bal_model_tensors(models[1]), &print),
                        BAL_OK);
        CU_ASSERT_EQUAL(print, bal_tensors_fingerprint(bal_model_tensors(models[0])));
        CU_ASSERT_NOT_EQUAL(print, before);
        before = print;
    }
    for (int i = 0; i < 2; ++i) bal_optim_destroy(&optims[i]);
    bal_model_destroy(&models[1]);
    bal_shared_destroy(&shared);
    drop(&models[0]);
}

const char bal_suite_name[] = "replicas";
const bal_test bal_suite_tests[] = {
    {"equal replicas pass", test_equal_replicas_pass},
    {"a replica with one other code is named with its tensor",
     test_a_replica_with_one_other_code_is_named_with_its_tensor},
    {"a replica with one other carry or scale is named",
     test_a_replica_with_one_other_carry_or_scale_is_named},
    {"a node with one other code is named by its first rank",
     test_a_node_with_one_other_code_is_named_by_its_first_rank},
    {"ranks that share a copy make the update together",
     test_ranks_that_share_a_copy_make_the_update_together},
    {NULL, NULL},
};
