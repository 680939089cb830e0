/* SPDX-License-Identifier: Apache-2.0 */
/* One kernel a call. A block lays its share of the rank's own values out in the rank's room, says
 * so to the same block of every other rank, waits until they have said so too, and fetches their
 * shares, which it stores (gather) or adds as the tree (sum).
 *
 * One round of flags a call is enough: calls use two slots in turn, and a rank that has seen
 * everybody's flag of call n knows that nobody still reads what was laid out for call n - 1. Blocks
 * share out the values alike on every rank, so a block waits for one block of each other rank.
 *
 * Floor: (ranks - 1) · bytes over the links, and a flag's way there. */
#include "comm/nccl/peer_kernel.h"

enum { THREADS = 512, VALUES = 4, LOOKS_BETWEEN_STOPS = 256 };

struct peer_call {
    struct peer_rooms rooms;
    uint32_t number;
    const float4 *own;
    size_t count; /* of float4 */
    float4 *to;
    size_t pitch; /* of float4 */
};

__device__ __forceinline__ float4 add(float4 a, float4 b)
{
    return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

/* Everything that the block has stored before is seen by who reads the flag. */
__device__ __forceinline__ void raise(uint32_t *flag, uint32_t number)
{
    asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(flag), "r"(number) : "memory");
}

__device__ __forceinline__ uint32_t look(const uint32_t *flag)
{
    uint32_t number;
    asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(number) : "l"(flag) : "memory");
    return number;
}

__device__ __forceinline__ uint32_t *flag_of(const struct peer_rooms &rooms, int room, int rank)
{
    return reinterpret_cast<uint32_t *>(rooms.at[room]) + (size_t)rank * PEER_BLOCKS + blockIdx.x;
}

__device__ __forceinline__ float4 *slot_of(const struct peer_rooms &rooms, int room,
                                           uint32_t number)
{
    return reinterpret_cast<float4 *>(rooms.at[room] + PEER_FLAG_BYTES +
                                      (size_t)(number & 1) * PEER_SLOT_BYTES);
}

/* Between two barriers: thread r meets rank r. */
__device__ __forceinline__ void meet(const struct peer_call &call, int ranks)
{
    const struct peer_rooms &rooms = call.rooms;
    const int other = (int)threadIdx.x;
    if (other >= ranks || other == rooms.rank) {
        return;
    }
    raise(flag_of(rooms, other, rooms.rank), call.number);
    const uint32_t *flag = flag_of(rooms, rooms.rank, other);
    const volatile int *stop = rooms.stop;
    for (unsigned looks = 1; (int32_t)(look(flag) - call.number) < 0; looks++) {
        if (looks % LOOKS_BETWEEN_STOPS == 0 && *stop != 0) {
            return;
        }
    }
}

/* What all ranks have at i: added up, or put where it belongs (the own one is there). */
template <int RANKS, bool SUM>
__device__ __forceinline__ void finish(const struct peer_call &call, float4 (&part)[RANKS],
                                       size_t i)
{
    if constexpr (SUM) {
#pragma unroll
        for (int distance = 1; distance < RANKS; distance *= 2) {
#pragma unroll
            for (int r = 0; r + distance < RANKS; r += 2 * distance) {
                part[r] = add(part[r], part[r + distance]);
            }
        }
        call.to[i] = part[0];
    } else {
#pragma unroll
        for (int r = 0; r < RANKS; r++) {
            if (r != call.rooms.rank) {
                call.to[(size_t)r * call.pitch + i] = part[r];
            }
        }
    }
}

template <int RANKS, bool SUM>
__global__ void __launch_bounds__(THREADS) peer_kernel(struct peer_call call)
{
    const size_t share = (call.count + gridDim.x - 1) / gridDim.x;
    const size_t first = share * blockIdx.x;
    const size_t end = first + share < call.count ? first + share : call.count;
    const int rank = call.rooms.rank;

    float4 *room = slot_of(call.rooms, rank, call.number);
    for (size_t i = first + threadIdx.x; i < end; i += THREADS) {
        const float4 value = call.own[i];
        room[i] = value;
        if (!SUM) {
            call.to[(size_t)rank * call.pitch + i] = value;
        }
    }
    __syncthreads();
    meet(call, RANKS);
    __syncthreads();

    /* Several of each rank's values are under way at once: a link answers after a microsecond. */
    for (size_t base = first + threadIdx.x; base < end; base += THREADS * VALUES) {
        float4 part[VALUES][RANKS];
#pragma unroll
        for (int r = 0; r < RANKS; r++) {
            const float4 *from = r == rank ? call.own : slot_of(call.rooms, r, call.number);
#pragma unroll
            for (int v = 0; v < VALUES; v++) {
                const size_t i = base + (size_t)v * THREADS;
                if (i < end && (SUM || r != rank)) {
                    part[v][r] = r == rank ? from[i] : __ldcv(from + i);
                }
            }
        }
#pragma unroll
        for (int v = 0; v < VALUES; v++) {
            const size_t i = base + (size_t)v * THREADS;
            if (i < end) {
                finish<RANKS, SUM>(call, part[v], i);
            }
        }
    }
}

template <bool SUM> static cudaError_t launch(cudaStream_t stream, const struct peer_call *call)
{
    const size_t most = (call->count + THREADS - 1) / THREADS;
    const unsigned grid = (unsigned)(most < PEER_BLOCKS ? most : PEER_BLOCKS);
    switch (call->rooms.ranks) {
    case 2:
        peer_kernel<2, SUM><<<grid, THREADS, 0, stream>>>(*call);
        break;
    case 4:
        peer_kernel<4, SUM><<<grid, THREADS, 0, stream>>>(*call);
        break;
    case 8:
        peer_kernel<8, SUM><<<grid, THREADS, 0, stream>>>(*call);
        break;
    default:
        return cudaErrorInvalidValue;
    }
    return cudaGetLastError();
}

static bool is_fit(const void *own, size_t bytes, const void *to, size_t pitch)
{
    return bytes > 0 && bytes <= PEER_SLOT_BYTES && bytes % 16 == 0 && pitch % 16 == 0 &&
           (uintptr_t)own % 16 == 0 && (uintptr_t)to % 16 == 0;
}

cudaError_t peer_gather_launch(cudaStream_t stream, const struct peer_rooms *rooms, uint32_t number,
                               const void *own, size_t bytes, void *to, size_t pitch)
{
    if (!is_fit(own, bytes, to, pitch)) {
        return cudaErrorInvalidValue;
    }
    const struct peer_call call = {
        *rooms,    number, static_cast<const float4 *>(own), bytes / 16, static_cast<float4 *>(to),
        pitch / 16};
    return launch<false>(stream, &call);
}

cudaError_t peer_sum_launch(cudaStream_t stream, const struct peer_rooms *rooms, uint32_t number,
                            const float *own, size_t bytes, float *to)
{
    if (!is_fit(own, bytes, to, 0)) {
        return cudaErrorInvalidValue;
    }
    const struct peer_call call = {*rooms,
                                   number,
                                   reinterpret_cast<const float4 *>(own),
                                   bytes / 16,
                                   reinterpret_cast<float4 *>(to),
                                   0};
    return launch<true>(stream, &call);
}
