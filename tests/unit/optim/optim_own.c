/* optim_own.c: a rule of one's own, with a state, a step of its own constants, and a check. */
#include "votes.h"

enum { LEAST }; /* constants of a step */

static bal_status check(const bal_optim_options *options)
{
    return options->n_steps > 1 ? BAL_OK : bal_fail(BAL_ERR_CONFIG, "one step is not enough");
}

static void begin(bal_rule_step *step) { step->constants[LEAST] = (double)(1 + step->step % 2); }

/* A code moves once it was voted on as often as the step asks for; in "total" a sum that nobody
 * reads. */
static uint32_t update(const bal_rule_step *step, bal_tensor *tensor, int64_t first, int64_t n,
                       int8_t *const remembered[], int16_t *tally)
{
    uint32_t n_flips = 0;
    for (int64_t i = 0; i < n; ++i) {
        int old = bal_tensor_code(tensor, first + i);
        if (tally[i] == 0 || old - 1 < tensor->low || old + 1 > tensor->high) continue;
        remembered[1][i] = (int8_t)(remembered[1][i] + tally[i]);
        if (++remembered[0][i] < (int)step->constants[LEAST]) continue;
        remembered[0][i] = 0;
        bal_tensor_put(tensor, first + i, old + (tally[i] > 0 ? 1 : -1));
        ++n_flips;
    }
    return n_flips;
}

static const bal_rule patient = {
    .check = check,
    .begin = begin,
    .states = {.n = 2, .at = {{.name = "count"}, {.name = "total"}}},
    .update = update,
};

/* The places of a tensor that one slot's direction moves, as long as they are within the gate. */
static int64_t n_moved(const setting *s, int64_t step, int index, const bal_tensor *t)
{
    int8_t *z = direction_of(s, step, 0, index, t);
    int64_t n = 0;
    for (int64_t at = 0; at < n_places(t); ++at) n += z[at] != 0 && !is_padding(t, at);
    free(z);
    return n;
}

static void test_a_rule_of_ones_own_remembers_and_moves(void)
{
    net *model = new_model();
    setting s = setting_of(1, 4);
    s.options.rule.kind = &patient;
    bal_states_clear(&model->states);
    model->states = patient.states;
    CU_ASSERT_EQUAL_FATAL(bal_states_allocate(&model->states, &model->tensors), BAL_OK);
    bal_optim *optim = new_optim(model, &s);
    uint32_t flips[N_TENSORS_MAX];
    for (int64_t step = 0; step < 4; ++step) { /* 0 moves; 1 waits, with 2; 3 waits, alone */
        apply(optim, step, 1, (int8_t[]){-1}, flips);
        for (int i = 0; i < model->tensors.n; ++i) {
            const bal_tensor *t = &model->tensors.at[i];
            CU_ASSERT_EQUAL(flips[i], step % 2 == 0 ? n_moved(&s, step, i, t) : 0);
            const int8_t *count = bal_state_of(&model->states.at[0], t);
            for (int64_t at = 0; at < n_places(t); ++at)
                CU_ASSERT_EQUAL(count[at], step % 2 == 1 && !is_padding(t, at));
        }
    }
    const bal_tensor *t = &model->tensors.at[0];
    const int8_t *total = bal_state_of(&model->states.at[1], t);
    int64_t n_bad = 0;
    int8_t *sums = bal_alloc((size_t)n_places(t), 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(sums);
    for (int64_t step = 0; step < 4; ++step) {
        int8_t *z = direction_of(&s, step, 0, 0, t);
        for (int64_t at = 0; at < n_places(t); ++at) sums[at] = (int8_t)(sums[at] - z[at]);
        free(z);
    }
    for (int64_t at = 0; at < n_places(t); ++at)
        n_bad += total[at] != (is_padding(t, at) ? 0 : sums[at]);
    CU_ASSERT_EQUAL(n_bad, 0);
    free(sums);
    bal_optim_destroy(&optim);
    drop(&model);
}

static void test_its_check_refuses_settings(void)
{
    net *model = new_model();
    setting s = setting_of(1, 1);
    bal_optim *optim = NULL;
    s.options.rule.kind = &patient;
    s.options.measure.on_ballot = s.on_ballot;
    bal_states states = patient.states;
    CU_ASSERT_EQUAL(bal_optim_create(&model->tensors, &states, &s.options, &optim), BAL_ERR_CONFIG);
    CU_ASSERT_PTR_NULL(optim);
    drop(&model);
}

static void remember_out_of_order(void)
{
    static const bal_rule wrong = {.states = {.n = 2, .at = {{.name = "total"}, {.name = "count"}}},
                                   .update = update};
    net *model = new_model();
    setting s = setting_of(1, 4);
    bal_states states = wrong.states;
    bal_optim *optim;
    s.options.rule.kind = &wrong;
    s.options.measure.on_ballot = s.on_ballot;
    bal_optim_create(&model->tensors, &states, &s.options, &optim);
}

static void test_states_stand_in_the_order_of_their_names(void)
{
    CU_ASSERT(bal_test_asserts(remember_out_of_order));
}

static void test_the_table_begins_with_the_default_and_every_name_has_its_rule(void)
{
    CU_ASSERT_STRING_EQUAL(bal_rule_choices[0].name, "carry");
    int n = 0;
    for (const bal_choice *choice = bal_rule_choices; choice->name != NULL; ++choice, ++n) {
        const bal_rule *rule = bal_rule_of((unsigned)choice->value);
        CU_ASSERT_EQUAL((int)choice->value, n);
        CU_ASSERT((rule->update != NULL) != (rule->change != NULL));
        CU_ASSERT(rule->states.n <= BAL_STATES_MAX);
    }
    CU_ASSERT(n >= 2);
}

const char bal_suite_name[] = "optim_own";
const bal_test bal_suite_tests[] = {
    {"a rule of one's own remembers and moves", test_a_rule_of_ones_own_remembers_and_moves},
    {"its check refuses settings", test_its_check_refuses_settings},
    {"states stand in the order of their names", test_states_stand_in_the_order_of_their_names},
    {"the table begins with the default, and every name has its rule",
     test_the_table_begins_with_the_default_and_every_name_has_its_rule},
    {NULL, NULL},
};
