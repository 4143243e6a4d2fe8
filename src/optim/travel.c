/* travel.c: travel = auto: how far codes are to travel over the run, found by a
 * line search between the base model and the model of now. */
#include <math.h>
#include <stdlib.h>

#include "ballot/kernels.h"
#include "optim_impl.h"

#define PER_OCTAVE 2                   /* points of the line in a factor of 2 */
#define LINE_MAX (BAL_LINE_POINTS / 2) /* the outermost of them */
#define LN_2 0.69314718055994531
#define LOG_OF_POINT (LN_2 / PER_OCTAVE)

int64_t bal_line_scale(int point)
{
    static const int64_t scales[BAL_LINE_POINTS] = {64, 91, 128, 181, 256, 362, 512, 724, 1024};
    return scales[point + LINE_MAX];
}

/* The best of the points that are known; of equals that nearest to the model of now. */
static int best_of(const bal_line *line)
{
    int best = 0;
    for (int point = -LINE_MAX; point <= LINE_MAX; ++point) {
        int64_t loss = line->losses[point + LINE_MAX], least = line->losses[best + LINE_MAX];
        if (loss < 0) continue;
        if (loss < least || (loss == least && abs(point) < abs(best))) best = point;
    }
    return best;
}

bal_line bal_line_begin(void)
{
    bal_line line;
    for (int i = 0; i < BAL_LINE_POINTS; ++i) line.losses[i] = -1;
    return line;
}

bool bal_line_next(const bal_line *line, int *point)
{
    static const int order[] = {0, 1, -1};
    int best = line->losses[LINE_MAX] < 0 ? 0 : best_of(line);
    for (int i = 0; i < 3; ++i) {
        *point = best + order[i];
        if (*point >= -LINE_MAX && *point <= LINE_MAX && line->losses[*point + LINE_MAX] < 0)
            return true;
    }
    return false;
}

void bal_line_put(bal_line *line, int point, int64_t loss)
{
    line->losses[point + LINE_MAX] = loss;
}

void bal_line_pair(const bal_line *line, int *before, int *after)
{
    int best = best_of(line);
    *before = best > -LINE_MAX ? best - 1 : best;
    *after = best < LINE_MAX ? best + 1 : best;
}

/* Of a sum of n differences with these squares. */
static double standard_error(double sum, double squares, double n)
{
    return n > 1.0 ? sqrt(fmax(squares - sum * sum / n, 0.0) * n / (n - 1.0)) : fabs(sum);
}

bal_line_end bal_line_finish(const bal_line *line, int64_t n, double squares)
{
    int best = best_of(line), before, after;
    bal_line_pair(line, &before, &after);
    double at = (double)line->losses[best + LINE_MAX];
    double left = (double)line->losses[before + LINE_MAX];
    double right = (double)line->losses[after + LINE_MAX];
    double error = standard_error(left - right, squares, (double)n);
    bool inside = after - before == 2;
    /* The vertex of a parabola; beyond the last point only the slope is known. */
    double slope = inside ? left + right - 2.0 * at : fabs(left - right);
    double shift = inside && slope > 0.0 ? (left - right) / (2.0 * slope) : 0.0;
    double noise = error < 16.0 * slope ? error / (2.0 * slope) : 8.0;
    return (bal_line_end){
        .scale = llrint(bal_math_exp(LOG_OF_POINT * (best + shift)) * BAL_RATE_ONE),
        .noise = llrint(LOG_OF_POINT * noise * BAL_RATE_ONE),
        .loss = line->losses[LINE_MAX],
        .best_loss = line->losses[best + LINE_MAX]};
}

/* Travel that suits most models: of codes whose steps are fine, of gains alone, of four bits. */
static double first_goal(const bal_tensors *tensors, const bool *on_ballot)
{
    double goal = 1.5;
    for (int i = 0; i < tensors->n; ++i) {
        if (!on_ballot[i]) continue;
        if (bal_format_is_nibbles(tensors->at[i].format)) return 0.15;
        if (tensors->at[i].role == BAL_MATRIX) goal = 3.0;
    }
    return goal;
}

