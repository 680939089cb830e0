/* SPDX-License-Identifier: Apache-2.0 */
/* Operations of layers that keep states, beside a plain reference: the same bits however a sequence
 * is cut into steps and whoever shares them, with every set of kernels; and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "backend/cpu/cpu.h"

enum { SEQUENCES = 3, LONGEST = 40, BLOCK = 16, STRIDE = 3, PLACES = 5 };

static const int lengths[SEQUENCES] = {40, 1, 23};

static void check(status s)
{
    if (s != STATUS_OK) {
        fail_msg("%s", status_message());
    }
}

static float value_at(int seed, int i)
{
    return (float)((seed * 7919 + i * 104729 + i / 7 * 31) % 2003) / 1001.5f - 1.0f;
}

static struct vector *vector_of(struct backend *backend, int seed, int count)
{
    float *values = malloc((size_t)count * sizeof *values);
    struct vector *vector;
    assert_non_null(values);
    for (int i = 0; i < count; i++) {
        values[i] = value_at(seed, i);
    }
    check(backend->operations->vector_create(backend, count, values, &vector));
    free(values);
    return vector;
}

static struct backend *open_backend(const struct cpu_kernels *kernels)
{
    const struct backend_options options = {.compute = DTYPE_FLOAT32,
                                            .max_tokens = SEQUENCES * LONGEST,
                                            .max_sequences = SEQUENCES,
                                            .threads = 2};
    struct backend *backend;
    check(cpu_backend_create_with(kernels, &options, &backend));
    return backend;
}

static struct kv_cache *open_cache(struct backend *backend, int64_t state_values)
{
    /* The second layer is the one that is used. */
    const struct cache_store stores[] = {
        {.kind = STORE_NO_POSITIONS, .state_values = 3},
        {.kind = STORE_NO_POSITIONS, .state_values = state_values}};
    const struct cache_layout layout = {.layers = 2,
                                        .stores = stores,
                                        .block_tokens = BLOCK,
                                        .dtype = DTYPE_FLOAT32,
                                        .places = PLACES};
    struct kv_cache *cache;
    check(backend->operations->kv_create(backend, &layout, 4, &cache));
    assert_int_equal(backend->operations->state_bytes(backend, &layout), 4 * (3 + state_values));
    assert_int_equal(backend->operations->kv_block_bytes(backend, &layout), 0);
    /* Whatever stood there before. */
    memset(cache->states.data, 0x7f, cache->states.bytes);
    return cache;
}

/* A step of up to `chunk` tokens of each sequence of `set` from `done` on. */
struct step {
    struct batch batch;
    int32_t ids[SEQUENCES * LONGEST], positions[SEQUENCES * LONGEST], start[SEQUENCES + 1];
    int32_t context[SEQUENCES], blocks[SEQUENCES * STRIDE], places[SEQUENCES];
    int source[SEQUENCES];
};

static bool fill_step(struct step *step, unsigned set, int done, int chunk)
{
    *step = (struct step){0};
    struct batch *batch = &step->batch;
    for (int s = 0; s < SEQUENCES; s++) {
        const int left = lengths[s] - done, here = left < chunk ? left : chunk;
        if ((set >> s & 1) == 0 || here <= 0) {
            continue;
        }
        for (int i = 0; i < here; i++) {
            step->positions[batch->tokens++] = done + i;
        }
        step->source[batch->sequences] = s;
        step->context[batch->sequences] = done + here;
        step->places[batch->sequences] = (int)(3 * s + set) % PLACES;
        step->start[++batch->sequences] = batch->tokens;
    }
    batch->token_ids = step->ids;
    batch->positions = step->positions;
    batch->query_start = step->start;
    batch->context_length = step->context;
    batch->block_table = step->blocks;
    batch->block_table_stride = STRIDE;
    batch->state_place = step->places;
    return batch->tokens > 0;
}

