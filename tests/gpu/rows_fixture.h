/* SPDX-License-Identifier: Apache-2.0 */
/* What tests of the CUDA backend's kernels on rows share: the values that cases take theirs from, a
 * buffer that an operation writes to, plain or in fp8, and results beside the right ones. */
#ifndef SLUICE_GPU_ROWS_FIXTURE_H
#define SLUICE_GPU_ROWS_FIXTURE_H

#include "backend/cuda/cuda.h"
#include "gpu/gpu_fixture.h"

enum { MOST_ROWS = 300, MOST_WIDTH = 40960, SOME_ROWS = 37, MOST_PARTS = 8 };

static int failures;

/* Values that all cases take theirs from. */
static float *random_values, *random_vector[5];

static const struct {
    const char *name;
    enum dtype dtype;
    double half; /* of the distance of neighbouring numbers, over their magnitude */
} types[] = {{"float32", DTYPE_FLOAT32, 2e-6},
             {"bfloat16", DTYPE_BFLOAT16, 1.0 / 256},
             {"float16", DTYPE_FLOAT16, 1.0 / 2048}};

static inline int prepare(void **state)
{
    (void)state;
    const size_t most = (size_t)MOST_ROWS * 2 * 4096;
    const size_t some = (size_t)SOME_ROWS * 2 * MOST_WIDTH;
    random_values = malloc((most > some ? most : some) * sizeof(float));
    assert_non_null(random_values);
    gpu_random(random_values, most > some ? most : some, 1, 1.5f);
    for (size_t v = 0; v < COUNT_OF(random_vector); v++) {
        random_vector[v] = malloc((size_t)MOST_PARTS * MOST_WIDTH * sizeof(float));
        assert_non_null(random_vector[v]);
        gpu_random(random_vector[v], (size_t)MOST_PARTS * MOST_WIDTH, 2 + v, 0.7f);
    }
    return 0;
}

static inline int clear(void **state)
{
    (void)state;
    free(random_values);
    for (size_t v = 0; v < COUNT_OF(random_vector); v++) {
        free(random_vector[v]);
    }
    return 0;
}

static inline float *new_floats(size_t count)
{
    float *values = malloc((count + 1) * sizeof *values);
    assert_non_null(values);
    return values;
}

static inline float *rounded_copy(const float *from, size_t count, enum dtype dtype)
{
    float *values = new_floats(count);
    memcpy(values, from, count * sizeof *values);
    gpu_round(values, count, dtype);
    return values;
}

static inline void begin_step(struct backend *backend, int tokens)
{
    static int32_t ids[MOST_ROWS], positions[MOST_ROWS], start[2], context, blocks[1 + MOST_ROWS];
    static struct batch batch;
    for (int i = 0; i < tokens; i++) {
        positions[i] = i;
    }
    start[1] = context = tokens;
    batch = (struct batch){.tokens = tokens,
                           .sequences = 1,
                           .token_ids = ids,
                           .positions = positions,
                           .query_start = start,
                           .context_length = &context,
                           .block_table = blocks,
                           .block_table_stride = 1 + MOST_ROWS};
    check(backend->operations->step_begin(backend, &batch));
}

static inline struct vector *new_vector(struct backend *backend, bool wanted, int which, int length)
{
    struct vector *vector = NULL;
    if (wanted) {
        check(backend->operations->vector_create(backend, length, random_vector[which], &vector));
    }
    return vector;
}

/* ---- Targets ---- */

enum cut { EQUAL, BY_EIGHT, ANYWHERE, CUTS };

/* What an operation writes to. slices -1: plain; 0: fp8 in one piece. */
struct target {
    int slices;
    enum cut cut;
    float static_scale;
};

