/* SPDX-License-Identifier: Apache-2.0 */
/* The CUDA backend's activation, copies and rounding to fp8 beside the CPU's, value by value, for
 * widths, slices and types of every variant that a kernel has; and the same bits for a row whatever
 * stands beside it. Norms: rows_norm_test.c. */
#include "gpu/rows_fixture.h"

/* ---- Activation ---- */

struct activation_case {
    int width;
    bool gated, scaled, biased, copies; /* copies: no activation, the rounding alone */
    enum activation activation;
    struct target target;
};

/* Rows [first, first + rows) on the GPU. */
static void run_activation(struct backend *backend, const struct activation_case *c,
                           const float *in, int first, int rows, float *values, float *scales)
{
    const struct backend_operations *op = backend->operations;
    const enum dtype act = op->activation_dtype(backend);
    const size_t in_width = (size_t)(c->gated ? 2 * c->width : c->width);
    struct matrix *reader = new_reader(backend, &c->target, c->width);
    struct device_buffer *from =
        gpu_buffer(backend, in + (size_t)first * in_width, (size_t)rows * in_width, act);
    struct device_buffer *out = gpu_buffer(backend, NULL, (size_t)rows * (size_t)c->width, act);
    struct device_buffer *row_scale =
        gpu_buffer(backend, random_vector[0] + first, (size_t)rows, DTYPE_FLOAT32);
    struct vector *columns = new_vector(backend, c->scaled, 1, (int)in_width);
    struct vector *bias = new_vector(backend, c->biased, 2, (int)in_width);
    begin_step(backend, rows);
    struct device_buffer *left = c->copies ? from : out;
    for (int round = 0; round < 2; round++) { /* the first makes room */
        if (c->copies) {
            check(cuda_pack(cuda_of(backend), reader, from, rows));
        } else {
            from->pending = (struct cuda_pending){c->scaled ? row_scale->data : NULL,
                                                  c->scaled ? columns->data : NULL,
                                                  c->biased ? bias->data : NULL};
            check(op->activate(backend, c->activation, c->gated, c->width, from, reader, out));
        }
        if (round == 0) {
            poison(backend, left, c->copies ? 0 : left->bytes);
            left->packed.valid = false;
        }
    }
    read_target(backend, left, reader, rows, c->width, values, scales);
    op->buffer_destroy(backend, from);
    op->buffer_destroy(backend, out);
    op->buffer_destroy(backend, row_scale);
    op->vector_destroy(backend, columns);
    op->vector_destroy(backend, bias);
    op->matrix_destroy(backend, reader);
}

/* The same on the CPU, from finished values and without rounding. */
static void reference_activation(struct backend *cpu, const struct activation_case *c,
                                 const float *in, int rows, float *right)
{
    const int in_width = c->gated ? 2 * c->width : c->width;
    const size_t count = (size_t)rows * (size_t)in_width;
    if (c->copies) {
        memcpy(right, in, count * sizeof *in);
        return;
    }
    float *finished = new_floats(count);
    for (int row = 0; row < rows; row++) {
        for (int i = 0; i < in_width; i++) {
            const size_t at = (size_t)row * (size_t)in_width + (size_t)i;
            finished[at] = in[at];
            if (c->scaled) {
                finished[at] *= random_vector[0][row] * random_vector[1][i];
            }
            if (c->biased) {
                finished[at] += random_vector[2][i];
            }
        }
    }
    const struct backend_operations *op = cpu->operations;
    const size_t values = (size_t)rows * (size_t)c->width;
    struct device_buffer *from = gpu_buffer(cpu, finished, count, DTYPE_FLOAT32);
    struct device_buffer *out = gpu_buffer(cpu, NULL, values, DTYPE_FLOAT32);
    begin_step(cpu, rows);
    check(op->activate(cpu, c->activation, c->gated, c->width, from, NULL, out));
    gpu_values(cpu, out, values, DTYPE_FLOAT32, right);
    op->buffer_destroy(cpu, from);
    op->buffer_destroy(cpu, out);
    free(finished);
}

