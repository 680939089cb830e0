/* SPDX-License-Identifier: Apache-2.0 */
/* Products, norms and activations of the CUDA backend beside the CPU's, and the same bits for a row
 * whatever stands beside it. */
#include "backend/cuda/cuda.h"
#include "gpu/gpu_fixture.h"

static int failures;

static void expect(bool right, const char *what, const char *type, int rows, int columns,
                   int tokens, double figure)
{
    if (!right) {
        failures++;
        print_error("%s in %s, %d x %d, %d tokens: %g\n", what, type, rows, columns, tokens,
                    figure);
    }
}

enum { MOST_TOKENS = 700, SLICES = 2 };

/* A step of one sequence of `tokens` tokens; all that products need. */
static void begin_step(struct backend *backend, int tokens, int outputs)
{
    static int32_t ids[MOST_TOKENS], positions[MOST_TOKENS], rows[MOST_TOKENS];
    static int32_t start[2], context, blocks[1 + MOST_TOKENS];
    static struct batch batch;
    for (int i = 0; i < tokens; i++) {
        ids[i] = (7 * i + 3) % 50;
        positions[i] = i;
        rows[i] = i;
    }
    for (int i = 0; i < outputs; i++) {
        rows[i] = tokens - outputs + i;
    }
    start[1] = context = tokens;
    batch = (struct batch){.tokens = tokens,
                           .sequences = 1,
                           .outputs = outputs,
                           .token_ids = ids,
                           .positions = positions,
                           .query_start = start,
                           .context_length = &context,
                           .block_table = blocks,
                           .block_table_stride = 1 + MOST_TOKENS,
                           .output_rows = rows};
    check(backend->operations->step_begin(backend, &batch));
}

static struct matrix *make_matrix(struct backend *backend, const float *values, int rows,
                                  int columns, const int32_t *slice_start, int slices,
                                  enum weight_format stored)
{
    struct matrix *matrix;
    const struct backend_operations *op = backend->operations;
    check(op->matrix_create(backend, 1, rows, columns, slice_start, slices, stored, &matrix));
    const int half = rows / 2; /* in two pieces */
    check(op->matrix_write(
        backend, matrix, 0, half, rows - half,
        &(const struct weight_rows){.data = values + (size_t)half * (size_t)columns,
                                    .format = WEIGHT_FLOAT32,
                                    .stride = (size_t)columns}));
    check(op->matrix_write(backend, matrix, 0, 0, half,
                           &(const struct weight_rows){.data = values,
                                                       .format = WEIGHT_FLOAT32,
                                                       .stride = (size_t)columns}));
    check(op->matrix_finish(backend, matrix));
    return matrix;
}

/* normed → product → activate → sliced product → residual, norm: half a layer, on one backend. */
struct layer_case {
    int hidden, width, tokens;
    bool gated, biased;
    enum activation activation;
    int32_t slice_start[SLICES + 1];
};

struct layer_values {
    float *residual, *up, *down, *bias, *weight;
};

