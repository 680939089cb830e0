/* SPDX-License-Identifier: Apache-2.0 */
/* What a command was expected to end with, print and say, in tests that include commands.h. */
#ifndef SLUICE_TESTS_COMMAND_CHECKS_H
#define SLUICE_TESTS_COMMAND_CHECKS_H

#include <sys/stat.h>

#include "commands.h"

static inline void expect_code(int code, int wanted)
{
    if (code != wanted) {
        fail_msg("status %d: %s", code, command_err);
    }
}

static inline void said(const char *text)
{
    if (strstr(command_err, text) == NULL) {
        fail_msg("not said: %s\nbut: %s", text, command_err);
    }
}

static inline void not_said(const char *text)
{
    if (strstr(command_err, text) != NULL) {
        fail_msg("said: %s", command_err);
    }
}

static inline void printed(const char *text)
{
    if (strstr(command_out, text) == NULL) {
        fail_msg("not printed: %s\nbut: %s", text, command_out);
    }
}

/* What the file says, from its beginning. */
static inline const char *file_text(const char *path)
{
    static char text[COMMAND_TEXT_BYTES];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

/* Metrics of a job that has ended. */
static inline void measured(const char *name, int value)
{
    char line[128];
    snprintf(line, sizeof line, "\nsluice_%s{output=\"out.h5\"} %d\n", name, value);
    if (strstr(file_text("metrics.prom"), line) == NULL) {
        fail_msg("no %s in %s", line, file_text("metrics.prom"));
    }
}

#define EXPORTED(wanted, ...)                                                                      \
    do {                                                                                           \
        expect_code(COMMAND("export", __VA_ARGS__), 0);                                            \
        assert_string_equal(command_out, wanted);                                                  \
    } while (0)

static inline bool is_there(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0;
}

/* A job whose cost of steps nobody knows yet, in a folder of its own. */
static inline int commands_enter_job(void **state, const char *job, const char *rows)
{
    char folder[4096];
    const int failed = commands_enter(state);
    if (failed == 0) {
        assert_non_null(getcwd(folder, sizeof folder));
        setenv("XDG_CACHE_HOME", folder, 1);
        write_file("data.jsonl", rows);
        write_file("job.yaml", job);
    }
    return failed;
}

#endif
