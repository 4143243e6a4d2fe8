/* include/ballot/train.h: the step and the loop: the one room that knows the order. Knows a job;
 * knows nothing of the command line. */
#ifndef BALLOT_TRAIN_H
#define BALLOT_TRAIN_H

#include "ballot/comm.h"
#include "ballot/data.h"
#include "ballot/hub.h"
#include "ballot/model.h"
#include "ballot/optim.h"
#include "ballot/record.h"
#include "ballot/source.h"
#include "ballot/text.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BAL_TEXT_BYTES 512

typedef struct bal_model_options {
    char path[BAL_TEXT_BYTES];
    bal_formats formats;
} bal_model_options;

typedef struct bal_data_options {
    bal_task task;
    char train[BAL_TEXT_BYTES], dev[BAL_TEXT_BYTES], test[BAL_TEXT_BYTES];
    bal_examples examples;
    int64_t context;      /* tokens per example */
    int64_t batch;        /* examples per probe */
    int64_t dev_examples; /* at most so many dev examples in an evaluation; 0: all */
} bal_data_options;

enum { BAL_TRAIN_CODES = 1, BAL_TRAIN_GAINS = 2 }; /* bits of bal_vote_options.train */

typedef enum bal_audit_action {
    BAL_AUDIT_STOP,
    BAL_AUDIT_EXCLUDE,
    BAL_AUDIT_WARN
} bal_audit_action;

#define BAL_DEADLINE_AUTO (-1.0)

typedef enum bal_dealing {
    BAL_DEALING_FIXED, /* each rank probes the slots dealt to it, see bal_slot_rank */
    BAL_DEALING_NODE,  /* a rank that is done takes from the others of its node */
} bal_dealing;

typedef struct bal_vote_options {
    int64_t slots;
    bal_perturb_options perturb;
    unsigned train; /* codes (weights), gains, or both */
    bal_dealing dealing;
    char tensors[BAL_TEXT_BYTES]; /* glob patterns of tensor names */
    double deadline;       /* s that a rank may probe in a step, then it abstains; 0: no limit;
                            * BAL_DEADLINE_AUTO: twice what the fastest rank would take */
    double audit;          /* share of ballots that other ranks check; 0: none */
    unsigned audit_action; /* bal_audit_action, once a rank is found to be wrong */
} bal_vote_options;

typedef enum bal_share {
    BAL_SHARE_NODE, /* one model per node, in memory that its ranks share */
    BAL_SHARE_RANK, /* one per rank */
} bal_share;

typedef struct bal_run_options {
    int64_t steps, seed;
    int64_t eval_every;       /* steps between evaluations; 0: only before and after */
    int64_t checkpoint_every; /* steps; 0: only at the end or when stopped */
    int64_t check_every;      /* steps between comparisons of fingerprints; 0: never */
    int64_t keep;             /* newest checkpoints kept */
    bal_share share;
} bal_run_options;

/** A job: everything that decides the result. */
typedef struct bal_job {
    bal_model_options model;
    bal_data_options data;
    bal_vote_options vote;
    bal_rule_options rule;
    bal_run_options run;
    /* set by who read the job */
    char *text;     /* every option, resolved, as INI */
    char *identity; /* "section.key=value" lines of those that decide codes and journal */
    uint64_t hash;  /* of identity */
} bal_job;
bal_job bal_job_default(void);

/** What decides only how fast, and for how long. */
typedef struct bal_machine {
    const bal_kernels *kernels;
    bal_tally_method tally;
    double max_hours; /* stop after so long, loading counts; 0: no limit */
} bal_machine;

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

/** Can the model learn the job's task? Local. @return BAL_OK; BAL_ERR_CONFIG. */
bal_status bal_job_check_task(const bal_job *job, const bal_model *model);
/** The data set that the job makes of a file. Local. @return errors of bal_corpus_open. */
bal_status bal_job_open_data(const bal_job *job, const char *path, const bal_tokenizer *tokenizer,
                             bal_dataset *dataset);

/** What an evaluation found. */
typedef struct bal_score {
    int64_t loss, n_tokens, n_right; /* loss units, summed */
} bal_score;
/** Loss per token in nats. */
double bal_score_nats(const bal_score *score);

/**
 * Evaluate consecutive examples, dealt to the ranks; integer sums, so the result does not depend
 * on their number. Collective.
 * @param n_examples  at most so many; 0: all
 * @param batch       work space for n_per_batch examples
 */
