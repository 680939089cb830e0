/* SPDX-License-Identifier: Apache-2.0 */
/* MPI's start and end, the ranks' agreement, and the outbox. */
#include "run/ranks/world.h"

#include <limits.h>
#include <omp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "comm/comm_mpi.h"
#include "run/ranks/launch.h"
#include "run/ranks/stop_request.h"
#include "sluice/run.h"

/* One process is one rank of one world: this is the only state of its kind, and it is written once,
 * by run_start. */
static struct world world;

/* Threads of this rank: OMP_NUM_THREADS where it is set, else this rank's share of the processors
 * it may run on. */
static void choose_threads(void)
{
    if (getenv("OMP_NUM_THREADS") != NULL) {
        return;
    }
    cpu_set_t set;
    CPU_ZERO(&set);
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    int allowed = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)processors;
    /* A rank that was bound to a part of the host has that part for itself. */
    int threads = allowed < processors ? allowed : allowed / world.host_size;
    omp_set_num_threads(threads < 1 ? 1 : threads);
}

/* Refuses to start where several processes are, or would be, separate worlds; *rank is then this
 * one's among them. */
static status check_launch(int *rank)
{
    char version[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length, started = 0;
    MPI_Get_library_version(version, &length);
    MPI_Initialized(&started);
    if (!started && launch_sees_others(version)) {
        return STATUS_OK; /* not known yet */
    }
    return launch_check(started ? world.size : 1, version, rank);
}

status run_start(int *argc, char ***argv, int *rank, int *size)
{
    int provided;
    TRY(check_launch(rank));
    TRY(mpi_check(MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided), "start"));
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &world.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &world.size);
    status s = check_launch(rank);
    if (s != STATUS_OK) {
        MPI_Finalize();
        return s;
    }
    MPI_Comm host;
    TRY(mpi_check(
        MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, world.rank, MPI_INFO_NULL, &host),
        "group the ranks of a host"));
    MPI_Comm_rank(host, &world.host_rank);
    MPI_Comm_size(host, &world.host_size);
    MPI_Comm_free(&host);
    gethostname(world.host, sizeof world.host - 1);
    choose_threads();
    TRY(stop_start());
    *rank = world.rank;
    *size = world.size;
    return STATUS_OK;
}

void run_end(void)
{
    stop_end();
    MPI_Finalize();
}

void run_abort(int exit_status)
{
    int started = 0;
    MPI_Initialized(&started);
    if (started && world.size > 1) {
        MPI_Abort(MPI_COMM_WORLD, exit_status);
    }
}

const struct world *world_get(void)
{
    return &world;
}

void world_pause(int idle_rounds)
{
    if (idle_rounds < 100) {
        sched_yield();
        return;
    }
    struct timespec pause = {.tv_nsec = idle_rounds < 1000 ? 50000 : 1000000};
    nanosleep(&pause, NULL);
}

/* Waits without keeping a processor busy, since others may be reading a model for minutes, and with
 * an open ear for signals. */
static status wait_for(MPI_Request *request)
{
    int done = 0;
    for (int round = 0;; round++) {
        TRY(mpi_check(MPI_Test(request, &done, MPI_STATUS_IGNORE), "agree on the outcome"));
        if (done) {
            return STATUS_OK;
        }
        stop_requested();
        world_pause(round);
    }
}

status run_agree(status own)
{
    struct {
        int code, rank;
    } mine = {own == STATUS_OK ? INT_MAX : 0, world.rank}, first;
    MPI_Request request;
    TRY(mpi_check(MPI_Iallreduce(&mine, &first, 1, MPI_2INT, MPI_MINLOC, MPI_COMM_WORLD, &request),
                  "agree on the outcome"));
    TRY(wait_for(&request));
    if (first.code == INT_MAX) {
        return STATUS_OK;
    }
    struct {
        int code;
        char text[1024];
    } outcome = {.code = (int)own};
    snprintf(outcome.text, sizeof outcome.text, "%s", status_message());
    TRY(mpi_check(MPI_Bcast(&outcome, sizeof outcome, MPI_BYTE, first.rank, MPI_COMM_WORLD),
                  "agree on the outcome"));
    return status_fail((status)outcome.code, "%s", outcome.text);
}

/* ---- Outbox ---- */

struct outgoing {
    MPI_Request request;
    char *bytes;
};

status outbox_send(struct outbox *outbox, MPI_Comm comm, int to, int tag, const void *bytes,
                   size_t length)
{
    if (length > INT_MAX) {
        return status_fail(STATUS_LIMIT, "a message of %zu bytes between ranks", length);
    }
    TRY(outbox_poll(outbox));
    void *messages = outbox->messages;
    status s =
        array_grow(&messages, &outbox->capacity, outbox->count + 1, sizeof *outbox->messages);
    outbox->messages = messages;
    TRY(s);
    char *copy = malloc(length + 1);
    if (copy == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a message of %zu bytes", length);
    }
    memcpy(copy, bytes, length);
    struct outgoing *message = &outbox->messages[outbox->count];
    message->bytes = copy;
    s = mpi_check(MPI_Isend(copy, (int)length, MPI_BYTE, to, tag, comm, &message->request), "send");
    if (s != STATUS_OK) {
        free(copy);
        return s;
    }
    outbox->count++;
    return STATUS_OK;
}

status outbox_poll(struct outbox *outbox)
{
    for (size_t i = 0; i < outbox->count;) {
        int done;
        TRY(mpi_check(MPI_Test(&outbox->messages[i].request, &done, MPI_STATUS_IGNORE), "send"));
        if (done) {
            free(outbox->messages[i].bytes);
            outbox->messages[i] = outbox->messages[--outbox->count];
        } else {
            i++;
        }
    }
    return STATUS_OK;
}

status outbox_flush(struct outbox *outbox)
{
    for (size_t i = 0; i < outbox->count; i++) {
        TRY(mpi_check(MPI_Wait(&outbox->messages[i].request, MPI_STATUS_IGNORE), "send"));
        free(outbox->messages[i].bytes);
        outbox->messages[i].bytes = NULL;
    }
    outbox->count = 0;
    return STATUS_OK;
}

void outbox_destroy(struct outbox *outbox)
{
    for (size_t i = 0; i < outbox->count; i++) {
        free(outbox->messages[i].bytes);
    }
    free(outbox->messages);
    *outbox = (struct outbox){0};
}

status message_poll(MPI_Comm comm, int from, int tag, struct buffer *into, MPI_Status *info,
                    bool *got)
{
    int there = 0;
    MPI_Message message;
    TRY(mpi_check(MPI_Improbe(from, tag, comm, &there, &message, info), "look for a message"));
    *got = there != 0;
    if (!there) {
        return STATUS_OK;
    }
    int length = 0;
    MPI_Get_count(info, MPI_BYTE, &length);
    buffer_clear(into);
    TRY(buffer_reserve(into, (size_t)length));
    TRY(mpi_check(MPI_Mrecv(into->data, length, MPI_BYTE, &message, MPI_STATUS_IGNORE),
                  "receive a message"));
    into->length = (size_t)length;
    into->data[length] = '\0';
    return STATUS_OK;
}
