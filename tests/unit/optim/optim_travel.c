/* optim_travel.c: travel = auto: the search of a line, and what a run makes of it. */
#include <math.h>
#include <stdlib.h>

#include "ballot/optim.h"
#include "suite.h"

#define N_STEPS 320

/* Loss at a point of a line whose best scale is known: a parabola in the logarithm. */
static int64_t loss_at(int point, double best)
{
    double x = point - 2.0 * log2(best);
    return llrint(1e9 + 1e6 * x * x);
}

static bal_line_end search(double best, double error, int *n_tried)
{
    bal_line line = bal_line_begin();
    int before, after;
    *n_tried = 0;
    for (int point; bal_line_next(&line, &point); ++*n_tried)
        bal_line_put(&line, point, loss_at(point, best));
    bal_line_pair(&line, &before, &after);
    double sum = (double)(line.losses[before + 4] - line.losses[after + 4]), n = 100.0;
    return bal_line_finish(&line, 100, sum * sum / n + error * error * (n - 1.0) / n);
}

static void test_the_lowest_loss_of_a_line_is_found(void)
{
    const double best[] = {0.3, 0.5, 0.8, 1.0, 1.1, 1.5, 2.0, 3.2};
    for (size_t i = 0; i < sizeof best / sizeof *best; ++i) {
        int n_tried;
        bal_line_end end = search(best[i], 0.0, &n_tried);
        CU_ASSERT_DOUBLE_EQUAL((double)end.scale / BAL_RATE_ONE, best[i], 0.01 * best[i]);
        CU_ASSERT(n_tried >= 3 && n_tried <= 6);
        CU_ASSERT(end.best_loss <= end.loss);
        CU_ASSERT_EQUAL(end.loss, loss_at(0, best[i]));
    }
}

static void test_a_search_ends_at_the_ends_of_the_line(void)
{
    int n_tried;
    CU_ASSERT_DOUBLE_EQUAL((double)search(50.0, 0.0, &n_tried).scale / BAL_RATE_ONE, 4.0, 1e-6);
    CU_ASSERT_DOUBLE_EQUAL((double)search(0.01, 0.0, &n_tried).scale / BAL_RATE_ONE, 0.25, 1e-6);
    bal_line line = bal_line_begin();
    for (int point; bal_line_next(&line, &point);) bal_line_put(&line, point, 7); /* all alike */
    bal_line_end end = bal_line_finish(&line, 5, 0.0);
    CU_ASSERT_EQUAL(end.scale, (int64_t)BAL_RATE_ONE);
}

/* Of a parabola 1e6 x^2, whose neighbours of the best point lie 2e6 above it together. */
static void test_the_noise_of_a_search_is_the_standard_error_of_its_vertex(void)
{
    int n_tried;
    for (double error = 1e4; error < 1e7; error *= 10.0) {
        double noise = (double)search(1.5, error, &n_tried).noise / BAL_RATE_ONE;
        CU_ASSERT_DOUBLE_EQUAL(noise, log(2.0) / 2.0 * error / 4e6, 0.01 * noise);
    }
}

static bal_optim_options options_of(bal_schedule schedule, double density)
{
    return (bal_optim_options){
        .rule = {.kind = bal_rule_of(0), .travel = BAL_TRAVEL_AUTO, .schedule = schedule},
        .measure.options.density = density,
        .n_steps = N_STEPS};
}

static bal_travel begin(const bal_optim_options *options, bal_format format)
{
    static bool on_ballot[1] = {true};
    bal_tensor matrix = {.role = BAL_MATRIX, .format = format};
    bal_optim_options own = *options;
    own.measure.on_ballot = on_ballot;
    return bal_travel_begin(&own, &(bal_tensors){.n = 1, .at = &matrix});
}

/* Steps up to `end` at the rates that are planned. */
static void go(bal_travel *travel, const bal_optim_options *options, int64_t step, int64_t end)
{
    for (; step < end; ++step)
        bal_travel_spend(travel, options, bal_travel_rate(travel, options, step));
}

