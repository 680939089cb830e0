/* SPDX-License-Identifier: Apache-2.0 */
/* What is done to a token's heads together, beside the same in double precision: sums of squares by
 * slices, norms over all heads, queries scaled by position; with every set of kernels, and with
 * buffers that are one number short. */
#include <math.h>

#include "cpu_fixture.h"

enum { TOKENS = 37, MOST_HEADS = 8, MOST_DIM = 19, LENGTH = 5 };

/* Heads of a rank; slice s of two or more has the heads from cuts[s] on. */
struct shape {
    int query_heads, kv_heads, head_dim, slices;
    int cuts[MAX_SLICES + 1];
    int32_t kv_head[MOST_HEADS];
    uint8_t is_first[MOST_HEADS];
    float weight_offset, epsilon;
};

static const struct shape shapes[] = {
    {1, 1, 1, 1, {0, 1}, {0}, {1}, 0, 1e-6f},
    {4, 2, 19, 4, {0, 1, 2, 3, 4}, {0, 0, 1, 1}, {1, 0, 1, 0}, 1, 1e-5f},
    /* The first key head counts on another rank; slices of two heads, of none, and of three. */
    {5, 3, 16, 4, {0, 2, 2, 2, 5}, {0, 1, 1, 2, 2}, {0, 1, 0, 1, 0}, 0, 0.5f},
    {8, 1, 7, 8, {0, 1, 2, 3, 4, 5, 6, 7, 8}, {0}, {1}, 1, 1e-5f},
};

static int width_of(const struct shape *shape)
{
    return (shape->query_heads + 2 * shape->kv_heads) * shape->head_dim;
}

static double squares(const float *values, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++) {
        sum += (double)values[i] * (double)values[i];
    }
    return sum;
}

/* A rank's share, and what it makes of a total of `ranks` times as much. */
struct results {
    float sums[TOKENS * 2], normalized[TOKENS * (3 * MOST_HEADS * MOST_DIM)],
        scaled[TOKENS * (3 * MOST_HEADS * MOST_DIM)];
};

enum { RANKS = 3 };

static void run_shape(const struct shape *shape, struct variant variant, const float *rows,
                      const float *q_weight, const float *k_weight, struct results *out)
{
    struct backend *backend = fixture_backend(variant);
    const struct backend_operations *op = backend->operations;
    const int dim = shape->head_dim, q = shape->query_heads * dim, k = shape->kv_heads * dim;
    const size_t count = TOKENS * (size_t)width_of(shape);
    int32_t start[MAX_SLICES + 1];
    for (int i = 0; i <= shape->slices; i++) {
        start[i] = shape->cuts[i] * dim;
    }
    const struct head_layout heads = {shape->query_heads, shape->kv_heads, dim, shape->kv_head};
    const struct head_slices slices = {shape->slices, start, shape->is_first};
    const struct norm_facts norm = {.epsilon = shape->epsilon,
                                    .weight_offset = shape->weight_offset};
    struct device_buffer *qkv = fixture_buffer(backend, rows, count);
    struct device_buffer *sums = fixture_buffer(backend, NULL, TOKENS * 2);
    struct vector *q_norm = fixture_vector(backend, q_weight, q);
    struct vector *k_norm = fixture_vector(backend, k_weight, k);
    fixture_step(backend, TOKENS, NULL);
    check(op->head_squares(backend, &heads, &slices, qkv, sums));
    check(op->download(backend, sums, 0, out->sums, sizeof out->sums));
    float *totals = op->host_address(backend, sums);
    for (int i = 0; i < TOKENS * 2; i++) {
        totals[i] *= RANKS;
    }
    check(op->head_normalize(backend, &heads, &norm, q_norm, k_norm, RANKS * q, RANKS * k, sums,
                             qkv));
    check(op->download(backend, qkv, 0, out->normalized, count * sizeof(float)));
    check(op->upload(backend, qkv, 0, rows, count * sizeof(float)));
    check(op->scale_queries(backend, &heads, 0.1f, LENGTH, qkv));
    check(op->download(backend, qkv, 0, out->scaled, count * sizeof(float)));
    op->buffer_destroy(backend, qkv);
    op->buffer_destroy(backend, sums);
    op->vector_destroy(backend, q_norm);
    op->vector_destroy(backend, k_norm);
    op->destroy(backend);
}

static void check_sums(const struct shape *shape, const float *row, const float *sums)
{
    const int dim = shape->head_dim;
    double q = 0, k = 0;
    for (int h = 0; h < shape->query_heads; h++) {
        q += squares(row + h * dim, dim);
        k += shape->is_first[h] ? squares(row + (shape->query_heads + shape->kv_head[h]) * dim, dim)
                                : 0;
    }
    assert_near(sums[0], q, 1e-5 * q, "squares of q");
    assert_near(sums[1], k, 1e-5 * k, "squares of k");
}

/* Values of q or k behind the norm, whose total over all ranks is `sum` times theirs. */
static void check_part(const struct shape *shape, const float *row, const float *weight, int count,
                       double sum, const float *is)
{
    const double root = sqrt(sum / count + (double)shape->epsilon);
    for (int i = 0; i < count; i++) {
        const double factor = (double)weight[i] + (double)shape->weight_offset;
        assert_near(is[i], (double)row[i] / root * factor, 1e-5, "norm");
    }
}

