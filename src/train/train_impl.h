/* train_impl.h: a run under way. */
#ifndef BALLOT_TRAIN_IMPL_H
#define BALLOT_TRAIN_IMPL_H

#include <stdio.h>

#include "ballot/batch.h"
#include "ballot/evaluate.h"
#include "ballot/hub.h"
#include "ballot/kernels.h"
#include "ballot/perturb.h"
#include "ballot/quant.h"
#include "ballot/replicas.h"
#include "ballot/source.h"
#include "ballot/train.h"
#include "ballot/vote.h"

#define BAL_PATH_BYTES 4096

/* One line per step in RUN/metrics.jsonl, for programs that watch. */
typedef struct bal_metrics_log {
    FILE *file;
    char path[BAL_PATH_BYTES];
    int64_t n_steps; /* step lines in the file */
} bal_metrics_log;

/** The slots that a rank takes, see deal.c. */
typedef struct bal_deal bal_deal;

/** @param by_node  the ranks of a node share their slots, where they can share memory. Collective.
 *  @return BAL_OK; BAL_ERR_MEMORY, BAL_ERR_MPI, BAL_LOST, on all ranks; destroy it in any case. */
bal_status bal_deal_create(bal_comm *comm, int n_slots, bool by_node, bal_deal **deal);
/** Collective. */
void bal_deal_destroy(bal_deal **deal);
/** A round begins, of a step; between two of them all ranks wait for each other. Local. */
void bal_deal_begin(bal_deal *deal);
/** The next slot of the round; -1: none is left. Local. */
int bal_deal_next(bal_deal *deal);

typedef struct bal_run {
    const bal_job *job;
    const bal_machine *machine;
    const char *dir;
    bal_comm *comm;
    bool writes; /* rank 0 */
    bal_run_id id;
    bal_shared *shared; /* the model's memory */
    bal_bundle bundle;  /* what the base came with; its model is the next line's */
    bal_model *model;
    bal_dataset train, dev; /* dev may be none */
    bool *on_ballot;
    bal_optim *optim;
    bal_forward *forward;
    bal_batch batch;
    bal_deal *deal;
    bal_ballot *ballot;
    uint64_t *bits;        /* the counted ballot */
    bal_pair *losses;      /* [n_slots] of my slots in this step */
    int64_t *sequences[2]; /* [batch] loss of each sequence at + and - */
    uint32_t *flips;       /* [n_tensors] codes that the last step changed */
    uint64_t *flip_sums;   /* [n_tensors] work space */
    bal_status pending;    /* what went wrong on this rank since all last agreed */
    char reason[1024];     /* its sentence */
    int64_t step;          /* steps applied */
    int64_t first_step;    /* where this process began to probe */
    int64_t repaired_step; /* in which replicas were rebuilt last; -1: never */
    /* of ranks, the same on all */
    bool *excluded; /* [size] found to be wrong: votes no more */
    bool *accused;  /* [size] in this step */
    bool audited;   /* a ballot of the present window of audits was checked */
    int64_t n_audits, n_accused;
    char accusation[512]; /* the last one */
    /* rank 0 alone */
    bal_lock *lock;
    bal_journal *journal;
    bal_metrics metrics;
    bal_metrics_log log;
    bal_score dev_score; /* last evaluation; n_tokens 0: none */
    double best_nats;    /* best evaluation so far, INFINITY: none */
    int64_t best_step;
    /* clocks of this process */
    double began, started;        /* to load; its first step */
    double seconds[BAL_N_PHASES]; /* whole */
    double step_seconds[BAL_N_PHASES];
    int64_t n_probes, n_tokens; /* of all ranks, since first_step */
    double last_line;
    int64_t *abstained; /* [size] rank 0: slots that each rank abstained from, since first_step */
} bal_run;

/** Load model and data, open or create the run directory, replay to the last step in the journal.
 *  Collective. */
bal_status bal_run_start(bal_run *run);
/** Its parts: what every rank reads, the model's shape, its tokenizer, the data (local); the
 * weights of the base model, one copy per node (collective); work space (local). */
