/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of every size around the powers of two, the first that a communicator ever moves: its
 * scratch is then as large as the message and not a byte larger, so that a sanitizer sees what
 * writes behind it. Exit status 0 when all holds. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/comm_mpi.h"
#include "sluice/comm_create.h"
#include "sluice/run.h"

static int failures, own_rank;

static void check(bool holds, const char *what, int size)
{
    if (!holds) {
        fprintf(stderr, "rank %d, size %d: %s\n", own_rank, size, what);
        failures++;
    }
}

/* Buffers that the host reaches through the backend alone, as a device's: every call needs the
 * communicator's own scratch. */
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

static float value_of(int rank, int i)
{
    return (float)(rank * 4096 + i);
}

static float *ranks_values(int rank, int count)
{
    float *values = malloc((size_t)count * sizeof *values);
    for (int i = 0; i < count; i++) {
        values[i] = value_of(rank, i);
    }
    return values;
}

static void sum_of_size(struct communicator *comm, int count)
{
    float *values = ranks_values(comm->rank, count);
    check(comm->sum(comm, (struct device_buffer *)values, (size_t)count) == STATUS_OK, "no sum",
          count);
    for (int i = 0; i < count; i++) {
        const int all = comm->size * (comm->size - 1) / 2 * 4096 + comm->size * i;
        check(values[i] == (float)all, "a wrong sum", count);
    }
    free(values);
}

static void gather_of_size(struct communicator *comm, int count)
{
    const size_t bytes = (size_t)count * sizeof(float);
    float *own = ranks_values(comm->rank, count);
    float *all = malloc((size_t)comm->size * bytes);
    check(comm->gather(comm, (struct device_buffer *)own, (struct device_buffer *)all, bytes) ==
              STATUS_OK,
          "no gather", count);
    check(comm->bytes == (uint64_t)(comm->size - 1) * bytes, "other bytes are booked", count);
    check(comm->seconds > 0, "no time is booked", count);
    for (int i = 0; i < comm->size * count; i++) {
        check(all[i] == value_of(i / count, i % count), "a misplaced value", count);
    }
    free(own);
    free(all);
}

static void columns_of_size(struct communicator *comm, int count)
{
    enum { ROWS = 3 };
    int *widths = malloc((size_t)comm->size * sizeof *widths);
    for (int r = 0; r < comm->size; r++) {
        widths[r] = count;
    }
    float *own = ranks_values(comm->rank, ROWS * count);
    float *all = malloc((size_t)comm->size * ROWS * (size_t)count * sizeof *all);
    check(comm->gather_columns(comm, (struct device_buffer *)own, (struct device_buffer *)all, ROWS,
                               widths) == STATUS_OK,
          "no columns", count);
    check(comm->bytes == (comm->rank != 0 ? ROWS * (uint64_t)count * sizeof *own : 0),
          "other bytes are booked", count);
    check(comm->seconds > 0, "no time is booked", count);
    for (int i = 0; comm->rank == 0 && i < ROWS * comm->size * count; i++) {
        const int row = i / (comm->size * count), column = i % (comm->size * count);
        check(all[i] == value_of(column / count, row * count + column % count),
              "a misplaced column", count);
    }
    free(widths);
    free(own);
    free(all);
}

/* Each on a communicator of its own. */
static status first_message(struct backend *backend,
                            void (*move)(struct communicator *comm, int count), int count)
{
    struct communicator *comm;
    TRY(comm_mpi_create(MPI_COMM_WORLD, backend, &comm));
    move(comm, count);
    comm->destroy(comm);
    return STATUS_OK;
}

int main(int argc, char **argv)
{
    int size;
    static const struct backend_operations device = {
        .host_address = no_address, .upload = copy_up, .download = copy_down};
    struct backend backend = {&device};
    if (run_start(&argc, &argv, &own_rank, &size) != STATUS_OK) {
        return 1;
    }
    for (int power = 1; power <= 1024; power *= 4) {
        for (int count = power - 1; count <= power + 1; count++) {
            if (count > 0 && (first_message(&backend, sum_of_size, count) != STATUS_OK ||
                              first_message(&backend, gather_of_size, count) != STATUS_OK ||
                              first_message(&backend, columns_of_size, count) != STATUS_OK)) {
                return 1;
            }
        }
    }
    int total = 0;
    MPI_Allreduce(&failures, &total, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    if (own_rank == 0) {
        printf("%d ranks: %d failures\n", size, total);
    }
    run_end();
    return total == 0 ? 0 : 1;
}
