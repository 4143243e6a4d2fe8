/* guard.c: the status of MPI calls, and an alarm for calls that cannot be interrupted. These have
 * no time limit of their own, so the alarm ends the process. */
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "comm_impl.h"

bal_status bal_mpi_check(int code, const char *what)
{
    if (code == MPI_SUCCESS) return BAL_OK;
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    MPI_Error_string(code, text, &length);
    return bal_fail(BAL_ERR_MPI, "%s failed: %s", what, text);
}

static char sentence[512]; /* made in advance: a signal handler must not format */
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
