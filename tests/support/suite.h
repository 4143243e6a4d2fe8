/* suite.h: a test program is a list of named properties; suite.c has its main. */
#ifndef BALLOT_TEST_SUITE_H
#define BALLOT_TEST_SUITE_H

#include <CUnit/CUnit.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct bal_test {
    const char *property;
    void (*check)(void);
} bal_test;
/** Each test program defines both: its name, and its properties, ended by {NULL, NULL}. */
extern const char bal_suite_name[];
extern const bal_test bal_suite_tests[];
/** Called once before and after all properties; a suite that needs neither leaves them out. */
int bal_suite_begin(int *argc, char ***argv) __attribute__((weak));
int bal_suite_end(void) __attribute__((weak));

/** Next value of a splitmix64 generator: test inputs from a seed that a failure can print. */
uint64_t bal_test_random(uint64_t *state);
/** A fresh empty folder below the working directory, ending in name; borrowed until next call. */
const char *bal_test_dir(const char *name);
/** $BALLOT_DATA/name, the sample data of the repository; borrowed until the next call. */
const char *bal_test_data(const char *name);
/** Whether a call, made in a child, ends by a failed assertion. True without looking where NDEBUG
 *  leaves assertions out: sanitized builds have them. */
bool bal_test_asserts(void (*act)(void));

#endif
