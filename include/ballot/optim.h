/* include/ballot/optim.h: moves codes by tallies, and has the table of rules that say how. Knows
 * integers and the schedule; knows nothing of losses or ranks. */
#ifndef BALLOT_OPTIM_H
#define BALLOT_OPTIM_H

#include "ballot/core.h"
#include "ballot/perturb.h"
#include "ballot/states.h"
#include "ballot/vote.h"

BAL_C_BEGIN

typedef struct bal_rule bal_rule;

/** How a learning rate goes over the run. */
typedef enum bal_schedule {
    BAL_SCHEDULE_LINEAR,   /* 1 - t / steps */
    BAL_SCHEDULE_COSINE,   /* (1 + cos(pi t / steps)) / 2 */
    BAL_SCHEDULE_CONSTANT, /* 1 */
    BAL_SCHEDULE_AUTO,     /* constant if travel is auto, else linear */
} bal_schedule;

#define BAL_TRAVEL_AUTO (-1.0)    /* of bal_rule_options.travel: see bal_travel */
#define BAL_RATE_ONE 4294967296.0 /* rates, travels and scales are integers of 2^-32 */

/** A rule and the settings of all of them. */
typedef struct bal_rule_options {
    const bal_rule *kind;
    double travel;         /* RMS distance in code steps that pure noise carries a code over the
                              whole run; or BAL_TRAVEL_AUTO, and each step is given its rate */
    bal_schedule schedule; /* of the rate */
    int64_t warmup;        /* steps over which the rate rises from 0 first */
    double eta;            /* zoqo: learning rate, in units of the weights */
    double beta1;          /* momentum, adam: what a mean keeps of itself in a step */
    double beta2;          /* adam: what the mean square does */
    double lr;             /* sgd: learning rate, in squared code steps per nat */
    double z;              /* ztest: standard deviations that are significant */
    int state_group;       /* see bal_states_set_group */
} bal_rule_options;

/** What the updates of a run depend on. Plain; borrowed pointers. */
typedef struct bal_optim_options {
    bal_rule_options rule;
    bal_measure measure;     /* of any step */
    bal_ballot_shape ballot; /* of each step */
    int64_t n_steps;
    bal_tally_method tally;
} bal_optim_options;

/** What the updates of a step share. */
typedef struct bal_rule_step {
    const bal_optim_options *options;
    int64_t step;
    double rate;   /* RMS code steps by which noise moves a code; 0: as the schedule says */
    double factor; /* of the rate */
    double unit;   /* a sum of votes times this is the mean, over the votes cast, of the slopes that
                      they stand for, in nats per token or question; 0: not known */
    int tensor;    /* that is moved now, and the first of its codes */
    int64_t first;
    int tally_unit;      /* of tallies: 1, or a power of 2 where very many votes are added up */
    double constants[4]; /* for the rule's begin to set, and its update or change to read */
} bal_rule_step;

/** How a tally moves codes: by an update of integers, or by a change of real numbers.
 *  bal_rule_choices names the rules of job files; a program may bring its own. */
struct bal_rule {
    /** Can the rule work with these settings? @return BAL_OK; BAL_ERR_CONFIG. NULL: with any. */
    bal_status (*check)(const bal_optim_options *options);
    /** Set the constants of a step; NULL: it has none. */
    void (*begin)(bal_rule_step *step);
    bool takes_rate;  /* its steps may be given a rate, so that travel may be auto */
    bool takes_slope; /* its steps must be given a slope */
    /** What it remembers of each code, in ascending order of names. {0}: nothing. */
    bal_states states;
    /**
     * Move n codes of a tensor from first on: whole blocks, at most BAL_SPAN_BLOCKS of them. A code
     * may move only where the gate is open, that is, if code - |z| and code + |z| are in
     * low .. high, and never out of that range. The result must be the same on every machine.
     * @param remembered  [states.n] bytes of each state, [n]
     * @param tally       [n] sum over slots of vote * z, in units of step->tally_unit; may be
     *                    overwritten
     * @return codes that changed
     */
    uint32_t (*update)(const bal_rule_step *step, bal_tensor *tensor, int64_t first, int64_t n,
                       int8_t *const remembered[], int16_t *tally);
    /**
     * Say how far n codes are to move. The first state is then bytes from rounding, "carry", and
     * has what is below a code step; the others are real numbers. Where the gate is closed, and in
     * padding, the gradient counts as 0 and the code stays.
     * @param values   [states.n - 1][n] the other states, to read and to set
     * @param descent  [n] the negative gradient, as the tally estimates it. Pure noise has a
     * standard deviation of sqrt(density)
     * @param change   [n] to be set: code steps, of which no more than 64 are taken
     */
    void (*change)(const bal_rule_step *step, int64_t n, float *const values[],
                   const float *descent, float *change);
};
#define BAL_SPAN_BLOCKS 32 /* codes, carries and tallies of so many stay in the first cache */