/* An operation under test on a backend: rows of `in_width` to rows of `out_width`. */
struct trial {
    int in_width, out_width;
    int64_t state_values;
    status (*run)(struct backend *backend, struct device_buffer *in, struct kv_cache *cache,
                  struct device_buffer *out);
};

/* outs[s][position][out_width] of the sequences of `set`, `chunk` tokens of each in a step. */
static void run_trial(const struct trial *trial, const struct cpu_kernels *kernels, unsigned set,
                      int chunk, float *outs[SEQUENCES])
{
    struct backend *backend = open_backend(kernels);
    const struct backend_operations *op = backend->operations;
    struct kv_cache *cache = open_cache(backend, trial->state_values);
    struct device_buffer *in, *out;
    const size_t in_row = (size_t)trial->in_width, out_row = (size_t)trial->out_width;
    check(op->buffer_create(backend, SEQUENCES * LONGEST * in_row * sizeof(float), &in));
    check(op->buffer_create(backend, SEQUENCES * LONGEST * out_row * sizeof(float), &out));
    static struct step step;
    for (int done = 0; fill_step(&step, set, done, chunk); done += chunk) {
        float *rows = op->host_address(backend, in);
        for (int s = 0; s < step.batch.sequences; s++) {
            for (int t = step.start[s]; t < step.start[s + 1]; t++) {
                for (size_t i = 0; i < in_row; i++) {
                    rows[(size_t)t * in_row + i] =
                        value_at(step.source[s] + 1, step.positions[t] * trial->in_width + (int)i);
                }
            }
        }
        check(op->step_begin(backend, &step.batch));
        check(trial->run(backend, in, cache, out));
        for (int s = 0; s < step.batch.sequences; s++) {
            memcpy(outs[step.source[s]] + (size_t)done * out_row,
                   (float *)op->host_address(backend, out) + (size_t)step.start[s] * out_row,
                   (size_t)(step.start[s + 1] - step.start[s]) * out_row * sizeof(float));
        }
    }
    op->buffer_destroy(backend, in);
    op->buffer_destroy(backend, out);
    op->kv_destroy(backend, cache);
    op->destroy(backend);
}

static void create_outs(const struct trial *trial, float *outs[SEQUENCES])
{
    for (int s = 0; s < SEQUENCES; s++) {
        outs[s] = calloc((size_t)(LONGEST * trial->out_width), sizeof(float));
        assert_non_null(outs[s]);
    }
}

static void destroy_outs(float *outs[SEQUENCES])
{
    for (int s = 0; s < SEQUENCES; s++) {
        free(outs[s]);
    }
}

static void assert_outs(const struct trial *trial, float *const is[SEQUENCES],
                        float *const should[SEQUENCES], unsigned set, double tolerance)
{
    for (int s = 0; s < SEQUENCES; s++) {
        for (int i = 0; (set >> s & 1) != 0 && i < lengths[s] * trial->out_width; i++) {
            const double off = fabs((double)is[s][i] - (double)should[s][i]);
            if (!(off <= tolerance)) {
                fail_msg("sequence %d, position %d, value %d: %g, should be %g", s,
                         i / trial->out_width, i % trial->out_width, (double)is[s][i],
                         (double)should[s][i]);
            }
        }
    }
}

/* The reference within `tolerance`, and one set of bits for all ways. */
static void check_trial(const struct trial *trial, float *reference[SEQUENCES], double tolerance)
{
    float *whole[SEQUENCES], *other[SEQUENCES];
    static const struct {
        unsigned set;
        int chunk;
    } ways[] = {{7, 1}, {7, 2}, {7, 5}, {1, LONGEST}, {4, 3}, {6, 64}};
    create_outs(trial, whole);
    create_outs(trial, other);
    run_trial(trial, cpu_kernels_best(), 7, LONGEST, whole);
    assert_outs(trial, whole, reference, 7, tolerance);
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        run_trial(trial, cpu_kernels_best(), ways[i].set, ways[i].chunk, other);
        assert_outs(trial, other, whole, ways[i].set, 0);
    }
    run_trial(trial, &cpu_kernels_baseline, 7, 4, other);
    assert_outs(trial, other, whole, 7, tolerance);
