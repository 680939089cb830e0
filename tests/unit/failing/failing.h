/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that fail on purpose, in the test's own process: every allocation and every system call of
 * a piece of work fails in turn, once for each way through the sources on which it is made.
 *
 * The linker puts this between the test's program and the C library (`--wrap`), so that it works
 * under sanitizers as well. What libraries call themselves does not fail. */
#ifndef SLUICE_TESTS_FAILING_H
#define SLUICE_TESTS_FAILING_H

#include <stdbool.h>

#include "sluice/status.h"

enum failing_kind {
    FAIL_MEMORY = 1 << 0,
    FAIL_OPEN = 1 << 1, /* files and folders: opened, made */
    FAIL_READ = 1 << 2,
    FAIL_WRITE = 1 << 3,
    FAIL_SYNC = 1 << 4,
    FAIL_RENAME = 1 << 5,
    FAIL_CLOSE = 1 << 6,
    FAIL_STAT = 1 << 7,
    FAIL_UNLINK = 1 << 8,
    FAIL_TRUNCATE = 1 << 9,
    FAIL_LOCK = 1 << 10,
    FAIL_THREAD = 1 << 11,
    FAIL_MAP = 1 << 12,
    FAIL_ARENA = 1 << 13, /* what an arena gives, also where it has room */
    FAIL_FILES = FAIL_OPEN | FAIL_READ | FAIL_WRITE | FAIL_SYNC | FAIL_RENAME | FAIL_CLOSE |
                 FAIL_STAT | FAIL_TRUNCATE,
};

struct failing_walk {
    const char *name; /* of the work, for messages */
    unsigned kinds;
    /* The work. It leaves nothing behind: no memory, no descriptor. */
    status (*act)(void *context);
    void *context;
    void (*prepare)(void *context); /* before each act; NULL: nothing. Nothing fails in it */
    void (*settle)(void *context);  /* after each act; NULL: nothing. Nothing fails in it */
    /* Kinds without which the work may do as well, wherever they fail, and functions that do
     * without what fails below them, "function" or "call function", up to NULL. Everything else
     * that fails has to fail the work. */
    unsigned optional;
    const char *const *survived_by;
    bool once; /* each way fails once, not twice */
    int depth; /* callers by which ways are told apart; 0: 8 */
};

/* Runs the work once with nothing failing, which has to succeed, and then once for each way on
 * which a call of these kinds is made, which fails. Each time that it does not succeed a message of
 * one line says why; each time as many descriptors are open as before. Asserts it all. Returns the
 * number of failures. */
int failing_walk(const struct failing_walk *walk);

/* Nothing fails between the two: the test's own doings within the work. */
unsigned failing_suspend(void);
void failing_resume(unsigned kinds);

/* Descriptors that are open. */
int failing_open_descriptors(void);

#endif
