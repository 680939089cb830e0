/* SPDX-License-Identifier: Apache-2.0 */
/* The dense products of kernels/dense_product.h on shapes of Llama-3.1-8B beside cuBLASLt's.
 *
 *     bench_gpu_product [check] [shape SHAPE] [table] [variants] [one SHAPE ROWS VARIANT]
 *
 * Without arguments: check table. `shape` leaves the others out of tables.
 *
 * check compares with sums in float64, with cuBLASLt's bits, and a row's bits over numbers of rows
 * and columns, variants and multiprocessors; its exit status is 1 where something of ours differs.
 *
 * table prints microseconds of ours as chosen by cost (early: each may start in the shadow of the
 * one before), of our fastest variant, and of the fastest of cuBLASLt's algorithms without split-K,
 * and the fastest of ours as shares: of the rate of the largest product, and of the longer of all
 * bytes at a copy's speed and the operations at that rate. Of a product in slices cuBLASLt leaves
 * partial sums, ours are added up; ours apply scales, cuBLASLt's do not. Variants that should cost
 * more than most_cost of the chosen one are not timed; `variants` prints all times.
 *
 * one runs a product a few times, for a profiler; variant -1 is chosen by cost, -2 is cuBLASLt's
 * first algorithm.
 *
 * A call is one of a CUDA graph of several that take turns on memory of at least 256 MB (and at
 * least two sets of it); times are CUDA events around the graph, the median of ROUNDS. */
#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/kernels/dense_product/dense_product.h"

enum { BFLOAT16 = 1, FLOAT32 = 0, FP8 = 3 }; /* enum dtype */
enum {
    ROUNDS = 5,
    MOST_SETS = 24,
    CALLS = 12,
    ALGORITHMS = 12,
    WORKSPACE = 32 << 20,
    SAMPLES = 500,
    MULTIPROCESSORS = 132,
};

static const size_t apart = (size_t)256 << 20;
static const size_t random_bytes = (size_t)8 << 20;

static const struct shape {
    const char *name;
    int columns, width, slices; /* width: of a slice */
    int dtype, out_dtype;
} shapes[] = {{"qkv", 6144, 4096, 1, FP8, BFLOAT16},
              {"out", 4096, 2048, 2, FP8, BFLOAT16},
              {"gate/up", 28672, 4096, 1, FP8, BFLOAT16},
              {"down", 4096, 7168, 2, FP8, BFLOAT16},
              {"vocab", 128256, 4096, 1, BFLOAT16, FLOAT32}};
static const int row_counts[] = {16, 64, 128, 256, 380, 512, 939, 1024, 1319, 2048, 8192};
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void check_cuda(cudaError_t error, const char *what)
{
    if (error != cudaSuccess) {
        fprintf(stderr, "bench_gpu_product: %s: %s\n", what, cudaGetErrorString(error));
        exit(2);
    }
}

static void check_blas(cublasStatus_t code, const char *what)
{
    if (code != CUBLAS_STATUS_SUCCESS) {
        fprintf(stderr, "bench_gpu_product: %s: cuBLASLt says %d\n", what, (int)code);
        exit(2);
    }
}

static void *allocate(size_t bytes)
{
    void *memory = NULL;
    check_cuda(cudaMalloc(&memory, bytes), "memory");
    return memory;
}

static void *allocate_host(size_t bytes)
{
    void *memory = malloc(bytes);
    if (memory == NULL) {
        fprintf(stderr, "bench_gpu_product: out of memory\n");
        exit(2);
    }
    return memory;
}

/* ---- Values ---- */

static uint64_t random_state = 88172645463325252u;

