/* SPDX-License-Identifier: Apache-2.0 */
/* A layer's queries, keys and values on a GPU, in steps cut in any way: what attention's tests
 * share. Fresh caches and results hold NaN. */
#ifndef SLUICE_GPU_ATTENTION_FIXTURE_H
#define SLUICE_GPU_ATTENTION_FIXTURE_H

#include "gpu/gpu_fixture.h"

#include "backend/cuda/cuda.h"

enum { SEQUENCES = 3, MOST_TOKENS = 4096, MOST_HEADS = 40, CPU_BLOCK_TOKENS = 16 };

struct types {
    const char *name;
    enum dtype compute, kv;
    double rope, attention; /* relative distance at most */
};

struct shape {
    const char *what;
    int query_heads, kv_heads, head_dim, rotated;
    int map[MOST_HEADS]; /* of query heads; {-1}: groups in order */
    int window;
    float soft_cap;
    bool norm, layer_norm, pending;
    int lengths[SEQUENCES];
    bool bidirectional;
    float key_scale, value_scale; /* of the cache; 0: none are set */
    bool sinks;
};

/* One layer's inputs and what a way of running it left. */
struct trial {
    const struct shape *shape;
    const struct types *types;
    int first_query, query_heads, first_kv, kv_heads; /* this rank's */
    int32_t map[MOST_HEADS];
    float *raw[SEQUENCES]; /* [length, width]: what the product left */
    float *row_scale, *column_scale, *bias, *q_norm, *k_norm;
    float sinks[MOST_HEADS];
    float frequency[128], long_frequency[128];
    struct rope_facts rope;
    float *qkv[SEQUENCES]; /* [length, width] after the append */
    float *out[SEQUENCES]; /* [length, query heads · head_dim] */
};

/* How sequences of `set` run: `first` tokens of each, then `chunk` at a time. */
struct way {
    const char *what;
    unsigned set;
    int first, chunk, shuffle, block_tokens;
};

static inline int width_of(const struct trial *trial)
{
    return (trial->query_heads + 2 * trial->kv_heads) * trial->shape->head_dim;
}

static inline int out_width_of(const struct trial *trial)
{
    return trial->query_heads * trial->shape->head_dim;
}

static inline float *new_values(size_t count)
{
    float *values = malloc((count + 1) * sizeof *values);
    assert_non_null(values);
    return values;
}

static inline float round_float8(float value)
{
    int exponent;
    const float size = fabsf(value);
    if (size == 0.0f) {
        return value;
    }
    (void)frexpf(size, &exponent); /* size in [2^(exponent - 1), 2^exponent) */
    const float step = ldexpf(1.0f, (exponent - 1 < -6 ? -6 : exponent - 1) - 3);
    return copysignf(fminf(nearbyintf(size / step) * step, 448.0f), value);
}

static inline void round_values(float *values, size_t count, enum dtype dtype)
{
    gpu_round(values, count, dtype);
    for (size_t i = 0; dtype == DTYPE_FLOAT8_E4M3 && i < count; i++) {
        values[i] = round_float8(values[i]);
    }
}

/* ---- Trials ---- */

static inline void trial_create(struct trial *trial, const struct shape *shape,
                                const struct types *t)
{
    *trial = (struct trial){
        .shape = shape, .types = t, .query_heads = shape->query_heads, .kv_heads = shape->kv_heads};
    for (int h = 0; h < shape->query_heads; h++) {
        trial->map[h] =
            shape->map[0] < 0 ? h / (shape->query_heads / shape->kv_heads) : shape->map[h];
    }
    const size_t width = (size_t)width_of(trial);
    for (int s = 0; s < SEQUENCES; s++) {
        const size_t values = (size_t)shape->lengths[s] * width;
        trial->raw[s] = new_values(values);
        gpu_random(trial->raw[s], values, (uint64_t)s + 10, 1.0f);
        gpu_round(trial->raw[s], values, t->compute);
        trial->qkv[s] = new_values(values);
        trial->out[s] = new_values((size_t)shape->lengths[s] * (size_t)out_width_of(trial));
    }
    trial->row_scale = new_values(MOST_TOKENS);
    trial->column_scale = new_values(width);
    trial->bias = new_values(width);
    trial->q_norm = new_values(256);
    trial->k_norm = new_values(256);
    gpu_random(trial->row_scale, MOST_TOKENS, 2, 0.2f);
    gpu_random(trial->column_scale, width, 3, 0.2f);
    gpu_random(trial->bias, width, 4, 0.3f);
    gpu_random(trial->q_norm, 256, 5, 0.2f);
    gpu_random(trial->k_norm, 256, 6, 0.2f);
    gpu_random(trial->sinks, MOST_HEADS, 7, 3.0f); /* below all scores, among them and above */
    for (int i = 0; i < MOST_TOKENS; i++) {
        trial->row_scale[i] += 1.0f;
    }
    for (size_t i = 0; i < width; i++) {
        trial->column_scale[i] += 1.0f;
    }
    for (int i = 0; i < 128; i++) {
        trial->frequency[i] = powf(10000.0f, -2.0f * (float)i / (float)shape->rotated);
        trial->long_frequency[i] = trial->frequency[i] / 3;
    }
}

