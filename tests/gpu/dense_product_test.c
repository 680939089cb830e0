/* SPDX-License-Identifier: Apache-2.0 */
/* Dense products of our own (kernels/dense_product.h) beside sums in float64, the same bits for a
 * row whatever stands beside it and whoever computes it, and calls that are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <cuda_runtime_api.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "backend/cuda/kernels/dense_product/dense_product.h"
#include "gpu/gpu_require.h"

/* fp8 (e4m3) and bfloat16 of the same few magnitudes, so that both can be drawn from bits. */
static double value_of(int dtype, const void *values, size_t i)
{
    if (dtype == DTYPE_FLOAT8_E4M3) {
        const uint8_t bits = ((const uint8_t *)values)[i];
        const double size = ldexp(8 + (bits & 7), (bits >> 3 & 15) - 10);
        return bits & 0x80 ? -size : size;
    }
    const uint32_t wide = (uint32_t)((const uint16_t *)values)[i] << 16;
    float value;
    if (dtype == DTYPE_FLOAT32) {
        return (double)((const float *)values)[i];
    }
    memcpy(&value, &wide, sizeof value);
    return (double)value;
}

static uint64_t random_bits(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* Magnitudes from 1/8 to 2. */
static void fill(int dtype, void *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const uint64_t bits = random_bits();
        const unsigned sign = (unsigned)(bits >> 63), exponent = bits >> 40 & 3;
        if (dtype == DTYPE_FLOAT8_E4M3) {
            ((uint8_t *)values)[i] = (uint8_t)(sign << 7 | (4 + exponent) << 3 | (bits >> 20 & 7));
        } else if (dtype == DTYPE_BFLOAT16) {
            ((uint16_t *)values)[i] =
                (uint16_t)(sign << 15 | (124 + exponent) << 7 | (bits >> 20 & 127));
        } else {
            ((float *)values)[i] = 0.5f + (float)(bits >> 40) * 0x1p-24f;
        }
    }
}

static void check_cuda(cudaError_t error)
{
    if (error != cudaSuccess) {
        fail_msg("%s", cudaGetErrorString(error));
    }
}

/* Values on the host and on the device. */
struct array {
    void *host, *device;
    size_t bytes;
};

static struct array new_array(int dtype, size_t count)
{
    struct array array = {.bytes = count * dtype_bytes((enum dtype)dtype)};
    array.host = malloc(array.bytes);
    assert_non_null(array.host);
    fill(dtype, array.host, count);
    check_cuda(cudaMalloc(&array.device, array.bytes));
    check_cuda(cudaMemcpy(array.device, array.host, array.bytes, cudaMemcpyHostToDevice));
    return array;
}

static void free_array(struct array *array)
{
    free(array->host);
    check_cuda(cudaFree(array->device));
}

struct product {
    struct dense_product call;
    struct array in, weights, in_scale, weight_scale, bias, out;
};

static struct product new_product(int dtype, int out_dtype, int rows, int columns, int slices,
                                  int width)
{
    const size_t value = dtype_bytes((enum dtype)dtype), row = (size_t)width * value;
    struct product p = {
        .in = new_array(dtype, (size_t)slices * (size_t)rows * (size_t)width),
        .weights = new_array(dtype, (size_t)slices * (size_t)columns * (size_t)width),
        .in_scale = new_array(DTYPE_FLOAT32, (size_t)slices * (size_t)rows),
        .weight_scale = new_array(DTYPE_FLOAT32, (size_t)slices * (size_t)columns),
        .bias = new_array(DTYPE_FLOAT32, (size_t)columns),
        .out = new_array(out_dtype, (size_t)rows * (size_t)columns),
    };
    p.call = (struct dense_product){.dtype = dtype,
                                    .rows = rows,
                                    .columns = columns,
                                    .width = width,
                                    .slices = slices,
                                    .in = p.in.device,
                                    .in_row_bytes = row,
                                    .in_slice_bytes = (size_t)rows * row,
                                    .weights = p.weights.device,
                                    .weight_row_bytes = row,
                                    .weight_slice_bytes = (size_t)columns * row,
                                    .out = p.out.device,
                                    .out_dtype = out_dtype,
                                    .multiplier = 0.5f,
                                    .variant = DENSE_BY_COST};
    return p;
}

static void add_scales(struct product *p)
{
    p->call.in_scale = p->in_scale.device;
    p->call.in_scale_stride = p->call.rows;
    p->call.weight_scale = p->weight_scale.device;
}

