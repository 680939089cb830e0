/* SPDX-License-Identifier: Apache-2.0 */
/* The CUDA backend's norms, and sums of partial products before them, beside the CPU's, value by
 * value, for widths, slices and types of every variant that a kernel has; and the same bits for a
 * row whatever stands beside it. */
#include "gpu/rows_fixture.h"

struct norm_case {
    int hidden, ranks, slices; /* ranks 0: the norm of the residual alone */
    bool scaled, biased, post, layer_norm, in_place, weighted, written;
    struct target target;
};

static struct norm_facts facts_of(const struct norm_case *c)
{
    return (struct norm_facts){.epsilon = 1e-5f,
                               .weight_offset = c->post ? 1.0f : 0.0f,
                               .layer_norm = c->layer_norm,
                               .in_place = c->in_place};
}

/* Norms on either side; `partials` are ready for it. */
static void call_norm(struct backend *backend, const struct norm_case *c, int parts,
                      struct device_buffer *partials, struct device_buffer *residual,
                      const struct matrix *reader, struct device_buffer *normed)
{
    const struct backend_operations *op = backend->operations;
    const struct norm_facts facts = facts_of(c);
    struct vector *bias = new_vector(backend, c->biased, 2, c->hidden);
    struct vector *post = new_vector(backend, c->post, 3, c->hidden);
    struct vector *weight = new_vector(backend, c->weighted, 4, c->hidden);
    struct vector *norm_bias = new_vector(backend, c->layer_norm, 2, c->hidden);
    if (c->ranks == 0) {
        check(op->norm(backend, &facts, weight, norm_bias, residual, c->hidden, reader, normed));
    } else {
        check(op->add_norm(backend, &facts, partials, parts, bias, 0.75f, post, residual, c->hidden,
                           weight, norm_bias, reader, normed));
    }
    check(op->synchronize(backend));
    op->vector_destroy(backend, bias);
    op->vector_destroy(backend, post);
    op->vector_destroy(backend, weight);
    op->vector_destroy(backend, norm_bias);
}

/* What part p of the sum is made of: scales of its rows and columns, and its raw rows. */
static float row_scale_of(int part, int row)
{
    return random_vector[0][(part * MOST_ROWS + row) % MOST_WIDTH];
}

static const float *column_scales_of(const struct norm_case *c, int part)
{
    return random_vector[1] + (size_t)part * (size_t)c->hidden;
}

static const float *raw_of(const float *raw, const struct norm_case *c, int part, int row)
{
    return raw + (size_t)((part * 11 + row) % SOME_ROWS) * (size_t)c->hidden;
}

static void put_values(void *to, const float *from, int count, enum dtype dtype)
{
    for (int i = 0; i < count; i++) {
        if (dtype == DTYPE_FLOAT32) {
            ((float *)to)[i] = from[i];
        } else if (dtype == DTYPE_BFLOAT16) {
            ((uint16_t *)to)[i] = gpu_bfloat16(from[i]);
        } else {
            ((_Float16 *)to)[i] = (_Float16)from[i];
        }
    }
}

/* Blocks of partial sums as the ranks' products leave them, of rows [first, first + rows). */
static struct device_buffer *new_partials(struct backend *backend, const struct norm_case *c,
                                          const float *raw, int first, int rows)
{
    const enum dtype act = backend->operations->activation_dtype(backend);
    const size_t hidden = (size_t)c->hidden, row_bytes = hidden * dtype_bytes(act);
    const size_t slices = (size_t)c->slices;
    struct cuda_partials *facts = &cuda_of(backend)->partials;
    *facts = (struct cuda_partials){.slices = c->slices, .scaled = c->scaled};
    facts->scales_offset = (slices * (size_t)rows * row_bytes + 15) / 16 * 16;
    facts->block_bytes = facts->scales_offset;
    if (c->scaled) {
        facts->block_bytes += (slices * (hidden + (size_t)rows) * sizeof(float) + 15) / 16 * 16;
    }
    const size_t bytes = (size_t)c->ranks * facts->block_bytes;
    char *host = calloc(1, bytes + 1);
    assert_non_null(host);
    for (int part = 0; part < c->ranks * c->slices; part++) {
        char *block = host + (size_t)(part / c->slices) * facts->block_bytes;
        const size_t slice = (size_t)(part % c->slices);
        float *scales = (float *)(void *)(block + facts->scales_offset);
        for (int row = 0; row < rows; row++) {
            put_values(block + (slice * (size_t)rows + (size_t)row) * row_bytes,
                       raw_of(raw, c, part, first + row), c->hidden, act);
            if (c->scaled) {
                scales[slices * hidden + slice * (size_t)rows + (size_t)row] =
                    row_scale_of(part, first + row);
            }
        }
        if (c->scaled) {
            memcpy(scales + slice * hidden, column_scales_of(c, part), hidden * sizeof(float));
        }
    }
    struct device_buffer *buffer;
    check(backend->operations->buffer_create(backend, bytes, &buffer));
    check(backend->operations->upload(backend, buffer, 0, host, bytes));
    free(host);
    return buffer;
}