static uint64_t random_bits(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* Bell-like with a standard deviation of 1. */
static float random_bell(void)
{
    const uint64_t bits = random_bits();
    float sum = 0.0f;
    for (int i = 0; i < 4; i++) {
        sum += (float)(bits >> (16 * i) & 0xffff) / 65536.0f - 0.5f;
    }
    return sum * 1.7320508f;
}

static double float8_value(uint8_t bits)
{
    const int exponent = bits >> 3 & 15, mantissa = bits & 7;
    const double size = exponent == 0 ? ldexp(mantissa, -9) : ldexp(8 + mantissa, exponent - 10);
    return bits & 0x80 ? -size : size;
}

static double float8_values[256];

static uint8_t float8_bits(float x)
{
    int exponent;
    const double size = fmin(fabs(x), 448.0);
    (void)frexp(size, &exponent);
    const int step = exponent - 4 > -9 ? exponent - 4 : -9; /* of the last bit */
    const int units = (int)nearbyint(ldexp(size, -step));   /* at most 16 */
    const int bits = step == -9 && units < 8 ? units : (step + 9) * 8 + units;
    return (uint8_t)(bits | (x < 0.0f ? 0x80 : 0));
}

static float bfloat16_value(uint16_t bits)
{
    const uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

static uint16_t bfloat16_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

static int bytes_of(int dtype)
{
    return dtype == FP8 ? 1 : dtype == BFLOAT16 ? 2 : 4;
}

/* Random operands, on the host and on the device: fp8 as a row is rounded (its largest near 448),
 * and bfloat16. */
static struct {
    void *host[2], *device[2];
} values;

static int kind_of(int dtype)
{
    return dtype == FP8 ? 0 : 1;
}

static void values_create(void)
{
    for (int i = 0; i < 256; i++) {
        float8_values[i] = float8_value((uint8_t)i);
    }
    for (int kind = 0; kind < 2; kind++) {
        uint8_t *host = allocate_host(random_bytes);
        for (size_t i = 0; i < random_bytes / (size_t)(kind + 1); i++) {
            const float x = random_bell();
            if (kind == 0) {
                host[i] = float8_bits(120.0f * x);
            } else {
                ((uint16_t *)(void *)host)[i] = bfloat16_bits(x);
            }
        }
        values.host[kind] = host;
        values.device[kind] = allocate(random_bytes);
        check_cuda(cudaMemcpy(values.device[kind], host, random_bytes, cudaMemcpyHostToDevice),
                   "values");
    }
}

/* `bytes` of random operands from `offset` (of the circle of random_bytes) on. */
static void fill(void *to, size_t bytes, int dtype, size_t offset)
{
    for (size_t at = 0; at < bytes;) {
        const size_t from = (offset + at) % random_bytes;
        const size_t rest = bytes - at, most = random_bytes - from;
        const size_t here = rest < most ? rest : most;
        check_cuda(cudaMemcpy((char *)to + at, (char *)values.device[kind_of(dtype)] + from, here,
                              cudaMemcpyDeviceToDevice),
                   "values");
        at += here;
    }
}

/* ---- A product's memory ---- */

struct operands {
    void *in, *weights, *out;
    float *in_scale, *weight_scale;
};

static size_t in_bytes(const struct shape *shape, int rows)
{
    return (size_t)shape->slices * (size_t)rows * (size_t)shape->width *
           (size_t)bytes_of(shape->dtype);
}

static size_t out_bytes(const struct shape *shape, int rows)
{
    return (size_t)shape->slices * (size_t)rows * (size_t)shape->columns *
           (size_t)bytes_of(shape->out_dtype);
}

static float *new_scales(size_t count, float middle)
{
    float *host = allocate_host(count * sizeof *host), *device = allocate(count * sizeof *host);
    for (size_t i = 0; i < count; i++) {
        host[i] = middle * (0.5f + (float)(random_bits() >> 40) / 16777216.0f);
    }
    check_cuda(cudaMemcpy(device, host, count * sizeof *host, cudaMemcpyHostToDevice), "scales");
    free(host);
    return device;
}

/* Set number `number`, with room in `out` for cuBLASLt's partial sums. */
static struct operands operands_create(const struct shape *shape, int rows, size_t number)
{
    struct operands o = {.in = allocate(in_bytes(shape, rows)),
                         .weights = allocate(in_bytes(shape, shape->columns)),
                         .out = allocate(out_bytes(shape, rows))};
    fill(o.in, in_bytes(shape, rows), shape->dtype, number * 4099 * 4096);
    fill(o.weights, in_bytes(shape, shape->columns), shape->dtype, 512 + number * 5003 * 4096);
    check_cuda(cudaMemset(o.out, 0xff, out_bytes(shape, rows)), "poison");
    if (shape->dtype == FP8) {
        o.in_scale = new_scales((size_t)shape->slices * (size_t)rows, 0.01f);
        o.weight_scale = new_scales((size_t)shape->slices * (size_t)shape->columns, 0.0001f);
    }
    return o;
}

static void operands_destroy(struct operands *o)
{
    check_cuda(cudaFree(o->in), "free");
    check_cuda(cudaFree(o->weights), "free");
    check_cuda(cudaFree(o->out), "free");
    check_cuda(cudaFree(o->in_scale), "free");
    check_cuda(cudaFree(o->weight_scale), "free");
}

static struct dense_product call_of(const struct shape *shape, int rows, const struct operands *o)
{
    const size_t row_bytes = (size_t)shape->width * (size_t)bytes_of(shape->dtype);
    return (struct dense_product){.dtype = shape->dtype,
                                  .rows = rows,
                                  .columns = shape->columns,
                                  .width = shape->width,
                                  .slices = shape->slices,
                                  .in = o->in,
                                  .in_row_bytes = row_bytes,
                                  .in_slice_bytes = (size_t)rows * row_bytes,
                                  .weights = o->weights,
                                  .weight_row_bytes = row_bytes,
                                  .weight_slice_bytes = (size_t)shape->columns * row_bytes,
                                  .in_scale = o->in_scale,
                                  .in_scale_stride = rows,
                                  .weight_scale = o->weight_scale,
                                  .out = o->out,
                                  .out_dtype = shape->out_dtype,
                                  .variant = DENSE_BY_COST};
}

/* ---- cuBLASLt ---- */

struct blas {
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t a, b, d;
    cublasLtMatmulHeuristicResult_t found[ALGORITHMS];
    int count;
};

static cublasLtHandle_t handle;
static void *workspace;
static cudaStream_t stream;

static cudaDataType_t cuda_type(int dtype)
{
    return dtype == FP8 ? CUDA_R_8F_E4M3 : dtype == BFLOAT16 ? CUDA_R_16BF : CUDA_R_32F;
}

static cublasLtMatrixLayout_t new_layout(int dtype, int rows, int columns, int count)
{
    cublasLtMatrixLayout_t layout;
    const int64_t stride = (int64_t)rows * columns;
    check_blas(cublasLtMatrixLayoutCreate(&layout, cuda_type(dtype), (uint64_t)rows,
                                          (uint64_t)columns, rows),
               "layout");
    check_blas(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count,
                                                sizeof count),
               "layout");
    check_blas(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                                &stride, sizeof stride),
               "layout");
    return layout;
}

