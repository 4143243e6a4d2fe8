/* ballot.c: the votes of one step as bit maps, counted by one allreduce. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ballot/vote.h"

#define N_TOTALS 9 /* words of bal_totals */

struct bal_ballot {
    bal_comm *comm;
    bal_ballot_shape shape;
    int64_t n_words; /* of all maps */
    uint64_t *words; /* [n_words + N_TOTALS + 1]: maps, totals, pace, as they travel */
    bal_totals totals;
    uint64_t my_pace, pace;
};

/* Totals travel as they lie in memory: 1 word to or, 6 to add, 1 minimum, 1 maximum. The smallest
 * pace is found as the maximum of its complement. */
_Static_assert(sizeof(bal_totals) == 8 * N_TOTALS, "all of bal_totals travels");

static int64_t map_words(bal_ballot_shape shape) { return (shape.n_slots + 63) / 64; }
int64_t bal_ballot_words(bal_ballot_shape shape) { return shape.n_bits * map_words(shape); }
int64_t bal_ballot_bytes(bal_ballot_shape shape)
{
    return 8 * (bal_ballot_words(shape) + N_TOTALS + 1);
}

/* A slot with all bits set: 2^n_bits - 1, or minus zero in ones' complement. */
static int all_bits(bal_ballot_shape shape) { return (1 << shape.n_bits) - 1; }
int bal_ballot_vote_max(bal_ballot_shape shape) { return all_bits(shape) / 2; }
int bal_ballot_vote_mean(bal_ballot_shape shape)
{
    return (bal_ballot_vote_max(shape) + 1) / 4 + (shape.n_bits == BAL_SIGN_BITS);
}
double bal_ballot_vote_rms(bal_ballot_shape shape)
{
    const double rms_of_mean = 1.2533141373155003; /* sqrt(pi / 2) */
    return shape.n_bits == BAL_SIGN_BITS ? 1.0 : rms_of_mean * bal_ballot_vote_mean(shape);
}

bal_status bal_ballot_create(bal_comm *comm, bal_ballot_shape shape, bal_ballot **ballot)
{
    assert(comm != NULL && ballot != NULL);
    if (shape.n_slots < 1 || shape.n_slots > BAL_SLOTS_MAX)
        return bal_fail(BAL_ERR_ARG, "%d slots; expected 1 to %d", shape.n_slots, BAL_SLOTS_MAX);
    if (shape.n_bits < BAL_SIGN_BITS || shape.n_bits > BAL_VOTE_BITS_MAX)
        return bal_fail(BAL_ERR_ARG, "votes of %d bits; expected %d to %d", shape.n_bits,
                        BAL_SIGN_BITS, BAL_VOTE_BITS_MAX);
    bal_status status = BAL_ERR_MEMORY;
    bal_ballot *b = bal_alloc(1, sizeof *b);
    if (b == NULL) goto done;
    b->comm = comm;
    b->shape = shape;
    b->n_words = bal_ballot_words(shape);
    b->words = bal_alloc((size_t)b->n_words + N_TOTALS + 1, sizeof *b->words);
    b->my_pace = b->pace = UINT64_MAX;
    if (b->words == NULL) goto done;
    *ballot = b; /* the caller owns it from here */
    b = NULL;
    status = BAL_OK;
done:
    bal_ballot_destroy(&b); /* accepts NULL and half-built ballots */
    if (status != BAL_OK) bal_fail(status, "no memory for a ballot of %d slots", shape.n_slots);
    return status;
}

void bal_ballot_destroy(bal_ballot **ballot)
{
    if (*ballot == NULL) return;
    free((*ballot)->words);
    free(*ballot);
    *ballot = NULL;
}

bal_status bal_ballot_cast(bal_ballot *ballot, int slot, int vote)
{
    bal_ballot_shape shape = ballot->shape;
    if (slot < 0 || slot >= shape.n_slots)
        return bal_fail(BAL_ERR_ARG, "slot %d; expected 0 to %d", slot, shape.n_slots - 1);
    int max = bal_ballot_vote_max(shape);
    if (vote < -max || vote > max)
        return bal_fail(BAL_ERR_ARG, "a vote of %d; expected %d to %d", vote, -max, max);
    if (bal_ballot_has(shape, ballot->words, slot))
        return bal_fail(BAL_ERR_STATE, "slot %d has voted before in this step", slot);
    bal_ballot_put(shape, ballot->words, slot, vote);
    ++ballot->totals.n_cast;
    return BAL_OK;
}

