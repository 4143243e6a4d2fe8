/* measure.h: measures of the perturb tests. */
#ifndef BALLOT_TEST_MEASURE_H
#define BALLOT_TEST_MEASURE_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ballot/perturb.h"
#include "suite.h"

#define SEED 77u
#define N_TENSORS 3

static const bool on_ballot[N_TENSORS] = {true, false, true};

static inline bal_measure measure_of(bal_direction_kind kind, int64_t noise, double density)
{
    return (bal_measure){.kernels = bal_kernels_at(bal_isa_best()),
                         .options = {.kind = kind, .noise = noise, .density = density},
                         .seed = SEED,
                         .step = 5,
                         .on_ballot = on_ballot};
}

/** Every kind of direction, dense and not. */
static const struct {
    bal_direction_kind kind;
    int64_t noise;
    double density;
} kinds[] = {
    {BAL_DIRECTIONS_WALSH, 1, 1.0},       {BAL_DIRECTIONS_WALSH, 1, 0.3},
    {BAL_DIRECTIONS_INDEPENDENT, 1, 1.0}, {BAL_DIRECTIONS_INDEPENDENT, 1, 0.3},
    {BAL_DIRECTIONS_UNIFORM, 7, 1.0},     {BAL_DIRECTIONS_UNIFORM, 63, 0.3},
    {BAL_DIRECTIONS_WALSH_WIDE, 1, 1.0},  {BAL_DIRECTIONS_WALSH_WIDE, 1, 0.3},
};
#define N_KINDS (sizeof kinds / sizeof *kinds)

static inline bal_measure measure_at(size_t kind)
{
    return measure_of(kinds[kind].kind, kinds[kind].noise, kinds[kind].density);
}

#endif
