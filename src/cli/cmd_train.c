/* cmd_train.c: ballot train */
#include <signal.h>
#include <stdlib.h>

#include "ballot/train.h"
#include "cli_impl.h"

typedef struct arguments {
    bal_common common;
    const char *run;
    double wait_limit; /* s */
} arguments;

static const struct argp_option options[] = {
    {"run", 'r', "DIR", 0, "run directory: journal, checkpoints, metrics (required)", 0},
    {"max-hours", 'h', "H", 0, "save and stop with exit code 75 after H hours, loading included",
     0},
    {"wait-limit", 'w', "S", 0,
     "if a rank waits for others for S seconds, name the missing ones and leave with exit code 75; "
     "must be longer than reading the model or writing a checkpoint takes (default: 1800; 0: wait "
     "for ever)",
     0},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    arguments *a = state->input;
    switch (key) {
        case 'r':
            a->run = arg;
            return 0;
        case 'h':
            a->common.machine.max_hours = bal_real_of(arg);
            if (!(a->common.machine.max_hours > 0.0))
                argp_error(state, "--max-hours=%s: expected a number above 0", arg);
            return 0;
        case 'w':
            a->wait_limit = bal_real_of(arg);
            if (!(a->wait_limit >= 0.0 && a->wait_limit <= 1e6))
                argp_error(state, "--wait-limit=%s: expected 0 to 1000000 seconds", arg);
            return 0;
        case ARGP_KEY_ARG:
            return bal_take_once(state, "job file", arg, &a->common.job);
        case ARGP_KEY_END:
            if (a->common.job == NULL) argp_error(state, "a job file is missing");
            if (a->run == NULL || a->run[0] == 0) argp_error(state, "--run DIR is missing");
            return 0;
        default:
            return ARGP_ERR_UNKNOWN;
    }
}

static void on_signal(int number)
{
    bal_train_wish(number == SIGUSR1 ? BAL_WISH_SAVE : BAL_WISH_STOP);
}

static void listen(void)
{
    const int signals[] = {SIGTERM, SIGINT, SIGUSR2, SIGUSR1};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; ++i)
        sigaction(signals[i], &(struct sigaction){.sa_handler = on_signal, .sa_flags = SA_RESTART},
                  NULL);
}

bal_status bal_command_train(bal_context *context, int argc, char **argv)
{
    const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "JOB.ini",
        .doc =
            "Start the job in a run directory, or continue it: the same command does both.\v"
            "Signals: USR1 saves and goes on; TERM, INT and USR2 finish the step, save and "
            "stop with exit code 75; to stop a run under mpirun send USR2 to mpirun, for on "
            "TERM or Ctrl-C it kills the ranks after a moment (nothing is lost then either: "
            "the journal has every step). On several ranks: mpirun -n RANKS ballot train "
            "JOB.ini --run DIR",
    };
    arguments a = {.common = BAL_COMMON_DEFAULT, .wait_limit = BAL_WAIT_LIMIT_DEFAULT};
    bal_parse(context, &argp, "sit", argc, argv, &a.common);
    listen();
    bal_comm_set_limit(context->comm, a.wait_limit);
    bal_job_source source;
    bal_status status = bal_job_read_to_run(context->comm, a.common.job, a.common.overrides,
                                            a.common.n_overrides, a.run, &source);
    if (status == BAL_OK) status = bal_isa_check(&a.common);
    status = bal_comm_agree(context->comm, status);
    if (status == BAL_OK) status = bal_train(&source.job, &a.common.machine, a.run, context->comm);
    if (status == BAL_OK && bal_job_has_task(&source.job)) {
        status = bal_test_run(context, &a.common, a.run);
        if (status != BAL_OK)
            bal_fail(status, "the run is complete, but not its test: %s", bal_failure());
    }
    bal_job_source_clear(&source);
    return status;
}
