/* deal.c: which slots a rank probes, whole teams of them. Those dealt to a table of ranks lie in
 * one pile, in shared memory, and whoever is free takes the next. A table is one rank, or all of a
 * node. Whoever probes a slot finds the same losses, so the ballot is the same. */
#include <stdatomic.h>
#include <stdlib.h>

#include "train_impl.h"

struct bal_deal {
    bal_shared *shared;
    _Atomic uint64_t *taken; /* [2] from the pile, in this round and in the next */
    int *pile;               /* [n] teams, by their first slots */
    int n, n_mine;           /* teams in the pile; slots that fall to me */
    unsigned round;
};

/* The lowest rank of my table. */
static uint64_t table_of(const bal_deal *deal, bal_comm *comm)
{
    return (uint64_t)(bal_shared_n_parts(deal->shared) > 1 ? bal_comm_node(comm)
                                                           : bal_comm_rank(comm));
}

bal_status bal_deal_create(bal_comm *comm, int n_slots, int team, bool by_node, bal_deal **made)
{
    int size = bal_comm_size(comm);
    bal_deal *deal = bal_alloc(1, sizeof *deal);
    uint64_t *tables = bal_alloc((size_t)size, sizeof *tables), mine;
    bal_status status = BAL_OK;
    const char *alone;
    if (deal == NULL || tables == NULL ||
        (deal->pile = bal_alloc((size_t)n_slots, sizeof *deal->pile)) == NULL)
        status = bal_fail(BAL_ERR_MEMORY, "no memory to deal %d slots", n_slots);
    *made = deal;
    status = bal_comm_agree(comm, status);
    if (status == BAL_OK)
        status = bal_shared_create(comm, 2 * sizeof *deal->taken, by_node, &deal->shared);
    if (status == BAL_OK) {
        if ((alone = bal_shared_refusal(deal->shared)) != NULL)
            bal_log(BAL_LOG_WARN, "not all nodes deal slots among their ranks: %s", alone);
        mine = table_of(deal, comm);
        deal->taken = bal_shared_memory(deal->shared);
        if (bal_shared_part(deal->shared) == 0)
            for (int i = 0; i < 2; ++i) atomic_store(&deal->taken[i], 0);
        status = bal_comm_gather(comm, &mine, 1, tables); /* from here on all ranks see zeros */
    }
    for (int slot = 0; status == BAL_OK && slot < n_slots; ++slot) {
        int rank = bal_slot_rank(slot, team, size);
        if (tables[rank] == mine && slot % team == 0) deal->pile[deal->n++] = slot;
        deal->n_mine += rank == bal_comm_rank(comm);
    }
    free(tables);
    return status;
}

void bal_deal_destroy(bal_deal **deal)
{
    if (*deal == NULL) return;
    bal_shared_destroy(&(*deal)->shared);
    free((*deal)->pile);
    free(*deal);
    *deal = NULL;
}

void bal_deal_begin(bal_deal *deal)
{
    ++deal->round;
    if (bal_shared_part(deal->shared) ==
        0) /* no rank is in the last round any more, or in the next one yet */
        atomic_store(&deal->taken[(deal->round + 1) % 2], 0);
}

int bal_deal_next(bal_deal *deal)
{
    uint64_t at = atomic_fetch_add(&deal->taken[deal->round % 2], 1);
    return at < (uint64_t)deal->n ? deal->pile[at] : -1;
}

int bal_deal_n_mine(const bal_deal *deal) { return deal->n_mine; }
