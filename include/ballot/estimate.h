/* include/ballot/estimate.h: what a job takes before it runs: memory, files, messages, hours. Knows
 * the sizes that each room gives of its own things, and measures times; changes nothing. */
#ifndef BALLOT_ESTIMATE_H
#define BALLOT_ESTIMATE_H

#include "ballot/job.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What a job takes, before it runs: bytes, unless a name says otherwise. */
typedef struct bal_estimate {
    int64_t n_codes;              /* on the ballot: codes and gains */
    int64_t codes, gains, scales; /* of one model; scales with factors */
    int64_t carries;              /* what the rule remembers of its codes */
    int64_t model;                /* all of it */
    int64_t program, text, work;  /* of a rank: at its start; tokens, tokenizer; activations */
    int64_t reading;              /* of a rank, on top, while it reads the texts */
    int64_t loading;              /* of a copy, on top, while it is read */
    int64_t metrics, saving;      /* of rank 0: after the last step; on top, writing a checkpoint */
    int64_t step_bytes;           /* sent by a rank in a step */
    int64_t checkpoint, journal;  /* files after the last step */
    int64_t log;                  /* metrics.jsonl then, at most, where nobody abstains */
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
/** The most bytes that per_node ranks of a node take at once. Local. @param n_copies  of the model
 * on the node */
int64_t bal_estimate_node(const bal_estimate *estimate, int64_t per_node, int64_t n_copies);
/** Seconds of the whole run on these ranks, per_node on a node with n_copies of the model, audits
 *  included. Waiting for the slowest rank, messages, journal, checkpoints and what a deadline cuts
 *  off are left out. Local. */
double bal_estimate_seconds(const bal_estimate *estimate, const bal_job *job, int64_t ranks,
                            int64_t per_node, int64_t n_copies);

#ifdef __cplusplus
}
#endif

#endif
