/* SPDX-License-Identifier: Apache-2.0 */
/* Products of the CPU backend: right, and of the same bits however they are cut. */
#include "cpu_fixture.h"

#include <math.h>

enum { MAX_ROWS = 70 };

static struct matrix *matrix_of(struct backend *backend, int rows, int columns,
                                const int32_t *start, int slices, enum weight_format stored,
                                const float *values, int stride)
{
    struct matrix *matrix;
    check(backend->operations->matrix_create(backend, 1, rows, columns, start, slices, stored,
                                             &matrix));
    check(backend->operations->matrix_write(backend, matrix, 0, 0, rows,
                                            &(const struct weight_rows){.data = values,
                                                                        .format = WEIGHT_FLOAT32,
                                                                        .stride = (size_t)stride}));
    check(backend->operations->matrix_finish(backend, matrix));
    return matrix;
}

/* out[tokens, rows], sliced or plain as the matrix is. */
static float *product_of(struct backend *backend, const struct matrix *matrix,
                         const struct vector *bias, const float *in, int tokens)
{
    const struct backend_operations *op = backend->operations;
    const size_t count = (size_t)tokens * (size_t)matrix->rows;
    struct device_buffer *from =
        fixture_buffer(backend, in, (size_t)tokens * (size_t)matrix->columns);
    struct device_buffer *to = fixture_buffer(backend, NULL, count);
    fixture_step(backend, tokens, NULL);
    check(matrix->slices > 0 ? op->product_sliced(backend, matrix, from, to)
                             : op->product(backend, matrix, bias, from, to));
    float *out = malloc((count + 1) * sizeof *out);
    assert_non_null(out);
    check(op->download(backend, to, 0, out, count * sizeof *out));
    op->buffer_destroy(backend, from);
    op->buffer_destroy(backend, to);
    return out;
}

static void round_to_bfloat16(float *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const uint32_t bits = (uint32_t)cpu_bfloat16(values[i]) << 16;
        memcpy(values + i, &bits, sizeof bits);
    }
}

static const struct {
    int tokens, rows, columns;
    enum weight_format stored;
    bool bias;
} shapes[] = {
    {1, 32, 64, WEIGHT_FLOAT32, false},   {1, 200, 33, WEIGHT_BFLOAT16, true},
    {2, 97, 40, WEIGHT_FLOAT32, true},    {3, 64, 129, WEIGHT_BFLOAT16, false},
    {5, 31, 7, WEIGHT_FLOAT32, false},    {13, 33, 512, WEIGHT_FLOAT32, true},
    {14, 70, 100, WEIGHT_BFLOAT16, true}, {29, 130, 1024, WEIGHT_BFLOAT16, false},
    {100, 65, 50, WEIGHT_FLOAT32, false}, {250, 96, 30, WEIGHT_BFLOAT16, true},
    {4, 1, 1, WEIGHT_FLOAT32, true},      {40, 300, 64, WEIGHT_FLOAT32, false},
};