static void describe_activation(const struct activation_case *c, const char *type, int rows,
                                char *name, size_t bytes)
{
    snprintf(name, bytes, "%s %d in %s x %d, %s, %d slices cut %d, scale %g%s%s%s",
             c->copies ? "rounding" : "activation", (int)c->activation, type, c->width,
             c->target.slices < 0 ? "plain" : "fp8", c->target.slices, (int)c->target.cut,
             (double)c->target.static_scale, c->gated ? ", gated" : "", c->scaled ? ", scaled" : "",
             c->biased ? ", bias" : "");
    const size_t length = strlen(name);
    snprintf(name + length, bytes - length, ", %d rows", rows);
}

static const int activation_widths[] = {64, 72, 100, 896, 4096, 8192, 14336, 28672, MOST_WIDTH};
static const int slice_counts[] = {-1, 0, 1, 2, 4, 8};

/* The number-th way to ask for it. */
static struct activation_case make_activation(size_t number, int width, int slices, enum cut cut)
{
    return (struct activation_case){
        .width = width,
        .gated = number % 3 != 0,
        .scaled = number % 2 == 0,
        .biased = number % 5 < 2,
        .copies = slices >= 0 && number % 4 == 3,
        .activation = (enum activation)(number / 2 % 4),
        .target = {slices, cut, slices > 0 && number % 7 == 5 ? 0.004f : 0.0f}};
}

static void activations_are_right(void **state)
{
    (void)state;
    size_t number = 0;
    failures = 0;
    struct backend *cpu = gpu_backend("cpu", DTYPE_FLOAT32, MOST_ROWS, MOST_ROWS);
    for (size_t t = 0; t < COUNT_OF(types); t++) {
        struct backend *cuda = gpu_backend("cuda", types[t].dtype, MOST_ROWS, MOST_ROWS);
        for (size_t w = 0; w < COUNT_OF(activation_widths); w++) {
            for (size_t s = 0; s < COUNT_OF(slice_counts) * CUTS; s++) {
                const int slices = slice_counts[s / CUTS];
                const enum cut cut = (enum cut)(s % CUTS);
                const int width = activation_widths[w], rows = ++number % 2 == 0 ? 1 : SOME_ROWS;
                if ((slices < 2 && cut != EQUAL) || gpu_leaves_out(number, rows * width, 40000)) {
                    continue;
                }
                struct activation_case c = make_activation(number, width, slices, cut);
                c.gated = c.gated && !c.copies;
                const size_t in = (size_t)rows * (size_t)width * (c.gated ? 2 : 1);
                float *raw = rounded_copy(random_values, in, types[t].dtype);
                float *is = new_floats(in), *right = new_floats(in);
                float scales[MAX_SLICES * SOME_ROWS];
                char name[200];
                describe_activation(&c, types[t].name, rows, name, sizeof name);
                reference_activation(cpu, &c, raw, rows, right);
                run_activation(cuda, &c, raw, 0, rows, is, scales);
                struct matrix *reader = new_reader(cuda, &c.target, width);
                expect_values(name, reader, reader != NULL ? 1.0 / 16 : types[t].half, rows, width,
                              is, scales, right);
                cuda->operations->matrix_destroy(cuda, reader);
                free(raw);
                free(is);
                free(right);
            }
        }
        cuda->operations->destroy(cuda);
    }
    cpu->operations->destroy(cpu);
    assert_int_equal(failures, 0);
}

