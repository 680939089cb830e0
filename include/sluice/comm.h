/* The few collectives that a replica needs, on device buffers; MPI in host memory or NCCL in device
 * memory behind it.
 *
 * Sums are taken as the pairwise tree over ranks in rank order in float32, whatever the message's
 * size, so that a row's bits depend neither on its batch nor on a library's choice of algorithm.
 * Every function is collective over the communicator; all ranks pass the same sizes. */
#ifndef SLUICE_COMM_H
#define SLUICE_COMM_H

#include "sluice/backend.h"

struct communicator;

/* The fields are the interface; an implementation puts its own behind them. */
struct communicator {
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
    /* `bytes` from the start of the buffer to or from another rank, in order. send returns once the
     * buffer may be used again, without waiting for the receiver. */
    status (*send)(struct communicator *self, struct device_buffer *data, size_t bytes, int to);
    status (*receive)(struct communicator *self, struct device_buffer *data, size_t bytes,
                      int from);
    void (*destroy)(struct communicator *self);
    double seconds; /* spent in the calls above */
};

#endif