#ifdef SLUICE_CPU_X86_KERNELS
    if (cpu_kernels_best() == &cpu_kernels_v4) {
        run_trial(trial, &cpu_kernels_v3, 7, 4, other);
        assert_outs(trial, other, whole, 7, 0);
    }
#endif
    destroy_outs(whole);
    destroy_outs(other);
}

/* ---- Short convolutions ---- */

enum { WIDTH = 37, TAPS = 4 };
static bool with_bias;

static status run_convolution(struct backend *backend, struct device_buffer *in,
                              struct kv_cache *cache, struct device_buffer *out)
{
    struct vector *taps = vector_of(backend, 11, WIDTH * TAPS);
    struct vector *bias = with_bias ? vector_of(backend, 12, WIDTH) : NULL;
    const status s = backend->operations->short_convolution(backend, WIDTH, TAPS, taps, bias, in,
                                                            cache, 1, NULL, out);
    backend->operations->vector_destroy(backend, taps);
    backend->operations->vector_destroy(backend, bias);
    return s;
}

static double gated(int s, int position, int channel)
{
    const int row = position * 3 * WIDTH;
    return (double)value_at(s + 1, row + channel) * value_at(s + 1, row + 2 * WIDTH + channel);
}

static void short_convolutions_reach_back(void **state)
{
    (void)state;
    const struct trial trial = {3 * WIDTH, WIDTH, (TAPS - 1) * WIDTH, run_convolution};
    float *reference[SEQUENCES];
    create_outs(&trial, reference);
    for (int bias = 0; bias < 2; bias++) {
        with_bias = bias == 1;
        for (int s = 0; s < SEQUENCES; s++) {
            for (int i = 0; i < lengths[s] * WIDTH; i++) {
                const int position = i / WIDTH, c = i % WIDTH;
                double sum = with_bias ? value_at(12, c) : 0;
                for (int j = 0; j < TAPS; j++) {
                    const int from = position - (TAPS - 1 - j);
                    sum += from >= 0 ? value_at(11, j * WIDTH + c) * gated(s, from, c) : 0;
                }
                reference[s][i] = (float)(sum * value_at(s + 1, position * 3 * WIDTH + WIDTH + c));
            }
        }
        check_trial(&trial, reference, 1e-5);
    }
    destroy_outs(reference);
}

/* ---- The gated delta rule ---- */

enum { KEY_HEADS = 2, VALUE_HEADS = 4, KEY_DIM = 9, VALUE_DIM = 21 };
enum { CHANNELS = 2 * KEY_HEADS * KEY_DIM + VALUE_HEADS * VALUE_DIM };
enum { DELTA_ROW = CHANNELS + VALUE_HEADS * (VALUE_DIM + 2), DELTA_OUT = VALUE_HEADS * VALUE_DIM };

static const struct delta_facts delta = {KEY_HEADS, VALUE_HEADS, KEY_DIM, VALUE_DIM, TAPS, 1e-6f};

static status run_delta(struct backend *backend, struct device_buffer *in, struct kv_cache *cache,
                        struct device_buffer *out)
{
    const struct backend_operations *op = backend->operations;
    struct vector *vectors[] = {
        vector_of(backend, 21, CHANNELS * TAPS), vector_of(backend, 22, VALUE_HEADS),
        vector_of(backend, 23, VALUE_HEADS), vector_of(backend, 24, VALUE_DIM)};
    const struct delta_weights weights = {vectors[0], vectors[1], vectors[2], vectors[3]};
    struct device_buffer *work;
    check(op->buffer_create(backend, SEQUENCES * LONGEST * CHANNELS * sizeof(float), &work));
    const status s = op->gated_delta(backend, &delta, &weights, in, work, cache, 1, NULL, out);
    op->buffer_destroy(backend, work);
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        op->vector_destroy(backend, vectors[i]);
    }
    return s;
}

