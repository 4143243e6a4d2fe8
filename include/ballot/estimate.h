/* include/ballot/estimate.h: what a job takes before it runs: memory, files, messages, hours. Knows
 * the sizes that each room gives of its own things, and measures times; changes nothing. */
#ifndef BALLOT_ESTIMATE_H
#define BALLOT_ESTIMATE_H

#include "ballot/job.h"

BAL_C_BEGIN

/** Bytes of a copy of the model. */
typedef struct bal_copy_bytes {
    int64_t bytes;                /* all of it */
    int64_t codes, gains, scales; /* its parts; scales with factors */
    int64_t carries;              /* what the rule remembers of its codes */
    int64_t kept;    /* the base; in a search, the model of now and losses; rows as they were
                        read */
    int64_t loading; /* on top, while it is read */
} bal_copy_bytes;

/** Bytes of a rank. */
typedef struct bal_rank_bytes {
    int64_t program, text, work; /* at its start; tokens, tokenizer; activations */
    int64_t reading;             /* on top, while it reads the texts */
    int64_t metrics, saving;     /* of rank 0: a row of them; on top, writing a checkpoint */
    int64_t sent;                /* in a step */
} bal_rank_bytes;

/** Bytes of files after the last step. */
typedef struct bal_file_bytes {
    int64_t checkpoint, journal;
    int64_t log;    /* metrics.jsonl, at most, where nobody abstains */
    int64_t rows;   /* metrics of each step, while the run is under way */
    int64_t n_kept; /* checkpoints, stops counted */
    int64_t disk;   /* all files, while one is written */
} bal_file_bytes;

/** Seconds, measured on the ranks of the call, all at once; the slowest counts. */
typedef struct bal_times {
    bool measured; /* if not, all are 0 */
    int n_probes;  /* by each rank */
    double probe;  /* all passes of one */
    double update; /* of a copy by one rank alone, all slots */
    double eval;   /* a batch; 0: no dev text */
} bal_times;

/** What a job takes, before it runs. */
typedef struct bal_estimate {
    int64_t n_codes;                 /* on the ballot: codes and gains */
    int64_t n_evals, n_eval_batches; /* evaluations of the run; batches in each */
    bal_copy_bytes copy;
    bal_rank_bytes rank;
    bal_file_bytes files;
    bal_times times;
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
/** Its copy of the model, as a whole and what is kept beside it, and its work space alone;
 *  likewise. Local. @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_estimate_work(const bal_job *job, const bal_inputs *inputs, bal_estimate *estimate);
/** The most bytes that per_node ranks of a node take at once. Local. @param n_copies  of the model
 * on the node */
int64_t bal_estimate_node(const bal_estimate *estimate, int64_t per_node, int64_t n_copies);
/** Seconds of the whole run on these ranks, per_node on a node with n_copies of the model, audits
 *  and searches of travel = auto included. Waiting for the slowest rank, messages, journal,
 * checkpoints and what a deadline cuts off are left out. Local. */
double bal_estimate_seconds(const bal_estimate *estimate, const bal_job *job, int64_t ranks,
                            int64_t per_node, int64_t n_copies);

BAL_C_END

#endif
