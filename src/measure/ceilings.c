/* SPDX-License-Identifier: Apache-2.0 */
/* What a device can do, measured with the backend's own operations: a copy within its memory, and
 * products of large matrices at several numbers of rows. */
#include <math.h>
#include <stdlib.h>

#include "sluice/bench.h"

double ceilings_product_seconds(const struct device_ceilings *ceilings, double rows)
{
    const struct product_ceiling *points = ceilings->products;
    int count = ceilings->product_count;
    if (rows <= points[0].rows) {
        return points[0].seconds_per_value;
    }
    if (rows >= points[count - 1].rows) {
        return points[count - 1].seconds_per_value * rows / points[count - 1].rows;
    }
    int next = 1;
    while (points[next].rows < rows) {
        next++;
    }
    const struct product_ceiling *a = &points[next - 1], *b = &points[next];
    double way = (rows - a->rows) / (b->rows - a->rows);
    return a->seconds_per_value + way * (b->seconds_per_value - a->seconds_per_value);
}

double ceilings_product_rate(const struct device_ceilings *ceilings)
{
    const struct product_ceiling *last = &ceilings->products[ceilings->product_count - 1];
    return 2 * last->rows / last->seconds_per_value;
}

double ceilings_rate_in_16_bits(double product_rate, enum weight_format stored)
{
    return product_rate / (weight_format_is_quantized(stored) ? 2 : 1);
}

/* FlashAttention-3 and cuDNN, the better of both at each length, in bf16 with 32 heads of 128 on an
 * H100 whose largest product ran at 710 TFLOP/s: 137, 355, 526, 640 and, with an fp8 cache, 657. */
static const struct {
    double tokens, share; /* of the largest product's rate in 16 bits */
} attention_shares[] = {
    {128, 0.193}, {512, 0.500}, {2048, 0.741}, {8192, 0.901}, {32768, 0.925},
};

double ceilings_attention_rate(const struct device_ceilings *ceilings, double tokens)
{
    size_t last = COUNT_OF(attention_shares) - 1, next = 0;
    while (next < last && attention_shares[next].tokens < tokens) {
        next++;
    }
    double share = attention_shares[next].share, end = attention_shares[next].tokens;
    if (next > 0 && tokens < end) { /* a straight line over the length's logarithm */
        double begin = attention_shares[next - 1].tokens, from = attention_shares[next - 1].share;
        share = from + (share - from) * log(tokens / begin) / log(end / begin);
    }
    return share * ceilings->rate_in_16_bits;
}

/* ---- Measuring ---- */

/* Sizes by what makes a measurement long enough and larger than caches: on a GPU and on a host. */
struct trial_sizes {
    int rows, columns;  /* of a matrix */
    size_t cache_bytes; /* matrices take turns until they are this large together */
    size_t copy_bytes;
    double seconds; /* that a point is repeated for */
};
static const struct trial_sizes device_sizes = {8192, 4096, 256u << 20, 512u << 20, 0.02};
static const struct trial_sizes host_sizes = {1024, 1024, 24u << 20, 64u << 20, 0.02};

enum { MAX_MATRICES = 16 };

struct ceiling_trial {
    struct backend *backend;
    const struct backend_operations *operations;
    const struct trial_sizes *sizes;
    int max_tokens;
    struct matrix *matrices[MAX_MATRICES];
    int matrix_count;
    struct device_buffer *in, *out;
    int32_t *zeros, *positions; /* [max_tokens] */
};

/* Seconds of a call of `run`, the best of as many rounds as the time allows, one at least; the
 * first call, which may have to choose an algorithm, is not counted. A round is as many calls as
 * `each`, so that starting and waiting do not count for much. */
static status time_calls(struct ceiling_trial *trial, status (*run)(struct ceiling_trial *),
                         int each, double *seconds)
{
    TRY(run(trial));
    TRY(trial->operations->synchronize(trial->backend));
    *seconds = INFINITY;
    double begin = clock_seconds();
    for (int round = 0; round < 1 || clock_seconds() - begin < trial->sizes->seconds; round++) {
        double start = clock_seconds();
        for (int i = 0; i < each; i++) {
            TRY(run(trial));
        }
        TRY(trial->operations->synchronize(trial->backend));
        *seconds = fmin(*seconds, (clock_seconds() - start) / each);
    }
    return STATUS_OK;
}

