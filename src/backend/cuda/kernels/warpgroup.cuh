/* SPDX-License-Identifier: Apache-2.0 */
/* What warpgroups (sm_90a) work with, an instruction each: products (wgmma) and their accumulators'
 * names, barriers in shared memory and the place in a ring of stages that they guard, copies of
 * tensors (TMA), and the blocks of a cluster. PTX ISA has them all. */
#ifndef SLUICE_CUDA_WARPGROUP_CUH
#define SLUICE_CUDA_WARPGROUP_CUH

#include <stdint.h>

/* What this thread wrote to shared memory is seen by warpgroups' products and by copies of tensors
 * and between blocks, once threads have met. */
__device__ __forceinline__ void show_copies()
{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

__device__ __forceinline__ void wait_for_products()
{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
#endif
}

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

/* ---- Products ---- */

/* Accumulators of 64 rows by N columns are float[N / 8][4] in each thread, as mma.sync has them. */

__device__ __forceinline__ void begin_products()
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

__device__ __forceinline__ void commit_products()
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/* All but the latest commit. */
__device__ __forceinline__ void wait_for_earlier_products()
{
    asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
}

/* The constraints of accumulators s from group n on, and their names, numbered from 0. */
#define SUM_4(s)      "+f"(s[0]), "+f"(s[1]), "+f"(s[2]), "+f"(s[3])
#define SUMS_2(s, n)  SUM_4(s[n]), SUM_4(s[n + 1])
#define SUMS_4(s, n)  SUMS_2(s, n), SUMS_2(s, n + 2)
#define SUMS_8(s, n)  SUMS_4(s, n), SUMS_4(s, n + 4)
#define SUMS_12(s, n) SUMS_8(s, n), SUMS_4(s, n + 8)
#define SUMS_16(s, n) SUMS_8(s, n), SUMS_8(s, n + 8)
#define SUMS_20(s, n) SUMS_16(s, n), SUMS_4(s, n + 16)
#define SUMS_24(s, n) SUMS_16(s, n), SUMS_8(s, n + 16)
#define SUMS_32(s, n) SUMS_16(s, n), SUMS_16(s, n + 16)
#define NAMES_16      "%0, %1, %2, %3, %4, %5, %6, %7"
#define NAMES_32                                                                                   \
    NAMES_16 ", "                                                                                  \
             "%8, %9, %10, %11, %12, %13, %14, %15"
#define NAMES_64                                                                                   \
    NAMES_32 ", "                                                                                  \
             "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define NAMES_96                                                                                   \
    NAMES_64 ", "                                                                                  \
             "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define NAMES_128                                                                                  \
    NAMES_96 ", "                                                                                  \
             "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define NAMES_160                                                                                  \
    NAMES_128 ", "                                                                                 \
              "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79"
#define NAMES_192                                                                                  \
    NAMES_160 ", "                                                                                 \
              "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define NAMES_224                                                                                  \
    NAMES_192 ", "                                                                                 \
              "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, "   \
              "%110, %111"
#define NAMES_256                                                                                  \
    NAMES_224                                                                                      \
    ", "                                                                                           \
    "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, "         \
    "%126, %127"

/* ---- Barriers ---- */

/* By their address in shared memory. */

__device__ __forceinline__ void barrier_create(uint32_t barrier, int arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals)
                 : "memory");
}

/* Barriers that were created are seen by copies of tensors and by the other blocks of a cluster,
 * once all threads have met. */
__device__ __forceinline__ void show_barriers()
{
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

__device__ __forceinline__ void barrier_arrive(uint32_t barrier)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

/* And the phase waits for so many bytes of copies. */
__device__ __forceinline__ void barrier_expect(uint32_t barrier, int bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
                 : "memory");
}

/* Until the phase of that parity has ended. */
__device__ __forceinline__ void barrier_wait(uint32_t barrier, uint32_t parity)
{
    uint32_t ended;
    do {
        asm volatile("{ .reg .pred ended; "
                     "mbarrier.try_wait.parity.shared::cta.b64 ended, [%1], %2; "
                     "selp.u32 %0, 1, 0, ended; }"
                     : "=r"(ended)
                     : "r"(barrier), "r"(parity)
                     : "memory");
    } while (ended == 0);
    __syncwarp();
}