/* A NaN stays one, and alone. */
static void a_nan_stays(void **state)
{
    (void)state;
    static const int widths[] = {100, 896, 8192};
    enum { ROWS = 3 };
    failures = 0;
    struct backend *cuda = gpu_backend("cuda", DTYPE_BFLOAT16, MOST_ROWS, MOST_ROWS);
    for (size_t i = 0; i < COUNT_OF(widths) * 2; i++) {
        const int width = widths[i / 2], column = width / 2 + 5;
        const struct activation_case c = {
            .width = width, .gated = true, .scaled = true, .target = {i % 2 == 0 ? 2 : -1, 0, 0}};
        const size_t count = (size_t)ROWS * (size_t)width;
        float *raw = rounded_copy(random_values, 2 * count, DTYPE_BFLOAT16);
        float *is = new_floats(count), scales[2 * ROWS];
        raw[2 * width + column] = NAN;
        run_activation(cuda, &c, raw, 0, ROWS, is, scales);
        for (int at = 0; at < ROWS * width; at++) {
            if (!isnan(is[at]) != (at != width + column)) {
                print_error("width %d, slices %d: value %d is %g, NaN is at %d\n", width,
                            c.target.slices, at, (double)is[at], width + column);
                failures++;
                break;
            }
        }
        free(raw);
        free(is);
    }
    cuda->operations->destroy(cuda);
    assert_int_equal(failures, 0);
}

/* ---- Copies ---- */

/* Row i of a copy is row pick_of(i) of what it is taken from: some are taken twice, some never. */
static int pick_of(int row, int rows)
{
    return (row * 7 + 3) % ((rows + 1) / 2);
}

/* Scales that rows have of their own, of which 0 stands for one from the row's magnitude; some cut
 * the largest values off. */
static float own_scale(size_t number, int row)
{
    static const float scales[] = {0.0f, 0.002f, 0.01f, 0.5f};
    return scales[(number + (size_t)row) % COUNT_OF(scales)];
}

/* Room for `rows` rows in fp8, with more of it between the scales of slices than needed. */
static void reserve_rows(struct device_buffer *buffer, const struct matrix *reader, int rows)
{
    struct cuda_packed *packed = &buffer->packed;
    packed->slices = reader->slices > 0 ? reader->slices : 1;
    packed->padded = reader->padded;
    packed->scale_stride = rows + 5;
    packed->scale_capacity = packed->slices * packed->scale_stride;
    packed->bytes = (size_t)packed->slices * (size_t)rows * (size_t)packed->padded;
    packed->valid = true;
    assert_int_equal(cudaMalloc(&packed->data, packed->bytes), cudaSuccess);
    assert_int_equal(
        cudaMalloc((void **)&packed->scale, (size_t)packed->scale_capacity * sizeof(float)),
        cudaSuccess);
}

/* As a mixture's rows go to their experts: picked, and in fp8 with scales of their own, which a
 * scale of the whole target yields to. */
static void run_copy(struct backend *backend, const struct matrix *reader, size_t number,
                     const float *in, int rows, int width, float *values, float *scales)
{
    const struct backend_operations *op = backend->operations;
    const enum dtype act = op->activation_dtype(backend);
    const size_t count = (size_t)rows * (size_t)width;
    int32_t pick[SOME_ROWS];
    float own[SOME_ROWS];
    for (int row = 0; row < rows; row++) {
        pick[row] = pick_of(row, rows);
        own[row] = own_scale(number, row);
    }
    struct device_buffer *from = gpu_buffer(backend, in, count, act);
    struct device_buffer *out = gpu_buffer(backend, NULL, count, act);
    struct device_buffer *own_scales = gpu_buffer(backend, own, (size_t)rows, DTYPE_FLOAT32);
    struct device_buffer *picks;
    check(op->buffer_create(backend, (size_t)rows * sizeof *pick, &picks));
    check(op->upload(backend, picks, 0, pick, (size_t)rows * sizeof *pick));
    struct rows_copy call = {.rows = rows,
                             .width = width,
                             .in = from->data,
                             .dtype = (int)act,
                             .pick = picks->data,
                             .target = {.plain = out->data, .dtype = (int)act}};
    if (reader != NULL) {
        reserve_rows(out, reader, rows);
        call.target = (struct rows_target){.packed = out->packed.data,
                                           .scale = out->packed.scale,
                                           .slices = out->packed.slices,
                                           .padded = out->packed.padded,
                                           .scale_stride = out->packed.scale_stride,
                                           .static_scale = 7.0f,
                                           .row_static_scale = own_scales->data};
        memcpy(call.target.slice_start, reader->slice_start, sizeof call.target.slice_start);
    }
    poison(backend, out, out->bytes);
    assert_int_equal(rows_copy_launch(cuda_of(backend)->stream, &call), cudaSuccess);
    read_target(backend, out, reader, rows, width, values, scales);
    op->buffer_destroy(backend, from);
    op->buffer_destroy(backend, out);
    op->buffer_destroy(backend, own_scales);
    op->buffer_destroy(backend, picks);
}