/* A channel of sequence s behind the convolution. */
static double convolved(int s, int position, int channel)
{
    double sum = 0;
    for (int j = 0; j < TAPS; j++) {
        const int from = position - (TAPS - 1 - j);
        sum += from >= 0 ? (double)value_at(21, j * CHANNELS + channel) *
                               value_at(s + 1, from * DELTA_ROW + channel)
                         : 0;
    }
    return sum / (1 + exp(-sum));
}

static void fill_unit(int s, int position, int first, double more, double out[KEY_DIM])
{
    double sum = 1e-6;
    for (int i = 0; i < KEY_DIM; i++) {
        out[i] = convolved(s, position, first + i);
        sum += out[i] * out[i];
    }
    for (int i = 0; i < KEY_DIM; i++) {
        out[i] /= sqrt(sum) * more;
    }
}

/* One position of one value head, as the formula stands in the header. */
static void advance_delta(int s, int position, int head, double state[KEY_DIM][VALUE_DIM],
                          float out[VALUE_DIM])
{
    const int row = position * DELTA_ROW, key_head = head / (VALUE_HEADS / KEY_HEADS);
    const int z = row + CHANNELS + head * VALUE_DIM, b = row + CHANNELS + DELTA_OUT + head;
    const double a = value_at(s + 1, b + VALUE_HEADS) + value_at(23, head);
    const double decay = exp(-exp(value_at(22, head)) * log1p(exp(a)));
    const double beta = 1 / (1 + exp(-value_at(s + 1, b)));
    double q[KEY_DIM], k[KEY_DIM], o[VALUE_DIM], squares = 0;
    fill_unit(s, position, key_head * KEY_DIM, sqrt(KEY_DIM), q);
    fill_unit(s, position, (KEY_HEADS + key_head) * KEY_DIM, 1, k);
    for (int j = 0; j < VALUE_DIM; j++) {
        const int v = 2 * KEY_HEADS * KEY_DIM + head * VALUE_DIM + j;
        double change = convolved(s, position, v);
        for (int i = 0; i < KEY_DIM; i++) {
            state[i][j] *= decay;
            change -= k[i] * state[i][j];
        }
        o[j] = 0;
        for (int i = 0; i < KEY_DIM; i++) {
            state[i][j] += k[i] * beta * change;
            o[j] += q[i] * state[i][j];
        }
        squares += o[j] * o[j] / VALUE_DIM;
    }
    for (int j = 0; j < VALUE_DIM; j++) {
        const double gate = value_at(s + 1, z + j);
        out[j] = (float)(o[j] / sqrt(squares + 1e-6) * value_at(24, j) * gate / (1 + exp(-gate)));
    }
}

static void gated_delta_rules_are_the_formula(void **state)
{
    (void)state;
    const struct trial trial = {DELTA_ROW, DELTA_OUT, (TAPS - 1) * CHANNELS + DELTA_OUT * KEY_DIM,
                                run_delta};
    float *reference[SEQUENCES];
    create_outs(&trial, reference);
    for (int s = 0; s < SEQUENCES; s++) {
        for (int head = 0; head < VALUE_HEADS; head++) {
            double memory[KEY_DIM][VALUE_DIM] = {{0}};
            for (int t = 0; t < lengths[s]; t++) {
                advance_delta(s, t, head, memory, reference[s] + t * DELTA_OUT + head * VALUE_DIM);
            }
        }
    }
    check_trial(&trial, reference, 2e-4);
    destroy_outs(reference);
}

/* ---- Gates ---- */

static status run_gate(struct backend *backend, struct device_buffer *in, struct kv_cache *cache,
                       struct device_buffer *out)
{
    (void)cache;
    float *values = backend->operations->host_address(backend, out);
    for (int i = 0; i < SEQUENCES * LONGEST * WIDTH; i++) {
        values[i] = 2.0f;
    }
    return backend->operations->gate(backend, WIDTH, in, NULL, out);
}

