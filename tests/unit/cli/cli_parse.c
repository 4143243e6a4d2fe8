/* cli_parse.c: what is said of a wrong option, by a process that has read options before. */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli_impl.h"
#include "suite.h"

static void parse(int argc, char **argv)
{
    static const struct argp argp = {0};
    const bal_context context = {.prints = true};
    bal_common common = BAL_COMMON_DEFAULT;
    bal_parse(&context, &argp, "js", argc, argv, &common);
}

/* Exit code and standard error of a child that parses two lines, of which the second is wrong. */
static int parse_twice(char *wrong, char *said, size_t room)
{
    char right[][16] = {"train", "-s", "run.steps=1", "--job=a.ini"};
    char *first[] = {right[0], right[1], right[2], right[3], NULL};
    char *second[] = {right[0], wrong, NULL};
    int ends[2], code;
    CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    CU_ASSERT_FATAL(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        parse(4, first);
        parse(2, second);
        _exit(0);
    }
    close(ends[1]);
    FILE *from = fdopen(ends[0], "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(from);
    said[fread(said, 1, room - 1, from)] = 0;
    fclose(from);
    CU_ASSERT_EQUAL_FATAL(waitpid(child, &code, 0), child);
    return WIFEXITED(code) ? WEXITSTATUS(code) : -1;
}

static void test_each_line_is_read_from_its_beginning(void)
{
    char wrong[] = "--jib=a.ini", said[1024];
    CU_ASSERT_EQUAL(parse_twice(wrong, said, sizeof said), 2);
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "there is no option --jib; did you mean --job?"));
}

const char bal_suite_name[] = "cli_parse";
int bal_suite_begin(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    argp_err_exit_status = 2;
    return 0;
}
int bal_suite_end(void) { return 0; }
const bal_test bal_suite_tests[] = {
    {"each line is read from its beginning", test_each_line_is_read_from_its_beginning},
    {NULL, NULL},
};
