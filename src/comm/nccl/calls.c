/* SPDX-License-Identifier: Apache-2.0 */
/* The collectives over NCCL, all of them plain copies: what is added is added by a kernel of ours,
 * in the order of the tree, so that no sum depends on how NCCL cuts a message up. Sums and gathers
 * go through memory that the GPUs share where they do and the message is not too long: the same
 * bits, sooner. */
#include "comm/nccl/state.h"

static struct comm_nccl *self_of(struct communicator *base)
{
    return (struct comm_nccl *)base;
}

static status check_call(const struct comm_nccl *self, enum comm_use use,
                         const struct device_buffer *buffer, size_t bytes)
{
    if (self->use != use) {
        return status_fail(STATUS_INTERNAL, "NCCL: %s: a call of another kind of group",
                           self->what);
    }
    return bytes <= buffer->bytes
               ? STATUS_OK
               : status_fail(STATUS_INTERNAL, "NCCL: %s: %zu bytes of a buffer of %zu", self->what,
                             bytes, buffer->bytes);
}

/* ---- Tensor parallelism ---- */

/* Piece by piece, so that all ranks' blocks of it fit in the scratch. */
static status sum_pieces(struct comm_nccl *self, float *data, size_t count)
{
    const size_t ranks = (size_t)self->base.size;
    const size_t most = NCCL_SCRATCH_BYTES / sizeof(float) / ranks;
    cudaStream_t stream = self->cuda->stream;
    for (size_t first = 0; first < count; first += most) {
        const size_t now = count - first < most ? count - first : most;
        TRY(nccl_check(self, NCCL_GROUP,
                       ncclAllGather(data + first, self->scratch, now, ncclFloat32,
                                     self->members[NCCL_GROUP], stream),
                       "sum"));
        TRY(cuda_check(tree_sum_launch(stream, self->scratch, self->base.size, now, data + first),
                       "sum"));
    }
    return STATUS_OK;
}

status nccl_sum(struct communicator *base, struct device_buffer *data, size_t count)
{
    struct comm_nccl *self = self_of(base);
    TRY(check_call(self, COMM_TENSOR, data, count * sizeof(float)));
    TRY(nccl_call_begin(self, true));
    const size_t bytes = count * sizeof(float);
    base->bytes += bytes * (size_t)(base->size - 1);
    cudaStream_t stream = self->cuda->stream;
    const status s = peer_memory_takes(&self->peers, bytes)
                         ? cuda_check(peer_sum(&self->peers, stream, data->data, bytes), "sum")
                         : sum_pieces(self, data->data, count);
    return nccl_call_end(self, s, &self->own_mark, stream);
}

status nccl_gather(struct communicator *base, struct device_buffer *own, struct device_buffer *all,
                   size_t bytes)
{
    struct comm_nccl *self = self_of(base);
    TRY(check_call(self, COMM_TENSOR, own, bytes));
    TRY(check_call(self, COMM_TENSOR, all, bytes * (size_t)base->size));
    cuda_buffer_is_plain(all);
    TRY(nccl_call_begin(self, true));
    base->bytes += bytes * (size_t)(base->size - 1);
    cudaStream_t stream = self->cuda->stream;
    const status s =
        peer_memory_takes(&self->peers, bytes)
            ? cuda_check(peer_gather(&self->peers, stream, own->data, bytes, all->data),
                         "gather of partial sums")
            : nccl_check(self, NCCL_GROUP,
                         ncclAllGather(own->data, all->data, bytes, ncclInt8,
                                       self->members[NCCL_GROUP], stream),
                         "gather of partial sums");
    return nccl_call_end(self, s, &self->own_mark, stream);
}

/* What gather_columns moves, in pieces of whole rows. */
struct columns {
    const float *in; /* [rows, widths[rank]] */
    float *out;      /* rank 0: [rows, total] */
    const int *widths;
    int total;
};

/* Rows [first, first + count) of the ranks' blocks, to the scratch of rank 0. */
static status exchange_rows(struct comm_nccl *self, const struct columns *columns, int first,
                            int count)
{
    const int rank = self->base.rank;
    ncclComm_t group = self->members[NCCL_GROUP];
    cudaStream_t stream = self->cuda->stream;
    ncclResult_t code = ncclGroupStart();
    if (rank != 0 && columns->widths[rank] > 0) {
        const size_t width = (size_t)columns->widths[rank];
        const ncclResult_t sent = ncclSend(columns->in + (size_t)first * width,
                                           (size_t)count * width, ncclFloat32, 0, group, stream);
        code = code == ncclSuccess ? sent : code;
    }
    float *to = self->scratch;
    for (int from = 1; rank == 0 && from < self->base.size; from++) {
        const size_t values = (size_t)count * (size_t)columns->widths[from];
        if (values > 0) {
            const ncclResult_t received = ncclRecv(to, values, ncclFloat32, from, group, stream);
            code = code == ncclSuccess ? received : code;
        }
        to += values;
    }
    const ncclResult_t ended = ncclGroupEnd();
    return nccl_check(self, NCCL_GROUP, code == ncclSuccess ? ended : code, "gather of logits");
}