/* Uniform around 0: random data, since zeros cost a GPU less power and run faster. */
static void fill_random(float *values, size_t count)
{
    for (size_t i = 0; i < count; i += 2) {
        uint64_t word = hash_bytes(&i, sizeof i, 0);
        values[i] = (float)((double)(word >> 32) / 4294967296.0 - 0.5);
        values[i + 1] = (float)((double)(word & 0xffffffffu) / 4294967296.0 - 0.5);
    }
}

/* A random number that is finite and below 1 in both of the types of 16 bits: a sign and a fraction
 * of 10 bits under an exponent that stays. */
static uint16_t random_half(size_t index)
{
    return (uint16_t)((hash_bytes(&index, sizeof index, 1) & 0x83ffu) | 0x3800u);
}

static status create_matrices(struct ceiling_trial *trial, enum weight_format stored,
                              const float *values)
{
    const struct trial_sizes *sizes = trial->sizes;
    const struct weight_rows rows = {
        .data = values, .format = WEIGHT_FLOAT32, .stride = (size_t)sizes->columns};
    const struct backend_operations *op = trial->operations;
    int64_t bytes = op->matrix_bytes(trial->backend, 1, sizes->rows, sizes->columns, 0, stored);
    int count = (int)((int64_t)sizes->cache_bytes / bytes) + 1;
    for (int i = 0; i < count && i < MAX_MATRICES; i++) {
        struct matrix **matrix = &trial->matrices[trial->matrix_count];
        TRY(op->matrix_create(trial->backend, 1, sizes->rows, sizes->columns, NULL, 0, stored,
                              matrix));
        trial->matrix_count++;
        TRY(op->matrix_write(trial->backend, *matrix, 0, 0, sizes->rows, &rows));
        TRY(op->matrix_finish(trial->backend, *matrix));
    }
    return STATUS_OK;
}

static status create_input(struct ceiling_trial *trial, const float *values)
{
    const struct backend_operations *op = trial->operations;
    size_t width = dtype_bytes(op->activation_dtype(trial->backend));
    size_t columns = (size_t)trial->sizes->columns, tokens = (size_t)trial->max_tokens;
    size_t period = (size_t)trial->sizes->rows; /* rows of random values */
    TRY(op->buffer_create(trial->backend, tokens * columns * width, &trial->in));
    TRY(op->buffer_create(trial->backend, tokens * period * width, &trial->out));
    uint16_t *halves = malloc(period * columns * sizeof *halves);
    if (halves == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a matrix");
    }
    for (size_t i = 0; width == 2 && i < period * columns; i++) {
        halves[i] = random_half(i);
    }
    status s = STATUS_OK;
    for (size_t token = 0; s == STATUS_OK && token < tokens; token += period) {
        size_t count = tokens - token < period ? tokens - token : period;
        s = op->upload(trial->backend, trial->in, token * columns * width,
                       width == 2 ? (const void *)halves : values, count * columns * width);
    }
    free(halves);
    return s;
}

/* All matrices once. */
static status run_products(struct ceiling_trial *trial)
{
    for (int i = 0; i < trial->matrix_count; i++) {
        TRY(trial->operations->product(trial->backend, trial->matrices[i], NULL, trial->in,
                                       trial->out));
    }
    return STATUS_OK;
}

static status time_products(struct ceiling_trial *trial, int tokens, struct product_ceiling *out)
{
    int32_t query_start[2] = {0, tokens};
    struct batch batch = {.tokens = tokens,
                          .sequences = 1,
                          .token_ids = trial->zeros,
                          .positions = trial->positions,
                          .query_start = query_start,
                          .context_length = &tokens,
                          .block_table = trial->zeros,
                          .block_table_stride = 1,
                          .output_rows = trial->zeros};
    TRY(trial->operations->step_begin(trial->backend, &batch));
    double seconds, values = (double)trial->sizes->rows * trial->sizes->columns;
    TRY(time_calls(trial, run_products, 1, &seconds));
    *out = (struct product_ceiling){tokens, seconds / (values * trial->matrix_count)};
    return STATUS_OK;
}

