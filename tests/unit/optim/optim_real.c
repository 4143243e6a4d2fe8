/* optim_real.c: rules of real numbers, whose states are floats or have 8 bits. */
#include "votes.h"

static const char *const rules[] = {"sign", "momentum", "adam", "sgd", "ztest", "quzo"};
enum { N_TRAVEL = 3, N_DEFINED = 5, N_RULES = 6, N_SLOTS = 48 };
static const double slope = 0.01;

/* Tensors that vote by turns, all of them or three of four. */
enum { N_TURNS = 2 };
static bool turns[N_TURNS][N_TENSORS_MAX];
static const bal_rota rota = {.n = N_TURNS, .n_tensors = N_TENSORS_MAX, .turn = turns[0]};
static void take_turns(setting *s, bool all)
{
    memset(turns, 0, sizeof turns);
    for (int i = 0; i < N_TENSORS_MAX; ++i) turns[i % N_TURNS][i] = all || i % 4 != 3;
    s->options.measure.rota = &rota;
}

/* A model for a rule that remembers in groups, 0: floats. */
static net *model_for(setting *s, const char *rule, bal_format format, int group)
{
    net *model = new_model_in(format);
    s->options.rule.kind = rule_named(rule);
    s->options.rule.beta1 = 0.9;
    s->options.rule.beta2 = 0.99;
    s->options.rule.lr = 50.0;
    s->options.rule.z = 1.5;
    s->options.rule.state_group = group;
    bal_states_clear(&model->states);
    model->states = bal_rule_states(&s->options.rule);
    CU_ASSERT_EQUAL_FATAL(bal_states_allocate(&model->states, &model->tensors), BAL_OK);
    return model;
}

static bal_optim *ready(net *model, setting *s)
{
    bal_optim *optim = new_optim(model, s);
    bal_optim_set_slope(optim, slope);
    return optim;
}

static void take_step(bal_optim *optim, const setting *s, int64_t step, uint64_t *state, int part,
                      int n_parts)
{
    int8_t votes[N_SLOTS];
    uint32_t flips[N_TENSORS_MAX];
    random_votes(N_SLOTS, state, true, votes);
    apply_part(optim, step, s->options.ballot, votes, part, n_parts, flips);
}

/* What a rule remembers of a code, by hand. */
typedef struct memory {
    float m, v;
} memory;

/* By how many 1/256 steps a code is to move; n of the votes, all cast, are not 0. */
static double change_by_hand(const setting *s, int64_t step, int n, int tally, memory *of)
{
    const bal_rule_options *rule = &s->options.rule;
    double n_steps = (double)s->options.n_steps, density = s->options.measure.options.density;
    int n_turns = s->options.measure.rota != NULL ? N_TURNS : 1;
    double rate =
        rule->travel * sqrt(3.0 * n_turns / (density * n_steps)) * (1.0 - (double)step / n_steps);
    double n_votes = (double)(step / n_turns) + 1.0;
    float b1 = (float)rule->beta1, b2 = (float)rule->beta2, g = (float)(tally / sqrt(N_SLOTS));
    if (rule->kind == rule_named("ztest")) return 256.0 * ((g > 1.5f) - (g < -1.5f));
    if (rule->kind == rule_named("sgd")) /* the mean of what slots find is below the slope */
        return 256.0 * rule->lr * (1.0 - (double)step / n_steps) * slope / sqrt(acos(0.0)) * tally /
               n;
    if (rule->kind == rule_named("sign")) return 256.0 * rate * ((g > 0.0f) - (g < 0.0f));
    if (rule->kind == rule_named("momentum")) {
        of->m = b1 * of->m + g;
        return 256.0 * rate * (1.0 - rule->beta1) * (double)of->m;
    }
    of->m = b1 * of->m + (1.0f - b1) * g;
    of->v = b2 * of->v + (1.0f - b2) * g * g;
    double m = (double)of->m / (1.0 - pow(rule->beta1, n_votes));
    double v = (double)of->v / (1.0 - pow(rule->beta2, n_votes));
    return 256.0 * rate * sqrt(density) * m / (sqrt(v) + 1e-8);
}

/* The update of one tensor by the definition, but for which of two integers a change near a half
 * goes to. @return codes that are elsewhere */
