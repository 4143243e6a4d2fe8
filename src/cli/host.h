/* host.h: what a machine gives to this process. */
#ifndef BALLOT_HOST_H
#define BALLOT_HOST_H

#include "ballot/core.h"

#define BAL_CPU_WORDS 32 /* of 64 processors each */

/** Plain, so that ranks can send it to each other. */
typedef struct bal_host {
    char name[BAL_HOST_BYTES];
    uint64_t cores[BAL_CPU_WORDS]; /* on which this process may run; bit c: the core whose first
                                      hardware thread is processor c */
    int64_t n_cores;               /* of the machine */
    double quota;     /* processors whose time the process's cgroups allow it; 0: no limit */
    int64_t memory;   /* bytes of the machine, or what the cgroups allow if that is less */
    int64_t free_now; /* of them, not used by anything now */
} bal_host;

/** Local. */
void bal_host_read(bal_host *host);
/** Bits that are set in a and, unless it is NULL, in b. Local. */
int bal_cores_count(const uint64_t a[BAL_CPU_WORDS], const uint64_t *b);
/** Cores' worth of time that its processes have, at least 1. Local. */
int64_t bal_host_n_cores(const bal_host *host);

#endif