/* Slices as a strided batch, as backend/cuda/product.c has them; no split-K. */
static struct blas blas_create(const struct shape *shape, int rows, int8_t fast)
{
    struct blas blas;
    const cublasOperation_t turned = CUBLAS_OP_T;
    const uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_NONE;
    const uint64_t bytes = WORKSPACE;
    cublasLtMatmulPreference_t preference;
    check_blas(cublasLtMatmulDescCreate(&blas.operation, CUBLAS_COMPUTE_32F, CUDA_R_32F),
               "product");
    check_blas(cublasLtMatmulDescSetAttribute(blas.operation, CUBLASLT_MATMUL_DESC_TRANSA, &turned,
                                              sizeof turned),
               "product");
    check_blas(cublasLtMatmulDescSetAttribute(blas.operation, CUBLASLT_MATMUL_DESC_FAST_ACCUM,
                                              &fast, sizeof fast),
               "product");
    blas.a = new_layout(shape->dtype, shape->width, shape->columns, shape->slices);
    blas.b = new_layout(shape->dtype, shape->width, rows, shape->slices);
    blas.d = new_layout(shape->out_dtype, shape->columns, rows, shape->slices);
    check_blas(cublasLtMatmulPreferenceCreate(&preference), "preference");
    check_blas(cublasLtMatmulPreferenceSetAttribute(preference,
                                                    CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                                                    &schemes, sizeof schemes),
               "preference");
    check_blas(cublasLtMatmulPreferenceSetAttribute(
                   preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes),
               "preference");
    blas.count = 0;
    check_blas(cublasLtMatmulAlgoGetHeuristic(handle, blas.operation, blas.a, blas.b, blas.d,
                                              blas.d, preference, ALGORITHMS, blas.found,
                                              &blas.count),
               "algorithms");
    check_blas(cublasLtMatmulPreferenceDestroy(preference), "preference");
    return blas;
}

static void blas_destroy(struct blas *blas)
{
    check_blas(cublasLtMatmulDescDestroy(blas->operation), "product");
    check_blas(cublasLtMatrixLayoutDestroy(blas->a), "layout");
    check_blas(cublasLtMatrixLayoutDestroy(blas->b), "layout");
    check_blas(cublasLtMatrixLayoutDestroy(blas->d), "layout");
}

static void blas_run(const struct blas *blas, int algorithm, const struct operands *o, void *out)
{
    static const float one = 1.0f, zero = 0.0f;
    check_blas(cublasLtMatmul(handle, blas->operation, &one, o->weights, blas->a, o->in, blas->b,
                              &zero, out, blas->d, out, blas->d, &blas->found[algorithm].algo,
                              workspace, WORKSPACE, stream),
               "product");
}

/* ---- Checks ---- */

static int failures;

