/* include/ballot/job.h: a job: everything that decides what a run computes, and what its options
 * mean for a model. Knows options; knows nothing of ranks, or of where options were written. */
#ifndef BALLOT_JOB_H
#define BALLOT_JOB_H

#include "ballot/data.h"
#include "ballot/model.h"
#include "ballot/optim.h"
#include "ballot/perturb.h"
#include "ballot/probe.h"
#include "ballot/source.h"
#include "ballot/vote.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BAL_TEXT_BYTES 512 /* of an option that is text, with its 0 */

enum { BAL_TRAIN_CODES = 1, BAL_TRAIN_GAINS = 2 }; /* bits of vote.train */

typedef enum bal_dealing {
    BAL_DEALING_FIXED, /* each rank probes the slots dealt to it, see bal_slot_rank */
    BAL_DEALING_NODE,  /* a rank that is done takes from the others of its node */
} bal_dealing;

#define BAL_OFF 0.0              /* of vote.deadline and vote.audit */
#define BAL_DEADLINE_AUTO (-1.0) /* twice what the fastest rank would take */

/** What is done with a rank once an audit has found it to be wrong. */
typedef enum bal_audit_action {
    BAL_AUDIT_STOP,
    BAL_AUDIT_EXCLUDE,
    BAL_AUDIT_WARN
} bal_audit_action;

typedef enum bal_share {
    BAL_SHARE_NODE, /* one model per node, in memory that its ranks share */
    BAL_SHARE_RANK, /* one per rank */
} bal_share;

/** A job: job.SECTION.KEY is the option KEY of [SECTION], of the row in job_options.def. */
typedef struct bal_job {
/* clang-format off */
#define SECTION(name) struct {
#define END(name) } name;
/* clang-format on */
#define TEXT(section, key, ...) char key[BAL_TEXT_BYTES];
#define INT(section, key, ...) int64_t key;
#define REAL(section, key, ...) double key;
#define CHOICE(type, section, key, ...) type key;
#define LISTED(section, key, ...) unsigned key;
#define FLAGS(section, key, ...) unsigned key;
#include "ballot/job_options.def"
    /* set by the reader of the job */
    char *text;     /* every option that applies, as INI */
    char *identity; /* lines "section.key=value" of those that decide the codes */
    char *older; /* the same of version 0.1: those too that do not apply, or decide what is noted */
    uint64_t hash; /* of identity */
    bool as_0_1;   /* documents as in bal_corpus_options: to continue a run of version 0.1 */
} bal_job;
/** Every option at its default. Local. */
bal_job bal_job_default(void);

/** What decides only how fast, and for how long. */
typedef struct bal_machine {
    const bal_kernels *kernels;
    bal_tally_method tally;
    double max_hours; /* stop after so long, loading counts; 0: no limit */
} bal_machine;

/** In which formats the job's model is. Local. */
bal_formats bal_job_formats(const bal_job *job);
/** The data set that the job makes of a file, for a model, which must be able to learn its task.
 *  Local. @return BAL_OK; BAL_ERR_CONFIG: job and model do not fit; errors of bal_corpus_open. */
bal_status bal_job_open_data(const bal_job *job, const char *path, const bal_bundle *bundle,
                             bal_dataset *dataset);
/** What a run of a job reads, but for the weights. */
typedef struct bal_inputs {
    bal_bundle bundle;      /* of the base model, outlined */
    bal_dataset train, dev; /* dev: none if the job has none */
} bal_inputs;
/** Open all of it, and see that it fits the job. Local.
 *  @return BAL_OK; errors of bal_source_outline, bal_job_open_data and bal_job_tensors. */
bal_status bal_inputs_open(const bal_job *job, bal_inputs *inputs);
void bal_inputs_clear(bal_inputs *inputs);
/** How a job probes its slots. Local. */
const bal_way *bal_job_way(const bal_job *job);
/** The ballots of a job. Local. */
bal_ballot_shape bal_job_ballot(const bal_job *job);
/** Which tensors a job votes on: on_ballot [n_tensors], or NULL. Local. @return BAL_OK;
 * BAL_ERR_CONFIG: none. */
bal_status bal_job_tensors(const bal_job *job, const bal_tensors *tensors, bool *on_ballot);
/** The measure of a job's first step. Local. @param on_ballot  borrowed */
bal_measure bal_job_measure(const bal_job *job, const bal_machine *machine, const bool *on_ballot);
/** Updates of a job for these tensors and the states of its rule; owns nothing of its arguments.
 *  Local. */
bal_status bal_job_optim(const bal_job *job, const bal_machine *machine, bal_tensors *tensors,
                         const bal_states *states, const bal_measure *measure, bal_optim **optim);
/** Bytes that a rank sends in a step: the ballot, and whether rank 0 has written it down. Local. */
int64_t bal_job_step_bytes(const bal_job *job);

#ifdef __cplusplus
}
#endif

#endif