static void free_product(struct product *p)
{
    struct array *arrays[] = {&p->in,           &p->weights, &p->in_scale,
                              &p->weight_scale, &p->bias,    &p->out};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        free_array(arrays[i]);
    }
}

/* The result of a call; NaN where nothing is written, but for what it adds to. */
static void *run(const struct product *p, const struct dense_product *call)
{
    void *out = malloc(p->out.bytes);
    assert_non_null(out);
    if (call->adds) {
        check_cuda(cudaMemcpy(call->out, p->out.host, p->out.bytes, cudaMemcpyHostToDevice));
    } else {
        check_cuda(cudaMemset(call->out, 0xff, p->out.bytes));
    }
    check_cuda(dense_product_launch(NULL, call));
    check_cuda(cudaDeviceSynchronize());
    check_cuda(cudaMemcpy(out, call->out, p->out.bytes, cudaMemcpyDeviceToHost));
    return out;
}

static double sum_of(const struct product *p, size_t row, size_t column)
{
    const struct dense_product *call = &p->call;
    double sum = 0.0;
    for (size_t s = 0; s < (size_t)call->slices; s++) {
        const size_t in_row = s * (size_t)call->rows + row;
        const size_t weight_row = s * (size_t)call->columns + column;
        double part = 0.0;
        for (size_t k = 0; k < (size_t)call->width; k++) {
            part += value_of(call->dtype, p->in.host, in_row * (size_t)call->width + k) *
                    value_of(call->dtype, p->weights.host, weight_row * (size_t)call->width + k);
        }
        if (call->in_scale != NULL) {
            part *= value_of(DTYPE_FLOAT32, p->in_scale.host, in_row) *
                    value_of(DTYPE_FLOAT32, p->weight_scale.host, weight_row);
        }
        sum += part;
    }
    if (call->bias != NULL) {
        sum += value_of(DTYPE_FLOAT32, p->bias.host, column);
    }
    if (call->adds) {
        sum = value_of(DTYPE_FLOAT32, p->out.host, row * (size_t)call->columns + column) +
              (double)call->multiplier * sum;
    }
    return sum;
}

/* ‖out − sums‖ / ‖sums‖ */
static double distance(const struct product *p, const void *out)
{
    double off = 0.0, all = 0.0;
    for (size_t row = 0; row < (size_t)p->call.rows; row++) {
        for (size_t column = 0; column < (size_t)p->call.columns; column++) {
            const double sum = sum_of(p, row, column);
            const double given =
                value_of(p->call.out_dtype, out, row * (size_t)p->call.columns + column) - sum;
            off += given * given;
            all += sum * sum;
        }
    }
    return sqrt(off / all);
}

static const int types[] = {DTYPE_FLOAT8_E4M3, DTYPE_BFLOAT16};

static void sums_are_right(void **state)
{
    (void)state;
    static const struct {
        int rows, columns, slices, width;
        bool scaled, biased, adds;
    } cases[] = {{1, 8, 1, 16, true, false, false},    {5, 136, 1, 48, false, true, false},
                 {33, 200, 1, 1040, true, true, true}, {130, 72, 1, 512, false, false, true},
                 {17, 136, 2, 304, true, false, true}, {70, 88, 4, 144, true, true, false},
                 {9, 264, 8, 80, false, false, true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t t = 0; t < 4; t++) {
            const int out_dtype = t % 2 == 0 && !cases[i].adds ? DTYPE_BFLOAT16 : DTYPE_FLOAT32;
            struct product p = new_product(types[t / 2], out_dtype, cases[i].rows, cases[i].columns,
                                           cases[i].slices, cases[i].width);
            if (cases[i].scaled) {
                add_scales(&p);
            }
            p.call.bias = cases[i].biased ? p.bias.device : NULL;
            p.call.adds = cases[i].adds;
            void *out = run(&p, &p.call);
            const double most = t < 2 || out_dtype == DTYPE_BFLOAT16 || cases[i].slices > 1
                                    ? 4e-3
                                    : 1e-5; /* one rounding less */
            const double off = distance(&p, out);
            if (!(off < most)) {
                fail_msg("type %d, case %zu: distance %g", types[t / 2], i, off);
            }
            free(out);
            free_product(&p);
        }
    }
}

/* The same first rows, or all, from another call. */
static void expect_bits(const struct product *p, const struct dense_product *call,
                        const char *whole, const char *what, int which)
{
    const size_t row = (size_t)p->call.columns * dtype_bytes((enum dtype)p->call.out_dtype);
    char *out = run(p, call);
    if (memcmp(out, whole, (size_t)call->rows * row) != 0) {
        fail_msg("bits of %s %d: type %d, %d slices, %d rows", what, which, p->call.dtype,
                 p->call.slices, call->rows);
    }
    free(out);
}

