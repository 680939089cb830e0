/* SPDX-License-Identifier: Apache-2.0 */
/* Setting up what GPUs of one host share, and the calls through it. Nothing here needs it to be
 * there: whatever a driver or a container refuses leaves the group with NCCL alone, all ranks
 * alike. */
#include "comm/nccl/peer.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sluice/mpi_check.h"

static const double TRIAL_SECONDS = 10;

/* ---- Agreement ---- */

/* Whether it is so on every rank. */
static status agree(MPI_Comm group, bool *so)
{
    int all = *so;
    TRY(mpi_check(MPI_Allreduce(MPI_IN_PLACE, &all, 1, MPI_INT, MPI_MIN, group),
                  "agree on memory that GPUs share"));
    *so = all != 0;
    return STATUS_OK;
}

/* Whether all ranks of the group are on this one's host, and none is told to leave others' memory
 * alone. */
static status may_share(MPI_Comm group, bool *may)
{
    MPI_Comm host;
    TRY(mpi_check(MPI_Comm_split_type(group, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host),
                  "find the ranks of a host"));
    int here, all;
    MPI_Comm_size(host, &here);
    MPI_Comm_size(group, &all);
    MPI_Comm_free(&host);
    const char *disabled = getenv("NCCL_P2P_DISABLE");
    *may = here == all && (disabled == NULL || strcmp(disabled, "0") == 0);
    return agree(group, may);
}

/* ---- Rooms ---- */

static bool works(cudaError_t error)
{
    if (error != cudaSuccess) {
        (void)cudaGetLastError();
    }
    return error == cudaSuccess;
}

/* This rank's room and stop, both zero, and the room's handle. */
static bool create_own(struct peer_memory *memory, cudaStream_t stream, cudaIpcMemHandle_t *handle)
{
    char **own = &memory->rooms.at[memory->rooms.rank];
    if (!works(cudaMalloc((void **)own, PEER_ROOM_BYTES)) ||
        !works(cudaHostAlloc((void **)&memory->stop, sizeof *memory->stop, cudaHostAllocMapped))) {
        return false;
    }
    *memory->stop = 0;
    void *stop;
    if (!works(cudaHostGetDevicePointer(&stop, memory->stop, 0))) {
        return false;
    }
    memory->rooms.stop = stop;
    return works(cudaMemsetAsync(*own, 0, PEER_ROOM_BYTES, stream)) &&
           works(cudaStreamSynchronize(stream)) && works(cudaIpcGetMemHandle(handle, *own));
}

static bool open_others(struct peer_memory *memory, const cudaIpcMemHandle_t *handles)
{
    bool fine = true;
    for (int rank = 0; fine && rank < memory->rooms.ranks; rank++) {
        if (rank != memory->rooms.rank) {
            fine = works(cudaIpcOpenMemHandle((void **)&memory->rooms.at[rank], handles[rank],
                                              cudaIpcMemLazyEnablePeerAccess));
        }
    }
    return fine;
}

static status connect_rooms(MPI_Comm group, cudaStream_t stream, struct peer_memory *memory,
                            bool *fine)
{
    cudaIpcMemHandle_t own, handles[TREE_MAX_RANKS];
    memset(&own, 0, sizeof own);
    *fine = create_own(memory, stream, &own);
    TRY(agree(group, fine));
    if (!*fine) {
        return STATUS_OK;
    }
    TRY(mpi_check(MPI_Allgather(&own, sizeof own, MPI_BYTE, handles, sizeof own, MPI_BYTE, group),
                  "exchange handles of memory"));
    *fine = open_others(memory, handles);
    return agree(group, fine);
}

/* ---- A trial ---- */

enum { TRIAL_FLOATS = 4 * 1024 };

/* Exact in float32, and different for every rank and place. */
static float trial_value(int rank, int i)
{
    return (float)((rank + 1) * 8192 + i);
}

/* Waits for the stream, not for ever: what does not end is stopped. */
static bool wait_for(struct peer_memory *memory, cudaStream_t stream)
{
    const double until = clock_seconds() + TRIAL_SECONDS;
    cudaError_t state;
    while ((state = cudaStreamQuery(stream)) == cudaErrorNotReady) {
        if (clock_seconds() >= until) {
            peer_memory_stop(memory);
            (void)works(cudaStreamSynchronize(stream));
            return false;
        }
        nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
    }
    return works(state);
}

