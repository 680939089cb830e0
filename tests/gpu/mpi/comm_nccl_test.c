/* SPDX-License-Identifier: Apache-2.0 */
/* The communicator between GPUs, one a rank: sums have the bits of the pairwise tree whatever the
 * message's size, blocks and columns stand where they belong, the pipeline delivers in order
 * without waiting for the receiver, and a rank that stays away ends the others' waiting with a
 * message. Exit status 0 when all holds, 77 (skipped) with fewer GPUs than ranks or one rank. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "run/ranks/world.h"
#include "sluice/comm_create.h"
#include "sluice/run.h"

enum { SKIPPED = 77 };
static const double PATIENCE = 30, SHORT_PATIENCE = 3;

static int failures;

__attribute__((format(printf, 1, 2))) static void report(const char *format, ...)
{
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "rank %d: %s\n", world_get()->rank, text);
    failures++;
}

/* Reports a failed call; whether it was fine. */
static bool succeeds(status s, const char *what, size_t size)
{
    if (s != STATUS_OK) {
        report("%s of %zu: %s", what, size, status_message());
    }
    return s == STATUS_OK;
}

/* ---- Values and device memory ---- */

/* Values whose sum depends on the order. */
static float value_of(int rank, size_t i)
{
    uint32_t x = (uint32_t)rank * 2654435761u + (uint32_t)i * 40503u + 1u;
    x ^= x >> 15;
    x *= 2246822519u;
    x ^= x >> 13;
    return ((float)x / 4294967296.0f - 0.5f) * (1.0f + (float)(x & 1023));
}

static float tree(int first, int count, size_t i)
{
    return count == 1 ? value_of(first, i)
                      : tree(first, count / 2, i) + tree(first + count / 2, count / 2, i);
}

struct memory {
    struct backend *backend;
    struct device_buffer *buffer;
    void *host;
    size_t bytes;
};

static bool memory_begin(struct backend *backend, size_t bytes, struct memory *memory)
{
    *memory = (struct memory){.backend = backend, .bytes = bytes};
    memory->host = malloc(bytes + 1);
    if (memory->host == NULL ||
        backend->operations->buffer_create(backend, bytes, &memory->buffer) != STATUS_OK) {
        report("no memory for %zu bytes: %s", bytes, status_message());
        return false;
    }
    memset(memory->host, 0xff, bytes);
    return succeeds(backend->operations->upload(backend, memory->buffer, 0, memory->host, bytes),
                    "upload", bytes);
}

static void memory_end(struct memory *memory)
{
    memory->backend->operations->buffer_destroy(memory->backend, memory->buffer);
    free(memory->host);
}

static bool push(struct memory *memory, size_t bytes)
{
    return succeeds(memory->backend->operations->upload(memory->backend, memory->buffer, 0,
                                                        memory->host, bytes),
                    "upload", bytes);
}

static bool pull(struct memory *memory, size_t bytes)
{
    return succeeds(memory->backend->operations->download(memory->backend, memory->buffer, 0,
                                                          memory->host, bytes),
                    "download", bytes);
}

/* Bytes [0, bytes) of `found` against `expected`; the first difference is told. */
static void compare(const void *found, const void *expected, size_t bytes, const char *what)
{
    const unsigned char *a = found, *b = expected;
    size_t wrong = 0, first = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (a[i] != b[i] && wrong++ == 0) {
            first = i;
        }
    }
    if (wrong > 0) {
        report("%s of %zu bytes: %zu differ, the first at %zu: %02x, expected %02x", what, bytes,
               wrong, first, a[first], b[first]);
    }
}

/* ---- Tensor parallelism ---- */

static void sums_are_the_tree(struct backend *backend, struct communicator *comm)
{
    /* The last are more than one piece of the scratch. */
    static const size_t counts[] = {1,    2,      3,       64,      1000,    4096,
                                    4097, 300001, 1 << 20, 2 << 20, 5000001, 12 << 20};
    const size_t most = counts[COUNT_OF(counts) - 1];
    struct memory data;
    float *expected = malloc(most * sizeof *expected);
    bool fine = memory_begin(backend, most * sizeof *expected, &data) && expected != NULL;
    for (size_t k = 0; fine && k < COUNT_OF(counts); k++) {
        for (size_t i = 0; i < counts[k]; i++) {
            ((float *)data.host)[i] = value_of(comm->rank, i);
            expected[i] = tree(0, comm->size, i);
        }
        fine = push(&data, counts[k] * sizeof(float)) &&
               succeeds(comm->sum(comm, data.buffer, counts[k]), "sum", counts[k]) &&
               pull(&data, counts[k] * sizeof(float)) &&
               succeeds(comm->check(comm), "check of a sum", counts[k]);
        if (fine) {
            compare(data.host, expected, counts[k] * sizeof(float), "sum");
        }
    }
    free(expected);
    memory_end(&data);
}