static void expect(bool right, const char *what, const struct shape *shape, int rows, double figure)
{
    if (!right) {
        failures++;
        printf("WRONG: %s: %s, %d columns, %d x %d of k, %d rows: %g\n", what, shape->name,
               shape->columns, shape->slices, shape->width, rows, figure);
    }
}

static void *download(const void *from, size_t bytes)
{
    void *to = allocate_host(bytes);
    check_cuda(cudaStreamSynchronize(stream), "product");
    check_cuda(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost), "download");
    return to;
}

static double value_of(const void *at, int dtype, size_t i)
{
    return dtype == FP8        ? float8_values[((const uint8_t *)at)[i]]
           : dtype == BFLOAT16 ? (double)bfloat16_value(((const uint16_t *)at)[i])
                               : (double)((const float *)at)[i];
}

/* A product's results, with what it was called for. */
static void *run_product(const struct dense_product *call)
{
    const size_t bytes =
        (size_t)call->rows * (size_t)call->columns * (size_t)bytes_of(call->out_dtype);
    check_cuda(cudaMemset(call->out, 0xff, bytes), "poison");
    check_cuda(dense_product_launch(stream, call), "launch");
    return download(call->out, bytes);
}

/* ‖out − sums in float64‖ / ‖sums‖ over some outputs. */
static double distance(const struct dense_product *call, const void *out, double *most)
{
    const size_t value = (size_t)bytes_of(call->dtype);
    const size_t slice_in = (size_t)call->rows * (size_t)call->width;
    const size_t slice_weights = (size_t)call->columns * (size_t)call->width;
    void *in = download(call->in, (size_t)call->slices * slice_in * value);
    void *weights = download(call->weights, (size_t)call->slices * slice_weights * value);
    float *row_scale = NULL, *column_scale = NULL;
    if (call->in_scale != NULL) {
        row_scale = download(call->in_scale, (size_t)(call->slices * call->rows) * 4);
        column_scale = download(call->weight_scale, (size_t)(call->slices * call->columns) * 4);
    }
    double off = 0.0, all = 0.0;
    *most = 0.0;
    for (int i = 0; i < SAMPLES; i++) {
        const size_t row = random_bits() % (size_t)call->rows;
        const size_t column = random_bits() % (size_t)call->columns;
        double sum = 0.0;
        for (int s = 0; s < call->slices; s++) {
            double part = 0.0;
            for (size_t k = 0; k < (size_t)call->width; k++) {
                part += value_of(in, call->dtype,
                                 (size_t)s * slice_in + row * (size_t)call->width + k) *
                        value_of(weights, call->dtype,
                                 (size_t)s * slice_weights + column * (size_t)call->width + k);
            }
            if (row_scale != NULL) {
                part *= (double)row_scale[(size_t)(s * call->rows) + row] *
                        (double)column_scale[(size_t)(s * call->columns) + column];
            }
            sum += part;
        }
        const double given =
            value_of(out, call->out_dtype, row * (size_t)call->columns + column) - sum;
        off += given * given;
        all += sum * sum;
        *most = fmax(*most, fabs(given));
        if (isnan(given)) {
            off = INFINITY;
        }
    }
    *most /= sqrt(all / SAMPLES);
    free(in);
    free(weights);
    free(row_scale);
    free(column_scale);
    return sqrt(off / all);
}

static void check_distances(void)
{
    static const struct {
        int rows, columns, width, slices;
    } cases[] = {{1, 8, 16, 1},        {7, 136, 48, 1},     {17, 128, 4096, 1},  {130, 264, 720, 1},
                 {1000, 776, 4144, 1}, {33, 136, 1040, 2},  {300, 512, 2048, 2}, {257, 264, 528, 4},
                 {65, 520, 272, 8},    {600, 4096, 7168, 2}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (int t = 0; t < 4; t++) {
            const struct shape shape = {
                "distance",      cases[i].columns,       cases[i].width,
                cases[i].slices, t < 2 ? FP8 : BFLOAT16, t % 2 ? FLOAT32 : BFLOAT16};
            struct operands o = operands_create(&shape, cases[i].rows, i);
            struct dense_product call = call_of(&shape, cases[i].rows, &o);
            double most;
            void *out = run_product(&call);
            const double error = distance(&call, out, &most);
            printf("%s to %s, %4d rows, %4d columns, %d x %4d: distance %.1e, most %.1e\n",
                   t < 2 ? "fp8 " : "bf16", t % 2 ? "float32" : "bf16   ", cases[i].rows,
                   cases[i].columns, cases[i].slices, cases[i].width, error, most);
            expect(error < 4e-3, "distance", &shape, cases[i].rows, error);
            free(out);
            operands_destroy(&o);
        }
    }
}

