/* optim_carry.c: rule carry: evidence below one code step is kept, and nothing else moves. */
#include "votes.h"

/* One slot and this travel: in steps 0 to 3 of 4 a vote is worth 128, 96, 64, 32 of 256. */
static setting half_a_step(void)
{
    setting s = setting_of(1, 4);
    s.options.rule.travel = 1.0 / sqrt(3.0);
    return s;
}

static void test_carries_add_up_to_whole_steps(void)
{
    static const struct {
        int step, before, sign, moved, after; /* sign: of vote * z; computed by hand */
    } known[] = {
        {0, 0, 1, 1, -128},  {0, 0, -1, 0, -128}, {0, 100, 1, 1, -28},   {0, 100, -1, 0, -28},
        {0, -100, 1, 0, 28}, {0, 127, 1, 1, -1},  {0, -128, -1, -1, 0},  {0, -128, 1, 0, 0},
        {1, 31, 1, 0, 127},  {1, 32, 1, 1, -128}, {1, -32, -1, 0, -128}, {1, -33, -1, -1, 127},
        {2, 100, 1, 1, -92}, {2, 100, -1, 0, 36}, {3, 100, 1, 1, -124},  {3, -100, -1, -1, 124},
    };
    for (size_t k = 0; k < sizeof known / sizeof *known; ++k)
        for (int8_t vote = -1; vote <= 1; vote = (int8_t)(vote + 2)) {
            net *model = new_model();
            setting s = half_a_step();
            bal_optim *optim = new_optim(model, &s);
            uint32_t flips[N_TENSORS_MAX];
            int index = 0, n_bad = 0; /* the embedding */
            bal_tensor *t = &model->tensors.at[index];
            int8_t *z = direction_of(&s, known[k].step, 0, index, t);
            for (int64_t at = 0; at < n_places(t); ++at)
                if (!is_padding(t, at)) carry_of(model, t)[at] = (int8_t)known[k].before;
            apply(optim, known[k].step, 1, &vote, flips);
            for (int64_t at = 0; at < n_places(t); ++at)
                if (!is_padding(t, at) && vote * z[at] == known[k].sign)
                    n_bad += get_code(t, at) != known[k].moved ||
                             carry_of(model, t)[at] != known[k].after;
            CU_ASSERT_EQUAL(n_bad, 0);
            if (n_bad > 0) printf("\n    line %zu, vote %d: %d codes", k, vote, n_bad);
            free(z);
            bal_optim_destroy(&optim);
            drop(&model);
        }
}

/* The update of one tensor by the definition, slot by slot and code by code. */
static uint32_t update_by_hand(const setting *s, int64_t step, int index, const int8_t *votes,
                               const net *model)
{
    bal_tensor *t = &model->tensors.at[index];
    int8_t *carry = carry_of(model, t);
    const bal_optim_options *o = &s->options;
    uint32_t n_flips = 0;
    int32_t *tally = bal_alloc((size_t)n_places(t), sizeof *tally);
    double way = (double)step / (double)o->n_steps, warmup = (double)o->rule.warmup;
    const double norms[] = {3.0, 8.0 / 3.0, 1.0};
    const double nows[] = {1.0 - way, 0.5 + 0.5 * cos(acos(-1.0) * way), 1.0};
    double rate =
        o->rule.travel *
        sqrt(norms[o->rule.schedule] / (o->measure.options.density * (double)o->n_steps)) *
        nows[o->rule.schedule] * (step < warmup ? (double)(step + 1) / warmup : 1.0);
    int max = bal_ballot_vote_max(o->ballot);
    int unit = 1; /* of tallies of wide sets */
    if (o->measure.options.kind == BAL_DIRECTIONS_WALSH_WIDE)
        for (double d = sqrt(o->ballot.n_slots) * bal_ballot_vote_rms(o->ballot); d > 1024.0;
             d /= 2)
            unit *= 2;
    double rms = max == 1 ? 1.0 : (max + 1) / 4 * sqrt(acos(0.0)); /* of votes whose mean is that */
    CU_ASSERT_PTR_NOT_NULL_FATAL(tally);
    for (int slot = 0; slot < o->ballot.n_slots; ++slot) {
        int8_t *z = direction_of(s, step, slot, index, t);
        for (int64_t at = 0; at < n_places(t); ++at) tally[at] += votes[slot] * z[at];
        free(z);
    }
    for (int64_t at = 0; at < n_places(t); ++at) {
        int code = get_code(t, at), new_code = code;
        if (code - 1 < t->low || code + 1 > t->high) continue; /* the gate: also of padding */
        double vote = 256.0 * rate / sqrt((double)o->ballot.n_slots) / rms *
                      unit; /* as an odd multiple of a power */
        int places = 0;
        while (ldexp(vote, 15 - places) >= 32768.0 && places < 13) ++places;
        double factor = fmin(2.0 * floor(ldexp(vote, 14 - places)) + 1.0, 32767.0);
        double most = floor(ldexp(16383.0, -places)); /* the largest tally that counts */
        double counts = fmax(-most, fmin(most, round((double)tally[at] / unit)));
        int fraction = carry[at] + (int)rint(ldexp(factor * counts, places - 15));
        for (; fraction > 127; fraction -= 256) ++new_code;
        for (; fraction < -128; fraction += 256) --new_code;
        new_code = new_code > t->high ? t->high : new_code < t->low ? t->low : new_code;
        carry[at] = (int8_t)fraction;
        set_code(t, at, new_code);
        n_flips += new_code != code;
    }
    free(tally);
    return n_flips;
}