static void bits_know_no_batch_and_no_tile(void **state)
{
    (void)state;
    static const int rows[] = {1, 2, 15, 16, 17, 64, 100, 129, 255, 256, 400},
                     multiprocessors[] = {8, 24, 100};
    for (int i = 0; i < 8; i++) {
        const int slices = 1 << i / 2;
        struct product p = new_product(types[i % 2], i % 3 == 0 ? DTYPE_FLOAT32 : DTYPE_BFLOAT16,
                                       600, 1032, slices, slices == 1 ? 1040 : 272);
        add_scales(&p);
        char *whole = run(&p, &p.call);
        for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
            struct dense_product part = p.call;
            part.rows = rows[r];
            expect_bits(&p, &part, whole, "rows", rows[r]);
        }
        for (int v = 0; v < dense_product_variants(); v++) {
            struct dense_product other = p.call;
            other.variant = v;
            if (dense_product_takes(v, slices)) {
                expect_bits(&p, &other, whole, "variant", v);
                other.starts_early = 1;
                expect_bits(&p, &other, whole, "early variant", v);
            }
        }
        for (size_t m = 0; m < sizeof multiprocessors / sizeof multiprocessors[0]; m++) {
            struct dense_product few = p.call;
            few.multiprocessors = multiprocessors[m];
            expect_bits(&p, &few, whole, "multiprocessors", multiprocessors[m]);
        }
        free(whole);
        free_product(&p);
    }
}

/* Products that start early read what the one before wrote: out = (in · weights) · weights. */
static void bits_of_a_chain_that_starts_early(void **state)
{
    (void)state;
    enum { ROWS = 200, WIDTH = 1024, TIMES = 20 };
    struct product first = new_product(DTYPE_BFLOAT16, DTYPE_BFLOAT16, ROWS, WIDTH, 1, WIDTH);
    struct product second = new_product(DTYPE_BFLOAT16, DTYPE_BFLOAT16, ROWS, WIDTH, 1, WIDTH);
    second.call.in = first.call.out;
    check_cuda(dense_product_launch(NULL, &first.call));
    char *right = run(&second, &second.call);
    second.call.starts_early = 1;
    for (int i = 0; i < TIMES; i++) {
        check_cuda(cudaMemset(first.call.out, 0xff, first.out.bytes));
        check_cuda(dense_product_launch(NULL, &first.call));
        check_cuda(dense_product_launch(NULL, &second.call));
        check_cuda(
            cudaMemcpy(second.out.host, second.call.out, second.out.bytes, cudaMemcpyDeviceToHost));
        assert_memory_equal(second.out.host, right, second.out.bytes);
    }
    free(right);
    free_product(&first);
    free_product(&second);
}

static void wrong_calls_are_refused(void **state)
{
    (void)state;
    struct product p = new_product(DTYPE_FLOAT8_E4M3, DTYPE_BFLOAT16, 16, 64, 2, 64);
    struct dense_product wrong[8];
    for (size_t i = 0; i < 8; i++) {
        wrong[i] = p.call;
    }
    wrong[0].slices = 3;
    wrong[1].columns = 60;
    wrong[2].in = (const char *)p.call.in + 8;
    wrong[3].weight_row_bytes = 72;
    wrong[4].dtype = DTYPE_FLOAT32;
    wrong[5].adds = 1;
    wrong[6].in_scale = p.in_scale.device;
    wrong[7].variant = 0; /* of one slice */
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(dense_product_launch(NULL, &wrong[i]), cudaErrorInvalidValue);
    }
    free_product(&p);
}

/* Whether this device and build have the kernels at all. */
static bool are_there(void)
{
    struct product p = new_product(DTYPE_BFLOAT16, DTYPE_BFLOAT16, 1, 8, 1, 16);
    const cudaError_t error = dense_product_launch(NULL, &p.call);
    check_cuda(cudaDeviceSynchronize());
    free_product(&p);
    return error != cudaErrorNotSupported;
}

int main(void)
{
    gpu_require();
    if (!are_there()) {
        printf("no products of our own for this GPU: skipped\n");
        return GPU_SKIPPED;
    }
    if (getenv("SLUICE_GPU_FEW") != NULL) {
        cmocka_set_skip_filter("bits_*");
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_right),
        cmocka_unit_test(bits_know_no_batch_and_no_tile),
        cmocka_unit_test(bits_of_a_chain_that_starts_early),
        cmocka_unit_test(wrong_calls_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
