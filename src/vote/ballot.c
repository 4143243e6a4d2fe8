/* ballot.c: the votes of one step as two bit maps, counted by one allreduce. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ballot/vote.h"

#define N_TOTALS 7 /* words of bal_totals */

struct bal_ballot {
    bal_comm  *comm;
    int        n_slots;
    int64_t    n_words; /* of both maps */
    uint64_t  *cast;    /* [n_words / 2] slots that this rank has voted on, ties too */
    uint64_t  *words;   /* [n_words + N_TOTALS]: for, against, totals, as they travel */
    bal_totals totals;
};

/* Totals travel as they lie: 1 word to or, 4 to add, 1 minimum, 1 maximum. */
_Static_assert(sizeof(bal_totals) == 8 * N_TOTALS, "all of bal_totals travels");

int64_t bal_ballot_words(int n_slots) { return 2 * ((n_slots + 63) / 64); }
int64_t bal_ballot_bytes(int n_slots)
{
    return 8 * bal_ballot_words(n_slots) + (int64_t)sizeof(bal_totals);
}

bal_status bal_ballot_create(bal_comm *comm, int n_slots, bal_ballot **ballot)
{
    assert(comm != NULL && ballot != NULL);
    if (n_slots < 1 || n_slots > BAL_SLOTS_MAX)
        return bal_fail(BAL_ERR_ARG, "%d slots; expected 1 to %d", n_slots, BAL_SLOTS_MAX);
    bal_status  status = BAL_ERR_MEMORY;
    bal_ballot *b      = bal_alloc(1, sizeof *b);
    if (b == NULL) goto done;
    b->comm    = comm;
    b->n_slots = n_slots;
    b->n_words = bal_ballot_words(n_slots);
    b->cast    = bal_alloc((size_t)b->n_words / 2, sizeof *b->cast);
    b->words   = bal_alloc((size_t)b->n_words + N_TOTALS, sizeof *b->words);
    if (b->cast == NULL || b->words == NULL) goto done;
    *ballot = b; /* the caller owns it from here */
    b       = NULL;
    status  = BAL_OK;
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

bal_status bal_ballot_cast(bal_ballot *ballot, int slot, int64_t loss_minus, int64_t loss_plus)
{
    if (slot < 0 || slot >= ballot->n_slots)
        return bal_fail(BAL_ERR_ARG, "slot %d; expected 0 to %d", slot, ballot->n_slots - 1);
    uint64_t bit = (uint64_t)1 << slot % 64;
    if (ballot->cast[slot / 64] & bit)
        return bal_fail(BAL_ERR_STATE, "slot %d has voted before in this step", slot);
    ballot->cast[slot / 64] |= bit;
    if (loss_minus > loss_plus) ballot->words[slot / 64] |= bit;
    if (loss_minus < loss_plus) ballot->words[ballot->n_words / 2 + slot / 64] |= bit;
    ballot->totals.n_votes += loss_minus != loss_plus;
    return BAL_OK;
}

bal_totals *bal_ballot_totals(bal_ballot *ballot) { return &ballot->totals; }

bal_status bal_ballot_count(bal_ballot *ballot, uint64_t *bits, bal_totals *totals)
{
    int n = (int)ballot->n_words;
    memcpy(ballot->words + n, &ballot->totals, sizeof ballot->totals);
    bal_status status = bal_comm_reduce(
        ballot->comm, &(bal_reduction){.n_or = n + 1, .n_sum = 4, .n_min = 1, .n_max = 1},
        ballot->words);
    memcpy(bits, ballot->words, (size_t)n * sizeof *bits);
    memcpy(totals, ballot->words + n, sizeof *totals);
    memset(ballot->words, 0, (size_t)(n + N_TOTALS) * sizeof *ballot->words);
    memset(ballot->cast, 0, (size_t)n / 2 * sizeof *ballot->cast);
    ballot->totals = (bal_totals){0};
    if (status != BAL_OK) return status;
    int64_t n_bits = 0; /* two ranks on one slot: fewer bits than votes, or both maps set */
    bool    twice  = false;
    for (int i = 0; i < n; ++i) n_bits += __builtin_popcountll(bits[i]);
    for (int i = 0; i < n / 2; ++i) twice |= (bits[i] & bits[n / 2 + i]) != 0;
    if (twice || n_bits != totals->n_votes)
        return bal_fail(BAL_ERR_STATE, "a slot has two votes: two ranks took the same slot");
    return BAL_OK;
}

void bal_ballot_votes(const uint64_t *bits, int n_slots, int8_t *votes)
{
    const uint64_t *against = bits + bal_ballot_words(n_slots) / 2;
    for (int slot = 0; slot < n_slots; ++slot)
        votes[slot] = (int8_t)((int)(bits[slot / 64] >> slot % 64 & 1) -
                               (int)(against[slot / 64] >> slot % 64 & 1));
}
