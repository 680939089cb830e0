/* SPDX-License-Identifier: Apache-2.0 */
/* The communicator on any number of ranks (a power of two): sums have the bits of the pairwise
 * tree, whatever the message's size; logits are gathered in place; the pipeline delivers in order
 * without waiting. Exit status 0 when all holds. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/comm_mpi.h"
#include "run/ranks/world.h"
#include "sluice/comm_create.h"
#include "sluice/run.h"

/* A backend that is nothing but host memory. */
static void *identity_address(struct backend *backend, struct device_buffer *buffer)
{
    (void)backend;
    return buffer;
}

static int failures;

static void check(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "rank %d: %s\n", world_get()->rank, what);
        failures++;
    }
}

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
    if (count == 1) {
        return value_of(first, i);
    }
    return tree(first, count / 2, i) + tree(first + count / 2, count / 2, i);
}

static void sums_are_the_tree(struct communicator *comm)
{
    static const size_t sizes[] = {1, 7, 1000, 4095, 4096, 4097, 300001};
    float *data = malloc(sizes[COUNT_OF(sizes) - 1] * sizeof *data);
    for (size_t k = 0; k < COUNT_OF(sizes); k++) {
        for (size_t i = 0; i < sizes[k]; i++) {
            data[i] = value_of(comm->rank, i);
        }
        check(comm->sum(comm, (struct device_buffer *)data, sizes[k]) == STATUS_OK, "sum failed");
        size_t wrong = 0;
        for (size_t i = 0; i < sizes[k]; i++) {
            float expected = tree(0, comm->size, i);
            wrong += memcmp(&expected, &data[i], sizeof expected) != 0;
        }
        check(wrong == 0, "a sum differs from the tree");
    }
    free(data);
}

/* A long sum is scattered and gathered: 1.5 times the message at 4 ranks, 1.75 at 8, where doubling
 * sends 2 and 3 times; a short one takes as few messages as it can. */
static void long_sums_send_less(struct communicator *comm)
{
    enum { LONG = 1 << 16, SHORT = 1 << 8 };
    float *data = calloc(LONG, sizeof *data);
    const uint64_t ranks = (uint64_t)comm->size;
    uint64_t before = comm->bytes, rounds = 0;
    for (int distance = 1; distance < comm->size; distance *= 2) {
        rounds++;
    }
    check(comm->sum(comm, (struct device_buffer *)data, LONG) == STATUS_OK, "sum failed");
    check(comm->bytes - before == 2 * (ranks - 1) * (LONG * sizeof *data / ranks),
          "a long sum sends another number of bytes");
    before = comm->bytes;
    check(comm->sum(comm, (struct device_buffer *)data, SHORT) == STATUS_OK, "sum failed");
    check(comm->bytes - before == rounds * SHORT * sizeof *data,
          "a short sum sends another number of bytes");
    if (comm->rank == 0) {
        fprintf(stderr, "%d ranks: a long sum sends %.3f of the message, doubling %.0f\n",
                comm->size, 2.0 * (double)(ranks - 1) / (double)ranks, (double)rounds);
    }
    free(data);
}

static void blocks_are_gathered(struct communicator *comm)
{
    enum { BYTES = 1000 * sizeof(float) };
    float *own = malloc(BYTES);
    float *all = calloc((size_t)comm->size, BYTES);
    for (size_t i = 0; i < 1000; i++) {
        own[i] = value_of(comm->rank, i);
    }
    check(comm->gather(comm, (struct device_buffer *)own, (struct device_buffer *)all, BYTES) ==
              STATUS_OK,
          "gather of blocks failed");
    for (int r = 0; r < comm->size; r++) {
        for (size_t i = 0; i < 1000; i++) {
            check(all[(size_t)r * 1000 + i] == value_of(r, i), "a block is misplaced");
        }
    }
    free(own);
    free(all);
}

static void columns_stand_side_by_side(struct communicator *comm)
{
    enum { ROWS = 5 };
    int *widths = malloc((size_t)comm->size * sizeof *widths), total = 0;
    for (int r = 0; r < comm->size; r++) {
        widths[r] = 3 + 2 * r; /* uneven, as a vocabulary that does not divide */
        total += widths[r];
    }
    float *in = calloc(ROWS * (size_t)widths[comm->rank], sizeof *in);
    float *out = calloc(ROWS * (size_t)total, sizeof *out);
    for (int i = 0; i < ROWS * widths[comm->rank]; i++) {
        in[i] = value_of(comm->rank, (size_t)i);
    }
    check(comm->gather_columns(comm, (struct device_buffer *)in, (struct device_buffer *)out, ROWS,
                               widths) == STATUS_OK,
          "gather failed");
    if (comm->rank == 0) {
        const float *next = out;
        for (int row = 0; row < ROWS; row++) {
            for (int r = 0; r < comm->size; r++) {
                for (int c = 0; c < widths[r]; c++) {
                    check(*next++ == value_of(r, (size_t)(row * widths[r] + c)),
                          "a column is misplaced");
                }
            }
        }
    }
    free(widths);
    free(in);
    free(out);
}

