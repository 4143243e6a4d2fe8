/* ways.c: the table of ways to probe, and how what a slot has found is rounded to its vote. Adding
 * a way is adding a row and what its slots find. */
#include <math.h>

#include "ballot/probe.h"

int bal_way_slots(const bal_way *way, int first, int n_slots)
{
    return n_slots - first < way->team ? n_slots - first : way->team;
}

static bal_ballot_shape shape_of(const bal_way *way)
{
    return (bal_ballot_shape){.n_slots = way->team, .n_bits = way->n_bits};
}

int64_t bal_way_unit(const bal_way *way, const bal_totals *before)
{
    int64_t n = before->n_cast * bal_ballot_vote_mean(shape_of(way));
    return n > 0 && before->spread > 0 ? 1 + (before->spread - 1) / n : 0;
}

/* What one of n slots finds is n times its distance from their mean, of which the variance is
 * n (n - 1) times that of a loss; what a pair finds is twice the change. */
double bal_way_slope(const bal_way *way, double mean)
{
    const double rms_of_mean = 1.2533141373155003; /* sqrt(pi / 2), of normal numbers */
    double n = (double)way->team;
    return rms_of_mean * mean / (way->n_points == 2 ? 2.0 : sqrt(n * (n - 1.0)));
}

int bal_way_vote(const bal_way *way, int64_t unit, int64_t value)
{
    int64_t size = value < 0 ? -value : value, most = bal_ballot_vote_max(shape_of(way));
    if (way->n_bits == BAL_SIGN_BITS || unit == 0)
        size = size > 0 ? bal_ballot_vote_mean(shape_of(way)) : 0;
    else
        size = size / unit + (size % unit >= unit - size % unit);
    return (int)(size > most ? most : size) * (value < 0 ? -1 : 1);
}

static void find_two_sided(int n, const int64_t *losses, int64_t *values)
{
    for (int i = 0; i < n; ++i) values[i] = losses[2 * i] - losses[2 * i + 1];
}

static void find_one_sided(int n, const int64_t *losses, int64_t *values)
{
    int64_t sum = 0;
    for (int i = 0; i < n; ++i) sum += losses[i];
    for (int i = 0; i < n; ++i) values[i] = sum - n * losses[i];
}

const bal_way bal_ways[] = {
    [BAL_WAY_TWO_SIDED] = {.n_points = 2,
                           .team = 1,
                           .n_bits = BAL_SIGN_BITS,
                           .find = find_two_sided},
    [BAL_WAY_ONE_SIDED] = {.n_points = 1,
                           .team = 2,
                           .n_bits = BAL_SIGN_BITS,
                           .find = find_one_sided},
};
