/* SPDX-License-Identifier: Apache-2.0 */
/* The gated delta rule where its numbers are far out, beside the formula in double precision:
 * decays of nothing and of all, keys of almost no length, heads of every width around a vector's.
 */
#include <math.h>

#include "cpu_fixture.h"

/* ---- A position of a head ---- */

enum { MOST_WIDTH = 70, MOST_KEYS = 5, STEPS = 4 };

struct head {
    double state[MOST_KEYS * MOST_WIDTH], out[MOST_WIDTH];
};

static void advance(struct head *head, const double *q, const double *k, const double *v,
                    double decay, double beta, int keys, int width)
{
    for (int j = 0; j < width; j++) {
        double change = v[j];
        for (int i = 0; i < keys; i++) {
            head->state[i * width + j] *= decay;
            change -= k[i] * head->state[i * width + j];
        }
        head->out[j] = 0;
        for (int i = 0; i < keys; i++) {
            head->state[i * width + j] += k[i] * beta * change;
            head->out[j] += q[i] * head->state[i * width + j];
        }
    }
}

static void widen(const float *from, int count, double *to)
{
    for (int i = 0; i < count; i++) {
        to[i] = (double)from[i];
    }
}

/* Some positions of a head of `width` columns; what stands behind the head stays. */
static void check_width(const struct cpu_kernels *kernels, int keys, int width)
{
    static const float decays[STEPS] = {0.75f, 1, 1e-30f, 0}, betas[STEPS] = {0.5f, 1, 0.25f, 0};
    const int count = keys * width;
    float *state = fixture_random(MOST_KEYS * MOST_WIDTH + 1, 1);
    struct head head;
    widen(state, count, head.state);
    state[count] = 17;
    for (int step = 0; step < STEPS; step++) {
        float *in = fixture_random((size_t)(2 * keys + width), 2 + (uint32_t)step);
        double wide[2 * MOST_KEYS + MOST_WIDTH];
        float out[MOST_WIDTH + 1];
        out[width] = 17;
        widen(in, 2 * keys + width, wide);
        kernels->delta(state, in, in + keys, in + 2 * keys, decays[step], betas[step], keys, width,
                       out);
        advance(&head, wide, wide + keys, wide + 2 * keys, (double)decays[step],
                (double)betas[step], keys, width);
        for (int j = 0; j < width; j++) {
            assert_near(out[j], head.out[j], 1e-5, "output");
        }
        for (int i = 0; i < count; i++) {
            assert_near(state[i], head.state[i], 1e-5, "state");
        }
        assert_true(out[width] == 17 && state[count] == 17);
        free(in);
    }
    free(state);
}

static void heads_of_every_width(void **state)
{
    (void)state;
    struct variant variants[FIXTURE_VARIANTS];
    const int count = fixture_variants(variants);
    for (int width = 1; width <= MOST_WIDTH; width++) {
        const int keys = 1 + width % MOST_KEYS;
        check_width(&cpu_kernels_baseline, keys, width);
        for (int i = 0; i < count; i++) {
            check_width(variants[i].kernels, keys, width);
        }
    }
}

/* ---- A sequence ---- */

enum { TOKENS = 8, HEADS = 2, KEYS = 3, WIDTH = 5, CHANNELS = 2 * KEYS + HEADS * WIDTH };
enum { OUT = HEADS * WIDTH, ROW = CHANNELS + OUT + 2 * HEADS };

static const struct delta_facts facts = {1, HEADS, KEYS, WIDTH, 1, 1e-2f};
static const float a_log[HEADS] = {-7, 3}, step_bias[HEADS] = {0.5f, -1};
static const float steps[TOKENS] = {0, -800, 19, 22, -30, 800, 709, 1};
static const float betas[TOKENS] = {0, 200, 1, -800, 3, 800, -1, 0.5f};
static const float lengths[TOKENS] = {1, 1, 1e-3f, 1, 0, 4, 1e-6f, 1e4f}; /* of q and k */

static float *make_rows(void)
{
    float *rows = fixture_random(TOKENS * ROW, 7);
    for (int t = 0; t < TOKENS; t++) {
        float *row = rows + (size_t)t * ROW;
        for (int i = 0; i < 2 * KEYS; i++) {
            row[i] *= lengths[t];
        }
        for (int h = 0; h < HEADS; h++) {
            row[CHANNELS + OUT + h] = betas[t];
            row[CHANNELS + OUT + HEADS + h] = steps[t];
        }
    }
    return rows;
}

static double silu(double x)
{
    return x / (1 + exp(-x));
}

