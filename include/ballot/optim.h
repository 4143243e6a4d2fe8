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
} bal_schedule;

/** A rule and the settings of all of them. */
typedef struct bal_rule_options {
    const bal_rule *kind;
    double travel;         /* carry: RMS distance in code steps that pure noise carries a code over
                              the whole run */
    bal_schedule schedule; /* carry */
    int64_t warmup;        /* carry: steps over which the rate rises from 0 first */
    double eta;            /* zoqo: learning rate, in units of the weights */
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
    int tally_unit;      /* of tallies: 1, or a power of 2 where very many votes are added up */
    double constants[4]; /* for the rule's begin to set and its update to read */
} bal_rule_step;

/** How a tally moves codes. bal_rule_choices names the rules of job files; a program may bring its
 *  own. */
struct bal_rule {
    /** Can the rule work with these settings? @return BAL_OK; BAL_ERR_CONFIG. NULL: with any. */
    bal_status (*check)(const bal_optim_options *options);
    /** Set the constants of a step; NULL: it has none. */
    void (*begin)(bal_rule_step *step);
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
};
#define BAL_SPAN_BLOCKS 32 /* codes, states and tallies of so many stay in the first cache */

/** The names and values of the table's rules, in order; the last name is NULL. */
extern const bal_choice bal_rule_choices[];
/** The rule of a choice's value. 0 is carry, the default. Local. */
const bal_rule *bal_rule_of(unsigned value);

typedef struct bal_optim bal_optim;

/** Make the updates of a run. Borrows tensors and the options' pointers. Local.
 *  @param states  those of the rule, in memory
 *  @return BAL_OK; BAL_ERR_CONFIG: settings that the rule cannot work with; BAL_ERR_MEMORY. */
bal_status bal_optim_create(bal_tensors *tensors, const bal_states *states,
                            const bal_optim_options *options, bal_optim **optim);
void bal_optim_destroy(bal_optim **optim);

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

BAL_C_END

#endif
