/* The CUDA backend's kernels on rows beside the CPU's operations, value by value: activation,
 * rounding to fp8 and norms, for widths, slices and types of every variant that a kernel has; and
 * the same bits for a row whatever stands beside it. */
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

static int prepare(void **state)
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

static int clear(void **state)
{
    (void)state;
    free(random_values);
    for (size_t v = 0; v < COUNT_OF(random_vector); v++) {
        free(random_vector[v]);
    }
    return 0;
}

static float *new_floats(size_t count)
{
    float *values = malloc((count + 1) * sizeof *values);
    assert_non_null(values);
    return values;
}

static float *rounded_copy(const float *from, size_t count, enum dtype dtype)
{
    float *values = new_floats(count);
    memcpy(values, from, count * sizeof *values);
    gpu_round(values, count, dtype);
    return values;
}

static void begin_step(struct backend *backend, int tokens)
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

static struct vector *new_vector(struct backend *backend, bool wanted, int which, int length)
{
    struct vector *vector = NULL;
    if (wanted) {
        check(backend->operations->vector_create(backend, length, random_vector[which], &vector));
    }
    return vector;
}

/* ---- Targets -----------------------------------------------------------------------------------
 */

enum cut { EQUAL, BY_EIGHT, ANYWHERE, CUTS };

/* What an operation writes to. slices -1: plain; 0: fp8 in one piece. */
struct target {
    int slices;
    enum cut cut;
    float static_scale;
};

static void cut_slices(const struct target *target, int width, int32_t *start)
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
static struct matrix *new_reader(struct backend *backend, const struct target *target, int width)
{
    struct matrix *matrix = NULL;
    int32_t start[MAX_SLICES + 1] = {0};
    if (target->slices >= 0) {
        const int slices = target->slices;
        cut_slices(&(struct target){slices > 0 ? slices : 1, target->cut, 0}, width, start);
        check(backend->operations->matrix_create(backend, 1, 1, width, slices > 0 ? start : NULL,
                                                 slices, DTYPE_FLOAT8_E4M3, &matrix));
        if (target->static_scale > 0) {
            check(
                backend->operations->matrix_input_scale(backend, matrix, 0, target->static_scale));
        }
    }
    return matrix;
}

static float fp8_value(uint8_t bits)
{
    const int exponent = bits >> 3 & 15, fraction = bits & 7;
    const float magnitude = (bits & 127) == 127 ? NAN
                            : exponent == 0     ? ldexpf((float)fraction, -9)
                                                : ldexpf((float)(8 + fraction), exponent - 10);
    return (bits & 128) != 0 ? -magnitude : magnitude;
}

/* Bytes and scales as no operation leaves them, and `bytes` of the plain values. */
static void poison(struct backend *backend, const struct device_buffer *buffer, size_t bytes)
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
static void read_target(struct backend *backend, struct device_buffer *buffer,
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

static float most_of(const float *values, int count)
{
    float most = 0.0f;
    for (int i = 0; i < count; i++) {
        most = fmaxf(most, fabsf(values[i]));
    }
    return most;
}

/* Values beside the exact ones of the CPU: at most half a step of the target's type away, and what
 * float32 loses on the way. */
static void expect_values(const char *name, const struct matrix *reader, double half, int rows,
                          int width, const float *is, const float *scales, const float *right)
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

/* ---- Activation --------------------------------------------------------------------------------
 */

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

/* ---- Norms -------------------------------------------------------------------------------------
 */

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

/* ---- Bits --------------------------------------------------------------------------------------
 */

static void expect_bits(const char *what, int width, int first, int rows, const float *part,
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

/* Rows alone and in smaller batches have the bits that they have in the whole; a rank's slice of a
 * row has those that it has in the whole row. */
static void bits_know_no_batch(void **state)
{
    (void)state;
    static const int widths[] = {100, 896, 2048, 4096};
    static const struct {
        int first, rows;
    } parts[] = {{0, 1}, {299, 1}, {150, 7}};
    failures = 0;
    const size_t most = (size_t)MOST_ROWS * 4096;
    float *whole[2] = {new_floats(most), new_floats(most)};
    float *part[2] = {new_floats(most), new_floats(most)};
    static float scales[MAX_SLICES * MOST_ROWS];
    struct backend *cuda = gpu_backend("cuda", DTYPE_BFLOAT16, MOST_ROWS, MOST_ROWS);
    for (size_t i = 0; i < COUNT_OF(widths) * 2; i++) {
        const int width = widths[i / 2], slices = i % 2 == 0 ? 2 : -1;
        const struct activation_case activation = {
            .width = width, .gated = true, .scaled = true, .target = {slices, EQUAL, 0}};
        const struct norm_case norm = {.hidden = width,
                                       .ranks = 1,
                                       .slices = 2,
                                       .scaled = true,
                                       .weighted = true,
                                       .written = true,
                                       .target = {slices < 0 ? -1 : 0, EQUAL, 0}};
        float *raw =
            rounded_copy(random_values, 2 * (size_t)MOST_ROWS * (size_t)width, DTYPE_BFLOAT16);
        run_activation(cuda, &activation, raw, 0, MOST_ROWS, whole[0], scales);
        for (size_t k = 0; k < COUNT_OF(parts); k++) {
            run_activation(cuda, &activation, raw, parts[k].first, parts[k].rows, part[0], scales);
            expect_bits("activation", width, parts[k].first, parts[k].rows, part[0], whole[0]);
        }
        run_norm(cuda, &norm, raw, 0, MOST_ROWS, whole[0], whole[1], scales);
        for (size_t k = 0; k < COUNT_OF(parts); k++) {
            run_norm(cuda, &norm, raw, parts[k].first, parts[k].rows, part[0], part[1], scales);
            expect_bits("residual", width, parts[k].first, parts[k].rows, part[0], whole[0]);
            expect_bits("norm", width, parts[k].first, parts[k].rows, part[1], whole[1]);
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
        cmocka_unit_test(norms_are_right),       cmocka_unit_test(bits_know_no_batch),
        cmocka_unit_test(bits_know_no_ranks),
    };
    return cmocka_run_group_tests(tests, prepare, clear);
}
