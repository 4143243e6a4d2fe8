/* include/ballot/record.h: a run on disk: its journal, its HDF5 checkpoints, its lock. Knows files;
 * knows nothing of losses, rules or when to save. Only rank 0 writes. */
#ifndef BALLOT_RECORD_H
#define BALLOT_RECORD_H

#include "ballot/core.h"
#include "ballot/model.h"
#include "ballot/states.h"
#include "ballot/text.h"
#include "ballot/vote.h"

BAL_C_BEGIN

/* ---- journal: a header, then records of one size, chained by XXH3-64 ---- */

/** What tells a run from others. */
typedef struct bal_run_id {
    uint64_t seed;           /* run seed */
    uint32_t stream_version; /* of its random numbers, see bal_job_streams */
    int32_t n_slots;
    int64_t n_steps;
    uint64_t job_hash;  /* of the options that decide the codes, see bal_job.identity */
    uint64_t base_hash; /* fingerprint of the model before step 0 */
    uint64_t data_hash; /* of the training and dev tokens */
    uint64_t task_hash; /* of the bytes of the task file; 0: a text */
} bal_run_id;

/** How far a step goes where travel is auto, and what a search of the line before it has found, see
 *  bal_line. All zeros: the schedule says. */
typedef struct bal_course {
    int64_t rate;               /* 2^-32 code steps */
    int64_t goal;               /* of bal_travel, 2^-32 code steps */
    int64_t scale, noise;       /* of bal_line_end; 0: no search before this step */
    int64_t n_passes, n_tokens; /* of the search; of each of its points */
    int64_t loss, best_loss;    /* of bal_line_end, over these tokens */
} bal_course;

/** A step, on disk before any rank applies it. */
typedef struct bal_journal_entry {
    int64_t step;     /* 0, 1, 2, ... without gaps */
    int64_t dev_loss; /* summed dev loss before this step, loss units; -1: not evaluated */
    int64_t dev_tokens;
    int64_t dev_merit; /* what the best model is chosen by, see bal_score_merit; -1: by the loss, or
                          not evaluated */
    int n_ranks; /* that slots were dealt to, if a slot has no vote or a rank was accused; else 0,
                  * so that the record is the same on any number of ranks */
    int accused; /* rank whose probes an audit found to be wrong; -1: none */
    bal_totals totals;
    bal_course course;
    const uint64_t *bits; /* the ballot, of shape bal_journal_ballot; borrowed */
} bal_journal_entry;

typedef struct bal_journal bal_journal;

/** What the entries of a journal hold. Signs of two points, moved by a schedule, have versions 2
 * and 3 of the file, as they always had; the rest has version 4, which holds everything. */
typedef struct bal_journal_form {
    int n_bits;      /* of a vote, see bal_ballot_shape */
    int n_points;    /* passes of a slot, 1 or 2 */
    bool has_merit;  /* dev_merit */
    bool has_course; /* travel is auto, or the rule takes a slope */
} bal_journal_form;

/** Does a journal of that form hold what slots have found, bal_totals.spread and common? Local. */
bool bal_journal_has_values(bal_journal_form form);

/** Start a journal, with its header, and sync file and directory. Local.
 *  @return BAL_OK; BAL_ERR_IO; BAL_ERR_STATE: the file exists; BAL_ERR_MEMORY. */
bal_status bal_journal_create(const char *path, const bal_run_id *id, bal_journal_form form,
                              bal_journal **journal);
/**
 * Open a journal and find its longest valid prefix. Local.
 * @param for_append  cut an invalid tail off the file; else the file is only read
 * @return BAL_OK; BAL_ERR_INPUT: missing, or its header is damaged, of another version or of
 * another byte order; BAL_ERR_IO; BAL_ERR_MEMORY.
 */
bal_status bal_journal_open(const char *path, bool for_append, bal_journal **journal);
/** Bytes of a journal of n_steps steps. Local. */
int64_t bal_journal_bytes(int n_slots, bal_journal_form form, int64_t n_steps);
/** Close and free; NULL is fine. Local. */
void bal_journal_close(bal_journal **journal);

const bal_run_id *bal_journal_id(const bal_journal *journal);
/** The shape of its ballots. Local. */
bal_ballot_shape bal_journal_ballot(const bal_journal *journal);
/** Local. */
bal_journal_form bal_journal_form_of(const bal_journal *journal);
/** Number of valid entries. Local. */
int64_t bal_journal_n(const bal_journal *journal);
/** Bytes that followed the longest valid prefix when it was opened; if for_append, they are cut
 *  off. Local. */
int64_t bal_journal_tail(const bal_journal *journal);
/** Read entry index, in [0, n). Its bits are borrowed until the next call on this journal. Local.
 *  @return BAL_OK; BAL_ERR_IO; BAL_ERR_INPUT: the file was changed after it was opened. */