static int64_t compare(const setting *s, int64_t step, int index, const int8_t *votes,
                       const net *before, const net *after, memory *memories)
{
    const bal_tensor *old = &before->tensors.at[index], *now = &after->tensors.at[index];
    int8_t *z[N_SLOTS];
    int64_t n_bad = 0;
    int n_votes = 0;
    for (int slot = 0; slot < N_SLOTS; ++slot) {
        z[slot] = direction_of(s, step, slot, index, old);
        n_votes += votes[slot] != 0;
    }
    for (int64_t at = 0; at < n_places(old); ++at) {
        int code = get_code(old, at), tally = 0;
        int from = 256 * code + carry_of(before, old)[at], to = 256 * get_code(now, at);
        for (int slot = 0; slot < N_SLOTS; ++slot) tally += votes[slot] * z[slot][at];
        bool open = code - 1 >= old->low && code + 1 <= old->high;
        double change = change_by_hand(s, step, n_votes, open ? tally : 0, &memories[at]);
        int end = open ? from + (int)rint(change) : from, half = 128;
        to += carry_of(after, now)[at];
        if (end >= 256 * old->high + half || end < 256 * old->low - half) continue; /* it is cut */
        n_bad += abs(to - end) > (fabs(change - rint(change)) > 0.499 ? 1 : 0);
    }
    for (int slot = 0; slot < N_SLOTS; ++slot) free(z[slot]);
    return n_bad;
}

static void copy(const net *from, net *to)
{
    memcpy(to->tensors.owned, from->tensors.owned, bal_tensors_bytes(&from->tensors));
    memcpy(to->states.owned, from->states.owned, bal_states_bytes(&from->states, &from->tensors));
}

static void test_a_change_is_its_definition(void)
{
    static const bal_format formats[] = {BAL_I8, BAL_I4, BAL_NF4};
    static memory memories[N_TENSORS_MAX][8192];
    for (int run = 0; run < 3 * N_DEFINED; ++run) {
        setting s = setting_of(N_SLOTS, 10);
        if (run % 2 == 1) s.options.measure.options.density = 0.3;
        net *model = model_for(&s, rules[run / 3], formats[run % 3], 0);
        net *before = model_for(&s, rules[run / 3], formats[run % 3], 0);
        uint64_t state = SEED;
        memset(memories, 0, sizeof memories);
        for (int i = 3; i < N_TENSORS_MAX; i += 4) s.on_ballot[i] = false;
        if (run % 4 >= 2) take_turns(&s, false);
        scatter(model);
        bal_optim *optim = ready(model, &s);
        for (int64_t step = 0; step < 4; ++step) {
            const bool *now = bal_measure_at(s.options.measure, step).on_ballot;
            int8_t votes[N_SLOTS];
            uint32_t flips[N_TENSORS_MAX];
            random_votes(N_SLOTS, &state, true, votes);
            copy(model, before);
            apply(optim, step, N_SLOTS, votes, flips);
            for (int i = 0; i < model->tensors.n; ++i)
                CU_ASSERT_EQUAL(now[i] ? compare(&s, step, i, votes, before, model, memories[i])
                                       : print_at(before, i) != print_at(model, i),
                                0);
        }
        bal_optim_destroy(&optim);
        drop(&model);
        drop(&before);
    }
}

static void test_pure_noise_travels_as_far_by_every_rule(void)
{
    enum { N_STEPS = 300 };
    for (int run = 0; run < 3 * N_TRAVEL; ++run) {
        setting s = setting_of(N_SLOTS, N_STEPS);
        s.options.rule.schedule = BAL_SCHEDULE_CONSTANT;
        s.options.measure.options.density = run % 3 == 1 ? 0.3 : 1.0;
        if (run % 3 == 2) take_turns(&s, true);
        net *model = model_for(&s, rules[run / 3], BAL_I8, 256);
        bal_optim *optim = ready(model, &s);
        uint64_t state = SEED;
        double sum = 0.0, n = 0.0;
        for (int64_t step = 0; step < N_STEPS; ++step) {
            int8_t votes[N_SLOTS];
            uint32_t flips[N_TENSORS_MAX];
            random_votes(N_SLOTS, &state, false, votes);
            apply(optim, step, N_SLOTS, votes, flips);
        }
        for (int i = 0; i < model->tensors.n; ++i) {
            const bal_tensor *t = &model->tensors.at[i];
            for (int64_t at = 0; at < n_places(t); ++at) {
                double moved = get_code(t, at) + carry_of(model, t)[at] / 256.0;
                if (is_padding(t, at)) continue;
                sum += moved * moved, n += 1.0;
            }
        }
        printf("\n    %s: %.3f of %.3f steps", rules[run / 3], sqrt(sum / n),
               s.options.rule.travel);
        CU_ASSERT(fabs(sqrt(sum / n) / s.options.rule.travel - 1.0) < 0.12);
        bal_optim_destroy(&optim);
        drop(&model);
    }
}