static void the_pipeline_keeps_order(struct communicator *comm)
{
    enum { MESSAGES = 3, BYTES = 1 << 20 };
    char *data = malloc(BYTES);
    /* Several large messages before anybody receives: send must not wait for the receiver. */
    if (comm->rank + 1 < comm->size) {
        for (int m = 0; m < MESSAGES; m++) {
            memset(data, 'a' + m, BYTES);
            check(comm->send(comm, (struct device_buffer *)data, BYTES, comm->rank + 1) ==
                      STATUS_OK,
                  "send failed");
        }
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (comm->rank > 0) {
        for (int m = 0; m < MESSAGES; m++) {
            check(comm->receive(comm, (struct device_buffer *)data, BYTES, comm->rank - 1) ==
                      STATUS_OK,
                  "receive failed");
            check(data[0] == 'a' + m && data[BYTES - 1] == 'a' + m, "a message is out of order");
        }
    }
    free(data);
}

static void ranks_agree_on_the_first_failure(void)
{
    int last = world_get()->size - 1;
    status own =
        world_get()->rank == last ? status_fail(STATUS_LIMIT, "only rank %d", last) : STATUS_OK;
    status agreed = run_agree(own);
    char expected[32];
    snprintf(expected, sizeof expected, "only rank %d", last);
    check(agreed == STATUS_LIMIT && strcmp(status_message(), expected) == 0,
          "ranks disagree on a failure");
    check(run_agree(STATUS_OK) == STATUS_OK, "ranks disagree on success");
}

/* Ranks know how many have their device: none that has an address, each its own, pairs, all. */
static void devices_are_told_apart(void)
{
    const int rank = world_get()->rank, size = world_get()->size;
    char own_address[32], pair_address[32];
    snprintf(own_address, sizeof own_address, "0000:%02x:00.0", rank);
    snprintf(pair_address, sizeof pair_address, "0000:%02x:00.0", rank / 2);
    const int pair = size < 2 ? 1 : 2;
    const struct {
        const char *address;
        int own, most;
    } cases[] = {{"", 0, 0},
                 {own_address, 1, 1},
                 {pair_address, pair, pair},
                 {"0000:3b:00.0", size, size},
                 {rank == 0 ? "" : "0000:3b:00.0", rank == 0 ? 0 : size - 1, size - 1}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int own = -1, most = -1;
        check(comm_device_sharers(MPI_COMM_WORLD, cases[i].address, &own, &most) == STATUS_OK,
              "comparing devices failed");
        check(own == cases[i].own && most == cases[i].most, "devices are counted wrongly");
    }
}

/* Without devices of its own a group communicates through host memory. */
static status host_memory_gets_mpi(const struct backend_operations *operations)
{
    struct backend backend = {operations};
    const struct comm_options options = {.use = COMM_TENSOR, .device_address = ""};
    struct communicator *comm;
    TRY(comm_create(MPI_COMM_WORLD, &backend, &options, &comm));
    sums_are_the_tree(comm);
    long_sums_send_less(comm);
    check(comm->check(comm) == STATUS_OK, "check failed");
    check(comm->seconds >= 0, "time runs backwards");
    comm->destroy(comm);
    return STATUS_OK;
}

/* As on a device: buffers that the host reads and writes through the backend alone. */
static void *no_address(struct backend *backend, struct device_buffer *buffer)
{
    (void)backend;
    (void)buffer;
    return NULL;
}

static status copy_up(struct backend *backend, struct device_buffer *to, size_t offset,
                      const void *from, size_t bytes)
{
    (void)backend;
    memcpy((char *)to + offset, from, bytes);
    return STATUS_OK;
}

static status copy_down(struct backend *backend, const struct device_buffer *from, size_t offset,
                        void *to, size_t bytes)
{
    (void)backend;
    memcpy(to, (const char *)from + offset, bytes);
    return STATUS_OK;
}

static status test_memory(const struct backend_operations *operations)
{
    struct backend backend = {operations};
    struct communicator *comm;
    TRY(comm_mpi_create(MPI_COMM_WORLD, &backend, &comm));
    sums_are_the_tree(comm);
    blocks_are_gathered(comm);
    columns_stand_side_by_side(comm);
    the_pipeline_keeps_order(comm);
    comm->destroy(comm);
    return STATUS_OK;
}

int main(int argc, char **argv)
{
    int rank, size;
    if (run_start(&argc, &argv, &rank, &size) != STATUS_OK) {
        return 1;
    }
    static const struct backend_operations host = {.host_address = identity_address};
    static const struct backend_operations device = {
        .host_address = no_address, .upload = copy_up, .download = copy_down};
    if (test_memory(&host) != STATUS_OK || test_memory(&device) != STATUS_OK ||
        host_memory_gets_mpi(&host) != STATUS_OK) {
        return 1;
    }
    devices_are_told_apart();
    ranks_agree_on_the_first_failure();
    int total = 0;
    MPI_Allreduce(&failures, &total, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    if (rank == 0) {
        printf("%d ranks: %d failures\n", size, total);
    }
    run_end();
    return total == 0 ? 0 : 1;
}
