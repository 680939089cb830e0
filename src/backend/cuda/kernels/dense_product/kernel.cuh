/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel of launch.cu, which says what it computes, in all its variants.
 *
 * A block makes tiles of ROWS weights by TOKENS rows of the input, one after the other. A producing
 * warp asks for stages of 128 bytes of k of both operands, as far ahead as the ring in shared
 * memory has room, across tiles; GROUPS warpgroups multiply, each SUBS times 64 of the weights by
 * all of the tokens. Weights are the first operand (m64) whatever the number of tokens, so that a
 * tile of few tokens wastes little and there is one arithmetic.
 *
 * Two ways to work together in a cluster:
 *   PAIR   two blocks with the same tokens and neighbouring weights: each asks for half of the
 *          tokens' stage, for both.
 *   SPLIT  as many blocks as slices with the same tile, each with one slice; they send their
 *          rounded sums to each other, and each adds up a share of the tile's tokens. */
#ifndef SLUICE_CUDA_DENSE_PRODUCT_KERNEL_CUH
#define SLUICE_CUDA_DENSE_PRODUCT_KERNEL_CUH

#include "backend/cuda/kernels/dense_product/sums.cuh"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

/* The producing warp. */
template <class Shape> struct dense_producer {
    static constexpr int SHARE = Shape::TOKENS / Shape::BLOCKS; /* of the tokens, asked for here */

    const dense_work &work;
    dense_memory<Shape> memory;
    dense_place block;
    ring_place<Shape::STAGES> place;

    __device__ __forceinline__ dense_producer(const dense_work &all,
                                              const dense_memory<Shape> &shared,
                                              const dense_place &where)
        : work(all), memory(shared), block(where)
    {
    }

    __device__ __forceinline__ int rank() const
    {
        return Shape::PAIR ? block.rank : 0;
    }

    __device__ __forceinline__ int first_slice() const
    {
        return Shape::SPLIT ? block.rank : 0;
    }

    __device__ __forceinline__ void ask_for_weights(int stage, int tile, int slice, int step) const
    {
        if (elected()) {
            const uint32_t full = memory.full(stage);
            barrier_expect(full, Shape::STAGE_BYTES);
            const int weight = (tile * Shape::BLOCKS + rank()) * Shape::ROWS;
            tensor_read(memory.weights(stage), &work.weights, step * Shape::VALUES, weight, slice,
                        full);
        }
    }

    __device__ __forceinline__ void ask_for_tokens(int stage, int tile, int slice, int step) const
    {
        if (elected()) {
            const uint32_t full = memory.full(stage);
            const uint32_t to =
                memory.tokens(stage) + (uint32_t)(rank() * SHARE * Shape::STAGE_WIDTH);
            const int x = step * Shape::VALUES, token = tile * Shape::TOKENS + rank() * SHARE;
            if constexpr (Shape::PAIR) {
                tensor_read_to_all(to, &work.in, x, token, slice, full, 3);
            } else {
                tensor_read(to, &work.in, x, token, slice, full);
            }
        }
    }

    /* The first stages' weights, which nothing before in the stream writes; how many stages. */
    __device__ __forceinline__ int start_early() const
    {
        const int asked = min(Shape::STAGES, Shape::SLICES * work.steps);
        with_tile(work, block.cluster, [&](int, int weight_tile) {
            for (int i = 0; i < asked; i++) {
                ask_for_weights(i, weight_tile, first_slice() + i / work.steps, i % work.steps);
            }
        });
        return asked;
    }

    __device__ __forceinline__ void run()
    {
        int asked = 0;
        if (work.call.starts_early) {
            asked = start_early();
            wait_for_before();
        }
        each_tile(work, block.cluster, block.clusters, [&](int token_tile, int weight_tile) {
            for (int i = 0; i < Shape::SLICES; i++) {
                const int slice = first_slice() + i;
                for (int step = 0; step < work.steps; step++) {
                    if (asked > 0) {
                        asked--;
                    } else {
                        barrier_wait(memory.empty(place.stage), place.parity ^ 1);
                        ask_for_weights(place.stage, weight_tile, slice, step);
                    }
                    ask_for_tokens(place.stage, token_tile, slice, step);
                    place.advance();
                }
            }
        });
        /* No block ends before all arrivals from others. */
        for (int i = 0; i < Shape::STAGES; i++) {
            barrier_wait(memory.empty(place.stage), place.parity ^ 1);
            place.advance();
        }
    }
};

#endif

/* ---- The kernel ---- */

template <class Shape>
__global__ void __launch_bounds__(Shape::THREADS + Shape::PRODUCERS, 1)
    dense_kernel(const __grid_constant__ dense_work work)
{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    extern __shared__ __align__(1024) char stages[]; /* as the swizzle wants it */
    dense_memory<Shape> memory;
    asm volatile("{ .reg .u64 at; cvta.to.shared.u64 at, %1; cvt.u32.u64 %0, at; }"
                 : "=r"(memory.base)
                 : "l"(stages));
    const int thread = (int)threadIdx.x;
    const int blocks = Shape::SPLIT ? work.call.slices : Shape::BLOCKS;
    dense_place block;
    block.rank = blocks > 1 ? cluster_rank() : 0;
    block.cluster = (int)blockIdx.x / blocks;
    block.clusters = (int)gridDim.x / blocks;
    if (thread == 0) {
        tensor_map_fetch(&work.weights);
        tensor_map_fetch(&work.in);
        memory.create_barriers(blocks);
        if (work.call.starts_early) {
            let_next_start();
        }
    }
    if constexpr (Shape::SPLIT || Shape::PAIR) {
        cluster_meet();
    } else {
        __syncthreads();
    }
    if (thread >= Shape::THREADS) {
        if constexpr (Shape::GROUPS > 1) {
            asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Shape::FEW_REGISTERS));
        }
        if (thread < Shape::THREADS + 32) {
            dense_producer<Shape> producer(work, memory, block);
            producer.run();
        }
    } else {
        if constexpr (Shape::GROUPS > 1) {
            asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Shape::REGISTERS));
        }
        if (work.call.starts_early) {
            wait_for_before();
        }
        dense_warp<Shape> warp(work, memory, block, thread);
        warp.run();
    }
#else
    __trap(); /* not launched on such a device */
#endif
}

#endif