bal_status bal_run_load(bal_run *run);
bal_status bal_run_load_weights(bal_run *run);
bal_status bal_run_make_tools(bal_run *run);
/** Release everything. Collective, for the communicator is used by nothing afterwards. */
void bal_run_clear(bal_run *run);
/** Fill the model's memory from the checkpoint of a step, or -1: from the base. Collective. */
bal_status bal_run_fill(bal_run *run, int64_t checkpoint);
/** Apply the ballots of the journal from run->step to n_entries: updates only. Collective. */
bal_status bal_run_replay(bal_run *run, int64_t n_entries);
/** Replicas differ, as bal_failure says: rebuild all from checkpoint and journal, which are right.
 *  Collective. @param fingerprint  of the model then
 *  @return BAL_OK; BAL_ERR_NUMERIC: for the second time in this step, or no replica was right. */
bal_status bal_run_repair(bal_run *run, uint64_t *fingerprint);
/** Behind something that ended with this status of all ranks: are all replicas the same, and those
 *  of the record? If not they are made so, and *repaired says it. A model that a fault of memory
 *  has changed may give no losses at all (BAL_ERR_NUMERIC). Collective.
 *  @return BAL_OK if repaired; else the status, or why nothing could be compared or repaired. */
bal_status bal_run_compare(bal_run *run, bal_status status, uint64_t *fingerprint, bool *repaired);
/** Both losses of a slot at this step; those of each sequence in run->sequences. Local. */
bal_status bal_run_probe(bal_run *run, const bal_measure *measure, int slot, bal_pair *losses);
/** Have the votes of this step checked if it is their turn, before they count. Collective.
 *  @param repaired  answers differed because replicas did: the step is to be done again
 *  @return BAL_OK, entry->accused and the ballot changed if a rank was found to be wrong;
 *          BAL_ERR_NUMERIC: nobody can say which is. */
bal_status bal_run_audit(bal_run *run, const bal_measure *measure, bal_journal_entry *entry,
                         bool *repaired);
/** Is a record of the directory of this run? */
bal_status bal_run_compare_id(const bal_run *run, const bal_run_id *theirs);
/** Apply a counted ballot and add its row of metrics: what a live step and a replayed one share. */
bal_status bal_run_apply(bal_run *run, const bal_journal_entry *entry);
/** Keep a failure, and its sentence, until all ranks agree on one the next time. Local. */
void bal_run_postpone(bal_run *run, bal_status status);
/** The first failure kept; BAL_OK: none. Local. */
bal_status bal_run_pending(const bal_run *run);
/** RUN/name. */
void bal_run_path(const bal_run *run, const char *name, char path[BAL_PATH_BYTES]);
/** Steps that have a checkpoint in the run directory, newest first; *steps is for free(). */
bal_status bal_checkpoint_list(const bal_run *run, int64_t **steps, int64_t *n);
/** Step of the newest checkpoint that is whole, -1: none. */
bal_status bal_checkpoint_find(const bal_run *run, int64_t *step);
/** Name of the checkpoint of a step. */
void bal_checkpoint_name(int64_t step, char name[64]);

/** Open RUN/metrics.jsonl, cutting a torn last line and lines of steps not in the journal. */
bal_status bal_metrics_log_open(bal_metrics_log *log, const bal_run *run, int64_t n_steps);
/** Write the line of row step of run->metrics if it is not there yet. */
bal_status bal_metrics_log_step(bal_metrics_log *log, const bal_run *run, int64_t step,
                                const uint64_t *fingerprint);
/** Write the line that ends a finished run. */
bal_status bal_metrics_log_final(bal_metrics_log *log, const bal_run *run);
void bal_metrics_log_close(bal_metrics_log *log);
/** Bytes of the log of n_steps steps in which nobody abstains, at most. Local. */
int64_t bal_metrics_log_bytes(const bal_tensors *tensors, int64_t n_steps);

/** Say where the run is: on a terminal a line that is overwritten, elsewhere a line every 30 s;
 *  always a line of its own if important. */
void bal_progress(bal_run *run, bool important);
/** The table of a finished or stopped run, to stdout. Collective: rank 0 prints. */
bal_status bal_progress_table(bal_run *run);

#endif