static void check_shape(const struct shape *shape)
{
    static struct results results, other;
    struct variant variants[FIXTURE_VARIANTS];
    const int dim = shape->head_dim, q = shape->query_heads * dim, k = shape->kv_heads * dim;
    const int width = width_of(shape), count = fixture_variants(variants);
    float *rows = fixture_random(TOKENS * (size_t)width, 1);
    float *q_weight = fixture_random((size_t)q, 2), *k_weight = fixture_random((size_t)k, 3);
    memset(rows, 0, (size_t)width * sizeof *rows); /* the first token has no length */
    run_shape(shape, variants[0], rows, q_weight, k_weight, &results);
    for (int token = 0; token < TOKENS; token++) {
        const float *row = rows + token * width, *sums = results.sums + 2 * token;
        const float *normalized = results.normalized + token * width;
        const float *scaled = results.scaled + token * width;
        check_sums(shape, row, sums);
        check_part(shape, row, q_weight, q, (double)sums[0], normalized);
        check_part(shape, row + q, k_weight, k, (double)sums[1], normalized + q);
        assert_bits(normalized + q + k, row + q + k, (size_t)k, "v behind the norm");
        for (int i = 0; i < q; i++) {
            const int times = token / LENGTH;
            assert_near(scaled[i], (double)row[i] * (1 + 0.1 * log(1 + times)), 1e-6, "scale");
        }
        assert_bits(scaled + q, row + q, 2 * (size_t)k, "k and v beside scaled queries");
    }
    for (int i = 1; i < count; i++) {
        run_shape(shape, variants[i], rows, q_weight, k_weight, &other);
        assert_bits(other.sums, results.sums, TOKENS * 2, "sums");
        assert_bits(other.normalized, results.normalized, TOKENS * (size_t)width, "norms");
        assert_bits(other.scaled, results.scaled, TOKENS * (size_t)width, "scaled");
    }
    free(rows);
    free(q_weight);
    free(k_weight);
}

static void heads_are_as_in_double_precision(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        check_shape(&shapes[i]);
    }
}

static void assert_refused(status s, const char *message)
{
    if (s != STATUS_INTERNAL || strstr(status_message(), message) == NULL) {
        fail_msg("expected \"%s\", got %s: %s", message, status_name(s), status_message());
    }
}

/* Which rows do not fit is told; nothing of them is written. */
static void short_buffers_are_refused(void **state)
{
    (void)state;
    enum { HEADS = 2, DIM = 3, WIDTH = 4 * DIM, ROWS = 5, FLOATS = ROWS * WIDTH };
    static const float weights[HEADS * DIM] = {1, 1, 1, 1, 1, 1};
    static const int32_t kv_head[HEADS] = {0, 0}, start[] = {0, HEADS * DIM},
                         other_start[] = {0, HEADS * DIM - DIM};
    static const uint8_t is_first[HEADS] = {1, 0};
    const struct head_layout heads = {HEADS, 1, DIM, kv_head};
    const struct head_slices slices = {1, start, is_first}, none = {0, start + 1, is_first},
                             other = {1, other_start, is_first};
    const struct norm_facts norm = {.epsilon = 1e-5f};
    struct backend *backend = fixture_backend((struct variant){cpu_kernels_best(), 1});
    const struct backend_operations *op = backend->operations;
    struct device_buffer *rows = fixture_buffer(backend, NULL, FLOATS);
    struct device_buffer *few = fixture_buffer(backend, NULL, FLOATS - 1);
    struct device_buffer *sums = fixture_buffer(backend, NULL, 2 * ROWS);
    struct device_buffer *few_sums = fixture_buffer(backend, NULL, 2 * ROWS - 1);
    struct vector *q = fixture_vector(backend, weights, HEADS * DIM);
    struct vector *k = fixture_vector(backend, weights, DIM);
    static const char short_rows[] = "buffer of 236 bytes: 5 rows of 12 do not fit";
    static const char short_sums[] = "buffer of 36 bytes: 5 rows of 2 do not fit";
    fixture_step(backend, ROWS, NULL);
    assert_refused(op->head_squares(backend, &heads, &slices, few, sums), short_rows);
    assert_refused(op->head_squares(backend, &heads, &slices, rows, few_sums), short_sums);
    assert_refused(op->head_squares(backend, &heads, &none, rows, sums), "slices of other heads");
    assert_refused(op->head_squares(backend, &heads, &other, rows, sums), "slices of other heads");
    assert_refused(op->head_normalize(backend, &heads, &norm, q, k, 1, 1, sums, few), short_rows);
    assert_refused(op->head_normalize(backend, &heads, &norm, q, k, 1, 1, few_sums, rows),
                   short_sums);
    assert_refused(op->head_normalize(backend, &heads, &norm, k, k, 1, 1, sums, rows),
                   "weights of other heads");
    assert_refused(op->head_normalize(backend, &heads, &norm, q, q, 1, 1, sums, rows),
                   "weights of other heads");
    assert_refused(op->head_normalize(backend, &heads, &norm, q, k, 0, 1, sums, rows),
                   "weights of other heads");
    assert_refused(op->head_normalize(backend, &heads, &norm, q, k, 1, 0, sums, rows),
                   "weights of other heads");
    assert_refused(op->scale_queries(backend, &heads, 0.1f, LENGTH, few), short_rows);
    check(op->head_squares(backend, &heads, &slices, rows, sums));
    check(op->head_normalize(backend, &heads, &norm, q, k, 1, 1, sums, rows));
    check(op->scale_queries(backend, &heads, 0.1f, LENGTH, rows));
    struct device_buffer *buffers[] = {rows, few, sums, few_sums};
    for (size_t i = 0; i < COUNT_OF(buffers); i++) {
        op->buffer_destroy(backend, buffers[i]);
    }
    op->vector_destroy(backend, q);
    op->vector_destroy(backend, k);
    op->destroy(backend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_are_as_in_double_precision),
        cmocka_unit_test(short_buffers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
