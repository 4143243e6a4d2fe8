/* watch.c: waiting with a limit, and finding out who does not answer.
 *
 * Open MPI 4.1 cannot go on without a rank. To a rank that waits, a rank that died on a host that
 * was cut off looks like a slow one. So a rank that has waited for half the limit tells two
 * reporters, again and again: rank 0 and the first rank of another host. When the limit is over, a
 * reporter knows who waits too, perhaps in the collective before or after its own; all others are
 * missing. As long as nobody waits that long, this costs nothing.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "comm_impl.h"

#define TAG 1    /* of the only point-to-point messages, which are empty */
#define N_TOLD 8 /* times that a rank reports before the limit */

struct bal_watch {
    bal_mpi *world;
    char (*hosts)[BAL_HOST_BYTES]; /* [size] */
    bool *waits;                   /* [size] reported since this rank first did */
    int64_t last_step;             /* step of the last collective that ended on this rank */
    int reporters[2], n_reporters, n_told;
    MPI_Request sends[2];
    bool lost;
    char sentence[1024];
};

bal_status bal_watch_status(const struct bal_watch *w)
{
    return w->lost ? bal_fail(BAL_LOST, "%s", w->sentence) : BAL_OK;
}

const char *bal_watch_host(const struct bal_watch *w, int rank) { return w->hosts[rank]; }

bal_status bal_watch_create(bal_mpi *m, struct bal_watch **watch)
{
    size_t size = (size_t)m->base.size;
    struct bal_watch *w = bal_alloc(1, sizeof *w);
    if (w != NULL) {
        *w = (struct bal_watch){
            .world = m, .last_step = -1, .sends = {MPI_REQUEST_NULL, MPI_REQUEST_NULL}};
        w->hosts = bal_alloc(size, sizeof *w->hosts);
        w->waits = bal_alloc(size, sizeof *w->waits);
    }
    *watch = w;
    if (w == NULL || w->hosts == NULL || w->waits == NULL)
        return bal_fail(BAL_ERR_MEMORY, "no memory to watch %zu ranks", size);
    char host[BAL_HOST_BYTES];
    bal_host_name(host);
    BAL_TRY(bal_mpi_check(
        MPI_Allgather(host, BAL_HOST_BYTES, MPI_CHAR, w->hosts, BAL_HOST_BYTES, MPI_CHAR, m->mpi),
        "MPI_Allgather"));
    int other = 1; /* on the first host that is not rank 0's; else rank 1 */
    for (int rank = m->base.size - 1; rank > 0; --rank)
        if (strcmp(w->hosts[rank], w->hosts[0]) != 0) other = rank;
    w->reporters[1] = other;
    w->n_reporters = m->base.size > 1 ? 2 : 1;
    return BAL_OK;
}

void bal_watch_destroy(struct bal_watch **watch)
{
    struct bal_watch *w = *watch;
    if (w == NULL) return;
    free(w->hosts);
    free(w->waits);
    free(w);
    *watch = NULL;
}

static bool reports(const struct bal_watch *w)
{
    int rank = w->world->base.rank;
    return rank == w->reporters[0] || rank == w->reporters[1];
}

/* Seconds after the limit that a rank gives others to name the missing. The first rank that ends
 * its process ends the run, and ranks begin to wait at different times. So rank 0 is first, then
 * the other reporter, then the rest, who know only about themselves. */
static double patience(const struct bal_watch *w)
{
    double most = 6.0 + w->world->base.limit / 16.0;
    return w->world->base.rank == 0 ? 0.0 : reports(w) ? most / 2.0 : most;
}

/* Take note of the ranks that report waiting. */
static void listen(struct bal_watch *w)
{
    MPI_Comm mpi = w->world->mpi;
    MPI_Status status;
    int found;
    while (reports(w) && MPI_Iprobe(MPI_ANY_SOURCE, TAG, mpi, &found, &status) == MPI_SUCCESS &&
           found)
        if (MPI_Recv(NULL, 0, MPI_BYTE, status.MPI_SOURCE, TAG, mpi, MPI_STATUS_IGNORE) ==
            MPI_SUCCESS)
            w->waits[status.MPI_SOURCE] = true;
}