/* Rows' bits with fewer rows, fewer columns, other variants, fewer multiprocessors. */
static void check_bits_of(const struct shape *shape)
{
    enum { ROWS = 4096, FEW_COLUMNS = 264 };
    static const int rows[] = {1,   2,   3,   8,   16,  17,  31,   64,   65,   100,
                               128, 200, 257, 380, 512, 939, 1024, 1319, 2048, 4095};
    static const int multiprocessors[] = {2, 8, 24, 66, 100, 131};
    struct operands o = operands_create(shape, ROWS, 3);
    struct dense_product call = call_of(shape, ROWS, &o);
    const size_t row = (size_t)shape->columns * (size_t)bytes_of(shape->out_dtype);
    char *whole = run_product(&call);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct dense_product part = call;
        part.rows = rows[i];
        char *out = run_product(&part);
        expect(memcmp(out, whole, (size_t)rows[i] * row) == 0, "bits of fewer rows", shape, rows[i],
               0);
        free(out);
    }
    for (int v = 0; v < dense_product_variants(); v++) {
        if (!dense_product_takes(v, shape->slices)) {
            continue;
        }
        for (int r = 0; r < 3; r++) {
            struct dense_product part = call;
            part.rows = r == 0 ? ROWS : r == 1 ? 333 : 5;
            part.variant = v;
            part.multiprocessors = r == 1 ? 24 : 0;
            char *out = run_product(&part);
            expect(memcmp(out, whole, (size_t)part.rows * row) == 0, "bits of a variant", shape,
                   part.rows, v);
            free(out);
        }
    }
    for (size_t i = 0; i < COUNT(multiprocessors); i++) {
        struct dense_product part = call;
        part.multiprocessors =
            multiprocessors[i] < shape->slices ? shape->slices : multiprocessors[i];
        char *out = run_product(&part);
        expect(memcmp(out, whole, ROWS * row) == 0, "bits on fewer multiprocessors", shape, ROWS,
               multiprocessors[i]);
        free(out);
    }
    if (shape->slices == 1 && shape->columns > FEW_COLUMNS) {
        struct dense_product part = call;
        part.columns = FEW_COLUMNS;
        const size_t few = FEW_COLUMNS * (size_t)bytes_of(shape->out_dtype);
        char *out = run_product(&part);
        bool same = true;
        for (size_t r = 0; r < ROWS; r++) {
            same = same && memcmp(out + r * few, whole + r * row, few) == 0;
        }
        expect(same, "bits of fewer columns", shape, ROWS, FEW_COLUMNS);
        free(out);
    }
    free(whole);
    operands_destroy(&o);
}

/* Sums of cuBLASLt's partial sums (rounded to bfloat16) as the tree, in float32. */
static void add_partials(const struct dense_product *call, const uint16_t *partials, float *sums)
{
    const size_t all = (size_t)call->rows * (size_t)call->columns;
    for (size_t i = 0; i < all; i++) {
        float part[DENSE_MAX_SLICES];
        for (int s = 0; s < call->slices; s++) {
            part[s] = bfloat16_value(partials[(size_t)s * all + i]);
        }
        for (int apart_by = 1; apart_by < call->slices; apart_by *= 2) {
            for (int s = 0; s < call->slices; s += 2 * apart_by) {
                part[s] += part[s + apart_by];
            }
        }
        sums[i] = part[0];
    }
}

/* How many of cuBLASLt's algorithms have our bits, over some numbers of rows. */
static void compare_with_blas(const char *name, int columns, int width, int slices, int dtype,
                              int out_dtype, int8_t fast)
{
    static const int rows[] = {1, 16, 100, 512, 2048};
    const struct shape shape = {name,   columns, width,
                                slices, dtype,   slices > 1 ? BFLOAT16 : out_dtype};
    int same = 0, tried = 0;
    double most = 0.0;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct operands o = operands_create(&shape, rows[i], 5);
        struct dense_product call = call_of(&shape, rows[i], &o);
        call.in_scale = call.weight_scale = NULL;
        call.out_dtype = slices > 1 ? FLOAT32 : out_dtype;
        const size_t all = (size_t)rows[i] * (size_t)columns;
        void *ours = NULL;
        check_cuda(cudaFree(o.out), "free");
        o.out = allocate((size_t)slices * all * 4);
        call.out = o.out;
        ours = run_product(&call);
        struct blas blas = blas_create(&shape, rows[i], fast);
        for (int a = 0; a < blas.count; a++) {
            check_cuda(cudaMemset(o.out, 0xff, (size_t)slices * all * 2), "poison");
            blas_run(&blas, a, &o, o.out);
            void *theirs =
                download(o.out, (size_t)slices * all * (size_t)bytes_of(shape.out_dtype));
            if (slices > 1) {
                float *sums = allocate_host(all * sizeof *sums);
                add_partials(&call, theirs, sums);
                free(theirs);
                theirs = sums;
            }
            const bool equal = memcmp(ours, theirs, all * (size_t)bytes_of(call.out_dtype)) == 0;
            for (size_t j = 0; !equal && j < all; j++) {
                const double off =
                    fabs(value_of(ours, call.out_dtype, j) - value_of(theirs, call.out_dtype, j));
                most = fmax(most, off / (fabs(value_of(theirs, call.out_dtype, j)) + 1e-30));
            }
            same += equal;
            tried++;
            free(theirs);
        }
        free(ours);
        blas_destroy(&blas);
        operands_destroy(&o);
    }
    printf("%-26s %5d columns, %d x %5d, %s to %s%s: %d of %d of cuBLASLt's have our bits", name,
           columns, slices, width, dtype == FP8 ? "fp8" : "bf16",
           out_dtype == FLOAT32 ? "float32" : "bf16", fast ? ", fast" : "", same, tried);
    printf(same < tried ? "; most apart %.1e of a value\n" : "\n", most);
}