static void products_are_right(void **state)
{
    (void)state;
    struct variant variants[FIXTURE_VARIANTS];
    int count = fixture_variants(variants);
    variants[count++] = (struct variant){&cpu_kernels_baseline, 2};
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        const int tokens = shapes[i].tokens, rows = shapes[i].rows, columns = shapes[i].columns;
        float *weights = fixture_random((size_t)rows * (size_t)columns, 1);
        float *in = fixture_random((size_t)tokens * (size_t)columns, 2);
        float *bias = fixture_random((size_t)rows, 3);
        float *first = NULL;
        round_to_bfloat16(weights, (size_t)rows * (size_t)columns); /* exact in both types */
        for (int v = 0; v < count; v++) {
            struct backend *backend = fixture_backend(variants[v]);
            struct matrix *matrix =
                matrix_of(backend, rows, columns, NULL, 0, shapes[i].stored, weights, columns);
            struct vector *vector = shapes[i].bias ? fixture_vector(backend, bias, rows) : NULL;
            float *out = product_of(backend, matrix, vector, in, tokens);
            for (int t = 0; t < tokens; t++) {
                for (int r = 0; r < rows; r++) {
                    double sum = shapes[i].bias ? (double)bias[r] : 0.0;
                    for (int k = 0; k < columns; k++) {
                        sum += (double)in[t * columns + k] * (double)weights[r * columns + k];
                    }
                    assert_near(out[t * rows + r], sum, 1e-6 * columns, "product");
                }
            }
            backend->operations->matrix_destroy(backend, matrix);
            backend->operations->vector_destroy(backend, vector);
            backend->operations->destroy(backend);
            if (first == NULL) {
                first = out;
                continue;
            }
            if (variants[v].kernels != &cpu_kernels_baseline) {
                assert_bits(out, first, (size_t)tokens * (size_t)rows, variants[v].kernels->name);
            }
            free(out);
        }
        free(first);
        free(bias);
        free(in);
        free(weights);
    }
}

/* A token's row does not know how many tokens it came with, nor an output how many outputs. */
static void rows_and_outputs_stand_alone(void **state)
{
    (void)state;
    enum { ROWS = 150, COLUMNS = 77 };
    for (int type = 0; type < 2; type++) {
        const enum weight_format stored = type == 0 ? WEIGHT_FLOAT32 : WEIGHT_BFLOAT16;
        struct backend *backend = fixture_backend((struct variant){cpu_kernels_best(), 2});
        float *weights = fixture_random((size_t)ROWS * COLUMNS, 4);
        float *in = fixture_random((size_t)MAX_ROWS * COLUMNS, 5);
        struct matrix *matrix =
            matrix_of(backend, ROWS, COLUMNS, NULL, 0, stored, weights, COLUMNS);
        float *all = product_of(backend, matrix, NULL, in, MAX_ROWS);
        for (int tokens = 1; tokens <= MAX_ROWS; tokens++) {
            const int first = (tokens * 17) % (MAX_ROWS - tokens + 1);
            float *some = product_of(backend, matrix, NULL, in + first * COLUMNS, tokens);
            assert_bits(some, all + first * ROWS, (size_t)tokens * ROWS, "fewer tokens");
            free(some);
        }
        for (int rows = 1; rows <= ROWS; rows += 7) {
            const int first = (rows * 31) % (ROWS - rows + 1);
            struct matrix *part = matrix_of(backend, rows, COLUMNS, NULL, 0, stored,
                                            weights + first * COLUMNS, COLUMNS);
            float *some = product_of(backend, part, NULL, in, MAX_ROWS);
            for (int t = 0; t < MAX_ROWS; t++) {
                assert_bits(some + t * rows, all + t * ROWS + first, (size_t)rows, "a cut");
            }
            free(some);
            backend->operations->matrix_destroy(backend, part);
        }
        backend->operations->matrix_destroy(backend, matrix);
        backend->operations->destroy(backend);
        free(all);
        free(in);
        free(weights);
    }
}