/* Sums of other sizes in a row, with nobody waiting in between and the last rank late: the first
 * gives the tree, each later one multiplies what it covers by the number of ranks, exactly. */
static void calls_in_a_row_keep_apart(struct backend *backend, struct communicator *comm)
{
    enum { CALLS = 40, MOST = 3 << 20 };
    struct memory data;
    float *expected = malloc(MOST * sizeof *expected);
    bool fine = memory_begin(backend, MOST * sizeof *expected, &data) && expected != NULL;
    for (size_t i = 0; fine && i < MOST; i++) {
        ((float *)data.host)[i] = value_of(comm->rank, i);
        expected[i] = tree(0, comm->size, i);
    }
    fine = fine && push(&data, MOST * sizeof *expected);
    MPI_Barrier(MPI_COMM_WORLD);
    if (comm->rank == comm->size - 1) {
        nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    }
    for (size_t k = 0; fine && k < CALLS; k++) {
        const size_t count = k == 0 ? MOST : (size_t)4 << (k * 7 % 20);
        fine = succeeds(comm->sum(comm, data.buffer, count), "sum in a row", count);
        for (size_t i = 0; k > 0 && i < count; i++) {
            expected[i] *= (float)comm->size;
        }
    }
    fine = fine && pull(&data, MOST * sizeof *expected) &&
           succeeds(comm->check(comm), "check of sums in a row", CALLS);
    if (fine) {
        compare(data.host, expected, MOST * sizeof *expected, "sums in a row");
    }
    free(expected);
    memory_end(&data);
}

static void blocks_are_gathered(struct backend *backend, struct communicator *comm)
{
    /* In one piece and in several, of memory that GPUs share and of NCCL's. */
    static const size_t sizes[] = {1, 17, 16, 4096, 12345, 1 << 20, 8 << 20, 12000016, 24 << 20};
    const size_t most = sizes[COUNT_OF(sizes) - 1];
    struct memory own, all;
    char *expected = malloc(most * (size_t)comm->size);
    bool fine = memory_begin(backend, most, &own);
    fine = memory_begin(backend, most * (size_t)comm->size, &all) && fine && expected != NULL;
    for (size_t k = 0; fine && k < COUNT_OF(sizes); k++) {
        for (int r = 0; r < comm->size; r++) {
            for (size_t i = 0; i < sizes[k]; i++) {
                expected[(size_t)r * sizes[k] + i] = (char)(i * 7 + i / 251 + (size_t)r * 31 + k);
            }
        }
        memcpy(own.host, expected + (size_t)comm->rank * sizes[k], sizes[k]);
        fine = push(&own, sizes[k]) &&
               succeeds(comm->gather(comm, own.buffer, all.buffer, sizes[k]), "gather", sizes[k]) &&
               pull(&all, sizes[k] * (size_t)comm->size) &&
               succeeds(comm->check(comm), "check of a gather", sizes[k]);
        if (fine) {
            compare(all.host, expected, sizes[k] * (size_t)comm->size, "gather");
        }
    }
    free(expected);
    memory_end(&own);
    memory_end(&all);
}

