/* optim_zoqo.c: rule zoqo: every code takes a step of the learning rate against its gradient. */
#include "votes.h"

static setting zoqo(int64_t noise, double eta)
{
    setting s = setting_of(1, 10);
    s.options.measure.options.kind = BAL_DIRECTIONS_UNIFORM;
    s.options.measure.options.noise = noise;
    s.options.rule.kind = rule_named("zoqo");
    s.options.rule.eta = eta;
    return s;
}

static void test_codes_move_by_the_learning_rate_in_code_steps_or_by_one(void)
{
    static const double etas[] = {1e-4, 0.02, 0.1, 1.0, 1e30};
    for (int e = 0; e < 5; ++e)
        for (int8_t vote = -1; vote <= 1; ++vote) {
            net *model = new_model(), *before = new_model();
            setting s = zoqo(5, etas[e]);
            uint32_t flips[N_TENSORS_MAX];
            scatter(model);
            scatter(before);
            for (int i = 0; i < model->tensors.n; ++i) { /* rows of different scales */
                bal_tensor *t = &model->tensors.at[i];
                for (int64_t row = 0; row < t->n_rows; ++row)
                    if (t->role != BAL_GAIN) t->scale[row] = 0.001f * (float)(1 + row % 50);
            }
            bal_optim *optim = new_optim(model, &s);
            apply(optim, 7, 1, &vote, flips);
            for (int i = 0; i < model->tensors.n; ++i) {
                bal_tensor *now = &model->tensors.at[i], *old = &before->tensors.at[i];
                int8_t *z = direction_of(&s, 7, 0, i, now);
                int n_bad = 0;
                uint32_t n_flips = 0;
                int64_t blocks = (now->n_cols + 3) / 4;
                for (int64_t at = 0; at < n_places(now); ++at) {
                    int code = get_code(old, at);
                    if (!is_padding(old, at) && abs(code) + abs(z[at]) <= now->high) {
                        int64_t row =
                            now->role == BAL_MATRIX ? at / 256 / blocks * 64 + at % 256 / 4 : 0;
                        double steps =
                            fmax(fmin(floor(etas[e] / (double)now->scale[row]), 32767.0), 1.0);
                        int sign = vote * ((z[at] > 0) - (z[at] < 0));
                        double moved = fmax(-now->high, fmin(now->high, code + steps * sign));
                        n_flips += (int)moved != code;
                        code = (int)moved;
                    }
                    n_bad += get_code(now, at) != code ||
                             carry_of(model, now)[at] != carry_of(before, old)[at];
                }
                CU_ASSERT_EQUAL(n_bad, 0);
                CU_ASSERT_EQUAL(flips[i], n_flips);
                if (n_bad > 0)
                    printf("\n    eta %g, vote %d, %s, seed %u: %d codes", etas[e], vote, now->name,
                           SEED, n_bad);
                free(z);
            }
            bal_optim_destroy(&optim);
            drop(&model);
            drop(&before);
        }
}

static void test_levels_make_the_same_codes(void)
{
    uint64_t wanted = 0;
    for (int isa = BAL_ISA_REF; isa <= (int)bal_isa_best(); ++isa) {
        net *model = new_model();
        setting s = zoqo(63, 0.05);
        uint64_t state = SEED;
        s.isa = (bal_isa)isa;
        scatter(model);
        bal_optim *optim = new_optim(model, &s);
        for (int64_t step = 0; step < 10; ++step) {
            int8_t vote;
            uint32_t flips[N_TENSORS_MAX];
            random_votes(1, &state, true, &vote);
            apply(optim, step, 1, &vote, flips);
        }
        if (isa == BAL_ISA_REF) wanted = print_of(model);
        CU_ASSERT_EQUAL(print_of(model), wanted);
        bal_optim_destroy(&optim);
        drop(&model);
    }
}

static void test_other_directions_several_slots_and_more_than_a_sign_are_refused(void)
{
    net *model = new_model();
    for (int kind = BAL_DIRECTIONS_WALSH; kind <= BAL_DIRECTIONS_UNIFORM; ++kind)
        for (int i = 0; i < 3; ++i) {
            static const bal_ballot_shape shapes[] = {
                {1, BAL_SIGN_BITS}, {2, BAL_SIGN_BITS}, {1, 4}};
            setting s = zoqo(1, 0.1);
            bal_optim *optim = NULL;
            s.options.measure.options.kind = (bal_direction_kind)kind;
            s.options.ballot = shapes[i];
            s.options.measure.on_ballot = s.on_ballot;
            bool right = kind == BAL_DIRECTIONS_UNIFORM && i == 0;
            CU_ASSERT_EQUAL(bal_optim_create(&model->tensors, &model->states, &s.options, &optim),
                            right ? BAL_OK : BAL_ERR_CONFIG);
            CU_ASSERT_EQUAL(optim != NULL, right);
            if (!right) CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "zoqo"));
            bal_optim_destroy(&optim);
        }
    drop(&model);
}

const char bal_suite_name[] = "optim_zoqo";
const bal_test bal_suite_tests[] = {
    {"codes move by the learning rate in code steps, or by one",
     test_codes_move_by_the_learning_rate_in_code_steps_or_by_one},
    {"levels make the same codes", test_levels_make_the_same_codes},
    {"other directions, several slots and more than a sign are refused",
     test_other_directions_several_slots_and_more_than_a_sign_are_refused},
    {NULL, NULL},
};
