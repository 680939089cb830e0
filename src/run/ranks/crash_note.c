/* SPDX-License-Identifier: Apache-2.0 */
/* The handler, which may call what signal-safety(7) lists and nothing else. */
#include "run/ranks/crash_note.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "sluice/data.h"

static const int numbers[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

/* Of the process, like its signal handlers. */
static struct buffer note_path, note_text, excuse_path, asked_text, lost_text;
static struct sigaction before[COUNT_OF(numbers)];
static char stack[64 * 1024]; /* a row that recurses without end has none left */

static void restore(void)
{
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        sigaction(numbers[i], &before[i], NULL);
    }
}

static void write_excuse(const struct buffer *text)
{
    int fd = excuse_path.data != NULL
                 ? open(excuse_path.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)
                 : -1;
    if (fd >= 0) {
        ssize_t written = write(fd, text->data, text->length);
        (void)written;
        close(fd);
    }
}

void crash_note_asked(void)
{
    int before_call = errno; /* of what a signal has interrupted */
    write_excuse(&asked_text);
    errno = before_call;
}

void crash_note_host_lost(void)
{
    write_excuse(&lost_text);
}

static void on_crash(int number)
{
    const char digits[3] = {(char)('0' + number / 10), (char)('0' + number % 10), '\n'};
    int fd = open(note_path.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd >= 0) {
        ssize_t written = write(fd, note_text.data, note_text.length);
        written += write(fd, digits, sizeof digits);
        (void)written;
        close(fd);
    }
    restore();
    raise(number); /* comes when this returns */
}

/* The path last: the handler looks whether it is there. */
static status prepare_excuses(const char *journal_directory, int rank, int ranks)
{
    struct buffer path = {0}, former = excuse_path;
    buffer_clear(&lost_text);
    buffer_clear(&asked_text);
    status s = attempts_excuse(journal_directory, rank, 1, &path, &lost_text);
    buffer_clear(&path);
    if (s == STATUS_OK) {
        s = attempts_excuse(journal_directory, rank, ranks, &path, &asked_text);
    }
    if (s != STATUS_OK) {
        buffer_destroy(&path);
        return s;
    }
    excuse_path = path;
    buffer_destroy(&former); /* of the job that this process ran before */
    return STATUS_OK;
}

status crash_note_start(const char *journal_directory, int rank, int ranks, int replica)
{
    TRY(attempts_note(journal_directory, rank, replica, &note_path, &note_text));
    TRY(prepare_excuses(journal_directory, rank, ranks));
    const stack_t own = {.ss_sp = stack, .ss_size = sizeof stack};
    sigaltstack(&own, NULL);
    struct sigaction action = {.sa_handler = on_crash, .sa_flags = SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        sigaction(numbers[i], &action, &before[i]);
    }
    return STATUS_OK;
}

void crash_note_end(void)
{
    if (note_path.data == NULL) {
        return;
    }
    restore();
    const stack_t none = {.ss_flags = SS_DISABLE};
    sigaltstack(&none, NULL);
    buffer_destroy(&note_path);
    buffer_destroy(&note_text);
    /* What excuses are made of stays: a signal may come at any time, and another thread may end the
     * process. */
}