static status measure_products(struct ceiling_trial *trial, enum weight_format stored,
                               struct device_ceilings *out)
{
    static const int rows[CEILING_POINTS] = {1, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192};
    size_t values = (size_t)trial->sizes->rows * (size_t)trial->sizes->columns;
    float *random = malloc(values * sizeof *random);
    trial->zeros = calloc((size_t)trial->max_tokens, sizeof *trial->zeros);
    trial->positions = calloc((size_t)trial->max_tokens, sizeof *trial->positions);
    if (random == NULL || trial->zeros == NULL || trial->positions == NULL) {
        free(random);
        return status_fail(STATUS_NO_MEMORY, "out of memory for a matrix");
    }
    for (int i = 0; i < trial->max_tokens; i++) {
        trial->positions[i] = i;
    }
    fill_random(random, values);
    status s = create_matrices(trial, stored, random);
    if (s == STATUS_OK) {
        s = create_input(trial, random);
    }
    free(random);
    for (int i = 0; s == STATUS_OK && i < CEILING_POINTS && rows[i] > 0; i++) {
        if (rows[i] <= trial->max_tokens) {
            s = time_products(trial, rows[i], &out->products[out->product_count++]);
        }
    }
    return s;
}

static void end_products(struct ceiling_trial *trial)
{
    for (int i = 0; i < trial->matrix_count; i++) {
        trial->operations->matrix_destroy(trial->backend, trial->matrices[i]);
    }
    trial->matrix_count = 0;
    trial->operations->buffer_destroy(trial->backend, trial->in);
    trial->operations->buffer_destroy(trial->backend, trial->out);
    trial->in = trial->out = NULL;
    free(trial->zeros);
    free(trial->positions);
    trial->zeros = trial->positions = NULL;
}

static status run_copy(struct ceiling_trial *trial)
{
    return trial->operations->copy(trial->backend, trial->in, trial->out, trial->sizes->copy_bytes);
}

static status measure_copy(struct ceiling_trial *trial, struct device_ceilings *out)
{
    const struct backend_operations *op = trial->operations;
    size_t bytes = trial->sizes->copy_bytes;
    TRY(op->buffer_create(trial->backend, bytes, &trial->in));
    status s = op->buffer_create(trial->backend, bytes, &trial->out);
    double seconds;
    if (s == STATUS_OK) {
        s = time_calls(trial, run_copy, 4, &seconds);
    }
    if (s == STATUS_OK) {
        out->bytes_per_second = 2.0 * (double)bytes / seconds;
    }
    op->buffer_destroy(trial->backend, trial->in);
    op->buffer_destroy(trial->backend, trial->out);
    trial->in = trial->out = NULL;
    return s;
}

/* Whether buffers are the host's memory, as a buffer tells. */
static status choose_sizes(struct ceiling_trial *trial)
{
    struct device_buffer *buffer;
    TRY(trial->operations->buffer_create(trial->backend, 1, &buffer));
    bool host = trial->operations->host_address(trial->backend, buffer) != NULL;
    trial->operations->buffer_destroy(trial->backend, buffer);
    trial->sizes = host ? &host_sizes : &device_sizes;
    return STATUS_OK;
}

status ceilings_measure(struct backend *backend, enum weight_format stored, int max_tokens,
                        struct device_ceilings *out)
{
    struct ceiling_trial trial = {.backend = backend, .operations = backend->operations};
    *out = (struct device_ceilings){0};
    TRY(choose_sizes(&trial));
    trial.max_tokens = max_tokens < 8192 ? max_tokens : 8192;
    TRY(measure_copy(&trial, out));
    status s = measure_products(&trial, stored, out);
    end_products(&trial);
    TRY(s);
    out->rate_in_16_bits = ceilings_rate_in_16_bits(ceilings_product_rate(out), stored);
    return STATUS_OK;
}
