/* session.c: MPI from its start to its end, and the calls in between that cannot be given up. None
 * of them has a time limit of its own, so an alarm ends the process. */
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "comm_impl.h"

static char sentence[512]; /* for the alarm, which must not format */
static size_t n_sentence;

static void on_alarm(int number)
{
    (void)number;
    ssize_t ignored = write(STDERR_FILENO, sentence, n_sentence);
    (void)ignored;
    _exit(bal_status_exit_code(BAL_LOST));
}

void bal_guard(double seconds, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    n_sentence = strlen(sentence);
    signal(SIGALRM, on_alarm);
    alarm((unsigned)ceil(seconds));
}

void bal_unguard(void) { alarm(0); }

bal_status bal_comm_start(bal_comm **comm)
{
    char host[BAL_HOST_BYTES] = "";
    gethostname(host, sizeof host - 1);
    *comm = NULL;
    bal_guard(BAL_START_LIMIT,
              "ballot: %s has no connection to all other ranks after %g s: they were not started, "
              "or a firewall or a second network is in the way (Open MPI: --mca btl_tcp_if_include "
              "and oob_tcp_if_include); see to it, then run the same command again\n",
              host, BAL_START_LIMIT);
    bal_status status = bal_mpi_check(MPI_Init(NULL, NULL), "MPI_Init");
    if (status == BAL_OK) status = bal_comm_create(MPI_COMM_WORLD, comm);
    bal_unguard();
    return status;
}

void bal_comm_end(bal_comm **comm)
{
    char host[BAL_HOST_BYTES] = "";
    double limit = *comm == NULL ? BAL_START_LIMIT : (*comm)->limit;
    int started = 0, ended = 0;
    gethostname(host, sizeof host - 1);
    bal_comm_destroy(comm);
    if (MPI_Initialized(&started) != MPI_SUCCESS || !started) return;
    if (MPI_Finalized(&ended) != MPI_SUCCESS || ended) return;
    bal_guard(limit,
              "ballot: %s is done, but not all other ranks are after %g s more; run the same "
              "command again\n",
              host, limit);
    MPI_Finalize();
    bal_unguard();
}