static void run_norm(struct backend *backend, const struct norm_case *c, const float *raw,
                     int first, int rows, float *residual, float *values, float *scales)
{
    const struct backend_operations *op = backend->operations;
    const enum dtype act = op->activation_dtype(backend);
    const size_t count = (size_t)rows * (size_t)c->hidden;
    struct matrix *reader = new_reader(backend, &c->target, c->hidden);
    struct device_buffer *partials =
        c->ranks > 0 ? new_partials(backend, c, raw, first, rows) : NULL;
    struct device_buffer *out = gpu_buffer(backend, NULL, count, act);
    begin_step(backend, rows);
    for (int round = 0; round < 2; round++) { /* the first makes room */
        struct device_buffer *stream = gpu_buffer(
            backend, random_values + (size_t)first * (size_t)c->hidden, count, DTYPE_FLOAT32);
        if (round > 0) {
            poison(backend, out, out->bytes);
        }
        call_norm(backend, c, c->ranks, partials, stream, reader, c->written ? out : NULL);
        gpu_values(backend, stream, count, DTYPE_FLOAT32, residual);
        op->buffer_destroy(backend, stream);
    }
    if (c->written) {
        read_target(backend, out, reader, rows, c->hidden, values, scales);
    }
    op->buffer_destroy(backend, out);
    if (partials != NULL) {
        op->buffer_destroy(backend, partials);
    }
    op->matrix_destroy(backend, reader);
}

static void reference_norm(struct backend *cpu, const struct norm_case *c, const float *raw,
                           int rows, float *residual, float *right)
{
    const struct backend_operations *op = cpu->operations;
    const int parts = c->ranks * c->slices;
    const size_t count = (size_t)rows * (size_t)c->hidden;
    float *sums = new_floats(count * (size_t)(parts + 1));
    for (int part = 0; part < parts; part++) {
        for (int row = 0; row < rows; row++) {
            const float *from = raw_of(raw, c, part, row), *columns = column_scales_of(c, part);
            float *to = sums + (size_t)part * count + (size_t)row * (size_t)c->hidden;
            for (int i = 0; i < c->hidden; i++) {
                to[i] = c->scaled ? from[i] * (row_scale_of(part, row) * columns[i]) : from[i];
            }
        }
    }
    struct device_buffer *partials =
        gpu_buffer(cpu, sums, count * (size_t)(parts + 1), DTYPE_FLOAT32);
    struct device_buffer *stream = gpu_buffer(cpu, random_values, count, DTYPE_FLOAT32);
    struct device_buffer *out = gpu_buffer(cpu, NULL, count, DTYPE_FLOAT32);
    begin_step(cpu, rows);
    call_norm(cpu, c, parts, partials, stream, NULL, c->written ? out : NULL);
    gpu_values(cpu, stream, count, DTYPE_FLOAT32, residual);
    gpu_values(cpu, out, count, DTYPE_FLOAT32, right);
    op->buffer_destroy(cpu, partials);
    op->buffer_destroy(cpu, stream);
    op->buffer_destroy(cpu, out);
    free(sums);
}

static const int norm_widths[] = {64, 72, 100, 896, 4096, 8192, 12288, 16384, 20000};
static const struct {
    int ranks, slices;
} norm_parts[] = {{0, 0}, {1, 1}, {1, 2}, {2, 1}, {2, 2}, {1, 8}, {4, 2}};

static struct norm_case make_norm(size_t number, int hidden, int ranks, int slices)
{
    static const struct target targets[] = {{-1, EQUAL, 0}, {0, EQUAL, 0},    {0, EQUAL, 0.02f},
                                            {2, EQUAL, 0},  {4, BY_EIGHT, 0}, {0, EQUAL, 0},
                                            {-1, EQUAL, 0}};
    return (struct norm_case){.hidden = hidden,
                              .ranks = ranks,
                              .slices = slices,
                              .scaled = number % 2 == 0,
                              .biased = number % 3 == 1,
                              .post = number % 4 == 1,
                              .layer_norm = number % 5 == 2,
                              .in_place = number % 7 == 3,
                              .weighted = number % 11 != 6,
                              .written = ranks == 0 || number % 13 != 7,
                              .target = targets[number % COUNT_OF(targets)]};
}

