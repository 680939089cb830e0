/* SPDX-License-Identifier: Apache-2.0 */
/* Reduced types on the CPU: fp8 numbers, products of rounded operands, activations in 16 bits. */
#include "cpu_fixture.h"

#include <math.h>

static float fp8_value(unsigned bits)
{
    const uint8_t byte = (uint8_t)bits;
    return cpu_element(&byte, DTYPE_FLOAT8_E4M3, 0);
}

/* Every number is itself, what lies between two goes to the nearer, a tie to the even one. */
static void fp8_rounds_to_nearest(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 0x7f; bits++) {
        const float value = fp8_value(bits);
        assert_true(cpu_fp8(value) == value);
        assert_true(cpu_fp8(-value) == -value);
        if (bits == 0x7e) {
            break;
        }
        const float next = fp8_value(bits + 1), middle = (value + next) / 2;
        assert_true(next > value);
        assert_true(cpu_fp8(middle) == (bits % 2 == 0 ? value : next));
        assert_true(cpu_fp8(nextafterf(middle, 0)) == value);
        assert_true(cpu_fp8(nextafterf(middle, 1000)) == next);
    }
    assert_true(fp8_value(0x7e) == CPU_FP8_MOST);
    assert_true(cpu_fp8(1e30f) == CPU_FP8_MOST);
    assert_true(cpu_fp8(-INFINITY) == -CPU_FP8_MOST);
    assert_true(isnan(cpu_fp8(NAN)));
}

struct product_case {
    int tokens, rows, columns, slices;
    int32_t start[5];
    bool biased, given; /* given: fp8 data with scales, and a static scale of the input */
};

static const struct product_case cases[] = {
    {1, 32, 64, 0, {0}, false, false},
    {5, 33, 40, 0, {0}, true, true},
    {17, 70, 96, 2, {0, 40, 96}, false, false},
    {9, 40, 129, 4, {0, 0, 64, 100, 129}, false, true},
};

static const float INPUT_SCALE = 0.004f;

static struct matrix *make_matrix(struct backend *backend, const struct product_case *c,
                                  const float *weights, const uint8_t *numbers, const float *scales)
{
    const struct backend_operations *op = backend->operations;
    struct matrix *matrix;
    check(op->matrix_create(backend, 1, c->rows, c->columns, c->start, c->slices, WEIGHT_FP8,
                            &matrix));
    if (c->given) {
        check(op->matrix_write(backend, matrix, 0, 0, c->rows,
                               &(const struct weight_rows){.data = numbers,
                                                           .format = WEIGHT_FP8,
                                                           .stride = (size_t)c->columns,
                                                           .scales = scales}));
        check(op->matrix_input_scale(backend, matrix, 0, INPUT_SCALE));
    } else {
        check(op->matrix_write(backend, matrix, 0, 0, c->rows,
                               &(const struct weight_rows){.data = weights,
                                                           .format = WEIGHT_FLOAT32,
                                                           .stride = (size_t)c->columns}));
    }
    check(op->matrix_finish(backend, matrix));
    return matrix;
}

/* values[first, last) as fp8 numbers, in place; the scale. */
static double round_range(float *values, int first, int last, float given)
{
    float most = 0;
    for (int k = first; k < last; k++) {
        most = fmaxf(most, fabsf(values[k]));
    }
    const float scale = given != 0 ? given : most > 0 ? most / CPU_FP8_MOST : 1;
    for (int k = first; k < last; k++) {
        values[k] = cpu_fp8(values[k] * (1 / scale));
    }
    return scale;
}

