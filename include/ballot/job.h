/* include/ballot/job.h: a job, which is everything that decides what a run computes, and what it
 * means for a model. Knows options; knows nothing of ranks, or of where options were written. */
#ifndef BALLOT_JOB_H
#define BALLOT_JOB_H

#include "ballot/data.h"
#include "ballot/evaluate.h"
#include "ballot/model.h"
#include "ballot/optim.h"
#include "ballot/perturb.h"
#include "ballot/probe.h"
#include "ballot/record.h"
#include "ballot/source.h"
#include "ballot/task.h"
#include "ballot/vote.h"

BAL_C_BEGIN

#define BAL_TEXT_BYTES 512 /* of an option that is text, with its 0 */

enum { BAL_OBJECTIVE_AUTO = 100 }; /* of data.objective, beside bal_objective */

enum { BAL_TRAIN_CODES = 1, BAL_TRAIN_GAINS = 2 }; /* bits of vote.train */

/** Who votes in which step: see bal_rota. */
typedef enum bal_turns { BAL_TURNS_NONE, BAL_TURNS_CYCLIC, BAL_TURNS_RANDOM } bal_turns;

typedef enum bal_dealing {
    BAL_DEALING_FIXED, /* each rank probes the slots dealt to it, see bal_slot_rank */
    BAL_DEALING_NODE,  /* a rank that has finished takes slots of others on its node */
    BAL_DEALING_AUTO,  /* node, or fixed if ballots are audited */
} bal_dealing;

/** What is read by the codes that are voted on. */
typedef enum bal_positions {
    BAL_POSITIONS_ALL,
    BAL_POSITIONS_ANSWER, /* tokens of a text from the first on at which a word is scored; the base
                             model reads those before it, see bal_keep.base */
} bal_positions;

#define BAL_OFF 0.0              /* of vote.deadline and vote.audit */
#define BAL_DEADLINE_AUTO (-1.0) /* twice the time that the fastest rank would take */

#define BAL_DENSITY_AUTO (-1.0) /* of vote.density: see bal_job_density */

/** What happens when an audit finds a rank to be wrong: see vote.audit_action. */
typedef enum bal_audit_action {
    BAL_AUDIT_STOP,
    BAL_AUDIT_EXCLUDE,
    BAL_AUDIT_WARN
} bal_audit_action;

typedef enum bal_share {
    BAL_SHARE_NODE, /* one model per node, in memory that its ranks share */
    BAL_SHARE_RANK, /* one per rank */
} bal_share;

/** A job. job.SECTION.KEY is the option KEY of [SECTION]; job_options.def has the rows. */
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
#define FORMER(section, key, value)
#include "ballot/job_options.def"
    /* set by the reader of the job */
    char *text;     /* every option that applies, as INI */
    char *identity; /* lines "section.key=value" of those that decide the codes */
    char *older;    /* such lines of all options that version 0.1 hashed */
    uint64_t hash;  /* of identity */
    bool as_0_1;    /* see bal_corpus_options; set to continue a run of version 0.1 */
} bal_job;
/** Every option at its default. Local. */
bal_job bal_job_default(void);
/** Do its options fit each other? Local. @return BAL_OK; BAL_ERR_CONFIG: slots are no whole teams,
 *  or the warm-up is longer than the run, or patience has nothing to wait for. */
bal_status bal_job_check(const bal_job *job);

/** What decides only how fast a run is, and how long. Plain. */
typedef struct bal_machine {
    const bal_kernels *kernels;
    bal_tally_method tally;
    double max_hours; /* stop after so many hours, loading included; 0: no limit */
} bal_machine;

/** The formats of the job's model. Local. */
bal_formats bal_job_formats(const bal_job *job);
/** Does the job name a task file? Local. */
bool bal_job_has_task(const bal_job *job);
/** Open the job's task. Local. @param used  the splits that are wanted; the files of others may be
 *  missing. @param task  set to NULL if the job has none. @return BAL_OK; as bal_task_open;
 *  BAL_ERR_CONFIG: the job says how candidates are scored, but there are none. */
bal_status bal_job_open_task(const bal_job *job, const bool used[BAL_N_SPLITS], bal_task **task);
/** Open a text as the job would learn it, after checking that the model can. Local.
 *  @return BAL_OK; BAL_ERR_CONFIG: job and model do not fit; as bal_corpus_open. */
bal_status bal_job_open_text(const bal_job *job, const char *path, const bal_bundle *bundle,
                             bal_dataset *dataset);