static void test_an_update_is_its_definition(void)
{
    static const struct {
        bal_direction_kind kind;
        double density, travel;
        bal_ballot_shape ballot;
        bal_schedule schedule;
        int warmup;
    } settings[] = {
        {BAL_DIRECTIONS_WALSH, 1.0, 4.0, {1, 2}, BAL_SCHEDULE_LINEAR, 0},
        {BAL_DIRECTIONS_WALSH, 1.0, 4.0, {64, 2}, BAL_SCHEDULE_LINEAR, 0},
        {BAL_DIRECTIONS_WALSH, 0.3, 40.0, {300, 2}, BAL_SCHEDULE_LINEAR, 0},
        {BAL_DIRECTIONS_WALSH, 0.02, 4.0, {7, 2}, BAL_SCHEDULE_LINEAR, 0},
        {BAL_DIRECTIONS_INDEPENDENT, 1.0, 4.0, {17, 2}, BAL_SCHEDULE_LINEAR, 0},
        {BAL_DIRECTIONS_INDEPENDENT, 0.3, 0.06, {64, 2}, BAL_SCHEDULE_LINEAR, 0},
        {BAL_DIRECTIONS_WALSH, 1.0, 1e6, {64, 2}, BAL_SCHEDULE_LINEAR, 0},
        {BAL_DIRECTIONS_INDEPENDENT, 1.0, 0.0, {3, 2}, BAL_SCHEDULE_LINEAR, 0},
        {BAL_DIRECTIONS_WALSH, 1.0, 4.0, {64, 4}, BAL_SCHEDULE_CONSTANT, 0},
        {BAL_DIRECTIONS_WALSH, 1.0, 2.0, {300, 8}, BAL_SCHEDULE_COSINE, 0},
        {BAL_DIRECTIONS_INDEPENDENT, 1.0, 400.0, {300, 8}, BAL_SCHEDULE_COSINE, 5},
        {BAL_DIRECTIONS_WALSH_WIDE, 1.0, 4.0, {300, 2}, BAL_SCHEDULE_LINEAR, 0},
        {BAL_DIRECTIONS_WALSH_WIDE, 0.3, 4.0, {1500, 8}, BAL_SCHEDULE_CONSTANT, 0},
    };
    uint64_t state = SEED;
    static const bal_format formats[] = {BAL_I8, BAL_I4, BAL_NF4};
    for (size_t run = 0; run < 3 * sizeof settings / sizeof *settings; ++run) {
        size_t k = run / 3;
        net *model = new_model_in(formats[run % 3]), *by_hand = new_model_in(formats[run % 3]);
        setting s = setting_of(settings[k].ballot.n_slots, 10);
        s.options.ballot = settings[k].ballot;
        s.options.rule.travel = settings[k].travel;
        s.options.rule.schedule = settings[k].schedule;
        s.options.rule.warmup = settings[k].warmup;
        s.options.measure.options.kind = settings[k].kind;
        s.options.measure.options.density = settings[k].density;
        for (int i = 3; i < N_TENSORS_MAX; i += 4) s.on_ballot[i] = false;
        scatter(model);
        scatter(by_hand);
        bal_optim *optim = new_optim(model, &s);
        for (int64_t step = 0; step < 10; step += 3) {
            int8_t votes[N_SLOTS_MAX];
            uint32_t flips[N_TENSORS_MAX];
            random_votes(settings[k].ballot.n_slots, &state, true, votes);
            int most = bal_ballot_vote_max(settings[k].ballot);
            for (int slot = 0; slot < settings[k].ballot.n_slots; ++slot)
                votes[slot] = (int8_t)(votes[slot] * (slot % 5 == 0 ? 1 + slot % most : most));
            apply_part(optim, step, settings[k].ballot, votes, 0, 1, flips);
            for (int i = 0; i < model->tensors.n; ++i) {
                uint32_t n = update_by_hand(&s, step, i, votes, by_hand);
                bool same = print_at(model, i) == print_at(by_hand, i);
                CU_ASSERT(same && flips[i] == n);
                if (!same || flips[i] != n)
                    printf("\n    setting %zu, step %lld, %s, seed %u: %u flips, by hand %u", k,
                           (long long)step, model->tensors.at[i].name, SEED, flips[i], n);
            }
        }
        bal_optim_destroy(&optim);
        drop(&model);
        drop(&by_hand);
    }
}

