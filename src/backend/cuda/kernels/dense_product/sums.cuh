/* SPDX-License-Identifier: Apache-2.0 */
/* The multiplying warps of dense_kernel: sums of slices, their scales and their tree, and results.
 */
#ifndef SLUICE_CUDA_DENSE_PRODUCT_SUMS_CUH
#define SLUICE_CUDA_DENSE_PRODUCT_SUMS_CUH

#include "backend/cuda/kernels/dense_product/tile.cuh"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

/* A warp of a warpgroup that multiplies. A thread's sums [sub][n][i]: weight warp_row + 64 sub +
 * lane / 4 + 8 (i / 2) of the tile, token 8 n + 2 (lane % 4) + i % 2. */
template <class Shape> struct dense_warp {
    static constexpr int N = Shape::TOKENS / 8;
    typedef float sums[Shape::SUBS][N][4];
    typedef uint32_t pairs[Shape::SUBS][N][2]; /* rounded: tokens side by side */

    const dense_work &work;
    dense_memory<Shape> memory;
    dense_place block;
    int group, warp, lane;  /* warp: of the group; the compiler is to know that they are a warp's */
    uint32_t first_operand; /* the group's weights in the first stage */
    ring_place<Shape::STAGES> place;
    int first_token, first_weight; /* of the tile at hand; of it and the group */
    uint32_t split_parity;

    __device__ __forceinline__ dense_warp(const dense_work &all, const dense_memory<Shape> &shared,
                                          const dense_place &where, int thread)
        : work(all), memory(shared), block(where), group(__shfl_sync(0xffffffffu, thread / 128, 0)),
          warp(__shfl_sync(0xffffffffu, thread / 32 % 4, 0)), lane(thread % 32),
          first_operand(
              dense_operand(shared.weights(0) + (uint32_t)(group * Shape::GROUP_ROWS * 128))),
          split_parity(0)
    {
    }

    /* To the blocks whose copies go to the stage. */
    __device__ __forceinline__ void release(int stage) const
    {
        if constexpr (Shape::PAIR) {
            if (lane < 2) {
                barrier_arrive_in(memory.empty(stage), lane);
            }
        } else if (lane == 0) {
            barrier_arrive(memory.empty(stage));
        }
    }

    __device__ __forceinline__ void start_stage(sums &sum, bool add) const
    {
        const uint32_t weights = first_operand + (uint32_t)(place.stage * Shape::STAGE_BYTES / 16);
        const uint32_t in = dense_operand(memory.tokens(place.stage));
        begin_products();
#pragma unroll
        for (int step = 0; step < Shape::STAGE_WIDTH / 32; step++) {
#pragma unroll
            for (int sub = 0; sub < Shape::SUBS; sub++) {
                dense_multiply<typename Shape::T>(
                    sum[sub],
                    dense_descriptor(weights + (uint32_t)(sub * 64 * 128 / 16 + 2 * step)),
                    dense_descriptor(in + (uint32_t)(2 * step)), add || step > 0);
            }
        }
        commit_products();
    }

    static __device__ __forceinline__ void pin(sums &sum)
    {
#pragma unroll
        for (int sub = 0; sub < Shape::SUBS; sub++) {
#pragma unroll
            for (int n = 0; n < N; n++) {
                asm volatile("" : SUM_4(sum[sub][n])::"memory");
            }
        }
    }

    /* sum = the products of the next slice: one chain over its k. */
    __device__ __forceinline__ void run_slice(sums &sum)
    {
        int before = 0;
        for (int step = 0; step < work.steps; step++) {
            barrier_wait(memory.full(place.stage), place.parity);
            start_stage(sum, step > 0);
            if (step > 0) {
                wait_for_earlier_products();
                release(before);
            }
            before = place.stage;
            place.advance();
        }
        wait_for_products();
        pin(sum);
        release(before);
    }

    /* Scales of the thread's weights and of two of its tokens. */
    struct scales {
        float weight[Shape::SUBS][2];
        float2 token;

        __device__ __forceinline__ float of(int sub, int i) const
        {
            return __fmul_rn(i % 2 == 0 ? token.x : token.y, weight[sub][i / 2]);
        }
    };

    __device__ __forceinline__ int weight_of(int sub, int half) const
    {
        return first_weight + 64 * sub + 16 * warp + lane / 4 + 8 * half;
    }

    __device__ __forceinline__ int token_of(int n, int i) const
    {
        return first_token + 8 * n + lane % 4 * 2 + i;
    }

    /* Starts to bring the tile's scales to shared memory, zeros for what is not there. */
    __device__ __forceinline__ void fetch_scales() const
    {
        const dense_product &call = work.call;
        if (call.in_scale == nullptr) {
            return;
        }
        meet_group(group); /* all are done with those before */
        const int slices = Shape::SPLIT ? call.slices : Shape::SLICES;
        for (int slice = 0; slice < slices; slice++) {
            const float *tokens = call.in_scale + (size_t)slice * (size_t)call.in_scale_stride;
            const float *weights = call.weight_scale + (size_t)slice * (size_t)call.columns;
            for (int i = 32 * warp + lane; i < Shape::SCALES; i += 128) {
                const bool is_token = i < Shape::TOKENS;
                const int at = is_token ? first_token + i : first_weight + i - Shape::TOKENS;
                const bool is_there = at < (is_token ? call.rows : call.columns);
                fetch_float(memory.scales(group) + (uint32_t)(4 * (slice * Shape::SCALES + i)),
                            (is_token ? tokens : weights) + (is_there ? at : 0), is_there);
            }
        }
    }

    /* Until they are there; all slices' are by the end of the first. */
    __device__ __forceinline__ void wait_for_scales() const
    {
        if (work.call.in_scale != nullptr) {
            asm volatile("cp.async.wait_all;" ::: "memory");
            meet_group(group);
        }
    }

    __device__ __forceinline__ void read_weight_scales(int slice, scales *to) const
    {
        const uint32_t from =
            memory.scales(group) +
            (uint32_t)(4 * (slice * Shape::SCALES + Shape::TOKENS + 16 * warp + lane / 4));
#pragma unroll
        for (int sub = 0; sub < Shape::SUBS; sub++) {
            to->weight[sub][0] = load_float(from + (uint32_t)(4 * 64 * sub));
            to->weight[sub][1] = load_float(from + (uint32_t)(4 * (64 * sub + 8)));
        }
    }

    __device__ __forceinline__ void read_token_scales(int slice, int n, scales *to) const
    {
        to->token = load_floats(memory.scales(group) +
                                (uint32_t)(4 * (slice * Shape::SCALES + 8 * n + lane % 4 * 2)));
    }

    /* sum = scale · sum, of an only slice. */
    __device__ __forceinline__ void scale_sum(sums &sum) const
    {
        if (work.call.in_scale == nullptr) {
            return;
        }
        scales s;
        read_weight_scales(0, &s);
#pragma unroll
        for (int n = 0; n < N; n++) {
            read_token_scales(0, n, &s);
#pragma unroll
            for (int sub = 0; sub < Shape::SUBS; sub++) {
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    sum[sub][n][i] = __fmul_rn(sum[sub][n][i], s.of(sub, i));
                }
            }
        }
    }

    static __device__ __forceinline__ void round_sums(const sums &sum, pairs &rounded)
    {
#pragma unroll
        for (int sub = 0; sub < Shape::SUBS; sub++) {
#pragma unroll
            for (int n = 0; n < N; n++) {
                rounded[sub][n][0] = round_pair(sum[sub][n][0], sum[sub][n][1]);
                rounded[sub][n][1] = round_pair(sum[sub][n][2], sum[sub][n][3]);
            }
        }
    }

    /* sum = what slice `first` left, rounded, + sum rounded, each times its scales. */
    __device__ __forceinline__ void add_rounded(sums &sum, const pairs &before, int first) const
    {
        const bool scaled = work.call.in_scale != nullptr;
        scales one, two;
        if (scaled) {
            read_weight_scales(first, &one);
            read_weight_scales(first + 1, &two);
        }
#pragma unroll
        for (int n = 0; n < N; n++) {
            if (scaled) {
                read_token_scales(first, n, &one);
                read_token_scales(first + 1, n, &two);
            }
#pragma unroll
            for (int sub = 0; sub < Shape::SUBS; sub++) {
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const uint32_t pair = before[sub][n][i / 2];
                    float a = i % 2 == 0 ? low_of(pair) : high_of(pair);
                    float b = __bfloat162float(__float2bfloat16_rn(sum[sub][n][i]));
                    if (scaled) {
                        a = __fmul_rn(a, one.of(sub, i));
                        b = __fmul_rn(b, two.of(sub, i));
                    }
                    sum[sub][n][i] = __fadd_rn(a, b);
                }
            }
        }
    }

    /* sum = slices [FIRST, FIRST + COUNT) as a pairwise tree. */
    template <int FIRST, int COUNT> __device__ __forceinline__ void run_tree(sums &sum)
    {
        if constexpr (COUNT == 2) {
            pairs before;
            run_slice(sum);
            round_sums(sum, before);
            run_slice(sum);
            if constexpr (FIRST == 0) {
                wait_for_scales();
            }
            add_rounded(sum, before, FIRST);
        } else {
            sums upper;
            run_tree<FIRST, COUNT / 2>(sum);
            run_tree<FIRST + COUNT / 2, COUNT / 2>(upper);
#pragma unroll
            for (int sub = 0; sub < Shape::SUBS; sub++) {
#pragma unroll
                for (int n = 0; n < N; n++) {
#pragma unroll
                    for (int i = 0; i < 4; i++) {
                        sum[sub][n][i] = __fadd_rn(sum[sub][n][i], upper[sub][n][i]);
                    }
                }
            }
        }
    }

    /* ---- Results ---- */

    __device__ __forceinline__ void add_bias(sums &sum) const
    {
        if (work.call.bias == nullptr) {
            return;
        }
#pragma unroll
        for (int sub = 0; sub < Shape::SUBS; sub++) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const float bias =
                    __ldg(work.call.bias + min(weight_of(sub, half), work.call.columns - 1));
#pragma unroll
                for (int n = 0; n < N; n++) {
                    sum[sub][n][2 * half] = __fadd_rn(sum[sub][n][2 * half], bias);
                    sum[sub][n][2 * half + 1] = __fadd_rn(sum[sub][n][2 * half + 1], bias);
                }
            }
        }
    }

    /* Eight lanes write 32 bytes side by side. */
    template <bool ADDS> __device__ __forceinline__ void write_floats(const sums &sum) const
    {
        const dense_product &call = work.call;
#pragma unroll
        for (int n = 0; n < N; n++) {
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const int token = token_of(n, i);
                float *row = static_cast<float *>(call.out) + (size_t)token * (size_t)call.columns;
#pragma unroll
                for (int sub = 0; sub < Shape::SUBS; sub++) {
#pragma unroll
                    for (int half = 0; half < 2; half++) {
                        const int weight = weight_of(sub, half);
                        if (token < call.rows && weight < call.columns) {
                            const float value = sum[sub][n][2 * half + i];
                            row[weight] =
                                ADDS ? __fmaf_rn(call.multiplier, value, row[weight]) : value;
                        }
                    }
                }
            }
        }
    }

    static __device__ __forceinline__ uint32_t rounded(const float (&sum)[4], int half)
    {
        return round_pair(sum[2 * half], sum[2 * half + 1]);
    }

    /* 16 weights by 16 tokens from group n on, each lane's row at its address. */
    static __device__ __forceinline__ void store_rounded(uint32_t to, const float (&sum)[N][4],
                                                         int n)
    {
        store_turned(to, rounded(sum[n], 0), rounded(sum[n], 1), rounded(sum[n + 1], 0),
                     rounded(sum[n + 1], 1));
    }

    /* Turned in shared memory, [token][16 columns], each lane writes eight columns of a token. */
    __device__ __forceinline__ void write_rounded(const sums &sum) const
    {
        constexpr int STEP = Shape::PLACES * 16;
        const dense_product &call = work.call;
        const uint32_t places =
            memory.result(group) + (uint32_t)(warp * Shape::PLACES * Shape::PLACE_BYTES);
        /* Rows of a place take turns in where their halves are, so that eight meet on no bank. */
        const int row = lane / 16 * 8 + lane % 8, half = (lane / 8 ^ row / 4) % 2;
        const uint32_t to = places + (uint32_t)(row * 32 + half * 16);
        const int token = lane / 2, eight = lane % 2;
        const uint32_t from = places + (uint32_t)(token * 32 + (eight ^ token / 4 % 2) * 16);
        const int column = first_weight + 16 * warp + 8 * eight;
#pragma unroll
        for (int sub = 0; sub < Shape::SUBS; sub++) {
            __nv_bfloat16 *out = static_cast<__nv_bfloat16 *>(call.out) +
                                 (size_t)(first_token + token) * (size_t)call.columns +
                                 (size_t)(column + 64 * sub);
            const int rows = column + 64 * sub < call.columns ? call.rows - first_token - token : 0;
#pragma unroll
            for (int first = 0; first < Shape::TOKENS; first += STEP) {
                __syncwarp();
#pragma unroll
                for (int i = 0; i < Shape::PLACES; i++) {
                    store_rounded(to + (uint32_t)(i * Shape::PLACE_BYTES), sum[sub],
                                  first / 8 + 2 * i);
                }
                __syncwarp();
#pragma unroll
                for (int i = 0; i < Shape::PLACES; i++) {
                    const uint4 piece = load_piece(from + (uint32_t)(i * Shape::PLACE_BYTES));
                    if (first + 16 * i < rows) {
                        write_piece(out, piece);
                    }
                    out += 16 * (size_t)call.columns;
                }
            }
        }
    }

    /* ---- SPLIT ---- */

    /* Block r of the cluster gets share r of the tile's tokens. */
    __device__ __forceinline__ void send_sums(const sums &sum)
    {
        const int bytes = Shape::TOKENS / work.call.slices * 128;
        const uint32_t own = memory.result(group), ready = memory.ready(group);
        barrier_wait(memory.taken(group), split_parity ^ 1);
        const int row = lane / 16 * 8 + lane % 8, piece = (2 * warp + lane / 8 % 2) ^ (row & 7);
#pragma unroll
        for (int n = 0; n < N; n += 2) {
            store_rounded(own + (uint32_t)((8 * n + row) * 128 + piece * 16), sum[0], n);
        }
        show_copies();
        meet_group(group);
        if (warp == 0) {
            if (lane == 0) {
                barrier_expect(ready, Shape::TOKENS * 128);
            }
            if (lane < work.call.slices) {
                copy_to_block(memory.received(group) + (uint32_t)(block.rank * bytes),
                              own + (uint32_t)(lane * bytes), bytes, ready, lane);
            }
        }
        barrier_wait(ready, split_parity);
    }

    /* values = eight columns of a slice's sums, scaled; row and column: of the tile, of the group.
     */
    __device__ __forceinline__ void read_part(int slice, uint32_t at, int row, int column,
                                              float (&values)[8]) const
    {
        const dense_product &call = work.call;
        const int bytes = Shape::TOKENS / call.slices * 128;
        const uint4 piece = load_piece(at + (uint32_t)(slice * bytes));
        const uint32_t words[4] = {piece.x, piece.y, piece.z, piece.w};
#pragma unroll
        for (int k = 0; k < 4; k++) {
            values[2 * k] = low_of(words[k]);
            values[2 * k + 1] = high_of(words[k]);
        }
        if (call.in_scale != nullptr) {
            const uint32_t scales = memory.scales(group) + (uint32_t)(4 * slice * Shape::SCALES);
            const float token = load_float(scales + (uint32_t)(4 * row));
#pragma unroll
            for (int k = 0; k < 8; k += 2) {
                const float2 pair =
                    load_floats(scales + (uint32_t)(4 * (Shape::TOKENS + column + k)));
                values[k] = __fmul_rn(values[k], __fmul_rn(token, pair.x));
                values[k + 1] = __fmul_rn(values[k + 1], __fmul_rn(token, pair.y));
            }
        }
    }

    template <int FIRST, int COUNT>
    __device__ __forceinline__ void read_tree(uint32_t at, int row, int column,
                                              float (&values)[8]) const
    {
        if constexpr (COUNT == 1) {
            read_part(FIRST, at, row, column, values);
        } else {
            float upper[8];
            read_tree<FIRST, COUNT / 2>(at, row, column, values);
            read_tree<FIRST + COUNT / 2, COUNT / 2>(at, row, column, upper);
#pragma unroll
            for (int k = 0; k < 8; k++) {
                values[k] = __fadd_rn(values[k], upper[k]);
            }
        }
    }

    __device__ __forceinline__ void write_eight(int token, int column, float (&values)[8]) const
    {
        const dense_product &call = work.call;
        const size_t at = (size_t)token * (size_t)call.columns + (size_t)column;
        if (call.bias != nullptr) {
#pragma unroll
            for (int k = 0; k < 8; k++) {
                values[k] = __fadd_rn(values[k], __ldg(call.bias + column + k));
            }
        }
        if (call.out_dtype == TYPE_BFLOAT16) {
            write_piece(
                static_cast<__nv_bfloat16 *>(call.out) + at,
                make_uint4(round_pair(values[0], values[1]), round_pair(values[2], values[3]),
                           round_pair(values[4], values[5]), round_pair(values[6], values[7])));
            return;
        }
        float *to = static_cast<float *>(call.out) + at;
#pragma unroll
        for (int k = 0; k < 8; k++) {
            to[k] = call.adds ? __fmaf_rn(call.multiplier, values[k], to[k]) : values[k];
        }
    }

    /* The block's share of the tokens, all slices. */
    __device__ __forceinline__ void add_shares() const
    {
        const dense_product &call = work.call;
        const int share = Shape::TOKENS / call.slices;
        for (int i = 32 * warp + lane; i < 8 * share; i += 128) {
            const int row = block.rank * share + i / 8, piece = i % 8;
            const int token = first_token + row, column = first_weight + 8 * piece;
            const uint32_t at =
                memory.received(group) + (uint32_t)(i / 8 * 128 + (piece ^ (row & 7)) * 16);
            if (token >= call.rows || column >= call.columns) {
                continue;
            }
            float values[8];
            if (call.slices == 2) {
                read_tree<0, 2>(at, row, 8 * piece, values);
            } else if (call.slices == 4) {
                read_tree<0, 4>(at, row, 8 * piece, values);
            } else {
                read_tree<0, 8>(at, row, 8 * piece, values);
            }
            write_eight(token, column, values);
        }
    }

    __device__ __forceinline__ void finish_split(const sums &sum)
    {
        send_sums(sum);
        add_shares();
        __syncwarp();
        if (lane < work.call.slices) {
            barrier_arrive_in(memory.taken(group), lane);
        }
        split_parity ^= 1;
    }

    /* ---- A tile ---- */

    __device__ __forceinline__ void run_tile(int token_tile, int weight_tile)
    {
        first_token = token_tile * Shape::TOKENS;
        first_weight =
            (weight_tile * Shape::BLOCKS + (Shape::PAIR ? block.rank : 0)) * Shape::ROWS +
            group * Shape::GROUP_ROWS;
        fetch_scales();
        sums sum;
        if constexpr (Shape::SPLIT) {
            run_slice(sum);
            wait_for_scales();
            finish_split(sum);
        } else {
            if constexpr (Shape::SLICES == 1) {
                run_slice(sum);
                wait_for_scales();
                scale_sum(sum);
            } else {
                run_tree<0, Shape::SLICES>(sum);
            }
            add_bias(sum);
            if (work.call.out_dtype == TYPE_BFLOAT16) {
                write_rounded(sum);
            } else if (work.call.adds) {
                write_floats<true>(sum);
            } else {
                write_floats<false>(sum);
            }
        }
    }

    __device__ __forceinline__ void run()
    {
        each_tile(work, block.cluster, block.clusters,
                  [&](int token_tile, int weight_tile) { run_tile(token_tile, weight_tile); });
        if constexpr (Shape::SPLIT) {
            /* What this block sent has been read, and all have arrived here. */
            barrier_wait(memory.taken(group), split_parity ^ 1);
        }
    }
};

#endif

#endif