/* Root mean square of the difference of two states of a tensor, over that of the second. */
static double deviation(const net *a, const net *b, int state, int index)
{
    static float x[8192], y[8192];
    double difference = 0.0, size = 0.0;
    int64_t n = n_places(&a->tensors.at[index]);
    bal_book book;
    bal_book_init(&book, a->states.at[state].kind == BAL_STATE_REAL);
    bal_reals of_a = bal_state_reals(&a->states.at[state], &a->tensors, index);
    bal_reals of_b = bal_state_reals(&b->states.at[state], &b->tensors, index);
    bal_reals_load(&of_a, &book, 0, n, x);
    bal_reals_load(&of_b, &book, 0, n, y);
    for (int64_t i = 0; i < n; ++i) {
        difference += (double)((x[i] - y[i]) * (x[i] - y[i]));
        size += (double)(y[i] * y[i]);
    }
    return sqrt(difference / size);
}

static void test_momentum_in_8_bits_stays_within_4_percent_of_floats(void)
{
    enum { N_STEPS = 1000 };
    for (int group = 256; group <= 2048; group += 1792) {
        setting s = setting_of(N_SLOTS, N_STEPS), exact = s;
        net *model = model_for(&s, "momentum", BAL_I8, group);
        net *floats = model_for(&exact, "momentum", BAL_I8, 0);
        bal_optim *optim = new_optim(model, &s), *other = new_optim(floats, &exact);
        uint64_t state = SEED, same = SEED;
        double worst = 0.0;
        for (int64_t step = 0; step < N_STEPS; ++step) {
            take_step(optim, &s, step, &state, 0, 1);
            take_step(other, &exact, step, &same, 0, 1);
            double found = deviation(model, floats, 1, 0);
            if (found > worst) worst = found;
        }
        printf("\n    groups of %d: %.4f at most", group, worst);
        CU_ASSERT(worst > 0.0 && worst < 0.04);
        CU_ASSERT_EQUAL(deviation(model, floats, 1, 2), 0.0); /* 20 numbers: floats */
        bal_optim_destroy(&optim);
        bal_optim_destroy(&other);
        drop(&model);
        drop(&floats);
    }
}

static void test_nothing_is_remembered_where_the_gate_is_closed(void)
{
    setting s = setting_of(N_SLOTS, 10);
    net *model = model_for(&s, "adam", BAL_I8, 256);
    bal_optim *optim = ready(model, &s);
    uint64_t state = SEED;
    int64_t n_bad = 0, n_closed = 0;
    scatter(model);
    net *before = model_for(&s, "adam", BAL_I8, 256);
    copy(model, before);
    for (int64_t step = 0; step < 3; ++step) take_step(optim, &s, step, &state, 0, 1);
    for (int i = 0; i < model->tensors.n; ++i) {
        static float m[8192], v[8192];
        const bal_tensor *t = &model->tensors.at[i], *old = &before->tensors.at[i];
        bal_book books[2];
        for (int k = 0; k < 2; ++k) {
            bal_reals reals = bal_state_reals(&model->states.at[1 + k], &model->tensors, i);
            bal_book_init(&books[k], k == 0);
            bal_reals_load(&reals, &books[k], 0, n_places(t), k == 0 ? m : v);
        }
        for (int64_t at = 0; at < n_places(t); ++at) {
            if (abs(get_code(old, at)) < old->high) continue;
            ++n_closed;
            n_bad += get_code(t, at) != get_code(old, at) || m[at] != 0.0f || v[at] != 0.0f ||
                     carry_of(model, t)[at] != carry_of(before, old)[at];
        }
    }
    CU_ASSERT_EQUAL(n_bad, 0);
    CU_ASSERT(n_closed > 1000);
    bal_optim_destroy(&optim);
    drop(&model);
    drop(&before);
}