/* Where a ring is: the stage that is next, and the parity of its phase. */
template <int STAGES> struct ring_place {
    int stage = 0;
    uint32_t parity = 0;

    __device__ __forceinline__ void advance()
    {
        stage++;
        if (stage == STAGES) {
            stage = 0;
            parity ^= 1;
        }
    }
};

/* ---- Shared memory, by its address ---- */

__device__ __forceinline__ uint4 load_piece(uint32_t from)
{
    uint4 piece;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(piece.x), "=r"(piece.y), "=r"(piece.z), "=r"(piece.w)
                 : "r"(from)
                 : "memory");
    return piece;
}

__device__ __forceinline__ void store_piece(uint32_t to, const uint4 &piece)
{
    asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(piece.x), "r"(piece.y),
                 "r"(piece.z), "r"(piece.w)
                 : "memory");
}

/* ---- Clusters ---- */

__device__ __forceinline__ int cluster_rank()
{
    uint32_t rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return (int)rank;
}

/* All threads of all blocks of the cluster meet; what they wrote is not shown by it. */
__device__ __forceinline__ void cluster_meet()
{
    asm volatile("barrier.cluster.arrive.relaxed.aligned; barrier.cluster.wait.aligned;" ::
                     : "memory");
}

/* Another block's shared memory: where what is at `address` here is there. */
__device__ __forceinline__ uint32_t address_in(uint32_t address, int rank)
{
    uint32_t there;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(address), "r"(rank));
    return there;
}

/* Arrives at another block's barrier. Nothing that this thread wrote is shown by it (that would
 * wait for all of its writes to memory); what it read before, may be written over then. */
__device__ __forceinline__ void barrier_arrive_in(uint32_t barrier, int rank)
{
    asm volatile("mbarrier.arrive.shared::cluster.b64 _, [%0];" ::"r"(address_in(barrier, rank))
                 : "memory");
}

/* Copies shared memory to another block's, whose barrier counts the bytes. */
__device__ __forceinline__ void copy_to_block(uint32_t to, uint32_t from, int bytes,
                                              uint32_t barrier, int rank)
{
    asm volatile("cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes "
                 "[%0], [%1], %2, [%3];" ::"r"(address_in(to, rank)),
                 "r"(from), "r"(bytes), "r"(address_in(barrier, rank))
                 : "memory");
}

/* One lane of a warp whose lanes are all here; the compiler knows that it is one, and asks for
 * copies without going through the lanes. */
__device__ __forceinline__ bool elected()
{
    uint32_t is;
    asm volatile("{ .reg .pred is; elect.sync _|is, 0xffffffff; selp.u32 %0, 1, 0, is; }"
                 : "=r"(is));
    return is != 0;
}

/* ---- Copies of tensors ---- */

/* One thread asks for a box of a tensor as its map describes it, from element (x, row, slice) on;
 * what lies outside of the tensor arrives as zeros, and is not written. */

__device__ __forceinline__ void tensor_read(uint32_t to, const void *map, int x, int row, int slice,
                                            uint32_t barrier)
{
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%2, %3, %4}], [%5];" ::"r"(to),
                 "l"(map), "r"(x), "r"(row), "r"(slice), "r"(barrier)
                 : "memory");
}

/* The same to the same place, and barrier, of each block of the cluster that the mask names. */
__device__ __forceinline__ void tensor_read_to_all(uint32_t to, const void *map, int x, int row,
                                                   int slice, uint32_t barrier, uint16_t blocks)
{
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
                 ".multicast::cluster [%0], [%1, {%2, %3, %4}], [%5], %6;" ::"r"(to),
                 "l"(map), "r"(x), "r"(row), "r"(slice), "r"(barrier), "h"(blocks)
                 : "memory");
}

__device__ __forceinline__ void tensor_map_fetch(const void *map)
{
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

/* ---- Dependent launches ---- */

/* What the stream has next may start where it can, if it was launched so. */
__device__ __forceinline__ void let_next_start()
{
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

/* Until what the stream had before has ended and its writes are seen by this thread. */
__device__ __forceinline__ void wait_for_before()
{
    asm volatile("griddepcontrol.wait;" ::: "memory");
}

#endif

#endif
