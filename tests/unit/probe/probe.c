/* probe.c: what a team of slots is found to say, by the table's way and by one of this test. */
#include "ballot/probe.h"

#include <stdlib.h>
#include <string.h>

#include "../model/toy.h"

#define N_SEQUENCES 20
#define N_TENSORS_MAX 64

/* Windows of toy tokens, each decided by its random number alone. */
static void draw(const void *self, uint64_t random, bal_batch *batch)
{
    (void)self;
    int n = 2 + (int)(random % (TOY_CONTEXT - 1));
    for (int i = 0; i < n; ++i) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        bal_batch_add(batch, (int32_t)(random >> 33) % TOY_VOCAB,
                      i == 0 ? -1 : (int32_t)(random >> 40) % TOY_VOCAB);
    }
    bal_batch_end(batch);
}

static const bal_dataset windows = {.n_examples = 1, .draw = draw};

/* One pass a slot, three slots on a mini-batch, votes of three bits. */
static bal_way in_threes(void)
{
    bal_way way = bal_ways[BAL_WAY_ONE_SIDED];
    way.team = 3;
    way.n_bits = 3;
    return way;
}

/* A prober of a toy model, and the measure of its step. */
typedef struct bench {
    bal_model *model;
    bal_batch batch;
    bal_prober prober;
    bal_measure measure;
    bool on_ballot[N_TENSORS_MAX];
} bench;

static void set_up_with(bench *b, bal_way way, const bal_dataset *data)
{
    const bal_kernels *kernels = bal_kernels_at(bal_isa_best());
    bal_batch_size room = bal_batch_text(N_SEQUENCES, TOY_CONTEXT);
    room.answers = 2 * N_SEQUENCES;
    *b = (bench){.model = toy_model(true)};
    memset(b->on_ballot, true, sizeof b->on_ballot);
    CU_ASSERT_EQUAL_FATAL(bal_batch_init(&b->batch, room), BAL_OK);
    b->prober =
        (bal_prober){.way = way, .data = data, .n_examples = N_SEQUENCES, .batch = &b->batch};
    CU_ASSERT_EQUAL_FATAL(bal_forward_create(b->model, kernels, N_SEQUENCES * TOY_CONTEXT,
                                             TOY_CONTEXT, &b->prober.forward),
                          BAL_OK);
    CU_ASSERT_EQUAL_FATAL(bal_prober_init(&b->prober), BAL_OK);
    b->measure = (bal_measure){.kernels = kernels,
                               .options = {.noise = 1, .density = 1.0},
                               .seed = SEED,
                               .step = 5,
                               .on_ballot = b->on_ballot};
}

static void set_up(bench *b, bal_way way) { set_up_with(b, way, &windows); }

static void clear(bench *b)
{
    bal_prober_clear(&b->prober);
    bal_forward_destroy(&b->prober.forward);
    bal_batch_clear(&b->batch);
    bal_model_destroy(&b->model);
}

/* Both losses of a slot on the mini-batch of another, [0] at +, with those of each sequence. */
static void lose(bench *b, int drawn_by, int slot, bal_losses losses[2],
                 int64_t sequences[2][N_SEQUENCES])
{
    bal_direction direction = {.measure = b->measure, .slot = (uint32_t)slot};
    for (int sign = 0; sign < 2; ++sign) losses[sign].answers = sequences[sign];
    bal_dataset_draw(&windows, b->measure.kernels, SEED, b->measure.step, (uint32_t)drawn_by,
                     N_SEQUENCES, &b->batch);
    CU_ASSERT_EQUAL_FATAL(bal_forward_losses(b->prober.forward, &b->batch, &direction, losses),
                          BAL_OK);
}

static void test_a_two_sided_vote_is_the_sign_of_a_difference(void)
{
    const bal_way *way = &bal_ways[BAL_WAY_TWO_SIDED];
    const int64_t losses[][2] = {{9, 4}, {4, 9}, {7, 7}, {-1, -9}, {0, (int64_t)1 << 60}};
    const int right[] = {1, -1, 0, 1, -1};
    for (int i = 0; i < 5; ++i) {
        int64_t value;
        way->find(1, losses[i], &value);
        for (int64_t unit = 0; unit < 3; ++unit)
            CU_ASSERT_EQUAL(bal_way_vote(way, unit, value), right[i]);
    }
}

static void test_a_one_sided_slot_is_held_against_its_team(void)
{
    const int64_t losses[] = {10, 20, 33};
    const int64_t right[] = {33, 3, -36}; /* 63 - 3 loss */
    int64_t values[3];
    bal_ways[BAL_WAY_ONE_SIDED].find(3, losses, values);
    for (int i = 0; i < 3; ++i) CU_ASSERT_EQUAL(values[i], right[i]);
    bal_ways[BAL_WAY_ONE_SIDED].find(1, losses, values);
    CU_ASSERT_EQUAL(values[0], 0); /* alone it finds nothing */
}