/* The same rows side by side. */
static status place_rows(struct comm_nccl *self, const struct columns *columns, int first,
                         int count)
{
    const size_t pitch = (size_t)columns->total * sizeof(float);
    float *out = columns->out + (size_t)first * (size_t)columns->total;
    const float *blocks = self->scratch;
    for (int rank = 0; rank < self->base.size; rank++) {
        const size_t width = (size_t)columns->widths[rank];
        const size_t bytes = width * sizeof(float);
        const float *from = rank == 0 ? columns->in + (size_t)first * width : blocks;
        if (width > 0) {
            TRY(cuda_check(cudaMemcpy2DAsync(out, pitch, from, bytes, bytes, (size_t)count,
                                             cudaMemcpyDeviceToDevice, self->cuda->stream),
                           "gather of logits"));
        }
        out += width;
        blocks += rank == 0 ? 0 : (size_t)count * width;
    }
    return STATUS_OK;
}

static status gather_rows(struct comm_nccl *self, const struct columns *columns, int rows)
{
    const size_t most = NCCL_SCRATCH_BYTES / ((size_t)columns->total * sizeof(float));
    if (most == 0) {
        return status_fail(STATUS_LIMIT, "NCCL: rows of %d logits are too long", columns->total);
    }
    for (int first = 0; first < rows; first += (int)most) {
        const int count = (size_t)(rows - first) < most ? rows - first : (int)most;
        TRY(exchange_rows(self, columns, first, count));
        if (self->base.rank == 0) {
            TRY(place_rows(self, columns, first, count));
        }
    }
    return STATUS_OK;
}

status nccl_gather_columns(struct communicator *base, struct device_buffer *in,
                           struct device_buffer *out, int rows, const int *widths)
{
    struct comm_nccl *self = self_of(base);
    struct columns columns = {.in = in->data, .widths = widths};
    for (int rank = 0; rank < base->size; rank++) {
        columns.total += widths[rank];
    }
    TRY(check_call(self, COMM_TENSOR, in,
                   (size_t)rows * (size_t)widths[base->rank] * sizeof(float)));
    if (base->rank == 0) {
        TRY(check_call(self, COMM_TENSOR, out,
                       (size_t)rows * (size_t)columns.total * sizeof(float)));
        cuda_buffer_is_plain(out);
        columns.out = out->data;
    }
    if (rows == 0 || columns.total == 0) {
        return STATUS_OK;
    }
    TRY(nccl_call_begin(self, true));
    base->bytes += base->rank != 0 ? (size_t)rows * (size_t)widths[base->rank] * sizeof(float) : 0;
    return nccl_call_end(self, gather_rows(self, &columns, rows), &self->own_mark,
                         self->cuda->stream);
}

/* ---- Pipeline ---- */

/* Copies on the backend's stream, sends on the other: the backend's next operations wait for the
 * copy alone, and for the receiver only where all slots are on their way. */
static status send_slot(struct comm_nccl *self, struct nccl_slot *slot, const void *data,
                        size_t bytes)
{
    cudaStream_t stream = self->cuda->stream;
    TRY(cuda_check(cudaStreamWaitEvent(stream, slot->sent, 0), "send to the next stage"));
    TRY(cuda_check(cudaMemcpyAsync(slot->data, data, bytes, cudaMemcpyDeviceToDevice, stream),
                   "send to the next stage"));
    TRY(cuda_check(cudaEventRecord(slot->filled, stream), "send to the next stage"));
    TRY(cuda_check(cudaStreamWaitEvent(self->sending, slot->filled, 0), "send to the next stage"));
    TRY(nccl_check(
        self, NCCL_NEXT,
        ncclSend(slot->data, bytes, ncclInt8, 1, self->members[NCCL_NEXT], self->sending),
        "send to the next stage"));
    return cuda_check(cudaEventRecord(slot->sent, self->sending), "send to the next stage");
}

status nccl_send(struct communicator *base, struct device_buffer *data, size_t bytes, int to)
{
    struct comm_nccl *self = self_of(base);
    TRY(check_call(self, COMM_PIPELINE, data, bytes));
    if (to != base->rank + 1 || to >= base->size || bytes > self->largest_bytes) {
        return status_fail(STATUS_INTERNAL, "NCCL: %zu bytes from stage %d of %d to stage %d",
                           bytes, base->rank, base->size, to);
    }
    TRY(nccl_call_begin(self, false));
    base->bytes += bytes;
    struct nccl_slot *slot = &self->slots[self->next_slot];
    self->next_slot = (self->next_slot + 1) % NCCL_SLOTS;
    return nccl_call_end(self, send_slot(self, slot, data->data, bytes), &self->sending_mark,
                         self->sending);
}

status nccl_receive(struct communicator *base, struct device_buffer *data, size_t bytes, int from)
{
    struct comm_nccl *self = self_of(base);
    TRY(check_call(self, COMM_PIPELINE, data, bytes));
    if (from != base->rank - 1 || from < 0) {
        return status_fail(STATUS_INTERNAL, "NCCL: stage %d of %d receives from stage %d",
                           base->rank, base->size, from);
    }
    cuda_buffer_is_plain(data);
    TRY(nccl_call_begin(self, true));
    /* In its turn on the backend's stream: the operations before may still read the buffer, those
     * after read what comes. */
    const status s = nccl_check(
        self, NCCL_BEFORE,
        ncclRecv(data->data, bytes, ncclInt8, 0, self->members[NCCL_BEFORE], self->cuda->stream),
        "receive from the stage before");
    return nccl_call_end(self, s, &self->own_mark, self->cuda->stream);
}
