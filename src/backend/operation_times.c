/* SPDX-License-Identifier: Apache-2.0 */
/* A table of operations that is a backend's own, but for those of a step, which are timed.
 *
 * One list says which operations these are; the functions that time them and their places in the
 * table are made from it. What is not in the list stays the backend's own function. */
#include "sluice/operation_times.h"

#include <stdlib.h>
#include <string.h>

struct operation_times {
    struct backend_operations operations; /* first: a backend that is watched points here */
    const struct backend_operations *own; /* the backend's */
    struct backend *backend;
    double seconds[TIMED_OPERATIONS];
    operation_note *note;
    void *note_context;
};

const char *const timed_operation_names[TIMED_OPERATIONS] = {
    [TIMED_STEP_BEGIN] = "begin",
    [TIMED_EMBED] = "embedding",
    [TIMED_NORM] = "norm",
    [TIMED_ADD_NORM] = "add and norm",
    [TIMED_PRODUCT] = "product",
    [TIMED_PRODUCT_SLICED] = "sliced product",
    [TIMED_ROPE_APPEND] = "rope and append",
    [TIMED_ATTENTION] = "attention",
    [TIMED_KEEP_OUTPUTS] = "outputs kept",
    [TIMED_ACTIVATE] = "activation",
    [TIMED_EXPERTS] = "experts",
    [TIMED_LOGITS] = "logits",
    [TIMED_SAMPLE] = "sampling",
};

static struct operation_times *times_of(const struct backend *backend)
{
    return (struct operation_times *)(uintptr_t)backend->operations;
}

/* Ends an operation that began at `start` and returned `s`. */
static status book(struct backend *backend, enum timed_operation operation, double start, status s)
{
    struct operation_times *times = times_of(backend);
    if (s == STATUS_OK) {
        s = times->own->synchronize(backend);
    }
    const double end = clock_seconds();
    times->seconds[operation] += end - start;
    if (times->note != NULL) {
        times->note(times->note_context, operation, start, end);
    }
    return s;
}