static void columns_of(struct backend *backend, struct communicator *comm, int rows,
                       const int *widths)
{
    size_t total = 0;
    for (int r = 0; r < comm->size; r++) {
        total += (size_t)widths[r];
    }
    const size_t own = (size_t)rows * (size_t)widths[comm->rank];
    const size_t bytes = (size_t)rows * total * sizeof(float);
    struct memory in, out;
    float *expected = malloc(bytes + 1);
    bool fine = memory_begin(backend, own * sizeof(float), &in);
    fine = memory_begin(backend, bytes, &out) && fine && expected != NULL;
    for (size_t i = 0; fine && i < own; i++) {
        ((float *)in.host)[i] = value_of(comm->rank, i);
    }
    fine = fine && push(&in, own * sizeof(float)) &&
           succeeds(comm->gather_columns(comm, in.buffer, out.buffer, rows, widths),
                    "gather of columns", bytes) &&
           pull(&out, bytes) && succeeds(comm->check(comm), "check of columns", bytes);
    if (fine && comm->rank == 0) {
        float *next = expected;
        for (size_t row = 0; row < (size_t)rows; row++) {
            for (int r = 0; r < comm->size; r++) {
                for (size_t c = 0; c < (size_t)widths[r]; c++) {
                    *next++ = value_of(r, row * (size_t)widths[r] + c);
                }
            }
        }
        compare(out.host, expected, bytes, "columns");
    }
    free(expected);
    memory_end(&in);
    memory_end(&out);
}

static void columns_stand_side_by_side(struct backend *backend, struct communicator *comm)
{
    int *widths = calloc((size_t)comm->size, sizeof *widths);
    static const int rows[] = {1, 5, 300};
    for (size_t k = 0; k < COUNT_OF(rows); k++) {
        for (int r = 0; r < comm->size; r++) {
            widths[r] = 3 + 2 * r; /* uneven, as a vocabulary that does not divide */
        }
        columns_of(backend, comm, rows[k], widths);
        widths[comm->size - 1] = 0;
        columns_of(backend, comm, rows[k], widths);
        for (int r = 0; r < comm->size; r++) {
            widths[r] = 64128; /* more than one piece at 300 rows */
        }
        columns_of(backend, comm, rows[k], widths);
    }
    free(widths);
}

/* ---- Pipeline ---- */

static void fill(struct memory *memory, int message)
{
    for (size_t i = 0; i < memory->bytes; i++) {
        ((char *)memory->host)[i] = (char)(i * 3 + (size_t)message * 77);
    }
}

/* Several large messages before anybody receives, from one buffer that is written over at once. */
static void the_pipeline_keeps_order(struct backend *backend, struct communicator *comm,
                                     size_t bytes)
{
    enum { MESSAGES = 3 };
    struct memory data, wanted;
    bool fine = memory_begin(backend, bytes, &data);
    fine = memory_begin(backend, bytes, &wanted) && fine;
    MPI_Barrier(MPI_COMM_WORLD);
    const double start = clock_seconds();
    for (int m = 0; fine && comm->rank + 1 < comm->size && m < MESSAGES; m++) {
        fill(&data, m);
        fine = push(&data, bytes) &&
               succeeds(comm->send(comm, data.buffer, bytes, comm->rank + 1), "send", bytes);
    }
    const double sending = clock_seconds() - start;
    MPI_Barrier(MPI_COMM_WORLD);
    if (sending > PATIENCE / 2) {
        report("sending %d messages took %.1f s with no receiver", (int)MESSAGES, sending);
    }
    for (int m = 0; fine && comm->rank > 0 && m < MESSAGES; m++) {
        fill(&wanted, m);
        /* A last stage's sends of its own come first on its stream only where it has any. */
        fine =
            succeeds(comm->receive(comm, data.buffer, bytes, comm->rank - 1), "receive", bytes) &&
            pull(&data, bytes) && succeeds(comm->check(comm), "check of a receive", bytes);
        if (fine) {
            compare(data.host, wanted.host, bytes, "message");
        }
    }
    succeeds(backend->operations->synchronize(backend), "synchronize", bytes);
    MPI_Barrier(MPI_COMM_WORLD);
    succeeds(comm->check(comm), "check of a send", bytes);
    memory_end(&data);
    memory_end(&wanted);
}

/* ---- A rank that stays away ---- */

