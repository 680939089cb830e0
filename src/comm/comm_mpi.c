/* SPDX-License-Identifier: Apache-2.0 */
/* The communicator over MPI: sums as a pairwise tree in rank order, blocks gathered to all, columns
 * gathered to rank 0, buffered sends. Buffers in device memory pass through host memory, which is
 * for ranks that share a device; NCCL is for those that do not. */
#include "comm/comm_mpi.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "comm/tree_sum.h"
#include "sluice/mpi_check.h"

enum { TAG_STAGE = 2, SENDS_IN_FLIGHT = 4 };

struct space {
    char *bytes;
    size_t capacity;
};

struct pending_send {
    MPI_Request request;
    struct space space;
};

struct comm_mpi {
    struct communicator base;
    MPI_Comm comm;
    struct backend *backend;
    struct space scratch;                       /* of the calls */
    struct space own, all;                      /* copies of buffers in device memory */
    struct pending_send sends[SENDS_IN_FLIGHT]; /* a ring */
    int next_send;
};

static status reserve(struct space *space, size_t needed)
{
    void *grown = space->bytes;
    status s = array_grow(&grown, &space->capacity, needed, 1);
    space->bytes = grown;
    return s;
}

static status check_size(size_t bytes)
{
    return bytes <= INT_MAX
               ? STATUS_OK
               : status_fail(STATUS_LIMIT, "a message of %zu bytes between ranks", bytes);
}

/* ---- Host memory of a buffer ---- */

static void *host(struct comm_mpi *self, struct device_buffer *buffer)
{
    return self->backend->operations->host_address(self->backend, buffer);
}

/* *address: the buffer's own host memory, or room for `bytes` of it in `copy`. */
static status host_room(struct comm_mpi *self, struct device_buffer *buffer, struct space *copy,
                        size_t bytes, void **address)
{
    *address = host(self, buffer);
    if (*address == NULL) {
        TRY(reserve(copy, bytes));
        *address = copy->bytes;
    }
    return STATUS_OK;
}

/* As host_room, with what the buffer holds. */
static status host_bytes(struct comm_mpi *self, struct device_buffer *buffer, struct space *copy,
                         size_t bytes, void **address)
{
    TRY(host_room(self, buffer, copy, bytes, address));
    if (host(self, buffer) != NULL) {
        return STATUS_OK;
    }
    return self->backend->operations->download(self->backend, buffer, 0, *address, bytes);
}

/* Takes what is at `address`, which host_room gave, back to the buffer. */
static status host_done(struct comm_mpi *self, struct device_buffer *buffer, const void *address,
                        size_t bytes)
{
    if (host(self, buffer) != NULL) {
        return STATUS_OK;
    }
    return self->backend->operations->upload(self->backend, buffer, 0, address, bytes);
}

/* ---- Collectives ---- */

static status mpi_sum(struct communicator *base, struct device_buffer *data, size_t count)
{
    struct comm_mpi *self = (struct comm_mpi *)base;
    double start = clock_seconds();
    size_t bytes = count * sizeof(float);
    void *address;
    TRY(check_size(bytes));
    TRY(reserve(&self->scratch, bytes));
    TRY(host_bytes(self, data, &self->own, bytes, &address));
    const struct tree_sum sum = {.comm = self->comm,
                                 .rank = base->rank,
                                 .size = base->size,
                                 .scratch = (float *)(void *)self->scratch.bytes,
                                 .bytes = &base->bytes};
    TRY(tree_sum(&sum, address, count));
    TRY(host_done(self, data, address, bytes));
    base->seconds += clock_seconds() - start;
    return STATUS_OK;
}

static status mpi_gather(struct communicator *base, struct device_buffer *own,
                         struct device_buffer *all, size_t bytes)
{
    struct comm_mpi *self = (struct comm_mpi *)base;
    double start = clock_seconds();
    const size_t total = bytes * (size_t)base->size;
    void *from, *to;
    TRY(check_size(total));
    TRY(host_bytes(self, own, &self->own, bytes, &from));
    TRY(host_room(self, all, &self->all, total, &to));
    TRY(mpi_check(MPI_Allgather(from, (int)bytes, MPI_BYTE, to, (int)bytes, MPI_BYTE, self->comm),
                  "gather of partial sums"));
    TRY(host_done(self, all, to, total));
    base->bytes += (uint64_t)(total - bytes); /* to every other rank */
    base->seconds += clock_seconds() - start;
    return STATUS_OK;
}

/* The ranks' blocks [rows, width], one after the other, side by side. */
static void interleave(const char *blocks, int rows, const int *widths, int ranks, char *whole)
{
    size_t total = 0, column = 0;
    for (int rank = 0; rank < ranks; rank++) {
        total += (size_t)widths[rank] * sizeof(float);
    }
    for (int rank = 0; rank < ranks; rank++) {
        const size_t width = (size_t)widths[rank] * sizeof(float);
        for (size_t row = 0; row < (size_t)rows; row++) {
            memcpy(whole + row * total + column, blocks, width);
            blocks += width;
        }
        column += width;
    }
}

