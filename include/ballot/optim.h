/* include/ballot/optim.h: a tally to new codes and carries: the table of rules. Knows integers and
 * the schedule; knows nothing of losses or ranks. */
#ifndef BALLOT_OPTIM_H
#define BALLOT_OPTIM_H

#include "ballot/core.h"
#include "ballot/perturb.h"
#include "ballot/tensors.h"
#include "ballot/vote.h"

#ifdef __cplusplus
extern "C" {
#endif

/** How a tally moves codes: a row of the table of rules. */
typedef enum bal_rule_kind {
    BAL_RULE_CARRY, /* a fraction per code collects the tallies; whole steps move the code */
    BAL_RULE_ZOQO,  /* every code takes a step against the sign of its gradient estimate */
} bal_rule_kind;

/** A rule and its settings. */
typedef struct bal_rule_options {
    bal_rule_kind kind;
    double travel; /* carry: RMS distance in code steps that pure noise carries a code over
                      the whole run */
    double eta;    /* zoqo: learning rate, in units of the weights */
} bal_rule_options;

/** What the updates of a run depend on. Plain; borrowed pointers. */
typedef struct bal_optim_options {
    bal_rule_options rule;
    bal_perturb_options perturb;
    bal_ballot_shape ballot; /* of each step */
    int64_t n_steps;
    uint64_t seed;         /* run seed */
    const bool *on_ballot; /* [n_tensors] */
    bal_tally_method tally;
} bal_optim_options;

typedef struct bal_optim bal_optim;

/** Make the updates of a run. Borrows tensors, which have carries, kernels and the options'
 *  pointers. Local. @return BAL_OK; BAL_ERR_CONFIG: settings that the rule cannot work with;
 *  BAL_ERR_MEMORY. */
bal_status bal_optim_create(bal_tensors *tensors, const bal_kernels *kernels,
                            const bal_optim_options *options, bal_optim **optim);
void bal_optim_destroy(bal_optim **optim);

/** The measure of a step: what its directions are made from. Local. */
bal_measure bal_optim_measure(const bal_optim *optim, int64_t step);

/**
 * Apply the counted ballot of a step to codes and carries: integers only, the same everywhere.
 * A code moves only where the direction may move it: code - |z| and code + |z| in its range. Of
 * each tensor's n blocks, blocks n part / n_parts to n (part + 1) / n_parts, so that ranks which
 * share tensors can share the work: all parts together, in any order, are the whole. Local.
 * @param bits   [bal_ballot_words(options->ballot)]
 * @param part   in [0, n_parts); 0 of 1 is the whole
 * @param flips  [n_tensors] codes of this part that changed
 */
void bal_optim_apply(bal_optim *optim, int64_t step, const uint64_t *bits, int part, int n_parts,
                     uint32_t *flips);

#ifdef __cplusplus
}
#endif

#endif