static void check(void)
{
    check_distances();
    for (int t = 0; t < 2; t++) {
        static const int slices[] = {1, 2, 4, 8};
        for (size_t s = 0; s < COUNT(slices); s++) {
            const struct shape shape = {"bits",
                                        1032,
                                        slices[s] == 1 ? 1536 : 400,
                                        slices[s],
                                        t == 0 ? FP8 : BFLOAT16,
                                        slices[s] % 4 == 0 ? FLOAT32 : BFLOAT16};
            check_bits_of(&shape);
        }
    }
    printf("bits over rows, columns, variants and multiprocessors: %d wrong\n", failures);
    for (int fast = 1; fast >= 0; fast--) {
        compare_with_blas("k of 128", 1024, 128, 1, FP8, FLOAT32, (int8_t)fast);
        compare_with_blas("k of 256", 1024, 256, 1, FP8, FLOAT32, (int8_t)fast);
        compare_with_blas("k of 720", 1024, 720, 1, FP8, FLOAT32, (int8_t)fast);
        compare_with_blas("k of 4096", 1024, 4096, 1, FP8, BFLOAT16, (int8_t)fast);
        compare_with_blas("k of 4096", 2048, 4096, 1, FP8, FLOAT32, (int8_t)fast);
        compare_with_blas("slices", 1024, 7168, 2, FP8, BFLOAT16, (int8_t)fast);
    }
    compare_with_blas("k of 4096", 1024, 4096, 1, BFLOAT16, FLOAT32, 0);
    compare_with_blas("k of 1080", 1024, 1080, 1, BFLOAT16, BFLOAT16, 0);
    compare_with_blas("slices", 1024, 2048, 2, BFLOAT16, BFLOAT16, 0);
    fflush(stdout);
}

/* ---- Times ---- */