/* The same in double precision. */
static void expect_product(const struct product_case *c, const float *weights, const float *scales,
                           const float *in, const float *bias, double *out)
{
    const int32_t whole[2] = {0, c->columns};
    const int32_t *start = c->slices > 0 ? c->start : whole;
    const size_t columns = (size_t)c->columns;
    float *x = malloc(columns * sizeof *x), *w = malloc(columns * sizeof *w);
    for (int token = 0; token < c->tokens; token++) {
        for (int row = 0; row < c->rows; row++) {
            double sum = bias != NULL ? (double)bias[row] : 0;
            memcpy(x, in + (size_t)token * columns, columns * sizeof *x);
            memcpy(w, weights + (size_t)row * columns, columns * sizeof *w);
            for (int part = 0; part < (c->slices > 0 ? c->slices : 1); part++) {
                const double x_scale =
                    round_range(x, start[part], start[part + 1], c->given ? INPUT_SCALE : 0);
                const double w_scale = c->given ? (double)scales[row]
                                                : round_range(w, start[part], start[part + 1], 0);
                double product = 0;
                for (int k = start[part]; k < start[part + 1]; k++) {
                    product += (double)x[k] * (double)w[k];
                }
                sum += product * x_scale * w_scale;
            }
            out[token * c->rows + row] = sum;
        }
    }
    free(x);
    free(w);
}

static void run(struct backend *backend, const struct matrix *matrix, const struct vector *bias,
                const float *in, int tokens, float *out)
{
    const struct backend_operations *op = backend->operations;
    const size_t count = (size_t)tokens * (size_t)matrix->rows;
    struct device_buffer *from =
        fixture_buffer(backend, in, (size_t)tokens * (size_t)matrix->columns);
    struct device_buffer *to = fixture_buffer(backend, NULL, count);
    fixture_step(backend, tokens, NULL);
    check(matrix->slices > 0 ? op->product_sliced(backend, matrix, from, to)
                             : op->product(backend, matrix, bias, from, to));
    check(op->download(backend, to, 0, out, count * sizeof *out));
    op->buffer_destroy(backend, from);
    op->buffer_destroy(backend, to);
}

static void fp8_products_are_right(void **state)
{
    (void)state;
    struct backend *backend = fixture_backend((struct variant){cpu_kernels_best(), 2});
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct product_case *c = &cases[i];
        const size_t weight_count = (size_t)c->rows * (size_t)c->columns;
        const size_t out_count = (size_t)c->tokens * (size_t)c->rows;
        float *weights = fixture_random(weight_count, 1);
        float *in = fixture_random((size_t)c->tokens * (size_t)c->columns, 2);
        float *bias = fixture_random((size_t)c->rows, 3),
              *scales = fixture_random((size_t)c->rows, 4);
        uint8_t *numbers = malloc(weight_count);
        for (size_t k = 0; c->given && k < weight_count; k++) {
            numbers[k] = (uint8_t)(weights[k] * 60 + 62); /* any but a NaN */
            weights[k] = fp8_value(numbers[k]);
        }
        struct matrix *matrix = make_matrix(backend, c, weights, numbers, scales);
        struct vector *vector = c->biased ? fixture_vector(backend, bias, c->rows) : NULL;
        float *out = malloc(out_count * sizeof *out), *alone = malloc(out_count * sizeof *out);
        double *expected = malloc(out_count * sizeof *expected);
        run(backend, matrix, vector, in, c->tokens, out);
        expect_product(c, weights, scales, in, c->biased ? bias : NULL, expected);
        for (size_t k = 0; k < out_count; k++) {
            assert_near(out[k], expected[k], 1e-4 * (1 + fabs(expected[k])), "fp8 product");
        }
        const size_t last = (size_t)c->tokens - 1;
        run(backend, matrix, vector, in + last * (size_t)c->columns, 1, alone);
        assert_bits(alone, out + last * (size_t)c->rows, (size_t)c->rows, "a row alone");
        backend->operations->matrix_destroy(backend, matrix);
        backend->operations->vector_destroy(backend, vector);
        free(weights);
        free(in);
        free(bias);
        free(scales);
        free(numbers);
        free(out);
        free(alone);
        free(expected);
    }
    backend->operations->destroy(backend);
}

