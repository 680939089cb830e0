/* SPDX-License-Identifier: Apache-2.0 */
/* What ranks tell each other beside their steps: messages of any size, a leader's steps, an outcome
 * that one of them has, notes, shared memory, devices that differ. Exit status 0 when all holds. */
#include <limits.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "run/hosts/host_memory.h"
#include "run/ranks/devices.h"
#include "run/ranks/mailbox.h"
#include "run/ranks/wire.h"
#include "run/ranks/world.h"
#include "run/report/notes_warn.h"
#include "run/steps/step_queue.h"
#include "sluice/run.h"

static int failures;

static void check(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "rank %d: %s\n", world_get()->rank, what);
        failures++;
    }
}

static bool succeeds(status s)
{
    check(s == STATUS_OK, status_message());
    return s == STATUS_OK;
}

/* ---- Messages ---- */

/* Waits for a message; false after a time that no machine needs. */
static bool receive(int from, int tag, struct buffer *into, MPI_Status *info)
{
    const double until = clock_seconds() + 60;
    for (bool got = false; clock_seconds() < until;) {
        if (message_poll(MPI_COMM_WORLD, from, tag, into, info, &got) != STATUS_OK || got) {
            return got;
        }
    }
    return false;
}

static char *made(size_t length, int seed)
{
    char *bytes = malloc(length + 1);
    for (size_t i = 0; bytes != NULL && i < length; i++) {
        bytes[i] = (char)((size_t)seed + i * 31 + i / 251);
    }
    return bytes;
}

static void messages_come_whole(int rank, int size)
{
    static const size_t sizes[] = {0, 5, 3 << 20, 1, 70000};
    const int to = (rank + 1) % size, from = (rank + size - 1) % size;
    struct outbox outbox = {0};
    struct buffer got = {0};
    MPI_Status info;
    bool is_there = true;
    check(message_poll(MPI_COMM_WORLD, MPI_ANY_SOURCE, 99, &got, &info, &is_there) == STATUS_OK &&
              !is_there,
          "a message that nobody sent");
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        char *bytes = made(sizes[i], rank + (int)i);
        check(outbox_send(&outbox, MPI_COMM_WORLD, to, 10 + (int)i, bytes, sizes[i]) == STATUS_OK,
              "not sent");
        memset(bytes, 0, sizes[i]); /* the outbox has a copy */
        free(bytes);
    }
    for (size_t i = COUNT_OF(sizes); i-- > 0;) { /* by their tags, and not as they came */
        char *wanted = made(sizes[i], from + (int)i);
        check(receive(MPI_ANY_SOURCE, 10 + (int)i, &got, &info), "not received");
        check(got.length == sizes[i] && memcmp(got.data, wanted, sizes[i]) == 0 &&
                  got.data[got.length] == '\0',
              "another message");
        check(info.MPI_SOURCE == from && info.MPI_TAG == 10 + (int)i, "from elsewhere");
        free(wanted);
    }
    check(succeeds(outbox_flush(&outbox)) && outbox.count == 0,
          "messages that are still under way");
    check(outbox_send(&outbox, MPI_COMM_WORLD, to, 20, "x", 1) == STATUS_OK &&
              receive(from, 20, &got, &info),
          "not received");
    while (outbox.count > 0 && outbox_poll(&outbox) == STATUS_OK) {
    }
    check(outbox_send(&outbox, MPI_COMM_WORLD, to, 20, "x", (size_t)INT_MAX + 1) == STATUS_LIMIT &&
              outbox.count == 0,
          "a message beyond MPI's counts");
    outbox_destroy(&outbox);
    buffer_destroy(&got);
}

/* ---- A leader's steps ---- */

static struct batch batch_of(const int32_t *numbers)
{
    return (struct batch){.tokens = 1,
                          .sequences = 1,
                          .outputs = 1,
                          .token_ids = numbers,
                          .positions = numbers,
                          .query_start = numbers + 1,
                          .context_length = numbers + 3,
                          .block_table = numbers,
                          .block_table_stride = 1,
                          .output_rows = numbers + 1};
}

