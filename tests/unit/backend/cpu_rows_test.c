/* SPDX-License-Identifier: Apache-2.0 */
/* Norms, residual additions, activations and experts of the CPU backend against a plain reference
 * in double, and the same bits with every instruction set and number of threads. */
#include "cpu_fixture.h"

#include <float.h>
#include <math.h>

static const float *address(struct backend *backend, struct device_buffer *buffer)
{
    return backend->operations->host_address(backend, buffer);
}

/* ---- Norms ---- */

static void reference_norm(const struct norm_facts *facts, const double *in, const float *weight,
                           const float *bias, int n, double *out)
{
    double mean = 0, variance = 0;
    for (int i = 0; i < n && facts->layer_norm; i++) {
        mean += in[i] / n;
    }
    for (int i = 0; i < n; i++) {
        variance += (in[i] - mean) * (in[i] - mean) / n;
    }
    for (int i = 0; i < n; i++) {
        out[i] =
            (in[i] - mean) / sqrt(variance + facts->epsilon) * (weight[i] + facts->weight_offset) +
            (bias != NULL ? bias[i] : 0.0);
    }
}

enum { TOKENS = 9, MOST = 1000 };

static const struct {
    int hidden, parts;
    struct norm_facts facts;
    bool bias, post, weight, norm_bias, normed;
    float multiplier;
} additions[] = {
    {576, 1, {1e-5f, 0, false, false}, false, false, true, false, true, 1.0f},
    {64, 2, {1e-6f, 1, false, false}, true, true, true, false, true, 1.0f},
    {33, 4, {1e-5f, 0, true, false}, true, false, true, true, true, 0.5f},
    {1000, 8, {1e-5f, 0, false, false}, false, false, false, false, true, 1.0f},
    {17, 3, {1e-5f, 1, false, false}, true, true, true, true, false, 2.0f},
    {5, 1, {1e-5f, 0, false, false}, true, false, false, false, false, 1.0f},
    {384, 8, {1e-12f, 0, true, true}, true, false, true, true, true, 1.0f},
    {40, 1, {1e-5f, 0, true, true}, false, false, true, true, false, 1.0f},
};

static void reference_addition(size_t i, int token, const float *partials, const float *vectors,
                               double *residual, double *normed)
{
    const int n = additions[i].hidden;
    double branch[MOST], post[MOST];
    for (int j = 0; j < n; j++) {
        branch[j] = additions[i].bias ? vectors[j] : 0.0;
        for (int p = 0; p < additions[i].parts; p++) {
            branch[j] += partials[(p * TOKENS + token) * n + j];
        }
    }
    if (additions[i].post) {
        reference_norm(&additions[i].facts, branch, vectors + MOST, NULL, n, post);
        memcpy(branch, post, sizeof post);
    }
    for (int j = 0; j < n; j++) {
        residual[j] += additions[i].multiplier * branch[j];
    }
    if (additions[i].weight) {
        reference_norm(&additions[i].facts, residual, vectors + 2 * MOST,
                       additions[i].norm_bias ? vectors + 3 * MOST : NULL, n, normed);
    } else {
        memcpy(normed, residual, (size_t)n * sizeof *normed);
    }
    if (additions[i].facts.in_place) {
        memcpy(residual, normed, (size_t)n * sizeof *normed);
    }
}

