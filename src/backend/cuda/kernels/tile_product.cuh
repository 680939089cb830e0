/* SPDX-License-Identifier: Apache-2.0 */
/* Products of tiles in shared memory, sum += weights · rowsᵀ: by tensor cores, by sm_90a's
 * warpgroups, or in float32 by fused multiply-adds. */
#ifndef SLUICE_CUDA_TILE_PRODUCT_CUH
#define SLUICE_CUDA_TILE_PRODUCT_CUH

#include <type_traits>

#include "backend/cuda/kernels/numbers.cuh"
#include "backend/cuda/kernels/warpgroup.cuh"

enum {
    STAGE_BYTES = 128,                  /* of k that one stage of a tile holds, of each row */
    PIECE_BYTES = 16,                   /* what one copy moves */
    PIECES = STAGE_BYTES / PIECE_BYTES, /* of a row in a stage */
    STEPS = STAGE_BYTES / 32,           /* tensor core steps in a stage */
};

/* Offset of a piece of a row; eight neighbouring rows have a piece in eight different places, so
 * that neither copies nor reads meet on a bank. */
__device__ __forceinline__ int piece_at(int row, int piece)
{
    return row * STAGE_BYTES + (piece ^ (row & 7)) * PIECE_BYTES;
}

/* ---- Arithmetic ---- */

__device__ __forceinline__ void read_matrices(uint32_t (&to)[4], const char *from)
{
    const unsigned address = (unsigned)__cvta_generic_to_shared(from);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
}

/* sum[16 × 8] += weights[16 × 32 bytes] · rows[8 × 32 bytes]ᵀ */
template <typename T>
__device__ __forceinline__ void multiply(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0,
                                         uint32_t b1)
{
    if constexpr (std::is_same<T, __nv_bfloat16>::value) {
        asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
            "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
            : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    } else if constexpr (std::is_same<T, __half>::value) {
        asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, "
            "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
            : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    } else {
#if __CUDA_ARCH__ >= 890
        asm("mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%0, %1, %2, %3}, "
            "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
            : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
        __trap(); /* no fp8 weights are made for such a device */
#endif
    }
}

/* Adds one stage to the warp's sums. sum[m][n] lies as tensor cores leave it: lane l has weight
 * rows l / 4 (values 0, 1) and l / 4 + 8 (2, 3) by rows 2 (l % 4) (0, 2) and 2 (l % 4) + 1 (1, 3).
 */
template <typename T, int M, int N>
__device__ __forceinline__ void multiply_stage(const char *weights, const char *rows,
                                               float (&sum)[M][N][4])
{
    const int lane = (int)threadIdx.x % 32;
#pragma unroll
    for (int step = 0; step < STEPS; step++) {
        uint32_t b[N / 2][4];
#pragma unroll
        for (int n = 0; n < N / 2; n++) {
            read_matrices(
                b[n], rows + piece_at(n * 16 + lane % 8 + lane / 16 * 8, 2 * step + lane / 8 % 2));
        }
#pragma unroll
        for (int m = 0; m < M; m++) {
            uint32_t a[4];
            read_matrices(a, weights + piece_at(m * 16 + lane % 16, 2 * step + lane / 16));
#pragma unroll
            for (int n = 0; n < N; n++) {
                multiply<T>(sum[m][n], a, b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]);
            }
        }
    }
}

__device__ __forceinline__ void multiply_four(float &sum, const float4 &a, const float4 &b)
{
    sum = fmaf(a.x, b.x, sum);
    sum = fmaf(a.y, b.y, sum);
    sum = fmaf(a.z, b.z, sum);
    sum = fmaf(a.w, b.w, sum);
}

template <int M, int N>
__device__ __forceinline__ void multiply_stage_float(const char *weights, const char *rows,
                                                     float (&sum)[M][N][4])
{
    const int lane = (int)threadIdx.x % 32;
#pragma unroll 1
    for (int piece = 0; piece < PIECES; piece++) {
        float4 b[N][2];
#pragma unroll
        for (int n = 0; n < N; n++) {
#pragma unroll
            for (int i = 0; i < 2; i++) {
                b[n][i] = *reinterpret_cast<const float4 *>(
                    rows + piece_at(n * 8 + lane % 4 * 2 + i, piece));
            }
        }
#pragma unroll
        for (int m = 0; m < M; m++) {
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const float4 a = *reinterpret_cast<const float4 *>(
                    weights + piece_at(m * 16 + lane / 4 + 8 * i, piece));
#pragma unroll
                for (int n = 0; n < N; n++) {
                    multiply_four(sum[m][n][2 * i], a, b[n][0]);
                    multiply_four(sum[m][n][2 * i + 1], a, b[n][1]);
                }
            }
        }
    }
}