/* ((0 + 1) + (2 + 3)) + …: what ranks compute of their slices adds up to what one rank computes. */
static void slices_are_a_tree(void **state)
{
    (void)state;
    enum { ROWS = 45, COLUMNS = 90, TOKENS = 17, SLICES = 8 };
    static const int32_t start[SLICES + 1] = {0, 10, 10, 25, 40, 41, 60, 90, 90}; /* two empty */
    struct backend *backend = fixture_backend((struct variant){cpu_kernels_best(), 2});
    float *weights = fixture_random((size_t)ROWS * COLUMNS, 6);
    float *in = fixture_random((size_t)TOKENS * COLUMNS, 7);
    struct matrix *whole =
        matrix_of(backend, ROWS, COLUMNS, start, SLICES, WEIGHT_BFLOAT16, weights, COLUMNS);
    float *all = product_of(backend, whole, NULL, in, TOKENS);
    for (int ranks = 2; ranks <= SLICES; ranks *= 2) {
        const int each = SLICES / ranks;
        float *partial[SLICES];
        for (int rank = 0; rank < ranks; rank++) {
            const int first = start[rank * each];
            const int columns = start[(rank + 1) * each] - first;
            int32_t own[SLICES + 1];
            float part_in[TOKENS * COLUMNS];
            for (int i = 0; i <= each; i++) {
                own[i] = start[rank * each + i] - first;
            }
            for (int t = 0; t < TOKENS; t++) {
                memcpy(part_in + t * columns, in + t * COLUMNS + first,
                       (size_t)columns * sizeof *in);
            }
            struct matrix *part = matrix_of(backend, ROWS, columns, own, each, WEIGHT_BFLOAT16,
                                            weights + first, COLUMNS);
            partial[rank] = product_of(backend, part, NULL, part_in, TOKENS);
            backend->operations->matrix_destroy(backend, part);
        }
        for (int width = ranks / 2; width > 0; width /= 2) {
            for (int i = 0; i < width; i++) {
                for (int j = 0; j < TOKENS * ROWS; j++) {
                    partial[i][j] = partial[2 * i][j] + partial[2 * i + 1][j];
                }
            }
        }
        assert_bits(partial[0], all, (size_t)TOKENS * ROWS, "a tree over ranks");
        for (int rank = 0; rank < ranks; rank++) {
            free(partial[rank]);
        }
    }
    for (int t = 0; t < TOKENS; t++) {
        for (int r = 0; r < ROWS; r++) {
            double sum = 0;
            for (int k = 0; k < COLUMNS; k++) {
                float weight = weights[r * COLUMNS + k];
                round_to_bfloat16(&weight, 1);
                sum += (double)in[t * COLUMNS + k] * (double)weight;
            }
            assert_near(all[t * ROWS + r], sum, 1e-4, "sliced product");
        }
    }
    free(all);
    free(in);
    free(weights);
    backend->operations->matrix_destroy(backend, whole);
    backend->operations->destroy(backend);
}

/* A rank without heads or columns adds exactly nothing. */
static void nothing_is_zero(void **state)
{
    (void)state;
    static const int32_t start[5] = {0, 0, 0, 0, 0};
    struct backend *backend = fixture_backend((struct variant){cpu_kernels_best(), 1});
    struct matrix *matrix = matrix_of(backend, 40, 0, start, 4, WEIGHT_FLOAT32, NULL, 0);
    float *out = product_of(backend, matrix, NULL, NULL, 3);
    for (int i = 0; i < 3 * 40; i++) {
        assert_true(out[i] == 0.0f && !signbit(out[i]));
    }
    free(out);
    backend->operations->matrix_destroy(backend, matrix);
    matrix = matrix_of(backend, 0, 16, NULL, 0, WEIGHT_FLOAT32, NULL, 16);
    float *in = fixture_random(48, 1);
    free(product_of(backend, matrix, NULL, in, 3));
    free(in);
    backend->operations->matrix_destroy(backend, matrix);
    backend->operations->destroy(backend);
}

/* Embeddings come out of the same packed table that logits go through; pieces written in any order
 * and of any type. */