/** Open the job's data set for a model, after checking that the model can learn the job's task: a
 *  split of a task that is open, or a text. No data set if the job has none. Local.
 *  @param learns  whether rows are learned by the job's objective; else they are evaluated
 *  @return BAL_OK; BAL_ERR_CONFIG: job and model do not fit; as bal_job_open_text and
 *          bal_task_dataset. */
bal_status bal_job_open_data(const bal_job *job, const bal_task *task, bal_split split, bool learns,
                             const bal_bundle *bundle, bal_dataset *dataset);
/** What a run of a job reads, except for the weights. */
typedef struct bal_inputs {
    bal_bundle bundle;      /* of the base model, outlined */
    bal_task *task;         /* NULL: the job learns a text */
    bal_dataset train, dev; /* dev: all zeros if the job has none */
} bal_inputs;
/** Open all of it, and check that it fits the job, and the job its rule. That goes for the
 *  test rows of a task, too. Local.
 *  @return BAL_OK; errors of bal_job_check, the rule's check, bal_source_outline,
 *          bal_job_open_task, bal_job_open_data and bal_job_tensors. */
bal_status bal_inputs_open(const bal_job *job, bal_inputs *inputs);
void bal_inputs_clear(bal_inputs *inputs);
/** How a job probes its slots. Local. */
bal_way bal_job_way(const bal_job *job);
/** Does the run find out by itself how far its codes are to travel? Local. */
bool bal_job_finds_travel(const bal_job *job);
/** What the journal of a job holds. Local. */
bal_journal_form bal_job_journal(const bal_job *job);
/** The ballots of a job. Local. */
bal_ballot_shape bal_job_ballot(const bal_job *job);
/** Find the tensors that a job votes on. Local. @param on_ballot  [n_tensors], or NULL to check
 *  only
 *  @return BAL_OK; BAL_ERR_CONFIG: there are none. */
bal_status bal_job_tensors(const bal_job *job, const bal_tensors *tensors, bool *on_ballot);
/** The version of the random streams of a new run: BAL_STREAM_VERSION_WIDE with Walsh directions
 * and more than BAL_WALSH_SLOTS slots, else BAL_STREAM_VERSION. A run that was begun with narrow
 * sets goes on with them. Local. */
uint32_t bal_job_streams(const bal_job *job);
/** Can a run of the job have streams of that version? Local. */
bool bal_job_has_streams(const bal_job *job, uint32_t version);
/** The share of the codes that a step of a job perturbs. If the job leaves it to the formats, it is
 *  0.02 where four-bit codes are voted on, and 1 elsewhere. Local. */
double bal_job_density(const bal_job *job, const bal_tensors *tensors);
/** The rota of a job of n blocks: the layers that vote, in their order, as
 *  many in each as goes. Tensors after a layer go with it, those before all with the first. Local.
 *  @param rota  set; for bal_rota_clear
 *  @return BAL_OK; BAL_ERR_CONFIG: fewer layers vote; BAL_ERR_MEMORY. */
bal_status bal_job_rota(const bal_job *job, const bal_tensors *tensors, const bool *on_ballot,
                        bal_rota *rota);
void bal_rota_clear(bal_rota *rota);
/** The measure of a job's steps, without its rota. Local. @param streams  their version
 *  @param on_ballot  [tensors->n], borrowed */
bal_measure bal_job_measure(const bal_job *job, uint32_t streams, const bal_machine *machine,
                            const bal_tensors *tensors, const bool *on_ballot);
/** What they depend on. Local. @param measure  that of the run; machine: borrowed */
bal_optim_options bal_job_optim_options(const bal_job *job, const bal_machine *machine,
                                        const bal_measure *measure);
/** The rule of a job and its settings, and what that remembers, not in memory yet. Local. */
bal_rule_options bal_job_rule(const bal_job *job);
bal_states bal_job_states(const bal_job *job);
/** Make the updates of a job, for these tensors and the states of its rule; see bal_optim_create.
 *  Local. */
bal_status bal_job_optim(const bal_job *job, const bal_machine *machine, bal_tensors *tensors,
                         const bal_states *states, const bal_measure *measure, bal_optim **optim);
/** Bytes that a rank sends in a step: its ballot, and 8 to agree that rank 0 has logged it. Local.
 */
int64_t bal_job_step_bytes(const bal_job *job);

BAL_C_END

#endif