static inline void trial_destroy(struct trial *trial)
{
    for (int s = 0; s < SEQUENCES; s++) {
        free(trial->raw[s]);
        free(trial->qkv[s]);
        free(trial->out[s]);
    }
    free(trial->row_scale);
    free(trial->column_scale);
    free(trial->bias);
    free(trial->q_norm);
    free(trial->k_norm);
}

/* Columns of the heads that `to`, a part of `from`, has. */
static inline void copy_heads(const struct trial *from, const struct trial *to, const float *source,
                              float *target, size_t rows)
{
    const size_t dim = (size_t)from->shape->head_dim;
    const size_t width = (size_t)width_of(from), part = (size_t)width_of(to);
    for (size_t r = 0; r < rows; r++) {
        const float *row = source + r * width;
        float *out = target + r * part;
        memcpy(out, row + (size_t)to->first_query * dim, (size_t)to->query_heads * dim * 4);
        for (int kind = 0; kind < 2; kind++) {
            memcpy(out + (size_t)(to->query_heads + kind * to->kv_heads) * dim,
                   row + (size_t)(from->query_heads + kind * from->kv_heads + to->first_kv) * dim,
                   (size_t)to->kv_heads * dim * 4);
        }
    }
}

/* The trial of a rank with the query heads [first, first + count) and the key/value heads that they
 * read. */
static inline void trial_cut(const struct trial *whole, int first, int count, struct trial *part)
{
    trial_create(part, whole->shape, whole->types);
    int least = whole->kv_heads, most = 0;
    for (int h = first; h < first + count; h++) {
        least = whole->map[h] < least ? whole->map[h] : least;
        most = whole->map[h] > most ? whole->map[h] : most;
    }
    part->first_query = first;
    part->query_heads = count;
    part->first_kv = least;
    part->kv_heads = most + 1 - least;
    for (int h = 0; h < count; h++) {
        part->map[h] = whole->map[first + h] - least;
        part->sinks[h] = whole->sinks[first + h];
    }
    for (int s = 0; s < SEQUENCES; s++) {
        copy_heads(whole, part, whole->raw[s], part->raw[s], (size_t)whole->shape->lengths[s]);
    }
    copy_heads(whole, part, whole->column_scale, part->column_scale, 1);
    copy_heads(whole, part, whole->bias, part->bias, 1);
}

/* ---- A step ---- */

struct step {
    struct batch batch;
    int source[SEQUENCES], done[SEQUENCES]; /* of each sequence of the batch */
    int32_t ids[MOST_TOKENS], positions[MOST_TOKENS], start[SEQUENCES + 1], context[SEQUENCES];
    int32_t rows[1];
    uint8_t is_long[SEQUENCES];
    int32_t *table;
};

static inline int blocks_for(const struct trial *trial, int block_tokens)
{
    int longest = 0;
    for (int s = 0; s < SEQUENCES; s++) {
        longest = trial->shape->lengths[s] > longest ? trial->shape->lengths[s] : longest;
    }
    return longest / block_tokens + 1;
}

/* The first number from `least` on without a common divisor with n. */
static inline int prime_to(int n, int least)
{
    for (;; least++) {
        int a = n, b = least;
        while (b != 0) {
            const int rest = a % b;
            a = b;
            b = rest;
        }
        if (a == 1) {
            return least;
        }
    }
}

/* False where all sequences of the way are done. Sequences stand in falling order for odd steps. */
static inline bool step_make(const struct trial *trial, const struct way *way, int number,
                             struct step *step)
{
    const int stride = blocks_for(trial, way->block_tokens), blocks = SEQUENCES * stride;
    const int shuffle = prime_to(blocks, way->shuffle);
    const int first = number == 0 ? 0 : way->first + (number - 1) * way->chunk;
    const int chunk = number == 0 ? way->first : way->chunk;
    step->batch = (struct batch){.token_ids = step->ids,
                                 .positions = step->positions,
                                 .query_start = step->start,
                                 .context_length = step->context,
                                 .block_table = step->table,
                                 .block_table_stride = stride,
                                 .long_rope = step->is_long,
                                 .output_rows = step->rows,
                                 .outputs = 1};
    step->start[0] = 0;
    struct batch *batch = &step->batch;
    for (int i = 0; i < SEQUENCES; i++) {
        const int s = number % 2 == 0 ? i : SEQUENCES - 1 - i;
        const int left = trial->shape->lengths[s] - first;
        if ((way->set >> s & 1) == 0 || left <= 0) {
            continue;
        }
        const int here = left < chunk ? left : chunk, at = batch->sequences++;
        for (int k = 0; k < here; k++) {
            step->positions[batch->tokens++] = first + k;
        }
        for (int k = 0; k < stride; k++) {
            step->table[at * stride + k] =
                (int32_t)(((int64_t)(s * stride + k) * shuffle + 3) % blocks);
        }
        step->is_long[at] = s == 1;
        step->source[at] = s;
        step->done[at] = first;
        step->context[at] = first + here;
        step->start[at + 1] = batch->tokens;
    }
    return batch->tokens > 0;
}

