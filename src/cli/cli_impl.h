/* cli_impl.h: options, job files, commands. */
#ifndef BALLOT_CLI_IMPL_H
#define BALLOT_CLI_IMPL_H

#include <argp.h>

#include "ballot/comm.h"
#include "ballot/hub.h"
#include "ballot/job.h"
#include "ballot/json.h"
#include "ballot/kernels.h"
#include "ballot/model.h"
#include "ballot/record.h"
#include "ballot/source.h"
#include "ballot/train.h"

/* What MODEL may be, for --help; see bal_source_resolve. */
#define BAL_MODEL_WORDS                                                                            \
    "a Hugging Face folder or cache entry, a GGUF file, a llama2.c folder or file, a checkpoint, " \
    "or a run directory, which stands for its best checkpoint or else its latest"

typedef enum bal_option_type {
    BAL_OPT_INT,    /* int64_t, min .. max */
    BAL_OPT_REAL,   /* double, above min, up to max, or that of a name */
    BAL_OPT_TEXT,   /* char[max] */
    BAL_OPT_CHOICE, /* unsigned: value of one of names */
    BAL_OPT_FLAGS,  /* unsigned: or of values of names */
} bal_option_type;

/** An option of the job file: a row of job_options.def. */
typedef struct bal_option {
    const char *section, *key;
    size_t offset; /* in bal_job */
    bal_option_type type;
    double min, max;
    bal_choice own[12];       /* its words; ends with a name of NULL */
    const bal_choice *listed; /* words that another room lists; NULL: none */
    bool decides;             /* codes depend on it */
    const char *const *when; /* globs of "section.key=value", of which one must hold, before a NULL;
                                none: always */
    const char *help;
} bal_option;
extern const bal_option bal_options[];
extern const int bal_n_options;

#define BAL_FROM_DEFAULT "default"
#define BAL_FROM_RUN "the run, as it was begun"

/** A job with the source of each option: one of these two, "FILE:LINE" or "-s". */
typedef struct bal_job_source {
    bal_job job;
    char (*source)[BAL_TEXT_BYTES + 32]; /* [bal_n_options] */
} bal_job_source;

/** Every option at its default. @return BAL_OK; BAL_ERR_MEMORY; clear it in any case. */
bal_status bal_job_source_init(bal_job_source *job);
/** Set an option from text. @return BAL_OK; BAL_ERR_CONFIG with a sentence that starts with
 *  source. */
bal_status bal_option_set(bal_job_source *job, const char *section, const char *key,
                          const char *value, const char *source);
/** Does the option mean anything in this job? */
bool bal_option_applies(const bal_job *job, const bal_option *option);
/** The value of an option as text, as it stands in a job file. */
void bal_option_print(const bal_job *job, const bal_option *option, char text[BAL_TEXT_BYTES]);
/** Has it its default? */
bool bal_option_is_default(const bal_job *job, const bal_option *option);
/** Has it the default that it came with, see FORMER in job_options.def? */
bool bal_option_is_as_it_came(const bal_job *job, const bal_option *option);
/** Give every option the default that it came with. */
void bal_options_as_they_came(bal_job *job);
/** For "did you mean": is a word nearer to the one given than *distance, which it then lowers?
 * Start with BAL_GUESS(given): what is farther is not meant. */
bool bal_is_nearer(const char *given, const char *word, size_t *distance);
#define BAL_GUESS(given) (strlen(given) / 2 + 1)
/** The job option nearest to a key, or a "section.key". @return NULL: none is near. */
const bal_option *bal_option_guess(const char *given, size_t *distance);
/** What values an option takes, in words. */
void bal_option_range(const bal_option *option, char text[BAL_TEXT_BYTES]);

/**
 * Read a job file, then overrides of the form section.key=value, check that they fit together and
 * fill job.text and job.hash. path NULL: defaults and overrides alone. An option that decides codes
 * and is not set keeps its value in a run that has begun: that of record, or else the one whose
 * job.ini path is. Collective. Release with bal_job_source_clear, also after a failure.
 * @param comm    rank 0 looks for the run, for others may not see its files; bal_comm_alone(): each
 *                rank does
 * @param record  the run directory, or the journal, that the job is to be of; NULL: none. Version
 *                0.1 took options that do not apply: in a record of it they are a warning, in its
 *                own job file (not in overrides) nothing, elsewhere an error.
 * @return BAL_OK; BAL_ERR_CONFIG; BAL_ERR_MEMORY.
 */
bal_status bal_job_read(bal_comm *comm, const char *path, char *const *overrides, int n_overrides,
                        const char *record, bal_job_source *job);
/** The same, of a job that can be run: it names a model and a text. Errors as above. */
bal_status bal_job_read_to_run(bal_comm *comm, const char *path, char *const *overrides,
                               int n_overrides, const char *run, bal_job_source *job);
void bal_job_source_clear(bal_job_source *job);

/* job_begun.c */

/** The job that a run was begun with, if path or record is of one, see bal_job_read. Collective.
 *  @param text  made, for free(); "": it is not known any more; NULL: no run has begun
 *  @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_job_begun(bal_comm *comm, const char *path, const char *record, char **text);
/** Give the options that are at their default, and decide codes, their value in that job; one that
 *  it does not have is younger, and has the default that it came with. Local. @return BAL_OK;
 *  BAL_ERR_MEMORY; BAL_ERR_CONFIG. */
bal_status bal_job_keep(bal_job_source *job, const char *text);

