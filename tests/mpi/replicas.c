/* replicas.c: a replica that drifted is found, and named. */
#include <stdlib.h>

#include "ballot/model.h"
#include "ballot/optim.h"
#include "ballot/replicas.h"
#include "ranks.h"

/* A model, and what rule carry remembers of it. */
typedef struct replica {
    bal_shared *shared; /* its memory */
    bal_model *model;
    bal_tensors *tensors;
    bal_states states;
} replica;

/* The same small model on every rank of comm, one copy for each of its nodes or ranks. */
static replica make(bal_comm *comm, bool share)
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
    replica r = {.states = bal_rule_of(0)->states};
    uint64_t state = 1;
    CU_ASSERT_EQUAL_FATAL(bal_model_outline(&config, &(bal_formats){.matrices = BAL_I8}, &r.model),
                          BAL_OK);
    r.tensors = bal_model_tensors(r.model);
    size_t n_bytes = bal_tensors_bytes(r.tensors);
    size_t n_state_bytes = bal_states_bytes(&r.states, r.tensors);
    CU_ASSERT_EQUAL_FATAL(bal_shared_create(comm, n_bytes + n_state_bytes, share, &r.shared),
                          BAL_OK);
    bal_tensors_attach(r.tensors, bal_shared_memory(r.shared));
    bal_states_attach(&r.states, r.tensors, (char *)bal_shared_memory(r.shared) + n_bytes);
    if (bal_shared_part(r.shared) == 0) {
        bal_tensors_zero(r.tensors);
        bal_states_zero(&r.states, r.tensors);
        for (int i = 0; i < r.tensors->n; ++i) {
            bal_tensor *tensor = &r.tensors->at[i];
            int8_t carry[1024];
            CU_ASSERT_FATAL(bal_tensor_n(tensor) <= 1024);
            for (int64_t at = 0; at < bal_tensor_n(tensor); ++at)
                carry[at] = (int8_t)bal_test_random(&state);
            bal_tensor_set_bytes(tensor, carry, bal_state_of(&r.states.at[0], tensor));
        }
    }
    CU_ASSERT_EQUAL(bal_shared_sync(r.shared), BAL_OK);
    return r;
}

static void drop(replica *r)
{
    bal_model_destroy(&r->model);
    bal_shared_destroy(&r->shared);
}

static uint64_t print_of(const replica *r)
{
    return bal_states_fingerprint(&r->states, r->tensors);
}

static bal_status compare_on(bal_comm *comm, const replica *r)
{
    uint64_t print = 0;
    bal_status status = bal_replicas_compare(comm, r->shared, r->tensors, &r->states, &print);
    if (status == BAL_OK) CU_ASSERT_EQUAL(print, print_of(r));
    return status;
}
static bal_status compare(const replica *r) { return compare_on(test_comm, r); }

static void test_equal_replicas_pass(void)
{
    replica r = make(test_comm, false);
    CU_ASSERT_EQUAL(compare(&r), BAL_OK);
    drop(&r);
}

/* With three ranks or more the majority is right and the sentence names the one that is not; of
 * two, nobody can say which. */
static void check_named(const replica *r, int bad, int index)
{
    char who[32];
    const char *name = r->tensors->at[index].name;
    snprintf(who, sizeof who, "of rank %d ", bad);
    CU_ASSERT_EQUAL(compare(r), BAL_ERR_STATE);
    CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), name));
    if (size > 2) CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), who));
}

static void test_a_replica_with_one_other_code_is_named_with_its_tensor(void)
{
    if (size == 1) return;
    replica r = make(test_comm, false);
    for (int bad = 0; bad < size; ++bad)
        for (int index = 0; index < r.tensors->n; index += 5) {
            uint8_t *code = (uint8_t *)r.tensors->at[index].codes + 5;
            if (rank == bad) *code ^= 1;
            check_named(&r, bad, index);
            if (rank == bad) *code ^= 1;
        }
    CU_ASSERT_EQUAL(compare(&r), BAL_OK);
    drop(&r);
}

static void test_a_replica_with_one_other_carry_or_scale_is_named(void)
{
    if (size == 1) return;
    replica r = make(test_comm, false);
    bal_tensor *tensor = &r.tensors->at[4];
    int8_t *carry = bal_state_of(&r.states.at[0], tensor);
    int bad = size - 1;
    if (rank == bad) *carry ^= 64;
    check_named(&r, bad, 4);
    if (rank == bad) *carry ^= 64, tensor->scale[0] *= 2.0f;
    check_named(&r, bad, 4);
    drop(&r);
}