/* The sequences' rows of `from` [length, width], as the step's tokens stand. */
static inline float *gather(const struct step *step, float *const *from, size_t width)
{
    float *rows = new_values((size_t)step->batch.tokens * width);
    for (int i = 0; i < step->batch.sequences; i++) {
        memcpy(rows + (size_t)step->start[i] * width,
               from[step->source[i]] + (size_t)step->done[i] * width,
               (size_t)(step->start[i + 1] - step->start[i]) * width * sizeof(float));
    }
    return rows;
}

static inline void scatter(const struct step *step, const float *rows, float *const *to,
                           size_t width)
{
    for (int i = 0; i < step->batch.sequences; i++) {
        memcpy(to[step->source[i]] + (size_t)step->done[i] * width,
               rows + (size_t)step->start[i] * width,
               (size_t)(step->start[i + 1] - step->start[i]) * width * sizeof(float));
    }
}

static inline struct rope_facts rope_of(const struct trial *trial)
{
    return (struct rope_facts){.dimensions = trial->shape->rotated,
                               .inverse_frequency = trial->frequency,
                               .long_inverse_frequency = trial->long_frequency,
                               .magnitude = 1.0f,
                               .long_magnitude = 1.25f};
}

static inline struct norm_facts norm_of(const struct trial *trial)
{
    return (struct norm_facts){
        .epsilon = 1e-5f, .weight_offset = 1.0f, .layer_norm = trial->shape->layer_norm};
}

static inline struct attention_facts facts_of(const struct trial *trial, const struct vector *sinks)
{
    return (struct attention_facts){.scale = 1.5f / sqrtf((float)trial->shape->head_dim),
                                    .soft_cap = trial->shape->soft_cap,
                                    .window = trial->shape->window,
                                    .bidirectional = trial->shape->bidirectional,
                                    .sinks = sinks};
}

static inline struct head_layout heads_of(const struct trial *trial)
{
    return (struct head_layout){.query_heads = trial->query_heads,
                                .kv_heads = trial->kv_heads,
                                .head_dim = trial->shape->head_dim,
                                .kv_head = trial->map};
}

static inline struct cache_store store_of(const struct trial *trial)
{
    return (struct cache_store){
        .kind = STORE_KEYS_VALUES, .kv_heads = trial->kv_heads, .head_dim = trial->shape->head_dim};
}

static inline struct vector *new_vector(struct backend *backend, const float *values, int n)
{
    struct vector *vector;
    check(backend->operations->vector_create(backend, n, values, &vector));
    return vector;
}

/* What stays over a way's steps. */
struct device {
    struct backend *backend;
    struct kv_cache *cache;
    struct vector *q_norm, *k_norm, *column_scale, *bias, *sinks;
    struct device_buffer *qkv, *out, *row_scale;
    void *host; /* room for any of these */
};

/* Values in `dtype` at the start of the buffer; NULL: NaN bytes. */
static inline void put(const struct device *device, struct device_buffer *to, const float *values,
                       size_t count, enum dtype dtype)
{
    const size_t bytes = count * dtype_bytes(dtype);
    memset(device->host, 0xff, bytes);
    for (size_t i = 0; values != NULL && i < count; i++) {
        if (dtype == DTYPE_FLOAT32) {
            ((float *)device->host)[i] = values[i];
        } else if (dtype == DTYPE_BFLOAT16) {
            ((uint16_t *)device->host)[i] = gpu_bfloat16(values[i]);
        } else {
            ((_Float16 *)device->host)[i] = (_Float16)values[i];
        }
    }
    check(device->backend->operations->upload(device->backend, to, 0, device->host, bytes));
}