static void table_serves_both_ends(void **state)
{
    (void)state;
    enum { VOCABULARY = 83, HIDDEN = 24, FIRST = 5, TOKENS = 6 };
    static const int32_t ids[TOKENS] = {5, 87, 88, 4, 40, 0};
    for (int type = 0; type < 2; type++) {
        struct backend *backend = fixture_backend((struct variant){cpu_kernels_best(), 2});
        const struct backend_operations *op = backend->operations;
        float *values = fixture_random((size_t)VOCABULARY * HIDDEN, 8);
        round_to_bfloat16(values, (size_t)VOCABULARY * HIDDEN);
        values[0] = -0.0f;
        struct matrix *table;
        check(op->matrix_create(backend, 1, VOCABULARY, HIDDEN, NULL, 0,
                                type == 0 ? WEIGHT_FLOAT32 : WEIGHT_BFLOAT16, &table));
        static const int cuts[] = {0, 1, 30, 37, 64, VOCABULARY};
        for (int i = (int)COUNT_OF(cuts) - 2; i >= 0; i--) {
            check(op->matrix_write(backend, table, 0, cuts[i], cuts[i + 1] - cuts[i],
                                   &(const struct weight_rows){.data = values + cuts[i] * HIDDEN,
                                                               .format = WEIGHT_FLOAT32,
                                                               .stride = HIDDEN}));
        }
        struct device_buffer *residual = fixture_buffer(backend, NULL, TOKENS * HIDDEN);
        struct device_buffer *logits = fixture_buffer(backend, NULL, TOKENS * VOCABULARY);
        fixture_step(backend, TOKENS, ids);
        check(op->embed(backend, table, FIRST, 1.5f, residual));
        const float *rows = op->host_address(backend, residual);
        for (int t = 0; t < TOKENS; t++) {
            const int row = ids[t] - FIRST;
            for (int k = 0; k < HIDDEN; k++) {
                const bool here = row >= 0 && row < VOCABULARY;
                const float should = here ? values[row * HIDDEN + k] * 1.5f : 0.0f;
                assert_true(rows[t * HIDDEN + k] == should);
            }
        }
        assert_false(signbit(rows[0]));
        check(op->logits(backend, table, 0.5f, 2.0f, residual, logits));
        const float *out = op->host_address(backend, logits);
        for (int t = 0; t < TOKENS; t++) {
            for (int r = 0; r < VOCABULARY; r++) {
                double sum = 0;
                for (int k = 0; k < HIDDEN; k++) {
                    sum += (double)rows[t * HIDDEN + k] * (double)values[r * HIDDEN + k];
                }
                assert_near(out[t * VOCABULARY + r], 2.0 * tanh(0.5 * sum / 2.0), 2e-6, "logits");
            }
        }
        op->buffer_destroy(backend, residual);
        op->buffer_destroy(backend, logits);
        op->matrix_destroy(backend, table);
        op->destroy(backend);
        free(values);
    }
}

/* Every value of the small types widens exactly. */
static void stored_types_widen(void **state)
{
    (void)state;
    static const struct {
        enum weight_format source;
        uint32_t bits;
        float value;
    } cases[] = {
        {WEIGHT_FLOAT16, 0x3c00, 1.0f},     {WEIGHT_FLOAT16, 0xc000, -2.0f},
        {WEIGHT_FLOAT16, 0x0001, 0x1p-24f}, {WEIGHT_FLOAT16, 0x83ff, -0x3ffp-24f},
        {WEIGHT_FLOAT16, 0x7bff, 65504.0f}, {WEIGHT_FLOAT16, 0x7c00, INFINITY},
        {WEIGHT_FP8, 0x38, 1.0f},           {WEIGHT_FP8, 0x7e, 448.0f},
        {WEIGHT_FP8, 0x81, -0x1p-9f},       {WEIGHT_FP8, 0x07, 0x7p-9f},
        {WEIGHT_BFLOAT16, 0x3fc0, 1.5f},    {WEIGHT_BFLOAT16, 0x0001, 0x1p-133f},
    };
    struct backend *backend = fixture_backend((struct variant){cpu_kernels_best(), 1});
    const struct backend_operations *op = backend->operations;
    const float one = 1.0f;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct matrix *matrix;
        const bool is_plain = weight_format_facts(cases[i].source)->expand == NULL;
        const struct weight_rows rows = {.data = &cases[i].bits,
                                         .format = cases[i].source,
                                         .stride = 1,
                                         .scales = is_plain ? NULL : &one};
        check(op->matrix_create(backend, 1, 1, 1, NULL, 0,
                                is_plain ? WEIGHT_FLOAT32 : cases[i].source, &matrix));
        check(op->matrix_input_scale(backend, matrix, 0, 1.0f));
        check(op->matrix_write(backend, matrix, 0, 0, 1, &rows));
        float *out = product_of(backend, matrix, NULL, &one, 1);
        assert_true(out[0] == cases[i].value);
        free(out);
        backend->operations->matrix_destroy(backend, matrix);
    }
    assert_int_equal(cpu_bfloat16(1.00390625f), 0x3f80); /* a tie goes to even */
    assert_int_equal(cpu_bfloat16(1.01171875f), 0x3f82);
    assert_int_equal(cpu_bfloat16(3.4e38f), 0x7f80);
    assert_true((cpu_bfloat16(NAN) & 0x7fff) > 0x7f80);
    backend->operations->destroy(backend);
}

