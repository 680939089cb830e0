/* SPDX-License-Identifier: Apache-2.0 */
/* The few collectives that a replica needs, on device buffers; MPI in host memory or NCCL in device
 * memory behind it.
 *
 * Like the backend's operations the calls are asynchronous where the device is: they take their
 * turn among the backend's operations, and a failure may show only in `check`.
 *
 * Sums are taken as the pairwise tree over ranks in rank order in float32, whatever the message's
 * size, so that a row's bits depend neither on its batch nor on a library's choice of algorithm.
 * The calls are collective over the communicator (send and receive over the two ranks that they are
 * between); all ranks pass the same sizes. check and destroy are not collective. */
#ifndef SLUICE_COMM_H
#define SLUICE_COMM_H

#include "sluice/backend_kind.h"

struct communicator;

/* The fields are the interface; an implementation puts its own behind them. */
struct communicator {
    const char *name; /* what is behind it: "NCCL", "MPI in host memory" */
    int rank, size;
    /* data[count] float32, in place: each becomes the tree sum over ranks (size a power of two). */
    status (*sum)(struct communicator *self, struct device_buffer *data, size_t count);
    /* all = every rank's first `bytes` of `own`, one after the other in rank order. */
    status (*gather)(struct communicator *self, struct device_buffer *own,
                     struct device_buffer *all, size_t bytes);
    /* On rank 0: out[rows, sum of widths] = each rank's in[rows, its width] side by side in rank
     * order; widths[size] in elements of 4 bytes. `out` of other ranks is left alone. */
    status (*gather_columns)(struct communicator *self, struct device_buffer *in,
                             struct device_buffer *out, int rows, const int *widths);
    /* `bytes` from the start of the buffer to the next rank, or from the one before (a pipeline),
     * in order. What the backend does to the buffer after `send` does not change what is sent; the
     * receiver is not waited for. */
    status (*send)(struct communicator *self, struct device_buffer *data, size_t bytes, int to);
    status (*receive)(struct communicator *self, struct device_buffer *data, size_t bytes,
                      int from);
    /* Once the device has been waited for: fails where a call has failed meanwhile, because another
     * rank is gone or has not answered for `patience` seconds, which also ends the waiting; brings
     * `seconds` up to date. */
    status (*check)(struct communicator *self);
    /* The calls of all ranks must have ended, or the communicator must have failed. */
    void (*destroy)(struct communicator *self);
    double seconds;  /* spent in the calls above; on a GPU estimated from some of them */
    uint64_t bytes;  /* that this rank has sent in them to other ranks */
    double patience; /* may be set between calls; counts from the next one or the next check on */
};

/* ---- The memory that it takes: src/comm/comm_memory.c ---- */

/* Bytes of the largest message between stages of a pipeline whose steps have that shape: the
 * residual of all tokens. */
size_t comm_largest_send(const struct step_shape *shape);
/* Adds what a rank's communicators take beside the buffers that they are given: of a
 * tensor-parallel group of shape->ranks and a pipeline of `stages` on devices of that kind. Not
 * collective. */
void comm_add_scratch(const struct backend_kind *kind, const struct step_shape *shape, int stages,
                      struct scratch_bytes *total);

#endif