static inline void run_step(struct trial *trial, const struct device *device,
                            const struct step *step)
{
    struct backend *backend = device->backend;
    const struct backend_operations *op = backend->operations;
    const enum dtype act = op->activation_dtype(backend);
    const size_t width = (size_t)width_of(trial), out_width = (size_t)out_width_of(trial);
    const size_t tokens = (size_t)step->batch.tokens;
    const struct rope_facts rope = rope_of(trial);
    const struct norm_facts norm = norm_of(trial);
    const struct attention_facts facts = facts_of(trial, device->sinks);
    const struct head_layout heads = heads_of(trial);

    float *rows = gather(step, trial->raw, width);
    put(device, device->qkv, rows, tokens * width, act);
    put(device, device->out, NULL, tokens * out_width, act);
    if (trial->shape->pending) { /* of each token by its place in the sequence */
        for (size_t i = 0; i < tokens; i++) {
            rows[i] = trial->row_scale[step->positions[i]];
        }
        put(device, device->row_scale, rows, tokens, DTYPE_FLOAT32);
        device->qkv->pending = (struct cuda_pending){
            device->row_scale->data, device->column_scale->data, device->bias->data};
    }
    check(op->step_begin(backend, &step->batch));
    check(op->rope_append(backend, &heads, &rope, &norm, device->q_norm, device->k_norm,
                          device->qkv, device->cache, 1));
    check(op->attention(backend, &heads, &facts, device->qkv, device->cache, 1, NULL, device->out));
    gpu_values(backend, device->qkv, tokens * width, act, rows);
    scatter(step, rows, trial->qkv, width);
    gpu_values(backend, device->out, tokens * out_width, act, rows);
    scatter(step, rows, trial->out, out_width);
    free(rows);
}

static inline void device_create(const struct trial *trial, struct backend *backend,
                                 int block_tokens, int blocks, struct device *device)
{
    const struct backend_operations *op = backend->operations;
    const struct shape *shape = trial->shape;
    const size_t values = (size_t)MOST_TOKENS * (size_t)width_of(trial);
    *device = (struct device){.backend = backend};
    const struct cache_store store = store_of(trial), stores[] = {store, store};
    const struct cache_layout layout = {
        .layers = 2, .stores = stores, .block_tokens = block_tokens, .dtype = trial->types->kv};
    check(op->kv_create(backend, &layout, blocks, &device->cache));
    if (shape->key_scale > 0) {
        check(op->kv_scale(backend, device->cache, 1, shape->key_scale, shape->value_scale));
    }
    const size_t bytes = 2 * (size_t)trial->kv_heads * (size_t)shape->head_dim *
                         (size_t)block_tokens * (size_t)blocks * dtype_bytes(trial->types->kv);
    assert_int_equal(cudaMemset(device->cache->keys, 0xff, bytes), cudaSuccess);
    assert_int_equal(cudaMemset(device->cache->values, 0xff, bytes), cudaSuccess);
    assert_int_equal(cudaDeviceSynchronize(), cudaSuccess);
    if (shape->norm) {
        device->q_norm = new_vector(backend, trial->q_norm, shape->head_dim);
        device->k_norm = new_vector(backend, trial->k_norm, shape->head_dim);
    }
    if (shape->sinks) {
        device->sinks = new_vector(backend, trial->sinks, trial->query_heads);
    }
    device->column_scale = new_vector(backend, trial->column_scale, width_of(trial));
    device->bias = new_vector(backend, trial->bias, width_of(trial));
    check(op->buffer_create(backend, values * sizeof(float), &device->qkv));
    check(op->buffer_create(backend, values * sizeof(float), &device->out));
    check(op->buffer_create(backend, MOST_TOKENS * sizeof(float), &device->row_scale));
    device->host = malloc(values * sizeof(float));
    assert_non_null(device->host);
}

static inline void device_destroy(struct device *device)
{
    const struct backend_operations *op = device->backend->operations;
    struct vector *vectors[] = {device->q_norm, device->k_norm, device->column_scale, device->bias,
                                device->sinks};
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        op->vector_destroy(device->backend, vectors[i]);
    }
    op->buffer_destroy(device->backend, device->qkv);
    op->buffer_destroy(device->backend, device->out);
    op->buffer_destroy(device->backend, device->row_scale);
    op->kv_destroy(device->backend, device->cache);
    free(device->host);
}

static inline void run_way(struct trial *trial, struct backend *backend, const struct way *way)
{
    const int blocks = SEQUENCES * blocks_for(trial, way->block_tokens);
    struct device device;
    device_create(trial, backend, way->block_tokens, blocks, &device);
    static struct step step;
    step.table = malloc((size_t)SEQUENCES * (size_t)blocks * sizeof *step.table);
    assert_non_null(step.table);
    for (int number = 0; step_make(trial, way, number, &step); number++) {
        run_step(trial, &device, &step);
    }
    free(step.table);
    device_destroy(&device);
}

#endif