bal_status bal_journal_read(bal_journal *journal, int64_t index, bal_journal_entry *entry);
/** Append an entry: one write, then fdatasync. Local.
 *  @return BAL_OK; BAL_ERR_ARG: entry->step is not n; BAL_ERR_IO: nothing was added, and a partial
 *          write was cut off again. */
bal_status bal_journal_append(bal_journal *journal, const bal_journal_entry *entry);

/* ---- metrics that a checkpoint keeps for plots ---- */

typedef enum bal_phase {
    BAL_PHASE_PROBE,
    BAL_PHASE_VOTE,
    BAL_PHASE_UPDATE,
    BAL_PHASE_JOURNAL,
    BAL_PHASE_CHECKPOINT,
    BAL_PHASE_WAIT,
    BAL_PHASE_EVAL,
    BAL_N_PHASES
} bal_phase;
/** The name of a phase: "probe", "vote", ... Local. */
const char *bal_phase_name(bal_phase phase);

/** What a step did. */
typedef struct bal_metrics_row {
    int64_t step;
    double loss_nats;             /* mean training loss per token over the step's probes */
    double dev_loss_nats;         /* dev loss per token before the step; NaN: not evaluated */
    double dev_metric;            /* of a task: accuracy or F1 then, 0 to 1; NaN: not evaluated */
    double agreement;             /* share of sequences that agree with their slot's vote */
    double slope, share, rise;    /* see bal_signs; NaN: not known */
    int64_t n_passes;             /* forward passes of the run after this step */
    double seconds[BAL_N_PHASES]; /* of rank 0; 0 for replayed steps */
    const uint32_t *flips;        /* [n_tensors] codes that changed, saturating; NULL: none */
} bal_metrics_row;

/** A table with a row for each step 0, 1, 2, ... Its rows are on disk, in a file of the run
 * directory that has no name: it is gone when the process ends, however that ends. */
typedef struct bal_metrics bal_metrics;
/** Make an empty one. Local. @return BAL_OK; BAL_ERR_IO: dir cannot be written; BAL_ERR_MEMORY. */
bal_status bal_metrics_create(const char *dir, int n_tensors, bal_metrics **metrics);
/** A null table is fine. Local. */
void bal_metrics_destroy(bal_metrics **metrics);
/** Number of rows; of a null table 0. Local. */
int64_t bal_metrics_n(const bal_metrics *metrics);
/** Read row index, in [0, n). Its flips are borrowed until the next call on this table. Local.
 *  @return BAL_OK; BAL_ERR_IO. */
bal_status bal_metrics_get(bal_metrics *metrics, int64_t index, bal_metrics_row *row);
/** Write the row of row->step, in [0, n]: n adds one. Local. @return as above. */
bal_status bal_metrics_put(bal_metrics *metrics, const bal_metrics_row *row);
/** Bytes of n rows on disk. Local. */
int64_t bal_metrics_bytes(int n_tensors, int64_t n);

/* ---- checkpoint: one HDF5 file ---- */

/** What a checkpoint holds. A writer borrows all pointers; bal_checkpoint_read makes a snapshot
 *  that owns them, for bal_snapshot_clear. */
typedef struct bal_snapshot {
    int64_t step;         /* steps applied */
    uint64_t fingerprint; /* bal_states_fingerprint of model and states */
    bal_run_id id;
    bal_model *model;         /* of integer formats */
    bal_states states;        /* what the rule remembers of its codes; if outlined, names only */
    bal_files files;          /* from beside its weights: config.json, the tokenizer's files */
    bal_tokenizer *tokenizer; /* made from these files; writers need none */
    char *job_text;           /* the job, as INI */
    char *isa;                /* kernel level of the writer, see bal_kernels.name */
    bal_metrics *metrics;     /* NULL: no rows, which bal_checkpoint_read_metrics reads */
    uint8_t *journal;         /* bytes of the journal up to this step */
    size_t journal_bytes;
    double dev_loss_nats; /* last dev loss, NaN: none */
    bal_base_id base;
} bal_snapshot;
void bal_snapshot_clear(bal_snapshot *snapshot);

/**
 * Write dir/name under a temporary name, close it, reopen and verify it, sync it, rename it, and
 * sync the directory. On failure the temporary file is removed, and an older dir/name is untouched.
 * Local.
 * @return BAL_OK; BAL_ERR_IO; BAL_ERR_MEMORY.
 */
bal_status bal_checkpoint_write(const char *dir, const char *name, const bal_snapshot *snapshot);
/** Bytes of the checkpoint of a run after n_steps steps, to within a few per cent. Tensors and
 *  states need no memory. Local. */
int64_t bal_checkpoint_bytes(const bal_tensors *tensors, const bal_states *states,
                             const bal_files *files, int64_t journal_bytes, int64_t n_steps);
