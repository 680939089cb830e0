/* SPDX-License-Identifier: Apache-2.0 */
/* What a piece of work writes on standard error, for tests that compare it. */
#ifndef SLUICE_TESTS_SAID_H
#define SLUICE_TESTS_SAID_H

#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

static int said_before, said_file;

static inline void said_begin(void)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    fflush(stderr);
    said_before = dup(STDERR_FILENO);
    said_file = fileno(file);
    dup2(said_file, STDERR_FILENO);
}

/* All that was written since; the caller's until the next call. The process's temporary file stays
 * until the end. */
static inline const char *said_end(void)
{
    static char text[1 << 15];
    fflush(stderr);
    dup2(said_before, STDERR_FILENO);
    close(said_before);
    const ssize_t length = pread(said_file, text, sizeof text - 1, 0);
    text[length < 0 ? 0 : length] = '\0';
    return text;
}

#endif
