/* SPDX-License-Identifier: Apache-2.0 */
/* Signals, and the news of them between ranks.
 *
 * A batch system signals every rank, a person often just one. Whoever is asked tells rank 0, which
 * tells everybody: messages without content on a communicator of their own, so that they are heard
 * in every phase of a job. */
#include "run/ranks/stop_request.h"

#include <mpi.h>
#include <signal.h>
#include <unistd.h>

#include "run/ranks/crash_note.h"
#include "run/ranks/world.h"
#include "run/report/phase.h"
#include "sluice/mpi_check.h"

/* Like the world, of the process; written by run_start and by signals. */
static volatile sig_atomic_t signalled, snapshot_wanted;
static bool known; /* and passed on */
static double known_at;
static MPI_Comm news = MPI_COMM_NULL;

#define TOO_LATE                                                                                   \
    "stopped at the deadline, in the middle of something that takes long; what was committed is "  \
    "kept, and the same command continues"
static const char too_late[] = "sluice: " TOO_LATE "\n";
/* Without the time, which a handler of signals may not ask for as text. */
static const char too_late_json[] = "{\"level\":\"info\",\"message\":\"" TOO_LATE "\"}\n";

static void on_deadline(int number)
{
    (void)number;
    if (world_get()->rank == 0) {
        ssize_t written = log_is_json()
                              ? write(STDERR_FILENO, too_late_json, sizeof too_late_json - 1)
                              : write(STDERR_FILENO, too_late, sizeof too_late - 1);
        (void)written;
    }
    _exit(75);
}

/* Rank 0 goes first, so that its message is not lost with it when another rank's end ends all. */
static void start_deadline(void)
{
    crash_note_asked(); /* whoever asks may lose patience before the deadline */
    alarm(STOP_SECONDS + (world_get()->rank != 0));
}

/* When each kind of signal came first; 0: not yet. Each is written by its own kind's handler. */
static volatile double first_at[NSIG];

/* Tools that signal a process and then its group (`timeout`, some batch systems) mean it once. */
static const double SAME_SECONDS = 1.0;

/* The handler of a signal is the default again when its own has returned. */
static void end_by(int number)
{
    signal(number, SIG_DFL);
    raise(number);
}

static void on_signal(int number)
{
    double now = clock_seconds();
    if (first_at[number] == 0) {
        first_at[number] = now;
    } else if (number != SIGXCPU && now - first_at[number] > SAME_SECONDS) {
        end_by(number);
    }
    if (!signalled) {
        signalled = 1;
        start_deadline();
    }
}

static void on_snapshot(int number)
{
    (void)number;
    snapshot_wanted = 1;
}

bool snapshot_requested(void)
{
    bool wanted = snapshot_wanted != 0;
    snapshot_wanted = 0;
    return wanted;
}

/* A second signal of the same kind, a second or more after the first, ends the process at once, as
 * people expect of Ctrl-C twice; but for SIGXCPU, which comes every second while CPU time is over
 * its soft limit. A hangup is ignored
 * where the process was started to ignore it, as by nohup; the others are not: a shell's script
 * starts its background jobs with SIGINT ignored, and they are to stop all the same. */
static void catch_signals(void)
{
    static const struct {
        int number;
        bool may_be_ignored;
    } signals[] = {
        {SIGTERM, false}, {SIGINT, false}, {SIGUSR1, false}, {SIGHUP, true}, {SIGXCPU, false},
    };
    for (size_t i = 0; i < COUNT_OF(signals); i++) {
        struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
        struct sigaction before;
        sigemptyset(&action.sa_mask);
        if (!signals[i].may_be_ignored || sigaction(signals[i].number, NULL, &before) != 0 ||
            before.sa_handler != SIG_IGN) {
            sigaction(signals[i].number, &action, NULL);
        }
    }
    /* That nobody reads the messages any more is no reason to end. */
    signal(SIGPIPE, SIG_IGN);
    struct sigaction snapshot = {.sa_handler = on_snapshot, .sa_flags = SA_RESTART};
    sigemptyset(&snapshot.sa_mask);
    sigaction(SIGUSR2, &snapshot, NULL);
    struct sigaction deadline = {.sa_handler = on_deadline};
    sigemptyset(&deadline.sa_mask);
    sigaction(SIGALRM, &deadline, NULL);
}

status stop_start(void)
{
    TRY(mpi_check(MPI_Comm_dup(MPI_COMM_WORLD, &news), "duplicate the world"));
    MPI_Comm_set_errhandler(news, MPI_ERRORS_RETURN);
    catch_signals();
    interrupt_configure(stop_requested);
    return STATUS_OK;
}

void stop_end(void)
{
    interrupt_configure(NULL);
    alarm(0);
    if (news != MPI_COMM_NULL && !known) { /* else news may still be on its way */
        MPI_Comm_free(&news);
    }
}

/* Lost messages are no failure: whoever is not reached ends with the others. */
static void tell(int rank)
{
    MPI_Request request;
    if (MPI_Isend(NULL, 0, MPI_BYTE, rank, 0, news, &request) == MPI_SUCCESS) {
        MPI_Request_free(&request);
    }
}

static bool hear(void)
{
    int there = 0;
    if (world_get()->size == 1 ||
        MPI_Iprobe(MPI_ANY_SOURCE, 0, news, &there, MPI_STATUS_IGNORE) != MPI_SUCCESS || !there) {
        return false;
    }
    return MPI_Recv(NULL, 0, MPI_BYTE, MPI_ANY_SOURCE, 0, news, MPI_STATUS_IGNORE) == MPI_SUCCESS;
}

bool stop_requested(void)
{
    phase_remind();
    if (known || news == MPI_COMM_NULL) {
        return known;
    }
    if (!signalled && hear()) {
        signalled = 1;
        start_deadline();
    }
    if (signalled) {
        known = true;
        known_at = clock_seconds();
        if (world_get()->rank != 0) {
            tell(0);
        }
        for (int rank = 1; world_get()->rank == 0 && rank < world_get()->size; rank++) {
            tell(rank);
        }
    }
    return known;
}

bool stop_overdue(void)
{
    return stop_requested() && clock_seconds() - known_at > FINISH_SECONDS;
}
