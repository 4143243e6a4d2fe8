/* train_impl.h: a run under way. */
#ifndef BALLOT_TRAIN_IMPL_H
#define BALLOT_TRAIN_IMPL_H

#include <stdio.h>

#include "ballot/batch.h"
#include "ballot/evaluate.h"
#include "ballot/hub.h"
#include "ballot/kernels.h"
#include "ballot/perturb.h"
#include "ballot/probe.h"
#include "ballot/quant.h"
#include "ballot/replicas.h"
#include "ballot/source.h"
#include "ballot/train.h"
#include "ballot/vote.h"

/* One line per step in RUN/metrics.jsonl, for programs that watch. */
typedef struct bal_metrics_log {
    FILE *file;
    char path[BAL_PATH_BYTES];
    int64_t n_steps; /* step lines in the file */
} bal_metrics_log;

/** The slots that a rank takes, see deal.c. */
typedef struct bal_deal bal_deal;
/** What is dealt. Plain. */
typedef struct bal_deal_plan {
    int n_slots, team; /* slots; those of a team stay together */
    int at_once;       /* most slots of a turn, while there are enough for all */
    int64_t n_row;     /* words that the probe of a slot leaves for the rest of its team */
    bool by_node;      /* the ranks of a node share their slots, where they can share memory, */
    bool warns;        /* and if not, the log says so */
} bal_deal_plan;
/** Slots to probe: numbers i .. end - 1 of the n slots of a team, which begins with slot first. */
typedef struct bal_turn {
    int at; /* number of the team, for the deal */
    int first, n, i, end;
} bal_turn;

/** Collective. @return BAL_OK; BAL_ERR_MEMORY, BAL_ERR_MPI, BAL_LOST, on all ranks; destroy it in
 *  any case. */
bal_status bal_deal_create(bal_comm *comm, const bal_deal_plan *plan, bal_deal **deal);
/** Collective. */
void bal_deal_destroy(bal_deal **deal);
/** A round begins, of a step; between two of them all ranks wait for each other. Local. */
void bal_deal_begin(bal_deal *deal);
/** The next slots of the round for this rank: of its team, of the next team that nobody has begun,
 * or else of the team that has most left. Local.
 *  @param begins  whether it may turn to another team @return false: nothing is left for it */
bool bal_deal_next(bal_deal *deal, bool begins, bal_turn *turn);
/** What slot i of a turn's team leaves, [n_row]: written by the rank whose turn it is. Local. */
int64_t *bal_deal_row(const bal_deal *deal, const bal_turn *turn, int i);
/** The turn is over, and its rows written. Local.
 *  @return whether all rows of the team are written now: so for one rank, which reads them */
bool bal_deal_done(bal_deal *deal, const bal_turn *turn);
/** The rank that a slot is dealt to: that of bal_slot_rank, in an order of the ranks in which those
 *  of every table are spread alike. Each table of one rank: in their own order. Local. */
int bal_deal_rank(const bal_deal *deal, int slot);
/** Slots that fall to this rank where nobody takes another's. Local. */
int bal_deal_n_mine(const bal_deal *deal);

/** This rank's copy of the model, and the work space of its passes. */
typedef struct bal_replica {
    bal_model *model;     /* that of run->inputs */
    bal_tensors *tensors; /* those of model */
    bal_states states;    /* what the rule remembers of them */
    bal_shared *shared;   /* memory of both */
    bal_forward *forward;
    bal_batch batch;
    bal_model *base; /* that reads prompts; NULL: the model itself does */
    bal_base_id base_id;
    bal_shared *base_shared;  /* the base model, with its states if travel is auto */
    uint64_t base_hash;       /* of my part of it */
    bal_shared *store_shared; /* texts that are kept; NULL: none are */
    size_t store_bytes;
    int64_t repaired_step; /* in which replicas were rebuilt last; -1: never */
} bal_replica;