/* By the shape of the schedule all that is left of the goal is spent over the steps from this one
 * on, and never less than a quarter of its square. */
static void plan(bal_travel *travel, const bal_optim_options *options, int64_t step)
{
    double left = 0.0, norm, n = (double)options->n_steps;
    double goal = (double)travel->goal / BAL_RATE_ONE;
    for (int64_t i = step; i < options->n_steps; ++i) {
        double shape = bal_schedule_shape(&options->rule, (double)i, n, &norm);
        left += shape * shape;
    }
    double room = goal * goal - travel->spent, least = 0.25 * goal * goal;
    travel->pace = sqrt((room > least ? room : least) / (bal_rule_share(options) * left));
}

bal_travel bal_travel_begin(const bal_optim_options *options, const bal_tensors *tensors)
{
    double goal = first_goal(tensors, options->measure.on_ballot);
    bal_travel travel = {.goal = llrint(goal * BAL_RATE_ONE)};
    plan(&travel, options, 0);
    return travel;
}

bool bal_travel_is_due(int64_t step, int64_t n_steps)
{
    for (int64_t at = n_steps / 2; at >= 2 && at >= n_steps / 64; at /= 2)
        if (step == at) return true;
    return false;
}

/* By how much a search asks for another travel, as a logarithm. The votes of the run were taken on
 * its own way, so the best scale lies on the side of the right travel, but nearer to 1. Runs of a
 * model with int8 codes at travels from 1 to 8 give the curve: the 5/2 power of the scale, and
 * beyond 1.22 the 5/4 power of it and a constant. */
static double asked_for(double log_scale)
{
    double near = log_scale > 0.2 ? 0.2 : log_scale < -0.2 ? -0.2 : log_scale;
    return 1.25 * (log_scale + near);
}

/* Half of what is asked for is believed, three quarters where the search ended at its end, and less
 * of what is noise. In the first eighth of a run every travel seems too short: only a clear
 * overshoot is believed. A scale above 1 asks for more than the goal, for noise that has settled
 * brings the best scale to 1 at any rate; one clearly below 1 says that even what is spent was too
 * much. */
void bal_travel_correct(bal_travel *travel, const bal_optim_options *options, int64_t step,
                        int64_t scale, int64_t noise)
{
    const double doubt = 0.5; /* of the goal so far, as a logarithm */
    bool early = step < options->n_steps / 7;
    double log_scale = bal_math_log((double)scale / BAL_RATE_ONE);
    if (early && log_scale > -1.5 * LOG_OF_POINT) return;
    double log_goal = bal_math_log((double)travel->goal / BAL_RATE_ONE);
    double surely = log_scale < 0.0 ? fmin(-log_scale / 0.07, 1.0) : 0.0; /* too much is spent */
    double from = log_goal + surely * (0.5 * bal_math_log(travel->spent) - log_goal);
    double weight = log_scale > LOG_OF_POINT * (LINE_MAX - 0.5) ? 0.75 : 0.5;
    double error = 2.0 * (double)noise / BAL_RATE_ONE;
    weight *= doubt * doubt / (doubt * doubt + error * error);
    double log_new = log_goal + weight * (from + asked_for(log_scale) - log_goal);
    travel->goal = llrint(bal_math_exp(log_new) * BAL_RATE_ONE);
    plan(travel, options, step);
}

int64_t bal_travel_rate(const bal_travel *travel, const bal_optim_options *options, int64_t step)
{
    double norm, n = (double)options->n_steps;
    double shape = bal_schedule_shape(&options->rule, (double)step, n, &norm);
    int64_t rate = llrint(travel->pace * shape * BAL_RATE_ONE);
    return rate > 0 ? rate : 1;
}

void bal_travel_spend(bal_travel *travel, const bal_optim_options *options, int64_t rate)
{
    double moved = (double)rate / BAL_RATE_ONE;
    travel->spent += bal_rule_share(options) * moved * moved;
}
