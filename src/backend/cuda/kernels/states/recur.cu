/* SPDX-License-Identifier: Apache-2.0 */
/* Recurrences over a sequence's tokens: the gated delta rule and state spaces, position by position
 * in one form for prompts and answers.
 *
 * A block takes 32 columns of a head's state of one sequence and goes through the sequence's tokens
 * with them in registers: columns do not mix. Four lanes share a column. Tokens come through shared
 * memory, a few at a time.
 *
 * Floors: a step of one token a sequence reads and writes the states once (bytes / bandwidth).
 * Prompts take 4 (delta) or 3 (scan) · rows · columns multiply-adds a token and head, in a chain of
 * tokens: bound by its latency where few sequences and heads run.
 *
 * Bits: a sum over a state's rows is four chains of every fourth group of four rows, in ascending
 * order, added as (0 + 1) + (2 + 3): the number of rows alone decides. Rows that are not there add
 * nothing. Where a stage of tokens ends does not show. */
#include "backend/cuda/kernels/states/rules.h"
#include "backend/cuda/kernels/states/states.cuh"

enum {
    RECUR_COLUMNS = 32, /* of a block */
    RECUR_LANES = 4,    /* of a column */
    RECUR_THREADS = RECUR_COLUMNS * RECUR_LANES,
    RECUR_TOKENS = 8, /* of a stage */
};