/** The votes of a step. */
typedef struct bal_poll {
    bal_deal *deal;
    bal_prober prober;
    int64_t *losses; /* [n_slots][n_points] of my slots in this step */
    bal_ballot *ballot;
    uint64_t *bits; /* the counted ballot */
} bal_poll;

/** From a ballot to codes. */
typedef struct bal_update {
    bool *on_ballot;     /* [n_tensors] */
    bal_rota rota;       /* who votes when, if that is by turns */
    bal_measure measure; /* of the run; bal_measure_at says that of a step */
    bal_optim *optim;
    double factor;       /* of all rates, for replays; else 1 */
    uint32_t *flips;     /* [n_tensors] codes that the last step changed */
    uint64_t *flip_sums; /* [n_tensors] work space */
} bal_update;

/** Where the travel of a run is found by trials. */
typedef struct bal_trials {
    bal_travel travel;         /* before the step */
    bal_optim_options options; /* what it depends on */
} bal_trials;

/** What audits have found of the ranks, the same on all. */
typedef struct bal_audit {
    bool *excluded;       /* [size] found to be wrong: votes no more */
    bool *accused;        /* [size] in this step */
    bool audited;         /* a ballot of the present window of audits was checked */
    int64_t doubted_step; /* in which the sums of a ballot were wrong last; -1: never */
    int64_t n_audits, n_accused;
    char accusation[512]; /* the last one */
} bal_audit;

/** The run directory, of rank 0 alone but for scores and what is counted of them. */
typedef struct bal_record {
    int n_made;    /* directories that this process made: that of the run, and those above it */
    bool begun;    /* the journal is of this process */
    bool made_job; /* job.ini too, and there was none */
    bal_lock *lock;
    bal_journal *journal;
    bal_metrics *metrics; /* NULL: no rows are kept */
    bal_metrics_log log;
    bal_score dev_score;  /* last evaluation; n_tokens 0: none */
    bal_score best_score; /* best one so far, likewise */
    int64_t best_step;
    int64_t n_worse; /* evaluations since */
} bal_record;
/** Note that dev_score is that of the model before a step. True: it is the best one so far. */
bool bal_record_score(bal_record *record, int64_t step, bal_best by);
/** The dev score in an entry that has one. */
bal_score bal_entry_score(const bal_journal_entry *entry);
/** The mean training loss in an entry, nats per token; NaN: all have abstained. Local. */
double bal_entry_loss(const bal_job *job, const bal_journal_entry *entry);
/** Slope, share, its error, and rise of that step alone, see bal_signs; its other members are 0.
 * NaN where the journal does not say. Local. */
bal_signs bal_entry_signs(const bal_job *job, const bal_journal_entry *entry);

/** Time and work of this process. */
typedef struct bal_clock {
    double began, started;        /* to load; its first step */
    double lap, last_line;        /* when a phase began; when progress was shown */
    double seconds[BAL_N_PHASES]; /* whole */
    double step_seconds[BAL_N_PHASES];
    int64_t first_step;         /* where it began to probe */
    int64_t n_probes, n_tokens; /* of all ranks, since then */
    int64_t *abstained;         /* [size] rank 0: slots that each rank abstained from, since then */
} bal_clock;

/** What went wrong on this rank since all last agreed. */
typedef struct bal_pending {
    bal_status status;
    char reason[1024]; /* its sentence */
} bal_pending;

typedef struct bal_run {
    const bal_job *job;
    const bal_machine *machine;
    const char *dir;
    bal_comm *comm;
    bool writes; /* rank 0 */
    bal_run_id id;
    int64_t step; /* steps applied */
    bal_inputs inputs;
    bal_replica replica;
    bal_poll poll;
    bal_update update;
    bal_trials trials;
    bal_audit audit;
    bal_record record;
    bal_clock clock;
    bal_pending pending;
} bal_run;

/* Each file uses those above it here. */

/* ---- step.c: what live steps and replays are made of ---- */