static void additions_and_norms_are_right(void **state)
{
    (void)state;
    struct variant variants[FIXTURE_VARIANTS + 1];
    int count = fixture_variants(variants);
    variants[count++] = (struct variant){&cpu_kernels_baseline, 1};
    float *vectors = fixture_random(4 * MOST, 21);
    for (size_t i = 0; i < COUNT_OF(additions); i++) {
        const int n = additions[i].hidden;
        const size_t values = (size_t)TOKENS * (size_t)n;
        float *partials = fixture_random((size_t)additions[i].parts * values, 22);
        float *stream = fixture_random(values, 23);
        float *first = malloc(2 * values * sizeof *first);
        assert_non_null(first);
        for (int v = 0; v < count; v++) {
            struct backend *backend = fixture_backend(variants[v]);
            const struct backend_operations *op = backend->operations;
            struct device_buffer *from =
                fixture_buffer(backend, partials, (size_t)additions[i].parts * values);
            struct device_buffer *residual = fixture_buffer(backend, stream, values);
            struct device_buffer *normed = fixture_buffer(backend, NULL, values);
            struct vector *all[4];
            for (int j = 0; j < 4; j++) {
                all[j] = fixture_vector(backend, vectors + j * MOST, n);
            }
            fixture_step(backend, TOKENS, NULL);
            check(op->add_norm(
                backend, &additions[i].facts, from, additions[i].parts,
                additions[i].bias ? all[0] : NULL, additions[i].multiplier,
                additions[i].post ? all[1] : NULL, residual, n, additions[i].weight ? all[2] : NULL,
                additions[i].norm_bias ? all[3] : NULL, NULL, additions[i].normed ? normed : NULL));
            if (!additions[i].normed) { /* the same two steps, apart */
                check(op->norm(backend, &additions[i].facts, additions[i].weight ? all[2] : NULL,
                               additions[i].norm_bias ? all[3] : NULL, residual, n, NULL, normed));
            }
            for (int t = 0; t < TOKENS; t++) {
                double sum[MOST], norm[MOST];
                for (int j = 0; j < n; j++) {
                    sum[j] = stream[t * n + j];
                }
                reference_addition(i, t, partials, vectors, sum, norm);
                for (int j = 0; j < n; j++) {
                    assert_near(address(backend, residual)[t * n + j], sum[j], 1e-5, "residual");
                    assert_near(address(backend, normed)[t * n + j], norm[j], 1e-5, "norm");
                }
            }
            if (v == 0) {
                memcpy(first, address(backend, residual), values * sizeof *first);
                memcpy(first + values, address(backend, normed), values * sizeof *first);
            } else if (variants[v].kernels != &cpu_kernels_baseline) {
                assert_bits(address(backend, residual), first, values, "residual");
                assert_bits(address(backend, normed), first + values, values, "norm");
            }
            for (int j = 0; j < 4; j++) {
                op->vector_destroy(backend, all[j]);
            }
            op->buffer_destroy(backend, from);
            op->buffer_destroy(backend, residual);
            op->buffer_destroy(backend, normed);
            op->destroy(backend);
        }
        free(first);
        free(stream);
        free(partials);
    }
    free(vectors);
}

/* ---- Activations ---- */

static double reference_activation(enum activation activation, double x)
{
    switch (activation) {
    case ACTIVATION_SILU:
        return x / (1.0 + exp(-x));
    case ACTIVATION_GELU_TANH:
        return 0.5 * x * (1.0 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
    case ACTIVATION_GELU:
        return 0.5 * x * (1.0 + erf(x * 0.7071067811865476));
    case ACTIVATION_RELU_SQUARED:
        return x > 0 ? x * x : 0;
    case ACTIVATION_RELU:
        break;
    }
    return x > 0 ? x : 0;
}

static void activations_are_right(void **state)
{
    (void)state;
    enum { WIDTH = 1237, ROWS = 3 };
    struct variant variants[FIXTURE_VARIANTS + 1];
    int count = fixture_variants(variants);
    variants[count++] = (struct variant){&cpu_kernels_baseline, 1};
    float *in = fixture_random((size_t)ROWS * 2 * WIDTH, 31);
    for (int i = 0; i < ROWS * 2 * WIDTH; i++) {
        in[i] *= i % 10 == 0 ? 100.0f : i % 3 == 0 ? 10.0f : 1.0f;
    }
    in[3] = -1e30f;
    in[4] = 1e30f;
    in[5] = -0.0f;
    for (int kind = ACTIVATION_SILU; kind <= ACTIVATION_RELU_SQUARED; kind++) {
        for (int gated = 0; gated < 2; gated++) {
            const int width = gated ? WIDTH : 2 * WIDTH;
            float first[ROWS * 2 * WIDTH];
            for (int v = 0; v < count; v++) {
                struct backend *backend = fixture_backend(variants[v]);
                struct device_buffer *from = fixture_buffer(backend, in, (size_t)ROWS * 2 * WIDTH);
                struct device_buffer *to =
                    fixture_buffer(backend, NULL, (size_t)ROWS * (size_t)width);
                fixture_step(backend, ROWS, NULL);
                check(backend->operations->activate(backend, (enum activation)kind, gated != 0,
                                                    width, from, NULL, to));
                const float *out = address(backend, to);
                for (int t = 0; t < ROWS; t++) {
                    for (int i = 0; i < width; i++) {
                        const double x = in[t * 2 * WIDTH + i];
                        const double up = gated ? (double)in[t * 2 * WIDTH + width + i] : 1.0;
                        const double should = reference_activation((enum activation)kind, x) * up;
                        if (fabs(should) > (double)FLT_MAX) { /* 1e30, squared */
                            assert_true(isinf(out[t * width + i]));
                            continue;
                        }
                        assert_near(out[t * width + i], should,
                                    1e-6 * fabs(up) + 1e-6 * fabs(should), "activation");
                    }
                }
                if (v == 0) {
                    memcpy(first, out, (size_t)(ROWS * width) * sizeof *out);
                } else if (variants[v].kernels != &cpu_kernels_baseline) {
                    assert_bits(out, first, (size_t)(ROWS * width), "activation");
                }
                backend->operations->buffer_destroy(backend, from);
                backend->operations->buffer_destroy(backend, to);
                backend->operations->destroy(backend);
            }
        }
    }
    free(in);
}

/* A NaN in a row stays visible. */
static void not_a_number_stays(void **state)
{
    (void)state;
    const struct cpu_kernels *all[] = {cpu_kernels_best(), &cpu_kernels_baseline};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        for (int kind = ACTIVATION_SILU; kind <= ACTIVATION_RELU; kind++) {
            float in[17], out[17];
            for (int j = 0; j < 17; j++) {
                in[j] = NAN;
            }
            all[i]->activate((enum activation)kind, in, NULL, 17, out);
            for (int j = 0; j < 17; j++) {
                assert_true(isnan(out[j]));
            }
        }
        float values[3] = {1.0f, NAN, 2.0f};
        all[i]->soft_max(values, 3);
        assert_true(isnan(values[1]));
        values[0] = NAN;
        all[i]->scale_cap(values, 1.0f, 30.0f, 1);
        assert_true(isnan(values[0]));
    }
}