static inline void cut_slices(const struct target *target, int width, int32_t *start)
{
    for (int i = 0; i <= target->slices; i++) {
        const int even = (int)((int64_t)width * i / target->slices);
        start[i] = target->cut == EQUAL      ? even
                   : target->cut == BY_EIGHT ? (i == 1 ? 0 : even / 8 * 8) /* the first is empty */
                                             : even + 3 * (i % 2);
        start[i] = i == target->slices || start[i] > width ? width : start[i];
    }
}

/* A product's matrix that reads the target, or NULL. */
static inline struct matrix *new_reader(struct backend *backend, const struct target *target,
                                        int width)
{
    struct matrix *matrix = NULL;
    int32_t start[MAX_SLICES + 1] = {0};
    if (target->slices >= 0) {
        const int slices = target->slices;
        cut_slices(&(struct target){slices > 0 ? slices : 1, target->cut, 0}, width, start);
        check(backend->operations->matrix_create(backend, 1, 1, width, slices > 0 ? start : NULL,
                                                 slices, WEIGHT_FP8, &matrix));
        if (target->static_scale > 0) {
            check(
                backend->operations->matrix_input_scale(backend, matrix, 0, target->static_scale));
        }
    }
    return matrix;
}

static inline float fp8_value(uint8_t bits)
{
    const int exponent = bits >> 3 & 15, fraction = bits & 7;
    const float magnitude = (bits & 127) == 127 ? NAN
                            : exponent == 0     ? ldexpf((float)fraction, -9)
                                                : ldexpf((float)(8 + fraction), exponent - 10);
    return (bits & 128) != 0 ? -magnitude : magnitude;
}

/* Bytes and scales as no operation leaves them, and `bytes` of the plain values. */
static inline void poison(struct backend *backend, const struct device_buffer *buffer, size_t bytes)
{
    check(backend->operations->synchronize(backend));
    const struct cuda_packed *packed = &buffer->packed;
    if (packed->data != NULL) {
        assert_int_equal(cudaMemset(packed->data, 0x55, packed->bytes), cudaSuccess);
        assert_int_equal(
            cudaMemset(packed->scale, 0xff, (size_t)packed->scale_capacity * sizeof(float)),
            cudaSuccess);
    }
    assert_int_equal(cudaMemset(buffer->data, 0xff, bytes), cudaSuccess);
    assert_int_equal(cudaDeviceSynchronize(), cudaSuccess);
}

/* What stands in the buffer, [rows][width]; in fp8: times its scale, scales [slices][rows] too, NaN
 * in a row where the padding behind it is not zero. */
static inline void read_target(struct backend *backend, struct device_buffer *buffer,
                               const struct matrix *reader, int rows, int width, float *values,
                               float *scales)
{
    const size_t count = (size_t)rows * (size_t)width;
    if (reader == NULL) {
        gpu_values(backend, buffer, count, backend->operations->activation_dtype(backend), values);
        return;
    }
    check(backend->operations->synchronize(backend));
    const struct cuda_packed *packed = &buffer->packed;
    assert_true(packed->valid);
    const size_t bytes = (size_t)packed->slices * (size_t)rows * (size_t)packed->padded;
    uint8_t *data = malloc(bytes + 1);
    assert_non_null(data);
    assert_int_equal(cudaMemcpy(data, packed->data, bytes, cudaMemcpyDeviceToHost), cudaSuccess);
    for (int slice = 0; slice < packed->slices; slice++) {
        float *scale = scales + (size_t)slice * (size_t)rows;
        assert_int_equal(cudaMemcpy(scale,
                                    packed->scale + (size_t)slice * (size_t)packed->scale_stride,
                                    (size_t)rows * sizeof(float), cudaMemcpyDeviceToHost),
                         cudaSuccess);
        const int first = reader->slice_start[slice], last = reader->slice_start[slice + 1];
        for (int row = 0; row < rows; row++) {
            const uint8_t *from =
                data + ((size_t)slice * (size_t)rows + (size_t)row) * (size_t)packed->padded;
            float *to = values + (size_t)row * (size_t)width + first;
            for (int i = 0; i < packed->padded; i++) {
                if (i < last - first) {
                    to[i] = scale[row] * fp8_value(from[i]);
                } else if (from[i] != 0) {
                    print_error("byte %d of row %d, slice %d: 0x%02x behind %d values\n", i, row,
                                slice, from[i], last - first);
                    failures++;
                    i = packed->padded;
                }
            }
        }
    }
    free(data);
}