static void fill_unit(const float *row, double more, double out[KEYS])
{
    double sum = 1e-6;
    for (int i = 0; i < KEYS; i++) {
        out[i] = silu((double)row[i]);
        sum += out[i] * out[i];
    }
    for (int i = 0; i < KEYS; i++) {
        out[i] /= sqrt(sum) * more;
    }
}

/* log(1 + exp(x)), of any x. */
static double softplus(double x)
{
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

static void check_head(const float *rows, const float *norm, const float *is, int h)
{
    struct head head = {{0}, {0}};
    for (int t = 0; t < TOKENS; t++) {
        const float *row = rows + (size_t)t * ROW, *z = row + CHANNELS + h * WIDTH;
        double q[KEYS], k[KEYS], v[WIDTH], squares = 0;
        fill_unit(row, sqrt(KEYS), q);
        fill_unit(row + KEYS, 1, k);
        for (int j = 0; j < WIDTH; j++) {
            v[j] = silu((double)row[2 * KEYS + h * WIDTH + j]);
        }
        const double step = softplus((double)steps[t] + (double)step_bias[h]);
        advance(&head, q, k, v, exp(-exp((double)a_log[h]) * step),
                1 / (1 + exp(-(double)betas[t])), KEYS, WIDTH);
        for (int j = 0; j < WIDTH; j++) {
            squares += head.out[j] * head.out[j] / WIDTH;
        }
        for (int j = 0; j < WIDTH; j++) {
            const double value = head.out[j] / sqrt(squares + (double)facts.epsilon);
            assert_near(is[t * OUT + h * WIDTH + j], value * (double)norm[j] * silu((double)z[j]),
                        2e-5, "a position");
        }
    }
}

static void run(struct variant variant, const float *rows, const float *norm, float *out)
{
    static float ones[CHANNELS];
    struct backend *backend = fixture_backend(variant);
    const struct backend_operations *op = backend->operations;
    const struct cache_store store = {.kind = STORE_NO_POSITIONS, .state_values = OUT * KEYS};
    const struct cache_layout layout = {
        .layers = 1, .stores = &store, .block_tokens = 16, .dtype = DTYPE_FLOAT32, .places = 1};
    const int32_t ids[TOKENS] = {0}, positions[TOKENS] = {0, 1, 2, 3, 4, 5, 6, 7};
    const int32_t start[] = {0, TOKENS}, context = TOKENS, place = 0, block = 0;
    const struct batch batch = {.tokens = TOKENS,
                                .sequences = 1,
                                .token_ids = ids,
                                .positions = positions,
                                .query_start = start,
                                .context_length = &context,
                                .block_table = &block,
                                .block_table_stride = 1,
                                .state_place = &place};
    for (int i = 0; i < CHANNELS; i++) {
        ones[i] = 1;
    }
    struct vector *vectors[] = {
        fixture_vector(backend, ones, CHANNELS), fixture_vector(backend, a_log, HEADS),
        fixture_vector(backend, step_bias, HEADS), fixture_vector(backend, norm, WIDTH)};
    const struct delta_weights weights = {vectors[0], vectors[1], vectors[2], vectors[3]};
    struct device_buffer *in = fixture_buffer(backend, rows, TOKENS * ROW);
    struct device_buffer *work = fixture_buffer(backend, NULL, TOKENS * CHANNELS);
    struct device_buffer *to = fixture_buffer(backend, NULL, TOKENS * OUT);
    struct kv_cache *cache;
    check(op->kv_create(backend, &layout, 1, &cache));
    check(op->step_begin(backend, &batch));
    check(op->gated_delta(backend, &facts, &weights, in, work, cache, 0, NULL, to));
    check(op->download(backend, to, 0, out, TOKENS * OUT * sizeof(float)));
    op->kv_destroy(backend, cache);
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        op->vector_destroy(backend, vectors[i]);
    }
    op->buffer_destroy(backend, in);
    op->buffer_destroy(backend, work);
    op->buffer_destroy(backend, to);
    op->destroy(backend);
}

static void numbers_that_are_far_out(void **state)
{
    (void)state;
    struct variant variants[FIXTURE_VARIANTS];
    const int count = fixture_variants(variants);
    float *rows = make_rows(), *norm = fixture_random(WIDTH, 8), out[TOKENS * OUT];
    for (int i = 0; i < count; i++) {
        run(variants[i], rows, norm, out);
        for (int h = 0; h < HEADS; h++) {
            check_head(rows, norm, out, h);
        }
    }
    free(rows);
    free(norm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_of_every_width),
        cmocka_unit_test(numbers_that_are_far_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