static int compare_floats(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static cudaEvent_t start_event, end_event;

/* Microseconds of one of `calls` calls of run(context, i) in a graph. */
static double measure(void (*run)(const void *context, size_t i), const void *context, size_t calls)
{
    float times[ROUNDS];
    cudaGraph_t graph;
    cudaGraphExec_t ready;
    check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture");
    for (size_t i = 0; i < calls; i++) {
        run(context, i);
    }
    check_cuda(cudaStreamEndCapture(stream, &graph), "capture");
    check_cuda(cudaGraphInstantiate(&ready, graph, 0), "graph");
    check_cuda(cudaGraphLaunch(ready, stream), "graph");
    for (int round = 0; round < ROUNDS; round++) {
        check_cuda(cudaEventRecord(start_event, stream), "event");
        check_cuda(cudaGraphLaunch(ready, stream), "graph");
        check_cuda(cudaEventRecord(end_event, stream), "event");
        check_cuda(cudaEventSynchronize(end_event), "graph");
        check_cuda(cudaEventElapsedTime(&times[round], start_event, end_event), "event");
    }
    check_cuda(cudaGraphExecDestroy(ready), "graph");
    check_cuda(cudaGraphDestroy(graph), "graph");
    qsort(times, ROUNDS, sizeof times[0], compare_floats);
    return 1e3 * (double)times[ROUNDS / 2] / (double)calls;
}

struct timing {
    const struct shape *shape;
    int rows, variant, algorithm, starts_early;
    const struct blas *blas;
    struct operands sets[MOST_SETS];
    size_t count;
};

static void run_ours(const void *context, size_t i)
{
    const struct timing *timing = context;
    struct dense_product call =
        call_of(timing->shape, timing->rows, &timing->sets[i % timing->count]);
    call.variant = timing->variant;
    call.starts_early = timing->starts_early;
    check_cuda(dense_product_launch(stream, &call), "launch");
}

static void run_blas(const void *context, size_t i)
{
    const struct timing *timing = context;
    const struct operands *o = &timing->sets[i % timing->count];
    blas_run(timing->blas, timing->algorithm, o, o->out);
}

/* Bytes a second that a copy reads and writes. */
static double copy_rate(void)
{
    const size_t bytes = (size_t)1 << 30;
    void *from = allocate(bytes), *to = allocate(bytes);
    float times[ROUNDS];
    fill(from, bytes, FP8, 0);
    for (int round = -1; round < ROUNDS; round++) {
        check_cuda(cudaEventRecord(start_event, stream), "event");
        for (int i = 0; i < 4; i++) {
            check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream), "copy");
        }
        check_cuda(cudaEventRecord(end_event, stream), "event");
        check_cuda(cudaEventSynchronize(end_event), "copy");
        check_cuda(cudaEventElapsedTime(&times[round < 0 ? 0 : round], start_event, end_event),
                   "event");
    }
    check_cuda(cudaFree(from), "free");
    check_cuda(cudaFree(to), "free");
    qsort(times, ROUNDS, sizeof times[0], compare_floats);
    return 4 * 2.0 * (double)bytes / (1e-3 * (double)times[ROUNDS / 2]);
}

static void timing_create(struct timing *timing, const struct shape *shape, int rows)
{
    const size_t bytes =
        in_bytes(shape, rows) + in_bytes(shape, shape->columns) + out_bytes(shape, rows);
    const size_t wanted = apart / bytes + 2;
    *timing = (struct timing){.shape = shape, .rows = rows, .variant = DENSE_BY_COST};
    timing->count = wanted < MOST_SETS ? wanted : MOST_SETS;
    for (size_t i = 0; i < timing->count; i++) {
        timing->sets[i] = operands_create(shape, rows, i);
    }
}

static void timing_destroy(struct timing *timing)
{
    for (size_t i = 0; i < timing->count; i++) {
        operands_destroy(&timing->sets[i]);
    }
}

static size_t calls_of(const struct timing *timing)
{
    return timing->count > CALLS ? timing->count : CALLS / timing->count * timing->count;
}

static double fastest_blas(struct timing *timing)
{
    struct blas blas = blas_create(timing->shape, timing->rows, timing->shape->dtype == FP8);
    double least = INFINITY;
    timing->blas = &blas;
    for (int a = 0; a < blas.count; a++) {
        timing->algorithm = a;
        least = fmin(least, measure(run_blas, timing, calls_of(timing)));
    }
    blas_destroy(&blas);
    return least;
}

/* Variants that cost more, against the chosen one, are not timed. */
static const double most_cost = 1.4;

static double fastest_ours(struct timing *timing, bool prints, int *best)
{
    double least = INFINITY;
    for (int v = 0; v < dense_product_variants(); v++) {
        char text[64];
        struct dense_product call = call_of(timing->shape, timing->rows, &timing->sets[0]);
        const double cost = dense_product_cost(&call, v, MULTIPROCESSORS);
        if (!(cost < most_cost * dense_product_cost(&call,
                                                    dense_product_choose(&call, MULTIPROCESSORS),
                                                    MULTIPROCESSORS))) {
            continue;
        }
        timing->variant = v;
        const double time = measure(run_ours, timing, calls_of(timing));
        if (time < least) {
            least = time;
            *best = v;
        }
        dense_product_describe(v, text, sizeof text);
        if (prints) {
            printf("  %s %.1f", text, time);
        }
    }
    timing->variant = DENSE_BY_COST;
    return least;
}

static const char *only; /* this shape in tables, or NULL */