static void test_a_vote_of_more_bits_is_rounded_in_its_unit(void)
{
    bal_way way = bal_ways[BAL_WAY_ONE_SIDED];
    const struct {
        int n_bits;
        int64_t unit, value;
        int vote;
    } known[] = {{8, 10, 0, 0},
                 {8, 10, 4, 0},
                 {8, 10, 5, 1},
                 {8, 10, -5, -1},
                 {8, 10, 14, 1},
                 {8, 10, -15, -2},
                 {8, 1, 127, 127},
                 {8, 1, 128, 127},
                 {8, 1, -129, -127},
                 {8, 7, 7 * 126 + 4, 127},
                 {8, 0, 3, 32},
                 {8, 0, -1, -32},
                 {8, 0, 0, 0},
                 {3, 10, 34, 3},
                 {3, 10, 36, 3},
                 {3, 0, 9, 1},
                 {4, 5, 13, 3},
                 {4, 0, -9, -2},
                 {4, 3, (int64_t)1 << 61, 7}};
    for (size_t i = 0; i < sizeof known / sizeof *known; ++i) {
        way.n_bits = known[i].n_bits;
        CU_ASSERT_EQUAL(bal_way_vote(&way, known[i].unit, known[i].value), known[i].vote);
    }
    way.n_bits = 8; /* the mean |value| becomes a vote of 32 */
    bal_totals before = {.n_cast = 64, .spread = 64 * 320};
    CU_ASSERT_EQUAL(bal_way_unit(&way, &before), 10);
    CU_ASSERT_EQUAL(bal_way_vote(&way, bal_way_unit(&way, &before), 320), 32);
    ++before.spread; /* rounded up, so that a unit is never 0 once anything was found */
    CU_ASSERT_EQUAL(bal_way_unit(&way, &before), 11);
    before.spread = 1;
    CU_ASSERT_EQUAL(bal_way_unit(&way, &before), 1);
    before.spread = 0;
    CU_ASSERT_EQUAL(bal_way_unit(&way, &before), 0);
    CU_ASSERT_EQUAL(bal_way_unit(&way, &(bal_totals){0}), 0);
}

/* Losses of a plane with a slope of 1,000 units, in every direction. */
static void test_a_slope_is_found_by_every_way(void)
{
    enum { N_TEAMS = 4000 };
    uint64_t state = 3;
    const int teams[] = {1, 2, 8, 64};
    for (size_t k = 0; k < sizeof teams / sizeof *teams; ++k) {
        bal_way way = bal_ways[k == 0 ? BAL_WAY_TWO_SIDED : BAL_WAY_ONE_SIDED];
        way.team = teams[k];
        double sum = 0.0;
        for (int team = 0; team < N_TEAMS; ++team) {
            int64_t losses[2 * BAL_WAY_TEAM_MAX], values[BAL_WAY_TEAM_MAX];
            for (int i = 0; i < way.team; ++i) {
                double change = 0.0; /* a normal number: the sum of twelve uniform ones, less 6 */
                for (int j = 0; j < 12; ++j)
                    change += (double)(bal_test_random(&state) >> 11) / 9007199254740992.0 - 0.5;
                losses[i * way.n_points] = 5000000 + (int64_t)(1000.0 * change);
                if (way.n_points == 2) losses[2 * i + 1] = 5000000 - (int64_t)(1000.0 * change);
            }
            way.find(way.team, losses, values);
            for (int i = 0; i < way.team; ++i) sum += (double)llabs(values[i]);
        }
        double found = bal_way_slope(&way, sum / (N_TEAMS * way.team));
        CU_ASSERT_DOUBLE_EQUAL(found, 1000.0, 40.0);
    }
}

static void test_a_two_sided_probe_looks_at_both_sides(void)
{
    bench b;
    set_up(&b, bal_ways[BAL_WAY_TWO_SIDED]);
    bal_totals totals = {0}, expected = {0};
    for (int slot = 0; slot < 40; ++slot) {
        bal_losses by_hand[2];
        int64_t losses[2], sequences[2][N_SEQUENCES];
        int8_t vote;
        lose(&b, slot, slot, by_hand, sequences);
        CU_ASSERT_EQUAL_FATAL(bal_probe(&b.prober, &b.measure, slot, 1, losses), BAL_OK);
        bal_probe_votes(&b.prober, 1, losses, &vote);
        bal_probe_count(&b.prober, 1, losses, &vote, &totals);
        CU_ASSERT_EQUAL(losses[0], by_hand[1].loss);
        CU_ASSERT_EQUAL(losses[1], by_hand[0].loss);
        int sign = (losses[0] > losses[1]) - (losses[0] < losses[1]);
        CU_ASSERT_EQUAL(vote, sign);
        expected.loss += losses[0] + losses[1];
        expected.n_tokens += b.batch.n_scored;
        expected.spread += (losses[0] - losses[1]) * sign;
        for (int i = 0; i < N_SEQUENCES; ++i) {
            int64_t difference = (sequences[1][i] - sequences[0][i]) * sign;
            expected.n_agree += difference > 0;
        }
        int64_t first = 0; /* what half of the questions finds */
        for (int i = 0; i < N_SEQUENCES / 2; ++i) first += sequences[1][i] - sequences[0][i];
        expected.common += first * (losses[0] - losses[1] - first) / 1024;
    }
    CU_ASSERT(expected.n_agree > 40 * N_SEQUENCES / 2); /* as a sum has the sign of most of it */
    CU_ASSERT_EQUAL(memcmp(&totals, &expected, sizeof totals), 0);
    clear(&b);
}