/* ---- Warpgroups ---- */

/* sm_90a multiplies by warpgroups, four warps that read both operands from shared memory; its
 * older instructions run at about half of the rate, and in fp8 as if it were float16. All tiles of
 * a device use the same kind, so that they give the same bits. */

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
static constexpr bool HAS_WARPGROUPS = true;
#else
static constexpr bool HAS_WARPGROUPS = false;
#endif

/* Keeps the compiler from reading sums before the wait that stands in front of this. */
template <int M, int N> __device__ __forceinline__ void pin_sums(float (&sum)[M][N][4])
{
#pragma unroll
    for (int m = 0; m < M; m++) {
#pragma unroll
        for (int n = 0; n < N; n++) {
            asm volatile(""
                         : "+f"(sum[m][n][0]), "+f"(sum[m][n][1]), "+f"(sum[m][n][2]),
                           "+f"(sum[m][n][3])::"memory");
        }
    }
}

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

/* An operand in shared memory: rows of 128 bytes, pieces placed as piece_at says (the 128-byte
 * swizzle), 1,024 bytes from eight rows to the next eight. PTX ISA, matrix descriptor of wgmma. */
__device__ __forceinline__ uint64_t describe_operand(const char *at)
{
    const uint64_t address = (uint64_t)__cvta_generic_to_shared(at);
    return (address & 0x3ffff) >> 4 | 1ull << 16 | (uint64_t)(8 * STAGE_BYTES / 16) << 32 |
           1ull << 62;
}

/* sum[64 × 8 N] += weights[64 × 32 bytes] · rows[8 N × 32 bytes]ᵀ by a warpgroup; the sums are not
 * there before wait_for_products. */
#define MULTIPLY_GROUP(TOKENS, TYPES, MODES, NAMES, A, B, SUMS)                                    \
    asm volatile("{ .reg .pred add; setp.ne.b32 add, 1, 0; "                                       \
                 "wgmma.mma_async.sync.aligned.m64n" TOKENS TYPES " {" NAMES "}, " A ", " B        \
                 ", add, 1, 1" MODES "; }"                                                         \
                 : SUMS                                                                            \
                 : "l"(weights), "l"(rows))

#define MULTIPLY_GROUPS(TYPES, MODES)                                                              \
    if constexpr (N == 2) {                                                                        \
        MULTIPLY_GROUP("16", TYPES, MODES, NAMES_16, "%8", "%9", SUMS_2(sum, 0));                  \
    } else if constexpr (N == 8) {                                                                 \
        MULTIPLY_GROUP("64", TYPES, MODES, NAMES_64, "%32", "%33", SUMS_8(sum, 0));                \
    } else {                                                                                       \
        MULTIPLY_GROUP("128", TYPES, MODES, NAMES_128, "%64", "%65", SUMS_16(sum, 0));             \
    }

template <typename T, int N>
__device__ __forceinline__ void multiply_group(float (&sum)[N][4], uint64_t weights, uint64_t rows)
{
    static_assert(N == 2 || N == 8 || N == 16, "no such instruction is written down here");
    if constexpr (std::is_same<T, __nv_bfloat16>::value) {
        MULTIPLY_GROUPS("k16.f32.bf16.bf16", ", 0, 0")
    } else if constexpr (std::is_same<T, __half>::value) {
        MULTIPLY_GROUPS("k16.f32.f16.f16", ", 0, 0")
    } else {
        MULTIPLY_GROUPS("k32.f32.e4m3.e4m3", "")
    }
}

#endif

/* Starts to add one stage to a warpgroup's sums, which lie in each of its warps as multiply_stage
 * says. */
template <typename T, int N>
__device__ __forceinline__ void start_stage(const char *weights, const char *rows,
                                            float (&sum)[1][N][4])
{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    const uint64_t a = describe_operand(weights), b = describe_operand(rows);
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
    for (int step = 0; step < STEPS; step++) {
        multiply_group<T>(sum[0], a + (uint64_t)(2 * step), b + (uint64_t)(2 * step));
    }
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}

#endif