static void norms_are_right(void **state)
{
    (void)state;
    size_t number = 0;
    failures = 0;
    struct backend *cpu = gpu_backend("cpu", DTYPE_FLOAT32, MOST_ROWS, MOST_ROWS);
    for (size_t t = 0; t < COUNT_OF(types); t++) {
        struct backend *cuda = gpu_backend("cuda", types[t].dtype, MOST_ROWS, MOST_ROWS);
        for (size_t i = 0; i < COUNT_OF(norm_widths) * COUNT_OF(norm_parts) * 2; i++) {
            const int hidden = norm_widths[i / 2 / COUNT_OF(norm_parts)];
            const size_t p = i / 2 % COUNT_OF(norm_parts);
            const int rows = ++number % 3 == 0 ? 1 : SOME_ROWS;
            if (gpu_leaves_out(number, rows * hidden, 40000)) {
                continue;
            }
            const struct norm_case c =
                make_norm(number, hidden, norm_parts[p].ranks, norm_parts[p].slices);
            const size_t count = (size_t)rows * (size_t)hidden;
            float *raw =
                rounded_copy(random_values + 1, (size_t)SOME_ROWS * (size_t)hidden, types[t].dtype);
            float *is = new_floats(count), *right = new_floats(count);
            float *stream = new_floats(count), *right_stream = new_floats(count);
            float scales[MAX_SLICES * SOME_ROWS];
            char name[250];
            snprintf(name, sizeof name,
                     "norm in %s x %d, %d ranks of %d slices%s%s%s%s%s%s, to %d slices cut %d, "
                     "scale %g, %d rows",
                     types[t].name, hidden, c.ranks, c.slices, c.scaled ? ", scaled" : "",
                     c.biased ? ", bias" : "", c.post ? ", post" : "",
                     c.layer_norm ? ", layer norm" : "", c.in_place ? ", in place" : "",
                     c.weighted ? "" : ", no weight", c.target.slices, (int)c.target.cut,
                     (double)c.target.static_scale, rows);
            reference_norm(cpu, &c, raw, rows, right_stream, right);
            run_norm(cuda, &c, raw, 0, rows, stream, is, scales);
            expect_values(name, NULL, 0, rows, hidden, stream, NULL, right_stream);
            if (c.written) {
                struct matrix *reader = new_reader(cuda, &c.target, hidden);
                expect_values(name, reader, reader != NULL ? 1.0 / 16 : types[t].half, rows, hidden,
                              is, scales, right);
                cuda->operations->matrix_destroy(cuda, reader);
            }
            free(raw);
            free(is);
            free(right);
            free(stream);
            free(right_stream);
        }
        cuda->operations->destroy(cuda);
    }
    cpu->operations->destroy(cpu);
    assert_int_equal(failures, 0);
}

/* Rows alone and in smaller batches have the bits that they have in the whole. */
static void bits_know_no_batch(void **state)
{
    (void)state;
    failures = 0;
    const size_t most = (size_t)MOST_ROWS * 4096;
    float *whole[2] = {new_floats(most), new_floats(most)};
    float *part[2] = {new_floats(most), new_floats(most)};
    static float scales[MAX_SLICES * MOST_ROWS];
    struct backend *cuda = gpu_backend("cuda", DTYPE_BFLOAT16, MOST_ROWS, MOST_ROWS);
    for (size_t i = 0; i < COUNT_OF(bits_widths) * 2; i++) {
        const int width = bits_widths[i / 2];
        const struct norm_case c = {.hidden = width,
                                    .ranks = 1,
                                    .slices = 2,
                                    .scaled = true,
                                    .weighted = true,
                                    .written = true,
                                    .target = {i % 2 == 0 ? 0 : -1, EQUAL, 0}};
        float *raw = rounded_copy(random_values, (size_t)MOST_ROWS * (size_t)width, DTYPE_BFLOAT16);
        run_norm(cuda, &c, raw, 0, MOST_ROWS, whole[0], whole[1], scales);
        for (size_t k = 0; k < COUNT_OF(bits_parts); k++) {
            const int first = bits_parts[k].first, rows = bits_parts[k].rows;
            run_norm(cuda, &c, raw, first, rows, part[0], part[1], scales);
            expect_bits("residual", width, first, rows, part[0], whole[0]);
            expect_bits("norm", width, first, rows, part[1], whole[1]);
        }
        free(raw);
    }
    for (int i = 0; i < 2; i++) {
        free(whole[i]);
        free(part[i]);
    }
    cuda->operations->destroy(cuda);
    assert_int_equal(failures, 0);
}

int main(void)
{
    gpu_prepare();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms_are_right),
        cmocka_unit_test(bits_know_no_batch),
    };
    return cmocka_run_group_tests(tests, prepare, clear);
}
