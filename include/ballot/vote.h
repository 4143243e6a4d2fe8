/* include/ballot/vote.h: which way each direction helped, counted the same on every rank.
 * Knows losses and ranks; knows nothing of models, codes or rules. */
#ifndef BALLOT_VOTE_H
#define BALLOT_VOTE_H

#include "ballot/comm.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BAL_SLOTS_MAX 1048576

/** What a rank asks of all: bits of bal_totals.wishes. */
typedef enum bal_wish {
    BAL_WISH_SAVE = 1, /* write a checkpoint and go on */
    BAL_WISH_STOP = 2, /* finish the step, save, stop */
    BAL_WISH_FAIL = 4, /* a rank could not do its part */
} bal_wish;

/** What travels with a ballot: sums over its probes. 56 bytes, all integers. */
typedef struct bal_totals {
    uint64_t wishes;  /* or of bal_wish */
    int64_t loss;     /* sum over slots of loss at + and at -, loss units */
    int64_t n_tokens; /* sum over slots of tokens scored, each once */
    int64_t n_agree;  /* sequences whose own loss difference has the sign of their slot's */
    int64_t n_cast;   /* votes cast, ties too: one for each slot that nobody abstained from */
    uint64_t fingerprint_min; /* smallest and largest fingerprint of a rank: equal, or replicas */
    uint64_t fingerprint_max; /* drifted; both 0 in steps that do not check */
} bal_totals;

/** Losses of a slot at code - z and at code + z, loss units. */
typedef struct bal_pair {
    int64_t minus, plus;
} bal_pair;
/** The vote of a two-sided probe, the sign of minus - plus: +1, moving along +z lowers the loss;
 *  -1, it raises the loss; 0, a tie. Local. Source: two-sided simultaneous perturbation (SPSA,
 *  Spall 1992), sign votes (Bar & Giryes 2025). */
static inline int bal_pair_vote(bal_pair losses)
{
    return (losses.minus > losses.plus) - (losses.minus < losses.plus);
}

typedef struct bal_ballot bal_ballot; /* the votes of one step; not for two threads at once */

/** Make an empty ballot of n_slots votes, 1 .. 2^20. Local; same n_slots on every rank. Borrows
 *  comm, which must outlive it. @return BAL_OK; BAL_ERR_ARG; BAL_ERR_MEMORY. */
bal_status bal_ballot_create(bal_comm *comm, int n_slots, bal_ballot **ballot);
/** Free the ballot and set *ballot to NULL. Local; a null ballot is fine. */
void bal_ballot_destroy(bal_ballot **ballot);

/* The two maps of a ballot, for and against, have two bits for each slot: one set is a vote, both
 * are a tie, and none means that its rank abstained. */

/** The rank that a slot is dealt to. Local. */
int bal_slot_rank(int slot, int n_ranks);

/**
 * Cast one slot's vote. Local.
 * @param slot  in [0, n_slots); at most one rank votes on it per step, none means abstained
 * @param vote  +1, -1, or 0 for a tie: see bal_pair_vote
 * @return BAL_OK; or, ballot unchanged, BAL_ERR_ARG: bad slot; BAL_ERR_STATE: voted before.
 */
bal_status bal_ballot_cast(bal_ballot *ballot, int slot, int vote);
/** Totals of this rank, to be filled before counting; emptied by counting. Local; borrowed. */
bal_totals *bal_ballot_totals(bal_ballot *ballot);
/** Say how long a probe takes this rank, us, before counting; nothing said: for ever. Local. */
void bal_ballot_set_pace(bal_ballot *ballot, uint64_t us);
/** The fastest rank's pace in the ballot last counted; UINT64_MAX: none said one. The same on all
 *  ranks. Local. */
uint64_t bal_ballot_pace(const bal_ballot *ballot);

/**
 * Count the step's votes and empty the ballot: one allreduce of 2 * ceil(n_slots / 64) + 8 words.
 * Two bit maps are or-ed, so the result does not depend on the number of ranks, on who voted, or
 * on the order of the reduction. Collective.
 * @param bits    [bal_ballot_words(n_slots)] the counted maps, the caller's: votes for, then
 * against
 * @param totals  of all ranks
 * @return BAL_OK; BAL_ERR_STATE, on all ranks: a slot has two votes; BAL_LOST.
 */
bal_status bal_ballot_count(bal_ballot *ballot, uint64_t *bits, bal_totals *totals);

/** Words of the two bit maps together: 2 * ceil(n_slots / 64). Local. */
int64_t bal_ballot_words(int n_slots);
/** Bytes that a rank sends to count one ballot. Local. */
int64_t bal_ballot_bytes(int n_slots);
/** One slot's vote: +1, -1, or 0 for a tie or an abstention. Local. */
int bal_ballot_vote(const uint64_t *bits, int n_slots, int slot);
/** votes[slot] = bal_ballot_vote of that slot, for all slots. Local. */
void bal_ballot_votes(const uint64_t *bits, int n_slots, int8_t *votes);
/** Was a vote cast on this slot, a tie too? Local. */
bool bal_ballot_has(const uint64_t *bits, int n_slots, int slot);
/** Slots with a vote of +1 or -1. Local. */
int64_t bal_ballot_n_decided(const uint64_t *bits, int n_slots);
/** Take back all votes of a rank, as if it had abstained. Local. */
void bal_ballot_strike(uint64_t *bits, int n_slots, int rank, int n_ranks);

#ifdef __cplusplus
}
#endif

#endif
