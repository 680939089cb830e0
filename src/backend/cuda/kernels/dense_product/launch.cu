/* SPDX-License-Identifier: Apache-2.0 */
/* Dense products, out[rows][columns] = in[rows][k] · weights[columns][k]ᵀ, of our own for compute
 * capability 9.0: the kernel's variants (kernel.cuh), which of them a call takes, and its
 * launch.
 *
 * Arithmetic of an output, from its row of `in`, its row of `weights`, k and the slices alone: for
 * each slice one chain of warpgroup products (wgmma, float32 accumulators that start at the first
 * product) of 32 bytes of k, ascending; behind a slice's end zeros up to a multiple of 128 bytes.
 * An only slice is multiplied by (row scale · column scale), rounded once. Several are each rounded
 * to bfloat16, multiplied by their scales, and added as a pairwise tree in float32, which is what
 * ranks send and rows_norm.cu adds. Then the bias, then one rounding to the output's type, or one
 * fused multiply-add to what is there. Neither the number of rows nor of columns, the tile, the
 * cluster nor the number of multiprocessors enters, and nothing is added across blocks but slices.
 *
 * Floors: 2 · rows · columns · k operations at the tensor cores' rate (8,192 a cycle and
 * multiprocessor in fp8), or both operands read and the result written once. A tile of 128 weights
 * by 256 tokens reads 48 bytes a cycle from the second-level cache alone, 32 in a PAIR. */
#include "backend/cuda/kernels/dense_product/variants.cuh"

#include <math.h>
#include <stdio.h>

/* ---- Variants ---- */

struct dense_variant {
    int groups, subs, tokens, slices;
    bool pair, split;
    int stages; /* of its ring */

    int weights() const
    {
        return 64 * groups * subs;
    }
    int cluster(int all_slices) const
    {
        return split ? all_slices : pair ? 2 : 1;
    }
};

#define DENSE_FACTS(GROUPS, SUBS, TOKENS, SLICES, PAIR, SPLIT)                                     \
    {GROUPS,                                                                                       \
     SUBS,                                                                                         \
     TOKENS,                                                                                       \
     SLICES,                                                                                       \
     PAIR,                                                                                         \
     SPLIT,                                                                                        \
     dense_shape<__nv_fp8_e4m3, GROUPS, SUBS, TOKENS, SLICES, PAIR, SPLIT>::STAGES},
static const dense_variant variants[] = {DENSE_VARIANTS(DENSE_FACTS)};

int dense_product_variants(void)
{
    return (int)(sizeof variants / sizeof variants[0]);
}

int dense_product_takes(int variant, int slices)
{
    if (variant < 0 || variant >= dense_product_variants()) {
        return 0;
    }
    return variants[variant].split ? slices > 1 : variants[variant].slices == slices;
}

void dense_product_describe(int variant, char *text, size_t bytes)
{
    const dense_variant &v = variants[variant];
    snprintf(text, bytes, "%dx%d%s", v.weights(), v.tokens,
             v.split  ? " split"
             : v.pair ? " pair"
                      : "");
}

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* ---- Choice ---- */

/* Bytes that are read and written once. */
static double bytes_of(const dense_product &call, int width_bytes)
{
    return (double)call.slices * width_bytes * ((double)call.columns + call.rows) +
           (double)call.rows * call.columns * (call.out_dtype == TYPE_FLOAT32 ? 4.0 : 2.0);
}

/* Cycles: waves of tiles, each as long as the slowest of tensor cores, shared memory and
 * second-level cache, or all bytes at the memory's rate, and a share of the other. A ring of few
 * stages lets the tensor cores wait. The constants fit the times of all variants on an H200 best
 * (docs/records/2026-11-one-gpu-products.md, steps 6 and 7). */
