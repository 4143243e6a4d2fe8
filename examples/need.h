/* need.h: what the examples do about a failure: say what it was, and end. */
#include <ballot/ballot.h>
#include <stdlib.h>

static inline void need(bal_status status)
{
    if (status == BAL_OK) return;
    fprintf(stderr, "%s\n", bal_failure());
    exit(bal_status_exit_code(status));
}
