/* ballot.c: the votes of one step as two bit maps, counted by one allreduce. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ballot/vote.h"

#define N_TOTALS 7 /* words of bal_totals */

struct bal_ballot {
    bal_comm *comm;
    int n_slots;
    int64_t n_words; /* of both maps */
    uint64_t *cast;  /* [n_words / 2] slots that this rank has voted on, ties too */
    uint64_t *words; /* [n_words + N_TOTALS + 1]: for, against, totals, pace, as they travel */
    bal_totals totals;
    uint64_t my_pace, pace;
};

/* Totals travel as they lie: 1 word to or, 4 to add, 1 minimum, 1 maximum; the pace, whose
 * smallest is wanted, as a maximum of its complement. */
_Static_assert(sizeof(bal_totals) == 8 * N_TOTALS, "all of bal_totals travels");

int64_t bal_ballot_words(int n_slots) { return 2 * ((n_slots + 63) / 64); }
int64_t bal_ballot_bytes(int n_slots) { return 8 * (bal_ballot_words(n_slots) + N_TOTALS + 1); }

bal_status bal_ballot_create(bal_comm *comm, int n_slots, bal_ballot **ballot)
{
    assert(comm != NULL && ballot != NULL);
    if (n_slots < 1 || n_slots > BAL_SLOTS_MAX)
        return bal_fail(BAL_ERR_ARG, "%d slots; expected 1 to %d", n_slots, BAL_SLOTS_MAX);
    bal_status status = BAL_ERR_MEMORY;
    bal_ballot *b = bal_alloc(1, sizeof *b);
    if (b == NULL) goto done;
    b->comm = comm;
    b->n_slots = n_slots;
    b->n_words = bal_ballot_words(n_slots);
    b->cast = bal_alloc((size_t)b->n_words / 2, sizeof *b->cast);
    b->words = bal_alloc((size_t)b->n_words + N_TOTALS + 1, sizeof *b->words);
    b->my_pace = b->pace = UINT64_MAX;
    if (b->cast == NULL || b->words == NULL) goto done;
    *ballot = b; /* the caller owns it from here */
    b = NULL;
    status = BAL_OK;
done:
    bal_ballot_destroy(&b); /* accepts NULL and half-built ballots */
    if (status != BAL_OK) bal_fail(status, "no memory for a ballot of %d slots", n_slots);
    return status;
}

void bal_ballot_destroy(bal_ballot **ballot)
{
    if (*ballot == NULL) return;
    free((*ballot)->cast);
    free((*ballot)->words);
    free(*ballot);
    *ballot = NULL;
}

bal_status bal_ballot_cast(bal_ballot *ballot, int slot, int vote)
{
    if (slot < 0 || slot >= ballot->n_slots)
        return bal_fail(BAL_ERR_ARG, "slot %d; expected 0 to %d", slot, ballot->n_slots - 1);
    uint64_t bit = (uint64_t)1 << slot % 64;
    if (ballot->cast[slot / 64] & bit)
        return bal_fail(BAL_ERR_STATE, "slot %d has voted before in this step", slot);
    ballot->cast[slot / 64] |= bit;
    if (vote >= 0) ballot->words[slot / 64] |= bit;
    if (vote <= 0) ballot->words[ballot->n_words / 2 + slot / 64] |= bit;
    ++ballot->totals.n_cast;
    return BAL_OK;
}

bal_totals *bal_ballot_totals(bal_ballot *ballot) { return &ballot->totals; }

void bal_ballot_set_pace(bal_ballot *ballot, uint64_t us) { ballot->my_pace = us; }
uint64_t bal_ballot_pace(const bal_ballot *ballot) { return ballot->pace; }

bal_status bal_ballot_count(bal_ballot *ballot, uint64_t *bits, bal_totals *totals)
{
    int n = (int)ballot->n_words;
    memcpy(ballot->words + n, &ballot->totals, sizeof ballot->totals);
    ballot->words[n + N_TOTALS] = ~ballot->my_pace;
    bal_status status = bal_comm_reduce(
        ballot->comm, &(bal_reduction){.n_or = n + 1, .n_sum = 4, .n_min = 1, .n_max = 2},
        ballot->words);
    memcpy(bits, ballot->words, (size_t)n * sizeof *bits);
    memcpy(totals, ballot->words + n, sizeof *totals);
    ballot->pace = ~ballot->words[n + N_TOTALS];
    ballot->my_pace = UINT64_MAX;
    memset(ballot->words, 0, (size_t)(n + N_TOTALS + 1) * sizeof *ballot->words);
    memset(ballot->cast, 0, (size_t)n / 2 * sizeof *ballot->cast);
    ballot->totals = (bal_totals){0};
    if (status != BAL_OK) return status;
    int64_t n_slots = 0; /* two ranks on one slot: fewer slots than votes */
    for (int i = 0; i < n / 2; ++i) n_slots += __builtin_popcountll(bits[i] | bits[n / 2 + i]);
    if (n_slots != totals->n_cast)
        return bal_fail(BAL_ERR_STATE, "a slot has two votes: two ranks took the same slot");
    return BAL_OK;
}

int bal_slot_rank(int slot, int n_ranks) { return slot % n_ranks; }

int bal_ballot_vote(const uint64_t *bits, int n_slots, int slot)
{
    const uint64_t *against = bits + bal_ballot_words(n_slots) / 2;
    return (int)(bits[slot / 64] >> slot % 64 & 1) - (int)(against[slot / 64] >> slot % 64 & 1);
}

void bal_ballot_votes(const uint64_t *bits, int n_slots, int8_t *votes)
{
    for (int slot = 0; slot < n_slots; ++slot)
        votes[slot] = (int8_t)bal_ballot_vote(bits, n_slots, slot);
}

bool bal_ballot_has(const uint64_t *bits, int n_slots, int slot)
{
    const uint64_t *against = bits + bal_ballot_words(n_slots) / 2;
    return (bits[slot / 64] | against[slot / 64]) >> slot % 64 & 1;
}

int64_t bal_ballot_n_decided(const uint64_t *bits, int n_slots)
{
    int64_t n_words = bal_ballot_words(n_slots) / 2, n = 0;
    for (int64_t i = 0; i < n_words; ++i) n += __builtin_popcountll(bits[i] ^ bits[n_words + i]);
    return n;
}

void bal_ballot_strike(uint64_t *bits, int n_slots, int rank, int n_ranks)
{
    uint64_t *against = bits + bal_ballot_words(n_slots) / 2;
    for (int slot = rank; slot < n_slots; slot += n_ranks) { /* those of bal_slot_rank */
        bits[slot / 64] &= ~((uint64_t)1 << slot % 64);
        against[slot / 64] &= ~((uint64_t)1 << slot % 64);
    }
}