static void misuse_is_refused(void **state)
{
    (void)state;
    static const int32_t bad[3] = {0, 5, 9};
    struct backend *backend = fixture_backend((struct variant){cpu_kernels_best(), 1});
    const struct backend_operations *op = backend->operations;
    struct matrix *matrix;
    assert_int_equal(op->matrix_create(backend, 1, 8, 10, bad, 2, WEIGHT_FLOAT32, &matrix),
                     STATUS_INTERNAL);
    assert_int_equal(op->matrix_create(backend, 1, 8, 10, NULL, 0, WEIGHT_FLOAT16, &matrix),
                     STATUS_UNSUPPORTED);
    assert_int_equal(
        op->matrix_create(backend, 1 << 30, 1 << 30, 1 << 30, NULL, 0, WEIGHT_FLOAT32, &matrix),
        STATUS_LIMIT);
    assert_int_equal(
        op->matrix_create(backend, 1 << 10, 1 << 20, 1 << 20, NULL, 0, WEIGHT_FLOAT32, &matrix),
        STATUS_NO_MEMORY);
    check(op->matrix_create(backend, 1, 8, 10, NULL, 0, WEIGHT_FLOAT32, &matrix));
    float values[80] = {0};
    assert_int_equal(op->matrix_write(backend, matrix, 0, 4, 5,
                                      &(const struct weight_rows){
                                          .data = values, .format = WEIGHT_FLOAT32, .stride = 10}),
                     STATUS_INTERNAL);
    const struct weight_rows packed = {.data = values, .format = WEIGHT_Q4_0, .stride = 10};
    assert_int_equal(op->matrix_write(backend, matrix, 0, 0, 8, &packed), STATUS_INTERNAL);
    const struct weight_rows scaled = {
        .data = values, .format = WEIGHT_FP8, .stride = 10, .scales = values};
    assert_int_equal(op->matrix_write(backend, matrix, 0, 0, 8, &scaled), STATUS_INTERNAL);
    struct device_buffer *small = fixture_buffer(backend, NULL, 9);
    struct device_buffer *large = fixture_buffer(backend, NULL, 10);
    fixture_step(backend, 1, NULL);
    assert_int_equal(op->product(backend, matrix, NULL, small, large), STATUS_INTERNAL);
    assert_int_equal(op->product_sliced(backend, matrix, large, small), STATUS_INTERNAL);
    const float ones[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    for (int length = 7; length <= 9; length++) {
        struct vector *bias;
        check(op->vector_create(backend, length, ones, &bias));
        assert_int_equal(op->product(backend, matrix, bias, large, small),
                         length == 8 ? STATUS_OK : STATUS_INTERNAL);
        op->vector_destroy(backend, bias);
    }
    op->buffer_destroy(backend, small);
    op->buffer_destroy(backend, large);
    op->matrix_destroy(backend, matrix);
    op->destroy(backend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_right),     cmocka_unit_test(rows_and_outputs_stand_alone),
        cmocka_unit_test(slices_are_a_tree),      cmocka_unit_test(nothing_is_zero),
        cmocka_unit_test(table_serves_both_ends), cmocka_unit_test(stored_types_widen),
        cmocka_unit_test(misuse_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
