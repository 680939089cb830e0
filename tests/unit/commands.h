/* SPDX-License-Identifier: Apache-2.0 */
/* The program's commands, called in the test's own process: what they print is kept in files. */
#ifndef SLUICE_TESTS_COMMANDS_H
#define SLUICE_TESTS_COMMANDS_H

#include <fcntl.h>
#include <mpi.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "failing/failing.h"
#include "scratch_folder.h"
#include "sluice/base.h"

int sluice_main(int argc, char **argv);

enum { COMMAND_ARGUMENTS = 31, COMMAND_TEXT_BYTES = 1 << 16 };

/* What the latest command printed. */
static char command_out[COMMAND_TEXT_BYTES], command_err[COMMAND_TEXT_BYTES];

/* What Open MPI and its plug-ins keep until they are unloaded, which is never before the end here.
 */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libmpi\nleak:libopen-\nleak:mca_\nleak:libpmix\nleak:libhwloc\nleak:libevent\n"
           "leak:libpciaccess\nleak:libucp\nleak:libfabric\nleak:libibverbs\nleak:libnl-\n";
}

void __lsan_disable(void) __attribute__((weak));
void __lsan_enable(void) __attribute__((weak));

/* The files that standard output and standard error go to while a command runs, and where both went
 * before. */
static int command_files[2] = {-1, -1}, command_streams[2];

/* MPI starts and ends once a process; commands start and end it each. */
static inline int commands_start(void)
{
    int provided;
    if (command_files[0] >= 0) {
        return MPI_SUCCESS;
    }
    for (int i = 0; i < 2; i++) {
        command_files[i] = fileno(tmpfile());
        command_streams[i] = dup(i + 1);
    }
    setenv("OMP_NUM_THREADS", "1", 1);
    if (__lsan_disable != NULL) {
        __lsan_disable(); /* some plug-ins come and go */
    }
    const int code = PMPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
    if (__lsan_enable != NULL) {
        __lsan_enable();
    }
    return code;
}

int MPI_Init_thread(int *argc, char ***argv, int required, int *provided)
{
    (void)argc, (void)argv;
    *provided = required;
    return commands_start();
}

int MPI_Finalize(void)
{
    return MPI_SUCCESS;
}

/* Leaks are looked for while MPI still runs: its end unloads plug-ins, whose leaks then have no
 * name. */
void __lsan_do_leak_check(void) __attribute__((weak));
void __gcov_dump(void) __attribute__((weak)); /* there in builds that measure what is reached */
static inline int commands_end(int result)
{
    if (__lsan_do_leak_check != NULL) {
        __lsan_do_leak_check();
    }
    if (__gcov_dump != NULL) {
        __gcov_dump();
    }
    fflush(NULL);
    _exit(result);
}

/* A test's setup and teardown: it runs in a folder of its own. */
static inline int commands_enter(void **state)
{
    return scratch_create(state) == 0 ? chdir(((struct scratch_folder *)*state)->path) : -1;
}

static inline int commands_leave(void **state)
{
    return chdir("..") == 0 ? scratch_destroy(state) : -1;
}

static inline void write_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static inline void command_read(int fd, char text[COMMAND_TEXT_BYTES])
{
    const ssize_t length = pread(fd, text, COMMAND_TEXT_BYTES - 1, 0);
    text[length < 0 ? 0 : length] = '\0';
}

/* Runs a command; `arguments` end with NULL. Returns its exit status. */
static inline int command_run_list(const char *const *arguments)
{
    char *argv[COMMAND_ARGUMENTS + 2] = {(char *)"sluice"};
    int argc = 1;
    for (; arguments[argc - 1] != NULL && argc <= COMMAND_ARGUMENTS; argc++) {
        argv[argc] = (char *)arguments[argc - 1];
    }
    unsigned kinds = failing_suspend();
    fflush(NULL);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ftruncate(command_files[i], 0), 0);
        lseek(command_files[i], 0, SEEK_SET);
        dup2(command_files[i], i + 1);
    }
    failing_resume(kinds);
    const int code = sluice_main(argc, argv);
    kinds = failing_suspend();
    fflush(NULL);
    for (int i = 0; i < 2; i++) {
        dup2(command_streams[i], i + 1);
    }
    clearerr(stdout);
    command_read(command_files[0], command_out);
    command_read(command_files[1], command_err);
    failing_resume(kinds);
    return code;
}

#define COMMAND(...) command_run_list((const char *const[]){__VA_ARGS__, NULL})

/* The one line that says what went wrong, behind warnings; asserts that there is one. */
static inline const char *command_error(void)
{
    static char line[1024];
    int found = 0;
    const char *next = command_err;
    for (size_t length; *next != '\0'; next += length + (next[length] == '\n')) {
        length = strcspn(next, "\n");
        if (strncmp(next, "sluice: ", 8) != 0) {
            fail_msg("standard error: %s", command_err);
        }
        if (strncmp(next, "sluice: warning: ", 17) != 0) {
            snprintf(line, sizeof line, "%.*s", (int)length, next);
            found++;
        }
    }
    if (found != 1) {
        fail_msg("%d errors on standard error: %s", found, command_err);
    }
    return line;
}

#endif
