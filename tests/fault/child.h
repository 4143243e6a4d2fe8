/* child.h: forked children that end as planned, and what they say to their parent. */
#ifndef BALLOT_TEST_CHILD_H
#define BALLOT_TEST_CHILD_H

#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ballot/core.h"
#include "fault.h"

/** Written by the child, read by the parent; in memory that both share. */
typedef struct report {
    int64_t n_calls;
    int n_done; /* what the child was told is done, and must be there afterwards */
    bal_status status;
    char sentence[256];
} report;

static inline report *make_report(void)
{
    report *r = mmap(NULL, sizeof *r, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CU_ASSERT_FATAL(r != MAP_FAILED);
    return r;
}

/** Do it in a child under a plan, with dir watched. Returns its exit code, -1: by a signal. */
static inline int run_child(const bal_fault_plan *plan, const char *dir,
                            bal_status act(const char *dir, report *r), report *r)
{
    int code;
    *r = (report){0};
    fflush(NULL);
    pid_t child = fork();
    CU_ASSERT_FATAL(child >= 0);
    if (child == 0) {
        bal_fault_watch(dir);
        bal_fault_begin(plan);
        r->status = act(dir, r);
        r->n_calls = bal_fault_end();
        snprintf(r->sentence, sizeof r->sentence, "%s", bal_failure());
        if (!(plan->calls & BAL_FAULT_ALLOC)) _exit(0);
        exit(0); /* under a sanitizer with a search for leaks, which takes its time */
    }
    CU_ASSERT_EQUAL_FATAL(waitpid(child, &code, 0), child);
    return WIFEXITED(code) ? WEXITSTATUS(code) : -1;
}

static inline long setting(const char *variable, long otherwise)
{
    const char *text = getenv(variable);
    return text == NULL ? otherwise : strtol(text, NULL, 10);
}

#endif