static double cost_of(const dense_variant &v, const dense_product &call, int multiprocessors)
{
    const double START = 3000.0, CLUSTER_START = 400.0, TILE_END = 5300.0, OVERLAP = 0.29;
    const double TENSOR = 1.12, TENSOR_WAITS = 0.28;     /* of the least; by stages */
    const double L2_BYTES = 95.0, MEMORY_BYTES = 2520.0; /* a cycle: a block's, the chip's */
    const int width_bytes = call.width * (call.dtype == TYPE_FLOAT8 ? 1 : 2);
    const double steps = (double)(ceil_div(width_bytes, 128) * v.slices);
    const int subs = v.groups * v.subs, cluster = v.cluster(call.slices);
    const double tensor = 2.0 * subs * v.tokens * (TENSOR + TENSOR_WAITS / v.stages);
    const double shared = subs * (64.0 + v.tokens);
    const double second = 128.0 * (v.weights() + v.tokens / (v.pair ? 2.0 : 1.0)) / L2_BYTES;
    const double tile = steps * fmax(tensor, fmax(shared, second)) + TILE_END;
    const int64_t weight_tiles = ceil_div(call.columns, (int64_t)v.weights() * (v.pair ? 2 : 1));
    const int64_t tiles = weight_tiles * ceil_div(call.rows, v.tokens);
    const double work = (double)ceil_div(tiles, multiprocessors / cluster) * tile;
    const double memory = bytes_of(call, width_bytes) / MEMORY_BYTES;
    return START + (cluster > 1 ? CLUSTER_START : 0.0) + fmax(work, memory) +
           OVERLAP * fmin(work, memory);
}

double dense_product_cost(const struct dense_product *call, int variant, int multiprocessors)
{
    return dense_product_takes(variant, call->slices) &&
                   variants[variant].cluster(call->slices) <= multiprocessors
               ? cost_of(variants[variant], *call, multiprocessors)
               : INFINITY;
}

int dense_product_choose(const struct dense_product *call, int multiprocessors)
{
    int best = -1;
    double least = INFINITY;
    for (int i = 0; i < dense_product_variants(); i++) {
        const double cost = dense_product_cost(call, i, multiprocessors);
        if (cost < least) {
            best = i;
            least = cost;
        }
    }
    return best;
}

/* ---- Launch ---- */

typedef CUresult (*encode_tensor)(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *,
                                  const cuuint64_t *, const cuuint64_t *, const cuuint32_t *,
                                  const cuuint32_t *, CUtensorMapInterleave, CUtensorMapSwizzle,
                                  CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

/* The driver's encoder; NULL where the driver has none. */
static encode_tensor find_encoder(void)
{
    void *function = nullptr;
    cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
#if CUDART_VERSION >= 12050
    const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function,
                                                               12000, cudaEnableDefault, &found);
#else
    const cudaError_t error =
        cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &function, cudaEnableDefault, &found);
#endif
    return error == cudaSuccess && found == cudaDriverEntryPointSuccess
               ? reinterpret_cast<encode_tensor>(function)
               : nullptr;
}