static void test_rounding_by_chance_is_right_on_average_and_leaves_the_carry(void)
{
    setting s = setting_of(N_SLOTS, 10);
    net *model = model_for(&s, "quzo", BAL_I8, 0), *before = model_for(&s, "quzo", BAL_I8, 0);
    bal_optim *optim = ready(model, &s);
    double rate = 4.0 * sqrt(3.0 / 10.0), off = 0.0, n = 0.0, n_up = 0.0, wanted_up = 0.0;
    int8_t votes[N_SLOTS], *z[N_SLOTS];
    uint32_t flips[N_TENSORS_MAX];
    uint64_t state = SEED;
    const bal_tensor *t = &model->tensors.at[0];
    random_votes(N_SLOTS, &state, false, votes);
    apply(optim, 0, N_SLOTS, votes, flips);
    for (int slot = 0; slot < N_SLOTS; ++slot) z[slot] = direction_of(&s, 0, slot, 0, t);
    for (int64_t at = 0; at < n_places(t); ++at) {
        int tally = 0, moved = get_code(t, at);
        if (is_padding(t, at)) continue;
        for (int slot = 0; slot < N_SLOTS; ++slot) tally += votes[slot] * z[slot][at];
        double change = rate * tally / sqrt(N_SLOTS);
        CU_ASSERT(fabs(moved - change) < 1.0001); /* up or down, */
        CU_ASSERT_EQUAL(carry_of(model, t)[at], carry_of(before, t)[at]);
        n_up += moved > change, wanted_up += change - floor(change);
        off += moved - change, n += 1.0;
    }
    for (int slot = 0; slot < N_SLOTS; ++slot) free(z[slot]);
    CU_ASSERT(fabs(off / n) < 4.0 * 0.5 / sqrt(n)); /* each as often as it is near */
    CU_ASSERT(fabs(n_up - wanted_up) < 4.0 * 0.5 * sqrt(n));
    bal_optim_destroy(&optim);
    drop(&model);
    drop(&before);
}

static void test_sgd_takes_the_mean_of_the_slopes_that_votes_stand_for(void)
{
    for (int wide = 0; wide < 2; ++wide) {
        setting s = setting_of(wide ? 1500 : 200, 10);
        bal_ballot_shape *shape = &s.options.ballot;
        shape->n_bits = 8;
        if (wide) s.options.measure.options.kind = BAL_DIRECTIONS_WALSH_WIDE;
        net *model = model_for(&s, "sgd", BAL_I8, 0);
        s.options.rule.lr = 1e4;
        bal_optim *optim = ready(model, &s);
        uint64_t bits[BAL_VOTE_BITS_MAX * N_SLOTS_MAX / 64] = {0}, state = SEED;
        uint32_t flips[N_TENSORS_MAX];
        const bal_tensor *t = &model->tensors.at[0];
        static double tally[8192];
        double sum = 0.0, both = 0.0, squares = 0.0;
        memset(tally, 0, sizeof tally);
        for (int slot = 0; slot < shape->n_slots; ++slot) {
            int vote = (int)(bal_test_random(&state) % 201) - 100;
            if (slot % 3 == 0) continue; /* it abstains */
            int8_t *z = direction_of(&s, 0, slot, 0, t);
            bal_ballot_put(*shape, bits, slot, vote);
            for (int64_t at = 0; at < n_places(t); ++at) tally[at] += vote * z[at];
            sum += abs(vote);
            free(z);
        }
        bal_optim_apply(optim, 0, bits, 0, 1, flips);
        for (int64_t at = 0; at < n_places(t); ++at) {
            double wanted = 1e4 * slope / sqrt(acos(0.0)) * tally[at] / sum;
            if (is_padding(t, at)) continue;
            both += wanted * (get_code(t, at) + carry_of(model, t)[at] / 256.0);
            squares += wanted * wanted;
        }
        printf("\n    %d slots: %.4f of the step", shape->n_slots, both / squares);
        CU_ASSERT(fabs(both / squares - 1.0) < 0.003);
        CU_ASSERT(squares > 1000.0);
        bal_optim_destroy(&optim);
        drop(&model);
    }
}