static void run_layer(struct backend *backend, const struct layer_case *c,
                      const struct layer_values *v, enum weight_format stored, int first,
                      int tokens, float *residual, float *normed)
{
    const struct backend_operations *op = backend->operations;
    const enum dtype act = op->activation_dtype(backend);
    const int inner = c->gated ? 2 * c->width : c->width;
    const size_t values = (size_t)tokens * (size_t)c->hidden;
    struct norm_facts facts = {.epsilon = 1e-5f};
    struct matrix *up = make_matrix(backend, v->up, inner, c->hidden, NULL, 0, stored);
    struct matrix *down =
        make_matrix(backend, v->down, c->hidden, c->width, c->slice_start, SLICES, stored);
    struct matrix *head =
        make_matrix(backend, v->up, 40, c->hidden, NULL, 0, weight_format_of(act));
    struct vector *bias, *weight, *out_bias;
    check(op->vector_create(backend, inner, v->bias, &bias));
    check(op->vector_create(backend, c->hidden, v->weight, &weight));
    check(op->vector_create(backend, c->hidden, v->bias, &out_bias));
    struct device_buffer *stream =
        gpu_buffer(backend, v->residual + (size_t)first * (size_t)c->hidden, values, DTYPE_FLOAT32);
    struct device_buffer *in = gpu_buffer(backend, NULL, values, act);
    struct device_buffer *gates = gpu_buffer(backend, NULL, (size_t)tokens * (size_t)inner, act);
    struct device_buffer *active =
        gpu_buffer(backend, NULL, (size_t)tokens * (size_t)c->width, act);
    begin_step(backend, tokens, tokens);
    size_t bytes = op->partial_bytes(backend, down, tokens);
    struct device_buffer *branch =
        gpu_buffer(backend, NULL, bytes > 0 ? bytes / 4 + 1 : values, DTYPE_FLOAT32);
    check(op->norm(backend, &facts, weight, NULL, stream, c->hidden, up, in));
    check(op->product(backend, up, c->biased ? bias : NULL, in, gates));
    check(op->activate(backend, c->activation, c->gated, c->width, gates, down, active));
    check(op->product_sliced(backend, down, active, branch));
    check(op->add_norm(backend, &facts, branch, 1, c->biased ? out_bias : NULL, 0.5f,
                       c->biased ? weight : NULL, stream, c->hidden, weight, NULL, head, in));
    gpu_values(backend, stream, values, DTYPE_FLOAT32, residual);
    gpu_values(backend, in, values, act, normed);
    op->buffer_destroy(backend, stream);
    op->buffer_destroy(backend, in);
    op->buffer_destroy(backend, gates);
    op->buffer_destroy(backend, active);
    op->buffer_destroy(backend, branch);
    op->matrix_destroy(backend, up);
    op->matrix_destroy(backend, down);
    op->matrix_destroy(backend, head);
    op->vector_destroy(backend, bias);
    op->vector_destroy(backend, weight);
    op->vector_destroy(backend, out_bias);
}

static const struct layer_case cases[] = {
    {64, 96, 5, true, false, ACTIVATION_SILU, {0, 48, 96}},
    {96, 160, 33, true, true, ACTIVATION_GELU_TANH, {0, 80, 160}},
    {128, 88, 1, true, true, ACTIVATION_SILU, {0, 40, 88}},
    {256, 512, 130, false, true, ACTIVATION_GELU, {0, 256, 512}},
    {1024, 2816, 600, true, false, ACTIVATION_SILU, {0, 1408, 2816}},
    {320, 24, 17, false, false, ACTIVATION_RELU, {0, 0, 24}},
};

static const struct {
    const char *name;
    enum dtype compute;
    enum weight_format stored;
    double most;
} types[] = {
    {"float32", DTYPE_FLOAT32, WEIGHT_FLOAT32, 2e-6},
    {"bfloat16", DTYPE_BFLOAT16, WEIGHT_BFLOAT16, 1e-2},
    {"float16", DTYPE_FLOAT16, WEIGHT_FLOAT16, 2e-3},
    {"fp8", DTYPE_BFLOAT16, WEIGHT_FP8, 1e-2},
};

static struct layer_values make_values(const struct layer_case *c, enum weight_format stored)
{
    const size_t inner = (size_t)(c->gated ? 2 * c->width : c->width);
    const size_t hidden = (size_t)c->hidden, width = (size_t)c->width;
    struct layer_values v = {
        .residual = malloc((size_t)c->tokens * hidden * sizeof(float)),
        .up = malloc((inner + 40) * hidden * sizeof(float)),
        .down = malloc(hidden * width * sizeof(float)),
        .bias = malloc((inner + hidden) * sizeof(float)),
        .weight = malloc(hidden * sizeof(float)),
    };
    gpu_random(v.residual, (size_t)c->tokens * hidden, 1, 1.0f);
    gpu_random(v.up, (inner + 40) * hidden, 2, 1.0f / sqrtf((float)c->hidden));
    gpu_random(v.down, hidden * width, 3, 1.0f / sqrtf((float)c->width));
    gpu_random(v.bias, inner + hidden, 4, 0.3f);
    gpu_random(v.weight, hidden, 5, 1.0f);
    if (stored != WEIGHT_FP8) { /* the CPU keeps weights in float32: give both the same */
        const enum dtype numbers = weight_format_facts(stored)->numbers;
        gpu_round(v.up, (inner + 40) * hidden, numbers);
        gpu_round(v.down, hidden * width, numbers);
    }
    return v;
}

