/* ways.c: the table of ways to probe. Adding a way is adding a row and its vote. */
#include "ballot/probe.h"

int bal_way_slots(const bal_way *way, int first, int n_slots)
{
    return n_slots - first < way->team ? n_slots - first : way->team;
}

static void vote_two_sided(int n, const int64_t *losses, int8_t *votes)
{
    for (int i = 0; i < n; ++i) {
        bal_pair pair = {.minus = losses[2 * i], .plus = losses[2 * i + 1]};
        votes[i] = (int8_t)bal_pair_vote(pair);
    }
}

const bal_way bal_ways[] = {
    [BAL_WAY_TWO_SIDED] = {.n_points = 2,
                           .team = 1,
                           .n_bits = BAL_SIGN_BITS,
                           .vote = vote_two_sided},
};