/* Row by row, as the scale that is right is another one in each. */
static void expect_copy(struct backend *backend, const char *name, struct matrix *reader,
                        size_t number, int rows, int width, const float *is, const float *scales,
                        const float *in)
{
    for (int row = 0; row < rows; row++) {
        const size_t right = (size_t)pick_of(row, rows) * (size_t)width;
        float row_scales[MAX_SLICES] = {0};
        char row_name[250];
        snprintf(row_name, sizeof row_name, "%s: row %d of %d, scale %g", name, row, rows,
                 (double)own_scale(number, row));
        if (reader != NULL) {
            const int slices = reader->slices > 0 ? reader->slices : 1;
            for (int slice = 0; slice < slices; slice++) {
                row_scales[slice] = scales[slice * rows + row];
            }
            check(backend->operations->matrix_input_scale(backend, reader, 0,
                                                          own_scale(number, row)));
        }
        expect_values(row_name, reader, reader != NULL ? 1.0 / 16 : 0, 1, width,
                      is + (size_t)row * (size_t)width, row_scales, in + right);
    }
}

static void copies_are_right(void **state)
{
    (void)state;
    static const int widths[] = {100, 896, 4096, 14336, MOST_WIDTH};
    size_t number = 0;
    failures = 0;
    for (size_t t = 0; t < COUNT_OF(types); t++) {
        struct backend *cuda = gpu_backend("cuda", types[t].dtype, MOST_ROWS, MOST_ROWS);
        for (size_t i = 0; i < COUNT_OF(widths) * COUNT_OF(slice_counts) * CUTS; i++) {
            const int width = widths[i / CUTS / COUNT_OF(slice_counts)];
            const struct target target = {slice_counts[i / CUTS % COUNT_OF(slice_counts)],
                                          (enum cut)(i % CUTS), 0};
            const int rows = ++number % 3 == 0 ? 1 : SOME_ROWS;
            if ((target.slices < 2 && target.cut != EQUAL) ||
                gpu_leaves_out(number, rows * width, 40000)) {
                continue;
            }
            const size_t count = (size_t)rows * (size_t)width;
            float *in = rounded_copy(random_values, count, types[t].dtype);
            float *is = new_floats(count), scales[MAX_SLICES * SOME_ROWS];
            struct matrix *reader = new_reader(cuda, &target, width);
            char name[200];
            snprintf(name, sizeof name, "copy in %s x %d, %s, %d slices cut %d", types[t].name,
                     width, target.slices < 0 ? "plain" : "fp8", target.slices, (int)target.cut);
            run_copy(cuda, reader, number, in, rows, width, is, scales);
            expect_copy(cuda, name, reader, number, rows, width, is, scales, in);
            cuda->operations->matrix_destroy(cuda, reader);
            free(in);
            free(is);
        }
        cuda->operations->destroy(cuda);
    }
    assert_int_equal(failures, 0);
}

/* ---- Bits ---- */

