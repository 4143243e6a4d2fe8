/* rate.c: how far a step of the run lets codes move. */
#include <math.h>

#include "optim_impl.h"

/* cos(pi x / 2)^2 for x in [0, 1], the same on every machine: sin by its Taylor series. */
static double cosine_squared(double x)
{
    double y = x * 1.5707963267948966, term = y, sine = y;
    for (int i = 3; i < 20; i += 2) {
        term *= -y * y / (double)(i * (i - 1));
        sine += term;
    }
    return 1.0 - sine * sine;
}

double bal_schedule_shape(const bal_rule_options *rule, double step, double n, double *norm)
{
    bal_schedule kind = rule->schedule;
    if (kind == BAL_SCHEDULE_AUTO)
        kind = rule->travel == BAL_TRAVEL_AUTO ? BAL_SCHEDULE_CONSTANT : BAL_SCHEDULE_LINEAR;
    double warmth = step < (double)rule->warmup ? (step + 1.0) / (double)rule->warmup : 1.0;
    switch (kind) {
        case BAL_SCHEDULE_LINEAR:
            *norm = 3.0;
            return (1.0 - step / n) * warmth;
        case BAL_SCHEDULE_COSINE:
            *norm = 8.0 / 3.0;
            return cosine_squared(step / n) * warmth;
        default:
            *norm = 1.0;
            return warmth;
    }
}

double bal_rule_share(const bal_optim_options *options)
{
    return options->measure.options.density / bal_measure_turns(&options->measure);
}

/* Where the step has no rate of its own, it is travel sqrt(norm turns / (density steps)) schedule,
 * so that pure noise carries a code by travel steps RMS over the run. */
double bal_rule_rate(const bal_rule_step *step)
{
    const bal_optim_options *options = step->options;
    double n_steps = (double)options->n_steps, norm, rate = step->rate;
    if (rate == 0.0) {
        double now = bal_schedule_shape(&options->rule, (double)step->step, n_steps, &norm);
        rate = options->rule.travel * sqrt(norm / (bal_rule_share(options) * n_steps)) * now;
    }
    return rate * step->factor;
}

double bal_rule_unit(const bal_rule_step *step)
{
    bal_ballot_shape ballot = step->options->ballot;
    return step->tally_unit / sqrt((double)ballot.n_slots) / bal_ballot_vote_rms(ballot);
}

bal_status bal_rule_check_signs(const bal_optim_options *options)
{
    bal_direction_kind kind = options->measure.options.kind;
    if (kind == BAL_DIRECTIONS_UNIFORM || kind == BAL_DIRECTIONS_SHARED)
        return bal_fail(BAL_ERR_CONFIG,
                        "uniform directions are for rule zoqo, and shared ones for feedsign: set "
                        "[vote] directions = walsh or independent");
    return BAL_OK;
}