static status mpi_gather_columns(struct communicator *base, struct device_buffer *in,
                                 struct device_buffer *out, int rows, const int *widths)
{
    struct comm_mpi *self = (struct comm_mpi *)base;
    double start = clock_seconds();
    size_t total = 0;
    for (int rank = 0; rank < base->size; rank++) {
        total += (size_t)widths[rank];
    }
    const size_t bytes = (size_t)rows * total * sizeof(float);
    TRY(check_size(bytes));
    const int own = rows * widths[base->rank];
    void *from, *whole = NULL;
    TRY(host_bytes(self, in, &self->own, (size_t)own * sizeof(float), &from));
    int *counts = NULL, *starts = NULL;
    void *blocks = NULL;
    if (base->rank == 0) {
        size_t counts_bytes = 2 * (size_t)base->size * sizeof(int);
        TRY(reserve(&self->scratch, bytes + counts_bytes));
        counts = (int *)(void *)self->scratch.bytes;
        starts = counts + base->size;
        blocks = self->scratch.bytes + counts_bytes;
        int position = 0;
        for (int rank = 0; rank < base->size; rank++) {
            counts[rank] = rows * widths[rank];
            starts[rank] = position;
            position += counts[rank];
        }
    }
    TRY(mpi_check(
        MPI_Gatherv(from, own, MPI_FLOAT, blocks, counts, starts, MPI_FLOAT, 0, self->comm),
        "gather of logits"));
    base->bytes += base->rank != 0 ? (uint64_t)own * sizeof(float) : 0;
    if (base->rank == 0) {
        TRY(host_room(self, out, &self->all, bytes, &whole));
        interleave(blocks, rows, widths, base->size, whole);
        TRY(host_done(self, out, whole, bytes));
    }
    base->seconds += clock_seconds() - start;
    return STATUS_OK;
}

/* ---- Stage to stage ---- */

static status mpi_send(struct communicator *base, struct device_buffer *data, size_t bytes, int to)
{
    struct comm_mpi *self = (struct comm_mpi *)base;
    double start = clock_seconds();
    TRY(check_size(bytes));
    struct pending_send *pending = &self->sends[self->next_send];
    self->next_send = (self->next_send + 1) % SENDS_IN_FLIGHT;
    TRY(mpi_check(MPI_Wait(&pending->request, MPI_STATUS_IGNORE), "send to the next stage"));
    TRY(reserve(&pending->space, bytes));
    const void *from = host(self, data);
    if (from != NULL) {
        memcpy(pending->space.bytes, from, bytes);
    } else {
        TRY(self->backend->operations->download(self->backend, data, 0, pending->space.bytes,
                                                bytes));
    }
    TRY(mpi_check(MPI_Isend(pending->space.bytes, (int)bytes, MPI_BYTE, to, TAG_STAGE, self->comm,
                            &pending->request),
                  "send to the next stage"));
    base->bytes += bytes;
    base->seconds += clock_seconds() - start;
    return STATUS_OK;
}

static status mpi_receive(struct communicator *base, struct device_buffer *data, size_t bytes,
                          int from)
{
    struct comm_mpi *self = (struct comm_mpi *)base;
    double start = clock_seconds();
    void *address;
    TRY(check_size(bytes));
    TRY(host_room(self, data, &self->own, bytes, &address));
    TRY(mpi_check(
        MPI_Recv(address, (int)bytes, MPI_BYTE, from, TAG_STAGE, self->comm, MPI_STATUS_IGNORE),
        "receive from the stage before"));
    TRY(host_done(self, data, address, bytes));
    base->seconds += clock_seconds() - start;
    return STATUS_OK;
}

/* Calls here have failed by themselves when they return. */
static status mpi_check_calls(struct communicator *base)
{
    (void)base;
    return STATUS_OK;
}

static void mpi_destroy(struct communicator *base)
{
    struct comm_mpi *self = (struct comm_mpi *)base;
    for (int i = 0; i < SENDS_IN_FLIGHT; i++) {
        int done = 1;
        MPI_Test(&self->sends[i].request, &done, MPI_STATUS_IGNORE);
        /* Not received yet: the receiver has failed, and MPI may still read the bytes. They are
         * left to the process's end. */
        if (done) {
            free(self->sends[i].space.bytes);
        }
    }
    MPI_Comm_free(&self->comm);
    free(self->scratch.bytes);
    free(self->own.bytes);
    free(self->all.bytes);
    free(self);
}

status comm_mpi_create(MPI_Comm comm, struct backend *backend, struct communicator **out)
{
    struct comm_mpi *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a communicator");
    }
    self->backend = backend;
    self->base = (struct communicator){
        .name = "MPI in host memory",
        .sum = mpi_sum,
        .gather = mpi_gather,
        .gather_columns = mpi_gather_columns,
        .send = mpi_send,
        .receive = mpi_receive,
        .check = mpi_check_calls,
        .destroy = mpi_destroy,
    };
    for (int i = 0; i < SENDS_IN_FLIGHT; i++) {
        self->sends[i].request = MPI_REQUEST_NULL;
    }
    status s = mpi_check(MPI_Comm_dup(comm, &self->comm), "duplicate a communicator");
    if (s != STATUS_OK) {
        free(self);
        return s;
    }
    MPI_Comm_set_errhandler(self->comm, MPI_ERRORS_RETURN);
    MPI_Comm_rank(self->comm, &self->base.rank);
    MPI_Comm_size(self->comm, &self->base.size);
    *out = &self->base;
    return STATUS_OK;
}