bal_status bal_evaluate(bal_comm *comm, bal_forward *forward, const bal_dataset *data,
                        int64_t n_examples, int64_t n_per_batch, bal_batch *batch,
                        bal_score *score);

/** Which tensors a job votes on: on_ballot [n_tensors]. Local. @return BAL_OK;
 *  BAL_ERR_CONFIG: none. */
bal_status bal_job_tensors(const bal_job *job, const bal_tensors *tensors, bool *on_ballot);
/** Updates of a job for these tensors; owns nothing of its arguments. Local. */
bal_status bal_job_optim(const bal_job *job, const bal_machine *machine, bal_tensors *tensors,
                         const bool *on_ballot, bal_optim **optim);

/** bal_tensors_fingerprint of tensors in shared memory: the ranks of the copy hash a part each.
 *  Collective on the copy. @return BAL_OK; BAL_ERR_MPI. */
bal_status bal_replica_fingerprint(bal_shared *shared, const bal_tensors *tensors,
                                   uint64_t *fingerprint);
/** Are all copies of the tensors, of nodes or ranks, the same? Names rank and tensor if not.
 *  Collective. @param fingerprint  of the tensors, where they are
 *  @return BAL_OK; BAL_ERR_STATE; BAL_ERR_MPI. */
bal_status bal_replicas_compare(bal_comm *comm, bal_shared *shared, const bal_tensors *tensors,
                                uint64_t *fingerprint);

/** Bytes that a rank sends in a step: the ballot, and whether rank 0 has written it down. Local. */
int64_t bal_step_bytes(const bal_job *job);

/** What a job takes, before it runs: bytes, unless a name says otherwise. */
typedef struct bal_estimate {
    int64_t n_codes;                       /* on the ballot: codes and gains */
    int64_t codes, gains, carries, scales; /* of one model; scales with factors */
    int64_t model;                         /* all of it */
    int64_t program, text, work; /* of a rank: at its start; tokens, tokenizer; activations */
    int64_t reading;             /* of a rank, on top, while it reads the texts */
    int64_t loading;             /* of a copy, on top, while it is read */
    int64_t metrics, saving;     /* of rank 0: after the last step; on top, writing a checkpoint */
    int64_t step_bytes;          /* sent by a rank in a step */
    int64_t checkpoint, journal; /* files after the last step */
    int64_t log;                 /* metrics.jsonl then, at most, where nobody abstains */
    int64_t n_kept, disk; /* checkpoints then, stops counted; all files while one is written */
    int64_t n_evals, n_eval_batches; /* evaluations of the run; batches in each */
    /* measured on the ranks of the call, all at once; the slowest counts */
    bool measured;
    int n_probes;          /* by each rank */
    double probe_seconds;  /* both passes of one */
    double update_seconds; /* of a copy by one rank alone, all slots */
    double eval_seconds;   /* a batch; 0: no dev text */
} bal_estimate;
/**
 * Measure it: the sizes, and where the ranks of a node have memory for the job, a few probes,
 * updates and batches with the job's model and data. Collective.
 * @param memory  bytes of this rank's node
 * @param program  bytes of this process before the job was read
 * @return BAL_OK; errors of bal_train that come from job, model, data or memory.
 */
bal_status bal_estimate_job(const bal_job *job, const bal_machine *machine, bal_comm *comm,
                            int64_t memory, int64_t program, bal_estimate *estimate);
/** Its files alone; the model need only be outlined. Local. */
void bal_estimate_files(const bal_job *job, const bal_model *model, const bal_files *files,
                        bal_estimate *estimate);
/** Most bytes that per_node ranks of a node take at once. Local. @param n_copies  of the model on
 * it */
int64_t bal_estimate_node(const bal_estimate *estimate, int64_t per_node, int64_t n_copies);
/** Seconds of the whole run on ranks, per_node to a node that share a model in n_copies, audits
 * counted; waiting for the slowest rank, messages, journal and checkpoints are left out, and so is
 * what a deadline cuts off. Local. */
double bal_estimate_seconds(const bal_estimate *estimate, const bal_job *job, int64_t ranks,
                            int64_t per_node, int64_t n_copies);

/** The model of a step from base and journal: updates only, no forward pass; progress to the log.
 *  Local. @param tensors  of the base, with carries, changed in place
 *  @return BAL_OK; BAL_ERR_CONFIG: job, base or journal are of different runs; BAL_ERR_INPUT. */
bal_status bal_replay(const bal_job *job, const bal_machine *machine, bal_journal *journal,
                      int64_t step, bal_tensors *tensors);

#ifdef __cplusplus
}
#endif

#endif