static void an_absent_rank_ends_the_waiting(struct backend *backend, struct communicator *comm)
{
    struct memory own, all;
    bool fine = memory_begin(backend, 4096, &own);
    fine = memory_begin(backend, 4096 * (size_t)comm->size, &all) && fine;
    MPI_Barrier(MPI_COMM_WORLD);
    if (fine && comm->rank != comm->size - 1) {
        comm->patience = SHORT_PATIENCE;
        const double start = clock_seconds();
        fine = succeeds(comm->gather(comm, own.buffer, all.buffer, 4096), "gather alone", 4096) &&
               succeeds(backend->operations->synchronize(backend), "waiting alone", 4096);
        const double waited = clock_seconds() - start;
        if (comm->check(comm) == STATUS_OK) {
            report("a gather without the last rank has not failed after %.1f s", waited);
        } else if (strstr(status_message(), "gone or stuck") == NULL) {
            report("a gather without the last rank: %s", status_message());
        }
        if (waited < SHORT_PATIENCE / 2 || waited > SHORT_PATIENCE + 5) {
            report("waiting for the last rank took %.1f s instead of %.0f", waited, SHORT_PATIENCE);
        }
        if (comm->gather(comm, own.buffer, all.buffer, 4096) == STATUS_OK) {
            report("a call after a failure succeeds");
        } else if (comm->rank == 0) {
            printf("message of a failure: %s (after %.1f s)\n", status_message(), waited);
        }
    }
    MPI_Barrier(MPI_COMM_WORLD);
    memory_end(&own);
    memory_end(&all);
}

/* ---- The program ---- */

static status create(struct backend *backend, const char *address, enum comm_use use,
                     size_t largest, struct communicator **out)
{
    const struct comm_options options = {
        .use = use, .largest_bytes = largest, .device_address = address, .patience = PATIENCE};
    return comm_create(MPI_COMM_WORLD, backend, &options, out);
}

static void end(struct communicator *comm)
{
    MPI_Barrier(MPI_COMM_WORLD);
    comm->destroy(comm);
}

static status test_all(struct backend *backend, const char *address)
{
    struct communicator *comm;
    TRY(run_agree(create(backend, address, COMM_TENSOR, 0, &comm)));
    sums_are_the_tree(backend, comm);
    calls_in_a_row_keep_apart(backend, comm);
    blocks_are_gathered(backend, comm);
    columns_stand_side_by_side(backend, comm);
    if (!(comm->seconds > 0)) {
        report("calls took %g s", comm->seconds);
    }
    end(comm);

    static const size_t sizes[] = {4, 1000, 1 << 20, 64 << 20};
    for (size_t k = 0; k < COUNT_OF(sizes); k++) {
        TRY(run_agree(create(backend, address, COMM_PIPELINE, sizes[k], &comm)));
        the_pipeline_keeps_order(backend, comm, sizes[k]);
        end(comm);
    }

    TRY(run_agree(create(backend, address, COMM_TENSOR, 0, &comm)));
    an_absent_rank_ends_the_waiting(backend, comm);
    end(comm);
    return STATUS_OK;
}

static status test(void)
{
    const struct world *world = world_get();
    const int device = world->host_rank % backend_device_count("cuda");
    struct device_facts facts;
    int own, most;
    TRY(run_agree(backend_device_facts("cuda", device, &facts)));
    TRY(run_agree(comm_device_sharers(MPI_COMM_WORLD, facts.address, &own, &most)));
    if (own != 1 || most != 1) {
        report("device %d at %s counts as shared by %d ranks (%d at most)", device, facts.address,
               own, most);
    }
    struct backend_options options = {
        .compute = DTYPE_BFLOAT16, .max_tokens = 16, .max_sequences = 16, .device = device};
    struct backend *backend = NULL;
    TRY(run_agree(backend_create("cuda", &options, &backend)));
    status s = test_all(backend, facts.address);
    backend->operations->destroy(backend);
    return s;
}

int main(int argc, char **argv)
{
    int rank, size;
    if (run_start(&argc, &argv, &rank, &size) != STATUS_OK) {
        return 1;
    }
    int enough = size > 1 && backend_device_count("cuda") >= world_get()->host_size;
    MPI_Allreduce(MPI_IN_PLACE, &enough, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
    if (!enough) {
        if (rank == 0) {
            printf("fewer GPUs than ranks, or one rank: skipped\n");
        }
        run_end();
        return SKIPPED;
    }
    if (test() != STATUS_OK) {
        report("%s", status_message());
    }
    int total = 0;
    MPI_Allreduce(&failures, &total, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    if (rank == 0) {
        printf("%d ranks: %d failures\n", size, total);
    }
    run_end();
    return total == 0 ? 0 : 1;
}