static void gates_are_sigmoids(void **state)
{
    (void)state;
    const struct trial trial = {WIDTH, WIDTH, 5, run_gate};
    float *reference[SEQUENCES];
    create_outs(&trial, reference);
    for (int s = 0; s < SEQUENCES; s++) {
        for (int i = 0; i < lengths[s] * WIDTH; i++) {
            reference[s][i] = (float)(2 / (1 + exp(-value_at(s + 1, i))));
        }
    }
    check_trial(&trial, reference, 1e-6);
    destroy_outs(reference);
}

/* ---- State spaces ---- */

/* Heads 1 to 4 of a model with three to a group: the rank has groups 0 and 1. */
enum { SPACE_HEADS = 4, SPACE_DIM = 21, SPACE_GROUPS = 2, SPACE_STATE = 7 };
enum { SPACE_INNER = SPACE_HEADS * SPACE_DIM };
enum { SPACE_CHANNELS = SPACE_INNER + 2 * SPACE_GROUPS * SPACE_STATE };
enum { SPACE_ROW = SPACE_INNER + SPACE_CHANNELS + SPACE_HEADS };

static struct scan_facts space = {.heads = SPACE_HEADS,
                                  .head_dim = SPACE_DIM,
                                  .groups = SPACE_GROUPS,
                                  .state_dim = SPACE_STATE,
                                  .first_head = 1,
                                  .heads_per_group = 3,
                                  .taps = TAPS,
                                  .least_step = 0.5f,
                                  .most_step = 0.9f};

static status run_scan(struct backend *backend, struct device_buffer *in, struct kv_cache *cache,
                       struct device_buffer *out)
{
    const struct backend_operations *op = backend->operations;
    struct vector *vectors[] = {
        vector_of(backend, 31, SPACE_CHANNELS * TAPS), vector_of(backend, 32, SPACE_CHANNELS),
        vector_of(backend, 33, SPACE_HEADS), vector_of(backend, 34, SPACE_HEADS),
        vector_of(backend, 35, SPACE_HEADS)};
    const struct scan_weights weights = {vectors[0], vectors[1], vectors[2], vectors[3],
                                         vectors[4]};
    struct device_buffer *work;
    check(op->buffer_create(backend, SEQUENCES * LONGEST * SPACE_CHANNELS * sizeof(float), &work));
    const status s = op->scan(backend, &space, &weights, in, work, cache, 1, NULL, out);
    op->buffer_destroy(backend, work);
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        op->vector_destroy(backend, vectors[i]);
    }
    return s;
}

static double silu(double x)
{
    return x / (1 + exp(-x));
}

static double space_channel(int s, int position, int channel)
{
    double sum = value_at(32, channel);
    for (int j = 0; j < TAPS; j++) {
        const int from = position - (TAPS - 1 - j);
        sum += from >= 0 ? (double)value_at(31, j * SPACE_CHANNELS + channel) *
                               value_at(s + 1, from * SPACE_ROW + SPACE_INNER + channel)
                         : 0;
    }
    return silu(sum);
}

/* One position of one head, as the formula stands in the header. */
static void advance_space(int s, int position, int head, double state[SPACE_STATE][SPACE_DIM],
                          float out[SPACE_DIM])
{
    const int row = position * SPACE_ROW, group = (1 + head) / 3;
    const double dt =
        value_at(s + 1, row + SPACE_INNER + SPACE_CHANNELS + head) + value_at(34, head);
    const double step = fmin(fmax(log1p(exp(dt)), 0.5), (double)0.9f);
    const double decay = exp(-exp(value_at(33, head)) * step);
    for (int j = 0; j < SPACE_DIM; j++) {
        const double x = space_channel(s, position, head * SPACE_DIM + j);
        double y = value_at(35, head) * x;
        for (int i = 0; i < SPACE_STATE; i++) {
            const int b = SPACE_INNER + group * SPACE_STATE + i;
            state[i][j] = decay * state[i][j] + space_channel(s, position, b) * step * x;
            y += space_channel(s, position, b + SPACE_GROUPS * SPACE_STATE) * state[i][j];
        }
        out[j] = (float)(y * (space.gates ? silu(value_at(s + 1, row + head * SPACE_DIM + j)) : 1));
    }
}