/* Numbers of step n: its token's id, which is its position and its block as well. */
static void numbers_of(int32_t n, int32_t numbers[4])
{
    const int32_t all[] = {n, 0, 1, 1};
    memcpy(numbers, all, sizeof all);
}

static void follow_steps(int steps)
{
    struct buffer got = {0};
    MPI_Status info;
    for (int i = 0; i < steps; i++) {
        struct batch batch;
        int prefill;
        check(receive(0, TAG_STEP, &got, &info) &&
                  step_unpack(got.data, got.length, &batch, &prefill) == STATUS_OK &&
                  batch.tokens == 1 && batch.token_ids[0] == 7 + i && prefill == i,
              "another step");
    }
    check(receive(0, TAG_STEP, &got, &info) && got.length == 0, "no end");
    buffer_destroy(&got);
}

static void steps_go_to_all(int rank, int size)
{
    enum { STEPS = 3 };
    if (rank > 0) {
        follow_steps(STEPS);
        return;
    }
    struct step_queue queue = {.replica = MPI_COMM_WORLD, .most = STEPS, .kv_block_tokens = 16};
    int32_t numbers[STEPS][4];
    struct step_plan steps[STEPS];
    check(!step_queue_is_sending(&queue), "an empty queue sends");
    for (int i = 0; i < STEPS; i++) {
        numbers_of(7 + i, numbers[i]);
        steps[i] = (struct step_plan){.batch = batch_of(numbers[i]), .prefill_tokens = i};
        check(step_queue_add(&queue, &steps[i]) == STATUS_OK, "not added");
    }
    check(queue.count == STEPS && queue.steps[0] == &steps[0], "not queued");
    check(size > 1 || !step_queue_is_sending(&queue), "one rank alone sends");
    while (step_queue_is_sending(&queue) && succeeds(step_queue_poll(&queue))) {
    }
    for (int i = 0; i < STEPS; i++) {
        check(step_queue_deliver(&queue) == STATUS_OK && queue.steps[0] == &steps[i],
              "out of order");
        step_queue_remove(&queue);
        check(queue.count == STEPS - 1 - i, "not taken off");
    }
    check(step_queue_end(&queue) == STATUS_OK && queue.count == 1 && queue.steps[0] == NULL &&
              step_queue_deliver(&queue) == STATUS_OK,
          "no end");
    step_queue_destroy(&queue);
}

/* ---- Agreements ---- */

static void outcomes_are_everybodys(int rank, int size)
{
    check(run_agree(STATUS_OK) == STATUS_OK, "a failure of nobody");
    for (int who = 0; who < size; who++) {
        status s =
            rank == who ? status_fail(STATUS_LIMIT, "rank %d has too much", rank) : STATUS_OK;
        char wanted[40];
        snprintf(wanted, sizeof wanted, "rank %d has too much", who);
        s = run_agree(s);
        check(s == STATUS_LIMIT && strcmp(status_message(), wanted) == 0, "another outcome");
    }
    status s = rank > 0 || size == 1 ? status_fail(STATUS_IO, "of rank %d", rank) : STATUS_OK;
    s = run_agree(s); /* of several failures the first rank's */
    check(s == STATUS_IO && strcmp(status_message(), size > 1 ? "of rank 1" : "of rank 0") == 0,
          "not the first rank's");
}