static void soft_max_is_right(void **state)
{
    (void)state;
    struct variant variants[FIXTURE_VARIANTS];
    const int count = fixture_variants(variants);
    for (int n = 1; n < 140; n += 7) {
        float *in = fixture_random((size_t)n, 41);
        float first[140];
        double total = 0;
        for (int i = 0; i < n; i++) {
            in[i] *= 30.0f;
            total += exp((double)in[i]);
        }
        for (int v = 0; v < count; v++) {
            float values[140];
            memcpy(values, in, (size_t)n * sizeof *in);
            variants[v].kernels->soft_max(values, n);
            for (int i = 0; i < n; i++) {
                assert_near(values[i], exp((double)in[i]) / total, 1e-6, "soft-max");
            }
            if (v == 0) {
                memcpy(first, values, sizeof first);
            } else {
                assert_bits(values, first, (size_t)n, "soft-max");
            }
        }
        free(in);
    }
}

/* ---- Experts ---- */

enum { EXPERTS = 6, USED = 2, HIDDEN = 40, WIDTH = 36, MIXTURE_TOKENS = 50, SLICES = 4 };

static const int32_t slice_start[SLICES + 1] = {0, 8, 8, 20, WIDTH};

struct mixture_weights {
    float *router, *gate_up, *down;
};

/* The mixture of `tokens` tokens from `in` on a rank that has slices [first, last). */
static float *mixture_of(const struct mixture_weights *weights, struct variant variant,
                         const float *in, int tokens, int first, int last)
{
    struct backend *backend = fixture_backend(variant);
    const struct backend_operations *op = backend->operations;
    const int from_column = slice_start[first], width = slice_start[last] - from_column;
    int32_t start[SLICES + 1];
    for (int i = first; i <= last; i++) {
        start[i - first] = slice_start[i] - from_column;
    }
    struct matrix *router, *gate_up, *down;
    check(op->matrix_create(backend, 1, EXPERTS, HIDDEN, NULL, 0, WEIGHT_FLOAT32, &router));
    check(op->matrix_write(backend, router, 0, 0, EXPERTS,
                           &(const struct weight_rows){.data = weights->router,
                                                       .format = WEIGHT_FLOAT32,
                                                       .stride = HIDDEN}));
    check(
        op->matrix_create(backend, EXPERTS, 2 * width, HIDDEN, NULL, 0, WEIGHT_FLOAT32, &gate_up));
    check(op->matrix_create(backend, EXPERTS, HIDDEN, width, start, last - first, WEIGHT_FLOAT32,
                            &down));
    for (int e = 0; e < EXPERTS; e++) {
        const float *gates = weights->gate_up + e * 2 * WIDTH * HIDDEN;
        check(op->matrix_write(backend, gate_up, e, 0, width,
                               &(const struct weight_rows){.data = gates + from_column * HIDDEN,
                                                           .format = WEIGHT_FLOAT32,
                                                           .stride = HIDDEN}));
        check(op->matrix_write(
            backend, gate_up, e, width, width,
            &(const struct weight_rows){.data = gates + (WIDTH + from_column) * HIDDEN,
                                        .format = WEIGHT_FLOAT32,
                                        .stride = HIDDEN}));
        check(op->matrix_write(
            backend, down, e, 0, HIDDEN,
            &(const struct weight_rows){.data = weights->down + e * HIDDEN * WIDTH + from_column,
                                        .format = WEIGHT_FLOAT32,
                                        .stride = WIDTH}));
    }
    struct device_buffer *rows = fixture_buffer(backend, in, (size_t)tokens * HIDDEN);
    struct device_buffer *sums = fixture_buffer(backend, NULL, (size_t)tokens * HIDDEN);
    fixture_step(backend, tokens, NULL);
    const struct expert_facts facts = {.router = {.used = USED, .normalize = true, .scale = 1}};
    const struct expert_weights mixture = {.router = router, .gate_up = gate_up, .down = down};
    check(op->experts(backend, &facts, &mixture, rows, sums));
    float *out = malloc((size_t)tokens * HIDDEN * sizeof *out);
    assert_non_null(out);
    memcpy(out, address(backend, sums), (size_t)tokens * HIDDEN * sizeof *out);
    op->buffer_destroy(backend, rows);
    op->buffer_destroy(backend, sums);
    op->matrix_destroy(backend, router);
    op->matrix_destroy(backend, gate_up);
    op->matrix_destroy(backend, down);
    op->destroy(backend);
    return out;
}