/** Keep a failure, and its sentence, until all ranks agree on one the next time. Local. */
void bal_run_postpone(bal_run *run, bal_status status);
/** The first failure kept; BAL_OK: none. Local. */
bal_status bal_run_pending(const bal_run *run);
/** Updates of the tensors for a job. Local; clear it in any case. @param streams  the version of
 * its random numbers. @return BAL_OK; BAL_ERR_MEMORY; BAL_ERR_CONFIG. */
bal_status bal_update_init(bal_update *update, const bal_job *job, uint32_t streams,
                           const bal_machine *machine, bal_tensors *tensors,
                           const bal_states *states);
void bal_update_clear(bal_update *update);
/** Apply a counted ballot and add its row to the metrics, if there are any. Collective on the copy
 * of the model. */
bal_status bal_run_apply(bal_run *run, const bal_journal_entry *entry);

/* ---- identity.c ---- */

/** Is a hash in a record that of the job, also as version 0.1 made it? Local.
 *  @param text  of the record's own job.ini; "": unknown */
bool bal_job_has_hash(const bal_job *job, uint64_t hash, const char *text);
/** Is theirs, of a record in the run directory, of this run? Local. @return BAL_OK; BAL_ERR_CONFIG
 *  with what differs. */
bal_status bal_run_compare_id(const bal_run *run, const bal_run_id *theirs);

/* ---- kept.c ---- */

/** Bytes of the model and of its states, which lie after it. Local. */
size_t bal_model_bytes(const bal_run *run);
/** If prompts are read by the base, or travel is found by trials: keep a copy of the model, which
 *  is the base still. Collective. */
bal_status bal_run_keep_base(bal_run *run);
/** Is the copy what it was? Each rank looks at a part. Local. @return BAL_OK; BAL_ERR_NUMERIC. */
bal_status bal_run_check_base(const bal_run *run);
/** Read the base again if a copy of it is not. The model is the base then. Collective. */
bal_status bal_run_restore_base(bal_run *run);
/** Bytes of what is kept of training and dev rows. */
typedef struct bal_kept_bytes {
    size_t all, most; /* of all rows; of one, at most */
    size_t store;     /* of the store that the job asks for; 0: it needs none */
} bal_kept_bytes;
/** Count them; the model need only be outlined. Local. @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_kept_size(const bal_job *job, const bal_inputs *inputs, bal_kept_bytes *bytes);
/** Let forward passes keep texts, in a store. Collective. */
bal_status bal_run_keep(bal_run *run);
/** Empty the store, for the codes that read its texts were not what they should be. Collective. */
bal_status bal_run_forget(bal_run *run);

/* ---- fill.c ---- */

/** Fill the model's memory from the checkpoint of a step, or -1: from the base. Collective. */
bal_status bal_run_fill(bal_run *run, int64_t checkpoint);

/* ---- rebuild.c: the model of a step from what is on disk ---- */

/** Apply the ballots of the journal from run->step to n_entries: updates only. Collective. */
bal_status bal_run_replay(bal_run *run, int64_t n_entries);
/** From the newest checkpoint, or the base, to the step that the run is at. Collective. */
bal_status bal_run_rebuild(bal_run *run);

/* ---- repair.c ---- */

/**
 * Call after a collective that returned status on all ranks: compares the replicas, and rebuilds
 * them from checkpoint and journal if they drifted. A model that a fault of memory has changed may
 * give no losses at all, so BAL_ERR_NUMERIC is looked into too. Collective.
 * @param fingerprint  of the replicas, where they agree
 * @param repaired     they drifted and are right again: what was computed must be done again
 * @return BAL_OK if repaired; else status, or why nothing could be compared or repaired.
 */
bal_status bal_run_compare(bal_run *run, bal_status status, uint64_t *fingerprint, bool *repaired);

/* ---- trial.c: travel = auto ---- */