/* X(what is booked, member of struct backend_operations, its parameters, the same as arguments) */
#define STEP_OPERATIONS(X)                                                                         \
    X(TIMED_STEP_BEGIN, step_begin, (struct backend * backend, const struct batch *batch),         \
      (backend, batch))                                                                            \
    X(TIMED_EMBED, embed,                                                                          \
      (struct backend * backend, const struct matrix *table, int first_row, float scale,           \
       struct device_buffer *residual),                                                            \
      (backend, table, first_row, scale, residual))                                                \
    X(TIMED_EMBED, embed_positions,                                                                \
      (struct backend * backend, const struct matrix *table, int first_row,                        \
       struct device_buffer *residual),                                                            \
      (backend, table, first_row, residual))                                                       \
    X(TIMED_EMBED, embed_types,                                                                    \
      (struct backend * backend, const struct matrix *table, int first_row, int position_step,     \
       int type_step, struct device_buffer *residual),                                             \
      (backend, table, first_row, position_step, type_step, residual))                             \
    X(TIMED_NORM, norm,                                                                            \
      (struct backend * backend, const struct norm_facts *facts, const struct vector *weight,      \
       const struct vector *bias, struct device_buffer *residual, int hidden,                      \
       const struct matrix *reader, struct device_buffer *normed),                                 \
      (backend, facts, weight, bias, residual, hidden, reader, normed))                            \
    X(TIMED_ADD_NORM, add_norm,                                                                    \
      (struct backend * backend, const struct norm_facts *facts, struct device_buffer *partials,   \
       int parts, const struct vector *bias, float multiplier, const struct vector *post_weight,   \
       struct device_buffer *residual, int hidden, const struct vector *weight,                    \
       const struct vector *norm_bias, const struct matrix *reader, struct device_buffer *normed), \
      (backend, facts, partials, parts, bias, multiplier, post_weight, residual, hidden, weight,   \
       norm_bias, reader, normed))                                                                 \
    X(TIMED_PRODUCT, product,                                                                      \
      (struct backend * backend, const struct matrix *matrix, const struct vector *bias,           \
       struct device_buffer *in, struct device_buffer *out),                                       \
      (backend, matrix, bias, in, out))                                                            \
    X(TIMED_PRODUCT_SLICED, product_sliced,                                                        \
      (struct backend * backend, const struct matrix *matrix, struct device_buffer *in,            \
       struct device_buffer *out),                                                                 \
      (backend, matrix, in, out))                                                                  \
    X(TIMED_NORM, head_squares,                                                                    \
      (struct backend * backend, const struct head_layout *heads,                                  \
       const struct head_slices *slices, struct device_buffer *qkv, struct device_buffer *sums),   \
      (backend, heads, slices, qkv, sums))                                                         \
    X(TIMED_NORM, head_normalize,                                                                  \
      (struct backend * backend, const struct head_layout *heads, const struct norm_facts *norm,   \
       const struct vector *q_norm, const struct vector *k_norm, int q_width, int k_width,         \
       struct device_buffer *sums, struct device_buffer *qkv),                                     \
      (backend, heads, norm, q_norm, k_norm, q_width, k_width, sums, qkv))                         \
    X(TIMED_ROPE_APPEND, scale_queries,                                                            \
      (struct backend * backend, const struct head_layout *heads, float beta, int length,          \
       struct device_buffer *qkv),                                                                 \
      (backend, heads, beta, length, qkv))                                                         \
    X(TIMED_ROPE_APPEND, rope_append,                                                              \
      (struct backend * backend, const struct head_layout *heads, const struct rope_facts *rope,   \
       const struct norm_facts *norm, const struct vector *q_norm, const struct vector *k_norm,    \
       struct device_buffer *qkv, struct kv_cache *cache, int layer),                              \
      (backend, heads, rope, norm, q_norm, k_norm, qkv, cache, layer))                             \
    X(TIMED_ATTENTION, attention,                                                                  \
      (struct backend * backend, const struct head_layout *heads,                                  \
       const struct attention_facts *facts, struct device_buffer *qkv, struct kv_cache *cache,     \
       int layer, const struct matrix *reader, struct device_buffer *out),                         \
      (backend, heads, facts, qkv, cache, layer, reader, out))                                     \
    X(TIMED_ROPE_APPEND, latent_append,                                                            \
      (struct backend * backend, const struct latent_facts *facts, const struct rope_facts *rope,  \
       const struct vector *norm, struct device_buffer *latent, struct kv_cache *cache,            \
       int layer),                                                                                 \
      (backend, facts, rope, norm, latent, cache, layer))                                          \
    X(TIMED_ROPE_APPEND, latent_queries,                                                           \
      (struct backend * backend, const struct latent_facts *facts, const struct rope_facts *rope,  \
       const struct matrix *key_up, struct device_buffer *q, struct device_buffer *queries),       \
      (backend, facts, rope, key_up, q, queries))                                                  \
    X(TIMED_ATTENTION, latent_attention,                                                           \
      (struct backend * backend, const struct latent_facts *facts, const struct matrix *value_up,  \
       struct device_buffer *queries, struct kv_cache *cache, int layer,                           \
       struct device_buffer *attended, const struct matrix *reader, struct device_buffer *out),    \
      (backend, facts, value_up, queries, cache, layer, attended, reader, out))                    \
    X(TIMED_ATTENTION, short_convolution,                                                          \
      (struct backend * backend, int width, int taps, const struct vector *weights,                \
       const struct vector *bias, struct device_buffer *in, struct kv_cache *cache, int layer,     \
       const struct matrix *reader, struct device_buffer *out),                                    \
      (backend, width, taps, weights, bias, in, cache, layer, reader, out))                        \
    X(TIMED_ATTENTION, gated_delta,                                                                \
      (struct backend * backend, const struct delta_facts *facts,                                  \
       const struct delta_weights *weights, struct device_buffer *in, struct device_buffer *work,  \
       struct kv_cache *cache, int layer, const struct matrix *reader, struct device_buffer *out), \
      (backend, facts, weights, in, work, cache, layer, reader, out))                              \
    X(TIMED_ATTENTION, scan,                                                                       \
      (struct backend * backend, const struct scan_facts *facts,                                   \
       const struct scan_weights *weights, struct device_buffer *in, struct device_buffer *work,   \
       struct kv_cache *cache, int layer, const struct matrix *reader, struct device_buffer *out), \
      (backend, facts, weights, in, work, cache, layer, reader, out))                              \
    X(TIMED_NORM, group_squares,                                                                   \
      (struct backend * backend, const struct group_norm_facts *facts,                             \
       struct device_buffer *values, struct device_buffer *sums),                                  \
      (backend, facts, values, sums))                                                              \
    X(TIMED_NORM, group_normalize,                                                                 \
      (struct backend * backend, const struct group_norm_facts *facts,                             \
       const struct vector *weight, struct device_buffer *sums, struct device_buffer *gates,       \
       const struct matrix *reader, struct device_buffer *values),                                 \
      (backend, facts, weight, sums, gates, reader, values))                                       \
    X(TIMED_ACTIVATE, scale,                                                                       \
      (struct backend * backend, int width, int first, int count, float factor,                    \
       struct device_buffer *values),                                                              \
      (backend, width, first, count, factor, values))                                              \
    X(TIMED_ACTIVATE, gate,                                                                        \
      (struct backend * backend, int width, struct device_buffer *gates,                           \
       const struct matrix *reader, struct device_buffer *values),                                 \
      (backend, width, gates, reader, values))                                                     \
    X(TIMED_KEEP_OUTPUTS, keep_outputs,                                                            \
      (struct backend * backend, struct device_buffer * residual, int hidden,                      \
       struct device_buffer *attended, int width),                                                 \
      (backend, residual, hidden, attended, width))                                                \
    X(TIMED_ACTIVATE, activate,                                                                    \
      (struct backend * backend, enum activation activation, bool gated, int width,                \
       struct device_buffer *in, const struct matrix *reader, struct device_buffer *out),          \
      (backend, activation, gated, width, in, reader, out))                                        \
    X(TIMED_EXPERTS, experts,                                                                      \
      (struct backend * backend, const struct expert_facts *facts,                                 \
       const struct expert_weights *weights, struct device_buffer *in, struct device_buffer *out), \
      (backend, facts, weights, in, out))                                                          \
    X(TIMED_LOGITS, logits,                                                                        \
      (struct backend * backend, const struct matrix *matrix, float scale, float soft_cap,         \
       struct device_buffer *in, struct device_buffer *logits),                                    \
      (backend, matrix, scale, soft_cap, in, logits))                                              \
    X(TIMED_SAMPLE, sample,                                                                        \
      (struct backend * backend, struct device_buffer * logits, int count, int vocabulary,         \
       const struct sample_request *requests, struct sample_result *results),                      \
      (backend, logits, count, vocabulary, requests, results))

