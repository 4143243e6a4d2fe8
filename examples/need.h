/* need.h: what the examples do about a failure: say what it was, and end. */
#include <ballot/ballot.h>
#include <stdlib.h>

static inline void need(bal_status status)
{
    if (status == BAL_OK) return;
    fprintf(stderr, "%s\n", bal_failure());
    exit(bal_status_exit_code(status));
}

enum { MAX_TENSORS = 1024 }; /* that examples with one number per tensor have room for */
static inline bal_tensors *need_room(bal_tensors *tensors)
{
    if (tensors->n > MAX_TENSORS)
        need(bal_fail(BAL_ERR_INPUT, "the model has %d tensors; this example has room for %d",
                      tensors->n, MAX_TENSORS));
    return tensors;
}