static void free_values(struct layer_values *v)
{
    free(v->residual);
    free(v->up);
    free(v->down);
    free(v->bias);
    free(v->weight);
}

static void half_a_layer_is_right(void **state)
{
    (void)state;
    failures = 0;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        for (size_t t = 0; t < COUNT_OF(types); t++) {
            const struct layer_case *c = &cases[i];
            if (gpu_leaves_out(i * COUNT_OF(types) + t, c->tokens, 200)) {
                continue;
            }
            const size_t values = (size_t)c->tokens * (size_t)c->hidden;
            struct layer_values v = make_values(c, types[t].stored);
            float *residual[2], *normed[2];
            for (int side = 0; side < 2; side++) {
                residual[side] = calloc(values, sizeof(float));
                normed[side] = calloc(values, sizeof(float));
                struct backend *backend = gpu_backend(side == 0 ? "cpu" : "cuda",
                                                      side == 0 ? DTYPE_FLOAT32 : types[t].compute,
                                                      MOST_TOKENS, MOST_TOKENS);
                run_layer(backend, c, &v,
                          side == 0 && types[t].stored != WEIGHT_FP8 ? WEIGHT_FLOAT32
                                                                     : types[t].stored,
                          0, c->tokens, residual[side], normed[side]);
                backend->operations->destroy(backend);
            }
            const double stream = gpu_distance(residual[1], residual[0], values);
            const double norm = gpu_distance(normed[1], normed[0], values);
            print_message("half a layer in %-8s %4d x %4d, %3d tokens: residual %.1e, norm %.1e\n",
                          types[t].name, c->hidden, c->width, c->tokens, stream, norm);
            expect(stream < types[t].most, "residual", types[t].name, c->hidden, c->width,
                   c->tokens, stream);
            expect(norm < types[t].most, "norm", types[t].name, c->hidden, c->width, c->tokens,
                   norm);
            for (int side = 0; side < 2; side++) {
                free(residual[side]);
                free(normed[side]);
            }
            free_values(&v);
        }
    }
    assert_int_equal(failures, 0);
}

/* Rows alone and in smaller batches have the bits that they have in the whole. */
static void bits_know_no_batch(void **state)
{
    (void)state;
    static const struct layer_case c = {
        512, 1024, MOST_TOKENS, true, true, ACTIVATION_SILU, {0, 512, 1024}};
    static const struct {
        int first, tokens;
    } parts[] = {{0, 1}, {699, 1}, {350, 7}, {3, 64}, {100, 257}, {0, 512}};
    const size_t hidden = (size_t)c.hidden;
    failures = 0;
    for (size_t t = 0; t < COUNT_OF(types); t++) {
        struct layer_values v = make_values(&c, types[t].stored);
        float *whole[2], *part[2];
        for (int i = 0; i < 2; i++) {
            whole[i] = calloc(MOST_TOKENS * hidden, sizeof(float));
            part[i] = calloc(MOST_TOKENS * hidden, sizeof(float));
        }
        struct backend *backend = gpu_backend("cuda", types[t].compute, MOST_TOKENS, MOST_TOKENS);
        run_layer(backend, &c, &v, types[t].stored, 0, MOST_TOKENS, whole[0], whole[1]);
        for (size_t i = 0; i < COUNT_OF(parts); i++) {
            const size_t at = (size_t)parts[i].first * hidden;
            const size_t count = (size_t)parts[i].tokens * hidden;
            cuda_of(backend)->is_alone = i % 2 != 0; /* scales where they are, or in the block */
            run_layer(backend, &c, &v, types[t].stored, parts[i].first, parts[i].tokens, part[0],
                      part[1]);
            expect(memcmp(part[0], whole[0] + at, count * sizeof(float)) == 0, "bits of residual",
                   types[t].name, c.hidden, parts[i].first, parts[i].tokens,
                   gpu_distance(part[0], whole[0] + at, count));
            expect(memcmp(part[1], whole[1] + at, count * sizeof(float)) == 0, "bits of norm",
                   types[t].name, c.hidden, parts[i].first, parts[i].tokens,
                   gpu_distance(part[1], whole[1] + at, count));
        }
        backend->operations->destroy(backend);
        for (int i = 0; i < 2; i++) {
            free(whole[i]);
            free(part[i]);
        }
        free_values(&v);
    }
    assert_int_equal(failures, 0);
}

