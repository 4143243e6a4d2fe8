/* include/ballot/train.h: a run: started or continued in its directory, replayed from its journal.
 * Knows a job and the order of a step; knows nothing of the command line. */
#ifndef BALLOT_TRAIN_H
#define BALLOT_TRAIN_H

#include "ballot/comm.h"
#include "ballot/core.h"
#include "ballot/job.h"
#include "ballot/record.h"

BAL_C_BEGIN

/** Ask the run of this process to save or to stop at the end of its step. Safe in signal
 *  handlers. Local. @param wish  BAL_WISH_SAVE or BAL_WISH_STOP */
void bal_train_wish(bal_wish wish);

/**
 * Start the job in the directory run, or continue it: the same call does both. Collective; the
 * directory must be visible to every rank, rank 0 writes to it.
 * @return BAL_OK: all steps are done; BAL_STOPPED: stopped on a wish with a good checkpoint;
 *         BAL_ERR_CONFIG: job and model do not fit, or run belongs to another job; BAL_ERR_INPUT;
 *         BAL_ERR_IO; BAL_ERR_STATE: in use; BAL_ERR_MEMORY; BAL_ERR_NUMERIC: also where a rank
 *         computes wrongly, or replicas drifted and cannot be put right; BAL_LOST.
 */
bal_status bal_train(const bal_job *job, const bal_machine *machine, const char *run,
                     bal_comm *comm);

/** The model of a step from base and journal: updates only, no forward pass. Local.
 *  @param factor   of all rates; 1: the model of the run
 *  @param says     whether the log says so
 *  @param tensors  of the base, changed in place, as are the states
 *  @param states   those of the job's rule
 *  @return BAL_OK; BAL_ERR_CONFIG: job, base or journal are of different runs; BAL_ERR_INPUT. */
bal_status bal_replay(const bal_job *job, const bal_machine *machine, bal_journal *journal,
                      int64_t step, double factor, bool says, bal_tensors *tensors,
                      const bal_states *states);

/* ---- what limits a run ---- */

/** What the journal of a run says of the quality of its steps. NaN: not known. */
typedef struct bal_signs {
    double slope; /* by how much a direction changes the loss of its mini-batch, root mean square,
                     nats per token */
    double share, share_error; /* of the variance of what slots find, that on which the halves of
                                  their mini-batches agree, and its standard error if nothing but
                                  noise is there */
    double rise, rise_error;   /* of the loss by curvature: that at the points of slots less that of
                                  the model itself in the last search, nats per token */
    double scale,
        scale_error;   /* logarithm of the best scale of the last search, see bal_line_end */
    double dev_rise;   /* of the dev loss since it was best, nats per token */
    double train_fall; /* of the training loss since then, likewise */
    int64_t n_worse;   /* evaluations since then */
} bal_signs;
typedef enum bal_limit {
    BAL_LIMIT_DATA,        /* the dev loss rises while the training loss falls */
    BAL_LIMIT_LONG_STEPS,  /* less travel would have been better */
    BAL_LIMIT_SHORT_STEPS, /* more */
    BAL_LIMIT_SMALL_BATCH, /* what a slot finds is the noise of its mini-batch */
    BAL_LIMIT_LARGE_BATCH, /* halves of mini-batches say the same */
    BAL_LIMIT_SLOTS,       /* none of these: what is left is the noise of random directions */
    BAL_LIMIT_UNKNOWN,     /* neither scale nor share is known */
    BAL_N_LIMITS
} bal_limit;
/** Read the signs of a run from its journal. Local. @return BAL_OK; errors of bal_journal_read. */
bal_status bal_signs_read(const bal_job *job, bal_journal *journal, bal_signs *signs);
/** What limits a run with these signs. A pure function. */
bal_limit bal_limit_of(const bal_signs *signs);
/** A limit as a sentence, and what to do about it. */
const char *bal_limit_sentence(bal_limit limit);
const char *bal_limit_advice(bal_limit limit);

BAL_C_END

#endif
