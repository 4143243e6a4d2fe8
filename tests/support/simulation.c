/* simulation.c: ranks as threads, of which one runs at a time, chosen by a virtual clock. */
#include "simulation.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "comm/comm_impl.h"
#include "suite.h"

bal_tamper *bal_simulation_tamper;

typedef struct simulated {
    bal_comm base;
    struct world *world;
    pthread_t thread;
    pthread_cond_t turn;
    double clock;   /* virtual seconds */
    double arrival; /* of its message for the collective it is in */
    bool waits, dead, lost, done;
    uint64_t *words; /* what it brings, then what it gets */
    bal_rank_main *rank_main;
    void *what;
    bal_status status;
} simulated;

typedef struct world {
    pthread_mutex_t lock;
    int n_ranks, running; /* running: the rank whose turn it is; -1: none is left */
    simulated *ranks;
    const bal_network *network;
    uint64_t random;
    int n_waiting;
    /* the collective that ranks are in */
    bal_reduction how;
    int root, n_words; /* root -1: a reduction; n_ranks: a gathering */
} world;

static bool chance(world *w, int one_in)
{
    return one_in > 0 && bal_test_random(&w->random) % (unsigned)one_in == 0;
}

/* How long a message takes, INFINITY if it is lost for good. One that comes twice is counted when
 * it first comes; the second is known by its number, as every transport must know it. */
static double travel(world *w)
{
    const bal_network *n = w->network;
    double least = (double)(1 + bal_test_random(&w->random) % 1000) * 1e-6, more;
    if (chance(w, n->lost)) return INFINITY;
    if (chance(w, n->late)) least *= 1.0 + (double)(bal_test_random(&w->random) % 100);
    if (chance(w, n->again)) least += 0.2;
    if (chance(w, n->twice)) {
        more = (double)(1 + bal_test_random(&w->random) % 1000) * 1e-6;
        least = more < least ? more : least;
    }
    return least;
}

/* Pass the turn to the rank that is next by its clock. Those that wait for what cannot come any
 * more give up once nobody else can run. */
static void pass_turn(world *w)
{
    int next = -1;
    for (int again = 0; again < 2 && next < 0; ++again) {
        for (int r = 0; r < w->n_ranks; ++r) {
            simulated *s = &w->ranks[r];
            if (again && s->waits) s->waits = false, s->lost = true;
            if (s->done || s->waits) continue;
            if (next < 0 || s->clock < w->ranks[next].clock) next = r;
        }
    }
    w->running = next;
    if (next >= 0) pthread_cond_signal(&w->ranks[next].turn);
}

static void wait_for_turn(world *w, simulated *s)
{
    while (w->running != s->base.rank) pthread_cond_wait(&s->turn, &w->lock);
}

/* All ranks' messages are there, or will be: make the results, which travel in their turn. */
static void complete(world *w)
{
    size_t n_bytes = (size_t)w->n_words * 8;
    uint64_t **brought = calloc((size_t)w->n_ranks, sizeof *brought);
    uint64_t *result = malloc(n_bytes + 8);
    double all = 0.0;
    assert(brought != NULL && result != NULL);
    for (int r = 0; r < w->n_ranks; ++r) {
        brought[r] = w->ranks[r].words;
        if (w->ranks[r].arrival > all) all = w->ranks[r].arrival;
    }
    if (w->root < 0) {
        if (bal_simulation_tamper != NULL)
            bal_simulation_tamper(w->n_ranks, &w->how, brought, -1, NULL);
        int first = (int)(bal_test_random(&w->random) % (unsigned)w->n_ranks); /* any order */
        memcpy(result, brought[first], n_bytes);
        for (int i = 1; i < w->n_ranks; ++i)
            bal_reduction_combine(&w->how, result, brought[(first + i) % w->n_ranks]);
    } else if (w->root < w->n_ranks) {
        memcpy(result, brought[w->root], n_bytes);
    } else { /* each brings its own at its place, and zeros elsewhere */
        memset(result, 0, n_bytes);
        for (int r = 0; r < w->n_ranks; ++r)
            for (int i = 0; i < w->n_words; ++i) result[i] |= brought[r][i];
    }
    for (int r = 0; r < w->n_ranks; ++r) {
        simulated *s = &w->ranks[r];
        memcpy(s->words, result, n_bytes);
        if (w->root < 0 && bal_simulation_tamper != NULL)
            bal_simulation_tamper(w->n_ranks, &w->how, NULL, r, s->words);
        s->clock = all + travel(w);
        s->waits = false;
        s->lost = isinf(s->clock); /* of others' loss it hears at the next collective */
        if (s->lost) s->clock = all + 1.0;
    }
    w->n_waiting = 0;
    free(brought);
    free(result);
}