/* Half the limit is over, and this share, 0 to 1, of the other half. */
static void tell_and_listen(struct bal_watch *w, double share)
{
    const bal_comm *comm = &w->world->base;
    listen(w);
    if (w->n_told == 0) { /* earlier reports may be of a wait that has ended */
        memset(w->waits, 0, (size_t)comm->size * sizeof *w->waits);
        w->waits[comm->rank] = true;
    }
    if (w->n_told > (int)(N_TOLD * share)) return;
    ++w->n_told;
    for (int i = 0; i < w->n_reporters; ++i) {
        int sent = 0;
        MPI_Test(&w->sends[i], &sent, MPI_STATUS_IGNORE);
        if (sent) /* else the last report has not left: this host is cut off */
            MPI_Isend(NULL, 0, MPI_BYTE, w->reporters[i], TAG, w->world->mpi, &w->sends[i]);
    }
}

/* "rank 3 on h2, rank 5 on h3": the ranks that do not wait. @return their number */
static int list_missing(const struct bal_watch *w, char *text, size_t n_bytes)
{
    int n_missing = 0;
    size_t used = 0;
    for (int rank = 0; rank < w->world->base.size; ++rank) {
        if (w->waits[rank]) continue;
        if (n_missing++ < 8 && used < n_bytes)
            used += (size_t)snprintf(text + used, n_bytes - used, "%srank %d on %s",
                                     n_missing > 1 ? ", " : "", rank, w->hosts[rank]);
    }
    if (n_missing > 8 && used < n_bytes)
        snprintf(text + used, n_bytes - used, " and %d more", n_missing - 8);
    return n_missing;
}

static bal_status lose(struct bal_watch *w, const char *reason)
{
    w->lost = true;
    snprintf(w->sentence, sizeof w->sentence, "%s", reason);
    return bal_watch_status(w);
}

static bal_status give_up(struct bal_watch *w)
{
    char missing[700] = "", sentence[1024], last[64] = "before the first step";
    const bal_comm *comm = &w->world->base;
    int n = list_missing(w, missing, sizeof missing);
    if (w->last_step >= 0) snprintf(last, sizeof last, "in step %lld", (long long)w->last_step);
    if (reports(w))
        snprintf(sentence, sizeof sentence,
                 "step %lld: no answer from %s for %g s; last heard of %s; the journal has every "
                 "step before: see to %s, then run the same command again",
                 (long long)comm->step, n > 0 ? missing : "the network", comm->limit, last,
                 n == 1 ? "it" : "them");
    else
        snprintf(
            sentence, sizeof sentence,
            "step %lld: rank %d on %s has had no answer for %g s, not even from ranks that "
            "would say who is missing; last heard of the others %s; run the same command again",
            (long long)comm->step, comm->rank, w->hosts[comm->rank], comm->limit, last);
    return lose(w, sentence);
}

bal_status bal_watch_wait(bal_mpi *m, int code, MPI_Request *request, const char *what)
{
    struct bal_watch *w = m->world->watch;
    double limit = m->world->base.limit, began = 0.0, seen = 0.0, waited = 0.0;
    int done = 0;
    if (code == MPI_SUCCESS) code = MPI_Test(request, &done, MPI_STATUS_IGNORE);
    if (!done) began = seen = bal_seconds();
    w->n_told = 0;
    while (code == MPI_SUCCESS && !done) {
        code = MPI_Test(request, &done, MPI_STATUS_IGNORE);
        if (done || code != MPI_SUCCESS) break;
        double now = bal_seconds();
        if (now - seen > 1.0) began += now - seen; /* this process itself was stopped meanwhile */
        seen = now;
        waited = now - began;
        if (waited > 0.01) nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
        if (limit <= 0.0 || waited < limit / 2.0) continue;
        tell_and_listen(w, 2.0 * waited / limit - 1.0);
        if (waited > limit + patience(w)) return give_up(w);
    }
    if (code != MPI_SUCCESS) {
        bal_mpi_check(code, what);
        char reason[900];
        snprintf(reason, sizeof reason, "step %lld: %s; run the same command again",
                 (long long)m->world->base.step, bal_failure());
        return lose(w, reason);
    }
    w->last_step = m->world->base.step;
    return BAL_OK;
}

void bal_watch_guard(const bal_mpi *m, bool on)
{
    const bal_comm *world = &m->world->base;
    if (!on || world->limit <= 0.0)
        bal_unguard();
    else
        bal_guard(
            world->limit + patience(m->world->watch),
            "ballot: step %lld: rank %d on %s has had no answer from the other ranks for %g s; "
            "run the same command again\n",
            (long long)world->step, world->rank, m->world->watch->hosts[world->rank], world->limit);
}