static void test_codes_at_the_gate_and_padding_stay_and_all_others_keep_their_range(void)
{
    net *model = new_model(), *before = new_model();
    setting s = setting_of(64, 5);
    uint64_t state = SEED;
    int64_t n_bad = 0, n_moved = 0;
    s.options.rule.travel = 1e9; /* as far as an increment can carry */
    scatter(model);
    scatter(before);
    bal_optim *optim = new_optim(model, &s);
    for (int64_t step = 0; step < 5; ++step) {
        int8_t votes[64];
        uint32_t flips[N_TENSORS_MAX];
        random_votes(64, &state, false, votes);
        apply(optim, step, 64, votes, flips);
    }
    for (int i = 0; i < model->tensors.n; ++i) {
        bal_tensor *now = &model->tensors.at[i], *old = &before->tensors.at[i];
        for (int64_t at = 0; at < n_places(now); ++at)
            if (abs(get_code(old, at)) >= now->high) /* at the gate, or padding */
                n_bad += get_code(now, at) != get_code(old, at) ||
                         carry_of(model, now)[at] != carry_of(before, old)[at];
            else {
                n_bad += abs(get_code(now, at)) > now->high;
                n_moved += get_code(now, at) != get_code(old, at);
            }
    }
    CU_ASSERT_EQUAL(n_bad, 0);
    CU_ASSERT(n_moved > 5000);
    bal_optim_destroy(&optim);
    drop(&model);
    drop(&before);
}

static void test_pure_noise_travels_as_far_as_it_was_told(void)
{
    static const struct {
        bal_direction_kind kind;
        double density, travel;
        int n_slots;
    } settings[] = {{BAL_DIRECTIONS_WALSH, 1.0, 4.0, 64},
                    {BAL_DIRECTIONS_WALSH, 0.3, 4.0, 16},
                    {BAL_DIRECTIONS_WALSH, 1.0, 0.5, 300},
                    {BAL_DIRECTIONS_INDEPENDENT, 1.0, 8.0, 16}};
    enum { N_STEPS = 200 };
    for (size_t k = 0; k < sizeof settings / sizeof *settings; ++k) {
        net *model = new_model();
        setting s = setting_of(settings[k].n_slots, N_STEPS);
        uint64_t state = SEED;
        double sum = 0.0, n = 0.0;
        s.options.measure.options.kind = settings[k].kind;
        s.options.measure.options.density = settings[k].density;
        s.options.rule.travel = settings[k].travel;
        bal_optim *optim = new_optim(model, &s);
        for (int64_t step = 0; step < N_STEPS; ++step) {
            int8_t votes[N_SLOTS_MAX];
            uint32_t flips[N_TENSORS_MAX];
            random_votes(settings[k].n_slots, &state, false, votes);
            apply(optim, step, settings[k].n_slots, votes, flips);
        }
        for (int i = 0; i < model->tensors.n; ++i) {
            const bal_tensor *t = &model->tensors.at[i];
            for (int64_t at = 0; at < n_places(t); ++at) {
                if (is_padding(t, at)) continue;
                double moved = get_code(t, at) + carry_of(model, t)[at] / 256.0;
                sum += moved * moved, n += 1.0;
            }
        }
        double rms = sqrt(sum / n);
        CU_ASSERT(fabs(rms / settings[k].travel - 1.0) < 0.1);
        printf("\n    %d slots, density %g: %.3f of %.3f steps", settings[k].n_slots,
               settings[k].density, rms, settings[k].travel);
        bal_optim_destroy(&optim);
        drop(&model);
    }
}

