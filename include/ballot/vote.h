/* include/ballot/vote.h: votes, and the ballots that count them alike on every rank. Knows losses
 * and ranks; knows nothing of models, codes or rules. */
#ifndef BALLOT_VOTE_H
#define BALLOT_VOTE_H

#include "ballot/comm.h"
#include "ballot/core.h"

BAL_C_BEGIN

#define BAL_SLOTS_MAX 1048576
#define BAL_SIGN_BITS 2     /* of a vote that is a sign: -1, 0 or +1 */
#define BAL_VOTE_BITS_MAX 8 /* of a vote in -127 .. 127 */

/** What a rank asks of all: bits of bal_totals.wishes. */
typedef enum bal_wish {
    BAL_WISH_SAVE = 1, /* write a checkpoint and go on */
    BAL_WISH_STOP = 2, /* finish the step, save, stop */
    BAL_WISH_FAIL = 4, /* a rank could not do its part */
} bal_wish;

/** What travels with a ballot: sums over its probes, 72 bytes of integers. */
typedef struct bal_totals {
    uint64_t wishes;          /* or of bal_wish */
    int64_t loss;             /* sum over slots of the losses at all points, loss units */
    int64_t n_tokens;         /* sum over slots of tokens scored, each once */
    int64_t n_agree;          /* sequences whose own losses give a vote of their slot's sign */
    int64_t n_cast;           /* votes cast, ties included: slots that nobody abstained from */
    int64_t spread;           /* sum over slots of |what they found|, see bal_way.find */
    int64_t common;           /* sum over slots of what the halves of a mini-batch have found, one
                                 times the other, 2^-30 nats^2; 0: one question each, or their
                                 loss is no sum over questions that each count by themselves */
    uint64_t fingerprint_min; /* smallest and largest fingerprint of a replica; if they differ, */
    uint64_t fingerprint_max; /* replicas have drifted; both 0 in steps that do not compare them */
} bal_totals;

/**
 * What a ballot holds: n_bits bit maps, one after another. Each map has one bit per slot: bit
 * s % 64 of word s / 64 belongs to slot s. The bits of a slot, first map lowest, are its vote in
 * ones' complement: -v is v with all bits inverted, and zero has two forms. All bits set is a tie;
 * no bit set is an abstention. So the two maps of a sign are the votes for and the votes against,
 * and a tie is in both. An abstention sets no bit, so ranks combine their maps by or.
 */
typedef struct bal_ballot_shape {
    int n_slots; /* 1 .. BAL_SLOTS_MAX */
    int n_bits;  /* BAL_SIGN_BITS .. BAL_VOTE_BITS_MAX; see bal_ballot_vote_max */
} bal_ballot_shape;

typedef struct bal_ballot bal_ballot; /* the votes of one step; not for two threads at once */

/** Make an empty ballot, of the same shape on every rank. Borrows comm, which must outlive it.
 *  Local.
 *  @return BAL_OK; BAL_ERR_ARG: a shape out of range; BAL_ERR_MEMORY. */
bal_status bal_ballot_create(bal_comm *comm, bal_ballot_shape shape, bal_ballot **ballot);
/** Free the ballot and set *ballot to NULL. Local; a null ballot is fine. */
void bal_ballot_destroy(bal_ballot **ballot);

/** The rank that a slot is dealt to. Teams of `team` consecutive slots are dealt whole. Local. */
int bal_slot_rank(int slot, int team, int n_ranks);

/**
 * Cast one slot's vote. Local.
 * @param slot  in [0, n_slots); at most one rank votes on it per step; none: an abstention
 * @param vote  within the ballot's n_bits; above 0: moving along +z lowers the loss; 0: a tie
 * @return BAL_OK; or, ballot unchanged, BAL_ERR_ARG: bad slot or vote; BAL_ERR_STATE: voted before.
 */
bal_status bal_ballot_cast(bal_ballot *ballot, int slot, int vote);
/** Totals of this rank, borrowed: fill them before counting, which empties them. Local. */
bal_totals *bal_ballot_totals(bal_ballot *ballot);
/** Say before counting how long a probe takes this rank, in us. If nothing is said, it counts as
 *  UINT64_MAX. Local. */
void bal_ballot_set_pace(bal_ballot *ballot, uint64_t us);
/** The fastest pace that a rank said in the ballot last counted; UINT64_MAX: none did. The same on
 *  all ranks. Local. */
uint64_t bal_ballot_pace(const bal_ballot *ballot);

/**
 * Count the votes of the step and empty the ballot, by one allreduce of bal_ballot_words + 10
 * words. Bit maps are or-ed. So the result does not depend on the number of ranks, on who voted, or
 * on the order of the reduction. Collective.
 * @param bits    [bal_ballot_words(shape)] set to the counted maps
 * @param totals  set to those of all ranks
 * @return BAL_OK; BAL_ERR_STATE, on all ranks: a slot has two votes; BAL_LOST.
 */
bal_status bal_ballot_count(bal_ballot *ballot, uint64_t *bits, bal_totals *totals);

/** Words of all bit maps together: n_bits * ceil(n_slots / 64). Local. */
int64_t bal_ballot_words(bal_ballot_shape shape);
/** Bytes that a rank sends to count one ballot. Local. */
int64_t bal_ballot_bytes(bal_ballot_shape shape);
/** The largest vote, 2^(n_bits - 1) - 1. The smallest is its negative. Local. */
int bal_ballot_vote_max(bal_ballot_shape shape);
/** The mean |vote| that votes of more than a sign are scaled to: about a quarter of the largest, so
 *  that of normally distributed ones 1 in 100 or fewer reach it. 1 for signs. Local. */
int bal_ballot_vote_mean(bal_ballot_shape shape);
/** The root mean square of normally distributed votes of that mean; 1 for signs. Local. */
double bal_ballot_vote_rms(bal_ballot_shape shape);
/** Write a vote into the bits of a slot that has no vote yet. Local. */
void bal_ballot_put(bal_ballot_shape shape, uint64_t *bits, int slot, int vote);
/** One slot's vote; 0 for a tie or an abstention. Local. */
int bal_ballot_vote(bal_ballot_shape shape, const uint64_t *bits, int slot);
/** votes[slot] = bal_ballot_vote of that slot, for all slots. Local. */
void bal_ballot_votes(bal_ballot_shape shape, const uint64_t *bits, int8_t *votes);
/** Whether a vote was cast on this slot, a tie included. Local. */
bool bal_ballot_has(bal_ballot_shape shape, const uint64_t *bits, int slot);
/** Slots with a vote other than 0. Local. */
int64_t bal_ballot_n_decided(bal_ballot_shape shape, const uint64_t *bits);
/** Take back all votes of a rank, as if it had abstained. See bal_slot_rank for team. Local. */
void bal_ballot_strike(bal_ballot_shape shape, uint64_t *bits, int team, int rank, int n_ranks);

BAL_C_END

#endif