/* Questions whose answers are written: the grade is their words, as a number. */
static void draw_question(const void *self, uint64_t random, bal_batch *batch)
{
    (void)self;
    const int32_t prompt[] = {(int32_t)(random % TOY_VOCAB), (int32_t)(random / 97 % TOY_VOCAB)};
    int64_t sequence = bal_batch_sequence(batch, -1, prompt, 2);
    bal_batch_ask(batch, sequence, 1, 0, false);
    batch->questions[batch->n_questions - 1].example = (int64_t)(random % 1000);
    bal_batch_answer(batch, sequence, prompt, 1);
}

static bool ends(const void *self, int32_t token)
{
    (void)self;
    return token % 5 == 0;
}

static bal_status grade(const void *self, int64_t index, const int32_t *tokens, int64_t n,
                        bal_grade *given)
{
    (void)self;
    *given = (bal_grade){.missed = index};
    for (int64_t i = 0; i < n; ++i) given->missed = 3 * given->missed + tokens[i];
    return BAL_OK;
}

static const bal_writing writing = {.max_words = 4, .ends = ends, .grade = grade};
static const bal_dataset written = {.n_examples = 1,
                                    .aim = {.objective = BAL_OBJECTIVE_F1},
                                    .writing = &writing,
                                    .draw = draw_question};

static void test_written_answers_are_probed_by_their_grades(void)
{
    bench b;
    set_up_with(&b, bal_ways[BAL_WAY_TWO_SIDED], &written);
    CU_ASSERT_PTR_NOT_NULL_FATAL(b.prober.answerer);
    int n_cast = 0;
    for (int slot = 0; slot < 10; ++slot) {
        bal_grade grades[2 * N_SEQUENCES]; /* at +, at - */
        bal_direction direction = {.measure = b.measure, .slot = (uint32_t)slot};
        int64_t losses[2], n_agree = 0;
        int8_t vote;
        bal_totals totals = {0};
        bal_dataset_draw(&written, b.measure.kernels, SEED, b.measure.step, (uint32_t)slot,
                         N_SEQUENCES, &b.batch);
        CU_ASSERT_EQUAL_FATAL(bal_answerer_answer(b.prober.answerer, &written, &b.batch, NULL,
                                                  &direction, grades, NULL),
                              BAL_OK);
        CU_ASSERT_EQUAL_FATAL(bal_probe(&b.prober, &b.measure, slot, 1, losses), BAL_OK);
        bal_probe_votes(&b.prober, 1, losses, &vote);
        bal_probe_count(&b.prober, 1, losses, &vote, &totals);
        bal_prober one_sided = b.prober;
        int64_t plus;
        one_sided.way = bal_ways[BAL_WAY_ONE_SIDED];
        CU_ASSERT_EQUAL_FATAL(bal_probe(&one_sided, &b.measure, slot, 1, &plus), BAL_OK);
        CU_ASSERT_EQUAL(plus, losses[1]);
        for (int i = 0; i < N_SEQUENCES; ++i) {
            losses[0] -= grades[N_SEQUENCES + i].missed;
            losses[1] -= grades[i].missed;
            n_agree += (grades[N_SEQUENCES + i].missed - grades[i].missed) * vote > 0;
        }
        CU_ASSERT(losses[0] == 0 && losses[1] == 0);
        CU_ASSERT_EQUAL(totals.n_agree, (uint64_t)n_agree);
        CU_ASSERT_EQUAL(totals.n_tokens, N_SEQUENCES);
        n_cast += vote != 0;
    }
    CU_ASSERT(n_cast > 0);
    clear(&b);
}