/* sum (code + sign z - target)^2, the gate included. */
static int64_t quadratic(const bal_tensor *t, const int8_t *z, int sign, const int *target)
{
    int64_t loss = 0;
    for (int64_t at = 0; at < n_places(t); ++at) {
        int code = get_code(t, at);
        if (is_padding(t, at)) continue;
        if (z != NULL && abs(code) + abs(z[at]) <= t->high) code += sign * z[at];
        loss += (int64_t)(code - target[at]) * (code - target[at]);
    }
    return loss;
}

static void test_votes_of_a_quadratic_lower_it(void)
{
    enum { N_SLOTS = 32, N_STEPS = 120 };
    static int target[8192];
    net *model = new_model();
    setting s = setting_of(N_SLOTS, N_STEPS);
    int index = bal_tensors_find(&model->tensors, "model.layers.0.self_attn.q_proj.weight");
    bal_tensor *t = &model->tensors.at[index];
    uint64_t state = SEED;
    int n_wrong = 0;
    CU_ASSERT_FATAL(n_places(t) <= 8192);
    for (int64_t at = 0; at < n_places(t); ++at)
        target[at] = (int)(bal_test_random(&state) % 41) - 20;
    memset(s.on_ballot, false, sizeof s.on_ballot);
    s.on_ballot[index] = true;
    s.options.rule.travel = 20.0;
    bal_optim *optim = new_optim(model, &s);
    int64_t first = quadratic(t, NULL, 0, target);
    for (int64_t step = 0; step < N_STEPS; ++step) {
        int8_t votes[N_SLOTS];
        uint32_t flips[N_TENSORS_MAX];
        for (int slot = 0; slot < N_SLOTS; ++slot) {
            int8_t *z = direction_of(&s, step, slot, index, t);
            int64_t minus = quadratic(t, z, -1, target), plus = quadratic(t, z, 1, target);
            int64_t descent = 0; /* minus the gradient along z, by hand */
            for (int64_t at = 0; at < n_places(t); ++at)
                if (!is_padding(t, at)) descent += 2 * z[at] * (target[at] - get_code(t, at));
            votes[slot] = (int8_t)((minus > plus) - (minus < plus));
            n_wrong += votes[slot] != (descent > 0) - (descent < 0);
            free(z);
        }
        apply(optim, step, N_SLOTS, votes, flips);
    }
    int64_t last = quadratic(t, NULL, 0, target);
    CU_ASSERT_EQUAL(n_wrong, 0);
    CU_ASSERT(last < first / 5);
    printf("\n    %lld to %lld", (long long)first, (long long)last);
    bal_optim_destroy(&optim);
    drop(&model);
}

/* Fingerprint after some steps of random votes. */
static uint64_t run(bal_direction_kind kind, double density, bal_tally_method method, bal_isa isa)
{
    net *model = new_model();
    setting s = setting_of(300, 20);
    uint64_t state = SEED;
    s.options.measure.options.kind = kind;
    s.options.measure.options.density = density;
    s.options.tally = method;
    s.isa = isa;
    for (int i = 0; i < N_TENSORS_MAX; ++i) s.on_ballot[i] = i % 4 == 2; /* few, to be quick */
    scatter(model);
    bal_optim *optim = new_optim(model, &s);
    for (int64_t step = 0; step < 3; ++step) {
        int8_t votes[300];
        uint32_t flips[N_TENSORS_MAX];
        random_votes(300, &state, true, votes);
        apply(optim, step, 300, votes, flips);
    }
    uint64_t fingerprint = print_of(model);
    bal_optim_destroy(&optim);
    drop(&model);
    return fingerprint;
}

