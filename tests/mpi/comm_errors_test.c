/* SPDX-License-Identifier: Apache-2.0 */
/* What goes wrong in a communicator is told: a message too large for MPI, a rank that is not there,
 * a device that cannot be read or written. And what goes right is booked. Each rank alone. Exit
 * status 0 when all holds. */
#include <limits.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/comm_mpi.h"
#include "comm/tree_sum.h"
#include "sluice/comm_create.h"
#include "sluice/mpi_check.h"
#include "sluice/run.h"

enum { VALUES = 6 };

static int failures, own_rank;

static void check(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "rank %d: %s (%s)\n", own_rank, what, status_message());
        failures++;
    }
}

/* ---- A device whose nth copy fails ---- */

static int copies_left; /* before one fails; below 0: none does */

static void *no_address(struct backend *backend, struct device_buffer *buffer)
{
    (void)backend;
    (void)buffer;
    return NULL;
}

static status take_copy(void)
{
    return copies_left-- == 0 ? status_fail(STATUS_IO, "a copy failed") : STATUS_OK;
}

static status copy_up(struct backend *backend, struct device_buffer *to, size_t offset,
                      const void *from, size_t bytes)
{
    (void)backend;
    TRY(take_copy());
    memcpy((char *)to + offset, from, bytes);
    return STATUS_OK;
}

static status copy_down(struct backend *backend, const struct device_buffer *from, size_t offset,
                        void *to, size_t bytes)
{
    (void)backend;
    TRY(take_copy());
    memcpy(to, (const char *)from + offset, bytes);
    return STATUS_OK;
}

struct call {
    const char *name;
    int copies; /* between host and device */
    uint64_t sent;
    status (*run)(struct communicator *comm, struct device_buffer *in, struct device_buffer *out);
};

static status call_sum(struct communicator *comm, struct device_buffer *in,
                       struct device_buffer *out)
{
    memcpy(out, in, VALUES * sizeof(float));
    return comm->sum(comm, out, VALUES);
}

static status call_gather(struct communicator *comm, struct device_buffer *in,
                          struct device_buffer *out)
{
    return comm->gather(comm, in, out, VALUES * sizeof(float));
}

static status call_columns(struct communicator *comm, struct device_buffer *in,
                           struct device_buffer *out)
{
    static const int widths[] = {VALUES / 2};
    return comm->gather_columns(comm, in, out, 2, widths);
}

static status call_send(struct communicator *comm, struct device_buffer *in,
                        struct device_buffer *out)
{
    TRY(comm->send(comm, in, VALUES * sizeof(float), 0));
    return comm->receive(comm, out, VALUES * sizeof(float), 0);
}

static const struct call calls[] = {
    {"sum", 2, 0, call_sum},
    {"gather", 2, 0, call_gather},
    {"gather_columns", 2, 0, call_columns},
    {"send and receive", 2, VALUES * sizeof(float), call_send},
};

/* Every call with every copy of it failing; then with none. */
static status failed_copies_are_told(struct backend *backend)
{
    float in[VALUES] = {1, 2, 3, 4, 5, 6}, out[VALUES];
    struct device_buffer *from = (struct device_buffer *)(void *)in;
    struct device_buffer *to = (struct device_buffer *)(void *)out;
    for (size_t i = 0; i < COUNT_OF(calls); i++) {
        for (int n = 0; n <= calls[i].copies; n++) {
            struct communicator *comm;
            TRY(comm_mpi_create(MPI_COMM_SELF, backend, &comm));
            memset(out, 0, sizeof out);
            copies_left = n;
            const status s = calls[i].run(comm, from, to);
            const bool whole = n == calls[i].copies;
            check(s == (whole ? STATUS_OK : STATUS_IO), calls[i].name);
            check(!whole || memcmp(in, out, sizeof in) == 0, "other values");
            check(!whole || comm->bytes == calls[i].sent, "other bytes are booked");
            check(!whole || (comm->seconds > 0 && comm->seconds < 60), "no time is booked");
            if (n > 0 || calls[i].run != call_send) { /* else nothing was sent */
                copies_left = -1;
            }
            comm->destroy(comm);
        }
    }
    return STATUS_OK;
}

/* ---- Sizes and ranks ---- */