/* Questions with two answers of a word each; the random number decides all. */
static void draw_choice(const void *self, uint64_t random, bal_batch *batch)
{
    (void)self;
    const int32_t prompt[] = {(int32_t)(random % TOY_VOCAB), (int32_t)(random / 97 % TOY_VOCAB)};
    const int32_t words[] = {3, 4};
    int64_t sequence = bal_batch_sequence(batch, -1, prompt, 2);
    bal_batch_ask(batch, sequence, 2, (int32_t)(random >> 40) % 2, false);
    for (int i = 0; i < 2; ++i) bal_batch_answer(batch, sequence, &words[i], 1);
}

/* Label means and F1 are of the whole mini-batch: its halves would agree on them. */
static void test_halves_are_compared_only_if_each_stands_alone(void)
{
    const bal_objective objectives[] = {BAL_OBJECTIVE_LABEL, BAL_OBJECTIVE_CANDIDATES,
                                        BAL_OBJECTIVE_CENTRED, BAL_OBJECTIVE_F1};
    for (int k = 0; k < 4; ++k) {
        const bal_dataset data = {
            .n_examples = 1, .aim = {.objective = objectives[k]}, .draw = draw_choice};
        bench b;
        bal_totals totals = {0};
        set_up_with(&b, bal_ways[BAL_WAY_TWO_SIDED], &data);
        for (int slot = 0; slot < 20; ++slot) {
            int64_t losses[2];
            int8_t vote;
            CU_ASSERT_EQUAL_FATAL(bal_probe(&b.prober, &b.measure, slot, 1, losses), BAL_OK);
            bal_probe_votes(&b.prober, 1, losses, &vote);
            bal_probe_count(&b.prober, 1, losses, &vote, &totals);
        }
        CU_ASSERT(totals.spread > 0);
        CU_ASSERT_EQUAL(totals.common != 0, k < 2);
        clear(&b);
    }
}

/* Teams of three of 20 slots; if upper_only, of directions that move the second layer alone. */
static void check_teams(bool upper_only)
{
    bench b;
    bal_way way = in_threes();
    set_up(&b, way);
    int n_large = 0, n_small = 0; /* mini-batches of more than 128 tokens, probed slot by slot */
    b.prober.unit = 1 << 18;
    for (int i = 0; upper_only && i < bal_model_tensors(b.model)->n; ++i)
        b.on_ballot[i] = strstr(bal_model_tensors(b.model)->at[i].name, "layers.1.") != NULL;
    for (int first = 0; first < 20; first += 3) {
        int n = bal_way_slots(&way, first, 20); /* the last has 2 */
        int64_t losses[3], values[3], sequences[2][N_SEQUENCES];
        int8_t votes[3];
        bal_totals totals = {0};
        CU_ASSERT_EQUAL(n, first == 18 ? 2 : 3);
        CU_ASSERT_EQUAL_FATAL(bal_probe(&b.prober, &b.measure, first, n, losses), BAL_OK);
        ++*(b.batch.n_tokens > 128 ? &n_large : &n_small);
        bal_probe_votes(&b.prober, n, losses, votes);
        bal_probe_count(&b.prober, n, losses, votes, &totals);
        CU_ASSERT_EQUAL(totals.n_tokens, n * b.batch.n_scored);
        CU_ASSERT(totals.n_agree > 0 && totals.n_agree <= n * N_SEQUENCES);
        way.find(n, losses, values);
        for (int i = 0; i < n; ++i) {
            bal_losses by_hand[2];
            lose(&b, first, first + i, by_hand, sequences);
            CU_ASSERT_EQUAL(losses[i], by_hand[0].loss);
            CU_ASSERT_EQUAL(votes[i], bal_way_vote(&way, 1 << 18, values[i]));
            totals.loss -= losses[i];
            totals.spread -= llabs(values[i]);
        }
        CU_ASSERT_EQUAL(totals.loss, 0);
        CU_ASSERT_EQUAL(totals.spread, 0);
    }
    CU_ASSERT(n_large > 0 && n_small > 0);
    clear(&b);
}

static void test_a_team_shares_a_mini_batch(void)
{
    check_teams(false);
    check_teams(true);
}

const char bal_suite_name[] = "probe";
const bal_test bal_suite_tests[] = {
    {"a two-sided vote is the sign of a difference",
     test_a_two_sided_vote_is_the_sign_of_a_difference},
    {"a one-sided slot is held against its team", test_a_one_sided_slot_is_held_against_its_team},
    {"a vote of more bits is rounded in its unit", test_a_vote_of_more_bits_is_rounded_in_its_unit},
    {"a slope is found by every way", test_a_slope_is_found_by_every_way},
    {"a two-sided probe looks at both sides", test_a_two_sided_probe_looks_at_both_sides},
    {"written answers are probed by their grades", test_written_answers_are_probed_by_their_grades},
    {"halves are compared only if each stands alone",
     test_halves_are_compared_only_if_each_stands_alone},
    {"a team shares a mini-batch", test_a_team_shares_a_mini_batch},
    {NULL, NULL}};