/* Rows alone and in smaller batches have the bits that they have in the whole. */
static void bits_know_no_batch(void **state)
{
    (void)state;
    failures = 0;
    const size_t most = (size_t)MOST_ROWS * 4096;
    float *whole = new_floats(most), *part = new_floats(most);
    static float scales[MAX_SLICES * MOST_ROWS];
    struct backend *cuda = gpu_backend("cuda", DTYPE_BFLOAT16, MOST_ROWS, MOST_ROWS);
    for (size_t i = 0; i < COUNT_OF(bits_widths) * 2; i++) {
        const int width = bits_widths[i / 2], slices = i % 2 == 0 ? 2 : -1;
        const struct activation_case c = {
            .width = width, .gated = true, .scaled = true, .target = {slices, EQUAL, 0}};
        float *raw =
            rounded_copy(random_values, 2 * (size_t)MOST_ROWS * (size_t)width, DTYPE_BFLOAT16);
        run_activation(cuda, &c, raw, 0, MOST_ROWS, whole, scales);
        for (size_t k = 0; k < COUNT_OF(bits_parts); k++) {
            const int first = bits_parts[k].first, rows = bits_parts[k].rows;
            run_activation(cuda, &c, raw, first, rows, part, scales);
            expect_bits("activation", width, first, rows, part, whole);
        }
        free(raw);
    }
    free(whole);
    free(part);
    cuda->operations->destroy(cuda);
    assert_int_equal(failures, 0);
}

/* A rank that holds half of a row's columns, one slice, makes of it what the whole row's two slices
 * are. */
static void bits_know_no_ranks(void **state)
{
    (void)state;
    static const int widths[] = {200, 896, 4096, 8192, 28672};
    enum { ROWS = 5 };
    failures = 0;
    struct backend *cuda = gpu_backend("cuda", DTYPE_BFLOAT16, MOST_ROWS, MOST_ROWS);
    for (size_t i = 0; i < COUNT_OF(widths) * 4; i++) {
        const int width = widths[i / 4], half = width / 2;
        const struct activation_case c = {.width = width,
                                          .gated = true,
                                          .activation = (enum activation)(i % 4),
                                          .target = {2, EQUAL, 0}};
        struct activation_case rank = c;
        rank.width = half;
        rank.target.slices = 1;
        const size_t count = (size_t)ROWS * (size_t)width;
        float *raw = rounded_copy(random_values, 2 * count, DTYPE_BFLOAT16);
        float *own = new_floats(count), *whole = new_floats(count), *part = new_floats(count);
        float scales[2 * ROWS];
        run_activation(cuda, &c, raw, 0, ROWS, whole, scales);
        for (int r = 0; r < 2; r++) {
            for (int row = 0; row < 2 * ROWS; row++) { /* gate and up of a row */
                memcpy(own + (size_t)row * (size_t)half,
                       raw + (size_t)row * (size_t)width + (size_t)(r * half),
                       (size_t)half * sizeof(float));
            }
            run_activation(cuda, &rank, own, 0, ROWS, part, scales);
            for (int row = 0; row < ROWS; row++) {
                const float *is = part + (size_t)row * (size_t)half;
                const float *right = whole + (size_t)row * (size_t)width + (size_t)(r * half);
                if (memcmp(is, right, (size_t)half * sizeof(float)) != 0) {
                    print_error("width %d, activation %d: rank %d's row %d has other bits: %.9g "
                                "in place of %.9g at first\n",
                                width, (int)c.activation, r, row, (double)is[0], (double)right[0]);
                    failures++;
                }
            }
        }
        free(raw);
        free(own);
        free(whole);
        free(part);
    }
    cuda->operations->destroy(cuda);
    assert_int_equal(failures, 0);
}

int main(void)
{
    gpu_prepare();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activations_are_right), cmocka_unit_test(a_nan_stays),
        cmocka_unit_test(copies_are_right),      cmocka_unit_test(bits_know_no_batch),
        cmocka_unit_test(bits_know_no_ranks),
    };
    return cmocka_run_group_tests(tests, prepare, clear);
}