static void test_of_a_shared_direction_the_majority_decides(void)
{
    for (int sum = -1; sum <= 1; ++sum) {
        setting s = setting_of(3, 10);
        s.options.measure.options.kind = BAL_DIRECTIONS_SHARED;
        net *model = model_for(&s, "feedsign", BAL_I8, 0);
        bal_optim *optim = ready(model, &s);
        const bal_tensor *t = &model->tensors.at[0];
        uint32_t flips[N_TENSORS_MAX];
        int64_t n_bad = 0, way = (int64_t)rint(256.0 * 4.0 * sqrt(3.0 / 10.0));
        apply(optim, 0, 3, (int8_t[]){1, -1, (int8_t)sum}, flips);
        int8_t *z = direction_of(&s, 0, 0, 0, t), *other = direction_of(&s, 0, 2, 0, t);
        for (int64_t at = 0; at < n_places(t); ++at)
            if (!is_padding(t, at))
                n_bad += 256 * get_code(t, at) + carry_of(model, t)[at] != way * sum * z[at];
        CU_ASSERT_EQUAL(n_bad, 0);
        CU_ASSERT_EQUAL(memcmp(z, other, (size_t)n_places(t)), 0);
        free(z);
        free(other);
        bal_optim_destroy(&optim);
        drop(&model);
    }
}

static void test_rules_refuse_directions_that_they_do_not_know(void)
{
    static const bal_direction_kind wrong[] = {BAL_DIRECTIONS_UNIFORM, BAL_DIRECTIONS_SHARED};
    for (int i = 0; i < 2 * (N_RULES + 1); ++i) {
        const char *rule = i / 2 < N_RULES ? rules[i / 2] : "feedsign";
        setting s = setting_of(N_SLOTS, 10);
        net *model = model_for(&s, rule, BAL_I8, 0);
        bal_optim *optim = NULL;
        s.options.measure.options.kind = wrong[i % 2];
        if (i == 2 * N_RULES + 1) s.options.ballot.n_bits = 8;
        s.options.measure.on_ballot = s.on_ballot;
        CU_ASSERT_EQUAL(bal_optim_create(&model->tensors, &model->states, &s.options, &optim),
                        BAL_ERR_CONFIG);
        drop(&model);
    }
}

static void test_parts_and_levels_make_the_same_bits(void)
{
    for (int group = 0; group <= 2048; group += group == 0 ? 256 : 1792)
        for (int rule = 0; rule < N_RULES; ++rule) {
            uint64_t wanted = 0;
            for (int n_parts = 1; n_parts <= 5; ++n_parts) {
                setting s = setting_of(N_SLOTS, 10);
                s.isa = n_parts % 2 == 0 ? BAL_ISA_REF : bal_isa_best();
                net *model = model_for(&s, rules[rule], BAL_I4, group);
                bal_optim *optim = ready(model, &s);
                scatter(model);
                for (int64_t step = 0; step < 2; ++step)
                    for (int part = n_parts - 1; part >= 0; --part) {
                        uint64_t state = SEED + (uint64_t)step;
                        take_step(optim, &s, step, &state, part, n_parts);
                    }
                if (n_parts == 1) wanted = print_of(model);
                CU_ASSERT_EQUAL(print_of(model), wanted);
                bal_optim_destroy(&optim);
                drop(&model);
            }
        }
}

const char bal_suite_name[] = "optim_real";
const bal_test bal_suite_tests[] = {
    {"a change is its definition", test_a_change_is_its_definition},
    {"pure noise travels as far by every rule", test_pure_noise_travels_as_far_by_every_rule},
    {"momentum in 8 bits stays within 4 percent of floats",
     test_momentum_in_8_bits_stays_within_4_percent_of_floats},
    {"nothing is remembered where the gate is closed",
     test_nothing_is_remembered_where_the_gate_is_closed},
    {"rounding by chance is right on average, and leaves the carry",
     test_rounding_by_chance_is_right_on_average_and_leaves_the_carry},
    {"sgd takes the mean of the slopes that votes stand for",
     test_sgd_takes_the_mean_of_the_slopes_that_votes_stand_for},
    {"of a shared direction the majority decides", test_of_a_shared_direction_the_majority_decides},
    {"rules refuse directions that they do not know",
     test_rules_refuse_directions_that_they_do_not_know},
    {"parts and levels make the same bits", test_parts_and_levels_make_the_same_bits},
    {NULL, NULL},
};