static void expect_limit(status s, const char *size)
{
    check(s == STATUS_LIMIT, "a message of more than MPI takes");
    check(strstr(status_message(), size) != NULL, "its size");
}

static status too_large_is_refused(struct backend *backend)
{
    struct communicator *comm;
    TRY(comm_mpi_create(MPI_COMM_SELF, backend, &comm));
    const size_t most = (size_t)INT_MAX + 1;
    static const int widths[] = {1 << 16};
    expect_limit(comm->sum(comm, NULL, most / sizeof(float)), "2147483648 bytes");
    expect_limit(comm->gather(comm, NULL, NULL, most), "2147483648 bytes");
    expect_limit(comm->gather_columns(comm, NULL, NULL, 1 << 13, widths), "2147483648 bytes");
    expect_limit(comm->send(comm, NULL, most, 0), "2147483648 bytes");
    expect_limit(comm->receive(comm, NULL, most, 0), "2147483648 bytes");
    comm->destroy(comm);
    return STATUS_OK;
}

static void expect_mpi(status s, const char *what)
{
    check(s == STATUS_IO, "a rank that is not there");
    check(strncmp(status_message(), "MPI: ", 5) == 0 && strstr(status_message(), what) != NULL,
          "what MPI says");
}

static status missing_ranks_are_told(struct backend *backend)
{
    enum { LONG = 1 << 14 };
    struct communicator *comm;
    float *values = calloc(LONG, sizeof *values), *scratch = calloc(LONG, sizeof *scratch);
    struct device_buffer *data = (struct device_buffer *)(void *)values;
    TRY(comm_mpi_create(MPI_COMM_SELF, backend, &comm));
    copies_left = -1;
    expect_mpi(comm->send(comm, data, 8, 5), "send to the next stage");
    expect_mpi(comm->receive(comm, data, 8, 5), "receive from the stage before");
    comm->destroy(comm);
    MPI_Comm alone;
    MPI_Comm_dup(MPI_COMM_SELF, &alone);
    MPI_Comm_set_errhandler(alone, MPI_ERRORS_RETURN);
    uint64_t bytes = 0;
    const struct tree_sum sum = {
        .comm = alone, .rank = 0, .size = 4, .scratch = scratch, .bytes = &bytes};
    expect_mpi(tree_sum(&sum, values, 3), "sum over tensor-parallel ranks");
    expect_mpi(tree_sum(&sum, values, LONG), "sum over tensor-parallel ranks");
    MPI_Comm_free(&alone);
    free(values);
    free(scratch);
    check(mpi_check(MPI_SUCCESS, "nothing") == STATUS_OK, "success is a failure");
    return STATUS_OK;
}

/* More sends under way than the ring has places, each with bytes of its own. */
static status sends_wait_for_a_place(struct backend *backend)
{
    enum { MESSAGES = 23, BYTES = 40 };
    struct communicator *comm;
    char data[BYTES];
    struct device_buffer *buffer = (struct device_buffer *)(void *)data;
    TRY(comm_mpi_create(MPI_COMM_SELF, backend, &comm));
    copies_left = -1;
    int received = 0;
    for (int sent = 0; received < MESSAGES;) {
        for (; sent < MESSAGES && sent < received + 4; sent++) {
            memset(data, 'a' + sent, BYTES);
            TRY(comm->send(comm, buffer, (size_t)(sent + 1), 0));
            memset(data, 0, BYTES);
        }
        TRY(comm->receive(comm, buffer, (size_t)(received + 1), 0));
        check(data[0] == 'a' + received && data[received] == 'a' + received, "another message");
        received++;
    }
    check(comm->bytes == MESSAGES * (MESSAGES + 1) / 2, "bytes of messages");
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
    if (failed_copies_are_told(&backend) != STATUS_OK ||
        too_large_is_refused(&backend) != STATUS_OK ||
        missing_ranks_are_told(&backend) != STATUS_OK ||
        sends_wait_for_a_place(&backend) != STATUS_OK) {
        fprintf(stderr, "rank %d: %s\n", own_rank, status_message());
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    int total = 0;
    MPI_Allreduce(&failures, &total, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    if (own_rank == 0) {
        printf("%d ranks: %d failures\n", size, total);
    }
    run_end();
    return total == 0 ? 0 : 1;
}
