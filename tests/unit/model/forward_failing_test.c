/* SPDX-License-Identifier: Apache-2.0 */
/* A step of every kind of model in which each operation of the backend and each call of a
 * communicator fails in turn: the step fails, with what failed, and none is made after it. What a
 * device lacks is told before there is a step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sluice/comm.h"
#include "sluice/model.h"
#include "sluice/operation_times.h"

enum { SEQUENCES = 2, QUERY = 3, TOKENS = SEQUENCES * QUERY, BLOCK = 16, SLICES = 4 };

static void check(status s)
{
    if (s != STATUS_OK) {
        fail_msg("%s", status_message());
    }
}

/* ---- Calls that fail ---- */

static int calls, failing; /* calls so far; the one that fails, or -1 */

static status count_call(void)
{
    return calls++ == failing ? status_fail(STATUS_IO, "call %d failed", failing) : STATUS_OK;
}

/* Operations that are timed are waited for one by one. */
static status fail_operation(struct backend *backend)
{
    (void)backend;
    return count_call();
}

static status fail_sum(struct communicator *self, struct device_buffer *data, size_t count)
{
    (void)self;
    (void)data;
    (void)count;
    return count_call();
}

static status fail_gather(struct communicator *self, struct device_buffer *own,
                          struct device_buffer *all, size_t bytes)
{
    (void)self;
    (void)own;
    (void)all;
    (void)bytes;
    return count_call();
}

static status fail_columns(struct communicator *self, struct device_buffer *in,
                           struct device_buffer *out, int rows, const int *widths)
{
    (void)self;
    (void)in;
    (void)out;
    (void)rows;
    (void)widths;
    return count_call();
}

static status fail_message(struct communicator *self, struct device_buffer *data, size_t bytes,
                           int rank)
{
    (void)self;
    (void)data;
    (void)bytes;
    (void)rank;
    return count_call();
}

static struct communicator new_communicator(int rank, int size)
{
    return (struct communicator){.rank = rank,
                                 .size = size,
                                 .sum = fail_sum,
                                 .gather = fail_gather,
                                 .gather_columns = fail_columns,
                                 .send = fail_message,
                                 .receive = fail_message};
}

/* ---- A rank ---- */

struct rank {
    struct partition partition;
    struct backend *backend;
    struct backend_operations operations;
    struct model_weights *weights;
    struct kv_cache *cache;
    struct communicator tensor, pipeline;
    struct forward_options options;
    struct forward *forward;
    struct operation_times *times;
};

static void rank_create(const struct model_config *config, const int layout[4], struct rank *rank)
{
    const struct backend_options options = {
        .compute = DTYPE_FLOAT32, .max_tokens = TOKENS, .max_sequences = SEQUENCES, .threads = 1};
    *rank = (struct rank){.tensor = new_communicator(layout[1], layout[0]),
                          .pipeline = new_communicator(layout[3], layout[2])};
    check(backend_create("cpu", &options, &rank->backend));
    check(partition_create(config, layout[0], layout[1], layout[2], layout[3], SLICES,
                           &rank->partition));
    check(model_load_random(config, &rank->partition, rank->backend, WEIGHT_FLOAT32, 1,
                            &rank->weights));
    const struct cache_layout cache =
        partition_cache(&rank->partition, BLOCK, DTYPE_FLOAT32, SEQUENCES);
    check(rank->backend->operations->kv_create(rank->backend, &cache, SEQUENCES, &rank->cache));
    rank->options = (struct forward_options){.config = config,
                                             .partition = &rank->partition,
                                             .weights = rank->weights,
                                             .backend = rank->backend,
                                             .cache = rank->cache,
                                             .tensor = layout[0] > 1 ? &rank->tensor : NULL,
                                             .pipeline = layout[2] > 1 ? &rank->pipeline : NULL,
                                             .max_tokens = TOKENS,
                                             .max_outputs = SEQUENCES,
                                             .max_model_len = BLOCK};
    rank->operations = *rank->backend->operations;
    rank->operations.synchronize = fail_operation;
    rank->backend->operations = &rank->operations;
    check(operation_times_begin(rank->backend, &rank->times));
    check(forward_create(&rank->options, &rank->forward)); /* it keeps the table */
}

static void rank_destroy(struct rank *rank)
{
    forward_destroy(rank->forward);
    operation_times_end(rank->times);
    rank->backend->operations->kv_destroy(rank->backend, rank->cache);
    model_weights_destroy(rank->weights, &rank->partition, rank->backend);
    rank->backend->operations->destroy(rank->backend);
    partition_destroy(&rank->partition);
}

static status run_step(struct rank *rank, bool has_outputs)
{
    static const int32_t ids[TOKENS] = {1, 2, 3, 4, 5, 6}, positions[TOKENS] = {0, 1, 2, 0, 1, 2};
    static const int32_t start[] = {0, QUERY, TOKENS}, context[] = {QUERY, QUERY},
                         blocks[] = {0, 1};
    static const int32_t outputs[] = {QUERY - 1, TOKENS - 1};
    const struct batch batch = {.tokens = TOKENS,
                                .sequences = SEQUENCES,
                                .outputs = has_outputs ? SEQUENCES : 0,
                                .token_ids = ids,
                                .positions = positions,
                                .query_start = start,
                                .context_length = context,
                                .block_table = blocks,
                                .block_table_stride = 1,
                                .output_rows = outputs};
    struct device_buffer *logits;
    calls = 0;
    return forward_step(rank->forward, &batch, &logits);
}