static void test_tables_slots_and_levels_make_the_same_codes(void)
{
    for (int kind = BAL_DIRECTIONS_WALSH; kind <= BAL_DIRECTIONS_INDEPENDENT; ++kind)
        for (int dense = 0; dense < 2; ++dense) {
            bal_direction_kind k = (bal_direction_kind)kind;
            double density = dense ? 1.0 : 0.3;
            uint64_t wanted = run(k, density, BAL_TALLY_SLOTS, BAL_ISA_REF);
            for (int isa = BAL_ISA_REF; isa <= (int)bal_isa_best(); ++isa) {
                CU_ASSERT_EQUAL(run(k, density, BAL_TALLY_SLOTS, (bal_isa)isa), wanted);
                CU_ASSERT_EQUAL(run(k, density, BAL_TALLY_TABLE, (bal_isa)isa), wanted);
            }
        }
}

/* Fingerprint after two steps whose updates were made in n_parts, the last part first. */
static uint64_t run_in_parts(bal_direction_kind kind, double density, int n_parts, uint32_t *flips)
{
    net *model = new_model();
    setting s = setting_of(kind == BAL_DIRECTIONS_UNIFORM ? 1 : 70, 2);
    int n = s.options.ballot.n_slots;
    s.options.measure.options.kind = kind;
    s.options.measure.options.density = density;
    s.options.rule.travel = 50.0;
    if (kind == BAL_DIRECTIONS_UNIFORM) {
        s.options.rule.kind = rule_named("zoqo");
        s.options.measure.options.noise = 3;
    }
    int8_t votes[70];
    uint64_t state = SEED;
    scatter(model);
    bal_optim *optim = new_optim(model, &s);
    memset(flips, 0, N_TENSORS_MAX * sizeof *flips);
    for (int step = 0; step < 2; ++step) {
        random_votes(n, &state, false, votes);
        for (int part = n_parts - 1; part >= 0; --part) {
            uint32_t of_part[N_TENSORS_MAX];
            apply_part(optim, step, s.options.ballot, votes, part, n_parts, of_part);
            for (int i = 0; i < model->tensors.n; ++i) flips[i] += of_part[i];
        }
    }
    uint64_t fingerprint = print_of(model);
    bal_optim_destroy(&optim);
    drop(&model);
    return fingerprint;
}

static void test_an_update_in_parts_is_the_whole_update(void)
{
    for (int kind = BAL_DIRECTIONS_WALSH; kind <= BAL_DIRECTIONS_UNIFORM; ++kind)
        for (int dense = 0; dense < 2; ++dense) {
            uint32_t whole[N_TENSORS_MAX], parts[N_TENSORS_MAX], total = 0;
            double density = dense ? 1.0 : 0.3;
            uint64_t wanted = run_in_parts((bal_direction_kind)kind, density, 1, whole);
            for (int i = 0; i < N_TENSORS_MAX; ++i) total += whole[i];
            CU_ASSERT(total > 0);
            for (int n_parts = 2; n_parts <= 64; n_parts += n_parts < 5 ? 1 : 59) {
                CU_ASSERT_EQUAL(run_in_parts((bal_direction_kind)kind, density, n_parts, parts),
                                wanted);
                CU_ASSERT_EQUAL(memcmp(parts, whole, sizeof whole), 0);
            }
        }
}

