/* fault.h: lets the n-th call of the system or of the allocator go wrong. A test program is linked
 * with -Wl,--wrap (bal_add_fault_test), so calls made from this project's own libraries come here
 * first: the count is the same in every run, under sanitizers too. What HDF5, PCRE2 and other
 * shared libraries call themselves is not seen. */
#ifndef BALLOT_TEST_FAULT_H
#define BALLOT_TEST_FAULT_H

#include <stdbool.h>
#include <stdint.h>

typedef enum bal_fault_calls {
    BAL_FAULT_OPEN = 1,
    BAL_FAULT_READ = 2,  /* read, pread */
    BAL_FAULT_WRITE = 4, /* write, pwrite, ftruncate */
    BAL_FAULT_SYNC = 8,  /* fsync, fdatasync */
    BAL_FAULT_NAME = 16, /* rename, unlink */
    BAL_FAULT_CLOSE = 32,
    BAL_FAULT_ALLOC = 64,
    BAL_FAULT_FILES = 63 /* all but the last */
} bal_fault_calls;

typedef enum bal_fault_effect {
    BAL_FAULT_NONE,  /* count only */
    BAL_FAULT_ERRNO, /* nothing is done, errno is set */
    BAL_FAULT_SHORT, /* a write, pwrite, read or pread does half of it; others are not counted */
    BAL_FAULT_KILL,  /* the process ends; a write was half done */
    BAL_FAULT_POWER  /* so does the machine: see bal_fault_watch */
} bal_fault_effect;

#define BAL_FAULT_KILLED 86 /* exit code after KILL and POWER */

typedef struct bal_fault_plan {
    unsigned calls; /* or of bal_fault_calls: which are counted */
    int64_t at;     /* the call that goes wrong, from 1 */
    bool on;        /* and every counted call after it, as on a full disk */
    bal_fault_effect effect;
    int error;     /* of ERRNO */
    uint64_t seed; /* of POWER */
} bal_fault_plan;

/** Count calls from now on and let them go wrong as planned, until bal_fault_end, which says how
 *  many were counted. One plan at a time; threads are counted alike. */
void bal_fault_begin(const bal_fault_plan *plan);
int64_t bal_fault_end(void);

/** Follow what is durable of the files in a folder (without folders in it), all of which is now.
 *  When the power goes, of each file the 512-byte sectors written since its last fsync are there or
 *  not, and zeros may stand where a file was made longer; of the names made, changed and removed
 *  since the folder's last fsync, the first few are. The seed chooses; both are legal. */
void bal_fault_watch(const char *dir);

#endif