/* Take part in a collective on words. */
static bal_status take_part(bal_comm *comm, int root, const bal_reduction *how, uint64_t *words,
                            int n_words)
{
    simulated *s = (simulated *)comm;
    world *w = s->world;
    if (!s->dead && chance(w, w->network->death)) s->dead = true;
    if (s->dead || s->lost) {
        s->lost = true;
        return bal_fail(BAL_LOST, "rank %d is lost", comm->rank);
    }
    pthread_mutex_lock(&w->lock);
    w->root = root;
    w->n_words = n_words;
    if (how != NULL) w->how = *how;
    s->words = words;
    s->waits = true;
    s->arrival = s->clock + travel(w);
    if (!isinf(s->arrival) && ++w->n_waiting == w->n_ranks) complete(w);
    pass_turn(w);
    wait_for_turn(w, s);
    pthread_mutex_unlock(&w->lock);
    return s->lost ? bal_fail(BAL_LOST, "rank %d has no answer", comm->rank) : BAL_OK;
}

static bal_status reduce(bal_comm *comm, const bal_reduction *how, uint64_t *words)
{
    return take_part(comm, -1, how, words, how->n_or + how->n_sum + how->n_min + how->n_max);
}

static bal_status gather(bal_comm *comm, const uint64_t *mine, int n, uint64_t *all)
{
    memset(all, 0, (size_t)n * (size_t)comm->size * 8);
    memcpy(all + (int64_t)n * comm->rank, mine, (size_t)n * 8);
    return take_part(comm, comm->size, NULL, all, n * comm->size);
}

static bal_status broadcast(bal_comm *comm, int root, void *bytes, size_t n_bytes)
{
    int n = (int)((n_bytes + 7) / 8);
    uint64_t *words = calloc((size_t)n + 1, 8);
    assert(words != NULL);
    if (n_bytes > 0) memcpy(words, bytes, n_bytes);
    bal_status status = take_part(comm, root, NULL, words, n);
    if (status == BAL_OK && n_bytes > 0) memcpy(bytes, words, n_bytes);
    free(words);
    return status;
}

static void destroy(bal_comm *comm) { (void)comm; /* the simulation's own */ }

static const char *host(bal_comm *comm, int rank)
{
    (void)comm, (void)rank;
    return "nowhere";
}

static const bal_transport transport = {reduce, gather, broadcast, host, destroy};

static void *run_rank(void *of)
{
    simulated *s = of;
    world *w = s->world;
    pthread_mutex_lock(&w->lock);
    wait_for_turn(w, s);
    pthread_mutex_unlock(&w->lock);
    s->status = s->rank_main(&s->base, s->what);
    pthread_mutex_lock(&w->lock);
    s->done = true;
    pass_turn(w);
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

void bal_simulate(int n_ranks, const bal_network *network, bal_rank_main *rank_main, void *what,
                  bal_status *statuses)
{
    world w = {.n_ranks = n_ranks, .running = -1, .network = network, .random = network->seed};
    w.ranks = calloc((size_t)n_ranks, sizeof *w.ranks);
    assert(w.ranks != NULL);
    pthread_mutex_init(&w.lock, NULL);
    for (int r = 0; r < n_ranks; ++r) {
        simulated *s = &w.ranks[r];
        *s = (simulated){.base = {.transport = &transport, .rank = r, .size = n_ranks},
                         .world = &w,
                         .rank_main = rank_main,
                         .what = what};
        s->clock = (double)(bal_test_random(&w.random) % 1000) * 1e-6;
        pthread_cond_init(&s->turn, NULL);
        int code = pthread_create(&s->thread, NULL, run_rank, s);
        assert(code == 0);
        (void)code;
    }
    pthread_mutex_lock(&w.lock);
    pass_turn(&w);
    pthread_mutex_unlock(&w.lock);
    for (int r = 0; r < n_ranks; ++r) {
        pthread_join(w.ranks[r].thread, NULL);
        pthread_cond_destroy(&w.ranks[r].turn);
        statuses[r] = w.ranks[r].status;
    }
    pthread_mutex_destroy(&w.lock);
    free(w.ranks);
}