/* With activations in bfloat16 a product's values are bfloat16 numbers, the nearest ones. */
static void activations_are_rounded(void **state)
{
    (void)state;
    enum { TOKENS = 7, ROWS = 45, COLUMNS = 64 };
    const enum dtype types[] = {DTYPE_FLOAT32, DTYPE_BFLOAT16, DTYPE_FLOAT16};
    const double unit[] = {0, 0x1p-8, 0x1p-11};
    float *weights = fixture_random(ROWS * COLUMNS, 5), *in = fixture_random(TOKENS * COLUMNS, 6);
    float out[COUNT_OF(types)][TOKENS * ROWS];
    for (size_t t = 0; t < COUNT_OF(types); t++) {
        const struct backend_options options = {
            .compute = types[t], .max_tokens = TOKENS, .max_sequences = TOKENS, .threads = 1};
        struct backend *backend;
        check(cpu_backend_create(&options, &backend));
        struct matrix *matrix;
        const struct backend_operations *op = backend->operations;
        check(op->matrix_create(backend, 1, ROWS, COLUMNS, NULL, 0, WEIGHT_FLOAT32, &matrix));
        check(op->matrix_write(backend, matrix, 0, 0, ROWS,
                               &(const struct weight_rows){
                                   .data = weights, .format = WEIGHT_FLOAT32, .stride = COLUMNS}));
        check(op->matrix_finish(backend, matrix));
        run(backend, matrix, NULL, in, TOKENS, out[t]);
        op->matrix_destroy(backend, matrix);
        op->destroy(backend);
        int changed = 0;
        for (size_t i = 0; t > 0 && i < TOKENS * ROWS; i++) {
            const float value = out[t][i];
            changed += value != out[0][i];
            assert_near(value, (double)out[0][i], unit[t] * fabs((double)out[0][i]), "activation");
            uint32_t bits;
            memcpy(&bits, &value, sizeof bits);
            assert_true(types[t] == DTYPE_BFLOAT16 ? (bits & 0xffff) == 0
                                                   : value == (float)(_Float16)value);
        }
        assert_true(t == 0 || changed > TOKENS * ROWS / 2);
    }
    free(weights);
    free(in);
}

/* What a product in fp8 reads it rounds itself, from all bits; but not a stack's, which reads rows
 * that others read too. */
static void what_reads_in_fp8_gets_all_bits(void **state)
{
    (void)state;
    enum { COUNT = 100 };
    static const struct {
        enum weight_format stored;
        int count;
        bool is_rounded;
    } readers[] = {{WEIGHT_FLOAT32, 1, true},
                   {WEIGHT_FLOAT32, 2, true},
                   {WEIGHT_FP8, 1, false},
                   {WEIGHT_FP8, 2, true}};
    const struct backend_options options = {
        .compute = DTYPE_BFLOAT16, .max_tokens = 4, .max_sequences = 4, .threads = 1};
    struct backend *backend;
    check(cpu_backend_create(&options, &backend));
    const struct cpu_backend *cpu = (const struct cpu_backend *)(const void *)backend;
    float *values = fixture_random(COUNT, 8), rounded[COUNT], is[COUNT];
    memcpy(rounded, values, sizeof rounded);
    cpu_round(cpu, NULL, rounded, COUNT);
    assert_memory_not_equal(rounded, values, sizeof rounded);
    for (size_t i = 0; i < COUNT_OF(readers); i++) {
        struct matrix *reader;
        check(backend->operations->matrix_create(backend, readers[i].count, 8, 8, NULL, 0,
                                                 readers[i].stored, &reader));
        memcpy(is, values, sizeof is);
        cpu_round(cpu, reader, is, COUNT);
        assert_memory_equal(is, readers[i].is_rounded ? rounded : values, sizeof is);
        memcpy(is, values, sizeof is);
        cpu_round(cpu, reader, is, COUNT - 1); /* no more than it was given */
        assert_true(is[COUNT - 1] == values[COUNT - 1]);
        backend->operations->matrix_destroy(backend, reader);
    }
    free(values);
    backend->operations->destroy(backend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fp8_rounds_to_nearest),
        cmocka_unit_test(fp8_products_are_right),
        cmocka_unit_test(activations_are_rounded),
        cmocka_unit_test(what_reads_in_fp8_gets_all_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