/* Returns how many calls a step makes. */
static int fail_each(const struct model_config *config, const int layout[4], const char *name)
{
    struct rank rank;
    rank_create(config, layout, &rank);
    failing = -1;
    check(run_step(&rank, !config->encoder));
    const int count = calls;
    for (failing = 0; failing < count; failing++) {
        char message[40];
        snprintf(message, sizeof message, "call %d failed", failing);
        const status s = run_step(&rank, !config->encoder);
        if (s != STATUS_IO || strstr(status_message(), message) == NULL || calls != failing + 1) {
            fail_msg("%s, rank %d of %d, stage %d of %d: call %d of %d failed; the step: %s, %d "
                     "calls",
                     name, layout[1], layout[0], layout[3], layout[2], failing, count,
                     s == STATUS_OK ? "done" : status_message(), calls);
        }
    }
    rank_destroy(&rank);
    return count;
}

static void each_call_fails_the_step(void **state)
{
    (void)state;
    static const char *const names[] = {"models/llama", "models/gemma2", "models/mixtral",
                                        "models/cohere2", "encoders/bert"};
    static const int layouts[][4] = {/* tp, its rank, pp, its rank */
                                     {1, 0, 1, 0},
                                     {2, 0, 1, 0},
                                     {1, 0, 2, 0},
                                     {2, 1, 2, 1}};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char path[1024];
        struct model *model;
        snprintf(path, sizeof path, "%s/%s", SLUICE_TEST_DATA, names[i]);
        check(model_open(path, &model));
        int alone = 0;
        for (size_t j = 0; j < COUNT_OF(layouts); j++) {
            const int count = fail_each(model_config(model), layouts[j], names[i]);
            alone = j == 0 ? count : alone;
            assert_true(j != 1 || count > alone); /* sums between ranks come on top */
            assert_true(count >= 3);              /* begin, embed, send */
        }
        model_close(model);
    }
}

/* ---- What a device lacks, and what it is told ---- */

static const int alone[4] = {1, 0, 1, 0};

static void open_rank(const char *name, struct model **model, struct rank *rank)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/models/%s", SLUICE_TEST_DATA, name);
    check(model_open(path, model));
    rank_create(model_config(*model), alone, rank);
}

/* Another forward pass of the rank, on a device with these operations. */
static status create_with(struct rank *rank, const struct backend_operations *operations)
{
    const struct backend_operations *before = rank->backend->operations;
    struct forward *forward;
    rank->backend->operations = operations;
    const status s = forward_create(&rank->options, &forward);
    if (s == STATUS_OK) {
        forward_destroy(forward);
    } else {
        assert_null(forward);
    }
    rank->backend->operations = before;
    return s;
}

static void operations_that_are_missing_are_told(void **state)
{
    (void)state;
    static const struct {
        const char *name, *message;
        size_t operation; /* where it stands among the operations */
    } cases[] = {
        {"olmo2", "norms of q and k over all heads are not supported on this device; use the CPU",
         offsetof(struct backend_operations, head_squares)},
        {"ministral3", "queries scaled by their position (llama_4_scaling_beta) are not supported",
         offsetof(struct backend_operations, scale_queries)},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct model *models[2];
        struct rank ranks[2];
        open_rank(cases[i].name, &models[0], &ranks[0]);
        open_rank("llama", &models[1], &ranks[1]); /* needs neither */
        for (int j = 0; j < 2; j++) {
            struct backend_operations lacking = *ranks[j].backend->operations;
            memset((char *)&lacking + cases[i].operation, 0, sizeof(void *));
            assert_int_equal(create_with(&ranks[j], ranks[j].backend->operations), STATUS_OK);
            assert_int_equal(create_with(&ranks[j], &lacking),
                             j == 0 ? STATUS_UNSUPPORTED : STATUS_OK);
            assert_true(j == 1 || strstr(status_message(), cases[i].message) != NULL);
            rank_destroy(&ranks[j]);
            model_close(models[j]);
        }
    }
}

static float scales[8][2]; /* that the cache was told: of keys and of values, by layer */

static status note_scales(struct backend *backend, struct kv_cache *cache, int layer,
                          float key_scale, float value_scale)
{
    (void)backend;
    (void)cache;
    scales[layer][0] = key_scale;
    scales[layer][1] = value_scale;
    return layer == 1 ? count_call() : STATUS_OK;
}

static void scales_of_the_cache_reach_it(void **state)
{
    (void)state;
    struct model *model;
    struct rank rank;
    open_rank("llama", &model, &rank);
    struct backend_operations noting = *rank.backend->operations;
    const int layers = rank.partition.layer_count;
    assert_in_range(layers, 2, 8);
    noting.kv_scale = note_scales;
    for (int layer = 0; layer < layers; layer++) {
        rank.weights->layers[layer].key_scale = (float)(2 + layer);
        rank.weights->layers[layer].value_scale = 0.5f / (float)(1 + layer);
    }
    calls = 0;
    failing = -1;
    check(create_with(&rank, &noting));
    for (int layer = 0; layer < layers; layer++) {
        assert_true(scales[layer][0] == (float)(2 + layer));
        assert_true(scales[layer][1] == 0.5f / (float)(1 + layer));
    }
    calls = failing = 0; /* the second layer's are refused */
    assert_int_equal(create_with(&rank, &noting), STATUS_IO);
    noting.kv_scale = NULL; /* a device without such caches */
    check(create_with(&rank, &noting));
    rank_destroy(&rank);
    model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_call_fails_the_step),
                                       cmocka_unit_test(operations_that_are_missing_are_told),
                                       cmocka_unit_test(scales_of_the_cache_reach_it)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