static void print_table(bool prints_variants)
{
    double largest[2] = {0.0, 0.0}; /* operations a second, fp8 and bfloat16 */
    const double copy = copy_rate();
    for (int kind = 0; kind < 2; kind++) {
        const struct shape big = {
            "largest", 28672, kind == 0 ? 8192 : 4096, 1, kind == 0 ? FP8 : BFLOAT16, BFLOAT16};
        static struct timing timing;
        timing_create(&timing, &big, 8192);
        const double theirs = fastest_blas(&timing);
        int best = 0;
        const double ours = fastest_ours(&timing, false, &best);
        const double operations = 2.0 * 8192 * big.columns * (double)big.width;
        largest[kind] = operations / (1e-6 * fmin(ours, theirs));
        printf("largest in %s: ours %.0f TFLOP/s (variant %d), cuBLASLt's %.0f\n",
               kind == 0 ? "fp8" : "bf16", 1e-6 * operations / ours, best,
               1e-6 * operations / theirs);
        timing_destroy(&timing);
    }
    printf("copy %.2f TB/s\n%-8s %5s %9s %9s %9s %9s  %-14s %-14s %8s %6s %6s\n", 1e-12 * copy,
           "shape", "rows", "early", "chosen", "fastest", "cuBLASLt", "chosen", "fastest",
           "TFLOP/s", "rate", "floor");
    for (size_t s = 0; s < COUNT(shapes); s++) {
        const struct shape *shape = &shapes[s];
        const bool leaves_out = only != NULL && strcmp(only, shape->name) != 0;
        for (size_t r = leaves_out ? COUNT(row_counts) : 0; r < COUNT(row_counts); r++) {
            static struct timing timing;
            const int rows = row_counts[r];
            char names[2][64];
            int best = 0;
            timing_create(&timing, shape, rows);
            const double theirs = fastest_blas(&timing);
            const double ours = fastest_ours(&timing, prints_variants, &best);
            if (prints_variants) {
                printf("\n");
            }
            struct dense_product call = call_of(shape, rows, &timing.sets[0]);
            const double chosen = measure(run_ours, &timing, calls_of(&timing));
            timing.starts_early = 1;
            const double early = measure(run_ours, &timing, calls_of(&timing));
            const double operations =
                2.0 * rows * (double)shape->columns * (double)(shape->width * shape->slices);
            const double bytes = (double)(in_bytes(shape, rows) + in_bytes(shape, shape->columns)) +
                                 (double)out_bytes(shape, rows) / shape->slices;
            const double rate = largest[kind_of(shape->dtype)];
            const double floor = 1e6 * fmax(bytes / copy, operations / rate);
            dense_product_describe(dense_product_choose(&call, MULTIPROCESSORS), names[0],
                                   sizeof names[0]);
            dense_product_describe(best, names[1], sizeof names[1]);
            printf("%-8s %5d %9.1f %9.1f %9.1f %9.1f  %-14s %-14s %8.0f %5.0f%% %5.0f%%\n",
                   shape->name, rows, early, chosen, ours, theirs, names[0], names[1],
                   1e-6 * operations / ours, 1e2 * operations / (1e-6 * ours) / rate,
                   1e2 * floor / ours);
            fflush(stdout);
            timing_destroy(&timing);
        }
    }
}

/* For a profiler: a few calls of one. */
static void one(const char *name, int rows, int variant)
{
    for (size_t s = 0; s < COUNT(shapes); s++) {
        if (strcmp(shapes[s].name, name) == 0) {
            static struct timing timing;
            timing_create(&timing, &shapes[s], rows);
            struct blas blas = blas_create(&shapes[s], rows, shapes[s].dtype == FP8);
            timing.variant = variant;
            timing.blas = &blas;
            for (size_t i = 0; i < 4; i++) {
                if (variant == -2) {
                    run_blas(&timing, i);
                } else {
                    run_ours(&timing, i);
                }
            }
            check_cuda(cudaStreamSynchronize(stream), "product");
            blas_destroy(&blas);
            timing_destroy(&timing);
        }
    }
}

int main(int argc, char **argv)
{
    check_cuda(cudaStreamCreate(&stream), "stream");
    check_cuda(cudaEventCreate(&start_event), "event");
    check_cuda(cudaEventCreate(&end_event), "event");
    check_blas(cublasLtCreate(&handle), "cuBLASLt");
    workspace = allocate(WORKSPACE);
    values_create();
    if (argc == 1) {
        check();
        print_table(false);
    }
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "check") == 0) {
            check();
        } else if (strcmp(argv[i], "shape") == 0 && i + 1 < argc) {
            only = argv[++i];
        } else if (strcmp(argv[i], "table") == 0) {
            print_table(false);
        } else if (strcmp(argv[i], "variants") == 0) {
            print_table(true);
        } else if (strcmp(argv[i], "one") == 0 && i + 3 < argc) {
            one(argv[i + 1], atoi(argv[i + 2]), atoi(argv[i + 3]));
            i += 3;
        } else {
            fprintf(stderr, "usage: bench_gpu_product [check] [shape SHAPE] [table] [variants] "
                            "[one SHAPE ROWS VARIANT]\n");
            return 2;
        }
    }
    return failures > 0 ? 1 : 0;
}