/** About how many bytes of memory writing a checkpoint of n_bytes takes. Local. */
int64_t bal_checkpoint_memory(const bal_tensors *tensors, const bal_states *states,
                              int64_t n_bytes);
/** Whether a file starts like a checkpoint. Local. */
bool bal_checkpoint_recognizes(const char *path);
/** Check every byte of a file against its checksums, without reading it as HDF5. Local.
 *  @return BAL_OK; BAL_ERR_INPUT: missing, short or damaged; the message says where. */
bal_status bal_checkpoint_verify(const char *path);
/**
 * Verify a checkpoint, read it, and check the fingerprint of what was read. Local.
 * @param with_states  read the states too. Evaluation needs none; without them the fingerprint is
 *                     taken from the file and not checked.
 * @return BAL_OK; BAL_ERR_INPUT: missing, damaged, or of another version; BAL_ERR_MEMORY.
 */
bal_status bal_checkpoint_read(const char *path, bool with_states, bal_snapshot *snapshot);
/** The first half of it: everything but the weights; metrics are in neither half. The model is
 * outlined (bal_model_outline). Local. Errors as above. */
bal_status bal_checkpoint_outline(const char *path, bal_snapshot *snapshot);
/** Read its rows of metrics into an empty table, which has as many tensors. Local. Errors as above,
 *  and BAL_ERR_IO: the table cannot be written. */
bal_status bal_checkpoint_read_metrics(const char *path, bal_metrics *metrics);
/** The second half: read codes and scales into the tensors of the outlined model, or into others
 *  that match them, and states, once all have memory. The fingerprint is checked if states has all
 *  that the file has. Local. Errors as above, and BAL_ERR_INPUT: the file has other tensors, or
 *  lacks a state.
 *  @param states  those wanted, by name; NULL: none */
bal_status bal_checkpoint_fill(const char *path, bal_tensors *tensors, bal_states *states);

/* ---- the run directory: its files and its checkpoints ---- */

#define BAL_PATH_BYTES 4096

/** Make the directory, and those above it, where they are missing. Local.
 *  @param n_made  how many were missing; a failure leaves none of them
 *  @return BAL_OK; BAL_ERR_CONFIG: it holds files, but none of a run; BAL_ERR_IO. */
bal_status bal_run_dir_make(const char *dir, int *n_made);
/** Delete the last n_made directories of the path, from the inner to the outer, up to the first
 *  that is not empty. Local. */
void bal_run_dir_unmake(const char *dir, int n_made);
/** Delete the temporary files that a killed writer left behind, see bal_publish. Local. */
void bal_run_dir_clean(const char *dir);
/** Make the path dir/name. Local. */
void bal_run_path(const char *dir, const char *name, char path[BAL_PATH_BYTES]);
/** The text of dir/job.ini, for free(); "": it cannot be read. Local. @return NULL: no memory. */
char *bal_run_read_job(const char *dir);

/** Make the file name of the checkpoint of a step, or its path in a run directory. Local. */
void bal_checkpoint_name(int64_t step, char name[64]);
void bal_checkpoint_path(const char *dir, int64_t step, char path[BAL_PATH_BYTES]);
/** List the steps that have a checkpoint in the directory, newest first. Local.
 *  @param steps  made, [n], for free()
 *  @return BAL_OK; BAL_ERR_IO; BAL_ERR_MEMORY. */
bal_status bal_checkpoint_list(const char *dir, int64_t **steps, int64_t *n);
/** Find the newest checkpoint that is whole, and warn of newer ones that are not. Local.
 *  @param step  its step; -1: there is none
 *  @return as above. */
bal_status bal_checkpoint_find(const char *dir, int64_t *step);
/** Keep the newest `keep` checkpoints of those up to a step, and delete all others. Local.
 *  @return as above. */
bal_status bal_checkpoint_drop(const char *dir, int64_t step, int64_t keep);

/* ---- run.lock: one writer at a time ---- */

typedef struct bal_lock bal_lock;
/**
 * Take the run directory. dir/run.lock is held with flock. It names host, pid, Slurm job, if any,
 * and a generation, which is one above the last. Local.
 * @return BAL_OK; BAL_ERR_STATE: a live process on this host has it (the message says which);
 *         BAL_ERR_IO: the directory cannot be written.
 */
bal_status bal_lock_take(const char *dir, bal_lock **lock);
/** Check that the run is still ours, before each publish. Local. @return BAL_OK; BAL_ERR_STATE: a
 *  later generation has taken it over, and this one must stop. */
bal_status bal_lock_check(const bal_lock *lock);
/** Release the lock; NULL is fine. The file stays, because it has the generation. Local. */
void bal_lock_release(bal_lock **lock);

BAL_C_END

#endif