static void embedding_and_logits_are_right(void **state)
{
    (void)state;
    enum { ROWS = 50, HIDDEN = 72, TOKENS = 19, OUTPUTS = 3 };
    static float table[ROWS * HIDDEN], logits[2][OUTPUTS * ROWS], stream[2][TOKENS * HIDDEN];
    failures = 0;
    gpu_random(table, COUNT_OF(table), 8, 1.0f);
    for (size_t t = 0; t < 3; t++) {
        gpu_round(table, COUNT_OF(table), weight_format_facts(types[t].stored)->numbers);
        for (int side = 0; side < 2; side++) {
            struct backend *backend = gpu_backend(
                side == 0 ? "cpu" : "cuda", side == 0 ? DTYPE_FLOAT32 : types[t].compute, 64, 64);
            const struct backend_operations *op = backend->operations;
            const enum dtype act = op->activation_dtype(backend);
            struct matrix *matrix =
                make_matrix(backend, table, ROWS, HIDDEN, NULL, 0, WEIGHT_FLOAT32);
            struct norm_facts facts = {.epsilon = 1e-6f};
            begin_step(backend, TOKENS, OUTPUTS);
            struct device_buffer *residual =
                gpu_buffer(backend, NULL, TOKENS * HIDDEN, DTYPE_FLOAT32);
            struct device_buffer *normed = gpu_buffer(backend, NULL, TOKENS * HIDDEN, act);
            struct device_buffer *out = gpu_buffer(backend, NULL, OUTPUTS * ROWS, DTYPE_FLOAT32);
            check(op->embed(backend, matrix, 10, 1.5f, residual));
            check(op->norm(backend, &facts, NULL, NULL, residual, HIDDEN, matrix, normed));
            check(op->logits(backend, matrix, 0.25f, 3.0f, normed, out));
            gpu_values(backend, residual, TOKENS * HIDDEN, DTYPE_FLOAT32, stream[side]);
            gpu_values(backend, out, OUTPUTS * ROWS, DTYPE_FLOAT32, logits[side]);
            op->buffer_destroy(backend, residual);
            op->buffer_destroy(backend, normed);
            op->buffer_destroy(backend, out);
            op->matrix_destroy(backend, matrix);
            op->destroy(backend);
        }
        expect(memcmp(stream[0], stream[1], sizeof stream[0]) == 0, "embedding", types[t].name,
               ROWS, HIDDEN, TOKENS, gpu_distance(stream[1], stream[0], COUNT_OF(stream[0])));
        const double error = gpu_distance(logits[1], logits[0], COUNT_OF(logits[0]));
        expect(error < types[t].most, "logits", types[t].name, ROWS, HIDDEN, TOKENS, error);
    }
    assert_int_equal(failures, 0);
}

int main(void)
{
    gpu_prepare();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(embedding_and_logits_are_right),
        cmocka_unit_test(half_a_layer_is_right),
        cmocka_unit_test(bits_know_no_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