static void state_spaces_are_the_formula(void **state)
{
    (void)state;
    const struct trial trial = {SPACE_ROW, SPACE_INNER,
                                (TAPS - 1) * SPACE_CHANNELS + SPACE_INNER * SPACE_STATE, run_scan};
    float *reference[SEQUENCES];
    create_outs(&trial, reference);
    for (int gates = 0; gates < 2; gates++) {
        space.gates = gates == 1;
        for (int s = 0; s < SEQUENCES; s++) {
            for (int head = 0; head < SPACE_HEADS; head++) {
                double memory[SPACE_STATE][SPACE_DIM] = {{0}};
                for (int t = 0; t < lengths[s]; t++) {
                    advance_space(s, t, head, memory,
                                  reference[s] + t * SPACE_INNER + head * SPACE_DIM);
                }
            }
        }
        check_trial(&trial, reference, 2e-5);
    }
    destroy_outs(reference);
}

/* ---- Norms over groups ---- */

/* Values 10 to 46 of a row of three groups of 20. */
static const int32_t group_slices[] = {0, 9, 9, 30, WIDTH};
static struct group_norm_facts groups = {.groups = 3,
                                         .group_width = 20,
                                         .first = 10,
                                         .width = WIDTH,
                                         .slices = 4,
                                         .slice_start = group_slices,
                                         .epsilon = 1e-3f};

static status run_group_norm(struct backend *backend, struct device_buffer *in,
                             struct kv_cache *cache, struct device_buffer *out)
{
    (void)cache;
    const struct backend_operations *op = backend->operations;
    struct vector *weight = vector_of(backend, 41, WIDTH);
    struct device_buffer *sums;
    check(op->buffer_create(backend, SEQUENCES * LONGEST * 3 * sizeof(float), &sums));
    check(op->copy(backend, in, out, SEQUENCES * LONGEST * WIDTH * sizeof(float)));
    check(op->group_squares(backend, &groups, out, sums));
    const status s = op->group_normalize(backend, &groups, weight, sums, in, NULL, out);
    op->buffer_destroy(backend, sums);
    op->vector_destroy(backend, weight);
    return s;
}

static void norms_are_over_groups(void **state)
{
    (void)state;
    const struct trial trial = {WIDTH, WIDTH, 5, run_group_norm};
    float *reference[SEQUENCES];
    create_outs(&trial, reference);
    for (int gated_by_itself = 0; gated_by_itself < 2; gated_by_itself++) {
        groups.gate_stride = gated_by_itself ? WIDTH : 0;
        for (int s = 0; s < SEQUENCES; s++) {
            for (int t = 0; t < lengths[s]; t++) {
                double sums[3] = {0};
                for (int i = 0; i < WIDTH; i++) {
                    sums[(10 + i) / 20] += pow(value_at(s + 1, t * WIDTH + i), 2);
                }
                for (int i = 0; i < WIDTH; i++) {
                    const double x = value_at(s + 1, t * WIDTH + i);
                    const double norm = x / sqrt(sums[(10 + i) / 20] / 20 + 1e-3) * value_at(41, i);
                    reference[s][t * WIDTH + i] = (float)(norm * (gated_by_itself ? silu(x) : 1));
                }
            }
        }
        check_trial(&trial, reference, 1e-5);
    }
    destroy_outs(reference);
}

/* ---- Misuse ---- */

static void expect_failure(status s, const char *message)
{
    assert_int_equal(s, STATUS_INTERNAL);
    assert_string_equal(status_message(), message);
}