static void test_a_node_with_one_other_code_is_named_by_its_first_rank(void)
{
    bal_comm *nodes = NULL;
    /* the first node has one rank, the second all but two, the third the last */
    int node = rank == 0          ? 0
               : rank == size - 1 ? 2
                                  : 1,
        first = node == 0   ? 0
                : node == 1 ? 1
                            : rank;
    int n_nodes = size < 3 ? size : 3;
    CU_ASSERT_EQUAL_FATAL(bal_comm_create_on(MPI_COMM_WORLD, node, &nodes), BAL_OK);
    replica r = make(nodes, true);
    for (int index = 0; index < r.tensors->n; index += 7)
        for (int bad = 0; bad < size && n_nodes > 1; bad += bad == 1 && size > 3 ? size - 2 : 1) {
            int8_t *code = (int8_t *)r.tensors->at[index].codes + 5;
            char who[96];
            snprintf(who, sizeof who, "of rank %d differs from that of %d of %d copies", bad,
                     n_nodes - 1, n_nodes);
            if (first == bad && bal_shared_part(r.shared) == 0) *code ^= 1;
            CU_ASSERT_EQUAL(bal_shared_sync(r.shared), BAL_OK);
            CU_ASSERT_EQUAL(compare_on(nodes, &r), BAL_ERR_STATE);
            CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), r.tensors->at[index].name));
            if (n_nodes > 2) CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), who));
            if (first == bad && bal_shared_part(r.shared) == 0) *code ^= 1;
            CU_ASSERT_EQUAL(bal_shared_sync(r.shared), BAL_OK);
        }
    CU_ASSERT_EQUAL(compare_on(nodes, &r), BAL_OK);
    CU_ASSERT_EQUAL(bal_shared_sync(r.shared), BAL_OK);
    drop(&r);
    bal_comm_destroy(&nodes);
}

static void test_ranks_that_share_a_copy_make_the_update_together(void)
{
    enum { N_SLOTS = 64 };
    bool on_ballot[64];
    memset(on_ballot, true, sizeof on_ballot);
    bal_optim_options options = {
        .rule = {.kind = bal_rule_of(0), .travel = 4.0},
        .measure = {.options = {.kind = BAL_DIRECTIONS_WALSH, .noise = 1, .density = 1.0},
                    .seed = 7,
                    .kernels = bal_kernels_at(bal_isa_best()),
                    .on_ballot = on_ballot},
        .ballot = {.n_slots = N_SLOTS, .n_bits = BAL_SIGN_BITS},
        .n_steps = 5};
    replica replicas[2] = {make(test_comm, false), make(test_comm, true)}, *shared = &replicas[1];
    bal_optim *optims[2] = {NULL, NULL};
    uint64_t state = 3;
    int n = replicas[0].tensors->n;
    CU_ASSERT_FATAL(n <= 64);
    options.rule.travel = 20.0;
    for (int i = 0; i < 2; ++i)
        CU_ASSERT_EQUAL_FATAL(
            bal_optim_create(replicas[i].tensors, &replicas[i].states, &options, &optims[i]),
            BAL_OK);
    uint64_t before = print_of(&replicas[0]);
    for (int step = 0; step < 5; ++step) {
        uint32_t whole[64], part[64];
        uint64_t bits[2] = {bal_test_random(&state)}, sums[64], print;
        bits[1] = ~bits[0];
        bal_optim_apply(optims[0], step, bits, 0, 1, whole);
        bal_optim_apply(optims[1], step, bits, bal_shared_part(shared->shared),
                        bal_shared_n_parts(shared->shared), part);
        CU_ASSERT_EQUAL(bal_shared_sync(shared->shared), BAL_OK);
        for (int i = 0; i < n; ++i) sums[i] = part[i];
        CU_ASSERT_EQUAL(bal_shared_sum(shared->shared, sums, n), BAL_OK);
        for (int i = 0; i < n; ++i) CU_ASSERT_EQUAL(sums[i], whole[i]);
        CU_ASSERT_EQUAL(
            bal_replica_fingerprint(shared->shared, shared->tensors, &shared->states, &print),
            BAL_OK);
        CU_ASSERT_EQUAL(print, print_of(&replicas[0]));
        CU_ASSERT_NOT_EQUAL(print, before);
        before = print;
    }
    for (int i = 0; i < 2; ++i) bal_optim_destroy(&optims[i]);
    for (int i = 1; i >= 0; --i) drop(&replicas[i]);
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