static double dot(const float *a, const float *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) {
        sum += (double)a[i] * (double)b[i];
    }
    return sum;
}

static void reference_mixture(const struct mixture_weights *weights, const float *in, double *out)
{
    double score[EXPERTS], total = 0;
    int chosen[USED];
    for (int e = 0; e < EXPERTS; e++) {
        score[e] = exp(dot(in, weights->router + e * HIDDEN, HIDDEN));
    }
    for (int i = 0; i < USED; i++) {
        chosen[i] = 0;
        for (int e = 0; e < EXPERTS; e++) {
            if ((i == 0 || e != chosen[0]) &&
                (score[e] > score[chosen[i]] || (i > 0 && chosen[i] == chosen[0]))) {
                chosen[i] = e;
            }
        }
        total += score[chosen[i]];
    }
    memset(out, 0, HIDDEN * sizeof *out);
    for (int i = 0; i < USED; i++) {
        const float *gates = weights->gate_up + chosen[i] * 2 * WIDTH * HIDDEN;
        const float *down = weights->down + chosen[i] * HIDDEN * WIDTH;
        for (int w = 0; w < WIDTH; w++) {
            const double gate = dot(in, gates + w * HIDDEN, HIDDEN);
            const double active = reference_activation(ACTIVATION_SILU, gate) *
                                  dot(in, gates + (WIDTH + w) * HIDDEN, HIDDEN);
            for (int h = 0; h < HIDDEN; h++) {
                out[h] += score[chosen[i]] / total * active * (double)down[h * WIDTH + w];
            }
        }
    }
}

static void experts_mix_right(void **state)
{
    (void)state;
    struct variant variants[FIXTURE_VARIANTS];
    const int count = fixture_variants(variants);
    const struct mixture_weights weights = {.router = fixture_random(EXPERTS * HIDDEN, 51),
                                            .gate_up =
                                                fixture_random(EXPERTS * 2 * WIDTH * HIDDEN, 52),
                                            .down = fixture_random(EXPERTS * HIDDEN * WIDTH, 53)};
    float *in = fixture_random(MIXTURE_TOKENS * HIDDEN, 54);
    float *whole = mixture_of(&weights, variants[0], in, MIXTURE_TOKENS, 0, SLICES);
    for (int t = 0; t < MIXTURE_TOKENS; t++) {
        double should[HIDDEN];
        reference_mixture(&weights, in + t * HIDDEN, should);
        for (int h = 0; h < HIDDEN; h++) {
            assert_near(whole[t * HIDDEN + h], should[h], 2e-4, "mixture");
        }
    }
    for (int v = 1; v < count; v++) {
        float *other = mixture_of(&weights, variants[v], in, MIXTURE_TOKENS, 0, SLICES);
        assert_bits(other, whole, MIXTURE_TOKENS * HIDDEN, variants[v].kernels->name);
        free(other);
    }
    for (int tokens = 1; tokens < MIXTURE_TOKENS; tokens += 6) { /* fewer tokens beside it */
        const int first = MIXTURE_TOKENS - tokens;
        float *other = mixture_of(&weights, variants[0], in + first * HIDDEN, tokens, 0, SLICES);
        assert_bits(other, whole + first * HIDDEN, (size_t)tokens * HIDDEN, "fewer tokens");
        free(other);
    }
    float *left = mixture_of(&weights, variants[0], in, MIXTURE_TOKENS, 0, 2); /* on two ranks */
    float *right = mixture_of(&weights, variants[0], in, MIXTURE_TOKENS, 2, 4);
    for (int i = 0; i < MIXTURE_TOKENS * HIDDEN; i++) {
        left[i] += right[i];
    }
    assert_bits(left, whole, MIXTURE_TOKENS * HIDDEN, "two ranks");
    free(left);
    free(right);
    free(whole);
    free(in);
    free(weights.router);
    free(weights.gate_up);
    free(weights.down);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(additions_and_norms_are_right),
        cmocka_unit_test(activations_are_right),
        cmocka_unit_test(not_a_number_stays),
        cmocka_unit_test(soft_max_is_right),
        cmocka_unit_test(experts_mix_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
