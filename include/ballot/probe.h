/* include/ballot/probe.h: how slots are probed, and how losses become votes. Knows batches,
 * directions and losses; knows nothing of ranks, files or rules. */
#ifndef BALLOT_PROBE_H
#define BALLOT_PROBE_H

#include "ballot/answer.h"
#include "ballot/batch.h"
#include "ballot/model.h"
#include "ballot/perturb.h"
#include "ballot/vote.h"

BAL_C_BEGIN

#define BAL_WAY_TEAM_MAX 64 /* slots of a team */

/** A way to probe. A point is a place at which a slot takes its loss: a forward pass. */
typedef struct bal_way {
    int n_points; /* of a slot: 2, code - z and code + z; or 1, code + z */
    int team;     /* slots that share a mini-batch and one rank, 1 .. BAL_WAY_TEAM_MAX */
    int n_bits;   /* of a vote, see bal_ballot_shape */
    /** What each of n slots of a team has found, from losses[n][n_points]: by how much moving along
     *  its +z lowers the loss, in any multiple of loss units. Integers only, so that every rank
     *  agrees. The last team of a step may have fewer slots. */
    void (*find)(int n, const int64_t *losses, int64_t *values);
} bal_way;

/** A row of the table of ways. */
typedef enum bal_way_kind {
    /** loss(code - z) - loss(code + z). Source: two-sided simultaneous perturbation (SPSA), Spall
     *  1992; MeZO, Malladi et al. 2023. */
    BAL_WAY_TWO_SIDED,
    /** n times the mean less the own loss(code + z), over the n slots of a team, which share a
     *  mini-batch: one pass a slot, and each is the baseline of the others. Source: one-sided
     *  batched estimates, FZOO, Dang et al. 2025, arXiv 2506.09034. */
    BAL_WAY_ONE_SIDED,
} bal_way_kind;
/** By bal_way_kind. Their votes are signs, and their teams as small as they can be; a job may ask
 *  for more bits, and for larger teams where slots have one point. */
extern const bal_way bal_ways[];

/** The unit of a step's votes, from the totals of the step before: their mean |value| over
 *  bal_ballot_vote_mean. 0: there is no step before, or no slot has found anything in it. Local. */
int64_t bal_way_unit(const bal_way *way, const bal_totals *before);
/** By how much a direction changes the loss of its mini-batch, as the root mean square over slots
 *  that find |mean| on average, in loss units. What they find is taken to be normally distributed.
 *  Local. */
double bal_way_slope(const bal_way *way, double mean);
/** The vote of a slot: the sign of what it has found. Of more bits: value / unit, rounded to the
 *  nearest, halves away from 0, and cut off at the largest vote. Without a unit it is the mean vote
 *  with that sign. Local. */
int bal_way_vote(const bal_way *way, int64_t unit, int64_t value);

/** Slots of the team that begins with slot first, of n_slots. Local. */
int bal_way_slots(const bal_way *way, int first, int n_slots);
/** Most slots that are probed at once: a pass has two points. Local. */
static inline int bal_way_at_once(const bal_way *way) { return 2 / way->n_points; }

/** What a rank probes with. Plain; what it points to is borrowed, but for the last four. */
typedef struct bal_prober {
    bal_way way;
    int64_t unit;            /* of the step's votes, see bal_way_unit */
    bool pairs;              /* a pass takes two slots of a one-sided team */
    const bal_dataset *data; /* that mini-batches are drawn from */
    int64_t n_examples;      /* of a mini-batch */
    bal_forward *forward;
    bal_batch *batch;       /* with room for a mini-batch */
    int64_t *answers;       /* [2][room.answers] work space: losses at the points of a slot */
    int64_t *questions;     /* [team][n_points][n_examples] losses in the team probed last */
    bal_answerer *answerer; /* if answers are written for their loss */
    bal_grade *grades;      /* if so: [2][n_examples] */
} bal_prober;
/** Make room for the losses of a prober whose other members are set. Local. @return BAL_OK;
 *  BAL_ERR_MEMORY. */
bal_status bal_prober_init(bal_prober *prober);
void bal_prober_clear(bal_prober *prober);

/**
 * Probe a team: its mini-batch, that of slot first at the measure's step, at the points of each of
 * its slots. A pure function of seed, step, slots and model. Local.
 * @param n       slots, see bal_way_slots
 * @param losses  [n][n_points] summed over the questions, see bal_batch_losses
 * @return BAL_OK; BAL_ERR_NUMERIC: a loss is not finite.
 */
bal_status bal_probe(bal_prober *prober, const bal_measure *measure, int first, int n,
                     int64_t *losses);
/** The same, pass by pass: draw the mini-batch of the team that begins with slot first. What its
 *  slots share is computed once, until bal_probe_end. Local. */
void bal_probe_begin(bal_prober *prober, const bal_measure *measure, int first);
/** Probe n slots of that team, from number i on: in one pass, unless it is faster in n. Local.
 *  @param n       1 .. bal_way_at_once
 *  @param losses  [n][n_points] @return as bal_probe. */
bal_status bal_probe_slots(bal_prober *prober, const bal_measure *measure, int first, int i, int n,
                           int64_t *losses);
void bal_probe_end(bal_prober *prober);
/** The loss of a mini-batch that no slot has, at the codes as they are. Local.
 *  @param draw  its number, 0 .. 2^31 - 1: another one, another mini-batch of that step
 *  @return as bal_probe. */
bal_status bal_probe_here(bal_prober *prober, const bal_measure *measure, uint32_t draw,
                          int64_t *loss);
/** The votes[n] of a team of n slots with these losses. Local. */
void bal_probe_votes(const bal_prober *prober, int n, const int64_t *losses, int8_t *votes);
/** Add to a ballot's totals what they sum up of the team probed last, but for n_cast. Local. */
void bal_probe_count(const bal_prober *prober, int n, const int64_t *losses, const int8_t *votes,
                     bal_totals *totals);

BAL_C_END

#endif
