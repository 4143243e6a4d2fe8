/* main.c: ranks, signals, the choice of a command, exit codes. */
#include <errno.h>
#include <signal.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ballot/comm_mpi.h"
#include "cli_impl.h"

static bal_comm *ranks;

/* Only closing it tells whether all of the output has arrived; one that was closed from the start
 * is no loss if nothing was printed. */
static bool close_output(void)
{
    bool lost = ferror(stdout) != 0, printed = __fpending(stdout) != 0;
    errno = 0;
    if (fclose(stdout) != 0 && (printed || errno != EBADF)) lost = true;
    if (lost)
        fprintf(stderr, "ballot: the output could not be written%s%s\n", errno != 0 ? ": " : "",
                errno != 0 ? strerror(errno) : "");
    return !lost;
}

/* The end of every command, also where argp ends the program itself, as after --help. */
static void end(int code, void *unused)
{
    (void)unused;
    bool whole = close_output(); /* what was printed is there even if other ranks are not */
    bal_comm_end(&ranks);
    if (!whole && code == 0) _exit(bal_status_exit_code(BAL_ERR_IO));
}

/* Models, texts and a journal that goes into a checkpoint are mapped; a page that cannot be read is
 * no error of a call. */
static void on_bus_error(int number)
{
    static const char text[] =
        "ballot: a model, a text or the journal could not be read to its end (its disk or network "
        "file system failed, or it was cut short in use), or shared memory ran out; mend that, "
        "then run the same command again\n";
    (void)number;
    ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);
    (void)ignored;
    _exit(bal_status_exit_code(BAL_ERR_IO));
}

/* Ranks are missing, and MPI would wait for them: leave without it. The launcher ends the rest. */
static _Noreturn void leave(void)
{
    fprintf(stderr, "ballot: %s\n", bal_failure());
    fflush(NULL);
    _exit(bal_status_exit_code(BAL_LOST));
}

static void print_help(FILE *to)
{
    fprintf(to,
            "ballot %s: trains quantized models with forward passes and votes\n\n"
            "usage: ballot COMMAND ... (ballot COMMAND --help for its options)\n\n",
            BALLOT_VERSION);
    for (const bal_command *command = bal_commands; command->name != NULL; ++command)
        fprintf(to, "  %-10s %s\n", command->name, command->summary);
    fprintf(to,
            "\non several ranks: mpirun -n RANKS ballot COMMAND ...\n"
            "exit codes: 0 done, 1 failure, 2 usage or job file, 3 damaged input,\n"
            "            4 out of memory, 5 numerical failure, 75 stopped or ranks lost: run it "
            "again\n");
}

static bal_status refuse(const char *name)
{
    const char *nearest = NULL;
    size_t distance = BAL_GUESS(name);
    if (name[0] == 0) return bal_fail(BAL_ERR_ARG, "a command is missing");
    for (const bal_command *command = bal_commands; command->name != NULL; ++command)
        if (bal_is_nearer(name, command->name, &distance)) nearest = command->name;
    return nearest == NULL
               ? bal_fail(BAL_ERR_ARG, "there is no command \"%s\"", name)
               : bal_fail(BAL_ERR_ARG, "there is no command \"%s\"; did you mean \"%s\"?", name,
                          nearest);
}

static bal_status dispatch(bal_context *context, int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    const bal_command *command = bal_commands;
    while (command->name != NULL && strcmp(command->name, name) != 0) ++command;
    if (command->name != NULL) return command->run(context, argc - 1, argv + 1);
    bool asked =
        strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0;
    if (strcmp(name, "--version") == 0) {
        if (context->prints) printf("ballot %s\n", BALLOT_VERSION);
        return BAL_OK;
    }
    if (context->prints) print_help(asked ? stdout : stderr);
    return asked ? BAL_OK : refuse(name);
}

int main(int argc, char **argv)
{
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is then an error of write() */
    on_exit(end, NULL);
    bal_status status = bal_comm_start(&ranks);
    signal(SIGBUS, on_bus_error); /* after Open MPI, which takes it too */
    bal_context context = {.comm = ranks, .prints = ranks == NULL || bal_comm_rank(ranks) == 0};
    bal_log_enable(context.prints);
    if (status == BAL_OK) {
        bal_comm_set_limit(context.comm, BAL_WAIT_LIMIT_DEFAULT);
        status = dispatch(&context, argc, argv);
    }
    if (status == BAL_LOST) leave();
    if (status != BAL_OK && context.prints)
        fprintf(stderr, "ballot: %s\n",
                bal_failure()[0] ? bal_failure() : bal_status_words(status));
    return bal_status_exit_code(status);
}