/* An operand, at[slices][rows][width], as boxes of [box_rows][128 bytes]. */
static cudaError_t describe_operand(CUtensorMap *map, const dense_product &call, const void *at,
                                    int rows, size_t row_bytes, size_t slice_bytes, int box_rows)
{
    static const encode_tensor encode = find_encoder();
    const bool fp8 = call.dtype == TYPE_FLOAT8;
    const cuuint64_t sizes[3] = {(cuuint64_t)call.width, (cuuint64_t)rows, (cuuint64_t)call.slices};
    const cuuint64_t strides[2] = {row_bytes, call.slices > 1 ? slice_bytes : row_bytes};
    const cuuint32_t box[3] = {fp8 ? 128u : 64u, (cuuint32_t)box_rows, 1}, steps[3] = {1, 1, 1};
    if (encode == nullptr) {
        return cudaErrorNotSupported;
    }
    const CUresult result =
        encode(map, fp8 ? CU_TENSOR_MAP_DATA_TYPE_UINT8 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3,
               const_cast<void *>(at), sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
               CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
               CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

static cudaError_t describe_all(const dense_product &call, const dense_variant &v, dense_work *work)
{
    cudaError_t error =
        describe_operand(&work->weights, call, call.weights, call.columns, call.weight_row_bytes,
                         call.weight_slice_bytes, v.weights());
    if (error == cudaSuccess) {
        error = describe_operand(&work->in, call, call.in, call.rows, call.in_row_bytes,
                                 call.in_slice_bytes, v.tokens / (v.pair ? 2 : 1));
    }
    return error;
}

static bool is_right(const dense_product &call)
{
    const uintptr_t bits = (uintptr_t)call.in | (uintptr_t)call.weights | (uintptr_t)call.out |
                           (uintptr_t)call.in_scale | (uintptr_t)call.weight_scale |
                           (uintptr_t)call.bias | call.in_row_bytes | call.weight_row_bytes |
                           (call.slices > 1 ? call.in_slice_bytes | call.weight_slice_bytes : 0);
    const bool types = (call.dtype == TYPE_FLOAT8 || call.dtype == TYPE_BFLOAT16) &&
                       (call.out_dtype == TYPE_BFLOAT16 || call.out_dtype == TYPE_FLOAT32);
    const bool slices =
        call.slices == 1 || call.slices == 2 || call.slices == 4 || call.slices == 8;
    return types && slices && call.rows >= 1 && call.columns >= 1 && call.columns % 8 == 0 &&
           call.width >= 1 && bits % 16 == 0 && call.multiprocessors >= 0 &&
           (call.in_scale == nullptr) == (call.weight_scale == nullptr) &&
           (call.in_scale == nullptr || call.slices == 1 || call.in_scale_stride >= call.rows) &&
           (!call.adds || call.out_dtype == TYPE_FLOAT32);
}

/* Multiprocessors of the current device, 0 where it is no such device. */
static cudaError_t find_multiprocessors(int *count)
{
    int device = 0, major = 0, minor = 0;
    cudaError_t error = cudaGetDevice(&device);
    if (error == cudaSuccess) {
        error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
    }
    if (error == cudaSuccess) {
        error = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
    }
    if (error == cudaSuccess) {
        error = cudaDeviceGetAttribute(count, cudaDevAttrMultiProcessorCount, device);
    }
#ifdef SLUICE_CUDA_SM90A
    if (major != 9 || minor != 0) {
        *count = 0;
    }
#else
    *count = 0;
#endif
    return error;
}

/* Tokens that go through the weights together: with as many weights they are a wave's, nearly
 * square, so that it reads little. */
static int band_of(const dense_variant &v)
{
    const int BAND_TOKENS = 2048;
    return BAND_TOKENS / v.tokens;
}

cudaError_t dense_product_launch(cudaStream_t stream, const struct dense_product *call)
{
    int multiprocessors;
    const cudaError_t found = find_multiprocessors(&multiprocessors);
    if (found != cudaSuccess || multiprocessors == 0) {
        return found != cudaSuccess ? found : cudaErrorNotSupported;
    }
    if (!is_right(*call)) {
        return cudaErrorInvalidValue;
    }
    if (call->multiprocessors > 0 && call->multiprocessors < multiprocessors) {
        multiprocessors = call->multiprocessors;
    }
    const int variant = call->variant == DENSE_BY_COST ? dense_product_choose(call, multiprocessors)
                                                       : call->variant;
    if (!dense_product_takes(variant, call->slices)) {
        return cudaErrorInvalidValue;
    }
    const dense_variant &v = variants[variant];
    const int cluster = v.cluster(call->slices);
    dense_work work = {};
    work.call = *call;
    work.steps = (int)ceil_div((int64_t)call->width * (call->dtype == TYPE_FLOAT8 ? 1 : 2), 128);
    work.token_tiles = (int)ceil_div(call->rows, v.tokens);
    work.weight_tiles = (int)ceil_div(call->columns, v.weights() * (v.pair ? 2 : 1));
    work.band = band_of(v);
    const cudaError_t error = describe_all(*call, v, &work);
    if (error != cudaSuccess) {
        return error;
    }
    const int64_t tiles = (int64_t)work.token_tiles * work.weight_tiles;
    if (tiles > 1 << 30) { /* tile numbers are ints */
        return cudaErrorInvalidValue;
    }
    const int64_t most = multiprocessors / cluster > 0 ? multiprocessors / cluster : 1;
    const unsigned blocks = (unsigned)((tiles < most ? tiles : most) * cluster);
    return call->dtype == TYPE_FLOAT8
               ? dense_float8_launch(variant, stream, blocks, (unsigned)cluster, work)
               : dense_bfloat16_launch(variant, stream, blocks, (unsigned)cluster, work);
}