#define DEFINE_TIMED(operation, name, parameters, arguments)                                       \
    static status timed_##name parameters                                                          \
    {                                                                                              \
        const double start = clock_seconds();                                                      \
        return book(backend, operation, start, times_of(backend)->own->name arguments);            \
    }
STEP_OPERATIONS(DEFINE_TIMED)

/* What a backend lacks it lacks timed as well. */
#define TAKE_PLACE(operation, name, parameters, arguments)                                         \
    table->name = table->name != NULL ? timed_##name : NULL;
static void take_places(struct backend_operations *table){STEP_OPERATIONS(TAKE_PLACE)}

status operation_times_begin(struct backend *backend, struct operation_times **out)
{
    *out = NULL;
    struct operation_times *times = calloc(1, sizeof *times);
    if (times == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a profile");
    }
    times->own = backend->operations;
    times->operations = *backend->operations;
    times->backend = backend;
    take_places(&times->operations);
    backend->operations = &times->operations;
    *out = times;
    return STATUS_OK;
}

void operation_times_end(struct operation_times *times)
{
    if (times != NULL) {
        times->backend->operations = times->own;
        free(times);
    }
}

void operation_times_note(struct operation_times *times, operation_note *note, void *context)
{
    times->note = note;
    times->note_context = context;
}

const double *operation_times_seconds(const struct operation_times *times)
{
    return times->seconds;
}

void operation_times_reset(struct operation_times *times)
{
    memset(times->seconds, 0, sizeof times->seconds);
}