static bool sums_are_right(const struct peer_memory *memory, const float *sums)
{
    for (int i = 0; i < TRIAL_FLOATS; i++) {
        float expected = 0;
        for (int rank = 0; rank < memory->rooms.ranks; rank++) {
            expected += trial_value(rank, i);
        }
        if (sums[i] != expected) {
            return false;
        }
    }
    return true;
}

/* Two sums, one through each slot. */
static bool try_sums(struct peer_memory *memory, cudaStream_t stream)
{
    float values[TRIAL_FLOATS];
    float *data = NULL;
    bool fine = works(cudaMalloc((void **)&data, sizeof values));
    for (int slot = 0; fine && slot < 2; slot++) {
        for (int i = 0; i < TRIAL_FLOATS; i++) {
            values[i] = trial_value(memory->rooms.rank, i);
        }
        fine =
            works(cudaMemcpyAsync(data, values, sizeof values, cudaMemcpyHostToDevice, stream)) &&
            works(peer_sum(memory, stream, data, sizeof values)) && wait_for(memory, stream) &&
            works(cudaMemcpyAsync(values, data, sizeof values, cudaMemcpyDeviceToHost, stream)) &&
            works(cudaStreamSynchronize(stream)) && sums_are_right(memory, values);
    }
    (void)cudaFree(data);
    return fine;
}

/* ---- Life ---- */

status peer_memory_create(MPI_Comm group, cudaStream_t stream, struct peer_memory *memory)
{
    *memory = (struct peer_memory){0};
    bool fine;
    TRY(may_share(group, &fine));
    if (!fine) {
        return STATUS_OK;
    }
    MPI_Comm_rank(group, &memory->rooms.rank);
    MPI_Comm_size(group, &memory->rooms.ranks);
    status s = connect_rooms(group, stream, memory, &fine);
    if (s == STATUS_OK && fine) {
        fine = try_sums(memory, stream);
        s = agree(group, &fine);
    }
    if (s != STATUS_OK || !fine) {
        peer_memory_destroy(memory);
    }
    return s;
}

void peer_memory_stop(struct peer_memory *memory)
{
    if (memory->stop != NULL) {
        __atomic_store_n(memory->stop, 1, __ATOMIC_RELEASE);
    }
}

void peer_memory_destroy(struct peer_memory *memory)
{
    for (int rank = 0; rank < memory->rooms.ranks; rank++) {
        char *room = memory->rooms.at[rank];
        if (room != NULL && rank != memory->rooms.rank) {
            (void)works(cudaIpcCloseMemHandle(room));
        } else {
            (void)works(cudaFree(room));
        }
    }
    if (memory->stop != NULL) {
        (void)works(cudaFreeHost(memory->stop));
    }
    *memory = (struct peer_memory){0};
}

/* ---- Calls ---- */

bool peer_memory_takes(const struct peer_memory *memory, size_t bytes)
{
    return memory->rooms.ranks > 0 && bytes > 0 && bytes % 16 == 0 && bytes <= PEER_MOST_BYTES;
}

cudaError_t peer_gather(struct peer_memory *memory, cudaStream_t stream, const void *own,
                        size_t bytes, void *to)
{
    cudaError_t error = cudaSuccess;
    for (size_t first = 0; error == cudaSuccess && first < bytes; first += PEER_SLOT_BYTES) {
        const size_t left = bytes - first;
        error = peer_gather_launch(
            stream, &memory->rooms, ++memory->number, (const char *)own + first,
            left < PEER_SLOT_BYTES ? left : PEER_SLOT_BYTES, (char *)to + first, bytes);
    }
    return error;
}

cudaError_t peer_sum(struct peer_memory *memory, cudaStream_t stream, float *data, size_t bytes)
{
    cudaError_t error = cudaSuccess;
    for (size_t first = 0; error == cudaSuccess && first < bytes; first += PEER_SLOT_BYTES) {
        const size_t left = bytes - first;
        float *piece = data + first / sizeof *data;
        error = peer_sum_launch(stream, &memory->rooms, ++memory->number, piece,
                                left < PEER_SLOT_BYTES ? left : PEER_SLOT_BYTES, piece);
    }
    return error;
}