/** What every command is given. */
typedef struct bal_context {
    bal_comm *comm;
    bool prints; /* rank 0 */
} bal_context;

typedef struct bal_command {
    const char *name, *summary;
    bal_status (*run)(bal_context *context, int argc, char **argv);
} bal_command;
extern const bal_command bal_commands[]; /* ends with a name of NULL */

/** In a command of rank 0 alone: true on the others, which from now on wait for rank 0 at the end,
 *  for as long as that takes. */
bool bal_leaves_to_rank_0(bal_context *context);

/** What the options that several commands share say; the first member of their arguments. */
typedef struct bal_common {
    const char *job;
    char *overrides[64];
    int n_overrides;
    bal_isa isa; /* of --isa; not yet checked, for ranks may differ */
    bal_machine machine;
    bal_formats formats; /* in which a model runs; matrices BAL_N_FORMATS: not said */
    const char *base;    /* see bal_source_options.base */
    bool json;
} bal_common;
#define BAL_COMMON_DEFAULT                                                \
    ((bal_common){.machine = {.kernels = bal_kernels_at(bal_isa_best())}, \
                  .formats = {.matrices = BAL_N_FORMATS}})

/** argp_parse that speaks on rank 0 only; a usage error ends the program with exit code 2.
 *  @param shared  which options that commands share this one takes, by their letters: j(ob) s(et)
 *                 i(sa) t(ally) f(ormat) B(ase) J(SON)
 *  @param input   the first member of what argp's parser is given */
void bal_parse(const bal_context *context, const struct argp *argp, const char *shared, int argc,
               char **argv, bal_common *input);
/* For parsers: each ends the program where what was given is wrong. */
/** Set *place, once, to an argument. @param what  names it in the sentence */
error_t bal_take_once(struct argp_state *state, const char *what, const char *arg,
                      const char **place);
/** The value of an option that takes integers from min to max. */
int64_t bal_take_int(struct argp_state *state, const char *option, const char *arg, int64_t min,
                     int64_t max);
/** Set formats from a word such as i4:32. */
error_t bal_take_format(struct argp_state *state, const char *arg, bal_formats *formats);
/** The number that a text is, NAN if it is none. */
double bal_real_of(const char *text);

/** BAL_ERR_ARG: the processor of this rank does not have the level of --isa. Local: agree on it. */
bal_status bal_isa_check(const bal_common *common);
/** How to open a model that a command runs: in the formats of --format, with the job's patterns;
 *  else in those of the job, or int8 without one (NULL), and a checkpoint in its own. */
bal_source_options bal_common_source(const bal_common *common, const bal_job *job);
/** "i8", or "i4:64", or "i8 with patterns": how the matrices of a model are written. */
void bal_formats_print(const bal_formats *formats, char *text, size_t n_bytes);
/** A file to be written does not exist, but its folder does. @return BAL_OK; BAL_ERR_CONFIG: it
 *  exists; BAL_ERR_IO. */
bal_status bal_check_output(const char *path);
/** Open the model that a run started from, for its votes; if that reads the prompts, once more as
 *  the base. @param states  by name, see bal_source_options. Clear the bundle in any case. Errors
 * of bal_source_open. */
bal_status bal_open_start(const bal_job *job, const char *path, bal_states *states,
                          bal_bundle *bundle);
/** Write a model, its states and what it came with as a checkpoint of a step, without journal and
 * metrics; its fingerprint in *fingerprint. @return BAL_OK; BAL_ERR_IO; BAL_ERR_MEMORY. */
bal_status bal_write_checkpoint(const char *path, int64_t step, const bal_bundle *bundle,
                                const bal_states *states, const bal_run_id *id, const bal_job *job,
                                const bal_machine *machine, uint64_t *fingerprint);
/** Evaluate the best model of a finished run on the test rows of its task, once: the result is
 * printed and kept in the run, and then it is known. Collective. */
bal_status bal_test_run(bal_context *context, const bal_common *common, const char *run);
/** Print an object as JSON and release it. */
bal_status bal_print_json(const bal_context *context, json_t *object);
/** "0123456789abcdef" of a hash. */
const char *bal_hex(uint64_t hash, char text[17]);

bal_status bal_command_train(bal_context *context, int argc, char **argv);
bal_status bal_command_eval(bal_context *context, int argc, char **argv);
bal_status bal_command_generate(bal_context *context, int argc, char **argv);
bal_status bal_command_inspect(bal_context *context, int argc, char **argv);
bal_status bal_command_config(bal_context *context, int argc, char **argv);
bal_status bal_command_replay(bal_context *context, int argc, char **argv);
bal_status bal_command_tune(bal_context *context, int argc, char **argv);
bal_status bal_command_quantize(bal_context *context, int argc, char **argv);
bal_status bal_command_bench(bal_context *context, int argc, char **argv);
bal_status bal_command_doctor(bal_context *context, int argc, char **argv);
bal_status bal_command_estimate(bal_context *context, int argc, char **argv);
bal_status bal_command_export(bal_context *context, int argc, char **argv);

/* calibrate.c */

/** Have a model, rounded to int8 by its largest weights, read a text of the user: 16,384 tokens,
 *  spread over it. Local. @param balance  made; for bal_balance_destroy
 *  @return errors of bal_source_open, bal_job_open_text and bal_balance_read. */
bal_status bal_calibrate(const char *model, const char *text, const bal_job *job,
                         const bal_machine *machine, bal_balance **balance);

#endif