/** Mini-batches of the search before a step; 0: there is none. Local. */
int64_t bal_job_draws(const bal_job *job, int64_t step);
/** Memory for the losses of n of them at all points of the line. Local. */
size_t bal_draws_bytes(int64_t n);
/** How far the step is to go, after a search of the line from the base model if one is due; the
 *  model is left as it was. Collective. */
bal_status bal_run_find_course(bal_run *run, const bal_measure *measure, bal_course *course);
/** The travel of the run after a step that is in the journal, from that before it. Local. */
void bal_run_follow(bal_run *run, const bal_journal_entry *entry);

/* ---- start.c ---- */

/** Load model and data, open or create the run directory, replay to the last step in the journal.
 *  Collective. A new run has its record last: a start that fails before leaves none. */
bal_status bal_run_start(bal_run *run);
/** Rank 0, after a failure with this status: a run without a step leaves nothing that this process
 *  made, so that its job can be corrected. Local. @return the first failure, with its sentence. */
bal_status bal_run_unmake(bal_run *run, bal_status status);
/** Parts of a start: what every rank reads, the model's shape, its tokenizer, the data (local); the
 *  weights of the base model, one copy per node (collective); work space (local).
 *  @param begun  the run as its record has it; zeros: it is new */
bal_status bal_run_load(bal_run *run, const bal_run_id *begun);
bal_status bal_run_load_weights(bal_run *run);
bal_status bal_run_make_tools(bal_run *run);
/** Release everything. Collective, for the communicator is used by nothing afterwards. */
void bal_run_clear(bal_run *run);

/* ---- audit.c ---- */

/** Have the votes of this step checked if it is their turn, before they count. Collective.
 *  @param again  answers differed because replicas did, and these are right again; or sums were
 *                wrong: the step is to be done again
 *  @return BAL_OK, entry->accused and the ballot changed if a rank was found to be wrong;
 *          BAL_ERR_NUMERIC: nobody can say which is. */
bal_status bal_run_audit(bal_run *run, const bal_measure *measure, bal_journal_entry *entry,
                         bool *again);

/* ---- metrics_log.c ---- */

/** Open RUN/metrics.jsonl, cutting a torn last line and lines of steps not in the journal. */
bal_status bal_metrics_log_open(bal_metrics_log *log, const bal_run *run, int64_t n_steps);
/** Write the line of row step of the run's metrics if it is not there yet. */
bal_status bal_metrics_log_step(bal_metrics_log *log, const bal_run *run, int64_t step,
                                const uint64_t *fingerprint);
/** Write the line that ends a finished run. */
bal_status bal_metrics_log_final(bal_metrics_log *log, const bal_run *run);
void bal_metrics_log_close(bal_metrics_log *log);
/** Bytes of the log of n_steps steps in which nobody abstains, at most. Local. */
int64_t bal_metrics_log_bytes(const bal_tensors *tensors, int64_t n_steps);

/* ---- save.c ---- */

/** Publish a checkpoint of the steps so far, as LATEST, and drop those beyond run.keep.
 *  Collective. */
bal_status bal_run_save(bal_run *run);
/** Rank 0: publish best.h5. @param fingerprint  of the model. Local. */
bal_status bal_run_save_best(bal_run *run, uint64_t fingerprint);
/** Rank 0: the checkpoint of this step is there; name it LATEST and drop others. Local. */
bal_status bal_run_name_latest(const bal_run *run);

/* ---- progress.c ---- */

/** Seconds since the phase before was charged go to a phase. Local. */
void bal_clock_charge(bal_clock *clock, bal_phase phase);
/** Say where the run is: on a terminal a line that is overwritten, elsewhere a line every 30 s;
 *  always a line of its own if important. Local. */
void bal_progress(bal_run *run, bool important);
/** The table of a finished or stopped run, to stdout. Collective: rank 0 prints. */
bal_status bal_progress_table(bal_run *run);

#endif