static void test_nothing_moves_off_the_ballot_or_without_votes(void)
{
    net *model = new_model();
    setting s = setting_of(64, 10);
    int8_t votes[64];
    uint32_t flips[N_TENSORS_MAX];
    uint64_t before[N_TENSORS_MAX];
    scatter(model);
    s.options.rule.travel = 100.0;
    for (int i = 0; i < N_TENSORS_MAX; ++i) s.on_ballot[i] = i % 3 == 0;
    for (int i = 0; i < model->tensors.n; ++i) before[i] = print_at(model, i);
    bal_optim *optim = new_optim(model, &s);
    memset(votes, 0, sizeof votes);
    memset(flips, 0xFF, sizeof flips);
    apply(optim, 0, 64, votes, flips);
    for (int i = 0; i < model->tensors.n; ++i) {
        CU_ASSERT_EQUAL(flips[i], 0);
        CU_ASSERT_EQUAL(print_at(model, i), before[i]);
    }
    votes[5] = 1;
    apply(optim, 1, 64, votes, flips);
    for (int i = 0; i < model->tensors.n; ++i) {
        CU_ASSERT_EQUAL(flips[i] > 0, s.on_ballot[i]);
        CU_ASSERT_EQUAL(print_at(model, i) != before[i], s.on_ballot[i]);
    }
    bal_optim_destroy(&optim);
    CU_ASSERT_PTR_NULL(optim);
    bal_optim_destroy(&optim);
    drop(&model);
}

static void test_an_update_in_parts_is_the_whole(void)
{
    static const int n_parts[] = {2, 3, 7, 100};
    for (int kind = BAL_DIRECTIONS_WALSH; kind <= BAL_DIRECTIONS_INDEPENDENT; ++kind)
        for (size_t k = 0; k < sizeof n_parts / sizeof *n_parts; ++k) {
            net *whole = new_model(), *parted = new_model();
            setting s = setting_of(64, 10);
            uint64_t state = SEED + k;
            uint64_t bits[2] = {bal_test_random(&state), 0};
            uint32_t flips[N_TENSORS_MAX], some[N_TENSORS_MAX], sum[N_TENSORS_MAX] = {0};
            bits[1] = ~bits[0];
            s.options.measure.options.kind = (bal_direction_kind)kind;
            s.options.measure.options.density = k % 2 == 0 ? 1.0 : 0.3;
            scatter(whole);
            scatter(parted);
            bal_optim *one = new_optim(whole, &s), *many = new_optim(parted, &s);
            bal_optim_apply(one, 3, bits, 0, 1, flips);
            for (int part = n_parts[k] - 1; part >= 0; --part) { /* in any order */
                bal_optim_apply(many, 3, bits, part, n_parts[k], some);
                for (int i = 0; i < whole->tensors.n; ++i) sum[i] += some[i];
            }
            CU_ASSERT_EQUAL(print_of(parted), print_of(whole));
            for (int i = 0; i < whole->tensors.n; ++i) CU_ASSERT_EQUAL(sum[i], flips[i]);
            bal_optim_destroy(&one);
            bal_optim_destroy(&many);
            drop(&whole);
            drop(&parted);
        }
}

static void test_uniform_noise_is_refused(void)
{
    net *model = new_model();
    setting s = setting_of(1, 10);
    bal_optim *optim = NULL;
    s.options.measure.options.kind = BAL_DIRECTIONS_UNIFORM;
    s.options.measure.on_ballot = s.on_ballot;
    CU_ASSERT_EQUAL(bal_optim_create(&model->tensors, &model->states, &s.options, &optim),
                    BAL_ERR_CONFIG);
    CU_ASSERT_PTR_NULL(optim);
    CU_ASSERT_PTR_NOT_NULL(strstr(bal_failure(), "directions"));
    drop(&model);
}

const char bal_suite_name[] = "optim_carry";
const bal_test bal_suite_tests[] = {
    {"carries add up to whole steps", test_carries_add_up_to_whole_steps},
    {"an update is its definition", test_an_update_is_its_definition},
    {"codes at the gate and padding stay, all others keep their range",
     test_codes_at_the_gate_and_padding_stay_and_all_others_keep_their_range},
    {"pure noise travels as far as it was told", test_pure_noise_travels_as_far_as_it_was_told},
    {"votes of a quadratic lower it", test_votes_of_a_quadratic_lower_it},
    {"tables, slots and levels make the same codes",
     test_tables_slots_and_levels_make_the_same_codes},
    {"an update in parts is the whole update", test_an_update_in_parts_is_the_whole_update},
    {"nothing moves off the ballot or without votes",
     test_nothing_moves_off_the_ballot_or_without_votes},
    {"an update in parts is the whole", test_an_update_in_parts_is_the_whole},
    {"uniform noise is refused", test_uniform_noise_is_refused},
    {NULL, NULL},
};