static void places_and_shapes_are_checked(void **state)
{
    (void)state;
    struct backend *backend = open_backend(&cpu_kernels_baseline);
    const struct backend_operations *op = backend->operations;
    struct kv_cache *cache = open_cache(backend, (TAPS - 1) * WIDTH);
    struct vector *taps = vector_of(backend, 1, WIDTH * TAPS), *odd = vector_of(backend, 1, 5);
    struct device_buffer *in, *out, *none;
    check(op->buffer_create(backend, LONGEST * 3 * WIDTH * sizeof(float), &in));
    check(op->buffer_create(backend, LONGEST * WIDTH * sizeof(float), &out));
    check(op->buffer_create(backend, 0, &none));
    static struct step step;
    assert_true(fill_step(&step, 1, 0, 2));
    check(op->step_begin(backend, &step.batch));
    static const char shapes[] = "short convolution: weights of other channels";
    expect_failure(op->short_convolution(backend, WIDTH, TAPS, odd, NULL, in, cache, 1, NULL, out),
                   shapes);
    expect_failure(op->short_convolution(backend, WIDTH, TAPS, taps, odd, in, cache, 1, NULL, out),
                   shapes);
    expect_failure(op->short_convolution(backend, 4, 9, taps, NULL, in, cache, 1, NULL, out),
                   shapes);
    expect_failure(op->short_convolution(backend, WIDTH, TAPS, taps, NULL, in, cache, 0, NULL, out),
                   "layer 0 keeps no states of 111 values");
    expect_failure(op->short_convolution(backend, WIDTH, TAPS, taps, NULL, in, cache, 2, NULL, out),
                   "layer 2 keeps no states of 111 values");
    assert_int_equal(
        op->short_convolution(backend, WIDTH, TAPS, taps, NULL, none, cache, 1, NULL, out),
        STATUS_INTERNAL);
    step.places[0] = PLACES;
    expect_failure(op->short_convolution(backend, WIDTH, TAPS, taps, NULL, in, cache, 1, NULL, out),
                   "step: sequence 0 has place 5 for states, of 5");
    step.places[0] = -1;
    expect_failure(op->short_convolution(backend, WIDTH, TAPS, taps, NULL, in, cache, 1, NULL, out),
                   "step: sequence 0 has place -1 for states, of 5");
    step.places[0] = PLACES - 1;
    check(op->short_convolution(backend, WIDTH, TAPS, taps, NULL, in, cache, 1, NULL, out));
    op->vector_destroy(backend, taps);
    op->vector_destroy(backend, odd);
    op->buffer_destroy(backend, in);
    op->buffer_destroy(backend, out);
    op->buffer_destroy(backend, none);
    op->kv_destroy(backend, cache);
    op->destroy(backend);
}

static void caches_of_too_many_states_are_refused(void **state)
{
    (void)state;
    struct backend *backend = open_backend(&cpu_kernels_baseline);
    struct cache_store store = {.kind = STORE_NO_POSITIONS, .state_values = INT64_MAX};
    struct cache_layout layout = {
        .layers = 1, .stores = &store, .block_tokens = BLOCK, .dtype = DTYPE_FLOAT32, .places = 1};
    struct kv_cache *cache;
    assert_int_equal(backend->operations->kv_create(backend, &layout, 1, &cache), STATUS_LIMIT);
    assert_true(backend->operations->state_bytes(backend, &layout) == INT64_MAX);
    store.state_values = 8;
    layout.places = -1;
    assert_int_equal(backend->operations->kv_create(backend, &layout, 1, &cache), STATUS_INVALID);
    backend->operations->destroy(backend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_convolutions_reach_back),
        cmocka_unit_test(gated_delta_rules_are_the_formula),
        cmocka_unit_test(gates_are_sigmoids),
        cmocka_unit_test(state_spaces_are_the_formula),
        cmocka_unit_test(norms_are_over_groups),
        cmocka_unit_test(places_and_shapes_are_checked),
        cmocka_unit_test(caches_of_too_many_states_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