static void notes_are_put_together(int rank, int size)
{
    char said[4096] = "", name[24], all[256] = "";
    struct notes notes = {0};
    FILE *file = tmpfile();
    const int before = dup(STDERR_FILENO);
    snprintf(name, sizeof name, "column_%d", rank);
    notes_add_row(&notes, NOTE_ROW_PARAMETERS);
    check(notes_add_name(&notes, NOTE_ROW_PARAMETERS, name, strlen(name), rank + 1) == STATUS_OK,
          "no note");
    fflush(stderr);
    dup2(fileno(file), STDERR_FILENO);
    status s = notes_warn(&notes, MPI_COMM_WORLD);
    fflush(stderr);
    dup2(before, STDERR_FILENO);
    close(before);
    rewind(file);
    said[fread(said, 1, sizeof said - 1, file)] = '\0';
    fclose(file);
    check(s == STATUS_OK, "notes fail");
    if (rank > 0) {
        check(said[0] == '\0', "another rank than the first warns");
    }
    for (int i = 0; i < size && rank == 0; i++) {
        snprintf(all, sizeof all, "column_%d", i);
        check(strstr(said, all) != NULL, "a rank's note is lost");
    }
    notes_destroy(&notes);
}

static void memory_is_shared(int rank, int size)
{
    struct host_memory memory;
    bool all;
    if (!succeeds(host_memory_create(1 << 16, 1 << 12, &memory))) {
        return;
    }
    check(memory.rank == rank && memory.size == size, "another place among the ranks");
    check((memory.address != NULL) == (size > 1), "memory of one rank alone");
    if (memory.address != NULL) {
        int *numbers = memory.address;
        check(memory.bytes == 1 << 16 && numbers[rank] == 0, "not zero");
        MPI_Barrier(MPI_COMM_WORLD);
        numbers[rank] = 100 + rank;
        MPI_Barrier(MPI_COMM_WORLD);
        for (int i = 0; i < size; i++) {
            check(numbers[i] == 100 + i, "not shared");
        }
        MPI_Barrier(MPI_COMM_WORLD);
    }
    host_memory_destroy(&memory);
    check(memory.address == NULL && memory.bytes == 0, "not gone");
    if (succeeds(host_memory_create((size_t)1 << 62, (size_t)1 << 61, &memory))) {
        check(memory.address == NULL, "more memory than there is");
        host_memory_destroy(&memory);
    }
    check(host_memory_agree(true, &all) == STATUS_OK && all, "all agree");
    check(host_memory_agree(rank != size - 1, &all) == STATUS_OK && !all, "one does not");
}

static void devices_that_differ(int rank, int size)
{
    struct plan plan = {.tp = 1, .pp = 1, .arithmetic = "float32 sums"};
    check(devices_compare(&plan, false) == STATUS_OK, "equal devices are refused");
    if (size == 1) {
        return;
    }
    char wanted[200];
    if (rank == size - 1) {
        snprintf(plan.arithmetic, sizeof plan.arithmetic, "other sums");
    }
    check(devices_compare(&plan, true) == STATUS_OK, "other replicas are refused");
    snprintf(wanted, sizeof wanted,
             "rank %d on %s computes with \"other sums\", rank 0 with "
             "\"float32 sums\": rows would have the bits of one or the "
             "other; give the job devices of one kind",
             size - 1, world_get()->host);
    check(devices_compare(&plan, false) == STATUS_INVALID &&
              strncmp(status_message(), wanted, strlen(wanted)) == 0,
          status_message());
    plan.tp = 2;
    check(devices_compare(&plan, true) == STATUS_INVALID &&
              strstr(status_message(), "; a replica's ranks need devices of one kind") != NULL,
          status_message());
}

int main(int argc, char **argv)
{
    int rank, size, total = 0;
    if (run_start(&argc, &argv, &rank, &size) != STATUS_OK) {
        return 1;
    }
    messages_come_whole(rank, size);
    steps_go_to_all(rank, size);
    outcomes_are_everybodys(rank, size);
    notes_are_put_together(rank, size);
    memory_is_shared(rank, size);
    devices_that_differ(rank, size);
    MPI_Allreduce(&failures, &total, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    if (rank == 0) {
        printf("%d ranks: %d failures\n", size, total);
    }
    run_end();
    return total == 0 ? 0 : 1;
}
