/* deal.c: which slots a rank probes. The teams dealt to a table of ranks lie in one pile, in shared
 * memory, and whoever is free takes the next. When none is left, the free help with the teams that
 * have most slots left. A table is one rank, or all of a node. Whoever probes a slot finds the same
 * losses, so the ballot is the same. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "train_impl.h"

/* Slots of a team that were taken, and that are done. */
typedef struct progress {
    _Atomic uint32_t taken, done;
} progress;

struct bal_deal {
    bal_deal_plan plan;
    bal_shared *shared;
    _Atomic uint64_t *begun; /* [2] teams of the pile, in this round and in the next */
    progress *teams[2];      /* [n] likewise; all in shared memory */
    int64_t *rows;           /* [n][plan.team][plan.n_row] too */
    int *order;              /* [size] ranks, as teams are dealt to them */
    int *pile;               /* [n] teams, by their first slots */
    int n_ranks;
    int n, n_mine; /* teams in the pile; slots that fall to me */
    int mine;      /* the team I am at; -1: none */
    unsigned round;
};

static int n_of(const bal_deal *deal, int at)
{
    int left = deal->plan.n_slots - deal->pile[at];
    return left < deal->plan.team ? left : deal->plan.team;
}

/* Where a rank sits: in the middle of its part of a table, which is 1 long. */
typedef struct seat {
    double place;
    int rank;
} seat;

static int compare_seats(const void *a, const void *b)
{
    const seat *x = a, *y = b;
    if (x->place != y->place) return x->place < y->place ? -1 : 1;
    return x->rank - y->rank;
}

/* The order of ranks in which those of every table are spread alike. So tables share teams as their
 * ranks are many, also where teams are fewer than ranks. */
static bal_status seat_ranks(bal_deal *deal, int size, const uint64_t *tables)
{
    bal_status status = BAL_ERR_MEMORY;
    seat *seats = bal_alloc((size_t)size, sizeof *seats);
    int *count = bal_alloc((size_t)size, sizeof *count); /* of the table of that name */
    if (seats == NULL || count == NULL) goto done;
    for (int rank = 0; rank < size; ++rank)
        seats[rank] = (seat){.place = count[tables[rank]]++ + 0.5, .rank = rank};
    for (int rank = 0; rank < size; ++rank) seats[rank].place /= count[tables[rank]];
    qsort(seats, (size_t)size, sizeof *seats, compare_seats);
    for (int i = 0; i < size; ++i) deal->order[i] = seats[i].rank;
    status = BAL_OK;
done:
    free(seats);
    free(count);
    return status == BAL_OK ? BAL_OK : bal_fail(status, "no memory to deal to %d ranks", size);
}

int bal_deal_rank(const bal_deal *deal, int slot)
{
    return deal->order[bal_slot_rank(slot, deal->plan.team, deal->n_ranks)];
}

/* The teams that are dealt to the ranks of my table. */
static void make_pile(bal_deal *deal, bal_comm *comm, const uint64_t *tables)
{
    int rank = bal_comm_rank(comm);
    deal->n = deal->n_mine = 0;
    for (int slot = 0; slot < deal->plan.n_slots; ++slot) {
        int owner = bal_deal_rank(deal, slot);
        if (tables[owner] == tables[rank] && slot % deal->plan.team == 0)
            deal->pile[deal->n++] = slot;
        deal->n_mine += owner == rank;
    }
}

/* Memory of the pile; if my node cannot share it, I am a table of my own. Collective. */
static bal_status share(bal_deal *deal, bal_comm *comm, uint64_t *tables)
{
    size_t n = (size_t)deal->n, rows = n * (size_t)deal->plan.team * (size_t)deal->plan.n_row;
    size_t n_bytes =
        2 * (sizeof *deal->begun + n * sizeof **deal->teams) + rows * sizeof *deal->rows;
    BAL_TRY(bal_shared_create(comm, n_bytes, deal->plan.by_node, &deal->shared));
    const char *alone = bal_shared_refusal(deal->shared);
    if (alone != NULL && deal->plan.warns)
        bal_log(BAL_LOG_WARN, "not all nodes deal slots among their ranks: %s", alone);
    char *memory = bal_shared_memory(deal->shared);
    if (bal_shared_part(deal->shared) == 0) memset(memory, 0, n_bytes);
    deal->begun = (_Atomic uint64_t *)(void *)memory;
    deal->teams[0] = (progress *)(void *)(deal->begun + 2);
    deal->teams[1] = deal->teams[0] + n;
    deal->rows = (int64_t *)(void *)(deal->teams[1] + n);
    uint64_t table = (uint64_t)(bal_shared_n_parts(deal->shared) > 1 ? bal_comm_node(comm)
                                                                     : bal_comm_rank(comm));
    BAL_TRY(bal_comm_gather(comm, &table, 1, tables)); /* from here on all ranks see zeros */
    make_pile(deal, comm, tables);
    return BAL_OK;
}