/** The names and values of the table's rules, in order; the last name is NULL. */
extern const bal_choice bal_rule_choices[];
/** The rule of a choice's value. 0 is carry, the default. Local. */
const bal_rule *bal_rule_of(unsigned value);
/** What a rule remembers with these settings, not in memory yet. Local. */
bal_states bal_rule_states(const bal_rule_options *options);
/** The rate of a step: by how many code steps, RMS, noise of standard deviation 1 moves a code.
 *  Local. */
double bal_rule_rate(const bal_rule_step *step);
/** What a tally is multiplied by to have that deviation, where all codes vote. Local. */
double bal_rule_unit(const bal_rule_step *step);

typedef struct bal_optim bal_optim;

/** Make the updates of a run. Borrows tensors and the options' pointers. Local.
 *  @param states  those of the rule, in memory
 *  @return BAL_OK; BAL_ERR_CONFIG: settings that the rule cannot work with; BAL_ERR_MEMORY. */
bal_status bal_optim_create(bal_tensors *tensors, const bal_states *states,
                            const bal_optim_options *options, bal_optim **optim);
void bal_optim_destroy(bal_optim **optim);
/** Steps from now on have a rate of their own, see bal_rule_step; 0: that of the schedule. Local.
 *  @param factor  of either; 1 at first */
void bal_optim_set_rate(bal_optim *optim, double rate, double factor);
/** By how much a direction of the next step changes the loss of its mini-batch, see bal_signs; for
 *  rules that take it. Local. @param slope  NaN: not known; no code moves */
void bal_optim_set_slope(bal_optim *optim, double slope);

/**
 * Apply the counted ballot of a step to codes and states, with the same result on every machine. A
 * code moves only if code - |z| and code + |z| are in its range. A part has the blocks that
 * bal_tensor_slice says. So ranks that share tensors can share the work: all parts, in any order,
 * are the whole. Local.
 * @param bits   [bal_ballot_words(options->ballot)]
 * @param part   in [0, n_parts); 0 of 1 is the whole
 * @param flips  [n_tensors] codes of this part that changed
 */
void bal_optim_apply(bal_optim *optim, int64_t step, const uint64_t *bits, int part, int n_parts,
                     uint32_t *flips);

/* ---- travel = auto: a run finds how far its codes are to travel ---- */

#define BAL_LINE_POINTS 9 /* from a quarter to four times the way from the base model to now */

/** A search for the best model on the line from the base model, at 0, over the model of now, at
 *  scale 1, and beyond. Its points are numbered from -4 to 4; 0 is the model of now. */
typedef struct bal_line {
    int64_t losses[BAL_LINE_POINTS]; /* over the same examples; below 0: not known yet */
} bal_line;
/** What it found. */
typedef struct bal_line_end {
    int64_t scale;           /* of the lowest loss, by a parabola, 2^-32 */
    int64_t noise;           /* standard error of the logarithm of that, 2^-32 */
    int64_t loss, best_loss; /* now, and at the best point that was tried */
} bal_line_end;
bal_line bal_line_begin(void);
/** The point whose loss is wanted next: the search goes downhill from now. Local.
 *  @return false: the best one has a worse neighbour on either side, or is the last. */
bool bal_line_next(const bal_line *line, int *point);
/** @param loss  0 or more */
void bal_line_put(bal_line *line, int point, int64_t loss);
/** The two points, once there is none to come, whose difference says where between them the loss is
 *  lowest. Local. */
void bal_line_pair(const bal_line *line, int *before, int *after);
/** What was found. Local. @param n  examples, or sets of them, that were drawn by themselves
 *  @param squares  sum over them of the squared difference between the points of the pair */
bal_line_end bal_line_finish(const bal_line *line, int64_t n, double squares);
/** The scale of a point, in 1/256: 2^(point / 2). Local. */
int64_t bal_line_scale(int point);

/** How far the codes of a run have travelled, and how far they are to. */
typedef struct bal_travel {
    int64_t goal; /* over the whole run, 2^-32 code steps */
    double spent; /* squared, so far */
    double pace;  /* rate of a step at which the schedule is 1 */
} bal_travel;
/** That of a run that has not begun, by the formats of what it moves. Local. */
bal_travel bal_travel_begin(const bal_optim_options *options, const bal_tensors *tensors);
/** Is the line to be searched before a step? After a half of the run, a quarter, an eighth, ...
 *  Local. */
bool bal_travel_is_due(int64_t step, int64_t n_steps);
/** Change the goal, and what is left of it, by what the search before a step has found, see
 *  bal_line_end. Local. */
void bal_travel_correct(bal_travel *travel, const bal_optim_options *options, int64_t step,
                        int64_t scale, int64_t noise);
/** The rate of a step, 2^-32 code steps, 1 or more. Local. */
int64_t bal_travel_rate(const bal_travel *travel, const bal_optim_options *options, int64_t step);
/** A step was taken at a rate. Local. */
void bal_travel_spend(bal_travel *travel, const bal_optim_options *options, int64_t rate);

BAL_C_END

#endif
