/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the communicator over NCCL: what comm_nccl.c (life, failure, time) and calls.c share.
 *
 * Everything but the constants of creation is guarded by `lock`: the watchdog's thread looks at
 * events and errors, and takes NCCL's communicators away from a call that cannot end. */
#ifndef SLUICE_COMM_NCCL_STATE_H
#define SLUICE_COMM_NCCL_STATE_H

#include <nccl.h>
#include <pthread.h>

#include "backend/cuda/cuda.h"
#include "comm/nccl/memory.h"
#include "comm/nccl/peer.h"
#include "comm/nccl/tree.h"
#include "comm/watchdog.h"
#include "sluice/comm_create.h"

enum {
    NCCL_SAMPLES = 64,
};

/* A copy of what is being sent. */
struct nccl_slot {
    void *data;
    cudaEvent_t filled, sent;
};

/* Events around a call on the backend's stream, which stands for `weight` calls. */
struct nccl_sample {
    cudaEvent_t start, end;
    double weight;
};

/* The latest work on a stream. */
struct nccl_mark {
    cudaEvent_t event;
    bool pending;
};

/* NCCL's communicators: of all ranks (COMM_TENSOR), or one for each neighbour (COMM_PIPELINE), so
 * that sending and receiving do not wait for each other. The earlier rank of a link is its rank 0.
 */
enum nccl_member { NCCL_GROUP, NCCL_BEFORE, NCCL_NEXT, NCCL_MEMBERS };

struct comm_nccl {
    struct communicator base;
    enum comm_use use;
    const char *what; /* "tensor-parallel group", for messages */
    struct cuda_backend *cuda;
    size_t largest_bytes;
    int sample_every; /* calls */
    struct watchdog *watchdog;
    double last_patience; /* the watchdog's own: as it last saw it */

    pthread_mutex_t lock;
    ncclComm_t members[NCCL_MEMBERS]; /* NULL where there is none */
    bool failed;
    char failure[512];
    double patience;

    void *scratch;            /* NCCL_SCRATCH_BYTES; COMM_TENSOR */
    struct peer_memory peers; /* COMM_TENSOR, where the GPUs can share memory */
    cudaStream_t sending;
    struct nccl_slot slots[NCCL_SLOTS];
    int next_slot;

    struct nccl_mark own_mark, sending_mark;  /* on the backend's stream and on `sending` */
    struct nccl_sample samples[NCCL_SAMPLES]; /* a ring */
    int first_sample, sample_count;
    bool sampling; /* the call under way is sampled */
    int calls_since_sample;
    uint64_t ended;  /* samples and marks */
    double measured; /* seconds that base.seconds lacks */
};

/* A call on the backend's stream, or with `sampled` false one whose time is not time lost. Between
 * begin and end the lock is held; begin fails, without the lock, where the communicator has failed.
 * end returns `s`, or the failure of its own bookkeeping. */
status nccl_call_begin(struct comm_nccl *self, bool sampled) MUST_CHECK;
status nccl_call_end(struct comm_nccl *self, status s, struct nccl_mark *mark,
                     cudaStream_t stream) MUST_CHECK;
/* NCCL's code as a status; with the lock held. */
status nccl_check(struct comm_nccl *self, enum nccl_member member, ncclResult_t code,
                  const char *what) MUST_CHECK;

/* calls.c: the functions of struct communicator */
status nccl_sum(struct communicator *base, struct device_buffer *data, size_t count);
status nccl_gather(struct communicator *base, struct device_buffer *own, struct device_buffer *all,
                   size_t bytes);
status nccl_gather_columns(struct communicator *base, struct device_buffer *in,
                           struct device_buffer *out, int rows, const int *widths);
status nccl_send(struct communicator *base, struct device_buffer *data, size_t bytes, int to);
status nccl_receive(struct communicator *base, struct device_buffer *data, size_t bytes, int from);

#endif
