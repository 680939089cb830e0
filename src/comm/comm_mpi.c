/* The communicator over MPI: sums as a pairwise tree in rank order, columns gathered to rank 0,
 * buffered sends.
 *
 * The tree is computed by recursive doubling: in round k ranks that differ in bit k exchange what
 * they have and add. Floating-point addition is commutative, so both get the same bits, and those
 * are the tree's: ((0+1)+(2+3))+((4+5)+(6+7)). */
#include "comm/comm_mpi.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { TAG_SUM = 1, TAG_STAGE = 2, SENDS_IN_FLIGHT = 4 };

struct pending_send {
    MPI_Request request;
    char *bytes;
    size_t capacity;
};

struct comm_mpi {
    struct communicator base;
    MPI_Comm comm;
    struct backend *backend;
    char *scratch;
    size_t scratch_capacity;
    struct pending_send sends[SENDS_IN_FLIGHT]; /* a ring */
    int next_send;
};

status mpi_check(int code, const char *what)
{
    if (code == MPI_SUCCESS) {
        return STATUS_OK;
    }
    char text[MPI_MAX_ERROR_STRING];
    int length = 0;
    MPI_Error_string(code, text, &length);
    return status_fail(STATUS_IO, "MPI: %s: %.*s", what, length, text);
}

static void *host(struct comm_mpi *self, struct device_buffer *buffer)
{
    return self->backend->operations->host_address(self->backend, buffer);
}

static status reserve(char **bytes, size_t *capacity, size_t needed)
{
    void *grown = *bytes;
    status s = array_grow(&grown, capacity, needed, 1);
    *bytes = grown;
    return s;
}

static status check_size(size_t bytes)
{
    return bytes <= INT_MAX
               ? STATUS_OK
               : status_fail(STATUS_LIMIT, "a message of %zu bytes between ranks", bytes);
}

static status mpi_sum(struct communicator *base, struct device_buffer *data, size_t count)
{
    struct comm_mpi *self = (struct comm_mpi *)base;
    double start = clock_seconds();
    size_t bytes = count * sizeof(float);
    TRY(check_size(bytes));
    TRY(reserve(&self->scratch, &self->scratch_capacity, bytes));
    float *own = host(self, data);
    float *other = (float *)(void *)self->scratch;
    for (int distance = 1; distance < base->size; distance *= 2) {
        int partner = base->rank ^ distance;
        TRY(mpi_check(MPI_Sendrecv(own, (int)count, MPI_FLOAT, partner, TAG_SUM, other, (int)count,
                                   MPI_FLOAT, partner, TAG_SUM, self->comm, MPI_STATUS_IGNORE),
                      "sum over tensor-parallel ranks"));
        for (size_t i = 0; i < count; i++) {
            own[i] += other[i];
        }
    }
    base->seconds += clock_seconds() - start;
    return STATUS_OK;
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
    TRY(check_size((size_t)rows * total));
    if (base->rank != 0) {
        TRY(mpi_check(MPI_Gatherv(host(self, in), rows * widths[base->rank], MPI_FLOAT, NULL, NULL,
                                  NULL, MPI_FLOAT, 0, self->comm),
                      "gather of logits"));
        base->seconds += clock_seconds() - start;
        return STATUS_OK;
    }
    size_t counts_bytes = 2 * (size_t)base->size * sizeof(int);
    TRY(reserve(&self->scratch, &self->scratch_capacity,
                (size_t)rows * total * sizeof(float) + counts_bytes));
    int *counts = (int *)(void *)self->scratch;
    int *starts = counts + base->size;
    float *blocks = (float *)(void *)(self->scratch + counts_bytes);
    int position = 0;
    for (int rank = 0; rank < base->size; rank++) {
        counts[rank] = rows * widths[rank];
        starts[rank] = position;
        position += counts[rank];
    }
    TRY(mpi_check(MPI_Gatherv(host(self, in), counts[0], MPI_FLOAT, blocks, counts, starts,
                              MPI_FLOAT, 0, self->comm),
                  "gather of logits"));
    float *whole = host(self, out);
    size_t column = 0;
    for (int rank = 0; rank < base->size; rank++) {
        size_t width = (size_t)widths[rank];
        for (int row = 0; row < rows; row++) {
            memcpy(whole + (size_t)row * total + column,
                   blocks + starts[rank] + (size_t)row * width, width * sizeof(float));
        }
        column += width;
    }
    base->seconds += clock_seconds() - start;
    return STATUS_OK;
}

static status mpi_send(struct communicator *base, struct device_buffer *data, size_t bytes, int to)
{
    struct comm_mpi *self = (struct comm_mpi *)base;
    double start = clock_seconds();
    TRY(check_size(bytes));
    struct pending_send *pending = &self->sends[self->next_send];
    self->next_send = (self->next_send + 1) % SENDS_IN_FLIGHT;
    TRY(mpi_check(MPI_Wait(&pending->request, MPI_STATUS_IGNORE), "send to the next stage"));
    TRY(reserve(&pending->bytes, &pending->capacity, bytes));
    memcpy(pending->bytes, host(self, data), bytes);
    TRY(mpi_check(MPI_Isend(pending->bytes, (int)bytes, MPI_BYTE, to, TAG_STAGE, self->comm,
                            &pending->request),
                  "send to the next stage"));
    base->seconds += clock_seconds() - start;
    return STATUS_OK;
}

static status mpi_receive(struct communicator *base, struct device_buffer *data, size_t bytes,
                          int from)
{
    struct comm_mpi *self = (struct comm_mpi *)base;
    double start = clock_seconds();
    TRY(check_size(bytes));
    TRY(mpi_check(MPI_Recv(host(self, data), (int)bytes, MPI_BYTE, from, TAG_STAGE, self->comm,
                           MPI_STATUS_IGNORE),
                  "receive from the stage before"));
    base->seconds += clock_seconds() - start;
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
            free(self->sends[i].bytes);
        }
    }
    MPI_Comm_free(&self->comm);
    free(self->scratch);
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
        .sum = mpi_sum,
        .gather_columns = mpi_gather_columns,
        .send = mpi_send,
        .receive = mpi_receive,
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