bal_status bal_deal_create(bal_comm *comm, const bal_deal_plan *plan, bal_deal **made)
{
    bal_deal *deal = bal_alloc(1, sizeof *deal);
    size_t size = (size_t)bal_comm_size(comm);
    uint64_t *tables = bal_alloc(size, sizeof *tables);
    uint64_t table = (uint64_t)(plan->by_node ? bal_comm_node(comm) : bal_comm_rank(comm));
    bal_status status = BAL_OK;
    if (deal != NULL) *deal = (bal_deal){.plan = *plan, .n_ranks = (int)size, .mine = -1};
    if (deal == NULL || tables == NULL ||
        (deal->order = bal_alloc(size, sizeof *deal->order)) == NULL ||
        (deal->pile = bal_alloc((size_t)plan->n_slots, sizeof *deal->pile)) == NULL)
        status = bal_fail(BAL_ERR_MEMORY, "no memory to deal %d slots", plan->n_slots);
    *made = deal;
    status = bal_comm_agree(comm, status);
    if (status == BAL_OK) status = bal_comm_gather(comm, &table, 1, tables);
    if (status == BAL_OK) status = bal_comm_agree(comm, seat_ranks(deal, (int)size, tables));
    if (status == BAL_OK) {
        make_pile(deal, comm, tables);
        status = share(deal, comm, tables);
    }
    free(tables);
    return status;
}

void bal_deal_destroy(bal_deal **deal)
{
    if (*deal == NULL) return;
    bal_shared_destroy(&(*deal)->shared);
    free((*deal)->order);
    free((*deal)->pile);
    free(*deal);
    *deal = NULL;
}

void bal_deal_begin(bal_deal *deal)
{
    unsigned next = ++deal->round + 1;
    deal->mine = -1;
    if (bal_shared_part(deal->shared) != 0) return;
    /* no rank is in the last round any more, or in the next one yet */
    atomic_store(&deal->begun[next % 2], 0);
    for (int at = 0; at < deal->n; ++at) {
        atomic_store(&deal->teams[next % 2][at].taken, 0);
        atomic_store(&deal->teams[next % 2][at].done, 0);
    }
}

/* The begun team with most slots left; -1: there is none. */
static int team_to_help(const bal_deal *deal)
{
    int best = -1, most = 0;
    for (int at = 0; at < deal->n; ++at) {
        int left = n_of(deal, at) - (int)atomic_load(&deal->teams[deal->round % 2][at].taken);
        if (left > most) most = left, best = at;
    }
    return best;
}

/* Slots of the pile that nobody has taken. */
static int n_left(const bal_deal *deal)
{
    int sum = 0;
    for (int at = 0; at < deal->n; ++at) {
        int left = n_of(deal, at) - (int)atomic_load(&deal->teams[deal->round % 2][at].taken);
        sum += left > 0 ? left : 0;
    }
    return sum;
}

/* Take slots of my team: several at once as long as there are as many for every rank. */
static bool take(bal_deal *deal, bal_turn *turn)
{
    int at = deal->mine, n = n_of(deal, at), most = deal->plan.at_once;
    if (most > 1 && n_left(deal) < most * bal_shared_n_parts(deal->shared)) most = 1;
    int i = (int)atomic_fetch_add(&deal->teams[deal->round % 2][at].taken, (uint32_t)most);
    *turn = (bal_turn){
        .at = at, .first = deal->pile[at], .n = n, .i = i, .end = n - i < most ? n : i + most};
    return i < n;
}

bool bal_deal_next(bal_deal *deal, bool begins, bal_turn *turn)
{
    if (deal->mine >= 0 && take(deal, turn)) return true;
    while (begins) {
        uint64_t at = atomic_fetch_add(&deal->begun[deal->round % 2], 1);
        deal->mine = at < (uint64_t)deal->n ? (int)at : team_to_help(deal);
        if (deal->mine < 0) break;
        if (take(deal, turn)) return true;
    }
    deal->mine = -1;
    return false;
}

int64_t *bal_deal_row(const bal_deal *deal, const bal_turn *turn, int i)
{
    return deal->rows + ((int64_t)turn->at * deal->plan.team + i) * deal->plan.n_row;
}

bool bal_deal_done(bal_deal *deal, const bal_turn *turn)
{
    int n = turn->end - turn->i;
    _Atomic uint32_t *done = &deal->teams[deal->round % 2][turn->at].done;
    return (int)atomic_fetch_add(done, (uint32_t)n) + n == turn->n;
}

int bal_deal_n_mine(const bal_deal *deal) { return deal->n_mine; }