/* A lane's part of a column: R rows of `rows`, of which a state of `columns` columns has them. */
template <int R> struct state_column {
    float value[R];
    int part, rows;

    /* Groups of four rows go round the lanes. */
    __device__ __forceinline__ int row(int r) const
    {
        return r / 4 * (4 * RECUR_LANES) + part * 4 + r % 4;
    }

    __device__ __forceinline__ void load(const float *from, int columns, bool is_there)
    {
#pragma unroll
        for (int r = 0; r < R; r++) {
            value[r] = is_there && row(r) < rows ? from[(size_t)row(r) * (size_t)columns] : 0.0f;
        }
    }

    __device__ __forceinline__ void store(float *to, int columns) const
    {
#pragma unroll
        for (int r = 0; r < R; r++) {
            if (row(r) < rows) {
                to[(size_t)row(r) * (size_t)columns] = value[r];
            }
        }
    }

    /* Four rows of a vector in shared memory, 16 bytes from `r` on. */
    __device__ __forceinline__ float4 four(const float *vector, int r) const
    {
        return *reinterpret_cast<const float4 *>(vector + row(r));
    }

    __device__ __forceinline__ static float whole(float sum)
    {
        sum = __fadd_rn(sum, __shfl_xor_sync(0xffffffffu, sum, 8));
        return __fadd_rn(sum, __shfl_xor_sync(0xffffffffu, sum, 16));
    }

    /* S = decay · S; the sum of k · S. */
    __device__ __forceinline__ float fade(const float *k, float decay)
    {
        float sum = 0.0f;
#pragma unroll
        for (int r = 0; r < R; r += 4) {
            const float4 w = four(k, r);
            const float weights[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
            for (int i = 0; i < 4; i++) {
                value[r + i] = __fmul_rn(value[r + i], decay);
                sum = __fmaf_rn(weights[i], value[r + i], sum);
            }
        }
        return whole(sum);
    }

    /* S += k · change; the sum of q · S. */
    __device__ __forceinline__ float change(const float *k, const float *q, float by)
    {
        float sum = 0.0f;
#pragma unroll
        for (int r = 0; r < R; r += 4) {
            const float4 a = four(k, r), b = four(q, r);
            const float keys[4] = {a.x, a.y, a.z, a.w}, queries[4] = {b.x, b.y, b.z, b.w};
#pragma unroll
            for (int i = 0; i < 4; i++) {
                value[r + i] = __fmaf_rn(keys[i], by, value[r + i]);
                sum = __fmaf_rn(queries[i], value[r + i], sum);
            }
        }
        return whole(sum);
    }

    /* S = decay · S + b · added; the sum of c · S. */
    __device__ __forceinline__ float pass(const float *b, const float *c, float decay, float added)
    {
        float sum = 0.0f;
#pragma unroll
        for (int r = 0; r < R; r += 4) {
            const float4 x = four(b, r), y = four(c, r);
            const float in[4] = {x.x, x.y, x.z, x.w}, out[4] = {y.x, y.y, y.z, y.w};
#pragma unroll
            for (int i = 0; i < 4; i++) {
                value[r + i] = __fmaf_rn(in[i], added, __fmul_rn(value[r + i], decay));
                sum = __fmaf_rn(out[i], value[r + i], sum);
            }
        }
        return whole(sum);
    }
};

/* What a stage's tokens bring for a block: two vectors over the rows, a value of each column, and
 * two numbers. */
template <int R> struct stage_memory {
    float4 first[RECUR_TOKENS][R], second[RECUR_TOKENS][R]; /* 4 · R values each */
    float column[RECUR_TOKENS][RECUR_COLUMNS];
    float numbers[RECUR_TOKENS][2];
};

/* `count` rows' vectors of `rows` values, `stride` apart, and zeros behind each. */
template <int R>
__device__ __forceinline__ void stage_vectors(float4 (&to)[RECUR_TOKENS][R], const float *from,
                                              size_t stride, int count, int rows)
{
    constexpr int PADDED = 4 * R;
    float *values = reinterpret_cast<float *>(to);
    for (int i = (int)threadIdx.x; i < count * PADDED; i += RECUR_THREADS) {
        const int token = i / PADDED, at = i % PADDED;
        values[i] = at < rows ? from[(size_t)token * stride + (size_t)at] : 0.0f;
    }
}

__device__ __forceinline__ void stage_columns(float (&to)[RECUR_TOKENS][RECUR_COLUMNS],
                                              const float *from, size_t stride, int count,
                                              int columns)
{
    for (int i = (int)threadIdx.x; i < count * RECUR_COLUMNS; i += RECUR_THREADS) {
        const int token = i / RECUR_COLUMNS, at = i % RECUR_COLUMNS;
        to[token][at] = at < columns ? from[(size_t)token * stride + (size_t)at] : 0.0f;
    }
}

/* The block's place: (sequence, head) and its columns. A lane of a warp: eight columns, four parts.
 */
struct recur_place {
    int sequence, head, first_column, column, part;
};

__device__ __forceinline__ recur_place place_of(int heads)
{
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    const int first = (int)blockIdx.y * RECUR_COLUMNS;
    return {(int)blockIdx.x / heads, (int)blockIdx.x % heads, first, warp * 8 + lane % 8, lane / 8};
}

/* ---- The gated delta rule ---- */

enum { ROW_WARPS = 4 };

static __device__ __forceinline__ float warp_sum(float x)
{
    for (int distance = 16; distance > 0; distance >>= 1) {
        x = __fadd_rn(x, __shfl_xor_sync(0xffffffffu, x, distance));
    }
    return x;
}

static __device__ __forceinline__ float warp_squares(const float *values, int count, int lane)
{
    float sum = 0.0f;
    for (int i = lane; i < count; i += 32) {
        sum = __fmaf_rn(values[i], values[i], sum);
    }
    return warp_sum(sum);
}

__device__ __forceinline__ size_t delta_channels(const states_delta &call)
{
    return 2 * (size_t)call.key_heads * (size_t)call.key_dim +
           (size_t)call.value_heads * (size_t)call.value_dim;
}

/* A warp a token and head of q or k: their lengths. */
__global__ void __launch_bounds__(32 * ROW_WARPS)
    delta_length_kernel(const __grid_constant__ states_delta call)
{
    const int lane = (int)threadIdx.x % 32;
    const int head = (int)blockIdx.y * ROW_WARPS + (int)threadIdx.x / 32;
    if (head >= 2 * call.key_heads) {
        return;
    }
    float *values = call.mixed + (size_t)blockIdx.x * delta_channels(call) +
                    (size_t)head * (size_t)call.key_dim;
    const double more = head < call.key_heads ? sqrt((double)call.key_dim) : 1.0;
    const float factor = delta_length(warp_squares(values, call.key_dim, lane), more);
    for (int i = lane; i < call.key_dim; i += 32) {
        values[i] = __fmul_rn(values[i], factor);
    }
}

template <typename T, int R>
__global__ void __launch_bounds__(RECUR_THREADS)
    delta_kernel(const __grid_constant__ states_delta call)
{
    __shared__ stage_memory<R> stage;
    const recur_place place = place_of(call.value_heads);
    const state_run run = run_of(call.states, place.sequence);
    const size_t channels = delta_channels(call), heads = (size_t)call.value_heads;
    const size_t head = (size_t)place.head, dim = (size_t)call.value_dim;
    const size_t key_head = head / (heads / (size_t)call.key_heads);
    const size_t q = key_head * (size_t)call.key_dim;
    const size_t k = q + (size_t)call.key_heads * (size_t)call.key_dim;
    const size_t v =
        2 * (size_t)call.key_heads * (size_t)call.key_dim + head * dim + (size_t)place.first_column;
    const int columns = call.value_dim - place.first_column;
    const bool is_there = place.column < columns;
    const size_t own = call.state_offset + head * (size_t)call.key_dim * dim +
                       (size_t)(place.first_column + place.column);
    state_column<R> column;
    column.part = place.part;
    column.rows = call.key_dim;
    column.load(run.before + own, call.value_dim, is_there && !run.is_fresh);
    for (int first = run.first; first < run.last; first += RECUR_TOKENS) {
        const int count = min(RECUR_TOKENS, run.last - first);
        float *rows = call.mixed + (size_t)first * channels;
        __syncthreads(); /* the stage before has been read */
        stage_vectors<R>(stage.first, rows + k, channels, count, call.key_dim);
        stage_vectors<R>(stage.second, rows + q, channels, count, call.key_dim);
        stage_columns(stage.column, rows + v, channels, count, columns);
        if ((int)threadIdx.x < count) {
            const T *gates = static_cast<const T *>(call.gates) +
                             (size_t)(first + (int)threadIdx.x) * call.gate_stride + heads * dim;
            stage.numbers[threadIdx.x][0] =
                delta_decay(call.decay[head], to_float(gates[heads + head]), call.step_bias[head]);
            stage.numbers[threadIdx.x][1] = delta_beta(to_float(gates[head]));
        }
        __syncthreads();
        for (int t = 0; t < count; t++) {
            const float *key = reinterpret_cast<const float *>(stage.first[t]);
            const float *query = reinterpret_cast<const float *>(stage.second[t]);
            const float held = column.fade(key, stage.numbers[t][0]);
            const float by =
                __fmul_rn(__fsub_rn(stage.column[t][place.column], held), stage.numbers[t][1]);
            const float result = column.change(key, query, by);
            if (place.part == 0 && is_there) { /* v's place is free: it stands in the stage */
                rows[(size_t)t * channels + v + (size_t)place.column] = result;
            }
        }
    }
    if (is_there) {
        column.store(run.state + own, call.value_dim);
    }
}

/* A warp a token and value head: norm, weight and gate. */
template <typename T>
__global__ void __launch_bounds__(32 * ROW_WARPS)
    delta_finish_kernel(const __grid_constant__ states_delta call)
{
    const int lane = (int)threadIdx.x % 32, dim = call.value_dim;
    const int head = (int)blockIdx.y * ROW_WARPS + (int)threadIdx.x / 32;
    if (head >= call.value_heads) {
        return;
    }
    const size_t token = blockIdx.x, at = (size_t)head * (size_t)dim;
    const float *values = call.mixed + token * delta_channels(call) +
                          2 * (size_t)call.key_heads * (size_t)call.key_dim + at;
    const T *gates = static_cast<const T *>(call.gates) + token * call.gate_stride + at;
    T *out = static_cast<T *>(call.out) + token * (size_t)call.value_heads * (size_t)dim + at;
    const float mean = __fdiv_rn(warp_squares(values, dim, lane), (float)dim);
    const float factor = __fdiv_rn(1.0f, __fsqrt_rn(__fadd_rn(mean, call.epsilon)));
    for (int i = lane; i < dim; i += 32) {
        const float normed = __fmul_rn(__fmul_rn(values[i], factor), call.norm[i]);
        out[i] = from_float<T>(__fmul_rn(silu(to_float(gates[i])), normed));
    }
}

/* launch(constant R) for the least R that holds a quarter of `rows`. */
template <int R> struct rows_each {
    static constexpr int value = R;
};

template <typename Launch> static cudaError_t with_rows(int rows, Launch launch)
{
    if (rows <= 4 * 8) {
        launch(rows_each<8>{});
    } else if (rows <= 4 * 16) {
        launch(rows_each<16>{});
    } else if (rows <= 4 * 32) {
        launch(rows_each<32>{});
    } else if (rows <= STATES_MOST_ROWS) {
        launch(rows_each<STATES_MOST_ROWS / 4>{});
    } else {
        return cudaErrorInvalidValue;
    }
    return cudaGetLastError();
}

static dim3 grid_of(const states_view &view, int heads, int columns)
{
    return dim3((unsigned)view.sequences * (unsigned)heads,
                (unsigned)(columns + RECUR_COLUMNS - 1) / RECUR_COLUMNS);
}

cudaError_t states_delta_launch(cudaStream_t stream, const states_delta *call)
{
    if (call->value_heads == 0) {
        return cudaSuccess;
    }
    const unsigned tokens = (unsigned)call->states.tokens;
    const dim3 keys(tokens, (unsigned)(2 * call->key_heads + ROW_WARPS - 1) / ROW_WARPS);
    const dim3 values(tokens, (unsigned)(call->value_heads + ROW_WARPS - 1) / ROW_WARPS);
    const dim3 states = grid_of(call->states, call->value_heads, call->value_dim);
    cudaError_t error = cudaSuccess;
    delta_length_kernel<<<keys, 32 * ROW_WARPS, 0, stream>>>(*call);
    const cudaError_t known = with_number(call->dtype, [&](auto number) {
        using T = decltype(number);
        error = with_rows(call->key_dim, [&](auto rows) {
            delta_kernel<T, decltype(rows)::value><<<states, RECUR_THREADS, 0, stream>>>(*call);
        });
        delta_finish_kernel<T><<<values, 32 * ROW_WARPS, 0, stream>>>(*call);
    });
    return error != cudaSuccess ? error : known;
}

/* ---- State spaces ---- */

template <typename T, int R>
__global__ void __launch_bounds__(RECUR_THREADS)
    scan_kernel(const __grid_constant__ states_scan call)
{
    __shared__ stage_memory<R> stage;
    const recur_place place = place_of(call.heads);
    const state_run run = run_of(call.states, place.sequence);
    const size_t dim = (size_t)call.head_dim, state_dim = (size_t)call.state_dim;
    const size_t inner = (size_t)call.heads * dim, head = (size_t)place.head;
    const size_t channels = inner + 2 * (size_t)call.groups * state_dim;
    const int group = (call.first_head + place.head) / call.heads_per_group -
                      call.first_head / call.heads_per_group;
    const size_t b = inner + (size_t)group * state_dim;
    const size_t c = b + (size_t)call.groups * state_dim;
    const size_t own = head * dim + (size_t)place.first_column;
    const int columns = call.head_dim - place.first_column;
    const bool is_there = place.column < columns;
    const float skip = call.skip[head];
    const size_t kept =
        call.state_offset + head * state_dim * dim + (size_t)(place.first_column + place.column);
    state_column<R> column;
    column.part = place.part;
    column.rows = call.state_dim;
    column.load(run.before + kept, call.head_dim, is_there && !run.is_fresh);
    for (int first = run.first; first < run.last; first += RECUR_TOKENS) {
        const int count = min(RECUR_TOKENS, run.last - first);
        const float *rows = call.mixed + (size_t)first * channels;
        const T *in = static_cast<const T *>(call.in) + (size_t)first * call.in_stride;
        __syncthreads(); /* the stage before has been read */
        stage_vectors<R>(stage.first, rows + b, channels, count, call.state_dim);
        stage_vectors<R>(stage.second, rows + c, channels, count, call.state_dim);
        stage_columns(stage.column, rows + own, channels, count, columns);
        if ((int)threadIdx.x < count) {
            const size_t dt = threadIdx.x * call.in_stride + inner + channels + head;
            const float step =
                scan_step(to_float(in[dt]), call.step_bias[head], call.least_step, call.most_step);
            stage.numbers[threadIdx.x][0] = scan_decay(call.decay[head], step);
            stage.numbers[threadIdx.x][1] = step;
        }
        __syncthreads();
        for (int t = 0; t < count; t++) {
            const float x = stage.column[t][place.column];
            const float sum = column.pass(reinterpret_cast<const float *>(stage.first[t]),
                                          reinterpret_cast<const float *>(stage.second[t]),
                                          stage.numbers[t][0], __fmul_rn(x, stage.numbers[t][1]));
            float result = __fmaf_rn(x, skip, sum);
            if (place.part == 0 && is_there) {
                const size_t at = own + (size_t)place.column;
                if (call.gates) {
                    result = __fmul_rn(silu(to_float(in[(size_t)t * call.in_stride + at])), result);
                }
                static_cast<T *>(call.out)[(size_t)(first + t) * inner + at] =
                    from_float<T>(result);
            }
        }
    }
    if (is_there) {
        column.store(run.state + kept, call.head_dim);
    }
}

cudaError_t states_scan_launch(cudaStream_t stream, const states_scan *call)
{
    if (call->heads == 0) {
        return cudaSuccess;
    }
    const dim3 states = grid_of(call->states, call->heads, call->head_dim);
    cudaError_t error = cudaSuccess;
    const cudaError_t known = with_number(call->dtype, [&](auto number) {
        using T = decltype(number);
        error = with_rows(call->state_dim, [&](auto rows) {
            scan_kernel<T, decltype(rows)::value><<<states, RECUR_THREADS, 0, stream>>>(*call);
        });
    });
    return error != cudaSuccess ? error : known;
}