bal_totals *bal_ballot_totals(bal_ballot *ballot) { return &ballot->totals; }

void bal_ballot_set_pace(bal_ballot *ballot, uint64_t us) { ballot->my_pace = us; }
uint64_t bal_ballot_pace(const bal_ballot *ballot) { return ballot->pace; }

/* Of the slots of one word: those with any bit set, and those with all. */
static uint64_t or_of(bal_ballot_shape shape, const uint64_t *bits, int64_t word)
{
    uint64_t any = 0;
    for (int i = 0; i < shape.n_bits; ++i) any |= bits[i * map_words(shape) + word];
    return any;
}
static uint64_t and_of(bal_ballot_shape shape, const uint64_t *bits, int64_t word)
{
    uint64_t all = ~(uint64_t)0;
    for (int i = 0; i < shape.n_bits; ++i) all &= bits[i * map_words(shape) + word];
    return all;
}

bal_status bal_ballot_count(bal_ballot *ballot, uint64_t *bits, bal_totals *totals)
{
    int n = (int)ballot->n_words;
    memcpy(ballot->words + n, &ballot->totals, sizeof ballot->totals);
    ballot->words[n + N_TOTALS] = ~ballot->my_pace;
    bal_status status = bal_comm_reduce(
        ballot->comm, &(bal_reduction){.n_or = n + 1, .n_sum = 6, .n_min = 1, .n_max = 2},
        ballot->words);
    memcpy(bits, ballot->words, (size_t)n * sizeof *bits);
    memcpy(totals, ballot->words + n, sizeof *totals);
    ballot->pace = ~ballot->words[n + N_TOTALS];
    ballot->my_pace = UINT64_MAX;
    memset(ballot->words, 0, (size_t)(n + N_TOTALS + 1) * sizeof *ballot->words);
    ballot->totals = (bal_totals){0};
    if (status != BAL_OK) return status;
    int64_t n_slots = 0; /* two ranks on one slot: fewer slots than votes */
    for (int64_t word = 0; word < map_words(ballot->shape); ++word)
        n_slots += __builtin_popcountll(or_of(ballot->shape, bits, word));
    if (n_slots != totals->n_cast)
        return bal_fail(BAL_ERR_STATE, "a slot has two votes: two ranks took the same slot");
    return BAL_OK;
}

int bal_slot_rank(int slot, int team, int n_ranks) { return slot / team % n_ranks; }

void bal_ballot_put(bal_ballot_shape shape, uint64_t *bits, int slot, int vote)
{
    uint64_t code = (uint64_t)(vote > 0 ? vote : all_bits(shape) + vote);
    for (int i = 0; i < shape.n_bits; ++i)
        bits[i * map_words(shape) + slot / 64] |= (code >> i & 1) << slot % 64;
}

int bal_ballot_vote(bal_ballot_shape shape, const uint64_t *bits, int slot)
{
    int code = 0;
    for (int i = 0; i < shape.n_bits; ++i)
        code |= (int)(bits[i * map_words(shape) + slot / 64] >> slot % 64 & 1) << i;
    return code > bal_ballot_vote_max(shape) ? code - all_bits(shape) : code;
}

void bal_ballot_votes(bal_ballot_shape shape, const uint64_t *bits, int8_t *votes)
{
    for (int slot = 0; slot < shape.n_slots; ++slot)
        votes[slot] = (int8_t)bal_ballot_vote(shape, bits, slot);
}

bool bal_ballot_has(bal_ballot_shape shape, const uint64_t *bits, int slot)
{
    return or_of(shape, bits, slot / 64) >> slot % 64 & 1;
}

int64_t bal_ballot_n_decided(bal_ballot_shape shape, const uint64_t *bits)
{
    int64_t n = 0;
    for (int64_t word = 0; word < map_words(shape); ++word)
        n += __builtin_popcountll(or_of(shape, bits, word) & ~and_of(shape, bits, word));
    return n;
}

void bal_ballot_strike(bal_ballot_shape shape, uint64_t *bits, int team, int rank, int n_ranks)
{
    for (int slot = 0; slot < shape.n_slots; ++slot)
        for (int i = 0; i < shape.n_bits && bal_slot_rank(slot, team, n_ranks) == rank; ++i)
            bits[i * map_words(shape) + slot / 64] &= ~((uint64_t)1 << slot % 64);
}