static void test_a_run_spends_its_goal(void)
{
    for (int schedule = BAL_SCHEDULE_LINEAR; schedule <= BAL_SCHEDULE_AUTO; ++schedule) {
        bal_optim_options options = options_of((bal_schedule)schedule, 0.25);
        bal_travel travel = begin(&options, BAL_I8);
        go(&travel, &options, 0, N_STEPS);
        CU_ASSERT_DOUBLE_EQUAL(sqrt(travel.spent), 3.0, 0.001);
        CU_ASSERT_DOUBLE_EQUAL((double)travel.goal / BAL_RATE_ONE, 3.0, 1e-6);
    }
    bal_optim_options options = options_of(BAL_SCHEDULE_AUTO, 1.0);
    CU_ASSERT(begin(&options, BAL_I4).goal < begin(&options, BAL_I8).goal / 10);
}

static void test_a_goal_moves_to_what_is_found_unless_that_is_noise(void)
{
    const int64_t quiet = 0, loud = (int64_t)(2.0 * BAL_RATE_ONE);
    bal_optim_options options = options_of(BAL_SCHEDULE_AUTO, 1.0);
    for (int up = 0; up < 2; ++up) {
        int64_t scale = (int64_t)((up ? 3.0 : 0.4) * BAL_RATE_ONE);
        bal_travel travel = begin(&options, BAL_I8), other;
        go(&travel, &options, 0, N_STEPS / 2);
        int64_t goal = travel.goal;
        other = travel;
        bal_travel_correct(&travel, &options, N_STEPS / 2, scale, quiet);
        bal_travel_correct(&other, &options, N_STEPS / 2, scale, loud);
        CU_ASSERT(up ? travel.goal > goal * 6 / 5 : travel.goal < goal * 5 / 6);
        CU_ASSERT(llabs(other.goal - goal) < llabs(travel.goal - goal) / 10);
        go(&travel, &options, N_STEPS / 2, N_STEPS);
        if (up)
            CU_ASSERT_DOUBLE_EQUAL(sqrt(travel.spent), (double)travel.goal / BAL_RATE_ONE, 0.01);
    }
}

static void test_in_the_beginning_only_an_overshoot_counts(void)
{
    bal_optim_options options = options_of(BAL_SCHEDULE_AUTO, 1.0);
    bal_travel travel = begin(&options, BAL_I8), before;
    go(&travel, &options, 0, N_STEPS / 64);
    before = travel;
    bal_travel_correct(&travel, &options, N_STEPS / 64, (int64_t)(4.0 * BAL_RATE_ONE), 0);
    CU_ASSERT_EQUAL(travel.goal, before.goal);
    bal_travel_correct(&travel, &options, N_STEPS / 64, (int64_t)(0.5 * BAL_RATE_ONE), 0);
    CU_ASSERT(travel.goal < before.goal / 2);
}

static void test_searches_come_at_halves_of_halves_of_the_run(void)
{
    int64_t n = 0;
    for (int64_t step = 0; step < N_STEPS; ++step) n += bal_travel_is_due(step, N_STEPS);
    CU_ASSERT_EQUAL(n, 6);
    CU_ASSERT(bal_travel_is_due(160, N_STEPS) && bal_travel_is_due(5, N_STEPS));
    CU_ASSERT(!bal_travel_is_due(0, 1) && !bal_travel_is_due(0, N_STEPS));
}

const char bal_suite_name[] = "optim_travel";
const bal_test bal_suite_tests[] = {
    {"the lowest loss of a line is found", test_the_lowest_loss_of_a_line_is_found},
    {"a search ends at the ends of the line", test_a_search_ends_at_the_ends_of_the_line},
    {"the noise of a search is the standard error of its vertex",
     test_the_noise_of_a_search_is_the_standard_error_of_its_vertex},
    {"a run spends its goal", test_a_run_spends_its_goal},
    {"a goal moves to what is found unless that is noise",
     test_a_goal_moves_to_what_is_found_unless_that_is_noise},
    {"in the beginning only an overshoot counts", test_in_the_beginning_only_an_overshoot_counts},
    {"searches come at halves of halves of the run",
     test_searches_come_at_halves_of_halves_of_the_run},
    {NULL, NULL},
};