static inline float most_of(const float *values, int count)
{
    float most = 0.0f;
    for (int i = 0; i < count; i++) {
        most = fmaxf(most, fabsf(values[i]));
    }
    return most;
}

/* Values beside the exact ones of the CPU: at most half a step of the target's type away, and what
 * float32 loses on the way. */
static inline void expect_values(const char *name, const struct matrix *reader, double half,
                                 int rows, int width, const float *is, const float *scales,
                                 const float *right)
{
    const int32_t whole[2] = {0, width};
    const int32_t *start = reader != NULL ? reader->slice_start : whole;
    const int slices = reader == NULL || reader->slices == 0 ? 1 : reader->slices;
    int wrong = 0;
    for (int row = 0; row < rows; row++) {
        const size_t at = (size_t)row * (size_t)width;
        const double lost = 1e-5 * (double)most_of(right + at, width);
        for (int slice = 0; slice < slices; slice++) {
            double step = 0, limit = INFINITY;
            if (reader != NULL) {
                const float scale = scales[(size_t)slice * (size_t)rows + (size_t)row];
                const float given = reader->input_scale != NULL ? reader->input_scale[0] : 0.0f;
                const float most =
                    most_of(right + at + start[slice], start[slice + 1] - start[slice]);
                const float wanted = given > 0 ? given : most > 0.0f ? most / 448.0f : 1.0f;
                if (!(fabsf(scale - wanted) <= (float)lost / 448.0f) && wrong++ < 3) {
                    print_error("%s: scale of row %d, slice %d is %.9g, should be %.9g\n", name,
                                row, slice, (double)scale, (double)wanted);
                }
                step = (double)wanted / 1024;
                limit = 448.0 * (double)wanted;
            }
            for (int i = start[slice]; i < start[slice + 1]; i++) {
                const double x = (double)right[at + (size_t)i];
                const double bounded = fmax(-limit, fmin(limit, x));
                const double distance = fabs((double)is[at + (size_t)i] - bounded);
                if (!(distance <= half * fabs(bounded) * 1.001 + step + lost) && wrong++ < 3) {
                    print_error("%s: row %d, column %d is %.9g, should be %.9g\n", name, row, i,
                                (double)is[at + (size_t)i], x);
                }
            }
        }
    }
    if (wrong > 0) {
        print_error("%s: %d wrong of %d x %d\n", name, wrong, rows, width);
        failures++;
    }
}

/* ---- Bits ---- */

/* Widths, and parts of MOST_ROWS rows, whose bits are compared with those of the whole. */
static const int bits_widths[] = {100, 896, 2048, 4096};
static const struct {
    int first, rows;
} bits_parts[] = {{0, 1}, {299, 1}, {150, 7}};

static inline void expect_bits(const char *what, int width, int first, int rows, const float *part,
                               const float *whole)
{
    const size_t count = (size_t)rows * (size_t)width;
    const float *there = whole + (size_t)first * (size_t)width;
    if (memcmp(part, there, count * sizeof *part) == 0) {
        return;
    }
    failures++;
    for (size_t i = 0; i < count; i++) {
        if (memcmp(&part[i], &there[i], sizeof *part) != 0) {
            print_error("%s, width %d: rows %d to %d alone: column %zu of row %zu is %.9g, among "
                        "%d rows %.9g\n",
                        what, width, first, first + rows - 1, i % (size_t)width, i / (size_t)width,
                        (double)part[i], MOST_ROWS, (double)there[i]);
            return;
        }
    }
}

#endif
